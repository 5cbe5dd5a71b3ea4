"""Pictures of rasters: the right way up, in the right place, transparent where there is no data."""

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.transform import from_bounds
from rasterio.warp import Resampling, reproject

from geoetl.access import ValueRange
from geoetl.core.errors import InvalidParameter, LimitExceeded, MissingCRS, NotFound
from tests.access.conftest import (
    AS_INDEX,
    COLLECTION,
    TRANSPARENT,
    Shelf,
    colours,
    indices,
    latitudes,
    longitudes,
)


def coded_by_longitude(west: float, east: float, rows: int = 90) -> NDArray[np.uint8]:
    """Return a raster whose pixels hold half of their longitude from 0 to 360."""
    columns = round((east - west) * 2)
    lon = west + (np.arange(columns) + 0.5) * (east - west) / columns
    return np.tile(np.floor(lon % 360 / 2).astype("uint8"), (rows, 1))


def coded_by_latitude(north_up: bool = True) -> NDArray[np.uint8]:
    """Return a raster of the globe whose pixels hold their latitude + 90, so that north is high."""
    lat = 89.5 - np.arange(180) if north_up else -89.5 + np.arange(180)
    return np.tile(np.floor(lat + 90).astype("uint8")[:, np.newaxis], (1, 360))


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326"])
@pytest.mark.parametrize(
    ("west", "east"), [(-180, 180), (0, 360), (-0.5, 359.5), (10, 40), (150, 250), (200, 330), (170, 180), (-190, -170)]
)
def test_each_column_lies_at_its_longitude(shelf: Shelf, west: float, east: float, crs: str) -> None:
    item = shelf.raster("by-longitude", coded_by_longitude(west, east), (west, -45, east, 45))
    picture = shelf.platform.raster.preview(COLLECTION, item, max_size=700, rescale=AS_INDEX, colormap="gray", crs=crs)
    row = indices(picture)[picture.height // 2].astype(int)
    at = longitudes(picture)
    assert (row != TRANSPARENT).all()
    # A pixel of the raster is half a degree wide, a value stands for two degrees.
    away = np.abs((row * 2 + 1 - at % 360 + 180) % 360 - 180)
    assert away.max() <= 1.3
    assert picture.bbox.width_deg == pytest.approx(min(east - west, 360))
    assert picture.bbox.crosses_antimeridian == (west < 180 < east < 360 - 1 or west == -190)


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326"])
@pytest.mark.parametrize("north_up", [True, False])
def test_north_is_up_and_each_row_lies_at_its_latitude(shelf: Shelf, north_up: bool, crs: str) -> None:
    transform = Affine(1, 0, -180, 0, -1, 90) if north_up else Affine(1, 0, -180, 0, 1, -90)
    item = shelf.raster("by-latitude", coded_by_latitude(north_up), transform)
    picture = shelf.platform.raster.preview(COLLECTION, item, rescale=AS_INDEX, colormap="gray", crs=crs)
    column = indices(picture)[:, picture.width // 2]
    assert np.abs(column + 0.5 - 90 - latitudes(picture)).max() <= 1.0
    assert picture.bbox.as_list() == pytest.approx(
        [-180, -85.0511, 180, 85.0511] if crs == "EPSG:3857" else [-180, -90, 180, 90], abs=1e-4
    )


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32633", Affine(900, 0, 400_000, 0, -900, 5_800_000)),
        ("EPSG:3031", Affine(30_000, 0, -1_000_000, 0, -30_000, -500_000)),
        ("+proj=laea +lat_0=10 +lon_0=-81 +datum=WGS84", Affine(30_000, 0, -500_000, 0, -30_000, 500_000)),
        ("EPSG:32633", Affine.translation(5e5, 5.7e6) @ Affine.rotation(25) @ Affine.scale(800, -900)),
    ],
    ids=["utm", "polar", "no-epsg", "rotated"],
)
def test_pixels_equal_those_that_rasterio_warps(shelf: Shelf, crs: str, transform: Affine) -> None:
    values = np.random.default_rng(7).integers(0, 250, (40, 50)).astype("uint8")
    item = shelf.raster("warped", values, transform, crs, nodata=7)
    picture = shelf.platform.raster.preview(COLLECTION, item, max_size=300, rescale=AS_INDEX, colormap="gray")
    expected = np.full((picture.height, picture.width), TRANSPARENT, "uint8")
    left, bottom, right, top = picture.bounds
    reproject(
        values,
        expected,
        src_crs=crs,
        src_transform=transform,
        src_nodata=7,
        dst_crs="EPSG:3857",
        dst_transform=from_bounds(left, bottom, right, top, picture.width, picture.height),
        dst_nodata=TRANSPARENT,
        resampling=Resampling.nearest,
        tolerance=0,
    )
    # The approximate transformer decides a few pixels on a border otherwise.
    assert (indices(picture) == expected).mean() > 0.985
    assert ((indices(picture) == TRANSPARENT) == (expected == TRANSPARENT)).mean() > 0.99
    # Nothing of the raster is cut off: it touches every side.
    seen = expected != TRANSPARENT
    assert seen[:2].any() and seen[-2:].any() and seen[:, :2].any() and seen[:, -2:].any()


