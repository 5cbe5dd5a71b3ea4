"""What a STAC datacube item says of a cube, with every extent computed from the data.

Sources: STAC extensions datacube 2.3.0 and render 2.0.0.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.errors import InvalidTime
from geoetl.core.spatial import BBox, wrap_longitude
from geoetl.core.temporal import STANDARD_CALENDARS, nearest_gregorian, parse_instant, utc_text
from geoetl.runs.model import Result

if TYPE_CHECKING:
    import xarray as xr

# Of a long vertical axis only the extent is listed.
MAX_LISTED_VALUES = 200
_REGULAR_TOLERANCE = 1e-4
_VERTICAL_NAMES = ("plev", "lev", "level", "height", "depth", "olevel", "alt", "pressure")
# Display colours by CF standard name; anything else is shown in viridis.
_TEMPERATURE = ("temperature",)
_PRECIPITATION = ("precipitation", "humidity", "runoff")


class CubeDescription(Result):
    """What an item says of a cube.

    Attributes:
        bbox: west, south, east, north in degrees, -180 to 180.
        times: ``datetime``, or ``start_datetime`` and ``end_datetime``, Gregorian.
        dimensions: ``cube:dimensions``.
        variables: ``cube:variables``.
        render: ``renders.default`` but for the asset.
    """

    bbox: tuple[float, float, float, float]
    times: dict[str, str | None]
    dimensions: dict[str, dict[str, Any]]
    variables: dict[str, dict[str, Any]]
    render: dict[str, Any]


def describe(cube: "xr.Dataset", names: list[str]) -> CubeDescription:
    """Describe an opened cube whose times are decoded (as cftime) and whose data variables are `names`."""
    x_name, y_name = _horizontal(cube)
    box = _bbox(cube, x_name, y_name)
    used = list(dict.fromkeys(str(dim) for name in names for dim in cube[name].dims))
    return CubeDescription(
        bbox=tuple(box.as_list()),  # type: ignore[arg-type]
        times=_times(cube),
        dimensions={dim: _dimension(cube, dim, x_name, y_name) for dim in used},
        variables={
            name: {
                "type": "data",
                "dimensions": [str(dim) for dim in cube[name].dims],
                "data_type": "uint8" if cube[name].dtype.kind == "b" else str(cube[name].dtype),
                **_optional(cube[name].attrs, {"unit": "units", "description": "long_name"}),
            }
            for name in names
        },
        render=_render(cube, names[0]),
    )


def _horizontal(cube: "xr.Dataset") -> tuple[str | None, str | None]:
    """Return the names of the longitude and latitude coordinates, by CF attributes, then by common names."""

    def find(standard_name: str, units: tuple[str, ...], names: tuple[str, ...]) -> str | None:
        coordinates = {str(name): cube[name].attrs for name in cube.coords}
        for name, attributes in coordinates.items():
            if attributes.get("standard_name") == standard_name or attributes.get("units") in units:
                return name
        return next((name for name in names if name in cube.variables), None)

    return (
        find("longitude", ("degrees_east", "degree_east", "degrees_E"), ("lon", "longitude", "x")),
        find("latitude", ("degrees_north", "degree_north", "degrees_N"), ("lat", "latitude", "y")),
    )


def _bbox(cube: "xr.Dataset", x_name: str | None, y_name: str | None) -> BBox:
    if x_name is None or y_name is None:
        return BBox(-180.0, -90.0, 180.0, 90.0)
    south, north = _cell_range(cube[y_name].to_numpy())
    south, north = max(south, -90.0), min(north, 90.0)
    longitudes = cube[x_name].to_numpy()
    west, east = _cell_range(longitudes)
    if longitudes.ndim > 1 or east - west >= 360 - 1e-6:
        return BBox(-180.0, south, 180.0, north)
    west, east = wrap_longitude(west), wrap_longitude(east)
    return BBox(round(west, 6), round(south, 6), round(east, 6), round(north, 6))


def _cell_range(values: "np.ndarray[Any, Any]") -> tuple[float, float]:
    """Return the outer edges of cells whose centres are `values`."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    if values.ndim > 1 or values.size < 2:
        return low, high
    half = abs(float(values[1]) - float(values[0])) / 2, abs(float(values[-1]) - float(values[-2])) / 2
    first, last = (half[0], half[1]) if values[0] < values[-1] else (half[1], half[0])
    return low - first, high + last


