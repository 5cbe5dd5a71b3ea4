"""A part of a zone whose content comes and goes as one: a folder, or what is below a prefix of an object store."""

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from geoetl.core.errors import InvalidParameter
from geoetl.store.contents import Content
from geoetl.store.origins import Origin
from geoetl.store.zones import Zone

# Longest name within an area: with the longest path of an area it stays below the 1024 bytes of a key of S3.
MAX_NAME_BYTES = 700
# Of a file system.
_MAX_SEGMENT_BYTES = 255
# Nothing that means something in a URL, to a shell, or to an object store's own way of writing names.
_SEGMENT = re.compile(r"[\w.+=,@~-]+")


@dataclass(frozen=True)
class Area(ABC):
    """A part of a zone.

    Args:
        zone: Which zone.
        key: What the keys of all objects in it begin with, without a ``/`` behind.
    """

    zone: Zone
    key: str

    def address(self, name: str) -> str:
        """Return where an object of the area lies: an absolute path, or a URL of the store."""
        return f"{self.zone.prefix}{self.key}/{name}"

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Return the sizes in bytes of all objects in the area, by name within it; nothing is read.

        Raises:
            Unavailable: The zone cannot be asked.
        """

    @abstractmethod
    def read_back(self, name: str) -> Content:
        """Read an object whole and return what it holds.

        Raises:
            NotFound: There is none.
            Unavailable: It cannot be read.
        """

    @abstractmethod
    def put(self, name: str, origin: Origin, size: int, media_type: str) -> None:
        """Copy a file or an object into the area; what is there of that name is replaced.

        Args:
            name: Within the area.
            origin: What is copied.
            size: Its size in bytes as far as is known; what is copied is what there is.
            media_type: Kept where the store keeps it.

        Raises:
            NotFound: There is no such file or object.
            Unavailable: It cannot be read, or the zone cannot be written.
        """

    @abstractmethod
    def write(self, name: str, content: bytes, media_type: str) -> None:
        """Write an object; what is there of that name is replaced.

        Raises:
            Unavailable: The zone cannot be written.
        """

    @abstractmethod
    def discard(self, names: Collection[str]) -> None:
        """Remove objects; those that are gone already are no error.

        Raises:
            Unavailable: The zone cannot be written.
        """

    @abstractmethod
    def settle(self) -> None:
        """Wait until all that was written so far is on the disk; an object store does so by itself.

        Raises:
            Unavailable: The disk failed.
        """

    @abstractmethod
    def move(self, key: str, wanted: Mapping[str, Content], last: Collection[str]) -> None:
        """Bring the content of the area to another key, which has nothing else afterwards; the area is empty then.

        In a file zone all of it appears at once. In an object store one object after the other does, each whole; those
        that the others are found by come last.

        Args:
            key: What the keys of the objects begin with then.
            wanted: What there has to be, by name within the area.
            last: Names of those that come when all others are in place.

        Raises:
            NotFound: An object of it is no longer in the area.
            VerificationFailed: What is in place differs from what was wanted (object stores).
            Unavailable: The zone cannot be written.
        """

    @abstractmethod
    def remove(self, first: Collection[str] = ()) -> None:
        """Remove all that is in the area; that it is gone already is no error.

        In a file zone all of it disappears at once, before its files are removed one by one.

        Args:
            first: Names of those that the others are found by, which disappear before them in an object store.

        Raises:
            Unavailable: The zone cannot be written.
        """


def check_names(names: Iterable[str]) -> None:
    """Check that names within an area are right in every zone, and that all of them can be there at once.

    A name is segments of letters (of any script), digits and ``. _ - + = , @ ~`` with ``/`` between.

    Raises:
        InvalidParameter: One is not.
    """
    seen: set[str] = set()
    for name in names:
        segments = name.split("/")
        is_right = len(name.encode()) <= MAX_NAME_BYTES and unicodedata.is_normalized("NFC", name)
        if not is_right or not all(_is_segment(segment) for segment in segments):
            raise InvalidParameter(
                f"'{name[:80]}' cannot be the name of a published object: letters, digits and . _ - + = , @ ~ can, in "
                f"Unicode's form NFC, up to {MAX_NAME_BYTES} bytes.",
                hint="Give the file another name.",
                field="target",
            )
        if name in seen:
            raise InvalidParameter(f"Two objects would have the name '{name[:80]}'.", field="target")
        seen.add(name)
    for name in seen:
        parent = name.rpartition("/")[0]
        while parent:
            if parent in seen:
                raise InvalidParameter(f"'{parent[:80]}' would be an object and a folder.", field="target")
            parent = parent.rpartition("/")[0]


def _is_segment(segment: str) -> bool:
    is_short = len(segment.encode()) <= _MAX_SEGMENT_BYTES
    return is_short and segment not in (".", "..") and _SEGMENT.fullmatch(segment) is not None
