"""Intervals in UTC, and dates of every CF calendar."""

from datetime import UTC, datetime

import cftime
import pytest

from geoetl.core.errors import InvalidTime
from geoetl.core.temporal import Interval, iso_of, nearest_gregorian, parse_instant


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-02-29", "2020-02-29T00:00:00Z/2020-02-29T23:59:59Z"),
        ("2020", "2020-01-01T00:00:00Z/2020-12-31T23:59:59Z"),
        ("2021-02/..", "2021-02-01T00:00:00Z/.."),
        ("../2021-02", "../2021-02-28T23:59:59Z"),
        ("/2021", "../2021-12-31T23:59:59Z"),
        ("2020-01-01T12:00:00+02:00/2020-01-02T00:00:00Z", "2020-01-01T10:00:00Z/2020-01-02T00:00:00Z"),
    ],
)
def test_an_interval_is_read_as_all_of_what_it_names(text: str, expected: str) -> None:
    assert Interval.parse(text).as_text() == expected


@pytest.mark.parametrize(
    "text",
    [
        "2021-02-29",
        "2020-13-01",
        "2020-00",
        "2020-00-10",
        "2020-01-00",
        "../2020-00",
        "yesterday",
        "2021/2020",
        "1/2/3",
        "2020-02-30T00:00:00Z",
    ],
)
def test_a_date_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(InvalidTime) as caught:
        Interval.parse(text)
    assert caught.value.hint


def test_a_date_keeps_its_own_calendar() -> None:
    date = cftime.datetime(2000, 2, 30, 12, calendar="360_day")
    assert iso_of(date) == "2000-02-30T12:00:00"
    assert nearest_gregorian(date) == datetime(2000, 2, 29, 12, tzinfo=UTC)


def test_an_instant_without_zone_is_utc() -> None:
    assert parse_instant("2020-01-01T06:00:00") == datetime(2020, 1, 1, 6, tzinfo=UTC)
