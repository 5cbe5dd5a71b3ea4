"""Footprints lie on one world, are cut at the antimeridian, and know their boxes."""

import math
from typing import Any

import numpy as np
import pytest
import shapely

from geoetl.core.spatial import BBox
from geoetl.store.catalog.footprint import (
    BadGeometry,
    footprint_of,
    footprints_of,
    region_of_bbox,
    region_of_geometry,
)

ACROSS = (170.0, -10.0, -170.0, 10.0)
HALVES = ((-180.0, -10.0, -170.0, 10.0), (170.0, -10.0, 180.0, 10.0))


def ring(*corners: tuple[float, float]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[*map(list, corners), list(corners[0])]]}


def test_the_inner_box_is_one_that_the_shape_covers() -> None:
    assert footprint_of(BBox(1, 2, 3, 4).geometry()).inner == (1, 2, 3, 4)
    assert footprint_of({"type": "Point", "coordinates": [1, 2]}).inner == (1, 2, 1, 2)
    assert footprint_of(ring((2, 1), (3, 2), (2, 3), (1, 2))).inner == (1.5, 1.5, 2.5, 2.5)
    for without in (
        ring((1, 2), (3, 2), (1, 4)),
        BBox(*ACROSS).geometry(),
        {"type": "LineString", "coordinates": [[0, 0], [2, 2]]},
    ):
        assert footprint_of(without).inner is None


@pytest.mark.parametrize(
    "geometry",
    [
        BBox(*ACROSS).geometry(),
        ring((170, -10), (-170, -10), (-170, 10), (170, 10)),
        ring((170, -10), (190, -10), (190, 10), (170, 10)),
        ring((-190, -10), (-170, -10), (-170, 10), (-190, 10)),
    ],
)
def test_a_shape_across_the_antimeridian_is_two_boxes(geometry: dict[str, Any]) -> None:
    footprint = footprint_of(geometry, list(ACROSS))
    assert footprint.boxes == HALVES
    assert footprint.bbox() == list(ACROSS)
    assert shapely.area(shapely.from_wkb(footprint.wkb)) == pytest.approx(400)


def test_without_a_bbox_a_ring_the_long_way_round_is_what_it_says() -> None:
    assert footprint_of(ring((170, -10), (-170, -10), (-170, 10), (170, 10))).bbox() == [-170, -10, 170, 10]


def test_a_line_across_is_cut_and_a_world_wide_shape_stays_one_box() -> None:
    line = footprint_of({"type": "LineString", "coordinates": [[175, 0], [185, 10]]})
    assert line.bbox() == [175, 0, -175, 10]
    assert footprint_of(BBox(-180, -90, 180, 90).geometry()).boxes == ((-180, -90, 180, 90),)
    assert footprint_of(ring((0, -90), (360, -90), (360, 90), (0, 90))).boxes == ((-180, -90, 180, 90),)


def test_islands_on_both_sides_leave_out_the_widest_gap() -> None:
    islands = [[[-180, 0], [-179, 0], [-179, 1], [-180, 0]], [[-10, 0], [-9, 0], [-9, 1], [-10, 0]]]
    islands.append([[179, 0], [180, 0], [180, 1], [179, 0]])
    footprint = footprint_of({"type": "MultiPolygon", "coordinates": [[island] for island in islands]})
    assert footprint.boxes == ((-180, 0, -9, 1), (179, 0, 180, 1))
    assert footprint.bbox() == [179, 0, -9, 1]


def test_a_hair_beyond_180_is_clipped_not_cut() -> None:
    footprint = footprint_of(ring((-180.001, -80), (180.00126, -80), (180.00126, 80), (-180.001, 80)))
    assert footprint.boxes == ((-180, -80, 180, 80),)


