"""Tiles like FATHOM's, so small that a folder of them is made in no time; each value tells where its pixel is."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

from geoetl.core.settings import LimitSettings
from geoetl.datasets.handlers.fathom import Fathom
from geoetl.datasets.handlers.fathom.names import RETURN_PERIODS, Corner, FloodType, Layout, Scenario, TileName, Variant
from geoetl.datasets.model import Definition, VersionState
from geoetl.datasets.release import Fetched, Release, Unchanged
from geoetl.datasets.version import Profile, Version
from geoetl.testing.datasets import Rehearsal, rehearsal

SIDE = 36
CELL = "fluvial_defended_2020_n04w006"
RIVER = Variant(FloodType.FLUVIAL_DEFENDED, 2020, None)
RIVER_2050 = Variant(FloodType.FLUVIAL_DEFENDED, 2050, Scenario.SSP2_45)
# 2026-01-02 03:04:05 UTC: long ago.
WRITTEN = 1_767_323_045


def depths(corner: Corner, period: int, side: int = SIDE) -> NDArray[np.int16]:
    """Return centimetres: thousands tell the band, the rest the row and column counted from 90 N and 180 W."""
    rows = (90 - corner.south - 1) * side + np.arange(side)
    columns = (corner.west + 180) * side + np.arange(side)
    place = (rows[:, None] % 60) * 60 + columns % 60
    return (RETURN_PERIODS.index(period) * 4000 + place).astype(np.int16)


def tile_name(corner: str, period: int, variant: Variant = RIVER, layout: Layout = Layout.BY_TYPE) -> TileName:
    version = "3.0" if layout is Layout.BY_LAYER else ""
    return TileName(variant, period, Corner.parse(corner), layout, version)


def put(folder: Path, name: TileName, values: NDArray[np.int16] | None = None, **profile: Any) -> Path:
    """Write a tile into a drop folder."""
    path = folder / name.path
    path.parent.mkdir(parents=True, exist_ok=True)
    values = depths(name.corner, name.return_period) if values is None else values
    side = values.shape[-1]
    options: dict[str, Any] = {
        "driver": "GTiff", "width": side, "height": values.shape[-2], "count": 1, "dtype": values.dtype,
        "crs": "EPSG:4326", "transform": from_origin(name.corner.west, name.corner.south + 1, 1 / side, 1 / side),
        "nodata": -32768, "compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 16, **profile,
    }  # fmt: skip
    with rasterio.open(path, "w", **options) as dataset:
        dataset.write(values, 1)
    os.utime(path, (WRITTEN, WRITTEN))
    return path


def put_all(
    folder: Path,
    corners: Sequence[str],
    variant: Variant = RIVER,
    layout: Layout = Layout.BY_TYPE,
    periods: Sequence[int] = RETURN_PERIODS,
) -> None:
    """Write tiles with all their return periods."""
    for corner in corners:
        for period in periods:
            put(folder, tile_name(corner, period, variant, layout))


def definition(folder: Path, **config: Any) -> Definition:
    """Return what is said of a dataset of a drop folder."""
    return Definition(
        dataset_id="floods",
        name="Floods",
        handler="fathom",
        source_type="manual",  # type: ignore[arg-type]
        source_url=str(folder),
        source_config={"grid_size": 2, **config},
        target_table_name="curated_floods",
        license="other",
        attribution="Fathom",
    )


class Played:
    """Updates of a drop folder, one after the other: each becomes what is live for the next.

    Args:
        base: Below it lies everything.
        said: The definition.
        limits: Of the gate.
    """

    def __init__(self, base: Path, said: Definition, limits: LimitSettings | None = None) -> None:
        self.base, self.said, self.limits = base, said, limits
        self.live: Version | None = None

    @contextmanager
    def update(self) -> Iterator[Rehearsal]:
        """Give the task of the next one."""
        with rehearsal(self.said, self.base, live=self.live, limits=self.limits) as update:
            yield update
            shutil.rmtree(update.task.folder)

    def check(self) -> Release:
        with self.update() as update:
            return Fathom().check(update.task)

    def run(self) -> tuple[dict[str, str], Path]:
        """Update; return what became of each item, and the folder of the rasters."""
        with self.update() as update:
            release = Fathom().check(update.task)
            fetched = Fathom().fetch(update.task, release)
            prepared = list(Fathom().prepare(update.task, release, fetched))
            self.live = live(self.said, release, fetched, [one.suffix for one in prepared])
            what = {one.suffix[1:]: "stays" if isinstance(one, Unchanged) else "made" for one in prepared}
            return what, update.task.workspace


def live(said: Definition, release: Release, fetched: Fetched, suffixes: list[str]) -> Version:
    return Version(
        dataset_id=said.dataset_id,
        number=1,
        state=VersionState.LIVE,
        source_version=release.source_version,
        stamp=release.stamp,
        based_on=None,
        items=tuple({"id": f"{said.target_table_name}{suffix}"} for suffix in suffixes),
        profile=Profile(),
        changes={},  # type: ignore[arg-type]
        findings=(),
        memo=fetched.memo,
        run_id=None,
        created_at=0.0,
    )
