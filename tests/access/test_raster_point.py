"""The value of a raster at a place."""

import json
import threading
from collections.abc import Callable

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from geoetl.core.errors import InvalidParameter, MissingCRS, NotFound, UnreadableFile
from geoetl.core.spatial import Point
from tests.access.conftest import COLLECTION, Shelf

ONE_DEGREE = np.arange(180 * 360, dtype="int32").reshape(180, 360)


def number_of(lon: float, lat: float, west: float) -> int:
    """Return what ONE_DEGREE holds at a place when its first column begins at `west`."""
    return int(np.floor(90 - lat)) * 360 + int(np.floor((lon - west) % 360))


@pytest.mark.parametrize("west", [-180, 0, -20.5])
@pytest.mark.parametrize("lon", [-179.5, -0.25, 0.25, 12.75, 179.5, 180.0, 200.25])
def test_both_longitude_conventions_give_the_same_value(shelf: Shelf, west: float, lon: float) -> None:
    item = shelf.raster("globe", ONE_DEGREE, (west, -90, west + 360, 90))
    answer = shelf.platform.raster.point(COLLECTION, item, Point(lon, 40.5))
    assert answer.values == (number_of(lon, 40.5, west),)


def test_a_raster_that_lies_upside_down_gives_the_same_value(shelf: Shelf) -> None:
    ascending = Affine(1, 0, -180, 0, 1, -90)
    item = shelf.raster("south-up", ONE_DEGREE[::-1], ascending)
    answer = shelf.platform.raster.point(COLLECTION, item, Point(12.5, 40.5))
    assert answer.values == (number_of(12.5, 40.5, -180),)


def test_a_rotated_raster_is_read_by_its_transform(shelf: Shelf) -> None:
    turned = Affine.translation(10, 50) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)
    values = np.arange(200, dtype="int16").reshape(10, 20)
    item = shelf.raster("rotated", values, turned)
    lon, lat = turned @ (7.5, 4.5)
    answer = shelf.platform.raster.point(COLLECTION, item, Point(lon, lat))
    assert answer.values == (values[4, 7],)
    assert (answer.cell.lon, answer.cell.lat) == pytest.approx((lon, lat))


@pytest.mark.parametrize(
    ("crs", "lon", "lat"),
    [
        ("EPSG:32633", 15.2, 52.1),
        ("EPSG:3412", -45.0, -75.0),
        ("EPSG:3413", 170.0, 80.0),
        ("+proj=laea +lat_0=10 +lon_0=-81 +datum=WGS84", -80.0, 11.0),
        ("EPSG:3857", 179.99, 10.0),
    ],
)
def test_every_projection_agrees_with_rasterio(shelf: Shelf, crs: str, lon: float, lat: float) -> None:
    x, y = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(lon, lat)
    transform = Affine(1000, 0, x - 10_300, 0, -1000, y + 10_700)
    values = np.random.default_rng(1).integers(0, 9999, (21, 21)).astype("uint16")
    item = shelf.raster("projected", values, transform, crs)
    with rasterio.open(shelf.folder / f"{item}.tif") as dataset:
        expected = float(next(iter(dataset.sample([(x, y)])))[0])
    assert shelf.platform.raster.point(COLLECTION, item, Point(lon, lat)).values == (expected,)


def test_a_raster_over_the_antimeridian_is_found_from_both_sides(shelf: Shelf) -> None:
    values = np.arange(40, dtype="uint8").reshape(4, 10)
    item = shelf.raster("utm60", values, Affine(20_000, 0, 600_000, 0, -20_000, 5_700_000), "EPSG:32660")
    to_degrees = pyproj.Transformer.from_crs(32660, "OGC:CRS84", always_xy=True)
    found = []
    for column in range(10):
        lon, lat = to_degrees.transform(610_000 + column * 20_000, 5_690_000)
        found.append((lon, shelf.platform.raster.point(COLLECTION, item, Point(lon, lat)).values[0]))
    assert [value for _, value in found] == list(range(10))
    assert found[0][0] > 0 > found[-1][0]


def test_scale_and_offset_of_each_band_are_applied(shelf: Shelf) -> None:
    stored = np.array([[[10]], [[20]]], dtype="int16")
    item = shelf.raster("scaled", stored, (0, 0, 1, 1), scales=(0.01, 0.5), offsets=(273.15, -1.0))
    assert shelf.platform.raster.point(COLLECTION, item, Point(0.5, 0.5)).values == pytest.approx((273.25, 9.0))


def nodata_of_a_band(shelf: Shelf) -> str:
    return shelf.raster("nodata", np.full((1, 1, 1), -9999, "int16"), (0, 0, 1, 1), nodata=-9999)


def nodata_nan(shelf: Shelf) -> str:
    return shelf.raster("nodata-nan", np.full((1, 1, 1), np.nan, "float32"), (0, 0, 1, 1), nodata=np.nan)


def nan_beside_another_nodata(shelf: Shelf) -> str:
    return shelf.raster("nan-and-zero", np.full((1, 1, 1), np.nan, "float32"), (0, 0, 1, 1), nodata=0)


def masked_out(shelf: Shelf) -> str:
    return shelf.raster("mask", np.ones((1, 1, 1), "uint8"), (0, 0, 1, 1), mask=np.zeros((1, 1), "uint8"))


