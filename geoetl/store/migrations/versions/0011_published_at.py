"""When a release became public."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the time, and tell it of releases that are there from the audit log."""
    op.add_column("publish_queue", sa.Column("published_at", sa.Float))
    op.execute(
        "UPDATE publish_queue SET published_at = (SELECT MAX(at) FROM publish_audit_log AS log"
        " WHERE log.release_id = publish_queue.id AND log.action = 'finish_copy')"
    )
