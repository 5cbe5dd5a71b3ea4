"""The panels of the page *Runs*: the list with its filters, an open run, what runs by itself."""

import time
from collections.abc import Mapping
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.runs import markup
from dashboards.runs.causes import cause_row
from dashboards.runs.listing import (
    STATES,
    failed_stage,
    may_cancel,
    may_retry,
    may_run_again,
    run_row,
    stage_rows,
    state_text,
)
from dashboards.runs.model import PAGE, RunsModel
from dashboards.runs.plan import schedule_row
from dashboards.shared.background import Background, follow_widget
from dashboards.shared.layout import CONTROL, FITTING, TEXT_CSS, column, row, scrolling, text, workers_html
from dashboards.shared.runs import RunList, RunLog, RunStages, ScheduleList
from dashboards.shared.styling import VersionList
from geoetl.runs.model import RunRecord, RunState

_TABS = ("Log", "Parameters", "Result", "Notebook")
_LOG, _PARAMETERS, _RESULT, _NOTEBOOK = range(4)
_ANY = "Any"
_STATE_CSS = """
:host { font: 14px/20px Roboto, system-ui, sans-serif; color: var(--ge-text); }
.state { font-weight: 700; }
.completed, .running { color: var(--ge-accent); }
.failed { color: var(--ge-error); }
.interrupted { color: var(--ge-focus); }
.muted { color: var(--ge-muted); }
"""
_BUTTON: Mapping[str, Any] = {"size": "small", "margin": 0, "sx": {"fontSize": "14px"}}