def infinite(shelf: Shelf) -> str:
    return shelf.raster("infinite", np.full((1, 1, 1), np.inf, "float64"), (0, 0, 1, 1))


@pytest.mark.parametrize(
    "make",
    [nodata_of_a_band, nodata_nan, nan_beside_another_nodata, masked_out, infinite],
    ids=lambda make: make.__name__,
)
def test_no_data_is_none_and_strict_json(shelf: Shelf, make: Callable[[Shelf], str]) -> None:
    answer = shelf.platform.raster.point(COLLECTION, make(shelf), Point(0.5, 0.5))
    assert answer.values == (None,)
    assert json.loads(answer.to_json(), parse_constant=pytest.fail)["values"] == [None]


def test_an_alpha_band_is_a_mask_and_no_value(shelf: Shelf) -> None:
    pixels = np.array([[[1, 1]], [[2, 2]], [[3, 3]], [[255, 0]]], dtype="uint8")
    item = shelf.raster("alpha", pixels, (0, 0, 2, 1), photometric="RGB", alpha="YES")
    read = shelf.platform.raster.point
    assert read(COLLECTION, item, Point(0.5, 0.5)).values == (1, 2, 3)
    assert read(COLLECTION, item, Point(1.5, 0.5)).values == (None, None, None)


def test_the_outermost_edges_belong_to_the_raster(shelf: Shelf) -> None:
    values = np.array([[1, 2], [3, 4]], dtype="uint8")
    item = shelf.raster("corners", values, (0, 0, 2, 2))
    read = shelf.platform.raster.point
    corners = [Point(0, 2), Point(2, 2), Point(0, 0), Point(2, 0)]
    assert [read(COLLECTION, item, corner).values[0] for corner in corners] == [1, 2, 3, 4]


def test_a_point_outside_is_told_the_extent(shelf: Shelf) -> None:
    item = shelf.raster("italy", np.ones((4, 4), "uint8"), (6, 36, 19, 47))
    with pytest.raises(NotFound) as error:
        shelf.platform.raster.point(COLLECTION, item, Point(-80, 40))
    assert "longitude 6 to 19, latitude 36 to 47" in error.value.detail
    assert error.value.field == "location"


def test_swapped_coordinates_are_noticed(shelf: Shelf) -> None:
    item = shelf.raster("italy", np.ones((4, 4), "uint8"), (6, 36, 19, 47))
    with pytest.raises(NotFound) as error:
        shelf.platform.raster.point(COLLECTION, item, Point(41.9, 12.5))
    assert error.value.hint == "Is the order lon,lat? 12.5,41.9 would lie inside."


def test_a_raster_without_crs_is_not_guessed(shelf: Shelf) -> None:
    item = shelf.raster("nowhere", np.ones((2, 2), "uint8"), (0, 0, 1, 1), crs=None)
    with pytest.raises(MissingCRS):
        shelf.platform.raster.point(COLLECTION, item, Point(0.5, 0.5))


def test_complex_numbers_are_refused_with_a_reason(shelf: Shelf) -> None:
    item = shelf.raster("slc", np.ones((2, 2), "complex64"), (0, 0, 1, 1))
    with pytest.raises(InvalidParameter, match="complex numbers"):
        shelf.platform.raster.point(COLLECTION, item, Point(0.5, 0.5))


def test_a_file_that_was_cut_off_is_told_in_a_sentence(shelf: Shelf) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (600, 600)).astype("uint8")
    item = shelf.raster("cut-off", noise, (0, 0, 1, 1), compress="deflate")
    path = shelf.folder / f"{item}.tif"
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(UnreadableFile, match="damaged|cannot be opened"):
        shelf.platform.raster.point(COLLECTION, item, Point(0.9, 0.05))


def test_names_and_units_come_from_the_item(shelf: Shelf) -> None:
    described = [{"name": "red"}, {"name": "temperature", "unit": "K"}]
    item = shelf.raster("named", np.ones((2, 2, 2), "uint8"), (0, 0, 1, 1), asset={"bands": described})
    answer = shelf.platform.raster.point(COLLECTION, item, Point(0.5, 0.5))
    assert [(band.index, band.name, band.units) for band in answer.bands] == [(1, "red", None), (2, "temperature", "K")]
    assert list(answer.to_dataframe().columns) == ["band", "value", "units", "lon", "lat"]
    assert "temperature" in answer._repr_html_()
    assert answer.method == "nearest pixel"
    assert answer.source.catalog_version == shelf.platform.catalog.version()


def test_many_threads_get_the_same_values_as_one(shelf: Shelf) -> None:
    values = np.arange(512 * 512, dtype="int32").reshape(512, 512)
    item = shelf.raster(
        "shared", values, (0, -90, 180, 90), tiled=True, blockxsize=128, blockysize=128, compress="zstd"
    )
    places = np.random.default_rng(3).integers(0, 512, (8, 40, 2))
    wrong: list[tuple[int, int]] = []

    def ask(some: NDArray[np.int64]) -> None:
        for column, row in some.tolist():
            place = Point((column + 0.5) * 180 / 512, 90 - (row + 0.5) * 180 / 512)
            if shelf.platform.raster.point(COLLECTION, item, place).values != (values[row, column],):
                wrong.append((column, row))

    threads = [threading.Thread(target=ask, args=(some,)) for some in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
