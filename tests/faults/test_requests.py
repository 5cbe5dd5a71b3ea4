"""Requests that no honest client sends, as bytes, to a server in a process of its own: a clean 4xx each, and it lives.

Fault A19: JSON that programs read in different ways, wrong types, bombs, drops (slowloris), smuggling, heads too large.
"""

import gzip
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.api.wire import Answer, connect, post_json, read, request, send

SEARCH = "/stac/search"
MIB = 1024 * 1024
# Times of this server are short, so that what waits for them does not.
SETTINGS = {"BODY_SECONDS": "1", "HEADER_SECONDS": "1", "HEADER_KIB": "32", "ADDRESS_KIB": "8", "BODY_MIB": "1"}
# What a process may grow by under all of this; a body is 1 MiB at most, and forty come at a time.
MAX_GROWTH_MIB = 150
PROGRAM = """
import socket, sys
import uvicorn
import geoetl
from geoetl.api.app import create_app
from geoetl.api.connections import uvicorn_options
platform = geoetl.connect()
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen(256)
server = uvicorn.Server(uvicorn.Config(create_app(platform), **uvicorn_options(platform.settings.server)))
print(listening.getsockname()[1], flush=True)
server.run(sockets=[listening])
"""


@dataclass(frozen=True)
class Victim:
    """A server in a process of its own.

    Attributes:
        port: Where it listens.
        process: The process.
    """

    port: int
    process: psutil.Process

    def check_lives(self) -> None:
        assert self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE
        assert send(self.port, request("GET", "/livez")).status == 200


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    home = tmp_path_factory.mktemp("victim") / "home"
    settings = {f"GEOETL_SERVER__{name}": value for name, value in SETTINGS.items()}
    environment = {**os.environ, **settings, "GEOETL_HOME": str(home)}
    said = home.parent / "said"
    with said.open("w") as log:
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert child.stdout is not None
        made = Victim(int(child.stdout.readline()), psutil.Process(child.pid))
        # The first search loads what all later ones use.
        assert send(made.port, post_json(SEARCH, b"{}")).status == 200
        yield made
        made.check_lives()
        child.terminate()
        child.wait(20)
    check_log(said)


def check_log(said: Path) -> None:
    text = said.read_text()
    assert "Traceback" not in text, text[-3000:]


def refused(answer: Answer, *statuses: int) -> None:
    assert answer.status in statuses, (answer.status, answer.body[:300])
    problem = answer.problem()
    assert problem["status"] == answer.status
    assert problem["code"] and problem["detail"] and problem["request_id"]
    assert not re.search(r"Traceback|site-packages|/root|/home|pydantic", answer.body.decode())


JSON_FAULTS = {
    "malformed": b'{"limit": ',
    "two documents": b"{}{}",
    "single quotes": b"{'limit': 1}",
    "repeated name": b'{"limit": 1, "limit": 2}',
    "repeated name in disguise": b'{"limit": 1, "l\\u0069mit": 2}',
    "repeated name inside": b'{"fields": {"include": [], "include": ["a"]}}',
    "NaN": b'{"bbox": [NaN, 0, 1, 1]}',
    "Infinity": b'{"bbox": [-Infinity, 0, 1, 1]}',
    "too large a float": b'{"bbox": [1e400, 0, 1, 1]}',
    "depth of lists": b"[" * 100_000 + b"]" * 100_000,
    "depth of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "depth in a filter": b'{"filter":' + b'{"op":"not","args":[' * 5_000 + b"true" + b"]}" * 5_000 + b"}",
    "half a surrogate pair": b'{"ids": ["\\ud800"]}',
    "half a surrogate pair as a name": b'{"\\udfff": 1}',
    "surrogates as UTF-8": b'{"ids": ["\xed\xa0\x80"]}',
    "no UTF-8": b'{"ids": ["\xff\xfe"]}',
    "UTF-16": '{"limit": 1}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"limit": 1}',
    "NUL": b'{"ids": ["a\\u0000b"]}',
    "bare NUL": b'{"ids": ["a\0b"]}',
    "huge integer": b'{"limit": ' + b"9" * 100_000 + b"}",
    "integer of 65 bits": b'{"limit": 18446744073709551616}',
    "integer of 64 bits": b'{"ids": [9223372036854775808]}',
    "a list": b"[]",
    "text": b'"limit"',
    "a number": b"1",
    "null": b"null",
    "wrong types": b'{"limit": {}, "bbox": "x", "ids": 5, "collections": {"a": 1}, "sortby": true, "fields": []}',
}


