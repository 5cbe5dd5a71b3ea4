"""Errors as a client meets them: ``application/problem+json`` (RFC 9457), never a stack, a path or SQL.

`install` gives an application the handlers; `respond` makes the answer for whoever stands outside of the routes;
`of_exception` finds the problem behind any exception at all.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geoetl.api.methods import taken
from geoetl.core.errors import (
    Conflict,
    GeoetlError,
    InputError,
    InvalidFilter,
    InvalidParameter,
    LimitExceeded,
    NotFound,
    Unavailable,
)
from geoetl.core.identifiers import new_id
from geoetl.core.principal import Forbidden, Unauthenticated

_log = logging.getLogger("geoetl.api")
MEDIA_TYPE = "application/problem+json"
# The same question may be asked again after this time.
RETRY_AFTER_S = 5
REQUEST_ID = "X-Request-ID"
# More errors of one request than this help nobody.
MAX_ERRORS = 20
MAX_DETAIL = 400
MAX_SHOWN = 60
# Of a bare error of a library these headers are kept.
KEPT_HEADERS = ("allow", "retry-after", "www-authenticate", "content-range", "set-cookie", "accept-encoding")
# Half of a surrogate pair is no text and cannot be sent.
_SURROGATE = re.compile("[\ud800-\udfff]")
_PATH = re.compile(r"(?<![\w:/])/(?:[\w.+@~-]+/)+[\w.+@~-]*")


class InvalidJson(InputError):
    """A body is no JSON, or is JSON that programs read in different ways."""

    code = "invalid_json"
    title = "The body is not right"


class NotAcceptable(GeoetlError):
    """The answer does not exist in the wanted form."""

    code = "not_acceptable"
    title = "There is no answer in that form"
    status = 406
    exit_code = 2


class MethodNotAllowed(GeoetlError):
    """The address exists and does not take this verb."""

    code = "method_not_allowed"
    title = "This address does not take that verb"
    status = 405
    exit_code = 2


class TooSlow(GeoetlError):
    """A request did not arrive in time."""

    code = "request_timeout"
    title = "The request did not arrive in time"
    status = 408
    exit_code = 6
    retryable = True


class AddressTooLong(LimitExceeded):
    """A URL or its query is longer than the server reads."""

    code = "address_too_long"
    title = "The address is too long"
    status = 414


class HeadersTooLarge(LimitExceeded):
    """The headers are larger than the server reads."""

    code = "headers_too_large"
    title = "The headers are too large"
    status = 431


class UnsupportedMediaType(InputError):
    """A body is of a type that the operation does not take."""

    code = "unsupported_media_type"
    title = "A body of this type is not taken"
    status = 415


class RangeNotSatisfiable(InputError):
    """The wanted part lies outside of the file."""

    code = "range_not_satisfiable"
    title = "There is no such part"
    status = 416


class TooManyRequests(GeoetlError):
    """One client asked too often."""

    code = "too_many_requests"
    title = "Too many requests"
    status = 429
    exit_code = 6
    retryable = True


class Busy(Unavailable):
    """As much is being worked out as the server does at a time."""

    code = "busy"
    title = "The server is busy"


class TimedOut(Unavailable):
    """The answer was not ready in time."""

    code = "timeout"
    title = "This took too long"


class UpstreamTimedOut(Unavailable):
    """Another server did not answer in time."""

    code = "upstream_timeout"
    title = "Another server did not answer in time"
    status = 504


class Unexpected(GeoetlError):
    """A fault of the server."""

    code = "unexpected"
    title = "Something went wrong on the server"


_OF_STATUS: dict[int, type[GeoetlError]] = {
    400: InputError,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    406: NotAcceptable,
    408: TooSlow,
    409: Conflict,
    413: LimitExceeded,
    414: AddressTooLong,
    415: UnsupportedMediaType,
    416: RangeNotSatisfiable,
    422: InvalidParameter,
    424: Unavailable,
    429: TooManyRequests,
    431: HeadersTooLarge,
    503: Unavailable,
    504: UpstreamTimedOut,
}

# Errors of libraries, by the names of their modules and classes, so that nothing is imported to tell them apart.
_OF_NAME: dict[str, tuple[type[GeoetlError], str]] = {
    "stac_fastapi.NotFoundError": (NotFound, "There is no such collection or item."),
    "stac_fastapi.ConflictError": (Conflict, "It exists already."),
    "stac_fastapi.ForeignKeyError": (NotFound, "The collection does not exist."),
    "stac_fastapi.DatabaseError": (Unavailable, "The catalogue cannot be reached now."),
    "stac_fastapi.InvalidQueryParameter": (InputError, "A parameter of the query is unknown or wrong."),
    "rasterio.RasterioError": (InvalidParameter, "The raster cannot be read in this way."),
    "sqlalchemy.DataError": (InvalidParameter, "A value cannot be kept in or compared with the database."),
    "cql2.ValidationError": (InvalidFilter, "The filter is not valid CQL2."),
    "cql2.ParsePythonError": (InvalidFilter, "The filter is not valid CQL2."),
}


def install(app: FastAPI, *, bad_request_below: tuple[str, ...] = ()) -> None:
    """Let every error of `app` leave as a problem.

    Call it after whatever sets handlers of its own (stac-fastapi does): the last one counts.

    Args:
        app: The application.
        bad_request_below: Paths of the STAC API, whose specification asks for 400 where HTTP would have 422, and for a
            ``description``.
    """

    def ours(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # The router tells the methods of one route; there may be more at the same address.
            allowed = ", ".join(taken(request.scope))
            error = HTTPException(error.status_code, headers={"Allow": allowed} if allowed else error.headers)
        return respond(of_exception(error, request.scope), request.scope, headers=_headers_of(error))

    app.state.bad_request_below = bad_request_below
    kinds: list[type[Exception]] = [GeoetlError, RequestValidationError, HTTPException]
    kinds += [kind for kind in app.exception_handlers if isinstance(kind, type) and kind is not Exception]
    for kind in dict.fromkeys(kinds):
        app.add_exception_handler(kind, ours)
    app.add_exception_handler(Exception, ours)


def respond(error: GeoetlError, scope: Scope, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return one of our errors as the answer to the request of `scope`.

    Args:
        error: What went wrong.
        scope: The request's; its state has the id.
        headers: More headers of the answer.
    """
    request_id = request_id_of(scope)
    body = {**error.problem(), "request_id": request_id}
    if error.errors:
        body["errors"] = error.errors
    below: tuple[str, ...] = getattr(getattr(scope.get("app"), "state", None), "bad_request_below", ())
    if below and str(scope.get("path", "")).startswith(below):
        body["description"] = body["detail"]
        if body["status"] == HTTPStatus.UNPROCESSABLE_ENTITY:
            body["status"] = int(HTTPStatus.BAD_REQUEST)
    sent = {"Cache-Control": "no-store", REQUEST_ID: request_id, **(headers or {})}
    if error.retryable and not any(name.lower() == "retry-after" for name in sent):
        sent["Retry-After"] = str(RETRY_AFTER_S)
    content = json.dumps(_sendable(body), ensure_ascii=False, allow_nan=False).encode()
    return Response(content, status_code=body["status"], media_type=MEDIA_TYPE, headers=sent)


