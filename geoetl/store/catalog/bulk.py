"""Bring many items into a catalogue, whichever is behind it: checked as ever, in parts, and as often as wanted.

Without `skip_bad` everything is checked before anything is written, so that a source with one bad item leaves the
catalogue as it was.  What is written comes in units of work of `UNIT` items: a load that is interrupted leaves whole
units, and the same load again puts the same items in place (an upsert), so that it ends as if it had not been.
"""

import gc
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal

from geoetl.core.errors import GeoetlError, Unavailable
from geoetl.core.findings import Finding, Severity
from geoetl.store.catalog.hrefs import Addresses
from geoetl.store.catalog.incoming import BATCH, Batch, Incoming, at_home, open_incoming, parse
from geoetl.store.catalog.item import new_collection
from geoetl.store.catalog.protocol import Catalog
from geoetl.store.catalog.validation import CheckedItem, check_collection, check_items

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from geoetl.store.gate import Gate

# Items of one unit of work: an embedded database has one writer, and the others wait for this long, a few seconds.
UNIT = 100_000
# A unit ends here too, so that large items do not fill the memory.
UNIT_CHARACTERS = 256 * 1024**2
# Batches that are checked before other processes are started.
ALONE = 20
# Bad items that are described; the rest is counted.
MAX_FINDINGS = 1_000


type _Looked = tuple[list[CheckedItem], list[Finding]]


@dataclass(frozen=True)
class Progress:
    """How far a load has come.

    Attributes:
        step: ``check`` while items are only looked at, then ``write``.
        done: Items behind it in this step.
        total: Items in all, where that is known.
    """

    step: Literal["check", "write"]
    done: int
    total: int | None


@dataclass(frozen=True)
class Loaded:
    """What became of a load.

    Attributes:
        collections: Ids of the collections that were written.
        items: How many items were written.
        bad: How many could not be.
        findings: Why not, one for each, up to `MAX_FINDINGS`, with the place that it was read from.
    """

    collections: tuple[str, ...]
    items: int
    bad: int
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> bool:
        """Tell whether nothing was written because something is bad."""
        return bool(self.bad) and not self.items and not self.collections


def load(
    catalog: Catalog,
    addresses: Addresses,
    gate: "Gate",
    source: str,
    *,
    collection: str | None = None,
    skip_bad: bool = False,
    processes: int = 1,
    progress: Callable[[Progress], None] | None = None,
) -> Loaded:
    """Put the collections and items of a source into a catalogue; what is there under the same ids is replaced.

    Args:
        catalog: Where to.
        addresses: What makes hrefs portable, as the catalogue has it.
        gate: Says which files may be read.
        source: Items as ``.ndjson`` (one a line), ``.json`` or ``.parquet`` (stac-geoparquet), or a static catalogue.
        collection: Where items go that name no collection; it is made when it is not there.
        skip_bad: Write what is good and report the rest, instead of writing nothing when anything is bad.
        processes: How many work; with more than one, this one writes while the others check items (they are spawned:
            the program that calls this needs ``if __name__ == "__main__"``).  The result is the same.
        progress: Called after each batch.

    Raises:
        OutsideAllowedRoots, NotFound, FormatNotAllowed, UnreadableFile, LimitExceeded: The source cannot be read.
        VerificationFailed, Unavailable: The catalogue could not be written; whole units before that are kept.
    """
    with _without_collector():
        return _load(
            catalog,
            addresses,
            open_incoming(gate, source),
            collection=collection,
            skip_bad=skip_bad,
            processes=processes,
            tell=progress or (lambda _: None),
        )


def _load(
    catalog: Catalog,
    addresses: Addresses,
    incoming: Incoming,
    *,
    collection: str | None,
    skip_bad: bool,
    processes: int,
    tell: Callable[[Progress], None],
) -> Loaded:
    arriving = list(incoming.collections())
    bad = _Bad()
    fitting = _check_collections(arriving, addresses, bad)
    made = _collection_to_make(catalog, collection, fitting)
    known = frozenset({*(c["id"] for c in catalog.collections()), *(c["id"] for c in (*fitting, *made))})
    check = partial(check_batch, collection=collection, known=known, addresses=addresses)

    # A small source is written from what was checked; a larger one is read again.
    kept: list[CheckedItem] | None = []
    total = incoming.total
    if not skip_bad:
        counted, characters = 0, 0
        for good, findings in _checked(incoming.batches(), check, processes):
            bad.add(findings)
            counted += len(good) + len(findings)
            characters += sum(len(item.content) for item in good)
            if kept is not None:
                kept += good
            if counted > UNIT or characters > UNIT_CHARACTERS:
                kept = None
            tell(Progress("check", counted, total))
        bad.add(incoming.findings)
        if bad.count:
            return Loaded((), 0, bad.count, tuple(bad.findings))
        total = counted

    for document in (*made, *fitting):
        catalog.upsert_collection(document)
    written = 0
    stream = _checked(incoming.batches(), check, processes)
    parts: Iterable[tuple[list[CheckedItem], list[Finding]]] = stream if skip_bad or kept is None else [(kept, [])]
    for unit in _units(parts, bad):
        catalog.upsert_items(unit)
        written += len(unit)
        tell(Progress("write", written, total))
    if skip_bad:
        bad.add(incoming.findings)
    names = tuple(dict.fromkeys(document["id"] for document in (*made, *fitting)))
    return Loaded(names, written, bad.count, tuple(bad.findings))


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep the garbage collector from going through a million living items again and again: a third of the time.

    What a load leaves behind has no cycles; it goes with its last reference.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def check_batch(
    batch: Batch, *, collection: str | None, known: frozenset[str], addresses: Addresses
) -> tuple[list[CheckedItem], list[Finding]]:
    """Return the items of a batch that may be stored, and why the others may not.

    Args:
        batch: Documents as they were read.
        collection: Where items go that name none, and lie in none.
        known: Ids of the collections that are there, or come along.
        addresses: What makes hrefs portable.
    """
    # Of what `parse` has read it is known that it is strict JSON.
    parsed = all(isinstance(document, bytes) for document in batch.documents)
    good: list[tuple[str, Mapping[str, Any]]] = []
    findings: list[Finding] = []
    for number, (document, place) in enumerate(zip(batch.documents, batch.places, strict=True)):
        try:
            item = parse(document) if isinstance(document, bytes) else document
        except (ValueError, RecursionError) as error:
            findings.append(_finding("not_json", place, f"it is not JSON ({str(error)[:100]})."))
            continue
        if isinstance(item, dict):
            if batch.folders:
                item = at_home(item, batch.folders[number])
            if item.get("collection") is None and (home := _home(batch, number, collection)):
                item = {**item, "collection": home}
            named = item.get("collection")
            if isinstance(named, str) and named and named not in known:
                message = f"its collection '{named[:80]}' is not in the catalogue."
                findings.append(_finding("unknown_collection", place, message, "Load or make the collection first."))
                continue
        good.append((place, item))
    try:
        return check_items([item for _, item in good], addresses, parsed=parsed), findings
    except GeoetlError:
        checked = []
        for place, item in good:
            try:
                checked += check_items([item], addresses)
            except GeoetlError as error:
                findings.append(_finding(error.code, place, error.detail, error.hint))
        return checked, findings


