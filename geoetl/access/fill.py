"""Numbers that stand for no data although no file says so: what the netCDF library puts where nothing was written."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

# NC_FILL_FLOAT and NC_FILL_DOUBLE, the same number (netCDF library, netcdf.h).
NETCDF_FILL = 9.969209968386869e36
# Scaling and storing as float32 may move it by so much of itself.
_SLACK = 1e-6


def values_of(array: "xr.DataArray") -> "NDArray[np.float64]":
    """Read an array as float64, NaN = no data; the netCDF default fill as well, where the file declares no other."""
    # A copy, as what was read may belong to a dataset that others hold.
    values = np.array(array.values, dtype=np.float64)
    if array.dtype.kind == "f" and not _declares_fill(array):
        scale = float(array.encoding.get("scale_factor", 1.0))
        offset = float(array.encoding.get("add_offset", 0.0))
        fill = NETCDF_FILL * scale + offset
        values[np.abs(values - fill) <= abs(fill) * _SLACK] = np.nan
    return values


def _declares_fill(array: "xr.DataArray") -> bool:
    """Tell whether a variable says which number stands for no data; NaN says nothing about the others."""
    declared = [held.get(name) for held in (array.encoding, array.attrs) for name in ("_FillValue", "missing_value")]
    return any(value is not None and not np.all(np.isnan(value)) for value in declared)
