"""Nothing gets past the gate: hostile names, files that lie about what they are, files that claim too much."""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from rasterio.transform import from_origin

from geoetl.core.errors import (
    EmptyDataset,
    FormatNotAllowed,
    GeoetlError,
    InvalidParameter,
    LimitExceeded,
    MissingCRS,
    NotFound,
    OutsideAllowedRoots,
    UnreadableFile,
)
from geoetl.core.settings import LimitSettings
from geoetl.store.gate import Format, Gate, file_format

CANARY = "canary-7d1f0b"


def write_raster(path: Path, **profile: object) -> Path:
    options = {
        "driver": "GTiff", "height": 4, "width": 5, "count": 1, "dtype": "uint8", "crs": "EPSG:4326",
        "transform": from_origin(0, 4, 1, 1), **profile,
    }  # fmt: skip
    with rasterio.open(path, "w", **options) as dataset:
        dataset.write(np.arange(20, dtype=options["dtype"]).reshape(1, 4, 5))
    return path


def features(count: int = 2, crs: str | None = "EPSG:4326") -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"n": range(count)}, geometry=[shapely.Point(i, i) for i in range(count)], crs=crs)


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd", "../../../etc/passwd", "/vsicurl/http://127.0.0.1/x.tif", "/vsizip/x.zip/a", "http://127.0.0.1/x",
        "WMS:http://127.0.0.1/", "vrt://x.tif", "NETCDF:x.nc:tas", "GTIFF_DIR:1:x.tif", "<VRTDataset/>", '{"a": 1}', "",
        "a\0b", "s3://bucket/key", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_a_name_that_leads_out_is_refused(gate: Gate, source: str) -> None:
    with pytest.raises(OutsideAllowedRoots) as caught:
        gate.resolve(source)
    assert caught.value.hint


def test_a_link_that_leads_out_is_refused(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "inside.tif").symlink_to("/etc/passwd")
    with pytest.raises(OutsideAllowedRoots):
        gate.resolve(str(tmp_path / "inside.tif"))


def test_a_sibling_folder_with_the_same_beginning_is_outside(tmp_path: Path) -> None:
    twin = tmp_path / "data-private"
    twin.mkdir()
    (twin / "x.tif").write_bytes(b"x")
    with pytest.raises(OutsideAllowedRoots):
        Gate((tmp_path / "data",), LimitSettings()).resolve(str(twin / "x.tif"))


def test_a_misspelt_file_leads_to_the_right_one(gate: Gate, tmp_path: Path) -> None:
    write_raster(tmp_path / "elevation.tif")
    with pytest.raises(NotFound) as caught:
        gate.resolve(str(tmp_path / "elevatoin.tif"))
    assert caught.value.hint == "Did you mean 'elevation.tif'?"


# -- rasters ---------------------------------------------------------------------------------------------------------


def test_a_raster_opens_by_its_content_not_its_name(gate: Gate, tmp_path: Path) -> None:
    path = write_raster(tmp_path / "really_a_tiff.dat")
    with gate.open_raster(path) as dataset:
        assert dataset.driver == "GTiff"


def test_a_vrt_named_tif_reads_nothing(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_text(CANARY * 10)
    hostile = tmp_path / "hostile.tif"
    hostile.write_text(
        '<VRTDataset rasterXSize="5" rasterYSize="1">'
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
        '<SourceFilename relativetoVRT="1">secret.bin</SourceFilename></VRTRasterBand></VRTDataset>'
    )
    with pytest.raises(FormatNotAllowed, match="is XML, not raster data") as caught, gate.open_raster(hostile):
        pass
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"", UnreadableFile, "is empty"),
        (b"<!DOCTYPE html><html>Please log in</html>", UnreadableFile, "is a web page"),
        (b"  \n<html><body>404</body></html>", UnreadableFile, "is a web page"),
        (b"PK\x03\x04rest", FormatNotAllowed, "is zip archive"),
        (b"\x89HDF\r\n\x1a\nrest", FormatNotAllowed, "is NetCDF-4/HDF5"),
        (b"just some text", FormatNotAllowed, "is of an unknown format"),
        (b"II*\0\x08\0\0\0", UnreadableFile, "begins like a GeoTIFF but cannot be opened"),
    ],
)
def test_a_file_that_is_no_raster_is_named_for_what_it_is(
    gate: Gate, tmp_path: Path, content: bytes, error: type[GeoetlError], says: str
) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    with pytest.raises(error, match=says) as caught, gate.open_raster(path):
        pass
    assert caught.value.hint
    assert str(tmp_path) not in str(caught.value)


