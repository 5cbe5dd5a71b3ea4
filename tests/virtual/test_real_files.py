"""Every real climate file at hand: in a verified cube that equals open_mfdataset, or left out with a true reason."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from geoetl.store.samples import sample_path
from geoetl.virtual import CubeRequest, CubeVirtualiser
from geoetl.virtual.build import source_paths
from geoetl.virtual.outcome import CubeOutcome
from tests.virtual.test_virtualise import mfdataset, opened

DATA = Path(__file__).parents[3] / "shared" / "data"
REAL = DATA / "cmip6"
OTHER = DATA / "netcdf_other"
needs_shared = pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real files is not there")


@pytest.fixture
def reader(virtualiser: CubeVirtualiser) -> CubeVirtualiser:
    """Give stages that may read the real files."""
    roots = (*virtualiser.gate.roots, sample_path("cmip6").resolve(), REAL.resolve(), OTHER.resolve())
    return replace(virtualiser, gate=replace(virtualiser.gate, roots=roots))


def outcomes(reader: CubeVirtualiser, source: str, **more: str) -> Iterator[tuple[list[Path], CubeOutcome]]:
    request = CubeRequest(source=source, collection="c", **more)  # type: ignore[arg-type]
    inventory = reader.inventory(request)
    root = reader.gate.resolve(source)
    files = [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else [root]
    companions = {f"{file}.md5" for cube in inventory.cubes for file in cube.checksums}
    named = {file for cube in inventory.cubes for file in cube.files} | {left.file for left in inventory.left_out}
    if root.is_dir():
        assert {path.relative_to(root).as_posix() for path in files} == named | companions
    for cube in inventory.cubes:
        yield source_paths(reader.gate, request, cube.files), reader.builder(request)(cube)


def assert_equal(reader: CubeVirtualiser, paths: list[Path], outcome: CubeOutcome) -> None:
    assert outcome.refused is None, outcome.refused
    (cube,) = outcome.cubes
    assert cube.verification.chunks_compared == cube.verification.chunks_total
    with opened(reader, cube) as virtual, mfdataset_of(paths) as expected:
        for name in expected.variables:
            got, wanted = virtual[name].to_numpy(), expected[name].to_numpy()
            np.testing.assert_array_equal(got.astype(wanted.dtype), wanted, err_msg=f"{name} of {paths[0].name}")
        assert set(virtual.variables) == set(expected.variables)
        assert set(virtual.coords) == set(expected.coords)


def mfdataset_of(paths: list[Path]) -> xr.Dataset:
    if len(paths) > 1:
        return mfdataset(*paths)
    return xr.open_dataset(paths[0], engine="netcdf4", decode_times=xr.coders.CFDatetimeCoder(use_cftime=True))


def test_all_326_sample_files_make_76_cubes_that_equal_open_mfdataset(reader: CubeVirtualiser) -> None:
    count = cubes = 0
    for paths, outcome in outcomes(reader, "samples:cmip6"):
        assert_equal(reader, paths, outcome)
        count, cubes = count + len(paths), cubes + 1
    assert (count, cubes) == (326, 76)


@needs_shared
def test_every_file_of_the_real_tree_is_in_a_cube_that_equals_open_mfdataset(reader: CubeVirtualiser) -> None:
    codes: dict[str, set[str]] = {}
    for paths, outcome in outcomes(reader, str(REAL)):
        assert_equal(reader, paths, outcome)
        assert outcome.preflight is not None
        found = {finding.code for finding in (*outcome.preflight.findings, *outcome.files.findings)}
        codes[outcome.files.id.removeprefix("CMIP6.")] = found
    assert len(codes) == 16
    for cube, code in [
        ("CMIP.AWI.AWI-CM-1-1-MR.historical.r1i1p1f1.Amon.ta.gn.v20181218", "contiguous"),
        ("CMIP.AWI.AWI-ESM-1-1-LR.1pctCO2.r1i1p1f1.Amon.tas.gn.v20200212", "gap"),
        ("CMIP.CAS.FGOALS-g3.historical.r1i1p1f1.Amon.tas.gn.v20190818", "netcdf3"),
        ("CMIP.NCAR.CESM2-WACCM.historical.r1i1p1f1.day.tas.gn.v20190227", "tiny_chunks"),
    ]:
        assert code in codes[cube]
    # Slices of time in chunks longer than the array, two scenarios, odd versions, sub-experiments, a fixed field.
    assert {
        "CMIP.INM.INM-CM5-0.historical.r1i1p1f1.Amon.rlds.gr1.v20190610",
        "ScenarioMIP.INM.INM-CM5-0.ssp245.r1i1p1f1.Amon.rlds.gr1.v20190619",
        "ScenarioMIP.MIROC.MIROC6.ssp119.r1i1p1f1.Amon.ta.gn.d20190807",
        "CMIP.MPI-M.MPI-ESM1-2-HR.historical.r1i1p1f1.SImon.siconc.gn.latest",
        "DCPP.MOHC.HadGEM3-GC31-MM.dcppA-hindcast.s2004-r3i1p1f2.Amon.pr.gn.v20200417",
        "DCPP.EC-Earth-Consortium.EC-Earth3.dcppA-hindcast.s1961-r6i2p1f1.day.pr.gr.v20200508",
        "ScenarioMIP.MPI-M.MPI-ESM1-2-LR.ssp370.r1i1p1f1.fx.mrsofc.gn.v20190815",
    } <= codes.keys()


@needs_shared
@pytest.mark.parametrize("name", sorted(path.name for path in OTHER.glob("*.nc")))
def test_a_real_file_without_a_cmip6_name_is_a_cube_of_its_own(reader: CubeVirtualiser, name: str) -> None:
    for paths, outcome in outcomes(reader, str(OTHER / name), naming="file"):
        assert_equal(reader, paths, outcome)
