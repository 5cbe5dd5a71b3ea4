"""The styles of an item as files that do without a server of ours: for who publishes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoetl.styles.coverage import is_coverage
from geoetl.styles.encoders import ENCODERS
from geoetl.styles.encoders.maplibre import MapLibre

if TYPE_CHECKING:
    from geoetl.styles.encoders.protocol import Encoder
    from geoetl.styles.library import StyleLibrary

_ENCODINGS = ("cartosym", "maplibre", "sld")


@dataclass(frozen=True)
class Sheet:
    """A style in one encoding.

    Attributes:
        style: Id of the style within its layer.
        encoding: Name of the encoding.
        title: Of the style, with that of the encoding.
        extension: Of a file of it, without a dot.
        media_type: As it is served.
        document: What JSON can say, or a text.
    """

    style: str
    encoding: str
    title: str
    extension: str
    media_type: str
    document: dict[str, Any] | str


@dataclass(frozen=True)
class Sheets:
    """Gives the styles of items as files.

    Args:
        library: Where the styles are kept.
    """

    library: "StyleLibrary"

    def sheets(self, item: Mapping[str, Any], tiles: str | None) -> Sequence[Sheet]:
        """Return every style of the layer of an item, as CartoSym-JSON and SLD, and of vectors for MapLibre.

        Pictures of coverages come from a server that draws them, so MapLibre has nothing to show of one.

        Args:
            item: As the catalogue has it.
            tiles: Address of its vector tiles (PMTiles) as a client will find them; None where it has none.
        """
        collection, item_id = str(item["collection"]), str(item["id"])
        layer_id = collection if is_coverage(item) else f"{collection}:{item_id}"
        made = []
        for style in self.library.list(layer_id):
            stored = self.library.get(layer_id, style.id)
            layer = self.library.layer(layer_id)
            for name in _ENCODINGS:
                encoder: Encoder | None = ENCODERS[name]
                if name == "maplibre":
                    encoder = MapLibre(tiles=f"pmtiles://{tiles}") if tiles and layer.kind == "vector" else None
                if encoder is None or layer.kind not in encoder.kinds:
                    continue
                found = encoder.encode(stored.style, layer)
                title = f"{style.title or style.id} ({encoder.title})"
                made.append(Sheet(style.id, name, title, found.extension, found.media_type, found.document))
        return made
