"""Make one cube: look at its files, join them, write the references, read them back and compare."""

import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import GeoetlError, InvalidParameter, UnreadableFile, VerificationFailed
from geoetl.core.findings import Finding, Severity, sentences
from geoetl.core.identifiers import digest, file_digest
from geoetl.store.gate import Gate, first_line
from geoetl.store.remote import RemoteFile, SourcePath, is_remote
from geoetl.store.sources import SourceFile, digest_of
from geoetl.store.zones import StoredFolder, StoredObject, Zone
from geoetl.virtual.cmip6 import cross_check
from geoetl.virtual.combine import MEMBER, combine, merge_variables, mixed_arrays, stack_members
from geoetl.virtual.convert import convert
from geoetl.virtual.describe import CubeDescription, describe
from geoetl.virtual.header import TIME, FileHeader
from geoetl.virtual.inventory import CubeFiles, FileSeries
from geoetl.virtual.manifest import CubeManifest
from geoetl.virtual.naming import FILE, grammar
from geoetl.virtual.outcome import CubeOutcome, VirtualCube
from geoetl.virtual.preflight import Preflight, Verdict, preflight
from geoetl.virtual.read import read_headers
from geoetl.virtual.request import CubeRequest
from geoetl.virtual.verify import Verification, verify
from geoetl.virtual.write import CubeFormat, chosen_format, write_references

if TYPE_CHECKING:
    import xarray as xr

# What h5py, xarray, zarr and VirtualiZarr raise on files that they do not understand.
LIBRARY_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    zlib.error,
)


def source_paths(gate: Gate, request: CubeRequest, names: Sequence[str]) -> list[SourcePath]:
    """Return where files lie that the inventory of a request named."""
    source = gate.locate(request.source)
    root = source.parent if source.is_file() else source
    return gate.locate_all([str(root / name) for name in names])


@contextmanager
def opened(gate: Gate, path: Path, format: CubeFormat) -> "Iterator[xr.Dataset]":
    """Open references as the numbers are stored: nothing masked, scaled or decoded."""
    if format is CubeFormat.ICECHUNK:
        cube = gate.open_icechunk(path, decode_cf=False)
    else:
        cube = gate.open_references(path, decode_cf=False)
    with cube, _told_as_ours(format):
        yield cube


@contextmanager
def _told_as_ours(format: CubeFormat) -> Iterator[None]:
    """Turn what Icechunk raises when it cannot fetch a chunk into an error of ours."""
    if format is not CubeFormat.ICECHUNK:
        yield
        return
    import icechunk

    try:
        yield
    except icechunk.IcechunkError as error:
        raise UnreadableFile(
            f"A chunk cannot be read: {first_line(error)}.",
            hint="A source file is damaged, or changed while it was read.",
            field="source",
        ) from None


def decoded(raw: "xr.Dataset") -> "xr.Dataset":
    """Return a cube as `opened` gives it with its values and times decoded, times as cftime."""
    import xarray as xr

    return xr.decode_cf(raw, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True))


def verify_cube(gate: Gate, raw: "xr.Dataset", manifest: CubeManifest) -> Verification:
    """Compare the files of each variable and member with their part of the cube.

    Args:
        gate: Opens the sources.
        raw: The cube, as `opened` gives it.
        manifest: Where its sources lie.

    Raises:
        VerificationFailed: Something differs.
    """
    done = Verification(chunks_compared=0, chunks_total=0, values_compared=0, times_compared=0)
    members: dict[str | None, int] = {}
    for (member, variables), group in groupby(manifest.sources, key=lambda source: (source.member, source.variables)):
        part = raw if member is None else raw.isel({MEMBER: members.setdefault(member, len(members))})
        paths = gate.locate_all([source.address for source in group])
        done += verify(gate, part, paths, variables or manifest.variables)
    return done


