"""Rasters: validate, convert to a Cloud Optimized GeoTIFF, describe as a STAC item."""

import math
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geoetl.core.errors import (
    EmptyDataset,
    InvalidParameter,
    InvalidTime,
    LimitExceeded,
    MissingCRS,
    Unavailable,
    UnreadableFile,
)
from geoetl.core.findings import Finding, Severity
from geoetl.core.identifiers import file_digest
from geoetl.core.spatial import BBox, wrap_longitude
from geoetl.core.temporal import parse_instant
from geoetl.ingest.request import FileRequest
from geoetl.runs.model import Result
from geoetl.store.catalog.item import (
    PROJECTION,
    RASTER,
    RENDER,
    instant,
    new_item,
    object_asset,
)
from geoetl.store.gate import GIB, Gate
from geoetl.store.zones import StoredObject, Zone, free_bytes

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

Kind = Literal["rgb", "rgba", "single", "categorical", "multispectral"]
# GDAL's COG driver makes 512-pixel tiles; so do most readers expect them.
BLOCK_SIZE = 512
# Statistics and the display range are taken from at most this many pixels a side.
SAMPLE_SIDE = 1024
# Points on each edge of the footprint, so that it follows the raster's edge in longitude and latitude.
EDGE_POINTS = 21
# A grid registered on its cell centres reaches half a cell beyond the pole; more than this is no such grid.
MAX_BEYOND_POLE_DEG = 1.0
# Less than this is a full disk.
MIN_FREE_BYTES = 1_000_000
_TIFF_TIME = re.compile(r"(\d{4}):(\d{2}):(\d{2}) (\d{2}):(\d{2}):(\d{2})")


class RasterRequest(FileRequest):
    """What `ingest-raster` is asked for.

    Attributes:
        crs: CRS of a file that does not say it ("EPSG:4326"); a file that does must agree.
        acquired: When it was taken (ISO 8601); empty takes the TIFF's own tag.
        compression: Lossless codec of the COG: deflate reads everywhere, zstd is faster and smaller.
    """

    crs: str = ""
    acquired: str = ""
    compression: Literal["deflate", "zstd", "lzw"] = "deflate"


class Band(Result):
    """One band.

    Attributes:
        name: ``red``, ``green``, ``blue``, ``alpha``, or ``b1``, ``b2``….
        description: As in the file.
        data_type: As STAC names it.
        scale, offset: Value = stored x scale + offset, where the file says so.
        unit: Unit of the value, where the file says so.
        minimum, maximum, mean, stddev: Of the valid stored pixels; None where there is none.
        valid_percent: Share of valid pixels.
        display: 2nd and 98th percentile of the values.
    """

    name: str
    description: str | None
    data_type: str
    scale: float | None
    offset: float | None
    unit: str | None
    minimum: float | None
    maximum: float | None
    mean: float | None
    stddev: float | None
    valid_percent: float
    display: tuple[float, float] | None


class CheckedRaster(Result):
    """What validation found.

    Attributes:
        name: File name.
        sha256: Digest of the source.
        bytes: Size of the source.
        format: GDAL driver that read it.
        width: Pixels along a row.
        height: Rows.
        crs: As ``EPSG:n``, or WKT 2 where there is no code.
        transform: Affine pixel-to-CRS coefficients a, b, c, d, e, f.
        bounds: left, bottom, right, top in the CRS's units.
        resolution_m: Mean side of a pixel at the raster's centre, metres.
        bbox: west, south, east, north in degrees.
        footprint: GeoJSON geometry in degrees.
        kind: How it is to be shown.
        is_bit_packed: Whether its samples have fewer bits than their type.
        nodata: The value that stands for nothing; NaN as text.
        bands: In the file's order.
        acquired: ISO 8601, or None where the file does not say.
        findings: Warnings and notes.
    """

    name: str
    sha256: str
    bytes: int
    format: str
    width: int
    height: int
    crs: str
    transform: tuple[float, float, float, float, float, float]
    bounds: tuple[float, float, float, float]
    resolution_m: float
    bbox: tuple[float, float, float, float]
    footprint: dict[str, Any]
    kind: Kind
    is_bit_packed: bool
    nodata: float | str | None
    bands: tuple[Band, ...]
    acquired: str | None
    findings: tuple[Finding, ...]


