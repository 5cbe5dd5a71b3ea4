"""The panels of the page *Datasets*: the list, and an open dataset around the panels of its parts."""

import time
from collections.abc import Mapping
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.datasets import markup
from dashboards.datasets.model import MAX_REASON, DatasetsModel
from dashboards.datasets.release import ReleasePanel
from dashboards.datasets.standing import dataset_row
from dashboards.datasets.updating import UpdatePanel
from dashboards.shared.background import Background
from dashboards.shared.datasets import DatasetList
from dashboards.shared.delivery import Delivery
from dashboards.shared.layout import CONTROL, FITTING, TEXT_CSS, column, row, scrolling, text, workers_html
from dashboards.shared.styling import VersionList
from geoetl.datasets.model import VersionState
from geoetl.datasets.version import Version

_TABS = ("About", "Changes", "Versions", "Updates")
ABOUT, CHANGES, VERSIONS, UPDATES = range(4)
_BUTTON: Mapping[str, Any] = {"size": "small", "margin": 0, "sx": {"fontSize": "14px"}}
_STATE_CSS = """
:host { font: 14px/20px Roboto, system-ui, sans-serif; color: var(--ge-text); min-width: 200px; flex: 1 1 auto; }
.state { font-weight: 700; }
.current, .updating { color: var(--ge-accent); }
.failed { color: var(--ge-error); }
.held, .stale, .available { color: var(--ge-focus); }
.muted { color: var(--ge-muted); font-size: 12px; line-height: 16px; }
span.muted { overflow-wrap: anywhere; }
"""
_QUESTIONS: Mapping[str, str] = {
    "accept": "Serve version {number} ({release}) from now on? The one before is kept, to go back to.",
    "reject": "Reject version {number} ({release})? Its files go, and its release is not fetched again.",
    "rollback": "Serve version {number} ({release}) again? The one that is served is kept.",
}


