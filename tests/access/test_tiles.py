"""Tiles of rasters and cubes show the nearest cell at every pixel, in every projection that tiles come in."""

import io
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

from geoetl.access.picture import Picture
from geoetl.access.tiles import TileQuestion, TileSource
from geoetl.core.errors import InvalidParameter, InvalidTime, NotFound
from geoetl.core.spatial import Point
from tests.access.conftest import COLLECTION, Shelf, indices
from tests.access.cubes import dated_cube, days, levels_cube, one_degree, regular_cube


def cube(item: str, **asked: Any) -> TileQuestion:
    return TileQuestion(TileSource.CUBE, COLLECTION, item, **asked)


def raster(item: str, **asked: Any) -> TileQuestion:
    return TileQuestion(TileSource.RASTER, COLLECTION, item, **asked)


def pixel_places(z: int, x: int, y: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return longitude of each column and latitude of each row of a tile, by the definition of WebMercatorQuad."""
    across, down = (np.arange(256) + 0.5) / 256 + x, (np.arange(256) + 0.5) / 256 + y
    return across / 2**z * 360 - 180, np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * down / 2**z))))


def nearest(cube: xr.DataArray, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the value of the nearest cell at each place by measuring the way to every cell: array (lat, lon)."""
    turns = np.abs((cube.lon.values[np.newaxis] - lon[:, np.newaxis] + 180) % 360 - 180)
    ways = np.abs(cube.lat.values[np.newaxis] - lat[:, np.newaxis])
    return cube.transpose("lat", "lon").values[np.ix_(ways.argmin(axis=1), turns.argmin(axis=1))]


def values(picture: Picture, limits: tuple[float, float]) -> NDArray[np.float64]:
    """Return the values of a tile whose colours are 255 steps between `limits`; NaN = transparent."""
    colours = indices(picture).astype(float)
    return np.where(colours == 255, np.nan, limits[0] + colours / 254 * (limits[1] - limits[0]))


def noisy(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> xr.Dataset:
    """Return one step of whole numbers from 0 to 254, so that the colour of a cell is its value."""
    at = np.random.default_rng(11).integers(0, 255, (1, len(lat), len(lon))).astype("f4")
    coords = {"time": np.array(["2000-01-01"], "datetime64[s]"), "lat": lat, "lon": lon}
    return xr.Dataset({"tas": (("time", "lat", "lon"), at)}, coords=coords)


GRIDS = {
    "0 to 360, first cell on the meridian": (np.arange(0, 360, 1.25), np.linspace(-90, 90, 145)),
    "-180 to 180, from north": (np.arange(-179.5, 180), np.arange(89.5, -90, -1)),
    "from 20 over the antimeridian": (np.arange(20.5, 380), np.arange(-89.5, 90)),
    "Gaussian": (np.arange(0, 360, 2.8125), np.degrees(np.arcsin(np.polynomial.legendre.leggauss(64)[0]))),
    "longitudes backwards": (np.arange(359.5, 0, -1), np.arange(-89.5, 90)),
}
TILES = [
    (0, 0, 0),
    (1, 0, 0),
    (1, 1, 1),
    (2, 0, 1),
    (2, 3, 2),
    (3, 4, 3),
    (3, 3, 3),
    (5, 31, 15),
    (5, 0, 15),
    (6, 32, 20),
]


@pytest.mark.parametrize("grid", GRIDS)
def test_each_pixel_has_its_nearest_cell_on_every_grid(shelf: Shelf, grid: str) -> None:
    field = noisy(*GRIDS[grid])
    item, tiles = shelf.cube("x", field), shelf.platform.tiles
    for z, x, y in TILES:
        picture = tiles.tile(cube(item), z, x, y, rescale=[0, 254])
        lon, lat = pixel_places(z, x, y)
        got, wanted = values(picture, (0, 254)), nearest(field["tas"][0], lon, lat)
        # On the line between two cells either is nearest.
        apart = np.mean(got != wanted)
        assert apart < 0.01, (z, x, y, apart)


def test_a_region_over_the_antimeridian_is_on_both_sides(shelf: Shelf) -> None:
    field = noisy(np.arange(170.5, 190), np.arange(-9.5, 10))
    item, tiles = shelf.cube("x", field), shelf.platform.tiles
    for x, side in ((0, slice(10, 20)), (7, slice(0, 10))):
        got = values(tiles.tile(cube(item), 3, x, 3, rescale=[0, 254]), (0, 254))
        lon, lat = pixel_places(3, x, 3)
        inside = np.ix_((lat > -10) & (lat < 10), (np.mod(lon, 360) > 170) & (np.mod(lon, 360) < 190))
        wanted = nearest(field["tas"][0, :, side], lon, lat)
        assert np.mean(got[inside] != wanted[inside]) < 0.02
        got[inside] = np.nan
        assert np.isnan(got).all()
    with pytest.raises(NotFound, match="no tile"):
        tiles.tile(cube(item), 3, 0, 0)
    assert tiles.tilejson(cube(item), "/{z}/{x}/{y}.png").bounds == (-180, -10, 180, 10)


def test_no_data_are_transparent(shelf: Shelf) -> None:
    field = noisy(*one_degree())
    field["tas"][0, 90:] = np.nan
    item = shelf.cube("x", field)
    picture = shelf.platform.tiles.tile(cube(item), 0, 0, 0, rescale=[0, 254])
    seen = np.asarray(Image.open(io.BytesIO(picture.content)).convert("RGBA"))[..., 3]
    assert not seen[:127].any()
    assert (seen[129:] == 255).all()


def test_a_step_is_chosen_by_number_or_by_a_date_of_its_own_calendar(shelf: Shelf) -> None:
    item = shelf.cube("x", dated_cube(days("360_day", (2000, 1, 30), (2000, 2, 30), (2000, 3, 1))))
    tiles, place = shelf.platform.tiles, Point(0, 20)
    for asked, step in ({"time_index": 2}, 1), ({"time": "2000-02-30"}, 1), ({"time": "2000-03"}, 2), ({}, 0):
        assert tiles.point(cube(item, **asked), place).value == step
    answer = tiles.point(cube(item, time="2000-02-30T12:00:00Z"), place)
    assert (answer.time, answer.calendar) == ("2000-02-30T12:00:00", "360_day")


@pytest.mark.parametrize(
    ("time", "hint"),
    [
        ("2000-02-29", "The nearest is 2000-02-28T12:00:00 (time_index 2)."),
        ("2000-03-02", "The nearest is 2000-03-01T12:00:00 (time_index 3)."),
        ("1850", "The nearest is 2000-01-31T12:00:00 (time_index 1)."),
        ("2000-13-01", "Write it as"),
        ("soon", "Write it as"),
        ("2000-01-1", "Write it as"),
        ("nearest::2000-02-27", "Write it as"),
    ],
)
def test_a_date_that_is_not_there_is_never_taken_for_its_nearest(shelf: Shelf, time: str, hint: str) -> None:
    item = shelf.cube("x", dated_cube(days("noleap", (2000, 1, 31), (2000, 2, 28), (2000, 3, 1))))
    with pytest.raises(InvalidTime) as caught:
        shelf.platform.tiles.cube_info(cube(item, time=time))
    assert hint in str(caught.value.hint)


def test_a_part_of_a_date_has_to_mean_one_step(shelf: Shelf) -> None:
    item = shelf.cube("x", dated_cube(days("standard", (2000, 1, 1), (2000, 1, 2), (2000, 2, 1))))
    tiles = shelf.platform.tiles
    assert tiles.cube_info(cube(item, time="2000-02")).time_index == 3
    with pytest.raises(InvalidTime, match="2 steps"):
        tiles.cube_info(cube(item, time="2000-01"))
    with pytest.raises(InvalidTime, match="Both"):
        tiles.cube_info(cube(item, time="2000-02", time_index=1))


def test_extra_dimensions_are_chosen_by_their_values(shelf: Shelf) -> None:
    item, tiles = shelf.cube("x", levels_cube()), shelf.platform.tiles
    picked = cube(item, time_index=2, sel=(("plev", "50000"), ("member", "r2i1p1f1")))
    assert tiles.point(picked, Point(0, 45)).value == 211
    assert tiles.point(cube(item, variable="orog"), Point(0, 45)).value == 7
    with pytest.raises(InvalidParameter, match="plev"):
        tiles.cube_info(cube(item, sel=(("plev", "1"),)))


def test_colours_of_one_step_are_the_same_in_every_tile(shelf: Shelf) -> None:
    item, tiles = shelf.cube("x", regular_cube(*one_degree())), shelf.platform.tiles
    limits = {tiles.tile(cube(item), 2, x, 1).rescale for x in range(4)}
    assert len(limits) == 1
    assert tiles.cube_info(cube(item)).rescale == limits.pop()[0]


def test_the_item_says_how_it_is_drawn_where_nobody_else_does(shelf: Shelf) -> None:
    render = {"renders": {"default": {"assets": ["data"], "rescale": [[5, 9]], "colormap_name": "magma"}}}
    item, tiles = shelf.cube("x", regular_cube(*one_degree()), properties=render), shelf.platform.tiles
    picture = tiles.tile(cube(item), 0, 0, 0)
    assert (picture.rescale, picture.colormap) == (((5, 9),), "magma")
    other = tiles.tile(cube(item), 0, 0, 0, rescale=[0, 1], colormap="viridis_r")
    assert (other.rescale, other.colormap) == (((0, 1),), "viridis_r")


@pytest.mark.parametrize(("z", "x", "y"), [(0, 1, 0), (3, 8, 0), (3, 0, 8)])
def test_a_tile_beyond_its_zoom_is_not_there(shelf: Shelf, z: int, x: int, y: int) -> None:
    item = shelf.cube("x", regular_cube(*one_degree()))
    with pytest.raises(NotFound):
        shelf.platform.tiles.tile(cube(item), z, x, y)


def test_a_catalogue_that_changed_gives_new_tiles(shelf: Shelf) -> None:
    lon, lat = one_degree()
    tiles = shelf.platform.tiles
    first = tiles.tile(cube(shelf.cube("x", noisy(lon, lat))), 0, 0, 0, rescale=[0, 254])
    path = shelf.folder / "later.nc"
    noisy(lon, lat).roll(lon=40).assign_coords(lon=lon).to_netcdf(path, engine="h5netcdf")
    shelf.register("x", {"data": {"href": str(path), "type": "application/netcdf", "roles": ["data"]}})
    second = tiles.tile(cube("x"), 0, 0, 0, rescale=[0, 254])
    assert first.content != second.content
