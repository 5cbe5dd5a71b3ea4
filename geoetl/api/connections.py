"""Connections: how long headers may take and how large they may be, before there is a request that a layer could see.

uvicorn gives an idle connection an end only after its first answer; a client that sends its headers drop by drop
(slowloris) would hold one for ever.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from geoetl.api.problems import HeadersTooLarge, TooSlow, respond
from geoetl.core.errors import GeoetlError, InputError, Unavailable
from geoetl.core.settings import ServerSettings

KIB = 1024
# Sizes of chunks, their extensions and trailers, beyond the body itself: a chunk of one byte has six of these.
MAX_OVERHEAD = 16 * 1024 * KIB


def uvicorn_options(settings: ServerSettings) -> dict[str, Any]:
    """Return what `uvicorn.Config` needs for these limits; logging stays with `geoetl.core.logging`."""
    return {
        "http": limited_protocol(settings),
        "timeout_keep_alive": settings.keep_alive_seconds,
        "server_header": False,
        "access_log": False,
        "log_config": None,
    }


def limited_protocol(settings: ServerSettings) -> type[asyncio.Protocol]:
    """Return the HTTP/1.1 protocol with limits of time, size and number."""
    return type("LimitedProtocol", (_LimitedProtocol,), {"limits": settings})


class _LimitedProtocol(HttpToolsProtocol):
    limits: ServerSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._overhead = 0
        self._in_head = True
        self._asked = False
        self._refused = False
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(Unavailable("The server has no connection left.", hint="Try again in a few seconds."))
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._asked = True
        if self._in_head:
            self._start_timer()
            self._head_bytes += len(data)
        else:
            self._overhead += len(data)
        super().data_received(data)
        if self._overhead > MAX_OVERHEAD and not self._refused:
            self._too_large()
        if self._in_head and self._head_bytes > self.limits.header_kib * KIB and not self._refused:
            self._too_large()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._head_bytes = max(self._head_bytes, len(self.url))

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers of a chunked body come here too; uvicorn would add them to the headers that were checked before.
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        if self._refused:
            return
        hosts = sum(name == b"host" for name, _ in self.headers)
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1") or hosts > 1 or (hosts == 0 and version == "1.1"):
            # RFC 9112, sections 2.3 and 3.2; what a proxy before us made of it is not known.
            self.send_400_response("")
            return
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.header_kib * KIB:
            self._too_large()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._overhead -= len(body)
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head_bytes = self._overhead = 0
        if not self._refused:
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        if not self._refused:
            super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        if not self._refused:
            self._refuse(InputError("The request is not valid HTTP/1.1.", hint="Check how it is sent."))

    def _start_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.header_seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        if not self._asked:  # a browser connects before it needs to; nothing was asked, so nothing is answered
            self._refused = True
            self.transport.close()
            return
        self._refuse(
            TooSlow(f"The headers did not arrive within {self.limits.header_seconds:g} s.", hint="Send them at once.")
        )

    def _too_large(self) -> None:
        self._refuse(
            HeadersTooLarge(
                f"The address and headers are larger than {self.limits.header_kib} KiB.", hint="Send fewer, or shorter."
            )
        )

    def _refuse(self, problem: GeoetlError) -> None:
        """Answer from here and close; where an answer is being written already, only close."""
        self._refused = True
        self._stop_timer()
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if not self.pipeline and (cycle is None or cycle.response_complete or not cycle.response_started):
            answer = respond(problem, {"type": "http", "method": "GET", "path": "", "headers": []})
            head = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode()]
            head += [name + b": " + value for name, value in answer.raw_headers]
            self.transport.write(b"\r\n".join([*head, b"connection: close", b"", bytes(answer.body)]))
        if cycle is not None and not cycle.response_complete:
            # The operation hears that the client left, and what it says is not sent.
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()
