"""A process that decides on whatever waits, for tests and measurements of many that do so at once."""

from collections.abc import Sequence

from geoetl.core.principal import Principal, Role, Via
from geoetl.publish.model import Action
from geoetl.publish.repository import ReleaseRepository
from geoetl.publish.steps import Step
from geoetl.store.database import Database

#: Of a release: id, revision, digest of its manifest.
Seen = tuple[str, int, str]


def decide(url: str, name: str, seen: Sequence[Seen], batch: int) -> tuple[list[str], list[str]]:
    """Approve or reject what was seen, by turns; return the ids of those that it decided on, and of those it lost."""
    releases = ReleaseRepository(Database(url))
    actor = Principal(name, name, Role.APPROVER, Via.TOKEN)
    won: list[str] = []
    lost: list[str] = []
    for start in range(0, len(seen), batch):
        steps = [
            Step(one, Action.APPROVE, revision, manifest_digest=digest)
            if (start + place + len(name)) % 2
            else Step(one, Action.REJECT, revision, reason="It is not good.")
            for place, (one, revision, digest) in enumerate(seen[start : start + batch])
        ]
        for outcome in releases.decide_many(actor, steps):
            (won if outcome.error is None else lost).append(outcome.release_id)
    releases.database.dispose()
    return won, lost
