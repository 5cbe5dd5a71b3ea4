"""What a person can do on the page *Explore*, without a browser and without Panel."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import xarray as xr

import geoetl
from dashboards.explore.layer import AS_COLOURS, AUTO_RANGE
from dashboards.explore.listing import Kind
from dashboards.explore.model import ExploreModel
from dashboards.explore.reading import MAX_PLACES
from geoetl.core.errors import NotFound
from geoetl.core.spatial import BBox, Point
from geoetl.platform import Platform
from tests.catalogued import CLIMATE, HILL, IMAGES, LAT, LON, MODEL, PLACES, POLAR, SHIRES, TINTED

HILL_KEY, TINTED_KEY = f"{IMAGES}/{HILL}", f"{IMAGES}/{TINTED}"
MODEL_KEY, POLAR_KEY, SHIRES_KEY = f"{CLIMATE}/{MODEL}", f"{CLIMATE}/{POLAR}", f"{PLACES}/{SHIRES}"
HERE = Point(LON, LAT)


def listed(model: ExploreModel) -> list[str]:
    assert model.listing is not None
    return [item.key for group in model.listing.groups for item in group.items]


def test_a_model_does_not_import_panel() -> None:
    heavy = "('panel', 'bokeh', 'holoviews')"
    probe = f"import sys, dashboards.explore.model; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- finding ---------------------------------------------------------------------------------------------------------


def test_the_list_has_every_collection_with_titles_and_kinds(model: ExploreModel) -> None:
    assert model.listing is not None
    assert [group.title for group in model.listing.groups] == ["Boundaries", "Climate models", "Satellite images"]
    kinds = {item.title: item.kind for group in model.listing.groups for item in group.items}
    assert kinds["A hill"] is Kind.RASTER
    assert kinds["A model with 360 days"] is Kind.CUBE
    assert kinds["Shires"] is Kind.VECTOR


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("hill", [HILL_KEY]),
        ("HILL satellite", [HILL_KEY]),
        ("satellite", [HILL_KEY, TINTED_KEY]),
        ("two shires", [SHIRES_KEY]),
        ("360", [MODEL_KEY]),
        ("100%", []),
        ("model_360day", [MODEL_KEY]),
        ("modelx360day", []),
    ],
)
def test_all_words_have_to_occur_in_an_item_or_its_collection(
    model: ExploreModel, words: str, found: list[str]
) -> None:
    model.look_for(words=words)
    assert listed(model) == found


def test_a_time_lists_what_touches_it(model: ExploreModel) -> None:
    model.look_for(since="2000-03", until="2001")
    assert set(listed(model)) == {MODEL_KEY, POLAR_KEY}
    model.look_for(since="2010", until="")
    assert set(listed(model)) == {HILL_KEY, TINTED_KEY, SHIRES_KEY}


def test_a_wrong_time_is_told_beside_its_field_and_keeps_the_list(model: ExploreModel) -> None:
    before = listed(model)
    model.look_for(since="the nineties")
    assert "the nineties" in model.time_problem
    assert model.problem is None
    assert listed(model) == before
    model.look_for(since="1990")
    assert model.time_problem == ""


def test_what_the_map_shows_can_be_listed_alone(model: ExploreModel) -> None:
    model.look_for(in_view=True)
    model.look_at(BBox(100, -40, 140, -10))
    assert listed(model) == [MODEL_KEY]
    model.look_at(BBox(170, 40, 8, 50))
    assert set(listed(model)) == {MODEL_KEY, HILL_KEY, TINTED_KEY, SHIRES_KEY}


def test_an_empty_catalogue_is_no_error(home: Path) -> None:
    empty = ExploreModel(geoetl.connect(home))
    empty.search()
    assert empty.listing is not None
    assert empty.listing.collections == 0
    assert empty.problem is None


def test_what_another_process_registers_appears_by_itself(home: Path) -> None:
    from tests import catalogued

    model = ExploreModel(geoetl.connect(home))
    model.search()
    assert listed(model) == []
    before = model.listing
    model.refresh()
    assert model.listing is before
    catalogued.fill(geoetl.connect(home), home / "shelf")
    model.refresh()
    assert len(listed(model)) == 5


# ---- opening and drawing ---------------------------------------------------------------------------------------------


def test_opening_a_raster_draws_it_where_it_lies(model: ExploreModel) -> None:
    model.open(HILL_KEY)
    layer = model.active
    assert layer is not None
    assert layer.picture is not None
    assert layer.picture.media_type == "image/png"
    west, north = layer.corners()[0]
    assert (west, north) == pytest.approx((5.0, 48.0))
    assert layer.picture.legend is not None
    assert layer.picture.legend.units == "m"
    assert model.target is not None
    assert model.target.bbox == BBox(5, 45, 9, 48)


def test_a_raster_of_three_bands_can_be_shown_as_colours_or_band_by_band(model: ExploreModel) -> None:
    model.open(TINTED_KEY)
    assert model.variable == AS_COLOURS
    assert model.active is not None
    assert model.active.picture is not None
    assert model.active.picture.colormap is None
    model.choose(variable="green", colormap="magma")
    assert model.active.picture is not None
    assert model.active.picture.colormap == "magma"
    assert model.active.picture.variable == "green"


def test_a_cube_offers_its_times_in_its_own_calendar(model: ExploreModel) -> None:
    model.open(MODEL_KEY)
    layer = model.active
    assert layer is not None
    assert layer.contents is not None
    assert layer.contents.calendar == "360_day"
    assert len(layer.times) == 36
    model.choose(time_index=2)
    assert model.active is not None
    assert model.active.time == "2000-02-16T12:00:00"
    assert model.active.time_text == "2000-02-16"


def test_the_colours_mean_the_same_in_every_step_and_anew_on_every_level(model: ExploreModel) -> None:
    model.open(MODEL_KEY)
    assert model.active is not None
    assert model.active.picture is not None
    first = model.active.picture.rescale
    model.choose(time_index=7)
    assert model.active.picture is not None
    assert model.active.picture.time == "2000-07-16T12:00:00"
    assert model.active.picture.rescale == first
    model.choose(selection={"plev": 50_000.0})
    assert model.active.picture is not None
    assert model.active.picture.rescale != first
    model.choose(stretch=AUTO_RANGE)
    assert model.active.picture is not None


def test_a_cube_beyond_the_mercator_map_is_read_at_its_middle_unasked(model: ExploreModel) -> None:
    model.open(POLAR_KEY)
    layer = model.active
    assert layer is not None
    assert layer.is_beyond_map
    assert layer.picture is None
    assert layer.problem is None
    assert model.target is not None
    assert model.target.globe
    assert [place.point.lat for place in model.places] == [88.0]
    assert model.readings[0].series is not None


def test_layers_are_stacked_moved_hidden_and_removed(model: ExploreModel) -> None:
    model.open(HILL_KEY)
    model.open(SHIRES_KEY)
    model.open(MODEL_KEY)
    keys = [layer.key for layer in model.layers]
    assert keys == [MODEL_KEY, SHIRES_KEY, HILL_KEY]
    model.move(MODEL_KEY, 2)
    model.move(HILL_KEY, -9)
    assert [layer.key for layer in model.layers] == [HILL_KEY, SHIRES_KEY, MODEL_KEY]
    model.set_visible(SHIRES_KEY, False)
    model.set_opacity(SHIRES_KEY, 1.7)
    shires = model.layer(SHIRES_KEY)
    assert shires is not None
    assert (shires.visible, shires.opacity) == (False, 1.0)
    model.remove(MODEL_KEY)
    assert model.opened == ""
    assert len(model.layers) == 2
    model.open(SHIRES_KEY)
    assert [layer.key for layer in model.layers] == [HILL_KEY, SHIRES_KEY]


def test_an_unknown_item_is_a_sentence_with_a_next_step(model: ExploreModel) -> None:
    model.open(f"{IMAGES}/hil")
    assert model.problem is not None
    assert "hil" in model.problem.sentence
    assert model.problem.next_step
    assert "not_found" in model.problem.details
    assert model.opened == ""
    assert model.busy == ""


def test_a_file_that_is_gone_is_told_on_its_layer(home: Path) -> None:
    from tests import catalogued

    platform = geoetl.connect(home)
    catalogued.fill(platform, home / "shelf")
    (home / "shelf" / "hill.tif").unlink()
    model = ExploreModel(platform)
    model.open(HILL_KEY)
    assert model.active is not None
    assert model.active.problem is not None
    assert str(home) not in model.active.problem.sentence


def test_what_nobody_foresaw_goes_to_the_log_and_not_to_the_page(
    model: ExploreModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("/secret/path")

    monkeypatch.setattr("dashboards.explore.model.find", broken)
    model.look_for(words="x")
    assert model.problem is not None
    assert "/secret/path" not in f"{model.problem.sentence}{model.problem.next_step}{model.problem.details}"
    number = model.problem.details.split("number ")[1].split(" ")[0]
    assert number in caplog.text
    assert "ZeroDivisionError" in caplog.text


# ---- reading ---------------------------------------------------------------------------------------------------------


def test_a_click_reads_what_rasterio_reads(model: ExploreModel, filled: Platform) -> None:
    model.open(HILL_KEY)
    model.click(HERE)
    values = model.readings[0].values
    assert values is not None
    with rasterio.open(filled.settings.home / "shelf" / "hill.tif") as source:
        expected = next(source.sample([(LON, LAT)]))
    assert values.values == pytest.approx(expected)
    assert values.bands[0].units == "m"


def test_a_click_reads_the_series_that_xarray_reads(model: ExploreModel, filled: Platform) -> None:
    model.open(MODEL_KEY)
    model.choose(selection={"plev": 50_000.0})
    model.click(HERE)
    series = model.readings[0].series
    assert series is not None
    with xr.open_dataset(filled.settings.home / "shelf" / "model.nc", engine="h5netcdf") as source:
        expected = source.tas.sel(plev=50_000.0).sel(lon=LON, lat=LAT, method="nearest").values
    np.testing.assert_allclose(np.array(series.values, dtype=float), expected)


def test_what_netcdf_never_wrote_is_no_data(home: Path) -> None:
    from tests import catalogued

    platform = geoetl.connect(home)
    catalogued.fill(platform, home / "shelf")
    cube = catalogued.model_dataset()
    cube["tas"][3] = np.float32(9.96921e36)
    cube.to_netcdf(home / "shelf" / "model.nc", engine="h5netcdf", encoding={"tas": {"_FillValue": None}})
    model = ExploreModel(platform)
    model.open(MODEL_KEY)
    model.click(HERE)
    series = model.readings[0].series
    assert series is not None
    assert [index for index, value in enumerate(series.values) if value is None] == [3]


def test_a_click_tells_the_attributes_that_geopandas_has(model: ExploreModel, filled: Platform) -> None:
    model.open(SHIRES_KEY)
    model.click(HERE)
    frame = gpd.read_parquet(filled.settings.home / "shelf" / "shires.parquet")
    expected = frame[frame.intersects(frame.geometry.iloc[0])].iloc[0]
    assert model.readings[0].features is not None
    assert model.readings[0].features[0]["name"] == expected["name"] == "North"


def test_a_click_without_an_open_item_opens_the_smallest_footprint(model: ExploreModel) -> None:
    model.click(HERE, footprints=(MODEL_KEY, HILL_KEY))
    assert model.opened == HILL_KEY
    assert model.places == ()


def test_a_place_outside_says_what_is_covered(model: ExploreModel) -> None:
    model.open(HILL_KEY)
    model.click(Point(100, 10))
    problem = model.readings[0].problem
    assert problem is not None
    assert problem.next_step == "It covers 5° E to 9° E, 45° N to 48° N."
    assert model.problem is None


def test_places_are_compared_up_to_a_limit_and_read_once_each(
    model: ExploreModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.open(MODEL_KEY)
    model.compare(True)
    asked: list[Point] = []
    original = type(model.platform.cube).series

    def counted(self: object, collection: str, item: str, location: Point, **options: object) -> object:
        asked.append(location)
        return original(self, collection, item, location, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(type(model.platform.cube), "series", counted)
    for step in range(MAX_PLACES):
        model.click(Point(step * 10.0, 20.0))
    assert len(asked) == MAX_PLACES
    assert [reading.place.label for reading in model.readings] == list("ABCDEF")
    assert len({model.color_of(place) for place in model.places}) == MAX_PLACES
    model.click(HERE)
    assert model.problem is not None
    assert "compared already" in model.problem.sentence
    model.dismiss()
    model.clear_places()
    model.compare(False)
    model.click(HERE)
    model.click(Point(0, 0))
    assert [place.label for place in model.places] == ["A"]


def test_a_place_can_be_written(model: ExploreModel) -> None:
    model.open(MODEL_KEY)
    model.read_at("7.12, 46.62")
    assert model.places[0].point == HERE
    model.read_at("Paris")
    assert model.places[0].point.lat == pytest.approx(48.8566)
    model.read_at("46.6 north")
    assert model.place_problem
    assert model.problem is None


# ---- the address -----------------------------------------------------------------------------------------------------


def test_a_link_opens_the_same_view(model: ExploreModel, unwatched: ExploreModel) -> None:
    model.look_for(words="a")
    model.open(SHIRES_KEY)
    model.open(MODEL_KEY)
    model.choose(time_index=5, selection={"plev": 50_000.0})
    model.compare(True)
    model.click(HERE)
    model.click(Point(-60, -10))
    model.look_at(BBox(-90, -45, 30, 60))
    query = model.address().query()
    unwatched.go(query)
    assert unwatched.problem is None
    assert unwatched.address() == model.address()
    assert [layer.key for layer in unwatched.layers] == [MODEL_KEY, SHIRES_KEY]
    assert unwatched.active is not None
    assert unwatched.active.time == "2000-05-16T12:00:00"
    assert unwatched.selection == {"plev": 50_000.0}
    assert [reading.place.label for reading in unwatched.readings] == ["A", "B"]
    assert unwatched.target is not None
    assert unwatched.target.exact
    assert listed(unwatched) == listed(model)


def test_a_wrong_link_is_a_sentence(unwatched: ExploreModel) -> None:
    unwatched.go("?extent=1,2,3")
    assert unwatched.problem is not None
    assert "4 numbers" in unwatched.problem.sentence
    unwatched.go("?collection=images&item=../../etc/passwd")
    assert unwatched.problem is not None
    assert unwatched.opened == ""


def test_going_back_to_the_list_closes_the_item(model: ExploreModel) -> None:
    model.open(HILL_KEY)
    model.go("")
    assert model.opened == ""
    assert model.layers == ()


# ---- many at once ----------------------------------------------------------------------------------------------------


def test_of_many_steps_asked_for_quickly_the_last_one_stays(filled: Platform) -> None:
    threads: list[threading.Thread] = []

    def start(work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work)
        threads.append(thread)
        thread.start()

    model = ExploreModel(filled, start)
    model.open(MODEL_KEY)
    for thread in threads:
        thread.join()
    for step in range(1, 37):
        model.choose(time_index=step)
    for thread in list(threads):
        thread.join()
    assert model.active is not None
    assert model.active.picture is not None
    assert model.active.picture.time == model.active.time == "2002-12-16T12:00:00"
    assert model.busy == ""
    assert model.problem is None


def test_the_item_that_was_clicked_last_stays_open(filled: Platform) -> None:
    waiting: list[Callable[[], None]] = []
    model = ExploreModel(filled, waiting.append)
    model.open(HILL_KEY)
    model.open(SHIRES_KEY)
    for work in reversed(waiting):
        work()
    assert model.opened == SHIRES_KEY
    assert {layer.key for layer in model.layers} == {HILL_KEY, SHIRES_KEY}


def test_an_item_of_before_is_not_found_after_it_was_deleted(home: Path) -> None:
    from tests import catalogued

    platform = geoetl.connect(home)
    catalogued.fill(platform, home / "shelf")
    model = ExploreModel(platform)
    model.open(HILL_KEY)
    platform.catalog.delete_item(IMAGES, HILL)
    with pytest.raises(NotFound):
        platform.catalog.item(IMAGES, HILL)
    model.click(HERE)
    assert model.readings[0].problem is not None
