"""A virtual cube as arrays: which source file holds each chunk, where, and how long it is.

No object is made for a chunk: ten million chunks are 200 MB.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.store.sources import SourceFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNWRITTEN = -1


@dataclass(frozen=True, eq=False)
class ChunkReferences:
    """Where the chunks of a joined array lie; each array has the shape of the grid of chunks.

    Attributes:
        files: Number of the source file in `CubeManifest.sources`; -1 where the chunk was never written.
        offsets: Byte at which the chunk begins.
        sizes: Stored bytes.
    """

    files: "NDArray[np.int32]"
    offsets: "NDArray[np.uint64]"
    sizes: "NDArray[np.uint64]"

    @property
    def is_complete(self) -> bool:
        """Tell whether every chunk was written."""
        return not (self.files == UNWRITTEN).any()


@dataclass(frozen=True, eq=False)
class CubeArray:
    """One array of the cube: pointed at (`references`) or loaded (`values`).

    Attributes:
        dims: Names of its dimensions.
        shape: Its size along each.
        dtype: As stored, with the byte order.
        chunks: Shape of a chunk.
        codecs: numcodecs configurations in the order in which they were applied when writing.
        fill_value: What chunks that were never written read as; None for types without one.
        attributes: As in the source.
        references: Where its chunks lie; None for a loaded array.
        values: The content, array (*shape); None for an array that is pointed at.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"
    chunks: tuple[int, ...]
    codecs: tuple[Mapping[str, Any], ...] = ()
    fill_value: Any = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    references: ChunkReferences | None = None
    values: "NDArray[Any] | None" = None

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks along each dimension."""
        return tuple(-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True))

    @property
    def declared_fill(self) -> Any:
        """The value that the file says is missing data, in `dtype`; None where it says none."""
        declared = self.attributes.get("_FillValue")
        if declared is None or self.dtype.kind not in "iufb":
            return None
        return self.dtype.type(declared)


@dataclass(frozen=True, eq=False)
class CubeManifest:
    """A virtual cube.

    Attributes:
        sources: The files that the chunks lie in, in the order of time.
        attributes: Global attributes of the first file.
        arrays: By name; `variables` are those that are pointed at on purpose, the rest are coordinates and the like.
        variables: Names of the cube's data variables.
    """

    sources: tuple[SourceFile, ...]
    attributes: Mapping[str, Any]
    arrays: Mapping[str, CubeArray]
    variables: tuple[str, ...]

    @property
    def chunk_count(self) -> int:
        """Number of chunks that are pointed at."""
        return sum(int((a.references.files >= 0).sum()) for a in self.arrays.values() if a.references)

    @property
    def virtual_bytes(self) -> int:
        """Stored bytes of the chunks that are pointed at."""
        return sum(int(a.references.sizes.sum()) for a in self.arrays.values() if a.references)

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of all arrays when they are unpacked."""
        return sum(math.prod(a.shape) * a.dtype.itemsize for a in self.arrays.values())

    @property
    def steps(self) -> int:
        """Number of time steps; 0 for a cube without time."""
        return next((a.shape[a.dims.index("time")] for a in self.arrays.values() if "time" in a.dims), 0)

    def after(self, steps: int, sources: int) -> "CubeManifest":
        """Return what lies behind the first time steps, as a cube of the later files.

        Args:
            steps: Time steps to leave out; a whole number of chunks.
            sources: Source files to leave out.
        """
        arrays = {}
        for name, array in self.arrays.items():
            if "time" not in array.dims:
                continue
            axis = array.dims.index("time")
            shape = tuple(size - steps if place == axis else size for place, size in enumerate(array.shape))
            if array.values is not None:
                window = tuple(slice(steps, None) if place == axis else slice(None) for place in range(len(shape)))
                arrays[name] = replace(array, shape=shape, chunks=shape, values=array.values[window])
            elif array.references is not None:
                first = steps // array.chunks[axis]
                window = tuple(slice(first, None) if place == axis else slice(None) for place in range(len(shape)))
                files = array.references.files[window]
                references = ChunkReferences(
                    files=np.where(files == UNWRITTEN, files, files - np.int32(sources)),
                    offsets=array.references.offsets[window],
                    sizes=array.references.sizes[window],
                )
                arrays[name] = replace(array, shape=shape, references=references)
        return replace(self, sources=self.sources[sources:], arrays=arrays)

    def relocated(self, old: str, new: str) -> "CubeManifest":
        """Return the cube with its sources under another folder or URL.

        Raises:
            ValueError: A source does not lie under `old`.
        """
        moved = tuple(source.relocated(old, new) for source in self.sources)
        return replace(self, sources=moved)
