"""Who asks, from where, and what that allows: the parts of the guard.

`Site` tells how a request was addressed and whether a page of ours sent it, `Authority` recognises people, `Access`
says which role a path and verb need, and `needs` and `principal_of` tell routes what was found.
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from cachetools import TTLCache
from itsdangerous import BadSignature, URLSafeSerializer
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope

from geoetl.core.errors import GeoetlError
from geoetl.core.principal import Forbidden, Principal, Role, Unauthenticated, Via
from geoetl.core.settings import SecuritySettings
from geoetl.store.identity import IdentityRepository, User

if TYPE_CHECKING:
    from geoetl.platform import Platform

PROXY_HEADER = "X-Geoetl-Proxy"
# A removed user, token or session is kept out after this time at the latest.
MEMORY_S = 1.0
_REMEMBERED = 4096
# Looking someone up waits for the database, not for the routes that fill the common pool of threads.
_LOOKUPS_AT_ONCE = 8
# Each takes 64 MiB (see geoetl.store.identity).
_PASSWORDS_AT_ONCE = 2
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>\d{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_FORWARDED = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-real-ip", "forwarded")
# What a proxy or a framework might believe and no route of ours may: who sends it is not known.
NEVER_BELIEVED = frozenset(
    (
        *_FORWARDED,
        *("x-forwarded-prefix", "x-forwarded-server", "x-forwarded-path", "x-forwarded-scheme", "x-scheme"),
        *("x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"),
    )
)


class Refused(GeoetlError):
    """A request of this form, or from that place, is not answered."""

    code = "refused"
    title = "This may not be asked from here"
    status = 403
    exit_code = 4


# -- what routes use -------------------------------------------------------------------------------------------------


def principal_of(request: HTTPConnection) -> Principal:
    """Return who asks, as the guard found out.

    Raises:
        Unauthenticated: Nobody is known; a route behind the guard never meets this.
    """
    found = request.scope.get("state", {}).get("principal")
    if not isinstance(found, Principal):
        raise unauthenticated()
    return found


def needs(role: Role) -> Callable[[HTTPConnection], Awaitable[Principal]]:
    """Return a dependency for routes that need more than their verb does: ``Depends(needs(Role.APPROVER))``.

    It gives the principal, or raises `Forbidden`.
    """

    async def allowed(request: HTTPConnection) -> Principal:
        principal = principal_of(request)
        check_role(principal, role)
        return principal

    return allowed


def check_role(principal: Principal, needed: Role) -> None:
    """Refuse who has less than the role `needed`.

    Raises:
        Forbidden: The role is not enough.
    """
    if not principal.may(needed):
        raise Forbidden(
            f"This needs the role {needed}; '{principal.name}' is {principal.role}.",
            hint="Ask an operator of this server for the role, or for a token with that scope.",
        )


def unauthenticated() -> Unauthenticated:
    """Return the error for whoever is not known."""
    return Unauthenticated(
        "Nobody is signed in.",
        hint="Sign in at /login, or send a token (geoetl tokens create) as: Authorization: Bearer TOKEN",
    )


# -- which role a request needs --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Access:
    """Which role a path and verb need.  What is not named here is closed: reading to strangers, the rest to viewers.

    Attributes:
        searches: Paths whose POST only reads.
        questions: Likewise, paths with ids in them; their POST has a body that is too long for an address.
        roles: The least role for a path and everything below it, whatever the verb.
    """

    searches: frozenset[str] = frozenset({"/stac/search"})
    questions: re.Pattern[str] = re.compile(r"/api/(?:raster/clip|xarray/[a-z]+)(?:/[^/]+/[^/]+)?")
    roles: Mapping[str, Role] = field(default_factory=lambda: {"/metrics": Role.OPERATOR})

    #: What tells nothing, for balancers and other machines that have no name and no token.
    HEALTH: ClassVar[frozenset[str]] = frozenset({"/livez", "/readyz", "/api/livez"})
    #: What the login page itself needs, and what a browser asks for unasked.
    LOGIN: ClassVar[frozenset[str]] = frozenset(
        {"/login", "/logout", "/login/oidc", "/login/oidc/callback", "/favicon.ico"}
    )

    def is_open(self, kind: str, method: str, path: str) -> bool:
        """Tell whether nobody needs to be known for this."""
        if kind == "websocket":
            return False
        if path in self.HEALTH:
            return method in SAFE_METHODS
        # Programs and styles of Panel and Bokeh, as anyone can download them.
        is_program = path.startswith("/static/") and path.endswith((".js", ".css")) and method in ("GET", "HEAD")
        return path in self.LOGIN or is_program

    def needed(self, kind: str, method: str, path: str) -> Role:
        """Return the least role for a request."""
        is_question = method == "POST" and (path in self.searches or self.questions.fullmatch(path) is not None)
        only_reads = kind == "websocket" or method in SAFE_METHODS or is_question
        needed = Role.VIEWER if only_reads else Role.EDITOR
        named = [role for below, role in self.roles.items() if path == below or path.startswith(f"{below}/")]
        return max([needed, *named])


# -- how a request was addressed -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A request as whoever sent it saw it.

    Attributes:
        scheme: ``http`` or ``https``, also for a websocket.
        host: Name and port, in lower case.
        client: Address that it came from; empty when it is not known.
        is_local: Whether it came from this machine, through no proxy.
    """

    scheme: str
    host: str
    client: str
    is_local: bool

    @property
    def name(self) -> str:
        """The host without its port."""
        found = _HOST.fullmatch(self.host)
        return found["name"].strip("[]").rstrip(".") if found else ""

    @property
    def origin(self) -> str:
        """What a browser calls the place of a page that it got under this address."""
        return _origin(self.scheme, self.host)


