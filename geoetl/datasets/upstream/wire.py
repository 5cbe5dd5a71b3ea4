"""One connection, and how fast it has to be.

The clock is looked at below everything else, where bytes come in: so a source that sends its headers, or the sizes of
its chunks, one letter at a time is found out like one that does so with the data.
"""

import io
import socket
import time
from collections.abc import Callable
from typing import Any

from geoetl.datasets.upstream.errors import Cancelled, SourceUnavailable
from geoetl.datasets.upstream.limits import Limits

# How soon a waiting thread hears that it is to end.
_POLL_S = 0.5
_BUFFER_BYTES = 64 * 1024


class Pace:
    """The time that one question or download has.

    Args:
        limits: How long each thing may take.
        total_s: How long all of it may take.
        cancelled: Whether somebody wants it to end.
        pause: Waits for seconds.

    Attributes:
        shown: Who is asked, for messages.
    """

    def __init__(
        self,
        limits: Limits,
        total_s: float,
        cancelled: Callable[[], bool],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.limits = limits
        self.shown = "The source"
        self._total_s = total_s
        self._deadline = time.monotonic() + total_s
        self._cancelled = cancelled
        self._pause = pause
        self.begin()

    def begin(self) -> None:
        """Expect a new answer."""
        self._silent_s = 0.0
        self._waited_s = 0.0
        self._came: int | None = None

    def check(self) -> None:
        """Raise Cancelled or SourceUnavailable where it has to end."""
        if self._cancelled():
            raise Cancelled("It was cancelled.", hint="Start it again: what was fetched is kept.")
        if time.monotonic() >= self._deadline:
            raise SourceUnavailable(
                f"{self.shown} took more than {self._total_s:g} s in all.",
                hint="Try again: a download goes on where it stopped.",
            )

    def wait(self, seconds: float) -> None:
        """Wait, unless it has to end before."""
        while seconds > 0:
            self.check()
            step = min(seconds, _POLL_S)
            self._pause(step)
            seconds -= step
        self.check()

    def waited(self, seconds: float, count: int) -> None:
        """Take note of a wait for bytes, and of how many came; time in which nobody asked for any does not count.

        Raises:
            SourceUnavailable: It is too slow.
            Cancelled: Somebody wants it to end.
        """
        self.check()
        limits = self.limits
        self._silent_s = 0.0 if count else self._silent_s + seconds
        if self._silent_s >= limits.silence_s:
            raise SourceUnavailable(
                f"{self.shown} sent nothing for {limits.silence_s:g} s.",
                hint="Try again later; see whether the source has told of trouble.",
            )
        if self._came is None:  # how long it may think before it answers is silence
            self._came = count or None
            return
        self._came += count
        self._waited_s += seconds
        if self._waited_s < limits.window_s:
            return
        if self._came < limits.least_bytes_per_s * self._waited_s:
            raise SourceUnavailable(
                f"{self.shown} is too slow: {self._came:,} bytes in {self._waited_s:.0f} s.",
                hint=f"At least {limits.least_bytes_per_s:g} bytes a second are expected; try again later.",
            )
        self._came, self._waited_s = 0, 0.0


class Wire:
    """A connected socket, in what `http.client` needs of one.

    Args:
        sock: Connected, with TLS where that is spoken.
        pace: How fast it has to be; set anew for each question.
    """

    def __init__(self, sock: socket.socket, pace: Pace) -> None:
        self._socket = sock
        self.pace = pace
        self._readers = 0
        self._is_closed = False
        sock.settimeout(_POLL_S)

    def sendall(self, data: Any) -> None:
        """Send all of it; what is sent is small, so one wait is enough."""
        self._socket.settimeout(self.pace.limits.silence_s)
        self._socket.sendall(data)
        self._socket.settimeout(_POLL_S)

    def receive(self, into: memoryview) -> int:
        """Read what has come; 0 at the end."""
        while True:
            began = time.monotonic()
            try:
                count = self._socket.recv_into(into)
            except TimeoutError:
                self.pace.waited(time.monotonic() - began, 0)
                continue
            if count:
                self.pace.waited(time.monotonic() - began, count)
            return count

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a reader of one answer."""
        self._readers += 1
        self.pace.begin()
        return io.BufferedReader(_Reader(self), _BUFFER_BYTES)

    def close(self) -> None:
        """Close it as soon as the answer that is being read is closed too (`http.client` relies on that)."""
        self._is_closed = True
        if not self._readers:
            self._socket.close()

    def reader_closed(self) -> None:
        """Take note that an answer is not read any more."""
        self._readers -= 1
        if self._is_closed:
            self.close()


class _Reader(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        self._wire: Wire | None = wire

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        assert self._wire is not None
        return self._wire.receive(memoryview(into))

    def close(self) -> None:
        super().close()
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.reader_closed()
