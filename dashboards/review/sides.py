"""How a release looks on the map: its own objects, drawn the way its own style says."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dashboards.explore.layer import CUBE_PICTURE_SIZE, MERCATOR_LATITUDE, PICTURE_SIZE
from dashboards.explore.listing import Kind, kind_of_item
from dashboards.shared.problem import Problem
from dashboards.shared.vector_layer import Tiles
from geoetl.core.errors import GeoetlError, InvalidParameter, NotFound
from geoetl.core.spatial import BBox
from geoetl.publish.comparison import box_of, item_of
from geoetl.publish.model import Manifest, Release, State

if TYPE_CHECKING:
    from geoetl.access import CubeAccess, Picture, RasterAccess
    from geoetl.access.vector_tiles import VectorTiles
    from geoetl.platform import Platform
    from geoetl.styles.legend import Legend

_PMTILES = "application/vnd.pmtiles"
_MAPLIBRE, _CANONICAL = ".maplibre.json", ".cs.json"


@dataclass(frozen=True)
class Drawn:
    """A release as a map shows it; where there is nothing to draw, `problem` says why.

    Attributes:
        kind: What it is.
        bbox: Where it lies, in degrees.
        picture: Of a raster or cube.
        tiles: What a map has to know of the vector tiles.
        archive: Target of the archive with these tiles.
        style: How features are drawn, as MapLibre takes it.
        legend: Of the features.
        problem: Why there is nothing to draw.
    """

    kind: Kind = Kind.OTHER
    bbox: BBox | None = None
    picture: "Picture | None" = None
    tiles: Tiles | None = None
    archive: str = ""
    style: Mapping[str, Any] | None = None
    legend: "Legend | None" = None
    problem: Problem | None = None

    def corners(self) -> list[list[float]]:
        """Return lon, lat of the picture's corners: top left, top right, bottom right, bottom left."""
        assert self.picture is not None
        box = self.picture.bbox
        east = box.east + 360 if box.crosses_antimeridian else box.east
        north, south = min(box.north, MERCATOR_LATITUDE), max(box.south, -MERCATOR_LATITUDE)
        return [[box.west, north], [east, north], [east, south], [box.west, south]]


@dataclass(frozen=True)
class ReleaseFiles:
    """The objects of a release where they can be read: those of a public one as they are public, else their sources.

    Attributes:
        platform: With the zones.
        release: Whose objects.
    """

    platform: "Platform"
    release: Release

    @property
    def manifest(self) -> Manifest:
        """What it is made of."""
        return self.release.manifest

    def href(self, target: str) -> str:
        """Return the portable address of an object.

        Raises:
            NotFound: The release has no such object.
        """
        source = next((one.source for one in self.manifest.objects if one.target == target), None)
        if source is None:
            raise NotFound(f"The release has no object '{target[:80]}'.", hint="Choose one in its list.")
        is_public = self.release.state is State.PUBLISHED
        return f"external://{self.manifest.path}/{target}" if is_public else source

    def media_type(self, target: str) -> str:
        """Return the media type of an object."""
        return next(one.media_type for one in self.manifest.objects if one.target == target)

    def folder_href(self, target: str) -> str | None:
        """Return the portable address of a folder of objects; None where the release has none."""
        beginning = f"{target.rstrip('/')}/"
        first = next((one for one in self.manifest.objects if one.target.startswith(beginning)), None)
        if first is None:
            return None
        return self.href(first.target).removesuffix(first.target[len(beginning) - 1 :])

    @cached_property
    def item(self) -> Mapping[str, Any]:
        """The item with the addresses at which its assets can be read here; those that cannot are left out."""
        item = item_of(self.manifest)
        targets = {one.target for one in self.manifest.objects}
        assets = {}
        for name, asset in item.get("assets", {}).items():
            target = posixpath.normpath(str(asset.get("href", "")))
            href = self.href(target) if target in targets else self.folder_href(target)
            if href is not None:
                assets[name] = {**asset, "href": href}
        return {**item, "collection": self.manifest.collection, "id": self.manifest.item, "assets": assets}

    def versioned_item(self, collection_id: str, item_id: str) -> tuple[int, Mapping[str, Any]]:
        """Return the item, as `geoetl.access` looks it up."""
        return 0, self.item

    @property
    def names(self) -> tuple[str, str]:
        """Collection and item."""
        return self.manifest.collection, self.manifest.item

    @cached_property
    def raster(self) -> "RasterAccess":
        """Pictures of its rasters."""
        from geoetl.access import RasterAccess

        platform = self.platform
        return RasterAccess(self, platform.gate, platform.zones, cubes=self.cube, query=platform.settings.query)

    @cached_property
    def cube(self) -> "CubeAccess":
        """Pictures of its cubes."""
        from geoetl.access import CubeAccess

        platform = self.platform
        return CubeAccess(self, platform.gate, platform.zones, query=platform.settings.query, places=platform.places)

    @cached_property
    def vector_tiles(self) -> "VectorTiles":
        """Its vector tiles."""
        from geoetl.access.vector_tiles import VectorTiles

        return VectorTiles(self, self.platform.gate, self.platform.zones)

    def style(self, ending: str) -> Mapping[str, Any] | None:
        """Return a style of the release in the encoding of that ending, the default one where there are several."""
        found = {target: one for target, one in self.manifest.documents.items() if target.endswith(ending)}
        chosen = min(found, key=lambda target: ("default" not in target, target), default=None)
        return found[chosen] if chosen else None


