"""GeoParquet: rows that touch a box or all in batches, after a look at how much the file declares to unpack to."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import LimitExceeded, UnreadableFile
from geoetl.core.findings import Finding, Severity
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.formats import DAMAGE, GIB, first_line

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa
    import pyarrow.parquet as pq
    import pyproj

# Released versions of GeoParquet; another one is read by the same rules, and told.
KNOWN_VERSIONS = ("1.0.0", "1.1.0")
# What a file means that does not say its CRS (GeoParquet 1.1, "crs"; Parquet's type GEOMETRY, "crs").
_LONGITUDE_LATITUDE = "OGC:CRS84"


@dataclass(frozen=True)
class ParquetFeatures:
    """An open GeoParquet file.

    Attributes:
        schema: Columns of the batches: attributes, and the geometry as WKB.
        geometry: Name of the column of geometries.
        crs: CRS; None where the file says that it is not known.
        findings: What was noticed.
        batches: The rows, to be read once.
    """

    schema: "pa.Schema"
    geometry: str
    crs: "pyproj.CRS | None"
    findings: tuple[Finding, ...]
    batches: "Iterator[pa.RecordBatch]"


@contextmanager
def open_features(path: Path, batch_rows: Callable[[int, int], int]) -> Iterator[ParquetFeatures]:
    """Open a GeoParquet file of any version to read its rows in batches.

    The column that covers the geometries is left out, as are further geometries.

    Args:
        path: The file.
        batch_rows: Returns how many rows are read at a time, of how many and their bytes together.

    Raises:
        UnreadableFile: It is damaged, or has no geometry; also later, while the batches are read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyproj.exceptions import CRSError

    try:
        file = pq.ParquetFile(path)
        geo = _metadata(file)
        geometry = str(geo["primary_column"])
        described = geo["columns"][geometry]
        crs = _crs_of(described)
        covering = {str(edge[0]) for edge in described.get("covering", {}).get("bbox", {}).values()}
        others = sorted(set(geo["columns"]) - {geometry})
        about = file.metadata
        size = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
        at_a_time = batch_rows(about.num_rows, size)
        encoding = str(described["encoding"])
        names = [field.name for field in file.schema_arrow if field.name not in {*covering, *others}]
        schema = pa.schema(
            [
                pa.field(geometry, pa.binary()) if name == geometry else file.schema_arrow.field(name).remove_metadata()
                for name in names
            ]
        )
    except (pa.ArrowException, CRSError, *DAMAGE) as error:
        raise _unreadable(path, error) from None
    with file:
        yield ParquetFeatures(
            schema,
            geometry,
            crs,
            tuple(_noticed(geo, others)),
            _batches(file, path, schema, geometry, encoding, at_a_time),
        )


def _batches(
    file: "pq.ParquetFile", path: Path, schema: "pa.Schema", geometry: str, encoding: str, batch_rows: int
) -> "Iterator[pa.RecordBatch]":
    import geopandas as gpd
    import pyarrow as pa

    source = file.iter_batches(batch_rows, columns=schema.names)
    while True:
        try:
            batch = next(source, None)
            if batch is None:
                return
            batch.validate(full=True)
            shapes = batch.column(geometry)
            if encoding != "WKB":
                native = pa.field(
                    geometry, shapes.type, metadata={b"ARROW:extension:name": f"geoarrow.{encoding.lower()}".encode()}
                )
                frame = gpd.GeoDataFrame.from_arrow(pa.table([shapes], schema=pa.schema([native])), geometry=geometry)
                shapes = pa.array(frame.geometry.to_wkb(), pa.binary())
            arrays = [shapes.cast(pa.binary()) if name == geometry else batch.column(name) for name in schema.names]
            ordered = pa.RecordBatch.from_arrays(arrays, schema=schema)
        except (pa.ArrowException, *DAMAGE) as error:
            raise _unreadable(path, error) from None
        yield ordered


