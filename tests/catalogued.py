"""A catalogue with one item of each kind, small and made by code, for the tests of what people see."""

from pathlib import Path
from typing import Any

import cftime
import geopandas as gpd
import numpy as np
import pyogrio
import rasterio
import shapely
import xarray as xr
from rasterio.transform import from_bounds

from geoetl.core.spatial import BBox
from geoetl.platform import Platform
from geoetl.store.catalog.item import new_collection

IMAGES, CLIMATE, PLACES = "images", "climate", "places"
HILL, TINTED, MODEL, POLAR, SHIRES = "hill", "tinted", "model_360day", "polar", "shires"
HILL_BOX = BBox(5.0, 45.0, 9.0, 48.0)
# Where the tests read: inside the hill, the model's grid and the shire "North".
LON, LAT = 7.12, 46.62


def fill(platform: Platform, folder: Path) -> None:
    """Register the items; their files lie in `folder`, which has to be below the home."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, title in ((IMAGES, "Satellite images"), (CLIMATE, "Climate models"), (PLACES, "Boundaries")):
        platform.catalog.upsert_collection(new_collection(name, title=title, licence="CC0-1.0"))
    platform.catalog.upsert_items([_hill(folder), _tinted(folder), _model(folder), _polar(folder), _shires(folder)])


def hill_values() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the heights of the hill: array (row, column), a cone of 1000 m with a hole in the corner."""
    rows, columns = np.mgrid[0:60, 0:80]
    heights = (1000 - 12 * np.hypot(rows - 30, columns - 40)).astype(np.float32)
    heights[:6, :6] = -9999
    return heights


def model_dataset(lat: np.ndarray[Any, Any] | None = None) -> xr.Dataset:
    """Return ``tas`` (time, plev, lat, lon) of 36 months in the 360-day calendar: a season, colder to the poles."""
    lat = np.arange(-85.0, 90, 10) if lat is None else lat
    lon = np.arange(0.0, 360, 10)
    months = [cftime.Datetime360Day(2000 + m // 12, m % 12 + 1, 16, 12) for m in range(36)]
    levels = np.array([100_000.0, 50_000.0])
    season = 10 * np.cos(2 * np.pi * (np.arange(36) - 6) / 12)
    values = (
        290.0
        + season[:, None, None, None]
        - 30 * np.arange(2)[None, :, None, None]
        - 0.5 * np.abs(lat)[None, None, :, None]
        + 0.01 * lon[None, None, None, :]
    ).astype("float32")
    return xr.Dataset(
        {"tas": (("time", "plev", "lat", "lon"), values, {"units": "degK", "long_name": "Air temperature"})},
        coords={
            "time": months,
            "plev": ("plev", levels, {"units": "Pa", "long_name": "Pressure"}),
            "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
        },
    )


def shires() -> gpd.GeoDataFrame:
    """Return two touching squares with attributes; one name is markup, as a page must not take it for such."""
    boxes = [shapely.box(5, 46.5, 9, 48), shapely.box(5, 45, 9, 46.5)]
    return gpd.GeoDataFrame({"name": ["North", "<b>South</b>"], "people": [1200, 3400]}, geometry=boxes, crs=4326)


def _hill(folder: Path) -> dict[str, Any]:
    path = folder / "hill.tif"
    _write(path, hill_values()[np.newaxis], nodata=-9999)
    bands = [{"name": "height", "unit": "m", "data_type": "float32"}]
    renders = {"default": {"assets": ["data"], "rescale": [[0, 1000]], "colormap_name": "viridis"}}
    return _item(HILL, IMAGES, "A hill", HILL_BOX, {"data": _cog(path, bands)}, {"renders": renders})


def _tinted(folder: Path) -> dict[str, Any]:
    path = folder / "tinted.tif"
    rows, columns = np.mgrid[0:60, 0:80]
    colours = np.stack([rows * 4, columns * 3, np.full_like(rows, 128)]).astype(np.uint8)
    _write(path, colours, photometric="RGB")
    bands = [{"name": name, "data_type": "uint8"} for name in ("red", "green", "blue")]
    return _item(TINTED, IMAGES, "A tinted square", HILL_BOX, {"data": _cog(path, bands)}, {})


def _model(folder: Path) -> dict[str, Any]:
    path = folder / "model.nc"
    model_dataset().to_netcdf(path, engine="h5netcdf")
    return _cube(MODEL, "A model with 360 days", path, BBox(-180, -90, 180, 90))


def _polar(folder: Path) -> dict[str, Any]:
    path = folder / "polar.nc"
    model_dataset(lat=np.array([87.0, 89.0])).to_netcdf(path, engine="h5netcdf")
    return _cube(POLAR, "Near the pole", path, BBox(-180, 86, 180, 90))


def _cube(name: str, title: str, path: Path, box: BBox) -> dict[str, Any]:
    dimensions = {"time": {"type": "temporal", "extent": ["2000-01-16T12:00:00Z", "2002-12-16T12:00:00Z"]}}
    properties = {
        "datetime": None,
        "start_datetime": "2000-01-16T12:00:00Z",
        "end_datetime": "2002-12-16T12:00:00Z",
        "cube:dimensions": dimensions,
    }
    asset = {"href": str(path), "type": "application/netcdf", "roles": ["data"], "title": "NetCDF"}
    return _item(name, CLIMATE, title, box, {"data": asset}, properties)


def _shires(folder: Path) -> dict[str, Any]:
    parquet, tiles = folder / "shires.parquet", folder / "shires.pmtiles"
    shires().to_parquet(parquet, write_covering_bbox=True, schema_version="1.1.0")
    pyogrio.write_dataframe(shires(), tiles, driver="PMTiles", layer="shires", MINZOOM=0, MAXZOOM=6)
    assets = {
        "data": {"href": str(parquet), "type": "application/vnd.apache.parquet", "roles": ["data"]},
        "pmtiles": {"href": str(tiles), "type": "application/vnd.pmtiles", "roles": ["visual"]},
    }
    table = {"table:row_count": 2, "table:columns": [{"name": "name", "type": "string"}], "description": "Two shires."}
    return _item(SHIRES, PLACES, "Shires", HILL_BOX, assets, table)


def _write(path: Path, bands: np.ndarray[Any, Any], **profile: Any) -> None:
    count, height, width = bands.shape
    transform = from_bounds(*HILL_BOX.as_list(), width, height)
    size = {"count": count, "height": height, "width": width, "dtype": bands.dtype.name}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:4326", transform=transform, **size, **profile) as out:
        out.write(bands)


def _cog(path: Path, bands: list[dict[str, Any]]) -> dict[str, Any]:
    media_type = "image/tiff; application=geotiff; profile=cloud-optimized"
    return {"href": str(path), "type": media_type, "roles": ["data"], "title": "GeoTIFF", "bands": bands}


def _item(
    name: str, collection: str, title: str, box: BBox, assets: dict[str, Any], properties: dict[str, Any]
) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "collection": collection,
        "bbox": box.as_list(),
        "geometry": box.geometry(),
        "properties": {"datetime": "2020-06-01T00:00:00Z", "title": title, **properties},
        "links": [],
        "assets": assets,
    }
