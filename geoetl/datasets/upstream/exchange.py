"""One question and its answer, over the standard library's HTTP/1.1.

It is that library because it logs nothing and keeps nothing: what others write to their logs at level DEBUG, addresses
with their query and headers of answers, holds credentials.
"""

import contextlib
import http.client
import socket
import ssl
from dataclasses import dataclass
from typing import Any

from geoetl.core.errors import ConfigurationError, GeoetlError
from geoetl.datasets.upstream.addresses import Place, Reach, SocketAddress, resolved
from geoetl.datasets.upstream.errors import SourceRefused, SourceUnavailable
from geoetl.datasets.upstream.wire import Pace, Wire

# Of the rest of an answer that nobody reads, so that its connection can be used again.
_DRAINED_BYTES = 64 * 1024
_LATER = "Try again later; see whether the source has told of trouble."


@dataclass(frozen=True, repr=False)
class Ask:
    """What is sent; without a repr, since it holds credentials.

    Attributes:
        method: HEAD, GET or POST.
        place: Where to.
        headers: With those that show who asks.
        body: Of a POST.
    """

    method: str
    place: Place
    headers: dict[str, str]
    body: bytes | None = None


class Answer:
    """An answer whose body is still to be read.

    Attributes:
        status: HTTP status.
        headers: Of the answer.
        place: Who gave it.
        shown: The same for messages.
    """

    def __init__(
        self, response: http.client.HTTPResponse, connection: http.client.HTTPConnection, place: Place, shown: str
    ) -> None:
        self._response = response
        self._connection = connection
        self.shown = shown
        self.status = response.status
        self.headers = response.headers
        self.place = place

    def header(self, name: str) -> str | None:
        """Return a header; None where it is missing or empty."""
        return (self.headers.get(name) or "").strip() or None

    @property
    def media_type(self) -> str | None:
        """Its type, without parameters, in lower case."""
        return (self.header("Content-Type") or "").partition(";")[0].strip().lower() or None

    @property
    def leads_to(self) -> Place | None:
        """Where its ``Location`` leads to."""
        location = self.header("Location")
        return None if location is None else self.place.joined(location)

    @property
    def length(self) -> int | None:
        """Bytes that it says to have, of a HEAD too; None where it does not say."""
        told = self.header("Content-Length")
        return int(told) if told and told.isdecimal() and len(told) < 20 else None

    def read(self, most: int) -> bytes:
        """Return what has come, at most so many bytes; empty at the end.

        Raises:
            SourceUnavailable: It broke off, or is too slow.
            Cancelled: Somebody wants it to end.
        """
        try:
            return self._response.read1(most)
        except (OSError, http.client.HTTPException) as error:
            failure = _failure(error, self.shown)
        raise failure  # here, and not above: what a library raised is not to hang on it

    def close(self) -> None:
        """End it; its connection stays where little was left to read."""
        with contextlib.suppress(GeoetlError, OSError, http.client.HTTPException):
            left = self._response.length
            if left is not None and left <= _DRAINED_BYTES:
                self._response.read()
        if not self._response.isclosed():
            self._connection.close()  # or the next answer would begin with the rest of this one
            self._response.close()


