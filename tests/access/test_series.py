"""Series at a place: by step and by period, in every calendar, with indices, costs and exports."""

import io
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr

import geoetl
from geoetl.access.cost import QueryLimits
from geoetl.core.errors import InvalidBBox, InvalidParameter, InvalidTime, LimitExceeded, NotFound
from geoetl.core.spatial import Point
from geoetl.platform import Platform
from tests.access.conftest import COLLECTION, Shelf
from tests.access.cubes import curvilinear_cube, dated_cube, levels_cube, one_degree, projected_cube, regular_cube

# Real daily files of CMIP6 models, one of each calendar.
DAILY = {
    "360_day": "ta_day_KACE-1-0-G_*_20000101-20141230.nc",
    "noleap": "ta_day_TaiESM1_*_20000101-20091231.nc",
    "julian": "ta_day_IITM-ESM_*_20000101-20041231.nc",
    "standard": "ta_day_NESM3_*_19800101-20141231.nc",
    "proleptic_gregorian": "ta_day_MRI-ESM2-0_*_20000101-20091231.nc",
}
NUMPY: dict[str, Callable[[Any], Any]] = {
    "mean": np.nanmean,
    "min": np.nanmin,
    "max": np.nanmax,
    "sum": np.nansum,
    "median": np.nanmedian,
    "std": np.nanstd,
    "count": lambda values: np.isfinite(values).sum(),
    "percentile": lambda values: np.nanpercentile(values, 90),
}


def real_daily(pattern: str) -> Path:
    """Return a file of the package esmvaltool-sample-data, which ships them; importing it would want Iris."""
    spec = find_spec("esmvaltool_sample_data")
    assert spec is not None and spec.origin is not None
    return sorted(Path(spec.origin).parent.rglob(pattern))[0]


@pytest.fixture
def platform(home: Path) -> Platform:
    """Give a platform that may read the real files, too."""
    return geoetl.connect(home, allowed_roots=(real_daily(DAILY["noleap"]).parents[8],))


def put_real(shelf: Shelf, path: Path) -> str:
    """Register a real file as it lies there."""
    asset = {"href": str(path), "type": "application/netcdf", "roles": ["data"]}
    return shelf.register(path.stem, {"data": asset})


def numbered(shelf: Shelf, calendar: str, first: str, count: int, frequency: str = "D", **encoding: Any) -> str:
    """Register a small cube whose values count the steps from 0; every seventh has none."""
    dates = list(xr.date_range(first, periods=count, freq=frequency, calendar=calendar, use_cftime=True))
    cube = dated_cube(dates)
    cube["pr"] = cube["pr"].where(cube["pr"] % 7 != 6)
    return shelf.cube("numbered", cube, encoding={"pr": encoding} if encoding else None)


# -- periods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("calendar", DAILY)
def test_monthly_values_of_real_cubes_equal_those_made_by_hand(shelf: Shelf, calendar: str) -> None:
    path = real_daily(DAILY[calendar])
    item = put_real(shelf, path)
    with xr.open_dataset(path, engine="h5netcdf", decode_times=xr.coders.CFDatetimeCoder(use_cftime=True)) as source:
        there = source["ta"].isel(plev=1, lat=0, lon=1)
        place, level = Point(float(there.lon), float(there.lat)), float(there.plev)
        dates, values = there["time"].values, there.values.astype(float)
    months: dict[str, list[int]] = {f"{year}-{month:02d}": [] for year in (2000, 2001) for month in range(1, 13)}
    for position, date in enumerate(dates):
        months.get(f"{date.year}-{date.month:02d}", []).append(position)
    february = {"360_day": 30, "noleap": 28}.get(calendar, 29)
    for statistic, by_hand in NUMPY.items():
        series = shelf.platform.cube.series(
            COLLECTION,
            item,
            place,
            sel={"plev": level},
            start_time="2000",
            end_time="2001",
            resolution="monthly",
            statistic=statistic,
            percentile=90 if statistic == "percentile" else None,
        )
        assert series.calendar in (calendar, "gregorian")
        assert series.times == tuple(months)
        assert series.values == pytest.approx([by_hand(values[mine]) for mine in months.values()], rel=1e-9)
        assert series.first_index == tuple(mine[0] + 1 for mine in months.values())
        assert series.last_index == tuple(mine[-1] + 1 for mine in months.values())
        assert series.counts == tuple(np.isfinite(values[mine]).sum() for mine in months.values())
        assert (series.ends[1], series.counts[1]) == (f"2000-02-{february}", february)


