"""The stages that take back what is public: the catalogue that leads there first, then the data.

Each may be done again after its process died; what is gone already is no error.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlalchemy.engine import Connection

from geoetl.core.errors import Conflict, InvalidParameter, NotFound
from geoetl.core.principal import Principal, Role, Via
from geoetl.publish import audit
from geoetl.publish.keeping import REMOVE_ITEM, Keeping, Kept
from geoetl.publish.model import UNDO_S, Action, Release, State, asset_id
from geoetl.publish.steps import Step
from geoetl.publish.withdrawal import GoingObject, GoingRelease, Scope, Withdrawal, Withdrawn
from geoetl.runs.model import Result
from geoetl.runs.stage import Run
from geoetl.store.catalog import Item, Search, walk
from geoetl.store.catalog.managed import refuse_managed
from geoetl.store.database import Database
from geoetl.store.zones import StoredObject

#: Whoever works on the machine itself, where nobody else is said.
LOCAL = Principal("local", "Local operator", Role.OPERATOR, Via.LOCAL)
# Items of the collection that are looked through for what depends on the one that goes.
MAX_LOOKED_THROUGH = 10_000
_REVOCABLE = (State.APPROVED, State.COPY_FAILED)
# Of an item that has left the catalogue nothing may be, or become, public.
_LIVE = (State.PENDING_REVIEW, State.COPYING, State.PUBLISHED, *_REVOCABLE)
# How items say that they were made of another one.
_DEPENDENT = ("derived_from", "predecessor-version", "related")


class Hidden(Result):
    """What nothing leads to any more.

    Attributes:
        releases: Ids of the releases that ended.
        left_catalogue: Whether the item left the catalogue.
        undo_until: Unix time until which it can be undone.
    """

    releases: tuple[str, ...]
    left_catalogue: bool
    undo_until: float | None


class Removed(Result):
    """What was removed.

    Attributes:
        objects: Objects of the external zone.
        bytes: Their size.
    """

    objects: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Withdrawing(Keeping):
    """Takes releases back; see `Parts` for what it is given."""

    def plan_withdrawal(
        self,
        collection: str,
        item: str,
        version: int = 0,
        scope: str = Scope.EXTERNAL,
        *,
        dry_run: bool = True,
        delete_objects: bool = True,
        force_approved: bool = False,
        reason: str = "",
        asked_by: dict[str, str] | None = None,
    ) -> Withdrawal:
        """Say exactly what would go, what stays, and what depends on it; nothing is changed.

        Args:
            collection, item: What is withdrawn.
            version: Only this one; 0 for all.
            scope: ``external``: it is no longer public; ``everywhere``: it leaves the catalogue too.
            dry_run: Whether that is all that is wanted.
            delete_objects: Whether objects go too.
            force_approved: Whether an approval that was given, and not used yet, is revoked.
            reason: Why; needed unless it is a dry run.
            asked_by: Who asks: id, name, role and via of a principal; by default whoever works on this machine.

        Raises:
            NotFound: There is no such item or version.
            InvalidParameter: The scope is none, there is no reason, or one version is to go everywhere.
            ManagedData: A managed dataset keeps the collection, and the item would leave the catalogue.
            Conflict: It is being copied, waits for review, is approved, or geoetl itself reads the item.
        """
        chosen = _scope(scope)
        if chosen is Scope.EVERYWHERE and version:
            raise InvalidParameter(
                "What leaves the catalogue goes with all its versions.", hint="Omit the version.", field="version"
            )
        if not dry_run:
            # The release does not matter: it is the reason that is looked at.
            reason = Step("none", Action.WITHDRAW, 1, reason=reason).checked().reason or ""
        releases = self.repository.of_asset(asset_id(collection, item))
        found = self._item(collection, item) if chosen is Scope.EVERYWHERE or not releases else None
        if found is None and not releases:
            raise NotFound(f"There is no item '{item}' in '{collection}'.", hint="Check both ids.", field="item")
        if version and version not in [one.version for one in releases]:
            raise NotFound(f"'{item}' has no version {version}.", hint="Look at its status.", field="version")
        if chosen is Scope.EVERYWHERE:
            self._refuse_kept(collection, item, releases)
        going = list(self._going(releases, version, force_approved=force_approved))
        leaves = chosen is Scope.EVERYWHERE and found is not None
        own = self._own(found) if leaves and found is not None else ()
        lying = [one for one in going if one.state is State.PUBLISHED or self._is_lying(one)]
        external = [one for release in lying for one in _objects(release)]
        return Withdrawal(
            collection=collection,
            item=item,
            version=version,
            scope=chosen,
            dry_run=dry_run,
            delete_objects=delete_objects,
            reason=reason,
            asked_by=asked_by or described(LOCAL),
            releases=tuple(_going_release(release, is_lying=release in lying) for release in going),
            leaves_catalogue=leaves,
            objects=tuple(external) + own if delete_objects else (),
            stays=tuple(self._staying(releases, going, delete_objects=delete_objects)),
            depends=tuple(self._dependent(collection, item, own, leaves=leaves)),
        )

    def hide(self, run: Run, plan: Withdrawal) -> Hidden:
        """Let nothing lead to it any more: it leaves the catalogue of the external zone, and ours where that is wanted.

        Raises:
            Conflict: Something of it was changed since it was planned.
            Unavailable: The external zone cannot be written.
        """
        if plan.dry_run or plan.is_nothing:
            return Hidden(releases=(), left_catalogue=False, undo_until=None)
        actor = _principal(plan.asked_by)
        if plan.leaves_catalogue:
            run.stage("keep", self._keep, plan)
            # A process may have died since, and the item may have been registered anew.
            if not self._is_kept(plan, self.repository.database):
                self._keep(plan)

        def effect(connection: Connection) -> Hidden:
            audit.hold(connection)
            ended = self._end(connection, actor, plan)
            if plan.leaves_catalogue:
                self._take_out(connection, actor, plan)
            self.index.write(connection)
            now = self.repository.clock()
            return Hidden(releases=ended, left_catalogue=plan.leaves_catalogue, undo_until=now + UNDO_S)

        hidden = run.once("hide", effect)
        self.anchor.write(self.repository.audit)
        return hidden

    def remove(self, run: Run, plan: Withdrawal, hidden: Hidden) -> Withdrawn:
        """Remove the objects to which nothing leads any more from the external zone.

        Raises:
            Unavailable: The external zone cannot be written.
        """
        removed = run.stage("remove", self._remove, plan)
        return Withdrawn(
            collection=plan.collection,
            item=plan.item,
            dry_run=plan.dry_run,
            releases=hidden.releases,
            left_catalogue=hidden.left_catalogue,
            objects=removed.objects,
            bytes=removed.bytes,
            undo_until=hidden.undo_until,
        )

    # -- planning ------------------------------------------------------------------------------------------------------

    def _item(self, collection: str, item: str) -> Item | None:
        try:
            return self.catalog(self.repository.database).item(collection, item)
        except NotFound:
            return None

    def _refuse_kept(self, collection: str, item: str, releases: tuple[Release, ...]) -> None:
        with self.repository.database.read() as connection:
            refuse_managed(connection, [collection])
        self.refuse_system(collection, item)
        waiting = next((one for one in releases if one.state is State.PENDING_REVIEW), None)
        if waiting is not None:
            raise Conflict(
                f"'{item}' has a release that waits for review: {waiting.id}.",
                hint="Have it rejected first.",
                field="item",
            )

    def _going(self, releases: tuple[Release, ...], version: int, *, force_approved: bool) -> Iterator[Release]:
        for release in releases:
            if version not in (0, release.version):
                continue
            if release.state is State.COPYING:
                raise Conflict(
                    f"Release {release.id} of '{release.item}' is being copied at this moment.",
                    hint="Wait until it is public, then withdraw it.",
                    field="item",
                )
            if release.state in _REVOCABLE and not force_approved:
                raise Conflict(
                    f"Release {release.id} of '{release.item}' is approved.",
                    hint="Revoke it first, or withdraw with force_approved, which revokes it.",
                    field="force_approved",
                )
            if release.state is State.PUBLISHED or release.state in _REVOCABLE or self._is_left(release):
                yield release

    def _is_left(self, release: Release) -> bool:
        """Whether objects of a release that was withdrawn are still there: left, or by a removal that died."""
        return release.state is State.WITHDRAWN and self._is_lying(release)

    def _is_lying(self, release: Release) -> bool:
        """Whether anything of a release lies where it is public: what was approved, and not copied, does not."""
        manifest = release.manifest
        return manifest.version is not None and self.zones.external.folder_size(manifest.path) is not None

    def _own(self, item: Item) -> tuple[GoingObject, ...]:
        """Return the objects of the internal zone that are an item's own."""
        internal = self.zones.internal
        written = internal.artifacts.of_owner(f"{item['collection']}/{item['id']}")
        sizes = {key: size for zone, key, _, size in written if zone == internal.name}
        return tuple(GoingObject(zone=internal.name, key=key, bytes=size) for key, size in sorted(sizes.items()))

    def _staying(self, releases: tuple[Release, ...], going: list[Release], *, delete_objects: bool) -> Iterator[str]:
        for release in releases:
            if release.state is State.PUBLISHED and release not in going:
                yield f"version {release.version} is public, at {release.manifest.path}"
        if not delete_objects and going:
            yield "every object: whoever knows its address can still read it"

    def _dependent(self, collection: str, item: str, own: tuple[GoingObject, ...], *, leaves: bool) -> Iterator[str]:
        if not leaves:
            return
        keys = {one.key for one in own}
        mine = f"of {collection}/{item},"
        yield from (told for told in self.users_of(keys) if mine not in told)
        catalog, looked = self.catalog(self.repository.database), 0
        for other in walk(catalog, Search(collections=(collection,), limit=1000, count=False)):
            looked += 1
            if looked > MAX_LOOKED_THROUGH:
                yield f"more items of '{collection}' may do so: only {MAX_LOOKED_THROUGH:,} were looked through"
                return
            if other["id"] == item:
                continue
            if keys & set(self.keys_named(other)):
                yield f"item {collection}/{other['id']} has the same objects"
            elif any(_leads_to(link, item) for link in other.get("links", ())):
                yield f"item {collection}/{other['id']} names it in a link"

    # -- doing ---------------------------------------------------------------------------------------------------------

    def _keep(self, plan: Withdrawal) -> StoredObject:
        return self.keep(self._to_keep(plan, self.repository.database))

    def _is_kept(self, plan: Withdrawal, database: Database) -> bool:
        """Tell whether what is kept of an item is what it is now; of one that is gone there is nothing to keep."""
        try:
            present = self._to_keep(plan, database)
        except NotFound:
            return True
        kept = self.kept(plan.collection, plan.item)
        return kept is not None and kept.is_of(present)

    def _to_keep(self, plan: Withdrawal, database: Database) -> Kept:
        catalog = self.catalog(database)
        collection, item = catalog.collection(plan.collection), catalog.item(plan.collection, plan.item)
        portable = {
            name: {**asset, "href": self.zones.portable(asset["href"])} for name, asset in item["assets"].items()
        }
        return Kept(
            collection_document=dict(collection),
            item_document={**item, "assets": portable},
            keys=tuple(one.key for one in self._own(item)),
            delete_objects=plan.delete_objects,
            withdrawn_at=self.repository.clock(),
        )

    def _end(self, connection: Connection, actor: Principal, plan: Withdrawal) -> tuple[str, ...]:
        releases, steps = self.within(connection), []
        for going in plan.releases:
            release = releases.get(going.release_id)
            if release.state is not going.state:
                raise Conflict(
                    f"Release {release.id} is {release.state.replace('_', ' ')} by now, not "
                    f"{going.state.replace('_', ' ')}.",
                    hint="Plan the withdrawal once more.",
                    field="state",
                )
            if release.state is State.WITHDRAWN:
                continue  # only its objects are left
            step = Step(release.id, Action.REVOKE, release.revision, reason=plan.reason)
            if release.state is State.PUBLISHED:
                step = replace(step, action=Action.WITHDRAW, leaves_objects=not plan.delete_objects)
            steps.append(step)
        for outcome in self.moves(connection, actor, steps):
            if outcome.error is not None:
                raise outcome.error
        return tuple(step.release_id for step in steps)

    def _take_out(self, connection: Connection, actor: Principal, plan: Withdrawal) -> None:
        """Take the item out of the catalogue, and its collection too where that was the last one.

        Raises:
            Conflict: The item, or what is public of it, is not what the plan was made for.
        """
        database = self.repository.database.within(connection)
        catalog = self.catalog(database)
        if connection.dialect.name == "postgresql":
            from geoetl.store.catalog.pgstac import hold

            hold(connection)
        releases = self.within(connection).of_asset(asset_id(plan.collection, plan.item))
        other = next((one for one in releases if one.state in _LIVE), None)
        if other is not None:
            raise Conflict(
                f"'{plan.item}' has a release by now that is {other.state.replace('_', ' ')}: {other.id}.",
                hint="Plan the withdrawal once more.",
                field="item",
            )
        if not self._is_kept(plan, database):
            raise Conflict(
                f"The item '{plan.item}' is being registered anew at this moment.",
                hint="Plan the withdrawal once more.",
                field="item",
            )
        catalog.delete_item(plan.collection, plan.item)
        rest = catalog.search(Search(collections=(plan.collection,), limit=1, count=False))
        if not rest.items:
            catalog.delete_collection(plan.collection)
        own = sum(one.zone == self.zones.internal.name for one in plan.objects)
        details = {"reason": plan.reason, "objects": own, "collection_removed": not rest.items}
        self.note_item(connection, actor, REMOVE_ITEM, plan.collection, plan.item, details)

    def _remove(self, plan: Withdrawal) -> Removed:
        objects = size = 0
        for going in plan.releases if plan.delete_objects and not plan.dry_run else ():
            release = self.repository.get(going.release_id)
            # One that was restored meanwhile is public again, or about to be.
            if release.state is State.WITHDRAWN:
                self.make_delivery().remove(release.manifest)
                objects, size = objects + going.objects, size + going.bytes
        return Removed(objects=objects, bytes=size)


