"""What the catalogue on PostgreSQL needs beside pgSTAC's own schema (which `Database.upgrade` brings first).

The functions answer as their namesakes in geoetl.store.catalog.functions do: NULL where there is nothing to say, never
an error, because an error would end the whole search.
"""

import json
import secrets
import sys
import unicodedata

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SCHEMA = (
    "create schema if not exists geoetl",
    """
    create table geoetl.catalog_state (
        singleton integer primary key check (singleton = 1),
        version bigint not null,
        secret bytea not null
    )
    """,
    "grant usage on schema geoetl to pgstac_read",
    "grant select on geoetl.catalog_state to pgstac_read",
    "grant update on geoetl.catalog_state to pgstac_ingest",
)

# What another client of pgSTAC wrote has no document of ours.  The body is a text, so that it does not keep pgSTAC from
# replacing its own function.
_DOCUMENTS = (
    """
    create function geoetl.hydrated(of_collection text, of_id text) returns text
    language sql stable set search_path to pgstac, public as $body$
    select content_hydrate(i)::text from items i where i.collection = of_collection and i.id = of_id
    $body$
    """,
)

# RFC 3339, or a date as its first moment; digits beyond the microsecond are cut, not rounded.
_TIME = (
    r"""
    create function geoetl.instant(given text) returns timestamptz
    language plpgsql immutable strict parallel safe as $body$
    declare
        parts text[];
        n integer[];
        days integer;
        zone interval := '0';
    begin
        if length(given) = 10 then
            given := given || 'T00:00:00Z';
        end if;
        parts := regexp_match(given, '^([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})'
            '(?:\.([0-9]+))?([Zz]|[+-][0-9]{2}:[0-9]{2})$');
        if parts is null then
            return null;
        end if;
        n := parts[1:6]::integer[];
        days := case
            when n[2] in (4, 6, 9, 11) then 30
            when n[2] <> 2 then 31
            when n[1] % 4 = 0 and (n[1] % 100 <> 0 or n[1] % 400 = 0) then 29
            else 28
        end;
        if n[1] = 0 or n[2] not between 1 and 12 or n[3] not between 1 and days
            or n[4] > 23 or n[5] > 59 or n[6] > 59
        then
            return null;
        end if;
        if length(parts[8]) > 1 then
            zone := make_interval(hours => substr(parts[8], 2, 2)::integer, mins => substr(parts[8], 5, 2)::integer);
            if zone >= '24 hours' then
                return null;
            end if;
            zone := case when parts[8] like '-%' then -zone else zone end;
        end if;
        return (
            make_timestamp(n[1], n[2], n[3], n[4], n[5], n[6])
            + make_interval(secs => rpad(left(coalesce(parts[7], ''), 6), 6, '0')::integer / 1e6)
            - zone
        ) at time zone 'UTC';
    end
    $body$
    """,
)

# CQL2 has one kind of number.  Integers of 64 bits are exact; everything else is what doubles make of it.
_LARGEST, _SMALLEST = "1.797693134862315807e308", "4e-324"
_NUMBERS = (
    f"""
    create function geoetl.as_double(n numeric) returns float8
    language sql immutable strict parallel safe
    return case
        when abs(n) > {_LARGEST} then sign(n) * 'Infinity'::float8
        when abs(n) < {_SMALLEST} then 0
        else n::float8
    end
    """,
    """
    create function geoetl.as_number(x float8) returns numeric
    language sql immutable strict parallel safe
    return nullif(x, 'NaN')::text::numeric
    """,
    # `exact` is the result without rounding, which says whether doubles would overflow.
    *(
        f"""
        create function geoetl.{name}(a numeric, b numeric) returns numeric
        language sql immutable strict parallel safe
        return case
            when {unknown} or {exact} = 'NaN' then null
            when {whole} and {exact} between -9223372036854775808 and 9223372036854775807 then {exact}
            when abs({exact}) > {_LARGEST} then sign({exact}) * 'Infinity'::numeric
            when abs({exact}) < {_SMALLEST} then 0
            else geoetl.as_number(geoetl.as_double(a) {operator} geoetl.as_double(b))
        end
        """
        for name, operator, exact, whole, unknown in (
            ("plus", "+", "(a + b)", "scale(a) = 0 and scale(b) = 0", "false"),
            ("minus", "-", "(a - b)", "scale(a) = 0 and scale(b) = 0", "false"),
            ("times", "*", "(a * b)", "scale(a) = 0 and scale(b) = 0", "false"),
            ("divide", "/", "(a / nullif(b, 0))", "false", "b = 0"),
        )
    ),
    f"""
    create function geoetl.div(a numeric, b numeric) returns numeric
    language sql immutable strict parallel safe
    return case
        when b = 0 or abs(a / nullif(b, 0)) > {_LARGEST} then null
        when abs(a / nullif(b, 0)) < {_SMALLEST} then 0
        else geoetl.as_number(trunc(geoetl.as_double(a) / geoetl.as_double(b)))
    end
    """,
    # A double is a multiple of a power of two, and 2 ^ -n = 5 ^ n / 10 ^ n (IEEE 754, binary64).
    """
    create function geoetl.exactly(x float8) returns numeric
    language plpgsql immutable strict parallel safe as $body$
    declare
        bits bigint := ('x' || encode(float8send(abs(x)), 'hex'))::bit(64)::bigint;
        exponent integer := greatest((bits >> 52)::integer, 1) - 1075;
        whole numeric := (bits & 4503599627370495) + case when bits >> 52 > 0 then 4503599627370496 else 0 end;
    begin
        if exponent >= 0 then
            return sign(x)::numeric * whole * 2::numeric ^ exponent;
        end if;
        return sign(x)::numeric * whole * 5::numeric ^ (-exponent) * ('1e' || exponent)::numeric;
    end
    $body$
    """,
    # The rest of two doubles is a double: nothing is rounded.
    """
    create function geoetl.modulo(a numeric, b numeric) returns numeric
    language sql immutable strict parallel safe
    return case
        when b = 0 or abs(a) = 'Infinity' then null
        when abs(b) = 'Infinity' then a
        when scale(a) = 0 and scale(b) = 0 and greatest(abs(a), abs(b)) < 9007199254740992 then mod(a, b)
        else geoetl.as_number(mod(geoetl.exactly(geoetl.as_double(a)), geoetl.exactly(geoetl.as_double(b)))::float8)
    end
    """,
    """
    create function geoetl.power(a numeric, b numeric) returns numeric
    language plpgsql immutable strict as $body$
    declare
        base float8 := geoetl.as_double(a);
        exponent float8 := geoetl.as_double(b);
        result float8;
    begin
        result := base ^ exponent;
        return case when abs(result) < 'Infinity' then geoetl.as_number(result) end;
    exception
        when invalid_argument_for_power_function then
            return null;
        when numeric_value_out_of_range then
            return case when (abs(base) < 1) = (exponent > 0) then 0 end;
    end
    $body$
    """,
)

