"""A style of a coverage becomes the render of its items, and their tiles have its very colours."""

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import rasterio
from PIL import Image

import geoetl
from geoetl.access.colouring import colouring_of
from geoetl.access.tiles import TileQuestion, TileSource
from geoetl.platform import Platform, Registered
from geoetl.styles.coverage import (
    OWN_FIELD,
    UNSTYLED,
    colours,
    coverage_symbol,
    fits,
    render_of,
    style_of_render,
    styled_item,
)
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from tests.access.conftest import COG, COLLECTION, Shelf
from tests.access.cubes import one_degree
from tests.access.test_tiles import noisy

DATA = Path(__file__).parents[3] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="The folder of real files is not beside the checkout.")
WHOLE = (-180, -90, 180, 90)
IS_COVERAGE = {"op": "=", "args": [{"sysId": "dataLayer.type"}, "coverage"]}
RAMP = [[0, [0, 0, 0]], [100, [200, 100, 0]], [100, [0, 0, 255]], [254, [0, 100, 255]]]


@pytest.fixture
def platform(home: Path) -> Platform:
    return geoetl.connect(home)


@pytest.fixture
def shelf(platform: Platform, home: Path) -> Shelf:
    return Shelf(platform, home / "shelf")


def style(**symbolizer: Any) -> Style:
    return Style.of(
        {"metadata": {"title": "Mine"}, "stylingRules": [{"selector": IS_COVERAGE, "symbolizer": symbolizer}]}
    )


def coverage(*names: str) -> StyledLayer:
    return StyledLayer(COLLECTION, "coverage", None, dict.fromkeys(names, "number"))


def item(*names: str, data_type: str = "float32", **properties: Any) -> dict[str, Any]:
    bands = [{"name": name, "data_type": data_type} for name in names]
    return {
        "id": "x",
        "properties": {"datetime": "2020-01-01T00:00:00Z", **properties},
        "assets": {"data": {"href": "x.tif", "roles": ["data"], "bands": bands}},
        "stac_extensions": [],
    }


def drawn(given: Style, *names: str, **asked: Any) -> dict[str, Any]:
    found = render_of(coverage_symbol(given, coverage(*names)), item(*names, **asked), given.title)
    assert found is not None
    return found


def colour_of(given: Style, *values: float) -> list[list[int]]:
    return colours(coverage_symbol(given, coverage("b1")), np.array(values)).tolist()  # type: ignore[no-any-return]


def rgba(content: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))


# -- what a style means ------------------------------------------------------------------------------------------------


def test_colours_run_on_between_stops_stay_beyond_and_step_where_two_stops_meet() -> None:
    found = colour_of(style(colorMap=RAMP), -9, 50, 99.99999, 100, 254, 999, np.nan, np.inf)
    assert found == [
        [0, 0, 0, 255], [100, 50, 0, 255], [200, 100, 0, 255], [0, 0, 255, 255], [0, 100, 255, 255], [0, 100, 255, 255],
        [0] * 4, [0] * 4,
    ]  # fmt: skip


def test_opacity_and_an_opacity_map_go_into_the_alpha_of_stops() -> None:
    mapped = style(colorMap=RAMP, opacity=0.5, opacityMap=[[50, 0.0], [150, 1.0]])
    assert [colour[3] for colour in colour_of(mapped, 0, 50, 100, 150, 254)] == [0, 0, 64, 128, 128]
    assert colour_of(mapped, 50)[0][:3] == [100, 50, 0]


def test_a_channel_without_colours_is_grey_from_nought_to_one() -> None:
    grey = style(singleChannel={"property": "b1"})
    assert colour_of(grey, 0, 0.5, 1) == [[0, 0, 0, 255], [128, 128, 128, 255], [255, 255, 255, 255]]


