"""The Dask client of a run: its cluster is started when it is needed, serves all fan-outs, and ends with the run."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from geoetl.core.errors import Unavailable
from geoetl.core.settings import DaskSettings
from geoetl.runs.deployments import GATEWAY, LOCAL, LOOPBACK, SSH, is_loopback, started
from geoetl.runs.versions import check_versions

if TYPE_CHECKING:
    from distributed import Client

# How long a scheduler may take to say which workers it has.
ANSWER_S = 30.0


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
                made = stack.enter_context(started(self.settings, stack))
                workers = _workers(made, self.settings)
                check_versions(made)
                self.dashboard = _dashboard(made, self.settings, workers)
                self._client = made
                self._stack = stack.pop_all()
        replace_lost_workers(self._client, self.settings)
        return self._client

    def close(self) -> None:
        """End what was started; `client` would start it again."""
        self._client = self.dashboard = None
        # What cannot be reached cannot be ended. A KeyError is that of distributed 2026.8 for a worker of whose end it
        # heard before its beginning; by then everything is closed.
        with suppress(OSError, TimeoutError, KeyError):
            self._stack.close()


@contextmanager
def client(settings: DaskSettings) -> "Iterator[Client | None]":
    """Give the client that `settings` name, for one piece of work; see `Cluster.client`."""
    cluster = Cluster(settings)
    try:
        yield cluster.client()
    finally:
        cluster.close()


def replace_lost_workers(made: "Client", settings: DaskSettings) -> int:
    """Return how many threads the workers have; where workers were started and are missing, start others.

    Dask itself replaces one whose process ended; but when that takes longer than 15 s, as it may on a busy machine, it
    gives it up for good.

    Raises:
        Unavailable: The scheduler does not answer.
    """
    try:
        threads = made.nthreads(callback_timeout=ANSWER_S)
    except (OSError, TimeoutError):
        raise lost_scheduler() from None
    wanted = len(settings.hosts) - 1 if settings.address == SSH else settings.workers
    if made.cluster is not None and len(threads) < wanted:
        made.cluster.scale(wanted)
    return sum(threads.values())


def lost_scheduler() -> Unavailable:
    """Return the error for a scheduler that was there, and is no more."""
    return Unavailable(
        "The Dask scheduler was lost.", hint="Start it, then run it again: what is done is not repeated."
    )


def _workers(made: "Client", settings: DaskSettings) -> int:
    """Wait for the first worker and return how many there are."""
    try:
        made.wait_for_workers(1, timeout=settings.start_seconds)
        return len(made.nthreads(callback_timeout=ANSWER_S))
    except (TimeoutError, OSError):
        raise Unavailable(
            f"The Dask scheduler had no worker within {settings.start_seconds:g} s.",
            hint="Start workers, or give them more time with GEOETL_DASK__START_SECONDS.",
        ) from None


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
    host = urlsplit(info["address"]).hostname or LOOPBACK
    url = f"http://{LOOPBACK if settings.address in (LOCAL, SSH) else host}:{port}/status"
    machine = socket.gethostname() if is_loopback(host) else host
    if settings.address == SSH and not is_loopback(host):
        return Dashboard(url, url, machine, workers)  # no proxy of this machine reaches the loopback of that one
    is_plain = dask.config.get("distributed.dashboard.link").startswith("{scheme}")
    if is_plain and (prefix := os.environ.get("JUPYTERHUB_SERVICE_PREFIX")) and is_loopback(host):
        return Dashboard(url, f"{prefix}proxy/{port}/status", machine, workers)
    return Dashboard(url, url if is_plain else format_dashboard_link(host, port), machine, workers)
