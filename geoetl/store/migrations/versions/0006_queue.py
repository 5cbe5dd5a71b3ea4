"""Runs become a queue with workers and events; schedules, and the slots of each that had their run."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OPEN = "state IN ('queued', 'running')"
_NEXT = "state = 'queued' AND is_head = 1"


def upgrade() -> None:
    """Make and widen the tables of geoetl.runs.tables."""
    op.create_table(
        "run_workers",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        # When the process began, by its machine's own count: a later process of the same number is another one.
        sa.Column("born", sa.String(64), nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("beats", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
    )
    for column in (
        sa.Column("kind", sa.String(16), nullable=False, server_default="notebook"),
        sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
        # 1 for the oldest waiting run of its subject, as long as none of that subject is executed.
        sa.Column("is_head", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("max_attempts", sa.Integer, nullable=False, server_default="1"),
        # 1 for a run that somebody waits for in their own process; no worker takes it over.
        sa.Column("attended", sa.SmallInteger, nullable=False, server_default="1"),
        sa.Column("cancel_requested", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("events", sa.Integer, nullable=False, server_default="0"),
        sa.Column("worker", sa.String(32)),
        sa.Column("submitted_by", sa.String(200)),
        sa.Column("ready_at", sa.Float, nullable=False, server_default="0"),
    ):
        op.add_column("runs", column)
    for name in ("host", "pid", "lease_until"):
        op.drop_column("runs", name)
    # Whoever executed it does not know of workers; the same call resumes it.
    op.execute("UPDATE runs SET state = 'interrupted' WHERE state = 'running'")
    _partial("runs_next", ["kind", sa.text("priority DESC"), "seq"], _NEXT)
    _partial("runs_open", ["subject", "state", "seq"], _OPEN)
    _partial("runs_held", ["worker"], "state = 'running'")
    op.create_index("runs_of_pipeline", "runs", ["pipeline", "seq"])
    op.create_table(
        "run_events",
        sa.Column("run_id", sa.String(32), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_table(
        "schedules",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("target", sa.String(200), nullable=False),
        sa.Column("parameters", sa.Text, nullable=False),
        sa.Column("cron", sa.String(100), nullable=False),
        sa.Column("is_declared", sa.SmallInteger, nullable=False),
        sa.Column("is_paused", sa.SmallInteger, nullable=False),
        # Unix seconds of the latest slot that was dealt with.
        sa.Column("last_slot", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "schedule_slots",
        sa.Column("schedule", sa.String(200), primary_key=True),
        sa.Column("slot", sa.BigInteger, primary_key=True),
        sa.Column("run_id", sa.String(32)),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text),
        sa.Column("at", sa.Float, nullable=False),
    )


def _partial(name: str, columns: list[str | sa.TextClause], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "runs", columns, sqlite_where=condition, postgresql_where=condition)
