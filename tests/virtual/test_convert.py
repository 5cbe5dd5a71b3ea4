"""Converted cubes against xarray's open_mfdataset: equal value for value, or refused naming the file."""

import resource
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import cftime
import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from geoetl.core.errors import Conflict, EmptyDataset, Unavailable, UnreadableFile, VerificationFailed
from geoetl.core.settings import DaskSettings, LimitSettings
from geoetl.store.gate import Gate
from geoetl.virtual.convert import Chunking, convert, layout, place, plan, run, survey

CODER = xr.coders.CFDatetimeCoder(use_cftime=True)
LAT, LON = 9, 12
# Real files beside the checkout, on machines that have them.
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "netcdf_other"
REAL = [
    "air.nc",
    "air_temperature_small.nc",
    "basin_mask.nc",
    "sic_SImon_CCCma-CanESM5_ssp245_r13i1p2f1_2020.nc",  # a padded text without dimensions
    "tas_Amon_CanESM2_rcp85_r1i1p1_200701-200712.nc",  # its bounds name coordinates
]


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate((tmp_path.resolve(),), LimitSettings())


def write(
    path: Path,
    start: int,
    steps: int,
    *,
    packed: dict[str, Any] | None = None,
    units: str = "days since 1850-01-01",
    calendar: str = "360_day",
    numbers: Any = None,
    latitudes: Any = None,
    format: str = "NETCDF4",
    attributes: dict[str, Any] | None = None,
    chunks: tuple[int, ...] | None = (1, LAT, LON),
    bounds: str = "bounds",
) -> Path:
    """Write a file of daily fields that begins on the day `start` of 1850; by default floats with missing values."""
    compressed = {"zlib": True, "shuffle": True, "chunksizes": chunks} if format == "NETCDF4" and chunks else {}
    days = np.arange(start, start + steps) + 0.5
    edges = np.stack([days - 0.5, days + 0.5], axis=1)
    if steps:
        days, edges = (
            cftime.date2num(cftime.num2date(part, "days since 1850-01-01", calendar), units, calendar)
            for part in (days, edges)
        )
    with netCDF4.Dataset(path, "w", format=format) as file:
        file.setncatts({"title": "Test", "history": "cdo copy /home/alice/run 1/in.nc /home/alice/out.nc", "n": 2})
        for name, size in {"time": None, "lat": LAT, "lon": LON, "bnds": 2}.items():
            file.createDimension(name, size)
        times = file.createVariable("time", "f8", ("time",))
        times.setncatts({"units": units, "calendar": calendar, bounds: "time_bnds"})
        times[:] = days if numbers is None else numbers
        file.createVariable("time_bnds", "f8", ("time", "bnds"))[:] = edges
        lat = file.createVariable("lat", "f8", ("lat",))
        lat[:] = np.linspace(80, -80, LAT) if latitudes is None else latitudes
        file.createVariable("lon", "f8", ("lon",))[:] = np.arange(LON) * 30.0
        height = file.createVariable("height", "f8", ())
        height[...] = 2.0
        meaning = packed or {"_FillValue": np.float32(1e20), "missing_value": np.float32(1e20)}
        dtype = meaning.get("dtype", "f4")
        layout = {"fill_value": meaning.get("_FillValue"), "endian": "big" if ">" in dtype else "native", **compressed}
        data = file.createVariable("tas", dtype, ("time", "lat", "lon"), **layout)
        data.setncatts({k: v for k, v in meaning.items() if k not in ("dtype", "_FillValue")})
        data.setncatts({"units": "K", "coordinates": "height", **(attributes or {})})
        data.set_auto_maskandscale(False)
        data[:] = stored(dtype, start, steps, meaning)
    return path


