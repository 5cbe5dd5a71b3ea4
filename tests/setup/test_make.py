"""The Makefile says what there is, and what is wrong with the machine."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
# All that set-up may assume besides Python: make, git and what every POSIX system has.
MACHINE = ("make", "git", "sh", "cat", "cp", "echo", "env", "find", "id", "printf", "rm", "sed", "touch")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Give a folder with what `make setup` reads, and a machine that has no Python yet."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in MACHINE:
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    return folder


def install(checkout: Path, name: str, script: str) -> None:
    program = checkout.parent / "bin" / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def make(checkout: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    environment["PATH"] = str(checkout.parent / "bin")
    return subprocess.run(
        ["make", *arguments], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )


def test_help_is_the_default_and_lists_every_target(checkout: Path) -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    done = make(checkout)
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"^  make (\S+) +\S", done.stdout, re.MULTILINE)) == set(phony.split())


def test_an_old_python_is_said_in_one_sentence_with_the_remedy(checkout: Path) -> None:
    # What an older interpreter answers: no to the first question, its version to the second.
    install(checkout, "python3", 'case "$2" in *platform*) echo Python 3.11.7;; *) exit 1;; esac')
    done = make(checkout, "setup")
    message = done.stderr.splitlines()[0]
    assert done.returncode == 2
    assert message.startswith("geoetl needs Python 3.12 or newer with its venv module and found Python 3.11.7 as")
    assert "apt-get install" in message
    assert message.endswith("or name one with make setup PYTHON=/path/to/python3.12.")
    assert not (checkout / ".venv").exists()


def test_a_machine_without_python_is_told_so(checkout: Path) -> None:
    assert "and found no Python:" in make(checkout, "setup").stderr


def test_a_shim_that_fails_is_passed_over(checkout: Path) -> None:
    install(checkout, "python3.12", "echo 'no such version' >&2; exit 127")
    install(checkout, "python3.13", 'case "$1" in -c) exit 0;; *) echo "made with 3.13"; exit 3;; esac')
    done = make(checkout, "setup")
    assert "made with 3.13" in done.stdout
    assert "no such version" not in done.stderr


def test_python_can_be_named(checkout: Path) -> None:
    install(checkout, "python3.12", "exit 0")
    install(checkout, "other", 'case "$1" in -c) exit 0;; *) echo "made with other"; exit 3;; esac')
    assert "made with other" in make(checkout, "setup", "PYTHON=other").stdout


def test_the_second_set_up_does_nothing(checkout: Path) -> None:
    venv = checkout / ".venv"
    (venv / "bin").mkdir(parents=True)
    ready = venv / ".ready"
    ready.touch()
    later = max((checkout / name).stat().st_mtime for name in ("pyproject.toml", "requirements.lock")) + 1
    os.utime(ready, (later, later))
    done = make(checkout, "setup")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout


def test_clean_keeps_the_state_and_says_so(checkout: Path) -> None:
    for name in (".venv", ".geoetl", ".ruff_cache", "geoetl/__pycache__"):
        (checkout / name).mkdir(parents=True)
    done = make(checkout, "clean")
    assert done.returncode == 0, done.stderr
    assert "State is kept in .geoetl" in done.stdout
    assert sorted(path.name for path in checkout.iterdir() if path.is_dir()) == [".geoetl", "geoetl"]
    assert not (checkout / "geoetl/__pycache__").exists()


def test_the_settings_of_pip_reach_uv_and_the_environment_wins(checkout: Path) -> None:
    (checkout / ".venv/bin").mkdir(parents=True)
    pip = "global.cert='/certificates.pem'\nglobal.index-url='https://one.invalid/simple'\n"
    pip += "install.index-url='https://two.invalid/simple'"
    program = checkout / ".venv/bin/python"
    program.write_text(f'#!/bin/sh\ncase "$*" in "-m pip config list") cat <<END\n{pip}\nEND\n;; esac\n')
    program.chmod(0o755)
    show = checkout / "show.mk"
    show.write_text('include Makefile\nshow:\n\t@$(UV_SETTINGS); echo "$$UV_DEFAULT_INDEX $$SSL_CERT_FILE"\n')

    assert make(checkout, "-f", "show.mk", "show").stdout == "https://two.invalid/simple /certificates.pem\n"
    assert make(checkout, "-f", "show.mk", "show", PIP_INDEX_URL="mine", SSL_CERT_FILE="own").stdout == "mine own\n"
