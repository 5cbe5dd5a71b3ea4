"""Vectors: validate and repair, write GeoParquet 1.1 and PMTiles, describe as a STAC item."""

import json
import math
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.errors import EmptyDataset, InvalidParameter, UnreadableFile
from geoetl.core.findings import Finding, Severity
from geoetl.core.identifiers import file_digest
from geoetl.core.spatial import LONGITUDE_SLACK_DEG, BBox
from geoetl.core.temporal import parse_instant
from geoetl.ingest.request import FileRequest
from geoetl.ingest.thumbnail import draw
from geoetl.runs.model import Result
from geoetl.store.catalog.item import TABLE, instant, new_item, object_asset
from geoetl.store.gate import Gate
from geoetl.store.zones import StoredObject, Zone

if TYPE_CHECKING:
    import geopandas as gpd

# Rows of a row group: small enough that a bbox filter skips most of a file, large enough to compress well.
ROW_GROUP_SIZE = 20_000
# Zoom limits of the tiles. Below 2 a layer cannot be zoomed into at all; beyond 12 tiles multiply and maps overzoom.
MIN_MAX_ZOOM, MAX_ZOOM = 2, 12
# A quarter of a screen pixel, in the 4096 units of a tile drawn on 256 to 512 pixels: nobody sees what is left out.
SIMPLIFICATION_UNITS = 4
# In GeoParquet the order of coordinates is x, y whatever the CRS says; EPSG:4326 is what other frames carry.
LONGITUDE_LATITUDE = "EPSG:4326"
# Rounding noise beyond a pole.
LATITUDE_SLACK_DEG = 0.01
# Rows named in a finding; the count says the rest.
ROWS_NAMED = 20
_BBOX_COLUMN = "bbox"


class VectorRequest(FileRequest):
    """What `ingest-vector` is asked for.

    Attributes:
        layer: Layer of a file that has several.
        crs: CRS of a file that does not say it ("EPSG:4326").
        valid_at: What time the features describe (ISO 8601); empty takes the time of ingest.
    """

    layer: str = ""
    crs: str = ""
    valid_at: str = ""


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
        rows: Features after those without geometry were dropped.
        geometry_types: That occur.
        bbox: west, south, east, north in degrees.
        columns: Attributes, without the geometry.
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
    findings: tuple[Finding, ...]


class VectorFiles(Result):
    """The finished files in the internal zone."""

    data: StoredObject
    pmtiles: StoredObject
    thumbnail: StoredObject
    max_zoom: int


