"""The tables of clean-ups, as the migrations made them."""

import sqlalchemy as sa

_meta = sa.MetaData()

cleanups = sa.Table(
    "cleanups",
    _meta,
    sa.Column("seq", sa.Integer, primary_key=True),
    *(sa.Column(name, sa.String) for name in ("id", "who", "host", "born")),
    sa.Column("request", sa.Text),
    *(sa.Column(name, sa.Integer) for name in ("dry_run", "pid", "items_scanned", "items_fixed")),
    sa.Column("bytes_freed", sa.BigInteger),
    sa.Column("actions", sa.Text),
    *(sa.Column(name, sa.Float) for name in ("started", "ended")),
)
actions = sa.Table(
    "cleanup_actions",
    _meta,
    sa.Column("cleanup_id", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    *(sa.Column(name, sa.String) for name in ("part", "fate")),
    *(sa.Column(name, sa.Text) for name in ("name", "reason", "detail")),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("at", sa.Float),
)
