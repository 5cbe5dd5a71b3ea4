"""Which methods an address takes; HEAD is taken wherever GET is.

FastAPI's routes take only the methods that they are declared with, and a refusal names those of one route only.

Source: RFC 9110, sections 9.3.2 (HEAD), 10.2.1 (Allow) and 15.5.6 (405).
"""

from typing import Any

from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Heads:
    """Answer HEAD as GET without its body, where a route takes GET and not HEAD itself.

    Args:
        app: What answers; the routes are those of the application around it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or not _is_only_got(scope):
            await self.app(scope, receive, send)
            return

        async def headers_only(message: Message) -> None:
            # The answer is over with its headers: a stream then sees that nobody listens, and ends.
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self.app({**scope, "method": "GET"}, receive, headers_only)


def taken(scope: Scope) -> list[str]:
    """Return the methods that the address of a request takes."""
    found = [method for method in _METHODS if _route(scope, method) is not None]
    return ["GET", "HEAD", *found[1:]] if found[:1] == ["GET"] else found


def _is_only_got(scope: Scope) -> bool:
    """Tell whether GET is answered by a route that would not see HEAD, though one after it may."""
    got, headed = _route(scope, "GET"), _route(scope, "HEAD")
    return got is not None and (headed is None or got < headed)


def _route(scope: Scope, method: str) -> int | None:
    """Return the number of the first route that takes the address with a method."""
    routes: list[Any] = scope["app"].router.routes
    asked = {**scope, "method": method}
    return next((number for number, route in enumerate(routes) if route.matches(asked)[0] is Match.FULL), None)
