"""Kerchunk references as a Zarr store: which bytes of which file each chunk is, read from there as they are asked for.

A chunk without a reference was never written and is fill value. A chunk whose reference cannot be followed is an error
that names it: nothing is ever taken for fill value because it is gone.

Source: kerchunk, "References specification" (version 1) and "Parquet references" (docs/source/spec.rst).
"""

import asyncio
import base64
import json
import math
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest

from geoetl.core.errors import NotFound, UnreadableFile, VerificationFailed
from geoetl.store.remote import RemoteFile, SourcePath

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from zarr.core.buffer import Buffer, BufferPrototype

# Bytes of Parquet records that one store keeps; a record of 100,000 references takes 2 MB.
MAX_RECORDS_BYTES = 64 * 1024**2
_BASE64 = b"base64:"
_META = (".zarray", ".zattrs", ".zgroup")
_REMEDY = "A source file is gone, moved or damaged; build the references again from their sources."


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file.

    Attributes:
        path: The file, on this machine or in an object store.
        offset: Where they begin.
        size: How many they are; None for all that follow.
    """

    path: SourcePath
    offset: int
    size: int | None


class References(Protocol):
    """Tells what each key of a Zarr store is."""

    @property
    def name(self) -> str:
        """Name of the file or folder, for messages."""
        ...

    @property
    def metadata(self) -> Mapping[str, bytes]:
        """Every metadata document, by key."""
        ...

    @property
    def sources(self) -> Mapping[str, SourcePath]:
        """The file behind each address."""
        ...

    def find(self, key: str) -> bytes | Piece | None:
        """Return the bytes of a chunk or where they lie; None for a chunk that was never written."""
        ...


@dataclass(frozen=True)
class JsonReferences:
    """References of one JSON document.

    Attributes:
        name: Of the file, for messages.
        refs: Value of each key, as in the document.
        sources: The file behind each address.
    """

    name: str
    refs: Mapping[str, Any]
    sources: Mapping[str, SourcePath]

    @cached_property
    def metadata(self) -> Mapping[str, bytes]:
        """Every metadata document, by key."""
        return {key: _inline(value) for key, value in self.refs.items() if is_metadata(key)}

    def find(self, key: str) -> bytes | Piece | None:
        """Return the bytes of a chunk or where they lie; None for a chunk that was never written."""
        value = self.refs.get(key)
        if value is None:
            return None
        if not isinstance(value, list):
            return _inline(value)
        whole = len(value) == 1
        if not whole and not (len(value) == 3 and all(isinstance(n, int) and n >= 0 for n in value[1:])):
            raise _malformed(key, self.name, value)
        path = self.sources[value[0]]
        return Piece(path, 0, None) if whole else Piece(path, value[1], value[2])


@dataclass(frozen=True)
class Record:
    """One Parquet file of references, as arrays; row i is chunk i of the record.

    Attributes:
        targets: The addresses.
        codes: Position in `targets` of each row; -1 without address.
        offsets: First byte of each chunk.
        sizes: Bytes of each chunk; with offset 0 and size 0 the whole file.
        raw: Content of each chunk that is kept in the references themselves, else null (pyarrow array); None for none.
        nbytes: Memory that all of it takes.
    """

    targets: tuple[str, ...]
    codes: "NDArray[np.int64]"
    offsets: "NDArray[np.int64]"
    sizes: "NDArray[np.int64]"
    raw: Any
    nbytes: int


class ParquetReferences:
    """References of a folder with ``.zmetadata`` and ``NAME/refs.N.parq``; records are read when they are needed.

    Args:
        name: Of the folder, for messages.
        metadata: Every metadata document, by key.
        grids: Chunks along each dimension, for each array.
        record_size: References in each Parquet file.
        sources: The file behind each address.
        read: Reads a record, by its path within the folder.
    """

    def __init__(
        self,
        name: str,
        metadata: Mapping[str, bytes],
        grids: Mapping[str, tuple[int, ...]],
        record_size: int,
        sources: Mapping[str, SourcePath],
        read: Callable[[str], Record | None],
    ) -> None:
        self.name = name
        self.metadata = metadata
        self._grids = grids
        self._record_size = record_size
        self.sources = sources
        self._read = read
        self._lock = threading.Lock()
        self._records: OrderedDict[str, Record | None] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_records": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock, self._records = threading.Lock(), OrderedDict()

    def find(self, key: str) -> bytes | Piece | None:
        """Return the bytes of a chunk or where they lie; None for a chunk that was never written."""
        if key in self.metadata:
            return self.metadata[key]  # of an array without dimensions
        array, _, chunk = key.rpartition("/")
        grid = self._grids.get(array)
        if grid is None:
            return None
        number = _chunk_number(chunk, grid)
        if number is None:
            return None
        record = self._record(record_name(array, number // self._record_size))
        return None if record is None else self._found(record, number % self._record_size, key)

    def _found(self, record: Record, row: int, key: str) -> bytes | Piece | None:
        if record.raw is not None and record.raw[row].is_valid:
            return _decoded(record.raw[row].as_py())
        if record.codes[row] < 0:
            return None
        path = self.sources.get(record.targets[record.codes[row]])
        if path is None:
            raise UnreadableFile(
                f"The references '{self.name}' have changed since they were opened (at '{key}').",
                hint="Open them again.",
            )
        offset, size = int(record.offsets[row]), int(record.sizes[row])
        if offset < 0 or size < 0:
            raise _malformed(key, self.name, [offset, size])
        return Piece(path, 0, None) if offset == 0 and size == 0 else Piece(path, offset, size)

    def _record(self, name: str) -> Record | None:
        with self._lock:
            if name in self._records:
                self._records.move_to_end(name)
                return self._records[name]
        record = self._read(name)
        with self._lock:
            self._records[name] = record
            held = sum(kept.nbytes for kept in self._records.values() if kept is not None)
            while held > MAX_RECORDS_BYTES and len(self._records) > 1:
                _, dropped = self._records.popitem(last=False)
                held -= 0 if dropped is None else dropped.nbytes
        return record


class ReferenceStore(Store):
    """A read-only Zarr store over references to files on this machine and in object stores.

    Args:
        references: Tell what each key is.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, references: References) -> None:
        super().__init__(read_only=True)
        self._references = references
        self._metadata = references.metadata
        # zarr's word for it: chunks are then read in its few threads. Those of object stores are waited for, many at a
        # time.
        self._supports_sync_io = not any(isinstance(path, RemoteFile) for path in references.sources.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReferenceStore) and other._references is self._references

    def __repr__(self) -> str:
        return f"ReferenceStore({self._references.name!r})"

    async def get(
        self, key: str, prototype: "BufferPrototype", byte_range: ByteRequest | None = None
    ) -> "Buffer | None":
        """Return what a key stands for, or the part of it that is asked for."""
        if is_metadata(key):
            found: bytes | None = _part_of_bytes(self._metadata.get(key), byte_range)
        else:
            # In a thread, as it may come over the network; zarr asks for many chunks at once.
            found = await asyncio.to_thread(self._chunk, key, byte_range)
        return None if found is None else prototype.buffer.from_bytes(found)

    def _chunk(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        found = self._references.find(key)
        return read_piece(found, byte_range, key) if isinstance(found, Piece) else _part_of_bytes(found, byte_range)

    def get_sync(
        self,
        key: str,
        *,
        prototype: "BufferPrototype | None" = None,
        byte_range: ByteRequest | None = None,
    ) -> "Buffer | None":
        """Return what a key stands for, or the part of it that is asked for, without an event loop."""
        from zarr.core.buffer import default_buffer_prototype

        if is_metadata(key):
            found: bytes | None = _part_of_bytes(self._metadata.get(key), byte_range)
        else:
            found = self._chunk(key, byte_range)
        buffers = default_buffer_prototype() if prototype is None else prototype
        return None if found is None else buffers.buffer.from_bytes(found)

    def set_sync(self, key: str, value: "Buffer") -> None:
        """Refuse to write."""
        self._check_writable()

    def delete_sync(self, key: str) -> None:
        """Refuse to delete."""
        self._check_writable()

    async def get_partial_values(
        self, prototype: "BufferPrototype", key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> "list[Buffer | None]":
        """Return several parts."""
        return await asyncio.gather(*(self.get(key, prototype, byte_range) for key, byte_range in key_ranges))

    async def exists(self, key: str) -> bool:
        """Tell whether a key stands for anything."""
        return key in self._metadata or self._references.find(key) is not None

    async def set(self, key: str, value: "Buffer") -> None:
        """Refuse to write."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuse to delete."""
        self._check_writable()

    async def list(self) -> AsyncIterator[str]:
        """Yield the metadata documents; what chunks there are follows from them."""
        for key in self._metadata:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the metadata documents whose key begins with `prefix`."""
        for key in self._metadata:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly below `prefix`."""
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        for name in {key[len(folder) :].partition("/")[0] for key in self._metadata if key.startswith(folder)}:
            yield name


def _malformed(key: str, name: str, value: object) -> UnreadableFile:
    return UnreadableFile(
        f"The reference '{key}' of '{name}' is {str(value)[:80]}, which is no address, offset and size.",
        hint="Build the references again.",
    )


def is_metadata(key: str) -> bool:
    """Tell whether a key of a Zarr v2 store is a metadata document."""
    return key.endswith(_META) and key.rpartition("/")[2] in _META


def record_name(array: str, number: int) -> str:
    """Return the path of a record within its folder."""
    return f"{array}/refs.{number}.parq"


def chunk_grid(document: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the number of chunks along each dimension of a ``.zarray``; (1,) for a scalar.

    Raises:
        ValueError: Its shape and chunks are no such numbers.
    """
    shape, chunks = document["shape"], document["chunks"]
    if len(shape) != len(chunks) or not all(isinstance(n, int) and n >= 0 for n in (*shape, *chunks)):
        raise ValueError("shape and chunks do not fit")
    if not all(chunks):
        raise ValueError("a chunk of nothing")
    return tuple(math.ceil(size / chunk) for size, chunk in zip(shape, chunks, strict=True)) or (1,)


def read_piece(piece: Piece, byte_range: ByteRequest | None, key: str) -> bytes:
    """Return the bytes of a file, or the part of them that is asked for.

    Raises:
        UnreadableFile: The file is gone or ends before them; or the object has changed since it was looked at.
        ConfigurationError, Unavailable: Its object store cannot be read.
    """
    if isinstance(piece.path, RemoteFile):
        return _read_remote(piece.path, piece, byte_range, key)
    try:
        handle = os.open(piece.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UnreadableFile(
            f"The chunk '{key}' lies in '{piece.path.name}', which cannot be opened: {error.strerror}.", hint=_REMEDY
        ) from None
    try:
        there = os.fstat(handle).st_size
        size = max(there - piece.offset, 0) if piece.size is None else piece.size
        first, last = _bounds(byte_range, size)
        # Asked before reading: what references say may be any number.
        found = b"" if piece.offset + size > there else _read(handle, last - first, piece.offset + first)
    finally:
        os.close(handle)
    if len(found) < last - first:
        raise _beyond(piece, size, there, key)
    return found


def _read_remote(file: RemoteFile, piece: Piece, byte_range: ByteRequest | None, key: str) -> bytes:
    size = max(file.size - piece.offset, 0) if piece.size is None else piece.size
    first, last = _bounds(byte_range, size)
    if piece.offset + size > file.size:
        raise _beyond(piece, size, file.size, key)
    try:
        return file.read(piece.offset + first, last - first)
    except (NotFound, VerificationFailed) as error:
        raise UnreadableFile(f"The chunk '{key}' cannot be read. {error.detail}", hint=_REMEDY) from None


def _beyond(piece: Piece, size: int, there: int, key: str) -> UnreadableFile:
    return UnreadableFile(
        f"The chunk '{key}' lies in bytes {piece.offset} to {piece.offset + size} of '{piece.path.name}', "
        f"which has {there}.",
        hint=_REMEDY,
    )


def _read(handle: int, size: int, offset: int) -> bytes:
    """Read `size` bytes; fewer only where the file ends (Linux reads at most 2 GiB at once)."""
    parts = []
    while size > 0 and (part := os.pread(handle, size, offset)):
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _bounds(byte_range: ByteRequest | None, size: int) -> tuple[int, int]:
    """Return the first byte that is asked for of `size` bytes, and the one after the last."""
    if isinstance(byte_range, RangeByteRequest):
        return min(byte_range.start, size), min(byte_range.end, size)
    if isinstance(byte_range, OffsetByteRequest):
        return min(byte_range.offset, size), size
    if isinstance(byte_range, SuffixByteRequest):
        return max(size - byte_range.suffix, 0), size
    return 0, size


def _part_of_bytes(content: bytes | None, byte_range: ByteRequest | None) -> bytes | None:
    if content is None or byte_range is None:
        return content
    return content[slice(*_bounds(byte_range, len(content)))]


def _inline(value: Any) -> bytes:
    return _decoded(value.encode()) if isinstance(value, str) else json.dumps(value).encode()


def _decoded(content: bytes) -> bytes:
    return base64.b64decode(content[len(_BASE64) :]) if content.startswith(_BASE64) else content


def _chunk_number(chunk: str, grid: tuple[int, ...]) -> int | None:
    """Return the position of chunk ``i.j.k`` in the order of the records; None for what is no chunk of the grid."""
    indices = chunk.split(".")
    if len(indices) != len(grid):
        return None
    number = 0
    for index, count in zip(indices, grid, strict=True):
        if not index.isdecimal() or int(index) >= count:
            return None
        number = number * count + int(index)
    return number
