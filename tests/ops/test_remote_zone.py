"""A zone in an object store is cleaned like a folder."""

import time
from pathlib import Path

import obstore
import pytest

from geoetl.ops import Part
from geoetl.ops.model import Fate
from tests.ops.housed import House, connect
from tests.s3 import S3Server


@pytest.fixture
def house(home: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> House:
    """Give a platform whose internal zone is a bucket."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"zone-{time.time_ns()}"
    (s3.folder / bucket).mkdir()
    return House(connect(home, zones={"internal": f"s3://{bucket}/inside"}))


def test_objects_and_folders_of_a_bucket_go_when_nothing_needs_them(house: House, tmp_path: Path) -> None:
    zone = house.platform.zones.internal
    (tmp_path / "store" / "tas").mkdir(parents=True)
    for name in ("zarr.json", "tas/0"):
        (tmp_path / "store" / name).write_text(name)
    for key in ("cubes/x.zarr", "cubes/xy.zarr"):
        zone.put_folder(tmp_path / "store", key, owner="lands/x")
    house.put("a/b.tif")
    house.put("ab/b.tif")
    house.register("x", "internal://cubes/x.zarr", "internal://a/b.tif")
    for key in ("odd/one.tif", ".incoming/publish/06abc/one.tif", ".incoming/publish/06abc/two.tif"):
        obstore.put(zone.store, key, b"123")
    done = house.clean(Part.OBJECTS, Part.WRITES)
    assert {one.name: (one.fate, one.bytes) for one in done.actions_taken} == {
        "internal://.incoming/publish/06abc": (Fate.FIXED, 6),
        "internal://ab/b.tif": (Fate.FIXED, 7),
        "internal://cubes/xy.zarr": (Fate.FIXED, 14),
        "internal://odd/one.tif": (Fate.REPORTED, 3),
    }
    left = sorted(str(one["path"]) for batch in obstore.list(zone.store) for one in batch)
    assert left == ["a/b.tif", "cubes/x.zarr/tas/0", "cubes/x.zarr/zarr.json", "odd/one.tif"]
    assert house.clean(Part.OBJECTS, unknown=True).items_fixed == 1
