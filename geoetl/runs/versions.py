"""Versions that have to be the same on Dask workers as here."""

import sys
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import ConfigurationError, Unavailable
from geoetl.runs.deployments import ADDRESS, CONNECT_TIMEOUT_S

if TYPE_CHECKING:
    from distributed import Client

# Pickles and results depend on these: other versions may give another answer, or none.
_SAME = ("geoetl", "dask", "distributed", "cloudpickle", "numpy", "pydantic")


def check_versions(made: "Client") -> None:
    """Refuse workers on which a task may do something else than here.

    Raises:
        ConfigurationError: Python differs, or a package that pickles or results depend on.
    """
    try:
        theirs = made.sync(made._get_versions, packages=_SAME, callback_timeout=CONNECT_TIMEOUT_S)["workers"]
    except (TimeoutError, OSError):
        raise Unavailable("The Dask workers do not answer.", hint="Look for those that hang.") from None
    ours = own_versions()
    differing = []
    for name, wanted in ours.items():
        found = Counter(_version(name, worker) for worker in theirs.values())
        others = [f"{number} has {other}" for other, number in sorted(found.items()) if other != wanted]
        if others:
            differing.append(f"{name} {wanted} here, of {len(theirs)} {', '.join(others)}")
    if differing:
        raise other_versions("; ".join(differing))


@cache
def own_versions() -> Mapping[str, str]:
    """Return the versions that have to be the same on a worker."""
    return {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", **{name: version(name) for name in _SAME}}


def other_versions(what: str) -> ConfigurationError:
    """Return the error for workers with other versions than here."""
    return ConfigurationError(
        f"The Dask workers have other versions than this process: {what}.",
        hint="Install the same versions in the environment of the workers, and start them again.",
        field=ADDRESS,
    )


def _version(name: str, worker: Mapping[str, Any]) -> str:
    found = str(worker["packages"].get(name) or "none")
    return ".".join(found.split(".")[:2]) if name == "python" else found
