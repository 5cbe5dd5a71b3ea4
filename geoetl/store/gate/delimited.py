"""CSV: tables of text whose rows have a place, as a latitude and a longitude or as WKT.

Which columns hold the place is told by parameters, or by names that leave no doubt. Values keep the type that all rows
of their column share; numbers with leading zeros are codes, and stay text.
"""

import codecs
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import InvalidParameter, LimitExceeded, UnreadableFile, did_you_mean
from geoetl.core.findings import Finding, Severity
from geoetl.core.settings import LimitSettings

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

LATITUDES = frozenset({"lat", "latitude", "decimallatitude", "decimal_latitude"})
LONGITUDES = frozenset({"lon", "long", "lng", "longitude", "decimallongitude", "decimal_longitude"})
WKTS = frozenset({"wkt", "geometry", "geom", "the_geom"})
_DELIMITERS = (",", ";", "\t", "|")
# Enough for the header and some rows.
_SAMPLE_BYTES = 64 * 1024
_BLOCK_BYTES = 8 * 1024**2
_MOST_COLUMNS = 5000
_WKT = r"(?i)^\s*(srid=\d+;)?\s*((multi)?(point|linestring|polygon)|geometrycollection)\b"
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_SRID = r"^\s*(?i:srid)=(\d+);\s*"


@dataclass(frozen=True)
class PlaceColumns:
    """Which columns of a table of text hold the place of a row; empty where that is to be found out.

    Attributes:
        latitude, longitude: In degrees, or y and x of a given CRS.
        wkt: Well-known text.
    """

    latitude: str = ""
    longitude: str = ""
    wkt: str = ""


@dataclass(frozen=True)
class DelimitedTable:
    """A table of text, as far as its beginning and the types of its columns tell.

    Attributes:
        path: The file.
        name: What its user calls it.
        encoding: Of its text.
        delimiter: Between values.
        header: Names of its columns as they stand there.
        places: The columns that hold the place.
        crs: What the place columns say of their reference system; empty where nothing.
        rows: How many.
        schema: Attributes with their types, and last the geometry as WKB, under a name of its own.
        findings: What was noticed.
    """

    path: Path
    name: str
    encoding: str
    delimiter: str
    header: tuple[str, ...]
    places: PlaceColumns
    crs: str
    rows: int
    schema: "pa.Schema"
    findings: tuple[Finding, ...]

    def batches(self) -> "Iterator[pa.RecordBatch]":
        """Read the rows.

        Raises:
            UnreadableFile: A row has another number of values than the header.
        """
        import pyarrow as pa

        kept = [number for number, name in enumerate(self.header) if number not in self._place_numbers]
        for batch in _texts(self.path, self.name, self.encoding, self.delimiter, len(self.header)):
            arrays = [
                _PARSERS[kind](batch.column(number))
                for number, kind in zip(kept, (str(field.type) for field in self.schema), strict=False)
            ]
            yield pa.RecordBatch.from_arrays([*arrays, self._geometry(batch)], schema=self.schema)

    @property
    def geometry(self) -> str:
        """Name of the column of geometries."""
        return str(self.schema.names[-1])

    @property
    def _place_numbers(self) -> tuple[int, ...]:
        named = (self.places.latitude, self.places.longitude, self.places.wkt)
        return tuple(self.header.index(name) for name in named if name)

    def _geometry(self, batch: "pa.RecordBatch") -> "pa.Array":
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc
        import shapely

        if self.places.wkt:
            texts = pc.replace_substring_regex(batch.column(self._place_numbers[0]), _SRID, "")
            shapes = shapely.from_wkt(np.asarray(texts.to_pylist(), object), on_invalid="ignore")
        else:
            latitudes, longitudes = (_numbers(batch.column(number)) for number in self._place_numbers)
            shapes = np.full(len(latitudes), None, object)
            there = np.isfinite(latitudes) & np.isfinite(longitudes)
            shapes[there] = shapely.points(longitudes[there], latitudes[there])
        return pa.array(shapely.to_wkb(np.atleast_1d(shapes)), pa.binary())


def free_name(taken: Sequence[str]) -> str:
    """Return a name for a column of geometries that no other column has."""
    name = "geometry"
    while name in taken:
        name += "_"
    return name


