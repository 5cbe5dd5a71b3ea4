"""The page *Runs*: the list at the left; beside it, or in its place where it is narrow, what was opened.

`RunsView` puts together the panels of ``panels.py`` and ``starting.py``; each shows a part of the model.
"""

from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from dashboards.runs.model import RunsModel
from dashboards.runs.panels import ListPanel, RunPanel, SchedulesPanel
from dashboards.runs.starting import StartPanel
from dashboards.shared.address import Address
from dashboards.shared.background import Background
from dashboards.shared.layout import CARD_CSS, problem_html
from dashboards.shared.theme import palette, theme_config

NOTEBOOK_HEIGHT_PX = 760

_STAGE_CSS = """
:host { position: relative; overflow: hidden; container: runs / inline-size; color: var(--ge-text);
  font: 14px/20px Roboto, system-ui, sans-serif; background: var(--ge-sunken); }
"""
_LEFT_CSS = """
:host { position: absolute; left: 16px; top: 16px; bottom: 16px; width: 424px; display: flex; }
@container runs (max-width: 1000px) { :host { width: 344px; } }
@container runs (max-width: 800px) {
  :host { inset: 8px; width: auto; }
  :host(.behind) { display: none; }
}
"""
_RIGHT_CSS = """
:host { position: absolute; left: 456px; right: 16px; top: 16px; height: calc(100% - 32px); display: flex; }
@container runs (max-width: 1000px) { :host { left: 376px; } }
@container runs (max-width: 800px) {
  :host { inset: 8px; height: calc(100% - 16px); }
  :host(.behind) { display: none; }
}
"""
_ALERT_CSS = """
:host { position: absolute; left: 50%; bottom: 24px; translate: -50% 0; z-index: 4;
  width: min(640px, calc(100% - 32px)); background: var(--ge-surface); border-radius: 8px;
  box-shadow: var(--ge-shadow); }
"""


class RunsView(pn.viewable.Viewer):
    """The whole page; also the last line of a notebook cell.

    Args:
        model: The page's model.
        served: Whether the server that it came from answers the browser.
        background: Brings the model's changes to the page.
    """

    dark = param.Boolean(default=False, doc="Whether the dark colours are used.")

    def __init__(
        self, model: RunsModel, *, served: bool = False, background: Background | None = None, **params: Any
    ) -> None:
        super().__init__(**params)
        self.model = model
        self._served = served
        self._loaded = False
        background = background or Background()
        self.address = Address(margin=0, styles={"position": "absolute"})
        self._list = ListPanel(model, background)
        self._run = RunPanel(model, background, served=served)
        self._start = StartPanel(model, background)
        self._schedules = SchedulesPanel(model, background)
        self._alert = pmui.Alert(severity="error", closeable=True, margin=0, stylesheets=[_ALERT_CSS], visible=False)
        self._left = pn.Column(self._list, margin=0, stylesheets=[CARD_CSS, _LEFT_CSS])
        self._right = pn.Column(self._run, self._start, self._schedules, margin=0, stylesheets=[CARD_CSS, _RIGHT_CSS])
        self._stage = pn.Column(
            self._left,
            self._right,
            self._alert,
            self.address,
            margin=0,
            sizing_mode="stretch_both" if served else "stretch_width",
            height=None if served else NOTEBOOK_HEIGHT_PX,
        )
        self.param.watch(lambda _: self._colour(), "dark")
        self.address.on_msg(lambda event: self.model.go(str(event.data["search"])))
        self._alert.param.watch(lambda event: None if event.new else self._take_away(), "visible")
        self._colour()
        self._switch()
        for names, show in (
            (["place", "opened"], self._switch),
            (["problem"], self._warn),
            (["place", "opened", "form", "question"], self._write_address),
        ):
            background.follow(model, names, show)

    def load(self) -> None:
        """Look up what there is."""
        self.model.load()
        self._loaded = True

    def _switch(self) -> None:
        place = self.model.place
        shown = {"run": self._run, "start": self._start}.get(place, self._schedules)
        for panel in (self._run, self._start, self._schedules):
            panel.__panel__().visible = panel is shown
        # Where both do not fit beside each other, what was opened lies above the list.
        self._left.css_classes = ["behind"] if place else []
        self._right.css_classes = [] if place else ["behind"]

    def _warn(self) -> None:
        problem = self.model.problem
        self._alert.param.update(object=problem_html(problem) if problem else "", visible=problem is not None)

    def _take_away(self) -> None:
        # It also goes by itself, when what was wrong is right: then what was done since stays told.
        if self.model.problem is not None:
            self.model.dismiss()

    def _colour(self) -> None:
        self._stage.stylesheets = [f":host {{ {palette(self.dark).css_variables()} }}", _STAGE_CSS]

    def _write_address(self) -> None:
        if self._loaded and self._served and self.model.busy != "opening the address":
            address = self.model.address()
            place = f"{address.run} {address.start} {address.view}"
            self.address.param.update(page=place, search=address.query())

    def __panel__(self) -> Any:
        if self._served:
            return self._stage
        if not self._loaded:
            self.load()
            self.model.follow()
        # A served page brings the theme along; a notebook has none.
        return pmui.Column(self._stage, theme_config=theme_config(), sizing_mode="stretch_width", margin=0)
