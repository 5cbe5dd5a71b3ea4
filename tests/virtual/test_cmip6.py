"""Names: real ones are read, hostile ones are told where they depart, and quickly."""

from pathlib import Path, PurePosixPath
from typing import Any

import netCDF4
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoetl.core.errors import InvalidParameter, NotCMIP6
from geoetl.store.samples import sample_path
from geoetl.virtual.cmip6 import Facets, cross_check
from geoetl.virtual.naming import GRAMMARS, Template, grammar

SHARED = Path(__file__).parents[3] / "shared" / "data" / "cmip6"
HADGEM = "CMIP6/DCPP/MOHC/HadGEM3-GC31-MM/dcppA-hindcast/s2004-r3i1p1f2/Amon/pr/gn/v20200417"
LONG = "a" * 5000


@pytest.mark.parametrize(
    "name",
    [
        "ta_Amon_AWI-CM-1-1-MR_historical_r1i1p1f1_gn_195001-195012.nc",
        "ta_day_CanESM5_historical_r1i1p1f1_gn_19910101-20001231.nc",
        "ta_Amon_GISS-E2-1-G_historical_r1i1p1f1_gn_190101-195012.nc",
        "ta_Amon_GISS-E2-1-G-CC_historical_r1i1p1f1_gn_195101-200012.nc",
        "ta_Amon_E3SM-1-1-ECA_historical_r1i1p1f1_gr_200001-200912.nc",
        "ta_Amon_KACE-1-0-G_historical_r1i1p1f1_gr_185001-201412.nc",
        "rlds_Amon_INM-CM5-0_historical_r1i1p1f1_gr1_185001-194912.nc",
        "pr_Amon_HadGEM3-GC31-MM_dcppA-hindcast_s2004-r3i1p1f2_gn_200411-200412.nc",
        "pr_day_EC-Earth3_dcppA-hindcast_s1961-r6i2p1f1_gr_19611101-19611231.nc",
        "tas_Amon_MPI-ESM1-2-HR_dcppA-hindcast_s1960-r1i1p1f1_gn_196011-197012.nc",
        "siconc_SImon_MPI-ESM1-2-HR_historical_r1i1p1f1_gn_185001-185412.nc",
        "tos_Omon_CESM2-FV2_historical_r1i1p1f1_gn_200001-200001.nc",
        "mrsofc_fx_MPI-ESM1-2-LR_historical_r1i1p1f1_gn.nc",
        "areacello_Ofx_CESM2_historical_r1i1p1f1_gr.nc",
        "zg_6hrPlevPt_MIROC6_ssp585_r1i1p1f1_gn_201501010600-201601010000.nc",
        "pr_3hr_MRI-ESM2-0_ssp126_r1i1p1f1_gn_201501010130-201512312230.nc",
        "tas_E1hr_CNRM-CM6-1_historical_r1i1p1f2_gr_185001010030-185112312330.nc",
        "ua_CFsubhr_CNRM-CM6-1_amip_r1i1p1f2_gn_19790101003000-19791231233000.nc",
        "tos_Oclim_CESM2_historical_r11i1p1f1_gr_185001-201412-clim.nc",
        "rsut_E1hrClimMon_MIROC6_historical_r1i1p1f1_gn_185001-201412-clim.nc",
        "msftmz_Omon_GISS-E2-1-G-CC_historical_r101i1p1f1_gn_185001-185012.nc",
        "expc_Oyr_IPSL-CM6A-LR_historical_r1i1p1f1_gn_1850-2014.nc",
        "thetao_Odec_MIROC6_historical_r1i1p1f1_gr1_1850-2010.nc",
        "lithk_IfxGre_CESM2_historical_r1i1p1f1_gng.nc",
        "hus_EmonZ_UKESM1-0-LL_ssp370_r1i1p1f2_gnz_201501-204912.nc",
        "tas_Amon_IPSL-CM6A-LR_1pctCO2-4xext_r1i1p1f1_gr_199001-214912.nc",
    ],
)
def test_a_real_name_is_read_and_written_back(name: str) -> None:
    assert Facets.parse(PurePosixPath(name)).file_name == name


