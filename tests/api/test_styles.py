"""OGC API - Styles over HTTP: what the draft asks for, against its own schemas and examples, and hostile questions."""

import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import PIL.Image
import pytest
import yaml
from fastapi import FastAPI
from fastapi.testclient import TestClient

import geoetl
from geoetl.api.app import create_app
from geoetl.api.openapi import operations
from geoetl.api.roles import ServerRole
from geoetl.api.security import Access
from geoetl.api.styles.request import offered
from geoetl.api.styles.routes import PREFIXES
from geoetl.core.principal import Role
from geoetl.platform import Platform, Registered
from tests import catalogued
from tests.catalogued import HILL, IMAGES, PLACES, SHIRES

ADDRESS = "http://127.0.0.1:8000"
LAYER = f"{PLACES}:{SHIRES}"
STYLES = f"/features/collections/{LAYER}/styles"
STYLES_REL = "http://www.opengis.net/def/rel/ogc/1.0/styles"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "ogcapi_styles"
CARTOSYM, MAPBOX = "application/vnd.ogc.cartosym+json", "application/vnd.mapbox.style+json"
# Source: OGC API - Features, part 1, link.yaml.
LINK = {
    "type": "object",
    "required": ["href", "rel"],
    "properties": {name: {"type": "string"} for name in ("href", "rel", "type", "hreflang", "title")},
}
# What no evaluator knows, so that it never matches.
UNKNOWN = {"op": "=", "args": [{"sysId": "vis.id"}, "x"]}


def a_style(title: str | None = "Shires", colour: str = "green", name: str = "North") -> dict[str, Any]:
    """Return a style that colours one shire by its name."""
    metadata: dict[str, Any] = {"metadata": {"title": title, "keywords": ["shire"]}} if title else {}
    chosen = {"op": "=", "args": [{"property": "name"}, name]}
    rules = [{"symbolizer": {"fill": {"color": "gray"}}, "nestedRules": [_rule(chosen, colour)]}]
    return {**metadata, "stylingRules": rules}


def _rule(selector: dict[str, Any], colour: str) -> dict[str, Any]:
    return {"name": "chosen", "selector": selector, "symbolizer": {"fill": {"alter": True, "color": colour}}}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    home = tmp_path_factory.mktemp("styled") / "home"
    made = geoetl.connect(home)
    catalogued.fill(made, home / "shelf")
    return made


@pytest.fixture(scope="module")
def app(platform: Platform) -> FastAPI:
    return create_app(platform)


@pytest.fixture
def client(platform: Platform, app: FastAPI) -> Iterator[TestClient]:
    """Give a client that meets errors as answers, over layers without styles."""
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as made:
        yield made
    for layer in (LAYER, IMAGES):
        platform.styles.forget(layer)


@pytest.fixture
def styled(client: TestClient) -> TestClient:
    """Give a client of a layer with the styles `day` (its default) and `night`."""
    assert client.put(f"{STYLES}/day", json=a_style("Day")).status_code == 204
    assert client.put(f"{STYLES}/night", json=a_style("Night", "darkBlue")).status_code == 204
    return client


def official(name: str) -> Path:
    """Return a file of the draft, or skip where it is not beside the checkout."""
    path = SHARED / name
    if not path.is_file():
        reason = "shared/data is not beside this checkout."
        if os.environ.get("GEOETL_TEST_REQUIRE") == "all":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return path


def check(document: Any, schema: str) -> None:
    """Check a document by a schema of the draft."""
    described = yaml.safe_load(official(schema).read_text())
    jsonschema.Draft7Validator(_at_hand(described)).validate(document)


def _at_hand(node: Any) -> Any:
    """Return a schema in OpenAPI 3.0 as JSON Schema: `nullable` is a type more, and what it refers to is here."""
    if isinstance(node, dict) and "$ref" in node:
        return LINK if "link" in node["$ref"] else {"type": "object"}
    if isinstance(node, dict):
        changed = {name: _at_hand(part) for name, part in node.items()}
        return {**changed, "type": [changed["type"], "null"]} if changed.pop("nullable", False) is True else changed
    return [_at_hand(part) for part in node] if isinstance(node, list) else node


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status and found["detail"] and found["code"]
    return found


def rels(links: list[dict[str, Any]]) -> list[str]:
    return [link["rel"] for link in links]


