"""Objects go when nothing needs them, and never because of what their name begins with."""

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoetl.core.errors import InvalidParameter
from geoetl.ops import Part
from geoetl.ops.model import Fate
from geoetl.ops.needs import Needed
from geoetl.publish.model import State
from geoetl.runs.processes import ProcessMark
from geoetl.runs.queue import Ending, Submission
from geoetl.store.artifacts import ArtifactRepository
from tests.ops.housed import COLLECTION, House, request
from tests.publish.releasing import AUTHOR, WAYS, a_content, a_step, who_does

SEGMENT = st.sampled_from(["a", "ab", "a-b", "a.b", "A", "b", "aa"])
KEYS = st.lists(SEGMENT, min_size=1, max_size=3).map("/".join)


def names(*addresses: str) -> list[str]:
    return sorted(f"internal://{one}" for one in addresses)


def fates(house: House, *parts: Part, **further: Any) -> dict[str, Fate]:
    return {one.name: one.fate for one in house.clean(*parts, **further).actions_taken}


def test_an_object_goes_when_its_item_has_gone_and_not_before(house: House) -> None:
    kept, gone = house.put("rasters/lands/a/data.tif"), house.put("rasters/lands/b/data.tif", b"12345")
    house.register("a", kept)
    house.register("b", gone)
    assert house.plan(Part.OBJECTS).leftovers == ()
    house.platform.catalog.delete_item(COLLECTION, "b")
    (found,) = house.plan(Part.OBJECTS).leftovers
    assert (found.name, found.bytes, found.is_fixed) == (gone, 5, True)
    assert "lands/a" in found.reason
    done = house.clean(Part.OBJECTS)
    assert (done.items_fixed, done.bytes_freed, done.dry_run, done.who) == (1, 5, False, "test")
    assert house.is_there("rasters/lands/a/data.tif") and not house.is_there("rasters/lands/b/data.tif")
    assert house.platform.zones.internal.artifacts.of_owner("lands/a")[0][1] == "rasters/lands/a/data.tif"
    assert house.clean(Part.OBJECTS).items_fixed == 0


def test_a_dry_run_tells_and_changes_nothing(cottage: House) -> None:
    cottage.put("a/b.tif")
    done = cottage.janitor.run(request(Part.OBJECTS))
    assert (done.dry_run, done.items_fixed) == (True, 0)
    assert done.actions == {Part.OBJECTS: {Fate.FOUND: 1}}
    assert cottage.is_there("a/b.tif")


def test_what_is_younger_than_the_guard_stays(cottage: House) -> None:
    cottage.put("a/b.tif")
    cottage.lay("c.tif")
    assert cottage.platform.janitor.plan(request(Part.OBJECTS)).leftovers == ()
    assert cottage.plan(Part.OBJECTS, older_than_hours=30).leftovers == ()
    with pytest.raises(InvalidParameter, match="older_than_hours"):
        request(older_than_hours=0.5)


def test_what_lies_in_a_folder_goes_and_stays_with_it(house: House, tmp_path: Path) -> None:
    internal = house.platform.zones.internal
    (tmp_path / "store" / "tas").mkdir(parents=True)
    for name in ("zarr.json", "tas/0"):
        (tmp_path / "store" / name).write_text(name)
    for key in ("cubes/x.zarr", "cubes/x.zarr-old", "cubes/xy.zarr", "cubes/z.zarr"):
        internal.put_folder(tmp_path / "store", key, owner="lands/x")
    house.register("x", "internal://cubes/x.zarr")
    house.register("z", "internal://cubes/z.zarr/tas/0")
    assert [one.name for one in house.plan(Part.OBJECTS).leftovers] == names("cubes/x.zarr-old", "cubes/xy.zarr")
    house.clean(Part.OBJECTS)
    assert [house.is_there(f"cubes/{key}") for key in ("x.zarr", "x.zarr-old", "xy.zarr", "z.zarr")] == [1, 0, 0, 1]
    assert internal.folder_size("cubes/x.zarr") == len("zarr.json" + "tas/0")


