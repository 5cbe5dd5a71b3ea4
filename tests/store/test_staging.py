"""What is collected in an area is out of sight, comes into place as a whole, and goes as one."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from geoetl.core.errors import InvalidParameter, NotFound
from geoetl.store import file_area, object_area
from geoetl.store.area import Area, check_names
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.contents import Content, content_of
from geoetl.store.origins import Origin
from geoetl.store.side_by_side import side_by_side
from geoetl.store.staging import Staging, area_at
from geoetl.store.zones import Zone

HELD: Mapping[str, bytes] = {"data.tif": b"II*\0" * 1000, "zarr/.zmetadata": b"{}", "zarr/tas/0.0": b"chunk"}


@pytest.fixture(params=["files", "objects"])
def staging(request: pytest.FixtureRequest, zone: Zone) -> Staging:
    """Give an area of a file zone, and one of an object store that lives in memory."""
    where = zone if request.param == "files" else Zone("external", "memory:///", zone.artifacts, zone.cache)
    return Staging(where, "publish/one")


def fill(area: Area, held: Mapping[str, bytes] = HELD) -> dict[str, Content]:
    for name, content in held.items():
        area.write(name, content, "application/octet-stream")
    return {name: content_of([content]) for name, content in held.items()}


def held(area: Area) -> dict[str, Content]:
    return {name: area.read_back(name) for name in area.sizes()}


def test_what_was_collected_comes_into_place_and_nothing_stays(staging: Staging) -> None:
    wanted = fill(staging.area)
    place = area_at(staging.zone, "c/i/v1")
    assert (held(staging.area), held(place)) == (wanted, {})
    staging.come_into_place("c/i/v1", wanted, ["data.tif"])
    assert (held(staging.area), held(place)) == ({}, wanted)


def test_what_was_in_place_before_is_replaced(staging: Staging) -> None:
    place = area_at(staging.zone, "c/i/v1")
    fill(place, {"data.tif": b"another", "stranger": b"?"})
    wanted = fill(staging.area)
    staging.come_into_place("c/i/v1", wanted, [])
    assert held(place) == wanted


def test_an_area_does_not_reach_to_those_whose_names_go_on(staging: Staging) -> None:
    first, tenth = area_at(staging.zone, "c/i/v1"), area_at(staging.zone, "c/i/v10")
    fill(first)
    wanted = fill(tenth)
    first.remove()
    first.remove()
    assert (held(first), held(tenth)) == ({}, wanted)


def test_the_last_come_last_in_an_object_store(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    import obstore

    far = Zone("external", "memory:///", zone.artifacts, zone.cache)
    staging, copied, copy = Staging(far, "publish/one"), list[str](), obstore.copy
    wanted = fill(staging.area)

    def noting(store: object, source: str, target: str) -> None:
        copied.append(target)
        copy(store, source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(obstore, "copy", noting)
    staging.come_into_place("c/i/v1", wanted, ["data.tif"])
    assert copied[-1] == "c/i/v1/data.tif"


def test_what_is_missing_does_not_come_into_place(staging: Staging) -> None:
    wanted = fill(staging.area)
    staging.area.discard(wanted)
    if staging.zone.root:
        staging.area.remove()
    with pytest.raises(NotFound):
        staging.come_into_place("c/i/v1", wanted, [])
    assert held(area_at(staging.zone, "c/i/v1")) == {}


def test_what_is_gone_already_can_be_discarded(staging: Staging) -> None:
    fill(staging.area)
    staging.area.discard(["data.tif", "zarr/tas/0.0"])
    staging.area.discard(["data.tif", "never"])
    assert staging.area.sizes() == {"zarr/.zmetadata": 2}


def test_objects_larger_than_a_part_and_than_a_store_copies_arrive(
    staging: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PART_BYTES", "COPIED_BY_STORE_BYTES"):
        monkeypatch.setattr(object_area, name, 1000)
    monkeypatch.setattr(file_area, "_COPY_BYTES", 1000)
    content = os.urandom(10_500)
    path = tmp_path / "large.bin"
    path.write_bytes(content)
    staging.put("large.bin", Origin(str(path), path=path), len(content), "image/tiff")
    wanted = {"large.bin": content_of([content])}
    assert held(staging.area) == wanted
    staging.come_into_place("c/i/v1", wanted, [])
    assert held(area_at(staging.zone, "c/i/v1")) == wanted


def test_a_file_is_copied_where_the_system_does_not_do_it_by_itself(
    zone: Zone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "copy_file_range")
    path = tmp_path / "data.bin"
    path.write_bytes(content := os.urandom(3_000_000))
    staging = Staging(zone, "publish/one")
    staging.put("data.bin", Origin(str(path), path=path), len(content), "image/tiff")
    assert staging.area.read_back("data.bin") == content_of([content])


def test_a_link_is_neither_followed_nor_taken_for_what_it_leads_to(zone: Zone, tmp_path: Path) -> None:
    (secret := tmp_path / "secret").write_bytes(b"keep")
    staging = Staging(zone, "publish/one")
    fill(staging.area)
    link = Path(staging.address("zarr/tas/0.0"))
    link.unlink()
    link.symlink_to(secret)
    with pytest.raises(Exception, match="could not be copied"):
        staging.area.read_back("zarr/tas/0.0")
    with pytest.raises(Exception, match="could not be copied"):
        staging.put("zarr/tas/0.0", Origin(str(secret), path=secret), 4, "image/tiff")
    assert secret.read_bytes() == b"keep"


def test_who_comes_second_to_an_area_of_files_waits(zone: Zone) -> None:
    order: list[str] = []
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with Staging(zone, "publish/one").held():
            inside.set()
            leave.wait()
            order.append("first")

    def second() -> None:
        with Staging(zone, "publish/one").held():
            order.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    inside.wait()
    threads[1].start()
    leave.set()
    for thread in threads:
        thread.join()
    assert order == ["first", "second"]
    assert zone.root is not None
    assert list(zone.root.rglob("*.lock")) == []


@pytest.mark.parametrize("name", ["tas_Amon_Ä+1=a,b@c~.nc", ".zattrs", "a/b/c-1.0.0", "x" * 255, "größe/日本.tif"])
def test_names_that_are_the_same_everywhere_are_right(staging: Staging, name: str) -> None:
    check_names([name])
    staging.area.write(name, b"x", "text/plain")
    assert staging.area.sizes() == {name: 1}
    staging.come_into_place("c/i/v1", {name: content_of([b"x"])}, [])
    assert area_at(staging.zone, "c/i/v1").sizes() == {name: 1}


@pytest.mark.parametrize("names", [["x" * 256], ["a/" * 400 + "b"], ["a?b"], ["a#b"], ["a", "a"], ["a", "a/b"], [".."]])
def test_names_that_are_not_are_refused(names: list[str]) -> None:
    with pytest.raises(InvalidParameter):
        check_names(names)


def test_many_records_are_written_and_forgotten_at_once(zone: Zone) -> None:
    records: ArtifactRepository = zone.artifacts
    keys = [f"c/i/v1/{number}" for number in range(5000)]
    records.writing_many("external", keys, "c/i")
    assert records.of_owner("c/i") == []
    records.stored_many("external", "c/i", dict.fromkeys(keys, ("a" * 64, 7)))
    assert records.of_owner("c/i") == [("external", key, "a" * 64, 7) for key in sorted(keys)]
    records.deleted_many("external", keys[1:])
    assert records.of_owner("c/i") == [("external", keys[0], "a" * 64, 7)]
    records.deleted_many("external", [])
    records.writing_many("external", [], "c/i")


def test_work_that_is_done_side_by_side_ends_at_the_first_failure() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        side_by_side(work, range(1000), 1)
    assert begun == [0, 1, 2, 3]
    side_by_side(work, [], 4)
    side_by_side(lambda number: begun.append(-number), range(100), 8)
    assert sorted(begun[4:]) == list(range(-99, 1))
