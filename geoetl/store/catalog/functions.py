"""Functions that SQLite lacks, made known on a connection: shapes, times, letters, arithmetic.

A function that cannot say anything about its arguments returns None (NULL, "unknown"); it never raises, because SQLite
would end the whole statement.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy.engine import Connection

from geoetl.core import letters
from geoetl.core.errors import InvalidTime
from geoetl.store.catalog.validation import instant_us

# Candidates of a box lie all over the file: mapped, each costs a look instead of a system call (a fifth of a search
# among a million items).  Only as much as the file has is mapped.
MAPPED_BYTES = 2 * 1024**3
# Literals of a few statements; each prepared shape takes some kB.
_SHAPES_KEPT = 64
_KNOWN = "geoetl_catalog_functions"

# With the literal (prepared) as the first argument, so that "within" is asked as "contains".
_PREDICATES: dict[str, Callable[[BaseGeometry, BaseGeometry], Any]] = {
    "s_intersects": shapely.intersects,
    "s_contains": shapely.within,
    "s_within": shapely.contains,
    "s_equals": shapely.equals,
    "s_touches": shapely.touches,
    "s_crosses": shapely.crosses,
    "s_overlaps": shapely.overlaps,
}


def register(connection: Connection) -> None:
    """Make the functions known on this connection, and map its file; the second call for the same does nothing."""
    proxied = connection.connection
    if proxied.info.get(_KNOWN):
        return
    raw: Any = proxied.driver_connection
    raw.execute(f"pragma mmap_size = {MAPPED_BYTES}")
    raw.create_function("geoetl_spatial", 3, _spatial(), deterministic=True)
    raw.create_function("geoetl_instant", 1, instant, deterministic=True)
    raw.create_function("geoetl_casei", 1, casei, deterministic=True)
    raw.create_function("geoetl_accenti", 1, accenti, deterministic=True)
    raw.create_function("geoetl_power", 2, power, deterministic=True)
    raw.create_function("geoetl_modulo", 2, modulo, deterministic=True)
    raw.create_function("geoetl_div", 2, div, deterministic=True)
    proxied.info[_KNOWN] = True


def _spatial() -> Callable[[str, bytes | None, bytes | None], int | None]:
    @lru_cache(maxsize=_SHAPES_KEPT)
    def literal(wkb: bytes) -> BaseGeometry:
        shape = shapely.from_wkb(wkb)
        shapely.prepare(shape)
        return shape

    def spatial(name: str, footprint: bytes | None, wkb: bytes | None) -> int | None:
        if footprint is None or wkb is None:
            return None
        try:
            return int(_PREDICATES[name](literal(wkb), shapely.from_wkb(footprint)))
        except shapely.errors.GEOSException:
            return None

    return spatial


def instant(text: Any) -> int | None:
    """Return an RFC 3339 time, or a date as its first moment, in microseconds since 1970 UTC."""
    if not isinstance(text, str):
        return None
    try:
        return instant_us("", f"{text}T00:00:00Z" if len(text) == 10 else text, "")
    except InvalidTime:
        return None


def casei(text: Any) -> str | None:
    """Return a text without the difference of upper and lower case (Unicode case folding)."""
    return letters.casei(text) if isinstance(text, str) else None


def accenti(text: Any) -> str | None:
    """Return a text without its accents."""
    return letters.accenti(text) if isinstance(text, str) else None


def power(base: Any, exponent: Any) -> float | None:
    """Return a power; None where it is no finite real number."""
    return _finite(math.pow, base, exponent)


def modulo(dividend: Any, divisor: Any) -> float | None:
    """Return the rest of a division, with the sign of the dividend as in SQL."""
    return _finite(math.fmod, dividend, divisor)


def div(dividend: Any, divisor: Any) -> float | None:
    """Return the whole part of a quotient."""
    return _finite(lambda a, b: float(math.trunc(a / b)), dividend, divisor)


def _finite(function: Callable[[float, float], float], a: Any, b: Any) -> float | None:
    if not isinstance(a, int | float) or not isinstance(b, int | float):
        return None
    try:
        result = function(float(a), float(b))
    except (ArithmeticError, ValueError):
        return None
    return result if math.isfinite(result) else None
