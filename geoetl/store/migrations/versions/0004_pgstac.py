"""What the catalogue on PostgreSQL needs beside pgSTAC's own schema; nothing on SQLite."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the functions and tables of geoetl.store.catalog.pgstac."""
    if op.get_bind().dialect.name != "postgresql":
        return
