"""Cubes in Zarr, and in Icechunk repositories."""

import json
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from geoetl.core.errors import NotFound, OutsideAllowedRoots, UnreadableFile
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.budget import check_array
from geoetl.store.gate.formats import DAMAGE, first_line
from geoetl.store.gate.places import Places

if TYPE_CHECKING:
    import icechunk
    import xarray as xr

# Icechunk hands out the place of every virtual chunk at once, 100 bytes each: up to this many are looked at one by one.
_LISTED_CHUNKS = 2_000_000
# Of the zarr.json of one array or group.
_DOCUMENT_BYTES = 16 * 1024**2


def open_zarr(path: Path, places: Places, limits: LimitSettings, **options: Any) -> "xr.Dataset":
    """See `Gate.open_zarr`."""
    from zarr.storage import LocalStore

    places.check_links(path)
    try:
        root = _document(path)
        is_group = root["zarr_format"] == 3 and root["node_type"] == "group"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        is_group = False
    if not is_group:
        raise UnreadableFile(
            f"'{path.name}' is no Zarr store of version 3: it has no zarr.json of a group.",
            hint="Give the folder that the store was written to, or convert the source again.",
            field="source",
        )
    for child in _subfolders(path):
        try:
            document = _document(child)
        except (OSError, ValueError, RecursionError):
            continue  # no array; where one is missing, opening says so
        check_document(child.name, document, path.name, limits)
    return open_store(LocalStore(path, read_only=True), path, {"zarr_format": 3, **options})


def open_icechunk(
    path: Path, places: Places, limits: LimitSettings, *, snapshot: str | None, **options: Any
) -> "xr.Dataset":
    """See `Gate.open_icechunk`."""
    import icechunk
    import zarr

    places.check_links(path)
    # Else every opening warns that a local repository takes one writer at a time; here nothing is written.
    icechunk.set_logs_filter("error")
    storage = icechunk.local_filesystem_storage(str(path))
    try:
        containers = _containers(places, icechunk.Repository.fetch_config(storage), path.name)
        local = {prefix: icechunk.Credentials.LocalFileSystemAccess() for prefix in containers}
        repository = icechunk.Repository.open(
            storage, authorize_virtual_chunk_access=icechunk.containers_credentials(local)
        )
        try:
            branch = "main" if snapshot is None else None
            session = repository.readonly_session(branch, snapshot_id=snapshot)
        except (icechunk.NotFoundError, icechunk.InvalidInputError):
            raise NotFound(
                f"The Icechunk repository '{path.name}' has no {'branch main' if snapshot is None else 'snapshot'} "
                f"'{snapshot or 'main'}'.",
                hint="See the ancestry of its branch main for what there is.",
                field="snapshot",
            ) from None
        _check_virtual_chunks(places, repository, session, containers, path.name)
        for name, array in zarr.open_group(session.store, mode="r", zarr_format=3).arrays():
            check_document(name, array.metadata.to_dict(), path.name, limits)
        return open_store(session.store, path, {"zarr_format": 3, **options})
    except icechunk.IcechunkError as error:
        raise UnreadableFile(
            f"'{path.name}' cannot be opened as an Icechunk repository ({first_line(error)}).",
            hint="It may be damaged or not whole; make it again from its sources.",
            field="source",
        ) from None


def _subfolders(path: Path) -> list[Path]:
    with os.scandir(path) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir()]


def _document(folder: Path) -> Any:
    """Read the ``zarr.json`` of a folder.

    Raises:
        OSError, ValueError, RecursionError: There is none.
    """
    with (folder / "zarr.json").open("rb") as file:
        content = file.read(_DOCUMENT_BYTES + 1)
    if len(content) > _DOCUMENT_BYTES:
        raise ValueError("too long")
    return json.loads(content)


def check_document(name: str, document: Any, subject: str, limits: LimitSettings) -> None:
    """Refuse an array of Zarr format 3 by its ``zarr.json``; one that is not right is left to its opening.

    Raises:
        LimitExceeded: It declares more than a limit.
    """
    try:
        shape = [int(size) for size in document["shape"]]
        inner = next((codec for codec in document["codecs"] if codec["name"] == "sharding_indexed"), None)
        grid = inner or document["chunk_grid"]
        chunk = [int(size) for size in grid["configuration"]["chunk_shape"]]
        item_bytes = _item_bytes(document["data_type"])
        is_axis = list(document.get("dimension_names") or ()) == [name]
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError):
        return
    check_array(name, subject, limits, shape, chunk, item_bytes, is_axis=is_axis)