class ListPanel(pn.viewable.Viewer):
    """The runs, filtered; and the ways to start one."""

    def __init__(self, model: RunsModel, background: Background) -> None:
        super().__init__()
        self._model = model
        start = pmui.Button(label="Start a run", icon="play_arrow", color="primary", **_BUTTON)
        start.on_click(lambda _: model.prepare())
        schedules = pmui.Button(label="Schedules", icon="schedule", variant="outlined", **_BUTTON)
        schedules.on_click(lambda _: model.show_schedules())
        start.visible = model.may_run
        self._workers = text()
        self._state = pmui.Select(label="State", options={_ANY: ""}, value="", **CONTROL)
        pipelines = {_ANY: "", **{title: name for name, title in sorted(model.titles.items(), key=lambda one: one[1])}}
        self._pipeline = pmui.Select(label="Pipeline", options=pipelines, value="", **CONTROL)
        self._words = pmui.TextInput(label="Search", placeholder="File, collection, person, error", **CONTROL)
        self._put_state = follow_widget(self._state, "value", lambda value: self._ask(state=value or ""))
        self._put_pipeline = follow_widget(self._pipeline, "value", lambda value: self._ask(pipeline=value or ""))
        self._put_words = follow_widget(self._words, "value_input", lambda value: self._ask(text=value or ""))
        self._list = RunList(sizing_mode="stretch_width", margin=0, loading=True)
        self._list.on_msg(lambda event: self._act(event.data))
        title = text('<h1 style="font-size:20px;line-height:32px;margin:0">Runs</h1>')
        self._panel = column(
            column(
                row(title, schedules, start, gap="8px"),
                self._workers,
                self._words,
                row(self._state, self._pipeline, gap="8px"),
                gap="12px",
                padding="16px 16px 8px",
                flex="none",
            ),
            scrolling(self._list, padding="0 8px 8px"),
            **{**FITTING, "flex": "1 1 auto"},
        )
        background.follow(model, ["runs", "more", "counts", "question"], self._show)
        background.follow(model, ["workers", "counts", "away"], self._show_workers)
        background.follow(model, ["question"], self._show_question)
        background.follow(model, ["opened", "place"], self._mark)
        self._show_workers()

    def _ask(self, **changes: str) -> None:
        self._model.ask(**changes)

    def _act(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "more":
            self._model.more_of_them()
        else:
            self._model.open(str(message["key"]))

    def _show(self) -> None:
        model = self._model
        if model.runs is None:
            return
        counts = model.counts
        options = {_ANY: "", **{f"{word} ({counts.get(state, 0):,})": state.value for state, word in STATES.items()}}
        if options != self._state.options:
            self._state.param.update(options=options, value=model.question.state)
        self._list.param.update(
            runs=[run_row(record, model.titles) for record in model.runs],
            more=f"{PAGE} older runs" if model.more else "",
            message=self._nothing(),
            clock=time.time(),
            loading=False,
        )

    def _nothing(self) -> dict[str, str]:
        asked = self._model.question
        if asked.state or asked.pipeline or asked.text:
            return {"title": "No such runs", "text": "Choose any state and pipeline, or search with fewer words."}
        if self._model.may_run:
            return {
                "title": "No runs yet",
                "text": "Start one above, or let the sample data in:",
                "code": "geoetl demo",
            }
        return {"title": "No runs yet", "text": "They are seen here as soon as somebody starts one."}

    def _show_workers(self) -> None:
        count, waiting = self._model.workers, self._model.counts.get("queued", 0)
        further = f", {waiting:,} {'run waits' if waiting == 1 else 'runs wait'}" if waiting else ""
        self._workers.object = workers_html(count, self._model.away, waits="what is started waits", further=further)

    def _show_question(self) -> None:
        asked = self._model.question
        self._put_state(asked.state)
        self._put_pipeline(asked.pipeline if asked.pipeline in self._model.titles else "")
        if (self._words.value_input or "") != asked.text:
            self._words.value = asked.text
            self._put_words(asked.text)

    def _mark(self) -> None:
        opened = self._model.opened
        self._list.selected = opened.id if opened and self._model.place == "run" else ""

    def __panel__(self) -> Any:
        return self._panel


class RunPanel(pn.viewable.Viewer):
    """An open run.

    Args:
        model: The page's model.
        background: Brings its changes here.
        served: Whether the server's other addresses can be gone to.
    """

    def __init__(self, model: RunsModel, background: Background, *, served: bool) -> None:
        super().__init__()
        self._model = model
        self._served = served
        self._framed = ""
        self._head = text()
        self._state = pn.pane.HTML("", stylesheets=[_STATE_CSS], margin=0, sizing_mode="stretch_width", align="center")
        back = pmui.IconButton(icon="arrow_back", description="All runs", size="small", margin=0)
        back.on_click(lambda _: model.close())
        self._cancel = pmui.Button(label="Cancel", icon="close", variant="outlined", color="error", **_BUTTON)
        self._cancel.on_click(lambda _: model.confirm("cancel"))
        self._retry = pmui.Button(label="Retry", icon="replay", color="primary", **_BUTTON)
        self._retry.on_click(lambda _: model.retry())
        self._again = pmui.Button(label="Run again", icon="replay", variant="outlined", **_BUTTON)
        self._again.on_click(lambda _: model.confirm("again"))
        self._like = pmui.Button(label="Change and run", icon="edit", variant="outlined", **_BUTTON)
        self._like.on_click(lambda _: model.prepare_like())
        self._question = text()
        self._question.align = "center"
        yes = pmui.Button(label="Yes", color="primary", **_BUTTON)
        yes.on_click(lambda _: model.go_ahead())
        no = pmui.Button(label="No", variant="outlined", **_BUTTON)
        no.on_click(lambda _: model.withdraw())
        self._ask = row(
            self._question, yes, no, gap="8px", padding="8px 16px", background="var(--ge-accent-soft)", flex="none"
        )
        self._problem = pn.pane.HTML(
            "", stylesheets=[TEXT_CSS, markup.PROBLEM_CSS], margin=0, sizing_mode="stretch_width", visible=False
        )
        self._dask = text()
        self._stages = RunStages(sizing_mode="stretch_width", margin=0)
        self._log = RunLog(sizing_mode="stretch_width", margin=0)
        self._parameters, self._result, self._facts = text(), text(), text()
        self._frame = pn.pane.HTML("", stylesheets=[markup.NOTEBOOK_CSS], margin=0, sizing_mode="stretch_width")
        self._notebook = text()
        self._tabs = pmui.TabMenu(
            items=[{"label": label} for label in _TABS], active=_LOG, sizing_mode="stretch_width", margin=0
        )
        self._tabs.param.watch(lambda _: self._choose_tab(), "active")
        self._bodies = [
            column(self._log),
            column(self._parameters, self._facts, gap="16px"),
            column(self._result),
            column(self._notebook, self._frame, gap="8px"),
        ]
        actions = row(self._retry, self._again, self._like, self._cancel, gap="8px", flex_wrap="wrap")
        actions.sizing_mode = None
        self._panel = column(
            row(back, self._head, padding="12px 16px 4px 8px", gap="8px", flex="none", align_items="flex-start"),
            row(self._state, actions, padding="4px 16px 12px", gap="8px 16px", flex="none", flex_wrap="wrap"),
            self._ask,
            scrolling(
                self._problem,
                self._dask,
                self._stages,
                column(self._tabs, border_bottom="1px solid var(--ge-line)", margin="8px 0 12px"),
                *self._bodies,
                padding="8px 16px 16px",
                border_top="1px solid var(--ge-line)",
            ),
            **{**FITTING, "flex": "1 1 auto"},
        )
        self._choose_tab()
        background.follow(model, ["opened"], self._show)
        background.follow(model, ["opened", "said"], self._show_state)
        background.follow(model, ["asking"], self._show_question)
        background.follow(model, ["log"], self._show_log)
        self._show_question()

    def _choose_tab(self) -> None:
        for index, body in enumerate(self._bodies):
            body.visible = index == self._tabs.active
        if self._tabs.active == _NOTEBOOK:
            self._show_notebook()

    def _show(self) -> None:
        record, model = self._model.opened, self._model
        if record is None:
            return
        self._head.object = markup.head_html(record, model.title(record.pipeline))
        self._problem.visible = record.error is not None and record.state is not RunState.RUNNING
        self._problem.object = markup.problem_html(record.error) if record.error else ""
        self._dask.param.update(object=markup.dask_html(record), visible=bool(record.dashboard))
        self._stages.param.update(stages=stage_rows(record), message=_no_stages(record), clock=time.time())
        self._parameters.object = markup.parameters_html(model.parameters())
        self._facts.object = markup.facts_html(record)
        self._result.object = markup.result_html(record, linked=self._served)
        may = model.may_run
        self._retry.param.update(visible=may and may_retry(record), label=_retry_label(record))
        self._cancel.visible = may and may_cancel(record)
        self._again.visible = may and may_run_again(record)
        self._like.visible = may and record.state.is_over and record.pipeline in model.startable
        if self._tabs.active == _NOTEBOOK:
            self._show_notebook()

    def _show_state(self) -> None:
        record, said = self._model.opened, self._model.said
        if record is not None:
            tail = f' <span class="muted">{escape(said)}</span>' if said else ""
            state = f'<span class="state {record.state}">{state_text(record)}</span>'
            self._state.object = f'<div role="status">{state}{tail}</div>'

    def _show_question(self) -> None:
        asking = self._model.asking
        self._ask.visible = asking is not None
        if asking is not None:
            self._question.object = f'<div role="alert">{_QUESTIONS[asking.action]}</div>'

    def _show_log(self) -> None:
        lines = [{"at": line.at, "text": line.text, "printed": line.printed} for line in self._model.log]
        self._log.param.update(lines=lines, message="It has not said anything yet.")

    def _show_notebook(self) -> None:
        record = self._model.opened
        if record is None:
            return
        shown = f"{record.id} {record.notebook} {record.finished_at}" if record.notebook else ""
        if record.notebook and shown != self._framed:
            page = None if self._served else self._model.notebook_page()
            self._frame.object = markup.notebook_html(record, page)
        self._framed = shown
        self._frame.visible = bool(record.notebook)
        if not record.notebook:
            self._notebook.object = '<p class="muted">It has an executed notebook when an attempt has ended.</p>'
        elif self._served:
            address = escape(markup.notebook_address(record))
            link = f'<a href="{address}" target="_blank" rel="noopener">Open it in a page of its own</a>'
            self._notebook.object = f'<div class="muted">As it was executed; nothing runs in it. {link}</div>'

    def __panel__(self) -> Any:
        return self._panel


class SchedulesPanel(pn.viewable.Viewer):
    """What runs by itself, and what runs failed of."""

    def __init__(self, model: RunsModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._back = pmui.IconButton(icon="arrow_back", description="All runs", size="small", margin=0)
        self._back.on_click(lambda _: model.close())
        self._list = ScheduleList(sizing_mode="stretch_width", margin=0)
        self._list.on_msg(lambda event: self._act(event.data))
        self._said = text()
        self._causes = VersionList(sizing_mode="stretch_width", margin=0)
        self._causes.on_msg(lambda event: self._act(event.data))
        title = text('<h2 style="font-size:20px;line-height:28px;margin:0">What runs by itself</h2>')
        failures = text('<h2 style="font-size:20px;line-height:28px;margin:16px 0 0">What failed lately</h2>')
        self._panel = column(
            row(self._back, title, padding="12px 16px 4px", gap="8px", flex="none"),
            scrolling(self._said, self._list, failures, self._causes, padding="8px 16px 16px", gap="12px"),
            **{**FITTING, "flex": "1 1 auto"},
        )
        background.follow(model, ["planned"], self._show)
        background.follow(model, ["causes"], self._show_causes)
        background.follow(model, ["said", "place"], self._say)
        background.follow(model, ["place"], self._show_back)
        self._show_causes()
        self._say()
        self._show_back()

    def _act(self, message: Mapping[str, Any]) -> None:
        key, model = str(message["key"]), self._model
        {"pause": model.pause, "resume": model.resume, "run": model.run_now, "open": model.open}[message["type"]](key)

    def _show(self) -> None:
        now = time.time()
        rows = [
            {**schedule_row(one, now), "actions": self._actions(paused=one.schedule.is_paused)}
            for one in self._model.planned
        ]
        self._list.param.update(
            schedules=rows,
            message="Nothing runs by itself. Schedules are declared in a file: see catalogs/schedules.yaml",
        )

    def _actions(self, *, paused: bool) -> list[dict[str, str]]:
        actions = []
        if self._model.may_run:
            actions.append({"type": "run", "label": "Run now"})
        if self._model.may_plan:
            actions.append({"type": "resume", "label": "Resume"} if paused else {"type": "pause", "label": "Pause"})
        return actions

    def _show_causes(self) -> None:
        rows = [cause_row(cause, self._model.titles) for cause in self._model.causes]
        self._causes.param.update(versions=rows, message="Nothing failed lately.")

    def _say(self) -> None:
        said = self._model.said if self._model.place != "run" else ""
        self._said.param.update(object=f'<div role="status">{escape(said)}</div>', visible=bool(said))

    def _show_back(self) -> None:
        self._back.visible = self._model.place != ""

    def __panel__(self) -> Any:
        return self._panel


_QUESTIONS: Mapping[str, str] = {
    "cancel": "Cancel this run? What its finished stages made stays, and it can be tried again.",
    "again": "Run it again? What it made before is replaced.",
}


def _retry_label(record: RunRecord) -> str:
    stage = failed_stage(record)
    return f"Retry from “{stage}”" if stage else "Retry"


def _no_stages(record: RunRecord) -> str:
    if record.state is RunState.QUEUED:
        return "It waits for a worker, or for the run of the same data before it."
    if record.state is RunState.RUNNING:
        return "It has begun; its first stage comes next."
    return "It has no stages."
