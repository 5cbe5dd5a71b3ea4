"""What is said of a raster of flood depths: title, properties of its STAC item, and how it is drawn."""

from collections.abc import Sequence
from typing import Any

from geoetl.datasets.handlers.fathom.drop import Cell, DropFile
from geoetl.datasets.handlers.fathom.names import RETURN_PERIODS
from geoetl.datasets.release import PreparedRaster

SHOWN_PERIOD = 100
# The bands of an ingested raster are called by their numbers.
SHOWN_BAND = f"b{RETURN_PERIODS.index(SHOWN_PERIOD) + 1}"
# Depth in metres and its colour: ankle, knee, chest, one floor, two floors.
_COLOURS = (
    (0.0, (222, 235, 247)),
    (0.15, (198, 219, 239)),
    (0.5, (158, 202, 225)),
    (1.3, (66, 146, 198)),
    (3.0, (33, 113, 181)),
    (6.0, (8, 81, 156)),
    (10.0, (8, 48, 107)),
)
# Dry is transparent, a centimetre of water is not.
_OPACITIES = ((0.0, 0.0), (0.01, 0.85))


def described(cell: Cell, files: Sequence[DropFile], file: str, name: str) -> PreparedRaster:
    """Return the raster of a cell with what is said of it.

    Args:
        cell: The cell.
        files: What it was made of.
        file: Its name in the workspace.
        name: Of the dataset.
    """
    variant = cell.variant
    properties: dict[str, Any] = {
        "flood:type": variant.flood_type.hazard,
        "flood:defended": variant.flood_type.is_defended,
        "flood:year": variant.year,
        "flood:return_periods": list(RETURN_PERIODS),
        "flood:tiles": len({one.name.corner for one in files}),
    }
    if variant.scenario is not None:
        properties["flood:scenario"] = variant.scenario.label
    if version := files[0].name.version:
        properties["flood:model_version"] = version
    periods = ", ".join(map(str, RETURN_PERIODS))
    return PreparedRaster(
        suffix=f"_{cell.slug}",
        file=file,
        title=cell.title,
        description=(
            f"{name}: depth of water above ground in metres, one band for each return period ({periods} years), in the "
            f"{cell.size} x {cell.size} degrees north-east of {cell.corner}. 0 is dry; there are no data where FATHOM "
            "has no tile or no depth, as in the sea."
        ),
        valid_at=str(variant.year),
        properties=properties,
        style=depth_style(),
    )


def depth_style() -> dict[str, Any]:
    """Return a style in CartoSym-JSON: blue, darker with depth, transparent where it is dry."""
    title = f"Flood depth, 1 in {SHOWN_PERIOD} years (m)"
    return {
        "metadata": {"title": title},
        "stylingRules": [
            {
                "name": title,
                "selector": {"op": "=", "args": [{"sysId": "dataLayer.type"}, "coverage"]},
                "symbolizer": {
                    "singleChannel": {"property": SHOWN_BAND},
                    "colorMap": [[value, list(colour)] for value, colour in _COLOURS],
                    "opacityMap": [[value, opacity] for value, opacity in _OPACITIES],
                },
            }
        ],
    }
