"""The pre-flight: what references would get wrong is refused or predicted, and said so that a person can act."""

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cftime
import h5py
import netCDF4
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoetl.core.errors import EmptyDataset, UnreadableFile
from geoetl.core.findings import Finding, Severity
from geoetl.core.settings import LimitSettings
from geoetl.store.gate import Format, Gate
from geoetl.virtual.header import ArrayHeader, ChunkGrid, FileHeader, Layout
from geoetl.virtual.preflight import Preflight, Verdict, preflight, unreadable
from geoetl.virtual.preflight.content import MAX_GROUPS
from geoetl.virtual.read import read_header

DATA = Path(__file__).parents[3] / "shared" / "data"
ZLIB = ({"id": "shuffle", "elementsize": 4}, {"id": "zlib", "level": 1})
FILL = {"_FillValue": 1.0000000200408773e20, "units": "K"}
NY, NX = 3, 4


# -- headers made by hand ----------------------------------------------------------------------------------------------


def loaded(name: str, dims: tuple[str, ...], values: Any, **attributes: Any) -> ArrayHeader:
    content = np.asarray(values)
    return ArrayHeader(
        name=name,
        dims=dims,
        shape=content.shape,
        dtype=content.dtype,
        chunks=content.shape,
        layout=Layout.CONTIGUOUS,
        attributes=attributes,
        values=content,
    )


def pointed(
    shape: tuple[int, ...],
    chunks: tuple[int, ...] | None = None,
    *,
    dims: tuple[str, ...] = ("time", "lat", "lon"),
    dtype: str = "<f4",
    codecs: Sequence[Any] = ZLIB,
    written: float = 1,
    attributes: dict[str, Any] = FILL,
    **others: Any,
) -> ArrayHeader:
    """Return a variable of the file; without chunks it is one plain piece."""
    wide = chunks or shape
    grid = tuple(-(-size // chunk) for size, chunk in zip(shape, wide, strict=True))
    sizes = np.full(grid, 100, np.uint64)
    sizes.ravel()[round(sizes.size * written) :] = 0
    given: dict[str, Any] = {
        "name": "tas",
        "dims": dims,
        "shape": shape,
        "dtype": np.dtype(dtype),
        "chunks": wide,
        "layout": Layout.CHUNKED if chunks else Layout.CONTIGUOUS,
        "codecs": tuple(codecs) if chunks else (),
        "fill_value": np.dtype(dtype).type(1e20 if "f" in dtype else 0),
        "attributes": attributes,
        "grid": ChunkGrid(np.zeros(grid, np.uint64), sizes),
    }
    return ArrayHeader(**{**given, **others})


def header(
    name: str,
    start: float,
    steps: int,
    *,
    tas: ArrayHeader | None = None,
    step: float = 1,
    units: str = "days since 1850-01-01",
    calendar: str | None = "noleap",
    times: Any = None,
    others: Sequence[ArrayHeader] = (),
    container: Format = Format.HDF5,
) -> FileHeader:
    """Return what a file of daily fields says that begins at `start` (in `units`)."""
    numbers = start + step * np.arange(steps, dtype=float) if times is None else np.asarray(times)
    told = {"units": units} if calendar is None else {"units": units, "calendar": calendar}
    tas = tas or pointed((len(numbers), NY, NX), (1, NY, NX))
    grid = dict(zip(tas.dims, tas.shape, strict=True))
    arrays = {
        "time": loaded("time", ("time",), numbers, **told),
        "lat": loaded("lat", ("lat",), np.linspace(-60, 60, grid.get("lat", NY)), units="degrees_north"),
        "lon": loaded("lon", ("lon",), np.arange(grid.get("lon", NX)) * 9.0, units="degrees_east"),
        "height": loaded("height", (), 2.0, units="m"),
        "tas": tas,
    }
    arrays |= {array.name: array for array in others}
    sizes = {d: s for a in arrays.values() for d, s in zip(a.dims, a.shape, strict=True)}
    return FileHeader(
        address=f"/data/{name}",
        name=name,
        bytes=1000,
        modified_ns=0,
        etag=None,
        container=container,
        attributes={},
        dimensions=sizes,
        variables=("tas",),
        arrays=arrays,
    )


def codes(result: Preflight, severity: Severity | None = None) -> list[str]:
    return [finding.code for finding in result.findings if severity in (None, finding.severity)]


def errors(result: Preflight) -> list[str]:
    return codes(result, Severity.ERROR)


def the(result: Preflight, code: str) -> Finding:
    found = [finding for finding in result.findings if finding.code == code]
    assert len(found) == 1, result.findings
    return found[0]


def names(result: Preflight) -> list[list[str]]:
    return [[address.removeprefix("/data/") for address in group] for group in result.groups]


def test_files_that_agree_are_virtualised_in_one_group() -> None:
    result = preflight([header("a.nc", 0, 10), header("b.nc", 10, 10), header("c.nc", 20, 3)])
    assert result.verdict is Verdict.VIRTUALISE
    assert names(result) == [["a.nc", "b.nc", "c.nc"]]
    assert result.findings == ()
    assert result.summary == "Virtualise: the 3 files agree and become one cube of references."


def test_there_has_to_be_a_file() -> None:
    with pytest.raises(EmptyDataset, match="There is no file to look at"):
        preflight([])


DIFFERENT: dict[str, tuple[ArrayHeader, str, str]] = {
    "scale_factor": (
        pointed((10, NY, NX), (1, NY, NX), attributes={**FILL, "scale_factor": 0.02}),
        "The attribute scale_factor of 'tas' is 0.02 in 'odd.nc', but absent in 'a.nc' and 'c.nc'.",
        "absent",
    ),
    "add_offset": (
        pointed((10, NY, NX), (1, NY, NX), attributes={**FILL, "add_offset": 273.15}),
        "The attribute add_offset of 'tas' is 273.15 in 'odd.nc', but absent in 'a.nc' and 'c.nc'.",
        "absent",
    ),
    "fill_value": (
        pointed((10, NY, NX), (1, NY, NX), attributes={"_FillValue": -999.0, "units": "K"}),
        "The attribute _FillValue of 'tas' is -999.0 in 'odd.nc', but 1e+20 in 'a.nc' and 'c.nc'.",
        "1e+20",
    ),
    "missing_value": (
        pointed((10, NY, NX), (1, NY, NX), attributes={**FILL, "missing_value": 1e20}),
        "The attribute missing_value of 'tas' is 1e+20 in 'odd.nc', but absent in 'a.nc' and 'c.nc'.",
        "absent",
    ),
    "units": (
        pointed((10, NY, NX), (1, NY, NX), attributes={**FILL, "units": "degC"}),
        "The attribute units of 'tas' is 'degC' in 'odd.nc', but 'K' in 'a.nc' and 'c.nc'.",
        "'K'",
    ),
    "unsigned": (
        pointed((10, NY, NX), (1, NY, NX), attributes={**FILL, "_Unsigned": "true"}),
        "The attribute _Unsigned of 'tas' is 'true' in 'odd.nc', but absent in 'a.nc' and 'c.nc'.",
        "absent",
    ),
    "dtype": (
        pointed((10, NY, NX), (1, NY, NX), dtype=">f4"),
        "The data type of 'tas' is float32 (big-endian) in 'odd.nc', but float32 (little-endian) in 'a.nc' and 'c.nc'.",
        "float32 (little-endian)",
    ),
    "dims": (
        pointed((10, NY, NX), (1, NY, NX), dims=("time", "y", "x")),
        "The dimensions of 'tas' are (time, y, x) in 'odd.nc', but (time, lat, lon) in 'a.nc' and 'c.nc'.",
        "(time, lat, lon)",
    ),
    "shape": (
        pointed((10, NY, NX + 1), (1, NY, NX + 1)),
        "The size of 'tas' is 3 × 5 a time step in 'odd.nc', but 3 × 4 a time step in 'a.nc' and 'c.nc'.",
        "3 × 4 a time step",
    ),
    "chunk_shape": (
        pointed((10, NY, NX), (2, NY, NX)),
        "The chunks of 'tas' are (2, 3, 4) in 'odd.nc', but (1, 3, 4) in 'a.nc' and 'c.nc'.",
        "(1, 3, 4)",
    ),
    "codecs": (
        pointed((10, NY, NX), (1, NY, NX), codecs=ZLIB[1:]),
        "The packing of 'tas' is zlib in 'odd.nc', but shuffle (elementsize 4) + zlib in 'a.nc' and 'c.nc'.",
        "shuffle (elementsize 4) + zlib",
    ),
}


@pytest.mark.parametrize("code", DIFFERENT)
def test_what_references_have_once_is_named_where_it_differs_and_splits_the_files(code: str) -> None:
    odd, message, expected = DIFFERENT[code]
    result = preflight([header("a.nc", 0, 10), header("odd.nc", 10, 10, tas=odd), header("c.nc", 20, 10)])
    assert set(errors(result)) == {code}
    finding = next(finding for finding in result.findings if finding.subject == "odd.nc: tas")
    assert (finding.message, finding.expected) == (message, expected)
    assert finding.remedy == "Make one cube of each group of files that agree, or convert the files to Zarr."
    assert result.verdict is Verdict.IN_GROUPS
    assert names(result) == [["a.nc", "c.nc"], ["odd.nc"]]
    assert code.replace("_", " ") in result.summary


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"_FillValue": 1e20}, {"_FillValue": float(np.float32(1e20))}),
        ({"_FillValue": float("nan")}, {"_FillValue": float("nan")}),
        ({"missing_value": [1.0, 2.0]}, {"missing_value": [1, 2]}),
        ({"scale_factor": 1}, {"scale_factor": 1.0}),
        ({"units": "kg  m-2"}, {"units": "kg m-2"}),
    ],
)
def test_attributes_that_mean_the_same_do_not_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    files = [
        header(f"{number}.nc", number * 10, 10, tas=pointed((10, NY, NX), (1, NY, NX), attributes=attributes))
        for number, attributes in enumerate((one, other))
    ]
    assert preflight(files).verdict is Verdict.VIRTUALISE