class Cog(Result):
    """A finished COG in the internal zone."""

    data: StoredObject
    overviews: int
    seconds: float


@dataclass(frozen=True)
class RasterIngest:
    """The stages of `ingest-raster`.

    Args:
        gate: Opens the source.
        zone: The internal zone.
        scratch: Folder for files on their way.
    """

    gate: Gate
    zone: Zone
    scratch: Path

    def validate(self, request: RasterRequest) -> CheckedRaster:
        """Check that the source is a raster that can be ingested, and describe it.

        Raises:
            NotFound, OutsideAllowedRoots, UnreadableFile, FormatNotAllowed, LimitExceeded: See `Gate`.
            MissingCRS: Neither the file nor the request gives one.
            InvalidParameter: The request's CRS is not one, or differs from the file's.
        """
        path = self.gate.resolve(request.source)
        if path.is_dir():
            raise UnreadableFile(f"'{path.name}' is a folder, not a raster.", hint="Give one file.", field="source")
        limit = self.gate.limits.raster_source_gib
        size = path.stat().st_size
        if size > limit * GIB:
            raise LimitExceeded(
                f"'{path.name}' has {size / GIB:.2f} GiB; the limit is {limit:g} GiB.",
                hint="Raise GEOETL_LIMITS__RASTER_SOURCE_GIB (up to 20), or cut the raster into tiles.",
                field="source",
            )
        with self.gate.open_raster(path) as dataset:
            # GDAL forgets what bands are called when it is to leave overviews alone.
            descriptions = dataset.descriptions
        with self.gate.open_raster(path, with_overviews=False) as dataset:
            if dataset.count == 0:
                raise EmptyDataset(f"'{path.name}' has no bands.", field="source")
            crs = _agreed_crs(dataset, request.crs, path.name)
            if dataset.transform.is_identity:
                placed = "only by ground control points" if dataset.gcps[0] else "nowhere: it has no geotransform"
                raise InvalidParameter(
                    f"'{path.name}' is placed {placed}.",
                    hint="Rectify it first, for example with gdalwarp, or place it with gdal_translate -a_ullr.",
                    field="source",
                )
            with _readable(path.name, self.gate.roots[0]):
                bands = _bands(dataset, descriptions)
            kind = _kind(dataset)
            box = _bbox(dataset, crs)
            findings = _findings(dataset, bands, kind, path.name)
            if request.acquired:
                parse_instant(request.acquired)
            acquired = request.acquired or _tiff_time(dataset.tags().get("TIFFTAG_DATETIME", ""))
            if not acquired:
                findings.append(
                    _finding(
                        "no_acquisition_time",
                        "The file does not say when it was taken; the item carries the time of ingest.",
                        path.name,
                        "Give it with the parameter acquired, for example acquired=2020-06-01.",
                    )
                )
            nodata = dataset.nodata
            return CheckedRaster(
                name=path.name,
                sha256=file_digest(path),
                bytes=size,
                format=dataset.driver,
                width=dataset.width,
                height=dataset.height,
                crs=_crs_text(crs),
                transform=tuple(dataset.transform)[:6],
                bounds=_bounds(dataset),
                resolution_m=_resolution_m(dataset, crs),
                bbox=tuple(box.as_list()),  # type: ignore[arg-type]
                footprint=_footprint(dataset, crs, box),
                kind=kind,
                is_bit_packed=any("NBITS" in dataset.tags(index, ns="IMAGE_STRUCTURE") for index in dataset.indexes),
                nodata="nan" if nodata is not None and math.isnan(nodata) else nodata,
                bands=bands,
                acquired=parse_instant(acquired).isoformat() if acquired else None,
                findings=tuple(findings),
            )

    def to_cog(self, request: RasterRequest, checked: CheckedRaster) -> Cog:
        """Write the COG with GDAL's COG driver, check it, and put it into the internal zone.

        Overviews are averaged, or take the most frequent value where values are classes; pixels are unchanged.

        Raises:
            UnreadableFile: The source changed since it was validated, or its pixels cannot be read.
        """
        from rasterio.shutil import copy
        from rasterio.vrt import WarpedVRT

        started = datetime.now(UTC)
        path = self.gate.resolve(request.source)
        if file_digest(path) != checked.sha256:
            raise UnreadableFile(f"'{path.name}' changed after it was validated.", hint="Run it again.", field="source")
        options = {
            "COMPRESS": request.compression.upper(),
            "PREDICTOR": _predictor(checked),
            # Their pixels may be of any origin and resampling; ours are made from the pixels themselves.
            "OVERVIEWS": "IGNORE_EXISTING",
            "BLOCKSIZE": str(BLOCK_SIZE),
            "OVERVIEW_RESAMPLING": "MODE" if checked.kind == "categorical" else "AVERAGE",
            "NUM_THREADS": "ALL_CPUS",
            "BIGTIFF": "IF_SAFER",
        }
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder, ExitStack() as stack:
            target = Path(folder) / "cog.tif"
            source: Any = stack.enter_context(self.gate.open_raster(path))
            if source.crs is None:
                # The same grid with the CRS that the request gave; no pixel is resampled.
                source = stack.enter_context(
                    WarpedVRT(
                        source,
                        src_crs=request.crs,
                        crs=request.crs,
                        transform=source.transform,
                        width=source.width,
                        height=source.height,
                    )
                )
            with _readable(path.name, self.scratch):
                copy(source, target, driver="COG", **options)
            overviews = self._check_cog(target)
            key = f"rasters/{request.collection}/{request.item_id}/{request.item_id}-{file_digest(target)[:8]}.tif"
            stored = self.zone.put(target, key, owner=f"{request.collection}/{request.item_id}")
        return Cog(data=stored, overviews=overviews, seconds=(datetime.now(UTC) - started).total_seconds())

    def _check_cog(self, path: Path) -> int:
        from rio_cogeo.cogeo import cog_validate

        valid, errors, warnings = cog_validate(str(path), strict=True, quiet=True)
        if not valid:
            raise UnreadableFile(
                f"The COG that was written is not valid: {'; '.join([*errors, *warnings])}",
                hint="Please report this with the source file.",
            )
        with self.gate.open_raster(path) as dataset:
            return len(dataset.overviews(1))

    def item(
        self,
        request: RasterRequest,
        checked: CheckedRaster,
        cog: Cog,
        notebook: str | None,
    ) -> dict[str, Any]:
        """Describe the COG as a STAC item with projection, bands and render fields."""
        projection: dict[str, Any] = {
            "proj:code": checked.crs if checked.crs.startswith("EPSG:") else None,
            "proj:shape": [checked.height, checked.width],
            "proj:transform": list(checked.transform),
            "proj:bbox": list(checked.bounds),
        }
        if projection["proj:code"] is None:
            projection["proj:wkt2"] = checked.crs
        acquired = parse_instant(checked.acquired) if checked.acquired else datetime.now(UTC)
        bands = [_stac_band(band, checked) for band in checked.bands]
        return new_item(
            item_id=request.item_id,
            collection=request.collection,
            bbox=BBox.from_list(checked.bbox),
            geometry=checked.footprint,
            times=instant(acquired),
            properties={
                "title": request.item_title,
                **projection,
                "renders": {"default": _render(checked)},
            },
            assets={
                "data": object_asset(cog.data, title="Cloud Optimized GeoTIFF", roles=["data"], bands=bands),
            },
            extensions=[PROJECTION, RASTER, RENDER],
            lineage=f"{checked.name} (sha256 {checked.sha256[:12]}…) to a {request.compression} COG, pixels unchanged",
            software=["rasterio"],
            notebook=notebook,
        )


