"""The media types of what lies in zones, by how its name ends."""

import mimetypes
from collections.abc import Mapping
from pathlib import PurePosixPath

#: Of what has no other.
UNKNOWN = "application/octet-stream"
_OURS: Mapping[str, str] = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".parquet": "application/vnd.apache.parquet",
    ".pmtiles": "application/vnd.pmtiles",
    ".json": "application/json",
    ".png": "image/png",
}


def media_type_of(key: str) -> str:
    """Return the media type of an object by its key."""
    suffix = PurePosixPath(key).suffix
    return _OURS.get(suffix) or mimetypes.types_map.get(suffix, UNKNOWN)
