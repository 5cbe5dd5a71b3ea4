"""Hostile questions (A9 to A17): each gets a clean answer, the process lives, and nothing leaks."""

import itertools
import json
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from httpx import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import geoetl
from geoetl.api.app import create_app
from geoetl.core.errors import GeoetlError, InvalidParameter, MissingCRS
from geoetl.platform import Platform
from tests.catalogued import CLIMATE, HILL, IMAGES, MODEL
from tests.faults.conftest import ADDRESS, Canary
from tests.faults.naughty import naughty
from tests.served import serving
from tests.stac import a_collection, an_item

CELLS = "cells"
# A hang is an answer that takes longer than this.
PATIENCE_S = 5


def clean(answer: Response, home: Path | None = None) -> Response:
    """Check that an answer is one of a healthy server, and that a refusal is a problem with a sentence."""
    assert answer.status_code < 500, answer.text[:500]
    assert answer.elapsed.total_seconds() < PATIENCE_S
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["code"]
        assert problem["detail"]
        for leak in ("Traceback", "sqlite3", "stac_items i", "geoetl/api/", 'File "'):
            assert leak not in answer.text
        if home is not None:
            assert str(home) not in answer.text
    return answer


# -- A9: places ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cells(attacked: Platform) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Give the boxes of a grid of 10 degrees, one item each, whose id encodes its corner."""
    corners = [(w, s) for w in range(-180, 180, 10) for s in range(-90, 90, 10)]
    attacked.catalog.upsert_collection(a_collection(CELLS))
    attacked.catalog.upsert_items(
        an_item(f"c{w + 180}-{s + 90}", collection=CELLS, box=(w + 1.0, s + 1.0, w + 9.0, s + 9.0)) for w, s in corners
    )
    return np.array([(w + 1, s + 1, w + 9, s + 9) for w, s in corners], dtype=float)


_longitudes = st.floats(-180, 180)
_latitudes = st.floats(-90, 90)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(west=_longitudes, east=_longitudes, south=_latitudes, north=_latitudes)
def test_a9_a_box_finds_what_a_scan_finds_across_the_antimeridian_too(
    http: TestClient, cells: Any, west: float, east: float, south: float, north: float
) -> None:
    south, north = sorted((south, north))
    answer = clean(
        http.get("/stac/search", params={"collections": CELLS, "bbox": f"{west},{south},{east},{north}", "limit": 1000})
    )
    parts = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    w, s, e, n = cells.T
    touched = np.zeros(len(cells), bool)
    for a, b in parts:
        touched |= (w <= b) & (e >= a) & (s <= north) & (n >= south)
    expected = {f"c{int(row[0]) + 179}-{int(row[1]) + 89}" for row in cells[touched]}
    assert {item["id"] for item in answer.json()["features"]} == expected


@pytest.mark.parametrize(
    "bbox",
    [
        *("0,20,10,10", "nan,0,1,1", "0,0,inf,1", "-inf,0,1,1", "1e400,0,1,1", ",,", ",,,", "1,2,3", "1,2,3,4,5"),
        *("0,0,1,91", "0,-91,1,1", "0,0,1", "a,b,c,d", "0 0 1 1", "[0,0,1,1]", "0,0,1,1,", "500,0,501,1", "0;0;1;1"),
        *("0,0,1,1,2,3,4", "%00"),
    ],
)  # fmt: skip
def test_a9_a_place_that_is_none_is_400_with_a_hint(http: TestClient, bbox: str) -> None:
    answer = clean(http.get("/stac/search", params={"bbox": bbox}))
    assert (answer.status_code, answer.json()["field"]) == (400, "bbox")
    assert answer.json()["hint"]


def test_a9_swapped_latitude_and_longitude_are_told(http: TestClient) -> None:
    answer = clean(http.get(f"/api/raster/point/{IMAGES}/{HILL}", params={"location": "46.6,107.1"}))
    assert answer.status_code == 400
    assert "lon,lat" in answer.json()["hint"]


