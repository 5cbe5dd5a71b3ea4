"""Vector tiles by the ids of their items, as they lie in the item's PMTiles archive."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoetl.access.items import AssetKind, Items, Lookup
from geoetl.access.matrix import WEB_MERCATOR_QUAD
from geoetl.access.pool import SharedPool
from geoetl.access.result import Result
from geoetl.access.tilejson import TileJson, attribution_of, no_tile

if TYPE_CHECKING:
    from geoetl.store.gate import Gate
    from geoetl.store.gate.tile_archive import TileArchive, TileEncoding
    from geoetl.store.zones import Zones

# Archives that one process keeps open; each holds a file descriptor and its directories.
MAX_OPEN_ARCHIVES = 64
MEDIA_TYPE = "application/vnd.mapbox-vector-tile"


@dataclass(frozen=True)
class VectorTile:
    """One tile, as the archive has it.

    Attributes:
        content: Its bytes, packed as `encoding` says.
        encoding: How they are packed.
    """

    content: bytes
    encoding: "TileEncoding"


class VectorLayer(Result):
    """One layer of vector tiles (TileJSON 3.0.0, 3.3).

    Attributes:
        id: Its name in the tiles.
        description: What it is.
        minzoom: Lowest zoom that has it.
        maxzoom: Highest zoom that has it.
        fields: Name and type of each attribute.
    """

    id: str
    description: str = ""
    minzoom: int | None = None
    maxzoom: int | None = None
    fields: dict[str, str]


class VectorTileJson(TileJson):
    """Where a map finds the vector tiles of an item (TileJSON 3.0.0).

    Attributes:
        vector_layers: The layers in them.
    """

    vector_layers: tuple[VectorLayer, ...]


class VectorTiles:
    """Hands out the vector tiles of items in the catalogue.

    Args:
        catalog: Where items are looked up.
        gate: Opens the files.
        zones: The object zones.
    """

    def __init__(self, catalog: Lookup, gate: "Gate", zones: "Zones | None" = None) -> None:
        self._gate = gate
        self._items = Items(catalog, gate, zones)
        self._pool: SharedPool[TileArchive] = SharedPool(MAX_OPEN_ARCHIVES)

    def tile(
        self, collection: str, item: str, z: int, x: int, y: int, *, asset: str | None = None
    ) -> VectorTile | None:
        """Return a tile; None where nothing lies in it.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            z: Zoom of WebMercatorQuad.
            x: Column, from 0 in the west.
            y: Row, from 0 in the north.
            asset: Key of the asset; the item's archive where it is left out.

        Raises:
            NotFound: There is no such item or asset, or the zoom has no such tile.
            InvalidParameter: The item has no vector tiles.
            UnreadableFile, FormatNotAllowed, LimitExceeded: The archive is not right.
        """
        archive, _ = self._opened(collection, item, asset)
        if not WEB_MERCATOR_QUAD.has(z, x, y):
            raise no_tile(f"{collection}/{item}", z, x, y)
        content = archive.tile(z, x, y)
        return None if content is None else VectorTile(content, archive.encoding)

    def tilejson(self, collection: str, item: str, address: str, *, asset: str | None = None) -> VectorTileJson:
        """Return where a map finds the tiles, and what is in them.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            address: Of a tile, with ``{z}``, ``{x}`` and ``{y}`` in it.
            asset: Key of the asset; the item's archive where it is left out.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: The item has no vector tiles.
            UnreadableFile, FormatNotAllowed, LimitExceeded: The archive is not right.
        """
        archive, properties = self._opened(collection, item, asset)
        low, high = archive.zooms
        return VectorTileJson(
            name=f"{collection}/{item}",
            tiles=(address,),
            bounds=archive.bounds,
            minzoom=low,
            maxzoom=high,
            attribution=attribution_of(properties),
            vector_layers=_layers(archive.metadata),
        )

    def _opened(self, collection: str, item: str, asset: str | None) -> tuple["TileArchive", Mapping[str, Any]]:
        found = self._items.find(collection, item, asset, (AssetKind.PMTILES,))
        return self._pool.get(found.key, lambda: self._gate.open_tiles(found.path)), found.properties


def _layers(metadata: Mapping[str, Any]) -> tuple[VectorLayer, ...]:
    """Return the layers that an archive names; what is no layer is left out."""
    named = metadata.get("vector_layers")
    layers = [layer for layer in named if isinstance(layer, Mapping)] if isinstance(named, list) else []
    return tuple(
        VectorLayer(
            id=str(layer.get("id", "")),
            description=str(layer.get("description") or ""),
            minzoom=_zoom(layer.get("minzoom")),
            maxzoom=_zoom(layer.get("maxzoom")),
            fields={str(name): str(kind) for name, kind in fields.items()}
            if isinstance(fields := layer.get("fields"), Mapping)
            else {},
        )
        for layer in layers
    )


def _zoom(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
