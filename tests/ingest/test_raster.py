"""Raster ingest against rasterio and rio-cogeo as oracles."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin
from rio_cogeo.cogeo import cog_validate

from geoetl.core.errors import InvalidParameter, MissingCRS, OutsideAllowedRoots, UnreadableFile
from geoetl.ingest import RasterIngest, RasterRequest


def write(path: Path, data: np.ndarray[Any, Any], **profile: object) -> Path:
    options = {
        "driver": "GTiff", "count": data.shape[0], "height": data.shape[1], "width": data.shape[2],
        "dtype": data.dtype, "crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 30, 30), **profile,
    }  # fmt: skip
    with rasterio.open(path, "w", **options) as dataset:
        dataset.write(data)
    return path


def ingest(raster: RasterIngest, source: Path | str, **more: str) -> tuple[dict[str, Any], Path]:
    request = RasterRequest(source=str(source), collection="c", **more)
    checked = raster.validate(request)
    cog = raster.to_cog(request, checked)
    return raster.item(request, checked, cog, None), raster.zone.local_path(cog.data.key)


def elevation(shape: tuple[int, int] = (1200, 900)) -> np.ndarray[Any, Any]:
    rows, columns = np.indices(shape)
    values = (rows * 0.5 + columns * 0.25).astype("float32")
    values[:20, :20] = -9999
    return values[np.newaxis]


@pytest.mark.parametrize("compression", ["deflate", "zstd", "lzw"])
def test_the_cog_is_strictly_valid_and_equal_to_its_source(
    raster: RasterIngest, tmp_path: Path, compression: str
) -> None:
    source = write(tmp_path / "dem.tif", elevation(), nodata=-9999)
    _, cog = ingest(raster, source, compression=compression)
    valid, errors, warnings = cog_validate(str(cog), strict=True, quiet=True)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(source) as before, rasterio.open(cog) as after:
        np.testing.assert_array_equal(before.read(), after.read())
        assert (before.crs, before.transform, before.nodata) == (after.crs, after.transform, after.nodata)
        assert after.profile["compress"] == compression
        assert after.overviews(1)


def test_the_item_says_where_the_raster_lies(raster: RasterIngest, tmp_path: Path) -> None:
    source = write(tmp_path / "dem.tif", elevation(), nodata=-9999)
    item, _ = ingest(raster, source)
    properties = item["properties"]
    assert properties["proj:code"] == "EPSG:32633"
    assert properties["proj:shape"] == [1200, 900]
    footprint = shapely.geometry.shape(item["geometry"])
    assert footprint.is_valid
    assert footprint.bounds == pytest.approx(tuple(item["bbox"]), abs=1e-4)
    assert footprint.exterior.is_ccw
    (band,) = item["assets"]["data"]["bands"]
    assert band["statistics"]["minimum"] >= 0
    assert properties["renders"]["default"]["colormap_name"] == "viridis"


def test_overviews_of_classes_hold_no_invented_class(raster: RasterIngest, tmp_path: Path) -> None:
    classes = np.random.default_rng(1).choice([1, 200], size=(1, 1100, 1100)).astype("uint8")
    source = write(tmp_path / "classes.tif", classes)
    with rasterio.open(source, "r+") as dataset:
        dataset.write_colormap(1, {1: (255, 0, 0, 255), 200: (0, 0, 255, 255)})
    item, cog = ingest(raster, source)
    with rasterio.open(cog, overview_level=0) as overview:
        assert set(np.unique(overview.read(1))) <= {1, 200}
        assert overview.colormap(1)[200] == (0, 0, 255, 255)
    assert "colormap_name" not in item["properties"]["renders"]["default"]


def test_bands_of_colour_keep_their_names_and_range(raster: RasterIngest) -> None:
    item, _ = ingest(raster, "samples:landsat_rgb.tif")
    assert [band["name"] for band in item["assets"]["data"]["bands"]] == ["red", "green", "blue"]
    assert item["properties"]["renders"]["default"]["rescale"] == [[0.0, 255.0]] * 3


def test_alpha_is_no_data_band(raster: RasterIngest, tmp_path: Path) -> None:
    source = write(tmp_path / "rgba.tif", np.full((4, 8, 8), 200, "uint8"))
    with rasterio.open(source, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    request = RasterRequest(source=str(source), collection="c")
    assert raster.validate(request).kind == "rgba"


def test_a_raster_across_the_antimeridian_gets_a_box_with_west_beyond_east(
    raster: RasterIngest, tmp_path: Path
) -> None:
    source = write(
        tmp_path / "fiji.tif", elevation((40, 40)), crs="EPSG:32660", transform=from_origin(750_000, 1e6, 5000, 5000)
    )
    item, _ = ingest(raster, source)
    assert item["bbox"][0] > item["bbox"][2]
    assert item["geometry"]["type"] == "MultiPolygon"


def test_a_raster_without_crs_is_refused_until_one_is_given(raster: RasterIngest, tmp_path: Path) -> None:
    source = write(tmp_path / "bare.tif", elevation((30, 40)), crs=None, nodata=-9999)
    with pytest.raises(MissingCRS) as caught:
        ingest(raster, source)
    assert caught.value.field == "crs"
    item, cog = ingest(raster, source, crs="EPSG:25832")
    assert item["properties"]["proj:code"] == "EPSG:25832"
    with rasterio.open(source) as before, rasterio.open(cog) as after:
        np.testing.assert_array_equal(before.read(), after.read())
        assert (after.crs.to_epsg(), after.transform) == (25832, before.transform)


def test_a_crs_that_contradicts_the_file_is_refused(raster: RasterIngest, tmp_path: Path) -> None:
    source = write(tmp_path / "dem.tif", elevation((30, 40)))
    with pytest.raises(InvalidParameter, match="is in EPSG:32633, not in EPSG:4326"):
        ingest(raster, source, crs="EPSG:4326")
    with pytest.raises(InvalidParameter, match="is not a coordinate reference system"):
        ingest(raster, source, crs="EPSG:99999999")


def test_undeclared_nodata_is_a_finding(raster: RasterIngest, tmp_path: Path) -> None:
    source = write(tmp_path / "dem.tif", elevation((30, 40)))
    codes = [f.code for f in raster.validate(RasterRequest(source=str(source), collection="c")).findings]
    assert codes == ["no_nodata", "no_acquisition_time"]


def test_nan_nodata_is_strict_json(raster: RasterIngest, tmp_path: Path) -> None:
    data = elevation((30, 40))
    data[data == -9999] = np.nan
    item, _ = ingest(raster, write(tmp_path / "nan.tif", data, nodata=np.nan))
    assert item["assets"]["data"]["bands"][0]["nodata"] == "nan"


def test_the_acquisition_time_comes_from_the_file(raster: RasterIngest, tmp_path: Path) -> None:
    source = write(tmp_path / "dem.tif", elevation((30, 40)))
    with rasterio.open(source, "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME="2021:06:01 10:30:00")
    item, _ = ingest(raster, source)
    assert item["properties"]["datetime"] == "2021-06-01T10:30:00Z"


def test_a_truncated_raster_is_told_and_leaves_nothing(raster: RasterIngest, tmp_path: Path) -> None:
    whole = write(tmp_path / "dem.tif", elevation(), nodata=-9999).read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableFile, match="cannot be read, although its header can"):
        ingest(raster, tmp_path / "cut.tif")
    assert not (tmp_path / "zone").exists()


def test_a_source_that_changes_between_stages_is_noticed(raster: RasterIngest, tmp_path: Path) -> None:
    source = write(tmp_path / "dem.tif", elevation((30, 40)))
    request = RasterRequest(source=str(source), collection="c")
    checked = raster.validate(request)
    write(source, elevation((30, 40)) + 1)
    with pytest.raises(UnreadableFile, match="changed after it was validated"):
        raster.to_cog(request, checked)


@pytest.mark.parametrize("field", ["collection", "item"])
def test_an_id_that_is_no_path_segment_is_refused(field: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        RasterRequest(**{"source": "x.tif", "collection": "c", field: "../x"})
    assert caught.value.field == field


def test_an_unknown_codec_is_told_with_those_that_exist() -> None:
    with pytest.raises(InvalidParameter, match="'deflate', 'zstd' or 'lzw'"):
        RasterRequest(source="x.tif", collection="c", compression="jpeg")  # type: ignore[arg-type]


def test_scale_offset_and_unit_are_kept_and_told(raster: RasterIngest, tmp_path: Path) -> None:
    source = write(tmp_path / "packed.tif", np.arange(100, 1300, dtype="int16").reshape(1, 30, 40), nodata=-1)
    with rasterio.open(source, "r+") as dataset:
        dataset.scales, dataset.offsets, dataset.units = (0.1,), (273.15,), ("K",)
    item, cog = ingest(raster, source)
    (band,) = item["assets"]["data"]["bands"]
    assert (band["raster:scale"], band["raster:offset"], band["unit"]) == (0.1, 273.15, "K")
    assert band["raster:spatial_resolution"] == pytest.approx(30, rel=1e-3)
    low, high = item["properties"]["renders"]["default"]["rescale"][0]
    assert 283 < low < high < 403
    with rasterio.open(cog) as after:
        assert (after.scales, after.offsets, after.units) == ((0.1,), (273.15,), ("K",))


def test_a_raster_whose_columns_run_west_is_where_it_is(raster: RasterIngest, tmp_path: Path) -> None:
    flipped = Affine(-0.1, 0, 20, 0, 0.1, 44)
    source = write(tmp_path / "flipped.tif", elevation((60, 80)), crs="EPSG:4326", transform=flipped, nodata=-9999)
    item, _ = ingest(raster, source)
    assert item["bbox"] == pytest.approx([12, 44, 20, 50])
    assert item["geometry"]["type"] == "Polygon"


def test_a_raster_that_is_nowhere_is_refused(raster: RasterIngest, tmp_path: Path) -> None:
    source = write(tmp_path / "nowhere.tif", elevation((30, 40)), transform=Affine.identity())
    with pytest.raises(InvalidParameter, match="no geotransform") as caught:
        ingest(raster, source)
    assert "gdalwarp" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("west", "north", "bbox"),
    [(356, 50, [-4, 42, 4, 50]), (0, 90.5, [0, 82.5, 8, 90])],
    ids=["across Greenwich in 0 to 360", "half a cell beyond the pole"],
)
def test_grids_of_climate_models_are_placed(
    raster: RasterIngest, tmp_path: Path, west: float, north: float, bbox: list[float]
) -> None:
    source = write(
        tmp_path / "x.tif", elevation((8, 8)), crs="EPSG:4326", transform=from_origin(west, north, 1, 1), nodata=-9999
    )
    item, _ = ingest(raster, source)
    assert item["bbox"] == pytest.approx(bbox)


@pytest.mark.parametrize("stamp", ["0000:00:00 00:00:00", "2020:02:30 10:00:00", "2020:01:01 13:45"])
def test_a_time_that_never_was_is_passed_over(raster: RasterIngest, tmp_path: Path, stamp: str) -> None:
    source = write(tmp_path / "dem.tif", elevation((30, 40)), nodata=-9999)
    with rasterio.open(source, "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME=stamp)
    checked = raster.validate(RasterRequest(source=str(source), collection="c"))
    assert checked.acquired is None
    assert [finding.code for finding in checked.findings] == ["no_acquisition_time"]


@pytest.mark.parametrize(("dtype", "options"), [("uint8", {"nbits": 1}), ("float16", {}), ("complex64", {})])
def test_types_without_a_predictor_are_converted_all_the_same(
    raster: RasterIngest, tmp_path: Path, dtype: str, options: dict[str, int]
) -> None:
    data = (np.arange(1200).reshape(1, 30, 40) % 2).astype(dtype)
    source = write(tmp_path / "x.tif", data, **options)
    _, cog = ingest(raster, source)
    with rasterio.open(source) as before, rasterio.open(cog) as after:
        np.testing.assert_array_equal(before.read(), after.read())


def test_bands_keep_what_they_are_called(raster: RasterIngest, tmp_path: Path) -> None:
    source = write(tmp_path / "floods.tif", np.ones((2, 600, 600), "int16"))
    with rasterio.open(source, "r+") as dataset:
        dataset.descriptions = ("1in5", "1in10")
    item, cog = ingest(raster, source)
    assert [band["description"] for band in item["assets"]["data"]["bands"]] == ["1in5", "1in10"]
    with rasterio.open(cog) as after:
        assert after.descriptions == ("1in5", "1in10")


def test_overviews_are_made_from_the_pixels_not_taken_from_elsewhere(raster: RasterIngest, tmp_path: Path) -> None:
    hidden = tmp_path.parent / f"{tmp_path.name}-hidden.tif"
    write(hidden, np.full((1, 600, 600), 77, "uint8"))
    source = write(tmp_path / "x.tif", np.zeros((1, 1200, 1200), "uint8"))
    with rasterio.open(source, "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(hidden))
    try:
        item, cog = ingest(raster, source)
    except OutsideAllowedRoots:
        return  # refused is right too: GDAL names the other file among the ones that it uses
    assert item["assets"]["data"]["bands"][0]["statistics"]["maximum"] == 0
    with rasterio.open(cog, overview_level=0) as overview:
        assert overview.read().max() == 0
