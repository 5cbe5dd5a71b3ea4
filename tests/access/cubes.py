"""Cubes whose values encode their own coordinates, in every convention that files come in."""

from typing import Any

import cftime
import numpy as np
import xarray as xr
from numpy.typing import NDArray


def field(lon: NDArray[Any], lat: NDArray[Any]) -> NDArray[np.float64]:
    """Return a number that is different at every whole place: longitude before the point, latitude behind it."""
    return np.floor(np.mod(lon, 360)) + (np.floor(lat) + 90) / 1000


def regular_cube(
    lon: NDArray[Any],
    lat: NDArray[Any],
    *,
    names: tuple[str, str, str] = ("time", "lat", "lon"),
    steps: int = 3,
    cf: bool = True,
) -> xr.Dataset:
    """Return ``tas`` (time, latitude, longitude): `field`, plus 1000 for each step after the first."""
    time_name, lat_name, lon_name = names
    at = field(lon[np.newaxis, :], lat[:, np.newaxis])
    values = at[np.newaxis] + 1000.0 * np.arange(steps)[:, np.newaxis, np.newaxis]
    lon_attributes = {"standard_name": "longitude", "units": "degrees_east"} if cf else {}
    lat_attributes = {"standard_name": "latitude", "units": "degrees_north"} if cf else {}
    return xr.Dataset(
        {"tas": ((time_name, lat_name, lon_name), values, {"units": "K", "long_name": "Air temperature"})},
        coords={
            time_name: np.datetime64("2000-01-01", "s") + np.arange(steps) * np.timedelta64(1, "D"),
            lat_name: (lat_name, lat, lat_attributes),
            lon_name: (lon_name, lon, lon_attributes),
        },
    )


def one_degree(*, west: float = 0.0, south_up: bool = True) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the longitudes, beginning at `west`, and the latitudes of a global grid of one degree."""
    lat = np.arange(-89.5, 90)
    return west + 0.5 + np.arange(360.0), lat if south_up else lat[::-1].copy()


def dated_cube(dates: list[Any]) -> xr.Dataset:
    """Return a small cube with these dates, whose values count the steps from 0."""
    values = np.broadcast_to(np.arange(len(dates), dtype=float)[:, np.newaxis, np.newaxis], (len(dates), 4, 8))
    return xr.Dataset(
        {"pr": (("time", "lat", "lon"), values, {"units": "mm"})},
        coords={"time": dates, "lat": [-60.0, -20.0, 20.0, 60.0], "lon": np.arange(8) * 45.0},
    )


def days(calendar: str, *days_of: tuple[int, int, int]) -> list[cftime.datetime]:
    """Return noon of each (year, month, day) in a calendar."""
    return [cftime.datetime(*day, 12, calendar=calendar) for day in days_of]


def curvilinear_cube() -> xr.Dataset:
    """Return ``tos`` (time, j, i) on a turned grid over the antimeridian, with a corner that has no place."""
    j, i = np.mgrid[0:30, 0:40]
    turn = np.radians(30)
    lon = 170 + (i - 20) * np.cos(turn) - (j - 15) * np.sin(turn)
    lat = 20 + (i - 20) * np.sin(turn) + (j - 15) * np.cos(turn)
    lon[:3, :3] = lat[:3, :3] = 1e20
    values = np.stack([j * 100.0 + i, j * 100.0 + i + 0.5])
    return xr.Dataset(
        {"tos": (("time", "j", "i"), values, {"units": "degC"})},
        coords={
            "time": np.array(["2000-01-01", "2000-02-01"], dtype="datetime64[s]"),
            "longitude": (("j", "i"), lon, {"standard_name": "longitude", "units": "degrees_east"}),
            "latitude": (("j", "i"), lat, {"standard_name": "latitude", "units": "degrees_north"}),
        },
    )


def projected_cube() -> xr.Dataset:
    """Return ``snow`` (y, x) in polar stereographic metres, with a CF grid mapping and no longitudes."""
    import pyproj

    x, y = np.arange(-500e3, 500e3, 100e3), np.arange(600e3, -400e3, -100e3)
    values = np.arange(100.0).reshape(10, 10)
    return xr.Dataset(
        {
            "snow": (("y", "x"), values, {"units": "m", "grid_mapping": "crs"}),
            "crs": ((), 0, pyproj.CRS.from_epsg(3413).to_cf()),
        },
        coords={
            "x": ("x", x, {"standard_name": "projection_x_coordinate", "units": "m"}),
            "y": ("y", y, {"standard_name": "projection_y_coordinate", "units": "m"}),
        },
    )


def levels_cube() -> xr.Dataset:
    """Return ``ta`` (time, plev, member, lat, lon): 100 times the level's position plus 10 times the member's."""
    lat, lon = np.array([-45.0, 45.0]), np.array([0.0, 90.0, 180.0, 270.0])
    levels = np.array([100_000.0, 85_000.0, 50_000.0])
    values = (
        np.zeros((2, 3, 2, 2, 4))
        + 100.0 * np.arange(3)[None, :, None, None, None]
        + 10.0 * np.arange(2)[None, None, :, None, None]
        + np.arange(2)[:, None, None, None, None]
    )
    return xr.Dataset(
        {
            "ta": (("time", "plev", "member", "lat", "lon"), values, {"units": "K"}),
            "orog": (("lat", "lon"), np.full((2, 4), 7.0), {"units": "m"}),
            "lat_bnds": (("lat", "bnds"), np.array([[-90.0, 0.0], [0.0, 90.0]])),
        },
        coords={
            "time": np.array(["2000-01-01", "2000-01-02"], dtype="datetime64[s]"),
            "plev": ("plev", levels, {"units": "Pa", "long_name": "pressure"}),
            "member": ["r1i1p1f1", "r2i1p1f1"],
            "lat": ("lat", lat, {"units": "degrees_north", "bounds": "lat_bnds"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    )
