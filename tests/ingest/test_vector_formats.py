"""Every format, and every real file that is known for an oddity, is ingested or refused with its true reason."""

import json
import re
import socket
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely

from geoetl.core.errors import (
    FormatNotAllowed,
    GeoetlError,
    InvalidParameter,
    LimitExceeded,
    MissingCRS,
    UnreadableFile,
)
from geoetl.core.settings import LimitSettings
from geoetl.ingest import VectorIngest, VectorRequest
from geoetl.ingest.vector import CheckedVector
from geoetl.store.gate import Gate
from geoetl.store.zones import Zone
from tests.conftest import missing

DATA = Path(__file__).parents[3] / "shared" / "data"
NE = "vector/natural_earth"

# File: features, geometry types, codes of what is found.
TAKEN: dict[str, tuple[int, set[str], list[str]]] = {
    "vector/colorado-counties.geojson": (64, {"Polygon"}, []),
    "vector/earthquakes.csv": (596, {"Point"}, ["place_columns", "degrees"]),
    "vector/line_zm.gpkg": (1, {"LineString"}, ["measures_dropped", "flattened"]),
    "vector/naturalearth_cities/naturalearth_cities.shp": (243, {"Point"}, []),
    "vector/naturalearth_lowres/naturalearth_lowres.shp": (177, {"MultiPolygon"}, ["normalised", "promoted"]),
    "vector/nybb_16a.zip": (5, {"MultiPolygon"}, ["encoding_detected"]),
    "vector/test_gpkg_nulls.gpkg": (4, {"Point"}, []),
    "vector/us_states.geojson": (49, {"MultiPolygon"}, ["invalid_geometry", "promoted"]),
    "vector/wise_large_rivers.zip": (20, {"MultiLineString"}, ["promoted"]),
    f"{NE}/ne_10m_parks_and_protected_lands_area.json": (61, {"MultiPolygon"}, ["promoted"]),
    f"{NE}/ne_10m_parks_and_protected_lands_line.json": (29, {"MultiLineString"}, ["invalid_geometry", "promoted"]),
    f"{NE}/ne_110m_admin_0_countries.json": (
        177, {"MultiPolygon"}, ["invalid_geometry", "promoted", "renamed_columns"],
    ),
    f"{NE}/ne_110m_geographic_lines.json": (6, {"MultiLineString"}, ["normalised", "promoted"]),
    f"{NE}/ne_110m_lakes.json": (25, {"Polygon"}, []),
    f"{NE}/ne_110m_populated_places_simple.json": (243, {"Point"}, []),
    f"{NE}/ne_110m_rivers_lake_centerlines.json": (13, {"LineString"}, []),
    "geoparquet/example-v1.0.0.parquet": (5, {"MultiPolygon"}, ["promoted"]),
    "geoparquet/example-v1.1.0.parquet": (5, {"MultiPolygon"}, ["promoted"]),
    "geoparquet/example-2.0-dev.parquet": (5, {"MultiPolygon"}, ["geoparquet_version", "promoted"]),
}  # fmt: skip
REFUSED = {
    f"{NE}/ne_50m_admin_0_countries.7z": "is 7z archive, not vector data",
    "vector/naturalearth_cities/naturalearth_cities.README.html": "is a web page",
    "vector/naturalearth_cities/naturalearth_cities.VERSION.txt": "is of an unknown format",
    "vector/naturalearth_cities/naturalearth_cities.cpg": "is of an unknown format",
    "vector/naturalearth_cities/naturalearth_cities.dbf": "is of an unknown format",
    "vector/naturalearth_cities/naturalearth_cities.prj": "is of an unknown format",
    "vector/naturalearth_lowres/naturalearth_lowres.cpg": "is of an unknown format",
    "vector/naturalearth_lowres/naturalearth_lowres.dbf": "is of an unknown format",
    "vector/naturalearth_lowres/naturalearth_lowres.prj": "is of an unknown format",
    "geoparquet/schema-v1.0.0.json": "holds no readable features",
    "geoparquet/schema-v1.1.0.json": "holds no readable features",
}
# Parts of a Shapefile whose first bytes are those of the .shp.
TWINS = {
    "vector/naturalearth_cities/naturalearth_cities.shx",
    "vector/naturalearth_lowres/naturalearth_lowres.shx",
}


