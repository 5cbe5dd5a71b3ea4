"""Rasters of FATHOM's tiles against numpy, and what is served of them."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

import geoetl
from geoetl.core.errors import NotFound, Unavailable
from geoetl.core.spatial import Point
from geoetl.datasets.handlers.fathom import Fathom, handler
from geoetl.datasets.handlers.fathom.describe import SHOWN_BAND, depth_style
from geoetl.datasets.handlers.fathom.names import RETURN_PERIODS, Corner, Layout
from geoetl.datasets.model import UpdateStatus
from geoetl.datasets.release import PreparedRaster
from geoetl.platform import DatasetLoader
from geoetl.store.catalog.item import new_collection
from geoetl.styles.coverage import coverage_symbol, render_of
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from tests.datasets.fathom_tiles import (
    CELL,
    RIVER_2050,
    SIDE,
    WRITTEN,
    Played,
    definition,
    depths,
    put,
    put_all,
    tile_name,
)
from tests.datasets.released import Upkeep


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """Give an empty drop folder."""
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def played(tmp_path: Path, drop: Path) -> Played:
    """Give updates of a folder with cells of two by two degrees."""
    return Played(tmp_path, definition(drop))


@pytest.mark.parametrize("layout", Layout)
def test_tiles_become_bands_and_lie_side_by_side(played: Played, drop: Path, layout: Layout) -> None:
    tiles = ["n04w006", "n05w005", "n04w005"]  # the north-west of the cell is sea
    put_all(drop, tiles, layout=layout)
    what, folder = played.run()
    assert what == {CELL: "made"}
    expected = np.full((8, 2 * SIDE, 2 * SIDE), -32768, np.int16)
    for tile in tiles:
        corner = Corner.parse(tile)
        row, column = (5 - corner.south) * SIDE, (corner.west + 6) * SIDE
        for band, period in enumerate(RETURN_PERIODS):
            expected[band, row : row + SIDE, column : column + SIDE] = depths(corner, period)
    with rasterio.open(folder / f"{CELL}.tif") as made:
        np.testing.assert_array_equal(made.read(), expected)
        assert made.descriptions == ("1in5", "1in10", "1in20", "1in50", "1in100", "1in200", "1in500", "1in1000")
        assert made.transform.almost_equals(from_origin(-6, 6, 1 / SIDE, 1 / SIDE), 1e-12)
        assert (made.nodata, made.dtypes[0], set(made.scales), set(made.units)) == (-32768, "int16", {0.01}, {"m"})
        # Each value tells where it was: what is read by place is what was there.
        (values,) = made.sample([(-4.9, 5.5)], indexes=[8])
        assert values[0] == depths(Corner(5, -5), 1000)[SIDE // 2, int(0.1 * SIDE)]


def test_cells_are_apart_and_their_grid_is_that_of_whole_degrees(played: Played, drop: Path) -> None:
    put_all(drop, ["n05w006", "n06w006", "s01e000"])
    put_all(drop, ["n05w006"], RIVER_2050)
    what, folder = played.run()
    assert list(what) == [
        "fluvial_defended_2020_n04w006",
        "fluvial_defended_2020_n06w006",
        "fluvial_defended_2020_s02e000",
        "fluvial_defended_2050_ssp245_n04w006",
    ]
    for name, bounds in {
        "fluvial_defended_2020_n06w006": (-6, 6, -4, 8),
        "fluvial_defended_2020_s02e000": (0, -2, 2, 0),
    }.items():
        with rasterio.open(folder / f"{name}.tif") as made:
            np.testing.assert_allclose(made.bounds, bounds, atol=1e-9)


def test_neither_of_both_numbers_without_depth_becomes_one(played: Played, drop: Path) -> None:
    values = np.zeros((SIDE, SIDE), np.int16)
    values[0, :3] = [-32768, -32767, 1]
    put_all(drop, ["n04w006"])
    put(drop, tile_name("n04w006", 100), values)
    _, folder = played.run()
    with rasterio.open(folder / f"{CELL}.tif") as made:
        band = made.read(5, masked=True, window=((SIDE, 2 * SIDE), (0, SIDE)))
    assert band.mask[0, :3].tolist() == [True, True, False]
    assert (band.data[0, 2], band[1:].min(), band.min()) == (1, 0, 0)


@pytest.mark.parametrize("nodata", [-32767, None])
def test_a_tile_that_declares_the_other_number_or_none_is_taken_alike(
    played: Played, drop: Path, nodata: int | None
) -> None:
    values = np.array([[-32768, -32767], [0, 5]], np.int16).repeat(18, 0).repeat(18, 1)
    for period in RETURN_PERIODS:
        put(drop, tile_name("n04w006", period), values, nodata=nodata)
    _, folder = played.run()
    with rasterio.open(folder / f"{CELL}.tif") as made:
        assert set(np.unique(made.read())) == {-32768, 0, 5}


def test_a_grid_that_is_registered_on_centres_is_kept(played: Played, drop: Path) -> None:
    for period in RETURN_PERIODS:
        for corner in ("n04w006", "n04w005"):
            name = tile_name(corner, period)
            origin = (name.corner.west - 0.5 / SIDE, name.corner.south + 1 + 0.5 / SIDE)
            put(drop, name, transform=from_origin(*origin, 1 / SIDE, 1 / SIDE))
    _, folder = played.run()
    with rasterio.open(folder / f"{CELL}.tif") as made:
        assert made.transform.almost_equals(from_origin(-6 - 0.5 / SIDE, 6 + 0.5 / SIDE, 1 / SIDE, 1 / SIDE), 1e-12)
        np.testing.assert_array_equal(made.read(1)[SIDE:, SIDE:], depths(Corner(4, -5), 5))


def test_a_point_of_the_item_has_metres(home: Path, drop: Path, played: Played) -> None:
    put_all(drop, ["n04w006"])
    values = np.zeros((SIDE, SIDE), np.int16)
    values[18, 18] = 123
    put(drop, tile_name("n04w006", 100), values)
    platform = geoetl.connect(home, allowed_roots=[drop.parent])
    with played.update() as update:
        release = Fathom().check(update.task)
        fetched = Fathom().fetch(update.task, release)
        (prepared,) = Fathom().prepare(update.task, release, fetched)
        assert isinstance(prepared, PreparedRaster)
        path = update.task.workspace / prepared.file
        made = DatasetLoader(platform).raster(prepared, path, played.said, "floods", None)
    properties = made.item["properties"]
    assert properties["title"] == "River flood depth with defences, 2020, n04w006"
    assert properties["datetime"].startswith("2020-01-01")
    assert {name: value for name, value in properties.items() if name.startswith("flood:")} == {
        "flood:type": "fluvial",
        "flood:defended": True,
        "flood:year": 2020,
        "flood:return_periods": [5, 10, 20, 50, 100, 200, 500, 1000],
        "flood:tiles": 1,
    }
    band = made.item["assets"]["data"]["bands"][4]
    assert (band["name"], band["description"], band["unit"], band["raster:scale"]) == ("b5", "1in100", "m", 0.01)
    platform.catalog.upsert_collection(new_collection("curated"))
    platform.catalog.upsert_items([made.item])
    found = platform.raster.point("curated", "floods", Point(-5.49, 4.49), bands=[SHOWN_BAND])
    assert found.values == pytest.approx((1.23,))
    assert found.bands[0].units == "m"
    # Dry is 0, and no tile is no value.
    assert platform.raster.point("curated", "floods", Point(-5.9, 4.1), bands=[5]).values == (0.0,)
    assert platform.raster.point("curated", "floods", Point(-4.5, 5.5), bands=[5]).values == (None,)


def test_every_version_is_drawn_as_depths_and_an_empty_folder_changes_nothing(home: Path, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    said = definition(drop).model_dump(include={"source_config", "target_table_name"})
    platform = geoetl.connect(home, allowed_roots=[drop.parent])
    kept = Upkeep.begin(platform, drop, handler="fathom", target_schema="floods", **said)
    assert kept.update().items == (f"curated_floods_{CELL}",)
    assert kept.update().status is UpdateStatus.SKIPPED
    # Much shallower, and one more.
    for period in RETURN_PERIODS:
        path = put(drop, tile_name("n04w006", period), np.full((SIDE, SIDE), 3, np.int16))
        os.utime(path, (WRITTEN + 9, WRITTEN + 9))
    put_all(drop, ["n06w006"])
    outcome = kept.update()
    assert (outcome.records_added, outcome.records_updated, outcome.records_deleted) == (1, 1, 0)
    for item_id in outcome.items:
        render = platform.catalog.item("floods", item_id)["properties"]["renders"]["default"]
        assert (render["title"], render["bidx"]) == ("Flood depth, 1 in 100 years (m)", [5])
    shutil.rmtree(drop / "FLUVIAL_DEFENDED")
    with pytest.raises(NotFound, match="it is empty"):
        kept.update()
    assert platform.raster.point("floods", outcome.items[0], Point(-5.5, 4.5), bands=[5]).values == (0.03,)


def test_the_style_draws_depths_of_100_years_blue_and_leaves_dry_land_out() -> None:
    bands = [{"name": f"b{number}", "data_type": "int16"} for number in range(1, 9)]
    item = {"properties": {}, "assets": {"data": {"href": "x", "roles": ["data"], "bands": bands}}}
    layer = StyledLayer("floods", "coverage", properties=dict.fromkeys([band["name"] for band in bands], "number"))
    symbol = coverage_symbol(Style.of(depth_style()), layer)
    assert not symbol.losses
    render = render_of(symbol, item)
    assert render is not None
    assert render["bidx"] == [5]
    stops = render["geoetl:style"]["stops"]
    assert stops[0][0] == 0
    assert stops[0][1][3] == 0
    assert all(rgba[3] > 200 for value, rgba, *_ in stops if value >= 0.01)


def test_what_is_in_memory_does_not_grow_with_the_cell(
    played: Played, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strips of a few rows give the same raster as whole tiles."""
    put_all(drop, ["n04w006", "n05w005"])
    _, folder = played.run()
    with rasterio.open(folder / f"{CELL}.tif") as made:
        whole = made.read()
    played.live = None
    monkeypatch.setattr("geoetl.datasets.handlers.fathom.stack._STRIP_BYTES", 1)
    monkeypatch.setattr("geoetl.datasets.handlers.fathom.stack._OTHER_BLOCK", 16)
    _, folder = played.run()
    with rasterio.open(folder / f"{CELL}.tif") as made:
        np.testing.assert_array_equal(made.read(), whole)


