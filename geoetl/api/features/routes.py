"""The routes of features."""

import datetime as clock
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request, Response

from geoetl.access.cost import QueryLimits
from geoetl.access.features import DEFAULT_LIMIT, MAX_FEATURES
from geoetl.access.items import AssetKind, kind_of
from geoetl.api.features import request as ask
from geoetl.api.features.crs import ReferenceSystems, is_swapped, uri_of
from geoetl.api.features.documents import FORMATS, GEOJSON, JSON, PREFIX, SCHEMA_JSON, TITLES, Documents
from geoetl.api.stac.documents import encoded
from geoetl.core.errors import InvalidParameter, LimitExceeded
from geoetl.core.temporal import utc_text

if TYPE_CHECKING:
    from geoetl.access.features import FeaturePage
    from geoetl.platform import Platform

# Collections on a page.
DEFAULT_COLLECTIONS, MAX_COLLECTIONS = 100, 1_000
# What our pipelines write on every item with a table; the catalogue has no other way to tell vector items.
_IS_TABLE: dict[str, Any] = {
    "op": "or",
    "args": [
        {"op": "not", "args": [{"op": "isNull", "args": [{"property": name}]}]}
        for name in ("table:row_count", "table:columns")
    ],
}
_SUFFIX: Mapping[str, str] = {"geojson": "geojson", "csv": "csv", "parquet": "parquet"}


