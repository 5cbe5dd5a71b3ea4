"""Tiles of rasters and cubes show the nearest cell at every pixel, in every projection that tiles come in."""

import io
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

from geoetl.access.matrix import WORLD_CRS84_QUAD
from geoetl.access.picture import Picture
from geoetl.access.tiles import TileQuestion, TileSource
from geoetl.core.errors import InvalidParameter, InvalidTime, NotFound
from geoetl.core.spatial import Point
from tests.access.conftest import COLLECTION, Shelf, indices
from tests.access.cubes import curvilinear_cube, dated_cube, days, levels_cube, one_degree, regular_cube


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


# -- other grids, other matrix sets ----------------------------------------------------------------------------------


def test_a_curvilinear_grid_has_its_nearest_cell_at_every_pixel(shelf: Shelf) -> None:
    field = curvilinear_cube()
    item = shelf.cube("x", field.assign(tos=field.tos % 255))
    found = values(shelf.platform.tiles.tile(cube(item), 3, 7, 3, rescale=[0, 254]), (0, 254))
    lon, lat = pixel_places(3, 7, 3)
    drawn = np.argwhere(np.isfinite(found))[::499]
    assert len(drawn) > 20
    for row, column in drawn:
        answer = shelf.platform.tiles.point(cube(item), Point(float(lon[column]), float(lat[row])))
        assert found[row, column] == pytest.approx(answer.value, abs=0.51)
        assert answer.method == "nearest cell by great circle"
    # Beyond the edge of the grid, which is turned, there is nothing.
    assert 0.1 < np.mean(np.isnan(found)) < 0.95


@pytest.mark.parametrize("grid", GRIDS)
def test_degrees_have_their_nearest_cell_too(shelf: Shelf, grid: str) -> None:
    field = noisy(*GRIDS[grid])
    item = shelf.cube("x", field)
    for z, x, y in [(0, 0, 0), (0, 1, 0), (1, 0, 1), (3, 15, 3), (4, 16, 7)]:
        picture = shelf.platform.tiles.tile(cube(item), z, x, y, tms=WORLD_CRS84_QUAD, rescale=[0, 254])
        side = 180 / 2**z
        lon = -180 + (x + (np.arange(256) + 0.5) / 256) * side
        lat = 90 - (y + (np.arange(256) + 0.5) / 256) * side
        got, wanted = values(picture, (0, 254)), nearest(field["tas"][0], lon, lat)
        assert np.mean(got != wanted) < 0.02, (z, x, y)
    with pytest.raises(NotFound):
        shelf.platform.tiles.tile(cube(item), 0, 2, 0, tms=WORLD_CRS84_QUAD)


# -- rasters -----------------------------------------------------------------------------------------------------------


def whole_numbers(rows: int, columns: int) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 255, (rows, columns)).astype(np.uint8)


@pytest.mark.parametrize("tms", ["WebMercatorQuad", "WorldCRS84Quad"])
def test_each_pixel_of_a_raster_tile_has_the_pixel_below_it(shelf: Shelf, tms: str) -> None:
    from geoetl.access.matrix import matrix_set

    numbers = whole_numbers(80, 120)
    item = shelf.raster("x", numbers, (5.0, 40.0, 17.0, 48.0))
    z, x, y = (6, 34, 22) if tms == "WebMercatorQuad" else (5, 34, 7)
    found = values(shelf.platform.tiles.tile(raster(item), z, x, y, tms=matrix_set(tms), rescale=[0, 254]), (0, 254))
    frame = matrix_set(tms).frame(z, x, y)
    columns, rows = np.floor((frame.longitudes() - 5) / 0.1), np.floor((48 - frame.latitudes()) / 0.1)
    inside = np.ix_((rows >= 0) & (rows < 80), (columns >= 0) & (columns < 120))
    wanted = numbers[
        np.ix_(rows[(rows >= 0) & (rows < 80)].astype(int), columns[(columns >= 0) & (columns < 120)].astype(int))
    ]
    assert wanted.size > 10_000
    assert np.mean(found[inside] != wanted) < 0.01
    found[inside] = np.nan
    assert np.isnan(found).all()


@pytest.mark.parametrize("west", [170.0, -190.0, 530.0])
def test_a_raster_over_the_antimeridian_has_no_seam(shelf: Shelf, west: float) -> None:
    numbers = whole_numbers(40, 200)
    item, tiles = shelf.raster("x", numbers, (west, -2.0, west + 20, 2.0)), shelf.platform.tiles
    # Two tiles that meet at 180 degrees show the columns before and behind it.
    left, right = (values(tiles.tile(raster(item), 6, x, 31, rescale=[0, 254]), (0, 254)) for x in (63, 0))
    row = 255  # just north of the equator
    assert left[row, -1] == numbers[19, 99]
    assert right[row, 0] == numbers[19, 100]
    assert np.isfinite(left[row]).all()
    assert np.isfinite(right[row]).all()
    assert tiles.tilejson(raster(item), "/{z}").bounds == (-180, -2, 180, 2)
    with pytest.raises(NotFound, match="no tile"):
        tiles.tile(raster(item), 6, 30, 31)


