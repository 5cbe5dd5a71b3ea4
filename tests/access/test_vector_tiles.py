"""Vector tiles are those of the archive, and an archive that lies costs nothing."""

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pmtiles.reader import MemorySource, Reader, all_tiles
from pmtiles.tile import Compression, Entry, TileType, serialize_directory, serialize_header, zxy_to_tileid
from pmtiles.writer import Writer

from geoetl.core.errors import FormatNotAllowed, GeoetlError, InvalidParameter, LimitExceeded, NotFound, UnreadableFile
from geoetl.store.gate.tile_archive import MAX_DIRECTORY_BYTES, TileArchive, TileEncoding
from tests.access.conftest import COLLECTION, Shelf
from tests.catalogued import shires

PMTILES = "application/vnd.pmtiles"
MVT = {"tile_type": TileType.MVT, "tile_compression": Compression.GZIP}


def registered(shelf: Shelf, path: Path, item: str = "tiles") -> str:
    return shelf.register(item, {"pmtiles": {"href": str(path), "type": PMTILES, "roles": ["visual"]}})


def written(path: Path, tiles: dict[tuple[int, int, int], bytes], metadata: Any = None, **header: Any) -> Path:
    """Write an archive with the tiles' bytes as they are."""
    with path.open("wb") as file:
        writer = Writer(file)
        for (z, x, y), content in sorted(tiles.items(), key=lambda tile: zxy_to_tileid(*tile[0])):
            writer.write_tile(zxy_to_tileid(z, x, y), content)
        whole = {"min_lon_e7": -1_800_000_000, "max_lon_e7": 1_800_000_000, "center_zoom": 0}
        writer.finalize({**MVT, **whole, **header}, metadata or {})
    return path


@pytest.fixture
def places(shelf: Shelf) -> Path:
    """Give GDAL's tiles of 300 squares all over the world."""
    random = np.random.default_rng(2)
    lon, lat = random.uniform(-170, 170, 300), random.uniform(-70, 70, 300)
    frame = gpd.GeoDataFrame({"number": np.arange(300)}, geometry=shapely.box(lon, lat, lon + 2, lat + 2), crs=4326)
    path = shelf.folder / "places.pmtiles"
    pyogrio.write_dataframe(frame, path, driver="PMTiles", layer="places", MINZOOM=0, MAXZOOM=5)
    return path


def test_every_tile_is_the_one_of_the_archive_byte_for_byte(shelf: Shelf, places: Path) -> None:
    item, tiles = registered(shelf, places), shelf.platform.vector_tiles
    source = MemorySource(places.read_bytes())
    known = dict(all_tiles(source))
    assert len(known) > 300
    for (z, x, y), content in known.items():
        found = tiles.tile(COLLECTION, item, z, x, y)
        assert found is not None
        assert (found.content, found.encoding) == (content, TileEncoding.GZIP)
    for x in range(32):
        for y in range(32):
            assert (tiles.tile(COLLECTION, item, 5, x, y) is None) == ((5, x, y) not in known)


def test_a_tile_read_by_gdal_has_the_features_that_lie_there(shelf: Shelf, tmp_path: Path) -> None:
    path = shelf.folder / "shires.pmtiles"
    pyogrio.write_dataframe(shires(), path, driver="PMTiles", layer="shires", MINZOOM=0, MAXZOOM=6)
    found = shelf.platform.vector_tiles.tile(COLLECTION, registered(shelf, path), 5, 16, 11)
    assert found is not None
    alone = tmp_path / "tile.mvt"
    alone.write_bytes(gzip.decompress(found.content))
    read = pyogrio.read_dataframe(alone, layer="shires", Z=5, X=16, Y=11)
    assert sorted(read["name"]) == ["<b>South</b>", "North"]
    west, south, east, north = read.set_crs(3857, allow_override=True).to_crs(4326).total_bounds
    assert (west, south, east, north) == pytest.approx((5, 45, 9, 48), abs=0.05)


def test_tilejson_names_layers_bounds_and_zooms(shelf: Shelf, places: Path) -> None:
    document = shelf.platform.vector_tiles.tilejson(COLLECTION, registered(shelf, places), "/{z}/{x}/{y}.pbf")
    header = Reader(MemorySource(places.read_bytes())).header()
    assert (document.minzoom, document.maxzoom) == (0, 5)
    assert document.bounds[0] == header["min_lon_e7"] / 1e7
    assert [(layer.id, layer.fields) for layer in document.vector_layers] == [("places", {"number": "Number"})]
    assert document.tiles == ("/{z}/{x}/{y}.pbf",)


