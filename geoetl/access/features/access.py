"""Features by the ids of their items: those that match a question, page by page; those in a box; those at a place."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from geoetl.access.cost import Estimate, Fitting, QueryLimits
from geoetl.access.features.describe import FeatureDescription, describe
from geoetl.access.features.page import FeaturePage
from geoetl.access.features.place import CRS84, ProjectedBox, Projections, crs_name
from geoetl.access.features.select import (
    Question,
    Rows,
    Selection,
    Selector,
    SortKey,
    checked,
    joined,
    read_rows,
    time_tree,
    where_tree,
)
from geoetl.access.features.table import FeatureTable, FeatureTables, shapes_of, unique_values
from geoetl.access.items import AssetKind, FoundAsset, Items, Lookup
from geoetl.core.errors import InvalidParameter, LimitExceeded, NotFound, did_you_mean
from geoetl.core.settings import QuerySettings
from geoetl.core.spatial import BBox, Point, wrap_longitude
from geoetl.core.temporal import Interval

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa

    from geoetl.store.gate import Gate
    from geoetl.store.zones import Zones

# Most features in one answer: about what a browser or a notebook table still handles.
MAX_FEATURES = 100_000
# Most features that are told of at one place.
MAX_FEATURES_AT = 50
DEFAULT_LIMIT = 10
# Columns that are ids where the item names none, if each value is there once.
_ID_COLUMNS = ("id", "fid")
_FITTING = Fitting("limit", "Give a smaller limit, fewer columns, or skip the geometry.")
_READING = Fitting("bbox", "Give a smaller bbox, or a filter on fewer columns.")


class FeatureAccess:
    """Answers questions about features in the catalogue.

    Args:
        catalog: Where items are looked up.
        gate: Opens the files.
        zones: The object zones.
        query: What one question may cost.
    """

    def __init__(
        self,
        catalog: Lookup,
        gate: "Gate",
        zones: "Zones | None" = None,
        query: QuerySettings = QuerySettings(),  # noqa: B008  frozen
    ) -> None:
        self._limits = QueryLimits.within(gate.limits, query)
        self._items = Items(catalog, gate, zones)
        self._tables = FeatureTables(gate)
        self._projections = Projections()
        self._selector = Selector(self._tables, self._projections)

    def query(
        self,
        collection: str,
        item: str,
        *,
        asset: str | None = None,
        bbox: BBox | ProjectedBox | None = None,
        datetime: str | Interval | None = None,
        filter: Mapping[str, Any] | bool | str | None = None,
        filter_crs: str = CRS84,
        where: Mapping[str, Any] | None = None,
        sortby: str | Sequence[str] = (),
        columns: Sequence[str] | None = None,
        skip_geometry: bool = False,
        limit: int = DEFAULT_LIMIT,
        offset: int = 0,
        token: str | None = None,
        crs: str = CRS84,
        limits: QueryLimits | None = None,
    ) -> FeaturePage:
        """Return a page of the features that match.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            asset: Key of the asset; the item's GeoParquet file where it is left out.
            bbox: Box that features touch; in degrees west > east crosses the antimeridian. Features without geometry
                match any.
            datetime: Instant or interval that their time touches: the columns ``start_datetime`` and ``end_datetime``,
                else ``datetime``, else the first date or time. Features without a time match any.
            filter: Condition in CQL2, text or JSON.
            filter_crs: Reference system of its geometries, x before y.
            where: Value of each attribute that counts; a list means any of them, None that it is missing.
            sortby: Columns to order by, ``-`` before one for descending; what is missing comes last.
            columns: Attributes to return; left out, all.
            skip_geometry: Return no geometries.
            limit: Most features on the page.
            offset: How many features to leave out.
            token: ``next`` or ``previous`` of another page of the same question, in place of `offset`.
            crs: Reference system of the geometries returned, x before y.
            limits: What it may cost; left out, what this machine may do.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: A column is unknown, or a parameter out of range.
            InvalidFilter, InvalidTime: A condition is not right.
            LimitExceeded: It costs too much; nothing was read.
            Conflict: The token is of another version of the dataset.
        """
        found, table = self._open(collection, item, asset)
        question = self._question(table, bbox, datetime, filter, filter_crs, where, sortby)
        names = _checked_columns(table, columns)
        self._projections.check(crs, "crs")
        start = _start(table, offset, token)
        selection = self._selector.plan(table, question)
        _check_limit(limit)
        cost = self._estimate(table, selection, names, skip_geometry, limit, limits or self._limits)
        (limits or self._limits).check(cost, _FITTING, _READING)
        rows = self._selector.rows(table, question, selection)
        page = rows[start : start + limit]
        behind = start + len(page)
        return self._page(
            found,
            table,
            page,
            names,
            crs=None if skip_geometry else crs,
            matched=len(rows),
            offset=start,
            next=table.version.token(behind) if behind < len(rows) else None,
            previous=table.version.token(max(0, start - limit)) if start else None,
        )

    def estimate_query(
        self,
        collection: str,
        item: str,
        *,
        asset: str | None = None,
        bbox: BBox | ProjectedBox | None = None,
        datetime: str | Interval | None = None,
        filter: Mapping[str, Any] | bool | str | None = None,
        filter_crs: str = CRS84,
        where: Mapping[str, Any] | None = None,
        sortby: str | Sequence[str] = (),
        columns: Sequence[str] | None = None,
        skip_geometry: bool = False,
        limit: int = DEFAULT_LIMIT,
        limits: QueryLimits | None = None,
    ) -> Estimate:
        """Return what `query` would cost, by the footer of the file alone; see there for the arguments.

        Raises:
            NotFound, InvalidParameter, InvalidFilter, InvalidTime: See `query`.
        """
        _, table = self._open(collection, item, asset)
        question = self._question(table, bbox, datetime, filter, filter_crs, where, sortby)
        names = _checked_columns(table, columns)
        _check_limit(limit)
        selection = self._selector.plan(table, question)
        return self._estimate(table, selection, names, skip_geometry, limit, limits or self._limits)

    def feature(
        self, collection: str, item: str, feature_id: str | int, *, asset: str | None = None, crs: str = CRS84
    ) -> FeaturePage:
        """Return one feature, as a page of one.

        Its id is that of the column which the item names in ``table:primary_key``, else of ``id`` or ``fid``, as long
        as each value is there once; else the number of its row, from 0, in this version of the dataset.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            feature_id: Id of the feature.
            asset: Key of the asset; the item's GeoParquet file where it is left out.
            crs: Reference system of the geometry returned.

        Raises:
            NotFound: There is no such item, asset or feature.
        """
        found, table = self._open(collection, item, asset)
        self._projections.check(crs, "crs")
        name = self._id_column(found, table)
        row = self._row_of(table, name, str(feature_id))
        if row is None:
            raise NotFound(
                f"There is no feature '{str(feature_id)[:60]}' in '{item}'.",
                hint=f"The ids are those of the column '{name}'." if name else f"Ids are 0 to {table.row_count - 1}.",
                field="feature_id",
            )
        rows = np.array([row], np.int64)
        return self._page(found, table, rows, table.attributes, crs=crs, matched=1, offset=0, next=None, previous=None)

    def describe(self, collection: str, item: str, *, asset: str | None = None) -> FeatureDescription:
        """Return which properties features have, how many there are, and where and when.

        Raises:
            NotFound: There is no such item or asset.
        """
        found, table = self._open(collection, item, asset)
        return describe(self._tables, table, found, self._id_column(found, table))

    def rows(
        self,
        collection: str,
        item: str,
        *,
        where: Mapping[str, Any],
        columns: Sequence[str] | None = None,
        asset: str | None = None,
    ) -> "gpd.GeoDataFrame":
        """Return the features whose attributes are equal to these values, in longitude and latitude (EPSG:4326).

        Args:
            collection: STAC collection id.
            item: STAC item id.
            where: Value of each attribute that counts; a list of values means any of them.
            columns: Attributes to return besides the geometry; left out, all.
            asset: Key of the asset; the item's GeoParquet file where it is left out.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: A column is unknown.
            LimitExceeded: More than `MAX_FEATURES` match.
        """
        return self.query(
            collection, item, asset=asset, where=where, columns=columns, limit=MAX_FEATURES
        ).to_geodataframe()

    def read(
        self,
        collection: str,
        item: str,
        *,
        asset: str | None = None,
        bbox: BBox | None = None,
        limit: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> "gpd.GeoDataFrame":
        """Return the features that touch a box, in longitude and latitude (EPSG:4326).

        Args:
            collection: STAC collection id.
            item: STAC item id.
            asset: Key of the asset; the item's GeoParquet file where it is left out.
            bbox: The box; west > east crosses the antimeridian. Left out, everything.
            limit: Most features to return, in the order of the file.
            columns: Attributes to return besides the geometry; left out, all.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: A column is unknown, or the limit is not positive.
            LimitExceeded: More features than the limit; where there is no box, nothing was read.
        """
        if limit is not None:
            _check_limit(limit, most=None)
        found, table = self._open(collection, item, asset)
        if bbox is None:
            # What will come is known without reading.
            _check_count(min(table.row_count, limit or table.row_count), found)
        names = _checked_columns(table, columns)
        question = Question(bbox, joined(_with_geometry(table)) if bbox else True)
        rows = self._selector.rows(table, question, self._selector.plan(table, question))[:limit]
        _check_count(len(rows), found)
        page = self._page(found, table, rows, names, crs=CRS84, matched=len(rows), offset=0, next=None, previous=None)
        return page.to_geodataframe().reset_index(drop=True)

    def values(self, collection: str, item: str, attribute: str, *, asset: str | None = None) -> "pa.ChunkedArray":
        """Return the values of an attribute of every feature, in the order of the file.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: There is no such attribute.
        """
        _, table = self._open(collection, item, asset)
        (name,) = _checked_columns(table, [attribute])
        return self._tables.columns(table, [name], range(len(table.rows)))[name]

    def at(
        self, collection: str, item: str, location: Point, tolerance_deg: float = 0.0, *, asset: str | None = None
    ) -> list[dict[str, Any]]:
        """Return the attributes of the features at a place, the nearest and then the smallest first.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            location: The place.
            tolerance_deg: How far away a feature may be, in degrees; points and lines need some.
            asset: Key of the asset; the item's GeoParquet file where it is left out.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: The tolerance is not between 0 and 90 degrees.
        """
        if not 0 <= tolerance_deg <= 90:
            raise InvalidParameter(
                f"tolerance_deg is {tolerance_deg!r}; expected 0 to 90 degrees.", field="tolerance_deg"
            )
        found, table = self._open(collection, item, asset)
        lon = wrap_longitude(location.lon)
        pieces = []
        for box in _around(lon, location.lat, tolerance_deg):
            question = Question(box, joined(_with_geometry(table)))
            pieces.append(self._selector.rows(table, question, self._selector.plan(table, question)))
        rows = np.unique(np.concatenate(pieces))
        shapes = self._shapes(table, rows, CRS84)
        # The place as seen from the other side of the antimeridian too: 179.9 is 0.2 degrees from -179.9.
        places = shapely.points([lon - 360, lon, lon + 360], [location.lat] * 3)
        distances = shapely.distance(shapes[:, None], places[None, :]).min(axis=1, initial=np.inf)
        order = np.lexsort([shapely.area(shapes), distances])
        near = order[distances[order] <= tolerance_deg][:MAX_FEATURES_AT]
        page = self._page(
            found, table, rows[near], table.attributes, crs=None, matched=len(near), offset=0, next=None, previous=None
        )
        return page.properties

    # -- how ---------------------------------------------------------------------------------------------------------

    def _open(self, collection: str, item: str, asset: str | None) -> tuple[FoundAsset, FeatureTable]:
        found = self._items.find(collection, item, asset, (AssetKind.GEOPARQUET,))
        return found, self._tables.open(found.path)

    def _question(
        self,
        table: FeatureTable,
        bbox: BBox | ProjectedBox | None,
        datetime: str | Interval | None,
        filter: Mapping[str, Any] | bool | str | None,
        filter_crs: str,
        where: Mapping[str, Any] | None,
        sortby: str | Sequence[str],
    ) -> Question:
        if isinstance(bbox, ProjectedBox):
            self._projections.check(bbox.crs, "bbox-crs")
        self._projections.check(filter_crs, "filter-crs")
        conditions = [*checked(filter), *where_tree(table, where or {})]
        if datetime is not None:
            conditions += time_tree(table, Interval.parse(datetime) if isinstance(datetime, str) else datetime)
        return Question(bbox, joined(conditions), filter_crs, _sort_keys(sortby))

    def _estimate(
        self,
        table: FeatureTable,
        selection: Selection,
        names: Sequence[str],
        skip_geometry: bool,
        limit: int,
        limits: QueryLimits,
    ) -> Estimate:
        groups = list(selection.groups)
        returned = min(limit, int(table.rows[groups].sum()))
        geometry = () if skip_geometry and not selection.boxes else (table.geometry,)
        read = {*selection.columns, *names, *geometry}
        size = sum(int(table.sizes[name][groups].sum()) for name in read)
        return limits.estimate(returned * (len(names) + 1), len(read) * len(groups), size)

    def _page(
        self,
        found: FoundAsset,
        table: FeatureTable,
        rows: Rows,
        names: Sequence[str],
        *,
        crs: str | None,
        matched: int,
        offset: int,
        next: str | None,
        previous: str | None,
    ) -> FeaturePage:
        import pyarrow as pa

        name = self._id_column(found, table)
        columns = read_rows(self._tables, table, dict.fromkeys([*names, *([name] if name else [])]), rows)
        schema = pa.schema([table.schema.field(one) for one in names], metadata=_pandas_metadata(table))
        return FeaturePage(
            ids=tuple(columns[name].to_pylist() if name else rows.tolist()),
            table=pa.table([columns[one] for one in names], schema=schema),
            shapes=None if crs is None else self._shapes(table, rows, crs),
            crs=crs or CRS84,
            matched=matched,
            offset=offset,
            next=next,
            previous=previous,
            source=found.source,
        )

    def _shapes(self, table: FeatureTable, rows: Rows, crs: str) -> Any:
        geometry = read_rows(self._tables, table, [table.geometry], rows)[table.geometry]
        return self._projections.shapes(shapes_of(table, geometry), crs_name(table), crs)

    def _id_column(self, found: FoundAsset, table: FeatureTable) -> str | None:
        """Return the column that has the ids of features; None where rows are numbered."""
        named = found.properties.get("table:primary_key")
        named = named[0] if isinstance(named, list) and len(named) == 1 else named
        for name in (named, *_ID_COLUMNS):
            if isinstance(name, str) and name in table.attributes and self._is_unique(table, name):
                return name
        return None

    def _is_unique(self, table: FeatureTable, name: str) -> bool:
        groups = range(len(table.rows))
        return self._tables.once(
            table, f"unique {name}", lambda: unique_values(self._tables.columns(table, [name], groups)[name])
        )

    def _row_of(self, table: FeatureTable, name: str | None, feature_id: str) -> int | None:
        if name is None:
            is_number = feature_id.isascii() and feature_id.isdecimal() and len(feature_id) < 19
            row = int(feature_id) if is_number else table.row_count
            return row if row < table.row_count and str(row) == feature_id else None
        ids = self._tables.columns(table, [name], range(len(table.rows)))[name]
        index = _index_of(ids, feature_id)
        return None if index < 0 else index


def _index_of(ids: Any, feature_id: str) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        wanted = pa.scalar(int(feature_id) if pa.types.is_integer(ids.type) else feature_id, ids.type)
    except (ValueError, OverflowError, pa.ArrowInvalid):
        return -1
    return -1 if str(wanted.as_py()) != feature_id else int(pc.index(ids, wanted).as_py())


def _pandas_metadata(table: FeatureTable) -> dict[bytes, bytes]:
    """Return what the file says of the types that its columns had in pandas; without it nullable integers are lost."""
    try:
        said = json.loads((table.schema.metadata or {})[b"pandas"])
        return {b"pandas": json.dumps({**said, "index_columns": []}).encode()}
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}


def _with_geometry(table: FeatureTable) -> list[Any]:
    return [{"op": "not", "args": [{"op": "isNull", "args": [{"property": table.geometry}]}]}]


def _sort_keys(sortby: str | Sequence[str]) -> tuple[SortKey, ...]:
    names = sortby.split(",") if isinstance(sortby, str) else sortby
    keys = [name.strip() for name in names if name.strip()]
    return tuple(SortKey(key.lstrip("+-") if key[0] in "+-" else key, key.startswith("-")) for key in keys)


def _start(table: FeatureTable, offset: int, token: str | None) -> int:
    if token is not None:
        return table.version.start_of(token)
    if isinstance(offset, bool) or offset < 0:
        raise InvalidParameter(f"offset is {offset!r}; expected 0 or more.", field="offset")
    return offset


def _check_limit(limit: int, most: int | None = MAX_FEATURES) -> None:
    if isinstance(limit, bool) or limit < 1:
        raise InvalidParameter(f"limit is {limit!r}; expected 1 or more.", field="limit")
    if most is not None and limit > most:
        raise LimitExceeded(
            f"limit is {limit:,}; the most is {most:,}.", hint="Take page after page, by `next`.", field="limit"
        )


def _checked_columns(table: FeatureTable, columns: Sequence[str] | None) -> tuple[str, ...]:
    """Return the attributes to return.

    Raises:
        InvalidParameter: There is no column of some name.
    """
    if columns is None:
        return table.attributes
    for name in columns:
        if name not in table.attributes:
            raise InvalidParameter(
                f"There is no column '{name[:60]}'.", hint=did_you_mean(name, table.attributes), field="columns"
            )
    return tuple(dict.fromkeys(columns))


def _check_count(count: int, found: FoundAsset) -> None:
    if count > MAX_FEATURES:
        raise LimitExceeded(
            f"{count:,} features of {found.source} were asked for; the limit is {MAX_FEATURES:,}.",
            hint=f"Give a smaller bbox, or limit={MAX_FEATURES} or less.",
            field="limit",
        )


def _around(lon: float, lat: float, tolerance_deg: float) -> list[BBox]:
    south, north = max(-90.0, lat - tolerance_deg), min(90.0, lat + tolerance_deg)
    west, east = wrap_longitude(lon - tolerance_deg), wrap_longitude(lon + tolerance_deg)
    if abs(lon) == 180 and tolerance_deg == 0:
        return [BBox(180.0, south, 180.0, north), BBox(-180.0, south, -180.0, north)]
    return BBox(west, south, east, north).parts()
