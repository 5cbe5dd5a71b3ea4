"""How an item says that it can be drawn: its named ``renders`` (https://github.com/stac-extensions/render)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geoetl.access.colouring import Colouring, colouring_of
from geoetl.access.rescale import item_ranges
from geoetl.access.result import ValueRange
from geoetl.core.errors import NotFound, did_you_mean


@dataclass(frozen=True)
class Render:
    """One way to draw an item.

    Attributes:
        asset: Key of the asset; None where it names none.
        bands: Numbers of the bands, from 1; None where it names none.
        expression: Arithmetic on bands instead.
        rescale: Values at the ends of the colours, for each band; empty where it names none.
        colormap: Name of the colour map.
        colouring: Colours of its own; None where it has none.
    """

    asset: str | None
    bands: tuple[int, ...] | None
    expression: str | None
    rescale: tuple[ValueRange, ...]
    colormap: str | None
    colouring: Colouring | None


def render_of(item: Mapping[str, Any], name: str) -> Render:
    """Return one of an item's renders; of its fields those that are malformed count as left out.

    Raises:
        NotFound: The item has none of that name.
    """
    renders = (item.get("properties") or {}).get("renders")
    found = renders.get(name) if isinstance(renders, Mapping) else None
    if not isinstance(found, Mapping):
        names = list(renders) if isinstance(renders, Mapping) else []
        raise NotFound(
            f"Item '{item.get('id')}' has no render '{name[:60]}'.",
            hint=did_you_mean(name, names) if names else "It names none: leave it out.",
            field="render",
        )
    assets, bands, expression = found.get("assets"), found.get("bidx"), found.get("expression")
    colormap = found.get("colormap_name")
    return Render(
        asset=str(assets[0]) if isinstance(assets, list) and assets else None,
        bands=tuple(bands) if isinstance(bands, list) and bands and all(_is_number(band) for band in bands) else None,
        expression=expression if isinstance(expression, str) else None,
        rescale=item_ranges(found),
        colormap=colormap if isinstance(colormap, str) else None,
        colouring=colouring_of(found),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
