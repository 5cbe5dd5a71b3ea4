"""The child that opens a file of unknown origin before anybody else does.

Run as ``python -m geoetl.store.gate.probe LIFELINE`` by `geoetl.store.gate.prober`. It reads questions as lines of JSON
and answers each with a line: ``{"begun": true}`` once everything that the file needs is loaded, then ``{}`` or what was
found. Whatever the file does to this process, its parent lives.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import EmptyDataset, GeoetlError, InvalidParameter, LimitExceeded, MissingCRS
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.confine import address_space, end_with, forbid_network, limit_next, limit_resources
from geoetl.store.gate.formats import DAMAGE
from geoetl.store.gate.gate import Gate

if TYPE_CHECKING:
    import xarray as xr

MIB = 1024**2
# Values are taken from so many variables of a cube, from the first and the last chunk of each.
_VARIABLES_READ = 32
_ATTRIBUTES_READ = 64
# All libraries together take less than two of it.
_MOST_SPACE_BYTES = 4 * 1024**3
# Features that are read of a vector file.
_FEATURES_READ = 1000
# Pixels a side of what is read of a raster, where a block is larger.
_PIXELS_READ = 1024


def _raster(gate: Gate, path: Path) -> None:
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    with gate.open_raster(path) as dataset, _data(RasterioError):
        for top, left in ((0, 0), (max(0, dataset.height - 1), max(0, dataset.width - 1))):
            height, width = min(_PIXELS_READ, dataset.height - top), min(_PIXELS_READ, dataset.width - left)
            dataset.read(1, window=Window(left, top, width, height))
        dataset.read_masks(1, window=Window(0, 0, 1, 1))
        if overviews := dataset.overviews(1):
            shape = (max(1, dataset.height // overviews[-1]), max(1, dataset.width // overviews[-1]))
            if shape[0] * shape[1] <= _PIXELS_READ**2:
                dataset.read(1, out_shape=shape)


def _vector(gate: Gate, path: Path) -> None:
    with suppress(InvalidParameter, MissingCRS, EmptyDataset):  # depends on what is asked for
        gate.look_at_vector(path, features=_FEATURES_READ)


def _geoparquet(gate: Gate, path: Path) -> None:
    import pyarrow as pa
    from geopandas import GeoSeries

    with gate.open_parquet(path) as file:
        wanted = sorted({0, file.num_row_groups - 1}) if file.num_row_groups else []
        for batch in file.iter_batches(_FEATURES_READ, row_groups=wanted):
            for name in ("geometry", "geom"):
                if name in batch.schema.names and pa.types.is_binary(batch.schema.field(name).type):
                    with _data(pa.ArrowException):
                        GeoSeries.from_wkb(batch.column(name).to_pylist())
            break


def _netcdf(gate: Gate, path: Path) -> None:
    with gate.open_netcdf(path) as cube:
        _values(cube)


def _hdf5(gate: Gate, path: Path) -> None:
    import h5py

    with gate.open_hdf5(path) as file:
        looked_at = 0

        def look(_: str, found: "h5py.Group | h5py.Dataset") -> bool | None:
            nonlocal looked_at
            looked_at += 1
            with _data():
                for name in list(found.attrs)[:_ATTRIBUTES_READ]:
                    _ = found.attrs[name]
            if isinstance(found, h5py.Dataset) and found.shape is not None and 0 not in found.shape:
                for end in (0, -1):
                    with _data():
                        _ = found[tuple(size - 1 if end else 0 for size in found.shape)]
            return True if looked_at >= _VARIABLES_READ else None

        with _data():
            file.visititems(look)


def _references(gate: Gate, path: Path) -> None:
    with gate.open_references(path) as cube:
        _values(cube)


def _zarr(gate: Gate, path: Path) -> None:
    with gate.open_zarr(path) as cube:
        _values(cube)


def _icechunk(gate: Gate, path: Path) -> None:
    import icechunk

    with gate.open_icechunk(path) as cube, _data(icechunk.IcechunkError):
        _values(cube)


def _values(cube: "xr.Dataset") -> None:
    """Read the first and the last value of each variable, which unpacks the chunks that they lie in."""
    for name in list(cube.variables)[:_VARIABLES_READ]:
        variable = cube.variables[name]
        if 0 in variable.shape:
            continue
        for end in (0, -1):
            with _data():
                _ = variable[tuple(end for _ in variable.dims)].values


@contextmanager
def _data(*others: type[Exception]) -> Iterator[None]:
    """Let damaged data pass: whoever reads them is told so then. That this process lives is what counts here."""
    try:
        yield
    except LimitExceeded:
        raise
    except _harmless(others) as error:
        if _lacked_memory(error):
            raise MemoryError from None


def _harmless(others: tuple[type[Exception], ...]) -> tuple[type[Exception], ...]:
    return (GeoetlError, *DAMAGE, *others)


def _lacked_memory(error: BaseException | None) -> bool:
    """Tell whether an error came of too little memory; libraries say it in their own ways."""
    while error is not None:
        if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "alloc" in str(error).lower():
            return True
        error = error.__cause__ or error.__context__
    return False


KINDS: Mapping[str, tuple[Callable[[Gate, Path], None], tuple[str, ...]]] = {
    "raster": (_raster, ("rasterio",)),
    "vector": (_vector, ("pyogrio", "geopandas", "pyarrow")),
    "geoparquet": (_geoparquet, ("pyarrow.parquet", "geopandas")),
    "netcdf": (_netcdf, ("xarray", "h5netcdf", "h5py", "scipy.io", "numpy")),
    "hdf5": (_hdf5, ("h5py", "numpy")),
    "references": (_references, ("xarray", "zarr", "numcodecs", "pyarrow.parquet")),
    "zarr": (_zarr, ("xarray", "zarr")),
    "icechunk": (_icechunk, ("xarray", "zarr", "icechunk")),
}


def answer(question: Mapping[str, Any], begun: Callable[[], None]) -> dict[str, Any]:
    """Open a file as asked and return what is wrong with it: a problem, ``memory``, ``failed``, or nothing."""
    import importlib

    look, modules = KINDS[question["kind"]]
    for module in modules:
        importlib.import_module(module)
    limits = LimitSettings.model_validate(question["limits"])
    gate = Gate(tuple(Path(root) for root in question["roots"]), limits)
    begun()
    limit_next(limits.probe_memory_mib * MIB, limits.probe_seconds)
    try:
        look(gate, Path(question["path"]))
    except GeoetlError as error:
        return {"memory": True} if _lacked_memory(error) else {"problem": error.problem()}
    except MemoryError:
        return {"memory": True}
    except Exception as error:  # noqa: BLE001  the edge of this process: its parent is told, and lives
        return {"failed": type(error).__name__}
    return {}


def main() -> None:
    """Answer questions until nobody asks any more."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    end_with(int(sys.argv[1]))
    limit_resources()
    forbid_network()

    def say(answer: Mapping[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    for line in sys.stdin:
        say(answer(json.loads(line), lambda: say({"begun": True})))
        if address_space() > _MOST_SPACE_BYTES:
            return  # something was not given back; the next one starts anew


if __name__ == "__main__":
    main()