def router(platform: "Platform", *, writing: bool) -> APIRouter:
    """Return the routes of features.

    Args:
        platform: What answers.
        writing: Whether the server has routes that write, of styles.
    """
    routes = APIRouter(prefix=PREFIX, tags=["features"])

    def documents(request: Request) -> Documents:
        return Documents(str(request.base_url))

    @routes.get("", response_class=Response, responses=_answers(JSON))
    def landing_page(request: Request) -> Response:
        """Return what there is (OGC API - Features)."""
        ask.check_known(request, {"f"})
        return encoded(documents(request).landing_page())

    @routes.get("/conformance", response_class=Response, responses=_answers(JSON))
    def conformance(request: Request) -> Response:
        """Return the conformance classes that are kept."""
        ask.check_known(request, {"f"})
        return encoded(documents(request).conformance(writing=writing))

    @routes.get("/collections", response_class=Response, responses=_answers(JSON))
    def collections(
        request: Request,
        limit: int = Query(DEFAULT_COLLECTIONS, ge=1, description=f"Most on a page, up to {MAX_COLLECTIONS}"),
        token: str | None = Query(None, max_length=100_000, description="Of the next page, from its link"),
    ) -> Response:
        """Return the vector items of the catalogue, each as a collection of features."""
        from geoetl.store.catalog import Search

        ask.check_known(request, {"limit", "token", "f"})
        search = Search(filter=_IS_TABLE, limit=min(limit, MAX_COLLECTIONS), token=token, count=False)
        page = platform.catalog.search(search)
        shown = [item for item in page.items if _has_features(item)]
        here = f"{documents(request).root}/collections"
        following = page.next_token and f"{here}?{urlencode({'limit': limit, 'token': page.next_token})}"
        styles = platform.styles.lists([f"{item['collection']}:{item['id']}" for item in shown])
        return encoded(documents(request).collections(shown, styles, _same(request, here), following))

    @routes.get("/collections/{collectionId}", response_class=Response, responses=_answers(JSON))
    def collection(request: Request, collectionId: ask.CollectionId) -> Response:  # noqa: N803  OGC's name
        """Return one collection: what it is, where and when, and its reference systems."""
        ask.check_known(request, {"f"})
        names = ask.names_of(collectionId)
        about = platform.features.describe(*names)
        styles = platform.styles.lists([collectionId])
        return encoded(documents(request).collection(platform.lookup.item(*names), styles, about))

    def schema(request: Request, collection_id: str, what: str) -> Response:
        ask.check_known(request, {"f"})
        about = platform.features.describe(*ask.names_of(collection_id))
        here = f"{documents(request).root}/collections/{collection_id}/{what}"
        told = documents(request).schema(about, here, only_sortable=what == "sortables", strict=what != "schema")
        return encoded(told, SCHEMA_JSON)

    @routes.get("/collections/{collectionId}/queryables", response_class=Response, responses=_answers(SCHEMA_JSON))
    def queryables(request: Request, collectionId: ask.CollectionId) -> Response:  # noqa: N803
        """Return the properties that features can be filtered by, as a JSON Schema."""
        return schema(request, collectionId, "queryables")

    @routes.get("/collections/{collectionId}/sortables", response_class=Response, responses=_answers(SCHEMA_JSON))
    def sortables(request: Request, collectionId: ask.CollectionId) -> Response:  # noqa: N803
        """Return the properties that features can be sorted by, as a JSON Schema."""
        return schema(request, collectionId, "sortables")

    @routes.get("/collections/{collectionId}/schema", response_class=Response, responses=_answers(SCHEMA_JSON))
    def properties_of(request: Request, collectionId: ask.CollectionId) -> Response:  # noqa: N803
        """Return the properties of features, as a JSON Schema."""
        return schema(request, collectionId, "schema")

    @routes.get("/collections/{collectionId}/items", response_class=Response, responses=_answers(*FORMATS.values()))
    def items(
        request: Request,
        collectionId: ask.CollectionId,  # noqa: N803
        bbox: ask.Bbox = None,
        bbox_crs: ask.BboxCrs = None,
        datetime: ask.Datetime = None,
        filter: ask.Filter = None,
        filter_lang: ask.FilterLang = None,
        filter_crs: ask.FilterCrs = None,
        sortby: ask.Sortby = None,
        properties: ask.Properties = None,
        skip_geometry: ask.SkipGeometry = False,
        limit: ask.Limit = None,
        offset: ask.Offset = None,
        token: ask.Token = None,
        crs: ask.Crs = None,
        format: ask.Format = None,
        estimate: ask.Estimated = False,
    ) -> Response:
        """Return the features that match, page by page; a property is also a parameter: ``name=value``."""
        stac_collection, stac_item = ask.names_of(collectionId)
        asked = ask.asked_of(
            request,
            platform.features.describe(stac_collection, stac_item),
            bbox=bbox,
            bbox_crs=bbox_crs,
            datetime=datetime,
            filter=filter,
            filter_lang=filter_lang,
            filter_crs=filter_crs,
            sortby=sortby,
            properties=properties,
            skip_geometry=skip_geometry,
            crs=crs,
        )
        form = ask.format_of(request, format)
        if token is not None and offset is not None:
            raise InvalidParameter("There are both offset and token.", hint="Give one of them.", field="offset")
        is_file = form != "geojson"
        most = MAX_FEATURES if is_file else ask.MAX_LIMIT
        taken = min(limit or (MAX_FEATURES if is_file else DEFAULT_LIMIT), most)
        limits = QueryLimits.of_requests(platform.settings.limits, platform.settings.query)
        shown: dict[str, Any] = {"columns": asked.columns, "skip_geometry": asked.skip_geometry, "limits": limits}
        if estimate:
            cost = platform.features.estimate_query(
                stac_collection, stac_item, **asked.selecting(), **shown, limit=taken
            )
            return encoded(cost.model_dump(mode="json"))
        if is_file and limit is None and token is None:
            _check_whole(platform, (stac_collection, stac_item), asked, limits)
        page = platform.features.query(
            stac_collection,
            stac_item,
            **asked.selecting(),
            **shown,
            limit=taken,
            offset=offset or 0,
            token=token,
            crs=asked.crs,
        )
        return _answer(page, form, documents(request), request, collectionId, asked.crs)

    @routes.get("/collections/{collectionId}/items/{featureId}", response_class=Response, responses=_answers(GEOJSON))
    def item(
        request: Request,
        collectionId: ask.CollectionId,  # noqa: N803
        featureId: ask.FeatureId,  # noqa: N803
        crs: ask.Crs = None,
        format: ask.Format = None,
    ) -> Response:
        """Return one feature."""
        ask.check_known(request, {"crs", "f"})
        names = ask.names_of(collectionId)
        name = ReferenceSystems(platform.features.describe(*names).crs).named(crs, "crs")
        ask.format_of(request, format, ("geojson",))
        page = platform.features.feature(*names, featureId, crs=name)
        here = f"{documents(request).root}/collections/{collectionId}"
        own = quote(str(page.ids[0]), safe="")
        links = [
            {"rel": "self", "type": GEOJSON, "title": "This feature", "href": _same(request, f"{here}/items/{own}")},
            {"rel": "collection", "type": JSON, "title": "Its collection", "href": here},
        ]
        return Response(
            page.to_feature({"links": links}, swapped=is_swapped(name)),
            media_type=GEOJSON,
            headers=_headers(page, name),
        )

    return routes


