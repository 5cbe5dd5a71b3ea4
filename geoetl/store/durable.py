"""That what was written is on the disk: one call for thousands of files, where the system has it."""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk.

    Raises:
        OSError: The disk failed, or there is no such folder.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_disk(folder: Path) -> None:
    """Wait until all that was written to the disk of a folder is on it (syncfs(2); elsewhere sync(2)).

    Raises:
        OSError: The disk failed: something that was written to it is lost (Linux from 5.8 on).
    """
    libc = _libc()
    if libc is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if hasattr(libc, "syncfs") else None
