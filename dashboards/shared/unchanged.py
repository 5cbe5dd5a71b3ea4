"""Programs, styles and fonts of the pages, which a browser has after the first page and need not get again."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geoetl.api.etag import is_known, tag_of, tagged

# What Panel gives out without a tag: 6 MiB for a page, anew with each page (1.10).
FOLDERS = ("/static/", "/components/")


class Unchanged:
    """Tell a browser that it already has a file; the files are those of installed packages, the same until a restart.

    Args:
        app: What gives out the files.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._tags: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or scope["method"] != "GET" or not path.startswith(FOLDERS):
            await self.app(scope, receive, send)
            return
        known = self._tags.get(path)
        if known and is_known(known, Headers(scope=scope).get("if-none-match")):
            headers = [(name.lower().encode(), value.encode()) for name, value in tagged(known).items()]
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        await self.app(scope, receive, _tagged(known, send) if known else self._tagging(path, send))

    def _tagging(self, path: str, send: Send) -> Send:
        """Return a `send` that holds a file back until it is whole, as its tag comes before it."""
        held: list[Message] = []

        async def tagging(message: Message) -> None:
            held.append(message)
            if message["type"] != "http.response.body" or message.get("more_body"):
                return
            start, *bodies = held
            if start["status"] == 200:
                self._tags[path] = tag_of(b"".join(body.get("body", b"") for body in bodies))
            then = _tagged(self._tags.get(path, ""), send)
            for one in held:
                await then(one)

        return tagging


def _tagged(tag: str, send: Send) -> Send:
    """Return a `send` that tells the tag of a file, where there is one."""

    async def telling(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200 and tag:
            MutableHeaders(scope=message).update(tagged(tag))
        await send(message)

    return telling
