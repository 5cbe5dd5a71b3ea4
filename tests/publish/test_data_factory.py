"""Publishing with Azure Data Factory, against a server that speaks its REST interface, copies, and plays faults."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from geoetl.core.errors import ConfigurationError, Conflict, GeoetlError, NotFound, Unavailable
from geoetl.core.settings import DataFactorySettings, PublishSettings
from geoetl.publish.copiers import data_factory_list as lists
from geoetl.publish.copiers import installed_copiers
from geoetl.publish.copiers.data_factory import LISTS, DataFactoryCopier
from geoetl.publish.copiers.data_factory_client import ATTEMPTS
from geoetl.publish.copiers.protocol import Transfer
from geoetl.publish.delivery import Delivered, Delivery
from geoetl.publish.model import Manifest, ManifestObject
from geoetl.store.staging import area_at
from geoetl.store.zones import INCOMING
from geoetl.testing.copiers import CopyRehearsal, contents, rehearsal
from geoetl.testing.data_factory import Call, Fault, LocalDataFactory, RunFault
from tests.azurite import Azurite


@pytest.fixture
def azure() -> Iterator[LocalDataFactory]:
    with LocalDataFactory() as azure:
        yield azure


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[CopyRehearsal]:
    with rehearsal(tmp_path, (tmp_path / "internal").as_uri(), (tmp_path / "external").as_uri()) as copy:
        yield copy


@pytest.fixture
def given(copy: CopyRehearsal) -> list[Transfer]:
    return [copy.make(f"part-{number}.tif", bytes([number]) * 1000) for number in range(6)]


def copier(copy: CopyRehearsal, azure: LocalDataFactory, **told: float) -> DataFactoryCopier:
    return DataFactoryCopier(
        copy.origins, azure.factory(), azure.pipeline, has_folders=True, **{"first_poll_s": 0.005, **told}
    )


def failure(copy: CopyRehearsal, azure: LocalDataFactory, given: Sequence[Transfer], **told: float) -> GeoetlError:
    """Bring, and return what went wrong; it tells no places."""
    with pytest.raises(GeoetlError) as caught:
        copy.bring(copier(copy, azure, **told), given)
    said = f"{caught.value} {caught.value.problem()} {caught.value.__cause__}"
    for secret in ("/secret/", str(copy.folder.parent), "00000000-0000", "resource group", "://"):
        assert secret not in said
    return caught.value


def cancelled_on_the_way(
    copy: CopyRehearsal, azure: LocalDataFactory, bringing: DataFactoryCopier, given: Sequence[Transfer]
) -> GeoetlError:
    """Bring in another thread, cancel when a run is followed, and return what that ended with."""
    ended: list[GeoetlError] = []

    def bring() -> None:
        try:
            copy.bring(bringing, given)
        except GeoetlError as error:
            ended.append(error)

    thread = threading.Thread(target=bring)
    thread.start()
    while thread.is_alive() and not azure.asked(Call.STATUS):
        thread.join(0.005)
    bringing.cancel()
    thread.join()
    return ended[0]


def left(copy: CopyRehearsal) -> dict[str, int]:
    """Return what lists there are."""
    return area_at(copy.origins.zones.internal, f"{INCOMING}/{LISTS}").sizes()


# -- what it begins ----------------------------------------------------------------------------------------------------


def test_one_run_copies_all_and_is_told_where_the_list_lies(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]
) -> None:
    copy.bring(copier(copy, azure), given)
    (run,) = azure.runs
    assert run.status == "Succeeded"
    assert sorted(run.copied) == sorted(one.target for one in given)
    assert run.parameters["staging"] == "publish/rehearsal"
    assert copy.arrived == contents(given)
    assert not left(copy)


def test_more_than_a_lookup_returns_is_several_lists(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MAX_ROWS", 4)
    copy.bring(copier(copy, azure), given)
    assert [len(run.copied) for run in azure.runs] == [4, 2]
    assert copy.told[-1] == (6, 6000) and copy.told == sorted(copy.told)
    assert copy.arrived == contents(given)


def test_a_list_stays_within_what_a_lookup_returns(copy: CopyRehearsal) -> None:
    rows = [lists.Row(copy.transfer("internal://a", "a", b""), b"x" * 1000) for _ in range(6000)]
    batches = list(lists.batches(rows))
    assert [row for batch in batches for row in batch] == rows
    assert max(len(batch) for batch in batches) <= 5000
    assert max(sum(len(row.json) + 1 for row in batch) for batch in batches) < 4_000_000
    assert [len(batch) for batch in lists.batches(rows[:1])] == [1]


# -- answers that do not come ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [Call.CREATE, Call.FIND, Call.STATUS])
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault.STATUS, {"status": 429, "retry_after": "0"}),
        (Fault.STATUS, {"status": 500}),
        (Fault.STATUS, {"status": 503}),
        (Fault.CLOSED, {}),
    ],
    ids=["429", "500", "503", "closed"],
)
def test_a_service_that_is_busy_for_a_while_is_asked_again(
    copy: CopyRehearsal,
    azure: LocalDataFactory,
    given: list[Transfer],
    call: Call,
    fault: Fault,
    told: dict[str, int | str],
) -> None:
    azure.misbehave(call, fault, times=ATTEMPTS - 2, **told)
    copy.bring(copier(copy, azure), given)
    assert copy.arrived == contents(given)
    assert len(azure.runs) == 1
    assert azure.asked(call) > ATTEMPTS - 2


@pytest.mark.parametrize("call", [Call.CREATE, Call.STATUS])
def test_a_service_that_stays_away_is_unavailable(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer], call: Call
) -> None:
    azure.play(RunFault.ENDLESS)
    azure.misbehave(call, Fault.STATUS, status=503)
    assert isinstance(failure(copy, azure, given), Unavailable)
    assert not left(copy)
    # Whatever was begun does not go on behind our back.
    assert len(azure.runs) == (call is Call.STATUS)
    for run in azure.runs:
        run.wait()
        assert run.status == "Cancelled"


def test_who_is_told_to_come_back_in_an_hour_does_not_wait(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]
) -> None:
    azure.misbehave(Call.CREATE, Fault.STATUS, status=429, retry_after="3600")
    assert isinstance(failure(copy, azure, given), Unavailable)
    assert azure.asked(Call.CREATE) == 1


def test_a_run_whose_answer_was_lost_is_found_and_not_begun_twice(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]
) -> None:
    azure.play(RunFault.ENDLESS)  # so that it is under way for certain when it is looked for
    azure.lose_answers()
    error = cancelled_on_the_way(copy, azure, copier(copy, azure), given)
    assert len(azure.runs) == 1 and azure.asked(Call.CREATE) == 1
    assert isinstance(error, Conflict)
    assert azure.runs[0].status == "Cancelled"


def test_a_run_whose_answer_was_lost_may_be_over_when_it_is_found(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]
) -> None:
    azure.lose_answers()
    copy.bring(copier(copy, azure), given)
    assert [run.status for run in azure.runs] == ["Succeeded"]
    assert copy.arrived == contents(given)


def test_a_run_that_was_never_begun_is_not_found_and_begun(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]
) -> None:
    azure.misbehave(Call.CREATE, Fault.CLOSED, times=1)
    copy.bring(copier(copy, azure), given)
    assert azure.asked(Call.CREATE) == 2 and len(azure.runs) == 1
    assert copy.arrived == contents(given)


# -- runs that go wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("UserErrorForbidden", ConfigurationError, "roles"),
        ("UserErrorFailedFileOperation", Unavailable, "monitor"),
        ("SystemErrorInternal", Unavailable, "monitor"),
    ],
)
def test_a_run_that_fails_says_what_was_not_copied(
    copy: CopyRehearsal,
    azure: LocalDataFactory,
    given: list[Transfer],
    code: str,
    kind: type[GeoetlError],
    says: str,
) -> None:
    azure.play(RunFault.FAILED, code=code)
    error = failure(copy, azure, given)
    assert isinstance(error, kind)
    assert error.detail == (f"Azure Data Factory could not copy 'part-0.tif', 'part-2.tif', 'part-4.tif': {code}.")
    assert says in (error.hint or "")
    assert not left(copy)
    copy.bring(copier(copy, azure), given)
    assert copy.arrived == contents(given)


def test_of_many_failures_a_few_are_named(copy: CopyRehearsal, azure: LocalDataFactory) -> None:
    many = [copy.make(f"part-{number:03}.tif", b"x") for number in range(80)]
    azure.play(RunFault.FAILED, code="UserErrorWriteFailed")
    assert "'part-004.tif' and 37 more" in failure(copy, azure, many).detail
    assert azure.asked(Call.ACTIVITIES) == 2  # pages


def test_a_source_that_goes_away_meanwhile_is_gone(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]
) -> None:
    azure.play(RunFault.FAILED, code="UserErrorSourceBlobNotExist")
    error = failure(copy, azure, given)
    assert isinstance(error, NotFound) and "part-0.tif" in error.detail


def test_a_run_that_somebody_cancels_in_azure_is_a_conflict(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]
) -> None:
    azure.play(RunFault.CANCELLED)
    error = failure(copy, azure, given)
    assert isinstance(error, Conflict) and "in Azure" in error.detail


def test_a_run_that_does_not_end_is_ended(copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]) -> None:
    azure.play(RunFault.ENDLESS)
    assert isinstance(failure(copy, azure, given, limit_s=0.02), Unavailable)
    assert azure.runs[0].status == "Cancelled"
    assert not left(copy)


def test_a_run_that_cannot_be_ended_is_told_as_the_one_that_took_too_long(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]
) -> None:
    azure.play(RunFault.STUBBORN)
    error = failure(copy, azure, given, limit_s=0.02, ending_s=0.02)
    assert isinstance(error, Unavailable) and "was not over after" in error.detail
    assert azure.runs[0].status == "Canceling"


def test_a_run_is_ended_in_azure_when_the_copy_is_cancelled(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]
) -> None:
    azure.play(RunFault.ENDLESS)
    bringing = copier(copy, azure)
    assert isinstance(cancelled_on_the_way(copy, azure, bringing, given), Conflict)
    assert azure.runs[0].status == "Cancelled"
    assert not left(copy)
    copy.bring(bringing, given)
    assert copy.arrived == contents(given)


def test_what_a_process_that_died_has_left_running_is_ended_first(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]
) -> None:
    azure.play(RunFault.ENDLESS)
    for staging in ("publish/rehearsal", "publish/another"):
        azure.factory().begin(
            azure.pipeline, {"list_container": "", "list_folder": "/gone", "list_name": "a", "staging": staging}
        )
        azure.play(RunFault.ENDLESS)
    azure.stop_playing()
    copy.bring(copier(copy, azure), given)
    assert [run.status for run in azure.runs] == ["Cancelled", "InProgress", "Succeeded"]
    assert copy.arrived == contents(given)


# -- what a copier is not believed -------------------------------------------------------------------------------------


def test_a_bit_that_flips_and_an_object_that_is_left_out_are_seen_by_reading_back(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]
) -> None:
    azure.play(RunFault.FLIPPED)
    copy.bring(copier(copy, azure), given)
    wanted = contents(given)
    assert {name for name, content in copy.arrived.items() if content != wanted[name]} == {"part-0.tif"}
    copy.staging.area.discard(wanted)
    azure.play(RunFault.LEFT_OUT)
    copy.bring(copier(copy, azure), given)
    assert wanted.keys() - copy.arrived.keys() == {"part-0.tif"}


def a_delivery(copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]) -> Callable[[], Delivered]:
    """Return how a release of these objects is delivered, again and again."""
    copy.origins.zones.external.artifacts.database.upgrade()
    objects = tuple(ManifestObject(**vars(one), role="data") for one in given)
    manifest = Manifest(collection="hazards", item="flood", version=1, objects=objects, documents={"flood.json": {}})
    delivery = Delivery(copy.origins.zones.external, copy.origins, copier(copy, azure))
    return lambda: delivery.deliver(manifest, "release-1", lambda objects, size: None)


@pytest.mark.parametrize("fault", [RunFault.FLIPPED, RunFault.LEFT_OUT])
def test_what_arrived_wrong_is_copied_once_more_by_another_run(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer], fault: RunFault
) -> None:
    azure.play(fault)
    delivered = a_delivery(copy, azure, given)()
    assert (delivered.objects, delivered.copied) == (7, 7)
    assert azure.runs[1].copied == ["part-0.tif"]
    public = area_at(copy.origins.zones.external, "hazards/flood/v1")
    assert contents(given).items() <= {name: public.read_back(name) for name in public.sizes()}.items()


@pytest.mark.parametrize("fault", [RunFault.FLIPPED, RunFault.LEFT_OUT, RunFault.FAILED, RunFault.CANCELLED])
def test_what_goes_wrong_again_makes_nothing_public_and_the_next_delivery_goes_on(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer], fault: RunFault
) -> None:
    azure.play(fault, times=2)
    deliver = a_delivery(copy, azure, given)
    with pytest.raises(GeoetlError):
        deliver()
    assert not area_at(copy.origins.zones.external, "hazards").sizes()
    azure.stop_playing()
    assert deliver().resumed > 0


# -- what it may and what it reaches -----------------------------------------------------------------------------------


def test_who_is_not_signed_in_is_told_so(copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]) -> None:
    stranger = DataFactoryCopier(copy.origins, azure.factory(token="another"), azure.pipeline, has_folders=True)
    with pytest.raises(ConfigurationError, match="sign in"):
        copy.bring(stranger, given)


def test_who_may_not_run_it_is_told_which_role_is_needed(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]
) -> None:
    azure.misbehave(Call.CREATE, Fault.STATUS, status=403)
    error = failure(copy, azure, given)
    assert isinstance(error, ConfigurationError) and "Data Factory Contributor" in (error.hint or "")


@pytest.mark.parametrize(("name", "pipeline"), [("no-such-factory", "geoetl-publish"), ("geo-factory", "no-such")])
def test_a_factory_or_pipeline_that_is_not_there_is_told_with_its_setting(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer], name: str, pipeline: str
) -> None:
    bringing = DataFactoryCopier(copy.origins, azure.factory(name=name), pipeline, has_folders=True)
    with pytest.raises(ConfigurationError) as caught:
        copy.bring(bringing, given)
    assert caught.value.field == "GEOETL_PUBLISH__DATA_FACTORY__PIPELINE"


def test_zones_that_do_not_lie_in_azure_are_refused_before_anything_is_asked(
    copy: CopyRehearsal, azure: LocalDataFactory, given: list[Transfer]
) -> None:
    bringing = DataFactoryCopier(copy.origins, azure.factory(), azure.pipeline)
    with pytest.raises(ConfigurationError, match="does not reach the internal zone") as caught:
        copy.bring(bringing, given)
    assert caught.value.field == "GEOETL_PUBLISH__COPIER"
    assert not azure.source.requests


def test_what_the_factory_would_not_copy_rightly_comes_through_this_machine(
    azurite: Azurite, azure: LocalDataFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in azurite.environment.items():
        monkeypatch.setenv(name, value)
    zones = (f"az://{azurite.new_container()}", f"az://{azurite.new_container()}/public")
    with rehearsal(tmp_path, *zones) as copy:
        given = [
            copy.make("in-azure.tif", b"II*\0" * 100, "image/tiff"),
            copy.make("typed-otherwise.tif", b"II*\0" * 50, "application/octet-stream"),
        ]
        given[1] = Transfer(given[1].source, given[1].target, given[1].bytes, given[1].sha256, "image/tiff")
        (copy.folder / "tas.nc").write_bytes(b"CDF")
        given.append(copy.transfer(str(copy.folder / "tas.nc"), "sources/tas.nc", b"CDF", "application/netcdf"))
        copy.bring(DataFactoryCopier(copy.origins, azure.factory(), azure.pipeline, first_poll_s=0.005), given)
        assert azure.runs[0].copied == ["in-azure.tif"]
        assert copy.arrived == contents(given)
        assert [copy.media_type(one.target) for one in given] == ["image/tiff", "image/tiff", "application/netcdf"]
        assert copy.told[-1] == (3, sum(one.bytes for one in given))


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["subscription_id", "resource_group", "factory_name"])
def test_a_setting_that_is_missing_is_named(copy: CopyRehearsal, missing: str) -> None:
    given = {"subscription_id": "s", "resource_group": "g", "factory_name": "f"} | {missing: None}
    settings = PublishSettings(copier="data_factory", data_factory=DataFactorySettings(**given))
    with pytest.raises(ConfigurationError) as caught:
        installed_copiers()["data_factory"](copy.origins, settings)
    assert caught.value.field == f"GEOETL_PUBLISH__DATA_FACTORY__{missing.upper()}"


def test_the_packages_that_are_missing_are_named(copy: CopyRehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    settings = DataFactorySettings(subscription_id="s", resource_group="g", factory_name="f")
    with pytest.raises(ConfigurationError, match="geoetl\\[azure\\]"):
        installed_copiers()["data_factory"](copy.origins, PublishSettings(data_factory=settings))


def test_with_all_settings_there_is_a_copier_and_nobody_is_asked(copy: CopyRehearsal) -> None:
    settings = DataFactorySettings(subscription_id="s", resource_group="g", factory_name="f")
    assert installed_copiers()["data_factory"](copy.origins, PublishSettings(data_factory=settings))


def test_azure_is_loaded_only_by_who_uses_it() -> None:
    code = "import sys, geoetl.publish.copiers; print(*(name for name in sys.modules if name.startswith('azure')))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""
