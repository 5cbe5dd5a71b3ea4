"""Writing through the STAC API: items and collections, for editors.

Source: STAC API transaction extension 1.0.0, and its collection transactions.
"""

from collections.abc import Callable, Mapping
from typing import Any

import attr
from fastapi import APIRouter, FastAPI, Request
from stac_fastapi.api.routes import create_async_endpoint
from stac_fastapi.extensions.transaction import TransactionConformanceClasses
from stac_fastapi.types.extension import ApiExtension
from starlette.responses import Response

from geoetl.api.stac.documents import GEOJSON, JSON, STRUCTURAL, Documents, encoded
from geoetl.api.stac.request import (
    CollectionPatch,
    InvalidQuery,
    ItemPatch,
    NewCollection,
    NewItem,
    OfCollection,
    OfItem,
    WholeCollection,
    WholeItem,
)
from geoetl.platform import Platform
from geoetl.store.catalog import Collection, Item

# More are loaded with `geoetl catalog load`, which shows how far it is.
MAX_ITEMS_AT_ONCE = 1_000


@attr.s(auto_attribs=True, kw_only=True)
class Transactions(ApiExtension):
    """The routes that write.

    Attributes:
        platform: What is written to.
        documents: Gives what writes documents for a request.
        router: Where the routes go.
    """

    platform: Platform
    documents: Callable[[Request], Documents]
    router: APIRouter
    conformance_classes: list[str] = attr.ib(factory=lambda: [str(one) for one in TransactionConformanceClasses])

    def register(self, app: FastAPI) -> None:
        """Add the routes to the application."""
        self.router.prefix = app.state.router_prefix
        collections, collection = "/collections", "/collections/{collection_id}"
        items, item = f"{collection}/items", f"{collection}/items/{{item_id}}"
        routes: list[tuple[str, str, Callable[..., Response], Any, int, str]] = [
            ("POST", items, self.create_items, NewItem, 201, GEOJSON),
            ("PUT", item, self.replace_item, WholeItem, 200, GEOJSON),
            ("PATCH", item, self.patch_item, ItemPatch, 200, GEOJSON),
            ("DELETE", item, self.delete_item, OfItem, 204, ""),
            ("POST", collections, self.create_collection, NewCollection, 201, JSON),
            ("PUT", collection, self.replace_collection, WholeCollection, 200, JSON),
            ("PATCH", collection, self.patch_collection, CollectionPatch, 200, JSON),
            ("DELETE", collection, self.delete_collection, OfCollection, 204, ""),
        ]
        for method, path, answer, asked, status, media_type in routes:
            self.router.add_api_route(
                path,
                create_async_endpoint(answer, asked),
                methods=[method],
                name=answer.__name__.replace("_", " ").capitalize(),
                description=answer.__doc__,
                status_code=status,
                response_class=Response,
                responses={status: {"content": {media_type: {}}} if media_type else {}},
            )
        app.include_router(self.router, tags=["stac transactions"])

    def create_items(self, collection_id: str, item: dict[str, Any], *, request: Request) -> Response:
        """Add an item, or those of a FeatureCollection: all of them or none."""
        if item.get("type") != "FeatureCollection":
            made = self._checked(_stored(_of_collection(item, collection_id)))
            self.platform.catalog.add_items([made])
            documents = self.documents(request)
            stored = documents.item(self.platform.catalog.item(collection_id, made["id"]))
            location = {"Location": f"{documents.root}collections/{collection_id}/items/{made['id']}"}
            return encoded(stored, GEOJSON, 201, location)
        features = item.get("features")
        if not isinstance(features, list) or not features or len(features) > MAX_ITEMS_AT_ONCE:
            raise InvalidQuery(
                f"A FeatureCollection has 1 to {MAX_ITEMS_AT_ONCE} items in 'features'.",
                hint="Send more of them in several calls, or load a file: geoetl catalog load FILE",
                field="features",
            )
        self.platform.catalog.add_items(self._checked(_stored(_of_collection(one, collection_id))) for one in features)
        return encoded({"type": "FeatureCollection", "features": [], "numberCreated": len(features)}, GEOJSON, 201)

    def replace_item(self, collection_id: str, item_id: str, item: dict[str, Any], *, request: Request) -> Response:
        """Put an item in the place of the one that is there."""
        return self._changed_item(collection_id, item_id, lambda _: item, request)

    def patch_item(self, collection_id: str, item_id: str, patch: dict[str, Any], *, request: Request) -> Response:
        """Change members of an item (JSON Merge Patch, RFC 7396)."""
        return self._changed_item(collection_id, item_id, lambda answered: merge_patch(answered, patch), request)

    def delete_item(self, collection_id: str, item_id: str, *, request: Request) -> Response:
        """Remove an item; the objects that it names stay."""
        self.platform.catalog.delete_item(collection_id, item_id)
        return Response(status_code=204)

    def create_collection(self, collection: dict[str, Any], *, request: Request) -> Response:
        """Add a collection."""
        made = self._checked(_stored(collection))
        self.platform.catalog.add_collection(made)
        documents = self.documents(request)
        location = {"Location": f"{documents.root}collections/{made['id']}"}
        return encoded(documents.collection(self.platform.catalog.collection(made["id"])), JSON, 201, location)

    def replace_collection(self, collection_id: str, collection: dict[str, Any], *, request: Request) -> Response:
        """Put a collection in the place of the one that is there; its items stay."""
        return self._changed_collection(collection_id, lambda _: collection, request)

    def patch_collection(self, collection_id: str, patch: dict[str, Any], *, request: Request) -> Response:
        """Change members of a collection (JSON Merge Patch, RFC 7396)."""
        return self._changed_collection(collection_id, lambda answered: merge_patch(answered, patch), request)

    def delete_collection(self, collection_id: str, *, request: Request) -> Response:
        """Remove a collection with its items; the objects that they name stay."""
        self.platform.catalog.delete_collection(collection_id)
        return Response(status_code=204)

    def _checked(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a document whose addresses lead nowhere that they may not."""
        self.platform.gate.check_item(document)
        return document

    def _changed_item(
        self, collection_id: str, item_id: str, change: Callable[[Mapping[str, Any]], dict[str, Any]], request: Request
    ) -> Response:
        """Change an item; `change` sees it as the API answers it, and so may what it returns be written."""
        documents = self.documents(request)

        def stored(present: Item) -> dict[str, Any]:
            answered = documents.item(present)
            changed = _of_collection(change(answered), collection_id)
            return self._checked(taken_back(changed, present, answered))

        return encoded(documents.item(self.platform.catalog.change_item(collection_id, item_id, stored)), GEOJSON)

    def _changed_collection(
        self, collection_id: str, change: Callable[[Mapping[str, Any]], dict[str, Any]], request: Request
    ) -> Response:
        documents = self.documents(request)

        def stored(present: Collection) -> dict[str, Any]:
            answered = documents.collection(present)
            return self._checked(taken_back(change(answered), present, answered))

        return encoded(documents.collection(self.platform.catalog.change_collection(collection_id, stored)))


def merge_patch(present: Any, patch: Any) -> Any:
    """Return a document with a patch applied (RFC 7396, section 2): members are set, null removes one."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(present) if isinstance(present, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def _stored(document: dict[str, Any]) -> dict[str, Any]:
    """Return a new document without the links that say where it lay: here it lies elsewhere."""
    links = document.get("links")
    if not isinstance(links, list):
        return document
    kept = [link for link in links if not (isinstance(link, dict) and link.get("rel") in STRUCTURAL)]
    if document.get("type") == "Feature":
        kept.insert(0, {"rel": "collection", "href": f"../{document.get('collection')}", "type": JSON})
    return {**document, "links": kept}


def _of_collection(item: Any, collection_id: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise InvalidQuery("An item is a JSON object.", hint="Give a GeoJSON Feature.", field="features")
    if item.get("collection", collection_id) != collection_id:
        raise InvalidQuery(
            f"The item names the collection {str(item['collection'])[:80]!r}, the address '{collection_id[:80]}'.",
            hint="Send it to the address of its own collection.",
            field="/collection",
        )
    return {**item, "collection": collection_id}


def taken_back(changed: dict[str, Any], present: Mapping[str, Any], answered: Mapping[str, Any]) -> dict[str, Any]:
    """Return a changed document as it is stored: what the API had put in is what was there before.

    A client that reads a document, changes a title and sends it back also sends the API's own addresses of assets, and
    its links.
    """
    document = _stored(changed)
    assets = document.get("assets")
    if isinstance(assets, dict):
        document = {**document, "assets": {key: _own(asset, key, present, answered) for key, asset in assets.items()}}
    links = document.get("links")
    if isinstance(links, list):
        made = [link for link in answered["links"] if link not in present["links"]]
        kept = [link for link in links if link not in made]
        hidden = [link for link in present["links"] if link not in answered["links"]]
        hidden = [link for link in hidden if link.get("rel") not in STRUCTURAL and link not in kept]
        document = {**document, "links": [*kept, *hidden]}
    return document


def _own(asset: Any, key: str, present: Mapping[str, Any], answered: Mapping[str, Any]) -> Any:
    before = answered.get("assets", {}).get(key)
    if not isinstance(asset, dict) or before is None or asset.get("href") != before["href"]:
        return asset
    stored = present["assets"][key]
    own = {"href": stored["href"]}
    if "alternate" in stored and "alternate" in asset:
        own["alternate"] = {**stored["alternate"], **asset["alternate"]}
    return {**asset, **own}
