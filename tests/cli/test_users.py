"""``geoetl users`` and ``geoetl tokens``."""

import getpass
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import geoetl
from geoetl.cli.main import app, guarded
from geoetl.core.principal import Role

PASSWORD = "correct horse battery"


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Give a function that runs a command line in this process, with something on standard input."""

    def run(*arguments: str, given: str = "") -> Ended:
        monkeypatch.setattr(sys, "argv", ["geoetl", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        code = guarded(app)
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return run


def add(command: Command, name: str, role: str = "operator") -> Ended:
    return command("users", "add", name, "--role", role, "--password-stdin", given=f"{PASSWORD}\n")


def test_a_user_is_added_listed_changed_and_removed(command: Command) -> None:
    assert command("users", "list").out == "No users yet. Add one with: geoetl users add NAME --role operator\n"
    assert add(command, "alice") == Ended(0, "Added alice (operator).\n", "")
    assert geoetl.connect().identity.check_password("alice", PASSWORD)
    assert add(command, "bob [x]", "viewer").out == "Added bob [x] (viewer).\n"
    listed = json.loads(command("users", "list", "--json").out)
    assert [(user["name"], user["role"], user["disabled"]) for user in listed] == [
        ("alice", "operator", False),
        ("bob [x]", "viewer", False),
    ]
    assert command("users", "role", "bob [x]", "editor").out == "Changed bob [x] (editor).\n"
    command("users", "password", "bob [x]", "--password-stdin", given="another long password\n")
    assert geoetl.connect().identity.check_password("bob [x]", "another long password")
    command("users", "disable", "bob [x]")
    assert "disabled" in command("users", "list").out
    command("users", "enable", "bob [x]")
    assert "disabled" not in command("users", "list").out
    assert json.loads(command("users", "remove", "bob [x]", "--json").out)["name"] == "bob [x]"
    assert [user.name for user in geoetl.connect().identity.users()] == ["alice"]


def test_the_last_operator_goes_only_by_force(command: Command) -> None:
    add(command, "alice")
    for arguments in (["remove", "alice"], ["disable", "alice"], ["role", "alice", "viewer"]):
        ended = command("users", *arguments)
        assert ended.code == 4
        assert "'alice' is the last operator" in ended.err
        assert "--force" in ended.err
    ended = command("users", "remove", "alice", "--force")
    assert ended.code == 0
    assert "whoever uses this machine's browser is the operator again" in ended.err


@pytest.mark.parametrize(
    ("arguments", "given", "code", "says"),
    [
        (["users", "add", "bob", "--role", "admin", "--password-stdin"], PASSWORD, 2, "'admin' is not a role"),
        (["users", "add", "bob", "--role", "edtor", "--password-stdin"], PASSWORD, 2, "Did you mean 'editor'?"),
        (["users", "add", "bob", "--password-stdin"], "short", 2, "it needs 12 to 1024"),
        (["users", "add", "bob", "--password-stdin"], "", 2, "The password has 0 characters"),
        (["users", "add", "bob"], "", 2, "no terminal to ask for the password at"),
        (["users", "add", "ALICE", "--password-stdin"], PASSWORD, 4, "looks the same"),
        (["users", "add", "  ", "--password-stdin"], PASSWORD, 2, "A name has 1 to 100 characters"),
        (["users", "password", "alicia", "--password-stdin"], PASSWORD, 3, "Did you mean 'alice'?"),
        (["users", "remove", "nobody"], "", 3, "There is no user 'nobody'"),
        (["tokens", "create", "alicia"], "", 3, "Did you mean 'alice'?"),
        (["tokens", "create", "alice", "--scope", "all"], "", 2, "'all' is not a role"),
        (["tokens", "create", "alice", "--days", "0"], "", 2, "--days"),
        (["tokens", "revoke", "x"], "", 3, "There is no token 'x'"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_changes_nothing(
    command: Command, arguments: list[str], given: str, code: int, says: str
) -> None:
    add(command, "alice")
    ended = command(*arguments, given=f"{given}\n")
    assert ended.code == code
    assert says in " ".join(ended.err.split())
    assert PASSWORD not in ended.err
    assert [user.name for user in geoetl.connect().identity.users()] == ["alice"]
    assert geoetl.connect().identity.tokens() == []


class Terminal(io.StringIO):
    """Standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the list of what is typed at the prompts, in turn."""
    answers: list[str] = []
    monkeypatch.setattr(getpass, "getpass", lambda prompt: answers.pop(0))
    return answers


def test_at_a_terminal_the_password_is_asked_for_twice(
    home: Path, typed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "argv", ["geoetl", "users", "add", "alice"])
    typed += [PASSWORD, "correct horse batery"]
    assert guarded(app) == 2
    assert not geoetl.connect().identity.has_users()
    typed += [PASSWORD, PASSWORD]
    assert guarded(app) == 0
    assert geoetl.connect().identity.user("alice").role is Role.VIEWER


def test_a_token_is_shown_once_alone_on_standard_output(command: Command) -> None:
    add(command, "alice")
    ended = command("tokens", "create", "alice", "--name", "night", "--scope", "viewer", "--days", "30")
    text = ended.out.strip()
    assert text.startswith("geoetl_")
    assert text not in ended.err
    assert "It is shown this once" in ended.err
    found = geoetl.connect().identity.token_user(text)
    assert found is not None and found[1] is Role.VIEWER
    listed = command("tokens", "list", "--json").out
    assert text not in listed
    (token,) = json.loads(listed)
    assert (token["user"], token["name"], token["scope"], token["revoked_at"]) == ("alice", "night", "viewer", None)
    assert command("tokens", "revoke", token["id"]).code == 0
    assert "revoked" in command("tokens", "list", "--user", "alice").out
    assert geoetl.connect().identity.token_user(text) is None


def test_a_token_in_json_has_its_text_too(command: Command) -> None:
    add(command, "alice")
    made = json.loads(command("tokens", "create", "alice", "--json").out)
    assert geoetl.connect().identity.token_user(made["token"])
    assert made["scope"] == "operator"


def test_secrets_are_not_shown_among_the_settings(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOETL_SECURITY__OIDC_CLIENT_SECRET", "hunter2")
    for ended in (command("config", "show"), command("config", "show", "--json")):
        assert ended.code == 0
        assert "hunter2" not in ended.out
    rows = {row["variable"]: row for row in json.loads(command("config", "show", "--json").out)}
    assert rows["GEOETL_SECURITY__OIDC_CLIENT_SECRET"]["value"] == "(set, not shown)"


def test_users_who_are_added_at_once_by_several_processes_are_all_there(home: Path) -> None:
    command = [sys.executable, "-m", "geoetl.cli", "users", "add", "--password-stdin", "--json"]
    names = ["a", "b", "A"]
    processes = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for name in names
    ]
    for process in processes:
        process.communicate(PASSWORD.encode(), timeout=120)
    codes = {name: process.returncode for name, process in zip(names, processes, strict=True)}
    assert codes["b"] == 0
    assert sorted((codes["a"], codes["A"])) == [0, 4]
    assert len(geoetl.connect().identity.users()) == 2


def test_help_does_not_load_what_serves_or_hashes(home: Path) -> None:
    code = (
        "import sys, geoetl.cli.main; print(sorted(set(sys.modules) & {'argon2', 'fastapi', 'authlib', 'sqlalchemy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
