"""References in Parquet, Icechunk and Zarr open as what they stand for, or not at all."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import icechunk as ic
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr

from geoetl.core.errors import FormatNotAllowed, NotFound, OutsideAllowedRoots, UnreadableFile
from geoetl.store.gate import Gate
from tests.cube_stores import KINDS, kerchunk_references, write_icechunk, write_netcdf, write_parquet, write_store

STEPS = 7


def small_cube() -> xr.Dataset:
    """Return ``tas`` (7 steps of 4 by 8) with a hole, and a scalar height."""
    values = np.random.default_rng(3).normal(280, 9, (STEPS, 4, 8)).astype("f4")
    values[2, 1, 1] = np.nan
    return xr.Dataset(
        {"tas": (("time", "lat", "lon"), values, {"units": "K"})},
        coords={
            "time": np.datetime64("2000-01-01", "s") + np.arange(STEPS) * np.timedelta64(1, "D"),
            "lat": [-60.0, -20.0, 20.0, 60.0],
            "lon": np.arange(8) * 45.0,
            "height": 2.0,
        },
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Give a NetCDF file of seven chunks."""
    return write_netcdf(tmp_path / "source.nc", small_cube(), tas=(1, 4, 8))


def opened(gate: Gate, kind: str, path: Path) -> xr.Dataset:
    openers: dict[str, Callable[..., xr.Dataset]] = {
        "json": gate.open_references,
        "parquet": gate.open_references,
        "icechunk": gate.open_icechunk,
        "zarr": gate.open_zarr,
    }
    return openers[kind](path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_of_every_kind_is_lazily_what_its_source_is(
    gate: Gate, source: Path, tmp_path: Path, kind: str
) -> None:
    write_store(kind, source, tmp_path / "store")
    cube = opened(gate, kind, tmp_path / "store")
    assert not cube["tas"]._in_memory
    with xr.open_dataset(source, engine="h5netcdf") as expected:
        xr.testing.assert_identical(cube.load(), expected.load())


@pytest.mark.parametrize("kind", KINDS)
def test_an_open_store_may_be_sent_to_another_process(gate: Gate, source: Path, tmp_path: Path, kind: str) -> None:
    write_store(kind, source, tmp_path / "store")
    there = pickle.loads(pickle.dumps(opened(gate, kind, tmp_path / "store")))
    with xr.open_dataset(source, engine="h5netcdf") as expected:
        xr.testing.assert_equal(there.load(), expected.load())


def test_parquet_of_virtualizarr_opens_too(gate: Gate, source: Path, tmp_path: Path) -> None:
    from obspec_utils.registry import ObjectStoreRegistry
    from obstore.store import LocalStore
    from virtualizarr import open_virtual_dataset
    from virtualizarr.parsers import HDFParser

    cube = open_virtual_dataset(
        f"file://{source}", registry=ObjectStoreRegistry({"file://": LocalStore()}), parser=HDFParser(),
        loadable_variables=["time", "lat", "lon"],
    )  # fmt: skip
    # VirtualiZarr cannot write scalars into Parquet.
    cube.drop_vars("height").vz.to_kerchunk(str(tmp_path / "refs"), format="parquet", record_size=2)
    with xr.open_dataset(source, engine="h5netcdf") as expected:
        xr.testing.assert_equal(gate.open_references(tmp_path / "refs").load(), expected.drop_vars("height").load())


def test_chunks_that_were_never_written_are_fill_values(gate: Gate, tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "holes.nc", "w") as file:
        data = file.create_dataset("x", (8, 5), "f4", chunks=(1, 5), fillvalue=np.nan)
        data[2] = data[3] = data[6] = 1
        for axis, name in enumerate(("i", "j")):
            file[name] = np.arange(data.shape[axis], dtype="f8")
            file[name].make_scale(name)
            data.dims[axis].attach_scale(file[name])
    write_parquet(tmp_path / "holes.nc", tmp_path / "refs")
    values = gate.open_references(tmp_path / "refs")["x"].to_numpy()
    assert np.isfinite(values).all(axis=1).tolist() == [i in (2, 3, 6) for i in range(8)]


@pytest.mark.parametrize("kind", ["json", "parquet", "icechunk"])
def test_a_source_that_is_gone_is_named_at_open(gate: Gate, source: Path, tmp_path: Path, kind: str) -> None:
    write_store(kind, source, tmp_path / "store")
    source.unlink()
    with pytest.raises(NotFound, match=r"source\.nc"):
        opened(gate, kind, tmp_path / "store")


@pytest.mark.parametrize("kind", ["json", "parquet", "icechunk"])
@pytest.mark.parametrize("damage", ["cut", "gone", "swapped"])
def test_a_source_that_is_lost_after_the_open_is_never_fill_values(
    gate: Gate, source: Path, tmp_path: Path, kind: str, damage: str
) -> None:
    write_store(kind, source, tmp_path / "store")
    cube = opened(gate, kind, tmp_path / "store")
    if damage == "cut":
        os.truncate(source, 300)
    else:
        source.unlink()
    if damage == "swapped":
        source.mkdir()
    with pytest.raises((UnreadableFile, ic.IcechunkError)):
        cube["tas"].load()


def test_an_icechunk_source_that_was_touched_is_an_error(gate: Gate, source: Path, tmp_path: Path) -> None:
    write_icechunk(source, tmp_path / "store")
    cube = gate.open_icechunk(tmp_path / "store")
    os.utime(source, (4_000_000_000, 4_000_000_000))
    with pytest.raises(ic.StorageError, match="has changed"):
        cube["tas"].load()


# -- hostile Parquet -------------------------------------------------------------------------------------------------


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / ".zmetadata"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def table(rows: int, **columns: object) -> pa.Table:
    sound = {"path": ["/nowhere"] * rows, "offset": [0] * rows, "size": [1] * rows, "raw": pa.nulls(rows, pa.binary())}
    return pa.table({**sound, **columns})


def renamed(document: dict[str, Any], name: str) -> None:
    for part in (".zarray", ".zattrs"):
        document["metadata"][f"{name}/{part}"] = document["metadata"].pop(f"tas/{part}")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(record_size=10**9),
        lambda d: d.update(record_size=0),
        lambda d: d.update(record_size="3"),
        lambda d: d.pop("metadata"),
        lambda d: d["metadata"]["tas/.zarray"].update(shape=[10**12, 4, 8]),
        lambda d: d["metadata"]["tas/.zarray"].update(shape=[-1, 4, 8]),
        lambda d: d["metadata"]["tas/.zarray"].update(chunks=[0, 4, 8]),
        lambda d: d["metadata"]["tas/.zarray"].update(chunks=[1, 4]),
        lambda d: d["metadata"]["tas/.zarray"].update(dimension_separator="/"),
        lambda d: d["metadata"]["tas/.zarray"].update(filters=5),
        lambda d: d["metadata"].update({"tas/.zarray": 7}),
        lambda d: d["metadata"].pop(".zgroup"),
    ],
)
def test_metadata_that_are_not_right_are_told_in_a_sentence(
    gate: Gate, source: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    write_parquet(source, tmp_path / "refs")
    rewritten(tmp_path / "refs", change)
    with pytest.raises(UnreadableFile) as caught:
        gate.open_references(tmp_path / "refs")
    assert caught.value.hint


@pytest.mark.parametrize("name", ["../tas", "a/../../tas", "/tas", "a//tas", "a\\..\\tas"])
def test_a_name_in_the_metadata_that_leads_out_is_refused(gate: Gate, source: Path, tmp_path: Path, name: str) -> None:
    write_parquet(source, tmp_path / "refs")
    rewritten(tmp_path / "refs", lambda document: renamed(document, name))
    with pytest.raises(OutsideAllowedRoots):
        gate.open_references(tmp_path / "refs")


@pytest.mark.parametrize(
    "content",
    [
        table(1),  # fewer rows than chunks
        table(4),  # more than record_size
        table(3).rename_columns(["path", "offset", "size", "raws"]),
        table(3, path=[1, 2, 3]),
        table(3, path=[b"\xff\xfe"] * 3),
        table(3).select(["offset", "size"]),
    ],
)
def test_a_parquet_file_of_another_form_is_told_at_open(
    gate: Gate, source: Path, tmp_path: Path, content: pa.Table
) -> None:
    write_parquet(source, tmp_path / "refs")
    pq.write_table(content, tmp_path / "refs/tas/refs.1.parq")
    with pytest.raises(UnreadableFile, match=r"refs\.1\.parq"):
        gate.open_references(tmp_path / "refs")


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "http://127.0.0.1:9/x", "s3://bucket/key", "relative/../../../../etc/passwd"]
)
def test_an_address_in_parquet_that_leads_out_is_refused_with_its_place(
    gate: Gate, source: Path, tmp_path: Path, target: str
) -> None:
    write_parquet(source, tmp_path / "refs")
    pq.write_table(table(3, path=[str(source), target, str(source)]), tmp_path / "refs/tas/refs.1.parq")
    with pytest.raises(OutsideAllowedRoots) as caught:
        gate.open_references(tmp_path / "refs")
    assert "tas/refs.1.parq" in caught.value.detail
    assert target in caught.value.detail


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all", b"PAR1" + bytes(100) + b"PAR1"])
def test_a_damaged_parquet_file_is_told_at_open(gate: Gate, source: Path, tmp_path: Path, content: bytes) -> None:
    write_parquet(source, tmp_path / "refs")
    (tmp_path / "refs/tas/refs.2.parq").write_bytes(content)
    with pytest.raises(UnreadableFile):
        gate.open_references(tmp_path / "refs")