@pytest.mark.parametrize(("calendar", "february"), [("noleap", 28), ("360_day", 30)])
def test_monthly_means_do_not_invent_or_lose_a_day_of_february(shelf: Shelf, calendar: str, february: int) -> None:
    dates = list(xr.date_range("2000-01-01T12", periods=90, calendar=calendar, use_cftime=True))
    item = shelf.cube("numbered", dated_cube(dates))
    read = shelf.platform.cube.series
    monthly = read(COLLECTION, item, Point(45, 20), resolution="monthly")
    january = 31 if calendar == "noleap" else 30
    assert monthly.values[:2] == (sum(range(january)) / january, january + (february - 1) / 2)
    daily = read(COLLECTION, item, Point(45, 20), start_time="2000-02", end_time="2000-02")
    assert daily.times[-1] == f"2000-02-{february}T12:00:00" and len(daily.times) == february


def test_daily_really_aggregates_to_days(shelf: Shelf) -> None:
    item = numbered(shelf, "360_day", "2000-02-29T00", 12, "6h")
    series = shelf.platform.cube.series(COLLECTION, item, Point(0, 20), resolution="daily", statistic="sum")
    assert series.times == ("2000-02-29", "2000-02-30", "2000-03-01")
    assert series.values == (0 + 1 + 2 + 3, 4 + 5 + 7, 8 + 9 + 10 + 11)
    assert series.counts == (4, 3, 4)
    assert series.method == "nearest cell, sum of each day"


def test_seasons_and_years_have_labels_bounds_and_indices(shelf: Shelf) -> None:
    item = numbered(shelf, "noleap", "1999-11-15", 14, "MS")
    read = shelf.platform.cube.series
    seasons = read(COLLECTION, item, Point(0, 20), resolution="seasonal", statistic="max")
    assert seasons.times == ("2000-DJF", "2000-MAM", "2000-JJA", "2000-SON", "2001-DJF")
    assert (seasons.starts[0], seasons.ends[0]) == ("1999-12-01", "2000-02-28")
    assert seasons.values == (2.0, 5.0, 8.0, 11.0, 12.0)
    assert (seasons.first_index, seasons.last_index) == ((1, 4, 7, 10, 13), (3, 6, 9, 12, 14))
    years = read(COLLECTION, item, Point(0, 20), resolution="yearly", statistic="min", start_time="2000")
    assert (years.times, years.values, years.first_index) == (("2000", "2001"), (1.0, None), (2, 14))


def test_a_period_without_any_data_is_none_and_counts_nothing(shelf: Shelf) -> None:
    cube = dated_cube(list(xr.date_range("2000-01-01", periods=60, calendar="noleap", use_cftime=True)))
    cube["pr"] = cube["pr"].where(cube["pr"] > 30)
    item = shelf.cube("gaps", cube)
    for statistic in NUMPY:
        found = shelf.platform.cube.series(
            COLLECTION,
            item,
            Point(0, 20),
            resolution="monthly",
            statistic=statistic,
            percentile=90 if statistic == "percentile" else None,
        )
        assert found.counts[:2] == (0, 28)
        assert found.values[0] == (0 if statistic == "count" else None)
        assert found.units == ("1" if statistic == "count" else "mm")


# -- indices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "end"), [(None, None), ("2000-01-20", "2000-02"), ("2000-02-10", None)])
def test_values_by_index_agree_with_values_by_time(shelf: Shelf, start: str | None, end: str | None) -> None:
    item = numbered(shelf, "360_day", "2000-01-05T12", 50)
    series = shelf.platform.cube.series(COLLECTION, item, Point(45, 20), start_time=start, end_time=end)
    assert len(series.values) > 10
    for index, value, time in zip(series.first_index, series.values, series.times, strict=True):
        by_index = shelf.platform.raster.point(COLLECTION, item, Point(45, 20), time_index=index)
        assert list(by_index.values) == [value] and by_index.time == time
        assert value is None or value == index - 1


