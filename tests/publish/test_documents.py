"""Documents as the public reads them: nothing in them leads inside."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoetl.core.errors import VerificationFailed
from geoetl.publish.documents import (
    check_item,
    check_style,
    is_relative,
    outward_links,
    public_asset,
    public_collection,
    public_item,
    terms_of,
)
from geoetl.store.catalog.item import new_collection

PRIVATE = ("/srv/geoetl/home", "/data/incoming")
ASSETS = {"data": {"href": "./data.tif", "type": "image/tiff", "roles": ["data"], "file:size": 4}}


def an_item(**properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": "flood",
        "collection": "hazards",
        "bbox": [5.0, 45.0, 9.0, 48.0],
        "geometry": {"type": "Polygon", "coordinates": [[[5, 45], [9, 45], [9, 48], [5, 48], [5, 45]]]},
        "properties": {"datetime": "2020-06-01T00:00:00Z", "title": "Überschwemmung 洪水", **properties},
        "links": [
            {"rel": "collection", "href": "../hazards"},
            {"rel": "self", "href": "http://localhost:8000/stac/collections/hazards/items/flood"},
            {"rel": "processing-execution", "href": "internal://runs/06h2/notebook.ipynb"},
            {"rel": "license", "href": "https://creativecommons.org/licenses/by/4.0/"},
            {"rel": "via", "href": "http://10.0.0.7/files"},
            {"rel": "about", "href": "s3://secret-bucket/readme"},
            {"rel": "xyz", "href": "https://tiles.example.org/{z}/{x}/{y}.png"},
        ],
        "assets": {"data": {"href": "/srv/geoetl/home/internal/a.tif"}},
    }


def public(**properties: Any) -> dict[str, Any]:
    item = an_item(**properties)
    return public_item(item, ASSETS, terms_of(item, new_collection("hazards", licence="CC0-1.0")), 3)


def test_the_links_of_an_item_are_relative() -> None:
    document = public()
    check_item(document, PRIVATE)
    inner = {link["rel"]: link["href"] for link in document["links"] if link["rel"] != "license"}
    assert inner == {
        "root": "../../../catalog.json",
        "parent": "../../collection.json",
        "collection": "../../collection.json",
    }
    assert document["properties"]["geoetl:release"] == 3


def test_of_the_links_only_those_to_public_places_of_the_web_stay() -> None:
    assert [link["rel"] for link in outward_links(an_item())] == ["license"]


def test_an_item_says_its_own_terms_and_else_those_of_its_collection() -> None:
    collection = new_collection("hazards", licence="CC0-1.0", providers=["Amt A", "Amt B"])
    assert terms_of(an_item(), collection).attribution == "Amt A; Amt B"
    assert terms_of(an_item(), collection).license == "CC0-1.0"
    # As the items of a managed dataset do.
    own = terms_of(an_item(license="ODbL-1.0", attribution="© Contributors"), collection)
    assert (own.license, own.attribution) == ("ODbL-1.0", "© Contributors")
    assert terms_of(an_item(), {"id": "x"}).license == "other"


def test_where_else_an_asset_lies_is_not_told() -> None:
    told = {
        "href": "x",
        "alternate": {"s3": {"href": "s3://b/k"}},
        "storage:refs": ["b"],
        "file:values": [],
        "title": "T",
    }
    assert public_asset(told, "data.tif", **{"file:size": 4}) == {"href": "./data.tif", "title": "T", "file:size": 4}


def test_a_collection_has_the_extent_of_what_is_public_and_no_links() -> None:
    shown = public_collection({**new_collection("hazards"), "links": [{"rel": "items", "href": "x"}]}, an_item())
    assert "links" not in shown
    assert shown["extent"]["spatial"]["bbox"] == [[5.0, 45.0, 9.0, 48.0]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("note", "internal://rasters/a.tif"),
        ("note", "see FILE:///etc/passwd"),
        ("note", {"deep": ["x", "made of s3://bucket/key"]}),
        ("note", "/vsizip/a.zip"),
        ("source", "/data2/incoming/a.tif"),
        ("source", "~/a.tif"),
        ("source", r"C:\data\a.tif"),
        ("source", r"\\server\share"),
        ("note", "read from /srv/geoetl/home/scratch"),
        ("/data/incoming/a.tif", 4),
    ],
)
def test_a_property_that_leads_inside_is_refused_without_saying_where_it_leads(name: str, value: Any) -> None:
    with pytest.raises(VerificationFailed) as refused:
        check_item(public(**{name: value}), PRIVATE)
    said = f"{refused.value.detail} {refused.value.hint} {refused.value.field}"
    for secret in ("incoming", "passwd", "bucket", "server", "scratch", "a.zip"):
        assert secret not in said
    assert "leads to a place inside" in said


@pytest.mark.parametrize(
    "value",
    [
        "m/s",
        "and/or",
        "kg m-2 / s",
        "a/b/c",
        "/",
        "https://example.org/a/b",
        "3/4 // 2",
        "https://a.org/data/incoming/x",
    ],
)
def test_a_slash_in_a_text_is_no_path(value: str) -> None:
    check_item(public(note=value), PRIVATE)


@pytest.mark.parametrize(
    "href",
    [
        "/a.tif", "../../secret.tif/../x", "./a/../../x", "a./../../x", "file:a", "internal://a", "https://example.org/a",
        "", "..", ".", "a/%2e%2e/b", "a\\b", "//host/a", "./a//b", "./a b", None, 4, "./%2e%2e/a?x",
    ],
)  # fmt: skip
def test_an_address_that_does_not_stay_beside_the_item_is_refused(href: Any) -> None:
    document = public()
    document["assets"]["data"]["href"] = href
    with pytest.raises(VerificationFailed, match=r"assets\.data\.href"):
        check_item(document, PRIVATE)


@pytest.mark.parametrize(
    "href", ["./data.tif", "data.tif", "./styles/default.sld", "../../collection.json", "../../../catalog.json"]
)
def test_an_address_beside_or_above_is_relative(href: str) -> None:
    assert is_relative(href)


@given(st.text(max_size=12, alphabet="./a:\\%b "))
def test_what_is_relative_never_leads_above_where_it_begins(text: str) -> None:
    if is_relative(text):
        depth = 0
        climbing = True
        for segment in text.split("/"):
            assert segment
            if segment == "..":
                assert climbing
            elif segment != ".":
                climbing = False
                depth += 1
        assert depth >= 1


def test_a_style_may_say_slashes_but_no_places_inside() -> None:
    check_style({"rules": [{"name": "/a/b/c"}]}, PRIVATE, "styles/default.cs.json")
    for document in ({"url": "file:///etc"}, "<a href='/srv/geoetl/home/x'/>"):
        with pytest.raises(VerificationFailed):
            check_style(document, PRIVATE, "styles/default.sld")
