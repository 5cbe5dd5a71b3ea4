"""The horizontal grid of a cube's variable: which coordinates are longitude and latitude, and which cell is nearest.

Coordinates are found by their CF metadata (cf-xarray), then by known names.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from geoetl.access.fill import values_of
from geoetl.access.frame import Extent
from geoetl.core.errors import InvalidParameter
from geoetl.core.spatial import Point, wrap_longitude

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray
    from scipy.spatial import cKDTree

# Tried in this order, whatever the case, where CF metadata say nothing.
LONGITUDE_NAMES = ("lon", "longitude", "x", "nav_lon")
LATITUDE_NAMES = ("lat", "latitude", "y", "nav_lat")
TIME_NAMES = ("time", "valid_time")
# Mean radius of the Earth, kilometres (IUGG 1980, R1).
EARTH_RADIUS_KM = 6371.0088
# A point belongs to an irregular grid while it is within this many cell spacings of a cell's centre.
_REACH_IN_SPACINGS = 1.5
_SLACK_DEG = 1e-6
# Edges of neighbouring cells that differ by less than this share of a cell are one edge: coordinates are often float32.
_ROUNDING = 1e-3
# Where no array tells which cells are neighbours, so many of the nearest are taken for them.
_NEIGHBOURS = 6
# Chord of the unit sphere beyond which nothing lies.
_SPHERE = 2.0
# Cells are read this much finer than the picture at least; beyond that only every n-th is.
_OVERSAMPLING = 2


@dataclass(frozen=True)
class Cell:
    """One cell of a grid.

    Attributes:
        index: Position along each horizontal dimension, from 0.
        centre: Its centre.
        distance_km: Great-circle distance from the place that was asked for to the centre.
    """

    index: Mapping[str, int]
    centre: Point
    distance_km: float


@dataclass(frozen=True)
class Axis:
    """One coordinate of a regular grid.

    Attributes:
        dim: Its dimension.
        centres: Coordinate of each cell in degrees, in the order of the file.
        low: Outer edge of the lowest cell.
        high: Outer edge of the highest cell.
        bounds: The edges that the file gives each cell, array (cell, 2); None where it gives none, or unsound ones.
    """

    dim: str
    centres: "NDArray[np.float64]"
    low: float
    high: float
    bounds: "NDArray[np.float64] | None" = None

    @cached_property
    def edges(self) -> "NDArray[np.float64]":
        """Lower and upper edge of each cell, array (cell, 2): its bounds, else halfway between neighbouring centres.

        The outermost reach to `low` and `high`. Cells never overlap; between those that have bounds there may be gaps.
        """
        order = np.argsort(self.centres, kind="stable")
        ordered = self.centres[order]
        if self.bounds is None:
            halfway = (ordered[1:] + ordered[:-1]) / 2
            lower, upper = np.append(self.low, halfway), np.append(halfway, self.high)
        else:
            lower, upper = self.bounds[order].T.copy()
            lower[0], upper[-1] = self.low, self.high
        edges = np.empty((len(order), 2))
        edges[order] = np.clip(np.stack([lower, upper], axis=1), self.low, self.high)
        return edges


@dataclass(frozen=True)
class RegularGrid:
    """A grid of one-dimensional longitudes and latitudes, of any direction, order, spacing and convention.

    Attributes:
        lon: Longitudes, unwrapped so that neighbours are less than half a turn apart.
        lat: Latitudes.
    """

    lon: Axis
    lat: Axis

    kind = "regular"

    @property
    def dims(self) -> tuple[str, ...]:
        """Horizontal dimensions: latitude, longitude."""
        return (self.lat.dim, self.lon.dim)

    @property
    def extent(self) -> Extent:
        """What the cells cover."""
        return Extent.from_edges(self.lon.low, self.lat.low, self.lon.high, self.lat.high)

    def rows(self, latitudes: "NDArray[np.float64]") -> "NDArray[np.intp]":
        """Return the nearest row of each latitude, -1 outside of the grid."""
        found = _nearest(self.lat.centres, latitudes)
        inside = (latitudes >= self.lat.low - _SLACK_DEG) & (latitudes <= self.lat.high + _SLACK_DEG)
        return np.where(inside, found, -1)

    def columns(self, longitudes: "NDArray[np.float64]") -> "NDArray[np.intp]":
        """Return the nearest column of each longitude of any convention, -1 outside of the grid."""
        if self.extent.is_global:
            # One turn more on either side, so that the cells at the seam are neighbours.
            count = len(self.lon.centres)
            around = np.concatenate([self.lon.centres - 360, self.lon.centres, self.lon.centres + 360])
            return _nearest(around, self.lon.low + (longitudes - self.lon.low) % 360) % count
        start = self.lon.low - _SLACK_DEG
        unwrapped = start + (longitudes - start) % 360
        return np.where(unwrapped <= self.lon.high + _SLACK_DEG, _nearest(self.lon.centres, unwrapped), -1)

    def nearest(self, point: Point) -> Cell | None:
        """Return the cell whose centre is nearest along each axis; None where the point lies outside."""
        row = int(self.rows(np.array([point.lat]))[0])
        column = int(self.columns(np.array([point.lon]))[0])
        if row < 0 or column < 0:
            return None
        centre = Point(wrap_longitude(float(self.lon.centres[column])), float(self.lat.centres[row]))
        return Cell({self.lat.dim: row, self.lon.dim: column}, centre, great_circle_km(point, centre))


@dataclass(frozen=True)
class IrregularGrid:
    """Cells that are found by their centres only: curvilinear, projected and unstructured grids.

    Attributes:
        dims: Horizontal dimensions, in the order of the arrays' axes.
        lon: Longitude of each cell's centre.
        lat: Latitude of each cell's centre; a cell without a place is NaN in both.
        kind: What it is called in messages and answers.
    """

    dims: tuple[str, ...]
    lon: "NDArray[np.float64]"
    lat: "NDArray[np.float64]"
    kind: str

    @cached_property
    def _placed(self) -> "NDArray[np.intp]":
        """Flat position of each cell that has a place."""
        return np.flatnonzero(np.isfinite(self.lon) & np.isfinite(self.lat))

    @cached_property
    def _tree(self) -> "cKDTree":
        """The placed cells' centres on the unit sphere; the nearest by the chord is nearest by the great circle."""
        from scipy.spatial import cKDTree

        vectors = _unit_vectors(self.lon.ravel()[self._placed], self.lat.ravel()[self._placed])
        # Unbalanced, it is built in half of the time, and answers as quickly.
        return cKDTree(np.ascontiguousarray(vectors.T), balanced_tree=False)

    @cached_property
    def _reach(self) -> "NDArray[np.float64]":
        """How far from its centre each placed cell is still the answer, as a chord of the unit sphere."""
        spacing = self._spacing_of_neighbours() if self.lon.ndim == 2 else self._spacing_of_nearest()
        # A cell that stands alone is the answer everywhere.
        return np.where(spacing > 0, _REACH_IN_SPACINGS * spacing, _SPHERE)

    def _spacing_of_neighbours(self) -> "NDArray[np.float64]":
        """Return the distance to the neighbours in the array.

        Of the two along a dimension the nearer counts, as the other may lie beyond a seam or a fold of the grid; of the
        two dimensions the wider.
        """
        vectors = np.moveaxis(_unit_vectors(self.lon, self.lat), 0, -1)
        widest = np.zeros(self.lon.shape)
        for axis in range(2):
            steps = np.linalg.norm(np.diff(vectors, axis=axis), axis=-1)
            none = np.full((1, steps.shape[1]) if axis == 0 else (steps.shape[0], 1), np.nan)
            before, behind = np.concatenate([none, steps], axis), np.concatenate([steps, none], axis)
            widest = np.fmax(widest, np.fmin(before, behind))
        spacing: NDArray[np.float64] = widest.ravel()[self._placed]
        return spacing

    def _spacing_of_nearest(self) -> "NDArray[np.float64]":
        """Return the distance to the sixth nearest centre: where no array tells, as many share an edge or a corner."""
        count = min(1 + _NEIGHBOURS, len(self._placed))
        ways, _ = self._tree.query(self._tree.data, k=[count])
        spacing: NDArray[np.float64] = ways[:, 0]
        return spacing

    @cached_property
    def extent(self) -> Extent:
        """What the cells cover: their centres and half of the typical distance between them; to a pole among them."""
        lon, lat = self.lon.ravel()[self._placed], self.lat.ravel()[self._placed]
        half = math.degrees(float(np.median(self._reach))) / _REACH_IN_SPACINGS / 2 if len(lon) > 1 else 0.0
        south, north = float(lat.min()) - half, float(lat.max()) + half
        ordered = np.unique(np.mod(lon, 360))
        gaps = np.diff(ordered, append=ordered[0] + 360)
        widest = int(np.argmax(gaps))
        spacing = float(np.median(gaps)) if len(gaps) > 1 else 0.0
        if len(ordered) > 1 and gaps[widest] <= max(4 * spacing, 5.0):
            poles = [pole for pole in (-90.0, 90.0) if self.nearest_cells(np.array(pole), np.array(0.0)) >= 0]
            return Extent.from_edges(-180.0, min([south, *poles]), 180.0, max([north, *poles]))
        west = float(ordered[(widest + 1) % len(ordered)])
        aside = half / max(math.cos(math.radians(float(np.abs(lat).max()))), 0.1)
        return Extent.from_edges(west - aside, south, west + 360 - float(gaps[widest]) + aside, north)

    def nearest_cells(self, latitudes: "NDArray[np.float64]", longitudes: "NDArray[np.float64]") -> "NDArray[np.intp]":
        """Return the cell nearest to each place by great circle: its position in the flattened grid.

        Args:
            latitudes: Of the places, in degrees; an array of any shape.
            longitudes: Of the same shape, of any convention.

        Returns:
            An array of that shape; -1 where even the nearest centre is farther than 1.5 times the distance between
            cells there, and where a place is not finite.
        """
        lat, lon = np.asarray(latitudes, dtype=np.float64), np.asarray(longitudes, dtype=np.float64)
        cells = np.full(lat.shape, -1, dtype=np.intp)
        known = np.isfinite(lat) & np.isfinite(lon)
        if not len(self._placed) or not known.any():
            return cells
        # What is farther than any cell reaches need not be looked for.
        farthest = float(self._reach.max()) + _SLACK_DEG
        ways, found = self._tree.query(_unit_vectors(lon[known], lat[known]).T, distance_upper_bound=farthest)
        near = np.minimum(found, len(self._placed) - 1)  # one beyond the last where there is none
        cells[known] = np.where(ways <= self._reach[near], self._placed[near], -1)
        return cells

    def nearest(self, point: Point) -> Cell | None:
        """Return the cell nearest by great circle; None where even that is far outside of the grid."""
        found = int(self.nearest_cells(np.array([point.lat]), np.array([point.lon]))[0])
        if found < 0:
            return None
        position = np.unravel_index(found, self.lon.shape)
        centre = Point(wrap_longitude(float(self.lon[position])), float(self.lat[position]))
        index = {dim: int(i) for dim, i in zip(self.dims, position, strict=True)}
        return Cell(index, centre, great_circle_km(point, centre))


