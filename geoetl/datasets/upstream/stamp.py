"""What tells one version of an outside file from the next."""

from geoetl.core.html import human_bytes
from geoetl.datasets.upstream.exchange import Answer
from geoetl.runs.model import Result


class Stamp(Result):
    """What a source says of a file without sending it.

    Attributes:
        etag: Its entity tag, as sent; ``W/`` in front where it is a weak one.
        last_modified: As sent, an HTTP date.
        bytes: Its size.
        media_type: As the server names it; often wrong.
        url: Where it is, behind redirects; without the query, which often holds a signature.
    """

    etag: str | None = None
    last_modified: str | None = None
    bytes: int | None = None
    media_type: str | None = None
    url: str

    @property
    def mark(self) -> str:
        """One text of all that tells versions from each other; empty where the source says nothing."""
        size = None if self.bytes is None else str(self.bytes)
        return " ".join(part for part in (self.etag or self.last_modified, size) if part)

    @property
    def strong(self) -> str | None:
        """What a part of the file can be asked for by (``If-Range``, RFC 9110 13.1.5); None where there is nothing."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified

    def difference(self, other: "Stamp") -> str | None:
        """Say what shows that another is of another version; None where nothing does."""
        if self.etag and other.etag:
            if self.etag.removeprefix("W/") != other.etag.removeprefix("W/"):
                return "its ETag is another"
        elif self.last_modified and other.last_modified and self.last_modified != other.last_modified:
            return "its time of change is another"
        if self.bytes is not None and other.bytes is not None and self.bytes != other.bytes:
            return f"it has {human_bytes(other.bytes)} and not {human_bytes(self.bytes)}"
        return None


def stamp_of(answer: Answer) -> Stamp:
    """Return what the headers of an answer with the whole file, or of a HEAD, say."""
    is_packed = (answer.header("Content-Encoding") or "identity").lower() != "identity"
    return Stamp(
        etag=answer.header("ETag"),
        last_modified=answer.header("Last-Modified"),
        bytes=None if is_packed else answer.length,
        media_type=answer.media_type,
        url=answer.shown,
    )
