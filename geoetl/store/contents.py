"""What objects hold, and what goes wrong when they are copied."""

import errno
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from geoetl.core.errors import NotFound, Unavailable

# What is read at once.
BLOCK_BYTES = 1024**2
# How many names an error tells.
_NAMES_TOLD = 3
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True)
class Content:
    """What an object holds.

    Attributes:
        sha256: Digest of its bytes, 64 hex digits.
        bytes: Its size.
    """

    sha256: str
    bytes: int


def content_of(blocks: Iterable[Any]) -> Content:
    """Return what an object holds that is read block by block."""
    hasher, size = hashlib.sha256(), 0
    for block in blocks:
        hasher.update(block)
        size += len(block)
    return Content(hasher.hexdigest(), size)


def listed(names: Collection[str]) -> str:
    """Return the first names of several for a sentence, and how many there are besides."""
    shown = ", ".join(f"'{name}'" for name in sorted(names)[:_NAMES_TOLD])
    more = len(names) - _NAMES_TOLD
    return f"{shown} and {more:,} more" if more > 0 else shown


@contextmanager
def as_ours(subject: str) -> Iterator[None]:
    """Turn what the system and obstore raise into errors of ours, which tell no paths and no credentials.

    Args:
        subject: Name of the object that is copied or read.
    """
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError:
        raise gone(subject) from None
    except OSError as error:
        reason = "the disk is full" if error.errno in _FULL else (error.strerror or "the system refused").lower()
        raise Unavailable(
            f"'{subject}' could not be copied: {reason}.",
            hint="Free some space or check the permissions, then run it again: what has arrived is not copied again.",
        ) from None
    except BaseError as error:
        status = re.search(r"status code: (\d{3})", str(error))
        raise Unavailable(
            f"The store of '{subject}' {f'answers with status {status[1]}' if status else 'does not answer'}.",
            hint="Check the network and the credentials, then run it again: what has arrived is not copied again.",
        ) from None


def gone(subject: str) -> NotFound:
    """Return the error of an object that is not there."""
    return NotFound(f"'{subject}' is gone.", hint="Make it again with its pipeline, then submit it anew.")
