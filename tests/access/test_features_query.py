"""Features by question give what geopandas gives on the whole table, whatever the file's layout and projection."""

import csv
import datetime as dt
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from geoetl.access.cost import QueryLimits
from geoetl.access.features import FeaturePage, ProjectedBox
from geoetl.access.features.page import geojson_shapes
from geoetl.access.features.table import FeatureTables
from geoetl.core.errors import (
    Conflict,
    GeoetlError,
    InvalidFilter,
    InvalidParameter,
    InvalidTime,
    LimitExceeded,
    NotFound,
    UnreadableFile,
)
from geoetl.core.spatial import BBox
from tests.access.conftest import COLLECTION, Shelf

NAMES = ["Côte d'Ivoire", "日本", "São Tomé", "Ελλάδα", "Norge", "Россия", "a'b\"c;d", "", "=1+1"]


def mixed(rows: int = 500, *, nulls: bool = True) -> gpd.GeoDataFrame:
    """Return points, lines and polygons all over the Earth with attributes of common types, some missing."""
    rng = np.random.default_rng(7)
    shapes: list[Any] = []
    for number in range(rows):
        lon, lat = rng.uniform(-178, 178), rng.uniform(-80, 80)
        if number % 3 == 0:
            shapes.append(shapely.Point(lon, lat))
        elif number % 3 == 1:
            shapes.append(shapely.LineString([(lon, lat), (lon + 2, lat + 3)]))
        else:
            shapes.append(shapely.Point(lon, lat).buffer(rng.uniform(0.1, 5)))
        if nulls and number % 29 == 0:
            shapes[-1] = None
    index = np.arange(rows)
    when = pd.Series(pd.date_range("2000-01-01", periods=rows, freq="3D")).where(index % 13 != 0)
    return gpd.GeoDataFrame(
        {
            "name": [None if n % 17 == 0 else f"{NAMES[n % len(NAMES)]} {n % 40}" for n in range(rows)],
            "value": np.where(index % 7 == 0, np.nan, rng.normal(size=rows).round(2)),
            "rank": rng.integers(0, 20, rows),
            "count": pd.array([None if n % 5 == 0 else n for n in range(rows)], dtype="Int64"),
            "flag": index % 2 == 0,
            "when": when,
        },
        geometry=shapes,
        crs="EPSG:4326",
    )


def ids(page: FeaturePage) -> list[int]:
    return [int(one) for one in page.ids]


def everything(shelf: Shelf, item: str, **question: Any) -> FeaturePage:
    return shelf.platform.features.query(COLLECTION, item, limit=100_000, **question)


def written(shelf: Shelf, item: str, frame: gpd.GeoDataFrame, **options: Any) -> str:
    """Register a frame in a file of another layout."""
    path = shelf.folder / f"{item}.parquet"
    frame.to_parquet(path, row_group_size=16, **options)
    asset = {"href": str(path), "type": "application/vnd.apache.parquet", "roles": ["data"]}
    return shelf.register(item, {"data": asset})


# -- boxes -----------------------------------------------------------------------------------------------------------

BOXES = [
    BBox(0, 0, 30, 30),
    BBox(-180, -90, 180, 90),
    BBox(170, -60, -170, 60),
    BBox(5, 5, 5, 5),
    BBox(-10, -10, 10, 10),
    BBox(100, -80, 250, -20),
]


def touching(frame: gpd.GeoDataFrame, box: BBox) -> list[int]:
    """Return the rows that touch a box by geopandas, and those without geometry, which match any."""
    parts = [shapely.box(*part.as_list()) for part in box.parts()]
    touched = frame.geometry.isna()
    for part in parts:
        touched |= frame.intersects(part)
    return [int(row) for row in np.flatnonzero(touched)]


