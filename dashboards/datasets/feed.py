"""What everybody sees of managed datasets, asked for once: one thread looks, however many pages are open."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

from dashboards.datasets.differing import Differing, differing
from dashboards.datasets.standing import Managed, Plan, in_order, managed
from dashboards.runs.feed import RunFeed
from geoetl.core.errors import NotFound
from geoetl.datasets.outcome import Checked, UpdateRecord
from geoetl.datasets.overview import Overview, overviews
from geoetl.datasets.pulse import feel_pulse
from geoetl.datasets.version import Version
from geoetl.runs.model import RunRecord, RunState
from geoetl.runs.privacy import paths_in, public, public_record

if TYPE_CHECKING:
    from geoetl.platform import Platform

# Updates that wait or are executed, of one kind of pipeline.
MAX_OPEN = 200
# Lines of a log that are shown.
MAX_HISTORY = 50
# Features that differ, of so many versions, stay in memory.
MAX_DIFFERENCES = 8
# Ages and missed looks change without anything happening.
_AGES_S = 60


class DatasetFeed(RunFeed):
    """Answers questions about datasets from memory until something happens to them, and those about runs as `RunFeed`.

    Args:
        platform: Everything that is asked.
        every_s: How often it looks, seconds.
    """

    def __init__(self, platform: "Platform", every_s: float = 0.5) -> None:
        super().__init__(platform, every_s)
        self._kept: dict[tuple[Any, ...], Any] = {}
        self._felt: Hashable = None
        self._rows: dict[tuple[str, int], int] = {}
        self._differing: OrderedDict[tuple[str, int], Differing] = OrderedDict()
        self._plans: dict[str, Plan] = {}

    # -- answers -------------------------------------------------------------------------------------------------------

    def datasets(self) -> tuple[Managed, ...]:
        """Return how all datasets stand, those that wait for a person first.

        Raises:
            Unavailable: The database is away.
        """
        return self._answered(("datasets",), self._stand)

    def versions(self, dataset_id: str) -> tuple[Version, ...]:
        """Return the versions of a dataset, the newest first."""
        return self._remembered(("versions", dataset_id), lambda: self._repository.versions(dataset_id))

    def history(self, dataset_id: str) -> tuple[UpdateRecord, ...]:
        """Return the latest updates of a dataset, the newest first."""
        return self._remembered(
            ("history", dataset_id), lambda: self._repository.history(dataset_id, limit=MAX_HISTORY)
        )

    def update(self, dataset_id: str) -> RunRecord | None:
        """Return the run that updates a dataset, or did so last; None where there is none any more."""
        one = next((one for one in self.datasets() if one.dataset.dataset_id == dataset_id), None)
        if one is None:
            return None
        if one.run is not None:
            return self.run(one.run.id)
        latest = one.overview.latest
        try:
            return self.run(latest.job_id) if latest else None
        except NotFound:
            return None

    def differing(self, dataset_id: str, number: int) -> Differing:
        """Return the features that a version changed.

        Raises:
            GeoetlError: They cannot be read.
        """
        key = (dataset_id, number)
        with self._lock:
            if key in self._differing:
                self._differing.move_to_end(key)
                return self._differing[key]
        made = differing(self._platform.datasets.changed(dataset_id, number))
        with self._lock:
            self._differing[key] = made
            while len(self._differing) > MAX_DIFFERENCES:
                self._differing.popitem(last=False)
        return made

    def people(self) -> Mapping[str, str]:
        """Return the names of those who may have decided, by id."""
        return self._remembered(("people",), lambda: {user.id: user.name for user in self._platform.identity.users()})

    def note_plan(self, checked: Checked) -> None:
        """Remember what a source answered, for every page."""
        told = checked.model_dump(mode="json")
        plan = Plan(Checked.model_validate(public(told, paths_in(told))), time.time())
        with self._lock:
            self._plans[checked.dataset_id] = plan
            self._answers.pop(("datasets",), None)

    # -- within --------------------------------------------------------------------------------------------------------

    @property
    def _repository(self) -> Any:
        return self._platform.datasets.repository

    def _feel(self) -> Hashable:
        felt = feel_pulse(self._platform.database)
        if felt != self._felt:
            self._kept.clear()
            self._felt = felt
        return felt, int(time.time() // _AGES_S), super()._feel()

    def _remembered[T](self, key: tuple[Any, ...], ask: Callable[[], T]) -> T:
        """Return what only changes when something happens to a dataset, and not with each step of a run."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = ask()
            answer: T = self._kept[key]
            return answer

    def _stand(self) -> tuple[Managed, ...]:
        now = time.time()
        found = self._remembered(("overviews",), lambda: overviews(self._repository))
        under_way = self._under_way(found)
        return in_order(
            [
                managed(
                    one,
                    rows=self._rows_of(one),
                    run=under_way.get(one.dataset.subject),
                    plan=self._plans.get(one.dataset.dataset_id),
                    now=now,
                )
                for one in found
            ]
        )

    def _under_way(self, found: tuple[Overview, ...]) -> dict[str, RunRecord]:
        """Return the updates that wait or are executed, by what they work on; of several the one that is executed."""
        records: dict[str, RunRecord] = {}
        for pipeline in {one.dataset.job_type for one in found}:
            for state in (RunState.QUEUED, RunState.RUNNING):
                for record in self._platform.runs.list(state=state, pipeline=pipeline, limit=MAX_OPEN):
                    records[record.subject] = public_record(record)
        return records

    def _rows_of(self, one: Overview) -> int | None:
        number = one.dataset.live_version
        if number is None:
            return None
        key = (one.dataset.dataset_id, number)
        if key not in self._rows:
            # What a version holds does not change, and may be long to read.
            self._rows[key] = self._repository.version(*key).profile.rows
        return self._rows[key]

    def _shown(self) -> set[str]:
        seen = self._answers.get(("datasets",), ())
        return super()._shown() | {one.run.id for one in seen if one.run}
