"""What becomes public is exactly what was approved, all of it or nothing, whatever breaks on the way."""

import errno
import os
import resource
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoetl.core.errors import GeoetlError, InvalidParameter, NotFound, Unavailable, VerificationFailed
from geoetl.publish.delivery import document_bytes
from geoetl.store.area import Area
from geoetl.store.staging import Staging, area_at
from tests.azurite import Azurite
from tests.publish.delivering import DOCUMENTS, FILES, RELEASE, Shipment, flip, manifest_of, shipping

KINDS = ["files", "s3", "one-bucket", "azure"]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Shipment]:
    """Give a release that goes from one folder to another."""
    with shipping(tmp_path, ((tmp_path / "internal").as_uri(), (tmp_path / "external").as_uri())) as shipment:
        yield shipment


@pytest.fixture(params=KINDS)
def shipment(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shipment]:
    """Give a release that goes from one zone to another, of each kind."""
    urls = ((tmp_path / "internal").as_uri(), (tmp_path / "external").as_uri())
    if request.param != "files":
        server = request.getfixturevalue("azurite" if request.param == "azure" else "s3")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        if request.param == "azure":
            urls = (f"az://{server.new_container()}", f"az://{server.new_container()}/public")
        else:
            names = [f"delivery-{secrets.token_hex(6)}" for _ in range(2)]
            for name in names:
                (server.folder / name).mkdir()
            of_one = f"s3://{names[0]}/internal", f"s3://{names[0]}/public"
            urls = of_one if request.param == "one-bucket" else (f"s3://{names[0]}", f"s3://{names[1]}/public")
    with shipping(tmp_path, urls) as made:
        yield made


# -- the way in --------------------------------------------------------------------------------------------------------


def test_all_that_was_approved_is_public_and_nothing_else(shipment: Shipment) -> None:
    count = len(FILES) + len(DOCUMENTS)
    done = shipment.deliver()
    assert (done.objects, done.copied, done.resumed) == (count, count, 0)
    documents = sum(len(document_bytes(document)) for document in DOCUMENTS.values())
    assert done.bytes == sum(map(len, FILES.values())) + documents
    assert shipment.copy.told[-1] == (len(FILES), done.bytes - documents)
    shipment.assert_public()


def test_what_is_public_already_is_not_touched(shipment: Shipment) -> None:
    shipment.deliver()
    again = shipment.deliver()
    assert (again.copied, again.resumed) == (0, len(FILES) + len(DOCUMENTS))
    assert len(shipment.copier.asked) == 1
    shipment.assert_public()


def test_a_delivery_that_broke_off_goes_on_where_it_ended(shipment: Shipment) -> None:
    def break_off(staging: Staging, call: int) -> None:
        if call == 1:
            staging.area.discard(["flood.tif"])
            raise Unavailable("The network is gone.")

    shipment.copier.after = break_off
    with pytest.raises(Unavailable):
        shipment.deliver()
    shipment.assert_nothing_public()
    done = shipment.deliver()
    assert shipment.copier.asked[1] == ["flood.tif"]
    assert (done.copied, done.resumed) == (1, len(FILES) + len(DOCUMENTS) - 1)
    shipment.assert_public()


def test_what_is_not_of_the_release_does_not_become_public(shipment: Shipment) -> None:
    shipment.staging.area.write("secret.tif", b"of an earlier manifest", "image/tiff")
    shipment.deliver()
    shipment.assert_public()


def test_what_should_not_be_at_the_path_is_replaced(shipment: Shipment) -> None:
    shipment.deliver()
    place = area_at(shipment.copy.staging.zone, shipment.manifest.path)
    place.write("flood.tif", flip(FILES["flood.tif"]), "image/tiff")
    place.write("stranger.txt", b"?", "text/plain")
    assert not shipment.delivery.is_complete(shipment.manifest)
    shipment.deliver()
    shipment.assert_public()


