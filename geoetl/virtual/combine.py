"""Join the headers of a cube's files: chunks side by side along time, times in one calendar and unit.

The files have passed `preflight`: they agree in all that references can say only once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.errors import VerificationFailed
from geoetl.store.gate import Format
from geoetl.store.remote import is_remote
from geoetl.store.sources import SourceFile, digest_of
from geoetl.virtual.header import MEANING, TIME, ArrayHeader, ChunkGrid, FileHeader, Layout
from geoetl.virtual.manifest import UNWRITTEN, ChunkReferences, CubeArray, CubeManifest
from geoetl.virtual.verify import same_coordinate, same_meaning

if TYPE_CHECKING:
    from numpy.typing import NDArray

# An array that a file stores in one unfiltered piece is cut into chunks of about this size, so that one time step can
# be read without the others.
PIECE_BYTES = 4 * 1024 * 1024
MEMBER = "member_id"


def combine(headers: Sequence[FileHeader], *, whole_digests: bool = False) -> CubeManifest:
    """Return the cube of files that agree, joined along time.

    Args:
        headers: In the order of time.
        whole_digests: Read every byte of the sources for their checksums, instead of samples.
    """
    first = headers[0]
    clocks = _clocks(first)
    arrays = {}
    for name, array in first.arrays.items():
        if array.time_axis is None:
            arrays[name] = _fixed(array)
        elif array.values is not None:
            arrays[name] = _joined_values(name, headers, clocks.get(name))
        elif array.grid is not None:
            arrays[name] = _joined_references([header.arrays[name] for header in headers])
    return CubeManifest(
        sources=_sources(headers, whole_digests=whole_digests),
        attributes=first.attributes,
        arrays=arrays,
        variables=first.variables,
    )


def extend(known: CubeManifest, headers: Sequence[FileHeader], *, whole_digests: bool = False) -> CubeManifest:
    """Return a cube with later files behind it; only what is new is looked at.

    Args:
        known: The cube as it is.
        headers: The new files in the order of time, as `fitted` returned them.
        whole_digests: As for `combine`.
    """
    together = [as_header(known), *headers]
    clocks = _clocks(together[0])
    arrays = {}
    for name, array in known.arrays.items():
        parts = [header.arrays[name] for header in headers]
        if TIME not in array.dims:
            arrays[name] = array
        elif array.values is not None:
            arrays[name] = _joined_values(name, together, clocks.get(name))
        elif array.references is not None:
            new = _joined_references(parts, step=array.chunks[0])
            arrays[name] = _behind(array, _renumbered(new, len(known.sources)))
    return replace(known, sources=(*known.sources, *_sources(headers, whole_digests=whole_digests)), arrays=arrays)


def as_header(cube: CubeManifest) -> FileHeader:
    """Return a cube as if it were one file, to compare later files with."""
    arrays = {
        name: ArrayHeader(
            name=name,
            dims=array.dims,
            shape=array.shape,
            dtype=array.dtype,
            chunks=array.chunks,
            layout=Layout.CHUNKED,
            codecs=array.codecs,
            fill_value=array.fill_value,
            attributes=array.attributes,
            grid=None if array.references is None else ChunkGrid(array.references.offsets, array.references.sizes),
            values=array.values,
        )
        for name, array in cube.arrays.items()
    }
    sizes = {dim: size for array in arrays.values() for dim, size in zip(array.dims, array.shape, strict=True)}
    last = cube.sources[-1]
    return FileHeader(
        address=last.address,
        name=last.name,
        bytes=last.bytes,
        modified_ns=last.modified_ns,
        etag=last.etag,
        container=Format.HDF5,
        attributes=cube.attributes,
        dimensions=sizes,
        variables=cube.variables,
        arrays=arrays,
    )


def fitted(header: FileHeader, known: CubeManifest) -> FileHeader:
    """Return a later file with its unfiltered pieces cut as the cube's are, where that is possible."""
    arrays = dict(header.arrays)
    for name, array in known.arrays.items():
        own = arrays.get(name)
        if own is None or array.references is None or not is_one_plain_piece(own) or not array.shape:
            continue
        step = array.chunks[0]
        if own.time_axis == 0 and own.shape[0] % step == 0:
            chunks, ((offsets, sizes),) = _pieces([own], step=step)
            arrays[name] = replace(own, chunks=chunks, grid=ChunkGrid(offsets, sizes))
    return replace(header, arrays=arrays)


