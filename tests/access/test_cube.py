"""Cubes: what is in them, the series at a point, pictures of a step."""

import json
import threading
from typing import Any

import numpy as np
import pytest
import xarray as xr

from geoetl.access import Series, ValueRange
from geoetl.core.errors import InvalidParameter, LimitExceeded, NotFound, UnreadableFile
from geoetl.core.spatial import Point
from tests.access.conftest import COLLECTION, TRANSPARENT, Shelf, indices, latitudes, longitudes
from tests.access.cubes import (
    curvilinear_cube,
    dated_cube,
    days,
    field,
    levels_cube,
    one_degree,
    projected_cube,
    regular_cube,
)

CONVENTIONS: dict[str, dict[str, Any]] = {
    "0-360, south first": {"west": 0.0},
    "-180-180, south first": {"west": -180.0},
    "-180-180, north first": {"west": -180.0, "south_up": False},
    "0-360, north first": {"west": 0.0, "south_up": False},
    "from -20": {"west": -20.0},
}


@pytest.fixture(params=CONVENTIONS)
def any_convention(request: pytest.FixtureRequest, shelf: Shelf) -> str:
    """Give the id of a global cube of one degree in one of the conventions."""
    lon, lat = one_degree(**CONVENTIONS[request.param])
    return shelf.cube("globe", regular_cube(lon, lat))


@pytest.mark.parametrize(
    "place", [(0.5, 0.5), (-0.5, 40.5), (179.5, -60.5), (-179.5, 89.5), (200.5, -89.5), (359.9, 0.1)]
)
def test_a_series_is_the_same_in_every_convention(
    shelf: Shelf, any_convention: str, place: tuple[float, float]
) -> None:
    series = shelf.platform.cube.series(COLLECTION, any_convention, Point(*place))
    expected = float(field(np.array(place[0]), np.array(place[1])))
    assert series.values == pytest.approx((expected, expected + 1000, expected + 2000))
    assert series.distance_km < 80


