"""What lies in a zone, object by object, whether geoetl has written it or not."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geoetl.store.zones import Zone

#: What begins with a dot at the root of a zone is on its way in or out.
HIDDEN = "."


@dataclass(frozen=True)
class Listed:
    """An object as its zone tells it.

    Attributes:
        key: Path within the zone.
        bytes: Its size.
        modified: Unix time of the last write.
    """

    key: str
    bytes: int
    modified: float


def objects_in(zone: Zone) -> Iterator[Listed]:
    """Return every object of a zone; not what is on its way in or out."""
    if zone.root is not None:
        if zone.root.is_dir():
            yield from _files_in(zone.root, "")
        return
    for found in remote_objects(zone, None):
        if not found.key.startswith(HIDDEN):
            yield found


def remote_objects(zone: Zone, prefix: str | None) -> Iterator[Listed]:
    """Return the objects of a remote zone below a prefix, which ends with ``/``."""
    import obstore

    for batch in obstore.list(zone.store, prefix=prefix):
        for found in batch:
            yield Listed(str(found["path"]), int(found["size"]), found["last_modified"].timestamp())


def _files_in(folder: Path, prefix: str) -> Iterator[Listed]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not prefix and entry.name.startswith(HIDDEN):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    yield from _files_in(Path(entry.path), f"{prefix}{entry.name}/")
                    continue
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it went meanwhile
            yield Listed(f"{prefix}{entry.name}", found.st_size, found.st_mtime)
