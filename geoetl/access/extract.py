"""Values cut out of a raster or of a cube's step, with where they lie and what they are."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.bands import BandInfo
from geoetl.access.export import NPY, TIFF, encode_npy, encode_tif
from geoetl.access.frame import RasterGrid
from geoetl.access.mesh import transformer
from geoetl.access.result import Source, extent_text
from geoetl.core.errors import InvalidParameter
from geoetl.core.html import facts, heading
from geoetl.core.spatial import BBox

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from numpy.typing import NDArray

_MEDIA_TYPES = {"tif": TIFF, "npy": NPY}
_CRS84 = "OGC:CRS84"


@dataclass(frozen=True, eq=False)
class RasterWindow:
    """Values on a map.

    Attributes:
        values: Array (band, row, column), NaN = no data, scale and offset applied.
        grid: Where the pixels lie: CRS, affine transform, size.
        crs: The CRS as an authority code, or as WKT where it has none.
        bbox: What was asked for, in degrees; west > east crosses the antimeridian.
        bands: Names and units of the bands.
        variable: The variable, the names of the bands, or the expression.
        units: Units of the values, where all bands have the same.
        time: ISO 8601 text of the time step in its own calendar, where there is one.
        calendar: CF calendar of the time.
        sel: The values of the extra dimensions that were taken.
        method: How cells became pixels.
        weighting: How they were weighted.
        source: Where they came from.
        format: What `content` is: ``tif`` or ``npy``.
    """

    values: "NDArray[np.floating[Any]]"
    grid: RasterGrid
    crs: str
    bbox: BBox
    bands: tuple[BandInfo, ...]
    variable: str
    units: str | None
    time: str | None
    calendar: str | None
    sel: dict[str, str | float | int]
    method: str
    source: Source
    format: str
    weighting: str = "none"

    @property
    def media_type(self) -> str:
        """Of `content`."""
        return _MEDIA_TYPES[self.format]

    @cached_property
    def content(self) -> bytes:
        """The values as a file."""
        return encode_npy(self.values) if self.format == "npy" else self.to_tif()

    def to_tif(self) -> bytes:
        """Return a GeoTIFF of physical values, NaN its nodata, with names, units and where they came from inside."""
        return encode_tif(self.values, self.grid, self.bands, self.about())

    def about(self) -> dict[str, Any]:
        """Return what is to be said about the values, as in the tags of a GeoTIFF."""
        return {
            "collection": self.source.collection,
            "item": self.source.item,
            "asset": self.source.asset,
            "dataset_version": self.source.dataset_version,
            "variable": self.variable,
            "units": self.units,
            "time": self.time,
            "calendar": self.calendar,
            "sel": self.sel or None,
            "method": self.method,
            "weighting": self.weighting,
            "bbox": ",".join(f"{edge:.10g}" for edge in self.bbox.as_list()),
        }

    def places(self) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
        """Return longitude and latitude of each pixel's centre: two arrays (row, column)."""
        at = self.grid.transform
        columns, rows = np.meshgrid(np.arange(self.grid.width) + 0.5, np.arange(self.grid.height) + 0.5)
        x, y = at.a * columns + at.b * rows + at.c, at.d * columns + at.e * rows + at.f
        lon, lat = transformer(self.grid.crs_wkt, _CRS84).transform(x, y)
        return (np.asarray(lon) + 180) % 360 - 180, np.asarray(lat)

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row per pixel, from the upper left: lon, lat, and a column for each band."""
        import pandas as pd

        lon, lat = self.places()
        columns = {band.name: layer.ravel() for band, layer in zip(self.bands, self.values, strict=True)}
        table = pd.DataFrame({"lon": lon.ravel(), "lat": lat.ravel(), **columns})
        table.attrs.update({name: value for name, value in self.about().items() if value is not None})
        return table

    def to_xarray(self) -> "xr.DataArray":
        """Return a DataArray (band, y, x) with CRS and transform for ``.rio``; a rotated grid has no x and y."""
        import rioxarray  # noqa: F401  registers the .rio accessor
        import xarray as xr

        coordinates: dict[str, Any] = {"band": [band.name for band in self.bands]}
        at = self.grid.transform
        if self.grid.is_straight:
            coordinates["x"] = at.c + at.a * (np.arange(self.grid.width) + 0.5)
            coordinates["y"] = at.f + at.e * (np.arange(self.grid.height) + 0.5)
        said = {name: value for name, value in self.about().items() if value is not None and name != "sel"}
        array = xr.DataArray(self.values, coordinates, ("band", "y", "x"), self.variable, {**said, **self.sel})
        placed: xr.DataArray = array.rio.write_crs(self.grid.crs_wkt).rio.write_transform(at).rio.write_nodata(np.nan)
        return placed

    def plot(self, band: int = 1, colormap: str = "viridis") -> Any:
        """Return a HoloViews image of a band, number from 1.

        Raises:
            InvalidParameter: There is no such band, or the grid is rotated.
        """
        import holoviews as hv

        if not 1 <= band <= len(self.bands):
            raise InvalidParameter(f"There is no band {band}; there are {len(self.bands)}.", field="band")
        if not self.grid.is_straight:
            raise InvalidParameter(
                "A rotated grid is not drawn as it is.", hint="Ask for a crs, for example EPSG:4326.", field="crs"
            )
        if not hv.Store.loaded_backends():
            hv.extension("bokeh")
        about = self.bands[band - 1]
        at, width, height = self.grid.transform, self.grid.width, self.grid.height
        x, y = (at.c, at.c + at.a * width), (at.f, at.f + at.e * height)
        pixels = self.values[band - 1][:: 1 if at.e < 0 else -1, :: 1 if at.a > 0 else -1]
        label = f"{about.name} [{about.units}]" if about.units else about.name
        image = hv.Image(pixels, bounds=(min(x), min(y), max(x), max(y)), vdims=[hv.Dimension("value", label=label)])
        title = " · ".join(part for part in (self.variable, self.time, str(self.source)) if part)
        return image.opts(
            hv.opts.Image(
                title=title, cmap=colormap, colorbar=True, width=600, height=420, tools=["hover"], backend="bokeh"
            )
        )

    def _repr_html_(self) -> str:
        spans = []
        for band, layer in zip(self.bands, self.values, strict=True):
            known = layer[np.isfinite(layer)]
            spread = f"{known.min():.6g} to {known.max():.6g} {band.units or ''}".strip() if known.size else "no data"
            spans.append((band.name, f"{spread} ({known.size:,} of {layer.size:,} pixels)"))
        return heading(self.variable, str(self.source)) + facts(
            [
                *spans,
                ("time", self.time),
                ("extent", extent_text(self.bbox)),
                ("grid", f"{self.grid.width} x {self.grid.height} pixels, {self.crs.partition('[')[0]}"),
                ("method", self.method),
                ("dataset version", self.source.dataset_version),
            ]
        )
