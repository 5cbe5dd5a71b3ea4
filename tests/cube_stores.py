"""One NetCDF file as every kind of cube store, written by the libraries that define them and not by geoetl."""

import gc
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

# Small enough that every variable with time has several Parquet files.
RECORD_SIZE = 3
KINDS = ("json", "parquet", "icechunk", "zarr")


def write_netcdf(path: Path, cube: xr.Dataset, **chunks: tuple[int, ...]) -> Path:
    """Write a NetCDF-4 file whose variables are chunked and compressed."""
    encoding = {name: {"chunksizes": sizes, "zlib": True, "shuffle": True} for name, sizes in chunks.items()}
    cube.to_netcdf(path, engine="h5netcdf", encoding=encoding)
    return path


def kerchunk_references(source: Path, inline: int = 100) -> dict[str, Any]:
    """Return kerchunk's own references to a NetCDF file."""
    from kerchunk.hdf import SingleHdf5ToZarr

    # kerchunk waits for Zarr's thread while it holds the lock of h5py. Were a forgotten file collected in that thread
    # meanwhile, closing it would wait for the lock, forever.
    gc.disable()
    try:
        references: dict[str, Any] = SingleHdf5ToZarr(str(source), inline_threshold=inline).translate()
    finally:
        gc.enable()
    return references


def write_json(source: Path, target: Path) -> None:
    """Write kerchunk references as JSON, with kerchunk."""
    target.write_text(json.dumps(kerchunk_references(source)))


def write_parquet(source: Path, target: Path) -> None:
    """Write kerchunk references as a folder of Parquet files, with kerchunk."""
    from kerchunk.df import refs_to_dataframe

    target.mkdir()  # else the folder is that of a file of this name
    refs_to_dataframe(kerchunk_references(source), str(target), record_size=RECORD_SIZE)


def write_icechunk(source: Path, target: Path, root: Path | None = None) -> str:
    """Write virtual chunks into an Icechunk repository, with VirtualiZarr; return the snapshot."""
    import icechunk as ic
    from obspec_utils.registry import ObjectStoreRegistry
    from obstore.store import LocalStore
    from virtualizarr import open_virtual_dataset
    from virtualizarr.parsers import HDFParser

    ic.set_logs_filter("error")
    registry = ObjectStoreRegistry({"file://": LocalStore()})
    with xr.open_dataset(source, engine="h5netcdf") as described:
        small = [name for name in described.variables if described[name].size < 100]
    cube = open_virtual_dataset(
        f"file://{source}", registry=registry, parser=HDFParser(), loadable_variables=[str(name) for name in small]
    )
    folder = root or source.parent
    config = ic.RepositoryConfig.default()
    config.set_virtual_chunk_container(
        ic.VirtualChunkContainer(f"file://{folder}/", ic.local_filesystem_store(str(folder)))
    )
    access = ic.containers_credentials({f"file://{folder}/": ic.Credentials.LocalFileSystemAccess()})
    repository = ic.Repository.create(
        ic.local_filesystem_storage(str(target)), config=config, authorize_virtual_chunk_access=access
    )
    session = repository.writable_session("main")
    cube.vz.to_icechunk(session.store)
    return str(session.commit("first"))


def write_zarr(source: Path, target: Path) -> None:
    """Write a Zarr store of version 3, with xarray and zarr."""
    with xr.open_dataset(source, engine="h5netcdf") as cube:
        cube.drop_encoding().to_zarr(target, zarr_format=3, consolidated=False)


WRITERS: Mapping[str, Callable[[Path, Path], object]] = {
    "json": write_json,
    "parquet": write_parquet,
    "icechunk": write_icechunk,
    "zarr": write_zarr,
}
ASSETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "json": ("references", {"type": "application/json", "roles": ["references", "index", "data"]}),
    "parquet": ("references", {"type": "application/vnd.apache.parquet", "roles": ["references", "index", "data"]}),
    "icechunk": ("data", {"type": "application/vnd.zarr+icechunk", "roles": ["data"]}),
    "zarr": ("zarr", {"type": "application/vnd.zarr; version=3", "roles": ["data"]}),
}


def write_store(kind: str, source: Path, target: Path) -> dict[str, dict[str, Any]]:
    """Write a store of a NetCDF file and return the assets of an item that has it."""
    WRITERS[kind](source, target)
    key, asset = ASSETS[kind]
    return {key: {"href": str(target), **asset}}
