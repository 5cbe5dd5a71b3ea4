"""Virtual cubes against xarray's open_mfdataset: equal, or refused with the reason."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pystac
import pytest
import xarray as xr

from geoetl.core.errors import EmptyDataset, InvalidParameter, NotCMIP6, VerificationFailed
from geoetl.core.identifiers import file_digest
from geoetl.store.samples import sample_path
from geoetl.virtual import CubeRequest, CubeVirtualiser
from geoetl.virtual.outcome import CubeOutcome, VirtualCube
from geoetl.virtual.write import CubeFormat
from tests.schemas import schema_errors
from tests.virtual.conftest import Slice

CODER = xr.coders.CFDatetimeCoder(use_cftime=True)


def outcome(virtualiser: CubeVirtualiser, source: Path, **more: Any) -> CubeOutcome:
    request = CubeRequest(source=str(source), collection="c", **more)
    (cube,) = virtualiser.inventory(request).cubes
    return virtualiser.builder(request)(cube)


def build(virtualiser: CubeVirtualiser, source: Path, **more: Any) -> VirtualCube:
    made = outcome(virtualiser, source, **more)
    assert made.refused is None
    (cube,) = made.cubes
    return cube


def refusal(virtualiser: CubeVirtualiser, source: Path, **more: Any) -> str:
    made = outcome(virtualiser, source, **more)
    assert not made.cubes
    assert made.refused is not None
    return made.refused


def opened(virtualiser: CubeVirtualiser, cube: VirtualCube) -> xr.Dataset:
    if cube.format is CubeFormat.JSON:
        path = virtualiser.zone.local_path(cube.references.key)
    else:
        path = virtualiser.zone.local_folder(cube.references.key)
    if cube.format is CubeFormat.ZARR:
        return virtualiser.gate.open_zarr(path, decode_times=CODER)
    if cube.format is CubeFormat.ICECHUNK:
        return virtualiser.gate.open_icechunk(path, decode_times=CODER)
    return virtualiser.gate.open_references(path, decode_times=CODER)


def mfdataset(*paths: Path) -> xr.Dataset:
    return xr.open_mfdataset(
        paths, engine="netcdf4", combine="nested", concat_dim="time", data_vars="minimal", coords="minimal",
        compat="override", join="override", decode_times=CODER,
    )  # fmt: skip


def assert_same(virtual: xr.Dataset, expected: xr.Dataset) -> None:
    for name in [*expected.coords, *expected.data_vars]:
        np.testing.assert_array_equal(virtual[name].to_numpy(), expected[name].to_numpy(), err_msg=str(name))
        assert virtual[name].dtype == expected[name].dtype
    assert virtual["tas"].attrs == expected["tas"].attrs


def test_the_cube_equals_open_mfdataset(virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice) -> None:
    paths = [write_slice("1850-01-01", 12), write_slice("1851-01-01", 24), write_slice("1853-01-01", 3)]
    cube = build(virtualiser, tree)
    assert_same(opened(virtualiser, cube), mfdataset(*paths))
    assert cube.verification.chunks_compared == cube.verification.chunks_total == 39
    assert cube.verification.times_compared == 39


def test_a_scalar_coordinate_keeps_its_value(virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice) -> None:
    write_slice("1850-01-01", 12)
    assert float(opened(virtualiser, build(virtualiser, tree))["height"]) == 2.0


def test_other_epochs_give_the_right_dates(virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice) -> None:
    paths = [write_slice("1850-01-01", 12), write_slice("1851-01-01", 12, epoch="days since 1930-01-01")]
    assert_same(opened(virtualiser, build(virtualiser, tree)), mfdataset(*paths))


@pytest.mark.parametrize(
    ("oddity", "says"),
    [
        ({"encoding": {"dtype": "i2", "scale_factor": 0.01, "add_offset": 250.0, "_FillValue": -32768}}, "type of"),
        ({"encoding": {"_FillValue": np.float32(-999)}}, "_FillValue|fill value"),
        ({"attrs": {"units": "degC"}}, "units"),
        ({"encoding": {"shuffle": False}}, "packing of 'tas' is zlib"),
        ({"encoding": {"chunksizes": (2, 3, 4)}}, "chunks of 'tas' are (2, 3, 4)"),
        ({"latitudes": (-44.0, 0.0, 45.0)}, "'lat' in"),
        ({"calendar": "noleap"}, "calendar"),
    ],
    ids=["packed", "fill", "units", "codec", "chunks", "grid", "calendar"],
)
def test_files_that_differ_in_meaning_are_refused_naming_file_and_attribute(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice, oddity: dict[str, Any], says: str
) -> None:
    write_slice("1850-01-01", 12)
    odd = write_slice("1851-01-01", 12, **oddity)
    refused = refusal(virtualiser, tree)
    assert np.any([part in refused for part in says.split("|")]), refused
    assert odd.name in refused
    assert not (virtualiser.zone.root or Path()).exists()


def test_two_packings_are_refused(virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice) -> None:
    packed = {"dtype": "i2", "add_offset": 250.0, "_FillValue": -32768}
    write_slice("1850-01-01", 12, encoding={**packed, "scale_factor": 0.01})
    write_slice("1851-01-01", 12, encoding={**packed, "scale_factor": 0.02})
    refused = refusal(virtualiser, tree)
    assert "scale_factor of 'tas' is 0.02 in" in refused
    assert "but 0.01 in" in refused


def test_a_packed_cube_equals_its_source(virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice) -> None:
    packed = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 250.0, "_FillValue": -32768}
    paths = [write_slice("1850-01-01", 12, encoding=packed), write_slice("1851-01-01", 12, encoding=packed)]
    assert_same(opened(virtualiser, build(virtualiser, tree)), mfdataset(*paths))


def test_overlapping_files_are_refused(virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice) -> None:
    write_slice("1850-01-01", 18)
    write_slice("1851-01-01", 12)
    refused = refusal(virtualiser, tree)
    assert "1851-01-01" in refused


def test_contiguous_files_of_unequal_length_are_joined(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice
) -> None:
    plain = {"zlib": False, "shuffle": False, "chunksizes": None, "contiguous": True}
    paths = [write_slice("1850-01-01", 12, encoding=plain), write_slice("1851-01-01", 7, encoding=plain)]
    assert_same(opened(virtualiser, build(virtualiser, tree)), mfdataset(*paths))


def test_netcdf3_is_referenced_too(virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice) -> None:
    path = write_slice("1850-01-01", 12, format="NETCDF3_CLASSIC")
    assert_same(opened(virtualiser, build(virtualiser, tree)), mfdataset(path))


def test_a_file_of_its_own_is_one_cube(virtualiser: CubeVirtualiser, tmp_path: Path) -> None:
    copy = tmp_path / "air_temperature_small.nc"
    copy.write_bytes(sample_path("air_temperature_small.nc").read_bytes())
    cube = build(virtualiser, copy, naming="file")
    with xr.open_dataset(copy, engine="netcdf4") as expected:
        np.testing.assert_array_equal(opened(virtualiser, cube)["air"].to_numpy(), expected["air"].to_numpy())
    assert cube.description.bbox == (-161.25, 13.75, -28.75, 76.25)


def test_the_latest_version_wins(virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice) -> None:
    path = write_slice("1850-01-01", 12)
    newer = path.parent.parent / "v20200101" / path.name
    newer.parent.mkdir()
    newer.write_bytes(path.read_bytes())
    inventory = virtualiser.inventory(CubeRequest(source=str(tree), collection="c"))
    assert [cube.facets["version"] for cube in inventory.cubes] == ["v20200101"]
    assert [left.reason[:32] for left in inventory.left_out] == ["Version v20190308 is superseded "]


def test_the_item_keeps_the_calendar_and_gregorian_extents(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice
) -> None:
    write_slice("1850-01-01", 12)
    request = CubeRequest(source=str(tree), collection="c")
    (item,) = virtualiser.items(request, [build(virtualiser, tree)], None)
    properties = item["properties"]
    assert properties["cube:dimensions"]["time"] == {
        "type": "temporal", "extent": [0.0, 330.0], "unit": "days since 1850-01-01", "reference_system": "360_day",
    }  # fmt: skip
    assert (properties["start_datetime"], properties["end_datetime"]) == (
        "1850-01-01T00:00:00Z",
        "1850-12-01T00:00:00Z",
    )
    assert item["bbox"] == [-180.0, -67.5, 180.0, 67.5]
    assert properties["cmip6:source_id"] == "CESM2"
    assert "all" not in properties["processing:lineage"]


def test_what_is_no_cmip6_is_told_what_to_do(virtualiser: CubeVirtualiser, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    with pytest.raises(EmptyDataset, match="holds no NetCDF file"):
        virtualiser.inventory(CubeRequest(source=str(folder), collection="c"))
    (folder / "air.nc").write_bytes(b"CDF\x01")
    with pytest.raises(NotCMIP6, match=r"'air\.nc' does not follow") as caught:
        virtualiser.inventory(CubeRequest(source=str(folder / "air.nc"), collection="c"))
    assert "naming=file" in str(caught.value.hint)


def test_a_selection_is_checked(virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice) -> None:
    write_slice("1850-01-01", 12)
    with pytest.raises(InvalidParameter) as caught:
        virtualiser.inventory(CubeRequest(source=str(tree), collection="c", select={"source": ["CESM2"]}))
    assert caught.value.hint == "Did you mean 'source_id'?"
    with pytest.raises(EmptyDataset, match="keeps none of the 1 files"):
        virtualiser.inventory(CubeRequest(source=str(tree), collection="c", select={"source_id": ["CESM1"]}))


def test_when_every_cube_is_refused_the_first_reason_is_given(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice
) -> None:
    write_slice("1850-01-01", 12)
    write_slice("1851-01-01", 12, attrs={"units": "degC"})
    with pytest.raises(VerificationFailed, match="No cube could be virtualised"):
        virtualiser.accepted([outcome(virtualiser, tree)])


def replace_tas(path: Path) -> h5py.Dataset:
    """Replace the variable by an empty one of the same form, and return it; its file stays open."""
    file = h5py.File(path, "r+")
    del file["tas"]
    new = file.create_dataset(
        "tas",
        shape=(12, 3, 4),
        chunks=(1, 3, 4),
        dtype="f4",
        compression="gzip",
        shuffle=True,
        fillvalue=np.float32(1e20),
    )
    new.attrs["_FillValue"] = np.array([1e20], "f4")
    for number, name in enumerate(("time", "lat", "lon")):
        new.dims[number].attach_scale(file[name])
    return new


def test_a_chunk_stored_without_its_filters_is_refused(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice
) -> None:
    path = write_slice("1850-01-01", 12)
    write_slice("1851-01-01", 12)
    new = replace_tas(path)
    new.id.write_direct_chunk((3, 0, 0), np.zeros((3, 4), "f4").tobytes(), filter_mask=3)
    new.file.close()
    refused = refusal(virtualiser, tree)
    assert "chunk (3, 0, 0)" in refused
    assert path.name in refused


def test_chunks_that_were_never_written_read_as_missing(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice
) -> None:
    path = write_slice("1850-01-01", 12)
    new = replace_tas(path)
    new[4] = 1.0
    new.file.close()
    values = opened(virtualiser, build(virtualiser, tree))["tas"].to_numpy()
    with xr.open_dataset(path, engine="h5netcdf", decode_times=CODER) as expected:
        np.testing.assert_array_equal(values, expected["tas"].to_numpy())
    assert np.isnan(values[0]).all()
    assert (values[4] == 1).all()


@pytest.mark.parametrize("name", ["with space", "with#hash", "with%41percent", "wíth-ümlaut", "with'quote", "with!"])
def test_a_path_of_any_name_is_referenced(virtualiser: CubeVirtualiser, tmp_path: Path, name: str) -> None:
    copy = tmp_path / name / f"{name}.nc"
    copy.parent.mkdir()
    copy.write_bytes(sample_path("air_temperature_small.nc").read_bytes())
    cube = build(virtualiser, copy, naming="file")
    with xr.open_dataset(copy, engine="netcdf4") as expected:
        np.testing.assert_array_equal(opened(virtualiser, cube)["air"].to_numpy(), expected["air"].to_numpy())


def test_rounding_noise_in_coordinates_is_no_other_grid(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice
) -> None:
    paths = [write_slice("1850-01-01", 12), write_slice("1851-01-01", 12, latitudes=(-45.0, 1e-14, 45.0))]
    assert_same(opened(virtualiser, build(virtualiser, tree)), mfdataset(*paths))


def test_files_of_one_name_in_two_folders_are_two_cubes(virtualiser: CubeVirtualiser, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / "x.nc").write_bytes(sample_path("air_temperature_small.nc").read_bytes())
    request = CubeRequest(source=str(tmp_path / "in"), collection="c", naming="file")
    assert [cube.id for cube in virtualiser.inventory(request).cubes] == ["a.x", "b.x"]


def test_a_damaged_file_does_not_stop_the_others(virtualiser: CubeVirtualiser, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    whole = sample_path("air_temperature_small.nc").read_bytes()
    (folder / "a.nc").write_bytes(whole)
    (folder / "b.nc").write_bytes(whole[:20_000])
    request = CubeRequest(source=str(folder), collection="c", naming="file")
    inventory = virtualiser.inventory(request)
    cubes = [virtualiser.builder(request)(files) for files in inventory.cubes]
    assert [cube.files.id for cube in virtualiser.accepted(cubes)] == ["a"]
    (reason,) = virtualiser.outcomes(inventory, cubes).left_out
    assert reason.startswith("b: ")


@pytest.mark.parametrize("format", [CubeFormat.JSON, CubeFormat.PARQUET, CubeFormat.ICECHUNK, CubeFormat.ZARR])
def test_every_format_equals_open_mfdataset(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice, format: CubeFormat
) -> None:
    paths = [write_slice("1850-01-01", 12), write_slice("1851-01-01", 7)]
    cube = build(virtualiser, tree, format=format)
    assert cube.format is format
    assert_same(opened(virtualiser, cube), mfdataset(*paths))


@pytest.mark.parametrize("format", [CubeFormat.JSON, CubeFormat.PARQUET, CubeFormat.ICECHUNK, CubeFormat.ZARR])
def test_the_item_of_every_format_is_valid_stac(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice, format: CubeFormat
) -> None:
    write_slice("1850-01-01", 12)
    request = CubeRequest(source=str(tree), collection="c")
    (item,) = virtualiser.items(request, [build(virtualiser, tree, format=format)], "internal://runs/x.ipynb")
    assert schema_errors(item) == []
    assert pystac.Item.from_dict(item).to_dict(include_self_link=False)["assets"].keys() == item["assets"].keys()


def test_files_that_disagree_are_split_into_cubes_when_asked(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice
) -> None:
    kelvin = [write_slice("1850-01-01", 12), write_slice("1852-01-01", 12)]
    celsius = write_slice("1851-01-01", 12, attrs={"units": "degC"})
    made = outcome(virtualiser, tree, when_refused="split")
    assert [cube.files.id[-7:] for cube in made.cubes] == [".part-1", ".part-2"]
    assert_same(opened(virtualiser, made.cubes[0]), mfdataset(*kelvin))
    assert_same(opened(virtualiser, made.cubes[1]), mfdataset(celsius))
    assert made.preflight is not None
    assert "units" in [finding.code for finding in made.preflight.findings]


def test_files_that_cannot_be_referenced_are_converted_when_asked(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice
) -> None:
    packed = {"dtype": "i2", "add_offset": 250.0, "_FillValue": -32768}
    paths = [
        write_slice("1850-01-01", 12, encoding={**packed, "scale_factor": 0.01}),
        write_slice("1851-01-01", 12, encoding={**packed, "scale_factor": 0.02}),
    ]
    (cube,) = outcome(virtualiser, tree, when_refused="convert").cubes
    assert cube.format is CubeFormat.ZARR
    assert_same(opened(virtualiser, cube), mfdataset(*paths))


def test_a_scale_of_32_bits_is_refused_because_json_would_widen_it(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice
) -> None:
    write_slice("1850-01-01", 12, encoding={"dtype": "i2", "scale_factor": np.float32(0.01), "_FillValue": -32768})
    assert "scale_factor of 'tas'" in refusal(virtualiser, tree)


def test_variables_and_members_are_joined_when_asked(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice
) -> None:
    first = write_slice("1850-01-01", 12)
    second = Path(str(first).replace("r1i1p1f1", "r2i1p1f1"))
    second.parent.mkdir(parents=True)
    shutil.copy(first, second)
    with h5py.File(second, "r+") as file:
        file["tas"][...] += 1
    cube = build(virtualiser, tree, join=["member"])
    whole = opened(virtualiser, cube)
    assert whole["tas"].dims == ("member_id", "time", "lat", "lon")
    assert whole["member_id"].to_numpy().tolist() == ["r1i1p1f1", "r2i1p1f1"]
    for member, path in [("r1i1p1f1", first), ("r2i1p1f1", second)]:
        np.testing.assert_array_equal(whole["tas"].sel(member_id=member), mfdataset(path)["tas"])
    assert cube.verification.chunks_compared == cube.verification.chunks_total


def test_a_name_that_says_something_else_than_the_file_is_a_warning(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice
) -> None:
    path = write_slice("1850-01-01", 12)
    with h5py.File(path, "r+") as file:
        file.attrs["source_id"] = "CESM2-WACCM"
    made = outcome(virtualiser, tree)
    assert made.preflight is not None
    (finding,) = [found for found in made.preflight.findings if found.code == "attribute_differs"]
    assert path.name in finding.message
    assert (finding.got, finding.expected) == ("CESM2-WACCM", "CESM2")


def test_a_file_that_differs_from_its_companion_checksum_is_refused_when_every_byte_is_read(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice
) -> None:
    path = write_slice("1850-01-01", 12)
    companion = path.with_name(f"{path.name}.md5")
    companion.write_text(file_digest(path, "md5"))
    assert build(virtualiser, tree, checksums="whole").references
    companion.write_text("0" * 32)
    assert build(virtualiser, tree).references
    assert "does not have the md5" in refusal(virtualiser, tree, checksums="whole")
