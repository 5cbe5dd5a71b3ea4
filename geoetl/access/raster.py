"""Rasters and steps of cubes by the ids of their items: values at a point, pictures, and values cut out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoetl.access.bands import BandInfo, band_info, chosen_bands
from geoetl.access.chunks import Reading
from geoetl.access.clip import inside
from geoetl.access.colormap import colormap_name
from geoetl.access.cost import Estimate, Fitting, QueryLimits
from geoetl.access.expression import parse_expression
from geoetl.access.extract import RasterWindow
from geoetl.access.frame import (
    GEOGRAPHIC,
    WEB_MERCATOR,
    Frame,
    PictureSize,
    RasterGrid,
    box_frame,
    check_crs,
    check_size,
    crs_name,
    crs_wkt,
    map_frame,
    outside,
    projected_frame,
)
from geoetl.access.items import CUBE_KINDS, AssetKind, FoundAsset, Items, Lookup
from geoetl.access.layer import CubeLayer, ExpressionLayer, Layer, RasterLayer
from geoetl.access.layout import Selection
from geoetl.access.picture import Picture, check_drawn, media_type_of, paint
from geoetl.access.pool import HandlePool, NotOpen, open_nothing
from geoetl.access.rescale import Rescale
from geoetl.access.result import PointField, Result, Source, extent_text, finite_or_none, place_text
from geoetl.access.warp import RasterHandle
from geoetl.core.errors import InvalidBBox, InvalidParameter, NotFound
from geoetl.core.html import facts, heading
from geoetl.core.settings import QuerySettings
from geoetl.core.spatial import BBox, Point

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from geoetl.access.cube import CubeAccess
    from geoetl.access.region import Region
    from geoetl.store.gate import Gate
    from geoetl.store.zones import Zones

# Idle open rasters; each holds one file descriptor and GDAL's header structures.
MAX_IDLE_RASTERS = 32
# What holds values, not colours.
_VALUE_FORMATS = ("tif", "npy")


class PointValues(Result):
    """The values of a raster, or of a step of a cube, at a place.

    Attributes:
        location: The place that was asked for.
        cell: Centre of the pixel or cell that was read.
        bands: The bands, alpha bands left out; the variable of a cube, or the results of an expression.
        values: One value per band, scale and offset applied; None where there is no data.
        time_index: Number of the step of a cube, from 1.
        time: ISO 8601 text of the step in its own calendar.
        calendar: CF calendar of the time.
        sel: The values of the extra dimensions that were taken.
        method: How the values were taken.
        weighting: How they were weighted.
        source: Where they came from.
    """

    location: PointField
    cell: PointField
    bands: tuple[BandInfo, ...]
    values: tuple[float | None, ...]
    time_index: int | None
    time: str | None
    calendar: str | None
    sel: dict[str, str | float | int]
    method: str
    weighting: str
    source: Source

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row per band: band, value, units, lon, lat."""
        import pandas as pd

        return pd.DataFrame(
            {
                "band": [band.name for band in self.bands],
                "value": pd.array(self.values, dtype="Float64"),
                "units": [band.units for band in self.bands],
                "lon": self.location.lon,
                "lat": self.location.lat,
            }
        )

    def _repr_html_(self) -> str:
        readings = [
            (band.name, "no data" if value is None else f"{value:.6g} {band.units or ''}".strip())
            for band, value in zip(self.bands, self.values, strict=True)
        ]
        return heading(str(self.source), place_text(self.location)) + facts(
            [*readings, ("time", self.time), ("method", self.method)]
        )


@dataclass(frozen=True)
class Choice:
    """What of an item is wanted.

    Attributes:
        collection: STAC collection id.
        item: STAC item id.
        asset: Key of the asset; the item's data asset where it is None.
        bands: Bands of a raster, by number from 1 or by name; those that the item shows where it is None.
        expression: Arithmetic on bands instead.
        variable: Variable of a cube; the item's own where it is None.
        sel: A value for each extra dimension of a cube; the first value of those left out.
        time_index: Step of a cube, or band of a raster, from 1.
        time: ISO 8601 date of the step of a cube instead.
    """

    collection: str
    item: str
    asset: str | None = None
    bands: Sequence[int | str] | None = None
    expression: str | None = None
    variable: str | None = None
    sel: Selection | None = None
    time_index: int | None = None
    time: str | None = None


