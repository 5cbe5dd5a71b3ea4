"""CartoSym-JSON itself: the canonical document, which loses nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from geoetl.styles.encoders.protocol import Encoded
from geoetl.styles.layer import LayerKind, StyledLayer
from geoetl.styles.model import Style


@dataclass(frozen=True)
class CartoSym:
    """Writes the style as it is kept."""

    name: str = "cartosym"
    title: str = "CartoSym-JSON"
    # No type is registered; this is our choice.
    media_type: str = "application/vnd.ogc.cartosym+json"
    specification: str = "https://docs.ogc.org/DRAFTS/18-067r4.html"
    extension: str = "cs.json"
    kinds: Sequence[LayerKind] = ("vector", "coverage")

    def encode(self, style: Style, layer: StyledLayer) -> Encoded:
        """Return the canonical document; selectors stay as they are, for the client to resolve with the layer."""
        return Encoded(self.name, self.media_type, self.extension, style.document())
