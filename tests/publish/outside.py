"""Items as the pipelines make them, and a plain web server that serves what would become public of them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import numpy as np
import xarray as xr

from geoetl.ingest import RasterRequest, VectorRequest
from geoetl.platform import Platform
from geoetl.publish.model import Manifest
from geoetl.store.catalog.item import new_collection
from geoetl.store.origins import Origins
from geoetl.virtual import CubeRequest
from geoetl.virtual.write import CubeFormat
from tests import catalogued
from tests.schemas import schema_errors

RASTERS, VECTORS, CUBES = "images", "places", "climate"


def raster(platform: Platform, folder: Path, item: str = "hill", **said: Any) -> dict[str, Any]:
    """Ingest a small raster and register it; return its item."""
    folder.mkdir(parents=True, exist_ok=True)
    catalogued._hill(folder)
    request = RasterRequest(source=str(folder / "hill.tif"), collection=RASTERS, item=item, title="A hill", **said)
    ingest = platform.ingest.raster
    checked = ingest.validate(request)
    return _registered(platform, ingest.item(request, checked, ingest.to_cog(request, checked), None))


def vector(platform: Platform, folder: Path, item: str = "shires", **said: Any) -> dict[str, Any]:
    """Ingest two features and register them with the style that they are given; return their item."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "shires.geojson"
    catalogued.shires().to_file(path, driver="GeoJSON")
    request = VectorRequest(source=str(path), collection=VECTORS, item=item, title="Shires", **said)
    ingest = platform.ingest.vector
    checked = ingest.validate(request)
    made = _registered(
        platform, ingest.item(request, checked, ingest.to_files(request, checked), "internal://runs/r/n.ipynb")
    )
    platform.styles.ensure_default(f"{VECTORS}:{item}")
    return made


def months(path: Path, year: int, **attributes: Any) -> Path:
    """Write a NetCDF file of twelve months of a small cube."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = xr.date_range(f"{year}-01-01", periods=12, freq="MS", calendar="noleap", use_cftime=True)
    values = np.random.default_rng(year).normal(280, 10, (12, 3, 4)).astype("float32")
    data = xr.Dataset(
        {"tas": (("time", "lat", "lon"), values, {"units": "K", **attributes})},
        coords={
            "time": times,
            "lat": ("lat", [-45.0, 0.0, 45.0], {"units": "degrees_north"}),
            "lon": ("lon", [0.0, 90.0, 180.0, 270.0], {"units": "degrees_east"}),
            "height": ((), 2.0, {"units": "m"}),
        },
    )
    encoding: Any = {
        "tas": {"chunksizes": (1, 3, 4), "zlib": True, "shuffle": True, "_FillValue": np.float32(1e20)},
        "time": {"units": "days since 1850-01-01"},
    }
    data.to_netcdf(path, engine="netcdf4", encoding=encoding)
    return path


def cube(platform: Platform, folder: Path, format: CubeFormat = CubeFormat.JSON) -> dict[str, Any]:
    """Make a virtual cube of two files and register it; return its item."""
    for year in (2001, 2002):
        months(folder / f"tas_Amon_Toy_historical_r1i1p1f1_gn_{year}01-{year}12.nc", year)
    request = CubeRequest(source=str(folder), collection=CUBES, format=format)
    virtualiser = platform.virtual
    (files,) = virtualiser.inventory(request).cubes
    made = virtualiser.builder(request)(files)
    assert made.refused is None, made.refused
    (item,) = virtualiser.items(request, list(made.cubes), None)
    return _registered(platform, item)


def _registered(platform: Platform, item: dict[str, Any]) -> dict[str, Any]:
    known = {one["id"] for one in platform.catalog.collections()}
    if item["collection"] not in known:
        made = new_collection(
            item["collection"], title="Zürich – 東京", licence="CC-BY-4.0", providers=["Ämt für Karten"]
        )
        platform.catalog.upsert_collection(made)
    platform.register([item])
    return dict(platform.catalog.item(item["collection"], item["id"]))


def lay_out(platform: Platform, manifest: Manifest) -> Path:
    """Put into the external zone what a manifest names, and nothing else; return the folder of the release."""
    origins = Origins(platform.zones, platform.gate)
    root = platform.zones.external.root
    assert root is not None
    folder = root / manifest.path
    for one in manifest.objects:
        source = origins.find(one.source).path
        assert source is not None
        (folder / one.target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / one.target)
    for target, document in manifest.documents.items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        (folder / target).write_text(json.dumps(document), "utf-8")
    return folder


def faults(address: str) -> list[str]:
    """Return what is wrong with an item that is served, by the schemas of STAC and its extensions."""
    document = httpx.get(address, trust_env=False).json()
    links = [{**link, "href": urljoin(address, link["href"])} for link in document["links"] if link["rel"] != "root"]
    return schema_errors({**document, "links": links})


@contextmanager
def hidden(platform: Platform, *folders: Path) -> Iterator[None]:
    """Let the internal zone, and other folders, not be there for a while."""
    root = platform.zones.internal.root
    assert root is not None
    moved = [(folder, folder.with_name(f"{folder.name}-hidden")) for folder in (root, *folders)]
    for folder, aside in moved:
        folder.rename(aside)
    try:
        yield
    finally:
        for folder, aside in moved:
            aside.rename(folder)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder from a process of its own and give the address.

    A thread would not do: GDAL waits for its answers without letting any other Python run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.plain_server", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()