@pytest.mark.parametrize("file", ["tas/refs.0.parq", "tas/refs.2.parq", "lat/refs.0.parq", ".zmetadata"])
def test_a_part_that_is_gone_is_never_fill_values(gate: Gate, source: Path, tmp_path: Path, file: str) -> None:
    write_parquet(source, tmp_path / "refs")
    (tmp_path / "refs" / file).unlink()
    with pytest.raises(UnreadableFile):
        gate.open_references(tmp_path / "refs")


@pytest.mark.parametrize("piece", [[10**15, 10], [0, 10**15], [-1, 10], [5, -1]])
def test_a_reference_beyond_its_file_reads_nothing(gate: Gate, source: Path, tmp_path: Path, piece: list[int]) -> None:
    write_parquet(source, tmp_path / "refs")
    offset, size = piece
    pq.write_table(
        table(3, path=[str(source)] * 3, offset=[offset] * 3, size=[size] * 3), tmp_path / "refs/tas/refs.0.parq"
    )
    with pytest.raises(UnreadableFile):
        gate.open_references(tmp_path / "refs")["tas"][0].load()


def test_a_link_in_a_store_that_leads_out_is_refused(tmp_path: Path, source: Path) -> None:
    from geoetl.core.settings import LimitSettings

    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    gate = Gate((inside.resolve(),), LimitSettings())
    own = inside / "source.nc"
    own.write_bytes(source.read_bytes())
    for kind, file in (("parquet", "tas/refs.1.parq"), ("zarr", "tas/c/0/0/0")):
        write_store(kind, own, inside / kind)
        (outside / "secret").write_bytes((inside / kind / file).read_bytes())
        (inside / kind / file).unlink()
        (inside / kind / file).symlink_to(outside / "secret")
        with pytest.raises(OutsideAllowedRoots, match="is a link"):
            opened(gate, kind, inside / kind)
    write_icechunk(own, inside / "icechunk")
    own.unlink()
    (outside / "source.nc").write_bytes(source.read_bytes())
    own.symlink_to(outside / "source.nc")
    with pytest.raises(OutsideAllowedRoots, match=r"source\.nc"):
        gate.open_icechunk(inside / "icechunk")


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_a_codec_that_runs_what_it_reads_is_refused(gate: Gate, source: Path, tmp_path: Path, form: str) -> None:
    references = kerchunk_references(source)
    document = json.loads(references["refs"]["tas/.zarray"])
    document["filters"] = [{"id": "pickle", "protocol": 5}]
    if form == "json":
        references["refs"]["tas/.zarray"] = json.dumps(document)
        (tmp_path / "refs").write_text(json.dumps(references))
    else:
        write_parquet(source, tmp_path / "refs")
        rewritten(tmp_path / "refs", lambda found: found["metadata"].update({"tas/.zarray": document}))
    with pytest.raises(FormatNotAllowed, match="pickle"):
        gate.open_references(tmp_path / "refs")


