"""The gate: the only place that opens rasters, cubes, vectors, archives and references.

Before anything is opened, the place is resolved inside the allowed roots, the first bytes say what the file really
is, one driver is named for it, and its header has to stay within the limits.  A file is never opened by what its name
claims, and a name never reaches a driver that would interpret it as an address.

A server opens nothing of unknown origin itself before a child process has (`Gate.guarded`).

==================  ================================================================================================
``gate.py``         `Gate`, the front: every other part of geoetl opens through it
``formats.py``      what a file is, by its first bytes, and its one driver
``places.py``       where files may lie
``hrefs.py``        what addresses a STAC document may name
``raster.py``       GeoTIFF, JPEG 2000, PNG, JPEG, and what lies beside them; ``declared.py`` their size by the header
``vector.py``       GeoJSON, GeoPackage, FlatGeobuf, Shapefile, KML, CSV, GeoParquet
``shapefile.py``    whether the parts of a Shapefile are whole, and their encoding
``geopackage.py``   whether a GeoPackage draws on other files; ``kml.py`` whether a KML could
``delimited.py``    CSV with places
``parquet.py``      GeoParquet; ``table.py`` Parquet row by row
``archive.py``      zip archives, unpacked by the byte
``netcdf.py``       NetCDF-3 and NetCDF-4, and its container HDF5
``references.py``   kerchunk references, JSON and Parquet
``cubes.py``        Zarr and Icechunk
``budget.py``       how much an array may declare
``prober.py``       the parent of the child that opens files first; ``probe.py`` that child, ``confine.py`` its limits
``gdal.py``         what GDAL may do at all in such a process
==================  ================================================================================================
"""

from geoetl.store.gate.delimited import PlaceColumns
from geoetl.store.gate.formats import (
    GIB,
    HEAD_BYTES,
    RASTER_DRIVERS,
    VECTOR_FORMATS,
    Format,
    check_netcdf,
    file_format,
    first_line,
)
from geoetl.store.gate.gate import Gate
from geoetl.store.gate.places import SAMPLE_SCHEME
from geoetl.store.gate.references import read_record
from geoetl.store.gate.vector import VectorQuestion, VectorRead, VectorSource

__all__ = [
    "GIB",
    "HEAD_BYTES",
    "RASTER_DRIVERS",
    "SAMPLE_SCHEME",
    "VECTOR_FORMATS",
    "Format",
    "Gate",
    "PlaceColumns",
    "VectorQuestion",
    "VectorRead",
    "VectorSource",
    "check_netcdf",
    "file_format",
    "first_line",
    "read_record",
]