@contextmanager
def _readable(name: str, scratch: Path) -> Iterator[None]:
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    try:
        yield
    except (RasterioError, CPLE_BaseError):
        if free_bytes(scratch) < MIN_FREE_BYTES:
            raise Unavailable(
                "The COG could not be written: the disk of GEOETL_HOME is full.",
                hint="Free some space, then run it again: finished stages are not repeated.",
            ) from None
        raise UnreadableFile(
            f"The pixels of '{name}' cannot be read, although its header can.",
            hint="The file is probably truncated or damaged; fetch it again and compare its checksum.",
            field="source",
        ) from None


def _finding(code: str, message: str, subject: str, remedy: str | None = None) -> Finding:
    return Finding(severity=Severity.WARNING, code=code, message=message, subject=subject, remedy=remedy)


def _agreed_crs(dataset: "DatasetReader", given: str, name: str) -> Any:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    wanted = None
    if given:
        try:
            wanted = CRS.from_user_input(given)
        except CRSError:
            raise InvalidParameter(
                f"'{given[:60]}' is not a coordinate reference system.", hint="For example crs=EPSG:32618.", field="crs"
            ) from None
    if dataset.crs is None:
        if wanted is None:
            raise MissingCRS(
                f"'{name}' does not say its coordinate reference system, and it is never guessed.",
                hint="Give it with the parameter crs, for example crs=EPSG:4326.",
                field="crs",
            )
        return wanted
    if wanted is not None and wanted != dataset.crs:
        raise InvalidParameter(
            f"'{name}' is in {_crs_text(dataset.crs)[:40]}, not in {given}.",
            hint="Leave the parameter crs out, or correct the file.",
            field="crs",
        )
    return dataset.crs


