"""Small NetCDF files with a CMIP6 name, each with an oddity when asked."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import xarray as xr

from geoetl.core.settings import LimitSettings
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.gate import Gate
from geoetl.store.zones import Zone
from geoetl.virtual import CubeVirtualiser
from tests.migrated import sqlite_database

DRS = "CMIP6/CMIP/NCAR/CESM2/historical/r1i1p1f1/Amon/tas/gn/v20190308"


class Slice(Protocol):
    """Writes one file of months of one cube."""

    def __call__(self, start: str, months: int, **oddity: Any) -> Path: ...


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Give an empty DRS tree."""
    folder = tmp_path / "tree"
    (folder / DRS).mkdir(parents=True)
    return folder


@pytest.fixture
def write_slice(tree: Path) -> Slice:
    """Give the writer of one file of monthly means in a 360-day calendar."""

    def write(
        start: str,
        months: int,
        *,
        epoch: str = "days since 1850-01-01",
        calendar: str = "360_day",
        encoding: dict[str, Any] | None = None,
        attrs: dict[str, Any] | None = None,
        latitudes: tuple[float, ...] = (-45.0, 0.0, 45.0),
        format: str = "NETCDF4",
    ) -> Path:
        times = xr.date_range(start, periods=months, freq="MS", calendar=calendar, use_cftime=True)
        random = np.random.default_rng(int(start[:4]))
        values = random.normal(280, 10, (months, len(latitudes), 4)).astype("float32")
        values[0, 0, 0] = np.nan
        data = xr.Dataset(
            {
                "tas": (
                    ("time", "lat", "lon"),
                    values,
                    {"units": "K", "standard_name": "air_temperature", **(attrs or {})},
                ),
                "time_bnds": (("time", "bnds"), np.arange(2.0 * months).reshape(months, 2)),
            },
            coords={
                "time": times,
                "lat": ("lat", list(latitudes), {"units": "degrees_north"}),
                "lon": ("lon", [0.0, 90.0, 180.0, 270.0], {"units": "degrees_east"}),
                "height": ((), 2.0, {"units": "m"}),
            },
        )
        end_year, end_month = int(start[:4]) + (months - 1) // 12, (months - 1) % 12 + 1
        name = f"tas_Amon_CESM2_historical_r1i1p1f1_gn_{start[:4]}01-{end_year}{end_month:02d}.nc"
        path = tree / DRS / name
        chunked = {"zlib": True, "shuffle": True, "chunksizes": (1, len(latitudes), 4)} if format == "NETCDF4" else {}
        data.to_netcdf(
            path,
            format=format,  # type: ignore[arg-type]
            engine="netcdf4",
            encoding={
                "tas": {"_FillValue": np.float32(1e20), **chunked, **(encoding or {})},
                "time": {"units": epoch, "calendar": calendar},
            },
        )
        return path

    return write


@pytest.fixture
def virtualiser(tmp_path: Path) -> CubeVirtualiser:
    """Give the stages of `virtualise-cmip6`."""
    database = sqlite_database(tmp_path / "test.db")
    zone = Zone("internal", (tmp_path / "zone").as_uri(), ArtifactRepository(database), tmp_path / "cache")
    return CubeVirtualiser(Gate((tmp_path.resolve(),), LimitSettings()), zone, tmp_path / "scratch")
