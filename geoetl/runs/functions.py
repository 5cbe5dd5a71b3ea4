"""Light work of the platform itself, executed as runs: what is too small for a notebook.

A function is a class: its fields are the parameters, its call the work. Packages add theirs under the entry point
``geoetl.functions``.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geoetl.core.errors import InvalidParameter
from geoetl.core.identifiers import digest
from geoetl.core.registry import Registry
from geoetl.runs.model import Result, RunKind
from geoetl.runs.queue import Submission
from geoetl.runs.stage import Run

ENTRY_POINTS = "geoetl.functions"
DAY_S = 86_400.0


class LightFunction(BaseModel, ABC):
    """Base of functions; the fields of one are its parameters.

    It may be called again after its process died: what has to happen once is done in `Run.once`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: What it does, in a few words.
    title: ClassVar[str]
    #: It has failed when it takes longer, seconds.
    limit_s: ClassVar[float] = 60.0

    def is_needed(self, platform: Any) -> bool:
        """Tell cheaply whether there is anything to do: a slot of a schedule in which there is not has no run."""
        return True

    @abstractmethod
    def __call__(self, run: Run, platform: Any) -> BaseModel | None:
        """Do it.

        Args:
            run: The run that it is; for stages, and for what has to happen once.
            platform: What the worker works for.
        """


class Purged(Result):
    """What was removed."""

    events: int


@final
class PurgeEvents(LightFunction):
    """Remove what happened, line by line, in runs that were over long ago; the runs themselves stay."""

    title = "Remove the events of old runs"
    days: int = Field(90, ge=1, description="Events of runs that were over before so many days are removed")

    def __call__(self, run: Run, platform: Any) -> Purged:
        """Remove them."""
        return Purged(events=run.repository.purge_events(time.time() - self.days * DAY_S))


FUNCTIONS: Registry[type[LightFunction]] = Registry("function", {"purge-events": PurgeEvents})


def installed_functions() -> Registry[type[LightFunction]]:
    """Return our functions and those of installed packages."""
    return FUNCTIONS.with_entry_points(ENTRY_POINTS)


def function_submission(
    functions: Registry[type[LightFunction]],
    name: str,
    parameters: Mapping[str, Any],
    *,
    subject: str | None = None,
    salt: str = "",
    **further: Any,
) -> Submission:
    """Return a request to run a function, after a look at its parameters.

    Args:
        functions: Which there are.
        name: Which one.
        parameters: Its fields.
        subject: What it works on; by default the function with these parameters.
        salt: Tells requests apart that would be the same otherwise.
        **further: Of the `Submission`.

    Raises:
        NotFound: There is no such function.
        InvalidParameter: A parameter is unknown, missing or of the wrong type.
    """
    function = checked_function(functions, name, parameters)
    values = function.model_dump(mode="json")
    own = f"{name}/{digest(values)[:16]}"
    return Submission(
        pipeline=name,
        parameters=values,
        identity=digest([RunKind.FUNCTION, name, values, salt]),
        subject=subject or own,
        kind=RunKind.FUNCTION,
        **further,
    )


def checked_function(
    functions: Registry[type[LightFunction]], name: str, parameters: Mapping[str, Any]
) -> LightFunction:
    """Return a function with its parameters.

    Raises:
        NotFound: There is no such function.
        InvalidParameter: A parameter is unknown, missing or of the wrong type.
    """
    try:
        return functions[name].model_validate(dict(parameters))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidParameter(
            f"The parameter '{field}' of the function '{name}' is not right: {first['msg']}.", field=field
        ) from None
