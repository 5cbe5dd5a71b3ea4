"""``geoetl db``: what it says of a database, and what it does to it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import geoetl
from geoetl.cli.main import app, guarded
from geoetl.store.catalog import Search, SqliteCatalog
from geoetl.store.database import Database
from geoetl.store.migrations import HEAD
from tests.stac import a_collection, an_item

Command = Callable[..., Any]


@pytest.fixture
def command(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Give a function that runs a command line in this process and returns its exit code and output."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["geoetl", *arguments])
        code = guarded(app)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


def test_sqlite_is_brought_to_this_version_too(command: Command) -> None:
    code, text = command("db", "status", "--json")
    assert (code, json.loads(text)["revision"], json.loads(text)["current"]) == (0, None, False)
    assert "Next: geoetl db upgrade" in command("db", "status")[1]
    code, text = command("db", "upgrade", "--json")
    assert code == 0
    assert json.loads(text) == {"before": {"geoetl": None}, "after": {"geoetl": HEAD}, "copied": None}
    assert json.loads(command("db", "status", "--json")[1])["current"] is True


def test_postgresql_gets_pgstac_and_the_catalogue_that_lay_beside_it_once(
    command: Command, home: Path, fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = geoetl.connect(home, database={"url": f"sqlite:///{home / 'catalog.db'}"})
    beside.catalog.upsert_collection(a_collection())
    beside.catalog.upsert_collection(a_collection("empty"))
    items = [an_item(f"i{n:04}", properties={"n": n, "nothing": None}) for n in range(1_200)]
    beside.catalog.upsert_items(items)
    beside.database.dispose()
    monkeypatch.setenv("GEOETL_DATABASE__URL", fresh_postgres_url)
    assert json.loads(command("db", "status", "--json")[1])["catalog_to_copy"] is True

    # What is in pgSTAC already is newer.
    Database(fresh_postgres_url).upgrade()
    now = geoetl.connect(home)
    now.catalog.upsert_collection(a_collection(title="Newer"))
    now.catalog.upsert_items([an_item("i0003", properties={"n": "newer"})])

    code, text = command("db", "upgrade", "--json")
    answer = json.loads(text)
    assert (code, answer["copied"]) == (0, {"collections": 1, "items": 1_199, "items_present": 1})
    assert answer["after"]["pgSTAC"] == answer["before"]["pgSTAC"] is not None
    assert now.catalog.search(Search(limit=1)).matched == 1_200
    assert now.catalog.item("demo", "i0007") == items[7]
    assert now.catalog.item("demo", "i0003")["properties"]["n"] == "newer"
    assert now.catalog.collection("demo")["title"] == "Newer"

    now.catalog.delete_item("demo", "i0007")
    code, text = command("db", "upgrade")
    assert (code, "Copied" in text) == (0, False)
    assert now.catalog.search(Search(limit=1)).matched == 1_199
    kept = SqliteCatalog(Database(f"sqlite:///{home / 'catalog.db.copied'}"), now.zones)
    assert kept.item("demo", "i0007") == items[7]


def test_a_copy_that_was_interrupted_goes_on(
    command: Command, home: Path, new_pgstac_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoetl.store.catalog import move

    beside = geoetl.connect(home, database={"url": f"sqlite:///{home / 'catalog.db'}"})
    beside.catalog.upsert_collection(a_collection())
    beside.catalog.upsert_items([an_item(f"i{n}") for n in range(30)])
    beside.database.dispose()
    monkeypatch.setenv("GEOETL_DATABASE__URL", new_pgstac_url())
    monkeypatch.setattr(move, "PAGE", 10)
    catalog = geoetl.connect(home).catalog
    copied = move.copy_missing

    def interrupted(source: Any, target: Any, progress: Any) -> Any:
        def stop(items: int) -> None:
            if items == 20:
                raise KeyboardInterrupt

        return copied(source, target, stop)

    with monkeypatch.context() as patch:
        patch.setattr(move, "copy_missing", interrupted)
        assert command("db", "upgrade")[0] == 130
    assert catalog.search(Search(limit=1)).matched == 20
    assert command("db", "upgrade")[0] == 0
    assert catalog.search(Search(limit=1)).matched == 30
    assert not (home / "catalog.db").exists()


def test_a_password_is_never_shown(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOETL_DATABASE__URL", "postgresql+psycopg://owner:hush@127.0.0.1:1/name")
    for arguments in (("db", "upgrade"), ("db", "status", "--json")):
        code, text = command(*arguments)
        assert (code, "hush" in text) == (6, False)
