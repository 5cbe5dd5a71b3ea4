"""What a map is told of tiles: TileJSON 3.0.0 (https://github.com/mapbox/tilejson-spec/tree/master/3.0.0)."""

from collections.abc import Mapping
from typing import Any

from geoetl.access.result import Result
from geoetl.core.errors import NotFound


class TileJson(Result):
    """Where a map finds tiles (TileJSON 3.0.0).

    Attributes:
        tilejson: Version of the specification.
        name: What is shown.
        tiles: Address of a tile, with ``{z}``, ``{x}`` and ``{y}`` to fill in.
        bounds: What the tiles cover, in degrees; all the way round where the data cross the antimeridian.
        minzoom: Zoom of the fewest tiles.
        maxzoom: Zoom beyond which tiles show nothing more.
        attribution: Who made the data, where the item says so.
    """

    tilejson: str = "3.0.0"
    name: str
    tiles: tuple[str, ...]
    bounds: tuple[float, float, float, float]
    minzoom: int
    maxzoom: int
    attribution: str | None = None


def attribution_of(properties: Mapping[str, Any]) -> str | None:
    """Return who made the data of an item, by its ``providers``."""
    names = [str(maker["name"]) for maker in properties.get("providers") or () if maker.get("name")]
    return ", ".join(names) or None


def no_tile(what: str, z: int, x: int, y: int) -> NotFound:
    """Return the error for a tile that the matrix set does not have, or that the data do not reach."""
    return NotFound(f"{what} has no tile {z}/{x}/{y}.", hint="See bounds in its tilejson.json.", field="z")
