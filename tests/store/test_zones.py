"""An object is there whole, verified and recorded, or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from geoetl.core.errors import ConfigurationError, InvalidParameter, NotFound, Unavailable
from geoetl.core.identifiers import file_digest
from geoetl.store.zones import Zone, Zones


def source(folder: Path, content: bytes = b"content") -> Path:
    path = folder / "source.bin"
    path.write_bytes(content)
    return path


def remote(zone: Zone) -> Zone:
    """Give a zone in an object store that lives in memory."""
    return Zone("external", "memory:///", zone.artifacts, zone.cache)


def test_an_object_is_stored_with_its_digest_and_recorded(zone: Zone, tmp_path: Path) -> None:
    stored = zone.put(source(tmp_path), "c/x/x-1.bin", owner="c/x")
    assert stored.sha256 == file_digest(zone.local_path("c/x/x-1.bin"))
    assert (stored.bytes, stored.href) == (7, "internal://c/x/x-1.bin")
    assert zone.artifacts.of_owner("c/x") == [("internal", "c/x/x-1.bin", stored.sha256, 7)]


def test_an_object_replaces_its_predecessor_and_leaves_nothing_behind(zone: Zone, tmp_path: Path) -> None:
    zone.put(source(tmp_path, b"old"), "c/x.bin", owner="c/x")
    zone.put(source(tmp_path, b"new"), "c/x.bin", owner="c/x")
    assert zone.root is not None
    assert [p.relative_to(zone.root).as_posix() for p in zone.root.rglob("*") if p.is_file()] == ["c/x.bin"]
    assert zone.local_path("c/x.bin").read_bytes() == b"new"


@pytest.mark.parametrize("key", ["", "../x", "/x", "a//b", "a/../b", "a/./b", "a\\b", "a/", ".incoming/x"])
def test_a_key_never_leads_out(zone: Zone, tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidParameter):
        zone.put(source(tmp_path), key, owner="c/x")
    with pytest.raises(InvalidParameter):
        zone.local_path(key)


def test_a_disk_that_is_full_leaves_the_old_object_and_no_partial_one(zone: Zone, tmp_path: Path) -> None:
    zone.put(source(tmp_path, b"old"), "c/x.bin", owner="c/x")
    large = source(tmp_path, os.urandom(2_000_000))
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from geoetl.core.errors import Unavailable\n"
        "from geoetl.store.artifacts import ArtifactRepository\n"
        "from geoetl.store.database import Database\n"
        "from geoetl.store.zones import Zone\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "zone = Zone('internal', sys.argv[1], ArtifactRepository(Database(sys.argv[2])), Path(sys.argv[3]))\n"
        "try:\n"
        "    zone.put(Path(sys.argv[4]), 'c/x.bin', owner='c/x')\n"
        "except Unavailable as error:\n"
        "    print('refused:', error.detail)\n"
    )
    database = f"sqlite:///{tmp_path / 'zone.db'}"
    command = [sys.executable, "-c", script, zone.url, database, str(zone.cache), str(large)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith("refused: The internal zone could not be written: File too large")
    assert zone.local_path("c/x.bin").read_bytes() == b"old"
    assert zone.root is not None
    assert list((zone.root / ".incoming").iterdir()) == []


def test_a_remote_zone_verifies_what_arrived(zone: Zone, tmp_path: Path) -> None:
    far = remote(zone)
    stored = far.put(source(tmp_path), "c/x.bin", owner="c/x")
    assert far.size("c/x.bin") == 7
    local = far.local_path("c/x.bin")
    assert (local.read_bytes(), file_digest(local)) == (b"content", stored.sha256)
    far.delete("c/x.bin")
    assert far.size("c/x.bin") is None
    with pytest.raises(NotFound):
        far.local_path("c/x.bin")


def test_a_copy_of_a_remote_object_follows_its_changes(zone: Zone, tmp_path: Path) -> None:
    far = remote(zone)
    far.put(source(tmp_path, b"old"), "c/x.bin", owner="c/x")
    assert far.local_path("c/x.bin").read_bytes() == b"old"
    far.put(source(tmp_path, b"new"), "c/x.bin", owner="c/x")
    assert far.local_path("c/x.bin").read_bytes() == b"new"


def test_removing_what_is_gone_is_no_error(zone: Zone) -> None:
    zone.delete("c/x.bin")
    assert zone.size("c/x.bin") is None


def test_addresses_go_back_and_forth(zone: Zone, tmp_path: Path) -> None:
    zones = Zones(zone, remote(zone))
    opened = zones.openable("internal://c/x.bin")
    assert opened == str(tmp_path / "zone" / "c" / "x.bin")
    assert zones.portable(opened) == zones.portable(f"file://{opened}") == "internal://c/x.bin"
    for other in ("https://example.org/x", "/elsewhere/x", "#fragment"):
        assert zones.portable(other) == zones.openable(other) == other


@pytest.mark.parametrize("href", ["internal://../x", "internal:///etc/passwd", "internal://a/../../x", "external://.."])
def test_an_address_never_leads_out_of_its_zone(zone: Zone, href: str) -> None:
    with pytest.raises(InvalidParameter, match="leads out of the"):
        Zones(zone, remote(zone)).openable(href)


def test_a_url_of_another_kind_is_a_configuration_error(zone: Zone) -> None:
    with pytest.raises(ConfigurationError, match="internal zone"):
        Zone("internal", "ftp://x", zone.artifacts, zone.cache)


def test_a_folder_without_permission_is_told(zone: Zone, tmp_path: Path) -> None:
    zone.put(source(tmp_path), "c/x.bin", owner="c/x")
    assert zone.root is not None
    (zone.root / "c" / "file").write_text("a file where a folder is wanted")
    with pytest.raises(Unavailable, match="could not be written"):
        zone.put(source(tmp_path), "c/file/x.bin", owner="c/x")
