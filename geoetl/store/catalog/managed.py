"""Collections that managed datasets fill: nothing else writes into them."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from geoetl.core.errors import ManagedData

_datasets = sa.table("curated_datasets", sa.column("dataset_id"), sa.column("target_schema"))


def refuse_managed(connection: Connection, collections: Iterable[str]) -> None:
    """Refuse an ordinary change of what managed datasets keep.

    Args:
        connection: The unit of work of the change; nobody declares a dataset meanwhile and is not seen.
        collections: Ids of collections whose documents or items would change.

    Raises:
        ManagedData: One of them is kept by a managed dataset.
    """
    wanted = list(collections)
    query = (
        sa.select(_datasets.c.dataset_id, _datasets.c.target_schema)
        .where(_datasets.c.target_schema.in_(wanted))
        .order_by(_datasets.c.dataset_id)
        .limit(1)
    )
    found = connection.execute(query).one_or_none() if wanted else None
    if found is not None:
        raise ManagedData(
            f"The collection '{found.target_schema}' is kept by the managed dataset '{found.dataset_id}'; nothing else "
            "writes into it.",
            hint=f"Change it with `geoetl datasets update {found.dataset_id}`, or name another collection.",
            field="collection",
        )
