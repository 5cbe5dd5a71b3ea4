"""The STAC datacube item of a cube that was verified.

Sources: STAC extensions datacube 2.3.0, render 2.0.0, xarray-assets 1.0.0, zarr 1.1.0, file 2.1.0, processing 1.2.0;
prefixed CMIP6 fields without the schema, which is for the ESGF catalogue only.
"""

from typing import Any

from geoetl.core.spatial import BBox
from geoetl.store.catalog.item import DATACUBE, RENDER, XARRAY_ASSETS, ZARR, new_item, object_asset
from geoetl.store.zones import StoredObject
from geoetl.virtual.outcome import VirtualCube
from geoetl.virtual.write import CubeFormat


def cube_item(collection: str, cube: VirtualCube, notebook: str | None) -> dict[str, Any]:
    """Describe a verified cube as a STAC datacube item."""
    files = cube.files
    is_converted = cube.format is CubeFormat.ZARR
    key = "data" if is_converted else "references"
    made = "Converted to Zarr from" if is_converted else "References to"
    count = f"{len(files.files)} NetCDF file{'s' if len(files.files) > 1 else ''}"
    return new_item(
        item_id=files.id,
        collection=collection,
        bbox=BBox.from_list(cube.description.bbox),
        geometry=None,
        times=cube.description.times,
        properties={
            "title": files.title,
            **{f"cmip6:{name}": value for name, value in files.facets.items() if name != "version"},
            **({"version": files.facets["version"]} if "version" in files.facets else {}),
            "cube:dimensions": cube.description.dimensions,
            "cube:variables": cube.description.variables,
            "renders": {"default": {**cube.description.render, "assets": [key]}},
        },
        assets={
            key: references_asset(cube),
            "sources": object_asset(
                cube.sources, title="Source files with their checksums", roles=["metadata", "source"]
            ),
        },
        extensions=[DATACUBE, RENDER, XARRAY_ASSETS, *([ZARR] if cube.format.is_zarr else [])],
        lineage=f"{made} {count}; {cube.verification.sentence}",
        software=["virtualizarr", "zarr", "xarray"],
        notebook=notebook,
    )


def references_asset(cube: VirtualCube) -> dict[str, Any]:
    """Return the asset of a cube's references, with what clients open it by."""
    roles = ["references", "index", "data"]
    if isinstance(cube.references, StoredObject):
        return object_asset(
            cube.references,
            title="Kerchunk references",
            roles=roles,
            **{"xarray:open_kwargs": {"engine": "kerchunk", "chunks": {}}},
        )
    if cube.format is CubeFormat.ZARR:
        return {
            "href": cube.references.href,
            "type": cube.format.media_type,
            "title": "Converted Zarr store",
            "roles": ["data"],
            "file:size": cube.references.bytes,
            "xarray:open_kwargs": {"engine": "zarr", "chunks": {}},
            "zarr:zarr_format": 3,
            "zarr:node_type": "group",
            "zarr:consolidated": True,
        }
    if cube.format is CubeFormat.ICECHUNK:
        return {
            "href": cube.references.href,
            "type": cube.format.media_type,
            "title": "Icechunk repository",
            "roles": roles,
            "file:size": cube.references.bytes,
            "icechunk:snapshot_id": cube.snapshot,
            "zarr:zarr_format": 3,
            "zarr:node_type": "group",
            "zarr:consolidated": False,
        }
    return {
        "href": cube.references.href,
        "type": cube.format.media_type,
        "title": "Kerchunk references (Parquet)",
        "roles": roles,
        "file:size": cube.references.bytes,
        "xarray:open_kwargs": {
            "engine": "kerchunk",
            "chunks": {},
            "backend_kwargs": {"storage_options": {"remote_protocol": cube.protocol}},
        },
    }
