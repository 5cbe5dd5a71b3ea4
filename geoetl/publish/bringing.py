"""The stages that bring an approved release to the public: data first, then the catalogue that leads there.

Each may be done again after its process died. What ends for good moves the release to *copy failed* with the reason; a
further try goes on where that one ended.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from geoetl.core import html
from geoetl.core.errors import Conflict, GeoetlError, NotFound, VerificationFailed
from geoetl.core.findings import Finding, has_errors, sentences
from geoetl.publish import audit
from geoetl.publish.delivery import STAGING, Delivered
from geoetl.publish.model import Action, Manifest, Release, State
from geoetl.publish.parts import Parts
from geoetl.publish.steps import MAX_REASON_LETTERS, Step
from geoetl.publish.transition import SYSTEM
from geoetl.runs.attempt import unforeseen
from geoetl.runs.model import Result, RunState
from geoetl.runs.queue import Superseded
from geoetl.runs.stage import Run, say
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.staging import Staging


class Begun(Result):
    """A release whose copy has begun.

    Attributes:
        release_id: Which one.
        path: Where in the external zone it will lie.
        manifest_digest: What was approved; nothing else is copied.
        objects: How many objects are to be copied.
        bytes: Their size.
    """

    release_id: str
    path: str
    manifest_digest: str
    objects: int
    bytes: int

    def _repr_html_(self) -> str:
        subtitle = f"{html.counted(self.objects, 'object')}, {html.human_bytes(self.bytes)}"
        return html.heading(f"To {self.path}", subtitle) + html.facts([("approved", self.manifest_digest)])


class Probed(Result):
    """What was found when the published things were opened from outside.

    Attributes:
        findings: None of them an error.
    """

    findings: tuple[Finding, ...]


class Published(Result):
    """A release that is public.

    Attributes:
        release_id: Which one.
        version: Of the item.
        url: Address of its STAC item.
        objects: How many objects it has.
        bytes: Their size.
    """

    release_id: str
    version: int
    url: str
    objects: int
    bytes: int

    def _repr_html_(self) -> str:
        subtitle = f"version {self.version}, {html.counted(self.objects, 'object')}, {html.human_bytes(self.bytes)}"
        return html.heading("Published", subtitle) + html.facts([("address", self.url)])


@dataclass(frozen=True)
class Bringing(Parts):
    """Brings releases in; see `Parts` for what it is given."""

    def begin(self, run: Run, release_id: str) -> Begun:
        """Use the approval of a release; again after a copy that failed or died.

        Raises:
            NotFound: There is no such release.
            Conflict: It is not approved, its approval does not hold, or another run copies it.
        """
        release = self.repository.get(release_id)
        if release.state is State.COPYING and release.run_id != run.id:
            if not self.settle(release):
                raise Conflict(
                    f"Release {release_id} is being copied by another run, {release.run_id}.",
                    hint=f"Follow that one: geoetl runs follow {release.run_id}",
                    field="run_id",
                )
            release = self.repository.get(release_id)
        is_mine = release.run_id == run.id and release.state in (State.COPYING, State.PUBLISHED)
        if not is_mine:
            nonce = release.approval.nonce if release.approval else "none"
            self._move(run, Step(release_id, Action.BEGIN_COPY, release.revision, nonce=nonce, run_id=run.id))
        manifest = release.manifest
        return Begun(
            release_id=release_id,
            path=manifest.path,
            manifest_digest=manifest.digest,
            objects=len(manifest.objects),
            bytes=manifest.bytes,
        )

    def deliver(self, run: Run, begun: Begun) -> Delivered:
        """Copy everything to where it will lie, and see that it arrived; nothing leads there yet.

        Raises:
            VerificationFailed: Something is not what was approved, or did not arrive as it was sent.
            Unavailable: A store cannot be reached, or a disk is full.
            Conflict: It is not to be copied any more.
        """

        def delivered(begun: Begun) -> Delivered:
            tell, manifest = _progress(begun, run.tell), self._manifest(begun)
            done = self.make_delivery().deliver(manifest, begun.release_id, tell)
            self._refuse_ended(manifest, begun)
            return done

        with self._failing(run, begun):
            done = run.stage("deliver", delivered, begun)
            # Of a stage that was done before, something may be gone meanwhile.
            return done if self.make_delivery().is_complete(self._manifest(begun)) else delivered(begun)

    def probe(self, run: Run, begun: Begun) -> Probed:
        """Open everything as the public will, without a way into the internal zone.

        Raises:
            VerificationFailed: Something cannot be opened, or leads to where the public may not go.
        """

        def probed(begun: Begun) -> Probed:
            found = self.make_probe().look(self._manifest(begun))
            if has_errors(found):
                raise VerificationFailed(
                    f"What was copied cannot be used from outside: {sentences(found)}",
                    hint="Correct the item, and submit it again.",
                )
            return Probed(findings=found)

        with self._failing(run, begun):
            return run.stage("probe", probed, begun)

    def reveal(self, run: Run, begun: Begun) -> Published:
        """Let the catalogue of the external zone lead to a release, which is published from then on.

        Raises:
            VerificationFailed: Something of it is no longer there.
            Unavailable: The external zone cannot be written.
        """

        def effect(connection: Connection) -> Published:
            audit.hold(connection)
            manifest = self._manifest(begun)
            if not self.make_delivery().is_complete(manifest):
                raise VerificationFailed(
                    f"Something of '{begun.path}' is missing in the external zone.",
                    hint="Publish it once more: what is missing is copied again.",
                )
            release = self.within(connection).get(begun.release_id)
            step = Step(begun.release_id, Action.FINISH_COPY, release.revision, run_id=run.id)
            (outcome,) = self.moves(connection, SYSTEM, [step])
            if outcome.error is not None:
                raise outcome.error
            self.index.write(connection)
            assert release.version is not None
            return Published(
                release_id=release.id,
                version=release.version,
                url=f"{self.base_url}/{begun.path}/{release.item}.json",
                objects=begun.objects,
                bytes=begun.bytes,
            )

        with self._failing(run, begun):
            published = run.once("reveal", effect)
        self.anchor.write(self.repository.audit)
        return published

    def failed(self, release_id: str, run_id: str, reason: str) -> None:
        """Note that the copy of a release failed, unless another run has taken it over; nothing of it is public then.

        Raises:
            NotFound: There is no such release.
            Unavailable: The external zone cannot be written.
        """
        with self.transaction() as connection:
            audit.hold(connection)
            release = self.within(connection).get(release_id)
            if release.state is not State.COPYING or release.run_id != run_id:
                return
            reason = reason[:MAX_REASON_LETTERS]
            step = Step(release_id, Action.FAIL_COPY, release.revision, reason=reason, run_id=run_id)
            self.moves(connection, SYSTEM, [step])
            # It may lead there already, where what failed is the end of the transaction.
            self.index.write(connection)
            self._take_back(connection, release.manifest, release.id)

    def settle(self, release: Release) -> bool:
        """Note that a copy failed whose run is over or is nowhere, and tell whether that was so."""
        assert release.run_id is not None
        try:
            record = self.runs.get(release.run_id)
        except NotFound:
            reason = "The run that copied it is not there any more."
        else:
            # One whose process is gone and that nobody takes up, as it was executed where it was asked for.
            if not (record.state.is_over or record.state is RunState.INTERRUPTED):
                return False
            told = GeoetlError.from_problem(record.error).detail if record.error else ""
            reason = told or f"The run that copied it is {record.state}."
        self.failed(release.id, release.run_id, reason)
        return True

    # -- within --------------------------------------------------------------------------------------------------------

    def _manifest(self, begun: Begun) -> Manifest:
        """Return the manifest that was approved, and no other."""
        manifest = self.repository.get(begun.release_id).manifest
        if manifest.digest != begun.manifest_digest:
            raise Conflict(
                f"Release {begun.release_id} is not what was approved any more.",
                hint="Have it revoked, and submit the item again.",
                field="manifest_digest",
            )
        return manifest

    def _refuse_ended(self, manifest: Manifest, begun: Begun) -> None:
        """Do nothing if what has come into place is still to be public.

        Raises:
            Conflict: Its copy has ended meanwhile, as its process was taken for dead; it is out of sight again.
        """
        with self.transaction() as connection:
            audit.hold(connection)
            state = self.within(connection).get(begun.release_id).state
            # Another run brings the same to the same place.
            if state in (State.COPYING, State.PUBLISHED):
                return
            self._take_back(connection, manifest, begun.release_id)
        raise Conflict(
            f"Release {begun.release_id} is {state.replace('_', ' ')} by now.",
            hint="Look at it again: somebody has decided otherwise, or another run has failed.",
            field="state",
        )

    def _take_back(self, connection: Connection, manifest: Manifest, release_id: str) -> None:
        """Let nobody find by its address what may never become public: its approval may be revoked, or end."""
        external = self.zones.external
        if manifest.version is None:
            return  # it was not copied: it has no place to go to
        Staging(external, f"{STAGING}/{release_id}").take_back(manifest.path, manifest.documents.keys())
        # The record belongs to the same transaction, which SQLite would otherwise wait for.
        artifacts = ArtifactRepository(self.repository.database.within(connection))
        names = (*(one.target for one in manifest.objects), *manifest.documents)
        artifacts.deleted_many(external.name, [f"{manifest.path}/{name}" for name in names])

    def _move(self, run: Run, step: Step) -> None:
        # A refusal is kept: it is raised when the transaction is over.
        with self.transaction() as connection:
            self.runs.queue.hold(connection, run.id, run.attempt)
            (outcome,) = self.moves(connection, SYSTEM, [step])
        if outcome.error is not None:
            raise outcome.error

    @contextmanager
    def _failing(self, run: Run, begun: Begun) -> Iterator[None]:
        """Note a failure after which the run is not tried again."""
        try:
            yield
        except Superseded:
            raise  # another attempt goes on
        except Exception as error:
            known = error if isinstance(error, GeoetlError) else unforeseen("publish", error)
            record = self.runs.get(run.id)
            if not known.retryable or record.failures + 1 >= record.max_attempts:
                self.failed(begun.release_id, run.id, known.detail)
            raise


def _progress(begun: Begun, tell: Callable[[str], None] = say) -> Callable[[int, int], None]:
    """Return what tells every tenth of the way."""
    told = 0

    def hear(objects: int, size: int) -> None:
        nonlocal told
        tenth = 10 * size // begun.bytes if begun.bytes else 0
        if tenth > told:
            told = tenth
            tell(f"{objects:,} of {begun.objects:,} objects, {html.human_bytes(size)}")

    return hear
