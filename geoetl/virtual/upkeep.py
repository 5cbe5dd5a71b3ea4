"""Keep a registered cube in step with its sources: check them, add later files, follow them to another place."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoetl.core import html
from geoetl.core.errors import InvalidParameter, VerificationFailed
from geoetl.core.findings import Finding, Severity, sentences
from geoetl.runs.model import Result
from geoetl.store.gate import Gate
from geoetl.store.remote import SourcePath, is_remote
from geoetl.store.sources import check_sources
from geoetl.virtual import icechunk
from geoetl.virtual.build import CubePublisher, opened, verify_cube
from geoetl.virtual.combine import as_header, extend, fitted
from geoetl.virtual.inventory import CubeFiles, FileSeries
from geoetl.virtual.manifest import CubeManifest
from geoetl.virtual.outcome import VirtualCube
from geoetl.virtual.preflight import Verdict, preflight
from geoetl.virtual.read import read_headers
from geoetl.virtual.verify import Verification
from geoetl.virtual.write import CubeFormat, read_known, write_references


class CubeCheck(Result):
    """Whether a cube still equals its sources.

    Attributes:
        item: Its id.
        sources: How many source files it has.
        findings: Sources that are gone or changed, and values that differ; none when all is well.
        verification: What was compared; None where sources are gone or changed.
    """

    item: str
    sources: int
    findings: tuple[Finding, ...]
    verification: Verification | None

    @property
    def is_right(self) -> bool:
        """Tell whether nothing was found."""
        return not self.findings

    def _repr_html_(self) -> str:
        count = len(self.findings)
        said = self.verification.sentence if self.verification else f"{count} finding{'s' if count > 1 else ''}"
        rows = [(f.severity.value, f.message, f.remedy or "") for f in self.findings]
        table = html.table(["severity", "finding", "what to do"], rows) if rows else ""
        return html.heading(self.item, f"{self.sources} sources, {said}") + table


@dataclass(frozen=True)
class StoredCube:
    """A registered cube whose references are on this machine.

    Args:
        item: Its STAC item.
        path: Its references: a file, or a folder.
        format: How they are written.
    """

    item: Mapping[str, Any]
    path: Path
    format: CubeFormat

    @property
    def collection(self) -> str:
        """Id of its collection."""
        return str(self.item["collection"])

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.item["id"])

    def known(self) -> CubeManifest:
        """Read the cube back from its references.

        Raises:
            UnreadableFile: They are damaged, or not ours.
        """
        return read_known(self.path, self.format)

    def files(self, manifest: CubeManifest) -> CubeFiles:
        """Return what the cube is made of, for an item of the same id."""
        properties = self.item["properties"]
        facets = {name.removeprefix("cmip6:"): str(value) for name, value in properties.items() if "cmip6:" in name}
        version = {"version": str(properties["version"])} if "version" in properties else {}
        return CubeFiles(
            id=self.id,
            title=str(properties.get("title", self.id)),
            facets={**facets, **version},
            series=(FileSeries(variable=None, member=None, files=tuple(s.address for s in manifest.sources)),),
            bytes=sum(source.bytes for source in manifest.sources),
        )


def check(gate: Gate, cube: StoredCube) -> CubeCheck:
    """Compare a cube with its sources again: first whether they are the same files, then times and values.

    Raises:
        UnreadableFile: The references are damaged, or not ours.
    """
    known = cube.known()
    findings = check_sources(known.sources, gate.stamps)
    verification = None
    if not findings:
        try:
            with opened(gate, cube.path, cube.format) as raw:
                verification = verify_cube(gate, raw, known)
        except VerificationFailed as error:
            findings = (
                Finding(severity=Severity.ERROR, code="values_differ", message=error.detail, remedy=error.hint),
            )
    return CubeCheck(item=cube.id, sources=len(known.sources), findings=findings, verification=verification)


def append(publisher: CubePublisher, scratch: Path, cube: StoredCube, paths: Sequence[SourcePath]) -> VirtualCube:
    """Add later files to a cube; the files that it has are not opened again.

    Args:
        publisher: Where the new references go; the old ones stay as they are.
        scratch: Folder for files on their way.
        cube: The cube.
        paths: The new files, as `Gate.locate` returned them.

    Raises:
        InvalidParameter: The cube has several members or variables of their own files, no time, or is converted.
        VerificationFailed: A file does not fit behind the others; the message says why.
    """
    known = cube.known()
    _check_can_grow(cube, known)
    headers = [fitted(header, known) for header in read_headers(publisher.gate, paths, known.variables)]
    before = as_header(known)
    checked = preflight([before, *headers], fill_is_missing=cube.format is not CubeFormat.ICECHUNK)
    if checked.verdict is not Verdict.VIRTUALISE or checked.groups[0][0] != before.address:
        errors = [finding for finding in checked.findings if finding.severity is Severity.ERROR]
        raise VerificationFailed(
            sentences(errors[:3]) or f"The new files begin before '{known.sources[-1].name}' ends.",
            hint="Give only later files that agree with those of the cube, or build the cube again from all of them.",
            field="source",
        )
    by_address = {header.address: header for header in headers}
    whole = extend(known, [by_address[address] for address in checked.groups[0][1:]])
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        written = Path(folder) / "references"
        if cube.format is CubeFormat.ICECHUNK:
            shutil.copytree(cube.path, written)
            new = whole.after(known.steps, len(known.sources))
            snapshot: str | None = icechunk.append_to_repository(new, known, written)
        else:
            snapshot = write_references(whole, cube.format, written)
        return publisher.put(written, cube.format, snapshot, whole, cube.files(whole), known=known)


def _check_can_grow(cube: StoredCube, known: CubeManifest) -> None:
    reason = None
    if not known.steps:
        reason = "has no time"
    elif len({(source.member, source.variables) for source in known.sources}) > 1:
        reason = "is joined from several variables or members"
    if reason:
        raise InvalidParameter(
            f"Nothing can be added to '{cube.id}': it {reason}.", hint="Build it again from all files.", field="item"
        )


def relocate(publisher: CubePublisher, scratch: Path, cube: StoredCube, old: str, new: str) -> VirtualCube:
    """Write the references of a cube whose source files were moved, and compare them with the files where they are now.

    Args:
        publisher: Where the new references go; the old ones stay as they are.
        scratch: Folder for files on their way.
        cube: The cube.
        old: The folder or URL that its sources were under.
        new: The one that they are under now.

    Raises:
        InvalidParameter: A source is not under `old`, or the cube is an Icechunk repository.
        VerificationFailed: A file there differs from the one that was indexed.
    """
    if cube.format is CubeFormat.ICECHUNK:
        raise InvalidParameter(
            "The sources of an Icechunk repository cannot be moved: its chunks name them one by one.",
            hint="Build the cube again from the files where they are now.",
            field="item",
        )
    if is_remote(old) != is_remote(new):
        raise InvalidParameter(
            "Files of this machine and objects of a store are told apart by other marks: a cube cannot follow them "
            "from one to the other.",
            hint="Build the cube again from the files where they are now.",
            field="new",
        )
    try:
        moved = cube.known().relocated(old, new)
    except ValueError as error:
        raise InvalidParameter(f"{error}.", hint="Give the folder that all sources were under.", field="old") from None
    publisher.gate.locate_all([source.address for source in moved.sources])
    if findings := check_sources(moved.sources, publisher.gate.stamps):
        raise VerificationFailed(
            sentences(findings[:3]), hint="Copy the files again, or build the cube from them.", field="new"
        )
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        written = Path(folder) / "references"
        write_references(moved, cube.format, written)
        return publisher.put(written, cube.format, None, moved, cube.files(moved))
