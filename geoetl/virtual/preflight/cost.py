"""Estimates of what references and a conversion cost, from chunk shapes and codecs."""

import math
from collections import defaultdict
from collections.abc import Sequence

from geoetl.virtual.combine import PIECE_BYTES
from geoetl.virtual.header import ArrayHeader, FileHeader
from geoetl.virtual.preflight.form import can_be_cut
from geoetl.virtual.preflight.model import Cost, Effort

# Measured on 2 cores, local disk, warm cache; 73,728 cells of 4 bytes a chunk (performance.md, sections 2 to 5).
CORES = 2
REFERENCE_S_PER_FILE, REFERENCE_S_PER_CHUNK = 7.5e-3, 0.5e-6
# What each file takes besides: times and attributes in references; opening and comparing it in a conversion.
REFERENCE_BYTES_PER_FILE, CONVERT_S_PER_FILE = 800, 40e-3
REFERENCE_BYTES_PER_CHUNK = 150  # kerchunk JSON; Icechunk takes a third, Parquet a tenth
CHUNK_S = 0.3e-3  # to find, fetch and place one chunk
INFLATE_S_PER_BYTE = 5.5e-9  # zlib 4.9 s and unshuffle 1.0 s for 3650 chunks, by unpacked byte
FETCH_S_PER_BYTE = 1.5e-9  # 0.87 s for 3650 chunks, by stored byte
# 18.3 s for 14,600 chunks of 4.3 GB, less what those chunks cost each by itself; by unpacked byte.
CONVERT_S_PER_BYTE = 3.2e-9
# Stored bytes after by those before: smooth fields, zstd + shuffle.
CONVERTED_OF_PACKED, CONVERTED_OF_PLAIN = 0.98, 0.53
# A converted copy for maps has chunks of one step and 256 x 256 cells, one for series of 1460 steps and 24 x 48 cells.
MAP_CHUNK, SERIES_CHUNK = (256, 256), (1460, 24, 48)
UNZSTD_MAP_S_PER_BYTE, UNZSTD_SERIES_S_PER_BYTE = 2.2e-9, 0.9e-9


def estimate(headers: Sequence[FileHeader]) -> Cost:
    """Estimate both ways for all files."""
    pointed = [list(members.values()) for members in pointed_arrays(headers).values()]
    arrays = [array for members in pointed for array in members]
    chunks = count_chunks(arrays)
    unpacked, converted = sum(array.nbytes for array in arrays), sum(_stored(a) * _shrinking(a) for a in arrays)
    largest = max(pointed, key=lambda members: sum(array.nbytes for array in members), default=[])
    virtual, plain = read_virtual(largest), read_converted(largest)
    return Cost(
        references=Effort(
            seconds=len(headers) * REFERENCE_S_PER_FILE + chunks * REFERENCE_S_PER_CHUNK,
            bytes=chunks * REFERENCE_BYTES_PER_CHUNK + len(headers) * REFERENCE_BYTES_PER_FILE,
        ),
        conversion=Effort(
            seconds=unpacked * CONVERT_S_PER_BYTE + chunks * CHUNK_S + len(headers) * CONVERT_S_PER_FILE,
            bytes=int(converted),
        ),
        virtual_map=virtual[0],
        virtual_series=virtual[1],
        converted_map=plain[0],
        converted_series=plain[1],
    )


