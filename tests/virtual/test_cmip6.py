"""CMIP6 names: real ones are read, hostile ones are told where they depart."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoetl.core.errors import NotCMIP6
from geoetl.virtual.cmip6 import Facets


@pytest.mark.parametrize(
    "name",
    [
        "ta_Amon_AWI-CM-1-1-MR_historical_r1i1p1f1_gn_195001-195012.nc",
        "rlds_Amon_INM-CM5-0_historical_r1i1p1f1_gr1_185001-194912.nc",
        "pr_Amon_HadGEM3-GC31-MM_dcppA-hindcast_s2004-r3i1p1f2_gn_200411-200412.nc",
        "pr_day_EC-Earth3_dcppA-hindcast_s1961-r6i2p1f1_gr_19611101-19611231.nc",
        "mrsofc_fx_MPI-ESM1-2-LR_historical_r1i1p1f1_gn.nc",
        "zg_6hrPlevPt_MIROC6_ssp585_r1i1p1f1_gn_201501010600-201601010000.nc",
        "ua_subhrPt_CNRM-CM6-1_amip_r1i1p1f2_gn_19790101003000-19791231233000.nc",
        "tos_Oclim_CESM2_historical_r11i1p1f1_gr_185001-201412-clim.nc",
        "msftmz_Omon_GISS-E2-1-G-CC_historical_r101i1p1f1_gn_185001-185012.nc",
    ],
)
def test_a_real_name_is_read_and_written_back(name: str) -> None:
    assert Facets.parse(PurePosixPath(name)).file_name == name


def test_folders_give_era_activity_institution_and_version() -> None:
    folder = "data/CMIP6/DCPP/MOHC/HadGEM3-GC31-MM/dcppA-hindcast/s2004-r3i1p1f2/Amon/pr/gn/v20200417"
    name = "pr_Amon_HadGEM3-GC31-MM_dcppA-hindcast_s2004-r3i1p1f2_gn_200411-200412.nc"
    facets = Facets.parse(PurePosixPath(folder) / name)
    assert (facets.mip_era, facets.activity_id, facets.institution_id) == ("CMIP6", "DCPP", "MOHC")
    assert (facets.version, facets.sub_experiment_id) == ("v20200417", "s2004")
    assert facets.cube_id == "CMIP6.DCPP.MOHC.HadGEM3-GC31-MM.dcppA-hindcast.s2004-r3i1p1f2.Amon.pr.gn.v20200417"


def test_a_single_month_is_a_range_of_one() -> None:
    facets = Facets.parse(PurePosixPath("tas_Amon_AWI-ESM-1-1-LR_1pctCO2_r1i1p1f1_gn_185501.nc"))
    assert (facets.start, facets.end) == ("185501", "185501")


@pytest.mark.parametrize("version", ["latest", "v20191016", "d20190807"])
def test_odd_version_folders_are_kept_as_found(version: str) -> None:
    path = PurePosixPath("gn") / version / "tas_Amon_MIROC6_ssp119_r1i1p1f1_gn_201501-202412.nc"
    assert Facets.parse(path).version == version


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("air_temperature_small.nc", "it has 3 parts"),
        ("tas_Amon_CanESM2_rcp85_r1i1p1_200701-200712.nc", "'r1i1p1' is not a member"),
        ("tas_day_ACCESS-CM2_ssp245_r1i1p1f1_gn_2015_v2.0.nc", "it has 8 parts"),
        ("sic_SImon_CCCma-CanESM5_ssp245_r13i1p2f1_2020.nc", "'2020' is not a grid label"),
        ("tas_Amon_CESM2_historical_r1i1p1f1_GN_185001-201412.nc", "'GN' is not a grid label"),
        ("tas_Amon_CESM2_historical_r1i1p1f1_gn_1850-01.nc", "'1850-01' is not a time range"),
        ("tas_Amon_CESM2_historical_r1i1p1f1_gn_185001-201412.nc.md5", "does not end in .nc"),
        ("tas_Amon_CESM2_historical_r1i1p1f1_gn_185001-201412.nc.pid7.ncks.tmp", "does not end in .nc"),
        ("tas_Am on_CESM2_historical_r1i1p1f1_gn_185001-201412.nc", "holds characters"),
        ("tas_Amon_CESM2_historical_r1i1p1f1_gn_18500-201412.nc", "of 5 digits"),
        ("", "does not end in .nc"),
    ],
)
def test_a_name_that_departs_is_told_where(name: str, says: str) -> None:
    with pytest.raises(NotCMIP6, match=says) as caught:
        Facets.parse(PurePosixPath(name or "."))
    assert "naming=file" in str(caught.value.hint)


words = st.from_regex(r"[a-zA-Z0-9-]{1,12}", fullmatch=True)


@given(
    variable=words, table=words, source=words, experiment=words,
    sub=st.none() | st.integers(1000, 9999).map("s{}".format),
    ripf=st.tuples(*[st.integers(1, 999)] * 4),
    grid=st.from_regex(r"g[a-z0-9]{1,3}", fullmatch=True),
    years=st.none() | st.tuples(st.integers(0, 9999), st.integers(0, 9999)),
)  # fmt: skip
def test_every_name_of_the_drs_goes_there_and_back(
    variable: str, table: str, source: str, experiment: str, sub: str | None, ripf: tuple[int, ...], grid: str,
    years: tuple[int, int] | None,
) -> None:  # fmt: skip
    facets = Facets(
        variable_id=variable, table_id=table, source_id=source, experiment_id=experiment, sub_experiment_id=sub,
        variant_label="r{}i{}p{}f{}".format(*ripf), grid_label=grid,
        start=f"{years[0]:04d}" if years else None, end=f"{years[1]:04d}" if years else None,
    )  # fmt: skip
    assert Facets.parse(PurePosixPath(facets.file_name)) == facets
