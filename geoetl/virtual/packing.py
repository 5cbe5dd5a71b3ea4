"""Make a cube stand alone for the public: its source files go along, and its references lead to where they will lie.

References say where a chunk is by an absolute address, so they are written anew for the place that they go to. An
Icechunk repository stays one, with one commit and no history: anybody may read its chunks over HTTP
(``icechunk.http_storage``), and a kerchunk form of it would say something else of chunks that were never written.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from geoetl.core.errors import ConfigurationError, UnreadableFile, VerificationFailed
from geoetl.core.findings import sentences
from geoetl.core.identifiers import digest, file_digest, slug
from geoetl.store.contents import as_ours, content_of
from geoetl.store.digests import DigestedObject, digest_folder, digest_object
from geoetl.store.gate import Gate
from geoetl.store.remote import RemoteFile, SourcePath
from geoetl.store.sources import WHOLE, SourceFile, check_sources
from geoetl.store.zones import BLOCK_BYTES, Zones
from geoetl.virtual import icechunk
from geoetl.virtual.manifest import CubeManifest
from geoetl.virtual.write import CubeFormat, read_known, write_references

#: Where the source files go, and what lists them, below the path of a release.
SOURCES, LIST = "sources", "sources.json"
_NAME = "references"
_SUFFIXES: Mapping[CubeFormat, str] = {
    CubeFormat.JSON: ".json",
    CubeFormat.PARQUET: ".parquet",
    CubeFormat.ICECHUNK: ".icechunk",
}
_SOURCE_TYPES: Mapping[str, str] = {
    ".nc": "application/netcdf",
    ".nc4": "application/netcdf",
    ".h5": "application/x-hdf5",
    ".hdf5": "application/x-hdf5",
}
_UNKNOWN_TYPE = "application/octet-stream"
_MAX_STEM = 160
# Files that are read side by side.
_READERS = min(os.cpu_count() or 1, 8)
_SHA256_MULTIHASH = "1220"


@dataclass(frozen=True)
class PackedFile:
    """An object that goes along.

    Attributes:
        source: Its address: ``internal://key``, or that of a file or object outside the zones.
        target: Where it goes, below the path of the release.
        bytes: Its size.
        sha256: Digest of its content.
        media_type: As it is served.
        role: What it is: references, source, metadata.
    """

    source: str
    target: str
    bytes: int
    sha256: str
    media_type: str
    role: str


@dataclass(frozen=True)
class PackedCube:
    """What a cube takes along.

    Attributes:
        objects: References, source files and the list of them.
        assets: What takes the place of the item's assets, with addresses relative to the item.
    """

    objects: tuple[PackedFile, ...] = ()
    assets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class CubePacker:
    """Makes cubes stand alone.

    Args:
        gate: Opens the source files.
        zones: Where references are, and go.
        scratch: Folder for files on their way.
    """

    gate: Gate
    zones: Zones
    scratch: Path

    def pack(self, item: Mapping[str, Any], path: str, base: str) -> PackedCube:
        """Return what an item needs outside; nothing for one that is no cube.

        Args:
            item: As the catalogue has it.
            path: Of the release: ``{collection}/{item}/v{version}``.
            base: Address of the external zone, without a slash at its end.

        Raises:
            NotFound, VerificationFailed: A source is gone, or has changed since its chunks were indexed.
            UnreadableFile: The references are damaged, or geoetl did not write them.
            OutsideAllowedRoots: A source lies where nobody may read.
            ConfigurationError: Its chunks cannot be read at that address.
            Unavailable: A store cannot be reached.
        """
        packing = _Packing(self, item, path, self._reachable(base))
        found = next(_references(item), None)
        return packing.listed_alone() if found is None else packing.referenced(*found)

    def _reachable(self, base: str) -> str:
        # Readers of references take paths of this machine as they are, without the marks of a URL.
        external = self.zones.external
        return external.prefix.rstrip("/") if base == external.url.rstrip("/") else base


@dataclass(frozen=True)
class _Packing:
    """One item on its way."""

    packer: CubePacker
    item: Mapping[str, Any]
    path: str
    base: str

    def referenced(self, key: str, asset: Mapping[str, Any], format: CubeFormat) -> PackedCube:
        """Pack a virtual cube."""
        if format is CubeFormat.ICECHUNK and "://" in self.base and not icechunk.is_of_the_web(self.base):
            raise ConfigurationError(
                "An Icechunk repository can be read by the public over HTTP alone.",
                hint="Set GEOETL_PUBLISH__BASE_URL to the address at which the external zone is served.",
                field="GEOETL_PUBLISH__BASE_URL",
            )
        path, stamp = self._local(asset, format)
        manifest = icechunk.read_manifest(path) if format is CubeFormat.ICECHUNK else read_known(path, format)
        files = self._sources(manifest.sources)
        moved = replace(
            manifest, sources=tuple(self._moved(*pair) for pair in zip(manifest.sources, files, strict=True))
        )
        stored = self._stored_references(moved, format, stamp)
        target = _NAME + _SUFFIXES[format]
        listed = self._stored_list([_described(s, f) for s, f in zip(manifest.sources, files, strict=True)])
        media_type = format.media_type if not format.is_folder else _UNKNOWN_TYPE
        references = [
            PackedFile(f"internal://{one.key}", target + name, one.bytes, one.sha256, media_type, "references")
            for name, one in stored.items()
        ]
        assets = {
            key: self._asset(asset, format, target, stored),
            next(_source_lists(self.item), SOURCES): self._list_asset(listed.bytes, listed.sha256),
        }
        return PackedCube((*references, *files, listed), assets)

    def listed_alone(self) -> PackedCube:
        """Pack the list of sources of a cube that was converted: their names and checksums, not where they lie."""
        key = next(_source_lists(self.item), None)
        if key is None:
            return PackedCube()
        zone, place = self.packer.zones.locate(str(self.item["assets"][key]["href"]))
        try:
            if zone is None:
                raise ValueError("elsewhere")
            given = json.loads(zone.local_path(place).read_bytes())["files"]
            sources = [SourceFile.model_validate(one) for one in given]
        except (ValueError, LookupError, TypeError):
            raise UnreadableFile(
                f"The asset '{key}' does not list sources as geoetl does.",
                hint="Take it out of the item.",
                field=f"assets.{key}",
            ) from None
        listed = self._stored_list([_described(source, None) for source in sources])
        return PackedCube((listed,), {key: self._list_asset(listed.bytes, listed.sha256)})

    # -- references ----------------------------------------------------------------------------------------------------

    def _local(self, asset: Mapping[str, Any], format: CubeFormat) -> tuple[Path, str]:
        """Return the references on this machine, and a digest of them."""
        zone, place = self.packer.zones.locate(str(asset.get("href", "")))
        if zone is not self.packer.zones.internal:
            raise VerificationFailed(
                "The references of the cube lie where nothing is published from.",
                hint="Build the cube again with its pipeline.",
                field="assets",
            )
        if format.is_folder:
            found = digest_folder(zone, place)
            return zone.local_folder(place), digest([[one.key, one.sha256] for one in found])
        one = digest_object(zone, place)
        return zone.local_path(place), one.sha256 if one else ""

    def _stored_references(self, moved: CubeManifest, format: CubeFormat, stamp: str) -> dict[str, DigestedObject]:
        """Write references into the internal zone, unless the same are there; return them by what follows the name."""
        said = [source.model_dump(mode="json") for source in moved.sources]
        key = f"publishing/{self.path}/{digest([stamp, str(format), said])[:12]}-{_NAME}{_SUFFIXES[format]}"

        def write(folder: Path) -> Path:
            write_references(moved, format, folder / "references")
            return folder / "references"

        zone = self.packer.zones.internal
        if format.is_folder:
            found = digest_folder(zone, key)
            if not found:
                self._put(key, write, is_folder=True)
                found = digest_folder(zone, key)
            return {one.key.removeprefix(key): one for one in found}
        return {"": digest_object(zone, key) or self._put(key, write)}

    def _put(self, key: str, write: Callable[[Path], Path], *, is_folder: bool = False) -> DigestedObject:
        zone, owner = self.packer.zones.internal, f"publishing/{self.item['collection']}/{self.item['id']}"
        self.packer.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.packer.scratch) as folder:
            written = write(Path(folder))
            put = zone.put_folder(written, key, owner=owner) if is_folder else zone.put(written, key, owner=owner)
        return DigestedObject(put.key, put.bytes, put.sha256)

    def _asset(
        self, asset: Mapping[str, Any], format: CubeFormat, target: str, stored: Mapping[str, DigestedObject]
    ) -> dict[str, Any]:
        kept = {name: value for name, value in asset.items() if name not in ("file:checksum", "icechunk:snapshot_id")}
        told: dict[str, Any] = {"href": f"./{target}", "file:size": sum(one.bytes for one in stored.values())}
        if format is CubeFormat.JSON:
            told["file:checksum"] = _SHA256_MULTIHASH + stored[""].sha256
        elif format is CubeFormat.PARQUET:
            protocol = self.base.partition("://")[0] if "://" in self.base else "file"
            options = {"storage_options": {"remote_protocol": protocol}}
            told["xarray:open_kwargs"] = {**kept.get("xarray:open_kwargs", {}), "backend_kwargs": options}
        else:
            told["description"] = (
                "Icechunk repository of format 2, to be opened with icechunk.http_storage; its chunks lie in the files "
                f"below {SOURCES}/, whose address has to be given to authorize_virtual_chunk_access."
            )
        return {**kept, **told}

    # -- sources -------------------------------------------------------------------------------------------------------

    def _sources(self, sources: Sequence[SourceFile]) -> list[PackedFile]:
        """Return the source files as objects, each with a name of its own.

        Raises:
            NotFound, VerificationFailed: One is gone or has changed.
        """
        gate = self.packer.gate
        paths = gate.locate_all([source.address for source in sources])
        if findings := check_sources(sources, gate.stamps):
            raise VerificationFailed(sentences(findings[:3]), hint=findings[0].remedy, field="item")
        with ThreadPoolExecutor(_READERS) as pool:
            digests = pool.map(self._digest, sources, paths)
        return [
            PackedFile(
                source=self.packer.zones.portable(source.address),
                target=f"{SOURCES}/{name}",
                bytes=source.bytes,
                sha256=sha256,
                media_type=_SOURCE_TYPES.get(PurePosixPath(name).suffix, _UNKNOWN_TYPE),
                role="source",
            )
            for source, sha256, name in zip(sources, digests, source_names(sources), strict=True)
        ]

    def _digest(self, source: SourceFile, path: SourcePath) -> str:
        zone, key = self.packer.zones.locate(source.address)
        if zone is not None:
            found = digest_object(zone, key)
            return found.sha256 if found else ""
        if isinstance(path, RemoteFile):
            return _digest_remote(path)
        return file_digest(path)

    def _moved(self, source: SourceFile, file: PackedFile) -> SourceFile:
        """Return a source as it will be: its copy has another time of change, which nobody knows yet."""
        address = f"{self.base}/{self.path}/{file.target}"
        told = {"address": address, "modified_ns": 0, "etag": None, "digest": f"{WHOLE}:{file.sha256}"}
        return source.model_copy(update=told)

    def _stored_list(self, described: Sequence[Mapping[str, Any]]) -> PackedFile:
        content = json.dumps({"files": described}, indent=1, ensure_ascii=False).encode()
        sha256 = hashlib.sha256(content).hexdigest()
        key = f"publishing/{self.path}/{sha256[:12]}-{LIST}"

        def write(folder: Path) -> Path:
            (folder / LIST).write_bytes(content)
            return folder / LIST

        if digest_object(self.packer.zones.internal, key) is None:
            self._put(key, write)
        return PackedFile(f"internal://{key}", LIST, len(content), sha256, "application/json", "metadata")

    def _list_asset(self, size: int, sha256: str) -> dict[str, Any]:
        return {
            "href": f"./{LIST}",
            "type": "application/json",
            "title": "Source files with their checksums",
            "roles": ["metadata", "source"],
            "file:size": size,
            "file:checksum": _SHA256_MULTIHASH + sha256,
        }


def source_names(sources: Sequence[SourceFile]) -> list[str]:
    """Return a name for each source: that of its file, made safe, and another where two have the same."""
    taken: set[str] = set()
    names = []
    for source in sources:
        given = PurePosixPath(source.name)
        suffix = given.suffix if given.suffix.isascii() and given.suffix[1:].isalnum() else ""
        stem = slug(given.name.removesuffix(suffix))[:_MAX_STEM]
        number = 1
        while (name := f"{stem}{f'-{number}' if number > 1 else ''}{suffix}").casefold() in taken:
            number += 1
        taken.add(name.casefold())
        names.append(name)
    return names


def _references(item: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], CubeFormat]]:
    """Yield the assets of an item that are references, with how they are written."""
    for key, asset in item["assets"].items():
        format = CubeFormat.of_media_type(str(asset.get("type")))
        if format is CubeFormat.ICECHUNK or (format is not None and "references" in (asset.get("roles") or ())):
            yield key, asset, format


def _source_lists(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of the assets of an item that list the files that it was made of."""
    for key, asset in item["assets"].items():
        if "source" in (asset.get("roles") or ()) and asset.get("type") == "application/json":
            yield key


def _described(source: SourceFile, file: PackedFile | None) -> dict[str, Any]:
    told = source.model_dump(mode="json", exclude_defaults=True, exclude={"address", "modified_ns", "etag"})
    if file is None:
        return {"name": source.name, **told}
    return {"href": f"./{file.target}", "name": source.name, **told, "digest": f"{WHOLE}:{file.sha256}"}


def _digest_remote(file: RemoteFile) -> str:
    import obstore

    with as_ours(file.name):
        return content_of(obstore.get(file.root.store, file.key).stream(min_chunk_size=BLOCK_BYTES)).sha256
