"""Hostile and broken files (faults A1 to A8): refused with code, field and hint; nothing leaks, asks or ends."""

import base64
import json
import os
import pickle
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import geoetl
from geoetl.api.app import create_app
from geoetl.core.errors import (
    GeoetlError,
    InputError,
    LimitExceeded,
    NotFound,
    OutsideAllowedRoots,
    UnreadableFile,
)
from geoetl.core.identifiers import file_digest
from geoetl.core.settings import LimitSettings
from geoetl.ingest import RasterIngest, VectorIngest
from geoetl.ingest.raster import RasterRequest
from geoetl.ingest.vector import VectorRequest
from geoetl.platform import Platform
from geoetl.store.gate import Gate, archive
from geoetl.store.gate.prober import Kind, Prober
from geoetl.store.sources import SourceFile, check_sources, digest_of
from tests import catalogued
from tests.catalogued import CLIMATE, HILL, IMAGES, MODEL
from tests.faults import hostile
from tests.faults.conftest import ADDRESS, Canary
from tests.faults.readers import READERS, open_raster, open_references, read_vector

# Mutations of HDF5 that each run tries; ``make chaos`` tries ten times as many.
MUTATIONS = int(os.environ.get("GEOETL_TEST_MUTATIONS", 2000))
FLIPS = 200
MIB = 1024**2


