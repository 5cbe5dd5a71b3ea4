"""Our chunk index as a VirtualiZarr parser, so that everything that takes one can use it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.errors import UnreadableFile, VerificationFailed
from geoetl.store.gate import Gate
from geoetl.virtual.header import ArrayHeader
from geoetl.virtual.read import read_header

if TYPE_CHECKING:
    from obspec_utils.registry import ObjectStoreRegistry
    from virtualizarr.manifests import ManifestArray, ManifestStore


@dataclass(frozen=True)
class HDF5Parser:
    """A VirtualiZarr parser: the virtual arrays of a NetCDF-4 file, only those of `variables`.

    Args:
        gate: Opens the file.
        variables: Names of variables at the root; None takes every gridded one.
    """

    gate: Gate
    variables: tuple[str, ...] | None = None

    def __call__(self, url: str, registry: "ObjectStoreRegistry[Any]") -> "ManifestStore":
        """Return the arrays with the place of each chunk.

        Raises:
            UnreadableFile: The file is damaged, or a variable is not in it or cannot be referenced.
            VerificationFailed: A chunk was stored without a filter that the others have, so that readers of references
                would decode it wrongly.
        """
        from virtualizarr.manifests import ManifestGroup, ManifestStore

        header = read_header(self.gate, self.gate.locate(url), self.variables)
        arrays = {name: _manifest_array(header.arrays[name], url, header.name) for name in header.variables}
        group = ManifestGroup(arrays=arrays, groups={}, attributes=dict(header.attributes))
        return ManifestStore(group=group, registry=registry)


def _manifest_array(array: ArrayHeader, url: str, file_name: str) -> "ManifestArray":
    from virtualizarr.codecs import zarr_codec_config_to_v3
    from virtualizarr.manifests import ChunkManifest, ManifestArray
    from virtualizarr.manifests.utils import create_v3_array_metadata
    from virtualizarr.parsers.utils import encode_cf_fill_value

    if array.skipped_filters is not None:
        raise VerificationFailed(
            f"The chunk {array.skipped_filters} of '{array.name}' in '{file_name}' was stored without a filter that "
            "the others have; references cannot say so.",
            hint="Convert the cube to Zarr instead.",
            field="source",
        )
    if array.grid is None or array.dtype.kind not in "iuf":
        raise UnreadableFile(
            f"'{array.name}' of '{file_name}' ({array.unsupported or array.dtype}) cannot be referenced.",
            hint="Convert the file to Zarr.",
            field="source",
        )
    attributes: dict[str, Any] = dict(array.attributes)
    if "_FillValue" in attributes:
        attributes["_FillValue"] = encode_cf_fill_value(array.dtype.type(attributes["_FillValue"]), array.dtype)
    metadata = create_v3_array_metadata(
        shape=array.shape,
        data_type=array.dtype,
        chunk_shape=array.chunks,
        fill_value=None if array.fill_value is None else array.fill_value.item(),
        codecs=[zarr_codec_config_to_v3(dict(codec)) for codec in array.codecs],
        dimension_names=array.dims,
        attributes=attributes,
    )
    paths = np.full(array.grid.shape, "", dtype=np.dtypes.StringDType())
    paths[array.grid.sizes > 0] = url
    manifest = ChunkManifest.from_arrays(
        paths=paths,
        offsets=array.grid.offsets,
        lengths=array.grid.sizes,
        validate_paths=False,
    )
    return ManifestArray(metadata=metadata, chunkmanifest=manifest)
