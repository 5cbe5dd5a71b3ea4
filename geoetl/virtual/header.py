"""What one source file says: dimensions, attributes, and of each array its form and where its chunks lie.

No data of the gridded variables is read; coordinates, bounds and other small arrays are loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.store.gate import Format

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Arrays up to this size (coordinates, bounds) are copied into the references instead of pointed at.
INLINE_BYTES = 4 * 1024 * 1024
# What gives stored numbers their meaning: a reference cube has one value of each for all files.
MEANING = ("scale_factor", "add_offset", "_FillValue", "missing_value", "units", "calendar", "_Unsigned")
SCALES = ("scale_factor", "add_offset")
TIME = "time"


class Layout(StrEnum):
    """How an array is stored in its file."""

    CHUNKED = "chunked"
    CONTIGUOUS = "contiguous"
    COMPACT = "compact"


@dataclass(frozen=True, eq=False)
class ChunkGrid:
    """Where the chunks of one array lie in one file, each array shaped like the grid of chunks.

    Attributes:
        offsets: Byte at which each chunk begins.
        sizes: Stored bytes of each; 0 where the chunk was never written.
    """

    offsets: "NDArray[np.uint64]"
    sizes: "NDArray[np.uint64]"

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of chunks along each dimension."""
        return self.offsets.shape

    @property
    def is_complete(self) -> bool:
        """Tell whether every chunk was written."""
        return bool(self.sizes.all())


@dataclass(frozen=True, eq=False)
class ArrayHeader:
    """One array of a file.

    Attributes:
        name: Its name at the root of the file.
        dims: Names of its dimensions.
        shape: Its size along each.
        dtype: As stored, with the byte order.
        chunks: Shape of a chunk; the whole shape where it is not chunked.
        layout: How it is stored.
        codecs: numcodecs configurations in the order in which they were applied when writing.
        unsupported: A filter that references cannot express (``szip``, ``scaleoffset``…); None where there is none.
        skipped_filters: Grid index of the first chunk that was stored without one of the filters; None for none.
        fill_value: What chunks that were never written read as, in `dtype`; None for types without one.
        attributes: Without netCDF-4's own bookkeeping; plain JSON values or lists of them.
        narrow: Attributes that scale its numbers and are no 64-bit numbers; JSON would widen them, and with them what
            readers decode.
        grid: Where its chunks lie; None where `values` has them, or where they cannot be referenced.
        values: The loaded content, array (*shape); None for arrays that are pointed at.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"
    chunks: tuple[int, ...]
    layout: Layout
    codecs: tuple[Mapping[str, Any], ...] = ()
    unsupported: str | None = None
    skipped_filters: tuple[int, ...] | None = None
    fill_value: Any = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    narrow: tuple[str, ...] = ()
    grid: ChunkGrid | None = None
    values: "NDArray[Any] | None" = None

    @property
    def nbytes(self) -> int:
        """Bytes of the array when it is unpacked."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def time_axis(self) -> int | None:
        """Position of the time dimension; None where it has none."""
        return self.dims.index(TIME) if TIME in self.dims else None


@dataclass(frozen=True, eq=False)
class FileHeader:
    """What one source file says.

    Attributes:
        address: Where it lies: an absolute path, or the URL of an object.
        name: The last part of `address`, for people.
        bytes: Its size.
        modified_ns: Time of its last change, Unix nanoseconds.
        etag: Version that an object store gives it; None for a file.
        container: ``HDF5`` or ``NETCDF3``.
        attributes: Global attributes.
        dimensions: Size of each.
        variables: Names of the gridded variables, which are pointed at.
        arrays: Every array at the root, by name; those of `variables` and all others.
    """

    address: str
    name: str
    bytes: int
    modified_ns: int
    etag: str | None
    container: Format
    attributes: Mapping[str, Any]
    dimensions: Mapping[str, int]
    variables: tuple[str, ...]
    arrays: Mapping[str, ArrayHeader]

    @property
    def steps(self) -> int:
        """Number of time steps; 1 for a file without time."""
        return self.dimensions.get(TIME, 1)
