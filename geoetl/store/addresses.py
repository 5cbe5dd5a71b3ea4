"""Addresses of objects in data that does not say where it has some: results of stages, styles, lists of sources."""

from collections.abc import Iterator, Mapping
from typing import Any

from geoetl.core.errors import InvalidParameter
from geoetl.store.zones import Zones


def addresses_in(value: Any, zones: Zones) -> Iterator[str]:
    """Return the addresses, ``internal://key``, of everything in JSON data that lies in a zone.

    Besides text, an object with a zone and a key is an address, as stages return it.
    """
    if isinstance(value, str):
        address = portable(value, zones)
        if address.startswith(("internal://", "external://")):
            yield address.rstrip("/")
    elif isinstance(value, Mapping):
        zone, key = value.get("zone"), value.get("key")
        if zone in ("internal", "external") and isinstance(key, str):
            yield f"{zone}://{key}"
        for inner in value.values():
            yield from addresses_in(inner, zones)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from addresses_in(inner, zones)


def portable(href: str, zones: Zones) -> str:
    """Return ``internal://key`` for an address inside a zone, whatever its key; any other address as it is."""
    try:
        return zones.portable(href)
    except InvalidParameter:  # a key that geoetl would not give: it names what others have put there
        for zone in (zones.internal, zones.external):
            for start in (f"file://{zone.prefix}", zone.prefix):
                if href.startswith(start):
                    return f"{zone.name}://{href.removeprefix(start)}"
        return href
