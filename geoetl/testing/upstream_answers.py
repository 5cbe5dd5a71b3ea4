"""How a played source answers over HTTP, rightly and wrongly."""

import contextlib
import gzip
import json
import socket
import struct
from collections.abc import Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from geoetl.testing.upstream_parts import Asked, Fault, Misbehaviour, Reply, ServedFile

if TYPE_CHECKING:
    from geoetl.testing.upstream import LocalUpstream

_HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
_BLOCK = 16 * 1024
_BOMB_BYTES = 64 * 1024**2


@cache
def _bomb() -> bytes:
    return gzip.compress(bytes([32]) * _BOMB_BYTES)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away: tests kill them."""


def handler_of(upstream: "LocalUpstream") -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        source = upstream

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    source: "LocalUpstream"

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
        file, function, fault = self.source.take(asked)
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

    def _is_played(self, asked: Asked, fault: Misbehaviour) -> bool:
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
        if reply.is_lost:
            self.close_connection = True
            return
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self._answer(asked, reply.status, body, {"Content-Type": "application/json", **(reply.headers or {})})

    def _answer_file(self, asked: Asked, file: ServedFile, fault: Misbehaviour | None) -> None:
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

    def _first(self, asked: Asked, file: ServedFile) -> tuple[int, int] | None:
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
        fault: Misbehaviour | None = None,
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
                if self.source.ended.wait(fault.pause_s):
                    return
                self._send(asked, bytes([byte]))
            return
        self.close_connection = True
        if kind in (Fault.CHANGED, Fault.CHANGED_SILENTLY):
            self.source.change(asked.path, fault)
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
            # Before it is: whoever has read it may ask at once how much was sent.
            asked.sent.append(len(block))
            self.wfile.write(block)

    def _reset(self) -> None:
        """End the connection so that the other side gets an error, and not an end."""
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
