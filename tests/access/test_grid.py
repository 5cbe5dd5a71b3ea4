"""Laws of the horizontal grid: the nearest cell is the nearest on the circle, whatever the convention."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from geoetl.access.grid import IrregularGrid, RegularGrid, find_grid, great_circle_km, nearest_values
from geoetl.core.errors import InvalidParameter
from geoetl.core.spatial import Point


def grid_of(lon: np.ndarray, lat: np.ndarray) -> RegularGrid:
    cube = xr.Dataset(
        {"v": (("lat", "lon"), np.zeros((len(lat), len(lon))))},
        coords={"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})},
    )
    found = find_grid(cube, "v")
    assert isinstance(found, RegularGrid)
    return found


@given(
    west=st.floats(-360, 360),
    count=st.integers(4, 720),
    turned=st.booleans(),
    wrapped=st.booleans(),
    lon=st.floats(-180, 360),
    lat=st.floats(-90, 90),
)
@settings(deadline=None)  # the first example waits for cf-xarray
def test_the_nearest_cell_of_a_globe_is_the_nearest_on_the_circle(
    west: float, count: int, turned: bool, wrapped: bool, lon: float, lat: float
) -> None:
    centres = west + (np.arange(count) + 0.5) * 360 / count
    if wrapped:
        centres = (centres + 180) % 360 - 180
    rows = np.linspace(-87.5, 87.5, 36)
    grid = grid_of(centres[::-1] if turned else centres, rows[::-1] if turned else rows)
    cell = grid.nearest(Point(lon, lat))
    assert cell is not None
    found = grid.lon.centres[cell.index["lon"]]
    away = np.abs((centres - lon + 180) % 360 - 180)
    assert abs((found - lon + 180) % 360 - 180) == pytest.approx(away.min(), abs=1e-9)
    assert abs(cell.centre.lat - lat) == pytest.approx(np.abs(rows - lat).min())


@given(west=st.floats(-180, 179), width=st.floats(1, 300), lon=st.floats(-180, 180))
def test_a_region_holds_the_longitudes_between_its_edges_and_no_others(west: float, width: float, lon: float) -> None:
    centres = west + (np.arange(20) + 0.5) * width / 20
    grid = grid_of(centres, np.linspace(-10, 10, 5))
    beyond = (lon - west) % 360
    if min(abs(beyond - width), beyond, 360 - beyond) > 1e-3:
        assert (grid.nearest(Point(lon, 0)) is not None) == (beyond < width)


@given(st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90))
def test_the_great_circle_agrees_with_the_vectors(a: float, b: float, c: float, d: float) -> None:
    one, other = (
        np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        for lon, lat in (np.radians((a, b)), np.radians((c, d)))
    )
    angle = np.arctan2(np.linalg.norm(np.cross(one, other)), one @ other)
    assert great_circle_km(Point(a, b), Point(c, d)) == pytest.approx(6371.0088 * angle, abs=1e-3)


def test_coordinates_without_numbers_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="holds no numbers"):
        grid_of(np.full(4, np.nan), np.arange(4.0))


def test_bounds_tell_the_outer_edges() -> None:
    cube = xr.Dataset(
        {"v": (("lat", "lon"), np.zeros((2, 2))), "b": (("lon", "n"), np.array([[350.0, 358.0], [358.0, 370.0]]))},
        coords={
            "lat": ("lat", [-5.0, 5.0], {"units": "degrees_north"}),
            "lon": ("lon", [355.0, 4.0], {"units": "degrees_east", "bounds": "b"}),
        },
    )
    assert find_grid(cube, "v").extent.bbox.as_list() == [-10, -10, 10, 10]


# -- cells that are found by their centres ---------------------------------------------------------------------------


def ocean(columns: int = 120, rows: int = 90) -> IrregularGrid:
    """Return a curvilinear grid whose northern pole lies on land, at 80 N 40 W, from 78 S on; with a continent."""
    lon, lat = np.meshgrid((np.arange(columns) + 0.5) * 360 / columns, np.linspace(-78, 88, rows))
    # A turn of the sphere for the northern half moves its pole; the two halves meet at the equator smoothly enough.
    turn = np.radians(10) * np.clip(lat / 88, 0, 1)
    up, across = np.radians(lat), np.radians(lon)
    x, y, z = np.cos(up) * np.cos(across), np.cos(up) * np.sin(across), np.sin(up)
    x, z = x * np.cos(turn) - z * np.sin(turn), x * np.sin(turn) + z * np.cos(turn)
    lon, lat = np.degrees(np.arctan2(y, x)) - 40, np.degrees(np.arcsin(np.clip(z, -1, 1)))
    land = np.s_[30:60, 20:50]
    lon[land] = lat[land] = np.nan
    return IrregularGrid(("j", "i"), lon, lat, "curvilinear")


def ways_to_all(grid: IrregularGrid, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return the great-circle angle from each place to each cell, by the haversine formula: array (place, cell)."""
    a, b = np.radians(lat)[:, np.newaxis], np.radians(grid.lat.ravel())[np.newaxis]
    turn = np.radians(lon)[:, np.newaxis] - np.radians(grid.lon.ravel())[np.newaxis]
    return 2 * np.arcsin(np.sqrt(np.sin((a - b) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(turn / 2) ** 2))


def test_the_nearest_cell_of_an_ocean_grid_is_that_of_a_search_through_all() -> None:
    grid = ocean()
    random = np.random.default_rng(3)
    lat, lon = np.degrees(np.arcsin(random.uniform(-1, 1, 3000))), random.uniform(-200, 380, 3000)
    ways = ways_to_all(grid, lat, lon)
    nearest, away = np.nanargmin(ways, axis=1), np.degrees(np.nanmin(ways, axis=1))
    cells = grid.nearest_cells(lat, lon)
    inside = cells >= 0
    assert np.array_equal(cells[inside], nearest[inside])
    # Cells are about 3 by 1.9 degrees at most: what is nearer than one of them is found, the continent is not filled.
    assert inside[away < 1.8].all()
    assert not inside[away > 4.6].any()
    assert 0.02 < np.mean(~inside) < 0.2


@given(lat=st.floats(-90, 90), lon=st.floats(-400, 400), turns=st.integers(-2, 2))
@settings(deadline=None)
def test_whole_turns_of_longitude_change_no_cell(lat: float, lon: float, turns: int) -> None:
    one, other = OCEAN.nearest_cells(np.array([lat, lat]), np.array([lon, lon + 360 * turns])).tolist()
    assert one == other or great_circle_km(*(centre_of(OCEAN, cell) for cell in (one, other))) < 1e4


OCEAN = ocean()


def centre_of(grid: IrregularGrid, cell: int) -> Point:
    return Point(float(grid.lon.ravel()[cell]), float(grid.lat.ravel()[cell]))


def test_an_ocean_grid_has_no_seam_and_reaches_over_its_pole() -> None:
    grid = ocean()
    # Along a circle of latitude over the southern ocean every place has a cell, on both sides of where columns begin.
    around = np.linspace(-180, 180, 721)
    assert (grid.nearest_cells(np.full_like(around, -60.0), around) >= 0).all()
    assert (grid.nearest_cells(np.array([90.0, 90.0]), np.array([0.0, 123.0])) >= 0).all()
    assert (grid.nearest_cells(np.array([-90.0, np.nan, 0.0]), np.array([0.0, 0.0, np.inf])) == -1).all()
    assert grid.extent.bbox.as_list() == [-180, pytest.approx(-78, abs=1.5), 180, 90]


def test_cells_in_one_row_reach_as_far_as_their_neighbours() -> None:
    # The Fibonacci lattice: cells of equal area with no rows or columns, in an order that says nothing.
    count = 4000
    number = np.random.default_rng(5).permutation(count)
    lat = np.degrees(np.arcsin(1 - (2 * number + 1) / count))
    lon = np.mod(number * 360 * (np.sqrt(5) - 1) / 2, 360)
    keep = lat > -50
    grid = IrregularGrid(("cell",), lon[keep], lat[keep], "unstructured")
    up, across = np.meshgrid(np.linspace(-89, 89, 60), np.linspace(0, 359, 90), indexing="ij")
    cells = grid.nearest_cells(up, across)
    assert cells.shape == up.shape
    assert (cells[up > -49] >= 0).all()
    assert (cells[up < -60] == -1).all()
    nearest = np.argmin(ways_to_all(grid, up.ravel(), across.ravel()), axis=1).reshape(up.shape)
    assert np.array_equal(cells[cells >= 0], nearest[cells >= 0])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_few_stations_are_a_grid_too(size: int) -> None:
    lon, lat = np.array([10.0, 20, 30])[:size], np.array([50.0, 51, 52])[:size]
    grid = IrregularGrid(("station",), lon, lat, "unstructured")
    found = [grid.nearest(Point(x, y)) for x, y in zip(lon, lat, strict=True)]
    assert [cell.index["station"] for cell in found if cell] == list(range(size))


def test_values_of_an_irregular_grid_are_those_of_the_nearest_cells() -> None:
    grid = ocean()
    array = xr.DataArray(np.random.default_rng(1).random((120, 90)), dims=("i", "j"))  # the other way round in the file
    lat, lon = np.linspace(80, -80, 41), np.linspace(-170, 170, 61)
    drawn = nearest_values(array, grid, lat, lon)
    for row, column in [(0, 0), (5, 60), (20, 30), (40, 10), (33, 33)]:
        cell = grid.nearest(Point(lon[column], lat[row]))
        expected = np.nan if cell is None else float(array.isel(cell.index))
        assert drawn[row, column] == pytest.approx(expected, nan_ok=True)
    assert np.isnan(drawn).any()
    assert np.isnan(nearest_values(array, grid, np.array([-89.0]), lon)).all()