def test_the_level_of_compression_does_not_matter_to_readers() -> None:
    packed = [pointed((10, NY, NX), (1, NY, NX), codecs=[{"id": "zlib", "level": level}]) for level in (1, 9)]
    result = preflight([header("a.nc", 0, 10, tas=packed[0]), header("b.nc", 10, 10, tas=packed[1])])
    assert result.verdict is Verdict.VIRTUALISE


def test_a_variable_or_coordinate_that_a_file_does_not_have_is_named() -> None:
    without = header("b.nc", 10, 10)
    less = replace(without, arrays={k: v for k, v in without.arrays.items() if k not in ("tas", "height")})
    result = preflight([header("a.nc", 0, 10), less])
    assert the(result, "missing_variable").message == "The variable 'tas' is not in 'b.nc', but in 'a.nc'."
    assert the(result, "missing_coordinate").message == "The coordinate 'height' is not in 'b.nc', but in 'a.nc'."
    assert result.verdict is Verdict.IN_GROUPS


# -- chunks ------------------------------------------------------------------------------------------------------------


def test_a_partial_chunk_is_allowed_only_in_the_last_file() -> None:
    files = [
        header(f"{number}.nc", number * 10, 10, tas=pointed((10, NY, NX), (size, NY, NX)))
        for number, size in enumerate((4, 4))
    ]
    assert preflight(files[:1]).verdict is Verdict.VIRTUALISE
    result = preflight(files)
    finding = the(result, "partial_chunk")
    assert finding.message == (
        "The 10 time steps of 'tas' in '0.nc' do not fill its chunks of 4 steps, and another file follows: everything "
        "behind would be shifted in time."
    )
    assert (finding.got, finding.expected) == ("10 steps", "a multiple of 4 steps")
    assert finding.remedy is not None and finding.remedy.startswith("Rechunk")
    assert names(result) == [["0.nc"], ["1.nc"]]


def test_the_group_ends_behind_the_file_with_a_partial_chunk() -> None:
    lengths = (8, 10, 8, 6)
    starts = [0, *itertools.accumulate(lengths)]
    files = [
        header(f"{number}.nc", start, length, tas=pointed((length, NY, NX), (4, NY, NX)))
        for number, (start, length) in enumerate(zip(starts, lengths, strict=False))
    ]
    result = preflight(files)
    assert names(result) == [["0.nc", "1.nc"], ["2.nc", "3.nc"]]
    assert the(result, "partial_chunk").subject == "1.nc: tas"


def test_a_chunk_longer_than_the_file_is_partial_too() -> None:
    files = [header(f"{n}.nc", n, 1, tas=pointed((1, NY, NX), (3, NY, NX))) for n in range(2)]
    assert the(preflight(files), "partial_chunk").got == "1 steps"
    assert preflight(files[1:]).verdict is Verdict.VIRTUALISE


