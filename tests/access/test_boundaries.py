"""Boundaries by codes and names: on all of Natural Earth 1:10m, on its older schema, on states and counties."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely

import geoetl
from geoetl.access.boundaries import KINDS, Boundaries, BoundaryList
from geoetl.access.places import BoundaryType, ItemReference, Places
from geoetl.core.errors import GeoetlError, InvalidParameter, NotFound, UnreadableFile
from geoetl.core.names import plain_name
from geoetl.platform import Platform
from geoetl.store.samples import sample_path
from tests.access.conftest import COLLECTION, Shelf

CODES = ("ISO_A3", "ISO_A2", "ISO_N3", "ISO_A3_EH", "ISO_A2_EH", "ISO_N3_EH", "ADM0_A3", "UN_A3", "WB_A3", "WB_A2")
MISSING = {"-99", "-099", None}


def boundaries(platform: Platform, **items: str) -> Boundaries:
    """Return the boundaries of these items, by their type."""
    kinds: dict[BoundaryType, tuple[ItemReference, ...]] = {
        kind: (ItemReference(COLLECTION, items[kind]),) for kind in KINDS if kind in items
    }
    return Boundaries(platform.features, platform.lookup, platform.gate, Places((), kinds), platform.zones)


@pytest.fixture(scope="module")
def earth() -> gpd.GeoDataFrame:
    """Give the countries of Natural Earth 5.1.1 as they are in the package that ships them."""
    frame = gpd.read_file(f"zip://{sample_path('ne_10m_admin_0_countries.zip')}", encoding="utf-8")
    return frame[[name for name in frame.columns if not name.startswith(("FCLASS", "ADM0_A3_", "MAPCOLOR"))]]


@pytest.fixture(scope="module")
def countries(earth: gpd.GeoDataFrame, tmp_path_factory: pytest.TempPathFactory) -> Boundaries:
    """Give them registered."""
    home: Path = tmp_path_factory.mktemp("earth") / "home"
    shelf = Shelf(geoetl.connect(home), home / "shelf")
    return boundaries(shelf.platform, country=shelf.features("countries", earth))


def test_check_32_every_country_answers_to_every_code_that_it_has(
    earth: gpd.GeoDataFrame, countries: Boundaries
) -> None:
    listed = {one.row: one for one in countries.list("country")}
    assert len(listed) == len(earth) == 250
    for number, row in enumerate(earth[list(CODES)].to_dict("records")):
        for level, column in enumerate(CODES):
            code = row[column]
            if code in MISSING:
                continue
            found = countries.identify("country", code).row
            # Who else has it has it in a column that counts as much or more, and so is a better answer.
            others = [name for name in CODES[: level + 1] if earth[name].iloc[found] == code]
            assert found == number or others, (row["ADM0_A3"], column, code)
            if column in ("ISO_A3", "ISO_A2", "ADM0_A3") and code not in set(earth.ISO_A3) - {row["ISO_A3"]}:
                assert found == number, (row["ADM0_A3"], column, code)


def test_check_32_every_country_answers_to_its_names_in_every_language(
    earth: gpd.GeoDataFrame, countries: Boundaries
) -> None:
    languages = [name for name in earth.columns if name.startswith("NAME_") and name != "NAME_LEN"]
    for number, row in enumerate(earth[["NAME", "ADMIN", *languages]].to_dict("records")):
        for column, name in row.items():
            if isinstance(name, str) and name not in MISSING:
                found = countries.identify("country", name)
                assert found.row == number or _is_called(earth.iloc[found.row], name), (column, name, found)
        assert countries.identify("country", row["NAME"].upper()).row == number


def _is_called(row: Any, name: str) -> bool:
    return plain_name(name) in {plain_name(str(value)) for value in row if isinstance(value, str)}


@pytest.mark.parametrize(
    ("ids", "name"),
    [
        (("FRA", "FR", "250", "fra", "France", "Frankreich", "法国", "French Republic"), "France"),
        (("NOR", "NO", "578", "Norway", "Norge", "NORWEGEN"), "Norway"),
        (("KOS", "XK", "XKX", "KSV", "KV", "Kosovo"), "Kosovo"),
        (("AUS", "AU", "036", "36"), "Australia"),
        (("BRA", "BR", "076"), "Brazil"),
        (("CIV", "Côte d'Ivoire", "cote d ivoire", "COTE D’IVOIRE"), "Côte d'Ivoire"),
        (("AO", "ao"), "Angola"),
        (("Áo",), "Austria"),
        (("4", "004"), "Afghanistan"),
    ],
)
def test_check_32_countries_without_an_iso_code_in_the_data_answer_to_it(
    countries: Boundaries, ids: tuple[str, ...], name: str
) -> None:
    assert [countries.find("country", one).name for one in ids] == [name] * len(ids)


def test_each_listed_id_finds_its_boundary_and_ids_are_mostly_iso_codes(countries: Boundaries) -> None:
    listed = countries.list("country")
    assert [countries.identify("country", one.id).row for one in listed] == [one.row for one in listed]
    assert len({one.id for one in listed}) == len(listed)
    ids = {one.name: one.id for one in listed}
    assert (ids["France"], ids["Norway"], ids["Germany"]) == ("FRA", "NOR", "DEU")
    assert list(listed.to_dataframe().columns) == ["id", "name"]
    assert "Norway" in listed._repr_html_() and "country" in countries._repr_html_()


def test_a_region_has_the_shape_of_its_country_over_the_antimeridian_too(
    earth: gpd.GeoDataFrame, countries: Boundaries
) -> None:
    norway = countries.find("country", "NOR")
    assert norway.geometry.equals(earth.geometry[earth.ADM0_A3 == "NOR"].iloc[0])
    assert norway.source is not None and norway.source.item == "countries"
    fiji = countries.find("country", "Fiji")
    assert fiji.bbox.crosses_antimeridian and fiji.bbox.width_deg < 10
    assert countries.find("country", "Russia").bbox.east < -160


def test_an_unknown_name_leads_to_the_nearest_and_an_unknown_type_to_the_types(countries: Boundaries) -> None:
    with pytest.raises(NotFound) as missed:
        countries.find("country", "Frnce")
    assert missed.value.hint == "Did you mean 'France'?"
    with pytest.raises(NotFound) as missed:
        countries.find("country", "qqq")
    assert str(missed.value.hint).startswith("There are: Afghanistan, Akrotiri")
    for text in ("", " ", "-99", "-099", "nan", "\0", "x" * 5000, "' or 1=1 --"):
        with pytest.raises(NotFound):
            countries.find("country", text)
    with pytest.raises(InvalidParameter, match="no boundary type 'canton'"):
        countries.find("canton", "Bern")


def square(number: int) -> shapely.Polygon:
    return shapely.box(number, 0, number + 1, 1)


def old_schema() -> gpd.GeoDataFrame:
    """The codes of the 71-column release (2018), where ISO_A3_EH is -99 as well; Somaliland comes before Somalia."""
    columns = ("NAME", "NAME_LONG", "ISO_A2", "ISO_A3", "ISO_N3", "ISO_A3_EH", "ADM0_A3", "WB_A2", "WB_A3", "UN_A3")
    rows = [
        ("France", "France", "-99", "-99", "250", "-99", "FRA", "FR", "FRA", "250"),
        ("Norway", "Norway", "-99", "-99", "-99", "-99", "NOR", "-99", "-99", "-99"),
        ("Kosovo", "Kosovo", "XK", "-99", "-99", "-99", "KOS", "KV", "KSV", "-099"),
        ("N. Cyprus", "Northern Cyprus", "-99", "-99", "-99", "-99", "CYN", "-99", "-99", "-099"),
        ("Somaliland", "Somaliland", "-99", "-99", "-99", "-99", "SOL", "-99", "-99", "-099"),
        ("Somalia", "Somalia", "SO", "SOM", "706", "SOM", "SOM", "SO", "SOM", "706"),
        ("Cyprus", "Cyprus", "CY", "CYP", "196", "CYP", "CYP", "CY", "CYP", None),
    ]
    table = {name: [row[number] for row in rows] for number, name in enumerate(columns)}
    return gpd.GeoDataFrame(table, geometry=[square(number) for number in range(len(rows))], crs="EPSG:4326")


@pytest.mark.parametrize("lower", [False, True], ids=["upper-case columns", "lower-case columns"])
def test_check_32_the_older_schema_answers_alike(shelf: Shelf, lower: bool) -> None:
    frame = old_schema()
    if lower:
        frame = frame.rename(columns={name: name.lower() for name in frame.columns})
    found = boundaries(shelf.platform, country=shelf.features("old", frame))
    expected = {
        "France": ("FRA", "FR", "250"),
        "Norway": ("NOR", "NO", "578"),
        "Kosovo": ("KOS", "XK", "XKX", "KSV", "KV"),
        "N. Cyprus": ("CYN", "Northern Cyprus", "n cyprus"),
        "Somaliland": ("SOL", "Somaliland"),
        "Somalia": ("SOM", "SO", "706"),
        "Cyprus": ("CYP", "CY", "196"),
    }
    for name, ids in expected.items():
        assert {found.find("country", one).name for one in ids} == {name}
    assert found.find("country", "SOL").geometry.equals(square(4))


def test_an_iso_code_of_one_country_wins_over_an_alias_of_another(shelf: Shelf) -> None:
    table = {"NAME": ["Alias", "Real", "Small"], "WB_A3": ["ABC", None, None], "ISO_A3": [None, "ABC", "ABC"]}
    frame = gpd.GeoDataFrame({**table, "POP_EST": [9.0, 5.0, 1.0]}, geometry=[square(n) for n in range(3)], crs=4326)
    found = boundaries(shelf.platform, country=shelf.features("aliases", frame))
    assert found.find("country", "abc").name == "Real"


def counties(**more: list[Any]) -> gpd.GeoDataFrame:
    table: Mapping[str, list[Any]] = {
        "geoid": ["41067", "53073", "08035"],
        "name": ["Washington", "Washington", "Douglas"],
        "state_name": ["Oregon", "Utah", "Colorado"],
        **more,
    }
    return gpd.GeoDataFrame(table, geometry=[square(number) for number in range(3)], crs="EPSG:4326")


def test_counties_of_one_name_are_told_apart_by_their_state_or_code(shelf: Shelf) -> None:
    found = boundaries(shelf.platform, county=shelf.features("counties", counties()))
    assert found.find("county", "douglas").bbox.west == 2
    assert found.find("county", "Washington, Utah").bbox.west == 1
    assert found.find("County", "41067").bbox.west == 0
    with pytest.raises(InvalidParameter) as several:
        found.find("county", "Washington")
    assert several.value.hint == "Give the id of one: 41067 (Washington), 53073 (Washington)."
    assert [one.id for one in found.list("county")] == ["08035", "41067", "53073"]


def test_states_answer_to_their_name_and_postal_code(shelf: Shelf) -> None:
    frame = gpd.GeoDataFrame(
        {"state": ["New Mexico", "Texas"], "postal": ["NM", "TX"]}, geometry=[square(0), square(1)], crs="EPSG:4326"
    )
    found = boundaries(shelf.platform, state=shelf.features("states", frame))
    assert {found.find("state", one).name for one in ("nm", "NM", "new-mexico", "New Mexico")} == {"New Mexico"}


def test_what_is_not_registered_says_how_to_register_it(shelf: Shelf) -> None:
    for registered in (boundaries(shelf.platform), boundaries(shelf.platform, county="not-there")):
        with pytest.raises(NotFound) as missing:
            registered.find("county", "Douglas")
        assert "ingest-vector" in str(missing.value.hint) and "GEOETL_PLACES" in str(missing.value.hint)


def test_a_dataset_that_is_replaced_answers_with_its_new_shapes_at_once(shelf: Shelf) -> None:
    found = boundaries(shelf.platform, county=shelf.features("counties", counties()))
    assert found.find("county", "Douglas").bbox.west == 2
    shelf.features("counties", counties(name=["Douglas", "Washington", "Lake"]))
    assert found.find("county", "Douglas").bbox.west == 0
    # In place, and without a word to the catalogue.
    newer = counties(name=["Lake", "Douglas", "Washington"])
    newer.to_parquet(shelf.folder / "counties.parquet", write_covering_bbox=True, schema_version="1.1.0")
    assert found.find("county", "Douglas").bbox.west == 1


def test_a_boundary_without_an_outline_is_an_error(shelf: Shelf) -> None:
    frame = counties()
    frame.geometry = [None, shapely.Polygon(), square(2)]
    found = boundaries(shelf.platform, county=shelf.features("counties", frame))
    for one in ("41067", "53073"):
        with pytest.raises(UnreadableFile, match="has no outline"):
            found.find("county", one)
    assert found.find("county", "08035").bbox.west == 2


def test_boundaries_in_a_projection_are_given_in_degrees(shelf: Shelf) -> None:
    frame = counties().set_crs("EPSG:4326").to_crs("EPSG:3857")
    found = boundaries(shelf.platform, county=shelf.features("counties", frame))
    assert found.find("county", "08035").bbox.as_list() == pytest.approx([2, 0, 3, 1], abs=1e-9)


def test_a_table_without_any_name_has_boundaries_that_nobody_can_ask_for(shelf: Shelf) -> None:
    frame = gpd.GeoDataFrame({"value": [1, 2]}, geometry=[square(0), square(1)], crs="EPSG:4326")
    found: BoundaryList = boundaries(shelf.platform, state=shelf.features("plain", frame)).list("state")
    assert [one.id for one in found] == ["0", "1"]
    with pytest.raises(GeoetlError):
        boundaries(shelf.platform, state="plain").find("state", "0")
