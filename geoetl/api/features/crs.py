"""Reference systems as OGC names them, by URI, with the axes in the order that their definitions have."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from geoetl.access.features import CRS84, ProjectedBox
from geoetl.core.errors import InputError, InvalidBBox
from geoetl.core.spatial import BBox

CRS84_URI = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
# What every collection can be had in, besides its own.
EVERYWHERE = (CRS84, "EPSG:4326", "EPSG:3857")
_DEGREES = (CRS84, "EPSG:4326")
_URI = re.compile(r"https?://www\.opengis\.net/def/crs/(OGC|EPSG)/[\d.]+/(CRS84|\d{1,9})", re.ASCII)
_CURIE = re.compile(r"\[?(OGC|EPSG):(CRS84|\d{1,9})\]?", re.ASCII)


class UnknownCRS(InputError):
    """A reference system that the collection cannot be had in."""

    code = "unknown_crs"
    title = "The reference system is not right"


class ReferenceSystems:
    """The reference systems of a collection of features.

    Args:
        own: That of its file, as `FeatureDescription.crs` names it.
    """

    def __init__(self, own: str) -> None:
        self.own = own

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Those that it can be had in; its own only where it has a name."""
        return tuple(dict.fromkeys((*EVERYWHERE, self.own))) if uri_of(self.own) else EVERYWHERE

    @property
    def uris(self) -> list[str]:
        """The same as URIs."""
        return [uri for name in self.names if (uri := uri_of(name))]

    def named(self, text: str | None, field: str) -> str:
        """Return the name of the reference system that a parameter gives; CRS84 where it does not.

        Raises:
            UnknownCRS: The collection cannot be had in it.
        """
        if text is None:
            return CRS84
        found = _URI.fullmatch(text) or _CURIE.fullmatch(text)
        name = ":".join(found.groups()) if found else ""
        if name not in self.names:
            raise UnknownCRS(
                f"{field} is '{text[:100]}', which is not offered here.",
                hint=f"Give one of: {', '.join(self.uris)}.",
                field=field,
            )
        return name


def uri_of(name: str) -> str | None:
    """Return the URI of a reference system; None for one without a code."""
    found = _CURIE.fullmatch(name)
    if not found:
        return None
    authority, code = found.groups()
    return CRS84_URI if authority == "OGC" else f"http://www.opengis.net/def/crs/EPSG/0/{code}"


def is_swapped(name: str) -> bool:
    """Tell whether the first axis of a reference system points to the north."""
    import pyproj

    axes = pyproj.CRS.from_user_input(name).axis_info
    return len(axes) > 1 and axes[0].direction.lower() == "north" and axes[1].direction.lower() == "east"


def box_of(text: str | None, crs: str) -> BBox | ProjectedBox | None:
    """Return the box of 4 numbers, or of 6 with heights, which are not looked at; its axes as `crs` has them.

    Raises:
        InvalidBBox: It is something else.
    """
    if text is None:
        return None
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 6:
        numbers = [*numbers[:2], *numbers[3:5]]
    if len(numbers) != 4:
        raise InvalidBBox(
            f"'{text[:80]}' is not 4 (or 6) numbers separated by commas.",
            hint="Give the least coordinates, then the greatest: west,south,east,north in degrees.",
            field="bbox",
        )
    west, south, east, north = numbers
    if is_swapped(crs):
        south, west, north, east = numbers
    return BBox(west, south, east, north) if crs in _DEGREES else ProjectedBox(west, south, east, north, crs)


def with_swapped_axes(node: Any) -> Any:
    """Return a filter whose geometries have their first two coordinates the other way round."""
    if isinstance(node, Mapping):
        if "coordinates" in node:
            return {**node, "coordinates": _swapped(node["coordinates"])}
        if isinstance(box := node.get("bbox"), list | tuple) and len(box) in (4, 6):
            half = len(box) // 2
            return {**node, "bbox": [*_swapped(box[:half]), *_swapped(box[half:])]}
        return {name: with_swapped_axes(part) for name, part in node.items()}
    return [with_swapped_axes(part) for part in node] if isinstance(node, list | tuple) else node


def _swapped(coordinates: Any) -> Any:
    if not isinstance(coordinates, list | tuple):
        return coordinates
    if len(coordinates) > 1 and not isinstance(coordinates[0], list | tuple):
        return [coordinates[1], coordinates[0], *coordinates[2:]]
    return [_swapped(part) for part in coordinates]
