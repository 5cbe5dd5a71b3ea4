"""The colour maps of renders: as the render extension, titiler and geoetl write them, to the pixel."""

import io
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from geoetl.access.colouring import Discrete, Intervals, Stops, Table, colouring_of, opacity_of
from geoetl.access.picture import Picture
from geoetl.access.renders import render_of
from geoetl.access.result import ValueRange
from geoetl.access.tiles import TileQuestion, TileSource
from tests.access.conftest import COLLECTION, Shelf
from tests.access.cubes import one_degree
from tests.access.test_tiles import noisy

STOPS = [[0, [0, 0, 0, 255]], [100, [200, 100, 0, 255]], [100, [0, 0, 255, 255]], [254, [0, 0, 255, 51]]]
STYLED = {"assets": ["data"], "rescale": [[0, 254]], "geoetl:style": {"stops": STOPS}}
WHOLE = (-180, -90, 180, 90)


def rgba(picture: Picture) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(picture.content)).convert("RGBA"))


def of(render: dict[str, Any], *values: float) -> list[list[int]]:
    colouring = colouring_of(render)
    assert colouring is not None
    return colouring.colours(np.array(values)).tolist()  # type: ignore[no-any-return]


def test_colours_run_on_between_stops_and_stay_beyond_the_ends() -> None:
    assert of(STYLED, -5, 0, 50, 99.999, 254, 1e9) == [
        [0, 0, 0, 255], [0, 0, 0, 255], [100, 50, 0, 255], [200, 100, 0, 255], [0, 0, 255, 51], [0, 0, 255, 51],
    ]  # fmt: skip


def test_two_stops_at_one_value_are_a_step_that_the_value_is_beyond() -> None:
    assert of(STYLED, math.nextafter(100, 0), 100) == [[200, 100, 0, 255], [0, 0, 255, 255]]
    at_the_ends = {"geoetl:style": {"stops": [[1, [1, 1, 1]], [1, [2, 2, 2]], [3, [3, 3, 3]], [3, [4, 4, 4]]]}}
    assert [colour[0] for colour in of(at_the_ends, 0.5, 1, 3, 4)] == [1, 2, 4, 4]


def test_one_stop_is_one_colour_for_everything() -> None:
    assert of({"geoetl:style": {"stops": [[7, [1, 2, 3]]]}}, -9, 7, 9) == [[1, 2, 3, 255]] * 3


def test_nothing_that_is_no_number_has_a_colour() -> None:
    table = {"rescale": [[0, 1]], "colormap": {str(number): [number, 0, 0] for number in range(256)}}
    for render in (STYLED, table, {"colormap": {"0": "#ff0000"}}, {"colormap": [[[-1, 1], [1, 2, 3]]]}):
        assert [colour[3] for colour in of(render, math.nan, math.inf, -math.inf)] == [0, 0, 0]


def test_numbers_without_a_range_are_the_values_themselves() -> None:
    render = {"colormap": {"1": "#ff0000", "20": [0, 255, 0], "3": "#0000ff80"}}
    assert isinstance(colouring_of(render), Discrete)
    assert of(render, 1, 3, 20, 2, 1.5) == [[255, 0, 0, 255], [0, 0, 255, 128], [0, 255, 0, 255], [0] * 4, [0] * 4]


def test_numbers_with_a_range_are_a_table_that_the_range_is_brought_to() -> None:
    render = {"rescale": [[10, 20]], "colormap": {str(number): [number, 0, 0, 255] for number in range(200)}}
    assert isinstance(colouring_of(render), Table)
    assert of(render, 5, 10, 15, 20) == [[0, 0, 0, 255], [0, 0, 0, 255], [128, 0, 0, 255], [0, 0, 0, 0]]


def test_intervals_hold_their_lower_end() -> None:
    render = {"colormap": [[[0, 10], [1, 1, 1, 255]], [[10, 20], "#020202"]]}
    assert isinstance(colouring_of(render), Intervals)
    assert [colour[0] for colour in of(render, 0, 9.99, 10, 20)] == [1, 1, 2, 0]


