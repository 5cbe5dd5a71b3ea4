"""What a withdrawal is: what goes, what stays, and what depends on it."""

from enum import StrEnum

from pydantic import Field

from geoetl.core import html
from geoetl.publish.model import State
from geoetl.runs.model import Result

# Rows that a notebook shows of a long list.
_SHOWN = 30


class Scope(StrEnum):
    """From where something is withdrawn."""

    EXTERNAL = "external"  # it is no longer public
    EVERYWHERE = "everywhere"  # and leaves the catalogue too


class GoingRelease(Result):
    """A release that ends.

    Attributes:
        release_id: Which one.
        version: Of the item.
        state: As it stands: published, or approved or failed where its approval is revoked.
        path: Where it lies in the external zone.
        objects: How many objects lie there, documents included.
        bytes: Size of those that are no documents.
    """

    release_id: str
    version: int
    state: State
    path: str
    objects: int
    bytes: int


class GoingObject(Result):
    """An object that goes.

    Attributes:
        zone: ``external``: at once; ``internal``: when the withdrawal can no longer be undone.
        key: Its key.
        bytes: Its size; None where that is not known.
    """

    zone: str
    key: str
    bytes: int | None


class Withdrawal(Result):
    """What a withdrawal does, or would do.

    Attributes:
        collection, item: What is withdrawn.
        version: Only this one; 0 for all.
        scope: From where.
        dry_run: Whether nothing is done.
        delete_objects: Whether objects go too; otherwise nothing leads to them any more, and they stay.
        reason: Why.
        asked_by: Who asked: id, name, role and via of a principal.
        releases: What ends.
        leaves_catalogue: Whether the item leaves the catalogue.
        objects: What goes.
        stays: What one might expect to go, and why it does not.
        depends: What uses it.
    """

    collection: str
    item: str
    version: int
    scope: Scope
    dry_run: bool
    delete_objects: bool
    reason: str
    asked_by: dict[str, str]
    releases: tuple[GoingRelease, ...] = ()
    leaves_catalogue: bool = False
    objects: tuple[GoingObject, ...] = ()
    stays: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing to withdraw."""
        return not (self.releases or self.leaves_catalogue)

    @property
    def goes(self) -> tuple[str, ...]:
        """What goes, in sentences but for single objects."""
        lines = [f"version {one.version} at {one.path}, {one.state.replace('_', ' ')}" for one in self.releases]
        if self.leaves_catalogue:
            lines.append(f"the item {self.collection}/{self.item} of the catalogue")
        for zone in ("external", "internal"):
            found = [one for one in self.objects if one.zone == zone]
            if found:
                size = html.human_bytes(sum(one.bytes or 0 for one in found))
                when = "" if zone == "external" else ", when this can no longer be undone"
                lines.append(f"{html.counted(len(found), 'object')} of the {zone} zone, {size}{when}")
        return tuple(lines)

    def _repr_html_(self) -> str:
        name = f"{self.collection}/{self.item}"
        told = "would go" if self.dry_run else "goes"
        parts = [html.heading(f"Withdrawal of {name}", "dry run" if self.dry_run else self.reason)]
        rows = [(told, line) for line in self.goes] + [("stays", line) for line in self.stays]
        rows += [("depends on it", line) for line in self.depends]
        parts.append(html.facts(rows or [("", "There is nothing to withdraw.")]))
        shown = [(one.zone, one.key, _size(one.bytes)) for one in self.objects[:_SHOWN]]
        if shown:
            parts.append(html.table(["zone", "object", "size"], shown))
        if len(self.objects) > _SHOWN:
            parts.append(html.facts([("", f"and {len(self.objects) - _SHOWN:,} more objects")]))
        return "".join(parts)


class Withdrawn(Result):
    """What a withdrawal did.

    Attributes:
        collection, item: What was withdrawn.
        dry_run: Whether nothing was done.
        releases: Ids of the releases that ended.
        left_catalogue: Whether the item left the catalogue.
        objects: Objects of the external zone that were removed.
        bytes: Their size.
        undo_until: Unix time until which it can be undone; None where there was nothing to withdraw.
    """

    collection: str
    item: str
    dry_run: bool
    releases: tuple[str, ...] = Field(default=())
    left_catalogue: bool = False
    objects: int = 0
    bytes: int = 0
    undo_until: float | None = None


def _size(size: int | None) -> str:
    return "" if size is None else html.human_bytes(size)
