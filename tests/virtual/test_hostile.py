"""Hostile, damaged and odd files end as a refusal with a reason; silent corruption is refused row by row."""

import os
import random
import resource
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
from icechunk import IcechunkError

from geoetl.core.errors import GeoetlError
from geoetl.virtual import CubeVirtualiser
from geoetl.virtual.inventory import CubeFiles, FileSeries
from geoetl.virtual.outcome import CubeOutcome
from geoetl.virtual.request import CubeRequest
from geoetl.virtual.write import CubeFormat
from tests.virtual.test_differential import FORMATS, assert_same, mfdataset, reopened

EPOCH = "days since 2000-01-01"
# More memory than any header takes, above what the process has when a test begins.
HEADROOM_BYTES = 768 * 1024**2


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder inside the allowed root."""
    made = tmp_path / "in"
    made.mkdir()
    return made


@contextmanager
def hdf5(path: Path, steps: int = 4, *, first: int = 0, libver: str = "earliest") -> Iterator[h5py.File]:
    """Make a file with the coordinates of a small cube."""
    with h5py.File(path, "w", libver=libver) as file:
        coordinates = {
            "time": (np.arange(first, first + steps, dtype="f8"), EPOCH),
            "lat": (np.array([-45.0, 0.0, 45.0]), "degrees_north"),
            "lon": (np.array([0.0, 90.0, 180.0, 270.0]), "degrees_east"),
        }
        for name, (values, units) in coordinates.items():
            file[name] = values
            file[name].make_scale(name)
            file[name].attrs["units"] = units
        yield file


def tas(file: h5py.File, dims: tuple[str, ...] = ("time", "lat", "lon"), **form: Any) -> h5py.Dataset:
    """Add the variable; chunks of one step, packed, unless `form` says otherwise."""
    shape = tuple(file[dim].shape[0] for dim in dims)
    if "shape" not in form and "data" not in form:
        form["data"] = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    form = {"chunks": (1, *shape[1:]), "compression": "gzip"} | form
    return named(file, file.create_dataset("tas", **form), dims)


def named(file: h5py.File, dataset: h5py.Dataset, dims: tuple[str, ...]) -> h5py.Dataset:
    for axis, dim in enumerate(dims):
        dataset.dims[axis].attach_scale(file[dim])
    return dataset


def slices(folder: Path, odd: Callable[[h5py.File, int], None], **form: Any) -> list[Path]:
    """Write two files that follow each other; `odd` changes one when it is given its number."""
    paths = []
    for number in (0, 1):
        paths.append(folder / f"tas_{number}.nc")
        with hdf5(paths[-1], first=4 * number) as file:
            tas(file, **form)
            odd(file, number)
    return paths


def outcome(
    virtualiser: CubeVirtualiser, *paths: Path, format: CubeFormat = CubeFormat.JSON, **more: Any
) -> CubeOutcome:
    request = CubeRequest(source=str(paths[0].parent), collection="c", naming="file", format=format, **more)
    series = FileSeries(variable="tas", member=None, files=tuple(path.name for path in paths))
    return virtualiser.builder(request)(CubeFiles(id="cube", title="Cube", facets={}, series=(series,), bytes=1))


def refusal(virtualiser: CubeVirtualiser, *paths: Path, **more: Any) -> str:
    """Return why a cube is refused; the message has to name a file."""
    made = outcome(virtualiser, *paths, **more)
    assert not made.cubes
    assert made.refused is not None
    assert any(path.name in made.refused for path in paths), made.refused
    return made.refused


def place(virtualiser: CubeVirtualiser, *paths: Path, format: CubeFormat = CubeFormat.JSON) -> Path:
    """Return where the references of a cube are, that has to be made."""
    made = outcome(virtualiser, *paths, format=format)
    assert made.refused is None, made.refused
    key = made.cubes[0].references.key
    return virtualiser.zone.local_folder(key) if format.is_folder else virtualiser.zone.local_path(key)


def assert_right(virtualiser: CubeVirtualiser, *paths: Path, format: CubeFormat = CubeFormat.JSON) -> None:
    with reopened(virtualiser.gate, place(virtualiser, *paths, format=format), format) as virtual:
        with mfdataset(paths) as expected:
            assert_same(virtual, expected)


# -- the silent-corruption table: performance.md, section 6, row by row ------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "form",
    [
        {"shuffle": True},
        {"shuffle": True, "fletcher32": True},
        {"compression": None},
        {"chunks": None, "compression": None},
    ],
    ids=["shuffle", "fletcher32", "unpacked", "contiguous"],
)
def test_plain_files_are_right(
    virtualiser: CubeVirtualiser, folder: Path, format: CubeFormat, form: dict[str, Any]
) -> None:
    assert_right(virtualiser, *slices(folder, lambda file, number: None, **form), format=format)


@pytest.mark.parametrize("format", FORMATS)
def test_packed_values_with_fill_and_unwritten_chunks_are_right(
    virtualiser: CubeVirtualiser, folder: Path, format: CubeFormat
) -> None:
    path = folder / "tas_0.nc"
    with hdf5(path) as file:
        dataset = tas(file, shape=(4, 3, 4), dtype="i2", fillvalue=-99)
        dataset[1] = np.arange(12).reshape(3, 4)
        dataset[1, 0, 0] = -99
        dataset.attrs.update({"_FillValue": np.array([-99], "i2"), "scale_factor": 0.1, "add_offset": 250.0})
    assert_right(virtualiser, path, format=format)


@pytest.mark.parametrize("format", FORMATS)
def test_a_scalar_coordinate_is_right(virtualiser: CubeVirtualiser, folder: Path, format: CubeFormat) -> None:
    def height(file: h5py.File, number: int) -> None:
        file["height"] = 2.0
        file["tas"].attrs["coordinates"] = "height"

    paths = slices(folder, height)
    assert_right(virtualiser, *paths, format=format)
    with reopened(virtualiser.gate, place(virtualiser, *paths, format=format), format) as virtual:
        assert float(virtual["height"]) == 2.0


@pytest.mark.parametrize("mask", [1, 2, 3])
@pytest.mark.parametrize("format", FORMATS)
def test_a_chunk_stored_without_a_filter_is_refused(
    virtualiser: CubeVirtualiser, folder: Path, mask: int, format: CubeFormat
) -> None:
    def masked(file: h5py.File, number: int) -> None:
        if number:
            raw = np.ones((3, 4), "f4").tobytes()
            file["tas"].id.write_direct_chunk((2, 0, 0), raw if mask & 2 else zlib.compress(raw), filter_mask=mask)

    paths = slices(folder, masked, shuffle=True)
    reason = refusal(virtualiser, *paths, format=format)
    assert "chunk (2, 0, 0) of 'tas' in 'tas_1.nc' was stored without one of the filters" in reason


@pytest.mark.parametrize("format", FORMATS)
def test_other_time_units_are_right(virtualiser: CubeVirtualiser, folder: Path, format: CubeFormat) -> None:
    def hours(file: h5py.File, number: int) -> None:
        if number:
            file["time"].attrs["units"] = "hours since 1990-01-01"
            file["time"][...] = 24 * (file["time"][...] + 3652)

    paths = slices(folder, hours)
    assert_right(virtualiser, *paths, format=format)
    with reopened(virtualiser.gate, place(virtualiser, *paths, format=format), format) as virtual:
        assert [str(date)[:10] for date in virtual["time"].values] == [f"2000-01-0{day}" for day in range(1, 9)]


def attribute(name: str, *values: Any) -> Callable[[h5py.File, int], None]:
    def put(file: h5py.File, number: int) -> None:
        file["tas"].attrs[name] = values[number]

    return put


def fill(*values: float) -> Callable[[h5py.File, int], None]:
    return attribute("_FillValue", *(np.array([value], "f4") for value in values))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (attribute("scale_factor", 0.1, 0.2), "scale_factor of 'tas' is 0.2 in 'tas_1.nc', but 0.1 in 'tas_0.nc'"),
        (attribute("add_offset", 0.0, 250.0), "add_offset of 'tas' is 250.0 in 'tas_1.nc', but 0.0 in 'tas_0.nc'"),
        (fill(-1.0, -2.0), "_FillValue of 'tas' is -2.0 in 'tas_1.nc', but -1.0 in 'tas_0.nc'"),
        (attribute("missing_value", 1.0, 2.0), "missing_value of 'tas' is 2.0 in 'tas_1.nc'"),
        (attribute("units", "K", "degC"), "units of 'tas' is 'degC' in 'tas_1.nc', but 'K' in 'tas_0.nc'"),
    ],
    ids=["scale", "offset", "fill", "missing", "units"],
)
def test_attributes_that_differ_are_refused(
    virtualiser: CubeVirtualiser, folder: Path, odd: Callable[[h5py.File, int], None], says: str, format: CubeFormat
) -> None:
    assert says in refusal(virtualiser, *slices(folder, odd), format=format)


def rewritten(**form: Any) -> Callable[[h5py.File, int], None]:
    """Give what stores the variable of the second file in another way."""

    def rewrite(file: h5py.File, number: int) -> None:
        if number:
            values = file["tas"][...]
            del file["tas"]
            tas(file, **{"data": values, **form})

    return rewrite


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (rewritten(chunks=(2, 3, 4)), "chunks of 'tas' are (2, 3, 4) in 'tas_1.nc', but (1, 3, 4) in 'tas_0.nc'"),
        (rewritten(compression=None), "packing of 'tas' is none in 'tas_1.nc', but zlib in 'tas_0.nc'"),
        (rewritten(shuffle=True), "packing of 'tas' is shuffle"),
        (rewritten(data=np.zeros((4, 3, 4))), "data type of 'tas' is float64"),
        (rewritten(data=np.zeros((4, 3, 4), ">f4")), "data type of 'tas' is float32 (big-endian)"),
    ],
    ids=["chunks", "compression", "shuffle", "type", "order"],
)
def test_storage_that_differs_is_refused(
    virtualiser: CubeVirtualiser, folder: Path, odd: Callable[[h5py.File, int], None], says: str
) -> None:
    assert says in refusal(virtualiser, *slices(folder, odd))


def test_a_chunk_that_does_not_divide_a_file_before_others_is_refused(
    virtualiser: CubeVirtualiser, folder: Path
) -> None:
    reason = refusal(virtualiser, *slices(folder, lambda file, number: None, chunks=(3, 3, 4)))
    assert "The 4 time steps of 'tas' in 'tas_0.nc' do not fill its chunks of 3 steps" in reason


def test_a_chunk_that_does_not_divide_the_last_file_is_right(virtualiser: CubeVirtualiser, folder: Path) -> None:
    paths = [folder / "tas_0.nc", folder / "tas_1.nc"]
    for path, first, steps in zip(paths, (0, 4), (4, 3), strict=True):
        with hdf5(path, steps, first=first) as file:
            tas(file, chunks=(2, 3, 4))
    assert_right(virtualiser, *paths)


def test_overlapping_files_are_refused(virtualiser: CubeVirtualiser, folder: Path) -> None:
    def earlier(file: h5py.File, number: int) -> None:
        file["time"][...] -= number

    reason = refusal(virtualiser, *slices(folder, earlier))
    assert "The times of 'tas_1.nc' (2000-01-04 to 2000-01-07) overlap with those of 'tas_0.nc'" in reason


@pytest.mark.parametrize("format", FORMATS)
def test_files_out_of_order_are_put_into_the_order_of_time(
    virtualiser: CubeVirtualiser, folder: Path, format: CubeFormat
) -> None:
    paths = slices(folder, lambda file, number: None)
    with reopened(virtualiser.gate, place(virtualiser, *paths[::-1], format=format), format) as virtual:
        with mfdataset(paths) as expected:
            assert_same(virtual, expected)


def shifted_grid(file: h5py.File, number: int) -> None:
    file["lat"][...] += number


def large_grid(file: h5py.File, number: int) -> None:
    # Above the size up to which arrays are loaded.
    for name, size in (("y", 700), ("x", 800)):
        file[name] = np.arange(float(size))
        file[name].make_scale(name)
    named(file, file.create_dataset("nav_lat", data=np.full((700, 800), 1.0 + number)), ("y", "x"))


@pytest.mark.parametrize(("odd", "name"), [(shifted_grid, "lat"), (large_grid, "nav_lat")], ids=["small", "large"])
def test_another_grid_is_refused(
    virtualiser: CubeVirtualiser, folder: Path, odd: Callable[[h5py.File, int], None], name: str
) -> None:
    assert f"'{name}'" in refusal(virtualiser, *slices(folder, odd))


# -- sources that change behind the references -------------------------------------------------------------------------


def removed(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def replaced(path: Path) -> None:
    """Put another file of the same size in its place, made later."""
    stamp = path.stat().st_mtime_ns + 5_000_000_000
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        chunk = file["tas"].id.get_chunk_info(0)
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(reversed(range(chunk.size)))
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(stamp, stamp))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("change", [removed, cut, emptied, replaced])
def test_a_source_that_changed_is_an_error_and_never_fill_values(
    virtualiser: CubeVirtualiser, folder: Path, format: CubeFormat, change: Callable[[Path], None]
) -> None:
    paths = slices(folder, fill(-1.0, -1.0), compression=None)
    path = place(virtualiser, *paths, format=format)
    change(paths[1])
    with pytest.raises((GeoetlError, IcechunkError)):
        reopened(virtualiser.gate, path, format)["tas"].load()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("change", [removed, cut, emptied])
def test_a_source_that_goes_while_the_cube_is_open_is_an_error(
    virtualiser: CubeVirtualiser, folder: Path, format: CubeFormat, change: Callable[[Path], None]
) -> None:
    paths = slices(folder, fill(-1.0, -1.0))
    with reopened(virtualiser.gate, place(virtualiser, *paths, format=format), format) as virtual:
        change(paths[1])
        with pytest.raises((GeoetlError, IcechunkError)):
            virtual["tas"].isel(time=-1).load()


# -- damaged files -----------------------------------------------------------------------------------------------------


def written(path: Path, kind: str) -> bytes:
    """Write a sound file and return its bytes."""
    if kind in ("earliest", "latest"):
        with hdf5(path, 20, libver=kind) as file:
            tas(file)
            file["bnds"] = np.arange(2.0)
            file["bnds"].make_scale("bnds")
            bounds = np.arange(40.0).reshape(20, 2)
            named(
                file,
                file.create_dataset("time_bnds", data=bounds, chunks=(1, 2), compression="gzip", shuffle=True),
                ("time", "bnds"),
            )
            file["name"] = np.array(["a", "bc", "d"], object)
            named(file, file["name"], ("lat",))
    else:
        with netCDF4.Dataset(path, "w", format=kind) as file:
            for dim, size in (("time", None), ("lat", 3), ("lon", 4)):
                file.createDimension(dim, size)
                file.createVariable(dim, "f8", (dim,))
            file["time"].units = EPOCH
            file["time"][:], file["lat"][:], file["lon"][:] = np.arange(20), [-45, 0, 45], [0, 90, 180, 270]
            file.createVariable("tas", "f4", ("time", "lat", "lon"))[:] = np.arange(240).reshape(20, 3, 4)
    return path.read_bytes()


KINDS = ("earliest", "latest", "NETCDF4", "NETCDF3_CLASSIC")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_refused(virtualiser: CubeVirtualiser, folder: Path, kind: str) -> None:
    path = folder / "tas.nc"
    whole = written(path, kind)
    for size in {0, 1, 3, 4, 8, 9, 96, *range(100, len(whole), len(whole) // 23), len(whole) - 1}:
        path.write_bytes(whole[:size])
        refusal(virtualiser, path)


def mutated(content: bytes, seed: int) -> bytes:
    """Return a file with a few bytes or numbers of its metadata changed."""
    chosen = random.Random(seed)
    data = bytearray(content)
    for _ in range(chosen.choice([1, 1, 2, 4])):
        at = chosen.randrange(len(data))
        if chosen.random() < 0.4:
            data[at] ^= 1 << chosen.randrange(8)
            continue
        width = chosen.choice([2, 4, 8])
        at -= at % width
        size = len(data)
        number = chosen.choice(
            [0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), size, size - 1, at, chosen.randrange(size)]
        )
        data[at : at + width] = (number % 2 ** (8 * width)).to_bytes(width, "little")[: size - at]
    return bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_changed_bytes_is_refused_or_right(virtualiser: CubeVirtualiser, folder: Path, kind: str) -> None:
    path = folder / "tas.nc"
    whole = written(path, kind)
    for seed in range(40):
        path.write_bytes(mutated(whole, seed))
        made = outcome(virtualiser, path)
        assert made.refused or made.cubes


def at_chunk(path: Path, name: str, number: int) -> int:
    with h5py.File(path) as file:
        return int(file[name].id.get_chunk_info(number).byte_offset)


@pytest.mark.parametrize("format", [*FORMATS, CubeFormat.ZARR])
@pytest.mark.parametrize("name", ["tas", "time_bnds"])
def test_a_chunk_that_cannot_be_unpacked_is_refused(
    virtualiser: CubeVirtualiser, folder: Path, name: str, format: CubeFormat
) -> None:
    path = folder / "tas.nc"
    content = bytearray(written(path, "earliest"))
    at = at_chunk(path, name, 12)
    content[at : at + 8] = b"\xff" * 8
    path.write_bytes(content)
    refusal(virtualiser, path, format=format)


@pytest.mark.parametrize("format", FORMATS)
def test_a_chunk_with_a_wrong_checksum_is_refused(
    virtualiser: CubeVirtualiser, folder: Path, format: CubeFormat
) -> None:
    path = folder / "tas.nc"
    with hdf5(path) as file:
        tas(file, fletcher32=True, compression=None)
    content = bytearray(path.read_bytes())
    content[at_chunk(path, "tas", 2) + 5] ^= 1
    path.write_bytes(content)
    refusal(virtualiser, path, format=format)


# -- bombs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Allow the test so much address space beyond what the process has."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + HEADROOM_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def long_time(file: h5py.File) -> None:
    del file["time"]
    file.create_dataset("time", (10**13,), "f8", chunks=(1024,), maxshape=(None,))
    file["time"].make_scale("time")
    file["time"].attrs["units"] = EPOCH
    tas(file, shape=(10**13, 3, 4), dtype="f4", chunks=(1, 3, 4))


def wide(file: h5py.File) -> None:
    for name in ("lat", "lon"):
        del file[name]
        file.create_dataset(name, (2**33,), "f4", chunks=(1024,))
        file[name].make_scale(name)
    tas(file, shape=(4, 2**33, 2**33), dtype="f4", chunks=(1, 1024, 1024))


def many_chunks(file: h5py.File) -> None:
    for name in ("lat", "lon"):
        del file[name]
        file[name] = np.arange(1e5)
        file[name].make_scale(name)
    tas(file, shape=(4, 10**5, 10**5), dtype="f4", chunks=(1, 1, 1), compression=None)


def long_contiguous(file: h5py.File) -> None:
    del file["time"]
    file.create_dataset("time", (10**12,), "f8")
    file["time"].make_scale("time")
    tas(file, shape=(10**12, 3, 4), dtype="f4", chunks=None, compression=None)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("declare", [long_time, wide, many_chunks, long_contiguous])
def test_petabytes_that_are_only_declared_are_refused(
    virtualiser: CubeVirtualiser, folder: Path, declare: Callable[[h5py.File], None]
) -> None:
    path = folder / "tas.nc"
    with hdf5(path) as file:
        declare(file)
    refusal(virtualiser, path)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", ["tas", "lat"])
def test_a_chunk_that_unpacks_to_gigabytes_is_refused(virtualiser: CubeVirtualiser, folder: Path, name: str) -> None:
    packer = zlib.compressobj(1)
    bomb = b"".join([*(packer.compress(bytes(2**20)) for _ in range(1024)), packer.flush()])
    path = folder / "tas.nc"
    with hdf5(path) as file:
        if name == "lat":
            del file["lat"]
            file.create_dataset("lat", data=[-1.0, 0, 1], chunks=(3,), compression="gzip")
            file["lat"].make_scale("lat")
        tas(file)
        file[name].id.write_direct_chunk((0,) * file[name].ndim, bomb)
    refusal(virtualiser, path)


def node(level: int, child: int, rank: int) -> bytes:
    """Return a full version 1 B-tree node of chunks, all of whose children are one and the same."""
    key = bytes(4 * 2 + 8 * (rank + 1))
    siblings = b"\xff" * 16
    return b"TREE" + bytes([1, level, 64, 0]) + siblings + (key + child.to_bytes(8, "little")) * 64 + key


@pytest.mark.usefixtures("little_memory")
def test_a_chunk_index_that_shares_its_nodes_is_refused(virtualiser: CubeVirtualiser, folder: Path) -> None:
    path = folder / "tas.nc"
    with hdf5(path, 200) as file:
        tas(file)
    content = bytearray(path.read_bytes())
    # The root is the only node of chunks (type 1) that is no leaf.
    root = content.index(b"TREE\x01\x01")
    child = 4096  # the content of a chunk does not matter
    for level in range(6):
        begin = root if level == 5 else len(content)
        made = node(level, child, 3)
        content[begin : begin + len(made)] = made
        child = begin
    path.write_bytes(content)
    # The library itself would go through each of the 64**6 leaves.
    assert "damaged" in refusal(virtualiser, path)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("address", [2**40, 2**63])
def test_a_chunk_index_that_leads_nowhere_is_refused(
    virtualiser: CubeVirtualiser, folder: Path, address: int, format: CubeFormat
) -> None:
    path = folder / "tas.nc"
    with hdf5(path) as file:
        tas(file, compression=None)
    content = bytearray(path.read_bytes())
    # Behind the header of the leaf: size, mask and place of the first chunk, then where it lies.
    at = content.index(b"TREE\x01\x00") + 24 + 8 + 8 * 4
    content[at : at + 8] = address.to_bytes(8, "little")
    path.write_bytes(content)
    refusal(virtualiser, path, format=format)


# -- files that lead elsewhere -----------------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder that may not be read."""
    return tmp_path_factory.mktemp("outside")


