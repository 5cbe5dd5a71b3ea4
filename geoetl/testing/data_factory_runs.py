"""Runs of the pipeline of a played Data Factory, which do what the pipeline in ``deploy/azure/data-factory`` says."""

import json
import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from geoetl.store.side_by_side import side_by_side

#: What the pipeline has to be given.
PARAMETERS = frozenset({"list_container", "list_folder", "list_name", "staging"})
_COPIES_AT_ONCE = 4
_UNDER_WAY = ("Queued", "InProgress")


class RunFault(StrEnum):
    """What a run does wrong."""

    FAILED = "every other copy fails"
    CANCELLED = "somebody cancels it in Azure, half done"
    ENDLESS = "it copies nothing, and ends only when it is cancelled"
    STUBBORN = "it copies nothing, and does not end at all"
    FLIPPED = "in the first object a bit is another one than in the source"
    LEFT_OUT = "the first object is not copied"


class PlayedRun:
    """A run of the pipeline, in a thread.

    Args:
        pipeline: Name of the pipeline.
        parameters: What it was given.
        fault: What goes wrong.
        code: What a copy fails with.

    Attributes:
        run_id: Its id.
        status: As the service says it.
        copied: Names of the objects that it copied.
        activities: What its activities did, as the service tells it.
    """

    def __init__(self, pipeline: str, parameters: Mapping[str, str], fault: RunFault | None, code: str) -> None:
        self.run_id = str(uuid.uuid4())
        self.status = "Queued"
        self.copied: list[str] = []
        self.activities: list[dict[str, Any]] = []
        self.parameters = dict(parameters)
        self._pipeline, self._fault, self._code = pipeline, fault, code
        self._cancelled = threading.Event()
        self._began = datetime.now(UTC)
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wait(self) -> None:
        """Wait until it writes no more."""
        self._thread.join()

    def cancel(self) -> bool:
        """End it; tell whether it was under way."""
        if self.status not in _UNDER_WAY:
            return False
        self.status = "Canceling"
        self._cancelled.set()
        return True

    def told(self) -> dict[str, Any]:
        """Return what the service tells of it."""
        return {
            "runId": self.run_id,
            "runGroupId": self.run_id,
            "isLatest": True,
            "pipelineName": self._pipeline,
            "parameters": self.parameters,
            "invokedBy": {"name": "Manual", "invokedByType": "Manual"},
            "runStart": self._began.isoformat(),
            "lastUpdated": self._began.isoformat(),
            "status": self.status,
            "message": "",
        }

    def _work(self) -> None:
        if self._fault is RunFault.STUBBORN:
            return
        self.status = "InProgress"
        if self._fault is RunFault.ENDLESS:
            self._cancelled.wait()
        rows = [] if self._cancelled.is_set() else self._rows()
        if self._fault is RunFault.CANCELLED:
            rows = rows[: len(rows) // 2]
        side_by_side(self._copy, enumerate(rows), _COPIES_AT_ONCE)
        failed = any(one["status"] == "Failed" for one in self.activities)
        is_cancelled = self._cancelled.is_set() or self._fault is RunFault.CANCELLED
        self.status = "Cancelled" if is_cancelled else "Failed" if failed else "Succeeded"

    def _rows(self) -> list[dict[str, str]]:
        """Do what the activity `Transfers` does."""
        if self.parameters.keys() != PARAMETERS:
            self._done("Transfers", "", "UserErrorWrongParameters")
            return []
        place = (self.parameters[f"list_{part}"] for part in ("container", "folder", "name"))
        try:
            content, _ = _read(*place)
        except FileNotFoundError:
            self._done("Transfers", "", "UserErrorSourceBlobNotExist")
            return []
        rows = [json.loads(line) for line in content.splitlines()]
        self._done("Transfers", "")
        return rows[:5000]  # as a Lookup activity does

    def _copy(self, numbered: tuple[int, dict[str, str]]) -> None:
        """Do what the activity `Copy` does."""
        number, row = numbered
        if self._cancelled.is_set():
            return
        target = row["target"]
        if self._fault is RunFault.FAILED and number % 2 == 0:
            self._done("Copy", target, self._code)
            return
        try:
            content, media_type = _read(row["source_container"], row["source_folder"], row["source_name"])
        except FileNotFoundError:
            self._done("Copy", target, "UserErrorSourceBlobNotExist")
            return
        if self._fault is RunFault.FLIPPED and number == 0 and content:
            content = bytes([content[0] ^ 4]) + content[1:]
        if self._fault is not RunFault.LEFT_OUT or number > 0:
            try:
                _write(row["target_container"], row["target_folder"], row["target_name"], content, media_type)
            except OSError:
                self._done("Copy", target, "UserErrorWriteFailed")
                return
            self.copied.append(target)
        self._done("Copy", target)

    def _done(self, activity: str, target: str, code: str = "") -> None:
        # Like the service's own, it tells where things lie.
        message = (
            f"ErrorCode={code},'Type=HybridDeliveryException,Message=The blob at /secret/{target} …'" if code else ""
        )
        self.activities.append(
            {
                "activityName": activity,
                "activityType": "Lookup" if activity == "Transfers" else "Copy",
                "activityRunId": str(uuid.uuid4()),
                "pipelineName": self._pipeline,
                "pipelineRunId": self.run_id,
                "status": "Failed" if code else "Succeeded",
                "userProperties": {"target": target} if target else {},
                "input": {},
                "output": {},
                "error": {
                    "errorCode": "2200" if code else "",
                    "message": message,
                    "failureType": ("SystemError" if code.startswith("System") else "UserError") if code else "",
                    "target": activity,
                },
            }
        )


def _read(container: str, folder: str, name: str) -> tuple[bytes, str | None]:
    """Return what an object holds, and its media type where it has one."""
    if not container:
        return Path(folder, name).read_bytes(), None
    import obstore

    found = obstore.get(_store(container), f"{folder}/{name}" if folder else name)
    return bytes(found.bytes()), found.attributes.get("Content-Type")


def _write(container: str, folder: str, name: str, content: bytes, media_type: str | None) -> None:
    if not container:
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return
    import obstore

    attributes = {"Content-Type": media_type} if media_type else None
    obstore.put(_store(container), f"{folder}/{name}" if folder else name, content, attributes=attributes)


def _store(container: str) -> Any:
    from obstore.store import AzureStore

    return AzureStore(container)
