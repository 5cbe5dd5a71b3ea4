"""A small picture of features, drawn from their geometry alone."""

from pathlib import Path
from typing import Any

import numpy as np

SIDE = 256
_MARGIN = 8
# Drawn this much larger, then scaled down: Pillow's lines have no smooth edges of their own.
_SUPERSAMPLING = 3
_FILL, _LINE = (88, 142, 186, 110), (32, 84, 128, 255)
# More vertices than this are not visible in so small a picture.
_SIMPLIFY_PIXELS = 0.3


def draw(shapes: "np.ndarray[Any, Any]", bounds: tuple[float, float, float, float], target: Path) -> None:
    """Write a PNG of at most SIDE pixels a side with a transparent ground.

    Args:
        shapes: Geometries in degrees: array (feature).
        bounds: West, south, east and north of what is shown, degrees.
        target: The file.
    """
    import shapely
    from PIL import Image, ImageDraw

    west, south, east, north = bounds
    # Degrees of longitude shrink towards the poles; the middle latitude's shape is the familiar one.
    squeeze = max(0.2, float(np.cos(np.radians((south + north) / 2))))
    width, height = max((east - west) * squeeze, 1e-6), max(north - south, 1e-6)
    scale = (SIDE - 2 * _MARGIN) / max(width, height) * _SUPERSAMPLING
    size = (round(width * scale) + 2 * _MARGIN * _SUPERSAMPLING, round(height * scale) + 2 * _MARGIN * _SUPERSAMPLING)
    picture = Image.new("RGBA", size)
    pen = ImageDraw.Draw(picture, "RGBA")

    def place(coordinates: "np.ndarray[Any, Any]") -> list[tuple[float, float]]:
        offset = _MARGIN * _SUPERSAMPLING
        xs = (coordinates[:, 0] - west) * squeeze * scale + offset
        ys = (north - coordinates[:, 1]) * scale + offset
        return list(zip(xs.tolist(), ys.tolist(), strict=True))

    simple = shapely.simplify(shapes, _SIMPLIFY_PIXELS / scale * _SUPERSAMPLING)
    for part in shapely.get_parts(shapely.get_parts(simple)):
        places = place(shapely.get_coordinates(part.exterior if part.geom_type == "Polygon" else part))
        if part.geom_type == "Polygon" and len(places) > 2:
            pen.polygon(places, fill=_FILL, outline=_LINE, width=2)
        elif part.geom_type in ("LineString", "LinearRing") and len(places) > 1:
            pen.line(places, fill=_LINE, width=4)
        elif part.geom_type == "Point":
            (x, y), radius = places[0], 5
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_LINE)
    final = (max(1, size[0] // _SUPERSAMPLING), max(1, size[1] // _SUPERSAMPLING))
    picture.resize(final, Image.Resampling.LANCZOS).save(target, optimize=True)
