"""What a bulk load reads: files of items and collections, as batches of documents that nobody has looked at yet.

``.ndjson`` one item a line · ``.json`` an item, an ItemCollection, or a static catalogue or collection with the files
that it links to · ``.parquet`` stac-geoparquet · a folder with ``catalog.json`` or ``collection.json``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

import orjson

from geoetl.core.errors import FormatNotAllowed, InputError, LimitExceeded, NotFound, UnreadableFile
from geoetl.core.findings import Finding, Severity
from geoetl.store.catalog.hrefs import map_hrefs
from geoetl.store.catalog.static import STRUCTURAL
from geoetl.store.catalog.validation import MAX_DOCUMENT_BYTES

if TYPE_CHECKING:
    from geoetl.store.gate import Gate

# Items looked at together; large ones are fewer.
BATCH = 1_000
BATCH_BYTES = 16 * 1024**2
# One JSON file is read as a whole, and takes several times its size in memory; lines and Parquet have no such limit.
MAX_JSON_BYTES = 256 * 1024**2
# A run of so many digits may be an integer that orjson would round to a float.
_MANY_DIGITS = b"0" * 19
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LINES = frozenset({".ndjson", ".jsonl", ".geojsonl", ".ndgeojson"})


@dataclass(frozen=True)
class Batch:
    """Documents that come one after another.

    Attributes:
        documents: Each as JSON text or already parsed.
        places: Where each was read, for people: ``items.ndjson, line 7``.
        folders: Where relative addresses of each begin; empty where they stay as they are.
        parents: Id of the collection that each was found in; empty where there is none.
    """

    documents: Sequence[bytes | dict[str, Any]]
    places: Sequence[str]
    folders: Sequence[str] = ()
    parents: Sequence[str | None] = ()


class Incoming(Protocol):
    """A source of items."""

    @property
    def total(self) -> int | None:
        """Number of items, where it is known before they are read."""
        ...

    @property
    def findings(self) -> list[Finding]:
        """What was noticed so far; complete once every batch was read."""
        ...

    def collections(self) -> Iterator[dict[str, Any]]:
        """Return the collections that come with the items."""
        ...

    def batches(self) -> Iterator[Batch]:
        """Read the items; each call begins anew."""
        ...


def open_incoming(gate: "Gate", source: str) -> Incoming:
    """Return what is at a source: a file or folder inside the allowed roots.

    Raises:
        OutsideAllowedRoots, NotFound: See `Gate.resolve`.
        FormatNotAllowed: It is none of the kinds that can be loaded.
        UnreadableFile, LimitExceeded: It is not JSON, or too large for one document.
    """
    path = gate.resolve(source)
    if path.is_dir():
        roots = [path / name for name in ("catalog.json", "collection.json") if (path / name).is_file()]
        if not roots:
            raise NotFound(
                f"The folder '{path.name}' has neither catalog.json nor collection.json.",
                hint="Give the folder of a static STAC catalogue, or a file of items.",
                field="source",
            )
        path = roots[0]
    if path.suffix.lower() in _LINES:
        return _Lines(path)
    if path.suffix.lower() in (".parquet", ".geoparquet"):
        return _Table(gate, path)
    if path.suffix.lower() not in (".json", ".geojson"):
        raise FormatNotAllowed(
            f"'{path.name}' is no file of items that can be loaded.",
            hint="Give .ndjson (one item a line), .json (items or a static catalogue), .parquet (stac-geoparquet), "
            "or the folder of a static catalogue.",
            field="source",
        )
    document = _read(path, MAX_JSON_BYTES)
    kind = document.get("type")
    if kind in ("Catalog", "Collection"):
        return _Static(gate, path)
    features = document.get("features") if kind == "FeatureCollection" else [document]
    if kind not in ("FeatureCollection", "Feature") or not isinstance(features, list):
        raise FormatNotAllowed(
            f"'{path.name}' has the type {str(kind)[:40]!r}, not Feature, FeatureCollection, Catalog or Collection.",
            hint="Give a STAC item, an ItemCollection, or a static catalogue.",
            field="source",
        )
    return _Features(path.name, features)


def parse(text: bytes) -> Any:
    """Return a JSON text as what it says; integers beyond 64 bits stay integers.

    Raises:
        ValueError: It is no JSON, or has a number beyond every float.
    """
    if _MANY_DIGITS in text.translate(_DIGITS):
        import json

        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    return orjson.loads(text)


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(text: str) -> float:
    raise ValueError(f"{text[:20]} is no number of JSON")


def at_home(document: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Return a document of a static catalogue without the links of that place, and with absolute addresses.

    Args:
        document: Item or collection.
        folder: Where its file lies.
    """
    links = document.get("links")
    own = document
    if isinstance(links, list):
        kept = [link for link in links if not isinstance(link, Mapping) or link.get("rel") not in STRUCTURAL]
        own = {**document, "links": kept}
    return map_hrefs(own, partial(_absolute, folder))


