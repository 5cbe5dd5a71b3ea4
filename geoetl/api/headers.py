"""What every answer tells a browser of itself: what it is not to guess, where it may be shown, what may run in it."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# 'self' and no more: JupyterLab shows the pages through its proxy from the same address.
_FRAMES = "frame-ancestors 'self'"
# For what is no page: if it is shown as one after all, nothing in it runs.
DATA_POLICY = f"default-src 'none'; {_FRAMES}"
# Panel writes its start into the page and Bokeh compiles its templates; maps draw in workers made of a blob.
PAGE_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob: {images}",
        "font-src 'self' data:",
        "connect-src 'self' {images}",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        _FRAMES,
    )
)
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
    "Permissions-Policy": "camera=(), microphone=(), payment=(), usb=()",
}


class SecurityHeaders:
    """Give every answer the headers that it does not have yet.

    Args:
        app: What is guarded.
        images: Other origins that pages may fetch from: that of the base map's tiles.
    """

    def __init__(self, app: ASGIApp, images: str = "") -> None:
        self.app = app
        self._page_policy = PAGE_POLICY.format(images=images).replace(" ;", ";")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
                kind = headers.get("content-type", "").partition(";")[0].strip()
                if kind == "text/html":
                    headers.setdefault("Content-Security-Policy", self._page_policy)
                elif kind.endswith("json"):
                    headers.setdefault("Content-Security-Policy", DATA_POLICY)
            await send(message)

        await self.app(scope, receive, telling)