def test_a_ring_that_crosses_itself_is_repaired_on_an_item_and_refused_in_a_search() -> None:
    bow_tie = ring((0, 0), (2, 2), (2, 0), (0, 2))
    assert shapely.area(shapely.from_wkb(footprint_of(bow_tie).wkb)) == pytest.approx(2)
    with pytest.raises(BadGeometry, match="Self-intersection"):
        region_of_geometry(bow_tie)


def test_heights_are_dropped() -> None:
    footprint = footprint_of({"type": "Point", "coordinates": [1, 2, 3]}, [1, 2, 3, 1, 2, 3])
    assert not shapely.has_z(shapely.from_wkb(footprint.wkb))


def test_a_geometry_outside_its_bbox_is_refused() -> None:
    with pytest.raises(BadGeometry, match="lies at 50,5,51,6, outside the bbox 5,50,6,51"):
        footprint_of(BBox(50, 5, 51, 6).geometry(), [5, 50, 6, 51])


@pytest.mark.parametrize(
    "geometry",
    [
        {},
        [],
        {"type": "Polygon"},
        {"type": "Feature", "geometry": None},
        {"type": "Point", "coordinates": [1]},
        {"type": "Point", "coordinates": ["1", "2"]},
        {"type": "Point", "coordinates": [math.nan, 2]},
        {"type": "Point", "coordinates": [400, 2]},
        {"type": "Point", "coordinates": [2, -90.1]},
        {"type": "GeometryCollection", "geometries": []},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]},
        {"type": "Point", "coordinates": {1, 2}},
    ],
)
def test_what_is_no_geometry_is_refused(geometry: Any) -> None:
    for use in (footprint_of, region_of_geometry):
        with pytest.raises(BadGeometry):
            use(geometry)


def test_many_at_once_are_as_one_by_one() -> None:
    geometries = [
        BBox(1, 2, 3, 4).geometry(),
        ring((1, 2), (3, 2), (1, 4)),
        {"type": "Point", "coordinates": [1, 2, 3]},
        {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1, 2]}]},
    ]
    unusual = [
        BBox(*ACROSS).geometry(),
        ring((0, 0), (2, 2), (2, 0), (0, 2)),
        ring((170, -10), (190, -10), (190, 10), (170, 10)),
        {"type": "Nothing"},
    ]
    found = footprints_of([(geometry, None) for geometry in [*geometries, *unusual]])
    assert found == [*map(footprint_of, geometries), None, None, None, None]
    assert footprints_of([(geometries[0], [50, 50, 51, 51]), (geometries[0], [1, 2, 0, 3, 4, 0])]) == [None, None]
    assert footprints_of([]) == []


@pytest.mark.parametrize(
    ("bbox", "boxes"),
    [
        (BBox(1, 2, 3, 4), ((1, 2, 3, 4),)),
        (BBox(*ACROSS), HALVES),
        (BBox(170, -10, 190, 10), HALVES),
        (BBox(190, 0, 200, 1), ((-170, 0, -160, 1),)),
        (BBox(0, -90, 360, 90), ((-180, -90, 180, 90),)),
        (BBox(-180, -90, 180, 90), ((-180, -90, 180, 90),)),
        (BBox(180, 0, 180, 1), ((180, 0, 180, 1),)),
        (BBox(350, 0, 10, 1), ((-10, 0, 10, 1),)),
    ],
)
def test_the_region_of_a_box_lies_on_one_world(bbox: BBox, boxes: Any) -> None:
    region = region_of_bbox(bbox)
    assert region.boxes == boxes
    assert region.rectangular


def test_a_tangle_is_refused_before_anything_tries_to_repair_it() -> None:
    angle = np.arange(101) * 2 * np.pi * 50 / 101
    ring = np.column_stack([10 + 5 * np.cos(angle), 20 + 5 * np.sin(angle)]).tolist()
    with pytest.raises(BadGeometry, match="crosses itself too often"):
        footprint_of({"type": "Polygon", "coordinates": [[*ring, ring[0]]]}, None)
