"""Vectors: all features of one layer, as a GeoDataFrame."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import EmptyDataset, InvalidParameter, LimitExceeded, MissingCRS, UnreadableFile, did_you_mean
from geoetl.core.findings import Finding, Severity
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.archive import unpacked_vector
from geoetl.store.gate.formats import DAMAGE, VECTOR_FORMATS, Format, file_format, wrong_format
from geoetl.store.gate.geopackage import check_geopackage
from geoetl.store.gate.parquet import check_parquet, read_geoparquet
from geoetl.store.gate.places import Places
from geoetl.store.gate.shapefile import check_shapefile, missing_code_page, parts_of

if TYPE_CHECKING:
    import geopandas as gpd

Prove = Callable[[Path], None]


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


def read_vector(
    path: Path, places: Places, limits: LimitSettings, *, layer: str | None, crs: str | None, prove: Prove
) -> VectorRead:
    """See `Gate.read_vector`; `prove` is called on the file that is read, before it is."""
    found = file_format(path)
    if found not in VECTOR_FORMATS:
        raise wrong_format(path, found, "vector", sorted(VECTOR_FORMATS))
    if found is not Format.ZIP:
        prove(path)
        return _read_file(path, _Named(path.name, path.name), found, places, limits, layer, crs)
    with unpacked_vector(path, limits) as (unpacked, member):
        inner = file_format(unpacked)
        if inner not in VECTOR_FORMATS - {Format.ZIP, Format.PARQUET}:
            raise wrong_format(Path(member), inner, "vector", sorted(VECTOR_FORMATS - {Format.ZIP, Format.PARQUET}))
        prove(unpacked)
        return _read_file(
            unpacked, _Named(path.name, member), inner, Places((unpacked.parent.resolve(),)), limits, layer, crs
        )


def look_at_vector(path: Path, places: Places, limits: LimitSettings, features: int) -> None:
    """See `Gate.look_at_vector`."""
    found = file_format(path)
    if found not in VECTOR_FORMATS - {Format.ZIP, Format.PARQUET}:
        raise wrong_format(path, found, "vector", sorted(VECTOR_FORMATS))
    _read_file(path, _Named(path.name, path.name), found, places, limits, None, None, features)


@dataclass(frozen=True)
class _Named:
    """What a file is called: by its user, and in an archive where it came in one."""

    file: str
    part: str


def _read_file(
    path: Path,
    names: _Named,
    found: Format,
    places: Places,
    limits: LimitSettings,
    layer: str | None,
    crs: str | None,
    most: int | None = None,
) -> VectorRead:
    """Read a file that is no archive; of its features the first `most`, or all."""
    import pyogrio
    from shapely.errors import GEOSException

    name = names.file
    if found is Format.PARQUET:
        check_parquet(path, limits)
        return _checked(read_geoparquet(path), name, path.stem, [], crs)
    findings: list[Finding] = []
    options: dict[str, str] = {}
    if found is Format.SHAPEFILE:
        parts = parts_of(path, places)
        check_shapefile(names.part, parts)
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
    if found is Format.GEOPACKAGE:
        check_geopackage(path, name)
    # pyogrio takes any driver that fits. The other formats are told by their first bytes, JSON by this prefix only: it
    # may also be a pipeline that GDAL would run (its driver GDALG).
    target = f"GeoJSON:{path}" if found is Format.JSON else str(path)
    try:
        chosen = _choose_layer([str(known) for known, _ in pyogrio.list_layers(target)], layer, name)
        declared = int(pyogrio.read_info(target, layer=chosen)["features"])
        if declared > limits.vector_features:
            raise LimitExceeded(
                f"'{name}' has {declared:,} features; the limit is {limits.vector_features:,}.",
                hint="Split the file, or raise GEOETL_LIMITS__VECTOR_FEATURES.",
                field="source",
            )
        frame = pyogrio.read_dataframe(
            target,
            layer=chosen,
            max_features=most,
            use_arrow=True,
            arrow_to_pandas_kwargs={"types_mapper": _nullable},
            **options,
        )
    except UnicodeDecodeError:
        raise UnreadableFile(
            f"Text in '{name}' is not UTF-8.", hint="Save the file again in UTF-8.", field="source"
        ) from None
    except (
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        pyogrio.errors.FeatureError,
        pyogrio.errors.GeometryError,
        pyogrio.errors.CRSError,
        pyogrio.errors.FieldError,
        GEOSException,
        *DAMAGE,
    ):
        raise UnreadableFile(
            f"'{name}' begins like {found} but holds no readable features ({path.stat().st_size} bytes).",
            hint="Open it in a GIS or with ogrinfo; it is probably truncated or of another structure.",
            field="source",
        ) from None
    return _checked(_plain_integers(frame), name, chosen, findings, crs)


def _checked(frame: Any, name: str, layer: str, findings: list[Finding], crs: str | None) -> VectorRead:
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
            f"'{name}' is a table without geometry.",
            hint="Give a layer with a geometry column.",
            field="source",
        )
    if frame.empty:
        raise EmptyDataset(f"'{name}' has no features.", hint="Check the export that made it.", field="source")
    if frame.crs is None and wanted is not None:
        frame = frame.set_crs(wanted)
    if frame.crs is None:
        raise MissingCRS(
            f"'{name}' does not say its coordinate reference system.",
            hint="Give it with the parameter crs, for example crs=EPSG:4326.",
            field="crs",
        )
    if wanted is not None and wanted != frame.crs:
        raise InvalidParameter(
            f"'{name}' is in {frame.crs.name}, not in {crs}.",
            hint="Leave the parameter crs out, or correct the file.",
            field="crs",
        )
    return VectorRead(frame, layer, tuple(findings))


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
