"""The command line: what it prints, as JSON and for people, and how it ends."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import geoetl
from geoetl.cli.main import app, guarded
from tests.stac import a_collection, an_item


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Give a function that runs a command line in this process."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["geoetl", *arguments])
        code = guarded(app)
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return run


@pytest.fixture
def filled(home: Path) -> None:
    """Put two items into the catalogue."""
    catalog = geoetl.connect().catalog
    catalog.upsert_collection(a_collection("demo"))
    catalog.upsert_items([an_item("one"), an_item("two", box=(100.0, 0.0, 101.0, 1.0), properties={"title": "Two"})])


@pytest.mark.usefixtures("filled")
def test_search_answers_with_a_feature_collection(command: Command) -> None:
    everything = json.loads(command("catalog", "search", "--bbox", "-180,-90,180,90", "--json").out)
    assert (everything["type"], everything["numberMatched"]) == ("FeatureCollection", 2)
    some = json.loads(command("catalog", "search", "--bbox", "99,-1,102,2", "--filter", "title = 'Two'", "--json").out)
    assert [feature["id"] for feature in some["features"]] == ["two"]


@pytest.mark.usefixtures("filled")
def test_tables_name_what_was_found(command: Command) -> None:
    assert "Two" in command("catalog", "items", "demo").out
    assert "Collection demo" in command("catalog", "collections").out
    assert "Nothing matches" in command("catalog", "search", "--bbox", "0,0,1,1").out


@pytest.mark.usefixtures("filled")
def test_the_catalogue_is_exported(command: Command, tmp_path: Path) -> None:
    written = json.loads(command("catalog", "export", "stac", "--json").out)["catalog"]
    assert Path(written) == tmp_path / "stac" / "catalog.json"
    assert command("catalog", "export", "stac").code == 0


def test_an_empty_catalogue_says_what_to_do_first(command: Command) -> None:
    assert command("catalog", "collections") == Ended(0, "No collections yet. Run: geoetl demo\n", "")
    assert command("runs", "list").out == "No runs yet. Try: geoetl demo\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says", "next_step"),
    [
        (["catalog", "items", "dmo"], 3, "There is no collection 'dmo'", "Did you mean 'demo'?"),
        (["catalog", "search", "--bbox", "1,2,3"], 2, "'1,2,3' is not 4 numbers", "west,south,east,north"),
        (["catalog", "search", "--datetime", "2021-02-30"], 2, "not a date of the Gregorian calendar", "2020-02-28"),
        (["catalog", "search", "--filter", "title = "], 2, "", ""),
        (["runs", "show", "nothing"], 3, "There is no run 'nothing'", ""),
        (["runs", "list", "--state", "faild"], 2, "'faild' is not a state", "Did you mean 'failed'?"),
        (["run", "ingest-rasters", "source=x"], 3, "no pipeline 'ingest-rasters'", "Did you mean 'ingest-raster'?"),
        (["run", "ingest-raster", "sorce=x"], 2, "has no parameter 'sorce'", "Did you mean 'source'?"),
        (["run", "ingest-raster", "source"], 2, "'source' is not NAME=VALUE", "source=samples:landsat_rgb.tif"),
        (["pipelines", "ingest"], 3, "There is no pipeline 'ingest'", "Did you mean 'ingest-vector'?"),
        (["serve", "--host", "0.0.0.0"], 8, "does not listen on 0.0.0.0", "geoetl users add"),
        (["serve", "--role", "raeder"], 2, "'raeder' is not a role of a server", "Did you mean 'reader'?"),
    ],
)
@pytest.mark.usefixtures("filled")
def test_an_error_is_a_sentence_a_next_step_and_an_exit_code(
    command: Command, arguments: list[str], code: int, says: str, next_step: str
) -> None:
    ended = command(*arguments)
    assert ended.code == code
    plain = " ".join(ended.err.split())
    assert says in plain
    assert next_step in plain
    assert "Traceback" not in ended.err


def test_an_error_in_json_is_a_problem(command: Command) -> None:
    ended = command("runs", "show", "nothing", "--json")
    problem = json.loads(ended.err)
    assert (ended.code, ended.out) == (3, "")
    assert (problem["code"], problem["status"], problem["field"]) == ("not_found", 404, "run_id")


def test_a_dry_run_shows_every_parameter_and_makes_no_run(command: Command, tmp_path: Path) -> None:
    checked = json.loads(command("run", "ingest-raster", "source=x.tif", "--dry-run", "--json").out)
    assert checked["parameters"]["source"] == str(tmp_path / "x.tif")
    assert checked["parameters"]["compression"] == "deflate"
    assert geoetl.connect().runs.list() == []


def test_pipelines_say_what_they_take(command: Command) -> None:
    listed = json.loads(command("pipelines", "--json").out)
    assert {"ingest-raster", "ingest-vector", "virtualise-cmip6"} <= {pipeline["name"] for pipeline in listed}
    shown = json.loads(command("pipelines", "ingest-raster", "--json").out)
    source = next(parameter for parameter in shown["parameters"] if parameter["name"] == "source")
    assert source["required"]
    assert "path under an allowed root" in source["meaning"]
    assert "Ingest a raster" in command("pipelines", "ingest-raster").out


def test_settings_say_where_they_come_from(command: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOETL_DATABASE__URL", f"sqlite:///{home}/other.db")
    rows = {row["variable"]: row for row in json.loads(command("config", "show", "--json").out)}
    assert (rows["GEOETL_HOME"]["value"], rows["GEOETL_HOME"]["source"]) == (str(home), "environment")
    assert rows["GEOETL_DATABASE__URL"]["value"] == "(set, not shown)"
    assert rows["GEOETL_DASK__WORKERS"]["source"] == "default"
    assert all(row["meaning"] for row in rows.values())


def test_every_command_has_an_example_and_json(command: Command) -> None:
    import typer.main

    root = typer.main.get_command(app)

    def leaves(group: object, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], object]]:
        commands = getattr(group, "commands", None)
        if commands is None:
            return [(path, group)]
        return [leaf for name, inner in commands.items() for leaf in leaves(inner, (*path, name))]

    for path, leaf in leaves(root, ()):
        assert "Example: geoetl" in (leaf.help or ""), path  # type: ignore[attr-defined]
        # Those that go on until they are stopped, and one whose output has formats of its own.
        if path not in (("serve",), ("up",), ("worker",), ("publish", "audit", "export")):
            options = [option for parameter in leaf.params for option in parameter.opts]  # type: ignore[attr-defined]
            assert "--json" in options, path


def test_a_failed_run_is_shown_with_its_remedy(command: Command, tmp_path: Path) -> None:
    (tmp_path / "page.tif").write_text("<html></html>")
    ended = command("run", "ingest-raster", "source=page.tif")
    assert ended.code == 2
    assert "'page.tif' is a web page (HTML), not raster data." in ended.err
    (record,) = geoetl.connect().runs.list()
    shown = command("runs", "show", record.id)
    assert "open it in a browser" in shown.err
    assert "validate" in shown.out