@pytest.mark.parametrize(
    ("symbolizer", "reason"),
    [
        ({"colorMap": RAMP, "hillShading": {"factor": 2}}, "hillShading"),
        ({"colorMap": RAMP, "alphaChannel": 0.5}, "alphaChannel"),
        (
            {"colorChannels": [{"property": "b1"}, {"property": "b2"}, {"op": "-", "args": [1, {"property": "b3"}]}]},
            "range",
        ),
    ],
)
def test_what_is_not_drawn_is_a_loss(symbolizer: dict[str, Any], reason: str) -> None:
    symbol = coverage_symbol(style(**symbolizer), coverage("b1", "b2", "b3"))
    assert any(reason in loss.reason for loss in symbol.losses), symbol.losses


def test_a_rule_for_some_values_never_matches_and_is_a_loss() -> None:
    rules = [
        {"symbolizer": {"colorMap": RAMP}},
        {"selector": {"op": ">", "args": [{"property": "b1"}, 5]}, "symbolizer": {"colorMap": [[0, "red"]]}},
    ]
    symbol = coverage_symbol(Style.of({"stylingRules": rules}), coverage("b1"))
    assert symbol.stops[0][1] == (0, 0, 0, 255)
    assert any(loss.pointer.startswith("/stylingRules/1") for loss in symbol.losses)


@real
def test_the_official_example_of_a_coverage_is_drawn_where_it_is_visible() -> None:
    given = Style.of((DATA / "cartosym" / "examples" / "8-coverage-hillshading.cs.json").read_text("utf-8"))
    layer = StyledLayer("Elevation", "coverage", None, {"elevation": "number"})
    symbol = coverage_symbol(given, layer)
    assert symbol.visible
    assert colours(symbol, np.array([0.0, 900.0]))[:, :3].tolist() == [[96, 136, 73], [226, 219, 167]]
    assert symbol.stops[0][1][3] == pytest.approx(0.8 * 255)
    assert any("hillShading" in loss.reason for loss in symbol.losses)
    assert any("every scale" in loss.reason for loss in symbol.losses)
    assert not coverage_symbol(given, layer, 1e6).visible
    assert coverage_symbol(given, StyledLayer("Other", "coverage", None, {"elevation": "number"})).stops == ()


# -- renders -----------------------------------------------------------------------------------------------------------


def render_schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((DATA / "stac" / "schemas" / "render.schema.json").read_text("utf-8"))
    fields = schema["definitions"]["fields"]
    return {"definitions": schema["definitions"], **fields}


STYLES: dict[str, dict[str, Any]] = {
    "ramp": {"singleChannel": {"property": "b2"}, "colorMap": RAMP},
    "steps": {"colorMap": [[0, "red"], [1, "red"], [1, "blue"], [5, "blue"]]},
    "classes": {"colorMap": [[1, "red", "wood"], [2, "blue", "water"], [9, "green", "meadow"]]},
    "one stop": {"colorMap": [[7, "red"]]},
    "see-through": {"colorMap": RAMP, "opacityMap": [[0, 0], [254, 1]]},
    "hidden": {"visibility": False},
    "composite": {"colorChannels": [{"op": "/", "args": [{"property": name}, 255]} for name in ("b3", "b1", "b2")]},
    "index": {
        "singleChannel": {
            "op": "/",
            "args": [
                {"op": "-", "args": [{"property": "b2"}, {"property": "b1"}]},
                {"op": "+", "args": [{"property": "b2"}, {"property": "b1"}]},
            ],
        },
        "colorMap": [[-1, "red"], [1, "green"]],
    },
}


@real
@pytest.mark.parametrize("name", STYLES)
def test_every_render_fits_the_extension(name: str) -> None:
    found = drawn(style(**STYLES[name]), "b1", "b2", "b3")
    jsonschema.validate(found, render_schema())
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("name", ["ramp", "steps", "see-through", "one stop", "index"])
def test_the_reader_of_tiles_gives_a_render_the_colours_of_its_style(name: str) -> None:
    given = style(**STYLES[name])
    symbol = coverage_symbol(given, coverage("b1", "b2"))
    own = colouring_of(drawn(given, "b1", "b2"))
    assert own is not None
    values = np.concatenate([np.linspace(-3, 260, 3000), [value for value, *_ in symbol.stops], [np.nan, np.inf]])
    np.testing.assert_array_equal(own.colours(values), colours(symbol, values))
    # Other clients have the table, which is as near as 256 colours are.
    plain = colouring_of({key: value for key, value in drawn(given, "b1", "b2").items() if key != OWN_FIELD})
    assert plain is not None
    low, high = symbol.stops[0][0], symbol.stops[-1][0]
    inside = np.linspace(low, high, 256) if low < high else np.array([low])
    np.testing.assert_array_equal(plain.colours(inside), colours(symbol, inside))


