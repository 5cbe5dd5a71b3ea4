"""What is asked of sources that misbehave: stamps, JSON, forms; and what is said of each fault."""

import gzip
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from geoetl.core.errors import ConfigurationError, GeoetlError, LimitExceeded, NotFound, UnreadableFile
from geoetl.datasets.upstream import (
    AccessRefused,
    Auth,
    Cancelled,
    CredentialRefused,
    PasswordGrant,
    RateLimited,
    SourceRefused,
    SourceUnavailable,
    Upstream,
)
from geoetl.testing.upstream import MODIFIED, Asked, Fault, LocalUpstream, Reply
from tests.datasets.sources import IMPATIENT, LIMITS, Waits, archive, client


@pytest.fixture
def source() -> Iterator[LocalUpstream]:
    with LocalUpstream() as started:
        yield started


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def upstream(waits: Waits) -> Iterator[Upstream]:
    with client({"TOKEN": "s3cr3t"}, pause=waits) as made:
        yield made


# -- stamps ------------------------------------------------------------------------------------------------------------


def test_a_check_is_one_request_and_fetches_nothing(source: LocalUpstream, upstream: Upstream) -> None:
    body = archive(10_000)
    stamp = upstream.head(source.serve("/a.zip", body, etag='"v1"', media_type="application/zip"))
    assert (stamp.etag, stamp.last_modified, stamp.bytes) == ('"v1"', MODIFIED, len(body))
    assert (stamp.media_type, stamp.url) == ("application/zip", source.url("/a.zip"))
    assert source.count() == source.count("HEAD", "/a.zip") == 1
    assert source.sent("/a.zip") == 0


@pytest.mark.parametrize("status", [403, 405, 501])
def test_where_head_is_refused_the_first_byte_is_asked_for(
    source: LocalUpstream, upstream: Upstream, status: int
) -> None:
    url = source.serve("/a.zip", body := archive(100_000))
    expected = upstream.head(url)
    source.misbehave("/a.zip", Fault.HEAD_REFUSED, status=status)
    assert upstream.head(url) == expected
    assert expected.bytes == len(body)
    assert source.fired("/a.zip") == 1
    assert source.sent("/a.zip") == 1


def test_a_server_that_knows_neither_head_nor_ranges_is_not_read_to_the_end(
    source: LocalUpstream, upstream: Upstream, waits: Waits
) -> None:
    body = archive(20_000_000)
    source.json("/b", lambda _: {"after": True})
    # It has no file of that name, and so no ranges.
    plain = source.json("/plain", lambda asked: Reply(405 if asked.method == "HEAD" else 200, body, {"ETag": '"v1"'}))
    stamp = upstream.head(plain)
    assert (stamp.etag, stamp.bytes) == ('"v1"', len(body))
    # What was left of it is not taken for the next answer.
    assert upstream.get_json(source.url("/b")) == {"after": True}
    assert not waits.seconds


def test_versions_differ_by_etag_time_or_size(source: LocalUpstream, upstream: Upstream) -> None:
    url = source.serve("/a.zip", b"one", etag='"v1"')
    first = upstream.head(url)
    source.serve("/a.zip", b"two", etag='W/"v1"')
    assert first.difference(upstream.head(url)) is None
    source.serve("/a.zip", b"two", etag='"v2"')
    assert first.difference(upstream.head(url)) == "its ETag is another"
    source.serve("/a.zip", b"three", etag='"v1"')
    assert first.difference(same := upstream.head(url)) == "it has 5 B and not 3 B"
    assert first.mark != same.mark
    source.serve("/a.zip", b"one", etag="", last_modified="Wed, 02 Sep 2026 00:00:00 GMT")
    untagged = upstream.head(url)
    assert first.difference(untagged) == "its time of change is another"
    source.serve("/a.zip", b"one", etag="", last_modified=MODIFIED)
    assert untagged.difference(upstream.head(url)) == "its time of change is another"


