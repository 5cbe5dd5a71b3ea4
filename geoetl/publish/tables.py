"""The tables of publishing, as the migrations made them."""

import sqlalchemy as sa

_meta = sa.MetaData()

queue = sa.Table(
    "publish_queue",
    _meta,
    sa.Column("seq", sa.Integer, primary_key=True),
    *(sa.Column(name, sa.String) for name in ("id", "asset_id", "collection", "item", "state", "clearance")),
    *(sa.Column(name, sa.String) for name in ("manifest_digest", "submitted_by", "run_id")),
    *(sa.Column(name, sa.Integer) for name in ("revision", "version")),
    *(sa.Column(name, sa.Text) for name in ("manifest", "approval", "last_error", "reason")),
    *(sa.Column(name, sa.Float) for name in ("submitted_at", "publish_after", "withdraw_after", "published_at")),
    *(sa.Column(name, sa.Float) for name in ("created_at", "updated_at")),
)
audit_log = sa.Table(
    "publish_audit_log",
    _meta,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Float),
    *(sa.Column(name, sa.String) for name in ("release_id", "asset_id", "action", "before", "after", "actor")),
    *(sa.Column(name, sa.String) for name in ("manifest_digest", "previous", "hash")),
    sa.Column("details", sa.Text),
)
outbox = sa.Table(
    "publish_outbox",
    _meta,
    *(sa.Column(name, sa.String, primary_key=name == "id") for name in ("id", "release_id", "event")),
    sa.Column("claim", sa.String),
    *(sa.Column(name, sa.Text) for name in ("payload", "delivered", "error")),
    sa.Column("attempts", sa.Integer),
    *(sa.Column(name, sa.Float) for name in ("created_at", "ready_at", "claimed_until", "sent_at", "given_up_at")),
)
