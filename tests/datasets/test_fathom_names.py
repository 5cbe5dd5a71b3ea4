"""Names and settings of FATHOM's tiles: what is taken for what, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoetl.core.errors import GeoetlError, InvalidBBox, InvalidParameter
from geoetl.datasets.handlers.fathom.config import FathomConfig
from geoetl.datasets.handlers.fathom.drop import Cell
from geoetl.datasets.handlers.fathom.names import (
    RETURN_PERIODS,
    YEARS,
    Corner,
    FloodType,
    Layout,
    Scenario,
    TileName,
    Variant,
)
from tests.datasets.fathom_tiles import CELL, RIVER_2050, tile_name

# -- names -------------------------------------------------------------------------------------------------------------

corners = st.builds(Corner, st.integers(-90, 89), st.integers(-180, 179))
variants = st.one_of(
    st.builds(Variant, st.sampled_from(FloodType), st.just(2020), st.none()),
    st.builds(Variant, st.sampled_from(FloodType), st.sampled_from(YEARS[1:]), st.sampled_from(Scenario)),
)
versions = st.builds("{}.{}".format, st.integers(0, 99), st.integers(0, 99))
periods = st.sampled_from(RETURN_PERIODS)
names = st.one_of(
    st.builds(TileName, variants, periods, corners, st.just(Layout.BY_TYPE)),
    st.builds(TileName, variants, periods, corners, st.just(Layout.BY_LAYER), versions),
)


@given(names, st.sampled_from(["", "delivery/", "a/b/"]))
def test_a_name_is_read_as_it_is_written(name: TileName, below: str) -> None:
    assert TileName.parse(below + name.path) == name


@given(st.text(max_size=80) | st.from_regex(r"1in\d{1,4}-[A-Z]{3,8}-DEFENDED-20\d\d_[ns]\d\d[ew]\d{3}\.tif"))
def test_a_name_is_read_as_it_would_be_written_or_refused(text: str) -> None:
    try:
        name = TileName.parse(text)
    except InvalidParameter:
        return
    assert text == name.path or text.endswith(f"/{name.path}")


@given(names, st.integers(1, 20))
def test_cells_tile_the_earth(name: TileName, size: int) -> None:
    cell = Cell.of(name, size)
    assert cell.corner.south <= name.corner.south < cell.north <= 90
    assert cell.corner.west <= name.corner.west < cell.east <= 180
    for corner in (cell.corner, Corner(cell.north - 1, cell.east - 1)):
        inside = TileName(name.variant, name.return_period, corner, name.layout, name.version)
        assert Cell.of(inside, size) == cell
    assert cell.corner.south % size == 0 or cell.corner.south == -90
    assert cell.corner.west % size == 0 or cell.corner.west == -180


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("FLUVIAL_DEFENDED/2020/1in100/1in100-FLUVIAL-DEFENDED-2020_n04w006.tif", tile_name("n04w006", 100)),
        (
            "FLUVIAL_DEFENDED/2050/SSP2_4.5/1in100-FLUVIAL-DEFENDED-2050-SSP2_4.5_n07w005.tif",
            tile_name("n07w005", 100, RIVER_2050),
        ),
        (
            "GLOBAL-1ARCSEC-NW_OFFSET-1in100-FLUVIAL-DEFENDED-DEPTH-2020-PERCENTILE50-v3.0/n04w006.tif",
            tile_name("n04w006", 100, layout=Layout.BY_LAYER),
        ),
        (
            "GLOBAL-1ARCSEC-NW_OFFSET-1in5-FLUVIAL-DEFENDED-DEPTH-2050-SSP2_4.5-PERCENTILE50-v3.0/s01e000.tif",
            tile_name("s01e000", 5, RIVER_2050, Layout.BY_LAYER),
        ),
    ],
)
def test_names_as_they_are_delivered_are_read(path: str, name: TileName) -> None:
    assert TileName.parse(path) == name
    assert name.path == path


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("PLUVIAL_UNDEFENDED/2020/1in5/1in5-PLUVIAL-UNDEFENDED-2020_n04w006.tif", "no flood type PLUVIAL_UNDEFENDED"),
        ("FLUVIAL_DEFENDED/2020/1in75/1in75-FLUVIAL-DEFENDED-2020_n04w006.tif", "no return period 1in75"),
        ("FLUVIAL_DEFENDED/2020/1in05/1in05-FLUVIAL-DEFENDED-2020_n04w006.tif", "no return period 1in05"),
        ("FLUVIAL_DEFENDED/2040/SSP2_4.5/1in5-FLUVIAL-DEFENDED-2040-SSP2_4.5_n04w006.tif", "not of 2040"),
        ("FLUVIAL_DEFENDED/2050/1in5/1in5-FLUVIAL-DEFENDED-2050_n04w006.tif", "2050 lacks its scenario"),
        ("FLUVIAL_DEFENDED/2020/SSP2_4.5/1in5-FLUVIAL-DEFENDED-2020-SSP2_4.5_n04w006.tif", "2020 has no scenario"),
        ("FLUVIAL_DEFENDED/2050/SSP4_6.0/1in5-FLUVIAL-DEFENDED-2050-SSP4_6.0_n04w006.tif", "no scenario SSP4_6.0"),
        ("FLUVIAL_DEFENDED/2020/1in5/1in5-FLUVIAL-DEFENDED-2020_s00w006.tif", "is spelled 'n00w006'"),
        ("FLUVIAL_DEFENDED/2020/1in5/1in5-FLUVIAL-DEFENDED-2020_n90w006.tif", "latitude 90"),
        ("FLUVIAL_DEFENDED/2020/1in5/1in5-FLUVIAL-DEFENDED-2020_n4w6.tif", "no corner like"),
        (
            "FLUVIAL_DEFENDED/2020/1in10/1in5-FLUVIAL-DEFENDED-2020_n04w006.tif",
            "belongs into FLUVIAL_DEFENDED/2020/1in5",
        ),
        ("1in5-FLUVIAL-DEFENDED-2020_n04w006.tif", "belongs into"),
        ("GLOBAL-1ARCSEC-NW_OFFSET-1in5-FLUVIAL-DEFENDED-DEPTH-2020-PERCENTILE83-v3.0/n04w006.tif", "no name of"),
        ("notes.txt", "no name of a FATHOM tile"),
        ("", "no name of"),
    ],
)
def test_other_names_are_refused_with_a_reason(path: str, reason: str) -> None:
    with pytest.raises(InvalidParameter, match=reason):
        TileName.parse(path)


# -- what is wanted ----------------------------------------------------------------------------------------------------


def wanted(**config: Any) -> set[str]:
    """Return which of some tiles a configuration wants."""
    found = FathomConfig(**config)
    offered = [
        tile_name(corner, 5, Variant(flood_type, year, Scenario.SSP2_45 if year > 2020 else None))
        for corner in ("n04w006", "s17e179", "s17w180")
        for flood_type in FloodType
        for year in (2020, 2050)
    ]
    return {f"{name.variant.slug}_{name.corner}" for name in offered if found.wants(name)}


def test_a_configuration_takes_what_it_names() -> None:
    assert len(wanted()) == 30
    assert {name.split("_")[1] for name in wanted(flood_types=["fluvial"])} == {"defended", "undefended"}
    assert wanted(flood_types=["Fluvial-Defended"], years=[2020], bbox=[-6, 4, -5.5, 4.5]) == {CELL}
    assert {name[-7:] for name in wanted(bbox=[179.5, -20, -179.5, -10])} == {"s17e179", "s17w180"}
    assert {name[-7:] for name in wanted(regions={"here": [-6, 4, -5, 5], "fiji": [179, -17, 180, -16]})} == {
        "n04w006",
        "s17e179",
    }
    # A box that ends where a tile begins does not overlap it.
    assert not wanted(bbox=[-5, 4, -4, 5])
    # The present belongs to every scenario.
    assert {name.split("_")[2] for name in wanted(ssp_scenarios=["SSP5_8.5"])} == {"2020"}


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        ({"flood_types": ["fluvail"]}, InvalidParameter, "Did you mean"),
        ({"years": [2040]}, InvalidParameter, "2030"),
        ({"grid_size": 21}, InvalidParameter, "grid_size"),
        ({"bbox": [0, 50, 1, 40]}, InvalidBBox, "above its north"),
        ({"regions": {"x": [0, 0, 1, 91]}}, InvalidBBox, "Latitude"),
        ({"ssp_scenarios": ["ssp245"]}, InvalidParameter, "SSP2_4.5"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(
    config: dict[str, Any], error: type[GeoetlError], said: str
) -> None:
    with pytest.raises(error, match=said):
        FathomConfig(**config)
