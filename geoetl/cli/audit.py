"""``geoetl publish audit``: what was done to releases, by whom, and whether the log is as it was written."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoetl.cli import publish_texts as texts
from geoetl.cli.output import Json, out, print_json, print_table

if TYPE_CHECKING:
    from geoetl.publish.publishing import Publishing

audit = typer.Typer(help="What was done to releases, and whether the log is as it was written.", no_args_is_help=True)

Target = Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file, not to standard output.")]
HeadFile = Annotated[
    Path | None, typer.Option("--head", help="A head that `audit anchor --out` wrote to a file, to compare with.")
]


class Format(StrEnum):
    """How the log is exported."""

    CSV = "csv"  # for reading
    JSON = "json"  # a line for each row, from which the hashes can be computed


@audit.command("show")
def show(
    release: Annotated[str | None, typer.Option(help="Only what was done to this release.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, such as approve or refused.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """Show the latest rows of the audit log.

    Example: geoetl publish audit show --action refused
    """
    rows = _publish().audit.page(limit=limit, release_id=release, action=action)
    if as_json:
        print_json([row._asdict() for row in rows])
    elif rows:
        print_table("Audit log", texts.AUDIT_HEADER, map(texts.audit_row, rows), numbers=["row"])
    else:
        out.print("Nothing is in the log.")


@audit.command("export")
def export(
    format: Annotated[Format, typer.Option("--format", help="csv for reading, json for proving.")] = Format.CSV,
    target: Target = None,
) -> None:
    """Export the whole log; the JSON lines can be verified without a database.

    Example: geoetl publish audit export --format json --out audit.jsonl
    """
    from geoetl.publish.audit import to_csv, to_json_lines

    rows = _publish().audit.rows()
    lines = to_csv(rows) if format is Format.CSV else to_json_lines(rows)
    if target is None:
        sys.stdout.writelines(lines)
        return
    with target.open("w", encoding="utf-8", newline="") as file:
        file.writelines(lines)
    out.print(f"Written: {target}")


@audit.command("verify")
def verify(
    source: Annotated[
        Path | None, typer.Option("--file", help="An export as JSON lines, not the log of this database.")
    ] = None,
    head: HeadFile = None,
    as_json: Json = False,
) -> None:
    """Tell whether the log is as it was written; if not, which row is the first that is not.

    Example: geoetl publish audit verify --head head-2026-11.json
    """
    from geoetl.core.errors import VerificationFailed
    from geoetl.publish.anchor import read_head
    from geoetl.publish.audit import from_json_lines
    from geoetl.publish.verification import verify as look_through

    publish = _publish()
    kept = read_head(head) if head else publish.anchor.read()
    if source is None:
        found = look_through(publish.audit.rows(), kept)
    else:
        with source.open(encoding="utf-8") as lines:
            found = look_through(from_json_lines(lines), kept)
    if as_json:
        fault = found.fault
        print_json(
            {
                "intact": found.is_intact,
                "rows": found.rows,
                "head": {"number": found.head.number, "hash": found.head.hash},
                "kept_head": None if kept is None else {"number": kept.number, "hash": kept.hash},
                "fault": None if fault is None else {"row": fault.number, "kind": fault.kind, "detail": fault.detail},
            }
        )
    elif found.is_intact:
        against = f", and goes on from row {kept.number}, whose hash was kept" if kept else "; no head was kept"
        out.print(f"The log is as it was written: {found.rows:,} rows{against}.")
    if found.fault is not None:
        raise VerificationFailed(
            f"The audit log is not as it was written. {found.fault.detail}",
            hint="Keep the database as it is, and compare it with its backups.",
            field=f"row {found.fault.number}",
        )


@audit.command("anchor")
def anchor(target: Target = None, as_json: Json = False) -> None:
    """Keep the head of the log in the external zone, and in a file: with it, what is changed later shows.

    Example: geoetl publish audit anchor --out head-2026-11.json
    """
    from geoetl.publish.anchor import write_head

    publish = _publish()
    head = publish.anchor.write(publish.audit)
    if target is not None:
        write_head(head, target)
    if as_json:
        print_json({"number": head.number, "hash": head.hash, "file": str(target) if target else None})
        return
    out.print(f"The head is row {head.number}: {head.hash}")
    if target is not None:
        out.print(f"Written: {target}. Keep it where nobody can change it who can change the database.")


def _publish() -> "Publishing":
    import geoetl

    return geoetl.connect().publish
