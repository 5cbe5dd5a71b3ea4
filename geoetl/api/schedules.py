"""Schedules over HTTP: what runs by itself and when, how it went; let it rest, go on, or run now."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from geoetl.api.runs import LOCATION, RunAnswer, accepted, principal_name
from geoetl.api.security import needs
from geoetl.core.identifiers import new_id
from geoetl.core.principal import Role
from geoetl.runs.model import RunKind, RunState
from geoetl.runs.privacy import paths_in, public
from geoetl.runs.schedule import Outcome, Schedule, Slot

if TYPE_CHECKING:
    from geoetl.platform import Platform

# Slots that are told of one schedule.
NEXT, LATEST = 5, 20

Name = Annotated[str, InPath(description="Name of the schedule", pattern=r"^[a-z0-9_-]{1,100}$")]


class SlotAnswer(BaseModel):
    """What became of a slot."""

    slot: int = Field(description="Unix seconds")
    outcome: Outcome = Field(description="overlap: the run before was not over; refused: it could not begin")
    run_id: str | None
    run_state: RunState | None = Field(description="How its run stands; null where it had none, or it was removed")
    detail: str | None


class ScheduleAnswer(BaseModel):
    """A schedule; times are Unix seconds."""

    name: str
    title: str
    kind: RunKind
    target: str = Field(description="Name of the pipeline, or of the function")
    parameters: dict[str, Any]
    cron: str = Field(description="Minute, hour, day of month, month, day of week; in UTC")
    is_paused: bool
    next_slot: int | None = Field(description="Null while it rests")
    latest: SlotAnswer | None = Field(description="The slot that was dealt with last")


class ScheduleDetail(ScheduleAnswer):
    """A schedule with its slots."""

    next_slots: list[int] = Field(description="The next ones; none while it rests")
    slots: list[SlotAnswer] = Field(description="Those that were dealt with, the newest first")


class SchedulesAnswer(BaseModel):
    """All schedules, by name."""

    schedules: list[ScheduleAnswer]


def router(platform: "Platform", *, writing: bool) -> APIRouter:
    """Return the routes of schedules.

    Args:
        platform: What answers.
        writing: Whether there are routes that pause, resume or run.
    """
    routes = APIRouter(tags=["schedules"])

    @routes.get("/api/schedules")
    def schedules() -> SchedulesAnswer:
        """Return what runs by itself, each with its next time and how it went last."""
        found, latest = platform.declared_schedules().list(), platform.schedules.latest()
        states = _states(platform, *latest.values())
        return SchedulesAnswer(schedules=[_answer(one, latest.get(one.name), states) for one in found])

    @routes.get("/api/schedules/{name}")
    def schedule(name: Name) -> ScheduleDetail:
        """Return a schedule with its next times, and what became of the latest ones."""
        one, slots = platform.declared_schedules().get(name), platform.schedules.history(name, limit=LATEST)
        states = _states(platform, *slots)
        told = _answer(one, slots[0] if slots else None, states)
        upcoming = () if one.is_paused else one.next_slots(time.time(), NEXT)
        return ScheduleDetail(
            **dict(told), next_slots=list(upcoming), slots=[_slot_answer(slot, states) for slot in slots]
        )

    if writing:
        _add_writing(routes, platform)
    return routes


def _add_writing(routes: APIRouter, platform: "Platform") -> None:
    # When the platform works by itself is up to those who keep it; whoever may start a run may start this one, too.
    keeps_it = [Depends(needs(Role.OPERATOR))]

    @routes.post("/api/schedules/{name}/pause", dependencies=keeps_it)
    def pause(name: Name) -> ScheduleAnswer:
        """Let a schedule rest; a run that is under way goes on."""
        return _told(platform, platform.declared_schedules().pause(name))

    @routes.post("/api/schedules/{name}/resume", dependencies=keeps_it)
    def resume(name: Name) -> ScheduleAnswer:
        """Let a schedule go on with its next slot; those of its rest are not made up for."""
        return _told(platform, platform.declared_schedules().resume(name))

    @routes.post("/api/schedules/{name}/run", status_code=202, responses={202: LOCATION})
    def run(name: Name, request: Request, response: Response) -> RunAnswer:
        """Queue a run of a schedule now, paused or not; its slots stay as they are."""
        run_id = platform.declared_schedules().run_now(name, new_id(), principal_name(request))
        return accepted(platform, platform.runs.get(run_id), request, response)


def _told(platform: "Platform", one: Schedule) -> ScheduleAnswer:
    slots = platform.schedules.history(one.name, limit=1)
    return _answer(one, slots[0] if slots else None, _states(platform, *slots))


def _states(platform: "Platform", *slots: Slot) -> dict[str, RunState]:
    return platform.runs.states([slot.run_id for slot in slots if slot.run_id])


def _answer(one: Schedule, latest: Slot | None, states: Mapping[str, RunState]) -> ScheduleAnswer:
    return ScheduleAnswer(
        **one.model_dump(include={"name", "title", "kind", "target", "cron", "is_paused"}),
        parameters=public(one.parameters, paths_in(one.parameters)),
        next_slot=None if one.is_paused else one.next_slot(time.time()),
        latest=_slot_answer(latest, states) if latest else None,
    )


def _slot_answer(slot: Slot, states: Mapping[str, RunState]) -> SlotAnswer:
    return SlotAnswer(
        slot=slot.slot,
        outcome=slot.outcome,
        run_id=slot.run_id,
        run_state=states.get(slot.run_id or ""),
        detail=public(slot.detail, {}),
    )
