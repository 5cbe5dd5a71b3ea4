"""Managed datasets: what they are, the versions of each, and what every update did."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of geoetl.datasets.tables."""
    op.create_table(
        "curated_datasets",
        sa.Column("dataset_id", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("handler", sa.String(64), nullable=False),
        sa.Column("source_type", sa.String(32), nullable=False),
        sa.Column("source_url", sa.Text, nullable=False),
        sa.Column("source_config", sa.Text, nullable=False),
        sa.Column("job_type", sa.String(200), nullable=False),
        sa.Column("update_strategy", sa.String(32), nullable=False),
        sa.Column("update_schedule", sa.String(100)),
        sa.Column("credential_key", sa.String(64)),
        sa.Column("target_table_name", sa.String(100), nullable=False),
        # A collection of the catalogue; whoever is no managed dataset writes nothing into it.
        sa.Column("target_schema", sa.String(200), nullable=False, index=True),
        sa.Column("license", sa.Text, nullable=False),
        sa.Column("attribution", sa.Text, nullable=False),
        sa.Column("citation", sa.Text, nullable=False),
        sa.Column("terms_url", sa.Text, nullable=False),
        sa.Column("sanity", sa.Text, nullable=False),
        sa.Column("keep_versions", sa.Integer, nullable=False),
        sa.Column("enabled", sa.SmallInteger, nullable=False),
        sa.Column("is_declared", sa.SmallInteger, nullable=False),
        sa.Column("live_version", sa.Integer),
        sa.Column("source_version", sa.Text),
        sa.Column("last_checked_at", sa.Float),
        sa.Column("last_updated_at", sa.Float),
        sa.Column("last_job_id", sa.String(32)),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
        sa.CheckConstraint(r"target_table_name LIKE 'curated\_%' ESCAPE '\'", name="curated_datasets_target"),
        sa.UniqueConstraint("target_schema", "target_table_name", name="curated_datasets_place"),
    )
    op.create_table(
        "curated_versions",
        sa.Column("dataset_id", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("source_version", sa.Text, nullable=False),
        # What the upstream is recognised by: the same stamp is the same release.
        sa.Column("stamp", sa.Text, nullable=False),
        # The version that was live when this one was made, and that it was compared with.
        sa.Column("based_on", sa.Integer),
        sa.Column("items", sa.Text, nullable=False),
        sa.Column("styles", sa.Text, nullable=False),
        sa.Column("profile", sa.Text, nullable=False),
        sa.Column("changes", sa.Text, nullable=False),
        sa.Column("findings", sa.Text, nullable=False),
        sa.Column("memo", sa.Text, nullable=False),
        sa.Column("run_id", sa.String(32)),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("decided_at", sa.Float),
        sa.Column("decided_by", sa.String(200)),
        sa.Column("reason", sa.Text),
    )
    # One of each dataset is live, whoever writes.
    op.create_index(
        "curated_versions_live",
        "curated_versions",
        ["dataset_id"],
        unique=True,
        sqlite_where=sa.text("state = 'live'"),
        postgresql_where=sa.text("state = 'live'"),
    )
    op.create_table(
        "curated_update_log",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("dataset_id", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("update_type", sa.String(16), nullable=False),
        sa.Column("source_version", sa.Text),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("records_added", sa.BigInteger),
        sa.Column("records_updated", sa.BigInteger),
        sa.Column("records_deleted", sa.BigInteger),
        sa.Column("records_total", sa.BigInteger),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("completed_at", sa.Float),
        sa.Column("duration_seconds", sa.Float),
        sa.Column("error_message", sa.Text),
        sa.Column("details", sa.Text, nullable=False),
        sa.UniqueConstraint("dataset_id", "job_id", name="curated_update_log_job"),
    )
    op.create_index("curated_update_log_latest", "curated_update_log", ["dataset_id", "seq"])
    if op.get_bind().dialect.name == "postgresql":
        # Whoever writes into the catalogue looks whether a managed dataset keeps the collection.
        op.execute("GRANT SELECT (dataset_id, target_schema) ON curated_datasets TO pgstac_ingest")
