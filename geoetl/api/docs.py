"""The description of the API as pages, without any other host: Swagger UI at ``/docs``, ReDoc at ``/redoc``.

FastAPI's own pages fetch their program from a public one.  Every address is relative, so that the pages work below the
path of a proxy; everything lies below ``/docs``, as Panel answers all of ``/static``.
"""

import hashlib
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Response

from geoetl.core.errors import NotFound

ASSETS = Path(__file__).parent / "docs_assets"
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
SERVED = ("swagger-ui.js", "swagger-ui.css", "redoc.js", "show-swagger.js", "show-redoc.js", "docs.css")
# No script but ours; both programs write styles into the page, and ReDoc searches in a worker made of a blob.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
# A browser asks each time and mostly hears 304: the names do not change with the version.
CACHING = "no-cache"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>geoetl API</title>
<link rel="icon" href="data:,">
{styles}
</head>
<body>
<nav aria-label="Pages"><b>geoetl API</b> {links} <a href="api/openapi.json">OpenAPI</a></nav>
<main id="docs"><noscript>This page needs JavaScript; the description itself is at api/openapi.json.</noscript></main>
{scripts}
</body>
</html>
"""


def router() -> APIRouter:
    """Return the routes of the pages."""
    routes = APIRouter(include_in_schema=False)
    pages = {
        "docs": _page(("swagger-ui.css", "docs.css"), ("swagger-ui.js", "show-swagger.js"), "docs"),
        "redoc": _page(("docs.css",), ("redoc.js", "show-redoc.js"), "redoc"),
    }

    @routes.api_route("/docs", methods=["GET", "HEAD"])
    def docs(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        return _answer(pages["docs"], "text/html; charset=utf-8", if_none_match)

    @routes.api_route("/redoc", methods=["GET", "HEAD"])
    def redoc(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        return _answer(pages["redoc"], "text/html; charset=utf-8", if_none_match)

    @routes.api_route("/docs/assets/{name}", methods=["GET", "HEAD"])
    def asset(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        if name not in SERVED:
            raise NotFound("There is no such file.", field="name")
        path = ASSETS / name
        return _answer(path.read_bytes(), TYPES[path.suffix], if_none_match)

    return routes


def _page(styles: tuple[str, ...], scripts: tuple[str, ...], here: str) -> bytes:
    shown = {"docs": "Try it", "redoc": "Read it"}
    links = " ".join(
        f'<a href="{page}"{' aria-current="page"' if page == here else ""}>{name}</a>' for page, name in shown.items()
    )
    return _PAGE.format(
        styles="\n".join(f'<link rel="stylesheet" href="docs/assets/{name}">' for name in styles),
        scripts="\n".join(f'<script src="docs/assets/{name}"></script>' for name in scripts),
        links=links,
    ).encode()


def _answer(content: bytes, media_type: str, if_none_match: str | None) -> Response:
    tag = hashlib.sha256(content).hexdigest()[:32]
    headers = {"ETag": f'"{tag}"', "Cache-Control": CACHING, "Content-Security-Policy": POLICY}
    if if_none_match and tag in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(content, headers={**headers, "Content-Type": media_type})
