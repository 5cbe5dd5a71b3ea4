"""The catalogue's documents as the API answers them: with links, with addresses that a client reaches, in part.

No path of this machine leaves: an asset that lies here, or in a zone, is given by its address under ``/assets``.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

import orjson
from starlette.responses import Response

from geoetl.access.items import AssetKind, kind_of
from geoetl.store.zones import Zones

JSON = "application/json"
GEOJSON = "application/geo+json"
SCHEMA_JSON = "application/schema+json"
QUERYABLES_REL = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
SORTABLES_REL = "http://www.opengis.net/def/rel/ogc/1.0/sortables"
STYLES_REL = "http://www.opengis.net/def/rel/ogc/1.0/styles"
# Links that say where a document lies; the API writes its own.
STRUCTURAL = frozenset({"self", "root", "parent", "collection", "items", "item", "child", "children"})
# What a document keeps when only some fields are asked for, so that it can still be told apart.
_ALWAYS = frozenset({"id", "collection"})


class Documents:
    """Writes documents for one request.

    Args:
        server: Address of the server, with a slash at its end.
        prefix: Path of the API below it.
        zones: Tells what lies in a zone.
    """

    def __init__(self, server: str, prefix: str, zones: Zones) -> None:
        self._server = server
        self._prefixes = (zones.internal.prefix, zones.external.prefix, "internal://", "external://", "file://")
        self.root = f"{server}{prefix.strip('/')}/"

    def item(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return an item with its links and addresses."""
        collection, name = item["collection"], item["id"]
        files = f"{self._server}assets/{collection}/{name}/"
        document = dict(item)
        document["assets"] = {
            key: self._asset(asset, f"{files}{quote(key, safe='')}") for key, asset in item["assets"].items()
        }
        parent = f"{self.root}collections/{collection}"
        document["links"] = [
            {"rel": "self", "type": GEOJSON, "href": f"{parent}/items/{name}"},
            {"rel": "parent", "type": JSON, "href": parent},
            {"rel": "collection", "type": JSON, "href": parent},
            {"rel": "root", "type": JSON, "href": self.root},
            *self._further(item["links"], f"{self._server}executions/{collection}/{name}"),
        ]
        tiles = self._tiles(item)
        if tiles is not None:
            document["links"].append({"rel": "tilejson", "type": JSON, "href": tiles, "title": "Map tiles"})
        if AssetKind.GEOPARQUET in map(kind_of, item["assets"].values()):
            styles = f"{self._server}collections/{collection}:{name}/styles"
            document["links"].append({"rel": STYLES_REL, "type": JSON, "href": styles, "title": "Styles"})
        return document

    def _tiles(self, item: Mapping[str, Any]) -> str | None:
        """Return where the map tiles of an item are described; None where it has none."""
        kinds = {kind_of(asset) for asset in item["assets"].values()}
        ids = f"{item['collection']}/{item['id']}"
        if "cube:dimensions" in item["properties"]:
            return f"{self._server}tiles/cube/{ids}/WebMercatorQuad/tilejson.json"
        if AssetKind.GEOTIFF in kinds:
            return f"{self._server}tiles/raster/{ids}/WebMercatorQuad/tilejson.json"
        return f"{self._server}tiles/vector/{ids}/tilejson.json" if AssetKind.PMTILES in kinds else None

    def collection(self, collection: Mapping[str, Any]) -> dict[str, Any]:
        """Return a collection with its links and addresses."""
        here = f"{self.root}collections/{collection['id']}"
        document = dict(collection)
        if "assets" in collection:
            files = f"{self._server}assets/{collection['id']}/"
            document["assets"] = {
                key: self._asset(asset, f"{files}{quote(key, safe='')}") for key, asset in collection["assets"].items()
            }
        document["links"] = [
            {"rel": "self", "type": JSON, "href": here},
            {"rel": "parent", "type": JSON, "href": self.root},
            {"rel": "root", "type": JSON, "href": self.root},
            {"rel": "items", "type": GEOJSON, "href": f"{here}/items"},
            {"rel": QUERYABLES_REL, "type": SCHEMA_JSON, "href": f"{here}/queryables"},
            {"rel": SORTABLES_REL, "type": SCHEMA_JSON, "href": f"{here}/sortables"},
            {"rel": STYLES_REL, "type": JSON, "href": f"{self._server}collections/{collection['id']}/styles"},
            *self._further(collection["links"], None),
        ]
        return document

    def _asset(self, asset: Mapping[str, Any], address: str) -> Mapping[str, Any]:
        if not self._is_ours(asset["href"]):
            return asset
        changed = {**asset, "href": address}
        if isinstance(alternate := asset.get("alternate"), dict):
            # Only the asset itself has an address here.
            changed["alternate"] = {
                name: place
                for name, place in alternate.items()
                if isinstance(place, dict) and not self._is_ours(str(place.get("href", "")))
            }
        return changed

    def _further(self, links: Iterable[Mapping[str, Any]], execution: str | None) -> list[Mapping[str, Any]]:
        further: list[Mapping[str, Any]] = []
        for link in links:
            if link.get("rel") in STRUCTURAL:
                continue
            if link.get("rel") == "processing-execution" and execution:
                further.append({**link, "href": execution})
            elif not self._is_ours(link["href"]):
                further.append(link)
        return further

    def _is_ours(self, href: str) -> bool:
        """Tell whether an address means nothing outside of this server: a path, or an object in a zone."""
        return href.startswith(self._prefixes) or "://" not in href


def chooser(include: Iterable[str], exclude: Iterable[str]) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    """Return what picks the fields of a document; None where all are asked for.

    Source: STAC API fields extension, "Include/Exclude Semantics"; a field may be nested, as ``properties.datetime``.
    """
    included = [_path(field) for field in include if field]
    excluded = [_path(field) for field in exclude if field]
    if not included and not excluded:
        return None

    def choose(document: dict[str, Any]) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        if included:
            for name in _ALWAYS & document.keys():
                chosen[name] = document[name]
            for path in included:
                _copy(document, chosen, path)
        else:
            chosen = dict(document)
        for path in excluded:
            # What is asked for by its own name stays, also where all of its parent is left out.
            if not any(path == kept[: len(path)] for kept in included):
                _drop(chosen, path)
        return chosen

    return choose


def _path(field: str) -> tuple[str, ...]:
    # Names of extensions hold colons, and a property is also named without its parent.
    head, dot, rest = field.partition(".")
    if head in ("properties", "assets") and dot:
        return (head, *((rest,) if head == "properties" else tuple(rest.split("."))))
    if ":" in head and not dot:
        return ("properties", field)
    return tuple(field.split("."))


def _copy(source: Mapping[str, Any], target: dict[str, Any], path: tuple[str, ...]) -> None:
    for step in path[:-1]:
        source = source.get(step, {})
        if not isinstance(source, Mapping):
            return
        inner = target.get(step)
        target[step] = dict(inner) if isinstance(inner, Mapping) else {}
        target = target[step]
    if path[-1] in source:
        target[path[-1]] = source[path[-1]]


def _drop(target: dict[str, Any], path: tuple[str, ...]) -> None:
    for step in path[:-1]:
        inner = target.get(step)
        if not isinstance(inner, Mapping):
            return
        target[step] = dict(inner)
        target = target[step]
    target.pop(path[-1], None)


def encoded(
    document: Any, media_type: str = JSON, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a document as an answer."""
    try:
        body = orjson.dumps(document)
    except orjson.JSONEncodeError:
        # Integers of more than 64 bits are JSON, and beyond it.
        body = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Response(body, status_code=status, media_type=media_type, headers=dict(headers or {}))
