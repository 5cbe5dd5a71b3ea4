"""How much of a region each cell holds: against closed forms, exactextract, brute force, and laws."""

import math
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoetl.access.grid import EARTH_RADIUS_KM, Grid, IrregularGrid, find_grid
from geoetl.access.region import Region
from geoetl.access.weights import (
    EQUAL_WEIGHTS,
    MAX_CELLS,
    WeightCache,
    Weights,
    area_km2,
    box_area_km2,
    cell_weights,
    irregular_areas,
)
from geoetl.core.errors import InvalidParameter, LimitExceeded, NotFound
from geoetl.core.spatial import BBox
from geoetl.store.samples import sample_path
from tests.access.cubes import curvilinear_cube, projected_cube

EARTH_KM2 = 4 * math.pi * EARTH_RADIUS_KM**2
WORLD = BBox(-180, -90, 180, 90)
TURNED = shapely.Polygon([(-12.3, -33.3), (44.4, -10.0), (60.0, 77.7), (5.0, 40.0)])


def grid_of(
    lon: Any, lat: Any, bounds: dict[str, NDArray[Any]] | None = None, units: tuple[str, str] = ("east", "north")
) -> Grid:
    """Return the grid of a file with these coordinates."""
    dataset = xr.Dataset(
        {"v": (("lat", "lon"), np.zeros((len(lat), len(lon))))},
        coords={
            "lat": ("lat", np.asarray(lat), {"units": f"degrees_{units[1]}"}),
            "lon": ("lon", np.asarray(lon), {"units": f"degrees_{units[0]}"}),
        },
    )
    for name, values in (bounds or {}).items():
        dataset[f"{name}_bnds"] = ((name, "bnds"), values)
        dataset[name].attrs["bounds"] = f"{name}_bnds"
    return find_grid(dataset, "v")


def even(step: float, west: float = -180.0, *, south_up: bool = True) -> Grid:
    """Return a global grid of cells of `step` degrees."""
    lat = np.arange(-90 + step / 2, 90, step)
    return grid_of(np.arange(west + step / 2, west + 360, step), lat if south_up else lat[::-1])


def gaussian() -> Grid:
    """Return a global grid of 32 Gaussian latitudes, which are not evenly spaced."""
    lat = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(32)[0]))
    return grid_of(np.arange(0, 360, 5.625), lat)


def of(box: BBox) -> Region:
    return Region.from_bbox(box)


def by_place(weights: Weights, grid: Any) -> dict[tuple[float, float], float]:
    """Return the area of each cell by its centre, longitudes within -180 to 180."""
    rows, columns = weights.positions
    lon = (grid.lon.centres[columns] + 180) % 360 - 180
    return {
        (round(float(x), 6), round(float(y), 6)): float(weights.areas[i, j])
        for i, y in enumerate(grid.lat.centres[rows])
        for j, x in enumerate(lon)
        if weights.areas[i, j]
    }


GRIDS = {
    "-180 to 180": even(1.0),
    "0 to 360": even(1.0, 0.0),
    "descending": even(1.0, south_up=False),
    "Gaussian": gaussian(),
    "centres on the poles": grid_of(np.arange(0, 360, 2.5), np.arange(-90, 90.1, 2.5)),
    "a cell that wraps": grid_of(np.arange(0, 360, 2.0), np.arange(-89, 90, 2.0)),
    "one column": grid_of([0.0], np.arange(-89.5, 90), {"lon": np.array([[-180.0, 180.0]])}),
    "eastern column twice": grid_of(np.arange(0, 361, 1.0), np.arange(-89.5, 90)),
}
BOXES = [
    WORLD,
    BBox(-12.3, -33.3, 44.4, 77.7),
    BBox(170.2, -10, -160.7, 10.1),
    BBox(-180, 80.5, 180, 90),
    BBox(10, -5, 9.9, 5),
    BBox(5.1, 5.1, 5.2, 5.3),
    BBox(-0.7, -0.7, 0.7, 0.7),
]


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("box", BOXES, ids=str)
def test_the_weights_of_a_box_add_up_to_its_area_on_the_sphere(name: str, box: BBox) -> None:
    weights = cell_weights(GRIDS[name], box)
    height = math.sin(math.radians(box.north)) - math.sin(math.radians(box.south))
    assert weights.areas.sum() == pytest.approx(EARTH_KM2 * box.width_deg / 360 * height / 2, rel=1e-12)
    assert weights.total == pytest.approx(weights.areas.sum(), rel=1e-12)
    assert (weights.cover <= 1).all()


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("box", BOXES, ids=str)
def test_a_polygon_like_a_box_gives_the_weights_of_the_box(name: str, box: BBox) -> None:
    as_box, as_polygon = cell_weights(GRIDS[name], box), cell_weights(GRIDS[name], of(box))
    one, other = by_place(as_box, GRIDS[name]), by_place(as_polygon, GRIDS[name])
    largest = max(one.values())
    for place in one.keys() | other.keys():
        assert one.get(place, 0) == pytest.approx(other.get(place, 0), rel=1e-11, abs=1e-12 * largest)