class Connections:
    """Open connections, one for each host; for one thread.

    Args:
        connect_s: How long one may take to be made.
    """

    def __init__(self, connect_s: float) -> None:
        self._connect_s = connect_s
        self._kept: dict[tuple[str, str, int], _Connection] = {}
        self._context: ssl.SSLContext | None = None

    def close(self) -> None:
        """Close all."""
        for connection in self._kept.values():
            connection.close()
        self._kept.clear()

    def reach(self, place: Place, innermost: Reach | None) -> Reach:
        """Make ready to connect to a host, unless there is a connection, and tell how far inside it is.

        Raises:
            AddressRefused: It leads further inside than `innermost`.
            SourceUnavailable: The name is not known.
        """
        kept = self._kept.get(place.origin)
        if kept is not None and kept.is_open and (innermost is None or kept.reach <= innermost):
            return kept.reach
        addresses, reach = resolved(place, innermost)
        self._drop(place)
        self._kept[place.origin] = _Connection(place, addresses, reach, self._tls(place), self._connect_s)
        return reach

    def send(self, ask: Ask, shown: str, pace: Pace) -> Answer:
        """Send what is asked over the connection that `reach` made, and return the beginning of the answer.

        Raises:
            SourceUnavailable: It cannot be reached, is too slow or answers in no HTTP.
            SourceRefused: Its certificate is not trusted.
            Cancelled: Somebody wants it to end.
        """
        pace.shown = shown
        connection = self._kept[ask.place.origin]
        failure: GeoetlError | None = None
        for _ in range(2):
            was_used = connection.is_open
            try:
                return Answer(connection.answer(ask, pace), connection, ask.place, shown)
            except (OSError, http.client.HTTPException) as error:
                failure = _failure(error, shown)
                # A server may have closed what was kept open; on a new connection the same is an error.
                is_stale = was_used and isinstance(error, ConnectionError)
            except ValueError:
                failure = ConfigurationError(
                    "The request cannot be written: a header or the address has signs that HTTP does not allow.",
                    hint="Check the credentials and the address of the source.",
                    field="source_url",
                )
                is_stale = False
            connection.close()
            if not is_stale:
                break
        self._drop(ask.place)
        assert failure is not None
        raise failure

    def _drop(self, place: Place) -> None:
        kept = self._kept.pop(place.origin, None)
        if kept is not None:
            kept.close()

    def _tls(self, place: Place) -> ssl.SSLContext | None:
        if place.scheme != "https":
            return None
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context


class _Connection(http.client.HTTPConnection):
    """A connection to addresses that were looked up, and judged, before."""

    def __init__(
        self, place: Place, addresses: list[SocketAddress], reach: Reach, tls: ssl.SSLContext | None, connect_s: float
    ) -> None:
        super().__init__(place.host, place.port, timeout=connect_s)
        self.default_port = 443 if tls else 80  # the Host header has no other
        self.set_debuglevel(0)  # whatever somebody set for all connections of the process
        self._addresses = addresses
        self._tls = tls
        self._pace: Pace | None = None
        self.reach = reach

    @property
    def is_open(self) -> bool:
        return self.sock is not None

    def answer(self, ask: Ask, pace: Pace) -> http.client.HTTPResponse:
        self._pace = pace
        if isinstance(self.sock, Wire):
            self.sock.pace = pace
        self.request(ask.method, ask.place.target, body=ask.body, headers=ask.headers)
        return self.getresponse()

    def connect(self) -> None:
        assert self._pace is not None
        wire: Any = Wire(self._connected(self._pace), self._pace)
        self.sock = wire

    def _connected(self, pace: Pace) -> socket.socket:
        refused: OSError | None = None
        for family, address in self._addresses:
            pace.check()
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(self.timeout)
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return self._tls.wrap_socket(sock, server_hostname=self.host) if self._tls else sock
            except OSError as error:
                sock.close()
                refused = error
        raise refused or OSError("no address")


def _failure(error: Exception, shown: str) -> GeoetlError:
    """Return what is told of an error of the network, without what the library said."""
    match error:
        case ssl.SSLCertVerificationError():
            return SourceRefused(
                f"The certificate of {shown} is not trusted.",
                hint="Where your network has a certificate of its own, name its file in SSL_CERT_FILE.",
                field="source_url",
            )
        case ssl.SSLError():
            said = "could not agree with us on an encrypted connection"
        case http.client.IncompleteRead():
            said = "broke off in the middle of its answer"
        case TimeoutError():
            said = "did not answer in time"
        case ConnectionRefusedError():
            said = "does not take connections"
        case ConnectionError():
            said = "closed the connection"
        case OSError():
            said = "cannot be reached from here"
        case _:
            said = "answered in something that is not HTTP"
    return SourceUnavailable(f"{shown} {said}.", hint=_LATER)