# A predicate that cannot be told of two shapes (some collections, rings that cross themselves) is unknown.
# A collection means the union of its parts, as GEOS takes it from version 3.13 on.
# PostGIS looks for points in polygons without GEOS, and takes one within rounding of an edge for one on it; by way of
# ST_Disjoint and ST_Relate, GEOS decides as it does on SQLite.
_SHAPES = (
    """
    create function geoetl.has_points(shape geometry) returns boolean
    language sql immutable parallel safe
    return geometrytype(shape) in ('POINT', 'MULTIPOINT')
    """,
    """
    create function geoetl.intersects(a geometry, b geometry) returns boolean
    language sql immutable parallel safe
    return case
        when geoetl.has_points(a) or geoetl.has_points(b) then not st_disjoint(a, b)
        else st_intersects(a, b)
    end
    """,
    """
    create function geoetl.spatial(name text, a geometry, b geometry) returns boolean
    language plpgsql immutable strict as $body$
    begin
        if geometrytype(a) = 'GEOMETRYCOLLECTION' then
            a := st_unaryunion(a);
        end if;
        if geometrytype(b) = 'GEOMETRYCOLLECTION' then
            b := st_unaryunion(b);
        end if;
        if name in ('s_contains', 's_within') and (geoetl.has_points(a) or geoetl.has_points(b)) then
            return st_relate(a, b, case name when 's_contains' then 'T*****FF*' else 'T*F**F***' end);
        end if;
        case name
            when 's_contains' then return st_contains(a, b);
            when 's_within' then return st_within(a, b);
            when 's_equals' then return st_equals(a, b);
            when 's_touches' then return st_touches(a, b);
            when 's_crosses' then return st_crosses(a, b);
            when 's_overlaps' then return st_overlaps(a, b);
        end case;
    exception
        when internal_error or invalid_parameter_value or feature_not_supported then
            return null;
    end
    $body$
    """,
)


def _letters() -> tuple[str, str]:
    """Return functions that fold letters exactly as Python does, made of Python's own tables."""
    letters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    folded = {letter: letter.casefold() for letter in letters if letter.casefold() != letter}
    ranges: list[list[str]] = []
    for letter in filter(unicodedata.combining, letters):
        if ranges and ord(ranges[-1][1]) == ord(letter) - 1:
            ranges[-1][1] = letter
        else:
            ranges.append([letter, letter])
    accents = "".join(f"{first}-{last}" for first, last in ranges)
    return (
        f"""
        create function geoetl.casei(given text) returns text
        language sql immutable strict parallel safe
        return case
            when octet_length(given) = length(given) then lower(given collate "C")
            else (
                select string_agg(coalesce('{json.dumps(folded)}'::jsonb ->> letter, letter), '' order by place)
                from unnest(string_to_array(given, null)) with ordinality as letters (letter, place)
            )
        end
        """,
        f"""
        create function geoetl.accenti(given text) returns text
        language sql immutable strict parallel safe
        return case
            when octet_length(given) = length(given) then given
            else normalize(regexp_replace(normalize(given, NFD) collate "C", '[{accents}]+', '', 'g'), NFC)
        end
        """,
    )


def upgrade() -> None:
    """Make the functions and tables of geoetl.store.catalog.pgstac."""
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    for statement in (*_SCHEMA, *_DOCUMENTS, *_TIME, *_NUMBERS, *_SHAPES, *_letters()):
        connection.exec_driver_sql(statement.replace("%", "%%"))  # psycopg reads % as a placeholder
    connection.exec_driver_sql(
        "insert into geoetl.catalog_state (singleton, version, secret) values (1, 0, %(secret)s)",
        {"secret": secrets.token_bytes(32)},
    )
