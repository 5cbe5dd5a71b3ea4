"""CMIP6 file names and folders to facets, by the Data Reference Syntax.

Source: CMIP6 Global Attributes, DRS, Filenames, Directory Structure and CVs (Taylor et al., 2018), v6.2.7.
"""

import re
from pathlib import PurePosixPath
from typing import Self

from pydantic import BaseModel, ConfigDict

from geoetl.core.errors import NotCMIP6

_NAME = re.compile(
    r"(?P<variable_id>[a-zA-Z0-9-]+)_(?P<table_id>[a-zA-Z0-9-]+)_(?P<source_id>[a-zA-Z0-9-]+)"
    r"_(?P<experiment_id>[a-zA-Z0-9-]+)_(?:(?P<sub_experiment_id>s\d{4})-)?(?P<variant_label>r\d+i\d+p\d+f\d+)"
    r"_(?P<grid_label>g[a-z0-9]+)(?:_(?P<start>\d{4,14})-(?P<end>\d{4,14})(?P<climatology>-clim)?)?\.nc"
)
# A single month or day is written without a range by some centres.
_SINGLE = re.compile(r"(?P<head>.+)_(?P<start>\d{4,14})\.nc")
# Digits of a date: yyyy, yyyyMM, yyyyMMdd, yyyyMMddhhmm, yyyyMMddhhmmss.
_DATE_LENGTHS = (4, 6, 8, 12, 14)
_VERSION = re.compile(r"(?:files/)?[vd](\d{8})|latest")
_FORM = "<variable>_<table>_<source>_<experiment>_<member>_<grid>[_<start>-<end>].nc"


class Facets(BaseModel):
    """What a CMIP6 file name and its folder say.

    Attributes:
        mip_era, activity_id, institution_id, version: From the folder; None where it does not follow the DRS.
        start, end: As in the name (yyyy to yyyyMMddhhmmss); None for fixed fields.
        climatology: True for ``-clim`` files.
    """

    model_config = ConfigDict(frozen=True)

    variable_id: str
    table_id: str
    source_id: str
    experiment_id: str
    sub_experiment_id: str | None = None
    variant_label: str
    grid_label: str
    start: str | None = None
    end: str | None = None
    climatology: bool = False
    mip_era: str | None = None
    activity_id: str | None = None
    institution_id: str | None = None
    version: str | None = None

    @property
    def member_id(self) -> str:
        """``[<sub_experiment_id>-]<variant_label>``."""
        return f"{self.sub_experiment_id}-{self.variant_label}" if self.sub_experiment_id else self.variant_label

    @property
    def file_name(self) -> str:
        """The file name that the DRS gives to these facets."""
        head = [self.variable_id, self.table_id, self.source_id, self.experiment_id, self.member_id, self.grid_label]
        span = f"_{self.start}-{self.end}" if self.start else ""
        return "_".join(head) + span + ("-clim" if self.climatology else "") + ".nc"

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
        found = _NAME.fullmatch(name)
        if found is None and (single := _SINGLE.fullmatch(name)):
            moment = single["start"]
            found = _NAME.fullmatch(f"{single['head']}_{moment}-{moment}.nc")
        if found is None:
            raise NotCMIP6(
                f"'{name}' does not follow the CMIP6 file name {_FORM}: {_departure(name)}.",
                hint="To take the file as a cube of its own, pass naming=file.",
                field="source",
            )
        values = {key: value for key, value in found.groupdict().items() if value is not None}
        for key in ("start", "end"):
            if key in values and len(values[key]) not in _DATE_LENGTHS:
                raise NotCMIP6(
                    f"'{name}' has the time '{values[key]}' of {len(values[key])} digits; a CMIP6 time has 4, 6, 8, "
                    "12 or 14.",
                    hint="To take the file as a cube of its own, pass naming=file.",
                    field="source",
                )
        parts = {**values, "climatology": "climatology" in values, **_from_folders(path, values)}
        return cls.model_validate(parts)


def _from_folders(path: PurePosixPath, values: dict[str, str]) -> dict[str, str]:
    """Take era, activity, institution and version from …/era/activity/institution/source/…/grid/version/file."""
    folders = list(path.parent.parts)
    version = next((part for part in reversed(folders[-2:]) if _VERSION.fullmatch(part)), None)
    upper = {"version": version} if version else {}
    for index in range(len(folders) - 1, 2, -1):
        if folders[index] == values["source_id"] and index + 1 < len(folders):
            if folders[index + 1] == values["experiment_id"]:
                era, activity, institution = folders[index - 3 : index]
                return {**upper, "mip_era": era, "activity_id": activity, "institution_id": institution}
    return upper


def _departure(name: str) -> str:
    if not name.endswith(".nc"):
        return "it does not end in .nc"
    parts = name.removesuffix(".nc").split("_")
    if len(parts) not in (6, 7):
        return f"it has {len(parts)} parts between underscores, not 6 or 7"
    if not re.fullmatch(r"(s\d{4}-)?r\d+i\d+p\d+f\d+", parts[4]):
        return f"'{parts[4]}' is not a member such as r1i1p1f1"
    if not re.fullmatch(r"g[a-z0-9]+", parts[5]):
        return f"'{parts[5]}' is not a grid label such as gn or gr1"
    if odd := next((part for part in parts if not re.fullmatch(r"[a-zA-Z0-9-]+", part)), None):
        return f"'{odd}' holds characters other than letters, digits and '-'"
    return f"'{parts[6]}' is not a time range such as 185001-201412"
