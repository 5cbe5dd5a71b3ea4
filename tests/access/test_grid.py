"""Laws of the horizontal grid: the nearest cell is the nearest on the circle, whatever the convention."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from geoetl.access.grid import RegularGrid, find_grid, great_circle_km
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
