"""Steps are chosen and grouped in the cube's own calendar; cftime and xarray are the oracles."""

import warnings
from collections import Counter
from typing import Any

import cftime
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from geoetl.access.layout import Layout, layout_of
from geoetl.access.periods import RESOLUTIONS, group_steps, select_steps
from geoetl.access.time_axis import Calendar
from geoetl.core.errors import InvalidParameter, InvalidTime, NotFound
from tests.access.cubes import dated_cube, days, levels_cube

CALENDARS = (
    "standard",
    "gregorian",
    "proleptic_gregorian",
    "noleap",
    "365_day",
    "all_leap",
    "366_day",
    "360_day",
    "julian",
)
pytestmark = pytest.mark.filterwarnings("ignore:this date/calendar/year zero:cftime.CFWarning")


def of_dates(dates: list[Any]) -> Layout:
    """Return the layout of a cube with these dates."""
    return layout_of(dated_cube(dates), "pr")


def every_day(calendar: str, first: str, count: int) -> Layout:
    """Return the layout of a cube with noon of so many days."""
    return of_dates(list(xr.date_range(f"{first}T12", periods=count, calendar=calendar, use_cftime=True)))


def chosen(layout: Layout, start: str | None = None, end: str | None = None) -> list[str]:
    """Return the days of the steps that are chosen."""
    return [layout.times[at].partition("T")[0] for at in select_steps(layout, start, end).tolist()]


@pytest.mark.parametrize(
    ("calendar", "february"),
    [("noleap", 28), ("standard", 29), ("julian", 29), ("all_leap", 29), ("360_day", 30), ("proleptic_gregorian", 29)],
)
def test_a_month_has_the_days_of_its_calendar(calendar: str, february: int) -> None:
    layout = every_day(calendar, "2000-01-01", 365)
    assert chosen(layout, "2000-02", "2000-02") == [f"2000-02-{day:02d}" for day in range(1, february + 1)]


def test_a_thirtieth_of_february_is_found_and_in_no_other_calendar() -> None:
    assert chosen(every_day("360_day", "2000-01-01", 90), "2000-02-30", "2000-02-30") == ["2000-02-30"]
    for calendar, nearest in (("standard", "2000-02-29"), ("noleap", "2000-02-28"), ("julian", "2000-02-29")):
        with pytest.raises(InvalidTime) as refused:
            select_steps(every_day(calendar, "2000-01-01", 90), "2000-02-30")
        assert (refused.value.status, refused.value.field) == (400, "start_time")
        assert calendar in refused.value.detail and nearest in str(refused.value.hint)


@pytest.mark.parametrize(
    ("time", "says"),
    [
        ("2000-02-31", "no such day"),
        ("2000-13", "no month 13"),
        ("2000-00", "no month 0"),
        ("2000-01-00", "no such day"),
        ("2000-01-01T24", "hour 24"),
        ("2000-01-01T23:60", "minute 60"),
        ("2000-01-01T23:59:60", "second 60"),
        ("2000-01-01T12:00:00+02:00", "not in UTC"),
        ("2000-01-01T12:00:00 Europe/Rome", "no date"),
        ("yesterday", "no date"),
        ("２０００", "no date"),
        ("2000-1-1", "no date"),
        ("20000101", "no date"),
        ("999999", "no such year"),
        ("2000-01-01/2000-01-02", "no date"),
        ("0" * 10_000, "no date"),
        ("2000\x00", "no date"),
    ],
)
@pytest.mark.parametrize("calendar", ["360_day", "standard"])
def test_what_is_no_date_of_the_calendar_is_refused_with_a_way_out(calendar: str, time: str, says: str) -> None:
    layout = every_day(calendar, "2000-01-01", 40)
    for field in ("start_time", "end_time"):
        with pytest.raises(InvalidTime, match=says) as refused:
            select_steps(layout, **{field: time})
        assert refused.value.hint and refused.value.field == field and len(refused.value.detail) < 200


def test_ends_are_included_and_may_be_open() -> None:
    layout = every_day("noleap", "1999-12-30", 10)
    assert chosen(layout, "2000-01-02", "2000-01-03") == ["2000-01-02", "2000-01-03"]
    assert chosen(layout, None, "1999") == ["1999-12-30", "1999-12-31"]
    assert chosen(layout, "2000-01-07", "..") == ["2000-01-07", "2000-01-08"]
    assert chosen(layout, "2000-01-07T12:00:00Z", "2000-01-07T12:00:00+00:00") == ["2000-01-07"]
    assert chosen(layout, "2000-01-06T12:00:00.5", "2000-01-07T12") == ["2000-01-07"]
    assert len(chosen(layout)) == len(chosen(layout, "", "..")) == 10


