"""Has files of unknown origin opened in a child process first, so that the one that asks lives whatever is in them.

A file that makes its reader crash, that needs more memory than it may, or that takes too long, is an `UnreadableFile`.
Each file is looked at once, until it changes.
"""

import json
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from geoetl.core.errors import GeoetlError, Unavailable, UnreadableFile
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.gdal import restricted_environment

Kind = Literal["raster", "vector", "geoparquet", "netcdf", "hdf5", "references", "zarr", "icechunk"]
# Files whose outcome is remembered; one takes some hundred bytes.
MAX_REMEMBERED = 10_000
# Until then the child has loaded its libraries, which takes seconds on a busy machine.
START_WAIT_S = 120.0
# Beyond the file's own time: the child counts what it computes, the parent what passes.
WALL_GRACE_S = 1.0
# An answer is a problem with its sentence.
_MAX_ANSWER_BYTES = 64 * 1024
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[3])
# Files in a folder that is one dataset; what they say decides how the rest is read.
_FOLDER_HEADS = ("zarr.json", ".zmetadata", "repo", "refs")


@dataclass(frozen=True)
class _Child:
    """The child.

    Attributes:
        process: As it was started.
        lifeline: The end of a pipe that it lives by.
        owner: Process id of its parent.
        unread: What came behind the last answer.
    """

    process: "subprocess.Popen[bytes]"
    lifeline: int
    owner: int
    unread: bytearray = field(default_factory=bytearray)


class Prober:
    """One child process that opens files, started when the first is asked for and again after a death.

    It may be shared by threads. It may be sent to another process, which has a child of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._known: OrderedDict[tuple[Any, ...], dict[str, Any]] = OrderedDict()

    def __reduce__(self) -> tuple[type["Prober"], tuple[()]]:
        return (Prober, ())

    def check(self, path: Path, kind: Kind, roots: Sequence[Path], limits: LimitSettings) -> None:
        """Open a file in the child, by the same code, and read a little of it.

        Raises:
            UnreadableFile: It made its reader crash, needs too much memory, or took too long.
            GeoetlError: What the gate says of it.
            Unavailable: The child cannot be started.
        """
        key = (kind, str(path), _stamp(path), limits)
        said = self._known.get(key)
        if said is None:
            with self._lock:
                said = self._known.get(key)
                if said is None:
                    question = {
                        "path": str(path),
                        "kind": kind,
                        "roots": [str(root) for root in roots],
                        "limits": limits.model_dump(),
                    }
                    said = self._ask(question, limits)
                    self._known[key] = said
                    while len(self._known) > MAX_REMEMBERED:
                        self._known.popitem(last=False)
        _raise(said, path, limits)

    def close(self) -> None:
        """End the child; the next question starts another."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return self._child.process.pid if self._child else None

    def _ask(self, question: dict[str, Any], limits: LimitSettings) -> dict[str, Any]:
        """Return what the child says, or how it ended."""
        for _ in range(2):
            child = self._running()
            try:
                _write(child, json.dumps(question).encode() + b"\n")
                begun = _read_line(child, START_WAIT_S)
            except (BrokenPipeError, _Ended):
                self._end()  # it had died of an earlier file, or was killed by somebody
                continue
            if begun.get("begun"):
                return self._outcome(child, limits)
            self._end()
        raise Unavailable(
            "Files of unknown origin cannot be opened now: the process that looks at them does not start.",
            hint="Check that the machine has memory left, then try again.",
        )

    def _outcome(self, child: _Child, limits: LimitSettings) -> dict[str, Any]:
        try:
            said = _read_line(child, limits.probe_seconds + WALL_GRACE_S)
        except _Ended as ended:
            if ended.late:
                self._end()
                return {"late": True}
            status = child.process.wait()
            self._end()
            return {"late": True} if status == -signal.SIGXCPU else {"died": status}
        return said

    def _running(self) -> _Child:
        child = self._child
        if child is not None and child.owner != os.getpid():
            child = self._child = None  # of the process that this one was forked from
        if child is not None and child.process.poll() is None:
            return child
        self._end()
        self._child = _started()
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.process.kill()
        child.process.wait()
        for pipe in (child.process.stdin, child.process.stdout):
            if pipe is not None:
                pipe.close()
        os.close(child.lifeline)


