"""Inventories: each file is in a cube, a companion of one, or left out with a true reason."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cftime
import holoviews as hv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoetl.core.errors import EmptyDataset, InvalidParameter, NotCMIP6
from geoetl.store.samples import sample_path
from geoetl.virtual.inventory import CubeFiles, Inventory, take_inventory
from geoetl.virtual.scan import STEP, scan
from geoetl.virtual.spans import Slice, arrange, follows, period_text, time_fault
from geoetl.virtual.timeline import MAX_BARS, ROWS_DRAWN

SHARED = Path(__file__).parents[3] / "shared" / "data" / "cmip6"
CALENDARS = ["standard", "noleap", "360_day", "all_leap", "julian"]
Write = Callable[..., Path]


def path_of(
    times: str = "", *, variable: str = "tas", member: str = "r1i1p1f1", table: str = "Amon",
    version: str = "v20190308", root: str = "", source: str = "CESM2",
) -> str:  # fmt: skip
    name = "_".join(part for part in (variable, table, source, "historical", member, "gn", times) if part)
    folder = f"CMIP6/CMIP/NCAR/{source}/historical/{member}/{table}/{variable}/gn/{version}"
    return f"{root}{folder}/{name}.nc"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Give ``write(*names, size=1)``, which makes files below a folder and returns it."""

    def make(*names: str, size: int = 1) -> Path:
        for name in names:
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * size)
        return tmp_path / "in"

    return make


def taken(source: Path, **more: Any) -> Inventory:
    return take_inventory(source, **{"naming": "cmip6", "select": {}, **more})


def one(source: Path, **more: Any) -> CubeFiles:
    (cube,) = taken(source, **more).cubes
    return cube


def names(cube: CubeFiles) -> list[str]:
    return [file.rpartition("/")[2].removesuffix(".nc").rpartition("_")[2] for file in cube.files]


def codes(cube: CubeFiles) -> list[str]:
    return [finding.code for finding in cube.findings]


def left(inventory: Inventory) -> dict[str, str]:
    return {out.file.rpartition("/")[2] or out.file: out.code for out in inventory.left_out}


def assert_all_accounted_for(source: Path, inventory: Inventory) -> None:
    there = {
        path.relative_to(source).as_posix() for path in source.rglob("*") if not path.is_dir() or path.is_symlink()
    }
    in_cubes = [file for cube in inventory.cubes for file in cube.files]
    out = [one.file for one in inventory.left_out]
    companions = {
        f"{file}.{text.partition(':')[0]}" for cube in inventory.cubes for file, text in cube.checksums.items()
    }
    assert len(in_cubes) == len(set(in_cubes))
    assert len(out) == len(set(out))
    assert not set(in_cubes) & set(out)
    hidden = tuple(file for file in out if file.endswith("/"))
    assert {file for file in there if not file.startswith(hidden)} == {
        file for file in {*in_cubes, *out, *companions} if not file.endswith("/")
    }


def test_every_sample_is_in_a_cube() -> None:
    source = sample_path("cmip6")
    inventory = taken(source)
    assert (len(inventory.cubes), inventory.file_count, inventory.left_out) == (76, 326, ())
    assert inventory.bytes == sum(path.stat().st_size for path in source.rglob("*.nc"))
    assert inventory.findings == ()
    assert_all_accounted_for(source, inventory)