@pytest.mark.parametrize("name", JSON_FAULTS)
def test_json_that_is_none_or_that_programs_read_in_different_ways_is_400(victim: Victim, name: str) -> None:
    refused(send(victim.port, post_json(SEARCH, JSON_FAULTS[name])), 400, 413)
    victim.check_lives()


@pytest.mark.parametrize(
    "header",
    [
        "Content-Type: text/plain",
        "Content-Type: application/xml",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: application/json; charset=utf-16",
        "Content-Type: application/jsonp",
        "Content-Type: ;;;",
        "Content-Type: \xff\xfe",
        "X-No: type",
    ],
)
def test_a_body_of_another_type_is_415(victim: Victim, header: str) -> None:
    refused(send(victim.port, request("POST", SEARCH, header, body=b'{"limit": 1}')), 415)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, gzip", "x-unknown", "GZIP"])
def test_a_compressed_body_is_415_and_never_inflated(victim: Victim, encoding: str) -> None:
    bomb = gzip.compress(gzip.compress(b"[" + b"0," * 50 * MIB + b"0]"))
    assert len(bomb) < MIB
    before = victim.process.memory_info().rss
    refused(send(victim.port, post_json(SEARCH, bomb, f"Content-Encoding: {encoding}")), 415)
    assert victim.process.memory_info().rss - before < 20 * MIB


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("POST", SEARCH, "Content-Type: application/json", length=2**62), 413),
        (post_json(SEARCH, b" " * (MIB + 1)), 413),
        (post_json(SEARCH, b'{"ids": ["' + b"a" * 3 * MIB + b'"]}'), 413),
        (request("GET", f"/stac/search?ids={'a' * 10_000}"), 414),
        (request("GET", f"/{'a/' * 5_000}"), 414),
        (request("GET", f"/stac/search?{'&'.join(['ids=a'] * 1000)}"), 414),
        (request("GET", "/livez", f"X-Large: {'a' * 40_000}"), 431),
        (request("GET", "/livez", *[f"X-{number}: {'a' * 50}" for number in range(1000)]), 431),
        (request("GET", f"/{'a' * 200_000}"), 431),
    ],
)
def test_what_is_too_large_is_refused_with_the_limit(victim: Victim, sent: bytes, status: int) -> None:
    answer = send(victim.port, sent)
    refused(answer, status)
    assert re.search(r"limit|larger", answer.problem()["detail"])


def test_a_head_that_never_ends_is_431_before_it_is_kept(victim: Victim) -> None:
    with connect(victim.port) as one:
        one.sendall(b"GET /livez HTTP/1.1\r\nX-Endless: ")
        try:
            for _ in range(64):
                one.sendall(b"a" * MIB)
        except OSError:
            pass
    victim.check_lives()


# -- drops -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"G", b"GET /livez HTTP/1.1\r\n", b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_a_head_that_comes_drop_by_drop_is_408(victim: Victim, start: bytes) -> None:
    with connect(victim.port) as one:
        one.sendall(start)
        answer = read(one)
    refused(answer, 408)
    assert answer.closed


def test_drops_do_not_buy_more_time(victim: Victim) -> None:
    stopped = threading.Event()

    def drip(one: socket.socket) -> None:
        while not stopped.wait(0.05):
            try:
                one.sendall(b"X-Drop: 1\r\n")
            except OSError:
                return

    with connect(victim.port) as one:
        one.sendall(b"GET /livez HTTP/1.1\r\n")
        dripping = threading.Thread(target=drip, args=(one,), daemon=True)
        dripping.start()
        answer = read(one)
        stopped.set()
        dripping.join()
    assert answer.closed and answer.status in (408, 0)  # what was dripped after the end may have reset the connection


@pytest.mark.parametrize(
    "start",
    [
        request("POST", SEARCH, "Content-Type: application/json", length=100) + b'{"limit',
        request("POST", SEARCH, "Content-Type: application/json", length=100),
        request("POST", SEARCH, "Content-Type: application/json", "Transfer-Encoding: chunked") + b"5\r\n{",
    ],
)
def test_a_body_that_does_not_come_is_408(victim: Victim, start: bytes) -> None:
    with connect(victim.port) as one:
        one.sendall(start)
        answer = read(one)
    refused(answer, 408)
    assert answer.closed


def test_a_connection_that_says_nothing_is_closed_without_a_word(victim: Victim) -> None:
    with connect(victim.port) as one:
        answer = read(one)
    assert (answer.status, answer.body, answer.closed) == (0, b"", True)