def _answer(
    page: "FeaturePage", form: str, documents: Documents, request: Request, collection_id: str, crs: str
) -> Response:
    headers = _headers(page, crs)
    if form != "geojson":
        name = f"{collection_id.replace(':', '-')}.{_SUFFIX[form]}"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
        if page.returned < page.matched:
            headers["X-Truncated"] = "true"
        content = page.to_parquet() if form == "parquet" else page.to_csv(swapped=is_swapped(crs))
        media_type = FORMATS[form] if form == "parquet" else f"{FORMATS[form]}; charset=utf-8; header=present"
        return Response(content, media_type=media_type, headers=headers)
    collection = f"{documents.root}/collections/{collection_id}"
    here = f"{collection}/items"
    links = [{"rel": "self", "type": GEOJSON, "title": "This document", "href": _same(request, here)}]
    links += [
        {"rel": "alternate", "type": FORMATS[name], "title": TITLES[name], "href": _same(request, here, f=name)}
        for name in FORMATS
        if name != form
    ]
    for rel, token in (("next", page.next), ("prev", page.previous)):
        if token:
            links.append({"rel": rel, "type": GEOJSON, "title": rel, "href": _same(request, here, token=token)})
    links.append({"rel": "collection", "type": JSON, "title": "The collection", "href": collection})
    further = {"links": links, "timeStamp": utc_text(clock.datetime.now(clock.UTC))}
    return Response(page.to_geojson(further, swapped=is_swapped(crs)), media_type=GEOJSON, headers=headers)


def _headers(page: "FeaturePage", crs: str) -> dict[str, str]:
    version = page.source.dataset_version
    return {"Content-Crs": f"<{uri_of(crs)}>", **({"X-Dataset-Version": quote(version)} if version else {})}


def _check_whole(platform: "Platform", names: tuple[str, str], asked: "ask.Asked", limits: QueryLimits) -> None:
    """Refuse a file of everything that matches where that is too much."""
    collection, item = names
    found = platform.features.query(
        collection, item, **asked.selecting(), columns=(), skip_geometry=True, limit=1, limits=limits
    )
    if found.matched > MAX_FEATURES:
        raise LimitExceeded(
            f"{found.matched:,} features match; a file has at most {MAX_FEATURES:,}.",
            hint=f"Give limit={MAX_FEATURES} for the first of them, a smaller bbox or a filter; "
            "or take the whole file, the link `enclosure` of the collection.",
            field="limit",
        )


def _has_features(item: Mapping[str, Any]) -> bool:
    return any(kind_of(asset) is AssetKind.GEOPARQUET for asset in item["assets"].values())


def _same(request: Request, here: str, **changed: str) -> str:
    """Return the address of this question, or of the same one with other parameters."""
    left_out = {*changed, "offset"} if "token" in changed else set(changed)
    asked = [(name, value) for name, value in request.query_params.multi_items() if name not in left_out]
    query = urlencode([*asked, *changed.items()])
    return f"{here}?{query}" if query else here


def _answers(*media_types: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media_type: {} for media_type in media_types}}}
