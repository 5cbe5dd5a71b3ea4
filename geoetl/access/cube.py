"""Cubes by the ids of their items: what is in them, a picture of a time step, the series at a point."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from geoetl.access.batch import BatchItem, BatchPlace, BatchPlan, BatchProblem, BatchTable, check_pairs
from geoetl.access.colormap import colormap_name
from geoetl.access.cost import Estimate, QueryLimits
from geoetl.access.frame import GEOGRAPHIC, WEB_MERCATOR, check_crs, check_size, map_frame
from geoetl.access.grid import Grid, RegularGrid
from geoetl.access.items import CUBE_KINDS, FoundAsset, Items, Lookup
from geoetl.access.layer import CubeLayer
from geoetl.access.layout import (
    DimensionInfo,
    OpenCube,
    Selection,
    VariableInfo,
    listed,
)
from geoetl.access.located import PlaceLike, locate
from geoetl.access.open import OPENERS
from geoetl.access.picture import Picture, media_type_of, paint
from geoetl.access.places import Places
from geoetl.access.point_series import SampledVariable, SeriesPlan
from geoetl.access.pool import SharedPool
from geoetl.access.regional_access import RegionalAccess
from geoetl.access.rescale import Rescale
from geoetl.access.result import BBoxField, Result, Source, extent_text
from geoetl.access.sampling import OverTime
from geoetl.access.series import Series
from geoetl.core.errors import GeoetlError, InvalidBBox, InvalidParameter, LimitExceeded
from geoetl.core.html import facts, heading
from geoetl.core.settings import QuerySettings

if TYPE_CHECKING:
    import xarray as xr

    from geoetl.store.gate import Gate
    from geoetl.store.zones import Zones

# Open cubes that one process keeps: each is metadata and coordinates, not values.
MAX_OPEN_CUBES = 32


class CubeDescription(Result):
    """What is in a cube.

    Attributes:
        source: The item.
        variables: Every variable that has a place on Earth.
        default_variable: The one that is taken when none is named.
        sizes: Length of each dimension of the default variable.
        times: Every time step of the default variable: ISO 8601 in the cube's own calendar; ``time_index`` i is
            ``times[i - 1]``. Empty for a cube without time.
        calendar: CF calendar of the times; None without time.
        dimensions: The extra dimensions of the default variable.
        bbox: What the cells cover, in degrees; west > east crosses the antimeridian.
        grid: ``regular``, ``curvilinear``, ``projected`` or ``unstructured``; pictures need ``regular``.
    """

    source: Source
    variables: tuple[VariableInfo, ...]
    default_variable: str
    sizes: dict[str, int]
    times: tuple[str, ...]
    calendar: str | None
    dimensions: tuple[DimensionInfo, ...]
    bbox: BBoxField
    grid: str

    def _repr_html_(self) -> str:
        span = f"{self.times[0]} to {self.times[-1]} ({len(self.times)} steps, {self.calendar})" if self.times else None
        return heading(str(self.source)) + facts(
            [
                *((v.name, f"{v.title}{f' [{v.units}]' if v.units else ''}, {_sizes_text(v)}") for v in self.variables),
                ("time", span),
                *((d.name, listed(d.values) + (f" {d.units}" if d.units else "")) for d in self.dimensions),
                ("extent", extent_text(self.bbox)),
                ("grid", self.grid),
            ],
        )


class CubeAccess(RegionalAccess):
    """Answers questions about cubes in the catalogue: virtual references, Icechunk, Zarr and NetCDF.

    Args:
        catalog: Where items are looked up.
        gate: Opens the files.
        zones: The object zones.
        query: What one question may ask for.
        places: Where names of places are looked up.
    """

    def __init__(
        self,
        catalog: Lookup,
        gate: "Gate",
        zones: "Zones | None" = None,
        *,
        query: QuerySettings | None = None,
        places: Places | None = None,
    ) -> None:
        super().__init__(QueryLimits.within(gate.limits, query or QuerySettings()))
        self._gate = gate
        self._places = places
        self._items = Items(catalog, gate, zones)
        self._pool: SharedPool[OpenCube] = SharedPool(MAX_OPEN_CUBES)

    def open(self, collection: str, item: str, *, asset: str | None = None) -> "xr.Dataset":
        """Return the whole cube, lazily; it stays open for the next question, whatever is done with this one.

        Raises:
            NotFound: There is no such item or asset.
        """
        cube, _ = self.opened(collection, item, asset)
        return cube.dataset.copy()

    def describe(self, collection: str, item: str, *, asset: str | None = None) -> CubeDescription:
        """Return what is in a cube: variables, times, extra dimensions, extent.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: No variable of it has a place on Earth.
        """
        cube, found = self.opened(collection, item, asset)
        default = cube.default_variable
        layout = cube.layout(default)
        return CubeDescription(
            source=found.source,
            variables=tuple(cube.info(name) for name in cube.variables),
            default_variable=default,
            sizes={str(dim): size for dim, size in cube.dataset[default].sizes.items()},
            times=layout.times,
            calendar=layout.calendar,
            dimensions=layout.extra,
            bbox=layout.grid.extent.bbox,
            grid=layout.grid.kind,
        )

    def preview(
        self,
        collection: str,
        item: str,
        *,
        asset: str | None = None,
        variable: str | None = None,
        time_index: int = 1,
        sel: Selection | None = None,
        max_size: int = 512,
        rescale: Rescale = None,
        colormap: str | None = None,
        crs: str = WEB_MERCATOR,
        format: str = "png",
    ) -> Picture:
        """Return a picture of one time step of a variable, ready to be laid on a map: each pixel its nearest cell.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            asset: Key of the asset; the item's cube where it is left out.
            variable: Name of the variable; the item's own where it is left out.
            time_index: Number of the time step, from 1.
            sel: A value for each extra dimension; the first value of those left out.
            max_size: Pixels of the longer side.
            rescale: Values at the ends of the colours; ``"auto"`` takes the 2nd to 98th percentile of this step; left
                out, the item's own range for its own variable, else ``"auto"``.
            colormap: Name of a colour map, ``_r`` reversed; left out, the item's own, else viridis.
            crs: ``EPSG:3857`` or ``EPSG:4326``.
            format: png, jpeg or webp.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: A variable, step, value, colour map, range or format is not right.
            LimitExceeded: The picture would have more pixels than the limit; nothing was read.
        """
        media_type = media_type_of(format)
        check_size(max_size, self._gate.limits.picture_pixels)
        wanted_crs = check_crs(crs)
        if wanted_crs not in (WEB_MERCATOR, GEOGRAPHIC):
            raise InvalidParameter(
                f"A cube is drawn in {WEB_MERCATOR} or {GEOGRAPHIC}, not in {wanted_crs}.", field="crs"
            )
        wanted_colormap = None if colormap is None else colormap_name(colormap)
        cube, found = self.opened(collection, item, asset)
        layer = CubeLayer(cube, found, variable, sel=sel, time_index=time_index)
        frame = map_frame(layer.extent, wanted_crs, max_size)
        return paint(layer, frame, layer.on_frame(frame), media_type, rescale=rescale, colormap=wanted_colormap)

    def series(
        self,
        collection: str,
        item: str,
        location: PlaceLike,
        *,
        asset: str | None = None,
        variable: str | None = None,
        sel: Selection | None = None,
        start_time: str | None = None,
        end_time: str | None = None,
        resolution: str = "none",
        statistic: str = "mean",
        percentile: float | None = None,
        limits: QueryLimits | None = None,
    ) -> Series:
        """Return the values of a variable over time in the cell nearest to `location`, or a statistic of each period.

        Only the chunks that hold them are read. Steps without data are left out of a statistic.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            location: The place, or its name; longitudes of either convention fit cubes of either.
            asset: Key of the asset; the item's cube where it is left out.
            variable: Name of the variable; the item's own where it is left out.
            sel: A value for each extra dimension; the first value of those left out.
            start_time: First time, ISO 8601 in the cube's own calendar or a part of it; the first where left out.
            end_time: Last time; a part of a date means all of it.
            resolution: ``none`` (every step), ``daily``, ``monthly``, ``seasonal`` (DJF, MAM, JJA, SON) or ``yearly``.
            statistic: mean, min, max, sum, median, std, count or percentile of the steps of a period.
            percentile: Which percentile, 0 to 100, where the statistic is that.
            limits: What the question may cost; left out, what this machine can work out.

        Raises:
            NotFound: There is no such item or asset, the point lies outside of the cube, or no step between the times.
            InvalidParameter: A variable, value, resolution, statistic or percentile is not right.
            InvalidBBox: The location is no place.
            InvalidTime: A time is not right.
            LimitExceeded: It costs too much; nothing was read.
        """
        bounds = limits or self._limits
        how = OverTime(start_time, end_time, resolution, statistic, percentile)
        plan = self._series_plan(collection, item, location, asset, variable, sel, how, bounds)
        plan.check(bounds)
        return plan.run()

    def estimate_series(
        self,
        collection: str,
        item: str,
        location: PlaceLike,
        *,
        asset: str | None = None,
        variable: str | None = None,
        sel: Selection | None = None,
        start_time: str | None = None,
        end_time: str | None = None,
        resolution: str = "none",
        statistic: str = "mean",
        percentile: float | None = None,
        limits: QueryLimits | None = None,
    ) -> Estimate:
        """Return what `series` costs with the same parameters; nothing is read.

        Raises:
            NotFound: There is no such item or asset, the point lies outside of the cube, or no step between the times.
            InvalidParameter: A variable, value, resolution, statistic or percentile is not right.
            InvalidBBox: The location is no place.
            InvalidTime: A time is not right.
            LimitExceeded: The range of time is too long.
        """
        bounds = limits or self._limits
        how = OverTime(start_time, end_time, resolution, statistic, percentile)
        return self._series_plan(collection, item, location, asset, variable, sel, how, bounds).estimate(bounds)

    def batch(
        self,
        points: Sequence[PlaceLike],
        items: Sequence[BatchItem | str],
        *,
        variable: str | None = None,
        sel: Selection | None = None,
        start_time: str | None = None,
        end_time: str | None = None,
        resolution: str = "none",
        statistic: str = "mean",
        percentile: float | None = None,
        limits: QueryLimits | None = None,
    ) -> BatchTable:
        """Return the series of many places in many items as one table; each chunk is read once for all places.

        What cannot be read - an item that is not there, a place outside - is in ``problems``, and the rest is answered.

        Args:
            points: Places: points, names, ``"lon,lat"`` or ``[lon, lat]``.
            items: ``COLLECTION/ITEM``, or `BatchItem`s that name an asset or a variable too.
            variable: Name of the variable where an item does not say; its own where it is left out.
            sel: A value for each extra dimension; the first value of those left out.
            start_time: First time, ISO 8601 in each cube's own calendar or a part of it; the first where left out.
            end_time: Last time; a part of a date means all of it.
            resolution: ``none`` (every step), ``daily``, ``monthly``, ``seasonal`` or ``yearly``.
            statistic: mean, min, max, sum, median, std, count or percentile of the steps of a period.
            percentile: Which percentile, 0 to 100, where the statistic is that.
            limits: What the question may cost; left out, what this machine can work out.

        Raises:
            InvalidParameter: There are no points or items, or the resolution, statistic or percentile is not right.
            LimitExceeded: It costs too much; nothing was read.
        """
        bounds = limits or self._limits
        how = OverTime(start_time, end_time, resolution, statistic, percentile)
        plan = self._batch_plan(points, items, variable, sel, how, bounds)
        plan.check(bounds)
        return plan.run()

    def estimate_batch(
        self,
        points: Sequence[PlaceLike],
        items: Sequence[BatchItem | str],
        *,
        variable: str | None = None,
        sel: Selection | None = None,
        start_time: str | None = None,
        end_time: str | None = None,
        resolution: str = "none",
        statistic: str = "mean",
        percentile: float | None = None,
        limits: QueryLimits | None = None,
    ) -> Estimate:
        """Return what `batch` costs with the same parameters; nothing is read.

        Raises:
            InvalidParameter: There are no points or items, or the resolution, statistic or percentile is not right.
            LimitExceeded: There are too many points or items.
        """
        bounds = limits or self._limits
        how = OverTime(start_time, end_time, resolution, statistic, percentile)
        return self._batch_plan(points, items, variable, sel, how, bounds).estimate(bounds)

    def _batch_plan(
        self,
        points: Sequence[PlaceLike],
        items: Sequence[BatchItem | str],
        variable: str | None,
        sel: Selection | None,
        how: OverTime,
        limits: QueryLimits,
    ) -> BatchPlan:
        how.checked()
        check_pairs(points, items, limits)
        asked = [BatchItem.of(item) for item in items]
        plan = BatchPlan()
        places = []
        for number, point in enumerate(points, 1):
            try:
                places.append(BatchPlace(number, locate(point, self._places, field="points")))
            except InvalidBBox as error:
                plan.problems.append(BatchProblem.of(error, place=number, name=str(point)[:60]))
        for item in asked:
            try:
                cube, found = self.opened(item.collection, item.item, item.asset)
                sampled = SampledVariable.of(cube, found, item.variable or variable, sel, how, limits)
            except LimitExceeded:
                raise
            except GeoetlError as error:
                plan.problems.append(BatchProblem.of(error, item))
                continue
            plan.add(item, sampled, places)
        return plan

    def _series_plan(
        self,
        collection: str,
        item: str,
        location: PlaceLike,
        asset: str | None,
        variable: str | None,
        sel: Selection | None,
        how: OverTime,
        limits: QueryLimits,
    ) -> SeriesPlan:
        place = locate(location, self._places)
        cube, found = self.opened(collection, item, asset)
        return SeriesPlan.of(SampledVariable.of(cube, found, variable, sel, how, limits), place)

    def opened(self, collection: str, item: str, asset: str | None = None) -> tuple[OpenCube, FoundAsset]:
        """Return an open cube with what was worked out about it; opened once for all who ask.

        Raises:
            NotFound: There is no such item or asset.
        """
        found = self._items.find(collection, item, asset, CUBE_KINDS)
        return self._pool.get(found.key, lambda: self._open(found)), found

    def _open(self, found: FoundAsset) -> OpenCube:
        return OpenCube(OPENERS[found.kind](self._gate, found), _own_variable(found.properties))


def _own_variable(properties: Mapping[str, Any]) -> str | None:
    """Return the variable that an item is about: the first data variable that it lists, else what CMIP6 calls it."""
    for name, described in (properties.get("cube:variables") or {}).items():
        if described.get("type") == "data":
            return str(name)
    own = properties.get("cmip6:variable_id")
    return None if own is None else str(own)


def regular_grid(grid: Grid, variable: str) -> RegularGrid:
    """Return `grid` where it can be drawn.

    Raises:
        InvalidParameter: It is not regular.
    """
    if not isinstance(grid, RegularGrid):
        raise InvalidParameter(
            f"'{variable}' lies on a {grid.kind} grid, which cannot be drawn as a regular grid yet.",
            hint="Its values can be read at a point: use series().",
            field="variable",
        )
    return grid


def _sizes_text(variable: VariableInfo) -> str:
    return " x ".join(f"{dim} {size}" for dim, size in zip(variable.dims, variable.shape, strict=True))
