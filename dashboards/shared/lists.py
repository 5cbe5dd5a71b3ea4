"""The two lists of the explorer, compiled into ``geoetl.bundle.js``: what there is, and what lies on the map."""

from pathlib import Path
from typing import ClassVar

import param

from dashboards.shared.map import Component

_FOLDER = Path(__file__).parent
_STYLE = (_FOLDER / "lists.css").read_text(encoding="utf-8")


class ItemList(Component):
    """Collections that open, with their items.

    Sends the messages ``{type: "open", key}`` and ``{type: "more", group}``.
    """

    groups = param.List(
        default=[],
        item_type=dict,
        doc="Collections: id, title, description, count, more (texts); items: key, title, subtitle, kind, thumbnail.",
    )
    expanded = param.List(default=[], item_type=str, doc="Ids of the open collections.")
    selected = param.String(default="", doc="Key of the open item.")
    hovered = param.String(default="", doc="Key of the item under the pointer.")
    loading = param.Boolean(
        default=False, doc="Whether it is being looked up; a skeleton stands in for the first list."
    )
    message = param.Dict(default={}, doc="What to say instead of an empty list: title, text, code.")

    _esm: ClassVar[str] = "item_list.js"
    _esm_shared: ClassVar[dict[str, Path]] = {"rows": _FOLDER / "rows.js"}
    _stylesheets: ClassVar[list[str]] = [_STYLE]


class LayerList(Component):
    """What lies on the map, from top to bottom.

    Sends the messages ``{type, id}`` with type open, up, down, fit or remove, and ``{type, id, value}`` with type
    visible or opacity.
    """

    layers = param.List(
        default=[],
        item_type=dict,
        doc="Layers: id, title, subtitle, visible, opacity, active, and where there is one color, legend, note, error.",
    )

    _esm: ClassVar[str] = "layer_list.js"
    _esm_shared: ClassVar[dict[str, Path]] = {"rows": _FOLDER / "rows.js"}
    _stylesheets: ClassVar[list[str]] = [_STYLE]
