"""Parquet tables that are read row by row, whatever they hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from geoetl.core.errors import LimitExceeded, UnreadableFile
from geoetl.store.gate.formats import Format, file_format, first_line, wrong_format

if TYPE_CHECKING:
    import pyarrow.parquet as pq

# A row group is unpacked as a whole; writers make them of some hundred MB at most.
MAX_ROW_GROUP_BYTES = 2 * 1024**3


@contextmanager
def open_parquet(path: Path) -> "Iterator[pq.ParquetFile]":
    """Open a Parquet file.

    Raises:
        UnreadableFile: It is damaged, or turns out to be while it is read.
        FormatNotAllowed: It is of another format.
        LimitExceeded: A row group says that it unpacks to more than `MAX_ROW_GROUP_BYTES`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = file_format(path)
    if found is not Format.PARQUET:
        raise wrong_format(path, found, "a table", [str(Format.PARQUET)])
    try:
        with pq.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(number).total_byte_size for number in range(file.num_row_groups)]
            if sizes and max(sizes) > MAX_ROW_GROUP_BYTES:
                raise LimitExceeded(
                    f"'{path.name}' has a row group of {max(sizes)} bytes, more than {MAX_ROW_GROUP_BYTES}.",
                    hint="Write it again with smaller row groups.",
                    field="source",
                )
            yield file
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(
            f"'{path.name}' begins like Parquet but cannot be read: {first_line(error)}.",
            hint="The file is probably truncated or damaged; fetch it again and compare its checksum.",
            field="source",
        ) from None