def test_without_any_validator_the_mark_is_the_size(source: LocalUpstream, upstream: Upstream) -> None:
    url = source.serve("/a.zip", b"12345")
    source.misbehave("/a.zip", Fault.NO_VALIDATORS)
    stamp = upstream.head(url)
    assert (stamp.etag, stamp.last_modified, stamp.strong, stamp.mark) == (None, None, None, "5")
    assert source.fired("/a.zip") == 1


# -- what the statuses mean --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (401, CredentialRefused, "refused the credential 'TOKEN' (401)"),
        (403, AccessRefused, "does not give access (403), with the credential 'TOKEN'"),
        (404, NotFound, "is not there (404)"),
        (410, NotFound, "is not there (410)"),
        (406, SourceRefused, "answered 406"),
        (202, SourceRefused, "answered 202"),
    ],
)
def test_what_will_not_pass_is_said_at_once(
    source: LocalUpstream, upstream: Upstream, waits: Waits, status: int, kind: type[GeoetlError], said: str
) -> None:
    url = source.json("/api", lambda _: {})
    source.misbehave("/api", Fault.STATUS, status=status)
    with pytest.raises(kind) as caught:
        upstream.get_json(url, auth=Auth(headers={"X-Key": "TOKEN"}))
    assert type(caught.value) is kind
    assert said in caught.value.detail
    assert caught.value.hint
    assert source.fired("/api") == 1
    assert not waits.seconds


def test_a_refused_credential_is_named_by_its_environment_variable(source: LocalUpstream, upstream: Upstream) -> None:
    url = source.json("/api", lambda _: Reply(401))
    with pytest.raises(CredentialRefused, match="environment variable TOKEN") as caught:
        upstream.get_json(url, auth=Auth(query={"token": "TOKEN"}))
    assert caught.value.field == "TOKEN"
    with pytest.raises(CredentialRefused, match="and none were sent"):
        upstream.get_json(url)


def test_a_credential_that_is_not_set_is_asked_for_by_name(source: LocalUpstream) -> None:
    url = source.json("/api", lambda _: {})
    with client({"EMPTY": "  ", "BROKEN": "two\nlines"}) as upstream:
        for name, said in (("AWAY", "is not set"), ("EMPTY", "is not set"), ("BROKEN", "has a line break")):
            with pytest.raises(ConfigurationError, match=f"'{name}' {said}") as caught:
                upstream.get_json(url, auth=Auth(headers={"X-Key": name}))
            assert caught.value.field == name
    assert source.count() == 0


