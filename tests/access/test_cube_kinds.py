"""A cube answers the same whatever it is stored as."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from geoetl.access import AssetKind, kind_of
from geoetl.core.errors import NotFound, UnreadableFile
from geoetl.core.spatial import Point
from tests.access.conftest import COLLECTION, Shelf
from tests.access.cubes import one_degree, regular_cube
from tests.cube_stores import KINDS, write_icechunk, write_netcdf, write_store

KIND_OF = {
    "json": AssetKind.REFERENCES,
    "parquet": AssetKind.PARQUET_REFERENCES,
    "icechunk": AssetKind.ICECHUNK,
    "zarr": AssetKind.ZARR,
}


@pytest.fixture
def source(shelf: Shelf) -> Path:
    """Give a NetCDF file of a global cube of three steps."""
    return write_netcdf(shelf.folder / "source.nc", regular_cube(*one_degree()), tas=(1, 180, 360))


def registered(shelf: Shelf, kind: str, source: Path) -> str:
    return shelf.register(kind, write_store(kind, source, shelf.folder / f"{kind}-store"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_opens_as_its_source(shelf: Shelf, source: Path, kind: str) -> None:
    item = registered(shelf, kind, source)
    with xr.open_dataset(source, engine="h5netcdf") as expected:
        xr.testing.assert_identical(shelf.platform.open(COLLECTION, item).load(), expected.load())
        xr.testing.assert_identical(shelf.platform.cube.open(COLLECTION, item).load(), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_and_read_as_the_netcdf_file(shelf: Shelf, source: Path, kind: str) -> None:
    plain = shelf.register("plain", {"data": {"href": str(source), "type": "application/netcdf", "roles": ["data"]}})
    item, cube = registered(shelf, kind, source), shelf.platform.cube
    assert cube.preview(COLLECTION, item, time_index=2).content == cube.preview(COLLECTION, plain, time_index=2).content
    there, wanted = (cube.series(COLLECTION, name, Point(-179.9, 12)) for name in (item, plain))
    assert (there.values, there.times, there.cell) == (wanted.values, wanted.times, wanted.cell)
    assert cube.describe(COLLECTION, item).model_dump(exclude={"source"}) == cube.describe(
        COLLECTION, plain
    ).model_dump(exclude={"source"})


@pytest.mark.parametrize("kind", ["parquet", "icechunk", "zarr"])
def test_a_folder_in_a_zone_is_opened_by_its_portable_address(shelf: Shelf, source: Path, kind: str) -> None:
    assets = write_store(kind, source, shelf.folder / "store")
    (name,) = assets
    stored = shelf.platform.zones.internal.put_folder(shelf.folder / "store", f"shelf/{kind}", owner="shelf/x")
    shelf.register("x", {name: {**assets[name], "href": stored.href}})
    assert shelf.platform.cube.open(COLLECTION, "x")["tas"].shape == (3, 180, 360)
    shelf.platform.zones.internal.delete(stored.key)
    shelf.register("other", {name: {**assets[name], "href": stored.href}})
    with pytest.raises(NotFound, match="no folder"):
        shelf.platform.cube.open(COLLECTION, "x")


@pytest.mark.parametrize("kind", ["json", "parquet", "icechunk"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_lost_source_is_told_with_the_item(shelf: Shelf, source: Path, kind: str, damage: str) -> None:
    item, cube = registered(shelf, kind, source), shelf.platform.cube
    cube.describe(COLLECTION, item)
    if damage == "cut":
        os.truncate(source, 1000)
    else:
        source.unlink()
    with pytest.raises(UnreadableFile, match=f"{COLLECTION}/{kind}"):
        cube.preview(COLLECTION, item)
    with pytest.raises(UnreadableFile, match=f"{COLLECTION}/{kind}"):
        cube.series(COLLECTION, item, Point(0, 0))


def test_a_changed_source_of_icechunk_is_told_with_the_item(shelf: Shelf, source: Path) -> None:
    item, cube = registered(shelf, "icechunk", source), shelf.platform.cube
    cube.describe(COLLECTION, item)
    os.utime(source, (4_000_000_000, 4_000_000_000))
    with pytest.raises(UnreadableFile, match="has changed"):
        cube.preview(COLLECTION, item)


def test_an_item_may_name_a_snapshot(shelf: Shelf, source: Path) -> None:
    import icechunk
    import zarr

    first = write_icechunk(source, shelf.folder / "store")
    session = icechunk.Repository.open(icechunk.local_filesystem_storage(str(shelf.folder / "store"))).writable_session(
        "main"
    )
    zarr.open_group(session.store).attrs["title"] = "later"
    session.commit("second")
    asset: dict[str, Any] = {"href": str(shelf.folder / "store"), "type": "application/vnd.zarr+icechunk"}
    shelf.register("newest", {"data": asset})
    shelf.register("first", {"data": {**asset, "icechunk:snapshot_id": first}})
    titles = [shelf.platform.cube.open(COLLECTION, item).attrs.get("title") for item in ("first", "newest")]
    assert titles == [None, "later"]


def test_references_are_preferred_to_data_and_to_zarr(shelf: Shelf, source: Path) -> None:
    assets = {**write_store("zarr", source, shelf.folder / "z"), **write_store("icechunk", source, shelf.folder / "i")}
    shelf.register("two", assets)
    assert shelf.platform.cube.describe(COLLECTION, "two").source.asset == "data"
    shelf.register("three", {**assets, **write_store("parquet", source, shelf.folder / "p")})
    assert shelf.platform.cube.describe(COLLECTION, "three").source.asset == "references"


@pytest.mark.parametrize("kind", KINDS)
def test_a_cube_is_known_by_media_type_and_roles(shelf: Shelf, source: Path, kind: str) -> None:
    (asset,) = write_store(kind, source, shelf.folder / "store").values()
    assert kind_of(asset) is KIND_OF[kind]


@pytest.mark.parametrize(
    ("asset", "kind"),
    [
        ({"type": "application/vnd+zarr"}, AssetKind.ZARR),
        ({"type": "application/vnd.apache.parquet", "roles": ["data"]}, AssetKind.GEOPARQUET),
        (
            {"type": "application/vnd.apache.parquet", "xarray:open_kwargs": {"engine": "kerchunk"}},
            AssetKind.PARQUET_REFERENCES,
        ),
        ({"type": "application/json", "roles": ["metadata"]}, None),
    ],
)
def test_what_only_looks_alike_is_told_apart(asset: dict[str, Any], kind: AssetKind | None) -> None:
    assert kind_of(asset) is kind


def test_a_catalogue_that_changed_gives_the_new_store(shelf: Shelf, source: Path) -> None:
    registered(shelf, "zarr", source)
    assert float(shelf.platform.cube.open(COLLECTION, "zarr")["tas"][0, 0, 0]) < 1000
    later = regular_cube(*one_degree())
    later["tas"] += 5000
    assets = write_store("zarr", write_netcdf(shelf.folder / "later.nc", later), shelf.folder / "later")
    shelf.register("zarr", assets)
    assert float(np.min(shelf.platform.cube.open(COLLECTION, "zarr")["tas"])) >= 5000
