"""Features added to those that an item has: whether their columns fit, and what both tables are together."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from geoetl.core.errors import Conflict, InvalidParameter
from geoetl.core.findings import Finding, Severity
from geoetl.ingest.vector.columns import type_name
from geoetl.store.gate import Gate, VectorQuestion
from geoetl.store.zones import StoredObject, Zone


def data_of(item: Mapping[str, Any], zone: Zone) -> StoredObject:
    """Return the GeoParquet that an item of ours has.

    Raises:
        Conflict: The item is of another kind, or its data lie elsewhere.
    """
    asset = item["assets"].get("data", {})
    href = str(asset.get("href", ""))
    root = zone.href("a").removesuffix("a")
    if not href.startswith(root) or "parquet" not in str(asset.get("type", "")):
        raise Conflict(
            f"The item '{item['id']}' has no features that others could be added to.",
            hint="Take another item, or mode=replace.",
            field="item",
        )
    checksum = str(asset.get("file:checksum", ""))[-64:]
    return StoredObject(
        zone=zone.name, key=href.removeprefix(root), sha256=checksum, bytes=int(asset.get("file:size", 0))
    )


def common_schema(present: pa.Schema, added: pa.Schema) -> tuple[pa.Schema, list[Finding]]:
    """Return the columns of both, in the order of those that are there, and what differs.

    Numbers become as wide as the wider; a column that one of both lacks is empty there.

    Raises:
        InvalidParameter: A column is of another kind in each; the message names all of them.
    """
    fields: list[pa.Field] = []
    clashes: list[str] = []
    widened: list[str] = []
    for field in present:
        if field.name not in added.names:
            fields.append(field)
            continue
        other = added.field(field.name)
        both = _common_type(field.type, other.type)
        if both is None:
            clashes.append(f"{field.name} ({type_name(field.type)}, now {type_name(other.type)})")
            continue
        if both != field.type or both != other.type:
            widened.append(f"{field.name} ({type_name(field.type)} and {type_name(other.type)})")
        fields.append(pa.field(field.name, both))
    if clashes:
        raise InvalidParameter(
            f"The features do not fit to those that are there: {', '.join(clashes)}.",
            hint="Give these columns the types that the item has, or ingest with mode=replace.",
            field="mode",
        )
    new = [field for field in added if field.name not in present.names]
    gone = [name for name in present.names if name not in added.names]
    sentences = {
        "columns_added": ("New columns, empty for the features that are there", [field.name for field in new]),
        "columns_missing": ("Columns that the added features lack, empty for them", gone),
        "columns_widened": ("Columns of different width, kept as the wider", widened),
    }
    findings = [
        Finding(severity=Severity.WARNING, code=code, message=f"{sentence}: {', '.join(names)}.")
        for code, (sentence, names) in sentences.items()
        if names
    ]
    return pa.schema([*fields, *new]), findings


def _common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the type that holds both without loss of kind; None where there is none."""
    if one == other:
        return one
    try:
        schemas = [pa.schema([pa.field("both", kind)]) for kind in (one, other)]
        return pa.unify_schemas(schemas, promote_options="permissive").field("both").type
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None


def present_schema(gate: Gate, path: Path) -> pa.Schema:
    """Return the attributes of the features that are there."""
    with gate.open_vector(path, VectorQuestion()) as source:
        return pa.schema([field for field in source.schema if field.name != source.geometry])


def present_batches(gate: Gate, path: Path) -> "Iterator[tuple[pa.RecordBatch, NDArray[Any]]]":
    """Read the features that are there: attributes, and geometries in degrees."""
    with gate.open_vector(path, VectorQuestion()) as source:
        names = [field.name for field in source.schema if field.name != source.geometry]
        for batch in source.batches:
            geometry = np.asarray(batch.column(source.geometry), object)
            yield batch.select(names), shapely.from_wkb(geometry)


def fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return rows with the columns of a schema; those that they lack are empty."""
    columns = [
        batch.column(field.name).cast(field.type)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    if not columns:
        return pa.RecordBatch.from_pylist([{}] * batch.num_rows, schema=schema)
    return pa.RecordBatch.from_arrays(columns, schema=schema)
