"""The database: read-only servers, errors that say what to do, and bringing a schema to this version."""

import multiprocessing
import os
import pickle
import signal
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import geoetl
from geoetl.core.errors import ConfigurationError, GeoetlError, Unavailable
from geoetl.publish.model import State
from geoetl.publish.repository import ReleaseRepository
from geoetl.store import schema
from geoetl.store.catalog import PgstacCatalog, Search
from geoetl.store.database import Database, upsert, was_in_the_way
from geoetl.store.migrations import HEAD
from tests import migrated
from tests.postgres import PostgresServer
from tests.publish.releasing import brought
from tests.stac import a_collection, an_item

WRITERS = 8


@pytest.fixture(autouse=True, scope="module")
def _migrating() -> Iterator[None]:
    """Let the databases of these tests be migrated, as they are outside the tests."""
    migrated.migrating()
    yield
    migrated.copying()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a database with the whole schema."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("pgstac_url"))
    url = f"sqlite:///{tmp_path / 'a folder' / 'geoetl.db'}"
    Database(url).upgrade()
    return url


# -- reading alone ---------------------------------------------------------------------------------------------------


def test_a_database_that_is_read_only_reads_and_takes_no_write(url: str) -> None:
    database = pickle.loads(pickle.dumps(Database(url, read_only=True)))
    assert database.read_only
    database.upgrade()
    with database.read() as connection:
        assert connection.execute(sa.text("select count(*) from runs")).scalar() == 0
    with pytest.raises(ConfigurationError, match="reads only"), database.begin():
        pass
    with pytest.raises(Unavailable, match="read-only"), database.read() as connection:
        connection.execute(sa.text("delete from runs"))


def test_a_snapshot_for_reading_is_one_moment(url: str) -> None:
    database = Database(url)
    count = sa.text("select count(*) from server_secrets")
    with database.read() as reading:
        before = reading.execute(count).scalar_one()
        with database.begin() as writing:
            writing.execute(sa.text("insert into server_secrets (name, value) values ('x', :value)"), {"value": b"y"})
        assert reading.execute(count).scalar_one() == before
    with database.read() as reading:
        assert reading.execute(count).scalar_one() == before + 1


def test_what_was_published_before_its_time_was_kept_has_it_from_the_audit_log(url: str) -> None:
    database = Database(url)
    releases = ReleaseRepository(database, lambda: 1000.0)
    published, pending = brought(releases, State.PUBLISHED), brought(releases, State.PENDING_REVIEW, "other")
    with database.begin() as connection:
        connection.execute(sa.text("alter table publish_queue drop column published_at"))
        connection.execute(sa.text("update alembic_version set version_num = '0010'"))
    database.dispose()
    older = Database(url)
    older.upgrade()
    migrated = ReleaseRepository(older)
    assert migrated.get(published.id) == published
    assert (published.published_at, migrated.get(pending.id).published_at) == (1000.0, None)


def test_a_file_that_is_not_there_is_not_made_by_a_reader(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'no' / 'geoetl.db'}", read_only=True)
    with pytest.raises(Unavailable, match="cannot be opened"):
        database.upgrade()
    assert not list(tmp_path.iterdir())


def test_a_reader_of_an_old_schema_is_told_what_to_run(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "geoetl.db").close()
    with pytest.raises(ConfigurationError) as caught:
        Database(f"sqlite:///{tmp_path / 'geoetl.db'}", read_only=True).upgrade()
    assert "geoetl db upgrade" in str(caught.value.hint)


# -- bringing it to this version -------------------------------------------------------------------------------------


def test_an_empty_database_gets_our_tables_and_pgstac(fresh_postgres_url: str) -> None:
    database = Database(fresh_postgres_url)
    before = schema.upgrade(database)
    assert (before.revision, before.pgstac, before.is_current) == (None, None, False)
    after = schema.state(database)
    assert (after.revision, after.pgstac, after.is_current) == (HEAD, after.pgstac_wanted, True)
    assert schema.upgrade(database) == after


def test_a_newer_schema_is_refused_with_both_versions(url: str) -> None:
    database = Database(url)
    with database.begin() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
    with pytest.raises(ConfigurationError, match=f"9999; this version knows {HEAD}"):
        database.upgrade()


def test_a_newer_pgstac_is_refused_with_both_versions(new_pgstac_url: Any) -> None:
    database = Database(new_pgstac_url())
    with database.begin() as connection:
        connection.exec_driver_sql(
            "insert into pgstac.migrations (version, datetime) values ('0.100.1', now() + '1 h')"
        )
    with pytest.raises(ConfigurationError, match=r"pgSTAC 0\.100\.1; this version of geoetl knows 0\."):
        database.upgrade()


