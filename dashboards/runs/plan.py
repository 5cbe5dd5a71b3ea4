"""Schedules as rows: when they run next, how they went last."""

from datetime import UTC, datetime
from typing import Any

from dashboards.runs.feed import Planned
from dashboards.runs.listing import STATES
from geoetl.core.errors import GeoetlError
from geoetl.runs.schedule import Outcome


def utc(moment: float) -> str:
    """Return a Unix time as people of the field write it: 2026-11-28 02:00 UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def schedule_row(one: Planned, now: float) -> dict[str, Any]:
    """Return a schedule as the component `ScheduleList` takes it.

    Args:
        one: The schedule.
        now: Unix time, seconds.
    """
    schedule, latest = one.schedule, one.latest
    upcoming = "" if schedule.is_paused else _next(one, now)
    return {
        "key": schedule.name,
        "title": schedule.title,
        "what": f"{schedule.target} · {schedule.cron}",
        "paused": schedule.is_paused,
        "next": upcoming,
        "last": utc(latest.slot) if latest else "",
        "state": one.state.value if one.state else "",
        "outcome": _outcome(one),
        "detail": (latest.detail or "") if latest else "",
        "run": latest.run_id if latest and one.state else "",
    }


def _next(one: Planned, now: float) -> str:
    try:
        return utc(one.schedule.next_slot(now))
    except GeoetlError as error:  # an expression that an older version took
        return error.detail


def _outcome(one: Planned) -> str:
    if one.latest is None:
        return ""
    if one.latest.outcome is Outcome.OVERLAP:
        return "Left out: the run before was not over"
    if one.latest.outcome is Outcome.REFUSED:
        return "Could not begin"
    return STATES[one.state] if one.state else "Its run was removed"
