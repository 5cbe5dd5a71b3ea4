"""Order among questions that are asked faster than they are answered."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class Turns:
    """Lets newer answers replace older ones, never the other way round, and works out one at a time.

    A slider asks faster than pictures are drawn: of the questions that wait, only the latest is worked out; an answer
    that was begun is shown, unless a later one was shown already.
    """

    def __init__(self) -> None:
        self._working = threading.Lock()
        self._counting = threading.Lock()
        self._asked = 0
        self._shown = 0

    def ask(self) -> "Turn":
        """Take a turn, at the moment of the question."""
        with self._counting:
            self._asked += 1
            return Turn(self, self._asked)

    def is_latest(self, number: int) -> bool:
        """Tell whether no later question was asked."""
        with self._counting:
            return number == self._asked

    def may_show(self, number: int) -> bool:
        """Tell whether no later answer was shown; from now on this one counts as shown."""
        with self._counting:
            newer = number > self._shown
            self._shown = max(number, self._shown)
            return newer

    @contextmanager
    def working(self) -> Iterator[None]:
        """Wait until nothing else is worked out."""
        with self._working:
            yield


@dataclass(frozen=True)
class Turn:
    """One question's place in the order."""

    turns: Turns
    number: int

    @contextmanager
    def work(self) -> Iterator[bool]:
        """Wait for the turn; yields whether the answer is still wanted."""
        with self.turns.working():
            yield self.turns.is_latest(self.number)

    @property
    def is_latest(self) -> bool:
        """Whether no later question was asked."""
        return self.turns.is_latest(self.number)

    def may_show(self) -> bool:
        """Tell whether no later answer was shown; from now on this one counts as shown."""
        return self.turns.may_show(self.number)
