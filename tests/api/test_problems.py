"""Errors as a client meets them: everything is a problem, and a sentence."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import rasterio.errors
import sqlalchemy as sa
from fastapi import FastAPI, HTTPException, Query, Response
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field, field_validator
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from geoetl.api.answers import StrictJSON
from geoetl.api.app import create_app
from geoetl.api.problems import MEDIA_TYPE, Problems, install
from geoetl.core.errors import ConfigurationError, GeoetlError, InvalidParameter, Unavailable
from geoetl.platform import Platform

ADDRESS = "http://127.0.0.1:8000"
MEMBERS = {"type", "code", "title", "status", "detail", "error", "field", "hint", "request_id"}


class Corner(BaseModel):
    lon: Annotated[float, Field(ge=-180, le=180)]
    lat: float


class Question(BaseModel):
    model_config = {"extra": "forbid"}

    name: Annotated[str, Field(min_length=2, max_length=5)]
    kind: str = "a"
    corners: list[Corner] = []

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in "abc":
            raise ValueError("There is no such kind.")
        return kind


class Inner(BaseModel):
    limit: int


def raising(app: FastAPI, path: str, error: Exception) -> None:
    @app.get(path)
    def broken() -> None:
        raise error


@pytest.fixture(scope="module")
def app() -> FastAPI:
    made = FastAPI(default_response_class=StrictJSON)

    @made.get("/numbers")
    def numbers(count: Annotated[int, Query(ge=1, le=10)], size: float = 1.0, flag: bool = False) -> Any:
        return {"count": count, "nan": float("nan"), "inf": [float("inf")], "text": "\ud800", "big": 2**70}

    @made.post("/questions")
    def questions(question: Question) -> Question:
        return question

    @made.post("/merged")
    def merged(question: Question, corner: Corner) -> None:
        return None

    @made.get("/inner")
    def inner(limit: str) -> None:
        Inner.model_validate({"limit": limit})

    @made.get("/bare/{status}")
    def bare(status: int) -> Response:
        return PlainTextResponse("/etc/secret is not here", status, {"Allow": "GET", "X-Inner": "1"})

    @made.get("/raised/{status}")
    def raised(status: int) -> Response:
        raise HTTPException(status, headers={"WWW-Authenticate": "Bearer"} if status == 401 else None)

    @made.get("/page")
    def page() -> Response:
        return Response("<h1>Wrong password</h1>", 401, media_type="text/html")

    from stac_fastapi.types import errors as stac

    secret = "/srv/secret/file.tif select password from users"
    raising(made, "/stac/notfound", stac.NotFoundError(secret))
    raising(made, "/stac/conflict", stac.ConflictError(secret))
    raising(made, "/stac/foreign", stac.ForeignKeyError(secret))
    raising(made, "/stac/database", stac.DatabaseError(secret))
    raising(made, "/stac/query", stac.InvalidQueryParameter(secret))
    raising(made, "/stac/parameter", InvalidParameter("The limit is -1.", field="limit"))
    raising(made, "/rasterio", rasterio.errors.RasterioIOError(secret))
    raising(made, "/data", sa.exc.DataError("select secret", {}, ValueError(secret)))
    raising(made, "/overflow", OverflowError("Python int too large to convert to SQLite INTEGER"))
    raising(made, "/recursion", RecursionError("maximum recursion depth exceeded"))
    raising(made, "/unexpected", ZeroDivisionError(secret))
    raising(made, "/away", Unavailable("The store is away.", hint="Try again."))
    raising(made, "/configuration", ConfigurationError("A setting is wrong.", hint="Correct it."))
    install(made, bad_request_below=("/stac/",))
    made.add_middleware(Problems)
    return made


@pytest.fixture(scope="module")
def asked(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as made:
        yield made


def problem_of(answer: Any, status: int) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, MEDIA_TYPE)
    body: dict[str, Any] = json.loads(answer.text, parse_constant=pytest.fail)
    assert set(body) >= MEMBERS
    assert body["status"] == status
    assert body["type"] == f"urn:geoetl:problem:{body['code']}"
    assert body["request_id"] == answer.headers["x-request-id"]
    assert "secret" not in answer.text and "Traceback" not in answer.text
    assert body["detail"][-1] in ".!?" and body["detail"][0].isupper()
    return body


@pytest.mark.parametrize(
    ("query", "field", "sentence"),
    [
        ("", "count", "The parameter 'count' is missing."),
        ("count=x", "count", "The parameter 'count' is 'x', but has to be a whole number."),
        ("count=11", "count", "The parameter 'count' is '11', but has to be less than or equal to 10."),
        ("count=1&size=big", "size", "The parameter 'size' is 'big', but has to be a number."),
        ("count=1&flag=maybe", "flag", "The parameter 'flag' is 'maybe', but has to be true or false."),
        (f"count={'9' * 5000}", "count", "but has to be a whole number that is not so long."),
    ],
)
def test_a_wrong_parameter_is_named_in_a_sentence(asked: TestClient, query: str, field: str, sentence: str) -> None:
    body = problem_of(asked.get(f"/numbers?{query}"), 422)
    assert body["field"] == field
    assert sentence in body["detail"]
    assert body["errors"][0]["parameter"] == field


@pytest.mark.parametrize(
    ("sent", "pointer", "sentence"),
    [
        ({"name": "a"}, "/name", "The member 'name' of the body is 'a', but has to be at least 2 characters long."),
        ({}, "/name", "The member 'name' of the body is missing."),
        ({"name": "ab", "more": 1}, "/more", "The member 'more' of the body is not known here."),
        ({"name": "ab", "kind": "x"}, "/kind", "The member 'kind' of the body is not right: there is no such kind."),
        (
            {"name": "ab", "corners": [{"lon": 1, "lat": 2}, {"lon": 181, "lat": 2}]},
            "/corners/1/lon",
            "The member 'corners.1.lon' of the body is 181, but has to be less than or equal to 180.",
        ),
        (
            {"name": "ab", "corners": {}},
            "/corners",
            "The member 'corners' of the body is an object, but has to be a list.",
        ),
        ([1, 2], "", "The body is a list of 2, but has to be an object."),
        ("text", "", "The body is 'text', but has to be an object."),
        (None, "", "The body is"),
    ],
)
def test_a_wrong_value_in_a_body_is_named_by_its_pointer(
    asked: TestClient, sent: Any, pointer: str, sentence: str
) -> None:
    body = problem_of(asked.post("/questions", json=sent), 422)
    assert sentence in body["detail"]
    assert body["errors"][0]["pointer"] == pointer
    assert "Input should" not in body["detail"] and "type=" not in body["detail"]


def test_every_wrong_value_is_told_at_once(asked: TestClient) -> None:
    body = problem_of(asked.post("/merged", json={"question": {"name": 5}, "corner": {"lon": "x"}}), 422)
    assert [one["pointer"] for one in body["errors"]] == ["/question/name", "/corner/lon", "/corner/lat"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/xml"])
def test_a_body_of_another_type_is_not_guessed_at(asked: TestClient, content_type: str) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    body = problem_of(asked.post("/questions", content=b'{"name": "ab"}', headers=headers), 415)
    assert body["code"] == "unsupported_media_type"


def test_a_body_that_is_no_json_is_told_without_the_parsers_words(asked: TestClient) -> None:
    answer = asked.post("/questions", content=b'{"name": ', headers={"Content-Type": "application/json"})
    assert problem_of(answer, 400)["code"] == "invalid_json"


def test_a_model_that_an_operation_makes_itself_is_checked_in_the_same_words(asked: TestClient) -> None:
    body = problem_of(asked.get("/inner", params={"limit": "x"}), 422)
    assert body["detail"] == "The parameter 'limit' is 'x', but has to be a whole number."


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/stac/notfound", 404, "not_found"),
        ("/stac/conflict", 409, "conflict"),
        ("/stac/foreign", 404, "not_found"),
        ("/stac/database", 503, "unavailable"),
        ("/stac/query", 400, "invalid_input"),
        ("/stac/parameter", 400, "invalid_parameter"),
        ("/rasterio", 422, "invalid_parameter"),
        ("/data", 422, "invalid_parameter"),
        ("/overflow", 422, "invalid_parameter"),
        ("/recursion", 400, "invalid_input"),
        ("/unexpected", 500, "unexpected"),
        ("/away", 503, "unavailable"),
        ("/configuration", 500, "configuration"),
        ("/nowhere", 404, "not_found"),
    ],
)
def test_an_error_of_any_library_is_a_problem_that_keeps_its_secrets(
    asked: TestClient, path: str, status: int, code: str
) -> None:
    answer = asked.get(path)
    body = problem_of(answer, status)
    assert body["code"] == code
    assert ("retry-after" in answer.headers) is (status == 503)
    assert ("description" in body) is path.startswith("/stac/")


@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 416, 418, 424, 429, 500, 501, 504]
)
@pytest.mark.parametrize("how", ["bare", "raised"])
def test_a_bare_status_becomes_a_problem_of_that_status(asked: TestClient, how: str, status: int) -> None:
    answer = asked.get(f"/{how}/{status}")
    # Of a dependency that failed, its own status says nothing to who asked.
    assert problem_of(answer, 503 if status == 424 else status)["title"]
    assert "x-inner" not in answer.headers
    if how == "bare":
        assert answer.headers["allow"] == "GET"
    elif status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_page_that_tells_an_error_stays_a_page(asked: TestClient) -> None:
    answer = asked.get("/page")
    assert (answer.status_code, answer.text) == (401, "<h1>Wrong password</h1>")


def test_the_wanted_form_does_not_change_that_of_an_error(asked: TestClient) -> None:
    for accept in ("text/html", "application/json", "image/png", "*/*;q=0", "nonsense"):
        problem_of(asked.get("/nowhere", headers={"Accept": accept}), 404)


def test_an_error_to_a_head_has_no_body(asked: TestClient) -> None:
    for path in ("/nowhere", "/unexpected", "/bare/416"):
        answer = asked.head(path)
        assert answer.content == b"" and answer.headers["content-type"] == MEDIA_TYPE
        assert answer.status_code >= 400


def test_a_verb_that_is_not_taken_is_told_with_those_that_are(asked: TestClient) -> None:
    answer = asked.delete("/questions")
    body = problem_of(answer, 405)
    assert answer.headers["allow"] == "POST"
    assert body["hint"] == "It takes POST."


def test_answers_are_strict_json_whatever_an_operation_returns(asked: TestClient) -> None:
    answer = asked.get("/numbers?count=1")
    assert json.loads(answer.text, parse_constant=pytest.fail) == {
        "count": 1,
        "nan": None,
        "inf": [None],
        "text": "?",
        "big": float(2**70),
    }


def test_half_a_surrogate_pair_in_a_sentence_can_be_sent(app: FastAPI) -> None:
    from geoetl.api.problems import respond

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    body = json.loads(bytes(respond(InvalidParameter("It is '\ud800'.", field="\udfff"), scope).body))
    assert body["detail"] == "It is '\ufffd'."


def test_an_error_from_outside_of_the_routes_is_a_problem_too(filled: Platform) -> None:
    class Broken:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                raise RuntimeError("secret")
            await self.app(scope, receive, send)

    from geoetl.api import edge

    app = create_app(filled)
    app.add_middleware(Broken)
    edge.outermost(app)
    client = TestClient(app, base_url=ADDRESS, raise_server_exceptions=False)
    assert problem_of(client.get("/api/livez"), 500)["code"] == "unexpected"


def test_every_class_of_error_has_a_code_of_its_own() -> None:
    def below(kind: type[GeoetlError]) -> Iterator[type[GeoetlError]]:
        yield kind
        for sub in kind.__subclasses__():
            yield from below(sub)

    def is_there(kind: type[GeoetlError]) -> bool:  # and not what a decorator has put another class in place of
        return vars(sys.modules[kind.__module__]).get(kind.__qualname__) is kind

    # A private class only says more of its parent; classes made for one odd status come and go.
    named = [kind for kind in set(below(GeoetlError)) if is_there(kind) and not kind.__name__.startswith("_")]
    assert len({kind.code for kind in named}) == len(named)