# -- lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_list_has_its_default_at_the_top_and_a_link_for_each_encoding(styled: TestClient, prefix: str) -> None:
    root = f"{prefix}/{LAYER}/styles"
    answer = styled.get(root)
    document = answer.json()
    check(document, "schema-styles.yaml")
    assert document["default"] == "day"
    assert [(one["id"], one["title"]) for one in document["styles"]] == [("day", "Day"), ("night", "Night")]
    assert all("default" not in one for one in document["styles"])
    assert document["links"][0] == {
        "rel": "self",
        "type": "application/json",
        "title": "This document",
        "href": f"{ADDRESS}{root}",
    }
    links = document["styles"][1]["links"]
    sheets = {link["href"].rpartition("f=")[2]: link for link in links if link["rel"] == "stylesheet"}
    assert {"cartosym", "mapbox", "leaflet", "sld"} <= sheets.keys()
    assert sheets["mapbox"]["type"] == MAPBOX and sheets["cartosym"]["type"] == CARTOSYM
    assert rels(links).count("describedby") == 1 and "preview" in rels(links)
    for link in links:
        followed = styled.get(link["href"])
        assert followed.status_code == 200, link
        assert followed.headers["content-type"].split("; charset")[0] == link["type"]


def test_a_layer_without_styles_has_an_empty_list(client: TestClient) -> None:
    for layer in (LAYER, IMAGES, PLACES):
        document = client.get(f"/collections/{layer}/styles").json()
        check(document, "schema-styles.yaml")
        assert document["styles"] == [] and "default" not in document


def test_an_unchanged_list_is_not_sent_again(styled: TestClient) -> None:
    tag = styled.get(STYLES).headers["etag"]
    again = styled.get(STYLES, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert styled.patch(STYLES, json={"default": "night"}).status_code == 204
    assert styled.get(STYLES, headers={"If-None-Match": tag}).status_code == 200


def test_collections_tell_their_styles_and_link_to_them(styled: TestClient) -> None:
    one = styled.get(f"/features/collections/{LAYER}").json()
    check(one, "schema-collection-styles.yaml")
    assert one["defaultStyle"] == "day"
    assert [style["id"] for style in one["styles"]] == ["day", "night"]
    listed = {found["id"]: found for found in styled.get("/features/collections").json()["collections"]}
    assert listed[LAYER]["styles"] == one["styles"]
    for path in (
        f"/features/collections/{LAYER}",
        f"/stac/collections/{IMAGES}",
        f"/stac/collections/{PLACES}/items/{SHIRES}",
    ):
        links = [link for link in styled.get(path).json()["links"] if link["rel"] == STYLES_REL]
        assert len(links) == 1
        assert styled.get(links[0]["href"]).status_code == 200


def test_a_collection_that_is_read_changed_and_sent_back_keeps_no_link_of_the_api(client: TestClient) -> None:
    path = f"/stac/collections/{IMAGES}"
    document = {**client.get(path).json(), "title": "Changed"}
    assert client.put(path, json=document).status_code == 200
    assert rels(client.get(path).json()["links"]).count(STYLES_REL) == 1


def test_the_classes_that_are_kept_are_told_where_conformance_is(platform: Platform) -> None:
    expected = {f"http://www.opengis.net/spec/ogcapi-styles-1/1.0/conf/{name}" for name in ("core", "style-info")}
    managing = {
        f"http://www.opengis.net/spec/ogcapi-styles-1/1.0/conf/{name}" for name in ("manage-styles", "style-validation")
    }
    for role, writes in ((ServerRole.ALL, True), (ServerRole.READER, False)):
        client = TestClient(create_app(platform, role), base_url=ADDRESS)
        for path in ("/features/conformance", "/stac/conformance"):
            told = set(client.get(path).json()["conformsTo"])
            assert expected <= told
            assert (managing <= told, bool(managing & told)) == (writes, writes)


# -- one style -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_style_comes_in_the_encoding_that_is_asked_for(styled: TestClient, prefix: str) -> None:
    here = f"{prefix}/{LAYER}/styles/night"
    by_parameter = {
        name: styled.get(f"{here}?f={name}") for name in ("cartosym", "mapbox", "maplibre", "leaflet", "sld")
    }
    assert by_parameter["cartosym"].json() == a_style("Night", "darkBlue")
    assert by_parameter["mapbox"].json()["version"] == 8
    assert by_parameter["mapbox"].content == by_parameter["maplibre"].content
    assert {"default", "rules"} <= by_parameter["leaflet"].json().keys()
    assert b"StyledLayerDescriptor" in by_parameter["sld"].content
    for name, answer in by_parameter.items():
        assert answer.status_code == 200
        accepted = styled.get(here, headers={"Accept": answer.headers["content-type"]})
        assert accepted.content == answer.content, name
        assert "Accept" in accepted.headers["vary"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, CARTOSYM),
        ("*/*", CARTOSYM),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", CARTOSYM),
        ("application/json", "application/json"),
        (f"image/png, {MAPBOX};q=0.5", MAPBOX),
        (f"{CARTOSYM};q=0.1, {MAPBOX};q=0.9", MAPBOX),
        (f"{MAPBOX};q=0, */*;q=0.1", CARTOSYM),
        ("application/vnd.ogc.sld+xml;version=1.1", "application/vnd.ogc.sld+xml;version=1.1"),
        ("application/vnd.ogc.sld+xml", "application/vnd.ogc.sld+xml;version=1.1"),
    ],
)
def test_without_f_the_header_accept_chooses(styled: TestClient, accept: str | None, kind: str) -> None:
    answer = styled.get(f"{STYLES}/night", headers={"Accept": accept} if accept else {})
    assert answer.headers["content-type"].replace(" ", "") == kind