def test_plain_pieces_of_unequal_length_join() -> None:
    files = [header("a.nc", 0, 31, tas=pointed((31, NY, NX))), header("b.nc", 31, 28, tas=pointed((28, NY, NX)))]
    result = preflight(files)
    assert result.verdict is Verdict.VIRTUALISE
    assert the(result, "unequal_lengths").got == "28 to 31 steps"


def test_plain_pieces_and_packed_chunks_do_not_join() -> None:
    pieces = [header(f"{n}.nc", n * 10, 10 + n, tas=pointed((10 + n, NY, NX))) for n in range(2)]
    result = preflight([*pieces, header("packed.nc", 30, 10)])
    assert {"chunk_shape", "codecs"} <= set(errors(result))
    assert names(result) == [["0.nc", "1.nc"], ["packed.nc"]]


def test_files_that_would_make_too_many_groups_are_converted_as_one_cube() -> None:
    files = [header(f"{n:02d}.nc", n * 3, 3, tas=pointed((3, NY, NX), (2, NY, NX))) for n in range(MAX_GROUPS + 2)]
    result = preflight(files)
    assert result.verdict is Verdict.CONVERT
    assert len(result.groups) == 1
    assert the(result, "partial_chunk").subject == f"00.nc, 01.nc, 02.nc and {MAX_GROUPS - 2} more: tas"
    assert result.summary.startswith("Convert, because the files would fall into more than 12 groups: The 3 time")


# -- holes, filters, types ---------------------------------------------------------------------------------------------


def test_unwritten_chunks_of_a_declared_fill_value_are_said() -> None:
    result = preflight([header("a.nc", 0, 10, tas=pointed((10, NY, NX), (1, NY, NX), written=0.7))])
    assert result.verdict is Verdict.VIRTUALISE
    assert the(result, "unwritten_chunks").message == (
        "3 of 10 chunks of 'tas' in 'a.nc' were never written and read as missing (_FillValue 1e+20)."
    )


@pytest.mark.parametrize(("attributes", "told"), [({}, "no _FillValue"), ({"_FillValue": 0.0}, "_FillValue 0.0")])
def test_unwritten_chunks_of_another_fill_value_are_refused(attributes: dict[str, Any], told: str) -> None:
    holes = pointed((10, NY, NX), (1, NY, NX), written=0.7, attributes=attributes)
    result = preflight([header("a.nc", 0, 10, tas=holes)])
    finding = the(result, "undeclared_fill")
    assert (finding.severity, finding.got, finding.expected) == (Severity.ERROR, told, "_FillValue 1e+20")
    assert finding.remedy == "Write the cube with format=icechunk, or convert the files to Zarr."
    assert result.verdict is Verdict.CONVERT


def test_numbers_that_were_never_written_are_right_where_only_a_declared_fill_value_is_missing() -> None:
    holes = pointed((10, NY, NX), (1, NY, NX), written=0.7, attributes={})
    result = preflight([header("a.nc", 0, 10, tas=holes), header("b.nc", 10, 10)], fill_is_missing=False)
    finding = the(result, "undeclared_fill")
    assert finding.severity is Severity.INFO
    assert finding.message == (
        "3 of 10 chunks of 'tas' in 'a.nc' were never written and read as 1e+20, but the file declares no _FillValue: "
        "they stay numbers, as NetCDF readers show them."
    )
    assert preflight([header("a.nc", 0, 10, tas=holes)], fill_is_missing=False).verdict is Verdict.VIRTUALISE
    assert "fill_value" in errors(result)  # what is declared still has to be equal in all files


def test_the_fill_values_of_storage_matter_only_where_chunks_are_missing() -> None:
    def files(written: float) -> list[FileHeader]:
        arrays = [
            pointed((10, NY, NX), (1, NY, NX), fill_value=np.float32(fill), written=w)
            for fill, w in ((1e20, written), (0, 1))
        ]
        return [header(f"{n}.nc", n * 10, 10, tas=array) for n, array in enumerate(arrays)]

    assert errors(preflight(files(1))) == []
    assert errors(preflight(files(0.5))) == ["storage_fill"]


@pytest.mark.parametrize(
    ("oddity", "code", "words"),
    [
        ({"unsupported": "szip", "grid": None}, "unsupported_filter", "HDF5 filter 'szip'"),
        ({"skipped_filters": (3, 0, 0)}, "filter_mask", "The chunk (3, 0, 0) of 'tas' in 'b.nc' was stored without"),
        ({"grid": None, "dtype": np.dtype("S4")}, "not_referencable", "'tas' in 'b.nc' holds text"),
        (
            {"grid": None, "dtype": np.dtype([("r", "f4"), ("i", "f4")])},
            "not_referencable",
            "records of several fields",
        ),
    ],
)
def test_what_no_grouping_cures_is_converted(oddity: dict[str, Any], code: str, words: str) -> None:
    odd = replace(pointed((10, NY, NX), (1, NY, NX)), **oddity)
    result = preflight([header("a.nc", 0, 10), header("b.nc", 10, 10, tas=odd)])
    assert words in the(result, code).message
    assert result.verdict is Verdict.CONVERT
    assert result.summary.startswith("Convert, or repair this first: ")
    assert names(result) == [["a.nc", "b.nc"]]


def test_what_is_loaded_has_no_rule_of_chunks_and_filters() -> None:
    bounds = [
        replace(loaded("time_bnds", ("time", "bnds"), np.zeros((10, 2))), chunks=(size, 2), unsupported="szip")
        for size in (3, 7)
    ]
    result = preflight([header(f"{n}.nc", n * 10, 10, others=[b]) for n, b in enumerate(bounds)])
    assert (result.verdict, result.findings) == (Verdict.VIRTUALISE, ())


def test_bounds_too_large_to_load_cannot_be_counted_from_another_epoch() -> None:
    files = []
    for number, epoch in enumerate(("1850-01-01", "1850-01-11")):
        time = loaded("time", ("time",), np.arange(10.0), units=f"days since {epoch}", bounds="time_bnds")
        bounds = pointed((10, 2), (1, 2), dims=("time", "bnds"), attributes={}, name="time_bnds")
        files.append(header(f"{number}.nc", 0, 10, others=[time, bounds]))
    result = preflight(files)
    assert the(result, "epoch").message == (
        "The time units of 'time_bnds' are 'days since 1850-01-11' in '1.nc', but 'days since 1850-01-01' in '0.nc'."
    )
    assert result.verdict is Verdict.IN_GROUPS


