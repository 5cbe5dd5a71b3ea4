"""What publishing does by itself: embargoes that end, times that are over, copies whose run died."""

from typing import Any, final

from geoetl.publish.due import PUBLISH_DUE, Due
from geoetl.publish.keeping import Purged
from geoetl.runs.functions import LightFunction
from geoetl.runs.stage import Run

__all__ = ["PUBLISH_DUE", "PURGE", "PublishDue", "PurgeWithdrawn"]

PURGE = "purge-withdrawn"


@final
class PublishDue(LightFunction):
    """Begin copies whose time has come, withdraw what has had its time, and settle what died; see `Due`."""

    title = "Publish and withdraw what is due"
    limit_s = 300.0

    def is_needed(self, platform: Any) -> bool:
        """Tell whether anything may be due."""
        return bool(platform.publish.is_due())

    def __call__(self, run: Run, platform: Any) -> Due:
        """Do what is due."""
        due: Due = platform.publish.do_due()
        return due


@final
class PurgeWithdrawn(LightFunction):
    """Remove what was kept for withdrawals that can no longer be undone."""

    title = "Remove for good what was withdrawn over 30 days ago"
    limit_s = 1800.0

    def __call__(self, run: Run, platform: Any) -> Purged:
        """Remove it."""
        purged: Purged = platform.publish.purge()
        return purged
