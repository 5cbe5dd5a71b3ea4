"""Countries, states and counties by their codes and names, out of the items that ``catalogs/places.yaml`` names.

A country of Natural Earth's Admin-0 is found by every code that it has. Codes are tried in this order, so that a real
ISO code of one country wins over an alias of another: ISO_A3, ISO_A2, ISO_N3; the same as "everybody has it" (_EH);
ADM0_A3; UN_A3, WB_A3, WB_A2; codes that Natural Earth lacks (`_LACKING`). Then names, of which NAME, NAME_LONG, NAME_EN
and ADMIN come first. -99, -099 and null are missing everywhere. Where several rows have the same code or name,
the one wins that stands for a whole state (its ADM0_A3 is its ISO code), then the one with more people.
"""

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoetl.access.items import AssetKind, FoundAsset, Items, Lookup
from geoetl.access.places import BoundaryType, ItemReference, Places
from geoetl.access.pool import SharedPool
from geoetl.access.region import Region
from geoetl.access.result import Source
from geoetl.core.errors import Conflict, InvalidParameter, NotFound, UnreadableFile, did_you_mean
from geoetl.core.html import heading, table
from geoetl.core.names import plain_name

if TYPE_CHECKING:
    import pandas as pd

    from geoetl.access.features import FeatureAccess
    from geoetl.store.gate import Gate
    from geoetl.store.zones import Zones

# Datasets of boundaries whose names one process keeps.
MAX_INDEXES = 16
# Most boundaries of one dataset: all municipalities of the world are fewer.
MAX_BOUNDARIES = 100_000
# A dataset that is replaced between the look at its names and that at its shapes is read again, so often.
_TRIES = 3
# Of a name that is not known so many letters are compared, with so many names.
MAX_NAME_LETTERS = 80
MAX_NAMES_COMPARED = 2000
_MISSING = frozenset({"", "-99", "-099", "-99.0"})
_FIELD = "boundary_id"
# Codes in use that Natural Earth has as -99, by ADM0_A3: two of ISO 3166-1 that releases before 5 have nowhere, and
# what ISO 3166 leaves to its users, as the European Union and others use it for Kosovo.
_LACKING: Mapping[str, tuple[str, ...]] = {
    "FRA": ("FRA", "FR", "250"),
    "NOR": ("NOR", "NO", "578"),
    "KOS": ("XK", "XKX"),
}


@dataclass(frozen=True)
class _Kind:
    """How boundaries of a type are told apart: names of columns in upper case, the preferred first.

    Attributes:
        codes: Columns of codes. Of one tuple all count alike; an earlier tuple wins over a later one.
        names: Columns of names, in tuples likewise.
        all_names: Beginning of further columns of names, one for each language.
        within: Columns that say what a boundary is part of, as in "Washington, Oregon".
        ranked: Whether one of several that share a name is the one that is meant; else that is a question back.
    """

    codes: tuple[tuple[str, ...], ...]
    names: tuple[tuple[str, ...], ...]
    all_names: str | None
    within: tuple[str, ...]
    ranked: bool


