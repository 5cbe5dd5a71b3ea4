"""Vectors: validate and repair, write GeoParquet 1.1 and PMTiles, describe as a STAC item.

``stages`` `VectorIngest` · ``request`` what it is asked for · ``result`` what its stages return · ``repair`` features
made fit · ``columns`` names and types · ``times`` when they are of · ``append``
features added to others · ``write`` the order along a Hilbert curve, GeoParquet · ``tiles`` the pyramid of tiles,
thinned · ``mvt`` their bytes · ``grid`` the world of web maps · ``item`` the STAC item.

Features pass by in batches, so that memory is bounded by a batch and by a few numbers for each feature.
"""

from geoetl.ingest.vector.request import Mode, VectorRequest
from geoetl.ingest.vector.result import CheckedVector, Column, VectorFiles, ZoomLevel
from geoetl.ingest.vector.stages import VectorIngest

__all__ = ["CheckedVector", "Column", "Mode", "VectorFiles", "VectorIngest", "VectorRequest", "ZoomLevel"]
