"""Ids and digests: what names an object, and what proves that it has not changed."""

import hashlib
import json
import os
import re
import secrets
import time
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any

from geoetl.core.errors import InvalidParameter

# Longest id: leaves room for a digest and a suffix within the 255 bytes of a file name.
MAX_ID_LENGTH = 200
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
# Names that are devices on Windows, with or without a suffix: such a file could not be copied there.
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def check_id(text: str, field: str = "id") -> str:
    """Return `text` if it is a safe id of a collection, item or run.

    An id is ASCII letters, digits, ``.``, ``_`` and ``-``, starts with a letter or digit, has no ``..`` and does not
    end in a dot, so that it is one safe path segment on every file system and in every URL.

    Raises:
        InvalidParameter: It is not; the hint offers the nearest id that is.
    """
    if len(text) <= MAX_ID_LENGTH and _is_id(text):
        return text
    shown = text if len(text) <= 60 else f"{text[:60]}…"
    raise InvalidParameter(
        f"{shown!r} is not a valid {field}: use letters, digits, '.', '_' and '-' (at most {MAX_ID_LENGTH}), "
        "beginning with a letter or digit.",
        hint=f"For example '{slug(text)}'.",
        field=field,
    )


# The segments of addresses are ids, and most of them come again and again.
@lru_cache(maxsize=4096)
def _is_id(text: str) -> bool:
    return bool(_ID.fullmatch(text)) and ".." not in text and not _RESERVED.fullmatch(text)


def slug(text: str) -> str:
    """Return the nearest valid id to `text`; never empty."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    parts = re.sub(r"[^A-Za-z0-9._-]+", "-", ascii_text)
    clean = re.sub(r"\.{2,}", ".", parts)[:MAX_ID_LENGTH].strip("-._")
    if not clean:
        return f"id-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return f"id-{clean}" if _RESERVED.fullmatch(clean) else clean


def canonical_json(value: Any) -> str:
    """Return `value` as JSON with sorted keys and no spaces, so that equal values give equal text.

    Raises:
        ValueError: The value holds NaN or an infinity, which JSON does not have.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Return the sha256 (64 hex digits) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of the bytes of a file in hex digits; of a sha256, 64."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def new_id() -> str:
    """Return a new id of 20 characters that sorts by the time it was made (48 bits of milliseconds, 52 random)."""
    value = (time.time_ns() // 1_000_000) << 52 | secrets.randbits(52)
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(95, -1, -5))


def fingerprint(path: Path) -> str:
    """Return a cheap digest of a file or folder by names, sizes and modification times; no content is read.

    The companions of a file count too (``x.dbf`` and ``x.prj`` beside ``x.shp``, ``x.tif.msk`` beside ``x.tif``).
    """
    if path.is_file():
        related = (path.stem + ".", path.name + ".")
        files = sorted(p for p in path.parent.iterdir() if p == path or (p.name.startswith(related) and p.is_file()))
    else:
        files = sorted(p for p in path.rglob("*") if p.is_file())
    stats = ((os.fspath(p), p.stat()) for p in files)
    return digest([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])