@pytest.fixture
def real(parts: tuple[Gate, Zone, Path]) -> VectorIngest:
    """Give the stages with the real files among the allowed roots."""
    if not DATA.is_dir():
        missing("shared/data", "it lies beside the checkout")
    gate, zone, scratch = parts
    return VectorIngest(Gate((*gate.roots, DATA.resolve()), LimitSettings()), zone, scratch)


def ingest(vector: VectorIngest, source: Path, **more: Any) -> tuple[CheckedVector, gpd.GeoDataFrame]:
    request = VectorRequest(source=str(source), collection="c", **more)
    checked = vector.validate(request)
    files = vector.to_files(request, checked)
    return checked, gpd.read_parquet(vector.zone.local_path(files.data.key))


def codes(checked: CheckedVector) -> list[str]:
    return [finding.code for finding in checked.findings]


def places(count: int = 3) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(
        {"n": range(count), "name": [f"Ort {i} ä" for i in range(count)]},
        geometry=[shapely.Point(i, i + 0.5) for i in range(count)],
        crs="EPSG:4326",
    )


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


# -- real files --------------------------------------------------------------------------------------------------------


def test_every_real_file_is_accounted_for() -> None:
    if not DATA.is_dir():
        missing("shared/data", "it lies beside the checkout")
    there = {
        str(path.relative_to(DATA)) for folder in ("vector", "geoparquet") for path in (DATA / folder).rglob("*.*")
        if path.is_file()
    }  # fmt: skip
    assert there == TAKEN.keys() | REFUSED.keys() | TWINS


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_a_real_file_is_ingested(real: VectorIngest, name: str) -> None:
    rows, types, found = TAKEN[name]
    checked, made = ingest(real, DATA / name)
    assert (checked.rows, len(made), codes(checked)) == (rows, rows, found)
    assert set(made.geom_type) == types == set(checked.geometry_types)
    assert made.is_valid.all()
    assert not made.has_z.any()
    assert made.crs == "EPSG:4326"
    west, south, east, north = made.total_bounds
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_real_file_that_holds_no_features_is_refused_with_its_reason(real: VectorIngest, name: str) -> None:
    with pytest.raises(GeoetlError, match=REFUSED[name]) as caught:
        real.validate(VectorRequest(source=str(DATA / name), collection="c"))
    assert caught.value.hint


def test_a_cpg_is_believed(real: VectorIngest) -> None:
    _, made = ingest(real, DATA / "vector/naturalearth_lowres/naturalearth_lowres.shp")
    assert "Côte d'Ivoire" in set(made["name"])
    _, made = ingest(real, DATA / "vector/naturalearth_cities/naturalearth_cities.shp")
    assert {"Lomé", "Reykjavík"} <= set(made["name"])


def test_nulls_of_every_type_stay_nulls(real: VectorIngest) -> None:
    source = pyogrio.read_dataframe(DATA / "vector/test_gpkg_nulls.gpkg")
    _, made = ingest(real, DATA / "vector/test_gpkg_nulls.gpkg")
    names = [name for name in source.columns if name != "geometry"]
    assert made[names].isna().sum().to_dict() == source[names].isna().sum().to_dict()


def test_a_crs_without_a_code_is_reprojected_from_its_text(real: VectorIngest) -> None:
    source = pyogrio.read_dataframe(DATA / "vector/wise_large_rivers.zip").to_crs("EPSG:4326")
    _, made = ingest(real, DATA / "vector/wise_large_rivers.zip")
    assert made.total_bounds == pytest.approx(source.total_bounds, abs=1e-9)


def test_codes_of_minus_99_are_kept_as_they_are(real: VectorIngest) -> None:
    _, made = ingest(real, DATA / f"{NE}/ne_110m_admin_0_countries.json")
    assert set(made.loc[made["ISO_A3"] == "-99", "ADM0_A3"]) == {"FRA", "NOR", "KOS", "CYN", "SOL"}


# -- formats -----------------------------------------------------------------------------------------------------------

