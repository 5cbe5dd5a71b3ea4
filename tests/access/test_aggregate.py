"""Fields over time: the right values in the right places, as arrays, tables, pictures and GeoTIFF."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

from geoetl.access.aggregate import FieldAggregate
from geoetl.access.region import Region
from geoetl.access.statistics import RegionalSeries
from geoetl.access.table_export import PARQUET_KEY
from geoetl.core.errors import InvalidParameter, LimitExceeded
from geoetl.core.spatial import BBox
from tests.access.conftest import COLLECTION, Shelf
from tests.access.cubes import curvilinear_cube, days, field, one_degree, regular_cube
from tests.access.test_statistics import CONVENTIONS, TURNED, fields_cube, with_gaps

BOXES = [BBox(170, -20, -160, 10), BBox(-12, -35, 45, 70), BBox(-180, -90, 180, 90)]


def aggregate(shelf: Shelf, item: str, region: BBox | Region, **options: Any) -> FieldAggregate:
    return shelf.platform.cube.aggregate(COLLECTION, item, region, **options)


def pixels(field: FieldAggregate) -> tuple[NDArray[Any], Any, dict[str, str]]:
    """Return the values of the GeoTIFF, as rasterio reads them, with its dataset's transform and tags."""
    with rasterio.MemoryFile(field.to_raster().content) as file, file.open() as dataset:
        return dataset.read(1), dataset.transform, dataset.tags()


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("box", BOXES, ids=str)
def test_check_1_every_convention_gives_the_same_geotiff_the_right_way_up(
    shelf: Shelf, convention: str, box: BBox
) -> None:
    made = dict(CONVENTIONS[convention])
    lon, lat = one_degree(west=made.pop("west"), south_up=made.pop("south_up", True))
    shelf.cube("cube", regular_cube(lon, lat, **made))
    found = aggregate(shelf, "cube", box)
    values, transform, _ = pixels(found)
    assert (transform.a, transform.e) == (pytest.approx(1.0), pytest.approx(-1.0))
    assert (transform.c, transform.f) == (pytest.approx(box.west), pytest.approx(box.north))
    rows, columns = np.mgrid[0 : values.shape[0], 0 : values.shape[1]]
    x, y = transform.c + (columns + 0.5) * transform.a, transform.f + (rows + 0.5) * transform.e
    # Each value says where it lies; the mean of the three steps is that of the middle one.
    np.testing.assert_allclose(values, field(x, y) + 1000, atol=1e-9)
    # And as an array the same, longitudes growing.
    array = found.to_xarray()
    np.testing.assert_allclose(found.values, field(found.lon[np.newaxis], found.lat[:, np.newaxis]) + 1000, atol=1e-9)
    assert (np.diff(found.lon) > 0).all()
    assert array.dims == found.grid.dims


@pytest.mark.parametrize("aggregation", ["mean", "min", "max", "sum", "median", "std", "count"])
def test_each_cell_is_aggregated_over_time_as_xarray_does_it(shelf: Shelf, aggregation: str) -> None:
    dataset = with_gaps()
    shelf.cube("days", dataset, encoding={"pr": {"chunksizes": (30, 24, 48)}})
    found = aggregate(shelf, "days", BBox(0, -60, 60, 0), aggregation=aggregation, end_time="2001-03")
    part = dataset["pr"].astype(float).sel(lat=slice(-60, 0), lon=slice(0, 60), time=slice("2001-01", "2001-03"))
    options = {"sum": {"min_count": 1}, "count": {}}.get(aggregation, {"skipna": True})
    expected = getattr(part, aggregation)("time", **options)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-9)
    weights = (np.sin(np.radians(part.lat + 1.25)) - np.sin(np.radians(part.lat - 1.25))).broadcast_like(expected)
    assert found.statistics.mean == pytest.approx(float(expected.weighted(weights).mean()), rel=1e-9)
    assert found.statistics.std == pytest.approx(float(expected.weighted(weights).std()), rel=1e-6)
    assert (found.statistics.valid_pixels, found.steps) == (24 * 24, 90)


def test_a_percentile_of_each_cell_is_that_of_numpy(shelf: Shelf) -> None:
    dataset = with_gaps()
    shelf.cube("days", dataset)
    found = aggregate(shelf, "days", BBox(0, -60, 60, 0), aggregation="percentile", percentile=95)
    expected = dataset["pr"].astype(float).sel(lat=slice(-60, 0), lon=slice(0, 60)).quantile(0.95, "time")
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-9)
    with pytest.raises(InvalidParameter, match="aggregation is percentile; which one is not said"):
        aggregate(shelf, "days", BBox(0, -60, 60, 0), aggregation="percentile")


