"""Features in the order of a Hilbert curve as GeoParquet 1.1, however many: what memory cannot hold waits on disk.

Sources: GeoParquet 1.1.0, https://geoparquet.org/releases/v1.1.0/
"""

import json
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from geoetl.ingest.vector import grid
from geoetl.ingest.vector.columns import BBOX, GEOMETRY
from geoetl.ingest.vector.repair import LONGITUDE_LATITUDE
from geoetl.ingest.vector.tiles import Outline

# Rows of a row group: small enough that a bbox filter skips most of a file, large enough to compress well.
ROW_GROUP_SIZE = 20_000
# Bytes of features that are put in order at a time, besides as many of the sorted copy.
SPAN_BYTES = 384 * 1024**2
_EDGES = ("xmin", "ymin", "xmax", "ymax")
# Names of geometry types by their number in shapely; each is followed here by that of several.
_TYPES = ("Point", "LineString", "LinearRing", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon")
# pandas' own types for integers and truth values with gaps.
_GAPPY = {"bool": "boolean"} | {
    f"{kind.lower()}{bits}": f"{kind}{bits}" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)
}
_MULTI = {0: 4, 1: 5, 3: 6}
Shapes = NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """What all features together are like, in the order in which they are written.

    Attributes:
        order: Their numbers in the spill: array (feature).
        outline: Keys, bounds and sizes, in that order.
        promoted: Numbers of the geometry types that are written as their "Multi" type.
        types: Names of the geometry types of the result.
        with_gaps: Attributes that lack a value in some feature.
    """

    order: NDArray[np.int64]
    outline: Outline
    promoted: frozenset[int]
    types: tuple[str, ...]
    with_gaps: frozenset[str]

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """West, south, east and north of all, degrees."""
        low, high = self.outline.bounds[:, :2].min(axis=0), self.outline.bounds[:, 2:].max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