@pytest.mark.parametrize("status", [304, 408, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_after_growing_waits(
    source: LocalUpstream, upstream: Upstream, waits: Waits, status: int
) -> None:
    url = source.json("/api", lambda _: {"here": "again"})
    source.misbehave("/api", Fault.STATUS if status != 304 else Fault.NOT_MODIFIED, status=status, times=4)
    assert upstream.get_json(url) == {"here": "again"}
    assert source.fired("/api") == 4
    # 1, 2, 4 and 8 s, each less at most half of it.
    assert 7.5 <= waits.total <= 15


def test_a_source_that_stays_in_trouble_is_given_up(source: LocalUpstream, upstream: Upstream) -> None:
    url = source.json("/api", lambda _: {})
    source.misbehave("/api", Fault.STATUS, status=500)
    with pytest.raises(SourceUnavailable, match=r"has trouble of its own \(500\)") as caught:
        upstream.get_json(url)
    assert caught.value.retryable
    assert source.fired("/api") == LIMITS.attempts


def test_a_connection_that_is_closed_without_an_answer_is_made_again(
    source: LocalUpstream, upstream: Upstream, waits: Waits
) -> None:
    url = source.json("/api", lambda _: {"here": "again"})
    assert upstream.get_json(url)
    source.misbehave("/api", Fault.CLOSED, times=1)
    assert upstream.get_json(url)  # as servers do with one that was not used for a while: nothing to wait for
    assert not waits.seconds
    source.misbehave("/api", Fault.CLOSED, times=3)
    assert upstream.get_json(url)
    assert source.fired("/api") == 3
    source.misbehave("/api", Fault.CLOSED)
    with pytest.raises(SourceUnavailable, match="closed the connection"):
        upstream.get_json(url)


def test_a_source_that_is_away_is_unavailable(upstream: Upstream) -> None:
    with LocalUpstream() as gone:
        url = gone.url("/a.zip")
    with pytest.raises(SourceUnavailable, match="does not take connections"):
        upstream.head(url)


@pytest.mark.parametrize("as_date", [False, True])
def test_a_source_that_wants_to_be_left_alone_is_left_alone_for_as_long(
    source: LocalUpstream, upstream: Upstream, waits: Waits, as_date: bool
) -> None:
    url = source.json("/api", lambda _: [])
    # The date is by the server's clock, which stands in its answer.
    told = formatdate(time.time() + 42, usegmt=True) if as_date else "42"
    source.misbehave("/api", Fault.STATUS, status=429, retry_after=told, times=2)
    assert upstream.get_json(url) == []
    assert source.fired("/api") == 2
    assert waits.total == pytest.approx(84, abs=4)


def test_a_source_that_wants_to_be_left_alone_for_long_is_not_waited_for(
    source: LocalUpstream, upstream: Upstream, waits: Waits
) -> None:
    url = source.json("/api", lambda _: [])
    source.misbehave("/api", Fault.STATUS, status=429, retry_after="86400")
    with pytest.raises(RateLimited, match="Try again in 86400 s"):
        upstream.get_json(url)
    assert source.fired("/api") == 1
    assert not waits.seconds


@pytest.mark.parametrize("told", ["soon", "Mon, 99 Foo 2026", "-5", "1e9"])
def test_a_wait_that_cannot_be_understood_is_ours_to_choose(
    source: LocalUpstream, upstream: Upstream, waits: Waits, told: str
) -> None:
    url = source.json("/api", lambda _: [])
    source.misbehave("/api", Fault.STATUS, status=429, retry_after=told, times=1)
    assert upstream.get_json(url) == []
    assert 0 < waits.total <= 1


def test_waiting_ends_when_somebody_cancels(source: LocalUpstream) -> None:
    url = source.json("/api", lambda _: [])
    source.misbehave("/api", Fault.STATUS, status=503)
    waits = Waits()
    with client(cancelled=lambda: len(waits.seconds) >= 3, pause=waits) as upstream, pytest.raises(Cancelled):
        upstream.get_json(url)
    assert len(waits.seconds) == 3


def test_a_source_that_is_silent_is_given_up(source: LocalUpstream) -> None:
    url = source.serve("/a.json", b"[1, 2, 3]")
    source.misbehave("/a.json", Fault.SLOW, at=3, pause_s=60)
    limits = replace(IMPATIENT, window_s=30)
    with client(limits=limits) as upstream, pytest.raises(SourceUnavailable, match="json sent nothing for 1 s"):
        upstream.get_json(url)
    assert source.fired("/a.json") == 1


def test_a_source_that_drips_is_given_up(source: LocalUpstream) -> None:
    url = source.serve("/a.json", b"[" + b" " * 10_000 + b"]")
    source.misbehave("/a.json", Fault.SLOW, at=3, pause_s=0.02)
    with client(limits=IMPATIENT) as upstream, pytest.raises(SourceUnavailable, match="too slow"):
        upstream.get_json(url)
    assert source.fired("/a.json") == 1


def test_all_tries_together_have_an_end(source: LocalUpstream) -> None:
    url = source.serve("/a.json", b"[" + b" " * 10_000 + b"]")
    source.misbehave("/a.json", Fault.SLOW, at=3, pause_s=0.02)
    limits = replace(LIMITS, answer_s=0.5, window_s=60, attempts=100)
    with client(limits=limits) as upstream, pytest.raises(SourceUnavailable, match=r"more than 0\.5 s in all"):
        upstream.get_json(url)


# -- JSON --------------------------------------------------------------------------------------------------------------


def test_parameters_are_added_to_the_query(source: LocalUpstream, upstream: Upstream) -> None:
    url = source.json("/api", lambda asked: {"query": dict(asked.query), "key": asked.headers.get("x-key")})
    seen = upstream.get_json(
        f"{url}?fixed=1", params={"page": 2, "fields": "a|b é&"}, auth=Auth({"token": "TOKEN"}, {"X-Key": "TOKEN"})
    )
    assert seen["query"] == {"fixed": "1", "page": "2", "fields": "a|b é&", "token": "s3cr3t"}
    assert seen["key"] == "s3cr3t"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", r"sent a web page \(HTML\) and not JSON"),
        (b'\n <?xml version="1.0"?><Error/>', "sent XML and not JSON"),
        (b"", r"sent nothing \(0 bytes\) and not JSON"),
        (b'{"a": 1', "no proper JSON: Expecting"),
        (b'{"a": NaN}', "NaN and infinity are no numbers"),
        (b'{"a": 1, "a": 2}', "a name stands twice in one object"),
        (b'{"a": "\xff"}', "not in UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b"1" * 10_000, "a number has too many digits"),
    ],
)
def test_what_is_not_json_is_said_to_be_what_it_is(
    source: LocalUpstream, upstream: Upstream, body: bytes, said: str
) -> None:
    url = source.json("/api", lambda _: Reply(body=body))
    with pytest.raises(UnreadableFile, match=said):
        upstream.get_json(url)
    assert source.count() == 1


def test_json_is_known_by_its_bytes_and_not_by_what_the_server_calls_it(
    source: LocalUpstream, upstream: Upstream
) -> None:
    url = source.serve("/a.json", b'\xef\xbb\xbf{"a": 1}')
    source.misbehave("/a.json", Fault.WRONG_TYPE)
    assert upstream.get_json(url) == {"a": 1}
    assert source.fired("/a.json") == 1


def test_an_answer_that_unpacks_to_more_than_is_taken_is_refused(source: LocalUpstream, upstream: Upstream) -> None:
    url = source.json("/api", lambda _: {})
    source.misbehave("/api", Fault.GZIP_BOMB)
    with pytest.raises(LimitExceeded, match=r"more than 1\.0 MB"):
        upstream.get_json(url, max_bytes=1_000_000)
    assert source.fired("/api") == 1


def test_a_packed_answer_is_unpacked(source: LocalUpstream, upstream: Upstream) -> None:
    packed = gzip.compress(b'{"rows": [1, 2, 3]}')
    url = source.json("/api", lambda _: Reply(200, packed, {"Content-Encoding": "gzip"}))
    assert upstream.get_json(url) == {"rows": [1, 2, 3]}
    source.json("/api", lambda _: Reply(200, packed[:-12], {"Content-Encoding": "gzip"}))
    with pytest.raises(SourceUnavailable, match="broke off"):
        upstream.get_json(url)
    source.json("/api", lambda _: Reply(200, b"no gzip", {"Content-Encoding": "gzip"}))
    with pytest.raises(UnreadableFile, match="sent a damaged answer"):
        upstream.get_json(url)
    source.json("/api", lambda _: Reply(200, b"?", {"Content-Encoding": "br"}))
    with pytest.raises(UnreadableFile, match="nobody asked for"):
        upstream.get_json(url)


def test_a_larger_answer_than_is_taken_is_refused(source: LocalUpstream, upstream: Upstream) -> None:
    url = source.json("/api", lambda _: ["x" * 1000])
    with pytest.raises(LimitExceeded, match="more than 100 B"):
        upstream.get_json(url, max_bytes=100)


@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.TRUNCATED_CHUNKED, Fault.RESET])
def test_an_answer_that_breaks_off_is_asked_for_again(source: LocalUpstream, upstream: Upstream, fault: Fault) -> None:
    url = source.serve("/a.json", b'{"rows": [1, 2, 3]}')
    source.misbehave("/a.json", fault, at=9, times=2)
    assert upstream.get_json(url) == {"rows": [1, 2, 3]}
    assert source.fired("/a.json") == 2


