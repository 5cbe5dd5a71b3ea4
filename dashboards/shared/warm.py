"""Load what the first click would wait for, while the first page is already there."""

import threading
from importlib import import_module
from importlib.util import find_spec

# What opens a raster, a cube and features: 0.2 to 1.5 s each, the first time.
SLOW_MODULES = (
    *("rasterio.warp", "xarray", "zarr", "fsspec", "cftime"),
    *("geopandas", "pyarrow.parquet", "cmap", "PIL.Image", "bokeh.plotting"),
)


def warm_up() -> None:
    """Import the slow modules in a thread of their own; those that are not installed are left out."""
    threading.Thread(target=_load, name="geoetl-warm", daemon=True).start()


def _load() -> None:
    for name in SLOW_MODULES:
        if find_spec(name.partition(".")[0]):
            import_module(name)
