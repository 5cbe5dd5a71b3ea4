"""What a question will cost, worked out from metadata before anything is read, and what it may cost at most."""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import ClassVar

from geoetl.access.result import Result
from geoetl.core.errors import GeoetlError, LimitExceeded
from geoetl.core.settings import LimitSettings, QuerySettings
from geoetl.core.spatial import BBox

GIB = 1024**3
# What one core unpacks and reduces in a second, for the estimate of the time: measured with deflated chunks on 2 cores
# (benchmarks/virtual.py), halved, as an estimate had better be too long.
BYTES_PER_S = 250_000_000
# What each chunk costs besides its bytes: finding, opening, handing over.
S_PER_CHUNK = 0.0002

# Set where nobody wants an answer yet, only whether there is to be one: a server asks before it lets a question wait.
only_checking: ContextVar[bool] = ContextVar("only_checking", default=False)


class Fits(GeoetlError):
    """A question is right and within the limits; it was asked for no more than that (`only_checking`)."""

    code = "fits"
    title = "The question can be answered"
    status: ClassVar[int] = 425


class Estimate(Result):
    """What a question will cost.

    Attributes:
        values: Numbers in the answer: pixels times bands of a picture, steps of a series, cells of a field.
        chunks: Blocks or chunks that hold what is asked for; each is read and unpacked whole.
        bytes: What these unpack to.
        seconds: About how long it takes on one core, with the data at hand.
        max_values: Most values that are allowed.
        max_chunks: Most chunks that are allowed.
        max_bytes: Most bytes that are allowed.
        fits: Whether it is within the limits.
    """

    values: int
    chunks: int
    bytes: int
    seconds: float
    max_values: int
    max_chunks: int
    max_bytes: int
    fits: bool


@dataclass(frozen=True)
class Fitting:
    """The way out of a refusal: which parameter to change, and how.

    Attributes:
        field: The parameter.
        hint: What to give instead, a whole sentence.
    """

    field: str
    hint: str


@dataclass(frozen=True)
class QueryLimits:
    """What one question may cost at most.

    Attributes:
        values: Numbers in the answer.
        chunks: Chunks that are read.
        bytes: Bytes that they unpack to.
        points: Places in one call.
        bbox_area_deg2: Square degrees of the box of an extract; None for any.
        time_range_days: Days, or steps where those are fewer, of a range of time; None for any.
    """

    values: int
    chunks: int
    bytes: int
    points: int
    bbox_area_deg2: float | None = None
    time_range_days: int | None = None

    @classmethod
    def within(cls, limits: LimitSettings, query: QuerySettings) -> "QueryLimits":
        """Return what this machine can work out: the limits of a notebook, which has any box and time."""
        return cls(limits.picture_pixels, query.max_chunks, int(query.max_read_gib * GIB), query.max_points)

    @classmethod
    def of_requests(cls, limits: LimitSettings, query: QuerySettings) -> "QueryLimits":
        """Return the limits of a server, which also bounds boxes and times."""
        own = cls.within(limits, query)
        return cls(
            own.values, own.chunks, own.bytes, own.points, query.max_bbox_area_degrees, query.max_time_range_days
        )

    def estimate(self, values: int, chunks: int, size: int) -> Estimate:
        """Return the cost of an answer of so many values out of so many chunks that unpack to `size` bytes."""
        return Estimate(
            values=values,
            chunks=chunks,
            bytes=size,
            seconds=round(size / BYTES_PER_S + chunks * S_PER_CHUNK, 3),
            max_values=self.values,
            max_chunks=self.chunks,
            max_bytes=self.bytes,
            fits=values <= self.values and chunks <= self.chunks and size <= self.bytes,
        )

    def check(self, cost: Estimate, answer: Fitting, reading: Fitting) -> None:
        """Refuse what costs too much.

        Args:
            cost: As `estimate` returned it.
            answer: The way out where the answer is too large.
            reading: The way out where too much has to be read.

        Raises:
            LimitExceeded: It does not fit; nothing was read.
            Fits: It does, and only that was asked.
        """
        if cost.values > self.values:
            raise LimitExceeded(
                f"The answer would have {cost.values:,} values; the limit is {self.values:,}.",
                hint=answer.hint,
                field=answer.field,
            )
        if cost.bytes > self.bytes:
            raise LimitExceeded(
                f"{size_text(cost.bytes)} in {cost.chunks:,} chunks would have to be read; "
                f"the limit is {size_text(self.bytes)}.",
                hint=reading.hint,
                field=reading.field,
            )
        if cost.chunks > self.chunks:
            raise LimitExceeded(
                f"{cost.chunks:,} chunks would have to be read; the limit is {self.chunks:,}.",
                hint=reading.hint,
                field=reading.field,
            )
        if only_checking.get():
            raise Fits("The question can be answered.")

    def allows_box(self, box: BBox) -> bool:
        """Tell whether a box is no larger than the limit."""
        return self.bbox_area_deg2 is None or box.width_deg * box.height_deg <= self.bbox_area_deg2

    def check_box(self, box: BBox) -> None:
        """Refuse a box that is too large.

        Raises:
            LimitExceeded: It has more square degrees than the limit.
        """
        area, limit = box.width_deg * box.height_deg, self.bbox_area_deg2
        if limit is not None and not self.allows_box(box):
            raise LimitExceeded(
                f"bbox covers {area:,.6g} square degrees; the limit is {limit:,.6g}.",
                hint=f"Give a bbox of at most {limit:,.6g} square degrees, or ask for a preview of the whole.",
                field="bbox",
            )

    def check_range(self, steps: int, first_day: float, last_day: float) -> None:
        """Refuse a range of time that is too long: by its days, and by its steps where there are fewer of them.

        Args:
            steps: How many steps lie in it.
            first_day: Day of the first step, on any scale.
            last_day: Day of the last step, on the same.

        Raises:
            LimitExceeded: It has more days, and more steps, than the limit.
        """
        limit = self.time_range_days
        days = int(last_day - first_day) + 1
        if limit is not None and min(days, steps) > limit:
            raise LimitExceeded(
                f"{days:,} days with {steps:,} steps were asked for; the limit is {limit:,}.",
                hint=f"Give start_time and end_time at most {limit:,} days or steps apart.",
                field="end_time",
            )

    def check_points(self, points: Sequence[object]) -> None:
        """Refuse too many places in one call.

        Raises:
            LimitExceeded: There are more than the limit.
        """
        if len(points) > self.points:
            raise LimitExceeded(
                f"{len(points):,} points were asked for; the limit is {self.points:,}.",
                hint=f"Give at most {self.points:,} points in one call.",
                field="points",
            )


def size_text(size: float) -> str:
    """Return a number of bytes as people write it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.3g} {unit}"
        size /= 1024
    return f"{size:,.3g} TiB"
