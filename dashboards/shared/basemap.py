"""The offline base map: land, borders and country names of Natural Earth, small enough to send at once.

``python -m dashboards.shared.basemap`` makes ``basemap.geojson`` again from the countries that ship inside the
``samples`` extra.  Source: Natural Earth, Admin 0 countries, 1:10 m (naturalearthdata.com), in the public domain.
"""

import json
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoetl.core.settings import LimitSettings
from geoetl.store.gate import Gate

if TYPE_CHECKING:
    import geopandas as gpd
    from shapely.geometry import LineString
    from shapely.geometry.base import BaseGeometry

BASEMAP_PATH = Path(__file__).with_name("basemap.geojson")
ATTRIBUTION = "Natural Earth"
# Side of the square whose area a bend must have to stay, in degrees: about one pixel at zoom 4.
TOLERANCE_DEG = 0.14
# Smaller islands (square degrees, about 250 km² at the equator) are left out, unless they are a whole country.
SMALLEST_ISLAND_DEG2 = 0.02
# 0.01 degree is about 1 km: less than a pixel up to zoom 7.
DECIMALS = 2
# A vector tile beyond this size delays the first view; the file is committed.
LARGEST_BYTES = 400_000


@cache
def basemap() -> dict[str, Any]:
    """Return the base map as GeoJSON features with `kind` land, border or name (with `zoom`, where it appears)."""
    document: dict[str, Any] = json.loads(BASEMAP_PATH.read_bytes())
    return document


def build() -> dict[str, Any]:
    """Make the base map from the sample of Natural Earth.

    Borders are simplified as one coverage, so that neighbours keep sharing them; each is then stored once.
    """
    import shapely

    gate = Gate(roots=(), limits=LimitSettings())
    countries = gate.read_vector(gate.resolve("samples:ne_10m_admin_0_countries.zip")).frame.to_crs(4326)
    outlines = shapely.set_precision(
        shapely.coverage_simplify(countries.geometry.values, TOLERANCE_DEG), 10**-DECIMALS, mode="pointwise"
    )
    kept = [_without_small_islands(outline) for outline in outlines]
    land = shapely.union_all(shapely.make_valid(kept))
    features = [
        _feature("land", _polygons_only(land)),
        _feature("border", shapely.line_merge(shapely.MultiLineString(list(_shared_edges(kept))))),
        *_names(countries),
    ]
    return {
        "type": "FeatureCollection",
        "source": "Natural Earth, Admin 0 countries, 1:10 m, simplified",
        "license": "CC0-1.0 (public domain)",
        "attribution": ATTRIBUTION,
        "features": features,
    }


def write(path: Path = BASEMAP_PATH) -> int:
    """Write the base map and return its size in bytes.

    Raises:
        ValueError: It became larger than `LARGEST_BYTES`.
    """
    content = json.dumps(build(), ensure_ascii=False, separators=(",", ":")).encode()
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"The base map has {len(content):,} bytes; the limit is {LARGEST_BYTES:,}.")
    path.write_bytes(content + b"\n")
    return len(content)


def _without_small_islands(country: "BaseGeometry") -> "BaseGeometry":
    import shapely

    parts = sorted(shapely.get_parts(country), key=lambda part: -part.area)
    return shapely.MultiPolygon([part for i, part in enumerate(parts) if i == 0 or part.area >= SMALLEST_ISLAND_DEG2])


def _shared_edges(outlines: Iterable["BaseGeometry"]) -> Iterable["LineString"]:
    """Return the edges that two outlines share: the land borders, without the coast."""
    from shapely.geometry import LineString

    edges: Counter[tuple[tuple[float, float], tuple[float, float]]] = Counter()
    for outline in outlines:
        for polygon in outline.geoms:
            for ring in (polygon.exterior, *polygon.interiors):
                points = [(round(x, DECIMALS), round(y, DECIMALS)) for x, y in ring.coords]
                for start, end in pairwise(points):
                    edges[(start, end) if start < end else (end, start)] += 1
    return [LineString(edge) for edge, count in edges.items() if count > 1 and edge[0] != edge[1]]


def _polygons_only(geometry: "BaseGeometry") -> "BaseGeometry":
    import shapely

    return shapely.MultiPolygon([part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"])


def _names(countries: "gpd.GeoDataFrame") -> list[dict[str, Any]]:
    import shapely

    return [
        _feature("name", shapely.Point(row.LABEL_X, row.LABEL_Y), name=row.NAME, zoom=round(float(row.MIN_LABEL), 1))
        for row in countries.sort_values(["MIN_LABEL", "LABELRANK", "NAME"]).itertuples()
    ]


def _feature(kind: str, geometry: "BaseGeometry", **properties: Any) -> dict[str, Any]:
    import shapely

    shape = json.loads(shapely.to_geojson(geometry))
    shape["coordinates"] = _rounded(shape["coordinates"])
    return {"type": "Feature", "properties": {"kind": kind, **properties}, "geometry": shape}


def _rounded(coordinates: Any) -> Any:
    if isinstance(coordinates, list):
        return [_rounded(part) for part in coordinates]
    number = round(coordinates, DECIMALS)
    return int(number) if number == int(number) else number


if __name__ == "__main__":
    print(f"{BASEMAP_PATH.name}: {write():,} bytes")