def test_a_picture_is_the_same_in_every_convention(shelf: Shelf, any_convention: str) -> None:
    picture = shelf.platform.cube.preview(COLLECTION, any_convention, max_size=720, rescale=[0, 254], colormap="gray")
    seen = indices(picture)
    assert (picture.bbox.west, picture.bbox.east) == (-180, 180)
    expected = np.minimum(np.rint(np.floor(np.mod(longitudes(picture), 360)) + 0.5), 254)
    assert np.abs(seen[picture.height // 2] - expected).max() <= 1


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326"])
@pytest.mark.parametrize("south_up", [True, False])
def test_north_is_up_in_pictures(shelf: Shelf, south_up: bool, crs: str) -> None:
    lon, lat = one_degree(south_up=south_up)
    cube = regular_cube(lon, lat)
    cube["tas"] = cube["tas"] * 0 + cube["lat"] + 90
    item = shelf.cube("latitudes", cube)
    picture = shelf.platform.cube.preview(COLLECTION, item, rescale=[0, 254], colormap="gray", crs=crs)
    assert np.abs(indices(picture)[:, 7] - 90.0 - latitudes(picture)).max() <= 1.01


@pytest.mark.parametrize("names", [("time", "latitude", "longitude"), ("valid_time", "y", "x"), ("Time", "Lat", "LON")])
def test_coordinates_are_found_by_known_names_without_any_metadata(shelf: Shelf, names: tuple[str, str, str]) -> None:
    lon, lat = one_degree()
    item = shelf.cube("bare", regular_cube(lon, lat, names=names, cf=False))
    series = shelf.platform.cube.series(COLLECTION, item, Point(12.5, 40.5))
    assert series.values[0] == pytest.approx(12.13)
    assert series.times[0] == "2000-01-01T00:00:00"


def test_coordinates_are_found_by_cf_metadata_whatever_their_names(shelf: Shelf) -> None:
    lon, lat = one_degree()
    cube = regular_cube(lon, lat, names=("t", "rows", "columns"))
    cube["t"].attrs["standard_name"] = "time"
    item = shelf.cube("cf", cube)
    described = shelf.platform.cube.describe(COLLECTION, item)
    assert (described.grid, len(described.times), described.dimensions) == ("regular", 3, ())
    assert shelf.platform.cube.series(COLLECTION, item, Point(12.5, 40.5)).values[0] == pytest.approx(12.13)


@pytest.mark.parametrize("west", [150.0, -210.0])
def test_a_region_over_the_antimeridian_is_one_narrow_picture(shelf: Shelf, west: float) -> None:
    lon, lat = west + 0.5 + np.arange(60.0), np.arange(-29.5, 30)
    item = shelf.cube("pacific", regular_cube(lon, lat))
    picture = shelf.platform.cube.preview(COLLECTION, item, rescale=[0, 254], colormap="gray", max_size=120)
    assert picture.bbox.as_list() == pytest.approx([150, -30, -150, 30])
    assert np.abs(indices(picture)[60] - np.minimum(longitudes(picture), 254)).max() <= 1
    read = shelf.platform.cube.series
    assert [read(COLLECTION, item, Point(lon, 0.5)).values[0] for lon in (179.5, 180.5, -179.5)] == pytest.approx(
        [179.09, 180.09, 180.09]
    )
    with pytest.raises(NotFound, match="longitude 150 to -150"):
        read(COLLECTION, item, Point(0, 0))


def test_a_seam_written_as_179_then_minus_179_is_no_gap(shelf: Shelf) -> None:
    lon = (np.arange(150.5, 210) + 180) % 360 - 180
    item = shelf.cube("seam", regular_cube(lon, np.arange(-29.5, 30)))
    assert shelf.platform.cube.describe(COLLECTION, item).bbox.as_list() == pytest.approx([150, -30, -150, 30])
    assert shelf.platform.cube.series(COLLECTION, item, Point(-170.5, 0.5)).values[0] == pytest.approx(189.09)


def test_the_nearest_cell_agrees_with_xarray(shelf: Shelf) -> None:
    lat = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(32)[0]))  # a Gaussian grid: unequal rows
    lon = np.arange(64) * 5.625
    cube = regular_cube(lon, lat)
    cube["tas"] = cube["tas"] * 0 + np.random.default_rng(0).random((3, 32, 64))
    item = shelf.cube("gaussian", cube)
    for x, y in np.random.default_rng(1).uniform([5, -85], [350, 85], (20, 2)):
        expected = cube["tas"].sel(lat=y, lon=x, method="nearest")
        series = shelf.platform.cube.series(COLLECTION, item, Point(x, y))
        assert series.values == tuple(expected.values.tolist())
        assert series.cell.lat == float(expected["lat"])
    # The rows end short of the poles, and the globe does not.
    assert shelf.platform.cube.describe(COLLECTION, item).bbox.as_list() == [-180, -90, 180, 90]
    assert shelf.platform.cube.series(COLLECTION, item, Point(0, 90)).values[0] is not None


def test_swapped_coordinates_are_noticed(shelf: Shelf) -> None:
    item = shelf.cube("italy", regular_cube(np.arange(6.5, 19), np.arange(36.5, 47)))
    with pytest.raises(NotFound) as error:
        shelf.platform.cube.series(COLLECTION, item, Point(41.9, 12.5))
    assert error.value.hint == "Is the order lon,lat? 12.5,41.9 would lie inside."


def test_a_360_day_calendar_keeps_its_30th_of_february(shelf: Shelf) -> None:
    dates = days("360_day", (2000, 2, 28), (2000, 2, 29), (2000, 2, 30), (2000, 3, 1))
    item = shelf.cube("tas_360day", dated_cube(dates))
    described = shelf.platform.cube.describe(COLLECTION, item)
    assert described.calendar == "360_day"
    assert described.times[2] == "2000-02-30T12:00:00"
    series = shelf.platform.cube.series(COLLECTION, item, Point(0, 0))
    frame = series.to_dataframe()
    assert isinstance(frame.index, xr.CFTimeIndex)
    assert (frame.index[2].month, frame.index[2].day, frame.index[2].calendar) == (2, 30, "360_day")
    assert frame["pr"].tolist() == [0, 1, 2, 3]
    picture = shelf.platform.cube.preview(COLLECTION, item, time_index=3)
    assert picture.time == "2000-02-30T12:00:00"


