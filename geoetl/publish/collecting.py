"""What a release is made of while it is assembled: names that do not meet, and each object once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from geoetl.core.errors import EmptyDataset, LimitExceeded
from geoetl.core.identifiers import slug
from geoetl.publish.contained import Packed
from geoetl.publish.documents import public_asset
from geoetl.publish.model import ManifestObject
from geoetl.store.area import check_names
from geoetl.store.digests import DigestedObject

#: Folders of a release: of its styles, and of the sources of a cube.
STYLES, SOURCES = "styles", "sources"
# A manifest of so many is a row of 25 MB.
MAX_OBJECTS = 100_000
_MAX_STEM = 100
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,15}", re.ASCII)
_ROLES = ("thumbnail", "references", "visual", "data", "overview", "metadata", "style")
_UNKNOWN_TYPE = "application/octet-stream"
# Multihash of a sha2-256, as file:checksum has it.
_SHA256_MULTIHASH = "1220"


def checksum_of(sha256: str) -> str:
    """Return a digest as ``file:checksum`` has it."""
    return _SHA256_MULTIHASH + sha256


@dataclass
class Collected:
    """What a release has so far.

    Attributes:
        item: Id of the item, whose document has its name.
        packed: What the item takes along.
        objects, documents: See `geoetl.publish.model.Manifest`.
        assets: As they are served.
    """

    item: str
    packed: Packed
    objects: list[ManifestObject] = field(default_factory=list)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    assets: dict[str, dict[str, Any]] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _placed: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._taken |= {STYLES, SOURCES, f"{self.item}.json".casefold()}
        for one in self.packed.objects:
            self._taken.add(one.target.partition("/")[0].casefold())
            self.objects.append(ManifestObject.model_validate(one, from_attributes=True))
        self.assets |= {key: dict(asset) for key, asset in self.packed.assets.items()}

    def add(self, key: str, asset: Mapping[str, Any], place: str, found: Sequence[DigestedObject]) -> None:
        """Add an asset with its object, or with all objects of its folder.

        Args:
            key: Of the asset.
            asset: As the catalogue has it.
            place: Where in the internal zone it lies.
            found: The object there, or those below it; not asked for where another asset has brought them (`has`).
        """
        if place not in self._placed:
            self._placed[place] = self._place(key, asset, place, found)
        told = dict(self._placed[place])
        self.assets[key] = public_asset(asset, told.pop("target"), **told)

    def has(self, place: str) -> bool:
        """Tell whether another asset has brought what lies at a place."""
        return place in self._placed

    def add_document(self, key: str, asset: Mapping[str, Any], target: str, document: dict[str, Any]) -> None:
        """Add an asset that is a JSON document of the manifest itself."""
        self.documents[target] = document
        self.assets[self._free_key(key)] = public_asset(asset, target)

    def add_text(self, key: str, asset: Mapping[str, Any], target: str, found: DigestedObject) -> None:
        """Add an asset whose object has a target of its own."""
        self.objects.append(_object(found, target, asset))
        told = {"file:size": found.bytes, "file:checksum": checksum_of(found.sha256)}
        self.assets[self._free_key(key)] = public_asset(asset, target, **told)

    def check(self) -> None:
        """Check that there is something, not too much, and that it can lie where it would.

        Raises:
            EmptyDataset, LimitExceeded: It is not so.
            InvalidParameter: A file of a folder has a name that not every zone can have.
        """
        if not self.objects:
            raise EmptyDataset(
                f"'{self.item}' has no objects that could become public.",
                hint="Give it an asset, then submit it again.",
                field="item",
            )
        if len(self.objects) > MAX_OBJECTS:
            raise LimitExceeded(
                f"'{self.item}' has {len(self.objects):,} objects; a release has at most {MAX_OBJECTS:,}.",
                hint="Write its Zarr with larger chunks, or in shards.",
                field="item",
            )
        check_names([*(one.target for one in self.objects), *self.documents])

    def _place(self, key: str, asset: Mapping[str, Any], place: str, found: Sequence[DigestedObject]) -> dict[str, Any]:
        """Add the objects of a place and return what its assets say of it: target, size, and the checksum of one."""
        target = self._free(key, place, _role(asset))
        if found[0].key == place:
            self.objects.append(_object(found[0], target, asset))
            return {
                "target": target,
                "file:size": found[0].bytes,
                "file:checksum": checksum_of(found[0].sha256),
            }
        part = {**asset, "type": _UNKNOWN_TYPE}
        self.objects += [_object(one, target + one.key[len(place) :], part) for one in found]
        return {"target": target, "file:size": sum(one.bytes for one in found)}

    def _free(self, key: str, place: str, role: str) -> str:
        """Return a name for what lies at a place that nothing else has: the key of its asset, and the same suffix."""
        last = place.rpartition("/")[2]
        suffix = last[last.rindex(".") :] if "." in last else ""
        kept = suffix.lower() if _SUFFIX.fullmatch(suffix) else ""
        stem = slug(key)[:_MAX_STEM].rstrip("-._")
        # An asset that is called after its format: visual.pmtiles, not pmtiles.pmtiles.
        stem = role if f".{stem}" == kept else stem
        names = (f"{name}{kept}" for name in _numbered(stem))
        target = next(name for name in names if name.casefold() not in self._taken)
        self._taken.add(target.casefold())
        return target

    def _free_key(self, key: str) -> str:
        return next(name for name in _numbered(key) if name not in self.assets)


def _object(found: DigestedObject, target: str, asset: Mapping[str, Any]) -> ManifestObject:
    media_type = str(asset.get("type") or _UNKNOWN_TYPE)
    return ManifestObject(
        source=f"internal://{found.key}",
        target=target,
        bytes=found.bytes,
        sha256=found.sha256,
        media_type="application/json" if target.endswith(".json") and media_type == _UNKNOWN_TYPE else media_type,
        role=_role(asset),
    )


def _role(asset: Mapping[str, Any]) -> str:
    roles = asset.get("roles") or []
    return next((role for role in _ROLES if role in roles), "data")


def _numbered(name: str) -> Iterator[str]:
    yield name
    for number in count(2):
        yield f"{name}-{number}"
