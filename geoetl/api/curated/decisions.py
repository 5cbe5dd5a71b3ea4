"""What is done with datasets: ask their source, update them, let them rest, and decide which version is served."""

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from geoetl.api.curated.answers import (
    ONE,
    DatasetAnswer,
    DatasetId,
    PlanAnswer,
    VersionAnswer,
    VersionNumber,
    dataset_answer,
    plan_answer,
    version_answer,
)
from geoetl.api.runs import LOCATION, MAX_KEY, RunAnswer, accepted, principal_name
from geoetl.api.security import needs
from geoetl.core.principal import Principal, Role
from geoetl.datasets.model import UpdateRequest, UpdateType
from geoetl.datasets.overview import overview

if TYPE_CHECKING:
    from geoetl.platform import Platform

_MAX_REASON = 1000
Operator = Annotated[Principal, Depends(needs(Role.OPERATOR))]
Approver = Annotated[Principal, Depends(needs(Role.APPROVER))]
Force = Annotated[bool, Query(description="As if the source had changed")]


class UpdateBody(BaseModel):
    """How a dataset is updated."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"force": False, "dry_run": True}]})

    force: bool = Field(
        False,
        validation_alias=AliasChoices("force", "force_update"),
        description="Fetch and compare although the source seems unchanged",
    )
    dry_run: bool = Field(False, description="Say only what would be done; there is no run")
    update_type: Literal["manual", "triggered"] = Field("manual", description="Why; `triggered` by another program")


class Reasoned(BaseModel):
    """A decision, and why; who decided is who asks."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"reason": "The new states are right."}]},
    )

    reason: str | None = Field(None, max_length=_MAX_REASON, description="For whoever looks later")


class Rejection(BaseModel):
    """A rejection, and why; who decided is who asks."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"reason": "Half of the countries are missing."}]},
    )

    reason: str = Field(min_length=1, max_length=_MAX_REASON, description="For whoever looks later")


class Return(Reasoned):
    """Which version is served again, and why; who decided is who asks."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Names are wrong."}]})

    version: int | None = Field(
        None, ge=1, le=2**31 - 1, description="Its number; left out, the latest of the former ones"
    )


def add(routes: APIRouter, platform: "Platform") -> None:
    """Add the routes that ask a source, or decide."""
    _add_updates(routes, platform)
    _add_versions(routes, platform)


def _add_updates(routes: APIRouter, platform: "Platform") -> None:
    def plan_of(dataset_id: str, *, force: bool) -> PlanAnswer:
        request = UpdateRequest(dataset_id=dataset_id, force_update=force, dry_run=True)
        return plan_answer(platform.datasets.check(request, is_awaited=True))

    # It asks somebody outside, with credentials: who only reads does not decide when that happens.
    @routes.get(f"{ONE}/plan", dependencies=[Depends(needs(Role.EDITOR))])
    def plan(dataset_id: DatasetId, force: Force = False) -> PlanAnswer:
        """Ask the source now whether there is something new, and say what an update would do; nothing is downloaded."""
        return plan_of(dataset_id, force=force)

    @routes.post(
        f"{ONE}/update",
        status_code=202,
        response_model=RunAnswer,
        responses={202: LOCATION, 200: {"model": PlanAnswer, "description": "What would be done (dry run)"}},
    )
    def update(
        dataset_id: DatasetId,
        request: Request,
        response: Response,
        asked: UpdateBody | None = None,
        idempotency_key: Annotated[
            str | None, Header(max_length=MAX_KEY, description="A repeated request with the same key is the same run")
        ] = None,
    ) -> RunAnswer | Response:
        """Queue an update; one that is asked for like this already, and is not over, is the answer."""
        asked = asked or UpdateBody()
        if asked.dry_run:
            told = plan_of(dataset_id, force=asked.force)
            return Response(told.model_dump_json(), media_type="application/json")
        record = platform.update_dataset(
            dataset_id,
            update_type=UpdateType(asked.update_type),
            force=asked.force,
            key=idempotency_key or None,
            submitted_by=principal_name(request),
        )
        return accepted(platform, record, request, response)

    def enabled(dataset_id: str, is_enabled: bool) -> DatasetAnswer:
        repository = platform.datasets.repository
        repository.enable(dataset_id, is_enabled)
        platform.declared_schedules()
        return dataset_answer(overview(repository, dataset_id))

    @routes.post(f"{ONE}/enable")
    def enable(dataset_id: DatasetId, _: Operator) -> DatasetAnswer:
        """Let the source be asked by itself, at the times of the dataset's schedule."""
        return enabled(dataset_id, True)

    @routes.post(f"{ONE}/disable")
    def disable(dataset_id: DatasetId, _: Operator) -> DatasetAnswer:
        """Let the source rest; what is served stays, and an update may still be asked for."""
        return enabled(dataset_id, False)


def _add_versions(routes: APIRouter, platform: "Platform") -> None:
    @routes.post(f"{ONE}/versions/{{number}}/accept")
    def accept(
        dataset_id: DatasetId, number: VersionNumber, approver: Approver, asked: Reasoned | None = None
    ) -> VersionAnswer:
        """Let a held version be served, in the place of the one that it was compared with."""
        reason = asked.reason if asked else None
        return version_answer(platform.datasets.accept(dataset_id, number, by=approver.id, reason=reason))

    @routes.post(f"{ONE}/versions/{{number}}/reject")
    def reject(dataset_id: DatasetId, number: VersionNumber, approver: Approver, asked: Rejection) -> VersionAnswer:
        """Keep a held version from being served; its release is not fetched again, and its files go."""
        return version_answer(platform.datasets.reject(dataset_id, number, by=approver.id, reason=asked.reason))

    @routes.post(f"{ONE}/rollback")
    def rollback(dataset_id: DatasetId, approver: Approver, asked: Return | None = None) -> VersionAnswer:
        """Serve a former version again; the one that was served stays, to go back to."""
        asked = asked or Return()
        return version_answer(
            platform.datasets.rollback(dataset_id, asked.version, by=approver.id, reason=asked.reason)
        )
