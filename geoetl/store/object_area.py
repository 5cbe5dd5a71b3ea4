"""What is below a prefix of an object store, whose objects come and go one after the other, each whole."""

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from geoetl.core.errors import NotFound, VerificationFailed
from geoetl.store.area import Area
from geoetl.store.contents import BLOCK_BYTES, Content, as_ours, content_of, gone, listed
from geoetl.store.origins import Origin
from geoetl.store.side_by_side import side_by_side
from geoetl.store.zones import connect

#: Requests that are made side by side.
REQUESTS = 16
# What is uploaded and read as one. Larger objects go up in parts of this size, two at a time: with all requests under
# way that is 256 MiB of memory.
PART_BYTES = 8 * 1024**2
PARTS_AT_ONCE = 2
# S3 takes up to 10,000 parts (AWS, "Multipart upload limits"); those of a very large object are larger.
MAX_PARTS = 9000
# S3 copies no larger object by itself in one request (AWS, "CopyObject").
COPIED_BY_STORE_BYTES = 5 * 1024**3
# How S3, and what speaks like it, names content: by its MD5, or that of the MD5s of its parts. Others name versions.
_ETAG_OF_CONTENT = re.compile(r'"?[0-9a-f]{32}(-\d+)?"?')


@dataclass(frozen=True)
class _Listed:
    """What a store tells of an object."""

    bytes: int
    etag: str | None

    def holds_the_same(self, other: "_Listed | None") -> bool:
        """Tell whether two objects hold the same for certain."""
        return self == other and self.etag is not None and _ETAG_OF_CONTENT.fullmatch(self.etag) is not None