class Problems:
    """The last resort of every request: what no handler turned into a problem leaves as one here.

    That is an exception from outside of the routes, and a bare error that a library answered with itself (Panel's and
    Starlette's plain text).  Pages are left alone, as a login page may well answer 401.

    Args:
        app: What is guarded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False
        instead: Response | None = None

        async def telling(message: Message) -> None:
            nonlocal started, instead
            if message["type"] == "http.response.start":
                instead = _instead_of(message, scope)
                if instead is not None:
                    return
                started = True
            elif instead is not None:
                if not message.get("more_body", False):
                    started = True
                    await instead(scope, receive, bodiless)
                return
            await bodiless(message)

        async def bodiless(message: Message) -> None:
            if scope["method"] == "HEAD" and message["type"] == "http.response.body" and message.get("body"):
                message = {**message, "body": b""}
            await send(message)

        try:
            await self.app(scope, receive, telling)
        except ClientDisconnect:
            return
        except Exception as error:
            problem = of_exception(error, scope)
            if started:
                raise
            await respond(problem, scope)(scope, receive, bodiless)


def _instead_of(message: Message, scope: Scope) -> Response | None:
    """Return the problem to answer with where an answer begins that is a bare error."""
    status = message["status"]
    if status < HTTPStatus.BAD_REQUEST:
        return None
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in message.get("headers", ())]
    kind = dict(headers).get("content-type", "").partition(";")[0].strip()
    if kind not in ("", "text/plain", "application/json"):
        return None
    kept = {name: value for name, value in headers if name in KEPT_HEADERS}
    return respond(of_status(status, scope, headers=kept), scope, headers=kept)


def of_exception(error: BaseException, scope: Scope) -> GeoetlError:
    """Return the problem behind any exception; what nobody foresaw is logged with its stack and told without it."""
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return of_exception(error.exceptions[0], scope)
    if isinstance(error, GeoetlError):
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.warning("request %s: %s", request_id_of(scope), error.detail, extra={"code": error.code})
        return error
    if isinstance(error, RequestValidationError):
        return _of_validation(error.errors(), scope)
    if isinstance(error, HTTPException):
        return of_status(error.status_code, scope, detail=error.detail, headers=error.headers)
    known = _of_library(error, scope)
    return known or _unexpected(error, scope)


def of_status(
    status: int, scope: Scope, *, detail: object = None, headers: Mapping[str, str] | None = None
) -> GeoetlError:
    """Return the problem that a bare status means.

    Args:
        status: The HTTP status, 400 or more.
        scope: The request.
        detail: What the one who raised it said, if anything.
        headers: Of the answer: which verbs are taken.
    """
    method = str(scope.get("method", "this"))
    said = _said(status, detail)
    if status == HTTPStatus.NOT_FOUND:
        return NotFound(
            said or "There is nothing at this address.",
            hint=None if said else "See /api/openapi.json for what there is.",
        )
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = next((text for name, text in (headers or {}).items() if name.lower() == "allow"), "")
        return MethodNotAllowed(
            f"This address does not take {method[:20]}.", hint=f"It takes {allowed}." if allowed else None
        )
    known = _OF_STATUS.get(status)
    if known:
        return known(said or f"{_phrase(status)}: {method[:20]} is not possible here in this way.")
    kind = InputError if status < HTTPStatus.INTERNAL_SERVER_ERROR else Unexpected
    return _with_status(kind, status)(said or f"{_phrase(status)}: {method[:20]} is not possible here.")


def request_id_of(scope: Scope) -> str:
    """Return the id of a request; it gets one where it has none."""
    state = scope.setdefault("state", {})
    return str(state.setdefault("request_id", new_id()))


def _headers_of(error: Exception) -> dict[str, str]:
    """Return the headers that an error of the framework carries, such as ``Allow`` and ``WWW-Authenticate``."""
    return dict(error.headers or {}) if isinstance(error, HTTPException) else {}


def _with_status(kind: type[GeoetlError], status: int) -> type[GeoetlError]:
    """Return `kind` with another status, for the few that have no class of their own."""
    if kind.status == status:
        return kind
    return type(kind.__name__, (kind,), {"status": status, "code": f"http_{status}", "title": _phrase(status)})


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def _said(status: int, detail: object) -> str:
    """Return what the one who raised it said, where that is a sentence and may be shown."""
    if not isinstance(detail, str) or detail == _phrase(status) or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ""
    text = _PATH.sub("…", " ".join(detail.split()))[:MAX_DETAIL]
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _of_library(error: BaseException, scope: Scope) -> GeoetlError | None:
    for kind in type(error).__mro__:
        found = _OF_NAME.get(f"{kind.__module__.partition('.')[0]}.{kind.__name__}")
        if found:
            _log.info("request %s: %s", request_id_of(scope), type(error).__name__, exc_info=error)
            return found[0](found[1])
    if isinstance(error, OverflowError):
        return InvalidParameter("A number is too large.", hint="Give numbers of at most 64 bits.")
    if isinstance(error, RecursionError):
        return InputError("The question is nested too deeply.", hint="Give fewer levels.")
    if isinstance(error, MemoryError):
        return Busy("The server has no memory left for this.", hint="Ask for less, or try again later.")
    errors = getattr(error, "errors", None)
    is_pydantic = any(kind.__module__.startswith("pydantic") for kind in type(error).__mro__)
    if is_pydantic and callable(errors) and not isinstance(error, ResponseValidationError):
        # A model that an operation made of the question itself: stac-fastapi does that with the query of a search.
        _log.info("request %s: %s", request_id_of(scope), type(error).__name__, exc_info=error)
        return _of_validation(errors(), scope, place="query")
    return None


def _unexpected(error: BaseException, scope: Scope) -> GeoetlError:
    request_id = request_id_of(scope)
    _log.error("request %s failed: %s %s", request_id, scope.get("method", ""), scope.get("path", ""), exc_info=error)
    return Unexpected(
        "Something unexpected happened on the server.",
        hint=f"Try again; if it happens again, report request {request_id}.",
    )


# -- validation ------------------------------------------------------------------------------------------------------

# What a value has to be, by pydantic's type of error; `{}` are its own figures.
_HAS_TO_BE = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number that is not so long",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text",
    "string_too_short": "at least {min_length} characters long",
    "string_too_long": "at most {max_length} characters long",
    "string_pattern_mismatch": "of the form {pattern}",
    "too_short": "at least {min_length} long",
    "too_long": "at most {max_length} long",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "greater than or equal to {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "less than or equal to {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "an object",
    "mapping_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "dataclass_type": "an object",
    "none_required": "null",
    "url_parsing": "a URL",
    "url_scheme": "a URL that begins with {expected_schemes}",
    "uuid_parsing": "a UUID",
}
_PLACES = {"query": "parameter", "path": "part of the address", "header": "header", "cookie": "cookie"}
# Where the parts of a location name variants of a type, which mean nothing to who asked.
_VARIANT = re.compile(r"[\[\](]|^(?:function-|lax-or-strict|json-or-python|tagged-union|union|literal)")


def _of_validation(errors: Iterable[Mapping[str, Any]], scope: Scope, place: str = "") -> GeoetlError:
    found = list(errors)[:MAX_ERRORS]
    first = found[0]
    if first["type"] == "json_invalid":
        return InvalidJson("The body is not JSON.", hint="Send one JSON document in UTF-8.", field="body")
    if tuple(first["loc"]) == ("body",) and isinstance(first.get("input"), bytes):
        return wrong_media_type(scope)
    told = [_told(error, place) for error in found]
    unique = list({(one["detail"], one["where"]): one for one in told}.values())
    result = InvalidParameter(unique[0]["detail"], hint=_hint(first), field=unique[0]["where"])
    result.errors = [
        {"detail": one["detail"], "pointer" if one["place"] == "body" else "parameter": one["where"]} for one in unique
    ]
    return result


def wrong_media_type(scope: Scope) -> UnsupportedMediaType:
    """Return the problem of a body whose ``Content-Type`` the operation does not take."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"content-type"), "")
    return UnsupportedMediaType(
        f"The body is of type '{given[:MAX_SHOWN]}'." if given else "The body has no Content-Type.",
        hint="Send JSON with the header Content-Type: application/json.",
        field="Content-Type",
    )


