"""Vectors: the features of one layer, as Arrow batches that are read one after the other, or as a GeoDataFrame."""

import json
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import EmptyDataset, InvalidParameter, LimitExceeded, MissingCRS, UnreadableFile, did_you_mean
from geoetl.core.findings import Finding, Severity
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.archive import plain_name, unpacked_vector
from geoetl.store.gate.delimited import PlaceColumns, free_name, is_delimited, open_delimited
from geoetl.store.gate.formats import DAMAGE, VECTOR_FORMATS, Format, file_format, wrong_format
from geoetl.store.gate.geopackage import check_geopackage
from geoetl.store.gate.kml import check_kml
from geoetl.store.gate.parquet import check_parquet, open_features
from geoetl.store.gate.places import Places
from geoetl.store.gate.shapefile import Part, check_shapefile, missing_code_page, parts_of, rebuilt_index

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa
    import pyproj

# Has a file looked at by a process apart: the file, and as what it is opened there.
Prove = Callable[[Path, Path], None]
# Features that are in memory at a time, and their bytes as far as the size of the file tells them.
BATCH_ROWS = 65_536
BATCH_BYTES = 128 * 1024**2
# The drivers that read each format; whatever another one makes of a file is not what it is said to be.
_DRIVERS: Mapping[Format, tuple[str, ...]] = {
    Format.JSON: ("GeoJSON", "GeoJSONSeq"),
    Format.GEOPACKAGE: ("GPKG",),
    Format.FLATGEOBUF: ("FlatGeobuf",),
    Format.SHAPEFILE: ("ESRI Shapefile",),
    Format.KML: ("LIBKML", "KML"),
}
_SUFFIXES: Mapping[Format, tuple[str, ...]] = {
    Format.JSON: (".geojson", ".json", ".geojsonl", ".geojsons", ".ndjson", ".topojson"),
    Format.GEOPACKAGE: (".gpkg",),
    Format.FLATGEOBUF: (".fgb",),
    Format.SHAPEFILE: (".shp",),
    Format.KML: (".kml",),
}
# A name that no library takes for anything but a file: pyogrio looks for an archive before '!', and by suffixes.
_PLAIN_NAME = re.compile(r"[\w .()+-]+")
# Where GDAL's reader of JSON stumbles, and over what.
_IN_JSON = re.compile(r"At (line \d+, character \d+: [^/\n]*)")
# A line that could be a feature on its own; longer ones are of another kind.
_MOST_LINE_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class VectorQuestion:
    """What of a file is to be read, as far as the file leaves it open.

    Attributes:
        layer: Which layer, where there are several; of an archive with several datasets, which of them.
        crs: The CRS of a file that does not say it; a file that does must agree.
        places: Columns of a CSV that hold the place.
    """

    layer: str | None = None
    crs: str | None = None
    places: PlaceColumns = field(default_factory=PlaceColumns)


@dataclass(frozen=True)
class VectorSource:
    """An open layer.

    Attributes:
        layer: Its name.
        format: Of the file.
        crs: Its CRS.
        schema: Columns of the batches, the geometry as WKB among them.
        geometry: Name of the column of geometries.
        findings: What was noticed while opening (encoding, columns of the place).
        batches: The features, to be read once; raises UnreadableFile and LimitExceeded.
    """

    layer: str
    format: Format
    crs: "pyproj.CRS"
    schema: "pa.Schema"
    geometry: str
    findings: tuple[Finding, ...]
    batches: "Iterator[pa.RecordBatch]"


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
class _Named:
    """What a file is called: by its user, and in an archive where it came in one."""

    file: str
    part: str


@contextmanager
def open_vector(
    path: Path,
    places: Places,
    limits: LimitSettings,
    question: VectorQuestion,
    *,
    prove: Prove,
    most: int | None = None,
) -> Iterator[VectorSource]:
    """See `Gate.open_vector`; `prove` is called on the file that is read, before it is; of its features `most`."""
    found = _format(path)
    if found not in VECTOR_FORMATS:
        raise wrong_format(path, found, "vector", sorted(VECTOR_FORMATS))
    with ExitStack() as stack:
        if found is not Format.ZIP:
            prove(path, _as_opened(path, found, path.name, places, stack))
            opened = _opened(path, _Named(path.name, path.name), found, places, limits, question, most)
            yield stack.enter_context(opened)
            return
        unpacked, member, is_chosen = stack.enter_context(unpacked_vector(path, limits, question.layer))
        inner = _format(unpacked)
        if inner not in VECTOR_FORMATS - {Format.ZIP, Format.PARQUET}:
            raise wrong_format(Path(member), inner, "vector", sorted(VECTOR_FORMATS - {Format.ZIP, Format.PARQUET}))
        prove(unpacked, _as_opened(unpacked, inner, member, places, stack))
        within = replace(question, layer=None if is_chosen else question.layer)
        own = Places((unpacked.parent.resolve(),))
        yield stack.enter_context(_opened(unpacked, _Named(path.name, member), inner, own, limits, within, most))


