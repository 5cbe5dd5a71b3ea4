"""What one request, and all of them together, may cost: order and state, never time."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from fastapi import Body, FastAPI, Request, Response, WebSocket
from fastapi.testclient import TestClient
from starlette.responses import StreamingResponse
from starlette.types import Message, Scope

from geoetl.access.cost import Fits, only_checking
from geoetl.api import problems
from geoetl.api.limits import (
    ITEM_WRITES,
    MAX_JSON_DEPTH,
    PICTURES,
    SEARCHES,
    STYLES,
    Bodies,
    ClientRate,
    HeavySlots,
    RequestLimits,
    Slots,
    check_json,
    heavy_groups,
)
from geoetl.api.problems import InvalidJson
from geoetl.core.errors import LimitExceeded
from geoetl.core.settings import ServerSettings
from tests.api.wire import connect, post_json, read, request, send, serving

SETTINGS = ServerSettings(
    body_mib=0.25,
    item_body_mib=1,
    body_seconds=1.0,
    header_seconds=1.0,
    header_kib=8,
    address_kib=2,
    query_parameters=20,
    request_seconds=60,
    connections=12,
    pictures_at_once=2,
    waiting=2,
    waiting_seconds=10,
    keep_alive_seconds=5,
)
# An answer has to begin at once here.
HURRIED = SETTINGS.model_copy(update={"request_seconds": 0.5})
ITEMS = "/stac/collections/a/items"
PICTURE = "/api/raster/preview/a/b"


@dataclass
class Served:
    """A served application whose slow operations a test lets go on.

    Attributes:
        port: Where it listens.
        slots: Its slots for pictures.
        go: Lets every slow operation go on.
        begun: Counts the slow operations that began.
    """

    port: int
    slots: Slots
    go: threading.Event = field(default_factory=threading.Event)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


def application(go: threading.Event, begun: threading.Semaphore) -> FastAPI:
    app = FastAPI()

    def slow() -> dict[str, bool]:
        begun.release()
        go.wait(30)
        return {"done": True}

    @app.get("/api/raster/preview/{collection}/{item}")
    @app.post("/api/raster/clip/{collection}/{item}")
    def heavy(item: str, estimate: bool = False, size: Annotated[int, Body(embed=True)] = 0) -> dict[str, bool]:
        fits = item != "huge" and size <= 100
        if estimate:
            return {"fits": fits}
        if not fits:
            raise LimitExceeded("It is too much.", hint="Ask for less.")
        if only_checking.get():
            raise Fits("It can be answered.")
        return slow()

    app.get("/slow")(slow)

    @app.get("/light")
    async def light() -> dict[str, bool]:
        return {"light": True}

    @app.post("/echo")
    @app.post("/stac/collections/{collection}/items")
    @app.delete("/echo")
    async def echo(request: Request) -> dict[str, Any]:
        return {"bytes": len(await request.body()), "headers": len(request.headers)}

    @app.get("/stream")
    async def stream() -> Response:
        async def parts() -> Any:
            for number in range(4):
                yield f"{number}\n"
                await asyncio.sleep(HURRIED.request_seconds * 0.4)

        return StreamingResponse(parts())

    @app.websocket("/ws")
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    problems.install(app)
    return app


@contextmanager
def limited(settings: ServerSettings) -> Iterator[Served]:
    go, begun = threading.Event(), threading.Semaphore(0)
    app = application(go, begun)
    groups = heavy_groups(settings)
    app.add_middleware(HeavySlots, groups=groups)
    app.add_middleware(Bodies, settings=settings, larger=[(ITEM_WRITES, 1024 * 1024)])
    app.add_middleware(RequestLimits, settings=settings)
    with serving(app, settings) as port:
        yield Served(port, groups[PICTURES], go, begun)
        go.set()


@pytest.fixture
def served() -> Iterator[Served]:
    with limited(SETTINGS) as made:
        yield made


@pytest.fixture
def hurried() -> Iterator[Served]:
    with limited(HURRIED) as made:
        yield made


def until(holds: Callable[[], bool]) -> None:
    """Wait until a state is reached, which it will be."""
    for _ in range(3000):
        if holds():
            return
        threading.Event().wait(0.01)
    raise AssertionError("the state was not reached")


def in_background(*calls: Callable[[], Any]) -> list[threading.Thread]:
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    return threads


# -- heavy and light -------------------------------------------------------------------------------------------------


def test_light_requests_are_answered_while_heavy_ones_fill_every_place_and_the_queue(served: Served) -> None:
    answers: list[int] = []
    ask = [lambda: answers.append(send(served.port, request("GET", PICTURE)).status) for _ in range(4)]
    heavy = in_background(*ask)
    until(lambda: served.slots.used == 2 and served.slots.queued == 2)
    assert [send(served.port, request("GET", "/light")).status for _ in range(20)] == [200] * 20
    assert answers == []
    refused = send(served.port, request("GET", PICTURE))
    assert (refused.status, refused.problem()["code"], refused.headers["retry-after"]) == (503, "busy", "5")
    served.go.set()
    for thread in heavy:
        thread.join(30)
    assert answers == [200] * 4
    until(lambda: served.slots.used == 0)
    assert (served.slots.queued, served.slots.refused) == (0, 1)


def test_what_is_refused_anyway_does_not_wait_for_a_place(served: Served) -> None:
    heavy = in_background(*[lambda: send(served.port, request("GET", PICTURE)) for _ in range(3)])
    until(lambda: served.slots.used == 2 and served.slots.queued == 1)
    assert send(served.port, request("GET", "/api/raster/preview/a/huge")).status == 413
    assert send(served.port, post_json("/api/raster/clip/a/b", b'{"size": 101}')).status == 413
    asked = send(served.port, request("GET", f"{PICTURE}?estimate=true"))
    assert (asked.status, json.loads(asked.body)) == (200, {"fits": True})
    assert (served.slots.used, served.slots.queued, served.slots.refused) == (2, 1, 0)
    served.go.set()
    for thread in heavy:
        thread.join(30)


def test_never_more_run_than_there_are_places(served: Served) -> None:
    in_background(*[lambda: send(served.port, request("GET", PICTURE)) for _ in range(4)])
    until(lambda: served.slots.queued == 2)
    assert served.begun.acquire(timeout=10) and served.begun.acquire(timeout=10)
    assert not served.begun.acquire(blocking=False)
    served.go.set()
    assert served.begun.acquire(timeout=10) and served.begun.acquire(timeout=10)


def test_a_client_that_leaves_gives_its_place_in_the_queue_back(served: Served) -> None:
    first = [connect(served.port) for _ in range(2)]
    for one in first:
        one.sendall(request("GET", PICTURE))
    until(lambda: served.slots.used == 2)
    waiting = [connect(served.port) for _ in range(2)]
    for one in waiting:
        one.sendall(request("GET", PICTURE))
    until(lambda: served.slots.queued == 2)
    for one in waiting:
        one.close()
    until(lambda: served.slots.queued == 0)
    served.go.set()
    until(lambda: served.slots.used == 0)
    # Who left was never worked for.
    assert served.begun.acquire(timeout=10) and served.begun.acquire(timeout=10)
    assert not served.begun.acquire(blocking=False)
    for one in first:
        one.close()


def test_a_client_that_leaves_while_its_answer_is_made_frees_the_place_when_it_is_done(served: Served) -> None:
    with connect(served.port) as one:
        one.sendall(request("GET", PICTURE))
        until(lambda: served.slots.used == 1)
    assert served.slots.used == 1
    served.go.set()
    until(lambda: served.slots.used == 0)


def test_places_are_given_in_the_order_of_asking() -> None:
    async def scene() -> list[int]:
        slots = Slots("pictures", at_once=1, waiting=10, seconds=30)
        order: list[int] = []

        def stays() -> asyncio.Task[None]:
            return asyncio.get_running_loop().create_task(asyncio.sleep(60))

        async def work(number: int) -> None:
            async with slots.place(stays) as held:
                assert held and slots.used == 1
                order.append(number)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(work(number))
        assert (slots.used, slots.queued) == (0, 0)
        return order

    assert asyncio.run(scene()) == list(range(8))


def test_a_cancelled_or_late_request_leaves_nothing_behind() -> None:
    async def scene() -> None:
        slots = Slots("pictures", at_once=1, waiting=1, seconds=0.05)

        def stays() -> asyncio.Task[None]:
            return asyncio.get_running_loop().create_task(asyncio.sleep(60))

        async def hold(until_set: asyncio.Event) -> None:
            async with slots.place(stays):
                await until_set.wait()

        free = asyncio.Event()
        holder = asyncio.create_task(hold(free))
        await asyncio.sleep(0)
        with pytest.raises(problems.Busy):
            await hold(free)
        assert slots.queued == 0
        cancelled = asyncio.create_task(hold(free))
        await asyncio.sleep(0)
        assert slots.queued == 1
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert (slots.used, slots.queued) == (1, 0)
        holder.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holder
        assert slots.used == 0

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api/raster/preview/a/b", PICTURES),
        ("/tiles/cube/a/b/WebMercatorQuad/0/0/0.png", PICTURES),
        ("/stac/search", SEARCHES),
        ("/stac/collections/a/items", SEARCHES),
        ("/api/xarray/point/a/b", PICTURES),
        ("/api/xarray/batch", PICTURES),
        ("/features/collections/a:b/styles/default", STYLES),
        ("/collections/a/styles/default/legend", STYLES),
        ("/collections/a/styles", None),
        ("/api/livez", None),
        ("/api/raster/point/a/b", None),
        ("/tiles/cube/a/b/point", None),
        ("/stac/collections/a/items/b", None),
    ],
)
def test_points_and_single_items_are_light(path: str, kind: Any) -> None:
    assert [pattern for pattern in heavy_groups(SETTINGS) if pattern.fullmatch(path)] == ([kind] if kind else [])


# -- time ------------------------------------------------------------------------------------------------------------


def test_an_answer_that_does_not_begin_in_time_is_503_and_the_connection_lives_on(hurried: Served) -> None:
    with connect(hurried.port) as one:
        one.sendall(request("GET", "/slow", close=False))
        head = one.recv(65536)
        assert head.startswith(b"HTTP/1.1 503 ") and b"retry-after: 5" in head and b'"code": "timeout"' in head
        one.sendall(request("GET", "/light"))
        assert read(one).status == 200
    hurried.go.set()


def test_an_answer_that_streams_for_longer_is_not_cut(hurried: Served) -> None:
    answer = send(hurried.port, request("GET", "/stream"))
    assert answer.status == 200
    assert [line for line in answer.body.split(b"\r\n") if line.endswith(b"\n")] == [b"0\n", b"1\n", b"2\n", b"3\n"]


def test_websockets_pass(served: Served) -> None:
    app = application(served.go, served.begun)
    app.add_middleware(HeavySlots, groups=heavy_groups(SETTINGS))
    app.add_middleware(Bodies, settings=SETTINGS)
    app.add_middleware(RequestLimits, settings=SETTINGS)
    with TestClient(app).websocket_connect("/ws") as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"


# -- addresses and rates ---------------------------------------------------------------------------------------------


def test_a_long_address_is_414_and_one_at_the_limit_is_read(served: Served) -> None:
    limit = SETTINGS.address_kib * 1024
    assert send(served.port, request("GET", f"/light?{'a' * (limit - 6)}")).status == 200
    answer = send(served.port, request("GET", f"/light?{'a' * limit}"))
    assert (answer.status, answer.problem()["code"]) == (414, "address_too_long")
    assert send(served.port, request("GET", f"/light?{'&'.join(['a'] * 21)}")).status == 414


def test_a_nul_in_a_query_is_refused(served: Served) -> None:
    assert send(served.port, request("GET", "/light?a=b%00c")).problem()["field"] == "query"


def test_a_client_that_asks_too_often_waits_and_others_do_not() -> None:
    now = [0.0]

    async def inner(scope: Scope, receive: Any, send: Any) -> None:
        await Response("ok")(scope, receive, send)

    rate = ClientRate(inner, per_minute=3, clock=lambda: now[0])

    def ask(client: str) -> int:
        told: list[Message] = []

        async def hear(message: Message) -> None:
            told.append(message)

        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": (client, 1)}
        asyncio.run(_call(rate, scope, hear))
        return int(told[0]["status"])

    assert [ask("a") for _ in range(4)] == [200, 200, 200, 429]
    assert ask("b") == 200
    now[0] = 20.0
    assert [ask("a") for _ in range(2)] == [200, 429]


async def _call(app: Any, scope: Scope, hear: Callable[[Message], Awaitable[None]]) -> None:
    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    await app(scope, nothing, hear)


# -- bodies ----------------------------------------------------------------------------------------------------------


def test_a_body_may_be_as_large_as_the_limit_of_its_path(served: Served) -> None:
    text = b'"%s"' % (b"a" * (256 * 1024 - 2))
    assert send(served.port, post_json("/echo", text)).status == 200
    assert send(served.port, post_json("/echo", text + b" ")).status == 413
    assert send(served.port, post_json(ITEMS, text + b" ")).status == 200
    assert send(served.port, post_json(ITEMS, b'"%s"' % (b"a" * 1024 * 1024))).status == 413


def test_a_body_without_a_length_is_counted_while_it_comes(served: Served) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    start = request("POST", "/echo", "Content-Type: application/json", "Transfer-Encoding: chunked")
    answer = send(served.port, start, *[chunk] * 5, b"0\r\n\r\n")
    assert (answer.status, answer.problem()["code"], answer.closed) == (413, "limit_exceeded", True)
    assert send(served.port, start, chunk, b"2\r\n{}\r\n0\r\n\r\n").status == 200


def test_a_length_beyond_the_limit_is_refused_before_anything_is_sent(served: Served) -> None:
    with connect(served.port) as one:
        one.sendall(request("POST", "/echo", "Content-Type: application/json", length=10**12))
        answer = read(one)
    assert answer.status == 413
    assert "1,000,000,000,000" in answer.problem()["detail"]


def test_a_request_without_a_body_needs_no_type(served: Served) -> None:
    assert send(served.port, request("POST", "/echo")).status == 200
    assert send(served.port, request("DELETE", "/echo")).status == 200


@pytest.mark.parametrize(
    "document",
    [
        b'{"a": {"b": [1, 2.5e-3, "\\u00e9\\ud83d\\ude00", null, true]}}',
        b"[]",
        b"0",
        b'"[[[[{{{{"',
        b"18446744073709551615",
    ],
)
def test_plain_json_passes(document: bytes) -> None:
    check_json(document)


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' twice"),
        (b'{"a": 1, "\\u0061": 2}', "'a' twice"),
        (b'{"a": NaN}', "not JSON"),
        (b"[Infinity]", "not JSON"),
        (b"[1e400]", "not JSON"),
        (b'"\\ud800"', "not JSON"),
        (b'"\xed\xa0\x80"', "not JSON"),
        (b'"\xff"', "not JSON"),
        (b'{"a\\u0000": 1}', "NUL"),
        (b'["\\u0000"]', "NUL"),
        (b"[18446744073709551616]", "20 digits"),
        (b"[-9223372036854775809]", "19 digits"),
        (b"[" + b"9" * 300 + b"]", "300 digits"),
        (b"[" + b"9" * 5000 + b"]", "not JSON"),
        (b"[" * 101 + b"]" * 101, "deeper than 100"),
        (b"[" * 100_000, "deeper than 100"),
        (b'{"a":' * 100_000, "deeper than 100"),
        (b"[]" * 2, "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ('{"a": 1}'.encode("utf-16"), "not JSON"),
        (b'"' + b"\\" * 99_999, "not JSON"),
    ],
)
def test_json_that_programs_read_in_different_ways_is_refused(document: bytes, what: str) -> None:
    with pytest.raises(InvalidJson) as refused:
        check_json(document)
    assert what in refused.value.detail
    json.dumps(refused.value.problem()).encode()


def test_the_depth_is_counted_as_it_is() -> None:
    deepest = b'{"a":[' * (MAX_JSON_DEPTH // 2) + b"]}" * (MAX_JSON_DEPTH // 2)
    check_json(deepest)
    check_json(b"[" + b'{"a": "]]]"},' * 1000 + b"[]]")
    with pytest.raises(InvalidJson, match="deeper"):
        check_json(b"[" + deepest + b"]")
