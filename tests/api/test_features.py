"""OGC API - Features over HTTP: what the standard asks for, against geopandas, and hostile questions."""

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import geopandas as gpd
import numpy as np
import pytest
import shapely
from fastapi.testclient import TestClient

import geoetl
from geoetl.api.app import create_app as create_api
from geoetl.api.limits import SEARCHES
from geoetl.platform import Platform
from tests import catalogued
from tests.catalogued import PLACES, SHIRES

ADDRESS = "http://127.0.0.1:8000"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
TOWNS = "/features/collections/places:towns"
ROWS = 60


def towns() -> gpd.GeoDataFrame:
    """Return towns along a spiral around the Earth, in the grid of UTM 32 where they fit: some over 180 degrees."""
    index = np.arange(ROWS)
    lon = (index * 37.0 + 180) % 360 - 180
    names = ["Tromsø", "São Paulo", "東京", "Κόρινθος", "O'Hare", "", "<b>x</b>"]
    return gpd.GeoDataFrame(
        {
            "name": [f"{names[n % 7]} {n}" for n in index],
            "people": np.where(index % 9 == 0, np.nan, index * 1000.0),
            "rank": index % 4,
            "founded": gpd.pd.to_datetime([f"{1900 + n}-01-01" for n in index]),
        },
        geometry=[None if n == 5 else shapely.Point(lon[n], n - 30) for n in index],
        crs="EPSG:4326",
    )


def grid() -> gpd.GeoDataFrame:
    """Return squares in a reference system whose first axis points north (EPSG:3035)."""
    boxes = [shapely.box(x, y, x + 1e5, y + 1e5) for x in (4.0e6, 4.1e6) for y in (3.0e6, 3.1e6, 3.2e6)]
    return gpd.GeoDataFrame({"fid": range(10, 16)}, geometry=boxes, crs="EPSG:3035")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Give a platform with two vector items more."""
    home = tmp_path_factory.mktemp("features") / "home"
    made = geoetl.connect(home)
    catalogued.fill(made, home / "shelf")
    for name, frame in (("towns", towns()), ("grid", grid())):
        path = home / "shelf" / f"{name}.parquet"
        frame.to_parquet(path, write_covering_bbox=True, schema_version="1.1.0", row_group_size=8)
        item = dict(made.catalog.item(PLACES, SHIRES))
        item |= {"id": name, "properties": {**item["properties"], "title": name.title(), "version": "3 é"}}
        item["assets"] = {"data": {**item["assets"]["data"], "href": str(path)}}
        item["bbox"], item["geometry"] = [-180, -90, 180, 90], {"type": "Point", "coordinates": [0, 0]}
        if name == "grid":
            item["properties"]["proj:code"] = "EPSG:3035"
        made.catalog.upsert_items([item])
    return made


@pytest.fixture(scope="module")
def client(platform: Platform) -> Iterator[TestClient]:
    """Give a client that meets errors as answers."""
    with TestClient(create_api(platform), base_url=ADDRESS, raise_server_exceptions=False) as made:
        yield made


def get(client: TestClient, path: str, **parameters: Any) -> Any:
    """Return a document that is there, read by a strict parser."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    answer = client.get(path, params={name.replace("_", "-"): str(value) for name, value in parameters.items()})
    assert answer.status_code == 200, answer.text
    return json.loads(answer.content, parse_constant=refuse)


def links_of(document: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for link in document["links"]:
        assert link["href"].startswith(ADDRESS) and link["type"], link
        found.setdefault(link["rel"], []).append(link)
    return found


def numbers(document: Any) -> list[int]:
    return [feature["id"] for feature in document["features"]]


# -- documents -------------------------------------------------------------------------------------------------------


def test_every_link_from_the_landing_page_down_leads_somewhere(client: TestClient) -> None:
    seen: set[str] = set()
    waiting = ["/features"]
    while waiting:
        path = waiting.pop()
        if path in seen or len(seen) > 60:
            continue
        seen.add(path)
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.text[:300])
        kind = answer.headers["content-type"].partition(";")[0]
        if path.startswith("/features") and "json" in kind:
            document = answer.json()
            for linked in [document, *document.get("collections", ())]:
                for link in linked.get("links", ()):
                    parts = urlsplit(link["href"])
                    assert f"{parts.scheme}://{parts.netloc}" == ADDRESS
                    waiting.append(f"{parts.path}?{parts.query}" if parts.query else parts.path)
    kinds = ("/collections/places:towns/items", "/queryables", "/sortables", "/schema", "/assets/", "/stac/collections")
    for part in (*kinds, "f=csv", "f=parquet", "/conformance", "/api/openapi.json", "/tiles/vector/"):
        assert any(part in path for path in seen), part


