"""The panels of the page *Review*: the queue, and an open release around the panels of its parts."""

import time
from collections.abc import Mapping
from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.review import markup
from dashboards.review.address import TABS
from dashboards.review.ask import AskPanel, DeedsPanel
from dashboards.review.changes import ChangesPanel
from dashboards.review.model import PAGE, ReviewModel
from dashboards.review.progress import ProgressPanel
from dashboards.review.seeing import MapPanel
from dashboards.review.standing import GROUP_WORDS, Group, release_row
from dashboards.review.trail import mark_html, trail_html
from dashboards.shared.background import Background
from dashboards.shared.delivery import Delivery
from dashboards.shared.layout import FITTING, TEXT_CSS, column, row, scrolling, text, workers_html
from dashboards.shared.releases import ReleaseGroups, ReleaseList

_LABELS: Mapping[str, str] = {
    "map": "Map",
    "changes": "What changed",
    "files": "Files",
    "checks": "Checks",
    "about": "About",
    "history": "History",
}
_BUTTON: Mapping[str, Any] = {"size": "small", "margin": 0, "sx": {"fontSize": "14px"}}
_ORDERS: Mapping[Group, str] = {Group.WAITING: "Releases that wait for review, the longest first"}
_NOTHING: Mapping[Group, tuple[str, str]] = {
    Group.WAITING: ("Nothing waits for review", "What somebody submits is seen here at once. Submit an item:"),
    Group.UNDER_WAY: ("Nothing is approved and not yet public", "What is approved is seen here until it is public."),
    Group.PUBLISHED: ("Nothing is public", "What was approved and copied is seen here."),
    Group.ENDED: ("Nothing was rejected or withdrawn", "What is turned down or taken back is seen here."),
    Group.DRAFTS: ("No drafts", "What is made and not submitted, or was sent back, is seen here."),
}


