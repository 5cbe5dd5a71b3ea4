"""One tree of errors, grouped by what the catcher does next.

Each class has a stable ``code`` (for programs), an HTTP ``status`` (for the API) and an ``exit_code`` (for the
command line).  Each error says in one sentence what was got and what was expected, and in ``hint`` what to do next.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

# How many names an error lists before it stops being readable.
MAX_NAMES_LISTED = 12


class GeoetlError(Exception):
    """Base of every error that geoetl raises on purpose.

    Args:
        detail: One plain sentence: what was got, what was expected, with units.
        hint: The next step for the person who reads it.
        field: The parameter or column that caused it.

    Attributes:
        errors: Each of several things that are wrong at once, for an answer over HTTP.
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "geoetl could not do this"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, hint: str | None = None, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.field = field
        self.errors: Sequence[Mapping[str, str]] = ()

    def __str__(self) -> str:
        return f"{self.detail}\n{self.hint}" if self.hint else self.detail

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process borders (Dask, spawn) and would lose their keywords otherwise.
        return (_rebuild, (type(self), self.detail, self.hint, self.field))

    def _render_traceback_(self) -> list[str]:
        """Show a sentence, not a stack, in a notebook (IPython's protocol)."""
        lines = [f"{self.title} ({self.code})", self.detail]
        return [*lines, f"→ {self.hint}"] if self.hint else lines

    def problem(self) -> dict[str, Any]:
        """Return the body of an ``application/problem+json`` answer (RFC 9457, plus code, field and hint)."""
        return {
            "type": f"urn:geoetl:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "error": self.detail,
            "code": self.code,
            "field": self.field,
            "hint": self.hint,
        }

    @staticmethod
    def from_problem(problem: dict[str, Any]) -> "GeoetlError":
        """Rebuild the error that `problem` described; an unknown code gives the base class."""
        kind = _by_code(GeoetlError).get(str(problem.get("code")), GeoetlError)
        return kind(str(problem.get("detail", "")), hint=problem.get("hint"), field=problem.get("field"))


def _rebuild(kind: type[GeoetlError], detail: str, hint: str | None, field: str | None) -> GeoetlError:
    return kind(detail, hint=hint, field=field)


def _by_code(kind: type[GeoetlError]) -> dict[str, type[GeoetlError]]:
    found = {kind.code: kind}
    for sub in kind.__subclasses__():
        found.update(_by_code(sub))
    return found


class InputError(GeoetlError):
    """What the caller gave cannot be used; the same call fails again."""

    code = "invalid_input"
    title = "The input cannot be used"
    status = 400
    exit_code = 2


class InvalidParameter(InputError):
    """A parameter is unknown, missing, of the wrong type or out of range."""

    code = "invalid_parameter"
    title = "A parameter is not right"
    status = 422


class InvalidBBox(InputError):
    """A bounding box or point is not in the form or range of CRS84 degrees."""

    code = "invalid_bbox"
    title = "The place is not right"


class InvalidTime(InputError):
    """A date, interval or calendar is not right."""

    code = "invalid_time"
    title = "The time is not right"


class InvalidFilter(InputError):
    """A CQL2 filter is malformed, too deep, or uses what is not supported."""

    code = "invalid_filter"
    title = "The filter is not right"


class InvalidStyle(InputError):
    """A style is not CartoSym-JSON and cannot be read as such; ``field`` is a JSON pointer."""

    code = "invalid_style"
    title = "The style is not right"
    status = 422


class UnreadableFile(InputError):
    """A file is empty, truncated, or not what its name says."""

    code = "unreadable_file"
    title = "The file cannot be read"
    status = 422


class FormatNotAllowed(InputError):
    """A file is of a format that the gate does not open."""

    code = "format_not_allowed"
    title = "This format is not allowed"
    status = 422


class OutsideAllowedRoots(InputError):
    """A path leads outside the folders that geoetl may read."""

    code = "outside_allowed_roots"
    title = "This place may not be read"
    status = 422


class MissingCRS(InputError):
    """Data without a coordinate reference system; it is never guessed."""

    code = "missing_crs"
    title = "The coordinate reference system is missing"
    status = 422


class EmptyDataset(InputError):
    """A dataset without features, bands or steps."""

    code = "empty_dataset"
    title = "There is nothing in it"
    status = 422


class NotCMIP6(InputError):
    """A NetCDF file that does not follow the CMIP6 Data Reference Syntax."""

    code = "not_cmip6"
    title = "This is not a CMIP6 file"
    status = 422


class VerificationFailed(InputError):
    """What was made differs from its source; it was not registered."""

    code = "verification_failed"
    title = "The result differs from its source"
    status = 422
    exit_code = 7


class NotFound(GeoetlError):
    """There is nothing of that name."""

    code = "not_found"
    title = "Not found"
    status = 404
    exit_code = 3


class Conflict(GeoetlError):
    """The present state does not allow it."""

    code = "conflict"
    title = "The present state does not allow this"
    status = 409
    exit_code = 4


class ManagedData(Conflict):
    """What a managed dataset keeps was to be changed by something else."""

    code = "managed_data"
    title = "This is kept by a managed dataset"


class LimitExceeded(GeoetlError):
    """More was asked than a limit allows; nothing was read."""

    code = "limit_exceeded"
    title = "More than the limit was asked"
    status = 413
    exit_code = 5


class Unavailable(GeoetlError):
    """A part is away or busy; the same call may succeed later."""

    code = "unavailable"
    title = "A part is not available now"
    status = 503
    exit_code = 6
    retryable = True


class ConfigurationError(GeoetlError):
    """A setting or the installation has to be changed before this can work."""

    code = "configuration"
    title = "The configuration has to be changed"
    exit_code = 8


class RunFailed(GeoetlError):
    """A pipeline run ended in an error that is not one of ours."""

    code = "run_failed"
    title = "The run failed"
    exit_code = 9


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a hint that leads from a wrong `name` to the right one among `names`; empty where there are none."""
    known = sorted(set(names))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean '{close[0]}'?"
    if not known:
        return ""
    listed = ", ".join(known[:MAX_NAMES_LISTED])
    more = len(known) - MAX_NAMES_LISTED
    return f"There are: {listed}{f' and {more} more' if more > 0 else ''}."
