"""The state of the page as the query of its address, so that a link opens the same view."""

import math
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlencode

from geoetl.core.errors import InputError
from geoetl.core.identifiers import check_id
from geoetl.core.spatial import Point

# 4 decimals of a degree are about 10 m, 2 of a zoom less than a step of the wheel.
PLACE_DECIMALS, ZOOM_DECIMALS = 4, 2
MAX_ZOOM = 24


@dataclass(frozen=True)
class Address:
    """Everything that a link carries; empty parts are left out of it.

    Attributes:
        layer: Id of the layer.
        style: Id of the style.
        version: Number of the version that is compared with; 0 for none.
        rule: Key of the rule that is edited.
        centre: Where the map stands.
        zoom: How close (tiles of 512 pixels).
    """

    layer: str = ""
    style: str = ""
    version: int = 0
    rule: str = ""
    centre: Point | None = None
    zoom: float = 0.0

    @classmethod
    def parse(cls, query: str) -> Self:
        """Read the query of an address, with or without its question mark; unknown names are passed over.

        Raises:
            InputError: An id, a place or a number is not right.
        """
        one = dict(parse_qsl(query.removeprefix("?")))
        layer = one.get("layer", "")
        for part in layer.split(":") if layer else ():
            check_id(part, "layer")
        rule = one.get("rule", "")
        return cls(
            layer=layer,
            style=check_id(one["style"], "style") if one.get("style") else "",
            version=_whole(one.get("version", "0"), "version"),
            rule=rule if all(part.isdigit() and len(part) < 6 for part in rule.split(".")) else "",
            centre=Point.parse(one["centre"]) if one.get("centre") else None,
            zoom=_zoom(one.get("zoom", "0")),
        )

    def query(self) -> str:
        """Return the query with its question mark; empty where there is nothing to say."""
        place = self.centre
        pairs = [
            ("layer", self.layer),
            ("style", self.style),
            ("version", str(self.version or "")),
            ("rule", self.rule),
            ("centre", f"{_short(place.lon, PLACE_DECIMALS)},{_short(place.lat, PLACE_DECIMALS)}" if place else ""),
            ("zoom", _short(self.zoom, ZOOM_DECIMALS) if place else ""),
        ]
        text = urlencode([(name, value) for name, value in pairs if value], safe=",/:")
        return f"?{text}" if text else ""


def _whole(text: str, field: str) -> int:
    if not text.isdigit() or len(text) > 9:
        raise InputError(f"'{text[:40]}' is no number of a version.", hint="Choose it in the list.", field=field)
    return int(text)


def _zoom(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MAX_ZOOM:
        raise InputError(f"'{text[:40]}' is no zoom; expected 0 to {MAX_ZOOM}.", hint="For example 4.", field="zoom")
    return value


def _short(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".")
