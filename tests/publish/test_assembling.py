"""What would become public of an item: exactly its objects, with their digests, and documents that anybody may read."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio

import geoetl
from geoetl.core.errors import EmptyDataset, GeoetlError, InvalidParameter, NotFound, VerificationFailed
from geoetl.core.identifiers import file_digest
from geoetl.platform import Platform
from geoetl.publish.assembling import Assembler
from geoetl.store.catalog.item import new_collection
from geoetl.store.digests import digest_folder
from geoetl.styles.sheets import Sheets
from geoetl.virtual.packing import CubePacker
from tests.catalogued import hill_values
from tests.publish.outside import RASTERS, VECTORS, faults, hidden, lay_out, raster, serving, vector

WEB = "https://data.example.org"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Give a platform with a raster and a vector item, as their pipelines make them."""
    home = tmp_path_factory.mktemp("assembling") / "home"
    made = geoetl.connect(home)
    raster(made, home / "files")
    vector(made, home / "files", license="ODbL-1.0", attribution="© Förderverein", keywords=("a", "b"))
    yield made
    made.database.dispose()


@pytest.fixture
def added(platform: Platform) -> Iterator[dict[str, Any]]:
    """Give a copy of the raster's item, not in the catalogue yet, and take it out again afterwards."""
    item = dict(platform.catalog.item(RASTERS, "hill"))
    yield {**item, "id": "odd", "assets": {"data": dict(item["assets"]["data"])}}
    for found in platform.catalog.collections():
        for name in ("odd", "collection.json", "Collection.JSON"):
            try:
                platform.catalog.delete_item(found["id"], name)
            except NotFound:
                continue


def assembler(platform: Platform, base: str = WEB) -> Assembler:
    scratch = platform.settings.home / "scratch"
    packer = CubePacker(platform.gate, platform.zones, scratch)
    inside = (str(platform.settings.home),)
    return Assembler(platform.catalog, platform.zones, packer, Sheets(platform.styles), inside, base, scratch)


def assemble(platform: Platform, item: dict[str, Any]) -> Any:
    platform.catalog.upsert_items([item])
    return assembler(platform).assemble(item["collection"], item["id"], 1)


def put(platform: Platform, folder: Path, key: str, content: bytes) -> str:
    path = folder / "file"
    path.write_bytes(content)
    return platform.zones.internal.put(path, key, owner=f"{RASTERS}/odd").href


# -- what there is in it -----------------------------------------------------------------------------------------------


def test_a_raster_is_its_objects_and_documents_and_nothing_else(platform: Platform) -> None:
    manifest = assembler(platform).assemble(RASTERS, "hill", 4)
    assert [one.target for one in manifest.objects] == ["data.tif"]
    assert (manifest.path, manifest.version) == ("images/hill/v4", 4)
    (data,) = manifest.objects
    key = data.source.removeprefix("internal://")
    assert (data.sha256, data.bytes) == (
        file_digest(platform.zones.internal.local_path(key)),
        platform.zones.internal.size(key),
    )
    assert (manifest.license, manifest.attribution) == ("CC-BY-4.0", "Ämt für Karten")
    assert manifest.collection_document["title"] == "Zürich – 東京"
    assert list(manifest.documents) == ["hill.json"]


def test_a_vector_has_its_tiles_thumbnail_and_styles_in_each_encoding(platform: Platform) -> None:
    manifest = assembler(platform).assemble(VECTORS, "shires", 1)
    assert [(one.target, one.role) for one in manifest.objects] == [
        ("data.parquet", "data"), ("styles/default.sld", "style"), ("thumbnail.png", "thumbnail"),
        ("visual.pmtiles", "visual"),
    ]  # fmt: skip
    assert set(manifest.documents) == {"shires.json", "styles/default.cs.json", "styles/default.maplibre.json"}
    (source,) = manifest.documents["styles/default.maplibre.json"]["sources"].values()
    assert source["url"] == f"pmtiles://{WEB}/places/shires/v1/visual.pmtiles"
    styles = {name: one["href"] for name, one in manifest.documents["shires.json"]["assets"].items() if "style" in name}
    assert styles == {
        "style-default-cartosym": "./styles/default.cs.json",
        "style-default-maplibre": "./styles/default.maplibre.json",
        "style-default-sld": "./styles/default.sld",
    }
    # What the item says itself counts more than its collection.
    assert (manifest.license, manifest.attribution) == ("ODbL-1.0", "© Förderverein")