WRITERS = {
    "x.geojson": {"driver": "GeoJSON"},
    "x.geojsonl": {"driver": "GeoJSONSeq"},
    "x.geojsons": {"driver": "GeoJSONSeq", "RS": "YES"},
    "x.gpkg": {"driver": "GPKG"},
    "x.fgb": {"driver": "FlatGeobuf"},
    "x.shp": {"driver": "ESRI Shapefile", "encoding": "UTF-8"},
    "x.kml": {"driver": "LIBKML"},
}


def write(frame: gpd.GeoDataFrame, path: Path) -> Path:
    pyogrio.write_dataframe(frame, path, **WRITERS[path.name])  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("name", sorted(WRITERS))
@pytest.mark.parametrize("packed", [False, True], ids=["loose", "zipped"])
def test_every_format_gives_the_same_features(vector: VectorIngest, tmp_path: Path, name: str, packed: bool) -> None:
    path = write(places(), tmp_path / name)
    if packed:
        path = zipped(tmp_path / "a.zip", {f"sub/{p.name}": p.read_bytes() for p in sorted(tmp_path.glob("x.*"))})
    _, made = ingest(vector, path)
    made = made.sort_values("n", key=lambda column: column.astype(int))
    assert made["n"].astype(int).tolist() == [0, 1, 2]
    assert made["Name" if name == "x.kml" else "name"].tolist() == [f"Ort {i} ä" for i in range(3)]
    assert shapely.equals_exact(made.geometry.to_numpy(), places().geometry.to_numpy(), 1e-9).all()


def test_a_kmz_is_read_by_its_main_document(vector: VectorIngest, tmp_path: Path) -> None:
    kml = write(places(), tmp_path / "x.kml").read_bytes()
    path = zipped(tmp_path / "x.kmz", {"doc.kml": kml, "files/more.kml": kml, "files/icon.png": b"\x89PNG\r\n"})
    checked, made = ingest(vector, path)
    assert len(made) == 3
    assert "empty_columns" in codes(checked)
    assert "tessellate" not in made.columns


def test_a_folder_of_a_kml_is_a_layer(vector: VectorIngest, tmp_path: Path) -> None:
    mark = "<Placemark><name>{0}</name><Point><coordinates>{0},2</coordinates></Point></Placemark>"
    folders = "".join(f"<Folder><name>f{n}</name>{mark.format(n)}</Folder>" for n in (1, 2))
    text = f"<kml xmlns='http://www.opengis.net/kml/2.2'><Document>{folders}</Document></kml>"
    (tmp_path / "x.kml").write_text(text)
    with pytest.raises(InvalidParameter, match="has 2 layers: f1, f2"):
        ingest(vector, tmp_path / "x.kml")
    checked, made = ingest(vector, tmp_path / "x.kml", layer="f2")
    assert (checked.layer, made["Name"].tolist()) == ("f2", ["2"])


