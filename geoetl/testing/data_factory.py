"""Azure Data Factory on this machine: it speaks the REST interface, copies what it is told to, and plays faults.

Between folders and containers alike, as the list says; it reaches Blob Storage, or Azurite, by the environment::

    with LocalDataFactory() as azure:
        copier = DataFactoryCopier(origins, azure.factory(), azure.pipeline, has_folders=True, first_poll_s=0.01)
        azure.play(RunFault.FLIPPED)
        azure.misbehave(Call.STATUS, Fault.STATUS, status=429, retry_after="0", times=2)
        copier.bring(transfers, staging, tell)
        assert azure.runs[0].status == "Succeeded"

Whoever asks has to be signed in, with the credential of `client`; nobody else is asked who that is.
"""

import json
import threading
import time
import uuid
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any

from geoetl.publish.copiers.data_factory_client import DataFactory
from geoetl.testing.data_factory_runs import PlayedRun, RunFault
from geoetl.testing.upstream import Asked, Fault, LocalUpstream, Reply

if TYPE_CHECKING:
    from azure.mgmt.datafactory import DataFactoryManagementClient

__all__ = ["Call", "Fault", "LocalDataFactory", "PlayedRun", "RunFault"]

_SUBSCRIPTION = "00000000-0000-0000-0000-00000000da7a"
_GROUP = "geo"
_NAME = "geo-factory"
_VERSION = "2018-06-01"
# Small, so that more than one page is asked for.
_PAGE = 25


class Call(StrEnum):
    """What the service is asked."""

    CREATE = "createRun"
    FIND = "queryPipelineRuns"
    STATUS = "status"
    ACTIVITIES = "queryActivityruns"
    CANCEL = "cancel"


