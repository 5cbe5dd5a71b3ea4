"""The features that differ between two versions: as rows, and simplified as far as a map of the page shows."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import geopandas as gpd
    from numpy.typing import NDArray

# In the order in which a person should see them: what is gone first.
KINDS = ("deleted", "updated", "added")
# Points of all shapes together that are sent to a browser.
MAX_POINTS = 150_000
# Of the extent of the features; about a pixel of a map that shows all of them.
_FIRST_TOLERANCE = 1 / 1500
# What is smaller than this share of the extent gets a point as well, or nobody would see it.
_SMALL = 1 / 50
# 5 decimals of a degree are about 1 m.
_DECIMALS = 5


@dataclass(frozen=True)
class ChangedFeature:
    """A feature that differs.

    Attributes:
        number: Its place among those that differ, which names it on the page.
        change: ``added``, ``updated`` or ``deleted``.
        item: That it is in.
        key: By which it is told from others.
        columns: Names of what differs, in one text; empty unless it was updated.
        bbox: West, south, east, north in degrees; None where it has no place.
    """

    number: int
    change: str
    item: str
    key: str
    columns: str
    bbox: tuple[float, float, float, float] | None


@dataclass(frozen=True)
class Differing:
    """Features that differ.

    Attributes:
        features: Those that are gone first, then the changed and the new ones.
        shapes: By kind of change, GeoJSON with the number of each feature as `number`.
    """

    features: tuple[ChangedFeature, ...] = ()
    shapes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, kind: str) -> tuple[ChangedFeature, ...]:
        """Return those of one kind; of any where it is empty."""
        return tuple(one for one in self.features if one.change == kind) if kind else self.features

    def shape(self, number: int) -> Mapping[str, Any] | None:
        """Return one of them as a GeoJSON feature."""
        for collection in self.shapes.values():
            for feature in collection["features"]:
                if feature["properties"]["number"] == number:
                    found: Mapping[str, Any] = feature
                    return found
        return None

    @property
    def bbox(self) -> tuple[float, float, float, float] | None:
        """West, south, east, north of all of them, in degrees; None where none has a place."""
        boxes = [one.bbox for one in self.features if one.bbox]
        if not boxes:
            return None
        west, south, east, north = zip(*boxes, strict=True)
        return min(west), min(south), max(east), max(north)


def differing(frame: "gpd.GeoDataFrame | None") -> Differing:
    """Return features that differ, as `DatasetUpdates.changed` gives them, for a page."""
    if frame is None or not len(frame):
        return Differing()
    order = {kind: place for place, kind in enumerate(KINDS)}
    frame = frame.sort_values("change", key=lambda column: column.map(order), kind="stable")
    bounds = frame.geometry.bounds.to_numpy()
    texts = frame[["change", "item", "key", "columns"]].astype(object).to_numpy()
    features = tuple(
        ChangedFeature(number, change, item, key or "", columns or "", _box(box))
        for number, ((change, item, key, columns), box) in enumerate(zip(texts, bounds, strict=True))
    )
    made = Differing(features)
    shapes = simplified(frame.geometry.to_numpy(), made.bbox)
    drawn: dict[str, dict[str, Any]] = {kind: {"type": "FeatureCollection", "features": []} for kind in KINDS}
    for one, shape in zip(features, shapes, strict=True):
        if shape is not None:
            properties = {"number": one.number, "key": one.key}
            drawn[one.change]["features"].append({"type": "Feature", "properties": properties, "geometry": shape})
    return Differing(features, drawn)


def _box(bounds: "NDArray[Any]") -> tuple[float, float, float, float] | None:
    west, south, east, north = map(float, bounds)
    return None if math.isnan(west) else (west, south, east, north)


def simplified(shapes: "NDArray[Any]", bbox: tuple[float, float, float, float] | None) -> list[dict[str, Any] | None]:
    """Return GeoJSON geometries with at most about `MAX_POINTS` points together; None where there is none.

    Args:
        shapes: Geometries in longitude and latitude.
        bbox: Of all of them, in degrees.
    """
    import numpy as np
    import shapely

    if bbox is None:
        return [None] * len(shapes)
    side = max(bbox[2] - bbox[0], bbox[3] - bbox[1])
    tolerance = side * _FIRST_TOLERANCE
    made = shapes
    if tolerance > 0:
        # A small part may vanish, or a thin one cross itself: nothing but a picture is made of it.
        made = shapely.simplify(shapes, tolerance, preserve_topology=False)
        while shapely.get_num_coordinates(made).sum() > MAX_POINTS and tolerance < side:
            tolerance *= 2
            made = shapely.simplify(made, tolerance, preserve_topology=False)
    west, south, east, north = shapely.bounds(shapes).T
    small = np.fmax(east - west, north - south) < _SMALL * side
    marks = shapely.to_geojson(shapely.points((west + east) / 2, (south + north) / 2))
    drawn: list[dict[str, Any] | None] = []
    # What has no place is not drawn; what has one and vanished is drawn as a point.
    there, gone = ~np.isnan(west), shapely.is_empty(made)
    for text, mark, is_there, is_small, is_gone in zip(
        shapely.to_geojson(made), marks, there, small, gone, strict=True
    ):
        parts = [_rounded(json.loads(text))] if is_there and not is_gone else []
        if is_there and (is_small or is_gone):
            parts.append(_rounded(json.loads(mark)))
        drawn.append(parts[0] if len(parts) == 1 else _collected(parts) if parts else None)
    return drawn


def _collected(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "GeometryCollection", "geometries": parts}


def _rounded(geometry: dict[str, Any]) -> dict[str, Any]:
    def rounded(value: Any) -> Any:
        return [rounded(part) for part in value] if isinstance(value, list) else round(value, _DECIMALS)

    if "geometries" in geometry:
        return {**geometry, "geometries": [_rounded(part) for part in geometry["geometries"]]}
    return {**geometry, "coordinates": rounded(geometry["coordinates"])}
