"""A file over as many answers as it takes: what of each can be used, and whether the whole is right."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from geoetl.core.errors import LimitExceeded, UnreadableFile, VerificationFailed
from geoetl.core.html import human_bytes
from geoetl.datasets.release import FetchedFile
from geoetl.datasets.upstream.errors import SourceChanged, SourceUnavailable
from geoetl.datasets.upstream.exchange import Answer
from geoetl.datasets.upstream.limits import Limits
from geoetl.datasets.upstream.media import Media, check_head, is_cut
from geoetl.datasets.upstream.part import OVERLAP_BYTES, Part
from geoetl.datasets.upstream.stamp import Stamp, stamp_of
from geoetl.store.gate import HEAD_BYTES

_BLOCK_BYTES = 1024**2
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE)
_ANEW = "It is fetched anew."


@dataclass(frozen=True)
class ContentRange:
    """Which bytes an answer has: the first, and of how many; None where that is not told."""

    first: int
    total: int | None


def range_of(answer: Answer) -> ContentRange:
    """Return which bytes a 206 has (RFC 9110 14.4).

    Raises:
        SourceUnavailable: It does not say, or not in a way that can be understood.
    """
    found = _CONTENT_RANGE.fullmatch(answer.header("Content-Range") or "")
    if found is None:
        raise SourceUnavailable(
            f"{answer.shown} sent a part of the file without saying which.", hint="Tell the source; try again later."
        )
    return ContentRange(int(found[1]), None if found[3] == "*" else int(found[3]))


class Transfer:
    """A file on its way.

    Args:
        path: What it becomes.
        media: What it should be.
        expect: The version that it should be of.
        sha256: Its digest, where that is known.
        limits: How much is taken.
        progress: Told bytes that are there, and of how many.

    Raises:
        Unavailable: Another process fetches it, or the disk refuses.
    """

    def __init__(
        self,
        path: Path,
        media: Media,
        expect: Stamp | None,
        sha256: str | None,
        limits: Limits,
        progress: Callable[[int, int | None], None] | None,
    ) -> None:
        self._path = path
        self._media = media
        self._expect = expect
        self._sha256 = sha256.lower() if sha256 else None
        self._limits = limits
        self._progress = progress or (lambda _done, _total: None)
        self._shown = ""
        self._part = Part(path, limits.sync_bytes)
        if self._part.stamp is not None and expect is not None and expect.difference(self._part.stamp):
            self._part.forget()

    def __enter__(self) -> "Transfer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._part.__exit__(kind, error, trace)

    @property
    def have(self) -> int:
        """Bytes that are there."""
        return self._part.have

    def headers(self) -> dict[str, str]:
        """Return what to ask with: for the rest, where the version is known of what is there."""
        stamp = self._part.stamp
        if not self.have or stamp is None or stamp.strong is None:
            return {"Accept-Encoding": "identity"}
        since = self.have - min(self.have, OVERLAP_BYTES)
        return {"Accept-Encoding": "identity", "Range": f"bytes={since}-", "If-Range": stamp.strong}

    def take(self, answer: Answer) -> None:
        """Take what an answer brings, to its end.

        Raises:
            SourceUnavailable: It broke off, or does not go with what is there, which is thrown away then.
            SourceChanged, UnreadableFile, LimitExceeded: As of `Upstream.download`.
        """
        self._shown = answer.shown
        if answer.status == 206:
            self._go_on(answer)
        elif answer.status == 200:
            self._begin(answer)
        else:
            self._part.forget()
            raise SourceUnavailable(f"{self._shown} has no more so much of the file.", hint=_ANEW)
        assert self._part.stamp is not None
        total = self._part.stamp.bytes
        while block := answer.read(_BLOCK_BYTES):
            self._part.append(block)
            if self.have > self._limits.file_bytes:
                self._part.forget()
                raise self._too_large("")
            self._progress(self.have, total)
        self._check_end(total)

    def finish(self) -> FetchedFile:
        """Check the whole, and give it its name.

        Raises:
            UnreadableFile: It is something else, or cut off.
            VerificationFailed: Its digest is another.
        """
        try:
            self._check_whole()
        except (UnreadableFile, VerificationFailed):
            self._part.forget()
            raise
        self._part.finish()
        return FetchedFile(name=self._path.name, bytes=self.have, sha256=self._part.sha256)

    def _check_whole(self) -> None:
        check_head(self._part.head(HEAD_BYTES), self._media, self._shown)
        if is_cut(self._part.path, self._media):
            raise UnreadableFile(
                f"What {self._shown} sent is cut off: a {self._media} without its end, {self.have:,} bytes.",
                hint="Fetch it again; if it stays so, tell the source.",
                field="source_url",
            )
        found = self._part.sha256
        if self._sha256 is not None and self._sha256 != found:
            raise VerificationFailed(
                f"What {self._shown} sent has the SHA-256 {found[:12]}… and not {self._sha256[:12]}….",
                hint="It was damaged on the way, or replaced at the source. Fetch it again; if it stays so, ask there.",
                field="source_url",
            )

    # -- one answer ----------------------------------------------------------------------------------------------------

    def _begin(self, answer: Answer) -> None:
        """Begin with the whole file, if that is what comes; else what is there already stays."""
        stamp = stamp_of(answer)
        if (answer.header("Content-Encoding") or "identity").lower() != "identity":
            raise UnreadableFile(
                f"{self._shown} sent the file packed ({answer.header('Content-Encoding')}) although it was not to.",
                hint="Ask the source for an address of the plain file.",
                field="source_url",
            )
        if self._expect is not None and (difference := self._expect.difference(stamp)):
            raise self._changed(difference)
        if stamp.bytes is not None and stamp.bytes > self._limits.file_bytes:
            raise self._too_large(f" ({human_bytes(stamp.bytes)})")
        head = b""
        while len(head) < HEAD_BYTES and (block := answer.read(_BLOCK_BYTES)):
            head += block
        # Of 4 GB of something else, the first bytes are enough.
        if len(head) >= HEAD_BYTES or stamp.bytes in (None, len(head)):
            check_head(head, self._media, self._shown)
        self._part.begin(stamp)
        self._part.append(head)

    def _go_on(self, answer: Answer) -> None:
        """Go on behind what is there, if it is of the same file."""
        overlap = min(self.have, OVERLAP_BYTES)
        stamp, sent = self._part.stamp, range_of(answer)
        if stamp is None or not overlap or sent.first != self.have - overlap:
            self._part.forget()
            raise SourceUnavailable(f"{self._shown} sent another part of the file than was asked for.", hint=_ANEW)
        difference = stamp.difference(stamp_of(answer).model_copy(update={"bytes": sent.total}))
        there = self._part.tail(overlap)
        came = bytearray()
        while not difference and len(came) < overlap and (block := answer.read(overlap - len(came))):
            came += block
        if difference or not there.startswith(came):
            self._part.forget()
            why = difference or "it calls itself the same, but its bytes are not"
            raise SourceUnavailable(f"{self._shown} has another file than before: {why}.", hint=_ANEW)

    def _check_end(self, total: int | None) -> None:
        """Check that nothing is missing, as far as it was told how much there should be."""
        expected = self._expect.bytes if self._expect is not None else None
        for size in (total, expected):
            if size is not None and self.have < size:
                raise SourceUnavailable(
                    f"{self._shown} broke off after {self.have:,} of {size:,} bytes.",
                    hint="Try again: it goes on from there.",
                )
        if total is None and expected is not None and self.have > expected:
            self._part.forget()
            raise self._changed(f"it has more than {human_bytes(expected)}")
        if total is None and is_cut(self._part.path, self._media):
            raise SourceUnavailable(
                f"{self._shown} broke off after {self.have:,} bytes: the end of a {self._media} is missing.",
                hint="Try again later.",
            )

    def _changed(self, difference: str) -> SourceChanged:
        return SourceChanged(
            f"{self._shown} has another version than when it was checked: {difference}.",
            hint="Start the update again: it looks at the source anew.",
            field="source_url",
        )

    def _too_large(self, size: str) -> LimitExceeded:
        return LimitExceeded(
            f"{self._shown} has more than {human_bytes(self._limits.file_bytes)}{size}.",
            hint="Ask the source for a smaller file: of one region, for instance.",
            field="source_url",
        )
