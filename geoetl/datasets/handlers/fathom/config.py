"""Which of FATHOM's tiles a dataset is made of, and how large its rasters are."""

from functools import cached_property, lru_cache
from typing import Any

from pydantic import Field, field_validator

from geoetl.core.errors import InvalidParameter, did_you_mean
from geoetl.core.request import Request
from geoetl.core.spatial import BBox
from geoetl.datasets.handlers.fathom.names import YEARS, Corner, FloodType, Scenario, TileName

type Box = tuple[float, float, float, float]


class FathomConfig(Request):
    """What the handler is told; what is left out takes everything that is there.

    Attributes:
        bbox: Tiles that overlap this box: west, south, east, north in degrees; west > east crosses the antimeridian.
        regions: Tiles that overlap one of these boxes; their names are for people.
        grid_size: Degrees of latitude and longitude that one raster covers.
        flood_types: "fluvial_defended" and so on; "fluvial" for both.
        years: 2020, 2030, 2050 and 2080.
        ssp_scenarios: "SSP2_4.5" and so on, of the years to come.
        settle_minutes: A file that changed later than this before it is looked at is still being written.
    """

    bbox: Box | None = None
    regions: dict[str, Box] = Field(default_factory=dict)
    grid_size: int = Field(5, ge=1, le=20)
    flood_types: tuple[FloodType, ...] = ()
    years: tuple[int, ...] = ()
    ssp_scenarios: tuple[Scenario, ...] = ()
    settle_minutes: float = Field(10.0, ge=0, le=10_080)

    @field_validator("bbox", "regions")
    @classmethod
    def _lies_on_earth(cls, value: Any) -> Any:
        for box in value.values() if isinstance(value, dict) else [value] if value else []:
            BBox.from_list(box)
        return value

    @field_validator("flood_types", mode="before")
    @classmethod
    def _spelled_out(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        found: list[FloodType] = []
        for name in value:
            plain = str(name).upper().replace("-", "_")
            fitting = [one for one in FloodType if plain in (one.value, one.hazard.upper())]
            if not fitting:
                raise InvalidParameter(
                    f"There is no flood type '{str(name)[:40]}'.",
                    hint=did_you_mean(
                        plain.lower(), [name for one in FloodType for name in (one.value.lower(), one.hazard)]
                    ),
                    field="flood_types",
                )
            found += fitting
        return tuple(dict.fromkeys(found))

    @field_validator("years")
    @classmethod
    def _is_mapped(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        for year in value:
            if year not in YEARS:
                raise InvalidParameter(
                    f"There are no maps of {year}.", hint=f"There are: {', '.join(map(str, YEARS))}.", field="years"
                )
        return value

    @cached_property
    def boxes(self) -> tuple[BBox, ...]:
        """The boxes that tiles have to overlap; none for the whole Earth."""
        return tuple(BBox.from_list(box) for box in (*([self.bbox] if self.bbox else []), *self.regions.values()))

    def wants(self, name: TileName) -> bool:
        """Tell whether a tile is wanted."""
        variant, corner = name.variant, name.corner
        if self.flood_types and variant.flood_type not in self.flood_types:
            return False
        if self.years and variant.year not in self.years:
            return False
        if self.ssp_scenarios and variant.scenario is not None and variant.scenario not in self.ssp_scenarios:
            return False
        return not self.boxes or _overlaps(corner, self.boxes)


# A corner has as many files as there are maps and return periods.
@lru_cache(maxsize=65_536)
def _overlaps(corner: Corner, boxes: tuple[BBox, ...]) -> bool:
    tile = BBox(corner.west, corner.south, corner.west + 1, corner.south + 1)
    return any(tile.overlaps(box) for box in boxes)