@pytest.mark.parametrize(
    "bbox", ["-180,-90,180,90", "0,0,0,0", "170,-90,-170,90", "-180,90,180,90", "0,0,360,10", "180,0,180,1"]
)
def test_a9_the_world_its_poles_and_a_point_are_places(http: TestClient, cells: Any, bbox: str) -> None:
    assert clean(http.get("/stac/search", params={"bbox": bbox})).status_code == 200


@pytest.mark.parametrize("location", ["120,10", "-180,-90", "180,90", "360,0"])
def test_a9_a_place_outside_says_so_and_gives_no_value(http: TestClient, location: str) -> None:
    answer = clean(http.get(f"/api/raster/point/{IMAGES}/{HILL}", params={"location": location}))
    assert answer.status_code in (200, 400, 404)
    if answer.status_code == 200:
        assert answer.json()["values"] == [None]


# -- A10: sizes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_size", [100_000, 10**9, 2**63, 2**64, 10**30])
def test_a10_a_picture_beyond_the_limit_is_413_with_what_was_asked(http: TestClient, max_size: int) -> None:
    answer = clean(http.get(f"/api/raster/preview/{IMAGES}/{HILL}", params={"max_size": max_size}))
    assert answer.status_code in (413, 422)
    assert answer.json()["field"] == "max_size"


def test_a10_more_items_than_a_page_holds_come_in_pages(http: TestClient, cells: Any) -> None:
    answer = clean(http.get("/stac/search", params={"limit": 10**9, "fields": "id"}))
    assert answer.status_code == 200


# -- A11: times ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time_asked", "status"),
    [
        ("2000-02-16", 200),
        ("2000-02-30", 400),
        ("2000-02-31", 400),
        ("2000-13-01", 400),
        ("2000-00-10", 400),
        ("-0001-01-01", 400),
        ("9999999999-01-01", 400),
        ("2000-02-16T25:00:00", 400),
        ("2000-02-16T12:00:00+25:00", 400),
        ("../2000", 400),
        ("now", 400),
        ("1e9", 400),
        ("2000-02-16/2001-02-16", 400),
        ("٢٠٠٠-02-16", 400),
    ],
)
def test_a11_a_time_that_the_calendar_has_not_is_400_and_says_which_there_are(
    http: TestClient, time_asked: str, status: int
) -> None:
    answer = clean(http.get(f"/tiles/cube/{CLIMATE}/{MODEL}/info", params={"time": time_asked}))
    assert answer.status_code == status, answer.text
    if status == 400:
        assert answer.json()["field"] == "time"


@pytest.mark.parametrize(
    "asked",
    [
        *("2020-02-30T00:00:00Z", "2020-13-01T00:00:00Z", "2021-01-01T00:00:00Z/2020-01-01T00:00:00Z", "2020-01-01"),
        *("0000-01-01T00:00:00Z", "99999-01-01T00:00:00Z", "2020-01-01T00:00:00", "2020-01-01T00:00:00Z/x", "-1"),
        *("", "/", "1e400", "٢٠٢٠-01-01T00:00:00Z"),
    ],
)  # fmt: skip
def test_a11_an_interval_that_is_none_is_400(http: TestClient, asked: str) -> None:
    answer = clean(http.get("/stac/search", params={"datetime": asked}))
    assert (answer.status_code, answer.json()["field"]) == (400, "datetime")


# -- A12: what a file does not say -----------------------------------------------------------------------------------


def test_a12_a_raster_without_crs_is_never_guessed(tmp_path: Path) -> None:
    import rasterio
    from rasterio.transform import from_origin

    platform = geoetl.connect(tmp_path / "home")
    path = platform.settings.home / "shelf" / "no_crs.tif"
    path.parent.mkdir()
    with rasterio.open(
        path, "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8", transform=from_origin(0, 8, 1, 1)
    ) as out:
        out.write(np.ones((1, 8, 8), np.uint8))
    from geoetl.ingest import RasterRequest

    with pytest.raises(MissingCRS) as caught:
        platform.ingest.raster.validate(RasterRequest(source=str(path), collection="x"))
    assert caught.value.hint is not None
    assert "crs" in caught.value.hint


