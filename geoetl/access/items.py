"""From the ids of a collection, an item and an asset to the file behind them.

What an asset is, is told by its media type, roles and ``xarray:*`` fields, not by the suffix of its address.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from geoetl.access.result import Source
from geoetl.core.errors import InvalidParameter, NotFound, did_you_mean
from geoetl.core.identifiers import digest

if TYPE_CHECKING:
    from geoetl.store.catalog.protocol import Catalog
    from geoetl.store.gate import Gate
    from geoetl.store.zones import Zones

# Another program may write to the same database and tell nobody: after this time a document is read again.
ITEM_TTL_S = 300.0
COLLECTION_TTL_S = 3600.0
# Most documents that one process keeps; one is a few kilobytes.
MAX_ITEMS_KEPT = 500
MAX_COLLECTIONS_KEPT = 100
# Where there is no room, so much of it is made at once.
DROPPED_SHARE = 0.1


class AssetKind(StrEnum):
    """What an asset can be opened as."""

    GEOTIFF = "geotiff"
    REFERENCES = "references"
    PARQUET_REFERENCES = "parquet references"
    ICECHUNK = "icechunk"
    ZARR = "zarr"
    NETCDF = "netcdf"
    GEOPARQUET = "geoparquet"
    PMTILES = "pmtiles"


# What opens as a cube: variables over longitude and latitude, mostly also over time.
CUBE_KINDS = (
    AssetKind.REFERENCES,
    AssetKind.PARQUET_REFERENCES,
    AssetKind.ICECHUNK,
    AssetKind.ZARR,
    AssetKind.NETCDF,
)
_FOLDERS = frozenset({AssetKind.PARQUET_REFERENCES, AssetKind.ICECHUNK, AssetKind.ZARR})
# What changes in a folder when what it holds becomes another dataset: the metadata of Zarr v3 and v2 (which references
# have too), the state of an Icechunk 2 repository, the branch of an Icechunk 1 repository.
_TELLING_FILES: Mapping[AssetKind, tuple[str, ...]] = {
    AssetKind.PARQUET_REFERENCES: (".zmetadata",),
    AssetKind.ICECHUNK: ("repo", "refs/branch.main/ref.json"),
    AssetKind.ZARR: ("zarr.json", ".zmetadata", ".zgroup"),
}
_BY_MEDIA_TYPE: Mapping[str, AssetKind] = {
    "image/tiff": AssetKind.GEOTIFF,
    "image/vnd.stac.geotiff": AssetKind.GEOTIFF,
    "application/vnd.zarr+icechunk": AssetKind.ICECHUNK,
    "application/vnd.zarr": AssetKind.ZARR,
    "application/vnd+zarr": AssetKind.ZARR,
    "application/netcdf": AssetKind.NETCDF,
    "application/x-netcdf": AssetKind.NETCDF,
    "application/x-hdf5": AssetKind.NETCDF,
    "application/vnd.apache.parquet": AssetKind.GEOPARQUET,
    "application/x-parquet": AssetKind.GEOPARQUET,
    "application/vnd.pmtiles": AssetKind.PMTILES,
}
_REFERENCES_IN: Mapping[str, AssetKind] = {
    "application/json": AssetKind.REFERENCES,
    "application/vnd.apache.parquet": AssetKind.PARQUET_REFERENCES,
    "application/x-parquet": AssetKind.PARQUET_REFERENCES,
}
# How a multihash of sha256 begins: its code and its length in bytes.
_SHA256 = "1220"
_DIGITS_SHOWN = 16
# Preferred asset keys, where several assets fit: what our own pipelines write.
_PREFERRED_KEYS = ("references", "data", "zarr")


def kind_of(asset: Mapping[str, Any]) -> AssetKind | None:
    """Tell what a STAC asset can be opened as; None for pictures and other side products.

    Kerchunk references are JSON or Parquet with the role ``references`` or ``index`` (xpystac's convention), or name
    the engine in ``xarray:open_kwargs``.
    """
    media_type = str(asset.get("type") or "").partition(";")[0].strip().lower()
    roles = set(asset.get("roles") or ())
    engine = (asset.get("xarray:open_kwargs") or {}).get("engine")
    if media_type in _REFERENCES_IN and (roles & {"references", "index"} or engine == "kerchunk"):
        return _REFERENCES_IN[media_type]
    if roles & {"thumbnail", "overview", "metadata"}:
        return None
    return _BY_MEDIA_TYPE.get(media_type)


@dataclass(frozen=True)
class AssetKey:
    """What an opened dataset is kept under.

    Attributes:
        collection, item, asset: Which asset.
        fingerprint: What it is: changes with what the item says about it and with the file behind it, and with nothing
            else, so that what is kept is never stale and a busy catalogue does not close it.
    """

    collection: str
    item: str
    asset: str
    fingerprint: str

    def is_outdated_by(self, other: "AssetKey") -> bool:
        """Tell whether `other` is the same asset in another state."""
        return (
            self.fingerprint != other.fingerprint
            and self.item == other.item
            and self.asset == other.asset
            and self.collection == other.collection
        )


@dataclass(frozen=True)
class FoundAsset:
    """An asset of an item, with the local file behind it.

    Attributes:
        item: The STAC item; not to be changed.
        name: Key of the asset.
        kind: What it can be opened as.
        path: The local file, or the folder of a kind that is one.
        key: What the opened dataset is kept under.
        catalog_version: Version number of the catalogue when it was looked up.
    """

    item: Mapping[str, Any]
    name: str
    kind: AssetKind
    path: Path
    key: AssetKey
    catalog_version: int

    @property
    def asset(self) -> Mapping[str, Any]:
        """The STAC asset."""
        found: Mapping[str, Any] = self.item["assets"][self.name]
        return found

    @property
    def properties(self) -> Mapping[str, Any]:
        """The item's properties."""
        found: Mapping[str, Any] = self.item.get("properties") or {}
        return found

    @property
    def render(self) -> Mapping[str, Any]:
        """How the item says that it is drawn (render extension, ``renders.default``); empty where it does not."""
        renders = self.properties.get("renders")
        found = renders.get("default") if isinstance(renders, Mapping) else None
        if not isinstance(found, Mapping):
            return {}
        assets = found.get("assets", [self.name])
        return found if isinstance(assets, list) and self.name in assets else {}

    @property
    def source(self) -> Source:
        """What an answer says about where it came from."""
        return Source(
            collection=self.key.collection,
            item=self.key.item,
            asset=self.name,
            dataset_version=self._version,
            catalog_version=self.catalog_version,
        )

    @property
    def _version(self) -> str | None:
        """Which state of the data this is: what the item calls it, else the digest of the file, else its last change.

        Source: STAC extensions version (``version``) and file (``file:checksum``, a multihash), STAC common metadata
        (``updated``).
        """
        version = self.properties.get("version")
        if version is not None:
            return str(version)
        checksum = str(self.asset.get("file:checksum") or "").lower()
        if checksum.startswith(_SHA256):
            return f"sha256:{checksum.removeprefix(_SHA256)[:_DIGITS_SHOWN]}"
        updated = self.asset.get("updated") or self.properties.get("updated")
        return None if updated is None else str(updated)


class Lookup(Protocol):
    """Finds items by ids, with the version of the catalogue that they are of."""

    def versioned_item(self, collection_id: str, item_id: str) -> tuple[int, Mapping[str, Any]]:
        """Return the version of the catalogue and one item; raises NotFound where there is none."""
        ...


@dataclass(frozen=True)
class CacheStatistics:
    """What a cache holds and did.

    Attributes:
        total_entries: Documents that it holds.
        valid_entries: Of them those that are still young enough.
        expired_entries: The others; they are read again when they are asked for.
        hits: Questions answered without the catalogue.
        misses: Questions that the catalogue answered, and those that waited for such an answer.
    """

    total_entries: int
    valid_entries: int
    expired_entries: int
    hits: int
    misses: int


class CatalogCache:
    """Keeps the documents of a catalogue until it changes, for all threads of a process.

    Each look-up asks the catalogue for its version first, one number, so that a change by any process is seen by the
    next look-up.  Whoever misses the same document at the same time waits for one reading of it.

    Args:
        catalog: What is asked.
        clock: Seconds that only go forward.
    """

    def __init__(self, catalog: "Catalog", clock: Callable[[], float] = time.monotonic) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._version = -1
        self._loading: dict[tuple[int, tuple[str, ...]], Future[Mapping[str, Any]]] = {}
        self._items = _Shelf(ITEM_TTL_S, MAX_ITEMS_KEPT, clock)
        self._collections = _Shelf(COLLECTION_TTL_S, MAX_COLLECTIONS_KEPT, clock)
        self._hits = self._misses = 0

    def item(self, collection_id: str, item_id: str) -> Mapping[str, Any]:
        """Return an item; not to be changed.

        Raises:
            NotFound: There is none of those ids.
        """
        return self.versioned_item(collection_id, item_id)[1]

    def versioned_item(self, collection_id: str, item_id: str) -> tuple[int, Mapping[str, Any]]:
        """Return the version of the catalogue and an item that is at least as new; not to be changed.

        As long as nothing changes it is the same object, so that what follows from it need not be worked out again.

        Raises:
            NotFound: There is none of those ids.
        """
        return self._find(self._items, (collection_id, item_id), lambda: self._catalog.item(collection_id, item_id))

    def collection(self, collection_id: str) -> Mapping[str, Any]:
        """Return a collection; not to be changed.

        Raises:
            NotFound: There is none of that id.
        """
        return self._find(self._collections, (collection_id,), lambda: self._catalog.collection(collection_id))[1]

    def version(self) -> int:
        """Return the number that every change of the catalogue raises."""
        version = self._catalog.version()
        with self._lock:
            # Of two threads the slower may come with the older number: going back would only cost a reading.
            if version != self._version:
                self._items.clear()
                self._collections.clear()
                self._version = version
        return version

    def invalidate(self, collection_id: str, item_id: str | None = None) -> None:
        """Forget an item; or a collection with all of its items."""
        with self._lock:
            if item_id is not None:
                self._items.drop(lambda key: key == (collection_id, item_id))
                return
            self._items.drop(lambda key: key[0] == collection_id)
            self._collections.drop(lambda key: key == (collection_id,))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._items.clear()
            self._collections.clear()

    def stats(self) -> CacheStatistics:
        """Return what is kept, and how often that helped."""
        with self._lock:
            total = len(self._items) + len(self._collections)
            valid = self._items.valid() + self._collections.valid()
            return CacheStatistics(total, valid, total - valid, self._hits, self._misses)

    def _find(
        self, shelf: "_Shelf", key: tuple[str, ...], load: Callable[[], Mapping[str, Any]]
    ) -> tuple[int, Mapping[str, Any]]:
        # The version is read before the document: a change in between is then seen by the next call.
        version = self.version()
        with self._lock:
            if (known := shelf.get(key)) is not None:
                self._hits += 1
                return version, known
            self._misses += 1
            waiting = self._loading.get((version, key))
            if waiting is None:
                mine: Future[Mapping[str, Any]] = Future()
                self._loading[version, key] = mine
        if waiting is not None:
            return version, waiting.result()
        try:
            document = load()
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            with self._lock:
                if version == self._version:
                    shelf.put(key, document)
            mine.set_result(document)
            return version, document
        finally:
            with self._lock:
                del self._loading[version, key]


class _Shelf:
    """Documents of one kind, the oldest first; not safe for threads by itself."""

    def __init__(self, ttl_s: float, capacity: int, clock: Callable[[], float]) -> None:
        self._ttl_s = ttl_s
        self._capacity = capacity
        self._clock = clock
        self._kept: dict[tuple[str, ...], tuple[float, Mapping[str, Any]]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def valid(self) -> int:
        """Return how many are young enough."""
        now = self._clock()
        return sum(expires > now for expires, _ in self._kept.values())

    def get(self, key: tuple[str, ...]) -> Mapping[str, Any] | None:
        """Return a document that is young enough."""
        expires, document = self._kept.get(key, (0.0, {}))
        return document if expires > self._clock() else None

    def put(self, key: tuple[str, ...], document: Mapping[str, Any]) -> None:
        """Keep a document; where there is no room those that expire soonest make it."""
        self._kept.pop(key, None)
        if len(self._kept) >= self._capacity:
            for old in list(self._kept)[: max(int(self._capacity * DROPPED_SHARE), 1)]:
                del self._kept[old]
        self._kept[key] = (self._clock() + self._ttl_s, document)

    def drop(self, chosen: Callable[[tuple[str, ...]], bool]) -> None:
        """Forget the documents of these keys."""
        for key in [key for key in self._kept if chosen(key)]:
            del self._kept[key]

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()


@dataclass(frozen=True)
class _Resolved:
    """An asset of a document, as it was worked out once.

    Attributes:
        document: The item that it is of; another one has to be looked at anew.
        kind: What it can be opened as.
        path: The local file or folder.
        digest: Of all that the item says about the dataset.
        watched: The files whose state tells whether the dataset is another one.
    """

    document: Mapping[str, Any]
    kind: AssetKind
    path: Path
    digest: str
    watched: tuple[Path, ...]


class Items:
    """Finds assets by ids, and keeps where their files lie until the item changes.

    Args:
        catalog: Where items are looked up.
        gate: Decides which local files may be opened.
        zones: The object zones; what lies in a remote one is copied to this machine once.
    """

    def __init__(self, catalog: Lookup, gate: "Gate", zones: "Zones | None" = None) -> None:
        self._catalog = catalog
        self._gate = gate
        self._zones = zones
        # Entries are read and written whole, so that threads need no lock here.
        self._resolved: dict[tuple[str, str, str], _Resolved] = {}

    def find(self, collection: str, item: str, asset: str | None, kinds: Iterable[AssetKind]) -> FoundAsset:
        """Return the asset named `asset`, or the one that the item offers for `kinds` where it is None.

        Raises:
            NotFound: There is no such collection, item or asset, or its file is gone.
            InvalidParameter: The asset is of another kind.
        """
        version, document = self._catalog.versioned_item(collection, item)
        wanted = tuple(kinds)
        name = choose_asset(document, wanted) if asset is None else asset
        known = self._resolved.get((collection, item, name))
        if known is None or known.document is not document:
            known = self._resolve(document, name, wanted)
            if len(self._resolved) >= MAX_ITEMS_KEPT:
                self._resolved.clear()
            self._resolved[collection, item, name] = known
        return _found(known, AssetKey(collection, item, name, known.digest), wanted, version)

    def at_hand(self, collection: str, item: str, asset: str | None, kinds: Iterable[AssetKind]) -> FoundAsset | None:
        """Return what `find` returns where it was found before and is unchanged; else None, and nothing is fetched.

        Raises:
            NotFound, InvalidParameter: See `find`.
        """
        version, document = self._catalog.versioned_item(collection, item)
        wanted = tuple(kinds)
        name = choose_asset(document, wanted) if asset is None else asset
        known = self._resolved.get((collection, item, name))
        if known is None or known.document is not document:
            return None
        return _found(known, AssetKey(collection, item, name, known.digest), wanted, version)

    def _resolve(self, document: Mapping[str, Any], name: str, wanted: Sequence[AssetKind]) -> _Resolved:
        assets = document.get("assets") or {}
        if name not in assets:
            raise NotFound(
                f"Item '{document.get('id')}' has no asset '{name}'.",
                hint=did_you_mean(str(name), assets),
                field="asset",
            )
        kind = kind_of(assets[name])
        if kind is None or kind not in wanted:
            raise _of_another_kind(document, name, wanted)
        path = self._path(str(assets[name]["href"]), is_folder=kind in _FOLDERS)
        # What a dataset is opened as hangs on its asset, and on the properties too: the variable, the bands.
        told = digest([assets[name], document.get("properties")])
        watched = (path, *(path / file for file in _TELLING_FILES.get(kind, ())))
        return _Resolved(document, kind, path, told, watched)

    def _path(self, href: str, *, is_folder: bool) -> Path:
        if self._zones is not None:
            zone, key = self._zones.locate(href)
            if zone is not None:
                return zone.local_folder(key) if is_folder else zone.local_path(key)
        return self._gate.resolve(href, field="asset")


def _found(known: _Resolved, key: AssetKey, wanted: Sequence[AssetKind], version: int) -> FoundAsset:
    """Return a resolved asset with the present state of its file in its key."""
    if known.kind not in wanted:
        raise _of_another_kind(known.document, key.asset, wanted)
    present = replace(key, fingerprint=key.fingerprint + _state_of(known.watched, key.item))
    return FoundAsset(known.document, key.asset, known.kind, known.path, present, version)


def _state_of(files: Sequence[Path], item: str) -> str:
    """Return what changes when any of these files is replaced or written to; the first has to be there.

    Raises:
        NotFound: It is gone.
    """
    state = []
    for file in files:
        try:
            found = file.stat()
        except OSError:
            if file == files[0]:
                raise NotFound(
                    f"The file of item '{item}' is gone.", hint="Make the item again from its source.", field="item"
                ) from None
            continue
        # Of the times ctime too: a copy may bring an old mtime along.
        state.append(f"-{found.st_ino:x}.{found.st_size:x}.{found.st_mtime_ns:x}.{found.st_ctime_ns:x}")
    return "".join(state)


def _of_another_kind(document: Mapping[str, Any], name: str, wanted: Sequence[AssetKind]) -> InvalidParameter:
    assets = document["assets"]
    fitting = [key for key, value in assets.items() if kind_of(value) in wanted]
    return InvalidParameter(
        f"Asset '{name}' of item '{document.get('id')}' is {assets[name].get('type', 'of no media type')}, "
        f"which cannot be read as {' or '.join(wanted)}.",
        hint=f"Readable here: {', '.join(fitting)}." if fitting else "This item has no such asset.",
        field="asset",
    )


def choose_asset(item: Mapping[str, Any], kinds: Iterable[AssetKind]) -> str:
    """Return the key of the asset that an item offers for `kinds`.

    Raises:
        InvalidParameter: The item has none of them.
    """
    wanted = tuple(kinds)
    assets: Mapping[str, Any] = item.get("assets") or {}
    fitting = [name for name, asset in assets.items() if kind_of(asset) in wanted]
    if not fitting:
        offered = ", ".join(f"{name} ({asset.get('type', 'no media type')})" for name, asset in assets.items())
        raise InvalidParameter(
            f"Item '{item.get('id')}' has nothing that can be read as {' or '.join(wanted)}.",
            hint=f"It offers: {offered}." if offered else "It has no assets.",
            field="item",
        )
    for name in _PREFERRED_KEYS:
        if name in fitting:
            return name
    return next((name for name in fitting if "data" in (assets[name].get("roles") or ())), fitting[0])