def test_the_documents_have_the_members_of_the_standard(client: TestClient) -> None:
    landing = get(client, "/features")
    assert {"self", "service-desc", "service-doc", "conformance", "data"} <= links_of(landing).keys()
    classes = get(client, "/features/conformance")["conformsTo"]
    assert "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core" in classes
    assert not [one for one in classes if one.endswith(("/html", "/oas30", "/gmlsf0"))]
    page = get(client, "/features/collections")
    assert {one["id"] for one in page["collections"]} == {"places:shires", "places:towns", "places:grid"}
    for one in page["collections"]:
        assert {"id", "title", "extent", "links", "crs", "itemType"} <= one.keys()
        assert one["extent"]["spatial"]["crs"] == CRS84
        assert {"self", "items", "describedby"} <= links_of(one).keys()
        whole = get(client, f"/features/collections/{one['id']}")
        assert {name: whole[name] for name in ("id", "title", "crs", "storageCrs")} == {
            name: one[name] for name in ("id", "title", "crs", "storageCrs")
        }
    own = get(client, "/features/collections/places:grid")
    assert own["storageCrs"] == f"{EPSG}3035"
    assert own["crs"] == [CRS84, f"{EPSG}4326", f"{EPSG}3857", f"{EPSG}3035"]
    time = get(client, TOWNS)["extent"]["temporal"]["interval"]
    assert time == [["1900-01-01T00:00:00Z", "1959-01-01T00:00:00Z"]]


def test_collections_come_in_pages(client: TestClient) -> None:
    found: list[str] = []
    path = "/features/collections?limit=1"
    for _ in range(10):
        page = client.get(path).json()
        found += [one["id"] for one in page["collections"]]
        following = links_of(page).get("next")
        if not following:
            break
        path = following[0]["href"].removeprefix(ADDRESS)
    assert sorted(found) == ["places:grid", "places:shires", "places:towns"]


def test_queryables_sortables_and_schema_are_json_schemas_of_the_properties(client: TestClient) -> None:
    queryables = get(client, f"{TOWNS}/queryables")
    assert queryables["$id"] == f"{ADDRESS}{TOWNS}/queryables"
    assert queryables["additionalProperties"] is False
    assert queryables["properties"]["geometry"]["$ref"] == "https://geojson.org/schema/Geometry.json"
    kinds = {name: (one.get("type"), one.get("format")) for name, one in queryables["properties"].items()}
    assert kinds["name"] == ("string", None)
    assert kinds["people"] == ("number", None)
    assert kinds["rank"] == ("integer", None)
    assert kinds["founded"] == ("string", "date-time")
    assert queryables["properties"]["founded"]["x-ogc-role"] == "primary-instant"
    assert set(get(client, f"{TOWNS}/sortables")["properties"]) == {"name", "people", "rank", "founded"}
    schema = get(client, "/features/collections/places:grid/schema")
    assert schema["properties"]["fid"]["x-ogc-role"] == "id"
    answer = client.get(f"{TOWNS}/schema")
    assert answer.headers["content-type"] == "application/schema+json"


# -- items -----------------------------------------------------------------------------------------------------------


