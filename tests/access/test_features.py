"""Features by box and by place."""

import datetime
import json
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from geoetl.access.features import access as features
from geoetl.core.errors import InvalidParameter, LimitExceeded, NotFound
from geoetl.core.spatial import BBox, Point
from tests.access.conftest import COLLECTION, Shelf


def boxes_of_ten_degrees() -> gpd.GeoDataFrame:
    """Return a globe of boxes of ten degrees; ``name`` is the lower left corner."""
    corners = [(lon, lat) for lat in range(-90, 90, 10) for lon in range(-180, 180, 10)]
    return gpd.GeoDataFrame(
        {"name": [f"{lon},{lat}" for lon, lat in corners], "number": np.arange(len(corners))},
        geometry=[shapely.box(lon, lat, lon + 10, lat + 10) for lon, lat in corners],
        crs="EPSG:4326",
    )


def places() -> gpd.GeoDataFrame:
    """Return points, a line, and nested polygons, with attributes of every awkward type."""
    return gpd.GeoDataFrame(
        {
            "name": ["inner", "outer", "town", "road", "dateline"],
            "value": [1.5, np.nan, np.inf, 4.0, 5.0],
            "count": pd.array([1, None, 3, 4, 5], dtype="Int64"),
            "seen": pd.to_datetime(
                ["2020-01-02", None, "2020-01-03T04:05:06", "2020-01-04", "2020-01-05"], format="ISO8601"
            ),
            "day": [datetime.date(2020, 1, 2), None, None, None, None],
            "flag": [True, False, True, False, True],
        },
        geometry=[
            shapely.box(0, 0, 2, 2),
            shapely.box(-5, -5, 5, 5),
            shapely.Point(10, 10),
            shapely.LineString([(20, 0), (20, 10)]),
            shapely.Point(179.9, 0),
        ],
        crs="EPSG:4326",
    )


@pytest.mark.parametrize(
    "bbox",
    [BBox(0, 0, 20, 20), BBox(-12.5, 33, 41, 71), BBox(5, 5, 5, 5), BBox(-180, -90, 180, 90), BBox(-180, 80, -170, 90)],
)
def test_a_box_gives_what_geopandas_finds(shelf: Shelf, bbox: BBox) -> None:
    frame = boxes_of_ten_degrees()
    item = shelf.features("globe", frame)
    expected = frame[frame.intersects(shelf_box(bbox))]
    found = shelf.platform.features.read(COLLECTION, item, bbox=bbox)
    assert sorted(found["name"]) == sorted(expected["name"])
    assert found.crs.to_epsg() == 4326


def shelf_box(bbox: BBox) -> Any:
    return shapely.box(bbox.west, bbox.south, bbox.east, bbox.north)


@pytest.mark.parametrize("bbox", [BBox(165, -5, -165, 5), BBox(165, -5, 195, 5)])
def test_a_box_over_the_antimeridian_is_the_union_of_its_halves_without_doubles(shelf: Shelf, bbox: BBox) -> None:
    frame = boxes_of_ten_degrees()
    world_wide = gpd.GeoDataFrame(
        {"name": ["band"], "number": [-1]}, geometry=[shapely.box(-180, -1, 180, 1)], crs="EPSG:4326"
    )
    frame = pd.concat([frame, world_wide], ignore_index=True)
    item = shelf.features("globe", frame)
    halves = frame.intersects(shapely.box(165, -5, 180, 5)) | frame.intersects(shapely.box(-180, -5, -165, 5))
    found = shelf.platform.features.read(COLLECTION, item, bbox=bbox)
    assert sorted(found["name"]) == sorted(frame[halves]["name"])
    assert (found["name"] == "band").sum() == 1


def test_columns_and_limit_are_kept_to(shelf: Shelf) -> None:
    item = shelf.features("globe", boxes_of_ten_degrees())
    found = shelf.platform.features.read(COLLECTION, item, bbox=BBox(0, 0, 50, 50), columns=["name"], limit=3)
    assert list(found.columns) == ["name", "geometry"]
    assert len(found) == 3
    assert found.attrs["item"] == item


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"columns": ["nmae"]}, "columns", "Did you mean 'name'?"),
        ({"limit": 0}, "limit", "limit is 0"),
        ({"asset": "dta"}, "asset", "Did you mean 'data'?"),
    ],
)
def test_a_wrong_parameter_is_named(shelf: Shelf, options: dict[str, Any], field: str, said: str) -> None:
    item = shelf.features("globe", boxes_of_ten_degrees())
    with pytest.raises((InvalidParameter, NotFound)) as error:
        shelf.platform.features.read(COLLECTION, item, **options)
    assert error.value.field == field
    assert said in str(error.value)