@pytest.mark.parametrize("name", GRIDS)
def test_a_polygon_is_shared_out_among_the_cells_whole(name: str) -> None:
    weights = cell_weights(GRIDS[name], Region.from_shape(TURNED))
    assert weights.areas.sum() == pytest.approx(area_km2(TURNED), rel=1e-12)


def test_the_area_under_a_slanting_edge_is_its_integral() -> None:
    # Between the equator, the meridian 0 and the line from (90, 0) to (0, 90): longitude is 90 - latitude.
    corner = shapely.Polygon([(0, 0), (90, 0), (0, 90)])
    # The integral of (pi/2 - y) cos(y) from 0 to pi/2 is 1.
    assert area_km2(corner) == pytest.approx(EARTH_RADIUS_KM**2, rel=1e-13)
    weights = cell_weights(even(30.0), Region.from_shape(corner))
    assert weights.areas.sum() == pytest.approx(EARTH_RADIUS_KM**2, rel=1e-13)


def test_cells_within_a_hole_weigh_nothing() -> None:
    ring = shapely.Polygon(shapely.box(0, 0, 20, 20).exterior, [shapely.box(5.5, 5.5, 14.5, 14.5).exterior])
    weights = cell_weights(even(1.0), Region.from_shape(ring))
    assert weights.areas[10, 10] == 0.0
    assert weights.cover[5, 5] == pytest.approx(0.75, abs=2e-4)  # a quarter of the cell is hole
    expected = box_area_km2(BBox(0, 0, 20, 20)) - box_area_km2(BBox(5.5, 5.5, 14.5, 14.5))
    assert weights.areas.sum() == pytest.approx(expected, rel=1e-12)


def test_shares_of_cells_agree_with_exactextract() -> None:
    import rioxarray  # noqa: F401  registers the .rio accessor
    from exactextract import exact_extract

    step, box = 0.5, (-15.0, -35.0, 62.0, 80.0)
    columns, rows = int((box[2] - box[0]) / step), int((box[3] - box[1]) / step)
    lon = box[0] + step * (np.arange(columns) + 0.5)
    lat = box[3] - step * (np.arange(rows) + 0.5)
    raster = xr.DataArray(np.ones((rows, columns)), dims=("y", "x"), coords={"y": lat, "x": lon})
    raster = raster.rio.write_crs("EPSG:4326")
    frame = gpd.GeoDataFrame(geometry=[TURNED], crs="EPSG:4326")
    found = exact_extract(raster, frame, ["coverage", "cell_id"], output="pandas")
    shares = np.zeros(rows * columns)
    shares[np.asarray(found["cell_id"][0])] = np.asarray(found["coverage"][0])
    weights = cell_weights(grid_of(lon, lat), Region.from_shape(TURNED))
    ours = np.zeros((rows, columns))
    ours[np.ix_(*weights.positions)] = weights.cover
    # A cut cell's share on the plane differs from that on the sphere by what the cell narrows from edge to edge.
    narrowing = np.repeat(np.tan(np.radians(np.abs(lat))), columns) * math.radians(step) / 8
    assert (np.abs(ours.ravel() - shares) <= narrowing + 1e-6).all()
    assert ((ours.ravel() == 1) == (shares == 1)).all()
    heights = np.sin(np.radians(lat + step / 2)) - np.sin(np.radians(lat - step / 2))
    areas = np.repeat(heights, columns) * math.radians(step) * EARTH_RADIUS_KM**2
    assert (shares * areas).sum() == pytest.approx(weights.areas.sum(), rel=1e-5)


