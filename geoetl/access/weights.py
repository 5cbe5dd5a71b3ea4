"""How much of a region each cell of a grid holds: areas on the sphere, in square kilometres.

Edges of boxes, polygons and regular cells are straight in longitude and latitude (RFC 7946, 3.1.1), and the area under
such an edge has a closed form.  So the areas are exact to rounding, for edges and cells of any length.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.grid import EARTH_RADIUS_KM, Axis, Grid, IrregularGrid, RegularGrid
from geoetl.access.result import extent_text
from geoetl.core.errors import LimitExceeded, NotFound
from geoetl.core.spatial import BBox

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from geoetl.access.region import Region

# A cell counts, for the least and the largest value, where the region holds this share of it at least: coordinates are
# often float32, which puts edges of cells so far off.
COUNTED_SHARE = 1e-4
# Cells of a region that are held in memory at once: areas and shares of them take half a gigabyte.
MAX_CELLS = 2**25
# Pieces that edges of a polygon may be cut into by the grid: some 20 s; the coast of Norway in 0.01 degrees has 1e5.
MAX_PIECES = 50_000_000
# Pieces that are worked on at once, which bounds the memory.
_PIECES_AT_ONCE = 1_000_000
# Shares nearer to none or all than this are rounding.
_ROUNDING = 1e-12
# An area from corners that differs from that between centres by such a factor is none.
_FAR_OFF = 4.0
# Bytes of weights that are kept for the next question, of all cubes of a process.
KEPT_BYTES = 128 * 1024 * 1024
WEIGHTED_BY_AREA = "area of each cell within the region"
WEIGHTED_BY_CELL = "area of each cell whose centre lies in the region"
EQUAL_WEIGHTS = "equal: the areas of the cells are not known"
NOT_WEIGHTED = "none"


@dataclass(frozen=True)
class Weights:
    """How much of a region each cell holds.

    Attributes:
        dims: Dimensions of the grid, in the order of the arrays' axes.
        positions: Positions along each of them, in the file; columns of a regular grid run from west to east.
        areas: Area of each cell within the region, in the order of `positions`, in km2; 1 for each where none is known.
        cover: Share of each cell that lies within the region, 0 to 1.
        total: Area of the region in the units of `areas`, also where it has no cells.
        weighting: What an answer says about it.
    """

    dims: tuple[str, ...]
    positions: tuple["NDArray[np.intp]", ...]
    areas: "NDArray[np.float64]"
    cover: "NDArray[np.float64]"
    total: float
    weighting: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each dimension."""
        return self.areas.shape

    @property
    def counted(self) -> "NDArray[np.bool_]":
        """Which cells count as lying in the region: those with more of them in it than rounding."""
        return np.asarray(self.cover > COUNTED_SHARE * self.cover.max(initial=0.0))

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return self.areas.nbytes + self.cover.nbytes

    def unweighted(self) -> "Weights":
        """Return the same cells, each as heavy as any other."""
        alike = self.counted.astype(np.float64)
        return Weights(self.dims, self.positions, alike, alike, float(alike.sum()), NOT_WEIGHTED)