def read_vector(
    path: Path, places: Places, limits: LimitSettings, question: VectorQuestion, *, prove: Prove
) -> VectorRead:
    """See `Gate.read_vector`."""
    with open_vector(path, places, limits, question, prove=prove) as source:
        frame = _frame(source)
    if frame.empty:
        raise _empty(path.name)
    return VectorRead(_plain_integers(frame), source.layer, source.findings)


def look_at_vector(path: Path, places: Places, limits: LimitSettings, features: int) -> None:
    """See `Gate.look_at_vector`."""
    found = _format(path)
    if found not in VECTOR_FORMATS - {Format.ZIP, Format.PARQUET}:
        raise wrong_format(path, found, "vector", sorted(VECTOR_FORMATS))
    named = _Named(path.name, path.name)
    with _opened(path, named, found, places, limits, VectorQuestion(), features) as source:
        _frame(source)


def _format(path: Path) -> Format:
    found = file_format(path)
    return Format.CSV if found is Format.UNKNOWN and path.is_file() and is_delimited(path) else found


@contextmanager
def _opened(
    path: Path,
    names: _Named,
    found: Format,
    places: Places,
    limits: LimitSettings,
    question: VectorQuestion,
    most: int | None,
) -> Iterator[VectorSource]:
    """Open a file that is no archive."""
    wanted = _wanted_crs(question.crs)
    if found is Format.PARQUET:
        check_parquet(path, limits)
        with open_features(path, batch_rows) as features:
            crs = _crs(features.crs, wanted, question.crs, names.file)
            yield VectorSource(
                path.stem, found, crs, features.schema, features.geometry, features.findings, features.batches
            )
        return
    if found is Format.CSV:
        table = open_delimited(path, names.file, question.places, limits, most)
        findings = list(table.findings)
        said = table.crs
        if not said and table.places.latitude and wanted is None:
            said = "EPSG:4326"
            message = "Latitude and longitude were taken as degrees of WGS 84 (EPSG:4326)."
            remedy = "Give the parameter crs if they are of another reference system."
            findings.append(
                Finding(severity=Severity.INFO, code="degrees", message=message, subject=names.file, remedy=remedy)
            )
        crs = _crs(_wanted_crs(said), wanted, question.crs, names.file)
        yield VectorSource(
            Path(names.part).stem, found, crs, table.schema, table.geometry, tuple(findings), table.batches()
        )
        return
    with _by_gdal(path, names, found, places, limits, question, most) as source:
        yield source


@contextmanager
def _by_gdal(
    path: Path,
    names: _Named,
    found: Format,
    places: Places,
    limits: LimitSettings,
    question: VectorQuestion,
    most: int | None,
) -> Iterator[VectorSource]:
    import pyarrow as pa
    import pyogrio

    wanted = _wanted_crs(question.crs)
    findings: list[Finding] = []
    options: dict[str, Any] = {}
    with ExitStack() as stack:
        if found is Format.SHAPEFILE:
            path, options = _whole_shapefile(path, names, places, findings, stack)
        else:
            path = _plainly_named(path, found, names.part, stack)
        if found is Format.GEOPACKAGE:
            check_geopackage(path, names.file)
        if found is Format.KML:
            check_kml(path, names.file)
        # pyogrio takes any driver that fits. The other formats are told by their first bytes, JSON by this prefix only:
        # it may also be a pipeline that GDAL would run (its driver GDALG).
        target = str(path)
        if found is Format.JSON:
            target = f"{'GeoJSONSeq' if _is_sequence(path) else 'GeoJSON'}:{path}"
        with _told(names.file, found, path), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            layers = [str(known) for known, _ in pyogrio.list_layers(target)]
        if any("Measured" in str(warning.message) for warning in said):
            message = "Values of measure (M) were dropped: no format that is written has them."
            findings.append(
                Finding(severity=Severity.WARNING, code="measures_dropped", message=message, subject=names.part)
            )
        layer = _choose_layer(layers, question.layer, names.file)
        with _told(names.file, found, path), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as told above
            info = pyogrio.read_info(target, layer=layer)
            if info["driver"] not in _DRIVERS[found]:
                raise ValueError(info["driver"])
            _check_count(int(info["features"]), names.file, limits)
            rows = min(batch_rows(int(info["features"]), path.stat().st_size), most or BATCH_ROWS)
            meta, reader = stack.enter_context(
                pyogrio.open_arrow(target, layer=layer, batch_size=rows, use_pyarrow=True, **options)
            )
            at = _geometry_at(reader.schema)
            crs = _wanted_crs(meta["crs"])
        if at is None or meta["geometry_type"] is None:
            raise UnreadableFile(
                f"'{names.file}' is a table without geometry.",
                hint="Give a layer with a geometry column.",
                field="source",
            )
        crs = _crs(crs, wanted, question.crs, names.file)
        others = [field.name for number, field in enumerate(reader.schema) if number != at]
        geometry = free_name(others)
        schema = reader.schema.set(at, pa.field(geometry, reader.schema.field(at).type))
        batches = _counted(reader, schema, names.file, found, path, limits, most)
        yield VectorSource(layer, found, crs, schema, geometry, tuple(findings), batches)


