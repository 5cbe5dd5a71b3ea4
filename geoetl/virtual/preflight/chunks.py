"""Chunk shapes that make reading slow (behaviours.md, section 7, chunking validator)."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

from geoetl.core import html
from geoetl.core.findings import Severity
from geoetl.virtual.combine import PIECE_BYTES
from geoetl.virtual.header import ArrayHeader, FileHeader, Layout
from geoetl.virtual.preflight.cost import (
    chunks_in_map,
    count_chunks,
    plane_of,
    pointed_arrays,
    read_converted,
    read_virtual,
)
from geoetl.virtual.preflight.form import can_be_cut
from geoetl.virtual.preflight.notes import Note

BIG_PIECE_BYTES = 100_000_000
WIDE_CHUNK_CELLS = 1000
TINY_CHUNK_CELLS, TINY_CHUNKS = 50, 10_000
# A reference takes about as many bytes as such a chunk holds; below a thousand of them nobody notices.
TINY_CHUNK_BYTES, MANY_CHUNKS = 1024, 1000
HUGE_CHUNK_BYTES = 256 * 1024 * 1024
# Maps that take this many times longer than from a converted copy are not usable.
MAPS_IMPOSSIBLE = 100


def check_chunks(headers: Sequence[FileHeader]) -> tuple[list[Note], bool]:
    """Return what makes reading slow, and whether it makes maps impossible."""
    notes: list[Note] = []
    has_no_maps = False
    for name, members in pointed_arrays(headers).items():
        by_shape: dict[tuple[int, ...] | None, dict[int, ArrayHeader]] = defaultdict(dict)
        for number, array in members.items():
            by_shape[None if array.layout is Layout.CONTIGUOUS else array.chunks][number] = array
        for chunks, some in by_shape.items():
            numbers, arrays = tuple(some), list(some.values())
            if chunks is None:
                notes += _contiguous(name, numbers, arrays)
                continue
            notes += _slow_chunks(name, numbers, arrays)
            if _has_chunk_of_one(arrays[0]):
                virtual, converted = read_virtual(arrays)[0], read_converted(arrays)[0]
                has_no_maps |= virtual.seconds > MAPS_IMPOSSIBLE * converted.seconds
    return notes, has_no_maps


def _has_chunk_of_one(array: ArrayHeader) -> bool:
    plane = plane_of(array)
    return len(plane) == 2 and any(array.chunks[place] == 1 and array.shape[place] > 1 for place in plane)


def _contiguous(name: str, numbers: tuple[int, ...], arrays: Sequence[ArrayHeader]) -> Iterator[Note]:
    largest = max(array.nbytes for array in arrays)
    size, is_big = html.human_bytes(largest), largest > BIG_PIECE_BYTES
    if not is_big and all(array.time_axis is None for array in arrays):
        return
    told = "every reading fetches all of it"
    if all(can_be_cut(array) for array in arrays):
        told = f"references cut it between time steps, into chunks of at most about {html.human_bytes(PIECE_BYTES)}"
    said = f"'{name}' is stored without chunks, in one piece of up to {size}, in {{files}}; {told}."
    severity = Severity.WARNING if is_big else Severity.INFO
    remedy = "Convert the files to Zarr if point series are to be read often." if is_big else None
    yield Note(severity, "contiguous", said, numbers, name, f"contiguous, up to {size}", "chunks", remedy)


def _slow_chunks(name: str, numbers: tuple[int, ...], arrays: Sequence[ArrayHeader]) -> Iterator[Note]:
    def warning(code: str, said: str, expected: str, remedy: str) -> Note:
        said = f"'{name}' in {{files}} has chunks of {chunks}{said}"
        return Note(Severity.WARNING, code, said, numbers, name, str(chunks), expected, remedy)

    first = arrays[0]
    chunks, plane = first.chunks, plane_of(first)
    count = count_chunks(arrays)
    size = math.prod(chunks) * first.dtype.itemsize
    if _has_chunk_of_one(first):
        yield warning(
            "spatial_chunk_of_one",
            f", one cell wide: one map is read from {chunks_in_map(first):,} chunks.",
            "chunks that hold many rows and columns",
            "Consider a physical conversion to Zarr with chunks for maps; point series read well as they are.",
        )
    if any(chunks[place] > WIDE_CHUNK_CELLS for place in plane):
        yield warning(
            "wide_chunk",
            f", more than {WIDE_CHUNK_CELLS} cells wide: to show one place, the whole width is read.",
            f"at most {WIDE_CHUNK_CELLS} cells along a spatial dimension",
            "Convert the files to Zarr if small areas are to be read often.",
        )
    if (max(chunks) < TINY_CHUNK_CELLS and count > TINY_CHUNKS) or (size < TINY_CHUNK_BYTES and count > MANY_CHUNKS):
        yield warning(
            "tiny_chunks",
            f" ({html.human_bytes(size)}), {count:,} in all: reading is slow and references are large.",
            "fewer and larger chunks, of 1 to 10 MB",
            "Convert the files to Zarr if they are read often.",
        )
    if size > HUGE_CHUNK_BYTES:
        yield warning(
            "huge_chunk",
            f" ({html.human_bytes(size)} unpacked): every reading, however small, unpacks as much.",
            f"chunks of at most {html.human_bytes(HUGE_CHUNK_BYTES)}",
            "Convert the files to Zarr with smaller chunks.",
        )
