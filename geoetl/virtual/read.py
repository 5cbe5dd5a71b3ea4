"""Read the header of a NetCDF file: one opening, no data but coordinates, bounds and other small arrays."""

import math
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.errors import UnreadableFile
from geoetl.runs.spread import spread
from geoetl.store.gate import Format, Gate, check_netcdf
from geoetl.store.remote import RemoteFile, RemoteReader, SourcePath, local_copy, stamp_of
from geoetl.virtual.hdf5 import ByteReader, ChunkTable, chunk_table, reader_of
from geoetl.virtual.header import INLINE_BYTES, SCALES, TIME, ArrayHeader, ChunkGrid, FileHeader, Layout

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

# Reading headers is bound by the processor; more processes than this do not pay for their start.
PROCESSES = min(os.cpu_count() or 1, 8)
# Attributes that netCDF-4 and HDF5 keep for themselves; xarray does not show them either.
_BOOKKEEPING = frozenset(
    {
        "CLASS",
        "NAME",
        "REFERENCE_LIST",
        "DIMENSION_LIST",
        "DIMENSION_LABELS",
        "_Netcdf4Dimid",
        "_Netcdf4Coordinates",
        "_NCProperties",
        "_nc3_strict",
    }
)
# What netCDF-4 writes as the NAME of a dimension that has no coordinate variable.
_BARE_DIMENSION = "This is a netCDF dimension but not a netCDF variable."
# The attribute of a coordinate that names its bounds, and the one of a variable that names further coordinates.
_NAMING = ("bounds", "climatology", "coordinates", "ancillary_variables", "grid_mapping")
# Up to this many chunks h5py reads an array as fast as we do.
_FEW_CHUNKS = 500
# Times are loaded whatever their number: 32 million of them.
MAX_TIME_BYTES = 256 * 1024 * 1024
# Of one array in one file; an index of so many takes 1.6 GB.
MAX_CHUNKS = 100_000_000
# By which packing may lengthen a chunk that cannot be packed (deflate 5 bytes in 16 kB, a checksum 4), and more.
CHUNK_OVERHEAD_BYTES = 4096
# A filter of HDF5 by its number, as numcodecs calls what it does. 2 takes its parameter from the data type.
_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_OTHER_FILTERS: Mapping[int, str] = {
    4: "szip",
    5: "nbit",
    6: "scaleoffset",
    307: "bzip2",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32015: "zstd",
    32013: "zfp",
    32026: "blosc2",
}


def read_header(gate: Gate, path: SourcePath, variables: Sequence[str] | None = None) -> FileHeader:
    """Read what a file says, and where the chunks of its gridded variables lie.

    Args:
        gate: Opens the file.
        path: As `Gate.locate` returned it.
        variables: Names of the variables that are pointed at; None takes every gridded one.

    Raises:
        UnreadableFile: Empty, truncated or damaged; or one of `variables` is not in it.
        FormatNotAllowed: It is no NetCDF.
        LimitExceeded: It is a large NetCDF-3 file in an object store.
        NotFound, VerificationFailed, ConfigurationError, Unavailable: It is an object; see `RemoteFile.read`.
    """
    before = stamp_of(path)
    remote = RemoteReader(path) if isinstance(path, RemoteFile) and path.is_file() else None
    container = check_netcdf(remote or path)
    if container is Format.HDF5:
        with gate.open_hdf5(remote or path) as file:
            try:
                reader = reader_of(file) if remote is None else None if file.userblock_size else remote
                attributes, arrays, wanted = _read_hdf5(file, reader, path.name, variables)
            except (
                LookupError,
                MemoryError,
                OSError,
                OverflowError,
                RuntimeError,
                TypeError,
                ValueError,
                zlib.error,
            ) as error:
                raise _damaged(path.name, error) from None
    elif isinstance(path, RemoteFile):
        with local_copy(path) as copy:
            attributes, arrays, wanted = _read_netcdf3(gate, copy, variables)
    else:
        attributes, arrays, wanted = _read_netcdf3(gate, path, variables)
    sizes: dict[str, int] = {}
    for array in arrays.values():
        for dim, size in zip(array.dims, array.shape, strict=True):
            # An array along an unlimited dimension may be shorter, when it was not written to the end.
            sizes[dim] = max(sizes.get(dim, 0), size)
    return FileHeader(
        address=str(path),
        name=path.name,
        bytes=before.bytes,
        modified_ns=before.modified_ns,
        etag=before.etag,
        container=container,
        attributes=attributes,
        dimensions=sizes,
        variables=wanted,
        arrays=arrays,
    )


