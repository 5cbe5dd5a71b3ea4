"""The page to sign in at, without JavaScript and without another host; and the way out."""

import hmac
import secrets
import time
from contextlib import suppress
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote

from fastapi import APIRouter, Request
from itsdangerous import BadSignature
from starlette.responses import RedirectResponse, Response

from geoetl.api.security import Asked, Authority, SignedIn, cookies_of
from geoetl.api.throttle import Throttle, TooManyGuesses
from geoetl.core.errors import ConfigurationError, GeoetlError, InvalidParameter, LimitExceeded, Unavailable
from geoetl.core.principal import Principal, Via
from geoetl.store.identity import User, name_key

if TYPE_CHECKING:
    from geoetl.api.oidc import Provider

HOME = "/"
# A page that was open for longer is filled in anew.
FORM_LIFETIME_S = 3600
MAX_FORM_BYTES = 16 * 1024
MAX_FIELDS = 10
_PAGE = Template(Path(__file__).with_name("login.html").read_text("utf-8"))
_STYLE = Path(__file__).with_name("login.css").read_text("utf-8")
WRONG = "This name and password do not belong together."
STALE = "This page was open for too long, or cookies are switched off. Please sign in again."


def router(authority: Authority) -> APIRouter:
    """Return the routes ``/login`` and ``/logout``, and those of the OpenID provider where one is configured."""
    routes = APIRouter(include_in_schema=False)
    entrance = Entrance(authority)
    routes.add_api_route("/login", entrance.show, methods=["GET"])
    routes.add_api_route("/login", entrance.enter, methods=["POST"])
    routes.add_api_route("/logout", entrance.leave, methods=["POST"])
    if entrance.provider is not None:
        routes.add_api_route("/login/oidc", entrance.go_to_provider, methods=["GET"])
        routes.add_api_route("/login/oidc/callback", entrance.come_from_provider, methods=["GET"])
    return routes


