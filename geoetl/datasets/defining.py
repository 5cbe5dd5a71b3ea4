"""Say what a managed dataset is: new ones, and changes of those that no file declares."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from geoetl.core.errors import Conflict, GeoetlError, InvalidParameter
from geoetl.core.identifiers import digest
from geoetl.datasets.model import TARGET_PREFIX, Definition, ManagedDataset
from geoetl.datasets.repository import DatasetRepository
from geoetl.runs.pipeline import load_pipeline
from geoetl.store.catalog import Search, walk

if TYPE_CHECKING:
    from geoetl.datasets.update import DatasetUpdates


class DefinitionChanged(Conflict):
    """A definition is not the one any more that the caller has seen; nothing was changed."""

    code = "definition_changed"
    title = "The dataset was changed meanwhile"
    status = 412


def etag_of(dataset: Definition) -> str:
    """Return what changes with each change of what is said of a dataset."""
    return digest(dataset.model_dump(mode="json", include=set(Definition.model_fields)))[:32]


def add(updates: "DatasetUpdates", definition: Definition) -> ManagedDataset:
    """Add a dataset.

    Raises:
        InvalidParameter: It could never be updated: its handler, or what that is told, is not right.
        Conflict: There is one of that id, one that fills the same place, or ordinary data in its collection.
    """
    check(updates, definition)
    return updates.repository.create(definition)


def change(
    updates: "DatasetUpdates", definition: Definition, *, expected: Collection[str] | None = None
) -> ManagedDataset:
    """Say a dataset anew; of one that a file declares only whether it is enabled.

    Args:
        updates: What keeps datasets.
        definition: All that is said of it from now on.
        expected: Tags (`etag_of`) one of which it has to have now, ``*`` for any; None for whatever it has.

    Raises:
        NotFound: There is none of that id.
        InvalidParameter: It could never be updated.
        DefinitionChanged: It is not the expected one.
        Conflict: A file declares it, its place is taken, or it has data in another.
    """
    check(updates, definition)
    database = updates.repository.database
    with database.begin() as connection:
        within = DatasetRepository(database.within(connection))
        present = within.hold(definition.dataset_id)
        if expected is not None and not {"*", etag_of(present)} & set(expected):
            raise DefinitionChanged(
                f"'{present.dataset_id}' was changed by somebody else; nothing was written.",
                hint="Read it again, then repeat the change.",
                field="If-Match",
            )
        if not present.is_declared:
            return within.change(definition)
        if present.definition != definition.model_copy(update={"enabled": present.enabled}):
            raise declared_elsewhere(present, "changed")
        return within.enable(definition.dataset_id, definition.enabled)


def check(updates: "DatasetUpdates", definition: Definition) -> None:
    """Check what a definition says of other things: its handler, what that is told, the pipeline, the collection.

    Raises:
        InvalidParameter: One of them is not right; the field names it.
        Conflict: There is ordinary data in the collection, which nobody could change any more.
    """
    with _blamed_on("handler"):
        handler = updates.handlers[definition.handler]
    with _blamed_on("source_config"):
        handler.config(**definition.source_config)
    with _blamed_on("job_type"):
        load_pipeline(definition.job_type)
    if definition.credential_key is not None and not handler.credentials:
        raise InvalidParameter(
            f"The handler '{definition.handler}' sends no credentials.",
            hint="Leave credential_key out.",
            field="credential_key",
        )
    _check_collection(updates, definition.target_schema)


def decides_on_credentials(definition: Definition, present: Definition | None) -> bool:
    """Tell whether a change may let credentials go to somebody, or lets another source be read.

    An address decides who receives them; so do the handler, and what that is told.

    Args:
        definition: What is to be said.
        present: What is said now; None of a new dataset.
    """
    if definition.credential_key or (present and present.credential_key):
        return True
    return present is not None and definition.source_url != present.source_url


def declared_elsewhere(dataset: ManagedDataset, what: str) -> Conflict:
    """Return the error for a dataset that a file has its say in."""
    return Conflict(
        f"'{dataset.dataset_id}' is declared by a file and cannot be {what} here.",
        hint=f"Change {dataset.dataset_id}.yaml in the folder of managed datasets (GEOETL_MANAGED, else "
        "catalogs/managed). Whether it is enabled is said here.",
        field="dataset_id",
    )


def _check_collection(updates: "DatasetUpdates", collection: str) -> None:
    if any(one.target_schema == collection for one in updates.repository.list()):
        return
    catalog = updates.catalog(updates.repository.database)
    for item in walk(catalog, Search(collections=(collection,), limit=100, count=False)):
        # What an earlier dataset has left begins like this.
        if not item["id"].startswith(TARGET_PREFIX):
            raise Conflict(
                f"The collection '{collection}' has ordinary data: '{item['id']}'.",
                hint="Choose a target_schema of its own; only datasets write into the collections that they fill.",
                field="target_schema",
            )


@contextmanager
def _blamed_on(member: str) -> Iterator[None]:
    try:
        yield
    except GeoetlError as error:
        inner = f"{member}.{error.field}" if member == "source_config" and error.field else member
        raise InvalidParameter(error.detail, hint=error.hint, field=inner) from None
