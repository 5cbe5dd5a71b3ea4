"""What is checked of a release before anybody decides on it, and what its making has noticed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from geoetl.core.findings import Severity
from geoetl.publish.comparison import item_of
from geoetl.publish.model import Manifest, Release, State
from geoetl.runs.model import RunRecord

# What is public without naming a licence cannot be used by anybody.
_NO_LICENCE = ("", "other", "proprietary", "various")
_WEB = re.compile(r"https?://", re.ASCII)
_ROLES_OF_DATA = ("data", "references")
MAX_NOTICED = 40


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        name: What was looked at.
        severity: ``info`` where all is right.
        told: What was found, in a sentence.
    """

    name: str
    severity: Severity
    told: str

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong."""
        return self.severity is Severity.INFO


def checks(release: Release, *, next_version: int, present: Mapping[str, Any] | None) -> tuple[Check, ...]:
    """Return what the checks of a release found, in their order.

    Args:
        release: As it stands.
        next_version: Which version approval would assign.
        present: The item of the catalogue as it is now; None where it is there no more.
    """
    manifest = release.manifest
    return (
        _version(release, next_version),
        _licence(manifest),
        _attribution(manifest),
        _data(manifest),
        _addresses(manifest),
        _catalogue(release, present),
        *_verification(manifest),
    )


def noticed(made_by: RunRecord | None) -> tuple[tuple[str, str], ...]:
    """Return what the stages of the run that made an item said: name of the stage, and the sentence."""
    if made_by is None:
        return ()
    return tuple((stage.name, warning) for stage in made_by.stages for warning in stage.warnings)[:MAX_NOTICED]


def addresses(document: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every address in a STAC document: where it stands, and the address."""
    if isinstance(document, Mapping):
        for name, inner in document.items():
            if name == "href" and isinstance(inner, str):
                yield place or name, inner
            else:
                yield from addresses(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(document, list | tuple):
        for number, inner in enumerate(document):
            yield from addresses(inner, f"{place}[{number}]")


def _version(release: Release, next_version: int) -> Check:
    name, made_for = "Version", release.manifest.version
    if release.version is not None:
        return Check(name, Severity.INFO, f"It is version {release.version}.")
    if made_for in (None, next_version):
        return Check(name, Severity.INFO, f"It becomes version {next_version}.")
    told = f"It was made as version {made_for}, and the next one is {next_version}: it has to be submitted again."
    return Check(name, Severity.ERROR, told)


def _licence(manifest: Manifest) -> Check:
    if manifest.license.lower() in _NO_LICENCE:
        told = f"“{manifest.license}” tells nobody what they may do with it." if manifest.license else "It names none."
        return Check("Licence", Severity.WARNING, told)
    return Check("Licence", Severity.INFO, f"{manifest.license}.")


def _attribution(manifest: Manifest) -> Check:
    if not manifest.attribution:
        return Check("Attribution", Severity.WARNING, "It does not say whose data these are.")
    return Check("Attribution", Severity.INFO, manifest.attribution)


def _data(manifest: Manifest) -> Check:
    empty = [one.target for one in manifest.objects if one.bytes == 0]
    if empty:
        return Check("Data", Severity.ERROR, f"{len(empty):,} of its files are empty, the first is {empty[0]}.")
    if not any(one.role in _ROLES_OF_DATA for one in manifest.objects):
        return Check("Data", Severity.ERROR, "None of its files holds data.")
    return Check("Data", Severity.INFO, "Each of its files has a size and a checksum, and none is empty.")


def _addresses(manifest: Manifest) -> Check:
    """Look whether every address leads to what becomes public too, or to the web."""
    targets = {one.target for one in manifest.objects} | set(manifest.documents)
    folders = {target.rsplit("/", depth)[0] for target in targets for depth in range(1, target.count("/") + 1)}
    wrong = []
    item = item_of(manifest)
    for place, address in addresses(item):
        is_relative = not urlsplit(address).scheme and not address.startswith("/")
        if not is_relative and not _WEB.match(address):
            wrong.append(place)
        elif is_relative and place.startswith("assets."):
            name = address.removeprefix("./").rstrip("/")
            if name not in targets and name not in folders:
                wrong.append(place)
    if not item:
        return Check("Addresses", Severity.ERROR, "It has no STAC item.")
    if wrong:
        told = f"{len(wrong):,} of them lead to what is not public, the first at {wrong[0]}."
        return Check("Addresses", Severity.ERROR, told)
    return Check("Addresses", Severity.INFO, "Each leads to something that becomes public with it, or to the web.")


def _catalogue(release: Release, present: Mapping[str, Any] | None) -> Check:
    name = "Catalogue"
    if present is None:
        return Check(name, Severity.WARNING, "The item is in the catalogue no more.")
    sums = {str(one.get("file:checksum", ""))[-64:] for one in present.get("assets", {}).values()}
    changed = [
        one.target
        for one in release.manifest.objects
        if one.role == "data" and any(sums - {""}) and "/" not in one.target and one.sha256 not in sums
    ]
    if changed and release.state is not State.PUBLISHED:
        told = f"The item has other data by now ({changed[0]}): what becomes public is what was submitted."
        return Check(name, Severity.WARNING, told)
    return Check(name, Severity.INFO, "The item of the catalogue has the same data.")


def _verification(manifest: Manifest) -> tuple[Check, ...]:
    lineage = str(item_of(manifest).get("properties", {}).get("processing:lineage") or "")
    if "references" not in {one.role for one in manifest.objects} or not lineage:
        return ()
    return (Check("Cube against its sources", Severity.INFO, lineage),)
