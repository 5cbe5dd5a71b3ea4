"""Features on their way from a handler to the ingest: GeoParquet, written batch by batch.

Order, tiles, repair and the covering of bounding boxes are the work of the ingest that reads it.

Source: GeoParquet 1.1.0, https://geoparquet.org/releases/v1.1.0/
"""

import json
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq

from geoetl.core.errors import EmptyDataset

if TYPE_CHECKING:
    from pyproj import CRS

GEOMETRY = "geometry"
LONGITUDE_LATITUDE = "OGC:CRS84"
# Whoever reads the file unpacks some of a row group at a time.
ROW_GROUP_ROWS = 8192


class FeatureWriter:
    """Writes features to a GeoParquet file, which is there only when all of them are.

    With a batch of attributes and its WKB at hand::

        with FeatureWriter(task.workspace / "events.parquet", schema) as writer:
            for attributes, shapes in batches:
                writer.write(attributes, shapes)

    Args:
        path: The file; one that is there is replaced.
        attributes: Names and types of the attributes, without the geometry.
        crs: Of the geometries; longitude, latitude by default.

    Attributes:
        rows: Features written so far.

    Raises:
        EmptyDataset: At the end, when none was written.
    """

    def __init__(self, path: Path, attributes: pa.Schema, crs: "CRS | str" = LONGITUDE_LATITUDE) -> None:
        self._path = path
        self._unfinished = path.with_name(f"{path.name}.unfinished")
        metadata = {"geo": json.dumps(_geo(crs))}
        fields = [field.remove_metadata() for field in attributes]
        self._schema = pa.schema([*fields, pa.field(GEOMETRY, pa.binary())], metadata=metadata)
        self.rows = 0

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(self._unfinished, self._schema, compression="zstd")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
            if kind is None and self.rows == 0:
                raise EmptyDataset("The source has no features.", hint="Check what it delivers now.", field="source")
            if kind is None:
                self._unfinished.replace(self._path)
        finally:
            self._unfinished.unlink(missing_ok=True)

    def write(self, attributes: pa.RecordBatch, shapes: pa.Array) -> None:
        """Append features.

        Args:
            attributes: By name; others than the schema has are left out.
            shapes: Geometries as WKB, null for none.
        """
        columns = [attributes.column(field.name).cast(field.type) for field in list(self._schema)[:-1]]
        table = pa.Table.from_arrays([*columns, shapes.cast(pa.binary())], schema=self._schema)
        self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        self.rows += attributes.num_rows


def _geo(crs: "CRS | str") -> dict[str, object]:
    from pyproj import CRS

    # An empty list of types means that they are not known.
    column = {"encoding": "WKB", "geometry_types": [], "crs": CRS.from_user_input(crs).to_json_dict()}
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