def test_a_utm_raster_over_the_antimeridian_is_one_narrow_picture(shelf: Shelf) -> None:
    values = np.full((40, 40), 9, "uint8")
    item = shelf.raster("utm60", values, Affine(5_000, 0, 600_000, 0, -5_000, 5_800_000), "EPSG:32660")
    picture = shelf.platform.raster.preview(COLLECTION, item, max_size=256, rescale=AS_INDEX)
    assert picture.bbox.crosses_antimeridian
    assert 178 < picture.bbox.west < 180 and -180 < picture.bbox.east < -178
    assert picture.bounds[0] < 20037508.34 < picture.bounds[2]
    assert (indices(picture) != TRANSPARENT).mean() > 0.9


def test_a_polar_raster_with_its_pole_goes_round_the_world(shelf: Shelf) -> None:
    across = np.full((60, 60), 3, "uint8")
    item = shelf.raster("arctic", across, Affine(100_000, 0, -3_000_000, 0, -100_000, 3_000_000), "EPSG:3413")
    picture = shelf.platform.raster.preview(COLLECTION, item, rescale=AS_INDEX, crs="EPSG:4326")
    assert (picture.bbox.west, picture.bbox.east, picture.bbox.north) == (-180, 180, 90)
    assert (indices(picture)[0] == 3).all()


def test_any_projection_can_be_asked_for(shelf: Shelf) -> None:
    item = shelf.raster("arctic", np.full((30, 360), 5, "uint8"), (-180, 60, 180, 90))
    picture = shelf.platform.raster.preview(COLLECTION, item, rescale=AS_INDEX, crs="epsg:3413", max_size=200)
    assert (picture.crs, picture.width, picture.height) == ("EPSG:3413", 200, 200)
    assert picture.bbox.as_list() == [-180, 60, 180, 90]
    seen = indices(picture)
    assert seen[100, 100] == 5
    assert seen[0, 0] == TRANSPARENT


def test_nodata_of_each_band_and_masks_are_transparent(shelf: Shelf) -> None:
    bands = np.full((3, 4, 4), 100, "uint8")
    bands[:, 0, 0] = 0  # no data in any band
    bands[0, 1, 1] = 0  # no data in one band
    item = shelf.raster("holes", bands, (0, 0, 4, 4), nodata=0, photometric="RGB")
    drawn = colours(shelf.platform.raster.preview(COLLECTION, item, max_size=4, rescale=[0, 255], crs="EPSG:4326"))
    assert drawn[0, 0, 3] == 0
    assert drawn[1, 1].tolist() == [0, 100, 100, 255]
    assert (drawn[..., 3] == 255).sum() == 15

    mask = np.full((4, 4), 255, "uint8")
    mask[2, 3] = 0
    item = shelf.raster("masked", np.full((4, 4), 50, "uint8"), (0, 0, 4, 4), mask=mask)
    picture = shelf.platform.raster.preview(COLLECTION, item, max_size=4, rescale=AS_INDEX, crs="EPSG:4326")
    assert np.argwhere(indices(picture) == TRANSPARENT).tolist() == [[2, 3]]


def test_nan_is_transparent_in_png_and_webp_and_white_in_jpeg(shelf: Shelf) -> None:
    values = np.full((8, 8), 1.0, "float32")
    values[:, :4] = np.nan
    item = shelf.raster("half", values, (0, 0, 8, 8))
    make = shelf.platform.raster.preview
    for format in ("png", "webp"):
        alpha = colours(make(COLLECTION, item, max_size=64, format=format))[..., 3]
        assert (alpha[:, :31] == 0).all() and (alpha[:, 33:] == 255).all()
    jpeg = make(COLLECTION, item, max_size=64, format="jpg")
    assert jpeg.media_type == "image/jpeg"
    assert (colours(jpeg)[:, :24, :3] > 250).all()


