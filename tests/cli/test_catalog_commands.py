"""Loading, exporting and deleting from the command line."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import geoetl
from geoetl.cli import catalog as commands
from geoetl.cli.main import app, guarded
from geoetl.store.catalog import Search
from tests.stac import a_collection, an_item

Ran = tuple[int, str, str]


@pytest.fixture
def run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Give a function that runs ``geoetl catalog`` in this process, with the working folder beside the home folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    # Everything is small; that other processes give the same is tested with the loads themselves.
    monkeypatch.setattr(commands, "MAX_PROCESSES", 1)

    def call(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["geoetl", "catalog", *arguments])
        code = guarded(app)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def write_lines(name: str, *items: object) -> None:
    Path(name).write_text("".join(f"{json.dumps(item)}\n" for item in items))


def test_what_was_exported_either_way_is_loaded_again(run: Callable[..., Ran]) -> None:
    write_lines("items.ndjson", an_item("one"), an_item("two", properties={"n": None}))
    assert run("load", "items.ndjson", "-c", "demo")[1] == "Loaded 2 items and 1 collections.\n"
    assert run("export", "out.parquet")[0] == 0
    assert run("export", "stac", "--json")[0] == 0
    before = list(geoetl.connect().catalog.search(Search()))
    for source in ("out.parquet", "stac", "stac/catalog.json"):
        assert run("delete", "demo")[1] == "Deleted the collection 'demo' with 2 items.\n"
        code, out, _ = run("load", source, "--json")
        assert (code, json.loads(out)) == (0, {"collections": ["demo"], "items": 2, "bad": 0, "findings": []})
        assert list(geoetl.connect().catalog.search(Search())) == before
    code, out, _ = run("export", "other", "--format", "geoparquet", "--collection", "demo", "--json")
    assert (code, json.loads(out)["originals"]) == (0, 1)


def test_bad_items_stop_a_load_or_are_listed(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    geoetl.connect().catalog.upsert_collection(a_collection())
    write_lines("items.ndjson", an_item("good"), *[an_item(f"bad{n}", time="[red]noon") for n in range(3)])
    code, out, err = run("load", "items.ndjson")
    assert (code, out) == (2, "Nothing was loaded: 3 cannot be stored. Load the rest with --skip-bad.\n")
    assert "items.ndjson, line 2: Item 'bad0' has the time '[red]noon'" in err
    monkeypatch.setattr(commands, "MAX_SHOWN", 1)
    code, out, err = run("load", "items.ndjson", "--skip-bad")
    assert (code, out) == (0, "Loaded 1 items and 0 collections, 3 left out.\n")
    assert "… and 2 more; --json lists up to 3." in err
    assert "line 3" not in err
    code, out, _ = run("load", "items.ndjson", "--json")
    assert (code, next(finding["subject"] for finding in json.loads(out)["findings"])) == (2, "items.ndjson, line 2")


def test_a_dry_run_deletes_nothing(run: Callable[..., Ran]) -> None:
    catalog = geoetl.connect().catalog
    catalog.upsert_collection(a_collection())
    catalog.upsert_items([an_item("one"), an_item("two")])
    assert run("delete", "demo", "--dry-run")[1] == "Would delete the collection 'demo' with 2 items.\n"
    assert run("delete", "demo", "one", "--dry-run")[1] == "Would delete the item 'one' of 'demo'.\n"
    assert catalog.search(Search()).matched == 2
    assert run("delete", "demo", "one")[1] == "Deleted the item 'one' of 'demo'.\n"
    assert json.loads(run("delete", "demo", "two", "--json")[1])["deleted"]
    assert catalog.search(Search()).matched == 0
    code, _, err = run("delete", "demo", "one")
    assert (code, "has no item 'one'" in err) == (3, True)


def test_progress_comes_in_plain_lines_where_nobody_watches(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lines("items.ndjson", *[an_item(f"i{n}") for n in range(3)])
    _, _, err = run("load", "items.ndjson", "-c", "demo")
    assert err == "  items written: 3 of 3\n"
    assert run("load", "items.ndjson", "-c", "demo", "--json")[2] == ""
