"""The gate: the only place that opens rasters, cubes, vectors, archives and references.

Before anything is opened, the place is resolved inside the allowed roots, the first bytes say what the file really
is, one driver is named for it, and its header has to stay within the limits.  A file is never opened by what its name
claims, and a name never reaches a driver that would interpret it as an address.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from geoetl.core.errors import (
    EmptyDataset,
    FormatNotAllowed,
    InvalidParameter,
    LimitExceeded,
    MissingCRS,
    NotFound,
    OutsideAllowedRoots,
    UnreadableFile,
    did_you_mean,
)
from geoetl.core.findings import Finding, Severity
from geoetl.core.settings import LimitSettings
from geoetl.store.samples import sample_path

if TYPE_CHECKING:
    import geopandas as gpd
    import h5py
    import xarray as xr
    from rasterio.io import DatasetReader

SAMPLE_SCHEME = "samples:"
# Enough of a file to tell its format by.
HEAD_BYTES = 512
GIB = 1024**3
# Of .shp and .shx; all that the check of a Shapefile reads.
_SHAPEFILE_HEADER_BYTES = 100
# The dBase flag byte at offset 29 that names a code page; 0 means "not said".
_DBF_LANGUAGE_OFFSET = 29


class Format(StrEnum):
    """What a file is, by its first bytes."""

    GEOTIFF = "GeoTIFF"
    JPEG2000 = "JPEG 2000"
    PNG = "PNG"
    JPEG = "JPEG"
    HDF5 = "NetCDF-4/HDF5"
    NETCDF3 = "NetCDF-3"
    GEOPACKAGE = "GeoPackage"
    SQLITE = "SQLite"
    FLATGEOBUF = "FlatGeobuf"
    PARQUET = "Parquet"
    SHAPEFILE = "Shapefile"
    ZIP = "zip archive"
    JSON = "JSON"
    HTML = "HTML page"
    XML = "XML"
    EMPTY = "empty file"
    UNKNOWN = "unknown format"


# The GDAL driver for each raster format; no other driver is ever tried.
RASTER_DRIVERS: Mapping[Format, str] = {
    Format.GEOTIFF: "GTiff",
    Format.JPEG2000: "JP2OpenJPEG",
    Format.PNG: "PNG",
    Format.JPEG: "JPEG",
}
VECTOR_FORMATS = frozenset(
    {Format.JSON, Format.GEOPACKAGE, Format.FLATGEOBUF, Format.SHAPEFILE, Format.ZIP, Format.PARQUET}
)
_VECTOR_SUFFIXES = (".shp", ".gpkg", ".geojson", ".json", ".fgb")


@dataclass(frozen=True)
class VectorRead:
    """Features as they were read.

    Attributes:
        frame: The features, in the file's CRS and order.
        layer: Name of the layer.
        findings: What was noticed while reading (encoding, layer choice).
    """

    frame: "gpd.GeoDataFrame"
    layer: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Gate:
    """Opens what lies in the allowed roots and is of an allowed format.

    Args:
        roots: Folders that sources may lie in.
        limits: What is refused before it is read.
    """

    roots: tuple[Path, ...]
    limits: LimitSettings

    def resolve(self, source: str, *, field: str = "source") -> Path:
        """Return the local path of a source: ``samples:NAME``, ``file://…`` or a path inside the allowed roots.

        Raises:
            OutsideAllowedRoots: It is another kind of address or leads elsewhere (symbolic links are followed first).
            NotFound: There is no such file or folder.
        """
        if source.startswith(SAMPLE_SCHEME):
            return sample_path(source.removeprefix(SAMPLE_SCHEME))
        text = unquote(urlsplit(source).path) if source.startswith("file://") else source
        if not text or "\0" in text or "\n" in text or re.match(r"[A-Za-z][A-Za-z0-9+.-]+:|/vsi|[<{]", text):
            raise OutsideAllowedRoots(
                f"'{source[:80]}' is not a local path.",
                hint="Give the path of a local file, or samples:NAME.",
                field=field,
            )
        path = Path(text).expanduser().resolve()
        if not self.allows(path):
            raise OutsideAllowedRoots(
                f"'{Path(text).name}' lies outside the folders that may be read.",
                hint="Move it below the working folder, or add its folder to GEOETL_ALLOWED_ROOTS (a JSON list).",
                field=field,
            )
        if not path.exists():
            near = did_you_mean(path.name, (p.name for p in path.parent.iterdir())) if path.parent.is_dir() else ""
            raise NotFound(
                f"There is no file '{Path(text).name}' in its folder.",
                hint=near
                if near.startswith("Did")
                else "Check the spelling; relative paths start at the working folder.",
                field=field,
            )
        return path

    def allows(self, path: Path) -> bool:
        """Tell whether a resolved path lies in an allowed root."""
        return any(path == root or path.is_relative_to(root) for root in self.roots)

    @contextmanager
    def open_raster(self, path: Path, *, with_overviews: bool = True) -> "Iterator[DatasetReader]":
        """Open a raster by the driver of its own format.

        Args:
            path: As `resolve` returned it.
            with_overviews: Whether reduced reads may use the file's overviews. A file of unknown origin may hold ones
                that do not match its pixels, or name another file for them.

        Raises:
            UnreadableFile: Empty, truncated, or not a raster.
            OutsideAllowedRoots: The file draws on another one that lies elsewhere.
            FormatNotAllowed: A format that is not opened (VRT, XML, archives…).
            LimitExceeded: More pixels than ``limits.raster_pixels``, by the header.
        """
        import rasterio
        from rasterio.errors import RasterioError, RasterioIOError

        found = file_format(path)
        driver = RASTER_DRIVERS.get(found)
        if driver is None:
            raise _wrong_format(path, found, "raster", [str(f) for f in RASTER_DRIVERS])
        try:
            options = {} if with_overviews else {"OVERVIEW_LEVEL": "NONE"}
            dataset = rasterio.open(path, driver=driver, **options)
        except (RasterioIOError, RasterioError):
            raise UnreadableFile(
                f"'{path.name}' begins like a {found} but cannot be opened: {path.stat().st_size} bytes are there.",
                hint="The file is probably truncated or damaged; fetch it again and compare its checksum.",
                field="source",
            ) from None
        with dataset:
            for used in dataset.files:
                if not self.allows(Path(used).resolve()):
                    raise OutsideAllowedRoots(
                        f"'{path.name}' draws on a file outside the folders that may be read.",
                        hint="Copy what it needs beside it, or write the raster anew without external parts.",
                        field="source",
                    )
            pixels = dataset.width * dataset.height * dataset.count
            if pixels > self.limits.raster_pixels:
                raise LimitExceeded(
                    f"'{path.name}' declares {dataset.width} x {dataset.height} pixels in {dataset.count} bands "
                    f"({pixels:,} values); the limit is {self.limits.raster_pixels:,}.",
                    hint="Cut the raster into tiles, or raise GEOETL_LIMITS__RASTER_PIXELS.",
                    field="source",
                )
            yield dataset

    def read_vector(self, path: Path, *, layer: str | None = None, crs: str | None = None) -> VectorRead:
        """Read all features of one layer; GeoJSON, GeoPackage, FlatGeobuf, Shapefile (also zipped), GeoParquet.

        Args:
            path: As `resolve` returned it.
            layer: Which layer, where there are several.
            crs: The CRS of a file that does not say it; a file that does must agree.

        Raises:
            UnreadableFile: Empty, truncated, or not vector data.
            FormatNotAllowed: A format that is not opened.
            MissingCRS: The file does not say its CRS.
            EmptyDataset: There is no feature.
            InvalidParameter: There are several layers, or none of that name.
            LimitExceeded: More features than ``limits.vector_features``, or an archive that unpacks too large.
        """
        import pyogrio
        from shapely.errors import GEOSException

        found = file_format(path)
        if found not in VECTOR_FORMATS:
            raise _wrong_format(path, found, "vector", sorted(VECTOR_FORMATS))
        if found is Format.PARQUET:
            frame = self.read_geoparquet(path)
            return self._checked(frame, path, path.stem, [], crs)
        findings: list[Finding] = []
        options: dict[str, str] = {}
        target = str(path)
        if found is Format.SHAPEFILE:
            _check_shapefile(
                path.name, {p.suffix.lower(): _Part.of_file(p) for p in path.parent.glob(f"{path.stem}.*")}
            )
        if found is Format.ZIP:
            member = self._vector_member(path)
            if member.lower().endswith(".shp"):
                _check_shapefile(member, _parts_in_archive(path, member))
            target = f"/vsizip/{path}/{member}"
            if member.lower().endswith(".shp") and (encoding := _missing_code_page(path, member)):
                options["encoding"] = encoding
                findings.append(
                    Finding(
                        severity=Severity.INFO,
                        code="encoding_detected",
                        message=f"The Shapefile has no .cpg; its text was read as {encoding}.",
                        subject=member,
                        got=encoding,
                    )
                )
        try:
            chosen = _choose_layer([str(name) for name, _ in pyogrio.list_layers(target)], layer, path.name)
            declared = int(pyogrio.read_info(target, layer=chosen)["features"])
            if declared > self.limits.vector_features:
                raise LimitExceeded(
                    f"'{path.name}' has {declared:,} features; the limit is {self.limits.vector_features:,}.",
                    hint="Split the file, or raise GEOETL_LIMITS__VECTOR_FEATURES.",
                    field="source",
                )
            frame = pyogrio.read_dataframe(
                target, layer=chosen, use_arrow=True, arrow_to_pandas_kwargs={"types_mapper": _nullable}, **options
            )
        except UnicodeDecodeError:
            raise UnreadableFile(
                f"Text in '{path.name}' is not UTF-8.", hint="Save the file again in UTF-8.", field="source"
            ) from None
        except (
            pyogrio.errors.DataSourceError,
            pyogrio.errors.DataLayerError,
            pyogrio.errors.FeatureError,
            GEOSException,
            OSError,
            RuntimeError,
            ValueError,
        ):
            raise UnreadableFile(
                f"'{path.name}' begins like {found} but holds no readable features ({path.stat().st_size} bytes).",
                hint="Open it in a GIS or with ogrinfo; it is probably truncated or of another structure.",
                field="source",
            ) from None
        return self._checked(_plain_integers(frame), path, chosen, findings, crs)

    def _checked(self, frame: Any, path: Path, layer: str, findings: list[Finding], crs: str | None) -> VectorRead:
        import geopandas as gpd
        from pyproj import CRS
        from pyproj.exceptions import CRSError

        try:
            wanted = CRS.from_user_input(crs) if crs else None
        except CRSError:
            raise InvalidParameter(
                f"'{str(crs)[:60]}' is not a coordinate reference system.",
                hint="For example crs=EPSG:4326.",
                field="crs",
            ) from None

        if not isinstance(frame, gpd.GeoDataFrame):
            raise UnreadableFile(
                f"'{path.name}' is a table without geometry.",
                hint="Give a layer with a geometry column.",
                field="source",
            )
        if frame.empty:
            raise EmptyDataset(f"'{path.name}' has no features.", hint="Check the export that made it.", field="source")
        if frame.crs is None and wanted is not None:
            frame = frame.set_crs(wanted)
        if frame.crs is None:
            raise MissingCRS(
                f"'{path.name}' does not say its coordinate reference system.",
                hint="Give it with the parameter crs, for example crs=EPSG:4326.",
                field="crs",
            )
        if wanted is not None and wanted != frame.crs:
            raise InvalidParameter(
                f"'{path.name}' is in {frame.crs.name}, not in {crs}.",
                hint="Leave the parameter crs out, or correct the file.",
                field="crs",
            )
        return VectorRead(frame, layer, tuple(findings))

    def read_geoparquet(
        self, path: Path, *, bbox: tuple[float, float, float, float] | None = None, columns: list[str] | None = None
    ) -> "gpd.GeoDataFrame":
        """Read a GeoParquet file, only the rows that touch `bbox` (in the file's CRS; west < east) and only `columns`.

        Raises:
            UnreadableFile: It is not GeoParquet.
        """
        import geopandas as gpd
        from pyarrow.lib import ArrowException

        try:
            return gpd.read_parquet(path, bbox=bbox, columns=columns)
        except (ValueError, OSError, ArrowException) as error:
            raise UnreadableFile(
                f"'{path.name}' cannot be read as GeoParquet: {str(error).splitlines()[0]}",
                hint="Ingest it again from its source.",
            ) from None

    def open_netcdf(self, path: Path, **options: Any) -> "xr.Dataset":
        """Open a NetCDF file lazily, by the engine of its container; `options` go to ``xarray.open_dataset``.

        Raises:
            UnreadableFile: Empty, truncated, or not NetCDF.
            FormatNotAllowed: It is of another format.
        """
        import xarray as xr

        found = check_netcdf(path)
        engine = "h5netcdf" if found is Format.HDF5 else "scipy"
        try:
            return xr.open_dataset(path, engine=engine, **options)
        except (LookupError, OSError, OverflowError, RuntimeError, TypeError, ValueError) as error:
            reason = (str(error).splitlines() or [""])[0][:120]
            raise UnreadableFile(
                f"'{path.name}' is {found} but cannot be opened ({type(error).__name__}: {reason}).",
                hint="It may be truncated (compare its checksum), or its time units or calendar may not follow CF.",
                field="source",
            ) from None

    @contextmanager
    def open_hdf5(self, path: Path) -> "Iterator[h5py.File]":
        """Open the container of a NetCDF-4 file, for its chunk index and attributes.

        Raises:
            UnreadableFile: Empty, truncated, or not HDF5.
            FormatNotAllowed: It is of another format.
        """
        import h5py

        found = file_format(path)
        if found is not Format.HDF5:
            raise _wrong_format(path, found, "NetCDF-4", [Format.HDF5])
        try:
            file = h5py.File(path, "r")
        except OSError:
            raise UnreadableFile(
                f"'{path.name}' begins like {found} but cannot be opened ({path.stat().st_size} bytes are there).",
                hint="The file is probably truncated or damaged; fetch it again and compare its checksum.",
                field="source",
            ) from None
        with file:
            yield file

    def open_references(self, path: Path, **options: Any) -> "xr.Dataset":
        """Open kerchunk references (JSON) as a lazy cube; every target is checked against the allowed roots first.

        `options` go to ``xarray.open_zarr``.

        Raises:
            UnreadableFile: It is not a kerchunk reference file.
            OutsideAllowedRoots: A reference leads out of the allowed roots or to another kind of address.
            NotFound: A source file is gone.
        """
        import fsspec
        import xarray as xr
        from zarr.errors import GroupNotFoundError
        from zarr.storage import FsspecStore

        document = self._references(path)
        # asynchronous=True: zarr drives the file system's own loop; about three times faster than engine="kerchunk".
        files = fsspec.filesystem(
            "reference", fo=document, remote_protocol="file", asynchronous=True, skip_instance_cache=True
        )
        store = FsspecStore(files, read_only=True)
        try:
            cube: xr.Dataset = xr.open_zarr(store, consolidated=False, zarr_format=2, **{"chunks": None, **options})
        except GroupNotFoundError:
            raise UnreadableFile(
                f"'{path.name}' has no group at its root (.zgroup).", hint="Build the references again."
            ) from None
        return cube

    def _references(self, path: Path) -> dict[str, Any]:
        try:
            document = json.loads(path.read_bytes())
            references = document["refs"]
            targets = {value[0] for value in references.values() if isinstance(value, list)}
            if not all(isinstance(target, str) for target in targets):
                raise ValueError("a target is not an address")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise UnreadableFile(
                f"'{path.name}' is not a kerchunk reference file.", hint="Build the references again."
            ) from None
        if document.get("templates") or document.get("gen"):
            raise FormatNotAllowed(
                f"'{path.name}' uses templates, which are not expanded here.",
                hint="Write the references with full addresses.",
            )
        self.check_targets(targets, path.name)
        return dict(document)

    def check_targets(self, targets: Iterable[str], subject: str) -> None:
        """Check that every address that references name is an existing file in the allowed roots.

        Raises:
            OutsideAllowedRoots: One leads elsewhere.
            NotFound: One is gone.
        """
        for target in sorted(targets):
            self.resolve(target, field=f"references of {subject}")

    def _vector_member(self, path: Path) -> str:
        members = [info for info in self._members(path) if not info.is_dir()]
        names = [info.filename for info in members if _is_dataset(PurePosixPath(info.filename))]
        if any(not name.lower().endswith(".json") for name in names):
            names = [name for name in names if not name.lower().endswith(".json")]  # metadata beside the dataset
        if not names:
            raise UnreadableFile(
                f"The archive '{path.name}' holds no Shapefile, GeoPackage, GeoJSON or FlatGeobuf.",
                hint=f"It holds: {', '.join(info.filename for info in members[:8]) or 'nothing'}.",
                field="source",
            )
        if len(names) > 1:
            raise InvalidParameter(
                f"The archive '{path.name}' holds {len(names)} datasets: {', '.join(names[:8])}.",
                hint="Give an archive with one of them.",
                field="source",
            )
        return names[0]

    def _members(self, path: Path) -> list[zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, OSError):
            raise UnreadableFile(
                f"'{path.name}' is not a complete zip archive ({path.stat().st_size} bytes are there).",
                hint="Fetch it again and compare its checksum.",
                field="source",
            ) from None
        if len(members) > self.limits.archive_members:
            raise LimitExceeded(
                f"'{path.name}' has {len(members):,} members; the limit is {self.limits.archive_members:,}.",
                hint="Unpack it and give the file itself.",
                field="source",
            )
        size = sum(info.file_size for info in members)
        if size > self.limits.archive_gib * GIB:
            raise LimitExceeded(
                f"'{path.name}' unpacks to {size / GIB:.1f} GiB; the limit is {self.limits.archive_gib:g} GiB.",
                hint="Unpack it and give the file itself, or raise GEOETL_LIMITS__ARCHIVE_GIB.",
                field="source",
            )
        for info in members:
            name = info.filename
            if name.startswith(("/", "\\")) or ".." in PurePosixPath(name).parts or re.match(r"[A-Za-z]:", name):
                raise FormatNotAllowed(
                    f"The member '{name[:80]}' of '{path.name}' leads out of the archive.",
                    hint="Pack it again with relative names.",
                    field="source",
                )
        return members


def file_format(path: Path) -> Format:
    """Tell what a file is by its first bytes, whatever its name says."""
    if path.is_dir():
        return Format.UNKNOWN
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return _format_of(head)


def _format_of(head: bytes) -> Format:
    if not head:
        return Format.EMPTY
    for magic, found in _MAGIC.items():
        if head.startswith(magic):
            return found
    if head[4:8] == b"jP  ":
        return Format.JPEG2000
    if head.startswith(b"SQLite format 3\0"):
        return Format.GEOPACKAGE if head[68:72] in (b"GPKG", b"GP10", b"GP11") else Format.SQLITE
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return Format.HTML
    if text.startswith(b"<"):
        return Format.XML
    return Format.JSON if text.startswith((b"{", b"[")) else Format.UNKNOWN


_MAGIC: Mapping[bytes, Format] = {
    b"II*\0": Format.GEOTIFF,
    b"MM\0*": Format.GEOTIFF,
    b"II+\0": Format.GEOTIFF,
    b"MM\0+": Format.GEOTIFF,
    b"\x89PNG\r\n": Format.PNG,
    b"\xff\xd8\xff": Format.JPEG,
    b"\xff\x4f\xff\x51": Format.JPEG2000,
    b"\x89HDF\r\n\x1a\n": Format.HDF5,
    b"CDF\x01": Format.NETCDF3,
    b"CDF\x02": Format.NETCDF3,
    b"CDF\x05": Format.NETCDF3,
    b"fgb\x03": Format.FLATGEOBUF,
    b"PAR1": Format.PARQUET,
    b"\0\0\x27\x0a": Format.SHAPEFILE,
    b"PK\x03\x04": Format.ZIP,
    b"PK\x05\x06": Format.ZIP,
}


def check_netcdf(path: Path) -> Format:
    """Return ``HDF5`` or ``NETCDF3``.

    Raises:
        UnreadableFile: The file is empty or a web page.
        FormatNotAllowed: It is of another format.
    """
    found = file_format(path)
    if found not in (Format.HDF5, Format.NETCDF3):
        raise _wrong_format(path, found, "NetCDF", [Format.HDF5, Format.NETCDF3])
    return found


def _wrong_format(path: Path, found: Format, wanted: str, allowed: list[str]) -> UnreadableFile | FormatNotAllowed:
    if found is Format.EMPTY:
        return UnreadableFile(
            f"'{path.name}' is empty (0 bytes).", hint="Fetch or export the file again.", field="source"
        )
    if found is Format.HTML:
        return UnreadableFile(
            f"'{path.name}' is a web page (HTML), not {wanted} data.",
            hint="The download probably gave a login or error page; open it in a browser to see.",
            field="source",
        )
    shown = (
        f"is of an unknown format, not {wanted} data" if found is Format.UNKNOWN else f"is {found}, not {wanted} data"
    )
    return FormatNotAllowed(f"'{path.name}' {shown}.", hint=f"Allowed are: {', '.join(allowed)}.", field="source")


def _choose_layer(layers: list[str], wanted: str | None, file_name: str) -> str:
    if wanted is not None:
        if wanted not in layers:
            raise InvalidParameter(
                f"'{file_name}' has no layer '{wanted}'.", hint=did_you_mean(wanted, layers), field="layer"
            )
        return wanted
    if len(layers) > 1:
        raise InvalidParameter(
            f"'{file_name}' has {len(layers)} layers: {', '.join(layers[:12])}.",
            hint="Name one with the parameter layer.",
            field="layer",
        )
    if not layers:
        raise EmptyDataset(f"'{file_name}' has no layers.", hint="Check the export that made it.", field="source")
    return layers[0]


def _is_dataset(member: PurePosixPath) -> bool:
    # macOS packs a shadow of each file.
    return (
        member.suffix.lower() in _VECTOR_SUFFIXES and member.parts[0] != "__MACOSX" and not member.name.startswith("._")
    )


@dataclass(frozen=True)
class _Part:
    """One file of a Shapefile: its size and its first bytes."""

    size: int
    head: bytes

    @classmethod
    def of_file(cls, path: Path) -> "_Part":
        with path.open("rb") as file:
            return cls(path.stat().st_size, file.read(_SHAPEFILE_HEADER_BYTES))


def _parts_in_archive(path: Path, member: str) -> dict[str, _Part]:
    stem = member[: -len(".shp")].lower()
    parts = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.lower()
                if name.rpartition(".")[0] == stem:
                    with archive.open(info) as file:
                        parts[PurePosixPath(name).suffix] = _Part(info.file_size, file.read(_SHAPEFILE_HEADER_BYTES))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError):
        raise UnreadableFile(
            f"The member '{member}' of '{path.name}' is damaged.",
            hint="Fetch the archive again and compare its checksum.",
            field="source",
        ) from None
    return parts


def _check_shapefile(name: str, parts: Mapping[str, _Part]) -> None:
    """Compare what the parts of a Shapefile say of their lengths: GDAL reads as far as it gets and says nothing.

    Source: ESRI Shapefile Technical Description (July 1998), pages 4 and 24; dBASE III file header.
    """

    def damaged(what: str) -> UnreadableFile:
        return UnreadableFile(
            f"The Shapefile '{name}' is not whole: {what}.",
            hint="Fetch all of its parts (.shp, .shx, .dbf, .prj) again and compare their checksums.",
            field="source",
        )

    for suffix in (".shx", ".dbf"):
        if suffix not in parts:
            raise damaged(f"its {suffix} is missing")
    shapes, index, table = parts[".shp"], parts[".shx"], parts[".dbf"]
    for suffix, part in ((".shp", shapes), (".shx", index)):
        declared = 2 * int.from_bytes(part.head[24:28], "big")
        if part.size < declared:
            raise damaged(f"its {suffix} has {part.size} of {declared} bytes")
    records, header, width = (int.from_bytes(table.head[a:b], "little") for a, b in ((4, 8), (8, 10), (10, 12)))
    if table.size < header + records * width:
        raise damaged(f"its .dbf has {table.size} of {header + records * width} bytes")
    shapes_count = (index.size - _SHAPEFILE_HEADER_BYTES) // 8
    if shapes_count != records:
        raise damaged(f"it has {shapes_count} shapes and {records} rows of attributes")


def _nullable(arrow_type: Any) -> Any:
    """Keep integers and booleans with gaps as what they are; pandas alone would make them floating point."""
    import pandas as pd

    return {
        "bool": pd.BooleanDtype(),
        "int8": pd.Int8Dtype(),
        "int16": pd.Int16Dtype(),
        "int32": pd.Int32Dtype(),
        "int64": pd.Int64Dtype(),
    }.get(str(arrow_type))


def _plain_integers(frame: Any) -> Any:
    """Return nullable columns without gaps in numpy's own type, which every library takes."""
    for name in frame.columns:
        kind = str(frame[name].dtype)
        if kind in ("boolean", "Int8", "Int16", "Int32", "Int64") and not frame[name].isna().any():
            frame[name] = frame[name].astype("bool" if kind == "boolean" else kind.lower())
    return frame


def _missing_code_page(path: Path, member: str) -> str | None:
    """Return the encoding of a zipped Shapefile that does not say it, or None where it does.

    GDAL takes ISO-8859-1 when there is neither a .cpg nor a language byte, which garbles UTF-8; text that decodes as
    UTF-8 and is not plain ASCII is UTF-8 beyond reasonable doubt.
    """
    stem = member[: -len(".shp")]
    with zipfile.ZipFile(path) as archive:
        by_lower_name = {name.lower(): name for name in archive.namelist()}
        table = by_lower_name.get(f"{stem.lower()}.dbf")
        if f"{stem.lower()}.cpg" in by_lower_name or table is None:
            return None
        with archive.open(table) as file:
            content = file.read()
    if len(content) > _DBF_LANGUAGE_OFFSET and content[_DBF_LANGUAGE_OFFSET] != 0:
        return None
    records = content[int.from_bytes(content[8:10], "little") :]
    try:
        records.decode("utf-8")
    except UnicodeDecodeError:
        return "ISO-8859-1"
    return "UTF-8"
