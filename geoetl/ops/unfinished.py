"""What is on its way into a zone and will not arrive: temporary files and folders, and staged releases."""

import fcntl
import os
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from geoetl.core.errors import GeoetlError
from geoetl.ops.alone import Moment
from geoetl.ops.listing import Listed, remote_objects
from geoetl.ops.model import Action, Fate, Leftover, Part
from geoetl.ops.objects import acted
from geoetl.ops.temporary import LEAVING, Tree, discard
from geoetl.store.database import Database
from geoetl.store.staging import area_at
from geoetl.store.zones import INCOMING, Zone, Zones

#: Where releases are staged, below `INCOMING`: in a folder of its id each.
STAGED = "publish"


@dataclass(frozen=True)
class OnItsWay:
    """What lies in the places where writing begins.

    Args:
        zones: Both zones.
        copying: Gives the ids of the releases that are being copied, as it is seen from a database.
    """

    zones: Zones
    copying: Callable[[Database], Set[str]]

    def find(self, database: Database, before: float) -> Iterator[Leftover]:
        """Yield what was touched last before a time, and belongs to no release that is being copied."""
        copying = self.copying(database)
        for zone in (self.zones.internal, self.zones.external):
            for name, size, touched in _lying(zone):
                release = _release(name)
                if release in copying or touched >= before:
                    continue
                yield Leftover(
                    part=Part.WRITES,
                    name=f"{zone.name}://{INCOMING}/{name}",
                    bytes=size,
                    since=touched,
                    reason=f"release {release} is not being copied" if release else "its writer is gone",
                )

    def remove(self, moment: Moment, leftover: Leftover) -> Action:
        """Remove it, unless somebody goes on with it by now."""
        zone_name, _, key = leftover.name.partition("://")
        zone, name = self.zones.named(zone_name), key.removeprefix(f"{INCOMING}/")
        if _release(name) in self.copying(moment.database):
            return acted(leftover, Fate.KEPT, "the release is being copied by now")
        try:
            if zone.root is None:
                if any(one.modified > leftover.since for one in remote_objects(zone, f"{key}/")):
                    return acted(leftover, Fate.KEPT, "it was written to")
                area_at(zone, key).remove()
                return acted(leftover, Fate.FIXED)
            return _remove_path(zone.root / key, leftover)
        except GeoetlError as error:
            return acted(leftover, Fate.FAILED, error.detail)
        except OSError as error:
            return acted(leftover, Fate.FAILED, f"it could not be removed: {error.strerror}")


def _remove_path(path: Path, leftover: Leftover) -> Action:
    tree = Tree.of(path)
    if tree is None:
        return acted(leftover, Fate.KEPT, "it is gone already")
    if tree.touched > leftover.since and not path.name.startswith(LEAVING):
        return acted(leftover, Fate.KEPT, "it was written to")
    if not path.is_file():
        discard(path)
        return acted(leftover, Fate.FIXED)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Whoever writes it, or waits behind it, holds it.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        return acted(leftover, Fate.KEPT, "it is held by a process")
    finally:
        os.close(descriptor)
    return acted(leftover, Fate.FIXED)


def _lying(zone: Zone) -> Iterator[tuple[str, int, float]]:
    """Yield name below `INCOMING`, size in bytes and Unix time of the last write of what is on its way."""
    if zone.root is None:
        staged: dict[str, list[Listed]] = {}
        for one in remote_objects(zone, f"{INCOMING}/"):
            segments = one.key.split("/")
            staged.setdefault("/".join(segments[1 : 3 if segments[1] == STAGED else 2]), []).append(one)
        for name, objects in staged.items():
            yield name, sum(one.bytes for one in objects), max(one.modified for one in objects)
        return
    incoming = zone.root / INCOMING
    for path in (*_children(incoming), *_children(incoming / STAGED)):
        if path == incoming / STAGED:
            continue
        tree = Tree.of(path)
        if tree is not None:
            # What was on its way out goes at once.
            touched = 0.0 if path.name.startswith(LEAVING) else tree.touched
            yield path.relative_to(incoming).as_posix(), tree.bytes, touched


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _release(name: str) -> str | None:
    """Return the id of the release that something is staged for."""
    folder, _, rest = name.partition("/")
    return rest.removesuffix(".lock") if folder == STAGED and rest else None
