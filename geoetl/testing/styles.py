"""Random styles, layers and features for tests with hypothesis; each style is valid by the official schema.

Conditions use the operators that every client of ours can evaluate, and properties of four kinds, some of them missing
or of another kind than they should be.
"""

from typing import Any

from hypothesis import strategies as st

from geoetl.styles.expressions import is_condition
from geoetl.styles.layer import PropertyKind, StyledLayer
from geoetl.styles.values import COLOR_NAMES

PROPERTIES: dict[str, PropertyKind] = {
    "count": "number",
    "size": "number",
    "kind": "text",
    "name": "text",
    "open": "boolean",
}
# Few values, so that they are often equal, and texts that break what is glued together.
NUMBERS = (-1, 0, 1, 2, 2.5, 10, 1e6)
TEXTS = ("park", "Park", "parking", "a%", "", "1", "é", "</script>", "');alert(1)//", "\\", '"', "{kind}")
PATTERNS = ("park%", "%a%", "_ark", "%", "a\\%", "", "%'%", "é")
SCALES = (1_000, 10_000, 200_000)


def layers(kind: str = "vector") -> st.SearchStrategy[StyledLayer]:
    """Return layers of a kind with the properties of `features`."""
    dimensions = st.sampled_from([0, 1, 2]) if kind == "vector" else st.none()
    return dimensions.map(lambda one: StyledLayer("places:all", kind, one, PROPERTIES))  # type: ignore[arg-type]


def features(*, mixed: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    """Return the properties of a feature; any may be missing or null.

    Args:
        mixed: Whether a property is sometimes of another kind than it should be.
    """
    kinds: dict[PropertyKind, st.SearchStrategy[Any]] = {
        "number": st.sampled_from(NUMBERS),
        "text": st.sampled_from(TEXTS),
        "boolean": st.booleans(),
    }
    strange = [st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.booleans()] if mixed else []
    values = {name: st.one_of(kinds[kind], kinds[kind], st.none(), *strange) for name, kind in PROPERTIES.items()}
    return st.fixed_dictionaries({}, optional=values)


def _operation(name: str, *arguments: Any) -> dict[str, Any]:
    return {"op": name, "args": list(arguments)}


def _properties(kind: PropertyKind) -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from([{"property": name} for name, one in PROPERTIES.items() if one == kind])


def comparisons() -> st.SearchStrategy[dict[str, Any]]:
    """Return conditions on one property: = <> < <= > >= in between like isNull."""
    any_property = st.sampled_from([{"property": name} for name in PROPERTIES])
    order = st.sampled_from(["<", "<=", ">", ">="])
    numbers, texts = st.sampled_from(NUMBERS), st.sampled_from(TEXTS)
    literals = st.one_of(numbers, texts, st.booleans())
    lists = st.one_of(st.lists(numbers, min_size=1, max_size=4), st.lists(texts, min_size=1, max_size=4))
    return st.one_of(
        st.builds(_operation, st.sampled_from(["=", "<>"]), any_property, literals),
        st.builds(_operation, order, _properties("number"), numbers),
        st.builds(_operation, order, _properties("text"), texts),
        st.builds(_operation, st.just("between"), _properties("number"), numbers, numbers),
        st.builds(_operation, st.just("in"), any_property, lists),
        st.builds(_operation, st.just("like"), _properties("text"), st.sampled_from(PATTERNS)),
        st.builds(_operation, st.just("isNull"), any_property),
    )


def conditions(*, scales: bool = False, leaves: int = 5) -> st.SearchStrategy[dict[str, Any]]:
    """Return conditions joined by ``and``, ``or`` and ``not``, in a form that the official schema takes.

    Args:
        scales: Whether some ask for the scale of the map.
        leaves: About how many comparisons are joined at most.
    """
    alone = comparisons()
    if scales:
        order = st.sampled_from(["<", "<=", ">", ">="])
        alone = st.one_of(alone, st.builds(_operation, order, st.just({"sysId": "viz.sd"}), st.sampled_from(SCALES)))
    trees = st.recursive(
        alone,
        lambda inner: st.one_of(
            st.builds(_operation, st.sampled_from(["and", "or"]), inner, inner),
            st.builds(_operation, st.just("not"), inner),
        ),
        max_leaves=leaves,
    )
    return trees.map(_canonical)


def _canonical(tree: dict[str, Any]) -> dict[str, Any]:
    """Write a condition that the schema refuses plain as ``condition = true``, which says the same."""
    if tree["op"] in ("and", "or", "not"):
        tree = tree | {"args": [_canonical(argument) for argument in tree["args"]]}
    return tree if is_condition(tree) else _operation("=", tree, True)


def colors() -> st.SearchStrategy[Any]:
    """Return colours in all forms that CartoSym-JSON has."""
    part = st.integers(0, 255)
    return st.one_of(
        st.sampled_from(sorted(COLOR_NAMES)),
        st.lists(part, min_size=3, max_size=3),
        st.fixed_dictionaries({"r": part, "g": part, "b": part}),
    )


def _shares() -> st.SearchStrategy[float]:
    return st.sampled_from([0, 0.25, 0.5, 0.8, 1])


def _lengths(*, data: bool) -> st.SearchStrategy[Any]:
    numbers = st.sampled_from([0, 0.5, 1, 2, 3.5])
    plain = [numbers, *(st.fixed_dictionaries({unit: numbers}) for unit in ("px", "mm", "pt"))]
    return st.one_of(*plain, *([_properties("number").map(lambda one: {"px": one})] if data else []))


def _altered(
    members: dict[str, st.SearchStrategy[Any]], required: dict[str, Any] | None = None
) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required or {}, optional={"alter": st.booleans(), **members})


