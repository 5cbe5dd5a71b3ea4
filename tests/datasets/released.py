"""A managed dataset whose source is a file in a folder, and updates of it in this process."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import shapely

from geoetl.core.identifiers import new_id
from geoetl.datasets import Definition, UpdateOutcome, UpdateRequest
from geoetl.platform import Platform

ID = "countries"
ITEM = "curated_countries"
COLLECTION = "curated"


def country(number: int, **values: Any) -> dict[str, Any]:
    """Return a square of one degree with its codes, as GeoJSON; the third and fourth are at the edges of all."""
    code = f"A{chr(number // 26 % 26 + 65)}{chr(number % 26 + 65)}"
    west, south = {2: (-50, -30), 3: (49, 29)}.get(number, (number * 37 % 99 - 49, number * 23 % 59 - 29))
    properties = {
        "ADM0_A3": code,
        "NAME": f"Land {number}",
        "ISO_A3": code,
        "ISO_A2": code[:2],
        "ISO_N3": number,
        "POP": 1000,
    }
    shape = shapely.box(west, south, west + 1, south + 1)
    return {
        "type": "Feature",
        "properties": {**properties, **values},
        "geometry": json.loads(shapely.to_geojson(shape)),
    }


def lands(count: int) -> list[dict[str, Any]]:
    """Return so many of them."""
    return [country(number) for number in range(count)]


def declared_here(folder: Path) -> Path:
    """Declare in a new folder the dataset that the description of the API asks for, with the sample as its source."""
    folder.mkdir()
    (folder / "admin0.yaml").write_text(
        "name: Countries\nhandler: admin0\nsource_type: manual\nsource_url: samples:ne_10m_admin_0_countries.zip\n"
        "target_table_name: curated_admin0\nlicense: CC0-1.0\nattribution: Made with Natural Earth\n"
    )
    return folder


@dataclass(frozen=True)
class Upkeep:
    """A platform that keeps one dataset.

    Attributes:
        platform: The platform.
        drop: The folder that its source is.
        dataset_id: Which dataset.
    """

    platform: Platform
    drop: Path
    dataset_id: str = ID

    @classmethod
    def begin(cls, platform: Platform, drop: Path, dataset_id: str = ID, **further: Any) -> "Upkeep":
        """Declare the dataset."""
        drop.mkdir(parents=True, exist_ok=True)
        definition = Definition(
            **{
                "dataset_id": dataset_id,
                "name": "Countries",
                "handler": "admin0",
                "source_type": "manual",
                "source_url": str(drop),
                "target_table_name": ITEM,
                "license": "CC0-1.0",
                "attribution": "Made with Natural Earth",
                "update_schedule": None,
                **further,
            }
        )
        platform.datasets.repository.create(definition)
        return cls(platform, drop, dataset_id)

    def release(self, features: Sequence[dict[str, Any]]) -> None:
        """Put a release into the folder, as somebody would: whole at once."""
        text = json.dumps({"type": "FeatureCollection", "features": list(features)})
        # Several processes may do so at once.
        part = self.drop / f"part-{os.getpid()}"
        part.write_text(text)
        part.rename(self.drop / "ne_admin_0_countries.geojson")

    def update(self, **asked: Any) -> UpdateOutcome:
        """Update in this process, stage by stage as the pipeline does."""
        from geoetl.runs.presence import Presence
        from geoetl.runs.queue import Ending, Submission
        from geoetl.runs.stage import Run

        platform, datasets = self.platform, self.platform.datasets
        request = UpdateRequest(dataset_id=self.dataset_id, **asked)
        subject = datasets.repository.get(self.dataset_id).subject
        with Presence(platform.runs.queue) as presence:
            claim = platform.runs.queue.begin(Submission("update-dataset", {}, new_id(), subject), presence.id)
            run = Run(
                claim.run_id, claim.attempt, platform.runs, platform.zones, platform.settings.dask, tell=lambda _: None
            )
            error: dict[str, Any] | None = {"detail": "It stopped."}
            try:
                checked = run.stage("check", datasets.check, request, run.id)
                fetched = run.stage("fetch", datasets.fetch, request, checked, run.id)
                made = run.stage("process", datasets.process, request, checked, fetched, None, run.id)
                outcome = datasets.finalise(run, request, checked, made)
                error = None
            finally:
                platform.runs.queue.finish(Ending(run.id, run.attempt, error=error))
        return outcome

    def served(self) -> gpd.GeoDataFrame:
        """Return what readers see now."""
        frame = self.platform.open(COLLECTION, ITEM)
        return frame.set_index("adm0_a3").sort_index()

    def objects(self) -> set[str]:
        """Return the keys of the objects that are in the zone."""
        root = self.platform.zones.internal.root
        assert root is not None
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