def _scope(scope: str) -> Scope:
    try:
        return Scope(scope)
    except ValueError:
        raise InvalidParameter(
            f"The scope is {' or '.join(Scope)}, not '{scope[:40]}'.", hint="external: no longer public.", field="scope"
        ) from None


def _objects(release: Release) -> Iterator[GoingObject]:
    manifest = release.manifest
    for one in manifest.objects:
        yield GoingObject(zone="external", key=f"{manifest.path}/{one.target}", bytes=one.bytes)
    for target in manifest.documents:
        yield GoingObject(zone="external", key=f"{manifest.path}/{target}", bytes=None)


def _going_release(release: Release, *, is_lying: bool) -> GoingRelease:
    manifest = release.manifest
    return GoingRelease(
        release_id=release.id,
        version=release.version or 0,
        state=release.state,
        path=manifest.path,
        objects=len(manifest.objects) + len(manifest.documents) if is_lying else 0,
        bytes=manifest.bytes if is_lying else 0,
    )


def _leads_to(link: dict[str, object], item: str) -> bool:
    return link.get("rel") in _DEPENDENT and str(link.get("href", "")).rstrip("/").endswith(f"/{item}")


def described(actor: Principal) -> dict[str, str]:
    """Return who asks, as a parameter of a pipeline."""
    return {"id": actor.id, "name": actor.name, "role": str(actor.role), "via": str(actor.via)}


def _principal(asked_by: dict[str, str]) -> Principal:
    try:
        return Principal(asked_by["id"], asked_by["name"], Role(asked_by["role"]), Via(asked_by["via"]))
    except (KeyError, ValueError):
        raise InvalidParameter("It is not said who asks.", hint="Omit asked_by.", field="asked_by") from None
