"""Landing page, collections and their properties, as documents with links."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from geoetl.access.features import FeatureDescription
from geoetl.access.items import AssetKind, kind_of
from geoetl.api.features.conformance import classes
from geoetl.api.features.crs import CRS84_URI, ReferenceSystems, uri_of
from geoetl.api.stac.documents import STYLES_REL
from geoetl.api.styles.documents import style_links
from geoetl.styles.library import StyleSummary

PREFIX = "/features"
JSON, GEOJSON, SCHEMA_JSON = "application/json", "application/geo+json", "application/schema+json"
CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
OPENAPI = "application/vnd.oai.openapi+json;version=3.1"
_OGC_REL = "http://www.opengis.net/def/rel/ogc/1.0/"
# The forms that features come in, by what is asked for with `f`.
FORMATS: Mapping[str, str] = {"geojson": GEOJSON, "csv": CSV, "parquet": PARQUET}
TITLES: Mapping[str, str] = {"geojson": "GeoJSON", "csv": "CSV", "parquet": "GeoParquet"}
Styles = Mapping[str, Sequence[StyleSummary]]
_GEOMETRY: Mapping[str, Any] = {
    "title": "Geometry",
    "format": "geometry-any",
    "x-ogc-role": "primary-geometry",
    "$ref": "https://geojson.org/schema/Geometry.json",
}


class Documents:
    """Writes documents for one request.

    Args:
        server: Address of the server, with a slash at its end.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self.root = f"{server}{PREFIX.strip('/')}"

    def landing_page(self) -> dict[str, Any]:
        """Return what there is."""
        return {
            "title": "Features of geoetl",
            "description": "Vector datasets of the catalogue, feature by feature.",
            "links": [
                {"rel": "self", "type": JSON, "title": "This document", "href": self.root},
                {"rel": "service-desc", "type": OPENAPI, "title": "OpenAPI", "href": f"{self._server}api/openapi.json"},
                {"rel": "service-doc", "type": "text/html", "title": "Documentation", "href": f"{self._server}docs"},
                {"rel": "conformance", "type": JSON, "title": "Conformance", "href": f"{self.root}/conformance"},
                {"rel": "data", "type": JSON, "title": "Collections", "href": f"{self.root}/collections"},
                {"rel": "related", "type": JSON, "title": "The STAC API", "href": f"{self._server}stac/"},
            ],
        }

    def conformance(self, *, writing: bool) -> dict[str, Any]:
        """Return the classes that are kept by a server that writes, or only reads."""
        return {"conformsTo": classes(writing=writing)}

    def collections(
        self, items: Iterable[Mapping[str, Any]], styles: Styles, here: str, next_page: str | None
    ) -> dict[str, Any]:
        """Return a page of collections.

        Args:
            items: Their STAC items.
            styles: The styles of each, by its id.
            here: Address of the page.
            next_page: Address of the next, where there is one.
        """
        links = [{"rel": "self", "type": JSON, "title": "This document", "href": here}]
        if next_page:
            links.append({"rel": "next", "type": JSON, "title": "More collections", "href": next_page})
        systems = ReferenceSystems("")
        return {
            "links": links,
            "crs": systems.uris,
            "collections": [self.collection(item, styles) for item in items],
        }

    def collection(
        self, item: Mapping[str, Any], styles: Styles, about: FeatureDescription | None = None
    ) -> dict[str, Any]:
        """Return a collection.

        Args:
            item: Its STAC item.
            styles: Its styles, by its id.
            about: What its file says; left out, only what the item says is told.
        """
        names = f"{item['collection']}/{item['id']}"
        own_id = f"{item['collection']}:{item['id']}"
        here = f"{self.root}/collections/{own_id}"
        properties: Mapping[str, Any] = item["properties"]
        said = properties.get("proj:code")
        own = about.crs if about else said if isinstance(said, str) else "OGC:CRS84"
        systems = ReferenceSystems(own)
        document = {
            "id": own_id,
            "title": str(properties.get("title") or item["id"]),
            "description": str(properties.get("description") or f"Features of {names} in the catalogue."),
            "extent": _extent(item, about),
            "itemType": "feature",
            "crs": systems.uris,
            "links": [
                {"rel": "self", "type": JSON, "title": "This collection", "href": here},
                *(
                    {"rel": "items", "type": media_type, "title": TITLES[name], "href": f"{here}/items?f={name}"}
                    for name, media_type in FORMATS.items()
                ),
                {
                    "rel": f"{_OGC_REL}queryables",
                    "type": SCHEMA_JSON,
                    "title": "Filter by",
                    "href": f"{here}/queryables",
                },
                {"rel": f"{_OGC_REL}sortables", "type": SCHEMA_JSON, "title": "Sort by", "href": f"{here}/sortables"},
                {"rel": "describedby", "type": SCHEMA_JSON, "title": "Properties", "href": f"{here}/schema"},
                {"rel": STYLES_REL, "type": JSON, "title": "Styles", "href": f"{here}/styles"},
                {
                    "rel": "via",
                    "type": GEOJSON,
                    "title": "STAC item",
                    "href": f"{self._server}stac/collections/{item['collection']}/items/{item['id']}",
                },
                *self._files(item, names),
            ],
            **style_links(f"{here}/styles", "vector", styles.get(own_id, ())),
        }
        if uri := uri_of(own):
            document["storageCrs"] = uri
        return document

    def _files(self, item: Mapping[str, Any], names: str) -> list[dict[str, Any]]:
        links: list[dict[str, Any]] = []
        for key, asset in item["assets"].items():
            kind = kind_of(asset)
            if kind in (AssetKind.GEOPARQUET, AssetKind.PMTILES):
                href = f"{self._server}assets/{names}/{key}"
                title = asset.get("title") or key
                links.append({"rel": "enclosure", "type": asset["type"], "title": title, "href": href})
            if kind is AssetKind.PMTILES:
                href = f"{self._server}tiles/vector/{names}/tilejson.json"
                links.append({"rel": f"{_OGC_REL}tilesets-vector", "type": JSON, "title": "Vector tiles", "href": href})
        return links

    def schema(self, about: FeatureDescription, here: str, *, only_sortable: bool, strict: bool) -> dict[str, Any]:
        """Return the properties of features as a JSON Schema.

        Args:
            about: What they have.
            here: Address of the document.
            only_sortable: Whether to leave out what has no order, geometries too.
            strict: Whether other properties are refused.
        """
        properties = {one.name: one.values for one in about.properties if one.sortable or not only_sortable}
        if about.id_property in properties:
            properties[about.id_property] = {**properties[about.id_property], "x-ogc-role": "id"}
        begins, ends = about.time_properties or ("", "")
        roles = (
            {begins: "primary-instant"} if begins == ends else dict.fromkeys((begins, ends), "primary-interval-start")
        )
        if begins != ends:
            roles[ends] = "primary-interval-end"
        for name, role in roles.items():
            if name in properties:
                properties[name] = {**properties[name], "x-ogc-role": role}
        geometry = {} if only_sortable else {about.geometry: _GEOMETRY}
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": here,
            "type": "object",
            "title": f"Features of {about.source}",
            "properties": {**geometry, **properties},
            "additionalProperties": not strict,
        }


def _extent(item: Mapping[str, Any], about: FeatureDescription | None) -> dict[str, Any]:
    extent: dict[str, Any] = {}
    if item.get("bbox"):
        box = item["bbox"]
        extent["spatial"] = {"bbox": [box if len(box) == 4 else [*box[:2], *box[3:5]]], "crs": CRS84_URI}
    if about is not None and about.time_range:
        ends = [time if time.endswith("Z") or "+" in time else _zoned(time) for time in about.time_range]
        extent["temporal"] = {"interval": [ends], "trs": "http://www.opengis.net/def/uom/ISO-8601/0/Gregorian"}
    return extent


def _zoned(time: str) -> str:
    """Return a time of a file that names no zone as in UTC, as filters read it; a date as its first moment."""
    return f"{time}T00:00:00Z" if len(time) == 10 else f"{time}Z"
