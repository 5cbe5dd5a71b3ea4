"""Fetch the programs of the documentation pages: ``python -m geoetl.api.docs_build`` writes them to ``docs_assets``.

Needs npm, and is needed only when ``docs_assets/package.json`` changes: what it writes is committed, with the lock file
that it is made from.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from geoetl.api.docs import ASSETS

# In node_modules, and what they are called here.
FILES = {
    "swagger-ui-dist/swagger-ui-bundle.js": "swagger-ui.js",
    "swagger-ui-dist/swagger-ui.css": "swagger-ui.css",
    "redoc/bundles/redoc.standalone.js": "redoc.js",
}
LICENCES = (
    "swagger-ui-dist/LICENSE",
    "swagger-ui-dist/NOTICE",
    "swagger-ui-dist/swagger-ui-bundle.js.LICENSE.txt",
    "redoc/LICENSE",
    "redoc/bundles/redoc.standalone.js.LICENSE.txt",
)
# ReDoc shows its maker's logo, from the maker's server: the only thing that either page would ask another host for.
LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
NO_LOGO = b"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"
# It counts installations and is in no bundle.
LEFT_OUT = "@scarf"


def build() -> int:
    """Write the files from the locked packages and return their size in bytes.

    Raises:
        RuntimeError: ReDoc does not name its logo where it did.
    """
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(ASSETS / name, project / name)
        subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=project, check=True)
        modules = project / "node_modules"
        for source, name in FILES.items():
            content = _without_map((modules / source).read_bytes())
            if name == "redoc.js":
                if content.count(LOGO) != 1:
                    raise RuntimeError("ReDoc does not name its logo once; see what it asks for now.")
                content = content.replace(LOGO, NO_LOGO)
            (ASSETS / name).write_bytes(content)
        (ASSETS / "NOTICE.txt").write_text(_notice(modules), encoding="utf-8")
    return sum((ASSETS / name).stat().st_size for name in FILES.values())


def _without_map(content: bytes) -> bytes:
    """Return a file without the name of its source map, which is not shipped."""
    lines = content.splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith((b"//# sourceMappingURL=", b"/*# sourceMappingURL="))]
    return b"".join(kept)


def _notice(modules: Path) -> str:
    """Return the licence texts of everything that is in the files."""
    parts = [f"{name}:\n\n{(modules / name).read_text(encoding='utf-8').strip()}" for name in LICENCES]
    for description in sorted(modules.glob("*/package.json")) + sorted(modules.glob("@*/*/package.json")):
        package: dict[str, Any] = json.loads(description.read_bytes())
        if LEFT_OUT in package["name"] or package["name"] in ("redoc", "swagger-ui-dist"):
            continue
        texts = [file for file in sorted(description.parent.iterdir()) if file.stem.lower() in ("license", "licence")]
        text = texts[0].read_text(encoding="utf-8").strip() if texts else "It comes without the text of its licence."
        parts.append(
            f"{package['name']} {package['version']} ({package.get('license', 'licence not named')}):\n\n{text}"
        )
    line = "=" * 80
    head = "The programs of the documentation pages contain these packages, each under its own licence.\n"
    return "\n".join([head, *(f"{line}\n{part}\n" for part in parts)])


if __name__ == "__main__":
    print(f"{', '.join(FILES.values())}: {build():,} bytes", file=sys.stderr)
