"""Publishing from the command line: two people, each with a token, and what they are told."""

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import geoetl
from geoetl.cli import output
from geoetl.cli.main import app, guarded
from geoetl.core.principal import Role
from geoetl.platform import Platform
from geoetl.publish.model import State
from tests.publish.outside import RASTERS, raster
from tests.publish.running import Blind, bring
from tests.served import PASSWORD

Ran = tuple[int, str, str]
Command = Callable[..., Ran]
ITEM = "hill"
DAY_S = 86_400


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the home of a platform with an item and two users."""
    home = tmp_path_factory.mktemp("publishing") / "home"
    platform = geoetl.connect(home)
    raster(platform, home / "files", ITEM)
    platform.identity.add("anna", Role.EDITOR, PASSWORD)
    platform.identity.add("ben", Role.APPROVER, PASSWORD)
    platform.database.dispose()
    return home


@pytest.fixture
def platform(made: Path, home: Path) -> Iterator[Platform]:
    """Give a copy of that platform."""
    shutil.copytree(made, home)
    copy = geoetl.connect(home)
    yield copy
    copy.database.dispose()


@pytest.fixture
def run(platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Give a function that runs ``geoetl`` in this process as somebody, on a terminal of 80 columns."""
    monkeypatch.setattr(output.out, "_width", 80)
    monkeypatch.setattr(output.err, "_width", 80)
    tokens = {name: platform.identity.create_token(name, "cli", None, DAY_S)[1] for name in ("anna", "ben")}

    def call(*arguments: str, who: str = "") -> Ran:
        monkeypatch.setenv("GEOETL_TOKEN", tokens.get(who, who))
        monkeypatch.setattr(sys, "argv", ["geoetl", *arguments])
        code = guarded(app)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def submitted(run: Command) -> dict[str, str]:
    """Submit the item as Anna; return the release."""
    code, out, _ = run("publish", "submit", RASTERS, ITEM, "--json", who="anna")
    assert code == 0
    answer: dict[str, str] = json.loads(out)
    return answer


def published(run: Command, platform: Platform) -> str:
    """Bring the item to the public; return the id of its release."""
    release = submitted(run)
    digest = release["manifest_digest"]
    assert run("publish", "approve", release["id"], "--digest", digest, who="ben")[0] == 0
    bring(platform, replace(platform.publish, make_probe=Blind), platform.publish.get(release["id"]))
    return release["id"]


def test_a_release_goes_from_one_person_to_the_other(run: Command, platform: Platform) -> None:
    code, out, _ = run("publish", "submit", RASTERS, ITEM, "--note", "As agreed", who="anna")
    assert code == 0
    assert "images/hill waits for review" in out
    (release,) = platform.publish.list().releases
    assert f"geoetl publish approve {release.id} --digest {release.manifest_digest[:12]}" in out.replace("\n", " ")
    code, out, _ = run("publish", "queue", who="ben")
    assert (code, release.id in out) == (0, True)
    code, out, _ = run("publish", "show", release.id, who="ben")
    assert "data.tif" in out
    assert re.search(r"version\s+1 when it is approved", out)
    assert json.loads(run("publish", "show", release.id, "--json")[1])["manifest"]["version"] == 1
    code, _, err = run("publish", "approve", release.id, "--digest", release.manifest_digest, who="anna")
    assert (code, "editor" in err) == (4, True)
    code, _, err = run("publish", "approve", release.id, "--digest", "0" * 12, who="ben")
    assert (code, "was changed since" in " ".join(err.split())) == (4, True)
    code, out, _ = run("publish", "approve", release.id, "--digest", release.manifest_digest[:12], who="ben")
    assert (code, "is approved" in out) == (0, True)
    code, out, _ = run("publish", "status", RASTERS, ITEM)
    assert (code, "approved" in out) == (0, True)
    (approved,) = json.loads(run("publish", "list", "--state", "approved", "--json")[1])
    assert (approved["id"], approved["objects"], "nonce" in approved["approval"]) == (release.id, 1, False)


def test_whoever_submits_on_the_machine_itself_does_not_approve_there(run: Command) -> None:
    code, out, _ = run("publish", "submit", RASTERS, ITEM, "--json")
    release = json.loads(out)
    code, _, err = run("publish", "approve", release["id"], "--digest", release["manifest_digest"])
    assert (code, "Somebody else has to decide" in err) == (4, True)
    assert run("publish", "approve", release["id"], "--digest", release["manifest_digest"], who="no-token")[0] == 4