@pytest.mark.parametrize("layout", ["covering", "plain", "float32", "geoarrow", "one group"])
def test_a_box_gives_what_geopandas_finds_whatever_the_layout(shelf: Shelf, layout: str) -> None:
    frame = mixed(nulls=layout != "geoarrow")
    if layout == "geoarrow":
        frame = frame[frame.geom_type == "Polygon"].reset_index(drop=True)
        item = written(shelf, "native", frame, geometry_encoding="geoarrow", schema_version="1.1.0")
    elif layout == "plain":
        item = written(shelf, "plain", frame)
    elif layout == "float32":
        item = with_float32_covering(shelf, frame)
    elif layout == "one group":
        path = shelf.folder / "whole.parquet"
        frame.to_parquet(path, write_covering_bbox=True, schema_version="1.1.0")
        asset = {"href": str(path), "type": "application/vnd.apache.parquet", "roles": ["data"]}
        item = shelf.register("whole", {"data": asset})
    else:
        item = shelf.features("mixed", frame)
    for box in BOXES:
        assert ids(everything(shelf, item, bbox=box)) == touching(frame, box), box


def with_float32_covering(shelf: Shelf, frame: gpd.GeoDataFrame) -> str:
    """Register a file whose bounds are rounded to 32 bits to the nearest, as some writers do."""
    item = shelf.features("rounded", frame)
    path = shelf.folder / "rounded.parquet"
    table = pq.read_table(path)
    bounds = table.column("bbox").combine_chunks()
    edges = [pa.array(part.to_numpy(zero_copy_only=False).astype("float32")) for part in bounds.flatten()]
    names = [field.name for field in bounds.type]
    rounded = pa.StructArray.from_arrays(edges, names, mask=bounds.is_null())
    table = table.set_column(table.schema.get_field_index("bbox"), "bbox", rounded)
    pq.write_table(table, path, row_group_size=16)
    return item


def test_a_projected_file_is_asked_in_degrees_and_answers_in_any_reference_system(shelf: Shelf) -> None:
    degrees = mixed(200, nulls=False)
    degrees = degrees[degrees.geometry.bounds.maxy < 80].reset_index(drop=True)
    own = degrees.to_crs("EPSG:3857")
    item = shelf.features("mercator", own)
    back = own.to_crs("EPSG:4326")
    for box in BOXES:
        assert ids(everything(shelf, item, bbox=box)) == touching(back, box), box
    box = ProjectedBox(0, 0, 3e6, 4e6, "EPSG:3857")
    expected = np.flatnonzero(own.intersects(shapely.box(*box.edges))).tolist()
    assert ids(everything(shelf, item, bbox=box)) == expected
    for crs in ("EPSG:3857", "EPSG:4326", "OGC:CRS84", "EPSG:6933"):
        shapes = everything(shelf, item, bbox=box, crs=crs).shapes
        assert shapes is not None
        wanted = own.iloc[expected].to_crs(crs).geometry
        np.testing.assert_allclose(shapely.get_coordinates(shapes), shapely.get_coordinates(wanted), rtol=0, atol=1e-6)


def test_a_box_in_a_national_grid_is_exact(shelf: Shelf) -> None:
    frame = mixed(nulls=False)
    item = shelf.features("mixed", frame)
    box = ProjectedBox(200_000, 6_000_000, 900_000, 7_000_000, "EPSG:25832")
    near = frame.cx[-10:30, 40:75]
    expected = near.index[near.to_crs(box.crs).intersects(shapely.box(*box.edges))].tolist()
    found = everything(shelf, item, bbox=box, filter="S_INTERSECTS(geometry, BBOX(-10, 40, 30, 75))")
    assert ids(found) == expected


def test_a_shape_with_a_vertex_that_has_no_place_is_null_and_heights_stay(shelf: Shelf) -> None:
    frame = gpd.GeoDataFrame(
        {"name": ["deep", "pole", "none"]},
        geometry=[shapely.Point(10, 50, 123.5), shapely.Point(0, 90), None],
        crs="EPSG:4326",
    )
    item = shelf.features("odd", frame)
    page = everything(shelf, item, crs="EPSG:32632")
    assert page.shapes is not None
    assert page.shapes[0].z == 123.5
    assert page.shapes[2] is None
    assert [one["geometry"] is None for one in json.loads(page.to_geojson())["features"]][2]
    assert np.isfinite(shapely.get_coordinates(page.shapes)).all()


