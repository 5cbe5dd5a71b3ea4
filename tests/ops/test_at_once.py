"""Two janitors at once, one that is killed, and the history of what they did."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from geoetl.core.errors import NotFound
from geoetl.ops import Part
from geoetl.ops.model import Fate
from tests.ops.housed import House, connect, request

COUNT = 120


def fill(house: House) -> list[str]:
    """Write objects that nothing needs, and one that an item needs."""
    keys = [f"many/{number:03d}.tif" for number in range(COUNT)]
    with house.platform.database.begin() as connection:
        within = house.platform.database.within(connection)
        internal = house.platform.zones.internal
        artifacts = type(internal.artifacts)(within)
        for key in keys:
            path = house.lay(key)
            artifacts.writing("internal", key, "lands/many")
            artifacts.stored("internal", key, "0" * 64, path.stat().st_size)
    house.register("a", house.put("many/000.tif-needed"))
    return keys


def test_of_two_janitors_at_once_each_object_is_removed_by_one(house: House) -> None:
    keys = fill(house)
    asked = request(Part.OBJECTS, dry_run=False)
    plans = [house.janitor.plan(asked) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda plan: house.janitor.clean(asked, plan), plans))
    assert sum(one.items_fixed for one in done) == COUNT
    fates = {action.fate for one in done for action in one.actions_taken}
    assert fates <= {Fate.FIXED, Fate.KEPT}
    assert not any(house.is_there(key) for key in keys) and house.is_there("many/000.tif-needed")


def clean_until_killed(home: Path, url: str | None, after: int) -> None:
    """Clean up, and die in the middle of a removal."""
    from geoetl.store.zones import Zone

    house, removed, delete = House(connect(home, url)), [0], Zone.delete

    def dying(self: Zone, key: str) -> None:
        delete(self, key)
        removed[0] += 1
        if removed[0] == after:
            os.kill(os.getpid(), signal.SIGKILL)

    Zone.delete = dying  # type: ignore[method-assign]
    house.clean(Part.OBJECTS)


def test_the_next_janitor_goes_on_where_one_was_killed(house: House) -> None:
    keys = fill(house)
    url = house.platform.settings.database.url
    arguments = (house.platform.settings.home, url.get_secret_value() if url else None, 50)
    process = get_context("spawn").Process(target=clean_until_killed, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    (killed,) = house.janitor.history.list()
    assert (killed.ended, killed.is_running) == (None, False)
    assert sum(not house.is_there(key) for key in keys) == 50
    done = house.clean(Part.OBJECTS)
    assert done.actions == {Part.OBJECTS: {Fate.FIXED: COUNT - killed.items_fixed}}
    assert not any(house.is_there(key) for key in keys) and house.is_there("many/000.tif-needed")
    assert house.plan(Part.OBJECTS).leftovers == ()


def test_each_clean_up_is_written_down_with_what_was_done(house: House) -> None:
    house.put("a.tif", b"12345")
    house.lay("strange.tif")
    before = time.time()
    dry = house.janitor.run(request(Part.OBJECTS), "Anna")
    real = house.clean(Part.OBJECTS)
    newest, oldest = house.janitor.history.list()
    assert (newest.id, oldest.id, newest.actions_taken) == (real.id, dry.id, ())
    assert (dry.dry_run, dry.who, dry.items_scanned, dry.items_fixed) == (True, "Anna", 2, 0)
    assert before <= dry.started <= (dry.ended or 0.0) and not dry.is_running
    assert dry.actions == {Part.OBJECTS: {Fate.FOUND: 1, Fate.REPORTED: 1}}
    assert [(one.name, one.fate, one.bytes) for one in real.actions_taken] == [
        ("internal://a.tif", Fate.FIXED, 5),
        ("internal://strange.tif", Fate.REPORTED, 7),
    ]
    assert (real.items_fixed, real.bytes_freed, real.request.parts) == (1, 5, (Part.OBJECTS,))
    assert house.janitor.history.get(real.id) == real
    assert house.janitor.history.list(before=real.id) == [dry.model_copy(update={"actions_taken": ()})]
    with pytest.raises(NotFound, match="no clean-up"):
        house.janitor.history.get("0")