def test_a_reversed_range_and_one_without_steps_say_so() -> None:
    layout = every_day("noleap", "2000-01-01", 10)
    with pytest.raises(InvalidTime, match="before it starts"):
        select_steps(layout, "2000-01-05", "2000-01-04")
    with pytest.raises(NotFound, match=r"2000-01-01T12:00:00 to 2000-01-10T12:00:00 in the noleap") as refused:
        select_steps(layout, "2001", "2002")
    assert refused.value.field == "start_time"
    with pytest.raises(NotFound, match="to 1850"):
        select_steps(layout, None, "1850")
    with pytest.raises(NotFound):  # between two steps
        select_steps(layout, "2000-01-02T13", "2000-01-03T11")


def test_steps_that_are_not_in_order_are_right_too() -> None:
    layout = of_dates(days("360_day", (2000, 3, 1), (1999, 12, 5), (2000, 2, 30), (2000, 1, 1), (1999, 12, 5)))
    assert select_steps(layout, "2000").tolist() == [0, 2, 3]
    periods = group_steps(layout, select_steps(layout), "seasonal")
    assert [(p.label, p.positions.tolist()) for p in periods] == [("2000-DJF", [1, 2, 3, 4]), ("2000-MAM", [0])]


@pytest.mark.parametrize(
    ("unit", "dates"),
    [
        ("s", ["0001-01-01", "1500-06-01", "1677-01-01", "2263-01-01", "9999-12-31"]),
        ("s", ["-0005-03-01", "0000-02-29", "0001-01-01"]),
        ("ns", ["1980-01-01", "NaT", "2000-01-01T00:00:00.000000001"]),
    ],
)
def test_dates_of_numpy_of_any_age_are_found(unit: str, dates: list[str]) -> None:
    layout = of_dates(np.array(dates, dtype=f"M8[{unit}]"))  # type: ignore[arg-type]
    for at, date in enumerate(dates):
        if date != "NaT":
            assert select_steps(layout, date.partition("T")[0], date.partition("T")[0]).tolist() == [at]
    assert len(select_steps(layout)) == len(dates)
    assert sum(len(p.positions) for p in group_steps(layout, select_steps(layout), "yearly")) == len(
        [date for date in dates if date != "NaT"]
    )


def test_years_before_christ_are_counted_as_the_calendar_does() -> None:
    without_zero = of_dates(days("standard", (-1, 12, 31), (1, 1, 1), (1, 3, 1)))
    assert without_zero.times[0] == "-0001-12-31T12:00:00"
    assert select_steps(without_zero, "-0001", "-0001").tolist() == [0]
    seasons = group_steps(without_zero, select_steps(without_zero), "seasonal")
    assert [(p.label, p.start, p.end) for p in seasons] == [
        ("0001-DJF", "-0001-12-01", "0001-02-28"),
        ("0001-MAM", "0001-03-01", "0001-05-31"),
    ]
    with pytest.raises(InvalidTime, match="no such year"):
        select_steps(without_zero, "0000")
    with_zero = of_dates(days("360_day", (-1, 12, 30), (0, 1, 1), (1, 1, 1)))
    assert select_steps(with_zero, "0000", "0000").tolist() == [1]
    assert [p.label for p in group_steps(with_zero, select_steps(with_zero), "yearly")] == ["-0001", "0000", "0001"]


def test_the_days_that_the_reform_left_out_are_refused_in_the_standard_calendar_only() -> None:
    for calendar in ("standard", "gregorian"):
        with pytest.raises(InvalidTime, match="no such day") as refused:
            select_steps(every_day(calendar, "1582-09-01", 60), "1582-10-06")
        assert "1582-10-04" in str(refused.value.hint)
    for calendar in ("julian", "proleptic_gregorian", "360_day"):
        assert chosen(every_day(calendar, "1582-09-01", 60), "1582-10-06", "1582-10-06") == ["1582-10-06"]


def test_periods_are_labelled_and_bounded_in_the_calendar() -> None:
    layout = every_day("360_day", "1999-12-01", 12 * 30 + 5)
    every = select_steps(layout)
    seasons = group_steps(layout, every, "seasonal")
    assert [(p.label, p.start, p.end, len(p.positions)) for p in seasons[:2]] == [
        ("2000-DJF", "1999-12-01", "2000-02-30", 90),
        ("2000-MAM", "2000-03-01", "2000-05-30", 90),
    ]
    assert [p.label for p in seasons] == ["2000-DJF", "2000-MAM", "2000-JJA", "2000-SON", "2001-DJF"]
    months = group_steps(layout, every, "monthly")
    assert (months[2].label, months[2].start, months[2].end) == ("2000-02", "2000-02-01", "2000-02-30")
    assert group_steps(layout, every, "daily")[89].label == "2000-02-30"
    assert [(p.label, p.end) for p in group_steps(layout, every, "yearly")] == [
        ("1999", "1999-12-30"),
        ("2000", "2000-12-30"),
    ]
    single = group_steps(layout, every[3:4], "none")[0]
    assert (single.label, single.start, single.end) == ("1999-12-04T12:00:00",) * 3


