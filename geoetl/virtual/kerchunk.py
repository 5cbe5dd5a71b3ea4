"""Kerchunk references of a cube, as JSON and as Parquet, written from arrays in bulk and read back.

Sources: kerchunk's reference specification, version 1; the layout of Parquet references in fsspec's
``LazyReferenceMapper``; Zarr format 2. Both forms also hold, under the key ``sources``, which other readers pass over,
what each source file was like: so a changed one is found when the cube is opened.
"""

import base64
import binascii
import json
import math
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from geoetl.core.errors import UnreadableFile
from geoetl.store.gate import read_record
from geoetl.store.sources import SourceFile
from geoetl.virtual.manifest import UNWRITTEN, ChunkReferences, CubeArray, CubeManifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOURCES, VARIABLES = "sources", "variables"
# References in one Parquet file: few enough to load at once, enough that ten million make a hundred files.
RECORD_SIZE = 100_000
# Loaded arrays above this size are packed.
_PACK_BYTES = 256
_PACKING: Mapping[str, Any] = {"id": "zlib", "level": 1}
# fsspec answers every chunk of an array without dimensions with nothing, unless its key stands among the metadata,
# whose values it gives out as JSON. Base64 passes over the quotes of a JSON string, so this codec reads the value.
_SCALAR_FILTER: Mapping[str, Any] = {"id": "base64"}


# -- Zarr 2 metadata -------------------------------------------------------------------------------------------------


def zarray(array: CubeArray, *, scalar_filter: bool = False) -> dict[str, Any]:
    """Return the ``.zarray`` of an array (Zarr 2).

    In Zarr 2 the fill value means missing data to xarray, so it is set only where the file declares one or where
    chunks were never written.
    """
    dtype = storable(array).dtype
    filters = [dict(codec) for codec in array.codecs]
    compressor = dict(_PACKING) if _is_packed(array) else None
    if scalar_filter and not array.shape:
        filters, compressor = [dict(_SCALAR_FILTER)], None
    return {
        "zarr_format": 2,
        "shape": list(array.shape),
        "chunks": [max(size, 1) for size in array.chunks],
        "dtype": dtype.str,
        "order": "C",
        "fill_value": _json_fill(_fill(array)),
        "filters": filters or None,
        "compressor": compressor,
    }


def zattrs(array: CubeArray) -> dict[str, Any]:
    """Return the ``.zattrs`` of an array: its own attributes and the names of its dimensions."""
    kept = {name: value for name, value in array.attributes.items() if name != "_FillValue"}
    if _is_nan(kept.get("missing_value")):
        del kept["missing_value"]  # NaN is no JSON, and missing anyway
    return {**kept, "_ARRAY_DIMENSIONS": list(array.dims)}


def _fill(array: CubeArray) -> Any:
    if array.declared_fill is not None:
        return array.declared_fill
    is_complete = array.references is None or array.references.is_complete
    return None if is_complete else array.fill_value


def _json_fill(value: Any) -> Any:
    if value is None:
        return None
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and not math.isfinite(plain):
        return "NaN" if math.isnan(plain) else "Infinity" if plain > 0 else "-Infinity"
    return plain


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def storable(array: CubeArray) -> "NDArray[Any]":
    """Return the loaded content in a data type that Zarr 2 knows; of an array that is pointed at, an empty one."""
    if array.values is None:
        return np.empty(0, array.dtype)
    if array.values.dtype.kind == "O":
        texts = np.vectorize(_text, otypes=[object])(array.values) if array.values.size else array.values
        return np.asarray(texts, dtype=np.dtype("U1") if not array.values.size else str)
    return array.values


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _is_packed(array: CubeArray) -> bool:
    return array.values is not None and storable(array).nbytes > _PACK_BYTES


def _content(array: CubeArray) -> bytes:
    """Return a loaded array as the bytes of its one chunk."""
    import zlib

    data = np.ascontiguousarray(storable(array)).tobytes()
    return zlib.compress(data, int(_PACKING["level"])) if _is_packed(array) else data