def test_every_real_path_is_that_of_its_facets() -> None:
    trees = [folder for folder in (sample_path("cmip6"), SHARED / "CMIP6") if folder.is_dir()]
    paths = [PurePosixPath(path) for tree in trees for path in tree.rglob("*.nc")]
    assert len(paths) >= 326
    for path in paths:
        facets = Facets.parse(path)
        assert facets.directory is not None
        assert path.parent.is_relative_to(PurePosixPath(*path.parts[: -1 - len(facets.directory.parts)]))
        assert path.parts[-1 - len(facets.directory.parts) : -1] == facets.directory.parts
        single = path.name.replace(f"_{facets.start}.nc", f"_{facets.start}-{facets.start}.nc")
        assert facets.file_name == single


def test_folders_give_era_activity_institution_and_version() -> None:
    name = "pr_Amon_HadGEM3-GC31-MM_dcppA-hindcast_s2004-r3i1p1f2_gn_200411-200412.nc"
    facets = Facets.parse(PurePosixPath("data") / HADGEM / name)
    assert (facets.mip_era, facets.activity_id, facets.institution_id) == ("CMIP6", "DCPP", "MOHC")
    assert (facets.version, facets.sub_experiment_id) == ("v20200417", "s2004")
    assert facets.cube_id == "CMIP6.DCPP.MOHC.HadGEM3-GC31-MM.dcppA-hindcast.s2004-r3i1p1f2.Amon.pr.gn.v20200417"
    assert str(facets.directory) == HADGEM


@pytest.mark.parametrize(
    ("folder", "era", "activity", "institution"),
    [
        ("/CMIP/NCAR/CESM2/historical/r1i1p1f1/Amon/tas/gn/v20190308", None, "CMIP", "NCAR"),
        ("/home/me/CESM2/historical/r1i1p1f1/Amon/tas/gn/v20190308", None, None, None),
        ("/downloads/from/CESM2/historical", None, None, None),
        ("CMIP6/CMIP/../CESM2/historical/r1i1p1f1/Amon/tas/gn", None, None, None),
        ("CMIP6/CMIP/NCAR/CESM2/historical", "CMIP6", "CMIP", "NCAR"),
        ("CMIP6/CMIP/NCAR/CESM2/ssp585/r1i1p1f1/Amon/tas/gn", None, None, None),
    ],
)
def test_only_folders_of_the_drs_are_taken_at_their_word(
    folder: str, era: str | None, activity: str | None, institution: str | None
) -> None:
    facets = Facets.parse(PurePosixPath(folder) / "tas_Amon_CESM2_historical_r1i1p1f1_gn_185001-201412.nc")
    assert (facets.mip_era, facets.activity_id, facets.institution_id) == (era, activity, institution)
    assert facets.directory is None


@pytest.mark.parametrize(("name", "time"), [("Amon", "185501"), ("day", "20150101"), ("Oyr", "1850")])
def test_a_single_time_is_a_range_of_one(name: str, time: str) -> None:
    facets = Facets.parse(PurePosixPath(f"tas_{name}_AWI-ESM-1-1-LR_1pctCO2_r1i1p1f1_gn_{time}.nc"))
    assert (facets.start, facets.end) == (time, time)


@pytest.mark.parametrize("version", ["latest", "v20191016", "files/d20190807"])
def test_odd_version_folders_are_kept_as_found(version: str) -> None:
    path = PurePosixPath("gn") / version / "tas_Amon_MIROC6_ssp119_r1i1p1f1_gn_201501-202412.nc"
    assert Facets.parse(path).version == version.removeprefix("files/")


