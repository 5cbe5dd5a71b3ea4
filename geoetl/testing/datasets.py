"""The suite that every handler of a managed dataset passes, for pytest.

Whoever writes a handler says how its source is played, and gets the tests::

    class TestParks(DownloadConformance):
        handler = Parks
        credentials = {"PARKS_TOKEN": "parks-secret-1"}
        data_paths = ("/parks.zip",)

        def arrange(self, source, folder):
            return Definition(..., source_url=source.serve("/parks.zip", parks(rows=1000)))

        def change(self, source, folder):
            source.serve("/parks.zip", parks(rows=1001))

`HandlerConformance` is for any source, a folder too; `DownloadConformance` adds what can go wrong over HTTP with files,
`RequestConformance` with an API that gives its data page by page. `rehearsal` gives a task to one's own tests.

With ``pytest.register_assert_rewrite("geoetl.testing.datasets")`` in ``conftest.py`` a failure shows the values.
"""

import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from geoetl.core.errors import ConfigurationError, GeoetlError, InvalidParameter, Unavailable, UnreadableFile
from geoetl.core.identifiers import check_id, file_digest
from geoetl.core.settings import LimitSettings
from geoetl.datasets.model import Definition
from geoetl.datasets.protocol import DatasetHandler, Task
from geoetl.datasets.release import Fetched, MadeBefore, Prepared, PreparedRaster, PreparedVector, Release, Unchanged
from geoetl.datasets.upstream import Limits, RateLimited, SourceChanged, SourceUnavailable, Upstream
from geoetl.datasets.version import Version
from geoetl.ingest import RasterIngest, RasterRequest, VectorIngest, VectorRequest
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.database import Database
from geoetl.store.gate import Gate
from geoetl.store.zones import Zone
from geoetl.styles.model import Style
from geoetl.testing.upstream import Fault, LocalUpstream

# Nobody waits in a test.
_IMPATIENT = Limits(attempts=2, backoff_s=0.01, longest_backoff_s=0.01, longest_retry_after_s=0, sync_bytes=4096)


@dataclass
class Rehearsal:
    """An update that is played: its task, and what was told.

    Attributes:
        task: For the handler.
        told: What it said of how far it is.
    """

    task: Task
    told: list[str] = field(default_factory=list)

    @property
    def files(self) -> dict[str, str]:
        """Digest of each file that is there, by its name within the folder of the release."""
        files = (path for path in self.task.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.task.folder)): file_digest(path) for path in files}


@contextmanager
def rehearsal(
    definition: Definition,
    folder: Path,
    *,
    credentials: Mapping[str, str] | None = None,
    live: Version | None = None,
    limits: LimitSettings | None = None,
    roots: Sequence[Path] = (),
) -> Iterator[Rehearsal]:
    """Give a task with real parts: a gate, a zone, HTTP.

    Args:
        definition: What is said of the dataset.
        folder: Everything lies below it, and it is an allowed root.
        credentials: Value of each by its name.
        live: The version that is served.
        limits: Of the gate.
        roots: Further allowed roots.
    """
    (folder / "rehearsal.db").write_bytes(_empty_database())
    database = Database(f"sqlite:///{folder / 'rehearsal.db'}")
    fetched, workspace = folder / "release", folder / "workspace"
    for one in (fetched, workspace):
        one.mkdir(exist_ok=True)
    told: list[str] = []
    with Upstream(credentials or {}, limits=_IMPATIENT, pause=lambda _seconds: None) as upstream:
        task = Task(
            definition=definition,
            upstream=upstream,
            gate=Gate((folder.resolve(), *roots), limits or LimitSettings()),
            zone=Zone("internal", (folder / "zone").as_uri(), ArtifactRepository(database), folder / "cache"),
            live=live,
            folder=fetched,
            workspace=workspace,
            tell=told.append,
        )
        try:
            yield Rehearsal(task, told)
        finally:
            database.dispose()


@cache
def _empty_database() -> bytes:
    """Return a database with our tables; making them takes longer than most tests."""
    with tempfile.TemporaryDirectory(prefix="geoetl-") as folder:
        path = Path(folder) / "empty.db"
        database = Database(f"sqlite:///{path}")
        database.upgrade()
        database.dispose()
        return path.read_bytes()


