"""``geoetl serve`` and the tile in JupyterLab."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import geoetl
from geoetl.cli.jupyter import dashboard_server
from geoetl.cli.serve import PROXY_HEADER, TOKEN_VARIABLE
from geoetl.core.errors import ConfigurationError, Conflict, Unavailable
from geoetl.core.principal import Role


def serve_command(*options: str) -> list[str]:
    return [sys.executable, "-m", "geoetl.cli", "serve", "--no-open", *options]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org"])
def test_an_address_that_others_reach_is_refused_as_long_as_nobody_can_sign_in(home: Path, host: str) -> None:
    from geoetl.cli.serve import serve

    with pytest.raises(ConfigurationError, match="there are no users who could sign in") as refused:
        serve(host=host, port=free_port(), open_browser=False)
    assert refused.value.hint is not None
    assert "geoetl users add NAME --role operator" in refused.value.hint
    assert "127.0.0.1" in refused.value.hint


def test_with_users_it_listens_for_others_and_asks_them_to_sign_in(home: Path) -> None:
    geoetl.connect().identity.add("alice", Role.OPERATOR, "correct horse battery")
    port = free_port()
    command = serve_command("--host", "0.0.0.0", "--port", str(port))
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert "Sign in" in fetch(f"http://127.0.0.1:{port}/explore", process)
        with pytest.raises(urllib.error.HTTPError) as refused:
            fetch(f"http://127.0.0.1:{port}/stac", process, accept="application/json")
        assert refused.value.code == 401
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert "Passwords cross the network unencrypted" in said
    assert "GEOETL_SECURITY__HOSTS" in said
    assert "local operator" not in said


def test_without_users_it_answers_stops_and_says_who_is_signed_in_and_how_to_add_others(home: Path) -> None:
    port = free_port()
    process = subprocess.Popen(serve_command("--port", str(port)), stderr=subprocess.PIPE, text=True)
    try:
        assert "geoetl" in fetch(f"http://127.0.0.1:{port}/explore", process)
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert f"http://127.0.0.1:{port}/explore" in said
    assert "signed in as the local operator" in said
    assert "geoetl users add NAME --role operator" in said
    assert "Traceback" not in said


def test_a_reader_of_nothing_says_what_has_to_be_there_first(home: Path) -> None:
    from geoetl.cli.serve import serve

    with pytest.raises(Unavailable, match="cannot be opened") as refused:
        serve(role="reader", host="127.0.0.1", port=free_port(), open_browser=False)
    assert refused.value.hint
    assert not home.exists()


def test_a_port_that_is_taken_is_a_sentence(home: Path) -> None:
    from geoetl.cli.serve import serve

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Conflict, match=str(port)) as taken:
            serve(host="127.0.0.1", port=port, open_browser=False)
    assert taken.value.hint is not None
    assert f"--port {port + 1}" in taken.value.hint


def test_jupyterlab_finds_the_tile_its_icon_and_its_secret() -> None:
    from jupyter_server_proxy.config import ServerProcess

    process = ServerProcess(name="geoetl", **dashboard_server())
    assert process.launcher_entry.title == "geoetl dashboard"
    assert Path(process.launcher_entry.icon_path).suffix == ".svg"
    assert Path(process.launcher_entry.icon_path).is_file()
    assert process.launcher_entry.path_info == "geoetl/explore"
    assert process.environment[TOKEN_VARIABLE] == process.request_headers_override[PROXY_HEADER]
    assert dashboard_server()["environment"] != process.environment
    assert "{port}" in process.command


def fetch(address: str, process: "subprocess.Popen[str]", accept: str = "text/html") -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 120
    while True:
        try:
            asked = urllib.request.Request(address, headers={"Accept": accept})
            with opener.open(asked, timeout=30) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise
            time.sleep(0.1)