TAS = "tas_Amon_CESM2_historical_r1i1p1f1_gn"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("air_temperature_small.nc", "it has 3 parts"),
        ("tas_Amon_CanESM2_rcp85_r1i1p1_200701-200712.nc", "'r1i1p1' is not a member"),
        ("tas_day_ACCESS-CM2_ssp245_r1i1p1f1_gn_2015_v2.0.nc", "it has 8 parts"),
        ("sic_SImon_CCCma-CanESM5_ssp245_r13i1p2f1_2020.nc", "'2020' is not a grid label"),
        ("sst_CMIP6_ssp245_mon_201501-202012.nc", "it has 5 parts"),
        ("tas_Amon_CESM2_historical_r1i1p1f1_GN_185001-201412.nc", "'GN' is not a grid label"),
        (f"{TAS}_1850-01.nc", "has the time '01' of 2 digits"),
        (f"{TAS}_185001-201412_zm.nc", "it has 8 parts"),
        (f"{TAS}_185001-201412.nc.md5", "does not end in .nc"),
        (f"{TAS}_185001-201412.nc.pid123.ncks.tmp", "does not end in .nc"),
        (f"{TAS}_185001-201412.nc ", "does not end in .nc"),
        (f"{TAS}_185001-201412.nc\n", "does not end in .nc"),
        (f"{TAS}_185001-201412.NC", "does not end in .nc"),
        (f"{TAS}_185001-201412-clim-clim.nc", "is not a time range"),
        (f"{TAS}_-201412.nc", "is not a time range"),
        (f"{TAS}_185001-.nc", "is not a time range"),
        (f"{TAS}_.nc", "is empty"),
        ("_Amon_CESM2_historical_r1i1p1f1_gn.nc", "is empty"),
        ("tas__CESM2_historical_r1i1p1f1_gn_185001-201412.nc", "is empty"),
        ("tas_Am on_CESM2_historical_r1i1p1f1_gn_185001-201412.nc", "holds characters"),
        ("tas_Amon_CESM2_historical_r1i1p1f1_gn_١٨٥٠٠١-٢٠١٤١٢.nc", "holds characters"),
        ("tas_Amon_CESM2_historical_r１i1p1f1_gn_185001-201412.nc", "is not a member"),
        ("täs_Amon_CESM2_historical_r1i1p1f1_gn_185001-201412.nc", "holds characters"),
        ("tas_Amon_CESM2_historical_s60-r1i1p1f1_gn_185001-201412.nc", "is not a member"),
        (f"{TAS}_18500-201412.nc", "of 5 digits; a time has 4, 6, 8, 12 or 14"),
        (f"{TAS}_1850010100000-2014123100000.nc", "of 13 digits"),
        (f"{TAS}_1850010100-2014123118.nc", "of 10 digits"),
        (f"{TAS}_201513-201612.nc", "the month 13, which does not exist"),
        (f"{TAS}_201500.nc", "the month 00, which does not exist"),
        (f"{TAS}_20150231-20151231.nc", "the day 02-31, which does not exist in any calendar"),
        (f"{TAS}_201501012500-201512312300.nc", "the time of day 2500"),
        (f"{TAS}_201501010060-201512312300.nc", "the time of day 0060"),
        (f"{TAS}_201412-185001.nc", "ends at 185001, before it begins at 201412"),
        (f"{LONG}.nc", "more than a file name may have"),
        (f"{'a_' * 100}.nc", "it has 101 parts"),
        (f"{TAS}_{'1' * 200}.nc", "of 200 digits"),
        ("..", "does not end in .nc"),
        ("../../etc/passwd", "does not end in .nc"),
        ("", "does not end in .nc"),
    ],
)
def test_a_name_that_departs_is_told_where(name: str, says: str) -> None:
    with pytest.raises(NotCMIP6, match=says) as caught:
        Facets.parse(PurePosixPath(name or "."))
    assert "naming=file" in str(caught.value.hint)
    assert len(caught.value.detail) < 600


def test_a_day_of_the_360_day_calendar_and_midnight_exist() -> None:
    facets = Facets.parse(
        PurePosixPath("ta_6hrLev_HadGEM3-GC31-LL_historical_r1i1p1f3_gn_195002300600-195012302400.nc")
    )
    assert facets.end == "195012302400"


words = st.from_regex(r"[a-zA-Z0-9-]{1,12}", fullmatch=True)


@st.composite
def complete_facets(draw: st.DrawFn) -> Facets:
    years = draw(st.none() | st.tuples(st.integers(0, 9999), st.integers(0, 9999)).map(sorted))
    day = draw(st.integers(1, 99_999_999))
    return Facets(
        variable_id=draw(words), table_id=draw(words), source_id=draw(words), experiment_id=draw(words),
        sub_experiment_id=draw(st.none() | st.integers(1000, 9999).map("s{}".format)),
        variant_label="r{}i{}p{}f{}".format(*draw(st.tuples(*[st.integers(1, 999)] * 4))),
        grid_label=draw(st.from_regex(r"g[a-z0-9]{1,3}", fullmatch=True)),
        start=f"{years[0]:04d}" if years else None, end=f"{years[1]:04d}" if years else None,
        climatology=draw(st.booleans()) if years else False,
        mip_era=draw(st.sampled_from(["CMIP6", "CMIP6Plus", "CMIP7"])),
        activity_id=draw(words), institution_id=draw(words),
        version=draw(st.sampled_from(["latest", f"v{day:08d}", f"d{day:08d}"])),
    )  # fmt: skip