def test_cells_outside_of_a_polygon_are_no_data_in_every_form(shelf: Shelf) -> None:
    shelf.cube("cube", regular_cube(*one_degree(west=-180.0)))
    found = aggregate(shelf, "cube", TURNED)
    lon, lat = np.meshgrid(found.lon, found.lat)
    cells = shapely.box(lon - 0.5, lat - 0.5, lon + 0.5, lat + 0.5)
    touched = shapely.area(shapely.intersection(cells, TURNED.geometry)) > 1e-4
    assert (np.isfinite(found.values) == touched).all()
    values, _, _ = pixels(found)
    assert (np.isfinite(values[::-1]) == touched).all()
    alpha = np.asarray(Image.open(io.BytesIO(found.picture().content)).convert("RGBA"))[..., 3]
    assert ((alpha[::-1] == 255) == touched).all()


def test_check_6_no_data_is_transparent_in_png_and_webp_and_white_in_jpeg(shelf: Shelf) -> None:
    dataset = regular_cube(*one_degree(west=-180.0))
    dataset["tas"][:, 100:110, 200:210] = np.nan
    shelf.cube("holes", dataset)
    found = aggregate(shelf, "holes", BBox(-180, -90, 180, 90))
    hole = np.zeros((180, 360), dtype=bool)
    hole[70:80, 200:210] = True  # rows count from the north
    for format in ("png", "webp"):
        picture = found.picture(format=format, colormap="RdYlBu")
        alpha = np.asarray(Image.open(io.BytesIO(picture.content)).convert("RGBA"))[..., 3]
        assert (alpha == 0)[hole].all() and not (alpha == 0)[~hole].any()
    jpeg = np.asarray(Image.open(io.BytesIO(found.picture(format="jpeg").content)).convert("RGB"))
    assert jpeg[73:77, 203:207].min() > 230
    assert found.statistics.valid_pixels == 180 * 360 - 100


def test_check_6_npy_opens_with_numpy_and_has_its_header(shelf: Shelf) -> None:
    shelf.cube("cube", regular_cube(*one_degree()))
    content = aggregate(shelf, "cube", BBox(0, 0, 20, 10)).to_raster(format="npy").content
    assert content.startswith(b"\x93NUMPY")
    values = np.load(io.BytesIO(content), allow_pickle=False)
    assert values.shape == (10, 20)
    assert values[0, 0] == pytest.approx(float(field(np.array(0.5), np.array(9.5))) + 1000)


def test_an_uneven_grid_is_told_on_an_even_one_and_says_so(shelf: Shelf) -> None:
    lat = np.array([-60.0, -20.0, 0.0, 10.0, 20.0, 60.0])
    lon = np.arange(0, 360, 30.0)
    values = np.broadcast_to(lat[:, np.newaxis], (2, 6, 12))
    shelf.cube("uneven", fields_cube(np.array(["2000-01-01", "2000-02-01"], "M8[s]"), values, lat, lon))
    found = aggregate(shelf, "uneven", BBox(-180, -80, 180, 80))
    values, transform, tags = pixels(found)
    assert tags["method"] == "mean of each cell over 2 steps, nearest cell on an even grid"
    y = transform.f + transform.e * (np.arange(values.shape[0]) + 0.5)
    inside = (y > -79) & (y < 79)
    nearest = lat[np.abs(lat[np.newaxis] - y[inside][:, np.newaxis]).argmin(axis=1)]
    assert (values[inside, 0] == nearest).mean() > 0.95  # but for pixels half-way


def test_a_curvilinear_field_keeps_its_places(shelf: Shelf) -> None:
    dataset = curvilinear_cube()
    shelf.cube("ocean", dataset)
    found = aggregate(shelf, "ocean", BBox(165, 10, -175, 30), aggregation="max")
    array = found.to_xarray()
    at = np.argwhere(np.isfinite(found.values))
    assert len(at) == found.statistics.valid_pixels > 100
    original = dataset["tos"].isel(time=1).values
    for j, i in at[::17]:
        away = np.hypot(dataset["longitude"] - array["lon"][j, i], dataset["latitude"] - array["lat"][j, i])
        assert original[np.unravel_index(int(away.values.argmin()), away.shape)] == found.values[j, i]
    values, _, tags = pixels(found)
    assert np.isfinite(values).any()
    assert tags["method"].endswith("nearest cell by great circle on an even grid")
    assert found.weighting == tags["weighting"] == "area of each cell whose centre lies in the region"
    found.plot()