def test_a_variable_in_the_header_of_one_file_does_not_join_pieces_of_another() -> None:
    compact = loaded("tas", ("time", "lat", "lon"), np.zeros((10, NY, NX), "f4"), **FILL)
    result = preflight([header("a.nc", 0, 10), header("b.nc", 10, 10, tas=compact)])
    assert the(result, "storage").message == (
        "The storage of 'tas' is in the file's header in 'b.nc', but in pieces that references point at in 'a.nc'."
    )


def test_netcdf3_goes_to_its_reader() -> None:
    result = preflight([header("old.nc", 0, 3, container=Format.NETCDF3)])
    assert the(result, "netcdf3").message == "The format of 'old.nc' is NetCDF-3, which the NetCDF-3 reader takes."


def test_a_file_that_cannot_be_read_is_a_finding() -> None:
    damaged = UnreadableFile("'x.nc' is damaged: truncated", hint="Fetch it again.")
    assert unreadable("x.nc", damaged) == Finding(
        severity=Severity.ERROR,
        code="unreadable_file",
        message="'x.nc' is damaged: truncated",
        subject="x.nc",
        remedy="Fetch it again.",
    )
    nameless = unreadable("x.nc", UnreadableFile("It is empty."))
    assert nameless.message == "'x.nc' cannot be used: It is empty."
    assert nameless.remedy == "Leave the file out, or fetch it again."


# -- coordinates -------------------------------------------------------------------------------------------------------


def with_array(made: FileHeader, array: ArrayHeader) -> FileHeader:
    return replace(made, arrays={**made.arrays, array.name: array})


def test_rounding_noise_between_coordinates_is_no_difference() -> None:
    noisy = loaded("lat", ("lat",), np.linspace(-60, 60, NY) + 5e-10, units="degrees_north")
    assert preflight([header("a.nc", 0, 9), with_array(header("b.nc", 9, 9), noisy)]).verdict is Verdict.VIRTUALISE


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            loaded("lat", ("lat",), [-60, 0.5, 60.0], units="degrees_north"),
            "'lat' in 'b.nc' differs by up to 0.5 degrees_north from 'a.nc'.",
        ),
        (loaded("height", (), 10.0, units="m"), "'height' in 'b.nc' differs by up to 8 m from 'a.nc'."),
        (
            loaded("lat", ("lat",), [-60, np.nan, 60.0], units="degrees_north"),
            "'lat' in 'b.nc' differs where values are missing from 'a.nc'.",
        ),
    ],
)
def test_coordinates_of_another_grid_are_told_with_how_far_they_are_off(array: ArrayHeader, message: str) -> None:
    result = preflight([header("a.nc", 0, 9), with_array(header("b.nc", 9, 9), array)])
    assert the(result, "coordinate").message == message
    assert result.verdict is Verdict.IN_GROUPS


def test_texts_are_compared_too() -> None:
    files = [header(f"{n}.nc", n * 9, 9, others=[loaded("basin", (), np.bytes_(t))]) for n, t in enumerate(("a", "b"))]
    assert the(preflight(files), "coordinate").message == "'basin' in '1.nc' differs in its text from '0.nc'."
    same = [replace(one, arrays={**one.arrays, "basin": files[0].arrays["basin"]}) for one in files]
    assert preflight(same).verdict is Verdict.VIRTUALISE


def test_missing_cells_of_a_curvilinear_grid_are_equal() -> None:
    grid = loaded("lon2", ("lat", "lon"), np.where(np.eye(NY, NX) > 0, np.nan, 1.0))
    assert preflight([header(f"{n}.nc", n * 9, 9, others=[grid]) for n in range(2)]).verdict is Verdict.VIRTUALISE


def test_large_arrays_without_time_are_left_to_the_verification() -> None:
    vertices = replace(pointed((NY, NX), dims=("lat", "lon")), name="areacella")
    result = preflight([header(f"{n}.nc", n * 9, 9, others=[vertices]) for n in range(2)])
    assert result.verdict is Verdict.VIRTUALISE
    assert "the verification of the cube compares them" in the(result, "not_compared").message


# -- time --------------------------------------------------------------------------------------------------------------


def test_units_of_time_may_differ_because_each_file_is_decoded_in_its_own() -> None:
    told = {"calendar": "noleap", "bounds": "time_bnds"}
    files = [
        header(
            f"{name}.nc",
            0,
            10,
            others=[
                loaded("time", ("time",), np.arange(10.0), units=f"days since {epoch}", **told),
                loaded("time_bnds", ("time", "bnds"), np.zeros((10, 2)), units=f"days since {epoch}"),
            ],
        )
        for name, epoch in (("a", "1850-01-01"), ("b", "1850-01-11"))
    ]
    result = preflight(files)
    assert result.verdict is Verdict.VIRTUALISE
    assert codes(result) == ["time_units"]
    assert names(result) == [["a.nc", "b.nc"]]


def test_calendars_that_differ_are_named() -> None:
    result = preflight([header("a.nc", 0, 10), header("b.nc", 10, 10, calendar="360_day"), header("c.nc", 10, 10)])
    finding = the(result, "calendar")
    assert (
        finding.message == "The attribute calendar of 'time' is '360_day' in 'b.nc', but 'noleap' in 'a.nc' and 'c.nc'."
    )
    assert names(result) == [["a.nc", "c.nc"], ["b.nc"]]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("noleap", "365_day", True),
        ("all_leap", "366_day", True),
        ("standard", "gregorian", True),
        (None, "Gregorian", True),
        ("standard", "proleptic_gregorian", False),
        ("360_day", "365_day", False),
        ("julian", "standard", False),
    ],
)
def test_only_two_names_of_one_calendar_are_equal(one: str | None, other: str | None, same: bool) -> None:
    result = preflight([header("a.nc", 60000, 10, calendar=one), header("b.nc", 60010, 10, calendar=other)])
    assert ("calendar" not in codes(result)) == same