class WeightCache:
    """Keeps weights for the next question, the longest unused goes first; safe for threads.

    Args:
        capacity: Bytes that are kept at most.
    """

    def __init__(self, capacity: int = KEPT_BYTES) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Weights] = OrderedDict()

    def get(self, key: Hashable, work_out: Callable[[], Weights]) -> Weights:
        """Return the weights of `key`, worked out now where they are not there."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        weights = work_out()
        with self._lock:
            self._kept[key] = weights
            while sum(kept.bytes for kept in self._kept.values()) > self._capacity:
                self._kept.popitem(last=False)
        return weights


def cell_weights(grid: Grid, region: "BBox | Region", areas: "NDArray[np.float64] | None" = None) -> Weights:
    """Return how much of a region each cell of a grid holds.

    Args:
        grid: The grid.
        region: A box or a region.
        areas: Area of each cell of an irregular grid, as `irregular_areas` returns them; None where none is known.

    Raises:
        NotFound: The region has no cell.
        LimitExceeded: It has too many.
    """
    if isinstance(grid, RegularGrid):
        found = _box_weights(grid, region) if isinstance(region, BBox) else _polygon_weights(grid, region.geometry)
    else:
        found = _weights_by_centre(grid, region, areas)
    if not found.areas.any():
        raise _no_cells(grid, region)
    return found


def cells_of(grid: Grid, box: BBox) -> int:
    """Return how many cells a box has at most; nothing is worked out for it."""
    if isinstance(grid, IrregularGrid):
        return grid.lon.size
    rows = _overlaps(grid.lat, box.south, box.north)
    columns = _lon_overlaps(grid.lon, box.west, box.width_deg) > 0
    return int((rows[1] > rows[0]).sum()) * int(columns.sum())


def check_cells(grid: Grid, box: BBox) -> None:
    """Refuse a region with more cells than fit into memory.

    Raises:
        LimitExceeded: It has.
    """
    cells = cells_of(grid, box)
    if cells > MAX_CELLS:
        raise LimitExceeded(
            f"The region has {cells:,} cells; the limit is {MAX_CELLS:,}.",
            hint=f"Give a region of at most {MAX_CELLS / cells:.2g} times the size.",
            field="bbox",
        )


def box_area_km2(box: BBox) -> float:
    """Return the area of a box on the sphere."""
    height = np.sin(np.radians(box.north)) - np.sin(np.radians(box.south))
    return float(np.radians(box.width_deg) * height * EARTH_RADIUS_KM**2)


def area_km2(geometry: "BaseGeometry") -> float:
    """Return the area on the sphere of a geometry of longitudes and latitudes, its edges straight in these."""
    west, south, east, north = geometry.bounds
    area = _areas_between(_edges_of(geometry), np.array([south, north]), np.array([west, east]))
    return float(area[0, 0]) * EARTH_RADIUS_KM**2


# -- regular grids ---------------------------------------------------------------------------------------------------


def _box_weights(grid: RegularGrid, box: BBox) -> Weights:
    """Weigh the cells of a box: overlap in longitude times overlap in the sine of latitude."""
    check_cells(grid, box)
    south, north = _overlaps(grid.lat, box.south, box.north)
    across = _lon_overlaps(grid.lon, box.west, box.width_deg)
    rows = _span(np.flatnonzero(north > south))
    columns = _eastward(grid.lon, np.flatnonzero(across > 0))
    cells = _cell_areas(grid, rows, columns)
    heights = _sine_between(south[rows], north[rows])
    areas = heights[:, np.newaxis] * np.radians(across[columns]) * EARTH_RADIUS_KM**2
    return Weights(grid.dims, (rows, columns), areas, _shares(areas, cells), box_area_km2(box), WEIGHTED_BY_AREA)


def _polygon_weights(grid: RegularGrid, geometry: "BaseGeometry") -> Weights:
    """Weigh the cells of a polygon or several, within -180 to 180 degrees and not across the antimeridian."""
    import shapely

    boxes = shapely.bounds(shapely.get_parts(geometry))
    south, north = _overlaps(grid.lat, float(boxes[:, 1].min()), float(boxes[:, 3].max()))
    rows = _span(np.flatnonzero(north > south))
    reached = np.zeros(len(grid.lon.centres), dtype=bool)
    for west, east in {(float(box[0]), float(box[2])) for box in boxes}:
        reached |= _lon_overlaps(grid.lon, west, east - west) > 0
    columns = _eastward(grid.lon, np.flatnonzero(reached))
    if len(rows) * len(columns) > MAX_CELLS:
        check_cells(grid, BBox(-180.0, float(boxes[:, 1].min()), 180.0, float(boxes[:, 3].max())))
    edges = _edges_of(geometry)
    row_lines, row_of = _lines(grid.lat.edges[rows])
    column_lines, column_of = _lines(grid.lon.edges[columns])
    areas = np.zeros((len(rows), len(columns)))
    if areas.size:
        lowest, highest = float(column_lines[0]), float(column_lines[-1])
        for turn in range(int(np.floor((lowest - 180) / 360)), int(np.ceil((highest + 180) / 360)) + 1):
            moved = edges + 360.0 * turn * np.array([1, 0, 1, 0])[:, np.newaxis]
            if moved[[0, 2]].max() > lowest and moved[[0, 2]].min() < highest:
                areas += _areas_between(moved, row_lines, column_lines)[np.ix_(row_of, column_of)]
    areas *= EARTH_RADIUS_KM**2
    cells = _cell_areas(grid, rows, columns)
    cover = _shares(areas, cells)
    return Weights(
        grid.dims, (rows, columns), np.where(cover > 0, areas, 0.0), cover, area_km2(geometry), WEIGHTED_BY_AREA
    )


def _overlaps(axis: Axis, low: float, high: float) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
    """Return where each cell's part between two coordinates begins and ends; nowhere where it ends before it begins."""
    lower, upper = axis.edges.T
    return np.maximum(lower, low), np.minimum(upper, high)


