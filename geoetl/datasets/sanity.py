"""What holds a release back: differences from the live version that a person has to look at before they are served."""

from collections.abc import Iterable, Iterator, Sequence

from geoetl.core.findings import Finding, Severity
from geoetl.core.spatial import BBox
from geoetl.datasets.model import SanityLimits
from geoetl.datasets.version import ItemProfile, Profile

_KINDS = {"int": "number", "uint": "number", "float": "number", "double": "number", "decimal": "number"}
_NAMED = 8


def look(limits: SanityLimits, required: Iterable[str], old: Profile | None, new: Profile) -> tuple[Finding, ...]:
    """Return what is suspicious in a version; an error holds it.

    Args:
        limits: What may differ.
        required: Columns that must be there, besides those of `limits`.
        old: The live version; None for the first, which has nothing to be compared with.
        new: What was made.
    """
    findings = [*_by_itself(limits, (*limits.required_columns, *required), new)]
    if old is not None:
        findings += _compared(limits, old, new)
    return tuple(findings)


def _by_itself(limits: SanityLimits, required: Sequence[str], new: Profile) -> Iterator[Finding]:
    if new.rows < max(1, limits.min_rows):
        yield _held("too_few_rows", f"There are {new.rows:,} rows; at least {max(1, limits.min_rows):,} are expected.")
    for item in _with_features(new):
        missing = [name for name in dict.fromkeys(required) if name not in item.columns]
        if missing:
            yield _held("missing_column", f"Required columns are missing: {_listed(missing)}.", item)
        valid = (item.rows_read - item.invalid) / item.rows_read if item.rows_read else 0.0
        if valid < limits.min_valid:
            yield _held(
                "invalid_geometries",
                f"{item.invalid:,} of {item.rows_read:,} features have no valid geometry: {valid:.1%} are valid, "
                f"at least {limits.min_valid:.1%} are expected.",
                item,
            )
        if item.repeated_keys and not limits.may_repeat_keys:
            yield _held(
                "repeated_keys",
                f"{item.repeated_keys:,} features have a value of '{item.key}' that an earlier one has.",
                item,
            )


def _compared(limits: SanityLimits, old: Profile, new: Profile) -> Iterator[Finding]:
    yield from _counted(limits, old.rows, new.rows)
    for was in _with_features(old):
        now = new.item(was.item)
        if now is None:
            yield _held("item_gone", f"'{was.item}' is gone, with its {was.rows:,} rows.", was)
            continue
        if len(old.items) > 1:
            yield from _counted(limits, was.rows, now.rows, now)
        yield from _schema(was, now)
    for now in _with_features(new):
        if old.item(now.item) is None:
            yield _held("item_new", f"'{now.item}' is new, with {now.rows:,} rows.", now)
    yield from _place(limits, old, new)


def _counted(limits: SanityLimits, was: int, now: int, item: ItemProfile | None = None) -> Iterator[Finding]:
    if not was:
        return
    change = (now - was) / was
    told = f"There are {now:,} rows where there were {was:,} ({change:+.1%})"
    if -change > limits.max_drop:
        yield _held("rows_dropped", f"{told}; at most {limits.max_drop:.0%} may be gone.", item)
    if limits.max_growth is not None and change > limits.max_growth:
        yield _held("rows_grown", f"{told}; at most {limits.max_growth:.0%} may be new.", item)


def _schema(was: ItemProfile, now: ItemProfile) -> Iterator[Finding]:
    if gone := [name for name in was.columns if name not in now.columns]:
        yield _held("columns_gone", f"Columns are gone: {_listed(gone)}.", now)
    retyped = [
        f"{name} ({was.columns[name]} → {now.columns[name]})"
        for name in was.columns
        if name in now.columns and kind(was.columns[name]) != kind(now.columns[name])
    ]
    if retyped:
        yield _held("columns_retyped", f"Columns hold something else: {_listed(retyped)}.", now)
    if new := [name for name in now.columns if name not in was.columns]:
        yield _told("columns_new", f"Columns are new: {_listed(new)}.", now)
    if types := sorted(set(now.geometry_types) - set(was.geometry_types)):
        yield _held("geometry_types", f"There are geometries of other types: {_listed(types)}.", now)


def _place(limits: SanityLimits, old: Profile, new: Profile) -> Iterator[Finding]:
    """Compare bounding boxes; a set of rasters may grow, because it comes in parts."""
    was, now = _box(old.items), _box(new.items)
    if was is None or now is None:
        return
    may_grow = not any(_with_features(old))
    sides = (
        ("west", _moved(was, now, now.west - was.west), was.width_deg, 1),
        ("south", now.south - was.south, was.height_deg, 1),
        ("east", _moved(was, now, now.east - was.east), was.width_deg, -1),
        ("north", now.north - was.north, was.height_deg, -1),
    )
    for name, moved, extent, inward in sides:
        share = abs(moved) / extent if extent else float(abs(moved) > 0)
        if share > limits.max_shift and not (may_grow and moved * inward < 0):
            yield _held(
                "bbox_moved",
                f"The {name} edge of the bounding box moved by {abs(moved):.4g} degrees, {share:.0%} of its extent; at "
                f"most {limits.max_shift:.0%} is expected.",
            )


def _moved(was: BBox, now: BBox, degrees: float) -> float:
    """Return how far an edge moved; the short way round where one of the boxes is over the antimeridian."""
    return (degrees + 180) % 360 - 180 if was.crosses_antimeridian or now.crosses_antimeridian else degrees


def _box(items: Sequence[ItemProfile]) -> BBox | None:
    box: BBox | None = None
    for item in items:
        here = BBox.from_list(item.bbox)
        box = here if box is None else box.union(here)
    return box


def _with_features(profile: Profile) -> list[ItemProfile]:
    return [item for item in profile.items if item.index is not None]


def kind(type_name: str) -> str:
    """Return what values of a type are, whatever their width: number, string, boolean, date, …"""
    plain = type_name.rstrip("0123456789").partition("[")[0].partition("(")[0]
    return _KINDS.get(plain.rstrip("0123456789"), plain)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _held(code: str, message: str, item: ItemProfile | None = None) -> Finding:
    return Finding(severity=Severity.ERROR, code=code, message=message, subject=item.item if item else None)


def _told(code: str, message: str, item: ItemProfile) -> Finding:
    return Finding(severity=Severity.INFO, code=code, message=message, subject=item.item)
