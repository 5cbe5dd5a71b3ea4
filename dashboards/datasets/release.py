"""The panel of a version beside the one before: the numbers, the map of what differs, and the list of it."""

from collections.abc import Mapping
from html import escape
from typing import Any

import panel as pn

from dashboards.datasets import markup
from dashboards.datasets.differing import KINDS, ChangedFeature
from dashboards.datasets.model import PAGE, DatasetsModel, Looked
from dashboards.shared.background import Background
from dashboards.shared.datasets import ChangeKinds, ChangeList
from dashboards.shared.delivery import Delivery
from dashboards.shared.layout import TEXT_CSS, column, text
from dashboards.shared.map import MapView
from geoetl.datasets.model import VersionState

# After Okabe and Ito; white signs on them have at least 4.5:1, and each kind has a sign of its own.
COLOURS: Mapping[str, str] = {"added": "#00785a", "updated": "#a86200", "deleted": "#b3261e"}
SIGNS: Mapping[str, str] = {"added": "+", "updated": "~", "deleted": "−"}
# So close, in degrees, is gone to a single point.
_AROUND_POINT_DEG = 0.5
_BESIDE_CSS = """
:host { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 16px; }
@container datasets (max-width: 1100px) { :host { grid-template-columns: minmax(0, 1fr); } }
"""
_MAP_CSS = ":host { height: 360px; position: relative; border-radius: 8px; overflow: hidden; }"