KINDS: Mapping[BoundaryType, _Kind] = {
    "country": _Kind(
        codes=(
            ("ISO_A3",),
            ("ISO_A2",),
            ("ISO_N3",),
            ("ISO_A3_EH",),
            ("ISO_A2_EH",),
            ("ISO_N3_EH",),
            ("ADM0_A3",),
            ("UN_A3",),
            ("WB_A3",),
            ("WB_A2",),
            ("LACKING",),
        ),
        names=(
            ("NAME",),
            ("NAME_LONG",),
            ("NAME_EN",),
            ("ADMIN",),
            ("FORMAL_EN", "FORMAL_FR", "BRK_NAME", "NAME_SORT", "NAME_ALT", "NAME_CIAWF", "GEOUNIT", "SUBUNIT"),
        ),
        all_names="NAME_",
        within=(),
        ranked=True,
    ),
    "state": _Kind(
        codes=(
            ("ISO_3166_2", "ADM1_CODE", "GID_1", "CODE_HASC", "GEOID"),
            ("POSTAL", "STUSPS", "STATE_ABBR", "ABBREV", "STATE_CODE"),
            ("STATEFP", "FIPS", "STATE_FIPS"),
        ),
        names=(("NAME", "STATE", "STATE_NAME", "NAME_1", "NAME_EN"), ("NAMELSAD", "NAME_ALT", "GN_NAME", "WOE_NAME")),
        all_names="NAME_",
        within=("ADMIN", "COUNTRY", "ISO_A2", "NAME_0", "GID_0", "ADM0_A3"),
        ranked=False,
    ),
    "county": _Kind(
        codes=(("GEOID", "FIPS", "GID_2", "ADM2_CODE", "AFFGEOID"),),
        names=(("NAME", "COUNTY", "COUNTY_NAME", "NAME_2", "NAME_EN"), ("NAMELSAD", "NAME_ALT")),
        all_names="NAME_",
        within=("STATE_NAME", "STATE", "NAME_1", "STATE_ABBR", "STUSPS", "STATEFP", "REGION"),
        ranked=False,
    ),
}
# Columns that begin like names and are none.
_NO_NAMES = frozenset({"NAME_LEN", "NAME_0", "NAME_1", "NAME_2", "NAME_3"})


@dataclass(frozen=True)
class Boundary:
    """A boundary that can be asked for.

    Attributes:
        id: What finds it and no other.
        name: As people write it.
        row: Number of its feature in the dataset, from 0.
    """

    id: str
    name: str
    row: int


