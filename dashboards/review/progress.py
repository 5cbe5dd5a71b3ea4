"""The panel of the run that copies or withdraws a release, as it moves."""

import time
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.datasets.markup import BOX_CSS, run_links
from dashboards.review.model import ReviewModel
from dashboards.runs.listing import stage_rows, state_text
from dashboards.shared.background import Background
from dashboards.shared.layout import column, row
from dashboards.shared.runs import RunLog, RunStages
from geoetl.publish.parts import WITHDRAW
from geoetl.runs.model import RunRecord, RunState


class ProgressPanel(pn.viewable.Viewer):
    """How far a copy or a withdrawal is.

    Args:
        model: The page's model.
        background: Brings its changes here.
        served: Whether the server's other addresses can be gone to.
    """

    def __init__(self, model: ReviewModel, background: Background, *, served: bool) -> None:
        super().__init__()
        self._model = model
        self._served = served
        # Once somebody has opened or closed the steps they stay so; until then they are open while the run moves.
        self._unfolded: bool | None = None
        self._shown = ""
        self._told = pn.pane.HTML("", stylesheets=[BOX_CSS], margin=0, styles={"flex": "1 1 240px"})
        self._fold = pmui.Button(label="Steps and log", variant="text", size="small", margin=0, sx={"fontSize": "14px"})
        self._fold.on_click(lambda _: self._unfold())
        self._stages = RunStages(sizing_mode="stretch_width", margin=0)
        self._log = RunLog(sizing_mode="stretch_width", margin=0, stylesheets=[".log { height: 160px; }"])
        self._steps = column(self._stages, self._log, gap="8px")
        told = row(self._told, self._fold, gap="4px 16px", flex_wrap="wrap", align_items="flex-start")
        self._panel = column(told, self._steps, gap="8px")
        background.follow(model, ["run", "workers", "opened"], self._show)
        background.follow(model, ["log"], self._show_log)
        self._show()

    def _unfold(self) -> None:
        self._unfolded = not self._steps.visible
        self._show()

    def _show(self) -> None:
        run = self._model.run
        self._panel.visible = run is not None
        if run is None:
            return
        if run.id != self._shown:
            self._shown, self._unfolded = run.id, None
        self._told.object = _run_html(run, workers=self._model.workers, linked=self._served)
        moves = not run.state.is_over
        self._steps.visible = bool(run.stages) and (moves if self._unfolded is None else self._unfolded)
        self._fold.param.update(
            visible=bool(run.stages),
            label="Hide steps and log" if self._steps.visible else "Steps and log",
            icon="expand_less" if self._steps.visible else "expand_more",
        )
        self._stages.param.update(stages=stage_rows(run), clock=time.time())

    def _show_log(self) -> None:
        lines = [{"at": line.at, "text": line.text, "printed": line.printed} for line in self._model.log]
        self._log.param.update(lines=lines, message="It has not said anything yet.")

    def __panel__(self) -> Any:
        return self._panel


def _run_html(run: RunRecord, *, workers: int, linked: bool) -> str:
    what = "The withdrawal" if run.pipeline == WITHDRAW else "The copy"
    links = run_links(run) if linked else ""
    if run.state is RunState.QUEUED and not workers:
        told = f"<b>{what} waits</b>: no worker is at work. Begin one with <code>geoetl worker</code>"
    elif run.state is RunState.QUEUED:
        told = f"<b>{what} waits</b> for a worker."
    else:
        told = f"<b>{what}: {escape(state_text(run).lower())}</b>"
    line = f'<div class="line"><span>{told}</span>{links}</div>'
    if run.state is not RunState.FAILED or not run.error:
        return line
    hint = f"<p>{escape(str(run.error['hint']))}</p>" if run.error.get("hint") else ""
    return f'<div class="box failed" role="note">{line}<p>{escape(str(run.error["detail"]))}</p>{hint}</div>'
