"""FATHOM's drop folder: what an update takes, leaves, and waits for."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from geoetl.core.errors import Unavailable
from geoetl.core.identifiers import file_digest
from geoetl.datasets.handlers.fathom import Fathom
from geoetl.datasets.handlers.fathom.names import RETURN_PERIODS, Layout
from geoetl.datasets.model import Definition
from geoetl.testing.datasets import HandlerConformance
from geoetl.testing.upstream import LocalUpstream
from tests.datasets.fathom_tiles import (
    CELL,
    RIVER,
    RIVER_2050,
    SIDE,
    WRITTEN,
    Played,
    definition,
    put,
    put_all,
    tile_name,
)


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


def test_only_what_changed_is_made_again(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006", "n06w006"])
    put_all(drop, ["n04w006"], RIVER_2050)
    assert set(played.run()[0].values()) == {"made"}
    assert not played.check().is_news
    os.utime(put(drop, tile_name("n06w006", 20), np.zeros((SIDE, SIDE), np.int16)), (WRITTEN + 9, WRITTEN + 9))
    release = played.check()
    assert release.is_news
    assert [one.name for one in release.downloads] == ["fluvial_defended_2020_n06w006"]
    assert "0 rasters are new, 1 changed, 0 gone; 2 stay as they are." in release.about
    assert played.run()[0] == {
        "fluvial_defended_2020_n04w006": "stays",
        "fluvial_defended_2020_n06w006": "made",
        "fluvial_defended_2050_ssp245_n04w006": "stays",
    }


def test_files_that_were_only_copied_again_change_nothing(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    played.run()
    for path in drop.rglob("*.tif"):
        os.utime(path, (WRITTEN + 60, WRITTEN + 60))
    assert played.check().is_news
    assert played.run()[0] == {CELL: "stays"}
    # Nor does another layout of the same tiles.
    shutil.rmtree(drop)
    put_all(drop, ["n04w006"], layout=Layout.BY_LAYER)
    assert played.run()[0] == {CELL: "stays"}


def test_another_grid_makes_all_anew(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    played.run()
    played.said = definition(drop, grid_size=3)
    assert any("all rasters are made anew" in line for line in played.check().about)
    what, _ = played.run()
    assert what == {"fluvial_defended_2020_n03w006": "made"}


def test_a_cell_waits_until_its_tiles_are_whole(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006"])
    put_all(drop, ["n06w006"], periods=[5, 10, 20, 50, 100, 200])
    release = played.check()
    assert [one.name for one in release.downloads] == [CELL]
    assert "fluvial_defended_2020_n06w006 waits: it lacks 1in500 and 1in1000 of n06w006." in release.about
    assert played.run()[0] == {CELL: "made"}
    put_all(drop, ["n06w006"], periods=[500, 1000])
    assert played.run()[0] == {CELL: "stays", "fluvial_defended_2020_n06w006": "made"}
    # A tile of it is delivered again: until it is whole, what is served stays.
    (drop / tile_name("n04w006", 10).path).unlink()
    assert not played.check().is_news
    put_all(drop, ["n07w006"], periods=[5])
    assert not played.check().is_news


def test_a_cell_waits_while_a_file_may_still_be_written_to(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006", "n06w006"])
    late = drop / tile_name("n06w006", 1000).path
    now = time.time()
    os.utime(late, (now - 60, now - 60))
    release = played.check()
    assert [one.name for one in release.downloads] == [CELL]
    assert any("n06w006 waits: it may still be written to" in line and late.name in line for line in release.about)
    played.said = definition(drop, settle_minutes=0.5)
    assert len(played.check().downloads) == 2


def test_while_nothing_is_whole_there_is_no_release(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006"], periods=[5])
    with pytest.raises(Unavailable, match="No cell of the drop folder is whole yet.*lacks 1in10"):
        played.check()


def test_what_is_gone_is_told_and_what_comes_is_added(played: Played, drop: Path) -> None:
    put_all(drop, ["n04w006", "n05w006", "n06w006"])
    played.run()
    for period in RETURN_PERIODS:
        for corner in ("n05w006", "n06w006"):
            (drop / tile_name(corner, period).path).unlink()
    release = played.check()
    assert "0 rasters are new, 1 changed, 1 gone; 0 stay as they are." in release.about
    assert "Gone: fluvial_defended_2020_n06w006." in release.about
    assert "16 files of FLUVIAL_DEFENDED gone since the version before." in release.about
    assert played.run()[0] == {CELL: "made"}


def test_other_files_are_told(played: Played, drop: Path, tmp_path: Path) -> None:
    put_all(drop, ["n04w006"])
    put_all(drop, ["n06w006"], RIVER_2050)
    (drop / "README.pdf").write_text("")
    (drop / "lost+found").mkdir()
    (drop / "lost+found" / "x.tif").write_text("")
    outside = Path(shutil.copy(drop / tile_name("n04w006", 5).path, tmp_path.parent / "outside.tif"))
    (drop / tile_name("n08w006", 5).path).symlink_to(outside)
    played.said = definition(drop, years=[2020])
    about = played.check().about
    assert "1 file left out: 'README.pdf'. It is no name of a FATHOM tile." in about
    assert any("n08w006.tif'. It is a link to where nothing may be read." in line for line in about)
    assert "8 files of other places, flood types, years or scenarios left out." in about


def test_a_file_is_digested_once(played: Played, drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def digest(path: Path) -> str:
        read.append(path.name)
        return file_digest(path)

    monkeypatch.setattr("geoetl.datasets.handlers.fathom.memory.file_digest", digest)
    put_all(drop, ["n04w006"])
    with played.update() as update:
        release = Fathom().check(update.task)
        fetched = Fathom().fetch(update.task, release)
        assert len(read) == 8
        # Interrupted, also in the middle of a line: what is known is not read again.
        log = update.task.folder / "digests.jsonl"
        log.write_text(log.read_text()[:-20])
        assert Fathom().fetch(update.task, release) == fetched
        assert len(read) == 9
    played.run()
    read.clear()
    put_all(drop, ["n05w005"])
    assert played.run()[0] == {CELL: "made"}
    assert len(read) == 8
    assert all("n05w005" in name for name in read)


class TestConformance(HandlerConformance):
    """What holds for every handler."""

    handler = Fathom
    most_requests = 0

    def arrange(self, source: LocalUpstream, folder: Path) -> Definition:
        put_all(folder, ["n04w006", "n05w005"])
        put_all(folder, ["n04w006"], RIVER_2050)
        return definition(folder)

    def change(self, source: LocalUpstream, folder: Path) -> None:
        path = put(folder, tile_name("n04w006", 5, RIVER), np.ones((SIDE, SIDE), np.int16))
        os.utime(path, (WRITTEN + 60, WRITTEN + 60))
