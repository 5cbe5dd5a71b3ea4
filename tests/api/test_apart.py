"""Heavy requests are handled in a loop and threads of their own, and answer as if they were not."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from geoetl.api.apart import NICER_BY, PIECE, Apart

WHO: ContextVar[str] = ContextVar("who", default="nobody")
LONG = os.urandom(3 * PIECE + 17)


def where() -> dict[str, Any]:
    """Return the thread that this runs in, its priority, and whose request it is."""
    thread = threading.get_native_id()
    return {"thread": thread, "nice": os.getpriority(os.PRIO_PROCESS, thread), "who": WHO.get()}


def application() -> FastAPI:
    app = FastAPI()
    app.get("/thread")(where)

    @app.get("/loop")
    async def loop() -> dict[str, Any]:
        return where()

    @app.get("/long/{length}")
    def long(length: int) -> Response:
        return Response(LONG[:length])

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for start in range(0, len(LONG), 1000):
                yield LONG[start : start + 1000]

        return StreamingResponse(parts())

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(await request.body())

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError("foreseen")

    return app


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = application()
    app.add_middleware(Apart)
    with TestClient(app) as made:
        yield made


@pytest.mark.parametrize("path", ["/thread", "/loop"])
def test_the_whole_request_is_handled_at_a_lower_priority(client: TestClient, path: str) -> None:
    here = where()
    WHO.set("alice")
    there = client.get(path).json()
    assert there["thread"] != here["thread"]
    if sys.platform == "linux":
        assert there["nice"] == min(here["nice"] + NICER_BY, 19)
        assert where()["nice"] == here["nice"]
    assert there["who"] == "alice"


@pytest.mark.parametrize("length", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1, len(LONG)])
def test_answers_arrive_whole(client: TestClient, length: int) -> None:
    answer = client.get(f"/long/{length}")
    assert answer.content == LONG[:length]
    assert answer.headers["content-length"] == str(length)


def test_streams_and_bodies_pass(client: TestClient) -> None:
    assert client.get("/stream").content == LONG
    assert client.post("/echo", content=LONG).content == LONG


def test_an_error_is_met_where_it_was_asked(client: TestClient) -> None:
    with pytest.raises(ZeroDivisionError, match="foreseen"):
        client.get("/broken")
    assert client.get("/loop").status_code == 200


async def _asked(app: Any, path: str, receive: Receive) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    await app(scope, receive, send)
    return sent


async def _nothing_more() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


def test_long_answers_are_handed_over_in_pieces() -> None:
    sent = asyncio.run(_asked(Apart(application()), f"/long/{len(LONG)}", _nothing_more))
    sizes = [len(message["body"]) for message in sent if message["type"] == "http.response.body"]
    assert sizes == [PIECE, PIECE, PIECE, 17]
    assert [message.get("more_body", False) for message in sent[1:]] == [True, True, True, False]


def test_a_request_that_is_cancelled_is_cancelled_there_too() -> None:
    begun, ended = threading.Event(), threading.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def scene() -> None:
        asked = asyncio.create_task(_asked(Apart(endless), "/", _nothing_more))
        assert await asyncio.to_thread(begun.wait, 10)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert await asyncio.to_thread(ended.wait, 10)

    asyncio.run(scene())


def test_light_requests_go_on_while_threads_apart_are_all_busy() -> None:
    """Every thread that one loop has for blocking work is in use; the other loop's are not."""
    app, go, begun = application(), threading.Event(), threading.Semaphore(0)

    @app.get("/wait")
    def wait() -> dict[str, bool]:
        begun.release()
        return {"went": go.wait(30)}

    async def scene() -> None:
        apart = Apart(app)
        waiting = [asyncio.create_task(_asked(apart, "/wait", _nothing_more)) for _ in range(45)]
        for _ in range(40):
            assert await asyncio.to_thread(begun.acquire, timeout=10)
        assert (await _asked(app, "/thread", _nothing_more))[0]["status"] == 200
        go.set()
        assert {answer[0]["status"] for answer in await asyncio.gather(*waiting)} == {200}

    asyncio.run(scene())
