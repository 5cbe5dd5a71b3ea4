"""Errors as a client meets them: ``application/problem+json`` (RFC 9457), never a stack, a path or SQL."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geoetl.core.errors import GeoetlError, InvalidParameter, NotFound, Unavailable
from geoetl.core.identifiers import new_id

_log = logging.getLogger("geoetl.api")
MEDIA_TYPE = "application/problem+json"
# The same question may be asked again after this time.
RETRY_AFTER_S = 5
REQUEST_ID = "X-Request-ID"


class _Identified:
    """Give every HTTP request an id, and its answer the header that tells it; bodies stream through untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = new_id()
        scope.setdefault("state", {})["request_id"] = request_id

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        await self.app(scope, receive, telling)


def install(app: FastAPI) -> None:
    """Let every error of `app` leave as a problem, and give every answer the id of its request."""

    app.add_middleware(_Identified)

    @app.exception_handler(GeoetlError)
    async def ours(request: Request, error: GeoetlError) -> Response:
        return answer(error, request)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return answer(_of_validation(error), request)

    @app.exception_handler(HTTPException)
    async def of_framework(request: Request, error: HTTPException) -> Response:
        return _of_status(request, error)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        request_id = _id_of(request)
        _log.error("request %s, %s %s", request_id, request.method, request.url.path, exc_info=error)
        body = {
            **GeoetlError(
                "Something unexpected happened on the server.",
                hint=f"Try again; if it happens again, report request {request_id}.",
            ).problem(),
            "request_id": request_id,
        }
        # Starlette answers this outside of every middleware, so the header is set here.
        return _json(body, 500, {REQUEST_ID: request_id})


def answer(error: GeoetlError, request: Request) -> Response:
    """Return one of our errors as a problem."""
    headers = {"Retry-After": str(RETRY_AFTER_S)} if isinstance(error, Unavailable) else {}
    return _json({**error.problem(), "request_id": _id_of(request)}, error.status, headers)


def _of_validation(error: RequestValidationError) -> InvalidParameter:
    first = error.errors()[0]
    name = str(first["loc"][-1])
    if first["type"] == "missing":
        return InvalidParameter(f"The parameter '{name}' is missing.", hint="Add it to the query.", field=name)
    got = repr(first.get("input"))[:60]
    return InvalidParameter(f"The parameter '{name}' is {got}: {_lowered(first['msg'])}.", field=name)


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]


def _of_status(request: Request, error: HTTPException) -> Response:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return answer(
            NotFound("There is nothing at this address.", hint="See /api/openapi.json for what there is."), request
        )
    phrase = HTTPStatus(error.status_code).phrase
    body = {
        **GeoetlError(f"{phrase}: {request.method} is not possible here.").problem(),
        "type": "about:blank",
        "title": phrase,
        "status": error.status_code,
        "request_id": _id_of(request),
    }
    return _json(body, error.status_code, dict(error.headers or {}))


def _id_of(request: Request) -> str:
    return str(getattr(request.state, "request_id", "") or new_id())


def _json(body: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)
