"""What the STAC API answers to who reads: the landing page, collections, items, searches."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import attr
from fastapi import Request
from stac_fastapi.types.core import BaseCoreClient
from starlette.responses import Response

from geoetl.access.items import CatalogCache
from geoetl.api.stac.documents import (
    GEOJSON,
    JSON,
    QUERYABLES_REL,
    SCHEMA_JSON,
    SORTABLES_REL,
    Documents,
    chooser,
    encoded,
)
from geoetl.api.stac.request import InvalidQuery, SearchBody, bbox_of, interval_of, search_of_body, search_of_query
from geoetl.core.spatial import BBox
from geoetl.core.temporal import Interval, parse_instant
from geoetl.store.catalog import Catalog, Collection, Search
from geoetl.store.catalog.item import STAC_VERSION

MAX_COLLECTIONS = 1_000
OPENAPI = "application/vnd.oai.openapi+json;version=3.1"
DESCRIPTION = "Rasters, vectors and climate cubes, with where they came from."


@attr.s(auto_attribs=True, kw_only=True)
class StacClient(BaseCoreClient):
    """Answers from the catalogue.

    Attributes:
        catalog: What is searched.
        cache: What is looked up by ids.
        documents: Gives what writes documents for a request.
    """

    catalog: Catalog
    cache: CatalogCache
    documents: Callable[[Request], Documents]

    def landing_page(self, *, request: Request) -> Response:  # type: ignore[override]
        """Return the root of the catalogue."""
        root = self.documents(request).root
        server = str(request.base_url)
        searches = [
            {"rel": "search", "type": GEOJSON, "title": f"Search ({method})", "href": f"{root}search", "method": method}
            for method in ("GET", "POST")
        ]
        children = [
            {
                "rel": "child",
                "type": JSON,
                "title": one.get("title", one["id"]),
                "href": f"{root}collections/{one['id']}",
            }
            for one in self.catalog.collections()[:MAX_COLLECTIONS]
        ]
        page = {
            "type": "Catalog",
            "stac_version": STAC_VERSION,
            "id": "geoetl",
            "title": "geoetl",
            "description": DESCRIPTION,
            "conformsTo": self.conformance_classes(),
            "links": [
                {"rel": "self", "type": JSON, "title": "This document", "href": root},
                {"rel": "root", "type": JSON, "title": "Root", "href": root},
                {"rel": "data", "type": JSON, "title": "Collections", "href": f"{root}collections"},
                {"rel": "conformance", "type": JSON, "title": "What is conformed to", "href": f"{root}conformance"},
                *searches,
                {"rel": QUERYABLES_REL, "type": SCHEMA_JSON, "title": "Filter by", "href": f"{root}queryables"},
                {"rel": SORTABLES_REL, "type": SCHEMA_JSON, "title": "Sort by", "href": f"{root}sortables"},
                {"rel": "service-desc", "type": OPENAPI, "title": "OpenAPI", "href": f"{server}api/openapi.json"},
                {"rel": "service-doc", "type": "text/html", "title": "Documentation", "href": f"{server}docs"},
                *children,
            ],
        }
        return encoded(page)

    def conformance(self, *, request: Request) -> Response:  # type: ignore[override]
        """Return what is conformed to."""
        return encoded({"conformsTo": self.conformance_classes()})

    def all_collections(  # type: ignore[override]
        self,
        *,
        request: Request,
        bbox: str | None = None,
        datetime: str | None = None,
        q: str | None = None,
        limit: int | None = None,
        token: str | None = None,
    ) -> Response:
        """Return collections, all or those that match."""
        box, interval = bbox_of(bbox), interval_of(datetime)
        words = [word.strip().casefold() for word in (q or "").split(",") if word.strip()]
        found = [one for one in self.catalog.collections() if _matches(one, box, interval, words)]
        start = _offset(token)
        page = found[start : start + min(limit or MAX_COLLECTIONS, MAX_COLLECTIONS)]
        documents = self.documents(request)
        here = f"{documents.root}collections"
        links = [
            {"rel": "self", "type": JSON, "href": _same(request, here)},
            {"rel": "root", "type": JSON, "href": documents.root},
            {"rel": "parent", "type": JSON, "href": documents.root},
        ]
        if start + len(page) < len(found):
            links.append({"rel": "next", "type": JSON, "href": _same(request, here, token=str(start + len(page)))})
        return encoded(
            {
                "collections": [documents.collection(one) for one in page],
                "links": links,
                "numberMatched": len(found),
                "numberReturned": len(page),
            }
        )

    def get_collection(self, collection_id: str, *, request: Request) -> Response:  # type: ignore[override]
        """Return a collection."""
        return encoded(self.documents(request).collection(self.cache.collection(collection_id)))

    def item_collection(self, collection_id: str, *, request: Request, **asked: Any) -> Response:  # type: ignore[override]
        """Return items of a collection."""
        self.cache.collection(collection_id)
        search = search_of_query(asked).model_copy(update={"collections": (collection_id,)})
        documents = self.documents(request)
        return self._page(
            documents, search, request, f"collections/{collection_id}/items", _fields(asked.get("fields"))
        )

    def get_item(self, item_id: str, collection_id: str, *, request: Request) -> Response:  # type: ignore[override]
        """Return an item."""
        return encoded(self.documents(request).item(self.cache.item(collection_id, item_id)), GEOJSON)

    def get_search(self, *, request: Request, **asked: Any) -> Response:  # type: ignore[override]
        """Return the items that the parameters of an address match."""
        search = search_of_query(asked)
        return self._page(self.documents(request), search, request, "search", _fields(asked.get("fields")))

    def post_search(self, search_request: SearchBody, *, request: Request) -> Response:  # type: ignore[override]
        """Return the items that a JSON document matches."""
        search = search_of_body(search_request)
        fields = search_request.fields.include or [], search_request.fields.exclude or []
        return self._page(self.documents(request), search, request, "search", fields)

    def _page(
        self,
        documents: Documents,
        search: Search,
        request: Request,
        path: str,
        fields: tuple[list[str], list[str]],
    ) -> Response:
        page = self.catalog.search(search)
        choose = chooser(*fields)
        features = [documents.item(item) for item in page.items]
        here = f"{documents.root}{path}"
        links: list[dict[str, Any]] = [
            {"rel": "self", "type": GEOJSON, "href": _same(request, here) if request.method == "GET" else here},
            {"rel": "root", "type": JSON, "href": documents.root},
        ]
        if path != "search":
            parent = here.removesuffix("/items")
            links += [{"rel": rel, "type": JSON, "href": parent} for rel in ("parent", "collection")]
        if page.next_token and request.method == "GET":
            links.append(
                {"rel": "next", "type": GEOJSON, "method": "GET", "href": _same(request, here, token=page.next_token)}
            )
        elif page.next_token:
            body = {"token": page.next_token}
            links.append({"rel": "next", "type": GEOJSON, "method": "POST", "href": here, "merge": True, "body": body})
        answer: dict[str, Any] = {
            "type": "FeatureCollection",
            "features": features if choose is None else list(map(choose, features)),
            "links": links,
            "numberReturned": len(features),
        }
        if page.matched is not None:
            answer["numberMatched"] = page.matched
        return encoded(answer, GEOJSON)


def _same(request: Request, here: str, **changed: str) -> str:
    """Return the address of this question, or of the same one with other parameters."""
    asked = [(name, value) for name, value in request.query_params.multi_items() if name not in changed]
    query = urlencode([*asked, *changed.items()])
    return f"{here}?{query}" if query else here


def _fields(text: str | None) -> tuple[list[str], list[str]]:
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    left_out = [name[1:] for name in names if name.startswith("-")]
    return [name.removeprefix("+") for name in names if not name.startswith("-")], left_out


def _offset(token: str | None) -> int:
    if not token:
        return 0
    if not (token.isascii() and token.isdecimal() and len(token) < 10):
        raise InvalidQuery("The token is not one of a page of collections.", hint="Start again without.", field="token")
    return int(token)


def _matches(collection: Collection, box: BBox | None, interval: Interval | None, words: list[str]) -> bool:
    if words:
        parts = [collection["id"], collection.get("title", ""), collection["description"]]
        text = " ".join(map(str, [*parts, *collection.get("keywords", ())])).casefold()
        if not any(word in text for word in words):
            return False
    extent: Mapping[str, Any] = collection["extent"]
    if box and not any(box.intersects(BBox.from_list(part)) for part in extent["spatial"]["bbox"][:1]):
        return False
    if interval:
        start, end = ((extent.get("temporal") or {}).get("interval") or [[None, None]])[0]
        if end and interval.start and parse_instant(end) < interval.start:
            return False
        if start and interval.end and parse_instant(start) > interval.end:
            return False
    return True
