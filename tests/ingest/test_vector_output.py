"""What vector ingest writes: GeoParquet by its schema and its statistics, and the STAC item by its."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from geoetl.core.errors import EmptyDataset, InvalidParameter
from geoetl.ingest import VectorIngest, VectorRequest
from geoetl.ingest.vector import CheckedVector, VectorFiles, write
from geoetl.store.catalog.item import PROJECTION, TABLE
from tests.conftest import missing
from tests.schemas import schema_errors

SCHEMA = Path(__file__).parents[3] / "shared" / "data" / "geoparquet" / "schema-v1.1.0.json"
EDGES = ("xmin", "ymin", "xmax", "ymax")


def ingest(vector: VectorIngest, source: Path | str, **more: Any) -> tuple[CheckedVector, VectorFiles, dict[str, Any]]:
    request = VectorRequest(source=str(source), collection="c", **more)
    checked = vector.validate(request)
    files = vector.to_files(request, checked)
    return checked, files, vector.item(request, checked, files, None)


def path_of(vector: VectorIngest, files: VectorFiles) -> Path:
    return vector.zone.local_path(files.data.key)


def scattered(count: int = 50_000) -> gpd.GeoDataFrame:
    random = np.random.default_rng(1)
    x, y = random.uniform(-179, 179, count), random.uniform(-85, 85, count)
    half = random.uniform(0.001, 0.1, count)
    shapes = shapely.box(x - half, y - half, x + half, y + half)
    return gpd.GeoDataFrame({"n": np.arange(count)}, geometry=shapes, crs="EPSG:4326")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many") / "many.fgb"
    scattered().to_file(path, SPATIAL_INDEX="NO")
    return path


@pytest.fixture
def open_vector(vector: VectorIngest, many: Path) -> VectorIngest:
    from dataclasses import replace

    return replace(vector, gate=replace(vector.gate, roots=(*vector.gate.roots, many.parent.resolve())))


def test_the_metadata_of_geoparquet_fit_the_official_schema(vector: VectorIngest) -> None:
    if not SCHEMA.is_file():
        missing("shared/data", "it lies beside the checkout")
    _, files, _ = ingest(vector, "samples:us_states.geojson")
    metadata = json.loads(pq.read_schema(path_of(vector, files)).metadata[b"geo"])
    # The CRS is looked at below; its schema lies elsewhere.
    schema = Resource({}, DRAFT7)
    registry = Registry(retrieve=lambda _: schema)  # type: ignore[call-arg,var-annotated]
    assert not list(jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()), registry=registry).iter_errors(metadata))
    assert metadata["version"] == "1.1.0"
    column = metadata["columns"][metadata["primary_column"]]
    assert pyproj.CRS.from_json_dict(column["crs"]) == pyproj.CRS("EPSG:4326")
    assert column["covering"]["bbox"] == {edge: ["bbox", edge] for edge in EDGES}


def test_the_metadata_say_what_the_rows_hold(open_vector: VectorIngest, many: Path) -> None:
    _, files, _ = ingest(open_vector, many)
    path = path_of(open_vector, files)
    made = gpd.read_parquet(path)
    table = pq.read_table(path, columns=["geometry", "bbox"])
    column = json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]
    assert column["bbox"] == pytest.approx(made.total_bounds.tolist(), abs=0)
    assert column["geometry_types"] == sorted(set(made.geom_type))
    boxes = table.column("bbox").combine_chunks()
    assert [field.name for field in boxes.type] == list(EDGES)
    bounds = shapely.bounds(shapely.from_wkb(table.column("geometry").to_numpy()))
    for number, edge in enumerate(EDGES):
        assert boxes.field(edge).to_numpy().tolist() == bounds[:, number].tolist()
    assert all(
        wkb[0] == 1 and int.from_bytes(wkb[1:5], "little") in (3, 6) for wkb in table.column("geometry").to_pylist()
    )


def test_row_groups_are_compact_and_say_where_they_lie(open_vector: VectorIngest, many: Path) -> None:
    _, files, _ = ingest(open_vector, many)
    metadata = pq.read_metadata(path_of(open_vector, files))
    areas = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        assert group.num_rows <= write.ROW_GROUP_SIZE
        named = {group.column(i).path_in_schema: group.column(i).statistics for i in range(group.num_columns)}
        edges = [named[f"bbox.{edge}"] for edge in EDGES]
        assert all(edge.has_min_max for edge in edges)
        areas.append((edges[2].max - edges[0].min) * (edges[3].max - edges[1].min))
    assert metadata.num_row_groups == 3
    # In the order of the file each group would span the whole world.
    assert sum(areas) < 1.6 * 358 * 170


def test_features_in_several_spans_come_out_in_the_same_order(
    open_vector: VectorIngest, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole, _ = ingest(open_vector, many)
    monkeypatch.setattr(write, "SPAN_BYTES", 1_000_000)
    _, pieces, _ = ingest(open_vector, many)
    assert pieces.data.sha256 == whole.data.sha256
    assert pieces.pmtiles.sha256 == whole.pmtiles.sha256
    made = gpd.read_parquet(path_of(open_vector, whole))
    assert sorted(made["n"]) == list(range(50_000))


def test_the_same_source_gives_the_same_bytes(vector: VectorIngest) -> None:
    _, first, _ = ingest(vector, "samples:us_states.geojson")
    _, second, _ = ingest(vector, "samples:us_states.geojson")
    assert first == second


def test_the_item_fits_the_schemas_and_tells_all(vector: VectorIngest, tmp_path: Path) -> None:
    scattered(20).assign(day="2020-02-03").to_file(tmp_path / "x.gpkg")
    _, files, item = ingest(
        vector, tmp_path / "x.gpkg", description="Squares", license="CC-BY-4.0", attribution="Us", keywords=["a", "b"],
        temporal_property="day",
    )  # fmt: skip
    assert schema_errors(item) == []
    assert {TABLE, PROJECTION} <= set(item["stac_extensions"])
    properties = item["properties"]
    assert (properties["table:row_count"], properties["proj:code"]) == (20, "EPSG:4326")
    assert properties["datetime"] == "2020-02-03T00:00:00Z"
    assert (properties["license"], properties["keywords"], properties["attribution"]) == ("CC-BY-4.0", ["a", "b"], "Us")
    assert [column["name"] for column in properties["table:columns"]] == ["n", "day", "geometry"]
    assert files.rows == 20


# -- times -------------------------------------------------------------------------------------------------------------


def timed(path: Path, **columns: list[Any]) -> Path:
    count = len(next(iter(columns.values())))
    shapes = [shapely.Point(i, i) for i in range(count)]
    gpd.GeoDataFrame(columns, geometry=shapes, crs="EPSG:4326").to_file(path)
    return path


def test_the_item_spans_the_times_of_its_features(vector: VectorIngest, tmp_path: Path) -> None:
    days = ["2020-05-01", "2019-01-01T12:00:00+02:00", None, "yesterday", "2021"]
    checked, _, item = ingest(vector, timed(tmp_path / "x.gpkg", day=days), temporal_property="day")
    assert item["properties"]["datetime"] is None
    assert item["properties"]["start_datetime"] == "2019-01-01T10:00:00Z"
    assert item["properties"]["end_datetime"] == "2021-01-01T00:00:00Z"
    assert [(f.code, f.subject) for f in checked.findings] == [("invalid_datetime", "rows 4")]


def test_ranges_that_end_before_they_begin_are_told(vector: VectorIngest, tmp_path: Path) -> None:
    path = timed(tmp_path / "x.gpkg", a=["2020-01-01", "2030-01-01"], b=["2020-06-01", "2001-01-01"])
    checked, _, item = ingest(vector, path, temporal_property="a/b")
    assert item["properties"]["start_datetime"] == "2020-01-01T00:00:00Z"
    assert item["properties"]["end_datetime"] == "2020-06-01T00:00:00Z"
    assert [(f.code, f.subject) for f in checked.findings] == [("reversed_times", "rows 2")]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"temporal_property": "dy"}, "There is no column 'dy'"),
        ({"temporal_property": "number"}, "holds int64, not times"),
        ({"temporal_property": "word"}, "No feature has a time in 'word'"),
        ({"temporal_property": "a/b/c"}, "names neither a column nor two"),
        ({"temporal_property": "day", "valid_at": "2020"}, "either in a column or the same for all"),
        ({"simplify_tolerance": float("nan")}, "simplify_tolerance"),
        ({"simplify_tolerance": -1}, "simplify_tolerance"),
        ({"mode": "merge"}, "mode"),
        ({"license": "a b"}, "license"),
    ],
)
def test_parameters_that_do_not_fit_are_told(
    vector: VectorIngest, tmp_path: Path, more: dict[str, Any], says: str
) -> None:
    path = timed(tmp_path / "x.gpkg", day=["2020-01-01"], number=[2020], word=["soon"])
    with pytest.raises(InvalidParameter, match=says):
        ingest(vector, path, **more)


# -- repairs -----------------------------------------------------------------------------------------------------------


def lines(*shapes: shapely.Geometry | None) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"n": range(len(shapes))}, geometry=list(shapes), crs="EPSG:4326")


def test_a_collection_of_geometries_is_refused_with_its_rows(vector: VectorIngest, tmp_path: Path) -> None:
    mixed = shapely.GeometryCollection([shapely.Point(0, 0), shapely.box(0, 0, 1, 1)])
    lines(shapely.Point(0, 0), mixed, shapely.Point(1, 1), mixed).to_file(tmp_path / "x.gpkg")
    with pytest.raises(InvalidParameter, match=r"2 features of 'x.gpkg' are collections of geometries \(rows 2, 4\)"):
        ingest(vector, tmp_path / "x.gpkg")


def test_an_empty_collection_is_a_missing_geometry(vector: VectorIngest, tmp_path: Path) -> None:
    lines(shapely.GeometryCollection(), shapely.Point(1, 1), shapely.Point(), None).to_file(tmp_path / "x.gpkg")
    checked, files, _ = ingest(vector, tmp_path / "x.gpkg")
    assert [(f.code, f.subject) for f in checked.findings] == [("missing_geometry", "rows 1, 3, 4")]
    assert files.rows == 1


def test_single_geometries_are_promoted_only_among_multiple_ones(vector: VectorIngest, tmp_path: Path) -> None:
    area, line = shapely.box(0, 0, 1, 1), shapely.LineString([(0, 0), (1, 1)])
    lines(area, shapely.MultiPolygon([shapely.box(2, 2, 3, 3)]), line, shapely.Point(0, 0)).to_file(tmp_path / "x.gpkg")
    checked, files, _ = ingest(vector, tmp_path / "x.gpkg")
    assert checked.geometry_types == ("LineString", "MultiPolygon", "Point") == files.geometry_types
    made = gpd.read_parquet(path_of(vector, files)).sort_values("n")
    assert made.geom_type.tolist() == ["MultiPolygon", "MultiPolygon", "LineString", "Point"]
    assert made.geometry.iloc[0].equals(area)


def test_many_rows_are_counted_and_the_first_named(vector: VectorIngest, tmp_path: Path) -> None:
    lines(*([None] * 30), shapely.Point(0, 0)).to_file(tmp_path / "x.gpkg")
    (finding,) = ingest(vector, tmp_path / "x.gpkg")[0].findings
    assert finding.message.startswith("30 features")
    assert finding.subject == f"rows {', '.join(map(str, range(1, 21)))} and 10 more"


def test_features_of_the_same_content_are_told(vector: VectorIngest, tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {"a": [1, 1, 2, 1, None, None], "b": ["x", "x", "x", "y", None, None]},
        geometry=[shapely.Point(0, 0)] * 6, crs="EPSG:4326",
    )  # fmt: skip
    frame.to_file(tmp_path / "x.gpkg")
    checked, files, _ = ingest(vector, tmp_path / "x.gpkg")
    assert [(f.code, f.subject) for f in checked.findings] == [("duplicate_features", "rows 2, 6")]
    assert files.rows == 6


def test_detail_is_left_out_as_asked(vector: VectorIngest, tmp_path: Path) -> None:
    circle = shapely.Point(0, 0).buffer(1, quad_segs=200)
    lines(circle, shapely.box(5, 5, 6, 6)).to_file(tmp_path / "x.gpkg")
    checked, files, _ = ingest(vector, tmp_path / "x.gpkg", simplify_tolerance=0.01, snap_to_grid=0.001)
    made = gpd.read_parquet(path_of(vector, files)).sort_values("n")
    assert shapely.get_num_coordinates(made.geometry.iloc[0]) < 60
    assert made.is_valid.all()
    places = shapely.get_coordinates(made.geometry.to_numpy())
    np.testing.assert_allclose(places, np.rint(places * 1000) / 1000, atol=1e-12)
    assert ("simplified", "rows 1") in [(f.code, f.subject) for f in checked.findings]
    tiny = lines(shapely.box(0, 0, 1e-6, 1e-6))
    tiny.to_file(tmp_path / "y.gpkg")
    with pytest.raises(EmptyDataset):
        ingest(vector, tmp_path / "y.gpkg", snap_to_grid=0.5)


def test_a_place_beyond_the_earth_is_refused(vector: VectorIngest, tmp_path: Path) -> None:
    mars = "+proj=longlat +a=3396190 +b=3376200 +no_defs"
    lines(shapely.Point(1, 1)).set_crs(mars, allow_override=True).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InvalidParameter) as caught:
        ingest(vector, tmp_path / "x.parquet")
    assert caught.value.field == "crs"


def test_what_lies_across_the_antimeridian_beyond_a_corner_keeps_its_kind(vector: VectorIngest, tmp_path: Path) -> None:
    shape = shapely.Polygon([(180, 0), (190, 0), (190, 10), (180, 10), (178, 5)])
    lines(shape, shapely.LineString([(170, 0), (190, 5)])).to_file(tmp_path / "x.gpkg")
    checked, files, _ = ingest(vector, tmp_path / "x.gpkg")
    assert set(files.geometry_types) <= {"Polygon", "MultiPolygon", "LineString", "MultiLineString"}
    assert "normalised" in [finding.code for finding in checked.findings]
