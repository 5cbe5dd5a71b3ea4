"""The tiles of vectors, with GDAL as the one that reads them, and what thinning leaves out."""

import gzip
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pmtiles.reader import MmapSource, all_tiles
from pmtiles.tile import tileid_to_zxy, zxy_to_tileid

from geoetl.ingest import VectorIngest, VectorRequest
from geoetl.ingest.vector import VectorFiles, grid, mvt, tiles
from geoetl.store.gate.tile_archive import TileArchive

WORLD_M = 40_075_016.68557849


def ingest(vector: VectorIngest, frame: gpd.GeoDataFrame, path: Path) -> tuple[VectorFiles, Path, gpd.GeoDataFrame]:
    frame.to_file(path, SPATIAL_INDEX="NO")
    request = VectorRequest(source=str(path), collection="c")
    files = vector.to_files(request, vector.validate(request))
    local = vector.zone.local_path
    return files, local(files.pmtiles.key), gpd.read_parquet(local(files.data.key))


def read(archive: Path, zoom: int) -> gpd.GeoDataFrame:
    frame = pyogrio.read_dataframe(archive, ZOOM_LEVEL=zoom)
    return frame.assign(n=frame["n"].astype(int))


def sizes_of(archive: Path) -> dict[tuple[int, int, int], bytes]:
    with archive.open("rb") as file:
        return {place: gzip.decompress(tile) for place, tile in all_tiles(MmapSource(file))}


def points(count: int = 30_000) -> gpd.GeoDataFrame:
    random = np.random.default_rng(3)
    places = random.normal([10, 48], [3, 2], (count, 2))
    return gpd.GeoDataFrame({"n": np.arange(count)}, geometry=shapely.points(places), crs="EPSG:4326")


# -- the curve ---------------------------------------------------------------------------------------------------------


@given(st.integers(1, 26).flatmap(lambda z: st.tuples(st.just(z), *[st.integers(0, (1 << z) - 1)] * 2)))
def test_tiles_have_the_numbers_that_pmtiles_gives_them(tile: tuple[int, int, int]) -> None:
    zoom, x, y = tile
    (along,) = grid.hilbert(np.array([x]), np.array([y]), zoom).tolist()
    assert grid.first_tile_id(zoom) + along == zxy_to_tileid(zoom, x, y)
    if zoom > 1:
        assert along >> 2 == grid.hilbert(np.array([x >> 1]), np.array([y >> 1]), zoom - 1)[0]


@given(st.floats(-180, 180), st.floats(-90, 90), st.integers(0, 20))
def test_the_key_of_a_place_begins_with_the_number_of_its_tile(lon: float, lat: float, zoom: int) -> None:
    key = grid.keys(np.array([[lon, lat]]))
    _, x, y = tileid_to_zxy(grid.first_tile_id(zoom) + int(grid.cells(key, zoom)[0]))
    column, row = np.clip(np.floor(grid.world(np.array([[lon, lat]]))[0] * (1 << zoom)), 0, (1 << zoom) - 1)
    assert abs(x - column) + abs(y - row) == 0


# -- bytes -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1))
def test_numbers_are_packed_as_the_format_has_them(values: list[int]) -> None:
    def packed(value: int) -> bytes:
        value = value << 1 if value >= 0 else (-value << 1) - 1
        found = bytearray()
        while value > 127:
            found.append(value & 127 | 128)
            value >>= 7
        return bytes([*found, value])

    made = mvt.varints(mvt.zigzag(np.array(values)))
    assert made.data.tobytes() == b"".join(packed(value) for value in values)
    assert made.sizes.tolist() == [len(packed(value)) for value in values]


