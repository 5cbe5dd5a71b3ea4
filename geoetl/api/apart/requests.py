"""The server's side: requests are handed to the process apart, and its answers to whoever asked."""

import asyncio
import itertools
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geoetl.access.cost import only_checking
from geoetl.api.apart.frames import Frame, as_bytes, as_text, read_frame, write_frame
from geoetl.api.observe import note_route
from geoetl.core.errors import Unavailable

# Starts a process at the other end of a socket, and returns what waits until it has ended.
Launch = Callable[[socket.socket], Callable[[], Any]]

_log = logging.getLogger("geoetl.api")
_IN_SCOPE = ("http_version", "method", "scheme", "path", "root_path", "app_root_path", "client", "server")


class Apart:
    """Have requests answered by a process of their own; without one, here.

    Args:
        app: What answers here.
        launch: Starts the process; it is started when the server starts or is first asked, and again after a death.
    """

    def __init__(self, app: ASGIApp, launch: Launch | None = None) -> None:
        self.app = app
        self._launch = launch
        self._link: asyncio.Task[_Link] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            Unavailable: The process ended before the answer began.
        """
        if self._launch is None:
            await self.app(scope, receive, send)
        else:
            await _Conversation(await self._linked(self._launch), scope, receive, send).hold()

    async def start(self) -> None:
        """Start the process before it is asked."""
        if self._launch is not None:
            await self._linked(self._launch)

    async def stop(self) -> None:
        """Let the process end."""
        if self._link is not None:
            (await self._link).close()

    async def _linked(self, launch: Launch) -> "_Link":
        # Requests that come at the same time wait for the same start.
        if self._link is None or (self._link.done() and (self._link.exception() or not self._link.result().is_open)):
            self._link = asyncio.get_running_loop().create_task(_Link.to(launch))
        return await asyncio.shield(self._link)


class _Link:
    """The connection to one process."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ended: Callable[[], Any]) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count()
        self._told: dict[int, asyncio.Queue[Frame | None]] = {}
        self.is_open = True
        self._listening = asyncio.get_running_loop().create_task(self._listen(ended))

    @classmethod
    async def to(cls, launch: Launch) -> "_Link":
        ours, theirs = socket.socketpair()
        try:
            ended = await asyncio.to_thread(launch, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(*await asyncio.open_connection(sock=ours), ended)

    def begin(self) -> tuple[int, "asyncio.Queue[Frame | None]"]:
        """Return the number of a new conversation, and where the other side's frames arrive: None when it ends."""
        number, told = next(self._numbers), asyncio.Queue[Frame | None]()
        self._told[number] = told
        if not self.is_open:
            told.put_nowait(None)
        return number, told

    def end(self, number: int) -> None:
        """Forget a conversation."""
        del self._told[number]

    def tell(self, document: dict[str, Any], content: bytes = b"") -> None:
        """Send a frame."""
        write_frame(self._writer, document, content)

    def close(self) -> None:
        """Hang up; the process ends by it."""
        self._writer.close()

    async def _listen(self, ended: Callable[[], Any]) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                document, content = await read_frame(self._reader)
                if (told := self._told.get(document["id"])) is not None:
                    told.put_nowait((document, content))
        self.is_open = False
        was_told_to = self._writer.is_closing()
        self._writer.close()
        for told in self._told.values():
            told.put_nowait(None)
        status = await asyncio.to_thread(ended)
        if not was_told_to:
            _log.error("The process of heavy requests ended (%s); it is started again when it is needed.", status)


class _Conversation:
    """One request and its answer."""

    def __init__(self, link: _Link, scope: Scope, receive: Receive, send: Send) -> None:
        self._link = link
        self._scope = scope
        self._receive = receive
        self._send = send
        self._hearing: asyncio.Task[None] | None = None

    async def hold(self) -> None:
        number, told = self._link.begin()
        self._link.tell(
            {
                "id": number,
                "what": "request",
                "checking": only_checking.get(),
                "scope": {
                    **{name: self._scope[name] for name in _IN_SCOPE if name in self._scope},
                    "query_string": self._scope.get("query_string", b"").decode("latin-1"),
                    "raw_path": (self._scope.get("raw_path") or self._scope["path"].encode()).decode("latin-1"),
                    "headers": as_text(self._scope["headers"]),
                    "request_id": self._scope.get("state", {}).get("request_id", ""),
                },
            }
        )
        done = False
        try:
            await self._follow(number, told)
            done = True
        finally:
            if not done:
                self._link.tell({"id": number, "what": "cancel"})
            if self._hearing is not None:
                self._hearing.cancel()
            self._link.end(number)

    async def _follow(self, number: int, told: "asyncio.Queue[Frame | None]") -> None:
        begun = False
        while frame := await told.get():
            document, content = frame
            match document["what"]:
                case "hear":
                    self._hearing = asyncio.get_running_loop().create_task(self._hear(number))
                case "start":
                    begun = True
                    note_route(self._scope, document["route"])
                    headers = as_bytes(document["headers"])
                    await self._send({"type": "http.response.start", "status": document["status"], "headers": headers})
                case "body":
                    await self._send({"type": "http.response.body", "body": content, "more_body": document["more"]})
                    self._link.tell({"id": number, "what": "sent"})
                case "end":
                    return
        if begun:
            raise ConnectionError("the process of heavy requests ended in the middle of an answer")
        raise Unavailable("What was to answer this ended.", hint="Try again; it is started anew.")

    async def _hear(self, number: int) -> None:
        message: Message = await self._receive()
        document = {"type": message["type"], "more": message.get("more_body", False)}
        self._link.tell({"id": number, "what": "heard", **document}, message.get("body", b""))