def test_periods_of_an_axis_in_any_order_are_right(shelf: Shelf) -> None:
    dates = list(xr.date_range("2000-01-01", periods=6, freq="MS", calendar="360_day", use_cftime=True))
    order = [4, 0, 5, 2, 1, 3]
    cube = dated_cube([dates[i] for i in order])
    cube["pr"] = cube["pr"] * 0 + xr.DataArray(np.array(order, dtype=float), dims="time")
    item = shelf.cube("shuffled", cube)
    series = shelf.platform.cube.series(COLLECTION, item, Point(0, 20), start_time="2000-02", end_time="2000-04")
    assert (series.values, series.first_index) == ((2.0, 1.0, 3.0), (4, 5, 6))
    assert series.time_range == ("2000-02-01T00:00:00", "2000-04-01T00:00:00")
    seasons = shelf.platform.cube.series(COLLECTION, item, Point(0, 20), resolution="seasonal", statistic="sum")
    assert (seasons.times, seasons.values) == (("2000-DJF", "2000-MAM", "2000-JJA"), (1.0, 9.0, 5.0))


# -- what cannot be asked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "error", "field"),
    [
        ({"start_time": "2000-02-30"}, InvalidTime, "start_time"),
        ({"end_time": "2000-13"}, InvalidTime, "end_time"),
        ({"start_time": "2000-02", "end_time": "2000-01"}, InvalidTime, "start_time"),
        ({"start_time": "1850", "end_time": "1851"}, NotFound, "start_time"),
        ({"resolution": "weekly"}, InvalidParameter, "resolution"),
        ({"statistic": "average"}, InvalidParameter, "statistic"),
        ({"statistic": "percentile"}, InvalidParameter, "percentile"),
        ({"statistic": "percentile", "percentile": 101}, InvalidParameter, "percentile"),
        ({"variable": "prr"}, InvalidParameter, "variable"),
        ({"sel": {"plev": 1}}, InvalidParameter, "sel"),
        ({"location": "atlantis"}, InvalidBBox, "location"),
        ({"location": "200,95"}, InvalidBBox, None),
        ({"location": [1, 2, 3]}, InvalidBBox, "location"),
        ({"location": [True, 2]}, InvalidBBox, "location"),
    ],
)
def test_a_wrong_parameter_is_named_with_a_way_out(
    shelf: Shelf, asked: dict[str, Any], error: type[Exception], field: str | None
) -> None:
    item = numbered(shelf, "noleap", "2000-01-01T12", 70)
    with pytest.raises(error) as refused:
        shelf.platform.cube.series(COLLECTION, item, **{"location": Point(0, 20), **asked})
    assert refused.value.hint  # type: ignore[attr-defined]
    assert field is None or refused.value.field == field  # type: ignore[attr-defined]


# -- places -----------------------------------------------------------------------------------------------------------


def test_a_place_may_be_named(shelf: Shelf) -> None:
    lon, lat = one_degree(west=-180)
    item = shelf.cube("globe", regular_cube(lon, lat))
    read = shelf.platform.cube.series
    named = read(COLLECTION, item, "Paris")
    assert (named.location_name, named.cell) == ("paris", Point(2.5, 48.5))
    assert read(COLLECTION, item, "2.3522,48.8566").values == named.values
    assert read(COLLECTION, item, shelf.platform.places.find("paris")).location_name == "paris"
    assert "paris" in named._repr_html_()


@pytest.mark.parametrize("west", [0.0, -180.0])
def test_the_poles_and_the_antimeridian_have_their_cells(shelf: Shelf, west: float) -> None:
    lon, lat = one_degree(west=west, south_up=west == 0)
    item = shelf.cube("globe", regular_cube(lon, lat))
    read = shelf.platform.cube.series
    for place, expected in {
        (0.2, 90.0): 0.179,
        (0.2, -90.0): 0.0,
        (179.99, 0.2): 179.09,
        (-179.99, 0.2): 180.09,
        (359.99, 0.2): 359.09,
    }.items():
        assert read(COLLECTION, item, Point(*place)).values[0] == pytest.approx(expected), place
    # On the border of two cells it is one of them, whatever the longitude is called.
    for one, other in ((180.0, -180.0), (0.0, 360.0)):
        assert read(COLLECTION, item, Point(one, 0.2)).cell == read(COLLECTION, item, Point(other, 0.2)).cell


