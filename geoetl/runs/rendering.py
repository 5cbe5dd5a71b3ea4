"""An executed notebook as a page that is safe to look at: whatever is in it, nothing runs and nothing is loaded.

Its code came from us, its outputs from data that others made. Text is escaped, Markdown may hold no HTML, pictures are
those that a browser shows without a program, and of HTML only tables, lists and text stay, without attributes.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from html.parser import HTMLParser
from typing import Any

from geoetl.core.errors import NotFound
from geoetl.core.logging import redacted
from geoetl.runs.model import RunRecord
from geoetl.runs.privacy import paths_in
from geoetl.store.zones import Zone

# One output longer than this is cut: nobody reads on, and the file has it all.
MAX_TEXT = 200_000
_KEPT = frozenset(
    (
        *(
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "p",
            "div",
            "span",
            "br",
            "hr",
            "pre",
            "blockquote",
            "details",
            "summary",
        ),
        *(
            "details",
            "summary",
            "ul",
            "ol",
            "li",
            "dl",
            "dt",
            "dd",
            "figure",
            "figcaption",
            "caption",
            "col",
            "colgroup",
        ),
        *("table", "thead", "tbody", "tfoot", "tr", "th", "td"),
        *("b", "i", "u", "s", "em", "strong", "small", "sub", "sup", "code", "kbd", "var", "del", "abbr"),
    )
)
_VOID = frozenset({"br", "hr", "col"})
# What is in these is no text.
_DROPPED = frozenset(
    (
        *("script", "style", "template", "noscript", "head", "svg", "math", "canvas"),
        *("iframe", "object", "audio", "video", "form"),
    )
)
_PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif")
_STYLE = """
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:2rem auto;padding:0 1rem}
pre{overflow:auto;padding:.6rem .8rem;margin:.3rem 0;font:13px/1.45 ui-monospace,monospace;white-space:pre-wrap;
overflow-wrap:anywhere}
.code{background:color-mix(in srgb,currentColor 7%,transparent);border-radius:4px}
.out{margin:0 0 1rem;overflow:auto}.error{color:#b3261e}
@media (prefers-color-scheme:dark){.error{color:#f2b8b5}}
table{border-collapse:collapse}td,th{padding:.1rem .8rem .1rem 0;text-align:left;vertical-align:top}
img{max-width:100%}
"""


def notebook_page(document: Mapping[str, Any], *, title: str, hidden: Mapping[str, str]) -> str:
    """Return an executed notebook as one HTML page without scripts, links to elsewhere or files.

    Args:
        document: The notebook (nbformat 4).
        title: Of the page.
        hidden: Texts that are replaced wherever they stand, such as paths of this machine.
    """
    cells: Iterable[Mapping[str, Any]] = document.get("cells", ())
    body = "\n".join(part for cell in cells for part in _cell(cell, hidden))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def executed_notebook(zone: Zone, record: RunRecord) -> str:
    """Return the executed notebook of a run as one HTML page, see `notebook_page`.

    Args:
        zone: Where executed notebooks are kept.
        record: The run, with its parameters as they were given.

    Raises:
        NotFound: It has none, or not any more.
    """
    if record.notebook is None:
        raise NotFound(
            f"Run {record.id} has no executed notebook.",
            hint="It has one when an attempt has ended." if not record.state.is_over else None,
            field="run_id",
        )
    try:
        document = json.loads(zone.local_path(record.notebook).read_text("utf-8"))
    except FileNotFoundError:
        raise NotFound(f"The executed notebook of run {record.id} was removed.", field="run_id") from None
    page = notebook_page(document, title=f"{record.pipeline} {record.id}", hidden=paths_in(record.parameters))
    return redacted(page)


def safe_html(text: str) -> str:
    """Return HTML of which only tables, lists and text are left, without attributes and with every element closed."""
    parser = _Cleaner()
    parser.feed(text)
    parser.close()
    return parser.cleaned()


def _cell(cell: Mapping[str, Any], hidden: Mapping[str, str]) -> Iterable[str]:
    source = _hide(_joined(cell.get("source")), hidden)
    if cell.get("cell_type") == "markdown":
        from markdown_it import MarkdownIt

        # Links and pictures of Markdown are words here: nothing is loaded, and nobody is led away.
        yield safe_html(MarkdownIt("commonmark", {"html": False}).enable("table").render(source))
    elif cell.get("cell_type") == "code" and source.strip():
        yield f'<pre class="code">{escape(source)}</pre>'
        for output in cell.get("outputs") or ():
            yield f'<div class="out">{_output(output, hidden)}</div>'


def _output(output: Mapping[str, Any], hidden: Mapping[str, str]) -> str:
    kind = output.get("output_type")
    if kind == "stream":
        return _text(_joined(output.get("text")), hidden)
    if kind == "error":
        said = f"{output.get('ename')}: {output.get('evalue')}"
        return f'<pre class="error">{escape(_hide(said, hidden)[:MAX_TEXT])}</pre>'
    data: Mapping[str, Any] = output.get("data") or {}
    for media_type in _PICTURES:
        if media_type in data and (picture := _picture(media_type, _joined(data[media_type]))):
            return picture
    if "text/html" in data:
        return safe_html(_hide(_joined(data["text/html"]), hidden)[:MAX_TEXT])
    return _text(_joined(data.get("text/plain", "")), hidden)


def _picture(media_type: str, text: str) -> str | None:
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return f'<img alt="" src="data:{media_type};base64,{base64.b64encode(content).decode()}">'


def _text(text: str, hidden: Mapping[str, str]) -> str:
    cut = _hide(text, hidden)
    return f"<pre>{escape(cut[:MAX_TEXT])}{'…' if len(cut) > MAX_TEXT else ''}</pre>"


def _hide(text: str, hidden: Mapping[str, str]) -> str:
    for secret, shown in sorted(hidden.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(secret, shown)
    return text


def _joined(text: str | Sequence[str] | None) -> str:
    return text if isinstance(text, str) else "".join(map(str, text or ()))


class _Cleaner(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._open: list[str] = []
        self._dropped: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what is harmless, without its attributes."""
        if tag in _DROPPED:
            self._dropped.append(tag)
        elif not self._dropped and tag in _KEPT:
            self._parts.append(f"<{tag}>")
            if tag not in _VOID:
                self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what has no content."""
        if not self._dropped and tag in _VOID:
            self._parts.append(f"<{tag}>")

    def handle_endtag(self, tag: str) -> None:
        """Close what is open, and whatever was opened in it."""
        if tag in self._dropped:
            while self._dropped.pop() != tag:
                pass
        elif not self._dropped and tag in self._open:
            while (inner := self._open.pop()) != tag:
                self._parts.append(f"</{inner}>")
            self._parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        """Keep text."""
        if not self._dropped:
            self._parts.append(escape(data))

    def cleaned(self) -> str:
        """Return what is left."""
        return "".join([*self._parts, *(f"</{tag}>" for tag in reversed(self._open))])