def _lon_overlaps(axis: Axis, west: float, width: float) -> "NDArray[np.float64]":
    """Return how many degrees of each cell lie between `west` and `width` degrees further east, of any convention."""
    lower, upper = axis.edges.T
    within = np.zeros(len(lower))
    for turn in range(int(np.floor((axis.low - west - width) / 360)), int(np.ceil((axis.high - west) / 360)) + 1):
        start = west + 360.0 * turn
        within += np.maximum(np.minimum(upper, start + width) - np.maximum(lower, start), 0.0)
    return np.asarray(np.minimum(within, upper - lower))


def _span(positions: "NDArray[np.intp]") -> "NDArray[np.intp]":
    """Return all positions from the first to the last."""
    return np.arange(positions.min(), positions.max() + 1) if positions.size else positions


def _eastward(axis: Axis, columns: "NDArray[np.intp]") -> "NDArray[np.intp]":
    """Return the columns of the shortest arc that has all of `columns`, from west to east.

    Where they go all round, the first is the one that begins at or holds 180 degrees west.
    """
    if not columns.size:
        return columns
    lower, width = axis.edges[:, 0] % 360, axis.edges[:, 1] - axis.edges[:, 0]
    order = columns[np.argsort(lower[columns], kind="stable")]
    gaps = np.roll(lower[order], -1) - (lower[order] + width[order])
    gaps[-1] += 360
    widest = int(np.argmax(gaps))
    if gaps[widest] > _ROUNDING * 360:
        start, end = lower[order[(widest + 1) % len(order)]], lower[order[widest]]
    else:
        start = lower[order[np.argmin((lower[order] + width[order] / 2 - 180) % 360)]]
        end = start + 360
    along = (lower - start) % 360
    # A column that the file has twice has no width left the second time.
    taken = np.flatnonzero((along <= ((end - start) % 360 if end - start != 360 else 360)) & (width > 0))
    return np.asarray(taken[np.argsort(along[taken], kind="stable")])


def _cell_areas(grid: RegularGrid, rows: "NDArray[np.intp]", columns: "NDArray[np.intp]") -> "NDArray[np.float64]":
    """Return the whole area of cells in km2: array (row, column)."""
    heights = _sine_between(*grid.lat.edges[rows].T)
    widths = np.radians(np.diff(grid.lon.edges[columns], axis=1)[:, 0])
    return np.asarray(heights[:, np.newaxis] * widths * EARTH_RADIUS_KM**2)


