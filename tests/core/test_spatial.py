"""Laws of boxes and longitudes."""

import math

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geoetl.core.errors import InvalidBBox
from geoetl.core.spatial import BBox, Point, wrap_longitude


@st.composite
def boxes(draw: st.DrawFn) -> BBox:
    """Boxes with an area, so that shapely's predicates are well defined."""
    south = draw(st.integers(-90, 89).map(float))
    north = draw(st.integers(int(south) + 1, 90).map(float))
    west, width = draw(st.integers(-180, 179).map(float)), draw(st.integers(1, 359))
    east = west + width
    return BBox(west, south, east if east <= 180 else east - 360, north)


def as_shape(box: BBox) -> shapely.Geometry:
    return shapely.union_all([shapely.box(p.west, p.south, p.east, p.north) for p in box.parts()])


@given(boxes())
def test_parts_never_cross_and_cover_the_same_width(box: BBox) -> None:
    assert not any(part.crosses_antimeridian for part in box.parts())
    assert sum(part.width_deg for part in box.parts()) == pytest.approx(box.width_deg)


@given(boxes(), boxes())
def test_intersection_agrees_with_shapely(a: BBox, b: BBox) -> None:
    assert a.intersects(b) == as_shape(a).intersects(as_shape(b))
    assert a.intersects(b) == b.intersects(a)


@given(boxes(), boxes())
def test_a_union_covers_both(a: BBox, b: BBox) -> None:
    both = as_shape(a.union(b))
    assert both.buffer(1e-6).covers(as_shape(a))
    assert both.buffer(1e-6).covers(as_shape(b))


@given(st.floats(-1000, 1000))
def test_a_wrapped_longitude_is_in_range_and_the_same_place(lon: float) -> None:
    wrapped = wrap_longitude(lon)
    assert -180 <= wrapped <= 180
    assert math.isclose(math.cos(math.radians(lon)), math.cos(math.radians(wrapped)), abs_tol=1e-9)


@given(boxes())
def test_the_geometry_is_valid_geojson(box: BBox) -> None:
    shape = shapely.geometry.shape(box.geometry())
    assert shape.bounds[0] >= -180
    assert shape.bounds[2] <= 180


@pytest.mark.parametrize(
    "text",
    ["", "1,2,3", "1,2,3,4,5", ",,,", "a,b,c,d", "nan,0,1,1", "inf,0,1,1", "0,91,1,92", "0,10,1,5", "1e400,0,1,1"],
)
def test_a_bad_box_is_told_in_one_sentence(text: str) -> None:
    with pytest.raises(InvalidBBox) as caught:
        BBox.parse(text)
    assert caught.value.field == "bbox"
    assert caught.value.hint


def test_swapped_coordinates_are_suspected() -> None:
    with pytest.raises(InvalidBBox) as caught:
        Point.parse("48.8,102.3")
    assert caught.value.hint == "Is the order lon,lat? Longitude comes first."


@pytest.mark.parametrize(
    ("given_box", "same"),
    [((350, 0, 370, 5), None), ((170, 0, 190, 5), (170, 0, -170, 5)), ((0, 0, 360, 5), (-180, 0, 180, 5)),
     ((200, 0, 330, 5), (-160, 0, -30, 5)), ((350, 0, 10, 5), (-10, 0, 10, 5)),
     ((-180.001, 0, 180.001, 5), (-180, 0, 180, 5))],
)  # fmt: skip
def test_longitudes_up_to_360_are_the_same_places(
    given_box: tuple[float, float, float, float], same: tuple[float, float, float, float] | None
) -> None:
    if same is None:
        with pytest.raises(InvalidBBox):
            BBox(*given_box)
    else:
        assert BBox(*given_box) == BBox(*same)


def test_heights_of_a_geojson_bbox_are_left_out() -> None:
    assert BBox.from_list([1, 2, 0, 3, 4, 9]) == BBox(1, 2, 3, 4)
