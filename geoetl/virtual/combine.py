"""References of one cube: each file's chunks where they lie, joined along time.

VirtualiZarr reads the chunk index of each file and writes the kerchunk document; between the two every file is
compared with the first, because references carry one set of attributes for all.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np

from geoetl.core.errors import UnreadableFile, VerificationFailed
from geoetl.store.gate import Format, Gate, check_netcdf
from geoetl.virtual.hdf5 import HDF5Parser

if TYPE_CHECKING:
    import xarray as xr
    from virtualizarr.manifests import ManifestArray

# What gives stored numbers their meaning: a reference cube has one value of each for all files.
MEANING = ("scale_factor", "add_offset", "_FillValue", "missing_value", "units", "calendar", "_Unsigned")
# Rounding noise between files of one grid, in the coordinate's unit: 1e-9 degrees are a tenth of a millimetre.
COORDINATE_TOLERANCE = 1e-9
# Variables up to this size (coordinates, bounds) are copied into the references instead of pointed at.
INLINE_BYTES = 4 * 1024 * 1024


def combine(gate: Gate, paths: Sequence[Path], variable: str | None) -> dict[str, Any]:
    """Return the kerchunk document (version 1) of the files joined along time.

    Args:
        gate: Opens the files.
        paths: In the order of time.
        variable: The cube's variable; None takes every variable that has three dimensions or two and no time.

    Raises:
        VerificationFailed: Two files differ in what a reference cube can have only once; the message names the file,
            the variable and the attribute.
        UnreadableFile: A file is not readable, or the variable is not in it.
    """
    parts = [_part(gate, path, variable) for path in paths]
    first = parts[0]
    for path, part in zip(paths[1:], parts[1:], strict=True):
        _compare(first, part, paths[0], path)
    if len(parts) == 1:
        whole = first
    else:
        import xarray as xr

        _check_order(parts, paths)
        parts = _split_contiguous(parts)
        try:
            whole = xr.concat(
                parts, dim="time", data_vars="minimal", coords="minimal", compat="override", join="override"
            )
        except (ValueError, NotImplementedError) as error:
            raise VerificationFailed(
                f"The files of this cube cannot be joined by references: {str(error).splitlines()[0][:200]}",
                hint="Convert this cube to Zarr instead, or register its files as separate items.",
            ) from None
    return _document(whole)


def _part(gate: Gate, path: Path, variable: str | None) -> "xr.Dataset":
    """Return one file with its data variables virtual and everything else loaded, times decoded."""
    import xarray as xr
    from obspec_utils.registry import ObjectStoreRegistry
    from obstore.store import LocalStore
    from virtualizarr.parsers import NetCDF3Parser

    coder = xr.coders.CFDatetimeCoder(use_cftime=True)
    with gate.open_netcdf(path, decode_times=coder) as opened:
        names = [variable] if variable else [str(n) for n, v in opened.data_vars.items() if _is_grid(v)]
        missing = [name for name in names if name not in opened.data_vars]
        if missing or not names:
            raise UnreadableFile(
                f"'{path.name}' has no variable '{missing[0]}'."
                if missing
                else f"'{path.name}' holds no gridded variable.",
                hint=f"It holds: {', '.join(map(str, opened.data_vars))}.",
                field="source",
            )
        others = [str(n) for n, v in opened.variables.items() if n not in names and v.nbytes <= INLINE_BYTES]
        loaded = opened[[n for n in others if n in opened.data_vars]].load()
        loaded = loaded.assign_coords({n: opened[n].load() for n in others if n in opened.coords})
    registry = ObjectStoreRegistry({"file://": LocalStore()})
    parser = HDF5Parser(gate, tuple(names)) if check_netcdf(path) is Format.HDF5 else NetCDF3Parser()
    try:
        store = parser(url=path.as_uri(), registry=registry)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise UnreadableFile(
            f"The chunks of '{path.name}' cannot be referenced: {str(error).splitlines()[0][:200]}",
            hint="Convert the file to Zarr or to plain NetCDF-4.",
            field="source",
        ) from None
    virtual = store.to_virtual_dataset(loadable_variables=[], decode_times=False)
    loaded.attrs = _json_values(loaded.attrs)
    for key in loaded.variables:
        loaded[key].attrs = _json_values(loaded[key].attrs)
    return loaded.assign({name: virtual[name].variable for name in names})


def _is_grid(variable: "xr.DataArray") -> bool:
    return variable.ndim >= 2 and "bnds" not in variable.dims and variable.size > 4


def _compare(first: "xr.Dataset", other: "xr.Dataset", first_path: Path, path: Path) -> None:
    def differs(name: str, what: str, got: Any, expected: Any) -> VerificationFailed:
        return VerificationFailed(
            f"'{path.name}' cannot be joined with '{first_path.name}': {what} of '{name}' is {_short(got)} there and "
            f"{_short(expected)} here.",
            hint="References carry one value for all files; leave the file out, or convert the cube to Zarr.",
            field="source",
        )

    for name, variable in _virtual(first).items():
        if name not in other.variables:
            raise differs(name, "the presence", "missing", "given")
        theirs = other[name].variable
        if theirs.dims != variable.dims:
            raise differs(name, "the dimensions", theirs.dims, variable.dims)
        mine, its = variable.data.metadata, theirs.data.metadata
        for what, got, expected in (
            ("the data type", its.data_type, mine.data_type),
            ("the codec chain", its.codecs, mine.codecs),
            ("the fill value", _plain(its.fill_value), _plain(mine.fill_value)),
        ):
            if got != expected:
                raise differs(name, what, got, expected)
        for attribute in MEANING:
            got, expected = _plain(theirs.attrs.get(attribute)), _plain(variable.attrs.get(attribute))
            if got != expected:
                raise differs(name, attribute, got, expected)
    for key, coordinate in first.variables.items():
        if "time" in coordinate.dims or key in _virtual(first):
            continue
        if key not in other.variables or not same_coordinate(other[key].to_numpy(), coordinate.to_numpy()):
            raise differs(str(key), "the content", "different or missing", "as in the first file")
    if "time" in first.variables and first["time"].dtype == object:
        calendars = [d["time"].encoding.get("calendar", "standard") for d in (first, other)]
        if calendars[0] != calendars[1]:
            raise differs("time", "the calendar", calendars[1], calendars[0])


def _check_order(parts: "Sequence[xr.Dataset]", paths: Sequence[Path]) -> None:
    for number in range(1, len(parts)):
        if "time" not in parts[number].dims:
            raise VerificationFailed(
                f"'{paths[number].name}' has no time, so it cannot follow '{paths[number - 1].name}'.",
                hint="Register the files as separate items.",
            )
        before, after = parts[number - 1]["time"].to_numpy()[-1], parts[number]["time"].to_numpy()[0]
        if after <= before:
            raise VerificationFailed(
                f"'{paths[number].name}' begins at {after}, before '{paths[number - 1].name}' ends at {before}.",
                hint="Leave out the file that overlaps.",
                field="source",
            )


def _split_contiguous(parts: "list[xr.Dataset]") -> "list[xr.Dataset]":
    """Cut variables that each file stores in one unfiltered piece into equal time chunks.

    Reference cubes need equal chunks; an unfiltered piece may be cut between any two of its rows, so files of 365 and
    366 days still join.
    """
    for name, variable in _virtual(parts[0]).items():
        arrays = [part[name].variable.data for part in parts]
        axis = variable.dims.index("time")
        if axis != 0 or not all(_is_one_plain_piece(array) for array in arrays):
            continue
        # Every file has to be a whole number of chunks: Zarr pads a partial last chunk, a file does not.
        step = math.gcd(*(array.shape[0] for array in arrays))
        parts = [
            part.assign({name: (variable.dims, _cut(array, step), part[name].attrs)})
            for part, array in zip(parts, arrays, strict=True)
        ]
    return parts


def _is_one_plain_piece(array: "ManifestArray") -> bool:
    only_bytes = [type(codec).__name__ for codec in array.metadata.codecs] == ["BytesCodec"]
    return only_bytes and _chunk_shape(array) == array.shape and len(array.manifest.dict()) == 1


def _chunk_shape(array: "ManifestArray") -> tuple[int, ...]:
    from zarr.core.metadata.v3 import RegularChunkGridMetadata

    grid = array.metadata.chunk_grid
    return tuple(grid.chunk_shape) if isinstance(grid, RegularChunkGridMetadata) else ()


def _cut(array: "ManifestArray", step: int) -> "ManifestArray":
    from virtualizarr.manifests import ChunkManifest, ManifestArray
    from zarr.core.metadata.v3 import RegularChunkGridMetadata

    (piece,) = array.manifest.dict().values()
    rows, row_bytes = array.shape[0], math.prod(array.shape[1:]) * array.dtype.itemsize
    count = rows // step
    ones = (1,) * (len(array.shape) - 1)
    offsets = piece["offset"] + np.arange(count, dtype="uint64") * np.uint64(step * row_bytes)
    manifest = ChunkManifest.from_arrays(
        paths=np.full((count, *ones), piece["path"], dtype=np.dtypes.StringDType()),
        offsets=offsets.reshape(count, *ones),
        lengths=np.full((count, *ones), step * row_bytes, dtype="uint64"),
    )
    grid = RegularChunkGridMetadata(chunk_shape=(step, *array.shape[1:]))
    return ManifestArray(metadata=replace(array.metadata, chunk_grid=grid), chunkmanifest=manifest)


def _virtual(dataset: "xr.Dataset") -> "Mapping[str, xr.Variable]":
    from virtualizarr.manifests import ManifestArray

    return {str(n): v for n, v in dataset.variables.items() if isinstance(v._data, ManifestArray)}


def _document(whole: "xr.Dataset") -> dict[str, Any]:
    for name in whole.variables:
        if name == "time" or "time" in str(name):
            whole[name].encoding.pop("chunksizes", None)
    virtual = set(_virtual(whole))
    no_fill = {
        name for name in virtual if "_FillValue" not in whole[name].attrs and "missing_value" not in whole[name].attrs
    }
    document: dict[str, Any] = whole.vz.to_kerchunk(format="dict")
    references = document["refs"]
    # VirtualiZarr 2.8 writes a scalar's chunk under "name/"; readers look for "name/0" and find nothing (issue 968).
    for key in [key for key in references if key.endswith("/")]:
        references[f"{key}0"] = references.pop(key)
    for name in no_fill:
        _drop_default_fill(references, name)
    plain = {key: _plain_address(value) for key, value in references.items()}
    return {"version": 1, "refs": {key: _strict(key, value) for key, value in plain.items()}}


def _plain_address(reference: Any) -> Any:
    """Return a chunk's reference with the path of its file as it is: VirtualiZarr writes it percent-encoded."""
    if isinstance(reference, list) and str(reference[0]).startswith(("/", "file:")):
        return [unquote(urlsplit(str(reference[0])).path), *reference[1:]]
    return reference