def dots(*, data: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """Return round graphics."""
    members = {"color": colors(), "size": _lengths(data=data), "opacity": _shares()}
    return _altered(members, {"type": st.just("Dot")})


def texts() -> st.SearchStrategy[dict[str, Any]]:
    """Return graphics of letters."""
    font = _altered({"size": st.sampled_from([8, 12, 20]), "color": colors(), "bold": st.booleans()})
    text = st.one_of(st.sampled_from(TEXTS), _properties("text"))
    return _altered({"font": font, "opacity": _shares()}, {"type": st.just("Text"), "text": text})


def symbolizers(
    *, data: bool = False, labels: bool = True, parts: bool = True, leaves: int = 5
) -> st.SearchStrategy[dict[str, Any]]:
    """Return symbolizers of vector layers.

    Args:
        data: Whether some values are read from the feature.
        labels: Whether there are markers and labels of texts.
        parts: Whether parts of colours and single graphics are changed.
        leaves: About how many comparisons are joined at most.
    """
    some = st.one_of(colors(), _altered({"r": st.integers(0, 255)}, {"b": st.integers(0, 255)})) if parts else colors()
    share = st.one_of(_shares(), _properties("number")) if data else _shares()
    line = _altered({"color": colors(), "width": _lengths(data=False), "opacity": _shares()})
    stroke = _altered(
        {
            "color": some,
            "width": _lengths(data=data),
            "opacity": share,
            "dashPattern": st.lists(st.integers(1, 8), min_size=2, max_size=2),
            "casing": line,
        }
    )
    graphic = st.one_of(dots(data=data), texts()) if labels else dots(data=data)
    elements = st.lists(graphic, min_size=1, max_size=2)
    one = st.fixed_dictionaries({"index": st.integers(0, 2), "value": graphic})
    marker = _altered({}, {"elements": st.one_of(elements, one) if parts else elements})
    members: dict[str, st.SearchStrategy[Any]] = {
        "visibility": st.one_of(st.booleans(), conditions(leaves=leaves)) if data else st.booleans(),
        "opacity": share,
        "zOrder": st.integers(0, 3),
        "fill": _altered({"color": some, "opacity": share}),
        "stroke": stroke,
        "marker": marker,
    }
    if labels:
        members["label"] = _altered({}, {"elements": st.lists(texts(), min_size=1, max_size=1)})
    return st.fixed_dictionaries({}, optional=members)


def styles(
    *,
    max_rules: int = 4,
    scales: bool = False,
    data: bool = False,
    labels: bool = True,
    parts: bool = True,
    leaves: int = 5,
) -> st.SearchStrategy[dict[str, Any]]:
    """Return canonical documents of styles for vector layers.

    Args:
        max_rules: At most so many rules on each level; there are three levels.
        scales: Whether some selectors ask for the scale.
        data: Whether some values are read from the feature.
        labels: Whether there are texts.
        parts: Whether parts of values are changed (``alter`` of colours, one graphic of several).
        leaves: About how many comparisons a condition joins at most; the official schema takes long for many.
    """
    about: dict[str, st.SearchStrategy[Any]] = {
        "name": st.sampled_from(TEXTS),
        "selector": st.one_of(st.booleans(), *[conditions(scales=scales, leaves=leaves)] * 2),
        "symbolizer": symbolizers(data=data, labels=labels, parts=parts, leaves=leaves),
    }
    rules: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({}, optional=about)
    for _ in range(2):
        nested = {"nestedRules": st.lists(rules, max_size=max_rules)}
        rules = st.fixed_dictionaries({}, optional=about | nested)
    metadata = st.fixed_dictionaries({}, optional={"title": st.sampled_from(TEXTS)})
    return st.fixed_dictionaries(
        {"stylingRules": st.lists(rules, min_size=1, max_size=max_rules)}, optional={"metadata": metadata}
    )


def coverage_styles() -> st.SearchStrategy[dict[str, Any]]:
    """Return canonical documents of styles that give each value of a coverage its colour."""
    values = st.lists(st.integers(-100, 3000), min_size=1, max_size=6, unique=True).map(sorted)
    stops = values.flatmap(
        lambda numbers: st.tuples(*(st.tuples(st.just(number), colors()).map(list) for number in numbers))
    )
    symbolizer = st.fixed_dictionaries(
        {"singleChannel": st.just({"property": "elevation"}), "colorMap": stops.map(list)},
        optional={"opacity": _shares(), "visibility": st.booleans()},
    )
    return symbolizer.map(lambda one: {"stylingRules": [{"symbolizer": one}]})
