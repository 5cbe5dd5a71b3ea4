"""The panel of the map: what would become public in its own style; beside it, behind a bar, what is public."""

from collections.abc import Mapping
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.datasets.differing import KINDS
from dashboards.datasets.release import COLOURS
from dashboards.explore.reading import stop_label, unit_text
from dashboards.review.markup import file_address
from dashboards.review.model import Looked, ReviewModel
from dashboards.review.sides import Drawn, ReleaseFiles
from dashboards.review.standing import version_text
from dashboards.shared.background import Background
from dashboards.shared.delivery import Delivery
from dashboards.shared.layout import column, row, text
from dashboards.shared.map import MapView
from dashboards.shared.problem import Problem
from dashboards.shared.styling import LegendList, Swipe
from dashboards.shared.vector_layer import styled_layer
from dashboards.style.markup import legend_rows
from geoetl.core.errors import GeoetlError
from geoetl.publish.model import Release, State

_HEIGHT_PX = 440
_STAGE_CSS = ":host { height: 440px; position: relative; border-radius: 8px; overflow: hidden; }"
# What is public lies above the map, and is seen at the left of the bar.
_OTHER_CSS = """
:host { clip-path: inset(0 calc(100% - var(--ge-swipe, 50%)) 0 0); }
.controls, .footer, .aim { display: none !important; }
"""
_LEGEND_CSS = """
:host { position: absolute; left: 8px; bottom: 8px; z-index: 2; width: auto; max-width: 240px; max-height: 176px;
  overflow: auto; scrollbar-width: thin; padding: 8px 12px; border-radius: 8px; background: var(--ge-surface);
  box-shadow: var(--ge-shadow); }
.ramp-entry { min-width: 144px; }
.legend-list ul.many { columns: 1; }
"""
_FILLING = {"position": "absolute", "inset": "0"}
_PLAIN = "#0b6b6b"
# So close, in degrees, is gone to a single point.
_AROUND_POINT_DEG = 0.5


