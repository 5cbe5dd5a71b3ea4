"""An outside source on this machine that serves what it is given, and plays faults when it is told to.

Tests of handlers of managed datasets, ours and those of plug-ins, start it instead of asking the real source::

    with LocalUpstream() as source:
        url = source.serve("/parks.zip", body)
        source.misbehave("/parks.zip", Fault.RESET, at=100_000, times=1)
        ...
        assert source.fired("/parks.zip") == 1
        assert source.count("HEAD", "/parks.zip") == 1
"""

import contextlib
import gzip
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

MODIFIED = "Tue, 01 Sep 2026 00:00:00 GMT"
_HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
_BLOCK = 16 * 1024
_BOMB_BYTES = 64 * 1024**2


class Fault(StrEnum):
    """What a source does wrong; see `LocalUpstream.misbehave` for what each is told."""

    HTML = "a web page with status 200"
    REDIRECT = "a redirect to `to`"
    REDIRECT_LOOP = "a redirect to itself, through another address"
    TRUNCATED = "the end after `at` bytes, with the Content-Length of the whole"
    TRUNCATED_SILENTLY = "the end after `at` bytes, without Content-Length"
    TRUNCATED_CHUNKED = "the end after `at` bytes, in chunks, without the last"
    SLOW = "`at` bytes, and then one every `pause_s`"
    RESET = "a connection that is reset after `at` bytes"
    CHANGED = "a connection that is reset after `at` bytes, and `body` with another ETag from then on"
    CHANGED_SILENTLY = "a connection that is reset after `at` bytes, and `body` with the same ETag from then on"
    NOT_MODIFIED = "304 to a question without a condition"
    STATUS = "`status`, with `Retry-After` where it is told"
    HEAD_REFUSED = "`status` to HEAD, 405 if it is not told"
    RANGE_IGNORED = "the whole file, whatever part is asked for"
    RANGE_SHIFTED = "another part than was asked for"
    WRONG_TYPE = "a Content-Type that the file is not"
    NO_VALIDATORS = "neither ETag nor Last-Modified"
    GZIP_BOMB = "64 MiB of blanks, packed into 64 kB"
    CLOSED = "a connection that is closed without an answer"


