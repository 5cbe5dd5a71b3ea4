"""The stages of `virtualise-cmip6`: inventory, references, verification, item."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from geoetl.core.errors import GeoetlError, InvalidParameter, VerificationFailed
from geoetl.core.identifiers import check_id, file_digest
from geoetl.core.request import Request
from geoetl.core.spatial import BBox
from geoetl.runs.model import Result
from geoetl.store.catalog.item import DATACUBE, RENDER, XARRAY_ASSETS, new_item, object_asset
from geoetl.store.gate import Gate
from geoetl.store.zones import StoredObject, Zone
from geoetl.virtual.combine import combine, write_document
from geoetl.virtual.inventory import CubeFiles, Inventory, take_inventory
from geoetl.virtual.item import CubeDescription, describe
from geoetl.virtual.verify import Verification, verify

# What h5py, xarray, zarr and VirtualiZarr raise on files that they do not understand.
LIBRARY_ERRORS = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)


class CubeRequest(Request):
    """What `virtualise-cmip6` is asked for.

    Attributes:
        source: ``samples:NAME``, or a folder or file under an allowed root.
        collection: Id of the STAC collection.
        naming: ``cmip6`` groups files by their names; ``file`` takes each file as a cube.
        select: CMIP6 facets to keep, each with the values allowed.
        title: Title of the item; only where the source makes one cube. Empty takes it from the names.
    """

    source: str
    collection: str
    naming: Literal["cmip6", "file"] = "cmip6"
    select: dict[str, list[str]] = Field(default_factory=dict)
    title: str = ""

    @field_validator("collection")
    @classmethod
    def _safe_collection(cls, value: str) -> str:
        return check_id(value, "collection")


class VirtualCube(Result):
    """A cube whose references are in the internal zone and equal their sources; or why there is none.

    Attributes:
        files: What it is made of.
        references: The kerchunk JSON; None when the cube was refused.
        description: What its item says.
        verification: What was compared.
        refused: Why it was refused, and what to do.
    """

    files: CubeFiles
    references: StoredObject | None = None
    description: CubeDescription | None = None
    verification: Verification | None = None
    refused: str | None = None


@dataclass(frozen=True)
class CubeVirtualiser:
    """The stages of `virtualise-cmip6`.

    Args:
        gate: Opens sources and references.
        zone: The internal zone.
        scratch: Folder for files on their way.
    """

    gate: Gate
    zone: Zone
    scratch: Path

    def inventory(self, request: CubeRequest) -> Inventory:
        """List the cubes under the source.

        Raises:
            EmptyDataset, NotCMIP6, InvalidParameter: See `take_inventory`.
        """
        path = self.gate.resolve(request.source)
        found = take_inventory(path, naming=request.naming, select=request.select)
        if not request.title:
            return found
        if len(found.cubes) > 1:
            raise InvalidParameter(
                f"One title cannot serve {len(found.cubes)} cubes.",
                hint="Leave the parameter title out, or narrow the selection.",
                field="title",
            )
        return found.model_copy(update={"cubes": (found.cubes[0].model_copy(update={"title": request.title}),)})

    def builder(self, request: CubeRequest) -> "CubeBuilder":
        """Return the function that makes one cube of this request, for `Run.map`."""
        return CubeBuilder(self, request)

    def left_out(self, inventory: Inventory, cubes: list[VirtualCube]) -> tuple[str, ...]:
        """Return the files and cubes that are not registered, each with its reason."""
        files = [f"{left.file}: {left.reason}" for left in inventory.left_out]
        return (*files, *(f"{cube.files.id}: {cube.refused}" for cube in cubes if cube.refused))

    def accepted(self, cubes: list[VirtualCube]) -> list[VirtualCube]:
        """Return the cubes that were not refused.

        Raises:
            GeoetlError: Every cube was refused; the first reason is given.
        """
        kept = [cube for cube in cubes if cube.references]
        if not kept:
            raise VerificationFailed(f"No cube could be virtualised. {cubes[0].refused}", field="source")
        return kept

    def items(self, request: CubeRequest, cubes: list[VirtualCube], notebook: str | None) -> list[dict[str, Any]]:
        """Describe verified cubes as STAC datacube items."""
        return [self.item(request, cube, notebook) for cube in cubes]

    def item(self, request: CubeRequest, cube: VirtualCube, notebook: str | None) -> dict[str, Any]:
        """Describe a verified cube as a STAC datacube item."""
        if cube.references is None or cube.description is None or cube.verification is None:
            raise ValueError(f"cube {cube.files.id} was refused and has no item")
        files, checked = cube.files, cube.verification
        assets = {
            "references": object_asset(
                cube.references,
                title="Kerchunk references",
                roles=["references", "index", "data"],
                **{"xarray:open_kwargs": {"engine": "kerchunk", "chunks": {}}},
            )
        }
        count = f"{len(files.files)} NetCDF file{'s' if len(files.files) > 1 else ''}"
        return new_item(
            item_id=files.id,
            collection=request.collection,
            bbox=BBox.from_list(cube.description.bbox),
            geometry=None,
            times=cube.description.times,
            properties={
                "title": files.title,
                **{f"cmip6:{name}": value for name, value in files.facets.items() if name != "version"},
                **({"version": files.facets["version"]} if "version" in files.facets else {}),
                "cube:dimensions": cube.description.dimensions,
                "cube:variables": cube.description.variables,
                "renders": {"default": cube.description.render},
            },
            assets=assets,
            extensions=[DATACUBE, RENDER, XARRAY_ASSETS],
            lineage=(
                f"References to {count}; value check passed on {checked.fields_compared} of "
                f"{checked.fields_total} fields ({checked.values_compared:,} values)"
            ),
            software=["virtualizarr", "zarr", "xarray"],
            notebook=notebook,
        )


@dataclass(frozen=True)
class CubeBuilder:
    """Makes one cube: references, written, opened again and compared; picklable, so that Dask can run it."""

    virtualiser: CubeVirtualiser
    request: CubeRequest

    def __call__(self, files: CubeFiles) -> VirtualCube:
        """Build, write and verify; a cube that cannot be right is returned as refused, with the reason."""
        gate, zone = self.virtualiser.gate, self.virtualiser.zone
        try:
            source = gate.resolve(self.request.source)
            root = source.parent if source.is_file() else source
            paths = [gate.resolve(str(root / name)) for name in files.files]
            self.virtualiser.scratch.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.virtualiser.scratch) as folder:
                written = Path(folder) / "references.json"
                write_document(combine(gate, paths, files.variable), written)
                names, description = self._describe(written, files)
                verification = verify(gate, written, paths, names)
                key = f"cubes/{self.request.collection}/{files.id}/{files.id[:120]}-{file_digest(written)[:8]}.json"
                stored = zone.put(written, key, owner=f"{self.request.collection}/{files.id}")
        except GeoetlError as error:
            if error.retryable:
                raise
            return VirtualCube(files=files, refused=str(error).replace("\n", " "))
        except LIBRARY_ERRORS as error:
            # A damaged or odd file may fail anywhere in the libraries that read it; it must not stop the other cubes.
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
            return VirtualCube(files=files, refused=f"Its files cannot be referenced ({reason}).")
        return VirtualCube(files=files, references=stored, description=description, verification=verification)

    def _describe(self, references: Path, files: CubeFiles) -> tuple[list[str], CubeDescription]:
        import xarray as xr

        coder = xr.coders.CFDatetimeCoder(use_cftime=True)
        with self.virtualiser.gate.open_references(references, decode_times=coder) as cube:
            names = [files.variable] if files.variable else _gridded(cube)
            return names, describe(cube, names)


def _gridded(cube: Any) -> list[str]:
    return [str(name) for name, data in cube.data_vars.items() if data.ndim >= 2 and not str(name).endswith("_bnds")]