def test_items_are_geojson_with_numbers_links_and_names_in_every_script(client: TestClient) -> None:
    answer = client.get(f"{TOWNS}/items")
    assert answer.headers["content-type"] == "application/geo+json"
    assert answer.headers["content-crs"] == f"<{CRS84}>"
    document = get(client, f"{TOWNS}/items")
    frame = towns()
    assert (document["numberMatched"], document["numberReturned"], len(document["features"])) == (ROWS, 10, 10)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["timeStamp"])
    assert [one["properties"]["name"] for one in document["features"]] == frame["name"][:10].tolist()
    assert [one["properties"]["people"] for one in document["features"]][:2] == [None, 1000.0]
    assert document["features"][5]["geometry"] is None
    assert document["source"]["dataset_version"] == "3 é"
    assert {"self", "alternate", "next", "collection"} <= links_of(document).keys()
    assert [one["type"] for one in links_of(document)["alternate"]] == ["text/csv", "application/vnd.apache.parquet"]


def test_next_links_visit_every_feature_once_and_prev_links_lead_back(client: TestClient) -> None:
    path = f"{TOWNS}/items?limit=7&sortby=-rank,name&filter={quote('rank >= 1')}"
    seen: list[int] = []
    trail: list[str] = []
    while True:
        document = client.get(path).json()
        seen += numbers(document)
        trail.append(path)
        if "next" not in links_of(document):
            break
        path = links_of(document)["next"][0]["href"].removeprefix(ADDRESS)
    frame = towns()
    expected = frame[frame["rank"] >= 1].sort_values(["rank", "name"], ascending=[False, True], kind="stable")
    assert seen == expected.index.tolist()
    back = client.get(links_of(document)["prev"][0]["href"].removeprefix(ADDRESS)).json()
    assert numbers(back) == numbers(client.get(trail[-2]).json())
    assert "prev" not in links_of(client.get(trail[0]).json())


@pytest.mark.parametrize(
    ("parameters", "mask"),
    [
        ({"bbox": "-30,-30,60,20"}, lambda f: f.intersects(shapely.box(-30, -30, 60, 20)) | f.geometry.isna()),
        (
            {"bbox": "170,-90,-150,90"},
            lambda f: (
                f.intersects(shapely.union(shapely.box(170, -90, 180, 90), shapely.box(-180, -90, -150, 90)))
                | f.geometry.isna()
            ),
        ),
        ({"bbox": "-30,-30,-5,60,20,5"}, lambda f: f.intersects(shapely.box(-30, -30, 60, 20)) | f.geometry.isna()),
        ({"datetime": "1910-01-01T00:00:00Z/1915-06-01T00:00:00Z"}, lambda f: f.founded.between("1910", "1915-06-01")),
        ({"datetime": "1910-01-01T00:00:00Z"}, lambda f: f.founded == "1910"),
        ({"datetime": "../1905-01-01T00:00:00Z"}, lambda f: f.founded <= "1905"),
        ({"rank": "2"}, lambda f: f["rank"] == 2),
        ({"name": "東京 2"}, lambda f: f.name == "東京 2"),
        ({"name": "O'Hare 4"}, lambda f: f.name == "O'Hare 4"),
        ({"rank": "1", "people": "5000"}, lambda f: (f["rank"] == 1) & (f.people == 5000)),
        ({"filter": "name LIKE 'O''Hare%'"}, lambda f: f.name.str.startswith("O'Hare")),
        (
            {"filter": '{"op":"<","args":[{"property":"people"},3000]}', "filter_lang": "cql2-json"},
            lambda f: f.people < 3000,
        ),
        (
            {"filter": "S_INTERSECTS(geometry,BBOX(-20,-30,30,60))", "filter_crs": f"{EPSG}4326"},
            lambda f: f.intersects(shapely.box(-30, -20, 60, 30)),
        ),
        (
            {"filter": "S_INTERSECTS(geometry,POLYGON((-20 -30,-20 60,30 60,-20 -30)))", "filter_crs": f"{EPSG}4326"},
            lambda f: f.intersects(shapely.Polygon([(-30, -20), (60, -20), (60, 30)])),
        ),
        (
            {"bbox": "-20,-30,30,60", "bbox_crs": f"{EPSG}4326"},
            lambda f: f.intersects(shapely.box(-30, -20, 60, 30)) | f.geometry.isna(),
        ),
        (
            {"bbox": "0,0,10000000,2000000", "bbox_crs": f"{EPSG}3857"},
            lambda f: f.to_crs(3857).intersects(shapely.box(0, 0, 1e7, 2e6)) | f.geometry.isna(),
        ),
    ],
)
def test_questions_get_what_geopandas_finds(client: TestClient, parameters: dict[str, str], mask: Any) -> None:
    frame = towns()
    expected = np.flatnonzero(mask(frame)).tolist()
    assert expected
    assert numbers(get(client, f"{TOWNS}/items", limit=10_000, **parameters)) == expected


