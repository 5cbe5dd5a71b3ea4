"""Climate files as one verified cube, without converting a byte.

``cmip6``, ``naming`` names · ``inventory`` what is in a folder, grouped into cubes · ``read`` the header of a file ·
``hdf5`` its chunk index · ``preflight`` can the files be one cube · ``combine`` their chunks joined · ``write`` the
references (``kerchunk``, ``icechunk``) · ``verify`` the cube against its sources · ``convert`` where references cannot
do · ``describe``, ``item`` STAC datacube · ``virtualise`` the stages of the pipeline.
"""

from geoetl.virtual.request import CubeRequest
from geoetl.virtual.virtualise import CubeVirtualiser

__all__ = ["CubeRequest", "CubeVirtualiser"]
