"""Compile the components: ``python -m dashboards.shared.build`` writes ``geoetl.bundle.js`` and its NOTICE.

Needs node and npm, and is needed only when a ``.js`` file beside it changes: the bundle is committed, with the lock
file that it is made from.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from panel.io.compile import compile_components

from dashboards.shared.address import Address
from dashboards.shared.code_block import CodeBlock
from dashboards.shared.datasets import ChangeKinds, ChangeList, DatasetList
from dashboards.shared.lists import ItemList, LayerList
from dashboards.shared.map import BUNDLE, MapView
from dashboards.shared.releases import ReleaseGroups, ReleaseList
from dashboards.shared.runs import RunList, RunLog, RunStages, ScheduleList
from dashboards.shared.styling import ClassifyForm, CodeEditor, LegendList, RuleForm, RuleList, Swipe, VersionList

_FOLDER = Path(__file__).parent
COMPONENTS = (
    *(MapView, ItemList, LayerList, CodeBlock, Address),
    *(RunList, RunStages, RunLog, ScheduleList),
    *(DatasetList, ChangeKinds, ChangeList),
    *(ReleaseList, ReleaseGroups),
    *(RuleList, RuleForm, ClassifyForm, VersionList, LegendList, CodeEditor, Swipe),
)
NOTICE = BUNDLE.with_suffix(".NOTICE.txt")


def build() -> int:
    """Compile the bundle from the locked packages and return its size in bytes.

    Raises:
        RuntimeError: The bundle was not written.
    """
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(_FOLDER / name, project / name)
        subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=project, check=True)
        licences = _licences(project / "node_modules")
        os.environ["PATH"] = f"{project / 'node_modules' / '.bin'}{os.pathsep}{os.environ['PATH']}"
        BUNDLE.unlink(missing_ok=True)
        compile_components(
            list(COMPONENTS),
            build_dir=project,
            outfile=BUNDLE,
            skip_npm=True,
            verbose=False,
        )
    if not BUNDLE.is_file():
        raise RuntimeError("esbuild wrote no bundle; its messages stand above.")
    NOTICE.write_text(licences, encoding="utf-8")
    return BUNDLE.stat().st_size


def _licences(modules: Path) -> str:
    """Return the licence texts of the packages that end up in the bundle."""
    packages: dict[str, str] = {}
    for description in sorted(modules.rglob("package.json")):
        package = json.loads(description.read_bytes())
        name = package.get("name", "")
        if not package.get("version") or "esbuild" in name or name.startswith("@types/"):
            continue
        files = [file for file in sorted(description.parent.iterdir()) if file.stem.lower() in ("license", "licence")]
        text = files[0].read_text(encoding="utf-8").strip() if files else "It comes without the text of its licence."
        said = f"{package.get('license', 'licence not named')}; {_author(package)}"
        packages[f"{name} {package['version']}"] = f"{said}\n\n{text}"
    line = "=" * 80
    parts = [f"{line}\n{name}: {text}\n" for name, text in packages.items()]
    return "\n".join([f"{BUNDLE.name} contains these packages, each under its own licence.\n", *parts])


def _author(package: dict[str, Any]) -> str:
    author = package.get("author") or package.get("repository") or "its authors"
    return str(author.get("name") or author.get("url")) if isinstance(author, dict) else str(author)


if __name__ == "__main__":
    print(f"{BUNDLE.name}: {build():,} bytes", file=sys.stderr)