@given(st.sets(KEYS, max_size=8), st.sets(KEYS, max_size=8))
def test_a_key_is_needed_by_whole_segments_alone(needed: set[str], keys: set[str]) -> None:
    known = Needed({f"internal://{key}": "x" for key in needed})
    for key in keys:
        mine = key.split("/")
        theirs = [one.split("/") for one in needed]
        is_needed = any(one[: len(mine)] == mine or mine[: len(one)] == one for one in theirs)
        assert (known.by(f"internal://{key}") is not None) == is_needed
        assert known.by(f"external://{key}") is None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_exactly_what_nothing_needs_goes_whatever_names_begin_alike(cottage: House, data: st.DataObject) -> None:
    keys = data.draw(st.sets(KEYS, min_size=1, max_size=10).map(lambda some: {f"{one}/o.tif" for one in some}))
    needed = data.draw(st.sets(st.sampled_from(sorted(keys))))
    house = cottage
    for one in house.platform.zones.internal.artifacts.keys_under("internal", "lands/a"):
        house.platform.zones.internal.delete(one)
    for key in keys:
        house.put(key)
    house.register("a", *(f"internal://{key}" for key in sorted(needed)))
    assert [one.name for one in house.plan(Part.OBJECTS).leftovers] == names(*(keys - needed))
    house.clean(Part.OBJECTS)
    assert {key for key in keys if house.is_there(key)} == needed


def test_what_geoetl_has_no_record_of_is_told_and_goes_only_when_asked(cottage: House) -> None:
    strange = cottage.lay("odd/My File.tif"), cottage.lay("odd/plain.tif"), cottage.lay("odd/needed.tif")
    cottage.register("a", str(strange[2]))
    found = cottage.plan(Part.OBJECTS)
    assert [(one.name, one.is_fixed) for one in found.leftovers] == [
        ("internal://odd/My File.tif", False),
        ("internal://odd/plain.tif", False),
    ]
    assert found.going == () and "2 more are only told" in found.summary
    assert fates(cottage, Part.OBJECTS) == dict.fromkeys(names("odd/My File.tif", "odd/plain.tif"), Fate.REPORTED)
    assert all(path.exists() for path in strange)
    told = fates(cottage, Part.OBJECTS, unknown=True)
    assert told == {"internal://odd/My File.tif": Fate.REPORTED, "internal://odd/plain.tif": Fate.FIXED}
    assert [path.exists() for path in strange] == [True, False, True]


def test_the_sources_of_a_cube_that_lie_in_a_zone_are_needed(cottage: House) -> None:
    source = cottage.lay("uploads/tas.nc")
    cottage.lay("uploads/other.nc")
    listed = cottage.put("cubes/c.sources.json", f'{{"files": [{{"address": "{source}"}}]}}'.encode())
    item = cottage.item("c")
    item["assets"] = {"sources": {"href": listed, "roles": ["metadata", "source"]}}
    cottage.register("c")
    cottage.platform.catalog.upsert_items([item])
    assert [one.name for one in cottage.plan(Part.OBJECTS).leftovers] == names("uploads/other.nc")


# -- what becomes needed meanwhile -------------------------------------------------------------------------------------


def test_an_object_that_became_needed_after_the_look_stays(house: House) -> None:
    asked, keys = request(Part.OBJECTS, dry_run=False), ("a.tif", "b.tif", "c.tif", "d.tif", "e.tif")
    for key in keys:
        house.put(key)
    plan = house.janitor.plan(asked)
    assert [one.name for one in plan.going] == names(*keys)
    house.register("a", "internal://a.tif")
    house.put("b.tif")
    queue = house.platform.runs.queue
    claim = queue.begin(Submission("x", {}, "f" * 64, "c/x"), queue.enter(ProcessMark.own(), 1))
    house.platform.runs.emit(claim.run_id, 1, '{"made": {"zone": "internal", "key": "c.tif"}}')
    house.platform.zones.internal.delete("e.tif")
    done = house.janitor.clean(asked, plan)
    told = {one.name.partition("://")[2]: (one.fate, one.detail) for one in done.actions_taken}
    assert told == {
        "a.tif": (Fate.KEPT, "the catalogue needs it by now"),
        "b.tif": (Fate.KEPT, "it was written anew"),
        "c.tif": (Fate.KEPT, "a run needs it by now"),
        "d.tif": (Fate.FIXED, None),
        "e.tif": (Fate.KEPT, "another clean-up has removed it"),
    }
    assert [house.is_there(key) for key in keys] == [True, True, True, False, False]