def test_the_traps_among_the_real_files_are_found() -> None:
    if not SHARED.is_dir():
        pytest.skip("shared/data is not beside this checkout.")
    inventory = taken(SHARED)
    assert_all_accounted_for(SHARED, inventory)
    cubes = {cube.facets["source_id"] + cube.facets["variable_id"]: cube for cube in inventory.cubes}
    (gap,) = inventory.findings
    assert gap in cubes["AWI-ESM-1-1-LRtas"].findings
    assert (gap.code, gap.got, gap.expected) == ("gap", "2099-01", "1855-02")
    assert gap.message.startswith("1855-02 to 2098-12 is missing between 'tas_Amon_AWI-ESM-1-1-LR_1pctCO2")
    siconc = cubes["MPI-ESM1-2-HRsiconc"]
    assert len(siconc.files) == len(siconc.checksums) == 33
    assert siconc.checksums == {
        file: f"md5:{hashlib.md5((SHARED / file).read_bytes()).hexdigest()}" for file in siconc.files
    }
    assert siconc.facets["version"] == "latest"
    assert cubes["MPI-ESM1-2-LRmrsofc"].spans == ()
    assert cubes["HadGEM3-GC31-MMpr"].facets["member_id"] == "s2004-r3i1p1f2"
    assert cubes["HadGEM3-GC31-MMpr"].period == "2004-11 to 2015-03"


def test_files_are_in_the_order_of_time(write: Write) -> None:
    cube = one(write(path_of("190001-194912"), path_of("185001-189912"), path_of("195001-201412")))
    assert names(cube) == ["185001-189912", "190001-194912", "195001-201412"]
    assert cube.spans == (("185001", "189912"), ("190001", "194912"), ("195001", "201412"))
    assert (cube.period, cube.bytes, cube.findings) == ("1850-2014", 3, ())
    assert cube.id == "CMIP6.CMIP.NCAR.CESM2.historical.r1i1p1f1.Amon.tas.gn.v20190308"
    assert (cube.variable, cube.series[0].member) == ("tas", "r1i1p1f1")


@pytest.mark.parametrize(
    ("table", "before", "after", "missing", "got", "expected"),
    [
        ("Amon", "203101-204012", "204601-205012", "2041-2045", "2046-01", "2041-01"),
        ("Amon", "203101-204012", "204103-205012", "2041-01 to 2041-02", "2041-03", "2041-01"),
        ("Amon", "203101-204012", "204102-205012", "2041-01", "2041-02", "2041-01"),
        ("Oyr", "2031-2040", "2046-2050", "2041-2045", "2046", "2041"),
        ("Oyr", "2031-2040", "2042-2050", "2041", "2042", "2041"),
        ("day", "20310101-20401231", "20460101-20501231", "2041-2045", "2046-01-01", "2041-01-01"),
        ("day", "20310101-20401230", "20460101-20501230", "2041-2045", "2046-01-01", "2041-01-01"),
        ("day", "20310101-20401231", "20410301-20501231", "2041-01 to 2041-02", "2041-03-01", "2041-01-01"),
        ("day", "20310101-20410110", "20410112-20501231", "2041-01-11", "2041-01-12", "2041-01-11"),
        ("3hr", "203101010000-204012312100", "204601010000-205012312100", "2041-2045", "2046-01-01 00:00", None),
        ("3hr", "203101010300-204101010000", "204601010300-205101010000", "2041-2045", "2046-01-01 03:00", None),
        ("Odec", "1850-1880", "1900-2010", "1881-1899", "1900", "1881"),
    ],
)
def test_a_gap_is_named(
    write: Write, table: str, before: str, after: str, missing: str, got: str, expected: str | None
) -> None:
    cube = one(write(path_of(before, table=table), path_of(after, table=table)))
    (gap,) = cube.findings
    assert (gap.severity, gap.code) == ("warning", "gap")
    assert gap.message.startswith(
        f"{missing} is missing between 'tas_{table}_CESM2_historical_r1i1p1f1_gn_{before}.nc'"
    )
    assert gap.got == got
    assert expected is None or gap.expected == expected
    assert len(cube.files) == 2


