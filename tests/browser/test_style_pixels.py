"""One layer, drawn by MapLibre and by Leaflet from what our server gives for its style, has the colours of the style.

The pixels are read back from pictures of Chromium; what they should be is told by our own evaluator.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route

import geoetl
from geoetl.api.app import create_app
from geoetl.core.selectors import Rows
from geoetl.platform import Platform
from geoetl.styles.coverage import colours, coverage_symbol
from geoetl.styles.encoders.leaflet import Leaflet
from geoetl.styles.evaluate import symbols
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.values import denominator_of
from tests import catalogued
from tests.browser.conftest import SLOW_MS
from tests.catalogued import HILL, HILL_BOX, IMAGES, PLACES, SHIRES, hill_values
from tests.served import serving

MAPS = Path(__file__).parents[1] / "peers" / "maps.bundle.js"
LAYER = f"{PLACES}:{SHIRES}"
# Of the map: where it looks, and how close, with tiles of 256 pixels.
CENTRE, ZOOM = (7.0, 46.5), 6
SIZE = 500
# In the northern shire, in the southern one, on the border of the northern one, and outside of both.
NORTH, SOUTH, EDGE, OUTSIDE = (6.0, 47.3), (8.0, 45.7), (9.0, 47.3), (9.8, 47.3)
STYLE: dict[str, Any] = {
    "metadata": {"title": "Shires"},
    "stylingRules": [
        {
            "symbolizer": {
                "opacity": 0.8,
                "fill": {"color": [255, 0, 0], "opacity": 0.5},
                "stroke": {"color": [0, 0, 255], "width": {"px": 12}},
            },
            "nestedRules": [
                {
                    "selector": {
                        "op": "or",
                        "args": [
                            {"op": "like", "args": [{"property": "name"}, "Nor_h%"]},
                            {"op": "in", "args": [{"property": "people"}, [7, 8]]},
                        ],
                    },
                    "symbolizer": {"opacity": 1, "fill": {"color": [0, 160, 0]}},
                },
                {
                    "selector": {"op": "<", "args": [{"sysId": "viz.sd"}, 1000]},
                    "symbolizer": {"visibility": False},
                },
                {
                    "selector": {"op": "=", "args": [{"op": "frobnicate", "args": [{"property": "name"}]}, True]},
                    "symbolizer": {"fill": {"color": "black"}},
                },
            ],
        }
    ],
}
# Steps, and a run between them.
HEIGHTS: dict[str, Any] = {
    "stylingRules": [
        {
            "symbolizer": {
                "singleChannel": {"property": "height"},
                "colorMap": [
                    [0, [0, 0, 200]],
                    [700, [0, 0, 200]],
                    [700, [250, 200, 0]],
                    [1000, [250, 0, 0]],
                ],
            }
        }
    ]
}
PAGE = """<!doctype html><title>pixels</title><body style="margin:0;background:white">
<div id="map" style="width:500px;height:500px;background:white"></div><script src="/test-maps.js"></script>"""
# Each gives the page ``shown``: a map, and ``at(place)``: the pixel of a place.
MAPLIBRE = """async ({style, centre, zoom}) => {
  const map = new maplibregl.Map({container: "map", style, center: centre, zoom: zoom - 1, fadeDuration: 0,
    attributionControl: false, canvasContextAttributes: {preserveDrawingBuffer: true}});
  const failures = [];
  map.on("error", ({error}) => failures.push(String(error)));
  await new Promise((done) => map.once("idle", done));
  window.at = (place) => { const {x, y} = map.project(place); return [x, y]; };
  return failures;
}"""
LEAFLET = """async ({style, features, item, centre, zoom}) => {
  const map = L.map("map", {center: [centre[1], centre[0]], zoom, zoomControl: false, attributionControl: false,
    fadeAnimation: false, zoomAnimation: false});
  window.at = ([lon, lat]) => { const {x, y} = map.latLngToContainerPoint([lat, lon]); return [x, y]; };
  if (features) {
    const {leafletOptions} = await import("/api/styles/leaflet-style.js");
    const data = await (await fetch(features)).json();
    L.geoJSON(data, leafletOptions(L, style, () => map.getZoom())).addTo(map);
  } else {
    const tiles = L.tileLayer(style.tileLayer.url, {...style.tileLayer.options, item});
    await new Promise((done) => { tiles.on("load", done); tiles.addTo(map); });
  }
  return [];
}"""

POINTS = """async ({style, data, centre, zoom}) => {
  const map = L.map("map", {center: [centre[1], centre[0]], zoom, zoomControl: false, attributionControl: false,
    zoomAnimation: false});
  window.at = ([lon, lat]) => { const {x, y} = map.latLngToContainerPoint([lat, lon]); return [x, y]; };
  const {leafletOptions, restyle} = await import("/api/styles/leaflet-style.js");
  const layer = L.geoJSON(data, leafletOptions(L, style, () => map.getZoom())).addTo(map);
  map.on("zoomend", () => restyle(layer, style, map.getZoom()));
  window.zoomTo = (zoom) => map.setZoom(zoom, {animate: false}) && undefined;
  return [];
}"""


@pytest.fixture(scope="module")
def styled(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Give a platform whose shires and hill have a style."""
    home = tmp_path_factory.mktemp("styled") / "home"
    platform = geoetl.connect(home)
    catalogued.fill(platform, home / "shelf")
    platform.styles.put(LAYER, "shires", STYLE)
    platform.styles.put(IMAGES, "heights", HEIGHTS)
    platform.styles.set_default(IMAGES, "heights")
    return platform