def _metadata(file: "pq.ParquetFile") -> dict[str, Any]:
    """Return what the file says of its geometries, or what its column of Parquet's own type GEOMETRY does.

    Source: GeoParquet 1.1; Parquet 2.11, logical types GEOMETRY and GEOGRAPHY.
    """
    said = (file.schema_arrow.metadata or {}).get(b"geo")
    if said is not None:
        document = json.loads(said)
        if not isinstance(document, dict):
            raise TypeError("its metadata are no JSON object")
        return document
    columns = {}
    for number in range(len(file.schema)):
        column = file.schema.column(number)
        kind = json.loads(column.logical_type.to_json())
        if kind.get("Type") in ("Geometry", "Geography"):
            columns[column.name] = {"encoding": "WKB", **({"crs": kind["crs"]} if kind.get("crs") else {})}
    if not columns:
        raise ValueError("it has no column of geometries, and no metadata of GeoParquet")
    return {"version": "2.0", "primary_column": next(iter(columns)), "columns": columns}


def _crs_of(described: Mapping[str, Any]) -> "pyproj.CRS | None":
    import pyproj

    said = described.get("crs", _LONGITUDE_LATITUDE)
    return None if said is None else pyproj.CRS.from_user_input(said)


def _noticed(geo: Mapping[str, Any], others: list[str]) -> Iterator[Finding]:
    version = str(geo.get("version", "none"))
    if version not in KNOWN_VERSIONS:
        yield Finding(
            severity=Severity.INFO,
            code="geoparquet_version",
            message=f"The file is GeoParquet {version[:20]}, no released version; it was read by the rules of 1.1.",
            got=version[:20],
            expected=", ".join(KNOWN_VERSIONS),
        )
    if geo["columns"][geo["primary_column"]].get("edges", "planar") != "planar":
        yield Finding(
            severity=Severity.WARNING,
            code="spherical_edges",
            message="Its edges are shortest lines on a sphere; they were taken as straight in longitude and latitude.",
        )
    if others:
        yield Finding(
            severity=Severity.WARNING,
            code="second_geometry",
            message=f"Only one geometry column is kept; left out: {', '.join(others)}.",
        )


def check_parquet(path: Path, limits: LimitSettings) -> None:
    """Refuse a Parquet file by its footer: too many rows, or more to unpack than an archive may.

    Raises:
        UnreadableFile: It has no footer.
        LimitExceeded: It declares more than a limit.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path)
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        unpacked = sum(max(0, group.total_byte_size) for group in groups)
        rows = metadata.num_rows
    except (pa.ArrowException, *DAMAGE) as error:
        raise _unreadable(path, error) from None
    if rows > limits.vector_features:
        raise LimitExceeded(
            f"'{path.name}' has {rows:,} features; the limit is {limits.vector_features:,}.",
            hint="Split the file, or raise GEOETL_LIMITS__VECTOR_FEATURES.",
            field="source",
        )
    if unpacked > limits.archive_gib * GIB:
        raise LimitExceeded(
            f"'{path.name}' unpacks to {unpacked / GIB:.1f} GiB; the limit is {limits.archive_gib:g} GiB.",
            hint="Split the file, or raise GEOETL_LIMITS__ARCHIVE_GIB.",
            field="source",
        )


def read_geoparquet(
    path: Path, *, bbox: tuple[float, float, float, float] | None = None, columns: list[str] | None = None
) -> "gpd.GeoDataFrame":
    """See `Gate.read_geoparquet`."""
    import geopandas as gpd
    from pyarrow.lib import ArrowException
    from pyproj.exceptions import ProjError
    from shapely.errors import GEOSException

    try:
        return gpd.read_parquet(path, bbox=bbox, columns=columns)
    except (ArrowException, GEOSException, ProjError, *DAMAGE) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UnreadableFile:
    return UnreadableFile(
        f"'{path.name}' cannot be read as GeoParquet: {first_line(error)}",
        hint="Ingest it again from its source.",
        field="source",
    )
