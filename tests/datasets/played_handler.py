"""A handler whose source is a table at hand, for what no real source would deliver."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pyarrow as pa
import shapely

from geoetl.core.identifiers import digest
from geoetl.core.registry import Registry
from geoetl.core.request import Request
from geoetl.datasets.features import FeatureWriter
from geoetl.datasets.protocol import Task
from geoetl.datasets.release import Fetched, Prepared, PreparedVector, Release
from geoetl.platform import Platform

KEY = "id"
PLAYED = "played"


class NoConfig(Request):
    """The handler is told nothing."""


class Played:
    """Delivers what its class says."""

    config: ClassVar[type[Request]] = NoConfig
    credentials: ClassVar[tuple[str, ...]] = ("TOKEN",)
    required_columns: ClassVar[tuple[str, ...]] = ()
    stamp: ClassVar[str] = "1"
    make: ClassVar[Callable[[Task], Iterator[Prepared]]]

    def check(self, task: Task) -> Release:
        """Offer the release."""
        return Release(source_version=f"v{self.stamp}"[:100], stamp=self.stamp)

    def fetch(self, task: Task, release: Release) -> Fetched:
        """Fetch nothing."""
        return Fetched()

    def prepare(self, task: Task, release: Release, fetched: Fetched) -> Iterator[Prepared]:
        """Make it ready."""
        return type(self).make(task)


def play(platform: Platform, make: Callable[[Task], Iterator[Prepared]], stamp: str | None = None) -> None:
    """Let the datasets of a platform with the handler "played" have another release, made by a function."""
    stamp = stamp or digest([id(make), getattr(make, "told", "")])
    handler = type("Played", (Played,), {"make": staticmethod(make), "stamp": stamp})
    platform.__dict__["datasets"] = replace(platform.datasets, handlers=Registry("handler", {PLAYED: handler}))


def table(
    columns: dict[str, Any],
    shapes: Sequence[Any] | None = None,
    *,
    key: str = KEY,
    suffix: str = "",
) -> Callable[[Task], Iterator[Prepared]]:
    """Return what makes features ready that are in a table.

    Args:
        columns: Values or Arrow arrays by name.
        shapes: A geometry for each row, None for none; points one beside another by default.
        key: Which column tells them apart.
        suffix: Ends the id of the item.
    """

    def make(task: Task) -> Iterator[Prepared]:
        batch = pa.RecordBatch.from_pydict(columns)
        given = shapes if shapes is not None else [shapely.Point(n % 100, n // 100 % 50) for n in range(len(batch))]
        with FeatureWriter(task.workspace / "features.parquet", batch.schema) as writer:
            writer.write(batch, pa.array([None if one is None else shapely.to_wkb(one) for one in given], pa.binary()))
        yield PreparedVector(file="features.parquet", title="Played", key=key, suffix=suffix)

    return make
