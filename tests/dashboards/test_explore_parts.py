"""The parts of *Explore* that need no page: the address, programs to copy, the chart's axis, HTML, what is told."""

import io
import json
import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from dashboards.explore.about import extent_words, media_type_words
from dashboards.explore.address import Address
from dashboards.explore.chart import nearest_step, positions, series_figure
from dashboards.explore.layer import time_texts
from dashboards.explore.markup import about_html, readings_html, series_html
from dashboards.explore.model import ExploreModel
from dashboards.explore.reading import readings_csv, unit_text, value_text
from dashboards.shared.layout import problem_html
from dashboards.shared.problem import Problem
from dashboards.shared.theme import LIGHT
from geoetl.api.app import create_app as create_api
from geoetl.core.spatial import BBox, Point
from geoetl.platform import Platform
from tests.catalogued import CLIMATE, HILL, IMAGES, LAT, LON, MODEL, PLACES, SHIRES

KEYS = (f"{IMAGES}/{HILL}", f"{CLIMATE}/{MODEL}", f"{PLACES}/{SHIRES}")
HERE = Point(LON, LAT)


def client_of(platform: Platform) -> TestClient:
    return TestClient(create_api(platform), base_url="http://127.0.0.1:8000")


degrees = st.floats(-80, 80).map(lambda value: round(value, 4))
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,12}", fullmatch=True).filter(
    lambda text: text.lower() not in ("con", "prn", "aux", "nul") and not text.lower().startswith(("com", "lpt"))
)
keys = st.builds("{}/{}".format, ids, ids)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12).map(str.strip)


@given(
    st.builds(
        Address,
        key=st.just("") | keys,
        layers=st.lists(keys, max_size=3).map(tuple),
        variable=texts,
        time=st.just("") | st.just("2000-02-30T12:00:00"),
        selection=st.dictionaries(ids, texts.filter(bool), max_size=2).map(lambda d: tuple(d.items())),
        points=st.lists(st.builds(Point, degrees, degrees), max_size=3).map(tuple),
        extent=st.none() | st.builds(BBox, degrees, st.just(-1.5), degrees, st.just(2.25)),
        words=texts,
        since=texts,
        until=texts,
        in_view=st.booleans(),
    )
)
def test_an_address_reads_back_as_it_was_written(address: Address) -> None:
    assert Address.parse(address.query()) == address


def test_an_address_without_state_is_empty() -> None:
    assert Address().query() == ""
    assert Address.parse("?utm_source=mail") == Address()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", ["geoetl", "reader", "pystac"])
def test_a_copied_program_runs_as_it_stands(
    model: ExploreModel, filled: Platform, monkeypatch: pytest.MonkeyPatch, key: str, name: str
) -> None:
    monkeypatch.setenv("GEOETL_HOME", str(filled.settings.home))
    model.open(key)
    model.click(HERE)
    if key == KEYS[1]:
        model.choose(time_index=7, selection={"plev": 50_000.0}, colormap="magma")
    programs = dict(model.snippets("http://127.0.0.1:8000"))
    program = programs[name if name in programs else next(n for n in programs if n in ("xarray", "geopandas"))]
    assert max(map(len, program.splitlines())) < 100
    results: dict[str, Any] = {}
    exec(program, results)
    if name == "geoetl":
        reading = model.readings[0]
        if reading.values:
            assert results["values"]["value"].tolist() == pytest.approx(reading.values.values)
        elif reading.series:
            np.testing.assert_allclose(results["series"]["tas"], np.array(reading.series.values, dtype=float))
            assert results["picture"].time == "2000-07-16T12:00:00"
        else:
            assert results["here"] == list(reading.features or ())
    elif name == "reader" and key == KEYS[0]:
        assert model.readings[0].values is not None
        assert results["values"].ravel() == pytest.approx(model.readings[0].values.values)
    elif name == "reader" and key == KEYS[1]:
        assert float(results["step"].plev) == 50_000.0
        assert str(results["step"].time.values) == "2000-07-16 12:00:00"
    elif name == "reader":
        assert results["here"]["name"].tolist() == ["North"]
    else:
        assert results["stac_item"].validate is not None


@pytest.mark.parametrize("key", KEYS)
def test_every_copied_curl_is_answered(model: ExploreModel, filled: Platform, key: str) -> None:
    client = client_of(filled)
    model.open(key)
    model.click(HERE)
    if key == KEYS[1]:
        model.choose(time_index=7, selection={"plev": 50_000.0}, colormap="magma")
    program = model.snippets("http://127.0.0.1:8000")["curl"].replace("\\\n", " ")
    commands = [shlex.split(line) for line in program.splitlines() if line.startswith("curl")]
    assert commands
    for command in commands:
        address = next(word for word in command if word.startswith("http"))
        pairs = [command[i + 1].partition("=") for i, word in enumerate(command) if word == "--data-urlencode"]
        answer = client.get(urlsplit(address).path, params=[(name, value) for name, _, value in pairs])
        assert answer.status_code == 200, answer.text
        if "/point/" in address and key == KEYS[1]:
            series = model.readings[0].series
            assert series is not None
            assert answer.json()["values"] == [pytest.approx(series.values[6])]


