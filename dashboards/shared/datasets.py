"""What the page *Datasets* is made of, compiled into ``geoetl.bundle.js``: datasets, and the features that differ.

Times are Unix seconds; `clock` is the server's, as with runs.
"""

from pathlib import Path
from typing import ClassVar

import param

from dashboards.shared.map import Component

_FOLDER = Path(__file__).parent
_STYLE = "".join((_FOLDER / name).read_text(encoding="utf-8") for name in ("lists.css", "runs.css", "datasets.css"))
_PARTS = {name: _FOLDER / f"{name}.js" for name in ("rows", "run_parts")}


class DatasetList(Component):
    """Managed datasets; ages go on by themselves.

    Sends the message ``{type: "open", key}``.
    """

    datasets = param.List(
        default=[],
        item_type=dict,
        doc="Datasets: key, title, state, sign, word, note, facts, next (texts); checked, updated (times or null).",
    )
    selected = param.String(default="", doc="Key of the open one.")
    loading = param.Boolean(default=False, doc="Whether they are being looked up.")
    message = param.Dict(default={}, doc="What to say instead of an empty list: title, text, code.")
    clock = param.Number(default=0.0, doc="The server's time.")

    _esm: ClassVar[str] = "dataset_list.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [_STYLE]


class ChangeKinds(Component):
    """The legend of changed features: kinds with their colours and counts; each may be chosen alone.

    Its name does not end in "Legend": panel-material-ui 0.16 would take it for one of Bokeh's plots and colour it.

    Sends the message ``{type: "filter", key}``.
    """

    kinds = param.List(default=[], item_type=dict, doc="Kinds: key (empty for all), label, sign, color, count.")
    selected = param.String(default="", doc="Key of the one that is shown alone.")

    _esm: ClassVar[str] = "change_kinds.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [_STYLE]


class ChangeList(Component):
    """Features that differ.

    Sends the messages ``{type: "open", key}`` and ``{type: "more"}``.
    """

    rows = param.List(default=[], item_type=dict, doc="Features: key, name, change, sign, color, item, columns.")
    selected = param.String(default="", doc="Key of the one that stands out.")
    items = param.Boolean(default=False, doc="Whether it is told which item each belongs to.")
    more = param.String(default="", doc="What the button for more says; empty where there are none.")
    message = param.String(default="", doc="What to say where there are none.")

    _esm: ClassVar[str] = "change_list.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [_STYLE]