@dataclass
class Listener:
    """Something on this machine that nobody may ask, and how often somebody did."""

    port: int
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        found = Listener(server.getsockname()[1])

        def accept() -> None:
            while True:
                try:
                    connection, (host, _) = server.accept()
                except OSError:
                    return
                found.asked.append(host)
                connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield found
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def prober() -> Iterator[Prober]:
    prober = Prober()
    yield prober
    prober.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return hostile.whole_files(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate((tmp_path,), LimitSettings())


@pytest.fixture
def guarded(tmp_path: Path, prober: Prober) -> Gate:
    # Some damage lets HDF5 go round in circles.
    return Gate((tmp_path,), LimitSettings(probe_seconds=1), prober=prober)


def refusal(reader: Callable[[Gate, Path], Any], gate: Gate, path: Path) -> GeoetlError:
    """Return the error of a file that has to be refused, which says what, where, and what to do."""
    with pytest.raises(GeoetlError) as caught:
        reader(gate, path)
    return told(caught.value, path)


def outcome(reader: Callable[[Gate, Path], Any], gate: Gate, path: Path) -> str:
    """Return everything that a reader says or shows of a file that may be read as what it is, or refused."""
    try:
        return str(reader(gate, path))
    except GeoetlError as error:
        return f"{told(error, path)} {error.problem()}"


def told(error: GeoetlError, path: Path) -> GeoetlError:
    assert isinstance(error, (InputError, LimitExceeded, NotFound)), repr(error)
    assert 400 <= error.status < 500
    assert error.hint
    assert error.field
    assert str(path.parent) not in str(error)
    return error


def tree(*folders: Path) -> dict[str, tuple[int, int]]:
    """Return everything below folders, files with size and time of their last change."""
    return {
        str(path): (0, 0) if path.is_dir() else (stat.st_size, stat.st_mtime_ns)
        for folder in folders
        for path in folder.rglob("*")
        for stat in [path.lstat()]
    }


# -- A1: what reads other files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a raster", "a table", "plain text"])
def test_a1_no_file_shows_another_that_may_not_be_read(
    tmp_path: Path, gate: Gate, canary: Canary, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    target = canary.path
    if kind == "a raster":
        target = hostile.raster(canary.path.with_name("canary.tif"), side=64)
    elif kind == "a table":
        target = canary.path.with_name("canary.geojson")
        target.write_bytes(hostile.GEOJSON.replace(b'"n": 1', f'"n": "{canary.secret}"'.encode()))
    marks = (canary.secret, json.dumps((np.arange(64) % 251).tolist())[1:-1])
    for path in hostile.following(tmp_path, str(target)):
        for reader in READERS:
            shown = outcome(reader, gate, path)
            assert not any(mark in shown for mark in marks)
    assert canary.secret not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("name", "says"),
    [("raw.tif", "is XML"), ("simple.tif", "is XML"), ("wms.tif", "is XML"), ("mosaic.tif", "is JSON")],
)
def test_a1_the_format_is_named_that_a_file_really_is(
    tmp_path: Path, gate: Gate, canary: Canary, name: str, says: str
) -> None:
    path = next(path for path in hostile.following(tmp_path, str(canary.path)) if path.name == name)
    error = refusal(open_raster, gate, path)
    assert (error.code, error.field) == ("format_not_allowed", "source")
    assert says in error.detail


def test_a1_a_side_file_that_is_a_link_out_is_refused(tmp_path: Path, gate: Gate, canary: Canary) -> None:
    elsewhere = hostile.raster(canary.path.with_name("elsewhere.tif"), side=32)
    for suffix in (".ovr", ".msk"):
        path = hostile.raster(tmp_path / f"r{suffix}.tif", side=64)
        path.with_name(path.name + suffix).symlink_to(elsewhere)
        assert refusal(open_raster, gate, path).code == "outside_allowed_roots"
    shutil.copy(tmp_path / "r.ovr.tif", tmp_path / "p.shp")
    for part in ("shp", "shx", "dbf"):
        shutil.copy(hostile.whole_files(_new(tmp_path / part))["GeoJSON"].parent / f"shapes/p.{part}", tmp_path)
    (tmp_path / "p.dbf").rename(canary.path.with_name("p.dbf"))
    (tmp_path / "p.dbf").symlink_to(canary.path.with_name("p.dbf"))
    assert refusal(read_vector, gate, tmp_path / "p.shp").code == "outside_allowed_roots"


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


# -- A2: names and hosts -----------------------------------------------------------------------------------------------


def test_a2_a_name_that_is_no_plain_path_is_refused(tmp_path: Path, canary: Canary, listener: Listener) -> None:
    gate = Gate((tmp_path,), LimitSettings())
    for name in hostile.names(listener.port, canary.path):
        for check in (gate.resolve, gate.locate, gate.check_href):
            if check == gate.check_href and name.startswith(("s3:", "gs:", "az:")):
                continue  # a link elsewhere, which nothing follows
            with pytest.raises(OutsideAllowedRoots) as caught:
                check(name)
            assert (caught.value.status, caught.value.field) == (422, "href" if check == gate.check_href else "source")
            assert caught.value.hint
            assert canary.secret not in str(caught.value)
    assert listener.asked == []


@pytest.mark.parametrize("host", hostile.INSIDE)
@pytest.mark.parametrize("scheme", ["http", "https", "s3"])
def test_a2_an_address_of_this_machine_does_not_get_into_the_catalogue(tmp_path: Path, host: str, scheme: str) -> None:
    gate = Gate((tmp_path,), LimitSettings())
    for address in (f"{scheme}://{host}/a.tif", f"{scheme}://{host}:8080/a.tif", f"{scheme.upper()}://{host}/a.tif"):
        if scheme == "s3" and host == "intranet":
            continue  # the name of a bucket
        with pytest.raises(OutsideAllowedRoots) as caught:
            gate.check_href(address, field="assets.data.href")
        assert caught.value.field == "assets.data.href"
        assert caught.value.hint


@pytest.mark.parametrize(
    "href",
    [
        "https://example.org/a.tif", "https://data.example.org:8443/x/y?z=1#f", "s3://bucket/key.tif", "gs://b/k",
        "https://8.8.8.8/a.tif", "https://[2001:4860:4860::8888]/a", "internal://rasters/a.tif",
        "samples:landsat_rgb.tif", "./beside.tif", "https://1.example.org/a", "https://0x.example.org/a",
    ],
)  # fmt: skip
def test_a2_an_address_elsewhere_or_inside_the_roots_may_be_registered(
    href: str, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Gate((tmp_path,), LimitSettings()).check_href(href)


def test_a2_no_file_makes_its_reader_ask_a_host(tmp_path: Path, gate: Gate, guarded: Gate, listener: Listener) -> None:
    asked = f"http://127.0.0.1:{listener.port}/a.tif"
    for number, target in enumerate((f"/vsicurl/{asked}", asked, f"WMS:{asked}", f'ZARR:"/vsicurl/{asked}"')):
        for path in hostile.following(_new(tmp_path / str(number)), target):
            for reader in READERS:
                outcome(reader, gate, path)
            if number == 0:
                outcome(open_raster, guarded, path)
                outcome(read_vector, guarded, path)
    assert listener.asked == []


ASKING = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from geoetl.core.errors import GeoetlError
from geoetl.core.settings import LimitSettings
from geoetl.store.gate import Gate
from tests.faults import hostile
from tests.faults.readers import READERS
folder = Path({folder!r})
gate = Gate((folder,), LimitSettings())
refused = 0
for name in hostile.names({port}, Path({canary!r})):
    try:
        gate.locate(name)
    except GeoetlError:
        refused += 1
for path in hostile.following(folder, "/vsicurl/http://127.0.0.1:{port}/a.tif"):
    for reader in READERS:
        try:
            reader(gate, path)
        except GeoetlError:
            refused += 1
print(refused)
"""


def test_a2_the_kernel_sees_no_connection(
    tmp_path: Path, canary: Canary, listener: Listener, require: Callable[[str, str], str]
) -> None:
    strace = require("strace", "on Debian and Ubuntu: apt-get install strace")
    trace = tmp_path / "trace.txt"
    folder = _new(tmp_path / "files")
    code = ASKING.format(
        root=str(Path(__file__).parents[2]), folder=str(folder), port=listener.port, canary=str(canary.path)
    )
    done = subprocess.run(
        [strace, "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace), sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert int(done.stdout.split()[-1]) > 200, done.stderr[-2000:]
    assert [line for line in trace.read_text().splitlines() if "AF_INET" in line] == []
    assert listener.asked == []


# -- A3: references ----------------------------------------------------------------------------------------------------


def test_a3_references_that_lead_out_are_refused_by_key_and_target(
    tmp_path: Path, gate: Gate, canary: Canary, listener: Listener
) -> None:
    for name in hostile.names(listener.port, canary.path):
        path = hostile.references(tmp_path / "refs.json", {"x/0": [name, 0, 8]})
        for check in (gate.check_references, lambda path: open_references(gate, path)):
            with pytest.raises(OutsideAllowedRoots) as caught:
                check(path)
            assert (caught.value.status, caught.value.field) == (422, "references of refs.json")
            assert caught.value.hint
            assert "'x/0'" in caught.value.detail
            assert canary.secret not in str(caught.value)
    assert listener.asked == []


@pytest.mark.parametrize(
    ("piece", "code"),
    [
        ([0, 9], "unreadable_file"),
        ([8, 1], "unreadable_file"),
        ([2**62, 2**62], "unreadable_file"),
        ([10**30, 1], "unreadable_file"),
        ([-1, 4], "unreadable_file"),
        ([0, -1], "unreadable_file"),
        ([4, -2], "unreadable_file"),
        ([1.5, 2], "unreadable_file"),
        (["0", "8"], "unreadable_file"),
        ([True, 8], "unreadable_file"),
        ([None, 8], "unreadable_file"),
        ([0], "unreadable_file"),
        ([0, 1, 2], "unreadable_file"),
    ],
)
def test_a3_a_piece_that_its_file_does_not_have_is_refused_before_it_is_read(
    tmp_path: Path, gate: Gate, piece: list[Any], code: str
) -> None:
    (tmp_path / "raw.bin").write_bytes(bytes(8))
    path = hostile.references(tmp_path / "refs.json", {"x/0": [str(tmp_path / "raw.bin"), *piece]})
    with pytest.raises(GeoetlError) as caught:
        gate.check_references(path)
    assert caught.value.code == code
    assert caught.value.hint
    assert refusal(open_references, gate, path).code == code


def test_a3_templates_and_generators_are_not_expanded(tmp_path: Path, gate: Gate) -> None:
    generator = {"key": "x/{{i}}", "url": "/etc/passwd", "dimensions": {"i": {"start": 0, "stop": 10**12}}}
    for document in ({"gen": [generator]}, {"templates": {"u": "{{lipsum.__globals__.os.popen('id').read()}}"}}):
        path = hostile.references(tmp_path / "refs.json", {"x/0": ["{{u}}", 0, 8]}, **document)
        error = refusal(open_references, gate, path)
        assert error.code == "format_not_allowed"
        assert "'x/0'" in error.detail


def test_a3_what_is_inlined_unpacks_to_no_more_than_its_chunk(tmp_path: Path, gate: Gate) -> None:
    bomb = base64.b64encode(zlib.compress(bytes(64 * MIB), 9)).decode()
    array = {"compressor": {"id": "zlib", "level": 9}}
    path = hostile.references(tmp_path / "refs.json", {"x/0": f"base64:{bomb}"}, array=array)
    error = refusal(open_references, gate, path)
    assert error.code == "limit_exceeded"
    assert "'x/0'" in error.detail
    good = base64.b64encode(zlib.compress(bytes(range(8)))).decode()
    path = hostile.references(tmp_path / "good.json", {"x/0": f"base64:{good}"}, array=array)
    assert open_references(gate, path)["data_vars"]["x"]["data"] == list(range(8))


@pytest.mark.parametrize(
    ("array", "says"),
    [
        ({"shape": [2**60], "chunks": [8], "dtype": "<f8"}, "TiB"),
        ({"shape": [2**33], "chunks": [2**33]}, "One chunk"),
        ({"shape": [2**30], "chunks": [2**20], "dims": ["x"]}, "coordinate"),
    ],
)
def test_a3_arrays_without_end_are_refused_by_their_description(
    tmp_path: Path, gate: Gate, array: dict[str, Any], says: str
) -> None:
    dims = json.dumps({"_ARRAY_DIMENSIONS": array.pop("dims", ["i"])})
    path = hostile.references(tmp_path / "refs.json", {"x/.zattrs": dims}, array=array)
    error = refusal(open_references, gate, path)
    assert error.code == "limit_exceeded"
    assert says in error.detail


def test_a3_references_to_references_go_no_deeper(tmp_path: Path, gate: Gate) -> None:
    path = tmp_path / "refs.json"
    for _ in range(2):  # the second time its own size is known
        hostile.references(path, {"x/0": [str(path), 0, 8]})
    # It is read as the bytes that it is.
    assert bytes(open_references(gate, path)["data_vars"]["x"]["data"]) == path.read_bytes()[:8]
    other = hostile.references(tmp_path / "other.json", {"x/0": [str(path), 0, 8]})
    hostile.references(path, {"x/0": [str(other), 0, 8]})
    assert bytes(open_references(gate, path)["data_vars"]["x"]["data"]) == other.read_bytes()[:8]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("base64:!!"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ref_keys = st.sampled_from([".zgroup", ".zattrs", "x/.zarray", "x/.zattrs", "x/0", "x/1", "../x/0", "y/0", ""])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(refs=st.dictionaries(ref_keys, json_values, max_size=6), extra=st.dictionaries(st.text(max_size=8), json_values))
def test_a3_any_document_is_references_or_refused(tmp_path: Path, gate: Gate, refs: Any, extra: Any) -> None:
    path = tmp_path / "refs.json"
    base = json.loads(hostile.references(path, {}).read_text())
    path.write_text(json.dumps({**base, **extra, "refs": {**base["refs"], **refs}}))
    try:
        gate.open_references(path).close()
    except GeoetlError as error:
        assert error.hint  # noqa: PT017


def test_a3_a_document_may_be_checked_before_it_is_registered(tmp_path: Path, gate: Gate, canary: Canary) -> None:
    good = hostile.raster(tmp_path / "a.tif")
    refs = hostile.references(tmp_path / "refs.json", {"x/0": [str(canary.path), 0, 8]})

    def item(asset: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"type": "Feature", "id": "a", "assets": {"data": asset}, "links": [], **more}

    gate.check_item(item({"href": str(good), "alternate": {"s3": {"href": "s3://bucket/a.tif"}}}))
    gate.check_item(item({"href": str(good)}, links=[{"rel": "self", "href": "./a.json"}]))
    for document, place in (
        (item({"href": str(canary.path)}), "assets.data.href"),
        (item({"href": 5}), "assets.data.href"),
        (item({"href": str(good), "alternate": {"a": {"href": "/vsicurl/x"}}}), "assets.data.alternate.a.href"),
        (item({"href": str(good)}, links=[{"rel": "via", "href": "javascript:alert(1)"}]), "links.0.href"),
        (item({"href": str(good)}, links=[{"rel": "via", "href": "http://127.0.0.1/a"}]), "links.0.href"),
        (item({"href": str(refs), "roles": ["references"]}), f"references of {refs.name}"),
    ):
        with pytest.raises(OutsideAllowedRoots) as caught:
            gate.check_item(document)
        assert caught.value.field == place
        assert caught.value.hint


# -- A4: broken files --------------------------------------------------------------------------------------------------

FRACTIONS = (0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)
KINDS: dict[str, Kind] = {
    "GeoTIFF": "raster",
    "GeoTIFF, plain": "raster",
    "PNG": "raster",
    "JPEG 2000": "raster",
    "HDF5": "netcdf",
    "NetCDF-3": "netcdf",
    "GeoParquet": "vector",
    "Shapefile": "vector",
    "GeoPackage": "vector",
    "FlatGeobuf": "vector",
    "GeoJSON": "vector",
}


def ingest(platform: Platform, gate: Gate, path: Path, kind: Kind) -> str:
    """Read a file as the pipeline does and return the digest that it is remembered by; a cube's is its header's."""
    if kind == "raster":
        stage = RasterIngest(gate, platform.zones.internal, path.parent / "scratch")
        return stage.validate(RasterRequest(source=str(path), collection="broken", crs="EPSG:4326")).sha256
    if kind == "vector":
        vectors = VectorIngest(gate, platform.zones.internal, path.parent / "scratch")
        return vectors.validate(VectorRequest(source=str(path), collection="broken")).sha256
    gate.open_netcdf(path).close()
    return file_digest(path)


@pytest.mark.parametrize("format", KINDS)
def test_a4_a_truncated_file_is_told_and_never_ingested_in_part(
    attacked: Platform, guarded: Gate, tmp_path: Path, whole: dict[str, Path], format: str
) -> None:
    content = whole[format].read_bytes()
    path = tmp_path / whole[format].name
    refused = []
    for fraction in FRACTIONS:
        path.write_bytes(content[: int(len(content) * fraction)])
        try:
            digest = ingest(attacked, guarded, path, KINDS[format])
        except GeoetlError as error:
            refused.append(told(error, path).code)
        else:
            # What a format lets be cut without telling is told by its digest.
            assert digest != file_digest(whole[format])
            assert fraction >= 0.5
    assert len(refused) >= 5
    assert set(refused) <= {"unreadable_file", "format_not_allowed", "empty_dataset", "invalid_parameter"}


@pytest.mark.parametrize("format", KINDS)
def test_a4_no_flipped_bit_ends_its_reader_or_is_an_unknown_error(
    attacked: Platform, guarded: Gate, prober: Prober, tmp_path: Path, whole: dict[str, Path], format: str
) -> None:
    content = whole[format].read_bytes()
    path = tmp_path / whole[format].name
    random = np.random.default_rng(7)
    kind = "hdf5" if format == "HDF5" else "geoparquet" if format == "GeoParquet" else KINDS[format]
    for number in range(FLIPS):
        damaged = hostile.flipped(content, random)
        assert damaged != content
        path.write_bytes(damaged)
        try:
            if format == "Shapefile":
                guarded.read_vector(path)
            else:
                prober.check(path, kind, (tmp_path,), guarded.limits)
            if number < 5:  # its own process reads what the child found harmless
                ingest(attacked, guarded, path, KINDS[format])
        except GeoetlError as error:
            assert error.hint  # noqa: PT017
            assert "reader fail" not in error.detail, error.detail  # noqa: PT017


def test_a4_a_flipped_pixel_is_found_by_the_digest_that_ingest_remembers(
    attacked: Platform, gate: Gate, tmp_path: Path, whole: dict[str, Path]
) -> None:
    path = tmp_path / "plain.tif"
    content = whole["GeoTIFF, plain"].read_bytes()
    path.write_bytes(content)
    stage = RasterIngest(gate, attacked.zones.internal, tmp_path / "scratch")
    request = RasterRequest(source=str(path), collection="broken")
    checked = stage.validate(request)
    assert checked.sha256 == file_digest(path)
    remembered = SourceFile(
        address=str(path),
        bytes=len(content),
        modified_ns=path.stat().st_mtime_ns,
        digest=digest_of(path, whole=True),
    )
    assert check_sources([remembered], gate.stamps) == ()
    random = np.random.default_rng(11)
    silent = 0
    for _ in range(FLIPS):
        path.write_bytes(hostile.flipped(content, random))
        os.utime(path, ns=(remembered.modified_ns, remembered.modified_ns))
        assert [finding.code for finding in check_sources([remembered], gate.stamps)] == ["source_content"]
        try:
            open_raster(gate, path)
            silent += 1
        except (GeoetlError, rasterio.errors.RasterioError):
            pass
    assert silent > FLIPS / 2  # most could be read: nothing but the digest tells
    with pytest.raises(UnreadableFile, match="changed after it was validated") as caught:
        stage.to_cog(request, checked)
    assert told(caught.value, path).field == "source"


@pytest.mark.parametrize("name", ["x.tif", "x.nc", "x.zip", "x.gpkg", "x.parquet", "x.shp", "x.json"])
@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html><html>Please log in</html>", b"\xef\xbb\xbf<html>", b"\0" * 64, b"404: Not Found"]
)
def test_a4_what_is_no_data_is_named_for_what_it_is(tmp_path: Path, gate: Gate, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for reader in READERS:
        error = refusal(reader, gate, path)
        assert error.code in ("unreadable_file", "format_not_allowed")
        if reader is not open_references:
            says = "is empty (0 bytes)" if not content else "web page" if b"html" in content else "of an unknown format"
            assert says in error.detail


# -- A5: declared sizes ------------------------------------------------------------------------------------------------

MEASURED = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from geoetl.core.errors import GeoetlError
from geoetl.core.settings import LimitSettings
from geoetl.store.gate import Gate
from tests.faults.readers import READERS
readers = {{reader.__name__: reader for reader in READERS}}
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
gate = Gate((Path({folder!r}),), LimitSettings())
for name, path in json.loads(sys.argv[1]):  # libraries are loaded before it is measured
    if name == "warm":
        readers[path[0]](gate, Path(path[1]))
space = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (space + 1024**3, space + 1024**3))
before = peak()
for name, path in json.loads(sys.argv[1]):
    if name == "warm":
        continue
    try:
        readers[name](gate, Path(path))
        code, field = "none", None
    except GeoetlError as error:
        code, field = error.code, error.field
    print(json.dumps([Path(path).name, code, field, peak() - before]))
"""


def test_a5_what_declares_too_much_is_refused_from_its_header(tmp_path: Path, whole: dict[str, Path]) -> None:
    side = 2**31 - 8
    bombs = [
        ("open_raster", hostile.sparse_tiff(tmp_path / "sparse.tif")),
        ("open_raster", hostile.tiff(tmp_path / "beyond.tif", width=2**32 - 1, height=2**32 - 1)),
        ("open_raster", hostile.tiff(tmp_path / "wide.tif", width=side, height=4)),
        ("open_raster", hostile.tiff(tmp_path / "bands.tif", width=1, height=1, bands=65_535)),
        ("open_raster", hostile.tiff(tmp_path / "tile.tif", width=50_000, height=50_000, tile=50_000)),
        ("open_raster", hostile.tiff(tmp_path / "pixels.tif", width=2000, height=2000, bands=990, tile=2000)),
        ("open_raster", hostile.png(tmp_path / "bomb.png", 200_000, 200_000)),
        ("open_raster", hostile.png(tmp_path / "interlaced.png", 30_000, 30_000)),
    ]
    with h5py.File(tmp_path / "petabytes.nc", "w") as file:
        file.create_dataset("a", (10**6, 10**6, 10**4), "f8", chunks=(16, 16, 16), compression="gzip")
    with h5py.File(tmp_path / "chunk.nc", "w") as file:
        file.create_dataset("a", (2**28, 4), "f8", chunks=(2**26, 4), compression="gzip")
    with h5py.File(tmp_path / "axis.nc", "w") as file:
        axis = file.create_dataset("time", (10**11,), "f8", chunks=(1024,), compression="gzip")
        axis.make_scale("time")
    for name in ("petabytes.nc", "chunk.nc", "axis.nc"):
        bombs += [("open_hdf5", tmp_path / name), ("open_cube", tmp_path / name)]
    huge = {"shape": [10**18], "chunks": [8]}
    bombs.append(("open_references", hostile.references(tmp_path / "refs.json", {}, array=huge)))
    for name, file in (("open_raster", "GeoTIFF"), ("open_cube", "HDF5"), ("read_vector", "GeoPackage")):
        path = shutil.copy(whole[file], tmp_path)
        bombs.insert(0, ("warm", (name, str(path))))  # type: ignore[arg-type]
    code = MEASURED.format(root=str(Path(__file__).parents[2]), folder=str(tmp_path))
    asked = json.dumps([(name, path if name == "warm" else str(path)) for name, path in bombs])
    done = subprocess.run([sys.executable, "-c", code, asked], capture_output=True, text=True, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len([name for name, _ in bombs if name != "warm"]), done.stderr[-2000:]
    assert [(name, code, field) for name, code, field, _ in found] == [
        (name, "limit_exceeded", "source") for name, *_ in found
    ]
    assert max(grown for *_, grown in found) < 512 * MIB


def test_a5_the_limit_and_what_was_declared_are_told(tmp_path: Path, gate: Gate) -> None:
    error = refusal(open_raster, gate, hostile.sparse_tiff(tmp_path / "sparse.tif"))
    assert isinstance(error, LimitExceeded)
    assert error.status == 413
    assert "566000 x 566000" in error.detail
    assert "4,000,000,000" in error.detail
    assert "GEOETL_LIMITS__RASTER_PIXELS" in str(error.hint)


def test_a5_a_parquet_file_that_unpacks_too_large_is_refused_by_its_footer(tmp_path: Path) -> None:
    hostile.points(20_000).assign(same=7.0).to_parquet(tmp_path / "p.parquet")
    tight = Gate((tmp_path,), LimitSettings(archive_gib=0.0001))
    assert refusal(read_vector, tight, tmp_path / "p.parquet").code == "limit_exceeded"
    few = Gate((tmp_path,), LimitSettings(vector_features=100))
    assert refusal(read_vector, few, tmp_path / "p.parquet").code == "limit_exceeded"


def test_a5_a_zarr_store_is_refused_by_its_descriptions(tmp_path: Path, gate: Gate) -> None:
    hostile.cube().to_zarr(tmp_path / "cube.zarr", zarr_format=3, consolidated=False)
    described = tmp_path / "cube.zarr" / "tas" / "zarr.json"
    document = json.loads(described.read_text())
    for change in (
        {"shape": [10**9, 10**9, 5]},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [10**6, 10**6, 5]}}},
    ):
        described.write_text(json.dumps({**document, **change}))
        with pytest.raises(LimitExceeded) as caught:
            gate.open_zarr(tmp_path / "cube.zarr")
        assert "'tas'" in told(caught.value, described).detail


