"""Cubes of files in an object store: a real S3 server on this machine, every request of which is counted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import obstore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import geoetl
from geoetl.core.errors import (
    ConfigurationError,
    GeoetlError,
    LimitExceeded,
    NotFound,
    OutsideAllowedRoots,
    UnreadableFile,
    VerificationFailed,
)
from geoetl.core.settings import LimitSettings, load_settings
from geoetl.store.gate import Gate
from geoetl.store.remote import COPIED_BYTES, RemoteFile, RemoteReader, RemoteRoot, Stamp, local_copy
from geoetl.virtual import CubeRequest, CubeVirtualiser
from geoetl.virtual.read import read_header
from geoetl.virtual.upkeep import StoredCube, append, check, relocate
from geoetl.virtual.write import CubeFormat
from tests import s3
from tests.conftest import missing
from tests.s3 import KEY, S3Server
from tests.virtual.conftest import DRS, Slice
from tests.virtual.test_virtualise import assert_same, build, mfdataset, opened, refusal

FORMATS = [CubeFormat.JSON, CubeFormat.PARQUET]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Give a server with the buckets `climate` and `other` that knows one user."""
    try:
        import nanio  # noqa: F401
    except ImportError:
        missing("nanio, an S3 server", s3.HOW)
    with s3.running(tmp_path_factory.mktemp("s3"), "climate", "other") as server:
        yield server