def external_storage(file: h5py.File, outside: Path, name: str) -> None:
    (outside / "raw").write_bytes(np.arange(48, dtype="f4").tobytes())
    shape = file[name].shape if name in file else (4, 3, 4)
    file.pop(name, None)
    file.create_dataset(name, shape, "f4", external=[(str(outside / "raw"), 0, int(np.prod(shape)) * 4)])


def virtual_dataset(file: h5py.File, outside: Path, name: str) -> None:
    shape = file[name].shape if name in file else (4, 3, 4)
    file.pop(name, None)
    with h5py.File(outside / "source.h5", "w") as source:
        source["secret"] = np.zeros(shape, "f4")
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource(str(outside / "source.h5"), "secret", shape=shape)
    file.create_virtual_dataset(name, layout)


def external_link(file: h5py.File, outside: Path, name: str) -> None:
    shape = file[name].shape if name in file else (4, 3, 4)
    file.pop(name, None)
    with h5py.File(outside / "linked.h5", "w") as linked:
        linked.create_dataset(name, data=np.zeros(shape, "f4"))
        if len(shape) == 1:
            linked[name].make_scale(name)
    file[name] = h5py.ExternalLink(str(outside / "linked.h5"), name)


@pytest.mark.parametrize("format", [CubeFormat.JSON, CubeFormat.ZARR])
@pytest.mark.parametrize("name", ["lat", "extra", "tas"])
@pytest.mark.parametrize("lead", [external_storage, virtual_dataset, external_link])
def test_what_lies_in_another_file_is_not_read(
    virtualiser: CubeVirtualiser,
    folder: Path,
    outside: Path,
    lead: Callable[[h5py.File, Path, str], None],
    name: str,
    format: CubeFormat,
) -> None:
    path = folder / "tas.nc"
    with hdf5(path, libver="latest") as file:
        if name == "extra":
            file["extra"] = np.zeros(3)
        lead(file, outside, name)
        if lead is not external_link:
            if name == "lat":
                file["lat"].make_scale("lat")
            else:
                named(file, file[name], ("lat",) if name == "extra" else ("time", "lat", "lon"))
        if name == "extra" or (name == "lat" and lead is not external_link):
            tas(file)
        elif name == "lat":
            file.create_dataset("tas", data=np.zeros((4, 3, 4), "f4"))
    refusal(virtualiser, path, format=format)