def _crs_text(crs: Any) -> str:
    code = crs.to_epsg(confidence_threshold=100)
    return f"EPSG:{code}" if code else str(crs.to_wkt(version="WKT2_2019"))


def _bands(dataset: "DatasetReader", descriptions: Sequence[str | None]) -> tuple[Band, ...]:
    """Return each band's statistics, from at most SAMPLE_SIDE pixels a side."""
    scale = max(1.0, max(dataset.height, dataset.width) / SAMPLE_SIDE)
    shape = (dataset.count, max(1, round(dataset.height / scale)), max(1, round(dataset.width / scale)))
    sample = np.ma.masked_invalid(dataset.read(out_shape=shape, masked=True), copy=False)
    colours = [colour.name for colour in dataset.colorinterp]
    bands = []
    for index, values in enumerate(sample):
        valid = values.compressed()
        described = valid.size > 0 and not np.iscomplexobj(valid)
        finite = valid.astype("float64") if described else valid
        scale, offset = dataset.scales[index], dataset.offsets[index]
        ends = sorted(float(v) * scale + offset for v in np.percentile(finite, (2, 98))) if described else []
        display = (ends[0], ends[1]) if ends else None
        name = colours[index] if colours[index] in ("red", "green", "blue", "alpha") else f"b{index + 1}"
        bands.append(
            Band(
                name=name,
                description=descriptions[index],
                data_type=_stac_type(dataset.dtypes[index]),
                scale=scale if scale != 1 else None,
                offset=offset if offset != 0 else None,
                unit=dataset.units[index],
                minimum=float(finite.min()) if described else None,
                maximum=float(finite.max()) if described else None,
                mean=float(finite.mean()) if described else None,
                stddev=float(finite.std()) if described else None,
                valid_percent=round(100 * valid.size / values.size, 2),
                display=display,
            )
        )
    return tuple(bands)