class Entrance:
    """Signs people in and out.

    Args:
        authority: Knows who they are, and makes their sessions.
    """

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._throttle = Throttle()
        self._forms = authority.serializer("login form")
        self.provider = _provider(authority)

    async def show(self, request: Request, next: str = HOME) -> Response:
        """Show the form, or go on where somebody is signed in already."""
        principal = request.state.principal
        if isinstance(principal, Principal) and principal.via is not Via.ANONYMOUS:
            return _onward(request, local_path(next))
        return self._page(request, local_path(next))

    async def enter(self, request: Request) -> Response:
        """Take the form, and open a session if name and password belong together."""
        form = await _form(request)
        back, name, password = local_path(form.get("next", HOME)), form.get("name", ""), form.get("password", "")
        if not self._is_ours(request, form.get("form", "")):
            return self._page(request, back, name, problem=STALE, status=403)
        asked: Asked = request.state.asked
        try:
            self._throttle.take(asked.client, name_key(name))
        except TooManyGuesses as error:
            page = self._page(request, back, name, problem=error.detail, status=error.status)
            page.headers["Retry-After"] = str(error.retry_after_s)
            return page
        user = await self._authority.check_password(name, password)
        if user is None:
            return self._page(request, back, name, problem=WRONG, status=401)
        self._throttle.was_right(asked.client, name_key(name))
        return self._opened(request, user, back)

    async def leave(self, request: Request) -> Response:
        """End the session, here and in every other server of this database."""
        session = request.state.session
        if isinstance(session, SignedIn):
            with suppress(Unavailable, ConfigurationError):  # a reader does not write: there only the browser forgets
                await self._authority.end(session)
        answer = RedirectResponse("login", 303, {"Cache-Control": "no-store"})
        self._set(request, answer, self._session_cookie(request), "", 0)
        return answer

    # -- OpenID ------------------------------------------------------------------------------------------------------

    async def go_to_provider(self, request: Request, next: str = HOME) -> Response:
        """Send the browser to the OpenID provider."""
        assert self.provider is not None
        try:
            address, cookie = await self.provider.begin(request, local_path(next))
        except GeoetlError as error:
            return self._page(request, local_path(next), problem=error.detail, status=error.status, up="../")
        answer = RedirectResponse(address, 303, {"Cache-Control": "no-store"})
        self._set(request, answer, self._form_cookie("oidc"), cookie, FORM_LIFETIME_S)
        return answer

    async def come_from_provider(self, request: Request) -> Response:
        """Open a session for whom the OpenID provider vouches."""
        assert self.provider is not None
        kept = _cookie(request, self._form_cookie("oidc"))
        try:
            user, back = await self.provider.finish(request, kept)
        except GeoetlError as error:
            answer = self._page(request, HOME, problem=error.detail, status=error.status, up="../../")
        else:
            answer = self._opened(request, user, local_path(back), up="../../")
        # Whatever came of it, what was kept for this is used up.
        self._set(request, answer, self._form_cookie("oidc"), "", 0)
        return answer

    # -- parts -------------------------------------------------------------------------------------------------------

    def _opened(self, request: Request, user: User, back: str, up: str = "") -> Response:
        answer = _onward(request, back, up)
        value, lifetime_s = self._authority.new_session(user)
        self._set(request, answer, self._session_cookie(request), value, lifetime_s)
        self._set(request, answer, self._form_cookie("login"), "", 0)
        return answer

    def _page(
        self, request: Request, back: str, name: str = "", *, problem: str = "", status: int = 200, up: str = ""
    ) -> Response:
        own = _cookie(request, self._form_cookie("login")) or secrets.token_urlsafe(16)
        nonce = secrets.token_urlsafe(16)
        oidc = f'<a class="other" href="{up}login/oidc?next={quote(back, safe="")}">Sign in with your organisation</a>'
        html = _PAGE.substitute(
            nonce=nonce,
            style=_STYLE,
            action=f"{up}login",
            icon=f"{up}favicon.ico",
            form=escape(self._forms.dumps([own, int(time.time()) + FORM_LIFETIME_S])),
            next=escape(back),
            name=escape(name),
            problem=f'<p class="problem" id="problem" role="alert">{escape(problem)}</p>' if problem else "",
            described=' aria-describedby="problem" aria-invalid="true"' if problem else "",
            focus_name="" if name else " autofocus",
            focus_password=" autofocus" if name else "",
            oidc=oidc if self.provider else "",
        )
        headers = {
            "Content-Security-Policy": f"default-src 'none'; style-src 'nonce-{nonce}'; img-src 'self'; "
            "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            # Not "no-referrer": with it a browser sends the form's origin as null.
            "Referrer-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        if status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="geoetl"'
        answer = Response(html, status, headers, "text/html")
        self._set(request, answer, self._form_cookie("login"), own, FORM_LIFETIME_S)
        return answer

    def _is_ours(self, request: Request, form: str) -> bool:
        """Tell whether a form is one that this browser was shown, and not long ago (signed double submit)."""
        own = _cookie(request, self._form_cookie("login"))
        try:
            signed_for, until = self._forms.loads(form)
        except (BadSignature, ValueError, TypeError):
            return False
        return bool(own) and hmac.compare_digest(own.encode(), str(signed_for).encode()) and until > time.time()

    def _session_cookie(self, request: Request) -> str:
        return self._authority.cookie_name(request.state.asked, self._authority.site.cookie_path(request.scope))

    def _form_cookie(self, purpose: str) -> str:
        # See Authority: several servers on one machine.
        return f"geoetl_form_{purpose}_{self._authority.derived_key('cookie name').hex()[:8]}"

    def _set(self, request: Request, answer: Response, name: str, value: str, lifetime_s: int) -> None:
        """Set a cookie, or with an empty value delete it."""
        answer.set_cookie(
            name,
            value,
            max_age=lifetime_s,
            path=self._authority.site.cookie_path(request.scope),
            secure=request.state.asked.scheme == "https",
            httponly=True,
            # Lax also for the form: the OpenID provider sends the browser back from its own site.
            samesite="lax",
        )


def _provider(authority: Authority) -> "Provider | None":
    if authority.settings.oidc_issuer is None:
        return None
    from geoetl.api.oidc import Provider

    return Provider(authority)


def local_path(text: str) -> str:
    """Return where to go on, if it is a path of this server; else its first page.

    Browsers take ``//host`` and ``/\\host`` for another host, and leave out tabs and line ends before they look.
    """
    is_local = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    path = unquote(text.partition("?")[0])
    leads_here = f"{path}/".startswith(("/login/", "/logout/"))
    return text if is_local and not leads_here and ".." not in path and " " not in text else HOME


def _onward(request: Request, back: str, up: str = "") -> Response:
    # Relative, as every address of ours: below a proxy's path too, and never to another host.
    where = f"{up or './'}{back.removeprefix('/')}"
    return RedirectResponse(quote(where, safe="/?&=%#:,;@!$'()*+~-._[]"), 303, {"Cache-Control": "no-store"})


def _cookie(request: Request, name: str) -> str:
    return next((value for found, value in cookies_of(request.headers) if found == name), "")


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a small form.

    Raises:
        InvalidParameter: It is none.
        LimitExceeded: It is larger than the login page's can be.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_BYTES:
            raise LimitExceeded(f"A form of more than {MAX_FORM_BYTES} bytes is not read.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise InvalidParameter("This takes the form of the login page only.", hint="Open /login in a browser.")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise InvalidParameter("The form cannot be read.", hint="Open /login in a browser.") from None
    return dict(pairs)
