"""Runs of the pipelines of publishing, as a worker goes about them but without their notebooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from geoetl.core.identifiers import digest
from geoetl.platform import Platform
from geoetl.publish.bringing import Published
from geoetl.publish.model import Release
from geoetl.publish.publishing import Publishing
from geoetl.publish.withdrawal import Withdrawal, Withdrawn
from geoetl.publish.withdrawing import described
from geoetl.runs.model import RunKind
from geoetl.runs.presence import Presence
from geoetl.runs.queue import Submission
from geoetl.runs.stage import Run
from tests.publish.releasing import APPROVER


class Blind:
    """Opens nothing of what is published, and finds nothing wrong with it."""

    def look(self, manifest: object) -> tuple[()]:
        """Find nothing."""
        return ()


@contextmanager
def running(platform: Platform, pipeline: str, name: str = "") -> Iterator[Run]:
    """Go on with a run of a pipeline, or begin it; another name is another run."""
    with Presence(platform.runs.queue) as presence:
        asked = Submission(pipeline, {}, digest([pipeline, name]), f"{pipeline}/{name}")
        claim = platform.runs.queue.begin(asked, presence.id)
        dask = platform.settings.dask
        yield Run(claim.run_id, claim.attempt, platform.runs, platform.zones, dask, tell=lambda text: None)


@contextmanager
def claimed(platform: Platform) -> Iterator[Run]:
    """Claim the run that waits in the queue."""
    with Presence(platform.runs.queue) as presence:
        (claim,) = platform.runs.queue.claim(presence.id, RunKind.NOTEBOOK)
        dask = platform.settings.dask
        yield Run(claim.run_id, claim.attempt, platform.runs, platform.zones, dask, tell=lambda text: None)


def bring(platform: Platform, publish: Publishing, release: Release, name: str = "") -> Published:
    """Do what publish.ipynb does."""
    with running(platform, "publish", name) as run:
        begun = publish.begin(run, release.id)
        publish.deliver(run, begun)
        publish.probe(run, begun)
        published = publish.reveal(run, begun)
        run.emit(published)
    return published


def take_back(
    platform: Platform, publish: Publishing, collection: str, item: str, *place: Any, name: str = "", **said: Any
) -> Withdrawn:
    """Do what withdraw.ipynb does."""
    asked = {"dry_run": False, "reason": "Because.", "asked_by": described(APPROVER), **said}
    with running(platform, "withdraw", name) as run:
        plan: Withdrawal = run.stage("plan", publish.plan_withdrawal, collection, item, *place, **asked)
        withdrawn = publish.remove(run, plan, publish.hide(run, plan))
        run.emit(withdrawn)
    return withdrawn
