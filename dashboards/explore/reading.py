"""What a place says: the values of a raster, the series of a cube, the attributes of features."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dashboards.explore.layer import Layer
from dashboards.explore.listing import Kind
from dashboards.shared.problem import Problem
from geoetl.core.spatial import Point

if TYPE_CHECKING:
    from geoetl.access import LegendStop, PointValues, Series
    from geoetl.platform import Platform

# UDUNITS has many names for one unit.
_UNITS = {
    "degk": "K",
    "kelvin": "K",
    "degc": "°C",
    "celsius": "°C",
    "degrees_celsius": "°C",
    "percent": "%",
    "degrees_north": "°N",
    "degrees_east": "°E",
}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# What netCDF leaves in cells that were never written, where the file names no other value; xarray takes it for a number
# (NetCDF Users Guide, "Fill Values": NC_FILL_FLOAT and NC_FILL_DOUBLE).
NETCDF_FILL = 9.969209968386869e36
# As many as there are colours that anyone can tell apart, and as a person still compares.
MAX_PLACES = 6


@dataclass(frozen=True)
class Place:
    """A place that is read.

    Attributes:
        label: What it is called on the map and in the legend: A, B, ….
        point: Where it is.
        tolerance_deg: How far from it a feature may lie.
    """

    label: str
    point: Point
    tolerance_deg: float = 0.0


@dataclass(frozen=True)
class Reading:
    """The answer of one item at one place; exactly one of the last four is set.

    Attributes:
        place: Where it was read.
        values: Values of a raster's bands.
        series: Values of a cube over time.
        features: Attributes of the features there, the nearest and smallest first.
        problem: Why there is no answer.
    """

    place: Place
    values: "PointValues | None" = None
    series: "Series | None" = None
    features: tuple[dict[str, Any], ...] | None = None
    problem: Problem | None = None

    @property
    def is_answer(self) -> bool:
        """Whether there is anything to take away."""
        return self.problem is None and self.features != ()


def read(platform: "Platform", layer: Layer, place: Place) -> Reading:
    """Read an item at a place.

    Raises:
        NotFound: The place lies outside of the item.
        GeoetlError: The file cannot be read.
    """
    if layer.kind is Kind.RASTER:
        return Reading(place, values=platform.raster.point(layer.collection, layer.id, place.point))
    if layer.kind is Kind.CUBE:
        series = platform.cube.series(
            layer.collection, layer.id, place.point, variable=layer.choice.variable, sel=layer.choice.selection
        )
        known = tuple(None if value == NETCDF_FILL else value for value in series.values)
        return Reading(place, series=series.model_copy(update={"values": known}))
    if layer.kind is Kind.VECTOR:
        found = platform.features.at(layer.collection, layer.id, place.point, place.tolerance_deg)
        return Reading(place, features=tuple(found))
    return Reading(place, features=())


def readings_csv(readings: Sequence[Reading]) -> str:
    """Return readings as CSV: each row has value, units, place, coordinates and where it came from."""
    import pandas as pd

    frames = []
    for reading in readings:
        answer = reading.series or reading.values
        if answer is not None:
            frame = answer.to_dataframe()
            frame = frame.reset_index() if reading.series else frame
            source = answer.source
            came_from = {
                "collection": source.collection,
                "item": source.item,
                "dataset_version": source.dataset_version,
            }
            frames.append(frame.assign(**came_from))
        elif reading.features:
            point = reading.place.point
            frames.append(pd.DataFrame(reading.features).assign(lon=point.lon, lat=point.lat))
        else:
            continue
        frames[-1].insert(0, "place", reading.place.label)
    return str(pd.concat(frames).to_csv(index=False)) if frames else ""


def value_text(value: float | None, units: str | None) -> str:
    """Return a value with its units, at a precision that people read; "no data" where there is none."""
    if value is None:
        return "no data"
    number = f"{value:,.6g}" if abs(value) < 1e6 else f"{value:.6g}"
    number = number.replace(",", "\u202f").replace("-", "\u2212", 1 if value < 0 else 0)
    return f"{number} {unit_text(units)}".strip()


def stop_label(kind: str, stop: "LegendStop") -> str:
    """Return what is written at a stop of a legend: three digits of a ramp's value, the label of a class."""
    if kind == "classes":
        return stop.label
    return value_text(float(f"{stop.value:.3g}"), None)


def unit_text(units: str | None) -> str:
    """Return units as people write them: ``kg m-2 s-1`` is kg m⁻² s⁻¹, ``degK`` is K (UDUNITS names)."""
    if not units:
        return ""
    return " ".join(_unit_word(word) for word in units.split())


def _unit_word(word: str) -> str:
    power = re.fullmatch(r"([A-Za-zµ°%]+)\^?(-?\d+)", word)
    if power:
        return f"{_UNITS.get(power[1].lower(), power[1])}{power[2].translate(_RAISED)}"
    return _UNITS.get(word.lower(), word)


def point_text(point: Point) -> str:
    """Return a place as people write it: ``41.900° N 12.500° E``."""
    north, east = ("N" if point.lat >= 0 else "S"), ("E" if point.lon >= 0 else "W")
    return f"{abs(point.lat):.3f}° {north} {abs(point.lon):.3f}° {east}"
