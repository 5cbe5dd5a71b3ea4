"""What a copier is: it brings objects to where they are collected, and nothing else.

Whether they arrived is seen by `geoetl.publish.delivery`, which reads all of them back; a copier is not believed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from geoetl.core.settings import PublishSettings
from geoetl.store.origins import Origins
from geoetl.store.staging import Staging

#: Group of the entry points by which packages offer copiers.
ENTRY_POINTS = "geoetl.copiers"

#: Hears how many objects, and how many bytes of them, have been brought so far.
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Transfer:
    """An object that is to be brought.

    Attributes:
        source: Its address: ``internal://key``, or one outside the zones that a virtual cube names (`Origins.find`).
        target: Its name within the staging area, ``/`` between segments (`Staging.address`).
        bytes: Its size.
        sha256: Digest of its content, 64 hex digits.
        media_type: As it is to be served; set where the store of the target keeps it.
    """

    source: str
    target: str
    bytes: int
    sha256: str
    media_type: str


class Copier(Protocol):
    """Brings objects into a staging area."""

    def bring(self, transfers: Sequence[Transfer], staging: Staging, tell: Tell) -> None:
        """Bring all of them; what is at a target already is replaced.

        Returns when each was brought as far as the copier knows; the same call again brings all of them again.

        Raises:
            NotFound: A source is gone.
            Unavailable: A store cannot be reached, or its disk is full; the same call may succeed later.
            Conflict: It was told to end (`cancel`).
        """

    def cancel(self) -> None:
        """End what `bring` does in another thread; without one, the next `bring` ends at once."""


class MakeCopier(Protocol):
    """Makes a copier; what the registry and entry points hold."""

    def __call__(self, origins: Origins, settings: PublishSettings) -> Copier:
        """Return a copier.

        Raises:
            ConfigurationError: A setting that it needs is missing.
        """