def _strict(value: Any) -> str:
    """Return strict JSON: a bare NaN in an attribute becomes the text "NaN"."""
    return json.dumps(_finite(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def _memory(manifest: CubeManifest) -> dict[str, Any]:
    return {
        SOURCES: [source.model_dump(mode="json", exclude_defaults=True) for source in manifest.sources],
        VARIABLES: list(manifest.variables),
    }


# -- JSON ------------------------------------------------------------------------------------------------------------


def write_json(manifest: CubeManifest, path: Path) -> None:
    """Write kerchunk references, version 1, as one JSON file."""
    with path.open("w", encoding="utf-8") as out:
        memory = _strict(_memory(manifest))[1:-1]
        out.write(f'{{"version":1,{memory},"refs":{{".zgroup":{_as_text({"zarr_format": 2})}')
        out.write(f',".zattrs":{_as_text(manifest.attributes)}')
        for name, array in manifest.arrays.items():
            key = json.dumps(name, ensure_ascii=False)[1:-1]
            out.write(f',"{key}/.zarray":{_as_text(zarray(array))},"{key}/.zattrs":{_as_text(zattrs(array))}')
            if array.references is not None:
                _write_references(out, key, array.references, manifest.sources)
            elif 0 not in array.shape:
                place = ".".join("0" for _ in array.shape) or "0"
                out.write(f',"{key}/{place}":"base64:{base64.b64encode(_content(array)).decode()}"')
        out.write("}}")


def _as_text(value: Any) -> str:
    return json.dumps(_strict(value), ensure_ascii=False)


def _write_references(out: TextIO, key: str, references: ChunkReferences, sources: tuple[SourceFile, ...]) -> None:
    """Write the chunks of one array, one step of the first dimension at a time."""
    addresses = [json.dumps(source.address, ensure_ascii=False) for source in sources]
    rest = [".".join(map(str, place)) for place in product(*map(range, references.files.shape[1:]))]
    tails = [f".{place}" if place else "" for place in rest]
    width = len(tails)
    files = references.files.reshape(-1, width)
    offsets, sizes = references.offsets.reshape(-1, width), references.sizes.reshape(-1, width)
    block = max(RECORD_SIZE // width, 1)
    for start in range(0, len(files), block):
        rows = slice(start, start + block)
        out.write(
            "".join(
                f',"{key}/{number}{tail}":[{addresses[file]},{offset},{size}]'
                for number, (row_files, row_offsets, row_sizes) in enumerate(
                    zip(files[rows].tolist(), offsets[rows].tolist(), sizes[rows].tolist(), strict=True), start
                )
                for tail, file, offset, size in zip(tails, row_files, row_offsets, row_sizes, strict=True)
                if file != UNWRITTEN
            )
        )


# -- Parquet ---------------------------------------------------------------------------------------------------------


def write_parquet(manifest: CubeManifest, folder: Path) -> None:
    """Write kerchunk references as a folder of Parquet files, `RECORD_SIZE` chunks in each."""
    folder.mkdir(parents=True, exist_ok=True)
    metadata: dict[str, Any] = {".zgroup": {"zarr_format": 2}, ".zattrs": _finite(dict(manifest.attributes))}
    for name, array in manifest.arrays.items():
        metadata[f"{name}/.zarray"] = zarray(array, scalar_filter=True)
        metadata[f"{name}/.zattrs"] = _finite(zattrs(array))
        if array.references is not None:
            _write_records(folder / name, array.references, manifest.sources)
        elif not array.shape:
            plain = np.ascontiguousarray(storable(array)).tobytes()
            metadata[f"{name}/0"] = base64.b64encode(plain).decode()
        elif 0 not in array.shape:
            _write_content(folder / name, _content(array))
    document = {"metadata": metadata, "record_size": RECORD_SIZE, **_memory(manifest)}
    (folder / ".zmetadata").write_text(_strict(document), "utf-8")


def _write_records(folder: Path, references: ChunkReferences, sources: tuple[SourceFile, ...]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    schema = pa.schema(
        [
            pa.field("path", pa.dictionary(pa.int32(), pa.string())),
            pa.field("offset", pa.int64(), nullable=False),
            pa.field("size", pa.int64(), nullable=False),
        ]
    )
    addresses = pa.array([source.address for source in sources], pa.string())
    files, offsets, sizes = references.files.ravel(), references.offsets.ravel(), references.sizes.ravel()
    for number, start in enumerate(range(0, len(files), RECORD_SIZE)):
        rows = slice(start, start + RECORD_SIZE)
        numbers = pa.array(files[rows], mask=files[rows] == UNWRITTEN)
        columns = [
            pa.DictionaryArray.from_arrays(numbers, addresses),
            pa.array(offsets[rows].astype(np.int64)),
            pa.array(sizes[rows].astype(np.int64)),
        ]
        pq.write_table(
            pa.table(columns, schema=schema),
            folder / f"refs.{number}.parq",
            compression="zstd",
            # Without a count of nulls fastparquet reads integers as floating-point numbers.
            write_statistics=["offset", "size"],
            use_dictionary=["path"],
            column_encoding={"offset": "DELTA_BINARY_PACKED", "size": "DELTA_BINARY_PACKED"},
        )


def _write_content(folder: Path, content: bytes) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    columns = {
        "path": pa.nulls(1, pa.string()),
        "offset": pa.array([0], pa.int64()),
        "size": pa.array([0], pa.int64()),
        "raw": pa.array([content], pa.binary()),
    }
    pq.write_table(pa.table(columns), folder / "refs.0.parq", compression="zstd", write_statistics=False)


# -- reading back ----------------------------------------------------------------------------------------------------


def read_manifest(path: Path) -> CubeManifest:
    """Read references that this module wrote: a JSON file, or a folder of Parquet files.

    Raises:
        UnreadableFile: They are damaged, or written by another program and without a memory of their sources.
    """
    try:
        return _read_parquet(path) if path.is_dir() else _read_json(path)
    except (ValueError, LookupError, TypeError, AttributeError, OSError, binascii.Error):
        raise UnreadableFile(
            f"'{path.name}' does not hold references that geoetl wrote.",
            hint="Build the cube again from its files.",
            field="item",
        ) from None


def _read_json(path: Path) -> CubeManifest:
    document = json.loads(path.read_bytes())
    sources = tuple(SourceFile.model_validate(source) for source in document[SOURCES])
    numbers = {source.address: number for number, source in enumerate(sources)}
    chunks: dict[str, list[tuple[tuple[int, ...], Any]]] = {}
    metadata: dict[str, Any] = {}
    for key, value in document["refs"].items():
        name, _, last = key.rpartition("/")
        if last.startswith(".z"):
            metadata[key] = json.loads(value)
        else:
            chunks.setdefault(name, []).append((tuple(int(part) for part in last.split(".")), value))
    arrays = {}
    for name, form in _forms(metadata):
        grid = tuple(-(-s // c) for s, c in zip(form["shape"], form["chunks"], strict=True))
        found = chunks.get(name, [])
        if found and isinstance(found[0][1], str):
            content = base64.b64decode(found[0][1].removeprefix("base64:"))
            arrays[name] = _loaded(form, metadata[f"{name}/.zattrs"], content)
        elif 0 in form["shape"]:
            arrays[name] = _loaded(form, metadata[f"{name}/.zattrs"], b"")
        else:
            files, offsets, sizes = _empty(grid)
            if found:
                places = tuple(np.array([place for place, _ in found]).T)
                files[places] = [numbers[value[0]] for _, value in found]
                offsets[places] = [value[1] for _, value in found]
                sizes[places] = [value[2] for _, value in found]
            references = ChunkReferences(files, offsets, sizes)
            arrays[name] = _pointed(form, metadata[f"{name}/.zattrs"], references)
    return CubeManifest(sources, metadata[".zattrs"], arrays, tuple(document[VARIABLES]))


def _read_parquet(folder: Path) -> CubeManifest:
    document = json.loads((folder / ".zmetadata").read_bytes())
    metadata, record_size = document["metadata"], int(document["record_size"])
    sources = tuple(SourceFile.model_validate(source) for source in document[SOURCES])
    numbers = {source.address: number for number, source in enumerate(sources)}
    arrays = {}
    for name, form in _forms(metadata):
        attributes = metadata[f"{name}/.zattrs"]
        grid = tuple(-(-s // c) for s, c in zip(form["shape"], form["chunks"], strict=True))
        if not form["shape"]:
            plain = {**form, "filters": None}
            arrays[name] = _loaded(plain, attributes, base64.b64decode(metadata[f"{name}/0"]))
            continue
        if 0 in form["shape"]:
            arrays[name] = _loaded(form, attributes, b"")
            continue
        files, offsets, sizes = (part.ravel() for part in _empty(grid))
        content: bytes | None = None
        for number in range(-(-len(files) // record_size)):
            table = read_record(folder / name / f"refs.{number}.parq")
            rows = slice(number * record_size, (number + 1) * record_size)
            if "raw" in table.column_names:
                content = table["raw"][0].as_py()
                break
            paths = table["path"].combine_chunks()
            mapped = np.array([numbers[address] for address in paths.dictionary.to_pylist()] or [0], dtype=np.int32)
            codes = paths.indices.fill_null(-1).to_numpy()
            files[rows] = np.where(codes < 0, UNWRITTEN, mapped[codes])
            offsets[rows], sizes[rows] = table["offset"].to_numpy(), table["size"].to_numpy()
        if content is not None:
            arrays[name] = _loaded(form, attributes, content)
        else:
            shaped = (part.reshape(grid) for part in (files, offsets, sizes))
            arrays[name] = _pointed(form, attributes, ChunkReferences(*shaped))
    return CubeManifest(sources, metadata[".zattrs"], arrays, tuple(document[VARIABLES]))


def _empty(
    grid: tuple[int, ...],
) -> "tuple[NDArray[np.int32], NDArray[np.uint64], NDArray[np.uint64]]":
    return np.full(grid, UNWRITTEN, np.int32), np.zeros(grid, np.uint64), np.zeros(grid, np.uint64)


def _forms(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, form in metadata.items():
        if key.endswith("/.zarray"):
            yield key.removesuffix("/.zarray"), form


def _loaded(form: Mapping[str, Any], attributes: Mapping[str, Any], content: bytes) -> CubeArray:
    import zlib

    data = zlib.decompress(content) if form["compressor"] else content
    values = np.frombuffer(data, np.dtype(form["dtype"])).reshape(form["shape"])
    return _array(form, attributes, references=None, values=values)


def _pointed(form: Mapping[str, Any], attributes: Mapping[str, Any], references: ChunkReferences) -> CubeArray:
    return _array(form, attributes, references=references, values=None)


def _array(
    form: Mapping[str, Any],
    attributes: Mapping[str, Any],
    *,
    references: ChunkReferences | None,
    values: "NDArray[Any] | None",
) -> CubeArray:
    dtype = np.dtype(form["dtype"])
    fill = None if form["fill_value"] is None or dtype.kind not in "iufb" else dtype.type(form["fill_value"])
    own = {name: value for name, value in attributes.items() if name != "_ARRAY_DIMENSIONS"}
    if fill is not None:
        own["_FillValue"] = fill.item()
    return CubeArray(
        dims=tuple(attributes["_ARRAY_DIMENSIONS"]),
        shape=tuple(form["shape"]),
        dtype=dtype,
        chunks=tuple(form["chunks"]) if values is None else tuple(form["shape"]),
        codecs=tuple(form["filters"] or ()) if values is None else (),
        fill_value=fill,
        attributes=own,
        references=references,
        values=values,
    )