@pytest.mark.parametrize(
    ("table", "end", "start"),
    [
        ("Amon", "201012", "201101"),
        ("day", "20101230", "20110101"),
        ("day", "20101230", "20101231"),
        ("day", "20120228", "20120301"),
        ("day", "20120229", "20120301"),
        ("day", "20100228", "20100301"),
        ("day", "20100230", "20100301"),
        ("day", "15821004", "15821015"),
        ("3hr", "201012312100", "201101010000"),
        ("6hrPlev", "201012301800", "201101010000"),
        ("6hrPlevPt", "201101010000", "201101010600"),
        ("E1hr", "201012312330", "201101010030"),
        ("E1hr", "201012312300", "201101010000"),
        ("6hrLev", "201012310000", "201101010000"),
        ("CFsubhr", "20101231233000", "20110101000000"),
        ("Oyr", "2010", "2011"),
        ("Odec", "1850", "1860"),
    ],
)
def test_what_is_contiguous_in_some_calendar_is_no_gap(table: str, end: str, start: str) -> None:
    assert follows(end, start, table)
    assert not follows(start, end, table)


@given(
    calendar=st.sampled_from(CALENDARS),
    days=st.integers(0, 400_000),
    hours=st.sampled_from([None, 1, 3, 6, 12, 24]),
)
def test_the_next_step_of_every_calendar_follows(calendar: str, days: int, hours: int | None) -> None:
    first = cftime.num2date(days, "days since 1500-01-01", calendar=calendar)
    second = cftime.num2date(days * 24 + (hours or 24), "hours since 1500-01-01", calendar=calendar)
    digits, table = (8, "day") if hours is None else (12, f"{hours}hr")
    end, start = (f"{t.year:04d}{t.month:02d}{t.day:02d}{t.hour:02d}{t.minute:02d}"[:digits] for t in (first, second))
    assert time_fault(end) is None
    assert follows(end, start, table)


@given(calendar=st.sampled_from(CALENDARS), day=st.integers(0, 400_000), skipped=st.integers(4, 4000))
def test_a_gap_of_days_is_found_in_every_calendar(calendar: str, day: int, skipped: int) -> None:
    dates = [cftime.num2date(n, "days since 1600-01-01", calendar=calendar) for n in (day, day + skipped)]
    end, start = (f"{t.year:04d}{t.month:02d}{t.day:02d}" for t in dates)
    (finding,) = arrange([Slice("a.nc", 1, end, end), Slice("b.nc", 1, start, start)], "day").findings
    assert finding.code == "gap"


months = st.integers(0, 120).map(lambda n: f"{1850 + n // 12}{n % 12 + 1:02d}")


@given(spans=st.lists(st.tuples(months, months).map(sorted), min_size=1, max_size=12))
def test_whatever_the_files_no_time_is_lost(spans: list[list[str]]) -> None:
    slices = [Slice(f"{i}.nc", 1, start, end) for i, (start, end) in enumerate(spans)]
    arranged = arrange(slices, "Amon")
    assert sorted([*arranged.kept, *arranged.contained], key=lambda s: int(s.file[:-3])) == slices

    def covered(parts: Any) -> set[int]:
        return {
            n for p in parts for n in range(_months(str(p.start)), _months(str(p.end)) + 1)
        }  # fmt: skip

    assert covered(arranged.kept) == covered(slices)
    starts = [str(part.start) for part in arranged.kept]
    assert starts == sorted(starts)
    overlaps = any(b.start <= a.end for a, b in zip(arranged.kept, arranged.kept[1:], strict=False))  # type: ignore[operator]
    assert overlaps == any(finding.code == "overlap" for finding in arranged.findings)
    holes = max(covered(slices)) - min(covered(slices)) + 1 != len(covered(slices))
    assert holes == any(finding.code == "gap" for finding in arranged.findings)


def _months(text: str) -> int:
    return int(text[:4]) * 12 + int(text[4:6])


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        ("2041", "2045", "2041-2045"),
        ("204101", "204512", "2041-2045"),
        ("204103", "204105", "2041-03 to 2041-05"),
        ("20410101", "20451230", "2041-2045"),
        ("20410301", "20410531", "2041-03 to 2041-05"),
        ("20410305", "20410305", "2041-03-05"),
        ("20410305", "20410410", "2041-03-05 to 2041-04-10"),
    ],
)
def test_periods_are_written_as_people_do(first: str, last: str, text: str) -> None:
    assert period_text(first, last) == text


