"""Several processes on one database: what one writes the others see."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.api.test_serve import free_port, serve_command
from tests.stac import a_collection, an_item

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
WORKER = """
import json, sys
import geoetl
geoetl.connect().catalog.upsert_items(json.load(sys.stdin))
"""


def ask(address: str, path: str, method: str = "GET", body: Any = None) -> Any:
    """Ask a server; give the status where it refuses."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{address}{path}", data, {"Content-Type": "application/json", "Origin": address}, method=method
    )
    try:
        with OPENER.open(request, timeout=30) as answer:
            content = answer.read()
            return json.loads(content) if content else None
    except urllib.error.HTTPError as error:
        return error.code


@contextmanager
def started(environment: dict[str, str], *options: str) -> Iterator[str]:
    """Start a server process and give its address, without a slash."""
    port = free_port()
    command = serve_command("--port", str(port), *options)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                ask(address, "/api/livez")
                break
            except OSError:
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the environment of a home that the processes of this module share."""
    return {**os.environ, "GEOETL_HOME": str(tmp_path_factory.mktemp("shared") / "home")}


@pytest.fixture(scope="module")
def servers(environment: dict[str, str]) -> Iterator[list[str]]:
    """Give two servers that write and one that reads, on one database."""
    with ExitStack() as stack:
        yield [stack.enter_context(started(environment, "--role", role)) for role in ("etl", "etl", "reader")]


def test_a_write_in_one_process_is_seen_by_the_next_question_to_another(
    servers: list[str], environment: dict[str, str]
) -> None:
    first, *others = servers
    item, search = "/stac/collections/seen/items/one", "/stac/search?collections=seen"
    assert ask(first, "/stac/collections", "POST", a_collection("seen"))["id"] == "seen"
    assert ask(first, "/stac/collections/seen/items", "POST", an_item(collection="seen"))["id"] == "one"
    for other in others:
        assert ask(other, item)["id"] == "one"
        assert ask(other, search)["numberMatched"] == 1
    ask(first, item, "PATCH", {"properties": {"title": "Changed"}})
    for other in others:
        assert ask(other, item)["properties"]["title"] == "Changed"
    made = json.dumps([an_item(name, collection="seen") for name in ("one", "two")])
    subprocess.run([sys.executable, "-c", WORKER], input=made, text=True, env=environment, check=True)
    for server in servers:
        assert "title" not in ask(server, item)["properties"]
        assert ask(server, search)["numberMatched"] == 2
    ask(first, item, "DELETE")
    for server in servers:
        assert ask(server, item) == 404


def test_fifty_writers_through_two_servers_lose_nothing(servers: list[str]) -> None:
    first, second, reader = servers
    ask(first, "/stac/collections", "POST", a_collection("many"))

    def write(number: int) -> Any:
        item = an_item(f"i{number}", collection="many")
        return ask((first, second)[number % 2], "/stac/collections/many/items", "POST", item)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(write, range(200)))
    assert [answer if isinstance(answer, int) else answer["id"] for answer in answers] == [f"i{n}" for n in range(200)]
    assert ask(reader, "/stac/search?collections=many")["numberMatched"] == 200


def test_a_reader_takes_no_writing_and_opens_the_database_to_read(servers: list[str]) -> None:
    first, _, reader = servers
    ask(first, "/stac/collections", "POST", a_collection("kept"))
    assert ask(reader, "/stac/collections", "POST", a_collection("other")) in (403, 405)
    assert ask(reader, "/stac/collections/kept", "DELETE") in (403, 405)
    assert ask(reader, "/stac/collections/kept")["id"] == "kept"