MALFORMED: list[Any] = [
    {"colormap": "viridis"},
    {"colormap": {}},
    {"colormap": {"x": [1, 2, 3]}},
    {"colormap": {"1": "red"}},
    {"colormap": {"1": [1, 2]}},
    {"colormap": {"1": [1, 2, 300]}},
    {"colormap": {"1": [1, 2, "</script>"]}},
    {"colormap": [[1, 2]]},
    {"colormap": [[[0, 1], None]]},
    {"colormap": {str(number): [0, 0, 0] for number in range(5000)}},
    {"geoetl:style": {"stops": [[2, [0, 0, 0]], [1, [0, 0, 0]]]}},
    {"geoetl:style": {"stops": [[math.nan, [0, 0, 0]]]}},
    {"geoetl:style": {"stops": [[1]]}},
    {"geoetl:style": "stops"},
    {},
]


@pytest.mark.parametrize("render", MALFORMED, ids=str)
def test_a_malformed_colour_map_counts_as_left_out(render: dict[str, Any]) -> None:
    assert colouring_of(render) is None
    assert opacity_of(render) == 1


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
def test_tiles_and_pictures_of_a_raster_have_its_own_colours(shelf: Shelf, format: str) -> None:
    values = np.tile(np.arange(0, 256, dtype="uint8"), (128, 1))
    item = shelf.raster("styled", values, WHOLE, nodata=255, properties={"renders": {"default": STYLED}})
    question = TileQuestion(TileSource.RASTER, COLLECTION, item)
    tile = shelf.platform.tiles.tile(question, 0, 0, 0, format=format)
    assert (tile.colormap, tile.rescale) == (None, ((0, 254),))
    if format == "jpeg":
        return
    preview = shelf.platform.raster.preview(COLLECTION, item, max_size=256)
    wanted = np.array(of(STYLED, *range(255)), int)
    for picture in (tile, preview):
        row = rgba(picture)[128].astype(int)
        assert row[-1, 3] == 0, "no data"
        if format == "png":
            np.testing.assert_array_equal(row[:255], wanted)
    drawn = shelf.platform.tiles.raster_info(question)
    assert (drawn.colormap, drawn.rescale) == (None, ((0, 254),))
    assert preview.legend is not None
    assert [stop.color for stop in preview.legend.stops][:1] == ["#000000"]


def test_tiles_of_a_cube_have_its_own_colours(shelf: Shelf) -> None:
    field = noisy(*one_degree())
    render = {"assets": ["data"], "variable": "tas", "geoetl:style": {"stops": STOPS}}
    item = shelf.cube("styled", field, properties={"renders": {"default": render}})
    question = TileQuestion(TileSource.CUBE, COLLECTION, item)
    plain = shelf.platform.tiles.tile(question, 1, 0, 0, rescale=[0, 254], colormap="gray")
    styled = shelf.platform.tiles.tile(question, 1, 0, 0)
    values = np.asarray(Image.open(io.BytesIO(plain.content)))
    np.testing.assert_array_equal(rgba(styled).reshape(-1, 4), of(STYLED, *values.ravel()))
    info = shelf.platform.tiles.cube_info(question)
    assert (info.colormap, info.rescale) == (None, ValueRange(0, 254))


def test_a_colour_map_or_range_that_is_asked_for_wins(shelf: Shelf) -> None:
    values = np.tile(np.arange(0, 256, dtype="uint8"), (128, 1))
    item = shelf.raster("styled", values, WHOLE, properties={"renders": {"default": STYLED}})
    raster = shelf.platform.raster
    assert raster.preview(COLLECTION, item, colormap="magma").colormap == "magma"
    stretched = raster.preview(COLLECTION, item, max_size=256, rescale=[0, 127])
    assert stretched.rescale == ((0, 127),)
    row = rgba(stretched)[64]
    assert row[127].tolist() == row[200].tolist() == [0, 0, 255, 51]
    assert raster.preview(COLLECTION, item, max_size=256, rescale="auto").rescale != ((0, 254),)
    bands = raster.preview(COLLECTION, item, expression="b1 * 2")
    assert bands.colormap == "viridis", "the colours are those of the values, not of what is made of them"