@pytest.mark.parametrize(
    ("times", "kept", "out"),
    [
        (["185001-189912", "185501"], ["185001-189912"], 1),
        (["185001-189912", "185001-187412"], ["185001-189912"], 1),
        (["185001-185912", "185501-186412", "186001-186912"], ["185001-185912", "186001-186912"], 1),
        (["185001-185912", *(f"{y}01-{y}12" for y in range(1850, 1862))], None, 10),
    ],
)
def test_a_file_whose_time_is_in_others_is_left_out(
    write: Write, times: list[str], kept: list[str] | None, out: int
) -> None:
    inventory = taken(write(*map(path_of, times)))
    (cube,) = inventory.cubes
    assert kept is None or names(cube) == kept
    assert codes(cube) == []
    assert list(left(inventory).values()) == ["overlap"] * out


def test_files_that_overlap_in_part_are_an_error(write: Write) -> None:
    cube = one(write(path_of("185001-189912"), path_of("189001-194912")))
    (overlap,) = cube.findings
    assert (overlap.severity, overlap.code, overlap.got) == ("error", "overlap", "1890-01")
    assert overlap.expected == "after 1899-12"


def test_sub_daily_files_that_share_a_moment_are_a_warning(write: Write) -> None:
    times = ("201501010000-201601010000", "201601010000-201701010000")
    cube = one(write(*(path_of(time, table="3hr") for time in times)))
    assert [(f.code, f.severity) for f in cube.findings] == [("overlap", "warning")]


@pytest.mark.parametrize(
    ("table", "times"), [("Amon", "1850-2014"), ("day", "185001-201412"), ("fx", "1850"), ("Amon", "18500116-20141216")]
)
def test_times_of_another_precision_than_the_table_are_a_warning(write: Write, table: str, times: str) -> None:
    (finding,) = one(write(path_of(times, table=table))).findings
    assert (finding.severity, finding.code) == ("warning", "time_precision")


def test_monthly_files_named_by_days_are_contiguous(write: Write) -> None:
    assert codes(one(write(path_of("18500116-18591216"), path_of("18600116-18691216")))) == ["time_precision"]


@pytest.mark.parametrize(
    ("older", "newer"),
    [("v20190308", "v20200101"), ("v20190308", "latest"), ("d20190807", "v20200101"), ("v20190308", "d20200101")],
)
def test_the_latest_version_wins(write: Write, older: str, newer: str) -> None:
    source = write(path_of("185001-189912", version=older), size=2)
    inventory = taken(write(path_of("185001-189912", version=newer)))
    assert [cube.facets["version"] for cube in inventory.cubes] == [newer]
    (out,) = inventory.left_out
    assert out.code == "superseded"
    assert out.reason.startswith(f"Version {older} is superseded by CMIP6.CMIP.NCAR")
    kept = taken(source, select={"version": [older]})
    assert [cube.facets["version"] for cube in kept.cubes] == [older]


@pytest.mark.parametrize("other", ["latest", "files/d20190308"])
def test_another_folder_of_the_same_version_gives_way_to_its_number(write: Write, other: str) -> None:
    inventory = taken(write(*(path_of("185001-189912", version=version) for version in ("v20190308", other))))
    assert inventory.cubes[0].facets["version"] == "v20190308"
    assert [out.code for out in inventory.left_out] == ["duplicate"]
    assert inventory.left_out[0].reason.endswith("v20190308 (names and sizes).")


def test_an_older_version_of_equal_sizes_is_no_copy(write: Write) -> None:
    inventory = taken(write(*(path_of("185001-189912", version=version) for version in ("v20190308", "v20200101"))))
    assert [out.code for out in inventory.left_out] == ["superseded"]