def stored(dtype: str, start: int, steps: int, meaning: dict[str, Any]) -> Any:
    random = np.random.default_rng(start)
    shape = (steps, LAT, LON)
    if np.dtype(dtype).kind == "f":
        values = random.normal(280, 10, shape).astype(dtype)
    else:
        values = random.integers(0, 100, shape).astype(dtype)
    if meaning.get("_FillValue") is not None:
        values[:1, :2, 1] = meaning["_FillValue"]
    return values


def mfdataset(paths: list[Path], **options: Any) -> xr.Dataset:
    many = {"concat_dim": "time"} if len(paths) > 1 else {"concat_dim": None}
    return xr.open_mfdataset(
        paths, engine="netcdf4", combine="nested", data_vars="minimal", coords="minimal", compat="override",
        join="override", **{"decode_times": CODER, **many, **options},
    )  # fmt: skip


def assert_same(store: Path, paths: list[Path], **options: Any) -> xr.Dataset:
    """Open the store as a user would, in silence, and compare everything with open_mfdataset."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cube = xr.open_zarr(store)
        xr.open_dataset(store, engine="zarr").close()
    for decode in ({"decode_times": CODER}, {"decode_times": True}):
        with xr.open_zarr(store, **decode) as got, mfdataset(paths, **decode, **options) as expected:  # type: ignore[arg-type]
            assert set(got.variables) == set(expected.variables)
            assert set(got.coords) == set(expected.coords)
            for name in expected.variables:
                assert got[name].dims == expected[name].dims
                assert got[name].dtype == expected[name].dtype, name
                np.testing.assert_array_equal(got[name].to_numpy(), expected[name].to_numpy(), err_msg=str(name))
    return cube


PACKED = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 250.0, "_FillValue": np.int16(-32768)}


@pytest.mark.parametrize("chunking", Chunking)
def test_the_store_equals_open_mfdataset(gate: Gate, tmp_path: Path, chunking: Chunking) -> None:
    paths = [write(tmp_path / "a.nc", 0, 30), write(tmp_path / "b.nc", 30, 7), write(tmp_path / "c.nc", 40, 1)]
    done = convert(gate, paths, tmp_path / "cube.zarr", chunking=chunking)
    cube = assert_same(tmp_path / "cube.zarr", paths)
    assert dict(cube["tas"].attrs) == {"units": "K"}
    assert done.fields_compared == done.fields_total
    assert done.plan.steps == 38
    assert sorted(path.name for path in tmp_path.glob("*zarr*")) == [".cube.zarr.converted.json", "cube.zarr"]


@pytest.mark.parametrize(
    "packed",
    [
        PACKED,
        {**PACKED, "missing_value": np.int16(-32768), "valid_range": np.array([0, 100], "i2")},
        {"dtype": "i1", "_FillValue": np.int8(-1), "flag_values": np.arange(3, dtype="i1"), "flag_meanings": "a b c"},
        {"dtype": "i1", "_Unsigned": "true", "_FillValue": np.int8(-1), "scale_factor": 0.5},
        {"dtype": "u1", "_FillValue": None},
        {"dtype": ">f4", "_FillValue": np.float32(-999)},
        {"dtype": "f8", "_FillValue": None, "missing_value": np.nan},
        {"dtype": "i4", "scale_factor": 0.1, "_FillValue": np.int32(-1)},
    ],
    ids=["i2", "missing", "flags", "unsigned", "u1", "big-endian", "nan", "i4"],
)
def test_numbers_stay_packed_where_all_files_pack_alike(gate: Gate, tmp_path: Path, packed: dict[str, Any]) -> None:
    paths = [write(tmp_path / "a.nc", 0, 12, packed=packed), write(tmp_path / "b.nc", 12, 5, packed=packed)]
    done = convert(gate, paths, tmp_path / "cube.zarr")
    assert_same(tmp_path / "cube.zarr", paths)
    (tas,) = done.plan.arrays
    assert (tas.dtype, tas.decoded_because) == (np.dtype(packed["dtype"]).newbyteorder("=").name, None)
    assert zarr.open_group(tmp_path / "cube.zarr", mode="r")["tas"].dtype == np.dtype(tas.dtype)


@pytest.mark.parametrize(
    ("other", "dtype"),
    [
        ({**PACKED, "scale_factor": 0.02}, "float64"),
        ({**PACKED, "_FillValue": np.int16(50)}, "float64"),
        ({"dtype": "f4", "_FillValue": np.float32(1e20)}, "float64"),
        ({**PACKED, "scale_factor": np.float32(0.01), "add_offset": np.float32(250)}, "float64"),
        ({"dtype": "i2", "_FillValue": None}, "float64"),
    ],
    ids=["scale", "fill", "float", "float32-factors", "plain"],
)
def test_values_are_decoded_where_files_pack_otherwise(
    gate: Gate, tmp_path: Path, other: dict[str, Any], dtype: str
) -> None:
    paths = [write(tmp_path / "a.nc", 0, 12, packed=PACKED), write(tmp_path / "b.nc", 12, 5, packed=other)]
    done = convert(gate, paths, tmp_path / "cube.zarr")
    cube = assert_same(tmp_path / "cube.zarr", paths)
    (tas,) = done.plan.arrays
    assert (tas.dtype, tas.decoded_because) == (dtype, "'b.nc' packs it otherwise than 'a.nc'")
    assert np.isnan(cube["tas"].encoding["_FillValue"])
    assert "scale_factor" not in cube["tas"].encoding


def test_two_fill_values_of_floats_become_nan_of_the_same_type(gate: Gate, tmp_path: Path) -> None:
    fills = [{"dtype": "f4", "_FillValue": np.float32(fill)} for fill in (1e20, -999)]
    paths = [write(tmp_path / f"{n}.nc", 10 * n, 10, packed=packed) for n, packed in enumerate(fills)]
    (tas,) = convert(gate, paths, tmp_path / "cube.zarr").plan.arrays
    assert tas.dtype == "float32"
    assert_same(tmp_path / "cube.zarr", paths)


def test_float32_factors_give_float32_values(gate: Gate, tmp_path: Path) -> None:
    packed = {**PACKED, "scale_factor": np.float32(0.01), "add_offset": np.float32(250)}
    paths = [write(tmp_path / "a.nc", 0, 12, packed=packed)]
    (tas,) = convert(gate, paths, tmp_path / "cube.zarr").plan.arrays
    assert (tas.dtype, tas.decoded_because) == ("float32", "its packing attributes lose their type in JSON")
    assert_same(tmp_path / "cube.zarr", paths)


@pytest.mark.parametrize("calendar", ["360_day", "noleap", "standard", "proleptic_gregorian"])
@pytest.mark.parametrize("units", ["days since 1849-12-01", "hours since 1850-01-01 06:00", "seconds since  1850-1-1"])
def test_times_of_other_epochs_are_the_same_dates(gate: Gate, tmp_path: Path, calendar: str, units: str) -> None:
    paths = [
        write(tmp_path / "a.nc", 0, 3, calendar=calendar),
        write(tmp_path / "b.nc", 3, 4, calendar=calendar, units=units),
    ]
    done = convert(gate, paths, tmp_path / "cube.zarr")
    assert_same(tmp_path / "cube.zarr", paths)
    assert done.plan.time_units == "hours since 1850-01-01"
    assert xr.open_zarr(tmp_path / "cube.zarr", decode_times=False)["time"].dtype == np.int64


def test_files_are_put_in_the_order_of_time(gate: Gate, tmp_path: Path) -> None:
    paths = [write(tmp_path / "z.nc", 0, 5), write(tmp_path / "a.nc", 5, 5)]
    convert(gate, paths[::-1], tmp_path / "cube.zarr")
    assert_same(tmp_path / "cube.zarr", paths)


@pytest.mark.parametrize(
    ("oddity", "says"),
    [
        (
            {"calendar": "noleap"},
            "'b.nc' does not belong to the cube of 'a.nc': the calendar of 'time' is noleap there and 360_day",
        ),
        ({"latitudes": np.linspace(80, -81, LAT)}, "the content of 'lat' is different there"),
        ({"attributes": {"units": "degC"}}, "the unit of 'tas' is degC there and K here"),
        ({"start": 4}, "'b.nc' begins at 1850-01-05 12:00:00, before 'a.nc' ends at 1850-01-05 12:00:00"),
        ({"numbers": [6.5, 7.5, 7.5, 9.5]}, "The times of 'b.nc' do not increase behind step 1"),
        ({"numbers": [6.5, np.nan, 8.5, 9.5]}, "The times of 'b.nc' do not increase behind step 0"),
    ],
    ids=["calendar", "grid", "units", "overlap", "duplicate", "nan"],
)
def test_files_of_several_cubes_are_refused_naming_the_file(
    gate: Gate, tmp_path: Path, oddity: dict[str, Any], says: str
) -> None:
    oddity = {"start": 5, **oddity}
    paths = [write(tmp_path / "a.nc", 0, 5), write(tmp_path / "b.nc", oddity.pop("start"), 4, **oddity)]
    with pytest.raises(VerificationFailed) as caught:
        convert(gate, paths, tmp_path / "cube.zarr")
    assert says in caught.value.detail
    assert not list(tmp_path.glob("*zarr*"))


def test_other_calendars_are_refused_also_where_only_a_fixed_variable_is_asked_for(gate: Gate, tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.nc", 0, 5), write(tmp_path / "b.nc", 5, 4, calendar="noleap")]
    with pytest.raises(VerificationFailed, match="the calendar of 'time' is noleap there and 360_day here"):
        plan(gate, paths, variables=["height"])


def test_a_missing_variable_and_no_file_are_refused(gate: Gate, tmp_path: Path) -> None:
    path = write(tmp_path / "a.nc", 0, 5)
    with pytest.raises(UnreadableFile, match="no variable 'pr'"):
        plan(gate, [path], variables=["pr"])
    with pytest.raises(EmptyDataset, match="There is no file"):
        plan(gate, [])
    with pytest.raises(EmptyDataset, match="'b.nc' has no time step"):
        plan(gate, [path, write(tmp_path / "b.nc", 5, 0, numbers=[])])
    extra = write(tmp_path / "c.nc", 5, 3)
    with netCDF4.Dataset(extra, "a") as file:
        file.createVariable("pr", "f4", ("time", "lat", "lon"))[:] = 1
    with pytest.raises(VerificationFailed, match="'pr' is in 'c.nc' but not in 'a.nc'"):
        plan(gate, [path, extra])
    assert [array.name for array in plan(gate, [path, extra], variables=["tas"]).arrays] == ["tas"]


def test_a_variable_comes_with_its_coordinates_and_their_bounds(gate: Gate, tmp_path: Path) -> None:
    path = write(tmp_path / "a.nc", 0, 5)
    with netCDF4.Dataset(path, "a") as file:
        file.createVariable("pr", "f4", ("time", "lat", "lon"))[:] = 1
    convert(gate, [path], tmp_path / "cube.zarr", variables=["tas"])
    assert set(xr.open_zarr(tmp_path / "cube.zarr").variables) == {"tas", "time", "time_bnds", "lat", "lon", "height"}


@pytest.mark.parametrize("format", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF4_CLASSIC"])
def test_other_containers_are_converted_too(gate: Gate, tmp_path: Path, format: str) -> None:
    paths = [write(tmp_path / "a.nc", 0, 5, format=format), write(tmp_path / "b.nc", 5, 5, packed=PACKED)]
    convert(gate, paths, tmp_path / "cube.zarr")
    assert_same(tmp_path / "cube.zarr", paths)


@pytest.mark.parametrize("chunks", [None, (5, 4, 5), (30, LAT, LON), (1, 1, 12)], ids=str)
def test_unequal_chunks_of_the_sources_do_not_matter(gate: Gate, tmp_path: Path, chunks: Any) -> None:
    paths = [write(tmp_path / "a.nc", 0, 13), write(tmp_path / "b.nc", 13, 11, chunks=chunks)]
    convert(gate, paths, tmp_path / "cube.zarr")
    assert_same(tmp_path / "cube.zarr", paths)


def test_a_curvilinear_grid_with_texts_and_fixed_fields(gate: Gate, tmp_path: Path) -> None:
    paths = []
    for number in range(2):
        y, x = np.meshgrid(np.linspace(-80, 80, 5), np.linspace(0, 350, 6), indexing="ij")
        cube = xr.Dataset(
            {
                "siconc": (("time", "j", "i"), np.random.default_rng(number).random((4, 5, 6), "f4")),
                "areacello": (("j", "i"), np.cos(np.deg2rad(y)).astype("f4")),
                "lat_bnds": (("j", "i", "bnds"), np.stack([y - 1, y + 1], axis=2)),
                "typesi": ((), b"sea_ice"),
                "station": (("j",), np.array(["a", "bcd", "e", "f", "g"])),
                "sky": (("time",), np.array([b"clear", b"cloud", b"fog", b"rain"])),
                "co2": (("time",), np.arange(4.0) + number),
                "land": (("j", "i"), y > 0),
            },
            coords={
                "time": xr.date_range(f"20{number}0-01-01", periods=4, calendar="noleap", use_cftime=True),
                "lat": (("j", "i"), y, {"units": "degrees_north", "valid_max": np.nan}),
                "lon": (("j", "i"), x),
                "lev": 5.0,
                "label": (("time",), [f"s{n}" for n in range(4)]),
            },
            attrs={"source": "CESM2 (2017): atmosphere: CAM6", "further_info_url": "https://x.example.org/a/b"},
        )
        paths.append(tmp_path / f"{number}.nc")
        cube.to_netcdf(paths[-1], engine="netcdf4")
    convert(gate, paths, tmp_path / "cube.zarr")
    got = assert_same(tmp_path / "cube.zarr", paths)
    assert got.attrs == {"source": "CESM2 (2017): atmosphere: CAM6", "further_info_url": "https://x.example.org/a/b"}
    assert "NaN," not in (tmp_path / "cube.zarr" / "zarr.json").read_text()


def test_a_fixed_field_has_no_time(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "orog_fx.nc"
    xr.Dataset({"orog": (("lat", "lon"), np.random.default_rng(0).random((700, 800)))}).to_netcdf(path)
    monkeypatch.setattr(survey, "INLINE_BYTES", 100_000)
    done = convert(gate, [path], tmp_path / "cube.zarr", chunking=Chunking.MAPS)
    assert_same(tmp_path / "cube.zarr", [path])
    assert done.plan.arrays[0].chunks == (234, 200)
    with pytest.raises(VerificationFailed, match=r"has no time"):
        convert(gate, [path, path], tmp_path / "two.zarr")


def test_no_path_of_a_folder_gets_into_the_store(gate: Gate, tmp_path: Path) -> None:
    convert(gate, [write(tmp_path / "a.nc", 0, 5)], tmp_path / "cube.zarr")
    cube = xr.open_zarr(tmp_path / "cube.zarr")
    assert cube.attrs["history"] == "cdo copy run 1/in.nc out.nc"
    assert (cube.attrs["title"], cube.attrs["n"]) == ("Test", 2)
    text = "".join(path.read_text() for path in (tmp_path / "cube.zarr").rglob("zarr.json"))
    assert str(tmp_path) not in text and "alice" not in text


def test_the_metadata_are_consolidated_and_not_empty(gate: Gate, tmp_path: Path) -> None:
    convert(gate, [write(tmp_path / "a.nc", 0, 5)], tmp_path / "cube.zarr")
    group = zarr.open_group(tmp_path / "cube.zarr", mode="r", use_consolidated=True)
    assert group.metadata.consolidated_metadata is not None
    assert set(group.metadata.consolidated_metadata.metadata) == {"tas", "time", "time_bnds", "lat", "lon", "height"}


def test_a_second_call_finds_the_finished_store(gate: Gate, tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.nc", 0, 5)]
    first = convert(gate, paths, tmp_path / "cube.zarr")
    before = (tmp_path / "cube.zarr").stat().st_mtime_ns
    assert convert(gate, paths, tmp_path / "cube.zarr") == first
    assert (tmp_path / "cube.zarr").stat().st_mtime_ns == before
    with pytest.raises(Conflict, match="is there already"):
        convert(gate, paths, tmp_path / "cube.zarr", chunking=Chunking.MAPS)
    write(paths[0], 0, 6)
    with pytest.raises(Conflict, match="is there already"):
        convert(gate, paths, tmp_path / "cube.zarr")


# -- interrupted -----------------------------------------------------------------------------------------------------

# Small regions, so that there are many of them.
SMALL = {"TASK_BYTES": 1, "MIN_SHARD_BYTES": 20_000, "SHARDS_WANTED": 1000, "CHUNK_BYTES": 20_000}
CHILD = """
import sys, time
from pathlib import Path
from geoetl.core.settings import LimitSettings
from geoetl.store.gate import Gate
from geoetl.virtual.convert import Chunking, convert, layout
for name, value in {small}.items():
    setattr(layout, name, value)