def test_the_same_item_is_the_same_manifest(platform: Platform) -> None:
    first, second = (assembler(platform).assemble(VECTORS, "shires", 1) for _ in range(2))
    assert first.digest == second.digest
    assert first.digest != assembler(platform).assemble(VECTORS, "shires", 2).digest


def test_nothing_of_the_inside_is_in_the_documents(platform: Platform) -> None:
    for collection, item in ((RASTERS, "hill"), (VECTORS, "shires")):
        manifest = assembler(platform).assemble(collection, item, 1)
        text = json.dumps([manifest.documents, manifest.collection_document])
        assert "internal:" not in text
        assert "runs/" not in text
        assert str(platform.settings.home) not in text


def test_what_was_published_is_opened_from_a_plain_web_server(platform: Platform) -> None:
    external = platform.zones.external.root
    assert external is not None
    with serving(external) as address:
        for collection, item in ((RASTERS, "hill"), (VECTORS, "shires")):
            manifest = assembler(platform, address).assemble(collection, item, 1)
            lay_out(platform, manifest)
            (external / collection / "collection.json").write_text(
                json.dumps({**manifest.collection_document, "links": []})
            )
        (external / "catalog.json").write_text(
            json.dumps({"type": "Catalog", "stac_version": "1.1.0", "id": "c", "description": "c", "links": []})
        )
        with hidden(platform):
            hill = pystac.Item.from_file(f"{address}/images/hill/v1/hill.json")
            assert faults(hill.get_self_href() or "") == []
            href = hill.assets["data"].get_absolute_href()
            # What reads unknown files in this process keeps GDAL from the network; a stranger's does not.
            with rasterio.Env(CPL_VSIL_CURL_ALLOWED_FILENAME=f"/vsicurl/{href}"), rasterio.open(href) as dataset:
                np.testing.assert_array_equal(dataset.read(1), hill_values())
            shires = pystac.Item.from_file(f"{address}/places/shires/v1/shires.json")
            assert faults(shires.get_self_href() or "") == []
            assert len(gpd.read_parquet(shires.assets["data"].get_absolute_href())) == 2
    shutil.rmtree(external)


# -- folders -----------------------------------------------------------------------------------------------------------