def test_a_newer_version_that_has_less_is_told(write: Write) -> None:
    write(path_of("185001-189912"), path_of("190001-201412"))
    cube = one(write(path_of("190001-201412", version="v20200101")))
    (finding,) = cube.findings
    assert (finding.code, finding.got, finding.expected) == ("version_incomplete", "190001-201412", "185001-201412")


def test_replicas_are_left_out(write: Write) -> None:
    source = write(path_of("185001-189912", root="ceda/"), path_of("185001-189912", root="dkrz/"))
    write("tas_Amon_CESM2_historical_r1i1p1f1_gn_185001-189912.nc")
    inventory = taken(source)
    assert inventory.cubes[0].files == (path_of("185001-189912", root="ceda/"),)
    assert [(out.code, out.reason) for out in inventory.left_out] == [
        ("duplicate", f"It is a copy of '{path_of('185001-189912', root='ceda/')}' (name and size).")
    ] * 2
    assert_all_accounted_for(source, inventory)


def test_replicas_of_fixed_fields_are_left_out(write: Write) -> None:
    inventory = taken(write(path_of(table="fx", root="a/"), path_of(table="fx", root="b/")))
    assert [len(cube.files) for cube in inventory.cubes] == [1]
    assert list(left(inventory).values()) == ["duplicate"]


def test_replicas_of_unequal_size_are_told(write: Write) -> None:
    write(path_of("185001-189912", root="a/"))
    inventory = taken(write(path_of("185001-189912", root="b/"), size=9))
    (cube,) = inventory.cubes
    assert cube.files == (path_of("185001-189912", root="b/"),)
    assert [(f.code, f.got, f.expected) for f in cube.findings] == [("replica_differs", "1 bytes", "9 bytes")]
    assert "1 bytes instead of 9" in inventory.left_out[0].reason


def test_what_is_no_data_is_left_out_with_its_reason(write: Write, tmp_path: Path) -> None:
    name = path_of("185001-189912")
    source = write(
        name, f"{name}.pid123.ncks.tmp", f"{name}.part", f"{name}.tmp", "notes.txt", "a/catalog.json", ".DS_Store",
        ".snapshot/x.nc", "._x.nc", "tas.nc", "gone.nc.md5", "tas.nc.sha256", "x.nc~", "no suffix",
    )  # fmt: skip
    write("elsewhere.nc")
    (source / "outside").symlink_to(tmp_path)
    (source / "lost.nc").symlink_to(tmp_path / "nothing")
    os.mkfifo(source / "pipe.nc")
    inventory = taken(source)
    assert left(inventory) == {
        f"{name.rpartition('/')[2]}.pid123.ncks.tmp": "temporary",
        f"{name.rpartition('/')[2]}.part": "temporary",
        f"{name.rpartition('/')[2]}.tmp": "temporary",
        "x.nc~": "temporary",
        "notes.txt": "not_netcdf",
        "catalog.json": "not_netcdf",
        "no suffix": "not_netcdf",
        ".DS_Store": "hidden",
        ".snapshot/": "hidden",
        "._x.nc": "hidden",
        "tas.nc": "unparsable_name",
        "elsewhere.nc": "unparsable_name",
        "gone.nc.md5": "orphan_checksum",
        "tas.nc.sha256": "orphan_checksum",
        "outside": "link",
        "lost.nc": "link",
        "pipe.nc": "unreadable",
    }
    assert_all_accounted_for(source, inventory)


def test_names_that_are_no_text_are_left_out_and_the_record_stays_valid(write: Write) -> None:
    source = write(path_of("185001-189912"))
    (Path(os.fsdecode(os.fsencode(source) + b"/\xff.nc"))).write_bytes(b"x")
    (source / "line\nbreak.nc").write_bytes(b"x")
    inventory = taken(source)
    assert left(inventory) == {"\\xff.nc": "unparsable_name", "line\nbreak.nc": "unparsable_name"}
    assert Inventory.model_validate_json(inventory.model_dump_json()) == inventory


