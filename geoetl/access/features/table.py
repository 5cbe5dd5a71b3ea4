"""GeoParquet files as tables that stay open: what the footer says, and columns kept for the next question.

A file is known by its size, time and number in the file system, so that nothing that is kept is ever of another
version of the dataset.
"""

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from geoetl.access.features.values import is_bytes, is_temporal, is_text, settled
from geoetl.core.errors import Conflict, InvalidParameter, NotFound, UnreadableFile

if TYPE_CHECKING:
    import pyproj

    from geoetl.store.gate import Gate

# Columns that one process keeps, unpacked: some million points, or all countries at their finest many times over.
KEPT_BYTES = 256 * 1024 * 1024
# Footers that one process keeps; one of a wide table has some hundred kilobytes.
KEPT_TABLES = 64
_EDGES = ("xmin", "ymin", "xmax", "ymax")
# What the bounds of each geometry are kept under; no column has such a name, as Parquet has no empty ones.
_BOUNDS = "\0bounds"
DEGREES = "EPSG:4326"
# An index without a name, as pandas writes it.
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True)
class FileVersion:
    """One state of a file."""

    path: Path
    inode: int
    mtime_ns: int
    size: int

    @classmethod
    def of(cls, path: Path) -> "FileVersion":
        """Return the present state of a file.

        Raises:
            NotFound: It is gone.
        """
        try:
            stat = path.stat()
        except OSError:
            raise NotFound(
                f"The file '{path.name}' is gone.", hint="Ingest it again from its source.", field="asset"
            ) from None
        return cls(path, stat.st_ino, stat.st_mtime_ns, stat.st_size)

    @property
    def tag(self) -> str:
        """Short text that another state of the file does not have."""
        return hashlib.sha256(f"{self.inode}-{self.mtime_ns}-{self.size}".encode()).hexdigest()[:10]

    def token(self, start: int) -> str:
        """Return what a page that begins at this feature is asked for by."""
        return f"{start}.{self.tag}"

    def start_of(self, token: str) -> int:
        """Return where the page of a token begins.

        Raises:
            InvalidParameter: It is no token.
            Conflict: The file was replaced since; its pages would not fit those that were seen.
        """
        start, dot, tag = token.partition(".")
        if not (dot and start.isascii() and start.isdecimal() and len(start) < 10):
            raise InvalidParameter("The token is not one of a page of features.", hint="Start again.", field="token")
        if tag != self.tag:
            raise Conflict("The dataset has changed since the page before.", hint="Start again.", field="token")
        return int(start)


@dataclass(frozen=True)
class FeatureTable:
    """What the footer of a GeoParquet file says.

    Attributes:
        version: The state of the file.
        schema: Its columns.
        geometry: Name of the geometry column.
        encoding: ``WKB``, or one of GeoArrow's.
        crs: Reference system of the geometries; None for longitude and latitude (OGC:CRS84).
        covering: Path of the column of each edge (xmin, ymin, xmax, ymax) of the features' bounds; empty without.
        rows: Number of rows of each row group: array (group).
        extents: Bounds of each row group in the file's CRS, xmin, ymin, xmax, ymax: array (group, 4); infinite where
            the file does not say them.
        lacking: Which row groups may have rows without geometry: array (group) of bool.
        sizes: Bytes that each column of each row group unpacks to: arrays (group).
    """

    version: FileVersion
    schema: pa.Schema
    geometry: str
    encoding: str
    crs: "pyproj.CRS | None"
    covering: Mapping[str, tuple[str, ...]]
    rows: NDArray[np.int64]
    extents: NDArray[np.float64]
    lacking: NDArray[np.bool_]
    sizes: Mapping[str, NDArray[np.int64]] = field(repr=False)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Number of the first row of each row group, and of the row behind the last: array (group + 1)."""
        return np.concatenate([[0], np.cumsum(self.rows)]).astype(np.int64)

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return int(self.starts[-1])

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """Names of the columns, without geometries and bounds."""
        hidden = {path[0] for path in self.covering.values()} | set(self._geometries())
        return tuple(name for name in self.schema.names if name not in hidden and not _PANDAS_INDEX.fullmatch(name))

    @property
    def geometry_types(self) -> tuple[str, ...]:
        """Types of the geometries, without heights, as the file says them; empty where it does not."""
        described = json.loads((self.schema.metadata or {})[b"geo"])["columns"][self.geometry]
        said = described.get("geometry_types")
        names = [str(name).removesuffix(" Z") for name in said] if isinstance(said, list) else []
        return tuple(dict.fromkeys(names))

    def _geometries(self) -> Iterable[str]:
        columns = json.loads((self.schema.metadata or {})[b"geo"])["columns"]
        return [str(name) for name in columns]

    @property
    def times(self) -> tuple[str, str] | None:
        """The columns that a feature's time begins and ends in, one or two; None where it has none."""
        temporal = [name for name in self.attributes if is_temporal(self.schema.field(name).type)]
        if "start_datetime" in temporal and "end_datetime" in temporal:
            return "start_datetime", "end_datetime"
        return ("datetime", "datetime") if "datetime" in temporal else (temporal[0], temporal[0]) if temporal else None

    @property
    def is_exact(self) -> bool:
        """Whether the bounds of features are as exact as their coordinates."""
        if not self.covering:
            return True
        name = self.covering["xmin"][0]
        kind = self.schema.field(name).type
        return all(pa.types.is_float64(kind.field(path[1]).type) for path in self.covering.values())