@given(facets=complete_facets(), above=st.lists(words, max_size=3))
def test_every_path_of_the_drs_goes_there_and_back(facets: Facets, above: list[str]) -> None:
    assert facets.directory is not None
    assert Facets.parse(PurePosixPath("/", *above) / facets.directory / facets.file_name) == facets


@given(name=st.text(max_size=300))
def test_any_text_is_read_or_refused_in_words(name: str) -> None:
    for read in [*(rules.read for rules in GRAMMARS.values()), grammar("{variable_id}.*_{time}.*").read]:
        try:
            said = read(PurePosixPath(name.replace("/", "") or ".")).variable_id
        except NotCMIP6 as error:
            said = error.detail
        assert said


@pytest.mark.parametrize("name", [f"{'a_' * 127}x", f"{'1_' * 127}x", "_" * 255, "1" * 255, "v1." * 85])
@pytest.mark.parametrize("naming", ["cmip6", "nex-gddp", "*_{variable_id}_*_{start}-{end}.nc", "{variable_id}_*_*.nc"])
def test_no_name_is_hostile_enough_to_be_searched_for_long(name: str, naming: str) -> None:
    with pytest.raises(NotCMIP6):
        grammar(naming).read(PurePosixPath(name))


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("tas_day_ACCESS-CM2_ssp245_r1i1p1f1_gn_2015_v2.0.nc", "v2.0"),
        ("tas_day_ACCESS-CM2_ssp245_r1i1p1f1_gn_2015_v1.1.nc", "v1.1"),
        ("pr_day_GISS-E2-1-G_historical_r1i1p1f2_gn_2015.nc", None),
    ],
)
def test_nex_gddp_names_are_read(name: str, version: str | None) -> None:
    facets = grammar("nex-gddp").read(PurePosixPath(name))
    assert (facets.table_id, facets.start, facets.end, facets.version) == ("day", "2015", "2015", version)
    assert facets.cube_id.startswith("NEX-GDDP-CMIP6.")


def test_a_cmip6_name_is_not_one_of_nex_gddp() -> None:
    with pytest.raises(NotCMIP6, match="does not follow the NEX-GDDP file name"):
        grammar("nex-gddp").read(PurePosixPath(f"{TAS}_185001-201412.nc"))


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        (
            "{variable_id}_{source_id}_{experiment_id}_{start}-{end}.nc",
            "tas_CESM2_ssp585_2015-2100.nc",
            {"variable_id": "tas", "source_id": "CESM2", "experiment_id": "ssp585", "start": "2015", "end": "2100"},
        ),
        ("{variable_id}_{time}.nc", "sea_ice_20150101.nc", {"variable_id": "sea_ice", "start": "20150101"}),
        ("*{time}.nc", "b/ice2015.nc", {"start": "2015", "end": "2015"}),
        ("*_{variable_id}_*.nc", "x_tas_y.nc", {"variable_id": "tas", "start": None}),
        (
            "{variable_id}_{table_id}_{source_id}_{experiment_id}_{member_id}_{start}-{end}.nc",
            "tas_Amon_CanESM2_rcp85_r1i1p1_200701-200712.nc",
            {"source_id": "CanESM2", "variant_label": "r1i1p1", "grid_label": None},
        ),
        (
            "{member_id}.{time}.nc",
            "s1960-r1i1p1f1.1960.nc",
            {"sub_experiment_id": "s1960", "variant_label": "r1i1p1f1"},
        ),
        ("{source_id}/{version}/{variable_id}.nc", "/a/ERA5/v1.0/t2m.nc", {"source_id": "ERA5", "version": "v1.0"}),
        ("{variable_id}/{variable_id}_{time}.nc", "tas/tas_1850.nc", {"variable_id": "tas"}),
        ("{variable_id}_{time}_{version}.nc", "tas_1850_v2.0.nc", {"version": "v2.0"}),
        ("{frequency}.{variable_id}(a+b).nc", "mon.tas(a+b).nc", {"frequency": "mon", "variable_id": "tas"}),
    ],
)
def test_a_template_reads_names_of_ones_own(template: str, path: str, expected: dict[str, str | None]) -> None:
    facets = grammar(template).read(PurePosixPath(path)).model_dump()
    assert {name: facets[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{variable_id}_{time}.nc", "tas_2015.nc4"),
        ("{variable_id}_{time}.nc", "tas_2015xnc"),
        ("{variable_id}_{time}.nc", "tas_201513.nc"),
        ("{variable_id}_{start}-{end}.nc", "tas_2015-2014.nc"),
        ("{variable_id}/{variable_id}_{time}.nc", "pr/tas_1850.nc"),
        ("{source_id}/{variable_id}.nc", "tas.nc"),
        ("*.nc{time}", "a/b.nc"),
    ],
)
def test_what_a_template_does_not_match_is_refused(template: str, path: str) -> None:
    with pytest.raises(NotCMIP6):
        grammar(template).read(PurePosixPath(path))