@pytest.fixture
def root(server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> RemoteRoot:
    """Give a prefix of the bucket `climate` that no other test uses."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return RemoteRoot(f"s3://climate/{abs(hash(request.node.nodeid))}")


@pytest.fixture
def remote(virtualiser: CubeVirtualiser, root: RemoteRoot, tmp_path: Path) -> CubeVirtualiser:
    """Give the stages, which may read below the prefix."""
    gate = Gate((tmp_path.resolve(),), LimitSettings(), (root,))
    return CubeVirtualiser(gate, virtualiser.zone, virtualiser.scratch)


def put(root: RemoteRoot, path: Path, key: str | None = None) -> str:
    key = f"{DRS}/{path.name}" if key is None else key
    obstore.put(root.store, key, path)
    return f"{root.url}/{key}"


def written(folder: Path, name: str, steps: int, *, size: int = 8, seed: int = 0) -> Path:
    """Write a file as models do: a step after the other, so that its chunks and their index lie all over it."""
    path = folder / name
    random = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        time_, lat = (
            file.create_dataset("time", (0,), "f8", maxshape=(None,), chunks=(1,)),
            file.create_dataset("lat", data=np.linspace(-80, 80, size)),
        )
        lon, bnds = (
            file.create_dataset("lon", data=np.arange(float(size))),
            file.create_dataset("time_bnds", (0, 2), "f8", maxshape=(None, 2), chunks=(1, 2)),
        )
        two = file.create_dataset("bnds", data=np.arange(2))
        data = file.create_dataset(
            "tas", (0, size, size), "f4", maxshape=(None, size, size), chunks=(1, size, size), compression=1
        )
        time_.attrs["units"], time_.attrs["calendar"] = "days since 2000-01-01", "standard"
        for scale in (time_, lat, lon, two):
            scale.make_scale(scale.name.strip("/"))
        for axis, scale in enumerate((time_, lat, lon)):
            data.dims[axis].attach_scale(scale)
        for axis, scale in enumerate((time_, two)):
            bnds.dims[axis].attach_scale(scale)
        for step in range(steps):
            for dataset, value in ((time_, step), (bnds, [step, step + 1]), (data, random.random((size, size)))):
                dataset.resize(step + 1, axis=0)
                dataset[step] = value
    return path


@pytest.mark.parametrize("format", FORMATS)
def test_a_cube_of_objects_equals_open_mfdataset_of_the_same_files(
    remote: CubeVirtualiser, root: RemoteRoot, write_slice: Slice, format: CubeFormat
) -> None:
    paths = [write_slice("1850-01-01", 12), write_slice("1851-01-01", 24), write_slice("1853-01-01", 3)]
    addresses = [put(root, path) for path in paths]
    cube = build(remote, root.url, format=format)
    assert_same(opened(remote, cube), mfdataset(*paths))
    assert cube.verification.chunks_compared == cube.verification.chunks_total == 39
    remembered = json.loads(remote.zone.local_path(cube.sources.key).read_bytes())["files"]
    assert [source["address"] for source in remembered] == addresses
    assert all(source["etag"] and "digest" not in source for source in remembered)


def test_one_object_of_another_naming_is_a_cube(remote: CubeVirtualiser, root: RemoteRoot, tmp_path: Path) -> None:
    path = written(tmp_path, "mine.nc", 3)
    cube = build(remote, put(root, path, "a/mine.nc"), naming="file")
    np.testing.assert_array_equal(opened(remote, cube)["tas"], h5py.File(path)["tas"][()])


def test_the_header_of_an_object_is_that_of_the_file(root: RemoteRoot, tmp_path: Path) -> None:
    path = written(tmp_path, "mine.nc", 70)
    gate = Gate((tmp_path,), LimitSettings(), (root,))
    ours, theirs = read_header(gate, gate.locate(put(root, path, "mine.nc"))), read_header(gate, path)
    assert list(ours.arrays) == list(theirs.arrays)
    for name, array in ours.arrays.items():
        other = theirs.arrays[name]
        assert (array.dims, array.shape, array.dtype, array.attributes) == (
            other.dims, other.shape, other.dtype, other.attributes,
        )  # fmt: skip
        assert (array.grid is None) == (other.grid is None)
        if array.grid is not None and other.grid is not None:
            np.testing.assert_array_equal(array.grid.offsets, other.grid.offsets)
            np.testing.assert_array_equal(array.grid.sizes, other.grid.sizes)
        if array.values is not None:
            np.testing.assert_array_equal(array.values, other.values)


def test_a_header_takes_a_handful_of_requests_however_many_chunks_there_are(
    server: S3Server, root: RemoteRoot, tmp_path: Path
) -> None:
    gate = Gate((tmp_path,), LimitSettings(), (root,))
    for name, steps in (("few.nc", 20), ("many.nc", 2000)):
        address = put(root, written(tmp_path, name, steps, size=10), name)
        server.requests.clear()
        header = read_header(gate, gate.locate(address))
        assert header.steps == steps
        assert server.count("HEAD") == 1
        assert server.count("GET") <= 3
        assert len(server.requests) == server.count("HEAD") + server.count("GET")


def test_pieces_that_lie_close_together_are_one_request(server: S3Server, root: RemoteRoot, tmp_path: Path) -> None:
    address = put(root, written(tmp_path, "large.nc", 120, size=180), "large.nc")
    gate = Gate((tmp_path,), LimitSettings(), (root,))
    file = gate.locate(address)
    assert isinstance(file, RemoteFile)
    assert file.size > 12 * 1024**2
    server.requests.clear()
    read_header(gate, file)
    # 120 times and 120 bounds between fields of 100 KB, and the nodes of three indices.
    assert server.count("GET") <= 6


def test_chunks_of_a_cube_are_read_by_themselves(
    server: S3Server, remote: CubeVirtualiser, root: RemoteRoot, write_slice: Slice
) -> None:
    put(root, write_slice("1850-01-01", 12))
    cube = opened(remote, build(remote, root.url))
    server.requests.clear()
    cube["tas"][5].load()
    (asked,) = server.requests
    assert asked[0] == "GET"
    first, last = asked[2].removeprefix("bytes=").split("-")
    assert int(last) - int(first) < 200


def test_an_inventory_of_objects_tells_what_it_left_out(
    remote: CubeVirtualiser, root: RemoteRoot, write_slice: Slice, tmp_path: Path
) -> None:
    path = write_slice("1850-01-01", 12)
    put(root, path)
    text = tmp_path / "text"
    text.write_text("no NetCDF")
    name = f"{DRS}/{path.name}"
    for key in ("readme.txt", f"{name}.md5", "a/.hidden/x.nc", f"{name}.part"):
        put(root, text, key)
    found = remote.inventory(CubeRequest(source=f"{root.url}/", collection="c"))
    assert [cube.files for cube in found.cubes] == [(name,)]
    assert {left.file: left.code for left in found.left_out} == {
        "readme.txt": "not_netcdf", "a/.hidden/x.nc": "hidden", f"{name}.part": "temporary",
    }  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
def test_a_changed_or_vanished_object_is_found_when_the_cube_is_opened(
    remote: CubeVirtualiser, root: RemoteRoot, write_slice: Slice, tmp_path: Path, format: CubeFormat
) -> None:
    path = write_slice("1850-01-01", 12)
    key = f"{DRS}/{path.name}"
    put(root, path)
    cube = build(remote, root.url, format=format)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    obstore.put(root.store, key, bytes(content))
    with pytest.raises(VerificationFailed, match=f"'{path.name}' has another version"):
        opened(remote, cube)
    obstore.put(root.store, key, bytes(content[:-1]))
    with pytest.raises(VerificationFailed, match=f"'{path.name}' has another size"):
        opened(remote, cube)
    obstore.delete(root.store, key)
    with pytest.raises(NotFound, match=path.name):
        opened(remote, cube)


def test_an_object_that_changes_while_a_cube_is_open_is_an_error_and_no_data(
    virtualiser: CubeVirtualiser, write_slice: Slice, tmp_path: Path
) -> None:
    root = RemoteRoot("memory:///tree")
    gate = Gate((tmp_path.resolve(),), LimitSettings(), (root,))
    stages = CubeVirtualiser(gate, virtualiser.zone, virtualiser.scratch)
    path = write_slice("1850-01-01", 12)
    put(root, path)
    cube = opened(stages, build(stages, root.url))
    put(root, path)
    with pytest.raises(UnreadableFile, match=r"The chunk 'tas/5\.0\.0' cannot be read.*has changed"):
        cube["tas"][5].load()


@pytest.mark.parametrize(
    "target",
    [
        "s3://other/secret.nc",
        "s3://climate/secret.nc",
        "{root}x/secret.nc",
        "{root}/../secret.nc",
        "{root}//secret.nc",
        "s3://evil.example.org/secret.nc",
        "S3://climate/secret.nc",
        "s3a://climate/secret.nc",
        "http://127.0.0.1/secret.nc",
        "memory://secret.nc",
    ],
)
def test_a_reference_to_another_place_is_refused_and_nobody_is_asked(
    server: S3Server, remote: CubeVirtualiser, root: RemoteRoot, tmp_path: Path, target: str
) -> None:
    target = target.format(root=root.url)
    array = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|u1", "order": "C", "fill_value": 0}
    metadata = {**array, "compressor": None, "filters": None}
    references = {".zgroup": '{"zarr_format": 2}', "x/.zarray": json.dumps(metadata), "x/0": [target, 0, 1]}
    path = tmp_path / "references.json"
    path.write_text(json.dumps({"version": 1, "refs": references}))
    server.requests.clear()
    with pytest.raises(OutsideAllowedRoots, match="x/0"):
        remote.gate.open_references(path)
    assert not server.requests


def test_what_references_remember_does_not_lead_elsewhere_either(
    server: S3Server, remote: CubeVirtualiser, tmp_path: Path
) -> None:
    path = tmp_path / "references.json"
    sources = [{"address": "s3://other/secret.nc", "bytes": 1, "modified_ns": 0}]
    path.write_text(json.dumps({"refs": {".zgroup": '{"zarr_format": 2}'}, "sources": sources}))
    server.requests.clear()
    with pytest.raises(OutsideAllowedRoots, match="s3://other"):
        remote.gate.open_references(path)
    assert not server.requests


@pytest.mark.parametrize("source", ["s3://other/tree", "s3://climate", "gs://bucket/x"])
def test_a_source_below_no_root_is_refused(remote: CubeVirtualiser, source: str) -> None:
    with pytest.raises(OutsideAllowedRoots, match="object stores that may be read"):
        remote.gate.locate(source)


def test_rasters_and_vectors_are_not_read_from_object_stores(remote: CubeVirtualiser, root: RemoteRoot) -> None:
    with pytest.raises(OutsideAllowedRoots, match="not a local path"):
        remote.gate.resolve(f"{root.url}/x.tif")


def test_without_credentials_nothing_is_asked(
    server: S3Server, remote: CubeVirtualiser, root: RemoteRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    server.requests.clear()
    with pytest.raises(ConfigurationError, match="the environment has no credentials") as caught:
        remote.gate.locate(root.url + "/x.nc")
    assert "AWS_ACCESS_KEY_ID" in (caught.value.hint or "")
    assert not server.requests


@pytest.mark.parametrize("source", ["/x.nc", ""], ids=["object", "prefix"])
def test_wrong_credentials_are_told_without_them(
    remote: CubeVirtualiser, root: RemoteRoot, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    request = CubeRequest(source=root.url + source, collection="c")
    with pytest.raises(ConfigurationError, match="the store refuses these credentials") as caught:
        remote.inventory(request)
    shown = f"{caught.value} {caught.value.problem()} {caught.value.__cause__} {caught.value.__suppress_context__}"
    assert "a-wrong-secret" not in shown
    assert KEY not in shown.replace("AWS_ACCESS_KEY_ID", "")


def test_netcdf3_is_read_from_a_copy_if_it_is_small(
    remote: CubeVirtualiser, root: RemoteRoot, write_slice: Slice
) -> None:
    path = write_slice("1850-01-01", 12, format="NETCDF3_CLASSIC")
    put(root, path)
    assert_same(opened(remote, build(remote, root.url)), mfdataset(path))
    large = RemoteFile(root, "large.nc", Stamp(COPIED_BYTES + 1, 0))
    with pytest.raises(LimitExceeded, match="'large.nc' is NetCDF-3 of 64 MiB"), local_copy(large):
        pass


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"format": "icechunk"}, "not written as icechunk"),
        ({"format": "zarr"}, "not written as zarr"),
        ({"checksums": "whole"}, "known by their etags"),
    ],
    ids=["icechunk", "zarr", "checksums"],
)
def test_what_objects_cannot_be_is_refused_with_the_reason(
    remote: CubeVirtualiser, root: RemoteRoot, write_slice: Slice, parameters: dict[str, Any], says: str
) -> None:
    put(root, write_slice("1850-01-01", 12))
    assert says in refusal(remote, root.url, **parameters)


def test_objects_that_would_have_to_be_converted_are_refused(
    remote: CubeVirtualiser, root: RemoteRoot, write_slice: Slice
) -> None:
    put(root, write_slice("1850-01-01", 12))
    put(root, write_slice("1851-01-01", 12, attrs={"units": "degC"}))
    assert "are not converted" in refusal(remote, root.url, when_refused="convert")


def test_a_cube_of_objects_grows_is_checked_and_follows_its_files(
    remote: CubeVirtualiser, root: RemoteRoot, write_slice: Slice
) -> None:
    first, later = write_slice("1850-01-01", 12), write_slice("1851-01-01", 12)
    put(root, first)
    made = build(remote, root.url)
    cube = StoredCube({"collection": "c", "id": "x", "properties": {}}, *_stored(remote, made))
    publisher = remote.publisher("c")
    grown = append(publisher, remote.scratch, cube, [remote.gate.locate(put(root, later))])
    assert_same(opened(remote, grown), mfdataset(first, later))
    both = StoredCube(cube.item, *_stored(remote, grown))
    assert check(remote.gate, both).is_right
    for path in (first, later):
        put(root, path, f"moved/{path.name}")
        obstore.delete(root.store, f"{DRS}/{path.name}")
    assert [finding.code for finding in check(remote.gate, both).findings] == ["source_gone", "source_gone"]
    moved = relocate(publisher, remote.scratch, both, f"{root.url}/{DRS}", f"{root.url}/moved")
    assert_same(opened(remote, moved), mfdataset(first, later))
    with pytest.raises(GeoetlError, match="cannot follow them"):
        relocate(publisher, remote.scratch, both, f"{root.url}/{DRS}", str(first.parent))


def _stored(stages: CubeVirtualiser, cube: Any) -> tuple[Path, CubeFormat]:
    return stages.zone.local_path(cube.references.key), cube.format


def test_a_url_among_the_allowed_roots_is_read_from_the_settings(
    root: RemoteRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOETL_ALLOWED_ROOTS", json.dumps([str(tmp_path), f"{root.url}/"]))
    settings_ = load_settings(home=tmp_path / "home")
    assert (settings_.local_roots, settings_.remote_roots) == ((tmp_path.resolve(),), (root.url,))
    platform = geoetl.connect(tmp_path / "home")
    put(root, written(tmp_path, "x.nc", 2), "x.nc")
    assert str(platform.gate.locate(f"{root.url}/x.nc")) == f"{root.url}/x.nc"
    assert root.url in json.loads(platform._environment()["GEOETL_ALLOWED_ROOTS"])


@pytest.mark.parametrize("url", ["ftp://x/y", "s3://user:word@b/x", "s3://b/../x", "s3://b/x?y", "file:///etc"])
def test_a_url_of_another_kind_is_no_root(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="is no place in an object store"):
        geoetl.connect(tmp_path, allowed_roots=(url,))


def test_a_run_is_another_one_when_an_object_changes(root: RemoteRoot, tmp_path: Path) -> None:
    for seed in (1, 2):
        put(root, written(tmp_path, "x.nc", 2, seed=seed), "x.nc")
    whole = root.find("").fingerprint()
    assert whole == root.find("").fingerprint()
    put(root, written(tmp_path, "x.nc", 2, seed=3), "x.nc")
    assert root.find("").fingerprint() != whole


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(0, 2_500_000)), max_size=6))
def test_a_reader_gives_the_bytes_of_its_object(places: list[tuple[int, int]]) -> None:
    content = np.random.default_rng(0).bytes(3_000_000)
    root = RemoteRoot("memory://")
    obstore.put(root.store, "x", content)
    reader = RemoteReader(root.find("x"))
    ranges = [(offset, min(size, len(content) - offset)) for offset, size in places]
    assert reader.read_ranges(ranges) == [content[offset : offset + size] for offset, size in ranges]
    for offset, size in places:
        reader.seek(offset)
        assert reader.read(size) == content[offset : offset + size]
    with pytest.raises(ValueError, match="beyond the end"):
        reader.read_at(len(content) - 1, 2)
