"""Every new layer gets a style that the official schema takes, that shows something, and that everybody can read."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import geopandas as gpd
import jsonschema
import pandas as pd
import pytest
import shapely

import geoetl
from geoetl.core.selectors import Rows
from geoetl.platform import Platform, Registered
from geoetl.store.samples import sample_path
from geoetl.styles.classify import classify
from geoetl.styles.defaults import IUCN_CATEGORIES, OTHER_CATEGORY, default_style, single_style, style_of_classes
from geoetl.styles.evaluate import symbols
from geoetl.styles.layer import StyledLayer
from geoetl.styles.legend import legend_of
from geoetl.styles.model import Style
from tests.access.conftest import COLLECTION, Shelf

DATA = Path(__file__).parents[3] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="The folder of real files is not beside the checkout.")
DIMENSIONS: list[Any] = [0, 1, 2, None]


def layer(dimensions: Any, **properties: Any) -> StyledLayer:
    return StyledLayer("shelf:x", "vector", dimensions, properties)


def reader(**columns: Iterable[Any]) -> Callable[[str], Iterable[Any]]:
    return lambda name: columns[name]


def unread(name: str) -> Iterable[Any]:
    raise AssertionError(f"'{name}' need not be read")


def by(style: Style) -> str | None:
    return (style.description or "").partition(":")[0].removeprefix("By ") or None


def valid(style: Style) -> Style:
    """Return a style after checking that it is read as it was written, and taken by the official schema."""
    assert Style.of(style.document()) == style
    if DATA.is_dir():
        schema = json.loads((DATA / "cartosym" / "CartoSym-JSON.schema.json").read_text("utf-8"))
        errors = list(jsonschema.Draft201909Validator(schema).iter_errors(style.document()))
        assert errors == [], [f"{error.json_path}: {error.message}" for error in errors]
    return style


def colour_of(style: Style, on: StyledLayer, **properties: Any) -> str:
    (symbol,) = symbols(style, on, Rows.of_documents([properties]))
    part = symbol.fill or symbol.stroke or symbol.markers[0]
    if on.dimensions == 0:
        part = symbol.markers[0]
    return part.color.hex  # type: ignore[no-any-return]


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize("attribute", ["IUCN_CAT", "iucn_cat"])
def test_protected_areas_are_drawn_by_their_iucn_category(dimensions: Any, attribute: str) -> None:
    on = layer(dimensions, WDPAID="number", **{attribute: "text"})
    style = valid(default_style(on, unread, title="Protected areas"))
    colours = {category: colour_of(style, on, **{attribute: category}) for category in IUCN_CATEGORIES}
    assert list(colours) == ["Ia", "Ib", "II", "III", "IV", "V", "VI"]
    fallbacks = {
        colour_of(style, on, **{attribute: value})
        for value in ("Not Reported", "Not Applicable", "Not Assigned", None, "", "ia")
    }
    assert len(fallbacks) == 1
    assert len({*colours.values(), *fallbacks}) == 8
    legend = legend_of(style, on)
    assert [entry.label for entry in legend.entries] == [*IUCN_CATEGORIES.values(), OTHER_CATEGORY]
    assert legend.findings() == ()


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_a_layer_without_attributes_is_drawn_alike(dimensions: Any) -> None:
    on = layer(dimensions)
    style = valid(default_style(on, unread, title="Lakes"))
    assert style == single_style(on, title="Lakes")
    assert [entry.label for entry in legend_of(style, on).entries] == ["Lakes"]
    assert legend_of(style, on).findings() == ()


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_a_category_gives_each_value_a_colour_that_everybody_can_tell(dimensions: Any) -> None:
    on = layer(dimensions, name="text", kind="text")
    values = ["forest", "water", "town", "road", "bog"] * 9 + [None] * 3 + ["rare 1", "rare 2", "rare 3", "rare 4"] * 2
    style = valid(default_style(on, reader(kind=values), title="Land"))
    assert by(style) == "kind"
    colours = [colour_of(style, on, kind=kind) for kind in ("forest", "water", "town", "road", "bog", None)]
    assert len(set(colours)) == 6
    assert legend_of(style, on).findings() == ()


def test_among_mixed_geometries_areas_lines_and_points_have_the_colour_of_their_class() -> None:
    on = layer(None, kind="text")
    style = valid(default_style(on, reader(kind=["forest", "water"] * 9), title="Land"))
    for kind in ("forest", "water", None):
        (symbol,) = symbols(style, on, Rows.of_documents([{"kind": kind}]))
        assert symbol.fill and symbol.stroke
        assert symbol.fill.color == symbol.stroke.color == symbol.markers[0].color
        assert symbol.stroke.width > 1


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_numbers_go_from_dark_to_light_in_quantiles(dimensions: Any) -> None:
    on = layer(dimensions, id="number", population="number")
    style = valid(default_style(on, reader(population=[*range(100), None]), title="Towns"))
    assert by(style) == "population"
    colours = [colour_of(style, on, population=value) for value in (5, 25, 45, 65, 85, None)]
    assert len(set(colours)) == 6
    assert colour_of(style, on, population=-1) == colours[0]
    assert colour_of(style, on, population=1e9) == colours[4]
    assert legend_of(style, on).findings() == ()


CHOICES: dict[str, tuple[dict[str, Any], dict[str, list[Any]], str | None]] = {
    "a category before a number": (
        {"elevation": "number", "status": "text"},
        {"elevation": list(range(20)), "status": ["a", "b"] * 10},
        "status",
    ),
    "a number by name before any text": (
        {"remark": "text", "pop_max": "number"},
        {"remark": ["a", "b"] * 10, "pop_max": list(range(20))},
        "pop_max",
    ),
    "no key, code or coordinate": (
        {"OBJECTID": "number", "fips": "text", "lat": "number", "zip_code": "text", "NAME": "text"},
        {},
        None,
    ),
    "no text of which nearly every row has its own": (
        {"type": "text"},
        {"type": [f"type {number}" for number in range(20)]},
        None,
    ),
    "no text of which most are others": (
        {"type": "text"},
        {"type": [f"type {number}" for number in range(50)] * 2},
        None,
    ),
    "nothing that is mostly missing": ({"type": "text"}, {"type": ["a", "b"] + [None] * 18}, None),
    "nothing that is always the same": (
        {"type": "text", "value": "number"},
        {"type": ["a"] * 20, "value": [1.5] * 20},
        None,
    ),
    "no values that a style cannot name": (
        {"type": "text"},
        {"type": ["a\0b", "x" * 30_000] * 10},
        None,
    ),
    "no time": ({"time": "time"}, {}, None),
    "truth values": ({"paved_type": "boolean"}, {"paved_type": [True, False] * 10}, "paved_type"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_attribute_is_one_that_shows_something(name: str) -> None:
    properties, columns, wanted = CHOICES[name]
    on = layer(2, **properties)
    assert by(valid(default_style(on, reader(**columns), title="t"))) == wanted


def test_only_some_attributes_of_a_wide_table_are_read() -> None:
    read: list[str] = []

    def values(name: str) -> list[Any]:
        read.append(name)
        return [None] * 10

    wide = layer(2, **{f"type {number}": "text" for number in range(50)})
    assert by(default_style(wide, values, title="t")) is None
    assert len(read) == 6


def test_classes_of_ones_own_take_the_ramp_that_is_asked_for() -> None:
    on = layer(2, x="number")
    classes = classify(range(100), "x", "jenks", k=4)
    plain = valid(style_of_classes(classes, on, title="t"))
    turned = valid(style_of_classes(classes, on, title="t", reverse=True))
    other = valid(style_of_classes(classes, on, title="t", ramp="YlOrBr"))
    low, high = (colour_of(plain, on, x=value) for value in (0, 99))
    assert (colour_of(turned, on, x=99), colour_of(turned, on, x=0)) == (low, high)
    assert colour_of(other, on, x=0) not in (low, high)
    empty = classify([None], "x")
    assert valid(style_of_classes(empty, on, title="t")).document()["stylingRules"][0]["name"] == "no data"


def test_hostile_names_and_values_stay_data() -> None:
    nasty = ["</script><script>alert(1)</script>", "');alert(1)//", '"', "${x}", "a\nb"]
    on = layer(2, **{"type<script>": "text"})
    style = valid(default_style(on, reader(**{"type<script>": nasty * 4}), title="<b>"))
    assert by(style) == "type<script>"
    assert len({colour_of(style, on, **{"type<script>": value}) for value in nasty}) == 5


def kinds_of(frame: gpd.GeoDataFrame) -> dict[str, Any]:
    names = {"i": "number", "u": "number", "f": "number", "b": "boolean", "M": "time"}
    return {str(name): names.get(kind.kind, "text") for name, kind in frame.dtypes.items() if name != "geometry"}


REAL = {
    "naturalearth_lowres/naturalearth_lowres.shp": (2, "continent"),
    "naturalearth_cities/naturalearth_cities.shp": (0, None),
    "natural_earth/ne_110m_admin_0_countries.json": (2, "CONTINENT"),
    "natural_earth/ne_110m_populated_places_simple.json": (0, "pop_max"),
    "natural_earth/ne_110m_rivers_lake_centerlines.json": (1, None),
    "natural_earth/ne_10m_parks_and_protected_lands_line.json": (1, "nps_region"),
}


@real
@pytest.mark.parametrize("name", REAL)
def test_real_layers_get_a_style_that_a_person_would_try(name: str) -> None:
    frame = gpd.read_file(DATA / "vector" / name)
    dimensions, wanted = REAL[name]
    on = layer(dimensions, **kinds_of(frame))
    style = valid(default_style(on, lambda column: frame[column], title=name))
    assert by(style) == wanted
    assert legend_of(style, on).findings() == ()


# -- in the platform ---------------------------------------------------------------------------------------------------


@pytest.fixture
def platform(home: Path) -> Platform:
    return geoetl.connect(home)


@pytest.fixture
def shelf(platform: Platform, home: Path) -> Shelf:
    return Shelf(platform, home / "shelf")


def test_a_vector_item_gets_its_style_once_and_keeps_what_people_make_of_it(shelf: Shelf) -> None:
    platform = shelf.platform
    item = shelf.features("states", gpd.read_file(sample_path("us_states.geojson")))
    registered = Registered(collection=COLLECTION, items=(item,))
    platform.style(registered)
    made = platform.styles.default(f"{COLLECTION}:states")
    assert made is not None
    assert by(valid(made.style)) == "bea_region"
    mine = single_style(layer(2), title="Mine")
    platform.styles.put(f"{COLLECTION}:states", made.id, mine)
    platform.style(registered)
    kept = platform.styles.default(f"{COLLECTION}:states")
    assert kept is not None
    assert kept.style == mine


def test_features_of_any_columns_get_a_style(shelf: Shelf) -> None:
    frame = gpd.GeoDataFrame(
        {
            "when": pd.to_datetime(["2020-01-01", None, "2021-01-01", "2022-01-01"]),
            "bytes_type": [b"a", b"b", b"a", b"b"],
            "list_type": [[1], [2], None, [3]],
            "dict_type": [{"a": 1}, {"a": 2}, None, {"a": 3}],
            "empty_type": [None] * 4,
        },
        geometry=[shapely.Point(number, number) for number in range(4)],
        crs=4326,
    )
    item = shelf.features("odd", frame)
    shelf.platform.style(Registered(collection=COLLECTION, items=(item,)))
    made = shelf.platform.styles.default(f"{COLLECTION}:odd")
    assert made is not None
    assert by(valid(made.style)) is None