# -- conditions, order, pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filter", "mask"),
    [
        ("rank >= 15 AND flag = true", lambda f: (f["rank"] >= 15) & f.flag),
        ("value < 0 OR value IS NULL", lambda f: (f.value < 0) | f.value.isna()),
        ("name LIKE 'S%o%' AND count > 100", lambda f: f.name.str.match("S.*o").fillna(False) & (f["count"] > 100)),
        ("casei(accenti(name)) = 'sao tome 2'", lambda f: f.name == "São Tomé 2"),
        ("name IN ('日本 1', 'Norge 4')", lambda f: f.name.isin(["日本 1", "Norge 4"])),
        (
            "when >= DATE('2002-01-01') AND when < DATE('2002-03-01')",
            lambda f: f.when.between("2002-01-01", "2002-02-28"),
        ),
        ("count + rank > 400", lambda f: (f["count"] + f["rank"]).gt(400)),
        (
            "S_WITHIN(geometry, POLYGON((-60 -40, 60 -40, 0 60, -60 -40)))",
            lambda f: f.within(shapely.Polygon([(-60, -40), (60, -40), (0, 60)])),
        ),
        (
            "rank = 3 AND (S_INTERSECTS(geometry, BBOX(0, 0, 90, 90)) OR flag = false)",
            lambda f: (f["rank"] == 3) & (f.intersects(shapely.box(0, 0, 90, 90)) | ~f.flag),
        ),
        ("S_DISJOINT(geometry, BBOX(-90, -90, 90, 90))", lambda f: f.disjoint(shapely.box(-90, -90, 90, 90))),
        ("geometry IS NULL", lambda f: f.geometry.isna()),
        ({"op": "not", "args": [{"op": "=", "args": [{"property": "rank"}, 3]}]}, lambda f: f["rank"] != 3),
    ],
)
def test_a_filter_gives_what_pandas_gives(shelf: Shelf, filter: Any, mask: Any) -> None:
    frame = mixed()
    item = shelf.features("mixed", frame)
    told = pd.Series(mask(frame)).fillna(False).astype(bool)
    if "S_DISJOINT" in str(filter):
        told &= frame.geometry.notna()
    expected = np.flatnonzero(told).tolist()
    assert expected, "a filter that matches nothing proves nothing"
    page = everything(shelf, item, filter=filter)
    assert ids(page) == expected
    assert page.matched == page.returned == len(expected)


def test_attributes_box_time_and_filter_hold_together(shelf: Shelf) -> None:
    frame = mixed()
    item = shelf.features("mixed", frame)
    box, low, high = BBox(-90, -60, 90, 60), "2001-01-01", "2003-12-31"
    expected = set(touching(frame, box))
    expected &= set(np.flatnonzero(frame.when.isna() | frame.when.between(low, high)).tolist())
    expected &= set(np.flatnonzero(frame["rank"].isin([1, 2, 3]) & frame.flag).tolist())
    page = everything(
        shelf, item, bbox=box, datetime=f"{low}/{high}", where={"rank": [1, "2", 3]}, filter="flag = true"
    )
    assert ids(page) == sorted(expected)
    assert 0 < len(expected) < 100


def test_times_with_two_ends_are_touched_and_open_ends_count(shelf: Shelf) -> None:
    days = [dt.date(2020, 1, day) for day in (1, 5, 9)]
    frame = gpd.GeoDataFrame(
        {"start_datetime": [*days, None], "end_datetime": [dt.date(2020, 1, 3), None, dt.date(2020, 1, 9), None]},
        geometry=[shapely.Point(0, 0)] * 4,
        crs=4326,
    )
    item = shelf.features("times", frame)
    for asked, expected in (
        ("2020-01-03", [0, 3]),
        ("2020-01-03T23:59:59Z/2020-01-05T00:00:00Z", [0, 1, 3]),
        ("2020-01-10/..", [1, 3]),
        ("../2020-01-01", [0, 3]),
    ):
        assert ids(everything(shelf, item, datetime=asked)) == expected, asked
    assert shelf.platform.features.describe(COLLECTION, item).time_range == ("2020-01-01", "2020-01-09")