class FeatureTables:
    """Opens GeoParquet files, and keeps footers and columns within a bound.

    Args:
        gate: Opens the files.
        kept_bytes: Most bytes of columns that are kept; the longest unused go first.
    """

    def __init__(self, gate: "Gate", kept_bytes: int = KEPT_BYTES) -> None:
        self._gate = gate
        self._kept_bytes = kept_bytes
        self._lock = threading.Lock()
        self._tables: OrderedDict[FileVersion, FeatureTable] = OrderedDict()
        self._columns: OrderedDict[tuple[FileVersion, int, str], Any] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """Bytes of the columns that are kept."""
        return self._bytes

    def open(self, path: Path) -> FeatureTable:
        """Return the table of a file, as it is now.

        Raises:
            NotFound: The file is gone.
            UnreadableFile: It is no GeoParquet.
        """
        version = FileVersion.of(path)
        with self._lock:
            table = self._tables.get(version)
            if table is not None:
                self._tables.move_to_end(version)
                return table
        with self._gate.open_geoparquet(path) as file:
            table = _table_of(version, file.schema_arrow, file.metadata)
        with self._lock:
            for old in [one for one in self._tables if one.path == path and one != version]:
                del self._tables[old]
                for key in [key for key in self._columns if key[0] == old]:
                    self._drop(key)
            self._tables[version] = table
            while len(self._tables) > KEPT_TABLES:
                self._tables.popitem(last=False)
        return table

    def columns(self, table: FeatureTable, names: Iterable[str], groups: Sequence[int]) -> dict[str, pa.ChunkedArray]:
        """Return columns of some row groups, one behind the other.

        Raises:
            UnreadableFile: The file is damaged.
            Conflict: It was replaced meanwhile.
        """
        wanted = list(dict.fromkeys(names))
        found: dict[tuple[int, str], Any] = {}
        missing: dict[int, list[str]] = {}
        for group in groups:
            for name in wanted:
                kept = self._get((table.version, group, name))
                if kept is None:
                    missing.setdefault(group, []).append(name)
                else:
                    found[group, name] = kept
        if missing:
            for group, read in self._read(table, missing):
                for name in missing[group]:
                    found[group, name] = read[name]
                    self._put((table.version, group, name), read[name], read[name].nbytes)
        return {
            name: pa.chunked_array(
                [chunk for group in groups for chunk in found[group, name].chunks], table.schema.field(name).type
            )
            for name in wanted
        }

    def _read(self, table: FeatureTable, missing: Mapping[int, list[str]]) -> "list[tuple[int, dict[str, Any]]]":
        read: list[tuple[int, dict[str, Any]]] = []
        with self._gate.open_geoparquet(table.version.path) as file:
            for group, names in missing.items():
                columns = file.read_row_group(group, columns=names)
                # A text that is no UTF-8, or a list that ends before it begins, shows itself here and not later.
                columns.validate(full=True)
                read.append((group, {name: columns.column(name).cast(table.schema.field(name).type) for name in names}))
        if FileVersion.of(table.version.path) != table.version:
            raise Conflict(f"The file '{table.version.path.name}' was replaced while it was read.", hint="Ask again.")
        return read

    def once(self, table: FeatureTable, what: str, find: Callable[[], bool]) -> bool:
        """Return what holds of a whole table, found out once."""
        key = (table.version, -1, f"\0{what}")
        known = self._get(key)
        if known is None:
            known = find()
            self._put(key, known, len(what))
        return bool(known)

    def bounds(self, table: FeatureTable, groups: Sequence[int]) -> NDArray[np.float64]:
        """Return the bounds of each feature in the file's CRS: array (row, 4), NaN where there is no geometry."""
        found = {group: self._get((table.version, group, _BOUNDS)) for group in groups}
        missing = [group for group, kept in found.items() if kept is None]
        if missing:
            whole = self._worked_out(table, missing)
            for group, part in zip(missing, np.split(whole, np.cumsum(table.rows[missing])[:-1]), strict=True):
                found[group] = part.copy()
                self._put((table.version, group, _BOUNDS), found[group], part.nbytes)
        return np.concatenate(list(found.values())) if found else np.empty((0, 4))

    def _worked_out(self, table: FeatureTable, groups: Sequence[int]) -> NDArray[np.float64]:
        if not table.covering:
            geometry = self.columns(table, [table.geometry], groups)[table.geometry]
            return np.asarray(shapely.bounds(shapes_of(table, geometry)), np.float64).reshape(-1, 4)
        name = table.covering["xmin"][0]
        whole: Any = self.columns(table, [name], groups)[name].combine_chunks()
        edges = dict(zip([field.name for field in whole.type], whole.flatten(), strict=True))
        numbers = (edges[table.covering[edge][1]].cast(pa.float64()) for edge in _EDGES)
        bounds = np.stack([one.to_numpy(zero_copy_only=False) for one in numbers], 1)
        return bounds if table.is_exact else _widened(bounds)

    def _get(self, key: tuple[FileVersion, int, str]) -> Any:
        with self._lock:
            kept = self._columns.get(key)
            if kept is not None:
                self._columns.move_to_end(key)
            return None if kept is None else kept[0]

    def _put(self, key: tuple[FileVersion, int, str], value: Any, size: int) -> None:
        # What would take the place of everything else is not kept.
        if size > self._kept_bytes // 4:
            return
        with self._lock:
            if key in self._columns:
                return
            self._columns[key] = value, size
            self._bytes += size
            while self._bytes > self._kept_bytes:
                self._drop(next(iter(self._columns)))

    def _drop(self, key: tuple[FileVersion, int, str]) -> None:
        self._bytes -= self._columns.pop(key)[1]