@dataclass(frozen=True)
class VectorIngest:
    """The stages of `ingest-vector`.

    Args:
        gate: Opens the source.
        zone: The internal zone.
        scratch: Folder for files on their way.
    """

    gate: Gate
    zone: Zone
    scratch: Path

    def validate(self, request: VectorRequest) -> CheckedVector:
        """Check that the source holds features that can be ingested, and say what has to be repaired.

        Raises:
            NotFound, OutsideAllowedRoots, UnreadableFile, FormatNotAllowed, LimitExceeded, InvalidParameter,
            EmptyDataset: See `Gate`.
            MissingCRS: Neither the file nor the request gives one.
        """
        path = self.gate.resolve(request.source)
        if request.valid_at:
            parse_instant(request.valid_at)
        frame, layer, findings, crs, rows_read = self._repaired(request, path)
        box = BBox(*(float(value) for value in frame.total_bounds))
        renamed = frame.attrs["renamed"]
        return CheckedVector(
            name=path.name,
            sha256=file_digest(path),
            bytes=path.stat().st_size,
            layer=layer,
            crs=crs,
            rows_read=rows_read,
            rows=len(frame),
            geometry_types=tuple(sorted(frame.geom_type.unique())),
            bbox=tuple(box.as_list()),  # type: ignore[arg-type]
            columns=tuple(
                Column(name=name, type=_table_type(frame[name]), source_name=renamed.get(name))
                for name in frame.columns
                if name != frame.geometry.name
            ),
            findings=tuple(findings),
        )

    def to_files(self, request: VectorRequest, checked: CheckedVector) -> VectorFiles:
        """Write GeoParquet 1.1 (Hilbert-sorted, bbox covering) and PMTiles, into the internal zone.

        Raises:
            UnreadableFile: The source changed since it was validated.
        """
        path = self.gate.resolve(request.source)
        if file_digest(path) != checked.sha256:
            raise UnreadableFile(f"'{path.name}' changed after it was validated.", hint="Run it again.", field="source")
        frame, *_ = self._repaired(request, path)
        frame = frame.iloc[frame.hilbert_distance().argsort(kind="stable")].reset_index(drop=True)
        self.scratch.mkdir(parents=True, exist_ok=True)
        owner = f"{request.collection}/{request.item_id}"
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            parquet = Path(folder) / "data.parquet"
            frame.to_parquet(
                parquet,
                index=False,
                write_covering_bbox=True,
                schema_version="1.1.0",
                row_group_size=ROW_GROUP_SIZE,
                compression="zstd",
            )
            version = file_digest(parquet)[:8]
            stem = f"vectors/{request.collection}/{request.item_id}/{request.item_id}-{version}"
            tiles = Path(folder) / "tiles.pmtiles"
            max_zoom = _write_pmtiles(frame, tiles, layer=request.item_id)
            picture = Path(folder) / "thumbnail.png"
            draw(frame, picture)
            return VectorFiles(
                data=self.zone.put(parquet, f"{stem}.parquet", owner=owner),
                pmtiles=self.zone.put(tiles, f"{stem}.pmtiles", owner=owner),
                thumbnail=self.zone.put(picture, f"{stem}.png", owner=owner),
                max_zoom=max_zoom,
            )

    def item(
        self,
        request: VectorRequest,
        checked: CheckedVector,
        files: VectorFiles,
        notebook: str | None,
    ) -> dict[str, Any]:
        """Describe the features as a STAC item with table fields."""
        geometry_column = {"name": "geometry", "type": "binary", "description": "WKB, longitude and latitude"}
        columns = [{"name": column.name, "type": column.type} for column in checked.columns]
        repairs = sum(1 for finding in checked.findings if finding.severity is Severity.WARNING)
        return new_item(
            item_id=request.item_id,
            collection=request.collection,
            bbox=BBox.from_list(checked.bbox),
            geometry=None,
            times=instant(parse_instant(request.valid_at) if request.valid_at else datetime.now(UTC)),
            properties={
                "title": request.item_title,
                "table:primary_geometry": "geometry",
                "table:row_count": checked.rows,
                "table:columns": [*columns, geometry_column],
            },
            assets={
                "data": object_asset(files.data, title="GeoParquet", roles=["data"]),
                "pmtiles": object_asset(files.pmtiles, title="Vector tiles (PMTiles)", roles=["visual"]),
                "thumbnail": object_asset(files.thumbnail, title="Thumbnail", roles=["thumbnail"]),
            },
            extensions=[TABLE],
            lineage=(
                f"{checked.name} (sha256 {checked.sha256[:12]}…), {checked.rows} of {checked.rows_read} features, "
                f"{repairs} kinds of repair, to GeoParquet 1.1 and PMTiles in longitude and latitude"
            ),
            software=["geopandas", "pyogrio"],
            notebook=notebook,
        )

    def _repaired(self, request: VectorRequest, path: Path) -> "tuple[gpd.GeoDataFrame, str, list[Finding], str, int]":
        read = self._read(request, path)
        findings = list(read.findings)
        frame = read.frame
        rows_read = len(frame)
        crs = frame.crs.to_string() if frame.crs else request.crs
        frame = _without_missing(frame, findings)
        frame = _without_missing(_valid(frame, findings), findings)
        frame = _flat(frame, findings)
        frame = _in_degrees(frame, crs, path.name)
        frame = _normalised(frame, findings)
        frame = _renamed(frame, findings)
        return frame, read.layer, findings, crs, rows_read

    def _read(self, request: VectorRequest, path: Path) -> Any:
        if path.is_dir():
            raise UnreadableFile(
                f"'{path.name}' is a folder, not a vector file.", hint="Give one file.", field="source"
            )
        return self.gate.read_vector(path, layer=request.layer or None, crs=request.crs or None)


