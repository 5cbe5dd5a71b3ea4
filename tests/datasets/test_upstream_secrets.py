"""No credential is printed, logged, raised, or in a frame of an error: random ones are looked for everywhere."""

import http.client
import logging
import pickle
import secrets
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from geoetl.core.errors import GeoetlError
from geoetl.datasets.upstream import Auth, Media, PasswordGrant, SourceRefused, Upstream
from geoetl.testing.upstream import Asked, Fault, LocalUpstream, Reply
from tests.datasets.sources import IMPATIENT, archive, client

# Signs that are written differently in a query, a form and a header.
CANARY = f"c+n&ry/{secrets.token_hex(8)} é"
BARE = f"canary{secrets.token_hex(8)}"
TOKEN = f"token{secrets.token_hex(8)}"
_WRITTEN = {
    form
    for value in (CANARY, BARE, TOKEN)
    for form in (value, quote(value), quote(value, safe=""), quote_plus(value), b64encode(value.encode()).decode())
}


def leaks(text: str) -> list[str]:
    """Return the credentials that are in a text, in any way of writing."""
    return [form for form in _WRITTEN if form in text]


def told(error: BaseException, *, frames: bool = True) -> str:
    """Return all that can be got out of an error: texts, frames with their variables, and what it comes from."""
    parts: list[str] = []
    seen: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        left += [one.__cause__, one.__context__]
        stack = traceback.TracebackException.from_exception(one, capture_locals=True).stack if frames else []
        parts += [str(one), repr(one), repr(one.args), repr(vars(one))]
        parts += [repr(frame.locals) for frame in stack if frame.filename != __file__]
        parts += getattr(one, "__notes__", [])
        if isinstance(one, GeoetlError):
            parts += [repr(one.problem()), repr(vars(pickle.loads(pickle.dumps(one)))), *one._render_traceback_()]
    return "\n".join(parts)


@pytest.fixture
def source() -> Iterator[LocalUpstream]:
    with LocalUpstream() as started:
        yield started


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with client(
        {"KEY": CANARY, "BARE": BARE, "NAME": "me"}, limits=replace(IMPATIENT, attempts=2, json_bytes=1_000_000)
    ) as made:
        yield made


@pytest.fixture(autouse=True)
def everything_is_looked_at(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Log at DEBUG, have `http.client` print what it sends, and look at all of it in the end."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    yield
    printed = capfd.readouterr()
    assert not leaks(caplog.text + printed.out + printed.err)
    assert not any(leaks(repr(vars(record))) for record in caplog.records)


class Fixed:
    """A token that is always the same."""

    names = ("BARE",)

    def token(self) -> str:
        return TOKEN

    def refreshed(self) -> str:
        return TOKEN


AUTHS = {
    "query": Auth(query={"key": "KEY", "bare": "BARE"}),
    "header": Auth(headers={"X-Key": "BARE"}),
    "bearer": Auth(bearer=Fixed()),
    "form": Auth(form={"username": "NAME", "password": "KEY", "bare": "BARE"}),
}


def echo(status: int) -> Callable[[Asked], Reply]:
    """Return a function that answers with all that was sent, in the body and in headers."""

    def answer(asked: Asked) -> Reply:
        sent = f"{asked.text} {CANARY} {BARE} {TOKEN}"
        headers = {"ETag": f'"{BARE}"', "Content-Type": f"text/{TOKEN}", "X-Sent": TOKEN, "WWW-Authenticate": BARE}
        return Reply(status, {"error": sent}, headers)

    return answer


FAULTS = [fault for fault in Fault if fault not in (Fault.STATUS, Fault.HEAD_REFUSED)]


@pytest.mark.parametrize("how", list(AUTHS))
def test_no_fault_brings_a_credential_to_light(
    source: LocalUpstream, upstream: Upstream, tmp_path: Path, how: str
) -> None:
    auth = AUTHS[how]
    url = source.serve("/data.zip", archive(100_000))
    raised = 0

    def ask() -> GeoetlError | None:
        try:
            if how == "form":
                upstream.post_form(url, {}, auth=auth)
            else:
                upstream.head(url, auth=auth)
                upstream.download(url, tmp_path / "data.zip", media=Media.ZIP, auth=auth)
        except GeoetlError as error:
            return error
        return None

    for fault in FAULTS:
        for to in (source.url(f"/there?key={quote(CANARY)}", "localhost"), f"http://169.254.169.254/{BARE}", BARE):
            source.misbehave("/data.zip", fault, at=30_000, to=to, body=b"new", pause_s=0.005)
            if error := ask():
                raised += 1
                assert not leaks(told(error)), fault
            if fault is not Fault.REDIRECT:
                break
    for status in (400, 401, 403, 404, 406, 429, 500):
        source.misbehave("/data.zip", Fault.STATUS, status=status)
        error = ask()
        assert error is not None
        assert not leaks(told(error)), status
    assert raised >= 5
    # It is sent, all the same.
    assert any(leaks(asked.text) or CANARY in asked.form.values() for asked in source.requests)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 429, 500, 302])
