"""Sessions and tokens over time, and between processes: what was taken away is gone everywhere within a second."""

import hashlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from itsdangerous import URLSafeSerializer
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

import dashboards.app
import geoetl
from geoetl.api import guard
from geoetl.core.principal import Role
from geoetl.platform import Platform
from tests.served import PASSWORD, browser, cookies, fill_in, handshake, page_token, serving, signed_in

DAY_S = 86_400


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Give a platform with an operator."""
    platform = geoetl.connect(tmp_path_factory.mktemp("identity") / "home")
    platform.identity.add("boss", Role.OPERATOR, PASSWORD)
    return platform


@pytest.fixture(scope="module")
def address(platform: Platform) -> Iterator[str]:
    """Give the address of the served dashboard."""
    with serving(dashboards.app.create_app(platform)) as address:
        yield address


@pytest.fixture
def alice(platform: Platform) -> Iterator[str]:
    """Give a user who is there for one test."""
    platform.identity.add("alice", Role.EDITOR, PASSWORD)
    yield "alice"
    if "alice" in [user.name for user in platform.identity.users()]:
        platform.identity.remove("alice")


def gone(ask: Callable[[], httpx.Response]) -> None:
    """Check that an answer becomes a refusal, soon."""
    deadline = time.monotonic() + 60
    while ask().status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


Change = Callable[[Platform], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda platform: platform.identity.set_role("alice", Role.VIEWER),
        lambda platform: platform.identity.set_password("alice", "another long password"),
        lambda platform: platform.identity.set_disabled("alice", True),
        lambda platform: platform.identity.remove("alice"),
    ],
    ids=["role", "password", "disabled", "removed"],
)
def test_a_cookie_is_not_taken_after_its_user_has_changed(
    platform: Platform, address: str, alice: str, change: Change
) -> None:
    client = signed_in(address, alice)
    assert client.get("/stac/collections").status_code == 200
    change(platform)
    gone(lambda: client.get("/stac/collections"))
    assert client.get("/stac/collections").status_code == 401


def test_a_cookie_that_is_old_or_changed_or_signed_by_another_is_nobodys(
    platform: Platform, address: str, alice: str
) -> None:
    client = signed_in(address, alice)
    (cookie,) = list(client.cookies.jar)
    value = str(cookie.value)
    user = platform.identity.user(alice)
    secret = platform.identity.signing_secret()

    def signed(
        content: object, key: bytes = secret, salt: str = "geoetl session", digest: object = hashlib.sha256
    ) -> str:
        parts = {"key_derivation": "hmac", "digest_method": digest}
        return str(URLSafeSerializer(key, salt=salt, signer_kwargs=parts).dumps(content))

    later = int(time.time()) + 3600
    good = [user.id, user.session, "own-id", later]

    def status(value: str) -> int:
        with browser(address) as other:
            return other.get("/stac/collections", headers={"Cookie": f"{cookie.name}={value}"}).status_code

    assert status(value) == 200
    assert status(signed(good)) == 200
    for wrong in (
        signed([*good[:3], int(time.time()) - 1]),
        signed([user.id, user.session + 1, "own-id", later]),
        signed([user.id, user.session - 1, "own-id", later]),
        signed([platform.identity.user("boss").id, 99, "own-id", later]),
        signed(["nobody", 1, "own-id", later]),
        signed(good, key=bytes(32)),
        signed(good, salt="geoetl login form"),
        signed(good, salt="geoetl oidc"),
        signed(good, digest=hashlib.sha1),
        value[:-2] + ("AA" if value[-2:] != "AA" else "BB"),
        value.partition(".")[0],
        "A" + value,
        "",
        "." * 50,
        "x" * 4000,
    ):
        assert status(wrong) == 401, wrong


def test_a_token_is_not_taken_after_it_was_revoked(platform: Platform, address: str, alice: str) -> None:
    token, text = platform.identity.create_token(alice, "t", Role.VIEWER, DAY_S)
    with browser(address) as client:
        client.headers["Authorization"] = f"Bearer {text}"
        assert client.get("/stac/collections").status_code == 200
        platform.identity.revoke_token(token.id)
        gone(lambda: client.get("/stac/collections"))
        assert client.get("/stac/collections").json()["code"] == "unauthenticated"


def test_a_token_that_expires_is_not_taken_any_more(platform: Platform, address: str, alice: str) -> None:
    # Long enough to be used once, on a busy machine too.
    _, text = platform.identity.create_token(alice, "t", Role.VIEWER, 8.0)
    with browser(address) as client:
        client.headers["Authorization"] = f"Bearer {text}"
        assert client.get("/stac/collections").status_code == 200
        gone(lambda: client.get("/stac/collections"))


def listen(connection: ClientConnection) -> None:
    while True:
        connection.recv(timeout=30)


def test_an_open_websocket_ends_when_its_person_is_kept_out(
    platform: Platform, address: str, alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "RECHECK_S", 0.1)
    client = signed_in(address, alice)
    token = page_token(client.get("/explore").text)
    with connect(
        address.replace("http:", "ws:") + "/explore/ws",
        origin=Origin(address),
        subprotocols=[Subprotocol("bokeh"), Subprotocol(token)],
        additional_headers={"Cookie": cookies(client)},
        proxy=None,
    ) as socket_:
        assert "ACK" in str(socket_.recv(timeout=30))
        platform.identity.set_disabled(alice, True)
        with pytest.raises(ConnectionClosed) as ended:
            listen(socket_)
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 1008


def test_a_session_of_one_application_is_not_another_applications(
    platform: Platform, address: str, tmp_path: Path
) -> None:
    other = geoetl.connect(tmp_path / "home")
    other.identity.add("boss", Role.OPERATOR, PASSWORD)
    with serving(dashboards.app.create_app(other)) as elsewhere:
        client = signed_in(elsewhere, "boss")
        with browser(address) as here:
            assert here.get("/stac/collections", headers={"Cookie": cookies(client)}).status_code == 401


# -- processes -------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(*options: str) -> tuple["subprocess.Popen[str]", str]:
    port = free_port()
    command = [sys.executable, "-m", "geoetl.cli", "serve", "--no-open", "--port", str(port), *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True), f"http://127.0.0.1:{port}"


def answering(process: "subprocess.Popen[str]", address: str) -> None:
    deadline = time.monotonic() + 120
    with browser(address) as client:
        while True:
            try:
                assert client.get("/api/livez").status_code == 200
            except httpx.ConnectError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.1)
            else:
                return


def test_servers_of_every_role_take_each_others_cookies_and_tokens(home: Path) -> None:
    identity = geoetl.connect().identity
    identity.add("alice", Role.EDITOR, PASSWORD)
    _, text = identity.create_token("alice", "t", None, DAY_S)
    servers = {role: started("--role", role) for role in ("all", "reader", "etl")}
    try:
        for process, address in servers.values():
            answering(process, address)
        everything, reader, etl = (address for _, address in servers.values())
        # The reader cannot write, and signs in all the same; what it signs is taken by the others.
        for entrance in (everything, reader):
            with browser(entrance) as client:
                assert fill_in(client, "alice").status_code == 303
                session = {"Cookie": cookies(client)}
            for address in (everything, reader, etl):
                with browser(address) as client:
                    assert client.get("/stac/collections", headers=session).status_code == 200
                    assert (
                        client.get("/stac/collections", headers={"Authorization": f"Bearer {text}"}).status_code == 200
                    )
                    assert client.get("/stac/collections").status_code == 401
        page = {**session, "Accept": "text/html"}
        with browser(reader) as client:
            token = page_token(client.get("/explore", headers=page).text)
            writing = {"Authorization": f"Bearer {text}"}
            assert client.delete("/stac/collections/x", headers=writing).status_code in (404, 405)
            assert client.post("/logout", headers={**session, "Origin": reader}).status_code == 303
        # A page of one process is connected by another, where no balancer keeps a browser at one of them.
        protocol = {"Sec-WebSocket-Protocol": f"bokeh, {token}", "Origin": everything, **session}
        assert handshake(everything, "/explore/ws", protocol) == 101
        with browser(etl) as client:
            assert client.get("/explore", headers=page).status_code == 404
            assert client.get("/login", headers=page).status_code == 404
            assert client.get("/explore", headers={"Accept": "text/html"}).status_code == 401
            assert client.delete("/stac/collections/x", headers=writing).status_code == 404
        # Who signs out at one is out at all.
        with browser(everything) as client:
            assert client.post("/logout", headers={**session, "Origin": everything}).status_code == 303
        for address in (everything, reader, etl):
            with browser(address) as client:
                gone(lambda client=client: client.get("/stac/collections", headers=session))  # type: ignore[misc]
    finally:
        for process, _ in servers.values():
            process.terminate()
        said = [process.communicate(timeout=60)[1] for process, _ in servers.values()]
    assert not any("Traceback" in text for text in said), said
    assert all("no users" not in text for text in said)