def test_a_link_inside_the_file_is_followed_or_passed_over(virtualiser: CubeVirtualiser, folder: Path) -> None:
    path = folder / "tas.nc"
    with hdf5(path) as file:
        tas(file)
        file["broken"] = h5py.SoftLink("/nothing")
    place(virtualiser, path)


# -- odd content -------------------------------------------------------------------------------------------------------


def test_a_file_with_a_user_block_is_refused(virtualiser: CubeVirtualiser, folder: Path) -> None:
    path = folder / "tas.nc"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["tas"] = np.zeros((4, 3))
    assert "unknown format" in refusal(virtualiser, path)


def test_a_file_with_groups_only_is_refused(virtualiser: CubeVirtualiser, folder: Path) -> None:
    path = folder / "tas.nc"
    with h5py.File(path, "w") as file:
        file.create_group("model/atmosphere")["tas"] = np.zeros((4, 3))
    assert "no variable 'tas'" in refusal(virtualiser, path)


@pytest.mark.parametrize("format", FORMATS)
def test_megabytes_of_attributes_are_carried(virtualiser: CubeVirtualiser, folder: Path, format: CubeFormat) -> None:
    path = folder / "tas.nc"
    with hdf5(path, libver="latest") as file:
        tas(file).attrs["history"] = "x" * 2_000_000
        file.attrs["numbers"] = np.arange(100_000.0)
    assert_right(virtualiser, path, format=format)


