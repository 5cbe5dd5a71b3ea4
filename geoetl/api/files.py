"""The files of items, by ids: assets with byte ranges, and the notebook that made an item."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Response
from fastapi.responses import FileResponse

from geoetl.core.errors import NotFound, did_you_mean
from geoetl.core.identifiers import check_id

if TYPE_CHECKING:
    from geoetl.platform import Platform

# What a browser may show in place; everything else is offered as a download.
_SHOWN = ("image/png", "image/jpeg", "image/webp")
# An asset is data of unknown origin on our own address: nothing in it may run.
HARMLESS = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}
# Assets change only when an item is made again; a browser asks each time and mostly hears 304.
_CACHING = "private, no-cache"
NOTEBOOK = "application/x-ipynb+json"


def router(platform: "Platform") -> APIRouter:
    """Return the routes of the files."""
    routes = APIRouter(tags=["files"])

    @routes.get("/assets/{collection}/{item}/{asset}", response_class=FileResponse)
    @routes.head("/assets/{collection}/{item}/{asset}", include_in_schema=False)
    def asset(
        collection: str, item: str, asset: str, if_none_match: Annotated[str | None, Header()] = None
    ) -> Response:
        """Return a file of an item; a ``Range`` header returns a part of it."""
        document = platform.lookup.item(check_id(collection, "collection"), check_id(item, "item"))
        assets: Mapping[str, Mapping[str, Any]] = document.get("assets", {})
        if asset not in assets:
            raise NotFound(
                f"Item '{item}' has no asset '{asset[:60]}'.", hint=did_you_mean(asset, assets), field="asset"
            )
        path = _local(platform, str(assets[asset]["href"]), f"asset '{asset}' of item '{item}'")
        media_type = str(assets[asset].get("type") or "application/octet-stream")
        return file_response(path, media_type, f"{item}{path.suffix}", if_none_match)

    @routes.get("/executions/{collection}/{item}", response_class=FileResponse)
    @routes.head("/executions/{collection}/{item}", include_in_schema=False)
    def execution(collection: str, item: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """Return the executed notebook that made an item."""
        document = platform.lookup.item(check_id(collection, "collection"), check_id(item, "item"))
        links = [link for link in document.get("links", ()) if link.get("rel") == "processing-execution"]
        if not links:
            raise NotFound(f"Item '{item}' does not name the notebook that made it.", field="item")
        path = _local(platform, str(links[0]["href"]), f"notebook of item '{item}'")
        return file_response(path, NOTEBOOK, f"{item}.ipynb", if_none_match)

    return routes


def _local(platform: "Platform", href: str, what: str) -> Path:
    """Return the local file behind an address of the catalogue; what lies elsewhere is not handed on."""
    zone, key = platform.zones.locate(href)
    if zone is not None:
        path = zone.local_path(key)
    elif "://" in href and not href.startswith("file://"):
        raise NotFound(f"The {what} does not lie on this server.", hint="Its address is in the item.", field="asset")
    else:
        path = platform.gate.resolve(href, field="asset")
    if not path.is_file():
        raise NotFound(f"The {what} is a folder, not a file.", hint="Open it with geoetl instead.", field="asset")
    return path


def file_response(path: Path, media_type: str, name: str, if_none_match: str | None) -> Response:
    """Return a file in which nothing runs; a picture in place, all else as a download of that name."""
    stat = path.stat()
    tag = hashlib.sha256(f"{stat.st_mtime_ns}-{stat.st_size}-{path.name}".encode()).hexdigest()[:32]
    headers = {"ETag": f'"{tag}"', "Cache-Control": _CACHING, **HARMLESS}
    if if_none_match and tag in if_none_match:
        return Response(status_code=304, headers=headers)
    return FileResponse(
        path,
        media_type=media_type,
        filename=name,
        headers=headers,
        stat_result=stat,
        content_disposition_type="inline" if media_type in _SHOWN else "attachment",
    )
