"""The Dask client of a run, and whatever cluster it needs.

A cluster of this machine listens on loopback alone, encrypted with certificates that are made for it: whoever reaches a
scheduler can run code as its user, and on a shared machine others reach loopback too. Its dashboard shows, and changes
nothing.
"""

import logging
import os
import socket
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from geoetl.core.errors import ConfigurationError, Unavailable
from geoetl.core.settings import DaskSettings

if TYPE_CHECKING:
    from distributed import Client, Security

LOCAL, SSH, GATEWAY = "local", "ssh", "gateway"
CONNECT_TIMEOUT_S = 10
GIB = 1024**3
# An ssh cluster whose run was killed ends by itself after this time; one that was idle for so long is started again.
ABANDONED_S = 900
# Pickles and results depend on these: other versions may give another answer, or none.
_SAME = ("geoetl", "dask", "distributed", "cloudpickle", "numpy", "pydantic")
_ADDRESS = "GEOETL_DASK__ADDRESS"
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Dashboard:
    """Where the tasks of a run can be watched.

    Attributes:
        url: Its address, on the machine that executes the run where it is one of this machine.
        link: The same as a browser reaches it: in JupyterLab, through jupyter-server-proxy.
        host: Name of that machine.
        workers: Dask workers at the start.
    """

    url: str
    link: str
    host: str
    workers: int

    def __str__(self) -> str:
        return self.link

    def _repr_html_(self) -> str:
        link = escape(self.link, quote=True)
        return f'<a href="{link}" target="_blank" rel="noopener">Dask dashboard</a> · {self.workers} workers'


@dataclass
class Cluster:
    """The Dask client that settings name: connected, or with its cluster, at the first call; closed with the run.

    Args:
        settings: Which it is.
    """

    settings: DaskSettings
    dashboard: Dashboard | None = field(default=None, init=False)
    _client: "Client | None" = field(default=None, init=False)
    _stack: ExitStack = field(default_factory=ExitStack, init=False)

    def client(self) -> "Client | None":
        """Return the client; None without an address: the work is done here, and in processes where that pays.

        That is the default, because starting Dask workers costs seconds, which pays only for long fan-outs.

        Raises:
            Unavailable: The scheduler does not answer, or has no worker.
            ConfigurationError: What is needed is not installed, or the workers have other versions.
        """
        if self.settings.address is None:
            return None
        if self._client is not None and self._client.status != "running":
            self.close()  # lost, or ended because it was idle
        if self._client is None:
            with ExitStack() as stack:
                made = stack.enter_context(_started(self.settings, stack))
                workers = _workers(made, self.settings)
                _check_versions(made)
                self.dashboard = _dashboard(made, self.settings, workers)
                self._client = made
                self._stack = stack.pop_all()
        return self._client

    def close(self) -> None:
        """End what was started; `client` would start it again."""
        self._client = self.dashboard = None
        self._stack.close()


@contextmanager
def client(settings: DaskSettings) -> "Iterator[Client | None]":
    """Give the client that `settings` name, for one piece of work; see `Cluster.client`."""
    cluster = Cluster(settings)
    try:
        yield cluster.client()
    finally:
        cluster.close()


# -- kinds of clusters -------------------------------------------------------------------------------------------------


def _started(settings: DaskSettings, stack: ExitStack) -> "Client":
    from distributed import Client

    match settings.address:
        case "local":
            cluster = stack.enter_context(_local(settings))
        case "ssh":
            cluster = stack.enter_context(_ssh(settings))
        case "gateway":
            cluster = stack.enter_context(_gateway(settings))
        case _:
            return _connected(settings)
    # Not the default client: what a stage computes with dask arrays stays in the stage.
    return Client(cluster, set_as_default=False)


def _local(settings: DaskSettings) -> Any:
    """Return a cluster of this machine: a scheduler in this process, and each worker a process that is replaced."""
    from distributed import LocalCluster, Security

    if find_spec("cryptography") is None:
        raise _lacking("cryptography", "A Dask cluster of this machine")
    if settings.scratch:
        settings.scratch.mkdir(parents=True, exist_ok=True)
    return LocalCluster(
        n_workers=settings.workers,
        threads_per_worker=1,
        host=_LOOPBACK,
        dashboard_address=f"{_LOOPBACK}:0",
        security=Security.temporary(),
        memory_limit=int(settings.memory_gib * GIB) if settings.memory_gib else "auto",
        local_directory=str(settings.scratch) if settings.scratch else None,
        scheduler_kwargs={"allowed_failures": settings.lost_workers, "worker_ttl": settings.silent_seconds},
    )


