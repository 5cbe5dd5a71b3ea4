"""What the pre-flight returns: a verdict, findings, groups of files and estimates."""

from enum import StrEnum
from pathlib import PurePosixPath

from geoetl.core import html
from geoetl.core.findings import Finding
from geoetl.runs.model import MAX_ROWS_SHOWN, Result


class Verdict(StrEnum):
    """What to do with the files of a cube."""

    VIRTUALISE = "virtualise"
    IN_GROUPS = "virtualise in these groups"
    CONVERT = "convert"


class Effort(Result):
    """An estimate: how long something takes, and how many bytes it writes (or, for a reading, fetches)."""

    seconds: float
    bytes: int

    def __str__(self) -> str:
        told = html.human_seconds(self.seconds) if self.seconds >= 1 else f"{max(self.seconds * 1000, 1):.0f} ms"
        return f"{told}, {html.human_bytes(self.bytes)}"


class Cost(Result):
    """Estimates for both ways, from chunk shapes and codecs; right to about a factor of two on the machine measured.

    Attributes:
        references: To make references of all files.
        conversion: To convert all files to Zarr, once.
        virtual_map: To read one time step (and one level) of the largest variable through references.
        virtual_series: To read one point of it over all time.
        converted_map: The same map from a converted copy whose chunks are made for maps.
        converted_series: The same series from a converted copy whose chunks are made for series.
    """

    references: Effort
    conversion: Effort
    virtual_map: Effort
    virtual_series: Effort
    converted_map: Effort
    converted_series: Effort


class Preflight(Result):
    """What was found out about the files of one cube.

    Attributes:
        verdict: What to do with them.
        summary: The verdict in one sentence, with its reason.
        findings: Worst first; what is the same in many files is one finding.
        groups: Addresses of files that agree with each other, each in the order of time; one group holds all files
            unless they differ. Every file is in one group, except those that only repeat another (``duplicate``), which
            are in none. For `Verdict.CONVERT` a group is what one converted cube can hold.
        cost: Estimates of both ways.
    """

    verdict: Verdict
    summary: str
    findings: tuple[Finding, ...]
    groups: tuple[tuple[str, ...], ...]
    cost: Cost

    def _repr_html_(self) -> str:
        rows = [(f.severity, f.message, f.remedy or "") for f in self.findings[:MAX_ROWS_SHOWN]]
        if (more := len(self.findings) - MAX_ROWS_SHOWN) > 0:
            rows.append((self.findings[-1].severity, f"… and {more} more", ""))
        parts = [html.heading("Pre-flight", str(self.verdict)), html.facts([("verdict", self.summary)])]
        if rows:
            parts.append(html.table(["", "finding", "what to do"], rows))
        if len(self.groups) > 1:
            shown = enumerate(self.groups[:MAX_ROWS_SHOWN], 1)
            ends = [(n, len(group), PurePosixPath(group[0]).name, PurePosixPath(group[-1]).name) for n, group in shown]
            parts.append(html.table(["group", "files", "first", "last"], ends))
        cost = self.cost
        estimates = [
            ("to make", cost.references, cost.conversion),
            ("to read one map", cost.virtual_map, cost.converted_map),
            ("to read one point over all time", cost.virtual_series, cost.converted_series),
        ]
        return "".join([*parts, html.table(["estimated", "through references", "converted to Zarr"], estimates)])