# -- Icechunk --------------------------------------------------------------------------------------------------------


def test_virtual_chunks_outside_of_the_roots_are_refused(tmp_path: Path, source: Path) -> None:
    from geoetl.core.settings import LimitSettings

    (tmp_path / "inside").mkdir()
    write_icechunk(source, tmp_path / "inside/store")
    with pytest.raises(OutsideAllowedRoots, match="virtual chunks"):
        Gate(((tmp_path / "inside").resolve(),), LimitSettings()).open_icechunk(tmp_path / "inside/store")


@pytest.mark.parametrize("kind", ["remote", "other folder"])
def test_a_place_for_virtual_chunks_that_is_not_what_it_says_is_refused(gate: Gate, tmp_path: Path, kind: str) -> None:
    store = ic.local_filesystem_store("/etc") if kind == "other folder" else ic.s3_store(region="us-east-1")
    prefix = f"file://{tmp_path}/" if kind == "other folder" else "s3://bucket/"
    config = ic.RepositoryConfig.default()
    config.set_virtual_chunk_container(ic.VirtualChunkContainer(prefix, store))
    ic.Repository.create(ic.local_filesystem_storage(str(tmp_path / "store")), config=config)
    with pytest.raises(OutsideAllowedRoots):
        gate.open_icechunk(tmp_path / "store")


