"""What a check returns when it can find many things: a list of findings instead of the first error."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Severity(StrEnum):
    """How much a finding weighs."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Finding(BaseModel):
    """One thing that a check noticed.

    Attributes:
        severity: ``error`` stops the pipeline, ``warning`` is kept with the item, ``info`` is said.
        code: Stable name of the rule.
        message: One plain sentence.
        subject: The file, band, variable or row it is about.
        got: What was met.
        expected: What would have been right.
        remedy: What a person can do about it.
    """

    model_config = ConfigDict(frozen=True)

    severity: Severity
    code: str
    message: str
    subject: str | None = None
    got: str | None = None
    expected: str | None = None
    remedy: str | None = None


def has_errors(findings: Iterable[Finding]) -> bool:
    """Tell whether any finding stops the pipeline."""
    return any(finding.severity is Severity.ERROR for finding in findings)


def sentences(findings: Sequence[Finding]) -> str:
    """Return the messages of `findings` as one line of text, worst first."""
    order = [Severity.ERROR, Severity.WARNING, Severity.INFO]
    return " ".join(finding.message for finding in sorted(findings, key=lambda f: order.index(f.severity)))
