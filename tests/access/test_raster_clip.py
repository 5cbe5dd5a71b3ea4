"""What lies in a region: the same pixels as rasterio's mask, on every grid and over the antimeridian."""

import io
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.features import geometry_mask
from rio_tiler.io import Reader

from geoetl.access import RasterWindow
from geoetl.access.cost import QueryLimits
from geoetl.access.region import Region
from geoetl.core.errors import InvalidParameter, LimitExceeded, NotFound
from geoetl.core.settings import LimitSettings, QuerySettings
from geoetl.core.spatial import BBox
from geoetl.store.samples import sample_path
from tests.access.conftest import COG, COLLECTION, Shelf
from tests.access.cubes import one_degree, regular_cube

STAR = {
    "type": "Polygon",
    "coordinates": [
        [[2.03, 2.07], [7.91, 3.13], [8.02, 7.97], [5.03, 4.96], [3.11, 8.03], [2.03, 2.07]],
        [[4.01, 3.51], [5.03, 3.49], [5.01, 4.03], [4.01, 3.51]],
    ],
}


def counted(width: int, height: int) -> NDArray[np.float64]:
    """Return a raster whose pixels are numbered from 1."""
    return np.arange(1.0, width * height + 1).reshape(height, width)


def clipped(shelf: Shelf, item: str, region: Region, **options: Any) -> RasterWindow:
    options = {"format": "npy", **options}
    found = shelf.platform.raster.clip(COLLECTION, item, region, **options)
    assert isinstance(found, RasterWindow)
    return found


def kept(found: RasterWindow) -> set[int]:
    return {int(value) for value in found.values[np.isfinite(found.values)]}


@pytest.mark.parametrize("all_touched", [False, True])
@pytest.mark.parametrize("south_up", [False, True])
def test_the_pixels_of_a_polygon_are_those_of_rasterios_mask(shelf: Shelf, all_touched: bool, south_up: bool) -> None:
    transform = Affine(0.1, 0, 0, 0, 0.1, 0) if south_up else Affine(0.1, 0, 0, 0, -0.1, 10)
    numbers = counted(100, 100)
    item = shelf.raster("plain", numbers, transform)
    found = clipped(shelf, item, Region.from_geojson(STAR), all_touched=all_touched)
    mask = geometry_mask([STAR], (100, 100), transform, all_touched=all_touched, invert=True)
    if all_touched:
        # The box around the region has the pixels whose centres lie in it; those beyond are only touched.
        assert kept(found) <= {int(value) for value in numbers[mask]}
        assert len(kept(found)) > geometry_mask([STAR], (100, 100), transform, invert=True).sum()
    else:
        assert kept(found) == {int(value) for value in numbers[mask]}


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32631", Affine(10_000, 0, 200_000, 0, -10_000, 1_000_000)),
        ("EPSG:32631", Affine(8_000, 3_000, 200_000, 3_000, -8_000, 800_000)),
        ("EPSG:3857", Affine(12_000, 0, 100_000, 0, -12_000, 1_100_000)),
        ("ESRI:54009", Affine(10_000, 0, 100_000, 0, -10_000, 1_100_000)),
    ],
)
def test_edges_are_straight_in_degrees_on_every_grid(shelf: Shelf, crs: str, transform: Affine) -> None:
    numbers = counted(100, 100)
    item = shelf.raster("projected", numbers, transform, crs)
    columns, rows = np.meshgrid(np.arange(100) + 0.5, np.arange(100) + 0.5)
    lon, lat = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform(*(transform @ (columns, rows)))
    region = Region.from_geojson(STAR)
    inside = shapely.contains_xy(region.geometry, lon, lat)
    near = shapely.dwithin(region.geometry.boundary, shapely.points(lon, lat), 0.002)
    found = kept(clipped(shelf, item, region))
    assert {int(value) for value in numbers[inside & ~near]} <= found
    assert not found & {int(value) for value in numbers[~inside & ~near]}
    assert inside.sum() > 100


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (Affine(1, 0, -180, 0, -1, 90), "EPSG:4326"),
        (Affine(1, 0, 0, 0, -1, 90), "EPSG:4326"),
        (Affine(111_319.49079327358, 0, -20_037_508.342789244, 0, -111_319.49079327358, 10_018_754.17), "EPSG:3857"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"crs": "EPSG:4326", "width": 40, "height": 20}])
def test_a_region_over_the_antimeridian_is_one(
    shelf: Shelf, transform: Affine, crs: str, options: dict[str, Any]
) -> None:
    height = 90 * 2
    lon = (transform.c + transform.a * (np.arange(360) + 0.5)) / (1 if crs == "EPSG:4326" else 111_319.49079327358)
    item = shelf.raster("globe", np.tile(np.mod(lon, 360), (height, 1)), transform, crs)
    region = Region.from_geojson(
        {"type": "Polygon", "coordinates": [[[170, -9], [-170, -9], [-170, 11], [170, 11], [170, -9]]]}
    )
    found = clipped(shelf, item, region, **options)
    known = np.isfinite(found.values[0])
    assert known.all()
    held = found.values[0][known]
    assert held.min() == pytest.approx(170.5)
    assert held.max() == pytest.approx(189.5)
    assert region.bbox == BBox(170, -9, -170, 11)


