"""Who looks at a page: what the guard found out, as Panel and the code of a page see it."""

from html import escape
from typing import Any, ClassVar

import panel as pn
from bokeh.server.request import ServerRequest
from bokeh.util.token import get_token_payload
from tornado.web import create_signed_value, decode_signed_value

from geoetl.api.security import Authority
from geoetl.core.principal import Principal, Role, Via

_STYLE = (
    "font:14px/20px Roboto,sans-serif;color:#fff;height:48px;display:flex;align-items:center;justify-content:flex-end;"
    "gap:12px;white-space:nowrap"
)
_NAME = "max-width:clamp(0px,30vw - 60px,180px);overflow:hidden;text-overflow:ellipsis"
_BUTTON = (
    "font:inherit;color:inherit;background:none;border:1px solid rgb(255 255 255 / .5);border-radius:8px;"
    "padding:4px 12px;cursor:pointer"
)


class VisitorCookie:
    """Makes the cookie from which ``pn.state.user`` reads the name.

    It goes from the guard to Panel and never to a browser; one that a browser sends does not get past the guard, and
    neither does ``is_guest``, which Panel would believe without a signature.
    """

    NAME: ClassVar[str] = "user"

    def __init__(self, authority: Authority) -> None:
        # Panel has one key in a process: a second application there takes that of the first.
        pn.config.cookie_secret = pn.config.cookie_secret or authority.derived_key("panel user").hex()
        self._key = str(pn.config.cookie_secret)

    def __call__(self, principal: Principal) -> tuple[str, str]:
        return self.NAME, create_signed_value(self._key, self.NAME, principal.name).decode()


def visitor() -> Principal:
    """Return who looks at the page of this session.

    It is what the guard found at the request that opened the session, not what a cookie says. Outside of a server, as
    in a notebook, it is whoever runs it.
    """
    context = pn.state.curdoc.session_context if pn.state.curdoc else None
    request: Any = getattr(context, "request", None)
    if request is None:
        return Principal("local", "Local operator", Role.OPERATOR, Via.LOCAL)
    found = request.state["principal"]
    if not isinstance(found, Principal):
        raise TypeError("A page was opened past the guard.")
    return found


def may_enter(request: ServerRequest) -> str | None:
    """Return the visitor's name where the guard let them through, and a websocket belongs to a page of the same one."""
    principal = request.state.get("principal")
    if not isinstance(principal, Principal):
        return None
    protocol = request.headers.get("sec-websocket-protocol")
    if protocol is not None:
        # Panel has checked the token's signature by now; whose page it was handed out with is up to us.
        token = protocol.partition(",")[2].strip()
        page_of = get_token_payload(token).get("cookies", {}).get(VisitorCookie.NAME, "")
        name = decode_signed_value(str(pn.config.cookie_secret), VisitorCookie.NAME, page_of)
        if name is None or name.decode() != principal.name:
            return None
    return principal.name


def visitor_markup(principal: Principal) -> str:
    """Return the name for a page's header, with the way out for who has signed in, or the way in for who has not."""
    who = f'<span style="{_NAME}" title="{escape(principal.name)}, {principal.role}">{escape(principal.name)}</span>'
    action = ""
    if principal.via is Via.COOKIE:
        action = (
            f'<form method="post" action="logout" style="margin:0"><button style="{_BUTTON}">Sign out</button></form>'
        )
    elif principal.via is Via.ANONYMOUS:
        action = f'<a href="login" style="{_BUTTON};text-decoration:none">Sign in</a>'
    return f'<div style="{_STYLE}">{who}{action}</div>'
