"""The page *Style*: the map fills it, panels slide over it.

`StyleView` puts together the panels of ``panels.py``; each shows a part of the model and calls its commands.
"""

from collections.abc import Mapping
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from dashboards.shared.address import Address
from dashboards.shared.background import Background
from dashboards.shared.delivery import Delivery, Inline
from dashboards.shared.layout import CARD_CSS, TEXT_CSS, problem_html
from dashboards.shared.map import MapView
from dashboards.shared.problem import Problem
from dashboards.shared.styling import Swipe
from dashboards.shared.theme import palette, theme_config
from dashboards.shared.vector_layer import styled_layer
from dashboards.style.draft import Document
from dashboards.style.model import StyleModel
from dashboards.style.outputs import DRAWN, Output
from dashboards.style.panels import EditorPanel, FeaturePanel, LayerPicker, LegendPanel, OutputPanel
from dashboards.style.picture import paint
from dashboards.style.subject import Subject, corners
from geoetl.core.errors import GeoetlError
from geoetl.core.spatial import BBox, Point

# What the panels at the sides cover, in pixels, for the map to keep clear of.
LEFT_PX, RIGHT_PX = 392, 432
NOTEBOOK_HEIGHT_PX = 760
# On a narrower page text and map do not fit beside the form: the text waits folded.
ROOM_FOR_TEXT_PX = 1180

_STAGE_CSS = """
:host { position: relative; overflow: hidden; container: explore / inline-size; color: var(--ge-text);
  font: 14px/20px Roboto, system-ui, sans-serif; background: var(--ge-sea); }
"""
_LEFT_CSS = """
:host { position: absolute; left: 16px; top: 16px; width: 376px; max-height: calc(100% - 32px); z-index: 2;
  display: flex; }
@container explore (max-width: 900px) { :host { width: 320px; } }
"""
_RIGHT_CSS = """
:host { position: absolute; right: 16px; top: 16px; width: 416px; height: calc(100% - 288px); z-index: 2; }
:host(.folded) { height: auto; width: auto; max-width: calc(100% - 424px); }
@container explore (max-width: 900px) { :host { width: calc(100% - 368px); } }
"""
_LEGEND_CSS = """
:host { position: absolute; right: 72px; bottom: 40px; width: 360px; max-height: 216px; z-index: 1; }
@container explore (max-width: 900px) { :host { width: 264px; } }
"""
_FEATURE_CSS = """
:host { position: absolute; left: 408px; bottom: 40px; width: 264px; max-height: calc(100% - 120px); z-index: 1; }
@container explore (max-width: 900px) { :host { left: 352px; bottom: 272px; } }
"""
_STATUS_CSS = """
:host { position: absolute; left: calc(50% + 8px); top: 16px; translate: -50% 0; z-index: 3; padding: 8px 16px;
  border-radius: 20px; background: var(--ge-surface); box-shadow: var(--ge-shadow); pointer-events: none;
  animation: appear .15s .2s both; }
@keyframes appear { from { opacity: 0; } to { opacity: 1; } }
"""
_ALERT_CSS = """
:host { position: absolute; left: calc(50% + 8px); top: 16px; translate: -50% 0; z-index: 4;
  width: min(560px, calc(100% - 424px));
  background: var(--ge-surface); border-radius: 8px; box-shadow: var(--ge-shadow); }
"""
# The other version lies above the map, and is seen at the left of the bar.
_OTHER_CSS = """
:host { clip-path: inset(0 calc(100% - var(--ge-swipe, 50%)) 0 0); }
.controls, .footer, .aim { display: none !important; }
"""
_FILLING = {"position": "absolute", "inset": "0"}