@dataclass(frozen=True)
class _ReadHeader:
    """`read_header` with all but the path filled in; picklable, so that processes can run it."""

    gate: Gate
    variables: tuple[str, ...] | None

    def __call__(self, path: SourcePath) -> FileHeader:
        return read_header(self.gate, path, self.variables)


def read_headers(
    gate: Gate, paths: Sequence[SourcePath], variables: Sequence[str] | None = None, *, processes: int = PROCESSES
) -> list[FileHeader]:
    """Read the headers of many files, in processes of this machine when there are enough of them to pay.

    Args:
        gate: Opens the files.
        paths: As `Gate.locate` returned them.
        variables: As for `read_header`.
        processes: At most so many.

    Raises:
        UnreadableFile, FormatNotAllowed: See `read_header`; the first that is met.
    """
    read = _ReadHeader(gate, None if variables is None else tuple(variables))
    found = dict(spread(read, paths, processes=processes))
    return [found[position] for position in range(len(paths))]


def _damaged(name: str, error: Exception) -> UnreadableFile:
    reason = (str(error).splitlines() or [""])[0][:160]
    return UnreadableFile(
        f"'{name}' is damaged: {reason or type(error).__name__}",
        hint="The file is probably truncated; fetch it again and compare its checksum.",
        field="source",
    )


# -- which variables -------------------------------------------------------------------------------------------------


def gridded(shapes: Mapping[str, tuple[tuple[str, ...], "np.dtype[Any]"]], named: Iterable[str]) -> tuple[str, ...]:
    """Return the variables that hold a grid: numbers over two or more dimensions that no other variable refers to.

    Args:
        shapes: Dimensions and data type of each variable.
        named: Names that attributes refer to as bounds or coordinates.
    """
    auxiliary = set(named)
    return tuple(
        name
        for name, (dims, dtype) in shapes.items()
        if len(dims) >= 2 and dtype.kind in "iuf" and name not in auxiliary and name not in dims
    )


def _chosen(
    file_name: str,
    shapes: Mapping[str, tuple[tuple[str, ...], "np.dtype[Any]"]],
    attributes: Iterable[Mapping[str, Any]],
    variables: Sequence[str] | None,
) -> tuple[str, ...]:
    if variables is None:
        named = [word for each in attributes for key in _NAMING for word in str(each.get(key, "")).split()]
        wanted = gridded(shapes, named)
        missing = "no gridded variable" if not wanted else ""
    else:
        wanted = tuple(variables)
        absent = next((name for name in wanted if name not in shapes), None)
        missing = f"no variable '{absent}'" if absent else ""
    if missing:
        raise UnreadableFile(
            f"'{file_name}' has {missing}.",
            hint=f"It holds: {', '.join(shapes) or 'no variable at its root'}.",
            field="source",
        )
    return wanted


# -- NetCDF-4 --------------------------------------------------------------------------------------------------------


