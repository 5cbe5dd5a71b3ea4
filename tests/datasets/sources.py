"""Files that a played source serves, and a client that waits for nothing."""

import io
import json
import random
import zipfile
from dataclasses import replace
from typing import Any

from geoetl.datasets.upstream import Limits, Upstream

LIMITS = Limits(sync_bytes=256 * 1024)
# For tests of what is too slow: short, so that they are quick.
IMPATIENT = replace(LIMITS, attempts=1, silence_s=1, window_s=0.5, least_bytes_per_s=10_000)


def archive(size: int = 2_000_000, seed: int = 1) -> bytes:
    """Return a zip archive of somewhat more than `size` bytes."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as made:
        made.writestr("data.bin", random.Random(seed).randbytes(size))
    return written.getvalue()


def places(count: int = 200) -> bytes:
    """Return GeoJSON."""
    point = {"type": "Point", "coordinates": [10.0, 50.0]}
    features = [{"type": "Feature", "properties": {"number": n}, "geometry": point} for n in range(count)]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


class Waits:
    """Stands for waiting: remembers for how long, and returns at once."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)

    @property
    def total(self) -> float:
        """Seconds in all."""
        return sum(self.seconds)


def client(credentials: dict[str, str] | None = None, **options: Any) -> Upstream:
    """Return a client that does not wait between tries."""
    return Upstream(credentials, **{"limits": LIMITS, "pause": Waits(), **options})