@pytest.mark.parametrize(
    ("sortby", "by", "ascending"),
    [
        ("rank", ["rank"], [True]),
        ("-value,name", ["value", "name"], [False, True]),
        (["flag", "-when"], ["flag", "when"], [True, False]),
        ("+name", ["name"], [True]),
        ("-count", ["count"], [False]),
    ],
)
def test_an_order_is_that_of_pandas_with_what_is_missing_last(
    shelf: Shelf, sortby: Any, by: list[str], ascending: list[bool]
) -> None:
    frame = mixed()
    item = shelf.features("mixed", frame)
    expected = frame.sort_values(by, ascending=ascending, kind="stable", na_position="last").index.tolist()
    assert ids(everything(shelf, item, sortby=sortby)) == expected


@pytest.mark.parametrize("sortby", ["", "-rank"])
def test_pages_cover_every_feature_exactly_once(shelf: Shelf, sortby: str) -> None:
    frame = mixed()
    item = shelf.features("mixed", frame)
    whole = everything(shelf, item, filter="flag = true", sortby=sortby)
    seen: list[Any] = []
    page = shelf.platform.features.query(COLLECTION, item, filter="flag = true", sortby=sortby, limit=33)
    assert page.previous is None
    while True:
        assert page.matched == whole.matched
        seen += page.ids
        if page.next is None:
            break
        before = page
        page = shelf.platform.features.query(
            COLLECTION, item, filter="flag = true", sortby=sortby, limit=33, token=page.next
        )
        back = shelf.platform.features.query(
            COLLECTION, item, filter="flag = true", sortby=sortby, limit=33, token=page.previous
        )
        assert back.ids == before.ids
    assert seen == list(whole.ids)


def test_a_token_of_another_version_is_refused_and_nothing_is_stale(shelf: Shelf) -> None:
    item = shelf.features("mixed", mixed(60))
    page = shelf.platform.features.query(COLLECTION, item, limit=10)
    path = shelf.folder / "mixed.parquet"
    other = mixed(40).iloc[::-1].reset_index(drop=True)
    fresh = shelf.folder / "fresh"
    other.to_parquet(fresh, write_covering_bbox=True, schema_version="1.1.0")
    fresh.replace(path)
    with pytest.raises(Conflict, match="has changed"):
        shelf.platform.features.query(COLLECTION, item, limit=10, token=page.next)
    assert everything(shelf, item).to_geodataframe()["name"].tolist() == other["name"].tolist()
    with pytest.raises(InvalidParameter, match="not one of a page"):
        shelf.platform.features.query(COLLECTION, item, token="ten")


# -- ids -------------------------------------------------------------------------------------------------------------


def test_ids_are_those_of_a_column_of_unique_values_else_row_numbers(shelf: Shelf) -> None:
    frame = mixed(50)[["name", "geometry"]]
    unique, twice = frame.assign(fid=np.arange(50) * 2), frame.assign(id=[1] * 50)
    named = frame.assign(code=[f"K{n}/é" for n in range(50)], id=range(50))
    features = shelf.platform.features
    for item, table, expected in (("a", unique, 14), ("b", twice, 7), ("c", named, 7)):
        shelf.features(item, table)
        page = everything(shelf, item)
        assert page.ids[7] == expected
        assert features.feature(COLLECTION, item, expected).properties == [page.properties[7]]
        assert features.feature(COLLECTION, item, str(expected)).ids == (expected,)
    record = dict(shelf.platform.catalog.item(COLLECTION, "c"))
    record["properties"] = {**record["properties"], "table:primary_key": "code"}
    shelf.platform.catalog.upsert_items([record])
    assert features.feature(COLLECTION, "c", "K7/é").table.column("id").to_pylist() == [7]
    assert features.describe(COLLECTION, "c").id_property == "code"
    for item, wrong in (("a", "1"), ("a", "007"), ("a", "x"), ("b", "50"), ("b", "-1"), ("b", "9" * 30), ("c", "7")):
        with pytest.raises(NotFound, match="no feature"):
            features.feature(COLLECTION, item, wrong)


