"""Clusters that a run may have: of this machine, of an address, by ssh, from dask-gateway; and what keeps them safe."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from math import sqrt
from pathlib import Path

import dask
import httpx
import numpy as np
import psutil
import pytest
from distributed import Client, Security
from fastapi.testclient import TestClient

import geoetl
from geoetl.api.app import create_app
from geoetl.core.errors import ConfigurationError, Unavailable
from geoetl.core.settings import DaskSettings, load_settings
from geoetl.platform import Platform
from geoetl.runs import deployments
from geoetl.runs.attempt import Attempt
from geoetl.runs.cluster import Cluster
from geoetl.runs.fanout import fan_out
from geoetl.runs.model import EventKind, Result, RunState
from geoetl.runs.stage import DASK_DASHBOARD, Run
from tests.conftest import missing
from tests.runs.dask_tasks import Struck, moments, process_of
from tests.runs.dask_workers import dask_workers
from tests.runs.ssh import ssh_to_here
from tests.served import handshake

LAB_LINK = "/proxy/{port}/status"
PATIENCE_S = 60
INSTALLED = "pip install"


class Ended(Result):
    """What a run gave."""

    count: int


# -- of this machine ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Give a platform whose fan-outs have a cluster of this machine."""
    settings = {"address": "local", "workers": 2, "silent_seconds": 5, "memory_gib": 1.0}
    return geoetl.connect(tmp_path_factory.mktemp("local") / "home", dask=settings)


@pytest.fixture(scope="module")
def told() -> list[str]:
    """Give what the run says."""
    return []


@pytest.fixture(scope="module")
def run(platform: Platform, told: list[str]) -> Iterator[Run]:
    """Give a run that has its cluster already, in a notebook of JupyterLab."""
    run = platform.current_run()
    run.tell = told.append
    with dask.config.set({"distributed.dashboard.link": LAB_LINK}):
        run.map("processes", process_of, range(20))
    yield run
    run.close()


def test_one_cluster_serves_a_whole_run(run: Run) -> None:
    found = [*run.map("once", process_of, range(20)), *run.map("again", process_of, range(20))]
    assert len(set(found)) == 2
    assert os.getpid() not in found


def test_a_run_tells_where_its_workers_can_be_watched(run: Run, platform: Platform, told: list[str]) -> None:
    assert run.dashboard is not None
    port = run.dashboard.url.split(":")[2].partition("/")[0]
    assert run.dashboard.url == f"http://127.0.0.1:{port}/status"
    assert f'href="/proxy/{port}/status"' in run.dashboard._repr_html_()
    assert [line for line in told if line.startswith(DASK_DASHBOARD)] == [f"{DASK_DASHBOARD} /proxy/{port}/status"]
    record = platform.runs.get(run.id)
    assert record.dashboard == run.dashboard.url
    assert run.dashboard.url in record._repr_html_()
    (event,) = [one for one in platform.runs.events(run.id) if one.kind is EventKind.DASK]
    assert event.lines()[0].endswith(f"2 Dask workers, to be watched on {socket.gethostname()} at {run.dashboard.url}")
    with TestClient(create_app(platform), base_url="http://127.0.0.1:8000") as client:
        assert client.get(f"/api/runs/{run.id}").json()["dashboard"] == run.dashboard.url


