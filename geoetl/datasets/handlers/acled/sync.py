"""Pages one after the other, until all that are kept are of one state of the source.

The API gives pages of rows in an order that it does not tell. While nothing changes, each row is on one page. When a
row goes, or moves within the order because it was changed, those behind it move up, and the first row of the next page
ends on the page that was read before: it would be missed without a sign. So what changed lately is looked at before the
first page and after the last, and where the two differ the pages are read anew.

Each page is written before the next is asked for, with a note of how far it is: what was interrupted goes on there.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from geoetl.core.identifiers import digest
from geoetl.datasets.handlers.acled.api import KEY, Api, Question, Row, check_is_another
from geoetl.datasets.handlers.acled.bronze import content_digest, write_durably, write_page
from geoetl.datasets.handlers.acled.config import DAY_S, MAX_ROWS
from geoetl.datasets.release import FetchedFile
from geoetl.datasets.upstream import SourceUnavailable
from geoetl.runs.model import Result

TIMESTAMP, DELETED = "timestamp", "deleted_timestamp"
# How the names of pages begin.
EVENTS, DELETIONS = "events-", "deleted-"
_NOTE = "sync.json"
# So often the pages are read from the first on before it is said that the source is not still.
MAX_ROUNDS = 3
# What changed so lately is compared, before and after; our clock and that of the source may differ by as much.
WATCHED_S = DAY_S
# Pages of changes that are looked through: 5 million.
_MOST_WATCHED = 1000


class SyncIncomplete(SourceUnavailable):
    """There are more pages than were to be asked for in one attempt; those that came are kept."""

    code = "acled_sync_incomplete"
    title = "There is more to fetch"


class PageFile(FetchedFile):
    """A page that was fetched.

    Attributes:
        rows: Of it.
        content: Digest of its rows.
    """

    rows: int
    content: str

    def as_fetched(self) -> FetchedFile:
        """Return what others need to know of it."""
        return FetchedFile(name=self.name, bytes=self.bytes, sha256=self.sha256)


class Progress(Result):
    """How far it is.

    Attributes:
        question: Digest of what is asked.
        began_at: When, Unix seconds.
        reference: Changes since then are compared, Unix seconds.
        before: Digest of those changes at the beginning.
        events: Pages of events.
        deletions: Pages of what was deleted.
        newest: Newest `timestamp` in the events, Unix seconds; 0 for none.
        deleted_newest: Newest `deleted_timestamp`, likewise.
        embargo: Newest day whose events the account is shown; None for no such limit.
        is_whole: Whether that is all.
    """

    question: str
    began_at: int
    reference: int
    before: str
    events: tuple[PageFile, ...] = ()
    deletions: tuple[PageFile, ...] = ()
    newest: int = 0
    deleted_newest: int = 0
    embargo: str | None = None
    is_whole: bool = False

    @property
    def rows(self) -> int:
        """Events so far."""
        return sum(page.rows for page in self.events)


class Sync:
    """Fetches the answers to two questions into a folder.

    Args:
        api: Asks.
        folder: Where pages go.
        events: Which events.
        deletions: Which deletions; None for none.
        most: Pages of events that are asked for in this attempt.
        tell: Says how far it is.
    """

    def __init__(
        self,
        api: Api,
        folder: Path,
        events: Question,
        deletions: Question | None,
        *,
        most: int,
        tell: Callable[[str], None],
    ) -> None:
        self._api = api
        self._folder = folder
        self._events = events
        self._deletions = deletions
        self._left = most
        self._most = most
        self._tell = tell
        asked = [(one.endpoint, dict(one.filters)) for one in (events, deletions) if one is not None]
        # Pages of another size begin elsewhere.
        self._question = digest([api.rows_per_page, asked])

    def run(self) -> Progress:
        """Return what was fetched, of one state of the source.

        Raises:
            SyncIncomplete: There are more pages than one attempt asks for.
            SourceUnavailable: The source kept changing, or cannot be reached.
            VerificationFailed, UnreadableFile, SourceRefused: As of `Api.page`.
        """
        progress = self._noted()
        if progress is not None and progress.is_whole:
            return progress
        if progress is not None and self._changes(progress.reference) != progress.before:
            self._tell("The source changed since the fetch was interrupted; it begins anew.")
            progress = None
        for _ in range(MAX_ROUNDS):
            progress = self._read_on(progress or self._begun())
            if self._changes(progress.reference) == progress.before:
                progress = progress.model_copy(update={"is_whole": True})
                self._note(progress)
                return progress
            self._tell("The source changed while it was read; its pages are read anew.")
            progress = None
            self._forget()
        raise SourceUnavailable(
            f"ACLED changed each of the {MAX_ROUNDS} times that its pages were read, so some events may be missing.",
            hint="Run the update at another hour; nothing was changed.",
            field="source_url",
        )

    # -- pages ---------------------------------------------------------------------------------------------------------

    def _begun(self) -> Progress:
        """Begin anew: look at what changed lately, and fetch what was deleted."""
        self._forget()
        now = int(time.time())
        reference = now - WATCHED_S
        before = self._changes(reference)
        progress = Progress(question=self._question, began_at=now, reference=reference, before=before)
        if self._deletions is not None:
            pages = []
            for number, page in enumerate(self._api.pages(self._deletions, _MOST_WATCHED, MAX_ROWS), 1):
                pages.append(self._kept(f"{DELETIONS}{number:05d}.json.gz", page.envelope, page.rows))
                progress = progress.model_copy(
                    update={"deleted_newest": self._newest(page.rows, DELETED, progress.deleted_newest)}
                )
            progress = progress.model_copy(update={"deletions": tuple(pages)})
        self._note(progress)
        return progress

    def _read_on(self, progress: Progress) -> Progress:
        """Fetch the pages of events that are not there yet."""
        while True:
            number = len(progress.events) + 1
            if self._left <= 0:
                raise SyncIncomplete(
                    f"{self._most} pages were fetched in this attempt, {progress.rows:,} events so far are kept, and "
                    "there are more.",
                    hint="Run the update again, it goes on there; or raise max_pages (of all events, full_max_pages).",
                    field="max_pages",
                )
            self._left -= 1
            page = self._api.page(self._events, number)
            if not page.rows:
                return progress
            kept = self._kept(f"{EVENTS}{number:05d}.json.gz", page.envelope, page.rows)
            check_is_another(bool(progress.events) and progress.events[-1].content == kept.content, number)
            progress = progress.model_copy(
                update={
                    "events": (*progress.events, kept),
                    "newest": self._newest(page.rows, TIMESTAMP, progress.newest),
                    "embargo": page.embargo or progress.embargo,
                }
            )
            self._note(progress)
            self._tell(f"{progress.rows:,} events fetched, {number} pages.")

    def _kept(self, name: str, envelope: Row, rows: list[Row]) -> PageFile:
        file = write_page(self._folder / name, envelope)
        return PageFile(**file.model_dump(), rows=len(rows), content=content_digest(rows))

    def _newest(self, rows: Iterable[Row], column: str, newest: int) -> int:
        """Return the newest second; one of the future is a mistake, and would hide all that comes before it."""
        seconds = (seconds_of(row.get(column)) for row in rows)
        return max([newest, *(one for one in seconds if one is not None and not is_future(one, time.time()))])

    def _changes(self, reference: int) -> str:
        """Return a digest of what was added, changed and deleted since `reference`."""
        events = self._api.events({TIMESTAMP: str(reference), f"{TIMESTAMP}_where": ">="}, KEY, TIMESTAMP)
        deletions = self._api.deletions({DELETED: str(reference), f"{DELETED}_where": ">="})
        found: list[list[str]] = []
        for question, column in ((events, TIMESTAMP), (deletions, DELETED)):
            for page in self._api.pages(question, _MOST_WATCHED, MAX_ROWS):
                found += [[question.endpoint, str(row.get(KEY)), str(row.get(column))] for row in page.rows]
        return content_digest(sorted(found))

    # -- the note ------------------------------------------------------------------------------------------------------

    def _noted(self) -> Progress | None:
        """Return how far an earlier attempt at the same came; None where there was none."""
        try:
            progress = Progress.model_validate_json((self._folder / _NOTE).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        pages = (*progress.deletions, *progress.events)
        is_there = all((self._folder / page.name).is_file() for page in pages)
        return progress if progress.question == self._question and is_there else None

    def _note(self, progress: Progress) -> None:
        write_durably(self._folder / _NOTE, progress.model_dump_json().encode())

    def _forget(self) -> None:
        (self._folder / _NOTE).unlink(missing_ok=True)
        for pattern in (f"{EVENTS}*.json.gz*", f"{DELETIONS}*.json.gz*"):
            for path in self._folder.glob(pattern):
                path.unlink()


def is_future(seconds: int, now: float) -> bool:
    """Tell whether a time can only be a mistake, whatever the difference between two clocks."""
    return seconds > now + WATCHED_S


def seconds_of(value: Any) -> int | None:
    """Return Unix seconds that are given as a number or as text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value) if value == value and abs(value) < 2**53 else None
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None
