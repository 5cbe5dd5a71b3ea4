"""What everybody sees of releases, asked for once: one thread looks, however many pages are open."""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboards.review.rows import RowChanges, row_changes
from dashboards.review.sides import Drawn, ReleaseFiles, draw
from dashboards.review.standing import Group
from dashboards.runs.feed import RunFeed
from geoetl.core.errors import GeoetlError, NotFound
from geoetl.publish.audit import Head, Row
from geoetl.publish.model import Release, State
from geoetl.publish.parts import PUBLISH
from geoetl.publish.verification import Verification, verify
from geoetl.runs.model import RunRecord
from geoetl.runs.privacy import public_record

if TYPE_CHECKING:
    from geoetl.platform import Platform
    from geoetl.publish.publishing import Publishing

# What is long to work out stays in memory, for so many releases each.
MAX_KEPT = 8
# Rows of the audit log that are shown of one release.
MAX_TRAIL = 200
# A log that was looked through wholly is looked through wholly again after so long; meanwhile only what is new in it.
VERIFY_EVERY_S = 600.0
# Embargoes and what can be undone end without anything happening.
_AGES_S = 60
_RUN_OF_NOTEBOOK = re.compile(r"internal://runs/([A-Za-z0-9_-]{1,64})/")


@dataclass(frozen=True)
class Listing:
    """Some of the releases of a group, and whether there are more."""

    releases: tuple[Release, ...]
    more: bool


@dataclass(frozen=True)
class Verified:
    """What came of looking through the audit log.

    Attributes:
        found: The outcome.
        anchor: Its head as it is kept in the external zone; None where none was.
        told: Why the anchor could not be read; empty where it could.
    """

    found: Verification
    anchor: Head | None
    told: str = ""


