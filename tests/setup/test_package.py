"""The wheel and the source archive hold what an installation needs."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = sorted(path.name for path in (ROOT / "notebooks/pipelines").glob("*.ipynb"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both from a copy, as a clone has it: without the environment and the state."""
    copy = tmp_path_factory.mktemp("package") / "checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", ".geoetl", ".*_cache", "__pycache__"))
    subprocess.run([sys.executable, "-m", "hatchling", "build", "--directory", copy / "dist"], cwd=copy, check=True)
    return copy / "dist"


def test_the_wheel_brings_pipelines_and_catalogues(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"geoetl/_pipelines/{name}" for name in PIPELINES} <= names
    assert {
        "geoetl/_catalogs/geoetl.yaml",
        "geoetl/_catalogs/places.yaml",
        "geoetl/_catalogs/schedules.yaml",
        "geoetl/py.typed",
        "geoetl/__init__.py",
        "dashboards/__init__.py",
    } <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"geoetl", "dashboards"}


def test_the_wheel_has_the_command_and_its_plug_ins(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        text = archive.read(entry).decode()
    assert "geoetl = geoetl.cli.main:run" in text
    assert "[intake.drivers]\n" in text
    assert "[jupyter_serverproxy_servers]\ngeoetl = geoetl.cli.jupyter:dashboard_server" in text


def test_the_source_archive_can_build_the_wheel(built: Path, tmp_path: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    subprocess.run([sys.executable, "-m", "hatchling", "build", "--target", "wheel"], cwd=folder, check=True)
    (again,) = (folder / "dist").glob("*.whl")
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(wheel) as other:
        assert one.namelist() == other.namelist()
