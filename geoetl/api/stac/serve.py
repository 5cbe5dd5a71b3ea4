"""Put the STAC API into the application."""

import logging
from typing import TYPE_CHECKING

import attr
from fastapi import APIRouter, FastAPI, Request

# Its settings are read from the environment when it is loaded, and it warns that nobody set them.
logging.getLogger("stac_fastapi.types.config").setLevel(logging.ERROR)

from stac_fastapi.api.app import StacApi  # noqa: E402
from stac_fastapi.extensions.collection_search import CollectionSearchExtension  # noqa: E402
from stac_fastapi.extensions.fields import FieldsExtension  # noqa: E402
from stac_fastapi.extensions.filter import FilterExtension  # noqa: E402
from stac_fastapi.extensions.pagination import TokenPaginationExtension  # noqa: E402
from stac_fastapi.extensions.sort import ItemCollectionSortExtension, SearchSortExtension  # noqa: E402
from stac_fastapi.types.config import ApiSettings  # noqa: E402
from stac_fastapi.types.extension import ApiExtension  # noqa: E402

from geoetl.api.stac import conformance, request  # noqa: E402
from geoetl.api.stac.client import DESCRIPTION, StacClient  # noqa: E402
from geoetl.api.stac.documents import Documents  # noqa: E402
from geoetl.api.stac.queryables import Queryables, Sortables  # noqa: E402
from geoetl.api.stac.transactions import Transactions  # noqa: E402
from geoetl.api.styles.conformance import classes as style_classes  # noqa: E402

if TYPE_CHECKING:
    from geoetl.platform import Platform

PREFIX = "/stac"


@attr.s
class _Api(StacApi):
    def add_health_check(self) -> None:
        """Leave it out: the application has its own."""


def serve_stac(app: FastAPI, platform: "Platform", *, writing: bool) -> None:
    """Add the STAC API to the application.

    Args:
        app: What is added to.
        platform: What answers.
        writing: Whether there are routes that write.
    """

    def documents(asked: Request) -> Documents:
        return Documents(str(asked.base_url), PREFIX, platform.zones)

    catalog, cache = platform.catalog, platform.lookup
    queryables, sortables = Queryables(catalog=catalog, cache=cache), Sortables(catalog=catalog, cache=cache)
    extensions: list[ApiExtension] = [
        FilterExtension(client=queryables, conformance_classes=conformance.FILTER, router=APIRouter()),
        SearchSortExtension(client=sortables, conformance_classes=conformance.SORT, router=APIRouter()),
        ItemCollectionSortExtension(client=sortables, conformance_classes=conformance.SORT, router=APIRouter()),
        FieldsExtension(conformance_classes=conformance.FIELDS),
        CollectionSearchExtension(GET=request.CollectionsQuery, conformance_classes=conformance.COLLECTION_SEARCH),
        TokenPaginationExtension(),
    ]
    if writing:
        extensions.append(Transactions(platform=platform, documents=documents, router=APIRouter()))
    own = APIRouter(prefix=PREFIX, tags=["stac"])
    client = StacClient(catalog=catalog, cache=cache, documents=documents)
    client.base_conformance_classes = [*client.base_conformance_classes, *style_classes(writing=writing)]
    settings = ApiSettings(
        stac_fastapi_title="geoetl",
        stac_fastapi_description=DESCRIPTION,
        stac_fastapi_landing_id="geoetl",
        stac_fastapi_version=app.version,
        openapi_url=app.openapi_url or "",
    )
    _Api(
        settings=settings,
        client=client,
        extensions=extensions,
        exceptions={},
        app=app,
        router=own,
        search_get_request_model=request.SearchQuery,
        search_post_request_model=request.SearchBody,
        collections_get_request_model=request.CollectionsQuery,
        collection_get_request_model=request.OfCollection,
        items_get_request_model=request.ItemsQuery,
        item_get_request_model=request.OfItem,
        middlewares=[],
    )