class ListPanel(pn.viewable.Viewer):
    """The queue, and the releases of the other groups."""

    def __init__(self, model: ReviewModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._workers = text()
        self._groups = ReleaseGroups(sizing_mode="stretch_width", margin=0)
        self._groups.on_msg(lambda event: model.list_group(Group(str(event.data["key"]))))
        self._list = ReleaseList(sizing_mode="stretch_width", margin=0, loading=True)
        self._list.on_msg(lambda event: self._act(event.data))
        title = text('<h1 style="font-size:20px;line-height:32px;margin:0">Review</h1>')
        about = text('<div class="muted">What becomes public is exactly what was approved.</div>')
        self._panel = column(
            column(title, about, self._workers, self._groups, gap="8px", padding="16px 16px 8px", flex="none"),
            scrolling(self._list, padding="0 8px 8px"),
            **{**FITTING, "flex": "1 1 auto"},
        )
        background.follow(model, ["releases", "more", "show"], self._show)
        background.follow(model, ["counts", "show"], self._show_groups)
        background.follow(model, ["workers", "away"], self._show_workers)
        background.follow(model, ["opened"], self._mark)
        self._show_groups()
        self._show_workers()

    def _act(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "more":
            self._model.list_more()
        else:
            self._model.open(str(message["key"]))

    def _show(self) -> None:
        model = self._model
        if model.releases is None:
            return
        title, what = _NOTHING[model.show]
        self._list.param.update(
            releases=[release_row(one, model.person(one.submitted_by)) for one in model.releases],
            label=_ORDERS.get(model.show, f"{GROUP_WORDS[model.show]}, the newest first"),
            more=f"{PAGE} more" if model.more else "",
            message={
                "title": title,
                "text": what,
                "code": "geoetl publish submit COLLECTION ITEM" if model.show is Group.WAITING else "",
            },
            clock=time.time(),
            loading=False,
        )

    def _show_groups(self) -> None:
        counts = self._model.counts
        groups = [{"key": str(one), "label": GROUP_WORDS[one], "count": counts.get(one, 0)} for one in Group]
        self._groups.param.update(groups=groups, selected=str(self._model.show))

    def _show_workers(self) -> None:
        self._workers.object = workers_html(self._model.workers, self._model.away, waits="what is approved waits")

    def _mark(self) -> None:
        opened = self._model.opened
        self._list.selected = opened.release.id if opened else ""

    def __panel__(self) -> Any:
        return self._panel


class ReleasePanel(pn.viewable.Viewer):
    """An open release.

    Args:
        model: The page's model.
        background: Brings its changes here.
        delivery: How the map's files reach the browser.
        served: Whether the server's other addresses can be gone to.
    """

    def __init__(self, model: ReviewModel, background: Background, delivery: Delivery, *, served: bool) -> None:
        super().__init__()
        self._model = model
        self._served = served
        self._head = text()
        self._state = pn.pane.HTML("", stylesheets=[markup.STATE_CSS], margin=0, align="center")
        back = pmui.IconButton(icon="arrow_back", description="All releases", size="small", margin=0)
        back.on_click(lambda _: model.close())
        self.seeing = MapPanel(model, background, delivery, served=served)
        self.deeds, self.ask = DeedsPanel(model, background), AskPanel(model, background)
        self._changes = ChangesPanel(model, background, lambda: model.see("map"))
        self._files, self._checks, self._about, self._mark, self._trail = (text() for _ in range(5))
        for pane in (self._files, self._checks, self._mark, self._trail):
            pane.stylesheets = [TEXT_CSS, markup.TABLE_CSS]
        self._more_files = pmui.Button(label="More files", variant="outlined", **_BUTTON)
        self._more_files.on_click(lambda _: model.list_more_files())
        again = pmui.Button(label="Verify again", icon="verified", variant="outlined", **_BUTTON)
        again.on_click(lambda _: model.verify(wholly=True))
        self._tabs = pmui.TabMenu(
            items=[{"label": _LABELS[name]} for name in TABS], active=0, sizing_mode="stretch_width", margin=0
        )
        self._tabs.param.watch(lambda event: model.see(TABS[event.new]), "active")
        self._bodies = [
            column(self.seeing),
            column(self._changes),
            column(self._files, self._more_files, gap="8px"),
            column(self._checks),
            column(self._about),
            column(row(self._mark, again, gap="8px 16px", flex_wrap="wrap"), self._trail, gap="8px"),
        ]
        self._panel = column(
            row(back, self._head, padding="12px 16px 4px 8px", gap="8px", flex="none", align_items="flex-start"),
            row(
                self._state,
                self.deeds,
                padding="4px 16px 12px",
                gap="8px 16px",
                flex="none",
                flex_wrap="wrap",
            ),
            self.ask,
            scrolling(
                ProgressPanel(model, background, served=served),
                column(self._tabs, border_bottom="1px solid var(--ge-line)"),
                *self._bodies,
                padding="16px",
                gap="16px",
                border_top="1px solid var(--ge-line)",
            ),
            **{**FITTING, "flex": "1 1 auto"},
        )
        background.follow(model, ["tab"], self._choose_tab)
        background.follow(model, ["opened"], self._show)
        background.follow(model, ["opened", "files_limit"], self._show_files)
        background.follow(model, ["opened", "said", "busy"], self._show_state)
        background.follow(model, ["trail"], self._show_trail)
        background.follow(model, ["verified"], self._show_mark)
        self._choose_tab()
        self._show_mark()

    def _choose_tab(self) -> None:
        active = TABS.index(self._model.tab)
        self._tabs.active = active
        for index, body in enumerate(self._bodies):
            body.visible = index == active

    def _show(self) -> None:
        opened, model = self._model.opened, self._model
        if opened is None:
            return
        release = opened.release
        self._head.object = markup.head_html(opened, model.person(release.submitted_by), model.public_address(release))
        self._checks.object = markup.checks_html(opened)
        self._about.object = markup.about_html(opened, linked=self._served)
        wrong = sum(not check.is_right for check in opened.checks)
        labels = {**_LABELS, "files": f"Files ({len(opened.new_objects):,})"}
        labels["checks"] = f"Checks ({wrong} to look at)" if wrong else "Checks ✓"
        items = [{"label": labels[name]} for name in TABS]
        if items != self._tabs.items:
            self._tabs.items = items

    def _show_files(self) -> None:
        opened, limit = self._model.opened, self._model.files_limit
        if opened is not None:
            self._files.object = markup.files_html(opened, limit, linked=self._served)
            rest = len(opened.new_objects) - limit
            self._more_files.param.update(visible=rest > 0, label=f"{min(rest, limit * 4):,} more of {max(rest, 0):,}")

    def _show_state(self) -> None:
        opened, model = self._model.opened, self._model
        quiet = ("", "opening the release", "opening the address", "drawing the release", "verifying the audit log")
        if opened is not None:
            busy = "" if model.busy in quiet else model.busy
            self._state.object = markup.state_html(opened.release, model.said, busy)

    def _show_trail(self) -> None:
        self._trail.object = trail_html(self._model.trail, self._model.person)

    def _show_mark(self) -> None:
        self._mark.object = mark_html(self._model.verified)

    def __panel__(self) -> Any:
        return self._panel
