"""Losses, features and swatches as the page shows them; every text is escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from dashboards.explore.reading import unit_text
from dashboards.style import draft
from dashboards.style.condition import summary
from dashboards.style.form import hex_of, shown
from dashboards.style.outputs import Loss
from geoetl.styles.legend import Legend
from geoetl.styles.values import Color

if TYPE_CHECKING:
    from dashboards.style.model import Picked
    from geoetl.styles.layer import StyledLayer

LOSSES_CSS = """
:host { font: 14px/20px Roboto, system-ui, sans-serif; color: var(--ge-text); }
h3 { font-size: 14px; line-height: 20px; margin: 0 0 4px; }
p { margin: 0; color: var(--ge-muted); font-size: 12px; line-height: 16px; }
ul { list-style: none; margin: 0; padding: 0; }
li { padding: 4px 0; overflow-wrap: anywhere; }
code { font: 12px/16px ui-monospace, monospace; color: var(--ge-muted); display: block; }
"""
# More of an attribute's value than this is no label any more.
_LONGEST_VALUE = 300


def losses_html(title: str, losses: Sequence[Loss]) -> str:
    """Return what a target cannot say, with where it stands in the style."""
    if not losses:
        return f"<p>{escape(title)} says all of it: nothing is lost.</p>"
    rows = "".join(f"<li>{escape(loss.reason)}<code>{escape(loss.pointer or '/')}</code></li>" for loss in losses)
    count = "One thing is" if len(losses) == 1 else f"{len(losses)} things are"
    return f"<h3>{count} lost in {escape(title)}</h3><ul>{rows}</ul>"


def picked_html(picked: "Picked") -> str:
    """Return the attributes of a feature."""
    rows = "".join(
        f"<dt>{escape(str(name))}</dt><dd>{escape(str(value)[:_LONGEST_VALUE])}</dd>"
        for name, value in picked.properties.items()
        if value not in (None, "")
    )
    return f"<dl>{rows}</dl>" if rows else '<p class="muted">It has no attributes.</p>'


def rule_rows(document: draft.Document, layer: "StyledLayer") -> list[dict[str, Any]]:
    """Return the rules as the component `RuleList` takes them."""
    found = []
    for key, rule in draft.rules(document):
        symbolizer = draft.effective(document, key)
        found.append(
            {
                "key": key,
                "depth": key.count("."),
                "title": rule.get("name") or summary(rule.get("selector")) or "Everything",
                "summary": summary(rule.get("selector")) if rule.get("name") else "",
                "visible": symbolizer.get("visibility", True) is not False,
                "swatch": swatch(symbolizer, layer),
            }
        )
    return found


def swatch(symbolizer: Mapping[str, Any], layer: "StyledLayer") -> dict[str, Any]:
    """Return a small picture of what is drawn, as values; what is read from the data is left out."""
    opacity = symbolizer.get("opacity", 1)
    common = {"opacity": opacity if isinstance(opacity, int | float) else 1}
    stops = symbolizer.get("colorMap")
    if layer.kind == "coverage":
        colors = [hex_of(stop[1]) for stop in stops if isinstance(stop, list)] if isinstance(stops, list) else []
        return {"kind": "ramp", "colors": [color for color in colors if color], **common}
    if layer.dimensions == 0:
        stroke = draft.value_at(symbolizer, "marker.0.stroke")
        width = _pixels(stroke, "width")
        return {"kind": "point", "fill": _color(stroke) or "none", "size": (width or 8) / 2, **common}
    stroke = symbolizer.get("stroke")
    fill = symbolizer.get("fill")
    line = {
        "stroke": _color(stroke) or "none",
        "stroke_opacity": _share(stroke),
        "width": _pixels(stroke, "width") or 1,
        **common,
    }
    if layer.dimensions == 1:
        return {"kind": "line", **line}
    return {"kind": "polygon", "fill": _color(fill) or "none", "fill_opacity": _share(fill), **line}


def _color(part: Any) -> str | None:
    return hex_of(part.get("color")) if isinstance(part, Mapping) else None


def _share(part: Any) -> float:
    value = part.get("opacity", 1) if isinstance(part, Mapping) else 1
    return value if isinstance(value, int | float) else 1


def _pixels(part: Any, name: str) -> float | None:
    from dashboards.style.form import Field

    value = shown(Field("stroke.width", "", "", "number"), part.get(name)) if isinstance(part, Mapping) else None
    return value if isinstance(value, int | float) else None


def legend_rows(legend: Legend) -> list[dict[str, Any]]:
    """Return a legend as the component `LegendList` takes it."""
    if legend.ramp is None:
        return [{"label": entry.label, "swatch": _drawn(entry.values)} for entry in legend.entries]
    stops = legend.ramp.stops
    low, high = stops[0][0], stops[-1][0]
    width = (high - low) or 1
    labels = [label for _, label in legend.ramp.ticks]
    return [
        {
            "kind": "ramp",
            "title": unit_text(legend.units),
            "labels": labels,
            "stops": [{"color": color.css(opacity), "at": (value - low) / width} for value, color, opacity in stops],
        }
    ]


def _drawn(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a line of a legend draws as a small picture; what depends on the data is left out."""

    def color(path: str) -> str:
        found = values.get(path)
        return found.hex if isinstance(found, Color) else "none"

    def number(path: str, otherwise: float) -> float:
        found = values.get(path)
        return found if isinstance(found, int | float) else otherwise

    common = {
        "opacity": number("opacity", 1),
        "stroke": color("stroke.color"),
        "stroke_opacity": number("stroke.opacity", 1),
        "width": number("stroke.width", 1),
    }
    if "fill.color" in values:
        return {"kind": "polygon", "fill": color("fill.color"), "fill_opacity": number("fill.opacity", 1), **common}
    if "stroke.color" in values:
        return {"kind": "line", **common}
    size = number("marker.0.size", 8) / 2
    return {"kind": "point", "fill": color("marker.0.color"), "size": size, "opacity": number("marker.0.opacity", 1)}