def test_classes_of_whole_numbers_are_a_colour_map_of_the_values_themselves() -> None:
    found = drawn(style(**STYLES["classes"]), "b1", data_type="uint8")
    assert "rescale" not in found
    assert (found["colormap"]["1"], found["colormap"]["9"]) == ([255, 0, 0, 255], [0, 128, 0, 255])
    assert "rescale" in drawn(style(**STYLES["classes"]), "b1", data_type="float32")


def test_channels_and_arithmetic_name_the_bands() -> None:
    composite = drawn(style(**STYLES["composite"]), "b1", "b2", "b3")
    assert (composite["bidx"], composite["rescale"]) == ([3, 1, 2], [[0, 255]] * 3)
    assert drawn(style(**STYLES["index"]), "b1", "b2", "b3")["expression"] == "((b2 - b1) / (b2 + b1))"
    assert drawn(style(**STYLES["ramp"]), "b1", "b2")["bidx"] == [2]
    stretched = {"op": "/", "args": [{"op": "-", "args": [{"property": "red"}, 10]}, 40]}
    assert drawn(style(colorChannels=[stretched] * 3), "red")["rescale"] == [[10, 50]] * 3


def test_an_item_without_the_channel_is_left_as_it_is() -> None:
    given = style(**STYLES["ramp"])
    assert render_of(coverage_symbol(given, coverage("b1")), item("b1")) is None
    assert styled_item(item("b1", renders={"default": {"assets": ["data"]}}), given, coverage("b1", "b2")) is None


def test_an_item_gets_a_style_and_loses_it_again() -> None:
    plain = {"assets": ["data"], "rescale": [[0, 9]], "colormap_name": "viridis"}
    before = item("b1", renders={"default": plain, "other": {"assets": ["data"], "title": "Other"}})
    layer = coverage("b1")
    first = styled_item(before, style(colorMap=RAMP), layer)
    assert first is not None
    assert first["properties"]["renders"][UNSTYLED] == plain
    assert styled_item(first, style(colorMap=RAMP), layer) is None, "nothing changes twice"
    second = styled_item(first, style(colorMap=[[0, "red"], [9, "blue"]]), layer)
    assert second is not None
    assert second["properties"]["renders"][UNSTYLED] == plain
    after = styled_item(second, None, layer)
    assert after is not None
    assert after["properties"] == before["properties"]
    bare = styled_item(item("b1"), style(colorMap=RAMP), layer)
    assert bare is not None
    assert styled_item(bare, None, layer)["properties"] == item("b1")["properties"]  # type: ignore[index]


def test_a_style_made_of_other_data_suits_what_has_about_their_values() -> None:
    given = style(singleChannel={"property": "b1"}, colorMap=[[200, "black"], [1800, "white"]])

    def of(low: float, high: float) -> dict[str, Any]:
        return item("b1", renders={"default": {"assets": ["data"], "rescale": [[low, high]]}})

    assert fits(given, of(300, 2000), coverage("b1"))
    assert not fits(given, of(0, 1), coverage("b1"))
    assert not fits(given, of(1e5, 2e5), coverage("b1"))
    assert not fits(given, item("b1", renders={"default": {"assets": ["data"], "title": "Classes"}}), coverage("b1"))


# -- from renders ------------------------------------------------------------------------------------------------------

RENDERS: dict[str, dict[str, Any]] = {
    "name": {"rescale": [[230.13, 310.77]], "colormap_name": "rdylbu_r"},
    "table": {
        "rescale": [[0, 510]],
        "colormap": {str(number): [number, 0, 255 - number, 255] for number in range(256)},
    },
    "see-through table": {"rescale": [[0, 1]], "colormap": {str(number): [1, 2, 3, number] for number in range(256)}},
    "stops": {OWN_FIELD: {"stops": [[0, [1, 2, 3, 255], "low"], [9, [3, 2, 1, 51]]]}},
    "composite": {"rescale": [[0, 255], [10, 30], [0, 1]]},
}