@dataclass(frozen=True)
class ObjectArea(Area):
    """A prefix of an object store."""

    def sizes(self) -> dict[str, int]:
        return {name: found.bytes for name, found in self._listed().items()}

    def read_back(self, name: str) -> Content:
        import obstore

        with as_ours(name):
            return content_of(obstore.get(self.zone.store, self._key(name)).stream(min_chunk_size=BLOCK_BYTES))

    def put(self, name: str, origin: Origin, size: int, media_type: str) -> None:
        import obstore

        with as_ours(name):
            if origin.path is not None:
                self._upload(name, origin.path, size, media_type)
                return
            found = obstore.get(origin.store, origin.key)
            size = int(found.meta["size"])
            # A copy within the store keeps the type of the original, which cannot be changed on the way.
            is_of_type = found.attributes.get("Content-Type") == media_type
            within = self._within_store(origin) if is_of_type and size <= COPIED_BY_STORE_BYTES else None
            if within is not None:
                store, key = within
                obstore.copy(store, key, f"{self._prefix_in(store)}{self._key(name)}")
            elif size <= PART_BYTES:
                self._upload(name, found.bytes(), size, media_type)
            else:
                self._upload_blocks(name, found.stream(min_chunk_size=PART_BYTES), size, media_type)

    def write(self, name: str, content: bytes, media_type: str) -> None:
        with as_ours(name):
            self._upload(name, content, len(content), media_type)

    def discard(self, names: Collection[str]) -> None:
        import obstore

        keys = [self._key(name) for name in names]
        with as_ours(self.key):
            try:
                obstore.delete(self.zone.store, keys)
            except FileNotFoundError:  # Azure and Google say so of one that is gone, and leave the others
                for key in keys:
                    with suppress(FileNotFoundError):
                        obstore.delete(self.zone.store, key)

    def settle(self) -> None:
        """Do nothing: what a store has taken is kept."""

    def move(self, key: str, wanted: Mapping[str, Content], last: Collection[str]) -> None:
        staged, place = self._listed(), ObjectArea(self.zone, key)
        for name in wanted:
            if name not in staged:
                raise gone(name)
        there = place._listed()
        for names in (sorted(wanted.keys() - set(last)), sorted(last)):
            different = [name for name in names if not staged[name].holds_the_same(there.get(name))]
            side_by_side(lambda name: self._copy_to(place, name, staged[name].bytes), different, REQUESTS)
            place._check({name: wanted[name] for name in names}, staged)
        place.discard(there.keys() - wanted.keys())
        self.remove()

    def remove(self, first: Collection[str] = ()) -> None:
        there = self.sizes().keys()
        self.discard(there & set(first))
        self.discard(there - set(first))

    def _key(self, name: str) -> str:
        return f"{self.key}/{name}"

    def _listed(self) -> dict[str, _Listed]:
        import obstore

        with as_ours(self.key):
            return {
                str(found["path"]).removeprefix(f"{self.key}/"): _Listed(int(found["size"]), found["e_tag"])
                for batch in obstore.list(self.zone.store, prefix=f"{self.key}/")
                for found in batch
            }

    def _check(self, wanted: Mapping[str, Content], staged: Mapping[str, _Listed]) -> None:
        """Compare what is in place with what was wanted; what the store does not vouch for is read.

        Raises:
            VerificationFailed: An object differs; it is removed.
        """
        there, wrong = self._listed(), list[str]()

        def look(name: str) -> None:
            with suppress(NotFound):
                if self.read_back(name) == wanted[name]:
                    return
            wrong.append(name)

        # What was collected has been read, and one name for content is not given to another one.
        unsure = [name for name in wanted if not staged[name].holds_the_same(there.get(name))]
        side_by_side(look, unsure, REQUESTS)
        if wrong:
            self.discard(there.keys() & set(wrong))
            raise VerificationFailed(
                f"The store of the {self.zone.name} zone did not copy {listed(wrong)} as it was collected.",
                hint="Run it again; if it happens again, ask those who run the store.",
            )

    def _copy_to(self, place: "ObjectArea", name: str, size: int) -> None:
        import obstore

        with as_ours(name):
            if size <= COPIED_BY_STORE_BYTES:
                obstore.copy(self.zone.store, self._key(name), place._key(name))
                return
            found = obstore.get(self.zone.store, self._key(name))
            media_type = str(found.attributes.get("Content-Type") or "application/octet-stream")
            place._upload_blocks(name, found.stream(min_chunk_size=PART_BYTES), size, media_type)

    def _upload(self, name: str, content: Path | Any, size: int, media_type: str) -> None:
        import obstore

        obstore.put(
            self.zone.store,
            self._key(name),
            content,
            attributes={"Content-Type": media_type},
            chunk_size=_part_bytes(size),
            max_concurrency=PARTS_AT_ONCE,
        )

    def _upload_blocks(self, name: str, blocks: Iterable[Any], size: int, media_type: str) -> None:
        """Upload what another store gives; without its end nothing becomes visible."""
        import obstore

        # obstore 0.12 cannot put what it streams itself: its own thread would wait for itself.
        writer = obstore.open_writer(
            self.zone.store,
            self._key(name),
            attributes={"Content-Type": media_type},
            buffer_size=_part_bytes(size),
            max_concurrency=PARTS_AT_ONCE,
        )
        for block in blocks:
            writer.write(block)
        writer.close()

    def _within_store(self, origin: Origin) -> tuple[Any, str] | None:
        """Return a connection that reaches both an object and the area, and the object's key; None where none does."""
        if origin.store is self.zone.store:
            return self.zone.store, origin.key
        theirs, ours = urlsplit(origin.store_url), urlsplit(self.zone.url)
        if (theirs.scheme, theirs.netloc) != (ours.scheme, ours.netloc) or not ours.netloc:
            return None
        return self._bucket, f"{theirs.path.strip('/')}/{origin.key}".lstrip("/")

    def _prefix_in(self, store: Any) -> str:
        path = "" if store is self.zone.store else urlsplit(self.zone.url).path.strip("/")
        return f"{path}/" if path else ""

    @cached_property
    def _bucket(self) -> Any:
        parts = urlsplit(self.zone.url)
        return connect(f"{parts.scheme}://{parts.netloc}")


def _part_bytes(size: int) -> int:
    return max(PART_BYTES, size // MAX_PARTS + 1)
