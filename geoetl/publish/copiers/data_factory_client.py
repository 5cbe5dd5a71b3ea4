"""Runs of a pipeline of Azure Data Factory: begin, follow and end them, over its REST interface (version 2018-06-01).

What is asked is asked again when the service is busy or does not answer. A run is begun once all the same: whether the
one whose answer was lost has begun is looked up by what it was given.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import ConfigurationError, GeoetlError, Unavailable

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError
    from azure.mgmt.datafactory import DataFactoryManagementClient

SUCCEEDED, FAILED, CANCELLED = "Succeeded", "Failed", "Cancelled"
ENDED = frozenset({SUCCEEDED, FAILED, CANCELLED})
_UNDER_WAY = ["Queued", "InProgress"]
#: How often a question is asked that is not answered.
ATTEMPTS = 6
#: A service that wants to be left alone for longer is as good as away, seconds.
LONGEST_PAUSE_S = 60.0
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
# Runs that were begun so long before are looked through; none of ours is under way longer (`data_factory.LIMIT_S`).
_LOOK_BACK = timedelta(days=1)
# The clock of the service may be ahead of ours.
_CLOCKS = timedelta(minutes=15)
_CODE = re.compile(r"ErrorCode=(\w+)")


@dataclass(frozen=True)
class Failure:
    """What became of an activity of a run that failed.

    Attributes:
        activity: Its name in the pipeline.
        target: What it was to copy, as its user property ``target`` says; empty for another activity.
        code: What the service calls the error: ``UserErrorSourceBlobNotExist``.
        is_of_service: The service did wrong, not what it was given; it may succeed later.
    """

    activity: str
    target: str
    code: str
    is_of_service: bool


@dataclass(frozen=True)
class DataFactory:
    """The runs of a factory.

    Args:
        client: Microsoft's client.
        resource_group: That the factory is in.
        name: Of the factory.
        pause: Waits for seconds.
        backoff_s: How long after the first question that was not answered, seconds; each time twice as long.
    """

    client: "DataFactoryManagementClient"
    resource_group: str
    name: str
    pause: Callable[[float], object] = time.sleep
    backoff_s: float = 2.0

    def begin(self, pipeline: str, parameters: Mapping[str, str]) -> str:
        """Begin a run and return its id.

        Args:
            pipeline: Name of the pipeline.
            parameters: What it is given; no two runs are given the same, unless the second is to be the first.

        Raises:
            ConfigurationError: There is no such pipeline, or we may not run it.
            Unavailable: The service cannot be reached.
        """

        def create() -> str:
            made = self.client.pipelines.create_run(
                self.resource_group, self.name, pipeline, parameters=dict(parameters)
            )
            return str(made.run_id)

        def lost() -> str | None:
            return next(self._runs(parameters, {"PipelineName": [pipeline]}), None)

        return self._ask(create, lost)

    def status(self, run_id: str) -> str:
        """Return the status of a run: one of `ENDED`, or else it is under way.

        Raises:
            ConfigurationError, Unavailable: See `begin`.
        """
        found = self._ask(lambda: self.client.pipeline_runs.get(self.resource_group, self.name, run_id))
        return str(found.status)

    def under_way(self, pipeline: str, parameters: Mapping[str, str]) -> list[str]:
        """Return the ids of the runs of a pipeline that were given these parameters, among others, and are not over.

        Raises:
            ConfigurationError, Unavailable: See `begin`.
        """
        return list(self._runs(parameters, {"PipelineName": [pipeline], "Status": _UNDER_WAY}))

    def failures(self, run_id: str) -> list[Failure]:
        """Return what failed in a run, without the messages of the service: they tell where things lie.

        Raises:
            ConfigurationError, Unavailable: See `begin`.
        """
        activities = self._pages(
            lambda asked: self.client.activity_runs.query_by_pipeline_run(
                self.resource_group, self.name, run_id, asked
            ),
            {"Status": [FAILED]},
        )
        return [_failure(activity) for activity in activities]

    def cancel(self, run_id: str) -> None:
        """Ask that a run ends; one that is over stays as it is.

        Raises:
            ConfigurationError, Unavailable: See `begin`.
        """

        def end() -> None:
            from azure.core.exceptions import HttpResponseError

            try:
                self.client.pipeline_runs.cancel(self.resource_group, self.name, run_id, is_recursive=True)
            except HttpResponseError as error:
                # It is over, which is all that is wanted; the service has said so in different ways.
                if error.status_code not in (400, 409) or self.status(run_id) not in ENDED:
                    raise

        self._ask(end)

    def _runs(self, parameters: Mapping[str, str], wanted: Mapping[str, list[str]]) -> Iterator[str]:
        """Yield the ids of runs that were given these parameters, among others."""
        runs = self._pages(
            lambda asked: self.client.pipeline_runs.query_by_factory(self.resource_group, self.name, asked), wanted
        )
        return (str(run.run_id) for run in runs if parameters.items() <= (run.parameters or {}).items())

    def _pages(self, query: Callable[[Any], Any], wanted: Mapping[str, list[str]]) -> Iterator[Any]:
        """Yield what is found, page by page."""
        from azure.mgmt.datafactory.models import RunFilterParameters, RunQueryFilter

        now, token = datetime.now(UTC), None
        while True:
            asked = RunFilterParameters(
                last_updated_after=now - _LOOK_BACK,
                last_updated_before=now + _CLOCKS,
                filters=[
                    RunQueryFilter(
                        operand=operand, operator="In" if len(values) > 1 else "Equals", values_property=values
                    )
                    for operand, values in wanted.items()
                ],
                continuation_token=token,
            )
            found = self._ask(lambda asked=asked: query(asked))  # type: ignore[misc]
            yield from found.value
            token = found.continuation_token
            if not token:
                return

    def _ask[T](self, question: Callable[[], T], lost: Callable[[], T | None] = lambda: None) -> T:
        """Ask until there is an answer.

        Args:
            question: Asks.
            lost: After a question that may have been heard although no answer came: returns what it was, or None.

        Raises:
            ConfigurationError: The service refuses.
            Unavailable: It does not answer.
        """
        from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

        for attempt in range(1, ATTEMPTS + 1):
            pause_s, was_heard = self.backoff_s * 2 ** (attempt - 1), True
            try:
                return question()
            except ClientAuthenticationError:
                raise _not_signed_in() from None
            except HttpResponseError as error:
                if error.status_code not in _BUSY:
                    raise _refused(error) from None
                was_heard = error.status_code != 429
                pause_s = _retry_after_s(error) or pause_s
            except AzureError:  # the connection broke
                pass
            if attempt == ATTEMPTS or pause_s > LONGEST_PAUSE_S:
                break
            self.pause(pause_s)
            if was_heard and (answer := lost()) is not None:
                return answer
        raise Unavailable(
            "Azure Data Factory does not answer.", hint="Run it again: what has arrived is not copied again."
        )


def _failure(activity: Any) -> Failure:
    error, told = activity.error or {}, activity.get("userProperties") or {}
    # The code in the message is the more exact one; the other is often a number.
    code = _CODE.search(str(error.get("message", "")))
    return Failure(
        activity=str(activity.activity_name),
        target=str(told.get("target", "")),
        code=code[1] if code else str(error.get("errorCode", "")),
        is_of_service=error.get("failureType") == "SystemError",
    )


def _retry_after_s(error: "HttpResponseError") -> float | None:
    """Return how long the service wants to be left alone, seconds; None where it does not say so."""
    from azure.core.pipeline.policies import RetryPolicy

    told = getattr(error.response, "headers", {}).get("Retry-After", "")
    return RetryPolicy().parse_retry_after(told) if told else None


def _not_signed_in() -> ConfigurationError:
    return ConfigurationError(
        "Azure does not let this process sign in to the Data Factory.",
        hint="Give the machine a managed identity, or sign in with `az login`; "
        "see the README in deploy/azure/data-factory.",
    )


def _refused(error: "HttpResponseError") -> GeoetlError:
    if error.status_code == 403:
        return ConfigurationError(
            "Whom this process is signed in as may not run pipelines of the Data Factory.",
            hint="Give it the role Data Factory Contributor; see the README in deploy/azure/data-factory.",
        )
    if error.status_code == 404:
        return ConfigurationError(
            "There is no such Data Factory, or no such pipeline in it.",
            hint="Check the settings GEOETL_PUBLISH__DATA_FACTORY__…, and deploy the pipeline: "
            "see the README in deploy/azure/data-factory.",
            field="GEOETL_PUBLISH__DATA_FACTORY__PIPELINE",
        )
    return ConfigurationError(
        f"Azure Data Factory refuses what it is asked: status {error.status_code}.",
        hint="Deploy the pipeline of this version anew: see the README in deploy/azure/data-factory.",
    )
