"""A page of two panes: a list at the left; beside it, or in its place where it is narrow, what was opened."""

from collections.abc import Sequence
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from dashboards.shared.address import Address
from dashboards.shared.background import Background
from dashboards.shared.layout import CARD_CSS, problem_html
from dashboards.shared.model import FollowingModel
from dashboards.shared.problem import Problem
from dashboards.shared.theme import palette, theme_config

# Room around each pane, px.
_GAP_PX = 16
_STAGE_CSS = """
:host { position: relative; overflow: hidden; container: panes / inline-size; color: var(--ge-text);
  font: 14px/20px Roboto, system-ui, sans-serif; background: var(--ge-sunken); }
"""
_ALERT_CSS = """
:host { position: absolute; left: 50%; bottom: 24px; translate: -50% 0; z-index: 4;
  width: min(640px, calc(100% - 32px)); background: var(--ge-surface); border-radius: 8px;
  box-shadow: var(--ge-shadow); }
"""


class TwoPanes(pn.viewable.Viewer):
    """Base of such pages; also the last line of a notebook cell.

    Args:
        model: The page's model.
        left: What the list is.
        right: What may be open beside it.
        widths_px: Width of the list, where there is room and where there is less.
        height_px: Of the page in a notebook.
        served: Whether the server that it came from answers the browser.
        background: Brings the model's changes to the page.
    """

    dark = param.Boolean(default=False, doc="Whether the dark colours are used.")

    def __init__(
        self,
        model: FollowingModel,
        left: Any,
        right: Sequence[Any],
        *,
        widths_px: tuple[int, int],
        height_px: int,
        served: bool,
        background: Background,
        **params: Any,
    ) -> None:
        super().__init__(**params)
        self.model = model
        self._served = served
        self._loaded = False
        self.address = Address(margin=0, styles={"position": "absolute"})
        self._alert = pmui.Alert(severity="error", closeable=True, margin=0, stylesheets=[_ALERT_CSS], visible=False)
        self._left = pn.Column(left, margin=0, stylesheets=[CARD_CSS, _left_css(*widths_px)])
        self._right = pn.Column(*right, margin=0, stylesheets=[CARD_CSS, _right_css(*widths_px)])
        self._stage = pn.Column(
            self._left,
            self._right,
            self._alert,
            self.address,
            margin=0,
            sizing_mode="stretch_both" if served else "stretch_width",
            height=None if served else height_px,
        )
        self.param.watch(lambda _: self._colour(), "dark")
        self.address.on_msg(lambda event: self.model.go(str(event.data["search"])))
        self._alert.param.watch(lambda event: None if event.new else self._take_away(), "visible")
        self._colour()
        background.follow(model, ["problem"], self._warn)

    def load(self) -> None:
        """Look up what there is."""
        self.model.load()
        self._loaded = True

    def _bring_forward(self, is_open: bool) -> None:
        """Where both panes do not fit beside each other, what was opened lies above the list."""
        self._left.css_classes = ["behind"] if is_open else []
        self._right.css_classes = [] if is_open else ["behind"]

    def _told(self) -> Problem | None:
        """Return what is to be told across the page of what went wrong."""
        return self.model.problem

    def _warn(self) -> None:
        problem = self._told()
        self._alert.param.update(object=problem_html(problem) if problem else "", visible=problem is not None)

    def _take_away(self) -> None:
        # It also goes by itself, when what was wrong is right: then what was done since stays told.
        if self._told() is not None:
            self.model.dismiss()

    def _colour(self) -> None:
        self._stage.stylesheets = [f":host {{ {palette(self.dark).css_variables()} }}", _STAGE_CSS]

    @property
    def _may_write_address(self) -> bool:
        return self._loaded and self._served and self.model.busy != "opening the address"

    def __panel__(self) -> Any:
        if self._served:
            return self._stage
        if not self._loaded:
            self.load()
            self.model.follow()
        # A served page brings the theme along; a notebook has none.
        return pmui.Column(self._stage, theme_config=theme_config(), sizing_mode="stretch_width", margin=0)


def _left_css(width_px: int, narrow_px: int) -> str:
    gap = f"{_GAP_PX}px"
    return f"""
:host {{ position: absolute; left: {gap}; top: {gap}; bottom: {gap}; width: {width_px}px; display: flex; }}
@container panes (max-width: 1000px) {{ :host {{ width: {narrow_px}px; }} }}
@container panes (max-width: 800px) {{
  :host {{ inset: 8px; width: auto; }}
  :host(.behind) {{ display: none; }}
}}
"""


def _right_css(width_px: int, narrow_px: int) -> str:
    gap = f"{_GAP_PX}px"
    return f"""
:host {{ position: absolute; left: {width_px + 2 * _GAP_PX}px; right: {gap}; top: {gap};
  height: calc(100% - {2 * _GAP_PX}px); display: flex; }}
@container panes (max-width: 1000px) {{ :host {{ left: {narrow_px + 2 * _GAP_PX}px; }} }}
@container panes (max-width: 800px) {{
  :host {{ inset: 8px; height: calc(100% - 16px); }}
  :host(.behind) {{ display: none; }}
}}
"""
