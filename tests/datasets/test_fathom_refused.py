"""FATHOM's drop folder: what is refused, and told as what it is."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from geoetl.core.errors import (
    ConfigurationError,
    Conflict,
    FormatNotAllowed,
    LimitExceeded,
    NotFound,
    OutsideAllowedRoots,
    UnreadableFile,
    VerificationFailed,
)
from geoetl.core.settings import LimitSettings
from geoetl.datasets.handlers.fathom import Fathom
from geoetl.datasets.handlers.fathom.names import Layout
from geoetl.datasets.upstream import SourceChanged
from geoetl.testing.datasets import rehearsal
from tests.datasets.fathom_tiles import CELL, SIDE, WRITTEN, Played, definition, depths, put, put_all, tile_name


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


def test_a_folder_that_is_gone_or_empty_is_an_error_and_nothing_is_deleted(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    played.run()
    shutil.rmtree(drop / "FLUVIAL_DEFENDED")
    with pytest.raises(NotFound, match="holds no tile of FATHOM: it is empty"):
        played.check()
    (drop / "NOT_MOUNTED").write_text("")
    with pytest.raises(NotFound, match="although 1 other files: 'NOT_MOUNTED'"):
        played.check()
    shutil.rmtree(drop)
    with pytest.raises(NotFound, match="There is no drop folder 'drop'"):
        played.check()
    drop.write_text("")
    with pytest.raises(ConfigurationError, match="is a file"):
        played.check()


def test_a_folder_that_is_lost_after_the_check_is_not_taken_for_a_release(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006", "n06w006"])
    with played.update() as update:
        release = Fathom().check(update.task)
        shutil.rmtree(drop / "FLUVIAL_DEFENDED" / "2020" / "1in5")
        with pytest.raises(SourceChanged, match="changed after it was looked at"):
            Fathom().fetch(update.task, release)


def test_what_comes_after_the_check_waits_for_the_next_one(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    with played.update() as update:
        release = Fathom().check(update.task)
        put_all(drop, ["n06w006"])
        fetched = Fathom().fetch(update.task, release)
        assert [one.suffix for one in Fathom().prepare(update.task, release, fetched)] == [f"_{CELL}"]


def test_a_file_that_changes_after_it_was_fetched_is_refused(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    with played.update() as update:
        release = Fathom().check(update.task)
        fetched = Fathom().fetch(update.task, release)
        os.utime(drop / tile_name("n04w006", 5).path, (WRITTEN + 1, WRITTEN + 1))
        with pytest.raises(SourceChanged, match="1in5-FLUVIAL-DEFENDED-2020_n04w006.tif' changed"):
            list(Fathom().prepare(update.task, release, fetched))
        assert not list(update.task.workspace.iterdir())


def test_files_that_are_not_wanted_make_no_release(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    played.said = definition(drop, flood_types=["coastal"])
    with pytest.raises(ConfigurationError, match="None of the 8 tiles"):
        played.check()


def test_a_folder_outside_of_the_roots_is_refused(tmp_path: Path, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    inside = tmp_path / "inside"
    inside.mkdir()
    with rehearsal(definition(drop), inside) as update, pytest.raises(OutsideAllowedRoots):
        Fathom().check(update.task)


def test_two_layouts_in_one_folder_are_refused(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    put_all(drop, ["n06w006"], layout=Layout.BY_LAYER)
    with pytest.raises(Conflict, match=r"2 layouts.*n04w006\.tif.*v3\.0/n06w006\.tif"):
        played.check()


def test_a_tile_that_is_there_twice_is_refused(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    put_all(drop / "again", ["n04w006"], periods=[50])
    with pytest.raises(Conflict, match=r"'FLUVIAL_DEFENDED/\S+1in50\S+n04w006\.tif' and 'again/\S+n04w006\.tif'"):
        played.check()


def shifted(by: float) -> dict[str, Any]:
    return {"transform": from_origin(-6 + by / SIDE, 5, 1 / SIDE, 1 / SIDE)}


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ({"crs": "EPSG:32630"}, "coordinate reference system: EPSG:32630; expected EPSG:4326"),
        ({"crs": None}, "coordinate reference system: none"),
        ({"dtype": "float32"}, "data type: float32; expected int16"),
        ({"nodata": -9999}, "no data: -9999"),
        (shifted(1), "north-west corner: longitude -5.97"),
        (shifted(0.25), "north-west corner"),
        (shifted(SIDE), "north-west corner"),
        ({"transform": from_origin(-6, 5, 1.01 / SIDE, 1 / SIDE)}, "degrees; expected"),
        ({"driver": "PNG", "dtype": "uint16", "nodata": 0}, "format: PNG; expected GTiff"),
    ],
)
def test_a_tile_that_is_not_what_its_name_says_is_refused(
    played: Played, drop: Path, profile: dict[str, Any], said: str
) -> None:
    put_all(drop, ["n04w006"])
    name = tile_name("n04w006", 100)
    put(drop, name, depths(name.corner, 100).astype(profile.get("dtype", "int16")), **profile)
    with pytest.raises(VerificationFailed, match=said) as caught:
        played.run()
    assert name.path in caught.value.detail
    assert str(drop) not in str(caught.value)


def test_tiles_on_different_grids_are_not_put_together(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006", "n04w005"])
    name = tile_name("n04w005", 5)
    put(drop, name, depths(name.corner, 5, 18))
    with pytest.raises(VerificationFailed, match="18 pixels a degree; other tiles of its cell have 36 pixels a degree"):
        played.run()


def test_what_is_wrong_is_told_at_once(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006", "n06w006"])
    for corner in ("n04w006", "n06w006"):
        put(drop, tile_name(corner, 5), crs="EPSG:3857")
    with pytest.raises(VerificationFailed, match=r"2 tiles are not right.*n04w006.*n06w006"):
        played.run()


def test_a_truncated_tile_is_refused_before_anything_is_made_of_it(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    path = drop / tile_name("n04w006", 500).path
    os.truncate(path, path.stat().st_size - 40)
    os.utime(path, (WRITTEN, WRITTEN))
    with pytest.raises(UnreadableFile, match="1in500-FLUVIAL-DEFENDED-2020_n04w006.tif' is truncated"):
        played.run()


def test_pixels_that_cannot_be_read_are_told(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    path = drop / tile_name("n04w006", 500).path
    content = bytearray(path.read_bytes())
    content[-60:] = b"\xff" * 60
    path.write_bytes(content)
    os.utime(path, (WRITTEN, WRITTEN))
    with pytest.raises(UnreadableFile, match="The pixels of .*1in500"):
        played.run()


def test_a_value_that_is_no_depth_is_refused(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    values = np.zeros((SIDE, SIDE), np.int16)
    values[3, 4] = -5
    put(drop, tile_name("n04w006", 10), values)
    with pytest.raises(UnreadableFile, match="has the value -5"):
        played.run()


def test_a_vrt_that_is_called_a_tile_is_not_opened(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    path = drop / tile_name("n04w006", 20).path
    path.write_text('<VRTDataset rasterXSize="36" rasterYSize="36"></VRTDataset>')
    os.utime(path, (WRITTEN, WRITTEN))
    with pytest.raises(FormatNotAllowed):
        played.run()


def test_a_grid_with_too_many_pixels_is_refused_before_it_is_made(tmp_path: Path, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    played = Played(tmp_path, definition(drop, grid_size=3), LimitSettings(raster_pixels=SIDE * SIDE * 8 * 4))
    with pytest.raises(LimitExceeded, match="108 x 108 pixels in 8 bands"):
        played.run()


def test_a_raster_that_could_not_be_written_whole_is_never_made(
    played: Played, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late errors of the library that writes are told to nobody: what was left out reads as no data."""
    put_all(drop, ["n04w006"])
    monkeypatch.setattr(rasterio.io.DatasetWriter, "write", lambda *_, **__: None)
    with played.update() as update:
        release = Fathom().check(update.task)
        fetched = Fathom().fetch(update.task, release)
        with pytest.raises(VerificationFailed, match="not what was written to it"):
            list(Fathom().prepare(update.task, release, fetched))
        assert not list(update.task.workspace.iterdir())
