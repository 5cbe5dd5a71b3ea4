"""What a handler tells: what its source offers, what was fetched, and what it made ready of it."""

from typing import Any

from pydantic import Field

from geoetl.core.findings import Finding
from geoetl.runs.model import Result


class Download(Result):
    """Something that has to be fetched.

    Attributes:
        name: Of the file it becomes.
        url: Where from; without credentials.
        bytes: Its size, where the source tells.
        etag: What the source recognises it by.
    """

    name: str
    url: str
    bytes: int | None = None
    etag: str | None = None


class Release(Result):
    """What the upstream offers now.

    Attributes:
        source_version: As people name it: "5.1.1", "Sep2026", a day.
        stamp: What tells it from every other; the same stamp is the same release.
        downloads: What would be fetched.
        about: What else is known, for the plan ("12 tiles of 3 are new").
        is_news: False where the handler knows that nothing changed although the stamp did.
    """

    source_version: str = Field(min_length=1, max_length=200)
    stamp: str = Field(min_length=1, max_length=2000)
    downloads: tuple[Download, ...] = ()
    about: tuple[str, ...] = ()
    is_news: bool = True


class FetchedFile(Result):
    """A file that was fetched, checked and digested."""

    name: str
    bytes: int
    sha256: str


class Fetched(Result):
    """What was fetched.

    Attributes:
        files: In the folder of the release.
        bytes: Their size together.
        memo: What the handler wants to know next time; kept with the version.
    """

    files: tuple[FetchedFile, ...] = ()
    bytes: int = 0
    memo: dict[str, Any] = Field(default_factory=dict)


class PreparedVector(Result):
    """Features that a handler made ready.

    Attributes:
        suffix: Ends the id of the item ("_points"); empty for the only one.
        file: Name of the GeoParquet in the workspace, in the columns that users get.
        title: Title of the item.
        description: What the features are.
        key: Column that names a feature from version to version.
        temporal_property: Column with their time, or two as BEGIN/END.
        valid_at: What time they describe (ISO 8601).
        keywords: Words to find them by.
        style: CartoSym-JSON to draw them by; None takes one from the data.
        findings: What the handler noticed: rows left out, values that are none; an error holds the version.
    """

    suffix: str = ""
    file: str
    title: str
    description: str = ""
    key: str
    temporal_property: str = ""
    valid_at: str = ""
    keywords: tuple[str, ...] = ()
    style: dict[str, Any] | None = None
    findings: tuple[Finding, ...] = ()


class PreparedRaster(Result):
    """A raster that a handler made ready.

    Attributes:
        suffix: Ends the id of the item ("_n05e005").
        file: Name of the GeoTIFF in the workspace.
        title: Title of the item.
        description: What it shows.
        valid_at: What time it describes (ISO 8601).
        properties: Further properties of the item.
        style: CartoSym-JSON to draw it by; None takes one from the data.
        content: Digest of what it is made of; an update that goes on after it was interrupted makes it once
            (`Task.is_made`).
        findings: What the handler noticed: rows left out, values that are none; an error holds the version.
    """

    suffix: str
    file: str
    title: str
    description: str = ""
    valid_at: str = ""
    properties: dict[str, Any] = Field(default_factory=dict)
    style: dict[str, Any] | None = None
    content: str = ""
    findings: tuple[Finding, ...] = ()


class Unchanged(Result):
    """An item of the live version that stays as it is.

    Attributes:
        suffix: Ends its id.
    """

    suffix: str


class MadeBefore(Result):
    """An item that this update has made already, before it was interrupted.

    Attributes:
        suffix: Ends its id.
    """

    suffix: str


Prepared = PreparedVector | PreparedRaster | Unchanged | MadeBefore
