"""The state of the page and what a person can do with it; nothing in here draws."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import param

from dashboards.datasets.differing import KINDS, ChangedFeature
from dashboards.review.address import TABS, Address
from dashboards.review.deciding import DOING, NO_REASON, SAID, Asking, decide
from dashboards.review.feed import ReviewFeed, Verified
from dashboards.review.opened import Opened, opened
from dashboards.review.rows import RowChanges
from dashboards.review.sides import Drawn
from dashboards.review.standing import WORDS, Group, deeds
from dashboards.runs.log import MAX_LINES, log_lines
from dashboards.shared.model import FollowingModel, Start, at_once
from dashboards.shared.problem import Problem
from dashboards.shared.turns import Turns
from geoetl.core.errors import Conflict, GeoetlError, InvalidParameter, NotFound
from geoetl.core.principal import Forbidden, Role
from geoetl.publish.model import Action, Clearance, Release, State
from geoetl.runs.model import RunRecord

if TYPE_CHECKING:
    from geoetl.core.principal import Principal
    from geoetl.platform import Platform

# Releases, files and features that are listed at first, and how many more each time.
PAGE, FILES_PAGE, ROWS_PAGE = 50, 200, 100


@dataclass(frozen=True)
class Looked:
    """What an open release looks like, as far as it was worked out.

    Attributes:
        new: How it would be seen; None while it is drawn.
        old: How what is public is seen; None while it is drawn, or where nothing is.
        rows: Features that differ; None while they are compared, or where they cannot be.
        told: Why they cannot be compared.
    """

    new: Drawn | None = None
    old: Drawn | None = None
    rows: RowChanges | None = None
    told: str = ""


class ReviewModel(FollowingModel):
    """Which releases there are, the one that is open, what is asked of it, and what became of it.

    The parameters are changed by the commands alone; their values are frozen.  What happens to releases comes by itself
    once `follow` was called.

    Args:
        platform: Everything that is asked.
        feed: Looks for what happens, for every page of this process.
        principal: Who looks.
        start: Does what takes long; left out, the command itself does.
    """

    shows = "releases"

    show = param.ClassSelector(class_=Group, default=Group.WAITING, doc="Which releases are listed.")
    releases = param.ClassSelector(class_=tuple, default=None, allow_None=True, doc="They.")
    more = param.Boolean(default=False, doc="Whether there are more of them.")
    limit = param.Integer(default=PAGE, doc="So many are listed.")
    counts = param.Dict(default={}, doc="How many releases there are, by group.")
    workers = param.Integer(default=0, doc="How many workers are at work.")

    opened = param.ClassSelector(class_=Opened, default=None, allow_None=True, doc="The release that is open.")
    tab = param.String(default=TABS[0], doc="The part of it that is seen.")
    looked = param.ClassSelector(class_=Looked, default=Looked(), doc="What it looks like.")
    kind = param.String(default="", doc="Only features changed in this way are shown; empty for all.")
    rows_limit = param.Integer(default=ROWS_PAGE, doc="So many features are listed.")
    files_limit = param.Integer(default=FILES_PAGE, doc="So many files are listed.")
    chosen = param.ClassSelector(class_=ChangedFeature, default=None, allow_None=True, doc="The one that stands out.")

    run = param.ClassSelector(class_=RunRecord, default=None, allow_None=True, doc="The run that copies or withdraws.")
    log = param.ClassSelector(class_=tuple, default=(), doc="The latest lines of what that said.")
    trail = param.ClassSelector(class_=tuple, default=(), doc="What the audit log says of it, the newest first.")
    verified = param.ClassSelector(class_=Verified, default=None, allow_None=True, doc="Whether that log is whole.")
    asking = param.ClassSelector(class_=Asking, default=None, allow_None=True, doc="What is asked before it is done.")

    def __init__(
        self, platform: "Platform", feed: ReviewFeed, principal: "Principal", start: Start = at_once, **params: Any
    ) -> None:
        self.feed = feed
        self._start = start
        self._drawing, self._verifying = Turns(), Turns()
        self._id = ""
        self._heard = 0
        # The run that this page asked for last, which the release does not name itself.
        self._asked_for: tuple[str, str] = ("", "")
        super().__init__(platform, feed, principal, **params)

    # ---- looking ---------------------------------------------------------------------------------------------------

    def person(self, principal_id: str | None) -> str:
        """Return the name of who did something; the id of one who is not there any more."""
        if principal_id is None:
            return ""
        known = {"local": "Local operator", "system": "geoetl", self.principal.id: self.principal.name}
        return self.feed.people().get(principal_id) or known.get(principal_id, principal_id)

    def _look(self) -> None:
        found = self.feed.releases(self.show, self.limit)
        self._set(releases=found.releases, more=found.more, counts=dict(self.feed.counts_by_group()))
        self._set(workers=self.feed.workers())
        if self._id:
            self._show_release(self.feed.release(self._id))
        away = self.feed.away
        self._set(away=Problem.of(away, "looking at the releases") if away else None)

    def _show_release(self, release: Release) -> None:
        """Show the open release as it stands."""
        seen = self.opened.release if self.opened else None
        present = self.feed.present(release)
        now = opened(
            release,
            self.feed.before(release),
            deeds(release, self.principal, read_only=self.platform.database.read_only, now=time.time()),
            next_version=self.feed.next_version(release),
            present=present,
            made_by=self.feed.made_by(present),
        )
        if now != self.opened:
            self._set(opened=now)
        if seen is not None and seen.id == release.id and seen.state is not release.state:
            self._set(said="")  # it was about how it stood before
        if self.asking is not None and not self.asking.is_about(release):
            self._set(asking=None, said=f"It changed while you looked; it is now: {WORDS[release.state].lower()}.")
        self._set(trail=self.feed.trail(release.id))
        self._show_run(release)
        was = (seen.manifest_digest, seen.state is State.PUBLISHED) if seen and seen.id == release.id else None
        if was != (release.manifest_digest, release.state is State.PUBLISHED):
            self._draw(release, now.before)
        if seen is None or seen.id != release.id or seen.revision != release.revision:
            self.verify()

    def _show_run(self, release: Release) -> None:
        """Show the run that copies or withdraws, with what it said since."""
        asked_of, asked_for = self._asked_for
        is_asked_for = asked_of == release.id and asked_for
        record = self.feed.run_or_none(asked_for) if is_asked_for else self.feed.copy_of(release)
        if record is None:
            self._heard = 0
            self._set(run=None, log=())
            return
        if self.run is None or self.run.id != record.id:
            self._heard = 0
            self._set(log=())
        happened = self.feed.events(self.feed.run(record.id), after=self._heard)
        if happened:
            self._heard = happened[-1].number
        self._set(run=record, log=(*self.log, *log_lines(happened))[-MAX_LINES:])

    def _draw(self, release: Release, before: Release | None) -> None:
        """Work out what a release looks like, and which features differ."""
        turn = self._drawing.ask()
        self._set(looked=Looked(), kind="", rows_limit=ROWS_PAGE, chosen=None)

        def work() -> None:
            with self._doing("drawing the release"), turn.work() as is_wanted:
                if is_wanted:
                    self._look_at(turn.may_show, new=self.feed.drawn(release))
                if before is not None and turn.is_latest:
                    self._look_at(lambda: turn.is_latest, old=self.feed.drawn(before))
                    self._look_at(lambda: turn.is_latest, **self._rows(before, release))

        self._start(work)

    def _look_at(self, may_show: Callable[[], bool], **values: Any) -> None:
        if may_show():
            self._set(looked=replace(self.looked, **values))

    def _rows(self, before: Release, release: Release) -> dict[str, Any]:
        try:
            return {"rows": self.feed.rows(before, release)}
        except GeoetlError as error:
            return {"told": f"{error.detail} {error.hint or ''}".strip()}

    def verify(self, *, wholly: bool = False) -> None:
        """Look through the audit log, from its first row on where it is to be done wholly."""
        turn = self._verifying.ask()

        def work() -> None:
            with self._doing("verifying the audit log"), turn.work() as is_wanted:
                if is_wanted:
                    self._set(verified=self.feed.verified(wholly=wholly))

        self._start(work)

    # ---- going -----------------------------------------------------------------------------------------------------

    def list_group(self, group: Group) -> None:
        """List the releases of a group."""
        with self._doing("looking at the releases"), self._looking:
            self._set(show=group, limit=PAGE, problem=None)
            self.refresh()

    def list_more(self) -> None:
        """List more of them."""
        with self._looking:
            self._set(limit=self.limit + PAGE)
            self.refresh()

    def open(self, release_id: str, tab: str = TABS[0]) -> None:
        """Open a release."""
        with self._doing("opening the release"), self._looking:
            release = self.feed.release(release_id)
            if self._id != release_id:
                self.close()
            self._id = release_id
            self._set(problem=None, asking=None, tab=tab if tab in TABS else TABS[0])
            self._show_release(release)

    def close(self) -> None:
        """Go back to the list."""
        with self._looking:
            self._id, self._heard = "", 0
            self._drawing.ask()
            self._set(opened=None, looked=Looked(), run=None, log=(), trail=(), kind="", chosen=None)
            self._set(asking=None, said="", problem=None, tab=TABS[0], files_limit=FILES_PAGE, rows_limit=ROWS_PAGE)

    def see(self, tab: str) -> None:
        """See another part of the open release."""
        if tab in TABS:
            self._set(tab=tab)

    def list_more_files(self) -> None:
        """List more files of the open release."""
        self._set(files_limit=self.files_limit * 5)

    # ---- features that differ --------------------------------------------------------------------------------------

    def show_kind(self, kind: str) -> None:
        """Show only features changed in one way; all where it is empty."""
        if kind in ("", *KINDS):
            self._set(kind=kind, rows_limit=ROWS_PAGE, chosen=None)

    def list_more_rows(self) -> None:
        """List more features that differ."""
        self._set(rows_limit=self.rows_limit + ROWS_PAGE)

    def choose(self, number: int) -> None:
        """Let one of the features that differ stand out."""
        features = self.looked.rows.differing.features if self.looked.rows else ()
        if 0 <= number < len(features):
            self._set(chosen=features[number])

    def listed(self) -> tuple[tuple[ChangedFeature, ...], int]:
        """Return the features that are listed, and how many more there are."""
        found = self.looked.rows.differing.of(self.kind) if self.looked.rows else ()
        return found[: self.rows_limit], max(0, len(found) - self.rows_limit)

    # ---- deciding --------------------------------------------------------------------------------------------------

    def ask(self, action: Action) -> None:
        """Ask before something is done to the open release, as it is seen now.

        Of a withdrawal it is looked up first what exactly would go.
        """
        with self._doing(DOING[action]):
            if self.opened is None:
                return
            self._check_deed(action)
            release = self.opened.release
            self._set(asking=Asking.of(action, release), said="", problem=None)
            if action is Action.WITHDRAW:
                self._start(lambda: self._plan(release))

    def _plan(self, release: Release) -> None:
        with self._doing("looking what would go"):
            plan = None
            try:
                plan = self.platform.publish.plan_withdrawal(release.collection, release.item, release.version or 0)
            finally:
                if plan is None:
                    self._set(asking=None)
            if self.asking is not None and self.asking.action is Action.WITHDRAW and self.asking.is_about(release):
                self._set(asking=replace(self.asking, plan=plan))

    def never_mind(self) -> None:
        """Do nothing of what was asked for."""
        self._set(asking=None, problem=None)

    def go_ahead(self, reason: str = "", clearance: Clearance | None = None) -> None:
        """Do what was asked for.

        Args:
            reason: Why, or a note where none is needed.
            clearance: To approve: who may see it, where the release says otherwise.
        """
        asking, why = self.asking, reason.strip()
        if asking is None:
            return
        with self._doing(DOING[asking.action]):
            self._check_deed(asking.action)
            if asking.needs_reason and not why:
                raise InvalidParameter(f"{NO_REASON[asking.action]} without a reason.", hint="Say why.", field="reason")
            try:
                run_id = decide(self.platform.publish, self.principal, asking, why, clearance)
            except Conflict as error:
                if error.field != "clearance":  # somebody else acted: how it stands now is shown
                    self._set(asking=None)
                raise
            else:
                self._asked_for = (asking.release_id, run_id)
            finally:
                self._see()
            self._set(asking=None, said=SAID[asking.action], problem=None)

    def public_address(self, release: Release) -> str:
        """Return where the public finds a release; empty where it does not, or only on this machine."""
        base = self.platform.publish.base_url
        if release.state is not State.PUBLISHED or not base.startswith(("https://", "http://")):
            return ""
        return f"{base}/{release.manifest.path}/{release.item}.json"

    def retry(self) -> None:
        """Let a copy that failed be tried again; what is finished is not repeated."""
        with self._doing("trying the copy again"):
            self._check(Role.APPROVER, "decide what becomes public")
            if self._id:
                self.platform.publish.retry(self._id, submitted_by=self.principal.name)
                self._set(said="The copy is tried again; what is finished is not repeated.", problem=None)
                self._see()

    def _check_deed(self, action: Action) -> None:
        """Refuse who may not, as the release stands for them.

        Raises:
            Forbidden: The role is not enough, the visitor submitted it, or this server only reads.
            NotFound: No release is open.
        """
        self._check(Role.APPROVER, "decide what becomes public")
        if self.opened is None:
            raise NotFound("No release is open.", hint="Choose one in the list.")
        barred = next((deed.barred for deed in self.opened.deeds if deed.action is action), "")
        if barred:
            raise Forbidden(barred, hint="Ask somebody else who may approve.")

    # ---- the address -----------------------------------------------------------------------------------------------

    def address(self) -> Address:
        """Return the state as an address."""
        return Address(self._id, self.tab if self._id else TABS[0], self.show)

    def go(self, query: str) -> None:
        """Bring about the state of an address's query."""
        with self._doing("opening the address"):
            address = Address.parse(query)
            if address.show is not self.show:
                self.list_group(address.show)
            if not address.release:
                self.close()
            elif address.release != self._id:
                self.open(address.release, address.tab)
            else:
                self.see(address.tab)