class StyleView(pn.viewable.Viewer):
    """The whole page; also the last line of a notebook cell.

    Args:
        model: The page's model.
        delivery: How pictures and files reach the browser; left out, inside the notebook's output.
        background: Brings the model's changes to the page.
    """

    dark = param.Boolean(default=False, doc="Whether the dark colours are used.")

    def __init__(
        self,
        model: StyleModel,
        *,
        delivery: Delivery | None = None,
        background: Background | None = None,
        **params: Any,
    ) -> None:
        super().__init__(**params)
        self.model = model
        self._served = delivery is not None
        self._delivery: Delivery = delivery or Inline(model.platform)
        self._urls: dict[str, str] = {}
        self._loaded = False
        background = background or Background()
        base = self._delivery.base(model.platform.settings.map)
        shared: dict[str, Any] = {"base": base, "dark": self.dark, "sizing_mode": "stretch_both", "margin": 0}
        self.map = MapView(styles=_FILLING, tells_scale=True, inspecting=True, link=f"style-{id(self)}", **shared)
        self._shared = shared
        self._other = pn.Column(margin=0, visible=False, styles=_FILLING | {"pointer-events": "none"})
        self._swipe = Swipe(margin=0, visible=False)
        self.address = Address(margin=0, styles={"position": "absolute"})
        self._picker = LayerPicker(model, background)
        self._editor = EditorPanel(model, background, served=self._served)
        self._outputs = OutputPanel(model, background)
        self._status = pn.pane.HTML("", stylesheets=[TEXT_CSS, _STATUS_CSS], margin=0, visible=False)
        self._alert = pmui.Alert(severity="error", closeable=True, margin=0, stylesheets=[_ALERT_CSS], visible=False)
        self._right = pn.Column(self._outputs, margin=0, stylesheets=[CARD_CSS, _RIGHT_CSS], visible=False)
        self._stage = pn.Column(
            self.map,
            self._other,
            self._swipe,
            pn.Column(self._picker, self._editor, margin=0, stylesheets=[CARD_CSS, _LEFT_CSS]),
            self._right,
            pn.Column(FeaturePanel(model, background), margin=0, stylesheets=[_FEATURE_CSS]),
            pn.Column(LegendPanel(model, background), margin=0, stylesheets=[_LEGEND_CSS]),
            self._status,
            self._alert,
            self.address,
            margin=0,
            sizing_mode="stretch_both" if self._served else "stretch_width",
            height=None if self._served else NOTEBOOK_HEIGHT_PX,
        )
        self._colour()
        self._follow_page()
        self._follow_model(background)

    def load(self) -> None:
        """Look up what there is."""
        if self.model.layers is None:
            self.model.load()
        self._loaded = True

    def _follow_page(self) -> None:
        self.param.watch(lambda _: self._colour(), "dark")
        self.map.param.watch(lambda event: self._moved(event.new), "view")
        self.map.param.watch(lambda event: self._sized(event.new), "width_px")
        self.map.param.watch(lambda event: self.param.update(dark=event.new), "dark")
        self.map.on_msg(lambda event: self._from_map(event.data))
        self.address.on_msg(lambda event: self.model.go(str(event.data["search"])))
        self._alert.param.watch(lambda event: None if event.new else self.model.dismiss(), "visible")
        self._outputs.param.watch(lambda event: self._fold(event.new), "folded")

    def _follow_model(self, background: Background) -> None:
        for names, show in (
            (["outputs", "window", "subject"], self._draw),
            (["compared", "window"], self._draw_other),
            (["picked"], self._draw_point),
            (["target"], self._move),
            (["busy"], self._say),
            (["problem"], self._warn),
            (["subject"], self._switch),
            (["subject", "stored", "compared", "selected", "centre", "zoom"], self._write_address),
        ):
            background.follow(self.model, names, show)

    # ---- from the map ----------------------------------------------------------------------------------------------

    def _moved(self, view: Mapping[str, Any]) -> None:
        lon, lat = view["center"]
        self.model.look_at(Point(lon, lat), view["zoom"])

    def _sized(self, width_px: int) -> None:
        self._outputs.folded = width_px < ROOM_FOR_TEXT_PX

    def _from_map(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "click":
            found = message["features"]
            self.model.pick(Point(message["lon"], message["lat"]), found[0]["properties"] if found else None)
        elif message["type"] == "fit":
            self.model.fit()
        else:
            details = f"{message['id']}: {str(message['message'])[:200]}"
            self.model.report(Problem("A layer could not be drawn in the browser.", "Open it again.", details))

    # ---- to the map ------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        subject = self.model.subject
        described = self._described(subject, self.model.document, self.model.outputs) if subject else None
        self.map.layers = [described] if described else []

    def _described(self, subject: Subject, document: Document, outputs: tuple[Output, ...]) -> dict[str, Any] | None:
        if subject.is_coverage:
            symbol, bands = self.model.symbol(document), self.model.bands()
            if not bands or not set(symbol.properties) <= set(bands):
                return None
            picture = paint(symbol, bands)
            if picture is None:
                return None
            return {
                "id": subject.key,
                "kind": "image",
                "visible": True,
                "opacity": 1.0,
                "url": self._delivery.picture(picture),
                "corners": corners(self.model.window),
                "resampling": "nearest",
            }
        drawn = next((output for output in outputs if output.name == DRAWN), None)
        url = self._tiles(subject)
        if drawn is None or subject.tiles is None or not url:
            return None
        return styled_layer(subject.key, url, subject.tiles, drawn.document)

    def _tiles(self, subject: Subject) -> str:
        if subject.key not in self._urls:
            try:
                self._urls[subject.key] = self._delivery.vector_tiles(subject.item)
            except GeoetlError as error:
                self._urls[subject.key] = ""
                self.model.report(Problem.of(error, f"drawing {subject.title}"))
        return self._urls[subject.key]

    def _draw_other(self) -> None:
        compared, subject = self.model.compared, self.model.subject
        self._other.visible = self._swipe.visible = compared is not None
        if compared is None or subject is None:
            self._other.objects = []
            return
        described = self._described(subject, compared.document, compared.outputs)
        layers = [described] if described else []
        self._swipe.param.update(left=compared.title, right="As it is edited")
        if not self._other.objects:
            self._other.objects = [self._map_beside(layers)]
        else:
            self._other.objects[0].layers = layers

    def _map_beside(self, layers: list[dict[str, Any]]) -> MapView:
        sheets = [*MapView._stylesheets, _OTHER_CSS]
        shared = {**self._shared, "dark": self.dark}
        return MapView(styles=_FILLING, link=self.map.link, layers=layers, stylesheets=sheets, **shared)

    def _draw_point(self) -> None:
        picked = self.model.picked
        self.map.points = (
            []
            if picked is None
            else [{"lon": picked.place.lon, "lat": picked.place.lat, "label": "", "color": palette(self.dark).accent}]
        )

    def _move(self) -> None:
        target = self.model.target
        if isinstance(target, BBox):
            right = 0 if self._outputs.folded else RIGHT_PX
            self.map.padding = {"left": LEFT_PX, "right": right, "top": 0, "bottom": 0}
            self.map.show(target.as_list())
        elif isinstance(target, Point):
            self.map.camera = {"center": [target.lon, target.lat], "zoom": self.model.zoom}

    # ---- the rest --------------------------------------------------------------------------------------------------

    def _switch(self) -> None:
        self._right.visible = self.model.subject is not None

    def _fold(self, folded: bool) -> None:
        self._right.css_classes = ["folded"] if folded else []

    def _say(self) -> None:
        busy = self.model.busy
        words = f'<span role="status">{busy[:1].upper()}{busy[1:]} …</span>'
        self._status.param.update(object=words, visible=bool(busy))

    def _warn(self) -> None:
        problem = self.model.problem
        self._alert.param.update(object=problem_html(problem) if problem else "", visible=problem is not None)

    def _colour(self) -> None:
        self.map.dark = self.dark
        for other in self._other.objects:
            other.dark = self.dark
        self._stage.stylesheets = [f":host {{ {palette(self.dark).css_variables()} }}", _STAGE_CSS]

    def _write_address(self) -> None:
        if self._loaded and self._served and not self.model.busy.startswith("opening"):
            address = self.model.address()
            self.address.param.update(page=address.layer, search=address.query())

    def __panel__(self) -> Any:
        if self._served:
            return self._stage
        if not self._loaded:
            self.load()
        # A served page brings the theme along; a notebook has none.
        return pmui.Column(self._stage, theme_config=theme_config(), sizing_mode="stretch_width", margin=0)