def test_shares_of_cells_agree_with_counting_points() -> None:
    grid = even(10.0)
    weights = cell_weights(grid, Region.from_shape(TURNED))
    rows, columns = weights.positions
    fine = (np.arange(200) + 0.5) / 200
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            south, west = -90 + 10 * row, -180 + 10 * column
            low, high = math.sin(math.radians(south)), math.sin(math.radians(south + 10))
            lat = np.degrees(np.arcsin(low + fine * (high - low)))
            lon, lat = np.meshgrid(west + 10 * fine, lat)
            counted = shapely.contains_xy(TURNED, lon, lat).mean()
            assert weights.cover[i, j] == pytest.approx(counted, abs=0.004)


def test_a_box_over_the_antimeridian_is_its_two_halves() -> None:
    for grid in GRIDS.values():
        whole = by_place(cell_weights(grid, BBox(170.25, -10, -160.7, 10)), grid)
        halves: dict[tuple[float, float], float] = {}
        for part in (BBox(170.25, -10, 180, 10), BBox(-180, -10, -160.7, 10)):
            for place, area in by_place(cell_weights(grid, part), grid).items():
                halves[place] = halves.get(place, 0) + area
        assert whole.keys() == halves.keys()
        for place, area in whole.items():
            assert area == pytest.approx(halves[place], rel=1e-11)


def test_longitudes_of_either_convention_and_latitudes_of_either_order_weigh_alike() -> None:
    for region in (of(BOXES[1]), of(BOXES[2]), Region.from_shape(TURNED)):
        first, *others = (by_place(cell_weights(GRIDS[name], region), GRIDS[name]) for name in list(GRIDS)[:3])
        for other in others:
            assert other.keys() == first.keys()
            assert all(other[place] == pytest.approx(area, rel=1e-10) for place, area in first.items())


def test_columns_run_from_west_to_east_over_the_seam_of_the_grid() -> None:
    weights = cell_weights(even(1.0, 0.0), BBox(-2, 0, 3, 1))
    assert weights.positions[1].tolist() == [358, 359, 0, 1, 2]
    weights = cell_weights(even(1.0), BBox(178, 0, -178, 1))
    assert weights.positions[1].tolist() == [358, 359, 0, 1]


def test_bounds_of_the_file_say_where_cells_end() -> None:
    lat, lon = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    skewed = np.array([[-0.5, 0.8], [0.8, 1.2]])
    weights = cell_weights(grid_of(lon, lat, {"lat": skewed, "lon": skewed}), BBox(-0.5, -0.5, 1.2, 1.2))
    assert weights.areas[0, 1] == pytest.approx(box_area_km2(BBox(0.8, -0.5, 1.2, 0.8)), rel=1e-12)


def test_between_cells_with_gaps_there_is_nothing() -> None:
    lon = np.array([0.5, 4.5])
    grid = grid_of(lon, np.array([0.5, 1.5]), {"lon": np.array([[0.0, 1.0], [4.0, 5.0]])})
    for region in (BBox(0, 0, 5, 2), of(BBox(0, 0, 5, 2))):
        weights = cell_weights(grid, region)
        assert weights.areas.sum() == pytest.approx(2 * box_area_km2(BBox(0, 0, 1, 2)), rel=1e-12)
        assert weights.total == pytest.approx(box_area_km2(BBox(0, 0, 5, 2)), rel=1e-12)


def test_bounds_that_overlap_or_miss_their_cell_are_not_believed() -> None:
    lat, lon = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0])
    plain = cell_weights(grid_of(lon, lat), BBox(-0.5, -0.5, 2.5, 2.5)).areas
    for wrong in ([[-1, 1], [0, 2], [1, 3]], [[5, 6], [6, 7], [7, 8]], [[0, 0], [1, 1], [2, 2]]):
        grid = grid_of(lon, lat, {"lon": np.array(wrong, dtype=float)})
        assert cell_weights(grid, BBox(-0.5, -0.5, 2.5, 2.5)).areas[:, 1] == pytest.approx(plain[:, 1], rel=1e-9)