def test_a_folder_is_one_object_a_file(platform: Platform, tmp_path: Path, added: dict[str, Any]) -> None:
    folder = tmp_path / "store"
    for name in ("zarr.json", "tas/zarr.json", "tas/c/0/0", "tas/c/0/1", ".hidden"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    stored = platform.zones.internal.put_folder(folder, "cubes/x/folder.zarr", owner=f"{RASTERS}/odd")
    added["assets"]["data"] = {"href": stored.href, "type": "application/vnd.zarr; version=3", "roles": ["data"]}
    manifest = assemble(platform, added)
    assert [one.target for one in manifest.objects] == [
        "data.zarr/.hidden", "data.zarr/tas/c/0/0", "data.zarr/tas/c/0/1", "data.zarr/tas/zarr.json",
        "data.zarr/zarr.json",
    ]  # fmt: skip
    assert manifest.documents["odd.json"]["assets"]["data"]["href"] == "./data.zarr"
    assert manifest.documents["odd.json"]["assets"]["data"]["file:size"] == stored.bytes == manifest.bytes
    assert manifest.objects[-1].media_type == "application/json"


def test_hundreds_of_objects_are_assembled_one_by_one(
    platform: Platform, tmp_path: Path, added: dict[str, Any]
) -> None:
    root = platform.zones.internal.root
    assert root is not None
    (tmp_path / "chunk").write_bytes(b"a chunk")
    for column in range(20):
        (root / "cubes/y/big.zarr/t/c" / str(column)).mkdir(parents=True)
        for row in range(20):
            (root / "cubes/y/big.zarr/t/c" / str(column) / str(row)).hardlink_to(tmp_path / "chunk")
    added["assets"]["data"] = {"href": "internal://cubes/y/big.zarr", "type": "application/vnd.zarr", "roles": ["data"]}
    manifest = assemble(platform, added)
    assert len(manifest.objects) == 400
    assert len({one.target for one in manifest.objects}) == 400
    assert {one.sha256 for one in manifest.objects} == {file_digest(tmp_path / "chunk")}
    assert manifest.objects[0].source == "internal://cubes/y/big.zarr/t/c/0/0"
    shutil.rmtree(root / "cubes/y")


def test_assets_that_share_an_object_bring_it_once(platform: Platform, added: dict[str, Any]) -> None:
    added["assets"]["copy"] = {**added["assets"]["data"], "title": "The same"}
    manifest = assemble(platform, added)
    assert len(manifest.objects) == 1
    assert {one["href"] for one in manifest.documents["odd.json"]["assets"].values()} == {"./data.tif"}


def test_names_of_objects_never_meet(platform: Platform, tmp_path: Path, added: dict[str, Any]) -> None:
    href = put(platform, tmp_path, "rasters/images/odd/a.json", b"{}")
    other = put(platform, tmp_path, "rasters/images/odd/b.json", b"[]")
    third = put(platform, tmp_path, "rasters/images/odd/c.json", b"0")
    # The item's own document is odd.json, and disks may not tell capitals.
    added["assets"] |= {
        "odd": {"href": href},
        "Odd": {"href": other},
        "高さ/../x": {"href": third},
        "styles": {"href": href},
    }
    manifest = assemble(platform, added)
    targets = [one.target for one in manifest.objects]
    assert sorted(targets) == sorted({name.casefold(): name for name in targets}.values())
    assert "odd.json" not in {name.casefold() for name in targets}
    assert all(".." not in name and name.isascii() for name in targets)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "href",
    [
        "{home}/files/hill.tif",
        "https://elsewhere.example.org/hill.tif",
        "s3://bucket/hill.tif",
        "internal://runs/06h2/notebook.ipynb",
        "internal://publishing/images/hill/v1/x",
        "external://images/hill/v1/data.tif",
        "internal://rasters/../../secret.tif",
        "{home}/internal/../geoetl.db",
        "./hill.tif",
    ],
)
def test_an_asset_outside_of_what_geoetl_keeps_is_refused(platform: Platform, added: dict[str, Any], href: str) -> None:
    added["assets"]["odd"] = {"href": href.format(home=platform.settings.home)}
    # Some of these the catalogue does not even take.
    with pytest.raises((VerificationFailed, InvalidParameter)) as refused:
        assemble(platform, added)
    assert str(platform.settings.home) not in f"{refused.value.detail} {refused.value.hint}"
    assert "secret" not in str(refused.value.hint)


def test_an_object_that_is_gone_is_named_by_its_asset(
    platform: Platform, tmp_path: Path, added: dict[str, Any]
) -> None:
    added["assets"]["mask"] = {"href": put(platform, tmp_path, "rasters/images/odd/gone.tif", b"x")}
    (platform.zones.internal.root or Path()).joinpath("rasters/images/odd/gone.tif").unlink()
    with pytest.raises(VerificationFailed, match="asset 'mask' leads to is gone") as refused:
        assemble(platform, added)
    assert refused.value.field == "assets.mask.href"


