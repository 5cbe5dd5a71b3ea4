"""The lists that Azure Data Factory copies by: which objects, from where, to where, in the words of its pipeline."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from geoetl.publish.copiers.protocol import Transfer
from geoetl.store.origins import Origin
from geoetl.store.staging import Staging
from geoetl.store.zones import Zone

# Of one list: a Lookup activity returns the first 5,000 rows and up to 4 MB (Microsoft, "Lookup activity in Azure Data
# Factory"); some of that is around the rows.
MAX_ROWS = 5000
MAX_LIST_BYTES = 3_500_000


@dataclass(frozen=True)
class Row:
    """A line of a list.

    Attributes:
        transfer: What it is about.
        json: The line.
    """

    transfer: Transfer
    json: bytes


def row_of(origin: Origin, transfer: Transfer, staging: Staging) -> Row:
    """Return the line of an object: container, folder and name of source and target, and what it is called in errors.

    For a file the container is empty and the folder an absolute path.
    """
    if origin.path is not None:
        source_container, source = "", str(origin.path)
    else:
        source_container, source = _container_of(origin.store), _below(origin.store, origin.key)
    source_folder, _, source_name = source.rpartition("/")
    target_container, target = place_of(staging.zone, f"{staging.area.key}/{transfer.target}")
    target_folder, _, target_name = target.rpartition("/")
    line = {
        "source_container": source_container,
        "source_folder": source_folder,
        "source_name": source_name,
        "target_container": target_container,
        "target_folder": target_folder,
        "target_name": target_name,
        "target": transfer.target,
    }
    return Row(transfer, json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode())


def batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield as many rows as one list may have, until there are no more."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        if batch and (len(batch) == MAX_ROWS or size + len(row.json) + 1 > MAX_LIST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += len(row.json) + 1
    if batch:
        yield batch


def place_of(zone: Zone, key: str) -> tuple[str, str]:
    """Return container and path of what a zone has at a key; of a file zone, nothing and the absolute path."""
    if zone.root:
        return "", f"{zone.root}/{key}"
    return _container_of(zone.store), _below(zone.store, key)


def is_azure(store: Any) -> bool:
    """Tell whether a connection leads to Blob Storage of Azure."""
    from obstore.store import AzureStore

    return isinstance(store, AzureStore)


def account_of(store: Any) -> tuple[str | None, str | None]:
    """Return which account a connection to Azure leads to: name and endpoint, None where the environment says them."""
    return store.config.get("account_name"), store.config.get("endpoint")


def _container_of(store: Any) -> str:
    return str(store.config["container_name"])


def _below(store: Any, key: str) -> str:
    return f"{store.prefix}/{key}" if store.prefix else key
