"""The catalogue of the external zone leads to what is public, and to nothing else."""

import json
import shutil
from pathlib import Path
from typing import Any

import pystac
import pytest

from geoetl.publish import audit
from geoetl.publish.documents import public_collection, public_item, terms_of
from geoetl.publish.index import PublicIndex
from geoetl.publish.model import Action, Clearance, Manifest, ManifestObject, Release, State
from geoetl.publish.repository import ReleaseRepository
from geoetl.publish.steps import Content
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.catalog.item import new_collection
from geoetl.store.zones import Zone
from tests.publish.outside import serving
from tests.publish.releasing import AUTHOR, WAYS, a_step, who_does

TITLE = "Überschwemmung 洪水 <b>"


@pytest.fixture
def index(releases: ReleaseRepository, tmp_path: Path) -> PublicIndex:
    """Give the index of an empty external zone."""
    artifacts = ArtifactRepository(releases.database)
    return PublicIndex(Zone("external", (tmp_path / "external").as_uri(), artifacts, tmp_path / "cache"), releases)


def root_of(index: PublicIndex) -> Path:
    assert index.zone.root is not None
    return index.zone.root


def brought(
    releases: ReleaseRepository, state: State, item: str = "flood", collection: str = "hazards", east: float = 9.0
) -> Release:
    """Bring a release with documents to a state."""
    number = len(releases.of_asset(releases.status(collection, item).asset_id)) + 1
    found: dict[str, Any] = {
        "type": "Feature", "stac_version": "1.1.0", "stac_extensions": [], "id": item, "collection": collection,
        "bbox": [5.0, 45.0, east, 48.0],
        "geometry": {"type": "Polygon", "coordinates": [[[5, 45], [east, 45], [east, 48], [5, 48], [5, 45]]]},
        "properties": {"datetime": f"20{number:02d}-06-01T00:00:00Z", "title": TITLE},
        "links": [], "assets": {},
    }  # fmt: skip
    described = new_collection(collection, title=f"{TITLE} {number}", licence="CC0-1.0")
    document = public_item(found, {}, terms_of(found, described), number)
    data = ManifestObject(
        source="internal://a.tif", target="data.tif", bytes=1, sha256="a" * 64, media_type="image/tiff", role="data"
    )
    manifest = Manifest(
        collection=collection,
        item=item,
        objects=(data,),
        documents={f"{item}.json": document},
        version=number,
        collection_document=public_collection(described, found),
    )
    release = releases.create(AUTHOR, Content(manifest, Clearance.PUBLIC))
    for action in WAYS[state]:
        release = releases.move(who_does(action), a_step(release, action))
    return release


def laid_out(index: PublicIndex, release: Release) -> Release:
    folder = root_of(index) / release.manifest.path
    folder.mkdir(parents=True, exist_ok=True)
    for target, document in release.manifest.documents.items():
        (folder / target).write_text(json.dumps(document), "utf-8")
    return release


def write(index: PublicIndex, **which: Release | None) -> dict[str, bytes]:
    """Write the index as publishing does, and return its files."""
    with index.repository.database.begin() as connection:
        audit.hold(connection)
        index.write(connection, **which)
    root = root_of(index)
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("c*.json") if ".incoming" not in str(path)
    }


def items_of(files: dict[str, bytes], collection: str = "hazards") -> list[str]:
    document = json.loads(files[f"{collection}/collection.json"])
    return [link["href"] for link in document["links"] if link["rel"] == "item"]


def test_without_anything_public_there_is_an_empty_catalogue(index: PublicIndex) -> None:
    files = write(index)
    assert list(files) == ["catalog.json"]
    assert [link["rel"] for link in json.loads(files["catalog.json"])["links"]] == ["root"]


def test_only_what_is_published_is_named(index: PublicIndex, releases: ReleaseRepository) -> None:
    for state in State:
        brought(releases, state, item=f"item-{state.value.replace('_', '-')}")
    assert items_of(write(index)) == ["./item-published/v1/item-published.json"]


def test_of_an_item_the_newest_version_is_named(index: PublicIndex, releases: ReleaseRepository) -> None:
    for _ in range(11):
        brought(releases, State.PUBLISHED)
    files = write(index)
    assert items_of(files) == ["./flood/v11/flood.json"]
    shown = json.loads(files["hazards/collection.json"])
    assert shown["title"] == f"{TITLE} 11"
    assert shown["extent"]["temporal"]["interval"] == [["2011-06-01T00:00:00Z", "2011-06-01T00:00:00Z"]]


def test_a_collection_has_the_extent_of_its_public_items(index: PublicIndex, releases: ReleaseRepository) -> None:
    brought(releases, State.PUBLISHED, item="a", east=7.0)
    brought(releases, State.PUBLISHED, item="b", east=8.0)
    brought(releases, State.PENDING_REVIEW, item="c", east=60.0)
    shown = json.loads(write(index)["hazards/collection.json"])
    assert shown["extent"]["spatial"]["bbox"] == [[5.0, 45.0, 8.0, 48.0]]


