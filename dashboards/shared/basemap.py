"""The offline base map: land, borders and country names of Natural Earth, small enough to send at once.

``python -m dashboards.shared.basemap`` makes ``basemap.topojson`` again from the countries that ship inside the
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

BASEMAP_PATH = Path(__file__).with_name("basemap.topojson")
ATTRIBUTION = "Natural Earth"
# Side of the square whose area a bend must have to stay, in degrees: about one pixel at zoom 4.
TOLERANCE_DEG = 0.1
# The same for an island, as a part of its own side: about 12 points for each.
ISLAND_TOLERANCE = 0.15
# Smaller islands (square degrees, about 150 km² at the equator) are left out, unless they are a whole country.
SMALLEST_ISLAND_DEG2 = 0.012
# 0.01 degree is about 1 km: less than a pixel up to zoom 7.
STEP_DEG = 0.01
# It is committed, and every first visit waits for it.
LARGEST_BYTES = 400_000

type Arc = list[list[int]]


@cache
def basemap() -> dict[str, Any]:
    """Return the base map: TopoJSON with the objects land, borders and names (with `zoom`, where each appears).

    Source of the format: The TopoJSON Format Specification, version 1.0.0.
    """
    document: dict[str, Any] = json.loads(BASEMAP_PATH.read_bytes())
    return document


def build() -> dict[str, Any]:
    """Make the base map from the sample of Natural Earth.

    Borders are simplified as one coverage, so that neighbours keep sharing them; each is then stored once.
    """
    import shapely

    gate = Gate(roots=(), limits=LimitSettings())
    countries = gate.read_vector(gate.resolve("samples:ne_10m_admin_0_countries.zip")).frame.to_crs(4326)
    kept = _simplified(countries.geometry.values)
    land = shapely.union_all(shapely.make_valid(kept))
    borders = shapely.line_merge(shapely.MultiLineString(list(_shared_edges(kept))))
    arcs: list[Arc] = []
    return {
        "type": "Topology",
        "source": "Natural Earth, Admin 0 countries, 1:10 m, simplified",
        "license": "CC0-1.0 (public domain)",
        "attribution": ATTRIBUTION,
        "transform": {"scale": [STEP_DEG, STEP_DEG], "translate": [0, 0]},
        "objects": {
            "land": {"type": "MultiPolygon", "arcs": _polygons(land, arcs)},
            "borders": {"type": "MultiLineString", "arcs": [[_add(line, arcs)] for line in shapely.get_parts(borders)]},
            "names": {"type": "GeometryCollection", "geometries": _names(countries)},
        },
        "arcs": arcs,
    }


def write(path: Path = BASEMAP_PATH) -> int:
    """Write the base map and return its size in bytes.

    Raises:
        ValueError: It became larger than `LARGEST_BYTES`.
    """
    content = json.dumps(build(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"The base map has {len(content):,} bytes; the limit is {LARGEST_BYTES:,}.")
    path.write_bytes(content)
    return len(content)


def _simplified(outlines: Iterable["BaseGeometry"]) -> list["BaseGeometry"]:
    """Return the outlines with fewer points, each as a multipolygon, on the grid of `STEP_DEG`.

    What touches a neighbour is simplified with it; an island by itself, by its own size, so that a small one keeps its
    shape.
    """
    import numpy as np
    import shapely

    parts, owners = shapely.get_parts(np.asarray(outlines), return_index=True)
    pairs = shapely.STRtree(parts).query(parts, predicate="touches")
    is_island = np.ones(len(parts), dtype=bool)
    is_island[pairs.ravel()] = False
    parts[~is_island] = shapely.coverage_simplify(parts[~is_island], TOLERANCE_DEG)
    sides = np.sqrt(shapely.area(parts[is_island]))
    tolerances = np.minimum(sides * ISLAND_TOLERANCE, TOLERANCE_DEG)
    parts[is_island] = [
        shapely.coverage_simplify([part], tolerance)[0]
        for part, tolerance in zip(parts[is_island], tolerances, strict=True)
    ]
    parts = shapely.set_precision(parts, STEP_DEG, mode="pointwise")
    areas = shapely.area(parts)
    largest = {int(owners[i]): i for i in np.argsort(areas)}
    large = [i for i in range(len(parts)) if areas[i] >= SMALLEST_ISLAND_DEG2 or largest[int(owners[i])] == i]
    return [shapely.MultiPolygon([parts[i] for i in large if owners[i] == owner]) for owner in range(len(largest))]


def _shared_edges(outlines: Iterable["BaseGeometry"]) -> Iterable["LineString"]:
    """Return the edges that two outlines share: the land borders, without the coast."""
    from shapely.geometry import LineString

    edges: Counter[tuple[tuple[int, int], tuple[int, int]]] = Counter()
    for outline in outlines:
        for polygon in outline.geoms:
            for ring in (polygon.exterior, *polygon.interiors):
                for start, end in pairwise(_steps(ring)):
                    edges[(start, end) if start < end else (end, start)] += 1
    shared = (edge for edge, count in edges.items() if count > 1 and edge[0] != edge[1])
    return [LineString([(x * STEP_DEG, y * STEP_DEG) for x, y in edge]) for edge in shared]


def _polygons(land: "BaseGeometry", arcs: list[Arc]) -> list[list[list[int]]]:
    import shapely

    polygons = (part for part in shapely.get_parts(land) if part.geom_type == "Polygon")
    return [[[_add(ring, arcs)] for ring in (polygon.exterior, *polygon.interiors)] for polygon in polygons]


def _add(line: "BaseGeometry", arcs: list[Arc]) -> int:
    """Add a line to the arcs, each point as its distance from the one before, and return its number."""
    points = _steps(line)
    first = [list(points[0])]
    arcs.append(first + [[x - before_x, y - before_y] for (before_x, before_y), (x, y) in pairwise(points)])
    return len(arcs) - 1


def _steps(line: "BaseGeometry") -> list[tuple[int, int]]:
    return [(round(x / STEP_DEG), round(y / STEP_DEG)) for x, y in line.coords]


def _names(countries: "gpd.GeoDataFrame") -> list[dict[str, Any]]:
    return [
        {
            "type": "Point",
            "coordinates": [round(row.LABEL_X / STEP_DEG), round(row.LABEL_Y / STEP_DEG)],
            "properties": {"name": row.NAME, "zoom": round(float(row.MIN_LABEL), 1)},
        }
        for row in countries.sort_values(["MIN_LABEL", "LABELRANK", "NAME"]).itertuples()
    ]


if __name__ == "__main__":
    print(f"{BASEMAP_PATH.name}: {write():,} bytes")
