"""From the ids of a collection, an item and an asset to the file behind them.

What an asset is, is told by its media type, roles and ``xarray:*`` fields, not by the suffix of its address.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoetl.access.result import Source
from geoetl.core.errors import InvalidParameter, NotFound, did_you_mean

if TYPE_CHECKING:
    from geoetl.store.catalog.protocol import Catalog
    from geoetl.store.gate import Gate
    from geoetl.store.zones import Zones

# Most item documents that one process keeps; one is a few kilobytes.
MAX_ITEMS_KEPT = 500


class AssetKind(StrEnum):
    """What an asset can be opened as."""

    GEOTIFF = "geotiff"
    REFERENCES = "references"
    PARQUET_REFERENCES = "parquet references"
    ICECHUNK = "icechunk"
    ZARR = "zarr"
    NETCDF = "netcdf"
    GEOPARQUET = "geoparquet"


# What opens as a cube: variables over longitude and latitude, mostly also over time.
CUBE_KINDS = (
    AssetKind.REFERENCES,
    AssetKind.PARQUET_REFERENCES,
    AssetKind.ICECHUNK,
    AssetKind.ZARR,
    AssetKind.NETCDF,
)
_FOLDERS = frozenset({AssetKind.PARQUET_REFERENCES, AssetKind.ICECHUNK, AssetKind.ZARR})
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
}
_REFERENCES_IN: Mapping[str, AssetKind] = {
    "application/json": AssetKind.REFERENCES,
    "application/vnd.apache.parquet": AssetKind.PARQUET_REFERENCES,
    "application/x-parquet": AssetKind.PARQUET_REFERENCES,
}
# Preferred asset keys, where several assets fit: what our own pipelines write.
_PREFERRED_KEYS = ("references", "data", "zarr")


def kind_of(asset: Mapping[str, Any]) -> AssetKind | None:
    """Tell what a STAC asset can be opened as; None for pictures, tiles and other side products.

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
    """What an opened dataset is kept under: a new catalogue version makes a new key, so nothing is ever stale."""

    collection: str
    item: str
    asset: str
    catalog_version: int


@dataclass(frozen=True)
class FoundAsset:
    """An asset of an item, with the local file behind it.

    Attributes:
        item: The STAC item; not to be changed.
        name: Key of the asset.
        kind: What it can be opened as.
        path: The local file, or the folder of a kind that is one.
        key: What the opened dataset is kept under.
    """

    item: Mapping[str, Any]
    name: str
    kind: AssetKind
    path: Path
    key: AssetKey

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
        found: Mapping[str, Any] = (self.properties.get("renders") or {}).get("default") or {}
        return found if self.name in found.get("assets", (self.name,)) else {}

    @property
    def source(self) -> Source:
        """What an answer says about where it came from."""
        version = self.properties.get("version")
        return Source(
            collection=self.key.collection,
            item=self.key.item,
            asset=self.name,
            dataset_version=None if version is None else str(version),
            catalog_version=self.key.catalog_version,
        )


class Items:
    """Finds assets by ids, and keeps what it found until the catalogue changes.

    Args:
        catalog: Where items are looked up.
        gate: Decides which local files may be opened.
        zones: The object zones; what lies in a remote one is copied to this machine once.
    """

    def __init__(self, catalog: "Catalog", gate: "Gate", zones: "Zones | None" = None) -> None:
        self._catalog = catalog
        self._gate = gate
        self._zones = zones
        self._lock = threading.Lock()
        self._version = -1
        self._documents: OrderedDict[tuple[str, str], Mapping[str, Any]] = OrderedDict()
        self._paths: dict[str, Path] = {}

    def find(self, collection: str, item: str, asset: str | None, kinds: Iterable[AssetKind]) -> FoundAsset:
        """Return the asset named `asset`, or the one that the item offers for `kinds` where it is None.

        Raises:
            NotFound: There is no such collection, item or asset, or its file is gone.
            InvalidParameter: The asset is of another kind.
        """
        # The version is read before the document: a change in between is then seen by the next call.
        version = self._catalog.version()
        document = self._document(collection, item, version)
        wanted = tuple(kinds)
        name = choose_asset(document, wanted) if asset is None else asset
        assets = document.get("assets") or {}
        if name not in assets:
            raise NotFound(
                f"Item '{item}' has no asset '{name}'.",
                hint=did_you_mean(str(name), assets),
                field="asset",
            )
        kind = kind_of(assets[name])
        if kind is None or kind not in wanted:
            fitting = [key for key, value in assets.items() if kind_of(value) in wanted]
            raise InvalidParameter(
                f"Asset '{name}' of item '{item}' is {assets[name].get('type', 'of no media type')}, "
                f"which cannot be read as {' or '.join(wanted)}.",
                hint=f"Readable here: {', '.join(fitting)}." if fitting else "This item has no such asset.",
                field="asset",
            )
        path = self._path(str(assets[name]["href"]), version, is_folder=kind in _FOLDERS)
        return FoundAsset(document, name, kind, path, AssetKey(collection, item, name, version))

    def _document(self, collection: str, item: str, version: int) -> Mapping[str, Any]:
        with self._lock:
            if version != self._version:
                self._documents.clear()
                self._paths.clear()
                self._version = version
            document = self._documents.get((collection, item))
        if document is None:
            document = self._catalog.item(collection, item)
            with self._lock:
                if version == self._version:
                    self._documents[collection, item] = document
                    while len(self._documents) > MAX_ITEMS_KEPT:
                        self._documents.popitem(last=False)
        return document

    def _path(self, href: str, version: int, *, is_folder: bool) -> Path:
        with self._lock:
            path = self._paths.get(href)
        if path is None:
            path = self._resolve(href, is_folder=is_folder)
            with self._lock:
                if version == self._version and len(self._paths) < MAX_ITEMS_KEPT:
                    self._paths[href] = path
        return path

    def _resolve(self, href: str, *, is_folder: bool) -> Path:
        if self._zones is not None:
            zone, key = self._zones.locate(href)
            if zone is not None:
                return zone.local_folder(key) if is_folder else zone.local_path(key)
        return self._gate.resolve(href, field="asset")


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
