"""Answers about real files, where they lie beside the checkout, equal those of rasterio and xarray."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.warp import transform as to_crs

from geoetl.core.spatial import Point
from geoetl.platform import Platform
from tests.access.conftest import COG, COLLECTION, TRANSPARENT, Shelf, colours, indices

DATA = Path(__file__).parents[3] / "shared" / "data"
RASTERS = [
    "RGB2.byte",
    "alpha",
    "cog",
    "cog_dateline",
    "cog_nodata_nan",
    "cog_scale",
    "float_raster_with_nodata",
    "image_colormap",
    "image_nodata",
    "image_rgb_mask",
    "nt_20201024_f18_nrt_s",
    "rmnp-dem",
    "world.rgb",
]

Put = Callable[..., str]

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="The folder of real files is not beside the checkout.")


@pytest.fixture
def platform(home: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """Give a platform that may read the real files too."""
    import geoetl

    return geoetl.connect(home, allowed_roots=(DATA,))


@pytest.fixture
def put(shelf: Shelf) -> Put:
    """Give a function that registers a real file as it lies there."""

    def register(path: Path, media_type: str = COG, **properties: Any) -> str:
        asset = {"href": str(path), "type": media_type, "roles": ["data"]}
        return shelf.register(path.stem.replace(".", "-"), {"data": asset}, properties)

    return register


@pytest.mark.parametrize("name", RASTERS)
def test_points_equal_those_of_rasterio(shelf: Shelf, put: Put, name: str) -> None:
    path = DATA / "raster" / f"{name}.tif"
    item = put(path)
    with rasterio.open(path) as dataset:
        data = [i for i in range(1, dataset.count + 1) if dataset.colorinterp[i - 1].name != "alpha"]
        rng = np.random.default_rng(0)
        for column, row in zip(rng.integers(0, dataset.width, 12), rng.integers(0, dataset.height, 12), strict=True):
            x, y = dataset.xy(row, column)
            (lon,), (lat,) = to_crs(dataset.crs, "EPSG:4326", [x], [y])
            window = ((row, row + 1), (column, column + 1))
            pixel = dataset.read(data, window=window, masked=True)[:, 0, 0]
            expected = [
                None
                if np.ma.is_masked(value) or not np.isfinite(value)
                else float(value) * dataset.scales[band - 1] + dataset.offsets[band - 1]
                for band, value in zip(data, pixel, strict=True)
            ]
            assert list(shelf.platform.raster.point(COLLECTION, item, Point(lon, lat)).values) == expected


def test_a_cog_looks_like_the_plain_file_of_the_same_pixels(shelf: Shelf, put: Put) -> None:
    pictures = [
        shelf.platform.raster.preview(COLLECTION, put(DATA / "raster" / f"{name}.tif"), max_size=256, rescale=[0, 7000])
        for name in ("cog", "nocog")
    ]
    cog, plain = (indices(picture).astype(int) for picture in pictures)
    assert pictures[0].bbox == pictures[1].bbox
    assert (np.abs(cog - plain) > 20).mean() < 0.1  # overviews picked other pixels where classes meet


def test_the_scene_over_the_antimeridian_is_one_narrow_picture(shelf: Shelf, put: Put) -> None:
    picture = shelf.platform.raster.preview(COLLECTION, put(DATA / "raster" / "cog_dateline.tif"))
    assert picture.bbox.as_list() == pytest.approx([178.0, 50.58, -178.51, 52.77], abs=0.02)
    assert abs(picture.width - picture.height) < 20


def test_a_map_of_classes_shows_only_colours_of_its_table(shelf: Shelf, put: Put) -> None:
    path = DATA / "raster" / "image_colormap.tif"
    drawn = colours(shelf.platform.raster.preview(COLLECTION, put(path)))
    with rasterio.open(path) as dataset:
        table = {tuple(colour[:3]) for colour in dataset.colormap(1).values()}
    seen = {tuple(colour) for colour in drawn[drawn[..., 3] > 0][:, :3].tolist()}
    assert seen <= table
    assert len(seen) > 5


def test_an_external_mask_is_as_good_as_nodata(shelf: Shelf, put: Put) -> None:
    masked, nodata = (
        colours(shelf.platform.raster.preview(COLLECTION, put(DATA / "raster" / f"{name}.tif"), rescale=[0, 255]))
        for name in ("RGB2.byte", "RGB.byte")
    )
    assert (masked[..., 3] == nodata[..., 3]).mean() > 0.999
    assert 0.2 < (masked[..., 3] == 0).mean() < 0.5


def test_sea_ice_around_the_pole_is_drawn_round_the_world(shelf: Shelf, put: Put) -> None:
    item = put(DATA / "raster" / "nt_20201024_f18_nrt_s.tif")
    picture = shelf.platform.raster.preview(COLLECTION, item, crs="EPSG:4326", max_size=720)
    assert (picture.bbox.west, picture.bbox.south, picture.bbox.east) == (-180, -90, 180)
    assert (indices(picture) != TRANSPARENT).any(axis=0).all()


def test_a_full_curvilinear_ocean_grid_equals_a_search_by_hand(shelf: Shelf, put: Put) -> None:
    path = DATA / "netcdf_other" / "sic_SImon_CCCma-CanESM5_ssp245_r13i1p2f1_2020.nc"
    item = put(path, "application/netcdf", **{"cmip6:variable_id": "siconc"})
    with xr.open_dataset(path, engine="h5netcdf") as source:
        lon, lat = np.radians(source["longitude"].values), np.radians(source["latitude"].values)
        for x, y in [(0.0, 85.0), (-170.0, 75.0), (179.9, -70.0), (-45.0, -72.5)]:
            a, b = np.radians(x), np.radians(y)
            cosine = np.sin(lat) * np.sin(b) + np.cos(lat) * np.cos(b) * np.cos(lon - a)
            j, i = np.unravel_index(np.argmax(cosine), lat.shape)
            expected = [None if np.isnan(v) else float(v) for v in source["siconc"].isel(j=j, i=i).values]
            series = shelf.platform.cube.series(COLLECTION, item, Point(x, y))
            assert list(series.values) == expected
            assert series.calendar == "noleap"
    picture = shelf.platform.cube.preview(COLLECTION, item, crs="EPSG:4326")
    assert picture.method == "nearest cell by great circle"
    assert picture.bbox.width_deg == 360


@pytest.mark.parametrize(
    "name",
    ["netcdf_other/tas_Amon_CanESM2_rcp85_r1i1p1_200701-200712.nc", "netcdf_other/air_temperature_small.nc"],
)
def test_series_of_real_cubes_equal_those_of_xarray(shelf: Shelf, put: Put, name: str) -> None:
    path = DATA / name
    item = put(path, "application/netcdf")
    described = shelf.platform.cube.describe(COLLECTION, item)
    with xr.open_dataset(path, engine="h5netcdf") as source:
        expected = source[described.default_variable].sel(lon=262.3, lat=41.9, method="nearest")
        for lon in (262.3, 262.3 - 360):
            series = shelf.platform.cube.series(COLLECTION, item, Point(lon, 41.9))
            assert series.values == tuple(float(value) for value in expected.values)
        assert len(described.times) == source.sizes["time"]


def test_a_real_360_day_cube_lists_its_own_dates(shelf: Shelf, put: Put) -> None:
    (path,) = (DATA / "cmip6").rglob("ta_Amon_KACE-1-0-G_historical_*.nc")
    item = put(path, "application/netcdf")
    described = shelf.platform.cube.describe(COLLECTION, item)
    assert described.calendar == "360_day"
    assert (described.times[0], len(described.times)) == ("1850-01-16T00:00:00", 1980)
    assert [(d.name, d.values, d.units) for d in described.dimensions] == [("plev", (100_000.0, 92_500.0), "Pa")]