@pytest.mark.parametrize(
    ("template", "says", "hint"),
    [
        ("{variabel_id}_{time}.nc", "there is no field 'variabel_id'", "Did you mean 'variable_id'?"),
        ("{}_{time}.nc", "there is no field ''", "There are: "),
        ("*.nc", "has no field", "{variable_id}"),
        ("{variable_id_{time}.nc", "braces do not pair", "{variable_id}"),
        ("{variable_id}{source_id}.nc", "nothing tells where {variable_id} ends", "Put text between."),
        ("*{variable_id}.nc", "nothing tells where * ends", "Put text between."),
        ("{variable_id}**.nc", "nothing tells", "Put text between."),
        ("*_*_*_*_{time}.nc", "4 parts of open length", "at most 3"),
        ("{variable_id}_{start}.nc", "belong together", "use {time}"),
        ("{time}_{start}-{end}.nc", "belong together", "use {time}"),
        ("{member_id}_{variant_label}.nc", "holds {variant_label}", "one of the two"),
    ],
)
def test_a_wrong_template_is_explained(template: str, says: str, hint: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        Template.compile(template)
    assert says in caught.value.detail
    assert hint in str(caught.value.hint)


def test_an_unknown_naming_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidParameter, match="no naming 'cmip'") as caught:
        grammar("cmip")
    assert "Did you mean 'cmip6'?" in str(caught.value.hint)


def test_real_files_say_what_their_names_say() -> None:
    if not SHARED.is_dir():
        pytest.skip("shared/data is not beside this checkout.")
    for path in SHARED.rglob("*.nc"):
        with netCDF4.Dataset(path) as file:
            attributes = {name: file.getncattr(name) for name in file.ncattrs()}
        assert cross_check(Facets.parse(PurePosixPath(path)), attributes, path.name) == ()


@pytest.mark.parametrize(
    ("attributes", "got", "expected"),
    [
        ({"variable_id": "pr"}, "pr", "tas"),
        ({"table_id": "day"}, "day", "Amon"),
        ({"source_id": "CESM2-FV2"}, "CESM2-FV2", "CESM2"),
        ({"experiment_id": "ssp585"}, "ssp585", "historical"),
        ({"variant_label": "r2i1p1f1"}, "r2i1p1f1", "r1i1p1f1"),
        ({"sub_experiment_id": "s1960"}, "s1960", "none"),
        ({"grid_label": "gr"}, "gr", "gn"),
        ({"mip_era": "CMIP5"}, "CMIP5", "CMIP6"),
        ({"activity_id": "DCPP RFMIP"}, "DCPP RFMIP", "CMIP"),
        ({"institution_id": ["NCC"]}, "NCC", "NCAR"),
        ({"frequency": "day"}, "day", "that of the table Amon"),
        ({"variable_id": b"pr"}, "pr", "tas"),
    ],
)
def test_an_attribute_that_differs_from_the_name_is_a_warning(
    attributes: dict[str, Any], got: str, expected: str
) -> None:
    path = PurePosixPath("CMIP6/CMIP/NCAR/CESM2/historical/r1i1p1f1/Amon/tas/gn/v20190308") / f"{TAS}_185001-201412.nc"
    (finding,) = cross_check(Facets.parse(path), attributes, path.name)
    assert (finding.severity, finding.got, finding.expected, finding.subject) == ("warning", got, expected, path.name)


@pytest.mark.parametrize(
    "attributes",
    [{}, {"sub_experiment_id": "none"}, {"activity_id": "ScenarioMIP CMIP"}, {"frequency": "mon"}, {"frequency": "odd"},
     {"variable_id": "", "start": "1", "history": "x"}],
)  # fmt: skip
def test_missing_and_equal_attributes_are_quiet(attributes: dict[str, Any]) -> None:
    path = PurePosixPath("CMIP6/CMIP/NCAR/CESM2/historical/r1i1p1f1/Amon/tas/gn/v20190308") / f"{TAS}_185001-201412.nc"
    assert cross_check(Facets.parse(path), attributes, path.name) == ()
