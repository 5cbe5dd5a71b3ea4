"""Logging, set up once at the edge: JSON lines in a pipe, text on a terminal, with the ids of the request and the run.

Modules log with the standard library (``logging.getLogger(__name__)``); structlog renders it.  What is secret, and
where this machine keeps its files, is cut out of every line, stacks included.
"""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any

from geoetl.core.settings import ServerSettings

REDACTED = "[redacted]"
# A line that holds a whole document helps nobody.
MAX_TEXT = 20_000

_bound: ContextVar[Mapping[str, str] | None] = ContextVar("geoetl_bound", default=None)

# Names of fields whose values are nobody's business.
_SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:authorization|cookie|set-cookie|password|passwd|secret|token|api[_-]?key|credentials?)$",
    re.IGNORECASE,
)
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Authorization and Cookie headers, written as text
    (re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-geoetl-proxy)(['\"]?\s*[:=]\s*)[^\r\n]+"), r"\1\2"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), r"\1 "),
    # our own tokens
    (re.compile(r"\bgeoetl_[A-Za-z0-9_-]{8,}"), ""),
    # the user and password of a URL
    (re.compile(r"(?<=://)[^/\s@'\"]+@"), "@"),
    # the query of a URL that is signed, or names a secret
    (
        re.compile(
            r"(?i)\?(?=[^\s'\"]*(?:signature|\bsig|credential|token|secret|password|api_?key|accesskeyid)=)[^\s'\"]*"
        ),
        "?",
    ),
    (re.compile(r"(?i)((?:password|passwd|secret|token|api_?key)\b)(['\"]?\s*[=:]\s*['\"]?)[^\s'\"&,;]+"), r"\1\2"),
)
_SITE_PACKAGES = re.compile(r"/[^\s'\"]*?/(?:site|dist)-packages/")


@contextlib.contextmanager
def bound(**ids: str) -> Iterator[None]:
    """Put ids (``request_id``, ``run_id``) into every line that is logged in the block, in its threads too."""
    token = _bound.set({**bound_ids(), **ids})
    try:
        yield
    finally:
        _bound.reset(token)


def bound_ids() -> Mapping[str, str]:
    """Return the ids that are put into lines now."""
    return _bound.get() or {}


def configure_logging(settings: ServerSettings, stream: Any = None) -> None:
    """Send everything that is logged in this process to one place, in one form.

    Args:
        settings: Level and format.
        stream: Where lines go; by default standard error.
    """
    import structlog

    stream = stream or sys.stderr
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_bound,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if as_text
        else structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    )
    rendering: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _one_line,
        structlog.processors.format_exc_info,
        redact,
        renderer,
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=rendering))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    # Their own news are ours already, or nobody's.
    for name, level in _QUIETER.items():
        logging.getLogger(name).setLevel(max(level, root.level))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        theirs = logging.getLogger(name)
        theirs.handlers, theirs.propagate = [], True
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


_QUIETER = {
    "uvicorn.access": logging.WARNING,
    "uvicorn.error": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "bokeh": logging.WARNING,
    "tornado": logging.WARNING,
    "panel": logging.WARNING,
    "rasterio": logging.ERROR,
    "asyncio": logging.WARNING,
    "httpx": logging.WARNING,
    "httpx2": logging.WARNING,
    "multipart": logging.WARNING,
    "distributed": logging.WARNING,
    "alembic": logging.WARNING,
}


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut what is secret, and the folders of this machine, out of a line; a processor of structlog."""
    for name, value in event.items():
        event[name] = REDACTED if _SECRET_NAME.search(name) and value else _redacted(value)
    return event


def redacted(text: str) -> str:
    """Return a text without what is secret and without the folders of this machine."""
    for pattern, kept in _SECRETS:
        text = pattern.sub(kept + REDACTED if not kept.endswith("@") else REDACTED + kept, text)
    text = _SITE_PACKAGES.sub("", text)
    for folder, name in _folders(os.environ.get("HOME")):
        text = text.replace(folder, name)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {
            name: REDACTED if _SECRET_NAME.search(str(name)) and inner else _redacted(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redacted(inner) for inner in value]
    return value if isinstance(value, bool | int | float) or value is None else redacted(str(value))


@lru_cache(maxsize=4)
def _folders(_home: str | None) -> list[tuple[str, str]]:
    """Return folders of this machine with what is written instead, the longest first; kept for each ``HOME``."""
    folders = {str(Path(__file__).resolve().parents[2]): "", sys.base_prefix: "", sys.prefix: "", str(Path.home()): "~"}
    return [
        (f"{folder}/", f"{name}/" if name else "")
        for folder, name in sorted(folders.items(), key=lambda pair: -len(pair[0]))
        if len(folder) > 1
    ]


def _add_bound(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in bound_ids().items():
        event.setdefault(name, value)
    return event


def _one_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep one line one line: what somebody sent must not look like a line of ours."""
    text = event.get("event")
    if isinstance(text, str):
        event["event"] = text.replace("\r", "\\r").replace("\n", "\\n")
    return event