def draw(files: ReleaseFiles) -> Drawn:
    """Return how a release looks; what cannot be drawn is told."""
    item, box = files.item, box_of(files.manifest)
    kind = kind_of_item(item) if item.get("assets") else Kind.OTHER
    if box is not None and (box.south >= MERCATOR_LATITUDE or box.north <= -MERCATOR_LATITUDE):
        return Drawn(kind, box, problem=_nothing("It lies nearer to a pole than this map goes."))
    try:
        if kind is Kind.RASTER:
            return Drawn(kind, box, files.raster.preview(*files.names, max_size=PICTURE_SIZE))  # type: ignore[arg-type]
        if kind is Kind.CUBE:
            return Drawn(kind, box, _cube_picture(files))
        if kind is Kind.VECTOR:
            return _features(files, box)
    except GeoetlError as error:
        return Drawn(kind, box, problem=Problem.of(error, "drawing the release"))
    return Drawn(kind, box, problem=_nothing("It holds nothing that a map shows."))


def _cube_picture(files: ReleaseFiles) -> "Picture":
    if "references" in files.item["assets"] and files.release.state is not State.PUBLISHED:
        # Its references already name the addresses of the copies, which are not there yet.
        return files.platform.cube.preview(*files.names, max_size=CUBE_PICTURE_SIZE)
    return files.cube.preview(*files.names, max_size=CUBE_PICTURE_SIZE)


def _features(files: ReleaseFiles, box: BBox | None) -> Drawn:
    archive = next((one.target for one in files.manifest.objects if one.media_type.startswith(_PMTILES)), "")
    if not archive:
        raise InvalidParameter("It has no vector tiles.", hint="Look at its objects instead.", field="item")
    described = files.vector_tiles.tilejson(*files.names, "")
    layer = described.vector_layers[0].id if described.vector_layers else files.manifest.item
    tiles = Tiles(layer, described.minzoom, described.maxzoom)
    return Drawn(Kind.VECTOR, box, tiles=tiles, archive=archive, style=files.style(_MAPLIBRE), legend=_legend(files))


def _legend(files: ReleaseFiles) -> "Legend | None":
    from geoetl.styles.legend import legend_of
    from geoetl.styles.model import Style

    document = files.style(_CANONICAL)
    if document is None:
        return None
    try:
        return legend_of(Style.of(document), files.platform.styles.layer(":".join(files.names)))
    except NotFound:  # the item is in the catalogue no more
        return None


def _nothing(sentence: str) -> Problem:
    return Problem(sentence, "Look at its objects and numbers instead.", "nothing to draw")