def test_a_raster_that_claims_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=300_000, height=300_000, count=1, dtype="uint8", crs="EPSG:4326",
        tiled=True, sparse_ok=True, bigtiff="yes", transform=from_origin(0, 1, 1e-6, 1e-6), compress="deflate",
    ):  # fmt: skip
        pass
    with pytest.raises(LimitExceeded, match="300000 x 300000"), Gate((tmp_path,), LimitSettings()).open_raster(path):
        pass


# -- vectors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.geojson", "x.gpkg", "x.fgb", "x.shp"])
def test_every_vector_format_reads_the_same_features(gate: Gate, tmp_path: Path, name: str) -> None:
    features().to_file(tmp_path / name)
    read = gate.read_vector(tmp_path / name)
    assert sorted(read.frame["n"]) == [0, 1]
    assert read.frame.crs.to_epsg() == 4326


def test_a_zipped_shapefile_in_a_folder_is_found(gate: Gate, tmp_path: Path) -> None:
    features().to_file(tmp_path / "x.shp")
    path = zipped(tmp_path / "x.zip", {f"sub/{p.name}": p.read_bytes() for p in tmp_path.glob("x.*")})
    assert len(gate.read_vector(path).frame) == 2


def test_a_shapefile_that_does_not_say_its_encoding_is_read_right(gate: Gate, tmp_path: Path) -> None:
    frame = features()
    frame["name"] = ["Côte d'Ivoire", "Åland"]
    frame.to_file(tmp_path / "x.shp", encoding="UTF-8")
    members = {p.name: p.read_bytes() for p in tmp_path.glob("x.*") if p.suffix != ".cpg"}
    members["x.dbf"] = members["x.dbf"][:29] + b"\0" + members["x.dbf"][30:]
    read = gate.read_vector(zipped(tmp_path / "x.zip", members))
    assert list(read.frame["name"]) == ["Côte d'Ivoire", "Åland"]
    assert [finding.code for finding in read.findings] == ["encoding_detected"]


