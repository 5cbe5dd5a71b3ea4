"""Addresses become portable on the way in and openable on the way out, and nothing else changes."""

from typing import Any

import pytest

from geoetl.store.catalog.hrefs import map_hrefs, to_openable, to_portable
from tests.stac import a_collection, an_item


class Upper:
    """Addresses whose portable form is in lower case."""

    def portable(self, href: str) -> str:
        return href.lower()

    def openable(self, href: str) -> str:
        return href.upper()


def test_every_href_of_assets_links_and_alternates_is_mapped_and_back() -> None:
    assets = {"data": {"href": "A", "title": "T", "alternate": {"s3": {"href": "B"}}}, "other": {"href": "C"}}
    item = an_item(assets=assets, links=[{"rel": "via", "href": "D"}])
    portable = to_portable(item, Upper())
    assert portable["assets"]["data"] == {"href": "a", "title": "T", "alternate": {"s3": {"href": "b"}}}
    assert (portable["assets"]["other"]["href"], portable["links"][0]["href"]) == ("c", "d")
    assert to_openable(portable, Upper()) == item


def test_the_original_is_not_changed() -> None:
    item = an_item(assets={"data": {"href": "A", "alternate": {"s3": {"href": "B"}}}}, links=[{"href": "D"}])
    to_portable(item, Upper())
    assert item["assets"]["data"] == {"href": "A", "alternate": {"s3": {"href": "B"}}}
    assert item["links"] == [{"href": "D"}]


def test_a_collection_without_assets_stays_without() -> None:
    assert to_portable(a_collection(), Upper()) == a_collection()


@pytest.mark.parametrize(
    "odd", [None, 5, "x", [], {"data": None}, {"data": {"href": None}}, {"data": {"alternate": 5}}]
)
def test_what_has_no_href_stays_as_it_is(odd: Any) -> None:
    document = {"assets": odd, "links": [None, 5, {"rel": "x"}]}
    assert map_hrefs(document, str.upper) == document