@pytest.mark.parametrize(
    ("units", "calendar", "code"),
    [
        ("months since 1850-01-01", "noleap", "time_undecodable"),
        ("days since the flood", "noleap", "time_undecodable"),
        ("days since 0000-01-01", "standard", "time_undecodable"),
        ("days since 1850-01-01", "lunar", "calendar_unknown"),
    ],
)
def test_times_that_nobody_can_decode_are_refused(units: str, calendar: str, code: str) -> None:
    result = preflight([header("a.nc", 0, 10, units=units, calendar=calendar)])
    assert errors(result) == [code]
    assert the(result, code).remedy


def test_months_are_understood_where_all_have_thirty_days() -> None:
    result = preflight([header("a.nc", 0, 10, units="months since 1850-01-01", calendar="360_day")])
    assert (result.verdict, result.findings) == (Verdict.VIRTUALISE, ())


def test_numbers_that_are_no_dates_join_by_their_numbers() -> None:
    files = [header(f"{n}.nc", n * 10, 10, units="1", calendar=None) for n in (1, 0)]
    result = preflight(files)
    assert codes(result) == ["time_not_dates", "order"]
    assert names(result) == [["0.nc", "1.nc"]]


@pytest.mark.parametrize(
    ("times", "code", "words"),
    [
        ([0, 1, 1, 2], "time_not_increasing", "does not increase from step 2 (1850-01-02) to step 3 (1850-01-02)"),
        ([3, 2, 1], "time_not_increasing", "from step 1 (1850-01-04) to step 2 (1850-01-03)"),
        ([0, np.nan, 2], "time_missing", "'time' in 'a.nc' has missing values"),
        ([0, 9.969209968386869e36], "time_undecodable", "cannot be decoded"),
        (np.array([]), "no_steps", "'time' in 'a.nc' has no steps"),
    ],
)
def test_times_inside_a_file_have_to_increase(times: Any, code: str, words: str) -> None:
    shape = (len(times), NY, NX)
    tas = loaded("tas", ("time", "lat", "lon"), np.zeros(shape, "f4"))
    result = preflight([header("a.nc", 0, 0, times=times, tas=tas)])
    assert words in the(result, code).message
    assert result.verdict is Verdict.CONVERT


def test_files_are_put_in_the_order_of_their_times() -> None:
    result = preflight([header("a.nc", 20, 10), header("b.nc", 0, 10), header("c.nc", 10, 10)])
    assert result.verdict is Verdict.VIRTUALISE
    assert names(result) == [["b.nc", "c.nc", "a.nc"]]
    assert the(result, "order").severity is Severity.INFO


def test_files_that_overlap_are_named_with_their_times() -> None:
    result = preflight([header("a.nc", 0, 10), header("b.nc", 9, 10), header("c.nc", 19, 10)])
    assert the(result, "overlap").message == (
        "The times of 'b.nc' (1850-01-10 to 1850-01-19) overlap with those of 'a.nc' (1850-01-01 to 1850-01-10)."
    )
    assert result.verdict is Verdict.IN_GROUPS
    assert names(result) == [["a.nc"], ["b.nc", "c.nc"]]


def test_of_overlapping_files_each_group_has_as_few_gaps_as_can_be() -> None:
    result = preflight(
        [header("a.nc", 0, 10), header("extra.nc", 3, 4), header("b.nc", 10, 10), header("c.nc", 20, 10)]
    )
    assert names(result) == [["a.nc", "b.nc", "c.nc"], ["extra.nc"]]
    assert codes(result) == ["overlap"]


def test_a_file_given_twice_is_a_duplicate_whatever_its_units() -> None:
    hours = header("b.nc", 0, 10, step=24, units="hours since 1850-01-01")
    result = preflight([header("a.nc", 0, 10), hours])
    assert errors(result) == ["duplicate"]


def test_a_file_given_twice_is_in_no_second_cube() -> None:
    result = preflight([header("a.nc", 0, 10), header("copy.nc", 0, 10), header("b.nc", 10, 10)])
    finding = the(result, "duplicate")
    assert finding.message == "The times of 'copy.nc' are those of 'a.nc' once more (1850-01-01 to 1850-01-10)."
    assert finding.remedy == "Remove it; cubes are made without it."
    assert names(result) == [["a.nc", "b.nc"]]
    assert result.verdict is Verdict.IN_GROUPS
    assert result.summary == "Virtualise as one cube, without 1 of the 3 files: duplicate."


def test_of_a_file_and_its_copy_that_is_packed_otherwise_the_one_stays_that_is_like_the_others() -> None:
    copy = header("copy.nc", 0, 10, tas=pointed((10, NY, NX), (2, NY, NX)))
    result = preflight([copy, header("a.nc", 0, 10), header("b.nc", 10, 10)])
    assert the(result, "duplicate").subject == "copy.nc: time"
    assert names(result) == [["a.nc", "b.nc"]]


def test_files_that_are_converted_have_no_copies_among_them_either() -> None:
    odd = replace(pointed((10, NY, NX), (1, NY, NX)), unsupported="szip", grid=None)
    result = preflight([header("a.nc", 0, 10), header("copy.nc", 0, 10, tas=odd), header("b.nc", 10, 10)])
    assert result.verdict is Verdict.CONVERT
    assert names(result) == [["a.nc", "b.nc"]]


def test_the_same_times_on_another_grid_are_no_copy() -> None:
    other = loaded("lat", ("lat",), [-60, 0.5, 60.0], units="degrees_north")
    result = preflight([header("a.nc", 0, 10), with_array(header("b.nc", 0, 10), other)])
    assert errors(result) == ["coordinate", "overlap"]
    assert names(result) == [["a.nc"], ["b.nc"]]


def test_a_short_file_inside_a_long_one_overlaps_with_it() -> None:
    result = preflight([header("long.nc", 0, 100), header("short.nc", 5, 5), header("next.nc", 50, 10)])
    assert [f.subject for f in result.findings if f.code == "overlap"] == ["short.nc: time", "next.nc: time"]


def test_many_overlaps_are_counted() -> None:
    result = preflight([header(f"{n:02d}.nc", n * 0.5, 10) for n in range(20)])
    overlaps = [finding.message for finding in result.findings if finding.code == "overlap"]
    assert len(overlaps) == 6
    assert overlaps[-1] == (
        "There are 14 more findings of this kind on 'time', in '06.nc', '07.nc', '08.nc' and 11 more."
    )


def monthly(name: str, year: int, months: Sequence[int], calendar: str = "standard") -> FileHeader:
    dates = [cftime.datetime(year, month, 15, calendar=calendar) for month in months]
    return header(name, 0, 0, times=cftime.date2num(dates, "days since 1850-01-01", calendar), calendar=calendar)


