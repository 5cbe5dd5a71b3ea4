"""Bring files in; each pipeline validates before it writes.

``raster`` to COG · ``vector`` to GeoParquet and PMTiles · ``request`` what both are asked for · ``thumbnail`` a small
picture of features.

A stage is a method of `RasterIngest` or `VectorIngest`; the pipeline notebooks call them in order.
"""

from geoetl.ingest.raster import RasterIngest, RasterRequest
from geoetl.ingest.vector import VectorIngest, VectorRequest

__all__ = ["RasterIngest", "RasterRequest", "VectorIngest", "VectorRequest"]
