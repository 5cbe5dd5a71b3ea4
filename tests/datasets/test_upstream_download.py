"""Files of sources that misbehave: what arrives is whole and the right one, or does not arrive; what is there stays."""

import contextlib
import fcntl
import hashlib
import io
import json
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from geoetl.core.errors import GeoetlError, LimitExceeded, Unavailable, UnreadableFile, VerificationFailed
from geoetl.datasets.upstream import Cancelled, Media, SourceChanged, SourceUnavailable, Upstream
from geoetl.datasets.upstream.part import OVERLAP_BYTES
from geoetl.testing.upstream import Fault, LocalUpstream, Reply
from tests.datasets.sources import IMPATIENT, LIMITS, archive, client, places

BODY = archive()
OTHER = archive(seed=2)
PATH = "/data.zip"


@pytest.fixture
def source() -> Iterator[LocalUpstream]:
    with LocalUpstream() as started:
        started.serve(PATH, BODY)
        yield started


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with client() as made:
        yield made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "fetched" / "data.zip"


def is_alone(target: Path) -> bool:
    """Tell whether nothing lies in the folder besides the file."""
    return sorted(each.name for each in target.parent.iterdir()) == [target.name]


def is_empty(target: Path) -> bool:
    """Tell whether nothing lies in the folder."""
    return not list(target.parent.iterdir())


