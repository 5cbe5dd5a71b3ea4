"""Small pieces of HTML for the objects that show themselves in notebooks; every text is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

# Only inherits colours, so that it reads in light and dark JupyterLab alike.
_TABLE = "border-collapse:collapse;margin:4px 0 8px"
_CELL = "text-align:left;padding:2px 16px 2px 0;vertical-align:top"
_MUTED = "opacity:.65"


def heading(title: str, subtitle: str = "") -> str:
    """Return a title line with an optional muted subtitle."""
    tail = f' <span style="{_MUTED};font-weight:normal">{escape(subtitle)}</span>' if subtitle else ""
    return f'<div style="font-weight:600;margin-top:4px">{escape(title)}{tail}</div>'


def facts(rows: Iterable[tuple[str, object]]) -> str:
    """Return a table of names and values; rows without a value are left out, and addresses of the web are links."""
    cells = "".join(
        f'<tr><td style="{_CELL};{_MUTED}">{escape(name)}</td><td style="{_CELL}">{_linked(str(value))}</td></tr>'
        for name, value in rows
        if value not in (None, "", (), [])
    )
    return f'<table style="{_TABLE}">{cells}</table>'


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with a header row."""
    head = "".join(f'<th style="{_CELL};{_MUTED};font-weight:500">{escape(name)}</th>' for name in header)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(str(value))}</td>' for value in row) + "</tr>" for row in rows
    )
    return f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def human_bytes(size: float) -> str:
    """Return a size in bytes as people write it: 512 B, 1.4 MB (decimal units)."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size) < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: 1 object, 1,200 objects."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def human_seconds(seconds: float) -> str:
    """Return a duration as people say it: 0.4 s, 12 s, 3 min 5 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _linked(text: str) -> str:
    shown = escape(text)
    if not text.startswith(("http://", "https://")) or len(text.split()) != 1:
        return shown
    return f'<a href="{shown}" target="_blank" rel="noopener noreferrer">{shown}</a>'
