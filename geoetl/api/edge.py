"""The layers around the routes, and their order.

From the outside in: `Observed` (id, log, figures), `SecurityHeaders`, `Problems` (the last resort), `RequestLimits`
(address and time); then whatever stands before people, the guard above all, and Panel; then `ClientRate`, `Heads`,
`Bodies` and `HeavySlots`, which spend memory and time only on who may ask.

`install` puts all of them on.  What is put on later stands outside of them: whoever does that calls `outermost` at the
end, which moves the outer ones to the front again.
"""

from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from fastapi import FastAPI

from geoetl.api import docs, health, observe
from geoetl.api.apart import Launch
from geoetl.api.headers import SecurityHeaders
from geoetl.api.limits import (
    ITEM_WRITES,
    MIB,
    PICTURES,
    Bodies,
    ClientRate,
    HeavySlots,
    RequestLimits,
    heavy_groups,
)
from geoetl.api.methods import Heads
from geoetl.api.observe import Metrics, Noted, Observed
from geoetl.api.problems import Problems

if TYPE_CHECKING:
    from geoetl.platform import Platform

_OUTER = (Observed, SecurityHeaders, Problems, RequestLimits)
# What Panel answers by itself, for the figures.
PAGES = ("/explore", "/static")


def install(app: FastAPI, platform: "Platform", *, writes: bool = True, launch: Launch | None = None) -> Metrics:
    """Put the layers around an application, and the routes of health, figures and documentation into it.

    Args:
        app: The application.
        platform: What answers; its settings have the limits.
        writes: Whether the server writes.
        launch: Starts the process that heavy requests are answered by; left out, this one answers them.
    """
    server = platform.settings.server
    groups = heavy_groups(server)
    metrics = Metrics(platform, groups.values())
    app.include_router(health.router(platform, writes=writes))
    app.include_router(observe.router(metrics))
    app.include_router(docs.router())
    # The first that is put on is the innermost.
    app.add_middleware(Noted)
    app.add_middleware(HeavySlots, groups=groups, launch=launch)
    app.add_middleware(
        Bodies,
        settings=server,
        larger=[(ITEM_WRITES, int(server.item_body_mib * MIB))],
        unread=PICTURES if launch else None,
    )
    app.add_middleware(Heads)
    if server.requests_per_minute:
        app.add_middleware(ClientRate, per_minute=server.requests_per_minute)
    app.add_middleware(RequestLimits, settings=server)
    app.add_middleware(Problems)
    app.add_middleware(SecurityHeaders, images=_origin(platform.settings.map.tile_url))
    app.add_middleware(Observed, metrics=metrics, trusted=platform.settings.security.trusted_proxies, pages=PAGES)
    return metrics


def outermost(app: FastAPI) -> None:
    """Move the outer layers to the front, after others were put on."""
    layers = app.user_middleware
    outer = [layer for kind in _OUTER for layer in layers if cast(object, layer.cls) is kind]
    layers[:] = [*outer, *(layer for layer in layers if layer not in outer)]


def _origin(tile_url: str | None) -> str:
    """Return the origin of the base map's tiles, which pages may then fetch from."""
    parts = urlsplit(tile_url or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and parts.netloc else ""
