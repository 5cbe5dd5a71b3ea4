"""The suite that every copier passes, for pytest.

Whoever writes a copier says how one is made, and gets the tests::

    class TestCourier(CopierConformance):
        def copier(self, origins):
            return Courier(origins)

They copy between two folders; `zone_urls` says so if it is to be between others, of object stores too. `rehearsal`
gives zones and sources to one's own tests.

With ``pytest.register_assert_rewrite("geoetl.testing.copiers")`` in ``conftest.py`` a failure shows the values.
"""

import hashlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from geoetl.core.errors import Conflict, GeoetlError, InvalidParameter, NotFound, OutsideAllowedRoots, Unavailable
from geoetl.core.settings import LimitSettings
from geoetl.publish.copiers.protocol import Copier, Transfer
from geoetl.store.area import Area
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.contents import Content
from geoetl.store.database import Database
from geoetl.store.gate import Gate
from geoetl.store.origins import Origins
from geoetl.store.staging import Staging, area_at
from geoetl.store.zones import INCOMING, Zone, Zones

# Larger than the parts that are uploaded at a time.
_LARGE_BYTES = 9 * 1024**2 + 17
_TIFF = "image/tiff; application=geotiff; profile=cloud-optimized"
#: What is brought: name, content and media type.
OBJECTS: Mapping[str, tuple[bytes, str]] = {
    "data.tif": (bytes(range(256)) * 300, _TIFF),
    "empty.json": (b"", "application/json"),
    "sources/deep/er/tas_Amon_Ä+1=a,b@c~.nc": (b"CDF\x01" * 1000, "application/netcdf"),
    ".zmetadata": (b"{}", "application/json"),
}


@dataclass
class CopyRehearsal:
    """Two zones, and what is copied between them.

    Attributes:
        origins: Finds sources; a folder besides the zones may be read.
        staging: Where objects are brought to.
        folder: The folder that may be read.
        told: What was said of how far it is: objects, bytes.
    """

    origins: Origins
    staging: Staging
    folder: Path
    told: list[tuple[int, int]] = field(default_factory=list)

    @property
    def made(self) -> Area:
        """What lies in the internal zone."""
        return area_at(self.origins.zones.internal, "made")

    def make(self, name: str, content: bytes, media_type: str = "application/octet-stream") -> Transfer:
        """Write an object into the internal zone, and return how it is to be brought, by its name."""
        # Objects of the internal zone have plain names; sources of virtual cubes keep theirs.
        key = hashlib.sha256(name.encode()).hexdigest()[:16]
        self.made.write(key, content, media_type)
        return self.transfer(f"internal://{self.made.key}/{key}", name, content, media_type)

    def unmake(self, transfer: Transfer) -> None:
        """Remove an object from the internal zone."""
        self.made.discard([transfer.source.rpartition("/")[2]])

    def transfer(
        self, source: str, target: str, content: bytes, media_type: str = "application/octet-stream"
    ) -> Transfer:
        """Return how an object of this content is to be brought."""
        return Transfer(source, target, len(content), hashlib.sha256(content).hexdigest(), media_type)

    def bring(self, copier: Copier, transfers: Sequence[Transfer]) -> None:
        """Have it brought."""
        copier.bring(transfers, self.staging, lambda objects, size: self.told.append((objects, size)))

    @property
    def arrived(self) -> dict[str, Content]:
        """What has arrived, read back."""
        area = self.staging.area
        return {name: area.read_back(name) for name in area.sizes()}

    def media_type(self, name: str) -> str | None:
        """Return the media type that the store keeps of an object that arrived; None where it keeps none."""
        zone = self.staging.zone
        if zone.root:
            return None
        import obstore

        found = obstore.get(zone.store, f"{self.staging.area.key}/{name}", options={"head": True})
        return found.attributes.get("Content-Type")


@contextmanager
def rehearsal(folder: Path, internal_url: str, external_url: str) -> Iterator[CopyRehearsal]:
    """Give two zones with nothing in them, and a folder that may be read besides.

    Args:
        folder: Everything that is no zone lies below it.
        internal_url: Of the internal zone.
        external_url: Of the external zone.
    """
    given = folder / "given"
    given.mkdir()
    database = Database(f"sqlite:///{folder / 'rehearsal.db'}")
    artifacts = ArtifactRepository(database)
    zones = Zones(
        Zone("internal", internal_url, artifacts, folder / "cache"),
        Zone("external", external_url, artifacts, folder / "cache"),
    )
    gate = Gate((given.resolve(),), LimitSettings())
    try:
        yield CopyRehearsal(Origins(zones, gate), Staging(zones.external, "publish/rehearsal"), given)
    finally:
        database.dispose()


