"""Updates of managed datasets beside each other, beside decisions and beside readers: all of it, or nothing."""

from pathlib import Path

import pytest

from tests.datasets.released import ID, ITEM, Upkeep, lands
from tests.faults import racing
from tests.faults.racing import Place

OTHER, OTHER_ITEM = "others", "curated_others"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Give a place for several processes, with two datasets that were not updated yet."""
    url = request.getfixturevalue("new_pgstac_url")() if request.param == "postgresql" else None
    place = Place(tmp_path, url)
    platform = place.connect()
    for dataset_id, item in ((ID, ITEM), (OTHER, OTHER_ITEM)):
        Upkeep.begin(platform, tmp_path / dataset_id, dataset_id, target_table_name=item).release(lands(10))
    platform.database.dispose()
    return place


def test_updates_decisions_and_readers_at_the_same_time_leave_one_version_whole(place: Place) -> None:
    # The first versions of both, which also make their collection.
    assert racing.together(place, (racing.update, ID, 1), (racing.update, OTHER, 1)) == [1, 1]
    done = racing.together(
        place,
        (racing.update, ID, 3),
        (racing.update, ID, 3),
        (racing.update, OTHER, 3),
        beside=[(racing.decide, ID, OTHER), (racing.read, ITEM, OTHER_ITEM)],
    )
    assert all(done)
    for dataset_id, item in ((ID, ITEM), (OTHER, OTHER_ITEM)):
        upkeep = place.upkeep(dataset_id)
        upkeep.release(lands(12))
        upkeep.update(force_update=True)
        racing.look(upkeep, item)
        upkeep.platform.database.dispose()
