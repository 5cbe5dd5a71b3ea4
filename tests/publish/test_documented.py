"""What `docs/publishing.md` tells is so: its programs work, its commands, settings and files exist."""

import json
import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
import typer.main

from geoetl.cli.main import app
from geoetl.core.settings import load_settings, settings_values, variable_name
from geoetl.publish.audit import to_json_lines
from geoetl.publish.channels import signature
from geoetl.publish.model import Action, State
from geoetl.publish.repository import ReleaseRepository
from geoetl.store.database import Database
from tests.publish.releasing import APPROVER, a_step, brought

PAGE = Path(__file__).resolve().parents[2] / "docs" / "publishing.md"
TEXT = PAGE.read_text("utf-8")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def blocks(language: str) -> list[str]:
    """Return the examples in a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    """Give the functions of the page."""
    names: dict[str, Any] = {}
    exec("\n".join(blocks("python")), names)
    return names


def test_a_webhook_is_verified_as_the_page_does_it(documented: dict[str, Any]) -> None:
    is_genuine, now, body = documented["is_genuine"], int(time.time()), b'{"event": "approve"}'
    headers = {
        "webhook-id": "1",
        "webhook-timestamp": str(now),
        "webhook-signature": signature(SECRET, "1", now, body),
    }
    assert is_genuine(headers, body, SECRET)
    assert is_genuine({**headers, "webhook-signature": f"v1,AAAA {headers['webhook-signature']}"}, body, SECRET)
    assert not is_genuine(headers, body + b" ", SECRET)
    assert not is_genuine({**headers, "webhook-id": "2"}, body, SECRET)
    assert not is_genuine(headers, body, "whsec_" + "A" * 32)
    old = {**headers, "webhook-timestamp": str(now - 301), "webhook-signature": signature(SECRET, "1", now - 301, body)}
    assert not is_genuine(old, body, SECRET)


def test_the_audit_log_is_verified_as_the_page_does_it(
    documented: dict[str, Any], sqlite: Database, tmp_path: Path
) -> None:
    releases = ReleaseRepository(sqlite)
    waiting = brought(releases, State.PENDING_REVIEW)
    releases.move(APPROVER, a_step(waiting, Action.REJECT, reason='Die "Größe"\nfehlt 😀.'))
    path = tmp_path / "audit.jsonl"
    lines = list(to_json_lines(releases.audit.rows()))
    first_bad_row = documented["first_bad_row"]
    for wrong, number in (
        (lines, None),
        ([*lines[:2], lines[2].replace("06ben", "06bob")], 3),
        (lines[1:], 1),
        ([lines[0], *lines[2:]], 2),
    ):
        path.write_text("".join(wrong), "utf-8")
        assert first_bad_row(str(path)) == number


def test_every_setting_of_the_page_is_one_and_the_example_is_right() -> None:
    known = {variable_name(name) for name, _ in settings_values(load_settings())}
    named = set(re.findall(r"GEOETL_[A-Z_]*[A-Z]", TEXT))
    assert named <= known
    values: dict[str, Any] = {}
    for line in blocks("sh")[1].splitlines():
        variable, _, value = line.partition("#")[0].strip().partition("=")
        group, name = variable.removeprefix("GEOETL_").lower().rpartition("__")[::2]
        if group == "publish__notify":
            text = shlex.split(value)[0].replace("…", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            values[name] = json.loads(text) if text[0] in "[{" else text
    notify = load_settings(publish={"notify": values}).publish.notify
    assert notify.is_set and set(values) == set(type(notify).model_fields)


def test_every_command_of_the_page_is_one() -> None:
    root = typer.main.get_command(app)
    lines = [line.partition("  #")[0] for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("geoetl ")]
    commands += [shlex.split(text) for text in re.findall(r"`(geoetl [^`]+)`", TEXT)]
    assert len(commands) > 8
    for _, *words in commands:
        found: Any = root
        while words and hasattr(found, "commands"):
            if words[0].startswith("-"):
                break
            found = found.commands[words.pop(0)]
        options = {option for parameter in found.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options | {"--help"}, words
    unpublish: Any = root.commands["unpublish"]  # type: ignore[attr-defined]
    options = {option for parameter in unpublish.params for option in parameter.opts}
    assert set(re.findall(r"`(--[a-z-]+)[ `]", TEXT)) <= options


def test_every_file_and_every_route_of_the_page_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("https://") or (PAGE.parent / target).exists(), target
    from geoetl.api.publish.answers import PUBLISH

    assert set(re.findall(r"/api/[a-z]+", TEXT)) == {PUBLISH}
    nginx = (PAGE.parents[1] / "deploy" / "nginx" / "external-zone.conf").read_text("utf-8")
    for value in re.findall(r"\| `((?:public|no-cache)[^`]*)`", TEXT):
        assert f'"{value}"' in nginx
