"""The composition root: `connect` wires settings, store, runs and capabilities into one `Platform`.

What joins two capabilities, and is no pipeline's own business, is written here.
"""

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import (
    ConfigurationError,
    Conflict,
    EmptyDataset,
    GeoetlError,
    InvalidParameter,
    ManagedData,
    NotFound,
)
from geoetl.core.identifiers import check_id, digest, file_digest, fingerprint, new_id
from geoetl.core.settings import DaskSettings, Settings, as_environment, load_settings
from geoetl.core.spatial import BBox
from geoetl.runs.kernel import RUN_VARIABLE
from geoetl.runs.model import Result, RunKind, RunRecord, RunState
from geoetl.runs.pipeline import Pipeline, load_pipeline
from geoetl.runs.queue import Submission
from geoetl.runs.repository import RunRepository, reused
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.catalog.item import new_collection, object_asset, with_extent
from geoetl.store.database import Database
from geoetl.store.gate import Gate
from geoetl.store.remote import RemoteFile, RemoteRoot
from geoetl.store.samples import SAMPLES, sample_path
from geoetl.store.zones import Zone, Zones

if TYPE_CHECKING:
    from geoetl.access import CubeAccess, FeatureAccess, RasterAccess
    from geoetl.access.boundaries import Boundaries
    from geoetl.access.items import CatalogCache
    from geoetl.access.places import Places
    from geoetl.access.tiles import Tiles
    from geoetl.access.vector_tiles import VectorTiles
    from geoetl.core.principal import Principal
    from geoetl.core.registry import Registry
    from geoetl.datasets.model import Definition, ManagedDataset, UpdateType
    from geoetl.datasets.protocol import Loaded
    from geoetl.datasets.release import PreparedRaster, PreparedVector
    from geoetl.datasets.update import DatasetUpdates
    from geoetl.datasets.version import Version
    from geoetl.ingest import RasterIngest, VectorIngest
    from geoetl.ops import Janitor
    from geoetl.publish.delivery import Delivery
    from geoetl.publish.probing import Probe
    from geoetl.publish.publishing import Publishing
    from geoetl.runs.functions import LightFunction
    from geoetl.runs.notebook import NotebookRunner
    from geoetl.runs.queue import Claim
    from geoetl.runs.schedule import Schedules
    from geoetl.runs.stage import Run
    from geoetl.runs.worker import Worker
    from geoetl.store.catalog import Catalog
    from geoetl.store.identity import IdentityRepository
    from geoetl.styles.layer import StyledLayer
    from geoetl.styles.layers import VectorFacts
    from geoetl.styles.library import StyleLibrary
    from geoetl.styles.model import Style
    from geoetl.virtual import CubeVirtualiser
    from geoetl.virtual.outcome import VirtualCube
    from geoetl.virtual.upkeep import CubeCheck, StoredCube

_log = logging.getLogger(__name__)
# How often a watcher is told how a run stands.
WATCH_EVERY_S = 0.25
THUMBNAIL_SIDE = 256
# So many are drawn anew while somebody waits for another default style; later ones follow with their next data.
MAX_REDRAWN = 24
# Classes that are in the legend of a raster are those of a picture of so many pixels a side.
MAX_CLASSES_SIDE = 1024
# A grid of fewer cells a side shows nothing in a picture.
MIN_PICTURE_CELLS = 8