def test_an_interrupted_update_goes_on_behind_the_cells_that_are_made(
    home: Path, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_all(drop, ["n04w006", "n06w006", "n08w006"])
    said = definition(drop).model_dump(include={"source_config", "target_table_name"})
    platform = geoetl.connect(home, allowed_roots=[drop.parent])
    kept = Upkeep.begin(platform, drop, handler="fathom", target_schema="floods", **said)
    stacked: list[str] = []

    def stack(gate: Any, folder: Path, cell: Any, files: Any, target: Path) -> None:
        if len(stacked) == 2:
            stacked.clear()
            raise Unavailable("The disk is full.")
        stacked.append(target.stem)
        handler_stack(gate, folder, cell, files, target)

    handler_stack = handler.stack
    monkeypatch.setattr(handler, "stack", stack)
    with pytest.raises(Unavailable):
        kept.update()
    assert len(kept.update().items) == 3
    assert stacked == ["fluvial_defended_2020_n08w006"]


def test_a_raster_that_lost_tiles_is_held(home: Path, drop: Path) -> None:
    put_all(drop, ["n04w006", "n05w005"])
    said = definition(drop).model_dump(include={"source_config", "target_table_name"})
    platform = geoetl.connect(home, allowed_roots=[drop.parent])
    kept = Upkeep.begin(platform, drop, handler="fathom", target_schema="floods", **said)
    kept.update()
    for path in drop.rglob("*_n05w005.tif"):
        path.unlink()
    outcome = kept.update()
    assert outcome.status is UpdateStatus.HELD
    assert "1 tiles of the live raster are not in the drop folder any more" in outcome.reason
