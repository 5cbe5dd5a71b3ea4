"""How what was approved gets to where it is public: collected out of sight, read back, and only then in place."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from geoetl.core.errors import NotFound, Unavailable, VerificationFailed
from geoetl.core.identifiers import canonical_json, check_id
from geoetl.publish.copiers.protocol import Copier, Transfer
from geoetl.publish.model import Manifest, ManifestObject
from geoetl.runs.model import Result
from geoetl.store.area import Area, check_names
from geoetl.store.contents import Content, listed
from geoetl.store.origins import Origins
from geoetl.store.side_by_side import side_by_side
from geoetl.store.staging import Staging, area_at
from geoetl.store.zones import Zone, check_key

#: Where releases are collected, below ``.incoming`` in the external zone.
STAGING = "publish"
# Objects that are read back side by side.
READERS = 16
# What arrived wrong is brought once more: a bit that flips twice in the same place is no accident.
TRIES = 2


class Delivered(Result):
    """What a delivery did.

    Attributes:
        objects: How many there are, documents included.
        bytes: Size of all of them.
        copied: How many of them were brought or written now.
        resumed: How many were right already: in place, or collected by a delivery that broke off.
    """

    objects: int
    bytes: int
    copied: int
    resumed: int


@dataclass(frozen=True)
class Delivery:
    """Brings releases into a zone, and takes them out again.

    Args:
        zone: The external zone.
        origins: Finds what is copied.
        copier: Brings it; what it brought is read back here, whatever it says.
    """

    zone: Zone
    origins: Origins
    copier: Copier

    def deliver(self, manifest: Manifest, release_id: str, tell: Callable[[int, int], None]) -> Delivered:
        """Bring all that a manifest names to its path, and nothing else; the same again changes nothing.

        Args:
            manifest: What was approved.
            release_id: Names where it is collected, so that a delivery that broke off goes on there.
            tell: Hears how many objects, and how many bytes of them, have been brought so far.

        Raises:
            VerificationFailed: A source is not what was approved, or an object did not arrive as it was sent, twice.
            NotFound: A source is gone.
            InvalidParameter: A name cannot be that of an object.
            OutsideAllowedRoots: A source lies where nothing may be read.
            Unavailable: A store cannot be reached or a disk is full; the same call goes on where this one ended.
            Conflict: The copier was told to end.
        """
        release = _Release.of(manifest)
        staging, place = Staging(self.zone, f"{STAGING}/{check_id(release_id)}"), area_at(self.zone, release.path)
        with staging.held():
            if self._is_right(place, release.wanted):
                self._record(release)
                return release.delivered(copied=0)
            self.zone.artifacts.writing_many(self.zone.name, release.keys, release.owner)
            copied = self._collect(release, staging, tell)
            try:
                staging.come_into_place(release.path, release.wanted, release.documents)
            except NotFound:
                # Another delivery of it, elsewhere, was done and has cleared away what was collected.
                if not self._is_right(place, release.wanted):
                    raise _taken_away(release) from None
            self._record(release)
        return release.delivered(copied=copied)

    def is_complete(self, manifest: Manifest) -> bool:
        """Tell whether all that a manifest names is in place and nothing else, by names and sizes; documents are read.

        Raises:
            Unavailable: The zone cannot be asked.
        """
        release = _Release.of(manifest)
        place = area_at(self.zone, release.path)
        if place.sizes() != release.sizes:
            return False
        return not _wrong(place, {name: release.wanted[name] for name in release.documents})

    def remove(self, manifest: Manifest) -> None:
        """Remove a release from its path; what is gone already is no error.

        In a file zone it disappears at once; in an object store its documents go before the rest.

        Raises:
            Unavailable: The zone cannot be written.
        """
        release = _Release.of(manifest)
        area_at(self.zone, release.path).remove(first=release.documents)
        self.zone.artifacts.deleted_many(self.zone.name, release.keys)

    def _collect(self, release: "_Release", staging: Staging, tell: Callable[[int, int], None]) -> int:
        """Bring all that is not there and right already; return how many objects that were."""
        there = staging.area.sizes()
        staging.area.discard(there.keys() - release.wanted.keys())
        likely = [name for name, size in release.sizes.items() if there.get(name) == size]
        right = set(likely) - _wrong(staging.area, {name: release.wanted[name] for name in likely})
        for name, content in release.documents.items():
            if name not in right:
                staging.area.write(name, content, media_type_of(release.manifest.documents[name]))
        missing = [one for one in release.manifest.objects if one.target not in right]
        wrong = self._brought(release, missing, staging, tell)
        if wrong:
            raise VerificationFailed(
                f"{listed(wrong)} did not arrive in the {self.zone.name} zone as it was sent, {TRIES} times.",
                hint="Nothing of it is public. Run it again; if it happens again, check the disk and the network.",
            )
        return len(release.wanted) - len(right)

    def _brought(
        self, release: "_Release", missing: list[ManifestObject], staging: Staging, tell: Callable[[int, int], None]
    ) -> set[str]:
        """Bring objects, and once more those that arrived wrong; return the names of those that are wrong still."""
        names = {one.target for one in missing} | release.documents.keys()
        for _ in range(TRIES):
            if missing:
                bring = [Transfer(one.source, one.target, one.bytes, one.sha256, one.media_type) for one in missing]
                # Documents are not counted: whoever hears it knows how many objects there are.
                objects = release.manifest.objects
                before = len(objects) - len(missing), release.manifest.bytes - sum(one.bytes for one in missing)
                self.copier.bring(bring, staging, partial(_tell_on, tell, *before))
            # The disk works while the processor does; what is left for it when all comes into place is little then.
            with ThreadPoolExecutor(1, "settle") as beside:
                settled = beside.submit(staging.area.settle)
                names = _wrong(staging.area, {name: release.wanted[name] for name in names})
                settled.result()
            missing = [one for one in missing if one.target in names]
            self._check_sources(missing)
            if not names:
                break
        return names

    def _check_sources(self, objects: Collection[ManifestObject]) -> None:
        """Find out whether what arrived wrong is wrong where it comes from.

        Raises:
            VerificationFailed: It is: a source changed since it was approved.
            NotFound: It is gone.
        """
        changed = [one.target for one in objects if not self._is_as_approved(one)]
        if changed:
            raise VerificationFailed(
                f"{listed(changed)} changed since it was approved.",
                hint="Nothing of it is public. Bring back what was approved, or submit it again as it is now.",
            )

    def _is_as_approved(self, wanted: ManifestObject) -> bool:
        return self.origins.find(wanted.source).read() == Content(wanted.sha256, wanted.bytes)

    def _record(self, release: "_Release") -> None:
        path = release.path
        stored = {f"{path}/{name}": (content.sha256, content.bytes) for name, content in release.wanted.items()}
        self.zone.artifacts.stored_many(self.zone.name, release.owner, stored)

    def _is_right(self, place: Area, wanted: Mapping[str, Content]) -> bool:
        """Tell whether an area holds what is wanted and nothing else; all of it is read."""
        sizes = {name: content.bytes for name, content in wanted.items()}
        return place.sizes() == sizes and not _wrong(place, wanted)


@dataclass(frozen=True)
class _Release:
    """What there is to deliver.

    Attributes:
        manifest: What was approved.
        documents: The documents as they are served, by name.
        wanted: What there has to be in place, by name.
    """

    manifest: Manifest
    documents: Mapping[str, bytes]
    wanted: Mapping[str, Content]

    @classmethod
    def of(cls, manifest: Manifest) -> "_Release":
        check_key(manifest.path)
        check_names([*(one.target for one in manifest.objects), *manifest.documents])
        documents = {name: document_bytes(document) for name, document in manifest.documents.items()}
        wanted = {one.target: Content(one.sha256, one.bytes) for one in manifest.objects}
        wanted |= {name: Content(hashlib.sha256(text).hexdigest(), len(text)) for name, text in documents.items()}
        return cls(manifest, documents, wanted)

    @property
    def path(self) -> str:
        return self.manifest.path

    @property
    def owner(self) -> str:
        return f"{self.manifest.collection}/{self.manifest.item}"

    @property
    def keys(self) -> list[str]:
        return [f"{self.path}/{name}" for name in self.wanted]

    @property
    def sizes(self) -> dict[str, int]:
        return {name: content.bytes for name, content in self.wanted.items()}

    @property
    def bytes(self) -> int:
        return sum(content.bytes for content in self.wanted.values())

    def delivered(self, *, copied: int) -> Delivered:
        objects = len(self.wanted)
        return Delivered(objects=objects, bytes=self.bytes, copied=copied, resumed=objects - copied)


def _tell_on(tell: Callable[[int, int], None], before: int, bytes_before: int, objects: int, size: int) -> None:
    tell(before + objects, bytes_before + size)


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a JSON document as it is served: canonical, so that the same document is the same bytes."""
    return f"{canonical_json(document)}\n".encode()


def media_type_of(document: Mapping[str, Any]) -> str:
    """Return the media type that a JSON document is served as."""
    return "application/geo+json" if document.get("type") == "Feature" else "application/json"


def _wrong(area: Area, wanted: Mapping[str, Content]) -> set[str]:
    """Read objects back and return the names of those that are not there or hold something else."""
    wrong = set[str]()

    def look(name: str) -> None:
        with suppress(NotFound):
            if area.read_back(name) == wanted[name]:
                return
        wrong.add(name)

    # The largest first, so that no thread is left alone with one at the end.
    side_by_side(look, sorted(wanted, key=lambda name: -wanted[name].bytes), READERS)
    return wrong


def _taken_away(release: _Release) -> Unavailable:
    return Unavailable(
        f"What was collected of '{release.manifest.item}' was taken away meanwhile.",
        hint="Run it again: nothing of it is public.",
    )