def _item_bytes(data_type: Any) -> int:
    """Return the bytes of a value of a Zarr data type; those of an object where they vary."""
    import numpy as np

    try:
        return np.dtype(str(data_type)).itemsize
    except TypeError:
        return 8


def _containers(places: Places, config: "icechunk.RepositoryConfig | None", name: str) -> dict[str, Path]:
    """Return the local folder behind the prefix of each place for virtual chunks."""
    import icechunk

    found = {}
    for prefix, container in ((config and config.virtual_chunk_containers) or {}).items():
        store = container.store
        folders: set[Path] = set()
        if isinstance(store, icechunk.ObjectStoreConfig.LocalFileSystem) and re.fullmatch("file:///(.*/)?", prefix):
            folders = {Path(unquote(urlsplit(prefix).path)).resolve(), Path(store._0).resolve()}  # type: ignore[attr-defined]
        if not folders or not all(places.allows(folder) for folder in folders):
            raise OutsideAllowedRoots(
                f"The Icechunk repository '{name}' has virtual chunks below '{prefix[:200]}', "
                "which may not be read here.",
                hint="Add that folder to GEOETL_ALLOWED_ROOTS (a JSON list), or move the cube to where it is.",
                field="source",
            )
        found[prefix] = Path(unquote(urlsplit(prefix).path))
    return found


def _check_virtual_chunks(
    places: Places,
    repository: "icechunk.Repository",
    session: "icechunk.Session",
    containers: dict[str, Path],
    name: str,
) -> None:
    """Look at every file that virtual chunks lie in; with very many chunks, for links below their folders."""
    if not containers:
        return
    manifests = repository.list_manifest_files(session.snapshot_id)
    if sum(manifest.num_chunk_refs for manifest in manifests) > _LISTED_CHUNKS:
        for folder in containers.values():
            places.check_links(folder)
        return
    places.behind(dict.fromkeys(session.all_virtual_chunk_locations(), "virtual chunks"), name)


class _FusedPipeline:
    """Have zarr decode the chunks of what is opened meanwhile in threads, without a coroutine for each.

    The coroutines take longer than the decoding of small chunks. zarr 3.4 has this as an option for the whole process
    (`codec_pipeline` in its core/config.py); when it is the default this can go. What is written is not to be changed
    by it, so it is put back when nobody opens any more.
    """

    _PATH = "zarr.core.codec_pipeline.FusedCodecPipeline"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opening = 0
        self._before = ""

    def __enter__(self) -> None:
        import zarr

        with self._lock:
            if not self._opening:
                self._before = zarr.config.get("codec_pipeline.path")
                zarr.config.set({"codec_pipeline.path": self._PATH})
            self._opening += 1

    def __exit__(self, *_: object) -> None:
        import zarr

        with self._lock:
            self._opening -= 1
            if not self._opening:
                zarr.config.set({"codec_pipeline.path": self._before})


_PIPELINE = _FusedPipeline()


def open_store(store: Any, path: Path, options: Mapping[str, Any]) -> "xr.Dataset":
    """Open a Zarr store by its groups and arrays themselves: a consolidated copy of their metadata may be out of date.

    Raises:
        UnreadableFile: It holds no group, or one that is not right.
    """
    import xarray as xr
    from zarr.errors import GroupNotFoundError

    try:
        with _PIPELINE:
            cube: xr.Dataset = xr.open_zarr(store, consolidated=False, **{"chunks": None, **options})
    except GroupNotFoundError:
        raise UnreadableFile(
            f"'{path.name}' has no group at its root.", hint="Build it again from its sources.", field="source"
        ) from None
    except DAMAGE as error:
        raise UnreadableFile(
            f"'{path.name}' cannot be opened as a cube ({type(error).__name__}: {first_line(error)}).",
            hint="It may be damaged, or its time units or calendar may not follow CF.",
            field="source",
        ) from None
    return cube
