"""Tasks that copy the large variables region by region; metadata and small variables are written before."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.errors import VerificationFailed
from geoetl.store.gate import Gate
from geoetl.virtual.convert.layout import CHUNK_BYTES, codec_of, grown
from geoetl.virtual.convert.model import ArrayPlan, ZarrPlan
from geoetl.virtual.convert.packing import OF_PACKED, Packing, dataset_attributes, json_attributes
from geoetl.virtual.convert.place import Place, sync
from geoetl.virtual.convert.read import Box, corner, cut, lengths, read_box, whole, within
from geoetl.virtual.convert.survey import Part, Survey
from geoetl.virtual.header import TIME

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_template(survey: Survey, planned: ZarrPlan, folder: Path) -> None:
    """Write the metadata of all variables, and the content of the small ones."""
    import xarray as xr
    from zarr.codecs import BloscCodec

    arrays = {array.name: array for array in planned.arrays}
    template = xr.Dataset(attrs=dataset_attributes(survey.first.attrs))
    encoding: dict[str, dict[str, Any]] = {}
    for key, variable in survey.first.variables.items():
        name = str(key)
        if (array := arrays.get(name)) is not None:
            data, attributes = _placeholder(array, variable.attrs)
            encoding[name] = {"chunks": array.chunks, "shards": array.shards}
        else:
            data, attributes = survey.dates[name] if name in survey.dates else (survey.small[name], variable.attrs)
            chunks = grown((1,) * data.ndim, data.shape, 0, data.itemsize, CHUNK_BYTES)
            encoding[name] = {"chunks": chunks} if chunks else {}
        kept = {k: v for k, v in variable.encoding.items() if k == "coordinates"}
        others = {k: v for k, v in attributes.items() if k not in kept}
        made = xr.Variable(variable.dims, data, json_attributes(others), kept)
        if made.dtype.kind in "iuf":
            if made.ndim:
                encoding[name]["compressors"] = (BloscCodec(**codec_of(made.dtype)),)
            if "_FillValue" not in made.attrs:
                encoding[name]["_FillValue"] = None  # otherwise xarray declares NaN as missing for all floats
        is_data = name in survey.first.data_vars
        template = template.assign({name: made}) if is_data else template.assign_coords({name: made})
    with warnings.catch_warnings():
        # zarr 3.4 says of fixed-length bytes that they have no specification yet; that is the reader's to know.
        warnings.simplefilter("ignore")
        template.to_zarr(
            folder, mode="w-", zarr_format=3, consolidated=False, compute=False, encoding=encoding, safe_chunks=False
        )


def consolidate(folder: Path, survey: Survey) -> None:
    """Copy all metadata into the group's own, so that a reader opens the store with one read.

    Raises:
        VerificationFailed: A variable is not in the copy.
    """
    import zarr

    with warnings.catch_warnings():
        # Zarr-python says that this is not in the specification yet (zarr-specs#309); readers without it ignore it.
        warnings.simplefilter("ignore")
        group = zarr.consolidate_metadata(zarr.storage.LocalStore(folder), zarr_format=3)
    listed = group.metadata.consolidated_metadata
    if missing := set(map(str, survey.first.variables)) - set(listed.metadata if listed else ()):
        raise VerificationFailed(
            f"The consolidated metadata lack {', '.join(sorted(missing))}.", hint="Please report this with the files."
        )
    for path in folder.rglob("zarr.json"):
        sync(path)


def _placeholder(array: ArrayPlan, attributes: Mapping[Any, Any]) -> tuple[Any, Mapping[Any, Any]]:
    """Return a lazy array that stands for what the tasks will write, and the attributes of what they write."""
    import dask.array

    if array.decoded_because:
        attributes = {key: value for key, value in attributes.items() if key not in OF_PACKED}
        if np.dtype(array.dtype).kind == "f":
            attributes["_FillValue"] = np.dtype(array.dtype).type(np.nan)
    return dask.array.zeros(array.shape, chunks=-1, dtype=array.dtype), attributes


# -- regions -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class RegionWriter:
    """Copies one region of one variable: whole shards, so that no two tasks write one file. Picklable, for Dask.

    Attributes:
        gate: Opens the files.
        place: Where the store is written.
        array: The variable.
        box: The region.
        pieces: The files that hold some of it, with how their numbers are unpacked; None where these are copied.
    """

    gate: Gate
    place: Place
    array: ArrayPlan
    box: Box
    pieces: tuple[tuple[Part, Packing | None], ...]

    @property
    def key(self) -> str:
        """Its line of the journal."""
        return f"{self.array.name} {' '.join(f'{part.start}:{part.stop}' for part in self.box)}"

    def __call__(self) -> None:
        block = self._load()
        with self.place.writing():
            self._store(block)
            self.place.note(self.key)

    def _load(self) -> "NDArray[Any]":
        block = np.empty(lengths(self.box), self.array.dtype)
        for part, packing in self.pieces:
            begins = [part.begin if dim == TIME else 0 for dim in self.array.dims]
            held = tuple(
                slice(max(cells.start, part.begin), min(cells.stop, part.end)) if dim == TIME else cells
                for dim, cells in zip(self.array.dims, self.box, strict=True)
            )
            stored = read_box(self.gate, part.path, self.array.name, within(held, begins))
            if packing is not None:
                stored = packing.decode(stored.astype(stored.dtype.newbyteorder("="), copy=False))
            block[within(held, corner(self.box))] = stored
        return block

    def _store(self, block: "NDArray[Any]") -> None:
        import zarr

        folder = self.place.partial / self.array.name
        array = zarr.Array.open(zarr.storage.LocalStore(folder))
        for place, shard in cut(self.box, self.array.shards):
            array[shard] = block[within(shard, corner(self.box))]
            written = folder.joinpath("c", *map(str, place))
            for path in (written, *written.parents[: len(place) + 1]):
                sync(path)


def region_writers(survey: Survey, planned: ZarrPlan, place: Place) -> list[RegionWriter]:
    """Return the tasks that write all large variables."""
    tasks = []
    for array in planned.arrays:
        packings = survey.packings[array.name] if array.decoded_because else [None] * len(survey.parts)
        pieces = list(zip(survey.parts, packings, strict=True))
        for _, box in cut(whole(array.shape), array.region):
            held = tuple(pieces[:1])
            if TIME in array.dims:
                steps = box[array.dims.index(TIME)]
                held = tuple(piece for piece in pieces if piece[0].begin < steps.stop and piece[0].end > steps.start)
            tasks.append(RegionWriter(survey.gate, place, array, box, held))
    return tasks