def test_an_upgrade_that_was_interrupted_goes_on(fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(fresh_postgres_url)

    def interrupted(_: Database) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(schema, "_upgrade_ours", interrupted)
        with pytest.raises(KeyboardInterrupt):
            schema.upgrade(database)
    assert schema.state(database).pgstac is not None
    database.upgrade()
    assert schema.state(database).is_current


def _upgrade_slowly(url: str, ready: Any) -> None:
    run = schema._upgrade_pgstac

    def upgrade_and_wait(database: Database) -> None:
        run(database)
        ready.set()
        signal.pause()

    schema._upgrade_pgstac = upgrade_and_wait
    Database(url).upgrade()


def test_an_upgrade_that_was_killed_holds_up_no_other(fresh_postgres_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    process = spawn.Process(target=_upgrade_slowly, args=(fresh_postgres_url, ready))
    process.start()
    assert ready.wait(60)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(30)
    database = Database(fresh_postgres_url)
    database.upgrade()
    assert schema.state(database).is_current


def test_many_that_upgrade_at_once_do_it_once(fresh_postgres_url: str) -> None:
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda _: Database(fresh_postgres_url).upgrade(), range(5)))
    assert schema.state(Database(fresh_postgres_url)).is_current


def test_two_databases_of_one_server_can_be_upgraded_at_once(postgres: PostgresServer) -> None:
    urls = [postgres.new_database() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda url: Database(url).upgrade(), urls))
    assert all(schema.state(Database(url)).is_current for url in urls)


# -- rights ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def weak_url(postgres: PostgresServer) -> Any:
    """Give ``weak_url(database, *grants)``: the URL for a role that has these roles alone."""

    def make(url: str, *grants: str) -> str:
        database = url.rpartition("/")[2]
        role = f"weak_{database}"
        postgres.execute(f"create role {role} login password 'weak'", database=database)
        for grant in grants:
            postgres.execute(f"grant {grant} to {role}", database=database)
        return postgres.url(database, role, "weak")

    return make


def test_a_role_without_rights_is_told_to_ask_the_owner(fresh_postgres_url: str, weak_url: Any, tmp_path: Path) -> None:
    url = weak_url(fresh_postgres_url)
    with pytest.raises(ConfigurationError) as caught:
        geoetl.connect(tmp_path, database={"url": url})
    assert "geoetl db upgrade" in str(caught.value.hint)
    assert "weak" not in str(caught.value)


def test_a_reader_needs_the_right_to_read_alone(new_pgstac_url: Any, weak_url: Any, tmp_path: Path) -> None:
    url = new_pgstac_url()
    owner = geoetl.connect(tmp_path / "owner", database={"url": url})
    owner.catalog.upsert_collection(a_collection())
    owner.catalog.upsert_items([an_item()])
    tables = "select on all tables in schema public"
    database = Database(weak_url(url, "pgstac_read", tables), read_only=True)
    database.upgrade()
    reader = PgstacCatalog(database, owner.zones)
    page = reader.search(Search(filter="casei(id) = 'one'", sortby=("id",)))
    assert [item["id"] for item in page] == ["one"]
    assert reader.item("demo", "one") == owner.catalog.item("demo", "one")
    with pytest.raises(ConfigurationError, match="reads only"):
        reader.delete_collection("demo")
    writer = PgstacCatalog(Database(weak_url(new_pgstac_url(), "pgstac_read", tables)), owner.zones)
    with pytest.raises(ConfigurationError, match="lacks a right"):
        writer.upsert_collection(a_collection())


def test_a_writer_needs_no_more_than_pgstac_ingest(new_pgstac_url: Any, weak_url: Any, tmp_path: Path) -> None:
    url = new_pgstac_url()
    zones = geoetl.connect(tmp_path / "owner", database={"url": url}).zones
    catalog = PgstacCatalog(Database(weak_url(url, "pgstac_ingest")), zones)
    catalog.upsert_collection(a_collection())
    catalog.upsert_items([an_item(f"i{n}") for n in range(1200)])
    catalog.delete_item("demo", "i0")
    assert catalog.search(Search(limit=1)).matched == 1199
    catalog.delete_collection("demo")
    assert catalog.collections() == []


# -- errors ----------------------------------------------------------------------------------------------------------


def test_only_what_was_in_the_way_is_done_again(new_pgstac_url: Any) -> None:
    database = Database(new_pgstac_url())
    for state, again in (("40001", True), ("40P01", True), ("55P03", False), ("53100", False), ("57014", False)):
        raise_it = f"do $$ begin raise exception 'secret' using errcode = '{state}'; end $$"
        with pytest.raises(Unavailable) as caught, database.begin() as connection:
            connection.exec_driver_sql(raise_it)
        assert was_in_the_way(caught.value) is again
        assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        Database("postgresql+psycopg://nobody:secret@127.0.0.1:1/none").upgrade()
    with pytest.raises(GeoetlError) as caught:
        Database("postgresql+psycopg://nobody:secret@127.0.0.1:1/none").upgrade()
    assert "secret" not in str(caught.value)


def test_those_who_write_the_same_new_row_at_once_all_succeed(url: str) -> None:
    database = Database(url)
    database.upgrade()
    table = sa.table("artifacts", *map(sa.column, ("zone", "key", "state", "owner", "written_at")))
    start = threading.Barrier(WRITERS)

    def write(number: int, key: str) -> None:
        values = {"state": "writing", "owner": f"writer-{number}", "written_at": 0.0}
        start.wait()
        with database.begin() as connection:
            upsert(connection, table, {"zone": "internal", "key": key}, values)

    with ThreadPoolExecutor(WRITERS) as writers:
        for key in map(str, range(20)):
            list(writers.map(write, range(WRITERS), [key] * WRITERS))
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 20
    database.dispose()
