"""What is in a folder of NetCDF files: cubes, and what was left out and why."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pydantic import Field

from geoetl.core import html
from geoetl.core.errors import EmptyDataset, InvalidParameter, NotCMIP6, did_you_mean
from geoetl.core.findings import Finding, Severity
from geoetl.core.identifiers import MAX_ID_LENGTH, digest, slug
from geoetl.runs.model import Result
from geoetl.store.remote import RemoteFile, SourcePath
from geoetl.virtual.cmip6 import Facets
from geoetl.virtual.naming import FILE, GRAMMARS, Grammar, grammar
from geoetl.virtual.scan import LeftOut, Scan, read_checksum, scan, scan_file
from geoetl.virtual.spans import Slice, arrange, period_text, time_text

__all__ = ["CubeFiles", "FileSeries", "Inventory", "LeftOut", "take_inventory"]

# Rows of the notebook's tables; the JSON holds all.
ROWS_SHOWN = 25
# Joined cubes list so many names in their title.
_NAMES_IN_TITLE = 4
# What cubes can be joined along, and the facets that then differ.
JOINS = {"variable": ("variable_id",), "member": ("sub_experiment_id", "variant_label")}
# The code of files that the selection leaves out.
NOT_SELECTED = "not_selected"
_NOT_SELECTABLE = ("start", "end")
_WHY = {
    "superseded": "an older version",
    "duplicate": "a copy of a file that is in a cube",
    "overlap": "its time is in other files",
    "unparsable_name": "the name does not follow the naming",
    NOT_SELECTED: "not selected",
    "temporary": "temporary file",
    "orphan_checksum": "checksum of no file in a cube",
    "not_netcdf": "not NetCDF",
    "hidden": "hidden",
    "link": "link",
    "unreadable": "unreadable",
}


class FileSeries(Result):
    """The files of one variable and member, in the order of time.

    Attributes:
        variable: None takes every variable of a grid.
        member: ``[<sub_experiment_id>-]<variant_label>``; None where the names do not say it.
        files: Relative to the source, or its name where the source is one file.
    """

    variable: str | None
    member: str | None
    files: tuple[str, ...]


class CubeFiles(Result):
    """The files of one cube.

    Attributes:
        id: Id of the cube, and of its STAC item.
        title: For people.
        facets: Facets that all its files have in common, without the time range; empty for a file taken as it is.
        series: One for each variable and member.
        bytes: Sizes of the files added up.
        spans: First and last time of each file of the first series, as in its name; empty where names give none.
        findings: Gaps, overlaps and what else the names tell.
        checksums: ``md5:…`` and the like by file, as the companion files say them.
    """

    id: str
    title: str
    facets: dict[str, str]
    series: tuple[FileSeries, ...]
    bytes: int
    spans: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()
    checksums: dict[str, str] = Field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """The files of all series."""
        return tuple(file for series in self.series for file in series.files)

    @property
    def variable(self) -> str | None:
        """The variable of the first series; None takes every variable of a grid."""
        return self.series[0].variable

    @property
    def period(self) -> str:
        """The first and last time as people write them; empty where the names give none."""
        if not self.spans:
            return ""
        start, end = self.spans[0][0], max(end for _, end in self.spans)
        if len(start) == len(end) <= 8:
            return period_text(start, end)
        return f"{time_text(start)} to {time_text(end)}"


class Inventory(Result):
    """Every file under a source: in a cube, a checksum companion of one, or left out with its reason."""

    cubes: tuple[CubeFiles, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def file_count(self) -> int:
        """Files in cubes."""
        return sum(len(series.files) for cube in self.cubes for series in cube.series)

    @property
    def bytes(self) -> int:
        """Bytes of the files in cubes."""
        return sum(cube.bytes for cube in self.cubes)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all cubes."""
        return tuple(finding for cube in self.cubes for finding in cube.findings)

    def timeline(self) -> Any:
        """Return a HoloViews picture of which times the cubes have: a row a cube, a bar a file, gaps marked."""
        from geoetl.virtual.timeline import draw_timeline

        return draw_timeline(self.cubes)

    def _repr_html_(self) -> str:
        said = (
            f"{_count(self.file_count, 'file')} ({html.human_bytes(self.bytes)}) in {_count(len(self.cubes), 'cube')}, "
            f"{len(self.left_out):,} left out"
        )
        rows = [
            (c.title, c.period, f"{len(c.files):,}", html.human_bytes(c.bytes), _found(c.findings))
            for c in self.cubes[:ROWS_SHOWN]
        ]
        if len(self.cubes) > ROWS_SHOWN:
            rest = self.cubes[ROWS_SHOWN:]
            size = html.human_bytes(sum(c.bytes for c in rest))
            files = f"{sum(len(c.files) for c in rest):,}"
            rows.append((f"… and {_count(len(rest), 'cube')} more", "", files, size, ""))
        parts = [html.heading("Inventory", said), html.table(["cube", "time", "files", "size", "findings"], rows)]
        if found := [(cube, finding) for cube in self.cubes for finding in cube.findings]:
            more = f"{len(found) - ROWS_SHOWN:,} more" if len(found) > ROWS_SHOWN else ""
            listed = [(f.severity, cube.title, f.message) for cube, f in found[:ROWS_SHOWN]]
            parts += [html.heading("Findings", more), html.table(["", "cube", "what"], listed)]
        if self.left_out:
            groups: dict[str, list[LeftOut]] = defaultdict(list)
            for left in self.left_out:
                groups[left.code].append(left)
            counted = sorted(groups.items(), key=lambda group: -len(group[1]))
            table = [(_WHY.get(code, code), f"{len(of):,}", of[0].file, of[0].reason) for code, of in counted]
            parts += [html.heading("Left out"), html.table(["because", "files", "for example", "in words"], table)]
        return "".join(parts)


