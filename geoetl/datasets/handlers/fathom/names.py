"""Names of FATHOM's files: what each holds, in both layouts that are delivered.

A tile is one degree by one degree, one return period to a file::

    FLUVIAL_DEFENDED/2020/1in100/1in100-FLUVIAL-DEFENDED-2020_n04w006.tif
    FLUVIAL_DEFENDED/2050/SSP2_4.5/1in100-FLUVIAL-DEFENDED-2050-SSP2_4.5_n07w005.tif
    GLOBAL-1ARCSEC-NW_OFFSET-1in100-FLUVIAL-DEFENDED-DEPTH-2020-PERCENTILE50-v3.0/n04w006.tif
    GLOBAL-1ARCSEC-NW_OFFSET-1in100-FLUVIAL-DEFENDED-DEPTH-2050-SSP2_4.5-PERCENTILE50-v3.0/n07w005.tif
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from geoetl.core.errors import InvalidParameter

# Years between two floods of such a depth, on average; in the order of the bands.
RETURN_PERIODS = (5, 10, 20, 50, 100, 200, 500, 1000)
PRESENT_YEAR = 2020
YEARS = (PRESENT_YEAR, 2030, 2050, 2080)

_SCENARIO = r"SSP\d_\d\.\d"
_LEAF = re.compile(
    rf"1in(?P<period>\d+)-(?P<hazard>[A-Z]+)-(?P<defence>[A-Z]+)-(?P<year>\d{{4}})(-(?P<scenario>{_SCENARIO}))?"
    r"_(?P<corner>\w+)\.tif",
    re.ASCII,
)
_FOLDER = re.compile(
    r"GLOBAL-1ARCSEC-NW_OFFSET-1in(?P<period>\d+)-(?P<hazard>[A-Z]+)-(?P<defence>[A-Z]+)-DEPTH-(?P<year>\d{4})"
    rf"(-(?P<scenario>{_SCENARIO}))?-PERCENTILE50-v(?P<version>\d+\.\d+)",
    re.ASCII,
)
_CORNER = re.compile(r"([ns])(\d{2})([ew])(\d{3})", re.ASCII)


class FloodType(StrEnum):
    """Where the water comes from, and whether dikes and the like hold."""

    COASTAL_DEFENDED = "COASTAL_DEFENDED"
    COASTAL_UNDEFENDED = "COASTAL_UNDEFENDED"
    FLUVIAL_DEFENDED = "FLUVIAL_DEFENDED"
    FLUVIAL_UNDEFENDED = "FLUVIAL_UNDEFENDED"
    PLUVIAL_DEFENDED = "PLUVIAL_DEFENDED"

    @property
    def hazard(self) -> str:
        """``coastal``, ``fluvial`` or ``pluvial``."""
        return self.value.partition("_")[0].lower()

    @property
    def is_defended(self) -> bool:
        """Whether flood defences are counted on."""
        return self.value.endswith("_DEFENDED")

    @property
    def label(self) -> str:
        """For people: "River flood depth with defences"."""
        hazard = {"coastal": "Coastal", "fluvial": "River", "pluvial": "Rainfall"}[self.hazard]
        return f"{hazard} flood depth {'with' if self.is_defended else 'without'} defences"


class Scenario(StrEnum):
    """Which course the climate takes, as FATHOM spells it."""

    SSP1_26 = "SSP1_2.6"
    SSP2_45 = "SSP2_4.5"
    SSP3_70 = "SSP3_7.0"
    SSP5_85 = "SSP5_8.5"

    @property
    def label(self) -> str:
        """For people: "SSP2-4.5"."""
        return self.value.replace("_", "-")

    @property
    def slug(self) -> str:
        """As the experiments of CMIP6 are called: "ssp245"."""
        return re.sub(r"\W|_", "", self.value).lower()


class Layout(StrEnum):
    """How files are laid out in folders."""

    BY_TYPE = "TYPE/YEAR/…/1inN-TYPE-YEAR_CORNER.tif"
    BY_LAYER = "GLOBAL-1ARCSEC-…/CORNER.tif"


@dataclass(frozen=True, slots=True, order=True)
class Corner:
    """South-west corner of a tile or cell, in whole degrees.

    Raises:
        InvalidParameter: There is no such place on Earth.
    """

    south: int
    west: int

    def __post_init__(self) -> None:
        if not (-90 <= self.south < 90 and -180 <= self.west < 180):
            raise InvalidParameter(f"No tile has its corner at latitude {self.south}, longitude {self.west}.")

    @classmethod
    def parse(cls, text: str) -> "Corner":
        """Read ``n04w006``."""
        found = _CORNER.fullmatch(text)
        if found is None:
            raise InvalidParameter(f"'{text[:40]}' is no corner like n04w006.")
        south, west = int(found[2]), int(found[4])
        corner = cls(south if found[1] == "n" else -south, west if found[3] == "e" else -west)
        if str(corner) != text:
            raise InvalidParameter(f"'{text}' is spelled '{corner}'.")
        return corner

    def __str__(self) -> str:
        return f"{'ns'[self.south < 0]}{abs(self.south):02d}{'ew'[self.west < 0]}{abs(self.west):03d}"


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """What a map of depths is made for: one kind of flood, in one year of one course of the climate.

    Raises:
        InvalidParameter: The year has no maps, lacks its scenario, or has none.
    """

    flood_type: FloodType
    year: int
    scenario: Scenario | None

    def __post_init__(self) -> None:
        if self.year not in YEARS:
            raise InvalidParameter(f"There are maps of {', '.join(map(str, YEARS))}, not of {self.year}.")
        if (self.scenario is None) != (self.year == PRESENT_YEAR):
            lacks = "has no scenario" if self.scenario else "lacks its scenario"
            raise InvalidParameter(f"The year {self.year} {lacks}.")

    @property
    def slug(self) -> str:
        """For ids: "fluvial_defended_2050_ssp245"."""
        parts = [self.flood_type.value.lower(), str(self.year), *([self.scenario.slug] if self.scenario else [])]
        return "_".join(parts)

    @property
    def title(self) -> str:
        """For people: "River flood depth with defences, 2050 (SSP2-4.5)"."""
        return f"{self.flood_type.label}, {self.year}" + (f" ({self.scenario.label})" if self.scenario else "")


@dataclass(frozen=True, slots=True)
class TileName:
    """What the name of a file says.

    Attributes:
        variant: Of which map it is a part.
        return_period: Years between two such floods.
        corner: Of the tile, which is one degree high and wide.
        layout: How its folder is laid out.
        version: Of FATHOM's data ("3.0"); empty where the name does not say.
    """

    variant: Variant
    return_period: int
    corner: Corner
    layout: Layout
    version: str = ""

    @property
    def path(self) -> str:
        """The name in its folders."""
        flood_type, year, scenario = self.variant.flood_type, self.variant.year, self.variant.scenario
        what = f"1in{self.return_period}-{flood_type.value.replace('_', '-')}"
        when = f"{year}-{scenario}" if scenario else f"{year}"
        if self.layout is Layout.BY_LAYER:
            layer = f"GLOBAL-1ARCSEC-NW_OFFSET-{what}-DEPTH-{when}-PERCENTILE50-v{self.version}"
            return f"{layer}/{self.corner}.tif"
        return f"{flood_type}/{year}/{scenario or f'1in{self.return_period}'}/{what}-{when}_{self.corner}.tif"

    @classmethod
    def parse(cls, path: str) -> "TileName":
        """Read a name with its folders; further folders may stand before it.

        Raises:
            InvalidParameter: It is none of FATHOM's, or its folders say something else than it does.
        """
        parts = path.split("/")
        layer = _FOLDER.fullmatch(parts[-2]) if len(parts) > 1 else None
        if layer is not None and parts[-1].endswith(".tif"):
            return cls._of(layer.groupdict(), parts[-1].removesuffix(".tif"), Layout.BY_LAYER)
        leaf = _LEAF.fullmatch(parts[-1])
        if leaf is None:
            raise InvalidParameter("It is no name of a FATHOM tile.")
        name = cls._of(leaf.groupdict(), leaf["corner"], Layout.BY_TYPE)
        if parts[-4:] != name.path.split("/"):
            raise InvalidParameter(f"By its name it belongs into {name.path.rpartition('/')[0]}.")
        return name

    @classmethod
    def _of(cls, said: dict[str, str], corner: str, layout: Layout) -> "TileName":
        flood_type = f"{said['hazard']}_{said['defence']}"
        if flood_type not in FloodType:
            raise InvalidParameter(f"There is no flood type {flood_type}.")
        if said["scenario"] is not None and said["scenario"] not in Scenario:
            raise InvalidParameter(f"There is no scenario {said['scenario']}.")
        if said["period"] not in map(str, RETURN_PERIODS):
            raise InvalidParameter(f"There is no return period 1in{said['period']}.")
        scenario = None if said["scenario"] is None else Scenario(said["scenario"])
        variant = Variant(FloodType(flood_type), int(said["year"]), scenario)
        return cls(variant, int(said["period"]), Corner.parse(corner), layout, said.get("version", ""))