def test_rows_by_attribute_keep_their_types_and_names(shelf: Shelf) -> None:
    frame = mixed()
    item = shelf.features("mixed", frame)
    found = shelf.platform.features.rows(COLLECTION, item, where={"name": "日本 1"}, columns=["count"])
    expected = frame[frame.name == "日本 1"]
    assert found.index.tolist() == expected.index.tolist()
    assert list(found.columns) == ["count", "geometry"]
    assert found["count"].dtype == "Int64"
    assert found.crs.to_epsg() == 4326
    assert found.geometry.geom_equals(expected.geometry).all()
    missing = shelf.platform.features.rows(COLLECTION, item, where={"name": None, "flag": "true"})
    assert missing.index.tolist() == np.flatnonzero(frame.name.isna() & frame.flag).tolist()


# -- forms -----------------------------------------------------------------------------------------------------------


def every_shape() -> list[Any]:
    """Return a shape of every kind, with and without heights, empty and missing."""
    texts = [
        "POINT (1 2)",
        "POINT Z (1 2 3)",
        "LINESTRING (0 0, 1 1, 2 0)",
        "POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0), (1 1, 2 1, 2 2, 1 1))",
        "MULTIPOINT ((0 0), (1 1))",
        "MULTILINESTRING ((0 0, 1 1), (2 2, 3 3, 4 4))",
        "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)), ((5 5, 9 5, 9 9, 5 5), (6 5.5, 7 5.5, 7 6, 6 5.5)))",
        "MULTIPOLYGON Z (((0 0 1, 1 0 2, 1 1 3, 0 0 1)))",
        "GEOMETRYCOLLECTION (POINT (1 2), GEOMETRYCOLLECTION (LINESTRING (0 0, 1 1)))",
        "POLYGON EMPTY",
        "POINT EMPTY",
        "LINESTRING Z (0 0 NaN, 1 1 2)",
        "POINT (NaN 1)",
        "LINESTRING (0 0, Inf 1)",
    ]
    return [*shapely.from_wkt(texts), None]


def test_geojson_of_every_kind_of_shape_is_that_of_shapely(shelf: Shelf) -> None:
    shapes = every_shape()
    frame = gpd.GeoDataFrame({"n": range(len(shapes))}, geometry=shapes, crs=4326)
    page = everything(shelf, shelf.features("kinds", frame))
    told = [one["geometry"] for one in json.loads(page.to_geojson())["features"]]
    assert told[:9] == [json.loads(shapely.to_geojson(shape)) for shape in shapes[:9]]
    assert told[9:] == [None, None, {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}, None, None, None]
    swapped = geojson_shapes(np.array(shapes[:2], object), swapped=True)
    assert [one and one["coordinates"] for one in swapped] == [[2, 1], [2, 1, 3]]


def awkward() -> pa.Table:
    """Return a table with a column of every type that Parquet has, one row of values and one of nulls."""
    day, moment = dt.date(2020, 2, 29), dt.datetime(2020, 2, 29, 12, 30, 15, 250_000)  # noqa: DTZ001  as most files have them
    columns = {
        "bool": pa.array([True, None]),
        "u64": pa.array([2**64 - 1, None], pa.uint64()),
        "i64": pa.array([-(2**63), None], pa.int64()),
        "half": pa.array(np.array([np.inf, np.nan], "float16")),
        "f64": pa.array([0.1, None]),
        "decimal": pa.array([Decimal("12.50"), None]),
        "text": pa.array(["日本 \u2028 </script>", None]),
        "view": pa.array(["view", None], pa.string_view()),
        "code": pa.array(["x", None]).dictionary_encode(),
        "bytes": pa.array([b"\x00\xff", None]),
        "day": pa.array([day, None]),
        "us": pa.array([moment, None], pa.timestamp("us")),
        "ns": pa.array([moment, None], pa.timestamp("ns", "UTC")),
        "far": pa.array([2**60, None], pa.int64()).cast(pa.timestamp("us")),
        "time": pa.array([dt.time(23, 59, 59), None]),
        "for": pa.array([dt.timedelta(seconds=90), None]),
        "list": pa.array([[1.5, None, float("nan")], None]),
        "days": pa.array([[day], None]),
        "struct": pa.array([{"a": 1, "b": [b"\x01"]}, None]),
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        "null": pa.nulls(2),
        "geometry": pa.array([shapely.to_wkb(shapely.Point(1, 2)), None]),
    }
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": []}},
    }
    return pa.table(columns).replace_schema_metadata({"geo": json.dumps(geo)})


