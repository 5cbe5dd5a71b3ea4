"""The launcher tile of the dashboard in JupyterLab (entry point ``jupyter_serverproxy_servers``)."""

import secrets
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from geoetl.cli.serve import PROXY_HEADER, TOKEN_VARIABLE

# The first start loads some hundred modules from a cold disk.
START_TIMEOUT_S = 60


def dashboard_server() -> dict[str, Any]:
    """Return how jupyter-server-proxy starts and shows the dashboard.

    The proxy serves it below ``/geoetl/``; pages need not know, as every address in them is relative.  The server
    answers only who knows a secret that is made here, so that on a shared machine nobody but JupyterLab gets in.
    """
    token = secrets.token_urlsafe(32)
    spec = find_spec("dashboards")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    return {
        "command": [sys.executable, "-m", "geoetl.cli", "serve", "--no-open", "--port", "{port}"],
        "environment": {TOKEN_VARIABLE: token},
        "request_headers_override": {PROXY_HEADER: token},
        "timeout": START_TIMEOUT_S,
        "new_browser_tab": True,
        "launcher_entry": {
            "title": "geoetl dashboard",
            "icon_path": str(folder / "shared" / "icon.svg"),
            "path_info": "geoetl/explore",
            "category": "Notebook",
        },
    }
