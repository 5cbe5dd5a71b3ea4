"""geoetl: rasters, vectors and climate cubes from file to map, in notebooks.

``connect()`` gives the :class:`~geoetl.platform.Platform`, through which everything else is reached;
``current_run()`` gives the run that a pipeline notebook belongs to.  Nothing heavy is imported until then.

Rooms, lowest first: ``core`` (values, errors, settings), ``store`` (database, catalogue, object zones, the gate that
opens files), ``runs`` (pipeline notebooks, stages, tasks), ``ingest`` / ``virtual`` / ``access`` (capabilities),
``platform`` (wiring), ``api`` and ``cli`` (surfaces).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "connect", "current_run"]

if TYPE_CHECKING:
    from geoetl.platform import connect, current_run


def __getattr__(name: str) -> Any:
    if name in ("connect", "current_run"):
        # By name: imports point down, and the root stands beside the layers, not above them.
        return getattr(import_module("geoetl.platform"), name)
    raise AttributeError(f"module 'geoetl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
