"""How pictures and files reach the browser: by address from the server, or inside the notebook's own output."""

import base64
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from dashboards.shared.basemap import ATTRIBUTION, basemap
from geoetl.core.errors import LimitExceeded, NotFound

if TYPE_CHECKING:
    from geoetl.core.settings import MapSettings
    from geoetl.platform import Platform

# The steps of a playing cube stay here, so that a second round costs nothing; about 600 pictures.
SHELF_BYTES = 64 * 1024**2
# A notebook's output is saved with it; what is larger is seen in the dashboard.
MAX_INLINE_BYTES = 16 * 1024**2


class Content(Protocol):
    """What can be shown as a picture."""

    @property
    def content(self) -> bytes:
        """The encoded picture."""
        ...

    @property
    def media_type(self) -> str:
        """What it is."""
        ...


class Delivery(Protocol):
    """Gives addresses that the browser can open."""

    def base(self, settings: "MapSettings") -> dict[str, Any]:
        """Return the base map, as the map component takes it."""
        ...

    def picture(self, picture: Content) -> str:
        """Return the address of a picture."""
        ...

    def thumbnail(self, key: str) -> str:
        """Return the address of the thumbnail of ``collection/item``; empty where it is not worth its bytes."""
        ...

    def asset(self, item: Mapping[str, Any], name: str) -> str:
        """Return the address of an asset.

        Raises:
            NotFound: There is no such file.
            LimitExceeded: It is too large to be delivered this way.
        """
        ...

    def vector_tiles(self, item: Mapping[str, Any]) -> str:
        """Return the address of an item's vector tiles: with {z}, {x} and {y}, or of its whole archive.

        Raises:
            NotFound: It has none.
            LimitExceeded: They are too large to be delivered this way.
        """
        ...


class PictureShelf:
    """Keeps pictures by the digest of their content, the latest used ones; safe for threads.

    Args:
        capacity: Bytes that it holds.
    """

    def __init__(self, capacity: int = SHELF_BYTES) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._pictures: OrderedDict[str, tuple[bytes, str]] = OrderedDict()
        self._bytes = 0

    def put(self, content: bytes, media_type: str) -> str:
        """Keep a picture and return its name."""
        name = hashlib.sha256(content).hexdigest()
        with self._lock:
            if name not in self._pictures:
                self._pictures[name] = (content, media_type)
                self._bytes += len(content)
            self._pictures.move_to_end(name)
            while self._bytes > self._capacity and len(self._pictures) > 1:
                _, (dropped, _) = self._pictures.popitem(last=False)
                self._bytes -= len(dropped)
        return name

    def get(self, name: str) -> tuple[bytes, str]:
        """Return content and media type of a picture.

        Raises:
            NotFound: It is not here, or not any more.
        """
        with self._lock:
            if name not in self._pictures:
                raise NotFound("This picture is not kept any more.", hint="Reload the page; it is then drawn again.")
            self._pictures.move_to_end(name)
            return self._pictures[name]


@dataclass(frozen=True)
class Served:
    """Addresses of the server that the page came from, relative to the page.

    Attributes:
        shelf: Where pictures wait for the browser.
    """

    shelf: PictureShelf

    def base(self, settings: "MapSettings") -> dict[str, Any]:
        """Return the base map by its address."""
        return _base(settings, url="basemap.topojson")

    def picture(self, picture: Content) -> str:
        """Return the address of a picture; the same picture has the same address, so the browser keeps it."""
        return f"pictures/{self.shelf.put(picture.content, picture.media_type)}"

    def thumbnail(self, key: str) -> str:
        """Return the address of a thumbnail."""
        return f"assets/{key}/thumbnail"

    def asset(self, item: Mapping[str, Any], name: str) -> str:
        """Return the address of an asset."""
        return f"assets/{item['collection']}/{item['id']}/{quote(name, safe='')}"

    def vector_tiles(self, item: Mapping[str, Any]) -> str:
        """Return the address of the vector tiles; it changes with the item, so that none of before is shown."""
        version = str(item["properties"].get("updated") or "")
        asked = f"?v={quote(version, safe='')}" if version else ""
        return f"tiles/vector/{quote(str(item['collection']))}/{quote(str(item['id']))}/{{z}}/{{x}}/{{y}}.pbf{asked}"


@dataclass(frozen=True)
class Inline:
    """Data URIs, for a notebook, where no server answers the browser.

    Attributes:
        platform: Where the files lie.
    """

    platform: "Platform"

    def base(self, settings: "MapSettings") -> dict[str, Any]:
        """Return the base map itself."""
        return _base(settings, data=basemap())

    def picture(self, picture: Content) -> str:
        """Return the picture as a data URI."""
        return f"data:{picture.media_type};base64,{base64.b64encode(picture.content).decode()}"

    def thumbnail(self, key: str) -> str:
        """Return nothing: a notebook's output stays small."""
        return ""

    def asset(self, item: Mapping[str, Any], name: str) -> str:
        """Return the asset as a data URI."""
        asset = item["assets"].get(name)
        if asset is None:
            raise NotFound(f"Item '{item['id']}' has no asset '{name}'.", hint="Ingest it again.")
        zone, key = self.platform.zones.locate(str(asset["href"]))
        path = zone.local_path(key) if zone else self.platform.gate.resolve(str(asset["href"]))
        if path.stat().st_size > MAX_INLINE_BYTES:
            raise LimitExceeded(
                f"'{name}' has {path.stat().st_size / 1024**2:.0f} MiB; a notebook shows up to "
                f"{MAX_INLINE_BYTES / 1024**2:.0f} MiB.",
                hint="Look at it in the dashboard: geoetl serve",
            )
        return _data_uri(path, str(asset.get("type") or "application/octet-stream"))

    def vector_tiles(self, item: Mapping[str, Any]) -> str:
        """Return the archive of vector tiles as a data URI."""
        return self.asset(item, "pmtiles")


def _base(settings: "MapSettings", **land: Any) -> dict[str, Any]:
    if settings.tile_url:
        return {**land, "tile_url": settings.tile_url, "attribution": settings.attribution or ""}
    return {**land, "attribution": ATTRIBUTION}


def _data_uri(path: Path, media_type: str) -> str:
    return f"data:{media_type.partition(';')[0]};base64,{base64.b64encode(path.read_bytes()).decode()}"
