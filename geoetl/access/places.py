"""Places by name, and the items that boundaries come from: what ``catalogs/places.yaml`` says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geoetl.core.errors import ConfigurationError, NotFound, did_you_mean
from geoetl.core.html import heading, table
from geoetl.core.names import plain_name
from geoetl.core.spatial import Point

if TYPE_CHECKING:
    import pandas as pd

_PACKAGE = Path(__file__).resolve().parents[1]
_SETTING = "GEOETL_PLACES"
_NAME = r"[a-z0-9]+(_[a-z0-9]+)*"

BoundaryType = Literal["country", "state", "county"]


@dataclass(frozen=True)
class Place:
    """A place that has a name.

    Attributes:
        name: In lower case, with underscores.
        title: As people write it.
        point: Where it is.
        aliases: Further names.
    """

    name: str
    title: str
    point: Point
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class ItemReference:
    """An item by its ids, written ``COLLECTION/ITEM``."""

    collection: str
    item: str

    def __str__(self) -> str:
        return f"{self.collection}/{self.item}"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1)
    lon: float = Field(ge=-180, le=180)
    lat: float = Field(ge=-90, le=90)
    aliases: tuple[str, ...] = ()


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    places: dict[Annotated[str, Field(pattern=f"^{_NAME}$")], _Entry]
    boundaries: dict[BoundaryType, tuple[Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")], ...]] = {}


class Places:
    """The named places of a deployment, by any of their names.

    Args:
        places: All of them; no two share a name.
        boundaries: For each type of boundary the items that have it, the preferred first.

    Raises:
        ConfigurationError: Two places share a name.
    """

    def __init__(
        self, places: tuple[Place, ...], boundaries: Mapping[BoundaryType, tuple[ItemReference, ...]] | None = None
    ) -> None:
        self.boundaries = dict(boundaries or {})
        self._places = places
        self._by_name: dict[str, Place] = {}
        for place in places:
            for name in dict.fromkeys(map(plain_name, (place.name, place.title, *place.aliases))):
                if name in self._by_name:
                    raise ConfigurationError(
                        f"Two places are called '{name}': {self._by_name[name].name} and {place.name}.",
                        hint="Take the name away from one of them.",
                        field=_SETTING,
                    )
                self._by_name[name] = place

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read a file of places; without a path the one that comes with geoetl.

        Raises:
            ConfigurationError: It cannot be read, or something in it is not right.
        """
        document = _document(path or _own_file())
        try:
            given = _File.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            where = " → ".join(str(part) for part in first["loc"] if part != "[key]") or "it"
            raise ConfigurationError(
                f"The file of places is not right at {where}: {first['msg']}.",
                hint="The comment at the head of catalogs/places.yaml says how it is written.",
                field=_SETTING,
            ) from None
        places = tuple(
            Place(name, entry.title, Point(entry.lon, entry.lat), entry.aliases) for name, entry in given.places.items()
        )
        boundaries = {
            kind: tuple(ItemReference(*text.split("/")) for text in texts) for kind, texts in given.boundaries.items()
        }
        return cls(places, boundaries)

    def find(self, text: str) -> Place:
        """Return the place of a name, whatever its case, accents and blanks.

        Raises:
            NotFound: There is none of that name; the hint has the nearest.
        """
        name = plain_name(text)
        try:
            return self._by_name[name]
        except KeyError:
            raise NotFound(
                f"There is no place '{text[:40]}'.", hint=did_you_mean(name[:80], self._by_name), field="location"
            ) from None

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and plain_name(text) in self._by_name

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row per place: name, title, lon, lat."""
        import pandas as pd

        rows = [(place.name, place.title, place.point.lon, place.point.lat) for place in self]
        return pd.DataFrame(rows, columns=["name", "title", "lon", "lat"])

    def __repr__(self) -> str:
        return f"Places({', '.join(place.name for place in self)})"

    def _repr_html_(self) -> str:
        rows = [(place.title, place.name, f"{place.point.lon:g}", f"{place.point.lat:g}") for place in self]
        return heading("Places", f"{len(self)}") + table(["place", "name", "lon", "lat"], rows)


def _own_file() -> Path:
    installed = _PACKAGE / "_catalogs" / "places.yaml"
    return installed if installed.is_file() else _PACKAGE.parent / "catalogs" / "places.yaml"


def _document(path: Path) -> Any:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        # By libyaml where PyYAML has it, eight times as fast: the first question of every process waits for it.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            return yaml.load(text, loader)
        except yaml.YAMLError:
            return yaml.safe_load(text)  # tells the line better
    except OSError as error:
        raise ConfigurationError(
            f"The file of places cannot be read: {error.strerror}.",
            hint=f"Point {_SETTING} to a file that this user may read, or unset it.",
            field=_SETTING,
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise ConfigurationError(
            f"The file of places is not YAML{line}.", hint="Correct it there.", field=_SETTING
        ) from None