def odd_attributes(file: h5py.File) -> None:
    attrs = file["tas"].attrs
    attrs["nothing"] = h5py.Empty("f4")
    attrs["raw"] = np.void(b"abc")
    attrs["record"] = np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")])
    attrs["complex"] = 1 + 2j
    attrs["reference"] = file["lat"].ref
    attrs["square"] = np.arange(4).reshape(2, 2)
    attrs["truth"] = True
    attrs.create("latin", np.array("5 µm".encode("latin1"), object), dtype=h5py.string_dtype("ascii"))
    file.attrs["latin"] = np.bytes_("Universität".encode("latin1"))


@pytest.mark.parametrize("format", FORMATS)
def test_attributes_of_odd_types_do_not_cost_the_cube(
    virtualiser: CubeVirtualiser, folder: Path, format: CubeFormat
) -> None:
    path = folder / "tas.nc"
    with hdf5(path) as file:
        tas(file)
        odd_attributes(file)
    with reopened(virtualiser.gate, place(virtualiser, path, format=format), format) as virtual:
        np.testing.assert_array_equal(virtual["tas"].to_numpy(), np.arange(48, dtype="f4").reshape(4, 3, 4))
        assert virtual.attrs["latin"] == "Universit�t"


def odd_arrays(file: h5py.File) -> None:
    file["null"] = h5py.Empty("f4")
    named(file, file.create_dataset("record", (3,), [("a", "i4"), ("b", "f8")]), ("lat",))
    named(file, file.create_dataset("ragged", (3,), h5py.vlen_dtype("i4")), ("lat",))
    named(file, file.create_dataset("refs", (3,), h5py.ref_dtype), ("lat",))
    named(file, file.create_dataset("opaque", data=np.array([np.void(b"ab")] * 3)), ("lat",))
    file["type"] = np.dtype("f4")


