"""Arithmetic on bands: what it gives, and that it is nothing else than arithmetic."""

from typing import Any

import numpy as np
import pytest
from rio_tiler.io import Reader

from geoetl.access import Picture, RasterWindow
from geoetl.access.bands import BandInfo
from geoetl.access.expression import MAX_LENGTH, parse_expression
from geoetl.core.errors import InvalidParameter
from geoetl.core.spatial import BBox, Point
from tests.access.conftest import COLLECTION, Shelf, colours
from tests.access.cubes import one_degree, regular_cube

OFFERED = [
    BandInfo(index=1, name="red", units=None),
    BandInfo(index=2, name="nir", units=None),
    BandInfo(index=4, name="B 04", units=None),
]
RED, NIR, THIRD = np.array([1.0, 4.0, np.nan, 0.0]), np.array([3.0, 4.0, 5.0, 0.0]), np.array([-1.0, 2.0, 9.0, 16.0])
NAN = np.nan


def worked_out(text: str) -> list[list[float]]:
    results = parse_expression(text, OFFERED).evaluate({1: RED, 2: NIR, 4: THIRD})
    return [row.tolist() for row in results]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(nir-red)/(nir+red)", [0.5, 0.0, NAN, NAN]),
        ("(b2 - b1) / (b2 + b1)", [0.5, 0.0, NAN, NAN]),
        ("-red + +nir * 2 ** 3", [23.0, 28.0, NAN, 0.0]),
        ("red / nir", [1 / 3, 1.0, NAN, NAN]),
        ("sqrt(b4)", [NAN, 2**0.5, 3.0, 4.0]),
        ("log(nir)", [np.log(3), np.log(4), np.log(5), NAN]),
        ("log10(nir * 10 ** 400)", None),
        ("max(red, nir, 2)", [3.0, 4.0, NAN, 2.0]),
        ("min(red, nir)", [1.0, 4.0, NAN, 0.0]),
        ("abs(b4)", [1.0, 2.0, 9.0, 16.0]),
        ("where(b4 > 2, nir, 0 - 1)", [-1.0, -1.0, 5.0, 0.0]),
        ("red >= 1", [1.0, 1.0, NAN, 0.0]),
        ("where(red > 0, 1, 0)", [1.0, 1.0, NAN, 0.0]),
        ("red == nir", [0.0, 1.0, NAN, 1.0]),
        ("red * 9 ** 9 ** 9", [NAN, NAN, NAN, NAN]),
    ],
)
def test_it_is_arithmetic_and_no_data_stays_no_data(text: str, expected: list[float] | None) -> None:
    results = worked_out(text)
    assert len(results) == 1
    if expected is None:
        expected = [NAN] * 4
    np.testing.assert_allclose(results[0], expected)


def test_several_results_are_separated_by_semicolons() -> None:
    expression = parse_expression("red; nir*2 ; b4;", OFFERED)
    assert expression.parts == ("red", "nir*2", "b4")
    assert expression.bands == (1, 2, 4)


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("", "is empty", "For example"),
        (";red", "is empty", "For example"),
        ("nri+1", "names 'nri', and there is no such band", "Did you mean 'nir'?"),
        ("b3", "names 'b3'", "by name red, nir, B 04"),
        ("1+1", "names no band", "There are: b1 to b3"),
        ("red +", "is no formula", "For example"),
        ("red\0", "is no formula", "For example"),
        ("(" * 300 + "red" + ")" * 190, "is no formula", "For example"),
        ("(" * 600, f"the limit is {MAX_LENGTH}", "shorter"),
        ("+".join(["red"] * 120), "more than 100 operations", "shorter"),
        ("-" * 400 + "red", "more than 100 operations", "shorter"),
        (";".join(["red"] * 17), "has 17 results; the limit is 16", "several turns"),
        ("red * " + "9" * 400, "no arithmetic on bands", "Use + - * /"),
        ("red * 1e999", "no arithmetic on bands", "Use + - * /"),
        ("red * 2j", "no arithmetic on bands", "Use + - * /"),
        ("red * True", "no arithmetic on bands", "Use + - * /"),
        ("red * 'a'", "no arithmetic on bands", "Use + - * /"),
        ("sqrt(red, nir)", "gives sqrt 2 values; it takes 1", None),
        ("max(red)", "gives max 1 values; it takes 2 or more", None),
        ("sin(red)", "calls 'sin', which is no function", "abs, exp, log, log10, max, min, sqrt, where"),
        ("sqrt(red, a=1)", "no arithmetic on bands", "Use + - * /"),
        ("max(*red, nir)", "no arithmetic on bands", "Use + - * /"),
        ("0 < red < 3", "no arithmetic on bands", "Use + - * /"),
        ("red if nir else 1", "no arithmetic on bands", "Use + - * /"),
        ("red and nir", "no arithmetic on bands", "Use + - * /"),
        ("[red for red in nir]", "no arithmetic on bands", "Use + - * /"),
        ("(lambda: red)()", "no arithmetic on bands", "Use + - * /"),
        ("red.__class__", "no arithmetic on bands", "Use + - * /"),
        ("red[0]", "no arithmetic on bands", "Use + - * /"),
        ("(red := 3)", "no arithmetic on bands", "Use + - * /"),
        ("__import__('os').system('id')", "no arithmetic on bands", "Use + - * /"),
        ("f'{red}'", "no arithmetic on bands", "Use + - * /"),
        ("red // nir", "no arithmetic on bands", "Use + - * /"),
        ("red @ nir", "no arithmetic on bands", "Use + - * /"),
        ("red << 99", "no arithmetic on bands", "Use + - * /"),
        ("import os", "is no formula", "For example"),
        ("red\nnir", "is no formula", "For example"),
    ],
)
def test_anything_else_is_refused_with_a_sentence(text: str, said: str, hint: str | None) -> None:
    with pytest.raises(InvalidParameter) as error:
        parse_expression(text, OFFERED)
    assert said in error.value.detail
    assert (hint or "") in (error.value.hint or "")
    assert error.value.field == "expression"


