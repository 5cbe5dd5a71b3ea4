"""A catalogue with items made by hand, as the pipelines write them, and helpers to read pictures back."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import from_bounds

import geoetl
from geoetl.access import Picture
from geoetl.core.spatial import BBox
from geoetl.platform import Platform
from geoetl.store.catalog.item import new_collection

COLLECTION = "shelf"
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
# With this range and a gray map the index of a pixel's colour is its value.
AS_INDEX: list[float] = [0, 254]
TRANSPARENT = 255


class Shelf:
    """Puts files into a folder of the home and registers them."""

    def __init__(self, platform: Platform, folder: Path) -> None:
        self.platform = platform
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        platform.catalog.upsert_collection(new_collection(COLLECTION))

    def register(
        self,
        item: str,
        assets: Mapping[str, Mapping[str, Any]],
        properties: Mapping[str, Any] | None = None,
        bbox: BBox | None = None,
    ) -> str:
        """Register an item with these assets."""
        box = bbox or BBox(-180, -90, 180, 90)
        self.platform.catalog.upsert_items(
            [
                {
                    "type": "Feature",
                    "stac_version": "1.1.0",
                    "id": item,
                    "collection": COLLECTION,
                    "bbox": box.as_list(),
                    "geometry": box.geometry(),
                    "properties": {"datetime": "2020-01-01T00:00:00Z", **(properties or {})},
                    "links": [],
                    "assets": {key: dict(asset) for key, asset in assets.items()},
                }
            ]
        )
        return item

    def raster(
        self,
        item: str,
        bands: NDArray[Any],
        transform: Affine | tuple[float, float, float, float],
        crs: str | None = "EPSG:4326",
        *,
        properties: Mapping[str, Any] | None = None,
        asset: Mapping[str, Any] | None = None,
        mask: NDArray[Any] | None = None,
        colours: Mapping[int, tuple[int, int, int, int]] | None = None,
        scales: tuple[float, ...] | None = None,
        offsets: tuple[float, ...] | None = None,
        **profile: Any,
    ) -> str:
        """Write a GeoTIFF, array (band, row, column), and register it; `transform` may be west, south, east, north."""
        if bands.ndim == 2:
            bands = bands[np.newaxis]
        count, height, width = bands.shape
        if not isinstance(transform, Affine):
            transform = from_bounds(*transform, width, height)
        path = self.folder / f"{item}.tif"
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=count,
            height=height,
            width=width,
            dtype=bands.dtype,
            crs=crs,
            transform=transform,
            **profile,
        ) as out:
            out.write(bands)
            if scales:
                out.scales = scales
            if offsets:
                out.offsets = offsets
            if colours:
                out.write_colormap(1, colours)
            if mask is not None:
                out.write_mask(mask)
        return self.register(
            item, {"data": {"href": str(path), "type": COG, "roles": ["data"], **(asset or {})}}, properties
        )

    def cube(
        self,
        item: str,
        dataset: xr.Dataset,
        *,
        properties: Mapping[str, Any] | None = None,
        encoding: Mapping[str, Any] | None = None,
    ) -> str:
        """Write a NetCDF-4 file and register it."""
        path = self.folder / f"{item}.nc"
        dataset.to_netcdf(path, engine="h5netcdf", encoding=dict(encoding or {}))
        return self.register(
            item, {"data": {"href": str(path), "type": "application/netcdf", "roles": ["data"]}}, properties
        )

    def references(self, item: str, dataset: xr.Dataset, **options: Any) -> str:
        """Write a NetCDF-4 file, kerchunk references to it, and register those."""
        from kerchunk.hdf import SingleHdf5ToZarr

        source = self.folder / f"{item}-source.nc"
        dataset.to_netcdf(source, engine="h5netcdf", **options)
        path = self.folder / f"{item}.json"
        path.write_text(json.dumps(SingleHdf5ToZarr(str(source), inline_threshold=300).translate()))
        asset = {
            "href": str(path),
            "type": "application/json",
            "roles": ["references", "index", "data"],
            "xarray:open_kwargs": {"engine": "kerchunk", "chunks": {}},
        }
        return self.register(item, {"references": asset})

    def features(self, item: str, frame: gpd.GeoDataFrame) -> str:
        """Write a GeoParquet file with a bounding-box column and register it."""
        path = self.folder / f"{item}.parquet"
        frame.to_parquet(path, write_covering_bbox=True, schema_version="1.1.0", row_group_size=16)
        table = {
            "table:columns": [{"name": name, "type": str(kind)} for name, kind in frame.dtypes.items()],
            "table:row_count": len(frame),
            "table:primary_geometry": frame.geometry.name,
        }
        asset = {"href": str(path), "type": "application/vnd.apache.parquet", "roles": ["data"]}
        return self.register(item, {"data": asset}, table)


@pytest.fixture
def platform(home: Path) -> Platform:
    """Give a platform of its own."""
    return geoetl.connect(home)


@pytest.fixture
def shelf(platform: Platform, home: Path) -> Shelf:
    """Give an empty collection and the means to fill it."""
    return Shelf(platform, home / "shelf")


def indices(picture: Picture) -> NDArray[np.uint8]:
    """Return the colour index of each pixel of a palette PNG: array (row, column)."""
    opened = Image.open(io.BytesIO(picture.content))
    assert opened.mode == "P"
    return np.asarray(opened)


def colours(picture: Picture) -> NDArray[np.uint8]:
    """Return red, green, blue and alpha of each pixel: array (row, column, 4)."""
    return np.asarray(Image.open(io.BytesIO(picture.content)).convert("RGBA"))


def longitudes(picture: Picture) -> NDArray[np.float64]:
    """Return the longitude of each column's centre, by the picture's bbox alone; runs on beyond 180."""
    steps = (np.arange(picture.width) + 0.5) / picture.width
    return picture.bbox.west + steps * picture.bbox.width_deg


def latitudes(picture: Picture) -> NDArray[np.float64]:
    """Return the latitude of each row's centre, by the picture's bbox and projection alone."""
    steps = (np.arange(picture.height) + 0.5) / picture.height
    south, north = picture.bbox.south, picture.bbox.north
    if picture.crs == "EPSG:4326":
        return north - steps * (north - south)
    top, bottom = (np.arctanh(np.sin(np.radians(lat))) for lat in (north, south))
    return np.degrees(np.arcsin(np.tanh(top - steps * (top - bottom))))
