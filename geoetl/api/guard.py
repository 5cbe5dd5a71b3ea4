"""The one layer that stands before everything, pages and API, requests and websockets alike.

It finds out who asks, tells routes and pages in ``scope["state"]["principal"]``, and lets nobody else through.  Put it
on last, so that it is asked first: Panel answers its pages in a middleware of its own, and what is added before that
stands behind it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import quote

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geoetl.api import login, problems
from geoetl.api.roles import ServerRole
from geoetl.api.security import (
    NEVER_BELIEVED,
    PROXY_HEADER,
    Access,
    Asked,
    Authority,
    Refused,
    check_role,
    cookies_of,
    is_loopback,
    route_path,
    unauthenticated,
)
from geoetl.core.errors import GeoetlError
from geoetl.core.principal import Principal, Unauthenticated

__all__ = ["PROXY_HEADER", "Guard", "Refused", "install", "is_loopback"]

# How often it is looked up whether the person behind an open websocket may still have it.
RECHECK_S = 5.0
# A longer query is not carried through the login page.
MAX_NEXT = 1500

NameCookie = Callable[[Principal], tuple[str, str]]


def install(
    app: FastAPI,
    authority: Authority,
    role: ServerRole,
    *,
    access: Access | None = None,
    name_cookie: NameCookie | None = None,
) -> None:
    """Put the guard before `app`, and the login page into it where the server has pages.

    Args:
        app: With everything that is to be guarded in it.
        authority: Recognises people.
        role: What the server is for.
        access: Which roles paths need.
        name_cookie: Makes the cookie (name, value) from which pages read whom they speak to.
    """
    if role.has_pages:
        app.include_router(login.router(authority))
    app.add_middleware(
        Guard, authority=authority, access=access or Access(), has_login=role.has_pages, name_cookie=name_cookie
    )


class Guard:
    """Lets through who is known and may; see `install` for the arguments."""

    def __init__(
        self,
        app: ASGIApp,
        authority: Authority,
        access: Access,
        *,
        has_login: bool,
        name_cookie: NameCookie | None = None,
    ) -> None:
        self.app = app
        self._authority = authority
        self._access = access
        self._has_login = has_login
        self._name_cookie = name_cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        try:
            inside = await self._admitted(scope)
        except GeoetlError as error:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self._refusal(error, scope)(scope, receive, send)
            return
        if scope["type"] == "websocket":
            watched = _Watched(lambda: self._still_admitted(scope), receive, send)
            receive, send = watched.receive, watched.send
        await self.app(inside, receive, send)

    async def _admitted(self, scope: Scope) -> Scope:
        """Return the scope as it goes inside.

        Raises:
            Refused: The name, or the page that asks, is not ours.
            Unauthenticated: Nobody is known.
            Forbidden: The role is not enough.
            Unavailable: The database cannot be asked who it is.
        """
        kind, method, path = scope["type"], scope.get("method", ""), route_path(scope)
        headers = Headers(scope=scope)
        if kind == "http" and path in Access.HEALTH and self._access.is_open(kind, method, path):
            return _inside(scope, headers, None)
        site = self._authority.site
        asked = site.seen(scope, headers)
        site.check_host(asked, scope)
        is_open = self._access.is_open(kind, method, path)
        try:
            principal, session = await self._authority.identify(scope, headers, asked)
        except Unauthenticated:
            if not is_open:
                raise
            principal, session = None, None
        site.check_origin(scope, headers, asked, principal)
        if not is_open:
            if principal is None:
                raise unauthenticated()
            check_role(principal, self._access.needed(kind, method, path))
        scope.setdefault("state", {})["principal"] = principal  # the log line, written outside, names who asked
        extra = self._name_cookie(principal) if self._name_cookie and principal else None
        inside = _inside(scope, headers, asked, extra)
        inside["state"] = {**scope.get("state", {}), "principal": principal, "session": session, "asked": asked}
        return inside

    def _refusal(self, error: GeoetlError, scope: Scope) -> Response:
        headers = Headers(scope=scope)
        if not isinstance(error, Unauthenticated):
            return problems.respond(error, scope)
        if self._has_login and "authorization" not in headers and _wants_page(scope, headers):
            return RedirectResponse(login_address(scope), 303, {"Cache-Control": "no-store"})
        wrong = ', error="invalid_token"' if "authorization" in headers else ""
        return problems.respond(error, scope, headers={"WWW-Authenticate": f'Bearer realm="geoetl"{wrong}'})

    async def _still_admitted(self, scope: Scope) -> bool:
        try:
            await self._admitted(scope)
        except GeoetlError as error:
            return error.retryable  # the database is away: nothing is known against the person
        return True


class _Watched:
    """Ends a websocket when its person is signed out, disabled, removed or given another role."""

    def __init__(self, still_admitted: Callable[[], Awaitable[bool]], receive: Receive, send: Send) -> None:
        self._still_admitted = still_admitted
        self._receive = receive
        self._send = send
        self._pending: asyncio.Future[Message] | None = None
        self._ended = False

    async def receive(self) -> Message:
        """Return the next message of the browser, or that it is gone."""
        while not self._ended:
            self._pending = self._pending or asyncio.ensure_future(self._receive())
            await asyncio.wait({self._pending}, timeout=RECHECK_S)
            if self._pending.done() and self._pending.result()["type"] == "websocket.disconnect":
                return self._pending.result()
            if not await self._still_admitted():
                self._ended = True
                self._pending.cancel()
                with suppress(OSError):  # the browser is gone already
                    await self._send({"type": "websocket.close", "code": 1008})
            elif self._pending.done():
                message, self._pending = self._pending.result(), None
                return message
        return {"type": "websocket.disconnect", "code": 1008}

    async def send(self, message: Message) -> None:
        """Send a message to the browser, unless it was sent away."""
        if not self._ended:
            await self._send(message)


def login_address(scope: Scope) -> str:
    """Return where to sign in, relative to the address that was asked, with the way back to it."""
    path = route_path(scope)
    query = scope.get("query_string", b"").decode("latin-1")
    back = quote(path) + (f"?{query}" if query else "")
    steps = "../" * (path.count("/") - 1)
    return f"{steps}login?next={quote(back if len(back) <= MAX_NEXT else quote(path)[:MAX_NEXT], safe='')}"


def _wants_page(scope: Scope, headers: Headers) -> bool:
    """Tell whether a person would see the answer: a browser goes there, rather than a program of a page."""
    if scope["method"] not in ("GET", "HEAD") or headers.get("sec-fetch-mode", "navigate") != "navigate":
        return False
    return "text/html" in headers.get("accept", "")


def _inside(scope: Scope, headers: Headers, asked: Asked | None, extra: tuple[str, str] | None = None) -> Scope:
    """Return the scope without what may not be believed, and with the address that a trusted proxy told."""
    secret = (PROXY_HEADER.lower(), "authorization")
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if name.decode("latin-1").lower() not in (*NEVER_BELIEVED, *secret, "cookie", "host")
    ]
    # The session's cookie stays outside as well: Panel writes the cookies that it gets into its pages, where scripts
    # can read them.
    cookies = [
        f"{name}={value}"
        for name, value in cookies_of(headers)
        if name.removeprefix("__Host-").startswith("geoetl_form_")
    ]
    if extra:
        cookies.append("=".join(extra))
    if cookies:
        kept.append((b"cookie", "; ".join(cookies).encode("latin-1")))
    inside = {**scope, "headers": kept}
    host = asked.host if asked else headers.get("host")
    if host is not None:
        kept.append((b"host", host.encode("latin-1")))
    if asked:
        secure = {"http": "https", "ws": "wss"}
        plain = "ws" if scope["type"] == "websocket" else "http"
        inside["scheme"] = secure[plain] if asked.scheme == "https" else plain
        if scope.get("client") and asked.client != scope["client"][0]:
            inside["client"] = (asked.client, 0)
    return inside