def _sine_between(south: "NDArray[np.float64]", north: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return the difference of the sines of two latitudes in degrees, without cancellation; none where they cross."""
    middle, half = np.radians((south + north) / 2), np.radians(np.maximum(north - south, 0) / 2)
    return np.asarray(2 * np.cos(middle) * np.sin(half))


def _shares(areas: "NDArray[np.float64]", cells: "NDArray[np.float64]") -> "NDArray[np.float64]":
    shares = np.divide(areas, cells, out=np.zeros_like(areas), where=cells > 0)
    shares[np.abs(shares) < _ROUNDING] = 0.0
    shares[shares > 1 - _ROUNDING] = 1.0
    return np.asarray(shares)


def _lines(edges: "NDArray[np.float64]") -> tuple["NDArray[np.float64]", "NDArray[np.intp]"]:
    """Return the lines of a grid in ascending order, and between which of them each cell lies; gaps lie there too."""
    lines = np.unique(edges)
    return lines, np.minimum(np.searchsorted(lines, edges[:, 0]), len(lines) - 2)


def _edges_of(geometry: "BaseGeometry") -> "NDArray[np.float64]":
    """Return the edges of polygons, the inside to their left: array (lon, lat, lon, lat; edge)."""
    import shapely

    rings = shapely.get_rings(shapely.orient_polygons(shapely.get_parts(geometry)))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    joined = ring[1:] == ring[:-1]
    return np.asarray(np.concatenate([points[:-1][joined], points[1:][joined]], axis=1).T)


def _areas_between(
    edges: "NDArray[np.float64]", row_lines: "NDArray[np.float64]", column_lines: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """Return the area of polygons between the lines of a grid on the unit sphere: array (row, column), from the south.

    By Green's theorem the area is the integral of longitude over the sine of latitude along the edges.  Cut by the
    lines, a piece of an edge fills the cell it lies in up to itself, and all cells of its row to the west of it whole.

    Args:
        edges: As `_edges_of` returns them.
        row_lines: Latitudes, ascending.
        column_lines: Longitudes, ascending.

    Raises:
        LimitExceeded: The grid cuts the edges into too many pieces.
    """
    rows, columns = len(row_lines) - 1, len(column_lines) - 1
    cuts = _crossings(edges[1], edges[3], row_lines) + _crossings(edges[0], edges[2], column_lines)
    if (pieces := int(cuts.sum())) > MAX_PIECES:
        raise LimitExceeded(
            f"The grid cuts the outline of the region into {pieces:,} pieces; the limit is {MAX_PIECES:,}.",
            hint="Give a simpler outline.",
            field="geometry",
        )
    own = np.zeros(rows * columns)
    to_the_west = np.zeros(rows * (columns + 1))
    groups = np.cumsum(cuts + 1) // _PIECES_AT_ONCE
    for start, stop in zip(*_runs(groups), strict=True):
        part = _cut(_cut(edges[:, start:stop], row_lines, 1), column_lines, 0)
        row = np.searchsorted(row_lines, (part[1] + part[3]) / 2, side="right") - 1
        column = np.searchsorted(column_lines, (part[0] + part[2]) / 2, side="right") - 1
        taken = (row >= 0) & (row < rows) & (column >= 0) & (part[1] != part[3])
        part, row, column = part[:, taken], row[taken], column[taken]
        lon, lat = np.radians((part[0] + part[2]) / 2), np.radians((part[1] + part[3]) / 2)
        across, half = np.radians(part[2] - part[0]), np.radians((part[3] - part[1]) / 2)
        rise = 2 * np.cos(lat) * np.sin(half)
        to_the_west += np.bincount(row * (columns + 1) + column, rise, minlength=len(to_the_west))
        # The integral of (longitude - western line) over the sine of latitude, longitude being linear in latitude.
        bend = across * np.sin(lat) * (np.sinc(half / np.pi) - np.cos(half))
        up_to_edge = (lon - np.radians(column_lines[column])) * rise - bend
        within = column < columns
        at = row[within] * columns + column[within]
        own += np.bincount(at, up_to_edge[within], minlength=len(own))
    whole = np.cumsum(to_the_west.reshape(rows, columns + 1)[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return np.asarray(own.reshape(rows, columns) + whole * np.radians(np.diff(column_lines)))


def _crossings(
    start: "NDArray[np.float64]", end: "NDArray[np.float64]", lines: "NDArray[np.float64]"
) -> "NDArray[np.intp]":
    """Return how many lines lie strictly between each start and end."""
    first = np.searchsorted(lines, np.minimum(start, end), side="right")
    last = np.searchsorted(lines, np.maximum(start, end), side="left")
    return np.asarray(np.maximum(last - first, 0))


def _runs(groups: "NDArray[np.intp]") -> tuple["NDArray[np.intp]", "NDArray[np.intp]"]:
    """Return where each run of equal numbers begins and ends."""
    changes = np.flatnonzero(np.diff(groups)) + 1
    return np.concatenate([[0], changes]), np.concatenate([changes, [len(groups)]])


def _cut(edges: "NDArray[np.float64]", lines: "NDArray[np.float64]", axis: int) -> "NDArray[np.float64]":
    """Cut edges where they cross lines of longitude (axis 0) or latitude (axis 1)."""
    start, end = edges[axis], edges[axis + 2]
    pieces = _crossings(start, end, lines) + 1
    edge = np.repeat(np.arange(len(start)), pieces)
    piece = np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    cut = edges[:, edge]
    first = np.searchsorted(lines, np.minimum(start, end), side="right")[edge]
    count = pieces[edge] - 1
    rising = (end > start)[edge]
    along = np.divide(
        (edges[3 - axis] - edges[1 - axis])[edge], (end - start)[edge], out=np.zeros(len(edge)), where=count > 0
    )

    def crossing(number: "NDArray[np.intp]") -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
        """Return the crossing of each edge with the line that it meets as its `number`-th, from 1."""
        line = lines[np.clip(np.where(rising, first + number - 1, first + count - number), 0, len(lines) - 1)]
        return line, edges[1 - axis][edge] + (line - start[edge]) * along

    line, other = crossing(piece)
    cut[axis], cut[1 - axis] = np.where(piece > 0, line, cut[axis]), np.where(piece > 0, other, cut[1 - axis])
    line, other = crossing(piece + 1)
    ends = piece < count
    cut[axis + 2], cut[3 - axis] = np.where(ends, line, cut[axis + 2]), np.where(ends, other, cut[3 - axis])
    return cut


# -- other grids -----------------------------------------------------------------------------------------------------


def _weights_by_centre(grid: IrregularGrid, region: "BBox | Region", areas: "NDArray[np.float64] | None") -> Weights:
    """Weigh the cells whose centres lie in a region by their whole area."""
    inside = _centres_within(grid, region)
    positions = tuple(_span(found) for found in map(np.unique, np.nonzero(inside)))
    inside = inside[np.ix_(*positions)]
    cover = inside.astype(np.float64)
    if areas is None:
        return Weights(grid.dims, positions, cover, cover, float(cover.sum()), EQUAL_WEIGHTS)
    weights = np.where(inside, areas[np.ix_(*positions)], 0.0)
    return Weights(grid.dims, positions, weights, cover, float(weights.sum()), WEIGHTED_BY_CELL)


def _centres_within(grid: IrregularGrid, region: "BBox | Region") -> "NDArray[np.bool_]":
    import shapely

    if isinstance(region, BBox):
        east = (grid.lon - region.west) % 360
        # A centre on the western edge may come out a turn further east by rounding.
        within = (east <= region.width_deg) | (east >= 360 - _ROUNDING * 360)
        return np.asarray(within & (region.south <= grid.lat) & (grid.lat <= region.north))
    lon = (grid.lon + 180) % 360 - 180
    shapely.prepare(region.geometry)
    placed = np.isfinite(lon)
    inside = np.zeros(lon.shape, dtype=bool)
    inside[placed] = shapely.intersects_xy(region.geometry, lon[placed], grid.lat[placed])
    return inside


def irregular_areas(dataset: "xr.Dataset", variable: str, grid: IrregularGrid) -> "NDArray[np.float64] | None":
    """Return the area of each cell of an irregular grid in km2, in the order of its dimensions; None where not known.

    Taken from the file's own areas (CF cell_measures), where these are missing from the corners of the cells (CF
    bounds), else, on a grid of two dimensions, from the distances between neighbouring centres.
    """
    areas = _given_areas(dataset, variable, grid)
    if areas is not None and _are_known(areas).all():
        return areas
    corners = _areas_of_corners(dataset, variable, grid)
    between = _areas_between_centres(grid) if grid.lon.ndim == 2 and min(grid.lon.shape) > 1 else None
    if corners is not None and between is not None:
        # Where there is no ocean, an ocean's grid may be folded away: such corners span half of a continent.
        corners = np.where((corners < _FAR_OFF * between) & (between < _FAR_OFF * corners), corners, np.nan)
    # The file's own areas are often missing on land, which belongs to the region all the same.
    found = np.full(grid.lon.shape, np.nan)
    for offered in (areas, corners, between):
        if offered is not None:
            found = np.where(_are_known(found), found, offered)
    known = _are_known(found)
    # A cell without neighbours and corners has some size too.
    return np.where(known, found, np.median(found[known])) if known.any() else None


def _are_known(areas: "NDArray[np.float64]") -> "NDArray[np.bool_]":
    return np.asarray(np.isfinite(areas) & (areas > 0))


def _given_areas(dataset: "xr.Dataset", variable: str, grid: IrregularGrid) -> "NDArray[np.float64] | None":
    array = dataset[variable]
    measures = str(array.attrs.get("cell_measures") or array.encoding.get("cell_measures") or "").split()
    name = measures[measures.index("area:") + 1] if "area:" in measures[:-1] else None
    if name not in dataset.variables or set(dataset[name].dims) != set(grid.dims):
        return None
    units = str(dataset[name].attrs.get("units", "m2")).replace("^", "").replace("**", "")
    scale = {"m2": 1e-6, "km2": 1.0, "m-2": 1e-6}.get(units)
    if scale is None:
        return None
    return np.asarray(dataset[name].transpose(*grid.dims).values.astype(np.float64) * scale)


def _areas_of_corners(dataset: "xr.Dataset", variable: str, grid: IrregularGrid) -> "NDArray[np.float64] | None":
    """Return the area between the corners of each cell, joined by great circles."""
    corners = {}
    for role in ("longitude", "latitude"):
        names = dataset[variable].cf.coordinates.get(role, ())
        found = [
            dataset[bounds]
            for name in names
            if name in dataset.variables
            and (bounds := dataset[name].attrs.get("bounds") or dataset[name].encoding.get("bounds"))
            in dataset.variables
            and set(grid.dims) < set(dataset[bounds].dims)
            and dataset[bounds].ndim == len(grid.dims) + 1
        ]
        if not found:
            return None
        (corner_dim,) = set(found[0].dims) - set(grid.dims)
        corners[role] = found[0].transpose(*grid.dims, corner_dim).values.astype(np.float64)
    if corners["longitude"].shape != corners["latitude"].shape or corners["longitude"].shape[-1] < 3:
        return None
    points = _unit_vectors(corners["longitude"], corners["latitude"])
    total = np.zeros(points.shape[:-2])
    for corner in range(1, points.shape[-2] - 1):
        total += _solid_angle(points[..., 0, :], points[..., corner, :], points[..., corner + 1, :])
    return np.asarray(np.abs(total) * EARTH_RADIUS_KM**2)


def _solid_angle(a: "NDArray[np.float64]", b: "NDArray[np.float64]", c: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return the signed solid angle of triangles on the unit sphere (van Oosterom and Strackee 1983)."""
    volume = (a * np.cross(b, c)).sum(axis=-1)
    return np.asarray(2 * np.arctan2(volume, 1 + (a * b).sum(axis=-1) + (b * c).sum(axis=-1) + (c * a).sum(axis=-1)))


