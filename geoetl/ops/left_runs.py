"""Runs that nobody executes and nobody will: what workers do not see to by themselves.

A worker takes runs from processes that it finds dead. That leaves those that died when there was no worker, runs of
notebooks that a person executed and left, and runs that wait without being next of their subject.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from geoetl.core import html
from geoetl.ops.model import Action, Fate, Leftover, Part
from geoetl.ops.objects import acted
from geoetl.runs.queue import Holder, RunQueue


@dataclass(frozen=True)
class LeftRuns:
    """The rows of runs and of the processes that execute them."""

    queue: RunQueue

    def find(self, now: float, older_than_s: float) -> Iterator[Leftover]:
        """Yield what is left.

        Args:
            now: Unix time.
            older_than_s: So long a process was silent, or a run was left to itself, seconds.
        """
        for holder in self.queue.holders():
            if reason := self._lost(holder, now, older_than_s):
                yield Leftover(
                    part=Part.RUNS,
                    name=f"process {holder.id}" if holder.id else "runs without a process",
                    since=holder.seen_at,
                    reason=reason,
                    mark=str(holder.beats),
                )
        for left in self.queue.left(now - older_than_s):
            yield Leftover(
                part=Part.RUNS,
                name=f"run {left.id}",
                since=left.started_at or left.created_at,
                reason=f"its process is gone, and nobody went on with {left.pipeline}",
                mark=str(left.events),
            )
        for subject, waiting in self.queue.unseated().items():
            yield Leftover(
                part=Part.RUNS,
                name=f"subject {subject}",
                since=now,
                reason=f"{waiting} run{'s' if waiting > 1 else ''} of it wait, and none is the next",
            )

    def mend(self, leftover: Leftover) -> Action:
        """Bring it to its end, unless its process lives or somebody has gone on with it."""
        kind, _, name = leftover.name.partition(" ")
        match kind:
            case "process" | "runs":
                wanted = name if kind == "process" else ""
                holder = next((one for one in self.queue.holders() if one.id == wanted), None)
                if holder is None or str(holder.beats) != leftover.mark:
                    return acted(leftover, Fate.KEPT, "it has ended, or lives")
                self.queue.reclaim(holder)
                return acted(leftover, Fate.FIXED)
            case "run":
                if not self.queue.give_up(name, int(leftover.mark)):
                    return acted(leftover, Fate.KEPT, "somebody went on with it")
                return acted(leftover, Fate.FIXED)
            case _:
                self.queue.seat(name)
                return acted(leftover, Fate.FIXED)

    def _lost(self, holder: Holder, now: float, older_than_s: float) -> str | None:
        """Return why a process is taken for dead; None when it may live."""
        if not holder.id:
            return "their process has no row any more"
        if holder.mark.is_gone:
            return "the process has ended"
        silent_s = now - holder.seen_at
        return f"no sign of life for {html.human_seconds(silent_s)}" if silent_s > older_than_s else None