def test_checksums_are_kept_with_their_files(write: Write) -> None:
    first, second = path_of("185001-189912"), path_of("190001-201412")
    source = write(first, second)
    md5, sha256 = "0" * 32, "ab" * 32
    (source / f"{first}.md5").write_text(f"{md5}\n")
    (source / f"{first}.sha256").write_text(f"{sha256.upper()}  {first}\n")
    (source / f"{second}.md5").write_text("no checksum")
    inventory = taken(source)
    assert inventory.cubes[0].checksums == {first: f"sha256:{sha256}"}
    assert [(out.file, out.code) for out in inventory.left_out] == [(f"{second}.md5", "orphan_checksum")]


def test_a_single_file_brings_its_checksum(write: Write) -> None:
    name = path_of("185001-189912")
    source = write(name)
    (source / f"{name}.md5").write_text("0" * 32)
    cube = one(source / name)
    assert list(cube.checksums.items()) == [(Path(name).name, f"md5:{'0' * 32}")]
    assert cube.files == (Path(name).name,)


def test_the_selection_leaves_the_others_out(write: Write) -> None:
    source = write(path_of("185001-189912"), path_of("185001-189912", variable="pr"))
    inventory = taken(source, select={"variable_id": ["pr"], "member_id": ["r1i1p1f1"]})
    assert [cube.variable for cube in inventory.cubes] == ["pr"]
    assert [(out.code, out.reason) for out in inventory.left_out] == [
        ("not_selected", "Its variable_id is tas, which is not selected.")
    ]


def test_a_selection_that_keeps_nothing_is_told_what_there_is(write: Write) -> None:
    with pytest.raises(EmptyDataset, match="keeps none of the 1 files") as caught:
        taken(write(path_of("185001-189912")), select={"source_id": ["CESM"]})
    assert caught.value.hint == "Did you mean 'CESM2'?"


@pytest.mark.parametrize(
    ("more", "says", "hint"),
    [
        ({"naming": "cmp6"}, "no naming 'cmp6'", "Did you mean 'cmip6'?"),
        ({"naming": "{variable}.nc"}, "no field 'variable'", "Did you mean 'variable_id'?"),
        ({"join": ["members"]}, "cannot be joined along 'members'", "Did you mean 'member'?"),
        ({"select": {"start": ["1850"]}}, "'start' is not a CMIP6 facet", ""),
        ({"naming": "nex-gddp"}, "None of the 1 files in 'in' follows the naming NEX-GDDP-CMIP6", "naming=file"),
    ],
)
def test_wrong_parameters_are_explained(write: Write, more: dict[str, Any], says: str, hint: str) -> None:
    with pytest.raises(InvalidParameter, match=says) as caught:
        taken(write(path_of("185001-189912")), **more)
    assert hint in str(caught.value.hint)


def test_when_no_name_follows_the_first_reason_is_given(write: Write) -> None:
    with pytest.raises(NotCMIP6, match=r"None of the 2 files in 'in' follows the CMIP6 names. The first: 'a\.nc'"):
        taken(write("a.nc", "b.nc"))


def test_joined_variables_are_one_cube(write: Write) -> None:
    times = ("185001-189912", "190001-201412")
    source = write(*(path_of(time, variable=v) for v in ("tas", "pr") for time in times))
    write(path_of(variable="orog", table="fx"), path_of("185001-201412", variable="ua", version="v20200101"))
    inventory = taken(source, join=["variable"])
    cubes = {cube.id: cube for cube in inventory.cubes}
    joined = cubes["CMIP6.CMIP.NCAR.CESM2.historical.r1i1p1f1.Amon.gn.v20190308"]
    assert [(s.variable, len(s.files)) for s in joined.series] == [("pr", 2), ("tas", 2)]
    assert joined.title == "CESM2 historical pr, tas Amon r1i1p1f1"
    assert "variable_id" not in joined.facets
    assert (joined.facets["member_id"], joined.bytes, joined.findings) == ("r1i1p1f1", 4, ())
    assert len(joined.spans) == 2
    assert {len(cube.series) for cube_id, cube in cubes.items() if cube_id != joined.id} == {1}
    assert len(cubes) == 3


