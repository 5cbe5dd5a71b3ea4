"""The gate: the only place that opens rasters, cubes, vectors, archives and references.

Before anything is opened, the place is resolved inside the allowed roots, the first bytes say what the file really
is, one driver is named for it, and its header has to stay within the limits.  A file is never opened by what its name
claims, and a name never reaches a driver that would interpret it as an address.
"""

import json
import math
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
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
    VerificationFailed,
    did_you_mean,
)
from geoetl.core.findings import Finding, Severity, sentences
from geoetl.core.settings import LimitSettings
from geoetl.store.remote import RemoteFile, RemoteReader, RemoteRoot, SourcePath, Stamp, is_remote, stamp_of, together
from geoetl.store.samples import sample_path
from geoetl.store.sources import SourceFile, check_sources

if TYPE_CHECKING:
    import geopandas as gpd
    import h5py
    import icechunk
    import pyarrow as pa
    import xarray as xr
    from rasterio.io import DatasetReader

    from geoetl.store.references import JsonReferences, ParquetReferences, Record

SAMPLE_SCHEME = "samples:"
# Enough of a file to tell its format by.
HEAD_BYTES = 512
GIB = 1024**3
# Of the .zmetadata of Parquet references; that of 100 variables takes less than one.
_METADATA_BYTES = 64 * 1024**2
# Rows of one Parquet file of references; kerchunk writes 10,000 to 100,000.
_RECORD_ROWS = 10_000_000
# Icechunk hands out the place of every virtual chunk at once, 100 bytes each: up to this many are looked at one by one.
_LISTED_CHUNKS = 2_000_000
# Decoders that run what the data say.
_RUNNING_CODECS = frozenset({"pickle"})
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
        remote: Places in object stores whose files virtual cubes may be made of.
    """

    roots: tuple[Path, ...]
    limits: LimitSettings
    remote: tuple[RemoteRoot, ...] = ()

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

    def locate(self, source: str, *, field: str = "source") -> SourcePath:
        """Return where a source of virtual cubes lies: as `resolve`, or what is at a URL below a remote root.

        Raises:
            OutsideAllowedRoots: It lies below no root.
            NotFound: There is nothing.
            ConfigurationError, Unavailable: Its object store cannot be asked.
        """
        if not is_remote(source):
            return self.resolve(source, field=field)
        address = source.rstrip("/")
        for root in self.remote:
            key = root.key(address)
            if key is not None:
                return root.find(key)
        raise OutsideAllowedRoots(
            f"'{address[:80]}' lies outside the places in object stores that may be read.",
            hint="Add its bucket or prefix to GEOETL_ALLOWED_ROOTS (a JSON list), for example s3://BUCKET/PREFIX.",
            field=field,
        )

    def locate_all(self, sources: Sequence[str], *, field: str = "source") -> list[SourcePath]:
        """Return where several sources lie; object stores are asked side by side.

        Raises:
            OutsideAllowedRoots, NotFound, ConfigurationError, Unavailable: See `locate`.
        """
        remote = [source for source in sources if is_remote(source)]
        found = dict(zip(remote, together(lambda source: self.locate(source, field=field), remote), strict=True))
        return [found[source] if source in found else self.locate(source, field=field) for source in sources]

    def stamps(self, addresses: Sequence[str]) -> list[Stamp | None]:
        """Return what files at these addresses are like now; None for one that is gone.

        Raises:
            OutsideAllowedRoots: A URL lies below no root.
            ConfigurationError, Unavailable: An object store cannot be asked.
        """

        def look(address: str) -> Stamp | None:
            try:
                found = self.locate(address) if is_remote(address) else Path(address)
                return stamp_of(found) if isinstance(found, Path) else found.stamp
            except (NotFound, OSError):
                return None

        if any(is_remote(address) for address in addresses):
            return together(look, addresses)
        return [look(address) for address in addresses]

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
        if found is Format.HDF5:
            with self.open_hdf5(path):
                pass  # what it leads to is looked at there
        try:
            return xr.open_dataset(path, engine=engine, **options)
        except (LookupError, OSError, OverflowError, RuntimeError, SyntaxError, TypeError, ValueError) as error:
            # SyntaxError: scipy hands the types of a damaged header to NumPy as text, which parses it.
            reason = (str(error).splitlines() or [""])[0][:120]
            raise UnreadableFile(
                f"'{path.name}' is {found} but cannot be opened ({type(error).__name__}: {reason}).",
                hint="It may be truncated (compare its checksum), or its time units or calendar may not follow CF.",
                field="source",
            ) from None

    @contextmanager
    def open_hdf5(self, path: SourcePath | RemoteReader) -> "Iterator[h5py.File]":
        """Open the container of a NetCDF-4 file, for its chunk index and attributes.

        Args:
            path: As `locate` returned it; or the reader of an object, which keeps what was read of it.

        Raises:
            UnreadableFile: Empty, truncated, or not HDF5.
            FormatNotAllowed: It is of another format.
            VerificationFailed, NotFound, ConfigurationError, Unavailable: See `RemoteFile.read`; also later, while the
                file is read.
        """
        import h5py

        opened = RemoteReader(path) if isinstance(path, RemoteFile) else path
        path = opened.file if isinstance(opened, RemoteReader) else opened
        found = file_format(opened)
        if found is not Format.HDF5:
            raise _wrong_format(path, found, "NetCDF-4", [Format.HDF5])
        try:
            file = h5py.File(opened, "r")
        except OSError:
            raise UnreadableFile(
                f"'{path.name}' begins like {found} but cannot be opened ({stamp_of(path).bytes} bytes are there).",
                hint="The file is probably truncated or damaged; fetch it again and compare its checksum.",
                field="source",
            ) from None
        with file:
            _check_whole(file, path.name)
            yield file

    def open_references(self, path: Path, **options: Any) -> "xr.Dataset":
        """Open kerchunk references as a lazy cube: a JSON file, or a folder of Parquet files.

        Every target is checked against the allowed roots first, in object stores too. A source that is gone or too
        short when it is read is an `UnreadableFile` that names the chunk. `options` go to ``xarray.open_zarr``.

        Raises:
            UnreadableFile: They are no kerchunk references, or a part of them is missing.
            OutsideAllowedRoots: A reference leads out of the allowed roots or to another kind of address.
            NotFound: A source file is gone.
            FormatNotAllowed: They use templates, or a codec that runs code.
        """
        from geoetl.store.references import ReferenceStore

        references = self._parquet_references(path) if path.is_dir() else self._json_references(path)
        for key, document in references.metadata.items():
            if key.endswith(".zarray"):
                _check_codecs(document, f"{key} of '{path.name}'")
        return _open_zarr(ReferenceStore(references), path, {"zarr_format": 2, **options})

    def _json_references(self, path: Path) -> "JsonReferences":
        from geoetl.store.references import JsonReferences

        try:
            document = json.loads(path.read_bytes())
            references = document["refs"]
            targets = {value[0]: key for key, value in references.items() if isinstance(value, list)}
            if not all(isinstance(target, str) for target in targets):
                raise ValueError("a target is not an address")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise UnreadableFile(
                f"'{path.name}' is not a kerchunk reference file.", hint="Build the references again."
            ) from None
        if document.get("templates") or document.get("gen"):
            target, key = next(iter(targets.items()), ("", ""))
            raise FormatNotAllowed(
                f"'{path.name}' uses templates, which are not expanded here ('{key}' leads to '{target[:80]}').",
                hint="Write the references with full addresses.",
            )
        sources = self._sources(targets, path.name)
        self._check_remembered(document.get("sources"), path.name, sources)
        return JsonReferences(path.name, references, sources)

    def _parquet_references(self, folder: Path) -> "ParquetReferences":
        """Read the metadata of Parquet references and look at every target, but not yet at where each chunk lies."""
        from geoetl.store.references import ParquetReferences, chunk_grid, record_name

        self._check_links(folder)
        metadata, record_size, remembered = _reference_metadata(folder)
        grids: dict[str, tuple[int, ...]] = {}
        targets: dict[str, str] = {}
        for key, document in metadata.items():
            if not key.endswith("/.zarray"):
                continue
            name = key.removesuffix("/.zarray")
            try:
                shape = chunk_grid(document)
            except (LookupError, TypeError, ValueError) as error:
                raise _no_references(folder, f"'{key}' is not right ({error})") from None
            if document.get("dimension_separator", ".") != ".":
                raise _no_references(folder, f"'{name}' separates its chunk numbers with another sign than '.'")
            grids[name] = shape
            chunks = math.prod(shape)
            records = math.ceil(chunks / record_size)
            if document["shape"] == [] and not (folder / record_name(name, 0)).is_file():
                continue  # a scalar that was never written, such as a grid mapping: kerchunk writes no file for it
            if records > len(list((folder / name).glob("refs.*.parq"))):
                # kerchunk writes none either where all of its chunks were never written; that is not told from a loss.
                raise _no_references(folder, f"'{name}' has {chunks:,} chunks and lacks some of its {records:,} files")
            for number in range(records):
                record = record_name(name, number)
                rows = min(record_size, chunks - number * record_size)
                for target in _record_targets(folder, record, rows, record_size):
                    targets.setdefault(target, record)
        sources = self._sources(targets, folder.name)
        self._check_remembered(remembered, folder.name, sources)
        return ParquetReferences(
            folder.name,
            {key: json.dumps(document).encode() for key, document in metadata.items()},
            grids,
            record_size,
            sources,
            _RecordReader(folder),
        )

    def _sources(self, targets: Mapping[str, str], subject: str) -> dict[str, SourcePath]:
        """Return the file behind each address; `targets` tells where in `subject` each stands.

        Raises:
            OutsideAllowedRoots: One leads elsewhere.
            NotFound: One is gone.
            ConfigurationError, Unavailable: An object store cannot be asked.
        """

        def find(target: str) -> SourcePath:
            try:
                return self.locate(target, field=f"references of {subject}")
            except (OutsideAllowedRoots, NotFound) as error:
                raise type(error)(
                    f"The reference '{targets[target]}' of '{subject}' leads to '{target[:200]}'. {error.detail}",
                    hint=error.hint,
                    field=error.field,
                ) from None

        ordered = sorted(targets)
        has_remote = any(is_remote(target) for target in ordered)
        return dict(zip(ordered, together(find, ordered) if has_remote else map(find, ordered), strict=True))

    def _check_remembered(self, remembered: Any, name: str, found: Mapping[str, SourcePath]) -> None:
        """Compare source files with what references that geoetl wrote remember of them.

        Args:
            remembered: What they do.
            name: Of the references, for messages.
            found: Files that were just looked at, by address; objects among them are not asked after again.

        Raises:
            UnreadableFile: What they remember is not of its form.
            VerificationFailed: A source was replaced, cut or removed since its chunks were indexed.
        """
        try:
            sources = [SourceFile.model_validate(source) for source in remembered or ()]
        except (TypeError, ValueError):
            raise UnreadableFile(
                f"'{name}' does not say right what its sources were.", hint="Build the references again."
            ) from None
        known = {address: file.stamp for address, file in found.items() if isinstance(file, RemoteFile)}

        def stamps(addresses: Sequence[str]) -> list[Stamp | None]:
            others = [address for address in addresses if address not in known]
            asked = {**known, **dict(zip(others, self.stamps(others), strict=True))}
            return [asked[address] for address in addresses]

        if findings := check_sources(sources, stamps, thorough=False):
            raise VerificationFailed(
                f"The cube cannot be read. {sentences(findings[:3])}", hint=findings[0].remedy, field="source"
            )

    def open_icechunk(self, path: Path, *, snapshot: str | None = None, **options: Any) -> "xr.Dataset":
        """Open an Icechunk repository of this machine as a lazy cube; nothing is written to it.

        Of the places that its virtual chunks lie in only those in the allowed roots are opened up. A source that was
        changed, cut or removed since is an error when it is read. `options` go to ``xarray.open_zarr``.

        Args:
            path: Its folder.
            snapshot: Id of the snapshot; the newest of the branch ``main`` where it is left out.

        Raises:
            UnreadableFile: It is no Icechunk repository, or damaged.
            OutsideAllowedRoots: Virtual chunks lie outside of the allowed roots, or in an object store.
            NotFound: There is no such snapshot, or a source file is gone.
        """
        import icechunk

        self._check_links(path)
        # Else every opening warns that a local repository takes one writer at a time; here nothing is written.
        icechunk.set_logs_filter("error")
        storage = icechunk.local_filesystem_storage(str(path))
        try:
            containers = self._containers(icechunk.Repository.fetch_config(storage), path.name)
            local = {prefix: icechunk.Credentials.LocalFileSystemAccess() for prefix in containers}
            repository = icechunk.Repository.open(
                storage, authorize_virtual_chunk_access=icechunk.containers_credentials(local)
            )
            try:
                branch = "main" if snapshot is None else None
                session = repository.readonly_session(branch, snapshot_id=snapshot)
            except (icechunk.NotFoundError, icechunk.InvalidInputError):
                raise NotFound(
                    f"The Icechunk repository '{path.name}' has no {'branch main' if snapshot is None else 'snapshot'} "
                    f"'{snapshot or 'main'}'.",
                    hint="See the ancestry of its branch main for what there is.",
                    field="snapshot",
                ) from None
            self._check_virtual_chunks(repository, session, containers, path.name)
            return _open_zarr(session.store, path, {"zarr_format": 3, **options})
        except icechunk.IcechunkError as error:
            raise UnreadableFile(
                f"'{path.name}' cannot be opened as an Icechunk repository ({first_line(error)}).",
                hint="It may be damaged or not whole; make it again from its sources.",
                field="source",
            ) from None

    def _containers(self, config: "icechunk.RepositoryConfig | None", name: str) -> dict[str, Path]:
        """Return the local folder behind the prefix of each place for virtual chunks."""
        import icechunk

        found = {}
        for prefix, container in ((config and config.virtual_chunk_containers) or {}).items():
            store = container.store
            folders: set[Path] = set()
            if isinstance(store, icechunk.ObjectStoreConfig.LocalFileSystem) and re.fullmatch("file:///(.*/)?", prefix):
                folders = {Path(unquote(urlsplit(prefix).path)).resolve(), Path(store._0).resolve()}  # type: ignore[attr-defined]
            if not folders or not all(self.allows(folder) for folder in folders):
                raise OutsideAllowedRoots(
                    f"The Icechunk repository '{name}' has virtual chunks below '{prefix[:200]}', "
                    "which may not be read here.",
                    hint="Add that folder to GEOETL_ALLOWED_ROOTS (a JSON list), or move the cube to where it is.",
                    field="source",
                )
            found[prefix] = Path(unquote(urlsplit(prefix).path))
        return found

    def _check_virtual_chunks(
        self, repository: "icechunk.Repository", session: "icechunk.Session", containers: dict[str, Path], name: str
    ) -> None:
        """Look at every file that virtual chunks lie in; with very many chunks, for links below their folders."""
        if not containers:
            return
        manifests = repository.list_manifest_files(session.snapshot_id)
        if sum(manifest.num_chunk_refs for manifest in manifests) > _LISTED_CHUNKS:
            for folder in containers.values():
                self._check_links(folder)
            return
        self._sources(dict.fromkeys(session.all_virtual_chunk_locations(), "virtual chunks"), name)

    def open_zarr(self, path: Path, **options: Any) -> "xr.Dataset":
        """Open a Zarr store (version 3, a folder) as a lazy cube; `options` go to ``xarray.open_zarr``.

        Raises:
            UnreadableFile: It is no Zarr store, or damaged.
            OutsideAllowedRoots: A link in it leads elsewhere.
        """
        from zarr.storage import LocalStore

        self._check_links(path)
        try:
            root = json.loads((path / "zarr.json").read_bytes())
            is_group = root["zarr_format"] == 3 and root["node_type"] == "group"
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            is_group = False
        if not is_group:
            raise UnreadableFile(
                f"'{path.name}' is no Zarr store of version 3: it has no zarr.json of a group.",
                hint="Give the folder that the store was written to, or convert the source again.",
                field="source",
            )
        return _open_zarr(LocalStore(path, read_only=True), path, {"zarr_format": 3, **options})

    def _check_links(self, folder: Path) -> None:
        """Check that no link below a folder leads out of the allowed roots.

        Raises:
            UnreadableFile: There is no such folder.
            OutsideAllowedRoots: One does.
        """
        if not folder.is_dir():
            raise UnreadableFile(f"'{folder.name}' is not a folder.", hint="Give the folder of the store.")
        waiting = [folder]
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_symlink() and not self.allows(Path(entry.path).resolve()):
                        raise OutsideAllowedRoots(
                            f"'{entry.name}' in '{folder.name}' is a link to outside the folders that may be read.",
                            hint="Copy what it leads to beside it.",
                            field="source",
                        )
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))

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


@dataclass(frozen=True)
class _RecordReader:
    """Reads the Parquet files of references.

    Attributes:
        folder: Where they lie.
    """

    folder: Path

    def __call__(self, name: str) -> "Record | None":
        """Return a record as arrays; None for a scalar that was never written.

        Raises:
            UnreadableFile: It is damaged, or gone.
        """
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        from geoetl.store.references import Record

        path = self.folder / name
        if not path.is_file() and name.endswith("/refs.0.parq"):
            return None
        try:
            columns = {"path"} & set(pq.read_schema(path).names)
            table = pq.ParquetFile(path, read_dictionary=[*columns]).read().unify_dictionaries().combine_chunks()

            def numbers(column: str) -> "np.ndarray[Any, np.dtype[np.int64]]":
                if column not in table.column_names:
                    return np.zeros(table.num_rows, np.int64)
                found: np.ndarray[Any, np.dtype[np.int64]] = np.asarray(
                    table[column].cast(pa.int64()).fill_null(0).combine_chunks()
                )
                return found

            addresses = table["path"].combine_chunks() if "path" in table.column_names else None
            codes = np.full(table.num_rows, -1) if addresses is None else np.asarray(addresses.indices.fill_null(-1))
            raw = table["raw"].combine_chunks() if "raw" in table.column_names else None
            return Record(
                targets=() if addresses is None else tuple(addresses.dictionary.to_pylist()),
                codes=codes.astype(np.int64),
                offsets=numbers("offset"),
                sizes=numbers("size"),
                raw=None if raw is None or raw.null_count == len(raw) else raw.cast(pa.large_binary()),
                nbytes=table.nbytes + 24 * table.num_rows,
            )
        except (pa.ArrowException, OSError, AttributeError, TypeError, ValueError) as error:
            raise _no_references(self.folder, f"'{name}' cannot be read ({first_line(error)})") from None


def read_record(path: Path) -> "pa.Table":
    """Read one Parquet file of references as it is.

    Raises:
        UnreadableFile: It is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, read_dictionary=["path"])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _no_references(path.parent, f"'{path.name}' cannot be read ({first_line(error)})") from None


