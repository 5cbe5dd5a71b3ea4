"""Publishing: releases with their states, the audit log, and notifications that wait to be sent."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_OPEN = "state NOT IN ('published', 'rejected', 'withdrawn')"
_VERSIONED = "version IS NOT NULL"
_BEFORE_THE_FIRST = "0" * 64
_UNCHANGED = "rows of the audit log are never changed or removed"
_IN_ORDER = "a row of the audit log has the next number, and names the hash of the one before it"
# The database itself refuses what the log must not have done to it. On SQLite an INSERT OR REPLACE removes rows without
# any trigger for removing; that it has to have the next number keeps it from that.
_GUARDS = {
    "sqlite": [
        *(
            f"""CREATE TRIGGER publish_audit_log_no_{verb.lower()} BEFORE {verb} ON publish_audit_log
            BEGIN SELECT RAISE(ABORT, '{_UNCHANGED}'); END"""
            for verb in ("UPDATE", "DELETE")
        ),
        f"""CREATE TRIGGER publish_audit_log_next BEFORE INSERT ON publish_audit_log
        WHEN NEW.number <> (SELECT coalesce(max(number), 0) + 1 FROM publish_audit_log)
        OR NEW.previous <> coalesce(
            (SELECT hash FROM publish_audit_log ORDER BY number DESC LIMIT 1), '{_BEFORE_THE_FIRST}'
        )
        BEGIN SELECT RAISE(ABORT, '{_IN_ORDER}'); END""",
    ],
    "postgresql": [
        f"""CREATE FUNCTION publish_audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION '{_UNCHANGED}'; END $$""",
        """CREATE TRIGGER publish_audit_log_unchanged BEFORE UPDATE OR DELETE ON publish_audit_log
        FOR EACH ROW EXECUTE FUNCTION publish_audit_log_refuse()""",
        """CREATE TRIGGER publish_audit_log_no_truncate BEFORE TRUNCATE ON publish_audit_log
        FOR EACH STATEMENT EXECUTE FUNCTION publish_audit_log_refuse()""",
        f"""CREATE FUNCTION publish_audit_log_check() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE latest record;
        BEGIN
            SELECT number, hash INTO latest FROM publish_audit_log ORDER BY number DESC LIMIT 1;
            IF NEW.number <> coalesce(latest.number, 0) + 1
            OR NEW.previous <> coalesce(latest.hash, '{_BEFORE_THE_FIRST}') THEN
                RAISE EXCEPTION '{_IN_ORDER}';
            END IF;
            RETURN NEW;
        END $$""",
        """CREATE TRIGGER publish_audit_log_next BEFORE INSERT ON publish_audit_log
        FOR EACH ROW EXECUTE FUNCTION publish_audit_log_check()""",
    ],
}


def upgrade() -> None:
    """Make the tables of geoetl.publish.tables."""
    op.create_table(
        "publish_queue",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("asset_id", sa.String(32), nullable=False),
        sa.Column("collection", sa.String(255), nullable=False),
        sa.Column("item", sa.String(255), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        # Raised by every change: whoever changes a release names the one that they saw.
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer),
        sa.Column("clearance", sa.String(16), nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("manifest_digest", sa.String(64), nullable=False),
        sa.Column("submitted_by", sa.String(200)),
        sa.Column("submitted_at", sa.Float),
        sa.Column("approval", sa.Text),
        sa.Column("publish_after", sa.Float),
        sa.Column("withdraw_after", sa.Float),
        sa.Column("run_id", sa.String(32)),
        sa.Column("last_error", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
    )
    op.create_index("publish_queue_state", "publish_queue", ["state", "seq"])
    _unique("publish_queue_open", ["asset_id"], _OPEN)
    _unique("publish_queue_version", ["asset_id", "version"], _VERSIONED)
    op.create_table(
        "publish_audit_log",
        # Counted from 1 without a gap; the order of what happened, whatever clocks say.
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("release_id", sa.String(32), nullable=False),
        sa.Column("asset_id", sa.String(32), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("before", sa.String(32)),
        sa.Column("after", sa.String(32)),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("manifest_digest", sa.String(64), nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
    )
    op.create_index("publish_audit_log_release", "publish_audit_log", ["release_id", "number"])
    for statement in _GUARDS[op.get_context().dialect.name]:
        op.execute(sa.text(statement))
    op.create_table(
        "publish_outbox",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("release_id", sa.String(32), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("ready_at", sa.Float, nullable=False),
        sa.Column("sent_at", sa.Float),
        sa.Column("error", sa.Text),
    )
    op.create_index("publish_outbox_waiting", "publish_outbox", ["sent_at", "ready_at"])


def _unique(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "publish_queue", columns, unique=True, sqlite_where=condition, postgresql_where=condition)
