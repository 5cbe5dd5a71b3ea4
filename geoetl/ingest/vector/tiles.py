"""Vector tiles of a dataset, thinned so that each tile stays small and the map stays honest.

The deepest zoom has every feature, and so has every zoom of a layer of few: a map of countries has no holes. At the
zooms above the deepest of others, a feature of at least a cell (a 64th of a tile, 4 to 8 pixels) is always there; of
smaller ones each cell shows one: the largest area or the longest line, and of points one that chance chose. So dense
places stay dense and sparse ones are not emptied, and what is shown stays there as one zooms in.
What would be smaller than a pixel is drawn as one pixel. A tile that still has more features or bytes than it may loses
its smallest features, also at the deepest zoom; how many each zoom shows is written into the archive.

GDAL's driver was tried first (3.12): it gives every feature to every zoom and cuts features off where a tile gets too
large, in no order that a map could show, and takes a minute for 100 000 points.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import shapely
from numpy.typing import NDArray

from geoetl.ingest.vector import grid, mvt
from geoetl.ingest.vector.mvt import EXTENT, LINE, POLYGON
from geoetl.ingest.vector.result import ZoomLevel

Numbers = NDArray[np.int64]
# Zoom limits. Below 2 a layer cannot be zoomed into at all; beyond 14 maps draw on from these tiles as well.
MIN_MAX_ZOOM, MAX_ZOOM = 2, 14
# A browser draws so many without a pause, and fetches so much while a map is moved (GDAL has the same bytes).
MAX_TILE_FEATURES = 10_000
MAX_TILE_BYTES = 500_000
# Layers of so many are whole at every zoom: half of what a tile may have, and holes would be taken for missing data.
FEW_FEATURES = 5_000
# A step of its tiles is 9.6 m at the equator.
_ZOOM_OF_POINTS = 10
# Cells along the side of a tile, as zooms.
_CELL_ZOOMS = 6
# A pixel of a tile that is drawn on 256 of them, in steps.
PIXEL = EXTENT // 256
# A quarter of a pixel: nobody sees what is left out.
_TOLERANCE = 4
# Beyond the sides of a tile, so that outlines do not show where tiles meet.
_BUFFER = 64
# A zoom is not made where it would have more tiles than this and few features in each.
_FEW_TILES, _FEATURES_A_TILE = 4_000, 20
# A tile that is too large is made again with as much less, and some to spare.
_SHARE = 0.9
_ROUNDS = 6
# Larger than any coordinate of a tile, smaller than what rounding spoils.
_FAR = 1e12
_NO_RANK = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Outline:
    """What of all features is needed to choose among them, in the order of their keys.

    Attributes:
        keys: See `grid.keys`: array (feature), ascending.
        bounds: xmin, ymin, xmax, ymax in degrees: array (feature, 4).
        sizes: Side of a square of the same area, or the length of a line, in degrees of longitude; 0 for points.
    """

    keys: Numbers
    bounds: NDArray[np.float64]
    sizes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.keys)


def deepest_zoom(outline: Outline) -> int:
    """Return the zoom from which on maps draw from the same tiles.

    There the typical feature spans half a tile, and points are within 10 m of their place; but it is no deeper than
    where tiles have few features, and no flatter than where the fullest tile has as many as it may.
    """
    sized = outline.sizes[outline.sizes > 0]
    if len(sized) > len(outline) / 2:
        wanted = round(math.log2(180 / max(float(np.median(sized)), 1e-9)))
    else:
        extent = max(float(np.ptp(outline.bounds[:, [0, 2]])), 1e-9)
        wanted = max(_ZOOM_OF_POINTS, round(math.log2(360 / extent)) + 4)
    affordable = next((zoom - 1 for zoom in range(MAX_ZOOM + 1) if not _is_affordable(outline, zoom)), MAX_ZOOM)
    needed = next((zoom for zoom in range(MAX_ZOOM) if _fullest(outline, zoom) <= MAX_TILE_FEATURES), MAX_ZOOM)
    return max(MIN_MAX_ZOOM, min(MAX_ZOOM, max(needed, min(wanted, affordable))))


def _is_affordable(outline: Outline, zoom: int) -> bool:
    tiles = 1 + np.count_nonzero(np.diff(grid.cells(outline.keys, zoom)))
    spans = (outline.bounds[:, 2:] - outline.bounds[:, :2]) * ((1 << zoom) / 360)
    tiles += int(np.floor(spans).prod(axis=1).sum())
    return bool(tiles <= max(_FEW_TILES, len(outline) / _FEATURES_A_TILE))


def _fullest(outline: Outline, zoom: int) -> int:
    ends = np.flatnonzero(np.diff(grid.cells(outline.keys, zoom), append=-1))
    return int(np.diff(ends, prepend=-1).max())


def ranks(outline: Outline) -> Numbers:
    """Return how soon each feature is shown: the largest first, those of a size in an order of chance."""
    order = np.lexsort((np.random.default_rng(0).permutation(len(outline)), -outline.sizes))
    found = np.empty(len(outline), np.int64)
    found[order] = np.arange(len(outline))
    return found


def shown_at(outline: Outline, ranked: Numbers, zoom: int) -> NDArray[np.bool_]:
    """Tell what a zoom above the deepest shows: all of few features, else the large and the first of each cell."""
    if len(outline) <= FEW_FEATURES:
        return np.ones(len(outline), bool)
    large = outline.sizes >= 360 / (1 << (zoom + _CELL_ZOOMS))
    cells = grid.cells(outline.keys, min(zoom + _CELL_ZOOMS, grid.KEY_ZOOM))
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    small = np.where(large, _NO_RANK, ranked)
    best = np.minimum.reduceat(small, starts)
    sizes = np.diff(starts, append=len(cells))
    return np.asarray(large | (small == np.repeat(best, sizes)) & ~large)


class Pyramid:
    """The tiles of all zooms, made while the features pass by in the order of their keys.

    Args:
        outline: All features.
    """

    def __init__(self, outline: Outline) -> None:
        self.max_zoom = deepest_zoom(outline)
        self._outline = outline
        self._ranks = ranks(outline)
        self._shown = {zoom: shown_at(outline, self._ranks, zoom) for zoom in range(self.max_zoom)}
        self._pieces: dict[int, list[mvt.Pieces]] = {zoom: [] for zoom in range(self.max_zoom + 1)}

    def add(self, shapes: NDArray[Any], first: int) -> None:
        """Take features into all tiles that they touch.

        Args:
            shapes: Valid, in degrees: array (feature).
            first: The number of the first of them.
        """
        rows = np.arange(first, first + len(shapes))
        shapes = shapely.transform(shapes, grid.world)
        for zoom in range(self.max_zoom, -1, -1):
            if zoom < self.max_zoom:
                chosen = self._shown[zoom][rows]
                rows, shapes = rows[chosen], shapes[chosen]
            if not len(rows):
                return
            # What was simplified for the zoom below is simplified further.
            tolerance = _TOLERANCE / (EXTENT * (1 << zoom))
            simple = shapely.simplify(shapes, tolerance, preserve_topology=False)
            gone = shapely.is_empty(simple)
            simple[gone] = shapes[gone]
            shapes = simple
            self._pieces[zoom].append(_pieces(shapes, rows, zoom))

    def write(
        self, target: Path, attributes: mvt.Attributes, *, layer: str, about: Mapping[str, Any]
    ) -> list[ZoomLevel]:
        """Write all tiles as a PMTiles archive; say what each zoom shows."""
        from pmtiles.tile import Compression, TileType

        levels = []
        with target.open("wb") as file:
            writer: Any = _writer(file)
            for zoom, found in self._pieces.items():
                pieces = _joined(found)
                found.clear()
                budget = _Budget(self._ranks)
                tiles = 0
                largest = 0
                for number, tile in budget.tiles(pieces, attributes, layer):
                    writer.write_tile(grid.first_tile_id(zoom) + number, tile)
                    tiles += 1
                    largest = max(largest, len(tile))
                shown = len(np.unique(budget.shown(pieces)))
                levels.append(ZoomLevel(zoom=zoom, tiles=tiles, features=shown, largest_tile_bytes=largest))
            low, high = self._outline.bounds[:, :2].min(axis=0), self._outline.bounds[:, 2:].max(axis=0)
            west, east = float(low[0]), float(high[0])
            edge = grid.MAX_LATITUDE_DEG
            south, north = max(-edge, float(low[1])), min(edge, float(high[1]))
            edges = {"min_lon_e7": west, "min_lat_e7": south, "max_lon_e7": east, "max_lat_e7": north}
            centre = {"center_lon_e7": (west + east) / 2, "center_lat_e7": (south + north) / 2}
            header = {
                **{name: int(degrees * 1e7) for name, degrees in {**edges, **centre}.items()},
                "tile_type": TileType.MVT,
                "tile_compression": Compression.GZIP,
                "center_zoom": min(self.max_zoom, max(0, math.floor(math.log2(360 / max(east - west, 360 / 2**12))))),
            }
            writer.finalize(header, {**about, "geoetl:features": {str(level.zoom): level.features for level in levels}})
        return levels


def _writer(file: BinaryIO) -> Any:
    from pmtiles import writer

    make: Any = writer.Writer  # has no types
    return make(file)


class _Budget:
    """Keeps tiles within their features and bytes; what goes first is what is ranked last."""

    def __init__(self, ranked: Numbers) -> None:
        self._ranks = ranked
        self._kept: NDArray[np.bool_] = np.zeros(0, bool)

    def tiles(self, pieces: mvt.Pieces, attributes: mvt.Attributes, layer: str) -> Iterator[tuple[int, bytes]]:
        """Return each tile with its number, ascending."""
        self._kept = np.ones(len(pieces.tiles), bool)
        starts = np.flatnonzero(np.diff(pieces.tiles, prepend=-1))
        ends = np.append(starts[1:], len(pieces.tiles))
        for first, last in zip(starts.tolist(), ends.tolist(), strict=True):
            if last - first > MAX_TILE_FEATURES:
                self._thin(pieces, first, last, MAX_TILE_FEATURES)
        place = dict(zip(pieces.tiles[starts].tolist(), zip(starts.tolist(), ends.tolist(), strict=True), strict=True))
        whole = pieces if self._kept.all() else pieces.take(np.flatnonzero(self._kept))
        for number, tile in mvt.encoded_tiles(whole, attributes, layer):
            first, last = place[number]
            for _ in range(_ROUNDS):
                count = int(self._kept[first:last].sum())
                if len(tile) <= MAX_TILE_BYTES or count == 1:
                    break
                self._thin(pieces, first, last, max(1, int(count * _SHARE * MAX_TILE_BYTES / len(tile))))
                fewer = pieces.take(first + np.flatnonzero(self._kept[first:last]))
                ((_, tile),) = mvt.encoded_tiles(fewer, attributes, layer)
            yield number, tile

    def shown(self, pieces: mvt.Pieces) -> Numbers:
        """Return the features that are left, some several times."""
        return pieces.rows[self._kept]

    def _thin(self, pieces: mvt.Pieces, first: int, last: int, most: int) -> None:
        here = first + np.flatnonzero(self._kept[first:last])
        order = np.argsort(self._ranks[pieces.rows[here]], kind="stable")
        self._kept[here[order[most:]]] = False


def _joined(parts: list[mvt.Pieces]) -> mvt.Pieces:
    """Return pieces of all batches by tile, and in each tile as they came."""
    tiles = np.concatenate([part.tiles for part in parts]) if parts else np.zeros(0, np.int64)
    order = np.argsort(tiles, kind="stable")
    return mvt.Pieces(
        tiles[order],
        np.concatenate([part.rows for part in parts])[order] if parts else tiles,
        np.concatenate([part.kinds for part in parts])[order] if parts else np.zeros(0, np.int8),
        mvt.Ragged.joined([part.geometry for part in parts]).take(order),
    )


def _pieces(shapes: NDArray[Any], rows: Numbers, zoom: int) -> mvt.Pieces:
    """Cut features in the unit square into the tiles of a zoom, and encode them."""
    side = 1 << zoom
    shapes = shapely.transform(shapes, lambda places: places * (side * EXTENT))
    kinds = mvt.kinds_of(shapes)
    shapes = _at_least_a_pixel(shapes, kinds)
    bounds = shapely.bounds(shapes)
    low = np.clip(np.floor((bounds[:, :2] - _BUFFER) / EXTENT), 0, side - 1).astype(np.int64)
    high = np.clip(np.floor((bounds[:, 2:] + _BUFFER) / EXTENT), 0, side - 1).astype(np.int64)
    tile, owner, parts = _cut(shapes, low, high)
    origin = tile.astype(np.float64) * EXTENT
    local = _moved(parts, -origin)
    there, geometry = mvt.geometries(local, kinds[owner])
    return mvt.Pieces(
        grid.hilbert(tile[there, 0], tile[there, 1], zoom), rows[owner[there]], kinds[owner[there]], geometry
    )


def _at_least_a_pixel(shapes: NDArray[Any], kinds: NDArray[np.int8]) -> NDArray[Any]:
    """Return areas of less than a pixel as squares and lines shorter than one as dashes, each of a pixel."""
    bounds = shapely.bounds(shapes)
    spans = bounds[:, 2:] - bounds[:, :2]
    middle = (bounds[:, 2:] + bounds[:, :2]) / 2
    areas = np.flatnonzero((kinds == POLYGON) & (shapely.area(shapes) < PIXEL**2 / 4) & (spans < 4 * PIXEL).all(axis=1))
    lines = np.flatnonzero((kinds == LINE) & (spans < PIXEL).all(axis=1))
    if len(areas) or len(lines):
        shapes = shapes.copy()
        half = PIXEL / 2
        x, y = middle[areas].T
        shapes[areas] = shapely.box(x - half, y - half, x + half, y + half)
        ends = np.stack([middle[lines] - [half, 0], middle[lines] + [half, 0]], axis=1)
        shapes[lines] = shapely.linestrings(ends) if len(lines) else []
    return shapes


def _cut(shapes: NDArray[Any], low: Numbers, high: Numbers) -> tuple[Numbers, Numbers, NDArray[Any]]:
    """Halve features along the sides of tiles until each part lies in one, give or take the buffer.

    Args:
        shapes: array (feature).
        low, high: The first and the last column and row of tiles that each may touch: array (feature, 2).

    Returns:
        The tile of each part: array (part, 2); the feature it is of: array (part); the parts.
    """
    owner = np.arange(len(shapes))
    for axis in (0, 1):
        while (wide := low[:, axis] < high[:, axis]).any():
            middle = (low[wide, axis] + high[wide, axis] + 1) // 2
            side = np.zeros((len(middle), 2))
            side[:, axis] = -middle * EXTENT
            moved = _moved(shapes[wide], side)
            halves = []
            for clip in (_before, _behind):
                part = clip(moved, axis)
                halves.append(_moved(part, -side))
            lower_high, upper_low = high[wide].copy(), low[wide].copy()
            lower_high[:, axis], upper_low[:, axis] = middle - 1, middle
            shapes = np.concatenate([shapes[~wide], *halves])
            low = np.concatenate([low[~wide], low[wide], upper_low])
            high = np.concatenate([high[~wide], lower_high, high[wide]])
            owner = np.concatenate([owner[~wide], owner[wide], owner[wide]])
            kept = ~shapely.is_empty(shapes)
            shapes, low, high, owner = shapes[kept], low[kept], high[kept], owner[kept]
    return low, owner, shapes


def _before(shapes: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return what lies before the axis and its buffer."""
    return _clipped(shapes, (-_FAR, -_FAR, *((_BUFFER, _FAR) if axis == 0 else (_FAR, _BUFFER))))


