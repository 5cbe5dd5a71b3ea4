"""Features as an answer: a page of them, and its forms GeoJSON, CSV, GeoParquet and GeoDataFrame."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from geoetl.access.features.place import CRS84, is_degrees
from geoetl.access.features.table import DEGREES
from geoetl.access.features.values import plain_column
from geoetl.access.result import Source
from geoetl.core.html import facts, heading
from geoetl.core.html import table as html_table
from geoetl.core.spreadsheet import defused

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

ID = "feature_id"
_SHOWN_ROWS, _SHOWN_COLUMNS, _SHOWN_LETTERS = 10, 8, 60
_COVERING = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class FeaturePage:
    """Features that match a question: all, or a part of them.

    Attributes:
        ids: Of each feature.
        table: Their attributes.
        shapes: Their geometries, x before y: array (row) of shapely geometries, None where there is none; None where
            geometries were not asked for.
        crs: Reference system of the geometries: ``OGC:CRS84``, ``EPSG:…`` or WKT.
        matched: Number of features that match.
        offset: Number of those before the first of this page.
        next: Token of the page behind this one.
        previous: Token of the page before this one.
        source: Where they came from.
    """

    ids: tuple[int | str, ...]
    table: pa.Table
    shapes: NDArray[Any] | None
    crs: str
    matched: int
    offset: int
    next: str | None
    previous: str | None
    source: Source

    @property
    def returned(self) -> int:
        """Number of features on this page."""
        return len(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def properties(self) -> list[dict[str, Any]]:
        """The attributes of each feature, as strict JSON has them."""
        names = self.table.column_names
        columns = [plain_column(column) for column in self.table.columns]
        if not columns:
            return [{} for _ in self.ids]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def features(self, *, swapped: bool = False) -> list[dict[str, Any]]:
        """Return the features as GeoJSON; coordinates may be numpy arrays, which orjson writes.

        Args:
            swapped: Give y before x, as the reference system has it.
        """
        shapes = [None] * len(self.ids) if self.shapes is None else geojson_shapes(self.shapes, swapped=swapped)
        return [
            {"type": "Feature", "id": own_id, "geometry": shape, "properties": attributes}
            for own_id, shape, attributes in zip(self.ids, shapes, self.properties, strict=True)
        ]

    def to_geojson(self, further: Mapping[str, Any] | None = None, *, swapped: bool = False) -> bytes:
        """Return a GeoJSON FeatureCollection.

        Args:
            further: More members of the document.
            swapped: Give y before x, as the reference system has it.
        """
        document = {
            "type": "FeatureCollection",
            "features": self.features(swapped=swapped),
            "numberMatched": self.matched,
            "numberReturned": self.returned,
            "source": self.source.model_dump(),
            **(further or {}),
        }
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)

    def to_feature(self, further: Mapping[str, Any] | None = None, *, swapped: bool = False) -> bytes:
        """Return the first feature as a GeoJSON Feature; see `to_geojson` for the arguments."""
        document = {**self.features(swapped=swapped)[0], "source": self.source.model_dump(), **(further or {})}
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)

    def to_csv(self, *, swapped: bool = False) -> bytes:
        """Return CSV in UTF-8: id, attributes, geometry as WKT, and the dataset version.

        A text that a spreadsheet would take for a formula gets an apostrophe before it.

        Args:
            swapped: Give y before x, as the reference system has it.
        """
        out = io.StringIO(newline="")
        writer = csv.writer(out)
        names = self.table.column_names
        header = [ID, *names, *(() if self.shapes is None else ("geometry",)), "dataset_version"]
        writer.writerow([_cell(name) for name in header])
        version = self.source.dataset_version or ""
        columns: list[Iterable[Any]] = [self.ids, *(plain_column(column) for column in self.table.columns)]
        if self.shapes is not None:
            columns.append(shapely.to_wkt(_swapped(self.shapes) if swapped else self.shapes, rounding_precision=-1))
        for row in zip(*columns, strict=True):
            writer.writerow([*map(_cell, row), version])
        return out.getvalue().encode()

    def to_parquet(self) -> bytes:
        """Return GeoParquet 1.1 with a covering, and where it came from in the file's metadata."""
        import pyarrow.parquet as pq

        ids = pa.array(self.ids) if self.ids else pa.array([], pa.int64())
        columns: dict[str, Any] = {ID: ids, **dict(zip(self.table.column_names, self.table.columns, strict=True))}
        metadata = {b"geoetl": json.dumps(self.source.model_dump()).encode()}
        if self.shapes is not None:
            columns["geometry"] = pa.array(shapely.to_wkb(self.shapes), pa.binary())
            bounds = shapely.bounds(self.shapes).reshape(-1, 4)
            mask = np.isnan(bounds).any(axis=1)
            edges = [pa.array(bounds[:, number]) for number in range(4)]
            columns[_free("bbox", columns)] = pa.StructArray.from_arrays(edges, list(_COVERING), mask=pa.array(mask))
            metadata[b"geo"] = json.dumps(self._geo(bounds, _free("bbox", self.table.column_names))).encode()
        whole = pa.table(columns).replace_schema_metadata(metadata)
        out = io.BytesIO()
        pq.write_table(whole, out, compression="zstd")
        return out.getvalue()

    def _geo(self, bounds: NDArray[np.float64], covering: str) -> dict[str, Any]:
        assert self.shapes is not None
        present = self.shapes[~shapely.is_missing(self.shapes)]
        described: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": sorted({f"{one.geom_type}{' Z' if one.has_z else ''}" for one in present}),
            "covering": {"bbox": {edge: [covering, edge] for edge in _COVERING}},
        }
        if not is_degrees(self.crs):
            import pyproj

            described["crs"] = pyproj.CRS.from_user_input(self.crs).to_json_dict()
        if len(present):
            low, high = np.nanmin(bounds[:, :2], axis=0), np.nanmax(bounds[:, 2:], axis=0)
            described["bbox"] = [*low.tolist(), *high.tolist()]
        return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": described}}

    def to_geodataframe(self) -> "gpd.GeoDataFrame":
        """Return a GeoDataFrame, x before y, with the ids as its index and the source in its ``attrs``."""
        import geopandas as gpd
        import pandas as pd

        shapes = np.full(len(self.ids), None, object) if self.shapes is None else self.shapes
        crs = DEGREES if self.crs == CRS84 else self.crs
        index = pd.Index(list(self.ids), name=ID)
        attributes = self._attributes().set_axis(index) if self.table.num_columns else pd.DataFrame(index=index)
        frame = gpd.GeoDataFrame(attributes, geometry=gpd.array.GeometryArray(np.asarray(shapes, object)), crs=crs)
        frame.attrs.update(self.source.model_dump())
        return frame

    def _attributes(self) -> "pd.DataFrame":
        try:
            attributes: pd.DataFrame = self.table.to_pandas()
        except (TypeError, ValueError, KeyError, AttributeError):
            # What the file says of pandas need not be right.
            attributes = self.table.to_pandas(ignore_metadata=True)
        return attributes

    def _repr_html_(self) -> str:
        shown = f"{self.returned:,} of {self.matched:,} features"
        names = self.table.column_names[:_SHOWN_COLUMNS]
        rows = [
            [own_id, *(_short(attributes[name]) for name in names), _kind(self.shapes, number)]
            for number, (own_id, attributes) in enumerate(zip(self.ids, self.properties, strict=True))
            if number < _SHOWN_ROWS
        ]
        version = self.source.dataset_version or f"catalogue {self.source.catalog_version}"
        told = facts([("CRS", self.crs[:_SHOWN_LETTERS]), ("Version", version)])
        return heading(str(self.source), shown) + told + html_table([ID, *names, "geometry"], rows)


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}…"


