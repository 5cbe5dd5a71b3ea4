"""Kerchunk references: a JSON document, or a folder of Parquet files; every target is looked at before it is read."""

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import (
    FormatNotAllowed,
    LimitExceeded,
    OutsideAllowedRoots,
    UnreadableFile,
    VerificationFailed,
)
from geoetl.core.findings import sentences
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.budget import check_array
from geoetl.store.gate.cubes import open_store
from geoetl.store.gate.formats import first_line
from geoetl.store.gate.places import Places
from geoetl.store.remote import RemoteFile, SourcePath, Stamp, stamp_of
from geoetl.store.sources import SourceFile, check_sources

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import xarray as xr

    from geoetl.store.references import JsonReferences, ParquetReferences, Record

# Of the .zmetadata of Parquet references; that of 100 variables takes less than one.
_METADATA_BYTES = 64 * 1024**2
# Rows of one Parquet file of references; kerchunk writes 10,000 to 100,000.
_RECORD_ROWS = 10_000_000
# Of JSON references, which are read whole; a million of them take a hundred.
_JSON_BYTES = 256 * 1024**2
# A packed chunk may be larger than it is unpacked; by less than this.
_INLINE_SLACK_BYTES = 64 * 1024
# Decoders that run what the data say.
_RUNNING_CODECS = frozenset({"pickle"})


def open_references(path: Path, places: Places, limits: LimitSettings, **options: Any) -> "xr.Dataset":
    """See `Gate.open_references`."""
    from geoetl.store.references import ReferenceStore

    references = _opened(path, places, limits)
    return open_store(ReferenceStore(references), path, {"zarr_format": 2, **options})


def check_references(path: Path, places: Places, limits: LimitSettings) -> None:
    """See `Gate.check_references`."""
    references = _opened(path, places, limits)
    if path.is_dir():
        _check_records(path, references.sources, references.metadata)


def _opened(path: Path, places: Places, limits: LimitSettings) -> "JsonReferences | ParquetReferences":
    from geoetl.store.references import JsonReferences

    references = _parquet_references(path, places, limits) if path.is_dir() else _json_references(path, places, limits)
    unpacked = {
        key.removesuffix("/.zarray"): _check_array(key, document, path.name, limits, references.metadata)
        for key, document in references.metadata.items()
        if key.endswith("/.zarray")
    }
    if isinstance(references, JsonReferences):
        _check_inlined(references, unpacked)
    return references


def _json_references(path: Path, places: Places, limits: LimitSettings) -> "JsonReferences":
    from geoetl.store.references import JsonReferences

    try:
        if not path.is_file():
            raise ValueError("no file")  # a pipe or device that one would wait for
        if path.stat().st_size > _JSON_BYTES:
            raise LimitExceeded(
                f"'{path.name}' has {path.stat().st_size:,} bytes; JSON of references may have {_JSON_BYTES:,}.",
                hint="Write the references as Parquet.",
                field="source",
            )
        document = json.loads(path.read_bytes())
        references = document["refs"]
        targets: dict[str, str] = {}
        ends: dict[str, int] = {}
        malformed = ""
        for key, value in references.items():
            if type(value) is not list:
                continue
            target = value[0]
            if target not in ends:
                targets[target], ends[target] = key, 0
            if len(value) == 3 and type(value[1]) is type(value[2]) is int and value[1] >= 0 and value[2] >= 0:
                if value[1] + value[2] > ends[target]:
                    targets[target], ends[target] = key, value[1] + value[2]
            elif len(value) != 1:
                malformed = malformed or key
        if not all(isinstance(target, str) for target in targets):
            raise ValueError("a target is not an address")
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        raise UnreadableFile(
            f"'{path.name}' is not a kerchunk reference file.", hint="Build the references again.", field="source"
        ) from None
    if document.get("templates") or document.get("gen"):
        target, key = next(iter(targets.items()), ("", ""))
        raise FormatNotAllowed(
            f"'{path.name}' uses templates, which are not expanded here ('{key}' leads to '{target[:80]}').",
            hint="Write the references with full addresses.",
            field="source",
        )
    _check_count(len(references), path.name, limits)
    sources = places.behind(targets, path.name)
    _check_remembered(places, document.get("sources"), path.name, sources)
    if malformed:
        raise UnreadableFile(
            f"The reference '{malformed[:80]}' of '{path.name}' has {str(references[malformed][1:])[:80]} "
            "behind its address, which is no offset and size.",
            hint="Build the references again.",
            field="source",
        )
    for target, end in ends.items():
        _check_end(sources[target], end, targets[target], path.name)
    return JsonReferences(path.name, references, sources)


