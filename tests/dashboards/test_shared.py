"""What every page uses: order among answers, pictures on the shelf, the base map, the look, the compiled components."""

import json
import re
import threading
from pathlib import Path

import numpy as np
import panel as pn
import param
import pytest
import shapely
from bokeh.document import Document

import dashboards.shared
from dashboards.shared.background import Background, follow_widget
from dashboards.shared.basemap import LARGEST_BYTES, basemap
from dashboards.shared.build import COMPONENTS
from dashboards.shared.delivery import Inline, PictureShelf, Served
from dashboards.shared.map import BUNDLE, MapView
from dashboards.shared.styling import LegendList, RuleList
from dashboards.shared.theme import DARK, LIGHT, POINT_COLOURS, VECTOR_COLOURS, Palette
from dashboards.shared.turns import Turns
from geoetl.core.errors import NotFound
from geoetl.core.settings import MapSettings
from geoetl.platform import Platform
from tests.catalogued import PLACES, SHIRES

FOLDER = Path(dashboards.shared.__file__).parent


def test_an_older_answer_never_replaces_a_newer_one() -> None:
    turns = Turns()
    first, second, third = turns.ask(), turns.ask(), turns.ask()
    with first.work() as wanted:
        assert not wanted
    assert second.may_show()
    assert not first.may_show()
    assert third.may_show()


def test_of_the_questions_that_wait_only_the_latest_is_worked_out() -> None:
    turns = Turns()
    worked: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def work(number: int) -> None:
        turn = turns.ask()
        ready.release()
        with turn.work() as wanted:
            if wanted:
                worked.append(number)
                begun.set()
                go.wait(60)

    ready = threading.Semaphore(0)
    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        ready.acquire()
        if number == 0:
            begun.wait(60)
    go.set()
    for thread in threads:
        thread.join(60)
    assert worked == [0, 4]


def test_the_shelf_keeps_the_latest_pictures_within_its_size() -> None:
    shelf = PictureShelf(capacity=10)
    first = shelf.put(b"12345", "image/png")
    second = shelf.put(b"abcde", "image/png")
    assert shelf.put(b"12345", "image/png") == first
    third = shelf.put(b"xyz", "image/png")
    assert shelf.get(first) == (b"12345", "image/png")
    assert shelf.get(third)[0] == b"xyz"
    with pytest.raises(NotFound):
        shelf.get(second)


def test_a_notebook_gets_what_a_server_gives_by_address(filled: Platform) -> None:
    item = filled.catalog.item(PLACES, SHIRES)
    inline, served = Inline(filled), Served(PictureShelf())
    assert served.asset(item, "pmtiles") == f"assets/{PLACES}/{SHIRES}/pmtiles"
    assert inline.asset(item, "pmtiles").startswith("data:application/vnd.pmtiles;base64,")
    assert inline.base(MapSettings())["data"] == basemap()
    assert served.base(MapSettings(tile_url="https://tiles.example.org/{z}/{x}/{y}.png", attribution="T")) == {
        "url": "basemap.topojson",
        "tile_url": "https://tiles.example.org/{z}/{x}/{y}.png",
        "attribution": "T",
    }
    with pytest.raises(NotFound):
        inline.asset(item, "nothing")


def test_the_base_map_is_small_named_and_whole() -> None:
    document = basemap()
    assert (FOLDER / "basemap.topojson").stat().st_size <= LARGEST_BYTES
    assert document["license"].startswith("CC0")
    assert "Natural Earth" in document["source"]
    names = {geometry["properties"]["name"] for geometry in document["objects"]["names"]["geometries"]}
    assert len(names) > 200
    assert {"Côte d'Ivoire", "Brazil", "Tuvalu"} <= names
    arcs = [np.cumsum(arc, axis=0) * document["transform"]["scale"] for arc in document["arcs"]]
    land = shapely.MultiPolygon([shapely.Polygon(arcs[rings[0][0]]) for rings in document["objects"]["land"]["arcs"]])
    assert land.bounds == pytest.approx((-180, -90, 180, 83.6), abs=0.1)
    for lon, lat in ((10, 50), (-60, -10), (133, -25), (-78, 24.5)):
        assert shapely.distance(land, shapely.Point(lon, lat)) < 0.5
    for lon, lat in ((-30, 0), (-150, 20), (80, -40)):
        assert shapely.distance(land, shapely.Point(lon, lat)) > 3


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_has_contrast_in_both_themes(palette: Palette) -> None:
    for text in (palette.text, palette.muted, palette.accent, palette.error):
        for ground in (palette.surface, palette.sunken, palette.hover):
            assert contrast(text, ground) >= 4.5, (text, ground)
    assert contrast(palette.text, palette.accent_soft) >= 4.5
    assert contrast("#ffffff", palette.header) >= 4.5
    assert contrast(palette.focus, palette.surface) >= 3
    assert contrast(palette.control, palette.surface) >= 3
    for color in POINT_COLOURS:
        assert contrast("#ffffff", color) >= 4.5
        assert contrast(color, palette.surface) >= 3


def test_colours_of_layers_differ() -> None:
    assert len(set(VECTOR_COLOURS)) == len(VECTOR_COLOURS)


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.2, 1.4.3)."""
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("component", COMPONENTS)
def test_components_are_compiled_into_one_bundle(component: type[pn.custom.JSComponent]) -> None:
    assert component._bundle_path == BUNDLE
    assert component._component_resource_path(BUNDLE, True).startswith("components/dashboards.shared.map/Component/")
    exported = BUNDLE.read_text(encoding="utf-8")[-2000:]
    assert re.search(rf"\b{component.__name__}\b", exported)


def test_the_lock_of_the_bundle_names_no_host() -> None:
    lock = json.loads((FOLDER / "package-lock.json").read_bytes())
    for name, package in lock["packages"].items():
        assert "resolved" not in package, name
    wanted = json.loads((FOLDER / "package.json").read_bytes())["dependencies"]
    notice = (FOLDER / "geoetl.bundle.NOTICE.txt").read_text(encoding="utf-8")
    for name, version in wanted.items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
        assert f"{name} {version}" in notice


class Counter(param.Parameterized):
    """A model with one number."""

    number = param.Integer(default=0)


def test_without_a_page_changes_are_shown_at_once() -> None:
    counter, shown = Counter(), []
    background = Background()
    background.follow(counter, ["number"], lambda: shown.append(counter.number))
    background.start(lambda: counter.param.update(number=1))
    assert shown == [1]


def test_setting_a_widget_is_not_taken_for_a_person() -> None:
    widget = pn.widgets.IntInput(value=1)
    commanded: list[int] = []
    put = follow_widget(widget, "value", commanded.append)
    put(2)
    assert commanded == []
    widget.value = 3
    assert commanded == [3]


def test_an_output_of_a_notebook_brings_the_components_along_once() -> None:
    document = Document()
    parts = [RuleList(), MapView(), RuleList(), LegendList()]
    models = [part.get_root(document) for part in parts]
    sizes = [len(model.esm) for model in models]
    assert max(sizes) > 1_000_000 and sorted(sizes)[-2] < 1_000
    assert len({model.bundle for model in models}) == 2
    assert len(RuleList().get_root(Document()).esm) == max(sizes), "another output may be shown without this one"