# -- tokens ------------------------------------------------------------------------------------------------------------


class SignIn:
    """An OAuth token endpoint and an API behind it, as ACLED has them."""

    def __init__(self, source: LocalUpstream) -> None:
        self.issued = 0
        self.refreshes = 0
        self.accepts_refresh = True
        self.token_url = source.json("/oauth/token", self.token)
        self.read_url = source.json("/api/read", self.read)

    def token(self, asked: Asked) -> Any:
        form = asked.form
        if form["grant_type"] == "password" and (form["username"], form["password"]) != ("me", "pass word&"):
            return Reply(400, {"error": "invalid_grant"})
        if form["grant_type"] == "refresh_token":
            self.refreshes += 1
            if not self.accepts_refresh or form["refresh_token"] != f"again-{self.issued}":
                return Reply(401, {"error": "invalid_request"})
        self.issued += 1
        return {"token_type": "Bearer", "access_token": f"now-{self.issued}", "refresh_token": f"again-{self.issued}"}

    def read(self, asked: Asked) -> Any:
        if asked.headers.get("authorization") != f"Bearer now-{self.issued}":
            return Reply(401)
        return {"data": [1, 2]}


def grant(upstream: Upstream, sign_in: SignIn) -> PasswordGrant:
    return PasswordGrant(upstream, sign_in.token_url, username="NAME", password="WORD", fields={"client_id": "acled"})


