"""The state of the page and what a person can do with it; nothing in here draws."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import param

from dashboards.runs.address import SCHEDULES, Address
from dashboards.runs.causes import causes_of
from dashboards.runs.feed import Planned, Question, RunFeed
from dashboards.runs.form import Form
from dashboards.runs.listing import STATES, titles
from dashboards.runs.log import MAX_LINES, log_lines
from dashboards.shared.model import FollowingModel, Start, at_once
from dashboards.shared.problem import Problem
from dashboards.shared.turns import Turns
from geoetl.core.errors import NotFound
from geoetl.core.identifiers import new_id
from geoetl.core.principal import Role
from geoetl.runs.model import RunRecord, RunState
from geoetl.runs.pipeline import load_pipeline, pipelines
from geoetl.runs.privacy import public_record
from geoetl.runs.rendering import executed_notebook
from geoetl.runs.repository import LATEST

if TYPE_CHECKING:
    from geoetl.core.principal import Principal
    from geoetl.platform import Platform

# Runs that are listed at first, and how many more each time.
PAGE = 50


@dataclass(frozen=True)
class Asking:
    """What a person is asked before it is done.

    Attributes:
        action: ``cancel`` or ``again`` of a run.
        key: Its id.
    """

    action: str
    key: str


class RunsModel(FollowingModel):
    """Which runs there are, the one that is open, what runs by itself, and a run that is being prepared.

    The parameters are changed by the commands alone; their values are frozen.  What happens to runs comes by itself
    once `follow` was called.

    Args:
        platform: Everything that is asked.
        feed: Looks for what happens, for every page of this process.
        principal: Who looks.
        start: Does what takes long; left out, the command itself does.
    """

    shows = "runs"

    question = param.ClassSelector(class_=Question, default=Question(limit=PAGE), doc="Which runs are listed.")
    runs = param.ClassSelector(class_=tuple, default=None, allow_None=True, doc="They, the newest first.")
    more = param.Boolean(default=False, doc="Whether there are older ones.")
    counts = param.Dict(default={}, doc="How many runs there are, by state.")
    workers = param.Integer(default=0, doc="How many workers are at work.")
    planned = param.ClassSelector(class_=tuple, default=(), doc="What runs by itself.")
    causes = param.ClassSelector(class_=tuple, default=(), doc="What runs failed of lately.")

    place = param.String(default="", doc="What is shown beside the list of runs: run, start or schedules.")
    opened = param.ClassSelector(class_=RunRecord, default=None, allow_None=True, doc="The run that is open.")
    log = param.ClassSelector(class_=tuple, default=(), doc="The latest lines of what it said.")
    form = param.ClassSelector(class_=Form, default=None, allow_None=True, doc="The run that is being prepared.")
    asking = param.ClassSelector(class_=Asking, default=None, allow_None=True, doc="What is asked before it is done.")

    def __init__(
        self, platform: "Platform", feed: RunFeed, principal: "Principal", start: Start = at_once, **params: Any
    ) -> None:
        self.feed = feed
        self.titles = titles(platform)
        self._start = start
        self._checking = Turns()
        # The open run as it is: what is not told of it has to be known to do it again.
        self._raw: RunRecord | None = None
        self._heard = 0
        super().__init__(platform, feed, principal, **params)

    # ---- what it is ------------------------------------------------------------------------------------------------

    @property
    def may_run(self) -> bool:
        """Whether runs may be started, cancelled and tried again."""
        return self._may(Role.EDITOR)

    @property
    def may_plan(self) -> bool:
        """Whether it may be decided when schedules rest."""
        return self._may(Role.OPERATOR)

    @property
    def startable(self) -> tuple[str, ...]:
        """Names of the pipelines that can be started, by their titles."""
        return tuple(sorted(pipelines(), key=self.title))

    def title(self, name: str) -> str:
        """Return what a pipeline or function is called."""
        return self.titles.get(name, name)

    def summary(self, name: str) -> str:
        """Return what a pipeline does, in a sentence or two."""
        return load_pipeline(name).summary

    # ---- looking ---------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        feed = self.feed
        found = feed.listed(self.question)
        counts = {state.value: count for state, count in feed.counts().items()}
        self._set(runs=found.runs, more=found.more, counts=counts, workers=feed.workers())
        self._set(planned=feed.planned(), causes=causes_of(feed.failed()))
        if self._raw is not None:
            self._show(feed.run(self._raw.id))
        away = feed.away
        self._set(away=Problem.of(away, "looking at the runs") if away else None)

    def _show(self, record: RunRecord) -> None:
        """Show an open run as it stands, with what it said since."""
        happened = self.feed.events(record, after=self._heard)
        if happened:
            self._heard = happened[-1].number
        lines = (*self.log, *log_lines(happened))[-MAX_LINES:]
        before, self._raw = self.opened, record
        self._set(opened=public_record(record), log=lines)
        if before is not None and before.state is not record.state and record.state is not RunState.QUEUED:
            self._set(said="")  # what was done last is told by how it stands
        if self.asking and self.asking.action == "cancel" and record.state.is_over:
            self._set(asking=None)

    def ask(self, **changes: str) -> None:
        """List other runs: by `state`, `pipeline` or `text`."""
        if changes.get("state") and changes["state"] not in STATES:
            return
        question = replace(self.question, limit=PAGE, **changes)
        if question != self.question:
            self._set(question=question)
            self._start(self.refresh)

    def more_of_them(self) -> None:
        """List older runs as well."""
        self._set(question=replace(self.question, limit=self.question.limit + PAGE))
        self._start(self.refresh)

    # ---- going -----------------------------------------------------------------------------------------------------

    def open(self, run_id: str) -> None:
        """Open a run; `latest` is the newest."""
        with self._doing("opening the run"), self._looking:
            try:
                record = self.platform.runs.get(run_id) if run_id == LATEST else self.feed.run(run_id)
            except NotFound as error:
                raise NotFound(error.detail, hint="It may have been removed. Choose one in the list.") from None
            self._open(record)

    def _open(self, record: RunRecord, said: str = "") -> None:
        with self._looking:
            if self._raw is None or self._raw.id != record.id:
                self._heard = 0
                self._set(log=(), opened=None)
            self._set(asking=None, problem=None, said=said)
            self._show(record)
            self._set(place="run")

    def close(self) -> None:
        """Go back to the list."""
        with self._looking:
            self._raw, self._heard = None, 0
            self._set(place="", opened=None, log=(), asking=None, said="", problem=None)

    def show_schedules(self) -> None:
        """Show what runs by itself."""
        self.close()
        self._set(place=SCHEDULES)

    # ---- runs ------------------------------------------------------------------------------------------------------

    def confirm(self, action: str) -> None:
        """Ask before the open run is cancelled (``cancel``) or done once more (``again``)."""
        if self._raw is not None:
            self._set(asking=Asking(action, self._raw.id), said="", problem=None)

    def withdraw(self) -> None:
        """Do nothing of what was asked for."""
        self._set(asking=None)

    def go_ahead(self) -> None:
        """Do what was asked for."""
        asking = self.asking
        self._set(asking=None)
        if asking is not None and self._raw is not None and asking.key == self._raw.id:
            {"cancel": self.cancel, "again": self.run_again}[asking.action]()

    def cancel(self) -> None:
        """Cancel the open run."""
        with self._doing("cancelling"):
            self._check(Role.EDITOR, "cancel runs")
            if self._raw is not None:
                state = self.platform.runs.queue.cancel(self._raw.id)
                self._set(said="It is being ended." if state is RunState.RUNNING else "It is cancelled.")
                self._see()

    def retry(self) -> None:
        """Try the open run again; what it has finished is not repeated."""
        with self._doing("trying it again"):
            self._check(Role.EDITOR, "try runs again")
            if self._raw is not None:
                self.platform.runs.queue.retry(self._raw.id, self.principal.name)
                self._set(said=f"It waits to be tried again.{self._nobody_works()}")
                self._see()

    def run_again(self) -> None:
        """Do the same as the open run once more, by a new run."""
        with self._doing("starting"):
            self._check(Role.EDITOR, "start runs")
            if self._raw is not None:
                self._submit(self._raw.pipeline, self._raw.parameters, again=True)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the open run as others may see them, in the order of its notebook."""
        if self.opened is None:
            return {}
        told = self.opened.parameters
        known = load_pipeline(self.opened.pipeline).parameters if self.opened.pipeline in self.startable else {}
        return {name: told[name] for name in (*(one for one in known if one in told), *told)}

    def notebook_page(self) -> str:
        """Return the executed notebook of the open run as a page, for where no server has it."""
        assert self._raw is not None
        return executed_notebook(self.platform.zones.internal, self._raw)

    # ---- starting --------------------------------------------------------------------------------------------------

    def prepare(self, pipeline: str = "", given: dict[str, Any] | None = None) -> None:
        """Open the form of a pipeline, filled in with what is given; without a name, the choice of one."""
        with self._doing("opening the form"):
            form = Form.of(load_pipeline(pipeline), given) if pipeline else None
            self.close()
            self._set(form=form, place="start")

    def prepare_like(self) -> None:
        """Open the form filled in as the open run was; what is not told of it has to be given anew."""
        if self._raw is not None and self.opened is not None:
            told = self.opened.parameters
            self.prepare(
                self._raw.pipeline, {name: value for name, value in self._raw.parameters.items() if told[name] == value}
            )

    def fill(self, name: str, value: str | bool) -> None:
        """Fill in a field of the form, and look whether it could begin."""
        if self.form is None or name not in {one.name for one in self.form.fields} or self.form.value(name) == value:
            return
        self._set(form=self.form.filled(name, value))
        turn = self._checking.ask()

        def check() -> None:
            with self._doing("checking"), turn.work() as is_wanted:
                if is_wanted and self.form is not None:
                    checked = self.form.checked(self.platform, all_of_it=False)
                    if turn.may_show() and turn.is_latest:
                        self._set(form=checked)

        self._start(check)

    def submit(self, *, again: bool = False) -> None:
        """Start the run that was prepared.

        Args:
            again: Whether it is done anew although it was completed before.
        """
        turn = self._checking.ask()
        self._start(lambda: self._check_and_submit(turn.is_latest, again))

    def _check_and_submit(self, is_wanted: bool, again: bool) -> None:
        with self._doing("starting"):
            self._check(Role.EDITOR, "start runs")
            form = self.form
            if form is None or not is_wanted:
                return
            checked = form.checked(self.platform, all_of_it=True)
            self._set(form=checked)
            if not checked.wrong:
                self._submit(checked.pipeline.name, checked.parameters(), again=again)

    def _submit(self, pipeline: str, parameters: dict[str, Any], *, again: bool) -> None:
        record = self.platform.submit(pipeline, parameters, again=again, principal=self.principal)
        if not record.reused:
            said = f"It was started.{self._nobody_works()}"
        elif record.state is RunState.COMPLETED:
            said = "Exactly this was done before, so nothing was started: this is the run that did it."
        else:
            said = "Exactly this was asked for before: this is the run that does it."
        self._see()
        self._open(self.platform.runs.get(record.id), said)

    def _nobody_works(self) -> str:
        return "" if self.platform.runs.queue.workers() else " No worker is at work: it waits until one is."

    # ---- schedules -------------------------------------------------------------------------------------------------

    def pause(self, name: str) -> None:
        """Let a schedule rest."""
        with self._doing("pausing"):
            self._check(Role.OPERATOR, "decide when schedules rest")
            self.platform.schedules.pause(name)
            self._set(said=f"{self._planned(name)} rests until somebody resumes it.")
            self._see()

    def resume(self, name: str) -> None:
        """Let a schedule go on with its next slot."""
        with self._doing("resuming"):
            self._check(Role.OPERATOR, "decide when schedules rest")
            self.platform.schedules.resume(name)
            self._set(said=f"{self._planned(name)} goes on with its next time.")
            self._see()

    def run_now(self, name: str) -> None:
        """Start a run of a schedule outside of its times, and open it."""
        with self._doing("starting"):
            self._check(Role.EDITOR, "start runs")
            run_id = self.platform.schedules.run_now(name, new_id(), self.principal.name)
            self._see()
            self._open(self.platform.runs.get(run_id), f"It was started.{self._nobody_works()}")

    def _planned(self, name: str) -> str:
        found: list[Planned] = [one for one in self.planned if one.schedule.name == name]
        return f"“{found[0].schedule.title}”" if found else name

    # ---- the address -----------------------------------------------------------------------------------------------

    def address(self) -> Address:
        """Return the state as an address."""
        preparing = self.form if self.place == "start" else None
        return Address(
            run=self._raw.id if self._raw and self.place == "run" else "",
            start=preparing.pipeline.name if preparing else "new" if self.place == "start" else "",
            given={name: _written(value) for name, value in preparing.given.items()} if preparing else {},
            view=SCHEDULES if self.place == SCHEDULES else "",
            state=self.question.state,
            pipeline=self.question.pipeline,
            text=self.question.text,
        )

    def go(self, query: str) -> None:
        """Bring about the state of an address's query."""
        with self._doing("opening the address"):
            address = Address.parse(query)
            self.ask(state=address.state, pipeline=address.pipeline, text=address.text)
            if address.run:
                if self._raw is None or self._raw.id != address.run or self.place != "run":
                    self.open(address.run)
            elif address.start:
                self._go_to_form(address)
            elif address.view:
                self.show_schedules()
            else:
                self.close()

    def _go_to_form(self, address: Address) -> None:
        name = "" if address.start == "new" else address.start
        try:
            self.prepare(name, dict(address.given))
        except NotFound:
            self.prepare()
            raise


def _written(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()