# -- A13: filters ----------------------------------------------------------------------------------------------------

INJECTIONS = [text for text in naughty() if any(sign in text for sign in "'\"\\;%$")]
DEEP = [
    "(" * 2000 + "a=1" + ")" * 2000,
    "NOT " * 10_000 + "a=1",
    " AND ".join(["a=1"] * 5000),
    "a=" + "-" * 5000 + "1",
    "a LIKE '" + "%_" * 4000 + "'",
    "a LIKE '" + "%" * 500 + "x'",
    "casei(" * 500 + "a" + ")" * 500 + " = 'x'",
    "a IN (" + ",".join(map(str, range(50_000))) + ")",
    "x" * 300_000,
    "S_INTERSECTS(geometry, POLYGON((" + ",".join("0 0" for _ in range(100_000)) + ")))",
    "a^a^a^a^a^a^a^a = 1",
    "9^9^9^9^9 = 1",
    "1/0 = 1",
    "a % 0 = 1",
    "a = 1e400",
    "'" * 7999,
    '"' * 7999,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(DEEP)))
def test_a13_a_filter_that_is_deep_or_long_is_answered_and_no_process_dies(http: TestClient, number: int) -> None:
    for asked in ({"filter": DEEP[number]}, {"filter": DEEP[number], "filter-lang": "cql2-text"}):
        answer = clean(
            http.request("GET", "/stac/search", params=asked)
            if len(DEEP[number]) < 60_000
            else http.post("/stac/search", json={**asked, "filter-lang": "cql2-text"})
        )
        assert answer.status_code in (200, 400, 413, 414)
    depth: Any = {"op": "=", "args": [{"property": "a"}, 1]}
    for _ in range(400):
        depth = {"op": "not", "args": [depth]}
    assert clean(http.post("/stac/search", json={"filter": depth})).status_code in (400, 413)


def test_a13_no_text_of_a_filter_ever_reaches_a_statement(http: TestClient, attacked: Platform) -> None:
    statements: list[str] = []
    engine = attacked.catalog.database.engine  # type: ignore[attr-defined]

    def note(_c: Any, _cur: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        for text in INJECTIONS:
            if any("\ud800" <= letter <= "\udfff" for letter in text):
                continue
            trees: list[Any] = [
                {"op": "=", "args": [{"property": "title"}, text]},
                {"op": "=", "args": [{"property": text or "x"}, "mark"]},
                {"op": "like", "args": [{"property": "title"}, text]},
                {"op": "in", "args": [{"property": "title"}, [text, "mark"]]},
            ]
            for tree in trees:
                clean(http.post("/stac/search", json={"filter": tree}))
            clean(
                http.get("/stac/search", params={"sortby": text[:100], "ids": text, "collections": text, "token": text})
            )
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    assert statements
    together = "\n".join(statements)
    for text in INJECTIONS:
        if len(text) > 3:
            assert text not in together
    assert http.get("/stac/search").json()["numberMatched"] > 0


# -- A14: ids --------------------------------------------------------------------------------------------------------


ADDRESSES = (
    "/stac/collections/{}",
    f"/stac/collections/{IMAGES}/items/{{}}",
    f"/assets/{IMAGES}/{HILL}/{{}}",
    f"/assets/{{}}/{HILL}/data",
    f"/api/raster/point/{{}}/{HILL}?location=7,46",
    f"/tiles/cube/{CLIMATE}/{{}}/info",
    f"/executions/{IMAGES}/{{}}",
)
NAMES_OF_ROUTES = ("items", "search", "collections", "queryables", "sortables")


def _tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if ".db" not in path.name}


