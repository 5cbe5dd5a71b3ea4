"""One rule as a form: which fields a layer has, what they show, and what a person's text means in a style."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from dashboards.style import draft
from dashboards.style.condition import Condition, Row, grouped
from geoetl.core.errors import InputError, InvalidFilter, did_you_mean
from geoetl.styles.conditions import NotUnderstood, Resolver, Surroundings
from geoetl.styles.values import COLOR_NAMES, Color, length_of

if TYPE_CHECKING:
    from geoetl.styles.layer import StyledLayer

FieldType = Literal["color", "number", "text", "choice"]
_FROM_DATA = "from the data"
_HEX = re.compile(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$")
# What stands where nothing is set.
_INITIAL: Mapping[str, Any] = {
    "opacity": 1,
    "fill.opacity": 1,
    "stroke.opacity": 1,
    "stroke.width": {"px": 1},
    "marker.0.opacity": 1,
}


@dataclass(frozen=True)
class Field:
    """One property of a rule's symbolizer.

    Attributes:
        path: Where it stands, see `draft.value_at`.
        label: What it is called.
        group: What it is a part of.
        type: How it is written.
        low: Smallest number.
        high: Largest number.
        step: What a slider moves by.
        unit: Unit of the number.
        options: What can be chosen.
        placeholder: An example.
    """

    path: str
    label: str
    group: str
    type: FieldType
    low: float = 0
    high: float = 1
    step: float = 0.05
    unit: str = ""
    options: tuple[str, ...] = ()
    placeholder: str = ""


def _paint(group: str, start: str, *, width: str = "") -> list[Field]:
    found = [Field(f"{start}.color", "Colour", group, "color")]
    if width:
        found.append(Field(f"{start}.width", width, group, "number", 0, 20, 0.5, "px"))
    return found


def fields_of(layer: "StyledLayer") -> tuple[Field, ...]:
    """Return the fields that a rule of a layer has."""
    whole = Field("opacity", "Opacity", "As a whole", "number")
    if layer.kind == "coverage":
        channel = Field("singleChannel", "Value", "As a whole", "choice", options=tuple(layer.properties))
        return (channel, whole) if len(layer.properties) > 1 else (whole,)
    found: list[Field] = []
    if layer.dimensions in (2, None):
        found += [*_paint("Fill", "fill"), Field("fill.opacity", "Opacity", "Fill", "number")]
    if layer.dimensions in (1, 2, None):
        line = "Line" if layer.dimensions == 1 else "Outline"
        found += [*_paint(line, "stroke", width="Width"), Field("stroke.opacity", "Opacity", line, "number")]
        found.append(Field("stroke.dashPattern", "Dashes, px", line, "text", placeholder="6 3"))
    if layer.dimensions in (0, None):
        found += _paint("Marker", "marker.0.stroke", width="Size")
        found.append(Field("marker.0.opacity", "Opacity", "Marker", "number"))
    found += [
        Field("label.0.text", "Text", "Label", "choice", options=tuple(layer.properties)),
        Field("label.0.font.size", "Size", "Label", "number", 6, 40, 1, "pt"),
        Field("label.0.font.color", "Colour", "Label", "color"),
    ]
    return (*found, whole)


def hex_of(value: Any) -> str | None:
    """Return a colour of a style as ``#rrggbb``; None where it is no fixed colour."""
    if isinstance(value, str):
        named = Color.named(value)
        return named.hex if named else None
    if isinstance(value, Mapping) and {"r", "g", "b"} <= set(value):
        value = [value["r"], value["g"], value["b"]]
    if isinstance(value, Sequence) and len(value) == 3 and all(isinstance(part, int | float) for part in value):
        return Color.of_parts(*value).hex
    return None


def color_of(text: str, field: str) -> list[int]:
    """Return what a person wrote as a colour of a style: red, green and blue.

    Raises:
        InputError: It is neither ``#rgb``, ``#rrggbb`` nor a name.
    """
    match = _HEX.fullmatch(text.strip())
    if match:
        digits = match[1] if len(match[1]) == 6 else "".join(digit * 2 for digit in match[1])
        return [int(digits[i : i + 2], 16) for i in (0, 2, 4)]
    names = {name.casefold(): name for name in COLOR_NAMES}
    found = Color.named(names.get(text.strip().replace(" ", "").casefold(), ""))
    if found is None:
        raise InputError(
            f"'{text[:40]}' is no colour.",
            hint=did_you_mean(text, list(COLOR_NAMES)) or "Write #rrggbb or a name such as steelBlue.",
            field=field,
        )
    return list(found.parts)