def _rows_finding(code: str, message: str, rows: "np.ndarray[Any, Any]", remedy: str | None = None) -> Finding:
    named = ", ".join(str(int(row) + 1) for row in rows[:ROWS_NAMED])
    more = "" if len(rows) <= ROWS_NAMED else f" and {len(rows) - ROWS_NAMED} more"
    return Finding(severity=Severity.WARNING, code=code, message=message, subject=f"rows {named}{more}", remedy=remedy)


def _without_missing(frame: "gpd.GeoDataFrame", findings: list[Finding]) -> "gpd.GeoDataFrame":
    missing = (frame.geometry.isna() | frame.geometry.is_empty).to_numpy()
    if missing.any():
        rows = np.flatnonzero(missing)
        findings.append(
            _rows_finding("missing_geometry", f"{len(rows)} features without geometry were left out.", rows)
        )
        frame = frame[~missing]
    if frame.empty:
        raise EmptyDataset("No feature has a geometry.", hint="Check the export that made the file.", field="source")
    return frame


def _valid(frame: "gpd.GeoDataFrame", findings: list[Finding]) -> "gpd.GeoDataFrame":
    invalid = ~frame.geometry.is_valid.to_numpy()
    if not invalid.any():
        return frame
    import shapely

    rows = np.flatnonzero(invalid)
    findings.append(_rows_finding("invalid_geometry", f"{len(rows)} invalid geometries were repaired.", rows))
    geometry = frame.geometry.to_numpy().copy()
    # "structure" keeps areas as areas; lines and points left over by a collapse are dropped with keep_collapsed=False.
    geometry[invalid] = shapely.make_valid(geometry[invalid], method="structure", keep_collapsed=False)
    return frame.set_geometry(_series(frame, geometry))


def _flat(frame: "gpd.GeoDataFrame", findings: list[Finding]) -> "gpd.GeoDataFrame":
    import shapely

    deep = (shapely.has_z(frame.geometry.to_numpy()) | shapely.has_m(frame.geometry.to_numpy())).astype(bool)
    if not deep.any():
        return frame
    rows = np.flatnonzero(deep)
    findings.append(_rows_finding("flattened", f"{len(rows)} geometries had Z or M values, which were dropped.", rows))
    return frame.set_geometry(_series(frame, shapely.force_2d(frame.geometry.to_numpy())))


def _series(frame: "gpd.GeoDataFrame", geometry: Any) -> "gpd.GeoSeries":
    import geopandas as gpd

    return gpd.GeoSeries(geometry, index=frame.index, crs=frame.crs)


def _in_degrees(frame: "gpd.GeoDataFrame", crs: str, name: str) -> "gpd.GeoDataFrame":
    from pyproj.exceptions import ProjError

    try:
        degrees = frame.to_crs(LONGITUDE_LATITUDE)
        west, south, east, north = degrees.total_bounds
    except ProjError:
        west = south = east = north = math.nan
    # Written so that NaN and infinities fail too.
    if not (-360 <= west <= east <= 540 and -90 - LATITUDE_SLACK_DEG <= south <= north <= 90 + LATITUDE_SLACK_DEG):
        raise InvalidParameter(
            f"The coordinates of '{name}' do not fit its reference system {crs[:40]}.",
            hint="Correct the file's CRS; GeoJSON holds longitude and latitude in degrees.",
            field="crs",
        )
    return degrees


def _normalised(frame: "gpd.GeoDataFrame", findings: list[Finding]) -> "gpd.GeoDataFrame":
    """Bring longitudes into -180 to 180: what lies beyond is cut at 180 degrees and moved by a turn."""
    import shapely

    geometry = frame.geometry.to_numpy()
    bounds = shapely.bounds(geometry)
    beyond = (bounds[:, 0] < -180) | (bounds[:, 2] > 180) | (bounds[:, 1] < -90) | (bounds[:, 3] > 90)
    if not beyond.any():
        return frame
    rows = np.flatnonzero(beyond)
    findings.append(_rows_finding("normalised", f"{len(rows)} geometries reached beyond ±180 degrees.", rows))
    moved = geometry.copy()
    moved[beyond] = [_into_world(shape) for shape in geometry[beyond]]
    return frame.set_geometry(_series(frame, moved))


