"""Say exactly what would become public of an item: its objects with their digests, its documents, nothing else."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from geoetl.core.errors import InvalidParameter, VerificationFailed
from geoetl.core.identifiers import check_id
from geoetl.publish.collecting import STYLES, Collected, checksum_of
from geoetl.publish.contained import Packer, StyleSheet, StyleSheets
from geoetl.publish.documents import (
    COLLECTION,
    ROOT,
    check_item,
    check_style,
    is_of_the_web,
    public_collection,
    public_item,
    terms_of,
)
from geoetl.publish.model import Manifest
from geoetl.store.catalog import Catalog
from geoetl.store.digests import DigestedObject, digest_folder, digest_object
from geoetl.store.zones import Zones

#: Where in the internal zone lies what is made only to be published.
PUBLISHING = "publishing"
# What no asset may be: records of runs, and what is made for other releases.
_RECORDS = ("runs/", f"{PUBLISHING}/", "audit/")
# Names at the root of the external zone; also on disks that do not tell capitals.
_TAKEN_AT_ROOT = frozenset({ROOT, "audit"})
_TILES = "application/vnd.pmtiles"


def owner_of(collection: str, item: str) -> str:
    """Return whose the objects are, in the record of them, that are made only to publish an item."""
    return f"{PUBLISHING}/{collection}/{item}"


@dataclass(frozen=True)
class Assembler:
    """Says what would become public.

    Args:
        catalog: Where the items are.
        zones: Where their objects are.
        packer: Makes virtual cubes stand alone.
        styles: Gives the styles of items.
        private: Folders whose paths no document may have: roots of zones, the home, whatever may be read.
        base_url: Public address of the external zone, or the zone's own URL; without a slash at its end.
        scratch: Folder for files on their way.
    """

    catalog: Catalog
    zones: Zones
    packer: Packer
    styles: StyleSheets
    private: tuple[str, ...]
    base_url: str
    scratch: Path

    def assemble(self, collection: str, item: str, version: int) -> Manifest:
        """Return what a version of an item would make public.

        What has to be made for it is written into the internal zone, under names with a digest of its content: what
        an earlier manifest names stays as it is.

        Raises:
            NotFound: There is no such item; or a file that a cube needs is gone.
            InvalidParameter: Its name, that of its collection, or of a file cannot be in the external zone.
            EmptyDataset: It has no objects.
            VerificationFailed: An object is gone, lies outside of the internal zone, or is not as it was written; or a
                document leads to a place inside.
            LimitExceeded: It has more objects than one release may.
            ConfigurationError: A cube cannot be read at the address of the external zone.
            Unavailable: A store cannot be reached.
        """
        _check_names(collection, item)
        found = self.catalog.item(collection, item)
        path = f"{collection}/{item}/v{version}"
        collected = Collected(item, self.packer.pack(found, path, self.base_url))
        for key, asset in found["assets"].items():
            if key not in collected.packed.assets:
                self._add(collected, key, asset)
        tiles = self._tiles_address(collected, path)
        for sheet in self.styles.sheets(found, tiles) if collected.objects else ():
            self._add_sheet(collected, sheet, path, owner_of(collection, item))
        collected.check()
        described = self.catalog.collection(collection)
        terms = terms_of(found, described)
        document = public_item(found, collected.assets, terms, version)
        shown = public_collection(described, found)
        for checked in (document, shown):
            check_item(checked, self.private)
        return Manifest(
            collection=collection,
            item=item,
            objects=tuple(sorted(collected.objects, key=lambda one: one.target)),
            documents={f"{item}.json": document, **collected.documents},
            license=terms.license,
            attribution=terms.attribution,
            version=version,
            collection_document=shown,
        )

    # -- assets --------------------------------------------------------------------------------------------------------

    def _add(self, collected: Collected, key: str, asset: Mapping[str, Any]) -> None:
        name = key[:60]
        zone, place = self._locate(asset.get("href"))
        if zone != self.zones.internal.name or place.startswith(_RECORDS):
            raise VerificationFailed(
                f"The asset '{name}' lies where nothing is published from: only data that geoetl keeps are.",
                hint="Bring its file in with a pipeline, or take the asset out of the item.",
                field=f"assets.{name}.href",
            )
        found = () if collected.has(place) else self._digested(place, name)
        if found and found[0].key == place:
            _check_told(asset, found[0], name)
        collected.add(key, asset, place, found)

    def _locate(self, href: object) -> tuple[str | None, str]:
        if not isinstance(href, str):
            return None, ""
        try:
            zone, place = self.zones.locate(href)
        except InvalidParameter:  # it leads out of a zone
            return None, ""
        return (zone.name if zone else None), place

    def _digested(self, place: str, name: str) -> Sequence[DigestedObject]:
        zone = self.zones.internal
        one = digest_object(zone, place)
        found = (one,) if one else digest_folder(zone, place)
        if not found:
            raise VerificationFailed(
                f"What the asset '{name}' leads to is gone.",
                hint="Run the pipeline again that made it, or take the asset out of the item.",
                field=f"assets.{name}.href",
            )
        return found

    # -- styles --------------------------------------------------------------------------------------------------------

    def _tiles_address(self, collected: Collected, path: str) -> str | None:
        """Return where clients find the vector tiles: relative to a style where the zone has no address of the web."""
        found = next((asset["href"] for asset in collected.assets.values() if asset.get("type") == _TILES), None)
        if found is None:
            return None
        name = found.removeprefix("./")
        return f"{self.base_url}/{path}/{name}" if is_of_the_web(self.base_url) else f"../{name}"

    def _add_sheet(self, collected: Collected, sheet: StyleSheet, path: str, owner: str) -> None:
        target = f"{STYLES}/{check_id(sheet.style, 'style')}.{sheet.extension}"
        check_style(sheet.document, self.private, target)
        key = f"style-{sheet.style}-{sheet.encoding}"
        asset = {"type": sheet.media_type, "title": sheet.title, "roles": ["style"]}
        if isinstance(sheet.document, str):
            content = sheet.document.encode()
            name = f"{sha256(content).hexdigest()[:12]}-{sheet.style}.{sheet.extension}"
            stored = self._stored(content, f"{PUBLISHING}/{path}/{name}", owner)
            collected.add_text(key, asset, target, stored)
        else:
            collected.add_document(key, asset, target, sheet.document)

    def _stored(self, content: bytes, key: str, owner: str) -> DigestedObject:
        """Put a text into the internal zone, unless it is there already."""
        zone, digest = self.zones.internal, sha256(content).hexdigest()
        there = digest_object(zone, key)
        if there is None or there.sha256 != digest:
            self.scratch.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
                file = Path(folder) / "document"
                file.write_bytes(content)
                zone.put(file, key, owner=owner)
        return DigestedObject(key, len(content), digest)


def _check_names(collection: str, item: str) -> None:
    check_id(collection, "collection")
    check_id(item, "item")
    for name, field, taken in ((collection, "collection", _TAKEN_AT_ROOT), (item, "item", {COLLECTION})):
        if name.casefold() in taken:
            raise InvalidParameter(
                f"The {field} '{name}' cannot be published: the external zone has something else of that name.",
                hint="Register it under another id.",
                field=field,
            )


def _check_told(asset: Mapping[str, Any], found: DigestedObject, name: str) -> None:
    """Check that an object is the one that the catalogue tells of.

    Raises:
        VerificationFailed: It has another size or checksum.
    """
    told = asset.get("file:checksum")
    # It may be a digest of another kind in an item that was made elsewhere.
    is_ours = isinstance(told, str) and told.startswith(checksum_of(""))
    if asset.get("file:size", found.bytes) != found.bytes or (is_ours and told != checksum_of(found.sha256)):
        raise VerificationFailed(
            f"The object of the asset '{name}' is not the one that the catalogue tells of: "
            f"{found.bytes:,} bytes with sha256 {found.sha256[:12]}….",
            hint="Run the pipeline again that made it.",
            field=f"assets.{name}.file:checksum",
        )