@dataclass(frozen=True)
class _Plan:
    """How an answer is made: on a picture's grid, or as the layer's own pixels of a box."""

    layer: Layer
    bbox: BBox
    frame: Frame | None
    grid: RasterGrid
    reading: Reading

    @property
    def values(self) -> int:
        return self.grid.width * self.grid.height * len(self.layer.bands)


class RasterAccess:
    """Answers questions about rasters and steps of cubes in the catalogue.

    Args:
        catalog: Where items are looked up.
        gate: Opens the files.
        zones: The object zones.
        cubes: Opens cubes.
        query: What one question may cost.
    """

    def __init__(
        self,
        catalog: Lookup,
        gate: "Gate",
        zones: "Zones | None" = None,
        *,
        cubes: "CubeAccess",
        query: QuerySettings | None = None,
    ) -> None:
        self._gate = gate
        self._items = Items(catalog, gate, zones)
        self._pool: HandlePool[RasterHandle] = HandlePool(MAX_IDLE_RASTERS)
        self._cubes = cubes
        self._limits = QueryLimits.within(gate.limits, query or QuerySettings())

    # -- what is read --------------------------------------------------------------------------------------------------

    @contextmanager
    def layer(
        self, choice: Choice, *, every: bool = False, kinds: Sequence[AssetKind] = (AssetKind.GEOTIFF, *CUBE_KINDS)
    ) -> Iterator[Layer]:
        """Lend what can be drawn and cut out: bands of a raster, a step of a cube, or what an expression makes of them.

        Args:
            choice: What is wanted.
            every: Whether all bands of a raster are meant where none are named, not those that it shows.
            kinds: What the asset may be.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: A band, expression, variable, step or value is not right, or of the other kind of source.
            InvalidTime: There is no such date.
            MissingCRS: A raster does not say where it lies.
        """
        found = self._items.find(choice.collection, choice.item, choice.asset, kinds)
        if found.kind is AssetKind.GEOTIFF:
            with self._pool.borrow(found.key, lambda: RasterHandle(self._gate, found.path)) as handle:
                yield _raster_layer(handle, found, choice, every)
            return
        cube, found = self._cubes.opened(choice.collection, choice.item, found.name)
        step = CubeLayer(cube, found, choice.variable, sel=choice.sel, time_index=choice.time_index, time=choice.time)
        if choice.expression is None:
            _refuse_other_bands(choice.bands, step)
            yield step
            return
        _refuse_several(bands=choice.bands, expression=choice.expression)
        yield ExpressionLayer(step, parse_expression(choice.expression, step.bands))

    def point(
        self,
        collection: str,
        item: str,
        location: Point,
        *,
        asset: str | None = None,
        bands: Sequence[int | str] | None = None,
        expression: str | None = None,
        variable: str | None = None,
        sel: Selection | None = None,
        time_index: int | None = None,
        time: str | None = None,
    ) -> PointValues:
        """Return the values of the pixel that holds `location`, or of the nearest cell of a step of a cube.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            location: The place; longitudes of either convention fit data of either.
            asset: Key of the asset; the item's data asset where it is left out.
            bands: Bands of a raster, by number from 1 or by name; all where they are left out.
            expression: Arithmetic on bands instead, such as ``(b4-b3)/(b4+b3)``.
            variable: Variable of a cube; the item's own where it is left out.
            sel: A value for each extra dimension of a cube; the first value of those left out.
            time_index: Step of a cube (the first where it is left out), or band of a raster, from 1.
            time: ISO 8601 date of the step of a cube instead, in its own calendar.

        Raises:
            NotFound: There is no such item or asset, or the point lies outside.
            InvalidParameter: A band, expression, variable, step or value is not right.
            InvalidTime: There is no such date.
            MissingCRS: The raster does not say where it lies.
        """
        choice = Choice(collection, item, asset, bands, expression, variable, sel, time_index, time)
        with self.layer(choice, every=True) as layer:
            return _values_at(layer, location)

    def point_at_hand(
        self,
        collection: str,
        item: str,
        location: Point,
        *,
        asset: str | None = None,
        bands: Sequence[int | str] | None = None,
        expression: str | None = None,
        variable: str | None = None,
        sel: Selection | None = None,
        time_index: int | None = None,
        time: str | None = None,
    ) -> PointValues | None:
        """Return what `point` with the same parameters returns, where the raster is open already; else None.

        It takes a fraction of a millisecond and waits for nobody, so that an event loop may do it itself.

        Raises:
            NotFound, InvalidParameter, InvalidTime, MissingCRS: See `point`.
        """
        choice = Choice(collection, item, asset, bands, expression, variable, sel, time_index, time)
        found = self._items.at_hand(collection, item, asset, (AssetKind.GEOTIFF, *CUBE_KINDS))
        if found is None or found.kind is not AssetKind.GEOTIFF:
            return None
        with suppress(NotOpen), self._pool.borrow(found.key, open_nothing) as handle:
            return _values_at(_raster_layer(handle, found, choice, True), location)
        return None

    def preview(
        self,
        collection: str,
        item: str,
        *,
        asset: str | None = None,
        bands: Sequence[int | str] | None = None,
        expression: str | None = None,
        variable: str | None = None,
        sel: Selection | None = None,
        time_index: int | None = None,
        time: str | None = None,
        max_size: int = 512,
        rescale: Rescale = None,
        colormap: str | None = None,
        crs: str = WEB_MERCATOR,
        format: str = "png",
        limits: QueryLimits | None = None,
    ) -> "Picture | RasterWindow":
        """Return a picture of the whole raster or step, ready to be laid on a map, or its values on that grid.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            asset: Key of the asset; the item's data asset where it is left out.
            bands: One band (drawn through a colour map) or three (red, green, blue), by number from 1 or by name;
                left out, the colours of the file, its colour table, or its first band.
            expression: Arithmetic on bands instead; three results, separated by semicolons, are red, green and blue.
            variable: Variable of a cube; the item's own where it is left out.
            sel: A value for each extra dimension of a cube; the first value of those left out.
            time_index: Step of a cube (the first where it is left out), or band of a raster, from 1.
            time: ISO 8601 date of the step of a cube instead, in its own calendar.
            max_size: Pixels of the longer side.
            rescale: Values at the ends of the colours, ``[low, high]`` for all bands or one such pair per band;
                ``"auto"`` takes the 2nd to 98th percentile of the picture; left out, the item's own, else ``"auto"``.
                They are values with scale and offset applied.
            colormap: Name of a colour map for one band, ``_r`` reversed; left out, the item's own, else viridis.
            crs: Projection of the picture, as an authority code.
            format: png, jpeg or webp; tif or npy for values.
            limits: What it may cost; left out, what this machine allows.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: A band, expression, variable, step, colour map, range, projection or format is not right.
            InvalidTime: There is no such date.
            LimitExceeded: It would have more pixels, or more would have to be read, than the limit; nothing was read.
            MissingCRS: The raster does not say where it lies.
        """
        allowed = limits or self._limits
        media_type = _media_type(format)
        check_size(max_size, allowed.values)
        wanted_crs = check_crs(crs)
        drawn = None if colormap is None else colormap_name(colormap)
        choice = Choice(collection, item, asset, bands, expression, variable, sel, time_index, time)
        with self.layer(choice) as layer:
            plan = _whole(layer, wanted_crs, max_size)
            largest = int((allowed.values / len(layer.bands)) ** 0.5)
            _check(allowed, plan, Fitting("max_size", f"Give max_size={largest} or less."))
            return _answer(plan, format, media_type, rescale, drawn, None)

    def extract(
        self,
        collection: str,
        item: str,
        bbox: BBox,
        *,
        asset: str | None = None,
        bands: Sequence[int | str] | None = None,
        expression: str | None = None,
        variable: str | None = None,
        sel: Selection | None = None,
        time_index: int | None = None,
        time: str | None = None,
        width: int | None = None,
        height: int | None = None,
        rescale: Rescale = None,
        colormap: str | None = None,
        crs: str | None = None,
        format: str = "png",
        limits: QueryLimits | None = None,
    ) -> "Picture | RasterWindow":
        """Return a picture of a box, or its values; what of the box lies beyond the data is no data.

        Without `width`, `height` and `crs`, values (tif, npy) are the pixels themselves whose centres lie in the box,
        on their own grid; on one that does not follow the meridians, those of the rectangle around the box. Pictures
        are then in ``EPSG:4326``, as fine as the data but at most 1024 pixels a side.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            bbox: The box; west > east crosses the antimeridian.
            asset: Key of the asset; the item's data asset where it is left out.
            bands: Bands by number from 1 or by name, for a picture one or three; left out, those that the item shows.
            expression: Arithmetic on bands instead; several results are separated by semicolons.
            variable: Variable of a cube; the item's own where it is left out.
            sel: A value for each extra dimension of a cube; the first value of those left out.
            time_index: Step of a cube (the first where it is left out), or band of a raster, from 1.
            time: ISO 8601 date of the step of a cube instead, in its own calendar.
            width: Columns; where only `height` is given it keeps the proportions.
            height: Rows, likewise.
            rescale: Values at the ends of the colours, as for `preview`.
            colormap: Name of a colour map for one band, ``_r`` reversed; left out, the item's own, else viridis.
            crs: Projection of rows and columns, as an authority code.
            format: png, jpeg or webp for a picture; tif or npy for values.
            limits: What it may cost; left out, what this machine allows.

        Raises:
            NotFound: There is no such item or asset, or the box lies outside of the data.
            InvalidParameter: A band, expression, variable, step, colour map, range, projection, size or format is not
                right.
            InvalidTime: There is no such date.
            LimitExceeded: The box is larger, the answer has more pixels, or more has to be read than the limit;
                nothing was read.
            MissingCRS: The raster does not say where it lies.
        """
        allowed = limits or self._limits
        allowed.check_box(bbox)
        media_type = _media_type(format)
        drawn = None if colormap is None else colormap_name(colormap)
        size = PictureSize(width, height).checked()
        wanted_crs = None if crs is None else check_crs(crs)
        choice = Choice(collection, item, asset, bands, expression, variable, sel, time_index, time)
        with self.layer(choice) as layer:
            plan = _within(layer, bbox, size, wanted_crs, format)
            _check(allowed, plan, _smaller(allowed, plan, size))
            return _answer(plan, format, media_type, rescale, drawn, None)

    def estimate_extract(
        self,
        collection: str,
        item: str,
        bbox: BBox,
        *,
        asset: str | None = None,
        bands: Sequence[int | str] | None = None,
        expression: str | None = None,
        variable: str | None = None,
        sel: Selection | None = None,
        time_index: int | None = None,
        time: str | None = None,
        width: int | None = None,
        height: int | None = None,
        crs: str | None = None,
        format: str = "png",
        limits: QueryLimits | None = None,
    ) -> Estimate:
        """Return what `extract` with the same parameters costs, and whether that is within the limits; reads nothing.

        Raises:
            NotFound: There is no such item or asset, or the box lies outside of the data.
            InvalidParameter: A parameter is not right.
            InvalidTime: There is no such date.
        """
        allowed = limits or self._limits
        size = PictureSize(width, height).checked()
        choice = Choice(collection, item, asset, bands, expression, variable, sel, time_index, time)
        cost = self._estimate(choice, bbox, size, crs, format, allowed)
        return cost if allowed.allows_box(bbox) else cost.model_copy(update={"fits": False})

    def clip(
        self,
        collection: str,
        item: str,
        region: "Region",
        *,
        asset: str | None = None,
        bands: Sequence[int | str] | None = None,
        expression: str | None = None,
        variable: str | None = None,
        sel: Selection | None = None,
        time_index: int | None = None,
        time: str | None = None,
        all_touched: bool = False,
        width: int | None = None,
        height: int | None = None,
        rescale: Rescale = None,
        colormap: str | None = None,
        crs: str | None = None,
        format: str = "tif",
        limits: QueryLimits | None = None,
    ) -> "Picture | RasterWindow":
        """Return what lies in a region, as values or as a picture: pixels whose centre is in it, the rest no data.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            region: The part of the world; it may cross the antimeridian.
            asset: Key of the asset; the item's data asset where it is left out.
            bands: Bands by number from 1 or by name, for a picture one or three; left out, those that the item shows.
            expression: Arithmetic on bands instead; several results are separated by semicolons.
            variable: Variable of a cube; the item's own where it is left out.
            sel: A value for each extra dimension of a cube; the first value of those left out.
            time_index: Step of a cube (the first where it is left out), or band of a raster, from 1.
            time: ISO 8601 date of the step of a cube instead, in its own calendar.
            all_touched: Whether every pixel that the region touches belongs to it.
            width: Columns, as for `extract`.
            height: Rows.
            rescale: Values at the ends of the colours, as for `preview`.
            colormap: Name of a colour map for one band, ``_r`` reversed; left out, the item's own, else viridis.
            crs: Projection of rows and columns, as an authority code.
            format: tif or npy for values; png, jpeg or webp for a picture.
            limits: What it may cost; left out, what this machine allows.

        Raises:
            NotFound: There is no such item or asset, or the region lies outside of the data or between its pixels.
            InvalidParameter: A band, expression, variable, step, colour map, range, projection, size or format is not
                right.
            InvalidTime: There is no such date.
            LimitExceeded: The answer has more pixels, or more has to be read than the limit; nothing was read.
            MissingCRS: The raster does not say where it lies.
        """
        allowed = limits or self._limits
        media_type = _media_type(format)
        drawn = None if colormap is None else colormap_name(colormap)
        size = PictureSize(width, height).checked()
        wanted_crs = None if crs is None else check_crs(crs)
        choice = Choice(collection, item, asset, bands, expression, variable, sel, time_index, time)
        with self.layer(choice) as layer:
            plan = _within(layer, region, size, wanted_crs, format)
            _check(allowed, plan, _smaller(allowed, plan, size))
            kept = inside(region, plan.grid, all_touched=all_touched)
            if not kept.any():
                raise NotFound(
                    f"No pixel of {layer.source} has its centre in the region.",
                    hint="Give all_touched=true for the pixels that it touches, or a larger region.",
                    field="geometry",
                )
            return _answer(plan, format, media_type, rescale, drawn, kept)

    def estimate_clip(
        self,
        collection: str,
        item: str,
        region: "Region",
        *,
        asset: str | None = None,
        bands: Sequence[int | str] | None = None,
        expression: str | None = None,
        variable: str | None = None,
        sel: Selection | None = None,
        time_index: int | None = None,
        time: str | None = None,
        width: int | None = None,
        height: int | None = None,
        crs: str | None = None,
        format: str = "tif",
        limits: QueryLimits | None = None,
    ) -> Estimate:
        """Return what `clip` with the same parameters costs, and whether that is within the limits; reads nothing.

        Raises:
            NotFound: There is no such item or asset, or the region lies outside of the data.
            InvalidParameter: A parameter is not right.
            InvalidTime: There is no such date.
        """
        size = PictureSize(width, height).checked()
        choice = Choice(collection, item, asset, bands, expression, variable, sel, time_index, time)
        return self._estimate(choice, region, size, crs, format, limits or self._limits)

    def estimate_preview(
        self,
        collection: str,
        item: str,
        *,
        asset: str | None = None,
        bands: Sequence[int | str] | None = None,
        expression: str | None = None,
        variable: str | None = None,
        sel: Selection | None = None,
        time_index: int | None = None,
        time: str | None = None,
        max_size: int = 512,
        crs: str = WEB_MERCATOR,
        format: str = "png",
        limits: QueryLimits | None = None,
    ) -> Estimate:
        """Return what `preview` with the same parameters costs, and whether that is within the limits; reads nothing.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: A parameter is not right.
            InvalidTime: There is no such date.
        """
        allowed = limits or self._limits
        _media_type(format)
        wanted_crs = check_crs(crs)
        choice = Choice(collection, item, asset, bands, expression, variable, sel, time_index, time)
        with self.layer(choice) as layer:
            return _cost(allowed, _whole(layer, wanted_crs, max_size))

    def _estimate(
        self,
        choice: Choice,
        where: "BBox | Region",
        size: PictureSize,
        crs: str | None,
        format: str,
        limits: QueryLimits,
    ) -> Estimate:
        _media_type(format)
        wanted_crs = None if crs is None else check_crs(crs)
        with self.layer(choice) as layer:
            return _cost(limits, _within(layer, where, size, wanted_crs, format))


