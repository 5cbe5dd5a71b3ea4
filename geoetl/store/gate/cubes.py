"""Cubes in Zarr, and in Icechunk repositories."""

import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from geoetl.core.errors import NotFound, OutsideAllowedRoots, UnreadableFile
from geoetl.store.gate.formats import first_line
from geoetl.store.gate.places import Places

if TYPE_CHECKING:
    import icechunk
    import xarray as xr

# Icechunk hands out the place of every virtual chunk at once, 100 bytes each: up to this many are looked at one by one.
_LISTED_CHUNKS = 2_000_000


def open_zarr(path: Path, places: Places, **options: Any) -> "xr.Dataset":
    """See `Gate.open_zarr`."""
    from zarr.storage import LocalStore

    places.check_links(path)
    try:
        root = json.loads((path / "zarr.json").read_bytes())
        is_group = root["zarr_format"] == 3 and root["node_type"] == "group"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        is_group = False
    if not is_group:
        raise UnreadableFile(
            f"'{path.name}' is no Zarr store of version 3: it has no zarr.json of a group.",
            hint="Give the folder that the store was written to, or convert the source again.",
            field="source",
        )
    return open_store(LocalStore(path, read_only=True), path, {"zarr_format": 3, **options})


def open_icechunk(path: Path, places: Places, *, snapshot: str | None, **options: Any) -> "xr.Dataset":
    """See `Gate.open_icechunk`."""
    import icechunk

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
        return open_store(session.store, path, {"zarr_format": 3, **options})
    except icechunk.IcechunkError as error:
        raise UnreadableFile(
            f"'{path.name}' cannot be opened as an Icechunk repository ({first_line(error)}).",
            hint="It may be damaged or not whole; make it again from its sources.",
            field="source",
        ) from None


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


def open_store(store: Any, path: Path, options: Mapping[str, Any]) -> "xr.Dataset":
    """Open a Zarr store by its groups and arrays themselves: a consolidated copy of their metadata may be out of date.

    Raises:
        UnreadableFile: It holds no group, or one that is not right.
    """
    import xarray as xr
    from zarr.errors import GroupNotFoundError

    try:
        cube: xr.Dataset = xr.open_zarr(store, consolidated=False, **{"chunks": None, **options})
    except GroupNotFoundError:
        raise UnreadableFile(
            f"'{path.name}' has no group at its root.", hint="Build it again from its sources.", field="source"
        ) from None
    except (LookupError, OSError, OverflowError, RuntimeError, TypeError, ValueError, zlib.error) as error:
        raise UnreadableFile(
            f"'{path.name}' cannot be opened as a cube ({type(error).__name__}: {first_line(error)}).",
            hint="It may be damaged, or its time units or calendar may not follow CF.",
            field="source",
        ) from None
    return cube