# -- A6: archives ------------------------------------------------------------------------------------------------------

MEMBERS = (
    "../out.geojson", "a/../../out.geojson", "/out.geojson", "//host/share/out.geojson", "\\\\host\\share\\out.geojson",
    "..\\out.geojson", "C:\\out.geojson", "C:out.geojson", "c:/out.geojson", "a/..", "a\nb.geojson", "a\x7f.geojson",
)  # fmt: skip


@pytest.mark.parametrize("name", MEMBERS)
def test_a6_a_member_that_leads_out_is_named_and_nothing_is_written(
    tmp_path: Path, gate: Gate, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, work = _new(tmp_path / "inside"), _new(tmp_path / "work")
    monkeypatch.setattr("tempfile.tempdir", str(work))
    path = hostile.archive(inside / "a.zip", {name: hostile.GEOJSON, "b.geojson": hostile.GEOJSON})
    before = tree(tmp_path)
    error = refusal(read_vector, gate, path)
    assert error.code == "format_not_allowed"
    assert "The member '" in error.detail
    assert name.isprintable() is (name in error.detail)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("made", "code", "says"),
    [
        ("link", "format_not_allowed", "'a.geojson' of 'x.zip' is a link"),
        ("device", "format_not_allowed", "is no file"),
        ("doubled", "format_not_allowed", "'a.geojson' and 'a.geojson' of 'x.zip' would be one file"),
        ("case", "format_not_allowed", "'a.geojson' and 'A.GeoJSON'"),
        ("composed", "format_not_allowed", "would be one file"),
        ("nested", "format_not_allowed", "'inner.zip' of 'x.zip' is an archive itself"),
        ("overlapping", "format_not_allowed", "overlaps"),
        ("encrypted", "format_not_allowed", "is encrypted"),
        ("lzma", "format_not_allowed", "is neither stored nor deflated"),
        ("forged", "limit_exceeded", "unpacks to 4.0 GiB"),
        ("understated", "unreadable_file", "'a.geojson' of 'x.zip' is damaged"),
        ("overstated", "unreadable_file", "'a.geojson' of 'x.zip'"),
        ("bomb", "limit_exceeded", "unpacks to"),
        ("crowd", "limit_exceeded", "members"),
        ("crowd of few bytes", "limit_exceeded", "10,001 members"),
        ("empty", "unreadable_file", "holds no Shapefile"),
        ("cut", "unreadable_file", "not a complete zip archive"),
    ],
)
def test_a6_an_archive_that_is_not_what_it_says_is_refused(
    tmp_path: Path, made: str, code: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, work = _new(tmp_path / "inside"), _new(tmp_path / "work")
    monkeypatch.setattr("tempfile.tempdir", str(work))
    path = inside / "x.zip"
    one = {"a.geojson": hostile.GEOJSON}
    match made:
        case "link":
            hostile.archive(path, {"a.geojson": b"/etc/passwd"}, create_system=3, external_attr=0o120777 << 16)
        case "device":
            hostile.archive(path, one, create_system=3, external_attr=0o020666 << 16)
        case "doubled":
            hostile.doubled(path, "a.geojson", "a.geojson")
        case "case":
            hostile.doubled(path, "a.geojson", "A.GeoJSON")
        case "composed":
            hostile.doubled(path, "\u00e4.geojson", "a\u0308.geojson")
        case "nested":
            inner = hostile.archive(inside / "inner.zip", one).read_bytes()
            hostile.archive(path, {"inner.zip": inner, **one})
        case "overlapping":
            hostile.overlapping(path)
        case "encrypted":
            hostile.archive(path, one)
            content = bytearray(path.read_bytes())
            for magic, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
                content[content.find(magic) + at] |= 1
            path.write_bytes(content)
        case "lzma":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as packed:
                packed.writestr("a.geojson", hostile.GEOJSON)
        case "forged":
            hostile.forged(path, said=2**32 - 2, holds=20_000)
        case "understated":
            hostile.forged(path, said=100, holds=20_000_000)
        case "overstated":
            hostile.forged(path, said=30_000, holds=20_000)
        case "bomb":
            hostile.archive(path, {"a.geojson": bytes(40_000_000)})
        case "crowd":
            hostile.crowded(path, 1_000_000)
        case "crowd of few bytes":
            hostile.crowded(path, 10_001)
        case "empty":
            hostile.archive(path, {})
        case "cut":
            path.write_bytes(hostile.archive(path, one).read_bytes()[:-30])
    limits = LimitSettings(archive_gib={"bomb": 0.02, "forged": 2}.get(made, 4))
    before = tree(tmp_path)
    error = refusal(read_vector, Gate((tmp_path,), limits), path)
    assert error.code == code
    assert says in error.detail
    assert tree(tmp_path) == before


def test_a6_bytes_are_counted_while_they_come(tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hostile.archive(tmp_path / "x.zip", {"a.geojson": b" " * 3_000_000})
    members = archive.members_of(path, gate.limits)
    # As if the directory had said less, and nobody had noticed.
    monkeypatch.setattr(archive, "members_of", lambda *_: members)
    error = refusal(read_vector, Gate((tmp_path,), LimitSettings(archive_gib=0.001)), path)
    assert error.code == "limit_exceeded"
    assert "unpacks to more than 0.001 GiB" in error.detail


@pytest.mark.parametrize("missing", [".dbf", ".prj"])
def test_a6_a_shapefile_in_an_archive_lacks_a_part(
    tmp_path: Path, gate: Gate, whole: dict[str, Path], missing: str
) -> None:
    with zipfile.ZipFile(whole["Shapefile"]) as packed:
        members = {name: packed.read(name) for name in packed.namelist() if not name.endswith(missing)}
    error = refusal(read_vector, gate, hostile.archive(tmp_path / "x.zip", members))
    if missing == ".prj":
        assert (error.code, error.field) == ("missing_crs", "crs")
    else:
        assert error.code == "unreadable_file"
        assert f"its {missing} is missing" in error.detail


def test_a6_the_texts_of_a_shapefile_from_windows_are_read_right(tmp_path: Path, gate: Gate) -> None:
    texts = ["Preis in \u20ac", "\u201eZitat\u201c"]
    frame = hostile.points(2).assign(name=texts)
    frame.to_file(tmp_path / "p.shp", encoding="CP1252")
    table = bytearray((tmp_path / "p.dbf").read_bytes())
    table[29] = 0
    (tmp_path / "p.dbf").write_bytes(table)
    (tmp_path / "p.cpg").unlink(missing_ok=True)
    members = {part.name: part.read_bytes() for part in tmp_path.glob("p.*")}
    for path in (tmp_path / "p.shp", hostile.archive(tmp_path / "x.zip", members)):
        read = gate.read_vector(path)
        assert list(read.frame["name"]) == texts
        assert [finding.code for finding in read.findings] == ["encoding_detected"]


# -- A7: XML -----------------------------------------------------------------------------------------------------------


def test_a7_no_document_is_parsed_that_could_read_or_grow(
    tmp_path: Path, gate: Gate, canary: Canary, listener: Listener
) -> None:
    for target in (canary.path.as_uri(), f"http://127.0.0.1:{listener.port}/a.dtd"):
        for name, text in hostile.entities(target).items():
            for encoding in ("utf-8", "utf-8-sig", "utf-16"):
                path = tmp_path / name.split()[1]
                path.write_text(text, encoding=encoding)
                packed = hostile.archive(tmp_path / "x.kmz", {path.name: path.read_bytes()})
                posing = hostile.archive(tmp_path / "x.zip", {"a.geojson": path.read_bytes()})
                for hidden in (path, packed, posing):
                    for reader in READERS:
                        error = refusal(reader, gate, hidden)
                        assert error.code in ("format_not_allowed", "unreadable_file")
                        assert canary.secret not in str(error)
    assert listener.asked == []


# -- A8: files that end their reader -----------------------------------------------------------------------------------


def test_a8_mutated_hdf5_ends_no_reader_and_others_are_answered_meanwhile(
    tmp_path: Path, prober: Prober, whole: dict[str, Path], http: TestClient
) -> None:
    old = tmp_path / "old.h5"
    with h5py.File(old, "w", libver="earliest") as file:  # other structures than those of new files
        group = file.create_group("a/b")
        group.attrs["text"] = "x" * 300
        file.create_dataset("a/values", data=np.arange(900.0).reshape(30, 30), chunks=(7, 7), compression="gzip")
        file.create_dataset("texts", data=np.array([b"a", b"bc"], dtype=h5py.string_dtype()))
        file["compound"] = np.zeros(3, dtype=[("x", "f4"), ("y", "S8")])
    seeds = [whole["HDF5"].read_bytes(), old.read_bytes()]
    stop, health = threading.Event(), []

    def ask() -> None:
        while not stop.wait(0.2):
            health.append(http.get("/api/livez").status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    random = np.random.default_rng(2024)
    endings: list[GeoetlError] = []
    path = tmp_path / "mutated.nc"
    try:
        for number in range(MUTATIONS):
            path.write_bytes(hostile.mutated(seeds[number % 2], random))
            try:
                prober.check(path, "hdf5", (tmp_path,), LimitSettings(probe_seconds=0.5))
            except GeoetlError as error:
                endings.append(told(error, path))
    finally:
        stop.set()
        asking.join()
    assert {error.code for error in endings} <= {
        "unreadable_file", "format_not_allowed", "outside_allowed_roots", "limit_exceeded"
    }  # fmt: skip
    assert not [error.detail for error in endings if "reader fail" in error.detail]
    assert len(endings) > MUTATIONS / 10
    assert len(health) > 10
    assert set(health) == {200}


def test_a8_a_file_that_crashes_its_reader_is_refused(tmp_path: Path, guarded: Gate) -> None:
    path = hostile.crashing(tmp_path / "crash.nc")
    for opening in (guarded.open_netcdf, guarded.open_hdf5):
        with pytest.raises(UnreadableFile) as caught:
            opening(path)
        assert told(caught.value, path).field == "source"


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a small file that its reader needs seconds for: many chunks, each of which unpacks to 200 MB."""
    path = tmp_path_factory.mktemp("slow") / "slow.h5"
    size = 200_000_000
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(size // 100)) for _ in range(100)) + packer.flush()
    with h5py.File(path, "w") as file:
        for number in range(30):
            array = file.create_dataset(f"a{number}", (size,), "u1", chunks=(size,), compression="gzip")
            array.id.write_direct_chunk((0,), packed)
    return path


def computed(pid: int) -> int:
    """Return what a process has computed, in ticks of its clock."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def check_meanwhile(prober: Prober, path: Path, limits: LimitSettings, act: Callable[[int], None]) -> GeoetlError:
    """Have a slow file opened, do something to the child while it computes, and return what its asker is told."""
    found: list[GeoetlError] = []

    def ask() -> None:
        try:
            prober.check(path, "hdf5", (path.parent,), limits)
        except GeoetlError as error:
            found.append(error)

    pid = prober.pid
    assert pid is not None
    before = computed(pid)
    asking = threading.Thread(target=ask)
    asking.start()
    while computed(pid) < before + 20:
        assert asking.is_alive()
        asking.join(0.01)
    act(pid)
    asking.join()
    return told(found[0], path)


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        (signal.SIGSEGV, "made its reader crash"),
        (signal.SIGABRT, "made its reader crash"),
        (signal.SIGKILL, "needs more than 1024 MiB of memory"),
        (signal.SIGXCPU, "took longer than 1.5 s"),
        (signal.SIGSTOP, "took longer than 1.5 s"),
        (signal.SIGCONT, "took longer than 1.5 s"),  # nothing but its own slowness
    ],
)
def test_a8_a_file_that_ends_its_reader_is_refused_and_the_next_one_is_read(
    tmp_path: Path, slow: Path, ending: signal.Signals, says: str
) -> None:
    prober = Prober()
    limits = LimitSettings(probe_seconds=1.5)
    good = tmp_path / "good.h5"
    with h5py.File(good, "w") as file:
        file["a"] = 1
    try:
        prober.check(good, "hdf5", (tmp_path,), limits)
        first = prober.pid
        error = check_meanwhile(prober, slow, limits, lambda pid: os.kill(pid, ending))
        assert error.code == "unreadable_file"
        assert says in error.detail
        with pytest.raises(UnreadableFile, match=error.detail):
            prober.check(slow, "hdf5", (slow.parent,), limits)
        assert prober.pid is None  # it was remembered: nobody opened it a second time
        os.utime(good)
        prober.check(good, "hdf5", (tmp_path,), limits)
        assert prober.pid not in (None, first)
    finally:
        prober.close()


def test_a8_a_file_that_needs_much_memory_is_refused(tmp_path: Path, prober: Prober) -> None:
    path = hostile.tiff(tmp_path / "large.tif", width=16_000, height=16_000, tile=16_000)
    limits = LimitSettings(probe_memory_mib=64)
    with pytest.raises(UnreadableFile, match="needs more than 64 MiB of memory") as caught:
        prober.check(path, "raster", (tmp_path,), limits)
    assert "GEOETL_LIMITS__PROBE_MEMORY_MIB" in str(told(caught.value, path).hint)
    prober.check(path, "raster", (tmp_path,), LimitSettings())  # other limits, another answer


def test_a8_the_child_ends_with_its_parent(tmp_path: Path, slow: Path) -> None:
    code = (
        "import sys, threading; from pathlib import Path\n"
        "from geoetl.core.settings import LimitSettings; from geoetl.store.gate.prober import Prober\n"
        f"prober, path = Prober(), Path({str(slow)!r})\n"
        "args = (path, 'hdf5', (path.parent,), LimitSettings())\n"
        "threading.Thread(target=prober.check, args=args).start()\n"
        "while prober.pid is None: pass\n"
        "print(prober.pid, flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    handle = os.pidfd_open(child)  # says when it has ended, however busy it is
    parent.kill()
    parent.wait()
    parent.stdout.close()
    ended, _, _ = select.select([handle], [], [], 60)
    os.close(handle)
    assert ended


def test_a8_the_child_reaches_no_network_writes_nothing_and_starts_no_program(tmp_path: Path) -> None:
    code = """
import os, socket, subprocess, sys
from geoetl.store.gate.confine import forbid_network, limit_next, limit_resources
assert forbid_network()
limit_resources()
limit_next(64 * 1024**2, 5)
def fails(what):
    try:
        what()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"
def write():
    with open(sys.argv[1], "wb", buffering=0) as file:
        file.write(b"x")
print(fails(socket.socket), fails(lambda: socket.socket(socket.AF_UNIX)), fails(lambda: os.execv("/bin/true", ["x"])),
      fails(write), fails(lambda: bytearray(10**9)), fails(lambda: os.pipe()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["PermissionError"] * 3 + ["OSError", "MemoryError", "done"], done.stderr


def test_a8_no_secret_of_the_server_reaches_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, canary: Canary
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", canary.secret)
    monkeypatch.setenv("GEOETL_DATABASE__URL", f"postgresql://a:{canary.secret}@b/c")
    prober = Prober()
    try:
        prober.check(hostile.raster(tmp_path / "a.tif"), "raster", (tmp_path,), LimitSettings())
        assert canary.secret.encode() not in Path(f"/proc/{prober.pid}/environ").read_bytes()
    finally:
        prober.close()


def test_a8_many_threads_share_one_child(tmp_path: Path, prober: Prober) -> None:
    paths = [hostile.raster(tmp_path / f"{number}.tif") for number in range(12)]
    bad = hostile.tiff(tmp_path / "bad.tif", width=8, height=8)
    outcomes: list[str] = []

    def check(path: Path) -> None:
        try:
            prober.check(path, "raster", (tmp_path,), LimitSettings())
            outcomes.append("read")
        except GeoetlError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=check, args=(path,)) for path in [*paths, bad] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 39
    assert set(outcomes) <= {"read", "unreadable_file"}
    assert pickle.loads(pickle.dumps(prober)).pid is None


def test_a8_a_pipe_or_device_is_no_file_to_wait_for(tmp_path: Path, gate: Gate) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    for reader in READERS:
        assert refusal(reader, gate, tmp_path / "pipe.tif").code in ("format_not_allowed", "unreadable_file")


# -- through the API ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, whole: dict[str, Path]) -> Iterator[tuple[Platform, TestClient]]:
    """Give a served platform as `geoetl serve` makes it, whose folder an editor may put files into."""
    platform = geoetl.connect(tmp_path_factory.mktemp("served") / "home").guarded()
    catalogued.fill(platform, platform.settings.home / "shelf")
    with TestClient(create_app(platform), base_url=ADDRESS, raise_server_exceptions=False) as client:
        yield platform, client
    assert platform.gate.prober is not None
    platform.gate.prober.close()


def answers_of(platform: Platform, client: TestClient, href: str, media_type: str) -> Iterator[tuple[str, Any]]:
    """Give an item that address, and yield every answer about its file."""
    collection, item = (IMAGES, HILL) if media_type.startswith("image") else (CLIMATE, MODEL)
    document = dict(platform.catalog.item(collection, item))
    roles = ["references"] if media_type == "application/json" else ["data"]
    document["assets"] = {"data": {"href": href, "type": media_type, "roles": roles}}
    platform.catalog.upsert_items([document])
    for path in (
        f"/api/raster/preview/{collection}/{item}",
        f"/api/raster/point/{collection}/{item}?location=7,46",
        f"/tiles/{collection}/{item}/4/8/5.png",
        f"/assets/{collection}/{item}/data",
    ):
        yield path, client.get(path)


MEDIA_TYPES = ("image/tiff; application=geotiff", "application/netcdf", "application/json")


def test_the_api_answers_hostile_names_without_a_leak(
    served: tuple[Platform, TestClient], canary: Canary, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    platform, client = served
    home = platform.settings.home
    _new(home / "shelf" / ".git").joinpath("config").write_text(canary.secret)
    inside = [str(home / "geoetl.db"), (home / "geoetl.db-wal").as_uri(), ".env", f"{home}/./geoetl.db"]
    inside += [str(home / "shelf" / ".git" / "config"), str(home / "shelf" / "." / ".env.local")]
    for number, href in enumerate([*hostile.names(listener.port, canary.path), *inside]):
        if not href.strip() or "\0" in href:
            continue  # the catalogue does not take it
        for path, answer in answers_of(platform, client, href, MEDIA_TYPES[number % 3]):
            assert 400 <= answer.status_code < 500, (path, href, answer.text)
            assert canary.secret not in answer.text
            assert b"SQLite format" not in answer.content
            assert str(home) not in answer.text.replace(href, "")
    assert listener.asked == []
    assert canary.secret not in caplog.text


def test_the_api_answers_hostile_files_without_a_leak_and_lives(
    served: tuple[Platform, TestClient], canary: Canary, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    platform, client = served
    folder = _new(platform.settings.home / "shelf" / "hostile")
    target = hostile.raster(canary.path.with_name("shown.tif"), side=64)
    asked = f"/vsicurl/http://127.0.0.1:{listener.port}/a.tif"
    files = [*hostile.following(_new(folder / "files"), str(target)), *hostile.following(_new(folder / "asks"), asked)]
    files.append(hostile.sparse_tiff(folder / "sparse.tif"))
    files.append(hostile.tiff(folder / "bands.tif", width=1, height=1, bands=65_535))
    files.append(hostile.crashing(folder / "crash.h5"))
    files.append(hostile.references(folder / "refs.json", {"x/0": [str(canary.path), 0, 8]}))
    for path in files:
        media_type = (
            MEDIA_TYPES[0] if path.suffix not in (".h5", ".json") else MEDIA_TYPES[1 + (path.suffix == ".json")]
        )
        for asked_for, answer in answers_of(platform, client, str(path), media_type):
            if asked_for.startswith("/assets"):
                assert answer.content == path.read_bytes()  # its own bytes may be downloaded
                continue
            assert 400 <= answer.status_code < 500, (asked_for, path.name, answer.text)
            problem = answer.json()
            assert problem["code"]
            assert problem["hint"]
            assert canary.secret not in answer.text
            assert str(folder) not in answer.text
    assert listener.asked == []
    assert canary.secret not in caplog.text
    assert client.get("/api/livez").status_code == 200
