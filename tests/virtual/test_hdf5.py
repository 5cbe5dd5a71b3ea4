"""Our chunk index against the library's: the same table for every file."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoetl.core.errors import UnreadableFile
from geoetl.virtual.hdf5 import ChunkTable, _iterate, _walk, chunk_table
from tests.virtual.conftest import Slice


def oracle(dataset: h5py.Dataset) -> list[tuple[tuple[int, ...], int, int, int]]:
    """Return each chunk as the library tells it: place, offset, size, mask."""
    found: list[Any] = []
    dataset.id.chunk_iter(found.append)
    places = [tuple(o // c for o, c in zip(s.chunk_offset, dataset.chunks, strict=True)) for s in found]
    return sorted((place, s.byte_offset, s.size, s.filter_mask) for place, s in zip(places, found, strict=True))


def as_rows(table: ChunkTable) -> list[tuple[tuple[int, ...], int, int, int]]:
    return [
        (tuple(int(i) for i in index), int(offset), int(size), int(mask))
        for index, offset, size, mask in zip(table.indices, table.offsets, table.sizes, table.masks, strict=True)
    ]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    data=st.data(),
    libver=st.sampled_from(["earliest", "v108", "latest"]),
    filters=st.sampled_from([{}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True}]),
)
def test_every_chunk_is_where_the_library_says(
    tmp_path: Path, shape: list[int], data: st.DataObject, libver: str, filters: dict[str, Any]
) -> None:
    chunks = tuple(data.draw(st.integers(1, size)) for size in shape)
    written = data.draw(st.floats(0, 1))
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver=libver) as file:
        dataset = file.create_dataset(
            "x", shape=shape, chunks=chunks, dtype="f4", maxshape=[None] * len(shape), **filters
        )
        # Only a part is written, so that chunks are missing.
        stop = max(1, round(shape[0] * written))
        dataset[:stop] = np.random.default_rng(0).random((stop, *shape[1:]), dtype="f4")
    with h5py.File(path) as file:
        assert as_rows(chunk_table(file["x"])) == oracle(file["x"])


@pytest.mark.parametrize("count", [1, 64, 65, 5000])
def test_trees_of_every_depth_are_walked_without_the_library(tmp_path: Path, count: int) -> None:
    path = tmp_path / "deep.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file.create_dataset(
            "x", data=np.arange(count * 2, dtype="f8").reshape(count, 2), chunks=(1, 2), compression="gzip"
        )
    with h5py.File(path) as file:
        walked = _walk(file["x"])
        assert walked is not None
        assert as_rows(walked) == as_rows(_iterate(file["x"])) == oracle(file["x"])
        assert walked.is_complete


def test_a_skipped_filter_is_in_the_mask(tmp_path: Path) -> None:
    path = tmp_path / "mask.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        dataset = file.create_dataset("x", shape=(4,), chunks=(2,), dtype="f4", compression="gzip", shuffle=True)
        dataset.id.write_direct_chunk((0,), np.arange(2, dtype="f4").tobytes(), filter_mask=3)
        dataset[2:] = [2, 3]
    with h5py.File(path) as file:
        assert chunk_table(file["x"]).masks.tolist() == [3, 0]


def test_a_shrunk_dataset_shows_no_chunk_beyond_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "shrunk.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        dataset = file.create_dataset("x", data=np.arange(100.0), chunks=(10,), maxshape=(None,))
        dataset.resize((35,))
    with h5py.File(path) as file:
        assert chunk_table(file["x"]).indices.ravel().tolist() == [0, 1, 2, 3]


def test_a_user_block_or_another_driver_goes_through_the_library(tmp_path: Path) -> None:
    path = tmp_path / "userblock.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("x", data=np.arange(100.0), chunks=(10,))
    with h5py.File(path) as file:
        assert _walk(file["x"]) is None
        assert as_rows(chunk_table(file["x"])) == oracle(file["x"])


def test_a_dataset_without_any_chunk_written_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file.create_dataset("x", shape=(10, 10), chunks=(5, 5), dtype="f4")
    with h5py.File(path) as file:
        table = chunk_table(file["x"])
        assert (table.grid, len(table.offsets), table.is_complete) == ((2, 2), 0, False)


def test_a_damaged_index_is_told_or_read_right(tmp_path: Path) -> None:
    path = tmp_path / "whole.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file.create_dataset("x", data=np.arange(2000.0), chunks=(10,), compression="gzip")
    with h5py.File(path) as file:
        right = oracle(file["x"])
    whole = path.read_bytes()
    places = [at for at in range(len(whole)) if whole.startswith(b"TREE", at)]
    random = np.random.default_rng(5)
    told = 0
    for number in range(60):
        damaged = bytearray(whole)
        damaged[places[number % len(places)] + int(random.integers(0, 6))] ^= 1 << int(random.integers(0, 8))
        broken = tmp_path / f"{number}.h5"
        broken.write_bytes(damaged)
        try:
            with h5py.File(broken) as file:
                assert as_rows(chunk_table(file["x"])) == right
        except (UnreadableFile, OSError, KeyError):
            told += 1
    assert told > 0


def test_a_file_as_climate_models_write_it_gives_the_same_table(write_slice: Slice) -> None:
    with h5py.File(write_slice("1850-01-01", 120)) as file:
        assert len(chunk_table(file["tas"]).offsets) == 120
        walked = _walk(file["tas"])
        assert walked is not None
        assert as_rows(walked) == oracle(file["tas"])
