"""Requests as bytes, for what no client library would send, and a server with the limits of connections."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from geoetl.api.connections import uvicorn_options
from geoetl.core.settings import ServerSettings

# What has not come by then never will.
PATIENCE_S = 30


@dataclass(frozen=True)
class Answer:
    """What came back over a connection: the first answer, and everything.

    Attributes:
        status: Of the first answer; 0 where the connection was closed without one.
        headers: Its headers, in small letters.
        body: Its body.
        answers: How many answers came.
        closed: Whether the server closed the connection.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    answers: int
    closed: bool

    def problem(self) -> dict[str, Any]:
        """Return the body of a problem."""
        assert self.headers["content-type"] == "application/problem+json"
        document: dict[str, Any] = json.loads(self.body)
        return document


@contextmanager
def serving(app: ASGIApp, settings: ServerSettings) -> Iterator[int]:
    """Serve an application with the limits of its connections; gives the port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        server = uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=1, **uvicorn_options(settings)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + PATIENCE_S
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def connect(port: int) -> socket.socket:
    """Open a connection."""
    opened = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def send(port: int, *parts: bytes) -> Answer:
    """Send bytes and read until the server closes; what is sent should ask it to."""
    with connect(port) as opened:
        try:
            for part in parts:
                opened.sendall(part)
        except OSError:
            pass  # it has closed already, and may have said why
        return read(opened)


def read(opened: socket.socket) -> Answer:
    """Read until the server closes, or nothing more comes."""
    got, closed = b"", False
    try:
        while part := opened.recv(65536):
            got += part
        closed = True
    except ConnectionError:
        closed = True
    except TimeoutError:
        pass
    head, _, rest = got.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/1.1 "):
        return Answer(0, {}, got, 0, closed)
    pairs = (line.partition(":") for line in lines[1:])
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    length = int(headers.get("content-length", len(rest)))
    return Answer(int(lines[0].split()[1]), headers, rest[:length], got.count(b"HTTP/1.1 "), closed)


def request(
    method: str, path: str, *headers: str, body: bytes = b"", length: int | None = None, close: bool = True
) -> bytes:
    """Return the bytes of a request, with as little in it as there has to be."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if body or length is not None:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def post_json(path: str, body: bytes, *headers: str) -> bytes:
    """Return the bytes of a POST of JSON."""
    return request("POST", path, "Content-Type: application/json", *headers, body=body)
