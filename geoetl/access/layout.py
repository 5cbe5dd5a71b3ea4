"""How a cube is laid out: its variables, their grid, time and extra dimensions, and what ``sel`` picks of them."""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.grid import TIME_NAMES, Grid, find_coordinate, find_grid
from geoetl.access.result import Result
from geoetl.access.time_axis import TimeAxis
from geoetl.core.errors import InvalidParameter, InvalidTime, did_you_mean
from geoetl.core.temporal import iso_of

if TYPE_CHECKING:
    import xarray as xr

Selection = Mapping[str, str | float | int]
_MAX_VALUES_LISTED = 20
_DATE = re.compile(r"(-?\d{4,6})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d))?)?)?)?)?", re.ASCII)


class VariableInfo(Result):
    """One variable of a cube.

    Attributes:
        name: Its name in the file.
        title: Its long name, or its name.
        standard_name: Its CF standard name, where it has one.
        units: Its units, where they are known.
        dims: Its dimensions, in order.
        shape: The length of each.
        dtype: Type of its values after mask, scale and offset.
    """

    name: str
    title: str
    standard_name: str | None
    units: str | None
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str


class DimensionInfo(Result):
    """An extra dimension: neither time nor horizontal, for example a pressure level.

    Attributes:
        name: Its name, the key in ``sel``.
        title: Its long name, or its name.
        units: Units of its values, where they are known.
        values: Every value that ``sel`` takes.
    """

    name: str
    title: str
    units: str | None
    values: tuple[str | float | int, ...]


@dataclass(frozen=True)
class Layout:
    """How a variable is laid out.

    Attributes:
        grid: Its horizontal grid.
        time_dim: Its time dimension, where it has one.
        time: Its steps; one where the time is a scalar, None without time.
        extra: Its extra dimensions with all their values.
    """

    grid: Grid
    time_dim: str | None
    time: TimeAxis | None
    extra: tuple[DimensionInfo, ...]

    @property
    def times(self) -> tuple[str, ...]:
        """ISO 8601 text of each step in the cube's own calendar; one where the time is a scalar, none without time."""
        return () if self.time is None else self.time.texts

    @property
    def calendar(self) -> str | None:
        """CF calendar of the times; None without dates."""
        return None if self.time is None or self.time.calendar is None else self.time.calendar.name

    @property
    def steps(self) -> int:
        """How many steps there are; a variable without time is one."""
        return 1 if self.time is None else len(self.time)