class Registered(Result):
    """What a pipeline put into the catalogue.

    Attributes:
        collection: Id of the collection.
        items: Ids of the items.
        left_out: What was not registered, each with its reason.
    """

    collection: str
    items: tuple[str, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ingest:
    """The stages that bring files in."""

    raster: "RasterIngest"
    vector: "VectorIngest"


@dataclass(frozen=True)
class Platform:
    """Everything geoetl does, for one set of settings.

    Attributes:
        settings: As they were read.
        database: Runs and artefacts.
        zones: Where finished files live.
        gate: Opens files.
        runs: Pipeline runs.
        catalog: The STAC catalogue.
        ingest, virtual: Stages of the pipelines.
        raster, cube, features: Read what is in the catalogue, by collection and item.
    """

    settings: Settings
    database: Database
    zones: Zones
    gate: Gate
    runs: RunRepository

    @cached_property
    def catalog(self) -> "Catalog":
        """The STAC catalogue: pgSTAC on PostgreSQL, tables of our own on SQLite."""
        return self._catalog_over(self.database)

    def _catalog_over(self, database: Database, *, is_keeper: bool = False) -> "Catalog":
        """Return the catalogue of a database; a keeper may change what managed datasets keep."""
        if database.dialect == "postgresql":
            from geoetl.store.catalog.pgstac import PgstacCatalog

            return PgstacCatalog(database, self.zones, is_keeper)
        from geoetl.store.catalog.sqlite import SqliteCatalog

        return SqliteCatalog(database, self.zones, is_keeper)

    @cached_property
    def _keeper(self) -> "Catalog":
        """The catalogue for what follows from other changes: how things are drawn, thumbnails."""
        return self._catalog_over(self.database, is_keeper=True)

    @cached_property
    def identity(self) -> "IdentityRepository":
        """Users, their tokens, and the secret that the servers sign with."""
        from geoetl.store.identity import IdentityRepository

        return IdentityRepository(self.database)

    @cached_property
    def lookup(self) -> "CatalogCache":
        """Items and collections by ids, kept until the catalogue changes; what all access shares."""
        from geoetl.access.items import CatalogCache

        return CatalogCache(self.catalog)

    @cached_property
    def places(self) -> "Places":
        """Places by name, and the items that boundaries come from."""
        from geoetl.access.places import Places

        return Places.load(self.settings.places)

    @cached_property
    def ingest(self) -> Ingest:
        """The stages of `ingest-raster` and `ingest-vector`."""
        from geoetl.ingest import RasterIngest, VectorIngest

        parts = (self.gate, self.zones.internal, self._scratch)
        return Ingest(RasterIngest(*parts), VectorIngest(*parts, self.catalog))

    @cached_property
    def virtual(self) -> "CubeVirtualiser":
        """The stages of `virtualise-cmip6`."""
        from geoetl.virtual import CubeVirtualiser

        return CubeVirtualiser(self.gate, self.zones.internal, self._scratch)

    @cached_property
    def raster(self) -> "RasterAccess":
        """Pictures and point values of rasters."""
        from geoetl.access import RasterAccess

        return RasterAccess(self.lookup, self.gate, self.zones, cubes=self.cube, query=self.settings.query)

    @cached_property
    def cube(self) -> "CubeAccess":
        """Pictures and point series of cubes."""
        from geoetl.access import CubeAccess

        return CubeAccess(self.lookup, self.gate, self.zones, query=self.settings.query, places=self.places)

    @cached_property
    def features(self) -> "FeatureAccess":
        """Features of vector items."""
        from geoetl.access import FeatureAccess

        return FeatureAccess(self.lookup, self.gate, self.zones, self.settings.query)

    @cached_property
    def tiles(self) -> "Tiles":
        """Map tiles of rasters and cubes."""
        from geoetl.access.tiles import Tiles

        return Tiles(self.lookup, self.raster, self.cube)

    @cached_property
    def vector_tiles(self) -> "VectorTiles":
        """Vector tiles of vector items."""
        from geoetl.access.vector_tiles import VectorTiles

        return VectorTiles(self.lookup, self.gate, self.zones)

    @cached_property
    def styles(self) -> "StyleLibrary":
        """The styles of layers with their versions, in every encoding."""
        from geoetl.styles.layers import Layers
        from geoetl.styles.library import StyleLibrary
        from geoetl.styles.repository import StyleRepository

        layers = Layers(self.catalog, self.lookup, self._vector_facts)
        return StyleLibrary(StyleRepository(self.database), layers, self._proposed_style, self._show_style)

    @cached_property
    def datasets(self) -> "DatasetUpdates":
        """Managed datasets: outside sources that are kept current."""
        from geoetl.datasets.declared import read_definitions
        from geoetl.datasets.handlers import installed_handlers
        from geoetl.datasets.repository import DatasetRepository
        from geoetl.datasets.update import DatasetUpdates

        repository = DatasetRepository(self.database)
        if not self.database.read_only:
            repository.declare(read_definitions(self.settings.managed))
        return DatasetUpdates(
            repository=repository,
            runs=self.runs,
            catalog=lambda database: self._catalog_over(database, is_keeper=True),
            gate=self.gate,
            zone=self.zones.internal,
            loader=DatasetLoader(self),
            handlers=installed_handlers(),
            environment=os.environ,
            folder=self.settings.home / "downloads",
            scratch=self._scratch,
            after=self._dress,
        )

    @cached_property
    def publish(self) -> "Publishing":
        """What of the catalogue becomes public: submitted, decided on, copied, and taken back."""
        from geoetl.publish.assembling import Assembler
        from geoetl.publish.index import PublicIndex
        from geoetl.publish.publishing import Publishing
        from geoetl.publish.repository import ReleaseRepository
        from geoetl.styles.sheets import Sheets
        from geoetl.virtual.packing import CubePacker

        repository, base_url = ReleaseRepository(self.database), self._public_base
        packer = CubePacker(self.gate, self.zones, self._scratch)
        return Publishing(
            repository=repository,
            runs=self.runs,
            zones=self.zones,
            catalog=self._catalog_over,
            assembler=Assembler(
                self.catalog, self.zones, packer, Sheets(self.styles), self._inside, base_url, self._scratch
            ),
            index=PublicIndex(self.zones.external, repository),
            make_delivery=self._delivery,
            make_probe=self._probe,
            queue_run=self.submit,
            needed_keys=self._needed_keys,
            refuse_system=self._refuse_system,
            base_url=base_url,
        )

    def _needed_keys(self) -> set[str]:
        """Return the keys of the internal zone that the catalogue, managed datasets and styles need."""
        _releases, *others = self.janitor.needs
        addresses = (address for need in others for address in need.addresses(self.database))
        return {one.removeprefix("internal://") for one in addresses if one.startswith("internal://")}

    def _delivery(self) -> "Delivery":
        """Return what brings releases to the external zone; the settings say with what."""
        from geoetl.publish.copiers import installed_copiers
        from geoetl.publish.delivery import Delivery
        from geoetl.store.origins import Origins

        origins, settings = Origins(self.zones, self.gate), self.settings.publish
        copier = installed_copiers()[settings.copier](origins, settings)
        return Delivery(self.zones.external, origins, copier)

    def _probe(self) -> "Probe":
        from geoetl.publish.probing import Probe

        return Probe(self.zones.external, self._public_base, self._inside)

    @property
    def _inside(self) -> tuple[str, ...]:
        """The folders whose paths nobody outside may read."""
        zones = [zone.root for zone in (self.zones.internal, self.zones.external) if zone.root]
        return tuple(dict.fromkeys(map(str, (self.settings.home, *zones, *self.gate.roots))))

    @property
    def _public_base(self) -> str:
        return self.settings.publish.base_url or self.zones.external.url.rstrip("/")

    def _refuse_system(self, collection: str, item: str) -> None:
        """Refuse to let an item go that boundaries come from."""
        for kind, references in self.places.boundaries.items():
            if any((one.collection, one.item) == (collection, item) for one in references):
                raise Conflict(
                    f"The boundaries of the type '{kind}' come from '{collection}/{item}'.",
                    hint="Name another item in the file of places (GEOETL_PLACES) first.",
                    field="item",
                )

    @cached_property
    def janitor(self) -> "Janitor":
        """Finds what nothing needs any more, and removes it."""
        from geoetl.datasets.needed import DatasetNeed
        from geoetl.ops import Janitor
        from geoetl.ops.needs import CatalogNeed
        from geoetl.ops.temporary import TemporaryFiles
        from geoetl.publish.needed import ReleaseNeed
        from geoetl.styles.needed import StyleNeed

        home, releases = self.settings.home, ReleaseNeed(lambda: self.publish.held_keys(), time.time)
        assert self._dask.scratch is not None
        return Janitor(
            database=self.database,
            zones=self.zones,
            runs=self.runs,
            needs=(
                releases,
                DatasetNeed(self.zones.internal, self.datasets.folder),
                StyleNeed(self.zones),
                CatalogNeed(self._catalog_over, self.zones),
            ),
            copying=releases.copying,
            files=TemporaryFiles(home, self._scratch, self._dask.scratch, home / "cache"),
        )

    @cached_property
    def boundaries(self) -> "Boundaries":
        """Countries, states and counties by codes and names."""
        from geoetl.access.boundaries import Boundaries

        return Boundaries(self.features, self.lookup, self.gate, self.places, self.zones)

    def guarded(self) -> "Platform":
        """Return this platform for a server: what geoetl did not write itself is opened in a child process first."""
        own = [zone.root for zone in (self.zones.internal, self.zones.external) if zone.root]
        own += [self.settings.home / "cache", *(path for path in self.gate.roots if path.is_file())]
        return replace(self, gate=self.gate.guarded(own))

    @property
    def _scratch(self) -> Path:
        return self.settings.home / "scratch"

    def open(self, collection: str, item: str, asset: str | None = None) -> Any:
        """Open an item's data: a COG as xarray.DataArray, references as xarray.Dataset, GeoParquet as GeoDataFrame.

        Raises:
            NotFound: There is no such item or asset.
        """
        from geoetl.access import open_item

        return open_item(self.lookup, self.gate, self.lookup.item(collection, item), asset, zones=self.zones)

    # -- registering -------------------------------------------------------------------------------------------------

    def register(self, items: Sequence[Mapping[str, Any]]) -> Registered:
        """Put items of one collection into the catalogue; the collection is made, or its extent widened, as needed.

        Raises:
            EmptyDataset: There are none.
        """
        if not items:
            raise EmptyDataset("There is no item to register.")
        collection_id = str(items[0]["collection"])
        collection, is_new = self._widened(collection_id, items)
        if is_new:
            self.catalog.upsert_collection(collection)
        try:
            self.catalog.upsert_items([dict(item) for item in items])
        except GeoetlError:
            if is_new:
                self.catalog.delete_collection(collection_id)
            raise
        if not is_new:
            self.catalog.upsert_collection(collection)
        return Registered(collection=collection_id, items=tuple(str(item["id"]) for item in items))

    def _widened(self, collection_id: str, items: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], bool]:
        """Return the collection with an extent that covers the items too, and whether it is new."""
        from geoetl.store.catalog import Search

        try:
            known = dict(self.catalog.collection(collection_id))
        except NotFound:
            return with_extent(new_collection(collection_id), items), True
        wider = with_extent(known, items)
        if not self.catalog.search(Search(collections=(collection_id,), limit=1)).items:
            return wider, False
        old, new = known["extent"], wider["extent"]
        box = BBox.from_list(old["spatial"]["bbox"][0]).union(BBox.from_list(new["spatial"]["bbox"][0]))
        (start, end), (new_start, new_end) = old["temporal"]["interval"][0], new["temporal"]["interval"][0]
        interval = [start and min(start, new_start), end and max(end, new_end)]
        extent = {"spatial": {"bbox": [box.as_list()]}, "temporal": {"interval": [interval]}}
        return {**wider, "extent": extent}, False

    def illustrate(self, registered: Registered) -> Registered:
        """Give registered rasters and cubes a thumbnail; a grid too coarse to show anything gets none."""
        items = [dict(self.catalog.item(registered.collection, item_id)) for item_id in registered.items]
        changed = [drawn for item in items if (drawn := self._illustrated(item))]
        if changed:
            self._keeper.upsert_items(changed)
        return registered

    def _illustrated(self, item: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return an item with a thumbnail of how it is drawn now; None where it would show nothing."""
        picture = self._picture(item)
        if picture is None:
            return None
        collection, item_id = item["collection"], item["id"]
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            path = Path(folder) / "thumbnail.png"
            path.write_bytes(picture)
            kind = "cubes" if "cube:dimensions" in item["properties"] else "rasters"
            key = f"{kind}/{collection}/{item_id}/thumbnail-{file_digest(path)[:8]}.png"
            stored = self.zones.internal.put(path, key, owner=f"{collection}/{item_id}")
        asset = object_asset(stored, title="Thumbnail", roles=["thumbnail"])
        return {**item, "assets": {**item["assets"], "thumbnail": asset}}

    def _picture(self, item: Mapping[str, Any]) -> bytes | None:
        collection, item_id = item["collection"], item["id"]
        if "cube:dimensions" not in item["properties"]:
            return self.raster.preview(collection, item_id, max_size=THUMBNAIL_SIDE).content
        cube = self.cube.describe(collection, item_id)
        shown = next(v for v in cube.variables if v.name == cube.default_variable)
        if cube.grid != "regular" or min(shown.shape[-2:]) < MIN_PICTURE_CELLS:
            return None
        return self.cube.preview(collection, item_id, max_size=THUMBNAIL_SIDE, crs="EPSG:4326").content

    # -- styles --------------------------------------------------------------------------------------------------------

    def _vector_facts(self, collection: str, item: str) -> "VectorFacts":
        """Tell what styling needs to know of the features of an item."""
        from geoetl.styles.layers import VectorFacts, dimensions_of, property_kind

        about = self.features.describe(collection, item)
        kinds = {one.name: property_kind(one.values) for one in about.properties}
        return VectorFacts(dimensions_of(about.geometry_types), kinds)

    def style(self, registered: Registered) -> Registered:
        """Give registered layers a style; one that has styles keeps them, and what is new in it is drawn by them."""
        from geoetl.styles.coverage import fits, is_coverage, styled_item
        from geoetl.styles.library import DEFAULT_ID

        items = [dict(self.catalog.item(registered.collection, item_id)) for item_id in registered.items]
        coverages = [item for item in items if is_coverage(item)]
        for item in items:
            if item not in coverages and "table:columns" in item["properties"]:
                self.styles.ensure_default(f"{item['collection']}:{item['id']}")
        if not coverages or self.styles.ensure_default(registered.collection) is not None:
            return registered
        chosen = self.styles.default(registered.collection)
        if chosen is not None:
            layer = self.styles.layer(registered.collection)
            # One that nobody has touched was made from the first data of the collection.
            is_proposed = chosen.id == DEFAULT_ID and chosen.version == 1 and chosen.summary.author is None
            suited = [item for item in coverages if not is_proposed or fits(chosen.style, item, layer)]
            changed = [styled for item in suited if (styled := styled_item(item, chosen.style, layer))]
            if changed:
                self._keeper.upsert_items(changed)
        return registered

    def _dress(self, version: "Version", dataset: "ManagedDataset") -> None:
        """Give a version of a managed dataset that is served now its styles."""
        from geoetl.styles.library import DEFAULT_ID

        for layer, style in version.styles.items():
            if not self.styles.list(layer):
                # With an author: it was made for all data of the source, not after the values of the first.
                self.styles.put(layer, DEFAULT_ID, style, author=f"dataset/{dataset.dataset_id}")
        self.style(Registered(collection=dataset.target_schema, items=tuple(item["id"] for item in version.items)))

    def _show_style(self, layer: "StyledLayer", style: "Style | None") -> None:
        """Let every raster and cube of a collection be drawn by a style, or as before it had one."""
        from geoetl.store.catalog import Search, walk
        from geoetl.styles.coverage import is_coverage, styled_item

        items = [item for item in walk(self.catalog, Search(collections=(layer.id,))) if is_coverage(item)]
        changed = [styled for item in items if (styled := styled_item(item, style, layer))]
        if changed:
            self._keeper.upsert_items(changed)
        self._redraw([item for item in changed if "thumbnail" in item["assets"]][:MAX_REDRAWN])

    def _redraw(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Let thumbnails show how items are drawn now; one whose data cannot be read keeps its old one."""
        drawn = []
        for item in items:
            try:
                drawn.append(self._illustrated(item))
            except GeoetlError as error:
                _log.warning("thumbnail of %s/%s: %s", item["collection"], item["id"], error.detail)
        changed = [item for item in drawn if item is not None]
        if changed:
            self._keeper.upsert_items(changed)

    def _proposed_style(self, layer: "StyledLayer") -> "Style":
        """Make a style for a layer from its data."""
        from geoetl.store.catalog import Search, walk
        from geoetl.styles.coverage import is_coverage, plain_style, style_of_render
        from geoetl.styles.defaults import default_style
        from geoetl.styles.layers import names_of

        collection, item_id = names_of(layer.id)
        if item_id is not None:
            title = str(self.lookup.item(collection, item_id)["properties"].get("title") or item_id)
            return default_style(layer, lambda name: self.features.values(collection, item_id, name), title=title)
        title = str(self.lookup.collection(collection).get("title") or collection)
        item = next(filter(is_coverage, walk(self.catalog, Search(collections=(collection,)))), None)
        try:
            style = None if item is None else style_of_render(*self._as_drawn(item), title=title)
        except InvalidParameter:  # nothing of it can be drawn, such as complex numbers
            style = None
        return style or plain_style(title)

    def _as_drawn(self, item: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return how a raster or cube is drawn without a style: a render, and what it shows."""
        import numpy as np

        from geoetl.access.frame import WEB_MERCATOR, map_frame
        from geoetl.access.raster import Choice
        from geoetl.access.tiles import TileQuestion, TileSource
        from geoetl.styles.coverage import OWN_FIELD, UNSTYLED

        renders = item["properties"].get("renders") or {}
        names = (item["collection"], item["id"])
        render = UNSTYLED if UNSTYLED in renders else None
        own = renders.get(render or "default") or {}
        if "cube:variables" in item["properties"]:
            cube = self.tiles.cube_info(TileQuestion(TileSource.CUBE, *names, render=render))
            drawn = {"rescale": [list(cube.rescale)], "colormap_name": cube.colormap}
            return {**drawn, **({} if cube.colormap else own)}, (cube.variable.name,)
        raster = self.tiles.raster_info(TileQuestion(TileSource.RASTER, *names, render=render))
        bands = tuple(band.name for band in raster.bands)
        if raster.rescale and (raster.colormap or len(bands) == 3):
            return {"rescale": [list(limits) for limits in raster.rescale], "colormap_name": raster.colormap}, bands
        with self.raster.layer(Choice(*names)) as layer:
            if layer.palette is None:
                return own, bands
            values = layer.on_frame(map_frame(layer.extent, WEB_MERCATOR, MAX_CLASSES_SIDE))
            present = {int(value) for value in np.unique(values[np.isfinite(values)])}
            classes = {str(value): colour.tolist() for value, colour in enumerate(layer.palette.colours)}
            labels = {str(value): layer.labels.get(value, str(value)) for value in sorted({*present, *layer.labels})}
        return {"colormap": classes, OWN_FIELD: {"labels": labels}}, bands

    # -- cubes in step with their sources ------------------------------------------------------------------------------

    def stored_cube(self, collection: str, item: str) -> "StoredCube":
        """Return a registered virtual cube with its references on this machine.

        Raises:
            NotFound: There is no such item.
            InvalidParameter: It is no virtual cube in the internal zone.
        """
        from geoetl.virtual.upkeep import StoredCube
        from geoetl.virtual.write import CubeFormat

        found = self.catalog.item(collection, item)
        asset = found["assets"].get("references", {})
        format = CubeFormat.of_media_type(str(asset.get("type")))
        zone, key = self.zones.locate(str(asset.get("href", "")))
        if format is None or zone is None:
            raise InvalidParameter(
                f"'{item}' is no virtual cube.", hint="Give an item whose references geoetl made.", field="item"
            )
        path = zone.local_folder(key) if format.is_folder else zone.local_path(key)
        return StoredCube(found, path, format)

    def check_cube(self, collection: str, item: str) -> "CubeCheck":
        """Compare a virtual cube with its sources again: whether they are the same files, then times and values.

        Raises:
            NotFound: There is no such item.
            InvalidParameter: It is no virtual cube.
        """
        from geoetl.virtual import upkeep

        return upkeep.check(self.gate, self.stored_cube(collection, item))

    def append_to_cube(self, collection: str, item: str, sources: Sequence[str]) -> Registered:
        """Add later files to a virtual cube; the files that it has are not opened again.

        Raises:
            NotFound: There is no such item or file.
            InvalidParameter: Nothing can be added to that kind of cube.
            VerificationFailed: A file does not fit behind the others.
        """
        from geoetl.virtual import upkeep

        paths = self.gate.locate_all(sources)
        cube = self.stored_cube(collection, item)
        made = upkeep.append(self.virtual.publisher(collection), self._scratch, cube, paths)
        return self._replaced(cube, made)

    def relocate_cube(self, collection: str, item: str, old: str, new: str) -> Registered:
        """Follow the sources of a virtual cube from the folder `old` to the folder `new`.

        Raises:
            NotFound: There is no such item, or a source is not there.
            InvalidParameter: A source was not under `old`, or the cube is an Icechunk repository.
            VerificationFailed: A file there differs from the one that was indexed.
        """
        from geoetl.virtual import upkeep

        cube = self.stored_cube(collection, item)
        made = upkeep.relocate(self.virtual.publisher(collection), self._scratch, cube, old, new)
        return self._replaced(cube, made)

    def _replaced(self, cube: "StoredCube", made: "VirtualCube") -> Registered:
        from geoetl.virtual.item import cube_item

        links = [link for link in cube.item["links"] if link["rel"] == "processing-execution"]
        item = cube_item(cube.collection, made, links[0]["href"] if links else None)
        kept = {name: asset for name, asset in cube.item["assets"].items() if name not in item["assets"]}
        return self.register([{**item, "assets": {**item["assets"], **kept}}])

    # -- running -----------------------------------------------------------------------------------------------------

    def run(
        self,
        pipeline: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        again: bool = False,
        watch: Callable[[RunRecord], None] | None = None,
    ) -> RunRecord:
        """Run a pipeline notebook to its end, in this process.

        The same pipeline with the same parameters and an unchanged source is the same run: a completed one is
        returned as it is (``reused``), an unfinished one goes on behind its last finished stage.

        Args:
            pipeline: Name of the notebook.
            parameters: Its parameters; the rest keep their defaults.
            again: Run anew although it was completed before.
            watch: Called a few times a second with the run as it stands.

        Raises:
            NotFound: There is no such pipeline.
            InvalidParameter: A parameter is unknown, missing or of the wrong type; no run was made.
            Conflict: The same run is being executed by another process.
        """
        from geoetl.runs.presence import Presence

        notebook = load_pipeline(pipeline)
        values = self.check_parameters(notebook, parameters or {})
        asked = self._submission(notebook, values, salt=new_id() if again or notebook.asks_outside else "")
        done = self._done_before(asked)
        if done:
            return reused(done)
        with Presence(self.runs.queue) as presence:
            claim = self.runs.queue.begin(asked, presence.id)
            with _watching(lambda: self.runs.get(claim.run_id), watch):
                finished = self._runner.execute(notebook, claim, self._environment(), presence)
        if watch:
            watch(finished)
        return finished

    def submit(
        self,
        pipeline: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        again: bool = False,
        key: str | None = None,
        priority: int = 0,
        submitted_by: str | None = None,
        principal: "Principal | None" = None,
    ) -> RunRecord:
        """Queue a run of a pipeline notebook for a worker, and return it without waiting.

        What would be the same run for `run` is the same here: one that waits, is executed or is completed is returned
        (``reused``), one that failed waits again and goes on behind its last finished stage.

        Args:
            pipeline: Name of the notebook.
            parameters: Its parameters; the rest keep their defaults.
            again: Run anew although it was completed before.
            key: Tells a repeated request: whatever became of the first with this key, it is the answer.
            priority: Of two subjects, the one with the higher number is served first; -100 to 100.
            submitted_by: Who asks, as people read it.
            principal: Who asks, where that is known: whether they may is looked at, and the pipeline may be told.

        Raises:
            InvalidParameter: There is no such pipeline or source, or a parameter is not right; no run was made.
            Forbidden: Who asks may not run that pipeline.
        """
        if principal is not None:
            parameters = self._asked_by(pipeline, parameters or {}, principal)
            submitted_by = submitted_by or principal.name
        notebook, values = self.preflight(pipeline, parameters or {})
        anew = again or notebook.asks_outside
        salt = f"key {key}" if key else new_id() if anew else ""
        asked = self._submission(
            notebook, values, salt=salt, priority=priority, submitted_by=submitted_by, once=key is not None
        )
        if notebook.asks_outside and not (again or key):
            done = self.runs.open_like(asked.pipeline, asked.subject, asked.parameters)
        else:
            done = None if key else self._done_before(asked)
        if done:
            return reused(done)
        ((run_id, is_known),) = self.runs.queue.submit(asked)
        record = self.runs.get(run_id)
        return reused(record) if is_known else record

    def _asked_by(self, pipeline: str, given: Mapping[str, Any], principal: "Principal") -> Mapping[str, Any]:
        from geoetl.runs.pipeline import asked_by

        try:
            notebook = load_pipeline(pipeline)
        except NotFound:
            return given  # `preflight` says so
        return asked_by(notebook, given, principal)

    def update_dataset(
        self,
        dataset_id: str,
        *,
        update_type: "UpdateType | None" = None,
        force: bool = False,
        key: str | None = None,
        submitted_by: str | None = None,
    ) -> RunRecord:
        """Queue an update of a managed dataset, unless the same one waits or is executed; see `submit`.

        Raises:
            NotFound: There is no such dataset.
        """
        from geoetl.datasets.model import UpdateType

        dataset = self.datasets.repository.get(dataset_id)
        parameters = {
            "dataset_id": dataset.dataset_id,
            "update_type": str(update_type or UpdateType.MANUAL),
            "force_update": force,
        }
        return self.submit(dataset.job_type, parameters, key=key, submitted_by=submitted_by)

    def follow(self, run_id: str, tell: Callable[[str], None] = print) -> RunRecord:
        """Tell what happens to a run as it happens, and return it when it is over.

        Raises:
            NotFound: There is no such run.
        """
        record = self.runs.get(run_id)
        for event in self.runs.follow(record.id):
            for line in event.lines():
                tell(line)
        return self.runs.get(record.id)

    def preflight(self, pipeline: str, given: Mapping[str, Any]) -> tuple[Pipeline, dict[str, Any]]:
        """Return a pipeline and all of its parameters, after a look at whether it could begin.

        Raises:
            InvalidParameter: It could not: the message says of which pipeline, and why.
            ManagedData: It would write into a collection that a managed dataset keeps.
            Unavailable: The source cannot be looked for now.
        """
        try:
            notebook = load_pipeline(pipeline)
            values = self.check_parameters(notebook, given)
            if isinstance(values.get("collection"), str):
                check_id(values["collection"], "collection")
            if isinstance(values.get("source"), str):
                self.gate.locate(values["source"])
            if isinstance(values.get("dataset_id"), str):
                self.datasets.repository.get(values["dataset_id"])
        except GeoetlError as error:
            if error.retryable or isinstance(error, ManagedData):
                raise
            named = f"'{pipeline[:60]}'" in error.detail
            detail = error.detail if named else f"The pipeline '{pipeline}' was not started. {error.detail}"
            raise InvalidParameter(detail, hint=error.hint, field=error.field or "source") from None
        return notebook, values

    @cached_property
    def functions(self) -> "Registry[type[LightFunction]]":
        """Light work that runs as notebooks do, ours and that of installed packages."""
        from geoetl.core.registry import Registry
        from geoetl.datasets.scheduled import CHECK, CheckDataset
        from geoetl.publish.notifications import SEND, SendNotifications
        from geoetl.publish.scheduled import PUBLISH_DUE, PURGE, PublishDue, PurgeWithdrawn
        from geoetl.runs.functions import installed_functions

        ours: dict[str, type[LightFunction]] = {CHECK: CheckDataset, SEND: SendNotifications}
        ours |= {PUBLISH_DUE: PublishDue, PURGE: PurgeWithdrawn}
        return Registry("function", {**installed_functions(), **ours})

    def worker(self, *, slots: int = 1, grace_s: float = 10.0) -> "Worker":
        """Return what executes the runs that wait.

        Args:
            slots: Notebooks at a time.
            grace_s: How long what is executed may go on after it was asked to stop, seconds.
        """
        from geoetl.runs.stage import Run
        from geoetl.runs.worker import Worker

        def new_run(claim: "Claim") -> Run:
            return Run(claim.run_id, claim.attempt, self.runs, self.zones, self._dask, tell=lambda text: None)

        return Worker(self._runner, self._environment(), self.functions, self, new_run, slots, grace_s)

    @cached_property
    def schedules(self) -> "Schedules":
        """What runs by itself."""
        from geoetl.runs.functions import checked_function, function_submission
        from geoetl.runs.schedule import Schedule, Schedules, schedule_identity

        def prepare(schedule: Schedule, salt: str) -> Submission:
            further: dict[str, Any] = {"submitted_by": f"schedule {schedule.name}", "once": True}
            if schedule.kind is RunKind.FUNCTION:
                asked = function_submission(self.functions, schedule.target, schedule.parameters, **further)
            else:
                notebook, values = self.preflight(schedule.target, schedule.parameters)
                asked = self._submission(notebook, values, salt=salt, **further)
            return replace(asked, identity=schedule_identity(schedule, salt))

        def is_needed(schedule: Schedule) -> bool:
            if schedule.kind is not RunKind.FUNCTION:
                return True
            try:
                function = checked_function(self.functions, schedule.target, schedule.parameters)
            except GeoetlError:
                return True  # its slot tells what is wrong
            return function.is_needed(self)

        return Schedules(self.runs.queue, prepare, is_needed=is_needed)

    def declared_schedules(self) -> "Schedules":
        """Return what runs by itself, after it was brought in step with the file that declares it and the datasets.

        A platform that reads only leaves that to the others, and returns what is stored.

        Raises:
            ConfigurationError: The file is missing or malformed.
        """
        from geoetl.datasets.scheduled import checks
        from geoetl.runs.schedule import read_declarations

        if self.database.read_only:
            return self.schedules
        looks = checks(self.datasets.repository.list())
        self.schedules.declare([*read_declarations(self.settings.schedules), *looks])
        return self.schedules

    def _submission(self, notebook: Pipeline, values: dict[str, Any], *, salt: str, **further: Any) -> Submission:
        if notebook.subject:
            subject = f"{notebook.name}/{values.get(notebook.subject, '')}"[:200]
        else:
            subject = f"{values.get('collection', '')}/{values.get('source', '')}"[:200]
        identity = self._identity(notebook, values, salt)
        return Submission(notebook.name, values, identity, subject, **further)

    def _done_before(self, asked: Submission) -> RunRecord | None:
        """Return the completed run that answers the same request, unless what it registered was removed."""
        done = self.runs.latest(asked.identity)
        return done if done and done.state is RunState.COMPLETED and self._still_registered(done) else None

    @property
    def _dask(self) -> DaskSettings:
        scratch = self.settings.dask.scratch or self._scratch / "dask"
        return self.settings.dask.model_copy(update={"scratch": scratch})

    @property
    def _runner(self) -> "NotebookRunner":
        from geoetl.runs.notebook import NotebookRunner

        return NotebookRunner(self.runs, self.zones.internal, self._scratch, self.settings.limits)

    def check_parameters(self, pipeline: Pipeline, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return every parameter with its value, a relative `source` as an absolute path.

        Raises:
            InvalidParameter: A name is unknown, a required one is missing, or a value does not fit.
            ManagedData: The collection is kept by a managed dataset.
        """
        from geoetl.store.catalog.managed import refuse_managed

        values = pipeline.check(given)
        if pipeline.writes_collection and isinstance(values.get("collection"), str):
            with self.database.read() as connection:
                refuse_managed(connection, [values["collection"]])
        source = values.get("source")
        if isinstance(source, str) and "://" not in source and not source.startswith("samples:"):
            values["source"] = str(Path(source).expanduser().absolute())
        return values

    def _identity(self, pipeline: Pipeline, values: Mapping[str, Any], salt: str) -> str:
        source = values.get("source")
        try:
            found = self.gate.locate(source) if isinstance(source, str) else None
            content = found.fingerprint() if isinstance(found, RemoteFile) else fingerprint(found) if found else ""
        except GeoetlError:
            content = ""  # the run's first stage says what is wrong with the source
        return digest([pipeline.name, pipeline.digest, dict(values), content, salt])

    def _still_registered(self, record: RunRecord) -> bool:
        result = record.result
        if not isinstance(result, dict) or "items" not in result:
            return True
        try:
            for item in result["items"]:
                self.catalog.item(result["collection"], item)
        except NotFound:
            return False
        return True

    def _environment(self) -> dict[str, str]:
        variables = as_environment(self.settings)
        # The kernel starts in the same folder, but what may be read is decided here.
        allowed = (*self.gate.roots, *(root.url for root in self.gate.remote))
        roots = self.settings.model_copy(update={"allowed_roots": allowed})
        return {**variables, "GEOETL_ALLOWED_ROOTS": as_environment(roots)["GEOETL_ALLOWED_ROOTS"]}

    def current_run(self) -> "Run":
        """Return the run that this kernel belongs to, or begin an interactive one."""
        from geoetl.runs.stage import Run

        given = os.environ.get(RUN_VARIABLE)
        if given:
            run_id, _, attempt = given.partition(":")
            return Run(run_id, int(attempt), self.runs, self.zones, self._dask)
        from geoetl.runs.presence import Presence

        # As long as this process lives, its row is kept fresh.
        asked = Submission("interactive", {}, digest(new_id()), f"interactive/{new_id()}")
        claim = self.runs.queue.begin(asked, Presence(self.runs.queue).id)
        return Run(claim.run_id, claim.attempt, self.runs, self.zones, self._dask, interactive=True)

    def _repr_html_(self) -> str:
        from geoetl.core import html

        collections = self.catalog.collections()
        recent = self.runs.list(limit=5)
        parts = [html.heading("geoetl", f"{len(collections)} collections")]
        parts.append(html.table(["collection", "id"], [(c.get("title", c["id"]), c["id"]) for c in collections]))
        if recent:
            parts.append(html.table(["recent run", "state", "id"], [(r.pipeline, r.state, r.id) for r in recent]))
        return "".join(parts)


@dataclass(frozen=True)
class DatasetLoader:
    """Makes the items of managed datasets the way the pipelines of ingest do.

    Args:
        platform: Whose stages are used.
    """

    platform: Platform

    def vector(
        self, prepared: "PreparedVector", path: Path, definition: "Definition", item: str, notebook: str | None
    ) -> "Loaded":
        """Write GeoParquet and tiles of features, and describe them."""
        from geoetl.datasets.protocol import Loaded
        from geoetl.ingest import VectorRequest

        ingest = self.platform.ingest.vector
        request = VectorRequest(
            source=str(path),
            collection=definition.target_schema,
            item=item,
            title=prepared.title,
            description=prepared.description or definition.description,
            attribution=definition.attribution,
            license=definition.license,
            keywords=prepared.keywords,
            temporal_property=prepared.temporal_property,
            valid_at=prepared.valid_at,
        )
        checked = ingest.validate(request)
        files = ingest.to_files(request, checked)
        return Loaded(
            item=ingest.item(request, checked, files, notebook),
            data=files.data,
            rows_read=checked.rows_read,
            rows=files.rows,
            invalid=checked.repaired + checked.rows_read - checked.rows,
            geometry_types=files.geometry_types,
            columns={column.name: column.type for column in files.columns},
            bbox=files.bbox,
            findings=(*checked.findings, *files.findings),
        )

    def raster(
        self, prepared: "PreparedRaster", path: Path, definition: "Definition", item: str, notebook: str | None
    ) -> "Loaded":
        """Write a COG, and describe it."""
        from geoetl.datasets.protocol import Loaded
        from geoetl.ingest import RasterRequest

        ingest = self.platform.ingest.raster
        request = RasterRequest(
            source=str(path),
            collection=definition.target_schema,
            item=item,
            title=prepared.title,
            acquired=prepared.valid_at,
        )
        checked = ingest.validate(request)
        cog = ingest.to_cog(request, checked)
        made = ingest.item(request, checked, cog, notebook)
        told = {"description": prepared.description or definition.description, **prepared.properties}
        return Loaded(
            item={**made, "properties": {**made["properties"], **told}},
            data=cog.data,
            rows_read=1,
            rows=1,
            columns={band.name: band.data_type for band in checked.bands},
            bbox=checked.bbox,
            findings=checked.findings,
        )


def connect(home: str | Path | None = None, *, read_only: bool = False, **overrides: Any) -> Platform:
    """Return the platform of this environment; its database and folders are made at the first use.

    Args:
        home: Folder where state lives; by default ``GEOETL_HOME``.
        read_only: Make and change nothing: the database has to be there, and is opened so that it cannot be written.
        **overrides: Further settings that win over the environment.

    Raises:
        ConfigurationError: A setting is not right, or the home folder cannot be made.
    """
    settings = load_settings(home=home, **overrides)
    if not read_only:
        _make_home(settings.home)
    database = Database(settings.database_url, read_only=read_only)
    database.upgrade()
    artifacts = ArtifactRepository(database)
    cache = settings.home / "cache"
    zones = Zones(
        Zone("internal", settings.internal_url, artifacts, cache),
        Zone("external", settings.external_url, artifacts, cache),
    )
    remote = tuple(RemoteRoot(url) for url in dict.fromkeys(settings.remote_roots))
    gate = Gate(_roots(settings, zones), settings.limits, remote, _private(settings))
    return Platform(settings, database, zones, gate, RunRepository(database))


def _make_home(home: Path) -> None:
    try:
        # For this user alone: the database has the secret that cookies are signed with.
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The home folder cannot be made: {error.strerror}.",
            hint="Set GEOETL_HOME to a folder that this user may write.",
            field="GEOETL_HOME",
        ) from None


def current_run() -> "Run":
    """Return the run that this kernel belongs to, or begin an interactive one."""
    return connect().current_run()


def _roots(settings: Settings, zones: Zones) -> tuple[Path, ...]:
    folders = [Path.cwd(), settings.home, *settings.local_roots]
    folders += [zone.root for zone in (zones.internal, zones.external) if zone.root]
    for name in SAMPLES:
        try:
            folders.append(sample_path(name))
        except ConfigurationError:
            continue  # the samples are an extra
    return tuple(dict.fromkeys(folder.resolve() for folder in folders))


def _private(settings: Settings) -> tuple[Path, ...]:
    """Return what nobody may read as data: databases and whatever else lies in the home folder itself."""
    home = settings.home.resolve()
    if not settings.database_url.startswith("sqlite:///"):
        return (home,)
    file = Path(settings.database_url.removeprefix("sqlite:///").partition("?")[0]).resolve()
    return (home, *(file.with_name(file.name + suffix) for suffix in ("", "-wal", "-shm", "-journal")))


@contextmanager
def _watching(look: Callable[[], RunRecord], watch: Callable[[RunRecord], None] | None) -> Iterator[None]:
    if watch is None:
        yield
        return
    stop = threading.Event()

    def keep_looking() -> None:
        while not stop.wait(WATCH_EVERY_S):
            watch(look())

    thread = threading.Thread(target=keep_looking, name="geoetl-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