def _parquet_references(folder: Path, places: Places, limits: LimitSettings) -> "ParquetReferences":
    """Read the metadata of Parquet references and look at every target, but not yet at where each chunk lies."""
    from geoetl.store.references import ParquetReferences, chunk_grid, record_name

    places.check_links(folder)
    metadata, record_size, remembered = _reference_metadata(folder)
    grids: dict[str, tuple[int, ...]] = {}
    targets: dict[str, str] = {}
    counted = 0
    for key, document in metadata.items():
        if not key.endswith("/.zarray"):
            continue
        name = key.removesuffix("/.zarray")
        try:
            shape = chunk_grid(document)
        except (LookupError, TypeError, ValueError) as error:
            raise _no_references(folder, f"'{key}' is not right ({error})") from None
        if document.get("dimension_separator", ".") != ".":
            raise _no_references(folder, f"'{name}' separates its chunk numbers with another sign than '.'")
        grids[name] = shape
        chunks = math.prod(shape)
        records = math.ceil(chunks / record_size)
        if document["shape"] == [] and not (folder / record_name(name, 0)).is_file():
            continue  # a scalar that was never written, such as a grid mapping: kerchunk writes no file for it
        if records > len(list((folder / name).glob("refs.*.parq"))):
            # kerchunk writes none either where all of its chunks were never written; that is not told from a loss.
            raise _no_references(folder, f"'{name}' has {chunks:,} chunks and lacks some of its {records:,} files")
        counted += chunks
        _check_count(counted, folder.name, limits)
        for number in range(records):
            record = record_name(name, number)
            rows = min(record_size, chunks - number * record_size)
            for target in _record_targets(folder, record, rows, record_size):
                targets.setdefault(target, record)
    sources = places.behind(targets, folder.name)
    _check_remembered(places, remembered, folder.name, sources)
    return ParquetReferences(
        folder.name,
        {key: json.dumps(document).encode() for key, document in metadata.items()},
        grids,
        record_size,
        sources,
        _RecordReader(folder),
    )


def _check_remembered(places: Places, remembered: Any, name: str, found: Mapping[str, SourcePath]) -> None:
    """Compare source files with what references that geoetl wrote remember of them.

    Args:
        remembered: What they do.
        name: Of the references, for messages.
        found: Files that were just looked at, by address; objects among them are not asked after again.

    Raises:
        UnreadableFile: What they remember is not of its form.
        VerificationFailed: A source was replaced, cut or removed since its chunks were indexed.
    """
    try:
        sources = [SourceFile.model_validate(source) for source in remembered or ()]
    except (TypeError, ValueError):
        raise UnreadableFile(
            f"'{name}' does not say right what its sources were.", hint="Build the references again."
        ) from None
    known = {address: file.stamp for address, file in found.items() if isinstance(file, RemoteFile)}

    def stamps(addresses: Sequence[str]) -> list[Stamp | None]:
        others = [address for address in addresses if address not in known]
        asked = {**known, **dict(zip(others, places.stamps(others), strict=True))}
        return [asked[address] for address in addresses]

    if findings := check_sources(sources, stamps, thorough=False):
        raise VerificationFailed(
            f"The cube cannot be read. {sentences(findings[:3])}", hint=findings[0].remedy, field="source"
        )


@dataclass(frozen=True)
class _RecordReader:
    """Reads the Parquet files of references.

    Attributes:
        folder: Where they lie.
    """

    folder: Path

    def __call__(self, name: str) -> "Record | None":
        """Return a record as arrays; None for a scalar that was never written.

        Raises:
            UnreadableFile: It is damaged, or gone.
        """
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        from geoetl.store.references import Record

        path = self.folder / name
        if not path.is_file() and name.endswith("/refs.0.parq"):
            return None
        try:
            columns = {"path"} & set(pq.read_schema(path).names)
            table = pq.ParquetFile(path, read_dictionary=[*columns]).read().unify_dictionaries().combine_chunks()

            def numbers(column: str) -> "np.ndarray[Any, np.dtype[np.int64]]":
                if column not in table.column_names:
                    return np.zeros(table.num_rows, np.int64)
                found: np.ndarray[Any, np.dtype[np.int64]] = np.asarray(
                    table[column].cast(pa.int64()).fill_null(0).combine_chunks()
                )
                return found

            addresses = table["path"].combine_chunks() if "path" in table.column_names else None
            codes = np.full(table.num_rows, -1) if addresses is None else np.asarray(addresses.indices.fill_null(-1))
            raw = table["raw"].combine_chunks() if "raw" in table.column_names else None
            return Record(
                targets=() if addresses is None else tuple(addresses.dictionary.to_pylist()),
                codes=codes.astype(np.int64),
                offsets=numbers("offset"),
                sizes=numbers("size"),
                raw=None if raw is None or raw.null_count == len(raw) else raw.cast(pa.large_binary()),
                nbytes=table.nbytes + 24 * table.num_rows,
            )
        except (pa.ArrowException, OSError, AttributeError, TypeError, ValueError) as error:
            raise _no_references(self.folder, f"'{name}' cannot be read ({first_line(error)})") from None