@dataclass(frozen=True)
class CubePublisher:
    """Puts finished cubes into the internal zone.

    Args:
        gate: Opens sources and references.
        zone: The internal zone.
        collection: Id of the collection that the cubes belong to.
    """

    gate: Gate
    zone: Zone
    collection: str

    def put(
        self,
        written: Path,
        format: CubeFormat,
        snapshot: str | None,
        manifest: CubeManifest,
        files: CubeFiles,
        *,
        known: CubeManifest | None = None,
    ) -> VirtualCube:
        """Compare references that were written with their sources, and put them into the zone.

        Args:
            written: The references: a file, or a folder.
            format: How they are written.
            snapshot: Id of the Icechunk snapshot; None for other formats.
            manifest: The cube.
            files: What it is made of.
            known: The part at its beginning that was compared before; only what lies behind is compared now.

        Raises:
            VerificationFailed: Something read through the references differs from the sources; nothing is put.
        """
        with opened(self.gate, written, format) as raw:
            if known is None:
                verification = verify_cube(self.gate, raw, manifest)
            else:
                paths = self.gate.locate_all([source.address for source in manifest.sources[len(known.sources) :]])
                later = raw.isel({TIME: slice(known.steps, None)})
                verification = verify(self.gate, later, paths, manifest.variables)
            description = describe(decoded(raw), list(manifest.variables))
        chunks = manifest.chunk_count
        return self.put_verified(written, format, snapshot, chunks, description, verification, manifest.sources, files)

    def put_verified(
        self,
        written: Path,
        format: CubeFormat,
        snapshot: str | None,
        chunks: int,
        description: CubeDescription,
        verification: Verification,
        sources: Sequence[SourceFile],
        files: CubeFiles,
    ) -> VirtualCube:
        """Put a cube that was compared with its sources into the zone, with the manifest of its sources."""
        owner = f"{self.collection}/{files.id}"
        listed = [source.model_dump(mode="json", exclude_defaults=True) for source in sources]
        version = digest([snapshot, listed, chunks])[:8]
        stem = f"cubes/{self.collection}/{files.id}/{files.id[:120]}-{version}"
        with tempfile.TemporaryDirectory(dir=written.parent) as folder:
            manifest = Path(folder) / "sources.json"
            manifest.write_text(json.dumps({"files": listed}, indent=1), "utf-8")
            stored_sources = self.zone.put(manifest, f"{stem}.sources.json", owner=owner)
        stored: StoredObject | StoredFolder
        if format.is_folder:
            stored = self.zone.put_folder(written, f"{stem}.{format.value}", owner=owner)
        else:
            stored = self.zone.put(written, f"{stem}.json", owner=owner)
        return VirtualCube(
            files=files,
            format=format,
            references=stored,
            snapshot=snapshot,
            sources=stored_sources,
            chunks=chunks,
            description=description,
            verification=verification,
            protocol=next((s.address.partition("://")[0] for s in sources if is_remote(s.address)), "file"),
        )


