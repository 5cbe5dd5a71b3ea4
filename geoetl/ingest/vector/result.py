"""What the stages of `ingest-vector` return."""

from geoetl.core.findings import Finding
from geoetl.runs.model import Result
from geoetl.store.zones import StoredObject


class Column(Result):
    """One attribute: its name in the result, its type, and its name in the source where that differs."""

    name: str
    type: str
    source_name: str | None


class CheckedVector(Result):
    """What validation found and repaired.

    Attributes:
        name: File name.
        sha256: Digest of the source.
        bytes: Size of the source.
        layer: Layer that was read.
        crs: CRS of the source.
        rows_read: Features in the source.
        rows: Features that are left after those without geometry.
        geometry_types: That the result has.
        bbox: west, south, east, north in degrees.
        columns: Attributes, without the geometry.
        repaired: Features whose geometry was not valid.
        present: The data that the features are added to; None where they take its place, or there is none.
        findings: Each repair with its count and rows.
    """

    name: str
    sha256: str
    bytes: int
    layer: str
    crs: str
    rows_read: int
    rows: int
    geometry_types: tuple[str, ...]
    bbox: tuple[float, float, float, float]
    columns: tuple[Column, ...]
    repaired: int = 0
    present: StoredObject | None = None
    findings: tuple[Finding, ...]


class ZoomLevel(Result):
    """What the tiles of one zoom show.

    Attributes:
        zoom: Of the tiles.
        tiles: How many there are.
        features: Features that are in at least one of them.
        largest_tile_bytes: Size of the largest, packed.
    """

    zoom: int
    tiles: int
    features: int
    largest_tile_bytes: int


class VectorFiles(Result):
    """The finished files in the internal zone.

    Attributes:
        data: GeoParquet.
        pmtiles: Vector tiles.
        thumbnail: A small picture.
        rows: Features in the data.
        geometry_types: That occur in it.
        bbox: west, south, east, north in degrees.
        columns: Its attributes.
        interval: First and last time in the column that `VectorRequest.temporal_property` names, RFC 3339; None
            without one.
        max_zoom: The deepest zoom of the tiles; maps draw further zooms from it.
        zooms: What each zoom shows.
        findings: What was noticed while the files were made: features added twice, tiles thinned.
    """

    data: StoredObject
    pmtiles: StoredObject
    thumbnail: StoredObject
    rows: int
    geometry_types: tuple[str, ...]
    bbox: tuple[float, float, float, float]
    columns: tuple[Column, ...]
    interval: tuple[str, str] | None
    max_zoom: int
    zooms: tuple[ZoomLevel, ...]
    findings: tuple[Finding, ...]
