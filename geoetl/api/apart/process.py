"""The process apart: ``python -m geoetl.api.apart.process SOCKET`` answers what comes through the socket.

It starts in the folder and with the environment of the server, so that its settings are the same, and opens the same
catalogue and files.  When the server ends, in whatever way, so does the socket, and with it the process.
"""

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from geoetl.access.cost import only_checking
from geoetl.api.apart.frames import Frame, as_bytes, as_text, read_frame, write_frame
from geoetl.core.logging import bound

# Of 20 steps; a core that both want is then used nine parts in ten by the server.
NICER_BY = 10
# So much of an answer is handed to the server at once: it copies it while nobody else has its lock, at 1 to 4 GB/s.
PIECE = 256 * 1024
# New objects after which Python looks for garbage, as in the server.
GARBAGE_AFTER = 50_000


def launch(theirs: socket.socket) -> Callable[[], int]:
    """Start the process at the other end of `theirs`; return what waits for its exit status."""
    command = [sys.executable, "-P", "-m", "geoetl.api.apart.process", str(theirs.fileno())]
    # A session of its own: Ctrl+C is for the server, which then hangs up.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), start_new_session=True).wait


async def answer(app: ASGIApp, connection: socket.socket) -> None:
    """Answer what comes through a connection, until it ends."""
    reader, writer = await asyncio.open_connection(sock=connection)
    open_ones: dict[int, _Answer] = {}
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            document, content = await read_frame(reader)
            number = document["id"]
            if document["what"] == "request":
                open_ones[number] = _Answer(app, document, writer, partial(open_ones.pop, number))
            elif number in open_ones:
                open_ones[number].told((document, content))
    writer.close()


class _Answer:
    """One request on its way to an answer."""

    def __init__(
        self, app: ASGIApp, document: dict[str, Any], writer: asyncio.StreamWriter, forget: Callable[[], Any]
    ) -> None:
        self._number: int = document["id"]
        self._writer = writer
        self._heard = asyncio.Queue[Message]()
        self._sent = asyncio.Semaphore(0)
        self._scope = _scope(document["scope"])
        self._task = asyncio.get_running_loop().create_task(self._work(app, document["checking"], forget))

    def told(self, frame: Frame) -> None:
        document, content = frame
        match document["what"]:
            case "heard" if document["type"] == "http.disconnect":
                self._heard.put_nowait({"type": "http.disconnect"})
            case "heard":
                self._heard.put_nowait({"type": document["type"], "body": content, "more_body": document["more"]})
            case "sent":
                self._sent.release()
            case "cancel":
                self._task.cancel()

    async def _work(self, app: ASGIApp, checking: bool, forget: Callable[[], Any]) -> None:
        only_checking.set(checking)
        try:
            with bound(request_id=self._scope["state"]["request_id"]):
                # What goes wrong has been answered and logged by the application when it comes here.
                with suppress(Exception):
                    await app(self._scope, self._receive, self._send)
        finally:
            forget()
            self._tell({"what": "end"})

    async def _receive(self) -> Message:
        self._tell({"what": "hear"})
        return await self._heard.get()

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = as_text(message.get("headers", ()))
            self._tell({"what": "start", "status": message["status"], "headers": headers, "route": self._route()})
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        for start in range(0, max(len(body), 1), PIECE):
            last = start + PIECE >= len(body)
            self._tell({"what": "body", "more": more or not last}, body[start : start + PIECE])
            await self._writer.drain()
            # Each when the one before is on its way, so that a slow client does not fill the memory of the server.
            await self._sent.acquire()

    def _route(self) -> str:
        from geoetl.api.observe import route_of

        return route_of(self._scope)

    def _tell(self, document: dict[str, Any], content: bytes = b"") -> None:
        write_frame(self._writer, {"id": self._number, **document}, content)


def _scope(told: dict[str, Any]) -> Scope:
    return {
        **told,
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "query_string": told["query_string"].encode("latin-1"),
        "raw_path": told["raw_path"].encode("latin-1"),
        "headers": as_bytes(told["headers"]),
        "client": tuple(told["client"]) if told.get("client") else None,
        "server": tuple(told["server"]) if told.get("server") else None,
        "state": {"request_id": told["request_id"]},
    }


def main() -> None:
    """Answer heavy requests until the server hangs up."""
    import geoetl
    from geoetl.api.app import create_heavy_app
    from geoetl.core.logging import configure_logging
    from geoetl.store.gate.gdal import restrict_gdal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICER_BY)
    restrict_gdal()
    platform = geoetl.connect(read_only=True).guarded()
    configure_logging(platform.settings.server)
    app = create_heavy_app(platform)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)
    asyncio.run(_until_hung_up(app, socket.socket(fileno=int(sys.argv[1]))))


async def _until_hung_up(app: ASGIApp, connection: socket.socket) -> None:
    await answer(app, connection)
    # Threads that still work on what nobody waits for would keep the process.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
