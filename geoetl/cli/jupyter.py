"""The launcher tile of the dashboard in JupyterLab (entry point ``jupyter_serverproxy_servers``)."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# The first start loads some hundred modules from a cold disk.
START_TIMEOUT_S = 60


def dashboard_server() -> dict[str, Any]:
    """Return how jupyter-server-proxy starts and shows the dashboard.

    The proxy strips its prefix, so the application itself sees plain paths; what it writes into pages is relative, and
    ``{base_url}`` tells redirects where they are.
    """
    spec = find_spec("dashboards")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    return {
        "command": [
            *(sys.executable, "-m", "geoetl.cli", "serve", "--no-open", "--port", "{port}"),
            *("--root-path", "{base_url}geoetl", "--origin", "*"),
        ],
        "timeout": START_TIMEOUT_S,
        "new_browser_tab": True,
        "launcher_entry": {
            "title": "geoetl dashboard",
            "icon_path": str(folder / "shared" / "icon.svg"),
            "path_info": "geoetl/explore",
            "category": "Notebook",
        },
    }