Grid = RegularGrid | IrregularGrid


def nearest_values(
    array: "xr.DataArray", grid: Grid, latitudes: "NDArray[np.float64]", longitudes: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """Return the nearest cell of each pixel: array (latitude, longitude), NaN = no data or outside.

    Only the rows and columns that are asked for are read, and of a regular grid much finer than the pixels every n-th.

    Args:
        array: The values, over the dimensions of the grid.
        grid: Where they lie.
        latitudes: Of each row of pixels.
        longitudes: Of each column of pixels, of any convention.
    """
    if isinstance(grid, IrregularGrid):
        up, across = np.meshgrid(latitudes, longitudes, indexing="ij")
        return values_of_cells(array, grid, grid.nearest_cells(up, across))
    return _nearest_of_rows(array, grid, grid.rows(latitudes), grid.columns(longitudes))


def values_of_cells(array: "xr.DataArray", grid: IrregularGrid, cells: "NDArray[np.intp]") -> "NDArray[np.float64]":
    """Return the values of cells by their positions in the flattened grid, NaN for -1; of the shape of `cells`."""
    values = np.full(cells.shape, np.nan)
    inside = cells >= 0
    if not inside.any():
        return values
    at = np.unravel_index(cells[inside], grid.lon.shape)
    firsts = [int(positions.min()) for positions in at]
    window = {
        dim: slice(first, int(positions.max()) + 1) for dim, first, positions in zip(grid.dims, firsts, at, strict=True)
    }
    read = values_of(array.isel(window).transpose(*grid.dims))
    values[inside] = read[tuple(positions - first for first, positions in zip(firsts, at, strict=True))]
    return values


def _nearest_of_rows(
    array: "xr.DataArray", grid: RegularGrid, rows: "NDArray[np.intp]", columns: "NDArray[np.intp]"
) -> "NDArray[np.float64]":
    drawn = np.full((len(rows), len(columns)), np.nan)
    row_slice, row_at = _window(rows)
    # Where the pixels cross the seam of the grid its last columns stand before its first: each side is read by itself.
    jumps = np.abs(np.diff(columns)) > len(grid.lon.centres) // 2
    seams = np.flatnonzero(jumps & (columns[1:] >= 0) & (columns[:-1] >= 0)) + 1
    for first, last in zip([0, *seams], [*seams, len(columns)], strict=True):
        part = columns[first:last]
        column_slice, column_at = _window(part)
        window = array.isel({grid.lat.dim: row_slice, grid.lon.dim: column_slice}).transpose(*grid.dims)
        if window.size:
            values = values_of(window)
            drawn[:, first:last] = values[np.ix_(row_at, column_at)]
            drawn[:, first:last][:, part < 0] = np.nan
    drawn[rows < 0, :] = np.nan
    return drawn


def _window(wanted: "NDArray[np.intp]") -> tuple[slice, "NDArray[np.intp]"]:
    """Return what to read to have all `wanted` positions (-1 = none), and where each is in that; 0 for none."""
    inside = wanted[wanted >= 0]
    if not inside.size:
        return slice(0, 0), np.zeros_like(wanted)
    first, last = int(inside.min()), int(inside.max())
    every = max(1, (last - first + 1) // (_OVERSAMPLING * len(wanted)))
    return slice(first, last + 1, every), np.where(wanted < 0, 0, (wanted - first) // every)


def great_circle_km(one: Point, other: Point) -> float:
    """Return the great-circle distance in kilometres (haversine formula)."""
    half_lat = math.radians(other.lat - one.lat) / 2
    half_lon = math.radians(other.lon - one.lon) / 2
    between = math.cos(math.radians(one.lat)) * math.cos(math.radians(other.lat))
    squared = math.sin(half_lat) ** 2 + between * math.sin(half_lon) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(squared)))


def _unit_vectors(lon: "NDArray[np.float64]", lat: "NDArray[np.float64]") -> "NDArray[np.float64]":
    across, up = np.radians(lon), np.radians(lat)
    return np.stack([np.cos(up) * np.cos(across), np.cos(up) * np.sin(across), np.sin(up)])


def _nearest(centres: "NDArray[np.float64]", wanted: "NDArray[np.float64]") -> "NDArray[np.intp]":
    order = np.argsort(centres, kind="stable")
    ordered = centres[order]
    return order[np.searchsorted((ordered[1:] + ordered[:-1]) / 2, wanted)]


def find_grid(dataset: "xr.Dataset", variable: str) -> Grid:
    """Return the horizontal grid of a variable.

    Raises:
        InvalidParameter: It has no longitude and latitude.
    """
    array = dataset[variable]
    lon = find_coordinate(dataset, array, "longitude", LONGITUDE_NAMES)
    lat = find_coordinate(dataset, array, "latitude", LATITUDE_NAMES)
    if lon is None or lat is None:
        return _projected_grid(dataset, array)
    for coordinate in (lon, lat):
        if not np.isfinite(coordinate.values.astype(np.float64)).any():
            raise InvalidParameter(
                f"The coordinate '{coordinate.name}' of variable '{variable}' holds no numbers.", field="variable"
            )
    if lon.ndim == 1 and lat.ndim == 1 and lon.dims != lat.dims:
        if all(np.isfinite(coordinate.values.astype(np.float64)).all() for coordinate in (lon, lat)):
            return RegularGrid(_lon_axis(dataset, lon), _lat_axis(dataset, lat))
    return _irregular(lon, lat, "curvilinear" if lon.ndim == 2 else "unstructured")


def find_coordinate(
    dataset: "xr.Dataset", array: "xr.DataArray", role: str, names: Iterable[str]
) -> "xr.DataArray | None":
    """Return the coordinate of `array` that plays a role in CF terms (longitude, latitude, time), or None.

    Of several, the one along a dimension of its own wins, then the one with fewer dimensions.
    """
    import cf_xarray  # noqa: F401  registers the .cf accessor

    candidates = [str(name) for name in array.cf.coordinates.get(role, ())]
    if role == "time":
        candidates += [str(name) for name in array.cf.axes.get("T", ())]
    if not candidates:
        by_name = {str(name).lower(): str(name) for name in dataset.variables if _fits(dataset[name], array)}
        candidates = [by_name[name] for name in names if name in by_name]
    found = [dataset[name] for name in dict.fromkeys(candidates) if _fits(dataset[name], array)]
    if role != "time":
        found = [coordinate for coordinate in found if not _is_projected(coordinate)]
    return min(found, key=lambda c: (c.dims != (c.name,), c.ndim == 0, c.ndim), default=None)


def _fits(coordinate: "xr.DataArray", array: "xr.DataArray") -> bool:
    return set(coordinate.dims) <= set(array.dims) and coordinate.name != array.name


def _is_projected(coordinate: "xr.DataArray") -> bool:
    units = str(coordinate.attrs.get("units", "")).lower()
    standard_name = str(coordinate.attrs.get("standard_name", ""))
    lengths = {"m", "metre", "meter", "metres", "meters", "km", "kilometre", "kilometer"}
    return units in lengths or standard_name.startswith(("projection_", "grid_"))


def _lon_axis(dataset: "xr.Dataset", coordinate: "xr.DataArray") -> Axis:
    centres = coordinate.values.astype(np.float64)
    if not (np.diff(centres) > 0).all():
        # Neighbours more than half a turn apart are so only by convention (…179, -179…).
        centres = np.unwrap(centres, period=360)
    low, high, bounds = _edges(dataset, coordinate, centres)
    spacing = (high - low) / len(centres)
    if high - low > 360 - spacing / 2:
        low, high = low, low + 360
    return Axis(str(coordinate.dims[0]), centres, low, high, bounds)


def _lat_axis(dataset: "xr.Dataset", coordinate: "xr.DataArray") -> Axis:
    centres = coordinate.values.astype(np.float64)
    low, high, bounds = _edges(dataset, coordinate, centres)
    spacing = (high - low) / len(centres)
    # A global Gaussian grid without bounds leaves a sliver at the poles, which belongs to its outermost rows.
    if low < -90 + spacing and high > 90 - spacing:
        low, high = -90.0, 90.0
    return Axis(str(coordinate.dims[0]), centres, max(low, -90.0), min(high, 90.0), bounds)


def _edges(
    dataset: "xr.Dataset", coordinate: "xr.DataArray", centres: "NDArray[np.float64]"
) -> tuple[float, float, "NDArray[np.float64] | None"]:
    """Return the outer edges of an axis, and its CF bounds where they are sound.

    Without them the outer edges lie half a cell beyond the outermost centres.
    """
    ordered = np.sort(centres)
    if len(ordered) > 1:
        low = ordered[0] - (ordered[1] - ordered[0]) / 2
        high = ordered[-1] + (ordered[-1] - ordered[-2]) / 2
    else:
        low, high = ordered[0] - 0.5, ordered[0] + 0.5
    name = coordinate.attrs.get("bounds") or coordinate.encoding.get("bounds")
    if name in dataset.variables and dataset[name].shape == (len(centres), 2):
        # Bounds are read relative to their centre, so that their longitude convention does not matter.
        offsets = dataset[name].values.astype(np.float64) - coordinate.values.astype(np.float64)[:, np.newaxis]
        offsets = (offsets + 180) % 360 - 180 if np.abs(offsets).max(initial=0) > 180 else offsets
        edges = centres[:, np.newaxis] + offsets
        reach = max(high - low, 1.0)
        if np.isfinite(edges).all() and edges.min() <= ordered[0] and edges.max() >= ordered[-1]:
            alone = len(centres) == 1 and edges.max() - edges.min() <= 360
            if alone or (edges.min() > low - reach and edges.max() < high + reach):
                return float(edges.min()), float(edges.max()), _cell_bounds(centres, edges)
    return float(low), float(high), None


def _cell_bounds(centres: "NDArray[np.float64]", edges: "NDArray[np.float64]") -> "NDArray[np.float64] | None":
    """Return the lower and upper edge of each cell, array (cell, 2); None where cells miss their centre or overlap.

    Edges of neighbours that differ by rounding alone become one.
    """
    bounds = np.sort(edges, axis=1)
    order = np.argsort(centres, kind="stable")
    lower, upper = bounds[order].T
    width = upper - lower
    slack = _ROUNDING * width
    inside = (lower - slack <= centres[order]) & (centres[order] <= upper + slack)
    between = lower[1:] - upper[:-1]
    rounding = _ROUNDING * np.minimum(width[1:], width[:-1])
    if not inside.all() or not (width > 0).all() or (between < -rounding).any():
        return None
    shared = np.where(np.abs(between) <= rounding, (lower[1:] + upper[:-1]) / 2, np.nan)
    bounds[order[1:], 0] = np.where(np.isnan(shared), lower[1:], shared)
    bounds[order[:-1], 1] = np.where(np.isnan(shared), upper[:-1], shared)
    return bounds


def _irregular(lon: "xr.DataArray", lat: "xr.DataArray", kind: str) -> IrregularGrid:
    import xarray as xr

    lon, lat = xr.broadcast(lon, lat)
    lon_values, lat_values = lon.values.astype(np.float64), lat.values.astype(np.float64)
    # Land cells of ocean grids often carry 1e20 or 1e36 instead of a place.
    placed = np.isfinite(lon_values) & (np.abs(lat_values) <= 90) & (np.abs(lon_values) <= 720)
    if not placed.any():
        raise InvalidParameter(
            f"The coordinates '{lon.name}' and '{lat.name}' hold no place on Earth.",
            hint="Longitudes and latitudes are in degrees.",
            field="variable",
        )
    return IrregularGrid(
        tuple(str(dim) for dim in lon.dims),
        np.where(placed, lon_values, np.nan),
        np.where(placed, lat_values, np.nan),
        kind,
    )


def _projected_grid(dataset: "xr.Dataset", array: "xr.DataArray") -> IrregularGrid:
    """Return the grid of a variable that has only projected x and y, by its CF grid mapping."""
    from pyproj import CRS, Transformer
    from pyproj.exceptions import CRSError

    mapping = array.attrs.get("grid_mapping") or array.encoding.get("grid_mapping")
    x = _projected_axis(dataset, array, "X", ("x", "xc", "rlon"))
    y = _projected_axis(dataset, array, "Y", ("y", "yc", "rlat"))
    if x is None or y is None or mapping not in dataset.variables:
        names = ", ".join(f"{name}({', '.join(map(str, dataset[name].dims))})" for name in dataset.coords)
        raise InvalidParameter(
            f"Variable '{array.name}' has no longitude and latitude that can be recognised.",
            hint=f"Its file has the coordinates {names or 'none'}; give them CF units or standard names.",
            field="variable",
        )
    try:
        crs = CRS.from_cf(dict(dataset[mapping].attrs))
    except (CRSError, KeyError) as error:
        raise InvalidParameter(
            f"The grid mapping '{mapping}' of variable '{array.name}' is not complete: {error}.", field="variable"
        ) from None
    across, up = np.meshgrid(x.values.astype(np.float64), y.values.astype(np.float64))
    lon, lat = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform(across, up)
    placed = np.isfinite(lon) & np.isfinite(lat)
    if not placed.any():
        raise InvalidParameter(
            f"The coordinates '{x.name}' and '{y.name}' hold no place on Earth by the grid mapping '{mapping}'.",
            hint="Are they in the units of the projection?",
            field="variable",
        )
    dims = (str(y.dims[0]), str(x.dims[0]))
    return IrregularGrid(dims, np.where(placed, lon, np.nan), np.where(placed, lat, np.nan), "projected")


def _projected_axis(
    dataset: "xr.Dataset", array: "xr.DataArray", axis: str, names: Iterable[str]
) -> "xr.DataArray | None":
    by_name = {str(name).lower(): str(name) for name in array.coords}
    candidates = [str(name) for name in array.cf.axes.get(axis, ())] + [by_name[n] for n in names if n in by_name]
    return next((dataset[name] for name in candidates if dataset[name].ndim == 1), None)