@pytest.mark.parametrize("name", RENDERS)
def test_a_render_becomes_a_style_and_the_style_that_render(name: str) -> None:
    names = ("red", "green", "blue") if name == "composite" else ("b1",)
    made = style_of_render(RENDERS[name], names, title="As it is")
    assert made is not None
    found = render_of(coverage_symbol(made, coverage(*names)), item(*names))
    assert found is not None
    if name == "composite":
        assert found["rescale"] == RENDERS[name]["rescale"]
        return
    own, source = colouring_of(found), colouring_of(RENDERS[name])
    assert own is not None
    if source is not None and source.limits is not None:
        values = np.linspace(*source.limits, 256)
        assert np.abs(own.colours(values).astype(int) - source.colours(values)).max() <= 1


def test_stops_of_a_named_colour_map_stand_at_readable_values() -> None:
    made = style_of_render(RENDERS["name"], ["tas"], title="t")
    assert made is not None
    values = [value for value, *_ in coverage_symbol(made, coverage("tas")).stops]
    assert len(values) == 21
    assert all(len(str(value)) <= 7 for value in values), values
    assert (values[0], values[-1]) == (230.13, 310.77)


@pytest.mark.parametrize(
    "render", [{}, {"rescale": [[1, 1]]}, {"rescale": [[0, 1], [0, 1]]}, {"colormap_name": "viridis"}], ids=str
)
def test_a_render_that_does_not_say_how_makes_no_style(render: dict[str, Any]) -> None:
    assert style_of_render(render, ["b1"], title="t") is None


# -- in the platform ---------------------------------------------------------------------------------------------------


def test_tiles_of_rasters_have_the_colours_of_the_default_style_at_once(shelf: Shelf) -> None:
    platform = shelf.platform
    values = np.tile(np.arange(256, dtype="uint8"), (128, 1))
    plain = {"assets": ["data"], "rescale": [[0, 254]], "colormap_name": "viridis"}
    found = shelf.raster(
        "x", values, WHOLE, properties={"renders": {"default": plain}}, asset={"bands": [{"name": "b1"}]}
    )
    question = TileQuestion(TileSource.RASTER, COLLECTION, found)
    before = platform.tiles.tile(question, 0, 0, 0)
    platform.styles.put(COLLECTION, "mine", style(colorMap=RAMP))
    after = rgba(platform.tiles.tile(question, 0, 0, 0).content)
    np.testing.assert_array_equal(after[128], colour_of(style(colorMap=RAMP), *range(256)))
    preview = platform.raster.preview(COLLECTION, found, max_size=256)
    np.testing.assert_array_equal(rgba(preview.content)[128], after[128])
    platform.styles.put(COLLECTION, "mine", style(colorMap=[[0, "red"], [255, "red"]]))
    assert rgba(platform.tiles.tile(question, 0, 0, 0).content)[128, 9].tolist() == [255, 0, 0, 255]
    platform.styles.set_default(COLLECTION, None)
    assert platform.tiles.tile(question, 0, 0, 0).content == before.content


def test_tiles_of_cubes_have_the_colours_of_the_default_style(shelf: Shelf) -> None:
    field = noisy(*one_degree())
    variables = {"tas": {"type": "data", "dimensions": ["time", "lat", "lon"], "unit": "K"}}
    found = shelf.cube("x", field, properties={"cube:variables": variables, "cube:dimensions": {}})
    given = style(singleChannel={"property": "tas"}, colorMap=RAMP)
    question = TileQuestion(TileSource.CUBE, COLLECTION, found)
    plain = shelf.platform.tiles.tile(question, 1, 0, 0, rescale=[0, 254], colormap="gray")
    shelf.platform.styles.put(COLLECTION, "mine", given)
    values = np.asarray(Image.open(io.BytesIO(plain.content))).ravel()
    tile = rgba(shelf.platform.tiles.tile(question, 1, 0, 0).content).reshape(-1, 4)
    np.testing.assert_array_equal(tile, colours(coverage_symbol(given, coverage("tas")), values.astype(float)))


