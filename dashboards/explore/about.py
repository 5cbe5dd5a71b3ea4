"""What is to be known about an item: licence, provenance, extent, assets, as facts that a view lays out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from dashboards.explore.layer import Layer
from dashboards.explore.reading import unit_text
from geoetl.core.html import human_bytes
from geoetl.core.spatial import BBox
from geoetl.core.temporal import STANDARD_CALENDARS

# Names that are said elsewhere on the page, or that only machines read.
_TOLD_ELSEWHERE = frozenset(
    {"title", "description", "datetime", "start_datetime", "end_datetime", "created", "updated", "version"}
    | {"license", "providers"}
)
# Relations that hold the catalogue together, and what has its own line.
_STRUCTURE = frozenset({"self", "root", "parent", "collection", "item", "items", "license", "processing-execution"})
_MACHINE_PREFIXES = ("proj:", "table:", "cube:", "renders", "processing:", "file:", "raster:", "bands")


@dataclass(frozen=True)
class Fact:
    """One line: a name and what it is; `link` leads on."""

    name: str
    value: str
    link: str = ""


@dataclass(frozen=True)
class AssetFact:
    """One file of the item: its address on this server, its size and type in words."""

    title: str
    kind: str
    address: str
    roles: str


@dataclass(frozen=True)
class About:
    """What is to be known about an item.

    Attributes:
        description: In a few sentences, by the item or its collection.
        sections: Titles with their facts, the most wanted first.
        assets: Its files.
    """

    description: str
    sections: tuple[tuple[str, tuple[Fact, ...]], ...]
    assets: tuple[AssetFact, ...]


def about(layer: Layer, collection: Mapping[str, Any]) -> About:
    """Gather what is to be known about the item of a layer."""
    properties: Mapping[str, Any] = layer.item["properties"]
    sections = (
        ("Licence and origin", _origin(layer, collection, properties)),
        ("Place and time", _place_and_time(layer, properties)),
        ("Contents", _contents(layer, properties)),
        ("How it was made", _provenance(layer, properties)),
        ("More", _more(properties)),
        ("Links", _links(layer, collection)),
    )
    return About(
        description=str(properties.get("description") or collection.get("description") or ""),
        sections=tuple((title, tuple(facts)) for title, facts in sections if facts),
        assets=tuple(_asset(layer, name, asset) for name, asset in layer.item["assets"].items()),
    )


def licence_of(properties: Mapping[str, Any], collection: Mapping[str, Any]) -> str:
    """Return the licence as people name it; STAC's "other" says only that the SPDX list has no name for it."""
    licence = str(properties.get("license") or collection.get("license") or "")
    return {"": "not stated", "other": "other (see its source)", "proprietary": "proprietary"}.get(licence, licence)


def extent_words(box: BBox) -> str:
    """Return a box as people write it, in degrees."""
    south, north = _degrees(box.south, "N", "S"), _degrees(box.north, "N", "S")
    return f"{_degrees(box.west, 'E', 'W')} to {_degrees(box.east, 'E', 'W')}, {south} to {north}"


def _degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):.6g}° {positive if value > 0 else negative}" if value else "0°"


def _origin(layer: Layer, collection: Mapping[str, Any], properties: Mapping[str, Any]) -> list[Fact]:
    facts = [Fact("Licence", licence_of(properties, collection))]
    for link in [*layer.item.get("links", ()), *collection.get("links", ())]:
        if link.get("rel") == "license":
            facts = [Fact("Licence", facts[0].value, str(link["href"]))]
    for provider in [*properties.get("providers", ()), *collection.get("providers", ())]:
        roles = ", ".join(provider.get("roles", ()))
        facts.append(Fact(roles.capitalize() or "Provider", str(provider["name"]), str(provider.get("url", ""))))
    facts.append(Fact("Collection", f"{collection.get('title') or layer.collection} ({layer.collection})"))
    facts.append(Fact("Item", layer.id))
    return facts


def _place_and_time(layer: Layer, properties: Mapping[str, Any]) -> list[Fact]:
    facts = [Fact("Extent", extent_words(layer.bbox))]
    code = properties.get("proj:code")
    if code:
        facts.append(Fact("Projection", str(code)))
    start, end = (properties.get(name) for name in ("start_datetime", "end_datetime"))
    if start and end:
        facts.append(Fact("Time", f"{str(start)[:10]} to {str(end)[:10]}"))
    elif properties.get("datetime"):
        facts.append(Fact("Time", str(properties["datetime"])[:10]))
    if layer.contents and layer.contents.times:
        calendar = layer.contents.calendar or "none"
        unusual = "" if calendar in STANDARD_CALENDARS else ", not the usual one"
        facts.append(Fact("Steps", f"{len(layer.contents.times):,}".replace(",", "\u202f")))
        facts.append(Fact("Calendar", calendar + unusual))
    return facts