def read_virtual(arrays: Sequence[ArrayHeader]) -> tuple[Effort, Effort]:
    """Return the effort of one map and of one series of a variable through references."""
    if not arrays:
        return _reading(0, 0, 0), _reading(0, 0, 0)
    first = arrays[0]
    along_time = sum(1 if array.time_axis is None else _grid_shape(array)[array.time_axis] for array in arrays)
    stored = sum(map(_stored, arrays)) / max(count_chunks(arrays), 1)
    unpacked = math.prod(first.chunks) * first.dtype.itemsize
    if can_be_cut(first):
        row = unpacked // max(first.shape[0], 1)
        rows = min(max(PIECE_BYTES // max(row, 1), 1), first.shape[0])
        unpacked = stored = rows * row
        along_time = sum(-(-array.shape[0] // max(rows, 1)) for array in arrays)
    each = CHUNK_S + stored * FETCH_S_PER_BYTE + (unpacked * INFLATE_S_PER_BYTE if _is_packed(first) else 0)
    return _reading(chunks_in_map(first), each, stored), _reading(along_time, each, stored)


def read_converted(arrays: Sequence[ArrayHeader]) -> tuple[Effort, Effort]:
    """Return the same from converted copies, one with chunks for maps and one for series."""
    if not arrays:
        return _reading(0, 0, 0), _reading(0, 0, 0)
    first = arrays[0]
    plane = [first.shape[place] for place in plane_of(first)]
    steps = sum(1 if array.time_axis is None else array.shape[array.time_axis] for array in arrays)
    share = sum(map(_stored, arrays)) / max(sum(array.nbytes for array in arrays), 1) * _shrinking(first)
    width = [min(size, chunk) for size, chunk in zip(plane, MAP_CHUNK[2 - len(plane) :], strict=True)]
    map_bytes = math.prod(width) * first.dtype.itemsize
    count = math.prod(-(-size // max(chunk, 1)) for size, chunk in zip(plane, width, strict=True))
    narrow = [min(size, chunk) for size, chunk in zip([steps, *plane], SERIES_CHUNK, strict=False)]
    series_bytes = math.prod(narrow) * first.dtype.itemsize
    return (
        _reading(count, CHUNK_S + map_bytes * UNZSTD_MAP_S_PER_BYTE, map_bytes * share),
        _reading(-(-steps // SERIES_CHUNK[0]), CHUNK_S + series_bytes * UNZSTD_SERIES_S_PER_BYTE, series_bytes * share),
    )


def pointed_arrays(headers: Sequence[FileHeader]) -> dict[str, dict[int, ArrayHeader]]:
    """Return the gridded variables that references point at: by name, then by the number of the file."""
    arrays: dict[str, dict[int, ArrayHeader]] = defaultdict(dict)
    for number, header in enumerate(headers):
        for name in header.variables:
            if (array := header.arrays.get(name)) is not None and array.values is None:
                arrays[name][number] = array
    return arrays


def plane_of(array: ArrayHeader) -> tuple[int, ...]:
    """Return the places of the dimensions that make a map: the last two without time."""
    return tuple(place for place in range(len(array.shape)) if place != array.time_axis)[-2:]


def chunks_in_map(array: ArrayHeader) -> int:
    """Return how many chunks hold one map."""
    grid = _grid_shape(array)
    return math.prod(grid[place] for place in plane_of(array))


def _grid_shape(array: ArrayHeader) -> tuple[int, ...]:
    return tuple(-(-size // max(chunk, 1)) for size, chunk in zip(array.shape, array.chunks, strict=True))


def count_chunks(arrays: Sequence[ArrayHeader]) -> int:
    """Return how many chunks arrays have together."""
    return sum(math.prod(_grid_shape(array)) for array in arrays)


def _stored(array: ArrayHeader) -> int:
    return array.nbytes if array.grid is None else int(array.grid.sizes.sum())


def _is_packed(array: ArrayHeader) -> bool:
    return array.unsupported is not None or any(c["id"] not in ("shuffle", "fletcher32") for c in array.codecs)


def _shrinking(array: ArrayHeader) -> float:
    return CONVERTED_OF_PACKED if _is_packed(array) else CONVERTED_OF_PLAIN


def _reading(count: int, seconds_each: float, bytes_each: float) -> Effort:
    """Return the effort to read some chunks, as many at a time as there are cores."""
    return Effort(seconds=count * seconds_each / min(CORES, max(count, 1)), bytes=int(count * bytes_each))
