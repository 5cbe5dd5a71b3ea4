"""Series as files that say what is in them: CSV and Parquet with a row for each value, NetCDF as CF time series.

Every row, and the metadata of Parquet and NetCDF, hold place, coordinates, variable, units, calendar, dataset version,
method and weighting. Source of the NetCDF form: CF conventions 1.11, chapter 9 and appendix H.2 (time series).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.time_axis import Calendar

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from numpy.typing import NDArray

    from geoetl.access.series import Series

# Of a Parquet file's metadata, under which it is told what is true of all rows.
PARQUET_KEY = b"geoetl"
# How a missing time is written.
NO_DATE = "NaT"
_DATE = re.compile(r"(-?\d+)-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d))?", re.ASCII)
# Within these years a date can be what CF units count from in every library.
_REFERENCE_YEARS = range(1, 10_000)


def written[C: (str, bytes)](content: C, path: str | Path | None) -> C | None:
    """Write content to a file, or return it where there is no path."""
    if path is None:
        return content
    Path(path).write_bytes(content.encode() if isinstance(content, str) else content)
    return None


def sel_text(sel: Mapping[str, str | float | int]) -> str | None:
    """Return the values of extra dimensions as one text: ``plev=85000; member=r1i1p1f1``."""
    return "; ".join(f"{name}={value}" for name, value in sel.items()) or None


def series_table(series: "Series") -> "pd.DataFrame":
    """Return a series with all that is said about it, a row for each value.

    Columns: place, lon, lat (asked for), cell_lon, cell_lat, distance_km, collection, item, asset, variable, sel, time
    (ISO 8601 in the calendar, or the period), calendar; of periods start, end, count, first_index and last_index, else
    time_index; value, units, statistic (of periods), method, weighting, dataset_version.
    """
    import pandas as pd

    grouped = {
        "start": series.starts,
        "end": series.ends,
        "count": series.counts,
        "first_index": series.first_index,
        "last_index": series.last_index,
    }
    rows = len(series.values)
    columns: dict[str, Any] = {
        "place": series.location_name,
        "lon": series.location.lon,
        "lat": series.location.lat,
        "cell_lon": series.cell.lon,
        "cell_lat": series.cell.lat,
        "distance_km": series.distance_km,
        "collection": series.source.collection,
        "item": series.source.item,
        "asset": series.source.asset,
        "variable": series.variable,
        "sel": sel_text(series.sel),
        "time": series.times or (None,) * rows,
        "calendar": series.calendar,
        **(grouped if series.is_grouped else {"time_index": series.first_index}),
        "value": np.array(series.values, dtype=float),
        "units": series.units,
        **({"statistic": statistic_text(series.statistic, series.percentile)} if series.is_grouped else {}),
        "method": series.method,
        "weighting": series.weighting,
        "dataset_version": series.source.dataset_version,
    }
    return pd.DataFrame(columns, index=range(rows))


def statistic_text(statistic: str, percentile: float | None) -> str:
    """Return a statistic as one word: ``percentile 90``."""
    return f"percentile {percentile:g}" if statistic == "percentile" else statistic


def about_series(series: "Series") -> dict[str, Any]:
    """Return what is true of all values of a series."""
    left_out = {"values", "times", "starts", "ends", "first_index", "last_index", "counts"}
    return series.model_dump(mode="json", exclude=left_out)


def csv_text(table: "pd.DataFrame") -> str:
    """Return a table as CSV (RFC 4180): a header, no index, an empty field for what is not there."""
    return table.to_csv(index=False, lineterminator="\r\n")


def parquet_bytes(table: "pd.DataFrame", about: Mapping[str, Any]) -> bytes:
    """Return a table as Parquet; `about` is JSON under the key ``geoetl`` of the file's metadata."""
    import io
    import json

    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    # A column without any value would be one of nulls, which few programs read.
    columns = [
        pa.array(values, None if pd.api.types.is_numeric_dtype(values) else pa.string(), from_pandas=True)
        for _, values in table.items()
    ]
    said = {PARQUET_KEY: json.dumps(dict(about), allow_nan=False).encode()}
    made = pa.Table.from_arrays(columns, names=list(table.columns)).replace_schema_metadata(said)
    buffer = io.BytesIO()
    pq.write_table(made, buffer, compression="zstd")
    return buffer.getvalue()


