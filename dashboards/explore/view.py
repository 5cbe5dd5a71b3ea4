"""The page *Explore*: the map fills it, panels slide over it.

`ExploreView` puts together the panels of ``panels.py``; each shows a part of the model and calls its commands.
"""

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from dashboards.explore.layer import Layer
from dashboards.explore.listing import Kind
from dashboards.explore.model import ExploreModel
from dashboards.explore.panels import BrowsePanel, ItemPanel, LayersPanel, ReadingPanel, TimeDock
from dashboards.shared.address import Address
from dashboards.shared.background import Background
from dashboards.shared.delivery import Delivery, Inline
from dashboards.shared.layout import CARD_CSS, TEXT_CSS, problem_html
from dashboards.shared.map import MapView
from dashboards.shared.problem import Problem
from dashboards.shared.theme import palette, theme_config
from dashboards.shared.vector_layer import styled_layer
from geoetl.core.errors import GeoetlError
from geoetl.core.spatial import BBox, Point

# What the panels at the sides cover, in pixels, for the map to keep clear of.
LEFT_PX, RIGHT_PX = 376, 336
NOTEBOOK_HEIGHT_PX = 720

_STAGE_CSS = """
:host { position: relative; overflow: hidden; container: explore / inline-size; color: var(--ge-text);
  font: 14px/20px Roboto, system-ui, sans-serif; background: var(--ge-sea); }
"""
_LEFT_CSS = """
:host { position: absolute; left: 16px; top: 16px; width: 360px; max-height: calc(100% - 32px); z-index: 2;
  display: flex; }
@container explore (max-width: 1000px) { :host { width: 320px; } }
"""
_RIGHT_CSS = """
:host { position: absolute; right: 16px; top: 16px; width: 304px; display: flex; gap: 16px; z-index: 1; }
@container explore (max-width: 1000px) { :host { width: 264px; } }
"""
_DOCK_CSS = """
:host { position: absolute; left: 392px; right: 72px; bottom: 40px; z-index: 1; padding: 8px 16px;
  box-sizing: border-box; }
@container explore (max-width: 1000px) { :host { left: 352px; } }
"""
_STATUS_CSS = """
:host { position: absolute; left: calc(50% + 188px); top: 16px; translate: -50% 0; z-index: 3; padding: 8px 16px;
  border-radius: 20px; background: var(--ge-surface); box-shadow: var(--ge-shadow); pointer-events: none;
  animation: appear .15s .2s both; }
@keyframes appear { from { opacity: 0; } to { opacity: 1; } }
"""
_ALERT_CSS = """
:host { position: absolute; left: calc(50% + 188px); top: 16px; translate: -50% 0; z-index: 4;
  width: min(560px, calc(100% - 408px));
  background: var(--ge-surface); border-radius: 8px; box-shadow: var(--ge-shadow); }
"""


def _default_server() -> str:
    return "http://127.0.0.1:8000"


