"""Icechunk repositories of a cube: each version is a commit, and a changed source is an error when it is read.

Arrays are Zarr format 3. Unlike in Zarr 2, the fill value of an array means nothing to xarray unless the file declares
it, so unwritten chunks read as the number that NetCDF readers show.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from geoetl.core.errors import UnreadableFile, VerificationFailed
from geoetl.store.sources import SourceFile
from geoetl.virtual.kerchunk import storable
from geoetl.virtual.manifest import UNWRITTEN, ChunkReferences, CubeArray, CubeManifest

if TYPE_CHECKING:
    import icechunk
    from numpy.typing import NDArray

BRANCH = "main"
# References of one commit, and of one manifest: a part that is not committed takes 700 bytes of memory a reference.
COMMITTED_REFERENCES = 250_000
# References of manifests that are kept when they were read or written; 100 bytes each.
CACHED_REFERENCES = 500_000
SOURCES, VARIABLES, POINTED = "sources", "variables", "pointed"


def write_repository(manifest: CubeManifest, folder: Path) -> str:
    """Write a cube as the first commit of a new repository; return the id of its snapshot.

    Args:
        manifest: The cube; its sources are local files, or have addresses of the web.
        folder: Where the repository is made; it must not exist.
    """
    import icechunk
    import zarr

    icechunk.set_logs_filter("error")  # else it warns that a local repository takes one writer at a time
    config = icechunk.RepositoryConfig.default()
    root = _common_root(manifest.sources)
    store = icechunk.http_store() if is_of_the_web(root) else icechunk.local_filesystem_store(root)
    config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(_url(root) + "/", store))
    config.manifest = icechunk.ManifestConfig(splitting=_splitting(manifest))
    config.caching = icechunk.CachingConfig(num_chunk_refs=CACHED_REFERENCES)
    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(folder)), config=config)
    session = repository.writable_session(BRANCH)
    group = zarr.open_group(session.store, mode="w", zarr_format=3, attributes=_attributes(manifest.attributes))
    for name, array in manifest.arrays.items():
        _create(group, name, array)
    pending = 0
    for name, array in manifest.arrays.items():
        for slab in [] if array.references is None else _slabs(array.references.files):
            pending += _point(session.store, name, array, manifest.sources, slab, 0, 0)
            if pending >= COMMITTED_REFERENCES:
                session.commit("a part of the files")
                session, pending = repository.writable_session(BRANCH), 0
    return str(session.commit(f"{len(manifest.sources)} files", metadata=_memory(manifest), allow_empty=True))


def _splitting(manifest: CubeManifest) -> "icechunk.ManifestSplittingConfig":
    """Return how references are spread over manifests: each is read and, when it changes, written as a whole."""
    import icechunk

    return icechunk.ManifestSplittingConfig.from_dict(
        {
            icechunk.ManifestSplitCondition.name_matches(f"^{re.escape(name)}$"): {
                icechunk.ManifestSplitDimCondition.Axis(0): max(COMMITTED_REFERENCES // math.prod(array.grid[1:]), 1)
            }
            for name, array in manifest.arrays.items()
            if array.references is not None and array.grid
        }
    )


def append_to_repository(new: CubeManifest, known: CubeManifest, folder: Path) -> str:
    """Add later files to a repository as one commit; return the id of its snapshot.

    Args:
        new: The cube of the new files alone, with times in the units of `known`.
        known: The cube as the repository has it (see `read_known`).
        folder: The repository.

    Raises:
        VerificationFailed: A new file lies outside of the folder that the repository may read.
    """
    import icechunk
    import zarr

    icechunk.set_logs_filter("error")
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(folder)))
    allowed = tuple(repository.config.virtual_chunk_containers or {})
    if outside := next((s for s in new.sources if not f"{_url(s.address)}".startswith(allowed)), None):
        raise VerificationFailed(
            f"'{outside.name}' does not lie in the folder whose files this repository may read.",
            hint="Move it beside the others, or build the cube again.",
            field="source",
        )
    session = repository.writable_session(BRANCH)
    group = zarr.open_group(session.store, mode="r+")
    for name, array in new.arrays.items():
        if "time" not in array.dims:
            continue
        axis = array.dims.index("time")
        stored = group[name]
        if not isinstance(stored, zarr.Array):
            raise UnreadableFile(f"'{name}' is no array in the repository.", hint="Build the cube again.")
        old = stored.shape[axis]
        stored.resize(
            tuple(size + array.shape[axis] if place == axis else size for place, size in enumerate(stored.shape))
        )
        if array.references is not None:
            for slab in _slabs(array.references.files):
                _point(session.store, name, array, new.sources, slab, axis, old // array.chunks[axis])
        elif array.values is not None:
            window = tuple(slice(old, None) if place == axis else slice(None) for place in range(len(array.shape)))
            stored[window] = array.values
    together = (*known.sources, *new.sources)
    return str(session.commit(f"{len(new.sources)} files more", metadata=_memory(known, together)))


def read_manifest(folder: Path) -> CubeManifest:
    """Read a cube back from the newest commit of a repository, with the places of its chunks.

    Raises:
        UnreadableFile: It is no repository that geoetl wrote.
    """
    import icechunk

    known = read_known(folder)
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(folder)))
    store = repository.readonly_session(BRANCH).store
    numbers = {_url(source.address): number for number, source in enumerate(known.sources)}
    arrays = {
        name: array if array.references is None else replace(array, references=_places(store, name, array, numbers))
        for name, array in known.arrays.items()
    }
    return replace(known, arrays=arrays)


def _places(
    store: "icechunk.IcechunkStore", name: str, array: CubeArray, numbers: Mapping[str, int]
) -> ChunkReferences:
    """Return where the chunks of an array lie."""
    from zarr.core.sync import sync

    files = np.full(array.grid, UNWRITTEN, np.int32)
    offsets, sizes = np.zeros(array.grid, np.uint64), np.zeros(array.grid, np.uint64)

    async def collect() -> None:
        async for places, _, locations, begins, lengths, _ in store.array_chunk_iterator(name):
            where = tuple(places.T)
            files[where] = [numbers[location] for location in locations]
            offsets[where], sizes[where] = begins, lengths

    try:
        sync(collect())
    except KeyError:
        raise UnreadableFile(
            f"A chunk of '{name}' lies in no source of the repository '{store.session.snapshot_id}'.",
            hint="Build the cube again.",
            field="item",
        ) from None
    return ChunkReferences(files, offsets, sizes)


def read_known(folder: Path) -> CubeManifest:
    """Read a cube back from the newest commit of a repository, without the places of its chunks.

    Raises:
        UnreadableFile: It is no repository that geoetl wrote.
    """
    import icechunk
    import zarr

    remembered = _remembered(folder)
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(folder)))
    group = zarr.open_group(repository.readonly_session(BRANCH).store, mode="r")
    arrays = {
        name: _known(array, is_pointed=name in remembered[POINTED])
        for name, array in group.arrays()
        if isinstance(array, zarr.Array)
    }
    return CubeManifest(
        sources=tuple(SourceFile.model_validate(source) for source in remembered[SOURCES]),
        attributes=dict(group.attrs),
        arrays=arrays,
        variables=tuple(remembered[VARIABLES]),
    )


def _known(array: Any, *, is_pointed: bool) -> CubeArray:
    from xarray.backends.zarr import FillValueCoder

    attributes = dict(array.attrs)
    if "_FillValue" in attributes:
        attributes["_FillValue"] = FillValueCoder.decode(attributes["_FillValue"], array.dtype)
    values = references = None
    if is_pointed:
        grid = tuple(-(-size // chunk) for size, chunk in zip(array.shape, array.chunks, strict=True))
        ones = np.ones(grid, np.uint64)
        references = ChunkReferences(np.zeros(grid, np.int32), ones, ones)
    else:
        values = np.asarray(array[...])
    return CubeArray(
        dims=tuple(array.metadata.dimension_names or ()),
        shape=array.shape,
        dtype=_stored_dtype(array) if values is None else values.dtype,
        chunks=array.chunks if values is None else array.shape,
        codecs=tuple(_numcodecs(codec.to_dict()) for codec in array.compressors) if values is None else (),
        fill_value=array.fill_value,
        attributes=attributes,
        references=references,
        values=values,
    )


def _stored_dtype(array: Any) -> "np.dtype[Any]":
    """Return the data type of an array with the byte order of its chunks, which in Zarr 3 belongs to a codec."""
    from zarr.codecs import BytesCodec

    orders = [codec.endian for codec in array.metadata.codecs if isinstance(codec, BytesCodec) and codec.endian]
    order = str(getattr(orders[0], "value", orders[0])) if orders else "little"
    dtype: np.dtype[Any] = array.dtype
    return dtype.newbyteorder(">" if order == "big" else "<")


def _numcodecs(codec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numcodecs configuration that a codec of Zarr 3 was made of."""
    return {"id": str(codec["name"]).removeprefix("numcodecs."), **codec["configuration"]}


