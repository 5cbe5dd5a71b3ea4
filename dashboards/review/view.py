"""The page *Review*: the queue at the left; beside it, or in its place where it is narrow, the release that is open.

`ReviewView` puts together the panels of ``panels.py``; each shows a part of the model.
"""

from typing import Any

from dashboards.review.model import ReviewModel
from dashboards.review.panels import ListPanel, ReleasePanel
from dashboards.shared.background import Background
from dashboards.shared.delivery import Delivery, Inline
from dashboards.shared.layout import text
from dashboards.shared.panes import TwoPanes
from dashboards.shared.problem import Problem

NOTEBOOK_HEIGHT_PX = 820

_CHOOSE = (
    '<div style="padding:24px"><h2 style="font-size:20px;line-height:28px;margin:0 0 8px">Choose a release</h2>'
    "<p>Look at what would become public, on a map and file by file, beside what is public already. Who submitted it "
    "does not decide on it. Approval is bound to exactly what was seen: what is changed afterwards has to be looked at "
    "again.</p></div>"
)


class ReviewView(TwoPanes):
    """The whole page; also the last line of a notebook cell.

    Args:
        model: The page's model.
        delivery: How the map's files reach the browser; left out, inside the notebook's output.
        background: Brings the model's changes to the page.
    """

    model: ReviewModel

    def __init__(
        self,
        model: ReviewModel,
        *,
        delivery: Delivery | None = None,
        background: Background | None = None,
        **params: Any,
    ) -> None:
        background, served = background or Background(), delivery is not None
        self._release = ReleasePanel(model, background, delivery or Inline(model.platform), served=served)
        self._choose = text(_CHOOSE)
        super().__init__(
            model,
            ListPanel(model, background),
            [self._release, self._choose],
            widths_px=(392, 328),
            height_px=NOTEBOOK_HEIGHT_PX,
            served=served,
            background=background,
            **params,
        )
        self._release.seeing.map.param.watch(lambda event: self.param.update(dark=event.new), "dark")
        self._switch()
        background.follow(model, ["opened"], self._switch)
        background.follow(model, ["opened", "tab", "show"], self._write_address)

    def _switch(self) -> None:
        is_open = self.model.opened is not None
        self._release.__panel__().visible = is_open
        self._choose.visible = not is_open
        self._bring_forward(is_open)

    def _told(self) -> Problem | None:
        problem = self.model.problem
        return None if problem is not None and problem.field == "reason" else problem  # it stands beside the reason

    def _colour(self) -> None:
        super()._colour()
        self._release.seeing.darken(self.dark)

    def _write_address(self) -> None:
        if self._may_write_address:
            address = self.model.address()
            self.address.param.update(page=f"{address.show} {address.release}", search=address.query())
