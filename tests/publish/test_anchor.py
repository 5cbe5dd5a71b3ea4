"""The head that is kept outside the database shows what was taken from the log, and is not replaced by a forged one."""

from pathlib import Path

import pytest

from geoetl.core.errors import UnreadableFile, VerificationFailed
from geoetl.publish.anchor import KEY, Anchor, advanced, read_head, write_head
from geoetl.publish.audit import GENESIS, AuditLog, append_many
from geoetl.publish.verification import Tampering, verify
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.database import Database
from geoetl.store.zones import Zone
from tests.publish.test_audit import an_entry, written


@pytest.fixture
def anchor(sqlite: Database, tmp_path: Path) -> Anchor:
    """Give the anchor in an external zone."""
    external = tmp_path / "external"
    return Anchor(Zone("external", external.as_uri(), ArtifactRepository(sqlite), tmp_path / "cache"))


def test_the_head_is_kept_and_moves_on_with_the_log(sqlite: Database, anchor: Anchor) -> None:
    log = AuditLog(sqlite)
    assert anchor.read() is None
    assert anchor.write(log) == GENESIS
    for count in (3, 1):
        written(sqlite, count)
        assert anchor.write(log) == anchor.read() == log.head()
        assert anchor.write(log) == log.head()


def test_a_log_that_was_written_anew_or_cut_does_not_replace_its_witness(
    sqlite: Database, anchor: Anchor, tmp_path: Path
) -> None:
    kept = anchor.write(written(sqlite, 5))
    for name, count, found in (("cut", 3, Tampering.TRUNCATED), ("anew", 6, Tampering.FORKED)):
        other = Database(f"sqlite:///{tmp_path / name}.db")
        other.upgrade()
        log = written(other, 3) if name == "cut" else written(other, 1)
        with other.begin() as connection:
            append_many(connection, [an_entry(9) for _ in range(count - log.head().number)])
        with pytest.raises(VerificationFailed, match="row 5"):
            anchor.write(log)
        assert anchor.read() == kept
        fault = verify(log.rows(), kept).fault
        assert fault is not None
        assert fault.kind is found
        other.dispose()


def test_new_rows_are_seen_through_before_their_head_is_kept(sqlite: Database, anchor: Anchor) -> None:
    kept = anchor.write(written(sqlite, 5))
    log = written(sqlite, 5)
    with sqlite.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER publish_audit_log_no_update")
        connection.exec_driver_sql("UPDATE publish_audit_log SET actor = 'mallory' WHERE number = 8")
    with pytest.raises(VerificationFailed, match="at row 8"):
        anchor.write(log)
    assert anchor.read() == kept


def test_a_file_keeps_a_head_as_well(sqlite: Database, tmp_path: Path) -> None:
    log, path = written(sqlite, 4), tmp_path / "head.json"
    write_head(advanced(log, GENESIS), path)
    assert read_head(path) == log.head()
    for text in (
        "",
        "[]",
        "{}",
        '{"number": -1, "hash": "a"}',
        '{"number": true, "hash": "' + "a" * 64 + '"}',
        "[" * 9000,
    ):
        path.write_text(text)
        with pytest.raises(UnreadableFile):
            read_head(path)
    with pytest.raises(UnreadableFile):
        read_head(tmp_path / "none.json")


def test_what_is_no_head_in_the_zone_is_not_taken_for_none(sqlite: Database, anchor: Anchor, tmp_path: Path) -> None:
    anchor.write(written(sqlite, 2))
    (tmp_path / "external" / KEY).write_text("{")
    with pytest.raises(UnreadableFile):
        anchor.write(AuditLog(sqlite))
