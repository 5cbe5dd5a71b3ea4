"""Events of ACLED: from an API that is played, with all that it does wrong, and with changes while it is read."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import shapely
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import geoetl
from geoetl.core.errors import Conflict, EmptyDataset, GeoetlError, UnreadableFile, VerificationFailed
from geoetl.datasets.handlers import HANDLERS
from geoetl.datasets.handlers.acled import Acled
from geoetl.datasets.handlers.acled.api import AccountLimited
from geoetl.datasets.handlers.acled.events import SCHEMA, Columns
from geoetl.datasets.handlers.acled.style import event_style
from geoetl.datasets.handlers.acled.sync import SyncIncomplete
from geoetl.datasets.model import Definition, SourceType, UpdateStatus, UpdateStrategy, VersionState
from geoetl.datasets.release import Fetched, PreparedVector, Release
from geoetl.datasets.upstream import CredentialRefused, SourceRefused, SourceUnavailable
from geoetl.datasets.version import ItemProfile, Profile, Version
from geoetl.styles.encoders import ENCODERS
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.testing.datasets import Rehearsal, RequestConformance, read_prepared, rehearsal
from geoetl.testing.upstream import Fault, LocalUpstream
from tests.datasets.acled_api import CREDENTIALS, DELETED, ORDERS, PASSWORD, READ, TOKEN, PlayedAcled, event
from tests.datasets.released import Upkeep

ROOT = Path(__file__).parents[2]


def definition(url: str, **config: Any) -> Definition:
    return Definition(
        dataset_id="acled",
        name="ACLED",
        handler="acled",
        source_type=SourceType.PAGINATED,
        source_url=url,
        source_config=config,
        update_strategy=UpdateStrategy.UPSERT,
        credential_key="ACLED",
        target_table_name="curated_acled",
        license="other",
        attribution="ACLED",
    )


class Keeper:
    """Keeps events current, as the engine does: check, fetch, prepare, serve.

    Attributes:
        api: The source.
        update: Its task has the live version.
        credentials: That are set before the first update.
    """

    def __init__(self, source: LocalUpstream, folder: Path, exits: ExitStack, **config: Any) -> None:
        self.source = source
        self.api = PlayedAcled(source)
        self._folder = folder
        self._exits = exits
        self._begun: Rehearsal | None = None
        self.credentials = CREDENTIALS
        self.config = {"batch_size": 5, **config}
        self.live: Version | None = None
        self.table = pa.table({})

    @property
    def update(self) -> Rehearsal:
        """Give an update."""
        told = definition(self.api.url, **self.config)
        if self._begun is None:
            self._begun = self._exits.enter_context(rehearsal(told, self._folder, credentials=self.credentials))
        return Rehearsal(replace(self._begun.task, definition=told, live=self.live), self._begun.told)

    def check(self) -> Release:
        """Look for news."""
        return Acled().check(self.update.task)

    def fetch(self, release: Release | None = None) -> Fetched:
        """Fetch a release."""
        return Acled().fetch(self.update.task, release or self.check())

    def sync(self, release: Release | None = None) -> pa.Table:
        """Update once, and return what is served then, by key."""
        update = self.update
        release = release or Acled().check(update.task)
        fetched = Acled().fetch(update.task, release)
        (prepared,) = Acled().prepare(update.task, release, fetched)
        assert isinstance(prepared, PreparedVector)
        self.table = read_prepared(update, prepared).sort_by("event_id_cnty")
        self.live = self._served(update, release, fetched, prepared)
        self.forget()
        return self.table

    def forget(self) -> None:
        """Empty the folder of the release, as the engine does in the end."""
        for path in (self._folder / "release").iterdir():
            path.unlink()

    def _served(self, update: Rehearsal, release: Release, fetched: Fetched, prepared: PreparedVector) -> Version:
        number = self.live.number + 1 if self.live else 1
        data = update.task.zone.put(update.task.workspace / prepared.file, f"acled-{number}.parquet", owner="c/i")
        columns = {field.name: str(field.type) for field in self.table.schema}
        rows = self.table.num_rows
        item = ItemProfile(item="i", rows=rows, rows_read=rows, bbox=(0, 0, 1, 1), columns=columns, data=data)
        return Version(
            dataset_id="acled",
            number=number,
            state=VersionState.LIVE,
            source_version=release.source_version,
            stamp=release.stamp,
            based_on=None,
            items=(),
            profile=Profile(items=(item,)),
            changes={},  # type: ignore[arg-type]
            findings=(),
            memo=json.loads(json.dumps(fetched.memo)),
            run_id=None,
            created_at=0,
        )

    def wanted(self) -> pa.Table:
        """Return what the source has, by key."""
        rows = sorted(self.api.events.values(), key=lambda row: str(row["event_id_cnty"]))
        return pa.Table.from_batches([Columns().of(rows)])


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    """Give a source with twelve events on three pages, and who keeps them current."""
    with LocalUpstream() as source, ExitStack() as exits:
        keeper = Keeper(source, tmp_path, exits)
        for number in range(12):
            keeper.api.put(number)
        yield keeper


def is_same(found: pa.Table, wanted: pa.Table) -> bool:
    return bool(found.select(wanted.column_names).equals(wanted))


class TestConformance(RequestConformance):
    handler = Acled
    credentials = CREDENTIALS
    most_requests = 3
    data_paths = (READ,)

    def arrange(self, source: LocalUpstream, folder: Path) -> Definition:
        self.api = PlayedAcled(source)
        for number in range(30):
            self.api.put(number)
        return definition(self.api.url, batch_size=7)

    def change(self, source: LocalUpstream, folder: Path) -> None:
        self.api.now += 1
        self.api.put(99)


# -- what is fetched ---------------------------------------------------------------------------------------------------


def test_the_first_sync_has_all_events_with_their_types(keeper: Keeper) -> None:
    release = keeper.check()
    assert release.is_news and release.stamp.startswith("full:0:")
    assert is_same(keeper.sync(release), keeper.wanted())
    first = keeper.table.slice(0, 1).to_pylist()[0]
    assert (first["event_date"], first["fatalities"], first["latitude"]) == (date(2026, 1, 1), 0, 8.0)
    assert first["timestamp"].timestamp() == keeper.api.now
    assert keeper.table.schema.names[:-1] == SCHEMA.names
    (point,) = shapely.from_wkb(keeper.table.column("geometry").to_numpy()[:1])
    assert (point.x, point.y) == (first["longitude"], first["latitude"])


def test_a_check_of_what_is_unchanged_asks_twice_and_fetches_nothing(keeper: Keeper) -> None:
    keeper.sync()
    before = keeper.source.count(path=READ), keeper.source.count(path=DELETED), keeper.source.count(path=TOKEN)
    release = keeper.check()
    after = keeper.source.count(path=READ), keeper.source.count(path=DELETED), keeper.source.count(path=TOKEN)
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1]
    assert not release.is_news and keeper.live is not None and release.stamp == keeper.live.stamp


def test_only_what_changed_is_asked_for(keeper: Keeper) -> None:
    for number in range(200, 230):
        keeper.api.put(number)
    keeper.sync()
    keeper.config["overlap_hours"] = 0
    keeper.api.now += 60
    keeper.api.put(3, fatalities=40)
    keeper.api.put(77)
    keeper.api.delete(5)
    release = keeper.check()
    assert release.stamp.startswith("quick:1:") and release.about[0].startswith("events added or changed since")
    assert release.about[0].endswith(": 2")
    keeper.source.requests.clear()
    assert is_same(keeper.sync(release), keeper.wanted())
    assert keeper.table.num_rows == 42
    whole = [one.query for one in keeper.source.requests if one.path == READ and "fields" not in one.query]
    assert whole and all("timestamp" in query for query in whole)


def test_what_was_only_deleted_is_news(keeper: Keeper) -> None:
    keeper.sync()
    keeper.api.now += 60
    keeper.api.delete(5)
    release = keeper.check()
    assert release.is_news and release.about[0].startswith("events deleted since")
    assert is_same(keeper.sync(release), keeper.wanted())
    assert not keeper.check().is_news


def test_an_event_that_came_back_after_it_was_deleted_is_there(keeper: Keeper) -> None:
    keeper.sync()
    keeper.api.delete(5)
    keeper.api.now += 60
    keeper.api.put(5, notes="It happened after all.")
    keeper.sync()
    keeper.api.now += 60
    keeper.api.put(6)
    assert is_same(keeper.sync(), keeper.wanted())


def test_events_that_show_late_with_a_second_that_is_known_are_found(keeper: Keeper) -> None:
    keeper.sync()
    keeper.api.put(50)  # in the same second as those before
    keeper.api.now += 60
    keeper.api.put(51)
    assert is_same(keeper.sync(), keeper.wanted())


def test_all_events_are_asked_for_after_a_while_which_finds_what_changed_without_a_sign(keeper: Keeper) -> None:
    keeper.sync()
    del keeper.api.events["ETH4"]  # listed nowhere
    keeper.api.events["ETH2"]["notes"] = "Another, with the same timestamp."
    assert not keeper.check().is_news
    assert keeper.live is not None
    memo = {**keeper.live.memo, "full_at": time.time() // 1 - 31 * 86400}
    keeper.live = keeper.live.model_copy(update={"memo": memo})
    release = keeper.check()
    assert release.is_news and release.stamp.startswith("full:1:")
    assert is_same(keeper.sync(release), keeper.wanted())


def test_who_forces_an_update_although_nothing_is_new_gets_all_events_anew(keeper: Keeper) -> None:
    keeper.sync()
    del keeper.api.events["ETH4"]
    release = keeper.check()
    assert not release.is_news
    assert is_same(keeper.sync(release), keeper.wanted())


def test_another_choice_of_countries_is_fetched_anew(keeper: Keeper) -> None:
    keeper.api.put(60, country="Sudan")
    keeper.sync()
    keeper.config["countries"] = ("Sudan",)
    release = keeper.check()
    assert release.stamp.startswith("full:1:")
    assert keeper.sync(release).column("event_id_cnty").to_pylist() == ["ETH60"]


def test_changes_for_another_version_than_the_live_one_are_not_mixed_in(keeper: Keeper) -> None:
    keeper.sync()
    keeper.api.now += 60
    keeper.api.put(77)
    release = keeper.check()
    assert keeper.live is not None
    keeper.live = keeper.live.model_copy(update={"number": 7})
    with pytest.raises(Conflict):
        keeper.fetch(release)


def test_a_timestamp_of_the_future_hides_nothing_and_is_not_news_each_day(keeper: Keeper) -> None:
    keeper.api.put(13, timestamp=str(int(time.time()) + 10 * 365 * 86400))
    keeper.sync()
    assert not keeper.check().is_news
    keeper.api.now += 60
    keeper.api.put(14)
    assert is_same(keeper.sync(), keeper.wanted())


# -- while it is read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_what_moves_between_pages_while_they_are_read_is_not_missed(keeper: Keeper, order: str) -> None:
    keeper.api.order = ORDERS[order]

    def change(number: int) -> None:
        if number == 2:
            keeper.api.before_page = lambda number: None
            keeper.api.now += 1
            for each in (0, 1, 2):
                keeper.api.delete(each)
                keeper.api.put(each + 5, notes="changed")

    keeper.api.before_page = change
    update = keeper.update
    release = Acled().check(update.task)
    fetched = Acled().fetch(update.task, release)
    (prepared,) = Acled().prepare(update.task, release, fetched)
    assert isinstance(prepared, PreparedVector)
    assert is_same(read_prepared(update, prepared).sort_by("event_id_cnty"), keeper.wanted())
    assert any("read anew" in told for told in update.told)


def test_a_source_that_does_not_keep_still_is_not_taken(keeper: Keeper) -> None:
    def change(number: int) -> None:
        keeper.api.now += 1
        keeper.api.put(300 + keeper.api.now % 1000)

    keeper.api.before_page = change
    with pytest.raises(SourceUnavailable, match="changed each of the 3 times"):
        keeper.fetch()


def test_more_pages_than_one_attempt_asks_for_are_gone_on_with(keeper: Keeper) -> None:
    keeper.config["full_max_pages"] = 2
    release = keeper.check()
    keeper.source.requests.clear()
    with pytest.raises(SyncIncomplete, match="10 events so far") as caught:
        keeper.fetch(release)
    assert caught.value.retryable and "goes on there" in str(caught.value.hint)
    assert is_same(keeper.sync(release), keeper.wanted())
    pages = [one.query["page"] for one in keeper.source.requests if one.path == READ and "fields" not in one.query]
    assert pages == ["1", "2", "3", "4"]


def test_pages_of_another_size_are_not_mixed_in(keeper: Keeper) -> None:
    keeper.config["full_max_pages"] = 1
    release = keeper.check()
    with pytest.raises(SyncIncomplete):
        keeper.fetch(release)
    keeper.config |= {"full_max_pages": 9, "batch_size": 7}
    assert is_same(keeper.sync(release), keeper.wanted())


def test_what_changed_since_an_interruption_has_the_pages_read_anew(keeper: Keeper) -> None:
    keeper.config["full_max_pages"] = 2
    release = keeper.check()
    with pytest.raises(SyncIncomplete):
        keeper.fetch(release)
    keeper.api.now += 1
    keeper.api.delete(0)
    keeper.config["full_max_pages"] = 9
    assert is_same(keeper.sync(release), keeper.wanted())


KILLED = """
import sys
from pathlib import Path
from geoetl.datasets.handlers.acled import Acled
from geoetl.datasets.model import Definition
from geoetl.datasets.release import Release
from geoetl.testing.datasets import rehearsal
from tests.datasets.acled_api import CREDENTIALS

