"""What went wrong, as a person is told: a sentence, the next step, and details for support."""

import logging
from dataclasses import dataclass

from geoetl.core.errors import GeoetlError
from geoetl.core.identifiers import new_id

_log = logging.getLogger("geoetl.dashboard")


@dataclass(frozen=True)
class Problem:
    """An error as a page shows it.

    Attributes:
        sentence: What happened.
        next_step: What the person can do; empty where there is nothing to do.
        details: For support: the stable code, the field, the number under which the log has the rest.
        field: The input that caused it, where there is one.
    """

    sentence: str
    next_step: str
    details: str
    field: str | None = None

    @classmethod
    def of(cls, error: Exception, doing: str) -> "Problem":
        """Describe `error`, met while `doing` something ("opening Landsat"); an unexpected one goes to the log."""
        if isinstance(error, GeoetlError):
            field = f", field {error.field}" if error.field else ""
            return cls(error.detail, error.hint or "", f"{error.code}{field}, while {doing}", error.field)
        number = new_id()
        _log.error("%s: unexpected error while %s", number, doing, exc_info=error)
        return cls(
            f"Something unexpected happened while {doing}.",
            "Try it again. If it happens again, give the number in the details to whoever runs this server.",
            f"{type(error).__name__}, number {number} in the server's log",
        )
