"""Statistics of regions and fields over them as files that say what is in them: CSV, Parquet and NetCDF."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.table_export import (
    NO_DATE,
    Axis,
    csv_text,
    encoded,
    known,
    parquet_bytes,
    sel_text,
    statistic_text,
    with_times,
)

if TYPE_CHECKING:
    import pandas as pd

    from geoetl.access.aggregate import FieldAggregate
    from geoetl.access.statistics import RegionalSeries
    from geoetl.core.spatial import BBox

# Statistics of a series, as its attributes and the columns are called.
STATISTICS = ("mean", "min", "max", "std", "median", "sum", "data_share")


def series_table(series: "RegionalSeries") -> "pd.DataFrame":
    """Return a row for each period, with all that is said about it.

    Columns: place, west, south, east, north, collection, item, asset, variable, sel, time (the period), start, end,
    calendar, steps, the statistics, count, units, statistic (over time), method, weighting, dataset_version.
    """
    import pandas as pd

    numbers: dict[str, Any] = {name: np.array(getattr(series, name), dtype=float) for name in STATISTICS}
    if series.percentiles:
        numbers[f"p{series.percentile:g}"] = np.array(series.percentiles, dtype=float)
    is_dated = series.time_range is not None
    columns: dict[str, Any] = {
        **_whose(series, series.bbox),
        "time": series.periods if is_dated else None,
        "start": series.starts if is_dated else None,
        "end": series.ends if is_dated else None,
        "calendar": series.calendar,
        "steps": series.steps,
        **numbers,
        "count": series.count,
        "units": series.units,
        "statistic": statistic_text(series.statistic, series.percentile),
        "method": series.method,
        "weighting": series.weighting,
        "dataset_version": series.source.dataset_version,
    }
    return pd.DataFrame(columns, index=range(len(series.periods)))


def field_table(field: "FieldAggregate") -> "pd.DataFrame":
    """Return a row for each cell, with all that is said about it.

    Columns: place, west, south, east, north, collection, item, asset, variable, sel, lon, lat, value, units, statistic,
    time (the range), calendar, method, weighting, dataset_version.
    """
    import pandas as pd

    cells = field.to_dataframe()
    columns: dict[str, Any] = {
        **_whose(field, field.bbox),
        "lon": cells["lon"],
        "lat": cells["lat"],
        "value": cells[field.variable],
        "units": field.units,
        "statistic": statistic_text(field.aggregation, field.percentile),
        "time": field.time_text,
        "calendar": field.calendar,
        "method": field.method,
        "weighting": field.weighting,
        "dataset_version": field.source.dataset_version,
    }
    return pd.DataFrame(columns, index=cells.index)


def _whose(answer: "RegionalSeries | FieldAggregate", box: "BBox") -> dict[str, Any]:
    source = answer.source
    return {
        "place": answer.region_name,
        **{name: getattr(box, name) for name in ("west", "south", "east", "north")},
        "collection": source.collection,
        "item": source.item,
        "asset": source.asset,
        "variable": answer.variable,
        "sel": sel_text(answer.sel),
    }


def series_file(series: "RegionalSeries", format: str) -> bytes:
    """Return a series as ``csv``, ``parquet`` or ``netcdf``."""
    if format == "netcdf":
        return _series_netcdf(series)
    table = series_table(series)
    return csv_text(table).encode() if format == "csv" else parquet_bytes(table, series.about())


def field_file(field: "FieldAggregate", format: str) -> bytes:
    """Return a field as ``csv``, ``parquet`` or ``netcdf``."""
    if format == "netcdf":
        dataset = field.to_xarray().to_dataset()
        dataset.attrs = _about(field, field.title)
        return encoded(dataset, field.variable)
    table = field_table(field)
    return csv_text(table).encode() if format == "csv" else parquet_bytes(table, field.about())


def _series_netcdf(series: "RegionalSeries") -> bytes:
    import xarray as xr

    along = "time" if series.calendar is not None else "step"
    # A CF coordinate is never missing.
    dated = [row for row, start in enumerate(series.starts) if start != NO_DATE]
    columns = {name: getattr(series, name) for name in STATISTICS}
    if series.percentiles:
        columns["percentile"] = series.percentiles
    dataset = xr.Dataset(attrs=_about(series, series.title))
    for name, values in columns.items():
        units = "1" if name == "data_share" else series.units
        said = known({"long_name": f"{name.replace('_', ' ')} over the region", "units": units})
        dataset[name] = (along, np.array(values, dtype=float)[dated], said)
    for name, counted in (("count", series.count), ("steps", series.steps)):
        said = {"long_name": {"count": "cells with data", "steps": "steps of the period"}[name], "units": "1"}
        dataset[name] = (along, np.array(counted, dtype=np.int64)[dated], said)
    periods, starts, ends = ([texts[row] for row in dated] for texts in (series.periods, series.starts, series.ends))
    is_grouped = series.resolution != "none"
    labels = periods if series.time_range is not None else ()
    axis = Axis(labels, series.calendar, starts if is_grouped else (), ends if is_grouped else (), (), ())
    return encoded(with_times(dataset, axis, along), *columns)


def _about(answer: "RegionalSeries | FieldAggregate", title: str) -> dict[str, Any]:
    """Return the attributes of a file (CF conventions 1.11; extents as in ACDD 1.3)."""
    said = {**answer.about(), "sel": sel_text(answer.sel)}
    box = answer.bbox
    return {
        "Conventions": "CF-1.11, ACDD-1.3",
        "title": title,
        "history": f"made by geoetl {version('geoetl')}",
        "geospatial_lon_min": box.west,
        "geospatial_lon_max": box.east,
        "geospatial_lat_min": box.south,
        "geospatial_lat_max": box.north,
        **{f"geoetl_{name}": value for name, value in known(said).items()},
    }
