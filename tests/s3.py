"""An S3 server on this machine for the tests alone, every request of which is kept."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEY, SECRET = "reader", "not-to-be-shown"
HOW = "pip install nanio"


@dataclass
class S3Server:
    """A running server that knows one user.

    Attributes:
        url: Its endpoint.
        folder: Its buckets are the folders in it.
        requests: Method, path and range of each request so far.
    """

    url: str
    folder: Path
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which everything that reads and writes ``s3://`` comes here."""
        given_by = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
        return {**given_by, "AWS_ENDPOINT_URL": self.url, "AWS_ALLOW_HTTP": "true"}

    def count(self, method: str, part: str = "") -> int:
        """Return how many requests came of a method for paths that `part` is in."""
        return sum(verb == method and part in path for verb, path, _ in self.requests)


@contextmanager
def running(folder: Path, *buckets: str) -> Iterator[S3Server]:
    """Start a server with buckets, and end it.

    Raises:
        ImportError: nanio is not installed.
    """
    import uvicorn
    from nanio.app import build_app
    from nanio.auth.credentials import StaticCredentialResolver
    from nanio.config import Settings

    for bucket in buckets:
        (folder / bucket).mkdir()
    app = build_app(Settings(data_dir=folder, credentials=StaticCredentialResolver({KEY: SECRET})))
    listening = socket.create_server(("127.0.0.1", 0))
    made = S3Server(f"http://127.0.0.1:{listening.getsockname()[1]}", folder)

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        wanted = dict(scope["headers"]).get(b"range", b"").decode()
        made.requests.append((scope["method"], scope["path"], wanted))
        await app(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(counting, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    yield made
    server.should_exit = True
    thread.join()
