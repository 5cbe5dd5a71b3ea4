"""Archives of map tiles (PMTiles 3): one tile out of one file, with nothing unpacked that its header only claims.

Format: https://github.com/protomaps/PMTiles/blob/main/spec/v3/spec.md
"""

import json
import os
import threading
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.errors import FormatNotAllowed, LimitExceeded, UnreadableFile

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pmtiles.tile import HeaderDict

_HEADER_BYTES = 127
MIB = 1024 * 1024
# A directory as it is stored: the specification has 16 KiB for the root, and writers keep the others near that.
MAX_DIRECTORY_BYTES = MIB
# And as it is unpacked: a million entries of four numbers that are small in a sound archive.
MAX_UNPACKED_BYTES = 16 * MIB
# Browsers give up on vector tiles long before.
MAX_TILE_BYTES = 16 * MIB
# The root and three steps down (specification, section 4).
_MAX_DEPTH = 4
# Beyond it tile ids do not fit into 64 bits.
_MAX_ZOOM = 31
# Directories of one archive that are kept unpacked.
_MAX_DIRECTORIES = 64
# Bytes of the longest varint of 64 bits.
_MAX_VARINT = 10


class TileEncoding(StrEnum):
    """How a tile is packed, as HTTP calls it."""

    NONE = "identity"
    GZIP = "gzip"
    BROTLI = "br"
    ZSTD = "zstd"


@dataclass(frozen=True)
class _Directory:
    """What lies where: entries in the order of their tile ids.

    Attributes:
        tile_ids: First tile of each.
        run_lengths: How many tiles share its content; 0 for a further directory.
        lengths: Bytes of its content.
        offsets: Where that begins, in the data or in the further directories.
    """

    tile_ids: "NDArray[np.uint64]"
    run_lengths: "NDArray[np.uint64]"
    lengths: "NDArray[np.uint64]"
    offsets: "NDArray[np.uint64]"


