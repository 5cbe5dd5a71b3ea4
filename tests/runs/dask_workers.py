"""Dask workers of this machine, for the tests."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from distributed import LocalCluster


@contextmanager
def dask_workers(count: int, **scheduler: Any) -> Iterator[LocalCluster]:
    """Give a cluster of so many workers, on loopback.

    Args:
        count: How many.
        **scheduler: Further arguments of its scheduler.
    """
    cluster = LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs=scheduler,
    )
    try:
        yield cluster
    finally:
        # That of distributed 2026.8 for a worker whose end it heard of before its beginning.
        with suppress(KeyError):
            cluster.close()
