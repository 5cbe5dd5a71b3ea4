"""The process that a pipeline's notebook runs in: our own interpreter, with a memory limit.

Run as ``python -m geoetl.runs.kernel -f CONNECTION_FILE``; `manager_class` gives papermill the manager that does so,
so that no kernel has to be installed and another environment's is never taken.
"""

import os
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from geoetl.store.gate.gdal import restrict_gdal

MEMORY_VARIABLE = "GEOETL_KERNEL_MEMORY_BYTES"
# Seconds that the run may take; each processor computes as many at most.
SECONDS_VARIABLE = "GEOETL_KERNEL_SECONDS"
# Largest file that a pipeline may write: the largest raster that may be ingested (20 GiB), unpacked.
MAX_FILE_BYTES = 256 * 1024**3
RUN_VARIABLE = "GEOETL_RUN"


def manager_class(
    environment: Mapping[str, str], sockets: Path, started: Callable[[int], None] = lambda pid: None
) -> type[Any]:
    """Return a kernel manager class for one kernel, which is this module.

    Args:
        environment: Variables added to the kernel's environment.
        sockets: A folder of this kernel alone; nobody who cannot enter it can reach the kernel.
        started: Called with the kernel's process number, which is its group's too.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    spec = KernelSpec(
        argv=[sys.executable, "-m", "geoetl.runs.kernel", "-f", "{connection_file}", "--log-level=CRITICAL"],
        display_name="geoetl pipeline",
        language="python",
        env=dict(environment),
    )

    class PipelineKernelManager(AsyncKernelManager):
        transport = "ipc"
        ip = str(sockets / "kernel")

        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

        async def _async_launch_kernel(self, kernel_cmd: list[str], **kwargs: Any) -> None:
            await super()._async_launch_kernel(kernel_cmd, **kwargs)
            started(self.provisioner.pid)  # type: ignore[union-attr]

    return PipelineKernelManager


def main() -> None:
    """Limit this process, then become an IPython kernel."""
    if limit := os.environ.get(MEMORY_VARIABLE):
        # DATA, not AS: numerical libraries map far more address space than they ever use.
        _lower(resource.RLIMIT_DATA, int(limit))
    if seconds := os.environ.get(SECONDS_VARIABLE):
        # The run's own time limit comes first, with a sentence; this one also ends what is left of it.
        _lower(resource.RLIMIT_CPU, int(seconds) * (os.cpu_count() or 1))
    _lower(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    _lower(resource.RLIMIT_CORE, 0)
    restrict_gdal()
    # Nobody steps through a pipeline, and the debugger is a third of what an empty kernel loads. ipykernel goes without
    # it where it is not installed, which is what this says.
    sys.modules["debugpy"] = None  # type: ignore[assignment]
    from ipykernel.kernelapp import IPKernelApp

    IPKernelApp.launch_instance()


def _lower(what: int, limit: int) -> None:
    """Set a limit of this process and of those that it starts, unless a lower one holds already."""
    _, hard = resource.getrlimit(what)
    value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(what, (value, value))


if __name__ == "__main__":
    main()
