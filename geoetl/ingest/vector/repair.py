"""Features made fit batch by batch: each change is counted, and the rows that it touched are named."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from geoetl.core.errors import EmptyDataset, InvalidParameter
from geoetl.core.findings import Finding, Severity
from geoetl.core.spatial import LONGITUDE_SLACK_DEG
from geoetl.ingest.vector.columns import unique_names
from geoetl.ingest.vector.request import VectorRequest
from geoetl.store.gate import Format, VectorSource

# In GeoParquet the order of coordinates is x, y whatever the CRS says; EPSG:4326 is what other frames carry.
LONGITUDE_LATITUDE = "EPSG:4326"
# Rounding noise beyond a pole.
LATITUDE_SLACK_DEG = 0.01
# Rows named in a finding; the count says the rest.
ROWS_NAMED = 20
_COLLECTION = 7
Shapes = NDArray[Any]
Rows = NDArray[np.int64]

# What each change is called and how it is told, in the order in which they are made.
_SENTENCES = {
    "missing_geometry": "{} features without geometry were left out.",
    "invalid_geometry": "{} invalid geometries were repaired.",
    "collapsed": "{} features were left out whose repaired geometry has nothing left.",
    "flattened": "{} geometries had Z or M values, which were dropped.",
    "normalised": "{} geometries reached beyond ±180 degrees.",
    "simplified": "{} geometries were simplified or snapped to the grid.",
    "vanished": "{} features were left out that simplifying left nothing of.",
}

_HINTS = {Format.CSV: "Give crs if they are no degrees, or lat_name and lon_name if the two columns are exchanged."}


@dataclass
class Tally:
    """Rows that something was found in: how many, and the first of them."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, rows: Rows) -> None:
        """Count some more."""
        self.count += len(rows)
        self.first += (rows[: max(0, ROWS_NAMED - len(self.first))] + 1).tolist()

    @property
    def subject(self) -> str:
        """The rows in words, counted from 1."""
        more = self.count - len(self.first)
        return f"rows {', '.join(map(str, self.first))}{f' and {more} more' if more else ''}"

    def finding(self, code: str, sentence: str, severity: Severity = Severity.WARNING) -> Finding:
        """Return what was found, in a sentence with a place for the count."""
        return Finding(severity=severity, code=code, message=sentence.format(self.count), subject=self.subject)


@dataclass(frozen=True)
class Batch:
    """Repaired features.

    Attributes:
        attributes: With their new names.
        shapes: Valid, in degrees: array (feature).
        rows: Their numbers in the source, from 0: array (feature).
    """

    attributes: pa.RecordBatch
    shapes: Shapes
    rows: Rows