SHAPES = [
    shapely.Point(3, 4),
    shapely.MultiPoint([(1, 1), (5, 6)]),
    shapely.LineString([(0, 0), (10, 0), (10, 0), (10, 10)]),
    shapely.MultiLineString([[(0, 0), (10, 5)], [(20, 20), (30, 20), (30, 25)]]),
    shapely.box(0, 0, 100, 50),
    shapely.Polygon([(0, 0), (100, 0), (100, 100), (0, 100)], [[(20, 20), (40, 20), (40, 40), (20, 40)]]),
    shapely.MultiPolygon(
        [shapely.box(0, 0, 10, 10), shapely.Polygon([(50, 50), (50, 90), (90, 90)], [[(55, 70), (60, 85), (57, 80)]])]
    ),
]


@pytest.mark.parametrize("alone", [True, False])
def test_gdal_reads_the_geometries_that_were_written(tmp_path: Path, alone: bool) -> None:
    for shapes in [[shape] for shape in SHAPES] if alone else [SHAPES]:
        array = np.array(shapes, object)
        there, geometry = mvt.geometries(array, mvt.kinds_of(array))
        assert there.all()
        rows = np.arange(len(array))
        pieces = mvt.Pieces(np.zeros(len(array), np.int64), rows, mvt.kinds_of(array), geometry)
        attributes = mvt.Attributes(iter([("n", pa.chunked_array([rows]))]))
        ((number, tile),) = mvt.encoded_tiles(pieces, attributes, "layer")
        assert number == 0
        (tmp_path / "0.mvt").write_bytes(gzip.decompress(tile))
        made = pyogrio.read_dataframe(tmp_path / "0.mvt", layer="layer")
        # GDAL takes steps of a tile without a place in the world as units, upwards.
        back = shapely.transform(made.geometry.to_numpy(), lambda at: at * [1, -1] + [0, mvt.EXTENT])
        assert made["n"].tolist() == rows.tolist()
        assert [shape.equals(other) for shape, other in zip(shapes, back, strict=True)] == [True] * len(shapes)
        assert shapely.is_valid(back).all()


def test_values_of_every_type_are_read_back(tmp_path: Path) -> None:
    from datetime import UTC, date, datetime

    values: dict[str, tuple[list[Any], list[Any]]] = {
        "text": (["a", "ü€", ""], ["a", "ü€", ""]),
        "whole": ([-5, 2**53, 0], [-5, 2**53, 0]),
        "part": ([0.5, -1e300, float("nan")], [0.5, -1e300, None]),
        "flag": ([True, False, None], [True, False, None]),
        "day": ([date(2020, 1, 2), None, date(1, 1, 1)], ["2020-01-02", None, "0001-01-01"]),
        "time": ([datetime(2020, 1, 2, 3, tzinfo=UTC)] * 3, ["2020-01-02 03:00:00.000000Z"] * 3),
        "list": ([[1, 2], [], None], ["[1,2]", "[]", None]),
        "none": ([None, None, None], []),
    }
    attributes = mvt.Attributes((name, pa.chunked_array([given])) for name, (given, _) in values.items())
    shapes = np.array([shapely.Point(i, i) for i in range(3)], object)
    kinds = mvt.kinds_of(shapes)
    pieces = mvt.Pieces(np.zeros(3, np.int64), np.arange(3), kinds, mvt.geometries(shapes, kinds)[1])
    ((_, tile),) = mvt.encoded_tiles(pieces, attributes, "layer")
    (tmp_path / "0.mvt").write_bytes(gzip.decompress(tile))
    made = pyogrio.read_dataframe(tmp_path / "0.mvt", layer="layer")
    for name, (_, expected) in values.items():
        if not expected:
            assert name not in made.columns
            continue
        found = [None if value is None or value != value else value for value in made[name].tolist()]
        assert found == expected or [bool(v) if v is not None else None for v in found] == expected


# -- pyramids ----------------------------------------------------------------------------------------------------------


def test_the_deepest_zoom_has_every_feature_at_its_place(vector: VectorIngest, tmp_path: Path) -> None:
    files, archive, made = ingest(vector, points(), tmp_path / "x.fgb")
    tiled = read(archive, files.max_zoom).drop_duplicates("n").sort_values("n")
    assert tiled["n"].tolist() == list(range(30_000))
    step = WORLD_M / (1 << files.max_zoom) / mvt.EXTENT
    apart = tiled.geometry.reset_index(drop=True).distance(
        made.sort_values("n").to_crs(3857).geometry.reset_index(drop=True)
    )
    assert apart.max() <= step
    assert files.zooms[-1].features == files.rows
    assert files.findings == ()


