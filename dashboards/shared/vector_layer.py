"""Features on the map as a style draws them: vector tiles, and the layers of a MapLibre style."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoetl.platform import Platform


@dataclass(frozen=True)
class Tiles:
    """The vector tiles of an item.

    Attributes:
        source_layer: Name of the layer in the tiles.
        minzoom: Lowest zoom that they have.
        maxzoom: Highest zoom that they have.
    """

    source_layer: str
    minzoom: int
    maxzoom: int


def tiles_of(platform: "Platform", collection: str, item: str) -> Tiles:
    """Return what a map has to know of the vector tiles of an item.

    Raises:
        NotFound: There is no such item.
        InvalidParameter: It has no vector tiles.
        GeoetlError: They cannot be read.
    """
    described = platform.vector_tiles.tilejson(collection, item, "")
    name = described.vector_layers[0].id if described.vector_layers else item
    return Tiles(name, described.minzoom, described.maxzoom)


def styled_layer(
    key: str, url: str, tiles: Tiles, style: Mapping[str, Any], *, visible: bool = True, opacity: float = 1.0
) -> dict[str, Any]:
    """Return features in a style, as the component `MapView` takes them.

    Args:
        key: Names the layer on the map.
        url: Of the tiles, with {z}, {x} and {y}, or of their archive.
        tiles: What the map has to know of them.
        style: A MapLibre style document; whatever its source is called, it is drawn from these tiles.
        visible: Whether it is shown.
        opacity: 0 (not seen) to 1.
    """
    layers = [{**part, "source-layer": tiles.source_layer} for part in style.get("layers", ()) if "source" in part]
    return {
        "id": key,
        "kind": "styled",
        "visible": visible,
        "opacity": opacity,
        "url": url,
        "minzoom": tiles.minzoom,
        "maxzoom": tiles.maxzoom,
        "source_layer": tiles.source_layer,
        "style": {"layers": layers},
    }