def test_a_named_render_has_its_own_colours(shelf: Shelf) -> None:
    values = np.tile(np.arange(0, 256, dtype="uint8"), (128, 1))
    classes = {"assets": ["data"], "colormap": {"7": "#ff0000"}}
    item = shelf.raster("two", values, WHOLE, properties={"renders": {"default": STYLED, "classes": classes}})
    tile = shelf.platform.tiles.tile(TileQuestion(TileSource.RASTER, COLLECTION, item, render="classes"), 0, 0, 0)
    row = rgba(tile)[128]
    assert row[7].tolist() == [255, 0, 0, 255]
    assert not row[8:, 3].any()
    assert tile.legend is not None
    assert [(stop.label, stop.color) for stop in tile.legend.stops] == [("7", "#ff0000")]
    found = render_of(shelf.platform.catalog.item(COLLECTION, item), "classes")
    assert isinstance(found.colouring, Discrete)


def test_bands_and_expressions_of_the_default_render_are_what_is_shown(shelf: Shelf) -> None:
    bands = np.stack([np.full((4, 8), value, "uint8") for value in (10, 20, 40)])
    ratio = {
        "assets": ["data"],
        "expression": "(b3 / b2)",
        "geoetl:style": {"stops": [[1, [9, 9, 9]], [3, [29, 9, 9]]]},
    }
    item = shelf.raster("ratio", bands, WHOLE, properties={"renders": {"default": ratio}})
    assert rgba(shelf.platform.raster.preview(COLLECTION, item))[2, 2].tolist() == [19, 9, 9, 255]
    order = {"assets": ["data"], "bidx": [3, 1, 2], "rescale": [[0, 255]] * 3, "geoetl:style": {"opacity": 0.5}}
    item = shelf.raster("order", bands, WHOLE, properties={"renders": {"default": order}})
    assert rgba(shelf.platform.raster.preview(COLLECTION, item))[2, 2].tolist() == [40, 10, 20, 128]
    third = {"assets": ["data"], "bidx": [3], "geoetl:style": {"stops": [[0, [0, 0, 0]], [40, [80, 0, 0]]]}}
    item = shelf.raster("third", bands, WHOLE, properties={"renders": {"default": third}})
    assert rgba(shelf.platform.raster.preview(COLLECTION, item))[2, 2].tolist() == [80, 0, 0, 255]


def test_legends_say_what_stops_and_steps_mean() -> None:
    def entries(render: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
        colouring = colouring_of(render)
        assert colouring is not None
        legend = colouring.legend("K")
        return legend.kind, [(stop.label, stop.color) for stop in legend.stops]

    steps = [[0, [1, 1, 1]], [10, [1, 1, 1]], [10, [2, 2, 2]], [20, [2, 2, 2]]]
    assert entries({"geoetl:style": {"stops": steps}}) == ("classes", [("0 – 10", "#010101"), ("10 – 20", "#020202")])
    named = [[0.5, [1, 1, 1], "sea"], [10, [2, 2, 2]]]
    assert entries({"geoetl:style": {"stops": named}}) == ("ramp", [("sea", "#010101"), ("10", "#020202")])
    classes = [[1, [1, 1, 1], "wood"], [2, [2, 2, 2]], [3, [3, 3, 3], "water"]]
    assert entries({"geoetl:style": {"stops": classes}}) == ("classes", [("wood", "#010101"), ("water", "#030303")])
    kind, labels = entries(STYLED)
    assert (kind, labels[0], labels[-1]) == ("ramp", ("0", "#000000"), ("254", "#0000ff"))
    assert entries({"colormap": [[[0, 10], [1, 1, 1]]]}) == ("classes", [("0 – 10", "#010101")])


def test_a_stop_of_hostile_numbers_is_no_crash() -> None:
    stops = {"geoetl:style": {"stops": [[-1e308, [0, 0, 0]], [1e308, [200, 0, 0]]]}}
    assert of(stops, -1e308, 1e308) == [[0, 0, 0, 255], [200, 0, 0, 255]]
    assert isinstance(colouring_of(stops), Stops)
