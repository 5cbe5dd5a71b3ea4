"""What the page *Style* is made of, compiled into ``geoetl.bundle.js``: rules, their form, classes, versions, text."""

from pathlib import Path
from typing import ClassVar

import param

from dashboards.shared.map import Component

_FOLDER = Path(__file__).parent
_STYLE = "".join((_FOLDER / name).read_text(encoding="utf-8") for name in ("lists.css", "style_forms.css"))
_PARTS = {name: _FOLDER / f"{name}.js" for name in ("rows", "swatch", "fields")}


class RuleList(Component):
    """The rules of a style, in the order in which they are applied.

    Sends the messages ``{type, key}`` with type select, up or down, ``{type: "visible", key, value}`` and ``{type:
    "add"}``.
    """

    rules = param.List(
        default=[],
        item_type=dict,
        doc="Rules: key, depth, title, summary, visible; swatch: kind, fill, stroke, width, colors, …",
    )
    selected = param.String(default="", doc="Key of the rule that is edited.")

    _esm: ClassVar[str] = "rule_list.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [_STYLE]


class RuleForm(Component):
    """One rule as a form.

    Sends the messages ``{type, key}`` with type up, down, copy, nest, remove, scale_here or add_stop, and ``{type:
    "set", key, path, value, live}``, ``{type: "name", key, value}``, ``{type: "condition", key, join, rows}``,
    ``{type: "condition_text", key, text}``, ``{type: "mode", key, value}``, ``{type: "scale", key, end, value}`` and
    ``{type: "stops", key, stops, live}``; ``live`` while a person still drags.
    """

    form = param.Dict(
        default={},
        doc="The rule: key, name, can_up, can_down, is_coverage, attributes, condition, scale, fields; stops.",
    )

    _esm: ClassVar[str] = "rule_form.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [_STYLE]


class ClassifyForm(Component):
    """How a layer is divided into classes, and what comes of it.

    Sends the messages ``{type: "ask"}`` with what was changed (attribute, method, classes, ramp, reversed) and
    ``{type: "apply"}``.
    """

    form = param.Dict(
        default={},
        doc="Attributes, methods and ramps with what is chosen of each; rows, histogram, notes, error, busy.",
    )

    _esm: ClassVar[str] = "classify_form.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [_STYLE]


class VersionList(Component):
    """The versions of a style, the newest first.  Sends the messages ``{type, key}`` with the type of an action."""

    versions = param.List(
        default=[],
        item_type=dict,
        doc="Versions: key, title, subtitle, note, badge, shown; actions: type, label, pressed.",
    )
    message = param.String(default="", doc="What to say where there is none.")

    _esm: ClassVar[str] = "version_list.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [_STYLE]


class CodeEditor(Component):
    """A document as text, to write, to read and take along, or to compare with another.

    Sends the message ``{type: "edit", text}`` when a person has stopped typing for a moment.
    """

    content = param.Dict(default={}, doc="The `text`; with a `serial`, so that the same text can be put again.")
    language = param.String(default="json", doc="json, or anything else for plain text; set before it is shown.")
    label = param.String(default="", doc="What it is, for those who do not see it.")
    editable = param.Boolean(default=False, doc="Whether it can be changed.")
    problem = param.Dict(default={}, doc="What is wrong: message, and the place as `pointer` or `offset`.")
    against = param.String(default="", doc="What it is compared with; empty, it is shown as it is.")
    filename = param.String(default="style.json", doc="Name of a download.")
    media_type = param.String(default="application/json", doc="Media type of a download.")

    _esm: ClassVar[str] = "code_editor.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [(_FOLDER / "code_editor.css").read_text(encoding="utf-8")]


class Swipe(Component):
    """A bar between two maps that lie on each other; it moves ``--ge-swipe`` of what holds them."""

    left = param.String(default="", doc="What the map at the left shows.")
    right = param.String(default="", doc="What the map at the right shows.")

    _esm: ClassVar[str] = "swipe.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [(_FOLDER / "swipe.css").read_text(encoding="utf-8")]


class LegendList(Component):
    """A legend."""

    entries = param.List(
        default=[],
        item_type=dict,
        doc="Symbols: label and swatch; ramps: kind ramp, title, labels and stops with color and at (0 to 1).",
    )
    message = param.String(default="", doc="What to say where there is none.")

    _esm: ClassVar[str] = "legend_list.js"
    _esm_shared: ClassVar[dict[str, Path]] = _PARTS
    _stylesheets: ClassVar[list[str]] = [_STYLE]