@pytest.mark.parametrize("how", ["query", "header", "bearer", "form"])
def test_what_a_source_says_back_is_not_repeated(
    source: LocalUpstream, upstream: Upstream, status: int, how: str
) -> None:
    url = source.json(f"/{BARE}/api", echo(status))  # in the path too
    ask = (lambda: upstream.post_form(url, {}, auth=AUTHS[how])) if how == "form" else None
    with pytest.raises(GeoetlError) as caught:
        ask() if ask else upstream.get_json(url, auth=AUTHS[how])
    assert not leaks(told(caught.value, frames=False))


def test_json_that_is_none_is_not_repeated(source: LocalUpstream, upstream: Upstream) -> None:
    for body in (f'{{"a": {BARE}}}', f'{{"{BARE}": 1, "{BARE}": 2}}', f"<html>{BARE}</html>", f'"{BARE}'):
        url = source.serve("/api", body.encode())
        with pytest.raises(GeoetlError) as caught:
            upstream.get_json(url, auth=AUTHS["query"])
        assert BARE not in str(caught.value) + repr(caught.value.problem())


def test_a_source_that_does_not_speak_http_is_not_repeated(source: LocalUpstream, upstream: Upstream) -> None:
    source.misbehave("/api", Fault.STATUS, status=500, retry_after=f"\r\n{BARE}\0")
    with pytest.raises(GeoetlError) as caught:
        upstream.get_json(source.url("/api"), auth=AUTHS["query"])
    assert not leaks(told(caught.value))


def test_a_credential_that_cannot_be_sent_is_not_repeated(source: LocalUpstream) -> None:
    with client({"KEY": f"{BARE}\u0444"}) as upstream:  # not in Latin-1: no header can have it
        with pytest.raises(GeoetlError) as caught:
            upstream.get_json(source.json("/api", lambda _: {}), auth=Auth(headers={"X-Key": "KEY"}))
        assert not leaks(told(caught.value))
    with client({"KEY": f"{BARE}\r\nX: {TOKEN}"}) as upstream:
        with pytest.raises(GeoetlError) as caught:
            upstream.get_json(source.url("/api"), auth=Auth(headers={"X-Key": "KEY"}))
        assert not leaks(told(caught.value))
    assert source.count() == 0


def test_nothing_that_is_shown_has_a_credential(source: LocalUpstream, upstream: Upstream, tmp_path: Path) -> None:
    url = source.serve("/data.zip", archive(10_000))
    source.misbehave("/old.zip", Fault.REDIRECT, to=f"{url}?X-Amz-Signature={TOKEN}")
    auth = AUTHS["query"]
    stamp = upstream.head(source.url("/old.zip"), auth=auth)
    fetched = upstream.download(source.url("/old.zip"), tmp_path / "data.zip", media=Media.ZIP, auth=auth)
    shown = f"{upstream!r} {upstream!s} {stamp!r} {stamp.mark} {stamp.model_dump_json()} {fetched!r} {auth!r} "
    assert not leaks(shown + stamp._repr_html_() + fetched._repr_html_())
    assert "KEY" in repr(upstream)
    assert stamp.url == url


def test_nothing_beside_a_download_has_a_credential(source: LocalUpstream, upstream: Upstream, tmp_path: Path) -> None:
    url = source.serve("/data.zip", archive(500_000))
    source.misbehave("/old.zip", Fault.REDIRECT, to=f"{url}?X-Amz-Signature={TOKEN}")
    source.misbehave("/data.zip", Fault.TRUNCATED, at=200_000)
    with client({"KEY": CANARY, "BARE": BARE}, limits=replace(IMPATIENT, attempts=1)) as other:
        with pytest.raises(GeoetlError):
            other.download(source.url("/old.zip"), tmp_path / "data.zip", media=Media.ZIP, auth=AUTHS["query"])
    memory = tmp_path / "data.zip.part.json"
    assert memory.is_file()
    assert not leaks(memory.read_text())


def test_tokens_that_were_had_for_a_password_are_not_shown_either(source: LocalUpstream, upstream: Upstream) -> None:
    tokens = {"access_token": TOKEN, "refresh_token": BARE[::-1]}
    url = source.json("/token", lambda _: tokens)
    grant = PasswordGrant(upstream, url, username="NAME", password="KEY")
    read = source.json(f"/read/{TOKEN}", lambda _: Reply(403))
    with pytest.raises(SourceRefused) as caught:
        upstream.get_json(read, auth=Auth(bearer=grant))
    assert not leaks(told(caught.value, frames=False) + repr(grant))
    assert BARE[::-1] not in told(caught.value) + repr(grant)
    source.json("/token", lambda _: {"access_token": f"{TOKEN}\n"})
    with pytest.raises(GeoetlError) as broken:
        upstream.get_json(read, auth=Auth(bearer=PasswordGrant(upstream, url, username="NAME", password="KEY")))
    assert TOKEN not in str(broken.value)
