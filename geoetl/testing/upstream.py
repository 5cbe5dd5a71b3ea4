"""An outside source on this machine that serves what it is given, and plays faults when it is told to.

Tests of handlers of managed datasets, ours and those of plug-ins, start it instead of asking the real source::

    with LocalUpstream() as source:
        url = source.serve("/parks.zip", body)
        source.misbehave("/parks.zip", Fault.RESET, at=100_000, times=1)
        ...
        assert source.fired("/parks.zip") == 1
        assert source.count("HEAD", "/parks.zip") == 1
"""

import hashlib
import threading
from collections.abc import Callable
from ssl import SSLContext
from types import TracebackType
from typing import Any

from geoetl.testing.upstream_answers import Server, handler_of
from geoetl.testing.upstream_parts import Asked, Fault, Misbehaviour, Reply, ServedFile, applies

__all__ = ["MODIFIED", "Asked", "Fault", "LocalUpstream", "Reply"]

MODIFIED = "Tue, 01 Sep 2026 00:00:00 GMT"


class LocalUpstream:
    """A source on a loopback port of its own, in threads.

    Args:
        tls: Serves https with it.

    Attributes:
        requests: All that came, in their order.
        ended: Set when it ends, for answers that wait.
    """

    def __init__(self, *, tls: SSLContext | None = None) -> None:
        self.requests: list[Asked] = []
        self._lock = threading.Lock()
        self._files: dict[str, ServedFile] = {}
        self._functions: dict[str, Callable[[Asked], Any]] = {}
        self._faults: dict[str, Misbehaviour] = {}
        self._fired: dict[str, int] = {}
        self.ended = threading.Event()
        self._server = Server(("127.0.0.1", 0), handler_of(self))
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
        self.ended.set()
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
            self._files[path] = ServedFile(body, made, last_modified, media_type)
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
            self._faults[path] = Misbehaviour(fault, left, at, to, body, status, retry_after, pause_s)
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

    def take(self, asked: Asked) -> "tuple[ServedFile | None, Callable[[Asked], Any] | None, Misbehaviour | None]":
        """Take note of a request, and return what is to be done about it."""
        with self._lock:
            self.requests.append(asked)
            fault = self._faults.get(asked.path)
            if fault is not None and not (fault.left and applies(fault.fault, asked)):
                fault = None
            if fault is not None:
                fault.left -= 1
                self._fired[asked.path] += 1
            return self._files.get(asked.path), self._functions.get(asked.path), fault

    def change(self, path: str, fault: Misbehaviour) -> None:
        """Serve another file from now on, as a fault says."""
        old = self._files[path]
        etag = old.etag if fault.fault is Fault.CHANGED_SILENTLY else None
        self.serve(path, fault.body, etag=etag, last_modified=old.modified, media_type=old.media_type)