class ReleasePanel(pn.viewable.Viewer):
    """A version beside the one that it was compared with.

    Args:
        model: The page's model.
        background: Brings its changes here.
        delivery: How the map's files reach the browser.
    """

    def __init__(self, model: DatasetsModel, background: Background, delivery: Delivery) -> None:
        super().__init__()
        self._model = model
        self._fitted: tuple[str, int] | None = None
        self._title, self._findings = text(), text()
        self._numbers, self._columns = text(), text()
        for pane in (self._numbers, self._columns):
            pane.stylesheets = [TEXT_CSS, markup.TABLE_CSS]
        self._findings.stylesheets = [markup.BOX_CSS]
        self._legend = ChangeKinds(sizing_mode="stretch_width", margin=0)
        self._legend.on_msg(lambda event: model.show_kind(str(event.data["key"])))
        self.map = MapView(
            base=delivery.base(model.platform.settings.map),
            styles={"position": "absolute", "inset": "0"},
            sizing_mode="stretch_both",
            margin=0,
        )
        self.map.on_msg(lambda event: self._from_map(event.data))
        self._place = pn.Column(self.map, margin=0, stylesheets=[_MAP_CSS], height=360, sizing_mode="stretch_width")
        self._chosen = text()
        self._list = ChangeList(sizing_mode="stretch_width", margin=0)
        self._list.on_msg(lambda event: self._from_list(event.data))
        self._differing = column(self._legend, self._place, self._chosen, self._list, gap="8px")
        self._beside = pn.Column(
            self._differing,
            column(self._numbers, self._columns, self._findings, gap="16px"),
            margin=0,
            stylesheets=[_BESIDE_CSS],
            sizing_mode="stretch_width",
        )
        self._panel = column(self._title, self._beside, gap="8px")
        background.follow(model, ["looked"], self._show)
        background.follow(model, ["looked", "kind"], self._draw)
        background.follow(model, ["looked", "kind", "limit"], self._show_list)
        background.follow(model, ["chosen", "looked"], self._show_chosen)
        self._show()

    # ---- what a person does ----------------------------------------------------------------------------------------

    def _from_map(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "fit":
            self._fit()
        elif message["type"] == "click" and message["features"]:
            self._model.choose(int(message["features"][0]["properties"]["number"]))

    def _from_list(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "more":
            self._model.list_more()
        else:
            self._model.choose(int(message["key"]))
            self._go_to(self._model.chosen)

    def _go_to(self, feature: ChangedFeature | None) -> None:
        if feature is not None and feature.bbox is not None:
            west, south, east, north = feature.bbox
            around = _AROUND_POINT_DEG if (west, south) == (east, north) else max(east - west, north - south) / 2
            self.map.show([west - around, max(south - around, -85), east + around, min(north + around, 85)])

    def _fit(self) -> None:
        looked = self._model.looked
        box = looked.differing.bbox if looked and looked.differing else None
        if box is not None:
            self.map.show(list(box))

    # ---- what is shown ---------------------------------------------------------------------------------------------

    def _show(self) -> None:
        looked = self._model.looked
        self._beside.visible = looked is not None
        if looked is None:
            self._title.object = (
                '<p class="muted">Choose a version under “Versions” to see what it changed, on a map and feature by '
                "feature.</p>"
            )
            return
        version = looked.version
        self._title.object = (
            f'<h3 style="margin:0">{escape(markup.version_title(version))} '
            f'<span class="muted">{markup.STATE_WORDS[version.state]}</span></h3>'
        )
        self._numbers.object = markup.numbers_html(looked.lines, version)
        self._columns.param.update(object=markup.columns_html(looked.columns), visible=bool(looked.columns))
        found = markup.findings_html(version)
        self._findings.param.update(object=found, visible=bool(found))

    def _draw(self) -> None:
        looked, kind = self._model.looked, self._model.kind
        differing = looked.differing if looked else None
        self._show_legend(looked)
        self._place.visible = differing is not None and differing.bbox is not None
        if looked is None or differing is None:
            self._fitted = None
            return
        self.map.layers = [
            {
                "id": f"{looked.version.number}-{one}",
                "kind": "geojson",
                "data": differing.shapes[one],
                "color": COLOURS[one],
                "visible": kind in ("", one),
                "opacity": 1.0,
            }
            for one in KINDS
            if differing.shapes.get(one)
        ]
        this = (looked.version.dataset_id, looked.version.number)
        if self._fitted != this:
            self._fitted = this
            self._fit()

    def _show_legend(self, looked: Looked | None) -> None:
        if looked is None:
            return
        counts = looked.version.changes
        total = counts.added + counts.updated + counts.deleted
        kinds: list[dict[str, Any]] = [{"key": "", "label": "all changes", "sign": "", "color": "", "count": total}]
        for kind in reversed(KINDS):
            count = getattr(counts, kind)
            kinds.append({"key": kind, "label": kind, "sign": SIGNS[kind], "color": COLOURS[kind], "count": count})
        self._legend.param.update(kinds=kinds, selected=self._model.kind, visible=total > 0)

    def _show_list(self) -> None:
        looked = self._model.looked
        if looked is None:
            return
        found, more = self._model.listed()
        rows = [
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
        self._list.param.update(
            rows=rows,
            items=len(looked.version.profile.items) > 1,
            more=f"{min(more, PAGE):,} more of {more:,}" if more else "",
            message=_nothing(looked, self._model.kind),
        )

    def _show_chosen(self) -> None:
        chosen, looked = self._model.chosen, self._model.looked
        self._list.selected = str(chosen.number) if chosen else ""
        shape = looked.differing.shape(chosen.number) if chosen and looked and looked.differing else None
        # The outline that stands out on the map.
        outlined = {**shape, "properties": {"id": "chosen"}} if shape else None
        self.map.param.update(
            footprints={"type": "FeatureCollection", "features": [outlined] if outlined else []},
            chosen=["chosen"] if outlined else [],
        )
        self._chosen.visible = chosen is not None
        if chosen is not None:
            differs = f" What differs: {chosen.columns}." if chosen.columns else ""
            self._chosen.object = (
                f'<div role="status"><b>{escape(chosen.key or "(no key)")}</b> of {escape(chosen.item)} was '
                f"{chosen.change}.{escape(differs)}</div>"
            )

    def __panel__(self) -> Any:
        return self._panel


def _nothing(looked: Looked, kind: str) -> str:
    version, changes = looked.version, looked.version.changes
    if looked.differing is None:
        return "What changed is being read …"
    if version.based_on is None:
        return "It is the first version: all of it is new."
    if not changes.is_any:
        return "No row differs from the version before."
    if version.state in (VersionState.REJECTED, VersionState.REMOVED):
        return "Which features changed is not kept of a version whose files are gone."
    return f"None of those that are listed was {kind}." if kind else "Which features changed is not known any more."
