"""Heavy requests are answered by a process of their own, as if they were not."""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

import geoetl
from geoetl.access.cost import only_checking
from geoetl.api.apart import Apart, Launch
from geoetl.api.apart.process import NICER_BY, PIECE, answer, launch
from geoetl.api.app import create_app
from geoetl.core.errors import Unavailable
from tests.served import serving

LONG = os.urandom(3 * PIECE + 17)


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/scope")
    def scope(request: Request) -> dict[str, Any]:
        return {
            "path": request.scope["path"],
            "query": request.scope["query_string"].decode(),
            "client": request.client and request.client.host,
            "name": request.headers["x-name"],
            "checking": only_checking.get(),
            "thread": threading.get_native_id(),
        }

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

    return app


def in_a_thread(app: Any) -> Launch:
    """Return what answers with `app` in a loop of another thread, at the other end of a real socket."""

    def start(theirs: socket.socket) -> Callable[[], None]:
        own = socket.socket(fileno=os.dup(theirs.fileno()))
        thread = threading.Thread(target=lambda: asyncio.run(answer(app, own)), daemon=True)
        thread.start()
        return thread.join

    return start


async def _asked(app: Any, path: str, receive: Receive | None = None, **scope: Any) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def nothing_more() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    whole: Scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], **scope}
    await app(whole, receive or nothing_more, send)
    return sent


def asked(app: Any, path: str, receive: Receive | None = None, **scope: Any) -> list[Message]:
    """Ask once, in a loop of its own."""

    async def scene() -> list[Message]:
        apart = Apart(app, in_a_thread(app))
        sent = await _asked(apart, path, receive, **scope)
        await apart.stop()
        return sent

    return asyncio.run(scene())


def body_of(sent: list[Message]) -> bytes:
    return b"".join(message["body"] for message in sent[1:])


def test_the_application_there_sees_the_request_as_it_came() -> None:
    seen = httpx.Response(
        200,
        content=body_of(
            asked(
                application(),
                "/scope",
                query_string=b"a=%C3%A9&b",
                headers=[(b"x-name", "Côte".encode("latin-1"))],
                client=("10.1.2.3", 4444),
            )
        ),
    ).json()
    assert seen.pop("thread") != threading.get_native_id()
    assert seen == {"path": "/scope", "query": "a=%C3%A9&b", "client": "10.1.2.3", "name": "Côte", "checking": False}


def test_that_only_the_cost_is_looked_at_is_known_there() -> None:
    asks = only_checking.set(True)
    try:
        sent = asked(application(), "/scope", headers=[(b"x-name", b"")])
    finally:
        only_checking.reset(asks)
    assert b'"checking":true' in body_of(sent)


@pytest.mark.parametrize("length", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1, len(LONG)])
def test_answers_arrive_whole_in_pieces(length: int) -> None:
    start, *bodies = asked(application(), f"/long/{length}")
    assert dict(start["headers"])[b"content-length"] == str(length).encode()
    assert b"".join(message["body"] for message in bodies) == LONG[:length]
    assert [message.get("more_body", False) for message in bodies] == [True] * (len(bodies) - 1) + [False]
    assert max(len(message["body"]) for message in bodies) <= PIECE


def test_streams_and_bodies_pass() -> None:
    assert body_of(asked(application(), "/stream")) == LONG
    parts = iter([LONG[:100_000], LONG[100_000:]])

    async def receive() -> Message:
        part = next(parts)
        return {"type": "http.request", "body": part, "more_body": len(part) == 100_000}

    assert body_of(asked(application(), "/echo", receive, method="POST")) == LONG


def test_a_request_that_is_cancelled_is_cancelled_there_too() -> None:
    begun, ended = threading.Event(), threading.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def scene() -> None:
        apart = Apart(endless, in_a_thread(endless))
        ask = asyncio.create_task(_asked(apart, "/"))
        assert await asyncio.to_thread(begun.wait, 10)
        ask.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ask
        assert await asyncio.to_thread(ended.wait, 10)
        await apart.stop()

    asyncio.run(scene())


def test_a_client_that_leaves_is_heard_of_there() -> None:
    async def until_gone(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"gone"})

    told = iter([{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}])

    async def receive() -> Message:
        return next(told)

    assert body_of(asked(until_gone, "/", receive)) == b"gone"


def test_without_a_process_it_is_answered_here() -> None:
    sent = asyncio.run(_asked(Apart(application()), "/scope", headers=[(b"x-name", b"")]))
    assert sent[0]["status"] == 200


def test_what_dies_before_its_answer_is_said_to_be_unavailable_and_started_again() -> None:
    """The other end hangs up on the first request, and answers the second."""
    starts = 0

    def start(theirs: socket.socket) -> Callable[[], Any]:
        nonlocal starts
        starts += 1
        return in_a_thread(application())(theirs) if starts > 1 else lambda: -signal.SIGKILL

    async def scene() -> None:
        apart = Apart(application(), start)
        with pytest.raises(Unavailable, match="ended") as caught:
            await _asked(apart, "/long/3")
        assert caught.value.hint == "Try again; it is started anew."
        assert body_of(await _asked(apart, "/long/3")) == LONG[:3]
        await apart.stop()

    asyncio.run(scene())


# -- the process itself ----------------------------------------------------------------------------------------------


@contextmanager
def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """Serve the API of an empty platform, with the process beside it."""
    monkeypatch.setenv("GEOETL_HOME", str(home))
    app = create_app(geoetl.connect(home), launch=launch)
    with serving(app) as address, httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        yield client


def helper() -> psutil.Process:
    """Return the process apart of this one."""
    return next(
        child for child in psutil.Process().children() if "geoetl.api.apart.process" in " ".join(child.cmdline())
    )


def test_a_server_has_its_heavy_requests_answered_by_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path, monkeypatch) as client:
        refused = client.get("/api/raster/preview/none/none")
        assert refused.status_code == 404
        assert refused.json()["request_id"] == refused.headers["x-request-id"]
        assert refused.headers["content-security-policy"]
        assert 'route="/api/raster/preview/{collection}/{item}"' in client.get("/metrics").text
        process = helper()
        if sys.platform == "linux":
            assert process.nice() == min(psutil.Process().nice() + NICER_BY, 19)
        process.kill()
        process.wait(10)
        # Whoever asks while it is noticed hears that it is unavailable; then it is there again.
        deadline = time.monotonic() + 30
        while (status := client.get("/api/raster/preview/none/none").status_code) != 404:
            assert status == 503
            assert time.monotonic() < deadline
        again = helper()
        assert again.pid != process.pid
    again.wait(10)