def _home(batch: Batch, number: int, collection: str | None) -> str | None:
    return (batch.parents[number] if batch.parents else None) or collection


def _checked(batches: Iterator[Batch], check: Callable[[Batch], "_Looked"], processes: int) -> Iterator["_Looked"]:
    """Check batch after batch, with other processes beside this one where more than one is wanted; the order stays."""
    # Before others have started, which takes a second or more, a small source is done.
    alone = batches if processes <= 1 else islice(batches, ALONE)
    yield from map(check, alone)
    first = next(batches, None)
    if first is None:
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes - 1, mp_context=spawn, initializer=_begin_checking) as pool:
        waiting: deque[tuple[Future[_Looked], Batch, int]] = deque()
        ahead = 0
        try:
            for batch in chain([first], batches):
                size = sum(len(document) if isinstance(document, bytes) else 0 for document in batch.documents)
                waiting.append((pool.submit(check, batch), batch, size))
                ahead += size
                # While a unit is written the others go on; they never get farther ahead than fits into memory.
                while len(waiting) > UNIT // BATCH + 4 * processes or ahead > UNIT_CHARACTERS:
                    ahead -= waiting[0][2]
                    yield _next_of(waiting, check)
            while waiting:
                yield _next_of(waiting, check)
        except BrokenProcessPool:
            raise Unavailable(
                "A process that checked items died, probably for lack of memory.",
                hint="Load again; what is there is put in place once more.",
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _next_of(waiting: "deque[tuple[Future[_Looked], Batch, int]]", check: Callable[[Batch], "_Looked"]) -> "_Looked":
    """Return what became of the first batch that waits; while it is not ready this process checks later ones itself."""
    future, _, _ = waiting.popleft()
    position = 0
    while not future.done() and position < len(waiting):
        other, batch, size = waiting[position]
        if other.cancel():
            mine: Future[_Looked] = Future()
            mine.set_result(check(batch))
            waiting[position] = (mine, batch, size)
        position += 1
    return future.result()


def _begin_checking() -> None:
    """Make this process fit to check items; it ends with the one that started it instead of waiting for ever."""
    gc.disable()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_exit, args=(parent,), name="geoetl-parent", daemon=True).start()


def _wait_and_exit(parent: "BaseProcess") -> None:
    parent.join()
    os._exit(1)


def _units(parts: Iterable[tuple[list[CheckedItem], list[Finding]]], bad: "_Bad") -> Iterator[list[CheckedItem]]:
    unit: list[CheckedItem] = []
    characters = 0
    for good, findings in parts:
        bad.add(findings)
        unit += good
        characters += sum(len(item.content) for item in good)
        if len(unit) >= UNIT or characters >= UNIT_CHARACTERS:
            yield unit
            unit, characters = [], 0
    if unit:
        yield unit


def _check_collections(arriving: list[dict[str, Any]], addresses: Addresses, bad: "_Bad") -> list[dict[str, Any]]:
    fitting = []
    for document in arriving:
        try:
            check_collection(document, addresses)
            fitting.append(document)
        except GeoetlError as error:
            bad.add([_finding(error.code, f"collection {str(document.get('id'))[:80]!r}", error.detail, error.hint)])
    return fitting


def _collection_to_make(
    catalog: Catalog, collection: str | None, fitting: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    if collection is None or collection in {document["id"] for document in (*catalog.collections(), *fitting)}:
        return []
    return [new_collection(collection)]


@dataclass
class _Bad:
    """What could not be stored."""

    count: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.count += 1
            if len(self.findings) < MAX_FINDINGS:
                self.findings.append(finding)


def _finding(code: str, place: str, message: str, remedy: str | None = None) -> Finding:
    return Finding(severity=Severity.ERROR, code=code, message=f"{place}: {message}", subject=place, remedy=remedy)