def test_a_hundred_drip_at_once_and_others_are_answered(victim: Victim) -> None:
    held = [connect(victim.port) for _ in range(100)]
    for number, one in enumerate(held):
        one.sendall(
            b"GET /livez HTTP/1.1\r\nX-"
            if number % 2
            else request("POST", SEARCH, "Content-Type: application/json", length=500) + b"{"
        )
    assert [send(victim.port, request("GET", "/livez")).status for _ in range(10)] == [200] * 10
    assert {read(one).status for one in held} == {408}
    for one in held:
        one.close()


def test_a_client_that_leaves_in_the_middle_is_no_error(victim: Victim) -> None:
    for _ in range(20):
        with connect(victim.port) as one:
            one.sendall(request("POST", SEARCH, "Content-Type: application/json", length=1000) + b'{"a"')
    victim.check_lives()


# -- smuggling -------------------------------------------------------------------------------------------------------

HIDDEN = b"GET /api/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
SMUGGLED = {
    "length and chunks": request(
        "POST", SEARCH, "Content-Type: application/json", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN
    ),
    "chunks and length": b"POST /stac/search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": b"POST /stac/search HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 60\r\n\r\n{}"
    + HIDDEN,
    "lengths in a list": b"POST /stac/search HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 60\r\n\r\n{}" + HIDDEN,
    "negative length": b"POST /stac/search HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n" + HIDDEN,
    "length with a sign": b"POST /stac/search HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\n{}" + HIDDEN,
    "length in hex": b"POST /stac/search HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\n{}" + HIDDEN,
    "length that overflows": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n" + HIDDEN,
    "unknown coding": b"POST /stac/search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunked is not last": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"
    + HIDDEN,
    "space before the colon": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "folded header": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n\r\n{}"
    + HIDDEN,
    "bare line feeds": b"POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n" + HIDDEN,
    "carriage return in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n" + HIDDEN,
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n" + HIDDEN,
    "chunk size in octal": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n"
    + HIDDEN,
    "chunk size that overflows": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"FFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n" + HIDDEN,
    "chunk longer than said": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n"
    + HIDDEN,
    "HTTP/0.9": b"GET /livez\r\n\r\n" + HIDDEN,
    "HTTP/3.7": b"GET /livez HTTP/3.7\r\nHost: a\r\n\r\n" + HIDDEN,
    "no verb": b"/livez HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "unknown verb": b"EVIL /livez HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "space in the address": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_request_with_two_meanings_is_refused_and_what_it_hides_is_not_answered(victim: Victim, name: str) -> None:
    answer = send(victim.port, SMUGGLED[name])
    refused(answer, 400, 405, 413, 415)
    assert (answer.answers, answer.closed) == (1, True)
    assert b"openapi" not in answer.body
    victim.check_lives()


def test_headers_after_a_body_do_not_become_headers_of_the_request(victim: Victim) -> None:
    trailers = b"X-Request-ID: from-a-trailer\r\nContent-Type: text/plain\r\n"
    start = request("POST", SEARCH, "Content-Type: application/json", "Transfer-Encoding: chunked")
    answer = send(victim.port, start, b"2\r\n{}\r\n0\r\n", trailers + b"\r\n")
    assert answer.status == 200
    assert answer.headers["x-request-id"] != "from-a-trailer"


def test_honest_requests_one_after_the_other_are_each_answered(victim: Victim) -> None:
    several = request("GET", "/livez", close=False) * 5 + request("GET", "/livez")
    assert send(victim.port, several).answers == 6


# -- all of it -------------------------------------------------------------------------------------------------------


def test_memory_stays_under_all_of_it_at_once(victim: Victim) -> None:
    everything = [post_json(SEARCH, body) for body in JSON_FAULTS.values()] + list(SMUGGLED.values())
    everything += [post_json(SEARCH, b'["' + b"a" * (MIB - 10) + b'"]')] * 12

    def ask(sent: list[bytes], statuses: list[int]) -> None:
        statuses += [send(victim.port, one).status for one in sent]

    before = victim.process.memory_info().rss
    statuses: list[int] = []
    for _ in range(3):
        threads = [threading.Thread(target=ask, args=(everything[part::8], statuses)) for part in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(statuses) == 3 * len(everything)
    assert {status for status in statuses if status >= 500 or 0 < status < 400} == set()
    assert (victim.process.memory_info().rss - before) / MIB < MAX_GROWTH_MIB
    assert victim.process.num_fds() < 60
    assert json.loads(send(victim.port, request("GET", "/readyz")).body)["status"] == "ok"
