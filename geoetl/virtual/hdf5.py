"""The chunk index of HDF5 datasets: where each chunk lies in the file, read in bulk.

The index of the common layout (version 3 with a version 1 B-tree, what netCDF-4 writes by default) is walked level by
level: all nodes of a level are read in coalesced runs, those of an object side by side, and viewed as numpy records, so
no object is made for a chunk.
Any other layout goes through h5py's ``chunk_iter``, which is linear too.  Both give the same table.

Source: HDF5 File Format Specification 3.0, sections II.A (superblock), III.A.1 (version 1 B-trees), IV.A.1 (object
headers) and IV.A.2.i (data layout message).
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from geoetl.core.errors import UnreadableFile

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

# On this machine, nodes closer together than this are read in one go; such a gap costs less than a second request.
COALESCE_GAP_BYTES = 64 * 1024
# A run is cut here, so that a file that claims nodes all over does not ask for its whole size at once.
MAX_RUN_BYTES = 16 * 1024 * 1024
# Runs that are asked for at once hold no more than this together.
MAX_BATCH_BYTES = 64 * 1024 * 1024
# Deeper than any tree can be that indexes 2**64 chunks with two entries a node: deeper means a cycle.
MAX_LEVELS = 64
_TREE_HEADER_BYTES = 24
# Entries a node may have: the "indexed storage internal node K" of 32, which every library writes, means 64.
_MAX_ENTRIES = 64
_LAYOUT_MESSAGE, _CONTINUATION_MESSAGE = 0x0008, 0x0010
_UNDEFINED = 0xFFFFFFFFFFFFFFFF
_CHUNKED = 2


class ByteReader(Protocol):
    """Reads byte ranges of one open file.

    Attributes:
        size: Bytes of the file.
        gap: Ranges closer together than this are better read as one.
    """

    @property
    def size(self) -> int: ...

    @property
    def gap(self) -> int: ...

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`; ValueError where they reach beyond the end."""
        ...

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several ranges, each (offset, size)."""
        ...


class FileReader:
    """Reads byte ranges of a file of this machine.

    Args:
        descriptor: Of the open file.
    """

    gap = COALESCE_GAP_BYTES

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`.

        Raises:
            ValueError: They reach beyond the end of the file.
        """
        if offset < 0 or offset + size > self.size:
            raise ValueError(f"{size} bytes at {offset} reach beyond the end of the file ({self.size} bytes)")
        return os.pread(self._descriptor, size, offset)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several ranges, each (offset, size).

        Raises:
            ValueError: One reaches beyond the end of the file.
        """
        return [self.read_at(*wanted) for wanted in ranges]


@dataclass(frozen=True)
class ChunkTable:
    """The written chunks of one dataset, in the order of their place in the array.

    Attributes:
        grid: Number of chunks along each dimension.
        indices: Place of each chunk in that grid, array (chunk, dimension).
        offsets: Byte at which each begins in the file, array (chunk,).
        sizes: Stored bytes of each, array (chunk,).
        masks: Filters that were skipped for each, one bit a filter, array (chunk,).
    """

    grid: tuple[int, ...]
    indices: "NDArray[np.int64]"
    offsets: "NDArray[np.uint64]"
    sizes: "NDArray[np.uint64]"
    masks: "NDArray[np.uint32]"

    @property
    def is_complete(self) -> bool:
        """Tell whether every chunk of the grid was written."""
        return len(self.offsets) == int(np.prod(self.grid))

    @property
    def first_masked(self) -> tuple[int, ...] | None:
        """The place of the first chunk that was stored without one of the filters; None where there is none."""
        masked = np.flatnonzero(self.masks)
        return tuple(int(i) for i in self.indices[masked[0]]) if masked.size else None

    def read(self, reader: ByteReader) -> list[bytes]:
        """Return the stored bytes of every chunk, in the order of the table; neighbours are read together.

        Raises:
            ValueError: A chunk reaches beyond the end of the file.
        """
        begins, lengths = self.offsets.astype(np.int64), self.sizes.astype(np.int64)
        order = np.argsort(begins, kind="stable")
        ends = np.maximum.accumulate((begins + lengths)[order])
        blocks: list[bytes] = [b""] * len(begins)
        for start, stop, low, data in _read_runs(reader, begins[order], ends):
            run = order[start:stop]
            firsts, sizes = (begins[run] - low).tolist(), lengths[run].tolist()
            for place, first, size in zip(run.tolist(), firsts, sizes, strict=True):
                blocks[place] = data[first : first + size]
        return blocks


def reader_of(file: "h5py.File") -> FileReader | None:
    """Return what reads the bytes of an open file of this machine; None where its addresses are not bytes of it."""
    return FileReader(file.id.get_vfd_handle()) if file.driver == "sec2" and not file.userblock_size else None


def chunk_table(dataset: "h5py.Dataset", reader: ByteReader | None = None) -> ChunkTable:
    """Return where the chunks of a chunked dataset lie; unwritten chunks are absent.

    Args:
        dataset: Of an open file.
        reader: Reads its bytes; by default as `reader_of` does.

    Raises:
        UnreadableFile: The index is damaged.
        ValueError: The dataset is not chunked.
    """
    if dataset.chunks is None:
        raise ValueError(f"{dataset.name} is not chunked")
    try:
        found = _walk(dataset, reader)
    except (ValueError, IndexError, OSError, RuntimeError):
        found = None  # a layout that is not understood here: the library reads it, or says what is wrong with it
    return found if found is not None else _iterate(dataset)


def _walk(dataset: "h5py.Dataset", reader: ByteReader | None = None) -> ChunkTable | None:
    """Read the version 1 B-tree of a dataset; None where it has another index or the file another form."""
    reader = reader or reader_of(dataset.file)
    if reader is None or not _has_eight_byte_addresses(reader):
        return None
    import h5py

    # Not h5o.get_info, which walks the whole index to tell its size.
    low, high = h5py.h5g.get_objinfo(dataset.id).objno
    layout = _layout_message(reader, low | high << 32)
    if layout is None or layout[:2] != bytes((3, _CHUNKED)):
        return None
    rank = layout[2] - 1
    if rank != dataset.ndim:
        return None
    root = int.from_bytes(layout[3:11], "little")
    chunk_shape = np.frombuffer(layout, "<u4", rank, 11).astype(np.int64)
    if tuple(chunk_shape) != dataset.chunks:
        return None
    leaves = _leaves(reader, root, rank)
    if leaves is None:
        return None
    indices = leaves["offset"][:, :rank].astype(np.int64) // chunk_shape
    return _table(dataset, indices, leaves["address"], leaves["size"], leaves["mask"])


def _iterate(dataset: "h5py.Dataset") -> ChunkTable:
    """Read the index through the library, one call a chunk."""
    places: list[tuple[int, ...]] = []
    rest: list[tuple[int, int, int]] = []

    def note(stored: Any) -> None:
        places.append(stored.chunk_offset)
        rest.append((stored.byte_offset, stored.size, stored.filter_mask))

    try:
        dataset.id.chunk_iter(note)
    except (RuntimeError, OSError) as error:
        raise UnreadableFile(
            f"The chunk index of '{dataset.name}' is damaged: {str(error)[:160]}",
            hint="The file is probably truncated; fetch it again and compare its checksum.",
            field="source",
        ) from None
    indices = np.array(places, dtype=np.int64).reshape(-1, dataset.ndim) // np.array(dataset.chunks, dtype=np.int64)
    numbers = np.array(rest, dtype=np.uint64).reshape(-1, 3)
    return _table(dataset, indices, numbers[:, 0], numbers[:, 1], numbers[:, 2])


def _table(dataset: "h5py.Dataset", indices: Any, offsets: Any, sizes: Any, masks: Any) -> ChunkTable:
    grid = tuple(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    # A dataset that was shrunk may keep chunks beyond its shape.
    inside = ((indices >= 0) & (indices < np.array(grid, dtype=np.int64))).all(axis=1)
    places = np.ravel_multi_index(tuple(indices[inside].T), grid) if inside.any() else np.empty(0, np.int64)
    # A B-tree names its chunks in order, so that there is nothing to sort as a rule.
    chosen: Any = slice(None) if inside.all() else inside
    if not (places[1:] > places[:-1]).all():
        chosen = np.flatnonzero(inside)[np.unique(places, return_index=True)[1]]
    return ChunkTable(
        grid=grid,
        indices=indices[chosen],
        offsets=offsets[chosen].astype(np.uint64),
        sizes=sizes[chosen].astype(np.uint64),
        masks=masks[chosen].astype(np.uint32),
    )


def _read_many(reader: ByteReader, offsets: "NDArray[np.uint64]", size: int) -> "NDArray[np.uint8]":
    """Return blocks of equal `size`, array (block, byte); neighbours are read together.

    A block that reaches beyond the end of the file is filled up with zeros: nodes are allocated at full size, but the
    last one of a file may be cut behind its used entries.

    Raises:
        ValueError: One begins beyond the end.
    """
    order = np.argsort(offsets, kind="stable")
    ordered = offsets[order].astype(np.int64)
    blocks = [b""] * len(offsets)
    for start, stop, low, part in _read_runs(reader, ordered, ordered + size):
        for place, begin in zip(order[start:stop].tolist(), (ordered[start:stop] - low).tolist(), strict=True):
            blocks[place] = part[begin : begin + size].ljust(size, b"\0")
    return np.frombuffer(b"".join(blocks), np.uint8).reshape(-1, size)


def _read_runs(
    reader: ByteReader, begins: "NDArray[np.int64]", ends: "NDArray[np.int64]"
) -> Iterator[tuple[int, int, int, bytes]]:
    """Read the neighbours among ranges whose begins and ends ascend: positions (start, stop), first byte, content.

    Raises:
        ValueError: A range begins beyond the end of the file.
    """
    batch: list[tuple[int, int, int, int]] = []
    held = 0
    for start, stop in _runs(begins, ends, reader.gap):
        low = int(begins[start])
        size = min(int(ends[stop - 1]), reader.size) - low
        if low < 0 or size < 0:
            raise ValueError(f"a range at {low} lies beyond the end of the file ({reader.size} bytes)")
        if batch and held + size > MAX_BATCH_BYTES:
            yield from _read_batch(reader, batch)
            batch, held = [], 0
        batch.append((start, stop, low, size))
        held += size
    yield from _read_batch(reader, batch)


def _read_batch(reader: ByteReader, batch: list[tuple[int, int, int, int]]) -> Iterator[tuple[int, int, int, bytes]]:
    contents = reader.read_ranges([(low, size) for _, _, low, size in batch])
    for (start, stop, low, _), data in zip(batch, contents, strict=True):
        yield start, stop, low, data


def _runs(begins: "NDArray[np.int64]", ends: "NDArray[np.int64]", gap: int) -> Sequence[tuple[int, int]]:
    """Return (start, stop) of neighbours among ranges whose begins and ends ascend."""
    if len(begins) == 0:
        return []
    far = np.flatnonzero(begins[1:] > ends[:-1] + gap) + 1
    runs = []
    for start, stop in zip([0, *far], [*far, len(begins)], strict=True):
        begin = start
        while begin < stop:
            end = int(np.searchsorted(begins[begin:stop], begins[begin] + MAX_RUN_BYTES, side="right")) + begin
            runs.append((int(begin), int(max(end, begin + 1))))
            begin = max(end, begin + 1)
    return runs


def _has_eight_byte_addresses(reader: ByteReader) -> bool:
    head = reader.read_at(0, 16)
    if head[:8] != b"\x89HDF\r\n\x1a\n":
        return False
    version = head[8]
    return (version in (0, 1) and head[13:15] == b"\x08\x08") or (version in (2, 3) and head[9:11] == b"\x08\x08")


def _layout_message(reader: ByteReader, address: int) -> bytes | None:
    """Return the data layout message of an object header of version 1 or 2."""
    prefix = reader.read_at(address, 16)
    if prefix[:4] == b"OHDR":
        flags = reader.read_at(address + 5, 1)[0]
        start = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        size = int.from_bytes(reader.read_at(start, width), "little")
        return _find_message(reader, [(start + width, size)], version=2, has_order=bool(flags & 4))
    if prefix[0] == 1:
        size = int.from_bytes(prefix[8:12], "little")
        return _find_message(reader, [(address + 16, size)], version=1, has_order=False)
    return None


def _find_message(reader: ByteReader, blocks: list[tuple[int, int]], *, version: int, has_order: bool) -> bytes | None:
    head = 8 if version == 1 else 6 if has_order else 4
    seen: set[int] = set()
    while blocks:
        offset, size = blocks.pop()
        if offset in seen:
            return None
        seen.add(offset)
        block = reader.read_at(offset, size)
        position = 0
        while position + head <= len(block):
            if version == 1:
                kind = int.from_bytes(block[position : position + 2], "little")
                length = int.from_bytes(block[position + 2 : position + 4], "little")
            else:
                kind = block[position]
                length = int.from_bytes(block[position + 1 : position + 3], "little")
            body = block[position + head : position + head + length]
            if kind == _LAYOUT_MESSAGE:
                return body
            if kind == _CONTINUATION_MESSAGE and len(body) >= 16:
                at, extent = int.from_bytes(body[:8], "little"), int.from_bytes(body[8:16], "little")
                # A version 2 block begins with "OCHK" and ends with a checksum.
                blocks.append((at, extent) if version == 1 else (at + 4, extent - 8))
            position += head + length
    return None


def _leaves(reader: ByteReader, root: int, rank: int) -> "NDArray[Any] | None":
    """Return the entries of all leaf nodes as records (size, mask, offset, address)."""
    entry = np.dtype(
        [("size", "<u4"), ("mask", "<u4"), ("offset", "<u8", (rank + 1,)), ("address", "<u8")]
    )  # a key and the child behind it
    if root == _UNDEFINED:
        return np.empty(0, entry)
    node_bytes = _TREE_HEADER_BYTES + _MAX_ENTRIES * entry.itemsize
    addresses = np.array([root], dtype=np.uint64)
    expected_level: int | None = None
    for _ in range(MAX_LEVELS):
        nodes = _read_many(reader, addresses, node_bytes)
        if not (nodes[:, :4] == np.frombuffer(b"TREE", np.uint8)).all() or not (nodes[:, 4] == 1).all():
            return None
        level = int(nodes[0, 5])
        if not (nodes[:, 5] == level).all() or (expected_level is not None and level != expected_level):
            return None
        used = nodes[:, 6].astype(np.int64) | nodes[:, 7].astype(np.int64) << 8
        if (used > _MAX_ENTRIES).any():
            return None
        records = np.ascontiguousarray(nodes[:, _TREE_HEADER_BYTES:]).view(entry)
        entries = records[np.arange(_MAX_ENTRIES) < used[:, np.newaxis]]
        if level == 0:
            return entries
        addresses = np.ascontiguousarray(entries["address"])
        if len(np.unique(addresses)) < len(addresses):
            # A tree that shares its nodes has more leaves than bytes, and the library would visit each of them.
            raise UnreadableFile(
                "The chunk index is damaged: a node of it stands in it twice.",
                hint="The file is probably truncated; fetch it again and compare its checksum.",
                field="source",
            )
        expected_level = level - 1
    return None