def _stac_type(dtype: str) -> str:
    return {"complex_int16": "cint16", "complex64": "cfloat32", "complex128": "cfloat64"}.get(dtype, dtype)


def _kind(dataset: "DatasetReader") -> Kind:
    from rasterio.enums import ColorInterp

    colours = dataset.colorinterp
    if ColorInterp.palette in colours:
        return "categorical"
    if dataset.count in (3, 4) and colours[:3] == (ColorInterp.red, ColorInterp.green, ColorInterp.blue):
        return "rgba" if dataset.count == 4 and colours[3] == ColorInterp.alpha else "rgb"
    return "single" if dataset.count == 1 else "multispectral"


def _bounds(dataset: "DatasetReader") -> tuple[float, float, float, float]:
    """Return left, bottom, right, top, also of rasters whose rows or columns run the other way."""
    left, bottom, right, top = dataset.bounds
    return min(left, right), min(bottom, top), max(left, right), max(bottom, top)


def _predictor(checked: CheckedRaster) -> str:
    """Return GDAL's predictor: none for types that libtiff has none for (half floats, complex, single bits)."""
    plain = {"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"}
    return "YES" if {band.data_type for band in checked.bands} <= plain and not checked.is_bit_packed else "NO"


def _bbox(dataset: "DatasetReader", crs: Any) -> BBox:
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import CRSError, RasterioError
    from rasterio.warp import transform_bounds

    try:
        west, south, east, north = transform_bounds(crs, "OGC:CRS84", *_bounds(dataset), densify_pts=EDGE_POINTS)
    except (CRSError, RasterioError, CPLE_BaseError):
        west = math.inf
        south = east = north = west
    if not all(map(math.isfinite, (west, south, east, north))):
        raise InvalidParameter(
            "The raster's place has no longitude and latitude: its reference system is not one of the Earth, or its "
            "coordinates lie beyond it.",
            hint="Correct the CRS or the geotransform, or reproject the file first.",
            field="crs",
        )
    if (
        south < -90 - MAX_BEYOND_POLE_DEG
        or north > 90 + MAX_BEYOND_POLE_DEG
        or min(west, east) < -360
        or max(west, east) > 540
    ):
        raise InvalidParameter(
            f"The raster lies at longitude {west:.6g} to {east:.6g}, latitude {south:.6g} to {north:.6g}, which is not "
            "on the Earth.",
            hint="Correct the CRS or the geotransform.",
            field="crs",
        )
    if east - west >= 360:
        return BBox(-180.0, max(south, -90.0), 180.0, min(north, 90.0))
    return BBox(
        _tidy(wrap_longitude(west)), _tidy(max(south, -90.0)), _tidy(wrap_longitude(east)), _tidy(min(north, 90.0))
    )


def _resolution_m(dataset: "DatasetReader", crs: Any) -> float:
    """Return the mean of a pixel's width and height at the raster's centre, along the ellipsoid, in metres."""
    from pyproj import Geod
    from rasterio.warp import transform

    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    column, row = dataset.width / 2, dataset.height / 2
    corners = [(column, row), (column + 1, row), (column, row + 1)]
    xs, ys = zip(*((a * i + b * j + c, d * i + e * j + f) for i, j in corners), strict=True)
    lons, lats = transform(crs, "OGC:CRS84", xs, ys)
    _, _, sides = Geod(ellps="WGS84").inv([lons[0]] * 2, [lats[0]] * 2, lons[1:], lats[1:])
    return float(f"{sum(sides) / 2:.6g}")