@pytest.mark.parametrize("format", FORMATS)
def test_arrays_of_odd_types_do_not_cost_the_cube(
    virtualiser: CubeVirtualiser, folder: Path, format: CubeFormat
) -> None:
    path = folder / "tas.nc"
    with hdf5(path) as file:
        tas(file)
        odd_arrays(file)
    with reopened(virtualiser.gate, place(virtualiser, path, format=format), format) as virtual:
        np.testing.assert_array_equal(virtual["tas"].to_numpy(), np.arange(48, dtype="f4").reshape(4, 3, 4))


ODD_NAMES = (
    "..", ".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json", "refs.0.parq", "sources", "refs", "version", "0",
    "0.0.0", "c", "tas.0", "a b", 'ä"quote\'', "back\\slash", "line\nbreak", "%2e%2e", "{{u}}", "x" * 120, "x" * 300,
)  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_array_of_any_name_is_kept_or_refused(
    virtualiser: CubeVirtualiser, folder: Path, name: str, format: CubeFormat
) -> None:
    path = folder / "tas.nc"
    with hdf5(path) as file:
        tas(file)
        named(file, file.create_dataset(name, data=np.arange(3.0)), ("lat",))
    made = outcome(virtualiser, path, format=format)
    if made.refused is not None:
        assert path.name in made.refused
        return
    key = made.cubes[0].references.key
    stored = virtualiser.zone.local_folder(key) if format.is_folder else virtualiser.zone.local_path(key)
    with reopened(virtualiser.gate, stored, format) as virtual:
        np.testing.assert_array_equal(virtual[name].to_numpy(), np.arange(3.0))
        np.testing.assert_array_equal(virtual["tas"].to_numpy(), np.arange(48, dtype="f4").reshape(4, 3, 4))
    assert not (virtualiser.scratch / "..").joinpath(".zarray").exists()