def test_half_transparent_pixels_of_an_alpha_band_stay_so(shelf: Shelf) -> None:
    pixels = np.stack([np.full((4, 4), value, "uint8") for value in (10, 20, 30, 128)])
    pixels[3, 0, 0] = 0
    item = shelf.raster("alpha", pixels, (0, 0, 4, 4), photometric="RGB", alpha="YES")
    drawn = colours(shelf.platform.raster.preview(COLLECTION, item, max_size=4, rescale=[0, 255], crs="EPSG:4326"))
    assert drawn[1, 1].tolist() == [10, 20, 30, 128]
    assert drawn[0, 0, 3] == 0


def test_classes_keep_the_colours_of_their_table(shelf: Shelf) -> None:
    classes = np.array([[0, 1], [2, 3]], dtype="uint8")
    table = {0: (9, 9, 9, 255), 1: (255, 0, 0, 255), 2: (0, 255, 0, 255), 3: (0, 0, 255, 255)}
    described = [{"name": "cover", "classification:classes": [{"value": 1, "name": "forest"}]}]
    item = shelf.raster("classes", classes, (0, 0, 2, 2), colours=table, asset={"bands": described})
    picture = shelf.platform.raster.preview(COLLECTION, item, max_size=2, crs="EPSG:4326")
    assert colours(picture).reshape(4, 4).tolist() == [list(table[value]) for value in range(4)]
    assert picture.colormap is None and picture.rescale == ()
    assert picture.legend is not None
    assert [(stop.value, stop.color, stop.label) for stop in picture.legend.stops][1:3] == [
        (1, "#ff0000", "forest"),
        (2, "#00ff00", "2"),
    ]


def test_scale_and_offset_are_applied_before_the_range(shelf: Shelf) -> None:
    item = shelf.raster("scaled", np.full((4, 4), 10, "int16"), (0, 0, 4, 4), scales=(0.5,), offsets=(100.0,))
    picture = shelf.platform.raster.preview(COLLECTION, item, rescale=AS_INDEX, colormap="gray")
    assert (indices(picture) == 105).all()


def test_the_range_is_the_items_own_then_the_middle_of_the_values(shelf: Shelf) -> None:
    values = np.linspace(0, 1000, 10_000).reshape(100, 100).astype("float32")
    render = {"renders": {"default": {"assets": ["data"], "rescale": [[100, 900]], "colormap_name": "rdylbu_r"}}}
    own = shelf.raster("own", values, (0, 0, 1, 1), properties=render)
    none = shelf.raster("none", values, (0, 0, 1, 1))
    make = shelf.platform.raster.preview
    assert make(COLLECTION, own).rescale == (ValueRange(100, 900),)
    assert make(COLLECTION, own).colormap == "RdYlBu_r"
    assert make(COLLECTION, own, rescale="auto").rescale[0] == pytest.approx((20, 980), abs=5)
    assert make(COLLECTION, none).rescale[0] == pytest.approx((20, 980), abs=5)
    assert make(COLLECTION, none).colormap == "viridis"
    assert make(COLLECTION, none, rescale=[[1, 2]]).rescale == (ValueRange(1, 2),)


def test_a_range_of_three_bands_makes_a_composite_and_fits_each_band_alone(shelf: Shelf) -> None:
    bands = np.stack([np.full((4, 4), value, "uint16") for value in (100, 200, 300, 400)])
    render = {"renders": {"default": {"assets": ["data"], "rescale": [[0, 200], [0, 400], [0, 600]]}}}
    item = shelf.raster("multispectral", bands, (0, 0, 4, 4), properties=render)
    composite = shelf.platform.raster.preview(COLLECTION, item)
    assert (composite.variable, composite.legend) == ("b1, b2, b3", None)
    assert (colours(composite)[..., :3] == 128).all()
    assert shelf.platform.raster.preview(COLLECTION, item, bands=[2]).rescale == (ValueRange(0, 400),)
    assert shelf.platform.raster.preview(COLLECTION, item, bands=["b4"]).variable == "b4"


@pytest.mark.parametrize("value", [0, 5, -3, 255])
def test_a_constant_field_is_drawn_in_one_colour(shelf: Shelf, value: float) -> None:
    item = shelf.raster("constant", np.full((5, 5), value, "float32"), (0, 0, 5, 5))
    picture = shelf.platform.raster.preview(COLLECTION, item)
    assert picture.rescale[0].low < value < picture.rescale[0].high
    assert len(np.unique(indices(picture))) == 1