class Repair:
    """Repairs the features of one source as they pass by.

    Args:
        source: Where they come from.
        request: How they are simplified.
        name: Name of the file.
    """

    def __init__(self, source: VectorSource, request: VectorRequest, name: str) -> None:
        from pyproj import Transformer
        from pyproj.exceptions import ProjError

        self._source, self._request, self._name = source, request, name
        self._tallies = {code: Tally() for code in _SENTENCES}
        self._collections = Tally()
        self.rows_read = 0
        # By their places: two columns may have one name.
        fields = [field for field in source.schema if field.name != source.geometry]
        self.attribute_names = [field.name for field in fields]
        self.names = unique_names(self.attribute_names)
        self.schema = pa.schema(
            [pa.field(name, _plain_type(field.type)) for name, field in zip(self.names, fields, strict=True)]
        )
        self._to_degrees = None
        if not source.crs.equals(LONGITUDE_LATITUDE, ignore_axis_order=True):
            try:
                self._to_degrees = Transformer.from_crs(source.crs, LONGITUDE_LATITUDE, always_xy=True)
            except ProjError:
                raise self._not_on_earth() from None

    def batches(self) -> Iterator[Batch]:
        """Read and repair all features.

        Raises:
            InvalidParameter: A feature is a collection of geometries, or lies nowhere in the CRS.
            EmptyDataset: None has a geometry.
            UnreadableFile, LimitExceeded: See `Gate.open_vector`.
        """
        kept = 0
        for batch in self._source.batches:
            rows = np.arange(self.rows_read, self.rows_read + batch.num_rows)
            self.rows_read += batch.num_rows
            number = batch.schema.get_field_index(self._source.geometry)
            shapes = np.atleast_1d(shapely.from_wkb(np.asarray(batch.column(number), object), on_invalid="ignore"))
            shapes, rows = self._repaired(shapes, rows)
            columns = [column for at, column in enumerate(batch.columns) if at != number]
            arrays = [column.cast(field.type) for column, field in zip(columns, self.schema, strict=True)]
            attributes = (
                pa.RecordBatch.from_arrays(arrays, schema=self.schema)
                if arrays
                else pa.RecordBatch.from_pylist([{}] * batch.num_rows, schema=self.schema)
            )
            first = self.rows_read - batch.num_rows
            if len(rows) < batch.num_rows:
                attributes = attributes.take(pa.array(rows - first))
            kept += len(rows)
            if len(rows):
                yield Batch(attributes, shapes, rows)
        if self._collections.count:
            raise InvalidParameter(
                f"{self._collections.count} features of '{self._name}' are collections of geometries "
                f"({self._collections.subject}).",
                hint="Split each into points, lines or areas of their own: a GeometryCollection has no style.",
                field="source",
            )
        if not self.rows_read:
            raise EmptyDataset(
                f"'{self._name}' has no features.", hint="Check the export that made it.", field="source"
            )
        if not kept:
            raise EmptyDataset(
                "No feature has a geometry.", hint="Check the export that made the file.", field="source"
            )

    @property
    def invalid(self) -> int:
        """Geometries of the batches so far that were not valid."""
        return self._tallies["invalid_geometry"].count

    def findings(self) -> list[Finding]:
        """Return what was changed in the batches so far."""
        return [
            tally.finding(code, _SENTENCES[code], Severity.INFO if code == "simplified" else Severity.WARNING)
            for code, tally in self._tallies.items()
            if tally.count
        ]

    def _repaired(self, shapes: Shapes, rows: Rows) -> tuple[Shapes, Rows]:
        shapes, rows = self._there(shapes, rows, "missing_geometry")
        collections = shapely.get_type_id(shapes) == _COLLECTION
        self._collections.add(rows[collections])
        shapes, rows = shapes[~collections], rows[~collections]
        shapes = self._changed(shapes, rows, ~shapely.is_valid(shapes), "invalid_geometry", _valid)
        shapes, rows = self._there(shapes, rows, "collapsed")
        deep = (shapely.has_z(shapes) | shapely.has_m(shapes)).astype(bool)
        shapes = self._changed(shapes, rows, deep, "flattened", shapely.force_2d)
        shapes = self._in_degrees(shapes)
        bounds = shapely.bounds(shapes)
        beyond = (bounds[:, 0] < -180) | (bounds[:, 2] > 180) | (bounds[:, 1] < -90) | (bounds[:, 3] > 90)
        shapes = self._changed(shapes, rows, beyond, "normalised", _all_into_world)
        if self._request.simplify_tolerance or self._request.snap_to_grid:
            simple = self._simplified(shapes)
            differs = ~shapely.equals_identical(shapely.normalize(simple), shapely.normalize(shapes))
            self._tallies["simplified"].add(rows[differs])
            shapes, rows = self._there(simple, rows, "vanished")
        return shapes, rows

    def _there(self, shapes: Shapes, rows: Rows, code: str) -> tuple[Shapes, Rows]:
        missing = shapely.is_missing(shapes) | shapely.is_empty(shapes)
        if not missing.any():
            return shapes, rows
        self._tallies[code].add(rows[missing])
        return shapes[~missing], rows[~missing]

    def _changed(self, shapes: Shapes, rows: Rows, which: NDArray[np.bool_], code: str, change: Any) -> Shapes:
        if not which.any():
            return shapes
        self._tallies[code].add(rows[which])
        changed = shapes.copy()
        changed[which] = change(shapes[which])
        return changed

    def _in_degrees(self, shapes: Shapes) -> Shapes:
        from pyproj.exceptions import ProjError

        if not len(shapes):
            return shapes
        transformer = self._to_degrees
        try:
            if transformer is not None:
                shapes = shapely.transform(
                    shapes, lambda places: np.column_stack(transformer.transform(places[:, 0], places[:, 1]))
                )
            west, south, east, north = _total(shapely.bounds(shapes))
        except ProjError:
            west = south = east = north = math.nan
        # Written so that NaN and infinities fail too.
        if not (-360 <= west <= east <= 540 and -90 - LATITUDE_SLACK_DEG <= south <= north <= 90 + LATITUDE_SLACK_DEG):
            raise InvalidParameter(
                f"The coordinates of '{self._name}' do not fit its reference system {self._source.crs.name[:60]}.",
                hint=_HINTS.get(
                    self._source.format,
                    "Correct the file's CRS; GeoJSON holds longitude and latitude in degrees, in this order.",
                ),
                field="crs",
            )
        if transformer is not None and not (valid := shapely.is_valid(shapes)).all():
            shapes = shapes.copy()
            shapes[~valid] = _valid(shapes[~valid])
        return shapes

    def _simplified(self, shapes: Shapes) -> Shapes:
        if self._request.simplify_tolerance:
            shapes = shapely.simplify(
                shapes, self._request.simplify_tolerance, preserve_topology=self._request.preserve_topology
            )
            invalid = ~shapely.is_valid(shapes)
            shapes[invalid] = _valid(shapes[invalid])
        if self._request.snap_to_grid:
            shapes = shapely.set_precision(shapes, self._request.snap_to_grid)
            # The grid stays with a geometry, and would round what is made of it.
            shapes = shapely.set_precision(shapes, 0, mode="pointwise")
        return np.asarray(shapes, object)

    def _not_on_earth(self) -> InvalidParameter:
        return InvalidParameter(
            f"There is no way from {self._source.crs.name[:60]}, as '{self._name}' has it, to longitude and latitude.",
            hint="Only places on the Earth, in a reference system that PROJ knows, can be ingested.",
            field="crs",
        )


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that a column is kept as: views and other encodings of text become plain."""
    if pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_binary_view(kind) or pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    return kind


def _valid(shapes: Shapes) -> Shapes:
    # "structure" keeps areas as areas; lines and points left over by a collapse are dropped with keep_collapsed=False.
    return np.asarray(shapely.make_valid(shapes, method="structure", keep_collapsed=False), object)


def _total(bounds: NDArray[np.float64]) -> tuple[float, float, float, float]:
    low, high = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _all_into_world(shapes: Shapes) -> Shapes:
    """Bring longitudes into -180 to 180: what lies beyond is cut at 180 degrees and moved by a turn."""
    moved = np.empty(len(shapes), object)
    moved[:] = [_into_world(shape) for shape in shapes]
    return moved


def _into_world(shape: Any) -> Any:
    west, _, east, _ = shape.bounds
    if west >= -180 - LONGITUDE_SLACK_DEG and east <= 180 + LONGITUDE_SLACK_DEG:
        return shapely.transform(shape, lambda places: np.clip(places, (-180, -90), (180, 90)))
    world = shapely.box(-180, -90, 180, 90)
    turned = (shapely.transform(shape, partial(np.add, (turn, 0))) for turn in (-360, 0, 360))
    parts = [part for part in (shapely.intersection(copy, world) for copy in turned) if not part.is_empty]
    whole: Any = shapely.union_all(parts) if parts else shape
    if whole.geom_type != "GeometryCollection":
        return whole
    # An edge along the cut is left over from the part that lay on its other side.
    most = max(shapely.get_dimensions(part) for part in whole.geoms)
    return shapely.union_all([part for part in whole.geoms if shapely.get_dimensions(part) == most])
