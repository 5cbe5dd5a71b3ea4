"""The state of the page and what a person can do with it; nothing in here draws."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import param

from dashboards.datasets.address import Address
from dashboards.datasets.comparison import ColumnChange, Line, column_changes, number_lines
from dashboards.datasets.differing import KINDS, ChangedFeature, Differing
from dashboards.datasets.feed import DatasetFeed
from dashboards.datasets.standing import Managed
from dashboards.runs.log import MAX_LINES, log_lines
from dashboards.shared.model import FollowingModel, Start, at_once
from dashboards.shared.problem import Problem
from dashboards.shared.turns import Turns
from geoetl.core.errors import InvalidParameter, NotFound, did_you_mean
from geoetl.core.principal import Role
from geoetl.datasets.model import UpdateRequest, VersionState
from geoetl.datasets.outcome import UpdateRecord
from geoetl.datasets.version import Version
from geoetl.runs.model import RunRecord
from geoetl.runs.privacy import public_record

if TYPE_CHECKING:
    from geoetl.core.principal import Principal
    from geoetl.platform import Platform

# Features that are listed at first, and how many more each time.
PAGE = 100
MAX_REASON = 1000


@dataclass(frozen=True)
class Asking:
    """What a person is asked before it is done.

    Attributes:
        action: ``accept`` or ``reject`` of a held version, or ``rollback`` to a former one.
        number: Of the version.
    """

    action: str
    number: int

    @property
    def needs_reason(self) -> bool:
        """Whether it is not done without a reason."""
        return self.action == "reject"


@dataclass(frozen=True)
class Opened:
    """An open dataset.

    Attributes:
        managed: How it stands.
        versions: What was made of it, the newest first.
        history: Its latest updates, the newest first.
    """

    managed: Managed
    versions: tuple[Version, ...]
    history: tuple[UpdateRecord, ...]

    def version(self, number: int) -> Version | None:
        """Return one of its versions."""
        return next((one for one in self.versions if one.number == number), None)


@dataclass(frozen=True)
class Looked:
    """A version beside the one that it was compared with.

    Attributes:
        version: The version.
        lines: Numbers, old beside new.
        columns: Columns that differ.
        differing: The features that differ; None while they are read.
    """

    version: Version
    lines: tuple[Line, ...]
    columns: tuple[ColumnChange, ...]
    differing: Differing | None = None


class DatasetsModel(FollowingModel):
    """Which datasets there are, the one that is open, and the version of it whose changes are looked at.

    The parameters are changed by the commands alone; their values are frozen.  What happens to datasets comes by itself
    once `follow` was called.

    Args:
        platform: Everything that is asked.
        feed: Looks for what happens, for every page of this process.
        principal: Who looks.
        start: Does what takes long; left out, the command itself does.
    """

    shows = "datasets"

    datasets = param.ClassSelector(class_=tuple, default=None, allow_None=True, doc="How they stand, the urgent first.")
    workers = param.Integer(default=0, doc="How many workers are at work.")

    opened = param.ClassSelector(class_=Opened, default=None, allow_None=True, doc="The dataset that is open.")
    run = param.ClassSelector(class_=RunRecord, default=None, allow_None=True, doc="Its update, or the latest one.")
    log = param.ClassSelector(class_=tuple, default=(), doc="The latest lines of what that said.")
    looked = param.ClassSelector(class_=Looked, default=None, allow_None=True, doc="The version that is looked at.")
    kind = param.String(default="", doc="Only changes of this kind are shown; empty for all.")
    limit = param.Integer(default=PAGE, doc="So many features are listed.")
    chosen = param.ClassSelector(class_=ChangedFeature, default=None, allow_None=True, doc="The one that stands out.")
    asking = param.ClassSelector(class_=Asking, default=None, allow_None=True, doc="What is asked before it is done.")

    def __init__(
        self, platform: "Platform", feed: DatasetFeed, principal: "Principal", start: Start = at_once, **params: Any
    ) -> None:
        self.feed = feed
        self._start = start
        self._reading = Turns()
        self._id = ""
        self._heard = 0
        super().__init__(platform, feed, principal, **params)

    # ---- what it is ------------------------------------------------------------------------------------------------

    @property
    def may_update(self) -> bool:
        """Whether a source may be asked, and updates begun."""
        return self._may(Role.EDITOR)

    @property
    def may_decide(self) -> bool:
        """Whether it may be decided which version is served."""
        return self._may(Role.APPROVER)

    @property
    def may_pause(self) -> bool:
        """Whether it may be decided when sources rest."""
        return self._may(Role.OPERATOR)

    @property
    def is_updating(self) -> bool:
        """Whether an update of the open dataset waits or is executed."""
        return self.opened is not None and self.opened.managed.run is not None

    def person(self, decided_by: str | None) -> str:
        """Return the name of who decided something; the id of one who is not there any more."""
        if decided_by is None:
            return ""
        return {"local": "Local operator"}.get(decided_by) or self.feed.people().get(decided_by, decided_by)

    # ---- looking ---------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        datasets = self.feed.datasets()
        self._set(datasets=datasets, workers=self.feed.workers())
        if self._id:
            found = next((one for one in datasets if one.dataset.dataset_id == self._id), None)
            if found is None:
                self.close()
                raise NotFound("The dataset that was open was deleted.", hint="Choose another one.")
            self._show(found)
        away = self.feed.away
        self._set(away=Problem.of(away, "looking at the datasets") if away else None)

    def _show(self, found: Managed) -> None:
        opened = Opened(found, self.feed.versions(self._id), self.feed.history(self._id))
        self._set(opened=opened)
        self._show_run(self.feed.update(self._id))
        if self.looked is not None:
            version = opened.version(self.looked.version.number)
            if version is not None and version != self.looked.version:
                self._set(looked=replace(self.looked, version=version))
        if self.asking is not None and not _may_still(self.asking, opened):
            self._set(asking=None)

    def _show_run(self, record: RunRecord | None) -> None:
        """Show the update as it stands, with what it said since."""
        if record is None:
            self._heard = 0
            self._set(run=None, log=())
            return
        if self.run is None or self.run.id != record.id:
            self._heard = 0
            self._set(log=())
        happened = self.feed.events(record, after=self._heard)
        if happened:
            self._heard = happened[-1].number
        self._set(run=public_record(record), log=(*self.log, *log_lines(happened))[-MAX_LINES:])

    # ---- going -----------------------------------------------------------------------------------------------------

    def open(self, dataset_id: str, version: int | None = None) -> None:
        """Open a dataset, and a version of it.

        Args:
            dataset_id: Which dataset.
            version: Number of the version that is looked at; 0 for none, left out the one that waits for a decision.
        """
        with self._doing("opening the dataset"), self._looking:
            found = next((one for one in self.feed.datasets() if one.dataset.dataset_id == dataset_id), None)
            if found is None:
                known = [one.dataset.dataset_id for one in self.feed.datasets()]
                raise NotFound(
                    f"There is no managed dataset '{dataset_id[:64]}'.",
                    hint=did_you_mean(dataset_id, known) or "Choose one in the list.",
                    field="dataset",
                )
            if self._id != dataset_id:
                self.close()
            self._id = dataset_id
            self._set(problem=None, asking=None)
            self._show(found)
            number = next(iter(found.overview.held), 0) if version is None else version
            if number:
                self.look_at(number)
            else:
                self._set(looked=None, chosen=None)

    def close(self) -> None:
        """Go back to the list."""
        with self._looking:
            self._id, self._heard = "", 0
            self._reading.ask()
            self._set(opened=None, run=None, log=(), looked=None, chosen=None, kind="", limit=PAGE)
            self._set(asking=None, said="", problem=None)

    def look_at(self, number: int) -> None:
        """Look at what a version changed."""
        with self._doing("opening the version"):
            version = self.opened.version(number) if self.opened else None
            if self.opened is None or version is None:
                raise NotFound(
                    f"The dataset has no version {number}.", hint="Choose one of its versions.", field="version"
                )
            if self.looked is not None and self.looked.version.number == number and self.looked.differing is not None:
                return
            base = self.opened.version(version.based_on) if version.based_on is not None else None
            old = base.profile if base else None
            looked = Looked(version, number_lines(old, version.profile), column_changes(old, version.profile))
            self._set(looked=looked, kind="", limit=PAGE, chosen=None)
            turn = self._reading.ask()

            def read() -> None:
                with self._doing("reading what changed"), turn.work() as is_wanted:
                    if is_wanted:
                        found = self.feed.differing(version.dataset_id, number)
                        if self.looked is not None and turn.is_latest:
                            self._set(looked=replace(self.looked, differing=found))

            self._start(read)

    # ---- what differs ----------------------------------------------------------------------------------------------

    def show_kind(self, kind: str) -> None:
        """Show only changes of a kind; all where it is empty."""
        if kind in ("", *KINDS):
            self._set(kind=kind, limit=PAGE, chosen=None)

    def list_more(self) -> None:
        """List more features that differ."""
        self._set(limit=self.limit + PAGE)

    def choose(self, number: int) -> None:
        """Let one of the features that differ stand out."""
        features = self.looked.differing.features if self.looked and self.looked.differing else ()
        if 0 <= number < len(features):
            self._set(chosen=features[number])

    def listed(self) -> tuple[tuple[ChangedFeature, ...], int]:
        """Return the features that are listed, and how many more there are."""
        found = self.looked.differing.of(self.kind) if self.looked and self.looked.differing else ()
        return found[: self.limit], max(0, len(found) - self.limit)

    # ---- the source ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Ask the source of the open dataset now, and say what an update would do; nothing is downloaded."""
        dataset_id = self._id
        self._start(lambda: self._check_source(dataset_id))

    def _check_source(self, dataset_id: str) -> None:
        with self._doing("asking the source"):
            self._check(Role.EDITOR, "ask sources")
            if dataset_id:
                self._set(problem=None, said="")
                checked = self.platform.datasets.check(UpdateRequest(dataset_id=dataset_id), is_awaited=True)
                self.feed.note_plan(checked)
                self._see()

    def update(self, *, force: bool = False) -> None:
        """Queue an update of the open dataset.

        Args:
            force: Whether it is fetched and compared although the source seems unchanged.
        """
        with self._doing("starting the update"):
            self._check(Role.EDITOR, "update datasets")
            if self._id:
                record = self.platform.update_dataset(self._id, force=force, submitted_by=self.principal.name)
                said = "This update is under way already." if record.reused else "The update was started."
                self._set(said=said, problem=None)
                self._see()

    def pause(self) -> None:
        """Let the source of the open dataset rest."""
        self._enable(False, "It is not looked at by itself until somebody resumes it; what is served stays.")

    def resume(self) -> None:
        """Let the source of the open dataset be asked by itself again."""
        self._enable(True, "It is looked at by itself again.")

    def _enable(self, enabled: bool, said: str) -> None:
        with self._doing("changing the schedule"):
            self._check(Role.OPERATOR, "decide when sources are asked")
            if self._id:
                self.platform.datasets.repository.enable(self._id, enabled)
                self.platform.declared_schedules()
                self._set(said=said, problem=None)
                self._see()

    # ---- deciding --------------------------------------------------------------------------------------------------

    def confirm(self, action: str, number: int) -> None:
        """Ask before a version is accepted, rejected or gone back to."""
        asking = Asking(action, number)
        if self.opened is not None and _may_still(asking, self.opened):
            self._set(asking=asking, said="", problem=None)

    def withdraw(self) -> None:
        """Do nothing of what was asked for."""
        self._set(asking=None, problem=None)

    def go_ahead(self, reason: str = "") -> None:
        """Do what was asked for.

        Args:
            reason: Why, for whoever looks later.
        """
        asking, dataset_id, why = self.asking, self._id, " ".join(reason.split())
        if asking is None or not dataset_id:
            return
        with self._doing(_DOING[asking.action]):
            self._check(Role.APPROVER, "decide which version is served")
            if asking.needs_reason and not why:
                raise InvalidParameter("It is not rejected without a reason.", hint="Say why.", field="reason")
            if len(why) > MAX_REASON:
                raise InvalidParameter(
                    f"The reason has {len(why):,} characters; {MAX_REASON:,} are kept.",
                    hint="Shorten it.",
                    field="reason",
                )
            updates = self.platform.datasets
            decide = {"accept": updates.accept, "reject": updates.reject, "rollback": updates.rollback}[asking.action]
            self._set(asking=None)
            try:
                version = decide(dataset_id, asking.number, by=self.principal.id, reason=why or None)
            finally:
                self._see()  # somebody else may have decided meanwhile
            self._set(said=_SAID[asking.action].format(number=version.number), problem=None)

    # ---- the address -----------------------------------------------------------------------------------------------

    def address(self) -> Address:
        """Return the state as an address."""
        return Address(self._id, self.looked.version.number if self.looked else 0)

    def go(self, query: str) -> None:
        """Bring about the state of an address's query."""
        with self._doing("opening the address"):
            address = Address.parse(query)
            if not address.dataset:
                self.close()
            elif address != self.address():
                self.open(address.dataset, address.version)


_DOING = {"accept": "accepting the version", "reject": "rejecting the version", "rollback": "going back"}
_SAID = {
    "accept": "Version {number} is served now. The one before is kept, to go back to.",
    "reject": "Version {number} is rejected; its release is not fetched again.",
    "rollback": "Version {number} is served again. The one before is kept, to go back to.",
}


def _may_still(asking: Asking, opened: Opened) -> bool:
    """Tell whether a version stands as it must for what is asked."""
    version = opened.version(asking.number)
    wanted = VersionState.KEPT if asking.action == "rollback" else VersionState.HELD
    return version is not None and version.state is wanted
