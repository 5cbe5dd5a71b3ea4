"""What everybody sees of the runs, asked for once: one thread looks, however many pages are open."""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import GeoetlError, Unavailable
from geoetl.runs.model import RunEvent, RunRecord, RunState
from geoetl.runs.privacy import public_event, public_record
from geoetl.runs.pulse import feel_pulse
from geoetl.runs.schedule import Schedule, Slot

if TYPE_CHECKING:
    from geoetl.platform import Platform

# How often the thread looks, as long as a page is open.
LOOK_S = 0.5
# Answers that are kept until something happens.
MAX_ANSWERS = 64
# Runs that failed latest, among which causes are looked for.
MAX_FAILED = 200
# Of what happened to a run, so many of the latest are shown.
MAX_EVENTS = 1000


@dataclass(frozen=True)
class Question:
    """Which runs are wanted; empty parts ask for any.

    Attributes:
        state: How they stand.
        pipeline: Of which notebook or function.
        text: Words that they have somewhere.
        limit: At most so many, the newest.
    """

    state: str = ""
    pipeline: str = ""
    text: str = ""
    limit: int = 50


@dataclass(frozen=True)
class Listed:
    """The runs that were asked for, as others may see them; and whether there are older ones."""

    runs: tuple[RunRecord, ...]
    more: bool


@dataclass(frozen=True)
class Planned:
    """A schedule with its latest slot, and how the run of that slot stands."""

    schedule: Schedule
    latest: Slot | None = None
    state: RunState | None = None


class RunFeed:
    """Answers questions about runs from memory until something happens, and tells who follows that it did.

    Args:
        platform: Everything that is asked.
        every_s: How often it looks, seconds.
    """

    def __init__(self, platform: "Platform", every_s: float = LOOK_S) -> None:
        self._platform = platform
        self._every_s = every_s
        self._lock = threading.RLock()
        self._answers: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._pulse: Hashable = None
        self._followers: list[weakref.WeakMethod[Callable[[], None]]] = []
        self._thread: threading.Thread | None = None
        self._declared = False
        #: Why nothing can be seen at the moment.
        self.away: GeoetlError | None = None

    # -- following ---------------------------------------------------------------------------------------------------

    def follow(self, tell: Callable[[], None]) -> None:
        """Call the method `tell` whenever something happened, as long as its object lives."""
        with self._lock:
            self._followers.append(weakref.WeakMethod(tell))
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_looking, name="geoetl-runs", daemon=True)
                self._thread.start()

    def leave(self, tell: Callable[[], None]) -> None:
        """Call it no more."""
        with self._lock:
            self._followers = [held for held in self._followers if held() not in (None, tell)]

    def look(self) -> bool:
        """Look whether something happened; tell whoever follows, and whether it did."""
        with self._lock:
            try:
                pulse = self._feel()
                away = None
            except Unavailable as error:
                pulse, away = self._pulse, error
            happened = pulse != self._pulse or (away is None) != (self.away is None)
            if happened:
                self._answers.clear()
                self._pulse, self.away = pulse, away
            followers = [tell for held in self._followers if (tell := held())] if happened else []
        for tell in followers:
            tell()
        return happened

    def _feel(self) -> Hashable:
        """Return what changes with whatever happens; called while nobody else asks."""
        return feel_pulse(self._platform.database, self._shown())

    def _keep_looking(self) -> None:
        pause = threading.Event()
        try:
            while not pause.wait(self._every_s) and self._is_followed():
                self.look()
        finally:
            with self._lock:
                self._thread = None

    def _is_followed(self) -> bool:
        with self._lock:
            self._followers = [held for held in self._followers if held() is not None]
            return bool(self._followers)

    # -- answers -----------------------------------------------------------------------------------------------------

    def listed(self, asked: Question) -> Listed:
        """Return runs, the newest first.

        Raises:
            Unavailable: The database is away.
        """
        return self._answered(("listed", asked), lambda: self._list(asked))

    def run(self, run_id: str) -> RunRecord:
        """Return a run as it is, with what others may not see.

        Raises:
            NotFound: There is none of that id.
        """
        return self._answered(("run", run_id), lambda: self._platform.runs.get(run_id))

    def events(self, record: RunRecord, *, after: int) -> tuple[RunEvent, ...]:
        """Return what happened to a run behind the event `after`, as others may see it; the latest alone."""
        after = max(after, record.events - MAX_EVENTS)
        found = self._answered(("events", record.id, after), lambda: self._platform.runs.events(record.id, after=after))
        return tuple(public_event(event, record) for event in found)

    def counts(self) -> dict[RunState, int]:
        """Return how many runs there are of each state."""
        return self._answered(("counts",), self._platform.runs.counts)

    def workers(self) -> int:
        """Return how many workers are at work."""
        return self._answered(("workers",), lambda: len(self._platform.runs.queue.workers()))

    def failed(self) -> tuple[RunRecord, ...]:
        """Return the runs that failed latest."""
        return self.listed(Question(state=RunState.FAILED, limit=MAX_FAILED)).runs

    def planned(self) -> tuple[Planned, ...]:
        """Return what runs by itself."""
        return self._answered(("planned",), self._plan)

    def _list(self, asked: Question) -> Listed:
        found = self._platform.runs.list(
            state=RunState(asked.state) if asked.state else None,
            pipeline=asked.pipeline or None,
            text=asked.text or None,
            limit=asked.limit + 1,
        )
        shown = [public_record(record) for record in found[: asked.limit]]
        words = asked.text.casefold().split()
        # Words of a folder that is not told find nothing: else it could be guessed letter by letter.
        told = [record for record in shown if all(word in _told(record) for word in words)] if words else shown
        return Listed(tuple(told), len(found) > asked.limit)

    def _plan(self) -> tuple[Planned, ...]:
        if not self._declared:
            self._platform.declared_schedules()
            self._declared = True
        schedules = self._platform.schedules
        latest = schedules.latest()
        states = self._platform.runs.states([slot.run_id for slot in latest.values() if slot.run_id])
        found = []
        for one in schedules.list():
            slot = latest.get(one.name)
            found.append(Planned(one, slot, states.get(slot.run_id or "") if slot else None))
        return tuple(found)

    def _answered[T](self, key: tuple[Any, ...], ask: Callable[[], T]) -> T:
        with self._lock:
            if key not in self._answers:
                self._answers[key] = ask()
                while len(self._answers) > MAX_ANSWERS:
                    self._answers.popitem(last=False)
            answer: T = self._answers[key]
            return answer

    def _shown(self) -> set[str]:
        shown = set()
        for (kind, *_), answer in self._answers.items():
            if kind == "listed":
                shown |= {record.id for record in answer.runs}
            elif kind == "run":
                shown.add(answer.id)
            elif kind == "planned":
                shown |= {one.latest.run_id for one in answer if one.latest and one.latest.run_id}
        return shown


def _told(record: RunRecord) -> str:
    said = record.error["detail"] if record.error else ""
    parts = (record.id, record.pipeline, record.subject, record.parameters, said, record.submitted_by)
    return " ".join(map(str, parts)).casefold()