def test_axes_are_in_the_order_of_the_reference_system(client: TestClient) -> None:
    path = "/features/collections/places:grid/items"
    squares = grid()
    for code, swapped in ((None, False), (4326, True), (3857, False), (3035, True)):
        uri = CRS84 if code is None else f"{EPSG}{code}"
        answer = client.get(path, params={"crs": uri, "limit": "100"})
        assert answer.headers["content-crs"] == f"<{uri}>"
        wanted = squares.to_crs(4326 if code is None else code)
        for feature, square in zip(answer.json()["features"], wanted.geometry, strict=True):
            told = np.array(feature["geometry"]["coordinates"][0])
            np.testing.assert_allclose(told[:, ::-1] if swapped else told, shapely.get_coordinates(square), atol=1e-6)
        north, east = 3.15e6, 4.05e6
        box = f"{north},{east},{north},{east}"
        if code == 3035:
            found = get(client, path, bbox=box, bbox_crs=uri)
            assert numbers(found) == [11]
    rows = list(csv.DictReader(io.StringIO(client.get(path, params={"f": "csv", "crs": f"{EPSG}3035"}).text)))
    assert shapely.from_wkt(rows[0]["geometry"]).bounds == (3.0e6, 4.0e6, 3.1e6, 4.1e6)


def test_properties_can_be_chosen_and_geometries_left_out(client: TestClient) -> None:
    document = get(client, f"{TOWNS}/items", properties="rank,name", skipGeometry="true", limit=3)
    assert [list(one["properties"]) for one in document["features"]] == [["rank", "name"]] * 3
    assert [one["geometry"] for one in document["features"]] == [None] * 3


def test_one_feature_has_its_id_links_and_crs(client: TestClient) -> None:
    answer = client.get(f"{TOWNS}/items/3", params={"crs": f"{EPSG}4326"})
    feature = answer.json()
    point = towns().geometry[3]
    assert (feature["type"], feature["id"]) == ("Feature", 3)
    assert feature["geometry"]["coordinates"] == [point.y, point.x]
    assert answer.headers["content-crs"] == f"<{EPSG}4326>"
    assert answer.headers["content-type"] == "application/geo+json"
    assert links_of(feature)["collection"][0]["href"] == f"{ADDRESS}{TOWNS}"
    assert client.get("/features/collections/places:grid/items/12").json()["properties"]["fid"] == 12
    for path in (f"{TOWNS}/items/60", f"{TOWNS}/items/x", "/features/collections/places:grid/items/0"):
        assert client.get(path).status_code == 404


def test_forms_are_chosen_by_f_and_by_accept(client: TestClient) -> None:
    def kind(accept: str | None = None, **parameters: str) -> tuple[int, str]:
        headers = {} if accept is None else {"Accept": accept}
        answer = client.get(f"{TOWNS}/items", params={"limit": "2", **parameters}, headers=headers)
        return answer.status_code, answer.headers["content-type"].partition(";")[0]

    assert kind("text/csv") == (200, "text/csv")
    assert kind("application/vnd.apache.parquet, */*;q=0.1") == (200, "application/vnd.apache.parquet")
    assert kind("text/html,application/xhtml+xml,*/*;q=0.8") == (200, "application/geo+json")
    assert kind("text/csv;q=0.5, application/geo+json") == (200, "application/geo+json")
    assert kind("text/csv", f="json") == (200, "application/geo+json")
    assert kind("image/png") == (406, "application/problem+json")
    assert kind("text/csv;q=0") == (406, "application/problem+json")
    assert kind(f="shapefile") == (400, "application/problem+json")


