"""GeoParquet: rows that touch a box, after a look at how much the file declares to unpack to."""

from pathlib import Path
from typing import TYPE_CHECKING

from geoetl.core.errors import LimitExceeded, UnreadableFile
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.formats import DAMAGE, GIB, first_line

if TYPE_CHECKING:
    import geopandas as gpd


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