def shapes_of(table: FeatureTable, geometry: pa.ChunkedArray) -> NDArray[Any]:
    """Return geometries in the file's CRS, x before y: array (row) of shapely geometries, None where there is none.

    Raises:
        UnreadableFile: The column holds something else.
    """
    try:
        if table.encoding == "WKB":
            return np.atleast_1d(shapely.from_wkb(np.asarray(geometry.to_pylist(), object)))
        return _of_geoarrow(table, geometry)
    except (shapely.errors.ShapelyError, pa.ArrowException, ValueError, TypeError):
        raise _unreadable(table.version.path, "a geometry is damaged") from None


def _of_geoarrow(table: FeatureTable, geometry: pa.ChunkedArray) -> NDArray[Any]:
    import geopandas as gpd

    name = {b"ARROW:extension:name": f"geoarrow.{table.encoding.lower()}".encode()}
    schema = pa.schema([pa.field("geometry", geometry.type, metadata=name)])
    frame = gpd.GeoDataFrame.from_arrow(pa.Table.from_arrays([geometry], schema=schema), geometry="geometry")
    return np.asarray(frame.geometry.to_numpy(), object)


def _table_of(version: FileVersion, schema: pa.Schema, metadata: Any) -> FeatureTable:
    path = version.path
    try:
        geo = json.loads((schema.metadata or {})[b"geo"])
        geometry = str(geo["primary_column"])
        described = geo["columns"][geometry]
        encoding = str(described["encoding"])
        covering = {
            edge: tuple(map(str, described["covering"]["bbox"][edge])) for edge in _EDGES if "covering" in described
        }
        kind = schema.field(geometry).type
        names = set(schema.names)
        if not set(geo["columns"]) <= names or (encoding == "WKB" and not is_bytes(kind)):
            raise ValueError
        if any(len(path) != 2 or path[0] not in names for path in covering.values()):
            raise ValueError
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise _unreadable(path, "it does not say which column has geometries") from None
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    table = FeatureTable(
        version=version,
        schema=pa.schema([field.with_type(settled(field.type)) for field in schema], metadata=schema.metadata),
        geometry=geometry,
        encoding=encoding,
        crs=_crs_of(path, described),
        covering=covering,
        rows=np.array([group.num_rows for group in groups], np.int64),
        extents=np.tile([-np.inf, -np.inf, np.inf, np.inf], (len(groups), 1)),
        lacking=np.ones(len(groups), bool),
        sizes={name: np.zeros(len(groups), np.int64) for name in schema.names},
    )
    for number, group in enumerate(groups):
        _fill(table, number, group)
    return table if table.is_exact else replace(table, extents=_widened(table.extents))


