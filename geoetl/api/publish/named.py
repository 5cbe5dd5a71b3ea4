"""Which item of the catalogue a dataset id means."""

from typing import TYPE_CHECKING, Annotated

from fastapi import Path

from geoetl.core.errors import InvalidParameter, NotFound
from geoetl.core.identifiers import check_id

if TYPE_CHECKING:
    from geoetl.platform import Platform

DatasetId = Annotated[
    str,
    Path(
        description="`collection/item`, `collection:item`, or the id of a managed dataset with one item",
        min_length=1,
        max_length=420,
    ),
]
_LISTED = 5


def item_of(platform: "Platform", dataset_id: str) -> tuple[str, str]:
    """Return collection and item.

    Raises:
        InvalidParameter: It is none of the three forms, or the managed dataset has several items.
        NotFound: There is no such managed dataset, or nothing of it is served.
    """
    # Neither sign can be in an id.
    collection, sign, item = dataset_id.replace(":", "/", 1).partition("/")
    if sign:
        return check_id(collection, "collection"), check_id(item, "item")
    check_id(dataset_id, "dataset_id")
    repository = platform.datasets.repository
    dataset = repository.get(dataset_id)
    if dataset.live_version is None:
        raise NotFound(
            f"Nothing of the managed dataset '{dataset_id}' is served yet.", hint="Update it.", field="dataset_id"
        )
    version = repository.version(dataset_id, dataset.live_version)
    items = [str(one["id"]) for one in version.items]
    if len(items) != 1:
        listed = ", ".join(f"{dataset.target_schema}/{one}" for one in items[:_LISTED])
        raise InvalidParameter(
            f"The managed dataset '{dataset_id}' has {len(items)} items.",
            hint=f"Name one: {listed}{', …' if len(items) > _LISTED else ''}",
            field="dataset_id",
        )
    return dataset.target_schema, items[0]