def _ssh(settings: DaskSettings) -> Any:
    """Return a cluster whose scheduler and workers are started on other hosts; ssh's own files say how to get there.

    The certificates lie at the same places on all of them.
    """
    import dask
    from distributed import SSHCluster

    is_here = all(_is_loopback(host) for host in settings.hosts)
    if not (is_here or settings.tls_ca):
        raise ConfigurationError(
            "A Dask cluster on other hosts has to be encrypted: whoever reaches its scheduler can run code there.",
            hint="Give GEOETL_DASK__TLS_CA, GEOETL_DASK__TLS_CERT and GEOETL_DASK__TLS_KEY.",
            field="GEOETL_DASK__TLS_CA",
        )
    if find_spec("asyncssh") is None:
        raise _lacking("asyncssh", "A Dask cluster by ssh")
    # Encrypted is what carries tasks; the pages that both show are seen from their own machine only.
    listen: dict[str, Any] = {"protocol": "tls"} if settings.tls_ca else {"host": _LOOPBACK}
    listen["dashboard_address"] = f"{_LOOPBACK}:0"
    memory = {"memory_limit": int(settings.memory_gib * GIB)} if settings.memory_gib else {}
    # The settings of Dask itself are handed on to the hosts; the certificates are named in them.
    with dask.config.set(_tls_configuration(settings)):
        try:
            return SSHCluster(
                list(settings.hosts),
                scheduler_options={
                    "port": 0,
                    "idle_timeout": f"{ABANDONED_S} s",
                    "allowed_failures": settings.lost_workers,
                    "worker_ttl": settings.silent_seconds,
                    **listen,
                },
                worker_options={"nthreads": 1, "death_timeout": ABANDONED_S, **listen, **memory},
                remote_python=settings.python,
                silence_logs=logging.WARNING,
                security=_security(settings),
            )
        except Exception as error:  # noqa: BLE001  Dask raises bare ones when a host does not do as it shall
            raise Unavailable(
                f"The Dask cluster could not be started by ssh ({type(error).__name__}).",
                hint="`ssh HOST` has to work without a question, and the same packages have to be there "
                "(GEOETL_DASK__PYTHON).",
            ) from None


def _gateway(settings: DaskSettings) -> Any:
    """Return a cluster of dask-gateway's; how to sign in there is told by Dask's own configuration (gateway.auth)."""
    if find_spec("dask_gateway") is None:
        raise _lacking("dask-gateway", "A cluster from dask-gateway")
    import dask

    # Neither has to be installed, or has types.
    package, aiohttp = (import_module(name) for name in ("dask_gateway", "aiohttp"))
    if not (settings.gateway or dask.config.get("gateway.address", None)):
        raise ConfigurationError(
            "Where dask-gateway is, is not set.", hint="Give GEOETL_DASK__GATEWAY.", field="GEOETL_DASK__GATEWAY"
        )
    # It says "not found" and "not possible" with a ValueError.
    refused = (package.GatewayClusterError, package.GatewayServerError, aiohttp.ClientError, OSError, ValueError)
    try:
        cluster = package.GatewayCluster(address=settings.gateway, shutdown_on_close=True)
        cluster.scale(settings.workers)
    except refused as error:
        raise Unavailable(
            f"dask-gateway gave no cluster ({type(error).__name__}).",
            hint="Check GEOETL_DASK__GATEWAY, that it runs, and that it knows you (DASK_GATEWAY__AUTH__TYPE).",
        ) from None
    return cluster


def _connected(settings: DaskSettings) -> "Client":
    """Return the client of a scheduler that runs already."""
    from distributed import Client

    address = str(settings.address)
    parts = urlsplit(address)
    if parts.scheme == "tcp" and not _is_loopback(parts.hostname or ""):
        warnings.warn(
            "The Dask scheduler is reached without encryption: whoever is on the network between can run code here. "
            "Give its tls:// address.",
            stacklevel=2,
        )
    try:
        return Client(address, timeout=CONNECT_TIMEOUT_S, security=_security(settings), set_as_default=False)
    except (OSError, TimeoutError):
        raise Unavailable(
            "The Dask scheduler does not answer.",
            hint=f"Check {_ADDRESS}, that the scheduler runs, and the certificates where it is encrypted; "
            "unset it to work on this machine.",
        ) from None