def test_new_rasters_of_a_collection_are_drawn_by_its_style(shelf: Shelf) -> None:
    platform = shelf.platform
    bands = {"bands": [{"name": "b1", "data_type": "float32"}]}

    def add(name: str, low: float, high: float) -> dict[str, Any]:
        values = np.linspace(low, high, 64 * 32, dtype="float32").reshape(32, 64)
        render = {"assets": ["data"], "title": "Values", "rescale": [[low, high]], "colormap_name": "viridis"}
        shelf.raster(name, values, WHOLE, properties={"renders": {"default": render}}, asset=bands)
        platform.style(Registered(collection=COLLECTION, items=(name,)))
        return dict(platform.catalog.item(COLLECTION, name)["properties"]["renders"])

    first = add("first", 0, 1000)
    assert OWN_FIELD in first["default"]
    made = platform.styles.default(COLLECTION)
    assert made is not None
    assert OWN_FIELD in add("alike", 50, 1100)["default"]
    assert OWN_FIELD not in add("another", 0, 1)["default"], "a style that nobody chose is not forced on other data"
    mine = style(singleChannel={"property": "b1"}, colorMap=[[0, "red"], [1000, "blue"]])
    platform.styles.put(COLLECTION, made.id, mine, author="ada")
    assert add("later", 0, 1)["default"][OWN_FIELD]["stops"][0][1] == [255, 0, 0, 255]
    kept = platform.styles.default(COLLECTION)
    assert kept is not None
    assert kept.style == mine, "a style is never written over"


def test_the_default_style_of_classes_has_the_colours_and_names_of_the_file(shelf: Shelf) -> None:
    values = np.array([[1, 2, 2, 7]] * 4, "uint8")
    table = {0: (0, 0, 0, 0), 1: (0, 100, 0, 255), 2: (0, 0, 200, 255), 7: (200, 0, 0, 255), 9: (9, 9, 9, 255)}
    classes = [{"value": 1, "title": "wood"}, {"value": 2, "name": "water"}]
    asset = {"bands": [{"name": "b1", "data_type": "uint8", "classification:classes": classes}]}
    found = shelf.raster("x", values, WHOLE, colours=table, asset=asset)
    before = rgba(shelf.platform.raster.preview(COLLECTION, found).content)
    shelf.platform.style(Registered(collection=COLLECTION, items=(found,)))
    after = shelf.platform.raster.preview(COLLECTION, found)
    np.testing.assert_array_equal(rgba(after.content), before)
    made = shelf.platform.styles.default(COLLECTION)
    assert made is not None
    names = [name for *_, name in coverage_symbol(made.style, coverage("b1")).stops if name]
    assert names == ["wood", "water", "7"]


@real
@pytest.mark.parametrize("name", ["rmnp-dem.tif", "landsat_rgb.tif", "image_colormap.tif", "cog_scale.tif"])
def test_a_real_raster_looks_the_same_with_its_default_style(shelf: Shelf, name: str) -> None:
    path = DATA / "raster" / name
    with rasterio.open(path) as source:
        bands = [{"name": f"b{index}", "data_type": source.dtypes[index - 1]} for index in source.indexes]
    asset = {"href": str(path), "type": COG, "roles": ["data"], "bands": bands}
    item_id = name.removesuffix(".tif")
    shelf.register(item_id, {"data": asset})
    platform = geoetl.connect(shelf.platform.settings.home, allowed_roots=[str(path.parent)])
    before = platform.raster.preview(COLLECTION, item_id)
    platform.style(Registered(collection=COLLECTION, items=(item_id,)))
    after = platform.raster.preview(COLLECTION, item_id)
    apart = np.abs(rgba(before.content).astype(int) - rgba(after.content))
    # The stops are near the 256 colours of the map that they stand for.
    assert apart.max() <= 6, name
