"""What one request, and all of them together, may cost: four ASGI layers, from the outside in.

`RequestLimits` looks at the address and the clock, `ClientRate` at how often one client asks, `Bodies` at what is sent,
`HeavySlots` at how much is worked out at a time, so that a point or an item is answered while others wait for pictures.
The layers answer with problems themselves; what is within the limits passes untouched, streams and websockets too.
"""

import asyncio
import json
import re
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message as Headers
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geoetl.access.cost import Fits, only_checking
from geoetl.api.apart import Apart, Launch
from geoetl.api.problems import (
    AddressTooLong,
    Busy,
    InvalidJson,
    TimedOut,
    TooManyRequests,
    TooSlow,
    UnsupportedMediaType,
    respond,
    wrong_media_type,
)
from geoetl.core.errors import GeoetlError, InvalidParameter, LimitExceeded
from geoetl.core.settings import ServerSettings

KIB, MIB = 1024, 1024 * 1024
# Deeper than any GeoJSON or filter, and far from where recursion ends.
MAX_JSON_DEPTH = 100
# Integers beyond 64 bits are rounded by some programs and refused by others.
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1
# Longer bodies are checked in a thread, so that others are answered meanwhile.
CHECKED_HERE = 64 * KIB
# So much of a body that was refused is read and forgotten, and for so long.
DRAINED = 8 * MIB
DRAIN_S = 2.0
# Clients that are remembered; the one that has been silent longest is forgotten first.
MAX_CLIENTS = 10_000

# Where pictures and readings are made, and where the catalogue and features are searched; most of the rest is light.
PICTURES = re.compile(r"/(?:api/raster/(?:preview|extract|clip)/.*|api/xarray/.*|tiles/(?!vector/).*\.\w+)")
SEARCHES = re.compile(r"/(?:stac/search|(?:stac|features)/collections|(?:stac|features)/collections/[^/]+/items)/?")
# Where styles of many rules are encoded, and legends drawn; lists of styles are light.
STYLES = re.compile(r"/(?:features/)?collections/[^/]+/styles/[^/]+(?:/(?:metadata|losses|legend))?")
# Of them those that look at what they would cost before they work it out.
CHECKED_FIRST = re.compile(r"/api/(?:raster/(?:preview|extract|clip)|xarray/(?:point|statistics|aggregate))/.*")
# What writes items, by path.
ITEM_WRITES = re.compile(r"/stac/collections/[^/]+/(?:items|bulk_items)(?:/.*)?")


class RequestLimits:
    """Refuse addresses that are too long, and answer 503 where no answer began in time.

    What runs in a thread cannot be stopped: it goes on unheard, and keeps its slot until it is done.

    Args:
        app: What is guarded.
        settings: The limits.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        problem = self._problem(scope)
        if problem is not None:
            await refuse(problem, scope, receive, send)
        elif scope["type"] == "websocket":
            await self.app(scope, receive, send)
        else:
            await self._in_time(scope, receive, send)

    def _problem(self, scope: Scope) -> GeoetlError | None:
        query: bytes = scope.get("query_string", b"")
        length = len(scope.get("raw_path") or scope["path"].encode()) + len(query)
        limit = self._settings.address_kib * KIB
        if length > limit:
            return AddressTooLong(
                f"The address has {length:,} bytes; the limit is {limit:,}.", hint="Send a long question as POST."
            )
        parameters = query.count(b"&") + 1
        if parameters > self._settings.query_parameters:
            return AddressTooLong(
                f"The query has {parameters:,} parameters; the limit is {self._settings.query_parameters:,}.",
                hint="Send a long question as POST.",
            )
        if b"%00" in query or b"\0" in query:
            return InvalidParameter("The query holds a NUL character.", hint="Leave it out.", field="query")
        return None

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        late: asyncio.Task[None] | None = None

        def answer_for_it() -> None:
            nonlocal late
            problem = TimedOut(
                f"No answer was ready within {self._settings.request_seconds:g} s.",
                hint="Ask for less, or try again when the server has less to do.",
            )
            late = loop.create_task(respond(problem, scope)(scope, receive, send))

        timer = loop.call_later(self._settings.request_seconds, answer_for_it)

        async def while_in_time(message: Message) -> None:
            if late is None:
                timer.cancel()
                await send(message)

        try:
            await self.app(scope, receive, while_in_time)
        finally:
            timer.cancel()
            if late is not None:
                await late


class ClientRate:
    """Refuse a client that asks too often: a bucket of `per_minute` requests that fills evenly.

    Args:
        app: What is guarded.
        per_minute: Requests of one client in a minute.
        clock: Seconds that only grow.
    """

    def __init__(self, app: ASGIApp, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.app = app
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            wait = self._take(client_of(scope))
            if wait > 0:
                problem = TooManyRequests(
                    f"More than {self._per_minute} requests in a minute.", hint=f"Wait {wait:.0f} s."
                )
                await refuse(problem, scope, receive, send, {"Retry-After": str(max(1, round(wait)))})
                return
        await self.app(scope, receive, send)

    def _take(self, client: str) -> float:
        """Take one request from a client's bucket; return the seconds to wait where it is empty."""
        now, rate = self._clock(), self._per_minute / 60
        left, since = self._buckets.pop(client, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - since) * rate)
        self._buckets[client] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / rate