@pytest.fixture(scope="module")
def address(styled: Platform) -> Iterator[str]:
    """Give the address of their API."""
    with serving(create_app(styled)) as served:
        yield served


@dataclass
class Canvas:
    """A page of the API's host that has both libraries for maps."""

    page: Page
    address: str

    def draw(self, program: str, **given: Any) -> list[Any]:
        """Draw a map; return what it complained of."""
        self.page.goto(f"{self.address}/test-page.html")
        return list(self.page.evaluate(program, {"centre": CENTRE, "zoom": ZOOM, **given}))

    def style(self, path: str, encoding: str) -> Any:
        """Return what the API gives for a style."""
        answer = self.page.request.get(f"{self.address}{path}?f={encoding}")
        assert answer.ok, answer.text()
        return answer.json()

    def pixel(self, place: tuple[float, float]) -> tuple[int, ...]:
        """Return the colour that is seen at a place."""
        x, y = self.page.evaluate("place => window.at(place)", list(place))
        picture = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        return tuple(picture.getpixel((round(x), round(y))))  # type: ignore[arg-type]


@pytest.fixture
def canvas(browser: Browser, address: str) -> Iterator[Canvas]:
    """Give a page that maps are drawn on."""
    context = browser.new_context(viewport={"width": SIZE, "height": SIZE})
    context.set_default_timeout(SLOW_MS)

    def page_of(route: Route) -> None:
        route.fulfill(body=PAGE, content_type="text/html")

    context.route("**/test-page.html", page_of)
    context.route("**/test-maps.js", lambda route: route.fulfill(path=MAPS, content_type="text/javascript"))
    yield Canvas(context.new_page(), address)
    context.close()


def expected(properties: dict[str, Any], *, on_edge: bool) -> tuple[int, ...]:
    """Return the colour of a feature on white, as our evaluator says."""
    layer = StyledLayer(LAYER, "vector", 2, {"name": "text", "people": "number"})
    (symbol,) = symbols(Style.of(STYLE), layer, Rows.of_documents([properties]), denominator_of(ZOOM, 256))
    part = symbol.stroke if on_edge else symbol.fill
    assert part is not None
    return over_white(part.color.parts, symbol.opacity * part.opacity)


def over_white(parts: Any, opacity: float) -> tuple[int, ...]:
    return tuple(round(255 + (part - 255) * opacity) for part in parts)