def _record_targets(folder: Path, name: str, rows: int, record_size: int) -> set[str]:
    """Return the addresses in a Parquet file of references; of the columns only that of the addresses is read.

    Raises:
        UnreadableFile: It has other columns, fewer than `rows` rows, or more than `record_size`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = set(pq.read_schema(folder / name).names)
        file = pq.ParquetFile(folder / name, read_dictionary=[*(columns & {"path"})])
        if not columns <= {"path", "offset", "size", "raw"} or not columns & {"path", "raw"}:
            raise ValueError(f"its columns are {', '.join(sorted(columns))[:80]}")
        if not rows <= file.metadata.num_rows <= record_size:
            raise ValueError(f"it has {file.metadata.num_rows:,} rows for {rows:,} chunks")
        found: set[str] = set()
        if "path" not in columns:
            return found
        for batch in file.iter_batches(batch_size=65_536, columns=["path"]):
            column = batch.column(0)
            if pa.types.is_null(column.type):
                continue
            if not pa.types.is_dictionary(column.type):
                raise ValueError("its addresses are no text")
            addresses = column.dictionary.unique().to_pylist()
            if not all(isinstance(address, str) for address in addresses):
                raise ValueError("its addresses are no text")
            found.update(addresses)
        return found
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _no_references(folder, f"'{name}' cannot be read ({first_line(error)})") from None


def _reference_metadata(folder: Path) -> tuple[dict[str, Any], int, Any]:
    """Return the metadata of Parquet references by key, how many references a file holds, and the sources remembered.

    Raises:
        UnreadableFile: There are none, or they are not of that form.
        OutsideAllowedRoots: The name of an array leads out of the folder.
    """
    from geoetl.store.references import is_metadata

    path = folder / ".zmetadata"
    try:
        if path.stat().st_size > _METADATA_BYTES:
            raise ValueError(f"it has {path.stat().st_size:,} bytes")
        document = json.loads(path.read_bytes())
        metadata, record_size = dict(document["metadata"]), document["record_size"]
        if not isinstance(record_size, int) or not 0 < record_size <= _RECORD_ROWS:
            raise ValueError(f"record_size is {str(record_size)[:40]}, not 1 to {_RECORD_ROWS:,}")
        # A text beside the documents is the content of an array without dimensions, as JSON.
        if not all(isinstance(value, dict if is_metadata(key) else str) for key, value in metadata.items()):
            raise ValueError("a metadata document is no object")
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise _no_references(folder, f"its .zmetadata cannot be read ({first_line(error)})") from None
    for key in metadata:
        parts = key.split("/")
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise OutsideAllowedRoots(
                f"The name '{key[:80]}' in the references '{folder.name}' leads out of their folder.",
                hint="Do not use references of this origin.",
                field="source",
            )
    return metadata, record_size, document.get("sources")


def _check_whole(file: "h5py.File", name: str) -> None:
    """Refuse a file that draws on others, which HDF5 would follow to anywhere.

    Raises:
        OutsideAllowedRoots: It has a link to another file, or an array that is stored in one.
        UnreadableFile: It is damaged.
    """
    import h5py

    leads: list[str] = []

    def link(key: bytes, info: Any) -> None:
        if info.type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            leads.append(f"the link '{key.decode('utf-8', 'replace')}' leads to another file")

    def thing(key: bytes, info: Any) -> None:
        if info.type == h5py.h5o.TYPE_DATASET:
            creation = h5py.h5d.open(file.id, key).get_create_plist()
            if creation.get_layout() == h5py.h5d.VIRTUAL or creation.get_external_count() > 0:
                leads.append(f"the array '{key.decode('utf-8', 'replace')}' is stored in other files")

    try:
        file.id.links.visit(link, info=True)
        if not leads:
            h5py.h5o.visit(file.id, thing, info=True)
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise UnreadableFile(
            f"'{name}' is damaged: {first_line(error)}",
            hint="The file is probably truncated; fetch it again and compare its checksum.",
            field="source",
        ) from None
    if leads:
        raise OutsideAllowedRoots(
            f"'{name}' does not hold all of its content: {leads[0]}.",
            hint="Copy everything into one file, for example with h5repack or nccopy.",
            field="source",
        )


def _no_references(folder: Path, reason: str) -> UnreadableFile:
    return UnreadableFile(
        f"'{folder.name}' holds no kerchunk references in Parquet that can be used: {reason}.",
        hint="Build the references again.",
        field="source",
    )


def _check_codecs(document: bytes, subject: str) -> None:
    """Refuse what decodes a chunk by running it."""
    try:
        array = json.loads(document)
        codecs = [array.get("compressor"), *(array.get("filters") or ())]
        names = {str(codec.get("id")) for codec in codecs if codec}
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise UnreadableFile(
            f"The array {subject} is not described as Zarr asks for.",
            hint="Build the references again.",
            field="source",
        ) from None
    if refused := names & _RUNNING_CODECS:
        raise FormatNotAllowed(
            f"The array {subject} is encoded with {', '.join(refused)}, which runs what the data say.",
            hint="Do not use data of this origin.",
            field="source",
        )


def _open_zarr(store: Any, path: Path, options: Mapping[str, Any]) -> "xr.Dataset":
    """Open a Zarr store by its groups and arrays themselves: a consolidated copy of their metadata may be out of date.

    Raises:
        UnreadableFile: It holds no group, or one that is not right.
    """
    import xarray as xr
    from zarr.errors import GroupNotFoundError

    try:
        cube: xr.Dataset = xr.open_zarr(store, consolidated=False, **{"chunks": None, **options})
    except GroupNotFoundError:
        raise UnreadableFile(
            f"'{path.name}' has no group at its root.", hint="Build it again from its sources.", field="source"
        ) from None
    except (LookupError, OSError, OverflowError, RuntimeError, TypeError, ValueError, zlib.error) as error:
        raise UnreadableFile(
            f"'{path.name}' cannot be opened as a cube ({type(error).__name__}: {first_line(error)}).",
            hint="It may be damaged, or its time units or calendar may not follow CF.",
            field="source",
        ) from None
    return cube


def first_line(error: Exception) -> str:
    """Return the beginning of what a library says of an error."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def file_format(path: SourcePath | RemoteReader) -> Format:
    """Tell what a file is by its first bytes, whatever its name says."""
    if isinstance(path, RemoteReader):
        return _format_of(path.read_at(0, min(HEAD_BYTES, path.size)))
    if path.is_dir():
        return Format.UNKNOWN
    if isinstance(path, RemoteFile):
        return _format_of(path.read(0, min(HEAD_BYTES, path.size)))
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


def check_netcdf(path: SourcePath | RemoteReader) -> Format:
    """Return ``HDF5`` or ``NETCDF3``.

    Raises:
        UnreadableFile: The file is empty or a web page.
        FormatNotAllowed: It is of another format.
    """
    found = file_format(path)
    if found not in (Format.HDF5, Format.NETCDF3):
        file = path.file if isinstance(path, RemoteReader) else path
        raise _wrong_format(file, found, "NetCDF", [Format.HDF5, Format.NETCDF3])
    return found


def _wrong_format(
    path: SourcePath, found: Format, wanted: str, allowed: list[str]
) -> UnreadableFile | FormatNotAllowed:
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
