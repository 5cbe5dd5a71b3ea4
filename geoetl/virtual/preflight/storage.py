"""How each file is stored, looked at by itself: what keeps its arrays from being pointed at."""

import re
from collections.abc import Iterator, Sequence

from geoetl.core.findings import Severity
from geoetl.store.gate import Format
from geoetl.virtual.header import ArrayHeader, ChunkGrid, FileHeader
from geoetl.virtual.preflight.notes import Note
from geoetl.virtual.preflight.texts import (
    REFERABLE,
    attribute_key,
    attribute_text,
    codecs_text,
    dtype_text,
)

# What Zarr keeps for itself, what leads out of a folder, and netCDF-4's name for a variable called like a dimension.
_UNFIT_NAME = re.compile(r"\.\.?|\.z(array|attrs|group|metadata)|zarr\.json|.*[\\/].*|_nc4_non_coord_.*", re.DOTALL)
_MAX_NAME_BYTES = 200


def check_storage(headers: Sequence[FileHeader], *, fill_is_missing: bool) -> Iterator[Note]:
    """Return what is noticed in each file."""
    for number, header in enumerate(headers):
        if header.container is Format.NETCDF3:
            said = "The format of {files} is NetCDF-3, which the NetCDF-3 reader takes."
            yield Note(Severity.INFO, "netcdf3", said, (number,), got=Format.NETCDF3)
        yield from _names(number, header)
        yield from _lengths(number, header)
        for array in header.arrays.values():
            yield from _scales(number, array)
            if array.values is None:
                yield from _filters(number, array)
                if array.grid is not None and not array.grid.is_complete:
                    yield _unwritten(number, array, array.grid, fill_is_missing)


def sizes_of(header: FileHeader) -> dict[str, int]:
    """Return the size of each dimension: that of its longest array."""
    sizes = dict(header.dimensions)
    for array in header.arrays.values():
        for dim, size in zip(array.dims, array.shape, strict=True):
            sizes[dim] = max(size, sizes.get(dim, 0))
    return sizes


def _names(number: int, header: FileHeader) -> Iterator[Note]:
    """Note arrays whose names mean something else in a Zarr store, or are netCDF-4's own makeshift."""
    for name in header.arrays:
        if _UNFIT_NAME.fullmatch(name) or len(name.encode("utf-8", "surrogateescape")) > _MAX_NAME_BYTES:
            said = f"The name of the array '{name[:60]}' in {{files}} cannot be used in references."
            remedy = "Rename it, for example with ncrename, or leave it out with ncks -x -v."
            yield Note(Severity.ERROR, "name", said, (number,), name, remedy=remedy)


def _lengths(number: int, header: FileHeader) -> Iterator[Note]:
    """Note arrays that are stored shorter than their dimension, as NetCDF-4 does along one that may grow.

    NetCDF readers fill them up; joined by references, they would shift everything behind.
    """
    sizes = sizes_of(header)
    for name, array in header.arrays.items():
        for dim, size in zip(array.dims, array.shape, strict=True):
            if size != sizes[dim]:
                said = (
                    f"'{name}' in {{files}} is stored for {size} places along '{dim}' only, of {sizes[dim]}; NetCDF "
                    "readers fill up the rest, references cannot."
                )
                got, expected = f"{size} along {dim}", f"{sizes[dim]} along {dim}"
                remedy = "Convert the files to Zarr, rewrite this one with nccopy -u, or leave it out."
                yield Note(Severity.ERROR, "short_array", said, (number,), name, got, expected, remedy)


def _scales(number: int, array: ArrayHeader) -> Iterator[Note]:
    if array.narrow:
        listed = " and ".join(array.narrow)
        verb = "is no 64-bit number" if len(array.narrow) == 1 else "are no 64-bit numbers"
        said = (
            f"{listed} of '{array.name}' in {{files}} {verb}, and references can hold no others: readers would decode "
            "values that differ in the last digits."
        )
        got, expected, remedy = "a narrower number", "a 64-bit number", "Convert the files to Zarr."
        yield Note(Severity.ERROR, "narrow_scale", said, (number,), array.name, got, expected, remedy)


def _filters(number: int, array: ArrayHeader) -> Iterator[Note]:
    def error(code: str, said: str, got: str, expected: str, remedy: str) -> Note:
        return Note(Severity.ERROR, code, said, (number,), array.name, got, expected, remedy)

    whose = f"'{array.name}' in {{files}}"
    if array.unsupported is not None:
        yield error(
            "unsupported_filter",
            f"{whose} is packed with the HDF5 filter '{array.unsupported}', which readers of references do not know.",
            array.unsupported,
            "shuffle, zlib or fletcher32",
            "Convert the files to Zarr, or pack them anew with nccopy -d 4 -s.",
        )
    elif array.dtype.kind not in REFERABLE or array.grid is None:
        yield error(
            "not_referencable",
            f"{whose} holds {dtype_text(array)}, to which references cannot point.",
            dtype_text(array),
            "whole or floating-point numbers",
            "Choose other variables, or convert the files to Zarr.",
        )
    if array.skipped_filters is not None:
        yield error(
            "filter_mask",
            f"The chunk {array.skipped_filters} of {whose} was stored without one of the filters that the others have, "
            "so references would unpack it to wrong values.",
            "a filter was skipped",
            f"every chunk packed with {codecs_text(array)}",
            "Convert the files to Zarr, or rewrite this one with nccopy.",
        )


def _unwritten(number: int, array: ArrayHeader, grid: ChunkGrid, fill_is_missing: bool) -> Note:
    key, dtype = "_FillValue", array.dtype
    stored, declared = attribute_text(array.fill_value, key, dtype), array.attributes.get(key)
    chunks = f"{(grid.sizes == 0).sum()} of {grid.sizes.size} chunks"
    said = f"{chunks} of '{array.name}' in {{files}} were never written and read as"
    if attribute_key(declared, key, dtype) == attribute_key(array.fill_value, key, dtype):
        said = f"{said} missing (_FillValue {stored})."
        return Note(Severity.INFO, "unwritten_chunks", said, (number,), array.name, chunks)
    told = "no _FillValue" if declared is None else f"_FillValue {attribute_text(declared, key, dtype)}"
    said = f"{said} {stored}, but the file declares {told}"
    if not fill_is_missing:
        said = f"{said}: they stay numbers, as NetCDF readers show them."
        return Note(Severity.INFO, "undeclared_fill", said, (number,), array.name, told)
    said = f"{said}: readers of kerchunk references would show missing values where NetCDF readers show numbers."
    expected, remedy = f"_FillValue {stored}", "Write the cube with format=icechunk, or convert the files to Zarr."
    return Note(Severity.ERROR, "undeclared_fill", said, (number,), array.name, told, expected, remedy)
