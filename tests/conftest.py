"""What every test may use: a home of its own, and the servers and the browser that some need.

A test that needs what this machine lacks skips and says what to install; with ``GEOETL_TEST_REQUIRE=all``, as in CI, it
fails instead.
"""

import gc
import importlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

from geoetl.core.postponed import postponed
from tests import azurite as blob_storage
from tests import migrated
from tests import nginx as web_server
from tests import postgres as postgresql
from tests import s3 as object_store
from tests.peers.judge import Judge, judging

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Settings of the tests themselves, as against those of the program that they test.
TEST_PREFIX = "GEOETL_TEST_"
# What takes minutes and is one file; where several processes test, these begin first, so that none waits for the last.
LONG = ("notebooks/test_guides.py", "publish/test_machine.py", "faults", "browser", "notebooks", "api", "virtual")

# Many tests judge by a schema, and hardly one has an address in it: the grammar of these takes a second to load.
with postponed("rfc3987_syntax", "is_valid_syntax"):
    importlib.import_module("jsonschema")

# In CI the drawn examples are the same each time: whether a change lands must not hang on luck. Elsewhere they are new.
settings.register_profile("ci", derandomize=True)


def pytest_configure(config: pytest.Config) -> None:
    """Keep the tests away from the settings and state of whoever runs them, above all the checkout's ``.geoetl``."""
    if os.environ.get("CI"):
        settings.load_profile("ci")
    for name in _settings():
        del os.environ[name]
    folder = tempfile.mkdtemp(prefix="geoetl-tests-")
    os.environ["GEOETL_HOME"] = folder
    migrated.copying()
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection() -> None:
    """Let all tests be found without a look for garbage: there is next to none among a million new objects."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage among what the tests make from now on, and not each time among all modules: that takes 1 s."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what takes long first, in the processes among which the files are divided."""
    if hasattr(config, "workerinput"):
        folder = Path(__file__).parent
        items.sort(key=lambda item: _place(item.path.relative_to(folder).as_posix()))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a home of its own: ``GEOETL_HOME`` below an empty working folder, and no other setting."""
    for name in _settings():
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("GEOETL_HOME", str(folder))
    # A checkout may have a .env file, which is read from the working folder.
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture(scope="session")
def require() -> Callable[[str, str], str]:
    """Give ``require(program, how)``: the path of `program`, or a skip that says `how` to install it."""
    return lambda program, how: shutil.which(program) or missing(program, how)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Give the path of a Chromium on this machine."""
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    return found or missing("Chromium", "on Debian and Ubuntu: apt-get install chromium")


@pytest.fixture(scope="session")
def judge(require: Callable[[str, str], str]) -> Iterator[Judge]:
    """Start what judges styles, for this session alone: MapLibre's official library under node."""
    with judging(require("node", "on Debian and Ubuntu: apt-get install nodejs")) as judge:
        yield judge


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[blob_storage.Azurite]:
    """Start a server of Blob Storage, for this session alone."""
    program = blob_storage.find_program()
    if program is None or shutil.which("node") is None:
        missing("Azurite, a server of Blob Storage,", blob_storage.HOW)
    with blob_storage.running(program, tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object_store.S3Server]:
    """Start an S3 server without buckets, for this session alone."""
    try:
        import nanio  # noqa: F401
    except ImportError:
        missing("nanio, an S3 server,", object_store.HOW)
    with object_store.running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def web_serving() -> Callable[[Path], AbstractContextManager[str]]:
    """Give ``web_serving(folder)``: a plain web server of a folder, as of the external zone, and its address."""
    program = web_server.find_program() or missing("nginx", web_server.HOW)
    return lambda folder: web_server.serving(program, folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgresql.PostgresServer]:
    """Start a PostgreSQL server with PostGIS, for this session alone."""
    programs = postgresql.find_programs()
    if programs is None:
        missing("PostgreSQL with PostGIS", "on Debian and Ubuntu: apt-get install postgresql postgresql-postgis")
    with postgresql.running(programs) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: postgresql.PostgresServer) -> str:
    """Give the URL of one database with PostGIS, which the tests of the session share."""
    return postgres.new_database()


@pytest.fixture
def fresh_postgres_url(postgres: postgresql.PostgresServer) -> Iterator[str]:
    """Give the URL of an empty database with PostGIS, for this test alone."""
    url = postgres.new_database()
    yield url
    postgres.drop(url)


@pytest.fixture
def pgstac_url(postgres: postgresql.PostgresServer, new_pgstac_url: Callable[[], str]) -> Iterator[str]:
    """Give the URL of a database with the whole schema, for this test alone."""
    url = new_pgstac_url()
    yield url
    postgres.drop(url)


@pytest.fixture(scope="session")
def new_pgstac_url(postgres: postgresql.PostgresServer) -> Callable[[], str]:
    """Give ``new_pgstac_url()``: the URL of a database with the whole schema, a copy of one made for the session.

    It stays until the end of the session; for one test alone there is `pgstac_url`.
    """
    from geoetl.store.database import Database

    name = postgres.new_database().rpartition("/")[2]
    database = Database(postgres.url(name))
    database.upgrade()
    database.dispose()
    return lambda: postgres.new_database(template=name)


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Give a home folder with what ``geoetl demo`` makes, of CMIP6 only the models that the guides show."""
    from tests.demo import copy_demo, make_demo

    home = tmp_path_factory.mktemp("demo") / "home"
    if hasattr(request.config, "workerinput"):
        copy_demo(home, tmp_path_factory.getbasetemp().parent / "demo")
    else:
        make_demo(home)
    return home


def missing(what: str, how: str) -> NoReturn:
    """Skip because `what` is not on this machine, or fail with ``GEOETL_TEST_REQUIRE=all``."""
    reason = f"{what} is not installed; {how}."
    if os.environ.get("GEOETL_TEST_REQUIRE") == "all":
        pytest.fail(f"{reason} GEOETL_TEST_REQUIRE=all asks for it.", pytrace=False)
    pytest.skip(reason)


def _place(name: str) -> int:
    """Return when a file begins: its place in `LONG`, or after all of these."""
    return next((number for number, start in enumerate(LONG) if name.startswith(start)), len(LONG))


def _settings() -> list[str]:
    return [name for name in os.environ if name.startswith("GEOETL_") and not name.startswith(TEST_PREFIX)]