def test_a_noleap_calendar_never_has_a_29th_of_february(shelf: Shelf) -> None:
    dates = days("noleap", (2000, 2, 28), (2000, 3, 1))
    item = shelf.cube("tas_noleap", dated_cube(dates))
    series = shelf.platform.cube.series(COLLECTION, item, Point(0, 0))
    assert (series.calendar, series.times) == ("noleap", ("2000-02-28T12:00:00", "2000-03-01T12:00:00"))


def test_years_outside_of_nanoseconds_have_their_dates(shelf: Shelf) -> None:
    item = shelf.cube("ancient", dated_cube(days("standard", (1, 1, 1), (850, 6, 1))))
    series = shelf.platform.cube.series(COLLECTION, item, Point(0, 0))
    assert series.times == ("0001-01-01T12:00:00", "0850-06-01T12:00:00")
    assert [str(at)[:10] for at in series.to_dataframe().index] == ["0001-01-01", "0850-06-01"]


def test_an_index_of_the_series_is_the_step_of_the_picture(shelf: Shelf) -> None:
    lon, lat = one_degree()
    item = shelf.cube("steps", regular_cube(lon, lat, steps=5))
    frame = shelf.platform.cube.series(COLLECTION, item, Point(100.5, 0.5)).to_dataframe()
    assert frame["time_index"].tolist() == [1, 2, 3, 4, 5]
    for row in frame.itertuples():
        picture = shelf.platform.cube.preview(
            COLLECTION, item, time_index=row.time_index, rescale=[0, 5080], crs="EPSG:4326", max_size=360
        )
        assert picture.time == row.Index.isoformat()
        assert indices(picture)[89, 280] == round(row.tas / 20)


@pytest.mark.parametrize("step", [0, 4, -1, 1.5, True, "1"])
def test_a_step_that_is_not_there_is_told_the_range(shelf: Shelf, step: Any) -> None:
    item = shelf.cube("short", regular_cube(*one_degree()))
    with pytest.raises(InvalidParameter) as error:
        shelf.platform.cube.preview(COLLECTION, item, time_index=step)
    assert "expected 1 to 3 (2000-01-01T00:00:00 to 2000-01-03T00:00:00)" in error.value.detail
    assert error.value.field == "time_index"


def test_a_cube_without_time_has_one_value_and_one_picture(shelf: Shelf) -> None:
    item = shelf.cube("fixed", regular_cube(*one_degree()).isel(time=0, drop=True))
    series = shelf.platform.cube.series(COLLECTION, item, Point(0.5, 0.5))
    assert (series.times, series.calendar, len(series.values)) == ((), None, 1)
    assert len(series.to_dataframe()) == 1
    assert shelf.platform.cube.preview(COLLECTION, item).time is None


def test_extra_dimensions_are_picked_by_value(shelf: Shelf) -> None:
    item = shelf.cube("levels", levels_cube())
    described = shelf.platform.cube.describe(COLLECTION, item)
    assert [(d.name, d.values, d.units) for d in described.dimensions] == [
        ("plev", (100_000, 85_000, 50_000), "Pa"),
        ("member", ("r1i1p1f1", "r2i1p1f1"), None),
    ]
    assert described.sizes == {"time": 2, "plev": 3, "member": 2, "lat": 2, "lon": 4}
    read = shelf.platform.cube.series
    place = Point(90, 45)
    assert read(COLLECTION, item, place).values == (0, 1)
    assert read(COLLECTION, item, place).sel == {"plev": 100_000, "member": "r1i1p1f1"}
    assert read(COLLECTION, item, place, sel={"plev": 50_000, "member": "r2i1p1f1"}).values == (210, 211)
    assert read(COLLECTION, item, place, sel={"plev": "85000"}).values == (100, 101)
    picture = shelf.platform.cube.preview(
        COLLECTION, item, sel={"plev": 50_000}, time_index=2, rescale=[0, 254], colormap="gray"
    )
    assert (indices(picture) == 201).all()


