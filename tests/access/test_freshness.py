"""What is kept open: warm while the catalogue is busy, never of a file or an item that is no more."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoetl.core.errors import NotFound
from geoetl.core.spatial import Point
from tests.access.conftest import COLLECTION, Shelf
from tests.access.cubes import one_degree, regular_cube

HERE = Point(5.5, 5.5)
BOX = (0.0, 0.0, 10.0, 10.0)

REGISTER = """
import sys, geoetl
platform = geoetl.connect(sys.argv[1])
item = dict(platform.catalog.item("shelf", sys.argv[2]))
if len(sys.argv) > 3:
    item["assets"] = {"data": {**item["assets"]["data"], "href": sys.argv[3]}}
    platform.catalog.upsert_items([item])
else:
    platform.catalog.delete_item("shelf", sys.argv[2])
"""


def another_process(shelf: Shelf, *arguments: str) -> None:
    """Change an item of the catalogue in a process of its own: another href, or none for withdrawing it."""
    home = str(shelf.platform.settings.home)
    subprocess.run([sys.executable, "-c", REGISTER, home, *arguments], check=True, timeout=60)


def field(value: float) -> "np.ndarray[tuple[int, int, int], np.dtype[np.float32]]":
    return np.full((1, 64, 64), value, np.float32)


def write(path: Path, value: float) -> None:
    """Write a raster beside `path` and put it in its place, as programs do that replace a file whole."""
    new = path.with_suffix(".new")
    profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "width": 64, "height": 64, "crs": "EPSG:4326"}
    with rasterio.open(new, "w", **profile, transform=rasterio.transform.from_bounds(*BOX, 64, 64)) as out:
        out.write(field(value))
    new.replace(path)


def descriptors(path: Path) -> set[int]:
    """Return the file descriptors of this process that have a file open."""
    inode, found = path.stat().st_ino, set()
    for one in Path("/dev/fd").iterdir():
        try:
            if os.fstat(int(one.name)).st_ino == inode:
                found.add(int(one.name))
        except OSError:
            continue  # the listing itself
    return found


def value_of(shelf: Shelf, item: str) -> float | None:
    return shelf.platform.raster.point(COLLECTION, item, HERE).values[0]


def test_a_busy_catalogue_closes_nothing(shelf: Shelf) -> None:
    item = shelf.raster("still", field(1), BOX)
    first = shelf.platform.raster.point(COLLECTION, item, HERE)
    opened = descriptors(shelf.folder / "still.tif")
    assert len(opened) == 1
    for number in range(5):
        shelf.raster(f"other-{number}", field(number), BOX)
        again = shelf.platform.raster.point(COLLECTION, item, HERE)
        assert again.source.catalog_version > first.source.catalog_version
        assert descriptors(shelf.folder / "still.tif") == opened
    # The same item once more, unchanged, is no reason either.
    shelf.platform.catalog.upsert_items([dict(shelf.platform.catalog.item(COLLECTION, item))])
    assert value_of(shelf, item) == 1
    assert descriptors(shelf.folder / "still.tif") == opened


@pytest.mark.parametrize("way", ["renamed over", "written into"])
def test_a_file_that_is_replaced_without_a_word_is_read_anew(shelf: Shelf, way: str) -> None:
    item = shelf.raster("changing", field(1), BOX)
    path = shelf.folder / "changing.tif"
    assert value_of(shelf, item) == 1
    for value in (2.0, 3.0):
        if way == "renamed over":
            write(path, value)
        else:
            write(path.with_name("other.tif"), value)
            path.write_bytes(path.with_name("other.tif").read_bytes())
        assert value_of(shelf, item) == value
        assert len(descriptors(path)) == 1


def test_a_cube_that_is_replaced_without_a_word_is_read_anew(shelf: Shelf) -> None:
    cube = regular_cube(*one_degree())
    item = shelf.cube("cube", cube)
    first = shelf.platform.cube.series(COLLECTION, item, HERE).values[0]
    (cube + 5).to_netcdf(shelf.folder / "new.nc")
    (shelf.folder / "new.nc").replace(shelf.folder / "cube.nc")
    assert shelf.platform.cube.series(COLLECTION, item, HERE).values[0] == pytest.approx(first + 5)


def test_what_the_item_says_about_a_dataset_counts_as_the_dataset(shelf: Shelf) -> None:
    item = shelf.raster("described", field(1), BOX, asset={"raster:bands": [{"unit": "m"}]})
    first = shelf.platform.raster.point(COLLECTION, item, HERE)
    document = dict(shelf.platform.catalog.item(COLLECTION, item))
    document["properties"] = {**document["properties"], "version": "2"}
    shelf.platform.catalog.upsert_items([document])
    again = shelf.platform.raster.point(COLLECTION, item, HERE)
    assert (first.source.dataset_version, again.source.dataset_version) == (None, "2")


def test_a_file_that_is_gone_is_said_to_be_gone(shelf: Shelf) -> None:
    item = shelf.raster("gone", field(1), BOX)
    assert value_of(shelf, item) == 1
    (shelf.folder / "gone.tif").unlink()
    with pytest.raises(NotFound, match="file of item 'gone' is gone"):
        value_of(shelf, item)


def test_check_23_what_another_process_registers_or_withdraws_is_seen_by_the_next_question(shelf: Shelf) -> None:
    item = shelf.raster("shared", field(1), BOX)
    assert value_of(shelf, item) == 1
    other = shelf.folder / "elsewhere.tif"
    write(other, 2)
    another_process(shelf, item, str(other))
    assert value_of(shelf, item) == 2
    assert not descriptors(shelf.folder / "shared.tif")
    another_process(shelf, item)
    with pytest.raises(NotFound):
        value_of(shelf, item)


def test_twenty_threads_never_read_an_older_file_than_there_was_when_they_asked(shelf: Shelf) -> None:
    item = shelf.raster("hot", field(0), BOX)
    path = shelf.folder / "hot.tif"
    written = [0]
    wrong: list[tuple[float | None, int]] = []
    done = threading.Event()
    answered = [0] * 20

    def ask(number: int) -> None:
        while not done.is_set():
            before = written[0]
            value = value_of(shelf, item)
            if value is None or value < before:
                wrong.append((value, before))
            answered[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for version in range(1, 40):
        write(path, version)
        written[0] = version
        if version % 10 == 0:
            shelf.raster(f"noise-{version}", field(version), BOX)
    while min(answered) < 3:
        threading.Event().wait(0.01)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(descriptors(path)) <= 20


def test_a_point_at_hand_is_told_without_opening_anything(shelf: Shelf) -> None:
    item = shelf.raster("raster", np.full((4, 4), 7, "uint8"), (0, 0, 4, 4))
    rasters, place = shelf.platform.raster, Point(1.5, 1.5)
    assert rasters.point_at_hand(COLLECTION, item, place) is None
    read = rasters.point(COLLECTION, item, place)
    assert rasters.point_at_hand(COLLECTION, item, place) == read
    shelf.raster("raster", np.full((4, 4), 8, "uint8"), (0, 0, 4, 4))
    assert rasters.point_at_hand(COLLECTION, item, place) is None
    assert rasters.point(COLLECTION, item, place).values == (8.0,)
