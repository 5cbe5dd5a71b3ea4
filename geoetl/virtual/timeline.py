"""Which times the cubes of an inventory have, as a picture: a row a cube, a bar a file, gaps marked."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from geoetl.core.findings import Severity
from geoetl.virtual.spans import follows, period_text, time_text

if TYPE_CHECKING:
    from geoetl.virtual.inventory import CubeFiles

# More rows are not read any more; the note says how many there are.
ROWS_DRAWN = 60
# With more bars a row of contiguous files is drawn as one: a page of more is slow.
MAX_BARS = 4000
_LABEL_LENGTH = 54
_HALF = 0.34  # of a row, above and below its middle
_ROW_PX, _MIN_BODY_PX, _AROUND_PX, _WIDTH_PX = 22, 70, 88, 920
_FILES = ("#0b6b6b", "#4c9a98")  # neighbours alternate, so that each file is seen
_GAP, _OVERLAP = "#d1495b", "#e8871e"


@dataclass(frozen=True)
class _Bar:
    """A stretch of one row, in decimal years, and what the pointer shows."""

    row: int
    left: float
    right: float
    colour: str
    cube: str
    period: str
    what: str

    def box(self) -> tuple[Any, ...]:
        """Return it as a rectangle of two thirds of its row."""
        return (self.left, self.row - _HALF, self.right, self.row + _HALF, self.cube, self.period, self.what)


def draw_timeline(cubes: Sequence["CubeFiles"]) -> Any:
    """Return a HoloViews picture of the times of cubes; those without time in their names are counted in the title."""
    import holoviews as hv

    if not hv.Store.loaded_backends():
        hv.extension("bokeh")
    timed = [cube for cube in cubes if cube.spans]
    drawn = timed[:ROWS_DRAWN]
    merged = sum(len(cube.spans) for cube in drawn) > MAX_BARS
    bars = [bar for row, cube in enumerate(drawn) for bar in (*_gaps(row, cube), *_bars(row, cube, merged))]
    keys = [hv.Dimension("left", label="Year"), "low", "right", "high"]
    layers = []
    for colour in dict.fromkeys((_GAP, *_FILES, _OVERLAP)):
        boxes = [bar.box() for bar in bars if bar.colour == colour]
        # Every bar has a line around it, which is seen even where it is a single month of a century.
        layers.append(
            hv.Rectangles(boxes, keys, ["cube", "period", "what"]).opts(
                color=colour,
                line_color=colour,
                fill_alpha=0.16 if colour == _GAP else 1,
                line_width=0.8,
                tools=["hover", "xwheel_zoom", "xpan", "reset"],
                default_tools=[],
                hover_tooltips=[("", "@cube"), ("", "@period"), ("", "@what")],
                backend="bokeh",
            )
        )
    ticks = [(row, _short(cube.title)) for row, cube in enumerate(drawn)] or [(0, "")]
    return hv.Overlay(layers).opts(
        hv.opts.Overlay(
            title=_title(cubes, timed, drawn, merged),
            width=_WIDTH_PX,
            height=_AROUND_PX + max(_MIN_BODY_PX, _ROW_PX * len(drawn)),
            yticks=ticks,
            ylabel="",
            ylim=(-0.7, len(drawn) - 0.3),
            invert_yaxis=True,
            show_grid=True,
            gridstyle={"ygrid_line_color": None},
            toolbar="above",
            fontsize={"title": 11, "yticks": 9, "xticks": 9},
            padding=(0.02, 0),
            active_tools=[],
            show_legend=False,
            backend="bokeh",
        )
    )


def _bars(row: int, cube: "CubeFiles", merged: bool) -> list[_Bar]:
    """Return a bar for each file, or for each run of files that follow each other."""
    table = cube.facets.get("table_id")
    runs: list[list[int]] = []
    for i, (start, _) in enumerate(cube.spans):
        if merged and runs and _meets(cube.spans[i - 1][1], start, table):
            runs[-1].append(i)
        else:
            runs.append([i])
    bars = []
    for number, run in enumerate(runs):
        start, end = cube.spans[run[0]][0], cube.spans[run[-1]][1]
        file = cube.series[0].files[run[0]].rpartition("/")[2]
        what = file if len(run) == 1 else f"{len(run)} files, the first {file}"
        overlaps = run[0] > 0 and start[: len(end)] <= cube.spans[run[0] - 1][1][: len(start)]
        wrong = overlaps and any(f.code == "overlap" and f.severity is Severity.ERROR for f in cube.findings)
        colour = _OVERLAP if wrong else _FILES[number % 2]
        bars.append(_Bar(row, _year(start), _year(end, 1), colour, cube.title, _period(start, end), what))
    return bars


def _gaps(row: int, cube: "CubeFiles") -> list[_Bar]:
    missing = {f.subject: f for f in cube.findings if f.code == "gap"}
    gaps = []
    for number, ((_, end), (start, _)) in enumerate(pairwise(cube.spans), start=1):
        if found := missing.get(cube.series[0].files[number]):
            period = found.message.partition(" between ")[0]
            gaps.append(_Bar(row, _year(end, 1), _year(start), _GAP, cube.title, period, "no file"))
    return gaps


def _meets(end: str, start: str, table: str | None) -> bool:
    digits = min(len(end), len(start))
    return follows(end[:digits], start[:digits], table)


def _period(start: str, end: str) -> str:
    if len(start) == len(end) <= 8:
        return period_text(start, end)
    return f"{time_text(start)} to {time_text(end)}"


def _year(time: str, past: int = 0) -> float:
    """Return a time of a name as a decimal year in a calendar of 12 months of 30 days.

    `past` 1 gives the end of the year, month or day that it names.
    """
    year, month, day = int(time[:4]), int(time[4:6] or 1), min(int(time[6:8] or 1), 30)
    hour = int(time[8:10] or 0)
    step = {4: 1.0, 6: 1 / 12, 8: 1 / 360}.get(len(time), 0.0)
    return year + (month - 1) / 12 + (day - 1) / 360 + hour / 8640 + past * step


def _short(title: str) -> str:
    return title if len(title) <= _LABEL_LENGTH else f"{title[: _LABEL_LENGTH - 1]}…"


def _title(
    cubes: Sequence["CubeFiles"], timed: Sequence["CubeFiles"], drawn: Sequence["CubeFiles"], merged: bool
) -> str:
    notes = [f"{len(timed):,} cube{'s' if len(timed) != 1 else ''} in time"]
    if len(timed) > len(drawn):
        notes.append(f"the first {len(drawn)} drawn")
    if len(cubes) > len(timed):
        notes.append(f"{len(cubes) - len(timed):,} without time in the name")
    gaps = sum(finding.code == "gap" for cube in cubes for finding in cube.findings)
    notes.append(f"{gaps:,} gap{'s' if gaps != 1 else ''}, in red" if gaps else "no gaps")
    return " · ".join([*notes, "files that follow each other in one bar"] if merged else notes)
