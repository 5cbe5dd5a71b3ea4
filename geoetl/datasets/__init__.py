"""Managed datasets: outside sources that are kept current, and are never left empty or wrong.

``model`` what they are · ``protocol`` what a handler offers · ``handlers`` ours · ``upstream`` HTTP · ``fetching`` one
file, from there or from a folder · ``features`` GeoParquet, batch by batch · ``declared`` what files say · ``update``
check, fetch, process, finalise · ``profile`` what a version is like · ``sanity`` what holds it back · ``changes`` what
differs · ``repository`` rows · ``tables`` of them · ``overview`` how they stand · ``pulse`` whether anything happened.
"""

from geoetl.datasets.model import (
    Definition,
    ManagedDataset,
    UpdateOutcome,
    UpdateRequest,
    UpdateStatus,
    UpdateType,
    Version,
    VersionState,
)
from geoetl.datasets.update import DatasetUpdates

__all__ = [
    "DatasetUpdates",
    "Definition",
    "ManagedDataset",
    "UpdateOutcome",
    "UpdateRequest",
    "UpdateStatus",
    "UpdateType",
    "Version",
    "VersionState",
]
