"""What of a run may be told to others: no secret, and no folder of this machine; a file's name says enough."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from geoetl.core.logging import redacted
from geoetl.runs.model import RunEvent, RunRecord, Stage

_PATH = re.compile(r"(?:[A-Za-z]:)?[/\\].+")
_PATH_WITHIN = re.compile(r"(?<![\w:/])/(?:[\w.+@~-]+/)+[\w.+@~-]*")


def paths_in(value: Any) -> dict[str, str]:
    """Return each path among values, with the name that is shown for it."""
    if isinstance(value, str):
        return {value: PurePosixPath(value).name} if _PATH.fullmatch(value) and len(value) > 1 else {}
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return {path: name for part in inner for path, name in paths_in(part).items()}


def public(value: Any, hidden: Mapping[str, str]) -> Any:
    """Return a document without secrets and without the folders of this machine.

    Args:
        value: The document.
        hidden: Paths that may stand anywhere in its texts, with what is shown for them.
    """
    if isinstance(value, str):
        for path, name in hidden.items():
            value = value.replace(path, name)
        return redacted(_PATH_WITHIN.sub(lambda found: PurePosixPath(found[0]).name, value))
    if isinstance(value, Mapping):
        return {name: public(inner, hidden) for name, inner in value.items()}
    return [public(inner, hidden) for inner in value] if isinstance(value, list | tuple) else value


def public_record(record: RunRecord) -> RunRecord:
    """Return a run as others may see it."""
    hidden = paths_in(record.parameters)
    told: dict[str, Any] = {
        name: public(getattr(record, name), hidden) for name in ("subject", "parameters", "result", "error")
    }
    return record.model_copy(update={**told, "stages": tuple(_public_stage(one, hidden) for one in record.stages)})


def public_event(event: RunEvent, record: RunRecord) -> RunEvent:
    """Return what happened to a run as others may see it.

    Args:
        event: What happened.
        record: The run, with its parameters as they were given.
    """
    return event.model_copy(update={"data": public(event.data, paths_in(record.parameters))})


def _public_stage(stage: Stage, hidden: Mapping[str, str]) -> Stage:
    said = {"warnings": tuple(public(stage.warnings, hidden)), "error": public(stage.error, hidden)}
    return stage.model_copy(update=said)