def client_of(scope: Scope) -> str:
    """Return who asks: the signed-in name, else the address of the connection."""
    principal = scope.get("state", {}).get("principal")
    name = getattr(principal, "name", None) or getattr(principal, "id", None)
    client = scope.get("client")
    return str(name or (client[0] if client else "unknown"))


# -- bodies ----------------------------------------------------------------------------------------------------------


class Bodies:
    """Read the body of a request before the operation sees it: so large, in time, of a type that is taken, strict JSON.

    Args:
        app: What is guarded.
        settings: The limits.
        larger: Paths that take more, each with its bytes; the first that matches counts.
        unread: Paths whose JSON another process checks, with layers of this kind too.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServerSettings,
        larger: Sequence[tuple[re.Pattern[str], int]] = (),
        unread: re.Pattern[str] | None = None,
    ) -> None:
        self.app = app
        self._settings = settings
        self._larger = tuple(larger)
        self._unread = unread

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self.app(scope, receive, send)
            return
        intake = _Intake(receive)
        try:
            body = await self._read(scope, intake)
        except GeoetlError as problem:
            # What is left of the body must not be taken for the next request.
            answer = respond(problem, scope, headers={"Connection": "close"})
            await answer(scope, receive, intake.then_drained(send))
            return
        if body is None:
            return
        replayed = False

        async def once_more() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, once_more, send)

    async def _read(self, scope: Scope, intake: "_Intake") -> bytes | None:
        """Return the body, or None where the client left.

        Raises:
            LimitExceeded, TooSlow, UnsupportedMediaType, InvalidJson: It is not taken.
        """
        limit = self._limit(scope["path"])
        declared = _header(scope, b"content-length")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(f"The body has {int(declared):,} bytes", limit)
        encoding = _header(scope, b"content-encoding").lower()
        if encoding not in ("", "identity"):
            raise UnsupportedMediaType(
                f"The body is compressed ('{encoding[:20]}').", hint="Send it as it is.", field="Content-Encoding"
            )
        is_json = _check_media_type(scope)
        parts: list[bytes] = []
        size, started = 0, time.monotonic()
        while intake.more:
            allowed = self._settings.body_seconds * (1 + size // MIB)
            message = await self._next(intake, started + allowed - time.monotonic(), size)
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise _too_large("The body is larger", limit)
        body = b"".join(parts)
        if is_json and body and not (self._unread and self._unread.fullmatch(scope["path"])):
            await (run_in_threadpool(check_json, body) if size > CHECKED_HERE else _at_once(body))
        return body

    def _limit(self, path: str) -> int:
        larger = (size for pattern, size in self._larger if pattern.fullmatch(path))
        return next(larger, int(self._settings.body_mib * MIB))

    async def _next(self, intake: "_Intake", seconds: float, so_far: int) -> Message:
        try:
            return await asyncio.wait_for(intake.receive(), max(seconds, 0))
        except TimeoutError:
            raise TooSlow(
                f"Only {so_far:,} bytes of the body arrived in {self._settings.body_seconds:g} s.",
                hint="Send it faster, or in smaller parts.",
            ) from None


class _Intake:
    """A body as it comes in, which is read on after a refusal: many clients hear an answer only when all is sent."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.more = True

    async def receive(self) -> Message:
        """Return the next part."""
        message = await self._receive()
        self.more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    def then_drained(self, send: Send) -> Send:
        """Return a `send` that hands an answer over whole, then forgets the rest of the body, and ends only then."""

        async def sending(message: Message) -> None:
            if message["type"] != "http.response.body" or not self.more:
                await send(message)
                return
            await send({**message, "more_body": True})
            await self._drain()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        return sending

    async def _drain(self) -> None:
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while self.more and size <= DRAINED:
                    size += len((await self.receive()).get("body", b""))