class ExploreView(pn.viewable.Viewer):
    """The whole page; also the last line of a notebook cell.

    Args:
        model: The page's model.
        delivery: How pictures and files reach the browser; left out, inside the notebook's output.
        server: Tells the address of the server, for programs that ask it.
        background: Brings the model's changes to the page.
    """

    dark = param.Boolean(default=False, doc="Whether the dark colours are used.")

    def __init__(
        self,
        model: ExploreModel,
        *,
        delivery: Delivery | None = None,
        server: Callable[[], str] = _default_server,
        background: Background | None = None,
        **params: Any,
    ) -> None:
        super().__init__(**params)
        self.model = model
        self._served = delivery is not None
        self._delivery: Delivery = delivery or Inline(model.platform)
        self._archives: dict[tuple[str, str], str] = {}
        self._loaded = False
        background = background or Background()
        self.map = MapView(
            base=self._delivery.base(model.platform.settings.map),
            dark=self.dark,
            styles={"position": "absolute", "inset": "0"},
            sizing_mode="stretch_both",
            margin=0,
        )
        self.address = Address(margin=0, styles={"position": "absolute"})
        self._browse = BrowsePanel(model, background, self._delivery)
        self._item = ItemPanel(model, background, server, served=self._served)
        self._dock = TimeDock(model, background, stylesheets=[CARD_CSS, _DOCK_CSS])
        self._status = pn.pane.HTML("", stylesheets=[TEXT_CSS, _STATUS_CSS], margin=0, visible=False)
        self._alert = pmui.Alert(severity="error", closeable=True, margin=0, stylesheets=[_ALERT_CSS], visible=False)
        self._right = pn.Column(
            LayersPanel(model, background), ReadingPanel(model, background), margin=0, stylesheets=[_RIGHT_CSS]
        )
        self._stage = pn.Column(
            self.map,
            pn.Column(self._browse, self._item, margin=0, stylesheets=[CARD_CSS, _LEFT_CSS]),
            self._right,
            self._dock,
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
        self.model.search()
        self.model.fit()
        self._loaded = True

    def _follow_page(self) -> None:
        self.param.watch(lambda _: self._colour(), "dark")
        self.map.param.watch(lambda event: self.model.look_at(BBox.from_list(event.new)), "bounds")
        self.map.param.watch(lambda event: self.param.update(dark=event.new), "dark")
        self.map.on_msg(lambda event: self._from_map(event.data))
        self.address.on_msg(lambda event: self.model.go(str(event.data["search"])))
        self._alert.param.watch(lambda event: None if event.new else self.model.dismiss(), "visible")

    def _follow_model(self, background: Background) -> None:
        for names, show in (
            (["layers"], self._draw_layers),
            (["listing", "opened"], self._draw_footprints),
            (["opened", "hovered"], self._mark_footprints),
            (["places", "opened"], self._draw_points),
            (["target"], self._move),
            (["busy"], self._say),
            (["problem"], self._warn),
            (["opened"], self._switch),
            (["opened", "layers", "readings", "places"], self._make_room),
            (["opened", "layers", "places", "bounds", "words", "since", "until", "in_view"], self._write_address),
        ):
            background.follow(self.model, names, show)

    # ---- from the map ----------------------------------------------------------------------------------------------

    def _clicked(self, click: dict[str, Any]) -> None:
        self.model.click(
            Point(click["lon"], click["lat"]),
            tolerance_deg=min(90.0, click["tolerance_deg"]),
            footprints=tuple(click["footprints"]),
        )

    def _from_map(self, message: dict[str, Any]) -> None:
        if message["type"] == "click":
            self._clicked(message)
        elif message["type"] == "fit":
            self.model.fit()
        elif self.model.layer(message["id"]):
            self.model.report(
                Problem(
                    "A layer could not be drawn in the browser.",
                    "Take it off the map and open it again.",
                    f"{message['id']}: {message['message'][:200]}",
                )
            )

    # ---- to the map ------------------------------------------------------------------------------------------------

    def _draw_layers(self) -> None:
        described = (self._described(layer) for layer in self.model.layers)
        self.map.layers = [layer for layer in described if layer is not None]

    def _described(self, layer: Layer) -> dict[str, Any] | None:
        common = {"id": layer.key, "visible": layer.visible, "opacity": layer.opacity}
        if layer.picture:
            return {
                **common,
                "kind": "image",
                "url": self._delivery.picture(layer.picture),
                "corners": layer.corners(),
                "resampling": "linear" if layer.picture.method == "bilinear" else "nearest",
            }
        if layer.kind is Kind.VECTOR and layer.drawing:
            url = self._tiles(layer)
            shown = {"visible": layer.visible, "opacity": layer.opacity}
            return styled_layer(layer.key, url, layer.drawing.tiles, layer.drawing.style, **shown) if url else None
        if layer.kind is Kind.VECTOR:
            url = self._archive(layer)
            return {**common, "kind": "pmtiles", "url": url, "color": layer.color} if url else None
        return None

    def _archive(self, layer: Layer) -> str:
        return self._address_of(layer, "archive", lambda: self._delivery.asset(layer.item, "pmtiles"))

    def _tiles(self, layer: Layer) -> str:
        return self._address_of(layer, "tiles", lambda: self._delivery.vector_tiles(layer.item))

    def _address_of(self, layer: Layer, what: str, find: Callable[[], str]) -> str:
        if (layer.key, what) not in self._archives:
            try:
                self._archives[layer.key, what] = find()
            except GeoetlError as error:
                self._archives[layer.key, what] = ""
                self.model.report(Problem.of(error, f"drawing {layer.title}"))
        return self._archives[layer.key, what]

    def _draw_footprints(self) -> None:
        if self.model.listing:
            self.map.footprints = self.model.listing.footprints(self.model.opened)

    def _mark_footprints(self) -> None:
        self.map.chosen = [key for key in (self.model.opened, self.model.hovered) if key]

    def _draw_points(self) -> None:
        self.map.points = [
            {"lon": p.point.lon, "lat": p.point.lat, "label": p.label, "color": self.model.color_of(p)}
            for p in self.model.places
        ]
        self.map.inspecting = bool(self.model.opened)

    def _move(self) -> None:
        if self.model.target:
            right = RIGHT_PX if self.model.layers else 0
            self.map.padding = {"left": LEFT_PX, "right": right, "top": 0, "bottom": self._dock.height_px}
            self.map.globe = self.map.globe or self.model.target.globe
            self.map.show(self.model.target.bbox.as_list(), exact=self.model.target.exact)

    # ---- the rest --------------------------------------------------------------------------------------------------

    def _switch(self) -> None:
        opened = bool(self.model.opened)
        self._browse.visible, self._item.visible = not opened, opened

    def _make_room(self) -> None:
        # Below the panels at the right are the dock, or the map's own controls.
        below = max(self._dock.height_px + 24, 248)
        self._right.styles = {"max-height": f"calc(100% - {below}px)"}

    def _say(self) -> None:
        busy = self.model.busy
        words = f'<span role="status">{busy[:1].upper()}{busy[1:]} …</span>'
        self._status.param.update(object=words, visible=bool(busy))

    def _warn(self) -> None:
        problem = self.model.problem
        self._alert.param.update(object=problem_html(problem) if problem else "", visible=problem is not None)

    def _colour(self) -> None:
        self.map.dark = self._dock.dark = self.dark
        self._stage.stylesheets = [f":host {{ {palette(self.dark).css_variables()} }}", _STAGE_CSS]

    def _write_address(self) -> None:
        if self._loaded and self._served and not self.model.busy.startswith("opening"):
            self.address.param.update(page=self.model.opened, search=self.model.address().query())

    def __panel__(self) -> Any:
        if self._served:
            return self._stage
        if not self._loaded:
            self.load()
        # A served page brings the theme along; a notebook has none.
        return pmui.Column(self._stage, theme_config=theme_config(), sizing_mode="stretch_width", margin=0)