def register_table(shelf: Shelf, item: str, table: pa.Table, properties: dict[str, Any] | None = None) -> str:
    path = shelf.folder / f"{item}.parquet"
    pq.write_table(table, path)
    asset = {"href": str(path), "type": "application/vnd.apache.parquet", "roles": ["data"]}
    return shelf.register(item, {"data": asset}, properties)


def strictly(text: bytes) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


def test_attributes_of_every_type_are_strict_json_and_can_be_asked_about(shelf: Shelf) -> None:
    item = register_table(shelf, "awkward", awkward())
    page = everything(shelf, item)
    first, second = (one["properties"] for one in strictly(page.to_geojson())["features"])
    assert first == {
        "bool": True,
        "u64": 2**64 - 1,
        "i64": -(2**63),
        "half": None,
        "f64": 0.1,
        "decimal": 12.5,
        "text": "日本 \u2028 </script>",
        "view": "view",
        "code": "x",
        "bytes": "AP8=",
        "day": "2020-02-29",
        "us": "2020-02-29T12:30:15.250000",
        "ns": "2020-02-29T12:30:15.250000+00:00",
        "far": None,
        "time": "23:59:59",
        "for": 90.0,
        "list": [1.5, None, None],
        "days": ["2020-02-29"],
        "struct": {"a": 1, "b": ["AQ=="]},
        "map": [["k", 1]],
        "null": None,
    }
    assert set(second.values()) == {None}
    described = shelf.platform.features.describe(COLLECTION, item)
    for name in first:
        known = everything(shelf, item, filter={"op": "not", "args": [{"op": "isNull", "args": [{"property": name}]}]})
        assert ids(known) == ([] if name == "null" else [0]), name
        everything(shelf, item, filter={"op": "=", "args": [{"property": name}, {"property": name}]}) if name not in (
            "list",
            "days",
        ) else None
        if next(one.sortable for one in described.properties if one.name == name):
            assert ids(everything(shelf, item, sortby=name)) == [0, 1]
        else:
            with pytest.raises(InvalidParameter, match="has no order"):
                everything(shelf, item, sortby=name)
    for text in (
        "day = DATE('2020-02-29')",
        "ns = DATE('2020-02-29')",
        "decimal = 12.5",
        "time > '23:00'",
        "code = 'x'",
    ):
        assert ids(everything(shelf, item, filter=text)) == [0], text
    assert ids(everything(shelf, item, where={"list": "1.5"})) == [0]
    assert page._repr_html_().count("</script>") == 0
    assert "<table" in described._repr_html_()
    assert len(page.to_csv().splitlines()) >= 3
    assert page.to_geodataframe().shape == (2, 22)


def test_csv_has_ids_shapes_and_version_and_no_formula(shelf: Shelf) -> None:
    frame = gpd.GeoDataFrame(
        {"name": ["=cmd|' /C calc'!A0", 'ä,"b"\nc', "@x"], "n": [-1.5, np.nan, 3.0], "tags": [["a", "b"], None, []]},
        geometry=[shapely.Point(0.1, 2), None, shapely.Point(3, 4)],
        crs=4326,
    )
    item = shelf.features("cells", frame)
    record = dict(shelf.platform.catalog.item(COLLECTION, item))
    record["properties"] = {**record["properties"], "version": "v7"}
    shelf.platform.catalog.upsert_items([record])
    rows = list(csv.DictReader(io.StringIO(everything(shelf, item).to_csv().decode(), newline="")))
    assert [row["name"] for row in rows] == ["'=cmd|' /C calc'!A0", 'ä,"b"\nc', "'@x"]
    assert [row["n"] for row in rows] == ["-1.5", "", "3.0"]
    assert [row["geometry"] for row in rows] == ["POINT (0.1 2)", "", "POINT (3 4)"]
    assert [row["tags"] for row in rows] == ['["a","b"]', "", "[]"]
    assert {row["dataset_version"] for row in rows} == {"v7"}
    assert [row["feature_id"] for row in rows] == ["0", "1", "2"]