def test_months_of_unequal_length_have_no_gap() -> None:
    files = [monthly(f"{year}.nc", year, range(1, 13)) for year in (1999, 2000, 2001)]
    assert preflight(files).findings == ()


def test_a_missing_month_is_a_gap_with_the_dates_on_both_sides() -> None:
    result = preflight([monthly("a.nc", 2000, range(1, 12)), monthly("b.nc", 2001, range(1, 13))])
    finding = the(result, "gap")
    assert finding.message == (
        "Time steps are missing between 'a.nc' (ends 2000-11-15) and 'b.nc' (begins 2001-01-15): 61 days where 31 days "
        "are usual."
    )
    assert finding.severity is Severity.WARNING
    assert result.verdict is Verdict.VIRTUALISE


def test_a_gap_inside_a_file_is_found() -> None:
    result = preflight([monthly("a.nc", 2000, (1, 2, 3, 6, 7, 9))])
    assert "inside 'a.nc', between 2000-03-15 and 2000-06-15, and at 1 more places" in the(result, "gap").message


def test_single_months_far_apart_are_a_gap_by_their_bounds() -> None:
    files = [
        with_array(
            one, replace(one.arrays["time"], attributes={**one.arrays["time"].attributes, "bounds": "time_bnds"})
        )
        for one in (
            header(f"{n}.nc", start, 1, others=[loaded("time_bnds", ("time", "bnds"), [[start - 15, start + 15]])])
            for n, start in enumerate((15.0, 745.0))
        )
    ]
    assert "2 years where 30 days are usual" in the(preflight(files), "gap").message


def test_steps_of_a_climatology_do_not_follow_each_other() -> None:
    one = monthly("a.nc", 2000, (1, 2, 7))
    told = replace(one.arrays["time"], attributes={**one.arrays["time"].attributes, "climatology": "climatology_bnds"})
    assert preflight([with_array(one, told)]).findings == ()


def test_fixed_fields_do_not_join() -> None:
    def fixed(name: str) -> FileHeader:
        tas = pointed((NY, NX), (NY, NX), dims=("lat", "lon"))
        made = header(name, 0, 1, tas=tas)
        arrays = {key: array for key, array in made.arrays.items() if key != "time"}
        return replace(made, arrays=arrays, dimensions={"lat": NY, "lon": NX})

    assert preflight([fixed("a.nc")]).findings == ()
    result = preflight([fixed("a.nc"), fixed("b.nc")])
    assert errors(result) == ["no_time"]
    assert names(result) == [["a.nc"], ["b.nc"]]


def test_steps_without_times_can_stand_alone_only() -> None:
    made = [header(f"{n}.nc", 0, 3) for n in range(2)]
    bare = [replace(one, arrays={k: v for k, v in one.arrays.items() if k != "time"}) for one in made]
    assert preflight(bare[:1]).verdict is Verdict.VIRTUALISE
    assert preflight(bare).verdict is Verdict.IN_GROUPS


# -- efficiency and cost -----------------------------------------------------------------------------------------------


def big(shape: tuple[int, ...], chunks: tuple[int, ...] | None) -> Preflight:
    return preflight([header("a.nc", 0, shape[0], tas=pointed(shape, chunks))])


def test_chunks_of_one_cell_make_maps_impossible() -> None:
    result = big((3650, 192, 384), (3650, 1, 1))
    finding = the(result, "spatial_chunk_of_one")
    assert finding.message == (
        "'tas' in 'a.nc' has chunks of (3650, 1, 1), one cell wide: one map is read from 73,728 chunks."
    )
    assert result.verdict is Verdict.CONVERT
    assert result.cost.virtual_map.seconds > 100 * result.cost.converted_map.seconds
    assert result.cost.virtual_series.seconds < result.cost.virtual_map.seconds


def test_chunks_of_one_cell_on_a_small_grid_are_a_warning() -> None:
    result = big((10, 4, 4), (10, 1, 1))
    assert codes(result) == ["spatial_chunk_of_one"]
    assert result.verdict is Verdict.VIRTUALISE


@pytest.mark.parametrize(
    ("shape", "chunks", "code", "severity"),
    [
        ((400, 400, 400), None, "contiguous", Severity.WARNING),
        ((4, 40, 40), None, "contiguous", Severity.INFO),
        ((10, 500, 1440), (1, 500, 1440), "wide_chunk", Severity.WARNING),
        ((11_000, 40, 40), (1, 40, 40), "tiny_chunks", Severity.WARNING),
        ((3650, 2, 3), (1, 2, 3), "tiny_chunks", Severity.WARNING),
        ((500, 600, 900), (500, 600, 900), "huge_chunk", Severity.WARNING),
    ],
)
def test_chunks_that_read_slowly_are_said(
    shape: tuple[int, ...], chunks: tuple[int, ...] | None, code: str, severity: Severity
) -> None:
    result = big(shape, chunks)
    assert codes(result) == [code]
    assert the(result, code).severity is severity
    assert result.verdict is Verdict.VIRTUALISE


def test_usual_chunks_say_nothing() -> None:
    assert big((365, 192, 384), (1, 192, 384)).findings == ()


def test_estimates_meet_what_was_measured() -> None:
    # 40 files of 365 x 192 x 384 in 2.33 GB: conversion 18.3 s, references 0.3 s, series of 3650 steps 3.3 to 3.7 s.
    tas = pointed((365, 192, 384), (1, 192, 384))
    assert tas.grid is not None
    tas = replace(tas, grid=ChunkGrid(tas.grid.offsets, np.full(tas.grid.shape, 2.33e9 / 14600, np.uint64)))
    cost = preflight([header(f"{n:02d}.nc", 365 * n, 365, tas=tas) for n in range(40)]).cost
    assert cost.conversion.seconds == pytest.approx(18.3, rel=0.1)
    assert cost.conversion.bytes == pytest.approx(0.98 * 2.33e9, rel=0.01)
    assert cost.references.seconds == pytest.approx(0.3, rel=0.1)
    assert cost.virtual_series.seconds / 4 == pytest.approx(3.5, rel=0.25)
    assert cost.virtual_map.seconds < 0.014
    assert cost.converted_series.seconds / 4 == pytest.approx(0.018, rel=1)


# -- how it is shown ---------------------------------------------------------------------------------------------------