def _read_hdf5(
    file: "h5py.File", reader: ByteReader | None, name: str, variables: Sequence[str] | None
) -> tuple[dict[str, Any], dict[str, ArrayHeader], tuple[str, ...]]:
    import h5py

    # A soft link to nothing, and what no coordinate can be: records, references, lists, nothing at all.
    found = ((str(key), file.get(key)) for key in file)
    datasets = {key: item for key, item in found if isinstance(item, h5py.Dataset) and _is_array(item)}
    attributes = {}
    narrow = {}
    listed: dict[str, Any] = {}
    for key, dataset in list(datasets.items()):
        raw = _attributes(dataset)
        if raw.get("NAME", b"")[: len(_BARE_DIMENSION)] in (_BARE_DIMENSION, _BARE_DIMENSION.encode()):
            del datasets[key]
            continue
        listed[key] = (raw.get("CLASS") in ("DIMENSION_SCALE", b"DIMENSION_SCALE"), raw.get("DIMENSION_LIST"))
        attributes[key] = plain_attributes(raw)
        narrow[key] = narrow_scales(raw)
    dims = {key: _dimensions(file, dataset, key, name, *listed[key]) for key, dataset in datasets.items()}
    shapes = {key: (dims[key], dataset.dtype) for key, dataset in datasets.items()}
    wanted = _chosen(name, shapes, attributes.values(), variables)
    arrays = {
        key: replace(
            _hdf5_array(dataset, reader, key, dims[key], attributes[key], is_wanted=key in wanted), narrow=narrow[key]
        )
        for key, dataset in datasets.items()
    }
    return plain_attributes(_attributes(file["/"])), arrays, wanted


def _attributes(owner: "h5py.Group | h5py.Dataset") -> dict[str, Any]:
    """Return the attributes in the order in which they were made, but for the list of who refers to a scale.

    A text or number is read without h5py's detours, which take twice as long; attributes are half of a header's time.
    """
    from h5py import h5, h5a, h5p, h5t

    is_tracked = owner.id.get_create_plist().get_attr_creation_order() & h5p.CRT_ORDER_TRACKED
    names: list[bytes] = []
    h5a.iterate(owner.id, names.append, index_type=h5.INDEX_CRT_ORDER if is_tracked else h5.INDEX_NAME)
    numbers, texts, padded = (h5t.TypeIntegerID, h5t.TypeFloatID), h5t.TypeStringID, h5t.STR_SPACEPAD
    values: dict[str, Any] = {}
    for name in names:
        if name == b"REFERENCE_LIST":
            continue
        attribute = h5a.open(owner.id, name)
        kind = attribute.get_type()
        is_one = attribute.get_space().get_simple_extent_npoints() == 1
        key = name.decode("utf-8", "surrogateescape")
        if is_one and isinstance(kind, texts) and not kind.is_variable_str() and kind.get_strpad() != padded:
            text = np.empty((), f"S{kind.get_size()}")
            attribute.read(text, mtype=kind)
            values[key] = text.item().partition(b"\0")[0]
        elif is_one and isinstance(kind, numbers):
            number = np.empty((), kind.dtype)
            attribute.read(number, mtype=kind)
            values[key] = number[()]
        else:
            values[key] = owner.attrs[name]
    return values


def _is_array(dataset: "h5py.Dataset") -> bool:
    """Tell whether a dataset holds numbers or texts."""
    import h5py

    if dataset.shape is None:
        return False
    return dataset.dtype.kind in "iufbcSU" or h5py.check_string_dtype(dataset.dtype) is not None


def _dimensions(
    file: "h5py.File", dataset: "h5py.Dataset", key: str, file_name: str, is_scale: bool, listed: Any
) -> tuple[str, ...]:
    """Return the names of the dimensions, which netCDF-4 writes as references to their scales."""
    import h5py

    if dataset.ndim == 0:
        return ()
    if listed is not None and all(len(scales) == 1 for scales in listed):
        names = [h5py.h5i.get_name(h5py.h5r.dereference(scales[0], file.id)) for scales in listed]
        return tuple(name.decode("utf-8", "surrogateescape").rpartition("/")[2] for name in names)
    if is_scale and dataset.ndim == 1:
        return (key,)
    if is_scale:
        # A coordinate of several dimensions, the first of which has its name: netCDF-4 keeps the numbers of the others.
        ids = dataset.attrs.get("_Netcdf4Coordinates")
        by_id = {int(d.attrs["_Netcdf4Dimid"]): k for k, d in file.items() if "_Netcdf4Dimid" in d.attrs}
        if ids is not None and all(int(i) in by_id for i in ids):
            return tuple(by_id[int(i)] for i in ids)
    raise UnreadableFile(
        f"'{key}' of '{file_name}' does not name its dimensions.",
        hint="Give a NetCDF-4 file; plain HDF5 without dimension scales cannot be referenced.",
        field="source",
    )