class TileArchive:
    """An open PMTiles archive of vector tiles; safe for threads, and closed when nobody holds it.

    Args:
        path: The local file.

    Raises:
        FormatNotAllowed: It is no PMTiles archive of version 3, or has no vector tiles.
        UnreadableFile: It is truncated.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._closing = weakref.finalize(self, os.close, self._file)
        self._lock = threading.Lock()
        self._directories: OrderedDict[tuple[int, int], _Directory] = OrderedDict()
        try:
            self._header = self._read_header()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._closing()

    @property
    def encoding(self) -> TileEncoding:
        """How its tiles are packed."""
        from pmtiles.tile import Compression

        names = {
            Compression.NONE: TileEncoding.NONE,
            Compression.GZIP: TileEncoding.GZIP,
            Compression.BROTLI: TileEncoding.BROTLI,
            Compression.ZSTD: TileEncoding.ZSTD,
        }
        return names[self._header["tile_compression"]]

    @property
    def zooms(self) -> tuple[int, int]:
        """The lowest and the highest zoom that has tiles."""
        return self._header["min_zoom"], self._header["max_zoom"]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north of the tiles' content, degrees."""
        header = self._header
        sides = (header["min_lon_e7"], header["min_lat_e7"], header["max_lon_e7"], header["max_lat_e7"])
        west, south, east, north = (side / 1e7 for side in sides)
        return west, south, east, north

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """What the archive says about itself: ``vector_layers``, ``attribution`` and more.

        Raises:
            UnreadableFile: It is no JSON object.
        """
        packed = self._read(self._header["metadata_offset"], self._header["metadata_length"], MAX_DIRECTORY_BYTES)
        try:
            found = json.loads(self._unpacked(packed))
        except ValueError:
            raise self._damaged("its metadata are no JSON") from None
        if not isinstance(found, dict):
            raise self._damaged("its metadata are no JSON object")
        return found

    def tile(self, z: int, x: int, y: int) -> bytes | None:
        """Return a tile as it is stored, packed as `encoding` says; None where there is none.

        Raises:
            UnreadableFile: The archive is damaged there.
            LimitExceeded: The tile is too large.
        """
        from pmtiles.tile import zxy_to_tileid

        low, high = self.zooms
        if not low <= z <= min(high, _MAX_ZOOM) or not (0 <= x < 1 << z and 0 <= y < 1 << z):
            return None
        wanted = zxy_to_tileid(z, x, y)
        offset, length = self._header["root_offset"], self._header["root_length"]
        for _ in range(_MAX_DEPTH):
            directory = self._directory(offset, length)
            at = int(np.searchsorted(directory.tile_ids, np.uint64(wanted), side="right")) - 1
            if at < 0:
                return None
            run, size, begin = (int(part[at]) for part in (directory.run_lengths, directory.lengths, directory.offsets))
            if run:
                if wanted - int(directory.tile_ids[at]) >= run:
                    return None
                return self._read(self._header["tile_data_offset"] + begin, size, MAX_TILE_BYTES)
            offset, length = self._header["leaf_directory_offset"] + begin, size
        raise self._damaged("its directories nest too deeply")

    def _read_header(self) -> "HeaderDict":
        from pmtiles.tile import Compression, MagicNumberNotFound, SpecVersionUnsupported, TileType, deserialize_header

        try:
            header = deserialize_header(self._read(0, _HEADER_BYTES, _HEADER_BYTES))
        except (MagicNumberNotFound, SpecVersionUnsupported, UnicodeDecodeError):
            raise FormatNotAllowed(
                f"'{self._name}' is no PMTiles archive of version 3.", hint="Write it anew as PMTiles 3.", field="asset"
            ) from None
        except ValueError:
            raise self._damaged("its header names what PMTiles 3 does not have") from None
        if header["tile_type"] is not TileType.MVT:
            raise FormatNotAllowed(
                f"'{self._name}' has {header['tile_type'].name} tiles, not vector tiles (MVT).", field="asset"
            )
        if header["internal_compression"] not in (Compression.NONE, Compression.GZIP):
            raise FormatNotAllowed(
                f"The directories of '{self._name}' are packed as {header['internal_compression'].name}.",
                hint="Write it anew with gzip.",
                field="asset",
            )
        if header["tile_compression"] is Compression.UNKNOWN:
            raise self._damaged("it does not say how its tiles are packed")
        return header

    def _directory(self, offset: int, length: int) -> _Directory:
        with self._lock:
            kept = self._directories.get((offset, length))
        if kept is None:
            kept = self._decoded(self._unpacked(self._read(offset, length, MAX_DIRECTORY_BYTES)))
            with self._lock:
                self._directories[offset, length] = kept
                while len(self._directories) > _MAX_DIRECTORIES:
                    self._directories.popitem(last=False)
        return kept

    def _decoded(self, packed: bytes) -> _Directory:
        numbers = self._varints(packed)
        count = int(numbers[0]) if len(numbers) else 0
        if not count or len(numbers) < 1 + 4 * count:
            raise self._damaged("a directory ends too early")
        steps, run_lengths, lengths, places = numbers[1 : 1 + 4 * count].reshape(4, count)
        offsets = places - np.uint64(1)
        # 0 stands for: where the one before ends. The last that says its place begins each chain of such.
        chained = places == 0
        chained[0] = False
        if chained.any():
            ends = np.cumsum(lengths, dtype=np.uint64)
            before = np.concatenate([np.zeros(1, np.uint64), ends[:-1]])
            head = np.maximum.accumulate(np.where(chained, 0, np.arange(count)))
            offsets = np.where(chained, offsets[head] + (before - before[head]), offsets)
        return _Directory(np.cumsum(steps, dtype=np.uint64), run_lengths, lengths, offsets)

    def _varints(self, packed: bytes) -> "NDArray[np.uint64]":
        """Return the numbers of a text of varints: seven bits a byte, the lowest first, the last without its top."""
        parts = np.frombuffer(packed, dtype=np.uint8)
        ends = np.flatnonzero(parts < 0x80)
        if not len(ends) or ends[-1] != len(parts) - 1:
            raise self._damaged("a directory is cut off")
        starts = np.concatenate([np.zeros(1, np.intp), ends[:-1] + 1])
        sizes = ends - starts + 1
        if sizes.max() > _MAX_VARINT:
            raise self._damaged("a number in a directory is too long")
        shifts = np.arange(len(parts)) - np.repeat(starts, sizes)
        bits = (parts & 0x7F).astype(np.uint64) << (7 * shifts).astype(np.uint64)
        return np.add.reduceat(bits, starts)

    def _unpacked(self, packed: bytes) -> bytes:
        from pmtiles.tile import Compression

        if self._header["internal_compression"] is Compression.NONE:
            return packed
        unpacking = zlib.decompressobj(wbits=31)
        try:
            unpacked = unpacking.decompress(packed, MAX_UNPACKED_BYTES)
        except zlib.error:
            raise self._damaged("a part is no gzip") from None
        if not unpacking.eof:
            raise self._damaged(f"a part is cut off, or unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")
        return unpacked

    def _read(self, offset: int, length: int, limit: int) -> bytes:
        if length > limit:
            raise LimitExceeded(
                f"A part of '{self._name}' has {length:,} bytes; the limit is {limit:,}.",
                hint="Write the tiles anew with more zooms or fewer features a tile.",
                field="asset",
            )
        try:
            part = os.pread(self._file, length, offset)
        except (OSError, OverflowError):
            raise self._damaged("it names a place that no file has") from None
        if len(part) < length:
            raise self._damaged("it is truncated")
        return part

    def _damaged(self, why: str) -> UnreadableFile:
        return UnreadableFile(
            f"The tiles of '{self._name}' cannot be read: {why}.", hint="Make the item again.", field="asset"
        )