def series_file(series: "Series", format: str) -> bytes:
    """Return a series as ``csv``, ``parquet`` or ``netcdf``."""
    if format == "netcdf":
        return series_netcdf(series)
    table = series_table(series)
    return csv_text(table).encode() if format == "csv" else parquet_bytes(table, about_series(series))


@dataclass(frozen=True, eq=False)
class Stations:
    """Values at places over the same times: array (place, row).

    Attributes:
        values: NaN = no data.
        names: Of each place.
        lon: Longitude of each place that was asked for.
        lat: Its latitude.
        cell_lon: Longitude of the centre of the cell that was read.
        cell_lat: Its latitude.
    """

    values: "NDArray[np.float64]"
    names: Sequence[str]
    lon: Sequence[float]
    lat: Sequence[float]
    cell_lon: Sequence[float]
    cell_lat: Sequence[float]


@dataclass(frozen=True)
class Axis:
    """The rows of a series.

    Attributes:
        times: Of steps, or labels of periods; empty without time.
        calendar: CF calendar; None for labels.
        starts: First day of each period; empty for steps.
        ends: Last day of each period; empty for steps.
        first_index: Of the step of each row, or of the first of its period, from 1.
        last_index: Of the last.
    """

    times: Sequence[str]
    calendar: str | None
    starts: Sequence[str]
    ends: Sequence[str]
    first_index: Sequence[int]
    last_index: Sequence[int]

    def taken(self, rows: "NDArray[np.intp]") -> "Axis":
        """Return some of the rows."""
        parts = ([values[row] for row in rows.tolist()] if len(values) else () for values in self._columns)
        times, starts, ends, first, last = parts
        return Axis(times, self.calendar, starts, ends, first, last)

    @property
    def _columns(self) -> "tuple[Sequence[Any], ...]":
        return (self.times, self.starts, self.ends, self.first_index, self.last_index)


def series_netcdf(series: "Series") -> bytes:
    """Return a series as NetCDF-4: one station over time."""
    stations = Stations(
        np.array([series.values], dtype=float),
        [series.location_name or ""],
        [series.location.lon],
        [series.location.lat],
        [series.cell.lon],
        [series.cell.lat],
    )
    axis = Axis(series.times, series.calendar, series.starts, series.ends, series.first_index, series.last_index)
    attributes = {
        "long_name": series.title,
        "standard_name": series.standard_name,
        "units": series.units,
        "cell_methods": series.cell_methods,
    }
    about = {
        **about_series(series)["source"],
        **{key: str(value) for key, value in series.sel.items()},
        "calendar": series.calendar,
        "statistic": statistic_text(series.statistic, series.percentile) if series.is_grouped else None,
        "resolution": series.resolution,
        "method": series.method,
        "weighting": series.weighting,
    }
    return netcdf_bytes(series.variable, stations, axis, attributes, about)


