"""What lies on the map: an item with how it is shown, and the picture that came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dashboards.explore.listing import Kind, title_of
from dashboards.shared.problem import Problem
from dashboards.shared.vector_layer import Tiles, tiles_of
from geoetl.core.spatial import BBox, Point, wrap_longitude

if TYPE_CHECKING:
    from geoetl.access import CubeDescription, Picture, ValueRange
    from geoetl.platform import Platform

# Pixels of the longer side: sharp on a wide screen, and still drawn within the time that a click may take.
PICTURE_SIZE = 1024
# A playing cube is drawn again for each step; its cells are mostly larger than these pixels.
CUBE_PICTURE_SIZE = 768
# The web Mercator map ends here.
MERCATOR_LATITUDE = 85.0511
# What a band is called when all are shown as colours.
AS_COLOURS = "Colours"
OWN = "The item's own"
AUTO_RANGE = "2nd to 98th percentile"


@dataclass(frozen=True)
class Choice:
    """How an item is shown.

    Attributes:
        variable: Variable of a cube, or name of a raster's band; None takes the item's own.
        time_index: Number of the time step, from 1.
        selection: Values of the extra dimensions.
        colormap: Name of a colour map, or ``OWN``.
        stretch: ``OWN`` or ``AUTO_RANGE``.
    """

    variable: str | None = None
    time_index: int = 1
    selection: Mapping[str, str | float | int] = field(default_factory=dict)
    colormap: str = OWN
    stretch: str = OWN

    @property
    def colormap_name(self) -> str | None:
        """Name of the chosen colour map; None takes the item's own."""
        return None if self.colormap == OWN else self.colormap


@dataclass(frozen=True)
class Drawing:
    """How features are drawn.

    Attributes:
        tiles: Their vector tiles.
        style: The layer's default style, as MapLibre takes it.
        title: Title of the style.
        legend: Label and colour (``#rrggbb``) of each line of its legend.
    """

    tiles: Tiles
    style: Mapping[str, Any]
    title: str
    legend: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Layer:
    """An item on the map.

    Attributes:
        item: Its STAC item.
        kind: What it is.
        color: Its colour, where it has no picture (vectors).
        drawing: How its features are drawn, where they have a style.
        contents: What is in it, if it is a cube that could be opened.
        choice: How it is shown.
        picture: The picture, once there is one.
        visible: Whether it is shown.
        opacity: 0 (not seen) to 1.
        problem: Why there is no picture.
    """

    item: Mapping[str, Any]
    kind: Kind
    color: str | None = None
    drawing: Drawing | None = None
    contents: "CubeDescription | None" = None
    choice: Choice = Choice()
    picture: "Picture | None" = None
    visible: bool = True
    opacity: float = 1.0
    problem: Problem | None = None

    @property
    def key(self) -> str:
        """``collection/item``."""
        return f"{self.collection}/{self.id}"

    @property
    def collection(self) -> str:
        """Id of the collection."""
        return str(self.item["collection"])

    @property
    def id(self) -> str:
        """Id of the item."""
        return str(self.item["id"])

    @property
    def title(self) -> str:
        """Title of the item."""
        return title_of(self.item)

    @property
    def bbox(self) -> BBox:
        """Where the data lie, in degrees."""
        return BBox.from_list(self.item["bbox"])

    @property
    def style_id(self) -> str:
        """Id that its styles belong to: its own, or of rasters and cubes that of their collection."""
        return f"{self.collection}:{self.id}" if self.kind is Kind.VECTOR else self.collection

    @property
    def own_variable(self) -> str | None:
        """The variable that a cube shows when none is chosen."""
        return self.contents.default_variable if self.contents else None

    @property
    def variable(self) -> str | None:
        """The variable or band that is shown, by name."""
        return self.choice.variable or self.own_variable

    @property
    def extra_names(self) -> tuple[str, ...]:
        """Names of the extra dimensions that the shown variable has."""
        if self.contents is None:
            return ()
        dims = next((v.dims for v in self.contents.variables if v.name == self.variable), ())
        return tuple(dimension.name for dimension in self.contents.dimensions if dimension.name in dims)

    @property
    def times(self) -> tuple[str, ...]:
        """ISO 8601 text of each time step; empty without time."""
        return self.contents.times if self.contents else ()

    @property
    def time(self) -> str:
        """ISO 8601 text of the step that is shown; empty without time."""
        return self.times[self.choice.time_index - 1] if self.times else ""

    @property
    def time_text(self) -> str:
        """The step that is shown, as people write it; empty without time."""
        return time_texts(self.times)[self.choice.time_index - 1] if self.times else ""

    @property
    def variable_title(self) -> str:
        """What is shown, as people call it."""
        if self.contents:
            return next((v.title for v in self.contents.variables if v.name == self.variable), self.variable or "")
        return self.choice.variable or ""

    @property
    def subtitle(self) -> str:
        """What is shown and when, in a few words."""
        parts = [self.time_text, *(f"{n} {v}" for n, v in self.choice.selection.items()), self.variable_title]
        return " · ".join(part for part in parts if part) or self.kind.title

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of a raster's bands as its item lists them; empty where it does not."""
        asset = self.item["assets"].get("data", {})
        return tuple(str(band.get("name") or f"b{i}") for i, band in enumerate(asset.get("bands", ()), 1))

    @property
    def is_beyond_map(self) -> bool:
        """Whether all of it lies nearer to a pole than the web Mercator map goes."""
        return self.bbox.south >= MERCATOR_LATITUDE or self.bbox.north <= -MERCATOR_LATITUDE

    @property
    def centre(self) -> Point:
        """The middle of its box."""
        box = self.bbox
        return Point(wrap_longitude(box.west + box.width_deg / 2), (box.south + box.north) / 2)

    def corners(self) -> list[list[float]]:
        """Return lon, lat of the picture's corners: top left, top right, bottom right, bottom left."""
        assert self.picture is not None
        box = self.picture.bbox
        east = box.east + 360 if box.crosses_antimeridian else box.east
        north, south = min(box.north, MERCATOR_LATITUDE), max(box.south, -MERCATOR_LATITUDE)
        return [[box.west, north], [east, north], [east, south], [box.west, south]]


