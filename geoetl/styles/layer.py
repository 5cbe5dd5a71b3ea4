"""What a style is laid on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

LayerKind = Literal["vector", "coverage"]
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
    dimensions: Literal[0, 1, 2] | None = None
    properties: Mapping[str, PropertyKind] = field(default_factory=lambda: MappingProxyType({}))