def test_a_sliver_of_a_cell_that_single_precision_makes_does_not_count() -> None:
    lon = np.arange(0.05, 20, 0.1, dtype=np.float32)
    weights = cell_weights(grid_of(lon, np.arange(0.05, 10, 0.1, dtype=np.float32)), BBox(5, 2, 6, 3))
    assert weights.counted.sum() == 100
    assert weights.areas.sum() == pytest.approx(box_area_km2(BBox(5, 2, 6, 3)), rel=1e-9)


def test_countries_of_natural_earth_have_their_areas() -> None:
    frame = gpd.read_file(sample_path("ne_10m_admin_0_countries.zip"), columns=["NAME"]).set_index("NAME")
    equal_area = frame.loc[["Fiji", "Norway", "Brazil", "Antarctica"]].to_crs("+proj=cea +R=6371008.8").area / 1e6
    grid = even(0.25, 0.0, south_up=False)
    for name, expected in equal_area.items():
        weights = cell_weights(grid, Region.from_shape(frame.loc[name].geometry))
        # Antarctica's outline has few, long edges along the pole, which the projection draws straight.
        assert weights.areas.sum() == pytest.approx(expected, rel=1e-4), name


def test_a_region_beyond_the_data_is_told_so_with_what_they_cover() -> None:
    grid = grid_of(np.arange(0.5, 10), np.arange(40.5, 50))
    with pytest.raises(NotFound, match="lies outside the data, which cover longitude 0 to 10, latitude 40 to 50"):
        cell_weights(grid, BBox(40, 0, 50, 10))
    with pytest.raises(NotFound, match="has no area on this grid"):
        cell_weights(grid, BBox(5, 45, 5, 46))


def test_what_does_not_fit_into_memory_is_refused_before_it_is_worked_out() -> None:
    step = 0.01
    grid = even(step)
    for region in (WORLD, of(WORLD)):
        with pytest.raises(LimitExceeded, match=f"648,000,000 cells; the limit is {MAX_CELLS:,}") as refused:
            cell_weights(grid, region)
        assert "0.052 times the size" in str(refused.value.hint)


def test_an_outline_that_the_grid_cuts_too_often_is_refused() -> None:
    up_and_down = [(-170 + 0.003 * i, -80.0 if i % 2 else 80.0) for i in range(90_000)]
    comb = shapely.Polygon([*up_and_down, (100.0, 85.0), (-170.0, 85.0)])
    grid, region = even(0.1), Region(comb, BBox(-170, -80, 100, 85))
    with pytest.raises(LimitExceeded, match="pieces; the limit is") as refused:
        cell_weights(grid, region)
    assert refused.value.field == "geometry"


# -- irregular grids -------------------------------------------------------------------------------------------------


def irregular(dataset: xr.Dataset, variable: str) -> tuple[IrregularGrid, NDArray[np.float64] | None]:
    grid = find_grid(dataset, variable)
    assert isinstance(grid, IrregularGrid)
    return grid, irregular_areas(dataset, variable, grid)


def test_cells_of_a_curvilinear_grid_belong_to_a_region_by_their_centres() -> None:
    grid, areas = irregular(curvilinear_cube(), "tos")
    box = BBox(170, 15, -175, 25)
    weights, as_polygon = cell_weights(grid, box, areas), cell_weights(grid, of(box), areas)
    inside = ((grid.lon >= 170) & (grid.lon <= 185)) & (grid.lat >= 15) & (grid.lat <= 25)
    assert weights.cover.sum() == inside.sum() == as_polygon.cover.sum()
    assert weights.areas.sum() == pytest.approx(as_polygon.areas.sum())
    assert weights.weighting == "area of each cell whose centre lies in the region"
    # Cells of a degree, turned: their areas fill the box but for its rim.
    assert weights.areas.sum() == pytest.approx(box_area_km2(box), rel=0.05)