def read_record(path: Path) -> "pa.Table":
    """Read one Parquet file of references as it is.

    Raises:
        UnreadableFile: It is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, read_dictionary=["path"])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _no_references(path.parent, f"'{path.name}' cannot be read ({first_line(error)})") from None


def _record_targets(folder: Path, name: str, rows: int, record_size: int) -> set[str]:
    """Return the addresses in a Parquet file of references; of the columns only that of the addresses is read.

    Raises:
        UnreadableFile: It has other columns, fewer than `rows` rows, or more than `record_size`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = set(pq.read_schema(folder / name).names)
        file = pq.ParquetFile(folder / name, read_dictionary=[*(columns & {"path"})])
        if not columns <= {"path", "offset", "size", "raw"} or not columns & {"path", "raw"}:
            raise ValueError(f"its columns are {', '.join(sorted(columns))[:80]}")
        if not rows <= file.metadata.num_rows <= record_size:
            raise ValueError(f"it has {file.metadata.num_rows:,} rows for {rows:,} chunks")
        found: set[str] = set()
        if "path" not in columns:
            return found
        for batch in file.iter_batches(batch_size=65_536, columns=["path"]):
            column = batch.column(0)
            if pa.types.is_null(column.type):
                continue
            if not pa.types.is_dictionary(column.type):
                raise ValueError("its addresses are no text")
            addresses = column.dictionary.unique().to_pylist()
            if not all(isinstance(address, str) for address in addresses):
                raise ValueError("its addresses are no text")
            found.update(addresses)
        return found
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _no_references(folder, f"'{name}' cannot be read ({first_line(error)})") from None


def _reference_metadata(folder: Path) -> tuple[dict[str, Any], int, Any]:
    """Return the metadata of Parquet references by key, how many references a file holds, and the sources remembered.

    Raises:
        UnreadableFile: There are none, or they are not of that form.
        OutsideAllowedRoots: The name of an array leads out of the folder.
    """
    from geoetl.store.references import is_metadata

    path = folder / ".zmetadata"
    try:
        if path.stat().st_size > _METADATA_BYTES:
            raise ValueError(f"it has {path.stat().st_size:,} bytes")
        document = json.loads(path.read_bytes())
        metadata, record_size = dict(document["metadata"]), document["record_size"]
        if not isinstance(record_size, int) or not 0 < record_size <= _RECORD_ROWS:
            raise ValueError(f"record_size is {str(record_size)[:40]}, not 1 to {_RECORD_ROWS:,}")
        # A text beside the documents is the content of an array without dimensions, as JSON.
        if not all(isinstance(value, dict if is_metadata(key) else str) for key, value in metadata.items()):
            raise ValueError("a metadata document is no object")
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise _no_references(folder, f"its .zmetadata cannot be read ({first_line(error)})") from None
    for key in metadata:
        parts = key.split("/")
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise OutsideAllowedRoots(
                f"The name '{key[:80]}' in the references '{folder.name}' leads out of their folder.",
                hint="Do not use references of this origin.",
                field="source",
            )
    return metadata, record_size, document.get("sources")


def _no_references(folder: Path, reason: str) -> UnreadableFile:
    return UnreadableFile(
        f"'{folder.name}' holds no kerchunk references in Parquet that can be used: {reason}.",
        hint="Build the references again.",
        field="source",
    )