def _values_at(layer: Layer, location: Point) -> PointValues:
    read = layer.at(location)
    if read is None:
        raise outside(location, layer.extent.bbox, str(layer.source))
    return PointValues(
        location=location,
        cell=read.cell,
        bands=layer.bands,
        values=tuple(finite_or_none(value) for value in read.values),
        time_index=layer.step,
        time=layer.time,
        calendar=layer.calendar,
        sel=layer.sel,
        method=read.method,
        weighting="none",
        source=layer.source,
    )


# -- which layer -------------------------------------------------------------------------------------------------------


def _raster_layer(handle: RasterHandle, found: FoundAsset, choice: Choice, every: bool) -> Layer:
    for name, given in (("variable", choice.variable), ("sel", choice.sel or None), ("time", choice.time)):
        if given is not None:
            raise InvalidParameter(
                f"A raster has no {name}.", hint="Choose bands, or one of them with time_index, from 1.", field=name
            )
    _refuse_several(bands=choice.bands, expression=choice.expression, time_index=choice.time_index)
    if choice.expression is not None:
        offered = [band_info(handle.dataset, found.asset, band) for band in handle.bands]
        expression = parse_expression(choice.expression, offered)
        return ExpressionLayer(RasterLayer(handle, found, expression.bands), expression)
    if choice.time_index is not None:
        if choice.time_index not in handle.bands:
            raise InvalidParameter(
                f"time_index is {choice.time_index!r}; the raster has {len(handle.bands)} bands.",
                hint=f"Give 1 to {len(handle.bands)}, or leave it out.",
                field="time_index",
            )
        return RasterLayer(handle, found, (choice.time_index,))
    if choice.bands is not None:
        return RasterLayer(handle, found, chosen_bands(handle.dataset, found.asset, handle.bands, choice.bands))
    shown = None if every else found.render.get("expression")
    if isinstance(shown, str):
        expression = parse_expression(shown, [band_info(handle.dataset, found.asset, band) for band in handle.bands])
        return ExpressionLayer(RasterLayer(handle, found, expression.bands), expression, found.render)
    return RasterLayer(handle, found, handle.bands if every else None)