class ReviewFeed(RunFeed):
    """Answers questions about releases from memory until something happens to one, and those about runs as `RunFeed`.

    Args:
        platform: Everything that is asked.
        every_s: How often it looks, seconds.
    """

    def __init__(self, platform: "Platform", every_s: float = 0.5) -> None:
        super().__init__(platform, every_s)
        self._kept: dict[str, OrderedDict[Hashable, Any]] = {}
        self._intact: Verification | None = None
        self._looked_through_at = 0.0

    # -- answers -------------------------------------------------------------------------------------------------------

    def counts_by_group(self) -> dict[Group, int]:
        """Return how many releases there are in each group.

        Raises:
            Unavailable: The database is away.
        """
        found = self._answered(("releases",), self._publish.repository.counts)
        return {group: sum(found[state] for state in group.states) for group in Group}

    def releases(self, group: Group, limit: int) -> Listing:
        """Return releases: what waits by how long it does so, the others by when they were made, the newest first."""
        return self._answered(("group", group, limit), lambda: self._of_group(group, limit))

    def release(self, release_id: str) -> Release:
        """Return a release as it stands.

        Raises:
            NotFound: There is none of that id.
        """
        return self._answered(("release", release_id), lambda: self._publish.repository.get(release_id))

    def before(self, release: Release) -> Release | None:
        """Return what is public of the same item beside a release; of several the newest version."""
        found = self._answered(("asset", release.asset_id), lambda: self._publish.repository.of_asset(release.asset_id))
        limit = release.version or float("inf")
        public = [one for one in found if one.state is State.PUBLISHED and one.id != release.id]
        return max(
            (one for one in public if (one.version or 0) < limit), key=lambda one: one.version or 0, default=None
        )

    def next_version(self, release: Release) -> int:
        """Return the version that the next approval of the item would assign."""
        found = self._answered(("asset", release.asset_id), lambda: self._publish.repository.of_asset(release.asset_id))
        return max((one.version or 0 for one in found), default=0) + 1

    def trail(self, release_id: str) -> tuple[Row, ...]:
        """Return what the audit log says of a release, the newest first."""
        log = self._publish.audit
        return self._answered(("trail", release_id), lambda: tuple(log.page(release_id=release_id, limit=MAX_TRAIL)))

    def people(self) -> Mapping[str, str]:
        """Return the names of those who may have decided, by id."""
        return self._answered(("people",), lambda: {user.id: user.name for user in self._platform.identity.users()})

    def present(self, release: Release) -> Mapping[str, Any] | None:
        """Return the item of the catalogue that was submitted, as it is now; None where it is there no more."""
        try:
            return self._platform.lookup.item(release.collection, release.item)
        except NotFound:
            return None

    def made_by(self, item: Mapping[str, Any] | None) -> RunRecord | None:
        """Return the run that made an item, as others may see it; None where that is not known any more."""
        links = item.get("links", ()) if item else ()
        address = next((str(one["href"]) for one in links if one.get("rel") == "processing-execution"), "")
        found = _RUN_OF_NOTEBOOK.match(address)
        return self.run_or_none(found[1]) if found else None

    def run_or_none(self, run_id: str | None) -> RunRecord | None:
        """Return a run, as others may see it; None where there is none any more."""
        try:
            return public_record(self.run(run_id)) if run_id else None
        except NotFound:
            return None

    def copy_of(self, release: Release) -> RunRecord | None:
        """Return the run that copies a release, also where it waits still and the release does not name it."""
        if release.run_id is not None or release.state is not State.APPROVED:
            return self.run_or_none(release.run_id)
        found = self._answered(
            ("copy", release.id), lambda: self._platform.runs.list(pipeline=PUBLISH, text=release.id, limit=1)
        )
        return self.run_or_none(found[0].id) if found else None

    # -- what is long to work out --------------------------------------------------------------------------------------

    def drawn(self, release: Release) -> Drawn:
        """Return how a release looks on the map."""
        key = (release.id, release.manifest_digest, release.state is State.PUBLISHED)
        return self._worked_out("drawn", key, lambda: draw(ReleaseFiles(self._platform, release)))

    def rows(self, old: Release, new: Release) -> RowChanges | None:
        """Return which features differ between two releases; None where they are no features.

        Raises:
            GeoetlError: They cannot be read, or are too many.
        """
        key = (old.manifest_digest, new.manifest_digest)
        return self._worked_out("rows", key, lambda: self._compare(old, new))

    def verified(self, *, wholly: bool = False) -> Verified:
        """Look through the audit log.

        Args:
            wholly: From its first row on, however lately that was done.
        """
        log, anchor, told = self._publish.audit, None, ""
        try:
            anchor = self._publish.anchor.read()
        except GeoetlError as error:
            told = error.detail
        known = None if wholly or time.time() - self._looked_through_at > VERIFY_EVERY_S else self._intact
        if known is None or (anchor is not None and anchor.number < known.head.number):
            found = verify(log.rows(), anchor)
            self._looked_through_at = time.time()
        else:
            after = known.head
            newer = verify(log.rows(after.number), anchor, after=after)
            found = Verification(newer.head, known.rows + newer.rows, newer.fault)
        self._intact = found if found.is_intact else None
        return Verified(found, anchor, told)

    # -- within --------------------------------------------------------------------------------------------------------

    @property
    def _publish(self) -> "Publishing":
        return self._platform.publish

    def _feel(self) -> Hashable:
        return self._publish.audit.head(), int(time.time() // _AGES_S), super()._feel()

    def _of_group(self, group: Group, limit: int) -> Listing:
        repository = self._publish.repository
        if group is Group.WAITING:
            found = tuple(one.release for one in repository.waiting(limit=limit + 1))
        else:
            found = repository.list(*group.states, limit=limit + 1, newest_first=True).releases
        return Listing(found[:limit], len(found) > limit)

    def _compare(self, old: Release, new: Release) -> RowChanges | None:
        was, now = self._table(old), self._table(new)
        return row_changes(self._platform.gate, was, now, new.item) if was and now else None

    def _table(self, release: Release) -> Path | None:
        """Return the file with the features of a release; None where it has none."""
        objects = release.manifest.objects
        target = next((one.target for one in objects if one.role == "data" and "parquet" in one.media_type), None)
        if target is None:
            return None
        zone, key = self._platform.zones.locate(ReleaseFiles(self._platform, release).href(target))
        return zone.local_path(key) if zone else None

    def _worked_out[T](self, what: str, key: Hashable, work: Callable[[], T]) -> T:
        with self._lock:
            kept = self._kept.setdefault(what, OrderedDict())
            if key in kept:
                kept.move_to_end(key)
                found: T = kept[key]
                return found
        made = work()
        with self._lock:
            kept[key] = made
            while len(kept) > MAX_KEPT:
                kept.popitem(last=False)
        return made
