"""Vector tiles, many at once: features as the bytes of the format, made by array operations instead of one by one.

Format: Mapbox Vector Tile 2.1, https://github.com/mapbox/vector-tile-spec/tree/master/2.1
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

# Steps along the side of a tile; what all viewers are made for.
EXTENT = 4096
POINT, LINE, POLYGON = 1, 2, 3
_MOVE, _LINE_TO, _CLOSE = 1, 2, 15
# Entries (feature, attribute) that are put together at a time.
_ENTRIES_AT_A_TIME = 4_000_000
# Denser takes twice the time and saves a twentieth.
_DEFLATE_LEVEL = 6
Numbers = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Ragged:
    """Pieces of bytes, one behind the other.

    Attributes:
        data: All bytes.
        ends: Where each piece begins, and where the last ends: array (piece + 1).
    """

    data: Bytes
    ends: Numbers

    @classmethod
    def of_sizes(cls, sizes: Numbers) -> "Ragged":
        """Return pieces of these sizes, to be filled."""
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        return cls(np.zeros(int(ends[-1]), np.uint8), ends)

    @classmethod
    def joined(cls, parts: "Sequence[Ragged]") -> "Ragged":
        """Return the pieces of several, in order."""
        sizes = np.concatenate([part.sizes for part in parts]) if parts else np.zeros(0, np.int64)
        data = np.concatenate([part.data for part in parts]) if parts else np.zeros(0, np.uint8)
        return cls(data, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]))

    @property
    def sizes(self) -> Numbers:
        """Bytes of each piece."""
        return np.diff(self.ends)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def take(self, order: Numbers) -> "Ragged":
        """Return some pieces in another order."""
        taken = Ragged.of_sizes(self.sizes[order])
        return Ragged(self.data[_runs(self.ends[:-1][order], taken.sizes)], taken.ends)

    def grouped(self, ends: Numbers) -> "Ragged":
        """Return pieces put together: of each group the number of its first, and of the last its end."""
        return Ragged(self.data, self.ends[ends])


def _runs(starts: Numbers, sizes: Numbers) -> Numbers:
    """Return the numbers from each start on, as many as its size says, one run behind the other."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))


def side_by_side(*columns: Ragged) -> Ragged:
    """Return pieces that each are made of one piece of every column."""
    both = Ragged.of_sizes(np.sum([column.sizes for column in columns], axis=0))
    at = both.ends[:-1].copy()
    for column in columns:
        both.data[_runs(at, column.sizes)] = column.data
        at += column.sizes
    return both


def varints(values: NDArray[np.uint64]) -> Ragged:
    """Return numbers with seven bits a byte, the lowest first."""
    sizes = np.ones(len(values), np.int64)
    most = int(values.max()) if len(values) else 0
    for shift in range(7, max(most.bit_length(), 1), 7):
        sizes += values >= np.uint64(1 << shift)
    packed = Ragged.of_sizes(sizes)
    for place in range(int(sizes.max()) if len(sizes) else 0):
        here = sizes > place
        part = (values[here] >> np.uint64(7 * place)).astype(np.uint8) & 0x7F
        packed.data[packed.ends[:-1][here] + place] = part | np.where(sizes[here] > place + 1, 0x80, 0).astype(np.uint8)
    return packed


def zigzag(values: Numbers) -> NDArray[np.uint64]:
    """Return numbers of any sign as numbers without: 0, -1, 1, -2 as 0, 1, 2, 3."""
    return ((values << 1) ^ (values >> 63)).view(np.uint64)


def _messages(tag: int, bodies: Ragged) -> Ragged:
    """Return each piece as a field of a message: tag, size and bytes."""
    tags = Ragged(np.full(len(bodies), tag, np.uint8), np.arange(len(bodies) + 1))
    return side_by_side(tags, varints(bodies.sizes.astype(np.uint64)), bodies)


# -- geometry ----------------------------------------------------------------------------------------------------------


def kinds_of(shapes: NDArray[Any]) -> NDArray[np.int8]:
    """Return what a tile calls the kind of each geometry: array (geometry) of `POINT`, `LINE`, `POLYGON`."""
    table = np.array([POINT, LINE, LINE, POLYGON, POINT, LINE, POLYGON, 0], np.int8)
    return table[shapely.get_type_id(shapes)]


