"""What versions of managed datasets need stays as long as they can be served."""

from pathlib import Path

from geoetl.ops import Part
from tests.datasets.released import Upkeep, lands
from tests.ops.housed import House, connect


def test_all_that_can_be_served_of_a_dataset_stays_and_what_handlers_keep(home: Path) -> None:
    house = House(connect(home, allowed_roots=(home.parent,)))
    kept = Upkeep.begin(house.platform, home.parent / "drop")
    kept.release(lands(10))
    kept.update()
    kept.release(lands(11))
    kept.update()
    dataset = house.platform.datasets.repository.list()[0]
    owner = f"{dataset.target_schema}/{dataset.target_table_name}"
    house.put("managed/x/bronze/page.jsonl.gz", owner=f"{owner}/bronze")
    house.put("managed/x/left.parquet", owner=owner)
    house.put("managed/other/page.jsonl.gz", owner=f"{owner}s/bronze")
    found = {one.name for one in house.plan(Part.OBJECTS).leftovers}
    assert found == {"internal://managed/x/left.parquet", "internal://managed/other/page.jsonl.gz"}
    assert len(kept.objects()) > 2