def fill_values(values: Any, dtype: str = "f4") -> Callable[[h5py.File], None]:
    def put(file: h5py.File) -> None:
        data = np.arange(48).reshape(4, 3, 4).astype(dtype)
        del file["tas"]
        tas(file, data=data).attrs["_FillValue"] = values

    return put


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "odd",
    [
        fill_values(np.array([-9999], "i2"), "u1"),
        fill_values(np.array([1e20], "f8"), "i2"),
        fill_values(np.array([1e20, 5], "f4")),
        fill_values("none"),
        fill_values(np.array([1e300], "f8")),
    ],
    ids=["negative", "large", "two", "text", "infinite"],
)
def test_a_fill_value_that_the_type_cannot_hold_is_refused_or_right(
    virtualiser: CubeVirtualiser, folder: Path, odd: Callable[[h5py.File], None], format: CubeFormat
) -> None:
    path = folder / "tas.nc"
    with hdf5(path) as file:
        tas(file)
        odd(file)
    made = outcome(virtualiser, path, format=format)
    if made.refused is not None:
        assert path.name in made.refused
        return
    with reopened(virtualiser.gate, place(virtualiser, path, format=format), format) as virtual:
        with mfdataset([path]) as expected:
            np.testing.assert_array_equal(virtual["tas"].to_numpy(), expected["tas"].to_numpy())