@pytest.mark.parametrize("crs", ["OGC:CRS84", "EPSG:3857"])
def test_geoparquet_opens_in_geopandas_and_says_where_it_came_from(shelf: Shelf, crs: str) -> None:
    frame = mixed(120)
    item = shelf.features("mixed", frame)
    page = everything(shelf, item, crs=crs, bbox=BBox(-170, -70, 170, 70))
    path = shelf.folder / "out.parquet"
    path.write_bytes(page.to_parquet())
    back = gpd.read_parquet(path)
    wanted = page.to_geodataframe()
    assert back["feature_id"].tolist() == list(page.ids)
    assert back.crs.equals(wanted.crs, ignore_axis_order=True)
    np.testing.assert_array_equal(back.geometry.to_wkb(), wanted.geometry.to_wkb())
    pd.testing.assert_frame_equal(
        pd.DataFrame(back[["name", "value", "rank", "when"]]),
        pd.DataFrame(wanted[["name", "value", "rank", "when"]]).reset_index(drop=True),
        check_dtype=False,
    )
    assert len(gpd.read_parquet(path, bbox=tuple(back.total_bounds))) == int(back.geometry.notna().sum())
    said = json.loads(pq.read_schema(path).metadata[b"geoetl"])
    assert (said["collection"], said["item"], said["asset"]) == (COLLECTION, item, "data")
    empty = everything(shelf, item, crs=crs, filter="rank = 99")
    path.write_bytes(empty.to_parquet())
    assert len(gpd.read_parquet(path)) == 0
    assert json.loads(empty.to_geojson())["features"] == []


# -- cost, memory, damage --------------------------------------------------------------------------------------------


def test_only_row_groups_that_can_matter_are_read(shelf: Shelf) -> None:
    frame = mixed(nulls=False)
    frame = frame.iloc[frame.hilbert_distance().argsort(kind="stable")].reset_index(drop=True)
    item = shelf.features("sorted", frame)
    features = shelf.platform.features
    whole = features.estimate_query(COLLECTION, item, bbox=BBox(-180, -90, 180, 90), columns=["name"])
    part = features.estimate_query(COLLECTION, item, bbox=BBox(10, 10, 20, 20), columns=["name"])
    assert 0 < part.chunks < whole.chunks / 4
    assert part.bytes < whole.bytes / 3
    assert part.fits


def test_what_costs_too_much_is_refused_before_anything_is_read(shelf: Shelf) -> None:
    item = shelf.features("mixed", mixed())
    features = shelf.platform.features
    features.describe(COLLECTION, item)
    before = features._tables.bytes
    for limits, said, field in (
        (QueryLimits(1_000_000, 1000, 100, 1), "would have to be read", "bbox"),
        (QueryLimits(20, 1000, 1 << 30, 1), "values; the limit is 20", "limit"),
        (QueryLimits(1_000_000, 3, 1 << 30, 1), "chunks would have to be read", "bbox"),
    ):
        with pytest.raises(LimitExceeded, match=said) as error:
            features.query(COLLECTION, item, limit=100, limits=limits)
        assert error.value.field == field
    with pytest.raises(LimitExceeded, match="limit is 100,001"):
        features.query(COLLECTION, item, limit=100_001)
    assert features._tables.bytes == before


def test_what_is_kept_stays_within_its_bound_and_answers_stay_right(shelf: Shelf) -> None:
    frame = mixed()
    item = shelf.features("mixed", frame)
    features = shelf.platform.features
    kept = 12_000
    features._tables = FeatureTables(shelf.platform.gate, kept_bytes=kept)
    features._selector._tables = features._tables
    for _ in range(2):
        assert ids(everything(shelf, item, filter="rank >= 15")) == np.flatnonzero(frame["rank"] >= 15).tolist()
        assert 0 < features._tables.bytes <= kept