def check_json(body: bytes) -> None:
    """Check that a body is JSON that every program reads alike: RFC 8259 in the stricter form of I-JSON (RFC 7493).

    Raises:
        InvalidJson: It is malformed, nests too deeply, repeats a name, or holds what is no JSON or no text: NaN, half a
            surrogate pair, NUL, an integer beyond 64 bits.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "depth" in error.msg:
            raise _too_deep() from None
        raise _no_json(
            f"is not JSON: {error.msg[:100]} (line {error.lineno}, column {error.colno})",
            "Send one JSON document in UTF-8; NaN and Infinity are written as null.",
        ) from None
    if _depth(body) > MAX_JSON_DEPTH:
        raise _too_deep()
    if b"\\u0000" in body and _holds_nul(json.loads(body)):
        raise _no_json("holds a NUL character", "Leave it out.")
    # Of most bodies it is plain that no name comes twice and no integer is long; the others are read once more.
    bare = _STRINGS.sub(b"", body)
    names = _STRINGS.sub(b"", orjson.dumps(document)).count(b":")
    if bare.count(b":") != names or _LONG_INTEGER in bare.translate(_AS_ZEROS):
        json.loads(body, object_pairs_hook=_distinct, parse_int=_within_64_bits)


def _depth(body: bytes) -> int:
    """Return how deeply a JSON document nests; one more than the limit where it is more."""
    brackets = _STRINGS.sub(b"", body).translate(_AS_BRACKETS, _NO_BRACKETS)
    depth = 0
    # Each turn takes away the innermost pairs; a long run of opening ones is told at once, so that turns are few.
    while brackets and depth <= MAX_JSON_DEPTH:
        if _TOO_DEEP in brackets:
            return MAX_JSON_DEPTH + 1
        brackets, depth = brackets.replace(b"[]", b""), depth + 1
    return depth


# Possessive (+ after a group of one kind), so that a quote that never ends costs one look at each byte.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")
_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_INTEGER = b"0" * 19
_TOO_DEEP = b"[" * (MAX_JSON_DEPTH + 1)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _no_json(f"has '{twice[:60]}' twice in one object", "Keep one of them.")
    return document


def _within_64_bits(text: str) -> int:
    value = int(text) if len(text) <= 20 else MAX_INTEGER + 1
    if not MIN_INTEGER <= value <= MAX_INTEGER:
        raise _no_json(f"holds an integer of {len(text.lstrip('-'))} digits", "Give integers of at most 64 bits.")
    return value


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in name or _holds_nul(inner) for name, inner in value.items())
    return isinstance(value, list) and any(_holds_nul(inner) for inner in value)


async def _at_once(body: bytes) -> None:
    check_json(body)


def _too_deep() -> InvalidJson:
    return _no_json(f"nests deeper than {MAX_JSON_DEPTH} levels", "Give fewer levels.")


def _no_json(what: str, hint: str) -> InvalidJson:
    return InvalidJson(f"The body {what}.", hint=hint, field="body")


def _too_large(what: str, limit: int) -> LimitExceeded:
    return LimitExceeded(f"{what}; the limit is {limit:,}.", hint="Send less, or in several parts.", field="body")


def _has_body(scope: Scope) -> bool:
    return _header(scope, b"content-length") not in ("", "0") or bool(_header(scope, b"transfer-encoding"))


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1").strip() for header, value in scope["headers"] if header == name), "")


def _check_media_type(scope: Scope) -> bool:
    """Tell whether a body is said to be JSON.

    Raises:
        UnsupportedMediaType: It is of a type that no operation takes, or not in UTF-8.
    """
    headers = Headers()
    given = _header(scope, b"content-type")
    headers["content-type"] = given
    kind = headers.get_content_type() if given else ""
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        charset = str(headers.get_param("charset", "utf-8")).lower()
        if charset not in ("utf-8", "utf8", "us-ascii"):
            raise UnsupportedMediaType(f"The body is in '{charset[:20]}'.", hint="Send UTF-8.", field="Content-Type")
        return True
    if kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return False
    raise wrong_media_type(scope)


# -- what is worked out at a time ------------------------------------------------------------------------------------


@dataclass
class Slots:
    """So many places to work in, and a short queue before them.

    Attributes:
        name: What is worked out in them.
        at_once: Places.
        waiting: Requests that may wait.
        seconds: How long one waits.
        apart: Whether they are worked out apart from light requests, see `geoetl.api.apart`.
        used, refused: Places in use now, and requests sent away since the start.
    """

    name: str
    at_once: int
    waiting: int
    seconds: float
    apart: bool = False
    used: int = 0
    refused: int = 0
    _queue: deque[asyncio.Future[None]] = field(default_factory=deque)

    @property
    def is_full(self) -> bool:
        """Whether the next one has to wait."""
        return self.used >= self.at_once

    @property
    def queued(self) -> int:
        """Requests that wait now."""
        return len(self._queue)

    @asynccontextmanager
    async def place(self, gone: Callable[[], "asyncio.Task[None]"]) -> AsyncIterator[bool]:
        """Hold a place for the length of the block; False where the client left before there was one.

        Args:
            gone: Starts a task that ends when the client leaves; asked only where one has to wait.

        Raises:
            Busy: The queue is full, or none became free in time.
        """
        if not self.is_full:
            self.used += 1
        elif not await self._wait(gone):
            yield False
            return
        try:
            yield True
        finally:
            self._free()

    async def _wait(self, gone: Callable[[], "asyncio.Task[None]"]) -> bool:
        if self.queued >= self.waiting:
            raise self._busy(f"{self.used} are being worked out and {self.queued} wait")
        place = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        left = gone()
        try:
            await asyncio.wait({place, left}, timeout=self.seconds, return_when=asyncio.FIRST_COMPLETED)
            if place.done() and not left.done():
                return True
            if place.done():
                self._free()
            if not left.done():
                raise self._busy(f"none became free within {self.seconds:g} s")
            return False
        except asyncio.CancelledError:
            if place.done():
                self._free()
            raise
        finally:
            left.cancel()
            place.cancel()
            with suppress(ValueError):  # who was called to a place is out of the queue
                self._queue.remove(place)

    def _free(self) -> None:
        """Hand a place to the one that waits longest, or give it back."""
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.used -= 1

    def _busy(self, why: str) -> Busy:
        self.refused += 1
        return Busy(f"Too many {self.name} are asked for at a time: {why}.", hint="Try again in a few seconds.")


class HeavySlots:
    """Let only so many heavy operations run at a time; light ones pass.

    Args:
        app: What is guarded.
        groups: Slots, each with the paths that need one.
        launch: Starts the process that works on what is to be apart; left out, it is worked on here.
    """

    def __init__(self, app: ASGIApp, groups: Mapping[re.Pattern[str], Slots], launch: Launch | None = None) -> None:
        self.app = app
        self._apart = Apart(app, launch)
        self._groups = groups

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        slots = None
        if scope["type"] == "http":
            slots = next((held for pattern, held in self._groups.items() if pattern.fullmatch(scope["path"])), None)
        if slots is None:
            await self.app(scope, receive, send)
            return
        heard: deque[Message] = deque()
        waits = slots.is_full and slots.queued < slots.waiting
        if waits and CHECKED_FIRST.fullmatch(scope["path"]) and await self._refused(scope, receive, send, heard):
            return

        async def listen() -> None:
            while not heard or heard[-1]["type"] != "http.disconnect":
                heard.append(await receive())

        try:
            async with slots.place(lambda: asyncio.get_running_loop().create_task(listen())) as held:
                if held:
                    await (self._apart if slots.apart else self.app)(scope, _replayed(heard, receive), send)
        except Busy as problem:
            await refuse(problem, scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start the process beside the server, so that the first heavy request need not wait for it."""
        starting = asyncio.get_running_loop().create_task(self._apart.start())
        try:
            await self.app(scope, receive, send)
        finally:
            await starting
            await self._apart.stop()

    async def _refused(self, scope: Scope, receive: Receive, send: Send, heard: deque[Message]) -> bool:
        """Answer a request that is refused anyway, or asks for its cost alone; tell whether that was so.

        Nobody waits for a place only to hear that it is too much.
        """
        heard.append(await receive())
        if heard[0]["type"] != "http.request" or heard[0].get("more_body", False):
            return False
        fits = False

        async def unless_it_fits(message: Message) -> None:
            nonlocal fits
            fits = fits or message.get("status") == Fits.status
            if not fits:
                await send(message)

        asked = only_checking.set(True)
        try:
            await self._apart(scope, _replayed(deque(heard), receive), unless_it_fits)
        finally:
            only_checking.reset(asked)
        return not fits


def _replayed(heard: deque[Message], receive: Receive) -> Receive:
    """Return a `receive` that hands out first what was heard already."""

    async def told() -> Message:
        return heard.popleft() if heard else await receive()

    return told


def heavy_groups(settings: ServerSettings) -> dict[re.Pattern[str], Slots]:
    """Return the slots of this server, each with the paths that need one."""
    queue = (settings.waiting, settings.waiting_seconds)
    return {
        PICTURES: Slots("pictures", settings.pictures_at_once, *queue, apart=True),
        SEARCHES: Slots("searches", settings.searches_at_once, *queue),
        STYLES: Slots("styles", settings.searches_at_once, *queue),
    }


async def refuse(
    problem: GeoetlError, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str] | None = None
) -> None:
    """Answer with a problem from outside of the routes; a websocket is closed before it opens."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": problem.code})
        return
    await respond(problem, scope, headers=headers)(scope, receive, send)