def is_delimited(path: Path) -> bool:
    """Tell whether a file is lines of text, the first of which has several values between delimiters."""
    with path.open("rb") as file:
        head = file.read(_SAMPLE_BYTES)
    if not {10, 13} & set(head) or any(sign < 9 or 13 < sign < 32 for sign in set(head)):
        return False
    lines = _text(head).splitlines()
    return bool(lines) and _delimiter(lines) is not None


def open_delimited(
    path: Path, name: str, wanted: PlaceColumns, limits: LimitSettings, most: int | None = None
) -> DelimitedTable:
    """Look through a table of text: which columns it has, of which types, and which hold the place.

    Args:
        path: The file.
        name: What its user calls it.
        wanted: The columns of the place, as they were given.
        limits: What is refused.
        most: Rows that are looked at; all without.

    Raises:
        UnreadableFile: It has no header, or a row has another number of values.
        InvalidParameter: The columns of the place are not there, not to be told, or no row has a place in them.
        LimitExceeded: More rows than ``limits.vector_features``.
    """
    import pyarrow as pa

    with path.open("rb") as file:
        lines = _text(file.read(_SAMPLE_BYTES)).splitlines()
    delimiter = _delimiter(lines) or ","
    header = tuple(text.strip() for text in next(csv.reader(lines[:1], delimiter=delimiter)))
    if len(header) > _MOST_COLUMNS:
        raise LimitExceeded(
            f"'{name}' has {len(header):,} columns; the limit is {_MOST_COLUMNS:,}.",
            hint="Leave out what is not needed.",
            field="source",
        )
    encoding, findings = _encoding(path, name)
    places, found = _places(header, wanted, name)
    findings += found
    is_wkt = header.index(places.wkt) if places.wkt else None
    pairs = {header.index(column): _NUMBER for column in (places.latitude, places.longitude) if column}
    kinds = {number: list(_PARSERS) for number in range(len(header))}
    seen = _Seen(kinds, {is_wkt: _WKT} if is_wkt is not None else pairs)
    for batch in _texts(path, name, encoding, delimiter, len(header)):
        seen.look(batch, is_wkt)
        if seen.rows > limits.vector_features:
            raise LimitExceeded(
                f"'{name}' has more than {limits.vector_features:,} rows, which is the limit.",
                hint="Split the file, or raise GEOETL_LIMITS__VECTOR_FEATURES.",
                field="source",
            )
        if most is not None and seen.rows >= most:
            break
    if len(seen.srids) > 1:
        raise InvalidParameter(
            f"The column '{places.wkt}' of '{name}' mixes the reference systems {', '.join(sorted(seen.srids))}.",
            hint="Give a file with one of them.",
            field="wkt_column",
        )
    findings += _check_places(seen, header, name)
    place = {places.latitude, places.longitude, places.wkt}
    schema = pa.schema(
        [
            pa.field(column, seen.kind(number))
            for number, column in enumerate(header)
            if column not in place or number != header.index(column)
        ]
        + [pa.field(free_name(header), pa.binary())]
    )
    crs = f"EPSG:{next(iter(seen.srids))}" if seen.srids else ""
    return DelimitedTable(path, name, encoding, delimiter, header, places, crs, seen.rows, schema, tuple(findings))


def _check_places(seen: "_Seen", header: Sequence[str], name: str) -> list[Finding]:
    """Tell which columns of the place have values that are none, or raise where all are."""
    findings = []
    for number, (count, example) in seen.odd.items():
        said = f"values of '{header[number]}' in '{name}' are no place, for example '{example}'."
        is_wkt = seen.patterns[number] == _WKT
        remedy = "Write well-known text as POINT (10.5 47.2)." if is_wkt else "Write degrees with a point, as 10.5."
        if count == seen.filled_rows[number]:
            raise InvalidParameter(f"All {said}", hint=remedy, field="wkt_column" if is_wkt else "lat_name")
        findings.append(
            Finding(
                severity=Severity.INFO,
                code="no_place",
                message=f"{count} {said}",
                subject=name,
                got=example,
                remedy=remedy,
            )
        )
    return findings


