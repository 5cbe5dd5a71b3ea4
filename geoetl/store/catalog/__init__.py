"""The STAC catalogue: the only writers and readers of STAC.

``protocol`` what a catalogue offers: `Catalog`, `Search`, `ItemPage` · ``model`` `Item` and `Collection`,
dictionaries that show themselves · ``item`` the parts of the items that we write · ``sqlite`` the embedded back end ·
``pgstac`` the one on PostgreSQL · ``validation`` what a document must have · ``footprint`` geometries cut at the
antimeridian · ``cql2`` filters, from text to a checked tree · ``predicates`` the tree as SQL, in the dialects
``sqlite_predicates`` and ``postgres_predicates`` · ``question`` what both make of a search · ``functions`` what
SQLite lacks · ``paging`` tokens · ``hrefs`` portable and openable addresses · ``static`` export as a folder of files ·
``geoparquet`` as one file, and back · ``incoming`` sources of many items · ``bulk`` load them.
"""

from typing import TYPE_CHECKING, Any

from geoetl.store.catalog.model import Collection, Item
from geoetl.store.catalog.protocol import Catalog, ItemPage, Search, SortField, walk

if TYPE_CHECKING:
    from geoetl.store.catalog.pgstac import PgstacCatalog
    from geoetl.store.catalog.sqlite import SqliteCatalog
    from geoetl.store.catalog.static import export_static

__all__ = [
    "Catalog",
    "Collection",
    "Item",
    "ItemPage",
    "PgstacCatalog",
    "Search",
    "SortField",
    "SqliteCatalog",
    "export_static",
    "walk",
]


def __getattr__(name: str) -> Any:
    # The back ends load shapely and SQLAlchemy; a search can be written without.
    if name == "PgstacCatalog":
        from geoetl.store.catalog.pgstac import PgstacCatalog

        return PgstacCatalog
    if name == "SqliteCatalog":
        from geoetl.store.catalog.sqlite import SqliteCatalog

        return SqliteCatalog
    if name == "export_static":
        from geoetl.store.catalog.static import export_static

        return export_static
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
