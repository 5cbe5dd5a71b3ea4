"""Has Azure Data Factory copy: between storage accounts in the cloud, without the bytes passing through this machine.

The pipeline is in ``deploy/azure/data-factory``. It is given the place of a list in the internal zone, which only
geoetl and the factory read; each line of it is an object that is to be copied. What the factory cannot copy as it
should goes through this machine.
"""

import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from geoetl.core.errors import ConfigurationError, Conflict, GeoetlError, NotFound, Unavailable
from geoetl.core.settings import DataFactorySettings, PublishSettings
from geoetl.publish.copiers.data_factory_client import CANCELLED, ENDED, SUCCEEDED, DataFactory, Failure
from geoetl.publish.copiers.data_factory_list import Row, account_of, batches, is_azure, place_of, row_of
from geoetl.publish.copiers.objects import ObjectsCopier
from geoetl.publish.copiers.protocol import Tell, Transfer
from geoetl.store.contents import as_ours, gone, listed
from geoetl.store.origins import Origin, Origins
from geoetl.store.side_by_side import side_by_side
from geoetl.store.staging import Staging, area_at
from geoetl.store.zones import INCOMING, Zone

#: Where the lists are put, below ``.incoming`` in the internal zone.
LISTS = "data-factory"
# How often it is looked after a run: at first often, for the short ones, later seldom.
FIRST_POLL_S = 2.0
LONGEST_POLL_S = 20.0
#: A run that takes longer is ended.
LIMIT_S = 12 * 3600.0
#: How long it is waited for a run that was told to end.
ENDING_S = 180.0
# Requests that are made side by side.
_REQUESTS = 16
_SETTING = "GEOETL_PUBLISH__DATA_FACTORY__"
_EXTRA = "geoetl[azure]"