def _refuse_several(**given: object) -> None:
    """Refuse more than one way of saying which bands are meant."""
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise InvalidParameter(f"Both {names[0]} and {names[1]} are given.", hint="Give one of them.", field=names[1])


def _refuse_other_bands(bands: Sequence[int | str] | None, step: CubeLayer) -> None:
    if bands is not None and list([bands] if isinstance(bands, str) else bands) not in ([1], [step.variable]):
        raise InvalidParameter(
            f"A step of a cube has one band, {step.variable}.",
            hint="Choose with variable, sel and time.",
            field="bands",
        )


# -- how an answer is made ---------------------------------------------------------------------------------------------


def _media_type(format: str) -> str | None:
    """Return the media type of a picture; None for values.

    Raises:
        InvalidParameter: There is no such format.
    """
    return None if format in _VALUE_FORMATS else media_type_of(format)


def _whole(layer: Layer, crs: str, max_size: int) -> _Plan:
    frame = (
        map_frame(layer.extent, crs, max_size)
        if crs in (WEB_MERCATOR, GEOGRAPHIC)
        else projected_frame(layer.cells, crs, max_size)
    )
    return _Plan(layer, frame.bbox, frame, _grid_of(frame), layer.reading_on(frame))


def _within(layer: Layer, where: "BBox | Region", size: PictureSize, crs: str | None, format: str) -> _Plan:
    extent = layer.extent.bbox
    bbox = where if isinstance(where, BBox) else where.bbox
    if not (bbox.width_deg and bbox.height_deg):
        raise InvalidBBox(
            f"The box {','.join(f'{edge:g}' for edge in bbox.as_list())} has no area.",
            hint="Give a west that differs from the east, and a south that differs from the north.",
            field="bbox",
        )
    if not bbox.overlaps(extent):
        raise _outside(where, extent, str(layer.source))
    if format in _VALUE_FORMATS and crs is None and size == PictureSize():
        plan = _Plan(layer, bbox, None, layer.window_grid(bbox), layer.reading_of(bbox))
    else:
        frame = box_frame(bbox, crs or GEOGRAPHIC, size, layer.window_grid)
        plan = _Plan(layer, bbox, frame, _grid_of(frame), layer.reading_on(frame))
    if not plan.reading.chunks:
        # The corner of a box around tilted data has none of it, or the data are smaller than a pixel.
        raise NotFound(
            f"No pixel of the answer falls on {layer.source}, which covers {extent_text(extent)}.",
            hint="Choose a box on the data, a smaller one, or more pixels.",
            field="bbox",
        )
    return plan