@dataclass
class _Seen:
    """What the rows so far allow.

    Attributes:
        kinds: Types that each column may still have.
        patterns: What values of the columns of the place look like.
        rows: How many.
        filled: Columns that have values.
        srids: Reference systems that well-known text names.
        filled_rows: Rows with a value, of the columns of the place.
        odd: Of these columns, how many values are no place, and the first of them.
    """

    kinds: dict[int, list[str]]
    patterns: Mapping[int, str]
    rows: int = 0
    filled: set[int] = field(default_factory=set)
    srids: set[str] = field(default_factory=set)
    filled_rows: dict[int, int] = field(default_factory=dict)
    odd: dict[int, tuple[int, str]] = field(default_factory=dict)

    def look(self, batch: "pa.RecordBatch", wkt: int | None) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self.rows += batch.num_rows
        for number, kinds in self.kinds.items():
            column = batch.column(number)
            if column.null_count < len(column):
                self.filled.add(number)
            if number in self.patterns:
                self._look_at_place(number, column)
            if number == wkt:
                # One without the prefix says nothing, and is no other reference system.
                found = pc.unique(pc.struct_field(pc.extract_regex(column, r"(?i)^\s*srid=(?P<srid>\d+);"), 0))
                self.srids |= {text for text in found.to_pylist() if text}
                continue
            for kind in kinds[:-1]:
                try:
                    _PARSERS[kind](column)
                except pa.ArrowException:
                    kinds.remove(kind)

    def _look_at_place(self, number: int, column: Any) -> None:
        import pyarrow.compute as pc

        self.filled_rows[number] = self.filled_rows.get(number, 0) + len(column) - column.null_count
        odd = column.filter(pc.invert(pc.match_substring_regex(column, self.patterns[number])))
        if len(odd):
            count, example = self.odd.get(number, (0, odd[0].as_py().strip()[:40]))
            self.odd[number] = count + len(odd), example

    def kind(self, number: int) -> "pa.DataType":
        import pyarrow as pa

        kinds: Mapping[str, pa.DataType] = {
            "int64": pa.int64(),
            "double": pa.float64(),
            "bool": pa.bool_(),
            "date32[day]": pa.date32(),
            "timestamp[us]": pa.timestamp("us"),
            "timestamp[us, tz=UTC]": pa.timestamp("us", "UTC"),
            "string": pa.string(),
        }
        return kinds[self.kinds[number][0] if number in self.filled else "string"]


def _parser(pattern: str, convert: "Callable[[Any], Any]") -> "Callable[[Any], Any]":
    """Return a function that converts a column of text all of whose values match a pattern."""

    def parse(column: Any) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        if pc.all(pc.match_substring_regex(column, pattern)).as_py() is False:
            raise pa.ArrowInvalid("another type")
        return convert(column)

    return parse


def _cast(kind: str) -> "Callable[[Any], Any]":
    def convert(column: Any) -> Any:
        import pyarrow as pa

        kinds = {"us": pa.timestamp("us"), "utc": pa.timestamp("us", "UTC"), "bool": pa.bool_()}
        return column.cast(kinds.get(kind) or getattr(pa, kind)())

    return convert


_DAY, _HOUR = r"^\d{4}-\d{2}-\d{2}", r"[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?"
# The narrowest first; the last takes everything. A number that begins with a zero is a code.
_PARSERS: "Mapping[str, Callable[[Any], Any]]" = {
    "int64": _parser(r"^-?(0|[1-9]\d{0,17})$", _cast("int64")),
    "double": _parser(r"^[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?$|^(nan|NaN|-?inf)$", _cast("float64")),
    "bool": _parser(r"^(true|false|True|False|TRUE|FALSE)$", _cast("bool")),
    "date32[day]": _parser(_DAY + "$", _cast("date32")),
    "timestamp[us]": _parser(_DAY + _HOUR + "$", _cast("us")),
    "timestamp[us, tz=UTC]": _parser(_DAY + _HOUR + r"(Z|[+-]\d{2}:?\d{2})$", _cast("utc")),
    "string": lambda column: column,
}


