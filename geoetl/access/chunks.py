"""How a cube's variable is cut into chunks, and how many of them an answer needs; nothing is read for it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike


class Reading(NamedTuple):
    """What has to be read: chunks of a cube or blocks of a raster, and the bytes that they unpack to."""

    chunks: int
    size: int


def chunk_lengths(array: "xr.DataArray") -> dict[str, int] | None:
    """Return the length of a chunk along each dimension of a variable as it was opened; None where it has none."""
    preferred = array.encoding.get("preferred_chunks")
    if preferred:
        return {str(dim): int(preferred.get(dim, size)) for dim, size in array.sizes.items()}
    chunks = array.encoding.get("chunks")
    if chunks is None or len(chunks) != array.ndim:
        return None
    return {str(dim): int(length) for dim, length in zip(array.dims, chunks, strict=True)}


def reading_of(array: "xr.DataArray", positions: "Mapping[str, ArrayLike]") -> Reading:
    """Return the chunks that hold some positions of a variable, each read whole; without chunks, what is asked for.

    Args:
        array: The variable as it was opened, with all of its dimensions.
        positions: Which positions along each dimension are wanted; all along those left out.
    """
    lengths = chunk_lengths(array)
    chunks, size = 1, array.dtype.itemsize
    for dim, whole in array.sizes.items():
        wanted = np.atleast_1d(positions[str(dim)]) if str(dim) in positions else np.arange(whole)
        if lengths is None:
            size *= wanted.size
            continue
        touched = int(np.unique(wanted // lengths[str(dim)]).size)
        chunks *= touched
        size *= touched * lengths[str(dim)]
    return Reading(chunks, size) if size else Reading(0, 0)
