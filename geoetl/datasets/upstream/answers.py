"""What an answer means: which error a status is, when to ask again, and JSON that is really JSON."""

import json
import time
import zlib
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from geoetl.core.errors import GeoetlError, LimitExceeded, NotFound, UnreadableFile
from geoetl.core.html import human_bytes
from geoetl.datasets.upstream.errors import (
    AccessRefused,
    CredentialRefused,
    RateLimited,
    SourceRefused,
    SourceUnavailable,
)
from geoetl.datasets.upstream.exchange import Answer

# These may pass: request timeout, too early, and what servers and their proxies say of themselves. 304 answers a
# condition, and none was sent.
_PASSING = frozenset({304, 408, 425, 500, 502, 503, 504, 507, 508, 520, 521, 522, 523, 524})
_BLOCK_BYTES = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS


def problem_of(
    answer: Answer, names: tuple[str, ...], good: tuple[int, ...] = (200,), *, is_form: bool = False
) -> GeoetlError | None:
    """Return the error that an answer is; None for one with what was asked for.

    Args:
        answer: Its status and headers count, and nothing that the server wrote.
        names: Credentials that were sent.
        good: Statuses of what was asked for.
        is_form: Whether they were sent to get a token: then 400 refuses them (RFC 6749 5.2).
    """
    status, shown = answer.status, answer.shown
    if status in good:
        return None
    known = " and ".join(f"'{name}'" for name in names)
    field = names[0] if names else "source_url"
    if status == 401 or (is_form and names and status in (400, 403)):
        if not names:
            return CredentialRefused(
                f"{shown} wants credentials ({status}), and none were sent.",
                hint="Name them in the definition of the dataset, and set their environment variables.",
                field=field,
            )
        return CredentialRefused(
            f"{shown} refused the credential {known} ({status}).",
            hint=f"Check the environment variable {' and '.join(names)}: it may be mistyped, or have expired.",
            field=field,
        )
    if status == 403:
        who = f", with the credential {known}" if names else ""
        return AccessRefused(
            f"{shown} does not give access (403){who}.",
            hint="Ask the source whether the account includes it; some also answer so of files that are not there.",
            field=field,
        )
    if status in (404, 410):
        return NotFound(
            f"{shown} is not there ({status}).",
            hint="The source may have moved it, or given it another name.",
            field="source_url",
        )
    if status == 429 or status in _PASSING:
        return _passing(answer)
    return SourceRefused(
        f"{shown} answered {status}, and not with what was asked for.",
        hint="Check the address and the parameters of the source.",
        field="source_url",
    )


def _passing(answer: Answer) -> SourceUnavailable:
    shown = answer.shown
    after_s = _retry_after_s(answer)
    later = "later" if after_s is None else f"in {after_s:.0f} s"
    if answer.status == 429:
        error: SourceUnavailable = RateLimited(
            f"{shown} was asked too often (429).", hint=f"Try again {later}; ask for less at a time, or more rarely."
        )
    elif answer.status == 304:
        error = SourceUnavailable(
            f"{shown} answered that nothing changed (304) to a question that did not ask for it.",
            hint=f"Try again {later}; a cache on the way may be at fault.",
        )
    else:
        error = SourceUnavailable(f"{shown} has trouble of its own ({answer.status}).", hint=f"Try again {later}.")
    error.after_s = after_s
    return error


def _retry_after_s(answer: Answer) -> float | None:
    """Return what ``Retry-After`` says, seconds; a date is counted from the server's own clock (RFC 9110 10.2.3)."""
    told = answer.header("Retry-After")
    if told is None:
        return None
    if told.isdecimal():
        return float(told)
    moment, now = _unix(told), _unix(answer.header("Date"))
    return None if moment is None else max(0.0, moment - (time.time() if now is None else now))


def _unix(date: str | None) -> float | None:
    try:
        moment = parsedate_to_datetime(date or "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def json_of(answer: Answer, most: int) -> Any:
    """Read a JSON answer.

    Raises:
        UnreadableFile: It is something else.
        LimitExceeded: It has more bytes, unpacked, than `most`.
        SourceUnavailable: It broke off.
    """
    shown = answer.shown
    text = _body(answer, most)
    start = text.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start == b"<" or not start:
        came = "nothing (0 bytes)" if not start else "a web page (HTML)" if _is_html(answer, text) else "XML"
        raise UnreadableFile(
            f"{shown} sent {came} and not JSON.",
            hint="It may be a page to sign in or of an error; open the address in a browser to see.",
            field="source_url",
        )
    why = "it is nested too deeply"
    try:
        return json.loads(text.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError:
        why = "it is not in UTF-8"
    except json.JSONDecodeError as error:
        why = f"{error.msg} (line {error.lineno}, column {error.colno})"
    except ValueError as error:
        why = str(error) if isinstance(error, _NotStrict) else "a number has too many digits"
    except RecursionError:
        pass
    raise UnreadableFile(f"{shown} sent no proper JSON: {why}.", hint="Tell the source.", field="source_url")


def _is_html(answer: Answer, text: bytes) -> bool:
    return answer.media_type in ("text/html", "application/xhtml+xml") or b"<html" in text[:2048].lower()


def _body(answer: Answer, most: int) -> bytes:
    shown = answer.shown
    encoding = (answer.header("Content-Encoding") or "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise UnreadableFile(
            f"{shown} sent its answer packed in a way that nobody asked for.",
            hint="Tell the source.",
            field="source_url",
        )
    unpacking = zlib.decompressobj(_GZIP) if encoding != "identity" else None
    came, body = 0, bytearray()
    while block := answer.read(_BLOCK_BYTES):
        came += len(block)
        try:
            # One byte more than allowed is enough to see that there is more.
            body += unpacking.decompress(block, most + 1 - len(body)) if unpacking else block
        except zlib.error:
            came = -1
        if came < 0:
            raise UnreadableFile(f"{shown} sent a damaged answer.", hint="Try again later.", field="source_url")
        if len(body) > most:
            raise LimitExceeded(
                f"{shown} sent more than {human_bytes(most)}.", hint="Ask it for less at a time.", field="source_url"
            )
    if (answer.length is not None and came < answer.length) or (unpacking is not None and not unpacking.eof):
        raise SourceUnavailable(f"{shown} broke off after {came:,} bytes of its answer.", hint="Try again later.")
    return bytes(body)


class _NotStrict(ValueError):
    """JSON that readers would understand differently."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _NotStrict("a name stands twice in one object")
    return made


def _constant(_name: str) -> Any:
    raise _NotStrict("NaN and infinity are no numbers of JSON")