def test_an_archive_with_further_directories_and_shared_tiles_is_read(shelf: Shelf) -> None:
    # More tiles than a root of 16 KiB holds; every fifth is the same as others.
    random = np.random.default_rng(9)
    contents = {
        (8, int(x), int(y)): b"sea" if (x + y) % 5 == 0 else random.bytes(int(random.integers(4, 90)))
        for x, y in np.unique(random.integers(0, 160, (20_000, 2)), axis=0)
    }
    path = written(shelf.folder / "many.pmtiles", contents, tile_compression=Compression.NONE)
    header = Reader(MemorySource(path.read_bytes())).header()
    assert header["leaf_directory_length"] > 0
    assert header["tile_contents_count"] < header["addressed_tiles_count"]
    item, tiles = registered(shelf, path), shelf.platform.vector_tiles
    for (z, x, y), content in list(contents.items())[::37]:
        found = tiles.tile(COLLECTION, item, z, x, y)
        assert found is not None
        assert (found.content, found.encoding) == (content, TileEncoding.NONE)
    assert tiles.tile(COLLECTION, item, 8, 200, 3) is None
    assert tiles.tile(COLLECTION, item, 7, 0, 0) is None


@given(st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 15), st.integers(0, 15)), st.binary(max_size=5)))
@settings(deadline=None, max_examples=30)
def test_our_directory_gives_what_the_reference_reader_gives(
    tmp_path_factory: pytest.TempPathFactory, drawn: dict[tuple[int, int, int], bytes]
) -> None:
    tiles = {(z, x % 2**z, y % 2**z): content or b"-" for (z, x, y), content in drawn.items()} or {(0, 0, 0): b"-"}
    path = written(tmp_path_factory.mktemp("drawn") / "a.pmtiles", tiles)
    reference, ours = Reader(MemorySource(path.read_bytes())), TileArchive(path)
    for z in range(5):
        for x, y in [(x, y) for x in range(2**z) for y in range(2**z)]:
            assert ours.tile(z, x, y) == reference.get(z, x, y) == tiles.get((z, x, y))
    ours.close()


def test_a_new_version_of_the_item_gives_its_own_tiles(shelf: Shelf) -> None:
    first = written(shelf.folder / "first.pmtiles", {(0, 0, 0): b"old"})
    later = written(shelf.folder / "later.pmtiles", {(0, 0, 0): b"new"})
    contents = []
    for path in (first, later):
        found = shelf.platform.vector_tiles.tile(COLLECTION, registered(shelf, path), 0, 0, 0)
        contents.append(found and found.content)
    assert contents == [b"old", b"new"]


def test_an_item_without_tiles_says_what_it_has(shelf: Shelf) -> None:
    item = shelf.features("plain", shires())
    with pytest.raises(InvalidParameter, match="pmtiles") as caught:
        shelf.platform.vector_tiles.tile(COLLECTION, item, 0, 0, 0)
    assert "data (application/vnd.apache.parquet)" in str(caught.value.hint)


@pytest.mark.parametrize(("z", "x", "y"), [(0, 1, 0), (3, 0, 8), (25, 0, 0)])
def test_a_tile_that_no_zoom_has_is_not_there(shelf: Shelf, places: Path, z: int, x: int, y: int) -> None:
    with pytest.raises(NotFound, match="no tile"):
        shelf.platform.vector_tiles.tile(COLLECTION, registered(shelf, places), z, x, y)


# -- archives that lie -------------------------------------------------------------------------------------------------


def lying(path: Path, directory: bytes, **header: Any) -> Path:
    """Write an archive whose header and root directory are these."""
    metadata = gzip.compress(json.dumps({}).encode())
    tiles = b"x" * 100
    begin = 127 + len(directory)
    given = {
        "root_offset": 127, "root_length": len(directory), "metadata_offset": begin, "metadata_length": len(metadata),
        "leaf_directory_offset": 127, "leaf_directory_length": len(directory),
        "tile_data_offset": begin + len(metadata), "tile_data_length": len(tiles), "clustered": True,
        "internal_compression": Compression.GZIP, "min_zoom": 0, "max_zoom": 3, **MVT, **header,
    }  # fmt: skip
    path.write_bytes(serialize_header(given) + directory + metadata + tiles)  # type: ignore[arg-type]
    return path


