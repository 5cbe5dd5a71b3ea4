"""The panel of an update: what it would do, and how the one that is executed moves."""

import time
from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.datasets import markup
from dashboards.datasets.model import DatasetsModel
from dashboards.runs.listing import stage_rows
from dashboards.shared.background import Background
from dashboards.shared.layout import column, row
from dashboards.shared.runs import RunLog, RunStages
from geoetl.runs.model import RunState


class UpdatePanel(pn.viewable.Viewer):
    """The plan, and the update that waits, is executed, or was the latest.

    Args:
        model: The page's model.
        background: Brings its changes here.
        served: Whether the server's other addresses can be gone to.
    """

    def __init__(self, model: DatasetsModel, background: Background, *, served: bool) -> None:
        super().__init__()
        self._model = model
        self._served = served
        # Once somebody has opened or closed the steps they stay so; until then they are open while the update moves.
        self._unfolded: bool | None = None
        self._shown = ""
        self._plan = pn.pane.HTML("", stylesheets=[markup.BOX_CSS], margin=0, sizing_mode="stretch_width")
        self._told = pn.pane.HTML("", stylesheets=[markup.BOX_CSS], margin=0, styles={"flex": "1 1 240px"})
        self._fold = pmui.Button(label="Steps and log", variant="text", size="small", margin=0, sx={"fontSize": "14px"})
        self._fold.on_click(lambda _: self._unfold())
        self._stages = RunStages(sizing_mode="stretch_width", margin=0)
        self._log = RunLog(sizing_mode="stretch_width", margin=0, stylesheets=[".log { height: 160px; }"])
        self._steps = column(self._stages, self._log, gap="8px")
        told = row(
            self._told,
            self._fold,
            gap="4px 16px",
            flex_wrap="wrap",
            align_items="flex-start",
            justify_content="space-between",
        )
        self._panel = column(self._plan, told, self._steps, gap="8px")
        background.follow(model, ["opened"], self._show_plan)
        background.follow(model, ["opened", "run", "workers"], self._show)
        background.follow(model, ["log"], self._show_log)

    def _unfold(self) -> None:
        self._unfolded = not self._steps.visible
        self._show()

    def _show_plan(self) -> None:
        opened = self._model.opened
        plan = opened.managed.plan if opened else None
        self._plan.visible = plan is not None
        if plan is not None:
            self._plan.object = markup.plan_html(plan, time.time())

    def _show(self) -> None:
        opened, run = self._model.opened, self._model.run
        if opened is None:
            return
        if run is None or run.id != self._shown:
            self._shown, self._unfolded = run.id if run else "", None
        latest = next(iter(opened.history), None)
        record = next((one for one in opened.history if run is not None and one.job_id == run.id), None)
        waits = run is not None and run.state is RunState.QUEUED
        moves = run is not None and not run.state.is_over
        self._told.visible = waits or latest is not None or run is not None
        record = None if waits else record or (None if moves else latest)
        self._told.object = markup.update_html(record, run, workers=self._model.workers, linked=self._served)
        has_steps = run is not None and bool(run.stages)
        self._steps.visible = has_steps and (moves if self._unfolded is None else self._unfolded)
        self._fold.param.update(
            visible=has_steps,
            label="Hide steps and log" if self._steps.visible else "Steps and log",
            icon="expand_less" if self._steps.visible else "expand_more",
        )
        if run is not None:
            self._stages.param.update(stages=stage_rows(run), clock=time.time())

    def _show_log(self) -> None:
        lines = [{"at": line.at, "text": line.text, "printed": line.printed} for line in self._model.log]
        self._log.param.update(lines=lines, message="It has not said anything yet.")

    def __panel__(self) -> Any:
        return self._panel