def test_a_second_write_changes_no_file(index: PublicIndex, releases: ReleaseRepository) -> None:
    brought(releases, State.PUBLISHED)
    first = write(index)
    root = root_of(index)
    stamps = {name: (root / name).stat().st_ino for name in first}
    assert write(index) == first
    assert {name: (root / name).stat().st_ino for name in first} == stamps


def test_a_release_counts_before_its_state_says_so_and_can_be_left_out(
    index: PublicIndex, releases: ReleaseRepository
) -> None:
    brought(releases, State.PUBLISHED)
    second = brought(releases, State.COPYING)
    assert items_of(write(index, including=second)) == ["./flood/v2/flood.json"]
    assert items_of(write(index, without=second)) == ["./flood/v1/flood.json"]


def test_an_empty_collection_goes_and_comes_back(index: PublicIndex, releases: ReleaseRepository) -> None:
    release = brought(releases, State.PUBLISHED)
    other = brought(releases, State.PUBLISHED, collection="other")
    assert set(write(index)) == {"catalog.json", "hazards/collection.json", "other/collection.json"}
    releases.move(who_does(Action.WITHDRAW), a_step(release, Action.WITHDRAW))
    assert set(write(index)) == {"catalog.json", "other/collection.json"}
    assert set(write(index, including=release)) == {"catalog.json", "hazards/collection.json", "other/collection.json"}
    assert set(write(index, without=other)) == {"catalog.json"}


def test_a_collection_that_a_dead_writer_left_is_cleared(index: PublicIndex, releases: ReleaseRepository) -> None:
    release = brought(releases, State.PUBLISHED)
    write(index)
    releases.move(who_does(Action.WITHDRAW), a_step(release, Action.WITHDRAW))
    # It died after the catalogue, before the collection.
    catalogue = root_of(index) / "catalog.json"
    document = json.loads(catalogue.read_bytes())
    document["links"] = [link for link in document["links"] if link["rel"] != "child"]
    catalogue.write_text(json.dumps(document))
    assert set(write(index)) == {"catalog.json"}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"links": [{"rel": "child"}]}', b'{"links": 4}', b"\xff"]
)
def test_a_damaged_catalogue_is_written_anew(index: PublicIndex, releases: ReleaseRepository, content: bytes) -> None:
    brought(releases, State.PUBLISHED)
    (root_of(index)).mkdir(parents=True)
    (root_of(index) / "catalog.json").write_bytes(content)
    files = write(index)
    assert json.loads(files["catalog.json"])["type"] == "Catalog"
    assert len(items_of(files)) == 1


def test_a_link_of_a_catalogue_that_was_changed_removes_nothing_else(index: PublicIndex) -> None:
    root = root_of(index)
    (root / "a").mkdir(parents=True)
    (root.parent / "b").mkdir()
    for path in (root / "a/other.json", root.parent / "b/collection.json"):
        path.write_text("{}")
    links = [
        {"rel": "child", "href": href}
        for href in ("./a/other.json", "../b/collection.json", "./../b/collection.json", "./../collection.json")
    ]
    (root / "catalog.json").write_text(json.dumps({"links": links}))
    write(index)
    assert (root / "a/other.json").exists()
    assert (root.parent / "b/collection.json").exists()


def test_what_is_written_is_undone_in_the_record_with_its_transaction(
    index: PublicIndex, releases: ReleaseRepository
) -> None:
    brought(releases, State.PUBLISHED)
    write(index)
    assert {key for _, key, _, _ in index.zone.artifacts.of_owner("publishing/index")} == {
        "catalog.json", "hazards/collection.json",
    }  # fmt: skip


def test_pystac_walks_the_catalogue_through_a_plain_web_server(index: PublicIndex, releases: ReleaseRepository) -> None:
    for collection, item in (("hazards", "flood"), ("hazards", "drought"), ("other", "a.b-c_d")):
        laid_out(index, brought(releases, State.PUBLISHED, item=item, collection=collection))
    laid_out(index, brought(releases, State.PUBLISHED))
    write(index)
    with serving(root_of(index)) as address:
        catalogue = pystac.Catalog.from_file(f"{address}/catalog.json")
        assert catalogue.validate()
        children = list(catalogue.get_children())
        assert [child.id for child in children] == ["hazards", "other"]
        found = {}
        for child in children:
            assert child.validate()
            for member in child.get_items():
                assert member.validate()
                assert member.get_collection() is child
                assert member.get_root() is catalogue
                found[member.id] = member.get_self_href()
        assert found["flood"] == f"{address}/hazards/flood/v2/flood.json"
        assert len(found) == 3
    shutil.rmtree(root_of(index))
