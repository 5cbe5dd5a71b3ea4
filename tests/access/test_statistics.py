"""Statistics of regions: equal on every convention, to integrals, to xarray and exactextract, in every calendar."""

import itertools
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoetl.access.chunks import Reading
from geoetl.access.cost import QueryLimits
from geoetl.access.over_region import weighted_quantiles
from geoetl.access.over_time import STATISTICS, Cells, over_time
from geoetl.access.region import Region
from geoetl.access.regional import RegionalQuestion, Wanted
from geoetl.access.statistics import RegionalPlan, RegionalSeries
from geoetl.access.weights import WeightCache
from geoetl.core.errors import InvalidParameter, InvalidTime, LimitExceeded, NotFound
from geoetl.core.spatial import BBox
from tests.access.conftest import COLLECTION, Shelf
from tests.access.cubes import curvilinear_cube, days, levels_cube, one_degree, regular_cube

WORLD = BBox(-180, -90, 180, 90)
TURNED = Region.from_shape(shapely.Polygon([(-12.3, -33.3), (44.4, -10.0), (60.0, 77.7), (5.0, 40.0)]))
FIJI = BBox(170.3, -30, -160.6, 12.2)


def fields_cube(times: Any, values: NDArray[Any], lat: NDArray[Any], lon: NDArray[Any]) -> xr.Dataset:
    """Return ``pr`` (time, lat, lon)."""
    return xr.Dataset(
        {"pr": (("time", "lat", "lon"), values, {"units": "mm"})},
        coords={
            "time": times,
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    )


def series(shelf: Shelf, item: str, region: BBox | Region = WORLD, **options: Any) -> RegionalSeries:
    return shelf.platform.cube.statistics(COLLECTION, item, region, **options)


def numbers(found: RegionalSeries) -> dict[str, NDArray[np.float64]]:
    names = ("mean", "min", "max", "std", "median", "sum", "percentiles", "count", "data_share")
    return {name: np.array(getattr(found, name), dtype=float) for name in names}


def same(one: RegionalSeries, other: RegionalSeries) -> None:
    """Check that two series have the same numbers."""
    assert one.periods == other.periods
    for name, values in numbers(one).items():
        assert values == pytest.approx(numbers(other)[name], rel=1e-9, nan_ok=True), name


# -- the same answer on every convention -----------------------------------------------------------------------------

CONVENTIONS: dict[str, dict[str, Any]] = {
    "0 to 360": {"west": 0.0},
    "descending": {"west": -180.0, "south_up": False},
    "names latitude and longitude": {"west": 0.0, "names": ("time", "latitude", "longitude")},
    "names y and x without CF metadata": {"west": -180.0, "names": ("time", "y", "x"), "cf": False},
}


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("region", [FIJI, BBox(-10.4, -60, 31.2, 84.5), TURNED, WORLD], ids=["over 180", "0", "p", "w"])
def test_check_1_regional_statistics_do_not_depend_on_the_conventions_of_the_file(
    shelf: Shelf, convention: str, region: BBox | Region
) -> None:
    made = dict(CONVENTIONS[convention])
    lon, lat = one_degree(west=made.pop("west"), south_up=made.pop("south_up", True))
    plain_lon, plain_lat = one_degree(west=-180.0)
    shelf.cube("plain", regular_cube(plain_lon, plain_lat))
    shelf.cube("other", regular_cube(lon, lat, **made))
    options: dict[str, Any] = {"resolution": "none", "percentile": 30}
    same(series(shelf, "plain", region, **options), series(shelf, "other", region, **options))


def test_check_2_a_box_over_the_antimeridian_is_the_union_of_its_halves(shelf: Shelf) -> None:
    for item, west in (("greenwich", -180.0), ("pacific", 0.0)):
        shelf.cube(item, regular_cube(*one_degree(west=west)))
        whole = series(shelf, item, FIJI, resolution="none")
        halves = [series(shelf, item, part, resolution="none") for part in FIJI.parts()]
        areas = np.array([half.area_km2 for half in halves], dtype=float)
        means = np.array([half.mean for half in halves], dtype=float)
        assert np.array(whole.mean) == pytest.approx(areas @ means / areas.sum(), rel=1e-12)
        assert np.array(whole.sum) == pytest.approx(np.array([half.sum for half in halves]).sum(axis=0), rel=1e-12)
        assert whole.min == tuple(min(pair) for pair in zip(*[half.min for half in halves], strict=True))
        assert whole.max == tuple(max(pair) for pair in zip(*[half.max for half in halves], strict=True))
        assert whole.area_km2 == pytest.approx(areas.sum(), rel=1e-12)
        # 170 and -161 are cut, 180 is not.
        assert whole.cells == sum(half.cells for half in halves)


def test_check_3_the_weighted_mean_of_a_field_of_latitude_is_its_integral(shelf: Shelf) -> None:
    lon, lat = one_degree()
    values = np.broadcast_to(np.sin(np.radians(lat))[:, np.newaxis] ** 2, (1, 180, 360))
    shelf.cube("known", fields_cube(np.array(["2000-01-01"], "M8[s]"), values, lat, lon))
    found, plain = series(shelf, "known"), series(shelf, "known", weighted=False)
    # The mean of sin(lat)^2 over the sphere is 1/3, its deviation is sqrt(1/5 - 1/9); over the rows it is 1/2.
    assert found.mean[0] == pytest.approx(1 / 3, abs=3e-5)
    assert found.std[0] == pytest.approx(math.sqrt(1 / 5 - 1 / 9), abs=3e-5)
    assert plain.mean[0] == pytest.approx(1 / 2, abs=1e-9)
    assert (found.weighting, plain.weighting) == ("area of each cell within the region", "none")
    # Half of the sphere lies between 30 degrees south and north, where sin(lat)^2 is at most 1/4.
    assert found.median[0] == pytest.approx(1 / 4, abs=0.01)


def test_the_mean_over_a_part_of_the_sphere_is_its_integral_too(shelf: Shelf) -> None:
    lon, lat = one_degree(west=-180.0)
    # Each cell holds the mean over itself of sin(lat), so that nothing is left to the size of the cells.
    held = np.sin(np.radians(lat)) * math.cos(math.radians(0.5))
    values = np.broadcast_to(held[:, np.newaxis], (1, 180, 360))
    shelf.cube("known", fields_cube(np.array(["2000-01-01"], "M8[s]"), values, lat, lon))
    low, high = math.sin(math.radians(10)), math.sin(math.radians(52))
    expected = (high**2 - low**2) / 2 / (high - low)
    for region in (BBox(-30, 10, 45.5, 52), Region.from_bbox(BBox(-30, 10, 45.5, 52)), BBox(150, 10, -120, 52)):
        assert series(shelf, "known", region).mean[0] == pytest.approx(expected, rel=1e-12)


# -- against other programs ------------------------------------------------------------------------------------------


def with_gaps() -> xr.Dataset:
    """Return a year of days with holes, and a day without anything."""
    lat, lon = np.arange(-58.75, 60, 2.5), np.arange(1.25, 360, 2.5)
    random = np.random.default_rng(20)
    values = random.normal(280, 15, (365, len(lat), len(lon))).astype(np.float32)
    values[random.random(values.shape) < 0.2] = np.nan
    values[40] = np.nan
    return fields_cube(np.datetime64("2001-01-01", "s") + np.arange(365) * np.timedelta64(1, "D"), values, lat, lon)


def cell_areas(dataset: xr.Dataset, half: float) -> xr.DataArray:
    lat = np.radians(dataset["lat"])
    return np.sin(lat + math.radians(half)) - np.sin(lat - math.radians(half))


def test_statistics_of_a_box_agree_with_xarray_weighted_by_hand(shelf: Shelf) -> None:
    dataset = with_gaps()
    shelf.cube("days", dataset, encoding={"pr": {"chunksizes": (50, 48, 144), "zlib": True}})
    found = series(shelf, "days", BBox(20, -30, 120, 45), resolution="none", percentile=80)
    part = dataset["pr"].astype(float).sel(lat=slice(-30, 45), lon=slice(20, 120))
    weighted = part.weighted(cell_areas(dataset, 1.25).sel(lat=part["lat"]).broadcast_like(part[0]))
    dims = ("lat", "lon")
    quantiles = weighted.quantile([0.5, 0.8], dim=dims).values
    expected = {
        "mean": weighted.mean(dims).values,
        "std": weighted.std(dims).values,
        "min": part.min(dims).values,
        "max": part.max(dims).values,
        "sum": part.sum(dims, min_count=1).values,
        "median": quantiles[0],
        "percentiles": quantiles[1],
        "count": part.count(dims).values,
    }
    for name, values in expected.items():
        assert numbers(found)[name] == pytest.approx(values, rel=1e-9, nan_ok=True), name
    assert (found.mean[40], found.min[40], found.count[40], found.data_share[40]) == (None, None, 0, 0.0)


@pytest.mark.parametrize(("resolution", "freq"), [("monthly", "MS"), ("seasonal", "QS-DEC"), ("yearly", "YS")])
def test_each_cell_is_taken_over_a_period_first_and_then_the_region(shelf: Shelf, resolution: str, freq: str) -> None:
    dataset = with_gaps()
    shelf.cube("days", dataset)
    part = dataset["pr"].astype(float).sel(lat=slice(-30, 20), lon=slice(20, 60))
    areas = cell_areas(dataset, 1.25).sel(lat=part["lat"]).broadcast_like(part[0])
    grouped = part.resample(time=freq)
    for statistic in (name for name in STATISTICS if name != "percentile"):
        found = series(shelf, "days", BBox(20, -30, 60, 20), resolution=resolution, statistic=statistic)
        options = {"sum": {"min_count": 1}, "count": {}}.get(statistic, {"skipna": True})
        expected = getattr(grouped, statistic)(**options).weighted(areas).mean(("lat", "lon"))
        assert np.array(found.mean) == pytest.approx(expected.values, rel=1e-9), statistic
        assert sum(found.steps) == 365
        assert found.units == ("1" if statistic == "count" else "mm")


def test_a_percentile_is_taken_over_time_and_over_the_region(shelf: Shelf) -> None:
    dataset = with_gaps()
    shelf.cube("days", dataset)
    found = series(shelf, "days", BBox(20, -30, 60, 20), resolution="yearly", statistic="percentile", percentile=90)
    part = dataset["pr"].astype(float).sel(lat=slice(-30, 20), lon=slice(20, 60)).quantile(0.9, "time")
    weighted = part.weighted(cell_areas(dataset, 1.25).sel(lat=part["lat"]).broadcast_like(part))
    assert found.mean[0] == pytest.approx(float(weighted.mean()), rel=1e-9)
    assert found.percentiles[0] == pytest.approx(float(weighted.quantile(0.9)), rel=1e-9)


def test_statistics_of_a_polygon_agree_with_exactextract_weighted_by_cell_area(shelf: Shelf) -> None:
    import rioxarray  # noqa: F401  registers the .rio accessor
    from exactextract import exact_extract

    step = 0.5
    lon, lat = np.arange(-20, 70, step) + step / 2, np.arange(80, -40, -step) - step / 2
    random = np.random.default_rng(20)
    values = random.normal(10, 3, (1, len(lat), len(lon))) + lat[:, np.newaxis] / 10
    values[0, random.random(values.shape[1:]) < 0.1] = np.nan
    shelf.cube("fine", fields_cube(np.array(["2000-01-01"], "M8[s]"), values, lat, lon))
    found = series(shelf, "fine", TURNED)
    placed = {"y": lat, "x": lon}
    raster = xr.DataArray(values[0], placed, ("y", "x")).rio.write_crs("EPSG:4326")
    heights = np.sin(np.radians(lat + step / 2)) - np.sin(np.radians(lat - step / 2))
    areas = xr.DataArray(np.repeat(heights[:, np.newaxis], len(lon), axis=1), placed, ("y", "x"))
    frame = gpd.GeoDataFrame(geometry=[TURNED.geometry], crs="EPSG:4326")
    operations = ["weighted_mean", "weighted_stdev", "min", "max", "sum"]
    oracle = exact_extract(raster, frame, operations, weights=areas.rio.write_crs("EPSG:4326"), output="pandas").iloc[0]
    # What a cut cell's share is on the plane and on the sphere differs by some thousandths.
    assert found.mean[0] == pytest.approx(oracle["weighted_mean"], rel=1e-6)
    assert found.std[0] == pytest.approx(oracle["weighted_stdev"], rel=1e-5)
    assert found.sum[0] == pytest.approx(oracle["sum"], rel=2e-5)
    assert (found.min[0], found.max[0]) == (oracle["min"], oracle["max"])


@settings(max_examples=100, deadline=None)
@given(
    count=st.integers(1, 5000),
    share=st.floats(0, 1),
    seed=st.integers(0, 1000),
    kind=st.sampled_from(["spread", "ties", "one", "outlier"]),
)
def test_weighted_quantiles_are_those_of_xarray(count: int, share: float, seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, count)
    if kind == "ties":
        values = values.round()
    elif kind == "one":
        values[:] = 3.5
    elif kind == "outlier":
        values[0] = 1e30
    weights = random.uniform(0.1, 1, count)
    expected = xr.DataArray(values).weighted(xr.DataArray(weights)).quantile(share).item()
    assert weighted_quantiles(values, weights, (share,))[0] == pytest.approx(expected, rel=1e-6, abs=1e-7)
    alike = weighted_quantiles(values, np.ones(count), (share,))[0]
    assert alike == pytest.approx(np.quantile(values, share), rel=1e-6, abs=1e-7)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), percentile=st.floats(0, 100), statistic=st.sampled_from(STATISTICS))