def test_a_utm_raster_on_the_dateline_is_clipped_on_both_sides(shelf: Shelf) -> None:
    transform = Affine(2000, 0, 650_000, 0, -2000, 5_500_000)
    item = shelf.raster("dateline", counted(100, 100), transform, "EPSG:32660")
    both = Region.from_bbox(BBox(179.5, 48.5, -179.8, 49.2))
    halves = [Region.from_bbox(box) for box in both.bbox.parts()]
    west, east = (kept(clipped(shelf, item, half)) for half in halves)
    assert west
    assert east
    assert kept(clipped(shelf, item, both)) == west | east
    assert not west & east


def test_a_cap_around_the_pole_is_clipped_from_a_polar_raster(shelf: Shelf) -> None:
    transform = Affine(50_000, 0, -2_500_000, 0, -50_000, 2_500_000)
    numbers = counted(100, 100)
    item = shelf.raster("polar", numbers, transform, "EPSG:3413")
    columns, rows = np.meshgrid(np.arange(100) + 0.5, np.arange(100) + 0.5)
    _, lat = pyproj.Transformer.from_crs(3413, "OGC:CRS84", always_xy=True).transform(*(transform @ (columns, rows)))
    found = kept(clipped(shelf, item, Region.from_bbox(BBox(-180, 80, 180, 90))))
    assert {int(value) for value in numbers[lat > 80.01]} <= found
    assert not found & {int(value) for value in numbers[lat < 79.99]}


def test_a_clip_of_a_real_scene_equals_that_of_rio_tiler(shelf: Shelf) -> None:
    path = sample_path("landsat_rgb.tif")
    item = shelf.register("scene", {"data": {"href": str(path), "type": COG, "roles": ["data"]}})
    shape = {"type": "Polygon", "coordinates": [[[-78.2, 24.5], [-77.5, 24.6], [-77.8, 25.1], [-78.2, 24.5]]]}
    found = clipped(shelf, item, Region.from_geojson(shape), crs="EPSG:3857", width=80, height=80, bands=[1, 2, 3])
    with Reader(str(path)) as reader:
        theirs = reader.feature(shape, dst_crs="EPSG:3857", width=80, height=80).array.astype("float32").filled(np.nan)
    known = np.isfinite(found.values)
    # GDAL takes the next pixel where a place falls near an edge, and rio-tiler every pixel that is touched.
    assert (found.values == theirs)[known].mean() > 0.95
    assert np.isfinite(theirs)[known].mean() > 0.999
    assert np.isfinite(theirs).sum() <= 1.1 * known.sum()


def test_a_step_of_a_cube_is_clipped_like_a_raster(shelf: Shelf) -> None:
    cube = regular_cube(*one_degree())
    found = clipped(shelf, shelf.cube("globe", cube), Region.from_geojson(STAR), time_index=2)
    lon, lat = found.places()
    inside = shapely.contains_xy(Region.from_geojson(STAR).geometry, lon, lat)
    np.testing.assert_array_equal(np.isfinite(found.values[0]), inside)
    assert (found.values[0][inside] >= 1000).all()


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
def test_a_clip_as_a_picture_shows_nothing_outside(shelf: Shelf, format: str) -> None:
    item = shelf.raster("plain", np.full((100, 100), 5, "uint8"), (0, 0, 10, 10))
    picture = shelf.platform.raster.clip(COLLECTION, item, Region.from_geojson(STAR), format=format, rescale=[0, 4])
    drawn = np.asarray(Image.open(io.BytesIO(picture.content)).convert("RGBA"))
    if format == "jpeg":
        assert drawn[:3, 25:35, :3].mean() > 250
    else:
        mask = drawn[..., 3] == 255
        assert 0.3 < mask.mean() < 0.7
        assert not mask[0, -1]


def test_a_region_outside_or_between_pixels_is_told(shelf: Shelf) -> None:
    item = shelf.raster("plain", counted(10, 10), (0, 0, 10, 10))
    with pytest.raises(NotFound, match="lies outside"):
        clipped(shelf, item, Region.from_bbox(BBox(20, 20, 30, 30)))
    small = Region.from_bbox(BBox(1.1, 1.1, 1.2, 1.2))
    with pytest.raises(NotFound, match="has its centre in the region") as error:
        clipped(shelf, item, small)
    assert "all_touched" in str(error.value.hint)
    assert kept(clipped(shelf, item, small, all_touched=True)) == {82}


def test_a_clip_is_bounded_by_what_is_read_and_not_by_its_box(shelf: Shelf) -> None:
    item = shelf.raster("plain", counted(100, 100), (0, 0, 20, 20), tiled=True, blockxsize=16, blockysize=16)
    region = Region.from_bbox(BBox(0, 0, 20, 20))
    limits = QueryLimits.of_requests(LimitSettings(), QuerySettings(max_chunks=10))
    with pytest.raises(LimitExceeded, match="49 chunks would have to be read; the limit is 10"):
        clipped(shelf, item, region, limits=limits)
    cost = shelf.platform.raster.estimate_clip(COLLECTION, item, region, limits=limits, format="npy")
    assert (cost.values, cost.chunks, cost.fits) == (10_000, 49, False)
    assert len(kept(clipped(shelf, item, region))) == 10_000
    with pytest.raises(InvalidParameter, match="no picture format"):
        clipped(shelf, item, region, format="gif")
