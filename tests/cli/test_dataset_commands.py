"""Managed datasets from the command line."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import geoetl
from geoetl.cli import output
from geoetl.cli.main import app, guarded
from tests.datasets.released import COLLECTION, ID, ITEM, Upkeep, lands

Ran = tuple[int, str, str]
Command = Callable[..., Ran]
FILE = """
name: More
handler: admin0
source_type: manual
source_url: samples:ne_10m_admin_0_countries.zip
target_schema: more
target_table_name: curated_more
license: CC0-1.0
attribution: Made with Natural Earth
update_schedule: "15 2 * * 1"
"""


@pytest.fixture
def upkeep(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Upkeep]:
    """Give a dataset with ten countries, before its first update; no file declares one."""
    (tmp_path / "managed").mkdir()
    monkeypatch.setenv("GEOETL_MANAGED", str(tmp_path / "managed"))
    if getattr(request, "param", "sqlite") == "postgresql":
        monkeypatch.setenv("GEOETL_DATABASE__URL", request.getfixturevalue("new_pgstac_url")())
    made = Upkeep.begin(geoetl.connect(home), tmp_path / "drop", update_schedule="0 2 * * *")
    made.release(lands(10))
    yield made
    made.platform.database.dispose()


@pytest.fixture
def run(upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Give a function that runs ``geoetl`` in this process, on a terminal of 80 columns."""
    # rich keeps a column free.
    monkeypatch.setattr(output.out, "_width", 80)
    monkeypatch.setattr(output.err, "_width", 80)

    def call(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["geoetl", *arguments])
        code = guarded(app)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def held(upkeep: Upkeep) -> None:
    """Let half of the countries be missing in the second release."""
    upkeep.update()
    upkeep.release(lands(5))
    assert upkeep.update().status == "held"


def joined(text: str) -> str:
    """Return printed text without the breaks of lines."""
    return " ".join(text.split())


def test_an_update_runs_here_and_says_what_came_of_it(run: Command, upkeep: Upkeep) -> None:
    code, out, err = run("run", "update-dataset", f"dataset_id={ID}")
    assert code == 0, err
    assert "Version 1 (" in out and "10 rows added" in joined(out)
    assert f"In collection {COLLECTION}: {ITEM}" in out
    assert "process: completed" in err
    upkeep.release(lands(5))
    code, out, _ = run("datasets", "update", ID)
    assert code == 0 and "Held for a person to look at" in joined(out)
    assert f"geoetl datasets accept {ID} 2" in out
    assert len(upkeep.served()) == 10


def test_a_check_asks_and_downloads_nothing(run: Command, upkeep: Upkeep) -> None:
    code, out, _ = run("datasets", "check", ID)
    assert code == 0 and f"would make the first version of {COLLECTION}/{ITEM}" in out
    assert f"geoetl datasets update {ID}" in out
    assert run("datasets", "update", ID, "--dry-run")[1] == out
    plan = json.loads(run("datasets", "check", ID, "--json")[1])
    assert plan["needs_update"] is True and plan["plan"][0].startswith("fetch countries.geojson")
    assert upkeep.platform.runs.list() == []
    (upkeep.drop / "ne_admin_0_countries.geojson").unlink()
    code, _, err = run("datasets", "check", ID)
    assert code == 3 and "no file like" in joined(err)


def test_an_update_is_left_to_a_worker(run: Command, upkeep: Upkeep) -> None:
    code, out, err = run("datasets", "update", ID, "--queue", "--force")
    assert code == 0 and "is queued" in out and "geoetl worker" in err
    (queued,) = upkeep.platform.runs.list()
    assert queued.parameters["force_update"] is True
    assert json.loads(run("datasets", "update", ID, "--queue", "--force", "--json")[1])["id"] == queued.id


def test_datasets_are_listed_and_shown(run: Command, upkeep: Upkeep) -> None:
    assert "no data yet" in run("datasets", "list")[1]
    upkeep.update()
    out = run("datasets", "list")[1]
    assert "current" in out and "02:00" in out and max(map(len, out.splitlines())) <= 80
    (one,) = json.loads(run("datasets", "list", "--json")[1])
    assert (one["dataset_id"], one["live_version"], one["latest_update"]["status"]) == (ID, 1, "completed")
    out = run("datasets", "show", ID)[1]
    for told in ("Made with Natural Earth", "CC0-1.0", f"{COLLECTION}/{ITEM}", "0 2 * * *"):
        assert told in out
    assert json.loads(run("datasets", "show", ID, "--json")[1]) == one
    code, _, err = run("datasets", "show", "countrys")
    assert code == 3 and f"Did you mean '{ID}'?" in err