def _outside(where: "BBox | Region", extent: BBox, what: str) -> NotFound:
    """Return the error for a box or region beside the data; it notices swapped coordinates."""
    covers = f"lies outside of {what}, which covers {extent_text(extent)}."
    if not isinstance(where, BBox):
        return NotFound(
            f"The region{f' {where.name}' if where.name else ''} {covers}",
            hint="Choose a region on the data.",
            field="geometry" if where.source is None else "boundary_id",
        )
    hint = "Choose a box inside: west,south,east,north in degrees."
    if max(abs(where.west), abs(where.east)) <= 90:
        swapped = (where.south, where.west, where.north, where.east)
        if swapped[1] <= swapped[3] and BBox(*swapped).overlaps(extent):
            hint = f"Is the order west,south,east,north? {','.join(f'{edge:g}' for edge in swapped)} would lie inside."
    return NotFound(f"The box {covers}", hint=hint, field="bbox")


def _grid_of(frame: Frame) -> RasterGrid:
    return RasterGrid(crs_wkt(frame.crs), frame.transform, frame.width, frame.height)


def _cost(limits: QueryLimits, plan: _Plan) -> Estimate:
    return limits.estimate(plan.values, *plan.reading)


def _check(limits: QueryLimits, plan: _Plan, answer: Fitting) -> None:
    field = "max_size" if answer.field == "max_size" else "bbox"
    hint = (
        "Give a smaller max_size."
        if field == "max_size"
        else "Give a smaller box, or fewer pixels by width and height."
    )
    limits.check(_cost(limits, plan), answer, Fitting(field, hint))