def test_a14_there_are_enough_naughty_texts() -> None:
    assert len(naughty()) >= 500


def test_a14_an_id_in_an_address_is_refused_and_opens_nothing(attacked: Platform, canary: Canary) -> None:
    before = _tree(attacked.settings.home)
    app = create_app(attacked)
    # Over a socket: a client that is handed an address tidies it up first.
    with serving(app) as address, closing(HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE_S)) as connection:
        for text, start in itertools.product(naughty(), ADDRESSES):
            path = start.format(quote(text, safe=""))
            connection.request("GET", path)
            answer = connection.getresponse()
            content = answer.read()
            assert canary.secret.encode() not in content
            # Without a name, or with a slash in it, it may be the address of something else.
            if text in ("", *NAMES_OF_ROUTES) or "/" in text:
                assert answer.status < 500, path
            elif answer.status == 307:
                assert str(answer.getheader("location")).startswith((address, "/"))
            else:
                assert answer.status in (400, 404, 414, 422), (path, answer.status)
                assert json.loads(content)["detail"]
    assert _tree(attacked.settings.home) == before


def test_a14_an_id_in_a_document_is_safe_or_refused_and_no_two_are_one(http: TestClient, attacked: Platform) -> None:
    before = _tree(attacked.settings.home)
    taken: list[str] = []
    for text in naughty():
        answer = clean(http.post(f"/stac/collections/{CELLS}/items", json=an_item(text, collection=CELLS)))
        if answer.status_code == 201:
            taken.append(text)
            assert answer.json()["id"] == text
            assert http.get(f"/stac/collections/{CELLS}/items/{quote(text, safe='')}").json()["id"] == text
        collection = clean(http.post("/stac/collections", json=a_collection(text)))
        if collection.status_code == 201:
            clean(http.delete(f"/stac/collections/{quote(text, safe='')}"))
    assert _tree(attacked.settings.home) == before
    for name in taken:
        assert name.isascii()
        assert not set(name) & set('/\\%\0:*?"<>| ')
        assert http.delete(f"/stac/collections/{CELLS}/items/{name}").status_code == 204


# -- A15: parameters of notebooks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given_parameters",
    [
        {"bbox=1\nopen('pwn','w')\ny": 1},
        {"source": "x", "__class__": 1},
        {"source": "x", "import": 1},
        {"source": "x", "collection": "x", "unknown": 1},
        {"source": 5, "collection": "x"},
        {"source": {"a": 1}, "collection": "x"},
        {"source": "x", "collection": None},
        {"kernel_name": "bash", "source": "x", "collection": "y"},
    ],
)
def test_a15_a_parameter_that_is_not_declared_or_of_another_type_is_refused_before_a_run_exists(
    tmp_path: Path, given_parameters: dict[str, Any]
) -> None:
    platform = geoetl.connect(tmp_path / "home")
    with pytest.raises(InvalidParameter):
        platform.run("ingest-raster", given_parameters)
    assert platform.runs.list(limit=10) == []


@pytest.mark.parametrize("name", ["../ingest-raster", "/etc/passwd", "ingest-raster\0", "{run.__class__}", "..", ""])
def test_a15_a_pipeline_is_one_of_ours(tmp_path: Path, name: str) -> None:
    with pytest.raises(GeoetlError):
        geoetl.connect(tmp_path / "home").run(name, {})


# -- A17: styles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [*naughty()[:120], "viridis\0", "$include", "file:///etc/passwd", "#zzz"])
def test_a17_a_colour_map_that_is_none_is_refused_and_never_fetched(http: TestClient, value: str) -> None:
    answer = clean(http.get(f"/api/raster/preview/{IMAGES}/{HILL}", params={"colormap": value, "max_size": 8}))
    assert answer.status_code in (200, 422)