def test_each_cell_of_a_zoom_shows_one_point_and_keeps_it_below(vector: VectorIngest, tmp_path: Path) -> None:
    files, archive, _ = ingest(vector, points(), tmp_path / "x.fgb")
    shown = [set(read(archive, zoom)["n"]) for zoom in range(files.max_zoom + 1)]
    assert [len(names) for names in shown] == [level.features for level in files.zooms]
    for above, below in pairwise(shown):
        assert above <= below
    places = grid.world(shapely.get_coordinates(points().geometry.to_numpy()))
    for zoom in range(files.max_zoom - 1):
        cells = np.floor(places * (1 << (zoom + 6)))
        # Every cell that has points shows one, so no region is emptied.
        assert len(shown[zoom]) == len(np.unique(cells, axis=0))
        assert len(np.unique(cells[sorted(shown[zoom])], axis=0)) == len(shown[zoom])


def test_the_largest_areas_are_shown_first(vector: VectorIngest, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    count = tiles.FEW_FEATURES + 1000
    x, y, half = random.uniform(0, 4, count), random.uniform(0, 4, count), random.uniform(0.0005, 0.01, count)
    half[7] = 0.5
    shapes = shapely.box(x - half, y - half, x + half, y + half)
    frame = gpd.GeoDataFrame({"n": range(count)}, geometry=shapes, crs=4326)
    files, archive, _ = ingest(vector, frame, tmp_path / "x.fgb")
    seen = half / np.sqrt(np.cos(np.radians(y)))  # as large as on the map
    for zoom in range(files.max_zoom):
        shown = set(read(archive, zoom)["n"])
        assert 7 in shown
        cells = np.floor(grid.world(np.column_stack([x, y])) * (1 << (zoom + 6))) @ [1 << 30, 1]
        for cell in np.unique(cells):
            (here,) = np.nonzero((cells == cell) & (half < 360 / (1 << (zoom + 6)) / 4))
            if len(here):
                assert shown & set(here.tolist()) <= {here[np.argmax(seen[here])]}


def test_a_layer_of_few_features_has_no_holes_at_any_zoom(vector: VectorIngest, tmp_path: Path) -> None:
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(20.0), np.arange(20.0)))
    frame = gpd.GeoDataFrame({"n": range(400)}, geometry=shapely.box(x, y, x + 1, y + 1), crs=4326)
    files, archive, _ = ingest(vector, frame, tmp_path / "x.fgb")
    for zoom in range(files.max_zoom + 1):
        assert set(read(archive, zoom)["n"]) == set(range(400))


def test_what_is_smaller_than_a_pixel_is_drawn_as_one(vector: VectorIngest, tmp_path: Path) -> None:
    shapes = [
        shapely.box(10, 10, 10.0001, 10.0001),
        shapely.LineString([(20, 20), (20, 20.0001)]),
        shapely.box(-60, -40, 60, 40),
    ]
    _, archive, _ = ingest(vector, gpd.GeoDataFrame({"n": [0, 1, 2]}, geometry=shapes, crs=4326), tmp_path / "x.gpkg")
    pixel = WORLD_M / 256
    world = read(archive, 0).set_index("n").geometry
    assert world[0].area == pytest.approx(pixel**2, rel=0.2)
    assert world[1].length == pytest.approx(pixel, rel=0.2)


def test_a_tile_stays_within_its_budget_and_what_is_left_out_is_told(vector: VectorIngest, tmp_path: Path) -> None:
    count = tiles.MAX_TILE_FEATURES + 500
    frame = gpd.GeoDataFrame({"n": range(count)}, geometry=[shapely.Point(8, 47)] * count, crs=4326)
    files, _, made = ingest(vector, frame, tmp_path / "x.fgb")
    assert len(made) == count
    assert files.zooms[-1].features == tiles.MAX_TILE_FEATURES
    (finding,) = files.findings
    assert finding.message.startswith(f"500 of {count} features are in no map tile")


