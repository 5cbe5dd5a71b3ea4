"""The description of the API (OpenAPI): every status that an operation may answer, and an example to try.

The examples are questions about what ``geoetl demo`` puts into the catalogue; a test asks each of them.
"""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from geoetl.api.problems import MEDIA_TYPE

# Any question may be refused with these; what they mean is in the answer.
_ANY = (400, 401, 403, 404, 405, 406, 408, 413, 414, 415, 422, 429, 431, 500, 503, 504)
# A question with a body may also meet a state that does not allow it.
_WRITING = (409,)
_METHODS = ("get", "put", "post", "delete", "patch")
_RASTER = {"collection": "demo-rasters", "item": "landsat_rgb", "asset": "data", "location": "-78.5,25.5"}
_CUBE = {
    "collection": "demo-cubes",
    "item": "air_temperature_small",
    "asset": "references",
    "location": "-90,40",
    "time_index": 1,
    "variable": "air",
}
_VECTOR = {"collection": "demo-vectors", "item": "us_states", "asset": "pmtiles", "z": 0, "x": 0, "y": 0}
_STYLES = {"collectionId": "demo-vectors:us_states", "styleId": "default"}
_RELEASE = {"dataset_id": "demo-rasters/landsat_rgb", "release_id": "06h2cq12r170v10cxhb6"}
_TILE = {"tms": "WebMercatorQuad", "z": 0, "x": 0, "y": 0, "format": "png"}
# By the beginning of the path, the longest that fits; each gives the values of parameters by name.
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "/": {},
    "/assets/": _RASTER,
    "/executions/": _RASTER,
    "/api/raster/": {**_RASTER, "bbox": "-78,25,-77.5,25.4"},
    "/api/raster/clip/": {**_RASTER, "boundary_type": "country", "boundary_id": "BHS", "format": "png"},
    "/api/xarray/": {**_CUBE, "start_time": "2014-02", "end_time": "2014-02", "format": "json"},
    "/api/xarray/statistics/": {**_CUBE, "bbox": "-110,30,-90,45", "start_time": "2014-02", "format": "json"},
    "/api/xarray/aggregate/": {**_CUBE, "bbox": "-110,30,-90,45", "start_time": "2014-02", "format": "json"},
    "/api/boundaries/": {"boundary_type": "country", "boundary_id": "FRA"},
    "/api/pipelines": {"pipeline": "ingest-raster"},
    "/api/runs": {
        "run_id": "latest",
        "state": "failed",
        "pipeline": "ingest-raster",
        "limit": 20,
        "follow": False,
    },
    "/api/schedules": {"name": "purge-events"},
    "/api/curated/datasets": {"dataset_id": "admin0", "enabled_only": True, "number": 1, "limit": 20},
    "/api/cleanup/": {"limit": 20, "cleanup_id": "06h2cq12r170v10cxhb6"},
    "/api/publish/": {**_RELEASE, "state": "pending_review", "action": "approve", "f": "csv", "limit": 20},
    "/api/platform/": {**_RELEASE, "stac_item_ids": _RELEASE["dataset_id"], "state": "published", "limit": 20},
    "/tiles/cube/": {**_CUBE, **_TILE},
    "/tiles/raster/": {**_RASTER, **_TILE},
    "/tiles/vector/": _VECTOR,
    "/features": {"collectionId": "demo-vectors:us_states", "featureId": "0", "sortby": "state", "properties": "state"},
    "/features/collections/{collectionId}/styles": _STYLES,
    "/collections/": _STYLES,
    "/stac/": {"collection_id": "demo-rasters", "item_id": "landsat_rgb"},
}
# Where there is nothing to ask with, what is answered; by the path.
ANSWERS: Mapping[str, Any] = {
    "/api/livez": {"status": "ok", "version": "0.1.0"},
    "/livez": {"status": "ok", "version": "0.1.0"},
    "/readyz": {"status": "ok", "checks": [{"name": "database", "ok": True}]},
    "/api/readyz": {"status": "ok", "checks": [{"name": "database", "ok": True, "detail": "SQLite 3.40"}]},
    "/metrics": "geoetl_http_requests_total 42.0",
    "/api/places": {"places": [{"name": "paris", "title": "Paris", "location": [2.3522, 48.8566], "aliases": []}]},
    "/stac/": {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": "geoetl",
        "description": "Rasters, vectors and climate cubes, with where they came from.",
        "conformsTo": ["https://api.stacspec.org/v1.0.0/core"],
        "links": [{"rel": "data", "type": "application/json", "href": "https://geo.example.org/stac/collections"}],
    },
    "/features": {
        "title": "Features of geoetl",
        "links": [{"rel": "data", "type": "application/json", "href": "https://geo.example.org/features/collections"}],
    },
    "/features/collections": {
        "links": [],
        "collections": [
            {"id": "demo-vectors:us_states", "title": "States of the USA", "itemType": "feature", "links": []}
        ],
    },
    "/features/conformance": {"conformsTo": ["http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core"]},
    "/api/pipelines": {
        "pipelines": [
            {
                "name": "ingest-raster",
                "title": "Ingest a raster",
                "summary": "From a file to a Cloud Optimized GeoTIFF in the catalogue.",
                "parameters": {"type": "object", "properties": {"source": {"type": "string"}}, "required": ["source"]},
            }
        ]
    },
    "/api/schedules": {
        "schedules": [
            {
                "name": "check-admin0",
                "title": "Look for a new release: Countries of the world",
                "kind": "function",
                "target": "check-dataset",
                "parameters": {"dataset_id": "admin0"},
                "cron": "15 2 * * 1",
                "is_paused": False,
                "next_slot": 1767579300,
                "latest": None,
            }
        ]
    },
    "/api/cleanup/status": {
        "running": [],
        "waiting": 0,
        "latest": None,
        "latest_real": None,
        "schedules": {"clean-up": 1767577500},
    },
    "/api/publish/audit/verify": {
        "is_intact": True,
        "rows": 42,
        "head": {"number": 42, "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
        "kept": {"number": 40, "hash": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"},
        "fault": None,
    },
    "/api/styles/leaflet-style.js": "export function leafletOptions(L, document, zoomOf) {}",
    "/stac/conformance": {"conformsTo": ["https://api.stacspec.org/v1.0.0/core"]},
    "/stac/queryables": {"type": "object", "properties": {"eo:cloud_cover": {"type": "number"}}},
    "/stac/sortables": {"type": "object", "properties": {"datetime": {"type": "string", "format": "date-time"}}},
}
# Besides 200: an unchanged file is not sent again, and a part of one may be asked for.
_FURTHER: Mapping[str, tuple[int, ...]] = {
    "/assets/": (206, 304, 416),
    "/executions/": (206, 304, 416),
    "/api/raster/preview": (304,),
    "/api/raster/extract": (304,),
    "/tiles/cube/{collection}/{item}/{tms}/{z}": (304,),
    "/tiles/raster/{collection}/{item}/{tms}/{z}": (304,),
    "/tiles/vector/{collection}/{item}/{z}": (204, 304),
    "/features/collections/{collectionId}/items": (409,),
    "/features/collections/{collectionId}/styles": (304, 412),
    "/collections/{collectionId}/styles": (304, 412),
    "/api/styles/": (304,),
    "/api/curated/datasets/{dataset_id}": (412,),
    "/api/runs/{run_id}/events": (204,),
    "/api/publish/releases/{release_id}": (304,),
    "/api/platform/approvals/{release_id}": (304,),
}

_PROBLEM: Mapping[str, Any] = {
    "type": "object",
    "description": "What is wrong, and what to do (RFC 9457)",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "error": {"type": "string", "description": "The same as detail"},
        "code": {"type": "string", "description": "Stable, for programs"},
        "field": {"type": ["string", "null"], "description": "The parameter, or a pointer into the body"},
        "hint": {"type": ["string", "null"], "description": "The next step"},
        "request_id": {"type": "string"},
        "present": {
            "type": "object",
            "description": "The release as it stands, where it does not allow this",
        },
    },
    "example": {
        "type": "urn:geoetl:problem:not_found",
        "title": "Not found",
        "status": 404,
        "detail": "There is no collection 'demo-raster'.",
        "error": "There is no collection 'demo-raster'.",
        "code": "not_found",
        "field": "collection",
        "hint": "Did you mean 'demo-rasters'?",
        "request_id": "0kqm4vhwt6yzj1b2c3d4",
    },
}


def describe(app: FastAPI, description: str) -> None:
    """Let the application describe itself with all statuses and with examples.

    Args:
        app: With all of its routes.
        description: What the API is for.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=description,
                routes=app.routes,
                openapi_version="3.1.0",
            )
            _complete(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and description of each operation."""
    for path, described in document["paths"].items():
        for method in _METHODS:
            if method in described:
                yield method, path, described[method]


def _complete(document: dict[str, Any]) -> None:
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "geoetl tokens create"},
        "session": {"type": "apiKey", "in": "cookie", "name": "geoetl_session", "description": "Signed in at /login"},
    }
    document["security"] = [{"token": []}, {"session": []}]
    problem = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for method, path, operation in operations(document):
        responses = operation.setdefault("responses", {})
        for status in (*_ANY, *(_WRITING if method != "get" else ())):
            responses[str(status)] = {"description": HTTPStatus(status).phrase, **problem}
        for start, statuses in _FURTHER.items():
            if path.startswith(start):
                responses |= {str(status): {"description": HTTPStatus(status).phrase} for status in statuses}
        if path in ANSWERS and method == "get":
            for content in responses["200"].setdefault("content", {"application/json": {}}).values():
                content["example"] = ANSWERS[path]
        for parameter in operation.get("parameters", ()):
            value = _example(path, parameter["name"])
            if value is not None:
                parameter["example"] = value
            elif examples := parameter["schema"].get("examples"):
                parameter["example"] = examples[0]
    components["schemas"].pop("HTTPValidationError", None)
    components["schemas"].pop("ValidationError", None)


def _example(path: str, name: str) -> Any:
    fitting = max((start for start in EXAMPLES if path.startswith(start)), key=len)
    return EXAMPLES[fitting].get(name)
