"""Managed datasets: outside sources that are kept current, and are never left empty or wrong.

``model`` what they are · ``release`` what handlers tell · ``version`` what is made of it · ``outcome`` how updates go ·
``protocol`` what a handler offers · ``handlers`` ours · ``upstream`` HTTP · ``fetching`` one file, from there or from a
folder · ``features`` GeoParquet, batch by batch · ``declared`` what files say · ``defining`` what people say ·
``update`` check, fetch, process, finalise · ``making`` a version · ``made`` parts of one that was interrupted ·
``profile`` what it is like · ``sanity`` what holds it back · ``changes`` what differs · ``serving`` which one is
served · ``scheduled`` the nightly look · ``repository`` rows · ``tables`` of them · ``overview`` how they stand ·
``pulse`` whether anything happened.
"""

from geoetl.datasets.model import Definition, ManagedDataset, UpdateRequest, UpdateStatus, UpdateType, VersionState
from geoetl.datasets.outcome import UpdateOutcome
from geoetl.datasets.update import DatasetUpdates
from geoetl.datasets.version import Version

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