def drawing_of(platform: "Platform", layer: Layer) -> Drawing | None:
    """Return how the features of a layer are drawn by its default style; None where it has none.

    Raises:
        GeoetlError: Its tiles cannot be read.
    """
    stored = platform.styles.default(layer.style_id)
    if stored is None:
        return None
    from geoetl.styles.legend import legend_of

    encoded = platform.styles.encoded(stored, "maplibre")
    legend = legend_of(stored.style, platform.styles.layer(layer.style_id))
    lines = tuple((line.label, line.colour.hex) for line in legend.entries if line.colour)
    tiles = tiles_of(platform, layer.collection, layer.id)
    return Drawing(tiles, encoded.document, stored.summary.title or stored.id, lines)


def draw(platform: "Platform", layer: Layer, limits: "tuple[ValueRange, ...] | None" = None) -> Layer:
    """Return the layer with the picture of its choice.

    Args:
        platform: What reads.
        layer: The layer; one that needs no picture, or lies beyond the map, comes back as it is.
        limits: Values at the ends of the colours, so that the steps of a cube stay comparable.

    Raises:
        GeoetlError: The choice does not fit the item, or its file cannot be read.
    """
    if layer.is_beyond_map:
        return layer
    choice = layer.choice
    rescale: Any = [list(pair) for pair in limits] if limits else "auto" if choice.stretch == AUTO_RANGE else None
    if layer.kind is Kind.RASTER:
        picture = platform.raster.preview(
            layer.collection,
            layer.id,
            bands=[choice.variable] if choice.variable else None,
            max_size=PICTURE_SIZE,
            rescale=rescale,
            colormap=choice.colormap_name if choice.variable or len(layer.bands) == 1 else None,
        )
    elif layer.kind is Kind.CUBE:
        picture = platform.cube.preview(
            layer.collection,
            layer.id,
            variable=choice.variable,
            time_index=choice.time_index,
            sel=choice.selection,
            max_size=CUBE_PICTURE_SIZE,
            rescale=rescale,
            colormap=choice.colormap_name,
        )
    else:
        return layer
    return replace(layer, picture=picture, problem=None)


@lru_cache(maxsize=64)
def time_texts(times: tuple[str, ...]) -> tuple[str, ...]:
    """Return times as people write them: days alone, where all steps are at the same hour; else with the minute."""
    parts = [text.partition("T") for text in times]
    if len({clock for _, _, clock in parts}) <= 1:
        return tuple(day for day, _, _ in parts)
    return tuple(f"{day} {clock.removesuffix(':00')}" for day, _, clock in parts)