def shown(field: Field, value: Any) -> str | float | None:
    """Return a value of a style as the field shows it; None where it has none, or none that can be shown."""
    if field.type == "color":
        return hex_of(value)
    if field.type == "choice":
        return str(value["property"]) if isinstance(value, Mapping) and set(value) == {"property"} else None
    if field.type == "text":
        return " ".join(f"{part:g}" for part in value) if isinstance(value, list) else None
    if isinstance(value, Mapping) and len(value) == 1:
        unit, amount = next(iter(value.items()))
        value = length_of(amount, unit) if isinstance(amount, int | float) else None
    return round(value, 4) if isinstance(value, int | float) and not isinstance(value, bool) else None


def meant(field: Field, given: Any) -> Any:
    """Return what a person set a field to as a value of a style; None takes it away.

    Raises:
        InputError: It is not what the field takes.
    """
    if given is None or given == "":
        return None
    if field.type == "color":
        return color_of(str(given), field.path)
    if field.type == "choice":
        return {"property": str(given)}
    if field.type == "text":
        return _dashes(str(given), field.path)
    number = _number(given, field)
    if not field.low <= number <= max(field.high, 100 if field.unit else field.high):
        raise InputError(
            f"{number:g} is not from {field.low:g} to {field.high:g}{' ' + field.unit if field.unit else ''}.",
            field=field.path,
        )
    plain = int(number) if number.is_integer() else number
    return {"px": plain} if field.path.endswith(".width") else plain


def _number(given: Any, field: Field) -> float:
    try:
        return float(str(given).replace(",", "."))
    except ValueError:
        raise InputError(f"'{str(given)[:40]}' is no number.", field=field.path) from None


def _dashes(text: str, path: str) -> list[int]:
    parts = re.split(r"[\s,]+", text.strip())
    if not all(part.isdigit() for part in parts) or len(parts) < 2:
        raise InputError(
            f"'{text[:40]}' is no row of dashes.",
            hint="Write lengths of dash and gap in pixels, such as 6 3.",
            field=path,
        )
    return [int(part) for part in parts]


# ---- the whole form ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unfinished:
    """What a person has put into a form, and what is not right yet; it is in no style.

    Attributes:
        key: The rule.
        field: Path of the field, ``condition``, ``above`` or ``below``.
        given: What was put into it.
        problem: What is wrong, and the next step.
        rows: Of a condition its rows, with `join`.
        join: How they are joined.
    """

    key: str
    field: str
    given: str
    problem: str
    rows: tuple[Row, ...] = ()
    join: str = "and"


def form_of(
    document: draft.Document,
    key: str,
    layer: "StyledLayer",
    *,
    as_text: bool = False,
    unfinished: Unfinished | None = None,
    values: Mapping[str, Sequence[str]] | None = None,
    units: str | None = None,
) -> dict[str, Any]:
    """Return a rule as the component `RuleForm` takes it; empty where there is none of that key.

    Args:
        document: The style.
        key: The rule.
        layer: What is styled.
        as_text: Whether the condition is written as text although a form can show it.
        unfinished: What is not right yet.
        values: Values that occur, by attribute.
        units: Units of the values of a coverage.
    """
    rule = draft.rule_at(document, key)
    if rule is None:
        return {}
    now = unfinished if unfinished and unfinished.key == key else None
    condition = Condition.of(rule.get("selector"))
    number = int(key.split(".")[-1])
    form = {
        "key": key,
        "can_up": number > 0,
        "can_down": number < draft.siblings(document, key) - 1,
        "name": rule.get("name", ""),
        "is_coverage": layer.kind == "coverage",
        "attributes": [{"name": name, "values": list((values or {}).get(name, ()))} for name in layer.properties],
        "condition": _condition(condition, now, as_text=as_text, fixed=_of_layers(condition, layer)),
        "scale": _scale(condition, now),
        "fields": [_field(field, document, key, now) for field in fields_of(layer)],
    }
    stops = draft.effective(document, key).get("colorMap") if layer.kind == "coverage" else None
    if isinstance(stops, list):
        form["stops_title"] = f"Colours by value, {units}" if units else "Colours by value"
        form["stops"] = [
            {"value": stop[0], "color": hex_of(stop[1]) or "#808080"} for stop in stops if isinstance(stop, list)
        ]
        form["stops_error"] = now.problem if now and now.field == "colorMap" else None
    return form