folder, definition, release = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
with rehearsal(Definition.model_validate_json(definition), folder, credentials=CREDENTIALS) as update:
    Acled().fetch(update.task, Release.model_validate_json(release))
"""


def test_a_process_that_is_killed_is_gone_on_from(keeper: Keeper, tmp_path: Path) -> None:
    release = keeper.check()
    processes: list[subprocess.Popen[bytes]] = []

    def kill(number: int) -> None:
        if number == 3 and processes:
            processes.pop().send_signal(signal.SIGKILL)

    keeper.api.before_page = kill
    told = definition(keeper.api.url, **keeper.config).model_dump_json()
    command = [sys.executable, "-c", KILLED, str(tmp_path), told, release.model_dump_json()]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    processes.append(process)
    assert process.wait(60) == -signal.SIGKILL
    assert sorted(path.name for path in (tmp_path / "release").glob("events-*.gz")) == [
        "events-00001.json.gz",
        "events-00002.json.gz",
    ]
    keeper.source.requests.clear()
    assert is_same(keeper.sync(release), keeper.wanted())
    pages = [one.query["page"] for one in keeper.source.requests if one.path == READ and "fields" not in one.query]
    assert pages == ["3", "4"]


STEP = st.tuples(
    st.lists(st.tuples(st.sampled_from(["put", "delete"]), st.integers(0, 25), st.booleans()), max_size=12),
    st.dictionaries(st.integers(1, 6), st.sampled_from(["put", "delete", "fail"]), max_size=2),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(STEP, min_size=1, max_size=4),
    order=st.sampled_from(sorted(ORDERS)),
    overlap_hours=st.sampled_from([0, 24]),
)
def test_what_is_kept_by_changes_ends_as_what_is_fetched_as_a_whole(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any], order: str, overlap_hours: int
) -> None:
    folder = tmp_path_factory.mktemp("kept")
    with LocalUpstream() as source, ExitStack() as exits:
        keeper = Keeper(source, folder, exits, overlap_hours=overlap_hours)
        api = keeper.api
        api.order = ORDERS[order]
        for number in range(8):
            api.put(number)
        for happens, meanwhile in [*steps, ([("put", 99, True)], {})]:
            for kind, number, is_later in happens:
                api.now += is_later
                getattr(api, kind)(number)
            _sync_through(keeper, dict(meanwhile))
            api.now += 1
        assert is_same(keeper.table, keeper.wanted())
        assert is_same(keeper.sync(Release(source_version="1", stamp="full:0")), keeper.wanted())


def _sync_through(keeper: Keeper, meanwhile: dict[int, str]) -> None:
    """Update, with changes and failures in front of some pages, until it is done."""

    def happen(number: int) -> None:
        kind = meanwhile.pop(number, None)
        if kind == "fail":
            raise ConnectionError
        if kind is not None:
            keeper.api.now += 1
            getattr(keeper.api, kind)(number * 3)

    keeper.api.before_page = happen
    release = keeper.check()
    if not release.is_news:
        return
    for _ in range(6):
        try:
            keeper.sync(release)
        except SourceUnavailable:
            continue
        return
    raise AssertionError("it did not end")


# -- who asks ----------------------------------------------------------------------------------------------------------


def test_a_token_that_gets_too_old_is_renewed_without_the_password(keeper: Keeper, tmp_path: Path) -> None:
    release = keeper.check()
    keeper.api.answers_left = 4
    keeper.source.requests.clear()
    assert is_same(keeper.sync(release), keeper.wanted())
    kinds = [one.form["grant_type"] for one in keeper.source.requests if one.path == TOKEN]
    assert kinds[0] == "password" and set(kinds[1:]) == {"refresh_token"}
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            assert b"token-secret" not in content and b"refresh-secret" not in content, path.name


def test_a_refresh_token_that_is_too_old_as_well_leads_back_to_the_password(keeper: Keeper) -> None:
    keeper.api.answers_left = 4
    keeper.api.before_page = lambda number: keeper.api.refreshes.clear()
    assert is_same(keeper.sync(), keeper.wanted())


def refused(keeper: Keeper) -> GeoetlError:
    with pytest.raises(GeoetlError) as caught:
        keeper.check()
    said = f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    assert not any(secret in said for secret in (PASSWORD, "somebody@", "token-secret", "refresh-secret"))
    return caught.value


def test_an_account_without_the_data_is_told_as_that(keeper: Keeper) -> None:
    keeper.api.is_refused = True
    error = refused(keeper)
    assert isinstance(error, AccountLimited) and "myACLED" in str(error.hint)


def test_a_wrong_password_is_told_as_that(keeper: Keeper) -> None:
    keeper.credentials = {**CREDENTIALS, "ACLED_PASSWORD": "another"}
    error = refused(keeper)
    assert type(error) is CredentialRefused and "ACLED_PASSWORD" in str(error.hint)


def test_an_account_whose_new_token_is_refused_too_is_limited(keeper: Keeper) -> None:
    keeper.api.answers_left = 0
    assert isinstance(refused(keeper), AccountLimited)


def test_a_password_that_is_changed_in_the_middle_is_told_as_that(keeper: Keeper) -> None:
    keeper.api.answers_left = 4
    release = keeper.check()
    keeper.api.before_page = lambda number: keeper.source.misbehave(TOKEN, Fault.STATUS, status=401)
    with pytest.raises(CredentialRefused) as caught:
        keeper.fetch(release)
    assert not isinstance(caught.value, AccountLimited)


def test_an_account_that_is_shown_nothing_makes_no_version(keeper: Keeper) -> None:
    keeper.api.events.clear()
    with pytest.raises(EmptyDataset, match="no events at all"):
        keeper.fetch()


def test_an_account_that_is_shown_no_late_events_is_told_so(keeper: Keeper) -> None:
    limit = {"date_recency": {"quantity": 12, "unit": "Months", "date": "2025-11-29"}}
    keeper.api.shape = lambda asked, answer: {**answer, "data_query_restrictions": limit}
    assert "the account is shown no events after 2025-11-29" in keeper.check().about
    update = keeper.update
    Acled().fetch(update.task, Acled().check(update.task))
    assert "ACLED shows this account no events after 2025-11-29." in update.told


# -- what it answers wrongly -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"success": False, "messages": ["wrong fields"]}, SourceRefused, "'success' is false"),
        ({"status": 403}, AccountLimited, "did not give it the events"),
        ({"status": 500}, SourceUnavailable, "trouble of its own"),
        ({"status": 429}, SourceUnavailable, "too often"),
        ({"status": 418}, SourceRefused, "status is 418"),
        ({"count": 4999}, VerificationFailed, "has 4999 rows, and sent"),
        ({"data": {"error": 1}}, UnreadableFile, "no list 'data'"),
        ({"data": [{"event_id": 1}], "count": 1}, UnreadableFile, "rows have no 'event_id_cnty'"),
        ([], UnreadableFile, "it is no object"),
    ],
)
def test_an_answer_that_is_none_is_told_as_what_it_is(keeper: Keeper, change: Any, kind: Any, says: str) -> None:
    release = keeper.check()

    def shape(asked: Any, answer: Mapping[str, Any]) -> Any:
        if asked.query["page"] != "2" or "fields" in asked.query:
            return answer
        return {**answer, **change} if isinstance(change, dict) else change

    keeper.api.shape = shape
    with pytest.raises(kind, match=says):
        keeper.fetch(release)
    keeper.api.shape = lambda asked, answer: answer
    assert is_same(keeper.sync(release), keeper.wanted())


def test_a_source_that_ignores_the_number_of_the_page_is_found_out(keeper: Keeper) -> None:
    rows = list(keeper.api.events.values())[:5]
    keeper.api.shape = lambda asked, answer: (
        {**answer, "data": rows, "count": 5} if "fields" not in asked.query else answer
    )
    with pytest.raises(VerificationFailed, match="page 2 with the rows of page 1 once more"):
        keeper.fetch()


def test_fewer_rows_than_were_asked_for_are_not_taken_for_the_end(keeper: Keeper) -> None:
    keeper.api.most = 3
    assert is_same(keeper.sync(), keeper.wanted())


def test_a_source_that_wants_to_be_left_alone_for_a_while_is(keeper: Keeper) -> None:
    release = keeper.check()
    keeper.source.misbehave(READ, Fault.STATUS, status=429, retry_after="0", times=1)
    assert is_same(keeper.sync(release), keeper.wanted())
    assert keeper.source.fired(READ) == 1


# -- what is made of it ------------------------------------------------------------------------------------------------


def column(name: str, *values: Any) -> list[Any]:
    made: list[Any] = Columns().of([{"event_id_cnty": "A", name: value} for value in values]).column(name).to_pylist()
    return made


def test_numbers_are_read_whichever_way_they_come() -> None:
    assert column("year", 2026, "2026", " 2026 ", 2026.0, "2026.0") == [2026] * 5
    assert column("fatalities", None, "", "many", "1.5", True, 10**30) == [None] * 6
    assert column("latitude", "8.25", 8, -1e2, "1e1", "x", 10**400) == [8.25, 8.0, -100.0, 10.0, None, None]
    assert column("inter1", 1, "State forces", None, 2.0) == ["1", "State forces", None, "2.0"]
    assert column("event_date", "2026-02-28", "2026-02-30", "2026-03-01T00:00:00", 5) == [
        date(2026, 2, 28),
        None,
        date(2026, 3, 1),
        None,
    ]
    seconds = column("timestamp", 1, "1", -1, "1.5", 10**20)
    assert [at and at.timestamp() for at in seconds] == [1, 1, None, None, None]
    assert column("notes", "half \ud800 a pair", "ü") == ["half ? a pair", "ü"]


def test_what_does_not_fit_is_counted() -> None:
    columns = Columns()
    columns.of([event(1, 5, fatalities="many", event_date="soon"), event(2, 5, fatalities="", new_one=1)])
    assert (columns.wrong["fatalities"], columns.wrong["event_date"]) == (1, 1)
    assert (columns.missing, columns.unknown) == (set(), {"new_one"})


def test_events_without_a_place_on_earth_have_none(keeper: Keeper) -> None:
    keeper.api.put(0, latitude="", longitude="36")
    keeper.api.put(1, latitude="91")
    keeper.api.put(2, latitude=None)
    keeper.api.put(3, longitude="-180", latitude="-90")
    table = keeper.sync()
    without = table.filter(table.column("geometry").is_null()).column("event_id_cnty").to_pylist()
    assert without == ["ETH0", "ETH1", "ETH2"]
    assert is_same(table, keeper.wanted())


def test_one_event_twice_is_its_newest_form(keeper: Keeper) -> None:
    old = event(3, keeper.api.now - 100, notes="old")

    def shape(asked: Any, answer: dict[str, Any]) -> Any:
        if "fields" in asked.query or not answer["data"]:
            return answer
        return {**answer, "data": [*answer["data"], old], "count": answer["count"] + 1}

    keeper.api.shape = shape
    update = keeper.update
    release = Acled().check(update.task)
    (prepared,) = Acled().prepare(update.task, release, Acled().fetch(update.task, release))
    assert "3 rows were left out for newer ones of the same event." in [f.message for f in prepared.findings]
    assert is_same(keeper.sync(release), keeper.wanted())


def without(name: str) -> Callable[[Any, dict[str, Any]], Any]:
    """Return a change of answers to such without a column."""
    return lambda asked, answer: {
        **answer,
        "data": [{each: value for each, value in row.items() if each != name} for row in answer["data"]],
    }


def test_half_of_a_character_is_replaced(keeper: Keeper) -> None:
    keeper.api.put(3, notes="half \ud800 a pair")
    keeper.api.put(4, event_id_cnty="A\ud800")
    table = keeper.sync()
    assert "half ? a pair" in table.column("notes").to_pylist()
    assert "A?" in table.column("event_id_cnty").to_pylist()
    assert not keeper.check().is_news


def test_a_column_that_is_gone_is_gone_from_what_is_made_so_that_it_is_held(keeper: Keeper) -> None:
    keeper.sync()
    keeper.api.now += 60
    keeper.api.put(40)
    keeper.api.shape = without("event_date")
    update = keeper.update
    release = Acled().check(update.task)
    (prepared,) = Acled().prepare(update.task, release, Acled().fetch(update.task, release))
    assert isinstance(prepared, PreparedVector) and prepared.temporal_property == ""
    assert "event_date" not in read_prepared(update, prepared).column_names
    assert "event_date" in Acled.required_columns


def test_events_without_places_altogether_are_not_taken(keeper: Keeper) -> None:
    keeper.api.shape = without("latitude")
    with pytest.raises(UnreadableFile, match="no column latitude"):
        keeper.sync()


def test_numbers_become_text_from_one_version_to_the_next(keeper: Keeper) -> None:
    for number in range(12):
        keeper.api.put(number, inter1=1, inter2=3, interaction=13, year=2026, fatalities=4, iso=231)
    keeper.sync()
    keeper.api.now += 60
    keeper.api.put(3)
    table = keeper.sync()
    assert is_same(table, keeper.wanted())
    assert set(table.column("inter1").to_pylist()) == {"1", "State forces"}


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_all_answers_are_kept_in_the_zone_as_they_came(keeper: Keeper) -> None:
    keeper.sync()
    keeper.api.now += 60
    keeper.api.put(3)
    keeper.api.delete(4)
    keeper.sync()
    assert keeper.live is not None
    kept = keeper.live.memo["bronze"]
    zone = keeper.update.task.zone
    with gzip.open(zone.local_path(kept["key"])) as lines:
        answers = [json.loads(line) for line in lines]
    assert {row["event_id_cnty"] for answer in answers for row in answer["data"]} >= {"ETH3", "ETH4"}
    assert all(answer["success"] and answer["last_update"] == 5 for answer in answers)
    owned = [key for _, key, _, _ in zone.artifacts.of_owner("curated/curated_acled/bronze")]
    assert len(owned) == 2 and kept["key"] in owned


def test_answers_are_removed_after_a_while(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper.sync()
    zone = keeper.update.task.zone
    (first,) = [key for _, key, _, _ in zone.artifacts.of_owner("curated/curated_acled/bronze")]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 401 * 86400)
    keeper.api.now += 401 * 86400
    keeper.api.put(3)
    keeper.sync()
    owned = [key for _, key, _, _ in zone.artifacts.of_owner("curated/curated_acled/bronze")]
    assert len(owned) == 1 and first not in owned and zone.size(first) is None


def test_the_engine_serves_what_changes_and_holds_what_lost_a_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with LocalUpstream() as source:
        api = PlayedAcled(source)
        for number in range(400):
            api.put(number, **({"latitude": ""} if number == 7 else {}))
        platform = geoetl.connect(tmp_path / "home", allowed_roots=(tmp_path,))
        told = {"handler": "acled", "source_type": "api_paginated", "source_url": api.url, "credential_key": "ACLED"}
        upkeep = Upkeep.begin(platform, tmp_path / "drop", **told, license="other")
        first = upkeep.update()
        assert (first.status, first.records_total) == (UpdateStatus.COMPLETED, 399)
        assert "missing_geometry" in {finding.code for finding in first.findings}
        assert upkeep.update().status is UpdateStatus.SKIPPED

        api.now += 60
        api.put(5, fatalities=900)
        api.put(500)
        api.delete(6)
        second = upkeep.update()
        counts = second.records_added, second.records_updated, second.records_deleted
        assert (second.status, *counts) == (UpdateStatus.COMPLETED, 1, 1, 1)
        served = platform.open("curated", "curated_countries").set_index("event_id_cnty")
        assert (served.loc["ETH5", "fatalities"], "ETH6" in served.index) == (900, False)
        assert len([key for key in upkeep.objects() if "/bronze/" in key]) == 2, "answers are kept through sweeps"

        api.now += 60
        api.put(501)
        api.shape = without("fatalities")
        assert upkeep.update().status is UpdateStatus.HELD
        assert len(platform.open("curated", "curated_countries")) == 399
        platform.database.dispose()


def test_the_style_draws_the_type_as_colour_and_fatalities_as_size() -> None:
    style = Style.of(event_style("ACLED"))
    assert style.findings() == ()
    layer = StyledLayer("curated:acled", "vector", 0, {"event_type": "text", "fatalities": "number"})
    for name in ENCODERS:
        if "vector" in ENCODERS[name].kinds:
            assert ENCODERS[name].encode(style, layer).losses == (), name


def test_the_definition_that_comes_with_it_is_right_and_off() -> None:
    text = (ROOT / "catalogs" / "managed" / "acled.yaml").read_text(encoding="utf-8")
    given = Definition(**yaml.safe_load(text))
    HANDLERS[given.handler].config(**given.source_config)
    assert (given.enabled, given.credential_key, given.license) == (False, "ACLED", "other")
    assert given.terms_url and given.citation and given.update_strategy is UpdateStrategy.UPSERT
