"""What a run said, line by line."""

from collections.abc import Iterable
from dataclasses import dataclass

from geoetl.runs.model import EventKind, RunEvent

# Lines that are kept for a page; the executed notebook has all.
MAX_LINES = 500


@dataclass(frozen=True)
class LogLine:
    """One line.

    Attributes:
        at: Unix time, seconds.
        text: What was said; whoever shows it has to take it for text.
        printed: Whether the pipeline printed it; else it is something that happened.
    """

    at: float
    text: str
    printed: bool


def log_lines(happened: Iterable[RunEvent]) -> tuple[LogLine, ...]:
    """Return what happened as lines; the progress of stages is left out, which bars show."""
    lines: list[LogLine] = []
    for event in happened:
        if event.kind is EventKind.LOG:
            lines += [LogLine(event.at, text, True) for text in event.printed]
        elif event.kind is not EventKind.PROGRESS:
            lines.append(LogLine(event.at, event.sentence, False))
    return tuple(lines)
