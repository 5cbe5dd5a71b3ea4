"""Items opened as what people work with."""

import geopandas as gpd
import numpy as np
import pytest
import rioxarray
import shapely
import xarray as xr
from affine import Affine

from geoetl.access import OPENERS, AssetKind, kind_of
from geoetl.access.open import OPENABLE
from geoetl.core.errors import InvalidParameter, NotFound
from tests.access.conftest import COG, COLLECTION, Shelf
from tests.access.cubes import one_degree, regular_cube


def test_a_cog_opens_as_rioxarray_opens_it(shelf: Shelf) -> None:
    values = np.random.default_rng(0).integers(0, 999, (3, 60, 80)).astype("int16")
    item = shelf.raster("raster", values, (10, 40, 20, 48), nodata=-1, scales=(0.1,) * 3, offsets=(5.0,) * 3)
    ours = shelf.platform.open(COLLECTION, item)
    theirs = rioxarray.open_rasterio(shelf.folder / f"{item}.tif")
    assert isinstance(theirs, xr.DataArray)
    assert not ours._in_memory
    xr.testing.assert_equal(ours.drop_vars("spatial_ref"), theirs.drop_vars("spatial_ref"))
    assert (ours.rio.crs, ours.rio.transform(), ours.rio.nodata) == (
        theirs.rio.crs,
        theirs.rio.transform(),
        theirs.rio.nodata,
    )
    assert (ours.attrs["scale_factor"], ours.attrs["add_offset"]) == (0.1, 5.0)


@pytest.mark.parametrize(
    "key",
    [
        (0, 5, 7),
        (slice(None), slice(10, 20), slice(None, None, 3)),
        (slice(1, None), slice(None, None, -1), slice(5, 5)),
        ([2, 0], [5, 1, 9], slice(None)),
        (-1, slice(-10, None), [70, 3]),
    ],
)
def test_any_part_of_a_raster_is_read_as_numpy_would(shelf: Shelf, key: tuple[object, ...]) -> None:
    values = np.arange(3 * 60 * 80, dtype="int32").reshape(3, 60, 80)
    item = shelf.raster("raster", values, (10, 40, 20, 48))
    ours = shelf.platform.open(COLLECTION, item)
    expected = xr.DataArray(values, dims=("band", "y", "x"))[key]
    assert np.array_equal(ours[key].values, expected.values)


def test_a_raster_can_be_read_by_dask_and_sent_elsewhere(shelf: Shelf) -> None:
    import cloudpickle

    values = np.arange(2 * 300 * 400, dtype="int32").reshape(2, 300, 400)
    item = shelf.raster("raster", values, (10, 40, 20, 48), tiled=True, blockxsize=128, blockysize=128)
    ours = shelf.platform.open(COLLECTION, item)
    assert int(ours.chunk({"x": 100, "y": 100}).sum().compute()) == values.sum()
    assert np.array_equal(cloudpickle.loads(cloudpickle.dumps(ours)).values, values)


def test_a_rotated_raster_has_a_transform_and_no_axes(shelf: Shelf) -> None:
    turned = Affine.translation(10, 50) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)
    item = shelf.raster("rotated", np.ones((4, 4), "uint8"), turned)
    opened = shelf.platform.open(COLLECTION, item)
    assert "x" not in opened.coords
    assert opened.rio.transform() == turned


def test_references_and_netcdf_open_as_lazy_datasets(shelf: Shelf) -> None:
    cube = regular_cube(*one_degree())
    for item in (shelf.references("virtual", cube), shelf.cube("netcdf", cube)):
        opened = shelf.platform.open(COLLECTION, item)
        assert not opened["tas"]._in_memory
        xr.testing.assert_allclose(opened.drop_attrs(), cube.drop_attrs())


def test_geoparquet_opens_as_a_geodataframe(shelf: Shelf) -> None:
    frame = gpd.GeoDataFrame({"a": [1, 2]}, geometry=shapely.points([0, 1], [2, 3]), crs="EPSG:4326")
    opened = shelf.platform.open(COLLECTION, shelf.features("points", frame))
    assert isinstance(opened, gpd.GeoDataFrame)
    assert opened.geometry.geom_equals(frame.geometry).all()