def four_bands(shelf: Shelf) -> str:
    y, x = np.mgrid[0:50, 0:60]
    bands = np.stack([x, y, x + y, np.full_like(x, 7)]).astype("float32")
    bands[3, 0, 0] = np.nan
    return shelf.raster("four", bands, (0, 0, 6, 5), nodata=np.nan)


def test_an_index_equals_that_of_rio_tiler(shelf: Shelf) -> None:
    item = four_bands(shelf)
    found = shelf.platform.raster.extract(
        COLLECTION, item, BBox(1, 1, 4, 4), expression="(b3-b4)/(b3+b4); b1*2", format="npy"
    )
    assert isinstance(found, RasterWindow)
    with Reader(str(shelf.folder / "four.tif")) as reader:
        theirs = reader.part((1, 1, 4, 4), expression="(b3-b4)/(b3+b4);b1*2")
    np.testing.assert_allclose(found.values, theirs.array.filled(np.nan), rtol=1e-6)
    assert found.variable == "(b3-b4)/(b3+b4); b1*2"
    assert [band.name for band in found.bands] == ["(b3-b4)/(b3+b4)", "b1*2"]


def test_three_results_make_a_composite_and_others_no_picture(shelf: Shelf) -> None:
    item = four_bands(shelf)
    options: dict[str, Any] = {"crs": "EPSG:4326", "max_size": 60, "rescale": [0, 255]}
    picture = shelf.platform.raster.preview(COLLECTION, item, expression="b1;b2;b4*10", **options)
    assert isinstance(picture, Picture)
    drawn = colours(picture)
    assert drawn[10, 20].tolist() == [20, 10, 70, 255]
    assert picture.rescale == ((0, 255),) * 3
    with pytest.raises(InvalidParameter, match="There are 2 bands"):
        shelf.platform.raster.preview(COLLECTION, item, expression="b1;b2")
    with pytest.raises(InvalidParameter, match="Both bands and expression"):
        shelf.platform.raster.preview(COLLECTION, item, expression="b1", bands=[1])


def test_points_and_steps_of_cubes_are_worked_out_too(shelf: Shelf) -> None:
    read = shelf.platform.raster.point(COLLECTION, four_bands(shelf), Point(2.05, 2.95), expression="b1 * 100 + b2; b4")
    assert read.values == (2020.0, 7.0)
    cube = shelf.cube("globe", regular_cube(*one_degree()))
    celsius = shelf.platform.raster.point(COLLECTION, cube, Point(10.5, 20.5), expression="tas - 273", time_index=2)
    kelvin = shelf.platform.raster.point(COLLECTION, cube, Point(10.5, 20.5), time_index=2)
    assert celsius.values[0] == pytest.approx((kelvin.values[0] or 0) - 273)
    assert (celsius.time, celsius.time_index) == ("2000-01-02T00:00:00", 2)
    with pytest.raises(InvalidParameter, match="names 'pr'"):
        shelf.platform.raster.point(COLLECTION, cube, Point(10.5, 20.5), expression="pr")
