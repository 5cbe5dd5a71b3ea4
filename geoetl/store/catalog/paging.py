"""Tokens of keyset paging: where a page ended, signed, so that a changed or foreign token is refused.

A token holds the sort values and identity of the last item.  The next page begins after them, wherever they lie by
then: items that are inserted or deleted in between neither shift nor repeat the others.
"""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from geoetl.core.errors import InvalidParameter
from geoetl.core.identifiers import canonical_json
from geoetl.store.catalog.protocol import Search

_SIGNATURE_BYTES = 16


@dataclass(frozen=True)
class Position:
    """Where a page ended.

    Attributes:
        values: The last item's value of each key of the order, None where it lacks it.
        matched: The count made with the first page, if any.
    """

    values: tuple[Any, ...]
    matched: int | None


def write_token(position: Position, search: Search, secret: bytes) -> str:
    """Return the opaque, URL-safe text of a position in a search."""
    body = json.dumps([position.matched, *position.values], ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_sign(body, search, secret) + body).decode().rstrip("=")


def read_token(token: str, search: Search, secret: bytes, keys: int) -> Position:
    """Return the position in a token that was written for the same search.

    Raises:
        InvalidParameter: It was changed, or belongs to another search.
    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if hmac.compare_digest(signature, _sign(body, search, secret)):
            matched, *values = json.loads(body)
            if len(values) == keys:
                return Position(tuple(values), matched)
    except ValueError:
        pass  # no base64 or no JSON: refused like any other changed token
    raise InvalidParameter(
        "The token is not one that this search was given.",
        hint="Start again without a token, and change nothing but the token from page to page.",
        field="token",
    )


def _sign(body: bytes, search: Search, secret: bytes) -> bytes:
    # The size of a page and counting may change on the way; what is looked for and its order may not.
    same = search.model_dump(mode="json", exclude={"token", "limit", "count"})
    message = canonical_json(same).encode() + b"\0" + body
    return hmac.new(secret, message, hashlib.sha256).digest()[:_SIGNATURE_BYTES]