def _behind(shapes: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return what lies behind the axis and its buffer."""
    return _clipped(shapes, (*((-_BUFFER, -_FAR) if axis == 0 else (-_FAR, -_BUFFER)), _FAR, _FAR))


def _clipped(shapes: NDArray[Any], box: tuple[float, float, float, float]) -> NDArray[Any]:
    clip: Callable[..., NDArray[Any]] = shapely.clip_by_rect
    return np.asarray(_same_kind(clip(shapes, *box), mvt.kinds_of(shapes)), object)


def _same_kind(parts: NDArray[Any], kinds: NDArray[np.int8]) -> NDArray[Any]:
    """Return parts of their features' own kind: an area that only touches a side leaves a line there."""
    mixed = np.flatnonzero((shapely.get_type_id(parts) == 7) & ~shapely.is_empty(parts))
    other = (mvt.kinds_of(parts) != kinds) & ~shapely.is_empty(parts)
    other[mixed] = False
    parts[other] = shapely.Polygon()
    for number in mixed.tolist():
        inner = shapely.get_parts(parts[number])
        own = inner[mvt.kinds_of(inner) == kinds[number]]
        whole: dict[int, Callable[..., Any]] = {
            mvt.POINT: shapely.multipoints,
            LINE: shapely.multilinestrings,
            POLYGON: shapely.multipolygons,
        }
        parts[number] = whole[int(kinds[number])](shapely.get_parts(own)) if len(own) else shapely.Polygon()
    return parts


def _moved(shapes: NDArray[Any], steps: NDArray[np.float64]) -> NDArray[Any]:
    """Return each geometry moved by its own steps: array (geometry, 2)."""
    moved = shapes.copy()
    places, owner = shapely.get_coordinates(moved, return_index=True)
    return np.asarray(shapely.set_coordinates(moved, places + steps[owner]), object)