def _sources(headers: Sequence[FileHeader], *, whole_digests: bool) -> tuple[SourceFile, ...]:
    return tuple(
        SourceFile(
            address=header.address,
            bytes=header.bytes,
            modified_ns=header.modified_ns,
            # An object is known by its etag.
            digest="" if is_remote(header.address) else digest_of(Path(header.address), whole=whole_digests),
            etag=header.etag,
            steps=header.steps,
            tracking_id=str(header.attributes.get("tracking_id", "")),
            variables=header.variables,
        )
        for header in headers
    )


def _behind(array: CubeArray, later: CubeArray) -> CubeArray:
    axis = array.dims.index(TIME)
    assert array.references is not None
    assert later.references is not None
    before, after = array.references, later.references
    references = ChunkReferences(
        files=np.concatenate([before.files, after.files], axis=axis),
        offsets=np.concatenate([before.offsets, after.offsets], axis=axis),
        sizes=np.concatenate([before.sizes, after.sizes], axis=axis),
    )
    shape = tuple(size + later.shape[axis] if place == axis else size for place, size in enumerate(array.shape))
    return replace(array, shape=shape, references=references)


def mixed_arrays(headers: Sequence[FileHeader]) -> tuple[str, ...]:
    """Return arrays over time that are loaded from some files and pointed at in others, because of their size."""
    return tuple(
        name
        for name, array in headers[0].arrays.items()
        if array.time_axis is not None
        and len({header.arrays[name].values is None for header in headers if name in header.arrays}) > 1
    )


def _fixed(array: ArrayHeader) -> CubeArray:
    references = None
    chunks, codecs = array.chunks, array.codecs
    if array.values is None and array.grid is not None:
        chunks, grids = _pieces([array])
        references = _references(grids[0], 0)
    return _array(array, array.shape, chunks, codecs, references, array.values)


def _array(
    array: ArrayHeader,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    codecs: tuple[Mapping[str, Any], ...],
    references: ChunkReferences | None,
    values: "NDArray[Any] | None",
) -> CubeArray:
    return CubeArray(
        dims=array.dims,
        shape=shape,
        dtype=array.dtype if values is None else values.dtype,
        chunks=chunks if values is None else shape,
        codecs=codecs if values is None else (),
        fill_value=array.fill_value,
        attributes=array.attributes,
        references=references,
        values=values,
    )


# -- loaded arrays ---------------------------------------------------------------------------------------------------


def _clocks(header: FileHeader) -> dict[str, str]:
    """Return which array's units each array over time is counted in: its own, or those of whose bounds it is."""
    clocks = {}
    for name, array in header.arrays.items():
        if "since" in str(array.attributes.get("units", "")):
            clocks[name] = name  # bounds, too, may have units of their own
            for key in ("bounds", "climatology"):
                if bounds := array.attributes.get(key):
                    clocks.setdefault(str(bounds), name)
    return clocks


def _joined_values(name: str, headers: Sequence[FileHeader], clock: str | None) -> CubeArray:
    parts = [header.arrays[name] for header in headers]
    axis = parts[0].dims.index(TIME)
    contents = [part.values for part in parts if part.values is not None]
    if clock is not None and clock in headers[0].arrays:
        contents = _in_one_unit(contents, [header.arrays[clock].attributes for header in headers])
    joined = np.concatenate(contents, axis=axis) if len(contents) > 1 else contents[0]
    for key in ("_FillValue", "missing_value"):
        missing = parts[0].attributes.get(key)
        # Preflight saw no missing times: so this one is missing only because it is counted from another day.
        if name == TIME and missing is not None and np.isin(joined, missing).any():
            raise VerificationFailed(
                f"A time counted in the units of '{headers[0].name}' is {missing}, which the files declare as {key}.",
                hint="Give the files the same time units, for example with cdo setreftime, or convert them to Zarr.",
                field="source",
            )
    return _array(parts[0], joined.shape, joined.shape, (), None, joined)


