"""A home folder with what ``geoetl demo`` makes, of CMIP6 only the models that the guides show."""

import fcntl
import shutil
from pathlib import Path

import geoetl
from geoetl.cli.demo import RUNS, declare_collections

_SHOWN = ["CESM2", "CanESM5", "IPSL-CM6A-LR", "KACE-1-0-G", "MRI-ESM2-0", "GFDL-CM4"]


def make_demo(home: Path) -> None:
    """Run the pipelines of the demo into a new home folder."""
    platform = geoetl.connect(home)
    declare_collections(platform)
    for step in RUNS:
        narrowed = (
            {"select": {"source_id": _SHOWN, "table_id": ["Amon"]}} if "cmip6" in step.parameters["source"] else {}
        )
        platform.run(step.pipeline, {**step.parameters, **narrowed}).raise_for_error()
    platform.database.dispose()


def copy_demo(home: Path, shared: Path) -> None:
    """Copy the demo into a new home folder; whichever process needs it first makes it in `shared`, for all.

    Nothing in such a home names its own place.
    """
    with shared.with_name(f"{shared.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            part = shared.with_name(f"{shared.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            make_demo(part)
            part.rename(shared)
    shutil.copytree(shared, home)
