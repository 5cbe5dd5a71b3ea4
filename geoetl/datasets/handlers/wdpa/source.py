"""Where a release is: at Protected Planet by its month, at IBAT by an address that it gives, or in a folder."""

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from geoetl.core.errors import ConfigurationError, FormatNotAllowed, NotFound, UnreadableFile
from geoetl.core.request import Request
from geoetl.datasets.fetching import (
    fetch,
    file_put_there,
    is_put_there,
    release_put_there,
    stamp_text,
    suffix_of,
    take,
)
from geoetl.datasets.protocol import Task
from geoetl.datasets.release import Download, FetchedFile, Release
from geoetl.datasets.upstream import AccessRefused, Auth, SourceChanged

CREDENTIALS = ("AUTH_KEY", "AUTH_TOKEN")
# Not of the locale: files are called so everywhere.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = re.compile(rf"({'|'.join(_MONTHS)})[a-z]*[ _-]?(\d{{4}})", re.IGNORECASE)
_PATTERNS = ("wdp*_shp.zip", "wdp*.gpkg", "wdp*.geojson", "wdp*.zip", "*.zip", "*.gpkg", "*.geojson")
# What is taken of several: one file that says all of itself, then those of one layer or more; a geodatabase is last.
_PREFERRED = (("geojson",), ("shp", "shapefile", "gpkg", "geopackage"), (), ("gdb", "geodatabase"))


class WdpaConfig(Request):
    """What the handler is told.

    Attributes:
        route: ``public``: a file of Protected Planet, in the folder at `Definition.source_url`; ``ibat``: what the API
            of IBAT at that URL leads to, for those who have an account.
        file: Name of the file of the public route; ``{month}`` stands for "Sep2026".
        dataset: What is asked of IBAT.
        parts: Archives inside of the file, when it is of Shapefiles.
    """

    route: Literal["public", "ibat"] = "public"
    file: str = Field("WDPA_{month}_Public_shp.zip", pattern=r"^[\w{}.-]+$", max_length=100)
    dataset: str = Field("wdpa", pattern=r"^[a-z0-9_]+$", max_length=40)
    parts: int = Field(3, ge=1, le=100)


def month_token(day: date) -> str:
    """Return what files of a month are called by: "Sep2026"."""
    return f"{_MONTHS[day.month - 1]}{day.year}"


def first_of_month(text: str) -> str:
    """Return the first day of a month that stands in a text ("Sep2026", "May 2023") in ISO 8601; empty for none."""
    found = _MONTH.search(text)
    return f"{found[2]}-{_MONTHS.index(found[1].capitalize()) + 1:02d}-01" if found else ""


def look(task: Task, config: WdpaConfig, today: date) -> Release:
    """Return what the source offers.

    Raises:
        NotFound: It has neither the file of this month nor that of the month before.
        UnreadableFile: IBAT answers otherwise than it did.
        ConfigurationError: IBAT is asked without credentials.
        FormatNotAllowed: It offers a file geodatabase only.
        NotFound, SourceRefused, SourceUnavailable: See `Upstream`.
    """
    if is_put_there(task):
        path = file_put_there(task, _PATTERNS)
        found = _MONTH.search(path.name)
        return release_put_there(task, path, f"wdpa{suffix_of(path.name)}", "".join(found.groups()) if found else "")
    return _look_at_ibat(task, config) if config.route == "ibat" else _look_at_public(task, config, today)


def get(task: Task, config: WdpaConfig, release: Release) -> FetchedFile:
    """Fetch the file of a release.

    Raises:
        SourceChanged: It is another one than that of `release`.
        GeoetlError: See `fetch`.
    """
    if is_put_there(task):
        return take(task, release, file_put_there(task, _PATTERNS))
    download = release.downloads[0]
    if config.route == "public" or (task.folder / download.name).is_file():
        return fetch(task, download)
    # What it gave at the check is not valid for long.
    url, update_date = _ask_ibat(task, config)
    if update_date != release.stamp:
        raise SourceChanged(
            f"IBAT has the release '{update_date}' now, and had '{release.stamp}' when it was asked first.",
            hint="Start the update again: it looks at the source anew.",
            field="source_url",
        )
    return fetch(task, download, url=url)


