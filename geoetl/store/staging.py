"""Where a release is collected, out of sight, until all of it is right; then it comes into place."""

import fcntl
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from geoetl.store.area import Area
from geoetl.store.contents import Content, as_ours
from geoetl.store.file_area import FileArea
from geoetl.store.object_area import ObjectArea
from geoetl.store.origins import Origin
from geoetl.store.zones import INCOMING, Zone


def area_at(zone: Zone, key: str) -> Area:
    """Return the part of a zone whose keys begin with ``key/``."""
    return FileArea(zone, key) if zone.root else ObjectArea(zone, key)


@dataclass(frozen=True)
class Staging:
    """An area of a zone in which objects are collected; nothing is linked there.

    Args:
        zone: Which zone.
        key: Of the area below ``.incoming``, for example ``publish/RELEASE``.
    """

    zone: Zone
    key: str

    @cached_property
    def area(self) -> Area:
        """What is collected so far."""
        return area_at(self.zone, f"{INCOMING}/{self.key}")

    def address(self, name: str) -> str:
        """Return where an object of the area is to be written: an absolute path, or a URL of the store."""
        return self.area.address(name)

    def put(self, name: str, origin: Origin, size: int, media_type: str) -> None:
        """Copy a file or an object into the area, see `Area.put`.

        Raises:
            NotFound: There is no such file or object.
            Unavailable: It cannot be read, or the zone cannot be written.
        """
        self.area.put(name, origin, size, media_type)

    def come_into_place(self, key: str, wanted: Mapping[str, Content], last: Collection[str]) -> None:
        """Bring what was collected to its final key, see `Area.move`.

        Raises:
            NotFound: An object of it is no longer in the area.
            VerificationFailed: What is in place differs from what was wanted (object stores).
            Unavailable: The zone cannot be written.
        """
        self.area.move(key, wanted, last)

    def take_back(self, key: str, first: Collection[str]) -> None:
        """Take out of sight again what has come into place; where there is nothing, nothing happens.

        In a file zone it is collected as it was before; in an object store it is removed.

        Args:
            key: Where it came into place.
            first: Names of those that the others are found by, which disappear before them in an object store.

        Raises:
            Unavailable: The zone cannot be written.
        """
        place = area_at(self.zone, key)
        if isinstance(place, FileArea) and place.folder.exists():
            place.move(self.area.key, {}, ())
        place.remove(first)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes of this machine out of the area of a file zone; who comes second waits.

        In an object store two who collect the same write the same; there is nothing to wait for.

        Raises:
            Unavailable: The zone cannot be written.
        """
        if self.zone.root is None:
            yield
            return
        with _locked(FileArea(self.zone, f"{INCOMING}/{self.key}")):
            yield


@contextmanager
def _locked(area: FileArea) -> Iterator[None]:
    lock = area.folder.with_name(f"{area.folder.name}.lock")
    while True:
        with as_ours(lock.name):
            lock.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                yield
                lock.unlink(missing_ok=True)
                return
            # Who had it before has removed it.
        finally:
            os.close(handle)
