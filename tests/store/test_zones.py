"""An object is there whole, verified and recorded, or not at all."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import obstore
import pytest

from geoetl.core.errors import ConfigurationError, Conflict, InvalidParameter, NotFound, Unavailable
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


def test_an_object_store_keeps_what_kind_an_object_is(zone: Zone, tmp_path: Path) -> None:
    there = remote(zone)
    for key, media_type in {
        "c/x.tif": "image/tiff; application=geotiff; profile=cloud-optimized",
        "c/x.parquet": "application/vnd.apache.parquet",
        "c/x": "application/octet-stream",
    }.items():
        there.put(source(tmp_path), key, owner="c/x")
        assert obstore.get(there.store, key).attributes["Content-Type"] == media_type


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


# -- folders ---------------------------------------------------------------------------------------------------------


def folder(parent: Path, name: str = "store", extra: bytes = b"") -> Path:
    made = parent / name
    (made / "tas").mkdir(parents=True)
    (made / ".zmetadata").write_bytes(b"{}")
    (made / "tas/refs.0.parq").write_bytes(b"references" + extra)
    (made / "tas/.hidden").write_bytes(b"")
    return made


def files(path: Path) -> dict[str, bytes]:
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_a_folder_is_stored_whole_with_its_digest_and_recorded(zone: Zone, tmp_path: Path) -> None:
    source = folder(tmp_path)
    stored = zone.put_folder(source, "c/x/cube", owner="c/x")
    lines = [
        f"{name} {hashlib.sha256(content).hexdigest()} {len(content)}\n" for name, content in files(source).items()
    ]
    assert stored.sha256 == hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    assert (stored.bytes, stored.files, stored.href) == (12, 3, "internal://c/x/cube")
    assert files(zone.local_folder("c/x/cube")) == files(source)
    assert zone.folder_size("c/x/cube") == 12
    assert zone.artifacts.of_owner("c/x") == [("internal", "c/x/cube", stored.sha256, 12)]
    assert zone.root is not None
    assert not list((zone.root / ".incoming").iterdir())


@pytest.mark.parametrize("place", ["file", "remote"])
def test_the_same_folder_again_is_no_error_and_another_one_is(zone: Zone, tmp_path: Path, place: str) -> None:
    zone = remote(zone) if place == "remote" else zone
    source = folder(tmp_path)
    first = zone.put_folder(source, "c/cube", owner="c/x")
    assert zone.put_folder(source, "c/cube", owner="c/x") == first
    with pytest.raises(Conflict, match="another folder"):
        zone.put_folder(folder(tmp_path, "other", b"!"), "c/cube", owner="c/x")
    assert files(zone.local_folder("c/cube")) == files(source)
    assert zone.artifacts.of_owner("c/x") == [(zone.name, "c/cube", first.sha256, first.bytes)]


@pytest.mark.parametrize("place", ["file", "remote"])
def test_a_folder_that_is_deleted_is_gone(zone: Zone, tmp_path: Path, place: str) -> None:
    zone = remote(zone) if place == "remote" else zone
    zone.put_folder(folder(tmp_path), "c/cube", owner="c/x")
    zone.delete("c/cube")
    assert zone.folder_size("c/cube") is None
    assert zone.artifacts.of_owner("c/x") == []
    with pytest.raises(NotFound):
        zone.local_folder("c/cube")
    zone.delete("c/cube")


def test_a_remote_folder_is_copied_once_per_version(zone: Zone, tmp_path: Path) -> None:
    away = remote(zone)
    source = folder(tmp_path)
    away.put_folder(source, "c/cube", owner="c/x")
    first = away.local_folder("c/cube")
    assert files(first) == files(source)
    assert away.local_folder("c/cube") == first
    away.delete("c/cube")
    away.put_folder(folder(tmp_path, "new", b"!"), "c/cube", owner="c/x")
    assert away.local_folder("c/cube") != first


def test_an_upload_that_broke_off_is_taken_up_again(zone: Zone, tmp_path: Path) -> None:
    away, source = remote(zone), folder(tmp_path)
    away.put(source / "tas/refs.0.parq", "c/cube/tas/refs.0.parq", owner="c/x")
    away.put_folder(source, "c/cube", owner="c/x")
    assert files(away.local_folder("c/cube")) == files(source)


@pytest.mark.parametrize("key", ["", "../x", "/x", "a//b", "a/../b", ".incoming/x"])
def test_the_key_of_a_folder_never_leads_out(zone: Zone, tmp_path: Path, key: str) -> None:
    source = folder(tmp_path)
    for ask in (zone.local_folder, zone.folder_size, lambda key: zone.put_folder(source, key, owner="c/x")):
        with pytest.raises(InvalidParameter):
            ask(key)


def test_links_and_empty_folders_are_not_stored(zone: Zone, tmp_path: Path) -> None:
    (tmp_path / "empty/inner").mkdir(parents=True)
    with pytest.raises(InvalidParameter, match="no folder with files"):
        zone.put_folder(tmp_path / "empty", "c/cube", owner="c/x")
    source = folder(tmp_path)
    (source / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidParameter, match="neither a file nor a folder"):
        zone.put_folder(source, "c/cube", owner="c/x")
    assert zone.folder_size("c/cube") is None


def test_a_file_and_a_folder_are_told_apart(zone: Zone, tmp_path: Path) -> None:
    zone.put(source(tmp_path), "c/file", owner="c/x")
    zone.put_folder(folder(tmp_path), "c/folder", owner="c/x")
    assert (zone.size("c/folder"), zone.folder_size("c/file")) == (None, None)
    with pytest.raises(NotFound):
        zone.local_path("c/folder")
    with pytest.raises(NotFound):
        zone.local_folder("c/file")