def test_a_cluster_of_this_machine_is_reached_from_this_machine_alone(run: Run) -> None:
    here = psutil.Process()
    listening = [
        connection.laddr.ip
        for process in (here, *here.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 6  # scheduler, dashboard, two workers with their nannies
    assert set(listening) == {"127.0.0.1"}


def test_another_user_of_this_machine_cannot_use_it(run: Run) -> None:
    made = run._cluster.client()
    assert made is not None
    address = str(made.scheduler_info(n_workers=0)["address"])
    assert address.startswith("tls://127.0.0.1:")
    with pytest.raises(OSError, match="TLS certificate does not match"):
        Client(address, security=Security.temporary(), timeout=5, set_as_default=False)


def test_what_exceeds_the_memory_goes_to_the_home_folder(run: Run, platform: Platform) -> None:
    made = run._cluster.client()
    assert made is not None
    workers = made.scheduler_info(n_workers=-1)["workers"].values()
    assert {worker["memory_limit"] for worker in workers} == {2**30}
    assert all(Path(worker["local_directory"]).is_relative_to(platform.settings.home) for worker in workers)


def test_the_dashboard_opens_through_jupyterlab(run: Run, tmp_path: Path) -> None:
    assert run.dashboard is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyter_server", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", "--IdentityProvider.token=secret", f"--ServerApp.root_dir={tmp_path}"]
    address, headers = f"http://127.0.0.1:{port}", {"Authorization": "token secret"}
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    try:
        wait_until_it_answers(address, "/api")
        with httpx.Client(base_url=address, headers=headers, trust_env=False, timeout=60) as client:
            page = client.get(run.dashboard.link)
        assert page.status_code == 200
        assert "Dask Diagnostic UI" in page.text
        assert httpx.get(address + run.dashboard.link, trust_env=False).status_code in (302, 403)
        assert handshake(address, f"{run.dashboard.link}/ws", headers) == 101
    finally:
        server.terminate()
        server.wait()


def wait_until_it_answers(address: str, path: str) -> None:
    """Wait until a server that is being started answers."""
    deadline = time.monotonic() + PATIENCE_S
    with httpx.Client(base_url=address, trust_env=False) as client:
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if client.get(path).status_code == 200:
                    return
            time.sleep(0.1)
    pytest.fail(f"There is no answer from {address}.")


def test_a_stopped_worker_is_replaced(run: Run, tmp_path: Path) -> None:
    stopped = Struck(tmp_path, 30, signal=signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(run.map, "moments", stopped, range(60)).result(PATIENCE_S)
    assert np.array_equal(np.array(found), np.array([moments(number) for number in range(60)]))
    assert stopped.calls[30] == 2


def test_the_cluster_ends_with_its_run(run: Run, platform: Platform) -> None:
    workers = set(run.map("last processes", process_of, range(20)))
    run.emit(Ended(count=2))
    assert run.dashboard is None
    assert not any(psutil.pid_exists(worker) for worker in workers)
    record = platform.runs.get(run.id)
    assert (record.state, record.dashboard) == (RunState.COMPLETED, None)


# -- of an address -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Give the address of a scheduler that has no worker."""
    with dask_workers(0) as cluster:
        yield cluster.scheduler_address


@contextmanager
def a_worker(address: str, **environment: str) -> Iterator[None]:
    """Start a worker of a scheduler, on loopback."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--host", "127.0.0.1", "--no-nanny"]
    options = ["--nthreads", "1", "--no-dashboard", "--local-directory", environment["TMPDIR"]]
    process = subprocess.Popen(
        [*command, *options], env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def test_a_scheduler_without_workers_is_told(scheduler: str) -> None:
    with pytest.raises(Unavailable, match=r"no worker within 0\.2 s"):
        Cluster(DaskSettings(address=scheduler, start_seconds=0.2)).client()


def test_workers_with_other_versions_are_refused(scheduler: str, tmp_path: Path) -> None:
    other = tmp_path / "other" / "geoetl-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: geoetl\nVersion: 0.0.1\n")
    with (
        a_worker(scheduler, PYTHONPATH=str(other.parent), TMPDIR=str(tmp_path)),
        pytest.raises(ConfigurationError, match=rf"geoetl {geoetl.__version__} here, of 1 1 has 0\.0\.1") as caught,
    ):
        Cluster(DaskSettings(address=scheduler)).client()
    assert caught.value.field == "GEOETL_DASK__ADDRESS"


def test_in_jupyterhub_the_link_goes_through_the_proxy_of_its_user(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/jo/")
    cluster = Cluster(DaskSettings(address=scheduler))
    with a_worker(scheduler, TMPDIR=str(tmp_path)):
        made = cluster.client()
        assert made is cluster.client()
        assert cluster.dashboard is not None
        assert cluster.dashboard.link == cluster.dashboard.url.replace("http://127.0.0.1:", "/user/jo/proxy/")
        cluster.close()


def test_an_address_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployments, "CONNECT_TIMEOUT_S", 0.3)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Unavailable, match="The Dask scheduler does not answer"):
            Cluster(DaskSettings(address=address)).client()


def test_an_address_without_encryption_on_another_machine_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployments, "CONNECT_TIMEOUT_S", 0.3)
    with pytest.warns(UserWarning, match="without encryption"), pytest.raises(Unavailable):
        Cluster(DaskSettings(address="tcp://0.0.0.0:1")).client()


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    paths = dict.fromkeys(("tls_ca", "tls_cert", "tls_key"), tmp_path / "none.pem")
    with pytest.raises(ConfigurationError, match="no file where GEOETL_DASK__TLS_CA says"):
        Cluster(DaskSettings.model_validate({"address": "tls://127.0.0.1:1", **paths})).client()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"address": "127.0.0.1:8786"}, "it is local, ssh, gateway, tcp://HOST:PORT or tls://HOST:PORT"),
        ({"address": "tcp://127.0.0.1"}, "tcp://HOST:PORT"),
        ({"address": "tcp://127.0.0.1:many"}, "tcp://HOST:PORT"),
        ({"address": "tls://127.0.0.1:8786"}, "tls:// needs tls_ca, tls_cert and tls_key"),
        ({"address": "local", "tls_ca": "ca.pem"}, "go together"),
        ({"address": "ssh", "hosts": ["a"]}, "ssh needs hosts"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load_settings(dask=settings)


# -- that need a further package ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "settings"),
    [
        ("cryptography", {"address": "local"}),
        ("asyncssh", {"address": "ssh", "hosts": ("127.0.0.1", "127.0.0.1")}),
        ("dask-gateway", {"address": "gateway"}),
    ],
)
def test_a_package_that_is_not_installed_is_named(
    package: str, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)
    with pytest.raises(ConfigurationError, match=f"needs the package {package}") as caught:
        Cluster(DaskSettings.model_validate(settings)).client()
    assert caught.value.hint == f"Install it: pip install {package}"


def test_a_cluster_on_other_hosts_has_to_be_encrypted() -> None:
    with pytest.raises(ConfigurationError, match="has to be encrypted"):
        Cluster(DaskSettings(address="ssh", hosts=("one.example.org", "two.example.org"))).client()


def test_a_cluster_by_ssh_does_what_one_here_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("asyncssh") is None:
        missing("asyncssh", f"{INSTALLED} asyncssh")
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Security.temporary()
    certificates = {"tls_ca": made.tls_ca_file, "tls_cert": made.tls_client_cert, "tls_key": made.tls_client_key}
    for name, pem in certificates.items():
        (tmp_path / name).write_text(str(pem))
    paths = {name: tmp_path / name for name in certificates}
    settings = DaskSettings.model_validate({"address": "ssh", "hosts": ("127.0.0.1", "127.0.0.1"), **paths})
    with ssh_to_here(tmp_path):
        assert_it_works(settings, address="tls://")


def test_a_dask_gateway_that_is_not_there_is_told() -> None:
    if find_spec("dask_gateway") is None:
        missing("dask-gateway", f"{INSTALLED} dask-gateway")
    with pytest.raises(ConfigurationError, match="Where dask-gateway is, is not set"):
        Cluster(DaskSettings(address="gateway")).client()
    with pytest.raises(Unavailable, match="dask-gateway gave no cluster"):
        Cluster(DaskSettings(address="gateway", gateway="http://127.0.0.1:1")).client()


def test_a_cluster_from_dask_gateway_does_what_one_here_does(tmp_path: Path) -> None:
    if find_spec("dask_gateway") is None or find_spec("dask_gateway_server") is None:
        missing("dask-gateway with its server", f"{INSTALLED} dask-gateway dask-gateway-server")
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    (tmp_path / "configuration.py").write_text(
        "import sys\n"
        'c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"\n'
        f'c.DaskGateway.address = "127.0.0.1:{ports[0]}"\n'
        f'c.Proxy.address = "127.0.0.1:{ports[1]}"\n'
        'c.ClusterConfig.scheduler_cmd = [sys.executable, "-m", "dask", "scheduler"]\n'
        'c.ClusterConfig.worker_cmd = [sys.executable, "-m", "dask", "worker"]\n'
    )
    command = [sys.executable, "-m", "dask_gateway_server", "-f", "configuration.py"]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{ports[1]}"
        wait_until_it_answers(address, "/api/health")
        settings = DaskSettings(address="gateway", gateway=address, workers=1)
        assert_it_works(settings, address="tls://")
    finally:
        server.terminate()
        server.wait()


def assert_it_works(settings: DaskSettings, *, address: str) -> None:
    """Check that a cluster computes, is encrypted, shows itself, and ends."""
    cluster = Cluster(settings)
    made = cluster.client()
    assert made is not None
    assert str(made.scheduler_info(n_workers=0)["address"]).startswith(address)
    assert cluster.dashboard is not None
    assert cluster.dashboard.url.startswith("http://127.0.0.1:")
    outcomes = dict(pair for some in fan_out(made, "sqrt", Attempt(sqrt), list(range(100)), settings) for pair in some)
    assert outcomes == {number: sqrt(number) for number in range(100)}
    cluster.close()
    assert made.status == "closed"
