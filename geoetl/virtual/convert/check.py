"""The store against its sources: both are opened anew and decoded by xarray."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.errors import VerificationFailed
from geoetl.store.gate import Gate
from geoetl.virtual.convert.model import ZarrPlan
from geoetl.virtual.convert.survey import Part, Survey
from geoetl.virtual.header import TIME

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

# Besides the first and the last step of each file.
RANDOM_STEPS = 8
# Variables up to this many values are compared whole.
WHOLE_VALUES = 100_000


@dataclass(frozen=True, eq=False)
class Check:
    """Compares the store with some of its files. Picklable, for Dask.

    Attributes:
        gate: Opens both.
        store: The store.
        steps: Time steps that it has to have.
        parts: The files.
    """

    gate: Gate
    store: Path
    steps: int
    parts: tuple[Part, ...]

    def __call__(self) -> tuple[int, int, int]:
        """Return fields compared, fields in all, values compared."""
        import xarray as xr

        coder = xr.coders.CFDatetimeCoder(use_cftime=True)
        fields = total = values = 0
        with self.gate.open_zarr(self.store, decode_times=coder, decode_timedelta=False) as cube:
            if cube.sizes.get(TIME, self.steps) != self.steps:
                raise VerificationFailed(
                    f"The store has {cube.sizes[TIME]} time steps; its files have {self.steps}.",
                    hint="Please report this with the files.",
                )
            held = {name: self._held(variable) for name, variable in cube.variables.items()}
            for number, part in enumerate(self.parts):
                with self.gate.open_netcdf(part.path, decode_times=coder, decode_timedelta=False) as source:
                    for name, variable in cube.variables.items():
                        got, its = held[name][number], source.variables[name]
                        is_timed = TIME in variable.dims
                        if not is_timed and part.begin > 0:
                            continue  # the survey has found it equal in all files
                        steps = _chosen(variable, part) if is_timed else np.zeros(1, np.intp)
                        expected = (its.isel({TIME: steps}) if is_timed else its).to_numpy()
                        _compare(str(name), variable.dims, got, expected, part, steps)
                        fields += len(steps)
                        total += part.steps if is_timed else 1
                        values += expected.size
        return fields, total, values

    def _held(self, variable: "xr.Variable") -> "list[NDArray[Any]]":
        """Return what is compared with each file; it is read from the store once."""
        if TIME not in variable.dims:
            return [variable.to_numpy()] * len(self.parts)
        chosen = [part.begin + _chosen(variable, part) for part in self.parts]
        read = variable.isel({TIME: np.concatenate(chosen)}).to_numpy()
        ends = np.cumsum([len(steps) for steps in chosen])[:-1]
        return np.split(read, ends, axis=variable.dims.index(TIME))


def checks(survey: Survey, planned: ZarrPlan, store: Path) -> list[Check]:
    """Return the comparisons; files whose steps share chunks go together, because a chunk is unpacked as a whole."""
    longest = max((array.chunks[array.dims.index(TIME)] for array in planned.arrays if TIME in array.dims), default=1)
    groups: list[list[Part]] = [[]]
    for part in survey.parts:
        if sum(other.steps for other in groups[-1]) >= longest:
            groups.append([])
        groups[-1].append(part)
    return [Check(survey.gate, store, survey.steps, tuple(group)) for group in groups]


def _chosen(variable: "xr.Variable", part: Part) -> "NDArray[np.intp]":
    """Return the steps of a file that are compared: first, last and random ones; all of a small variable."""
    if variable.size <= WHOLE_VALUES or variable.ndim == 1 or variable.dtype.kind == "O":
        return np.arange(part.steps)
    random = np.random.default_rng(part.begin).integers(0, part.steps, RANDOM_STEPS)
    return np.unique(np.concatenate([[0, part.steps - 1], random]))


def _compare(
    name: str,
    dims: Sequence[Any],
    got: "NDArray[Any]",
    expected: "NDArray[Any]",
    part: Part,
    steps: "NDArray[np.intp]",
) -> None:
    """Compare values of a file bit by bit; `steps` are those of the file that are there, array (time,)."""
    is_float = got.dtype.kind == "f"
    # Where files are packed in several ways, the store has the type that holds all of their values. A single text is
    # read from Zarr without the padding of its type.
    same_type = np.result_type(got, expected) == got.dtype or got.dtype.kind == expected.dtype.kind == "S"
    same_form = got.shape == expected.shape and same_type
    if same_form and np.array_equal(got, expected, equal_nan=is_float):
        return
    where, ours, theirs = "as a whole", f"{got.dtype} {got.shape}", f"{expected.dtype} {expected.shape}"
    if same_form:
        unequal = (got != expected) & ~(np.isnan(got) & np.isnan(expected)) if is_float else got != expected
        place = tuple(np.argwhere(unequal)[0].tolist())
        index = tuple(int(steps[i]) if dim == TIME else i for i, dim in zip(place, dims, strict=True))
        where, ours, theirs = f"at {index}", str(got[place]), str(expected[place])
    raise VerificationFailed(
        f"'{name}' of '{part.path.name}' {where} is {theirs} in the file and {ours} in the store.",
        hint="The store was not finished. Run it again; if it happens again, please report it with the files.",
        field="source",
    )