def test_a_damaged_or_lying_file_is_a_sentence(shelf: Shelf) -> None:
    good = awkward()
    lies: dict[str, Any] = {
        "no geo": good.replace_schema_metadata({}),
        "geo is no json": good.replace_schema_metadata({"geo": "{"}),
        "geo is a list": good.replace_schema_metadata({"geo": "[]"}),
        "another column": good.replace_schema_metadata(
            {"geo": json.dumps({"primary_column": "text", "columns": {"text": {"encoding": "WKB"}}})}
        ),
        "unknown crs": good.replace_schema_metadata(
            {
                "geo": json.dumps(
                    {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "crs": {"a": 1}}}}
                )
            }
        ),
        "damaged shapes": good.set_column(
            good.schema.get_field_index("geometry"), "geometry", pa.array([b"\x01\x02", None])
        ),
        "no utf8": good.set_column(
            good.schema.get_field_index("text"),
            "text",
            pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 2, 2], "int32")), pa.py_buffer(b"\xff\xfe")),
        ),
    }
    for number, (name, table) in enumerate(lies.items()):
        item = register_table(shelf, f"lie{number}", table)
        with pytest.raises(GeoetlError) as error:
            everything(shelf, item, bbox=BBox(0, 0, 9, 9))
        assert isinstance(error.value, UnreadableFile), name
        assert str(shelf.folder) not in str(error.value), name
    cut = shelf.folder / "cut.parquet"
    register_table(shelf, "cut", good)
    cut.write_bytes(cut.read_bytes()[:-300])
    with pytest.raises(UnreadableFile):
        everything(shelf, "cut")
    Path(cut).unlink()
    with pytest.raises(NotFound):
        everything(shelf, "cut")


@pytest.mark.parametrize(
    ("question", "kind", "said"),
    [
        ({"filter": "nmae = 'a'"}, InvalidFilter, "Did you mean 'name'?"),
        ({"filter": "bbox = 1"}, InvalidFilter, "There is no property 'bbox'"),
        ({"filter": "geometry = 1"}, InvalidFilter, "no simple value"),
        ({"filter": "S_WITHIN(name, POINT(0 0))"}, InvalidFilter, "is no geometry"),
        ({"filter": "foo(name) = 1"}, InvalidFilter, "not supported"),
        ({"filter": "name = '" + "a" * 1_000_000 + "'"}, InvalidFilter, "more than 8000"),
        ({"where": {"rank": "many"}}, InvalidParameter, "has to be a whole number"),
        ({"where": {"flag": "maybe"}}, InvalidParameter, "has to be true or false"),
        ({"where": {"nmae": "a"}}, InvalidParameter, "Did you mean 'name'?"),
        ({"sortby": "nmae"}, InvalidParameter, "Did you mean 'name'?"),
        ({"sortby": ["name"] * 9}, InvalidParameter, "the limit is 8"),
        ({"sortby": "geometry"}, InvalidParameter, "There is no property"),
        ({"columns": ["nmae"]}, InvalidParameter, "Did you mean 'name'?"),
        ({"columns": ["bbox"]}, InvalidParameter, "There is no column 'bbox'"),
        ({"crs": "EPSG:1"}, InvalidParameter, "no known reference system"),
        ({"filter_crs": "/etc/passwd"}, InvalidParameter, "filter-crs is"),
        ({"bbox": ProjectedBox(0, 0, 1, 1, "EPSG:5773")}, InvalidParameter, "bbox-crs is"),
        ({"datetime": "yesterday"}, InvalidTime, "is not a date"),
        ({"offset": -1}, InvalidParameter, "expected 0 or more"),
    ],
)
def test_a_wrong_question_is_told_what_is_right(
    shelf: Shelf, question: Any, kind: type[GeoetlError], said: str
) -> None:
    item = shelf.features("mixed", mixed(40))
    with pytest.raises(kind) as error:
        shelf.platform.features.query(COLLECTION, item, **question)
    assert said in str(error.value)
