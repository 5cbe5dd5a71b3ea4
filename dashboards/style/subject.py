"""What is styled: a layer with what the map and the forms need to know of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dashboards.explore.layer import MERCATOR_LATITUDE
from dashboards.explore.listing import title_of
from dashboards.shared.vector_layer import Tiles, tiles_of
from geoetl.access.features import MAX_FEATURES
from geoetl.core.spatial import BBox
from geoetl.styles.layers import names_of

if TYPE_CHECKING:
    from geoetl.access.extract import RasterWindow
    from geoetl.platform import Platform
    from geoetl.styles.layer import StyledLayer

# Pixels of the longer side: drawn anew with every change of a colour.
PICTURE_SIZE = 640
# Items of a collection that are looked at for one that a map can show.
MAX_TRIED = 20
# A list of values to choose from helps up to about here.
MAX_VALUES = 100


@dataclass(frozen=True)
class Subject:
    """A layer that is styled.

    Attributes:
        layer: As the selectors of a style see it.
        title: For people.
        item: The STAC item that is drawn: of a collection of coverages its first.
        tiles: Its vector tiles, None of a coverage.
        units: Units of the values of a coverage.
    """

    layer: "StyledLayer"
    title: str
    item: Mapping[str, Any]
    tiles: Tiles | None = None
    units: str | None = None

    @property
    def id(self) -> str:
        """Id of the layer."""
        return self.layer.id

    @property
    def is_coverage(self) -> bool:
        """Whether it is a collection of rasters or cubes."""
        return self.layer.kind == "coverage"

    @property
    def key(self) -> str:
        """``collection/item`` of what is drawn."""
        return f"{self.item['collection']}/{self.item['id']}"

    @property
    def names(self) -> tuple[str, str]:
        """Collection and item of what is drawn."""
        return str(self.item["collection"]), str(self.item["id"])

    @property
    def bbox(self) -> BBox:
        """Where it lies, in degrees."""
        return BBox.from_list(self.item["bbox"])


def subject_of(platform: "Platform", layer_id: str) -> Subject:
    """Return what is to be known about a layer.

    Raises:
        NotFound: There is no such layer, or it has nothing to draw.
        GeoetlError: Its files cannot be read.
    """
    layer = platform.styles.layer(layer_id)
    collection, name = names_of(layer_id)
    if name is None:
        from geoetl.store.catalog import Search

        found = platform.catalog.search(Search(collections=(collection,), limit=MAX_TRIED, count=False)).items
        item = next((one for one in found if not _is_beyond_map(one)), found[0])
        return Subject(layer, title_of(platform.lookup.collection(collection)), item)
    item = platform.lookup.item(collection, name)
    return Subject(layer, title_of(item), item, tiles_of(platform, collection, name))


def _is_beyond_map(item: Mapping[str, Any]) -> bool:
    box = BBox.from_list(item["bbox"])
    return box.south >= MERCATOR_LATITUDE or box.north <= -MERCATOR_LATITUDE


def column(platform: "Platform", subject: Subject, name: str) -> Any:
    """Return the values of a property, of a large layer those of its first `MAX_FEATURES` features.

    Raises:
        InvalidParameter: It has no such property.
    """
    return platform.features.read(*subject.names, columns=[name], limit=MAX_FEATURES)[name]


def values_of(platform: "Platform", subject: Subject, name: str) -> tuple[str, ...]:
    """Return the values of a property to choose from, the most frequent first; none where there are too many."""
    found = column(platform, subject, name).dropna().value_counts()
    return tuple(str(value) for value in found.index) if len(found) <= MAX_VALUES else ()


def window(platform: "Platform", subject: Subject, channels: Sequence[str]) -> "RasterWindow":
    """Return the values of a coverage in web Mercator.

    Args:
        platform: What reads.
        subject: The coverage.
        channels: Names of bands, or of one variable; empty for the first, or the cube's own.

    Raises:
        GeoetlError: Its file cannot be read, or has no such band or variable.
    """
    if "cube:dimensions" in subject.item["properties"]:
        asked: dict[str, Any] = {"variable": channels[0] if channels else None}
    else:
        asked = {"bands": list(channels) or [1]}
    return platform.raster.preview(*subject.names, max_size=PICTURE_SIZE, format="npy", **asked)  # type: ignore[return-value]


def corners(found: "RasterWindow") -> list[list[float]]:
    """Return lon, lat of the corners of values in web Mercator: top left, top right, bottom right, bottom left."""
    from pyproj import Transformer

    to_degrees = Transformer.from_crs(3857, 4326, always_xy=True)
    transform, (rows, columns) = found.grid.transform, found.values.shape[-2:]
    (west, north), (east, south) = transform @ (0, 0), transform @ (columns, rows)
    left, top = to_degrees.transform(west, north)
    right, bottom = to_degrees.transform(east, south)
    right = right + 360 if right < left else right
    return [[left, top], [right, top], [right, bottom], [left, bottom]]