def test_a_snapshot_is_read_as_it_was(gate: Gate, source: Path, tmp_path: Path) -> None:
    first = write_icechunk(source, tmp_path / "store")
    repository = ic.Repository.open(ic.local_filesystem_storage(str(tmp_path / "store")))
    session = repository.writable_session("main")
    zarr.open_group(session.store)["lat"][:] = 0  # type: ignore[index]
    second = session.commit("second")
    assert gate.open_icechunk(tmp_path / "store", snapshot=first)["lat"].values.tolist() == [-60, -20, 20, 60]
    assert gate.open_icechunk(tmp_path / "store", snapshot=second)["lat"].values.tolist() == [0] * 4
    assert gate.open_icechunk(tmp_path / "store")["lat"].values.tolist() == [0] * 4


@pytest.mark.parametrize("snapshot", ["", "no id", "ZZZZZZZZZZZZZZZZZZZG"])
def test_a_snapshot_that_is_not_there_is_told(gate: Gate, source: Path, tmp_path: Path, snapshot: str) -> None:
    write_icechunk(source, tmp_path / "store")
    with pytest.raises(NotFound, match="snapshot"):
        gate.open_icechunk(tmp_path / "store", snapshot=snapshot)


@pytest.mark.parametrize("part", ["manifests", "snapshots", "repo"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_repository_is_told(gate: Gate, source: Path, tmp_path: Path, part: str, damage: str) -> None:
    write_icechunk(source, tmp_path / "store")
    place = tmp_path / "store" / part
    for file in [place] if place.is_file() else list(place.iterdir()):
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(UnreadableFile):
        gate.open_icechunk(tmp_path / "store")


@pytest.mark.parametrize("kind", ["icechunk", "zarr", "parquet"])
def test_an_empty_folder_or_a_file_is_no_store(gate: Gate, tmp_path: Path, kind: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"{}")
    for name in ("folder", "file"):
        with pytest.raises(UnreadableFile):
            opened(gate, kind, tmp_path / name)


@pytest.mark.parametrize("content", ["", "{}", '{"zarr_format": 3, "node_type": "group"', '{"zarr_format": 2}'])
def test_a_zarr_store_that_is_not_right_is_told(gate: Gate, tmp_path: Path, content: str) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/zarr.json").write_text(content)
    with pytest.raises(UnreadableFile):
        gate.open_zarr(tmp_path / "store")


def test_a_sample_of_kerchunk_with_templates_is_refused_with_key_and_target(gate: Gate) -> None:
    folder = Path(__file__).resolve().parents[3] / "shared/data/kerchunk_refs"
    if not folder.is_dir():
        pytest.skip("the shared samples are not here")
    with pytest.raises(FormatNotAllowed, match=r"'.+' leads to '\{\{u\}\}'"):
        gate.open_references(folder / "0.json")