def _hdf5_array(
    dataset: "h5py.Dataset",
    reader: ByteReader | None,
    name: str,
    dims: tuple[str, ...],
    attributes: dict[str, Any],
    *,
    is_wanted: bool,
) -> ArrayHeader:
    import h5py

    creation = dataset.id.get_create_plist()
    layout = {h5py.h5d.CHUNKED: Layout.CHUNKED, h5py.h5d.COMPACT: Layout.COMPACT}.get(
        creation.get_layout(), Layout.CONTIGUOUS
    )
    codecs, unsupported = _codecs(creation, dataset.dtype) if layout is Layout.CHUNKED else ((), None)
    if unsupported is None and not _is_unshuffled(codecs, dataset):
        unsupported = "shuffle behind another filter"
    if creation.get_external_count() > 0:
        unsupported = "external files"
    chunks = dataset.chunks or dataset.shape
    is_plain = dataset.dtype.kind in "iufSb" and dataset.dtype.names is None and dataset.dtype.subdtype is None
    is_loaded = not is_wanted and _bytes(dataset) <= (MAX_TIME_BYTES if dims == (TIME,) else INLINE_BYTES)
    _check_size(dataset, name, is_loaded=is_loaded)
    grid = skipped = None
    if unsupported is None and is_plain and not is_loaded and 0 not in dataset.shape:
        if layout is Layout.CHUNKED:
            table = chunk_table(dataset, reader)
            skipped = table.first_masked
            grid = _dense(table)
        elif layout is Layout.CONTIGUOUS:
            grid = _contiguous(dataset)
    if grid is not None:
        _check_grid(grid, dataset, name)
    values = None
    if is_loaded or layout is Layout.COMPACT or 0 in dataset.shape:
        values = _load(dataset, reader, codecs, unsupported)
    return ArrayHeader(
        name=name,
        dims=dims,
        shape=dataset.shape,
        dtype=dataset.dtype,
        chunks=chunks,
        layout=layout,
        codecs=codecs,
        unsupported=unsupported,
        skipped_filters=skipped,
        fill_value=_fill_value(dataset) if is_plain else None,
        attributes=attributes,
        grid=grid,
        values=values,
    )


def _bytes(dataset: "h5py.Dataset") -> int:
    return int(math.prod(dataset.shape) * dataset.dtype.itemsize)