@pytest.mark.parametrize(
    ("sel", "said", "hint"),
    [
        ({"plev": 92_500}, "plev=92500 is not one of its values: 100000, 85000, 50000 Pa", None),
        ({"member": "r1i1p1f2"}, "r1i1p1f1, r2i1p1f1", "Did you mean 'r1i1p1f1'?"),
        ({"plevel": 1}, "sel names 'plevel'", "Did you mean 'plev'?"),
        ({"time": 1}, "sel names 'time'", "Time is chosen with time_index, from 1; a series has every step."),
        ({"lat": 1}, "sel names 'lat'", "The place is chosen with location."),
    ],
)
def test_a_wrong_sel_is_told_the_valid_values(shelf: Shelf, sel: dict[str, Any], said: str, hint: str | None) -> None:
    item = shelf.cube("levels", levels_cube())
    with pytest.raises(InvalidParameter) as error:
        shelf.platform.cube.series(COLLECTION, item, Point(0, 45), sel=sel)
    assert said in error.value.detail
    assert error.value.hint == hint
    assert error.value.field == "sel"


def test_variables_are_listed_without_bounds_and_a_wrong_one_is_answered(shelf: Shelf) -> None:
    item = shelf.cube("levels", levels_cube())
    described = shelf.platform.cube.describe(COLLECTION, item)
    assert [variable.name for variable in described.variables] == ["ta", "orog"]
    assert described.default_variable == "ta"
    assert shelf.platform.cube.series(COLLECTION, item, Point(0, 45), variable="orog").values == (7,)
    with pytest.raises(InvalidParameter, match="Did you mean 'orog'"):
        shelf.platform.cube.series(COLLECTION, item, Point(0, 45), variable="orgo")


def test_the_item_says_which_variable_it_is_about(shelf: Shelf) -> None:
    described = {"cube:variables": {"lat_bnds": {"type": "auxiliary"}, "orog": {"type": "data"}}}
    render = {"renders": {"default": {"assets": ["data"], "rescale": [[0, 50]], "colormap_name": "turbo"}}}
    item = shelf.cube("about-orog", levels_cube(), properties=described | render)
    picture = shelf.platform.cube.preview(COLLECTION, item)
    assert (picture.variable, picture.rescale, picture.colormap) == ("orog", (ValueRange(0, 50),), "turbo")
    assert shelf.platform.cube.preview(COLLECTION, item, variable="ta").rescale != (ValueRange(0, 50),)


def test_a_curvilinear_grid_is_read_at_the_nearest_cell_by_great_circle(shelf: Shelf) -> None:
    cube = curvilinear_cube()
    item = shelf.cube("curvilinear", cube)
    lon, lat = cube["longitude"].values, cube["latitude"].values
    for x, y in [(172.2, 21.4), (-178.9, 22.0), (165.0, 15.0)]:
        a, b = np.radians(lat), np.radians(y)
        cosine = np.sin(a) * np.sin(b) + np.cos(a) * np.cos(b) * np.cos(np.radians(lon - x))
        j, i = np.unravel_index(np.argmax(np.where(lat < 90, cosine, -2)), lat.shape)
        series = shelf.platform.cube.series(COLLECTION, item, Point(x, y))
        assert series.values == (j * 100 + i, j * 100 + i + 0.5)
        assert series.method == "nearest cell by great circle"
        assert series.distance_km == pytest.approx(6371.0088 * np.arccos(cosine[j, i]), rel=1e-4)
    with pytest.raises(NotFound, match="lies outside"):
        shelf.platform.cube.series(COLLECTION, item, Point(0, 0))


def test_each_pixel_of_a_curvilinear_grid_is_its_nearest_cell_by_great_circle(shelf: Shelf) -> None:
    cube = curvilinear_cube()
    item = shelf.cube("curvilinear", cube)
    described = shelf.platform.cube.describe(COLLECTION, item)
    assert described.grid == "curvilinear"
    assert described.bbox.crosses_antimeridian
    picture = shelf.platform.cube.preview(
        COLLECTION, item, rescale=[0, 5080], colormap="gray", crs="EPSG:4326", max_size=64
    )
    drawn = indices(picture)
    lon, lat = longitudes(picture), latitudes(picture)
    compared = 0
    for row, column in [(r, c) for r in range(4, picture.height, 9) for c in range(4, picture.width, 9)]:
        if drawn[row, column] == TRANSPARENT:
            continue
        (value, _) = shelf.platform.cube.series(
            COLLECTION, item, Point((lon[column] + 180) % 360 - 180, lat[row])
        ).values
        assert value is not None
        assert drawn[row, column] == pytest.approx(value / 20, abs=0.51)
        compared += 1
    assert compared > 5
    assert picture.method == "nearest cell by great circle"


