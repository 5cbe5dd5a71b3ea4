"""Who may ask, while there is no login: this machine's own browser, or one proxy that knows a secret.

The server listens on a loopback address.  That alone does not keep out a web page elsewhere that the user's browser
shows: its name may be made to resolve to 127.0.0.1 (DNS rebinding), and a websocket may be opened across origins.
"""

import hmac
import ipaddress
import json
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from geoetl.core.errors import GeoetlError

PROXY_HEADER = "X-Geoetl-Proxy"
# Tells nothing, and a proxy asks it before it has anything to show.
OPEN_PATHS = frozenset({"/api/livez"})


class Refused(GeoetlError):
    """Who asks may not."""

    code = "refused"
    title = "This may not be asked from here"
    status = 403
    exit_code = 4


class Guard:
    """Lets through what comes from this machine's browser or from the proxy; add it last, so that it is asked first.

    Args:
        app: What is guarded.
        proxy_token: The secret that the proxy sends in `PROXY_HEADER`; with it, nobody else is let through.
    """

    def __init__(self, app: ASGIApp, proxy_token: str | None = None) -> None:
        self.app = app
        self._token = proxy_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        problem = self._problem(scope["type"], Headers(scope=scope))
        if problem is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            body = json.dumps(problem.problem()).encode()
            headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": problem.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _problem(self, kind: str, headers: Headers) -> Refused | None:
        host = headers.get("host", "")
        if self._token is not None:
            if not hmac.compare_digest(headers.get(PROXY_HEADER, "").encode(), self._token.encode()):
                return Refused("This server answers JupyterLab only.", hint="Open it from JupyterLab's launcher.")
        elif not is_loopback(urlsplit(f"//{host}").hostname or ""):
            return Refused(
                f"This server does not answer to the name '{host[:80]}'.",
                hint="Open it as http://127.0.0.1 or localhost.",
            )
        origin = headers.get("origin")
        if kind == "websocket" and origin is not None and urlsplit(origin).netloc != host:
            return Refused("A page of another server may not connect.", hint="Open the dashboard itself.")
        return None


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's own, reached from this machine only."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
