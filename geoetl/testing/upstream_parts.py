"""What a played source is asked, answers, and does wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl


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
        sent: Bytes of the answer, block by block, as they are sent.
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
        is_lost: The connection is closed instead: what was asked for has been done, and nobody is told.
    """

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] | None = None
    is_lost: bool = False


@dataclass(frozen=True)
class ServedFile:
    """A file with what is said of it."""

    body: bytes
    etag: str
    modified: str
    media_type: str


@dataclass
class Misbehaviour:
    """A fault with what it was told; see `LocalUpstream.misbehave`."""

    fault: Fault
    left: float
    at: int
    to: str
    body: bytes
    status: int
    retry_after: str
    pause_s: float


def applies(fault: Fault, asked: Asked) -> bool:
    """Tell whether a fault can be played with a request: those of bodies need one."""
    if fault is Fault.HEAD_REFUSED:
        return asked.method == "HEAD"
    if fault in (Fault.RANGE_IGNORED, Fault.RANGE_SHIFTED):
        return "range" in asked.headers
    return asked.method != "HEAD" or fault not in OF_BODIES


OF_BODIES = frozenset(
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
