"""A static export is a whole catalogue for pystac and pystac-client, and replaces its predecessor in one step."""

import json
import shutil
from pathlib import Path

import pystac
import pystac_client
import pytest

from geoetl.core.errors import Conflict, NotFound
from geoetl.store.catalog import SqliteCatalog, export_static
from tests.stac import a_collection, an_item, sqlite_catalog


@pytest.fixture
def catalog(tmp_path: Path) -> SqliteCatalog:
    catalog = sqlite_catalog(tmp_path)
    catalog.upsert_collection(a_collection("demo", title="Démo", links=[{"rel": "license", "href": "https://a.org/l"}]))
    catalog.upsert_collection(a_collection("other"))
    asset = {"href": "internal://demo/a.tif", "type": "image/tiff", "roles": ["data"]}
    stale = [{"rel": "self", "href": "https://elsewhere.org/x.json"}, {"rel": "collection", "href": "../demo"}]
    catalog.upsert_items(
        [an_item("one", assets={"data": asset}, links=stale), an_item("two", properties={"title": "Two"})]
    )
    return catalog


def tree(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_pystac_reads_and_validates_the_export(catalog: SqliteCatalog, tmp_path: Path) -> None:
    path = export_static(catalog, tmp_path / "stac")
    read = pystac.Catalog.from_file(str(path))
    assert read.validate_all(max_items=None) == 2
    assert {child.id: child.title for child in read.get_children()} == {"demo": "Démo", "other": "Collection other"}
    items = {item.id: item for item in read.get_items(recursive=True)}
    assert set(items) == {"one", "two"}
    one = items["one"]
    assert one.get_collection() is not None
    assert one.get_root() is read
    assert one.assets["data"].href == str(tmp_path / "internal" / "demo" / "a.tif")
    assert pystac.Collection.from_file(str(path.parent / "demo" / "collection.json")).get_single_link("license")


@pytest.mark.filterwarnings("ignore")  # that files do not search
def test_pystac_client_opens_the_export(catalog: SqliteCatalog, tmp_path: Path) -> None:
    client = pystac_client.Client.open(str(export_static(catalog, tmp_path / "stac")))
    assert [collection.id for collection in client.get_collections()] == ["demo", "other"]
    assert {item.id for item in client.get_items(recursive=True)} == {"one", "two"}


def test_the_folder_can_be_moved_since_every_link_of_it_is_relative(catalog: SqliteCatalog, tmp_path: Path) -> None:
    export_static(catalog, tmp_path / "stac")
    shutil.move(tmp_path / "stac", tmp_path / "moved")
    documents = [json.loads(text) for text in tree(tmp_path / "moved").values()]
    links = [link for document in documents for link in document["links"] if link["rel"] != "license"]
    assert {link["rel"] for link in links} == {"root", "parent", "child", "item", "collection"}
    assert all(link["href"].startswith(".") for link in links)
    assert len(list(pystac.Catalog.from_file(str(tmp_path / "moved" / "catalog.json")).get_items(recursive=True))) == 2


def test_some_collections_can_be_chosen(catalog: SqliteCatalog, tmp_path: Path) -> None:
    path = export_static(catalog, tmp_path / "stac", collections=["other"], id="mine", title="Mine")
    read = pystac.Catalog.from_file(str(path))
    assert ([child.id for child in read.get_children()], read.id, read.title) == (["other"], "mine", "Mine")
    with pytest.raises(NotFound):
        export_static(catalog, tmp_path / "stac", collections=["othr"])
    assert [child.id for child in pystac.Catalog.from_file(str(path)).get_children()] == ["other"]


def test_an_export_replaces_the_one_before_and_leaves_nothing_beside_it(catalog: SqliteCatalog, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    export_static(catalog, tmp_path / "stac")
    first = tree(tmp_path / "stac")
    export_static(catalog, tmp_path / "stac")
    assert tree(tmp_path / "stac") == first
    catalog.delete_item("demo", "one")
    export_static(catalog, tmp_path / "stac")
    assert "demo/one/one.json" not in tree(tmp_path / "stac")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "stac"}


def test_an_export_that_fails_leaves_the_one_before(
    catalog: SqliteCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_static(catalog, tmp_path / "stac")
    first, beside = tree(tmp_path / "stac"), set(tmp_path.iterdir())
    catalog.delete_collection("other")

    def full_disk(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full_disk)
    with pytest.raises(OSError, match="No space"):
        export_static(catalog, tmp_path / "stac")
    monkeypatch.undo()
    assert tree(tmp_path / "stac") == first
    assert set(tmp_path.iterdir()) == beside


def test_a_folder_with_something_else_in_it_is_left_alone(catalog: SqliteCatalog, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("ten years")
    with pytest.raises(Conflict, match="'mine' holds something other"):
        export_static(catalog, folder)
    (folder / "catalog.json").write_text("[]")
    with pytest.raises(Conflict):
        export_static(catalog, folder)
    assert (folder / "thesis.txt").read_text() == "ten years"