def _times(cube: "xr.Dataset") -> dict[str, str | None]:
    if "time" not in cube.variables or cube["time"].dtype != object:
        # A fixed field is valid at any time; STAC wants one instant: when it was made, or else registered.
        try:
            made = parse_instant(str(cube.attrs.get("creation_date", "")))
        except InvalidTime:
            made = datetime.now(UTC)
        return {"datetime": utc_text(made)}
    dates = np.atleast_1d(cube["time"].to_numpy())
    start, end = sorted((nearest_gregorian(dates[0]), nearest_gregorian(dates[-1])))
    if start == end:
        return {"datetime": utc_text(start)}
    return {"datetime": None, "start_datetime": utc_text(start), "end_datetime": utc_text(end)}


def _dimension(cube: "xr.Dataset", name: str, x_name: str | None, y_name: str | None) -> dict[str, Any]:
    if name == "time" and name in cube.variables and cube[name].dtype == object:
        return _time_dimension(cube)
    if name not in cube.variables:
        return {"type": "index", "extent": [0, cube.sizes[name] - 1], "description": "Index without coordinate"}
    values = cube[name].to_numpy()
    attributes = _optional(cube[name].attrs, {"unit": "units", "description": "long_name"})
    if name in (x_name, y_name):
        axis = "x" if name == x_name else "y"
        description = {k: v for k, v in attributes.items() if k == "description"}
        return {
            "type": "spatial",
            "axis": axis,
            "extent": [float(values.min()), float(values.max())],
            "step": _step(values),
            "reference_system": 4326,
            **description,
        }
    listed = [value.item() for value in values] if values.size <= MAX_LISTED_VALUES else None
    extent = {"extent": [float(values.min()), float(values.max())]} if values.dtype.kind in "fiu" else {}
    kind = {"type": "spatial", "axis": "z"} if _is_vertical(cube[name], name) else {"type": "other"}
    return {**kind, **extent, **({"values": listed} if listed else {}), **attributes}


def _is_vertical(coordinate: "xr.DataArray", name: str) -> bool:
    return coordinate.attrs.get("axis") == "Z" or "positive" in coordinate.attrs or name in _VERTICAL_NAMES


def _time_dimension(cube: "xr.Dataset") -> dict[str, Any]:
    """A standard calendar gives a temporal dimension; any other an additional one with numbers and its calendar."""
    import cftime

    dates = np.atleast_1d(cube["time"].to_numpy())
    calendar = str(cube["time"].encoding.get("calendar", "standard"))
    if calendar in STANDARD_CALENDARS:
        return {"type": "temporal", "extent": [utc_text(nearest_gregorian(d)) for d in (dates[0], dates[-1])]}
    units = str(cube["time"].encoding["units"])
    numbers = [float(cftime.date2num(date, units, calendar)) for date in (dates[0], dates[-1])]
    return {"type": "temporal", "extent": numbers, "unit": units, "reference_system": calendar}


def _step(values: "np.ndarray[Any, Any]") -> float | None:
    if values.size < 2:
        return None
    steps = np.diff(values.astype("float64"))
    mean = float(steps.mean())
    return round(mean, 9) if np.allclose(steps, mean, rtol=_REGULAR_TOLERANCE) else None


def _render(cube: "xr.Dataset", name: str) -> dict[str, Any]:
    data = cube[name]
    first = data.isel(dict.fromkeys(data.dims[:-2], 0)).to_numpy() if data.ndim > 2 else data.to_numpy()
    last = data.isel(dict.fromkeys(data.dims[:-2], -1)).to_numpy() if data.ndim > 2 else first
    both = np.concatenate([first.ravel(), last.ravel()]).astype("float64")
    finite = both[np.isfinite(both)]
    described = str(data.attrs.get("standard_name") or data.attrs.get("long_name") or "").lower()
    colours = "viridis"
    if any(word in described for word in _TEMPERATURE):
        colours = "rdylbu_r"
    elif any(word in described for word in _PRECIPITATION):
        colours = "ylgnbu"
    render: dict[str, Any] = {
        "title": str(data.attrs.get("long_name") or name),
        "colormap_name": colours,
    }
    if finite.size:
        low, high = (float(value) for value in np.percentile(finite, (2, 98)))
        render["rescale"] = [[low, high if high > low else low + 1.0]]
    return render


def _optional(attributes: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    return {field: str(attributes[name]) for field, name in names.items() if attributes.get(name)}
