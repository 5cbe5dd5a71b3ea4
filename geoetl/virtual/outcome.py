"""What became of the files of a cube."""

from collections import Counter

from geoetl.core import html
from geoetl.runs.model import MAX_ROWS_SHOWN, Result
from geoetl.store.zones import StoredFolder, StoredObject
from geoetl.virtual.describe import CubeDescription
from geoetl.virtual.inventory import CubeFiles
from geoetl.virtual.preflight import Preflight
from geoetl.virtual.verify import Verification
from geoetl.virtual.write import CubeFormat


class VirtualCube(Result):
    """A cube in the internal zone that equals its sources.

    Attributes:
        files: What it is made of.
        format: How it is written.
        references: Where its references are, or its converted store.
        snapshot: Id of the Icechunk snapshot; None for other formats.
        sources: The manifest of its source files, with their sizes and checksums.
        chunks: How many chunks it has.
        description: What its item says.
        verification: What was compared.
        protocol: How clients reach its sources, as fsspec names it: ``file``, ``s3``…
    """

    files: CubeFiles
    format: CubeFormat
    references: StoredObject | StoredFolder
    snapshot: str | None
    sources: StoredObject
    chunks: int
    description: CubeDescription
    verification: Verification
    protocol: str = "file"


class CubeOutcome(Result):
    """What became of the files of one cube.

    Attributes:
        files: The cube as the inventory named it.
        preflight: What was found before; None where no file could be read.
        cubes: The verified cube; several where its files were split; none where it was refused.
        refused: Why there is none, and what to do.
    """

    files: CubeFiles
    preflight: Preflight | None = None
    cubes: tuple[VirtualCube, ...] = ()
    refused: str | None = None


class Outcomes(Result):
    """What became of all cubes, for people."""

    outcomes: tuple[CubeOutcome, ...]
    left_out: tuple[str, ...]

    def _repr_html_(self) -> str:
        cubes = [cube for outcome in self.outcomes for cube in outcome.cubes]
        files, source = sum(len(c.files.files) for c in cubes), sum(c.files.bytes for c in cubes)
        made = html.human_bytes(sum(c.references.bytes for c in cubes))
        said = f"{len(cubes)} verified: {files} files ({html.human_bytes(source)}), references {made}"
        rows: list[tuple[object, ...]] = [
            (
                cube.files.title,
                len(cube.files.files),
                cube.format.value,
                f"{cube.chunks:,}",
                html.human_bytes(cube.references.bytes),
                cube.verification.sentence,
            )
            for cube in cubes[:MAX_ROWS_SHOWN]
        ]
        if len(cubes) > MAX_ROWS_SHOWN:
            rows.append((f"… and {len(cubes) - MAX_ROWS_SHOWN} more", "", "", "", "", ""))
        parts = [html.heading("Cubes", said), html.table(["cube", "files", "format", "chunks", "size", "check"], rows)]
        findings = [found for outcome in self.outcomes if outcome.preflight for found in outcome.preflight.findings]
        noticed = Counter((found.severity.value, found.code) for found in findings)
        example = {found.code: found.message for found in findings}
        if noticed:
            told = [
                (severity, code.replace("_", " "), count, example[code])
                for (severity, code), count in noticed.most_common()
            ]
            parts.append(html.table(["severity", "finding", "times", "for example"], told))
        if self.left_out:
            shown = [(text,) for text in self.left_out[:MAX_ROWS_SHOWN]]
            if len(self.left_out) > MAX_ROWS_SHOWN:
                shown.append((f"… and {len(self.left_out) - MAX_ROWS_SHOWN} more",))
            parts.append(html.table(["left out"], shown))
        return "".join(parts)
