"""What the file of a release holds: layers, some of them in archives inside of it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from geoetl.core.errors import FormatNotAllowed, UnreadableFile, VerificationFailed
from geoetl.store.gate import Gate

# A global release of Shapefiles is split, since none can have more than 2 GB: …_shp_0.zip, …_shp_1.zip, …
_PART = re.compile(r"_(\d{1,3})\.zip$", re.IGNORECASE)
_KINDS = ("polygons", "points")


@dataclass(frozen=True)
class Layer:
    """A layer of a release.

    Attributes:
        path: The file that it is in.
        name: What it is called there; None where it is the only one.
        part: Name of the part of the release, for messages.
    """

    path: Path
    name: str | None
    part: str


def layers_of(gate: Gate, path: Path, workspace: Path, parts: int) -> Iterator[Layer]:
    """Yield the layers of a release, part by part; of those inside, one at a time is on the disk.

    Args:
        gate: Opens archives.
        path: The file.
        workspace: Where archives inside are written to; they are removed again.
        parts: How many of them a release has.

    Raises:
        VerificationFailed: A part is missing.
        UnreadableFile: A part has no layer of polygons, or none of points.
        FormatNotAllowed: It holds a file geodatabase only.
        LimitExceeded: It unpacks too large.
    """
    if path.suffix.lower() != ".zip":
        yield Layer(path, None, path.name)
        return
    members = list(gate.archive_members(path, with_archives=True))
    inside = {int(found[1]): name for name in members if (found := _PART.search(name))}
    if not inside:
        yield from _layers(path, members, path.name)
        return
    missing = sorted(set(range(max(parts, max(inside) + 1))) - set(inside))
    if missing:
        raise VerificationFailed(
            f"The release has no part {', '.join(map(str, missing))} ({len(inside)} of {max(parts, max(inside) + 1)} "
            "are there).",
            hint="Fetch it again; if the source splits it otherwise now, say so in source_config.parts.",
            field="source_config.parts",
        )
    for number in sorted(inside):
        name = PurePosixPath(inside[number]).name
        part = workspace / f"part_{number}.zip"
        part.unlink(missing_ok=True)
        gate.unpack_member(path, inside[number], part, with_archives=True)
        try:
            layers = list(_layers(part, list(gate.archive_members(part)), name))
            for kind in _KINDS:
                if not any(kind in str(layer.name).lower() for layer in layers):
                    raise UnreadableFile(
                        f"'{name}' has no layer of {kind}.",
                        hint="Fetch it again; see whether the source packs it otherwise now.",
                        field="source_url",
                    )
            yield from layers
        finally:
            part.unlink(missing_ok=True)


def _layers(path: Path, members: list[str], part: str) -> Iterator[Layer]:
    """Yield the layers of an archive without archives inside; polygons come first."""
    shapes = [name for name in members if name.lower().endswith(".shp")]
    if shapes:
        for name in sorted(shapes, key=lambda one: ("polygon" not in one.lower(), one)):
            yield Layer(path, name, part)
        return
    if any(".gdb/" in name.lower() for name in members):
        raise FormatNotAllowed(
            f"'{part}' holds a file geodatabase, which is not opened.",
            hint="Fetch the release as Shapefile (…_shp.zip), GeoPackage or GeoJSON.",
            field="source_url",
        )
    yield Layer(path, None, part)