class DataFactoryCopier:
    """Copies by runs of a pipeline, of up to 5,000 objects each, one after the other.

    What the factory is not asked to copy: sources outside of the storage account of the internal zone, for which it has
    no linked service, and those whose media type differs from the one to be served, as it takes the type along.

    Args:
        origins: Finds what is copied.
        factory: Runs the pipeline.
        pipeline: Its name.
        has_folders: The factory reaches the folders of file zones too, by a self-hosted integration runtime and
            datasets of its own. The container is empty then, and a folder is an absolute path.
        first_poll_s: How soon it is looked after a run, seconds.
        limit_s: How long a run may take, seconds.
        ending_s: How long it is waited for a run that was told to end, seconds.
    """

    def __init__(
        self,
        origins: Origins,
        factory: DataFactory,
        pipeline: str,
        *,
        has_folders: bool = False,
        first_poll_s: float = FIRST_POLL_S,
        limit_s: float = LIMIT_S,
        ending_s: float = ENDING_S,
    ) -> None:
        self.origins = origins
        self.pipeline = pipeline
        self._has_folders = has_folders
        self._first_poll_s = first_poll_s
        self._limit_s = limit_s
        self._ending_s = ending_s
        self._cancelled = threading.Event()
        self._factory = replace(factory, pause=self._pause)
        # Ending a run goes on although the copy was cancelled.
        self._patient_factory = factory
        self._here: ObjectsCopier | None = None

    @classmethod
    def make(cls, origins: Origins, settings: PublishSettings) -> "DataFactoryCopier":
        """Return a copier that signs in with the managed identity of this machine, or whatever else is found there.

        Raises:
            ConfigurationError: A setting is missing, or the packages that it needs are.
        """
        return cls(origins, _connect(settings.data_factory), settings.data_factory.pipeline)

    def bring(self, transfers: Sequence[Transfer], staging: Staging, tell: Tell) -> None:
        """Bring all of them; what is at a target already is replaced.

        Raises:
            ConfigurationError: A zone does not lie in Azure, or the factory may not do what it is asked to.
            NotFound: A source is gone.
            OutsideAllowedRoots: A source lies where nothing may be read.
            Unavailable: The factory or a store cannot be reached, or a run takes too long.
            Conflict: It was told to end, here or in Azure.
        """
        try:
            self._check_zones(staging)
            rows, through_here = self._divided(transfers, staging)
            self._end_what_was_left(staging)
            done, done_bytes = 0, 0

            def tell_more(objects: int, size: int) -> None:
                tell(done + objects, done_bytes + size)

            for batch in batches(rows):
                self._run(batch, staging, tell_more)
                done, done_bytes = done + len(batch), done_bytes + sum(row.transfer.bytes for row in batch)
            if through_here:
                self._here = ObjectsCopier(self.origins)
                self._pause(0)  # told to end before there was somebody else to tell it to
                self._here.bring(through_here, staging, tell_more)
        finally:
            self._here = None
            self._cancelled.clear()

    def cancel(self) -> None:
        """End what `bring` does in another thread, and the run in Azure; without one, the next `bring` ends at once."""
        self._cancelled.set()
        if (here := self._here) is not None:
            here.cancel()

    def _pause(self, seconds: float) -> None:
        if self._cancelled.wait(seconds):
            raise Conflict("The copy was cancelled.", hint="Run it again: what has arrived is not copied again.")

    def _run(self, batch: Sequence[Row], staging: Staging, tell: Tell) -> None:
        """Have a list of objects copied by one run of the pipeline."""
        name = f"{uuid.uuid4().hex}.json"
        lists = area_at(self.origins.zones.internal, f"{INCOMING}/{LISTS}")
        transfers = [row.transfer for row in batch]
        lists.write(name, b"\n".join(row.json for row in batch), "application/json")
        try:
            container, folder = place_of(lists.zone, lists.key)
            given = {"list_container": container, "list_folder": folder, "list_name": name, "staging": staging.key}
            self._pause(0)
            run_id = self._factory.begin(self.pipeline, given)
            try:
                status = self._follow(run_id, transfers, staging, tell)
            except BaseException:
                # Else it would go on writing. That it cannot be ended either says nothing new.
                with suppress(GeoetlError):
                    self._end(run_id)
                raise
            if status == CANCELLED:
                raise Conflict(
                    "The copy was cancelled in Azure Data Factory.",
                    hint="Run it again: what has arrived is not copied again.",
                )
            if status != SUCCEEDED:
                raise _failed(self._factory.failures(run_id))
            tell(len(transfers), sum(one.bytes for one in transfers))
        finally:
            lists.discard([name])

    def _follow(self, run_id: str, transfers: Sequence[Transfer], staging: Staging, tell: Tell) -> str:
        """Wait until a run is over and return its status; tell meanwhile what has arrived."""
        deadline, pause_s, arrived = time.monotonic() + self._limit_s, self._first_poll_s, (0, 0)
        while (status := self._factory.status(run_id)) not in ENDED:
            sizes = staging.area.sizes()
            there = [one.bytes for one in transfers if sizes.get(one.target) == one.bytes]
            if (len(there), sum(there)) > arrived:
                arrived = len(there), sum(there)
                tell(*arrived)
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"The copy in Azure Data Factory was not over after {self._limit_s / 3600:,.1f} hours.",
                    hint="Look at the run in the monitor of the Data Factory, then run it again.",
                )
            self._pause(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_POLL_S)
        return status

    def _end_what_was_left(self, staging: Staging) -> None:
        """End the runs of a process that is gone: nobody else brings anything to the same place at the same time."""
        for run_id in self._factory.under_way(self.pipeline, {"staging": staging.key}):
            self._end(run_id)

    def _end(self, run_id: str) -> None:
        """End a run, and wait until it writes no more."""
        factory, deadline = self._patient_factory, time.monotonic() + self._ending_s
        factory.cancel(run_id)
        while factory.status(run_id) not in ENDED:
            if time.monotonic() > deadline:
                raise Unavailable(
                    "A run in Azure Data Factory does not end although it was cancelled.",
                    hint="Look at it in the monitor of the Data Factory, then run it again.",
                )
            factory.pause(self._first_poll_s)

    def _check_zones(self, staging: Staging) -> None:
        for zone in (self.origins.zones.internal, staging.zone):
            if not (self._has_folders if zone.root else is_azure(zone.store)):
                raise ConfigurationError(
                    f"Azure Data Factory does not reach the {zone.name} zone: it does not lie in Azure.",
                    hint="Publish with GEOETL_PUBLISH__COPIER=objects, which copies through this machine.",
                    field="GEOETL_PUBLISH__COPIER",
                )

    def _divided(self, transfers: Sequence[Transfer], staging: Staging) -> tuple[list[Row], list[Transfer]]:
        """Return what the factory is to copy, and what goes through this machine."""
        rows: dict[str, Row] = {}

        def look(transfer: Transfer) -> None:
            self._pause(0)
            origin = self.origins.find(transfer.source)
            if self._is_copied_rightly(origin, transfer, staging.zone):
                rows[transfer.target] = row_of(origin, transfer, staging)

        side_by_side(look, transfers, _REQUESTS)
        within = [rows[one.target] for one in transfers if one.target in rows]
        return within, [one for one in transfers if one.target not in rows]

    def _is_copied_rightly(self, origin: Origin, transfer: Transfer, target: Zone) -> bool:
        """Tell whether the factory reaches a source, and would give it the right media type.

        Raises:
            NotFound: There is no such file or object.
            Unavailable: The store cannot be asked.
        """
        if origin.path is not None:
            if not origin.path.is_file():
                raise gone(transfer.target)
            return self._has_folders and target.root is not None
        import obstore

        ours = self.origins.zones.internal
        if ours.root or not is_azure(origin.store) or account_of(origin.store) != account_of(ours.store):
            return False
        with as_ours(transfer.target):
            found = obstore.get(origin.store, origin.key, options={"head": True})
        return bool(target.root) or found.attributes.get("Content-Type") == transfer.media_type


