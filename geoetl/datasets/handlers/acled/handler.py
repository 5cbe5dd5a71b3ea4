"""The handler: what to ask for, fetched page by page, put into what is served."""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, final

from geoetl.core.errors import Conflict, EmptyDataset
from geoetl.core.identifiers import digest
from geoetl.core.request import Request
from geoetl.datasets.handlers.acled import bronze
from geoetl.datasets.handlers.acled.api import CREDENTIALS, KEY, Api, Question, Row
from geoetl.datasets.handlers.acled.config import DAY_S, MAX_ROWS, AcledConfig, Memory, Mode, question_of
from geoetl.datasets.handlers.acled.style import EVENT_DATE, event_style
from geoetl.datasets.handlers.acled.sync import DELETED, DELETIONS, EVENTS, TIMESTAMP, Sync, is_future, seconds_of
from geoetl.datasets.protocol import Task
from geoetl.datasets.release import Download, Fetched, Prepared, PreparedVector, Release

if TYPE_CHECKING:
    import pyarrow as pa

_SEPARATOR = ":"
# Of the live version, read at a time.
_LIVE_ROWS = 16_384


@final
class Acled:
    """Events of political violence and protest, from ACLED's API."""

    config: ClassVar[type[Request]] = AcledConfig
    credentials: ClassVar[tuple[str, ...]] = CREDENTIALS
    required_columns: ClassVar[tuple[str, ...]] = (
        KEY,
        "event_date",
        "event_type",
        "country",
        "latitude",
        "longitude",
        "fatalities",
        "timestamp",
    )

    def check(self, task: Task) -> Release:
        """Ask for what is newer than what is known: one page of events and, if there is none, of deletions.

        Where it is time for all events, or nothing is known yet, it is news in any case.
        """
        asked, live, now = _Asked(task), task.live, int(time.time())
        memory = asked.memory
        since = memory.newest if memory else now // DAY_S * DAY_S - DAY_S
        page = asked.api.page(
            asked.api.events({TIMESTAMP: str(since), f"{TIMESTAMP}_where": ">"}, KEY, TIMESTAMP), 1, MAX_ROWS
        )
        found, kind = _marks(page.rows, TIMESTAMP, now), "added or changed"
        mode = Mode.FULL if asked.is_full_due(now) else Mode.QUICK
        if not found and memory is not None and mode is Mode.QUICK:
            gone = asked.api.deletions({DELETED: str(memory.deleted_newest), f"{DELETED}_where": ">"})
            found, kind = _marks(asked.api.page(gone, 1, MAX_ROWS).rows, DELETED, now), "deleted"
        if not found and live is not None and mode is Mode.QUICK:
            told = (f"nothing was added, changed or deleted since {_utc(since)}",)
            return Release(source_version=live.source_version, stamp=live.stamp, about=told, is_news=False)
        about = [f"events {kind} since {_utc(since)}: {_at_least(len(found))}"] if found else []
        if mode is Mode.FULL:
            about.append("all events are asked for, page by page")
        if page.embargo:
            about.append(f"the account is shown no events after {page.embargo}")
        day = _day(now) if mode is Mode.FULL else ""
        marks = (mode, str(live.number if live else 0), day, bronze.content_digest(found)[:32])
        return Release(
            source_version=_day(now),
            stamp=_SEPARATOR.join(marks),
            downloads=(Download(name="events", url=asked.api.url(asked.events(mode))),),
            about=tuple(about),
        )

    def fetch(self, task: Task, release: Release) -> Fetched:
        """Fetch pages of events and deletions until they are all of one state of the source, and keep them in the zone.

        Raises:
            SyncIncomplete: There are more pages than `max_pages`; the next attempt goes on behind them.
            EmptyDataset: The account is shown no events at all.
            AccountLimited, CredentialRefused, RateLimited, SourceUnavailable, VerificationFailed, UnreadableFile: As of
                `Api.page`.
        """
        asked = _Asked(task)
        mode = asked.mode_of(release)
        memory = asked.memory if mode is Mode.QUICK else None
        most = asked.config.full_max_pages if mode is Mode.FULL else asked.config.max_pages
        sync = Sync(asked.api, task.folder, asked.events(mode), asked.deletions(mode), most=most, tell=task.tell)
        progress = sync.run()
        if progress.embargo:
            task.tell(f"ACLED shows this account no events after {progress.embargo}.")
        if mode is Mode.FULL and not progress.rows:
            raise EmptyDataset(
                "ACLED gave no events at all.",
                hint="See in myACLED which data the account includes, and check countries in the source_config.",
                field="source_config",
            )
        pages = tuple(page.as_fetched() for page in (*progress.deletions, *progress.events))
        day = datetime.fromtimestamp(progress.began_at, UTC).date()
        content = digest([page.sha256 for page in pages])
        kept = bronze.keep(task, pages, f"{mode}-{content[:12]}", day)
        bronze.forget(task, day - timedelta(days=asked.config.bronze_days))
        known = Memory(
            mode=mode,
            newest=max(progress.newest, memory.newest if memory else 0),
            deleted_newest=max(progress.deleted_newest, memory.deleted_newest if memory else progress.reference),
            full_at=memory.full_at if memory else progress.began_at,
            question=asked.question,
            bronze=kept.model_dump(),
        )
        memo = {**known.model_dump(mode="json"), "source_version": _day(known.newest or progress.began_at)}
        return Fetched(files=pages, bytes=sum(page.bytes for page in pages), memo=memo)

    def prepare(self, task: Task, release: Release, fetched: Fetched) -> Iterator[Prepared]:
        """Put what came into the events of the live version, or in their place."""
        from geoetl.datasets.features import FeatureWriter
        from geoetl.datasets.handlers.acled.events import places
        from geoetl.datasets.handlers.acled.merge import Arrivals, Deletions, merged

        is_quick = Memory.model_validate(fetched.memo).mode is Mode.QUICK
        target, waiting = task.workspace / "events.parquet", task.workspace / "arrivals.arrow"
        try:
            arrivals = Arrivals.of(_pages(task, fetched, EVENTS), waiting)
            deletions = Deletions(_pages(task, fetched, DELETIONS) if is_quick else ())
            schema = arrivals.schema
            added = 0
            with FeatureWriter(target, schema) as writer:
                for batch, is_new in merged(_live(task) if is_quick else (), arrivals, deletions):
                    writer.write(batch, places(batch))
                    added += batch.num_rows if is_new else 0
            task.tell(f"{writer.rows:,} events, {added:,} of them from this fetch.")
        finally:
            waiting.unlink(missing_ok=True)
        yield PreparedVector(
            file=target.name,
            title=task.definition.name,
            description=task.definition.description or "Events of political violence and protest, from ACLED.",
            key=KEY,
            temporal_property=EVENT_DATE if EVENT_DATE in schema.names else "",
            keywords=("conflict", "political violence", "protest", "ACLED"),
            style=event_style(task.definition.name),
            findings=tuple(arrivals.findings()),
        )