def test_a_changed_document_is_noticed(files: Shipment) -> None:
    files.deliver()
    path = area_at(files.copy.staging.zone, files.manifest.path).address("flood.json")
    Path(path).write_bytes(flip(Path(path).read_bytes()))
    assert not files.delivery.is_complete(files.manifest)


# -- bits that flip ----------------------------------------------------------------------------------------------------


def test_a_bit_that_flips_on_the_way_is_found_and_the_object_brought_once_more(shipment: Shipment) -> None:
    assert_brought_once_more(shipment, "flipped")


@pytest.mark.parametrize("wrong", ["truncated", "missing", "longer"])
def test_what_arrives_wrong_is_brought_once_more(files: Shipment, wrong: str) -> None:
    assert_brought_once_more(files, wrong)


def assert_brought_once_more(shipment: Shipment, wrong: str) -> None:
    """Check that an object that is damaged on the way is brought again, and nothing else."""

    def harm(staging: Staging, call: int) -> None:
        if call == 1:
            damage(staging.area, "flood.tif", FILES["flood.tif"], wrong)

    shipment.copier.after = harm
    shipment.deliver()
    assert shipment.copier.asked[1:] == [["flood.tif"]]
    shipment.assert_public()


def test_what_arrives_wrong_twice_is_told_and_nothing_is_public(shipment: Shipment) -> None:
    shipment.copier.after = lambda staging, call: damage(staging.area, "flood.tif", FILES["flood.tif"], "flipped")
    with pytest.raises(VerificationFailed, match=r"'flood\.tif' did not arrive in the external zone as it was sent"):
        shipment.deliver()
    assert len(shipment.copier.asked) == 2
    shipment.assert_nothing_public()


def test_a_bit_that_flips_in_what_is_collected_is_found_by_the_next_delivery(shipment: Shipment) -> None:
    def break_off(staging: Staging, call: int) -> None:
        if call == 1:
            raise Unavailable("The machine went down.")

    shipment.copier.after = break_off
    with pytest.raises(Unavailable):
        shipment.deliver()
    damage(shipment.staging.area, "tas.zarr/tas/0.0.0", FILES["tas.zarr/tas/0.0.0"], "flipped")
    shipment.deliver()
    assert shipment.copier.asked[1] == ["tas.zarr/tas/0.0.0"]
    shipment.assert_public()


def test_a_source_that_changed_since_approval_does_not_become_public(shipment: Shipment) -> None:
    damage(shipment.copy.made, shipment.source("flood.tif"), FILES["flood.tif"], "flipped")
    with pytest.raises(VerificationFailed, match=r"'flood\.tif' changed since it was approved"):
        shipment.deliver()
    assert len(shipment.copier.asked) == 1
    shipment.assert_nothing_public()


def test_a_source_that_is_gone_is_told_by_its_name(shipment: Shipment) -> None:
    shipment.copy.made.discard([shipment.source("flood.tif")])
    with pytest.raises(NotFound) as caught:
        shipment.deliver()
    assert "flood.tif" in caught.value.detail
    shipment.assert_nothing_public()


