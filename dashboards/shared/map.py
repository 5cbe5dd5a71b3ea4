"""The map component: MapLibre GL, compiled into ``geoetl.bundle.js``, so that nothing is fetched from elsewhere."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import panel as pn
import param

if TYPE_CHECKING:
    from bokeh.document import Document

_FOLDER = Path(__file__).parent
BUNDLE = _FOLDER / "geoetl.bundle.js"


# In a notebook there is no address of the bundle: the first component of an output brings it along, and the others,
# whichever of them the browser starts first, wait for it.
_SHARED = """
const shared = globalThis.geoetlBundle ??= (() => {
  let tell
  const told = new Promise(done => { tell = done })
  return {told, tell}
})()
"""
_WAITING = f"{_SHARED}export default await shared.told"
_BRINGING = f"""{_SHARED}
const address = URL.createObjectURL(new Blob([%s], {{type: "text/javascript"}}))
shared.tell((await import(address)).default)
URL.revokeObjectURL(address)
export default await shared.told
"""


class Component(pn.custom.JSComponent):
    """Base of our compiled components.

    Panel gives the bundle the address of the topmost class that names it, so that the browser loads it once for all.
    Without a server Panel writes it into every component; here it is in one of each document.
    """

    _bundle: ClassVar[Path] = BUNDLE

    __abstract = True

    def _get_properties(self, doc: "Document | None") -> dict[str, Any]:
        properties: dict[str, Any] = super()._get_properties(doc)
        if doc is None or properties["bundle"] == "url":
            return properties
        if doc.template_variables.setdefault("geoetl_bundle", id(self)) == id(self):
            return {**properties, "bundle": "geoetl", "esm": _BRINGING % json.dumps(properties["esm"])}
        return {**properties, "bundle": "geoetl-shared", "esm": _WAITING}


class MapView(Component):
    """A map that Python describes and that reports back what a person does with it.

    ``layers`` runs from the top of the map to the bottom; each is a dict with ``id``, ``kind``, ``visible``,
    ``opacity`` (0 to 1), optionally ``attribution``, and by kind:

    * ``image``: ``url`` (address or data URI), ``corners`` (lon/lat of top left, top right, bottom right, bottom left),
      ``resampling`` (linear or nearest); its rows are aligned to web Mercator (EPSG:3857).
    * ``pmtiles``: ``url`` of a vector archive (address with HTTP Range, or data URI), ``color``.
    * ``styled``: the layers of the MapLibre style ``style``, drawn from ``url`` (of vector tiles with {z}, {x} and {y},
      then with ``minzoom``, ``maxzoom`` and optionally ``bounds``; or of a vector archive); ``source_layer`` is what a
      clicked feature is found in again.  A changed style changes what is drawn, and loads nothing.
    * ``geojson``: ``data`` or ``url``, ``color``.
    * ``tiles``: ``url`` with {z}, {x} and {y}, optionally ``bounds`` and ``tile_size``.

    Sends the messages ``{type: "click", lon, lat, zoom, tolerance_deg, footprints (ids), features}``, each feature with
    its ``layer`` and ``properties``; ``{type: "fit"}`` and ``{type: "layer_error", id, message}``.
    """

    base = param.Dict(
        default={},
        doc="`url` or `data` of TopoJSON with land, borders and names; `tile_url` replaces it; `attribution`.",
    )
    layers = param.List(default=[], item_type=dict, doc="What is drawn, from top to bottom.")
    footprints = param.Dict(default=None, allow_None=True, doc="GeoJSON features with the property `id`.")
    chosen = param.List(default=[], item_type=str, doc="Ids of the footprints that stand out.")
    points = param.List(default=[], item_type=dict, doc="Markers: lon, lat, label, color.")
    camera = param.Dict(default=None, allow_None=True, doc="Where the map is to stand: `center` [lon, lat] and `zoom`.")
    view = param.Dict(default=None, allow_None=True, doc="Where it stands: `center` [lon, lat] and `zoom`.")
    width_px = param.Integer(default=0, doc="How wide it is, in pixels of CSS.")
    link = param.String(default="", doc="Maps of one link show the same place.")
    tells_scale = param.Boolean(default=False, doc="Whether the scale stands below the map as 1 : denominator.")
    fit = param.Dict(
        default=None, allow_None=True, doc="A box to show: `bbox` (west > east crosses 180°), `exact`, `serial`."
    )
    padding = param.Dict(default={}, doc="What panels cover, in pixels: left, right, top, bottom.")
    inspecting = param.Boolean(default=False, doc="Whether a click reads a value; the pointer then is a cross.")
    globe = param.Boolean(default=False, doc="Whether the world is drawn as a globe.")
    dark = param.Boolean(default=False, doc="Whether the dark colours are used.")
    bounds = param.List(
        default=None, allow_None=True, doc="What is seen: west, south, east, north; west > east crosses 180°."
    )

    _esm: ClassVar[str] = "map.js"
    _stylesheets: ClassVar[list[str]] = [(_FOLDER / "map.css").read_text(encoding="utf-8")]

    def __init__(self, **params: Any) -> None:
        self._serial = 0
        super().__init__(**params)

    def show(self, bbox: list[float], *, exact: bool = False) -> None:
        """Move the map to the box [west, south, east, north] (degrees).

        Args:
            bbox: What is to be seen.
            exact: Whether it fills the map, at once; else the map flies there and keeps it clear of the panels.
        """
        self._serial += 1
        self.fit = {"bbox": bbox, "serial": self._serial, "exact": exact}
