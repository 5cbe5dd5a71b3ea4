"""Blob Storage on this machine for the tests alone: Azurite, with an account and a port of its own, all in memory."""

import base64
import hashlib
import hmac
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

FOLDER = Path(__file__).parent / "peers" / "azurite"
HOW = "with node and npm: (cd tests/peers/azurite && npm ci --ignore-scripts --omit=optional)"
ACCOUNT = "geoetl"
_LOOPBACK = "127.0.0.1"
_VERSION = "2021-12-02"


@dataclass(frozen=True)
class Azurite:
    """A running server.

    Attributes:
        url: Address of its one account.
        key: Key of the account, base64.
    """

    url: str
    key: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which everything that reads and writes ``az://`` comes here."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": self.key,
            "AZURE_STORAGE_ENDPOINT": self.url,
            "AZURE_ALLOW_HTTP": "true",
        }

    def new_container(self) -> str:
        """Make a container that no other test uses, and return its name."""
        name = f"test-{secrets.token_hex(6)}"
        now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = {"x-ms-date": now, "x-ms-version": _VERSION}
        # "Authorize with Shared Key" of the REST interface: empty lines for the headers that are not sent. The account
        # stands twice, as it is part of the path here.
        said = "\n".join(f"{header}:{value}" for header, value in headers.items())
        text = f"PUT{12 * '\n'}{said}\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        signed = hmac.digest(base64.b64decode(self.key), text.encode(), hashlib.sha256)
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signed).decode()}"
        address = f"{self.url}/{name}"
        httpx.put(address, params={"restype": "container"}, headers=headers, trust_env=False).raise_for_status()
        return name


def find_program() -> Path | None:
    """Return the installed server, or None."""
    here = FOLDER / "node_modules" / ".bin" / "azurite-blob"
    found = shutil.which("azurite-blob")
    return here if here.is_file() else Path(found) if found else None


@contextmanager
def running(program: Path, folder: Path) -> Iterator[Azurite]:
    """Start a server, and end it; `folder` is its own."""
    port = _free_port()
    server = Azurite(f"http://{_LOOPBACK}:{port}/{ACCOUNT}", base64.b64encode(secrets.token_bytes(64)).decode())
    # No look at the version of the interface: what speaks to it may be newer than it is.
    options = ["--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableProductStyleUrl"]
    command = [program, "--blobHost", _LOOPBACK, "--blobPort", str(port), *options]
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{server.key}"}
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield server
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection((_LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