class Spill:
    """Features on their way, in a file of Arrow batches; in memory is only where each lies.

    Args:
        path: The file.
        schema: Attributes.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self.schema = schema.append(pa.field(GEOMETRY, pa.binary()))
        self._writer = pa.ipc.new_file(str(path), self.schema)
        self._starts = [0]
        self._bytes = 0
        self._keys: list[NDArray[np.int64]] = []
        self._bounds: list[NDArray[np.float64]] = []
        self._sizes: list[NDArray[np.float64]] = []
        self._types: set[int] = set()
        self._with_gaps: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def add(self, attributes: pa.RecordBatch, shapes: Shapes) -> None:
        """Append features.

        Args:
            attributes: By the spill's schema.
            shapes: In degrees: array (feature).
        """
        geometry = pa.array(shapely.to_wkb(shapes, include_srid=False), pa.binary())
        batch = pa.RecordBatch.from_arrays([*attributes.columns, geometry], schema=self.schema)
        self._writer.write_batch(batch)
        self._starts.append(self._starts[-1] + batch.num_rows)
        self._bytes += batch.nbytes
        self._with_gaps |= {name for name in batch.schema.names if batch.column(name).null_count}
        bounds = shapely.bounds(shapes)
        middle = (bounds[:, :2] + bounds[:, 2:]) / 2
        self._keys.append(grid.keys(middle))
        self._bounds.append(bounds)
        self._sizes.append(_sizes(shapes, middle[:, 1]))
        self._types |= set(np.unique(shapely.get_type_id(shapes)).tolist())

    def layout(self) -> Layout:
        """Close the file, and return what was added, in order."""
        self._writer.close()
        keys = np.concatenate(self._keys)
        order = np.argsort(keys, kind="stable")
        outline = Outline(keys[order], np.concatenate(self._bounds)[order], np.concatenate(self._sizes)[order])
        gaps = frozenset(self._with_gaps)
        return Layout(order, outline, promotions(self._types), type_names(self._types), gaps)

    def read(self, layout: Layout) -> Iterator[pa.Table]:
        """Read the features back in order, as tables of at most `ROW_GROUP_SIZE` rows."""
        count = len(layout.order)
        spans = max(1, math.ceil(self._bytes / SPAN_BYTES))
        # Whole row groups, so that none is cut where a span ends.
        per_span = max(1, math.ceil(count / spans / ROW_GROUP_SIZE)) * ROW_GROUP_SIZE
        starts = np.asarray(self._starts)
        with pa.OSFile(str(self._path)) as file, pa.ipc.open_file(file) as reader:
            for first in range(0, count, per_span):
                wanted = layout.order[first : first + per_span]
                sources = np.sort(wanted)
                parts = []
                for number in range(reader.num_record_batches):
                    low, high = np.searchsorted(sources, starts[number : number + 2])
                    if low < high:
                        parts.append(reader.get_batch(number).take(pa.array(sources[low:high] - starts[number])))
                span = pa.Table.from_batches(parts, self.schema)
                place = pa.array(np.searchsorted(sources, wanted))
                for at in range(0, len(wanted), ROW_GROUP_SIZE):
                    yield span.take(place[at : at + ROW_GROUP_SIZE])


def write_geoparquet(
    spill: Spill, layout: Layout, target: Path, attributes: pa.Schema, each: Callable[[Shapes, int], None]
) -> None:
    """Write the features in order.

    Args:
        spill: Where they wait.
        layout: Their order.
        target: The file.
        attributes: Names and types of the attributes to keep, which are the first of the spill's.
        each: Is called with the geometries of each row group, and the number of the first.
    """
    box = pa.struct([pa.field(edge, pa.float64(), nullable=False) for edge in _EDGES])
    metadata = {"geo": json.dumps(_geo(layout)), "pandas": json.dumps(_pandas(attributes, layout))}
    schema = pa.schema([*attributes, pa.field(GEOMETRY, pa.binary()), pa.field(BBOX, box)], metadata=metadata)
    plain = [field.name for field in attributes if not pa.types.is_floating(field.type)]
    first = 0
    with pq.ParquetWriter(target, schema, compression="zstd", use_dictionary=plain, store_schema=True) as writer:
        for table in spill.read(layout):
            shapes = shapely.from_wkb(table.column(GEOMETRY).to_numpy())
            geometry = table.column(GEOMETRY)
            if layout.promoted:
                shapes = promoted(shapes, layout.promoted)
                geometry = pa.array(shapely.to_wkb(shapes), pa.binary())
            bounds = layout.outline.bounds[first : first + len(table)]
            edges = [pa.array(np.ascontiguousarray(column)) for column in bounds.T]
            covering = pa.StructArray.from_arrays(edges, fields=list(box))
            columns = [table.column(field.name) for field in attributes]
            writer.write_table(pa.table([*columns, geometry, covering], schema=schema), row_group_size=ROW_GROUP_SIZE)
            each(shapes, first)
            first += len(table)


def promotions(types: Collection[int]) -> frozenset[int]:
    """Return which geometry types are written as their "Multi" type: those that come together with it."""
    return frozenset(kind for kind, several in _MULTI.items() if kind in types and several in types)


def type_names(types: Collection[int]) -> tuple[str, ...]:
    """Return the names of the geometry types that a result of these has."""
    return tuple(sorted(_TYPES[kind] for kind in set(types) - promotions(types)))


def promoted(shapes: Shapes, kinds: frozenset[int]) -> Shapes:
    """Return geometries with those of some types as the only part of the type for several."""
    types = shapely.get_type_id(shapes)
    shapes = shapes.copy()
    make: dict[int, Callable[..., Any]] = {
        0: shapely.multipoints,
        1: shapely.multilinestrings,
        3: shapely.multipolygons,
    }
    for kind in kinds:
        chosen = np.flatnonzero(types == kind)
        if len(chosen):
            shapes[chosen] = make[kind](shapes[chosen], indices=np.arange(len(chosen)))
    return shapes


def _sizes(shapes: Shapes, latitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the side of a square of the same area, or the length of a line, as they look on a web map, in degrees."""
    stretch = 1 / np.cos(np.radians(np.clip(latitudes, -grid.MAX_LATITUDE_DEG, grid.MAX_LATITUDE_DEG)))
    areas = np.sqrt(shapely.area(shapes) * stretch)
    lines = shapely.get_dimensions(shapes) == 1
    return np.asarray(np.where(lines, shapely.length(shapes) * np.sqrt(stretch), areas))


def _pandas(attributes: pa.Schema, layout: Layout) -> dict[str, Any]:
    """Return the types of columns in pandas: there integers and truth values with gaps would become floating point.

    Source: pandas, "Storing pandas DataFrame objects in Apache Parquet format".
    """
    columns = [
        {
            "name": field.name,
            "field_name": field.name,
            "pandas_type": str(field.type),
            "numpy_type": kind,
            "metadata": None,
        }
        for field in attributes
        if field.name in layout.with_gaps and (kind := _GAPPY.get(str(field.type)))
    ]
    return {"index_columns": [], "column_indexes": [], "columns": columns, "pandas_version": version("pandas")}


def _geo(layout: Layout) -> dict[str, Any]:
    """Return the metadata of GeoParquet 1.1."""
    from pyproj import CRS

    column = {
        "encoding": "WKB",
        "geometry_types": list(layout.types),
        "crs": CRS.from_user_input(LONGITUDE_LATITUDE).to_json_dict(),
        "bbox": list(layout.bbox),
        "edges": "planar",
        "covering": {"bbox": {edge: [BBOX, edge] for edge in _EDGES}},
    }
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
