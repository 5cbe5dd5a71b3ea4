"""The series of a variable at a place: times of any calendar, as a table and as a plot."""

from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.result import PointField, Result, Source, place_text
from geoetl.core.html import facts, heading
from geoetl.core.temporal import STANDARD_CALENDARS

if TYPE_CHECKING:
    import pandas as pd


class Series(Result):
    """The values of a variable at a place over time.

    Attributes:
        location: The place that was asked for.
        cell: Centre of the cell that was read.
        distance_km: Great-circle distance between the two.
        variable: Name of the variable.
        title: Its long name, or its name.
        units: Its units, where they are known.
        times: ISO 8601 text of each step in the cube's own calendar; empty for a cube without time.
        calendar: CF calendar of the times; None without time.
        values: One per step; None where there is no data.
        sel: The values of the extra dimensions that were taken.
        method: How the values were taken.
        weighting: ``none``: the values of one cell are not averaged.
        source: Where they came from.
    """

    location: PointField
    cell: PointField
    distance_km: float
    variable: str
    title: str
    units: str | None
    times: tuple[str, ...]
    calendar: str | None
    values: tuple[float | None, ...]
    sel: dict[str, str | float | int]
    method: str
    weighting: str
    source: Source

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row per step, indexed by time in the cube's own calendar.

        Columns: the variable, ``time_index`` (from 1, as ``preview`` takes it), ``lon`` and ``lat`` of the cell, and
        ``units``. Where the series came from is in ``.attrs``.
        """
        import pandas as pd

        frame = pd.DataFrame(
            {
                self.variable: np.array(self.values, dtype=float),
                "time_index": np.arange(1, len(self.values) + 1),
                "lon": self.cell.lon,
                "lat": self.cell.lat,
                "units": self.units,
            },
            index=self._time_index(),
        )
        about: dict[str, Any] = {
            **self.source.model_dump(),
            "method": self.method,
            "weighting": self.weighting,
            "calendar": self.calendar,
            "sel": dict(self.sel),
        }
        frame.attrs.update(about)
        return frame

    def _time_index(self) -> "pd.Index[Any]":
        import pandas as pd

        if not self.times:
            return pd.RangeIndex(1, len(self.values) + 1, name="time")
        if self.calendar in STANDARD_CALENDARS:
            # Seconds, so that no century is out of the range of nanoseconds.
            return pd.DatetimeIndex(np.array(self.times, dtype="datetime64[s]"), name="time")
        if self.calendar is None:
            return pd.Index(self.times, name="time")
        import xarray as xr

        # xarray leaves this constructor without annotations.
        return xr.CFTimeIndex(  # type: ignore[no-untyped-call]
            [_cftime(text, self.calendar) for text in self.times], name="time"
        )

    def plot(self) -> Any:
        """Return a HoloViews curve; calendars that are not the usual one are drawn along decimal years."""
        import holoviews as hv

        if not hv.Store.loaded_backends():
            hv.extension("bokeh")
        label = f"{self.variable} [{self.units}]" if self.units else self.variable
        values = np.array(self.values, dtype=float)
        if self.times and self.calendar in STANDARD_CALENDARS:
            steps: Any = np.array(self.times, dtype="datetime64[ms]")
            axis = hv.Dimension("time", label="Time")
        elif self.times and self.calendar is not None:
            steps = np.array([_decimal_year(_cftime(text, self.calendar)) for text in self.times])
            axis = hv.Dimension("time", label=f"Year ({self.calendar} calendar)")
        else:
            steps = np.arange(1, len(values) + 1)
            axis = hv.Dimension("time", label="Step")
        curve = hv.Curve((steps, values), axis, hv.Dimension(self.variable, label=label))
        return curve.opts(
            hv.opts.Curve(
                title=f"{self.title} at {place_text(self.cell)}",
                width=720,
                height=320,
                line_width=1.6,
                tools=["hover"],
                show_grid=True,
                padding=(0.01, 0.08),
                backend="bokeh",
            )
        )

    def _repr_html_(self) -> str:
        known = [value for value in self.values if value is not None]
        span = f"{self.times[0]} to {self.times[-1]}, {self.calendar} calendar" if self.times else None
        spread = f"{min(known):.6g} to {max(known):.6g} {self.units or ''}".strip() if known else "no data"
        return heading(self.title, place_text(self.location)) + facts(
            [
                ("steps", f"{len(self.values)} ({len(self.values) - len(known)} without data)"),
                ("time", span),
                ("values", spread),
                ("cell", f"{place_text(self.cell)}, {self.distance_km:.3g} km away ({self.method})"),
                *((name, value) for name, value in self.sel.items()),
                ("source", self.source),
            ],
        )


def _cftime(text: str, calendar: str) -> Any:
    import cftime

    date, _, clock = text.partition("T")
    year, month, day = (int(part) for part in date.rsplit("-", 2))
    hour, minute, second = (int(part) for part in clock.split(":"))
    return cftime.datetime(year, month, day, hour, minute, second, calendar=calendar)


def _decimal_year(date: Any) -> float:
    start = type(date)(date.year, 1, 1, calendar=date.calendar)
    end = type(date)(date.year + 1, 1, 1, calendar=date.calendar)
    return float(date.year + (date - start) / (end - start))