def test_a_wrong_resolution_names_the_right_ones() -> None:
    layout = every_day("noleap", "2000-01-01", 3)
    with pytest.raises(InvalidParameter, match="none, daily, monthly, seasonal, yearly") as refused:
        group_steps(layout, select_steps(layout), "month", field="aggregation")
    assert (refused.value.field, refused.value.hint) == ("aggregation", "Did you mean 'monthly'?")


def test_a_variable_without_time_is_one_step_and_has_no_periods() -> None:
    layout = layout_of(levels_cube(), "orog")
    assert select_steps(layout).tolist() == [0]
    assert [p.positions.tolist() for p in group_steps(layout, select_steps(layout), "none")] == [[0]]
    with pytest.raises(InvalidTime, match="no dates"):
        select_steps(layout, "2000")
    with pytest.raises(InvalidTime, match="no dates"):
        group_steps(layout, select_steps(layout), "monthly")


def test_steps_that_are_labels_have_no_dates() -> None:
    layout = of_dates([1, 2, 3])
    assert layout.times == ("1", "2", "3") and layout.calendar is None
    with pytest.raises(InvalidTime):
        select_steps(layout, "0001")


@given(
    calendar=st.sampled_from(CALENDARS),
    start=st.integers(-800_000, 1_100_000),
    hours=st.lists(st.integers(0, 24 * 800), min_size=1, max_size=25),
    pick=st.tuples(st.integers(0, 24), st.integers(0, 24)),
    precision=st.sampled_from([4, 7, 10, 13, 16, 19]),
)
@settings(max_examples=300, deadline=None)
def test_every_step_is_where_cftime_puts_it(
    calendar: str, start: int, hours: list[int], pick: tuple[int, int], precision: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cftime.CFWarning)
        dates = [cftime.num2date(start * 24 + hour, "hours since 0001-01-01", calendar=calendar) for hour in hours]
        layout = of_dates(dates)
        # Texts sort as dates do only after the year 0, so the oracle compares cftime's own dates.
        one, other = sorted((dates[pick[0] % len(dates)], dates[pick[1] % len(dates)]))
        texts = [layout.times[dates.index(date)] for date in (one, other)]
        minus = [text.startswith("-") for text in texts]
        first, last = (text[: precision + negative] for text, negative in zip(texts, minus, strict=True))
        parts = {4: 1, 7: 2, 10: 3, 13: 4, 16: 5, 19: 6}[precision]

        def key(date: Any) -> tuple[int, ...]:
            return (date.year, date.month, date.day, date.hour, date.minute, date.second)[:parts]

        expected = [i for i, date in enumerate(dates) if key(one) <= key(date) <= key(other)]
        assert select_steps(layout, first, last).tolist() == expected
        numbers = [layout.time.day_number(i) for i in range(len(dates))]  # type: ignore[union-attr]
        assert np.diff(numbers) * 24 == pytest.approx(np.diff(hours), abs=1e-3)
        every = select_steps(layout)
        for resolution in RESOLUTIONS:
            periods = group_steps(layout, every, resolution)
            assert sorted(np.concatenate([p.positions for p in periods]).tolist()) == every.tolist()
        years = Counter(date.year for date in dates)
        assert [len(p.positions) for p in group_steps(layout, every, "yearly")] == [years[y] for y in sorted(years)]
        for month in group_steps(layout, every, "monthly"):
            date = dates[int(month.positions[0])]
            assert int(month.end[-2:]) == date.daysinmonth
            assert {(dates[i].year, dates[i].month) for i in month.positions} == {(date.year, date.month)}


@given(calendar=st.sampled_from(CALENDARS), year=st.integers(1, 3000), month=st.integers(1, 12), day=st.integers(0, 32))
def test_a_day_exists_where_cftime_makes_it(calendar: str, year: int, month: int, day: int) -> None:
    try:
        cftime.datetime(year, month, day, calendar=calendar)
        exists = True
    except ValueError:
        exists = False
    assert Calendar.named(calendar).has_day(year, month, day) is exists