class ListPanel(pn.viewable.Viewer):
    """The managed datasets."""

    def __init__(self, model: DatasetsModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._workers = text()
        self._list = DatasetList(sizing_mode="stretch_width", margin=0, loading=True)
        self._list.on_msg(lambda event: model.open(str(event.data["key"])))
        title = text('<h1 style="font-size:20px;line-height:32px;margin:0">Datasets</h1>')
        about = text(
            '<div class="muted">Outside sources that are kept current, and are never left empty or wrong.</div>'
        )
        self._panel = column(
            column(title, about, self._workers, gap="4px", padding="16px 16px 8px", flex="none"),
            scrolling(self._list, padding="0 8px 8px"),
            **{**FITTING, "flex": "1 1 auto"},
        )
        background.follow(model, ["datasets"], self._show)
        background.follow(model, ["workers", "away"], self._show_workers)
        background.follow(model, ["opened"], self._mark)
        self._show_workers()

    def _show(self) -> None:
        datasets = self._model.datasets
        if datasets is not None:
            self._list.param.update(
                datasets=[dataset_row(one) for one in datasets],
                message={
                    "title": "No managed datasets",
                    "text": "Say in a file what is to be kept current (see catalogs/managed), and add it:",
                    "code": "geoetl datasets add FILE.yaml",
                },
                clock=time.time(),
                loading=False,
            )

    def _show_workers(self) -> None:
        self._workers.object = workers_html(self._model.workers, self._model.away, waits="updates wait")

    def _mark(self) -> None:
        opened = self._model.opened
        self._list.selected = opened.managed.dataset.dataset_id if opened else ""

    def __panel__(self) -> Any:
        return self._panel


class DatasetPanel(pn.viewable.Viewer):
    """An open dataset.

    Args:
        model: The page's model.
        background: Brings its changes here.
        delivery: How the map's files reach the browser.
        served: Whether the server's other addresses can be gone to.
    """

    def __init__(self, model: DatasetsModel, background: Background, delivery: Delivery, *, served: bool) -> None:
        super().__init__()
        self._model = model
        self._served = served
        self._opened = ""
        self._head = text()
        self._state = pn.pane.HTML("", stylesheets=[_STATE_CSS], margin=0, align="center")
        back = pmui.IconButton(icon="arrow_back", description="All datasets", size="small", margin=0)
        back.on_click(lambda _: model.close())
        self._check = pmui.Button(label="Check now", icon="search", variant="outlined", **_BUTTON)
        self._check.on_click(lambda _: model.check())
        self._update = pmui.Button(label="Update now", icon="sync", color="primary", **_BUTTON)
        self._update.on_click(lambda _: model.update())
        self._pause = pmui.Button(label="Pause", icon="pause", variant="outlined", **_BUTTON)
        self._pause.on_click(lambda _: self._switch_schedule())
        self._build_question()
        self._held = pn.pane.HTML("", stylesheets=[markup.BOX_CSS], margin=0, sizing_mode="stretch_width")
        self._look = pmui.Button(label="Look at what changed", icon="map", variant="outlined", **_BUTTON)
        self._look.on_click(lambda _: self._look_at_held())
        self._accept = pmui.Button(label="Accept", icon="check", color="primary", **_BUTTON)
        self._accept.on_click(lambda _: self._decide("accept"))
        self._reject = pmui.Button(label="Reject", icon="close", color="error", variant="outlined", **_BUTTON)
        self._reject.on_click(lambda _: self._decide("reject"))
        self._who = text('<span class="muted">An approver decides about it.</span>')
        self._who.align = "center"
        self._banner = column(
            self._held,
            row(self._accept, self._reject, self._look, self._who, gap="8px", flex_wrap="wrap"),
            gap="8px",
        )
        self._about, self._history = text(), text()
        self._history.stylesheets = [TEXT_CSS, markup.TABLE_CSS]
        self._versions = VersionList(sizing_mode="stretch_width", margin=0)
        self._versions.on_msg(lambda event: self._act(event.data))
        self.release = ReleasePanel(model, background, delivery)
        self._tabs = pmui.TabMenu(
            items=[{"label": label} for label in _TABS], active=ABOUT, sizing_mode="stretch_width", margin=0
        )
        self._tabs.param.watch(lambda _: self._choose_tab(), "active")
        self._bodies = [
            column(self._about),
            column(self.release),
            column(self._versions),
            column(self._history),
        ]
        actions = row(self._update, self._check, self._pause, gap="8px", flex_wrap="wrap")
        actions.sizing_mode = None
        self._panel = column(
            row(back, self._head, padding="12px 16px 4px 8px", gap="8px", flex="none", align_items="flex-start"),
            row(self._state, actions, padding="4px 16px 12px", gap="8px 16px", flex="none", flex_wrap="wrap"),
            self._ask,
            scrolling(
                self._banner,
                UpdatePanel(model, background, served=served),
                column(self._tabs, border_bottom="1px solid var(--ge-line)"),
                *self._bodies,
                padding="16px",
                gap="16px",
                border_top="1px solid var(--ge-line)",
            ),
            **{**FITTING, "flex": "1 1 auto"},
        )
        self._choose_tab()
        background.follow(model, ["opened"], self._show)
        background.follow(model, ["opened", "said", "busy"], self._show_state)
        background.follow(model, ["opened", "looked"], self._show_versions)
        background.follow(model, ["looked"], self._show_changes)
        background.follow(model, ["asking"], self._show_question)
        background.follow(model, ["problem"], self._show_wrong)
        self._show_question()

    def _build_question(self) -> None:
        self._question = text()
        self._reason = pmui.TextInput(label="Reason", max_length=MAX_REASON, **CONTROL)
        yes = pmui.Button(label="Yes", color="primary", **_BUTTON)
        yes.on_click(lambda _: self._model.go_ahead(str(self._reason.value_input or self._reason.value or "")))
        no = pmui.Button(label="No", variant="outlined", **_BUTTON)
        no.on_click(lambda _: self._model.withdraw())
        self._ask = column(
            self._question,
            row(self._reason, yes, no, gap="8px", align_items="flex-start"),
            gap="8px",
            padding="12px 16px",
            background="var(--ge-accent-soft)",
            flex="none",
        )

    # ---- what a person does ----------------------------------------------------------------------------------------

    def _choose_tab(self) -> None:
        for index, body in enumerate(self._bodies):
            body.visible = index == self._tabs.active
        self._show_look()

    def _switch_schedule(self) -> None:
        opened = self._model.opened
        if opened is not None:
            (self._model.pause if opened.managed.dataset.enabled else self._model.resume)()

    def _held_number(self) -> int:
        opened = self._model.opened
        return next(iter(opened.managed.overview.held), 0) if opened else 0

    def _look_at_held(self) -> None:
        self._model.look_at(self._held_number())
        self._tabs.active = CHANGES

    def _decide(self, action: str) -> None:
        self._model.confirm(action, self._held_number())

    def _act(self, message: Mapping[str, Any]) -> None:
        number = int(message["key"])
        if message["type"] == "look":
            self._model.look_at(number)
            self._tabs.active = CHANGES
        else:
            self._model.confirm(str(message["type"]), number)

    # ---- what is shown ---------------------------------------------------------------------------------------------

    def _show(self) -> None:
        opened, model = self._model.opened, self._model
        if opened is None:
            self._opened = ""
            return
        one = opened.managed
        if one.dataset.dataset_id != self._opened:
            self._opened = one.dataset.dataset_id
            self._tabs.active = CHANGES if model.looked else ABOUT
        self._head.object = markup.head_html(one)
        live = opened.version(one.dataset.live_version) if one.dataset.live_version is not None else None
        self._about.object = markup.about_html(one.dataset, live, linked=self._served)
        self._history.object = markup.history_html(opened.history, linked=self._served)
        held = opened.version(self._held_number())
        self._banner.visible = held is not None
        if held is not None:
            self._held.object = markup.held_html(held)
        self._accept.visible = self._reject.visible = model.may_decide
        self._who.visible = not model.may_decide
        self._check.visible = self._update.visible = model.may_update
        # What is held is to be decided first.
        variant = "contained" if held is None else "outlined"
        self._update.param.update(disabled=model.is_updating, variant=variant)
        self._pause.param.update(
            visible=model.may_pause and one.dataset.update_schedule is not None,
            label="Pause" if one.dataset.enabled else "Resume",
            icon="pause" if one.dataset.enabled else "play_arrow",
        )

    def _show_state(self) -> None:
        opened, model = self._model.opened, self._model
        busy = model.busy if model.busy == "asking the source" else ""
        self._check.param.update(loading=bool(busy), disabled=bool(busy))
        if opened is not None:
            self._state.object = markup.state_html(opened.managed, model.said, busy)

    def _show_versions(self) -> None:
        opened, looked = self._model.opened, self._model.looked
        if opened is not None:
            rows = [
                markup.version_row(
                    one,
                    self._model.person(one.decided_by),
                    self._actions(one),
                    shown=looked is not None and looked.version.number == one.number,
                )
                for one in opened.versions
            ]
            self._versions.param.update(versions=rows, message="No version yet. Make one with “Update now”.")

    def _actions(self, version: Version) -> list[dict[str, str]]:
        actions = [{"type": "look", "label": "What changed"}]
        if self._model.may_decide and version.state is VersionState.KEPT:
            actions.append({"type": "rollback", "label": "Roll back to it"})
        if self._model.may_decide and version.state is VersionState.HELD:
            actions += [{"type": "accept", "label": "Accept"}, {"type": "reject", "label": "Reject"}]
        return actions

    def _show_changes(self) -> None:
        looked = self._model.looked
        if looked is None and self._tabs.active == CHANGES:
            self._tabs.active = ABOUT
        elif looked is not None and looked.differing is None:
            self._tabs.active = CHANGES
        self._show_look()

    def _show_look(self) -> None:
        looked = self._model.looked
        is_seen = looked is not None and looked.version.number == self._held_number()
        self._look.visible = not (is_seen and self._tabs.active == CHANGES)

    def _show_question(self) -> None:
        asking, opened = self._model.asking, self._model.opened
        self._ask.visible = asking is not None
        if asking is not None and opened is not None:
            version = opened.version(asking.number)
            release = version.source_version if version else ""
            asked = _QUESTIONS[asking.action].format(number=asking.number, release=release)
            self._question.object = f'<div role="alert">{escape(asked)}</div>'
            label = "Reason, for whoever looks later"
            self._reason.param.update(label=f"{label} *" if asking.needs_reason else label, value="")

    def _show_wrong(self) -> None:
        """Tell what is wrong with the reason beside it."""
        problem = self._model.problem
        is_wrong = problem is not None and problem.field == "reason"
        said = f"{problem.sentence} {problem.next_step}" if problem is not None and is_wrong else ""
        self._reason.param.update(error_state=is_wrong, helper_text=said)

    def __panel__(self) -> Any:
        return self._panel