def _fill(table: FeatureTable, number: int, group: Any) -> None:
    """Fill in what the statistics of a row group say."""
    edges = {".".join(table.covering[edge]): index for index, edge in enumerate(_EDGES) if table.covering}
    for index in range(group.num_columns):
        chunk = group.column(index)
        path = str(chunk.path_in_schema)
        root = path if path in table.sizes else path.partition(".")[0]
        if root in table.sizes:
            table.sizes[root][number] += max(0, chunk.total_uncompressed_size)
        if not chunk.is_stats_set:
            continue
        if path in edges and chunk.statistics.has_min_max:
            edge = edges[path]
            table.extents[number, edge] = chunk.statistics.min if edge < 2 else chunk.statistics.max
        if path == table.geometry and chunk.statistics.has_null_count:
            table.lacking[number] = chunk.statistics.null_count > 0


def _widened(bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return bounds that cover what was rounded to 32 bits, whichever way it was."""
    return np.asarray(bounds + np.abs(bounds) * np.array([-1, -1, 1, 1]) * 2.0**-23, np.float64)


def _crs_of(path: Path, described: Mapping[str, Any]) -> "pyproj.CRS | None":
    """Return the CRS of the geometries; None for longitude and latitude, which also is what a file without one means.

    Source: GeoParquet 1.1, "crs".
    """
    import pyproj

    if described.get("crs") is None:
        return None
    try:
        crs = pyproj.CRS.from_user_input(described["crs"])
    except (pyproj.exceptions.CRSError, TypeError, ValueError):
        raise _unreadable(path, "its reference system is not known") from None
    return None if crs.equals(DEGREES, ignore_axis_order=True) else crs


def _unreadable(path: Path, why: str) -> UnreadableFile:
    return UnreadableFile(
        f"'{path.name}' cannot be read as GeoParquet: {why}.", hint="Ingest it again from its source.", field="asset"
    )


def unique_values(array: pa.ChunkedArray) -> bool:
    """Tell whether a column can stand for its features: whole numbers or texts, each once, none missing."""
    if not (pa.types.is_integer(array.type) or is_text(array.type)) or array.null_count:
        return False
    return len(array.unique()) == len(array)