def near(seen: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Return whether two colours are the same but for the rounding of two blendings."""
    return bool(np.abs(np.subtract(seen, wanted)).max() <= 2)


@pytest.mark.parametrize("client", ["maplibre", "leaflet"])
def test_areas_have_the_colours_of_their_style(canvas: Canvas, client: str) -> None:
    here = f"/features/collections/{LAYER}/styles/shires"
    if client == "maplibre":
        assert canvas.draw(MAPLIBRE, style=canvas.style(here, "mapbox")) == []
    else:
        items = f"/features/collections/{LAYER}/items"
        assert canvas.draw(LEAFLET, style=canvas.style(here, "leaflet"), features=items) == []
    north, south = {"name": "North", "people": 1200}, {"name": "<b>South</b>", "people": 3400}
    seen = {place: canvas.pixel(place) for place in (NORTH, SOUTH, EDGE, OUTSIDE)}
    assert near(seen[NORTH], expected(north, on_edge=False)), seen
    assert near(seen[SOUTH], expected(south, on_edge=False)), seen
    assert near(seen[EDGE], expected(north, on_edge=True)), seen
    assert seen[OUTSIDE] == (255, 255, 255)


@pytest.mark.parametrize("client", ["maplibre", "leaflet"])
def test_a_raster_has_the_colours_of_its_style(canvas: Canvas, styled: Platform, client: str) -> None:
    here = f"/collections/{IMAGES}/styles/heights"
    if client == "maplibre":
        style = canvas.style(here, "mapbox")
        for source in style["sources"].values():
            source["tiles"] = [tile.replace("{item}", HILL) for tile in source["tiles"]]
        assert canvas.draw(MAPLIBRE, style=style) == []
    else:
        assert canvas.draw(LEAFLET, style=canvas.style(here, "leaflet"), item=HILL) == []
    symbol = coverage_symbol(Style.of(HEIGHTS), styled.styles.layer(IMAGES))
    heights = hill_values()
    for row, column in ((10, 12), (30, 30), (40, 45), (50, 70)):
        wanted = colours(symbol, heights[row : row + 1, column : column + 1].astype(float))[0, 0]
        seen = canvas.pixel(place_of(row, column))
        assert wanted[3] == 255
        # The tile is of another projection, and its pixels lie between those of the raster.
        assert np.abs(np.subtract(seen, wanted[:3])).max() <= 12, (row, column, seen, wanted)
    assert canvas.pixel(OUTSIDE) == (255, 255, 255)
    assert canvas.pixel(place_of(2, 2)) == (255, 255, 255)  # no data


def test_points_are_dots_that_are_styled_anew_when_the_zoom_changes(canvas: Canvas) -> None:
    closer = {"op": "<", "args": [{"sysId": "viz.sd"}, denominator_of(ZOOM + 0.5, 256)]}
    dot = {"type": "Dot", "color": [0, 160, 0], "size": {"px": 40}}
    rules = [
        {"symbolizer": {"marker": {"elements": [dot]}}},
        {"selector": closer, "symbolizer": {"marker": {"elements": [{**dot, "color": [160, 0, 0]}]}}},
    ]
    layer = StyledLayer("points", "vector", 0)
    style = Leaflet().encode(Style.of({"stylingRules": rules}), layer).document
    place = {"type": "Point", "coordinates": list(CENTRE)}
    data = {"type": "Feature", "geometry": place, "properties": None}
    canvas.draw(POINTS, style=style, data=data)
    x, y = CENTRE
    half = 10 * 360 / 256 / 2**ZOOM  # ten pixels, in degrees of longitude
    assert canvas.pixel((x, y)) == canvas.pixel((x + half, y)) == (0, 160, 0)
    assert canvas.pixel((x + 3 * half, y)) == (255, 255, 255)
    canvas.page.evaluate("zoom => window.zoomTo(zoom)", ZOOM + 1)
    assert canvas.pixel((x, y)) == (160, 0, 0)


def place_of(row: int, column: int) -> tuple[float, float]:
    """Return the middle of a cell of the hill: longitude, latitude."""
    rows, columns = hill_values().shape
    west, south, east, north = HILL_BOX.as_list()
    return west + (column + 0.5) / columns * (east - west), north - (row + 0.5) / rows * (north - south)
