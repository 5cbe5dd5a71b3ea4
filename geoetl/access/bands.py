"""The bands of a raster: their names and units, and which of them a picture shows."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from geoetl.access.rescale import item_ranges
from geoetl.access.result import Result
from geoetl.core.errors import InvalidParameter, did_you_mean

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

# Most bands of one answer.
MAX_CHOSEN = 256


class BandInfo(Result):
    """One band of a raster.

    Attributes:
        index: Number of the band, from 1.
        name: Its name in the item, its description in the file, or ``b1``, ``b2``….
        units: Units of its values, where they are known.
    """

    index: int
    name: str
    units: str | None


def default_bands(rgb: Sequence[int], offered: Sequence[int], render: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the bands that are shown when none are named.

    Args:
        rgb: The bands that the file calls red, green and blue; empty where it does not.
        offered: Every band but alpha.
        render: How the item says that it is drawn.
    """
    named = render.get("bidx")
    if isinstance(named, list) and len(named) in (1, 3) and all(band in offered for band in named):
        return tuple(int(band) for band in named)
    if rgb:
        return tuple(rgb)
    as_colours = len(offered) >= 3 and len(item_ranges(render)) == 3 and not render.get("colormap_name")
    return tuple(offered[:3] if as_colours else offered[:1])


def chosen_bands(
    dataset: "DatasetReader", asset: Mapping[str, Any], offered: Sequence[int], wanted: Sequence[int | str]
) -> tuple[int, ...]:
    """Return the numbers of bands that are wanted by number or name, in the order wanted.

    Raises:
        InvalidParameter: There is no such band, or none or too many are wanted.
    """
    names = {band_info(dataset, asset, band).name: band for band in offered}
    chosen: list[int] = []
    listed = [wanted] if isinstance(wanted, str) else list(wanted)
    if not 1 <= len(listed) <= MAX_CHOSEN:
        raise InvalidParameter(
            f"{len(listed)} bands were given; expected 1 to {MAX_CHOSEN}.",
            hint="Give numbers from 1, or names.",
            field="bands",
        )
    for band in listed:
        number = names.get(band) if isinstance(band, str) else band
        if number is None or number not in offered:
            known = [f"{index} ({name})" for name, index in names.items()]
            near = did_you_mean(band, names) if isinstance(band, str) else ""
            raise InvalidParameter(
                f"There is no band {band!r}; there are {', '.join(known)}.",
                hint=near if near.startswith("Did") else "Give numbers from 1, or names.",
                field="bands",
            )
        chosen.append(number)
    return tuple(chosen)


def band_info(dataset: "DatasetReader", asset: Mapping[str, Any], band: int) -> BandInfo:
    described = asset.get("bands") or []
    own: Mapping[str, Any] = described[band - 1] if len(described) == dataset.count else {}
    name = own.get("name") or dataset.descriptions[band - 1] or f"b{band}"
    return BandInfo(index=band, name=str(name), units=own.get("unit") or dataset.units[band - 1] or asset.get("unit"))


def class_labels(asset: Mapping[str, Any], band: int) -> dict[int, str]:
    """Return what the item calls its classes (STAC classification extension)."""
    described = asset.get("bands") or []
    own = described[band - 1] if len(described) >= band else {}
    classes = own.get("classification:classes") or asset.get("classification:classes") or []
    return {int(entry["value"]): str(entry.get("title") or entry.get("name") or entry["value"]) for entry in classes}


def refuse_complex(dataset: "DatasetReader", bands: Sequence[int]) -> None:
    for band in bands:
        if dataset.dtypes[band - 1].startswith("complex"):
            raise InvalidParameter(
                f"Band {band} holds complex numbers, which have no single value to show.",
                hint="Derive amplitude or phase and ingest that.",
                field="bands",
            )


def is_continuous(dataset: "DatasetReader", asset: Mapping[str, Any], bands: Sequence[int]) -> bool:
    """Tell whether values between two pixels mean something: measurements and photographs, not classes.

    Single integer bands may be classes, so they are never mixed.
    """
    if any(class_labels(asset, band) for band in bands):
        return False
    return len(bands) == 3 or all(dataset.dtypes[band - 1].startswith("float") for band in bands)
