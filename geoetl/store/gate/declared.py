"""What the header of a raster declares, read without the library that would act on it."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from geoetl.store.gate.formats import Format

# Baseline tags that say how large the image is: TIFF 6.0, section 8.
_WIDTH, _LENGTH, _SAMPLES = 256, 257, 277
# Size of each TIFF type that a size may be written in, and its struct code: BYTE, SHORT, LONG, LONG8.
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
# An image file directory with more entries is none.
_MOST_TAGS = 4096


@dataclass(frozen=True)
class DeclaredSize:
    """Pixels of a raster.

    Attributes:
        width: Along a row.
        height: Rows.
        bands: Samples of each pixel.
    """

    width: int
    height: int
    bands: int

    @property
    def values(self) -> int:
        """Number of values."""
        return self.width * self.height * self.bands


def declared_size(path: Path, found: Format) -> DeclaredSize | None:
    """Return the size that a raster's header declares; None where the header cannot be followed.

    Source: TIFF 6.0 (1992) sections 2 and 8, and BigTIFF; PNG (ISO/IEC 15948) clause 11.2.2; JPEG 2000 (ISO/IEC
    15444-1) annex I.5.3.1.
    """
    with path.open("rb") as file:
        try:
            if found is Format.GEOTIFF:
                return _of_tiff(file)
            head = file.read(128)
            if found is Format.PNG:
                width, height = struct.unpack_from(">II", head, 16)
                return DeclaredSize(width, height, {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(head[25], 4))
            if found is Format.JPEG2000 and (at := head.find(b"ihdr")) > 0:
                height, width, bands = struct.unpack_from(">IIH", head, at + 4)
                return DeclaredSize(width, height, bands)
        except (struct.error, IndexError):
            return None
    return None


def _of_tiff(file: BinaryIO) -> DeclaredSize | None:
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", head, 2)[0] == 43
    file.seek(struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0])
    count = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))[0]
    if count > _MOST_TAGS:
        return None
    width_of_entry = 20 if big else 12
    entries = file.read(count * width_of_entry)
    found = {_SAMPLES: 1}
    for at in range(0, len(entries) - width_of_entry + 1, width_of_entry):
        tag, kind = struct.unpack_from(order + "HH", entries, at)
        if tag in (_WIDTH, _LENGTH, _SAMPLES) and kind in _TYPES:
            found[tag] = struct.unpack_from(order + _TYPES[kind], entries, at + (12 if big else 8))[0]
    return DeclaredSize(found[_WIDTH], found[_LENGTH], found[_SAMPLES]) if {_WIDTH, _LENGTH} <= set(found) else None