def test_statistics_over_time_are_those_of_numpy_without_missing_values(
    seed: int, percentile: float, statistic: str
) -> None:
    random = np.random.default_rng(seed)
    block = random.normal(5, 2, (7, 4, 3))
    block[random.random(block.shape) < 0.3] = np.nan
    found = over_time(block, statistic, percentile)
    for row, column in np.ndindex(4, 3):
        known = block[:, row, column][~np.isnan(block[:, row, column])]
        if not known.size:
            assert math.isnan(found[row, column]) or (statistic == "count" and found[row, column] == 0)
            continue
        expected = {
            "count": lambda known=known: known.size,
            "percentile": lambda known=known: np.percentile(known, percentile),
        }.get(statistic, lambda known=known: getattr(np, statistic)(known))()
        assert found[row, column] == pytest.approx(expected, rel=1e-12, abs=1e-12)


# -- time ------------------------------------------------------------------------------------------------------------


def dated(dates: list[Any]) -> xr.Dataset:
    """Return a cube of 2 by 2 cells whose values are the number of the step, from 0."""
    values = np.broadcast_to(np.arange(len(dates), dtype=float)[:, np.newaxis, np.newaxis], (len(dates), 2, 2))
    return fields_cube(dates, values, np.array([-45.0, 45.0]), np.array([0.0, 180.0]))


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_check_4_months_are_those_of_the_calendar(shelf: Shelf, calendar: str) -> None:
    lengths = [30] * 12 if calendar == "360_day" else [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    all_days = [(2000, month, day + 1) for month, length in enumerate(lengths, 1) for day in range(length)]
    shelf.cube("days", dated(days(calendar, *all_days)))
    found = series(shelf, "days")
    assert found.calendar == calendar
    starts = np.concatenate([[0], np.cumsum(lengths)])
    assert found.mean == pytest.approx([(a + b - 1) / 2 for a, b in itertools.pairwise(starts)])
    assert found.ends[1] == ("2000-02-30" if calendar == "360_day" else "2000-02-28")
    assert str(found.to_dataframe().index[1]).startswith("2000-02-01")
    february = series(shelf, "days", start_time="2000-02", end_time="2000-02", resolution="none")
    assert len(february.periods) == lengths[1]
    found.plot()


def test_seasons_take_december_with_the_next_year(shelf: Shelf) -> None:
    months = [np.datetime64(f"{year}-{month:02d}-15", "s") for year in (1999, 2000) for month in range(1, 13)]
    shelf.cube("months", dated(months))
    found = series(shelf, "months", resolution="seasonal")
    by_label = dict(zip(found.periods, found.mean, strict=True))
    assert by_label["2000-DJF"] == pytest.approx((11 + 12 + 13) / 3)
    assert (found.periods[0], found.periods[-1]) == ("1999-DJF", "2001-DJF")


def test_a_cube_without_time_is_one_step_and_has_no_months(shelf: Shelf) -> None:
    shelf.cube("levels", levels_cube())
    found = series(shelf, "levels", variable="orog", resolution="none")
    assert (found.mean, found.time_range, found.steps) == (pytest.approx((7.0,)), None, (1,))
    found.plot()
    assert found.to_dataframe()["mean"].tolist() == pytest.approx([7.0])
    with pytest.raises(InvalidTime, match="no dates to group by"):
        series(shelf, "levels", variable="orog")


def test_extra_dimensions_are_picked_by_value(shelf: Shelf) -> None:
    shelf.cube("levels", levels_cube())
    found = series(shelf, "levels", sel={"plev": 50_000, "member": "r2i1p1f1"}, resolution="none")
    assert found.mean == pytest.approx((210.0, 211.0))
    assert found.sel == {"plev": 50_000.0, "member": "r2i1p1f1"}


# -- memory and cost -------------------------------------------------------------------------------------------------


@contextmanager
def asked(shelf: Shelf, item: str, region: BBox | Region, **blocks: int) -> Iterator[RegionalQuestion]:
    """Give a question about all of a cube that is read in blocks of another size."""
    cube, found = shelf.platform.cube.opened(COLLECTION, item)
    limits = QueryLimits(10**9, 10**9, 10**12, 10)
    question = RegionalQuestion.of(cube, found, region, Wanted(None, None, None, None), limits, WeightCache())
    yield replace(question, cells=replace(question.cells, **blocks))


@pytest.mark.parametrize("chunks", [(1, 48, 144), (31, 24, 72), (365, 8, 8)])
def test_blocks_of_any_size_give_the_same_numbers(shelf: Shelf, chunks: tuple[int, int, int]) -> None:
    shelf.cube("days", with_gaps(), encoding={"pr": {"chunksizes": chunks}})
    region = BBox(340, -31, 10, -10)
    for resolution, statistic in itertools.product(["none", "monthly", "yearly"], ["mean", "std", "percentile"]):
        options: dict[str, Any] = {"resolution": resolution, "statistic": statistic, "percentile": 20}
        with asked(shelf, "days", region) as question:
            whole = RegionalPlan(question, **options).run()
        with asked(shelf, "days", region, block_bytes=70_000, long_block_bytes=90_000) as question:
            same(whole, RegionalPlan(question, **options).run())


def test_reading_never_holds_more_than_a_block(shelf: Shelf) -> None:
    shelf.cube("days", with_gaps(), encoding={"pr": {"chunksizes": (10, 48, 144)}})
    read: list[int] = []

    class Watched(Cells):
        def read(self, positions: NDArray[np.intp], rows: slice = slice(None)) -> NDArray[np.float64]:
            block = super().read(positions, rows)
            read.append(block.nbytes)
            return block

    with asked(shelf, "days", WORLD) as question:
        for resolution, statistic in (("none", "mean"), ("yearly", "mean"), ("yearly", "median")):
            cells = Watched(**{name: getattr(question.cells, name) for name in Cells.__dataclass_fields__})
            limited = replace(cells, block_bytes=2_000_000, long_block_bytes=2_000_000)
            plan = RegionalPlan(
                replace(question, cells=limited), resolution=resolution, statistic=statistic, percentile=None
            )
            plan.run()
    assert len(read) > 20
    # A band of rows is a whole row at least.
    assert max(read) <= 2_000_000 + 365 * 144 * 8


def test_blocks_end_where_chunks_do_so_that_none_is_unpacked_twice(shelf: Shelf) -> None:
    shelf.cube("days", with_gaps(), encoding={"pr": {"chunksizes": (10, 48, 144)}})
    with asked(shelf, "days", WORLD, block_bytes=25 * 48 * 144 * 8) as question:
        plan = RegionalPlan(question, resolution="none", statistic="mean", percentile=None)
        cost = plan.estimate(QueryLimits(10**9, 10**9, 10**12, 10))
        assert (cost.chunks, cost.bytes) == (37, 37 * 10 * 48 * 144 * 4)
        late = question.cells.reading(list(question.cells.blocks(question.steps[5:])))
        assert late == Reading(37, 37 * 10 * 48 * 144 * 4)


def test_an_estimate_counts_the_chunks_under_the_region_alone(shelf: Shelf) -> None:
    shelf.cube("days", with_gaps(), encoding={"pr": {"chunksizes": (10, 8, 8)}})
    estimate = shelf.platform.cube.estimate_statistics(
        COLLECTION, "days", BBox(-5, -60, 5, -45), start_time="2001-01-05", end_time="2001-01-15"
    )
    # Two chunks in time, one in latitude, and one at either end of the file in longitude.
    assert (estimate.values, estimate.chunks, estimate.bytes) == (1, 4, 4 * 10 * 8 * 8 * 4)
    assert estimate.fits


def test_what_costs_too_much_is_refused_with_a_way_out(shelf: Shelf) -> None:
    shelf.cube("days", with_gaps(), encoding={"pr": {"chunksizes": (10, 48, 144)}})
    tight = QueryLimits(values=1000, chunks=10, bytes=10**9, points=1, time_range_days=100)
    with pytest.raises(LimitExceeded, match="365 days with 365 steps were asked for; the limit is 100"):
        series(shelf, "days", limits=tight)
    with pytest.raises(LimitExceeded, match=r"37 chunks would have to be read; the limit is 10") as refused:
        series(shelf, "days", resolution="none", limits=replace(tight, time_range_days=None))
    assert refused.value.hint == "Give start_time and end_time at most 98 of 365 steps apart."
    assert refused.value.field == "end_time"


# -- regions, errors, what the answer says ---------------------------------------------------------------------------


def test_cells_of_a_curvilinear_grid_are_weighed_by_their_area(shelf: Shelf) -> None:
    dataset = curvilinear_cube()
    shelf.cube("ocean", dataset)
    box = BBox(165, 10, -175, 30)
    found = series(shelf, "ocean", box, resolution="none")
    lon, lat = dataset["longitude"].values, dataset["latitude"].values
    inside = (lon >= 165) & (lon <= 185) & (lat >= 10) & (lat <= 30)
    expected = np.average(dataset["tos"].values[:, inside], weights=np.cos(np.radians(lat[inside])), axis=1)
    assert np.array(found.mean) == pytest.approx(expected, rel=1e-4)
    assert found.weighting == "area of each cell whose centre lies in the region"


def test_a_region_over_gaps_of_the_data_says_how_much_of_it_has_data(shelf: Shelf) -> None:
    lon, lat = np.arange(0.5, 10), np.arange(0.5, 10)
    values = np.ones((1, 10, 10))
    values[0, :, 5:] = np.nan
    shelf.cube("half", fields_cube(np.array(["2000-01-01"], "M8[s]"), values, lat, lon))
    found = series(shelf, "half", BBox(0, 0, 20, 10))
    assert found.data_share[0] == pytest.approx(0.25, rel=1e-9)
    assert (found.cells, found.count) == (100, (50,))


def test_messages_name_what_is_wrong_and_what_would_be_right(shelf: Shelf) -> None:
    shelf.cube("plain", regular_cube(*one_degree()))
    for options, message in (
        ({"resolution": "weekly"}, "resolution is 'weekly'; expected one of none, daily"),
        ({"statistic": "avg"}, "statistic is 'avg'; expected one of mean, min"),
        ({"statistic": "percentile"}, "which one is not said"),
        ({"percentile": 101}, "percentile is 101; expected 0 to 100"),
        ({"percentile": float("nan")}, "percentile is nan; expected 0 to 100"),
        ({"variable": "tos"}, "no variable 'tos'"),
    ):
        with pytest.raises(InvalidParameter, match=message):
            series(shelf, "plain", BBox(0, 0, 1, 1), **options)
    with pytest.raises(NotFound, match="No step lies in the range from 1999 to 1999"):
        series(shelf, "plain", start_time="1999", end_time="1999")


def test_an_answer_says_what_it_is_in_json_and_in_its_table(shelf: Shelf) -> None:
    shelf.cube("plain", regular_cube(*one_degree()), properties={"version": "3"})
    found = series(shelf, "plain", BBox(-10, 0, 10, 10), statistic="max")
    table = found.to_dataframe()
    assert table.attrs["weighting"] == "area of each cell within the region"
    assert table.attrs["method"] == "max of each cell over each period, then statistics over the region"
    assert (table.attrs["dataset_version"], table.attrs["units"], table.attrs["variable"]) == ("3", "K", "tas")
    assert found.time_range == ("2000-01-01T00:00:00", "2000-01-03T00:00:00")
    assert json.loads(found.to_json(), parse_constant=pytest.fail)["mean"] == list(found.mean)
    assert "weight of a cell" in found._repr_html_()
