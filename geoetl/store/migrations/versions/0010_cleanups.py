"""Clean-ups: when, by whom, and what was removed."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of geoetl.ops.tables."""
    op.create_table(
        "cleanups",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("dry_run", sa.SmallInteger, nullable=False),
        sa.Column("who", sa.String(200)),
        # The process that does it: one that is gone does not go on.
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("born", sa.String(64), nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("ended", sa.Float),
        sa.Column("items_scanned", sa.Integer, nullable=False),
        sa.Column("items_fixed", sa.Integer, nullable=False),
        sa.Column("bytes_freed", sa.BigInteger, nullable=False),
        # JSON: how many of each part had each fate.
        sa.Column("actions", sa.Text, nullable=False),
    )
    op.create_table(
        "cleanup_actions",
        sa.Column("cleanup_id", sa.String(32), sa.ForeignKey("cleanups.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("part", sa.String(16), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("fate", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text),
        sa.Column("at", sa.Float, nullable=False),
    )