def _areas_between_centres(grid: IrregularGrid) -> "NDArray[np.float64]":
    """Return the area spanned by the steps from centre to centre along both dimensions, each the mean of either way."""
    points = _unit_vectors(grid.lon, grid.lat)
    steps = []
    for axis in (0, 1):
        forward = np.diff(points, axis=axis)
        beyond = np.full_like(np.take(points, [0], axis=axis), np.nan)
        both = np.stack([np.concatenate([forward, beyond], axis=axis), np.concatenate([beyond, forward], axis=axis)])
        known = np.isfinite(both)
        number = known.sum(axis=0)
        total = np.where(known, both, 0.0).sum(axis=0)
        steps.append(np.divide(total, number, out=np.full_like(points, np.nan), where=number > 0))
    return np.asarray(np.linalg.norm(np.cross(*steps), axis=-1) * EARTH_RADIUS_KM**2)


def _unit_vectors(lon: "NDArray[np.float64]", lat: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return places on the unit sphere: array (…, 3)."""
    across, up = np.radians(lon), np.radians(lat)
    return np.stack([np.cos(up) * np.cos(across), np.cos(up) * np.sin(across), np.sin(up)], axis=-1)


def _no_cells(grid: Grid, region: Any) -> NotFound:
    box: BBox = region if isinstance(region, BBox) else region.bbox
    covers = extent_text(grid.extent.bbox)
    if box.intersects(grid.extent.bbox):
        reason = "has no area on this grid" if isinstance(grid, RegularGrid) else "holds no cell's centre"
        return NotFound(
            f"The region ({extent_text(box)}) {reason}; the data cover {covers}.",
            hint="Give a larger region, or ask for the values at a point.",
            field="bbox",
        )
    return NotFound(
        f"The region ({extent_text(box)}) lies outside the data, which cover {covers}.",
        hint="Is the order west,south,east,north? Longitude comes first, in degrees.",
        field="bbox",
    )
