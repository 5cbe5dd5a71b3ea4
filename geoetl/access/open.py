"""Open an item's asset as what people work with: the opener is chosen by what the asset is.

Cloud-optimised GeoTIFF becomes an xarray DataArray as rioxarray makes it; kerchunk references, Icechunk, Zarr and
NetCDF become an xarray Dataset, GeoParquet a GeoDataFrame. Everything is opened by the gate.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.items import AssetKind, FoundAsset, Items, Lookup
from geoetl.access.warp import RasterHandle
from geoetl.core.registry import Registry

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr
    from numpy.typing import NDArray

    from geoetl.store.gate import Gate
    from geoetl.store.zones import Zones

Opener = Callable[["Gate", FoundAsset], Any]


def open_item(
    catalog: Lookup,
    gate: "Gate",
    item: Mapping[str, Any],
    asset: str | None = None,
    *,
    zones: "Zones | None" = None,
) -> Any:
    """Open an asset of a catalogued item.

    Args:
        catalog: Where the item is looked up: of `item` only the ids count, so that a changed address opens nothing.
        gate: Opens the file.
        item: A STAC item, as the catalogue handed it out.
        asset: Key of the asset; the item's data asset where it is left out.
        zones: The object zones; what lies in a remote one is copied to this machine once.

    Returns:
        A DataArray (COG), a lazy Dataset (references, Icechunk, Zarr, NetCDF) or a GeoDataFrame (GeoParquet).

    Raises:
        NotFound: There is no such item or asset; the hint names the nearest.
        InvalidParameter: The asset is nothing that can be opened as data.
    """
    found = Items(catalog, gate, zones).find(str(item.get("collection")), str(item.get("id")), asset, OPENABLE)
    return OPENERS[found.kind](gate, found)


def open_raster(gate: "Gate", found: FoundAsset) -> "xr.DataArray":
    """Return a raster as a lazy DataArray (band, y, x) with the ``.rio`` accessor's CRS, transform and nodata.

    Values are those of the file, as from ``rioxarray.open_rasterio``: scale and offset are attributes. rioxarray
    would open the file by its name; this reads through the gate instead.
    """
    import rioxarray  # noqa: F401  registers the .rio accessor
    import xarray as xr
    from xarray.core import indexing

    reader = RasterReader(gate, found.path)
    dataset = reader.opened().dataset
    lazy = xr.Variable(("band", "y", "x"), indexing.LazilyIndexedArray(_backend_array(reader)))
    array: xr.DataArray = xr.DataArray(lazy, coords={"band": np.arange(1, dataset.count + 1)}, name=found.name)
    at = dataset.transform
    if at.b == 0 and at.d == 0:
        array = array.assign_coords(
            x=(at.c + at.a / 2) + np.arange(dataset.width) * at.a,
            y=(at.f + at.e / 2) + np.arange(dataset.height) * at.e,
        )
    if dataset.crs is not None:
        array = array.rio.write_crs(dataset.crs)
    array = array.rio.write_transform(at)
    array.attrs.update({"scale_factor": dataset.scales[0], "add_offset": dataset.offsets[0]})
    if dataset.nodata is not None:
        array.attrs["_FillValue"] = dataset.nodata
    if any(dataset.descriptions):
        array.attrs["long_name"] = tuple(name or f"b{i}" for i, name in enumerate(dataset.descriptions, 1))
    return array


@dataclass
class RasterReader:
    """Opens a raster when it is first read and keeps it open; one read at a time, and it may be sent elsewhere.

    Attributes:
        gate: Opens the file.
        path: The local file.
    """

    gate: "Gate"
    path: Path

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._handle: RasterHandle | None = None

    def opened(self) -> RasterHandle:
        """Return the open raster."""
        if self._handle is None:
            self._handle = RasterHandle(self.gate, self.path)
        return self._handle

    def read(self, bands: list[int], rows: slice, columns: slice) -> "NDArray[Any]":
        """Return a window: array (band, row, column); bands count from 1."""
        with self._lock:
            window = ((rows.start, rows.stop), (columns.start, columns.stop))
            return np.asarray(self.opened().dataset.read(bands, window=window))

    def __getstate__(self) -> dict[str, Any]:
        return {"gate": self.gate, "path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.gate, self.path = state["gate"], state["path"]
        self.__post_init__()


def _backend_array(reader: RasterReader) -> Any:
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class RasterArray(BackendArray):
        """Reads windows of a raster; array (band, row, column)."""

        def __init__(self, shape: tuple[int, int, int], dtype: "np.dtype[Any]") -> None:
            self.shape = shape
            self.dtype = dtype

        def __getitem__(self, key: Any) -> Any:
            return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

        def _read(self, key: tuple[Any, ...]) -> Any:
            picked = [np.atleast_1d(np.arange(size)[part]) for size, part in zip(self.shape, key, strict=True)]
            wanted = tuple(0 if isinstance(part, (int, np.integer)) else slice(None) for part in key)
            if any(len(part) == 0 for part in picked):
                return np.empty([len(part) for part in picked], self.dtype)[wanted]
            bands, rows, columns = picked
            top, left = rows.min(), columns.min()
            values = reader.read(
                [int(band) + 1 for band in bands],
                slice(int(top), int(rows.max()) + 1),
                slice(int(left), int(columns.max()) + 1),
            )
            return values[:, rows - top][:, :, columns - left][wanted]

    dataset = reader.opened().dataset
    return RasterArray((dataset.count, dataset.height, dataset.width), np.dtype(dataset.dtypes[0]))


def open_references(gate: "Gate", found: FoundAsset) -> "xr.Dataset":
    """Return kerchunk references, JSON or Parquet, as a lazy Dataset."""
    return gate.open_references(found.path)


def open_icechunk(gate: "Gate", found: FoundAsset) -> "xr.Dataset":
    """Return an Icechunk repository as a lazy Dataset, at the snapshot that the asset names, else at its newest."""
    snapshot = found.asset.get("icechunk:snapshot_id")
    return gate.open_icechunk(found.path, snapshot=None if snapshot is None else str(snapshot))


def open_zarr(gate: "Gate", found: FoundAsset) -> "xr.Dataset":
    """Return a Zarr store as a lazy Dataset."""
    return gate.open_zarr(found.path)


def open_netcdf(gate: "Gate", found: FoundAsset) -> "xr.Dataset":
    """Return a NetCDF file as a lazy Dataset."""
    return gate.open_netcdf(found.path)


def open_features(gate: "Gate", found: FoundAsset) -> "gpd.GeoDataFrame":
    """Return all features of a GeoParquet file."""
    return gate.read_geoparquet(found.path)


# Tiles are for maps: there is nothing to compute with.
OPENABLE = tuple(kind for kind in AssetKind if kind is not AssetKind.PMTILES)
OPENERS: Registry[Opener] = Registry(
    "opener",
    {
        AssetKind.GEOTIFF: open_raster,
        AssetKind.REFERENCES: open_references,
        AssetKind.PARQUET_REFERENCES: open_references,
        AssetKind.ICECHUNK: open_icechunk,
        AssetKind.ZARR: open_zarr,
        AssetKind.NETCDF: open_netcdf,
        AssetKind.GEOPARQUET: open_features,
    },
)
