"""The embedded STAC catalogue (SQLite); on PostgreSQL the catalogue is pgSTAC, which brings its own schema."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What searches walk over lies in the narrow table; the documents lie apart, so that a walk does not read them.
# The R*Tree has a row for each box of a footprint (two where it crosses the antimeridian): 2 seq and 2 seq + 1.
# Its third axis is time in years since 1970, a scale on which a year weighs about as much as a degree.
_STATEMENTS = (
    """
    create table stac_collections (
        id text not null primary key,
        content text not null check (json_valid(content))
    ) without rowid
    """,
    """
    create table stac_items (
        seq integer primary key,
        collection text not null references stac_collections (id),
        id text not null,
        start_us integer not null,
        end_us integer not null,
        west real not null,
        south real not null,
        east real not null,
        north real not null,
        inner_west real,
        inner_south real,
        inner_east real,
        inner_north real,
        footprint blob not null
    )
    """,
    "create unique index stac_items_id on stac_items (id, collection)",
    "create index stac_items_time on stac_items (start_us, id)",
    "create index stac_items_collection_time on stac_items (collection, start_us, id)",
    """
    create table stac_item_documents (
        seq integer primary key,
        content text not null check (json_valid(content))
    )
    """,
    "create virtual table stac_items_rtree using rtree (id, west, east, south, north, start_year, end_year)",
    """
    create table stac_state (
        singleton integer primary key check (singleton = 1),
        version integer not null,
        secret blob not null
    )
    """,
    "insert into stac_state (singleton, version, secret) values (1, 0, randomblob(32))",
)


def upgrade() -> None:
    """Make the tables of geoetl.store.catalog.sqlite."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement)
