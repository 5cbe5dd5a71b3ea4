"""Kinds of Dask clusters: of this machine, by ssh, from dask-gateway; or a scheduler that runs already.

Whoever reaches a scheduler can run code as its user. So a cluster of this machine listens on loopback alone, and as
others reach loopback too on a shared machine, it is encrypted with certificates that are made for it. The dashboard
shows, and changes nothing.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from geoetl.core.errors import ConfigurationError, Unavailable
from geoetl.core.settings import DaskSettings

if TYPE_CHECKING:
    from distributed import Client, Security

LOCAL, SSH, GATEWAY = "local", "ssh", "gateway"
# The setting that names them.
ADDRESS = "GEOETL_DASK__ADDRESS"
LOOPBACK = "127.0.0.1"
CONNECT_TIMEOUT_S = 10
# A cluster by ssh whose run was killed ends by itself after this time; one that was idle for so long is started again.
ABANDONED_S = 900
GIB = 1024**3


def started(settings: DaskSettings, stack: ExitStack) -> "Client":
    """Return the client of the cluster that settings name; `stack` ends what has to be started for it.

    Raises:
        Unavailable: It does not answer, or could not be started.
        ConfigurationError: A package or a setting that it needs is missing.
    """
    from distributed import Client

    start = {LOCAL: _local, SSH: _ssh, GATEWAY: _gateway}.get(settings.address or "")
    if start is None:
        return _connected(settings)
    cluster = stack.enter_context(start(settings))
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
        host=LOOPBACK,
        dashboard_address=f"{LOOPBACK}:0",
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

    is_here = all(is_loopback(host) for host in settings.hosts)
    if not (is_here or settings.tls_ca):
        raise ConfigurationError(
            "A Dask cluster on other hosts has to be encrypted: whoever reaches its scheduler can run code there.",
            hint="Give GEOETL_DASK__TLS_CA, GEOETL_DASK__TLS_CERT and GEOETL_DASK__TLS_KEY.",
            field="GEOETL_DASK__TLS_CA",
        )
    if find_spec("asyncssh") is None:
        raise _lacking("asyncssh", "A Dask cluster by ssh")
    # Encrypted is what carries tasks; the pages that both show are seen from their own machine only.
    listen: dict[str, Any] = {"protocol": "tls"} if settings.tls_ca else {"host": LOOPBACK}
    listen["dashboard_address"] = f"{LOOPBACK}:0"
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
    if parts.scheme == "tcp" and not is_loopback(parts.hostname or ""):
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
            hint=f"Check {ADDRESS}, that the scheduler runs, and the certificates where it is encrypted; "
            "unset it to work on this machine.",
        ) from None


# -- certificates, and what is missing ---------------------------------------------------------------------------------


def _security(settings: DaskSettings) -> "Security | None":
    """Return the certificates that were given, for every role.

    Raises:
        ConfigurationError: One of them is not there.
    """
    from distributed import Security

    if not settings.tls_ca:
        return None
    for name in ("tls_ca", "tls_cert", "tls_key"):
        if not getattr(settings, name).is_file():
            raise ConfigurationError(
                f"There is no file where GEOETL_DASK__{name.upper()} says.",
                hint="Give the path of a PEM file.",
                field=f"GEOETL_DASK__{name.upper()}",
            )
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


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by a name or address that only it has."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _lacking(package: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{what} needs the package {package}, which is not installed.",
        hint=f"Install it: pip install {package}",
        field=ADDRESS,
    )