def _in_one_unit(contents: "Sequence[NDArray[Any]]", clocks: Sequence[Mapping[str, Any]]) -> "list[NDArray[Any]]":
    """Return times counted in the units of the first file; each file's are decoded in its own."""
    import cftime

    units = str(clocks[0]["units"])
    calendar = str(clocks[0].get("calendar", "standard"))
    result = []
    for values, clock in zip(contents, clocks, strict=True):
        own = str(clock["units"])
        if own == units:
            result.append(values)
            continue
        dates = cftime.num2date(values, own, calendar)
        numbers = np.asarray(cftime.date2num(dates, units, calendar), dtype=np.float64)
        whole = (
            numbers.astype(contents[0].dtype)
            if contents[0].dtype.kind in "iu" and _fits(numbers, contents[0].dtype)
            else numbers
        )
        result.append(whole)
    return result


def _fits(numbers: "NDArray[np.float64]", dtype: "np.dtype[Any]") -> bool:
    """Tell whether numbers are whole and in the range of a type."""
    limits = np.iinfo(dtype)
    return bool((numbers == np.rint(numbers)).all() and (numbers >= limits.min).all() and (numbers < limits.max).all())


# -- arrays that are pointed at --------------------------------------------------------------------------------------


def _joined_references(parts: Sequence[ArrayHeader], *, step: int | None = None) -> CubeArray:
    axis = parts[0].dims.index(TIME)
    chunks, grids = _pieces(parts, step=step)
    each = [_references(grid, number) for number, grid in enumerate(grids)]
    references = each[0]
    if len(each) > 1:
        references = ChunkReferences(
            files=np.concatenate([one.files for one in each], axis=axis),
            offsets=np.concatenate([one.offsets for one in each], axis=axis),
            sizes=np.concatenate([one.sizes for one in each], axis=axis),
        )
    shape = tuple(
        sum(part.shape[axis] for part in parts) if place == axis else size for place, size in enumerate(parts[0].shape)
    )
    return _array(parts[0], shape, chunks, parts[0].codecs, references, None)


def _references(grid: "tuple[NDArray[np.uint64], NDArray[np.uint64]]", number: int) -> ChunkReferences:
    offsets, sizes = grid
    files = np.where(sizes > 0, np.int32(number), np.int32(UNWRITTEN))
    return ChunkReferences(files=files, offsets=offsets, sizes=sizes)