def test_what_is_the_same_in_many_files_is_one_finding() -> None:
    odd = pointed((10, NY, NX), (1, NY, NX), attributes={**FILL, "units": "degC"})
    files = [header(f"{n:03d}.nc", n * 10, 10, tas=odd if n % 4 == 0 else None) for n in range(100)]
    finding = the(preflight(files), "units")
    assert finding.message == (
        "The attribute units of 'tas' is 'degC' in '000.nc', '004.nc', '008.nc' and 22 more, but 'K' in '001.nc', "
        "'002.nc', '003.nc' and 72 more."
    )
    assert finding.subject == "000.nc, 004.nc, 008.nc and 22 more: tas"


def test_the_notebook_shows_the_worst_first_and_what_both_ways_cost() -> None:
    odd = pointed((10, NY, NX), (1, NY, NX), attributes={**FILL, "units": "<b>degC</b>"})
    shown = preflight([header("a.nc", 0, 10), header("b.nc", 40, 10), header("c.nc", 20, 10, tas=odd)])._repr_html_()
    assert shown.index("error") < shown.index("warning")
    assert "&lt;b&gt;degC" in shown and "<b>" not in shown
    words = re.sub(r"<[^>]+>", " ", shown)
    assert "Virtualise in 2 groups, each a cube of its own; what keeps them apart: units." in words
    for told in ("through references", "converted to Zarr", "to read one map", "to read one point over all time"):
        assert told in words


def test_every_message_is_one_sentence_that_names_a_file() -> None:
    odd = [tas for tas, _, _ in DIFFERENT.values()]
    results = [preflight([header("a.nc", 0, 10), header("b.nc", 9, 10, tas=tas)]) for tas in odd]
    results += [big((3650, 192, 384), (3650, 1, 1)), preflight([header("a.nc", 0, 0, times=[3, 2], calendar="lunar")])]
    for finding in (finding for result in results for finding in result.findings):
        assert re.search(r"'[ab]\.nc'", finding.message)
        assert finding.message.endswith(".") and ". " not in finding.message
        assert finding.remedy or finding.severity is Severity.INFO


def test_the_record_survives_json() -> None:
    result = preflight([header("a.nc", 0, 10), header("b.nc", 5, 10)])
    assert Preflight.model_validate_json(result.model_dump_json()) == result


# -- laws --------------------------------------------------------------------------------------------------------------

ODDITIES: list[dict[str, Any]] = [
    {},
    {"tas": pointed((6, NY, NX), (4, NY, NX))},
    {"tas": pointed((6, NY, NX))},
    {"tas": DIFFERENT["units"][0]},
    {"calendar": "360_day"},
    {"units": "hours since 1900-01-01"},
    {"times": np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])},
    {"others": [loaded("height", (), 10.0)]},
    {"others": [loaded("orog", ("lat", "lon"), np.zeros((NY, NX)))]},
    {"tas": pointed((6, NY, NX), (1, NY, NX), written=0.5)},
    {"tas": loaded("tas", ("time", "lat", "lon"), np.zeros((6, NY, NX), "f4"), **FILL)},
]


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(ODDITIES)), min_size=1, max_size=8))
def test_every_file_but_copies_is_in_one_group_and_each_group_passes_by_itself(
    chosen: list[tuple[int, dict[str, Any]]],
) -> None:
    files = [header(f"{n}.nc", start, 6, **oddity) for n, (start, oddity) in enumerate(chosen)]
    result = preflight(files)
    grouped = [address for group in result.groups for address in group]
    assert len(grouped) == len(set(grouped))
    starts = {one.address: start for one, (start, _) in zip(files, chosen, strict=True)}
    left_out = starts.keys() - set(grouped)
    assert {starts[address] for address in left_out} <= {starts[address] for address in grouped}
    assert bool(left_out) == ("duplicate" in errors(result))
    if result.verdict is Verdict.VIRTUALISE:
        assert len(result.groups) == 1
    assert (result.verdict is Verdict.VIRTUALISE) == (not errors(result))
    if result.verdict is Verdict.IN_GROUPS:
        for group in result.groups:
            again = preflight([one for address in group for one in files if one.address == address])
            assert (again.verdict, again.groups) == (Verdict.VIRTUALISE, (group,))


# -- the table of silent corruption (performance.md, section 6), on real files -----------------------------------------

