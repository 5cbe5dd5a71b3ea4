"""STAC documents as the public reads them: with relative addresses, and nothing in them of where things lie inside.

Sources: STAC 1.1.0 and its best practices, "Self-contained Catalogs"; STAC extension file 2.1.0.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from geoetl.core.errors import VerificationFailed
from geoetl.store.catalog.item import FILE, STAC_VERSION, with_extent
from geoetl.store.catalog.static import STRUCTURAL

#: The catalogue of everything, and the document of each collection.
ROOT, COLLECTION = "catalog.json", "collection.json"
#: Which release of an item it is.
RELEASE = "geoetl:release"
# Links of an item that say something to the public; the others are how geoetl itself finds its way.
_OUTWARD = frozenset(
    {"license", "cite-as", "about", "via", "derived_from", "describedby", "related", "help", "documentation", "source"}
)
# What says where else an asset lies: in stores that the public knows nothing of.
_ELSEWHERE = ("alternate", "vrt:hrefs", "storage:")
_SHOWN_OF_COLLECTION = ("title", "description", "license", "providers", "keywords")
# Addresses that lead to a zone, a disk, a store, or into one of GDAL's file systems.
_INSIDE = re.compile(
    r"\b(?:internal|external|file|s3a?|az|azure|abfss?|adl|gs|gcs|memory)://|/vsi\w+/|\bfile:/",
    re.IGNORECASE | re.ASCII,
)
# An address with a user in it, or a query that is signed or names a secret: it opens what is not for the public.
_KEY = re.compile(
    r"://[^/\s@'\"?#]+@"
    r"|[?&][\w.-]*(?:signature|credential|security-token|access_?token|password|secret|api_?key|accesskeyid)="
    r"|[?&](?:sig|token)=",
    re.IGNORECASE | re.ASCII,
)
# A text that is the path of a file, as against one with a slash in it.
_PATH = re.compile(r"(?:/[^/\s]+){2,}/?|~/\S+|[A-Za-z]:\\.*|\\\\[^\\]+\\.*")
_NAME = r"[^\s:\\?#%/]"
# Upwards at the beginning alone; no segment behind is empty or leads elsewhere.
_RELATIVE = re.compile(rf"(?:\./|(?:\.\./)+)?[A-Za-z0-9]{_NAME}*(?:/(?!\.{{1,2}}(?:/|$)){_NAME}+)*", re.ASCII)


@dataclass(frozen=True)
class Terms:
    """Under which terms something may be used.

    Attributes:
        license: SPDX identifier, or "other".
        attribution: Whom to name; empty where nobody is told.
    """

    license: str
    attribution: str


def terms_of(item: Mapping[str, Any], collection: Mapping[str, Any]) -> Terms:
    """Return the terms of an item: what it says itself, as one of a managed dataset does, else its collection."""
    told = item["properties"]
    providers = collection.get("providers") or []
    names = [one["name"] for one in providers if isinstance(one, dict) and isinstance(one.get("name"), str)]
    attribution = told.get("attribution") or collection.get("attribution") or "; ".join(names)
    return Terms(str(told.get("license") or collection.get("license") or "other"), str(attribution))


def public_item(
    item: Mapping[str, Any], assets: Mapping[str, Mapping[str, Any]], terms: Terms, version: int
) -> dict[str, Any]:
    """Return an item as it is served at ``{collection}/{item}/v{version}/{item}.json``.

    Args:
        item: As the catalogue has it.
        assets: With addresses relative to the item.
        terms: Of its use.
        version: Of the release.
    """
    said = {"license": terms.license, **({"attribution": terms.attribution} if terms.attribution else {})}
    properties = {name: value for name, value in item["properties"].items() if not name.startswith(_ELSEWHERE)}
    extensions = [*item.get("stac_extensions", []), *([FILE] if _are_measured(assets) else [])]
    links = [
        _link("root", f"../../../{ROOT}"),
        _link("parent", f"../../{COLLECTION}"),
        _link("collection", f"../../{COLLECTION}"),
    ]
    return {
        **{name: value for name, value in item.items() if name not in ("links", "assets", "properties")},
        "stac_extensions": sorted(dict.fromkeys(extensions)),
        "properties": {**properties, **said, RELEASE: version},
        "links": [*links, *outward_links(item)],
        "assets": {key: dict(asset) for key, asset in assets.items()},
    }


def public_asset(asset: Mapping[str, Any], target: str, **measured: Any) -> dict[str, Any]:
    """Return an asset as it is served beside its item, at a place below the path of the release.

    Args:
        asset: As the catalogue has it.
        target: Its place.
        measured: ``file:size`` and ``file:checksum``, where they are known.
    """
    kept = {name: value for name, value in asset.items() if not name.startswith((*_ELSEWHERE, "file:"))}
    told = {name: value for name, value in measured.items() if value is not None}
    return {**kept, "href": f"./{target}", **told}


def public_collection(collection: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is shown of a collection: no links, and the extent of one item, as others may not be public."""
    shown = {name: collection[name] for name in _SHOWN_OF_COLLECTION if collection.get(name)}
    made = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": collection["id"],
        "description": collection["id"],
        "license": "other",
        **shown,
    }
    return with_extent(made, [item])