class HandlerConformance(ABC):
    """What holds for every handler.

    Attributes:
        handler: Which.
        credentials: Values of the environment variables that it needs, none of which stands in its data.
        most_requests: That one check may make.
        live: The version that is served, if the handler needs one.
    """

    handler: ClassVar[type[DatasetHandler]]
    credentials: ClassVar[Mapping[str, str]] = {}
    most_requests: ClassVar[int] = 1
    live: ClassVar[Version | None] = None

    @abstractmethod
    def arrange(self, source: LocalUpstream, folder: Path) -> Definition:
        """Play the source, over HTTP or in `folder`, with its first release; return a definition that leads to it."""

    @abstractmethod
    def change(self, source: LocalUpstream, folder: Path) -> None:
        """Play the next release."""

    # -- what the tests share ------------------------------------------------------------------------------------------

    @pytest.fixture
    def source(self) -> Iterator[LocalUpstream]:
        """Give a source that does not offer anything yet."""
        with LocalUpstream() as source:
            yield source

    @pytest.fixture
    def given(self, tmp_path: Path) -> Path:
        """Give the folder that somebody may put files into."""
        folder = tmp_path / "given"
        folder.mkdir()
        return folder

    @pytest.fixture
    def definition(self, source: LocalUpstream, given: Path) -> Definition:
        """Give what is said of the dataset, with its source ready."""
        return self.arrange(source, given)

    @pytest.fixture
    def update(self, definition: Definition, tmp_path: Path) -> Iterator[Rehearsal]:
        """Give an update."""
        with rehearsal(definition, tmp_path, credentials=self.credentials, live=self.live) as update:
            yield update

    def fetched(self, update: Rehearsal) -> tuple[Release, Fetched]:
        """Check and fetch."""
        release = self.handler().check(update.task)
        return release, self.handler().fetch(update.task, release)

    def prepared(self, update: Rehearsal) -> list[Prepared]:
        """Check, fetch and prepare."""
        release, fetched = self.fetched(update)
        return list(self.handler().prepare(update.task, release, fetched))

    # -- check ---------------------------------------------------------------------------------------------------------

    def test_a_check_is_cheap_and_says_the_same_of_the_same(self, update: Rehearsal, source: LocalUpstream) -> None:
        """One request for metadata at most (`most_requests`), nothing downloaded, the same answer each time."""
        first = self.handler().check(update.task)
        assert source.count() <= self.most_requests, [f"{one.method} {one.path}" for one in source.requests]
        assert not update.files, "a check downloads nothing"
        assert self.handler().check(update.task) == first
        assert first.is_news

    def test_a_changed_source_has_another_stamp(self, update: Rehearsal, source: LocalUpstream, given: Path) -> None:
        """Else the change would never be fetched."""
        first = self.handler().check(update.task)
        self.change(source, given)
        assert self.handler().check(update.task).stamp != first.stamp

    def test_what_is_told_of_a_release_is_plain_data(self, update: Rehearsal) -> None:
        """It is kept as JSON, between processes and with the version."""
        release, fetched = self.fetched(update)
        assert Release.model_validate_json(release.model_dump_json()) == release
        assert Fetched.model_validate_json(fetched.model_dump_json()) == fetched

    # -- fetch ---------------------------------------------------------------------------------------------------------

    def test_fetched_files_are_as_they_are_told(self, update: Rehearsal) -> None:
        """Name, size and digest of each; nothing else is in the folder but what the handler needs to go on."""
        _, fetched = self.fetched(update)
        for file in fetched.files:
            path = update.task.folder / file.name
            assert path.resolve().is_relative_to(update.task.folder.resolve())
            assert (path.stat().st_size, file_digest(path)) == (file.bytes, file.sha256)
        assert fetched.bytes == sum(file.bytes for file in fetched.files)
        assert not [name for name in update.files if name.endswith((".part", ".part.json", ".unfinished"))]

    def test_a_fetch_that_is_done_again_changes_nothing_and_fetches_nothing(
        self, update: Rehearsal, source: LocalUpstream
    ) -> None:
        """An update that goes on after an interruption comes here again."""
        release, first = self.fetched(update)
        files, sent = update.files, _bytes_sent(source)
        assert self.handler().fetch(update.task, release) == first
        assert update.files == files
        # Questions may be asked again; data may not.
        assert _bytes_sent(source) - sent <= max(first.bytes // 10, 4096)

    # -- prepare -------------------------------------------------------------------------------------------------------

    def test_what_is_prepared_can_be_ingested(self, update: Rehearsal) -> None:
        """By the ingest itself; with unique keys and the columns that are required, under names that are allowed."""
        prepared = self.prepared(update)
        assert prepared
        suffixes = [one.suffix for one in prepared]
        assert len(set(suffixes)) == len(suffixes), "two items would have the same id"
        for one in prepared:
            item = check_id(f"{update.task.definition.target_table_name}{one.suffix}")
            if isinstance(one, PreparedVector):
                self._check_features(update, one, item)
            elif isinstance(one, PreparedRaster):
                self._check_raster(update, one, item)
            if not isinstance(one, (Unchanged, MadeBefore)) and one.style is not None:
                Style.of(one.style)

    def _check_features(self, update: Rehearsal, prepared: PreparedVector, item: str) -> None:
        table = read_prepared(update, prepared)
        assert table.num_rows > 0
        wanted = {*self.handler.required_columns, *update.task.definition.sanity.required_columns, prepared.key}
        assert wanted <= set(table.column_names)
        keys = table.column(prepared.key)
        assert keys.null_count == 0, "every feature has a key"
        if not update.task.definition.sanity.may_repeat_keys:
            assert len(keys.unique()) == len(keys)
        task = update.task
        request = VectorRequest(
            source=str(task.workspace / prepared.file),
            collection=task.definition.target_schema,
            item=item,
            title=prepared.title,
            keywords=prepared.keywords,
            temporal_property=prepared.temporal_property,
            valid_at=prepared.valid_at,
        )
        checked = VectorIngest(task.gate, task.zone, task.workspace).validate(request)
        assert checked.rows == table.num_rows
        renamed = [column.source_name for column in checked.columns if column.source_name is not None]
        assert not renamed, f"columns have names that have to be changed: {renamed}"

    def _check_raster(self, update: Rehearsal, prepared: PreparedRaster, item: str) -> None:
        task = update.task
        request = RasterRequest(
            source=str(task.workspace / prepared.file),
            collection=task.definition.target_schema,
            item=item,
            title=prepared.title,
            acquired=prepared.valid_at,
        )
        assert RasterIngest(task.gate, task.zone, task.workspace).validate(request).bands

    def test_the_same_release_is_prepared_alike_each_time(self, update: Rehearsal) -> None:
        """Else each update would seem to change everything."""
        release, fetched = self.fetched(update)

        def make() -> list[tuple[Any, ...]]:
            made = self.handler().prepare(update.task, release, fetched)
            return [(one, *self._content(update, one)) for one in made]

        assert make() == make()

    def _content(self, update: Rehearsal, prepared: Prepared) -> tuple[Any, ...]:
        if isinstance(prepared, (Unchanged, MadeBefore)):
            return ()
        return (file_digest(update.task.workspace / prepared.file),)

    # -- what it is told -----------------------------------------------------------------------------------------------

    def test_a_setting_that_it_does_not_have_is_refused(self) -> None:
        """With its name, before anything is asked."""
        with pytest.raises(InvalidParameter, match="no_such_setting"):
            self.handler.config(no_such_setting=1)

    def test_what_it_says_of_its_settings_is_a_schema(self, definition: Definition) -> None:
        """Forms and the API are made of it."""
        assert self.handler.config.model_json_schema()["type"] == "object"
        self.handler.config(**definition.source_config)

    def test_credentials_are_shown_nowhere(self, update: Rehearsal, tmp_path: Path) -> None:
        """Neither in what is told, nor in any file."""
        release, fetched = self.fetched(update)
        prepared = list(self.handler().prepare(update.task, release, fetched))
        said = json.dumps([one.model_dump(mode="json") for one in (release, fetched, *prepared)])
        said += "".join(update.told) + update.task.definition.model_dump_json()
        for value in self.credentials.values():
            assert value not in said
            for path in tmp_path.rglob("*"):
                assert not path.is_file() or value.encode() not in path.read_bytes(), path.name

    def test_a_credential_that_is_not_set_is_named(self, definition: Definition, tmp_path: Path) -> None:
        """Its environment variable, that is; a handler that needs none asks for none."""
        names = {f"{definition.credential_key}_{end}" for end in self.handler.credentials}
        assert set(self.credentials) <= names
        if not self.credentials:
            return
        with rehearsal(definition, tmp_path, live=self.live) as update:
            with pytest.raises(ConfigurationError) as caught:
                self.fetched(update)
            assert any(name in str(caught.value) for name in names)


class RequestConformance(HandlerConformance):
    """What holds besides for handlers that ask over HTTP.

    Attributes:
        data_paths: Paths of the played source that data come from.
    """

    data_paths: ClassVar[Sequence[str]]

    @pytest.mark.parametrize(
        ("fault", "status", "kinds"),
        [
            (Fault.HTML, 200, (UnreadableFile, SourceChanged)),
            (Fault.STATUS, 429, (RateLimited,)),
            (Fault.STATUS, 503, (SourceUnavailable,)),
            (Fault.STATUS, 403, (GeoetlError,)),
            (Fault.STATUS, 404, (GeoetlError,)),
            (Fault.REDIRECT_LOOP, 302, (GeoetlError,)),
            (Fault.NOT_MODIFIED, 304, (SourceUnavailable,)),
            (Fault.CLOSED, 0, (SourceUnavailable,)),
        ],
        ids=lambda value: str(value) if isinstance(value, (Fault, int)) else "",
    )
    def test_a_source_that_fails_is_told_as_what_it_is(
        self,
        update: Rehearsal,
        source: LocalUpstream,
        fault: Fault,
        status: int,
        kinds: tuple[type[GeoetlError], ...],
    ) -> None:
        """No half of a file stays, and no credential is told; when the source is well again, all is."""
        release = self.handler().check(update.task)
        for path in self.data_paths:
            source.misbehave(path, fault, status=status)
        with pytest.raises(kinds) as caught:
            self.handler().fetch(update.task, release)
        assert sum(source.fired(path) for path in self.data_paths) > 0, "the fault was never played"
        self.check_message(caught.value)
        for path in self.data_paths:
            source.behave(path)
        fetched = self.handler().fetch(update.task, release)
        for file in fetched.files:
            assert file_digest(update.task.folder / file.name) == file.sha256
        assert list(self.handler().prepare(update.task, release, fetched))

    def check_message(self, error: GeoetlError) -> None:
        """Check that an error has a sentence, and neither credentials nor paths of this machine."""
        assert error.detail
        said = f"{error} {error.problem()} {error.__cause__} {error.__context__}"
        for secret in (*self.credentials.values(), "/tmp/", "Traceback"):
            assert secret not in said


class DownloadConformance(RequestConformance):
    """What holds besides for handlers that download files.

    `data_paths` are those of the files; one of them is at least some kilobytes.
    """

    @pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.TRUNCATED_SILENTLY, Fault.TRUNCATED_CHUNKED])
    def test_a_file_that_is_cut_off_is_not_taken(self, update: Rehearsal, source: LocalUpstream, fault: Fault) -> None:
        """It has its name only when it is whole."""
        release = self.handler().check(update.task)
        for path in self.data_paths:
            source.misbehave(path, fault, at=2000)
        with pytest.raises((UnreadableFile, Unavailable)) as caught:
            self.handler().fetch(update.task, release)
        self.check_message(caught.value)
        assert sum(source.fired(path) for path in self.data_paths) > 0, "the fault was never played"
        assert not [name for name in update.files if not name.endswith((".part", ".part.json"))]

    def test_a_download_that_broke_off_goes_on(self, update: Rehearsal, source: LocalUpstream) -> None:
        """With the same files in the end."""
        release = self.handler().check(update.task)
        for path in self.data_paths:
            source.misbehave(path, Fault.RESET, at=4000, times=1)
        fetched = self.handler().fetch(update.task, release)
        assert sum(source.fired(path) for path in self.data_paths) > 0, "the fault was never played"
        again = self.handler().fetch(update.task, release)
        assert again == fetched
        assert list(self.handler().prepare(update.task, release, fetched))

    def test_a_file_that_changed_since_the_check_is_not_taken_for_the_one_that_was_checked(
        self, update: Rehearsal, source: LocalUpstream, given: Path
    ) -> None:
        """What is served would have the version of another."""
        release = self.handler().check(update.task)
        self.change(source, given)
        with pytest.raises(GeoetlError) as caught:
            self.handler().fetch(update.task, release)
        self.check_message(caught.value)
        assert not [name for name in update.files if not name.endswith((".part", ".part.json"))]


def read_prepared(update: Rehearsal, prepared: PreparedVector) -> pa.Table:
    """Read features that were made ready, through the gate, as the ingest does."""
    with update.task.gate.open_vector(update.task.workspace / prepared.file) as source:
        assert source.crs
        return pa.Table.from_batches(source.batches, source.schema)


def _bytes_sent(source: LocalUpstream) -> int:
    return sum(sum(one.sent) for one in source.requests)