@dataclass(slots=True)
class _Group:
    """The files of one dataset: what they have in common, and each with its time."""

    facets: Facets
    slices: list[Slice] = field(default_factory=list)
    versions: dict[str, str | None] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def take_inventory(
    source: SourcePath,
    *,
    naming: str,
    select: Mapping[str, list[str]],
    join: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Inventory:
    """Group the NetCDF files under a folder (or one file) into cubes.

    Args:
        source: Folder or prefix of any depth, or one file.
        naming: ``cmip6`` or ``nex-gddp`` group files by their names, the latest version of a cube wins; a template
            such as ``{variable_id}_{source_id}_{start}-{end}.nc`` does the same for other names; ``file`` takes each
            file as a cube.
        select: Facets to keep, each with the values allowed; other files are left out.
        join: ``variable`` makes cubes that differ only in their variable one cube, ``member`` likewise.
        progress: Called with the number of entries seen so far while the folder is walked.

    Raises:
        EmptyDataset: There is no NetCDF file, or the selection keeps none.
        NotCMIP6: `naming` is ``cmip6`` and no file follows the DRS.
        InvalidParameter: `naming`, `select` or `join` name what does not exist, or no file follows `naming`.
    """
    rules = None if naming == FILE else grammar(naming)
    facet_names = [*(name for name in Facets.model_fields if name not in _NOT_SELECTABLE), "member_id"]
    for facet in select:
        if facet not in facet_names:
            raise InvalidParameter(
                f"'{facet}' is not a CMIP6 facet.", hint=did_you_mean(facet, facet_names), field="select"
            )
    for name in join:
        if name not in JOINS:
            raise InvalidParameter(
                f"Cubes cannot be joined along '{name}'.", hint=did_you_mean(name, JOINS), field="join"
            )
    root = source.parent if source.is_file() else source
    found = scan_file(source) if source.is_file() else scan(source, progress)
    if not found.files:
        raise EmptyDataset(f"'{source.name}' holds no NetCDF file (.nc).", hint="Check the folder.", field="source")
    left_out = list(found.left_out)
    if rules is None:
        cubes = _singles(found.files)
    else:
        groups = _grouped(source, found.files, rules, select, left_out)
        groups = _without_copies(_latest_versions(groups, rules, left_out), left_out)
        for group in groups:
            _put_in_order(group, left_out)
        cubes = _cubes(groups, join, source.stem)
    return Inventory(
        cubes=tuple(_with_checksums(cubes, found, root, left_out)),
        left_out=tuple(sorted(left_out, key=lambda left: left.file)),
    )


def _grouped(
    source: SourcePath,
    files: Sequence[tuple[str, int]],
    rules: Grammar,
    select: Mapping[str, list[str]],
    left_out: list[LeftOut],
) -> list[_Group]:
    """Put the files of one dataset and version together.

    Raises:
        NotCMIP6, InvalidParameter: No file follows the names.
        EmptyDataset: The selection keeps none.
    """
    root = PurePosixPath(str(source.parent if source.is_file() else source))
    groups: dict[tuple[object, ...], _Group] = {}
    first_refused: NotCMIP6 | None = None
    refused = 0
    values_seen: dict[str, set[str]] = {name: set() for name in select}
    for name, size in files:
        try:
            facets = rules.read(root / name)
        except NotCMIP6 as error:
            first_refused, refused = first_refused or error, refused + 1
            left_out.append(LeftOut(file=name, reason=error.detail, code="unparsable_name"))
            continue
        if unselected := _unselected(facets, select, values_seen):
            left_out.append(LeftOut(file=name, reason=unselected, code=NOT_SELECTED))
            continue
        start, end, version = facets.start, facets.end, facets.version
        drop: dict[str, None] = {"start": None, "end": None, **({"version": None} if rules.versions_files else {})}
        common = facets.model_copy(update=drop)
        key = tuple(common.__dict__.values())
        if key not in groups:
            groups[key] = _Group(common)
        groups[key].slices.append(Slice(name, size, start, end))
        if rules.versions_files:
            groups[key].versions[name] = version
    if first_refused and refused == len(files):
        raise _nothing_follows(source, len(files), rules, first_refused)
    if not groups:
        hints = [
            did_you_mean(select[name][0], seen)
            for name, seen in values_seen.items()
            if select[name] and not seen & set(select[name])
        ]
        raise EmptyDataset(
            f"The selection {dict(select)} keeps none of the {len(files)} files.",
            hint=hints[0] if hints else "Leave out a facet, or check its spelling.",
            field="select",
        )
    return list(groups.values())


def _nothing_follows(source: SourcePath, count: int, rules: Grammar, first: NotCMIP6) -> NotCMIP6 | InvalidParameter:
    if count == 1 and rules is GRAMMARS["cmip6"]:
        return first
    kind = "CMIP6 names" if rules is GRAMMARS["cmip6"] else f"naming {rules.title}"
    said = f"None of the {count} files in '{source.name}' follows the {kind}. The first: {first.detail}"
    hint = "To take each file as a cube of its own, pass naming=file."
    if rules is GRAMMARS["cmip6"]:
        return NotCMIP6(said, hint=hint, field="source")
    return InvalidParameter(said, hint=hint, field="naming")


def _unselected(facets: Facets, select: Mapping[str, list[str]], seen: dict[str, set[str]]) -> str | None:
    """Say which facet keeps a file out of the selection, and note what there is."""
    reason = None
    for name, allowed in select.items():
        value = str(getattr(facets, name))
        seen[name].add(value)
        if value not in allowed and reason is None:
            reason = f"Its {name} is {value}, which is not selected."
    return reason


def _latest_versions(groups: list[_Group], rules: Grammar, left_out: list[LeftOut]) -> list[_Group]:
    """Keep the latest version of each dataset, or of each file where the names have the version."""
    if rules.versions_files:
        for group in groups:
            _latest_files(group, left_out)
        return groups
    by_dataset: dict[tuple[object, ...], list[_Group]] = defaultdict(list)
    for group in groups:
        by_dataset[tuple(group.facets.model_copy(update={"version": None}).__dict__.values())].append(group)
    kept = []
    for versions in by_dataset.values():
        ranked = sorted(versions, key=lambda group: _rank(group.facets.version))
        # A folder 'latest' that is a copy of the newest version is better called by its number.
        if len(ranked) > 1 and ranked[-1].facets.version == "latest" and _is_same_version(ranked[-1], ranked[-2]):
            ranked[-2:] = reversed(ranked[-2:])
        newest = ranked[-1]
        kept.append(newest)
        for older in ranked[:-1]:
            named = f"Version {older.facets.version}" if older.facets.version else "A copy without a version folder"
            code, reason = "superseded", f"{named} is superseded by {newest.facets.cube_id}."
            if _is_same_version(older, newest):
                code, reason = "duplicate", f"{named} has the files of {newest.facets.cube_id} (names and sizes)."
            left_out += [LeftOut(file=part.file, reason=reason, code=code) for part in older.slices]
        newest.findings += _shrunk(newest, ranked[:-1])
    return kept


def _latest_files(group: _Group, left_out: list[LeftOut]) -> None:
    """Keep the latest version of each file, and note in the facets the latest of all."""
    by_time: dict[tuple[str | None, str | None], list[Slice]] = defaultdict(list)
    for part in group.slices:
        by_time[part.start, part.end].append(part)
    kept = []
    for parts in by_time.values():
        newest = max(_rank(group.versions[part.file]) for part in parts)
        for part in parts:
            version = group.versions[part.file]
            if _rank(version) == newest:
                kept.append(part)
            else:
                better = next(p.file for p in parts if _rank(group.versions[p.file]) == newest)
                said = f"Version {version} is superseded by '{better}'." if version else f"'{better}' is newer."
                left_out.append(LeftOut(file=part.file, reason=said, code="superseded"))
    used = Counter(group.versions[part.file] for part in kept)
    latest = max(used, key=_rank)
    group.slices, group.facets = kept, group.facets.model_copy(update={"version": latest})
    if len(used) > 1:
        written = ", ".join(f"{count} of {version or 'no version'}" for version, count in used.items())
        group.findings.append(
            Finding(
                severity=Severity.WARNING,
                code="mixed_versions",
                message=f"The files are of several versions: {written}.",
                subject=kept[0].file,
                got=written,
                expected="one version",
                remedy="Add the files of the latest version, or select one with select.",
            )
        )


def _rank(version: str | None) -> tuple[bool, list[int], str]:
    """Return what versions are sorted by: numbers as numbers, ``latest`` last."""
    return version == "latest", [int(number) for number in re.findall(r"[0-9]+", version or "")], version or ""


def _is_same_version(a: _Group, b: _Group) -> bool:
    """Tell whether two folders hold one version: v20190807, files/d20190807 and latest, with equal names and sizes."""
    versions = {re.sub(r"^[vd]|^latest$", "", group.facets.version or "") for group in (a, b)} - {""}
    files = [{(_base(part.file), part.bytes) for part in group.slices} for group in (a, b)]
    return len(versions) == 1 and files[0] == files[1]


def _shrunk(newest: _Group, older: Sequence[_Group]) -> Iterable[Finding]:
    """Find times that only a superseded version has."""
    times = {(part.start, part.end) for part in newest.slices}
    for group in older:
        starts, ends = [p.start for p in group.slices if p.start], [p.end for p in group.slices if p.end]
        mine = [(start, end) for start, end in times if start and end]
        if not (starts and ends and mine):
            continue
        if min(starts) < min(start for start, _ in mine) or max(ends) > max(end for _, end in mine):
            yield Finding(
                severity=Severity.WARNING,
                code="version_incomplete",
                message=f"Version {newest.facets.version} has {min(s for s, _ in mine)}-{max(e for _, e in mine)}; "
                f"version {group.facets.version}, which it supersedes, has {min(starts)}-{max(ends)}.",
                subject=newest.slices[0].file,
                got=f"{min(s for s, _ in mine)}-{max(e for _, e in mine)}",
                expected=f"{min(starts)}-{max(ends)}",
                remedy="Complete the newer version, or take the older one with select={'version': [...]}.",
            )


def _without_copies(groups: list[_Group], left_out: list[LeftOut]) -> list[_Group]:
    """Leave out files of one name and size that lie in several folders.

    Within one dataset that is a replica; a copy outside of the DRS folders is one of the file inside.
    """
    placed: dict[tuple[object, ...], list[_Group]] = defaultdict(list)
    for group in groups:
        bare = {"mip_era": None, "activity_id": None, "institution_id": None, "version": None}
        placed[tuple(group.facets.model_copy(update=bare).__dict__.values())].append(group)
        _without_replicas(group, left_out)
    for alike in placed.values():
        for group in alike:
            better = [other for other in alike if _says_more(other.facets, group.facets)]
            originals = {(_base(p.file), p.bytes): p.file for other in better for p in other.slices}
            copies = {p.file: originals.get((_base(p.file), p.bytes)) for p in group.slices}
            left_out += [
                LeftOut(file=file, reason=f"It is a copy of '{original}' (name and size).", code="duplicate")
                for file, original in copies.items()
                if original
            ]
            group.slices = [part for part in group.slices if not copies[part.file]]
    return [group for group in groups if group.slices]


def _says_more(one: Facets, other: Facets) -> bool:
    """Tell whether `one` agrees with `other` and has facets that it lacks."""
    pairs = list(zip(one.__dict__.values(), other.__dict__.values(), strict=True))
    return one != other and all(theirs is None or ours == theirs for ours, theirs in pairs)


def _without_replicas(group: _Group, left_out: list[LeftOut]) -> None:
    by_name: dict[tuple[str, str | None], list[Slice]] = defaultdict(list)
    for part in group.slices:
        # Without a time in the name, files of one name in several folders may be different files.
        by_name[_base(part.file), part.start if part.start else _drs_folder(group, part)].append(part)
    kept = []
    for parts in by_name.values():
        best = min(parts, key=lambda part: (-part.bytes, part.file))
        kept.append(best)
        for part in parts:
            if part is best:
                continue
            if part.bytes == best.bytes:
                reason = f"It is a copy of '{best.file}' (name and size)."
            else:
                reason = f"It has the name of '{best.file}', but {part.bytes:,} bytes instead of {best.bytes:,}."
                group.findings.append(
                    Finding(
                        severity=Severity.WARNING,
                        code="replica_differs",
                        message=f"'{part.file}' and '{best.file}' should be one file but differ in size; the larger "
                        "one is taken.",
                        subject=part.file,
                        got=f"{part.bytes} bytes",
                        expected=f"{best.bytes} bytes",
                        remedy="Compare their checksums, and remove the wrong one.",
                    )
                )
            left_out.append(LeftOut(file=part.file, reason=reason, code="duplicate"))
    group.slices = kept


def _drs_folder(group: _Group, part: Slice) -> str | None:
    """Return what tells two files without a time apart: nothing where the folder is that of the DRS."""
    return None if group.facets.directory else part.file


def _put_in_order(group: _Group, left_out: list[LeftOut]) -> None:
    arranged = arrange(group.slices, group.facets.table_id or group.facets.frequency)
    group.slices = list(arranged.kept)
    group.findings += arranged.findings
    left_out += [
        LeftOut(file=part.file, reason=f"Other files hold its time, {part.start} to {part.end}.", code="overlap")
        for part in arranged.contained
    ]


def _cubes(groups: list[_Group], join: Sequence[str], fallback: str) -> list[CubeFiles]:
    """Make one cube of each group, or of those that differ only in what is joined."""
    along = {name for way in join for name in JOINS[way]}
    joined: dict[tuple[object, ...], list[_Group]] = defaultdict(list)
    for group in groups:
        # Constant fields have no time to be joined along.
        timed = group.slices[0].start is not None
        rest = tuple((k, v) for k, v in group.facets.__dict__.items() if k not in along)
        joined[(*rest, timed)].append(group)
    cubes = [_cube(_natural(of), fallback) for of in joined.values()]
    repeated = {cube_id for cube_id, count in Counter(cube.id for cube in cubes).items() if count > 1}
    named = [
        cube.model_copy(update={"id": f"{cube.id[: MAX_ID_LENGTH - 9]}-{digest(cube.facets)[:8]}"})
        if cube.id in repeated or len(cube.id) == MAX_ID_LENGTH
        else cube
        for cube in cubes
    ]
    return sorted(named, key=lambda cube: cube.id)


def _natural(groups: list[_Group]) -> list[_Group]:
    def order(group: _Group) -> tuple[str, list[tuple[int, str]]]:
        words = re.findall(r"[0-9]+|[^0-9]+", group.facets.member_id or "")
        return group.facets.variable_id or "", [(int(w), "") if w.isdigit() else (-1, w) for w in words]

    return sorted(groups, key=order)


def _cube(groups: list[_Group], fallback: str) -> CubeFiles:
    first = groups[0].facets
    differ = {k for k in Facets.model_fields if any(getattr(g.facets, k) != getattr(first, k) for g in groups)}
    if differ & {"sub_experiment_id", "variant_label"}:
        differ |= {"sub_experiment_id", "variant_label", "member_id"}
    common = first.model_copy(update=dict.fromkeys(differ - {"member_id"}))
    named = common.model_dump(exclude={"start", "end", "climatology"}, exclude_none=True)
    if common.member_id:
        named["member_id"] = common.member_id
    spans = [(part.start, part.end) for part in groups[0].slices]
    findings = [finding for group in groups for finding in group.findings]
    return CubeFiles(
        id=slug(common.cube_id or fallback),
        title=_title(groups) or fallback,
        facets=named,
        series=tuple(
            FileSeries(
                variable=group.facets.variable_id,
                member=group.facets.member_id,
                files=tuple(part.file for part in group.slices),
            )
            for group in groups
        ),
        bytes=sum(part.bytes for group in groups for part in group.slices),
        spans=tuple((start, end) for start, end in spans if start and end),
        findings=(*findings, *_uneven(groups)),
    )


def _title(groups: list[_Group]) -> str:
    first = groups[0].facets
    variables = list(dict.fromkeys(g.facets.variable_id or "" for g in groups))
    members = list(dict.fromkeys(g.facets.member_id or "" for g in groups))
    parts = (
        first.source_id,
        first.experiment_id,
        _listed(variables, "variables"),
        first.table_id or first.frequency,
        _listed(members, "members"),
    )
    return " ".join(part for part in parts if part)


def _listed(names: Sequence[str], what: str) -> str:
    if len(names) <= _NAMES_IN_TITLE:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMES_IN_TITLE - 1])} … {names[-1]} ({len(names)} {what})"


