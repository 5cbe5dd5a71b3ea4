"""Datasets are said, changed and deleted."""

from typing import TYPE_CHECKING, Annotated, Any, Self

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, model_validator
from pydantic.config import JsonDict

from geoetl.api.curated.answers import (
    DATASETS,
    ONE,
    DatasetAnswer,
    DatasetId,
    DeletedAnswer,
    dataset_answer,
    deleted_answer,
    shown,
)
from geoetl.api.etag import tagged
from geoetl.api.runs import LOCATION
from geoetl.api.security import check_role, needs
from geoetl.api.styles.request import expected_of
from geoetl.core.errors import InvalidParameter
from geoetl.core.principal import Principal, Role
from geoetl.datasets import defining
from geoetl.datasets.model import Definition, ManagedDataset
from geoetl.datasets.overview import overview

if TYPE_CHECKING:
    from geoetl.platform import Platform

_EXAMPLE: JsonDict = {
    "dataset_id": "lands",
    "name": "Countries",
    "handler": "admin0",
    "source_type": "manual",
    "source_url": "samples:ne_10m_admin_0_countries.zip",
    "update_schedule": "15 2 * * 1",
    "target_schema": "lands",
    "target_table_name": "curated_lands",
    "license": "CC0-1.0",
    "attribution": "Made with Natural Earth",
}

IfMatch = Annotated[str | None, Header(description="Only where what is said of the dataset still has this ETag")]


class DefinitionBody(Definition):
    """What is said of a managed dataset: where it comes from, how it is kept, and whose it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    # Every member that is not right is told, with its place in the body, and not the first alone.
    __init__ = BaseModel.__init__

    @model_validator(mode="wrap")
    @classmethod
    def _point_to_it(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except InvalidParameter as error:
            raise _pointed(error) from None


def add(routes: APIRouter, platform: "Platform") -> None:
    """Add the routes that say what datasets are."""

    @routes.post(DATASETS, status_code=201, responses={201: LOCATION})
    def create(definition: DefinitionBody, request: Request, response: Response) -> DatasetAnswer:
        """Add a managed dataset; one that needs credentials is added by an operator."""
        _check_may_say(request, definition, None)
        try:
            made = defining.add(platform.datasets, Definition(**dict(definition)))
        except InvalidParameter as error:
            raise _pointed(error) from None
        platform.declared_schedules()
        response.headers["Location"] = request.url_for("managed_dataset", dataset_id=made.dataset_id).path
        return _told(platform, made, response)

    @routes.put(ONE, responses={412: {"description": "It was changed meanwhile"}})
    def replace(
        dataset_id: DatasetId,
        definition: DefinitionBody,
        request: Request,
        response: Response,
        if_match: IfMatch = None,
    ) -> DatasetAnswer:
        """Say a managed dataset anew.

        What a read of it gives may be sent back: a folder is told by its name alone, and stays what it was. Of a
        dataset that a file declares only `enabled` may be changed. An operator changes where data come from, and
        whatever may decide who receives credentials.
        """
        if definition.dataset_id != dataset_id:
            raise InvalidParameter(
                f"The body says '{definition.dataset_id}', the address '{dataset_id}'.",
                hint="Send it to the address of its own dataset.",
                field="/dataset_id",
            )
        datasets = platform.datasets
        present = datasets.repository.get(dataset_id)
        given = definition.model_dump(mode="json")
        wanted = Definition(**taken_back(given, shown(present), present.definition.model_dump(mode="json")))
        _check_may_say(request, wanted, present)
        expected = expected_of(if_match)
        try:
            made = defining.change(
                datasets,
                wanted,
                expected=[expected] if isinstance(expected, str) else expected,
            )
        except InvalidParameter as error:
            raise _pointed(error) from None
        platform.declared_schedules()
        return _told(platform, made, response)

    @routes.delete(ONE, dependencies=[Depends(needs(Role.OPERATOR))])
    def delete(
        dataset_id: DatasetId,
        confirm: Annotated[str, Query(description="`yes`, or nothing is deleted", examples=["yes"])] = "",
        items: Annotated[bool, Query(description="Whether what it serves goes too, with its files")] = False,
        dry_run: Annotated[bool, Query(description="Say only what would go, and what would stay")] = False,
    ) -> DeletedAnswer:
        """Forget a managed dataset with its versions and its log; what it serves stays as ordinary items, or goes."""
        if not dry_run and confirm != "yes":
            raise InvalidParameter(
                f"'{dataset_id}' was not deleted, because that was not confirmed.",
                hint="See what would go with dry_run=true; delete it with confirm=yes.",
                field="confirm",
            )
        gone = platform.datasets.delete(dataset_id, with_items=items, dry_run=dry_run)
        if not dry_run:
            platform.declared_schedules()
        return deleted_answer(gone)


def taken_back(given: Any, told: Any, stored: Any) -> Any:
    """Return a document that was read and sent back as it is stored: what was told in place of a folder is that folder.

    Args:
        given: As it came.
        told: As it was told.
        stored: As it is stored.
    """
    if given == told:
        return stored
    if isinstance(given, dict) and isinstance(told, dict) and isinstance(stored, dict):
        return {name: taken_back(value, told.get(name), stored.get(name)) for name, value in given.items()}
    return given


def _check_may_say(request: Request, definition: Definition, present: ManagedDataset | None) -> None:
    """Check that whoever asks may say so; nobody stands before the routes where no guard does.

    Raises:
        Forbidden: Their role is not enough.
    """
    principal = request.scope.get("state", {}).get("principal")
    if isinstance(principal, Principal) and defining.decides_on_credentials(definition, present):
        check_role(principal, Role.OPERATOR)


def _pointed(error: InvalidParameter) -> InvalidParameter:
    """Return an error that points to the member of the body that it speaks of."""
    place = (error.field or "").lstrip("/").replace(".", "/")
    return InvalidParameter(error.detail, hint=error.hint, field=f"/{place}")


def _told(platform: "Platform", made: ManagedDataset, response: Response) -> DatasetAnswer:
    response.headers.update(tagged(defining.etag_of(made)))
    return dataset_answer(overview(platform.datasets.repository, made.dataset_id))
