"""The numbers of a version beside those of the one that it was compared with."""

from collections.abc import Iterable
from dataclasses import dataclass

from geoetl.core.spatial import BBox
from geoetl.datasets.sanity import kind
from geoetl.datasets.version import ItemProfile, Profile

# Columns that differ, of all items together; tables have at most a few hundred.
MAX_COLUMNS = 200


@dataclass(frozen=True)
class Line:
    """One number, old beside new, as text; `change` says how they differ, empty where they do not."""

    label: str
    old: str
    new: str
    change: str = ""

    @property
    def differs(self) -> bool:
        """Whether the two are not the same."""
        return self.old != self.new and self.old != ""


@dataclass(frozen=True)
class ColumnChange:
    """A column that is gone, is new, or holds values of another type.

    Attributes:
        name: Of the column.
        item: That it is in.
        what: ``gone``, ``new``, ``retyped`` or ``wider`` (other width, same kind).
        old, new: Its types; empty where there is none.
    """

    name: str
    item: str
    what: str
    old: str
    new: str


def number_lines(old: Profile | None, new: Profile) -> tuple[Line, ...]:
    """Return the numbers of two versions; of the first one alone."""
    found = [_counted("Rows", old.rows if old else None, new.rows)]
    if (old and len(old.items) > 1) or len(new.items) > 1:
        found.append(_counted("Items", len(old.items) if old else None, len(new.items)))
    if any(item.index for item in new.items):
        found.append(Line("Valid geometries", _valid(old) if old else "", _valid(new)))
        repeated = (sum(item.repeated_keys for item in old.items) if old else None, _repeated(new))
        if any(repeated):
            found.append(_counted("Repeated keys", *repeated))
        types = Line("Geometry types", _types(old) if old else "", _types(new))
        found.append(types)
    was, now = _box(old.items) if old else None, _box(new.items)
    for side in ("west", "south", "east", "north"):
        before = getattr(was, side) if was else None
        after = getattr(now, side) if now else None
        moved = f"{after - before:+.4g}°" if before is not None and after is not None and before != after else ""
        found.append(Line(f"{side.title()} edge", _degrees(before), _degrees(after), moved))
    sizes = (sum(item.data.bytes for item in old.items) if old else None, sum(item.data.bytes for item in new.items))
    found.append(Line("Size of the data", _size(sizes[0]), _size(sizes[1]), _share(*sizes)))
    return tuple(found)


def column_changes(old: Profile | None, new: Profile) -> tuple[ColumnChange, ...]:
    """Return the columns that differ, those that are gone first."""
    found: list[ColumnChange] = []
    for now in new.items:
        was = old.item(now.item) if old else None
        if was is None:
            continue
        for name in dict.fromkeys((*was.columns, *now.columns)):
            before, after = was.columns.get(name, ""), now.columns.get(name, "")
            if before != after:
                found.append(ColumnChange(name, now.item, _what(before, after), before, after))
    order = ("gone", "retyped", "new", "wider")
    return tuple(sorted(found, key=lambda one: order.index(one.what))[:MAX_COLUMNS])


def _what(before: str, after: str) -> str:
    if not after:
        return "gone"
    if not before:
        return "new"
    return "wider" if kind(before) == kind(after) else "retyped"


def _counted(label: str, old: int | None, new: int) -> Line:
    if old is None:
        return Line(label, "", f"{new:,}")
    change = f"{new - old:+,}" if new != old else ""
    return Line(label, f"{old:,}", f"{new:,}", f"{change} ({_share(old, new)})" if change and old else change)


def _share(old: int | None, new: int) -> str:
    return f"{(new - old) / old:+.1%}" if old and old != new else ""


def _valid(profile: Profile) -> str:
    features = [item for item in profile.items if item.index]
    read, invalid = sum(item.rows_read for item in features), sum(item.invalid for item in features)
    return f"{1 - invalid / read:.2%}" if read else ""


def _repeated(profile: Profile) -> int:
    return sum(item.repeated_keys for item in profile.items)


def _types(profile: Profile) -> str:
    return ", ".join(sorted({name for item in profile.items for name in item.geometry_types}))


def _box(items: Iterable[ItemProfile]) -> BBox | None:
    box: BBox | None = None
    for item in items:
        here = BBox.from_list(item.bbox)
        box = here if box is None else box.union(here)
    return box


def _degrees(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}°"


def _size(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"