def test_a_store_that_copies_wrongly_is_found_out(
    tmp_path: Path, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in azurite.environment.items():
        monkeypatch.setenv(name, value)
    urls = (tmp_path / "internal").as_uri(), f"az://{azurite.new_container()}"
    with shipping(tmp_path, urls) as shipment:
        import obstore

        copy, calls = obstore.copy, list[str]()

        def wrong(store: object, source: str, target: str) -> None:
            calls.append(target)
            copy(store, source, target)  # type: ignore[arg-type]
            if target.endswith("flood.tif"):
                obstore.put(store, target, flip(FILES["flood.tif"]))  # type: ignore[arg-type]

        with monkeypatch.context() as context:
            context.setattr(obstore, "copy", wrong)
            with pytest.raises(VerificationFailed, match=r"did not copy 'flood\.tif' as it was collected"):
                shipment.deliver()
        assert not any(target.endswith("flood.json") for target in calls), "the item comes last"
        assert "flood.tif" not in shipment.public
        shipment.deliver()
        shipment.assert_public()


# -- what else breaks --------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_leaves_nothing_public_and_the_next_delivery_goes_on(tmp_path: Path) -> None:
    large = {**FILES, "flood.tif": os.urandom(5_000_000)}
    with shipping(tmp_path, ((tmp_path / "internal").as_uri(), (tmp_path / "external").as_uri()), large) as shipment:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, hard))
        try:
            with pytest.raises(Unavailable, match=r"'flood\.tif' could not be copied: the disk is full") as caught:
                shipment.deliver()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert str(tmp_path) not in f"{caught.value} {caught.value.__cause__}"
        shipment.assert_nothing_public()
        shipment.deliver()
        shipment.assert_public()