def _of_layers(condition: Condition, layer: "StyledLayer") -> str:
    """Return what is to be said of tests of the layer itself, which the form does not show: nothing where they hold."""
    resolver = Resolver(Surroundings(layer))
    try:
        holds = all(resolver.condition(dict(test)) is True for test in condition.layer if not isinstance(test, bool))
    except NotUnderstood:
        holds = False
    return "" if holds else "It asks for another layer than this one, and never applies here; its JSON says which."


def _condition(condition: Condition, now: Unfinished | None, *, as_text: bool, fixed: str) -> dict[str, Any]:
    found = condition.rows()
    mine = now if now and now.field == "condition" else None
    if mine and mine.rows:
        found = (mine.join, mine.rows)
    text = mine.given if mine and not mine.rows else condition.text()
    join, rows = found or ("and", ())
    return {
        "mode": "text" if as_text or found is None else "rows",
        "can_rows": found is not None,
        "join": join,
        "rows": [{"attribute": row.attribute, "op": row.op, "value": row.value} for row in rows],
        "text": text,
        "error": mine.problem if mine else None,
        "fixed": fixed,
    }


def _scale(condition: Condition, now: Unfinished | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        end: grouped(value) if value is not None else ""
        for end, value in (("above", condition.above), ("below", condition.below))
    }
    if now and now.field in ("above", "below"):
        told |= {now.field: now.given, f"{now.field}_error": now.problem}
    return told


def _field(field: Field, document: draft.Document, key: str, now: Unfinished | None) -> dict[str, Any]:
    value = draft.value_at((draft.rule_at(document, key) or {}).get("symbolizer", {}), field.path)
    before = draft.value_at(draft.effective(document, key, own=False), field.path)
    inherited = shown(field, before if before is not None else _INITIAL.get(field.path))
    text = shown(field, value)
    if value is not None and text is None:
        inherited = _FROM_DATA
    mine = now if now and now.field == field.path else None
    return {
        "path": field.path,
        "label": field.label,
        "group": field.group,
        "type": field.type,
        "min": field.low,
        "max": field.high,
        "step": field.step,
        "unit": field.unit,
        "options": list(field.options),
        "placeholder": field.placeholder,
        "value": mine.given if mine else text,
        "inherited": inherited,
        "error": mine.problem if mine else None,
    }


def scale_value(text: str | None, end: str) -> float | None:
    """Return the scale denominator that a person wrote: ``50000``, ``50 000`` or ``1:50000``; None for any.

    Raises:
        InputError: It is no positive number.
    """
    plain = re.sub(r"[\s\u202f\u00a0,]|^\s*1\s*:", "", text or "")
    if not plain:
        return None
    try:
        value = float(plain)
    except ValueError:
        value = 0
    if not 0 < value < 1e12:
        raise InputError(f"'{(text or '')[:40]}' is no scale.", hint="Write 50000 for 1:50 000.", field=end)
    return value


def with_condition(document: draft.Document, key: str, condition: Condition) -> draft.Document:
    """Return the document with another condition of a rule."""
    rule = draft.rule_at(document, key) or {}
    selector = condition.selector()
    head = {name: rule[name] for name in ("name", "$comment") if name in rule}
    rest = {name: value for name, value in rule.items() if name not in (*head, "selector")}
    return draft.with_rule(document, key, {**head, **({} if selector is None else {"selector": selector}), **rest})


def with_rest(condition: Condition, rest: Any) -> Condition:
    """Return a condition with something else that has to hold of a feature."""
    return replace(condition, rest=rest)


def checked_scale(condition: Condition, end: str, value: float | None) -> Condition:
    """Return a condition with another end of its scales.

    Raises:
        InputError: The closest scale would be the farther one.
        InvalidFilter: There is no such end.
    """
    if end not in ("above", "below"):
        raise InvalidFilter("A scale has the ends above and below.", field="end")
    changed = replace(condition, above=value) if end == "above" else replace(condition, below=value)
    if changed.above is not None and changed.below is not None and changed.above >= changed.below:
        raise InputError(
            f"1:{grouped(changed.above)} is not closer than 1:{grouped(changed.below)}.",
            hint="A smaller number is closer.",
            field=end,
        )
    return changed
