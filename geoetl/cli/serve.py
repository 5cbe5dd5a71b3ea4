"""``geoetl serve``: the dashboard and the API."""

from typing import TYPE_CHECKING, Annotated

import typer

from geoetl.cli.output import err

if TYPE_CHECKING:
    import uvicorn

# The secret of a proxy such as JupyterLab's; see geoetl/cli/jupyter.py.
TOKEN_VARIABLE = "GEOETL_PROXY_TOKEN"
# The header that geoetl.api.guard wants; the API is imported only when it is served.
PROXY_HEADER = "X-Geoetl-Proxy"
# Open websockets never end by themselves.
SHUTDOWN_GRACE_S = 2
# Until then the server has started, or failed with a message of its own.
START_WAIT_S = 60.0


def serve(
    host: Annotated[str, typer.Option(help="Loopback address to listen on; there is no login yet.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
) -> None:
    """Open the dashboard, with the API beside it.

    Example: geoetl serve --port 8080 --no-open
    """
    import os

    _check_loopback(host, port)
    _check_free(host, port)
    err.print("Starting …")
    token = os.environ.get(TOKEN_VARIABLE) or None
    server = _server(host, port, token)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/explore"
    err.print(f"The dashboard is at [bold]{address}[/]  (Ctrl+C stops it)")
    _once_started(server, address, {PROXY_HEADER: token} if token else {}, open_browser=open_browser)
    server.run()


def _server(host: str, port: int, proxy_token: str | None) -> "uvicorn.Server":
    """Return the server, ready to run.

    Raises:
        ConfigurationError: The packages of the dashboard are not installed.
    """
    import geoetl
    from geoetl.core.errors import ConfigurationError

    try:
        import uvicorn

        from dashboards.app import create_app
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The dashboard is not installed: there is no package '{error.name}'.",
            hint="Install it with: pip install 'geoetl[dashboard,serve]'",
        ) from None
    app = create_app(geoetl.connect(), proxy_token=proxy_token)
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_GRACE_S, server_header=False
    )
    return uvicorn.Server(config)


def _check_loopback(host: str, port: int) -> None:
    """Refuse to listen where others could ask.

    Raises:
        ConfigurationError: The address is reached from other machines.
    """
    import ipaddress

    from geoetl.core.errors import ConfigurationError

    try:
        mine = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        mine = False
    if not mine:
        raise ConfigurationError(
            f"geoetl does not listen on {host}: whoever reaches that address could read everything, as there is no "
            "login yet.",
            hint="Listen on 127.0.0.1, and reach it from elsewhere through JupyterLab or a tunnel: "
            f"ssh -L {port}:127.0.0.1:{port} THIS-MACHINE",
            field="host",
        )


def _check_free(host: str, port: int) -> None:
    """Say in a sentence that a port is taken, before anything slow is loaded.

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
        except OSError as error:
            raise Conflict(
                f"Port {port} of {host} cannot be listened on: {error.strerror}.",
                hint=f"Stop the program that uses it, or choose another port: geoetl serve --port {port % 65535 + 1}",
                field="port",
            ) from None


def _once_started(server: "uvicorn.Server", address: str, headers: dict[str, str], *, open_browser: bool) -> None:
    """Ask for the first page as soon as the server answers, so that a person's first page is quick; then open it."""
    import contextlib
    import threading
    import time
    import urllib.error
    import urllib.request
    import webbrowser

    def wait() -> None:
        deadline = time.monotonic() + START_WAIT_S
        while not server.started:
            if time.monotonic() > deadline or server.should_exit:
                return
            time.sleep(0.05)
        # A proxy that the environment names is for other machines.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with contextlib.suppress(urllib.error.URLError, TimeoutError):  # the page is only slower the first time
            opener.open(urllib.request.Request(address, headers=headers), timeout=START_WAIT_S).close()
        if open_browser:
            webbrowser.open(address)

    threading.Thread(target=wait, name="geoetl-first-page", daemon=True).start()
