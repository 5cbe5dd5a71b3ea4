"""The external zone behind a plain web server: nginx, with the configuration that comes along and a port of its own."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPLATE = Path(__file__).parents[1] / "deploy" / "nginx" / "external-zone.conf"
HOW = "on Debian and Ubuntu: apt-get install nginx-light"
_LOOPBACK = "127.0.0.1"
# Its workers run as the user who runs the tests, whose temporary folders nobody else can read.
_MAIN = """
daemon off;
{user}
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


def find_program() -> str | None:
    """Return the path of nginx, or None; Debian puts it where only root looks."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


@contextmanager
def serving(program: str, root: Path) -> Iterator[str]:
    """Serve a folder, which need not exist yet, and give the address."""
    with tempfile.TemporaryDirectory(prefix="geoetl-nginx-") as name:
        folder, port = Path(name), _free_port()
        site = TEMPLATE.read_text(encoding="utf-8")
        given = {"LISTEN": f"{_LOOPBACK}:{port}", "SERVER_NAME": "localhost", "EXTERNAL": f'"{root}"'}
        for variable, value in given.items():
            site = site.replace(f"${{GEOETL_{variable}}}", value)
        (folder / "site.conf").write_text(site, encoding="utf-8")
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user), encoding="utf-8")
        error_log = folder / "error.log"
        command = [program, "-e", error_log, "-c", folder / "nginx.conf", "-p", folder]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while not _answers(port):
                assert process.poll() is None and time.monotonic() < deadline, error_log.read_text()
                time.sleep(0.02)
            yield f"http://{_LOOPBACK}:{port}"
        finally:
            process.terminate()
            process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection((_LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
