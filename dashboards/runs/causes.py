"""Failures by what caused them, so that a hundred runs that failed of one thing are one line with one remedy."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dashboards.runs.plan import utc
from geoetl.runs.model import RunRecord

# What differs between two failures of one cause: names in quotes, and numbers.
_PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|\d[\d.,:_-]*")


@dataclass(frozen=True)
class Cause:
    """What several runs failed of.

    Attributes:
        sentence: What went wrong with the latest.
        remedy: What to do about it.
        code: Stable, for programs and support.
        runs: Ids of the runs, the newest first.
        pipelines: Names of what they ran.
        latest_at: Unix time at which the latest failed.
    """

    sentence: str
    remedy: str
    code: str
    runs: tuple[str, ...]
    pipelines: tuple[str, ...]
    latest_at: float


def causes_of(failed: Iterable[RunRecord]) -> tuple[Cause, ...]:
    """Return what runs failed of, the most frequent first.

    Args:
        failed: Runs that failed, the newest first.
    """
    grouped: dict[tuple[str, str], list[RunRecord]] = {}
    for record in failed:
        if record.error:
            alike = _PARTICULARS.sub("…", str(record.error["detail"]))
            grouped.setdefault((str(record.error["code"]), alike), []).append(record)
    found = [_cause(code, records) for (code, _), records in grouped.items()]
    return tuple(sorted(found, key=lambda cause: (-len(cause.runs), -cause.latest_at)))


def cause_row(cause: Cause, named: Mapping[str, str]) -> dict[str, Any]:
    """Return a cause as the component `VersionList` takes it.

    Args:
        cause: What runs failed of.
        named: What pipelines are called, by name.
    """
    return {
        "key": cause.runs[0],
        "title": cause.sentence,
        "subtitle": f"{', '.join(named.get(name, name) for name in cause.pipelines)} · {utc(cause.latest_at)}",
        "note": cause.remedy,
        "badge": f"{len(cause.runs)} runs" if len(cause.runs) > 1 else "",
        "shown": False,
        "actions": [{"type": "open", "label": "Look at the latest" if len(cause.runs) > 1 else "Look at it"}],
    }


def _cause(code: str, records: list[RunRecord]) -> Cause:
    latest = records[0]
    assert latest.error is not None
    return Cause(
        sentence=str(latest.error["detail"]),
        remedy=str(latest.error.get("hint") or ""),
        code=code,
        runs=tuple(record.id for record in records),
        pipelines=tuple(dict.fromkeys(record.pipeline for record in records)),
        latest_at=latest.finished_at or latest.created_at,
    )
