"""What a clean-up is asked for, what it finds, and what became of it. Pure."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from pydantic import Field, ValidationError, model_validator

from geoetl.core import html
from geoetl.core.errors import InvalidParameter, did_you_mean
from geoetl.runs.model import Result

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
#: Whoever writes outside of a run, such as a server that draws a thumbnail, is done long before.
MIN_OLDER_THAN_HOURS = 1.0
#: Rows of a table in a notebook; the plan holds all.
_ROWS_SHOWN = 50


class Part(StrEnum):
    """What can be looked for."""

    RUNS = "runs"  # runs that nobody executes, and processes that are gone
    WRITES = "writes"  # what writers that died have left on its way into a zone
    FILES = "files"  # temporary files and caches of this machine
    NOTEBOOKS = "notebooks"  # executed notebooks of runs that were over long ago
    OBJECTS = "objects"  # objects that nothing needs

    @property
    def meaning(self) -> str:
        """What it is, in a few words."""
        return _MEANINGS[self]


_MEANINGS = {
    Part.RUNS: "runs that nobody executes, processes that are gone",
    Part.WRITES: "what writers that died left on its way",
    Part.FILES: "temporary files and caches of this machine",
    Part.NOTEBOOKS: "old executed notebooks",
    Part.OBJECTS: "objects that nothing needs",
}


class Fate(StrEnum):
    """What became of what was found."""

    FOUND = "found"  # a dry run, which removes nothing
    REPORTED = "reported"  # removed only when somebody asks for it
    FIXED = "fixed"  # removed, or brought to its end
    KEPT = "kept"  # it was needed, or touched, when its turn came
    FAILED = "failed"  # it could not be removed; the next clean-up tries again


class CleanupRequest(Result):
    """What is to be cleaned up.

    Attributes:
        parts: What is looked for.
        dry_run: Whether to say only what would go.
        older_than_hours: What was written or touched within this time stays, hours.
        unknown: Whether objects go, too, that geoetl has no record of having written, and that nothing needs.
        notebooks_days: Executed notebooks stay for so long after their run, days; those of failed runs four times as
            long, and the newest of each pipeline for good.
        cache_days: Copies of remote objects stay for so long after they were read, days.
        cache_gib: All copies of remote objects together; beyond that those go that were not read for longest, GiB.
    """

    parts: tuple[Part, ...] = tuple(Part)
    dry_run: bool = True
    older_than_hours: float = Field(24.0, ge=MIN_OLDER_THAN_HOURS, le=24 * 3650)
    unknown: bool = False
    notebooks_days: float = Field(90.0, ge=1, le=36_500)
    cache_days: float = Field(30.0, ge=1, le=36_500)
    cache_gib: float = Field(50.0, ge=0, le=1_000_000)

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, value: Any, handler: Any) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = str(first["loc"][0]) if first["loc"] else None
            hint = did_you_mean(str(first["input"])[:60], list(Part)) if field == "parts" else None
            raise InvalidParameter(f"'{field}' is not right: {first['msg']}.", hint=hint, field=field) from None

    @model_validator(mode="after")
    def _has_parts(self) -> "CleanupRequest":
        if not self.parts:
            raise InvalidParameter("No part is to be looked for.", hint=f"Give some of: {', '.join(Part)}.")
        return self

    @property
    def older_than_s(self) -> float:
        """The age from which something may go, seconds."""
        return self.older_than_hours * HOUR_S


class Leftover(Result):
    """Something that may go.

    Attributes:
        part: What kind of thing it is.
        name: What it is called: ``internal://key``, ``run ID``, or a path below the home folder.
        bytes: What it takes up.
        since: Unix time at which it was last written or touched.
        reason: Why it may go.
        mark: What it looked like; one that looks different when its turn comes stays.
        is_fixed: Whether a clean-up removes it or brings it to its end; it only tells of others.
    """

    part: Part
    name: str
    bytes: int = 0
    since: float
    reason: str
    mark: str = ""
    is_fixed: bool = True


class Action(Result):
    """What was done.

    Attributes:
        part, name, bytes, reason: Of the leftover.
        fate: What became of it.
        detail: Why it was kept, or what went wrong.
    """

    part: Part
    name: str
    bytes: int
    reason: str
    fate: Fate
    detail: str | None = None


class Plan(Result):
    """Exactly what would go.

    Attributes:
        at: Unix time of the look.
        items_scanned: How many things were looked at.
        leftovers: What was found, part by part.
    """

    at: float
    items_scanned: int
    leftovers: tuple[Leftover, ...]

    @property
    def going(self) -> tuple[Leftover, ...]:
        """What a real clean-up removes or brings to its end."""
        return tuple(one for one in self.leftovers if one.is_fixed)

    @property
    def bytes(self) -> int:
        """What is freed when all of that goes."""
        return sum(one.bytes for one in self.going)

    @property
    def summary(self) -> str:
        """What was found, in a sentence."""
        told = len(self.leftovers) - len(self.going)
        only = f"; {told:,} more are only told" if told else ""
        return f"{len(self.going):,} of {self.items_scanned:,} would go, {html.human_bytes(self.bytes)}{only}."

    def _repr_html_(self) -> str:
        rows = [
            (one.part, one.name, html.human_bytes(one.bytes), one.reason if one.is_fixed else f"{one.reason} (stays)")
            for one in self.leftovers[:_ROWS_SHOWN]
        ]
        return html.heading("Clean-up", self.summary) + (_table(rows, len(self.leftovers)) if rows else "")


class Cleanup(Result):
    """A clean-up as its record has it.

    Attributes:
        id: Its id; ids sort by the time they were made.
        request: What was asked for.
        dry_run: Whether it only told.
        who: Who asked.
        started, ended: Unix time; `ended` is None as long as it goes on, or when its process died.
        is_running: Whether its process lives.
        items_scanned: How many things were looked at.
        items_fixed: How many were removed or brought to their end.
        bytes_freed: What they took up.
        actions: How many of each part had each fate.
        actions_taken: What was done, one by one; of a dry run the first thousand.
    """

    id: str
    request: CleanupRequest
    dry_run: bool
    who: str | None
    started: float
    ended: float | None
    is_running: bool = False
    items_scanned: int
    items_fixed: int
    bytes_freed: int
    actions: dict[Part, dict[Fate, int]] = Field(default_factory=dict)
    actions_taken: tuple[Action, ...] = ()

    @property
    def summary(self) -> str:
        """What came of it, in a sentence."""
        if self.dry_run:
            found = sum(fates.get(Fate.FOUND, 0) for fates in self.actions.values())
            return f"{found:,} of {self.items_scanned:,} would go; nothing was changed."
        return f"{self.items_fixed:,} of {self.items_scanned:,} fixed, {html.human_bytes(self.bytes_freed)} freed."

    def _repr_html_(self) -> str:
        rows = [
            (one.part, one.name, html.human_bytes(one.bytes), f"{one.fate}: {one.detail or one.reason}")
            for one in self.actions_taken[:_ROWS_SHOWN]
        ]
        return html.heading("Clean-up", self.summary) + (_table(rows, len(self.actions_taken)) if rows else "")


def counted(actions: Sequence[Action]) -> Mapping[Part, dict[Fate, int]]:
    """Count actions by part and fate."""
    counts: dict[Part, dict[Fate, int]] = {}
    for one in actions:
        of_part = counts.setdefault(one.part, {})
        of_part[one.fate] = of_part.get(one.fate, 0) + 1
    return counts


def _table(rows: Sequence[tuple[str, str, str, str]], total: int) -> str:
    more = f"<p>… and {total - len(rows):,} more</p>" if total > len(rows) else ""
    return html.table(["part", "what", "size", "why"], rows) + more