class LocalDataFactory:
    """A factory with one pipeline, on a loopback port of its own, in threads.

    Args:
        pipeline: Name of the pipeline.

    Attributes:
        source: The server, with all requests that came.
        runs: All runs, in their order.
    """

    def __init__(self, pipeline: str = "geoetl-publish") -> None:
        self.pipeline = pipeline
        self.source = LocalUpstream()
        self.runs: list[PlayedRun] = []
        self._token = uuid.uuid4().hex
        self._faults: list[tuple[RunFault, str]] = []
        self._misbehaviours: dict[Call, dict[str, Any]] = {}
        self._answers_lost = 0
        self._lock = threading.Lock()
        root = (
            f"/subscriptions/{_SUBSCRIPTION}/resourceGroups/{_GROUP}/providers/Microsoft.DataFactory/factories/{_NAME}"
        )
        self._root = root
        self._serve(f"{root}/pipelines/{pipeline}/createRun", self._create)
        self._serve(f"{root}/queryPipelineRuns", self._find)

    def __enter__(self) -> "LocalDataFactory":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, and the runs that are under way."""
        for run in self.runs:
            run.cancel()
        self.source.close()

    # -- for whoever asks ----------------------------------------------------------------------------------------------

    def client(self, token: str | None = None) -> "DataFactoryManagementClient":
        """Return Microsoft's client of it; with another token than its own it is not let in."""
        from azure.core.credentials import AccessToken
        from azure.core.pipeline.policies import SansIOHTTPPolicy
        from azure.mgmt.datafactory import DataFactoryManagementClient

        given = token or self._token

        class Known:
            """Whom the service knows."""

            def get_token(self, *scopes: str, **options: Any) -> AccessToken:
                return AccessToken(given, int(time.time()) + 3600)

        class Signed(SansIOHTTPPolicy[Any, Any]):
            """Signs requests as the client does, over HTTP too."""

            def on_request(self, request: Any) -> None:
                request.http_request.headers["Authorization"] = f"Bearer {given}"

        return DataFactoryManagementClient(
            Known(),
            _SUBSCRIPTION,
            base_url=self.source.url(""),
            authentication_policy=Signed(),
            http_logging_policy=SansIOHTTPPolicy(),
            retry_total=0,
        )

    def factory(self, *, name: str = _NAME, token: str | None = None) -> DataFactory:
        """Return what a copier asks; it does not wait long."""
        return DataFactory(self.client(token), _GROUP, name, backoff_s=0.001)

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    def play(self, fault: RunFault, *, code: str = "UserErrorForbidden", times: int = 1) -> None:
        """Let the next runs go wrong.

        Args:
            fault: How.
            code: What a copy fails with (FAILED); one that begins with ``System`` is the fault of the service.
            times: How many runs.
        """
        with self._lock:
            self._faults += [(fault, code)] * times

    def stop_playing(self) -> None:
        """Let nothing go wrong with the runs that are begun from now on."""
        with self._lock:
            self._faults.clear()

    def misbehave(self, call: Call, fault: Fault, **told: Any) -> None:
        """Let the service answer wrongly, see `LocalUpstream.misbehave`; of calls for one run, those of the next."""
        if call is Call.CREATE:
            self.source.misbehave(f"{self._root}/pipelines/{self.pipeline}/createRun", fault, **told)
        elif call is Call.FIND:
            self.source.misbehave(f"{self._root}/queryPipelineRuns", fault, **told)
        else:
            self._misbehaviours[call] = {"fault": fault, **told}

    def lose_answers(self, times: int = 1) -> None:
        """Begin the next runs, and say nothing."""
        self._answers_lost = times

    def asked(self, call: Call) -> int:
        """Return how often something was asked."""
        return sum(_call_of(one) is call for one in list(self.source.requests))

    # -- what it answers -----------------------------------------------------------------------------------------------

    def _serve(self, path: str, answer: Any) -> None:
        def guarded(asked: Asked) -> Any:
            if asked.headers.get("authorization") != f"Bearer {self._token}":
                return _error(401, "AuthenticationFailed")
            if asked.query.get("api-version") != _VERSION:
                return _error(400, "InvalidApiVersionParameter")
            return answer(asked)

        self.source.json(path, guarded)

    def _create(self, asked: Asked) -> Any:
        parameters = json.loads(asked.body or b"{}")
        with self._lock:
            fault, code = self._faults.pop(0) if self._faults else (None, "")
            run = PlayedRun(self.pipeline, parameters, fault, code)
            self.runs.append(run)
            is_lost, self._answers_lost = self._answers_lost > 0, max(self._answers_lost - 1, 0)
        place = f"{self._root}/pipelineruns/{run.run_id}"
        paths = {
            Call.STATUS: (place, lambda asked: run.told()),
            Call.ACTIVITIES: (
                f"{place}/queryActivityruns",
                lambda asked: _page(asked, run.activities, {"Status": "status"}),
            ),
            Call.CANCEL: (f"{place}/cancel", lambda asked: self._cancel(run)),
        }
        for call, (path, answer) in paths.items():
            self._serve(path, answer)
            if told := self._misbehaviours.pop(call, None):
                self.source.misbehave(path, **told)
        run.start()
        return Reply(is_lost=True) if is_lost else {"runId": run.run_id}

    def _cancel(self, run: PlayedRun) -> Any:
        if not run.cancel():
            return _error(400, "PipelineRunNotCancellable")
        return {}

    def _find(self, asked: Asked) -> Any:
        runs = [run.told() for run in list(self.runs)]
        return _page(asked, runs, {"PipelineName": "pipelineName", "Status": "status"})


def _call_of(asked: Asked) -> Call:
    return Call.STATUS if asked.method == "GET" else Call(asked.path.rpartition("/")[2])


def _page(asked: Asked, found: "list[dict[str, Any]]", fields: dict[str, str]) -> dict[str, Any]:
    """Return a page of what fits the filters."""
    body = json.loads(asked.body)
    now = datetime.now(UTC)
    assert datetime.fromisoformat(body["lastUpdatedAfter"]) < now < datetime.fromisoformat(body["lastUpdatedBefore"])
    wanted = [(fields[one["operand"]], one["values"]) for one in body.get("filters", [])]
    fitting = [one for one in list(found) if all(one[field] in values for field, values in wanted)]
    start = int(body.get("continuationToken") or 0)
    more = {"continuationToken": str(start + _PAGE)} if start + _PAGE < len(fitting) else {}
    return {"value": fitting[start : start + _PAGE], **more}


def _error(status: int, code: str) -> Reply:
    # As the service does, with more than whoever asked should be told.
    told = f"The client of subscription '{_SUBSCRIPTION}' may not do this in resource group '{_GROUP}'."
    return Reply(status, {"error": {"code": code, "message": told}})
