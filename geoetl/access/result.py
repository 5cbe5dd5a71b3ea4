"""What every answer carries: where it came from, strict JSON, and the way it shows itself in a notebook."""

import math
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, PlainSerializer

from geoetl.core.spatial import BBox, Point

# In an answer a place is [lon, lat] and a box [west, south, east, north], as in GeoJSON and STAC.
PointField = Annotated[Point, PlainSerializer(lambda point: [point.lon, point.lat], return_type=list[float])]
BBoxField = Annotated[BBox, PlainSerializer(lambda box: box.as_list(), return_type=list[float])]


class ValueRange(NamedTuple):
    """The values that the ends of a colour map stand for, in the units of the variable."""

    low: float
    high: float


class Source(BaseModel):
    """Where an answer came from.

    Attributes:
        collection: STAC collection id.
        item: STAC item id.
        asset: Key of the asset that was read.
        dataset_version: The item's own ``version`` (STAC version extension), else the beginning of the digest of the
            file (``sha256:…``), else when it was last changed; None where the item says nothing of it.
        catalog_version: Version number of the catalogue at the time of the answer.
    """

    model_config = ConfigDict(frozen=True)

    collection: str
    item: str
    asset: str
    dataset_version: str | None
    catalog_version: int

    def __str__(self) -> str:
        return f"{self.collection}/{self.item}"


class Result(BaseModel):
    """Base of every answer: frozen, strictly JSON-able (NaN and infinities become null)."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null", ser_json_bytes="base64", val_json_bytes="base64")

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the answer as strict JSON."""
        return self.model_dump_json(indent=indent)


def finite_or_none(value: Any) -> float | None:
    """Return a number as float, or None for what JSON does not have (NaN, infinities)."""
    number = float(value)
    return number if math.isfinite(number) else None


def place_text(point: Point) -> str:
    """Return a place as people write it: ``12.5°E 41.9°N``."""
    east, north = ("E" if point.lon >= 0 else "W"), ("N" if point.lat >= 0 else "S")
    return f"{abs(point.lon):.6g}°{east} {abs(point.lat):.6g}°{north}"


def extent_text(box: BBox) -> str:
    """Return a box as people write it: ``longitude -10 to 20, latitude 35 to 60``."""
    return f"longitude {box.west:.6g} to {box.east:.6g}, latitude {box.south:.6g} to {box.north:.6g}"