@dataclass(frozen=True)
class CubeBuilder:
    """Makes one cube of an inventory; picklable, so that processes and Dask can run it.

    Args:
        publisher: Where it goes.
        request: How it is wanted.
        scratch: Folder for files on their way.
    """

    publisher: CubePublisher
    request: CubeRequest
    scratch: Path

    def __call__(self, files: CubeFiles) -> CubeOutcome:
        """Build, write and verify; a cube that cannot be right is returned as refused, with the reason."""
        checked: Preflight | None = None
        try:
            if len(files.series) > 1:
                return CubeOutcome(files=files, cubes=(self._joined(files),))
            headers = self._headers(files.series[0])
            checked, format = self._checked(headers)
            checked = checked.model_copy(update={"findings": (*checked.findings, *self._misnamed(headers))})
            self._check_companions(files, headers)
            is_refused = checked.verdict is not Verdict.VIRTUALISE
            if format is CubeFormat.ZARR or (is_refused and self.request.when_refused == "convert"):
                # A store may hold what references cannot; only different grids, calendars and the like are apart.
                is_apart = checked.verdict is Verdict.CONVERT
                parts = [part for _, part in self._parts(files, headers, checked)] if is_apart else [files]
                cubes = [self._converted(part) for part in parts]
            else:
                self._check_accepted(checked)
                cubes = [
                    self._written(self._combined(group), part, format)
                    for group, part in self._parts(files, headers, checked)
                ]
        except GeoetlError as error:
            if error.retryable:
                raise
            return CubeOutcome(files=files, preflight=checked, refused=str(error).replace("\n", " "))
        except LIBRARY_ERRORS as error:
            # A damaged or odd file may fail anywhere in the libraries that read it; it must not stop the other cubes.
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
            said = f"{_told(files)} cannot be referenced ({reason})."
            return CubeOutcome(files=files, preflight=checked, refused=said)
        return CubeOutcome(files=files, preflight=checked, cubes=tuple(cubes))

    @property
    def _gate(self) -> Gate:
        return self.publisher.gate

    def _headers(self, series: FileSeries) -> list[FileHeader]:
        paths = source_paths(self._gate, self.request, series.files)
        if any(isinstance(path, RemoteFile) for path in paths):
            self._check_remote()
        headers = read_headers(self._gate, paths, (series.variable,) if series.variable else None)
        if mixed := mixed_arrays(headers):
            # Arrays that are small enough to be loaded from some files and not from others are pointed at in all.
            wanted = headers[0].variables
            headers = read_headers(self._gate, paths, (*wanted, *mixed))
            headers = [replace(header, variables=wanted) for header in headers]
        return headers

    def _check_remote(self) -> None:
        """Check that cubes of objects can be what is asked for.

        Raises:
            InvalidParameter: They cannot.
        """
        if self.request.format in (CubeFormat.ICECHUNK, CubeFormat.ZARR):
            raise InvalidParameter(
                f"Files in an object store are referenced as JSON or Parquet, not written as {self.request.format}.",
                hint="Leave the parameter format out, or copy the files to a folder that may be read.",
                field="format",
            )
        if self.request.checksums == "whole":
            raise InvalidParameter(
                "Files in an object store are known by their etags; their bytes are not all read.",
                hint="Leave the parameter checksums out, or copy the files to a folder that may be read.",
                field="checksums",
            )

    def _checked(self, headers: list[FileHeader]) -> tuple[Preflight, CubeFormat]:
        """Look at the files, and choose Icechunk where only that can tell what they hold."""
        wanted = self.request.format
        checked = preflight(headers, fill_is_missing=wanted is not CubeFormat.ICECHUNK)
        can_be_icechunk = wanted is CubeFormat.AUTO and not any(is_remote(header.address) for header in headers)
        if can_be_icechunk and checked.verdict is not Verdict.VIRTUALISE:
            other = preflight(headers, fill_is_missing=False)
            if other.verdict is Verdict.VIRTUALISE:
                return other, CubeFormat.ICECHUNK
        return checked, wanted

    def _misnamed(self, headers: list[FileHeader]) -> tuple[Finding, ...]:
        """Return where names and folders say something else than the attributes of the files; alike ones once."""
        if self.request.naming == FILE:
            return ()
        reads = grammar(self.request.naming)
        found: dict[tuple[str | None, str | None], Finding] = {}
        for header in headers:
            facets = reads.read(PurePosixPath(header.address))
            for finding in cross_check(facets, header.attributes, header.name):
                found.setdefault((finding.got, finding.expected), finding)
        return tuple(found.values())

    def _check_companions(self, files: CubeFiles, headers: list[FileHeader]) -> None:
        """Compare files with the checksums that lie beside them, where every byte is to be read.

        Raises:
            VerificationFailed: One differs.
        """
        if self.request.checksums != "whole":
            return
        for name, header in zip(files.files, headers, strict=True):
            algorithm, _, expected = files.checksums.get(name, "").partition(":")
            if expected and file_digest(Path(header.address), algorithm) != expected:
                raise VerificationFailed(
                    f"'{header.name}' does not have the {algorithm} that the file beside it says.",
                    hint="Fetch the file again; it was damaged or replaced.",
                    field="source",
                )

    def _check_accepted(self, checked: Preflight) -> None:
        """Check that the files make one cube, or may be split.

        Raises:
            VerificationFailed: The files disagree, and are not to be split; or references cannot express them at all.
        """
        is_split = checked.verdict is Verdict.IN_GROUPS and self.request.when_refused == "split"
        if checked.verdict is Verdict.VIRTUALISE or is_split:
            return
        errors = [finding for finding in checked.findings if finding.severity is Severity.ERROR]
        hint = (errors[0].remedy if errors else None) or "Pass when_refused=convert to write a physical Zarr."
        if checked.verdict is Verdict.IN_GROUPS:
            count = len(checked.groups)
            made = f"make {count} cubes of files that agree" if count > 1 else "leave them out"
            hint = f"Pass when_refused=split to {made}, or when_refused=convert."
        raise VerificationFailed(sentences(errors[:3]) or checked.summary, hint=hint, field="source")

    def _parts(
        self, files: CubeFiles, headers: list[FileHeader], checked: Preflight
    ) -> list[tuple[list[FileHeader], CubeFiles]]:
        """Return the headers of each cube in the order of time, and what it is made of, under an id of its own."""
        by_address = {header.address: header for header in headers}
        names = {header.address: name for header, name in zip(headers, files.files, strict=True)}
        parts = []
        for number, group in enumerate(checked.groups, 1):
            own = [by_address[address] for address in group]
            series = (files.series[0].model_copy(update={"files": tuple(names[address] for address in group)}),)
            changes: dict[str, Any] = {"series": series, "bytes": sum(header.bytes for header in own)}
            if len(checked.groups) > 1:
                changes["id"] = f"{files.id}.part-{number}"
                changes["title"] = f"{files.title} ({number} of {len(checked.groups)})"
            parts.append((own, files.model_copy(update=changes)))
        return parts

    def _combined(self, headers: list[FileHeader]) -> CubeManifest:
        return combine(headers, whole_digests=self.request.checksums == "whole")

    def _written(self, manifest: CubeManifest, files: CubeFiles, wanted: CubeFormat) -> VirtualCube:
        format = chosen_format(wanted, manifest)
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            written = Path(folder) / "references"
            snapshot = write_references(manifest, format, written)
            return self.publisher.put(written, format, snapshot, manifest, files)

    def _joined(self, files: CubeFiles) -> VirtualCube:
        """Make one cube of several variables or members, each of which has to be right by itself.

        Raises:
            VerificationFailed: One of them is not, or they do not share their coordinates and times.
            InvalidParameter: They are to be converted, which is not done for several.
        """
        if self.request.format is CubeFormat.ZARR:
            raise InvalidParameter(
                "Joined variables or members cannot be converted into one store.",
                hint="Leave the parameter join out, or take another format.",
                field="join",
            )
        by_member: dict[str | None, list[CubeManifest]] = {}
        format: CubeFormat = self.request.format
        for series in files.series:
            headers = self._headers(series)
            checked, needed = self._checked(headers)
            self._check_accepted(checked)
            if len(checked.groups) > 1:
                raise VerificationFailed(checked.summary, hint="Leave the parameter join out.", field="join")
            format = needed if needed is not CubeFormat.AUTO else format
            by_address = {header.address: header for header in headers}
            own = [by_address[address] for address in checked.groups[0]]
            by_member.setdefault(series.member, []).append(self._combined(own))
        each = [merge_variables(own) for own in by_member.values()]
        whole = each[0] if len(each) == 1 else stack_members(each, [str(member) for member in by_member])
        return self._written(whole, files, format)

    def _converted(self, files: CubeFiles) -> VirtualCube:
        """Write the cube as a physical Zarr store; where an earlier call was killed, this one goes on.

        Raises:
            VerificationFailed: The store differs from its sources.
            InvalidParameter: The sources are in an object store.
        """
        import xarray as xr

        located = source_paths(self._gate, self.request, files.files)
        paths = [path for path in located if isinstance(path, Path)]
        if len(paths) < len(located):
            raise InvalidParameter(
                "Files in an object store are not converted.",
                hint="Copy them to a folder that may be read, or pass when_refused=leave-out.",
                field="when_refused",
            )
        # Of these very files: what an earlier call left of others is not gone on with.
        stamps = [(str(path), found.st_size, found.st_mtime_ns) for path in paths for found in [path.stat()]]
        name = digest([self.request.collection, files.id, self.request.chunking, stamps])[:16]
        target = self.scratch / "converted" / name
        made = convert(self._gate, paths, target, chunking=self.request.chunking)
        names = [files.variable] if files.variable else [array.name for array in made.plan.arrays]
        with self._gate.open_zarr(target, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True)) as cube:
            description = describe(cube, names)
        verification = Verification(
            chunks_compared=made.fields_compared,
            chunks_total=made.fields_total,
            values_compared=made.values_compared,
            times_compared=made.plan.steps,
            unit="fields",
        )
        sources = [_source(path, whole=self.request.checksums == "whole") for path in paths]
        stored = self.publisher.put_verified(
            target, CubeFormat.ZARR, None, made.chunks, description, verification, sources, files
        )
        shutil.rmtree(target)
        return stored


def _told(files: CubeFiles) -> str:
    """Return 'a.nc' and 3 more files."""
    first = files.files[0].rpartition("/")[2]
    more = len(files.files) - 1
    return f"'{first}'" + (f" and {more} more file{'s' if more > 1 else ''}" if more else "")


def _source(path: Path, *, whole: bool) -> SourceFile:
    found = path.stat()
    return SourceFile(
        address=str(path),
        bytes=found.st_size,
        modified_ns=found.st_mtime_ns,
        digest=digest_of(path, whole=whole),
    )
