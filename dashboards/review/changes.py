"""The panel of what changed: numbers, what is said, columns, and the features that differ."""

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import panel as pn

from dashboards.datasets.differing import KINDS
from dashboards.datasets.release import COLOURS, SIGNS
from dashboards.review import markup
from dashboards.review.model import ROWS_PAGE, ReviewModel
from dashboards.shared.background import Background
from dashboards.shared.datasets import ChangeKinds, ChangeList
from dashboards.shared.layout import TEXT_CSS, column, text

_BESIDE_CSS = """
:host { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 16px 32px; align-items: start;
  grid-auto-rows: max-content; }
@container panes (max-width: 1500px) { :host { grid-template-columns: minmax(0, 1fr); } }
"""


class ChangesPanel(pn.viewable.Viewer):
    """A release beside what is public of the same item.

    Args:
        model: The page's model.
        background: Brings its changes here.
        go_to_map: Shows the map.
    """

    def __init__(self, model: ReviewModel, background: Background, go_to_map: Callable[[], None]) -> None:
        super().__init__()
        self._model = model
        self._go_to_map = go_to_map
        self._title, self._numbers, self._values, self._schema, self._told = (text() for _ in range(5))
        for pane in (self._numbers, self._values, self._schema):
            pane.stylesheets = [TEXT_CSS, markup.TABLE_CSS]
        self._kinds = ChangeKinds(sizing_mode="stretch_width", margin=0)
        self._kinds.on_msg(lambda event: model.show_kind(str(event.data["key"])))
        self._list = ChangeList(sizing_mode="stretch_width", margin=0)
        self._list.on_msg(lambda event: self._from_list(event.data))
        self._rows = column(self._told, self._kinds, self._list, gap="8px")
        self._first = column(self._rows, self._schema, gap="16px")
        beside = pn.Column(
            self._first,
            column(self._numbers, self._values, gap="16px"),
            margin=0,
            stylesheets=[_BESIDE_CSS],
            sizing_mode="stretch_width",
        )
        self._panel = column(self._title, beside, gap="8px")
        background.follow(model, ["opened"], self._show)
        background.follow(model, ["opened", "looked", "kind", "rows_limit"], self._show_rows)
        background.follow(model, ["chosen"], self._mark)

    def _from_list(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "more":
            self._model.list_more_rows()
        else:
            self._model.choose(int(message["key"]))
            self._go_to_map()

    def _show(self) -> None:
        opened = self._model.opened
        if opened is None:
            return
        before = opened.before
        if before is None:
            self._title.object = '<p class="muted">Nothing of this item is public: all of it is new.</p>'
        elif not (opened.values or opened.schema or any(line.differs for line in opened.numbers)):
            self._title.object = "<p>What is said of the data is the same as in the published version.</p>"
        else:
            self._title.object = ""
        self._title.visible = bool(self._title.object)
        self._numbers.object = markup.numbers_html(opened)
        for pane, changes, title, what in (
            (self._schema, opened.schema, "Columns, variables and bands", "Name"),
            (self._values, opened.values, "What is said of it", "Field"),
        ):
            shown = markup.values_html(changes, title, what)
            pane.param.update(object=shown, visible=bool(shown))

    def _show_rows(self) -> None:
        model, rows = self._model, self._model.looked.rows
        said = model.looked.told
        self._rows.visible = model.opened is not None and model.opened.before is not None and bool(rows or said)
        self._first.visible = self._rows.visible or self._schema.visible
        if rows is None:
            self._told.object = f'<p class="muted">{escape(said)}</p>'
            self._kinds.visible = self._list.visible = False
            return
        by = f"told apart by <b>{escape(rows.key)}</b>" if rows.key else "compared by geometry and attributes"
        self._told.object = f'<h3 style="margin:0">Features</h3><span class="muted">{by}</span>'
        kinds: list[dict[str, Any]] = [
            {"key": "", "label": "all changes", "sign": "", "color": "", "count": rows.total}
        ]
        for kind in reversed(KINDS):
            count = getattr(rows, kind)
            kinds.append({"key": kind, "label": kind, "sign": SIGNS[kind], "color": COLOURS[kind], "count": count})
        self._kinds.param.update(kinds=kinds, selected=model.kind, visible=rows.total > 0)
        found, more = model.listed()
        listed = [
            {
                "key": str(one.number),
                "name": one.key,
                "change": one.change,
                "sign": SIGNS[one.change],
                "color": COLOURS[one.change],
                "item": one.item,
                "columns": one.columns,
            }
            for one in found
        ]
        nothing = "None of them is listed." if rows.total else "No feature differs from the published version."
        self._list.param.update(
            rows=listed,
            items=False,
            more=f"{min(more, ROWS_PAGE):,} more of {more:,}" if more else "",
            message=nothing,
            visible=True,
        )

    def _mark(self) -> None:
        chosen = self._model.chosen
        self._list.selected = str(chosen.number) if chosen else ""

    def __panel__(self) -> Any:
        return self._panel