@pytest.fixture
def signing_in(waits: Waits) -> Iterator[Upstream]:
    with client({"NAME": "me", "WORD": "pass word&"}, pause=waits) as made:
        yield made


def test_a_token_is_asked_for_once_and_renewed_when_it_is_refused(source: LocalUpstream, signing_in: Upstream) -> None:
    sign_in = SignIn(source)
    auth = Auth(bearer=grant(signing_in, sign_in))
    for _ in range(3):
        assert signing_in.get_json(sign_in.read_url, auth=auth)["data"]
    assert sign_in.issued == 1
    sign_in.issued = 7  # the one from before is not valid any more, and neither is what would renew it
    assert signing_in.get_json(sign_in.read_url, auth=auth)["data"]
    assert (sign_in.issued, sign_in.refreshes) == (8, 1)
    source.misbehave("/api/read", Fault.STATUS, status=401, times=1)
    assert signing_in.get_json(sign_in.read_url, auth=auth)["data"]
    assert (sign_in.issued, sign_in.refreshes) == (9, 2)
    assert source.requests[-2].form["grant_type"] == "refresh_token"


def test_a_token_that_is_refused_twice_is_refused(source: LocalUpstream, signing_in: Upstream) -> None:
    sign_in = SignIn(source)
    source.json("/api/read", lambda _: Reply(401))
    with pytest.raises(CredentialRefused, match="'NAME' and 'WORD'"):
        signing_in.get_json(sign_in.read_url, auth=Auth(bearer=grant(signing_in, sign_in)))
    assert source.count("GET", "/api/read") == 2


def test_a_wrong_password_is_a_refused_credential_and_no_data_are_asked_for(source: LocalUpstream) -> None:
    sign_in = SignIn(source)
    with client({"NAME": "me", "WORD": "wrong"}) as upstream, pytest.raises(CredentialRefused) as caught:
        upstream.get_json(sign_in.read_url, auth=Auth(bearer=grant(upstream, sign_in)))
    assert "'NAME' and 'WORD' (400)" in caught.value.detail
    assert source.count("GET", "/api/read") == 0


def test_a_sign_in_without_a_token_is_said_to_be_one(source: LocalUpstream, signing_in: Upstream) -> None:
    sign_in = SignIn(source)
    source.json("/oauth/token", lambda _: {"access_token": None})
    with pytest.raises(UnreadableFile, match="a sign-in without a token"):
        signing_in.get_json(sign_in.read_url, auth=Auth(bearer=grant(signing_in, sign_in)))


def test_connections_are_used_again(source: LocalUpstream, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    plain = socket.socket.connect

    def connect(self: socket.socket, where: Any) -> None:
        made.append(where)
        plain(self, where)

    monkeypatch.setattr(socket.socket, "connect", connect)
    url = source.json("/api", lambda asked: {"page": asked.query["page"]})
    pages = [upstream.get_json(url, params={"page": number})["page"] for number in range(20)]
    assert pages == [str(number) for number in range(20)]
    assert len(made) == 1
