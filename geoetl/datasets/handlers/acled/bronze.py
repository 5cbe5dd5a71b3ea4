"""Pages as they came: one file each while they are fetched, one object of the zone when all are there.

A page is one line of JSON, packed with gzip. Packed pages one behind the other are one gzip file again (RFC 1952 2.2),
so the object is JSON lines that any tool reads.
"""

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from geoetl.core.errors import Unavailable, UnreadableFile
from geoetl.core.identifiers import file_digest
from geoetl.datasets.protocol import Task
from geoetl.datasets.release import FetchedFile
from geoetl.store.zones import StoredObject

_BLOCK_BYTES = 4 * 1024 * 1024


def write_page(path: Path, envelope: Mapping[str, Any]) -> FetchedFile:
    """Write an answer; it has its name only when it is whole and durable.

    Raises:
        Unavailable: The disk is full.
    """
    # Everything but ASCII is escaped: half a surrogate pair, which JSON may have, cannot be written in UTF-8.
    packed = gzip.compress(json.dumps(envelope).encode("ascii") + b"\n", compresslevel=6, mtime=0)
    write_durably(path, packed)
    return FetchedFile(name=path.name, bytes=len(packed), sha256=file_digest(path))


def content_digest(value: Any) -> str:
    """Return a digest of JSON, half of a surrogate pair in it or not: sha256, 64 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("ascii")).hexdigest()


def read_rows(path: Path, page: FetchedFile) -> list[Mapping[str, Any]]:
    """Read the rows of a page.

    Raises:
        UnreadableFile: It is not what was written.
    """
    try:
        if file_digest(path) == page.sha256:
            rows: list[Mapping[str, Any]] = _parsed(gzip.decompress(path.read_bytes()))["data"]
            return rows
    except FileNotFoundError:
        pass
    raise UnreadableFile(
        f"The fetched page '{page.name}' is missing or was changed.", hint="Run the update again.", field="file"
    )


def _parsed(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # it does not take half of a surrogate pair
        return json.loads(text)


def keep(task: Task, pages: Sequence[FetchedFile], name: str, day: date) -> StoredObject:
    """Put pages into the zone, one behind the other.

    Args:
        task: The update.
        pages: In its folder.
        name: What tells the object from others of that day.
        day: When they were fetched.

    Raises:
        Unavailable: The disk is full.
    """
    packed = task.workspace / f"{name}.jsonl.gz"
    try:
        with _disk_full(), packed.open("wb") as out:
            for page in pages:
                with (task.folder / page.name).open("rb") as file:
                    shutil.copyfileobj(file, out, _BLOCK_BYTES)
        return task.zone.put(packed, f"{_prefix(task)}{day.isoformat()}-{packed.name}", owner=owner_of(task))
    finally:
        packed.unlink(missing_ok=True)


def forget(task: Task, before: date) -> int:
    """Remove what was put into the zone before a day, and return how many objects that were."""
    prefix, gone = _prefix(task), 0
    for zone, key, _, _ in task.zone.artifacts.of_owner(owner_of(task)):
        if zone == task.zone.name and key.startswith(prefix) and key.removeprefix(prefix)[:10] < before.isoformat():
            task.zone.delete(key)
            gone += 1
    return gone


def owner_of(task: Task) -> str:
    """Return what the objects are noted with; not as those of versions, which go with them."""
    return f"{task.definition.target_schema}/{task.definition.target_table_name}/bronze"


def _prefix(task: Task) -> str:
    return f"managed/{task.definition.dataset_id}/bronze/"


def write_durably(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, even if the machine stops.

    Raises:
        Unavailable: The disk is full.
    """
    temporary = path.with_name(f"{path.name}.part")
    with _disk_full():
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def _disk_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"What was fetched could not be written: {error.strerror or 'the disk refused'}.",
            hint="Free some space and run the update again; what is there already is kept.",
        ) from error
