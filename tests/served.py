"""An application behind uvicorn, as it is served; and clients that sign in or speak by hand."""

import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.types import ASGIApp

PASSWORD = "correct horse battery"
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Serve `app` on a port of its own and give its address."""
    config = uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1, proxy_headers=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def browser(address: str) -> httpx.Client:
    """Return a client that keeps cookies, and follows nothing by itself."""
    return httpx.Client(base_url=address, trust_env=False, timeout=60)


def fill_in(
    client: httpx.Client, name: str, password: str = PASSWORD, back: str = "/", **headers: str
) -> httpx.Response:
    """Fill in the form of the login page and send it, as a browser does."""
    page = client.get("/login", params={"next": back})
    found = re.search(r'name="form" value="([^"]+)"', page.text)
    assert found, page.text
    origin = f"{client.base_url.scheme}://{client.base_url.netloc.decode()}"
    fields = {"form": found[1], "next": back, "name": name, "password": password}
    return client.post("/login", data=fields, headers={"Origin": origin, **headers})


def signed_in(address: str, name: str) -> httpx.Client:
    """Return a client that has signed in."""
    client = browser(address)
    assert fill_in(client, name).status_code == 303
    return client


def handshake(address: str, path: str, headers: Mapping[str, str]) -> int:
    """Ask for a websocket by hand, and return the status of the answer: 101 where it is opened."""
    host, port = address.removeprefix("http://").split(":")
    lines = {
        "Host": f"{host}:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": _KEY,
        **headers,
    }
    request = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(request.encode("latin-1"))
        answer = connection.recv(4096).decode("latin-1")
    return int(answer.split()[1])


def cookies(client: httpx.Client) -> str:
    """Return the header with which the client would send its cookies."""
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)


def page_token(html: str) -> str:
    """Return the token with which a page of Panel opens its websocket."""
    found = re.search(r'"token":\s*"([^"]+)"', html)
    assert found, html[:500]
    return found[1]
