"""What is told of requests: an id for each, one line in the log, and figures for Prometheus.

The figures are those of one process.  Several processes behind one address are scraped one by one; nothing is shared
between them, so that nothing has to be locked or cleaned up.
"""

import ipaddress
import logging
import platform as machine
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import geoetl
from geoetl.api.problems import REQUEST_ID
from geoetl.core.errors import GeoetlError
from geoetl.core.identifiers import new_id
from geoetl.core.logging import bound

if TYPE_CHECKING:
    from geoetl.api.limits import Slots
    from geoetl.platform import Platform

_access = logging.getLogger("geoetl.access")
_log = logging.getLogger("geoetl.api")
# An id that a proxy gave: nothing that could be more than an id in a log or a header.
_GIVEN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Asked every few seconds by machines; a line for each would hide the rest.
UNLOGGED = frozenset({"/livez", "/readyz", "/api/livez", "/metrics"})
# From a lookup to the longest answer that a limit allows, seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
UNROUTED = "unrouted"
# What the database is asked for a scrape is asked at most so often.
FIGURES_TTL_S = 5.0
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The figures of this process, in a registry of their own.

    Args:
        platform: Whose catalogue and runs are counted.
        slots: Places for heavy operations, to tell how many are in use.
    """

    def __init__(self, platform: "Platform | None" = None, slots: "Iterable[Slots]" = ()) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "geoetl_http_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "geoetl_http_request_duration_seconds",
            "Time from a request to the end of its answer",
            ["method", "route"],
            registry=self.registry,
            buckets=BUCKETS,
        )
        self.in_flight = Gauge("geoetl_http_requests_in_flight", "Requests being answered", registry=self.registry)
        ProcessCollector(registry=self.registry)
        build = Gauge("geoetl_build_info", "Version that runs", ["version", "python"], registry=self.registry)
        build.labels(geoetl.__version__, machine.python_version()).set(1)
        self.registry.register(_Figures(platform, tuple(slots)))

    def text(self) -> bytes:
        """Return every figure in Prometheus' text format."""
        return generate_latest(self.registry)


class _Figures:
    """What is looked up when it is asked for; a part that is away is left out, and the rest told."""

    def __init__(self, platform: "Platform | None", slots: "tuple[Slots, ...]") -> None:
        self._platform = platform
        self._slots = slots
        self._known: tuple[float, list[Metric]] = (0.0, [])

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        used = GaugeMetricFamily("geoetl_heavy_slots_used", "Heavy operations that run", labels=["kind"])
        total = GaugeMetricFamily("geoetl_heavy_slots", "Heavy operations that may run at a time", labels=["kind"])
        queued = GaugeMetricFamily("geoetl_heavy_queued", "Heavy operations that wait", labels=["kind"])
        refused = CounterMetricFamily("geoetl_heavy_refused", "Heavy operations that were sent away", labels=["kind"])
        for slots in self._slots:
            used.add_metric([slots.name], slots.used)
            total.add_metric([slots.name], slots.at_once)
            queued.add_metric([slots.name], slots.queued)
            refused.add_metric([slots.name], slots.refused)
        yield from (used, total, queued, refused)
        if self._platform is not None:
            yield from self._looked_up(self._platform)

    def _looked_up(self, platform: "Platform") -> list[Metric]:
        since, known = self._known
        if known and time.monotonic() - since < FIGURES_TTL_S:
            return known
        found: list[Metric] = []
        for look in (_catalogue, _cache, _runs):
            try:
                found += look(platform)
            except GeoetlError as error:
                _log.warning("figures are missing: %s", error.detail)
        self._known = (time.monotonic(), found)
        return found


def _catalogue(platform: "Platform") -> list[Metric]:
    version = GaugeMetricFamily("geoetl_catalog_version", "Number that every change of the catalogue raises")
    version.add_metric([], platform.catalog.version())
    return [version]


def _cache(platform: "Platform") -> list[Metric]:
    stats = platform.lookup.stats()
    entries = GaugeMetricFamily("geoetl_access_cache_entries", "Documents kept", labels=["state"])
    entries.add_metric(["valid"], stats.valid_entries)
    entries.add_metric(["expired"], stats.expired_entries)
    asked = CounterMetricFamily("geoetl_access_cache_lookups", "Documents asked for", labels=["outcome"])
    asked.add_metric(["hit"], stats.hits)
    asked.add_metric(["miss"], stats.misses)
    return [entries, asked]