def _pieces(
    parts: Sequence[ArrayHeader], *, step: int | None = None
) -> "tuple[tuple[int, ...], list[tuple[NDArray[np.uint64], NDArray[np.uint64]]]]":
    """Return the shape of a chunk (`step` long, where it is given), and offsets and sizes of each file's chunks.

    An array in one unfiltered piece may be cut between any two of its rows: files of 365 and 366 days then still join,
    because every file is a whole number of chunks. (Zarr pads a partial last chunk, a file does not.)
    """
    grids = [(part.grid.offsets, part.grid.sizes) for part in parts if part.grid is not None]
    first = parts[0]
    can_be_cut = all(is_one_plain_piece(part) for part in parts) and first.time_axis in (0, None) and first.shape
    if not can_be_cut:
        return first.chunks, grids
    row_bytes = math.prod(first.shape[1:]) * first.dtype.itemsize
    step = step or _largest_divisor(
        math.gcd(*(part.shape[0] for part in parts)), max(PIECE_BYTES // max(row_bytes, 1), 1)
    )
    cut = []
    for part, (offsets, sizes) in zip(parts, grids, strict=True):
        count = part.shape[0] // step
        shape = (count, *(1,) * (len(part.shape) - 1))
        begins = offsets.ravel()[0] + np.arange(count, dtype=np.uint64) * np.uint64(step * row_bytes)
        written = np.uint64(step * row_bytes if sizes.any() else 0)
        cut.append((begins.reshape(shape), np.full(shape, written, np.uint64)))
    return (step, *first.shape[1:]), cut


def is_one_plain_piece(array: ArrayHeader) -> bool:
    """Tell whether a file stores an array unfiltered in one piece, so that it may be cut between its rows."""
    return (
        array.grid is not None
        and not array.codecs
        and array.chunks == array.shape
        and array.layout is not Layout.COMPACT
    )


def _largest_divisor(number: int, at_most: int) -> int:
    """Return the largest divisor of `number` that is not above `at_most`."""
    best = 1
    for low in range(1, math.isqrt(number) + 1):
        if number % low == 0:
            best = max([best, *(d for d in (low, number // low) if d <= at_most)])
    return best


# -- more than one series --------------------------------------------------------------------------------------------


def merge_variables(cubes: Sequence[CubeManifest]) -> CubeManifest:
    """Return one cube with the variables of all, which share their coordinates and times.

    Raises:
        VerificationFailed: Two cubes differ in a coordinate that both have.
    """
    sources: tuple[SourceFile, ...] = ()
    arrays: dict[str, CubeArray] = {}
    for cube in cubes:
        for name, array in cube.arrays.items():
            if name not in arrays:
                arrays[name] = _renumbered(array, len(sources))
            else:
                _check_shared(name, arrays[name], array, cubes[0], cube)
        sources += cube.sources
    variables = tuple(dict.fromkeys(name for cube in cubes for name in cube.variables))
    return CubeManifest(sources=sources, attributes=cubes[0].attributes, arrays=arrays, variables=variables)


def stack_members(cubes: Sequence[CubeManifest], members: Sequence[str]) -> CubeManifest:
    """Return one cube with a first dimension ``member_id``, for members that share their coordinates and times.

    Raises:
        VerificationFailed: Two members differ in a coordinate, or in the form of a variable.
    """
    first = cubes[0]
    sources: tuple[SourceFile, ...] = ()
    starts = []
    for cube, member in zip(cubes, members, strict=True):
        starts.append(len(sources))
        sources += tuple(source.model_copy(update={"member": member}) for source in cube.sources)
    arrays: dict[str, CubeArray] = {
        MEMBER: CubeArray(
            dims=(MEMBER,),
            shape=(len(members),),
            dtype=np.dtype(object),
            chunks=(len(members),),
            attributes={"standard_name": "realization", "long_name": "ensemble member"},
            values=np.array(members, dtype=object),
        )
    }
    for name, array in first.arrays.items():
        for cube in cubes[1:]:
            _check_shared(name, array, cube.arrays.get(name), first, cube)
        if name not in first.variables or array.references is None:
            arrays[name] = array
            continue
        each = [_renumbered(cube.arrays[name], start) for cube, start in zip(cubes, starts, strict=True)]
        references = [one.references for one in each if one.references is not None]
        stacked = ChunkReferences(
            files=np.stack([one.files for one in references]),
            offsets=np.stack([one.offsets for one in references]),
            sizes=np.stack([one.sizes for one in references]),
        )
        arrays[name] = replace(
            array,
            dims=(MEMBER, *array.dims),
            shape=(len(members), *array.shape),
            chunks=(1, *array.chunks),
            references=stacked,
        )
    return CubeManifest(sources=sources, attributes=first.attributes, arrays=arrays, variables=first.variables)


def _renumbered(array: CubeArray, start: int) -> CubeArray:
    if array.references is None or start == 0:
        return array
    files = array.references.files
    moved = np.where(files == UNWRITTEN, files, files + np.int32(start))
    return replace(array, references=replace(array.references, files=moved))


def _check_shared(
    name: str, known: CubeArray, other: CubeArray | None, first_cube: CubeManifest, cube: CubeManifest
) -> None:
    """Check that an array that two cubes have can be one."""
    reason = None
    if other is None:
        reason = "is missing in the second"
    elif (known.dims, known.shape, known.chunks, known.codecs) != (other.dims, other.shape, other.chunks, other.codecs):
        reason = f"has the shape {other.shape} in chunks of {other.chunks}, not {known.shape} in {known.chunks}"
    elif known.dtype != other.dtype and known.values is None:
        reason = f"is {other.dtype}, not {known.dtype}"
    elif not all(same_meaning(other.attributes.get(k), known.attributes.get(k), known.dtype) for k in MEANING):
        reason = "has another unit, scale, fill value or calendar"
    elif known.values is not None and (other.values is None or not same_coordinate(known.values, other.values)):
        reason = "has other content"
    if reason:
        raise VerificationFailed(
            f"'{name}' {reason}: '{first_cube.sources[0].name}' and '{cube.sources[0].name}' cannot be one cube.",
            hint="Leave one of them out, or make cubes of their own: leave the parameter join out.",
            field="join",
        )
