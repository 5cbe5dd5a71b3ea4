"""The plan of a store: types, codecs and sizes of its large variables, and the shapes of chunks and shards (files)."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from geoetl.virtual.convert.model import ArrayPlan, Chunking, ZarrPlan, count
from geoetl.virtual.convert.packing import decoded_because
from geoetl.virtual.convert.read import read_box
from geoetl.virtual.convert.survey import Survey
from geoetl.virtual.convert.times import units_of
from geoetl.virtual.header import TIME
from geoetl.virtual.preflight.clocks import calendar_of

# Raw bytes of a file of the store: 100 GB become some 800 of them.
SHARD_BYTES = 128_000_000
# Of a small cube the shards are smaller, so that two tasks have something to do.
MIN_SHARD_BYTES = 16_000_000
SHARDS_WANTED = 8
# Raw bytes that one task holds: whole shards, at least one.
TASK_BYTES = 512_000_000
# A chunk aims at this; a map's or a short series' may be smaller, but not below the other: each costs 50 µs to read.
CHUNK_BYTES = 4_000_000
MIN_CHUNK_BYTES = 32_000
# Cells along each side of a map's chunk; a grid that is not half as long again is not cut.
MAP_SIDE = 256
BALANCED_SIDE, BALANCED_STEPS = 128, 64
# A series' chunk has at least so many steps where the memory of a task allows it, even when each source chunk has to be
# unpacked up to so many times.
SERIES_STEPS, SERIES_READS = 365, 4

Shape = tuple[int, ...]


def lay_out(survey: Survey, chunking: Chunking) -> ZarrPlan:
    """Return what a conversion will write."""
    clock = survey.dates.get(TIME)
    return ZarrPlan(
        chunking=chunking,
        source_files=len(survey.headers),
        source_bytes=sum(header.bytes for header in survey.headers),
        steps=survey.steps,
        time_units=units_of(clock[1]) if clock else None,
        calendar=calendar_of(clock[1]) if clock else None,
        arrays=tuple(_lay_out_array(survey, name, chunking) for name in survey.packings),
    )


def codec_of(dtype: "np.dtype[Any]") -> dict[str, Any]:
    """Return the compressor for numbers of a type.

    Measured with zstd 3: floats become 5 to 20 % smaller with bytes shuffled than with bits; integers are as small
    with bits and compress almost three times as fast.
    """
    return {"cname": "zstd", "clevel": 3, "shuffle": "shuffle" if dtype.kind == "f" else "bitshuffle"}


def _lay_out_array(survey: Survey, name: str, chunking: Chunking) -> ArrayPlan:
    array, packings = survey.headers[0].arrays[name], survey.packings[name]
    axis = array.time_axis
    shape = tuple(survey.steps if place == axis else size for place, size in enumerate(array.shape))
    because = decoded_because(survey.headers, packings)
    dtype = np.result_type(*(p.decoded_dtype for p in packings)) if because else packings[0].dtype
    chunks, shards, region = shapes_of(chunking, shape, axis, dtype.itemsize)
    codec = codec_of(dtype)
    total = math.prod(shape) * dtype.itemsize
    return ArrayPlan(
        name=name,
        dims=array.dims,
        shape=shape,
        dtype=dtype.name,
        chunks=chunks,
        shards=shards,
        region=region,
        codec=f"blosc {codec['cname']} {codec['clevel']}, {codec['shuffle']}",
        decoded_because=because,
        bytes=total,
        estimated_bytes=round(total * _ratio(survey, name, chunks, dtype, decoded=because is not None)),
        reads=count(*([n for a, n in enumerate(sizes) if a != axis] for sizes in (shape, region))),
    )


def _ratio(survey: Survey, name: str, chunks: tuple[int, ...], dtype: "np.dtype[Any]", *, decoded: bool) -> float:
    """Return by how much one chunk from the middle of the first file gets smaller."""
    from numcodecs import Blosc  # type: ignore[import-untyped]

    header = survey.headers[0]
    shape = header.arrays[name].shape
    begins = [max(0, size - chunk) // 2 for size, chunk in zip(shape, chunks, strict=True)]
    box = tuple(slice(b, min(b + chunk, size)) for b, chunk, size in zip(begins, chunks, shape, strict=True))
    sample = read_box(survey.gate, Path(header.address), name, box)
    if decoded:
        sample = survey.packings[name][0].decode(sample)
    codec = codec_of(dtype)
    shuffle = Blosc.SHUFFLE if codec["shuffle"] == "shuffle" else Blosc.BITSHUFFLE
    plain = np.ascontiguousarray(sample.astype(dtype, copy=False))
    return len(Blosc(codec["cname"], codec["clevel"], shuffle).encode(plain)) / max(1, plain.nbytes)


# -- shapes ------------------------------------------------------------------------------------------------------------


def shapes_of(chunking: Chunking, shape: Shape, time_axis: int | None, itemsize: int) -> tuple[Shape, Shape, Shape]:
    """Return the shapes of a chunk, of a shard of whole chunks, and of the whole shards that one task writes."""
    chunk = chunk_shape(chunking, shape, time_axis, itemsize)
    total = math.prod(shape) * itemsize
    limit = min(SHARD_BYTES, max(total // SHARDS_WANTED, MIN_SHARD_BYTES))
    shard = grown(chunk, shape, time_axis, itemsize, limit)
    return chunk, shard, grown(shard, shape, time_axis, itemsize, TASK_BYTES if chunking is Chunking.SERIES else 0)


def chunk_shape(chunking: Chunking, shape: Shape, time_axis: int | None, itemsize: int) -> Shape:
    """Return the shape of a chunk; time is the axis `time_axis`, the last two others are horizontal."""
    others = [axis for axis in range(len(shape)) if axis != time_axis]
    horizontal = others[-2:]
    chunk = [1] * len(shape)
    wanted, cells = 1, MAP_SIDE**2
    if chunking is Chunking.BALANCED:
        wanted, cells = BALANCED_STEPS, BALANCED_SIDE**2
    elif chunking is Chunking.SERIES and time_axis is not None:
        wanted = _series_steps(shape, shape[time_axis], itemsize)
        cells = max(1, CHUNK_BYTES // (wanted * itemsize))
    side = math.isqrt(cells) if len(horizontal) == 2 else cells
    spare = 1.5 if chunking is Chunking.MAPS else 1
    for axis in horizontal:
        chunk[axis] = shape[axis] if shape[axis] <= spare * side else _even(shape[axis], side)
    if time_axis is not None:
        cell = math.prod(chunk) * itemsize
        least = MIN_CHUNK_BYTES if chunking is Chunking.MAPS and horizontal else CHUNK_BYTES // 2
        wanted = min(max(wanted, -(-least // cell)), max(1, 2 * CHUNK_BYTES // cell))
        chunk[time_axis] = _even(shape[time_axis], wanted)
    for axis in reversed(others[:-2]):
        if math.prod(chunk) * itemsize >= MIN_CHUNK_BYTES:
            break
        chunk[axis] = _even(shape[axis], MIN_CHUNK_BYTES // (math.prod(chunk) * itemsize))
    return tuple(chunk)


def grown(unit: Shape, shape: Shape, time_axis: int | None, itemsize: int, limit: int) -> Shape:
    """Return the largest box of whole units below `limit` bytes: first along the last axis, along time at last."""
    box = list(unit)
    for axis in sorted(range(len(shape)), key=lambda axis: (axis == time_axis, -axis)):
        fitting = limit // (math.prod(box) * itemsize)
        box[axis] = unit[axis] * _even(-(-shape[axis] // unit[axis]), fitting)
        if box[axis] < shape[axis]:
            break
    return tuple(box)


def _series_steps(shape: Shape, steps: int, itemsize: int) -> int:
    """Return how many steps of the whole grid a task can hold; more where a long series is worth repeated reads."""
    held = max(1, TASK_BYTES // max(1, math.prod(shape) // steps * itemsize))
    return _even(steps, max(held, min(held * SERIES_READS, SERIES_STEPS)))


def _even(size: int, length: int) -> int:
    """Return the length of the parts when `size` is cut into equal ones not longer than `length` (at least 1)."""
    return max(1, -(-size // max(1, -(-size // max(1, length)))))
