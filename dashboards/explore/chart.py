"""The series at the places as a Bokeh figure, along the cube's own calendar."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dashboards.explore.layer import time_texts
from dashboards.explore.reading import Place, Reading, unit_text
from dashboards.shared.theme import FONT, Palette
from geoetl.core.temporal import STANDARD_CALENDARS

if TYPE_CHECKING:
    from bokeh.models import Span
    from bokeh.plotting import figure

HEIGHT_PX = 160
# A series with few steps is read point by point.
MAX_STEPS_WITH_DOTS = 80
# A longer name does not fit along the height of the chart.
MAX_LABEL = 20
# Months of a decimal year, for calendars that have no dates on a common time axis.
_DECIMAL_YEAR_TICKS = """
const year = Math.floor(tick + 1e-9)
const month = Math.floor((tick - year) * 12 + 1e-6) + 1
const span = ticks.length > 1 ? ticks[1] - ticks[0] : 1
return span >= 1 ? String(year) : `${year}-${String(Math.max(month, 1)).padStart(2, "0")}`
"""


def positions(times: Sequence[str], calendar: str | None) -> list[float]:
    """Return where times lie on the axis: milliseconds since 1970, decimal years in other calendars, else steps."""
    import numpy as np

    if times and calendar in STANDARD_CALENDARS:
        return [float(ms) for ms in np.array(times, dtype="datetime64[ms]").astype("int64")]
    if times and calendar is not None:
        return [_decimal_year(text, calendar) for text in times]
    return [float(step) for step in range(1, max(1, len(times)) + 1)]


def series_figure(
    readings: Sequence[Reading], color_of: Callable[[Place], str], time_index: int, colours: Palette
) -> "tuple[figure, Span]":
    """Return the chart of the readings that have a series, and the line that marks the time step."""
    from bokeh.models import (
        BasicTickFormatter,
        ColumnDataSource,
        CustomJS,
        CustomJSTickFormatter,
        DatetimeTickFormatter,
        HoverTool,
        Span,
    )
    from bokeh.plotting import figure

    shown = [reading.series for reading in readings if reading.series]
    first = shown[0]
    xs = positions(first.times, first.calendar)
    standard = bool(first.times) and first.calendar in STANDARD_CALENDARS
    chart = figure(
        height=HEIGHT_PX,
        sizing_mode="stretch_width",
        x_axis_type="datetime" if standard else "linear",
        tools="xpan,xwheel_zoom,reset",
        active_drag="xpan",
        active_scroll="xwheel_zoom",
        toolbar_location=None,
        output_backend="canvas",
        min_border_right=16,
    )
    shared = {"x": xs, "time": time_texts(first.times) or ("",) * len(first.values)}
    values = {
        reading.place: [float("nan") if value is None else value for value in reading.series.values]
        for reading in readings
        if reading.series
    }
    data = ColumnDataSource({**shared, **{place.label: numbers for place, numbers in values.items()}})
    lines = []
    for place in values:
        color = color_of(place)
        lines.append(chart.line("x", place.label, source=data, line_color=color, line_width=1.8))
        if len(first.values) <= MAX_STEPS_WITH_DOTS:
            chart.scatter("x", place.label, source=data, size=5, color=color)
    units = unit_text(first.units)
    # One box for all places: they have the same steps.
    tips = [("", "@time"), *((place.label, f"@{place.label}{{%.6g}} {units}") for place in values)]
    formatters = {f"@{place.label}": "printf" for place in values}
    chart.add_tools(
        HoverTool(renderers=lines[:1], tooltips=tips, formatters=formatters, mode="vline", line_policy="nearest")
    )
    name = first.title if len(first.title) <= MAX_LABEL else first.variable
    chart.yaxis.axis_label = f"{name}, {units}" if units else name
    chart.yaxis.formatter = BasicTickFormatter(power_limit_low=-4, power_limit_high=6)
    if standard:
        chart.xaxis.formatter = DatetimeTickFormatter(
            years="%Y", months="%Y-%m", days="%Y-%m-%d", hours="%m-%d %H:%M", hourmin="%H:%M", minutes="%H:%M"
        )
    elif first.times and first.calendar:
        chart.xaxis.formatter = CustomJSTickFormatter(code=_DECIMAL_YEAR_TICKS)
        chart.xaxis.axis_label = f"{first.calendar} calendar"
    mark = Span(
        location=xs[min(time_index, len(xs)) - 1],
        dimension="height",
        line_color=colours.focus,
        line_width=1.5,
        line_dash="dashed",
    )
    chart.add_layout(mark)
    # There is no tool bar, so a double click takes the place of its reset button.
    chart.js_on_event("doubletap", CustomJS(args={"chart": chart}, code="chart.reset.emit()"))
    _dress(chart, colours)
    return chart, mark


def nearest_step(times: Sequence[str], calendar: str | None, x: float) -> int:
    """Return the number (from 1) of the step that lies nearest to `x` on the axis."""
    xs = positions(times, calendar)
    return min(range(len(xs)), key=lambda index: abs(xs[index] - x)) + 1


def _decimal_year(text: str, calendar: str) -> float:
    import cftime

    date, _, clock = text.partition("T")
    year, month, day = (int(part) for part in date.rsplit("-", 2))
    hour, minute, second = (int(part) for part in clock.split(":"))
    moment = cftime.datetime(year, month, day, hour, minute, second, calendar=calendar)
    start = cftime.datetime(year, 1, 1, calendar=calendar)
    end = cftime.datetime(year + 1, 1, 1, calendar=calendar)
    return float(year + (moment - start) / (end - start))


def _dress(chart: "figure", colours: Palette) -> None:
    chart.background_fill_color = chart.border_fill_color = colours.surface
    chart.outline_line_color = None
    axes: list[Any] = [*chart.xaxis, *chart.yaxis]
    for axis in axes:
        axis.axis_line_color = axis.major_tick_line_color = colours.line
        axis.minor_tick_line_color = None
        axis.major_label_text_color = axis.axis_label_text_color = colours.muted
        axis.major_label_text_font = axis.axis_label_text_font = FONT
        axis.major_label_text_font_size = axis.axis_label_text_font_size = "12px"
        axis.axis_label_text_font_style = "normal"
    for grid in chart.grid:
        grid.grid_line_color = colours.line
        grid.grid_line_alpha = 0.6
