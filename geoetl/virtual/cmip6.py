"""CMIP6 file names and folders to facets and back, by the Data Reference Syntax.

Source: CMIP6 Global Attributes, DRS, Filenames, Directory Structure and CVs (Taylor et al., 2018), v6.2.7.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from geoetl.core.errors import NotCMIP6
from geoetl.core.findings import Finding, Severity
from geoetl.virtual.spans import kind_of, time_fault

# Lengths of the times of the DRS: yyyy, yyyyMM, yyyyMMdd, yyyyMMddhhmm, yyyyMMddhhmmss.
TIME_DIGITS = (4, 6, 8, 12, 14)
# The longest name a file can have; what is longer is not searched.
MAX_NAME = 255
# Classes are written out: \d would take the digits of every script.
_WORD = r"[a-zA-Z0-9-]+"
_MEMBER = r"(?:(?P<sub_experiment_id>s[0-9]{4})-)?(?P<variant_label>r[0-9]+i[0-9]+p[0-9]+f[0-9]+)"
_HEAD = (
    rf"(?P<variable_id>{_WORD})_(?P<table_id>{_WORD})_(?P<source_id>{_WORD})_(?P<experiment_id>{_WORD})"
    rf"_{_MEMBER}_(?P<grid_label>g[a-z0-9]+)"
)
# A single month or day is written without a range by some centres.
_NAME = re.compile(rf"{_HEAD}(?:_(?P<start>[0-9]+)(?:-(?P<end>[0-9]+))?(?P<climatology>-clim)?)?\.nc")
# Year files of the downscaled NEX-GDDP-CMIP6 (NASA Earth Exchange), with the version in the name or without.
_NEX_GDDP = re.compile(rf"{_HEAD}_(?P<start>[0-9]{{4}})(?:_(?P<version>v[0-9]+(?:\.[0-9]+)*))?\.nc")
_VERSION = re.compile(r"[vd][0-9]{8}|latest")
_ERA = re.compile(r"CMIP[0-9][a-zA-Z0-9]*")
_ACTIVITY = re.compile(r"[a-zA-Z0-9]*MIP6?|DCPP|CORDEX|VIACSAB")
_FORM = "<variable>_<table>_<source>_<experiment>_<member>_<grid>[_<start>-<end>].nc"
_NEX_GDDP_FORM = "<variable>_<table>_<source>_<experiment>_<member>_<grid>_<year>[_<version>].nc"
_HINT = "To take the file as a cube of its own, pass naming=file."
# What the file says of itself in an attribute of the same name.
_COMPARED = (
    "variable_id",
    "table_id",
    "source_id",
    "experiment_id",
    "variant_label",
    "grid_label",
    "mip_era",
    "institution_id",
)


class Facets(BaseModel):
    """What a file's name and its folder say; what they do not say is None.

    Attributes:
        frequency: Only from names that give it; the CMIP6 names give the table.
        mip_era, activity_id, institution_id, version: From the folder; None where it does not follow the DRS.
        start, end: As in the name (yyyy to yyyyMMddhhmmss); None for fixed fields.
        climatology: True for ``-clim`` files.
    """

    model_config = ConfigDict(frozen=True)

    variable_id: str | None = None
    table_id: str | None = None
    frequency: str | None = None
    source_id: str | None = None
    experiment_id: str | None = None
    sub_experiment_id: str | None = None
    variant_label: str | None = None
    grid_label: str | None = None
    start: str | None = None
    end: str | None = None
    climatology: bool = False
    mip_era: str | None = None
    activity_id: str | None = None
    institution_id: str | None = None
    version: str | None = None

    @property
    def member_id(self) -> str | None:
        """``[<sub_experiment_id>-]<variant_label>``."""
        return "-".join(part for part in (self.sub_experiment_id, self.variant_label) if part) or None

    @property
    def file_name(self) -> str:
        """The file name that the DRS gives to these facets; facets that are None are skipped."""
        head = [self.variable_id, self.table_id, self.source_id, self.experiment_id, self.member_id, self.grid_label]
        span = f"_{self.start}-{self.end}" if self.start else ""
        return "_".join(part for part in head if part) + span + ("-clim" if self.climatology else "") + ".nc"

    @property
    def directory(self) -> PurePosixPath | None:
        """The folder that the DRS gives to these facets; None where one that it needs is not known."""
        parts = (
            self.mip_era,
            self.activity_id,
            self.institution_id,
            self.source_id,
            self.experiment_id,
            self.member_id,
            self.table_id,
            self.variable_id,
            self.grid_label,
            self.version,
        )
        known = [part for part in parts if part]
        if len(known) < len(parts):
            return None
        # Some archives keep the files in files/dYYYYMMDD and link to them from vYYYYMMDD.
        return PurePosixPath(*known[:-1], *(["files"] if known[-1].startswith("d") else []), known[-1])

    @property
    def cube_id(self) -> str:
        """The id of the cube that the file belongs to: every facet but the time range."""
        parts = [
            self.mip_era,
            self.activity_id,
            self.institution_id,
            self.source_id,
            self.experiment_id,
            self.member_id,
            self.table_id,
            self.frequency,
            self.variable_id,
            self.grid_label,
            self.version,
            "clim" if self.climatology else None,
        ]
        return ".".join(part for part in parts if part)

    @classmethod
    def parse(cls, path: PurePosixPath) -> Self:
        """Read the facets from a file's name and, as far as they follow the DRS, its folders.

        Raises:
            NotCMIP6: The name does not follow the DRS; the message says where it departs.
        """
        name = path.name
        found = _NAME.fullmatch(name) if len(name) <= MAX_NAME else None
        if found is None:
            raise _refusal(f"does not follow the CMIP6 file name {_FORM}: {_departure(name)}", name)
        values: dict[str, Any] = {key: value for key, value in found.groupdict().items() if value is not None}
        if "start" in values:
            values.setdefault("end", values["start"])
            check_times(name, values["start"], values["end"], TIME_DIGITS)
        values["climatology"] = "climatology" in values
        return cls.model_validate({**values, **_from_folders(path.parent.parts, values)})

    @classmethod
    def parse_nex_gddp(cls, path: PurePosixPath) -> Self:
        """Read the facets from the name of a NEX-GDDP-CMIP6 file, one year of daily values.

        Source: NEX-GDDP-CMIP6 technical note (Thrasher et al., 2022, doi:10.1038/s41597-022-01393-4).

        Raises:
            NotCMIP6: The name has another form.
        """
        name = path.name
        found = _NEX_GDDP.fullmatch(name) if len(name) <= MAX_NAME else None
        if found is None:
            raise _refusal(f"does not follow the NEX-GDDP file name {_NEX_GDDP_FORM}", name)
        values = {key: value for key, value in found.groupdict().items() if value is not None}
        return cls.model_validate({**values, "end": values["start"], "activity_id": "NEX-GDDP-CMIP6"})


def check_times(name: str, start: str, end: str, digits: Sequence[int]) -> None:
    """Check that the first and the last time of a name exist and are in order.

    Raises:
        NotCMIP6: They are not; the message says which.
    """
    for text in (start, end):
        if fault := time_fault(text, digits):
            shown = text if len(text) <= 20 else f"{text[:20]}…"
            said = f"of {fault}" if fault[0].isdigit() else f"with {fault}"
            raise _refusal(f"has the time '{shown}' {said}", name)
    shorter = min(len(start), len(end))
    if end[:shorter] < start[:shorter]:
        raise _refusal(f"ends at {end}, before it begins at {start}", name)


def cross_check(facets: Facets, attributes: Mapping[str, Any], file_name: str) -> tuple[Finding, ...]:
    """Compare what a file's name and folder say with its global attributes; one warning for each difference.

    Facets and attributes that are not there are not compared.
    """
    said = {name: _text(attributes[name]) for name in attributes if name in Facets.model_fields}
    pairs = [(name, getattr(facets, name), said.get(name)) for name in _COMPARED]
    found = [(name, ours, theirs) for name, ours, theirs in pairs if ours and theirs and ours != theirs]
    # A file without a sub-experiment says 'none'.
    sub_experiment = said.get("sub_experiment_id")
    if sub_experiment and sub_experiment != (facets.sub_experiment_id or "none"):
        found.append(("sub_experiment_id", facets.sub_experiment_id or "none", sub_experiment))
    # A file may serve several activities.
    activities = said.get("activity_id")
    if facets.activity_id and activities and facets.activity_id not in activities.split():
        found.append(("activity_id", facets.activity_id, activities))
    frequency = said.get("frequency")
    if frequency and facets.frequency and facets.frequency != frequency:
        found.append(("frequency", facets.frequency, frequency))
    elif frequency and kind_of(frequency) and kind_of(facets.table_id) not in (None, "clim", kind_of(frequency)):
        found.append(("frequency", f"that of the table {facets.table_id}", frequency))
    return tuple(
        Finding(
            severity=Severity.WARNING,
            code="attribute_differs",
            message=f"'{file_name}' says {name} '{theirs}' in its attributes; its name or folder says '{ours}'.",
            subject=file_name,
            got=theirs,
            expected=ours,
            remedy="Rename the file, or correct its attribute; the item takes what the name says.",
        )
        for name, ours, theirs in found
    )


def _text(value: Any) -> str:
    """Return an attribute as text; several values are separated by blanks."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value).strip()


