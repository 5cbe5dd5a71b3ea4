"""What a style is laid on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from geoetl.core.selectors import walk

LayerKind = Literal["vector", "coverage"]
Dimensions = Literal[0, 1, 2] | None
PropertyKind = Literal["number", "text", "boolean", "time"]


@dataclass(frozen=True)
class StyledLayer:
    """A layer as the selectors of a style see it.

    Attributes:
        id: What ``dataLayer.id`` says: the id of a collection, or ``collection:item`` of features.
        kind: What ``dataLayer.type`` says.
        dimensions: Of its geometries: 0 points, 1 lines, 2 polygons; None where they are mixed, and of coverages.
        properties: The kinds of its properties (of a coverage: its bands or variables) by their names.
    """

    id: str
    kind: LayerKind = "vector"
    dimensions: Dimensions = None
    properties: Mapping[str, PropertyKind] = field(default_factory=lambda: MappingProxyType({}))


def layer_meant(rules: Any) -> StyledLayer:
    """Return the layer that rules are written for, as far as their selectors and symbolizers say.

    Args:
        rules: The ``stylingRules`` of a canonical document.
    """
    said: dict[str, Any] = {}
    drawn: set[str] = set()
    for node in walk(rules):
        drawn |= node["symbolizer"].keys() if isinstance(node.get("symbolizer"), dict) else set()
        arguments = node.get("args")
        if node.get("op") == "=" and isinstance(arguments, list) and isinstance(next(iter(arguments), None), dict):
            said.setdefault(str(arguments[0].get("sysId")), arguments[-1])
    kind: LayerKind = "coverage" if drawn & {"colorMap", "singleChannel", "colorChannels"} else "vector"
    if said.get("dataLayer.type") in ("vector", "coverage"):
        kind = said["dataLayer.type"]
    shapes: dict[str, Dimensions] = {"fill": 2, "marker": 0, "stroke": 1}
    dimensions = said.get("dataLayer.featuresGeometryDimensions")
    if dimensions not in (0, 1, 2) or isinstance(dimensions, bool):
        dimensions = next((shapes[name] for name in shapes if name in drawn), None)
    name = said.get("dataLayer.id")
    return StyledLayer(name if isinstance(name, str) else "", kind, None if kind == "coverage" else dimensions)
