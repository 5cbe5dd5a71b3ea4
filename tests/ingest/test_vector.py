"""Vector ingest against geopandas and GDAL as oracles."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
import pytest
import shapely

from geoetl.core.errors import EmptyDataset, InvalidParameter
from geoetl.ingest import VectorIngest, VectorRequest
from geoetl.ingest.vector import CheckedVector, VectorFiles
from geoetl.store.samples import sample_path

BOWTIE = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])


def ingest(vector: VectorIngest, source: Path | str, **more: str) -> tuple[CheckedVector, VectorFiles, dict[str, Any]]:
    request = VectorRequest(source=str(source), collection="c", **more)
    checked = vector.validate(request)
    files = vector.to_files(request, checked)
    return checked, files, vector.item(request, checked, files, None)


def squares(count: int = 3, crs: str = "EPSG:4326") -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(
        {"id": range(count), "name": [f"n{i}" for i in range(count)]},
        geometry=[shapely.box(i, 0, i + 0.5, 0.5) for i in range(count)],
        crs=crs,
    )


def write(frame: gpd.GeoDataFrame, path: Path) -> Path:
    frame.to_file(path)
    return path


def test_the_geoparquet_holds_the_same_features(vector: VectorIngest) -> None:
    _, files, _ = ingest(vector, "samples:us_states.geojson")
    source = gpd.read_file(sample_path("us_states.geojson"))
    made = gpd.read_parquet(vector.zone.local_path(files.data.key))
    both = source.merge(made, on="state", suffixes=("", "_made"))
    assert len(both) == len(source) == len(made)
    valid = both["geometry"].is_valid
    assert valid.sum() == 47
    assert both["geometry"][valid].geom_equals(both["geometry_made"][valid]).all()
    assert both["geometry_made"].is_valid.all()


def test_a_bbox_filter_equals_a_full_filter(vector: VectorIngest) -> None:
    _, files, _ = ingest(vector, "samples:us_states.geojson")
    path = vector.zone.local_path(files.data.key)
    box = (-90.0, 30.0, -80.0, 35.0)
    some = gpd.read_parquet(path, bbox=box)
    everything = gpd.read_parquet(path)
    touching = everything[everything.bounds.apply(
        lambda b: b.minx <= box[2] and b.maxx >= box[0] and b.miny <= box[3] and b.maxy >= box[1], axis=1
    )]  # fmt: skip
    assert set(some["state"]) == set(touching["state"])
    assert 0 < len(some) < len(everything)


def test_gdal_opens_the_vector_tiles(vector: VectorIngest) -> None:
    checked, files, _ = ingest(vector, "samples:us_states.geojson")
    path = vector.zone.local_path(files.pmtiles.key)
    info = pyogrio.read_info(path)
    assert info["driver"] == "PMTiles"
    assert {column.name for column in checked.columns} <= set(info["fields"])
    tiled = pyogrio.read_dataframe(path)
    assert set(tiled["state"]) == set(gpd.read_parquet(vector.zone.local_path(files.data.key))["state"])


def test_text_of_natural_earth_is_utf8_though_it_does_not_say_so(vector: VectorIngest) -> None:
    checked = vector.validate(VectorRequest(source="samples:ne_10m_admin_0_countries.zip", collection="c"))
    assert [finding.code for finding in checked.findings] == ["encoding_detected", "invalid_geometry", "promoted"]
    assert checked.rows == 250


def test_repairs_are_counted_with_their_rows(vector: VectorIngest, tmp_path: Path) -> None:
    frame = squares(4)
    frame.loc[1, "geometry"] = BOWTIE
    frame.loc[2, "geometry"] = None
    frame.loc[3, "geometry"] = shapely.force_3d(frame.geometry[3], 5)
    checked, files, item = ingest(vector, write(frame, tmp_path / "x.gpkg"))
    assert [(f.code, f.subject) for f in checked.findings] == [
        ("missing_geometry", "rows 3"),
        ("invalid_geometry", "rows 2"),
        ("flattened", "rows 4"),
        ("promoted", None),
    ]
    made = gpd.read_parquet(vector.zone.local_path(files.data.key))
    assert (checked.rows_read, checked.rows, len(made)) == (4, 3, 3)
    assert made.is_valid.all()
    assert not made.has_z.any()
    assert "3 of 4 features" in item["properties"]["processing:lineage"]


def test_features_are_reprojected_to_longitude_and_latitude(vector: VectorIngest, tmp_path: Path) -> None:
    frame = squares().to_crs("EPSG:2263")
    checked, files, _ = ingest(vector, write(frame, tmp_path / "feet.gpkg"))
    made = gpd.read_parquet(vector.zone.local_path(files.data.key)).sort_values("id").reset_index(drop=True)
    assert checked.crs == "EPSG:2263"
    assert made.geom_equals_exact(squares().geometry, 1e-6).all()


def test_column_names_become_unique_without_regard_to_case(vector: VectorIngest, tmp_path: Path) -> None:
    frame = squares().rename(columns={"id": "Größe (m²)", "name": "bbox"})
    checked, *_ = ingest(vector, write(frame, tmp_path / "x.geojson"))
    assert [(c.name, c.source_name) for c in checked.columns] == [("Größe_m²", "Größe (m²)"), ("bbox_2", "bbox")]


def test_the_item_lists_columns_and_rows(vector: VectorIngest, tmp_path: Path) -> None:
    _, _, item = ingest(vector, write(squares(), tmp_path / "x.geojson"), title="Squares")
    properties = item["properties"]
    assert properties["title"] == "Squares"
    assert properties["table:row_count"] == 3
    assert {column["name"]: column["type"] for column in properties["table:columns"]} == {
        "id": "int32", "name": "string", "geometry": "binary",
    }  # fmt: skip
    assert set(item["assets"]) == {"data", "pmtiles", "thumbnail"}


@pytest.mark.parametrize(
    "geometry",
    [
        [shapely.Point(0, 0), shapely.Point(1, 1)],
        [shapely.LineString([(0, 0), (1, 1)]), shapely.LineString([(1, 0), (0, 1)])],
        [shapely.Point(0, 0), shapely.box(0, 0, 1, 1)],
        [shapely.Point(179.9, -89.9)],
    ],
    ids=["points", "lines", "mixed", "one point at the edge"],
)
def test_every_kind_of_geometry_gets_tiles_and_a_picture(
    vector: VectorIngest, tmp_path: Path, geometry: list[shapely.Geometry]
) -> None:
    frame = gpd.GeoDataFrame({"n": range(len(geometry))}, geometry=geometry, crs="EPSG:4326")
    _, files, _ = ingest(vector, write(frame, tmp_path / "x.gpkg"))
    assert files.pmtiles.bytes > 0
    assert files.thumbnail.bytes > 0


def test_a_file_of_empty_geometries_is_refused(vector: VectorIngest, tmp_path: Path) -> None:
    frame = squares(1)
    frame.loc[0, "geometry"] = None
    with pytest.raises(EmptyDataset, match="No feature has a geometry"):
        ingest(vector, write(frame, tmp_path / "x.gpkg"))


def test_coordinates_that_do_not_fit_the_crs_are_refused(vector: VectorIngest, tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"n": [1]}, geometry=[shapely.Point(1e12, 1e12)], crs="EPSG:32633")
    with pytest.raises(InvalidParameter, match="do not fit its reference system"):
        ingest(vector, write(frame, tmp_path / "x.gpkg"))


@pytest.mark.parametrize(
    ("box", "bbox"),
    [
        ((-180, -10, 180.00000000000003, 10), (-180, -10, 180, 10)),
        ((170, -10, 180.003, 10), (170, -10, 180, 10)),
        ((190, 0, 200, 5), (-170, 0, -160, 5)),
        ((175, 0, 185, 5), (-180, 0, 180, 5)),
    ],
    ids=["a hair beyond", "within the slack", "0 to 360", "across"],
)
def test_longitudes_beyond_180_are_brought_back(
    vector: VectorIngest, tmp_path: Path, box: tuple[float, ...], bbox: tuple[float, ...]
) -> None:
    frame = gpd.GeoDataFrame({"n": [1]}, geometry=[shapely.box(*box)], crs="EPSG:4326")
    checked, files, _ = ingest(vector, write(frame, tmp_path / "x.gpkg"))
    assert checked.bbox == pytest.approx(bbox)
    assert [finding.code for finding in checked.findings] == ["normalised"]
    made = gpd.read_parquet(vector.zone.local_path(files.data.key))
    assert made.total_bounds.tolist() == pytest.approx(list(bbox))
    assert made.area.sum() == pytest.approx(shapely.box(*box).area, rel=1e-3)


def test_metres_in_a_geojson_are_refused(vector: VectorIngest, tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"n": [1]}, geometry=[shapely.box(-1e6, -1e6, 1e6, 1e6)], crs="EPSG:4326")
    with pytest.raises(InvalidParameter, match="do not fit its reference system") as caught:
        ingest(vector, write(frame, tmp_path / "metres.gpkg"))
    assert caught.value.field == "crs"


def test_integers_with_gaps_stay_integers(vector: VectorIngest, tmp_path: Path) -> None:
    (tmp_path / "x.geojson").write_text(
        '{"type": "FeatureCollection", "features": ['
        '{"type": "Feature", "properties": {"id": 9007199254740993, "ok": true},'
        ' "geometry": {"type": "Point", "coordinates": [1, 1]}},'
        '{"type": "Feature", "properties": {"id": null, "ok": null},'
        ' "geometry": {"type": "Point", "coordinates": [2, 2]}}]}'
    )
    checked, files, _ = ingest(vector, tmp_path / "x.geojson")
    assert {column.name: column.type for column in checked.columns} == {"id": "int64", "ok": "bool"}
    made = gpd.read_parquet(vector.zone.local_path(files.data.key))
    assert 9007199254740993 in set(made["id"].dropna())


def test_a_polygon_that_collapses_is_left_out_with_its_row(vector: VectorIngest, tmp_path: Path) -> None:
    frame = squares(2)
    frame.loc[1, "geometry"] = shapely.Polygon([(0, 0), (1, 1), (2, 2), (0, 0)])
    checked, *_ = ingest(vector, write(frame, tmp_path / "x.gpkg"))
    assert [finding.code for finding in checked.findings] == ["invalid_geometry", "collapsed"]
    assert checked.rows == 1