def test_a_file_says_what_is_in_it(shelf: Shelf, tmp_path: Path) -> None:
    shelf.cube("cube", regular_cube(*one_degree()), properties={"version": "7"})
    found = aggregate(shelf, "cube", BBox(-5, 0, 5, 10), aggregation="max")
    said = {"variable": "tas", "units": "K", "dataset_version": "7", "weighting": found.weighting}
    _, _, tags = pixels(found)
    assert {name: tags[name] for name in said} == said
    assert tags["time"] == "2000-01-01T00:00:00/2000-01-03T00:00:00"

    found.to_csv(tmp_path / "field.csv")
    table = pd.read_csv(tmp_path / "field.csv", dtype={"dataset_version": str})
    assert {name: table[name].unique().tolist() for name in said} == {name: [value] for name, value in said.items()}
    expected = field(table["lon"].to_numpy(), table["lat"].to_numpy()) + 2000
    np.testing.assert_allclose(table["value"], expected)

    found.to_parquet(tmp_path / "field.parquet")
    parquet = pq.read_table(tmp_path / "field.parquet")
    assert parquet.to_pandas()["value"].tolist() == table["value"].tolist()
    assert json.loads(parquet.schema.metadata[PARQUET_KEY])["method"] == "max of each cell over 3 steps"

    found.to_netcdf(tmp_path / "field.nc")
    with xr.open_dataset(tmp_path / "field.nc", engine="h5netcdf") as dataset:
        np.testing.assert_allclose(dataset["tas"], found.values)
        assert dataset["tas"].attrs["cell_methods"] == "time: maximum"
        assert dataset.attrs["geoetl_dataset_version"] == "7"
        assert dataset["lon"].attrs["units"] == "degrees_east"


@pytest.mark.parametrize("calendar", ["360_day", "noleap", "proleptic_gregorian"])
def test_statistics_as_files_keep_dates_of_their_calendar(shelf: Shelf, tmp_path: Path, calendar: str) -> None:
    dates = days(calendar, *[(2000, month, day) for month in (1, 2, 3) for day in (1, 15, 28)])
    values = np.broadcast_to(np.arange(9.0)[:, np.newaxis, np.newaxis], (9, 2, 2))
    dataset = fields_cube(dates, values, np.array([-45.0, 45.0]), np.array([0.0, 180.0]))
    shelf.cube("days", dataset, properties={"version": "2"})
    found: RegionalSeries = shelf.platform.cube.statistics(COLLECTION, "days", BOXES[2], percentile=10)
    found.to_netcdf(tmp_path / "series.nc")
    with xr.open_dataset(tmp_path / "series.nc", engine="h5netcdf", decode_timedelta=False) as read:
        assert read["mean"].values.tolist() == pytest.approx([1, 4, 7])
        assert str(read["time"].values[1])[:10] == "2000-02-01"
        assert read["time_bnds"].values[1][1] == read["time"].values[2]
        assert read["time"].encoding["calendar"] == calendar
        assert read["mean"].attrs["units"] == "mm"
        assert read.attrs["geoetl_weighting"] == "area of each cell within the region"
        assert read["percentile"].values.tolist() == pytest.approx([1, 4, 7])
    table = pd.read_csv(io.StringIO(found.to_csv() or ""), dtype={"dataset_version": str})
    assert table["end"].tolist()[1] == ("2000-02-30" if calendar == "360_day" else "2000-02-28") or calendar[0] == "p"
    assert table["dataset_version"].unique().tolist() == ["2"]
    assert table[["mean", "p10"]].to_numpy().tolist() == [pytest.approx([v, v]) for v in (1, 4, 7)]
    parquet = pq.read_table(io.BytesIO(found.to_parquet() or b""))
    assert parquet.to_pandas()["time"].tolist() == ["2000-01", "2000-02", "2000-03"]


def test_a_field_with_too_many_cells_is_refused_with_its_size(shelf: Shelf) -> None:
    shelf.cube("cube", regular_cube(*one_degree()))
    from geoetl.access.cost import QueryLimits

    tight = QueryLimits(values=1000, chunks=100, bytes=10**9, points=1)
    with pytest.raises(LimitExceeded, match="64,800 values; the limit is 1,000") as refused:
        aggregate(shelf, "cube", BOXES[2], limits=tight)
    assert (refused.value.field, refused.value.hint) == ("bbox", "Give a region of at most 0.015 times the size.")
    estimate = shelf.platform.cube.estimate_aggregate(COLLECTION, "cube", BOXES[2], limits=tight)
    assert (estimate.values, estimate.fits) == (64_800, False)


def test_a_named_region_is_named_in_the_answer(shelf: Shelf) -> None:
    shelf.cube("cube", regular_cube(*one_degree()))
    region = Region.from_shape(TURNED.geometry, name="Turned")
    found = aggregate(shelf, "cube", region)
    assert found.region_name == "Turned"
    assert "Turned" in found._repr_html_()
    assert "Turned" in str(found.plot().opts.get("plot").kwargs["title"])
    document = json.loads(found.to_json(), parse_constant=pytest.fail)
    assert "values" not in document and document["shape"] == list(found.values.shape)
