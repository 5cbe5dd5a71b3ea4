"""Compile the peers: ``python -m tests.peers.build`` writes the bundles and their NOTICE.

Needs node and npm, and is needed only when a ``.js`` file or ``package.json`` beside it changes: the bundles are
committed, with the lock file that they are made from.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
JUDGE, MAPS, NOTICE = (FOLDER / name for name in ("judge.bundle.mjs", "maps.bundle.js", "NOTICE.txt"))
# What each is compiled from, and for whom. The pictures of Leaflet's markers are no file that a page could ask for.
TARGETS = {
    JUDGE: ("judge.js", "--platform=node", "--format=esm"),
    MAPS: ("maps.js", "--platform=browser", "--format=iife", "--loader:.css=text"),
}


def build() -> int:
    """Compile the bundles from the locked packages and return their size in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for name in ("package.json", "package-lock.json", ".npmrc", "judge.js", "maps.js"):
            shutil.copy(FOLDER / name, project / name)
        subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=project, check=True)
        for target, (source, *options) in TARGETS.items():
            given = [*options, f"--banner:js={banner(source)}", f"--outfile={target}", "--log-level=warning"]
            command = ["node_modules/.bin/esbuild", source, "--bundle", "--minify", "--legal-comments=none", *given]
            subprocess.run(command, cwd=project, check=True)
        NOTICE.write_text(_licences(project / "node_modules"), encoding="utf-8")
    return sum(target.stat().st_size for target in TARGETS)


def banner(source: str) -> str:
    """Return the first line of a bundle, which tells what it is made from."""
    content = b"".join((FOLDER / name).read_bytes() for name in (source, "package-lock.json"))
    return f"// {source} and the lock file, SHA-256 {hashlib.sha256(content).hexdigest()}"


def _licences(modules: Path) -> str:
    """Return the licence texts of the packages that end up in the bundles."""
    line, parts = "=" * 80, ["The bundles beside this file contain these packages, each under its own licence.\n"]
    for description in sorted(modules.rglob("package.json")):
        package = json.loads(description.read_bytes())
        name = package.get("name", "")
        if not package.get("version") or "esbuild" in name or name.startswith("@types/"):
            continue
        files = [file for file in sorted(description.parent.iterdir()) if file.stem.lower() in ("license", "licence")]
        text = files[0].read_text(encoding="utf-8").strip() if files else "It comes without the text of its licence."
        parts.append(f"{line}\n{name} {package['version']}: {package.get('license', 'licence not named')}\n\n{text}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(f"{JUDGE.name} and {MAPS.name}: {build():,} bytes", file=sys.stderr)
