"""The series of a variable at a place: times of any calendar, as a table and as a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.result import PointField, Result, Source, place_text
from geoetl.core.html import facts, heading
from geoetl.core.temporal import STANDARD_CALENDARS

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

# Before that the dates of the standard calendar are Julian ones, which numpy does not have (CF 1.11, section 4.4.1).
GREGORIAN_SINCE = "1582-10-15"


class Series(Result):
    """The values of a variable at a place over time: of each step, or a statistic of each period.

    Attributes:
        location: The place that was asked for.
        location_name: Its name, where it was asked for by name.
        cell: Centre of the cell that was read.
        distance_km: Great-circle distance between the two.
        variable: Name of the variable.
        title: Its long name, or its name.
        standard_name: Its CF standard name, where it has one.
        units: Units of the values, where they are known.
        times: ISO 8601 text of each step in the cube's own calendar, or the label of each period (``2000-02``,
            ``2000-DJF``); empty for a cube without time.
        calendar: CF calendar of the times; None without time.
        time_range: Times of the first and the last step that were taken; None without time.
        values: One per step or period; None where there is no data.
        resolution: What a value stands for: ``none`` (a step), ``daily``, ``monthly``, ``seasonal`` or ``yearly``.
        statistic: What was taken of the steps of a period; missing ones are left out.
        percentile: Which percentile, where it is that.
        starts: First day of each period in the cube's calendar; empty for steps.
        ends: Last day of each period; empty for steps.
        first_index: Index of the step of each value on the item's time axis, from 1, or of the first of its period:
            a ``time_index`` everywhere else.
        last_index: The same for the last step of each value.
        counts: How many steps of each value had data.
        cell_methods: What CF calls the statistic over time.
        sel: The values of the extra dimensions that were taken.
        method: How the values were taken.
        weighting: ``none``: the values of one cell are not averaged.
        source: Where they came from.
    """

    location: PointField
    location_name: str | None = None
    cell: PointField
    distance_km: float
    variable: str
    title: str
    standard_name: str | None = None
    units: str | None
    times: tuple[str, ...]
    calendar: str | None
    time_range: tuple[str, str] | None
    values: tuple[float | None, ...]
    resolution: str = "none"
    statistic: str = "mean"
    percentile: float | None = None
    starts: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    first_index: tuple[int, ...]
    last_index: tuple[int, ...]
    counts: tuple[int, ...]
    cell_methods: str | None = None
    sel: dict[str, str | float | int]
    method: str
    weighting: str
    source: Source

    @property
    def is_grouped(self) -> bool:
        """Whether a value stands for a period, and not for one step."""
        return self.resolution != "none"

    @property
    def dates(self) -> tuple[str, ...]:
        """The time of each step, or the first day of each period."""
        return self.starts if self.is_grouped else self.times

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row per step or period, indexed by time in the cube's own calendar (a period by its first day).

        Columns: the variable, ``time_index`` (from 1, as ``preview`` takes it), ``lon`` and ``lat`` of the cell, and
        ``units``; of periods ``period``, ``count``, ``first_index`` and ``last_index`` instead of ``time_index``. Where
        the series came from is in ``.attrs``.
        """
        import pandas as pd

        if self.is_grouped:
            which: dict[str, Any] = {
                "period": self.times,
                "count": self.counts,
                "first_index": self.first_index,
                "last_index": self.last_index,
            }
        else:
            which = {"time_index": self.first_index}
        frame = pd.DataFrame(
            {
                self.variable: np.array(self.values, dtype=float),
                **which,
                "lon": self.cell.lon,
                "lat": self.cell.lat,
                "units": self.units,
            },
            index=time_index(self.dates, self.calendar, len(self.values)),
        )
        about: dict[str, Any] = {
            **self.source.model_dump(),
            "location_name": self.location_name,
            "method": self.method,
            "weighting": self.weighting,
            "calendar": self.calendar,
            "sel": dict(self.sel),
        }
        frame.attrs.update(about)
        return frame

    def to_csv(self, path: str | Path | None = None) -> str | None:
        """Write one row per value as CSV to `path`, or return it: place, cell, variable, time, calendar, units, source.

        Its columns are those of `series_table`.
        """
        from geoetl.access.table_export import csv_text, series_table, written

        return written(csv_text(series_table(self)), path)

    def to_parquet(self, path: str | Path | None = None) -> bytes | None:
        """Write the same rows as Parquet to `path`, or return the bytes; what is true of all is in its metadata too."""
        from geoetl.access.table_export import about_series, parquet_bytes, series_table, written

        return written(parquet_bytes(series_table(self), about_series(self)), path)

    def to_netcdf(self, path: str | Path | None = None) -> bytes | None:
        """Write a CF time series as NetCDF-4 to `path`, or return the bytes; the calendar is kept."""
        from geoetl.access.table_export import series_netcdf, written

        return written(series_netcdf(self), path)

    def plot(self) -> Any:
        """Return a HoloViews curve; calendars that are not the usual one are drawn along decimal years."""
        import holoviews as hv

        if not hv.Store.loaded_backends():
            hv.extension("bokeh")
        label = f"{self.variable} [{self.units}]" if self.units else self.variable
        values = np.array(self.values, dtype=float)
        steps, axis = along_time(self.dates, self.calendar, len(values))
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
        span = f"{' to '.join(self.time_range)}, {self.calendar} calendar" if self.time_range else None
        spread = f"{min(known):.6g} to {max(known):.6g} {self.units or ''}".strip() if known else "no data"
        place = (
            f"{self.location_name} ({place_text(self.location)})" if self.location_name else place_text(self.location)
        )
        return heading(self.title, place) + facts(
            [
                (
                    "periods" if self.is_grouped else "steps",
                    f"{len(self.values)} ({len(self.values) - len(known)} without data)",
                ),
                ("time", span),
                ("values", spread),
                ("cell", f"{place_text(self.cell)}, {self.distance_km:.3g} km away ({self.method})"),
                *((name, value) for name, value in self.sel.items()),
                ("source", self.source),
            ],
        )


