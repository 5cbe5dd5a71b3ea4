"""Boxes cut out of rasters and steps of cubes: the right pixels, in the right place, in every convention."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.windows import from_bounds as window_of
from rio_tiler.io import Reader

from geoetl.access import Picture, RasterWindow
from geoetl.access.cost import QueryLimits
from geoetl.core.errors import GeoetlError, InvalidBBox, InvalidParameter, InvalidTime, LimitExceeded, NotFound
from geoetl.core.settings import LimitSettings, QuerySettings
from geoetl.core.spatial import BBox, Point
from geoetl.store.samples import sample_path
from tests.access.conftest import COG, COLLECTION, Shelf
from tests.access.cubes import curvilinear_cube, one_degree, projected_cube, regular_cube

# What a box may ask for on each of them: near the antimeridian, across Greenwich, at a pole.
BOXES = [BBox(170, -10, -170, 10), BBox(-10, 40, 10, 60), BBox(20, 30, 21, 31), BBox(100, 80, 140, 90)]


def placed(transform: Affine, width: int, height: int, crs: str = "EPSG:4326") -> NDArray[np.float64]:
    """Return a raster whose first band holds the longitude of each pixel, 0 to 360, and the second its latitude."""
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y = transform @ (columns, rows)
    lon, lat = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform(x, y)
    return np.stack([np.asarray(lon) % 360, lat])


def put(shelf: Shelf, transform: Affine, width: int, height: int, crs: str = "EPSG:4326", **profile: Any) -> str:
    return shelf.raster("placed", placed(transform, width, height, crs), transform, crs, **profile)


def cut(shelf: Shelf, item: str, bbox: BBox, **options: Any) -> RasterWindow:
    options = {"format": "npy", "bands": [1, 2], **options}
    found = shelf.platform.raster.extract(COLLECTION, item, bbox, **options)
    assert isinstance(found, RasterWindow)
    return found


def drawn(shelf: Shelf, item: str, bbox: BBox, **options: Any) -> Picture:
    found = shelf.platform.raster.extract(COLLECTION, item, bbox, **options)
    assert isinstance(found, Picture)
    return found


def apart(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """Return how far longitudes are apart, whatever their convention."""
    return np.abs((one - other + 180) % 360 - 180)


GLOBES = {
    "-180 to 180": (Affine(1, 0, -180, 0, -1, 90), 360, 180),
    "0 to 360": (Affine(1, 0, 0, 0, -1, 90), 360, 180),
    "-0.5 to 359.5": (Affine(1, 0, -0.5, 0, -1, 90), 360, 180),
    "south up": (Affine(1, 0, -180, 0, 1, -90), 360, 180),
    "east first": (Affine(-1, 0, 180, 0, -1, 90), 360, 180),
}


@pytest.mark.parametrize("globe", GLOBES)
def test_a_box_has_the_pixels_whose_centres_lie_in_it(shelf: Shelf, globe: str) -> None:
    item = put(shelf, *GLOBES[globe])
    for bbox in BOXES:
        found = cut(shelf, item, bbox)
        lon, lat = found.places()
        assert apart(found.values[0], lon).max() < 1e-9
        np.testing.assert_allclose(found.values[1], lat, atol=1e-9)
        assert found.values[0].size == bbox.width_deg * bbox.height_deg
        assert ((lon - bbox.west) % 360 <= bbox.width_deg).all()
        assert ((lat >= bbox.south) & (lat <= bbox.north)).all()
        assert found.method == "native pixels"


@pytest.mark.parametrize("globe", ["-180 to 180", "0 to 360", "-0.5 to 359.5"])
@pytest.mark.parametrize("step", ["native", "picture"])
def test_a_box_over_the_antimeridian_is_its_halves_side_by_side(shelf: Shelf, globe: str, step: str) -> None:
    item = put(shelf, *GLOBES[globe])
    whole, *halves = BBox(170, -5, -160, 5), BBox(170, -5, 180, 5), BBox(-180, -5, -160, 5)
    sizes = (
        [{}, {}, {}]
        if step == "native"
        else [{"width": 90, "height": 20}, {"width": 30, "height": 20}, {"width": 60, "height": 20}]
    )
    one, west, east = (cut(shelf, item, box, **size).values for box, size in zip((whole, *halves), sizes, strict=True))
    np.testing.assert_array_equal(one, np.concatenate([west, east], axis=2))


def test_a_box_over_the_antimeridian_of_a_utm_raster_holds_its_halves(shelf: Shelf) -> None:
    transform = Affine(2000, 0, 650_000, 0, -2000, 5_500_000)
    item = put(shelf, transform, 100, 100, "EPSG:32660")
    boxes = BBox(179.5, 48.5, -179.8, 49.2), BBox(179.5, 48.5, 180, 49.2), BBox(-180, 48.5, -179.8, 49.2)
    whole, west, east = (cut(shelf, item, box) for box in boxes)
    lon, lat = whole.places()
    known = np.isfinite(whole.values[0])
    assert apart(whole.values[0][known], lon[known]).max() < 1e-6
    at = ~whole.grid.transform
    seen = np.zeros_like(known)
    for half in (west, east):
        column, row = (round(edge) for edge in at @ (half.grid.transform.c, half.grid.transform.f))
        place = (slice(None), slice(row, row + half.grid.height), slice(column, column + half.grid.width))
        np.testing.assert_array_equal(whole.values[place], half.values)
        seen[place[1:]] = True
    inside = ((lon - 179.5) % 360 <= 0.7) & (lat >= 48.5) & (lat <= 49.2)
    assert seen[inside].all()
    pictures = [
        cut(shelf, item, box, width=size, height=70, crs="EPSG:4326").values
        for box, size in zip(boxes, (70, 50, 20), strict=True)
    ]
    np.testing.assert_array_equal(pictures[0], np.concatenate(pictures[1:], axis=2))


@pytest.mark.parametrize(
    ("crs", "transform", "bbox"),
    [
        ("EPSG:32633", Affine(500, 0, 400_000, 0, -500, 5_000_000), BBox(14.2, 44.3, 14.8, 44.9)),
        ("EPSG:32633", Affine(400, 300, 400_000, 300, -400, 4_900_000), BBox(14.2, 44.3, 14.8, 44.9)),
        ("EPSG:3413", Affine(20_000, 0, -1_000_000, 0, -20_000, 1_000_000), BBox(-180, 85, 180, 90)),
        ("EPSG:3857", Affine(400_750, 0, -20_037_508.34, 0, -400_750, 10_000_000), BBox(170, -40, -170, 40)),
        ("EPSG:6933", Affine(86_850, 0, -17_367_530, 0, -86_850, 7_000_000), BBox(170, -40, -170, 40)),
        ("EPSG:4326", Affine(0.03, 0.01, 178, 0.01, -0.03, 2), BBox(179.5, 0.5, -179.5, 1.5)),
    ],
)
def test_every_projection_and_rotation_keeps_its_own_pixels(
    shelf: Shelf, crs: str, transform: Affine, bbox: BBox
) -> None:
    item = put(shelf, transform, 100, 100, crs)
    found = cut(shelf, item, bbox)
    lon, lat = found.places()
    known = np.isfinite(found.values[0])
    assert known.any()
    assert apart(found.values[0][known], lon[known]).max() < 2e-4
    np.testing.assert_allclose(found.values[1][known], lat[known], atol=1e-5)
    # Every pixel of the raster whose centre lies in the box is there.
    everywhere = placed(transform, 100, 100, crs)
    meant = ((everywhere[0] - bbox.west) % 360 <= bbox.width_deg) & (everywhere[1] >= bbox.south)
    assert meant.sum() > 10
    assert np.isin(everywhere[1][meant & (everywhere[1] <= bbox.north)].round(6), found.values[1].round(6)).all()


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:3035"])
def test_pixels_of_any_picture_are_those_at_their_places(shelf: Shelf, crs: str) -> None:
    item = put(shelf, Affine(0.02, 0, 5, 0, -0.02, 52), 500, 500)
    found = cut(shelf, item, BBox(7, 44, 11, 49), crs=crs, width=157, height=211)
    lon, lat = found.places()
    assert found.values.shape == (2, 211, 157)
    known = np.isfinite(found.values[0])
    assert known.mean() > 0.9
    # Half a pixel at most, as the nearest is taken, and a little for the interpolation of places.
    assert apart(found.values[0], lon)[known].max() <= 0.01 + 5e-4
    assert np.abs(found.values[1] - lat)[known].max() <= 0.01 + 5e-4


def test_what_lies_beyond_the_raster_is_no_data(shelf: Shelf) -> None:
    item = put(shelf, Affine(0.1, 0, 0, 0, -0.1, 10), 100, 100)
    found = cut(shelf, item, BBox(-1, 9, 1, 11))
    assert found.values.shape == (2, 20, 20)
    known = np.isfinite(found.values[0])
    assert known[10:, 10:].all()
    assert known.sum() == 100
    picture = Image.open(io.BytesIO(drawn(shelf, item, BBox(-1, 9, 1, 11), bands=[1], width=20, height=20).content))
    np.testing.assert_array_equal(np.asarray(picture.convert("RGBA"))[..., 3] > 0, known)


@pytest.mark.parametrize("format", ["png", "npy", "tif"])
def test_a_box_outside_is_answered_with_the_extent(shelf: Shelf, format: str) -> None:
    item = put(shelf, Affine(0.1, 0, 0, 0, -0.1, 10), 100, 100)
    with pytest.raises(NotFound, match="which covers longitude 0 to 10, latitude 0 to 10") as error:
        shelf.platform.raster.extract(COLLECTION, item, BBox(20, 0, 30, 10), format=format, bands=[1])
    assert error.value.field == "bbox"
    # A tilted raster does not fill the box around it.
    turned = shelf.raster("turned", np.ones((100, 100)), Affine(0.05, 0.05, 0, 0.05, -0.05, 5))
    with pytest.raises(NotFound, match="No pixel of the answer falls on"):
        shelf.platform.raster.extract(COLLECTION, turned, BBox(0.1, 0.1, 0.3, 0.3), format=format)


def test_a_box_smaller_than_a_pixel_is_that_pixel(shelf: Shelf) -> None:
    item = put(shelf, Affine(1, 0, -180, 0, -1, 90), 360, 180)
    found = cut(shelf, item, BBox(10.1, 20.1, 10.2, 20.2))
    assert found.values.ravel().tolist() == [10.5, 20.5]


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ({}, (40, 20)),
        ({"width": 10}, (20, 10)),
        ({"height": 10}, (10, 5)),
        ({"width": 7, "height": 9}, (9, 7)),
        ({"crs": "EPSG:3857"}, (40, 20)),
    ],
)
def test_a_picture_is_as_fine_as_the_data_or_as_it_is_wanted(
    shelf: Shelf, size: dict[str, Any], shape: tuple[int, int]
) -> None:
    item = put(shelf, Affine(0.1, 0, 0, 0, -0.1, 10), 100, 100)
    picture = drawn(shelf, item, BBox(1, -0.0, 3, 4), bands=[1], **size)
    assert (picture.height, picture.width) == shape
    assert picture.crs == size.get("crs", "EPSG:4326")


def test_a_picture_of_a_large_box_has_at_most_1024_pixels_a_side(shelf: Shelf) -> None:
    item = shelf.raster("large", np.zeros((1500, 3000), "uint8"), (0, 0, 30, 15))
    picture = drawn(shelf, item, BBox(0, 0, 30, 15))
    assert (picture.width, picture.height) == (1024, 512)


def test_native_values_equal_those_of_rasterio(shelf: Shelf) -> None:
    path = sample_path("landsat_rgb.tif")
    item = shelf.register("scene", {"data": {"href": str(path), "type": COG, "roles": ["data"]}})
    bbox = BBox(-78.2, 24.4, -77.6, 25.0)
    found = cut(shelf, item, bbox, bands=[1, 2, 3])
    with rasterio.open(path) as source:
        left, top = (round(edge) for edge in ~source.transform @ (found.grid.transform.c, found.grid.transform.f))
        window = ((top, top + found.grid.height), (left, left + found.grid.width))
        expected = source.read(window=window, masked=True).astype("float32").filled(np.nan)
        edges = rasterio.warp.transform_bounds("EPSG:4326", source.crs, *bbox.as_list())
        around = window_of(*edges, transform=source.transform)
        assert abs(found.grid.height - around.height) <= 1.5
        assert abs(found.grid.width - around.width) <= 1.5
    np.testing.assert_array_equal(found.values, expected)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_pictures_of_a_real_scene_equal_those_of_rio_tiler(shelf: Shelf, crs: str) -> None:
    path = sample_path("landsat_rgb.tif")
    item = shelf.register("scene", {"data": {"href": str(path), "type": COG, "roles": ["data"]}})
    bbox = BBox(-78.2, 24.4, -77.6, 25.0)
    ours = cut(shelf, item, bbox, bands=[1, 2, 3], crs=crs, width=64, height=64).values
    with Reader(str(path)) as reader:
        theirs = reader.part(
            tuple(bbox.as_list()), dst_crs=rasterio.CRS.from_string(crs), width=64, height=64
        ).array.astype("float32")
    same = ours == theirs.filled(np.nan)
    # GDAL takes the next pixel where a place falls near an edge.
    assert same.mean() > 0.97


def test_a_coarse_picture_is_read_from_overviews_and_equals_rio_tilers(shelf: Shelf) -> None:
    y, x = np.mgrid[0:1024, 0:1024]
    values = (np.sin(x / 40) * np.cos(y / 60)).astype("float32")
    item = shelf.raster("smooth", values, (0, 0, 10, 10), tiled=True, blockxsize=256, blockysize=256)
    path = shelf.folder / "smooth.tif"
    with rasterio.open(path, "r+") as out:
        out.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    found = cut(shelf, item, BBox(1, 1, 9, 9), bands=[1], width=100, height=100, crs="EPSG:4326")
    with Reader(str(path)) as reader:
        theirs = reader.part((1, 1, 9, 9), width=100, height=100, resampling_method="average").array.filled(np.nan)
    assert np.abs(found.values - theirs).max() < 0.1
    assert found.method == "nearest of averaged pixels"
    cost = shelf.platform.raster.estimate_extract(COLLECTION, item, BBox(1, 1, 9, 9), width=100, height=100)
    assert (cost.values, cost.chunks, cost.bytes) == (10_000, 1, 256 * 256 * 4)


def test_masks_and_no_data_of_every_kind_are_nan(shelf: Shelf) -> None:
    values = np.arange(16, dtype="int16").reshape(4, 4)
    by_value = shelf.raster("by-value", values, (0, 0, 4, 4), nodata=5)
    by_mask = shelf.raster("by-mask", values, (0, 0, 4, 4), mask=np.where(values == 5, 0, 255).astype("uint8"))
    floats = np.where(values == 5, np.nan, values.astype("float32"))
    by_nan = shelf.raster("by-nan", floats, (0, 0, 4, 4), nodata=np.nan)
    for item in (by_value, by_mask, by_nan):
        np.testing.assert_array_equal(cut(shelf, item, BBox(0, 0, 4, 4), bands=[1]).values[0], floats)


def test_scale_and_offset_make_physical_values_in_every_file(shelf: Shelf) -> None:
    stored = np.array([[100, 200], [300, -9999]], dtype="int16")
    item = shelf.raster("scaled", stored, (0, 0, 2, 2), scales=(0.01,), offsets=(273.15,), nodata=-9999)
    expected = np.array([[274.15, 275.15], [276.15, np.nan]])
    found = cut(shelf, item, BBox(0, 0, 2, 2), bands=[1])
    np.testing.assert_allclose(found.values[0], expected, rtol=1e-12)
    np.testing.assert_array_equal(np.load(io.BytesIO(found.content)), found.values[0])
    with MemoryFile(found.to_tif()) as memory, memory.open() as read:
        assert read.scales == (1.0,)
        assert np.isnan(read.nodata)
        np.testing.assert_allclose(read.read(1, masked=True).filled(np.nan), expected, rtol=1e-12)


def test_large_integers_keep_every_digit(shelf: Shelf) -> None:
    stored = np.array([[2**31 - 1, 16_777_217]], dtype="int32")
    item = shelf.raster("ids", stored, (0, 0, 2, 1))
    assert cut(shelf, item, BBox(0, 0, 2, 1), bands=[1]).values.ravel().tolist() == [2**31 - 1, 16_777_217]


@pytest.mark.parametrize(
    ("transform", "crs", "bbox"),
    [
        (Affine(0.1, 0, 0, 0, -0.1, 10), "EPSG:4326", BBox(2, 2, 5, 5)),
        (Affine(0.1, 0, 0, 0, 0.1, 0), "EPSG:4326", BBox(2, 2, 5, 5)),
        (Affine(400, 300, 400_000, 300, -400, 4_900_000), "EPSG:32633", BBox(14.2, 44.3, 14.5, 44.6)),
        (Affine(1, 0, -180, 0, -1, 90), "EPSG:4326", BBox(179, 0, -179, 2)),
    ],
)
def test_a_geotiff_says_where_and_what_it_is(shelf: Shelf, transform: Affine, crs: str, bbox: BBox) -> None:
    width, height = (360, 180) if transform.c == -180 else (100, 100)
    values = placed(transform, width, height, crs)
    asset = {"bands": [{"name": "lon", "unit": "degree"}, {"name": "lat", "unit": "degree"}]}
    item = shelf.raster("named", values, transform, crs, properties={"version": "7"}, asset=asset)
    found = cut(shelf, item, bbox, format="tif")
    with MemoryFile(found.content) as memory, memory.open() as read:
        assert read.crs == rasterio.CRS.from_string(crs)
        assert read.profile["tiled"]
        assert read.profile["compress"] == "deflate"
        assert read.descriptions == ("lon", "lat")
        assert read.units == ("degree", "degree")
        pixels = read.read()
        lon, lat = placed(read.transform, read.width, read.height, crs)
        known = np.isfinite(pixels[0])
        assert known.any()
        assert apart(pixels[0], lon)[known].max() < 1e-5
        np.testing.assert_allclose(pixels[1][known], lat[known], atol=1e-5)
        told = read.tags()
    wanted = {"collection": COLLECTION, "item": item, "variable": "lon, lat", "units": "degree", "dataset_version": "7"}
    assert wanted.items() <= told.items()
    assert told["method"] == "native pixels"


def test_a_window_is_a_table_an_array_and_a_plot(shelf: Shelf) -> None:
    item = put(shelf, Affine(1, 0, -180, 0, -1, 90), 360, 180)
    found = cut(shelf, item, BBox(179, 0, -179, 2))
    table = found.to_dataframe()
    assert list(table.columns) == ["lon", "lat", "b1", "b2"]
    assert table["lon"].tolist() == [179.5, -179.5] * 2
    np.testing.assert_allclose(table["b1"] % 360, table["lon"] % 360)
    assert table.attrs["item"] == item
    array = found.to_xarray()
    assert array.rio.crs.to_epsg() == 4326
    np.testing.assert_array_equal(array.sel(band="b2").values, found.values[1])
    np.testing.assert_array_equal(array["x"], [179.5, 180.5])
    assert "179 to -179" in found._repr_html_()
    plot: Any = found.plot(band=2)
    np.testing.assert_array_equal(plot.dimension_values(2, flat=False)[::-1], found.values[1])
    with pytest.raises(InvalidParameter, match="There is no band 3"):
        found.plot(band=3)


# -- steps of cubes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("south_up", [True, False])
@pytest.mark.parametrize("west", [0.0, -180.0, -0.5, 100.0])
def test_cells_of_a_cube_are_cut_alike_in_every_convention(shelf: Shelf, west: float, south_up: bool) -> None:
    cube = regular_cube(*one_degree(west=west, south_up=south_up))
    lon, lat = np.meshgrid(cube["lon"].values % 360, cube["lat"].values)
    cube["tas"] = cube["tas"] * 0 + (lon * 1000 + lat)
    item = shelf.cube("globe", cube)
    for bbox in BOXES:
        found = cut(shelf, item, bbox, bands=None)
        at, up = found.places()
        np.testing.assert_allclose(found.values[0], at % 360 * 1000 + up)
        assert found.grid.transform.e < 0
        assert found.values[0].size == bbox.width_deg * bbox.height_deg
        assert found.method == "native cells"


@pytest.mark.parametrize("west", [0.0, -180.0, -0.5])
def test_a_box_over_the_antimeridian_of_a_cube_is_its_halves_side_by_side(shelf: Shelf, west: float) -> None:
    item = shelf.cube("globe", regular_cube(*one_degree(west=west)))
    boxes = BBox(170, -5, -160, 5), BBox(170, -5, 180, 5), BBox(-180, -5, -160, 5)
    whole, *halves = (cut(shelf, item, box, bands=None).values for box in boxes)
    np.testing.assert_array_equal(whole, np.concatenate(halves, axis=2))


def test_a_step_is_chosen_by_number_or_date_and_its_file_says_so(shelf: Shelf) -> None:
    item = shelf.cube("globe", regular_cube(*one_degree()))
    by_number = cut(shelf, item, BBox(0, 0, 4, 4), bands=None, time_index=3, format="tif")
    by_date = cut(shelf, item, BBox(0, 0, 4, 4), bands=None, time="2000-01-03", format="tif")
    np.testing.assert_array_equal(by_number.values, by_date.values)
    assert (by_number.values >= 2000).all()
    with MemoryFile(by_number.content) as memory, memory.open() as read:
        assert read.tags()["time"] == "2000-01-03T00:00:00"
        assert read.tags()["variable"] == "tas"
        assert read.units == ("K",)
    with pytest.raises(InvalidTime, match="Both time and time_index"):
        cut(shelf, item, BBox(0, 0, 4, 4), bands=None, time_index=3, time="2000-01-03")
    with pytest.raises(InvalidParameter, match="A step of a cube has one band, tas"):
        cut(shelf, item, BBox(0, 0, 4, 4), bands=[2])


def test_gaussian_latitudes_are_told_on_an_even_grid(shelf: Shelf) -> None:
    lat = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(64)[0]))
    lon = np.arange(128) * 2.8125
    cube = xr.Dataset(
        {"tas": (("lat", "lon"), np.broadcast_to(lat[:, np.newaxis], (64, 128)).copy(), {"units": "K"})},
        coords={"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})},
    )
    found = cut(shelf, shelf.cube("gaussian", cube), BBox(-180, -90, 180, 90), bands=None)
    assert found.method == "nearest cell on an even grid"
    assert found.values.shape == (1, 64, 128)
    _, up = found.places()
    np.testing.assert_allclose(found.values[0, :, 0], lat[::-1], atol=1e-9)
    assert np.abs(found.values[0] - up).max() < 180 / 64 / 2


@pytest.mark.parametrize(
    ("make", "bbox"), [(curvilinear_cube, BBox(165, 15, 175, 25)), (projected_cube, BBox(-90, 84, 0, 88))]
)
def test_bent_grids_give_the_nearest_cell_by_great_circle(
    shelf: Shelf, make: Callable[[], xr.Dataset], bbox: BBox
) -> None:
    item = shelf.cube("bent", make())
    found = cut(shelf, item, bbox, bands=None)
    assert found.method == "nearest cell by great circle on an even grid"
    lon, lat = found.places()
    for row, column in np.argwhere(np.isfinite(found.values[0]))[::7]:
        read = shelf.platform.raster.point(COLLECTION, item, Point(lon[row, column], lat[row, column]))
        assert read.values == (found.values[0, row, column],)


def test_a_cube_can_be_drawn_in_any_projection(shelf: Shelf) -> None:
    cube = regular_cube(*one_degree())
    _, lat = np.meshgrid(cube["lon"].values, cube["lat"].values)
    cube["tas"] = cube["tas"] * 0 + lat
    item = shelf.cube("globe", cube)
    found = cut(shelf, item, BBox(-180, 60, 180, 90), bands=None, crs="EPSG:3413", width=50, height=50)
    _, up = found.places()
    assert np.abs(found.values[0] - up).max() <= 0.5 + 1e-6
    whole = shelf.platform.raster.preview(COLLECTION, item, crs="EPSG:6933", max_size=64)
    assert (whole.crs, max(whole.width, whole.height)) == ("EPSG:6933", 64)  # type: ignore[union-attr]


def test_an_undeclared_fill_of_the_netcdf_library_is_no_data(shelf: Shelf) -> None:
    values = np.full((4, 8), 280.0, dtype="float32")
    values[1, 2] = 9.969209968386869e36
    coordinates = {"lat": ("lat", [60.0, 20, -20, -60]), "lon": ("lon", np.arange(8) * 45.0)}
    cube = xr.Dataset({"tas": (("lat", "lon"), values)}, coords=coordinates)
    item = shelf.cube("unsaid", cube, encoding={"tas": {"_FillValue": None}})
    assert np.isnan(cut(shelf, item, BBox(-180, -90, 180, 90), bands=None).values).sum() == 1
    assert shelf.platform.raster.point(COLLECTION, item, Point(90, 20)).values == (None,)
    assert shelf.platform.cube.series(COLLECTION, item, Point(90, 20)).values == (None,)
    # A file that declares another has said what it means.
    cube["tas"].attrs["_FillValue"] = np.float32(-1)
    said = shelf.cube("said", cube)
    assert not np.isnan(cut(shelf, said, BBox(-180, -90, 180, 90), bands=None).values).any()


def test_the_undeclared_fill_of_a_real_model_is_no_data(shelf: Shelf) -> None:
    name = "ta_Amon_GFDL-CM4_historical_r1i1p1f1_gr1_195001-201412.nc"
    path = next(sample_path("cmip6").rglob(name))
    asset = {"href": str(path), "type": "application/netcdf", "roles": ["data"]}
    item = shelf.register("gfdl", {"data": asset}, {"cmip6:variable_id": "ta"})
    described = shelf.platform.cube.describe(COLLECTION, item)
    with xr.open_dataset(path, engine="h5netcdf", decode_times=False) as source:
        missing = np.argwhere(source["ta"].values > 1e36)
        assert len(missing)
        dims = dict(zip(source["ta"].dims, missing[0], strict=True))
        place = Point(float(source["lon"][dims["lon"]]), float(source["lat"][dims["lat"]]))
        sel = {"plev": float(source["plev"][dims["plev"]])} if "plev" in dims else {}
    read = shelf.platform.raster.point(
        COLLECTION, item, place, sel=sel, time_index=int(dims["time"]) + 1, variable=described.default_variable
    )
    assert read.values == (None,)


# -- what may be asked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bbox", "options", "error", "field", "said"),
    [
        (BBox(0, 0, 0, 5), {}, InvalidBBox, "bbox", "has no area"),
        (BBox(0, 0, 5, 5), {"width": 0}, InvalidParameter, "width", "whole number of pixels"),
        (BBox(0, 0, 5, 5), {"width": 20_000}, LimitExceeded, "width", "400,000,000 values; the limit is 16,777,216"),
        (BBox(0, 0, 5, 5), {"format": "gif"}, InvalidParameter, "format", "no picture format 'gif'"),
        (BBox(0, 0, 5, 5), {"crs": "EPSG:1"}, InvalidParameter, "crs", "not a coordinate reference system"),
        (BBox(0, 0, 5, 5), {"bands": [3]}, InvalidParameter, "bands", "There is no band 3"),
        (BBox(0, 0, 5, 5), {"bands": [1, 2]}, InvalidParameter, "bands", "There are 2 bands"),
        (BBox(0, 0, 5, 5), {"bands": []}, InvalidParameter, "bands", "0 bands were given"),
        (BBox(0, 0, 5, 5), {"bands": [1], "time_index": 1}, InvalidParameter, "time_index", "Both bands and"),
        (BBox(0, 0, 5, 5), {"time_index": 9}, InvalidParameter, "time_index", "the raster has 2 bands"),
        (BBox(0, 0, 5, 5), {"variable": "tas"}, InvalidParameter, "variable", "A raster has no variable"),
        (BBox(0, 0, 5, 5), {"time": "2000"}, InvalidParameter, "time", "A raster has no time"),
        (BBox(0, 0, 5, 5), {"colormap": "virdis"}, InvalidParameter, "colormap", "no colour map 'virdis'"),
        (BBox(0, 0, 5, 5), {"rescale": [3]}, InvalidParameter, "rescale", "expected [low, high]"),
        (BBox(0, 86, 5, 88), {"crs": "EPSG:3857"}, NotFound, "bbox", "lies outside"),
    ],
)
def test_what_cannot_be_cut_out_is_told(
    shelf: Shelf, bbox: BBox, options: dict[str, Any], error: type[GeoetlError], field: str, said: str
) -> None:
    item = put(shelf, Affine(0.1, 0, 0, 0, -0.1, 10), 100, 100)
    with pytest.raises(error) as raised:
        shelf.platform.raster.extract(COLLECTION, item, bbox, **options)
    assert said in raised.value.detail
    assert raised.value.field == field


def test_a_server_refuses_large_boxes_and_long_reads_with_what_would_fit(shelf: Shelf) -> None:
    item = put(
        shelf, Affine(0.1, 0, 0, 0, -0.1, 10), 100, 100, tiled=True, blockxsize=16, blockysize=16, interleave="band"
    )
    limits = QueryLimits.of_requests(LimitSettings(), QuerySettings(max_bbox_area_degrees=4, max_chunks=5))
    ask = shelf.platform.raster.extract
    with pytest.raises(LimitExceeded, match="bbox covers 9 square degrees; the limit is 4"):
        ask(COLLECTION, item, BBox(0, 0, 3, 3), limits=limits, bands=[1])
    with pytest.raises(LimitExceeded, match="chunks would have to be read; the limit is 5") as error:
        ask(COLLECTION, item, BBox(0, 0, 2, 2), limits=limits, bands=[1, 2], format="npy")
    assert error.value.field == "bbox"
    told = shelf.platform.raster.estimate_extract(
        COLLECTION, item, BBox(0, 0, 2, 2), limits=limits, bands=[1, 2], format="npy"
    )
    assert (told.values, told.chunks, told.fits) == (800, 8, False)
    assert not shelf.platform.raster.estimate_extract(COLLECTION, item, BBox(0, 0, 3, 3), limits=limits).fits


def test_the_chunks_of_a_cube_are_counted_before_they_are_read(shelf: Shelf) -> None:
    chunks = {"tas": {"chunksizes": (1, 90, 90), "zlib": True}}
    item = shelf.cube("globe", regular_cube(*one_degree()), encoding=chunks)
    cost = shelf.platform.raster.estimate_extract(COLLECTION, item, BBox(80, 10, 100, 20), format="npy")
    assert (cost.values, cost.chunks, cost.bytes) == (200, 2, 2 * 90 * 90 * 8)
    whole = shelf.platform.raster.estimate_preview(COLLECTION, item)
    assert whole.chunks == 8


def test_however_much_is_asked_for_is_told_without_working_it_out(shelf: Shelf) -> None:
    tilted = Affine(400, 300, 400_000, 300, -400, 4_900_000)
    item = shelf.raster("tilted", np.ones((100, 100)), tilted, "EPSG:32633")
    ask = shelf.platform.raster
    box = BBox(14, 44, 15, 45)
    with pytest.raises(LimitExceeded, match="values; the limit is"):
        ask.extract(COLLECTION, item, box, width=10_000_000, height=10_000_000)
    cost = ask.estimate_extract(COLLECTION, item, box, width=10_000_000, height=10_000_000)
    assert (cost.values, cost.bytes, cost.fits) == (10**14, 80_000, False)
    # Far from its zone a projection takes a box to places without end.
    with pytest.raises((LimitExceeded, InvalidParameter)):
        ask.extract(COLLECTION, item, BBox(-60, -80, 80, 80), format="npy")
    assert ask.estimate_extract(COLLECTION, item, BBox(-60, -80, 80, 80), format="npy").bytes == 80_000
    tiny = shelf.raster("tiny", np.ones((10, 10)), Affine(1e-7, 0, 10, 0, -1e-7, 10))
    with pytest.raises(LimitExceeded, match="values; the limit is"):
        ask.extract(COLLECTION, tiny, BBox(-180, -90, 180, 90), format="npy")
    with pytest.raises(NotFound, match="No pixel of the answer falls on"):
        ask.extract(COLLECTION, tiny, BBox(-180, -90, 180, 90), width=100)
