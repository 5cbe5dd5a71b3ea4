"""The audit log: page by page, as a file, and whether it is as it was written."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import batched
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from geoetl.api.publish.answers import PUBLISH
from geoetl.api.security import needs
from geoetl.core.principal import Role
from geoetl.publish.audit import MAX_PAGE, Row, to_csv, to_json_lines
from geoetl.publish.verification import Tampering, verify

if TYPE_CHECKING:
    from geoetl.platform import Platform

# Lines that are sent at a time.
_LINES = 1000
_FILES: dict[str, tuple[str, Callable[[Iterable[Row]], Iterator[str]]]] = {
    "csv": ("text/csv; charset=utf-8", to_csv),
    "jsonl": ("application/x-ndjson", to_json_lines),
}


class RowAnswer(BaseModel):
    """A row of the log; times are Unix seconds."""

    number: int = Field(description="Counted from 1 without a gap")
    at: float
    action: str = Field(description="What was done, or `refused`")
    actor: str = Field(description="Principal id")
    before: str | None = Field(description="State of the release")
    after: str | None
    release_id: str
    asset_id: str
    manifest_digest: str
    details: dict[str, Any] = Field(
        description="Name and role of who it was, how they signed in, reasons, what was seen"
    )
    previous: str = Field(description="Hash of the row before")
    hash: str


class AuditAnswer(BaseModel):
    """Rows of the log, the newest first."""

    rows: list[RowAnswer]
    next: int | None = Field(description="What to give as `before` for the next page; null on the last")


class HeadAnswer(BaseModel):
    """A row, and with it all before."""

    number: int
    hash: str


class FaultAnswer(BaseModel):
    """Where the log is not as it was written."""

    number: int = Field(description="Of the first row that is bad, or that is missing")
    kind: Tampering
    detail: str


class VerificationAnswer(BaseModel):
    """What came of looking through the log."""

    is_intact: bool
    rows: int = Field(description="How many were seen to be right")
    head: HeadAnswer = Field(description="The last row up to which all is right")
    kept: HeadAnswer | None = Field(description="The head that is kept in the external zone, compared with; or null")
    fault: FaultAnswer | None


def add(routes: APIRouter, platform: "Platform") -> None:
    """Add the routes of the audit log."""

    # It names people and repeats what they said: not for strangers, who may be viewers.
    @routes.get(
        f"{PUBLISH}/audit",
        dependencies=[Depends(needs(Role.EDITOR))],
        response_model=AuditAnswer,
        responses={200: {"content": {"text/csv": {}, "application/x-ndjson": {}}}},
    )
    def audit(
        release_id: Annotated[
            str | None, Query(description="Only rows of this release", pattern=r"^[A-Za-z0-9_-]{1,64}$")
        ] = None,
        action: Annotated[
            str | None, Query(description="Only rows of this action, such as `refused`", pattern=r"^[a-z_]{1,32}$")
        ] = None,
        before: Annotated[int | None, Query(ge=1, le=2**62, description="`next` of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="At most so many; of JSON alone")] = 100,
        f: Annotated[
            Literal["json", "csv", "jsonl"],
            Query(description="json: a page; csv, jsonl: all rows from the first on, as a file"),
        ] = "json",
    ) -> AuditAnswer | StreamingResponse:
        """Return what was done, and refused, by whom and when; as a file, the whole log.

        A line of jsonl is the object whose hash it holds: the log can be verified with it, and without this server.
        """
        log = platform.publish.audit
        if f == "json":
            rows = log.page(before=before, limit=limit + 1, release_id=release_id, action=action)
            more = rows[limit - 1].number if len(rows) > limit else None
            return AuditAnswer(rows=[_answer(row) for row in rows[:limit]], next=more)
        chosen = (
            row
            for row in log.rows()
            if (release_id is None or row.release_id == release_id)
            and (action is None or row.action == action)
            and (before is None or row.number < before)
        )
        media_type, lines = _FILES[f]
        parts = ("".join(some) for some in batched(lines(chosen), _LINES))
        headers = {"Content-Disposition": f'attachment; filename="publishing-audit.{f}"', "Cache-Control": "no-store"}
        return StreamingResponse(parts, media_type=media_type, headers=headers)

    @routes.get(f"{PUBLISH}/audit/verify", dependencies=[Depends(needs(Role.APPROVER))])
    def audit_verify() -> VerificationAnswer:
        """Look through the whole log, and compare it with the head that is kept in the external zone."""
        kept = platform.publish.anchor.read()
        found = verify(platform.publish.audit.rows(), kept)
        return VerificationAnswer(
            is_intact=found.is_intact,
            rows=found.rows,
            head=HeadAnswer(**asdict(found.head)),
            kept=HeadAnswer(**asdict(kept)) if kept else None,
            fault=FaultAnswer(**asdict(found.fault)) if found.fault else None,
        )


def _answer(row: Row) -> RowAnswer:
    return RowAnswer(**{**row._asdict(), "details": orjson.loads(row.details)})