def test_a_projected_grid_is_read_through_its_grid_mapping(shelf: Shelf) -> None:
    import pyproj

    cube = projected_cube()
    item = shelf.cube("polar", cube)
    lon, lat = pyproj.Transformer.from_crs(3413, "OGC:CRS84", always_xy=True).transform(-298e3, 103e3)
    series = shelf.platform.cube.series(COLLECTION, item, Point(lon, lat))
    assert series.values == (float(cube["snow"].sel(x=-300e3, y=100e3)),)
    assert shelf.platform.cube.describe(COLLECTION, item).grid == "projected"


def test_a_cube_without_places_says_what_it_has(shelf: Shelf) -> None:
    item = shelf.cube("lost", xr.Dataset({"a": (("p", "q"), np.zeros((2, 2)))}))
    with pytest.raises(InvalidParameter, match="No variable of this cube has longitude and latitude"):
        shelf.platform.cube.describe(COLLECTION, item)


def test_missing_values_are_none_in_json_and_transparent_in_pictures(shelf: Shelf) -> None:
    cube = regular_cube(*one_degree())
    cube["tas"] = cube["tas"].where(cube["lon"] > 180)
    item = shelf.cube("half", cube)
    series = shelf.platform.cube.series(COLLECTION, item, Point(90.5, 0.5))
    assert series.values == (None, None, None)
    assert json.loads(series.to_json(), parse_constant=pytest.fail)["values"] == [None, None, None]
    assert np.isnan(series.to_dataframe()["tas"]).all()
    seen = indices(shelf.platform.cube.preview(COLLECTION, item, max_size=360))
    assert (seen[:, 182:] == TRANSPARENT).all()
    assert (seen[:, 2:178] != TRANSPARENT).all()


def test_packed_integers_are_unpacked(shelf: Shelf) -> None:
    cube = regular_cube(*one_degree())
    packed = {"tas": {"dtype": "int16", "scale_factor": 0.1, "add_offset": 100.0, "_FillValue": -32768}}
    item = shelf.cube("packed", cube, encoding=packed)
    assert shelf.platform.cube.series(COLLECTION, item, Point(12.5, 40.5)).values[0] == pytest.approx(12.1, abs=0.06)


def test_a_constant_field_is_drawn(shelf: Shelf) -> None:
    cube = regular_cube(*one_degree()) * 0
    item = shelf.cube("constant", cube)
    assert len(np.unique(indices(shelf.platform.cube.preview(COLLECTION, item)))) == 1


def test_references_give_what_their_source_gives(shelf: Shelf) -> None:
    cube = regular_cube(*one_degree(), steps=6).assign_coords(
        time=days("noleap", *((2000, m, 15) for m in range(1, 7)))
    )
    chunks = {"tas": {"chunksizes": (1, 180, 360), "zlib": True, "shuffle": True}}
    item = shelf.references("virtual", cube, encoding=chunks)
    series = shelf.platform.cube.series(COLLECTION, item, Point(12.5, 40.5))
    assert series.values == tuple(cube["tas"].sel(lon=12.5, lat=40.5).values.tolist())
    assert (series.calendar, series.source.asset) == ("noleap", "references")
    xr.testing.assert_equal(shelf.platform.cube.open(COLLECTION, item)["tas"].drop_attrs(), cube["tas"].drop_attrs())


