"""What lies in the drop folder: its files by name, size and time of change, put together to cells.

No file is opened here, so that a folder of terabytes is looked at in seconds.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from geoetl.core.errors import (
    ConfigurationError,
    Conflict,
    InvalidParameter,
    LimitExceeded,
    NotFound,
    Unavailable,
)
from geoetl.core.identifiers import digest
from geoetl.datasets.handlers.fathom.config import FathomConfig
from geoetl.datasets.handlers.fathom.names import RETURN_PERIODS, Corner, TileName, Variant
from geoetl.datasets.protocol import Task

# Files of one dataset: what is remembered of each goes into one row of the database.
MAX_FILES = 200_000
# Below the drop folder; their layouts need three.
MAX_DEPTH = 12
# What file systems keep for themselves; often nobody else may look into it.
_NOT_DELIVERED = ("lost+found", "System Volume Information", "$RECYCLE.BIN")
# Names in one sentence.
_LISTED = 4


@dataclass(frozen=True, slots=True)
class DropFile:
    """A tile of one return period as it lies in the folder.

    Attributes:
        path: Below the drop folder.
        name: What its name says.
        bytes: Its size.
        mtime_ns: When it was changed last: nanoseconds of Unix time.
    """

    path: str
    name: TileName
    bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A raster that is made: one map in a square of whole degrees.

    Attributes:
        variant: Which map.
        corner: Its south-west corner; a multiple of `size`, or the edge of the world.
        size: Degrees of latitude and longitude.
    """

    variant: Variant
    corner: Corner
    size: int

    @classmethod
    def of(cls, name: TileName, size: int) -> "Cell":
        """Return that which holds a tile."""
        south, west = (degrees // size * size for degrees in (name.corner.south, name.corner.west))
        return cls(name.variant, Corner(max(south, -90), max(west, -180)), size)

    @property
    def slug(self) -> str:
        """For ids: "fluvial_defended_2020_n05w010"."""
        return f"{self.variant.slug}_{self.corner}"

    @property
    def title(self) -> str:
        """For people: "River flood depth with defences, 2020, n05w010"."""
        return f"{self.variant.title}, {self.corner}"

    @property
    def north(self) -> int:
        """Its northern edge, degrees; cells end at the pole."""
        return min(self.corner.south // self.size * self.size + self.size, 90)

    @property
    def east(self) -> int:
        """Its eastern edge, degrees; cells end at the antimeridian."""
        return min(self.corner.west // self.size * self.size + self.size, 180)


@dataclass(frozen=True)
class Ready:
    """A cell whose files are whole.

    Attributes:
        cell: Which.
        files: Each tile with all its return periods, by corner and return period.
        stamp: What tells this state of its files from others.
    """

    cell: Cell
    files: tuple[DropFile, ...]
    stamp: str

    @property
    def bytes(self) -> int:
        """Their size together."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True)
class Waiting:
    """A cell that lacks something.

    Attributes:
        cell: Which.
        reason: What, in a sentence without its subject: "lacks 1in500 of n04w006".
    """

    cell: Cell
    reason: str


@dataclass(frozen=True)
class Drop:
    """What lies in the folder and is wanted.

    Attributes:
        folder: The folder itself.
        ready: Cells that can be made, in the order of their slugs.
        waiting: Those that cannot yet.
        ignored: What was left out and why, in sentences.
    """

    folder: Path
    ready: tuple[Ready, ...]
    waiting: tuple[Waiting, ...]
    ignored: tuple[str, ...]


@dataclass
class _Seen:
    files: list[DropFile] = field(default_factory=list)
    unwanted: int = 0
    strange: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def look(task: Task, config: FathomConfig, now: float) -> Drop:
    """List the drop folder.

    Args:
        task: The update; its definition names the folder.
        config: Which tiles are wanted, and how they are put together.
        now: Unix time; files that changed shortly before are still being written.

    Raises:
        NotFound: There is no such folder, or no tile in it: it may not be mounted.
        Conflict: A tile is there twice, or tiles of several layouts or versions.
        ConfigurationError: It is no folder, or no tile in it is wanted.
        OutsideAllowedRoots, Unavailable, LimitExceeded: The folder cannot be read.
    """
    folder = _resolved(task)
    seen = _Seen()
    try:
        for path, entry in _walk(folder, "", 0):
            _take(task, seen, config, path, entry)
    except OSError as error:
        raise Unavailable(
            f"The drop folder '{folder.name}' cannot be read: {error.strerror or 'its disk does not answer'}.",
            hint="See whether it is mounted, and whether its files may be read.",
            field="source_url",
        ) from None
    if not seen.files and not seen.unwanted:
        strange = sum(map(len, seen.strange.values()))
        raise NotFound(
            f"The drop folder '{folder.name}' holds no tile of FATHOM"
            + (f", although {strange} other files: {_named(seen.strange)}." if strange else ": it is empty."),
            hint="See whether it is mounted, and whether the files keep the names that they came with. "
            "What is served stays as it is.",
            field="source_url",
        )
    if not seen.files:
        raise ConfigurationError(
            f"None of the {seen.unwanted} tiles in '{folder.name}' is wanted.",
            hint="See bbox, regions, flood_types, years and ssp_scenarios in source_config.",
            field="source_config",
        )
    _check_alike(seen.files)
    ready, waiting = _cells(seen.files, config, now)
    return Drop(folder, ready, waiting, tuple(_told(seen)))


def _resolved(task: Task) -> Path:
    source = task.definition.source_url
    try:
        folder = task.gate.resolve(source, field="source_url")
    except NotFound:
        raise NotFound(
            f"There is no drop folder '{Path(source).name}'.",
            hint="Mount or make it. What is served stays as it is.",
            field="source_url",
        ) from None
    if not folder.is_dir():
        raise ConfigurationError(
            f"'{folder.name}' is a file, not a drop folder.", hint="Name the folder that holds it.", field="source_url"
        )
    return folder


def _walk(folder: Path, below: str, depth: int) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Give each file with its name below the drop folder; links to folders are files here: one may lead in a circle."""
    if depth > MAX_DEPTH:
        raise LimitExceeded(
            f"The drop folder has folders in more than {MAX_DEPTH} levels, below '{below[:60]}'.",
            hint="Name the folder that the tiles lie in.",
            field="source_url",
        )
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if not entry.is_dir(follow_symlinks=False):
            yield below + entry.name, entry
        elif not entry.name.startswith(".") and entry.name not in _NOT_DELIVERED:
            yield from _walk(folder / entry.name, f"{below}{entry.name}/", depth + 1)


def _take(task: Task, seen: _Seen, config: FathomConfig, path: str, entry: os.DirEntry[str]) -> None:
    try:
        name = TileName.parse(path)
    except InvalidParameter as error:
        seen.strange[error.detail].append(path)
        return
    if not config.wants(name):
        seen.unwanted += 1
        return
    if entry.is_symlink() and not task.gate.allows(Path(entry.path).resolve()):
        seen.strange["It is a link to where nothing may be read."].append(path)
        return
    if not entry.is_file():
        seen.strange["It is no file."].append(path)
        return
    stat = entry.stat()
    seen.files.append(DropFile(path, name, stat.st_size, stat.st_mtime_ns))
    if len(seen.files) > MAX_FILES:
        raise LimitExceeded(
            f"More than {MAX_FILES:,} tiles are wanted.",
            hint="Make several datasets of them, each with a part of flood_types, ssp_scenarios or regions.",
            field="source_config",
        )


def _check_alike(files: Sequence[DropFile]) -> None:
    """Refuse what could be taken for one another.

    Raises:
        Conflict: See `look`.
    """
    layouts = {(file.name.layout, file.name.version): file.path for file in files}
    if len(layouts) > 1:
        shown = " and ".join(f"'{path}'" for path in list(layouts.values())[:_LISTED])
        raise Conflict(
            f"The drop folder has tiles of {len(layouts)} layouts or versions, such as {shown}.",
            hint="Keep one delivery in it, or make a dataset of each with a folder of its own.",
            field="source_url",
        )
    first: dict[tuple[Variant, int, Corner], DropFile] = {}
    twice = []
    for file in files:
        key = (file.name.variant, file.name.return_period, file.name.corner)
        other = first.setdefault(key, file)
        if other is not file:
            twice.append(f"'{other.path}' and '{file.path}'")
    if twice:
        more = f", and {len(twice) - _LISTED} more" if len(twice) > _LISTED else ""
        raise Conflict(
            f"Tiles are there twice: {'; '.join(twice[:_LISTED])}{more}.",
            hint="Remove one of each: which is the right one cannot be told from here.",
            field="source_url",
        )


def _cells(
    files: Iterable[DropFile], config: FathomConfig, now: float
) -> tuple[tuple[Ready, ...], tuple[Waiting, ...]]:
    by_cell: dict[Cell, list[DropFile]] = defaultdict(list)
    for file in files:
        by_cell[Cell.of(file.name, config.grid_size)].append(file)
    ready, waiting = [], []
    for cell in sorted(by_cell, key=lambda cell: cell.slug):
        members = sorted(by_cell[cell], key=lambda file: (file.name.corner, file.name.return_period))
        reason = _unsettled(members, config.settle_minutes, now) or _incomplete(members)
        if reason:
            waiting.append(Waiting(cell, reason))
        else:
            stamp = digest([cell.size, [[file.path, file.bytes, file.mtime_ns] for file in members]])
            ready.append(Ready(cell, tuple(members), stamp))
    return tuple(ready), tuple(waiting)


def _unsettled(files: Sequence[DropFile], settle_minutes: float, now: float) -> str:
    newest = max(files, key=lambda file: file.mtime_ns)
    if newest.mtime_ns / 1e9 <= now - settle_minutes * 60:
        return ""
    at = datetime.fromtimestamp(newest.mtime_ns / 1e9, UTC)
    return f"may still be written to: '{newest.path}' changed at {at:%Y-%m-%d %H:%M:%S} UTC"


def _incomplete(files: Sequence[DropFile]) -> str:
    present: dict[Corner, set[int]] = defaultdict(set)
    for file in files:
        present[file.name.corner].add(file.name.return_period)
    lacking = [
        f"{' and '.join(f'1in{period}' for period in RETURN_PERIODS if period not in there)} of {corner}"
        for corner, there in present.items()
        if len(there) < len(RETURN_PERIODS)
    ]
    more = f" and {len(lacking) - _LISTED} more tiles" if len(lacking) > _LISTED else ""
    return f"lacks {', '.join(lacking[:_LISTED])}{more}" if lacking else ""


def _told(seen: _Seen) -> Iterator[str]:
    for reason, paths in seen.strange.items():
        yield f"{_counted(len(paths), 'file')} left out: {_listed(paths)}. {reason}"
    if seen.unwanted:
        yield f"{_counted(seen.unwanted, 'file')} of other places, flood types, years or scenarios left out."


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' if count != 1 else ''}"


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _LISTED} more" if len(paths) > _LISTED else ""
    return ", ".join(f"'{path[:200]}'" for path in paths[:_LISTED]) + more


def _named(strange: dict[str, list[str]]) -> str:
    return _listed([path for paths in strange.values() for path in paths])


def lost(before: Iterable[str], now: Iterable[str]) -> str:
    """Tell how many tiles are gone of those that were there, by folder; empty where none is."""
    gone = sorted(set(before) - set(now))
    if not gone:
        return ""
    folders = Counter(path.split("/")[0] for path in gone)
    return f"{_counted(len(gone), 'file')} of {', '.join(list(folders)[:_LISTED])} gone since the version before."