class OpenCube:
    """An open cube with what was worked out about it; safe for threads.

    Args:
        dataset: The lazy dataset.
        preferred: The variable that the item is about, where it says so.
    """

    def __init__(self, dataset: "xr.Dataset", preferred: str | None) -> None:
        self.dataset = dataset
        self._preferred = preferred
        self._lock = threading.Lock()
        self._layouts: dict[str, Layout] = {}

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables that have numbers on a horizontal grid; bounds are left out."""
        described = {
            attributes.get(key)
            for variable in self.dataset.variables.values()
            for attributes in (variable.attrs, variable.encoding)
            for key in ("bounds", "climatology", "grid_mapping")
        }
        return tuple(
            str(name)
            for name, array in self.dataset.data_vars.items()
            if name not in described and array.dtype.kind in "biuf" and self._has_grid(str(name))
        )

    def _has_grid(self, name: str) -> bool:
        try:
            find_grid(self.dataset, name)
        except InvalidParameter:
            return False
        return True

    @cached_property
    def default_variable(self) -> str:
        """The variable that the item is about, else the first of those with most dimensions.

        Raises:
            InvalidParameter: No variable has a place on Earth.
        """
        if self._preferred in self.variables:
            return str(self._preferred)
        if not self.variables:
            names = ", ".join(map(str, self.dataset.data_vars)) or "none"
            raise InvalidParameter(
                f"No variable of this cube has longitude and latitude; its variables are: {names}.", field="item"
            )
        return max(self.variables, key=lambda name: self.dataset[name].ndim)

    def variable(self, name: str | None) -> str:
        """Return `name`, or the default where it is None.

        Raises:
            InvalidParameter: There is no such variable.
        """
        if name is None:
            return self.default_variable
        if name not in self.variables:
            raise InvalidParameter(
                f"There is no variable '{name}'.", hint=did_you_mean(name, self.variables), field="variable"
            )
        return name

    def layout(self, name: str) -> Layout:
        """Return how a variable is laid out, worked out once."""
        with self._lock:
            if name not in self._layouts:
                self._layouts[name] = layout_of(self.dataset, name)
            return self._layouts[name]

    def info(self, name: str) -> VariableInfo:
        """Return what is to be said about a variable."""
        array = self.dataset[name]
        return VariableInfo(
            name=name,
            title=str(array.attrs.get("long_name") or name),
            standard_name=array.attrs.get("standard_name"),
            units=units_of(array),
            dims=tuple(map(str, array.dims)),
            shape=array.shape,
            dtype=str(array.dtype),
        )


def layout_of(dataset: "xr.Dataset", name: str) -> Layout:
    array = dataset[name]
    grid = find_grid(dataset, name)
    time = find_coordinate(dataset, array, "time", TIME_NAMES)
    if time is not None and (time.ndim > 1 or set(time.dims) & set(grid.dims)):
        time = None
    time_dim = str(time.dims[0]) if time is not None and time.ndim == 1 else None
    steps = None if time is None else TimeAxis.of(time)
    extra = tuple(
        _dimension_info(dataset, str(dim)) for dim in array.dims if dim != time_dim and str(dim) not in grid.dims
    )
    return Layout(grid, time_dim, steps, extra)


def _dimension_info(dataset: "xr.Dataset", dim: str) -> DimensionInfo:
    if dim not in dataset.coords:
        return DimensionInfo(name=dim, title=dim, units=None, values=tuple(range(dataset.sizes[dim])))
    coordinate = dataset[dim]
    return DimensionInfo(
        name=dim,
        title=str(coordinate.attrs.get("long_name") or dim),
        units=units_of(coordinate),
        values=tuple(_plain(value) for value in coordinate.values),
    )


def _plain(value: Any) -> str | float | int:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.datetime64):
        return str(np.datetime_as_string(value.astype("datetime64[s]")))
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(str(value))  # the shortest text of a float32: 0.1, not 0.10000000149
    return iso_of(value) if hasattr(value, "calendar") else str(value)


def step_position(layout: Layout, time_index: int) -> dict[str, int]:
    count = max(1, len(layout.times))
    if isinstance(time_index, bool) or not isinstance(time_index, int) or not 1 <= time_index <= count:
        span = f" ({layout.times[0]} to {layout.times[-1]})" if layout.times else ", as there is no time"
        raise InvalidParameter(
            f"time_index is {time_index!r}; expected 1 to {count}{span}.",
            hint="The first step is 1.",
            field="time_index",
        )
    return {} if layout.time_dim is None else {layout.time_dim: time_index - 1}


def step_of_time(layout: Layout, time: str) -> int:
    """Return the number of the step, from 1, that is at `time`: ISO 8601 in the cube's own calendar, or its beginning.

    ``2000-02`` is the step of that month where there is one alone. Another time is never taken for it.

    Raises:
        InvalidTime: There is no such step, or there are several; the hint names the nearest.
    """
    text = time.strip().removesuffix("Z").replace(" ", "T")
    parts = _DATE.fullmatch(text)
    if not layout.times or layout.calendar is None:
        raise InvalidTime(
            "This variable has no dates.",
            hint="Choose a step with time_index, from 1." if layout.times else None,
            field="time",
        )
    if parts is None:
        raise InvalidTime(
            f"'{time[:40]}' is not a date.", hint=f"Write it as {layout.times[0]}, or a part of that.", field="time"
        )
    # A text that goes on with a digit is another day: 2000-01-1 does not stand for the tenth.
    found = [i for i, at in enumerate(layout.times, 1) if at.startswith(text) and not at[len(text) :][:1].isdigit()]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidTime(
            f"{len(found)} steps lie in {text}: {', '.join(layout.times[i - 1] for i in found[:3])} …",
            hint="Give one of them in full, or time_index.",
            field="time",
        )
    nearest = _nearest_step(layout, parts)
    raise InvalidTime(
        f"There is no step at {text} in the {layout.calendar} calendar of this cube.",
        hint=f"The nearest is {layout.times[nearest]} (time_index {nearest + 1}).",
        field="time",
    )


def _nearest_step(layout: Layout, parts: "re.Match[str]") -> int:
    """Return the position of the step nearest to a date; one that the calendar does not have stands for its last."""
    import cftime

    def seconds(year: int, month: int, day: int, *clock: int) -> float:
        for possible in range(min(day, 31), 0, -1):
            try:
                date = cftime.datetime(year, month, possible, *clock, calendar=layout.calendar)
            except ValueError:
                continue
            return float(cftime.date2num(date, "seconds since 0001-01-01", layout.calendar))
        raise InvalidTime(f"'{parts[0]}' is not a date.", hint=f"Write it as {layout.times[0]}.", field="time")

    def numbers(matched: "re.Match[str]") -> list[int]:
        return [int(part) if part else first for part, first in zip(matched.groups(), (1, 1, 1, 0, 0, 0), strict=True)]

    steps = [matched for at in layout.times if (matched := _DATE.fullmatch(at))]
    times = np.array([seconds(*numbers(matched)) for matched in steps])
    return int(np.abs(times - seconds(*numbers(parts))).argmin())


def picked_positions(layout: Layout, sel: Selection | None) -> tuple[dict[str, int], dict[str, str | float | int]]:
    """Return the position along each extra dimension, and the value that is there."""
    wanted = dict(sel or {})
    positions: dict[str, int] = {}
    taken: dict[str, str | float | int] = {}
    for dimension in layout.extra:
        position = _position(dimension, wanted.pop(dimension.name)) if dimension.name in wanted else 0
        positions[dimension.name] = position
        taken[dimension.name] = dimension.values[position]
    for name in wanted:
        if name == layout.time_dim:
            hint = "Time is chosen with time_index, from 1; a series has every step."
        elif name in layout.grid.dims:
            hint = "The place is chosen with location."
        else:
            names = [dimension.name for dimension in layout.extra]
            hint = did_you_mean(name, names) or "It has no extra dimensions."
        raise InvalidParameter(f"sel names '{name}', which is no extra dimension here.", hint=hint, field="sel")
    return positions, taken


def _position(dimension: DimensionInfo, value: str | float | int) -> int:
    if value in dimension.values:
        return dimension.values.index(value)
    numbers = [item for item in dimension.values if not isinstance(item, str)]
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if len(numbers) == len(dimension.values) and np.isfinite(number):
        # Coordinates are often float32: 0.1 is then 0.10000000149.
        close = np.flatnonzero(np.isclose(np.array(numbers, dtype=float), number, rtol=1e-6, atol=1e-12))
        if len(close):
            return int(close[0])
    units = f" {dimension.units}" if dimension.units else ""
    raise InvalidParameter(
        f"{dimension.name}={value!r} is not one of its values: {listed(dimension.values)}{units}.",
        hint=did_you_mean(str(value), map(str, dimension.values)) if isinstance(value, str) else None,
        field="sel",
    )


def units_of(array: "xr.DataArray") -> str | None:
    units = array.attrs.get("units")
    return None if units is None else str(units)


def listed(values: Sequence[str | float | int]) -> str:
    shown = ", ".join(
        f"{value:.10g}" if isinstance(value, float) else str(value) for value in values[:_MAX_VALUES_LISTED]
    )
    more = len(values) - _MAX_VALUES_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
