"""The stages of `virtualise-cmip6`: inventory, references, items."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoetl.core.errors import GeoetlError, InvalidParameter, UnreadableFile, VerificationFailed
from geoetl.core.findings import Finding
from geoetl.store.gate import Gate
from geoetl.store.zones import Zone
from geoetl.virtual.build import CubeBuilder, CubePublisher, source_paths
from geoetl.virtual.header import FileHeader
from geoetl.virtual.inventory import NOT_SELECTED, CubeFiles, Inventory, take_inventory
from geoetl.virtual.item import cube_item
from geoetl.virtual.outcome import CubeOutcome, Outcomes, VirtualCube
from geoetl.virtual.preflight import Preflight, preflight, unreadable
from geoetl.virtual.read import read_header
from geoetl.virtual.request import CubeRequest


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
        path = self.gate.locate(request.source)
        found = take_inventory(path, naming=request.naming, select=request.select, join=request.join)
        if not request.title:
            return found
        if len(found.cubes) > 1:
            raise InvalidParameter(
                f"One title cannot serve {len(found.cubes)} cubes.",
                hint="Leave the parameter title out, or narrow the selection.",
                field="title",
            )
        return found.model_copy(update={"cubes": (found.cubes[0].model_copy(update={"title": request.title}),)})

    def builder(self, request: CubeRequest) -> CubeBuilder:
        """Return the function that makes one cube of this request, for `Run.map`."""
        return CubeBuilder(self.publisher(request.collection), request, self.scratch)

    def publisher(self, collection: str) -> CubePublisher:
        """Return what puts cubes of a collection into the zone."""
        return CubePublisher(self.gate, self.zone, collection)

    def preflight(self, request: CubeRequest, files: CubeFiles) -> Preflight:
        """Find out whether the files of a cube can be one, without making anything; files that cannot be read are told.

        Raises:
            UnreadableFile: None of them can be read.
        """
        headers: list[FileHeader] = []
        damaged: list[Finding] = []
        wanted = (files.variable,) if files.variable else None
        for name, path in zip(files.files, source_paths(self.gate, request, files.files), strict=True):
            try:
                headers.append(read_header(self.gate, path, wanted))
            except GeoetlError as error:
                damaged.append(unreadable(name, error))
        if not headers:
            raise UnreadableFile(damaged[0].message, hint=damaged[0].remedy, field="source")
        checked = preflight(headers)
        return checked.model_copy(update={"findings": (*damaged, *checked.findings)})

    def outcomes(self, inventory: Inventory, outcomes: list[CubeOutcome]) -> Outcomes:
        """Return what became of all cubes, with the files and cubes that are not registered and their reasons."""
        files = [f"{left.file}: {left.reason}" for left in inventory.left_out if left.code != NOT_SELECTED]
        if unselected := len(inventory.left_out) - len(files):
            files.append(f"{unselected} file{'s were' if unselected > 1 else ' was'} not selected.")
        refused = [f"{outcome.files.id}: {outcome.refused}" for outcome in outcomes if outcome.refused]
        return Outcomes(outcomes=tuple(outcomes), left_out=(*files, *refused))

    def accepted(self, outcomes: list[CubeOutcome]) -> list[VirtualCube]:
        """Return the cubes that were made.

        Raises:
            VerificationFailed: Every cube was refused; the first reason is given.
        """
        kept = [cube for outcome in outcomes for cube in outcome.cubes]
        if not kept:
            raise VerificationFailed(f"No cube could be virtualised. {outcomes[0].refused}", field="source")
        return kept

    def items(self, request: CubeRequest, cubes: list[VirtualCube], notebook: str | None) -> list[dict[str, Any]]:
        """Describe verified cubes as STAC datacube items."""
        return [cube_item(request.collection, cube, notebook) for cube in cubes]
