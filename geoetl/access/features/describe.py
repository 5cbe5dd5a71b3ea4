"""What there is to know about the features of an item: properties, number, place and time."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from geoetl.access.features.place import crs_name
from geoetl.access.features.table import FeatureTable, FeatureTables
from geoetl.access.features.values import is_sortable, plain_column, schema_of
from geoetl.access.items import FoundAsset
from geoetl.access.result import Result, Source
from geoetl.core.html import facts, heading
from geoetl.core.html import table as html_table


class FeatureProperty(Result):
    """One property of features.

    Attributes:
        name: Its name.
        values: JSON Schema of its values, with what the item says about the column.
        sortable: Whether features can be sorted by it.
    """

    name: str
    values: dict[str, Any]
    sortable: bool


class FeatureDescription(Result):
    """The features of an item.

    Attributes:
        source: Where they are.
        count: How many there are.
        crs: Reference system of the file: ``OGC:CRS84``, ``EPSG:…`` or WKT.
        geometry: Name of the geometry column.
        geometry_types: Types of the geometries, as the file says them; empty where it does not.
        properties: What each has, besides its geometry.
        id_property: The property that has their ids; None where rows are numbered, from 0.
        time_properties: The properties that their time begins and ends in.
        time_range: The first and the last time among them, ISO 8601.
    """

    source: Source
    count: int
    crs: str
    geometry: str
    geometry_types: tuple[str, ...] = ()
    properties: tuple[FeatureProperty, ...]
    id_property: str | None
    time_properties: tuple[str, str] | None
    time_range: tuple[str, str] | None

    def _repr_html_(self) -> str:
        rows = [(one.name, one.values.get("format", one.values["type"])) for one in self.properties]
        ids = self.id_property or "row numbers, from 0"
        about = facts([("CRS", self.crs[:60]), ("Ids", ids), ("Times", " to ".join(self.time_range or ()))])
        return heading(str(self.source), f"{self.count:,} features") + about + html_table(["property", "type"], rows)


def describe(
    tables: FeatureTables, table: FeatureTable, found: FoundAsset, id_property: str | None
) -> FeatureDescription:
    """Return the description of a table; its columns of time are read, nothing else."""
    said: Mapping[str, Any] = {
        str(column["name"]): column.get("description")
        for column in found.properties.get("table:columns") or ()
        if isinstance(column, Mapping) and "name" in column
    }
    properties = []
    for name in table.attributes:
        kind = table.schema.field(name).type
        values = {"title": name, **schema_of(kind)}
        if isinstance(said.get(name), str):
            values["description"] = said[name]
        properties.append(FeatureProperty(name=name, values=values, sortable=is_sortable(kind)))
    return FeatureDescription(
        source=found.source,
        count=table.row_count,
        crs=crs_name(table),
        geometry=table.geometry,
        geometry_types=table.geometry_types,
        properties=tuple(properties),
        id_property=id_property,
        time_properties=table.times,
        time_range=_time_range(tables, table),
    )


def _time_range(tables: FeatureTables, table: FeatureTable) -> tuple[str, str] | None:
    if table.times is None:
        return None
    begins, ends = table.times
    columns = tables.columns(table, [begins, ends], range(len(table.rows)))
    range_of = [pa.repeat(end, 1) for end in (pc.min(columns[begins]), pc.max(columns[ends]))]
    first, last = (plain_column(pa.chunked_array([one]))[0] for one in range_of)
    return None if first is None or last is None else (str(first), str(last))
