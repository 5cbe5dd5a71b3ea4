"""The page *Datasets*: the list at the left; beside it, or in its place where it is narrow, the dataset that is open.

`DatasetsView` puts together the panels of ``panels.py``, ``updating.py`` and ``release.py``; each shows a part of the
model.
"""

from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from dashboards.datasets.model import DatasetsModel
from dashboards.datasets.panels import DatasetPanel, ListPanel
from dashboards.shared.address import Address
from dashboards.shared.background import Background
from dashboards.shared.delivery import Delivery, Inline
from dashboards.shared.layout import CARD_CSS, problem_html, text
from dashboards.shared.theme import palette, theme_config

NOTEBOOK_HEIGHT_PX = 820

_STAGE_CSS = """
:host { position: relative; overflow: hidden; container: datasets / inline-size; color: var(--ge-text);
  font: 14px/20px Roboto, system-ui, sans-serif; background: var(--ge-sunken); }
"""
_LEFT_CSS = """
:host { position: absolute; left: 16px; top: 16px; bottom: 16px; width: 376px; display: flex; }
@container datasets (max-width: 1000px) { :host { width: 320px; } }
@container datasets (max-width: 800px) {
  :host { inset: 8px; width: auto; }
  :host(.behind) { display: none; }
}
"""
_RIGHT_CSS = """
:host { position: absolute; left: 408px; right: 16px; top: 16px; height: calc(100% - 32px); display: flex; }
@container datasets (max-width: 1000px) { :host { left: 352px; } }
@container datasets (max-width: 800px) {
  :host { inset: 8px; height: calc(100% - 16px); }
  :host(.behind) { display: none; }
}
"""
_ALERT_CSS = """
:host { position: absolute; left: 50%; bottom: 24px; translate: -50% 0; z-index: 4;
  width: min(640px, calc(100% - 32px)); background: var(--ge-surface); border-radius: 8px;
  box-shadow: var(--ge-shadow); }
"""
_CHOOSE = (
    '<div style="padding:24px"><h2 style="font-size:20px;line-height:28px;margin:0 0 8px">Choose a dataset</h2>'
    "<p>Its source is asked by itself at the times of its schedule. A new release is made beside what is served, and "
    "takes its place only when it can be trusted; else it is held until somebody has looked at it.</p></div>"
)


class DatasetsView(pn.viewable.Viewer):
    """The whole page; also the last line of a notebook cell.

    Args:
        model: The page's model.
        delivery: How the map's files reach the browser; left out, inside the notebook's output.
        background: Brings the model's changes to the page.
    """

    dark = param.Boolean(default=False, doc="Whether the dark colours are used.")

    def __init__(
        self,
        model: DatasetsModel,
        *,
        delivery: Delivery | None = None,
        background: Background | None = None,
        **params: Any,
    ) -> None:
        super().__init__(**params)
        self.model = model
        self._served = delivery is not None
        self._loaded = False
        background = background or Background()
        self.address = Address(margin=0, styles={"position": "absolute"})
        self._list = ListPanel(model, background)
        self._dataset = DatasetPanel(model, background, delivery or Inline(model.platform), served=self._served)
        self._choose = text(_CHOOSE)
        self._alert = pmui.Alert(severity="error", closeable=True, margin=0, stylesheets=[_ALERT_CSS], visible=False)
        self._left = pn.Column(self._list, margin=0, stylesheets=[CARD_CSS, _LEFT_CSS])
        self._right = pn.Column(self._dataset, self._choose, margin=0, stylesheets=[CARD_CSS, _RIGHT_CSS])
        self._stage = pn.Column(
            self._left,
            self._right,
            self._alert,
            self.address,
            margin=0,
            sizing_mode="stretch_both" if self._served else "stretch_width",
            height=None if self._served else NOTEBOOK_HEIGHT_PX,
        )
        self.param.watch(lambda _: self._colour(), "dark")
        self.address.on_msg(lambda event: self.model.go(str(event.data["search"])))
        self._alert.param.watch(lambda event: None if event.new else self._take_away(), "visible")
        map_view = self._dataset.release.map
        map_view.param.watch(lambda event: self.param.update(dark=event.new), "dark")
        self._colour()
        self._switch()
        for names, show in (
            (["opened"], self._switch),
            (["problem"], self._warn),
            (["opened", "looked"], self._write_address),
        ):
            background.follow(model, names, show)

    def load(self) -> None:
        """Look up what there is."""
        self.model.load()
        self._loaded = True

    def _switch(self) -> None:
        is_open = self.model.opened is not None
        self._dataset.__panel__().visible = is_open
        self._choose.visible = not is_open
        # Where both do not fit beside each other, the open dataset lies above the list.
        self._left.css_classes = ["behind"] if is_open else []
        self._right.css_classes = [] if is_open else ["behind"]

    def _warn(self) -> None:
        problem = self.model.problem
        if problem is not None and problem.field == "reason":
            problem = None  # it stands beside the reason
        self._alert.param.update(object=problem_html(problem) if problem else "", visible=problem is not None)

    def _take_away(self) -> None:
        # It also goes by itself, when what was wrong is right: then what was done since stays told.
        problem = self.model.problem
        if problem is not None and problem.field != "reason":
            self.model.dismiss()

    def _colour(self) -> None:
        self._stage.stylesheets = [f":host {{ {palette(self.dark).css_variables()} }}", _STAGE_CSS]
        self._dataset.release.map.dark = self.dark

    def _write_address(self) -> None:
        if self._loaded and self._served and self.model.busy != "opening the address":
            search = self.model.address().query()
            self.address.param.update(page=search, search=search)

    def __panel__(self) -> Any:
        if self._served:
            return self._stage
        if not self._loaded:
            self.load()
            self.model.follow()
        # A served page brings the theme along; a notebook has none.
        return pmui.Column(self._stage, theme_config=theme_config(), sizing_mode="stretch_width", margin=0)
