"""The page *Runs*: the list at the left; beside it, or in its place where it is narrow, what was opened.

`RunsView` puts together the panels of ``panels.py`` and ``starting.py``; each shows a part of the model.
"""

from typing import Any

from dashboards.runs.model import RunsModel
from dashboards.runs.panels import ListPanel, RunPanel, SchedulesPanel
from dashboards.runs.starting import StartPanel
from dashboards.shared.background import Background
from dashboards.shared.panes import TwoPanes

NOTEBOOK_HEIGHT_PX = 760


class RunsView(TwoPanes):
    """The whole page; also the last line of a notebook cell.

    Args:
        model: The page's model.
        served: Whether the server that it came from answers the browser.
        background: Brings the model's changes to the page.
    """

    model: RunsModel

    def __init__(
        self, model: RunsModel, *, served: bool = False, background: Background | None = None, **params: Any
    ) -> None:
        background = background or Background()
        self._list = ListPanel(model, background)
        self._run = RunPanel(model, background, served=served)
        self._start = StartPanel(model, background)
        self._schedules = SchedulesPanel(model, background)
        super().__init__(
            model,
            self._list,
            [self._run, self._start, self._schedules],
            widths_px=(424, 344),
            height_px=NOTEBOOK_HEIGHT_PX,
            served=served,
            background=background,
            **params,
        )
        self._switch()
        background.follow(model, ["place", "opened"], self._switch)
        background.follow(model, ["place", "opened", "form", "question"], self._write_address)

    def _switch(self) -> None:
        place = self.model.place
        shown = {"run": self._run, "start": self._start}.get(place, self._schedules)
        for panel in (self._run, self._start, self._schedules):
            panel.__panel__().visible = panel is shown
        self._bring_forward(bool(place))

    def _write_address(self) -> None:
        if self._may_write_address:
            address = self.model.address()
            place = f"{address.run} {address.start} {address.view}"
            self.address.param.update(page=place, search=address.query())