def test_whoever_registers_an_object_at_this_moment_is_waited_for(house: House) -> None:
    platform, address = house.platform, house.put("a.tif")
    house.register("other")
    asked = request(Part.OBJECTS, dry_run=False)
    plan, done = house.janitor.plan(asked), []
    with platform.database.begin() as connection:
        within = platform._catalog_over(platform.database.within(connection))
        within.upsert_items([house.item("a", address)])
        cleaning = threading.Thread(target=lambda: done.append(house.janitor.clean(asked, plan)))
        cleaning.start()
        cleaning.join(1.5)
        assert cleaning.is_alive() and house.is_there("a.tif")
    cleaning.join(60)
    assert [one.fate for one in done[0].actions_taken] == [Fate.KEPT]
    assert house.is_there("a.tif")


@pytest.mark.parametrize("state", State)
def test_what_a_release_needs_stays_in_both_zones(cottage: House, state: State) -> None:
    content = a_content(version=1)
    data = content.manifest.objects[0].model_copy(update={"source": "internal://rasters/flood.tif"})
    content = replace(content, manifest=content.manifest.model_copy(update={"objects": (data,)}))
    releases = cottage.platform.publish.repository
    release = releases.create(AUTHOR, content)
    for action in WAYS[state]:
        release = releases.move(who_does(action), a_step(release, action))
    cottage.put("rasters/flood.tif", owner="hazards/flood")
    for version in (1, 10):
        cottage.lay(f"hazards/flood/v{version}/rasters/flood.tif", zone="external")
    assert release.state is state
    found = {one.name for one in cottage.plan(Part.OBJECTS, unknown=True).leftovers}
    assert "external://hazards/flood/v10/rasters/flood.tif" in found
    assert ("internal://rasters/flood.tif" in found) == (state is State.REJECTED)
    is_inside = state in (State.DRAFT, State.PENDING_REVIEW, State.CHANGES_REQUESTED, State.REJECTED)
    assert ("external://hazards/flood/v1/rasters/flood.tif" in found) == is_inside


@dataclass(frozen=True)
class _Cleaning(ArtifactRepository):
    """Notes that an object is written just after somebody has removed it."""

    house: Any = None

    def writing(self, zone: str, key: str, owner: str) -> None:
        self.house.platform.zones.internal.delete(key)
        super().writing(zone, key, owner)


def test_a_folder_that_is_removed_while_it_is_put_again_is_there_afterwards(cottage: House, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "zarr.json").write_text("{}")
    internal = cottage.platform.zones.internal
    internal.put_folder(tmp_path / "store", "cubes/x.zarr", owner="lands/x")
    racing = replace(internal, artifacts=_Cleaning(cottage.platform.database, cottage))
    racing.put_folder(tmp_path / "store", "cubes/x.zarr", owner="lands/x")
    assert internal.folder_size("cubes/x.zarr") == 2


def test_what_runs_have_made_stays_as_long_as_they_may_go_on(cottage: House) -> None:
    runs, queue = cottage.platform.runs, cottage.platform.runs.queue
    cottage.put("a.tif")
    claim = queue.begin(Submission("x", {}, "f" * 64, "c/x"), queue.enter(ProcessMark.own(), 1))
    runs.start_stage(claim.run_id, 1, "convert", 1, "", 1)
    runs.finish_stage(claim.run_id, 1, "convert", result='{"data": {"zone": "internal", "key": "a.tif"}}', warnings=())
    assert cottage.plan(Part.OBJECTS).leftovers == ()
    queue.finish(Ending(claim.run_id, 1, error={"code": "error", "detail": "no", "title": "x", "status": 500}))
    assert cottage.plan(Part.OBJECTS).leftovers == ()
    with cottage.platform.database.begin() as connection:
        connection.exec_driver_sql("update runs set finished_at = finished_at - 8 * 86400")
    assert [one.name for one in cottage.plan(Part.OBJECTS).leftovers] == names("a.tif")