def _from_folders(folders: Sequence[str], values: Mapping[str, Any]) -> dict[str, str]:
    """Take era, activity, institution and version from …/era/activity/institution/source/…/grid/version/file."""
    version = next((part for part in reversed(folders[-2:]) if _VERSION.fullmatch(part)), None)
    found = {"version": version} if version else {}
    sub = values.get("sub_experiment_id")
    member = f"{sub}-{values['variant_label']}" if sub else values["variant_label"]
    chain = (values["source_id"], values["experiment_id"], member, values["table_id"], values["variable_id"])
    whole, begun = _last(folders, chain), _last(folders, chain[:2])
    for index in (whole, begun):
        if index is None or index < 2 or not all(re.fullmatch(_WORD, part) for part in folders[index - 2 : index]):
            continue
        above = {"activity_id": folders[index - 2], "institution_id": folders[index - 1]}
        if index > 2 and _ERA.fullmatch(folders[index - 3]):
            return {**found, "mip_era": folders[index - 3], **above}
        if index == whole and _ACTIVITY.fullmatch(folders[index - 2]):
            return {**found, **above}
    return found


def _last(folders: Sequence[str], chain: Sequence[str]) -> int | None:
    """Return where `chain` begins for the last time among `folders`."""
    size = len(chain)
    for index in range(len(folders) - size, -1, -1):
        if folders[index] == chain[0] and tuple(folders[index : index + size]) == tuple(chain):
            return index
    return None


def _refusal(what: str, name: str) -> NotCMIP6:
    shown = name if len(name) <= MAX_NAME else f"{name[:60]}…"
    return NotCMIP6(f"'{shown}' {what}.", hint=_HINT, field="source")


def _departure(name: str) -> str:
    if len(name) > MAX_NAME:
        return f"it has {len(name)} characters, more than a file name may have"
    if not name.endswith(".nc"):
        return "it does not end in .nc"
    parts = name.removesuffix(".nc").split("_")
    if len(parts) not in (6, 7):
        return f"it has {len(parts)} parts between underscores, not 6 or 7"
    if "" in parts:
        return "a part between underscores is empty"
    if not re.fullmatch(_MEMBER, parts[4]):
        return f"'{parts[4]}' is not a member such as r1i1p1f1"
    if not re.fullmatch(r"g[a-z0-9]+", parts[5]):
        return f"'{parts[5]}' is not a grid label such as gn or gr1"
    if odd := next((part for part in parts if not re.fullmatch(_WORD, part)), None):
        return f"'{odd}' holds characters other than letters, digits and '-'"
    return f"'{parts[6]}' is not a time range such as 185001-201412"
