"""Which features of a table a question means, without reading what cannot matter.

Row groups are left out by the bounds in their statistics, then rows by the bounds of each feature, then by conditions
on attributes; only of what is left the geometries are read, and compared as they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from geoetl.access.features.place import CRS84, Edges, ProjectedBox, Projections, crs_name, parts_of
from geoetl.access.features.table import FeatureTable, FeatureTables, shapes_of
from geoetl.access.features.values import column_of, decoded, is_list, is_sortable, is_temporal, is_text
from geoetl.core.errors import InvalidFilter, InvalidParameter, did_you_mean
from geoetl.core.selectors import Column, Tree, conjuncts, geometry_of, matches, properties_of
from geoetl.core.spatial import BBox
from geoetl.core.temporal import Interval
from geoetl.store.catalog import cql2

GEOMETRY = "geometry"
# More keys than this help nobody, and each costs a pass over what matches.
MAX_SORT_KEYS = 8
_PRUNING = frozenset({"s_intersects", "s_within", "s_contains", "s_equals", "s_touches", "s_crosses", "s_overlaps"})

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class SortKey:
    """A column that features are ordered by."""

    column: str
    descending: bool = False


@dataclass(frozen=True)
class Question:
    """What features have to be like.

    Attributes:
        bbox: Box that they touch; features without geometry match any.
        tree: Condition in CQL2 JSON, checked.
        filter_crs: Reference system of the geometries in it.
        sortby: Their order; what is equal in it, and everything without it, as in the file.
    """

    bbox: BBox | ProjectedBox | None = None
    tree: Tree = True
    filter_crs: str = CRS84
    sortby: tuple[SortKey, ...] = ()

    @property
    def bbox_crs(self) -> str:
        """Reference system of the box."""
        return self.bbox.crs if isinstance(self.bbox, ProjectedBox) else CRS84


@dataclass(frozen=True)
class Selection:
    """What has to be read for a question.

    Attributes:
        groups: Row groups that may hold features that match.
        boxes: Bounds that features must touch, in the file's CRS: of each list any; empty for no such bound.
        columns: Columns that conditions and order look at.
    """

    groups: tuple[int, ...]
    boxes: tuple[tuple[Edges, ...], ...]
    columns: tuple[str, ...]


class Selector:
    """Finds the rows of tables.

    Args:
        tables: Read and keep columns.
        projections: Know reference systems.
    """

    def __init__(self, tables: FeatureTables, projections: Projections) -> None:
        self._tables = tables
        self._projections = projections

    def plan(self, table: FeatureTable, question: Question) -> Selection:
        """Return what has to be read, by the footer alone.

        Raises:
            InvalidFilter, InvalidParameter: The question names a column that is not there, or that has no order.
        """
        names = {name for name in properties_of(question.tree) if not _is_geometry(table, name)}
        for name in names:
            if name not in table.attributes:
                raise InvalidFilter(
                    f"There is no property '{name}'.", hint=did_you_mean(name, table.attributes), field="filter"
                )
        check_order(table, question.sortby)
        own = crs_name(table)
        boxes: list[tuple[Edges, ...]] = []
        if question.bbox is not None:
            parts = parts_of(question.bbox)
            boxes.append(tuple(self._projections.around(part, question.bbox_crs, own) for part in parts))
        for condition in conjuncts(question.tree):
            shape = _bounding_shape(table, condition)
            if shape is not None:
                pieces = [part.bounds for part in shapely.get_parts(shape)]
                boxes.append(tuple(self._projections.around(part, question.filter_crs, own) for part in pieces))
        chosen = np.ones(len(table.rows), bool)
        for number, edges in enumerate(boxes):
            touching = np.any([_touching(table.extents, part) for part in edges], axis=0)
            # Features without geometry match every bbox, and have no bounds in the statistics.
            chosen &= touching | table.lacking if number == 0 and question.bbox is not None else touching
        columns = [*names, *(key.column for key in question.sortby)]
        return Selection(tuple(map(int, np.flatnonzero(chosen))), tuple(boxes), tuple(dict.fromkeys(columns)))

    def rows(self, table: FeatureTable, question: Question, selection: Selection) -> Rows:
        """Return the numbers of the rows that match, in the order that was asked for.

        Raises:
            InvalidFilter: Arguments do not fit their operators.
            UnreadableFile: The file is damaged.
        """
        groups = selection.groups
        loaded = _Loaded(table, groups, self._tables, self._projections, question.filter_crs)
        rows = loaded.all_rows()
        undecided = np.zeros(len(rows), bool)
        for number, parts in enumerate(selection.boxes):
            bounds = self._tables.bounds(table, groups)[loaded.positions(rows)]
            touching = np.any([_touching(bounds, part) for part in parts], axis=0)
            if number == 0 and question.bbox is not None:
                without = np.isnan(bounds).any(axis=1)
                inside = self._inside(table, question, bounds, parts)
                undecided = touching & ~inside
                touching |= without
            rows, undecided = rows[touching], undecided[touching]
        spatial = [one for one in conjuncts(question.tree) if _looks_at_geometry(table, one)]
        plain = [one for one in conjuncts(question.tree) if not _looks_at_geometry(table, one)]
        for condition in plain:
            kept = matches(condition, loaded.of(rows))
            rows, undecided = rows[kept], undecided[kept]
        if question.bbox is not None and undecided.any():
            kept = ~undecided
            kept[undecided] = self._touches_box(loaded, rows[undecided], question.bbox, question.bbox_crs)
            rows = rows[kept]
        for condition in spatial:
            rows = rows[matches(condition, loaded.of(rows))]
        return self._ordered(loaded, rows, question.sortby)

    def _inside(
        self, table: FeatureTable, question: Question, bounds: NDArray[np.float64], parts: Sequence[Edges]
    ) -> NDArray[np.bool_]:
        """Return which features lie in a part of the box with all of their bounds, and so surely touch it."""
        if not table.is_exact or question.bbox_crs != crs_name(table):
            return np.zeros(len(bounds), bool)
        return np.asarray(np.any([_within(bounds, part) for part in parts], axis=0), bool)

    def _touches_box(self, loaded: "_Loaded", rows: Rows, box: BBox | ProjectedBox, crs: str) -> NDArray[np.bool_]:
        shapes = loaded.shapes(rows, crs)
        touched = np.zeros(len(rows), bool)
        for part in parts_of(box):
            touched |= shapely.intersects(shapes, shapely.box(*part))
        return touched

    def _ordered(self, loaded: "_Loaded", rows: Rows, keys: Sequence[SortKey]) -> Rows:
        if not keys or len(rows) < 2:
            return rows
        columns = {f"{number}": decoded(loaded.column(key.column, rows)) for number, key in enumerate(keys)}
        order = [
            (f"{number}", "descending" if key.descending else "ascending", "at_end") for number, key in enumerate(keys)
        ]
        indices = pc.sort_indices(pa.table(columns), sort_keys=order)
        return np.asarray(rows[indices.to_numpy()], np.int64)


@dataclass(frozen=True)
class _Groups:
    """Where the rows of some row groups lie, once these are read one behind the other."""

    table: FeatureTable
    groups: Sequence[int]

    @cached_property
    def _first(self) -> Rows:
        return self.table.starts[list(self.groups)]

    @cached_property
    def _offsets(self) -> Rows:
        return np.concatenate([[0], np.cumsum(self.table.rows[list(self.groups)])]).astype(np.int64)

    def all_rows(self) -> Rows:
        """Return the numbers of all rows of these groups."""
        pieces = [np.arange(self.table.starts[group], self.table.starts[group + 1]) for group in self.groups]
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)

    def positions(self, rows: Rows) -> Rows:
        """Return where rows lie in what was read."""
        number = np.searchsorted(self._first, rows, side="right") - 1
        return np.asarray(rows - self._first[number] + self._offsets[number], np.int64)


@dataclass(frozen=True)
class _Loaded(_Groups):
    """Columns of some row groups, by the numbers of rows; each is read when it is first looked at."""

    tables: FeatureTables
    projections: Projections
    filter_crs: str

    def column(self, name: str, rows: Rows) -> pa.ChunkedArray:
        """Return a column of some rows."""
        whole = self.tables.columns(self.table, [name], self.groups)[name]
        return whole if len(rows) == len(whole) and (np.diff(rows) > 0).all() else whole.take(self.positions(rows))

    def shapes(self, rows: Rows, crs: str) -> NDArray[Any]:
        """Return the geometries of some rows in a reference system."""
        shapes = shapes_of(self.table, self.column(self.table.geometry, rows))
        return self.projections.shapes(shapes, crs_name(self.table), crs)

    def of(self, rows: Rows) -> "_Columns":
        """Return some rows as filters read them."""
        return _Columns(self, rows)


@dataclass(frozen=True)
class _Columns:
    loaded: _Loaded
    rows: Rows

    @property
    def size(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def column(self, name: str) -> Column:
        """Return a property of every row."""
        if _is_geometry(self.loaded.table, name):
            shapes = self.loaded.shapes(self.rows, self.loaded.filter_crs)
            return Column.of("geometry", shapes, ~shapely.is_missing(shapes))
        return column_of(self.loaded.column(name, self.rows))


def read_rows(tables: FeatureTables, table: FeatureTable, names: Iterable[str], rows: Rows) -> dict[str, Any]:
    """Return columns of some rows, in their order; only the row groups that hold them are read."""
    groups = [int(group) for group in np.unique(np.searchsorted(table.starts, rows, side="right") - 1)]
    positions = _Groups(table, groups).positions(rows)
    return {name: column.take(positions) for name, column in tables.columns(table, names, groups).items()}


def check_order(table: FeatureTable, keys: Sequence[SortKey]) -> None:
    """Refuse an order by columns that are not there or have none.

    Raises:
        InvalidParameter: See above.
    """
    if len(keys) > MAX_SORT_KEYS:
        raise InvalidParameter(
            f"There are {len(keys)} keys in sortby; the limit is {MAX_SORT_KEYS}.", hint="Give fewer.", field="sortby"
        )
    for key in keys:
        if key.column not in table.attributes:
            raise InvalidParameter(
                f"There is no property '{key.column[:60]}' to sort by.",
                hint=did_you_mean(key.column, table.attributes),
                field="sortby",
            )
        if not is_sortable(table.schema.field(key.column).type):
            raise InvalidParameter(
                f"The property '{key.column}' has no order.", hint="Sort by a number, text or time.", field="sortby"
            )


def where_tree(table: FeatureTable, where: Mapping[str, Any], field: str | None = None) -> list[Tree]:
    """Return the conditions that attributes equal some values; text is read as what the attribute is.

    Args:
        table: Where the attributes are.
        where: Value of each attribute, or a list of those that it may have.
        field: Parameter to name in errors; left out, the attribute.

    Raises:
        InvalidParameter: There is no such attribute, or a text cannot be read as its type.
    """
    conditions: list[Tree] = []
    for name, value in where.items():
        if name not in table.attributes:
            raise InvalidParameter(
                f"There is no property '{name[:60]}'.", hint=did_you_mean(name, table.attributes), field=field or name
            )
        values = [_typed(table, name, one) for one in (value if isinstance(value, list | tuple) else [value])]
        if is_list(table.schema.field(name).type):
            conditions.append({"op": "a_overlaps", "args": [{"property": name}, values]})
        elif None in values:
            conditions.append({"op": "isNull", "args": [{"property": name}]})
        else:
            # What equals a whole day is told by comparisons alone; the rest is looked up in one go.
            conditions.append({"op": "in", "args": [{"property": name}, values]})
    return conditions


def _typed(table: FeatureTable, name: str, value: Any) -> Any:
    kind = table.schema.field(name).type
    kind = kind.value_type if pa.types.is_dictionary(kind) or is_list(kind) else kind
    if not isinstance(value, str) or is_text(kind) or is_temporal(kind) or pa.types.is_time(kind):
        return value
    if pa.types.is_boolean(kind):
        if value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise InvalidParameter(f"{name} is '{value[:60]}', but has to be true or false.", field=name)
    try:
        return int(value) if pa.types.is_integer(kind) else float(value)
    except ValueError:
        kind_text = "a whole number" if pa.types.is_integer(kind) else "a number"
        raise InvalidParameter(f"{name} is '{value[:60]}', but has to be {kind_text}.", field=name) from None


def time_tree(table: FeatureTable, interval: Interval) -> list[Tree]:
    """Return the conditions that the times of features touch an interval; those without a time match any.

    Source: OGC API - Features, part 1, requirement /req/core/fc-time-response.
    """
    if table.times is None:
        return []
    begins, ends = ({"property": name} for name in table.times)
    conditions: list[Tree] = []
    for name, node, end in (("<=", begins, interval.end), (">=", ends, interval.start)):
        if end is not None:
            touching = {"op": name, "args": [node, {"timestamp": end.isoformat()}]}
            conditions.append({"op": "or", "args": [touching, {"op": "isNull", "args": [node]}]})
    return conditions


def joined(conditions: Sequence[Tree]) -> Tree:
    """Return the condition that all of these hold."""
    return {"op": "and", "args": list(conditions)} if len(conditions) > 1 else conditions[0] if conditions else True


def checked(filter: Mapping[str, Any] | bool | str | None) -> list[Tree]:
    """Return a filter as conditions.

    Raises:
        InvalidFilter: It is no CQL2, or too large.
    """
    return [] if filter is None else [cql2.parse(filter)]


def _is_geometry(table: FeatureTable, name: str) -> bool:
    return name == table.geometry or (name == GEOMETRY and name not in table.attributes)


def _looks_at_geometry(table: FeatureTable, node: Tree) -> bool:
    return any(_is_geometry(table, name) for name in properties_of(node))


def _bounding_shape(table: FeatureTable, condition: Tree) -> Any:
    """Return the shape that every match of a condition touches; None where there is none."""
    if not isinstance(condition, Mapping) or condition.get("op") not in _PRUNING or len(condition["args"]) != 2:
        return None
    literals = [one for one in condition["args"] if isinstance(one, Mapping) and ("type" in one or "bbox" in one)]
    if len(literals) != 1 or not _looks_at_geometry(table, condition):
        return None
    return geometry_of(literals[0])


def _touching(bounds: NDArray[np.float64], edges: Edges) -> NDArray[np.bool_]:
    xmin, ymin, xmax, ymax = edges
    return np.asarray(
        (bounds[:, 0] <= xmax) & (bounds[:, 2] >= xmin) & (bounds[:, 1] <= ymax) & (bounds[:, 3] >= ymin), bool
    )


def _within(bounds: NDArray[np.float64], edges: Edges) -> NDArray[np.bool_]:
    xmin, ymin, xmax, ymax = edges
    return np.asarray(
        (bounds[:, 0] >= xmin) & (bounds[:, 2] <= xmax) & (bounds[:, 1] >= ymin) & (bounds[:, 3] <= ymax), bool
    )