def batch_rows(count: int, size: int) -> int:
    """Return how many of `count` features, of `size` bytes together, are read at a time: of large ones fewer."""
    return BATCH_ROWS if count < 1 else max(1, min(BATCH_ROWS, BATCH_BYTES * count // max(1, size)))


def _geometry_at(schema: "pa.Schema") -> int | None:
    """Return where the column of geometries is; attributes may have its name."""
    marks = ((field.metadata or {}).get(b"ARROW:extension:name", b"") for field in schema)
    return next((number for number, mark in enumerate(marks) if mark in (b"geoarrow.wkb", b"ogc.wkb")), None)


def _counted(
    reader: "pa.RecordBatchReader",
    schema: "pa.Schema",
    name: str,
    found: Format,
    path: Path,
    limits: LimitSettings,
    most: int | None,
) -> "Iterator[pa.RecordBatch]":
    """Read batches, errors of the file told as such, until there are `most` rows."""
    import pyarrow as pa

    rows = 0
    while most is None or rows < most:
        with _told(name, found, path):
            try:
                batch = reader.read_next_batch()
                batch.validate(full=True)
                batch = pa.RecordBatch.from_arrays(batch.columns, schema=schema)
            except StopIteration:
                return
        rows += batch.num_rows
        _check_count(rows, name, limits)
        yield batch


@contextmanager
def _told(name: str, found: Format, path: Path) -> Iterator[None]:
    """Tell in a sentence what a library raises of a file."""
    import pyogrio
    from pyarrow import ArrowException
    from shapely.errors import GEOSException

    try:
        yield
    except UnicodeDecodeError:
        raise _not_utf8(name) from None
    except (
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        pyogrio.errors.FeatureError,
        pyogrio.errors.GeometryError,
        pyogrio.errors.CRSError,
        pyogrio.errors.FieldError,
        GEOSException,
        ArrowException,
        *DAMAGE,
    ) as error:
        if "UTF8" in str(error) or "UTF-8" in str(error):
            raise _not_utf8(name) from None
        where = _IN_JSON.search(str(error)) if found is Format.JSON else None
        raise UnreadableFile(
            f"'{name}' begins like {found} but holds no readable features "
            f"({path.stat().st_size} bytes{f'; {where[1][:120]}' if where else ''}).",
            hint="Open it in a GIS or with ogrinfo; it is probably truncated or of another structure.",
            field="source",
        ) from None


def _not_utf8(name: str) -> UnreadableFile:
    return UnreadableFile(f"Text in '{name}' is not UTF-8.", hint="Save the file again in UTF-8.", field="source")


def _as_opened(path: Path, found: Format, name: str, places: Places, stack: ExitStack) -> Path:
    """Return a file as GDAL is given it; a process apart can open it so, and could not write what is missing."""
    if found is Format.SHAPEFILE:
        return _whole_shapefile(path, _Named(name, name), places, [], stack)[0]
    return path if found in (Format.PARQUET, Format.CSV) else _plainly_named(path, found, name, stack)


def _plainly_named(path: Path, found: Format, name: str, stack: ExitStack) -> Path:
    if _PLAIN_NAME.fullmatch(path.name) and path.suffix.lower() in _SUFFIXES[found]:
        return path
    return _linked({_SUFFIXES[found][0]: path}, name, stack)


def _whole_shapefile(
    path: Path, names: _Named, places: Places, findings: list[Finding], stack: ExitStack
) -> tuple[Path, dict[str, Any]]:
    """Return a Shapefile with all parts that it needs, and the options that it is read with."""
    parts = parts_of(path, places)
    rebuilt = b""
    if ".shx" not in parts and ".dbf" in parts:
        rebuilt = rebuilt_index(parts[".shp"].path)
        parts[".shx"] = Part(path, len(rebuilt), rebuilt[:100])
        findings.append(
            Finding(
                severity=Severity.WARNING,
                code="index_rebuilt",
                message="The Shapefile has no .shx; it was made anew from the .shp.",
                subject=names.part,
                remedy="Keep all parts of a Shapefile together.",
            )
        )
    check_shapefile(names.part, parts)
    options: dict[str, Any] = {}
    if encoding := missing_code_page(parts):
        options["encoding"] = encoding
        findings.append(
            Finding(
                severity=Severity.INFO,
                code="encoding_detected",
                message=f"The Shapefile has no .cpg; its text was read as {encoding}.",
                subject=names.part,
                got=encoding,
            )
        )
    if rebuilt or not _PLAIN_NAME.fullmatch(path.name) or path.suffix.lower() != ".shp":
        linked = {suffix: part.path for suffix, part in parts.items() if suffix != ".shx" or not rebuilt}
        path = _linked(linked, names.part, stack)
        if rebuilt:
            path.with_suffix(".shx").write_bytes(rebuilt)
    return path, options


def _linked(parts: Mapping[str, Path], name: str, stack: ExitStack) -> Path:
    """Return the first of some files by a plain name and the suffix of its format, in a folder that is removed."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="geoetl-")))
    stem = Path(plain_name(Path(name).name)).stem
    for suffix, part in parts.items():
        (folder / f"{stem}{suffix}").symlink_to(part.resolve())
    first = ".shp" if ".shp" in parts else next(iter(parts))
    return folder / f"{stem}{first}"


def _is_sequence(path: Path) -> bool:
    """Tell whether a file has one feature on each line (RFC 8142, or plain newlines) instead of one document."""
    with path.open("rb") as file:
        line = file.readline(_MOST_LINE_BYTES).removeprefix(b"\xef\xbb\xbf").strip()
        if line.startswith(b"\x1e"):
            return True
        if not line.endswith(b"}") or not file.readline(_MOST_LINE_BYTES).lstrip().startswith(b"{"):
            return False
    try:
        return bool(json.loads(line).get("type") == "Feature")
    except (ValueError, RecursionError):
        return False


def _check_count(count: int, name: str, limits: LimitSettings) -> None:
    if count > limits.vector_features:
        raise LimitExceeded(
            f"'{name}' has {count:,} features; the limit is {limits.vector_features:,}.",
            hint="Split the file, or raise GEOETL_LIMITS__VECTOR_FEATURES.",
            field="source",
        )


def _empty(name: str) -> EmptyDataset:
    return EmptyDataset(f"'{name}' has no features.", hint="Check the export that made it.", field="source")


def _wanted_crs(text: str | None) -> "pyproj.CRS | None":
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        return CRS.from_user_input(text) if text else None
    except CRSError:
        raise InvalidParameter(
            f"'{str(text)[:60]}' is not a coordinate reference system.",
            hint="For example crs=EPSG:4326.",
            field="crs",
        ) from None


def _crs(found: "pyproj.CRS | None", wanted: "pyproj.CRS | None", said: str | None, name: str) -> "pyproj.CRS":
    """Return the CRS that file and question agree on; it is never guessed."""
    if found is None and wanted is None:
        raise MissingCRS(
            f"'{name}' does not say its coordinate reference system.",
            hint="Give it with the parameter crs, for example crs=EPSG:4326.",
            field="crs",
        )
    if found is not None and wanted is not None and not wanted.equals(found, ignore_axis_order=True):
        raise InvalidParameter(
            f"'{name}' is in {found.name}, not in {said}.",
            hint="Leave the parameter crs out, or correct the file.",
            field="crs",
        )
    crs = found if found is not None else wanted
    assert crs is not None
    return crs


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


def _frame(source: VectorSource) -> "gpd.GeoDataFrame":
    """Return all features of a layer."""
    import geopandas as gpd
    import pyarrow as pa
    import shapely
    from shapely.errors import GEOSException

    table = pa.Table.from_batches(source.batches, source.schema)
    try:
        shapes = shapely.from_wkb(table.column(source.geometry).to_pylist())
        frame = table.drop_columns([source.geometry]).to_pandas(types_mapper=_nullable)
    except (GEOSException, pa.ArrowException, *DAMAGE):
        raise UnreadableFile(
            f"The features of the layer '{source.layer}' cannot be read.",
            hint="Open the file in a GIS or with ogrinfo; it is probably damaged.",
            field="source",
        ) from None
    return gpd.GeoDataFrame(frame, geometry=shapes, crs=source.crs)


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