def _remembered(folder: Path) -> Mapping[str, Any]:
    import icechunk

    try:
        repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(folder)))
        newest = next(iter(repository.ancestry(branch=BRANCH)))
        return {key: json.loads(newest.metadata[key]) for key in (SOURCES, VARIABLES, POINTED)}
    except (icechunk.IcechunkError, LookupError, TypeError, ValueError):
        raise UnreadableFile(
            f"'{folder.name}' is no Icechunk repository that geoetl wrote.", hint="Build the cube again.", field="item"
        ) from None


def _memory(manifest: CubeManifest, sources: tuple[SourceFile, ...] | None = None) -> dict[str, Any]:
    listed = manifest.sources if sources is None else sources
    return {
        SOURCES: json.dumps([source.model_dump(mode="json", exclude_defaults=True) for source in listed]),
        VARIABLES: json.dumps(list(manifest.variables)),
        POINTED: json.dumps([name for name, array in manifest.arrays.items() if array.references is not None]),
    }


def is_of_the_web(address: str) -> bool:
    """Tell whether an address is one of HTTP, where anybody may read chunks without credentials."""
    return address.startswith(("http://", "https://"))


def _common_root(sources: tuple[SourceFile, ...]) -> str:
    parts = [source.address.rpartition("://") for source in sources]
    folders = [PurePosixPath(path).parent for _, _, path in parts]
    root = folders[0]
    while not all(folder.is_relative_to(root) for folder in folders):
        root = root.parent
    return "".join((*parts[0][:2], str(root)))


