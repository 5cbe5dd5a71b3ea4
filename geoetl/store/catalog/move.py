"""What one catalogue has and another lacks, copied over."""

from collections.abc import Callable
from dataclasses import dataclass

from geoetl.core.errors import Conflict
from geoetl.store.catalog.protocol import Catalog, Search

# Items of one unit of work.
PAGE = 1_000


@dataclass(frozen=True)
class Copied:
    """What was copied, and what was there already and stayed as it was."""

    collections: int
    items: int
    items_present: int


def copy_missing(source: Catalog, target: Catalog, progress: Callable[[int], None] = lambda items: None) -> Copied:
    """Copy the collections and items that `target` lacks; what it has is newer and stays.

    Interrupted, it goes on where it was when it is called again.

    Args:
        source: The catalogue to read.
        target: The one to write.
        progress: Is told how many items were looked at so far.
    """
    present = {collection["id"] for collection in target.collections()}
    collections = items = items_present = 0
    for collection in source.collections():
        if collection["id"] not in present:
            try:
                target.add_collection(collection)
                collections += 1
            except Conflict:
                pass  # another one was quicker
        search = Search(collections=(collection["id"],), limit=PAGE, count=False)
        while True:
            page = source.search(search)
            ids = tuple(item["id"] for item in page)
            asked = Search(collections=(collection["id"],), ids=ids, limit=PAGE, count=False)
            known = {item["id"] for item in target.search(asked)} if ids else set()
            if missing := [item for item in page if item["id"] not in known]:
                target.upsert_items(missing)
            items += len(missing)
            items_present += len(known)
            progress(items + items_present)
            if page.next_token is None:
                break
            search = search.model_copy(update={"token": page.next_token})
    return Copied(collections, items, items_present)