def test_joined_members_are_in_their_natural_order(write: Write) -> None:
    source = write(*(path_of("185001-201412", member=f"r{n}i1p1f1") for n in (10, 2, 1, 11, 3)))
    cube = one(source, join=["member"])
    assert [series.member for series in cube.series] == [f"r{n}i1p1f1" for n in (1, 2, 3, 10, 11)]
    assert cube.id == "CMIP6.CMIP.NCAR.CESM2.historical.Amon.tas.gn.v20190308"
    assert cube.title == "CESM2 historical tas Amon r1i1p1f1, r2i1p1f1, r3i1p1f1 … r11i1p1f1 (5 members)"
    assert not {"member_id", "variant_label"} & set(cube.facets)


def test_variables_and_members_can_both_be_joined(write: Write) -> None:
    source = write(
        *(path_of("1850-2014", variable=v, member=m) for v in ("tas", "pr") for m in ("r1i1p1f1", "r2i1p1f1"))
    )
    cube = one(source, join=["variable", "member"])
    assert [(s.variable, s.member) for s in cube.series] == [
        ("pr", "r1i1p1f1"), ("pr", "r2i1p1f1"), ("tas", "r1i1p1f1"), ("tas", "r2i1p1f1"),
    ]  # fmt: skip


def test_joined_members_of_other_times_are_told(write: Write) -> None:
    source = write(path_of("185001-201412"), path_of("185001-194912", member="r2i1p1f1"))
    (finding,) = one(source, join=["member"]).findings
    assert (finding.code, finding.got, finding.expected) == ("times_differ", "185001-194912", "185001-201412")


def test_constant_fields_are_not_joined_with_series(write: Write) -> None:
    inventory = taken(write(path_of("185001-201412"), path_of(variable="orog")), join=["variable"])
    assert sorted(str(cube.variable) for cube in inventory.cubes) == ["orog", "tas"]


def test_of_nex_gddp_the_latest_version_of_each_file_wins(write: Write) -> None:
    stem = "tas_day_ACCESS-CM2_ssp245_r1i1p1f1_gn"
    source = write(f"{stem}_2015.nc", f"{stem}_2016.nc", f"{stem}_2016_v1.1.nc", f"{stem}_2017_v1.1.nc")
    inventory = taken(source, naming="nex-gddp")
    (cube,) = inventory.cubes
    assert [span[0] for span in cube.spans] == ["2015", "2016", "2017"]
    assert cube.id == "NEX-GDDP-CMIP6.ACCESS-CM2.ssp245.r1i1p1f1.day.tas.gn.v1.1"
    assert codes(cube) == ["mixed_versions", "time_precision"]
    assert left(inventory) == {f"{stem}_2016.nc": "superseded"}


def test_a_template_groups_names_of_ones_own(write: Write) -> None:
    source = write("tas_CESM2_2015-2020.nc", "tas_CESM2_2021-2030.nc", "tas_MIROC6_2015-2020.nc", "notes.nc")
    inventory = taken(source, naming="{variable_id}_{source_id}_{start}-{end}.nc")
    assert [(cube.id, cube.title, len(cube.files)) for cube in inventory.cubes] == [
        ("CESM2.tas", "CESM2 tas", 2),
        ("MIROC6.tas", "MIROC6 tas", 1),
    ]
    assert inventory.left_out[0].reason == (
        "'notes.nc' does not follow the template {variable_id}_{source_id}_{start}-{end}.nc."
    )


def test_a_template_without_facets_names_the_cube_by_its_folder(write: Write) -> None:
    cube = one(write("era5-2015.nc", "era5-2017.nc"), naming="era5-{time}.nc")
    assert (cube.id, cube.title, cube.variable, codes(cube)) == ("in", "in", None, ["gap"])