class MapPanel(pn.viewable.Viewer):
    """What a release looks like.

    Args:
        model: The page's model.
        background: Brings its changes here.
        delivery: How pictures and files reach the browser.
        served: Whether the server that has the files of a release can be asked.
    """

    def __init__(self, model: ReviewModel, background: Background, delivery: Delivery, *, served: bool) -> None:
        super().__init__()
        self._model = model
        self._delivery = delivery
        self._served = served
        self._fitted = ""
        base = delivery.base(model.platform.settings.map)
        self._shared: dict[str, Any] = {"base": base, "sizing_mode": "stretch_both", "margin": 0}
        self.map = MapView(styles=_FILLING, link=f"review-{id(self)}", **self._shared)
        self.map.on_msg(lambda event: self._from_map(event.data))
        self._other = pn.Column(margin=0, visible=False, styles=_FILLING | {"pointer-events": "none"})
        self._swipe = Swipe(margin=0, visible=False)
        self._legend = LegendList(margin=0, visible=False, stylesheets=[*LegendList._stylesheets, _LEGEND_CSS])
        self._stage = pn.Column(
            self.map,
            self._other,
            self._swipe,
            self._legend,
            margin=0,
            stylesheets=[_STAGE_CSS],
            height=_HEIGHT_PX,
            sizing_mode="stretch_width",
        )
        self._told = text()
        self._compare = pmui.Switch(label="Compare with what is public", value=True, margin=0, size="small")
        self._compare.param.watch(lambda _: self._draw_other(), "value")
        self._mark = pmui.Switch(label="Mark what changed", value=False, margin=0, size="small")
        self._mark.param.watch(lambda _: self._draw(), "value")
        self._panel = column(
            row(self._told, self._compare, self._mark, gap="16px", flex_wrap="wrap"),
            self._stage,
            gap="8px",
        )
        background.follow(model, ["looked", "kind"], self._draw)
        background.follow(model, ["looked"], self._draw_other)
        background.follow(model, ["looked", "opened"], self._tell)
        background.follow(model, ["chosen"], self._show_chosen)

    # ---- what a person does ----------------------------------------------------------------------------------------

    def _from_map(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "fit":
            self._fit()
        elif message["type"] == "click":
            numbers = [one["properties"].get("number") for one in message["features"]]
            found = next((number for number in numbers if isinstance(number, int)), None)
            if found is not None:
                self._model.choose(found)

    # ---- what is shown ---------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        opened, looked = self._model.opened, self._model.looked
        if opened is None:
            self._fitted = ""
            self.map.layers = []
            return
        layers = self._changes(looked)
        if looked.new is not None:
            described = self._described(opened.release, looked.new, "new")
            layers += [described] if described else []
        self.map.layers = layers
        self._mark.visible = looked.rows is not None and looked.rows.total > 0
        if self._fitted != opened.release.id and looked.new is not None:
            self._fitted = opened.release.id
            self._fit()

    def _show_legend(self) -> None:
        """Tell what the colours mean; of what is public too, where the same colour is another value there."""
        opened, looked = self._model.opened, self._model.looked
        new = _legend(looked.new) if looked.new else []
        old = _legend(looked.old) if looked.old and self._swipe.visible else []
        if opened is not None and opened.before is not None and old and old != new and "title" in new[0]:
            names = (f"This {version_text(opened.release)}".strip(), f"Published {version_text(opened.before)}")
            new = [
                {**entry, "title": ", ".join(filter(None, (name, entry["title"])))}
                for name, entries in zip(names, (new, old), strict=True)
                for entry in entries
            ]
        self._legend.param.update(entries=new, visible=bool(new))

    def _changes(self, looked: Looked) -> list[dict[str, Any]]:
        if looked.rows is None or not (self._mark.value or self._model.kind or self._model.chosen):
            return []
        shapes, kind = looked.rows.differing.shapes, self._model.kind
        return [
            {
                "id": f"changes-{one}",
                "kind": "geojson",
                "data": shapes[one],
                "color": COLOURS[one],
                "visible": kind in ("", one),
                "opacity": 1.0,
            }
            for one in KINDS
            if shapes.get(one)
        ]

    def _draw_other(self) -> None:
        opened, looked = self._model.opened, self._model.looked
        before = opened.before if opened else None
        described = self._described(before, looked.old, "old") if before and looked.old else None
        self._compare.visible = described is not None
        is_shown = described is not None and self._compare.value
        self._other.visible = self._swipe.visible = is_shown
        self._show_legend()
        if not is_shown or opened is None or before is None:
            self._other.objects = []
            return
        self._swipe.param.update(
            left=f"Published {version_text(before)}", right=f"This {version_text(opened.release)}".strip()
        )
        layers = [described] if described else []
        if self._other.objects:
            self._other.objects[0].layers = layers
        else:
            sheets = [*MapView._stylesheets, _OTHER_CSS]
            shared = {**self._shared, "dark": self.map.dark, "layers": layers, "stylesheets": sheets}
            self._other.objects = [MapView(styles=_FILLING, link=self.map.link, **shared)]
        self._outline()

    def _described(self, release: Release, drawn: Drawn, key: str) -> dict[str, Any] | None:
        """Return a release as the component `MapView` takes it; None where there is nothing to draw."""
        named = f"{key}-{release.id}-{release.revision}"
        if drawn.picture is not None:
            return {
                "id": named,
                "kind": "image",
                "visible": True,
                "opacity": 1.0,
                "url": self._delivery.picture(drawn.picture),
                "corners": drawn.corners(),
                "resampling": "nearest",
            }
        url = self._archive(release, drawn)
        if drawn.tiles is None or not url:
            return None
        if drawn.style is None:
            return {"id": named, "kind": "pmtiles", "visible": True, "opacity": 1.0, "url": url, "color": _PLAIN}
        return styled_layer(named, url, drawn.tiles, drawn.style)

    def _archive(self, release: Release, drawn: Drawn) -> str:
        """Return the address of the vector tiles; empty where there are none, or a notebook cannot hold them."""
        if not drawn.archive:
            return ""
        if self._served:
            return file_address(release, drawn.archive)
        files = ReleaseFiles(self._model.platform, release)
        name = next(name for name, one in files.item["assets"].items() if str(one["href"]).endswith(".pmtiles"))
        try:
            return self._delivery.asset(files.item, name)
        except GeoetlError as error:
            self._told.object = _note(Problem.of(error, "drawing the release"))
            return ""

    def _tell(self) -> None:
        opened, looked = self._model.opened, self._model.looked
        if opened is None:
            return
        if looked.new is None:
            self._told.object = '<p class="muted" role="status" style="margin:0">It is being drawn …</p>'
        elif looked.new.problem is not None:
            self._told.object = _note(looked.new.problem)
        elif opened.before is None:
            is_public = opened.release.state is State.PUBLISHED
            told = "No other version of it is public." if is_public else "Nothing of this item is public."
            self._told.object = f'<p class="muted" style="margin:0">{told}</p>'
        elif looked.old is not None and looked.old.problem is not None:
            self._told.object = _note(looked.old.problem)
        else:
            self._told.object = ""
        self._stage.visible = looked.new is None or looked.new.problem is None

    def _outline(self) -> None:
        """Let the chosen feature stand out on both maps."""
        chosen, rows = self._model.chosen, self._model.looked.rows
        shape = rows.differing.shape(chosen.number) if chosen and rows else None
        outlined = [{**shape, "properties": {"id": "chosen"}}] if shape else []
        for view in (self.map, *self._other.objects):
            view.param.update(
                footprints={"type": "FeatureCollection", "features": outlined}, chosen=["chosen"] if outlined else []
            )

    def _show_chosen(self) -> None:
        chosen = self._model.chosen
        self._outline()
        self._draw()
        if chosen is not None and chosen.bbox is not None:
            west, south, east, north = chosen.bbox
            around = _AROUND_POINT_DEG if (west, south) == (east, north) else max(east - west, north - south) / 2
            self.map.show([west - around, max(south - around, -85), east + around, min(north + around, 85)])

    def _fit(self) -> None:
        drawn = self._model.looked.new
        if drawn is not None and drawn.bbox is not None:
            self.map.show(drawn.bbox.as_list())

    def darken(self, dark: bool) -> None:
        """Use the dark colours, or not."""
        self.map.dark = dark
        for other in self._other.objects:
            other.dark = dark

    def __panel__(self) -> Any:
        return self._panel


def _legend(drawn: Drawn) -> list[dict[str, Any]]:
    """Return the legend as the component `LegendList` takes it."""
    if drawn.legend is not None:
        return legend_rows(drawn.legend)
    legend = drawn.picture.legend if drawn.picture else None
    if legend is None or not legend.stops:
        return []
    if legend.kind == "classes":
        return [
            {
                "label": stop.label,
                "swatch": {"kind": "polygon", "fill": stop.color, "fill_opacity": 1, "stroke": "none"},
            }
            for stop in legend.stops
        ]
    low, high = legend.stops[0].value, legend.stops[-1].value
    width = (high - low) or 1
    ends = [legend.stops[0], legend.stops[-1]]
    return [
        {
            "kind": "ramp",
            "title": unit_text(legend.units),
            "labels": [stop_label(legend.kind, stop) for stop in ends],
            "stops": [{"color": stop.color, "at": (stop.value - low) / width} for stop in legend.stops],
        }
    ]


def _note(problem: Problem) -> str:
    step = f" {escape(problem.next_step)}" if problem.next_step else ""
    return f'<p class="muted" role="note" style="margin:0">{escape(problem.sentence)}{step}</p>'
