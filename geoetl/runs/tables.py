"""The tables of runs, as the migrations made them."""

import sqlalchemy as sa

_meta = sa.MetaData()

workers = sa.Table(
    "run_workers",
    _meta,
    *(sa.Column(name, sa.String, primary_key=name == "id") for name in ("id", "host", "born")),
    *(sa.Column(name, sa.Integer) for name in ("pid", "slots")),
    sa.Column("beats", sa.BigInteger),
    *(sa.Column(name, sa.Float) for name in ("started_at", "seen_at")),
)
runs = sa.Table(
    "runs",
    _meta,
    sa.Column("seq", sa.Integer, primary_key=True),
    *(sa.Column(name, sa.String) for name in ("id", "kind", "pipeline", "subject", "identity", "state")),
    sa.Column("parameters", sa.Text),
    *(sa.Column(name, sa.Integer) for name in ("priority", "is_head", "attempt", "failures", "max_attempts")),
    *(sa.Column(name, sa.Integer) for name in ("attended", "cancel_requested", "events")),
    *(sa.Column(name, sa.String) for name in ("worker", "submitted_by")),
    *(sa.Column(name, sa.Float) for name in ("ready_at", "created_at", "started_at", "finished_at")),
    *(sa.Column(name, sa.Text) for name in ("result", "error", "notebook")),
)
stages = sa.Table(
    "run_stages",
    _meta,
    sa.Column("run_id", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    *(sa.Column(name, sa.Integer) for name in ("position", "attempt", "done", "total")),
    *(sa.Column(name, sa.String) for name in ("arguments", "state")),
    *(sa.Column(name, sa.Float) for name in ("started_at", "finished_at")),
    *(sa.Column(name, sa.Text) for name in ("warnings", "result", "error")),
)
tasks = sa.Table(
    "run_tasks",
    _meta,
    *(sa.Column(name, sa.String, primary_key=True) for name in ("run_id", "stage", "arguments")),
    sa.Column("state", sa.String),
    sa.Column("attempt", sa.Integer),
    sa.Column("finished_at", sa.Float),
    *(sa.Column(name, sa.Text) for name in ("result", "error")),
)
events = sa.Table(
    "run_events",
    _meta,
    sa.Column("run_id", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float),
    sa.Column("kind", sa.String),
    sa.Column("data", sa.Text),
)
schedules = sa.Table(
    "schedules",
    _meta,
    *(sa.Column(name, sa.String, primary_key=name == "name") for name in ("name", "kind", "target", "cron")),
    *(sa.Column(name, sa.Text) for name in ("title", "parameters")),
    *(sa.Column(name, sa.Integer) for name in ("is_declared", "is_paused")),
    sa.Column("last_slot", sa.BigInteger),
    sa.Column("created_at", sa.Float),
)
slots = sa.Table(
    "schedule_slots",
    _meta,
    sa.Column("schedule", sa.String, primary_key=True),
    sa.Column("slot", sa.BigInteger, primary_key=True),
    *(sa.Column(name, sa.String) for name in ("run_id", "outcome")),
    sa.Column("detail", sa.Text),
    sa.Column("at", sa.Float),
)