def test_a_damaged_source_is_an_error_and_never_a_number(shelf: Shelf) -> None:
    cube = regular_cube(*one_degree(), steps=6)
    chunks = {"tas": {"chunksizes": (1, 180, 360), "zlib": True}}
    item = shelf.references("virtual", cube, encoding=chunks)
    shelf.platform.cube.describe(COLLECTION, item)
    source = shelf.folder / "virtual-source.nc"
    content = bytearray(source.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = b"\xff" * 2000
    source.write_bytes(content)
    with pytest.raises(UnreadableFile, match="cannot be read"):
        shelf.platform.cube.series(COLLECTION, item, Point(12.5, 40.5))


def test_an_opened_cube_may_be_closed_and_changed_without_harm(shelf: Shelf) -> None:
    item = shelf.cube("globe", regular_cube(*one_degree()))
    cube = shelf.platform.cube.open(COLLECTION, item)
    cube.attrs["mine"] = 1
    cube["tas"].attrs["units"] = "?"
    del cube["tas"]
    cube.close()
    assert shelf.platform.cube.series(COLLECTION, item, Point(0, 0)).units == "K"
    assert "mine" not in shelf.platform.cube.open(COLLECTION, item).attrs


def test_a_new_version_of_an_item_is_seen_at_once(shelf: Shelf) -> None:
    cube = regular_cube(*one_degree())
    item = shelf.cube("changing", cube)
    first = shelf.platform.cube.series(COLLECTION, item, Point(0.5, 0.5))
    (shelf.folder / f"{item}.nc").unlink()
    shelf.cube("changing", cube + 5)
    second = shelf.platform.cube.series(COLLECTION, item, Point(0.5, 0.5))
    assert second.values[0] == pytest.approx(first.values[0] + 5)
    assert second.source.catalog_version > first.source.catalog_version


def test_many_threads_read_one_cube(shelf: Shelf) -> None:
    item = shelf.cube("globe", regular_cube(*one_degree()), encoding={"tas": {"zlib": True, "chunksizes": (1, 60, 60)}})
    answers: list[Series] = []

    def ask(column: int) -> None:
        for row in range(-8, 8):
            answers.append(shelf.platform.cube.series(COLLECTION, item, Point(column + 0.5, row * 10 + 0.5)))

    threads = [threading.Thread(target=ask, args=(column,)) for column in range(0, 160, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 128
    for series in answers:
        expected = float(field(np.array(series.location.lon), np.array(series.location.lat)))
        assert series.values[0] == pytest.approx(expected)


def test_pictures_over_the_limit_are_refused(shelf: Shelf) -> None:
    with pytest.raises(LimitExceeded, match="max_size=5000 asks for up to 5000 x 5000 pixels"):
        shelf.platform.cube.preview(COLLECTION, "does-not-exist", max_size=5000)


def test_a_series_says_how_it_was_made(shelf: Shelf) -> None:
    item = shelf.cube("globe", regular_cube(*one_degree()), properties={"version": "2.1"})
    series = shelf.platform.cube.series(COLLECTION, item, Point(12.2, 40.9))
    assert (series.variable, series.units, series.method, series.weighting) == ("tas", "K", "nearest cell", "none")
    assert (series.cell.lon, series.cell.lat) == (12.5, 40.5)
    assert series.source.model_dump() == {
        "collection": COLLECTION,
        "item": item,
        "asset": "data",
        "dataset_version": "2.1",
        "catalog_version": shelf.platform.catalog.version(),
    }
    assert series.model_dump()["location"] == [12.2, 40.9]
    frame = series.to_dataframe()
    assert list(frame.columns) == ["tas", "time_index", "lon", "lat", "units"]
    assert frame.attrs["dataset_version"] == "2.1"
    assert "Air temperature" in series._repr_html_()
    assert "tas" in shelf.platform.cube.describe(COLLECTION, item)._repr_html_()


@pytest.mark.parametrize("calendar", ["standard", "360_day"])
def test_a_plot_needs_no_arguments(shelf: Shelf, calendar: str) -> None:
    import holoviews as hv

    item = shelf.cube("plotted", dated_cube(days(calendar, (2000, 1, 30), (2000, 2, 29), (2000, 3, 30))))
    curve = shelf.platform.cube.series(COLLECTION, item, Point(1, 5)).plot()
    assert isinstance(curve, hv.Curve)
    figure = hv.render(curve, backend="bokeh")
    assert figure.yaxis[0].axis_label == "pr [mm]"
    assert figure.title.text == "pr at 0°E 20°N"