@dataclass(frozen=True)
class BoundaryList:
    """All boundaries of one type.

    Attributes:
        type: country, state or county.
        boundaries: By name.
        source: Where they come from.
    """

    type: BoundaryType
    boundaries: tuple[Boundary, ...]
    source: Source

    def __iter__(self) -> Iterator[Boundary]:
        return iter(self.boundaries)

    def __len__(self) -> int:
        return len(self.boundaries)

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row per boundary: id, name."""
        import pandas as pd

        return pd.DataFrame([(one.id, one.name) for one in self], columns=["id", "name"])

    def _repr_html_(self) -> str:
        title = heading(f"Boundaries of type {self.type}", f"{len(self)} from {self.source}")
        return title + table(["id", "name"], [(one.id, one.name) for one in self])


class Boundaries:
    """Finds named boundaries in the catalogue.

    Args:
        features: Reads attributes and shapes.
        catalog: Where items are looked up.
        gate: Opens the files.
        places: Which items have which type of boundary.
        zones: The object zones.
    """

    def __init__(
        self, features: "FeatureAccess", catalog: Lookup, gate: "Gate", places: Places, zones: "Zones | None" = None
    ) -> None:
        self._features = features
        self._items = Items(catalog, gate, zones)
        self._registered = places.boundaries
        self._indexes: SharedPool[_Index] = SharedPool(MAX_INDEXES)

    def find(self, boundary_type: str, boundary_id: str) -> Region:
        """Return a boundary by one of its codes or names; case and accents do not matter.

        Args:
            boundary_type: country, state or county.
            boundary_id: Its ISO code, postal code, FIPS code or name; ``Washington, Oregon`` where there are several.

        Raises:
            InvalidParameter: There is no such type, or several boundaries have that name.
            NotFound: There is no such boundary, or none of that type is registered.
            UnreadableFile: It has no usable outline.
        """
        for _ in range(_TRIES):
            found, index = self._index(boundary_type)
            boundary = index.find(boundary_id)
            page = self._features.query(
                found.key.collection, found.key.item, asset=found.name, columns=(), offset=boundary.row, limit=1
            )
            # Rows are counted in one state of the file: another one may have another boundary there.
            if self._index(boundary_type)[0].key == found.key:
                break
        else:
            raise Conflict(f"The boundaries of {found.source} are being replaced.", hint="Try again.")
        shape = None if page.shapes is None or not len(page.shapes) else page.shapes[0]
        if shape is None or shape.is_empty:
            raise UnreadableFile(
                f"'{boundary.name}' of {found.source} has no outline.", hint="Ingest it again from its source."
            )
        return Region.from_shape(shape, name=boundary.name, source=page.source)

    def identify(self, boundary_type: str, boundary_id: str) -> Boundary:
        """Return which boundary a code or name means, without its shape; see `find`.

        Raises:
            InvalidParameter: There is no such type, or several boundaries have that name.
            NotFound: There is no such boundary, or none of that type is registered.
        """
        return self._index(boundary_type)[1].find(boundary_id)

    def list(self, boundary_type: str) -> BoundaryList:
        """Return all boundaries of a type, by name.

        Raises:
            InvalidParameter: There is no such type.
            NotFound: None of that type is registered.
        """
        found, index = self._index(boundary_type)
        return BoundaryList(_type_of(boundary_type), index.boundaries, found.source)

    def __repr__(self) -> str:
        return f"Boundaries({', '.join(KINDS)})"

    def _repr_html_(self) -> str:
        rows = [(kind, ", ".join(map(str, self._registered.get(kind, ()))) or "none yet") for kind in KINDS]
        return heading("Boundaries", "boundaries.find(type, id)") + table(["type", "from the first of"], rows)

    def _index(self, boundary_type: str) -> tuple[FoundAsset, "_Index"]:
        kind = _type_of(boundary_type)
        found = self._registered_item(kind)
        return found, self._indexes.get(found.key, lambda: self._read(kind, found))

    def _registered_item(self, kind: BoundaryType) -> FoundAsset:
        candidates: Sequence[ItemReference] = self._registered.get(kind, ())
        for one in candidates:
            try:
                return self._items.find(one.collection, one.item, None, (AssetKind.GEOPARQUET,))
            except NotFound:
                continue
        named = f"in the items {', '.join(map(str, candidates))}" if candidates else f"under boundaries → {kind}"
        raise NotFound(
            f"No boundaries of the type {kind} are registered.",
            hint="Register them with 'geoetl run ingest-vector source=FILE collection=COLLECTION'; "
            f"they are looked for {named} in the file of places (GEOETL_PLACES).",
            field="boundary_type",
        )

    def _read(self, kind: BoundaryType, found: FoundAsset) -> "_Index":
        described = self._features.describe(found.key.collection, found.key.item, asset=found.name)
        columns = [one.name for one in described.properties if _counts(one.name.upper(), KINDS[kind])]
        page = self._features.query(
            found.key.collection,
            found.key.item,
            asset=found.name,
            columns=columns,
            skip_geometry=True,
            limit=MAX_BOUNDARIES,
        )
        rows = [
            {name.upper(): text for name, value in row.items() if (text := _text(value)) is not None}
            for row in page.properties
        ]
        return _Index(kind, rows, str(found.source))


def _type_of(text: str) -> BoundaryType:
    for kind in KINDS:
        if kind == text.strip().lower():
            return kind
    raise InvalidParameter(
        f"There is no boundary type '{text[:40]}'.", hint=f"Give one of {', '.join(KINDS)}.", field="boundary_type"
    )


def _counts(column: str, kind: _Kind) -> bool:
    named = column in {name for group in (*kind.codes, *kind.names) for name in group}
    return named or column in kind.within or column == "POP_EST" or _is_name(column, kind)


def _is_name(column: str, kind: _Kind) -> bool:
    return kind.all_names is not None and column.startswith(kind.all_names) and column not in _NO_NAMES


def _text(value: Any) -> str | None:
    text = str(value).strip()
    return None if value is None or text in _MISSING else text


def _code(text: str) -> str:
    """Return a code in one form: upper case, numbers of at least three digits."""
    code = text.strip().upper()
    return code.zfill(3) if code.isascii() and code.isdecimal() else code


class _Index:
    """The codes and names of the boundaries of one dataset.

    Args:
        type: Their type.
        rows: The attributes of each feature that are there, by column in upper case.
        source: Where they come from, for messages.
    """

    def __init__(self, type: BoundaryType, rows: Sequence[Mapping[str, str]], source: str) -> None:
        self._type = type
        self._kind = KINDS[type]
        self._rows = rows
        self._source = source
        self._codes = self._table(self._kind.codes, _code)
        names = [*self._kind.names, tuple(sorted({name for row in rows for name in row if _is_name(name, self._kind)}))]
        self._names = self._table(names, plain_name)
        for number, row in enumerate(rows):
            for within in self._kind.within:
                for name in self._kind.names[0]:
                    if within in row and name in row and within != name:
                        self._names[plain_name(f"{row[name]}, {row[within]}")].append(number)
        listed = (Boundary(self._id(number), self._name(number), number) for number in range(len(rows)))
        self.boundaries = tuple(sorted(listed, key=lambda one: (plain_name(one.name), one.id)))
        self._by_row = {one.row: one for one in self.boundaries}

    def find(self, text: str) -> Boundary:
        """Return the boundary of a code or name.

        Raises:
            NotFound: There is none.
            InvalidParameter: There are several.
        """
        numbers = self._codes.get(_code(text)) or self._names.get(plain_name(text)) or []
        several = list(dict.fromkeys(numbers))
        if len(several) > 1 and not self._kind.ranked:
            named = [self._by_row[number] for number in several]
            raise InvalidParameter(
                f"{len(several)} boundaries of the type {self._type} are called '{text[:40]}'.",
                hint=f"Give the id of one: {', '.join(f'{one.id} ({one.name})' for one in named[:8])}.",
                field=_FIELD,
            )
        if several:
            return self._by_row[several[0]]
        hint = self._nearest(plain_name(text[:MAX_NAME_LETTERS]))
        raise NotFound(
            f"There is no boundary '{text[:40]}' of the type {self._type} in {self._source}.", hint=hint, field=_FIELD
        )

    def _nearest(self, plain: str) -> str:
        """Return a hint that leads from a wrong name to the right one."""
        names = {plain_name(one.name): one.name for one in self.boundaries}
        # Comparing takes some 20 microseconds a name: of many only those that begin alike are compared.
        alike = names if len(names) < MAX_NAMES_COMPARED else [name for name in names if name[:1] == plain[:1]]
        close = difflib.get_close_matches(plain, list(alike)[:MAX_NAMES_COMPARED], n=1)
        return f"Did you mean '{names[close[0]]}'?" if close else did_you_mean("", names.values())

    def _table(self, groups: Iterable[Sequence[str]], form: Callable[[str], str]) -> "defaultdict[str, list[int]]":
        """Return the rows of each code or name: those of the first group of columns that has it, the best first."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        order = sorted(range(len(self._rows)), key=self._rank)
        for group in groups:
            here: defaultdict[str, list[int]] = defaultdict(list)
            for number in order:
                for column in group:
                    for text in self._values(number, column):
                        if key := form(text):
                            here[key].append(number)
            for key, numbers in here.items():
                if key not in found:
                    found[key] = numbers
        return found

    def _values(self, number: int, column: str) -> Iterable[str]:
        row = self._rows[number]
        if column == "LACKING":
            return _LACKING.get(row.get("ADM0_A3", ""), ())
        return (row[column],) if column in row else ()

    def _rank(self, number: int) -> tuple[bool, float, int]:
        row = self._rows[number]
        own = row.get("ADM0_A3")
        whole = own is not None and own in (row.get("ISO_A3"), row.get("ISO_A3_EH"))
        try:
            people = float(row.get("POP_EST", 0))
        except ValueError:
            people = 0.0
        return not whole, -people, number

    def _id(self, number: int) -> str:
        """Return the first code, else the first name, that finds this boundary and no other."""
        row = self._rows[number]
        own = [row[column] for group in self._kind.codes for column in group if column in row]
        names = [row[column] for group in self._kind.names for column in group if column in row]
        longer = [f"{name}, {row[within]}" for name in names[:1] for within in self._kind.within if within in row]
        for text in (*own, *names, *longer):
            numbers = self._codes.get(_code(text)) or self._names.get(plain_name(text)) or []
            if numbers[:1] == [number] and (self._kind.ranked or set(numbers) == {number}):
                return text
        return next(iter((*own, *names)), str(number))

    def _name(self, number: int) -> str:
        row = self._rows[number]
        names = (row[column] for group in self._kind.names for column in group if column in row)
        return next(names, None) or self._id(number)