def test_files_of_one_name_in_folders_that_a_template_does_not_read_are_all_kept(write: Write) -> None:
    inventory = taken(write("2015/tas.nc", "2016/tas.nc"), naming="{variable_id}.nc")
    assert inventory.cubes[0].files == ("2015/tas.nc", "2016/tas.nc")
    assert codes(inventory.cubes[0]) == ["no_time_in_names"]


def test_ids_that_would_be_one_are_told_apart(write: Write) -> None:
    inventory = taken(write("a.b_c_2015.nc", "a_b.c_2015.nc"), naming="{variable_id}_{source_id}_{time}.nc")
    assert len({cube.id for cube in inventory.cubes}) == 2


def test_each_file_can_be_a_cube(write: Write) -> None:
    inventory = taken(write("a/x.nc", "b/x.nc", "y z.nc", "r.txt"), naming="file")
    assert [(cube.id, cube.title, cube.variable) for cube in inventory.cubes] == [
        ("a.x", "x", None), ("b.x", "x", None), ("y-z", "y z", None),
    ]  # fmt: skip
    assert left(inventory) == {"r.txt": "not_netcdf"}


def test_progress_is_told_while_a_folder_is_walked(write: Write) -> None:
    source = write(*(f"f{i}.nc" for i in range(2 * STEP)))
    seen: list[int] = []
    assert len(scan(source, seen.append).files) == 2 * STEP
    assert seen == [STEP, 2 * STEP, 2 * STEP]


def test_an_inventory_shows_itself_and_escapes_names(write: Write) -> None:
    source = write(path_of("185001-189912"), path_of("191001-201412"), "<b>.txt")
    inventory = taken(source)
    text = inventory._repr_html_()
    assert "2 files (2 B) in 1 cube, 1 left out" in text
    assert "1900-1909 is missing between" in text
    assert "&lt;b&gt;.txt" in text
    assert "<b>" not in text


def rendered(inventory: Inventory) -> tuple[Any, list[dict[str, Any]]]:
    figure = hv.render(inventory.timeline(), backend="bokeh")
    return figure, [dict(glyph.data_source.data) for glyph in figure.renderers]


def test_the_timeline_has_a_bar_for_each_file_and_shows_gaps(write: Write) -> None:
    write(path_of("185001-189912"), path_of("191001-201412"), path_of(variable="orog", table="fx"))
    figure, layers = rendered(taken(write(path_of("185001-201412", variable="pr"))))
    bars = [(float(left), float(right)) for data in layers[1:] for left, right in zip(*_edges(data), strict=True)]
    assert sorted(bars) == [(1850, 1900), (1850, 2015), (1910, 2015)]
    assert [list(map(float, edge)) for edge in _edges(layers[0])] == [[1900.0], [1910.0]]
    assert list(layers[0]["period"]) == ["1900-1909 is missing"]
    assert figure.title.text == "2 cubes in time · 1 without time in the name · 1 gap, in red"


def _edges(data: dict[str, Any]) -> tuple[Any, Any]:
    return data["left"], data["right"]


def test_a_timeline_of_many_cubes_stays_readable(write: Write) -> None:
    source = write(*(path_of("185001-201412", source=f"M{i}") for i in range(ROWS_DRAWN + 5)))
    figure, _ = rendered(taken(source))
    assert "the first 60 drawn" in figure.title.text
    assert figure.height < 1500


def test_a_timeline_of_many_files_draws_runs(write: Write) -> None:
    years = [year for year in range(1, MAX_BARS + 12) if year != 1000]
    _, layers = rendered(taken(write(*(path_of(f"{year:04d}", table="Oyr") for year in years))))
    assert sum(len(data["left"]) for data in layers) == 3


def test_a_timeline_without_times_is_empty(write: Write) -> None:
    figure, _ = rendered(taken(write(path_of(table="fx"))))
    assert figure.title.text.startswith("0 cubes in time")