def _smaller(limits: QueryLimits, plan: _Plan, size: PictureSize) -> Fitting:
    """Return the way out of an answer of too many pixels."""
    share = limits.values / max(plan.values, 1)
    if size != PictureSize():
        width, height = (max(1, int(side * share**0.5)) for side in (plan.grid.width, plan.grid.height))
        return Fitting(
            "width" if size.width is not None else "height", f"Give width={width} and height={height} or less."
        )
    area = plan.bbox.width_deg * plan.bbox.height_deg * share
    return Fitting("bbox", f"Give a box of at most {area:.3g} square degrees, or width and height.")


def _answer(
    plan: _Plan,
    format: str,
    media_type: str | None,
    rescale: Rescale,
    colormap: str | None,
    kept: "NDArray[np.bool_] | None",
) -> Picture | RasterWindow:
    layer, frame, grid = plan.layer, plan.frame, plan.grid
    if media_type is not None:
        check_drawn(layer, colormap)
    if frame is None:
        window = layer.window(plan.bbox)
        values, grid, method = window.values, window.grid, window.method
    else:
        values, method = layer.on_frame(frame), layer.method_on(frame)
    if kept is not None:
        values[:, ~kept] = np.nan
    if media_type is not None and frame is not None:
        return paint(layer, frame, values, media_type, rescale=rescale, colormap=colormap)
    return RasterWindow(
        values=values,
        grid=grid,
        crs=frame.crs if frame is not None else crs_name(grid.crs_wkt),
        bbox=plan.bbox,
        bands=layer.bands,
        variable=layer.variable,
        units=layer.units,
        time=layer.time,
        calendar=layer.calendar,
        sel=layer.sel,
        method=method,
        source=layer.source,
        format=format,
    )