def outward_links(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the links of a document that lead to other public places: licences, citations, descriptions."""
    return [
        dict(link)
        for link in document.get("links", [])
        if isinstance(link, dict) and link.get("rel") in _OUTWARD and _is_public_url(link.get("href"))
    ]


def check_item(document: Mapping[str, Any], private: Sequence[str]) -> None:
    """Check that nothing in an item or collection leads inside.

    Args:
        document: As it would be served.
        private: Folders whose paths the public may not see: roots of zones, the home, whatever may be read.

    Raises:
        VerificationFailed: Something does, or is the key to a place; the field says where in the document, not what.
    """
    for key, asset in document.get("assets", {}).items():
        if not is_relative(asset.get("href")):
            raise _told_inside(f"assets.{key}.href")
    for number, link in enumerate(document.get("links", [])):
        is_inner = link.get("rel") in STRUCTURAL
        if not (is_relative(link.get("href")) if is_inner else _is_public_url(link.get("href"))):
            raise _told_inside(f"links.{number}.href")
    for place, text in _texts(document, ""):
        _refuse_key(text, place)
        is_href = place.endswith(".href")
        if _leads_inside(text, private) or (not is_href and _PATH.fullmatch(text)):
            raise _told_inside(place)


def check_style(document: Mapping[str, Any] | str, private: Sequence[str], name: str) -> None:
    """Check that nothing in the document of a style leads inside; a slash may begin a text there.

    Raises:
        VerificationFailed: Something does.
    """
    texts = [(name, document)] if isinstance(document, str) else list(_texts(document, name))
    for place, text in texts:
        _refuse_key(text, place)
        if _leads_inside(text, private):
            raise _told_inside(place)


def is_of_the_web(address: str) -> bool:
    """Tell whether an address is one that browsers take."""
    return address.startswith(("http://", "https://"))


def is_relative(href: object) -> bool:
    """Tell whether an address leads to a place beside or below, or above by ``../`` at its beginning alone."""
    return isinstance(href, str) and bool(_RELATIVE.fullmatch(href))


def _leads_inside(text: str, private: Sequence[str]) -> bool:
    return bool(_INSIDE.search(text) or _beginnings(tuple(private)).search(text))


@lru_cache(maxsize=8)
def _beginnings(private: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds a path below one of some folders; the same words within an address of the web are none."""
    roots = sorted({root.rstrip("/") for root in private if root.rstrip("/")})
    return re.compile(rf"(?<![\w.:/-])(?:{'|'.join(map(re.escape, roots))})(?![\w.-])" if roots else r"(?!)")


def _is_public_url(href: object) -> bool:
    """Tell whether an address is one of the web without a key in it, not of this machine or a network of one's own."""
    if not isinstance(href, str) or _KEY.search(href):
        return False
    try:
        parts = urlsplit(href)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in ("http", "https"):
        return False
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".local", ".internal", ".localhost", ".lan", ".home.arpa"))


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield every text in a document, keys included, with where it stands."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield place, str(key)
            yield from _texts(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{place}.{number}")


def _refuse_key(text: str, place: str) -> None:
    """Do nothing if a text has no address that is a key.

    Raises:
        VerificationFailed: It has one.
    """
    if _KEY.search(text):
        field = _field(place)
        raise VerificationFailed(
            f"What would become public has an address with a password or a signature in it, at '{field}'.",
            hint="Take that address out of the item or its style, then submit it again.",
            field=field,
        )


def _told_inside(place: str) -> VerificationFailed:
    field = _field(place)
    return VerificationFailed(
        f"What would become public leads to a place inside, at '{field}'.",
        hint="Take that address or path out of the item or its style, then submit it again.",
        field=field,
    )


def _field(place: str) -> str:
    """Return where in a document something stands, unless that itself says too much."""
    is_telling = any(pattern.search(place) for pattern in (_INSIDE, _PATH, _KEY))
    return "document" if is_telling else place[:200]


def _are_measured(assets: Mapping[str, Mapping[str, Any]]) -> bool:
    return any(name.startswith("file:") for asset in assets.values() for name in asset)


def _link(rel: str, href: str) -> dict[str, str]:
    return {"rel": rel, "href": href, "type": "application/json"}
