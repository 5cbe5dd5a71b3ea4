"""What the handler is told, and what it remembers from one version to the next."""

from enum import StrEnum
from typing import Any, Self

from pydantic import Field, ValidationError

from geoetl.core.identifiers import digest
from geoetl.core.request import Request
from geoetl.datasets.version import Version
from geoetl.runs.model import Result

DAY_S = 86_400
# Of a page; ACLED gives no more.
MAX_ROWS = 5000


class Mode(StrEnum):
    """How much is asked for."""

    QUICK = "quick"  # what was added, changed and deleted since
    FULL = "full"


class AcledConfig(Request):
    """What the handler is told.

    Attributes:
        batch_size: Events of a page; at most 5,000.
        max_pages: So many pages of changes are asked for in one attempt; the next goes on behind them.
        full_max_pages: The same where all events are asked for.
        full_sync_days: All events are asked for anew after so many days, which finds what changed without a new
            timestamp or went without a word; None for never again.
        overlap_hours: Changes are asked for from so long before the newest that is known, since several have the same
            second, and not all of them are shown at once.
        bronze_days: The answers as they came are kept in the zone for so long.
        countries: Only events there, by ACLED's names; empty for all.
    """

    batch_size: int = Field(MAX_ROWS, ge=1, le=MAX_ROWS)
    max_pages: int = Field(20, ge=1, le=10_000)
    full_max_pages: int = Field(1000, ge=1, le=10_000)
    full_sync_days: int | None = Field(30, ge=1, le=3650)
    overlap_hours: int = Field(24, ge=0, le=24 * 365)
    bronze_days: int = Field(400, ge=1, le=36_500)
    countries: tuple[str, ...] = Field((), max_length=250)

    @property
    def overlap_s(self) -> int:
        """How far before the newest known second is asked, seconds."""
        return self.overlap_hours * 3600


class Memory(Result):
    """What is remembered with a version.

    Attributes:
        mode: How it was made.
        newest: Newest `timestamp` of an event, Unix seconds.
        deleted_newest: Newest `deleted_timestamp` that was seen, Unix seconds.
        full_at: When all events were asked for last, Unix seconds.
        question: Digest of which events are asked for; of others, nothing is known.
        bronze: The answers as they came, as an object of the zone: its key, sha256 and bytes.
    """

    mode: Mode
    newest: int
    deleted_newest: int
    full_at: int
    question: str
    bronze: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, live: Version | None, question: str) -> Self | None:
        """Return that of the live version; None where there is none, or other events were asked for."""
        try:
            memory = cls.model_validate(live.memo) if live is not None else None
        except ValidationError:  # another handler, or another release of this one, made it
            return None
        return memory if memory is not None and memory.question == question else None


def question_of(source_url: str, config: AcledConfig) -> str:
    """Return a digest of which events are asked for."""
    return digest({"url": source_url, "countries": sorted(config.countries)})[:16]