def _check_size(dataset: "h5py.Dataset", name: str, *, is_loaded: bool) -> None:
    """Refuse an array whose index alone would not fit into memory, or that unpacks to far more than it says.

    Raises:
        ValueError: What is wrong.
    """
    if not dataset.chunks:
        return
    count = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    if count > MAX_CHUNKS:
        raise ValueError(f"'{name}' has {count:,} chunks; the limit is {MAX_CHUNKS:,}")
    room = math.prod(dataset.chunks) * int(dataset.dtype.itemsize) + CHUNK_OVERHEAD_BYTES
    if is_loaded and dataset.id.get_storage_size() > count * (room + room // 100):
        raise ValueError(f"'{name}' is stored in more bytes than it has unpacked")


def _check_grid(grid: ChunkGrid, dataset: "h5py.Dataset", name: str) -> None:
    """Refuse chunks that lie beyond the end of the file, or are longer than packing can make them.

    Raises:
        ValueError: There is one.
    """
    end = dataset.file.id.get_filesize()
    if (grid.offsets > end).any() or (grid.offsets + grid.sizes > end).any():
        raise ValueError(f"a chunk of '{name}' lies beyond its end")
    room = math.prod(dataset.chunks or dataset.shape) * int(dataset.dtype.itemsize) + CHUNK_OVERHEAD_BYTES
    if grid.sizes.max() > room + room // 100:
        raise ValueError(f"a chunk of '{name}' is stored in more bytes than it has unpacked")


def _fill_value(dataset: "h5py.Dataset") -> Any:
    return dataset.dtype.type(dataset.fillvalue) if dataset.dtype.kind in "iufb" else dataset.fillvalue


def _codecs(creation: "h5py.h5p.PropDCID", dtype: "np.dtype[Any]") -> tuple[tuple[Mapping[str, Any], ...], str | None]:
    """Return the filters as numcodecs configurations, and the first that has none."""
    codecs: list[Mapping[str, Any]] = []
    for position in range(creation.get_nfilters()):
        number, _, parameters, _ = creation.get_filter(position)
        if number == _SHUFFLE:
            codecs.append({"id": "shuffle", "elementsize": int(parameters[0]) if parameters else dtype.itemsize})
        elif number == _DEFLATE:
            codecs.append({"id": "zlib", "level": int(parameters[0])})
        elif number == _FLETCHER32:
            codecs.append({"id": "fletcher32"})
        else:
            return (), _OTHER_FILTERS.get(number, f"filter {number}")
    return tuple(codecs), None


def _is_unshuffled(codecs: Sequence[Mapping[str, Any]], dataset: "h5py.Dataset") -> bool:
    """Tell whether readers of references can undo the shuffling: they want whole elements, HDF5 takes any bytes.

    netCDF-4 puts fletcher32, which adds four bytes, before shuffle.
    """
    size: int | None = math.prod(dataset.chunks) * int(dataset.dtype.itemsize) if dataset.chunks else 0
    for codec in codecs:
        if codec["id"] == "shuffle" and (size is None or size % int(codec["elementsize"])):
            return False
        size = None if codec["id"] == "zlib" or size is None else size + 4 * (codec["id"] == "fletcher32")
    return True


def _contiguous(dataset: "h5py.Dataset") -> ChunkGrid:
    """Return the one piece of a contiguous dataset; unwritten where the file has no room for it."""
    ones = (1,) * dataset.ndim
    begin = dataset.id.get_offset()
    size = dataset.id.get_storage_size() if begin is not None else 0
    return ChunkGrid(np.full(ones, begin or 0, np.uint64), np.full(ones, size, np.uint64))


def _dense(table: ChunkTable) -> ChunkGrid:
    if table.is_complete:
        return ChunkGrid(table.offsets.reshape(table.grid), table.sizes.reshape(table.grid))
    places = tuple(table.indices.T)
    offsets, sizes = np.zeros(table.grid, np.uint64), np.zeros(table.grid, np.uint64)
    offsets[places], sizes[places] = table.offsets, table.sizes
    return ChunkGrid(offsets, sizes)


def _load(
    dataset: "h5py.Dataset",
    reader: ByteReader | None,
    codecs: tuple[Mapping[str, Any], ...],
    unsupported: str | None,
) -> "NDArray[Any]":
    """Return the whole content of an array.

    Bounds of one step a chunk are the common case of many tiny chunks: the library takes 2 µs for each, reading and
    unpacking them here a quarter of that.
    """
    if unsupported is None and dataset.chunks and dataset.dtype.kind in "iuf" and dataset.size > 0:
        pieces = math.prod(-(-s // c) for s, c in zip(dataset.shape, dataset.chunks, strict=True))
        names = {codec["id"] for codec in codecs}
        if pieces > _FEW_CHUNKS and names <= {"shuffle", "zlib"} and reader is not None:
            table = chunk_table(dataset, reader)
            if table.is_complete and not table.masks.any():
                blocks = table.read(reader)
                return _load_chunks(dataset, table, blocks, is_packed="zlib" in names, is_shuffled="shuffle" in names)
    return np.asarray(dataset[()])


def _load_chunks(
    dataset: "h5py.Dataset", table: ChunkTable, blocks: Sequence[bytes], *, is_packed: bool, is_shuffled: bool
) -> "NDArray[Any]":
    itemsize, count = dataset.dtype.itemsize, math.prod(dataset.chunks)
    room = itemsize * count
    unpacked = b"".join(zlib.decompressobj().decompress(block, room) if is_packed else block for block in blocks)
    raw: NDArray[np.uint8] = np.frombuffer(unpacked, np.uint8)
    if is_shuffled:
        raw = raw.reshape(len(blocks), itemsize, count).transpose(0, 2, 1)
    values = np.ascontiguousarray(raw).view(dataset.dtype).reshape(*table.grid, *dataset.chunks)
    rank = dataset.ndim
    mixed = [axis for pair in zip(range(rank), range(rank, 2 * rank), strict=True) for axis in pair]
    padded = tuple(g * c for g, c in zip(table.grid, dataset.chunks, strict=True))
    whole = values.transpose(mixed).reshape(padded)
    return np.ascontiguousarray(whole[tuple(slice(size) for size in dataset.shape)])


def plain_attributes(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes without netCDF-4's own bookkeeping, as JSON can hold them; an array of one is its value."""
    return {name: _plain(value) for name, value in raw.items() if name not in _BOOKKEEPING}


def narrow_scales(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which attributes that scale numbers are no 64-bit numbers."""
    return tuple(name for name in SCALES if name in raw and np.asarray(raw[name]).dtype not in (np.float64, np.int64))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        # h5py keeps bytes that are no UTF-8 as surrogates, which no JSON can hold.
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.void | complex | np.complexfloating):
        return str(value)
    if isinstance(value, np.ndarray):
        items = [_plain(item) for item in value.ravel().tolist()]
        return items[0] if len(items) == 1 else items
    if isinstance(value, np.generic):
        return _plain(value.item())
    # An empty attribute, or a reference to another object that no reader shows.
    return value if isinstance(value, int | float) else ""


# -- NetCDF-3 --------------------------------------------------------------------------------------------------------


def _read_netcdf3(
    gate: Gate, path: Path, variables: Sequence[str] | None
) -> tuple[dict[str, Any], dict[str, ArrayHeader], tuple[str, ...]]:
    from obspec_utils.registry import ObjectStoreRegistry
    from obstore.store import LocalStore
    from virtualizarr.parsers import NetCDF3Parser

    with gate.open_netcdf(path, decode_cf=False, mask_and_scale=False) as opened:
        shapes = {str(n): (tuple(map(str, v.dims)), v.dtype) for n, v in opened.variables.items()}
        attributes = {str(n): plain_attributes(v.attrs) for n, v in opened.variables.items()}
        narrow = {str(n): narrow_scales(v.attrs) for n, v in opened.variables.items()}
        wanted = _chosen(path.name, shapes, attributes.values(), variables)
        others = [n for n in shapes if n not in wanted and opened[n].nbytes <= INLINE_BYTES]
        loaded = {n: np.asarray(opened[n].values) for n in others}
        everything = plain_attributes(opened.attrs)
    try:
        store = NetCDF3Parser()(url=path.as_uri(), registry=ObjectStoreRegistry({"file://": LocalStore()}))
    except (IndexError, KeyError, OSError, NotImplementedError, TypeError, ValueError) as error:
        raise _damaged(path.name, error) from None
    arrays = {}
    for name, (dims, dtype) in shapes.items():
        virtual = store._group.arrays[name]
        shape = virtual.shape
        chunks = tuple(-(-size // count) for size, count in zip(shape, virtual.manifest.shape_chunk_grid, strict=True))
        grid = None
        if name not in loaded:
            grid = ChunkGrid(virtual.manifest._offsets.copy(), virtual.manifest._lengths.copy())
        arrays[name] = ArrayHeader(
            name=name,
            dims=dims,
            shape=shape,
            dtype=dtype.newbyteorder(">"),  # as the format says; xarray tells the type without it
            chunks=chunks,
            layout=Layout.CHUNKED if chunks != shape else Layout.CONTIGUOUS,
            attributes=attributes[name],
            narrow=narrow[name],
            grid=grid,
            values=loaded.get(name),
        )
    return everything, arrays, wanted
