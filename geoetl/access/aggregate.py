"""A statistic over time in each cell of a region: a field, with what it is like over the region."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from geoetl.access.bands import BandInfo
from geoetl.access.colormap import DEFAULT_COLORMAP, colormap_name, legend, lookup_table
from geoetl.access.cost import Estimate, QueryLimits
from geoetl.access.extract import RasterWindow
from geoetl.access.frame import GEOGRAPHIC, Extent
from geoetl.access.grid import Axis, Grid, IrregularGrid, RegularGrid, nearest_values, values_of_cells
from geoetl.access.over_region import OverRegion
from geoetl.access.over_time import check_statistic
from geoetl.access.picture import Picture, encode_mapped, media_type_of
from geoetl.access.regional import RegionalQuestion
from geoetl.access.rescale import Rescale, auto_rescale, chosen_ranges
from geoetl.access.result import BBoxField, Result, Source, extent_text, finite_or_none
from geoetl.access.statistics import units_over_time
from geoetl.access.table_export import csv_text, sel_text, written
from geoetl.access.window import even_grid
from geoetl.core.html import facts, heading
from geoetl.core.spatial import BBox, wrap_longitude

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from numpy.typing import NDArray

    from geoetl.access.weights import Weights


# CF conventions 1.11, appendix E; a count has no name there.
CELL_METHODS = {
    "mean": "mean",
    "min": "minimum",
    "max": "maximum",
    "sum": "sum",
    "median": "median",
    "std": "standard_deviation",
}


class FieldStatistics(Result):
    """What a field is like over a region; each cell weighs as much as the region has of it.

    Attributes:
        min: Least value of a cell.
        max: Largest value of a cell.
        mean: Mean.
        std: Standard deviation.
        median: Median.
        valid_pixels: Cells with data.
        data_share: Share of the region's area that has data, 0 to 1.
    """

    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    median: float | None
    valid_pixels: int
    data_share: float | None


class FieldAggregate(Result):
    """A statistic over time in each cell of a region.

    Attributes:
        bbox: The region, or the box around it.
        region_name: Its name, where it has one.
        boundary: Where a named boundary came from.
        variable: Name of the variable.
        title: Its long name, or its name.
        units: Units of the values, where they are known.
        aggregation: What was taken of each cell over time.
        percentile: Which percentile, where it is that.
        time_range: Times of the first and the last step that were taken; None without time.
        calendar: CF calendar of the times; None without time.
        steps: How many steps were taken.
        shape: Cells along each dimension of the grid.
        statistics: What the field is like over the region.
        sel: The values of the extra dimensions that were taken.
        method: How the values were made.
        weighting: What the weight of a cell is.
        source: Where the values came from.
        grid: Where the cells lie: longitudes from west to east, beginning within -180 to 180; latitudes as in the file.
        values: Array over the dimensions of `grid` (latitude, longitude), NaN = no data or outside of the region.
    """

    bbox: BBoxField
    region_name: str | None
    boundary: Source | None
    variable: str
    title: str
    units: str | None
    aggregation: str
    percentile: float | None
    time_range: tuple[str, str] | None
    calendar: str | None
    steps: int
    shape: tuple[int, ...]
    statistics: FieldStatistics
    sel: dict[str, str | float | int]
    method: str
    weighting: str
    source: Source
    grid: Annotated[Any, Field(exclude=True, repr=False)]
    values: Annotated[Any, Field(exclude=True, repr=False)]

    @property
    def lat(self) -> "NDArray[np.float64]":
        """Latitude of each row; on a grid that is not regular of each cell, array as `values`."""
        found: NDArray[np.float64] = self.grid.lat.centres if isinstance(self.grid, RegularGrid) else self.grid.lat
        return found

    @property
    def lon(self) -> "NDArray[np.float64]":
        """Longitude of each column, growing; on a grid that is not regular of each cell, array as `values`."""
        found: NDArray[np.float64] = self.grid.lon.centres if isinstance(self.grid, RegularGrid) else self.grid.lon
        return found

    @property
    def time_text(self) -> str | None:
        """The range of time as an ISO 8601 interval in the cube's own calendar."""
        return None if self.time_range is None else "/".join(self.time_range)

    def about(self) -> dict[str, Any]:
        """Return what is to be said about the values, as in the attributes and tags of files."""
        return {
            **self.source.model_dump(),
            "region": self.region_name,
            "bbox": ",".join(f"{edge:.10g}" for edge in self.bbox.as_list()),
            "variable": self.variable,
            "units": self.units,
            "aggregation": self.aggregation,
            "percentile": self.percentile,
            "time": self.time_text,
            "calendar": self.calendar,
            "sel": dict(self.sel) or None,
            "method": self.method,
            "weighting": self.weighting,
        }

    def to_raster(self, *, format: str = "tif") -> RasterWindow:
        """Return the field as pixels of a map, north up: what is written as GeoTIFF.

        A grid that is not even is told on an even one of about its size, each pixel its nearest cell; `method` says so.
        """
        whole, is_own = even_grid(self.grid)
        at = whole.transform
        latitudes = np.asarray(at.f + at.e * (np.arange(whole.height) + 0.5), dtype=np.float64)
        longitudes = np.asarray(at.c + at.a * (np.arange(whole.width) + 0.5), dtype=np.float64)
        array = self._array()
        if isinstance(self.grid, RegularGrid):
            pixels, nearest = nearest_values(array, self.grid, latitudes, longitudes), "nearest cell"
        else:
            nearest = "nearest cell by great circle"
            places = np.meshgrid(longitudes, latitudes)
            pixels = values_of_cells(array, self.grid, self.grid.nearest_cells(places[1], places[0]))
        return RasterWindow(
            values=pixels[np.newaxis],
            grid=whole,
            crs=GEOGRAPHIC,
            bbox=self.bbox,
            bands=(BandInfo(index=1, name=self.variable, units=self.units),),
            variable=self.variable,
            units=self.units,
            time=self.time_text,
            calendar=self.calendar,
            sel=self.sel,
            method=self.method if is_own else f"{self.method}, {nearest} on an even grid",
            weighting=self.weighting,
            source=self.source,
            format=format,
        )

    def picture(self, *, format: str = "png", colormap: str = DEFAULT_COLORMAP, rescale: Rescale = "auto") -> Picture:
        """Return the field as a picture in degrees, a pixel for each cell; cells without data are transparent.

        Args:
            format: png, jpeg or webp.
            colormap: Name of a colour map, ``_r`` reversed.
            rescale: Values at the ends of the colours; ``"auto"`` takes the 2nd to 98th percentile of the field.

        Raises:
            InvalidParameter: A format, colour map or range is not right.
        """
        media_type = media_type_of(format)
        map_name = colormap_name(colormap)
        raster = self.to_raster()
        (limits,) = chosen_ranges(rescale, [raster.values], [None])
        edges = edges_of(raster)
        return Picture(
            content=encode_mapped(raster.values[0], limits, map_name, media_type),
            media_type=media_type,
            bbox=Extent.from_edges(*edges).bbox,
            crs=GEOGRAPHIC,
            bounds=edges,
            width=raster.grid.width,
            height=raster.grid.height,
            rescale=(limits,),
            colormap=map_name,
            legend=legend(map_name, limits, self.units),
            variable=self.variable,
            units=self.units,
            method=raster.method,
            time=self.time_text,
            sel=self.sel,
            source=self.source,
        )

    def _array(self) -> "xr.DataArray":
        import xarray as xr

        return xr.DataArray(self.values, dims=self.grid.dims, name=self.variable)

    def to_xarray(self) -> "xr.DataArray":
        """Return the field with its coordinates, and in its attributes what it is and where it came from."""
        dims = self.grid.dims
        is_regular = isinstance(self.grid, RegularGrid)
        lat = {"standard_name": "latitude", "units": "degrees_north"}
        lon = {"standard_name": "longitude", "units": "degrees_east"}
        names = (dims[0], dims[1]) if is_regular else ("lat", "lon")
        coordinates = {
            names[0]: (dims[0] if is_regular else dims, self.lat, lat),
            names[1]: (dims[1] if is_regular else dims, self.lon, lon),
        }
        array = self._array().assign_coords(coordinates)
        array.attrs |= {"long_name": self.title, **({} if self.units is None else {"units": self.units})}
        if self.aggregation in CELL_METHODS and self.time_range is not None:
            array.attrs["cell_methods"] = f"time: {CELL_METHODS[self.aggregation]}"
        for name, value in self.about().items():
            if value is not None and name not in ("variable", "units"):
                array.attrs[f"geoetl_{name}"] = sel_text(self.sel) if name == "sel" else value
        return array

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row per cell: lat, lon (within -180 to 180), and the variable; `.attrs` says the rest."""
        import pandas as pd

        is_regular = isinstance(self.grid, RegularGrid)
        lat, lon = np.meshgrid(self.lat, self.lon, indexing="ij") if is_regular else (self.lat, self.lon)
        table = pd.DataFrame(
            {"lat": lat.ravel(), "lon": (lon.ravel() + 180) % 360 - 180, self.variable: self.values.ravel()}
        )
        table.attrs.update({name: value for name, value in self.about().items() if value is not None})
        return table

    def to_csv(self, path: str | Path | None = None) -> str | None:
        """Write one row per cell as CSV to `path`, or return it; every row says what it is and where it came from."""
        from geoetl.access.regional_export import field_table

        return written(csv_text(field_table(self)), path)

    def to_parquet(self, path: str | Path | None = None) -> bytes | None:
        """Write the rows of `to_csv` as Parquet to `path`, or return them."""
        from geoetl.access.regional_export import field_file

        return written(field_file(self, "parquet"), path)

    def to_netcdf(self, path: str | Path | None = None) -> bytes | None:
        """Write the field as NetCDF-4 to `path`, or return it."""
        from geoetl.access.regional_export import field_file

        return written(field_file(self, "netcdf"), path)

    def plot(self, colormap: str = DEFAULT_COLORMAP) -> Any:
        """Return a HoloViews map of the cells as they lie.

        Raises:
            InvalidParameter: There is no such colour map.
        """
        import holoviews as hv

        if not hv.Store.loaded_backends():
            hv.extension("bokeh")
        label = f"{self.variable} [{self.units}]" if self.units else self.variable
        value = hv.Dimension("value", label=label)
        places = [hv.Dimension("lon", label="°E"), hv.Dimension("lat", label="°N")]
        limits = auto_rescale(self.values)
        if self.values.ndim == 1:
            drawn, kind = hv.Points((self.lon, self.lat, self.values), places, value), hv.opts.Points
        else:
            drawn, kind = hv.QuadMesh((self.lon, self.lat, self.values), places, value), hv.opts.QuadMesh
        box = self.grid.extent
        aspect = max(box.east - box.west, 1e-6) * math.cos(math.radians((box.south + box.north) / 2))
        width = 640
        height = int(min(max(width * (box.north - box.south) / max(aspect, 1e-6), 240), 640))
        place = self.region_name or extent_text(self.bbox)
        options: dict[str, Any] = {"color": "value"} if kind is hv.opts.Points else {}
        return drawn.opts(
            kind(
                title=f"{self.title}, {self.aggregation} · {place}",
                cmap=[f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in lookup_table(colormap)],
                clim=tuple(limits),
                colorbar=True,
                clabel=label,
                frame_width=width,
                frame_height=height,
                tools=["hover"],
                backend="bokeh",
                **options,
            )
        )

    def _repr_html_(self) -> str:
        said = self.statistics
        units = self.units or ""
        span = None if self.time_range is None else f"{' to '.join(self.time_range)}, {self.calendar} calendar"
        spread = "no data" if said.min is None else f"{said.min:.6g} to {said.max:.6g} {units}".strip()
        return heading(f"{self.title}, {self.aggregation}", self.region_name or "") + facts(
            [
                ("mean over the region", None if said.mean is None else f"{said.mean:.6g} {units}".strip()),
                ("cells", f"{spread} ({said.valid_pixels:,} with data)"),
                ("weight of a cell", self.weighting),
                ("time", span),
                ("method", self.method),
                ("extent", extent_text(self.bbox)),
                *self.sel.items(),
                ("source", self.source),
                ("dataset version", self.source.dataset_version),
            ]
        )


def edges_of(raster: RasterWindow) -> tuple[float, float, float, float]:
    """Return west, south, east and north of the pixels in degrees; east runs on beyond 180 where need be."""
    at = raster.grid.transform
    return at.c, at.f + at.e * raster.grid.height, at.c + at.a * raster.grid.width, at.f


class FieldPlan:
    """How a field over a region is worked out, and what that costs.

    Args:
        question: What is asked for.
        aggregation: What is taken of each cell over the steps.
        percentile: Which percentile, 0 to 100, where it is that.

    Raises:
        InvalidParameter: There is no such aggregation or percentile.
    """

    def __init__(self, question: RegionalQuestion, *, aggregation: str, percentile: float | None) -> None:
        self._question = question
        self._aggregation = aggregation
        self._percentile = check_statistic(aggregation, percentile, field="aggregation")

    def estimate(self, limits: QueryLimits) -> Estimate:
        """Return what it costs."""
        cells = self._question.cells
        reading = cells.reading_of_field(self._question.steps, self._aggregation)
        return limits.estimate(cells.count, reading.chunks, reading.size)

    def run(self) -> FieldAggregate:
        """Read and work it out.

        Raises:
            UnreadableFile: A source is gone, changed or damaged.
        """
        question = self._question
        weights = question.cells.weights
        values = question.cells.field(question.steps, self._aggregation, self._percentile)
        over = OverRegion(weights)
        over.add(values[np.newaxis])
        found = over.result()
        grid, values = _held(question.layout.grid, weights, values)
        region = None if isinstance(question.region, BBox) else question.region
        taken = f"percentile {self._percentile:g}" if self._aggregation == "percentile" else self._aggregation
        return FieldAggregate(
            bbox=question.box,
            region_name=None if region is None else region.name,
            boundary=None if region is None else region.source,
            variable=question.variable.name,
            title=question.variable.title,
            units=units_over_time(question.variable.units, self._aggregation),
            aggregation=self._aggregation,
            percentile=self._percentile,
            time_range=question.span(),
            calendar=question.layout.calendar,
            steps=len(question.steps),
            shape=values.shape,
            statistics=FieldStatistics(
                min=finite_or_none(found.min[0]),
                max=finite_or_none(found.max[0]),
                mean=finite_or_none(found.mean[0]),
                std=finite_or_none(found.std[0]),
                median=finite_or_none(found.median[0]),
                valid_pixels=int(found.count[0]),
                data_share=finite_or_none(found.data_share[0]),
            ),
            sel=question.sel,
            method=f"{taken} of each cell over {len(question.steps):,} steps",
            weighting=weights.weighting,
            source=question.found.source,
            grid=grid,
            values=values,
        )


def _held(grid: Grid, weights: "Weights", values: "NDArray[np.float64]") -> "tuple[Grid, NDArray[np.float64]]":
    """Return the smallest part of a grid that has all cells of a region, and its values, NaN outside of the region."""
    counted = weights.counted
    kept = []
    for axis in range(counted.ndim):
        used = np.flatnonzero(counted.any(axis=tuple(other for other in range(counted.ndim) if other != axis)))
        kept.append(slice(int(used[0]), int(used[-1]) + 1))
    at = tuple(kept)
    inside = np.where(counted[at], values[at], np.nan)
    positions = [along[part] for along, part in zip(weights.positions, kept, strict=True)]
    if isinstance(grid, IrregularGrid):
        placed = np.ix_(*positions)
        return replace(grid, lon=grid.lon[placed], lat=grid.lat[placed]), inside
    return RegularGrid(_eastern(grid.lon, positions[1]), _part(grid.lat, positions[0])), inside


def _part(axis: Axis, positions: "NDArray[np.intp]") -> Axis:
    edges = axis.edges[positions]
    return Axis(axis.dim, axis.centres[positions], float(edges.min()), float(edges.max()), edges)


def _eastern(axis: Axis, columns: "NDArray[np.intp]") -> Axis:
    """Return columns that run eastwards, over the seam of the grid too, with longitudes that grow from -180 or more."""
    centres = axis.centres[columns]
    first = wrap_longitude(float(centres[0]))
    moved = first + np.concatenate([[0.0], np.cumsum(np.diff(centres) % 360)])
    edges = axis.edges[columns] + (moved - centres)[:, np.newaxis]
    return Axis(axis.dim, moved, float(edges.min()), float(edges.max()), edges)
