"""The page *Datasets*: the list at the left; beside it, or in its place where it is narrow, the dataset that is open.

`DatasetsView` puts together the panels of ``panels.py``, ``updating.py`` and ``release.py``; each shows a part of the
model.
"""

from typing import Any

from dashboards.datasets.model import DatasetsModel
from dashboards.datasets.panels import DatasetPanel, ListPanel
from dashboards.shared.background import Background
from dashboards.shared.delivery import Delivery, Inline
from dashboards.shared.layout import text
from dashboards.shared.panes import TwoPanes
from dashboards.shared.problem import Problem

NOTEBOOK_HEIGHT_PX = 820

_CHOOSE = (
    '<div style="padding:24px"><h2 style="font-size:20px;line-height:28px;margin:0 0 8px">Choose a dataset</h2>'
    "<p>Its source is asked by itself at the times of its schedule. A new release is made beside what is served, and "
    "takes its place only when it can be trusted; else it is held until somebody has looked at it.</p></div>"
)


class DatasetsView(TwoPanes):
    """The whole page; also the last line of a notebook cell.

    Args:
        model: The page's model.
        delivery: How the map's files reach the browser; left out, inside the notebook's output.
        background: Brings the model's changes to the page.
    """

    model: DatasetsModel

    def __init__(
        self,
        model: DatasetsModel,
        *,
        delivery: Delivery | None = None,
        background: Background | None = None,
        **params: Any,
    ) -> None:
        background, served = background or Background(), delivery is not None
        self._dataset = DatasetPanel(model, background, delivery or Inline(model.platform), served=served)
        self._choose = text(_CHOOSE)
        super().__init__(
            model,
            ListPanel(model, background),
            [self._dataset, self._choose],
            widths_px=(376, 320),
            height_px=NOTEBOOK_HEIGHT_PX,
            served=served,
            background=background,
            **params,
        )
        map_view = self._dataset.release.map
        map_view.param.watch(lambda event: self.param.update(dark=event.new), "dark")
        self._switch()
        background.follow(model, ["opened"], self._switch)
        background.follow(model, ["opened", "looked"], self._write_address)

    def _switch(self) -> None:
        is_open = self.model.opened is not None
        self._dataset.__panel__().visible = is_open
        self._choose.visible = not is_open
        self._bring_forward(is_open)

    def _told(self) -> Problem | None:
        problem = self.model.problem
        return None if problem is not None and problem.field == "reason" else problem  # it stands beside the reason

    def _colour(self) -> None:
        super()._colour()
        self._dataset.release.map.dark = self.dark

    def _write_address(self) -> None:
        if self._may_write_address:
            search = self.model.address().query()
            self.address.param.update(page=search, search=search)