def _absolute(folder: str, href: str) -> str:
    parts = urlsplit(href)
    if parts.scheme or parts.netloc or href.startswith(("/", "#")) or not href:
        return href
    return str(Path(folder, href).resolve()) if not parts.query else href


@dataclass(frozen=True)
class _Lines:
    """One item a line."""

    path: Path
    total: int | None = None

    @property
    def findings(self) -> list[Finding]:
        return []

    def collections(self) -> Iterator[dict[str, Any]]:
        return iter(())

    def batches(self) -> Iterator[Batch]:
        name = self.path.name
        documents: list[bytes] = []
        places: list[str] = []
        size = 0
        with self.path.open("rb") as file:
            # A line without an end would fill the memory.
            for number, line in enumerate(iter(partial(file.readline, MAX_DOCUMENT_BYTES + 1), b""), 1):
                if len(line) > MAX_DOCUMENT_BYTES:
                    raise LimitExceeded(
                        f"Line {number} of '{name}' is longer than {MAX_DOCUMENT_BYTES} bytes.",
                        hint="Is it a file of one item a line?",
                        field="source",
                    )
                if line.isspace():
                    continue
                documents.append(line)
                places.append(f"{name}, line {number}")
                size += len(line)
                if len(documents) == BATCH or size > BATCH_BYTES:
                    yield Batch(documents, places)
                    documents, places, size = [], [], 0
        if documents:
            yield Batch(documents, places)


@dataclass(frozen=True)
class _Features:
    """Items of one document."""

    name: str
    features: list[Any]

    @property
    def total(self) -> int:
        return len(self.features)

    @property
    def findings(self) -> list[Finding]:
        return []

    def collections(self) -> Iterator[dict[str, Any]]:
        return iter(())

    def batches(self) -> Iterator[Batch]:
        for chunk in batched(enumerate(self.features), BATCH):
            yield Batch([item for _, item in chunk], [f"{self.name}, feature {number + 1}" for number, _ in chunk])


@dataclass(frozen=True)
class _Table:
    """A stac-geoparquet file."""

    gate: "Gate"
    path: Path

    @property
    def total(self) -> int:
        from geoetl.store.catalog.geoparquet import count_rows

        return count_rows(self.gate, self.path)

    @property
    def findings(self) -> list[Finding]:
        return []

    def collections(self) -> Iterator[dict[str, Any]]:
        from geoetl.store.catalog.geoparquet import read_collections

        return iter(read_collections(self.gate, self.path))

    def batches(self) -> Iterator[Batch]:
        from geoetl.store.catalog.geoparquet import read_items

        rows = enumerate(read_items(self.gate, self.path), 1)
        for chunk in batched(rows, BATCH):
            yield Batch([item for _, item in chunk], [f"{self.path.name}, row {number}" for number, _ in chunk])


