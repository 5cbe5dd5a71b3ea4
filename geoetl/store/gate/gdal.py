"""What GDAL may do in a process that opens files of unknown origin.

rasterio and pyogrio each bring a GDAL of their own. Both read these variables when they load, and only then: inside
``rasterio.Env`` they have no effect. Every opening of the gate names its driver besides; this is the second lock.
"""

import os

# Drivers that follow what a file says to other files or hosts, run what it says, or take a name for an address.
_FOLLOWING = (
    "VRT", "DERIVED", "GTI", "STACIT", "STACTA", "PLMOSAIC", "OGR_VRT", "GDALG", "KMLSUPEROVERLAY", "MRF",
    "ECRGTOC", "RPFTOC", "TIL", "GNMFile", "GNMDatabase", "ESRIC",
    "WMS", "WMTS", "WCS", "HTTP", "DAAS", "EEDA", "EEDAI", "NGW", "OGCAPI", "Zarr",
    "PLSCENES", "WFS", "OAPIF", "CSW", "Elasticsearch", "Carto", "AmigoCloud", "ADBC", "GPSBabel", "GML", "LVBAG",
)  # fmt: skip
_VARIABLES = {
    "GDAL_SKIP": ",".join(_FOLLOWING),
    # Of all addresses only this one may be fetched, and nothing is called so.
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "nothing",
    "GDAL_DRIVER_PATH": "disable",
    "GDAL_VRT_ENABLE_RAWRASTERBAND": "NO",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "OGR_SQLITE_ALLOW_EXTERNAL_ACCESS": "NO",
    "PROJ_NETWORK": "OFF",
    # What GDAL prints repeats what files say; and each of the two lacks some of the drivers above, which it would tell.
    "CPL_LOG": os.devnull,
}


def restrict_gdal() -> None:
    """Take the drivers that follow addresses from every GDAL that is loaded after this, and its network.

    For processes that open files of unknown origin: a server, the kernel of a pipeline, the prober. A notebook's own
    process keeps its GDAL as it is.
    """
    os.environ.update(_VARIABLES)


def restricted_environment() -> dict[str, str]:
    """Return the variables that do the same for a child process."""
    return dict(_VARIABLES)