def _runs(platform: "Platform") -> list[Metric]:
    runs = GaugeMetricFamily("geoetl_runs", "Pipeline runs on record", labels=["state"])
    for state, count in platform.runs.counts().items():
        runs.add_metric([state], count)
    return [runs]


def router(metrics: Metrics) -> APIRouter:
    """Return the route of the figures; who may read it is the guard's to say."""
    routes = APIRouter(tags=["health"])

    @routes.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"example": "geoetl_http_requests_in_flight 1.0\n"}}}},
    )
    def figures() -> Response:
        """Return the figures of this process for Prometheus."""
        return Response(metrics.text(), media_type=None, headers={"Content-Type": CONTENT_TYPE})

    return routes


@dataclass
class _Seen:
    """What the innermost layer saw; the guard hands a copy of the scope on, so that the router's finds stay inside."""

    scope: Scope | None = None


class Noted:
    """Let `Observed` see the scope that the router writes its route into; the innermost layer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = scope.get("state", {}).get("seen")
        if isinstance(seen, _Seen):
            seen.scope = scope
        await self.app(scope, receive, send)


class Observed:
    """Give every request an id, count it, and log it once; the outermost layer.

    Args:
        app: What is observed.
        metrics: Where requests are counted.
        trusted: Addresses and networks whose ``X-Request-ID`` is taken over; others get an id of ours.
        pages: Paths of pages and of what they load, which no route of ours answers: each counts as one route.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, trusted: tuple[str, ...] = (), pages: tuple[str, ...] = ()
    ) -> None:
        self.app = app
        self._metrics = metrics
        self._trusted = tuple(ipaddress.ip_network(network, strict=False) for network in trusted)
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        request_id = self._id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        with bound(request_id=request_id):
            if scope["type"] == "websocket":
                await self.app(scope, receive, send)
            else:
                await self._observed(scope, receive, send, request_id)

    async def _observed(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = time.perf_counter()
        status, sent, told = 0, 0, False
        seen = scope["state"]["seen"] = _Seen()

        def tell() -> None:
            nonlocal told
            if not told:
                told = True
                self._metrics.in_flight.dec()
                self._tell(scope, seen.scope or scope, status, sent, time.perf_counter() - started)

        async def telling(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)
            if message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
                if not message.get("more_body", False):
                    tell()

        self._metrics.in_flight.inc()
        try:
            await self.app(scope, receive, telling)
        finally:
            tell()

    def _tell(self, scope: Scope, inner: Scope, status: int, sent: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = route_of(inner) or self._page(scope["path"])
        # Nothing was answered: the client had gone. nginx has this number for it.
        status = status or 499
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        if scope["path"] in UNLOGGED:
            return
        fields: dict[str, Any] = {
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
            "bytes": sent,
        }
        principal = scope.get("state", {}).get("principal")
        if principal is not None:
            fields["principal"] = getattr(principal, "name", None)
        _access.info("%s %s %s", method, route, status, extra=fields)

    def _page(self, path: str) -> str:
        return next((page for page in self._pages if path == page or path.startswith(f"{page}/")), UNROUTED)

    def _id(self, scope: Scope) -> str:
        given = Headers(scope=scope).get(REQUEST_ID, "")
        if self._trusted and _GIVEN_ID.fullmatch(given):
            try:
                caller = ipaddress.ip_address((scope.get("client") or ("",))[0])
            except ValueError:
                return new_id()
            if any(caller in network for network in self._trusted):
                return given
        return new_id()


def note_route(scope: Scope, template: str) -> None:
    """Let `Observed` know the route of a request that another process answered, by its template."""
    seen = scope.get("state", {}).get("seen")
    if isinstance(seen, _Seen) and template:
        seen.scope = {**scope, "route": SimpleNamespace(path=template)}


def route_of(scope: Scope) -> str:
    """Return the template of the route that a request met, never its own path; empty where it met none."""
    context = scope.get("fastapi", {}).get("effective_route_context")
    template = getattr(context, "path_format", None) or getattr(scope.get("route"), "path", None)
    if not isinstance(template, str):
        return ""
    # Where an application is mounted, its own path lies in the root path by now, and not in the template of its route.
    mounted = str(scope.get("root_path", "")).removeprefix(str(scope.get("app_root_path", "")))
    return template if template.startswith(mounted) else f"{mounted}{template}"