def test_areas_between_centres_are_those_of_a_turned_grid_of_one_degree() -> None:
    grid, areas = irregular(curvilinear_cube(), "tos")
    assert areas is not None
    expected = (math.pi / 180 * EARTH_RADIUS_KM) ** 2 * np.cos(np.radians(grid.lat))
    placed = np.isfinite(grid.lat)
    # At the rim, where one neighbour is missing, steps are those to the other.
    assert areas[placed] == pytest.approx(expected[placed], rel=1e-2)
    assert np.median(np.abs(areas[placed] / expected[placed] - 1)) < 2e-4


def test_corners_of_cells_give_their_areas_on_the_sphere_at_the_poles_too() -> None:
    lon, lat = np.meshgrid(np.arange(15.0, 360, 30), np.arange(-75.0, 90, 30))
    corners_lon = np.stack([lon - 15, lon + 15, lon + 15, lon - 15], axis=-1)
    corners_lat = np.stack([lat - 15, lat - 15, lat + 15, lat + 15], axis=-1)
    dataset = xr.Dataset(
        {
            "v": (("j", "i"), lon),
            "lon_vertices": (("j", "i", "vertex"), corners_lon),
            "lat_vertices": (("j", "i", "vertex"), corners_lat),
        },
        coords={
            "lon": (("j", "i"), lon, {"standard_name": "longitude", "bounds": "lon_vertices"}),
            "lat": (("j", "i"), lat, {"standard_name": "latitude", "bounds": "lat_vertices"}),
        },
    )
    grid, areas = irregular(dataset, "v")
    assert areas is not None
    # Cells joined by great circles fill the sphere, whatever their size.
    assert areas.sum() == pytest.approx(EARTH_KM2, rel=1e-12)
    assert cell_weights(grid, WORLD, areas).areas.sum() == pytest.approx(EARTH_KM2, rel=1e-12)


def test_areas_that_the_file_gives_are_taken_in_their_units() -> None:
    dataset = curvilinear_cube()
    shape = dataset["longitude"].shape
    dataset["areacello"] = (("j", "i"), np.full(shape, 3e6), {"units": "m2"})
    dataset["tos"].attrs["cell_measures"] = "area: areacello"
    _, areas = irregular(dataset, "tos")
    assert areas == pytest.approx(np.full(shape, 3.0))
    # Where they are missing, as on land, areas are worked out.
    dataset["areacello"][10:15] = np.nan
    grid, areas = irregular(dataset, "tos")
    assert areas is not None
    assert areas[12] == pytest.approx(
        (math.pi / 180 * EARTH_RADIUS_KM) ** 2 * np.cos(np.radians(grid.lat[12])), rel=0.01
    )
    assert areas[20] == pytest.approx(np.full(shape[1], 3.0))


def test_corners_that_are_folded_away_give_no_areas() -> None:
    dataset = curvilinear_cube()
    lon, lat = dataset["longitude"].values, dataset["latitude"].values
    turn = np.radians(30)
    corners = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]
    vertices = {
        "lon": np.stack([lon + i * np.cos(turn) - j * np.sin(turn) for i, j in corners], axis=-1),
        "lat": np.stack([lat + i * np.sin(turn) + j * np.cos(turn) for i, j in corners], axis=-1),
    }
    vertices["lon"][20, 20, 2] += 40
    for name, values in vertices.items():
        dataset[f"{name}_vertices"] = (("j", "i", "vertex"), values)
    dataset["longitude"].attrs["bounds"], dataset["latitude"].attrs["bounds"] = "lon_vertices", "lat_vertices"
    _, areas = irregular(dataset, "tos")
    assert areas is not None
    assert areas[20, 20] == pytest.approx(areas[20, 21], rel=0.02)


def test_projected_cells_have_the_areas_of_their_projection() -> None:
    grid, areas = irregular(projected_cube(), "snow")
    assert areas is not None
    # 100 km by 100 km near the pole, where EPSG:3413 enlarges areas by a twentieth less than at 70 degrees north.
    assert areas[4:6, 4:6] == pytest.approx(1e4 / 0.9697**2, rel=0.02)
    assert cell_weights(grid, BBox(-180, 88, 180, 90), areas).cover.sum() > 4


