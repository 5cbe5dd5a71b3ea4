"""What the page *Runs* is made of, compiled into ``geoetl.bundle.js``: runs, the stages and the log of one, schedules.

Times are Unix seconds; `clock` is the server's, so that a browser whose own is wrong counts from the right one.
"""

from pathlib import Path
from typing import ClassVar

import param

from dashboards.shared.map import Component

_FOLDER = Path(__file__).parent
_STYLE = "".join((_FOLDER / name).read_text(encoding="utf-8") for name in ("lists.css", "runs.css"))
_PARTS = {name: _FOLDER / f"{name}.js" for name in ("rows", "run_parts")}


class RunList(Component):
    """Runs, the newest first; ages and durations go on by themselves.

    Sends the messages ``{type: "open", key}`` and ``{type: "more"}``.
    """

    runs = param.List(
        default=[],
        item_type=dict,
        doc="Runs: key, state, word, title, subject, who, note, done, total; created, started, finished.",
    )
    selected = param.String(default="", doc="Key of the open run.")
    more = param.String(default="", doc="What the button for older ones says; empty where there are none.")
    loading = param.Boolean(default=False, doc="Whether they are being looked up.")
    message = param.Dict(default={}, doc="What to say instead of an empty list: title, text, code.")
    clock = param.Number(default=0.0, doc="The server's time.")

    _esm: ClassVar[str] = "run_list.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [_STYLE]


class RunStages(Component):
    """The stages of a run, with what each said."""

    stages = param.List(
        default=[],
        item_type=dict,
        doc="Stages: name, state, word, done, total, started, finished, attempt (0: say nothing), warnings, error.",
    )
    message = param.String(default="", doc="What to say where there are none.")
    clock = param.Number(default=0.0, doc="The server's time.")

    _esm: ClassVar[str] = "run_stages.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [_STYLE]


class RunLog(Component):
    """Lines as they come; it stays at the end as long as nobody reads further up."""

    lines = param.List(default=[], item_type=dict, doc="Lines: at, text, printed.")
    message = param.String(default="", doc="What to say where there are none.")

    _esm: ClassVar[str] = "run_log.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [_STYLE]


class ScheduleList(Component):
    """What runs by itself: when next, how it went last.

    Sends the messages ``{type, key}`` with type pause, resume or run, and ``{type: "open", key}`` with the id of a run.
    """

    schedules = param.List(
        default=[],
        item_type=dict,
        doc="Schedules: key, title, what, paused, next, last, state, outcome, detail, run, actions (type and label).",
    )
    message = param.String(default="", doc="What to say where there are none.")

    _esm: ClassVar[str] = "schedule_list.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [_STYLE]
