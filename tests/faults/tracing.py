"""Children that strace watches, kills at a system call, or refuses space from one on."""

import os
import re
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from geoetl.core.errors import GeoetlError

# What takes longer hangs.
PATIENCE_S = 120
#: By these a process changes what outlasts it.
CHANGING = (
    "write", "pwrite64", "writev", "pwritev", "copy_file_range", "sendfile", "fsync", "fdatasync", "syncfs", "rename",
    "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "ftruncate", "openat",
)  # fmt: skip
#: Those that a full disk refuses.
NEED_SPACE = {"write", "pwrite64", "copy_file_range", "sendfile", "mkdir", "ftruncate", "rename", "fdatasync"}
#: How a child ends: all was done, or an error of ours says why not.
DONE, TOLD, WRONG = 0, 3, 1


@dataclass(frozen=True)
class Point:
    """Where a step is disturbed.

    Attributes:
        step: Which.
        call: System call.
        number: Which of them, counted from 1.
        full: Whether there is no space from then on; otherwise the process is killed.
    """

    step: str
    call: str
    number: int
    full: bool

    @property
    def injection(self) -> str:
        """The same as strace takes it."""
        how = f"error=ENOSPC:when={self.number}+" if self.full else f"signal=KILL:when={self.number}"
        return f"{self.call}:{how}"


def in_child(work: Callable[[], object], *, wait: int | None = None) -> int:
    """Do something in a forked process, once `wait` can be read where it is given; return its process id."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(PATIENCE_S)
        ended = WRONG
        try:
            if wait is not None:
                os.read(wait, 1)
            work()
            ended = DONE
        except GeoetlError as error:
            ended = TOLD
            print(f"told: {type(error).__name__}: {error.detail}", file=sys.stderr)
        except BaseException:  # noqa: BLE001  the parent is not to go on twice
            traceback.print_exc()
        finally:
            os._exit(ended)
    return pid


def ended(pid: int) -> int:
    """Return how a child ended, as `os.waitstatus_to_exitcode` says it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def traced(work: Callable[[], object], trace: Path, *how: str) -> int:
    """Do something in a child with strace attached to it; return how the child ended."""
    ready, release = os.pipe()
    pid = in_child(work, wait=ready)
    calls = ",".join(f"?{call}" for call in CHANGING)
    tracer = subprocess.Popen(
        ["strace", "-f", "-p", str(pid), "-e", f"trace={calls}", *how, "-o", str(trace)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    assert "attached" in line, line
    os.write(release, b"x")
    os.close(release)
    os.close(ready)
    result = ended(pid)
    tracer.communicate(timeout=PATIENCE_S)
    return result


def counted(trace: Path) -> Counter[str]:
    """Return how many system calls of each kind one thread did at most: strace counts for each thread."""
    by_thread: Counter[tuple[str, str]] = Counter()
    for line in trace.read_text(errors="replace").splitlines():
        found = re.match(r"(\d+)\s+(\w+)\(", line)
        # A file that is opened for reading changes nothing.
        if found and (found[2] != "openat" or "O_CREAT" in line):
            by_thread[found[1], found[2]] += 1
    most: Counter[str] = Counter()
    for (_, call), number in by_thread.items():
        most[call] = max(most[call], number)
    return most
