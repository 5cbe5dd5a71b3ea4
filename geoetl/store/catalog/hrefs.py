"""Addresses of assets and links: portable in the catalogue, openable outside of it.

A portable address (``internal://rasters/a.tif``) names a zone and a key, so that the catalogue survives a move of the
zone; an openable one is an absolute path or a URL that rasterio, xarray or a browser takes as it is.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson


class Addresses(Protocol):
    """The two directions; `geoetl.store.zones.Zones` is one."""

    def portable(self, href: str) -> str:
        """Return ``internal://key`` for an address inside a zone; any other address as it is."""
        ...

    def openable(self, href: str) -> str:
        """Return the absolute path or URL behind ``internal://key``; any other address as it is."""
        ...


def to_portable(document: Mapping[str, Any], addresses: Addresses) -> dict[str, Any]:
    """Return a copy of an item or collection in which every asset and link href is portable."""
    return map_hrefs(document, addresses.portable)


def to_openable(document: Mapping[str, Any], addresses: Addresses) -> dict[str, Any]:
    """Return a copy of an item or collection in which every asset and link href is openable."""
    return map_hrefs(document, addresses.openable)


def read_openable(content: str, addresses: Addresses) -> dict[str, Any]:
    """Return a stored item or collection, given as JSON text, with openable hrefs."""
    document: dict[str, Any] = orjson.loads(content)
    # A portable address begins a text; most documents have none, and need not be gone through.
    if '"internal://' in content or '"external://' in content:
        return to_openable(document, addresses)
    return document


def map_hrefs(document: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Return a copy of an item or collection with `change` applied to every href of its assets and links.

    Alternate locations of an asset (``alternate.*.href``, alternate-assets extension) are addresses too.  What has no
    text as ``href`` stays as it is; the rest of the document is shared with the original, not copied.
    """
    copy = dict(document)
    assets, links = document.get("assets"), document.get("links")
    if isinstance(assets, dict):
        changed = {name: new for name, asset in assets.items() if (new := _asset(asset, change)) is not asset}
        if changed:
            copy["assets"] = {**assets, **changed}
    if isinstance(links, list):
        copy["links"] = [_with_href(link, change) for link in links]
    return copy


def _asset(asset: Any, change: Callable[[str], str]) -> Any:
    changed = _with_href(asset, change)
    if isinstance(asset, dict) and isinstance(alternate := asset.get("alternate"), dict):
        return {**changed, "alternate": {name: _with_href(place, change) for name, place in alternate.items()}}
    return changed


def _with_href(thing: Any, change: Callable[[str], str]) -> Any:
    href = thing.get("href") if isinstance(thing, dict) else None
    if not isinstance(href, str) or (changed := change(href)) == href:
        return thing
    return {**thing, "href": changed}
