"""The state of the page as the query of its address, so that a link opens the same view."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, urlencode

from geoetl.core.errors import InputError, did_you_mean
from geoetl.runs.model import RunState

# Parameters of a run to be started, as against those of the page.
_WITH = "with."
_ID = re.compile(r"[0-9A-Za-z]{1,64}")
_NAME = re.compile(r"[\w.-]{1,200}")
# Longer values are not put into a link.
MAX_VALUE = 500
SCHEDULES = "schedules"


@dataclass(frozen=True)
class Address:
    """Everything that a link carries; empty parts are left out of it.

    Attributes:
        run: Id of the run that is open.
        start: Name of the pipeline whose form is open.
        given: What was filled in, by the name of the parameter.
        view: ``schedules``, where they are shown instead.
        state: Only runs that stand so are listed.
        pipeline: Only runs of this one are listed.
        text: Only runs with these words are listed.
    """

    run: str = ""
    start: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    view: str = ""
    state: str = ""
    pipeline: str = ""
    text: str = ""

    @classmethod
    def parse(cls, query: str) -> Self:
        """Read the query of an address, with or without its question mark; unknown names are passed over.

        Raises:
            InputError: An id, a name or a state is not right.
        """
        pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=True)
        one = dict(pairs)
        state = one.get("state", "")
        if state and state not in list(RunState):
            raise InputError(f"'{state[:40]}' is no state of a run.", hint=did_you_mean(state, RunState), field="state")
        return cls(
            run=_checked(one.get("run", ""), _ID, "run"),
            start=_checked(one.get("start", ""), _NAME, "start"),
            given={name.removeprefix(_WITH): value for name, value in pairs if name.startswith(_WITH)},
            view=SCHEDULES if one.get("view") == SCHEDULES else "",
            state=state,
            pipeline=_checked(one.get("pipeline", ""), _NAME, "pipeline"),
            text=one.get("text", "")[:MAX_VALUE],
        )

    def query(self) -> str:
        """Return the query with its question mark; empty where there is nothing to say."""
        pairs = [("run", self.run), ("start", self.start), ("view", self.view)]
        pairs += [("state", self.state), ("pipeline", self.pipeline), ("text", self.text)]
        told = [(name, value) for name, value in pairs if value]
        if self.start:
            told += [(f"{_WITH}{name}", value) for name, value in self.given.items() if len(value) <= MAX_VALUE]
        text = urlencode(told, safe=",/:")
        return f"?{text}" if text else ""


def _checked(text: str, allowed: re.Pattern[str], name: str) -> str:
    if text and not allowed.fullmatch(text):
        raise InputError(f"'{text[:40]}' is not right for '{name}'.", hint="Choose it on the page.", field=name)
    return text