def test_a_tile_of_too_many_bytes_loses_its_smallest_features(vector: VectorIngest, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    count = 600
    size = np.linspace(3, 9, count)
    text = [random.bytes(2000).hex() for _ in range(count)]
    x, y = random.uniform(0, 5, (2, count))
    frame = gpd.GeoDataFrame({"n": range(count), "t": text}, geometry=shapely.box(x, y, x + size, y + size), crs=4326)
    files, archive, _ = ingest(vector, frame, tmp_path / "x.fgb")
    assert max(level.largest_tile_bytes for level in files.zooms) <= tiles.MAX_TILE_BYTES
    world = read(archive, 1)["n"]
    assert 20 < len(world) < count
    assert world.median() > count / 2


def test_large_areas_are_cut_into_tiles_and_put_together_again(vector: VectorIngest, tmp_path: Path) -> None:
    ring = shapely.Point(0, 40).buffer(35, quad_segs=100).difference(shapely.Point(5, 45).buffer(8, quad_segs=50))
    small = shapely.box(100, 10, 101, 11)
    files, archive, _ = ingest(
        vector, gpd.GeoDataFrame({"n": [0, *[1] * 4]}, geometry=[ring, *[small] * 4], crs=4326), tmp_path / "x.gpkg"
    )
    whole = gpd.GeoSeries([ring], crs=4326).to_crs(3857).iloc[0]
    for zoom in (3, files.max_zoom):
        pieces = read(archive, zoom)
        joined = shapely.union_all(shapely.make_valid(pieces[pieces["n"] == 0].geometry.to_numpy()))
        assert len(pieces) > 6
        assert shapely.symmetric_difference(joined, whole).area < whole.area * 0.01


def test_poles_and_the_antimeridian_have_tiles_too(vector: VectorIngest, tmp_path: Path) -> None:
    shapes = [
        shapely.box(-180, -90, 180, -60),
        shapely.Point(180, 90),
        shapely.Point(-180, -90),
        shapely.box(170, 0, 190, 5),
    ]
    files, archive, _ = ingest(
        vector, gpd.GeoDataFrame({"n": range(4)}, geometry=shapes, crs=4326), tmp_path / "x.gpkg"
    )
    west, south, east, north = TileArchive(archive).bounds
    assert (west, east) == (-180, 180)
    assert -86 < south < north < 86
    for zoom in range(files.max_zoom + 1):
        assert set(read(archive, zoom)["n"]) == {0, 1, 2, 3}


def test_the_archive_says_what_its_zooms_show(vector: VectorIngest, tmp_path: Path) -> None:
    files, path, _ = ingest(vector, points(2000).assign(name="x", ok=True), tmp_path / "x.gpkg")
    archive = TileArchive(path)
    assert archive.zooms == (0, files.max_zoom)
    assert archive.metadata["vector_layers"] == [
        {"id": "x", "fields": {"n": "Number", "name": "String", "ok": "Boolean"}}
    ]
    assert archive.metadata["geoetl:features"] == {str(level.zoom): level.features for level in files.zooms}
    assert len(sizes_of(path)) == sum(level.tiles for level in files.zooms)
    archive.close()


@pytest.mark.parametrize(("spread", "deep"), [(300.0, 10), (0.01, 14)], ids=["over the world", "within a town"])
def test_points_are_exact_to_some_metres(spread: float, deep: int) -> None:
    random = np.random.default_rng(0)
    places = random.uniform(-spread / 2, spread / 2, (500, 2)) * [1, 0.25]
    keys = grid.keys(places)
    order = np.argsort(keys)
    outline = tiles.Outline(keys[order], np.hstack([places, places])[order], np.zeros(500))
    assert tiles.deepest_zoom(outline) == deep
