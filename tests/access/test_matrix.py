"""Tile matrix sets are those of the OGC register, by morecantile's account of them."""

import math

import morecantile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoetl.access.frame import Extent
from geoetl.access.matrix import MATRIX_SETS, MAX_ZOOM, WEB_MERCATOR_QUAD, WORLD_CRS84_QUAD, covers, matrix_set
from geoetl.core.errors import NotFound

REGISTER = {name: morecantile.tms.get(name) for name in MATRIX_SETS}


@given(st.sampled_from(sorted(MATRIX_SETS)), st.integers(0, 20), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None, max_examples=60)  # morecantile projects each corner
def test_a_tile_lies_where_the_register_has_it(name: str, z: int, across: float, down: float) -> None:
    ours, theirs = MATRIX_SETS[name], REGISTER[name]
    matrix = theirs.matrix(z)
    x = min(int(across * matrix.matrixWidth), matrix.matrixWidth - 1)
    y = min(int(down * matrix.matrixHeight), matrix.matrixHeight - 1)
    assert ours.has(z, x, y)
    frame, box = ours.frame(z, x, y), theirs.xy_bounds(x, y, z)
    side = box.right - box.left
    assert [frame.left, frame.bottom, frame.right, frame.top] == pytest.approx(list(box), abs=side * 1e-6)
    degrees = theirs.bounds(x, y, z)
    assert frame.bbox.as_list() == pytest.approx(list(degrees), abs=1e-6)


@pytest.mark.parametrize("name", MATRIX_SETS)
def test_a_zoom_has_as_many_tiles_as_in_the_register(name: str) -> None:
    ours, theirs = MATRIX_SETS[name], REGISTER[name]
    assert str(theirs.uri) == ours.uri
    for z in range(min(MAX_ZOOM, theirs.maxzoom) + 1):
        matrix = theirs.matrix(z)
        assert ours.has(z, matrix.matrixWidth - 1, matrix.matrixHeight - 1)
        assert not ours.has(z, matrix.matrixWidth, 0)
        assert not ours.has(z, 0, matrix.matrixHeight)
    assert not ours.has(MAX_ZOOM + 1, 0, 0)
    assert not ours.has(0, -1, 0)


def test_the_zoom_of_a_cell_is_the_first_whose_pixels_are_no_larger() -> None:
    for tms in (WEB_MERCATOR_QUAD, WORLD_CRS84_QUAD):
        for cell in (2.5, 1.0, 0.25, 0.1, 1e-4):
            zoom = tms.max_zoom(cell)
            pixel = 360 / tms.columns / 256 / 2**zoom
            assert pixel <= cell * (1 + 1e-6)
            assert zoom == 0 or 2 * pixel > cell
    assert WEB_MERCATOR_QUAD.max_zoom(1.0, 512) == WEB_MERCATOR_QUAD.max_zoom(1.0) - 1
    assert WEB_MERCATOR_QUAD.max_zoom(1e-12) == MAX_ZOOM


def test_wgs84_is_another_name_and_an_unknown_one_says_what_there_is() -> None:
    assert matrix_set("WGS84") is WORLD_CRS84_QUAD
    with pytest.raises(NotFound) as caught:
        matrix_set("WebMercatorQuat")
    assert "WebMercatorQuad" in str(caught.value.hint)


@given(st.floats(-180, 180), st.floats(0.01, 360), st.floats(-85, 84), st.integers(0, 6), st.integers(0, 63))
@settings(deadline=None)
def test_a_tile_is_covered_where_some_longitude_lies_in_both(
    west: float, width: float, south: float, z: int, x: int
) -> None:
    extent = Extent(west, south, west + width, min(south + 5, 85.0))
    x %= 2**z
    left, side = -180 + x * 360 / 2**z, 360 / 2**z
    shared = any(
        min(left + side, extent.east + turn) - max(left, extent.west + turn) > 1e-9 for turn in (-720, -360, 0, 360)
    )
    apart = all(
        min(left + side, extent.east + turn) - max(left, extent.west + turn) < -1e-9 for turn in (-720, -360, 0, 360)
    )
    lat = (south + min(south + 5, 85.0)) / 2
    y = min(int((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**z), 2**z - 1)
    found = covers(WEB_MERCATOR_QUAD.frame(z, x, y), extent)
    assert found or not shared
    assert not (found and apart)
