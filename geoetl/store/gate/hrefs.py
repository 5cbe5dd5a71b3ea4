"""Addresses that a STAC document names: looked at before it is registered, without opening or asking anything."""

import ipaddress
import re
import socket
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from geoetl.core.errors import OutsideAllowedRoots, UnreadableFile
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.places import SAMPLE_SCHEME, Places
from geoetl.store.gate.references import check_references

# What a link may lead to elsewhere. geoetl itself never follows one: its readers open what lies in the roots and zones.
_ELSEWHERE = frozenset({"http", "https", "s3", "gs", "az", "abfs", "abfss"})
_OWN_ZONES = ("internal://", "external://")
# Names of this machine and of networks that are nobody else's (RFC 6761, RFC 6762, ICANN 2024), and what clouds answer
# with their credentials.
_OWN_NAMES = re.compile(
    r"(^|\.)(localhost|localdomain|local|internal|intranet|lan|home|corp|private|home\.arpa)$|^metadata(\.|$)"
)
# Media types and roles of references (xpystac's convention), which name further files.
_REFERENCE_ROLES = frozenset({"references", "index"})
_MAX_HREF = 4096
# The ideographic full stop, which separates labels like a dot (IDNA 2003, section 3.1).
_WIDE_DOT = "\u3002"
_MAX_DEPTH = 32


def check_href(href: str, places: Places, field: str) -> None:
    """See `Gate.check_href`."""
    if len(href) > _MAX_HREF or any(ord(sign) < 32 or ord(sign) == 127 or sign == "\\" for sign in href):
        raise _refused(
            href, "is not an address", "Give a path or a URL of printable signs, with / between names.", field
        )
    if href.startswith(_OWN_ZONES) and ".." not in href.split("/"):
        return
    scheme, separator, _ = href.partition("://")
    if href.startswith(SAMPLE_SCHEME):
        return
    if separator and scheme.lower() in _ELSEWHERE:
        _check_host(href, field)
        return
    places.check_local(href, field)


def check_item(item: Mapping[str, Any], places: Places, limits: LimitSettings) -> None:
    """See `Gate.check_item`."""
    for field, holder in _addressed(item, "", 0):
        href = holder["href"]
        if not isinstance(href, str):
            raise _refused(str(href), "is not an address", "Give a path or a URL.", f"{field}.href")
        if field.startswith("links") and "://" not in href and not href.startswith("/"):
            # Relative links lead from document to document (STAC best practices), not to files that are read.
            if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|<|\{", href):
                raise _refused(href, "is not an address", "Give a path or a URL.", f"{field}.href")
            continue
        check_href(href, places, f"{field}.href")
        if field.startswith("assets") and _REFERENCE_ROLES & set(_texts(holder.get("roles"))):
            _check_references(href, places, limits)


def _check_references(href: str, places: Places, limits: LimitSettings) -> None:
    if "://" in href and not href.startswith("file://"):
        return  # a zone's, which geoetl wrote; or elsewhere, where nothing is opened
    path = places.resolve(href, field="assets")
    if path.is_dir() and not (path / ".zmetadata").is_file():
        return  # another kind of store, which is looked at when it is opened
    check_references(path, places, limits)


def _addressed(node: Any, field: str, depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every object with an ``href`` in a document, with its place."""
    if depth > _MAX_DEPTH:
        raise UnreadableFile(
            f"The document is nested deeper than {_MAX_DEPTH} levels.", hint="Flatten it.", field=field[:80]
        )
    if isinstance(node, Mapping):
        if "href" in node:
            yield field, node
        for name, value in node.items():
            yield from _addressed(value, f"{field}.{name}" if field else str(name), depth + 1)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _addressed(value, f"{field}.{index}", depth + 1)


def _texts(value: Any) -> list[str]:
    return [part for part in value if isinstance(part, str)] if isinstance(value, list) else []


def _check_host(href: str, field: str) -> None:
    """Refuse a URL whose host is this machine, its network, or written so that one may not see which it is."""
    try:
        parts = urlsplit(href)
        host = unicodedata.normalize("NFKC", parts.hostname or "").replace(_WIDE_DOT, ".").rstrip(".")
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        raise _refused(href, "is not an address", "Correct the URL.", field) from None
    if not host or not port_is_right or "@" in parts.netloc or "%" in host:
        raise _refused(href, "is not an address", "Give a URL with a plain host name, without user or password.", field)
    if _is_inside(host) or (parts.scheme in ("http", "https") and "." not in host and ":" not in host):
        raise _refused(
            href,
            "leads to this machine or its own network",
            "Give an address that others reach, or the path of a file in the folders that may be read.",
            field,
        )


def _is_inside(host: str) -> bool:
    if _OWN_NAMES.search(host.lower()):
        return True
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(host)
    except ValueError:
        # 127.1, 0x7f000001, 2130706433 and 0177.0.0.1 are addresses for every C library; names do not end in a digit.
        if not re.search(r"(^|\.)(0x[0-9a-f]*|[0-9]+)$", host.lower()):
            return False
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return True
    mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
    return not mapped.is_global or mapped.is_multicast


def _refused(href: str, what: str, hint: str, field: str) -> OutsideAllowedRoots:
    shown = "".join(sign if sign.isprintable() else "?" for sign in href[:80])
    return OutsideAllowedRoots(f"'{shown}' {what}.", hint=hint, field=field)