def test_files_hold_all_that_matches_or_say_that_they_do_not(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = client.get(f"{TOWNS}/items", params={"f": "parquet", "filter": "rank = 1"})
    frame = gpd.read_parquet(io.BytesIO(answer.content))
    assert frame["name"].tolist() == towns().query("rank == 1")["name"].tolist()
    assert "x-truncated" not in answer.headers
    assert answer.headers["x-dataset-version"] == quote("3 é")
    assert answer.headers["content-disposition"] == 'attachment; filename="places-towns.parquet"'
    part = client.get(f"{TOWNS}/items", params={"f": "csv", "limit": "4"})
    assert part.headers["x-truncated"] == "true"
    assert len(list(csv.reader(io.StringIO(part.text)))) == 5
    monkeypatch.setattr("geoetl.api.features.routes.MAX_FEATURES", 20)
    refused = client.get(f"{TOWNS}/items", params={"f": "csv"})
    assert refused.status_code == 413
    assert refused.json()["detail"] == "60 features match; a file has at most 20."
    assert refused.json()["field"] == "limit"
    assert client.get(f"{TOWNS}/items", params={"f": "csv", "limit": "50"}).headers["x-truncated"] == "true"


def test_an_estimate_is_answered_in_place_of_features(client: TestClient) -> None:
    cost = get(client, f"{TOWNS}/items", estimate="true", filter="rank = 1", limit=5)
    assert cost["fits"] is True
    assert cost["bytes"] > 0
    assert cost["values"] == 25


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("colour=red", "colour"),
        ("BBOX=1,2,3,4", "BBOX"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=5&limit=6", "limit"),
        ("offset=-1", "offset"),
        ("token=abc", "token"),
        ("offset=1&token=1.a", "offset"),
        ("bbox=1,2,3", "bbox"),
        ("bbox=1,2,3,nan", "bbox"),
        ("bbox=1,2,3,4,5", "bbox"),
        ("bbox=1,95,3,96", "bbox"),
        ("bbox=0,10,0,5", "bbox"),
        (f"bbox=3,0,1,2&bbox-crs={EPSG}3857", "bbox"),
        (f"bbox=1,2,3,4&bbox-crs={EPSG}27700", "bbox-crs"),
        ("crs=urn:nonsense", "crs"),
        ("crs=http://evil.example/def/crs/EPSG/0/4326", "crs"),
        ("datetime=2020-13-01T00:00:00Z", "datetime"),
        ("datetime=2020-01-02T00:00:00Z/2020-01-01T00:00:00Z", "datetime"),
        ("filter=rank", None),
        ("filter=rank%20%3D", "filter"),
        ("filter=rank%3D1&filter-lang=cql2-json", "filter"),
        ("filter=rank%3D1&filter-lang=ecql", "filter-lang"),
        ("filter=rank%3D1&filter-crs=EPSG:27700", "filter-crs"),
        ("sortby=colour", "sortby"),
        ("properties=colour", "columns"),
        ("rank=many", "rank"),
        ("founded=soon", "filter"),
    ],
)
def test_a_wrong_parameter_is_400_and_named(client: TestClient, query: str, field: str | None) -> None:
    answer = client.get(f"{TOWNS}/items?{query}")
    if field is None:
        assert answer.status_code == 200 and answer.json()["numberMatched"] == 0
        return
    assert answer.status_code == 400, answer.text
    problem = answer.json()
    assert problem["field"] == field
    assert problem["detail"] and answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path",
    [
        "/features/collections/places",
        "/features/collections/places:nothing",
        "/features/collections/nothing:towns/items",
        "/features/collections/places:towns:x/items",
        "/features/collections/..:..%2F..%2Fetc/items",
    ],
)
def test_collections_that_are_not_there_are_404_or_400(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (400, 404)
    assert "detail" in answer.json()


def test_an_item_without_features_is_a_sentence(client: TestClient) -> None:
    answer = client.get("/features/collections/images:hill/items")
    assert answer.status_code == 400
    assert "nothing that can be read as geoparquet" in answer.json()["detail"]


HOSTILE = {
    "injection": "name = 'x' OR 1=1; DROP TABLE stac_items; --'",
    "union": "name = 'x' UNION SELECT password FROM users",
    "quotes": "name = 'it''s'' OR ''1''=''1",
    "unknown function": "pg_sleep(10) = 1",
    "python": "__import__('os').system('id') = 0",
    "not a property": "password = 'x'",
    "dunder": "__class__ = 1",
    "deep": "(" * 5000 + "rank = 1" + ")" * 5000,
    "nots": "NOT " * 3000 + "rank = 1",
    "minus": "-" * 5000 + "rank = 1",
    "long pattern": "name LIKE '" + "%" * 600 + "'",
    "wide": " OR ".join(["rank = 1"] * 600),
    "nul": "name = 'a\x00b'",
    "bytes": '{"op":"=","args":[{"property":"rank"},1e999]}',
    "op object": '{"op":{"a":1},"args":[1]}',
    "args text": '{"op":"and","args":"rank"}',
    "nested json": '{"op":"not","args":[' * 60 + "true" + "]}" * 60,
    "geometry": '{"op":"s_within","args":[{"property":"geometry"},{"type":"Polygon","coordinates":[[[0,0],[1]]]}]}',
    "coordinates": '{"op":"s_within","args":[{"property":"geometry"},{"type":"Point","coordinates":["a","b"]}]}',
    "empty": " ",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_filter_is_a_400_with_a_sentence(client: TestClient, name: str) -> None:
    answer = client.get(f"{TOWNS}/items", params={"filter": HOSTILE[name]})
    assert answer.status_code in (400, 414), (name, answer.status_code, answer.text[:200])
    problem = answer.json()
    assert problem["detail"] and not re.search(r"Traceback|sqlite|SELECT \*|/work|\.py", answer.text)


def test_a_pattern_of_wildcards_and_a_long_filter_are_harmless(client: TestClient) -> None:
    assert get(client, f"{TOWNS}/items", filter="name LIKE '%%%'")["numberMatched"] == ROWS
    assert get(client, f"{TOWNS}/items", filter="name LIKE '" + "%a" * 200 + "'")["numberMatched"] == 0
    assert client.get(f"{TOWNS}/items", params={"filter": "name = '" + "a" * 60_000 + "'"}).status_code == 414


def test_searches_for_features_have_places_of_their_own_and_single_ones_are_light() -> None:
    heavy = ("/features/collections", "/features/collections/a:b/items", "/stac/search", "/stac/collections/a/items")
    light = ("/features", "/features/collections/a:b", "/features/collections/a:b/items/1", "/features/conformance")
    assert all(SEARCHES.fullmatch(path) for path in heavy)
    assert not any(SEARCHES.fullmatch(path) for path in light)


def test_a_changed_file_ends_a_walk_through_its_pages(platform: Platform, client: TestClient) -> None:
    path = platform.settings.home / "shelf" / "moving.parquet"
    item = dict(platform.catalog.item(PLACES, "towns"))
    item |= {"id": "moving", "assets": {"data": {**item["assets"]["data"], "href": str(path)}}}
    towns().to_parquet(path)
    platform.catalog.upsert_items([item])
    first = get(client, "/features/collections/places:moving/items", limit=10)
    following = links_of(first)["next"][0]["href"].removeprefix(ADDRESS)
    assert numbers(client.get(following).json()) == list(range(10, 20))
    towns().iloc[::-1].reset_index(drop=True).to_parquet(path)
    refused = client.get(following)
    assert refused.status_code == 409
    assert refused.json()["field"] == "token"
    again = get(client, "/features/collections/places:moving/items", limit=1)
    assert again["features"][0]["properties"]["name"] == towns()["name"].iloc[-1]
    platform.catalog.delete_item(PLACES, "moving")