def test_a_wrong_asset_is_answered_with_the_right_one(shelf: Shelf) -> None:
    item = shelf.raster("raster", np.ones((2, 2), "uint8"), (0, 0, 1, 1))
    with pytest.raises(NotFound) as error:
        shelf.platform.open(COLLECTION, item, "dat")
    assert (error.value.field, error.value.hint) == ("asset", "Did you mean 'data'?")


def test_a_picture_is_no_data(shelf: Shelf) -> None:
    data = {"href": str(shelf.folder / "x.tif"), "type": COG, "roles": ["data"]}
    thumbnail = {"href": "/nowhere.png", "type": "image/png", "roles": ["thumbnail"]}
    item = shelf.register("pictured", {"thumbnail": thumbnail, "data": data})
    with pytest.raises(InvalidParameter, match="is image/png, which cannot be read") as error:
        shelf.platform.open(COLLECTION, item, "thumbnail")
    assert error.value.hint == "Readable here: data."
    only = shelf.register("only-pictured", {"thumbnail": thumbnail})
    with pytest.raises(InvalidParameter, match="has nothing that can be read"):
        shelf.platform.open(COLLECTION, only)


def test_features_asked_for_as_a_raster_say_what_they_offer(shelf: Shelf) -> None:
    item = shelf.features("areas", gpd.GeoDataFrame({"n": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326"))
    with pytest.raises(InvalidParameter, match="nothing that can be read as geotiff") as error:
        shelf.platform.raster.preview(COLLECTION, item)
    assert error.value.hint == "It offers: data (application/vnd.apache.parquet)."


def test_only_what_the_catalogue_says_is_opened(shelf: Shelf) -> None:
    from geoetl.access import open_item

    item = shelf.raster("raster", np.ones((2, 2), "uint8"), (0, 0, 1, 1))
    record = dict(shelf.platform.catalog.item(COLLECTION, item))
    record["assets"] = {"data": {"href": "/etc/passwd", "type": COG}, "other": {"href": "/etc/passwd", "type": COG}}
    assert open_item(shelf.platform.lookup, shelf.platform.gate, record).shape == (1, 2, 2)
    with pytest.raises(NotFound):
        open_item(shelf.platform.lookup, shelf.platform.gate, record, "other")


def test_a_file_that_is_gone_is_not_found(shelf: Shelf) -> None:
    item = shelf.raster("raster", np.ones((2, 2), "uint8"), (0, 0, 1, 1))
    (shelf.folder / "raster.tif").unlink()
    with pytest.raises(NotFound, match=r"There is no file 'raster\.tif'"):
        shelf.platform.open(COLLECTION, item)


@pytest.mark.parametrize(
    ("asset", "kind"),
    [
        ({"type": COG}, AssetKind.GEOTIFF),
        ({"type": "IMAGE/TIFF"}, AssetKind.GEOTIFF),
        ({"type": COG, "roles": ["thumbnail"]}, None),
        ({"type": "application/json", "roles": ["index"]}, AssetKind.REFERENCES),
        ({"type": "application/json", "xarray:open_kwargs": {"engine": "kerchunk"}}, AssetKind.REFERENCES),
        ({"type": "application/json", "roles": ["metadata"]}, None),
        ({"type": "application/x-netcdf"}, AssetKind.NETCDF),
        ({"type": "application/vnd.apache.parquet"}, AssetKind.GEOPARQUET),
        ({"type": "application/vnd.pmtiles", "roles": ["visual"]}, AssetKind.PMTILES),
        ({}, None),
    ],
)
def test_assets_are_recognised_by_media_type_roles_and_fields(asset: dict[str, object], kind: AssetKind | None) -> None:
    assert kind_of(asset) is kind


def test_there_is_an_opener_for_every_kind() -> None:
    assert set(OPENERS) == set(OPENABLE)
