"""Write the references of a cube in the form that suits it, and add to it later."""

from enum import StrEnum
from pathlib import Path

from geoetl.core.errors import InvalidParameter
from geoetl.virtual import icechunk, kerchunk
from geoetl.virtual.manifest import CubeManifest

# JSON is read whole when a cube is opened, a second for each million references; Parquet a part at a time.
JSON_CHUNKS = 100_000


class CubeFormat(StrEnum):
    """How a cube is written; ``auto`` takes JSON for small cubes and Parquet for large ones, ``zarr`` is converted."""

    AUTO = "auto"
    JSON = "json"
    PARQUET = "parquet"
    ICECHUNK = "icechunk"
    ZARR = "zarr"

    @property
    def is_folder(self) -> bool:
        """Tell whether it is written as a folder."""
        return self in (CubeFormat.PARQUET, CubeFormat.ICECHUNK, CubeFormat.ZARR)

    @property
    def media_type(self) -> str:
        """The media type of its asset."""
        return _MEDIA_TYPES[self]

    @classmethod
    def of_media_type(cls, media_type: str) -> "CubeFormat | None":
        """Return the format of references by the media type of their asset; None for anything else."""
        found = next((format for format, known in _MEDIA_TYPES.items() if known == media_type), None)
        return None if found is CubeFormat.ZARR else found

    @property
    def is_zarr(self) -> bool:
        """Tell whether clients open it as Zarr format 3."""
        return self in (CubeFormat.ICECHUNK, CubeFormat.ZARR)


_MEDIA_TYPES = {
    CubeFormat.JSON: "application/json",
    CubeFormat.PARQUET: "application/vnd.apache.parquet",
    CubeFormat.ICECHUNK: "application/vnd.zarr+icechunk",
    CubeFormat.ZARR: "application/vnd.zarr",
}


def chosen_format(wanted: CubeFormat, manifest: CubeManifest) -> CubeFormat:
    """Return what ``auto`` stands for."""
    if wanted is not CubeFormat.AUTO:
        return wanted
    return CubeFormat.JSON if manifest.chunk_count <= JSON_CHUNKS else CubeFormat.PARQUET


def write_references(manifest: CubeManifest, format: CubeFormat, path: Path) -> str | None:
    """Write a cube's references to a new file or folder; return the id of the snapshot where there are versions."""
    if format is CubeFormat.ICECHUNK:
        return icechunk.write_repository(manifest, path)
    if format is CubeFormat.PARQUET:
        kerchunk.write_parquet(manifest, path)
    else:
        kerchunk.write_json(manifest, path)
    return None


def read_known(path: Path, format: CubeFormat) -> CubeManifest:
    """Read a cube back from its references; of an Icechunk repository without the places of its chunks.

    Raises:
        UnreadableFile: They are damaged, or not ours.
        InvalidParameter: The cube was converted, so that it has no references.
    """
    if format is CubeFormat.ZARR:
        raise InvalidParameter(
            "A converted cube has its own values and no references.", hint="Convert it again.", field="item"
        )
    return icechunk.read_known(path) if format is CubeFormat.ICECHUNK else kerchunk.read_manifest(path)