def test_a_store_that_is_gone_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "not-to-be-shown", "AWS_REGION": "us-east-1"}
    for name, value in {**given, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(name, value)
    with shipping(tmp_path, ((tmp_path / "internal").as_uri(), "s3://nowhere")) as shipment:
        with pytest.raises(Unavailable, match="does not answer") as caught:
            shipment.deliver()
        said = f"{caught.value} {caught.value.__cause__}"
        assert "not-to-be-shown" not in said and "127.0.0.1" not in said


_KILLED = """
import os, signal, sys
from pathlib import Path
from geoetl.publish.copiers.objects import ObjectsCopier
from geoetl.publish.delivery import Delivery
from geoetl.publish.model import Manifest
from geoetl.core.settings import LimitSettings
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.database import Database
from geoetl.store.gate import Gate
from geoetl.store.origins import Origins
from geoetl.store.zones import Zone, Zones

folder, wanted, left = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def count(event, arguments):
    global left
    if event == wanted:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

artifacts = ArtifactRepository(Database(f"sqlite:///{folder / 'rehearsal.db'}"))
zones = Zones(*(Zone(name, (folder / name).as_uri(), artifacts, folder / "cache") for name in ("internal", "external")))
origins = Origins(zones, Gate((), LimitSettings()))
manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
sys.addaudithook(count)
Delivery(zones.external, origins, ObjectsCopier(origins)).deliver(manifest, "release-1", lambda objects, size: None)
"""


@pytest.mark.parametrize(
    ("event", "before"),
    [("open", 4), ("open", 16), ("open", 24), ("os.rename", 0)],
)
def test_a_process_that_is_killed_leaves_nothing_half_public(
    files: Shipment, tmp_path: Path, event: str, before: int
) -> None:
    (tmp_path / "manifest.json").write_text(files.manifest.model_dump_json())
    command = [sys.executable, "-c", _KILLED, str(tmp_path), event, str(before)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    whole = len(files.public) == len(FILES) + len(DOCUMENTS)
    assert whole or files.public == {}
    files.deliver()
    files.assert_public()


def test_two_deliveries_of_one_release_at_once_both_succeed(shipment: Shipment) -> None:
    failed: list[GeoetlError] = []
    meet = threading.Barrier(3)

    def deliver() -> None:
        meet.wait()
        try:
            shipment.deliver()
        except GeoetlError as error:
            failed.append(error)

    threads = [threading.Thread(target=deliver) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [error for error in failed if not isinstance(error, Unavailable)] == []
    shipment.deliver()
    shipment.assert_public()


def test_nobody_sees_a_part_of_a_release(files: Shipment) -> None:
    root = files.copy.staging.zone.root
    assert root is not None
    seen, ended = set[int](), threading.Event()

    def watch() -> None:
        while not ended.is_set():
            for place in (root / "hazards" / "flood").glob("v*"):
                seen.add(sum(path.is_file() for path in place.rglob("*")))

    watching = threading.Thread(target=watch)
    watching.start()
    for version in range(1, 11):
        manifest = files.manifest.model_copy(update={"version": version})
        files.delivery.deliver(manifest, f"release-{version}", lambda objects, size: None)
    ended.set()
    watching.join()
    assert seen <= {len(FILES) + len(DOCUMENTS)}


def test_hundreds_of_objects_are_delivered(tmp_path: Path) -> None:
    many = {f"tas.zarr/tas/{number // 100}.{number % 100}": os.urandom(40) for number in range(600)}
    with shipping(tmp_path, ((tmp_path / "internal").as_uri(), (tmp_path / "external").as_uri()), many) as shipment:
        done = shipment.deliver()
        assert done.copied == 600 + len(DOCUMENTS)
        shipment.assert_public()
        shipment.delivery.remove(shipment.manifest)
        assert shipment.anywhere == []


@pytest.mark.parametrize(
    "name", ["../x.tif", "/x.tif", "a//b", "a/./b", "a b.tif", "a\\b", "a%2fb", "gro\u0308ße.tif", "", "x\n"]
)
def test_a_name_that_is_not_the_same_everywhere_is_refused(files: Shipment, name: str) -> None:
    first = files.manifest.objects[0].model_copy(update={"target": name})
    manifest = files.manifest.model_copy(update={"objects": (first,)})
    with pytest.raises(InvalidParameter):
        files.delivery.deliver(manifest, RELEASE, lambda objects, size: None)
    assert files.anywhere == []


@pytest.mark.parametrize(("one", "other"), [("x", "x"), ("x", "x/y"), ("x/y/z", "x/y"), ("flood.json", "y")])
def test_names_that_cannot_be_side_by_side_are_refused(files: Shipment, one: str, other: str) -> None:
    given = files.manifest.objects[0]
    objects = tuple(given.model_copy(update={"target": name}) for name in (one, other))
    with pytest.raises(InvalidParameter, match="would"):
        files.delivery.deliver(
            files.manifest.model_copy(update={"objects": objects}), RELEASE, lambda objects, size: None
        )


# -- the way out -------------------------------------------------------------------------------------------------------


def test_what_is_removed_is_gone_and_its_neighbours_stay(shipment: Shipment) -> None:
    shipment.deliver()
    other = manifest_of(shipment.copy, FILES, version=30)
    shipment.delivery.deliver(other, "release-2", lambda objects, size: None)
    shipment.delivery.remove(shipment.manifest)
    shipment.assert_nothing_public()
    assert shipment.delivery.is_complete(other)
    shipment.delivery.remove(shipment.manifest)
    keys = {key for _, key, _, _ in shipment.copy.staging.zone.artifacts.of_owner("hazards/flood")}
    assert keys == {f"{other.path}/{name}" for name in (*FILES, *DOCUMENTS)}
    shipment.delivery.remove(other)
    assert shipment.anywhere == []
    root = shipment.copy.staging.zone.root
    assert root is None or not (root / "hazards").exists()


def test_a_removal_that_broke_off_is_finished_by_the_next(files: Shipment, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    files.deliver()

    def fail(folder: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as context:
        context.setattr(shutil, "rmtree", fail)
        with pytest.raises(Unavailable):
            files.delivery.remove(files.manifest)
    files.assert_nothing_public()
    files.delivery.remove(files.manifest)
    assert files.anywhere == []


def test_what_was_removed_can_be_delivered_again(shipment: Shipment) -> None:
    shipment.deliver()
    shipment.delivery.remove(shipment.manifest)
    shipment.deliver()
    shipment.assert_public()


def damage(area: Area, name: str, content: bytes, how: str) -> None:
    """Replace an object by one that has something wrong."""
    if how == "missing":
        area.discard([name])
        return
    wrong = {"flipped": flip(content), "truncated": content[:-100], "longer": content + b"\0"}[how]
    area.write(name, wrong, "image/tiff")
