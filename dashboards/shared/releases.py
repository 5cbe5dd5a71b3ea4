"""What the page *Review* is made of, compiled into ``geoetl.bundle.js``: releases, and which of them are listed.

Times are Unix seconds; `clock` is the server's, as with runs.
"""

from pathlib import Path
from typing import ClassVar

import param

from dashboards.shared.map import Component

_FOLDER = Path(__file__).parent
_STYLE = "".join((_FOLDER / name).read_text(encoding="utf-8") for name in ("lists.css", "runs.css", "datasets.css"))
_PARTS = {name: _FOLDER / f"{name}.js" for name in ("rows", "run_parts")}


class ReleaseList(Component):
    """Releases; ages go on by themselves.

    Sends the messages ``{type: "open", key}`` and ``{type: "more"}``.
    """

    releases = param.List(
        default=[],
        item_type=dict,
        doc="Releases: key, title, place, sign, state, word, facts, who, note (texts); since (a time).",
    )
    selected = param.String(default="", doc="Key of the open one.")
    label = param.String(default="", doc="What is listed, and in which order, for those who do not see it.")
    more = param.String(default="", doc="What the button for more says; empty where there are none.")
    loading = param.Boolean(default=False, doc="Whether they are being looked up.")
    message = param.Dict(default={}, doc="What to say instead of an empty list: title, text, code.")
    clock = param.Number(default=0.0, doc="The server's time.")

    _esm: ClassVar[str] = "release_list.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [_STYLE]


class ReleaseGroups(Component):
    """Which releases are listed, with how many there are.  Sends the message ``{type: "list", key}``."""

    groups = param.List(default=[], item_type=dict, doc="Groups: key, label, count.")
    selected = param.String(default="", doc="Key of the one that is listed.")

    _esm: ClassVar[str] = "release_groups.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [_STYLE]