def geometries(shapes: NDArray[Any], kinds: NDArray[np.int8]) -> tuple[NDArray[np.bool_], Ragged]:
    """Return geometries in steps of their tile as its commands.

    Args:
        shapes: Of any kind but collections, x eastwards and y southwards: array (geometry).
        kinds: See `kinds_of`.

    Returns:
        Which of them are something at this scale, and the commands of those.
    """
    there = np.zeros(len(shapes), bool)
    parts, numbers = [], []
    for kind, encode in ((POINT, _points), (LINE, _lines), (POLYGON, _polygons)):
        chosen = np.flatnonzero((kinds == kind) & ~shapely.is_empty(shapes))
        if len(chosen):
            kept, packed = encode(shapes[chosen])
            there[chosen[kept]] = True
            parts.append(packed)
            numbers.append(chosen[kept])
    if not parts:
        return there, Ragged.joined([])
    order = np.argsort(np.concatenate(numbers), kind="stable")
    return there, Ragged.joined(parts).take(order)


def _points(shapes: NDArray[Any]) -> tuple[NDArray[np.bool_], Ragged]:
    places, feature = shapely.get_coordinates(shapes, return_index=True)
    steps = np.rint(places).astype(np.int64)
    first = _firsts(feature)
    counts = np.bincount(feature, minlength=len(shapes))
    starts = np.cumsum(2 * counts + 1) - (2 * counts + 1)
    stream = np.zeros(int((2 * counts + 1).sum()), np.uint64)
    stream[starts] = (counts << 3 | _MOVE).astype(np.uint64)
    within = np.arange(len(feature)) - np.flatnonzero(first)[np.cumsum(first) - 1]
    _put(stream, starts[feature] + 1 + 2 * within, _moves(steps, first))
    ends = np.concatenate([starts, [len(stream)]])
    return np.ones(len(shapes), bool), varints(stream).grouped(ends)


def _lines(shapes: NDArray[Any]) -> tuple[NDArray[np.bool_], Ragged]:
    parts, owner = shapely.get_parts(shapes, return_index=True)
    places, part = shapely.get_coordinates(parts, return_index=True)
    steps = np.rint(places).astype(np.int64)
    steps, part = _without_repeats(steps, part)
    counts = np.bincount(part, minlength=len(parts))
    kept = counts >= 2
    chosen = kept[part]
    return _paths(steps[chosen], counts[kept], owner[kept], len(shapes), closed=False)


def _polygons(shapes: NDArray[Any]) -> tuple[NDArray[np.bool_], Ragged]:
    parts, owner = shapely.get_parts(shapes, return_index=True)
    rings, of_part = shapely.get_rings(parts, return_index=True)
    places, ring = shapely.get_coordinates(rings, return_index=True)
    steps = np.rint(places).astype(np.int64)
    steps, ring = _without_repeats(steps, ring)
    counts = np.bincount(ring, minlength=len(rings))
    last = np.cumsum(counts) - 1
    starts = last - counts + 1
    # Twice the area, positive where the ring is clockwise on the screen.
    x, y = steps[:, 0], steps[:, 1]
    across = np.zeros(len(x), np.int64)
    across[:-1] = x[:-1] * y[1:] - x[1:] * y[:-1]
    across[last] = 0
    areas = np.add.reduceat(across, starts) if len(across) else np.zeros(0, np.int64)
    outer = _firsts(of_part)
    whole = (counts >= 4) & (areas != 0)
    # Holes go with what they are cut out of.
    kept = whole & whole[np.flatnonzero(outer)[np.cumsum(outer) - 1]]
    sizes = (counts - 1)[kept]
    within = _runs(np.zeros(len(sizes), np.int64), sizes)
    backwards = np.repeat((areas > 0)[kept] != outer[kept], sizes)
    first = np.repeat(starts[kept], sizes)
    taken = np.where(backwards, first + np.repeat(sizes, sizes) - within, first + within)
    return _paths(steps[taken], sizes, owner[of_part[kept]], len(shapes), closed=True)


def _paths(
    steps: Numbers, counts: Numbers, owner: Numbers, features: int, *, closed: bool
) -> tuple[NDArray[np.bool_], Ragged]:
    """Return the commands of lines or rings.

    Args:
        steps: All their places: array (place, 2).
        counts: How many places each has: array (path).
        owner: The feature that each belongs to, ascending: array (path).
        features: How many there are.
        closed: Whether they are rings.
    """
    sizes = 2 * counts + 2 + closed
    starts = np.cumsum(sizes) - sizes
    stream = np.zeros(int(sizes.sum()), np.uint64)
    stream[starts] = 1 << 3 | _MOVE
    stream[starts + 3] = ((counts - 1) << 3 | _LINE_TO).astype(np.uint64)
    if closed:
        stream[starts + sizes - 1] = _CLOSE
    within = _runs(np.zeros(len(counts), np.int64), counts)
    first = np.zeros(len(steps), bool)
    first[(np.cumsum(counts) - counts)[_firsts(owner)]] = True
    _put(stream, np.repeat(starts, counts) + 1 + 2 * within + (within > 0), _moves(steps, first))
    there = np.zeros(features, bool)
    there[owner] = True
    ends = np.concatenate([starts[_firsts(owner)], [len(stream)]]).astype(np.int64)
    return there, varints(stream).grouped(ends)