def _contents(layer: Layer, properties: Mapping[str, Any]) -> list[Fact]:
    if layer.contents:
        facts = [
            Fact(v.title, " x ".join(f"{d} {n}" for d, n in zip(v.dims, v.shape, strict=True)) + _in(v.units))
            for v in layer.contents.variables
        ]
        return [*facts, *(Fact(d.title, f"{len(d.values)} values{_in(d.units)}") for d in layer.contents.dimensions)]
    asset = layer.item["assets"].get("data", {})
    facts = [
        Fact(str(band.get("name") or f"Band {i}"), f"{band.get('data_type', '')}{_in(band.get('unit'))}".strip(", "))
        for i, band in enumerate(asset.get("bands", ()), 1)
    ]
    shape = properties.get("proj:shape")
    if shape:
        facts.append(Fact("Size", f"{shape[1]} x {shape[0]} pixels"))
    if properties.get("table:row_count") is not None:
        columns = properties.get("table:columns", ())
        facts.append(Fact("Features", f"{properties['table:row_count']:,}".replace(",", "\u202f")))
        facts.append(Fact("Attributes", ", ".join(str(column["name"]) for column in columns)))
    return facts


def _in(units: Any) -> str:
    return f", in {unit_text(str(units))}" if units else ""


def _provenance(layer: Layer, properties: Mapping[str, Any]) -> list[Fact]:
    facts = []
    if properties.get("processing:lineage"):
        facts.append(Fact("Lineage", str(properties["processing:lineage"])))
    software: Mapping[str, Any] = properties.get("processing:software") or {}
    if software:
        facts.append(Fact("Software", ", ".join(f"{name} {version}" for name, version in software.items())))
    if any(link.get("rel") == "processing-execution" for link in layer.item.get("links", ())):
        facts.append(Fact("Notebook", "the executed notebook", f"executions/{layer.collection}/{layer.id}"))
    facts += [
        Fact(name.capitalize(), f"{str(properties[name])[:19].replace('T', ' ')} UTC")
        for name in ("created", "updated")
        if properties.get(name)
    ]
    if properties.get("version"):
        facts.append(Fact("Version", str(properties["version"])))
    return facts


def _links(layer: Layer, collection: Mapping[str, Any]) -> list[Fact]:
    links = [*layer.item.get("links", ()), *collection.get("links", ())]
    outside = [link for link in links if str(link.get("href", "")).startswith(("http://", "https://"))]
    return [
        Fact(_words(str(link["rel"])), str(link.get("title") or link["href"]), str(link["href"]))
        for link in outside
        if link.get("rel") not in _STRUCTURE
    ]


def _more(properties: Mapping[str, Any]) -> list[Fact]:
    return [
        Fact(_words(name), _plain(value))
        for name, value in properties.items()
        if name not in _TOLD_ELSEWHERE and not name.startswith(_MACHINE_PREFIXES) and _plain(value)
    ]


def _words(name: str) -> str:
    text = name.rpartition(":")[2].replace("_", " ")
    return text[:1].upper() + text[1:]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {part}" for key, part in value.items() if not isinstance(part, (Mapping, list)))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(str(part) for part in value if not isinstance(part, (Mapping, list)))
    return "" if value is None else str(value)


def _asset(layer: Layer, name: str, asset: Mapping[str, Any]) -> AssetFact:
    kind = media_type_words(str(asset.get("type") or ""))
    size = asset.get("file:size")
    return AssetFact(
        title=str(asset.get("title") or name),
        kind=f"{kind}, {human_bytes(size)}" if size else kind,
        address=f"assets/{layer.collection}/{layer.id}/{quote(name, safe='')}",
        roles=", ".join(asset.get("roles", ())),
    )


def media_type_words(media_type: str) -> str:
    """Return a media type as people call it."""
    known = {
        "image/tiff": "GeoTIFF",
        "image/png": "PNG",
        "image/jpeg": "JPEG",
        "application/json": "JSON",
        "application/geo+json": "GeoJSON",
        "application/vnd.apache.parquet": "GeoParquet",
        "application/vnd.pmtiles": "PMTiles",
        "application/netcdf": "NetCDF",
        "application/x-netcdf": "NetCDF",
    }
    if "cloud-optimized" in media_type:
        return "Cloud-optimised GeoTIFF"
    return known.get(media_type.partition(";")[0].strip(), media_type or "file")