def test_a_raster_without_any_data_is_a_transparent_picture(shelf: Shelf) -> None:
    item = shelf.raster("empty", np.full((5, 5), np.nan, "float32"), (0, 0, 5, 5))
    picture = shelf.platform.raster.preview(COLLECTION, item)
    assert (indices(picture) == TRANSPARENT).all()
    assert picture.rescale == (ValueRange(0, 1),)


def test_a_large_raster_is_read_from_its_overviews_and_looks_the_same(shelf: Shelf) -> None:
    ramp = np.tile(np.linspace(0, 250, 2000, dtype="float32"), (1000, 1))
    item = shelf.raster("large", ramp, (0, -25, 100, 25), tiled=True, compress="deflate")
    plain = indices(shelf.platform.raster.preview(COLLECTION, item, max_size=128, rescale=AS_INDEX, colormap="gray"))
    with rasterio.open(shelf.folder / f"{item}.tif", "r+") as dataset:
        dataset.build_overviews([2, 4, 8], Resampling.average)
    shelf.platform.catalog.upsert_items([shelf.platform.catalog.item(COLLECTION, item)])
    smaller = indices(shelf.platform.raster.preview(COLLECTION, item, max_size=128, rescale=AS_INDEX, colormap="gray"))
    assert np.abs(plain.astype(int) - smaller).max() <= 3


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"bands": [5]}, "bands", "There is no band 5; there are 1 (b1)"),
        ({"bands": ["b2"]}, "bands", "There is no band 'b2'"),
        ({"bands": [1, 1]}, "bands", "There are 2 bands; a picture shows"),
        ({"colormap": "virids"}, "colormap", "no colour map 'virids'"),
        ({"rescale": [5, 1]}, "rescale", "from 5 to 1"),
        ({"rescale": [0, float("nan")]}, "rescale", "expected finite numbers"),
        ({"rescale": "all"}, "rescale", "rescale is 'all'"),
        ({"crs": "EPSG:99999"}, "crs", "'EPSG:99999' is not a coordinate reference system"),
        ({"crs": "/etc/passwd"}, "crs", "is not a coordinate reference system"),
        ({"format": "gif"}, "format", "no picture format 'gif'"),
        ({"max_size": 0}, "max_size", "expected a whole number of pixels"),
        ({"asset": "thumb"}, "asset", "has no asset 'thumb'"),
    ],
)
def test_a_wrong_parameter_is_named(shelf: Shelf, options: dict[str, object], field: str, said: str) -> None:
    item = shelf.raster("plain", np.ones((4, 4), "uint8"), (0, 0, 4, 4))
    with pytest.raises((InvalidParameter, NotFound)) as error:
        shelf.platform.raster.preview(COLLECTION, item, **options)  # type: ignore[arg-type]
    assert error.value.field == field
    assert said in error.value.detail


def test_more_pixels_than_the_limit_are_refused_before_anything_is_looked_up(shelf: Shelf) -> None:
    with pytest.raises(LimitExceeded) as error:
        shelf.platform.raster.preview(COLLECTION, "does-not-exist", max_size=100_000)
    assert "100000 x 100000 pixels" in error.value.detail
    assert "16,777,216" in error.value.detail
    assert error.value.hint == "Give max_size=4096 or less."


def test_a_raster_without_crs_has_no_place_on_the_map(shelf: Shelf) -> None:
    item = shelf.raster("nowhere", np.ones((2, 2), "uint8"), (0, 0, 1, 1), crs=None)
    with pytest.raises(MissingCRS):
        shelf.platform.raster.preview(COLLECTION, item)


def test_what_lies_beyond_web_mercator_says_so(shelf: Shelf) -> None:
    item = shelf.raster("pole", np.ones((2, 2), "uint8"), (0, 86, 10, 90))
    with pytest.raises(InvalidParameter, match=r"ends at 85\.05 degrees"):
        shelf.platform.raster.preview(COLLECTION, item)
    assert shelf.platform.raster.preview(COLLECTION, item, crs="EPSG:4326").bbox.as_list() == [0, 86, 10, 90]


def test_the_bounds_of_a_picture_are_its_bbox_in_web_mercator(shelf: Shelf) -> None:
    item = shelf.raster("box", np.ones((2, 2), "uint8"), (5, 40, 15, 50))
    picture = shelf.platform.raster.preview(COLLECTION, item)
    to_mercator = pyproj.Transformer.from_crs("OGC:CRS84", "EPSG:3857", always_xy=True)
    assert picture.bounds == pytest.approx((*to_mercator.transform(5, 40), *to_mercator.transform(15, 50)))
    assert picture.bbox.as_list() == pytest.approx([5, 40, 15, 50])
    assert "data:image/png;base64," in picture._repr_html_()
