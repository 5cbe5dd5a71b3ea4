"""Processes that update two datasets of one collection, decide about their versions, and read, all at the same time."""

import json
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import geopandas as gpd

import geoetl
from geoetl.core.errors import Conflict, NotFound
from geoetl.datasets import VersionState
from geoetl.datasets.upstream import SourceChanged
from geoetl.platform import Platform
from geoetl.store.catalog import Search
from tests.datasets.released import COLLECTION, Upkeep, lands

# A person takes longer.
PAUSE_S = 0.05
# What one process may be told because of another: that it came second.
COMES_SECOND = (Conflict, SourceChanged)


@dataclass(frozen=True)
class Place:
    """Where the processes meet.

    Attributes:
        folder: Of the platform and the sources.
        database: URL; None for SQLite in the folder.
        zone: URL of the internal zone; None for a folder.
    """

    folder: Path
    database: str | None = None
    zone: str | None = None

    def connect(self) -> Platform:
        """Return the platform."""
        further: dict[str, Any] = {"database": {"url": self.database}} if self.database else {}
        if self.zone:
            further["zones"] = {"internal": self.zone}
        return geoetl.connect(self.folder / "home", allowed_roots=(self.folder,), **further)

    @property
    def is_over(self) -> bool:
        """Whether there are no updates any more."""
        return (self.folder / "over").exists()

    def upkeep(self, dataset_id: str) -> Upkeep:
        """Return the upkeep of one dataset."""
        return Upkeep(self.connect(), self.folder / dataset_id, dataset_id)


def update(place: Place, dataset_id: str, rounds: int) -> int:
    """Put releases into the source and update, again and again; every third release is suspicious."""
    upkeep, done = place.upkeep(dataset_id), 0
    for number in range(rounds):
        upkeep.release(lands(5 if number % 3 == 2 else 10 + number % 2))
        try:
            upkeep.update(force_update=number % 4 == 3)
            done += 1
        except COMES_SECOND:
            continue
    return done


def decide(place: Place, *dataset_ids: str) -> int:
    """Accept what is held, reject it, or go back, in turn, as long as there are updates."""
    datasets, done, number = place.connect().datasets, 0, 0
    while not place.is_over:
        number += 1
        dataset_id = dataset_ids[number // 2 % len(dataset_ids)]
        time.sleep(PAUSE_S)
        held = datasets.repository.versions(dataset_id, states=[VersionState.HELD])
        try:
            if held and number % 2:
                datasets.accept(dataset_id, held[0].number, by="ada")
            elif held:
                datasets.reject(dataset_id, held[0].number, by="ada")
            else:
                datasets.rollback(dataset_id, by="ada")
            done += 1
        except (*COMES_SECOND, NotFound):
            continue
    return done


def read(place: Place, *item_ids: str) -> int:
    """Read what is served, as long as there are updates: it is there, whole, and has its objects."""
    platform, rounds = place.connect(), 0
    while not place.is_over:
        item_id = item_ids[rounds % len(item_ids)]
        rounds += 1
        assert platform.catalog.search(Search(collections=(COLLECTION,), ids=(item_id,))).items, "nothing is served"
        item = platform.catalog.item(COLLECTION, item_id)
        try:
            frame = platform.open(COLLECTION, item_id)
        except NotFound:
            # Several versions on, the objects of the first are gone; those of what is served never are.
            assert platform.catalog.item(COLLECTION, item_id)["assets"] != item["assets"], "it has no objects"
            continue
        assert isinstance(frame, gpd.GeoDataFrame) and len(frame) in (5, 10, 11), len(frame)
    return rounds


def together(place: Place, *work: tuple[Any, ...], beside: Sequence[tuple[Any, ...]] = ()) -> list[int]:
    """Do it all at the same time, each in a process of its own, and other things beside it until it is over.

    Returns:
        What each returned.
    """
    (place.folder / "over").unlink(missing_ok=True)
    first, work = len(work), (*work, *beside)
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    results = [place.folder / f"result-{number}" for number in range(len(work))]
    started = [
        context.Process(target=_told, args=(result, place, *one)) for result, one in zip(results, work, strict=True)
    ]
    for process in started:
        process.start()
    for process in started[:first]:
        process.join()
    (place.folder / "over").touch()
    for process in started[first:]:
        process.join()
    told = [json.loads(result.read_text()) if result.exists() else {"error": "it died"} for result in results]
    wrong = [str(one["error"]) for one in told if "error" in one]
    assert not wrong, "\n".join(wrong)
    return [int(one["done"]) for one in told]


def _told(result: Path, place: Place, function: Callable[..., int], *args: Any) -> None:
    try:
        result.write_text(json.dumps({"done": function(place, *args)}))
    except BaseException:
        result.write_text(json.dumps({"error": traceback.format_exc()}))
        raise


def look(upkeep: Upkeep, item_id: str) -> None:
    """See that all is as if one thing had been done after the other."""
    datasets = upkeep.platform.datasets
    live = datasets.repository.live(upkeep.dataset_id)
    assert live is not None
    dataset = datasets.repository.get(upkeep.dataset_id)
    assert dataset.live_version == live.number
    versions = datasets.repository.versions(upkeep.dataset_id)
    assert [version.state for version in versions].count(VersionState.LIVE) == 1
    assert sorted(version.number for version in versions) == list(range(1, len(versions) + 1))
    served = upkeep.platform.catalog.item(COLLECTION, item_id)
    assert served["properties"]["table:row_count"] == live.profile.rows
    for version in versions:
        if version.state in (VersionState.LIVE, VersionState.KEPT, VersionState.HELD):
            for item in version.profile.items:
                assert all(datasets.zone.size(key) for key in item.keys), f"{version.number} {version.state}"
    assert all(record.status.is_over for record in datasets.repository.history(upkeep.dataset_id, limit=1000))
