"""Notifications: who sends one, which of its channels have it, and which were given up."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what a sender writes down."""
    op.add_column("publish_outbox", sa.Column("claim", sa.String(32)))
    op.add_column("publish_outbox", sa.Column("claimed_until", sa.Float))
    # JSON: the Unix time at which each channel had it.
    op.add_column("publish_outbox", sa.Column("delivered", sa.Text))
    op.add_column("publish_outbox", sa.Column("given_up_at", sa.Float))
    op.drop_index("publish_outbox_waiting", "publish_outbox")
    waiting = sa.text("sent_at IS NULL AND given_up_at IS NULL")
    op.create_index(
        "publish_outbox_waiting", "publish_outbox", ["ready_at"], sqlite_where=waiting, postgresql_where=waiting
    )