def time_index(dates: Sequence[str], calendar: str | None, count: int) -> "pd.Index[Any]":
    """Return dates of a calendar as an index; labels where there is no calendar, and numbers from 1 without either."""
    import pandas as pd

    if not dates:
        return pd.RangeIndex(1, count + 1, name="time")
    if calendar is None:
        return pd.Index(dates, name="time")
    if is_gregorian(dates, calendar):
        # Seconds, so that no century is out of the range of nanoseconds.
        return pd.DatetimeIndex(np.array(dates, dtype="datetime64[s]"), name="time")
    import xarray as xr

    # xarray leaves this constructor without annotations.
    return xr.CFTimeIndex([_cftime(text, calendar) for text in dates], name="time")  # type: ignore[no-untyped-call]


def is_gregorian(dates: Sequence[str], calendar: str) -> bool:
    """Tell whether dates are those of numpy: the Gregorian calendar, and no day that it has not."""
    if calendar not in STANDARD_CALENDARS:
        return False
    return calendar == "proleptic_gregorian" or all(
        not text.startswith("-") and text >= GREGORIAN_SINCE for text in dates
    )


def along_time(dates: Sequence[str], calendar: str | None, count: int) -> "tuple[NDArray[Any], Any]":
    """Return where dates are drawn, and the HoloViews axis: decimal years of a calendar that is not the usual one."""
    import holoviews as hv

    if dates and calendar is not None:
        if is_gregorian(dates, calendar):
            return np.array(dates, dtype="datetime64[ms]"), hv.Dimension("time", label="Time")
        years = [_decimal_year(_cftime(text, calendar)) for text in dates]
        return np.array(years), hv.Dimension("time", label=f"Year ({calendar} calendar)")
    return np.arange(1, count + 1), hv.Dimension("time", label="Step")


def _cftime(text: str, calendar: str) -> Any:
    import cftime

    date, _, clock = text.partition("T")
    year, month, day = (int(part) for part in date.rsplit("-", 2))
    hour, minute, second = (int(part) for part in (clock or "0:0:0").split(":"))
    return cftime.datetime(year, month, day, hour, minute, second, calendar=calendar)


def _decimal_year(date: Any) -> float:
    start = type(date)(date.year, 1, 1, calendar=date.calendar)
    end = type(date)(date.year + 1, 1, 1, calendar=date.calendar)
    return float(date.year + (date - start) / (end - start))
