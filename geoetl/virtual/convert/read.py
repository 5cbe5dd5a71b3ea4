"""Boxes of arrays; what a box of a source holds, unpacked by our own threads where that is possible."""

import math
import zlib
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.errors import UnreadableFile
from geoetl.store.gate import Format, Gate, check_netcdf
from geoetl.virtual.header import FileHeader

if TYPE_CHECKING:
    from collections.abc import Callable

    import h5py
    from numpy.typing import NDArray

Box = tuple[slice, ...]


def read_whole(gate: Gate, header: FileHeader, name: str) -> "NDArray[Any]":
    """Return the stored content of a small variable."""
    array = header.arrays[name]
    return read_box(gate, Path(header.address), name, whole(array.shape)) if array.values is None else array.values


def read_box(gate: Gate, path: Path, name: str, box: Box) -> "NDArray[Any]":
    """Return a box of stored numbers of one file.

    Raises:
        UnreadableFile: The file is damaged there.
    """
    try:
        if check_netcdf(path) is Format.HDF5:
            with gate.open_hdf5(path) as file:
                return _read_hdf5(file[name], box)
        with gate.open_netcdf(path, decode_cf=False) as opened:
            return np.asarray(opened[name][box].to_numpy())
    except (OSError, RuntimeError, ValueError, zlib.error) as error:
        raise UnreadableFile(
            f"'{name}' of '{path.name}' cannot be read: {first_line(error)}",
            hint="The file is probably truncated or damaged; fetch it again and compare its checksum.",
            field="source",
        ) from None


def first_line(error: Exception) -> str:
    """Return what a library says of an error, in short."""
    return (str(error).splitlines() or [""])[0][:160]


def _read_hdf5(dataset: "h5py.Dataset", box: Box) -> "NDArray[Any]":
    """Return a box of a dataset.

    HDF5 unpacks under one lock for the whole process, and by a slower library; so this does it where filters allow.
    """
    unpack = _unpacker(dataset)
    if unpack is None:
        return np.asarray(dataset[box])
    out = np.empty(lengths(box), dataset.dtype)
    for place, held in cut(box, dataset.chunks):
        origin = tuple(p * n for p, n in zip(place, dataset.chunks, strict=True))
        try:
            skipped, packed = dataset.id.read_direct_chunk(origin)
        except (OSError, RuntimeError):
            skipped, packed = -1, b""  # never written: the library knows the fill value
        out[within(held, corner(box))] = dataset[held] if skipped else unpack(packed)[within(held, origin)]
    return out


def _unpacker(dataset: "h5py.Dataset") -> "Callable[[bytes], NDArray[Any]] | None":
    """Return what unpacks a raw chunk of deflated, perhaps byte-shuffled numbers; None for any other storage."""
    if dataset.chunks is None or dataset.compression != "gzip" or dataset.dtype.kind not in "iuf":
        return None
    if dataset.id.get_create_plist().get_nfilters() != 1 + bool(dataset.shuffle):
        return None
    from isal import isal_zlib
    from isal.igzip_lib import IsalError
    from numcodecs.shuffle import Shuffle  # type: ignore[import-untyped]

    dtype, chunks = dataset.dtype, dataset.chunks
    size = math.prod(chunks) * dtype.itemsize
    shuffle = Shuffle(dtype.itemsize) if dataset.shuffle else None

    def unpack(packed: bytes) -> "NDArray[Any]":
        try:
            unpacked = isal_zlib.decompress(packed, bufsize=size)
        except IsalError as error:  # type: ignore[misc]  # isal 1.9 types it as an instance
            raise ValueError(f"a chunk cannot be inflated ({error})") from error
        if len(unpacked) != size:
            raise ValueError(f"a chunk has {len(unpacked)} bytes, not {size}")
        return np.frombuffer(shuffle.decode(unpacked) if shuffle else unpacked, dtype).reshape(chunks)

    return unpack


# -- boxes -------------------------------------------------------------------------------------------------------------


def cut(box: Box, cell: Sequence[int]) -> Iterator[tuple[tuple[int, ...], Box]]:
    """Give the place of each cell of a grid that a box touches, and what of the cell lies in the box."""
    grid = [range(part.start // size, -(-part.stop // size)) for part, size in zip(box, cell, strict=True)]
    for place in product(*grid):
        yield (
            place,
            tuple(
                slice(max(p * size, part.start), min((p + 1) * size, part.stop))
                for p, size, part in zip(place, cell, box, strict=True)
            ),
        )


def whole(shape: Sequence[int]) -> Box:
    """Return the box that is all of an array."""
    return tuple(slice(0, size) for size in shape)


def within(box: Box, origin: Sequence[int]) -> Box:
    """Return a box as counted from another corner."""
    return tuple(slice(part.start - begin, part.stop - begin) for part, begin in zip(box, origin, strict=True))


def corner(box: Box) -> tuple[int, ...]:
    """Return where a box begins."""
    return tuple(part.start for part in box)


def lengths(box: Box) -> tuple[int, ...]:
    """Return the shape of a box."""
    return tuple(part.stop - part.start for part in box)