def test_cells_of_no_known_area_weigh_the_same_and_the_answer_says_so() -> None:
    lon, lat = np.array([0.0, 1.0, 2.0, 30.0]), np.array([0.0, 1.0, 2.0, 30.0])
    dataset = xr.Dataset(
        {"v": ("cell", lon)},
        coords={
            "lon": ("cell", lon, {"units": "degrees_east"}),
            "lat": ("cell", lat, {"units": "degrees_north"}),
        },
    )
    grid, areas = irregular(dataset, "v")
    assert areas is None
    weights = cell_weights(grid, BBox(0, 0, 5, 5), areas)
    assert weights.areas.tolist() == [1, 1, 1]
    assert weights.weighting == EQUAL_WEIGHTS
    with pytest.raises(NotFound, match="holds no cell's centre"):
        cell_weights(grid, BBox(10, 10, 11, 11), areas)


def test_coordinates_without_a_place_on_earth_are_told_so() -> None:
    curvilinear, projected = curvilinear_cube(), projected_cube()
    curvilinear["longitude"][:], curvilinear["latitude"][:] = 1e20, 1e20
    projected = projected.assign_coords(x=projected["x"].copy(data=np.full(projected.sizes["x"], np.inf)))
    for dataset, variable in ((curvilinear, "tos"), (projected, "snow")):
        with pytest.raises(InvalidParameter, match="hold no place on Earth"):
            find_grid(dataset, variable)


# -- laws ------------------------------------------------------------------------------------------------------------

# Thousandths of degrees: GEOS, which cuts the parts, fails on the smallest numbers.
thousandths = st.integers(-170_000, 170_000).map(lambda number: number / 1000)
places = st.tuples(thousandths, thousandths.map(lambda number: number / 2))


@settings(max_examples=60, deadline=None)
@given(corners=st.lists(places, min_size=3, max_size=8), name=st.sampled_from(list(GRIDS)))
def test_every_region_is_shared_out_whole(corners: list[tuple[float, float]], name: str) -> None:
    shape = shapely.MultiPoint(corners).convex_hull
    if shape.geom_type != "Polygon" or shape.area < 1e-6:
        return
    weights = cell_weights(GRIDS[name], Region(shape, BBox(*shape.bounds)))
    assert weights.areas.sum() == pytest.approx(area_km2(shape), rel=1e-9)
    assert (weights.cover >= 0).all() and (weights.cover <= 1).all()


@settings(max_examples=60, deadline=None)
@given(
    corners=st.lists(places, min_size=3, max_size=8),
    cut=thousandths,
    name=st.sampled_from(["0 to 360", "Gaussian", "descending"]),
)
def test_the_parts_of_a_region_add_up(corners: list[tuple[float, float]], cut: float, name: str) -> None:
    shape = shapely.MultiPoint(corners).convex_hull
    parts = [shapely.clip_by_rect(shape, -180, -90, cut, 90), shapely.clip_by_rect(shape, cut, -90, 180, 90)]
    if shape.geom_type != "Polygon" or any(part.geom_type != "Polygon" or part.area < 1e-6 for part in parts):
        return
    grid = GRIDS[name]
    whole = by_place(cell_weights(grid, Region(shape, BBox(*shape.bounds))), grid)
    added: dict[tuple[float, float], float] = {}
    for part in parts:
        for place, area in by_place(cell_weights(grid, Region(part, BBox(*part.bounds))), grid).items():
            added[place] = added.get(place, 0) + area
    largest = max(whole.values())
    for place in whole.keys() | added.keys():
        assert whole.get(place, 0) == pytest.approx(added.get(place, 0), rel=1e-8, abs=1e-9 * largest)


def test_weights_are_kept_up_to_a_size_and_the_longest_unused_go_first() -> None:
    one = cell_weights(even(1.0), BBox(0, 0, 10, 10))
    asked: list[str] = []

    def work_out(name: str) -> Weights:
        asked.append(name)
        return one

    cache = WeightCache(capacity=2 * one.bytes)
    for name in ("a", "b", "a", "c", "a", "b"):
        cache.get(name, lambda name=name: work_out(name))  # type: ignore[misc]
    assert asked == ["a", "b", "c", "b"]


def test_no_weights_are_plain_ones_for_cells_that_count() -> None:
    weights = cell_weights(even(1.0), BBox(0.5, 60, 3, 80)).unweighted()
    assert pd.unique(weights.areas.ravel()).tolist() == [1.0]
    assert weights.weighting == "none"