folder = Path(sys.argv[1])
{before}
gate, paths = Gate((folder,), LimitSettings()), sorted(folder.glob("*.nc"))
convert(gate, paths, folder / "cube.zarr", chunking=Chunking.MAPS)
"""


def child(folder: Path, before: str = "") -> list[str]:
    return [sys.executable, "-c", CHILD.format(small=SMALL, before=before), str(folder)]


def test_a_killed_conversion_goes_on_where_it_stood(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(tmp_path / f"{n}.nc", 300 * n, 300) for n in range(4)]
    victim = subprocess.Popen(child(tmp_path.resolve()), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    lines = 0
    while lines < 4 and time.monotonic() < deadline and victim.poll() is None:
        # For so short that the child is still at work then, but not at its expense.
        time.sleep(0.002)
        lines = sum(path.read_text().count("\n") for path in tmp_path.glob(".*.journal"))
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    assert not (tmp_path / "cube.zarr").exists()
    for name, value in SMALL.items():
        monkeypatch.setattr(layout, name, value)
    (partial,) = tmp_path.glob(".*.partial")
    (journal,) = tmp_path.glob(".*.journal")
    finished = journal.read_text().split("\n")[1:-1]
    (tas,) = plan(gate, paths, chunking=Chunking.MAPS).arrays
    begins = [int(line.removeprefix("tas ").partition(":")[0]) for line in finished]
    shards = [partial / f"tas/c/{begin // tas.shards[0]}/0/0" for begin in begins]
    written = {shard: shard.stat().st_mtime_ns for shard in shards}
    with journal.open("a") as file:
        file.write("tas 27")  # a line that was cut off
    done = convert(gate, paths, tmp_path / "cube.zarr", chunking=Chunking.MAPS)
    assert done.regions_resumed == len(finished) >= 3
    again = {tmp_path / "cube.zarr" / old.relative_to(partial): stamp for old, stamp in written.items()}
    assert {shard: shard.stat().st_mtime_ns for shard in again} == again
    assert_same(tmp_path / "cube.zarr", paths)
    assert not list(tmp_path.glob(".*.partial")) and not list(tmp_path.glob(".*.journal"))


def test_changed_sources_begin_anew(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write(tmp_path / "a.nc", 0, 20), write(tmp_path / "b.nc", 20, 20)]

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(run, "consolidate", fail)
        with pytest.raises(Unavailable, match=r"'cube.zarr' could not be written: the disk is full"):
            convert(gate, paths, tmp_path / "cube.zarr")
    assert not (tmp_path / "cube.zarr").exists()
    write(paths[1], 20, 20, packed={"dtype": "f4", "_FillValue": np.float32(-1)})
    done = convert(gate, paths, tmp_path / "cube.zarr")
    assert done.regions_resumed == 0
    assert_same(tmp_path / "cube.zarr", paths)
    assert not list(tmp_path.glob(".*.partial"))


def test_a_full_disk_is_said_and_nothing_is_visible(gate: Gate, tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.nc", 0, 300)]
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8000, resource.RLIM_INFINITY))"
    done = subprocess.run(child(tmp_path.resolve(), limited), capture_output=True, text=True, check=False)
    assert "Unavailable: 'cube.zarr' could not be written: the disk is full." in done.stderr
    assert not (tmp_path / "cube.zarr").exists()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 8000
    convert(gate, paths, tmp_path / "cube.zarr")
    assert_same(tmp_path / "cube.zarr", paths)


def test_too_little_space_is_said_before_anything_is_written(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.nc", 0, 5)
    monkeypatch.setattr(place, "free_bytes", lambda _: 100)
    with pytest.raises(Unavailable, match=r"'cube.zarr' needs about .* kB; its disk has 100 B free"):
        convert(gate, [path], tmp_path / "cube.zarr")
    assert not list(tmp_path.glob(".*.partial"))


def test_two_processes_do_not_write_one_store(gate: Gate, tmp_path: Path) -> None:
    path = write(tmp_path / "a.nc", 0, 5)
    other = place.Place(tmp_path / "cube.zarr", "0" * 64)
    with other.held(), pytest.raises(Conflict, match="is being written by another process"):
        convert(gate, [path], tmp_path / "cube.zarr")


# -- compared --------------------------------------------------------------------------------------------------------


def test_a_wrong_value_in_the_store_is_found_naming_place_and_both_values(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(tmp_path / "a.nc", 0, 5), write(tmp_path / "b.nc", 5, 5)]
    consolidate = run.consolidate

    def spoil(folder: Path, survey: Any) -> None:
        zarr.open_group(folder)["tas"][7, 3, 4] = 42
        consolidate(folder, survey)

    monkeypatch.setattr(run, "consolidate", spoil)
    with pytest.raises(
        VerificationFailed, match=r"'tas' of 'b.nc' at \(2, 3, 4\) is 2\d\d\.\d+ in the file and 42.0 in"
    ):
        convert(gate, paths, tmp_path / "cube.zarr")
    assert not (tmp_path / "cube.zarr").exists()


def test_a_damaged_chunk_is_reported_naming_the_file(gate: Gate, tmp_path: Path) -> None:
    path = write(tmp_path / "a.nc", 0, 50)
    with h5py.File(path) as file:
        chunk = file["tas"].id.get_chunk_info(49)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset + 10)
        raw.write(bytes(chunk.size - 20))
    with pytest.raises(UnreadableFile, match="'tas' of 'a.nc' cannot be read"):
        convert(gate, [path], tmp_path / "cube.zarr", variables=["tas"])


def test_unwritten_chunks_and_skipped_filters_read_as_the_library_reads_them(gate: Gate, tmp_path: Path) -> None:
    path = write(tmp_path / "a.nc", 0, 6)
    with h5py.File(path, "r+") as file:
        old = file["tas"]
        attributes = {k: old.attrs[k] for k in ("units", "_FillValue", "missing_value")}
        values = old[()]
        del file["tas"]
        new = file.create_dataset(
            "tas", (6, LAT, LON), "f4", chunks=(1, LAT, LON), compression="gzip", shuffle=True, fillvalue=1e20
        )
        for axis, name in enumerate(("time", "lat", "lon")):
            new.dims[axis].attach_scale(file[name])
        new.attrs.update(attributes)
        new[1:3] = values[1:3]
        new.id.write_direct_chunk((4, 0, 0), values[4].tobytes(), filter_mask=3)
    convert(gate, [path], tmp_path / "cube.zarr")
    got = assert_same(tmp_path / "cube.zarr", [path])["tas"].to_numpy()
    assert np.isnan(got[[0, 3, 5]]).all()
    np.testing.assert_array_equal(got[4], np.where(values[4] == np.float32(1e20), np.nan, values[4]))


# -- laid out --------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 200_000), st.integers(1, 40), st.integers(1, 3000), st.integers(1, 5000)),
    axis=st.sampled_from([None, 0, 1, 3]),
    itemsize=st.sampled_from([1, 2, 4, 8]),
    chunking=st.sampled_from(Chunking),
)
def test_regions_are_whole_shards_of_whole_chunks_of_bounded_size(
    shape: tuple[int, ...], axis: int | None, itemsize: int, chunking: Chunking
) -> None:
    chunks = layout.chunk_shape(chunking, shape, axis, itemsize)
    shards = layout.grown(chunks, shape, axis, itemsize, layout.SHARD_BYTES)
    region = layout.grown(shards, shape, axis, itemsize, layout.TASK_BYTES)
    for chunk, shard, box, size in zip(chunks, shards, region, shape, strict=True):
        assert 1 <= chunk <= size
        assert shard % chunk == 0 and box % shard == 0
    assert np.prod(chunks) * itemsize <= 2 * layout.CHUNK_BYTES
    assert np.prod(shards) * itemsize <= layout.SHARD_BYTES
    assert np.prod(region) * itemsize <= layout.TASK_BYTES


@pytest.mark.parametrize(
    ("chunking", "shape", "chunks"),
    [
        (Chunking.MAPS, (14600, 192, 384), (1, 192, 384)),
        (Chunking.MAPS, (14600, 19, 721, 1440), (1, 1, 241, 240)),
        (Chunking.BALANCED, (14600, 192, 384), (64, 96, 128)),
        (Chunking.MAPS, (14600, 500_000), (1, 62_500)),
        (Chunking.SERIES, (120, 8, 16), (120, 8, 16)),
        (Chunking.SERIES, (14600, 192, 384), (1623, 24, 24)),
        (Chunking.SERIES, (87600, 721, 1440), (365, 52, 52)),
    ],
)
def test_chunks_are_as_asked(chunking: Chunking, shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    assert layout.chunk_shape(chunking, shape, 0, 4) == chunks


def test_the_plan_is_shown(gate: Gate, tmp_path: Path) -> None:
    shown = plan(gate, [write(tmp_path / "a.nc", 0, 30)], chunking=Chunking.MAPS)._repr_html_()
    assert "1 files" not in shown
    assert "30 x 9 x 12" in shown and "blosc zstd 3, shuffle" in shown and "360_day" in shown


# -- on a cluster ----------------------------------------------------------------------------------------------------


def test_a_cluster_writes_the_same_bytes(gate: Gate, tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.nc", 0, 20), write(tmp_path / "b.nc", 20, 20, packed=PACKED)]
    convert(gate, paths, tmp_path / "threads.zarr")
    convert(gate, paths, tmp_path / "cluster.zarr", dask=DaskSettings(address="local", workers=2))
    for path in (tmp_path / "threads.zarr").rglob("*"):
        twin = tmp_path / "cluster.zarr" / path.relative_to(tmp_path / "threads.zarr")
        assert path.is_dir() or path.read_bytes() == twin.read_bytes()
    assert_same(tmp_path / "cluster.zarr", paths)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared")
@pytest.mark.parametrize("name", REAL)
def test_real_files_are_converted(tmp_path: Path, name: str) -> None:
    folder = DATA.resolve()
    gate = Gate((folder, tmp_path.resolve()), LimitSettings())
    convert(gate, [folder / name], tmp_path / "cube.zarr")
    assert_same(tmp_path / "cube.zarr", [folder / name])