def test_more_features_than_the_limit_are_refused(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    item = shelf.features("globe", boxes_of_ten_degrees())
    monkeypatch.setattr(features, "MAX_FEATURES", 100)
    with pytest.raises(LimitExceeded, match="648 features") as error:
        shelf.platform.features.read(COLLECTION, item)
    assert error.value.hint == "Give a smaller bbox, or limit=100 or less."
    assert len(shelf.platform.features.read(COLLECTION, item, bbox=BBox(0, 0, 20, 20))) == 16
    assert len(shelf.platform.features.read(COLLECTION, item, limit=50)) == 50
    with pytest.raises(LimitExceeded, match="500 features"):
        shelf.platform.features.read(COLLECTION, item, limit=500)


def test_the_smallest_polygon_at_a_place_comes_first(shelf: Shelf) -> None:
    item = shelf.features("places", places())
    at = shelf.platform.features.at
    assert [found["name"] for found in at(COLLECTION, item, Point(1, 1))] == ["inner", "outer"]
    assert at(COLLECTION, item, Point(50, 50)) == []


def test_points_and_lines_are_found_within_the_tolerance_and_the_nearest_first(shelf: Shelf) -> None:
    item = shelf.features("places", places())
    at = shelf.platform.features.at
    assert at(COLLECTION, item, Point(10.3, 10), 0.2) == []
    assert [found["name"] for found in at(COLLECTION, item, Point(10.3, 10), 0.5)] == ["town"]
    assert [found["name"] for found in at(COLLECTION, item, Point(12, 8), 8.1)] == ["town", "outer", "road"]


@pytest.mark.parametrize("lon", [-179.95, 180.05, 179.8, 180.0, -180.0])
def test_a_point_beside_the_antimeridian_is_found_from_the_other_side(shelf: Shelf, lon: float) -> None:
    item = shelf.features("places", places())
    found = shelf.platform.features.at(COLLECTION, item, Point(lon, 0), 0.2)
    assert [feature["name"] for feature in found] == ["dateline"]


def test_attributes_are_strict_json(shelf: Shelf) -> None:
    item = shelf.features("places", places())
    inner, outer = shelf.platform.features.at(COLLECTION, item, Point(1, 1))
    (town,) = shelf.platform.features.at(COLLECTION, item, Point(10, 10))
    assert json.loads(json.dumps(inner, allow_nan=False)) == {
        "name": "inner",
        "value": 1.5,
        "count": 1,
        "seen": "2020-01-02T00:00:00",
        "day": "2020-01-02",
        "flag": True,
    }
    assert (outer["value"], outer["count"], outer["seen"], outer["day"]) == (None, None, None, None)
    assert (town["value"], town["seen"]) == (None, "2020-01-03T04:05:06")


def test_features_in_another_crs_come_in_degrees(shelf: Shelf) -> None:
    frame = places().iloc[:3].to_crs("EPSG:3857")
    item = shelf.features("mercator", frame)
    record = shelf.platform.catalog.item(COLLECTION, item)
    record["properties"]["proj:code"] = "EPSG:3857"
    shelf.platform.catalog.upsert_items([record])
    found = shelf.platform.features.read(COLLECTION, item, bbox=BBox(9, 9, 11, 11))
    assert found["name"].tolist() == ["town"]
    assert found.geometry.iloc[0].x == pytest.approx(10)
    assert [f["name"] for f in shelf.platform.features.at(COLLECTION, item, Point(1, 1))] == ["inner", "outer"]


@pytest.mark.parametrize("tolerance", [-1, 91, float("nan")])
def test_a_tolerance_has_a_range(shelf: Shelf, tolerance: float) -> None:
    item = shelf.features("places", places())
    with pytest.raises(InvalidParameter, match="expected 0 to 90 degrees"):
        shelf.platform.features.at(COLLECTION, item, Point(0, 0), tolerance)
