"""Climate files as one verified cube, without converting a byte.

``cmip6``, ``naming`` names · ``inventory`` what is in a folder, grouped into cubes · ``read`` the header of a file ·
``hdf5`` its chunk index · ``preflight`` can the files be one cube · ``combine`` their chunks joined · ``write`` the
references (``kerchunk``, ``icechunk``) · ``verify`` the cube against its sources · ``convert`` where references cannot
do · ``describe``, ``item`` STAC datacube · ``packing`` for the public · ``virtualise`` the stages of the pipeline.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["CubeRequest", "CubeVirtualiser"]

if TYPE_CHECKING:
    from geoetl.virtual.request import CubeRequest
    from geoetl.virtual.virtualise import CubeVirtualiser

_ROOMS = {"CubeRequest": "geoetl.virtual.request", "CubeVirtualiser": "geoetl.virtual.virtualise"}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: a process that reads headers needs a tenth of it, and starts in a tenth of the time.
    if name in _ROOMS:
        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'geoetl.virtual' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
