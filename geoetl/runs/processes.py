"""Whether a process of this machine lives: by its number and by when it began, as numbers are given again."""

import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class ProcessMark:
    """What tells a process from every other.

    Attributes:
        host: Name of its machine, with the number of the namespace that process numbers count in (containers).
        pid: Its number there.
        born: When it began, by the machine's own count since it was started; empty where the system does not say.
    """

    host: str
    pid: int
    born: str

    @staticmethod
    def own() -> "ProcessMark":
        """Return the mark of this process."""
        pid = os.getpid()
        return ProcessMark(_here(), pid, _look(pid)[1])

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.host == _here()

    @property
    def is_gone(self) -> bool:
        """Whether it has ended for certain; nothing is certain about a process of another machine."""
        if not self.is_here:
            return False
        state, born = _look(self.pid)
        # Z: it has ended, and whoever started it has not asked how.
        return state in ("", "Z", "X") or bool(self.born and born != self.born)

    @property
    def is_stopped(self) -> bool:
        """Whether it is a process of this machine that was stopped and may go on (SIGSTOP)."""
        return self.is_here and _look(self.pid)[0] in ("T", "t")


def _look(pid: int) -> tuple[str, str]:
    """Return the state of a process as one letter and when it began; no letter where there is none."""
    try:
        # Source: proc_pid_stat(5); the name, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return fields[0], f"{_boot()}:{fields[19]}"
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return "", ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "", ""
    except PermissionError:
        pass  # it lives and belongs to another user
    return "R", ""


@lru_cache(maxsize=1)
def _here() -> str:
    try:
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return socket.gethostname()


@lru_cache(maxsize=1)
def _boot() -> str:
    return _BOOT.read_text().strip() if _BOOT.exists() else ""