def _drop_default_fill(references: dict[str, Any], name: str) -> None:
    """Unset the fill value of an array whose file declares none and whose chunks are all there.

    In Zarr 2 the fill value means missing data to xarray; HDF5's default one does not.
    """
    array = json.loads(references[f"{name}/.zarray"])
    counts = [math.ceil(size / chunk) for size, chunk in zip(array["shape"], array["chunks"], strict=True)]
    written = sum(1 for key in references if key.startswith(f"{name}/") and not key.endswith((".zarray", ".zattrs")))
    if written == math.prod(counts):
        references[f"{name}/.zarray"] = json.dumps({**array, "fill_value": None})


def _strict(key: str, value: Any) -> Any:
    """Make the metadata strict JSON: a bare NaN becomes the text "NaN", which Zarr reads as one."""
    if not isinstance(value, str) or not key.endswith((".zattrs", ".zarray", ".zgroup")):
        return value
    return json.dumps(json.loads(value, parse_constant=str), allow_nan=False)


def write_document(document: Mapping[str, Any], path: Path) -> None:
    """Write a kerchunk document as JSON."""
    path.write_text(json.dumps(document, allow_nan=False, separators=(",", ":")), "utf-8")


def same_coordinate(a: "np.ndarray[Any, Any]", b: "np.ndarray[Any, Any]") -> bool:
    """Tell whether two coordinates are the same up to rounding noise."""
    if a.shape != b.shape:
        return False
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        return bool(np.allclose(a, b, rtol=0, atol=COORDINATE_TOLERANCE, equal_nan=True))
    return bool(np.array_equal(a, b))


def _plain(value: Any) -> Any:
    """Return a comparable form: NaN equals NaN, arrays become lists."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def _json_values(attributes: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return attributes as JSON can hold them."""
    return {
        name: value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        for name, value in attributes.items()
    }


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