def test_irregular_grids_say_how_far_their_nearest_cell_is(shelf: Shelf) -> None:
    curvilinear = shelf.platform.cube.series(COLLECTION, shelf.cube("ocean", curvilinear_cube()), Point(-179.8, 20))
    assert curvilinear.method == "nearest cell by great circle" and 0 < curvilinear.distance_km < 120
    projected = shelf.platform.cube.series(COLLECTION, shelf.cube("snow", projected_cube()), Point(10, 89.5))
    assert (projected.values, len(projected.times)) == ((projected.values[0],), 0)
    assert (projected.first_index, projected.time_range, projected.counts) == ((1,), None, (1,))


# -- cost -------------------------------------------------------------------------------------------------------------


def test_the_cost_is_told_from_the_chunks_and_nothing_is_read(shelf: Shelf) -> None:
    item = numbered(shelf, "noleap", "2000-01-01", 100, chunksizes=(10, 2, 8), zlib=True)
    estimate = shelf.platform.cube.estimate_series
    whole = estimate(COLLECTION, item, Point(0, 20))
    assert (whole.values, whole.chunks, whole.bytes, whole.fits) == (100, 10, 10 * 10 * 2 * 8 * 8, True)
    part = estimate(COLLECTION, item, Point(0, 20), start_time="2000-01-10", end_time="2000-01-11")
    assert (part.values, part.chunks) == (2, 2)


@pytest.mark.parametrize(
    "limits",
    [
        QueryLimits(10**6, 3, 10**9, 10),
        QueryLimits(10**6, 10**6, 3 * 10 * 2 * 8 * 8, 10),
        QueryLimits(30, 10**6, 10**9, 10),
        QueryLimits(10**6, 10**6, 10**9, 10, time_range_days=30),
    ],
)
def test_a_refusal_names_times_that_would_fit(shelf: Shelf, limits: QueryLimits) -> None:
    item = numbered(shelf, "360_day", "2000-02-01T12", 100, chunksizes=(10, 2, 8), zlib=True)
    with pytest.raises(LimitExceeded) as refused:
        shelf.platform.cube.series(COLLECTION, item, Point(0, 20), limits=limits)
    assert refused.value.field == "end_time"
    assert "start_time=2000-02-01T12:00:00 and end_time=2000-02-30T12:00:00" in str(refused.value.hint)
    fitting = {"start_time": "2000-02-01T12:00:00", "end_time": "2000-02-30T12:00:00"}
    assert len(shelf.platform.cube.series(COLLECTION, item, Point(0, 20), limits=limits, **fitting).values) == 30


# -- exports ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["none", "seasonal"])
def exported(request: pytest.FixtureRequest, shelf: Shelf) -> Any:
    """Give a series at a named place in a 360-day calendar, by step or by season."""
    lon, lat = one_degree()
    cube = regular_cube(lon, lat, steps=95)
    cube["tas"] = cube["tas"].where(cube["tas"] < 90_000).assign_attrs(standard_name="air_temperature")
    dates = xr.date_range("1999-12-01T12", periods=95, calendar="360_day", use_cftime=True)
    item = shelf.cube("model", cube.assign_coords(time=dates), properties={"version": "v20200101"})
    return shelf.platform.cube.series(COLLECTION, item, "tokyo", resolution=request.param)


def test_csv_says_in_every_row_what_and_where_it_is(exported: Any, tmp_path: Path) -> None:
    assert exported.to_csv(tmp_path / "a.csv") is None
    table = pd.read_csv(tmp_path / "a.csv")
    assert len(table) == len(exported.values)
    row = table.iloc[0]
    assert (row.place, row.lon, row.cell_lon, row.variable, row.units) == ("tokyo", 139.6917, 139.5, "tas", "K")
    assert (row.calendar, row.dataset_version, row.weighting, row.time) == (
        "360_day",
        "v20200101",
        "none",
        exported.times[0],
    )
    assert table.value.tolist() == pytest.approx([np.nan if v is None else v for v in exported.values], nan_ok=True)