def test_an_archive_with_two_datasets_is_ambiguous(gate: Gate, tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a.geojson": b"{}", "b.geojson": b"{}"})
    with pytest.raises(InvalidParameter, match="holds 2 datasets: a.geojson, b.geojson"):
        gate.read_vector(path)


@pytest.mark.parametrize("name", ["../evil.geojson", "/evil.geojson", "C:evil.geojson", "a/../../evil.geojson"])
def test_an_archive_that_leads_out_is_refused(gate: Gate, tmp_path: Path, name: str) -> None:
    with pytest.raises(FormatNotAllowed, match="leads out of the archive"):
        gate.read_vector(zipped(tmp_path / "x.zip", {name: b"{}"}))


def test_an_archive_that_unpacks_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.geojson", b"0" * 3_000_000)
    tight = Gate((tmp_path,), LimitSettings(archive_gib=0.001))
    with pytest.raises(LimitExceeded, match="unpacks to"):
        tight.read_vector(path)


def test_a_truncated_archive_is_told(gate: Gate, tmp_path: Path) -> None:
    whole = zipped(tmp_path / "x.zip", {"a.geojson": b"{}" * 500}).read_bytes()
    (tmp_path / "x.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableFile, match="not a complete zip archive"):
        gate.read_vector(tmp_path / "x.zip")


def test_vectors_without_crs_features_or_geometry_are_told_apart(gate: Gate, tmp_path: Path) -> None:
    features(crs=None).to_file(tmp_path / "no_crs.shp")
    with pytest.raises(MissingCRS) as caught:
        gate.read_vector(tmp_path / "no_crs.shp")
    assert caught.value.field == "crs"
    (tmp_path / "empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(EmptyDataset, match="has no features"):
        gate.read_vector(tmp_path / "empty.geojson")
    (tmp_path / "table.geojson").write_text('{"a": 1}')
    with pytest.raises(UnreadableFile):
        gate.read_vector(tmp_path / "table.geojson")


def test_a_given_crs_fills_the_gap_but_does_not_overrule(gate: Gate, tmp_path: Path) -> None:
    features(crs=None).to_file(tmp_path / "no_crs.shp")
    assert gate.read_vector(tmp_path / "no_crs.shp", crs="EPSG:2263").frame.crs.to_epsg() == 2263
    features().to_file(tmp_path / "with_crs.shp")
    with pytest.raises(InvalidParameter, match="is in WGS 84, not in EPSG:2263"):
        gate.read_vector(tmp_path / "with_crs.shp", crs="EPSG:2263")
    with pytest.raises(InvalidParameter, match="is not a coordinate reference system"):
        gate.read_vector(tmp_path / "no_crs.shp", crs="EPSG:nonsense")


def test_one_of_several_layers_has_to_be_named(gate: Gate, tmp_path: Path) -> None:
    for layer in ("roads", "rivers"):
        features().to_file(tmp_path / "x.gpkg", layer=layer)
    with pytest.raises(InvalidParameter, match="has 2 layers: roads, rivers"):
        gate.read_vector(tmp_path / "x.gpkg")
    with pytest.raises(InvalidParameter) as caught:
        gate.read_vector(tmp_path / "x.gpkg", layer="river")
    assert caught.value.hint == "Did you mean 'rivers'?"
    assert gate.read_vector(tmp_path / "x.gpkg", layer="rivers").layer == "rivers"


# -- cubes and references --------------------------------------------------------------------------------------------


def netcdf(path: Path) -> Path:
    data = xr.Dataset({"tas": (("time", "lat", "lon"), np.arange(8.0).reshape(2, 2, 2))})
    data.to_netcdf(path, engine="h5netcdf")
    return path


def references(path: Path, target: str) -> Path:
    array = {
        "shape": [8], "chunks": [8], "dtype": "<u1", "compressor": None, "filters": None, "fill_value": None,
        "order": "C", "zarr_format": 2,
    }  # fmt: skip
    refs = {
        ".zgroup": '{"zarr_format": 2}',
        "x/.zarray": json.dumps(array),
        "x/.zattrs": '{"_ARRAY_DIMENSIONS": ["i"]}',
        "x/0": [target, 0, 8],
    }
    path.write_text(json.dumps({"version": 1, "refs": refs}))
    return path


@pytest.mark.parametrize("target", ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/x", "s3://b/k", "{{u}}/x"])
def test_a_reference_that_leads_out_is_refused_before_it_is_read(gate: Gate, tmp_path: Path, target: str) -> None:
    with pytest.raises(OutsideAllowedRoots):
        gate.open_references(references(tmp_path / "refs.json", target))


def test_a_reference_to_a_missing_file_is_told(gate: Gate, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        gate.open_references(references(tmp_path / "refs.json", str(tmp_path / "gone.nc")))


def test_references_are_read_through(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "raw.bin").write_bytes(bytes(range(8)))
    with gate.open_references(references(tmp_path / "refs.json", str(tmp_path / "raw.bin"))) as cube:
        assert cube["x"].to_numpy().tolist() == list(range(8))


@pytest.mark.parametrize("content", ["", "[]", '{"refs": 3}', '{"version": 1}', "not json"])
def test_a_file_that_holds_no_references_is_told(gate: Gate, tmp_path: Path, content: str) -> None:
    (tmp_path / "refs.json").write_text(content)
    with pytest.raises(UnreadableFile, match="is not a kerchunk reference file"):
        gate.open_references(tmp_path / "refs.json")


def test_templates_are_not_expanded(gate: Gate, tmp_path: Path) -> None:
    document = {"version": 1, "templates": {"u": "/etc"}, "refs": {"x/0": ["{{u}}/passwd", 0, 8]}}
    (tmp_path / "refs.json").write_text(json.dumps(document))
    with pytest.raises(FormatNotAllowed, match="uses templates"):
        gate.open_references(tmp_path / "refs.json")


def test_a_truncated_netcdf_is_told(gate: Gate, tmp_path: Path) -> None:
    whole = netcdf(tmp_path / "x.nc").read_bytes()
    (tmp_path / "x.nc").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(UnreadableFile):
        gate.open_netcdf(tmp_path / "x.nc")


def test_formats_are_told_by_their_first_bytes(tmp_path: Path) -> None:
    features().to_file(tmp_path / "x.gpkg")
    assert file_format(tmp_path / "x.gpkg") is Format.GEOPACKAGE
    (tmp_path / "x.nc").write_bytes(b"CDF\x01" + struct.pack(">i", 0) * 8)
    assert file_format(tmp_path / "x.nc") is Format.NETCDF3
    assert file_format(netcdf(tmp_path / "y.nc")) is Format.HDF5


@pytest.mark.parametrize("suffix", [".shp", ".shx", ".dbf"])
@pytest.mark.parametrize("packed", [False, True], ids=["loose", "zipped"])
def test_a_shapefile_that_is_not_whole_is_refused(gate: Gate, tmp_path: Path, suffix: str, packed: bool) -> None:
    features(40).to_file(tmp_path / "x.shp")
    part = tmp_path / f"x{suffix}"
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    path = tmp_path / "x.shp"
    if packed:
        path = zipped(tmp_path / "x.zip", {p.name: p.read_bytes() for p in tmp_path.glob("x.*") if p.suffix != ".zip"})
    with pytest.raises(UnreadableFile, match=r"is not whole: its \.\w+ has"):
        gate.read_vector(path)


def test_a_shapefile_without_its_attributes_is_refused(gate: Gate, tmp_path: Path) -> None:
    features().to_file(tmp_path / "x.shp")
    (tmp_path / "x.dbf").unlink()
    with pytest.raises(UnreadableFile, match=r"its \.dbf is missing"):
        gate.read_vector(tmp_path / "x.shp")


def test_the_shadow_files_of_macos_are_passed_over(gate: Gate, tmp_path: Path) -> None:
    features().to_file(tmp_path / "x.geojson")
    members = {"x.geojson": (tmp_path / "x.geojson").read_bytes(), "__MACOSX/._x.geojson": b"", "metadata.json": b"{}"}
    assert len(gate.read_vector(zipped(tmp_path / "x.zip", members)).frame) == 2


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["x.fgb", "x.gpkg", "x.geojson", "x.parquet", "x.zip"])
def test_truncated_vectors_are_told_in_a_sentence(gate: Gate, tmp_path: Path, name: str, fraction: float) -> None:
    path = tmp_path / name
    if name == "x.parquet":
        features(500).to_parquet(path)
    elif name == "x.zip":
        features(500).to_file(tmp_path / "y.geojson")
        zipped(path, {"y.geojson": (tmp_path / "y.geojson").read_bytes()})
    else:
        features(500).to_file(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * fraction)])
    outcome: GeoetlError | int
    try:
        outcome = len(gate.read_vector(path).frame)
    except GeoetlError as error:
        outcome = error
    assert outcome == 500 or (isinstance(outcome, GeoetlError) and outcome.hint)


@pytest.mark.parametrize("refs", [{"x/0": [5, 0, 1]}, {"x/0": []}, {"x/0": ["{tmp}/raw", 0, 8]}])
def test_odd_references_are_told_in_a_sentence(gate: Gate, tmp_path: Path, refs: dict[str, list[object]]) -> None:
    (tmp_path / "raw").write_bytes(b"x")
    text = json.dumps({"version": 1, "refs": refs}).replace("{tmp}", str(tmp_path))
    (tmp_path / "refs.json").write_text(text)
    with pytest.raises(UnreadableFile):
        gate.open_references(tmp_path / "refs.json")


def _points(path: Path) -> Path:
    shapes = [shapely.Point(1, 2), shapely.Point(3, 4)]
    gpd.GeoDataFrame({"a": [1, 2]}, geometry=shapes, crs="EPSG:4326").to_file(path)
    return path


def _without_index(folder: Path) -> Path:
    path = _points(folder / "points.shp")
    path.with_suffix(".shx").unlink()
    return path


def _zipped_without_index(folder: Path) -> Path:
    path = _without_index(folder)
    with zipfile.ZipFile(folder / "points.zip", "w") as archive:
        for suffix in (".shp", ".dbf", ".prj"):
            archive.write(path.with_suffix(suffix), f"in side!/points{suffix}")
    return folder / "points.zip"


def _oddly_named(folder: Path) -> Path:
    return _points(folder / "points.geojson").rename(folder / "po!nts%20.geojson")


@pytest.mark.parametrize(
    "make", [_without_index, _zipped_without_index, _oddly_named, lambda at: _points(at / "a.gpkg")]
)
def test_a_server_reads_what_is_made_ready_first(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """The child process that looks at a file first may write nothing: neither an index nor a plain name."""
    gate = Gate((tmp_path,), LimitSettings()).guarded([])
    assert list(gate.read_vector(make(tmp_path)).frame["a"]) == [1, 2]


# -- members of archives -----------------------------------------------------------------------------------------------


def test_an_archive_inside_an_archive_is_written_as_it_is_and_opened_like_any_other(gate: Gate, tmp_path: Path) -> None:
    features().to_file(tmp_path / "x.shp")
    inner = zipped(tmp_path / "inner.zip", {p.name: p.read_bytes() for p in tmp_path.glob("x.*")})
    outer = zipped(tmp_path / "outer.zip", {"part/inner.zip": inner.read_bytes(), "README.txt": b"read me"})
    with pytest.raises(FormatNotAllowed, match="is an archive itself"):
        gate.archive_members(outer)
    sizes = gate.archive_members(outer, with_archives=True)
    assert sizes == {"part/inner.zip": inner.stat().st_size, "README.txt": 7}
    target = tmp_path / "taken.zip"
    assert gate.unpack_member(outer, "part/inner.zip", target, with_archives=True) == inner.stat().st_size
    assert target.read_bytes() == inner.read_bytes()
    assert len(gate.read_vector(target).frame) == len(gate.read_vector(inner).frame)


def test_a_member_that_is_too_large_or_damaged_leaves_no_file(gate: Gate, tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a.txt": b"0123456789" * 100})
    target = tmp_path / "a.txt"
    with pytest.raises(LimitExceeded, match="has 1,000 bytes; the limit is 999"):
        gate.unpack_member(path, "a.txt", target, most=999)
    with pytest.raises(NotFound, match="no member"):
        gate.unpack_member(path, "b.txt", target)
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456780", 1))
    with pytest.raises(UnreadableFile, match="is damaged"):
        gate.unpack_member(path, "a.txt", target)
    assert not target.exists()


@pytest.mark.parametrize("name", ["../x.zip", "/x.zip", "a/../../x.zip", "C:x.zip"])
def test_a_member_that_leads_out_is_refused_also_where_archives_are_allowed(
    gate: Gate, tmp_path: Path, name: str
) -> None:
    with pytest.raises(FormatNotAllowed, match="leads out"):
        gate.archive_members(zipped(tmp_path / "x.zip", {name: b""}), with_archives=True)


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.gpkg", "x.parquet", "x.shp"])
def test_fewer_features_are_in_memory_at_a_time_where_each_is_large(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    frame = gpd.GeoDataFrame(
        {"n": range(500)}, geometry=[shapely.Point(i / 10, 0).buffer(0.5, 200) for i in range(500)], crs="EPSG:4326"
    )
    frame.to_parquet(tmp_path / name) if name.endswith("parquet") else frame.to_file(tmp_path / name)
    monkeypatch.setattr("geoetl.store.gate.vector.BATCH_BYTES", 640_000)
    with gate.open_vector(tmp_path / name) as source:
        sizes = [batch.num_rows for batch in source.batches]
    assert sum(sizes) == 500
    # Each has 12.8 kB.
    assert 40 <= max(sizes) <= 60