@pytest.mark.parametrize("content", [b"abcde", b"abcdX"], ids=["longer", "as long"])
def test_bytes_that_are_not_those_that_were_written_down_are_refused(
    platform: Platform, tmp_path: Path, added: dict[str, Any], content: bytes
) -> None:
    added["assets"]["data"] = {"href": put(platform, tmp_path, "rasters/images/odd/d.tif", b"abcd")}
    path = (platform.zones.internal.root or Path()) / "rasters/images/odd/d.tif"
    path.write_bytes(content)
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 10))
    with pytest.raises(VerificationFailed, match="not as it was written"):
        assemble(platform, added)


def test_an_object_that_is_not_the_one_of_the_catalogue_is_refused(platform: Platform, added: dict[str, Any]) -> None:
    added["assets"]["data"]["file:checksum"] = "1220" + "0" * 64
    with pytest.raises(VerificationFailed, match="not the one that the catalogue tells of"):
        assemble(platform, added)
    # A digest of another kind, as an item has that was made elsewhere, is replaced.
    added["assets"]["data"]["file:checksum"] = "d50110" + "0" * 32
    assert assemble(platform, added).documents["odd.json"]["assets"]["data"]["file:checksum"].startswith("1220")


def test_a_file_that_was_only_touched_is_read_again_and_taken(
    platform: Platform, tmp_path: Path, added: dict[str, Any]
) -> None:
    added["assets"] = {"data": {"href": put(platform, tmp_path, "rasters/images/odd/e.tif", b"abcd")}}
    path = (platform.zones.internal.root or Path()) / "rasters/images/odd/e.tif"
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 1000))
    assert assemble(platform, added).objects[0].sha256 == file_digest(path)


@pytest.mark.parametrize("name", ["catalog.json", "Catalog.JSON", "audit"])
def test_a_collection_may_not_take_the_place_of_something_else(
    platform: Platform, added: dict[str, Any], name: str
) -> None:
    platform.catalog.upsert_collection(new_collection(name))
    with pytest.raises(InvalidParameter, match="something else of that name") as refused:
        assemble(platform, {**added, "collection": name})
    assert refused.value.field == "collection"
    platform.catalog.delete_collection(name)


@pytest.mark.parametrize("name", ["collection.json", "Collection.JSON"])
def test_an_item_may_not_take_the_place_of_its_collection(platform: Platform, added: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidParameter, match="something else of that name"):
        assemble(platform, {**added, "id": name})


def test_an_item_without_objects_is_refused(platform: Platform, added: dict[str, Any]) -> None:
    with pytest.raises(EmptyDataset):
        assemble(platform, {**added, "assets": {}})


def test_a_property_with_a_path_is_refused_by_name(platform: Platform, added: dict[str, Any]) -> None:
    added["properties"] = {
        **added["properties"],
        "geoetl:made_from": f"made of {platform.settings.home}/files/hill.tif",
    }
    with pytest.raises(VerificationFailed) as refused:
        assemble(platform, added)
    assert refused.value.field == "properties.geoetl:made_from"


def test_an_item_that_is_not_there_is_not_found(platform: Platform) -> None:
    for collection, item in ((RASTERS, "none"), ("none", "hill")):
        with pytest.raises(NotFound):
            assembler(platform).assemble(collection, item, 1)


def test_a_link_in_a_folder_is_refused(platform: Platform, added: dict[str, Any]) -> None:
    root = platform.zones.internal.root
    assert root is not None
    (root / "cubes/linked.zarr").mkdir(parents=True)
    (root / "cubes/linked.zarr/zarr.json").symlink_to(platform.settings.home / "geoetl.db")
    added["assets"]["data"] = {"href": "internal://cubes/linked.zarr"}
    with pytest.raises(GeoetlError, match="neither a file nor a folder"):
        assemble(platform, added)
    assert digest_folder(platform.zones.internal, "cubes/none") == ()