def _url(address: str) -> str:
    return address if is_of_the_web(address) else f"file://{quote(address)}"


def _create(group: Any, name: str, array: CubeArray) -> None:
    from virtualizarr.codecs import zarr_codec_config_to_v3
    from virtualizarr.parsers.utils import encode_cf_fill_value

    values = None if array.values is None else storable(array)
    dtype = array.dtype if values is None else values.dtype
    attributes = _attributes(array.attributes)
    attributes.pop("_FillValue", None)  # of texts, which xarray cannot decode
    if array.declared_fill is not None:
        attributes["_FillValue"] = encode_cf_fill_value(array.declared_fill, array.dtype)
    made = group.create_array(
        name,
        shape=array.shape,
        chunks=tuple(max(size, 1) for size in array.chunks),
        dtype=dtype,
        # Loaded arrays get Zarr's own compression, the others what their files were packed with.
        **({} if values is not None else {"compressors": [zarr_codec_config_to_v3(dict(c)) for c in array.codecs]}),
        fill_value=_fill(array, dtype),
        # Zarr packs in the byte order of the machine unless it is told.
        **({} if values is not None else {"serializer": _bytes(dtype)}),
        attributes=attributes,
        dimension_names=array.dims,
    )
    if values is not None and values.size:
        made[...] = values


def _bytes(dtype: "np.dtype[Any]") -> Any:
    from zarr.codecs import BytesCodec

    return BytesCodec(endian="big" if dtype.str[0] == ">" else "little")


def _fill(array: CubeArray, dtype: "np.dtype[Any]") -> Any:
    if array.fill_value is not None and dtype.kind in "iufb":
        return array.fill_value
    return "" if dtype.kind in "SU" else 0


def _attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    plain = json.loads(json.dumps(dict(attributes)), parse_constant=str)
    return {name: value for name, value in plain.items() if not (name == "missing_value" and value == "NaN")}


def _point(
    store: "icechunk.IcechunkStore",
    name: str,
    array: CubeArray,
    sources: tuple[SourceFile, ...],
    slab: tuple[slice, ...],
    axis: int,
    first: int,
) -> int:
    """Point the chunks of an array in one file to it, with its time of change; return how many they are."""
    references = array.references
    assert references is not None
    numbers = references.files[slab]
    file = int(numbers.max())
    if file == UNWRITTEN:
        return 0
    source = sources[file]
    location = _url(source.address)
    written = numbers.ravel() >= 0
    begin = [part.start or 0 for part in slab]
    begin += [0] * (numbers.ndim - len(begin))
    if begin:
        begin[axis] += first
    store.set_virtual_refs_arr(
        array_path=name,
        chunk_grid_shape=numbers.shape,
        locations=[location if is_there else "" for is_there in written.tolist()],
        offsets=np.ascontiguousarray(references.offsets[slab]).ravel(),
        lengths=np.ascontiguousarray(references.sizes[slab]).ravel(),
        validate_containers=False,
        arr_offset=tuple(begin) if any(begin) else None,
        # A second later: the file system tells fractions that Icechunk does not keep. A copy has a time of its own.
        checksum=datetime.fromtimestamp(source.modified_ns // 1_000_000_000 + 1, UTC) if source.modified_ns else None,
    )
    return int(numbers.size)


def _slabs(files: "NDArray[np.int32]") -> "list[tuple[slice, ...]]":
    """Return slabs along the first dimension in which all chunks lie in one file."""
    if files.ndim == 0:
        return [()]
    rows = files.reshape(len(files), -1)
    highest = rows.max(axis=1)
    lowest = np.where(rows == UNWRITTEN, highest[:, np.newaxis], rows).min(axis=1)
    if not (highest == lowest).all():
        # More than one file in a row: the joined dimension is not the first. Go one level deeper.
        return [(slice(row, row + 1), *slab) for row in range(len(files)) for slab in _slabs(files[row])]
    ends = [*(np.flatnonzero(np.diff(highest)) + 1).tolist(), len(files)]
    return [(slice(start, stop),) for start, stop in zip([0, *ends[:-1]], ends, strict=True)]