def test_what_is_turned_down_needs_a_reason(run: Command, platform: Platform) -> None:
    release = submitted(run)["id"]
    assert run("publish", "reject", release, who="ben")[0] == 2
    assert run("publish", "reject", release, "--reason", " ", who="ben")[0] == 2
    assert run("publish", "request-changes", release, "--reason", "The title", who="ben")[0] == 0
    assert platform.publish.get(release).state is State.CHANGES_REQUESTED
    assert submitted(run)["id"] == release
    assert run("publish", "reject", release, "--reason", "No", who="ben")[0] == 0
    assert run("publish", "retry", release)[0] == 4
    assert run("publish", "list", "--state", "rejectd")[0] == 2
    assert run("publish", "show", "none")[0] == 3
    code, _, err = run("publish", "submit", RASTERS, ITEM, "--publish-after", "soon", who="anna")
    assert (code, "2020-02-28" in err) == (2, True)


def test_unpublish_says_what_would_go_and_goes_only_with_yes(run: Command, platform: Platform) -> None:
    release = published(run, platform)
    code, out, err = run("unpublish", RASTERS, ITEM, "--everywhere", who="ben")
    assert code == 0
    assert "Would go: version 1 at images/hill/v1, published" in out
    assert "external://images/hill/v1/data.tif" in out
    assert "nothing was withdrawn" in err
    assert platform.publish.get(release).state is State.PUBLISHED
    plan = json.loads(run("unpublish", RASTERS, ITEM, "--json", who="ben")[1])
    assert (plan["dry_run"], len(plan["objects"])) == (True, 2)
    assert run("unpublish", RASTERS, ITEM, "--yes", who="ben")[0] == 2
    assert run("unpublish", RASTERS, ITEM, who="anna")[0] == 4
    code, out, _ = run("unpublish", RASTERS, ITEM, "--reason", "It has ended", "--no-dry-run", "--json", who="ben")
    assert (code, json.loads(out)["result"]["objects"]) == (0, 2)
    (row,) = platform.publish.audit.page(action="withdraw")
    assert row.actor == platform.identity.user("ben").id
    assert "There is nothing to withdraw" in run("unpublish", RASTERS, ITEM, who="ben")[1]
    code, out, _ = run("publish", "restore", release, "--reason", "It has not", who="ben")
    assert (code, "is approved again" in out) == (0, True)


def test_an_item_without_a_release_comes_back_by_its_ids(run: Command, platform: Platform) -> None:
    said = ("--everywhere", "--reason", "By mistake", "--yes", "--json")
    assert run("unpublish", RASTERS, ITEM, *said, who="ben")[0] == 0
    assert platform.catalog.collections() == []
    code, out, _ = run("publish", "restore", f"{RASTERS}/{ITEM}", "--reason", "It was one", who="ben")
    assert (code, "in the catalogue again" in out) == (0, True)
    assert platform.catalog.item(RASTERS, ITEM)["id"] == ITEM


def test_the_log_is_shown_exported_verified_and_anchored(run: Command, platform: Platform, tmp_path: Path) -> None:
    release = submitted(run)
    run("publish", "approve", release["id"], "--digest", release["manifest_digest"], who="anna")
    code, out, _ = run("publish", "audit", "show")
    assert (code, out.count(release["id"])) == (0, 2)
    head, export, table = tmp_path / "head.json", tmp_path / "log.jsonl", tmp_path / "log.csv"
    assert run("publish", "audit", "anchor", "--out", str(head))[0] == 0
    assert run("publish", "audit", "export", "--format", "json", "--out", str(export))[0] == 0
    assert run("publish", "audit", "export", "--out", str(table))[0] == 0
    assert [row["action"] for row in csv.DictReader(table.read_text().splitlines())] == ["create", "submit"]
    for arguments in ((), ("--head", str(head)), ("--file", str(export))):
        code, out, _ = run("publish", "audit", "verify", *arguments)
        assert (code, "as it was written: 2 rows" in out) == (0, True)
    export.write_text(export.read_text().replace('"action":"submit"', '"action":"approve"'))
    code, out, err = run("publish", "audit", "verify", "--file", str(export), "--json")
    fault = json.loads(out)["fault"]
    assert (code, fault["row"], fault["kind"]) == (7, 2, "edited")
    assert "not as it was written" in err
    export.write_text(export.read_text().splitlines(keepends=True)[0])
    assert run("publish", "audit", "verify", "--file", str(export))[0] == 7


@pytest.mark.parametrize("group", [(), ("audit",)])
def test_every_command_has_an_example(run: Command, group: tuple[str, ...]) -> None:
    _, out, _ = run("publish", *group, "--help")
    names = re.findall(r"^│ ([a-z][a-z-]+) ", out, re.MULTILINE)
    assert len(names) >= 4
    for name in names:
        if name != "audit":
            assert "Example: geoetl publish" in run("publish", *group, name, "--help")[1], name
