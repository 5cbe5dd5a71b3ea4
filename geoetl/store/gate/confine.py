"""What a process that opens files of unknown origin may not do: outlive its parent, reach a network, grow, or write.

All of it is asked of Linux; where a machine has no seccomp filter, GDAL's network is off all the same
(`geoetl.store.gate.gdal`), and the limits hold.
"""

import ctypes
import fcntl
import math
import os
import platform
import resource
import select
import signal
import struct
import sys
from pathlib import Path

# Files that a reader has open: its libraries, and a Zarr store's chunks.
_MAX_FILES = 256
# include/uapi/linux/prctl.h, seccomp.h, audit.h and filter.h
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER_MODE = 38, 22, 2
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 13  # EACCES
_AT_NUMBER, _AT_ARCHITECTURE = 0, 4
# Numbers from here on are those of another interface of the same processor (x32).
_OTHER_INTERFACE = 0x40000000
# Per machine: its audit number, then socket, connect, execve, execveat, ptrace and io_uring_setup.
_CALLS = {
    "x86_64": (0xC000003E, (41, 42, 59, 322, 101, 425)),
    "aarch64": (0xC00000B7, (198, 203, 221, 281, 117, 425)),
}


def end_with(lifeline: int) -> None:
    """Let this process be killed by the kernel as soon as nobody holds the other end of the pipe `lifeline` any more.

    Unlike a thread that reads it, this works while a library computes; unlike a death signal of the parent, it does not
    come when only the thread ends that made this process.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):  # it hung up before that was set
        sys.exit(0)


# Which signal tells that a file may be read (fcntl(2)); Python does not name it.
_F_SETSIG = 10


def limit_resources() -> None:
    """Set the limits that hold for the whole life of this process: no file is written, none dumped, few are open."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_FILES, _MAX_FILES))


def address_space() -> int:
    """Return the bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def limit_next(memory_bytes: int, seconds: float) -> None:
    """Let this process take so much more memory and computing time than it has taken up to now; then it is killed."""
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + memory_bytes, resource.RLIM_INFINITY))
    used = resource.getrusage(resource.RUSAGE_SELF)
    allowed = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.RLIM_INFINITY))


def forbid_network() -> bool:
    """Let the kernel refuse sockets and new programs to this process and its threads; tell whether it will."""
    known = _CALLS.get(platform.machine())
    if known is None or sys.platform != "linux":
        return False
    architecture, calls = known
    # Jumps count from the next instruction: to the refusal, which is the last but one.
    lines = [(_LOAD, 0, 0, _AT_ARCHITECTURE), (_JUMP_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _REFUSE)]
    lines += [(_LOAD, 0, 0, _AT_NUMBER), (_JUMP_GREATER_EQUAL, len(calls) + 1, 0, _OTHER_INTERFACE)]
    lines += [(_JUMP_EQUAL, len(calls) - index, 0, call) for index, call in enumerate(calls)]
    lines += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    program = b"".join(struct.pack("HBBI", *line) for line in lines)
    held = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(lines), ctypes.addressof(held)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_PR_SET_SECCOMP, _FILTER_MODE, head, 0, 0) == 0)
