"""Answers in strict JSON, whatever an operation returns, and as files that say in their headers what is in them."""

import json
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
from fastapi import Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

if TYPE_CHECKING:
    from geoetl.access.result import Source
    from geoetl.core.spatial import BBox

# What a header may hold as it is: printable ASCII but the sign that begins an escape (RFC 9110, section 5.5).
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
# What a file's name may hold in quotes.
_IN_NAME = "".join(character for character in _PLAIN if character not in '"\\/')


class StrictJSON(JSONResponse):
    """JSON as RFC 8259 has it: NaN and the infinities are null, and halves of surrogate pairs are replaced."""

    def render(self, content: Any) -> bytes:
        """Return the document as bytes."""
        try:
            return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
        except TypeError:
            return orjson.dumps(_plain(content))


class ModelRoute(APIRoute):
    """Answers a model with the JSON that it writes itself.

    A model was checked when it was made. FastAPI would check it again, in a thread of its own, and take it apart first.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        call, without_none = endpoint, bool(options.get("response_model_exclude_none"))

        def written(answer: Any) -> Any:
            if not isinstance(answer, BaseModel):
                return answer
            try:
                return Response(answer.model_dump_json(exclude_none=without_none), media_type="application/json")
            except PydanticSerializationError:
                # Text that UTF-8 cannot hold; StrictJSON replaces it.
                return answer

        @wraps(call)
        def answered(**arguments: Any) -> Any:
            return written(call(**arguments))

        @wraps(call)
        async def answered_at_once(**arguments: Any) -> Any:
            return written(await call(**arguments))

        # The endpoint itself stays as it is, for whoever makes this route anew below a prefix.
        self.dependant.call = answered_at_once if iscoroutinefunction(call) else answered


def file_answer(
    content: bytes,
    media_type: str,
    *,
    source: "Source",
    variable: str,
    units: str | None,
    method: str,
    weighting: str = "none",
    time: str | None = None,
    calendar: str | None = None,
    sel: Mapping[str, str | float | int] | None = None,
    bbox: "BBox | None" = None,
    crs: str | None = None,
    name: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return bytes that say in their headers what they are; text beyond ASCII is percent-encoded, in UTF-8.

    The headers are ``Content-Bbox`` (west,south,east,north in degrees, west > east across the antimeridian),
    ``Content-Crs``, ``X-Collection``, ``X-Item``, ``X-Asset``, ``X-Dataset-Version``, ``X-Variable``, ``X-Units``,
    ``X-Method``, ``X-Weighting``, ``X-Time``, ``X-Calendar`` and ``X-Sel`` (JSON); those of which nothing is known are
    left out.

    Args:
        content: The file.
        media_type: Its media type.
        source: Where the values came from.
        variable: What they are.
        units: Their units.
        method: How they were taken.
        weighting: How they were weighted.
        time: The step's time in its own calendar.
        calendar: CF calendar of the time.
        sel: The values of the extra dimensions.
        bbox: What it covers.
        crs: Projection of its rows and columns.
        name: What a browser calls the file.
        headers: Further ones.
    """
    said = {
        "Content-Bbox": None if bbox is None else ",".join(f"{number:.10g}" for number in bbox.as_list()),
        "Content-Crs": crs,
        "X-Collection": source.collection,
        "X-Item": source.item,
        "X-Asset": source.asset,
        "X-Dataset-Version": source.dataset_version,
        "X-Variable": variable,
        "X-Units": units,
        "X-Method": method,
        "X-Weighting": weighting,
        "X-Time": time,
        "X-Calendar": calendar,
        "X-Sel": json.dumps(dict(sel)) if sel else None,
    }
    known = {header: quote(text, safe=_PLAIN) for header, text in said.items() if text is not None}
    if name is not None:
        known["Content-Disposition"] = f'inline; filename="{quote(name, safe=_IN_NAME)}"'
    return Response(content, media_type=media_type, headers={**known, **(headers or {})})


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
