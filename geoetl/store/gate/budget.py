"""How much an array of a cube may declare, before a value of it is read."""

import math
from collections.abc import Sequence

from geoetl.core.errors import LimitExceeded
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.formats import GIB

TIB = 1024**4


def check_array(
    array: str,
    subject: str,
    limits: LimitSettings,
    shape: Sequence[int],
    chunk: Sequence[int],
    item_bytes: int,
    *,
    is_axis: bool = False,
) -> None:
    """Refuse an array that declares more than a limit.

    Args:
        array: Its name.
        subject: Name of the file or store.
        limits: What is refused.
        shape: Its size along each dimension.
        chunk: That of one chunk, which is unpacked whole; empty where it is not stored in chunks.
        item_bytes: Bytes of one value.
        is_axis: Whether it is the coordinate of its own dimension, all of which is read when the cube is opened.

    Raises:
        LimitExceeded: It does.
    """
    values = math.prod(shape)
    if values * item_bytes > limits.cube_tib * TIB:
        raise LimitExceeded(
            f"'{array}' of '{subject}' declares {' x '.join(map(str, shape))} values "
            f"({values * item_bytes / TIB:,.0f} TiB); the limit is {limits.cube_tib:g} TiB.",
            hint="Split the cube, or raise GEOETL_LIMITS__CUBE_TIB if it is as large as it says.",
            field="source",
        )
    unpacked = math.prod(chunk) * item_bytes
    if chunk and unpacked > limits.chunk_gib * GIB:
        raise LimitExceeded(
            f"One chunk of '{array}' of '{subject}' unpacks to {unpacked / GIB:,.2f} GiB; "
            f"the limit is {limits.chunk_gib:g} GiB.",
            hint="Write it anew in smaller chunks, or raise GEOETL_LIMITS__CHUNK_GIB.",
            field="source",
        )
    if is_axis and values > limits.axis_values:
        raise LimitExceeded(
            f"The coordinate '{array}' of '{subject}' declares {values:,} steps; the limit is {limits.axis_values:,}.",
            hint="Split the cube along it, or raise GEOETL_LIMITS__AXIS_VALUES.",
            field="source",
        )
