"""Put together what was noticed in the files of a cube, and decide what to do with them."""

from collections.abc import Sequence

from geoetl.core.errors import EmptyDataset, GeoetlError
from geoetl.core.findings import Finding, Severity
from geoetl.virtual.header import FileHeader
from geoetl.virtual.preflight.chunks import check_chunks
from geoetl.virtual.preflight.clocks import read_clocks
from geoetl.virtual.preflight.content import MAX_GROUPS
from geoetl.virtual.preflight.cost import estimate
from geoetl.virtual.preflight.form import compare
from geoetl.virtual.preflight.gaps import note_gaps
from geoetl.virtual.preflight.groups import (
    Group,
    cut_behind_partial_chunks,
    find_copies,
    in_lanes,
    note_order,
    note_overlaps,
)
from geoetl.virtual.preflight.model import Preflight, Verdict
from geoetl.virtual.preflight.notes import fold
from geoetl.virtual.preflight.storage import check_storage


def preflight(headers: Sequence[FileHeader], *, fill_is_missing: bool = True) -> Preflight:
    """Find out whether files can be one cube of references, and what that would cost.

    Args:
        headers: Of the files of one cube, in any order.
        fill_is_missing: Readers of the references take the fill value of an array for missing, as those of kerchunk
            (Zarr 2) do. With Icechunk (Zarr 3) only what the file declares as ``_FillValue`` is.

    Raises:
        EmptyDataset: There is no file.
    """
    if not headers:
        raise EmptyDataset("There is no file to look at.", hint="Give at least one NetCDF file.", field="source")
    clocks, notes = read_clocks(headers)
    compared = compare(headers)
    copies = find_copies(compared, clocks)
    kept = [number for number in range(len(headers)) if number not in copies]
    lanes = in_lanes({number: compared.fingerprints[number] for number in kept}, clocks)
    groups, partial = cut_behind_partial_chunks(lanes, headers)
    slow, has_no_maps = check_chunks(headers)
    notes += [
        *compared.notes,
        *check_storage(headers, fill_is_missing=fill_is_missing),
        *note_overlaps(copies, clocks, headers),
        *partial,
        *slow,
    ]
    errors = [note for note in notes if note.severity is Severity.ERROR]
    inner = [note for note in errors if not note.is_between_files]
    if inner or has_no_maps or (errors and len(groups) > MAX_GROUPS):
        verdict = Verdict.CONVERT
        groups = in_lanes({number: compared.kinds[number] for number in kept}, clocks)
    else:
        verdict = Verdict.IN_GROUPS if errors else Verdict.VIRTUALISE
    findings = fold([*notes, *note_gaps(groups, clocks, headers), *note_order(groups)], headers)
    return Preflight(
        verdict=verdict,
        summary=_summary(verdict, groups, len(headers), fold(inner, headers), findings),
        findings=findings,
        groups=tuple(tuple(headers[number].address for number in group) for group in groups),
        cost=estimate(headers),
    )


def unreadable(file_name: str, error: GeoetlError) -> Finding:
    """Return the finding of a file whose header cannot be read, so that the others go on."""
    detail = error.detail if file_name in error.detail else f"'{file_name}' cannot be used: {error.detail}"
    remedy = error.hint or "Leave the file out, or fetch it again."
    return Finding(severity=Severity.ERROR, code=error.code, message=detail, subject=file_name, remedy=remedy)


def _summary(
    verdict: Verdict, groups: Sequence[Group], count: int, inner: Sequence[Finding], findings: Sequence[Finding]
) -> str:
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if verdict is Verdict.VIRTUALISE:
        if count == 1:
            return "Virtualise: the file can be read through references."
        return f"Virtualise: the {count} files agree and become one cube of references."
    if verdict is Verdict.IN_GROUPS:
        why = ", ".join(dict.fromkeys(finding.code.replace("_", " ") for finding in errors))
        left_out = count - sum(map(len, groups))
        without = f", without {left_out} of the {count} files" if left_out else ""
        if len(groups) == 1:
            return f"Virtualise as one cube{without}: {why}."
        return f"Virtualise in {len(groups)} groups, each a cube of its own{without}; what keeps them apart: {why}."
    if inner:
        return f"Convert, or repair this first: {inner[0].message}"
    if errors:
        return f"Convert, because the files would fall into more than {MAX_GROUPS} groups: {errors[0].message}"
    slow = next(finding for finding in findings if finding.code == "spatial_chunk_of_one")
    return f"Convert, because no map could be read in time: {slow.message}"
