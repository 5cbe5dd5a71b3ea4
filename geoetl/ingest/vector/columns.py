"""Names and types of attributes: unique, and such that SQL, Parquet, JSON and STAC all take them."""

import re
from collections.abc import Iterable, Sequence

import pyarrow as pa

from geoetl.core.findings import Finding, Severity
from geoetl.ingest.vector.result import Column

GEOMETRY, BBOX = "geometry", "bbox"
# Names that the result gives to columns of its own.
_RESERVED = frozenset({GEOMETRY, BBOX})
# Columns that GDAL makes for every KML, and the one value that says nothing.
KML_COLUMNS = frozenset(
    {"id", "description", "timestamp", "begin", "end", "altitudeMode", "tessellate", "extrude", "visibility"}
    | {"drawOrder", "icon", "Name", "snippet", "phoneNumber", "address"}
)
_KML_DEFAULTS: dict[str, int] = {"tessellate": -1, "extrude": 0, "visibility": -1}
_NAMED = 20


def unique_names(names: Sequence[str]) -> list[str]:
    """Return a name for each column that differs from all others by more than case."""
    taken = set(_RESERVED)
    found = []
    for name in names:
        clean = re.sub(r"\W+", "_", name).strip("_") or "column"
        unique, number = clean, 2
        while unique.lower() in taken:
            unique, number = f"{clean}_{number}", number + 1
        taken.add(unique.lower())
        found.append(unique)
    return found


def renamed(columns: Iterable[Column]) -> list[Finding]:
    """Return the finding that tells which columns got another name; none where all kept theirs."""
    changed = [column for column in columns if column.source_name is not None]
    if not changed:
        return []
    shown = ", ".join(f"{column.source_name} to {column.name}" for column in changed[:_NAMED])
    more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
    return [
        Finding(
            severity=Severity.INFO,
            code="renamed_columns",
            message=f"{len(changed)} columns were renamed: {shown}{more}.",
        )
    ]


def type_name(kind: pa.DataType) -> str:
    """Return what STAC's table extension calls a type."""
    if pa.types.is_dictionary(kind):
        return type_name(kind.value_type)
    tests = (
        (pa.types.is_boolean, "bool"),
        (pa.types.is_timestamp, "datetime"),
        (pa.types.is_date, "date"),
        (pa.types.is_time, "time"),
        (pa.types.is_decimal, "decimal"),
        (pa.types.is_nested, "struct" if pa.types.is_struct(kind) or pa.types.is_map(kind) else "list"),
        (pa.types.is_floating, {"halffloat": "float16", "float": "float32"}.get(str(kind), "float64")),
        (pa.types.is_integer, str(kind)),
    )
    for test, name in tests:
        if test(kind):
            return name
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return "binary" if is_bytes else "string"


def says_something(name: str, column: pa.Array) -> bool:
    """Tell whether a column that every KML has holds anything but nothing."""
    import pyarrow.compute as pc

    if column.null_count == len(column):
        return False
    nothing = _KML_DEFAULTS.get(name)
    return nothing is None or bool(pc.any(pc.not_equal(column, nothing)).as_py())
