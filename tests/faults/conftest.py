"""A canary outside of every allowed folder, and a served catalogue whose answers may not sing its song."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import geoetl
from geoetl.api.app import create_app
from geoetl.platform import Platform
from tests import catalogued

ADDRESS = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Canary:
    """A file that nobody may read.

    Attributes:
        path: Where it lies, outside of every allowed root.
        secret: What it holds.
    """

    path: Path
    secret: str


@pytest.fixture(scope="session")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Canary:
    """Give a file with a secret, outside of every allowed folder."""
    secret = f"canary-{secrets.token_hex(16)}"
    path = tmp_path_factory.mktemp("forbidden") / "canary.txt"
    path.write_text(f"{secret}\n" * 64)
    return Canary(path, secret)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Give a platform with one item of each kind."""
    platform = geoetl.connect(tmp_path_factory.mktemp("attacked") / "home")
    catalogued.fill(platform, platform.settings.home / "shelf")
    return platform


@pytest.fixture(scope="module")
def http(attacked: Platform) -> Iterator[TestClient]:
    """Give a client that meets errors as answers."""
    with TestClient(create_app(attacked), base_url=ADDRESS, raise_server_exceptions=False) as client:
        yield client
