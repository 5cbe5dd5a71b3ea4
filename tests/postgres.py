"""A PostgreSQL server with PostGIS for the tests alone: its own files, its own port on the loopback address."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

LOOPBACK = "127.0.0.1"
OWNER = "geoetl"
# A new database is a copy of this one, which costs a fraction of creating the extension in each.
TEMPLATE = "template_postgis"
# initdb and the server refuse to run as root; Debian's package brings this user.
SYSTEM_USER = "postgres"
# Each database is 20 MB in 900 files that live for a second: where there is room, these never see a disk.
MEMORY, ROOM_BYTES = Path("/dev/shm"), 6 * 1024**3
# The data are thrown away: speed before safety.
SERVER_OPTIONS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


@dataclass(frozen=True)
class PostgresServer:
    """A running server.

    Attributes:
        port: Its port on the loopback address.
        password: The password of its one user.
    """

    port: int
    password: str

    def new_database(self, template: str = TEMPLATE) -> str:
        """Make a database with PostGIS, a copy of `template`, and return its SQLAlchemy URL."""
        name = f"test_{secrets.token_hex(6)}"
        # Not by way of the log of the server, which is the default and takes three to ten times as long.
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY = FILE_COPY", database="postgres")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, and end whoever is still connected to it."""
        self.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)", database="postgres")

    def url(self, name: str, user: str = OWNER, password: str = "") -> str:
        """Return the SQLAlchemy URL of a database; the owner's password where none is given."""
        return f"postgresql+psycopg://{user}:{password or self.password}@{LOOPBACK}:{self.port}/{name}"

    def execute(self, statement: str, *, database: str) -> None:
        """Run one statement outside a transaction."""
        with psycopg.connect(
            host=LOOPBACK, port=self.port, user=OWNER, password=self.password, dbname=database, autocommit=True
        ) as connection:
            connection.execute(statement)


def find_programs() -> Path | None:
    """Return the folder of the newest installed server that has PostGIS beside it, or None."""
    folders = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    folders += Path("/usr/lib/postgresql").glob("*/bin")
    return max((folder for folder in folders if _has_postgis(folder)), key=_version, default=None)


@contextmanager
def running(programs: Path) -> Iterator[PostgresServer]:
    """Start a server of its own in a temporary folder, and stop and remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="geoetl-postgres-", dir=_memory()))
    server = PostgresServer(_free_port(), secrets.token_hex(16))
    data, log, password = folder / "data", folder / "log", folder / "password"
    try:
        password.write_text(server.password)
        if os.geteuid() == 0:
            for path in (folder, password):
                shutil.chown(path, SYSTEM_USER)
        _run(
            programs / "initdb", "--pgdata", data, "--username", OWNER, "--pwfile", password,
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip
        options = {**SERVER_OPTIONS, "port": server.port, "listen_addresses": LOOPBACK, "unix_socket_directories": ""}
        settings = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        _run(programs / "pg_ctl", "start", "--wait", "--pgdata", data, "--log", log, "--options", settings)
        try:
            server.execute(f"CREATE DATABASE {TEMPLATE}", database="postgres")
            server.execute("CREATE EXTENSION postgis", database=TEMPLATE)
            yield server
        finally:
            _run(programs / "pg_ctl", "stop", "--pgdata", data, "--mode", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(*command: str | Path) -> None:
    """Run a server program, as a user that it accepts; its messages are shown when it fails."""
    prefix = ["runuser", "-u", SYSTEM_USER, "--"] if os.geteuid() == 0 else []
    # Not a pipe: the server inherits it from pg_ctl and would hold it open.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run([*prefix, *map(str, command)], stdout=output, stderr=output, cwd="/", check=False)
        if done.returncode:
            output.seek(0)
            raise RuntimeError(f"{Path(command[0]).name} failed: {output.read()}")


def _memory() -> Path | None:
    """Return a folder in memory with room for the databases, or None."""
    has_room = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    return MEMORY if has_room else None


def _has_postgis(programs: Path) -> bool:
    if not all((programs / name).is_file() for name in ("initdb", "pg_ctl", "pg_config")):
        return False
    shared = subprocess.run([programs / "pg_config", "--sharedir"], capture_output=True, text=True, check=True).stdout
    return (Path(shared.strip()) / "extension" / "postgis.control").is_file()


def _version(programs: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in programs.parent.name.split(".") if part.isdigit())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
