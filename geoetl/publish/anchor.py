"""The head of the audit log kept where the database is not: what is taken from its end, or written anew, shows there.

An anchor is an object of three lines of JSON in the external zone, or a file anywhere. A head is anchored only when the
log goes on from the one that was anchored before, so that a log that was written anew does not replace its witness.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoetl.core.errors import NotFound, UnreadableFile, VerificationFailed
from geoetl.publish.audit import GENESIS, AuditLog, Head
from geoetl.publish.verification import verify
from geoetl.store.zones import Zone

KEY = "audit/publishing-head.json"
_OWNER = "audit/publishing"
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Anchor:
    """The head as it is kept in a zone."""

    zone: Zone

    def read(self) -> Head | None:
        """Return the head that was kept last; None before the first.

        Raises:
            UnreadableFile: What is there is no head.
            Unavailable: The zone cannot be reached.
        """
        try:
            return read_head(self.zone.local_path(KEY))
        except NotFound:
            return None

    def write(self, log: AuditLog) -> Head:
        """Keep the present head, once the rows since the one that was kept have been seen to go on from it.

        Raises:
            VerificationFailed: The log is not as it was written; what was kept stays.
            Unavailable: The zone cannot be written.
        """
        kept = self.read() or GENESIS
        head = advanced(log, kept)
        if head != kept:
            self.zone.put_text(_document(head), KEY, owner=_OWNER)
        return head


def advanced(log: AuditLog, kept: Head) -> Head:
    """Return the present head of a log that goes on from one that was kept.

    Raises:
        VerificationFailed: It does not.
    """
    before = max(kept.number - 1, 0)
    rows = log.rows(before)
    after = GENESIS
    if kept.number > 0:
        # The row of the head itself has to be there still, with its hash.
        first = next(rows, None)
        if first is None or first.head != kept:
            raise _changed(f"it no longer has row {kept.number} as it was when its hash was kept")
        after = kept
    found = verify(rows, after=after)
    if found.fault is not None:
        raise _changed(f"at row {found.fault.number}: {found.fault.detail}")
    return found.head


def write_head(head: Head, path: Path) -> None:
    """Write a head to a file."""
    path.write_text(_document(head), "utf-8")


def read_head(path: Path) -> Head:
    """Return the head that a file holds.

    Raises:
        UnreadableFile: It is no head, or there is no such file.
    """
    try:
        document: Any = json.loads(path.read_text("utf-8"))
        number, hash = document["number"], document["hash"]
        if type(number) is int and number >= 0 and _SHA256.fullmatch(hash):
            return Head(number, hash)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    raise UnreadableFile(
        f"'{path.name}' is no head of an audit log.", hint="Give a file that was written when the head was anchored."
    )


def _document(head: Head) -> str:
    document = {"log": "geoetl publishing audit log", "number": head.number, "hash": head.hash}
    return json.dumps(document, indent=1) + "\n"


def _changed(how: str) -> VerificationFailed:
    return VerificationFailed(
        f"The audit log was changed: {how}.",
        hint="Keep the database as it is, and compare it with its backups.",
    )
