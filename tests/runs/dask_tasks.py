"""Tasks for Dask workers: moments of random numbers, and some that end their process or stop it.

What a worker loads for them is little: it says nothing while it loads, and one that is silent for long is replaced.
"""

import os
import signal
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoetl.core.errors import InvalidParameter


def moments(number: int) -> list[float]:
    """Return sum, sum of squares and largest of some numbers, to the last bit the same wherever it is called."""
    if number < 0:
        raise InvalidParameter(f"{number} is negative.")
    values = np.random.default_rng(number).standard_normal(20_000)
    return [float(values.sum()), float((values * values).sum()), float(values.max())]


def process_of(number: int) -> int:
    """Return the process that it is called in."""
    time.sleep(0.05)  # so that each worker has its share
    return os.getpid()


@dataclass(frozen=True)
class Struck:
    """Returns moments; a signal strikes the process that comes to some number.

    Attributes:
        marks: Folder where each call leaves a file.
        number: What the signal waits for.
        signal: Which one.
        once: Whether it strikes only once.
        sleep_s: How long each call takes besides, seconds.
    """

    marks: Path
    number: int
    signal: int = signal.SIGKILL
    once: bool = True
    sleep_s: float = 0.0

    def __call__(self, number: int) -> list[float]:
        first = not any(self.marks.glob(f"{number}-*"))
        (self.marks / f"{number}-{uuid.uuid4().hex}").touch()
        time.sleep(self.sleep_s)
        if number == self.number and (first or not self.once):
            os.kill(os.getpid(), self.signal)
        return moments(number)

    @property
    def calls(self) -> Counter[int]:
        """How often each number came up."""
        return Counter(int(path.name.partition("-")[0]) for path in self.marks.iterdir())
