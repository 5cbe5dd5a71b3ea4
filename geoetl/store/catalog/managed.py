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
        .order_by(_datasets.c.target_schema, _datasets.c.dataset_id)
    )
    found = connection.execute(query).all() if wanted else []
    if found:
        collection = found[0].target_schema
        names = [row.dataset_id for row in found if row.target_schema == collection]
        raise ManagedData(
            f"Only managed datasets ({', '.join(names)}) write into the collection '{collection}'.",
            hint="Name another collection; what the datasets are, and how they are updated, says: geoetl datasets list",
            field="collection",
        )
