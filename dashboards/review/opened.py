"""An open release: all that is known of it without opening its files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dashboards.datasets.comparison import Line
from dashboards.review.checks import Check, checks
from dashboards.review.comparison import number_lines
from dashboards.review.contents import everything
from dashboards.review.standing import Deed
from geoetl.publish.comparison import (
    Difference,
    ObjectChange,
    ValueChange,
    object_changes,
    schema_changes,
    value_changes,
)
from geoetl.publish.model import Action, Release
from geoetl.runs.model import RunRecord


@dataclass(frozen=True)
class Opened:
    """An open release beside what is public of the same item.

    Attributes:
        release: As it stands.
        before: What is public; None where nothing is.
        deeds: What may be done to it, and by whom not.
        numbers: Old beside new.
        values: What is said otherwise.
        schema: Columns, variables and bands that differ.
        objects: Every file of both, what differs first.
        checks: What the checks found.
        made_by: The run that made the item, as others may see it.
    """

    release: Release
    before: Release | None
    deeds: tuple[Deed, ...]
    numbers: tuple[Line, ...]
    values: tuple[ValueChange, ...]
    schema: tuple[ValueChange, ...]
    objects: tuple[ObjectChange, ...]
    checks: tuple[Check, ...]
    made_by: RunRecord | None

    @property
    def new_objects(self) -> tuple[ObjectChange, ...]:
        """The files that become public: those that differ first."""
        return tuple(one for one in self.objects if one.new is not None)

    @property
    def bytes(self) -> int:
        """Size of all that becomes public."""
        return sum(one.new.bytes for one in self.objects if one.new is not None)

    @property
    def gone_objects(self) -> tuple[ObjectChange, ...]:
        """Files of what is public that the new version does not have."""
        return tuple(one for one in self.objects if one.what is Difference.REMOVED)

    def may(self, action: Action) -> bool:
        """Tell whether the visitor may do something to it now."""
        return any(deed.action is action and not deed.barred for deed in self.deeds)


def opened(
    release: Release,
    before: Release | None,
    deeds: tuple[Deed, ...],
    *,
    next_version: int,
    present: Mapping[str, Any] | None,
    made_by: RunRecord | None,
) -> Opened:
    """Return a release beside what is public.

    Args:
        release: As it stands.
        before: What is public of the same item.
        deeds: What may be done to it.
        next_version: Which version approval would assign.
        present: The item of the catalogue.
        made_by: The run that made it.
    """
    old, new = before.manifest if before else None, release.manifest
    return Opened(
        release=release,
        before=before,
        deeds=deeds,
        numbers=number_lines(old, new),
        values=value_changes(old, new),
        schema=schema_changes(old, new),
        objects=object_changes(everything(old) if old else (), everything(new)),
        checks=checks(release, next_version=next_version, present=present),
        made_by=made_by,
    )
