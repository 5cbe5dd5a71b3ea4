"""titiler's xarray reader on the cubes of the catalogue, by ids and never by address.

``CubeOpener`` lets titiler's own reader open every kind of cube. ``CubeReader`` goes on from there: it takes steps by
number or date in any calendar, and each pixel has the cell whose centre is nearest, where the stock reader takes the
axes for evenly spaced and leaves a gap at the antimeridian.

Loading titiler takes seconds: import this module where a tile is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import attr
import numpy as np
from rasterio.crs import CRS
from rasterio.transform import from_bounds
from rasterio.warp import transform_bounds
from rio_tiler.constants import WEB_MERCATOR_CRS, WGS84_CRS
from rio_tiler.errors import PointOutsideBounds
from rio_tiler.models import ImageData, PointData
from titiler.xarray.io import Reader

from geoetl.access.cube import CubeAccess, readable, regular_grid
from geoetl.access.frame import GEOGRAPHIC, WEB_MERCATOR, pixel_latitudes, pixel_longitudes
from geoetl.access.grid import RegularGrid, nearest_values
from geoetl.access.items import FoundAsset
from geoetl.access.layout import Layout, OpenCube, Selection, picked_positions, step_of_time, step_position
from geoetl.core.errors import InvalidParameter, InvalidTime
from geoetl.core.identifiers import check_id
from geoetl.core.spatial import Point

if TYPE_CHECKING:
    import xarray as xr

# Pixels of the longer side of a picture whose size nobody gave.
_PICTURE_SIDE = 1024


@dataclass(frozen=True)
class CubeOpener:
    """Opens cubes for titiler's xarray reader: ``Reader("collection/item", "tas", opener=CubeOpener(cubes))``.

    Attributes:
        cubes: Knows the catalogue, and keeps cubes open until it changes.
    """

    cubes: CubeAccess

    def __call__(
        self, src_path: str, group: str | None = None, decode_times: bool = True, asset: str | None = None
    ) -> "xr.Dataset":
        """Return the cube of an item, lazily.

        Args:
            src_path: ``collection/item``, the two ids.
            group: None, as these cubes have no groups.
            decode_times: True, as the opened cube is the one that everybody uses.
            asset: Key of the asset; the item's cube where it is left out.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: It is no pair of ids, or asks for another form of the cube.
        """
        if group is not None or not decode_times:
            raise InvalidParameter("A cube of the catalogue has no groups, and its times are decoded.", field="group")
        collection, item = _ids(src_path)
        return self.cubes.open(collection, item, asset=asset)


@attr.s
class CubeReader(Reader):
    """titiler's xarray reader for one step of a cube of the catalogue, with the nearest cell for each pixel.

    Use it like its base: ``CubeReader("collection/item", "tas", opener=CubeOpener(cubes))``, then ``tile``, ``part``,
    ``preview``, ``point``, ``feature``, ``info`` and ``statistics``.

    Attributes:
        src_path: ``collection/item``.
        variable: Name of the variable.
        opener: A `CubeOpener`.
        opener_options: ``{"asset": key}``, or nothing.
        sel: ``name=value`` for extra dimensions; the first value of those left out.
        time_index: Number of the step, from 1; the first where neither it nor `time` is given.
        time: ISO 8601 date of the step, in the cube's own calendar.
    """

    opener: CubeOpener = attr.ib(kw_only=True)
    time_index: int | None = attr.ib(default=None, kw_only=True)
    time: str | None = attr.ib(default=None, kw_only=True)

    cube: OpenCube = attr.ib(init=False)
    found: FoundAsset = attr.ib(init=False)
    layout: Layout = attr.ib(init=False)
    grid: RegularGrid = attr.ib(init=False)
    step: int = attr.ib(init=False)
    positions: dict[str, int] = attr.ib(init=False)
    taken: dict[str, str | float | int] = attr.ib(init=False)
    values: "xr.DataArray" = attr.ib(init=False)

    def __attrs_post_init__(self) -> None:
        """Choose the step and set what the base works with."""
        if self.method is not None or self.group is not None:
            raise InvalidParameter("Values are taken as they are named: there is no method or group.", field="sel")
        collection, item = _ids(self.src_path)
        self.cube, self.found = self.opener.cubes.opened(collection, item, self.opener_options.get("asset"))
        self.ds = self.cube.dataset
        self.variable = self.cube.variable(self.variable)
        self.layout = self.cube.layout(self.variable)
        self.grid = regular_grid(self.layout.grid, self.variable)
        self.step = _chosen_step(self.layout, self.time_index, self.time)
        picked, self.taken = picked_positions(self.layout, _selection(self.sel))
        self.positions = {**picked, **step_position(self.layout, self.step)}
        self.values = self.ds[self.variable].isel(self.positions)
        self.input = self._as_raster()
        extent = self.grid.extent
        over = extent.east > 180  # across the antimeridian: the box that tiles are looked for in goes all the way round
        self.bounds = (-180.0 if over else extent.west, extent.south, 180.0 if over else extent.east, extent.north)
        self.crs = WGS84_CRS
        self.height, self.width = self.input.shape
        self.transform = from_bounds(*self.bounds, self.width, self.height)
        self._dims = []

    def _as_raster(self) -> "xr.DataArray":
        """Return the step as the base knows it: (y, x) with longitudes from -180 to 180 in order."""
        import rioxarray  # noqa: F401  registers the .rio accessor

        array = self.values.transpose(*self.grid.dims).drop_vars(["x", "y"], errors="ignore")
        array = array.rename({self.grid.lat.dim: "y", self.grid.lon.dim: "x"})
        lon = (self.grid.lon.centres + 180) % 360 - 180
        array = array.assign_coords(x=("x", lon), y=("y", self.grid.lat.centres)).sortby("x")
        placed: xr.DataArray = array.rio.write_crs(GEOGRAPHIC)
        return placed

    def close(self) -> None:
        """Leave the cube open: others read it."""

    @property
    def time_text(self) -> str | None:
        """The step's time in the cube's own calendar; None without time."""
        return self.layout.times[self.step - 1] if self.layout.times else None

    def part(  # type: ignore[override]  # the base's other options are refused
        self,
        bbox: tuple[float, float, float, float],
        dst_crs: CRS | None = None,
        bounds_crs: CRS = WGS84_CRS,
        indexes: object = None,
        max_size: int | None = None,
        height: int | None = None,
        width: int | None = None,
        **options: Any,
    ) -> ImageData:
        """Return a picture's values: the nearest cell of each pixel, masked where there are none.

        Args:
            bbox: Left, bottom, right, top in `bounds_crs`.
            dst_crs: Of the picture, EPSG:3857 or EPSG:4326; as `bounds_crs` where it is left out.
            bounds_crs: Of `bbox`.
            indexes: None or 1, as a step has one band.
            max_size: Pixels of the longer side, where height and width are left out; 1024 without it.
            height: Rows.
            width: Columns.
            **options: Of the base; resampling other than nearest is refused.

        Raises:
            InvalidParameter: The projection or an option is another one.
            UnreadableFile: A source is gone, changed or damaged.
        """
        _refuse_options({**options, "indexes": None if indexes in (1, (1,), [1]) else indexes})
        to_crs = dst_crs or bounds_crs
        # Equal systems may differ in their hash, so they are compared.
        known = ((WEB_MERCATOR_CRS, WEB_MERCATOR), (WGS84_CRS, GEOGRAPHIC))
        name = next((name for crs, name in known if crs == to_crs), None)
        if name is None:
            raise InvalidParameter(f"A cube is drawn in {WEB_MERCATOR} or {GEOGRAPHIC}, not in {to_crs}.", field="crs")
        left, bottom, right, top = bbox if bounds_crs == to_crs else transform_bounds(bounds_crs, to_crs, *bbox)
        if height is None or width is None:
            longer = (max_size or _PICTURE_SIDE) / max(right - left, top - bottom)
            width = width or max(1, round((right - left) * longer))
            height = height or max(1, round((top - bottom) * longer))
        latitudes = pixel_latitudes(name, bottom, top, height)
        longitudes = pixel_longitudes(name, left, right, width)
        with readable(self.found):
            values = nearest_values(self.values, self.grid, latitudes, longitudes)
        return ImageData(
            np.ma.masked_invalid(values)[np.newaxis],
            bounds=(left, bottom, right, top),
            crs=to_crs,
            band_descriptions=[self.variable],
        )

    def preview(  # type: ignore[override]  # as above
        self, dst_crs: CRS | None = None, **options: Any
    ) -> ImageData:
        """Return the values of a picture of the whole step."""
        return self.part(self.bounds, dst_crs=dst_crs, bounds_crs=WGS84_CRS, **options)

    def point(  # type: ignore[override]  # as above
        self, lon: float, lat: float, coord_crs: CRS = WGS84_CRS, **options: Any
    ) -> PointData:
        """Return the value of the nearest cell.

        Raises:
            PointOutsideBounds: The cube does not reach there.
            InvalidParameter: The coordinates are no degrees, or an option is another one.
        """
        _refuse_options(options)
        if coord_crs != WGS84_CRS:
            raise InvalidParameter(f"A point is given in degrees ({GEOGRAPHIC}), not in {coord_crs}.", field="location")
        cell = self.grid.nearest(Point(lon, lat))
        if cell is None:
            raise PointOutsideBounds(f"The point {lon}, {lat} lies outside of the cube.")
        with readable(self.found):
            value = np.asarray(self.values.isel(cell.index).values, dtype=np.float64)
        return PointData(
            np.ma.masked_invalid(np.atleast_1d(value)),
            coordinates=(cell.centre.lon, cell.centre.lat),
            crs=WGS84_CRS,
            band_descriptions=[self.variable],
            pixel_location=(cell.index[self.grid.lon.dim], cell.index[self.grid.lat.dim]),
        )


def _ids(src_path: str) -> tuple[str, str]:
    collection, _, item = src_path.partition("/")
    return check_id(collection, "collection"), check_id(item, "item")


def _chosen_step(layout: Layout, time_index: int | None, time: str | None) -> int:
    if time is None:
        return 1 if time_index is None else time_index
    if time_index is not None:
        raise InvalidTime("Both time and time_index are given.", hint="Give one of them.", field="time")
    return step_of_time(layout, time)


def _selection(pairs: list[str] | None) -> Selection:
    selection: dict[str, str | float | int] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise InvalidParameter(
                f"sel is '{pair[:40]}', which is not name=value.", hint="For example sel=plev=85000.", field="sel"
            )
        selection[name] = value
    return selection


def _refuse_options(options: Mapping[str, Any]) -> None:
    """Refuse what titiler's reader takes besides and a nearest cell does not have."""
    same = {"reproject_method": "nearest", "resampling_method": "nearest", "auto_expand": True}
    for name, value in options.items():
        if value is not None and value != same.get(name):
            raise InvalidParameter(
                f"{name}={str(value)[:40]} is not possible here: each pixel has its nearest cell.", field=name
            )