@pytest.fixture
def listener() -> Iterator[tuple[int, list[str]]]:
    """Give a port that counts who asks it."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, (host, _) = server.accept()
                except OSError:
                    return
                asked.append(host)
                connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)


def test_a_kml_asks_no_host_for_what_it_links_to(
    vector: VectorIngest, tmp_path: Path, listener: tuple[int, list[str]]
) -> None:
    port, asked = listener
    url = f"http://127.0.0.1:{port}/x.kml"
    link = f"<NetworkLink><Link><href>{url}</href></Link></NetworkLink><styleUrl>{url}#a</styleUrl>"
    mark = f"<Placemark><name>a</name>{link}<Point><coordinates>1,2</coordinates></Point></Placemark>"
    overlay = f"<GroundOverlay><Icon><href>{url}</href></Icon></GroundOverlay>"
    (tmp_path / "x.kml").write_text(
        f"<kml xmlns='http://www.opengis.net/kml/2.2'><Document>{mark}{overlay}{link}</Document></kml>"
    )
    assert len(ingest(vector, tmp_path / "x.kml")[1]) == 1
    assert asked == []


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE kml [<!ENTITY x SYSTEM "file:///etc/passwd">]><kml><name>&x;</name></kml>',
        '<?xml version="1.0"?><!-- <kml> --><!DOCTYPE kml [<!ENTITY a "b">]><kml/>',
        '<?xml version="1.0" encoding="utf-7"?><kml/>',
        "<!-- <OGRVRTDataSource/> --><kml><Document/></kml>",
        '<kml><a b="<OGRVRTDataSource>"/></kml>',
    ],
    ids=["reads", "behind a comment", "encoding", "of another driver", "of another driver within"],
)
def test_a_kml_that_could_lead_out_is_refused(vector: VectorIngest, tmp_path: Path, text: str) -> None:
    (tmp_path / "x.kml").write_text(text)
    with pytest.raises(FormatNotAllowed):
        ingest(vector, tmp_path / "x.kml")


# -- CSV ---------------------------------------------------------------------------------------------------------------


def table(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding)
    return path


def test_columns_of_a_csv_keep_the_type_that_all_rows_share(vector: VectorIngest, tmp_path: Path) -> None:
    text = (
        "lat,lon,code,count,share,day,time,zoned,flag,mixed,empty\n"
        "1.5,2.5,007,3,0.5,2020-02-29,2020-02-29 10:00,2020-02-29T10:00:00+02:00,true,1,\n"
        "2.5,3.5,012,,1e3,2021-01-01,2021-01-01T00:00:00,2021-01-01T00:00:00Z,false,x,\n"
    )
    checked, made = ingest(vector, table(tmp_path / "x.csv", text))
    assert {column.name: column.type for column in checked.columns} == {
        "code": "string", "count": "int64", "share": "float64", "day": "date", "time": "datetime",
        "zoned": "datetime", "flag": "bool", "mixed": "string", "empty": "string",
    }  # fmt: skip
    made = made.sort_values("code")
    assert made["code"].tolist() == ["007", "012"]
    assert made["zoned"].tolist()[0].isoformat() == "2020-02-29T08:00:00+00:00"
    assert made.geometry.iloc[0].equals(shapely.Point(2.5, 1.5))


@pytest.mark.parametrize(
    ("header", "more"),
    [
        ("Latitude;LONGITUDE;name", {}),
        ("y;x;name", {"lat_name": "y", "lon_name": "x"}),
        ("lat;lon;Latitude", {"lat_name": "lat", "lon_name": "lon"}),
    ],
    ids=["found", "given", "given among several"],
)
def test_the_place_of_a_row_is_found_or_given(
    vector: VectorIngest, tmp_path: Path, header: str, more: dict[str, str]
) -> None:
    _, made = ingest(vector, table(tmp_path / "x.csv", f"{header}\n47.5;8.5;a\n"), **more)
    assert made.geometry.iloc[0].equals(shapely.Point(8.5, 47.5))
    assert made.columns.tolist() == [header.split(";")[2], "geometry"]


@pytest.mark.parametrize(
    ("header", "more", "says"),
    [
        ("lat,latitude,lon", {}, "has several columns that may hold the place: lat, latitude, lon"),
        ("lat,lon,wkt", {}, "has several columns"),
        ("a,b,c", {}, "does not say which of its columns hold the place: a, b, c"),
        ("x,y,z", {}, "does not say which"),
        ("lat,lon,z", {"lat_name": "latt", "lon_name": "lon"}, "has no column 'latt'"),
        ("lat,lon,z", {"lat_name": "lat"}, "either lat_name with lon_name, or wkt_column"),
    ],
)
def test_a_place_that_is_not_to_be_told_is_asked_for(
    vector: VectorIngest, tmp_path: Path, header: str, more: dict[str, str], says: str
) -> None:
    with pytest.raises(InvalidParameter, match=says) as caught:
        ingest(vector, table(tmp_path / "x.csv", f"{header}\n1,2,3\n"), **more)
    assert caught.value.hint
    assert caught.value.field


def test_well_known_text_needs_a_crs_or_says_it(vector: VectorIngest, tmp_path: Path) -> None:
    text = 'wkt,n\n"POLYGON ((0 0, 1 0, 1 1, 0 0))",1\nnonsense,2\n,3\n'
    with pytest.raises(MissingCRS):
        ingest(vector, table(tmp_path / "x.csv", text))
    checked, made = ingest(vector, tmp_path / "x.csv", crs="EPSG:4326")
    assert made["n"].tolist() == [1]
    assert [f.subject for f in checked.findings if f.code == "missing_geometry"] == ["rows 2, 3"]
    said = 'geom,n\n"SRID=3857;POINT (111319.49079327357 0)",1\n'
    _, made = ingest(vector, table(tmp_path / "y.csv", said))
    assert made.geometry.iloc[0].x == pytest.approx(1)
    with pytest.raises(InvalidParameter, match="mixes the reference systems 3857, 4326"):
        ingest(vector, table(tmp_path / "z.csv", said + '"SRID=4326;POINT (1 1)",2\n'))


def test_rows_without_a_right_place_are_left_out_with_their_numbers(vector: VectorIngest, tmp_path: Path) -> None:
    checked, made = ingest(vector, table(tmp_path / "x.csv", "lat,lon,n\n1,1,a\n,1,b\nx,1,c\n1e400,1,d\n 2 , 2 ,e\n"))
    assert sorted(made["n"]) == ["a", "e"]
    assert [(f.code, f.subject) for f in checked.findings if f.severity == "warning"] == [
        ("missing_geometry", "rows 2, 3, 4")
    ]
    (odd,) = (f for f in checked.findings if f.code == "no_place")
    assert odd.message == "1 values of 'lat' in 'x.csv' are no place, for example 'x'."


@pytest.mark.parametrize(
    ("text", "says", "field"),
    [
        ("lat;lon\n47,5;8,5\n46,25;7\n", "All values of 'lat' in 'x.csv' are no place, for example '47,5'", "lat_name"),
        (
            "lat,lon\n48° 8' N,11° 34' E\n",
            "All values of 'lat' in 'x.csv' are no place, for example '48° 8' N'",
            "lat_name",
        ),
        ("wkt,n\nZurich,1\n,2\n", "All values of 'wkt' in 'x.csv' are no place, for example 'Zurich'", "wkt_column"),
    ],
    ids=["decimal comma", "minutes", "names"],
)
def test_columns_without_any_place_are_told_with_what_they_hold(
    vector: VectorIngest, tmp_path: Path, text: str, says: str, field: str
) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(says)) as caught:
        ingest(vector, table(tmp_path / "x.csv", text), crs="EPSG:4326")
    assert caught.value.field == field


def test_a_quote_that_is_never_closed_swallows_no_rows(vector: VectorIngest, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="double quote that is never closed"):
        ingest(vector, table(tmp_path / "x.csv", 'lat,lon,name\n1,2,"a\n3,4,b\n'))
    _, made = ingest(vector, table(tmp_path / "y.csv", 'lat,lon,name\n1,2,a\n3,4,"b\nc"\n'))
    assert sorted(made["name"]) == ["a", "b\nc"]


def test_json_that_cannot_be_read_is_told_with_the_place_and_the_reason(vector: VectorIngest, tmp_path: Path) -> None:
    feature = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {"n": 2**63}}
    document = json.dumps({"type": "FeatureCollection", "features": [feature]})
    with pytest.raises(UnreadableFile, match=r"line 1, character \d+: Unrecognized number: 9223372036854775808"):
        ingest(vector, table(tmp_path / "x.geojson", document))


def test_swapped_coordinates_are_refused(vector: VectorIngest, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="do not fit") as caught:
        ingest(vector, table(tmp_path / "x.csv", "lat,lon\n151.2,-33.9\n"))
    assert "lat_name and lon_name if the two columns are exchanged" in caught.value.hint


def test_a_csv_of_windows_is_read_and_told(vector: VectorIngest, tmp_path: Path) -> None:
    checked, made = ingest(vector, table(tmp_path / "x.csv", "lat,lon,name\n1,2,“Zürich” €\n", "cp1252"))
    assert made["name"].tolist() == ["“Zürich” €"]
    assert "encoding_detected" in codes(checked)


def test_a_csv_with_a_mark_and_odd_names_is_read(vector: VectorIngest, tmp_path: Path) -> None:
    text = 'lat\tlon\tname\tName\tgeometry \tbbox\n1\t2\ta\t"b\nc"\td\te\n'
    checked, made = ingest(vector, table(tmp_path / "x.tsv", text, "utf-8-sig"), lat_name="lat", lon_name="lon")
    assert [(column.name, column.source_name) for column in checked.columns] == [
        ("name", None), ("Name_2", "Name"), ("geometry_2", "geometry"), ("bbox_2", "bbox"),
    ]  # fmt: skip
    assert made["Name_2"].tolist() == ["b\nc"]


def test_an_irregular_csv_is_refused_with_its_row(vector: VectorIngest, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"is no regular table: .*Expected 3 columns, got 2") as caught:
        ingest(vector, table(tmp_path / "x.csv", "lat,lon,n\n1,2,3\n4,5\n"))
    assert str(tmp_path) not in str(caught.value)


def test_a_csv_of_too_many_rows_is_refused(tmp_path: Path, parts: tuple[Gate, Zone, Path]) -> None:
    gate, zone, scratch = parts
    few = VectorIngest(Gate(gate.roots, LimitSettings(vector_features=2)), zone, scratch)
    with pytest.raises(LimitExceeded, match="more than 2 rows"):
        ingest(few, table(tmp_path / "x.csv", "lat,lon\n1,2\n3,4\n5,6\n"))


# -- Shapefiles and archives -------------------------------------------------------------------------------------------


def test_a_missing_index_is_made_anew_and_told(vector: VectorIngest, tmp_path: Path) -> None:
    write(places(5), tmp_path / "x.shp")
    whole = (tmp_path / "x.shx").read_bytes()
    (tmp_path / "x.shx").unlink()
    before = sorted(path.name for path in tmp_path.glob("x.*"))
    checked, made = ingest(vector, tmp_path / "x.shp")
    assert sorted(made["n"]) == [0, 1, 2, 3, 4]
    assert codes(checked) == ["index_rebuilt"]
    assert sorted(path.name for path in tmp_path.glob("x.*")) == before
    from geoetl.store.gate.shapefile import rebuilt_index

    assert rebuilt_index(tmp_path / "x.shp") == whole


def test_a_truncated_shapefile_without_index_is_refused(vector: VectorIngest, tmp_path: Path) -> None:
    write(places(5), tmp_path / "x.shp")
    (tmp_path / "x.shx").unlink()
    (tmp_path / "x.shp").write_bytes((tmp_path / "x.shp").read_bytes()[:-10])
    with pytest.raises(UnreadableFile, match="has no .shx, and its records end at byte"):
        ingest(vector, tmp_path / "x.shp")


def test_a_shapefile_without_crs_takes_the_given_one(vector: VectorIngest, tmp_path: Path) -> None:
    write(places(), tmp_path / "x.shp")
    (tmp_path / "x.prj").unlink()
    with pytest.raises(MissingCRS):
        ingest(vector, tmp_path / "x.shp")
    checked, made = ingest(vector, tmp_path / "x.shp", crs="EPSG:4326")
    assert (checked.crs, len(made)) == ("EPSG:4326", 3)


def test_utf8_in_a_table_that_claims_latin_1_is_read_as_utf8(vector: VectorIngest, tmp_path: Path) -> None:
    write(places(), tmp_path / "x.shp")
    (tmp_path / "x.cpg").unlink()
    content = bytearray((tmp_path / "x.dbf").read_bytes())
    content[29] = 0x57
    (tmp_path / "x.dbf").write_bytes(content)
    checked, made = ingest(vector, tmp_path / "x.shp")
    assert sorted(made["name"]) == [f"Ort {i} ä" for i in range(3)]
    assert codes(checked) == ["encoding_detected"]


def test_one_of_several_datasets_in_an_archive_has_to_be_named(vector: VectorIngest, tmp_path: Path) -> None:
    members = {}
    for name, count in (("points", 2), ("more", 4)):
        (tmp_path / name).mkdir()
        write(places(count), tmp_path / name / "x.shp")
        members |= {f"{name}/{name}{path.suffix}": path.read_bytes() for path in sorted((tmp_path / name).glob("x.*"))}
    path = zipped(tmp_path / "a.zip", members)
    with pytest.raises(InvalidParameter, match=r"holds 2 datasets: points/points.shp, more/more.shp") as caught:
        ingest(vector, path)
    assert caught.value.field == "layer"
    with pytest.raises(InvalidParameter, match="'other' names none of the 2 datasets"):
        ingest(vector, path, layer="other")
    for layer in ("more", "more.shp", "more/more", "more/more.shp"):
        assert len(ingest(vector, path, layer=layer)[1]) == 4


@pytest.mark.parametrize("name", ["a!b.gpkg", "a.zip.gpkg", "ü, c.geojson", "no_suffix", "wrong.tif", "x.SHP"])
def test_a_name_that_libraries_interpret_is_only_a_name(vector: VectorIngest, tmp_path: Path, name: str) -> None:
    kind = {".geojson": "x.geojson", ".SHP": "x.shp"}.get(Path(name).suffix, "x.gpkg")
    (tmp_path / "made").mkdir()
    write(places(), tmp_path / "made" / kind)
    for path in sorted((tmp_path / "made").glob("x.*")):
        target = name if path.suffix == Path(kind).suffix else f"{Path(name).stem}{path.suffix.upper()}"
        path.rename(tmp_path / target)
    assert len(ingest(vector, tmp_path / name)[1]) == 3


def test_two_columns_of_one_name_are_both_kept(vector: VectorIngest, tmp_path: Path) -> None:
    write(places(), tmp_path / "x.shp")
    content = (tmp_path / "x.dbf").read_bytes()
    (tmp_path / "x.dbf").write_bytes(content.replace(b"name\0\0", b"n\0\0\0\0\0", 1))
    checked, made = ingest(vector, tmp_path / "x.shp")
    assert len({column.name.lower() for column in checked.columns}) == len(checked.columns) == 2
    assert made.iloc[:, 1].astype(str).str.startswith("Ort").all()


def test_an_attribute_may_be_called_as_the_geometry_is(vector: VectorIngest, tmp_path: Path) -> None:
    frame = places().assign(wkb_geometry="a", geom="b").rename(columns={"n": "bbox"})
    checked, made = ingest(vector, write(frame, tmp_path / "x.fgb"))
    assert [column.name for column in checked.columns] == ["bbox_2", "name", "wkb_geometry", "geom"]
    assert set(made["wkb_geometry"]) == {"a"}


# -- GeoParquet --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["WKB", "geoarrow"])
def test_geoparquet_of_either_encoding_is_read(vector: VectorIngest, tmp_path: Path, encoding: Any) -> None:
    places().to_crs("EPSG:3857").to_parquet(
        tmp_path / "x.parquet", geometry_encoding=encoding, write_covering_bbox=True
    )
    checked, made = ingest(vector, tmp_path / "x.parquet")
    assert sorted(made["n"]) == [0, 1, 2]
    assert [column.name for column in checked.columns] == ["n", "name"]
    assert made.total_bounds == pytest.approx([0, 0.5, 2, 2.5])


def test_a_parquet_without_geometry_is_no_vector(vector: VectorIngest, tmp_path: Path) -> None:
    import pandas as pd

    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(UnreadableFile, match="no column of geometries"):
        ingest(vector, tmp_path / "x.parquet")


def test_a_geoparquet_that_says_no_crs_is_asked_for_it(vector: VectorIngest, tmp_path: Path) -> None:
    gpd.GeoDataFrame({"n": [1]}, geometry=[shapely.Point(1, 2)]).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(MissingCRS):
        ingest(vector, tmp_path / "x.parquet")
    assert len(ingest(vector, tmp_path / "x.parquet", crs="EPSG:4326")[1]) == 1


def test_lists_and_structs_are_kept(vector: VectorIngest, tmp_path: Path) -> None:
    document = {"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {"tags": ["a", "b"], "deep": {"x": 1}, "mixed": [1, "a"]},
         "geometry": {"type": "Point", "coordinates": [1, 2]}}]}  # fmt: skip
    (tmp_path / "x.geojson").write_text(json.dumps(document))
    _, made = ingest(vector, tmp_path / "x.geojson")
    assert np.asarray(made["tags"].iloc[0]).tolist() == ["a", "b"]
    assert json.loads(made["deep"].iloc[0]) == {"x": 1}
