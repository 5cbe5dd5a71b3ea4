"""The encoders of styles, by name."""

from geoetl.core.registry import Registry
from geoetl.styles.encoders.cartosym import CartoSym
from geoetl.styles.encoders.holoviews import HoloViews
from geoetl.styles.encoders.leaflet import Leaflet
from geoetl.styles.encoders.maplibre import MapLibre
from geoetl.styles.encoders.protocol import Encoded, Encoder
from geoetl.styles.encoders.sld import Sld

__all__ = ["ENCODERS", "Encoded", "Encoder"]

_BUILT_IN: dict[str, Encoder] = {
    "cartosym": CartoSym(),
    "maplibre": MapLibre(),
    "leaflet": Leaflet(),
    "sld": Sld(),
    "holoviews": HoloViews(),
}
# Packages offer more as entry points of this group.
ENCODERS: Registry[Encoder] = Registry("encoder", _BUILT_IN).with_entry_points("geoetl.styles")
