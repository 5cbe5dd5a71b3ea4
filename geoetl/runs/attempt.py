"""Calls whose error comes back as a value."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from geoetl.core.errors import GeoetlError, RunFailed, Unavailable


@dataclass(frozen=True)
class Attempt:
    """Call a function so that its error comes back as a value; runs on Dask workers, so it has to be picklable."""

    function: Callable[[Any], Any]

    def __call__(self, item: Any) -> Any:
        try:
            return self.function(item)
        except GeoetlError as error:
            return error
        except Exception as error:  # noqa: BLE001  the edge between a task and whatever a library throws
            return unforeseen("task", error)


def unforeseen(name: str, error: Exception) -> RunFailed | Unavailable:
    """Return the error of ours for whatever a library threw; what passes by itself is told apart."""
    # Paths of this machine are nobody's business; a file's own name says enough.
    first_line = re.sub(r"(?:/[\w.+@-]+)+/([\w.+@-]+)", r"\1", (str(error).splitlines() or [""])[0])[:200]
    if isinstance(error, ConnectionError | TimeoutError):
        return Unavailable(f"'{name}' lost a connection ({type(error).__name__}): {first_line}", hint="Try again.")
    return RunFailed(
        f"'{name}' stopped with {type(error).__name__}: {first_line}",
        hint="The executed notebook shows where. Please report it if the input is in order.",
    )
