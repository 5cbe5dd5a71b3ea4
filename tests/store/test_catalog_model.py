"""Items, collections, pages and catalogues show themselves in a notebook, and nothing in them becomes markup."""

import base64
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pystac
import pytest

from geoetl.store.catalog import Collection, Item, Search, SqliteCatalog
from tests.stac import a_collection, an_item, sqlite_catalog

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
EVIL = "<script>window.__pwned=1</script>\"'><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Collects the tags and their attributes, and checks that they are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def shown(thing: Any) -> Page:
    return Page(thing._repr_html_())


@pytest.fixture
def catalog(tmp_path: Path) -> SqliteCatalog:
    catalog = sqlite_catalog(tmp_path)
    catalog.upsert_collection(a_collection("demo"))
    return catalog


def test_an_item_tells_what_it_is_where_when_and_of_what(tmp_path: Path) -> None:
    thumbnail = tmp_path / "t.png"
    thumbnail.write_bytes(PNG)
    assets = {
        "data": {"href": "/data/a.tif", "type": "image/tiff", "roles": ["data"]},
        "thumbnail": {"href": str(thumbnail), "type": "image/png", "roles": ["thumbnail"]},
    }
    page = shown(Item(an_item(properties={"title": "A title", "proj:code": "EPSG:4326", "x": 1}, assets=assets)))
    text = "\n".join(page.words)
    for word in ("A title", "demo", "5, 50, 6, 51", "2020-06-01T00:00:00Z", "EPSG:4326", "a.tif"):
        assert word in text
    assert "/data/" not in text
    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert images == [f"data:image/png;base64,{base64.b64encode(PNG).decode()}"]


@pytest.mark.parametrize("href", ["/etc/passwd", "https://example.org/t.png", "relative.png", "/no/such.png"])
def test_only_a_local_picture_is_shown_as_thumbnail(href: str) -> None:
    item = Item(an_item(assets={"t": {"href": href, "roles": ["thumbnail"]}}))
    assert not [tag for tag, _ in shown(item).tags if tag == "img"]


def test_collection_page_and_catalogue_show_themselves(catalog: SqliteCatalog) -> None:
    catalog.upsert_items([an_item(f"i{n:03}") for n in range(25)])
    assert "Collection demo" in "".join(shown(catalog["demo"]).words)
    text = "\n".join(shown(catalog.search(Search(limit=22))).words)
    for word in ("22 of 25", "i024", "and 2 more on this page", "more pages"):
        assert word in text
    assert "1 collection" in "".join(shown(catalog).words)
    assert catalog._ipython_key_completions_() == ["demo"]
    assert [collection["id"] for collection in catalog] == ["demo"]
    catalog.delete_collection("demo")
    assert "geoetl demo" in "".join(shown(catalog).words)
    assert shown(catalog.search(Search())).words


def test_nothing_of_a_document_becomes_markup(catalog: SqliteCatalog) -> None:
    asset = {"href": "javascript:alert(1)", "title": EVIL, "type": EVIL, "roles": [EVIL]}
    properties = {"title": EVIL, "proj:code": EVIL, "cube:variables": {EVIL: {}}, EVIL: EVIL}
    item = Item(an_item(properties=properties, assets={EVIL: asset}))
    collection = Collection(a_collection(title=EVIL, description=EVIL, license=EVIL, keywords=[EVIL]))
    catalog.upsert_collection(collection)
    catalog.upsert_items([item])
    for thing in (item, collection, catalog, catalog.search(Search())):
        for tag, attributes in shown(thing).tags:
            assert tag not in ("script", "img", "a", "iframe")
            assert not [name for name in attributes if name.startswith("on")]
            assert "javascript:" not in str(attributes)


@pytest.mark.parametrize(
    "odd",
    [{}, {"bbox": "x"}, {"bbox": [1, 2]}, {"assets": [], "properties": []}, {"extent": {"spatial": {"bbox": [1]}}}],
)
def test_an_odd_document_is_shown_all_the_same(odd: dict[str, Any]) -> None:
    assert shown(Item(odd)).tags
    assert shown(Collection(odd)).tags


def test_an_item_is_a_dictionary_and_goes_through_pystac() -> None:
    item = Item(an_item(assets={"data": {"href": "/a.tif"}}))
    assert json.loads(json.dumps(item)) == item
    back = item.to_pystac()
    assert isinstance(back, pystac.Item)
    back.properties["changed"] = True
    assert "changed" not in item["properties"]
    assert isinstance(Collection(a_collection()).to_pystac(), pystac.Collection)