def _into_world(shape: Any) -> Any:
    import shapely

    west, _, east, _ = shape.bounds
    if west >= -180 - LONGITUDE_SLACK_DEG and east <= 180 + LONGITUDE_SLACK_DEG:
        return shapely.transform(shape, lambda places: np.clip(places, (-180, -90), (180, 90)))
    world = shapely.box(-180, -90, 180, 90)
    turned = (shapely.transform(shape, partial(np.add, (turn, 0))) for turn in (-360, 0, 360))
    parts = [part for part in (shapely.intersection(copy, world) for copy in turned) if not part.is_empty]
    return shapely.union_all(parts) if parts else shape


def _renamed(frame: "gpd.GeoDataFrame", findings: list[Finding]) -> "gpd.GeoDataFrame":
    """Give every column a name that SQL, Parquet and JSON all take, unique without regard to case."""
    taken = {"geometry", _BBOX_COLUMN}
    new_names: dict[str, str] = {}
    frame = frame.rename_geometry("geometry") if frame.geometry.name != "geometry" else frame
    if others := [str(name) for name in frame.columns[frame.dtypes == "geometry"] if name != "geometry"]:
        findings.append(
            Finding(
                severity=Severity.WARNING,
                code="second_geometry",
                message=f"Only one geometry column is kept; left out: {', '.join(others)}.",
            )
        )
        frame = frame.drop(columns=others)
    for name in frame.columns:
        if name == "geometry":
            continue
        clean = re.sub(r"\W+", "_", str(name)).strip("_") or "column"
        unique, number = clean, 2
        while unique.lower() in taken:
            unique, number = f"{clean}_{number}", number + 1
        taken.add(unique.lower())
        new_names[name] = unique
    changed = {new: old for old, new in new_names.items() if old != new}
    if changed:
        findings.append(
            Finding(
                severity=Severity.INFO,
                code="renamed_columns",
                message=f"{len(changed)} columns were renamed: "
                + ", ".join(f"{old} to {new}" for new, old in list(changed.items())[:ROWS_NAMED])
                + ".",
            )
        )
    frame = frame.rename(columns=new_names)
    frame.attrs = {"renamed": changed}
    return frame


def _table_type(column: Any) -> str:
    kind = str(column.dtype).lower().replace("boolean", "bool")
    if kind.startswith(("int", "uint", "float", "bool", "datetime")):
        return kind.partition("[")[0]
    sample = column.dropna()
    first = sample.iloc[0] if len(sample) else ""
    return "date" if isinstance(first, date) else "string"


def _write_pmtiles(frame: "gpd.GeoDataFrame", target: Path, *, layer: str) -> int:
    """Write vector tiles up to the zoom at which the typical feature is seen whole; return that zoom."""
    import pyogrio

    max_zoom = _sensible_zoom(frame)
    plain = frame.copy()
    for name in plain.columns:
        if name != "geometry" and plain[name].map(lambda v: isinstance(v, list | dict | np.ndarray)).any():
            plain[name] = plain[name].map(lambda v: json.dumps(v, default=_listed))
        elif str(plain[name].dtype) in ("boolean", "Int8", "Int16", "Int32", "Int64"):
            plain[name] = plain[name].astype("float64")  # tiles have no integers with gaps
    with _quiet_gdal():
        pyogrio.write_dataframe(
            plain,
            target,
            driver="PMTiles",
            layer=layer,
            MINZOOM=0,
            MAXZOOM=max_zoom,
            SIMPLIFICATION=SIMPLIFICATION_UNITS,
        )
    return max_zoom


def _listed(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _sensible_zoom(frame: "gpd.GeoDataFrame") -> int:
    bounds = frame.geometry.bounds
    sizes = np.maximum(bounds.maxx - bounds.minx, bounds.maxy - bounds.miny)
    typical = float(np.median(sizes[sizes > 0])) if (sizes > 0).any() else 0.0
    if typical == 0:
        extent = float(np.ptp(frame.total_bounds[[0, 2]])) or 1.0
        typical = extent / math.sqrt(len(frame))
    # The typical feature spans about half a tile, in 2048 steps; maps draw further zooms from these tiles.
    return max(MIN_MAX_ZOOM, min(MAX_ZOOM, round(math.log2(180 / max(typical, 1e-9)))))


@contextmanager
def _quiet_gdal() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        # GDAL tells once per column type that tiles know fewer types than tables; nothing is lost that a map shows.
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        yield
