"""``geoetl serve``: the dashboard and the API."""

import ipaddress
from typing import Annotated

import typer

from geoetl.cli.output import err

# Panel's own default; a message may carry a picture of a notebook-sized map.
SHUTDOWN_GRACE_S = 3


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; only this machine, as there is no login yet.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
    root_path: Annotated[str, typer.Option(help="Path under which a proxy serves it, such as /proxy/8000.")] = "",
    origin: Annotated[
        list[str] | None, typer.Option(help="Host (with port) of a proxy whose pages may connect; may be repeated.")
    ] = None,
) -> None:
    """Open the dashboard, with the API beside it.

    Example: geoetl serve --port 8080 --no-open
    """
    from geoetl.core.errors import ConfigurationError

    if not is_loopback(host):
        raise ConfigurationError(
            f"geoetl does not listen on {host}: whoever reaches that address could read everything, as there is no "
            "login yet.",
            hint="Listen on 127.0.0.1, and reach it from elsewhere through JupyterLab or an SSH tunnel: "
            f"ssh -L {port}:127.0.0.1:{port} THIS-MACHINE",
            field="host",
        )
    _check_free(host, port)
    err.print("Starting …")
    import geoetl

    try:
        import uvicorn

        from dashboards.app import create_app
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The dashboard is not installed: there is no package {error.name}.",
            hint="Install it with: pip install 'geoetl[dashboard,serve]'",
        ) from None
    app = create_app(geoetl.connect(), root_path=root_path, origins=[*_own_origins(port), *(origin or [])])
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}{root_path}/explore"
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_level="warning",
            timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
            server_header=False,
        )
    )
    err.print(f"The dashboard is at [bold]{address}[/]  (Ctrl+C stops it)")
    if open_browser:
        _open_when_ready(server, address)
    server.run()


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _own_origins(port: int) -> list[str]:
    return [f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]


def _check_free(host: str, port: int) -> None:
    """Say in a sentence that a port is taken, before anything heavy is loaded.

    Raises:
        Conflict: Another program listens there.
    """
    import socket

    from geoetl.core.errors import Conflict

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise Conflict(
                f"Another program listens on port {port}.",
                hint=f"Stop it, or choose another port: geoetl serve --port {port + 1}",
                field="port",
            ) from None


def _open_when_ready(server: "object", address: str) -> None:
    """Open the browser once the server answers, so that it does not meet a closed door."""
    import threading
    import time
    import webbrowser

    def wait() -> None:
        for _ in range(600):
            if getattr(server, "started", False):
                webbrowser.open(address)
                return
            time.sleep(0.1)

    threading.Thread(target=wait, name="geoetl-open", daemon=True).start()
