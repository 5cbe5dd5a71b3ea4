"""Tiles show the nearest cell at every pixel, and titiler's own reader opens every kind of cube."""

import io

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from PIL import Image
from titiler.xarray.io import Reader

from geoetl.access.picture import Picture
from geoetl.access.reader import CubeOpener, CubeReader
from geoetl.access.tiles import CubeTiles, TileQuestion
from geoetl.core.errors import InvalidParameter, InvalidTime, NotFound
from geoetl.core.spatial import Point
from tests.access.conftest import COLLECTION, Shelf, indices
from tests.access.cubes import curvilinear_cube, dated_cube, days, levels_cube, one_degree, regular_cube
from tests.cube_stores import KINDS, write_netcdf, write_store


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
    cube = noisy(*GRIDS[grid])
    item, tiles = shelf.cube("x", cube), CubeTiles(shelf.platform.cube)
    for z, x, y in TILES:
        picture = tiles.tile(TileQuestion(COLLECTION, item), z, x, y, rescale=[0, 254])
        lon, lat = pixel_places(z, x, y)
        got, wanted = values(picture, (0, 254)), nearest(cube["tas"][0], lon, lat)
        # On the line between two cells either is nearest.
        apart = np.mean(got != wanted)
        assert apart < 0.01, (z, x, y, apart)