def _footprint(dataset: "DatasetReader", crs: Any, box: BBox) -> dict[str, Any]:
    """Return the raster's edge in degrees, counter-clockwise; the box where an edge crosses the antimeridian."""
    from rasterio.warp import transform

    if box.crosses_antimeridian or box.width_deg >= 180:
        return box.geometry()
    steps = np.linspace(0, 1, EDGE_POINTS)[:-1]
    width, height = dataset.width, dataset.height
    columns = np.concatenate([0 * steps, width * steps, width + 0 * steps, width * (1 - steps)])
    rows = np.concatenate([height * steps, height + 0 * steps, height * (1 - steps), 0 * steps])
    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    xs, ys = a * columns + b * rows + c, d * columns + e * rows + f
    lons, lats = transform(crs, "OGC:CRS84", list(xs), list(ys))
    ring = [[_tidy(lon), _tidy(lat)] for lon, lat in zip(lons, lats, strict=True)]
    if not all(abs(lon) <= 180 and abs(lat) <= 90 for lon, lat in ring):
        return box.geometry()
    ring = ring if _is_counter_clockwise(ring) else ring[::-1]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def _is_counter_clockwise(ring: list[list[float]]) -> bool:
    following = [*ring[1:], ring[0]]
    return sum((b[0] - a[0]) * (b[1] + a[1]) for a, b in zip(ring, following, strict=True)) < 0


def _tidy(value: float) -> float:
    return round(value, 7)


def _findings(dataset: "DatasetReader", bands: tuple[Band, ...], kind: Kind, name: str) -> list[Finding]:
    from rasterio.enums import MaskFlags

    findings = []
    if all(MaskFlags.all_valid in flags for flags in dataset.mask_flag_enums) and kind != "rgb":
        findings.append(
            _finding(
                "no_nodata",
                "No nodata value is declared, so every pixel counts as data.",
                name,
                "Declare one in the file if some value stands for nothing.",
            )
        )
    if empty := [band.name for band in bands if band.valid_percent == 0]:
        findings.append(_finding("no_valid_pixels", f"Band {', '.join(empty)} holds no valid pixel.", name))
    if kind == "categorical" and any(band.data_type in ("float64", "int64", "uint64") for band in bands):
        findings.append(_finding("wasteful_type", "Classes are stored in 64 bits; 8 would do.", name))
    if dataset.transform.b or dataset.transform.d:
        findings.append(_finding("rotated", "The raster is rotated against its coordinate axes.", name))
    return findings


def _tiff_time(tag: str) -> str:
    """Return the TIFF's own time as ISO text; empty where there is none, or one that never was (0000:00:00)."""
    found = _TIFF_TIME.match(tag)
    text = "{}-{}-{}T{}:{}:{}".format(*found.groups()) if found else ""
    try:
        parse_instant(text)
    except InvalidTime:
        return ""
    return text


def _stac_band(band: Band, checked: CheckedRaster) -> dict[str, Any]:
    optional = {
        "description": band.description,
        "unit": band.unit,
        "nodata": checked.nodata,
        "raster:scale": band.scale,
        "raster:offset": band.offset,
        "raster:spatial_resolution": checked.resolution_m,
    }
    described: dict[str, Any] = {"name": band.name, "data_type": band.data_type}
    described.update({name: value for name, value in optional.items() if value is not None})
    if band.minimum is not None:
        described["statistics"] = {
            "minimum": band.minimum,
            "maximum": band.maximum,
            "mean": band.mean,
            "stddev": band.stddev,
            "valid_percent": band.valid_percent,
        }
    return described


def _render(checked: CheckedRaster) -> dict[str, Any]:
    render: dict[str, Any] = {
        "assets": ["data"],
        "title": "True colour" if checked.kind.startswith("rgb") else "Values",
    }
    if checked.kind == "categorical":
        return {**render, "title": "Classes"}
    shown = checked.bands[:3] if len(checked.bands) >= 3 else checked.bands[:1]
    is_byte_colour = checked.kind.startswith("rgb") and checked.bands[0].data_type == "uint8"
    ranges = [[0.0, 255.0] if is_byte_colour else list(band.display) for band in shown if band.display]
    if len(ranges) == len(shown):
        render["rescale"] = [[low, high if high > low else low + 1] for low, high in ranges]
    if len(shown) == 1:
        render["colormap_name"] = "viridis"
    return render
