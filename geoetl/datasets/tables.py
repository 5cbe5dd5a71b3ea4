"""The tables of managed datasets, as the migrations made them."""

import sqlalchemy as sa

_meta = sa.MetaData()

datasets = sa.Table(
    "curated_datasets",
    _meta,
    sa.Column("dataset_id", sa.String, primary_key=True),
    *(sa.Column(name, sa.String) for name in ("handler", "source_type", "job_type", "update_strategy")),
    *(sa.Column(name, sa.String) for name in ("update_schedule", "credential_key", "target_table_name")),
    *(sa.Column(name, sa.String) for name in ("target_schema", "last_job_id")),
    *(sa.Column(name, sa.Text) for name in ("name", "description", "source_url", "license", "attribution")),
    *(sa.Column(name, sa.Text) for name in ("citation", "terms_url", "source_version")),
    *(sa.Column(name, sa.Text) for name in ("source_config", "sanity")),
    *(sa.Column(name, sa.Integer) for name in ("keep_versions", "enabled", "is_declared", "live_version")),
    *(sa.Column(name, sa.Float) for name in ("last_checked_at", "last_updated_at", "created_at", "updated_at")),
)
versions = sa.Table(
    "curated_versions",
    _meta,
    sa.Column("dataset_id", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    *(sa.Column(name, sa.String) for name in ("state", "run_id", "decided_by")),
    *(sa.Column(name, sa.Text) for name in ("source_version", "stamp", "reason")),
    sa.Column("based_on", sa.Integer),
    *(sa.Column(name, sa.Text) for name in ("items", "styles", "profile", "changes", "findings", "memo")),
    *(sa.Column(name, sa.Float) for name in ("created_at", "decided_at")),
)
log = sa.Table(
    "curated_update_log",
    _meta,
    sa.Column("seq", sa.Integer, primary_key=True),
    *(sa.Column(name, sa.String) for name in ("dataset_id", "job_id", "update_type", "status")),
    *(sa.Column(name, sa.Text) for name in ("source_version", "error_message", "details")),
    *(sa.Column(name, sa.BigInteger) for name in ("records_added", "records_updated")),
    *(sa.Column(name, sa.BigInteger) for name in ("records_deleted", "records_total")),
    *(sa.Column(name, sa.Float) for name in ("started_at", "completed_at", "duration_seconds")),
)