class _Ended(Exception):
    """No answer came: the child has ended, or is `late`."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.late = late


def _started() -> _Child:
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            # -P: nothing in the working folder is taken for a module.
            [sys.executable, "-P", "-m", "geoetl.store.gate.probe", str(reading)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(reading,),
            bufsize=0,
            env={
                # No secret of this process gets into one that opens hostile files.
                **{
                    name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ
                },
                "PYTHONPATH": _PACKAGE_PARENT,
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONUTF8": "1",
                # Threads of numerical libraries take address space, which is what is limited.
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
                "ARROW_DEFAULT_MEMORY_POOL": "system",
                "ARROW_IO_THREADS": "1",
                "MALLOC_ARENA_MAX": "2",
                **restricted_environment(),
            },
        )
    except OSError as error:
        os.close(writing)
        raise Unavailable(
            f"Files of unknown origin cannot be opened now: {error.strerror}.",
            hint="Check that the machine has memory and processes left, then try again.",
        ) from None
    finally:
        os.close(reading)
    return _Child(process, writing, os.getpid())


def _write(child: _Child, line: bytes) -> None:
    assert child.process.stdin is not None
    while line:
        line = line[child.process.stdin.write(line) or 0 :]


def _read_line(child: _Child, seconds: float) -> dict[str, Any]:
    """Return the next answer.

    Raises:
        _Ended: None came in that time.
    """
    assert child.process.stdout is not None
    handle = child.process.stdout.fileno()
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    deadline = time.monotonic() + seconds
    while b"\n" not in child.unread:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(math.ceil(left * 1000)):
            raise _Ended(late=True)
        piece = os.read(handle, 4096)
        if not piece or len(child.unread) > _MAX_ANSWER_BYTES:
            raise _Ended(late=False)
        child.unread.extend(piece)
    line, _, rest = bytes(child.unread).partition(b"\n")
    child.unread[:] = rest
    answer: dict[str, Any] = json.loads(line)
    return answer


def _stamp(path: Path) -> tuple[tuple[int, ...], ...]:
    """Return what changes when a file does; of a folder, of the files that decide how it is read."""
    looked_at = [path, *(path / name for name in _FOLDER_HEADS)] if path.is_dir() else [path]
    stamps = []
    for part in looked_at:
        try:
            stat = part.stat()
        except OSError:
            continue  # none of that name; for the file itself its opening will say so
        stamps.append((stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_dev))
    return tuple(stamps)


def _raise(said: dict[str, Any], path: Path, limits: LimitSettings) -> None:
    if problem := said.get("problem"):
        raise GeoetlError.from_problem(problem)
    if said.get("late"):
        reason, hint = (
            f"took longer than {limits.probe_seconds:g} s",
            "Write it anew in a simpler form, or raise GEOETL_LIMITS__PROBE_SECONDS if you know where it is from.",
        )
    elif said.get("memory") or said.get("died") == -signal.SIGKILL:
        reason, hint = (
            f"needs more than {limits.probe_memory_mib} MiB of memory to be opened",
            "Write it anew in smaller blocks, or raise GEOETL_LIMITS__PROBE_MEMORY_MIB if you know where it is from.",
        )
    elif "died" in said or "failed" in said:
        reason, hint = (
            "made its reader crash" if "died" in said else f"made its reader fail ({said['failed']})",
            "It is damaged, or was made to do harm: fetch it again from its source and compare its checksum.",
        )
    else:
        return
    raise UnreadableFile(f"'{path.name}' {reason}.", hint=hint, field="source")