def test_parquet_says_in_its_metadata_too(exported: Any) -> None:
    table = pq.read_table(io.BytesIO(exported.to_parquet()))
    assert table["value"].to_pylist() == list(exported.values)
    assert table["time"].to_pylist() == list(exported.times)
    about = json.loads(table.schema.metadata[b"geoetl"])
    assert about["units"] == "K" and about["calendar"] == "360_day" and about["location_name"] == "tokyo"
    assert about["source"]["dataset_version"] == "v20200101" and about["method"] == exported.method


def test_netcdf_opens_in_xarray_with_equal_values_and_its_calendar(exported: Any) -> None:
    with xr.open_dataset(io.BytesIO(exported.to_netcdf()), engine="h5netcdf") as opened:
        np.testing.assert_array_equal(opened["tas"].values[0], np.array(exported.values, dtype=float))
        assert opened.time.dt.calendar == "360_day"
        texts = [date.isoformat() for date in opened.time.values]
        assert [text[: len(at)] for text, at in zip(texts, exported.dates, strict=True)] == list(exported.dates)
        assert opened["tas"].attrs["units"] == "K" and opened["tas"].attrs["standard_name"] == "air_temperature"
        assert opened.attrs["geoetl_dataset_version"] == "v20200101"
        assert opened.attrs["geoetl_weighting"] == "none" and opened.attrs["geoetl_method"] == exported.method
        assert opened["station_name"].item() == "tokyo" and opened["lon"].item() == pytest.approx(139.6917)
        if exported.is_grouped:
            ends = opened["time_bnds"].values[:, 1]
            assert (ends[0].isoformat(), opened["tas"].attrs["cell_methods"]) == ("2000-03-01T00:00:00", "time: mean")


@pytest.mark.parametrize("years", [("-0005", "0001"), ("1500", "1600"), ("9998", "12000")])
def test_dates_of_any_age_are_exported_and_tabled(shelf: Shelf, years: tuple[str, str]) -> None:
    cube = dated_cube([cftime.DatetimeProlepticGregorian(int(year), 2, 28) for year in years])
    item = shelf.cube("old", cube, encoding={"time": {"units": "days since 0001-01-01"}})
    series = shelf.platform.cube.series(COLLECTION, item, Point(0, 20))
    assert len(series.to_dataframe()) == 2
    with xr.open_dataset(io.BytesIO(series.to_netcdf() or b""), engine="h5netcdf") as opened:
        first, last = (int(year) for year in opened.time.dt.year.values)
        assert (first, last) == tuple(map(int, years))


def test_what_has_no_time_is_exported_too(shelf: Shelf) -> None:
    item = shelf.cube("levels", levels_cube())
    series = shelf.platform.cube.series(COLLECTION, item, Point(0, 45), variable="orog")
    assert (series.times, series.values, series.first_index) == ((), (7.0,), (1,))
    assert "orog" in (series.to_csv() or "")
    assert pq.read_table(io.BytesIO(series.to_parquet() or b""))["value"].to_pylist() == [7.0]
    with xr.open_dataset(io.BytesIO(series.to_netcdf() or b""), engine="h5netcdf") as opened:
        assert opened["orog"].values.tolist() == [[7.0]]
    chosen = shelf.platform.cube.series(COLLECTION, item, Point(0, 45), sel={"plev": 50_000, "member": "r2i1p1f1"})
    assert (chosen.values, chosen.sel["plev"]) == ((210.0, 211.0), 50_000.0)
    assert "plev=50000.0; member=r2i1p1f1" in (chosen.to_csv() or "")


def test_a_dataframe_of_periods_is_indexed_by_their_first_days(exported: Any) -> None:
    table = exported.to_dataframe()
    if exported.is_grouped:
        assert [str(at)[:10] for at in table.index] == ["1999-12-01", "2000-03-01"]
        assert table["count"].tolist() == [90, 0] and table["period"].tolist() == ["2000-DJF", "2000-MAM"]
    exported.plot()


def test_leap_days_of_julian_centuries_stay_dates(shelf: Shelf) -> None:
    dates = list(xr.date_range("1500-02-28", periods=3, calendar="standard", use_cftime=True))
    item = shelf.cube("old", dated_cube(dates))
    series = shelf.platform.cube.series(COLLECTION, item, Point(0, 20))
    assert series.times[1] == "1500-02-29T00:00:00"
    assert str(series.to_dataframe().index[1]) == "1500-02-29 00:00:00"
