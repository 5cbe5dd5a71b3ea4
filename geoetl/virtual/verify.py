"""The virtual cube against its sources: what is read through references has to equal what is in the files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.errors import VerificationFailed
from geoetl.runs.model import Result
from geoetl.store.gate import Gate
from geoetl.virtual.combine import same_coordinate

if TYPE_CHECKING:
    import xarray as xr

# Cubes up to this many values are compared whole; larger ones at file borders and at random steps.
WHOLE_VALUES = 5_000_000
RANDOM_STEPS = 8


class Verification(Result):
    """What was compared; a difference raises instead."""

    fields_compared: int
    fields_total: int
    values_compared: int


def verify(gate: Gate, references: Path, paths: Sequence[Path], names: Sequence[str]) -> Verification:
    """Compare a virtual cube with its source files, value for value and every time step.

    Args:
        gate: Opens both sides.
        references: The kerchunk document.
        paths: The source files in the order of time.
        names: The variables to compare.

    Raises:
        VerificationFailed: A value, a coordinate or a time differs; the message says where.
    """
    import xarray as xr

    coder = xr.coders.CFDatetimeCoder(use_cftime=True)
    compared = total = values = 0
    offset = 0
    with gate.open_references(references, decode_times=coder) as cube:
        for number, path in enumerate(paths):
            with gate.open_netcdf(path, decode_times=coder) as source:
                steps = source.sizes.get("time", 1)
                here = cube.isel(time=slice(offset, offset + steps)) if "time" in cube.dims else cube
                _compare_coordinates(here, source, path)
                chosen = _steps(steps, cube[names[0]].size, seed=number)
                for name in names:
                    values += _compare_fields(here[name], source[name], chosen, path)
                compared += len(chosen) * len(names)
                total += steps * len(names)
                offset += steps
        if "time" in cube.dims and cube.sizes["time"] != offset:
            raise VerificationFailed(
                f"The cube has {cube.sizes['time']} time steps; its files have {offset}.",
                hint="Please report this with the files.",
            )
    return Verification(fields_compared=compared, fields_total=total, values_compared=values)


def _steps(steps: int, cube_values: int, *, seed: int) -> "np.ndarray[Any, Any]":
    if cube_values <= WHOLE_VALUES:
        return np.arange(steps)
    random = np.random.default_rng(seed).integers(0, steps, RANDOM_STEPS)
    return np.unique(np.concatenate([[0, steps - 1], random]))


def _compare_coordinates(here: "xr.Dataset", source: "xr.Dataset", path: Path) -> None:
    for name in source.coords:
        if name not in here.coords or not same_coordinate(here[name].to_numpy(), source[name].to_numpy()):
            raise VerificationFailed(
                f"The coordinate '{name}' differs from the one in '{path.name}'.",
                hint="Leave the file out, or convert the cube to Zarr.",
            )


def _compare_fields(virtual: "xr.DataArray", source: "xr.DataArray", steps: Any, path: Path) -> int:
    if "time" in source.dims:
        virtual, source = virtual.isel(time=steps), source.isel(time=steps)
    got, expected = virtual.to_numpy(), source.to_numpy()
    if not _equal(got, expected):
        raise VerificationFailed(
            f"Values of '{source.name}' read through references differ from those in '{path.name}'.",
            hint="Leave the file out, or convert the cube to Zarr.",
        )
    return int(expected.size)


def _equal(a: "np.ndarray[Any, Any]", b: "np.ndarray[Any, Any]") -> bool:
    numbers = a.dtype.kind in "fc" and b.dtype.kind in "fc"
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=numbers))