# -- what all of them need ---------------------------------------------------------------------------------------------


def _security(settings: DaskSettings) -> "Security | None":
    """Return the certificates that were given, for every role."""
    from distributed import Security

    if not settings.tls_ca:
        return None
    pairs = {f"tls_{role}_{kind}": str(path) for role, kind, path in _certificates(settings)}
    return Security(require_encryption=True, tls_ca_file=str(settings.tls_ca), **pairs)


def _tls_configuration(settings: DaskSettings) -> dict[str, Any]:
    if not settings.tls_ca:
        return {}
    pairs = {f"distributed.comm.tls.{role}.{kind}": str(path) for role, kind, path in _certificates(settings)}
    return {
        "distributed.comm.require-encryption": True,
        "distributed.comm.tls.ca-file": str(settings.tls_ca),
        **pairs,
    }


def _certificates(settings: DaskSettings) -> Iterator[tuple[str, str, Any]]:
    for role in ("client", "scheduler", "worker"):
        yield role, "cert", settings.tls_cert
        yield role, "key", settings.tls_key


def _workers(made: "Client", settings: DaskSettings) -> int:
    """Wait for the first worker and return how many there are."""
    try:
        made.wait_for_workers(1, timeout=settings.start_seconds)
        return len(made.nthreads(callback_timeout=CONNECT_TIMEOUT_S))
    except (TimeoutError, OSError):
        raise Unavailable(
            f"The Dask scheduler had no worker within {settings.start_seconds:g} s.",
            hint="Start workers, or give them more time with GEOETL_DASK__START_SECONDS.",
        ) from None


def _check_versions(made: "Client") -> None:
    """Refuse workers on which a task may do something else than here.

    Raises:
        ConfigurationError: Python differs, or a package that pickles or results depend on.
    """
    try:
        theirs = made.sync(made._get_versions, packages=_SAME, callback_timeout=CONNECT_TIMEOUT_S)["workers"]
    except (TimeoutError, OSError):
        raise Unavailable("The Dask workers do not answer.", hint="Look for those that hang.") from None
    ours = own_versions()
    differing = []
    for name, wanted in ours.items():
        found = Counter(_version(name, worker) for worker in theirs.values())
        others = [f"{number} has {other}" for other, number in sorted(found.items()) if other != wanted]
        if others:
            differing.append(f"{name} {wanted} here, of {len(theirs)} {', '.join(others)}")
    if differing:
        raise other_versions("; ".join(differing))


@cache
def own_versions() -> Mapping[str, str]:
    """Return the versions that have to be the same on a worker."""
    return {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", **{name: version(name) for name in _SAME}}


def other_versions(what: str) -> ConfigurationError:
    """Return the error for workers with other versions than here."""
    return ConfigurationError(
        f"The Dask workers have other versions than this process: {what}.",
        hint="Install the same versions in the environment of the workers, and start them again.",
        field=_ADDRESS,
    )


def _version(name: str, worker: Mapping[str, Any]) -> str:
    found = str(worker["packages"].get(name) or "none")
    return ".".join(found.split(".")[:2]) if name == "python" else found


def _dashboard(made: "Client", settings: DaskSettings, workers: int) -> Dashboard | None:
    """Return where the dashboard is; None where the scheduler has none."""
    import dask
    from distributed.utils import format_dashboard_link

    if settings.address == GATEWAY:
        link = made.dashboard_link
        return Dashboard(link, link, urlsplit(link).hostname or "", workers) if link else None
    info = made.scheduler_info(n_workers=0)
    port = info["services"].get("dashboard")
    if not port:
        return None
    # What we start shows itself on loopback; of others nothing is known but where the scheduler is.
    host = urlsplit(info["address"]).hostname or _LOOPBACK
    url = f"http://{_LOOPBACK if settings.address in (LOCAL, SSH) else host}:{port}/status"
    machine = socket.gethostname() if _is_loopback(host) else host
    is_plain = dask.config.get("distributed.dashboard.link").startswith("{scheme}")
    if is_plain and (prefix := os.environ.get("JUPYTERHUB_SERVICE_PREFIX")) and _is_loopback(host):
        return Dashboard(url, f"{prefix}proxy/{port}/status", machine, workers)
    return Dashboard(url, url if is_plain else format_dashboard_link(host, port), machine, workers)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _lacking(package: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{what} needs the package {package}, which is not installed.",
        hint=f"Install it: pip install {package}",
        field=_ADDRESS,
    )
