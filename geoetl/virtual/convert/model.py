"""What a conversion will write, and what it has written."""

import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from geoetl.core import html
from geoetl.runs.model import Result


class Chunking(StrEnum):
    """What the chunks are good for.

    ``maps``: one step of up to 256 x 256 cells. ``series``: as many steps as memory allows of few cells. ``balanced``:
    64 steps of about 128 x 128 cells.
    """

    MAPS = "maps"
    SERIES = "series"
    BALANCED = "balanced"


class ArrayPlan(Result):
    """How one large variable will be stored.

    Attributes:
        name: Its name.
        dims: Names of its dimensions.
        shape: Its size along each, all files joined.
        dtype: As it will be stored.
        chunks: What is read at once, elements along each dimension.
        shards: What lies in one file.
        region: What one task writes.
        codec: The compressor.
        decoded_because: Why its numbers are not stored as they are in the files; None where they are.
        bytes: Uncompressed.
        estimated_bytes: Compressed, by one chunk of the first file.
        reads: How many times each chunk of the sources is unpacked.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    region: tuple[int, ...]
    codec: str
    decoded_because: str | None
    bytes: int
    estimated_bytes: int
    reads: int

    @property
    def chunk_count(self) -> int:
        """How many chunks it has."""
        return count(self.shape, self.chunks)

    @property
    def shard_count(self) -> int:
        """How many files it becomes."""
        return count(self.shape, self.shards)

    @property
    def chunk_bytes(self) -> int:
        """Uncompressed bytes of a chunk."""
        return math.prod(self.chunks) * np.dtype(self.dtype).itemsize


class ZarrPlan(Result):
    """What a conversion will write.

    Attributes:
        chunking: What the chunks are good for.
        source_files: Number of files.
        source_bytes: Their sizes added up.
        steps: Time steps of all of them; 1 without time.
        time_units: What times are counted in; None without time.
        calendar: Their calendar.
        arrays: The large variables; coordinates, bounds and other small ones are copied whole.
    """

    chunking: Chunking
    source_files: int
    source_bytes: int
    steps: int
    time_units: str | None
    calendar: str | None
    arrays: tuple[ArrayPlan, ...]

    @property
    def bytes(self) -> int:
        """Uncompressed bytes of the large variables."""
        return sum(array.bytes for array in self.arrays)

    @property
    def estimated_bytes(self) -> int:
        """Bytes that the store will take."""
        return sum(array.estimated_bytes for array in self.arrays)

    @property
    def estimated_files(self) -> int:
        """Files of the large variables."""
        return sum(array.shard_count for array in self.arrays)

    def _repr_html_(self) -> str:
        become = f"{_size(self.source_bytes, self.source_files)} become about"
        said = f"{become} {_size(self.estimated_bytes, self.estimated_files)}, chunked for {self.chunking}"
        times = f"{self.steps:,}, {self.time_units}, calendar {self.calendar}" if self.time_units else None
        reads = max((array.reads for array in self.arrays), default=1)
        repeated = f"each chunk of the sources is unpacked {reads} times" if reads > 1 else None
        rows = [
            (a.name, _times(a.shape), a.dtype, f"{_times(a.chunks)} ({html.human_bytes(a.chunk_bytes)})",
             f"{_times(a.shards)} ({a.shard_count})", a.codec, html.human_bytes(a.estimated_bytes))
            for a in self.arrays
        ]  # fmt: skip
        decoded = [(array.name, array.decoded_because) for array in self.arrays if array.decoded_because]
        return (
            html.heading("Zarr store", said)
            + html.facts([("time steps", times), ("reading", repeated)])
            + html.table(["variable", "shape", "type", "chunks", "shards (files)", "codec", "about"], rows)
            + (html.table(["decoded", "because"], decoded) if decoded else "")
        )


class Converted(Result):
    """A finished store; a difference from its sources raises instead.

    Attributes:
        store: Name of its folder.
        plan: What was written.
        bytes: Of its files.
        files: Their number.
        chunks: Chunks of the large variables.
        fields_compared: Steps of variables (or whole variables without time) that were compared with the sources.
        fields_total: As many as there are.
        values_compared: Values in those that were compared.
        regions_resumed: Regions that an earlier, ended attempt had written.
        seconds: How long this attempt took.
    """

    store: str
    plan: ZarrPlan
    bytes: int
    files: int
    chunks: int
    fields_compared: int
    fields_total: int
    values_compared: int
    regions_resumed: int
    seconds: float

    def _repr_html_(self) -> str:
        compared = f"{self.fields_compared:,} of {self.fields_total:,} fields, {self.values_compared:,} values"
        resumed = f", {self.regions_resumed} regions resumed" if self.regions_resumed else ""
        rows = [
            ("size", f"{_size(self.bytes, self.files)}, {self.chunks:,} chunks"),
            ("source", _size(self.plan.source_bytes, self.plan.source_files)),
            ("compared", compared),
            ("took", html.human_seconds(self.seconds) + resumed),
        ]
        return html.heading("Zarr store", self.store) + html.facts(rows)


def count(shape: Sequence[int], cell: Sequence[int]) -> int:
    """Return how many cells cover an array."""
    return math.prod(-(-size // n) for size, n in zip(shape, cell, strict=True))


def _size(size: float, files: int) -> str:
    return f"{html.human_bytes(size)} in {files} file{'' if files == 1 else 's'}"


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