ONE = serialize_directory([Entry(0, 0, 10, 1)])
LIES: dict[str, tuple[bytes, dict[str, Any], type[GeoetlError]]] = {
    "a bomb": (gzip.compress(bytes(64 * 2**20)), {}, UnreadableFile),
    "no gzip": (b"nonsense", {}, UnreadableFile),
    "an empty directory": (gzip.compress(b"\0"), {}, UnreadableFile),
    "more entries than there are": (gzip.compress(b"\xff\xff\xff\x7f\x01"), {}, UnreadableFile),
    "a number without end": (gzip.compress(b"\xff" * 20), {}, UnreadableFile),
    "a number that is too long": (gzip.compress(b"\xff" * 20 + b"\x01"), {}, UnreadableFile),
    "a directory that leads to itself": (serialize_directory([Entry(0, 0, 37, 0)]), {}, UnreadableFile),
    "a tile beyond the end": (serialize_directory([Entry(0, 10**9, 10, 1)]), {}, UnreadableFile),
    "a tile of a place that no file has": (serialize_directory([Entry(0, 2**63 - 9, 10, 1)]), {}, UnreadableFile),
    "a tile of a gigabyte": (serialize_directory([Entry(0, 0, 2**30, 1)]), {}, LimitExceeded),
    "a root beyond the end": (ONE, {"root_offset": 10**6}, UnreadableFile),
    "a root of a gigabyte": (ONE, {"root_length": 2**30}, LimitExceeded),
    "pictures": (ONE, {"tile_type": TileType.PNG}, FormatNotAllowed),
    "another packing of directories": (ONE, {"internal_compression": Compression.ZSTD}, FormatNotAllowed),
    "tiles packed in no known way": (ONE, {"tile_compression": Compression.UNKNOWN}, UnreadableFile),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_archive_that_lies_is_refused_in_a_sentence(shelf: Shelf, lie: str) -> None:
    directory, header, kind = LIES[lie]
    item = registered(shelf, lying(shelf.folder / "lying.pmtiles", directory, **header))
    with pytest.raises(kind) as caught:
        shelf.platform.vector_tiles.tile(COLLECTION, item, 0, 0, 0)
    assert str(shelf.folder) not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"PMTiles", b"PMTiles\x02" + bytes(200), b"\xff" * 200, b"GIF89a" + bytes(200)]
)
def test_what_is_no_archive_is_refused_in_a_sentence(shelf: Shelf, content: bytes) -> None:
    path = shelf.folder / "wrong.pmtiles"
    path.write_bytes(content)
    with pytest.raises((UnreadableFile, FormatNotAllowed)):
        shelf.platform.vector_tiles.tilejson(COLLECTION, registered(shelf, path), "/{z}/{x}/{y}.pbf")


@pytest.mark.parametrize("metadata", [[1], {"vector_layers": 3}, {"vector_layers": [1, {"id": 4, "fields": [2]}]}])
def test_metadata_of_another_form_break_nothing_else(shelf: Shelf, metadata: Any) -> None:
    path = written(shelf.folder / "odd.pmtiles", {(0, 0, 0): b"x"}, metadata)
    item, tiles = registered(shelf, path), shelf.platform.vector_tiles
    assert tiles.tile(COLLECTION, item, 0, 0, 0) is not None
    if isinstance(metadata, dict):
        layers = tiles.tilejson(COLLECTION, item, "/{z}/{x}/{y}.pbf").vector_layers
        assert [(layer.id, layer.fields) for layer in layers] in ([], [("4", {})])
    else:
        with pytest.raises(UnreadableFile, match="no JSON object"):
            tiles.tilejson(COLLECTION, item, "/{z}/{x}/{y}.pbf")


def test_random_bytes_in_an_archive_break_nothing_but_itself(shelf: Shelf, places: Path) -> None:
    sound = bytearray(places.read_bytes())
    random = np.random.default_rng(7)
    for number in range(200):
        broken = bytearray(sound)
        for at in random.integers(0, min(len(sound), MAX_DIRECTORY_BYTES) if number % 2 else 300, 6):
            broken[at] = random.integers(0, 256)
        path = shelf.folder / "broken.pmtiles"
        path.write_bytes(broken)
        try:
            archive = TileArchive(path)
        except GeoetlError:
            continue
        for z, x, y in [(0, 0, 0), (3, 4, 2), (5, 16, 12), (31, 0, 0)]:
            with contextlib.suppress(GeoetlError):
                archive.tile(z, x, y)
        archive.close()