def test_a_text_with_a_fill_value_is_kept(virtualiser: CubeVirtualiser, folder: Path) -> None:
    path = folder / "tas.nc"
    with hdf5(path) as file:
        tas(file)
        file["strlen"] = np.arange(2.0)
        file["strlen"].make_scale("strlen")
        label = file.create_dataset("label", data=np.array([[b"a", b"b"]] * 3, "S1"))
        named(file, label, ("lat", "strlen")).attrs["_FillValue"] = np.bytes_(b"\0")
    for format in FORMATS:
        assert_right(virtualiser, path, format=format)


def test_a_variable_that_netcdf_renamed_is_refused_or_has_its_name(virtualiser: CubeVirtualiser, folder: Path) -> None:
    path = folder / "tas.nc"
    with netCDF4.Dataset(path, "w") as file:
        for dim, size in (("time", 4), ("y", 3), ("x", 4), ("lat", 2)):
            file.createDimension(dim, size)
        file.createVariable("time", "f8", ("time",))[:] = np.arange(4)
        file["time"].units = EPOCH
        file.createVariable("lat", "f8", ("y", "x"))[:] = np.arange(12).reshape(3, 4)
        file.createVariable("tas", "f4", ("time", "y", "x"))[:] = np.arange(48).reshape(4, 3, 4)
    made = outcome(virtualiser, path)
    if made.refused is None:
        assert_right(virtualiser, path)


# -- odd times ---------------------------------------------------------------------------------------------------------


def times(first: Any, second: Any = (4, 5, 6, 7), **attributes: Any) -> Callable[[h5py.File, int], None]:
    def put(file: h5py.File, number: int) -> None:
        file["time"][...] = second if number else first
        file["time"].attrs.update(attributes)

    return put


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (times([0, 1, np.nan, 3]), "'time' in 'tas_0.nc' has missing values"),
        (times([0, 1, 9.9e36, 9.9e36]), "times of 'tas_0.nc' cannot be decoded"),
        (times([0, 1, 1, 2]), "does not increase from step 2 (2000-01-02) to step 3 (2000-01-02)"),
        (times([3, 2, 1, 0]), "does not increase"),
        (times([0, 1, 2, 3], units="days since 2000-13-45"), "cannot be decoded"),
        (times([0, 1, 2, 3], units="days since 0000-00-00"), "cannot be decoded"),
        (times([0, 1, 2, 3], units="days since"), "cannot be decoded"),
        (times([0, 1, 2, 3], units="fortnights since 2000-01-01"), "cannot be decoded"),
        (times([0, 1, 2, 3], calendar="mayan"), "calendar"),
        (times([0, 1, 2, 3], calendar=""), "calendar"),
        (times([-9, 1, 2, 3], _FillValue=np.array([-9.0])), "missing"),
        (times([1e300, 2e300, 3e300, 4e300]), "cannot be decoded"),
    ],
)
def test_times_that_mean_nothing_are_refused(
    virtualiser: CubeVirtualiser, folder: Path, odd: Callable[[h5py.File, int], None], says: str
) -> None:
    assert says in refusal(virtualiser, *slices(folder, odd))