def _connect(settings: DataFactorySettings) -> DataFactory:
    """Return the factory of the settings.

    Raises:
        ConfigurationError: A setting is missing, or a package.
    """
    given = {
        "subscription_id": settings.subscription_id or "",
        "resource_group": settings.resource_group or "",
        "factory_name": settings.factory_name or "",
    }
    for name, value in given.items():
        if not value:
            raise ConfigurationError(
                f"To publish with Azure Data Factory, the setting {_SETTING}{name.upper()} is needed.",
                hint="Set it, or publish with GEOETL_PUBLISH__COPIER=objects.",
                field=f"{_SETTING}{name.upper()}",
            )
    try:
        from azure.core.pipeline.policies import SansIOHTTPPolicy
        from azure.identity import DefaultAzureCredential
        from azure.mgmt.datafactory import DataFactoryManagementClient
    except ImportError:
        raise ConfigurationError(
            f"To publish with Azure Data Factory, the packages of {_EXTRA} are needed.",
            hint=f"Install them: pip install '{_EXTRA}'.",
            field="GEOETL_PUBLISH__COPIER",
        ) from None
    client = DataFactoryManagementClient(
        DefaultAzureCredential(),
        given["subscription_id"],
        # `DataFactory` asks again itself: the client would begin a run twice.
        retry_total=0,
        # It would log every request, each with the subscription.
        http_logging_policy=SansIOHTTPPolicy(),
        connection_timeout=10,
        read_timeout=60,
    )
    return DataFactory(client, given["resource_group"], given["factory_name"])


def _failed(failures: Sequence[Failure]) -> GeoetlError:
    """Return what went wrong in a run, as far as it is known."""
    targets = {one.target for one in failures if one.target}
    codes = ", ".join(sorted({one.code for one in failures if one.code}))
    what = listed(targets) if targets else "what it was told to"
    said = f"Azure Data Factory could not copy {what}{f': {codes}' if codes else ''}."
    if any(_is_missing(one.code) for one in failures if one.target):
        missing = {one.target for one in failures if one.target and _is_missing(one.code)}
        return NotFound(f"{listed(missing)} is gone.", hint="Make it again with its pipeline, then submit it anew.")
    if any(_is_forbidden(one.code) for one in failures):
        return ConfigurationError(
            said,
            hint="Give the managed identity of the Data Factory its roles in both storage accounts: see the README in "
            "deploy/azure/data-factory.",
        )
    return Unavailable(
        said,
        hint="Look at the run in the monitor of the Data Factory, then run it again: what has arrived is not copied "
        "again.",
    )


def _is_missing(code: str) -> bool:
    return "NotExist" in code or "NotFound" in code


def _is_forbidden(code: str) -> bool:
    return any(word in code for word in ("Forbidden", "Unauthorized", "AuthorizationFail", "PermissionMismatch"))
