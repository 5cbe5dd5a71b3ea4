"""Named places: found however they are written, and a file of them that is wrong says where."""

from pathlib import Path

import pytest

import geoetl
from geoetl.access.places import ItemReference, Place, Places
from geoetl.core.errors import ConfigurationError, NotFound
from geoetl.core.names import plain_name
from geoetl.core.spatial import Point

FOURTEEN = [
    "washington_dc",
    "new_york",
    "los_angeles",
    "chicago",
    "houston",
    "phoenix",
    "philadelphia",
    "san_antonio",
    "san_diego",
    "dallas",
    "london",
    "paris",
    "tokyo",
    "sydney",
]


@pytest.fixture(scope="module")
def places() -> Places:
    return Places.load()


def test_the_names_that_have_always_been_there_are_there(places: Places) -> None:
    assert [places.find(name).name for name in FOURTEEN] == FOURTEEN
    assert places.find("paris").point == Point(2.3522, 48.8566)
    assert len(places) > 60


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Paris", "paris"),
        ("  NEW-YORK ", "new_york"),
        ("Washington, D.C.", "washington_dc"),
        ("São Paulo", "sao_paulo"),
        ("sao paulo", "sao_paulo"),
        ("ZÜRICH", "zurich"),
        ("Kobenhavn", "copenhagen"),
        ("KØBENHAVN", "copenhagen"),
        ("istanbul", "istanbul"),
        ("İSTANBUL", "istanbul"),
        ("東京", "tokyo"),
    ],
)
def test_a_place_is_found_whatever_its_case_accents_and_blanks(places: Places, text: str, name: str) -> None:
    assert places.find(text).name == name
    assert text in places


def test_an_unknown_name_leads_to_the_nearest(places: Places) -> None:
    with pytest.raises(NotFound) as missed:
        places.find("Pariss")
    assert (missed.value.hint, missed.value.field) == ("Did you mean 'paris'?", "location")
    for text in ("", "   ", "---", "\0", "x" * 10_000):
        with pytest.raises(NotFound):
            places.find(text)


def test_places_show_themselves(places: Places) -> None:
    assert "Bogotá" in places._repr_html_()
    frame = places.to_dataframe()
    assert list(frame.columns) == ["name", "title", "lon", "lat"]
    assert len(frame) == len(places) == len(list(places))
    assert "paris" in repr(places)


def test_marks_that_a_script_cannot_do_without_stay() -> None:
    assert plain_name("कि") != plain_name("का")
    assert plain_name("Łódź") == "lodz"
    assert plain_name("Straße") == "strasse"


def test_a_deployment_has_places_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = home.parent / "own.yaml"
    own.write_text(
        "places:\n  hut: {title: Alpine hut, lon: 7.6, lat: 45.9, aliases: [Capanna]}\n"
        "boundaries:\n  country: [atlas/countries, atlas/older]\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("GEOETL_PLACES", str(own))
    found = geoetl.connect().places
    assert list(found) == [Place("hut", "Alpine hut", Point(7.6, 45.9), ("Capanna",))]
    assert found.find("capanna").name == "hut"
    assert found.boundaries == {"country": (ItemReference("atlas", "countries"), ItemReference("atlas", "older"))}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("places: [", "not YAML at line 1"),
        ("", "valid dictionary"),
        ("- paris", "valid dictionary"),
        ("{}", "at places"),
        ("places: {hut: {title: Hut, lon: 7.6}}", "places → hut → lat"),
        ("places: {hut: {title: Hut, lon: 200, lat: 1}}", "places → hut → lon"),
        ("places: {hut: {title: Hut, lon: .nan, lat: 1}}", "places → hut → lon"),
        ("places: {hut: {title: Hut, lon: 1, lat: 1, alias: x}}", "places → hut → alias"),
        ("places: {Alpine Hut: {title: Hut, lon: 1, lat: 1}}", "Alpine Hut"),
        ("places: {}\nboundaries: {canton: []}", "canton"),
        ("places: {}\nboundaries: {country: [countries]}", "boundaries → country → 0"),
        ("places: {a: {title: Hut, lon: 1, lat: 1}, b: {title: hut, lon: 2, lat: 1}}", "Two places are called 'hut'"),
        ("places: {a: !!python/object/apply:os.getpid []}", "not YAML"),
    ],
)
def test_a_file_of_places_that_is_wrong_says_where(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "secret-folder" / "places.yaml"
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as wrong:
        Places.load(file)
    assert what in wrong.value.detail
    assert wrong.value.hint and wrong.value.field == "GEOETL_PLACES"
    assert "secret-folder" not in str(wrong.value)


def test_a_file_of_places_that_is_not_there_or_no_text_is_a_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for file in (tmp_path / "missing.yaml", tmp_path, tmp_path / "binary.yaml"):
        with pytest.raises(ConfigurationError):
            Places.load(file)