def test_a_file_arrives_with_its_size_and_digest(source: LocalUpstream, upstream: Upstream, target: Path) -> None:
    url = source.url(PATH)
    told: list[tuple[int, int | None]] = []
    fetched = upstream.download(
        url,
        target,
        media=Media.ZIP,
        expect=upstream.head(url),
        sha256=hashlib.sha256(BODY).hexdigest().upper(),
        progress=lambda done, total: told.append((done, total)),
    )
    assert target.read_bytes() == BODY
    assert (fetched.name, fetched.bytes) == ("data.zip", len(BODY))
    assert fetched.sha256 == hashlib.sha256(BODY).hexdigest()
    assert told[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert is_alone(target)
    assert (source.count("HEAD"), source.count("GET")) == (1, 1)


def test_a_file_that_is_there_is_replaced_only_by_a_whole_one(
    source: LocalUpstream, upstream: Upstream, target: Path
) -> None:
    target.parent.mkdir()
    target.write_bytes(b"old")
    source.misbehave(PATH, Fault.HTML)
    with pytest.raises(UnreadableFile):
        upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == b"old"
    source.behave(PATH)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == BODY


# -- it goes on where it stopped ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.TRUNCATED])
def test_what_broke_off_goes_on_where_it_stopped(
    source: LocalUpstream, upstream: Upstream, target: Path, fault: Fault
) -> None:
    source.misbehave(PATH, fault, at=700_000, times=2)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == BODY
    assert source.fired(PATH) == 2
    assert [asked.headers.get("if-range", "") != "" for asked in source.requests] == [False, True, True]
    # A reset takes with it what the kernel had not yet handed over.
    assert source.sent(PATH) <= len(BODY) + 2 * 700_000 + 2 * OVERLAP_BYTES
    if fault is Fault.TRUNCATED:
        assert source.sent(PATH) == len(BODY) + 2 * OVERLAP_BYTES


def test_it_goes_on_by_the_time_of_change_where_there_is_no_tag(
    source: LocalUpstream, upstream: Upstream, target: Path
) -> None:
    source.serve(PATH, BODY, etag='W/"weak"')
    source.misbehave(PATH, Fault.TRUNCATED, at=700_000, times=1)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == BODY
    assert source.sent(PATH) == len(BODY) + OVERLAP_BYTES


def test_without_a_validator_it_begins_anew(source: LocalUpstream, upstream: Upstream, target: Path) -> None:
    source.serve(PATH, BODY, etag="", last_modified="")
    source.misbehave(PATH, Fault.TRUNCATED, at=700_000, times=1)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == BODY
    assert source.sent(PATH) == len(BODY) + 700_000
    assert all("range" not in asked.headers for asked in source.requests)


def test_a_server_that_ignores_ranges_is_taken_from_its_beginning(
    source: LocalUpstream, upstream: Upstream, target: Path
) -> None:
    source.misbehave(PATH, Fault.TRUNCATED, at=700_000, times=1)
    with client(limits=replace(LIMITS, attempts=1)) as impatient, pytest.raises(SourceUnavailable):
        impatient.download(source.url(PATH), target, media=Media.ZIP)
    source.misbehave(PATH, Fault.RANGE_IGNORED)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == BODY
    assert source.fired(PATH) == 1


def test_another_part_than_was_asked_for_is_not_taken(source: LocalUpstream, upstream: Upstream, target: Path) -> None:
    source.misbehave(PATH, Fault.TRUNCATED, at=700_000, times=1)
    with client(limits=replace(LIMITS, attempts=1)) as impatient, pytest.raises(SourceUnavailable):
        impatient.download(source.url(PATH), target, media=Media.ZIP)
    source.misbehave(PATH, Fault.RANGE_SHIFTED)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == BODY
    assert source.fired(PATH) == 1


@pytest.mark.parametrize("fault", [Fault.CHANGED, Fault.CHANGED_SILENTLY])
@pytest.mark.parametrize("size", [len(OTHER), len(OTHER) - 1000])
def test_a_file_that_is_exchanged_halfway_is_fetched_anew(
    source: LocalUpstream, upstream: Upstream, target: Path, fault: Fault, size: int
) -> None:
    new = archive(size - (len(OTHER) - 2_000_000), seed=2)
    source.misbehave(PATH, fault, at=700_000, body=new, times=1)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == new
    assert source.fired(PATH) == 1


def test_a_file_that_is_exchanged_is_not_taken_for_the_one_that_was_checked(
    source: LocalUpstream, upstream: Upstream, target: Path
) -> None:
    stamp = upstream.head(source.url(PATH))
    source.misbehave(PATH, Fault.CHANGED, at=700_000, body=OTHER, times=1)
    with pytest.raises(SourceChanged, match="its ETag is another") as caught:
        upstream.download(source.url(PATH), target, media=Media.ZIP, expect=stamp)
    assert not caught.value.retryable
    assert not target.exists()


def test_another_size_under_the_same_tag_is_another_version(
    source: LocalUpstream, upstream: Upstream, target: Path
) -> None:
    stamp = upstream.head(source.url(PATH))
    source.serve(PATH, archive(1_000_000), etag=stamp.etag)
    with pytest.raises(SourceChanged, match=r"it has 1\.0 MB and not 2\.0 MB"):
        upstream.download(source.url(PATH), target, media=Media.ZIP, expect=stamp)


def test_what_is_left_of_an_older_version_is_not_gone_on_with(
    source: LocalUpstream, upstream: Upstream, target: Path
) -> None:
    source.misbehave(PATH, Fault.TRUNCATED, at=700_000)
    with client(limits=replace(LIMITS, attempts=1)) as impatient, pytest.raises(SourceUnavailable):
        impatient.download(source.url(PATH), target, media=Media.ZIP)
    source.serve(PATH, OTHER)
    source.behave(PATH)
    upstream.download(source.url(PATH), target, media=Media.ZIP, expect=upstream.head(source.url(PATH)))
    assert target.read_bytes() == OTHER
    assert "range" not in source.requests[-1].headers


def test_a_page_to_sign_in_does_not_throw_away_what_was_fetched(
    source: LocalUpstream, upstream: Upstream, target: Path
) -> None:
    source.misbehave(PATH, Fault.TRUNCATED, at=700_000, times=1)
    with client(limits=replace(LIMITS, attempts=1)) as impatient, pytest.raises(SourceUnavailable):
        impatient.download(source.url(PATH), target, media=Media.ZIP)
    source.misbehave(PATH, Fault.HTML)
    with pytest.raises(UnreadableFile):
        upstream.download(source.url(PATH), target, media=Media.ZIP)
    source.behave(PATH)
    already = source.sent(PATH)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == BODY
    assert source.sent(PATH) - already == len(BODY) - 700_000 + OVERLAP_BYTES


def test_a_source_that_gets_on_a_little_each_time_is_not_given_up(
    source: LocalUpstream, upstream: Upstream, target: Path
) -> None:
    body = archive(16_000_000)
    source.serve(PATH, body)
    source.misbehave(PATH, Fault.TRUNCATED, at=1_500_000)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == body
    assert source.fired(PATH) > LIMITS.attempts


def test_a_source_that_gets_nowhere_is_given_up(source: LocalUpstream, upstream: Upstream, target: Path) -> None:
    source.misbehave(PATH, Fault.RESET, at=0)
    with pytest.raises(SourceUnavailable):
        upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert source.fired(PATH) == LIMITS.attempts
    assert is_empty(target)


def test_a_drip_is_given_up_although_each_try_brings_some_bytes(
    source: LocalUpstream, upstream: Upstream, target: Path
) -> None:
    source.misbehave(PATH, Fault.SLOW, at=700_000, pause_s=0.01)
    with (
        client(limits=replace(IMPATIENT, attempts=2)) as impatient,
        pytest.raises(SourceUnavailable, match="too slow"),
    ):
        impatient.download(source.url(PATH), target, media=Media.ZIP)
    assert source.fired(PATH) in (2, 3)
    source.behave(PATH)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == BODY


def test_a_cancelled_download_ends_and_goes_on_later(source: LocalUpstream, upstream: Upstream, target: Path) -> None:
    source.misbehave(PATH, Fault.SLOW, at=700_000, pause_s=60)
    came: list[int] = []
    with client(cancelled=lambda: sum(came) >= 700_000) as other:
        with pytest.raises(Cancelled):
            other.download(
                source.url(PATH), target, media=Media.ZIP, progress=lambda done, _: came.append(done - sum(came))
            )
    source.behave(PATH)
    already = source.sent(PATH)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert source.sent(PATH) - already == len(BODY) - 700_000 + OVERLAP_BYTES


FETCH = """
import sys
from pathlib import Path
from geoetl.datasets.upstream import Limits, Media, Upstream
with Upstream(limits=Limits(sync_bytes=256 * 1024)) as upstream:
    upstream.download(sys.argv[1], Path(sys.argv[2]), media=Media.ZIP)
"""


@contextlib.contextmanager
def fetching(url: str, target: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a download in a process of its own."""
    with subprocess.Popen([sys.executable, "-c", FETCH, url, str(target)]) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(target: Path, durable: int) -> int:
    """Wait until so many bytes of a download are durable, and return how many are."""
    memory = target.with_name(f"{target.name}.part.json")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            told = int(json.loads(memory.read_text())["durable"])
            if told >= durable:
                return told
        time.sleep(0.01)
    raise AssertionError("nothing was fetched")


def test_a_killed_process_loses_less_than_a_step(source: LocalUpstream, upstream: Upstream, target: Path) -> None:
    source.misbehave(PATH, Fault.SLOW, at=1_500_000, pause_s=60)
    with fetching(source.url(PATH), target) as process:
        durable = wait_for(target, 1_500_000 - 256 * 1024)
        with pytest.raises(Unavailable, match="being fetched by another process"):
            upstream.download(source.url(PATH), target, media=Media.ZIP)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert source.fired(PATH) == 1
    assert not target.exists()
    source.behave(PATH)
    already = source.sent(PATH)
    fetched = upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert fetched.sha256 == hashlib.sha256(BODY).hexdigest()
    assert source.sent(PATH) - already == len(BODY) - durable + OVERLAP_BYTES
    assert is_alone(target)


def test_bytes_that_were_not_durable_are_not_trusted(source: LocalUpstream, upstream: Upstream, target: Path) -> None:
    source.misbehave(PATH, Fault.TRUNCATED, at=700_000, times=1)
    with client(limits=replace(LIMITS, attempts=1)) as impatient, pytest.raises(SourceUnavailable):
        impatient.download(source.url(PATH), target, media=Media.ZIP)
    part = target.with_name("data.zip.part")
    with part.open("ab") as file:  # as a disk may have it after the power was lost
        file.write(bytes(100_000))
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("memory", [b"", b"{", b"[]", b'{"durable": 10}', b'{"durable": 1e99, "stamp": {"url": "x"}}'])
def test_a_damaged_memory_of_a_part_is_none(
    source: LocalUpstream, upstream: Upstream, target: Path, memory: bytes
) -> None:
    target.parent.mkdir()
    target.with_name("data.zip.part").write_bytes(OTHER[:1000])
    target.with_name("data.zip.part.json").write_bytes(memory)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == BODY
    assert is_alone(target)


def test_a_file_that_was_finished_in_between_is_not_written_to(
    source: LocalUpstream, upstream: Upstream, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fcntl.flock

    def lock(file: Any, how: int) -> None:  # between opening and locking, another process gives it its name
        target.with_name("data.zip.part").replace(target)
        target.write_bytes(BODY)
        plain(file, how)

    monkeypatch.setattr(fcntl, "flock", lock)
    with pytest.raises(Unavailable, match="by another process"):
        upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == BODY


def test_two_threads_do_not_write_one_file(source: LocalUpstream, target: Path) -> None:
    said: list[str] = []

    def fetch() -> None:
        with client() as upstream:
            try:
                said.append(upstream.download(source.url(PATH), target, media=Media.ZIP).sha256)
            except Unavailable as error:
                said.append(error.detail)

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    digest = hashlib.sha256(BODY).hexdigest()
    assert digest in said
    assert set(said) <= {digest, "'data.zip' is being fetched by another process."}
    assert target.read_bytes() == BODY


# -- it is what it should be -------------------------------------------------------------------------------------------


def geopackage(tmp_path: Path) -> bytes:
    path = tmp_path / "made.gpkg"
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA application_id = 0x47504B47")
        made.execute("CREATE TABLE t (x)")
        made.executemany("INSERT INTO t VALUES (?)", [(bytes(100),)] * 500)
        made.commit()
    return path.read_bytes()


def parquet(_: Path) -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.table({"a": list(range(5000))}), written)
    return written.getvalue()


KINDS: dict[Media, Any] = {
    Media.ZIP: lambda _: archive(70_000),
    Media.GEOJSON: lambda _: places(),
    Media.GEOPACKAGE: geopackage,
    Media.PARQUET: parquet,
}


@pytest.mark.parametrize("media", list(KINDS))
def test_what_ends_too_soon_without_a_length_is_found_by_its_end(
    source: LocalUpstream, upstream: Upstream, target: Path, tmp_path: Path, media: Media
) -> None:
    body = KINDS[media](tmp_path)
    url = source.serve("/x", body, etag="", last_modified="")
    source.misbehave("/x", Fault.TRUNCATED_SILENTLY, at=len(body) - 40, times=2)
    upstream.download(url, target, media=media)
    assert target.read_bytes() == body
    assert source.fired("/x") == 2
    source.misbehave("/x", Fault.TRUNCATED_SILENTLY, at=len(body) - 40)
    with pytest.raises(SourceUnavailable, match="broke off after"):
        upstream.download(url, target.with_name("other"), media=media)


def test_what_ends_too_soon_without_a_length_is_found_by_what_was_checked(
    source: LocalUpstream, upstream: Upstream, target: Path
) -> None:
    url = source.serve("/x.csv", body := b"a,b\n" * 10_000)
    stamp = upstream.head(url)
    source.misbehave("/x.csv", Fault.TRUNCATED_SILENTLY, at=8000, times=1)
    upstream.download(url, target, media=Media.CSV, expect=stamp)
    assert target.read_bytes() == body
    assert source.fired("/x.csv") == 1


def test_chunks_that_end_too_soon_are_found(source: LocalUpstream, upstream: Upstream, target: Path) -> None:
    source.misbehave(PATH, Fault.TRUNCATED_CHUNKED, at=700_000, times=1)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == BODY
    assert source.fired(PATH) == 1


def test_an_archive_that_is_cut_at_the_source_is_not_taken(
    source: LocalUpstream, upstream: Upstream, target: Path
) -> None:
    url = source.serve("/cut.zip", BODY[:-100_000])
    with pytest.raises(UnreadableFile, match=r"is cut off: a zip archive without its end, 1,900,\d+ bytes"):
        upstream.download(url, target, media=Media.ZIP)
    assert is_empty(target)


@pytest.mark.parametrize("media", [media for media in Media if media is not Media.ANY])
def test_a_web_page_is_no_file(source: LocalUpstream, upstream: Upstream, target: Path, media: Media) -> None:
    source.misbehave(PATH, Fault.HTML)
    with pytest.raises(UnreadableFile, match=rf"sent a web page \(HTML\) and not a {media}"):
        upstream.download(source.url(PATH), target, media=media)
    assert source.fired(PATH) == 1
    assert is_empty(target)


@pytest.mark.parametrize(
    ("body", "media", "said"),
    [
        (BODY, Media.GEOJSON, "sent zip archive and not a GeoJSON"),
        (places(), Media.ZIP, "sent JSON and not a zip archive"),
        (b"", Media.CSV, r"sent nothing \(0 bytes\) and not a CSV"),
        (b"\0\1\2\3" * 1000, Media.CSV, "sent something and not a CSV"),
        (b"%PDF-1.7 " + b"x" * 1000, Media.GEOTIFF, "sent something and not a GeoTIFF"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', Media.ANY, ""),
    ],
)
def test_what_is_something_else_is_said_to_be_what_it_is(
    source: LocalUpstream, upstream: Upstream, target: Path, body: bytes, media: Media, said: str
) -> None:
    url = source.serve("/x", body, media_type="application/zip")
    if not said:
        upstream.download(url, target, media=media)
        return
    with pytest.raises(UnreadableFile, match=said):
        upstream.download(url, target, media=media)
    assert is_empty(target)


def test_of_something_else_only_the_beginning_is_read(source: LocalUpstream, upstream: Upstream, target: Path) -> None:
    url = source.serve("/huge", b"%PDF-1.7 " + bytes(30_000_000))
    with pytest.raises(UnreadableFile):
        upstream.download(url, target, media=Media.ZIP)
    assert source.sent("/huge") < 20_000_000


def test_the_type_that_the_server_names_counts_for_nothing(
    source: LocalUpstream, upstream: Upstream, target: Path
) -> None:
    source.misbehave(PATH, Fault.WRONG_TYPE)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert source.fired(PATH) == 1


def test_another_digest_is_not_taken(source: LocalUpstream, upstream: Upstream, target: Path) -> None:
    with pytest.raises(VerificationFailed, match="has the SHA-256"):
        upstream.download(source.url(PATH), target, media=Media.ZIP, sha256="0" * 64)
    assert is_empty(target)


def test_what_is_sent_packed_is_not_unpacked(source: LocalUpstream, upstream: Upstream, target: Path) -> None:
    source.misbehave(PATH, Fault.GZIP_BOMB)
    with pytest.raises(UnreadableFile, match=r"sent the file packed \(gzip\)"):
        upstream.download(source.url(PATH), target, media=Media.ANY)
    assert source.fired(PATH) == 1
    assert is_empty(target)


@pytest.mark.parametrize("is_told", [True, False])
def test_more_than_the_limit_is_not_taken(source: LocalUpstream, target: Path, is_told: bool) -> None:
    if not is_told:
        source.misbehave(PATH, Fault.TRUNCATED_SILENTLY, at=len(BODY))
    with client(limits=replace(LIMITS, file_bytes=1_000_000)) as upstream:
        with pytest.raises(LimitExceeded, match=r"more than 1\.0 MB"):
            upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert is_empty(target)


def test_a_full_disk_is_said_to_be_full_and_is_not_kept_so(
    source: LocalUpstream, upstream: Upstream, target: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(Unavailable, match=r"'data\.zip' could not be written: the disk is full") as caught:
            upstream.download(source.url(PATH), target, media=Media.ZIP)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "Free some space" in str(caught.value.hint)
    assert str(target.parent) not in str(caught.value)
    assert is_empty(target)
    upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert target.read_bytes() == BODY


def test_what_does_not_fit_is_not_begun(
    source: LocalUpstream, upstream: Upstream, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoetl.datasets.upstream.part.free_bytes", lambda _: 1_000_000)
    with pytest.raises(Unavailable, match=r"has 2\.0 MB; the disk has 1\.0 MB free"):
        upstream.download(source.url(PATH), target, media=Media.ZIP)
    assert is_empty(target)


def test_a_folder_that_cannot_be_written_is_said_to_be_one(
    source: LocalUpstream, upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="could not be written"):
        upstream.download(source.url(PATH), tmp_path / "file" / "data.zip", media=Media.ZIP)


@pytest.mark.parametrize("told", ["", "bytes", "bytes 5-1/x", "bytes 0-1999/" + "9" * 40])
def test_a_part_that_does_not_say_which_is_not_taken(
    source: LocalUpstream, upstream: Upstream, target: Path, told: str
) -> None:
    url = source.json("/x", lambda _: Reply(206, BODY, {"Content-Range": told}))
    with pytest.raises(SourceUnavailable, match="without saying which"):
        upstream.download(url, target, media=Media.ZIP)
    assert is_empty(target)


def test_every_fault_leaves_a_file_that_is_whole_or_none(source: LocalUpstream, target: Path) -> None:
    for fault in Fault:
        source.serve(PATH, BODY)
        source.misbehave(PATH, fault, at=700_000, to=source.url("/elsewhere"), body=OTHER, pause_s=0.05)
        with client(limits=replace(IMPATIENT, attempts=2, silence_s=60)) as upstream:
            with contextlib.suppress(GeoetlError):
                upstream.download(source.url(PATH), target, media=Media.ZIP)
        if target.exists():
            assert target.read_bytes() in (BODY, OTHER), fault
            target.unlink()
        if fault not in (Fault.HEAD_REFUSED, Fault.RANGE_IGNORED, Fault.RANGE_SHIFTED):
            assert source.fired(PATH), fault
    assert {each.name for each in target.parent.iterdir()} <= {"data.zip.part", "data.zip.part.json"}