class _Static:
    """A static catalogue: its files, found by following the links of each, inside the allowed roots."""

    total: int | None = None

    def __init__(self, gate: "Gate", root: Path) -> None:
        self.gate = gate
        self.root = root
        self.findings: list[Finding] = []
        self._nodes = list(self._walk())

    def collections(self) -> Iterator[dict[str, Any]]:
        for path in self._nodes:
            document = _read(path, MAX_JSON_BYTES)
            if document.get("type") == "Collection":
                yield at_home(document, str(path.parent))

    def batches(self) -> Iterator[Batch]:
        found: list[tuple[Path, str | None]] = []
        size = 0
        for path, parent in self._items():
            found.append((path, parent))
            size += path.stat().st_size
            if len(found) == BATCH or size > BATCH_BYTES:
                yield self._batch(found)
                found, size = [], 0
        if found:
            yield self._batch(found)

    def _batch(self, found: list[tuple[Path, str | None]]) -> Batch:
        return Batch(
            [path.read_bytes() for path, _ in found],
            [self._shown(path) for path, _ in found],
            [str(path.parent) for path, _ in found],
            [parent for _, parent in found],
        )

    def _walk(self) -> Iterator[Path]:
        waiting, seen = [self.root], {self.root}
        while waiting:
            path = waiting.pop(0)
            document = _read(path, MAX_JSON_BYTES)
            if document.get("type") not in ("Catalog", "Collection"):
                self._note(path, f"'{self._shown(path)}' is linked as a child and is no catalogue or collection.")
                continue
            yield path
            for child in self._linked(path, document, "child"):
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)

    def _items(self) -> Iterator[tuple[Path, str | None]]:
        del self.findings[:]
        seen: set[Path] = set()
        for node in self._nodes:
            document = _read(node, MAX_JSON_BYTES)
            parent = document.get("id") if document.get("type") == "Collection" else None
            for path in self._linked(node, document, "item"):
                if path in seen:
                    continue
                seen.add(path)
                if path.stat().st_size > MAX_DOCUMENT_BYTES:
                    self._note(path, f"'{self._shown(path)}' is larger than {MAX_DOCUMENT_BYTES} bytes.")
                    continue
                yield path, parent if isinstance(parent, str) else None

    def _linked(self, path: Path, document: Mapping[str, Any], relation: str) -> Iterator[Path]:
        links = document.get("links")
        for link in links if isinstance(links, list) else []:
            if not isinstance(link, Mapping) or link.get("rel") != relation:
                continue
            href = link.get("href")
            if not isinstance(href, str) or urlsplit(href).scheme not in ("", "file"):
                self._note(path, f"'{self._shown(path)}' links to {str(href)[:80]!r}, which is not a local file.")
                continue
            target = href if href.startswith("file://") else str(path.parent / unquote(urlsplit(href).path))
            try:
                found = self.gate.resolve(target)
                if not found.is_file():
                    raise NotFound(f"'{found.name}' is a folder.")
                yield found
            except InputError as error:
                self._note(path, f"'{self._shown(path)}': {error.detail}", error.hint)
            except NotFound as error:
                self._note(path, f"'{self._shown(path)}': {error.detail}", error.hint)

    def _shown(self, path: Path) -> str:
        base = self.root.parent
        return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name

    def _note(self, path: Path, message: str, remedy: str | None = None) -> None:
        finding = Finding(
            severity=Severity.ERROR, code="link", message=message, subject=self._shown(path), remedy=remedy
        )
        if finding not in self.findings:
            self.findings.append(finding)


def _read(path: Path, limit: int) -> dict[str, Any]:
    size = path.stat().st_size
    if size > limit:
        raise LimitExceeded(
            f"'{path.name}' has {size} bytes, more than {limit} for one JSON file.",
            hint="Write one item a line (.ndjson) or stac-geoparquet.",
            field="source",
        )
    try:
        document = parse(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(
            f"'{path.name}' is not JSON: {str(error)[:120]}.", hint="Is it cut off, or of another kind?", field="source"
        ) from None
    if not isinstance(document, dict):
        raise UnreadableFile(f"'{path.name}' is JSON, but no object.", hint="Give STAC documents.", field="source")
    return document