@pytest.mark.parametrize("accept", ["image/png", "application/vnd.ogc.sld+xml;version=1.0", f"{MAPBOX};q=0", "x", ";;"])
def test_what_no_encoding_is_in_is_406(styled: TestClient, accept: str) -> None:
    assert CARTOSYM in problem(styled.get(f"{STYLES}/night", headers={"Accept": accept}), 406)["hint"]


def test_an_unknown_encoding_is_400_with_those_that_there_are(styled: TestClient) -> None:
    told = problem(styled.get(f"{STYLES}/night?f=geocss"), 400)
    assert told["field"] == "f" and "mapbox" in told["hint"]
    assert problem(styled.get(f"{STYLES}/night/losses?f=geocss"), 400)["field"] == "f"


def test_an_unchanged_style_is_not_sent_again_in_any_encoding(styled: TestClient) -> None:
    tags = set()
    for name in offered("vector"):
        answer = styled.get(f"{STYLES}/night?f={name}")
        tags.add(answer.headers["etag"])
        again = styled.get(f"{STYLES}/night?f={name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert len(tags) >= 4
    assert styled.put(f"{STYLES}/night", json=a_style("Night", "black")).status_code == 204
    assert styled.get(f"{STYLES}/night", headers={"If-None-Match": ", ".join(tags)}).status_code == 200


def test_what_an_encoding_loses_is_counted_and_listed(client: TestClient) -> None:
    document = a_style()
    document["stylingRules"].append({"selector": UNKNOWN, "symbolizer": {"fill": {"color": "red"}}})
    assert client.put(f"{STYLES}/lossy", json=document).status_code == 204
    answer = client.get(f"{STYLES}/lossy?f=leaflet")
    losses = client.get(f"{STYLES}/lossy/losses?f=leaflet").json()
    assert int(answer.headers["x-losses"]) == len(losses["lossy"]) > 0
    assert all(one["pointer"].startswith("/stylingRules") and one["reason"] for one in losses["lossy"])
    sheets = client.get(f"{STYLES}/lossy/metadata").json()["stylesheets"]
    assert [one["lossy"] for one in sheets if one["link"]["href"].endswith("f=leaflet")] == [len(losses["lossy"])]
    assert f"{STYLES}/lossy/losses?f=leaflet" in answer.headers["link"]


def test_the_styles_of_rasters_are_those_of_their_collection(client: TestClient) -> None:
    here = f"/collections/{IMAGES}/styles/heights"
    style = {"stylingRules": [{"symbolizer": {"colorMap": [[0, "black"], [1000, "white"]]}}]}
    assert client.put(here, json=style).status_code == 204
    assert client.get(here).json() == style
    about = client.get(f"{here}/metadata").json()
    check(about, "schema-style-metadata.yaml")
    assert about["layers"][0]["dataType"] == "coverage"


# -- metadata --------------------------------------------------------------------------------------------------------


def test_metadata_tell_what_a_style_is_and_needs(styled: TestClient) -> None:
    about = styled.get(f"{STYLES}/night/metadata").json()
    check(about, "schema-style-metadata.yaml")
    assert (about["id"], about["title"], about["keywords"]) == ("night", "Night", ["shire"])
    assert (about["scope"], about["version"]) == ("style", "1")
    layer = about["layers"][0]
    assert (layer["id"], layer["dataType"], layer["geometryType"]) == (LAYER, "vector", "polygons")
    assert layer["propertiesSchema"] == {"name": {"type": "string"}}
    assert styled.get(layer["sampleData"]["href"]).json()["numberReturned"] == 2
    natives = [one["link"]["type"] for one in about["stylesheets"] if one["native"]]
    assert natives == [CARTOSYM]
    mapbox = next(one for one in about["stylesheets"] if one["link"]["type"] == MAPBOX)
    assert mapbox["version"] == "8" and mapbox["specification"].startswith("https://")
    for link in [*about["links"], *(one["link"] for one in about["stylesheets"])]:
        assert styled.get(link["href"]).status_code == 200, link


def test_the_patches_of_the_draft_change_and_remove_members(styled: TestClient) -> None:
    here = f"{STYLES}/night/metadata"
    before = styled.get(here).json()

    def patched(name: str) -> dict[str, Any]:
        body = official(name).read_bytes()
        answer = styled.patch(here, content=body, headers={"Content-Type": "application/merge-patch+json"})
        assert answer.status_code == 204, answer.text
        found: dict[str, Any] = styled.get(here).json()
        check(found, "schema-style-metadata.yaml")
        return found

    first = patched("merge-patch-1.json")
    assert (first["pointOfContact"], first["accessConstraints"]) == ("Jane Doe", "restricted")
    assert first["dates"] == {"revision": "2019-05-17T11:46:12Z"}
    emptied = patched("merge-patch-null.json")
    assert emptied["dates"] == {} and not {"pointOfContact", "accessConstraints"} & emptied.keys()
    added = patched("merge-patch-keywords-add.json")
    assert added["keywords"] == ["basemap", "TDS", "TDS 6.1", "OGC API", "new keyword"]
    assert patched("merge-patch-keywords-remove.json")["keywords"] == ["basemap", "TDS 6.1", "OGC API", "new keyword"]
    after = patched("merge-patch-keywords-null.json")
    assert "keywords" not in after
    assert (after["title"], after["created"]) == (before["title"], before["created"])
    assert styled.get(f"{STYLES}/night?f=cartosym").json()["metadata"] == {"title": "Night"}


def test_the_metadata_of_the_draft_can_be_put(styled: TestClient) -> None:
    example = json.loads(official("style-metadata-night.json").read_text())
    here = f"{STYLES}/night/metadata"
    assert styled.put(here, json=example).status_code == 204
    about = styled.get(here).json()
    check(about, "schema-style-metadata.yaml")
    for name in ("title", "description", "keywords", "pointOfContact", "accessConstraints", "dates"):
        assert about[name] == example[name]
    assert about["layers"][0]["id"] == LAYER
    assert styled.get(STYLES).json()["styles"][1]["title"] == example["title"]
    assert styled.put(here, json=about).status_code == 204
    assert {**styled.get(here).json(), "updated": ""} == {**about, "updated": ""}


@pytest.mark.parametrize(
    ("method", "body", "field"),
    [
        ("PATCH", {"titel": "x"}, "/titel"),
        ("PATCH", {"title": 1}, "/title"),
        ("PATCH", {"version": "9"}, "/version"),
        ("PATCH", {"id": "other"}, "/id"),
        ("PUT", {"id": "other"}, "/id"),
        ("PUT", {"id": "night", "keywords": "x"}, "/keywords"),
        ("PUT", {"id": "night", "</script>": "x"}, "/</script>"),
    ],
)
def test_metadata_that_are_not_right_are_400_with_a_pointer(
    styled: TestClient, method: str, body: dict[str, Any], field: str
) -> None:
    before = styled.get(f"{STYLES}/night/metadata").json()
    told = problem(styled.request(method, f"{STYLES}/night/metadata", json=body), 400)
    assert told["field"] == field
    assert styled.get(f"{STYLES}/night/metadata").json() == before


# -- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_new_style_is_201_with_its_address_and_one_that_is_there_409(client: TestClient, prefix: str) -> None:
    root = f"{prefix}/{LAYER}/styles"
    made = client.post(root, json=a_style("Green Areas"), headers={"Content-Type": CARTOSYM})
    assert made.status_code == 201
    assert made.headers["location"] == f"{ADDRESS}{root}/Green-Areas"
    check(made.json(), "schema-style-metadata.yaml")
    assert client.get(made.headers["location"]).json() == a_style("Green Areas")
    assert problem(client.post(root, json=a_style("Green Areas", "red")), 409)["code"] == "conflict"
    assert client.get(made.headers["location"]).json() == a_style("Green Areas")
    unnamed = client.post(root, json=a_style(None))
    assert unnamed.status_code == 201 and unnamed.json()["id"] not in ("", "Green-Areas")


def test_the_friendly_dialect_is_taken_and_canonical_is_given(client: TestClient) -> None:
    friendly = {
        "name": "simple",
        "title": "Simple",
        "stylingRules": [{"symbolizer": {"type": "Polygon", "fill": {"color": "#00ff00"}, "stroke": {"width": 1.5}}}],
    }
    made = client.post(STYLES, json=friendly)
    assert made.status_code == 201, made.text
    assert made.headers["location"].endswith("/simple")
    symbolizer = client.get(f"{STYLES}/simple").json()["stylingRules"][0]["symbolizer"]
    assert symbolizer["fill"]["color"] == [0, 255, 0] and symbolizer["stroke"]["width"] == {"px": 1.5}


def test_put_makes_or_replaces_and_delete_removes(client: TestClient) -> None:
    here = f"{STYLES}/mine"
    assert client.put(here, json=a_style()).status_code == 204
    assert client.put(here, json=a_style(colour="red")).status_code == 204
    assert client.get(here).json() == a_style(colour="red")
    assert client.get(f"{here}/metadata").json()["version"] == "2"
    answer = client.delete(here)
    assert (answer.status_code, answer.content) == (204, b"")
    for path in (here, f"{here}/metadata", f"{here}/losses?f=sld", f"{here}/legend"):
        assert problem(client.get(path), 404)["code"] == "not_found"
    for method in ("DELETE", "PATCH"):
        path = here if method == "DELETE" else f"{here}/metadata"
        problem(client.request(method, path, json={} if method == "PATCH" else None), 404)


def test_the_default_is_chosen_with_a_patch_of_the_list(styled: TestClient) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    for patch, default in (({"default": "night"}, "night"), ({}, "night"), ({"default": None}, None)):
        assert styled.patch(STYLES, content=json.dumps(patch), headers=headers).status_code == 204
        assert styled.get(STYLES).json().get("default") == default
    assert problem(styled.patch(STYLES, json={"default": "nihgt"}), 404)["hint"] == "Did you mean 'night'?"
    assert problem(styled.patch(STYLES, json={"default": 1}), 400)["field"] == "/default"
    assert problem(styled.patch(STYLES, json={"styles": []}), 400)["field"] == "/styles"
    assert styled.get(STYLES).json().get("default") is None


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_dry_run_checks_and_keeps_nothing(client: TestClient, method: str) -> None:
    path = f"{STYLES}/shires" if method == "PUT" else STYLES
    for query in ("dry-run=true", "dry-run=True"):
        answer = client.request(method, f"{path}?{query}", json=a_style())
        assert (answer.status_code, answer.content) == (204, b"")
    told = problem(client.request(method, f"{path}?dry-run=true", json={"stylingRules": [{"symbolizer": 1}]}), 400)
    assert told["field"].startswith("/stylingRules/0")
    assert client.get(STYLES).json()["styles"] == []
    assert client.request(method, path, json=a_style()).status_code in (201, 204)
    if method == "POST":
        problem(client.post(f"{STYLES}?dry-run=true", json=a_style()), 409)


def test_strict_handling_refuses_what_is_doubtful_with_a_pointer(client: TestClient) -> None:
    doubtful = a_style()
    doubtful["stylingRules"][0]["selector"] = UNKNOWN
    strict = {"Prefer": "handling=strict"}
    told = problem(client.put(f"{STYLES}/mine", json=doubtful, headers=strict), 400)
    assert told["field"].startswith("/stylingRules/0")
    assert told["errors"][0]["pointer"] == told["field"]
    assert client.get(STYLES).json()["styles"] == []
    for headers in ({}, {"Prefer": "handling=lenient"}):
        answer = client.put(f"{STYLES}/mine", json=doubtful, headers=headers)
        assert answer.status_code == 204 and "preference-applied" not in answer.headers
    answer = client.put(f"{STYLES}/mine", json=a_style(), headers={"Prefer": "respond-async, handling=strict"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (204, "handling=strict")


@pytest.mark.parametrize("width", [-3, {"mm": -0.5}])
def test_a_width_below_nothing_is_refused_by_strict_handling(client: TestClient, width: Any) -> None:
    # The official schema takes any number; without strict handling it is drawn as none.
    doubtful = a_style()
    doubtful["stylingRules"][0]["symbolizer"]["stroke"] = {"width": width}
    answer = client.put(f"{STYLES}/mine", json=doubtful, headers={"Prefer": "handling=strict"})
    assert problem(answer, 400)["field"] == "/stylingRules/0/symbolizer/stroke/width"


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_style_names_tiles_that_a_map_of_another_server_finds(styled: TestClient, prefix: str) -> None:
    (source,) = styled.get(f"{prefix}/{LAYER}/styles/night?f=mapbox").json()["sources"].values()
    assert source["url"].startswith(str(styled.base_url))
    told = styled.get(source["url"])
    assert (told.status_code, told.json()["tilejson"]) == (200, "3.0.0")
    here = f"{prefix}/{IMAGES}/styles/plain"
    styled.put(here, json={"stylingRules": []})
    template = styled.get(f"{here}?f=leaflet").json()["tileLayer"]["url"]
    assert styled.get(f"{here}?f=mapbox").json()["sources"]["layer"]["tiles"] == [template]
    assert template.startswith(str(styled.base_url)) and "{z}/{x}/{y}" in template
    styled.put(here, json={"stylingRules": [{"symbolizer": {"visibility": False}}]})
    assert styled.get(f"{here}?f=leaflet").json() == {"tileLayer": None}


def test_a_change_of_what_was_changed_meanwhile_is_412(styled: TestClient) -> None:
    here = f"{STYLES}/night"
    tag = styled.get(f"{here}?f=mapbox").headers["etag"]
    changed = styled.put(here, json=a_style("Night", "black"), headers={"If-Match": tag})
    assert changed.status_code == 204
    about = styled.get(f"{here}/metadata")
    for method, path, body in (
        ("PUT", here, a_style("Night", "red")),
        ("DELETE", here, None),
        ("PATCH", f"{here}/metadata", {"title": "x"}),
        ("PUT", f"{here}/metadata", {"title": "x"}),
    ):
        for headers in ({"If-Match": tag}, {"If-Match": '"x"'}, {"If-Match": "nonsense"}):
            assert problem(styled.request(method, path, json=body, headers=headers), 412)["code"] == "outdated"
    problem(styled.put(here, json=a_style(), headers={"If-None-Match": "*"}), 412)
    problem(styled.put(f"{STYLES}/new", json=a_style(), headers={"If-Match": "*"}), 412)
    assert styled.get(f"{here}/metadata").json() == about.json()
    tags = f'"x", {changed.headers["etag"]}'
    assert styled.put(here, json=a_style("Night", "red"), headers={"If-Match": tags}).status_code == 204
    etag = styled.get(f"{here}/metadata").headers["etag"]
    assert styled.patch(f"{here}/metadata", json={"title": "x"}, headers={"If-Match": etag}).status_code == 204
    assert styled.put(f"{STYLES}/new", json=a_style(), headers={"If-None-Match": "*"}).status_code == 204


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (CARTOSYM, 204),
        ("application/json", 204),
        ("application/json; charset=utf-8", 204),
        (MAPBOX, 415),
        ("application/vnd.leaflet.style+json", 415),
        ("application/vnd.ogc.sld+xml;version=1.1", 415),
        ("application/geo+json", 415),
        ("text/plain", 415),
    ],
)
def test_only_cartosym_is_taken(client: TestClient, kind: str, status: int) -> None:
    body = json.dumps(a_style())
    answer = client.put(f"{STYLES}/mine", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    if status == 415:
        assert CARTOSYM in problem(answer, 415)["hint"] or "json" in answer.json()["hint"]


def test_of_many_who_write_at_once_nobody_is_lost_and_one_default_is_left(client: TestClient) -> None:
    assert client.put(f"{STYLES}/shared", json=a_style("0")).status_code == 204
    statuses: list[int] = []

    def write(number: int) -> None:
        for turn in range(4):
            statuses.append(client.put(f"{STYLES}/own-{number}", json=a_style(f"{turn}")).status_code)
            statuses.append(client.patch(STYLES, json={"default": f"own-{number}"}).status_code)
            while True:
                read = client.get(f"{STYLES}/shared?f=cartosym")
                count = int(read.json()["metadata"]["title"]) + 1
                sent = client.put(
                    f"{STYLES}/shared", json=a_style(str(count)), headers={"If-Match": read.headers["etag"]}
                )
                if sent.status_code == 204:
                    break
                statuses.append(204 if sent.status_code == 412 else sent.status_code)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) == {204}
    document = client.get(STYLES).json()
    assert document["default"].startswith("own-") and len(document["styles"]) == 6
    assert client.get(f"{STYLES}/shared").json()["metadata"]["title"] == "20"


# -- who may ---------------------------------------------------------------------------------------------------------


def test_a_server_that_only_reads_has_no_route_that_writes_styles(platform: Platform) -> None:
    app = create_app(platform, ServerRole.READER)
    styles = [(method, path) for method, path, _ in operations(app.openapi()) if "/styles" in path]
    assert styles and {method for method, _ in styles} == {"get"}
    client = TestClient(app, base_url=ADDRESS)
    assert client.put(f"{STYLES}/mine", json=a_style()).status_code == 405


def test_viewers_read_and_editors_write() -> None:
    access = Access()
    for prefix in PREFIXES:
        path = f"{prefix}/{LAYER}/styles"
        assert access.needed("http", "GET", path) is Role.VIEWER
        for method, below in (("POST", ""), ("PATCH", ""), ("PUT", "/a"), ("DELETE", "/a"), ("PATCH", "/a/metadata")):
            assert access.needed("http", method, f"{path}{below}") is Role.EDITOR


# -- hostile ---------------------------------------------------------------------------------------------------------

MARKUP = "</script><script>alert(1)</script>');alert(1)//"


def test_markup_in_a_style_stays_data_in_every_answer(client: TestClient) -> None:
    style = a_style(MARKUP, name=MARKUP)
    style["stylingRules"][0]["nestedRules"][0]["name"] = MARKUP
    made = client.post(STYLES, json=style)
    assert made.status_code == 201, made.text
    here = made.headers["location"]
    assert "<" not in here
    assert made.json()["title"] == MARKUP
    for name in offered("vector"):
        answer = client.get(f"{here}?f={name}")
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "html" not in answer.headers["content-type"] and "javascript" not in answer.headers["content-type"]
        if "xml" in answer.headers["content-type"]:
            assert "<script>" not in answer.text
        else:
            json.loads(answer.text)
    svg = client.get(f"{here}/legend?f=svg")
    assert svg.status_code == 200 and "<script>" not in svg.text
    assert svg.headers["content-security-policy"] == "sandbox; default-src 'none'"


@pytest.mark.parametrize(
    "style_id",
    ["..%2fx", "%2e%2e", "%00", "a%00b", "%3C%2Fscript%3E", "con", "x" * 300, "%E2%80%AE", "a%20b", "a.", "-a"],
)
def test_an_id_that_is_none_is_a_clean_4xx(client: TestClient, style_id: str) -> None:
    for method, body in (("GET", None), ("PUT", a_style()), ("DELETE", None)):
        answer = client.request(method, f"{STYLES}/{style_id}", json=body)
        assert answer.status_code in (400, 404, 405), (method, answer.text)
    assert client.get(STYLES).json()["styles"] == []


@pytest.mark.parametrize("layer", ["nowhere", "places:nothing", "places:shires:x", ":", "a:", ":b", "..%2f", "%3Cb%3E"])
def test_a_layer_that_is_none_is_a_clean_4xx(client: TestClient, layer: str) -> None:
    for prefix in PREFIXES:
        for method, path, body in (("GET", "", None), ("PUT", "/a", a_style()), ("POST", "", a_style())):
            answer = client.request(method, f"{prefix}/{layer}/styles{path}", json=body)
            assert answer.status_code in (400, 404, 405), answer.text


@pytest.mark.parametrize(
    "style",
    [
        {},
        {"stylingRules": None},
        {"stylingRules": [{"symbolizer": {"fill": {"color": "no such"}}}]},
        {"stylingRules": [{"symbolizer": {"opacity": "much"}}]},
        {"stylingRules": [{"symbolizer": {"fill": {"color": {"op": "loop", "args": []}}}}]},
        {"stylingRules": [{"selector": {"op": "=", "args": 1}}]},
        {"$include": "http://127.0.0.1:1/x", "stylingRules": [1]},
    ],
)
def test_what_is_no_style_is_400_with_a_pointer(client: TestClient, style: dict[str, Any]) -> None:
    told = problem(client.put(f"{STYLES}/mine", json=style), 400)
    assert told["code"] == "invalid_style"
    assert told["field"] == "" or told["field"].startswith("/")


def test_what_is_huge_or_deep_is_refused(client: TestClient) -> None:
    rules = b",".join([b'{"symbolizer":{"opacity":1}}'] * 100_000)
    assert client.put(
        f"{STYLES}/mine", content=b'{"stylingRules":[' + rules + b"]}", headers={"Content-Type": CARTOSYM}
    ).status_code in (400, 413)
    deep = b'{"op":"not","args":[' * 60 + b"true" + b"]}" * 60
    body = b'{"stylingRules":[{"selector":' + deep + b',"symbolizer":{}}]}'
    problem(client.put(f"{STYLES}/mine", content=body, headers={"Content-Type": CARTOSYM}), 400)
    for text in (b"[]", b"null", b'"x"', b"{", b'{"stylingRules":[],"stylingRules":[]}', b'{"stylingRules":[NaN]}'):
        problem(client.put(f"{STYLES}/mine", content=text, headers={"Content-Type": CARTOSYM}), 400)
    assert client.get(STYLES).json()["styles"] == []


# -- pictures and programs -------------------------------------------------------------------------------------------


def test_a_legend_comes_as_json_svg_and_png(styled: TestClient) -> None:
    here = f"{STYLES}/night/legend"
    for form, kind in (("json", "application/json"), ("svg", "image/svg+xml"), ("png", "image/png")):
        answer = styled.get(f"{here}?f={form}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        again = styled.get(f"{here}?f={form}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert styled.get(f"{here}?f=png").content.startswith(b"\x89PNG")
    assert problem(styled.get(f"{here}?f=gif"), 400)


def test_the_program_for_leaflet_is_served_as_a_module(client: TestClient) -> None:
    answer = client.get("/api/styles/leaflet-style.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "export function" in answer.text
    again = client.get("/api/styles/leaflet-style.js", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["", "/day", "/day?f=sld", "/day/metadata", "/day/losses?f=sld", "/day/legend?f=png"])
def test_head_has_the_headers_of_get_and_no_body(styled: TestClient, path: str) -> None:
    got, headed = styled.get(f"{STYLES}{path}"), styled.head(f"{STYLES}{path}")
    assert (headed.status_code, headed.content) == (200, b"")
    for name in ("content-type", "content-length", "etag", "x-losses"):
        assert headed.headers.get(name) == got.headers.get(name), name
    known = styled.head(f"{STYLES}/day", headers={"If-None-Match": styled.get(f"{STYLES}/day").headers["etag"]})
    assert known.status_code == 304
    assert styled.head(f"{STYLES}/none").status_code == 404


def test_a_method_that_is_not_taken_is_told_with_all_that_are(platform: Platform, styled: TestClient) -> None:
    for path, allowed in (
        ("", "GET, HEAD, POST, PATCH"),
        ("/day", "GET, HEAD, PUT, DELETE"),
        ("/day/metadata", "GET, HEAD, PUT, PATCH"),
        ("/day/legend", "GET, HEAD"),
    ):
        answer = styled.request("TRACE", f"{STYLES}{path}")
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.json()["hint"] == f"It takes {allowed}."
    reader = TestClient(create_app(platform, ServerRole.READER), base_url=ADDRESS)
    assert reader.put(f"{STYLES}/mine", json=a_style()).headers["allow"] == "GET, HEAD"


def test_thumbnails_follow_the_default_style_of_a_coverage(platform: Platform, client: TestClient) -> None:
    platform.illustrate(Registered(collection=IMAGES, items=(HILL,)))

    def thumbnail() -> Any:
        picture = platform.catalog.item(IMAGES, HILL)["assets"]["thumbnail"]
        content = client.get(f"/assets/{IMAGES}/{HILL}/thumbnail").content
        with PIL.Image.open(io.BytesIO(content)) as opened:
            return picture["href"], opened.convert("RGB").getpixel((opened.width // 2, opened.height // 2))

    plain, seen = thumbnail(), {}
    merging = {"Content-Type": "application/merge-patch+json"}
    for name, colour in (("red", [255, 0, 0]), ("blue", [0, 0, 255])):
        symbolizer = {"singleChannel": {"property": "height"}, "colorMap": [[-1e6, colour], [1e6, colour]]}
        style = {"stylingRules": [{"symbolizer": symbolizer}]}
        assert client.put(f"/collections/{IMAGES}/styles/{name}", json=style).status_code == 204
        assert client.patch(f"/collections/{IMAGES}/styles", json={"default": name}, headers=merging).status_code == 204
        seen[name] = thumbnail()
        assert seen[name][1] == tuple(colour)
    assert len({plain[0], *(href for href, _ in seen.values())}) == 3
