"""``geoetl serve`` and ``geoetl up``: the dashboard and the API."""

import gc
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from geoetl.cli.output import err

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from geoetl.api.roles import ServerRole
    from geoetl.platform import Platform

LOOPBACK = "127.0.0.1"
# The secret of a proxy such as JupyterLab's; see geoetl/cli/jupyter.py.
TOKEN_VARIABLE = "GEOETL_PROXY_TOKEN"
# The header that geoetl.api.guard wants; the API is imported only when it is served.
PROXY_HEADER = "X-Geoetl-Proxy"
# Open websockets never end by themselves.
SHUTDOWN_GRACE_S = 2
# Until then the server has started, or failed with a message of its own.
START_WAIT_S = 60.0
# How long a thread may keep the interpreter's lock while another one waits for it; Python's own 5 ms add up.
SWITCH_S = 0.0005


def serve(
    role: Annotated[str, typer.Option(help="all: pages and API; reader: what only reads; etl: API alone.")] = "all",
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback need users.")] = LOOPBACK,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
) -> None:
    """Serve the dashboard with the API beside it, or a part of them.

    Example: geoetl serve --role reader --port 8080 --no-open
    """
    from geoetl.api.roles import ServerRole
    from geoetl.core.errors import InvalidParameter, did_you_mean

    if role not in list(ServerRole):
        raise InvalidParameter(
            f"'{role}' is not a role of a server.", hint=did_you_mean(role, ServerRole), field="role"
        )
    run_server(ServerRole(role), host, port, open_browser=open_browser)


def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    slots: Annotated[int, typer.Option(min=1, max=64, help="Notebooks that are executed at a time.")] = 1,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
) -> None:
    """Start everything on this machine: the dashboard and the API, and a worker that executes runs and the schedule.

    Example: geoetl up
    """
    import signal

    from geoetl.api.roles import ServerRole
    from geoetl.cli import worker

    _check_free(LOOPBACK, port)
    # So that the worker is asked to stop, too; the server itself ends at once on it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with worker.beside(slots=slots):
        run_server(ServerRole.ALL, LOOPBACK, port, open_browser=open_browser)


def run_server(role: "ServerRole", host: str, port: int, *, open_browser: bool) -> None:
    """Serve until somebody stops it.

    Raises:
        ConfigurationError: Others reach the address and nobody could sign in, or packages are missing.
        Conflict: Another program listens there.
    """
    import os

    import geoetl
    from geoetl.store.gate.gdal import restrict_gdal

    restrict_gdal()
    platform = geoetl.connect(read_only=not role.writes).guarded()
    _check_users(platform, host, port)
    _check_free(host, port)
    token = os.environ.get(TOKEN_VARIABLE) or None
    err.print("Starting …")
    server = _server(platform, role, host, port, token)
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    address = f"{base}/explore" if role.has_pages else base
    what = "The dashboard is at" if role.has_pages else "The API is at"
    err.print(f"{what} [bold]{address}[/]  (Ctrl+C stops it)")
    if token is None:
        _tell_who_may(platform, host)
    first_page = address if role.has_pages else f"{base}/api/livez"
    _once_started(
        server, first_page, {PROXY_HEADER: token} if token else {}, open_browser=open_browser and role.has_pages
    )
    server.run()


def _server(
    platform: "Platform", role: "ServerRole", host: str, port: int, proxy_token: str | None
) -> "uvicorn.Server":
    """Return the server, ready to run.

    Raises:
        ConfigurationError: The packages of the server or of the dashboard are not installed.
    """
    from geoetl.core.errors import ConfigurationError
    from geoetl.core.logging import configure_logging

    configure_logging(platform.settings.server)
    try:
        import uvicorn

        from geoetl.api.apart.process import GARBAGE_AFTER
        from geoetl.api.connections import uvicorn_options

        app = _application(platform, role, proxy_token)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The dashboard is not installed: there is no package '{error.name}'.",
            hint="Install it with: pip install 'geoetl[dashboard,serve]'",
        ) from None
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
        # Whom to believe about forwarded addresses is a setting of ours, see geoetl.api.security.
        proxy_headers=False,
        **uvicorn_options(platform.settings.server),
    )
    # What is loaded now stays: looking through a million objects for garbage stops every request for 0.1 s.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)
    sys.setswitchinterval(SWITCH_S)
    return uvicorn.Server(config)


def _application(platform: "Platform", role: "ServerRole", proxy_token: str | None) -> "FastAPI":
    from geoetl.api.apart.process import launch as launch_process

    launch = launch_process if platform.settings.server.pictures_apart else None
    if role.has_pages:
        from dashboards.app import create_app

        return create_app(platform, role=role, proxy_token=proxy_token, launch=launch)
    from geoetl.api import edge, guard
    from geoetl.api.app import create_app as create_api
    from geoetl.api.security import Authority

    app = create_api(platform, role=role, launch=launch)
    authority = Authority.of(platform, proxy_token=proxy_token)
    guard.install(app, authority, role, access=getattr(app.state, "access", None))
    edge.outermost(app)
    return app


def _check_users(platform: "Platform", host: str, port: int) -> None:
    """Refuse to listen where others could ask, as long as nobody can sign in.

    Raises:
        ConfigurationError: The address is reached from other machines, and there are no users.
    """
    from geoetl.core.errors import ConfigurationError

    security = platform.settings.security
    if _is_loopback(host) or security.oidc_issuer or platform.identity.has_users():
        return
    raise ConfigurationError(
        f"geoetl does not listen on {host}: others reach that address, and there are no users who could sign in.",
        hint="Add one first: geoetl users add NAME --role operator\n"
        f"Or listen on 127.0.0.1, and come through JupyterLab or a tunnel: ssh -L {port}:127.0.0.1:{port} THIS-MACHINE",
        field="host",
    )


def _tell_who_may(platform: "Platform", host: str) -> None:
    """Say who gets in, and what is not safe yet."""
    security = platform.settings.security
    if not platform.identity.has_users():
        who = (
            "this machine's browser is signed in as the local operator"
            if _is_loopback(host) and security.is_for_one
            else "nobody can sign in with a password"
        )
        err.print(f"There are no users: {who}. Add one with: geoetl users add NAME --role operator")
    if _is_loopback(host):
        return
    if not (security.public_url or "").startswith("https:"):
        err.print(
            "[yellow]Passwords cross the network unencrypted[/] unless a proxy with https stands before this; "
            "then set GEOETL_SECURITY__PUBLIC_URL to its address."
        )
    if not security.public_url and not security.hosts:
        err.print(
            "It answers to its own address and to localhost; a name of this machine has to be listed in "
            "GEOETL_SECURITY__HOSTS."
        )


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
                hint=f"Stop the program that uses it, or choose another port: --port {port % 65535 + 1}",
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