class Site:
    """The names of this server, and whom it believes about them.

    Args:
        settings: Names, the public address, the trusted proxies.
        behind_proxy: Whether one proxy that knows a secret passes everything on (JupyterLab's): the name is then its.
    """

    def __init__(self, settings: SecuritySettings, *, behind_proxy: bool = False) -> None:
        self._behind_proxy = behind_proxy
        self._trusted = [ipaddress.ip_network(network) for network in settings.trusted_proxies]
        public = urlsplit(settings.public_url) if settings.public_url else None
        self._public_scheme = public.scheme if public else ""
        self._public_host = public.netloc.lower() if public else ""
        self.public_path = public.path.rstrip("/") if public else ""
        self._public_origin = _origin(public.scheme, public.netloc.lower()) if public else ""
        self._names = frozenset({*settings.hosts, *([public.hostname or ""] if public else [])})

    def seen(self, scope: Scope, headers: Headers) -> Asked:
        """Return how a request was addressed; forwarded headers count where a trusted proxy sent them.

        Raises:
            Refused: The request does not say which host it is for, or says it twice.
        """
        hosts = headers.getlist("host")
        if len(hosts) != 1:
            raise Refused("The request does not name one host.", hint="Send one Host header.")
        peer = str(scope["client"][0]) if scope.get("client") else ""
        host = hosts[0].lower()
        scheme = "https" if scope["scheme"] in ("https", "wss") else "http"
        client = peer
        if self._trusts(peer):
            client = self._first_untrusted(_values(headers, "x-forwarded-for")) or peer
            host = (_values(headers, "x-forwarded-host") or [host])[-1].lower()
            told = (_values(headers, "x-forwarded-proto") or [scheme])[-1].lower()
            scheme = told if told in ("http", "https") else scheme
        if host == self._public_host:
            scheme = self._public_scheme  # a proxy that ends TLS and is not trusted for more
        here = str(scope["server"][0]) if scope.get("server") else ""
        through_proxy = any(name in headers for name in _FORWARDED)
        asked = Asked(scheme, host, client, is_local=False)
        is_local = all(map(is_loopback, (peer, here, asked.name))) and not through_proxy
        return replace(asked, is_local=is_local)

    def check_host(self, asked: Asked, scope: Scope) -> None:
        """Refuse names that are not ours: a web page may make its own name resolve to this machine (DNS rebinding).

        Raises:
            Refused: The name is not one of this server's.
        """
        if self._behind_proxy:
            return
        here = str(scope["server"][0]) if scope.get("server") else ""
        # An address that the connection itself arrived at is no name that someone could have made up.
        arrived_at = bool(asked.name) and asked.name == here and _is_address(here)
        if not (is_loopback(asked.name) or asked.name in self._names or arrived_at):
            raise Refused(
                f"This server does not answer to the name '{asked.host[:80]}'.",
                hint="Open it as http://127.0.0.1 or localhost; an operator adds names in GEOETL_SECURITY__HOSTS.",
            )

    def check_origin(self, scope: Scope, headers: Headers, asked: Asked, principal: Principal | None) -> None:
        """Refuse what another site's page asks in a person's name: every websocket, every verb that changes something.

        Raises:
            Refused: It comes from elsewhere, or does not say where it comes from and has to.
        """
        is_socket = scope["type"] == "websocket"
        if not is_socket and scope["method"] in SAFE_METHODS:
            return
        # No page sends a token of its own accord; one that was given it may be anywhere.
        by_token = principal is not None and principal.via is Via.TOKEN
        origins = headers.getlist("origin")
        own = self._own(asked)
        if by_token and not (is_socket and origins):
            return
        if origins:
            is_foreign = len(origins) != 1 or origins[0] not in own
        else:
            referer = headers.get("referer")
            is_foreign = headers.get("sec-fetch-site", "same-origin") != "same-origin" or (
                referer is not None and _origin(*urlsplit(referer)[:2]) not in own
            )
        if is_foreign:
            raise Refused(
                "A page of another site may not ask this.",
                hint="Open the page itself. Behind a proxy, GEOETL_SECURITY__PUBLIC_URL says what its address is.",
            )
        if not origins and principal is not None and not _may_omit_origin(principal, is_socket):
            raise Refused(
                "The request does not say which page sent it.",
                hint="A program uses a token (geoetl tokens create), or sends this server's address as Origin.",
            )

    def cookie_path(self, scope: Scope) -> str:
        """Return the path that cookies are for: below the one that a proxy adds."""
        return (str(scope.get("root_path", "")).rstrip("/") or self.public_path) or "/"

    def _own(self, asked: Asked) -> set[str]:
        if self._behind_proxy:  # which does not say how it was reached itself
            return {_origin("http", asked.host), _origin("https", asked.host)}
        return {asked.origin, *([self._public_origin] if self._public_origin else [])}

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)

    def _first_untrusted(self, chain: list[str]) -> str:
        """Return the last address that was added by someone who is trusted, but is not itself a trusted proxy's."""
        for address in reversed(chain):
            if not self._trusts(address):
                return address if _is_address(address) else ""
        return ""