def _texts(path: Path, name: str, encoding: str, delimiter: str, columns: int) -> "Iterator[pa.RecordBatch]":
    """Read all values as text; what is empty is missing."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = [str(number) for number in range(columns)]
    try:
        with arrow_csv.open_csv(
            path,
            read_options=arrow_csv.ReadOptions(
                column_names=names, skip_rows=1, encoding=encoding, block_size=_BLOCK_BYTES, use_threads=False
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        ) as reader:
            last = None
            for last in reader:
                yield last
            if last is not None and _is_unclosed(last, path):
                raise UnreadableFile(
                    f"The last value of '{name}' begins with a double quote that is never closed.",
                    hint="Close it; everything behind it was taken for one value.",
                    field="source",
                )
    except (pa.ArrowException, UnicodeDecodeError) as error:
        if "Empty CSV" in str(error):
            return  # a header, and no rows
        said = (str(error).splitlines() or [""])[0][:120].replace(str(path.parent), "")
        raise UnreadableFile(
            f"'{name}' is no regular table: {said}.",
            hint="Each row needs as many values as the header; put values with delimiters in double quotes.",
            field="source",
        ) from None


def _is_unclosed(last: "pa.RecordBatch", path: Path) -> bool:
    """Tell whether the last value goes on to the end of the file, because its quote is not closed there."""
    value = last.column(last.num_columns - 1)[-1].as_py() if last.num_rows else None
    if value is None or not {"\n", "\r"} & set(value):
        return False
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, 64), 2)
        return not file.read().rstrip().endswith(b'"')


def _numbers(column: Any) -> "NDArray[np.float64]":
    """Return numbers, NaN for what is none: array (row)."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = pc.utf8_trim_whitespace(column)
    is_number = pc.match_substring_regex(plain, _NUMBER)
    numbers = pc.if_else(is_number, plain, None).cast(pa.float64())
    return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)


def _text(head: bytes) -> str:
    """Return the beginning of a file as text; of what is cut off at its end nothing."""
    plain = head.removeprefix(codecs.BOM_UTF8)
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(plain)
    except UnicodeDecodeError:
        return plain.decode("cp1252", "replace")


def _delimiter(lines: list[str]) -> str | None:
    counts = {sign: len(next(csv.reader(lines[:1], delimiter=sign))) for sign in _DELIMITERS}
    best = max(counts, key=lambda sign: counts[sign])
    return best if counts[best] > 1 else None


def _encoding(path: Path, name: str) -> tuple[str, list[Finding]]:
    """Return the encoding by trying: UTF-8 decodes nothing else by accident."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                decoder.decode(block)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        finding = Finding(
            severity=Severity.INFO,
            code="encoding_detected",
            message="The table is not in UTF-8; its text was read as CP1252.",
            subject=name,
            got="CP1252",
        )
        return "cp1252", [finding]
    return "utf-8", []


def _places(header: tuple[str, ...], wanted: PlaceColumns, name: str) -> tuple[PlaceColumns, list[Finding]]:
    """Return the columns of the place, as given or by their names where these leave no doubt."""
    if wanted != PlaceColumns():
        _check_wanted(header, wanted, name)
        return wanted, []

    def named(usual: frozenset[str]) -> list[str]:
        return [column for column in header if column.lower() in usual]

    latitudes, longitudes, wkts = named(LATITUDES), named(LONGITUDES), named(WKTS)
    is_point = len(latitudes) == 1 and len(longitudes) == 1
    if is_point and not wkts:
        found = PlaceColumns(latitude=latitudes[0], longitude=longitudes[0])
        said = f"'{latitudes[0]}' as latitude and '{longitudes[0]}' as longitude"
    elif len(wkts) == 1 and not latitudes and not longitudes:
        found, said = PlaceColumns(wkt=wkts[0]), f"'{wkts[0]}' as well-known text"
    else:
        candidates = [*latitudes, *longitudes, *wkts]
        raise InvalidParameter(
            f"'{name}' has several columns that may hold the place: {', '.join(candidates)}."
            if candidates
            else f"'{name}' does not say which of its columns hold the place: {', '.join(header[:20])}.",
            hint="Name them with the parameters lat_name and lon_name, or wkt_column.",
            field="wkt_column" if wkts else "lat_name",
        )
    finding = Finding(
        severity=Severity.INFO,
        code="place_columns",
        message=f"The place was read from {said}.",
        subject=name,
        remedy="Give lat_name and lon_name, or wkt_column, if others are meant.",
    )
    return found, [finding]


def _check_wanted(header: tuple[str, ...], wanted: PlaceColumns, name: str) -> None:
    given = {"lat_name": wanted.latitude, "lon_name": wanted.longitude, "wkt_column": wanted.wkt}
    if bool(wanted.latitude) != bool(wanted.longitude) or (wanted.wkt and wanted.latitude):
        raise InvalidParameter(
            "The place of a row is either lat_name with lon_name, or wkt_column.",
            hint="Give both lat_name and lon_name, or wkt_column alone.",
            field="lat_name" if not wanted.latitude else "lon_name",
        )
    for parameter, column in given.items():
        if column and column not in header:
            raise InvalidParameter(
                f"'{name}' has no column '{column[:60]}'.", hint=did_you_mean(column, header), field=parameter
            )
