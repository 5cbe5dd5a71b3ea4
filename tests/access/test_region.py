"""Regions: what GeoJSON means over the antimeridian and the poles, what is repaired, and what is refused quickly."""

import json
import math
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geoetl.access.region import MAX_VERTICES, Region
from geoetl.core.errors import GeoetlError, InvalidBBox, InvalidParameter, LimitExceeded
from geoetl.core.spatial import BBox


def polygon(*corners: tuple[float, float], holes: tuple[list[tuple[float, float]], ...] = ()) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[list(corner) for corner in ring] for ring in (corners, *holes)]}


def rectangle(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    """A box as it is drawn from its south-west corner, counter-clockwise where it goes east."""
    return polygon((west, south), (east, south), (east, north), (west, north), (west, south))


def star(points: int) -> dict[str, Any]:
    """A ring whose every edge crosses nearly every other one."""
    angle = np.arange(points) * 2 * math.pi * (points // 2) / points
    ring = np.column_stack([10 + 5 * np.cos(angle), 20 + 5 * np.sin(angle)])
    return {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]}


@pytest.mark.parametrize(
    ("document", "box", "area"),
    [
        pytest.param(rectangle(1, 2, 3, 4), [1, 2, 3, 4], 4, id="a plain box"),
        pytest.param(rectangle(170, -20, -170, -10), [170, -20, -170, -10], 200, id="drawn over the antimeridian"),
        pytest.param(rectangle(170, -20, 190, -10), [170, -20, -170, -10], 200, id="beyond 180"),
        pytest.param(rectangle(-190, -20, -170, -10), [170, -20, -170, -10], 200, id="beyond -180"),
        pytest.param(rectangle(350, 0, 360, 10), [-10, 0, 0, 10], 100, id="of 0 to 360"),
        pytest.param(rectangle(-170, -20, 170, -10), [-170, -20, 170, -10], 3400, id="most of the way round"),
        pytest.param(rectangle(-180, -90, 180, 90), [-180, -90, 180, 90], 64800, id="the world"),
        pytest.param(rectangle(0, -90, 360, 90), [-180, -90, 180, 90], 64800, id="the world of 0 to 360"),
        pytest.param(rectangle(170, 0, 180.001, 10), [170, 0, 180, 10], 100, id="a hair too far"),
        pytest.param(
            polygon((0, 60), (90, 60), (180, 60), (-90, 60), (0, 60)), [-180, 60, 180, 90], 360 * 30, id="north pole"
        ),
        pytest.param(
            polygon((0, -60), (-90, -60), (-180, -60), (90, -60), (0, -60)),
            [-180, -90, 180, -60],
            360 * 30,
            id="south pole, the other way",
        ),
        pytest.param(
            polygon((0, 0), (10, 10), (10, 0), (0, 10), (0, 0)), [0, 0, 10, 10], 50, id="a bow-tie, as its two halves"
        ),
        pytest.param(
            {
                "type": "MultiPolygon",
                "coordinates": [rectangle(0, 0, 2, 2)["coordinates"], rectangle(1, 1, 3, 3)["coordinates"]],
            },
            [0, 0, 3, 3],
            7,
            id="parts that overlap count once",
        ),
    ],
)
def test_geojson_means_the_place_that_was_drawn(document: dict[str, Any], box: list[float], area: float) -> None:
    region = Region.from_geojson(document)
    assert region.bbox.as_list() == box
    assert region.geometry.area == pytest.approx(area)
    assert region.geometry.is_valid and region.geometry.geom_type in ("Polygon", "MultiPolygon")
    west, south, east, north = region.geometry.bounds
    assert -180 <= west <= east <= 180 and -90 <= south <= north <= 90


def test_a_hole_moves_with_the_ring_around_it() -> None:
    hole = [(-178.0, -18.0), (-178.0, -12.0), (-176.0, -12.0), (-176.0, -18.0), (-178.0, -18.0)]
    document = polygon((170, -20), (-170, -20), (-170, -10), (170, -10), (170, -20), holes=(hole,))
    region = Region.from_geojson(document)
    assert region.geometry.area == pytest.approx(200 - 12)
    assert not region.geometry.intersects(shapely.Point(-177, -15))


def test_the_box_beside_a_geometry_decides_whether_it_crosses_the_antimeridian() -> None:
    clockwise = polygon((170, -20), (170, -10), (-170, -10), (-170, -20), (170, -20))
    assert Region.from_geojson(clockwise).bbox.width_deg == 340
    feature = {"type": "Feature", "bbox": [170, -20, -170, -10], "properties": None, "geometry": clockwise}
    assert Region.from_geojson(feature).bbox.as_list() == [170, -20, -170, -10]


def test_features_bring_their_name_and_heights_are_left_out() -> None:
    geometry = polygon((0, 0), (1, 0), (1, 1), (0, 0))
    for position in geometry["coordinates"][0]:
        position.append(250.0)
    feature = {"type": "Feature", "properties": {"name": "Hill"}, "geometry": geometry}
    for document in (feature, {"type": "FeatureCollection", "features": [feature]}):
        region = Region.from_geojson(document)
        assert (region.name, region.geometry.has_z) == ("Hill", False)
    again = Region.from_geojson(json.loads(json.dumps(region.feature(), allow_nan=False)))
    assert (again.name, again.bbox) == ("Hill", region.bbox)
    assert again.geometry.equals(region.geometry)
    assert "Hill" in region._repr_html_()


degrees = st.integers(-1800, 1800).map(lambda tenth: tenth / 10)
latitudes = st.integers(-900, 899).map(lambda tenth: tenth / 10)


@given(west=degrees, width=st.integers(1, 1700).map(lambda tenth: tenth / 10), south=latitudes)
def test_a_box_is_the_same_region_however_it_is_written(west: float, width: float, south: float) -> None:
    box = BBox(west, south, west + width if west + width <= 180 else west + width - 360, 90)
    region = Region.from_bbox(box)
    assert region.geometry.area == pytest.approx(width * (90 - south))
    for document in (rectangle(west, south, west + width, 90), box.geometry()):
        other = Region.from_geojson(document)
        assert other.geometry.symmetric_difference(region.geometry).area == pytest.approx(0, abs=1e-6)
        assert other.bbox.width_deg == pytest.approx(box.width_deg)


def test_the_box_of_scattered_parts_is_the_smallest_one() -> None:
    parts = [rectangle(-179, 10, -178, 11), rectangle(-100, 10, -90, 20), rectangle(176, 10, 177, 12)]
    document = {"type": "MultiPolygon", "coordinates": [part["coordinates"] for part in parts]}
    assert Region.from_geojson(document).bbox.as_list() == [176, 10, -90, 20]


def test_a_box_without_area_is_no_region() -> None:
    for box in (BBox(1, 2, 1, 3), BBox(1, 2, 3, 2)):
        with pytest.raises(InvalidBBox, match="no area"):
            Region.from_bbox(box)


@pytest.mark.parametrize("points", [51, 101, 5001])
def test_a_tangle_is_refused_before_anything_tries_to_repair_it(points: int) -> None:
    with pytest.raises(InvalidParameter, match="crosses itself too often"):
        Region.from_geojson(star(points))


def test_a_few_crossings_of_a_long_outline_are_repaired() -> None:
    angle = np.linspace(0, 2 * math.pi, 5000)
    radius = 5 + 0.5 * np.sin(angle * 200)
    ring = np.column_stack([10 + radius * np.cos(angle), 20 + radius * np.sin(angle)])
    ring[-1] = ring[0]
    loop = [[30, 20], [30, 30], [25, 20.5], [35, 25]]
    document = {"type": "Polygon", "coordinates": [[*ring[:-1].tolist(), *loop, ring[0].tolist()]]}
    assert not shapely.Polygon(document["coordinates"][0]).is_valid  # type: ignore[index]
    assert Region.from_geojson(document).geometry.is_valid


def test_more_vertices_than_the_limit_are_refused_over_all_parts() -> None:
    half = [[float(i % 7), float(i % 5)] for i in range(MAX_VERTICES // 2)] + [[0.0, 0.0]]
    with pytest.raises(LimitExceeded, match="100,002 vertices; the limit is 100,000"):
        Region.from_geojson({"type": "MultiPolygon", "coordinates": [[half], [half]]})


SQUARE = rectangle(0, 0, 1, 1)


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (None, "missing"),
        ([], "missing"),
        ({}, "missing"),
        ({"type": "Point", "coordinates": [1, 2]}, "Point"),
        ({"type": "GeometryCollection", "geometries": [SQUARE]}, "GeometryCollection"),
        ({"type": ["Polygon"], "coordinates": []}, "Polygon"),
        ({"type": "Polygon"}, "expected a Polygon"),
        ({"type": "Feature", "geometry": None}, "missing"),
        ({"type": "FeatureCollection", "features": []}, "0 features"),
        ({"type": "FeatureCollection", "features": [SQUARE, SQUARE]}, "2 features"),
        ({"type": "FeatureCollection"}, "NoneType"),
        ({"type": "Polygon", "coordinates": []}, "empty"),
        ({"type": "MultiPolygon", "coordinates": [[]]}, "empty"),
        ({"type": "Polygon", "coordinates": "POLYGON EMPTY"}, "expected a list"),
        ({"type": "Polygon", "coordinates": [[{"lon": 1}] * 4]}, "no pair of numbers"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [10**400, 1], [1, 1], [0, 0]]]}, "no pair of numbers"),
        (polygon((0, 0), (1, math.nan), (1, 1), (0, 0)), "no pair of numbers"),
        (polygon((0, 0), (math.inf, 1), (1, 1), (0, 0)), "no pair of numbers"),
        (polygon((0, 0), (True, 1), (1, 1), (0, 0)), "no pair of numbers"),
        ({"type": "Polygon", "coordinates": [[[0, 0], ["1", "1"], [1, 0], [0, 0]]]}, "no pair of numbers"),
        (polygon((0, 0), (1, 1), (0, 0)), "3 positions"),
        (polygon((0, 0), (1, 0), (1, 1), (2, 2)), "not where it begins"),
        (polygon((0, 0), (1, 91), (1, 1), (0, 0)), "Latitude 91"),
        (polygon((0, 0), (500000, 1), (1, 1), (0, 0)), "Longitude 500000"),
        (polygon((0, 0), (1, 1), (2, 2), (0, 0)), "no area"),
        (polygon((5, 5), (5, 5), (5, 5), (5, 5)), "no area"),
    ],
)
def test_what_is_no_outline_is_answered_with_a_sentence(document: Any, what: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        Region.from_geojson(document)
    assert what in refused.value.detail
    assert refused.value.field == "geometry" and refused.value.hint


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.integers(-400, 400),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=20,
)


@given(kind=st.sampled_from(["Polygon", "MultiPolygon"]), coordinates=json_values, bbox=json_values)
def test_no_document_ends_in_anything_but_a_region_or_an_error_of_ours(kind: str, coordinates: Any, bbox: Any) -> None:
    document = {
        "type": "Feature",
        "bbox": bbox,
        "properties": {"name": coordinates},
        "geometry": {"type": kind, "coordinates": coordinates},
    }
    try:
        region = Region.from_geojson(document)
    except GeoetlError:
        return
    assert region.geometry.is_valid