def _firsts(groups: Numbers) -> NDArray[np.bool_]:
    """Tell which are the first of their group; groups stand together."""
    first = np.ones(len(groups), bool)
    first[1:] = groups[1:] != groups[:-1]
    return first


def _without_repeats(steps: Numbers, path: Numbers) -> tuple[Numbers, Numbers]:
    kept = _firsts(path)
    kept[1:] |= (steps[1:] != steps[:-1]).any(axis=1)
    return steps[kept], path[kept]


def _moves(steps: Numbers, first: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return how far each place is from the one before; the first of a feature from the corner of the tile."""
    moves = steps.copy()
    moves[1:] -= np.where(first[1:, None], 0, steps[:-1])
    return zigzag(moves)


def _put(stream: NDArray[np.uint64], at: Numbers, moves: NDArray[np.uint64]) -> None:
    stream[at], stream[at + 1] = moves[:, 0], moves[:, 1]


# -- attributes --------------------------------------------------------------------------------------------------------


class Attributes:
    """The attributes of all features as tiles hold them: each value once, and its number for each feature.

    Args:
        columns: Name and values of each attribute, all of the same length.
    """

    def __init__(self, columns: "Iterator[tuple[str, pa.ChunkedArray]]") -> None:
        self.names: list[str] = []
        self._codes: list[NDArray[np.int32]] = []
        values: list[Ragged] = []
        first = 0
        for name, column in columns:
            encoded = _dictionary(column)
            codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
            packed = _values(encoded.dictionary)
            if not len(packed):
                continue  # a column without values
            self.names.append(name)
            self._codes.append(np.where(codes < 0, -1, codes + first).astype(np.int32))
            values.append(packed)
            first += len(packed)
        self._values = Ragged.joined(values)
        self.keys = b"".join(_field(0x1A, name.encode()) for name in self.names)

    def entries(self, rows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Return the values that some features have: which of the rows, which attribute, which value; ordered so."""
        if not self._codes:
            return (np.zeros(0, np.int64),) * 3
        codes = np.stack([codes[rows] for codes in self._codes], axis=1)
        row, key = np.nonzero(codes >= 0)
        return row, key, codes[row, key].astype(np.int64)

    @property
    def count(self) -> int:
        """How many attributes there are."""
        return len(self.names)

    @property
    def value_count(self) -> int:
        """How many values there are."""
        return len(self._values)

    def messages(self, values: Numbers) -> Ragged:
        """Return values as parts of a layer."""
        return _messages(0x22, self._values.take(values))


def _dictionary(column: pa.ChunkedArray) -> Any:
    plain = _plain(column)
    encoded = plain.dictionary_encode()
    return encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """Return values in one of the types that tiles know: text, doubles, whole numbers, truth values."""
    kind = column.type
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_boolean(kind) or pa.types.is_string(kind):
        return whole
    if pa.types.is_integer(kind):
        return whole.cast(pa.int64() if kind != pa.uint64() else pa.float64(), safe=False)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = whole.cast(pa.float64())
        return pc.if_else(pc.is_finite(numbers), numbers, None)
    if pa.types.is_large_string(kind) or pa.types.is_temporal(kind) or pa.types.is_dictionary(kind):
        return whole.cast(pa.string())
    import orjson

    texts = [None if value is None else orjson.dumps(value, default=str).decode() for value in whole.to_pylist()]
    return pa.array(texts, pa.string())


def _values(unique: pa.Array) -> Ragged:
    """Return different values as messages."""
    kind = unique.type
    count = len(unique)

    def tagged(tag: int, bodies: Ragged) -> Ragged:
        return side_by_side(Ragged(np.full(count, tag, np.uint8), np.arange(count + 1)), bodies)

    if pa.types.is_boolean(kind):
        truth = unique.to_numpy(zero_copy_only=False).astype(np.uint8)
        return tagged(0x38, Ragged(truth, np.arange(count + 1)))
    if pa.types.is_integer(kind):
        return tagged(0x30, varints(zigzag(unique.to_numpy(zero_copy_only=False).astype(np.int64))))
    if pa.types.is_floating(kind):
        numbers = np.ascontiguousarray(unique.to_numpy(zero_copy_only=False), "<f8")
        return tagged(0x19, Ragged(numbers.view(np.uint8), np.arange(count + 1) * 8))
    ends = np.frombuffer(unique.buffers()[1], np.int32, count + 1, unique.offset * 4).astype(np.int64)
    data = np.frombuffer(unique.buffers()[2] or b"", np.uint8)[ends[0] : ends[-1]]
    return _messages(0x0A, Ragged(data, ends - ends[0]))


# -- tiles -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pieces:
    """Features in tiles, ordered by tile.

    Attributes:
        tiles: Number of the tile that each lies in: array (piece), ascending.
        rows: The feature that each is of: array (piece).
        kinds: See `kinds_of`.
        geometry: Commands of each.
    """

    tiles: Numbers
    rows: Numbers
    kinds: NDArray[np.int8]
    geometry: Ragged

    def take(self, order: Numbers) -> "Pieces":
        """Return some of them in another order."""
        return Pieces(self.tiles[order], self.rows[order], self.kinds[order], self.geometry.take(order))


def encoded_tiles(pieces: Pieces, attributes: Attributes, layer: str) -> Iterator[tuple[int, bytes]]:
    """Put tiles together: the number of each, and its bytes packed with gzip."""
    starts = np.flatnonzero(_firsts(pieces.tiles))
    ends = np.append(starts[1:], len(pieces.tiles))
    at_a_time = max(1, _ENTRIES_AT_A_TIME // max(1, attributes.count))
    first = 0
    while first < len(starts):
        last = max(first + 1, int(np.searchsorted(ends, starts[first] + at_a_time, side="right")))
        yield from _slab(pieces, slice(int(starts[first]), int(ends[last - 1])), attributes, layer)
        first = last


def _slab(pieces: Pieces, part: slice, attributes: Attributes, layer: str) -> Iterator[tuple[int, bytes]]:
    tiles, rows, kinds = pieces.tiles[part], pieces.rows[part], pieces.kinds[part]
    geometry = pieces.geometry.take(np.arange(part.start, part.stop))
    is_first = _firsts(tiles)
    starts = np.flatnonzero(is_first)
    tile = np.cumsum(is_first) - 1
    row, key, value = attributes.entries(rows)
    # Each tile lists the values that it has; features name them by their place in that list.
    spread = np.int64(max(1, attributes.value_count))
    listed, place = np.unique(tile[row] * spread + value, return_inverse=True)
    of_tile = np.searchsorted(listed, np.arange(len(starts) + 1) * spread)
    stream = np.empty(2 * len(row), np.uint64)
    stream[0::2] = key.astype(np.uint64)
    stream[1::2] = (place.reshape(-1) - of_tile[tile[row]]).astype(np.uint64)
    of_row = np.searchsorted(row, np.arange(len(rows) + 1))
    tags = varints(stream).grouped(2 * of_row)
    kind = Ragged(
        np.column_stack([np.full(len(kinds), 0x18), kinds]).astype(np.uint8).ravel(), 2 * np.arange(len(kinds) + 1)
    )
    features = _messages(0x12, side_by_side(_messages(0x12, tags), kind, _messages(0x22, geometry)))
    values = attributes.messages(listed % spread)
    begin = b"\x78\x02" + _field(0x0A, layer.encode())
    end = b"\x28" + varints(np.array([EXTENT], np.uint64)).data.tobytes()
    ends = np.append(starts[1:], len(tiles))
    for number, (first, last) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        body = b"".join(
            [
                begin,
                features.data[features.ends[first] : features.ends[last]].tobytes(),
                attributes.keys,
                values.data[values.ends[of_tile[number]] : values.ends[of_tile[number + 1]]].tobytes(),
                end,
            ]
        )
        yield int(tiles[first]), _packed(_field(0x1A, body))


def _field(tag: int, body: bytes) -> bytes:
    """Return one field of a message; there are many small tiles, for which an array would take longer."""
    head, size = bytearray([tag]), len(body)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + body


def _packed(tile: bytes) -> bytes:
    packing = zlib.compressobj(_DEFLATE_LEVEL, wbits=31)
    return packing.compress(tile) + packing.flush()