def _look_at_public(task: Task, config: WdpaConfig, today: date) -> Release:
    folder = task.definition.source_url.rstrip("/")
    before = today.replace(day=1) - timedelta(days=1)
    for month in (month_token(today), month_token(before)):
        name = config.file.replace("{month}", month)
        url = f"{folder}/{name}"
        try:
            said = task.upstream.head(url)
        except (NotFound, AccessRefused):  # object stores answer 403 for what is not there
            continue
        download = Download(name=f"wdpa{suffix_of(name)}", url=url, bytes=said.bytes, etag=said.etag)
        # A release that is gone for an hour is no reason to go back to the one before.
        is_older = task.live is not None and first_of_month(month) < first_of_month(task.live.source_version)
        return Release(
            source_version=month,
            stamp=f"{month} {stamp_text(said)}",
            downloads=(download,),
            about=(f"Not there yet: {month_token(today)}.",) if month != month_token(today) else (),
            is_news=not is_older,
        )
    raise NotFound(
        f"The source has no file '{name}', nor that of {month_token(today)}.",
        hint="See under which name and address Protected Planet offers it now: source_url, source_config.file.",
        field="source_url",
    )


def _look_at_ibat(task: Task, config: WdpaConfig) -> Release:
    url, update_date = _ask_ibat(task, config)
    parts = urlsplit(url)
    # Without its query, which is a signature.
    shown = f"{parts.scheme}://{parts.hostname}{parts.path}"
    download = Download(name=f"wdpa{suffix_of(parts.path)}", url=shown)
    return Release(source_version=update_date, stamp=update_date, downloads=(download,))


def _ask_ibat(task: Task, config: WdpaConfig) -> tuple[str, str]:
    """Return the signed address of the file, and of when it is."""
    key = task.definition.credential_key
    if key is None:
        raise ConfigurationError(
            "IBAT wants to know who asks, and the dataset has no credential_key.",
            hint="Set credential_key: WDPA in its definition, and WDPA_AUTH_KEY and WDPA_AUTH_TOKEN for the workers.",
            field="credential_key",
        )
    # Its API takes them in no other way; `Upstream` adds them to what is sent and shows them nowhere.
    auth = Auth(query={end.lower(): f"{key}_{end}" for end in CREDENTIALS})
    answer = task.upstream.get_json(task.definition.source_url, params={"dataset_name": config.dataset}, auth=auth)
    update_date = answer.get("update_date") if isinstance(answer, dict) else None
    addresses = sorted(_addresses(answer), key=_rank)
    for address in addresses:
        # Whoever has it can fetch the file, so it is kept out of what is told.
        task.upstream.keep_secret(urlsplit(address).query)
    if not addresses or not isinstance(update_date, str) or not update_date.strip():
        raise UnreadableFile(
            "IBAT did not answer with download_url and update_date.",
            hint="See whether its API changed, and whether the account includes the data set.",
            field="source_url",
        )
    if _rank(addresses[0]) == len(_PREFERRED) - 1:
        raise FormatNotAllowed(
            "IBAT offers a file geodatabase only, which is not opened.",
            hint="Ask it for Shapefile, GeoPackage or GeoJSON, or fetch such a file and put it into a folder.",
            field="source_url",
        )
    return addresses[0], update_date.strip()


def _addresses(answer: Any) -> Iterator[str]:
    """Yield the addresses of an answer, one or several."""
    if isinstance(answer, str) and answer.startswith(("https://", "http://")):
        yield answer
    elif isinstance(answer, Mapping):
        for name, value in answer.items():
            if not isinstance(value, str) or "url" in str(name).lower():
                yield from _addresses(value)
    elif isinstance(answer, list):
        for value in answer:
            yield from _addresses(value)


def _rank(address: str) -> int:
    """Return how far back a file stands among those that are offered."""
    name = urlsplit(address).path.lower()
    named = (rank for rank, words in enumerate(_PREFERRED) if any(word in name for word in words))
    return next(named, _PREFERRED.index(()))