@dataclass(frozen=True)
class Asked:
    """A request as it came.

    Attributes:
        method: GET, HEAD or POST.
        path: Without the query.
        query: Parameters; of one that stands twice, the last.
        headers: By name in lower case.
        body: As it came.
        form: Fields of a form.
        sent: Bytes of the body that were answered; counted while it goes on.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    sent: list[int]

    @property
    def form(self) -> dict[str, str]:
        """Fields of a form."""
        return dict(parse_qsl(self.body.decode("ascii"), keep_blank_values=True))

    @property
    def text(self) -> str:
        """All that came, as one text, to look for what should not be in it."""
        return f"{self.method} {self.path} {dict(self.query)} {dict(self.headers)} {self.body!r}"


@dataclass(frozen=True)
class Reply:
    """What a played API answers, where it is not plain JSON with status 200.

    Attributes:
        status: HTTP status.
        body: Sent as JSON, bytes as they are.
        headers: Sent with it.
    """

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class _File:
    body: bytes
    etag: str
    modified: str
    media_type: str


@dataclass
class _Misbehaviour:
    fault: Fault
    left: float
    at: int
    to: str
    body: bytes
    status: int
    retry_after: str
    pause_s: float


class LocalUpstream:
    """A source on a loopback port of its own, in threads.

    Args:
        tls: Serves https with it.

    Attributes:
        requests: All that came, in their order.
    """

    def __init__(self, *, tls: SSLContext | None = None) -> None:
        self.requests: list[Asked] = []
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._functions: dict[str, Callable[[Asked], Any]] = {}
        self._faults: dict[str, _Misbehaviour] = {}
        self._fired: dict[str, int] = {}
        self._ended = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "http" if tls is None else "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> "LocalUpstream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Return the address of a path; ``localhost`` is another host of the same source."""
        return f"{self._scheme}://{host}:{self._server.server_address[1]}{path}"

    # -- what it serves ------------------------------------------------------------------------------------------------

    def serve(
        self,
        path: str,
        body: bytes,
        *,
        etag: str | None = None,
        last_modified: str = MODIFIED,
        media_type: str = "application/octet-stream",
    ) -> str:
        """Serve a file, in place of the one that was there, and return its address.

        Args:
            path: Begins with "/".
            body: The file.
            etag: With its quotes; by default made of the bytes. "" for none.
            last_modified: HTTP date; "" for none.
            media_type: Content-Type.
        """
        made = f'"{hashlib.sha256(body).hexdigest()[:16]}"' if etag is None else etag
        with self._lock:
            self._files[path] = _File(body, made, last_modified, media_type)
        return self.url(path)

    def remove(self, path: str) -> None:
        """Serve a file no more: 404."""
        with self._lock:
            del self._files[path]

    def json(self, path: str, function: Callable[[Asked], Any]) -> str:
        """Answer what is asked of a path with what `function` returns, a `Reply` or JSON, and return its address."""
        with self._lock:
            self._functions[path] = function
        return self.url(path)

    def misbehave(
        self,
        path: str,
        fault: Fault,
        *,
        times: int | None = None,
        at: int = 0,
        to: str = "",
        body: bytes = b"",
        status: int = 0,
        retry_after: str = "",
        pause_s: float = 0.05,
    ) -> None:
        """Do something wrong with a path, in place of what was said before.

        Args:
            path: What is asked for.
            fault: What is wrong.
            times: So often, and then never again; None for always.
            at: After so many bytes of an answer.
            to: Address that a redirect leads to.
            body: The file from then on.
            status: HTTP status: of STATUS by default 500, of HEAD_REFUSED 405, of redirects 302.
            retry_after: Header of that name: seconds, or an HTTP date.
            pause_s: Between two bytes of a slow answer.
        """
        left = float("inf") if times is None else times
        with self._lock:
            self._faults[path] = _Misbehaviour(fault, left, at, to, body, status, retry_after, pause_s)
            self._fired[path] = 0

    def behave(self, path: str) -> None:
        """Do nothing wrong with a path any more."""
        with self._lock:
            self._faults.pop(path, None)

    # -- what it saw ---------------------------------------------------------------------------------------------------

    def fired(self, path: str) -> int:
        """Return how often the fault that was last told for a path was played."""
        return self._fired.get(path, 0)

    def count(self, method: str = "", path: str = "") -> int:
        """Return how many requests came of a method for a path; of all where they are not given."""
        return sum(method in ("", one.method) and path in ("", one.path) for one in list(self.requests))

    def sent(self, path: str) -> int:
        """Return how many bytes of bodies were sent for a path."""
        return sum(sum(one.sent) for one in list(self.requests) if one.path == path)

    def saw(self, text: str) -> list[Asked]:
        """Return the requests that `text` was anywhere in: address, headers or body."""
        return [one for one in list(self.requests) if text in one.text]

    # -- for the threads -----------------------------------------------------------------------------------------------

    def _take(self, asked: Asked) -> "tuple[_File | None, Callable[[Asked], Any] | None, _Misbehaviour | None]":
        """Take note of a request, and return what is to be done about it."""
        with self._lock:
            self.requests.append(asked)
            fault = self._faults.get(asked.path)
            if fault is not None and not (fault.left and _applies(fault.fault, asked)):
                fault = None
            if fault is not None:
                fault.left -= 1
                self._fired[asked.path] += 1
            return self._files.get(asked.path), self._functions.get(asked.path), fault

    def _change(self, path: str, fault: _Misbehaviour) -> None:
        old = self._files[path]
        etag = old.etag if fault.fault is Fault.CHANGED_SILENTLY else None
        self.serve(path, fault.body, etag=etag, last_modified=old.modified, media_type=old.media_type)


def _applies(fault: Fault, asked: Asked) -> bool:
    """Tell whether a fault can be played with a request: those of bodies need one."""
    if fault is Fault.HEAD_REFUSED:
        return asked.method == "HEAD"
    if fault in (Fault.RANGE_IGNORED, Fault.RANGE_SHIFTED):
        return "range" in asked.headers
    return asked.method != "HEAD" or fault not in _OF_BODIES


_OF_BODIES = frozenset(
    {
        Fault.TRUNCATED,
        Fault.TRUNCATED_SILENTLY,
        Fault.TRUNCATED_CHUNKED,
        Fault.SLOW,
        Fault.RESET,
        Fault.CHANGED,
        Fault.CHANGED_SILENTLY,
        Fault.GZIP_BOMB,
    }
)


