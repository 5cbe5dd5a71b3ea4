"""Everything that reads a file through the gate, whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from geoetl.store.gate import Gate


def open_raster(gate: Gate, path: Path) -> Any:
    with gate.open_raster(path) as dataset:
        return dataset.read(1).tolist(), dataset.read(1, out_shape=(4, 4)), dataset.read_masks(1)


def open_hdf5(gate: Gate, path: Path) -> Any:
    with gate.open_hdf5(path) as file:
        return {name: file[name][...].tolist() for name in file}


def open_cube(gate: Gate, path: Path) -> Any:
    with gate.open_netcdf(path) as cube:
        return cube.load().to_dict()


def open_references(gate: Gate, path: Path) -> Any:
    with gate.open_references(path) as cube:
        return cube.load().to_dict()


def read_vector(gate: Gate, path: Path) -> Any:
    return gate.read_vector(path).frame.to_json()


READERS: tuple[Callable[[Gate, Path], Any], ...] = (open_raster, open_hdf5, open_cube, open_references, read_vector)
