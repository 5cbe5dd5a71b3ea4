"""Bring files in: ``raster`` to COG, ``vector`` to GeoParquet and PMTiles; each validates before it writes.

A stage is a method of `RasterIngest` or `VectorIngest`; the pipeline notebooks call them in order.
"""

from geoetl.ingest.raster import RasterIngest, RasterRequest
from geoetl.ingest.vector import VectorIngest, VectorRequest

__all__ = ["RasterIngest", "RasterRequest", "VectorIngest", "VectorRequest"]