def _told(error: Mapping[str, Any], place: str) -> dict[str, str]:
    """Return one error as a sentence, with the place that it speaks of."""
    where = [str(part) for part in error["loc"]]
    if not place:
        place, where = (where[0], where[1:]) if where else ("body", [])
    where = [part for part in where if not _VARIANT.search(part)]
    if place == "body":
        name = "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in where)
        subject = f"The member '{'.'.join(where)[:MAX_SHOWN]}' of the body" if where else "The body"
    else:
        name = ".".join(where)[:200]
        subject = f"The {_PLACES.get(place, 'parameter')} '{name[:MAX_SHOWN]}'"
    return {"detail": f"{subject} {_wrong(error)}", "where": name, "place": place}


def _wrong(error: Mapping[str, Any]) -> str:
    kind, figures = str(error["type"]), error.get("ctx") or {}
    if kind == "missing":
        return "is missing."
    if kind == "extra_forbidden":
        return "is not known here."
    if kind == "value_error":
        return f"is not right: {_lowered(str(error['msg']).removeprefix('Value error, '))[:MAX_DETAIL]}."
    has_to_be = _HAS_TO_BE.get(kind)
    try:
        rule = has_to_be.format(**figures) if has_to_be else ""
    except KeyError:
        rule = ""
    if not rule:
        rule = re.sub(r"^Input should (?:be |have )?", "", str(error["msg"]))[:MAX_DETAIL]
    return f"is {_shown(error.get('input'))}, but has to be {rule}."


def _hint(error: Mapping[str, Any]) -> str | None:
    if error["type"] == "missing":
        return "Add it."
    if error["type"] == "extra_forbidden":
        return "Leave it out, or correct its name."
    return None


def _shown(value: Any) -> str:
    """Return a value that is not right, short enough for a sentence."""
    if isinstance(value, str):
        return repr(value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}…")
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        # A whole number may have more digits than Python turns into text.
        return "a very large number" if isinstance(value, int) and value.bit_length() > 256 else str(value)
    if isinstance(value, Mapping):
        return "an object"
    return f"a list of {len(value)}" if isinstance(value, list | tuple) else "something else"


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:].rstrip(".")


def _sendable(value: Any) -> Any:
    """Return a document whose text can be encoded: halves of surrogate pairs are replaced."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_sendable(name): _sendable(inner) for name, inner in value.items()}
    return [_sendable(inner) for inner in value] if isinstance(value, list | tuple) else value