def _uneven(groups: list[_Group]) -> Iterable[Finding]:
    """Find joined series that cover other times than the first."""

    def period(group: _Group) -> str:
        return f"{group.slices[0].start}-{group.slices[-1].end}"

    first = groups[0]
    for group in groups[1:]:
        if period(group) != period(first):
            label = f"{group.facets.variable_id or ''} {group.facets.member_id or ''}".strip()
            yield Finding(
                severity=Severity.WARNING,
                code="times_differ",
                message=f"{label} covers {period(group)}, the first series {period(first)}.",
                subject=group.slices[0].file,
                got=period(group),
                expected=period(first),
                remedy="Do not join them, or complete the series.",
            )


def _with_checksums(
    cubes: Sequence[CubeFiles], found: Scan, root: SourcePath, left_out: list[LeftOut]
) -> Iterable[CubeFiles]:
    """Read the checksum companions of the files in cubes; others are left out, and of objects none is read."""
    used: set[str] = set()
    for cube in cubes:
        sums: dict[str, str] = {}
        for file in cube.files:
            for name in sorted(found.companions.get(file, ())):
                used.add(name)
                if isinstance(root, RemoteFile):
                    continue  # each would be a request, for what only a reading of every byte needs
                if checksum := read_checksum(root / name):
                    sums[file] = checksum  # the last by name is the strongest: md5, sha1, sha256, sha512
                else:
                    left_out.append(LeftOut(file=name, reason="It holds no such checksum.", code="orphan_checksum"))
        yield cube.model_copy(update={"checksums": sums}) if sums else cube
    files = {name for name, _ in found.files}
    for owner, names in found.companions.items():
        why = "which is left out" if owner in files else "which is not there"
        left_out += [
            LeftOut(file=name, reason=f"It is the checksum of '{_base(owner)}', {why}.", code="orphan_checksum")
            for name in names
            if name not in used
        ]


def _singles(files: Sequence[tuple[str, int]]) -> list[CubeFiles]:
    """Return one cube a file, named by its name, or by its folders too where names repeat.

    Raises:
        InvalidParameter: Two files would still get one id.
    """
    stems = {name: PurePosixPath(name).stem for name, _ in files}
    counts = Counter(slug(stem) for stem in stems.values())
    ids = {
        name: slug(stem) if counts[slug(stem)] == 1 else slug(".".join(PurePosixPath(name).with_suffix("").parts))
        for name, stem in stems.items()
    }
    if repeated := [cube_id for cube_id, count in Counter(ids.values()).items() if count > 1]:
        raise InvalidParameter(
            f"Several files would become the item '{repeated[0]}'.", hint="Rename one of them.", field="source"
        )
    return [
        CubeFiles(
            id=ids[name],
            title=stems[name].replace("_", " "),
            facets={},
            series=(FileSeries(variable=None, member=None, files=(name,)),),
            bytes=size,
        )
        for name, size in files
    ]


def _base(file: str) -> str:
    return file.rpartition("/")[2]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _found(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.code.replace("_", " ") for finding in findings)
    return ", ".join(code if count == 1 else f"{code} × {count}" for code, count in counts.items())