def contents(transfers: Sequence[Transfer]) -> dict[str, Content]:
    """Return what is there when all of them were brought."""
    return {one.target: Content(one.sha256, one.bytes) for one in transfers}


class CopierConformance(ABC):
    """What holds for every copier."""

    @abstractmethod
    def copier(self, origins: Origins) -> Copier:
        """Return a copier that has not done anything yet."""

    def zone_urls(self, folder: Path) -> tuple[str, str]:
        """Return the URLs of the internal and the external zone, which have nothing in them."""
        return (folder / "internal").as_uri(), (folder / "external").as_uri()

    # -- what the tests share ------------------------------------------------------------------------------------------

    @pytest.fixture
    def copy(self, tmp_path: Path) -> Iterator[CopyRehearsal]:
        """Give two zones."""
        with rehearsal(tmp_path, *self.zone_urls(tmp_path)) as copy:
            yield copy

    @pytest.fixture
    def given(self, copy: CopyRehearsal) -> list[Transfer]:
        """Give objects of the internal zone."""
        return [copy.make(name, content, media_type) for name, (content, media_type) in OBJECTS.items()]

    # -- it brings what it is told to, and nothing else ----------------------------------------------------------------

    def test_what_is_brought_is_what_it_was(self, copy: CopyRehearsal, given: list[Transfer]) -> None:
        """Empty and large objects, names in folders and with letters of any script; and nothing else is there."""
        given.append(copy.make("large.pmtiles", bytes(_LARGE_BYTES), "application/vnd.pmtiles"))
        self.bring(copy, given)
        assert copy.arrived == contents(given)
        left = sorted(copy.made.read_back(name).sha256 for name in copy.made.sizes())
        assert left == sorted(one.sha256 for one in given), "sources stay"

    def test_media_types_are_kept_where_the_store_keeps_them(self, copy: CopyRehearsal, given: list[Transfer]) -> None:
        """As they are to be served; whatever the source was given."""
        other = copy.make("other.tif", b"II*\0", "application/octet-stream")
        given.append(Transfer(other.source, other.target, other.bytes, other.sha256, _TIFF))
        self.bring(copy, given)
        for one in given:
            assert copy.media_type(one.target) in (None, one.media_type)

    def test_what_is_there_already_is_replaced(self, copy: CopyRehearsal, given: list[Transfer]) -> None:
        """Of another size and of the same: what broke off, and what has a bit that flipped."""
        wrong = {"data.tif": b"broke off", "sources/deep/er/tas_Amon_Ä+1=a,b@c~.nc": b"CDF\x02" * 1000}
        for name, content in wrong.items():
            copy.staging.area.write(name, content, "text/plain")
        self.bring(copy, given)
        assert copy.arrived == contents(given)

    def test_the_same_again_changes_nothing(self, copy: CopyRehearsal, given: list[Transfer]) -> None:
        """With the same copier and with another one, after a process that ended."""
        copier = self.copier(copy.origins)
        copy.bring(copier, given)
        copy.bring(copier, given[:2])
        self.bring(copy, given)
        assert copy.arrived == contents(given)

    def test_many_small_objects_are_all_brought(self, copy: CopyRehearsal) -> None:
        """More than are copied at a time."""
        many = [copy.make(f"part-{number}.json", str(number).encode(), "application/json") for number in range(40)]
        self.bring(copy, many)
        assert copy.arrived == contents(many)
        assert copy.told[-1] == (40, sum(one.bytes for one in many))

    def test_nothing_is_brought_where_nothing_is_asked_for(self, copy: CopyRehearsal) -> None:
        """Which is no error."""
        self.bring(copy, [])
        assert copy.arrived == {}

    def test_a_source_outside_of_the_zones_is_brought(self, copy: CopyRehearsal, given: list[Transfer]) -> None:
        """Those of virtual cubes lie where the gate lets them be read."""
        content = b"CDF\x01" * 500
        path = copy.folder / "tas.nc"
        path.write_bytes(content)
        given.append(copy.transfer(str(path), "sources/tas.nc", content, "application/netcdf"))
        self.bring(copy, given)
        assert copy.arrived == contents(given)

    def test_nothing_of_ours_stays_in_the_internal_zone(self, copy: CopyRehearsal, given: list[Transfer]) -> None:
        """Whatever a copier needs on the way is gone afterwards."""
        self.bring(copy, given)
        assert area_at(copy.origins.zones.internal, INCOMING).sizes() == {}

    # -- it tells how far it is ----------------------------------------------------------------------------------------

    def test_what_is_told_counts_up_to_all_of_it(self, copy: CopyRehearsal, given: list[Transfer]) -> None:
        """Objects and bytes, never fewer than before."""
        self.bring(copy, given)
        assert copy.told == sorted(copy.told)
        assert copy.told[-1] == (len(given), sum(one.bytes for one in given))

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    def test_a_source_that_is_gone_is_told_by_its_name(self, copy: CopyRehearsal, given: list[Transfer]) -> None:
        """When it is there again, all is brought."""
        content, media_type = OBJECTS["data.tif"]
        copy.unmake(given[0])
        with pytest.raises(NotFound) as caught:
            self.bring(copy, given)
        assert "data.tif" in caught.value.detail
        self.check_message(caught.value, copy)
        copy.make("data.tif", content, media_type)
        self.bring(copy, given)
        assert copy.arrived == contents(given)

    @pytest.mark.parametrize("source", ["/etc/hostname", "internal://../../etc/hostname", "s3://elsewhere/data.tif"])
    def test_what_may_not_be_read_is_not_brought(self, copy: CopyRehearsal, source: str) -> None:
        """Wherever a manifest leads to."""
        with pytest.raises((OutsideAllowedRoots, InvalidParameter)):
            self.bring(copy, [copy.transfer(source, "data.tif", b"secret")])
        assert copy.arrived == {}

    def test_a_zone_that_cannot_be_written_is_told_as_such(self, copy: CopyRehearsal, given: list[Transfer]) -> None:
        """It may succeed later."""
        root = copy.staging.zone.root
        if root is None:
            return
        (root / INCOMING).parent.mkdir(parents=True)
        (root / INCOMING).write_text("a file in the way")
        with pytest.raises(Unavailable) as caught:
            self.bring(copy, given)
        self.check_message(caught.value, copy)
        (root / INCOMING).unlink()
        self.bring(copy, given)
        assert copy.arrived == contents(given)

    # -- it ends when it is told to ------------------------------------------------------------------------------------

    def test_who_is_told_to_end_before_it_begins_brings_nothing(
        self, copy: CopyRehearsal, given: list[Transfer]
    ) -> None:
        """Once; the next time it does."""
        copier = self.copier(copy.origins)
        copier.cancel()
        with pytest.raises(Conflict) as caught:
            copy.bring(copier, given)
        self.check_message(caught.value, copy)
        assert copy.arrived == {}
        copy.bring(copier, given)
        assert copy.arrived == contents(given)

    def test_who_is_told_to_end_on_the_way_ends(self, copy: CopyRehearsal) -> None:
        """What has arrived by then is whole; if that is all, it is no error."""
        many = [copy.make(f"part-{number}.json", b"{}" * 5000, "application/json") for number in range(40)]
        copier = self.copier(copy.origins)
        failed: list[GeoetlError] = []

        def bring() -> None:
            try:
                copier.bring(many, copy.staging, lambda objects, size: copier.cancel())
            except GeoetlError as error:
                failed.append(error)

        thread = threading.Thread(target=bring)
        thread.start()
        thread.join()
        assert not failed or isinstance(failed[0], Conflict)
        arrived, wanted = copy.arrived, contents(many)
        assert arrived.items() <= wanted.items()
        assert failed or arrived == wanted
        self.bring(copy, many)
        assert copy.arrived == wanted

    # -- for the tests -------------------------------------------------------------------------------------------------

    def bring(self, copy: CopyRehearsal, transfers: Sequence[Transfer]) -> None:
        """Have a new copier bring them."""
        copy.bring(self.copier(copy.origins), transfers)

    def check_message(self, error: GeoetlError, copy: CopyRehearsal) -> None:
        """Check that an error has a sentence, and neither paths of this machine nor addresses of stores."""
        assert error.detail
        said = f"{error} {error.problem()} {error.__cause__}"
        for secret in (str(copy.folder.parent), "/secret/", "://", "Traceback"):
            assert secret not in said
