"""The handler: what is new in the drop folder, whether it is sound, and rasters made of it."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, final

from geoetl.core.errors import GeoetlError, LimitExceeded, Unavailable, VerificationFailed
from geoetl.core.findings import Finding, Severity
from geoetl.core.html import human_bytes
from geoetl.core.identifiers import digest
from geoetl.core.request import Request
from geoetl.datasets.handlers.fathom.config import FathomConfig
from geoetl.datasets.handlers.fathom.describe import described
from geoetl.datasets.handlers.fathom.drop import Cell, Drop, Ready, look, lost
from geoetl.datasets.handlers.fathom.memory import Digests, KnownCell, Memo, known_cell
from geoetl.datasets.handlers.fathom.names import TileName
from geoetl.datasets.handlers.fathom.stack import BANDS, check_grid, check_unchanged, size_of, stack
from geoetl.datasets.handlers.fathom.tiles import Raster, measured, opened
from geoetl.datasets.protocol import Task
from geoetl.datasets.release import Download, Fetched, MadeBefore, Prepared, Release, Unchanged
from geoetl.datasets.upstream.errors import SourceChanged

# Lines of the plan about cells that wait.
_MOST_TOLD = 20
# Problems in one sentence.
_MOST_PROBLEMS = 3


@final
class Fathom:
    """Flood depths of FATHOM, which somebody puts into a folder: one raster for each map and cell of a grid."""

    config: ClassVar[type[Request]] = FathomConfig
    credentials: ClassVar[tuple[str, ...]] = ()
    required_columns: ClassVar[tuple[str, ...]] = ()

    def check(self, task: Task) -> Release:
        """List the drop folder; no file is opened.

        Raises:
            Unavailable: The folder cannot be read, or no cell in it is whole yet.
            NotFound, ConfigurationError, Conflict, LimitExceeded, OutsideAllowedRoots: See `look`.
        """
        seen = _Seen.of(task)
        new = seen.new()
        stamps = seen.stamps(new)
        if not stamps:
            raise Unavailable(
                f"No cell of the drop folder is whole yet. {_waiting(seen.drop)[0]}",
                hint="Run it again when everything is copied into it.",
                field="source_url",
            )
        newest = max(file.mtime_ns for one in new for file in one.files) if new else 0
        kept = set(stamps) - {one.cell.slug for one in new}
        newest = max(newest, *(file.mtime_ns for slug in kept for file in seen.known[slug].files.values()), 0)
        stamp = digest(stamps)
        return Release(
            source_version=f"{datetime.fromtimestamp(newest / 1e9, UTC):%Y-%m-%d} {stamp[:8]}",
            stamp=stamp,
            downloads=tuple(
                Download(name=one.cell.slug, url=one.files[0].path, bytes=one.bytes, etag=one.stamp) for one in new
            ),
            about=tuple(_plan(seen, new)),
            is_news=bool(new or seen.gone or not seen.known),
        )

    def fetch(self, task: Task, release: Release) -> Fetched:
        """Verify the tiles of what is new where they lie, and digest those that were not before.

        They may be terabytes: nothing is copied, so no file is told of. Their digests are in the memo, and until then
        in the folder of the release.

        Raises:
            UnreadableFile, FormatNotAllowed, VerificationFailed: Tiles are damaged, or not what their names say.
            SourceChanged: The folder is another one now than when it was checked.
            LimitExceeded: A raster would have more pixels than a limit.
            GeoetlError: See `check`.
        """
        seen = _Seen.of(task)
        wanted = [seen.ready[one.name] for one in release.downloads if one.name in seen.ready]
        # What came since then is left for the next time; what was to be taken has to be there as it was.
        if digest(seen.stamps(wanted)) != release.stamp:
            raise SourceChanged(
                "The drop folder changed after it was looked at.",
                hint="Run it again when nothing is copied into it any more.",
                field="source_url",
            )
        _verify(task, seen.drop, wanted)
        task.folder.mkdir(parents=True, exist_ok=True)
        digests = Digests(task.folder / "digests.jsonl", seen.memo.files)
        cells = {slug: cell for slug, cell in seen.known.items() if slug in seen.there}
        for one in wanted:
            task.tell(f"{one.cell.title}: {len(one.files)} files, {human_bytes(one.bytes)}")
            cells[one.cell.slug] = known_cell(one, seen.drop.folder, digests)
            for file in one.files:
                check_unchanged(seen.drop.folder, file)
        memo = Memo(grid_size=seen.grid_size, cells=dict(sorted(cells.items())))
        return Fetched(memo=memo.model_dump(mode="json"))

    def prepare(self, task: Task, release: Release, fetched: Fetched) -> Iterator[Prepared]:
        """Make the rasters of cells that are new or changed, one after the other; others stay.

        Raises:
            UnreadableFile, VerificationFailed: Pixels of a tile cannot be read, or are no depths.
            SourceChanged: A file changed since it was fetched.
            Unavailable: The disk is full.
        """
        folder = task.gate.resolve(task.definition.source_url, field="source_url")
        memo = Memo.of(fetched)
        known = Memo.of(task.live).on(memo.grid_size)
        live = {item["id"] for item in task.live.items} if task.live is not None else set()
        for slug, made_of in memo.cells.items():
            is_live = slug in known and f"{task.definition.target_table_name}_{slug}" in live
            if is_live and known[slug].content(memo.grid_size) == made_of.content(memo.grid_size):
                yield Unchanged(suffix=f"_{slug}")
                continue
            content = made_of.content(memo.grid_size)
            if task.is_made(f"_{slug}", content):
                yield MadeBefore(suffix=f"_{slug}")
                continue
            files = made_of.listed()
            cell = Cell.of(files[0].name, memo.grid_size)
            task.tell(f"{cell.title}: {len(files)} files become one raster")
            stack(task.gate, folder, cell, files, task.workspace / f"{slug}.tif")
            before = known[slug].files if slug in known else ()
            made = described(cell, files, f"{slug}.tif", task.definition.name)
            yield made.model_copy(update={"content": content, "findings": _lost(before, made_of.files)})


def _lost(before: Iterable[str], now: Iterable[str]) -> tuple[Finding, ...]:
    """Return what is to be looked at: tiles that the live raster has and the folder has no more, however named."""
    there = {TileName.parse(path).corner for path in now}
    gone = sorted({str(corner) for path in before if (corner := TileName.parse(path).corner) not in there})
    if not gone:
        return ()
    message = f"{len(gone)} tiles of the live raster are not in the drop folder any more: {_some(gone)}."
    return (Finding(severity=Severity.ERROR, code="tiles_lost", message=message),)


@dataclass(frozen=True)
class _Seen:
    """The drop folder beside what is known of it.

    Attributes:
        grid_size: Degrees that a cell covers.
        drop: What lies in the folder.
        memo: What is remembered of the live version.
        known: Of that, the cells that are still the same squares, by slug.
        ready: Cells that can be made, by slug.
    """

    grid_size: int
    drop: Drop
    memo: Memo
    known: Mapping[str, KnownCell]
    ready: Mapping[str, Ready]

    @classmethod
    def of(cls, task: Task) -> "_Seen":
        """Look at the folder."""
        config = FathomConfig(**task.definition.source_config)
        drop = look(task, config, time.time())
        memo = Memo.of(task.live)
        return cls(config.grid_size, drop, memo, memo.on(config.grid_size), {one.cell.slug: one for one in drop.ready})

    @property
    def there(self) -> set[str]:
        """Cells of which there are files, whole or not."""
        return {*self.ready, *(one.cell.slug for one in self.drop.waiting)}

    @property
    def gone(self) -> list[str]:
        """Cells of the live version of which there is no file any more."""
        return sorted(set(self.known) - self.there)

    def new(self) -> list[Ready]:
        """Return the cells whose files are not those of the live version."""
        return [
            one for slug, one in self.ready.items() if slug not in self.known or self.known[slug].stamp != one.stamp
        ]

    def stamps(self, taken: Sequence[Ready]) -> dict[str, str]:
        """Return the stamp of each cell of a version for which some are taken, and the others stay as they are."""
        there = self.there
        kept = {slug: cell.stamp for slug, cell in self.known.items() if slug in there}
        return kept | {one.cell.slug: one.stamp for one in taken}


def _plan(seen: _Seen, new: Sequence[Ready]) -> Iterator[str]:
    """Tell what an update would do, and what was noticed."""
    changed = sum(one.cell.slug in seen.known for one in new)
    stay = len(seen.known) - len(seen.gone) - changed
    yield f"{len(new) - changed} rasters are new, {changed} changed, {len(seen.gone)} gone; {stay} stay as they are."
    if seen.gone:
        yield f"Gone: {_some(seen.gone)}."
    waiting = {one.cell.slug for one in seen.drop.waiting}
    before = [path for slug, cell in seen.known.items() if slug not in waiting for path in cell.files]
    if told := lost(before, [file.path for one in seen.drop.ready for file in one.files]):
        yield told
    if seen.memo.cells and not seen.known:
        yield f"The grid was of {seen.memo.grid_size} degrees: all rasters are made anew."
    yield from _waiting(seen.drop)
    yield from seen.drop.ignored


def _waiting(drop: Drop) -> list[str]:
    told = [f"{one.cell.slug} waits: it {one.reason}." for one in drop.waiting]
    more = len(told) - _MOST_TOLD
    return [*told[:_MOST_TOLD], *([f"{more} more cells wait."] if more > 0 else [])]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
    return ", ".join(names[:_MOST_TOLD]) + more


def _verify(task: Task, drop: Drop, wanted: Sequence[Ready]) -> None:
    """Look at the header of every tile before any is read, so that all that is wrong is told at once.

    Raises:
        GeoetlError: That of the only problem, or a VerificationFailed about several.
    """
    problems: list[GeoetlError] = []
    for one in wanted:
        first: Raster | None = None
        for file in one.files:
            try:
                with opened(task.gate, drop.folder, file) as dataset:
                    found = measured(dataset, file)
                if first is None:
                    first = found
                    _check_size(task, one.cell, found)
                check_grid(found, first, file)
            except LimitExceeded:
                raise
            except GeoetlError as error:
                problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        more = f" And {len(problems) - _MOST_PROBLEMS} more." if len(problems) > _MOST_PROBLEMS else ""
        raise VerificationFailed(
            f"{len(problems)} tiles are not right. {' '.join(one.detail for one in problems[:_MOST_PROBLEMS])}{more}",
            hint="Copy them into the drop folder again, or leave them out of it. What is served stays as it is.",
            field="source_url",
        )


def _check_size(task: Task, cell: Cell, raster: Raster) -> None:
    width, height = size_of(cell, raster)
    limit = task.gate.limits.raster_pixels
    if width * height * len(BANDS) > limit:
        raise LimitExceeded(
            f"A raster of {cell.size} x {cell.size} degrees has {width * height * len(BANDS):,} values "
            f"({width} x {height} pixels in {len(BANDS)} bands); the limit is {limit:,}.",
            hint="Give a smaller grid_size in source_config, or raise GEOETL_LIMITS__RASTER_PIXELS.",
            field="grid_size",
        )