def _kind(shapes: NDArray[Any] | None, number: int) -> str:
    shape = None if shapes is None else shapes[number]
    return "" if shape is None else f"{shape.geom_type}, {shapely.get_num_coordinates(shape):,} points"


def _free(name: str, taken: Iterable[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return defused(value)
    if isinstance(value, list | dict):
        return orjson.dumps(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def _swapped(shapes: NDArray[Any]) -> NDArray[Any]:
    swapped: NDArray[Any] = shapely.transform(shapes, lambda places: places[:, ::-1])
    return swapped


# -- GeoJSON ---------------------------------------------------------------------------------------------------------

_NAMES = {0: "Point", 1: "LineString", 3: "Polygon", 4: "MultiPoint", 5: "MultiLineString", 6: "MultiPolygon"}
_COLLECTION = 7


def geojson_shapes(shapes: NDArray[Any], *, swapped: bool = False) -> list[dict[str, Any] | None]:
    """Return shapes as GeoJSON geometries; rings and lines are arrays (point, coordinate) that orjson writes.

    What is empty is null (RFC 7946, 3.1), and so is what has a coordinate that is no number, which JSON has not.
    Taken apart by kind in one go: ten times as fast as one shape after the other.
    """
    shapes = _finite(shapes)
    told: list[dict[str, Any] | None] = [None] * len(shapes)
    kinds, deep = shapely.get_type_id(shapes), shapely.has_z(shapes)
    empty = shapely.is_empty(shapes)
    for kind in np.unique(kinds[(kinds >= 0) & ~empty]):
        for has_z in (False, True):
            chosen = np.flatnonzero((kinds == kind) & (deep == has_z) & ~empty)
            if not len(chosen):
                continue
            if kind == _COLLECTION:
                parts = [_collection(shapes[number], swapped=swapped) for number in chosen]
            else:
                coordinates = _coordinates(shapes[chosen], swapped=swapped)
                parts = [{"type": _NAMES[int(kind)], "coordinates": one} for one in coordinates]
            for number, part in zip(chosen, parts, strict=True):
                told[number] = part
    return told


def _finite(shapes: NDArray[Any]) -> NDArray[Any]:
    """Return shapes without those that have no place, and without heights that are no numbers."""
    places, owners = shapely.get_coordinates(shapes, include_z=True, return_index=True)
    placeless = np.unique(owners[~np.isfinite(places[:, :2]).all(axis=1)])
    flat = np.unique(owners[~np.isfinite(places[:, 2])])
    flat = flat[shapely.has_z(shapes[flat])]
    if len(placeless) or len(flat):
        shapes = shapes.copy()
        shapes[flat] = shapely.force_2d(shapes[flat])
        shapes[placeless] = None
    return shapes


def _collection(shape: Any, *, swapped: bool) -> dict[str, Any]:
    parts = geojson_shapes(np.array(shapely.get_parts(shape), object), swapped=swapped)
    return {"type": "GeometryCollection", "geometries": [part for part in parts if part is not None]}


def _coordinates(shapes: NDArray[Any], *, swapped: bool) -> list[Any]:
    """Return the coordinates of shapes of one kind, none empty."""
    _, places, offsets = shapely.to_ragged_array(shapes)
    if swapped:
        places = np.concatenate([places[:, 1::-1], places[:, 2:]], axis=1)
    places = np.ascontiguousarray(places)
    if not offsets:
        return list(places.tolist())
    levels: Sequence[Any] = [offset.tolist() for offset in offsets]
    nested: Any = places
    for level in levels:
        nested = [nested[start:end] for start, end in pairwise(level)]
    return list(nested)