def test_a_held_version_says_what_to_do_and_is_accepted(run: Command, upkeep: Upkeep) -> None:
    held(upkeep)
    for command in (("list",), ("show", ID), ("versions", ID), ("changes", ID)):
        out = run("datasets", *command)[1]
        assert f"geoetl datasets accept {ID} 2" in out
        assert max(map(len, out.splitlines())) <= 80, out
    assert "version 2 held" in joined(run("datasets", "list")[1])
    assert "0 rows added, 0 updated, 5 deleted" in run("datasets", "changes", ID, "2")[1]
    code, out, _ = run("datasets", "accept", ID, "2", "--reason", "They left")
    assert code == 0 and "is served now" in out and f"geoetl datasets rollback {ID}" in out
    assert len(upkeep.served()) == 5
    decided = json.loads(run("datasets", "versions", ID, "--json")[1])[0]
    assert (decided["state"], decided["reason"]) == ("live", "They left") and decided["decided_by"]
    assert run("datasets", "accept", ID, "2")[0] == 4
    code, out, _ = run("datasets", "rollback", ID)
    assert code == 0 and out.startswith(f"Version 1 of {ID}")
    assert len(upkeep.served()) == 10
    assert json.loads(run("datasets", "rollback", ID, "2", "--json")[1])["state"] == "live"


def test_a_held_version_is_rejected_with_a_reason(run: Command, upkeep: Upkeep) -> None:
    held(upkeep)
    assert run("datasets", "reject", ID, "2")[0] == 2
    code, out, _ = run("datasets", "reject", ID, "2", "--reason", "Half is missing")
    assert code == 0 and "is rejected" in out
    assert "Half is missing" in joined(run("datasets", "versions", ID)[1])
    assert "was rejected" in joined(run("datasets", "check", ID)[1])
    out = run("datasets", "history", ID)[1]
    assert "held" in out and "completed" in out
    assert max(map(len, out.splitlines())) <= 80
    assert [one["status"] for one in json.loads(run("datasets", "history", ID, "--json")[1])] == ["held", "completed"]


def test_what_changed_is_listed_and_written(run: Command, upkeep: Upkeep, tmp_path: Path) -> None:
    assert run("datasets", "changes", ID)[0] == 3
    upkeep.update()
    upkeep.release(lands(11)[1:])
    upkeep.update()
    out = run("datasets", "changes", ID, "--out", "changes.geojson")[1]
    assert "AAA" in out and "deleted" in out and "Written: changes.geojson" in out
    written = json.loads((tmp_path / "changes.geojson").read_text())
    assert {one["properties"]["key"] for one in written["features"]} == {"AAA", "AAK"}
    told = json.loads(run("datasets", "changes", ID, "2", "--json")[1])
    assert (told["added"], told["deleted"], len(told["features"])) == (1, 1, 2)
    assert "is the first, with 10 rows" in run("datasets", "changes", ID, "1")[1]


def test_a_dataset_rests_and_goes_on(run: Command, upkeep: Upkeep) -> None:
    assert f"geoetl datasets enable {ID}" in run("datasets", "disable", ID)[1]
    assert json.loads(run("datasets", "list", "--enabled", "--json")[1]) == []
    assert "rests" in run("datasets", "list")[1]
    assert "02:00" in run("datasets", "enable", ID)[1]
    assert json.loads(run("datasets", "enable", ID, "--json")[1])["enabled"] is True


def test_a_dataset_is_added_from_a_file_and_deleted(run: Command, upkeep: Upkeep, tmp_path: Path) -> None:
    file = tmp_path / "more.yaml"
    file.write_text(FILE)
    assert run("datasets", "add", "more.yaml", "--dry-run")[1] == "Would add the dataset 'more'.\n"
    assert "geoetl datasets check more" in run("datasets", "add", "more.yaml")[1]
    assert run("datasets", "add", "more.yaml")[0] == 4
    code, out, err = run("datasets", "delete", "more")
    assert code == 0 and "Would go: the dataset 'more'" in out and "--yes" in err
    assert run("datasets", "delete", "more", "--yes")[1].startswith("Gone: ")
    upkeep.update()
    gone = json.loads(run("datasets", "delete", ID, "--yes", "--json")[1])
    assert (gone["is_done"], gone["items_kept"]) == (True, [ITEM])
    assert "geoetl datasets add" in run("datasets", "list")[1]
    for text, says in ((FILE.replace("admin0", "admin1"), "admin0"), ("name: [", "YAML"), ("- 1", "what a dataset")):
        file.write_text(text)
        code, _, err = run("datasets", "add", "more.yaml")
        assert code == 2 and says in joined(err), err
    assert run("datasets", "add", "nowhere.yaml")[0] == 3


@pytest.mark.parametrize("upkeep", ["sqlite", "postgresql"], indirect=True)
def test_ordinary_commands_refuse_what_a_managed_dataset_keeps(run: Command, upkeep: Upkeep, tmp_path: Path) -> None:
    upkeep.update()
    item = upkeep.platform.catalog.item(COLLECTION, ITEM)
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}, default=list))
    refused = (
        ("catalog", "delete", COLLECTION, ITEM),
        ("catalog", "delete", COLLECTION),
        ("catalog", "load", "items.json"),
        ("run", "ingest-raster", "source=samples:landsat_rgb.tif", f"collection={COLLECTION}"),
        ("run", "ingest-raster", "source=samples:landsat_rgb.tif", f"collection={COLLECTION}", "--dry-run"),
        ("runs", "submit", "ingest-vector", "source=items.json", f"collection={COLLECTION}"),
    )
    for command in refused:
        code, _, err = run(*command, "--json")
        assert (code, json.loads(err)["code"]) == (4, "managed_data"), command
    assert upkeep.platform.catalog.item(COLLECTION, ITEM) == item
    assert upkeep.platform.runs.list(pipeline="ingest-raster") == []