def packed_hours(file: h5py.File, number: int) -> None:
    """Count hours in steps of 12 in the second file, days in halves in the first."""
    file["time"].attrs["scale_factor"] = 0.5
    file["time"][...] = 2 * file["time"][...]
    if number:
        file["time"].attrs["units"] = "hours since 2000-01-01"
        file["time"][...] = 24 * file["time"][...]


def offset_hours(file: h5py.File, number: int) -> None:
    file["time"].attrs["add_offset"] = 10.0
    if number:
        file["time"].attrs["units"] = "hours since 2000-01-01"
        file["time"][...] = 24 * file["time"][...]
    file["time"][...] -= 10


def fill_reached(file: h5py.File, number: int) -> None:
    """Declare a fill value that only the times of the second file, counted as in the first, are equal to."""
    file["time"].attrs["_FillValue"] = np.array([5.0])
    if number:
        file["time"].attrs["units"] = "days since 1999-12-21"
        file["time"][...] += 11


def own_bounds(file: h5py.File, number: int) -> None:
    """Count bounds from another day than the times, which are counted from another day in the second file."""
    file["bnds"] = np.arange(2.0)
    file["bnds"].make_scale("bnds")
    days = file["time"][...]
    bounds = file.create_dataset("a_bounds", data=np.stack([days, days + 1], 1) + 3650)
    named(file, bounds, ("time", "bnds")).attrs["units"] = "days since 1990-01-03"
    file["time"].attrs["bounds"] = "a_bounds"
    if number:
        file["time"].attrs["units"] = "days since 1999-12-31"
        file["time"][...] += 1


@pytest.mark.parametrize("odd", [packed_hours, offset_hours, fill_reached, own_bounds])
def test_times_that_are_packed_or_masked_are_right_or_refused(
    virtualiser: CubeVirtualiser, folder: Path, odd: Callable[[h5py.File, int], None]
) -> None:
    paths = slices(folder, odd)
    made = outcome(virtualiser, *paths)
    if made.refused is None:
        assert_right(virtualiser, *paths)
    else:
        assert "time" in made.refused or "a_bounds" in made.refused


def test_whole_numbers_that_cannot_hold_later_times_become_others(virtualiser: CubeVirtualiser, folder: Path) -> None:
    paths = []
    for number in (0, 1):
        paths.append(folder / f"tas_{number}.nc")
        with hdf5(paths[-1]) as file:
            values = np.arange(4, dtype="i4")
            del file["time"]
            file["time"] = values * 86400 if not number else values + 54787 + 36525
            file["time"].make_scale("time")
            file["time"].attrs["units"] = "seconds since 2000-01-01" if not number else "days since 1850-01-01"
            tas(file)
    assert_right(virtualiser, *paths)


@pytest.mark.parametrize("steps", [(0,), (4, 0)])
def test_a_file_without_steps_is_refused(virtualiser: CubeVirtualiser, folder: Path, steps: tuple[int, ...]) -> None:
    paths = []
    for number, count in enumerate(steps):
        paths.append(folder / f"tas_{number}.nc")
        with hdf5(paths[-1], count) as file:
            tas(file, chunks=None, compression=None)
    assert "has no steps" in refusal(virtualiser, *paths)


def test_an_empty_plane_is_refused(virtualiser: CubeVirtualiser, folder: Path) -> None:
    path = folder / "tas.nc"
    with hdf5(path) as file:
        del file["lat"]
        file["lat"] = np.zeros(0)
        file["lat"].make_scale("lat")
        tas(file, chunks=None, compression=None)
    refusal(virtualiser, path)


@pytest.mark.parametrize("format", ["NETCDF4", "NETCDF3_CLASSIC"])
def test_a_file_without_a_variable_time_is_a_cube_by_itself(
    virtualiser: CubeVirtualiser, folder: Path, format: str
) -> None:
    path = folder / "tas.nc"
    with netCDF4.Dataset(path, "w", format=format) as file:
        for dim, size in (("time", None), ("lat", 1), ("lon", 3)):
            file.createDimension(dim, size)
        # Of a single record variable NetCDF-3 does not fill up the records: three bytes each.
        file.createVariable("tas", "i1", ("time", "lat", "lon"))[:] = np.arange(12).reshape(4, 1, 3)
    assert_right(virtualiser, path)