def netcdf_bytes(
    variable: str, stations: Stations, axis: Axis, attributes: Mapping[str, Any], about: Mapping[str, Any]
) -> bytes:
    """Return series as NetCDF-4, a CF ``timeSeries``: variable (station, time).

    Steps whose time is missing are left out, as a CF coordinate is never missing.

    Args:
        variable: Its name.
        stations: The values, and where they are.
        axis: Their times.
        attributes: Of the variable; those that are None are left out.
        about: Of the file.
    """
    import xarray as xr

    along = "time" if axis.calendar is not None else "step"
    dated = np.flatnonzero([text != NO_DATE for text in axis.starts or axis.times or axis.first_index])
    axis = axis.taken(dated)
    dataset = xr.Dataset(
        {
            variable: (
                ("station", along),
                stations.values[:, dated],
                {**known(attributes), "coordinates": "lon lat station_name"},
            ),
            "cell_lon": ("station", np.array(stations.cell_lon), degrees("longitude of the cell's centre", "east")),
            "cell_lat": ("station", np.array(stations.cell_lat), degrees("latitude of the cell's centre", "north")),
            "lon": ("station", np.array(stations.lon), {**degrees("longitude", "east"), "standard_name": "longitude"}),
            "lat": ("station", np.array(stations.lat), {**degrees("latitude", "north"), "standard_name": "latitude"}),
            "station_name": (
                "station",
                np.array(list(stations.names), dtype=object),
                {"long_name": "place", "cf_role": "timeseries_id"},
            ),
        },
        attrs={
            "Conventions": "CF-1.11",
            "featureType": "timeSeries",
            "title": str(attributes.get("long_name") or variable),
            "history": f"made by geoetl {version('geoetl')}",
            **{f"geoetl_{key}": value for key, value in known(about).items()},
        },
    )
    for name, values in (("first_index", axis.first_index), ("last_index", axis.last_index)):
        dataset[name] = (along, np.array(values, dtype=np.int64), {"long_name": f"{name.split('_')[0]} step, from 1"})
    return encoded(with_times(dataset, axis, along), variable)


def with_times(dataset: "xr.Dataset", axis: Axis, along: str) -> "xr.Dataset":
    """Return a dataset with the times of its rows, of periods with their ends too; labels where there are no dates."""
    if axis.calendar is None:
        if axis.times:
            dataset["step_label"] = (along, np.array(axis.times, dtype=object))
        return dataset
    calendar = Calendar.named(axis.calendar)
    dates = axis.starts or axis.times
    moments, epoch = _moments(dates, calendar)
    units = {"units": f"seconds since {epoch}", "calendar": axis.calendar}
    time = {"standard_name": "time", "axis": "T", **units}
    if axis.starts:
        # A period ends when the day after its last one begins.
        ends = _moments(axis.ends, calendar, epoch)[0] + 86_400
        dataset["time_bnds"] = (("time", "bnds"), np.stack([moments, ends], axis=1))
        dataset["period"] = ("time", np.array(axis.times, dtype=object), {"long_name": "period"})
        time["bounds"] = "time_bnds"
    return dataset.assign_coords(time=("time", moments, time))


def _moments(texts: Sequence[str], calendar: Calendar, epoch: str | None = None) -> "tuple[NDArray[np.int64], str]":
    """Return dates of a calendar as seconds since one of them, and that one as CF writes it."""
    seconds = [_seconds(text, calendar) for text in texts]
    if epoch is None:
        first = _DATE.match(texts[0])
        in_reach = first is not None and int(first[1]) in _REFERENCE_YEARS
        epoch = f"{texts[0].replace('T', ' ')}" if in_reach else "0001-01-01 00:00:00"
    start = _seconds(epoch.replace(" ", "T"), calendar)
    return np.array(seconds, dtype=np.int64) - start, epoch


def _seconds(text: str, calendar: Calendar) -> int:
    matched = _DATE.fullmatch(text)
    assert matched is not None, text
    year, month, day, hour, minute, second = (int(part or 0) for part in matched.groups())
    counted = calendar.year_from_text(year)
    days = calendar.day_number(year if counted is None else counted, month, day)
    return ((days * 24 + hour) * 60 + minute) * 60 + second


def encoded(dataset: "xr.Dataset", *variables: str) -> bytes:
    """Return a dataset as NetCDF-4; `variables` are compressed, and NaN is what they have for no data."""
    encoding: dict[str, dict[str, Any]] = {
        str(name): {"_FillValue": None} for name, array in dataset.variables.items() if array.dtype.kind in "if"
    }
    encoding |= {name: {"_FillValue": np.nan, "zlib": True, "complevel": 4} for name in variables}
    return bytes(dataset.to_netcdf(engine="h5netcdf", encoding=encoding))


def degrees(name: str, direction: str) -> dict[str, str]:
    """Return the attributes of a coordinate in degrees ``east`` or ``north``."""
    return {"long_name": name, "units": f"degrees_{direction}"}


def known(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes without those that are None."""
    return {key: value for key, value in attributes.items() if value is not None}