@cache
def _bomb() -> bytes:
    return gzip.compress(bytes([32]) * _BOMB_BYTES)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away: tests kill them."""


def _handler(upstream: LocalUpstream) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        source = upstream

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    source: LocalUpstream

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        asked = Asked(self.command, parts.path, query, headers, body, [])
        file, function, fault = self.source._take(asked)
        if fault is not None and self._is_played(asked, fault):
            return
        if function is not None:
            self._answer_json(asked, function(asked))
        elif parts.path.endswith("/around-again"):
            self._answer(asked, 302, b"", {"Location": parts.path.removesuffix("/around-again")})
        elif file is None:
            self._answer(asked, 404, b'{"error": "not found"}', {"Content-Type": "application/json"})
        else:
            self._answer_file(asked, file, fault)

    def _is_played(self, asked: Asked, fault: _Misbehaviour) -> bool:
        """Play faults that need no file."""
        match fault.fault:
            case Fault.HTML:
                self._answer(asked, 200, _HTML, {"Content-Type": "text/html; charset=utf-8"})
            case Fault.REDIRECT:
                self._answer(asked, fault.status or 302, b"", {"Location": fault.to})
            case Fault.REDIRECT_LOOP:
                self._answer(asked, fault.status or 302, b"", {"Location": f"{asked.path}/around-again"})
            case Fault.NOT_MODIFIED:
                self._answer(asked, 304, b"", {})
            case Fault.STATUS | Fault.HEAD_REFUSED:
                default = 500 if fault.fault is Fault.STATUS else 405
                again = {"Retry-After": fault.retry_after} if fault.retry_after else {}
                self._answer(asked, fault.status or default, _HTML, {"Content-Type": "text/html", **again})
            case Fault.GZIP_BOMB:
                packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
                self._answer(asked, 200, _bomb(), packed)
            case Fault.CLOSED:
                self.close_connection = True
            case _:
                return False
        return True

    def _answer_json(self, asked: Asked, answer: Any) -> None:
        reply = answer if isinstance(answer, Reply) else Reply(body=answer)
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self._answer(asked, reply.status, body, {"Content-Type": "application/json", **(reply.headers or {})})

    def _answer_file(self, asked: Asked, file: _File, fault: _Misbehaviour | None) -> None:
        kind = fault.fault if fault else None
        headers = {"Content-Type": file.media_type, "Accept-Ranges": "bytes"}
        if kind is Fault.WRONG_TYPE:
            headers["Content-Type"] = "text/html; charset=utf-8"
        if kind is not Fault.NO_VALIDATORS:
            headers |= {name: text for name, text in (("ETag", file.etag), ("Last-Modified", file.modified)) if text}
        size = len(file.body)
        first = self._first(asked, file) if kind not in (Fault.RANGE_IGNORED, Fault.NO_VALIDATORS) else None
        status, last = 200, size - 1
        if first is not None:
            start, end = first
            if start >= size:
                self._answer(asked, 416, b"", {"Content-Range": f"bytes */{size}"})
                return
            if kind is Fault.RANGE_SHIFTED:
                start = min(start + 1, size - 1)
            status, last = 206, min(end, size - 1)
            headers["Content-Range"] = f"bytes {start}-{last}/{size}"
        else:
            start = 0
        body = file.body[start : last + 1]
        if kind in (Fault.TRUNCATED_SILENTLY, Fault.TRUNCATED_CHUNKED):
            self._answer_unmeasured(asked, status, body[: fault.at] if fault else body, headers, kind)
            return
        self._answer(asked, status, body, headers, fault)

    def _first(self, asked: Asked, file: _File) -> tuple[int, int] | None:
        """Return the first and last byte that are asked for; None for the whole, of another version too (If-Range)."""
        told = asked.headers.get("range", "")
        condition = asked.headers.get("if-range")
        if not told.startswith("bytes=") or (condition and condition not in (file.etag, file.modified)):
            return None
        first, _, last = told.removeprefix("bytes=").partition("-")
        return int(first), int(last) if last else len(file.body) - 1

    def _answer(
        self,
        asked: Asked,
        status: int,
        body: bytes,
        headers: Mapping[str, str],
        fault: _Misbehaviour | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if asked.method == "HEAD" or status == 304:
            return
        kind = fault.fault if fault else None
        if fault is None or kind not in (
            Fault.TRUNCATED,
            Fault.SLOW,
            Fault.RESET,
            Fault.CHANGED,
            Fault.CHANGED_SILENTLY,
        ):
            self._send(asked, body)
            return
        self._send(asked, body[: fault.at])
        if kind is Fault.SLOW:
            for byte in body[fault.at :]:
                if self.source._ended.wait(fault.pause_s):
                    return
                self._send(asked, bytes([byte]))
            return
        self.close_connection = True
        if kind in (Fault.CHANGED, Fault.CHANGED_SILENTLY):
            self.source._change(asked.path, fault)
        if kind is not Fault.TRUNCATED:
            self._reset()

    def _answer_unmeasured(
        self, asked: Asked, status: int, body: bytes, headers: Mapping[str, str], kind: Fault | None
    ) -> None:
        """Answer without a length, and close the connection where the client has to take that for the end."""
        self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        if kind is Fault.TRUNCATED_CHUNKED:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(f"{len(body):x}\r\n".encode())
            self._send(asked, body)
            self.wfile.write(b"\r\n")
            return
        self.end_headers()
        self._send(asked, body)

    def _send(self, asked: Asked, body: bytes) -> None:
        for start in range(0, len(body), _BLOCK):
            block = body[start : start + _BLOCK]
            self.wfile.write(block)
            asked.sent.append(len(block))

    def _reset(self) -> None:
        """End the connection so that the other side gets an error, and not an end."""
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
