"""Answers in strict JSON, whatever an operation returns."""

from typing import Any

import orjson
from fastapi.responses import JSONResponse


class StrictJSON(JSONResponse):
    """JSON as RFC 8259 has it: NaN and the infinities are null, and halves of surrogate pairs are replaced."""

    def render(self, content: Any) -> bytes:
        """Return the document as bytes."""
        try:
            return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
        except TypeError:
            return orjson.dumps(_plain(content))


def _plain(value: Any) -> Any:
    """Return a document of what JSON has: text that can be encoded, and integers of 64 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_plain(str(name)): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return float(value)
    return value