def test_colours_of_a_raster_are_the_same_in_every_tile(shelf: Shelf) -> None:
    slope = np.linspace(0, 1000, 512, dtype=np.float32)[np.newaxis].repeat(512, axis=0)
    item, tiles = shelf.raster("x", slope, (0.0, 0.0, 10.0, 10.0)), shelf.platform.tiles
    limits = {tiles.tile(raster(item), 7, x, 62).rescale for x in (64, 65, 66)}
    assert len(limits) == 1
    ((low, high),) = limits.pop()
    assert (low, high) == pytest.approx((20, 980), abs=3)
    assert tiles.raster_info(raster(item)).rescale == ((low, high),)


def test_three_bands_are_colours_and_one_of_them_is_mapped(shelf: Shelf) -> None:
    colours = np.stack([np.full((64, 64), level, np.uint8) for level in (10, 100, 200)])
    item, tiles = shelf.raster("x", colours, (0.0, 0.0, 10.0, 10.0), photometric="RGB"), shelf.platform.tiles
    picture = tiles.tile(raster(item), 6, 32, 31, rescale=[0, 255])
    assert Image.open(io.BytesIO(picture.content)).convert("RGB").getpixel((100, 100)) == (10, 100, 200)
    turned = tiles.tile(raster(item, bands=(3, 2, 1)), 6, 32, 31, rescale=[0, 255])
    assert Image.open(io.BytesIO(turned.content)).convert("RGB").getpixel((100, 100)) == (200, 100, 10)
    one = tiles.tile(raster(item, time_index=2), 6, 32, 31, rescale=[0, 254])
    assert values(one, (0, 254))[100, 100] == 100
    worked_out = tiles.tile(raster(item, expression="(b3-b1)/2"), 6, 32, 31, rescale=[0, 254])
    assert values(worked_out, (0, 254))[100, 100] == 95


@pytest.mark.parametrize(
    ("format", "size", "kind"), [("png", 512, "PNG"), ("webp", 256, "WEBP"), ("jpeg", 256, "JPEG")]
)
def test_a_tile_comes_in_the_form_and_size_that_was_asked_for(shelf: Shelf, format: str, size: int, kind: str) -> None:
    item = shelf.raster("x", whole_numbers(64, 64), (0.0, 0.0, 10.0, 10.0))
    picture = shelf.platform.tiles.tile(raster(item), 5, 16, 15, format=format, size=size)  # type: ignore[arg-type]
    opened = Image.open(io.BytesIO(picture.content))
    assert (opened.format, opened.size) == (kind, (size, size))
    if kind != "JPEG":
        assert opened.convert("RGBA").getpixel((size - 1, size // 2))[3] in (0, 255)


RENDERS = {
    "default": {"assets": ["data"], "rescale": [[0, 254]], "colormap_name": "magma"},
    "double": {"assets": ["data"], "expression": "b1*2", "rescale": [[0, 508]], "colormap_name": "plasma"},
    "second": {"assets": ["data"], "bidx": [2], "rescale": [[0, 254]]},
    "broken": {"assets": 3, "bidx": "x", "rescale": "wide", "colormap_name": 5},
}


def test_a_render_of_the_item_says_what_is_left_out(shelf: Shelf) -> None:
    bands = np.stack([np.full((32, 32), 50, np.uint8), np.full((32, 32), 70, np.uint8)])
    item, tiles = (
        shelf.raster("x", bands, (0.0, 0.0, 10.0, 10.0), properties={"renders": RENDERS}),
        shelf.platform.tiles,
    )

    def drawn(**asked: Any) -> tuple[Any, ...]:
        picture = tiles.tile(raster(item, **asked), 5, 16, 15)
        (limits,) = picture.rescale
        return picture.colormap, tuple(limits), round(float(values(picture, limits)[200, 20]))

    assert drawn() == ("magma", (0, 254), 50)
    assert drawn(render="default") == ("magma", (0, 254), 50)
    assert drawn(render="double") == ("plasma", (0, 508), 100)
    assert drawn(render="second") == ("magma", (0, 254), 70)
    assert drawn(render="double", bands=(2,))[2] == 70
    assert drawn(render="broken")[0] == "magma"
    with pytest.raises(NotFound, match="doubl") as caught:
        drawn(render="doubl")
    assert "double" in str(caught.value.hint)


def test_a_raster_is_no_cube_and_a_cube_no_raster(shelf: Shelf) -> None:
    item = shelf.raster("x", whole_numbers(8, 8), (0.0, 0.0, 10.0, 10.0))
    with pytest.raises(InvalidParameter, match="nothing that can be read"):
        shelf.platform.tiles.tile(cube(item), 0, 0, 0)
    other = shelf.cube("y", noisy(*one_degree()))
    with pytest.raises(InvalidParameter, match="nothing that can be read"):
        shelf.platform.tiles.tile(raster(other), 0, 0, 0)


def test_the_highest_zoom_shows_every_pixel_of_a_raster(shelf: Shelf) -> None:
    item = shelf.raster("x", whole_numbers(400, 400), (500_000, 5_200_000, 504_000, 5_204_000), "EPSG:32632")
    info = shelf.platform.tiles.raster_info(raster(item))
    # 10 m at 47 degrees north are 14.7 m at the equator; zoom 14 has pixels of 9.6 m there.
    assert info.maxzoom == 14
    document = shelf.platform.tiles.tilejson(raster(item), "/{z}", tms=WORLD_CRS84_QUAD)
    assert document.maxzoom == 13