@pytest.mark.parametrize(
    "render",
    [
        {"colormap_name": "<script>"},
        {"colormap_name": {"$include": "http://127.0.0.1:1/x"}},
        {"rescale": [["a", "b"]]},
        {"rescale": [[1, 0]]},
        {"rescale": [[float(10**300), 10.0**308]]},
        {"rescale": []},
        {"rescale": 5},
        {"assets": 5},
        {"expression": "b1**9**9**9"},
        "text",
        None,
        [],
    ],
)
def test_a17_what_an_item_says_of_its_look_never_breaks_the_server(http: TestClient, render: Any) -> None:
    path = f"/stac/collections/{IMAGES}/items/{HILL}"
    before = http.get(path).json()
    patched = http.patch(path, json={"properties": {"renders": {"default": render}}})
    try:
        if clean(patched).status_code == 200:
            for asked in ("", "?rescale=auto", "?colormap=magma"):
                clean(http.get(f"/api/raster/preview/{IMAGES}/{HILL}{asked}"))
            clean(http.get(f"/api/raster/point/{IMAGES}/{HILL}?location=7,46.5"))
    finally:
        assert http.put(path, json=before).status_code == 200


# -- hrefs: what an editor may register ------------------------------------------------------------------------------

HREFS = [
    "/etc/passwd",
    "file:///etc/passwd",
    "../../../etc/passwd",
    "internal://../../etc/passwd",
    "internal://a/../../b",
    "internal:///etc/passwd",
    "external://..",
    "/vsicurl/http://127.0.0.1:9/x.tif",
    "/vsizip//vsicurl/http://127.0.0.1:9/x.zip",
    "vrt:///etc/passwd",
    "WMS:http://127.0.0.1:9/",
    "NETCDF:/etc/passwd:x",
    "<VRTDataset/>",
    "http://127.0.0.1:9/x.tif",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]:9/x",
    "http://0x7f000001:9/x",
    "http://127.1:9/x",
    "javascript:window.__pwned=1",
    "data:text/html,<script>window.__pwned=1</script>",
    "ftp://127.0.0.1/x",
]


@pytest.mark.parametrize("href", HREFS)
def test_a_hostile_address_of_an_asset_is_refused_or_never_followed(
    http: TestClient, attacked: Platform, canary: Canary, href: str
) -> None:
    for name, given_href in (("plain", href), ("canary", str(canary.path)), ("uri", canary.path.as_uri())):
        item = an_item(
            "hostile", collection=IMAGES, assets={"data": {"href": given_href, "type": "image/tiff", "roles": ["data"]}}
        )
        posted = clean(http.post(f"/stac/collections/{IMAGES}/items", json=item), attacked.settings.home)
        try:
            assert posted.status_code in (201, 400), name
            # Whatever is registered, the catalogue can still be listed.
            assert clean(http.get("/stac/search?limit=1000")).status_code == 200
            if posted.status_code == 201:
                for path in (
                    f"/assets/{IMAGES}/hostile/data",
                    f"/api/raster/preview/{IMAGES}/hostile",
                    f"/api/raster/point/{IMAGES}/hostile?location=5.5,50.5",
                    f"/tiles/cube/{IMAGES}/hostile/info",
                ):
                    answer = clean(http.get(path), attacked.settings.home)
                    assert answer.status_code in (400, 404, 422), (path, answer.text)
                    assert canary.secret not in answer.text
        finally:
            if posted.status_code == 201:
                assert http.delete(f"/stac/collections/{IMAGES}/items/hostile").status_code == 204


def test_heavy_and_hostile_questions_leave_the_server_quick(http: TestClient) -> None:
    began = time.monotonic()
    for text in itertools.islice(naughty(), 50):
        clean(http.get("/stac/search", params={"filter": f"title = '{text}'", "datetime": text}))
    assert clean(http.get("/api/livez")).status_code == 200
    assert time.monotonic() - began < 50 * PATIENCE_S
    assert ADDRESS in http.get("/stac/").text