class _Asked:
    """What is asked for in an update."""

    def __init__(self, task: Task) -> None:
        definition = task.definition
        self._live = task.live
        self.config = AcledConfig(**definition.source_config)
        self.api = Api(task.upstream, definition, self.config)
        self.question = question_of(definition.source_url, self.config)
        self.memory = Memory.of(task.live, self.question)

    def is_full_due(self, now: int) -> bool:
        """Tell whether it is time for all events."""
        days = self.config.full_sync_days
        return self.memory is None or (days is not None and now - self.memory.full_at >= days * DAY_S)

    def mode_of(self, release: Release) -> Mode:
        """Return how much a release wants.

        Who wants an update although nothing is new wants to know it for certain: all events.

        Raises:
            Conflict: Another version is live than the changes are for.
        """
        mode, _, rest = release.stamp.partition(_SEPARATOR)
        if mode != Mode.QUICK or not release.is_news:
            return Mode.FULL
        if self._live is None or self.memory is None or rest.partition(_SEPARATOR)[0] != str(self._live.number):
            raise Conflict(
                "The changes that were found are for another version than the live one.",
                hint="Update again.",
                field="release",
            )
        return Mode.QUICK

    def events(self, mode: Mode) -> Question:
        """Return which events."""
        if mode is Mode.FULL or self.memory is None:
            return self.api.events({})
        since = self.memory.newest - self.config.overlap_s
        return self.api.events({TIMESTAMP: str(max(0, since)), f"{TIMESTAMP}_where": ">="})

    def deletions(self, mode: Mode) -> Question | None:
        """Return which deletions: none where all events are asked for, since those that went are not among them."""
        if mode is Mode.FULL or self.memory is None:
            return None
        since = self.memory.deleted_newest - self.config.overlap_s
        return self.api.deletions({DELETED: str(max(0, since)), f"{DELETED}_where": ">="})


def _pages(task: Task, fetched: Fetched, prefix: str) -> Iterator[list[Row]]:
    """Read the rows of the pages whose names begin with `prefix`."""
    for file in fetched.files:
        if file.name.startswith(prefix):
            yield bronze.read_rows(task.folder / file.name, file)


def _live(task: Task) -> "Iterator[pa.RecordBatch]":
    """Read the events of the live version; columns that it lacks are empty."""
    import pyarrow as pa

    from geoetl.datasets.handlers.acled.events import SCHEMA

    assert task.live is not None
    for item in task.live.profile.items:
        with task.gate.open_geoparquet(task.zone.local_path(item.data.key)) as file:
            there = [field.name for field in file.schema_arrow if field.name in SCHEMA.names]
            for batch in file.iter_batches(_LIVE_ROWS, columns=there):
                columns = [
                    batch.column(field.name).cast(field.type)
                    if field.name in there
                    else pa.nulls(batch.num_rows, field.type)
                    for field in SCHEMA
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _marks(rows: Iterable[Row], column: str, now: float) -> list[list[str]]:
    """Return which events changed, and when; what is of the future would be news each time."""
    times = ((row, seconds_of(row.get(column))) for row in rows)
    return sorted([str(row.get(KEY)), str(at)] for row, at in times if at is None or not is_future(at, now))


def _at_least(count: int) -> str:
    return f"{count:,}" if count < MAX_ROWS else f"at least {count:,}"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