def test_the_axis_follows_the_calendar() -> None:
    assert positions(("1970-01-01T00:00:00", "1970-01-02T00:00:00"), "standard") == [0.0, 86_400_000.0]
    assert positions(("2000-02-30T00:00:00",), "360_day") == [pytest.approx(2000 + 59 / 360)]
    assert positions(("2000-03-01T00:00:00",), "noleap") == [pytest.approx(2000 + 59 / 365)]
    assert positions((), None) == [1.0]
    assert nearest_step(("2000-01-01T00:00:00", "2001-01-01T00:00:00"), "360_day", 2000.9) == 2


def test_the_chart_has_a_line_for_each_place_and_marks_the_step(model: ExploreModel) -> None:
    model.open(KEYS[1])
    model.compare(True)
    model.click(HERE)
    model.click(Point(-60, -10))
    chart, mark = series_figure(model.readings, model.color_of, 4, LIGHT)
    lines = [renderer for renderer in chart.renderers if type(renderer.glyph).__name__ == "Line"]
    assert [line.glyph.line_color for line in lines] == [model.color_of(place) for place in model.places]
    assert mark.location == pytest.approx(2000 + (3 * 30 + 15.5) / 360)
    assert chart.yaxis[0].axis_label == "Air temperature, K"
    assert chart.xaxis[0].axis_label == "360_day calendar"


def test_times_are_written_with_the_hour_only_where_it_differs() -> None:
    assert time_texts(("2000-01-16T12:00:00", "2000-02-16T12:00:00")) == ("2000-01-16", "2000-02-16")
    assert time_texts(("2000-01-01T00:00:00", "2000-01-01T06:00:00")) == ("2000-01-01 00:00", "2000-01-01 06:00")


@pytest.mark.parametrize(
    ("units", "written"),
    [("degK", "K"), ("kg m-2 s-1", "kg m⁻² s⁻¹"), ("m", "m"), (None, ""), ("1e-3", "1e-3"), ("%", "%")],
)
def test_units_are_written_as_people_write_them(units: str | None, written: str) -> None:
    assert unit_text(units) == written


@pytest.mark.parametrize(
    ("value", "units", "written"),
    [
        (None, "K", "no data"),
        (271.4567891, "degK", "271.457 K"),
        (-3.5, None, "\u22123.5"),
        (12_345.0, "m", "12\u202f345 m"),
        (1e-7, "kg m-2 s-1", "1e-07 kg m⁻² s⁻¹"),
    ],
)
def test_values_are_written_with_their_units(value: float | None, units: str | None, written: str) -> None:
    assert value_text(value, units) == written


def test_text_of_data_is_never_markup(model: ExploreModel) -> None:
    model.open(KEYS[2])
    model.click(Point(LON, 45.5))
    assert model.active is not None
    html = readings_html(model.active, model.readings, model.color_of)
    assert "&lt;b&gt;South&lt;/b&gt;" in html
    assert "<b>South" not in html
    assert "<script>" not in problem_html(Problem("<script>", "<script>", "<script>"))


def test_what_is_told_about_an_item_leads_to_its_files(model: ExploreModel, filled: Platform) -> None:
    client = client_of(filled)
    for key in KEYS:
        model.open(key)
        told = model.about()
        assert told is not None
        assert dict(told.sections)["Licence and origin"][0].value == "CC0-1.0"
        for asset in told.assets:
            assert client.get(f"/{asset.address}").status_code == 200
        assert "CC0-1.0" in about_html(told)


def test_a_link_of_a_foreign_scheme_is_not_made(model: ExploreModel) -> None:
    from dashboards.explore.about import About, Fact

    html = about_html(About("", (("Origin", (Fact("Licence", "x", "javascript:alert(1)"),)),), ()))
    assert "javascript" not in html


@pytest.mark.parametrize("key", KEYS)
def test_readings_can_be_taken_away_with_place_units_and_source(model: ExploreModel, key: str) -> None:
    model.open(key)
    model.click(HERE)
    frame = pd.read_csv(io.StringIO(readings_csv(model.readings)))
    assert set(frame["place"]) == {"A"}
    assert {"lon", "lat"} <= set(frame.columns)
    if key != KEYS[2]:
        assert {"units", "collection", "item", "dataset_version"} <= set(frame.columns)


def test_what_a_cube_says_is_of_the_shown_step(model: ExploreModel) -> None:
    model.open(KEYS[1])
    model.click(HERE)
    model.choose(time_index=7)
    assert model.active is not None
    assert model.readings[0].series is not None
    expected = value_text(model.readings[0].series.values[6], "degK")
    assert expected in series_html(model.active, model.readings, model.color_of)


def test_words_for_places_and_types() -> None:
    assert extent_words(BBox(-180, -90, 180, 90)) == "180° W to 180° E, 90° S to 90° N"
    assert extent_words(BBox(0, 0, 3.75, 2)) == "0° to 3.75° E, 0° to 2° N"
    assert media_type_words("image/tiff; application=geotiff; profile=cloud-optimized") == "Cloud-optimised GeoTIFF"


def test_an_open_item_shows_its_own_footprint_alone(model: ExploreModel) -> None:
    assert model.listing is not None
    everything = model.listing.footprints("")["features"]
    assert len(everything) == 5
    assert [f["properties"]["id"] for f in model.listing.footprints(KEYS[1])["features"]] == [KEYS[1]]
    json.dumps(everything, allow_nan=False)


def test_a_reading_tells_how_to_find_the_colour(model: ExploreModel) -> None:
    color: Callable[..., str] = model.color_of
    model.open(KEYS[0])
    model.click(HERE)
    assert color(model.places[0]) in readings_html(
        model.active,
        model.readings,
        color,  # type: ignore[arg-type]
    )
