"""Climate files as one verified cube, without converting a byte.

``cmip6`` names · ``inventory`` what is in a folder, grouped into cubes · ``combine`` references of a cube ·
``verify`` the cube against its sources · ``item`` STAC datacube · ``virtualise`` the stages of the pipeline.
"""

from geoetl.virtual.virtualise import CubeRequest, CubeVirtualiser

__all__ = ["CubeRequest", "CubeVirtualiser"]
