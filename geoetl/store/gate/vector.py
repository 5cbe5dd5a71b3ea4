"""Vectors: all features of one layer, as a GeoDataFrame."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import EmptyDataset, InvalidParameter, LimitExceeded, MissingCRS, UnreadableFile, did_you_mean
from geoetl.core.findings import Finding, Severity
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.archive import vector_member
from geoetl.store.gate.formats import VECTOR_FORMATS, Format, file_format, wrong_format
from geoetl.store.gate.shapefile import Part, check_shapefile, missing_code_page, parts_in_archive

if TYPE_CHECKING:
    import geopandas as gpd


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


def read_vector(path: Path, limits: LimitSettings, *, layer: str | None, crs: str | None) -> VectorRead:
    """See `Gate.read_vector`."""
    import pyogrio
    from shapely.errors import GEOSException

    found = file_format(path)
    if found not in VECTOR_FORMATS:
        raise wrong_format(path, found, "vector", sorted(VECTOR_FORMATS))
    if found is Format.PARQUET:
        frame = read_geoparquet(path)
        return _checked(frame, path, path.stem, [], crs)
    findings: list[Finding] = []
    options: dict[str, str] = {}
    target = str(path)
    if found is Format.SHAPEFILE:
        check_shapefile(path.name, {p.suffix.lower(): Part.of_file(p) for p in path.parent.glob(f"{path.stem}.*")})
    if found is Format.ZIP:
        member = vector_member(path, limits)
        if member.lower().endswith(".shp"):
            check_shapefile(member, parts_in_archive(path, member))
        target = f"/vsizip/{path}/{member}"
        if member.lower().endswith(".shp") and (encoding := missing_code_page(path, member)):
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
        if declared > limits.vector_features:
            raise LimitExceeded(
                f"'{path.name}' has {declared:,} features; the limit is {limits.vector_features:,}.",
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
    return _checked(_plain_integers(frame), path, chosen, findings, crs)


def _checked(frame: Any, path: Path, layer: str, findings: list[Finding], crs: str | None) -> VectorRead:
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
    path: Path, *, bbox: tuple[float, float, float, float] | None = None, columns: list[str] | None = None
) -> "gpd.GeoDataFrame":
    """See `Gate.read_geoparquet`."""
    import geopandas as gpd
    from pyarrow.lib import ArrowException

    try:
        return gpd.read_parquet(path, bbox=bbox, columns=columns)
    except (ValueError, OSError, ArrowException) as error:
        raise UnreadableFile(
            f"'{path.name}' cannot be read as GeoParquet: {str(error).splitlines()[0]}",
            hint="Ingest it again from its source.",
        ) from None


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