def test_a_region_over_the_antimeridian_is_on_both_sides(shelf: Shelf) -> None:
    cube = noisy(np.arange(170.5, 190), np.arange(-9.5, 10))
    item, tiles = shelf.cube("x", cube), CubeTiles(shelf.platform.cube)
    for x, side in ((0, slice(10, 20)), (7, slice(0, 10))):
        got = values(tiles.tile(TileQuestion(COLLECTION, item), 3, x, 3, rescale=[0, 254]), (0, 254))
        lon, lat = pixel_places(3, x, 3)
        inside = np.ix_((lat > -10) & (lat < 10), (np.mod(lon, 360) > 170) & (np.mod(lon, 360) < 190))
        wanted = nearest(cube["tas"][0, :, side], lon, lat)
        assert np.mean(got[inside] != wanted[inside]) < 0.02
        got[inside] = np.nan
        assert np.isnan(got).all()
    with pytest.raises(NotFound, match="no tile"):
        tiles.tile(TileQuestion(COLLECTION, item), 3, 0, 0)
    assert tiles.tilejson(TileQuestion(COLLECTION, item), "/{z}/{x}/{y}.png").bounds == (-180, -10, 180, 10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_stock_reader_of_titiler_opens_every_kind(shelf: Shelf, kind: str) -> None:
    source = write_netcdf(shelf.folder / "source.nc", noisy(*GRIDS["-180 to 180, from north"]), tas=(1, 180, 360))
    item = shelf.register("x", write_store(kind, source, shelf.folder / "store"))
    opener = CubeOpener(shelf.platform.cube)
    with Reader(f"{COLLECTION}/{item}", "tas", opener=opener, sel=["time=2000-01-01"]) as reader:
        stock = reader.tile(4, 3, 3)
    with CubeReader(f"{COLLECTION}/{item}", "tas", opener=opener) as ours:
        exact = ours.tile(4, 3, 3)
        assert ours.info().count == 1
        assert ours.preview(max_size=36).array.shape == (1, 18, 36)
    assert np.mean(stock.array[0].filled(-1) == exact.array[0].filled(-1)) > 0.95
    assert shelf.platform.cube.open(COLLECTION, item)["tas"].load().size  # the readers left it open


def test_no_data_are_transparent(shelf: Shelf) -> None:
    cube = noisy(*one_degree())
    cube["tas"][0, 90:] = np.nan
    item = shelf.cube("x", cube)
    picture = CubeTiles(shelf.platform.cube).tile(TileQuestion(COLLECTION, item), 0, 0, 0, rescale=[0, 254])
    seen = np.asarray(Image.open(io.BytesIO(picture.content)).convert("RGBA"))[..., 3]
    assert not seen[:127].any()
    assert (seen[129:] == 255).all()


def test_a_step_is_chosen_by_number_or_by_a_date_of_its_own_calendar(shelf: Shelf) -> None:
    item = shelf.cube("x", dated_cube(days("360_day", (2000, 1, 30), (2000, 2, 30), (2000, 3, 1))))
    tiles, place = CubeTiles(shelf.platform.cube), Point(0, 20)
    for asked, step in ({"time_index": 2}, 1), ({"time": "2000-02-30"}, 1), ({"time": "2000-03"}, 2), ({}, 0):
        assert tiles.point(TileQuestion(COLLECTION, item, **asked), place).value == step  # type: ignore[arg-type]
    answer = tiles.point(TileQuestion(COLLECTION, item, time="2000-02-30T12:00:00Z"), place)
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
        CubeTiles(shelf.platform.cube).info(TileQuestion(COLLECTION, item, time=time))
    assert hint in str(caught.value.hint)


def test_a_part_of_a_date_has_to_mean_one_step(shelf: Shelf) -> None:
    item = shelf.cube("x", dated_cube(days("standard", (2000, 1, 1), (2000, 1, 2), (2000, 2, 1))))
    tiles = CubeTiles(shelf.platform.cube)
    assert tiles.info(TileQuestion(COLLECTION, item, time="2000-02")).time_index == 3
    with pytest.raises(InvalidTime, match="2 steps"):
        tiles.info(TileQuestion(COLLECTION, item, time="2000-01"))
    with pytest.raises(InvalidTime, match="Both"):
        tiles.info(TileQuestion(COLLECTION, item, time="2000-02", time_index=1))


def test_extra_dimensions_are_chosen_by_their_values(shelf: Shelf) -> None:
    item, tiles = shelf.cube("x", levels_cube()), CubeTiles(shelf.platform.cube)
    picked = TileQuestion(COLLECTION, item, time_index=2, sel=("plev=50000", "member=r2i1p1f1"))
    assert tiles.point(picked, Point(0, 45)).value == 211
    assert tiles.point(TileQuestion(COLLECTION, item, variable="orog"), Point(0, 45)).value == 7
    with pytest.raises(InvalidParameter, match="plev"):
        tiles.info(TileQuestion(COLLECTION, item, sel=("plev=1",)))


def test_colours_of_one_step_are_the_same_in_every_tile(shelf: Shelf) -> None:
    item, tiles = shelf.cube("x", regular_cube(*one_degree())), CubeTiles(shelf.platform.cube)
    limits = {tiles.tile(TileQuestion(COLLECTION, item), 2, x, 1).rescale for x in range(4)}
    assert len(limits) == 1
    assert tiles.info(TileQuestion(COLLECTION, item)).rescale == limits.pop()[0]


def test_the_item_says_how_it_is_drawn_where_nobody_else_does(shelf: Shelf) -> None:
    render = {"renders": {"default": {"assets": ["data"], "rescale": [[5, 9]], "colormap_name": "magma"}}}
    item, tiles = shelf.cube("x", regular_cube(*one_degree()), properties=render), CubeTiles(shelf.platform.cube)
    picture = tiles.tile(TileQuestion(COLLECTION, item), 0, 0, 0)
    assert (picture.rescale, picture.colormap) == (((5, 9),), "magma")
    other = tiles.tile(TileQuestion(COLLECTION, item), 0, 0, 0, rescale=[0, 1], colormap="viridis_r")
    assert (other.rescale, other.colormap) == (((0, 1),), "viridis_r")


def test_a_curvilinear_grid_is_refused_in_a_sentence(shelf: Shelf) -> None:
    item = shelf.cube("x", curvilinear_cube())
    with pytest.raises(InvalidParameter, match="curvilinear grid"):
        CubeTiles(shelf.platform.cube).tile(TileQuestion(COLLECTION, item), 0, 0, 0)


@pytest.mark.parametrize("source", ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1/x", "shelf", "shelf/../x"])
def test_the_opener_takes_ids_and_no_addresses(shelf: Shelf, source: str) -> None:
    with pytest.raises(InvalidParameter):
        CubeOpener(shelf.platform.cube)(source)


@pytest.mark.parametrize(("z", "x", "y"), [(0, 1, 0), (3, 8, 0), (3, 0, 8)])
def test_a_tile_beyond_its_zoom_is_not_there(shelf: Shelf, z: int, x: int, y: int) -> None:
    item = shelf.cube("x", regular_cube(*one_degree()))
    with pytest.raises(NotFound):
        CubeTiles(shelf.platform.cube).tile(TileQuestion(COLLECTION, item), z, x, y)


def test_a_catalogue_that_changed_gives_new_tiles(shelf: Shelf) -> None:
    lon, lat = one_degree()
    tiles = CubeTiles(shelf.platform.cube)
    first = tiles.tile(TileQuestion(COLLECTION, shelf.cube("x", noisy(lon, lat))), 0, 0, 0, rescale=[0, 254])
    path = shelf.folder / "later.nc"
    noisy(lon, lat).roll(lon=40).assign_coords(lon=lon).to_netcdf(path, engine="h5netcdf")
    shelf.register("x", {"data": {"href": str(path), "type": "application/netcdf", "roles": ["data"]}})
    second = tiles.tile(TileQuestion(COLLECTION, "x"), 0, 0, 0, rescale=[0, 254])
    assert first.content != second.content
