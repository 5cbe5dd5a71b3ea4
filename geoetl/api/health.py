"""Whether the process lives, and whether it can work.

``/livez`` looks at nothing: a process that does not answer it is to be started anew.  ``/readyz`` looks at everything a
request may need, at once and each within a time: a process that fails it is to be sent no requests.
"""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

import geoetl
from geoetl.api.problems import respond
from geoetl.api.security import needs
from geoetl.core.errors import ConfigurationError, GeoetlError, Unavailable
from geoetl.core.principal import Role
from geoetl.store.migrations import HEAD
from geoetl.store.zones import Zone, free_bytes

if TYPE_CHECKING:
    from geoetl.platform import Platform

# One part may take so long; a balancer asks every few seconds.
CHECK_S = 2.0
# Many may ask at once, and what is looked at is the same for all of them.
KEPT_S = 1.5
MIB = 1024 * 1024
# Below this a write of the database or of a finished file may fail half-way.
MIN_FREE_MIB = 256


class Alive(BaseModel):
    """The answer of a process that lives."""

    status: str
    version: str


class Check(BaseModel):
    """How one part is.

    Attributes:
        name: The part.
        ok: Whether it works.
        detail: A sentence.
        remedy: What to do where it does not.
        info: Versions and sizes; for operators alone.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    ok: bool
    detail: str
    remedy: str | None = None
    info: dict[str, str | int] | None = None


class Readiness(BaseModel):
    """How every part is."""

    status: Annotated[str, Field(description="ok")]
    checks: list[Check]

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"status": "ok", "checks": [{"name": "database", "ok": True, "detail": "It answers."}]}
        }
    )


class _NotReady(Unavailable):
    code = "not_ready"
    title = "The server cannot work now"


def router(platform: "Platform | None" = None, *, writes: bool = True) -> APIRouter:
    """Return the routes of health.

    Args:
        platform: What is looked at.
        writes: Whether this server writes; one that only reads needs no writable zone.
    """
    routes = APIRouter(tags=["health"])

    @routes.get("/livez")
    @routes.get("/api/livez")
    async def livez() -> Alive:
        """Tell that the process answers; nothing else is looked at."""
        return Alive(status="ok", version=geoetl.__version__)

    if platform is None:
        return routes
    watch = Watch(checks_of(platform, writes=writes))

    def answer(request: Request, seen: list[Check], left_out: set[str] | None) -> Response:
        checks = [check.model_dump(exclude=left_out, exclude_none=True) for check in seen]
        broken = [check.name for check in seen if not check.ok]
        if not broken:
            body = json.dumps({"status": "ok", "checks": checks})
            return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})
        problem = _NotReady(f"Not working: {', '.join(broken)}.", hint="See the remedy of each check.")
        told = respond(problem, request.scope)
        body = json.dumps({**json.loads(bytes(told.body)), "checks": checks})
        return Response(body, told.status_code, _kept(told), media_type=told.media_type)

    @routes.get("/readyz", response_model=Readiness)
    async def readyz(request: Request) -> Response:
        """Tell whether every part that a request may need works."""
        return answer(request, await watch.look(), {"info"})

    # Apart, as who asks is looked up in the database, which may be what does not work.
    @routes.get("/api/readyz", response_model=Readiness, dependencies=[Depends(needs(Role.OPERATOR))])
    async def detailed_readyz(request: Request) -> Response:
        """Tell operators the same, with versions and sizes."""
        return answer(request, await watch.look(), None)

    return routes


def _kept(answer: Response) -> Mapping[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in ("content-length", "content-type")}


@dataclass
class Watch:
    """Looks at every part at once, and keeps what it saw for a moment.

    Attributes:
        checks: Each part's name, and how it is found out; raises a `GeoetlError` where it does not work.
        seconds: How long each may take.
        kept: How long an answer holds, seconds.
    """

    checks: Mapping[str, Callable[[], dict[str, str | int]]]
    seconds: float = CHECK_S
    kept: float = KEPT_S
    _seen: tuple[float, list[Check]] = field(default=(0.0, []), init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    # A part that hangs holds its thread: it is not asked again before it has answered.
    _asked: dict[str, "Future[dict[str, str | int]]"] = field(default_factory=dict, init=False)
    _pool: ThreadPoolExecutor | None = field(default=None, init=False)

    async def look(self) -> list[Check]:
        """Return how every part is."""
        async with self._lock:
            since, seen = self._seen
            if not seen or time.monotonic() - since >= self.kept:
                seen = list(await asyncio.gather(*(self._one(name) for name in self.checks)))
                self._seen = (time.monotonic(), seen)
            return seen

    async def _one(self, name: str) -> Check:
        asked = self._asked.get(name)
        if asked is None or asked.done():
            if self._pool is None:
                self._pool = ThreadPoolExecutor(len(self.checks), thread_name_prefix="geoetl-health")
            asked = self._asked[name] = self._pool.submit(self.checks[name])
        try:
            info = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(asked)), self.seconds)
        except TimeoutError:
            return Check(
                name=name,
                ok=False,
                detail=f"It did not answer within {self.seconds:g} s.",
                remedy="Check its load and the network to it.",
            )
        except GeoetlError as error:
            return Check(name=name, ok=False, detail=error.detail, remedy=error.hint)
        except Exception as error:
            return Check(
                name=name, ok=False, detail=f"It failed ({type(error).__name__}).", remedy="See the log of the server."
            )
        return Check(name=name, ok=True, detail="It works.", info=info or None)


def checks_of(platform: "Platform", *, writes: bool) -> dict[str, Callable[[], dict[str, str | int]]]:
    """Return what a platform needs to work, each as a function that finds out."""
    checks: dict[str, Callable[[], dict[str, str | int]]] = {
        "database": lambda: _database(platform),
        "catalogue": lambda: {"version": platform.catalog.version()},
        "internal zone": lambda: _zone(platform.zones.internal, writes=writes),
        "external zone": lambda: _zone(platform.zones.external, writes=writes),
        "disk": lambda: _disk(platform),
    }
    return checks


def _database(platform: "Platform") -> dict[str, str | int]:
    with platform.database.read() as connection:
        found = str(connection.execute(sa.text("select version_num from alembic_version")).scalar())
    if found != HEAD:
        raise ConfigurationError(
            f"The schema of the database is at revision {found}; this version needs {HEAD}.",
            hint="Run: geoetl db upgrade" if found < HEAD else "Upgrade geoetl on this server.",
        )
    return {"kind": platform.database.dialect, "revision": found, "version": geoetl.__version__}


def _zone(zone: Zone, *, writes: bool) -> dict[str, str | int]:
    """Look whether a zone can be read and written; a folder that nothing was put into yet is made at the first use."""
    if zone.root is None:
        zone.size("readyz")  # whether it is there does not matter, only that the store answers
        return {"kind": "object store"}
    if not zone.root.exists():
        folder = next(parent for parent in zone.root.parents if parent.exists())
        if writes and not os.access(folder, os.W_OK | os.X_OK):
            raise Unavailable("Its folder cannot be made.", hint="Give this user write permission on the folder above.")
        return {"kind": "folder"}
    if not os.access(zone.root, os.R_OK | os.X_OK):
        raise Unavailable("Its folder cannot be read.", hint="Give this user read permission on the zone's folder.")
    if writes:
        try:
            with tempfile.TemporaryFile(dir=zone.root) as probe:
                probe.write(b"geoetl")
        except OSError as error:
            raise Unavailable(
                f"Its folder cannot be written: {error.strerror}.",
                hint="Check the free space and the permissions of the zone's folder.",
            ) from None
    return {"kind": "folder"}


def _disk(platform: "Platform") -> dict[str, str | int]:
    free = free_bytes(platform.settings.home) // MIB
    if free < MIN_FREE_MIB:
        raise Unavailable(
            "The disk of the home folder is nearly full.",
            hint=f"Keep more than {MIN_FREE_MIB} MiB free; old runs and unused files can go.",
        )
    return {"free_mib": free}
