"""The Dask client of a fan-out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from geoetl.core.errors import ConfigurationError, Unavailable
from geoetl.core.settings import DaskSettings

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
CONNECT_TIMEOUT_S = 10


@contextmanager
def client(settings: DaskSettings) -> "Iterator[Client | None]":
    """Give the client that `settings` name: a scheduler's, a cluster of this machine's, or None for this process.

    Without an address the tasks run one after another in this process: starting workers costs seconds, which pays
    only for long fan-outs, so it is asked for with ``GEOETL_DASK__ADDRESS=local``.

    Raises:
        Unavailable: The scheduler does not answer.
        ConfigurationError: The address is malformed.
    """
    if settings.address is None:
        yield None
        return
    from distributed import Client, LocalCluster

    if settings.address == LOCAL:
        # Bound to loopback: whoever reaches a scheduler can run code on it.
        with (
            LocalCluster(
                n_workers=settings.workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
            ) as cluster,
            Client(cluster) as connected,
        ):
            yield connected
        return
    try:
        connected = Client(settings.address, timeout=CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError):
        raise Unavailable(
            "The Dask scheduler does not answer.",
            hint="Check GEOETL_DASK__ADDRESS and that the scheduler runs; unset it to work in this process.",
        ) from None
    except ValueError:
        raise ConfigurationError(
            "GEOETL_DASK__ADDRESS is malformed.", hint="Give tcp://host:port, or 'local'.", field="GEOETL_DASK__ADDRESS"
        ) from None
    with connected:
        yield connected
