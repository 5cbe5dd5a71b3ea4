"""Withdrawing what is public, and undoing that."""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from geoetl.api.publish.answers import PUBLISH, ReleaseAnswer, StatusAnswer, of_body, status_answer
from geoetl.api.publish.deciding import Approver, Reasoned, decided
from geoetl.api.publish.named import item_of
from geoetl.api.runs import LOCATION, RunAnswer, accepted
from geoetl.publish.steps import MAX_REASON_LETTERS
from geoetl.publish.withdrawal import GoingObject, GoingRelease, Scope, Withdrawal
from geoetl.runs.privacy import paths_in, public

if TYPE_CHECKING:
    from geoetl.platform import Platform

# Objects that a plan lists; `objects_total` tells how many there are.
MAX_OBJECTS = 1000


class Withdrawing(BaseModel):
    """What is to be withdrawn, and how."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"dataset_id": "demo-rasters/landsat_rgb", "dry_run": True}]},
    )

    dataset_id: str = Field(min_length=1, max_length=420, description="As for submitting")
    version: int = Field(0, ge=0, le=2**31 - 1, description="Only this version; 0 for all")
    scope: Scope = Field(Scope.EXTERNAL, description="`external`: no longer public; `everywhere`: out of here too")
    dry_run: bool = Field(True, description="Say only what would go; there is no run")
    delete_objects: bool = Field(True, description="Whether objects go; otherwise nothing leads to them any more")
    force_approved: bool = Field(False, description="Whether an approval that is not used yet is revoked")
    reason: str = Field("", max_length=MAX_REASON_LETTERS, description="Why; needed unless it is a dry run")


class ItemBack(BaseModel):
    """Which item comes back into the catalogue, and why."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"dataset_id": "demo-rasters/landsat_rgb", "reason": "It was the other one."}]},
    )

    dataset_id: str = Field(min_length=1, max_length=420, description="As for submitting")
    reason: str = Field(min_length=1, max_length=MAX_REASON_LETTERS, description="For the log")


class WithdrawalAnswer(BaseModel):
    """What would go, what stays, and what depends on it."""

    dataset_id: str
    version: int
    scope: Scope
    is_nothing: bool = Field(description="Whether there is nothing to withdraw")
    goes: list[str] = Field(description="What would go, in sentences")
    stays: list[str] = Field(description="What one might expect to go, and why it does not")
    depends: list[str] = Field(description="What uses it")
    releases: list[GoingRelease]
    leaves_catalogue: bool
    objects: list[GoingObject] = Field(description=f"The first {MAX_OBJECTS:,} of them")
    objects_total: int


def add(routes: APIRouter, platform: "Platform") -> None:
    """Add the routes that take back, and bring back."""

    @routes.post(
        f"{PUBLISH}/withdraw",
        response_model=WithdrawalAnswer,
        responses={202: {**LOCATION, "model": RunAnswer, "description": "The run that withdraws"}},
    )
    def withdraw(
        asked: Withdrawing, request: Request, response: Response, approver: Approver
    ) -> WithdrawalAnswer | Response:
        """Say what a withdrawal would do; with dry_run=false queue it, catalogue first, data after it.

        Until something else happens, the same request is the same run. It can be undone for 30 days.
        """
        said: dict[str, Any] = {
            "delete_objects": asked.delete_objects,
            "force_approved": asked.force_approved,
            "reason": asked.reason,
        }
        with of_body():
            named = (*item_of(platform, asked.dataset_id), asked.version, asked.scope)
            if asked.dry_run:
                return withdrawal_answer(platform.publish.plan_withdrawal(*named, dry_run=True, **said))
            record = platform.publish.withdraw(approver, *named, **said)
        told = accepted(platform, record, request, response)
        return Response(
            told.model_dump_json(), 202, {"Location": response.headers["Location"]}, media_type="application/json"
        )

    @routes.post(f"{PUBLISH}/restore")
    def restore(asked: Reasoned, approver: Approver) -> ReleaseAnswer:
        """Undo a withdrawal within 30 days: the same version becomes public again."""
        return decided(
            platform,
            asked,
            lambda: platform.publish.restore(approver, asked.release_id, revision=asked.revision, reason=asked.reason),
        )

    @routes.post(f"{PUBLISH}/restore-item")
    def restore_item(asked: ItemBack, approver: Approver) -> StatusAnswer:
        """Put an item back that was withdrawn from everywhere; what of it was public stays withdrawn.

        A release is brought back by `restore`, and its item with it.
        """
        with of_body():
            collection, item = item_of(platform, asked.dataset_id)
            platform.publish.restore_item(approver, collection, item, reason=asked.reason)
        return status_answer(platform, collection, item)


def withdrawal_answer(plan: Withdrawal) -> WithdrawalAnswer:
    """Return a plan as it is told."""
    document = plan.model_dump(mode="json", include={"version", "scope", "stays", "depends", "releases"})
    told: dict[str, Any] = public({**document, "goes": plan.goes}, paths_in(document))
    return WithdrawalAnswer(
        **told,
        dataset_id=f"{plan.collection}/{plan.item}",
        is_nothing=plan.is_nothing,
        leaves_catalogue=plan.leaves_catalogue,
        objects=list(plan.objects[:MAX_OBJECTS]),
        objects_total=len(plan.objects),
    )
