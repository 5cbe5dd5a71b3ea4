"""Cubes in step with their sources: checked, grown and followed, or told what is wrong."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from geoetl.core.errors import InvalidParameter, VerificationFailed
from geoetl.virtual import CubeRequest, CubeVirtualiser
from geoetl.virtual.build import CubePublisher
from geoetl.virtual.outcome import VirtualCube
from geoetl.virtual.upkeep import StoredCube, append, check, relocate
from geoetl.virtual.write import CubeFormat
from tests.virtual.conftest import Slice
from tests.virtual.test_virtualise import assert_same, build, mfdataset, opened

FORMATS = [CubeFormat.JSON, CubeFormat.PARQUET, CubeFormat.ICECHUNK]


def stored(virtualiser: CubeVirtualiser, cube: VirtualCube) -> StoredCube:
    """Return a cube as the catalogue would find it."""
    request = CubeRequest(source="x", collection="c")
    (item,) = virtualiser.items(request, [cube], None)
    zone = virtualiser.zone
    path = zone.local_folder(cube.references.key) if cube.format.is_folder else zone.local_path(cube.references.key)
    return StoredCube(item, path, cube.format)


def grown(virtualiser: CubeVirtualiser, cube: VirtualCube, *paths: Path) -> VirtualCube:
    publisher = CubePublisher(virtualiser.gate, virtualiser.zone, "c")
    return append(publisher, virtualiser.scratch, stored(virtualiser, cube), paths)


def damaged(content: bytes) -> bytes:
    """Return as many bytes with a hundred of them turned over."""
    return content[:5000] + bytes(byte ^ 255 for byte in content[5000:5100]) + content[5100:]


@pytest.mark.parametrize("format", FORMATS)
def test_a_grown_cube_equals_all_its_files(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice, format: CubeFormat
) -> None:
    first = [write_slice("1850-01-01", 12), write_slice("1851-01-01", 12)]
    cube = build(virtualiser, tree, format=format)
    later = [write_slice("1852-01-01", 24, epoch="days since 1900-01-01"), write_slice("1854-01-01", 5)]
    new = grown(virtualiser, cube, *reversed(later))
    assert_same(opened(virtualiser, new), mfdataset(*first, *later))
    assert_same(opened(virtualiser, cube), mfdataset(*first))
    assert new.verification.chunks_compared == 29
    assert check(virtualiser.gate, stored(virtualiser, new)).is_right
    assert new.description.times["end_datetime"] == "1854-05-01T00:00:00Z"


@pytest.mark.parametrize("format", FORMATS)
def test_the_files_that_a_cube_has_are_not_opened_when_it_grows(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice, format: CubeFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = write_slice("1850-01-01", 12)
    cube = build(virtualiser, tree, format=format)
    later = write_slice("1851-01-01", 12)
    read: list[str] = []
    real = type(virtualiser.gate).open_hdf5

    def noted(gate: object, path: Path) -> object:
        read.append(path.name)
        return real(virtualiser.gate, path)

    monkeypatch.setattr(type(virtualiser.gate), "open_hdf5", noted)
    grown(virtualiser, cube, later)
    assert later.name in read
    assert known.name not in read


@pytest.mark.parametrize("format", FORMATS)
def test_an_icechunk_cube_keeps_its_versions(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice, format: CubeFormat
) -> None:
    first = write_slice("1850-01-01", 12)
    cube = build(virtualiser, tree, format=format)
    new = grown(virtualiser, cube, write_slice("1851-01-01", 12))
    assert new.references.key != cube.references.key
    if format is not CubeFormat.ICECHUNK:
        return
    folder = virtualiser.zone.local_folder(new.references.key)
    with virtualiser.gate.open_icechunk(folder, snapshot=cube.snapshot) as old:
        xr.testing.assert_equal(old["tas"].load(), mfdataset(first)["tas"].load().assign_coords(old["tas"].coords))


def test_contiguous_files_are_added_as_they_were_cut(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice
) -> None:
    plain = {"zlib": False, "shuffle": False, "chunksizes": None, "contiguous": True}
    paths = [write_slice("1850-01-01", 12, encoding=plain), write_slice("1851-01-01", 6, encoding=plain)]
    cube = build(virtualiser, tree)
    paths.append(write_slice("1851-07-01", 18, encoding=plain))
    assert_same(opened(virtualiser, grown(virtualiser, cube, paths[-1])), mfdataset(*paths))


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_does_not_fit_behind_is_refused(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice, format: CubeFormat
) -> None:
    write_slice("1851-01-01", 12)
    cube = build(virtualiser, tree, format=format)
    for start, oddity, says in [
        ("1850-01-01", {}, "begin before"),
        ("1852-01-01", {"attrs": {"units": "degC"}}, "units of 'tas' is 'degC'"),
        ("1852-01-01", {"calendar": "noleap"}, "calendar"),
        ("1852-01-01", {"encoding": {"_FillValue": np.float32(-999)}}, "_FillValue"),
    ]:
        odd = write_slice(start, 12, **oddity)
        with pytest.raises(VerificationFailed, match=says):
            grown(virtualiser, cube, odd)
        odd.unlink()


@pytest.mark.parametrize("format", FORMATS)
def test_a_source_that_is_gone_changed_or_cut_is_found(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice, format: CubeFormat
) -> None:
    write_slice("1850-01-01", 12)
    path = write_slice("1851-01-01", 12)
    cube = stored(virtualiser, build(virtualiser, tree, format=format))
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    assert [f.code for f in check(virtualiser.gate, cube).findings] == ["source_size"]
    path.write_bytes(damaged(content))
    assert [f.code for f in check(virtualiser.gate, cube).findings] == ["source_content"]
    path.unlink()
    (finding,) = check(virtualiser.gate, cube).findings
    assert finding.code == "source_gone"
    assert finding.message == f"The source '{path.name}' is gone since its chunks were indexed."


@pytest.mark.parametrize("format", [CubeFormat.JSON, CubeFormat.PARQUET])
def test_a_changed_source_is_found_when_the_cube_is_opened(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice, format: CubeFormat
) -> None:
    write_slice("1850-01-01", 12)
    path = write_slice("1851-01-01", 12)
    cube = build(virtualiser, tree, format=format)
    content = path.read_bytes()
    os.utime(path, (1e9, 1e9))
    opened(virtualiser, cube)  # the same bytes at another time are the same file
    path.write_bytes(damaged(content))
    with pytest.raises(VerificationFailed, match=f"'{path.name}' has other content since its chunks were indexed"):
        opened(virtualiser, cube)


@pytest.mark.parametrize("format", [CubeFormat.JSON, CubeFormat.PARQUET])
def test_a_cube_follows_its_sources_to_another_folder(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice, tmp_path: Path, format: CubeFormat
) -> None:
    write_slice("1850-01-01", 12)
    cube = build(virtualiser, tree, format=format)
    publisher = CubePublisher(virtualiser.gate, virtualiser.zone, "c")
    elsewhere = tmp_path / "elsewhere"
    shutil.move(tree, elsewhere)
    held = stored(virtualiser, cube)
    moved = relocate(publisher, virtualiser.scratch, held, str(tree), str(elsewhere))
    assert_same(opened(virtualiser, moved), mfdataset(*elsewhere.rglob("*.nc")))
    with pytest.raises(InvalidParameter, match="does not lie under the folder"):
        relocate(publisher, virtualiser.scratch, held, "/nowhere", str(elsewhere))
    next(elsewhere.rglob("*.nc")).write_bytes(b"other")
    with pytest.raises(VerificationFailed, match="has another size"):
        relocate(publisher, virtualiser.scratch, held, str(tree), str(elsewhere))