def _check_array(key: str, content: bytes, name: str, limits: LimitSettings, documents: Mapping[str, bytes]) -> int:
    """Refuse an array that declares more than a limit, or that is decoded by running what the data say.

    Returns:
        Bytes that one chunk of it unpacks to.

    Raises:
        UnreadableFile: It is not described as Zarr asks for.
        FormatNotAllowed: It has such a codec.
        LimitExceeded: It declares more.
    """
    import numpy as np

    subject = f"{key} of '{name}'"
    try:
        array = json.loads(content)
        codecs = [array.get("compressor"), *(array.get("filters") or ())]
        names = {str(codec.get("id")) for codec in codecs if codec}
        shape, chunk = [int(size) for size in array["shape"]], [int(size) for size in array["chunks"]]
        own = key.removesuffix("/.zarray")
        attributes = json.loads(documents.get(f"{own}/.zattrs", b"{}"))
        is_axis = attributes.get("_ARRAY_DIMENSIONS") == [own]
        item_bytes = np.dtype(array["dtype"]).itemsize if isinstance(array["dtype"], str) else 8
    except (LookupError, ValueError, AttributeError, OverflowError, TypeError, RecursionError):
        raise UnreadableFile(
            f"The array {subject} is not described as Zarr asks for.",
            hint="Build the references again.",
            field="source",
        ) from None
    if refused := names & _RUNNING_CODECS:
        raise FormatNotAllowed(
            f"The array {subject} is encoded with {', '.join(refused)}, which runs what the data say.",
            hint="Do not use data of this origin.",
            field="source",
        )
    check_array(own, name, limits, shape, chunk, item_bytes, is_axis=is_axis)
    return math.prod(chunk) * item_bytes


def _check_inlined(references: "JsonReferences", unpacked: Mapping[str, int]) -> None:
    """Refuse content in the references themselves that is more than the chunk that it stands for.

    Args:
        references: Of a JSON document.
        unpacked: Bytes of one chunk of each array.

    Raises:
        UnreadableFile: It is no base64.
        LimitExceeded: It is more.
    """
    from geoetl.store.references import is_metadata

    for key, value in references.refs.items():
        if type(value) is list or is_metadata(key):
            continue
        array = key.rpartition("/")[0]
        if array not in unpacked:
            continue
        try:
            content = references.find(key)
        except ValueError:
            raise UnreadableFile(
                f"The content of '{key[:80]}' in '{references.name}' is no base64.",
                hint="Build the references again.",
                field="source",
            ) from None
        if isinstance(content, bytes) and _inflated(content, unpacked[array]) > unpacked[array] + _INLINE_SLACK_BYTES:
            raise LimitExceeded(
                f"The content of '{key[:80]}' in '{references.name}' unpacks to more than the {unpacked[array]:,} "
                "bytes of its chunk.",
                hint="Do not use references of this origin.",
                field="source",
            )


def _inflated(content: bytes, most: int) -> int:
    """Return how many bytes a content unpacks to, no more than a little beyond `most`; its own where it is not packed.

    Of zlib and gzip, which pack a thousand times; others that are used in Zarr write the size before the content.
    """
    if content[:1] in (b"\x78", b"\x1f"):
        unpacker = zlib.decompressobj(wbits=47)  # either of the two, by its header
        try:
            return len(unpacker.decompress(content, most + _INLINE_SLACK_BYTES + 1))
        except zlib.error:
            pass  # it only begins like one
    return len(content)


def _check_count(count: int, name: str, limits: LimitSettings) -> None:
    if count > limits.references:
        raise LimitExceeded(
            f"'{name}' names {count:,} chunks; the limit is {limits.references:,}.",
            hint="Split the cube, or raise GEOETL_LIMITS__REFERENCES.",
            field="source",
        )


def _check_end(source: SourcePath, end: int, key: str, name: str) -> None:
    """Refuse references to bytes that a file does not have."""
    there = stamp_of(source).bytes if isinstance(source, Path) else source.size
    if end > there:
        raise UnreadableFile(
            f"The reference '{key}' of '{name}' ends at byte {end:,} of '{source.name}', which has {there:,}.",
            hint="A source file was cut or replaced, or the references are not its own; build them again.",
            field="source",
        )


def _check_records(folder: Path, sources: Mapping[str, SourcePath], documents: Mapping[str, bytes]) -> None:
    """Look at where every chunk of Parquet references lies.

    Raises:
        UnreadableFile: One lies beyond its file, or a record is damaged.
    """
    read = _RecordReader(folder)
    for key in documents:
        if not key.endswith("/.zarray"):
            continue
        for path in sorted((folder / key.removesuffix("/.zarray")).glob("refs.*.parq")):
            record = read(str(path.relative_to(folder)))
            if record is None or not record.targets:
                continue
            ends = record.offsets + record.sizes
            if (record.offsets < 0).any() or (record.sizes < 0).any() or (ends < 0).any():
                raise _no_references(folder, f"'{path.name}' has an offset or size below zero")
            for code, target in enumerate(record.targets):
                own = ends[record.codes == code]
                if len(own):
                    _check_end(sources[target], int(own.max()), f"{path.parent.name}/{path.name}", folder.name)
