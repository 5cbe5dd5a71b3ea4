"""Releases that are delivered between two zones of the tests."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geoetl.publish.copiers import Copier, Tell, Transfer
from geoetl.publish.copiers.objects import ObjectsCopier
from geoetl.publish.delivery import Delivered, Delivery
from geoetl.publish.model import Manifest, ManifestObject
from geoetl.store.staging import Staging, area_at
from geoetl.testing.copiers import CopyRehearsal, rehearsal
from tests.migrated import sqlite_url

RELEASE = "release-1"
FILES: Mapping[str, bytes] = {
    "flood.tif": bytes(range(256)) * 400,
    "thumbnail.png": b"\x89PNG" * 100,
    "empty.json": b"",
    "tas.zarr/.zmetadata": b"{}",
    "tas.zarr/tas/0.0.0": b"chunk" * 5000,
    "sources/größe_2020.nc": b"CDF\x01" * 1000,
}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "flood.json": {"type": "Feature", "id": "flood", "properties": {"title": "Überflutung"}},
    "styles/depth.maplibre.json": {"version": 8, "layers": []},
}


@dataclass
class Recording:
    """A copier that keeps what it was asked for, and lets something happen behind its back.

    Attributes:
        copier: What really copies.
        after: Called when all was brought, with the staging area and the number of the call.
        asked: Targets of each call.
    """

    copier: Copier
    after: Callable[[Staging, int], None] = lambda staging, call: None
    asked: list[list[str]] = field(default_factory=list)

    def bring(self, transfers: Sequence[Transfer], staging: Staging, tell: Tell) -> None:
        self.asked.append([one.target for one in transfers])
        self.copier.bring(transfers, staging, tell)
        self.after(staging, len(self.asked))

    def cancel(self) -> None:
        self.copier.cancel()


@dataclass
class Shipment:
    """A release that is to be delivered.

    Attributes:
        copy: The zones.
        manifest: What was approved.
        copier: What brings it.
    """

    copy: CopyRehearsal
    manifest: Manifest
    copier: Recording

    @property
    def delivery(self) -> Delivery:
        return Delivery(self.copy.staging.zone, self.copy.origins, self.copier)

    def deliver(self) -> Delivered:
        return self.delivery.deliver(
            self.manifest, RELEASE, lambda objects, size: self.copy.told.append((objects, size))
        )

    @property
    def staging(self) -> Staging:
        return Staging(self.copy.staging.zone, f"publish/{RELEASE}")

    @property
    def public(self) -> dict[str, str]:
        """Digests of all that lies at the path of the release, read back."""
        place = area_at(self.copy.staging.zone, self.manifest.path)
        return {name: place.read_back(name).sha256 for name in place.sizes()}

    @property
    def anywhere(self) -> list[str]:
        """Names of all objects in the external zone."""
        zone = self.copy.staging.zone
        if zone.root:
            return sorted(p.relative_to(zone.root).as_posix() for p in zone.root.rglob("*") if p.is_file())
        import obstore

        return sorted(str(found["path"]) for batch in obstore.list(zone.store) for found in batch)

    def source(self, target: str) -> str:
        """Name in the internal zone of what is brought to a target."""
        found = next(one.source for one in self.manifest.objects if one.target == target)
        return found.rpartition("/")[2]

    def assert_public(self) -> None:
        """Check that exactly what was approved is public, and recorded, and that nothing is left on the way."""
        approved = {one.target: one.sha256 for one in self.manifest.objects}
        public = self.public
        assert {name: public[name] for name in approved} == approved
        assert public.keys() == approved.keys() | self.manifest.documents.keys()
        assert self.anywhere == sorted(f"{self.manifest.path}/{name}" for name in public)
        assert self.delivery.is_complete(self.manifest)
        recorded = {key: digest for _, key, digest, _ in self.copy.staging.zone.artifacts.of_owner("hazards/flood")}
        assert recorded == {f"{self.manifest.path}/{name}": digest for name, digest in public.items()}

    def assert_nothing_public(self) -> None:
        """Check that nothing lies at the path of the release."""
        assert self.public == {}
        assert not self.delivery.is_complete(self.manifest)


def manifest_of(copy: CopyRehearsal, files: Mapping[str, bytes], **changes: Any) -> Manifest:
    """Write files into the internal zone and return the manifest of a release of them."""
    objects = []
    for name, content in files.items():
        made = copy.make(name, content)
        objects.append(
            ManifestObject(
                source=made.source,
                target=name,
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                media_type="image/tiff" if name.endswith(".tif") else "application/octet-stream",
                role="data",
            )
        )
    manifest = Manifest(
        collection="hazards", item="flood", version=3, objects=tuple(objects), documents=DOCUMENTS, license="CC-BY-4.0"
    )
    return manifest.model_copy(update=changes)


@contextmanager
def shipping(folder: Path, urls: tuple[str, str], files: Mapping[str, bytes] = FILES) -> Iterator[Shipment]:
    """Give a release that is to be delivered from one zone to another."""
    sqlite_url(folder / "rehearsal.db")
    with rehearsal(folder, *urls) as copy:
        yield Shipment(copy, manifest_of(copy, files), Recording(ObjectsCopier(copy.origins)))


def flip(content: bytes) -> bytes:
    """Return content with one bit of it changed."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
