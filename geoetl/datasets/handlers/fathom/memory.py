"""What is remembered from version to version: of what each cell was made, and the digests of its files."""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from geoetl.core.errors import Unavailable
from geoetl.core.identifiers import digest, file_digest
from geoetl.datasets.handlers.fathom.drop import DropFile, Ready
from geoetl.datasets.handlers.fathom.names import TileName
from geoetl.datasets.release import Fetched
from geoetl.datasets.version import Version
from geoetl.runs.model import Result

# Raised when rasters are made otherwise of the same files; they are all made anew then.
RECIPE = 1


class KnownFile(Result):
    """A file as it was.

    Attributes:
        bytes: Its size.
        mtime_ns: When it was changed last.
        sha256: Its digest.
    """

    bytes: int
    mtime_ns: int
    sha256: str


class KnownCell(Result):
    """Of what the raster of a cell was made.

    Attributes:
        stamp: That of its files as they were listed.
        files: By their names below the drop folder.
    """

    stamp: str
    files: dict[str, KnownFile]

    def content(self, size: int) -> str:
        """Return what tells its raster from others: what is in its files, whatever their layout and times.

        Args:
            size: Degrees that it covers.
        """
        parts = []
        for path, file in self.files.items():
            name = TileName.parse(path)
            parts.append([str(name.corner), name.return_period, file.sha256])
        return digest([RECIPE, size, sorted(parts)])

    def listed(self) -> tuple[DropFile, ...]:
        """Return its files by corner and return period."""
        found = [DropFile(path, TileName.parse(path), file.bytes, file.mtime_ns) for path, file in self.files.items()]
        return tuple(sorted(found, key=lambda file: (file.name.corner, file.name.return_period)))


class Memo(Result):
    """What the handler wants to know next time.

    Attributes:
        grid_size: Degrees that each cell covers.
        cells: By their slugs.
    """

    grid_size: int = 0
    cells: dict[str, KnownCell] = Field(default_factory=dict)

    @classmethod
    def of(cls, version: Version | Fetched | None) -> "Memo":
        """Return that of a version, or of what was fetched; an empty one where there is none."""
        return cls() if version is None else cls.model_validate(version.memo)

    def on(self, grid_size: int) -> Mapping[str, KnownCell]:
        """Return the cells that are still the same squares; none where the grid is another now."""
        return self.cells if self.grid_size == grid_size else {}

    @property
    def files(self) -> dict[str, KnownFile]:
        """All files of all cells, by their names."""
        return {path: file for cell in self.cells.values() for path, file in cell.files.items()}


class Digests:
    """Digests of files, so that each is read once, also when an update goes on after it was interrupted.

    Args:
        log: Where they are written as soon as they are known, a line for each.
        known: Those of the version before.
    """

    def __init__(self, log: Path, known: Mapping[str, KnownFile]) -> None:
        self._log = log
        self._known = dict(known)
        if log.is_file():
            for line in log.read_text("utf-8").splitlines():
                try:
                    path, file = json.loads(line)
                except ValueError:
                    continue  # cut off where the update was interrupted; that file is read again
                self._known[path] = KnownFile.model_validate(file)

    def has(self, file: DropFile) -> bool:
        """Tell whether a file need not be read: its size and time of change are those of one that was."""
        known = self._known.get(file.path)
        return known is not None and (known.bytes, known.mtime_ns) == (file.bytes, file.mtime_ns)

    def of(self, folder: Path, file: DropFile) -> KnownFile:
        """Return the digest of a file below the drop folder; read it where it is not known.

        Raises:
            Unavailable: It cannot be read.
        """
        if not self.has(file):
            try:
                sha256 = file_digest(folder / file.path)
            except OSError as error:
                raise Unavailable(
                    f"'{file.path}' cannot be read: {error.strerror or 'its disk does not answer'}.",
                    hint="See whether the drop folder is mounted, and whether its files may be read.",
                    field="source_url",
                ) from None
            found = KnownFile(bytes=file.bytes, mtime_ns=file.mtime_ns, sha256=sha256)
            self._known[file.path] = found
            with self._log.open("a", encoding="utf-8") as log:
                log.write(json.dumps([file.path, found.model_dump()]) + "\n")
        return self._known[file.path]


def known_cell(ready: Ready, folder: Path, digests: Digests) -> KnownCell:
    """Return a cell with the digests of its files."""
    return KnownCell(stamp=ready.stamp, files={file.path: digests.of(folder, file) for file in ready.files})