def _may_omit_origin(principal: Principal, is_socket: bool) -> bool:
    """Tell whether no origin means that a program asks: every browser tells it with what is checked here."""
    if is_socket:
        return principal.via is Via.PROXY
    return principal.via is not Via.COOKIE


def route_path(scope: Scope) -> str:
    """Return the path below the one that the application is mounted at, as Starlette and Panel see it."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path.removeprefix(root) or "/" if root and (path == root or path.startswith(f"{root}/")) else path


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's own, reached from this machine only."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _values(headers: Headers, name: str) -> list[str]:
    return [part.strip() for line in headers.getlist(name) for part in line.split(",") if part.strip()]


def _origin(scheme: str, host: str) -> str:
    """Return an origin as browsers write it (RFC 6454): without the scheme's own port."""
    name, _, port = host.rpartition(":")
    return f"{scheme}://{name if name and port == _DEFAULT_PORTS.get(scheme) else host}"


# -- who asks --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SignedIn:
    """What a session cookie says.

    Attributes:
        user_id: Whose it is.
        session: The user's session number when it was made.
        id: Its own id, by which it can be ended.
        expires_at: Unix seconds.
    """

    user_id: str
    session: int
    id: str
    expires_at: int


class Authority:
    """Recognises people and programs, by the tables of users and tokens.

    Args:
        identity: The tables.
        settings: How long a session lasts, and whether strangers may read.
        proxy_token: The secret of the one proxy that passes everything on; with it, nobody else is let through.
    """

    def __init__(
        self, identity: IdentityRepository, settings: SecuritySettings, *, proxy_token: str | None = None
    ) -> None:
        self.identity = identity
        self.settings = settings
        self.site = Site(settings, behind_proxy=proxy_token is not None)
        self._proxy_token = proxy_token
        self._secret = identity.signing_secret()
        self._sessions = self.serializer("session")
        # Two servers on one machine share a browser's cookies, which do not know of ports.
        self._cookie = f"geoetl_session_{self.derived_key('cookie name').hex()[:8]}"
        self._known: TTLCache[tuple[object, ...], Any] = TTLCache(_REMEMBERED, MEMORY_S)
        self._lookups = anyio.CapacityLimiter(_LOOKUPS_AT_ONCE)
        self._passwords = anyio.CapacityLimiter(_PASSWORDS_AT_ONCE)

    @classmethod
    def of(cls, platform: "Platform", *, proxy_token: str | None = None) -> "Authority":
        """Return the authority of a platform."""
        return cls(platform.identity, platform.settings.security, proxy_token=proxy_token)

    def derived_key(self, purpose: str) -> bytes:
        """Return 32 bytes for one purpose, the same in every server of this database."""
        return hmac.digest(self._secret, purpose.encode(), "sha256")

    def serializer(self, purpose: str) -> URLSafeSerializer:
        """Return what signs texts for one purpose: what is signed for another is not taken."""
        return URLSafeSerializer(
            self._secret,
            salt=f"geoetl {purpose}",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def cookie_name(self, asked: Asked, path: str) -> str:
        """Return the name of the session's cookie; with ``__Host-`` no neighbouring site can set it (RFC 6265bis)."""
        return f"__Host-{self._cookie}" if asked.scheme == "https" and path == "/" else self._cookie

    # -- recognising -------------------------------------------------------------------------------------------------

    async def identify(self, scope: Scope, headers: Headers, asked: Asked) -> tuple[Principal | None, SignedIn | None]:
        """Return who asks, and the session if it is one; None where nobody is known.

        Raises:
            Refused: The proxy's secret is wanted and not there.
            Unauthenticated: A token was sent, and is not valid.
        """
        if self._proxy_token is not None:
            if not hmac.compare_digest(headers.get(PROXY_HEADER, "").encode(), self._proxy_token.encode()):
                raise Refused("This server answers JupyterLab only.", hint="Open it from JupyterLab's launcher.")
            return Principal("proxy", "JupyterLab", Role.OPERATOR, Via.PROXY), None
        given = headers.getlist("authorization")
        if given:
            return await self._by_token(given), None
        signed_in = self._session_of(scope, headers, asked)
        if signed_in is not None:
            user = await self._user_of(signed_in)
            if user is not None:
                return Principal(user.id, user.name, user.role, Via.COOKIE), signed_in
        if asked.is_local and self.settings.is_for_one and not await self.has_users():
            return Principal("local", "Local operator", Role.OPERATOR, Via.LOCAL), None
        if self.settings.anonymous is not None:
            return Principal("anonymous", "Anonymous", self.settings.anonymous, Via.ANONYMOUS), None
        return None, None

    async def has_users(self) -> bool:
        """Tell whether anybody can sign in; as long as nobody can, this machine's own browser is the operator's."""
        return bool(await self._remembered(("users",), self.identity.has_users))

    async def _by_token(self, given: list[str]) -> Principal:
        scheme, _, text = given[0].partition(" ")
        text = text.strip()
        if len(given) == 1 and scheme.lower() == "bearer":
            key = ("token", hashlib.sha256(text.encode("utf-8", "replace")).digest())
            found = await self._remembered(key, lambda: self.identity.token_user(text))
            if found is not None:
                user, role = found
                return Principal(user.id, user.name, role, Via.TOKEN)
        raise Unauthenticated(
            "The token is unknown, expired or revoked.",
            hint="Make a new one with: geoetl tokens create NAME",
            field="Authorization",
        )

    async def _user_of(self, signed_in: SignedIn) -> User | None:
        def look() -> User | None:
            return self.identity.session_user(signed_in.user_id, signed_in.session, signed_in.id)

        found: User | None = await self._remembered(("session", signed_in), look)
        return found

    async def _remembered[T](self, key: tuple[object, ...], look: Callable[[], T]) -> T:
        # Asked once: what is there now may have expired a moment later.
        with suppress(KeyError):
            known: T = self._known[key]
            return known
        value = await anyio.to_thread.run_sync(look, limiter=self._lookups)
        self._known[key] = value
        return value

    # -- sessions ----------------------------------------------------------------------------------------------------

    async def check_password(self, name: str, password: str) -> User | None:
        """Return the user of that name and password, or None."""
        return await anyio.to_thread.run_sync(
            lambda: self.identity.check_password(name, password), limiter=self._passwords
        )

    def new_session(self, user: User) -> tuple[str, int]:
        """Return the value of a session's cookie and the seconds that it is valid.

        Nothing in it is taken from the browser, so no session can be prepared for somebody else (session fixation).
        """
        lifetime_s = int(self.settings.session_hours * 3600)
        content = [user.id, user.session, secrets.token_urlsafe(16), int(time.time()) + lifetime_s]
        return self._sessions.dumps(content), lifetime_s

    async def end(self, signed_in: SignedIn) -> None:
        """Take the cookie of a session no longer, in every server of this database.

        Raises:
            Unavailable, ConfigurationError: The database cannot be written.
        """
        await anyio.to_thread.run_sync(
            lambda: self.identity.end_session(signed_in.id, signed_in.expires_at), limiter=self._lookups
        )
        self._known.pop(("session", signed_in), None)

    def _session_of(self, scope: Scope, headers: Headers, asked: Asked) -> SignedIn | None:
        name = self.cookie_name(asked, self.site.cookie_path(scope))
        for found, value in cookies_of(headers):
            if found == name:
                signed_in = self._read(value)
                if signed_in is not None:
                    return signed_in
        return None

    def _read(self, value: str) -> SignedIn | None:
        try:
            user_id, session, own_id, expires_at = self._sessions.loads(value)
        except (BadSignature, ValueError, TypeError):
            return None
        return SignedIn(user_id, session, own_id, expires_at) if expires_at > time.time() else None


def cookies_of(headers: Headers) -> list[tuple[str, str]]:
    """Return every cookie as (name, value), in the order in which the browser sent them."""
    pairs = (part.strip().partition("=") for line in headers.getlist("cookie") for part in line.split(";"))
    return [(name.strip(), value.strip().strip('"')) for name, found, value in pairs if found]
