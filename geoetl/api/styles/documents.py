"""Lists of styles and metadata of a style, as documents with links.

Source: OGC API - Styles (20-009, draft), styles.yaml and style-metadata.yaml.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

from geoetl.api.styles.request import ALIASES, CARTOSYM, JSON, offered
from geoetl.core.temporal import utc_text
from geoetl.styles.encoders import ENCODERS
from geoetl.styles.encoders.protocol import Encoded
from geoetl.styles.layer import StyledLayer
from geoetl.styles.library import StoredStyle, StyleSummary

GEOJSON = "application/geo+json"
_GEOMETRIES: Mapping[int | None, str] = {0: "points", 1: "lines", 2: "polygons", None: "any"}
_SCHEMAS: Mapping[str, Mapping[str, str]] = {
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "text": {"type": "string"},
}
_LEGENDS: Mapping[str, str] = {"png": "image/png", "svg": "image/svg+xml", "json": JSON}


class Documents:
    """Writes documents about the styles of one layer.

    Args:
        collections: Address of the collections that the layer is asked below.
        features: Address of the collections of features.
        layer_id: Id of the layer.
        kind: ``vector`` or ``coverage``.
    """

    def __init__(self, collections: str, features: str, layer_id: str, kind: str) -> None:
        self._features = features
        self._layer_id = layer_id
        self._kind = kind
        self.root = f"{collections}/{layer_id}/styles"

    def list(self, styles: Sequence[StyleSummary]) -> dict[str, Any]:
        """Return the styles of the layer, its default at the top."""
        links = [{"rel": "self", "type": JSON, "title": "This document", "href": self.root}]
        return {**style_links(self.root, self._kind, styles, default_as="default"), "links": links}

    def metadata(self, stored: StoredStyle, layer: StyledLayer, encoded: Mapping[str, Encoded]) -> dict[str, Any]:
        """Return what there is to know about a style.

        Args:
            stored: The style.
            layer: What it draws.
            encoded: The style in each encoding, by its name in links.
        """
        here = f"{self.root}/{stored.id}"
        return {
            "id": stored.id,
            **stored.metadata(),
            "created": _time(stored.summary.created),
            "updated": _time(stored.summary.updated),
            "scope": "style",
            "version": str(stored.version),
            "stylesheets": [_stylesheet(here, name, one) for name, one in encoded.items()],
            "layers": [self._layer(stored, layer)],
            "links": [
                {"rel": "self", "type": JSON, "title": "This document", "href": f"{here}/metadata"},
                *_legends(here),
                {"rel": "collection", "type": JSON, "title": "The styles of the layer", "href": self.root},
            ],
        }

    def losses(self, stored: StoredStyle, name: str, encoded: Encoded) -> dict[str, Any]:
        """Return what an encoding of a style leaves out, each with the place in the style and the reason."""
        here = f"{self.root}/{stored.id}"
        links = [
            {"rel": "self", "type": JSON, "title": "This document", "href": f"{here}/losses?f={name}"},
            {"rel": "stylesheet", "type": encoded.media_type, "title": "The style", "href": f"{here}?f={name}"},
        ]
        lost = [{"pointer": loss.pointer, "reason": loss.reason} for loss in encoded.losses]
        return {"style": stored.id, "encoding": name, "lossy": lost, "links": links}

    def _layer(self, stored: StoredStyle, layer: StyledLayer) -> dict[str, Any]:
        used = sorted(set(_properties(stored.style.document())) & set(layer.properties))
        about: dict[str, Any] = {"id": layer.id, "dataType": layer.kind}
        if layer.kind == "vector":
            about["geometryType"] = _GEOMETRIES[layer.dimensions]
        about["propertiesSchema"] = {name: dict(_SCHEMAS[layer.properties[name]]) for name in used}
        if layer.kind == "vector":
            href = f"{self._features}/{layer.id}/items?limit=100"
            about["sampleData"] = {"rel": "start", "type": GEOJSON, "title": "Some of its features", "href": href}
        return about


def located(encoded: Encoded, server: str) -> Encoded:
    """Return an encoded style that says where its tiles are: a client takes relative addresses from its own page.

    Args:
        encoded: The style, in any encoding.
        server: Address of the API, ending in a slash.
    """
    document = encoded.document
    if not isinstance(document, Mapping):
        return encoded
    made = dict(document)
    if "sources" in made:
        made["sources"] = {name: _located(source, server) for name, source in made["sources"].items()}
    if made.get("tileLayer"):
        made["tileLayer"] = _located(made["tileLayer"], server)
    return replace(encoded, document=made)


def _located(source: Mapping[str, Any], server: str) -> dict[str, Any]:
    made = dict(source)
    if "url" in made:
        made["url"] = urljoin(server, made["url"])
    if "tiles" in made:
        made["tiles"] = [urljoin(server, template) for template in made["tiles"]]
    return made


def style_links(
    root: str, kind: str, styles: Sequence[StyleSummary], *, default_as: str = "defaultStyle"
) -> dict[str, Any]:
    """Return styles with their links, and the default by its id, as lists and collections have them.

    Args:
        root: Address of the list.
        kind: ``vector`` or ``coverage``.
        styles: The styles.
        default_as: Name of the member for the default; left out where there is none.
    """
    shown = [
        {"id": one.id, **({"title": one.title} if one.title else {}), "links": _links(f"{root}/{one.id}", kind)}
        for one in styles
    ]
    default = [one.id for one in styles if one.is_default]
    return {**({default_as: default[0]} if default else {}), "styles": shown}


def _links(here: str, kind: str) -> list[dict[str, str]]:
    sheets = [
        {
            "rel": "stylesheet",
            "type": ENCODERS[ALIASES.get(name, name)].media_type,
            "title": ENCODERS[ALIASES.get(name, name)].title,
            "href": f"{here}?f={name}",
        }
        for name in offered(kind)
    ]
    about = {"rel": "describedby", "type": JSON, "title": "About the style", "href": f"{here}/metadata"}
    return [*sheets, about, *_legends(here)]


def _legends(here: str) -> list[dict[str, str]]:
    return [
        {"rel": "preview", "type": media_type, "title": f"Legend ({name})", "href": f"{here}/legend?f={name}"}
        for name, media_type in _LEGENDS.items()
        if name != "json"
    ]


def _stylesheet(here: str, name: str, encoded: Encoded) -> dict[str, Any]:
    encoder = ENCODERS[ALIASES.get(name, name)]
    about: dict[str, Any] = {"title": encoder.title, "specification": encoder.specification}
    if version := _version(encoded):
        about["version"] = version
    return {
        **about,
        "native": name == CARTOSYM,
        "lossy": len(encoded.losses),
        "link": {"rel": "stylesheet", "type": encoded.media_type, "title": encoder.title, "href": f"{here}?f={name}"},
    }


def _version(encoded: Encoded) -> str | None:
    """Return the version of the language of an encoded style, where its media type or the style itself tells."""
    _, found, version = encoded.media_type.partition("version=")
    if found:
        return version.strip('"')
    said = encoded.document.get("version") if isinstance(encoded.document, Mapping) else None
    return None if said is None else str(said)


def _properties(node: Any) -> Iterator[str]:
    """Yield the names of the properties that a style uses."""
    if isinstance(node, Mapping):
        if isinstance(name := node.get("property"), str):
            yield name
        for part in node.values():
            yield from _properties(part)
    elif isinstance(node, list | tuple):
        for part in node:
            yield from _properties(part)


def _time(moment: float) -> str:
    return utc_text(datetime.fromtimestamp(moment, UTC))
