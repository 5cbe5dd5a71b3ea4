"""The numbers of what would become public beside those of what is: counts, extent, times, values, size."""

from collections.abc import Mapping
from typing import Any

from dashboards.datasets.comparison import Line
from dashboards.review.contents import everything
from geoetl.publish.comparison import box_of, item_of, row_count, statistics
from geoetl.publish.model import Manifest

# Bands whose values are told; of an image of hundreds the first.
MAX_BANDS = 12
_SIDES = ("west", "south", "east", "north")
_STATISTICS = ("minimum", "maximum", "mean", "stddev")
_TIMES = {"datetime": "Time, UTC", "start_datetime": "First time, UTC", "end_datetime": "Last time, UTC"}


def number_lines(old: Manifest | None, new: Manifest) -> tuple[Line, ...]:
    """Return the numbers of two releases, old beside new; of the first release alone."""
    found = [*_rows(old, new), *_times(old, new), *_extent(old, new), *_values(old, new)]
    was, now = everything(old) if old else None, everything(new)
    found.append(_counted("Files", None if was is None else len(was), len(now)))
    before, after = None if was is None else sum(one.bytes for one in was), sum(one.bytes for one in now)
    found.append(Line("Size", size_text(before), size_text(after), _share(before, after)))
    return tuple(found)


def size_text(count: float | None) -> str:
    """Return a number of bytes as people read it, by decimal units; empty for None."""
    if count is None:
        return ""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:,.1f} {unit}"
    return f"{count:,.0f} bytes" if count != 1 else "1 byte"


def _rows(old: Manifest | None, new: Manifest) -> list[Line]:
    before, after = row_count(old) if old else None, row_count(new)
    return [] if after is None else [_counted("Rows", before, after)]


def _times(old: Manifest | None, new: Manifest) -> list[Line]:
    was, now = _properties(old), _properties(new)
    return [
        Line(label, _time(was.get(name)), _time(now.get(name)))
        for name, label in _TIMES.items()
        if was.get(name) or now.get(name)
    ]


def _extent(old: Manifest | None, new: Manifest) -> list[Line]:
    was, now = box_of(old) if old else None, box_of(new)
    found = []
    for side in _SIDES:
        before: float | None = getattr(was, side) if was else None
        after: float | None = getattr(now, side) if now else None
        moved = f"{after - before:+.4g}°" if before is not None and after is not None and before != after else ""
        if before is not None or after is not None:
            found.append(Line(f"{side.title()} edge", _degrees(before), _degrees(after), moved))
    return found


def _values(old: Manifest | None, new: Manifest) -> list[Line]:
    was, now = statistics(old) if old else {}, statistics(new)
    found = []
    for band in list(dict.fromkeys((*was, *now)))[:MAX_BANDS]:
        for name in _STATISTICS:
            before, after = was.get(band, {}).get(name), now.get(band, {}).get(name)
            if before is None and after is None:
                continue
            differ = before is not None and after is not None and _number(before) != _number(after)
            moved = f"{after - before:+.4g}" if differ and before is not None and after is not None else ""
            found.append(Line(f"{band}, {name}", _number(before), _number(after), moved))
    return found


def _properties(manifest: Manifest | None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = item_of(manifest).get("properties", {}) if manifest else {}
    return found


def _counted(label: str, old: int | None, new: int) -> Line:
    if old is None:
        return Line(label, "", f"{new:,}")
    change = f"{new - old:+,}" if new != old else ""
    return Line(label, f"{old:,}", f"{new:,}", f"{change} ({_share(old, new)})" if change and old else change)


def _share(old: int | None, new: int) -> str:
    return f"{(new - old) / old:+.1%}" if old and old != new else ""


def _time(told: Any) -> str:
    return str(told).replace("T", " ").removesuffix("Z") if told else ""


def _degrees(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}°"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.6g}"
