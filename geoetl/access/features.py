"""Features by the ids of their items: those in a box, and those at a place."""

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from geoetl.access.items import AssetKind, FoundAsset, Items, Lookup
from geoetl.core.errors import InvalidParameter, LimitExceeded, did_you_mean
from geoetl.core.spatial import BBox, Point, wrap_longitude

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from shapely.geometry.base import BaseGeometry

    from geoetl.store.gate import Gate
    from geoetl.store.zones import Zones

# Most features in one answer: about what a browser or a notebook table still handles.
MAX_FEATURES = 100_000
# Most features that are told of at one place.
MAX_FEATURES_AT = 50
_DEGREES = ("EPSG:4326", "OGC:CRS84")


class FeatureAccess:
    """Answers questions about features in the catalogue.

    Args:
        catalog: Where items are looked up.
        gate: Opens the files.
        zones: The object zones.
    """

    def __init__(self, catalog: Lookup, gate: "Gate", zones: "Zones | None" = None) -> None:
        self._gate = gate
        self._items = Items(catalog, gate, zones)

    def read(
        self,
        collection: str,
        item: str,
        *,
        asset: str | None = None,
        bbox: BBox | None = None,
        limit: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> "gpd.GeoDataFrame":
        """Return the features that touch a box, in longitude and latitude (EPSG:4326).

        Args:
            collection: STAC collection id.
            item: STAC item id.
            asset: Key of the asset; the item's GeoParquet file where it is left out.
            bbox: The box; west > east crosses the antimeridian. Left out, everything.
            limit: Most features to return, in the order of the file.
            columns: Attributes to return besides the geometry; left out, all.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: A column is unknown, or the limit is not positive.
            LimitExceeded: More features than the limit; where the item says how many there are, nothing was read.
        """
        if limit is not None and (isinstance(limit, bool) or limit < 1):
            raise InvalidParameter(f"limit is {limit!r}; expected 1 or more.", field="limit")
        found = self._items.find(collection, item, asset, (AssetKind.GEOPARQUET,))
        # What will come at most is known without reading, except for a box.
        rows = int(found.properties.get("table:row_count") or 0)
        _check_count(0 if bbox else min(rows, limit or rows), found)
        frame = self._touching(found, [] if bbox is None else _normal_parts(bbox), _checked_columns(found, columns))
        if limit is not None:
            frame = frame.head(limit)
        _check_count(len(frame), found)
        frame.attrs.update(found.source.model_dump())
        return frame.reset_index(drop=True)

    def rows(
        self,
        collection: str,
        item: str,
        *,
        where: Mapping[str, Any],
        columns: Sequence[str] | None = None,
        asset: str | None = None,
    ) -> "gpd.GeoDataFrame":
        """Return the features whose attributes are equal to these values, in longitude and latitude (EPSG:4326).

        Args:
            collection: STAC collection id.
            item: STAC item id.
            where: Value of each attribute that counts; a list of values means any of them.
            columns: Attributes to return besides the geometry; left out, all.
            asset: Key of the asset; the item's GeoParquet file where it is left out.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: A column is unknown.
        """
        found = self._items.find(collection, item, asset, (AssetKind.GEOPARQUET,))
        _checked_columns(found, [*where, *(columns or ())])
        frame = self._in_degrees(self._gate.read_geoparquet(found.path))
        for name, value in where.items():
            frame = frame[frame[name].isin(value if isinstance(value, list | tuple) else [value])]
        frame = frame if columns is None else frame[[*columns, frame.geometry.name]]
        frame.attrs.update(found.source.model_dump())
        return frame

    def at(
        self, collection: str, item: str, location: Point, tolerance_deg: float = 0.0, *, asset: str | None = None
    ) -> list[dict[str, Any]]:
        """Return the attributes of the features at a place, the nearest and then the smallest first.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            location: The place.
            tolerance_deg: How far away a feature may be, in degrees; points and lines need some.
            asset: Key of the asset; the item's GeoParquet file where it is left out.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: The tolerance is not between 0 and 90 degrees.
        """
        import shapely

        if not 0 <= tolerance_deg <= 90:
            raise InvalidParameter(
                f"tolerance_deg is {tolerance_deg!r}; expected 0 to 90 degrees.", field="tolerance_deg"
            )
        found = self._items.find(collection, item, asset, (AssetKind.GEOPARQUET,))
        lon = wrap_longitude(location.lon)
        frame = self._touching(found, _around(lon, location.lat, tolerance_deg), None)
        # The place as seen from the other side of the antimeridian too: 179.9 is 0.2 degrees from -179.9.
        places = shapely.points([lon - 360, lon, lon + 360], [location.lat] * 3)
        distances = shapely.distance(frame.geometry.to_numpy()[:, None], places[None, :]).min(axis=1)
        frame = frame.assign(_distance=distances, _size=shapely.area(frame.geometry.to_numpy()))
        near = frame[frame["_distance"] <= tolerance_deg].sort_values(["_distance", "_size"], kind="stable")
        attributes = near.drop(columns=[near.geometry.name, "_distance", "_size"]).head(MAX_FEATURES_AT)
        return [{str(name): plain_value(value) for name, value in row.items()} for row in attributes.to_dict("records")]

    def _touching(self, found: FoundAsset, parts: Sequence[BBox], columns: list[str] | None) -> "gpd.GeoDataFrame":
        """Return the features whose geometry touches any of the `parts`; all of them where there are none."""
        import pandas as pd
        import shapely

        degrees = found.properties.get("proj:code", _DEGREES[0]) in _DEGREES
        if not parts or not degrees:
            frame = self._in_degrees(self._gate.read_geoparquet(found.path, columns=columns))
            if not parts:
                return frame
            touched = _touches(frame, [_rectangle(part) for part in parts])
            return frame[touched]
        pieces: list[gpd.GeoDataFrame] = []
        earlier: list[BaseGeometry] = []
        for part in parts:
            piece = self._in_degrees(
                self._gate.read_geoparquet(
                    found.path, bbox=(part.west, part.south, part.east, part.north), columns=columns
                )
            )
            rectangle = _rectangle(part)
            # The row filter looks at bounding boxes only; what touched an earlier part is there already.
            kept = shapely.intersects(piece.geometry.to_numpy(), rectangle) & ~_touches(piece, earlier)
            pieces.append(piece[kept])
            earlier.append(rectangle)
        return pieces[0] if len(pieces) == 1 else _frames_joined(pd.concat(pieces))

    def _in_degrees(self, frame: "gpd.GeoDataFrame") -> "gpd.GeoDataFrame":
        # A GeoParquet file without "crs" is in OGC:CRS84 (GeoParquet 1.1, "crs").
        if frame.crs is None:
            return frame.set_crs("OGC:CRS84")
        return frame if frame.crs.equals("EPSG:4326", ignore_axis_order=True) else frame.to_crs("EPSG:4326")


def _frames_joined(frame: "pd.DataFrame") -> "gpd.GeoDataFrame":
    import geopandas as gpd

    return gpd.GeoDataFrame(frame)


def _touches(frame: "gpd.GeoDataFrame", rectangles: Sequence["BaseGeometry"]) -> Any:
    import numpy as np
    import shapely

    touched = np.zeros(len(frame), dtype=bool)
    for rectangle in rectangles:
        touched |= shapely.intersects(frame.geometry.to_numpy(), rectangle)
    return touched


def _rectangle(box: BBox) -> "BaseGeometry":
    import shapely

    return shapely.box(box.west, box.south, box.east, box.north)


def _normal_parts(box: BBox) -> list[BBox]:
    """Return a box of any longitude convention (0 to 360 too) as one or two boxes within -180 to 180."""
    if not box.crosses_antimeridian and box.width_deg >= 360:
        return [BBox(-180.0, box.south, 180.0, box.north)]
    return BBox(wrap_longitude(box.west), box.south, wrap_longitude(box.east), box.north).parts()


def _around(lon: float, lat: float, tolerance_deg: float) -> list[BBox]:
    south, north = max(-90.0, lat - tolerance_deg), min(90.0, lat + tolerance_deg)
    west, east = wrap_longitude(lon - tolerance_deg), wrap_longitude(lon + tolerance_deg)
    if abs(lon) == 180 and tolerance_deg == 0:
        return [BBox(180.0, south, 180.0, north), BBox(-180.0, south, -180.0, north)]
    return BBox(west, south, east, north).parts()


def _checked_columns(found: FoundAsset, columns: Sequence[str] | None) -> list[str] | None:
    """Return the wanted columns with the geometry, by what the item says about its table."""
    if columns is None:
        return None
    geometry = str(found.properties.get("table:primary_geometry") or "geometry")
    known = [str(column["name"]) for column in found.properties.get("table:columns") or ()]
    for name in columns:
        if known and name not in known:
            raise InvalidParameter(
                f"There is no column '{name}'.",
                hint=did_you_mean(name, (column for column in known if column != geometry)),
                field="columns",
            )
    return list(dict.fromkeys([*columns, geometry]))


def _check_count(count: int, found: FoundAsset) -> None:
    if count > MAX_FEATURES:
        raise LimitExceeded(
            f"{count:,} features of {found.source} were asked for; the limit is {MAX_FEATURES:,}.",
            hint=f"Give a smaller bbox, or limit={MAX_FEATURES} or less.",
            field="limit",
        )


def plain_value(value: Any) -> Any:
    """Return an attribute as strict JSON has it: None for what is missing, ISO 8601 for times, text for bytes."""
    if isinstance(value, (list, tuple)):
        return [plain_value(part) for part in value]
    if isinstance(value, dict):
        return {str(name): plain_value(part) for name, part in value.items()}
    if hasattr(value, "tolist"):
        return plain_value(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat() if value == value else None  # NaT is not equal to itself
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return None if str(value) in ("<NA>", "NaT") else str(value)