Write = Callable[..., FileHeader]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Give the writer of a file of 10 steps; it returns what `read_header` says of it."""
    gate = Gate((tmp_path.resolve(),), LimitSettings())

    def make(
        number: int,
        *,
        steps: int = 10,
        start: float | None = None,
        dtype: str = "f4",
        units: str = "days since 2000-01-01",
        fill: float | None = 1e20,
        chunks: tuple[int, int, int] = (1, 5, 6),
        scale: float | None = None,
        edit: Callable[[h5py.File], None] | None = None,
        unwritten: int = 0,
        can_grow: bool = False,
        **options: Any,
    ) -> FileHeader:
        path = tmp_path / f"{number}.nc"
        with netCDF4.Dataset(path, "w") as file:
            for name, size in (("time", None if can_grow else steps), ("lat", 5), ("lon", 6)):
                file.createDimension(name, size)
            time = file.createVariable("time", "f8", ("time",))
            time.units, time.calendar = units, "noleap"
            time[:] = (number * 10 if start is None else start) + np.arange(steps)
            for name, size in (("lat", 5), ("lon", 6)):
                file.createVariable(name, "f8", (name,))[:] = np.arange(size)
            file.createVariable("height", "f8", ())[:] = 2.0
            packing = {"zlib": True, "shuffle": True, **options}
            where: dict[str, Any] = {} if options.get("contiguous") else {"chunksizes": chunks}
            tas = file.createVariable("tas", dtype, ("time", "lat", "lon"), fill_value=fill, **where, **packing)
            tas.set_auto_maskandscale(False)
            if scale:
                tas.scale_factor, tas.add_offset = scale, 273.15
            tas[: steps - unwritten] = np.arange((steps - unwritten) * 30).reshape(-1, 5, 6) % 100
        if edit is not None:
            with h5py.File(path, "r+") as opened:
                edit(opened)
        return read_header(gate, path.resolve(), ["tas"])

    return make


def store_raw(mask: int) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        file["tas"].id.write_direct_chunk((3, 0, 0), np.ones((5, 6), "f4").tobytes(), filter_mask=mask)

    return edit


@pytest.mark.parametrize(
    ("one", "other", "code", "verdict"),
    [
        ({}, {}, None, Verdict.VIRTUALISE),
        ({"edit": store_raw(3)}, {}, "filter_mask", Verdict.CONVERT),
        ({}, {"edit": store_raw(1)}, "filter_mask", Verdict.CONVERT),
        (
            {},
            {"units": "days since 2000-01-11", "start": 0},
            "time_units",
            Verdict.VIRTUALISE,
        ),
        (
            {"dtype": "i2", "fill": -1, "scale": 0.01},
            {"dtype": "i2", "fill": -1, "scale": 0.02},
            "scale_factor",
            Verdict.IN_GROUPS,
        ),
        ({}, {"fill": -999}, "fill_value", Verdict.IN_GROUPS),
        ({"chunks": (4, 5, 6)}, {"chunks": (4, 5, 6)}, "partial_chunk", Verdict.IN_GROUPS),
        ({"chunks": (1, 5, 6)}, {"chunks": (1, 5, 3)}, "chunk_shape", Verdict.IN_GROUPS),
        ({}, {"shuffle": False}, "codecs", Verdict.IN_GROUPS),
        ({}, {"fletcher32": True}, "codecs", Verdict.IN_GROUPS),
        ({}, {"zlib": False, "compression": "zstd"}, "unsupported_filter", Verdict.CONVERT),
        ({}, {"start": 5}, "overlap", Verdict.IN_GROUPS),
        ({}, {"start": 0}, "duplicate", Verdict.IN_GROUPS),
        ({"start": 20}, {}, "order", Verdict.VIRTUALISE),
        ({"dtype": ">f4", "endian": "big"}, {}, "dtype", Verdict.IN_GROUPS),
        ({"unwritten": 3}, {}, "unwritten_chunks", Verdict.VIRTUALISE),
        ({"unwritten": 3, "fill": None}, {"fill": None}, "undeclared_fill", Verdict.CONVERT),
        ({"unwritten": 3, "can_grow": True}, {}, "short_array", Verdict.CONVERT),
    ],
)
def test_what_libraries_get_wrong_in_silence_is_refused_or_predicted(
    write: Write, one: dict[str, Any], other: dict[str, Any], code: str | None, verdict: Verdict
) -> None:
    result = preflight([write(0, **one), write(1, **other)])
    assert result.verdict is verdict, result.findings
    assert code is None or code in codes(result)
    assert code is not None or result.findings == ()


def test_scalars_of_real_files_are_compared(write: Write) -> None:
    def raise_it(file: h5py.File) -> None:
        file["height"][()] = 10.0

    assert the(preflight([write(0), write(1, edit=raise_it)]), "coordinate").subject == "1.nc: height"


def test_unfiltered_pieces_of_real_files_join_whatever_their_length(write: Write) -> None:
    plain = {"contiguous": True, "zlib": False, "shuffle": False}

    def read(number: int, steps: int, start: float) -> FileHeader:
        return write(number, steps=steps, start=start, **plain)

    files = [read(0, 10, 0), read(1, 7, 10)]
    assert files[0].arrays["tas"].layout is Layout.CONTIGUOUS
    assert preflight(files).verdict is Verdict.VIRTUALISE


# -- real CMIP6 files and their traps (sources.md, section 7) ----------------------------------------------------------

real = pytest.mark.skipif(not DATA.is_dir(), reason="The folder of real files is not beside the checkout.")


def look(pattern: str) -> Preflight:
    gate = Gate((DATA.resolve(),), LimitSettings())
    found = sorted(DATA.resolve().glob(pattern))
    assert found, pattern
    return preflight([read_header(gate, path) for path in found])


@real
@pytest.mark.parametrize(
    ("pattern", "files", "expected"),
    [
        ("cmip6/**/INM-CM5-0/historical/**/*.nc", 2, ["tiny_chunks"]),
        ("cmip6/**/AWI-CM-1-1-MR/**/*.nc", 10, ["contiguous"]),
        ("cmip6/**/CanESM5/**/day/**/*.nc", 2, ["contiguous"]),
        ("cmip6/**/KACE-1-0-G/**/*.nc", 1, ["contiguous"]),
        ("cmip6/**/GFDL-CM4/**/*.nc", 1, ["contiguous"]),
        ("netcdf_other/air.nc", 1, ["contiguous"]),
        ("cmip6/**/CESM2-WACCM/**/day/tas/**/*.nc", 1, ["tiny_chunks"]),
        ("cmip6/**/AWI-ESM-1-1-LR/**/*.nc", 2, ["gap"]),
        ("cmip6/**/MPI-ESM1-2-HR/**/siconc/**/*.nc", 33, ["tiny_chunks"]),
        ("cmip6/**/MIROC6/ssp119/**/ta/**/*.nc", 1, []),
        ("cmip6/**/HadGEM3-GC31-MM/**/*.nc", 12, []),
        ("cmip6/**/EC-Earth3/**/*.nc", 2, []),
        ("cmip6/**/mrsofc_fx_*.nc", 1, []),
        ("cmip6/**/tos_Omon_CESM2-FV2*.nc", 1, []),
    ],
)
def test_real_cubes_join_and_their_traps_are_said(pattern: str, files: int, expected: list[str]) -> None:
    result = look(pattern)
    assert result.verdict is Verdict.VIRTUALISE, result.findings
    assert [len(group) for group in result.groups] == [files]
    assert codes(result) == expected


@real
def test_the_historical_run_and_its_scenario_follow_each_other_in_time() -> None:
    result = look("cmip6/**/INM-CM5-0/**/*.nc")
    assert result.verdict is Verdict.VIRTUALISE
    assert [len(group) for group in result.groups] == [3]


@real
def test_netcdf3_inside_cmip6_is_said_before_anything_starts() -> None:
    assert "netcdf3" in codes(look("cmip6/**/FGOALS-g3/**/*.nc"))


@real
def test_files_of_different_models_in_one_folder_become_groups() -> None:
    gate = Gate((DATA.resolve(),), LimitSettings())
    paths = [*sorted(DATA.resolve().glob("cmip6/**/AWI-CM-1-1-MR/**/*.nc"))[:3]]
    paths += sorted(DATA.resolve().glob("cmip6/**/KACE-1-0-G/**/*.nc"))
    result = preflight([read_header(gate, path) for path in paths])
    assert result.verdict is Verdict.IN_GROUPS
    assert sorted(len(group) for group in result.groups) == [1, 3]
    assert {"calendar", "coordinate"} <= set(errors(result))
