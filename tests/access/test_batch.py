"""Many places in many items in one call: equal to one by one, each chunk read once, problems beside the answers."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr

from geoetl.access import batch
from geoetl.access.batch import BatchItem
from geoetl.access.cost import QueryLimits
from geoetl.access.point_series import SampledVariable
from geoetl.core.errors import InvalidParameter, LimitExceeded
from geoetl.core.spatial import Point
from tests.access.conftest import COLLECTION, Shelf
from tests.access.cubes import curvilinear_cube, dated_cube, levels_cube, one_degree, regular_cube

PLACES: list[Any] = ["paris", [139.7, 35.7], "-179.9,0.2", Point(179.9, -60.3), [359.9, 89.9], "tokyo"]


def items_of(*names: str) -> list[str]:
    """Return items as they are asked for."""
    return [f"{COLLECTION}/{name}" for name in names]


@pytest.fixture
def globes(shelf: Shelf) -> list[str]:
    """Give two global cubes: of either convention, one in chunks, in two calendars."""
    lon, lat = one_degree(west=-180, south_up=False)
    chunked = {"tas": {"chunksizes": (4, 30, 40), "zlib": True}}
    shelf.cube("east", regular_cube(lon, lat, steps=10), encoding=chunked, properties={"version": "7"})
    lon, lat = one_degree()
    dates = xr.date_range("2000-02-25", periods=9, calendar="360_day", use_cftime=True)
    shelf.cube("west", regular_cube(lon, lat, steps=9).assign_coords(time=dates))
    return items_of("east", "west")


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"start_time": "2000-01-02", "end_time": "2000-03-02"},
        {"resolution": "monthly", "statistic": "median"},
        {"resolution": "yearly", "statistic": "percentile", "percentile": 25},
    ],
)
def test_many_places_equal_one_by_one(shelf: Shelf, globes: list[str], asked: dict[str, Any]) -> None:
    table = shelf.platform.cube.batch(PLACES, globes, **asked)
    assert table.problems == ()
    frame = table.to_dataframe()
    read = 0
    for item in globes:
        for number, place in enumerate(PLACES, 1):
            alone = shelf.platform.cube.series(COLLECTION, item.split("/")[1], place, **asked)
            mine = frame[(frame["item"] == alone.source.item) & (frame["place"] == number)]
            assert mine["value"].tolist() == list(alone.values)
            assert mine["time"].tolist() == list(alone.times)
            assert mine["first_index"].tolist() == list(alone.first_index)
            assert mine["count"].tolist() == list(alone.counts)
            first = mine.iloc[0]
            assert (first["cell_lon"], first["cell_lat"], first["calendar"]) == (
                alone.cell.lon,
                alone.cell.lat,
                alone.calendar,
            )
            assert mine["bidx"].isna().all() if alone.is_grouped else mine["bidx"].tolist() == list(alone.first_index)
            read += len(mine)
    assert read == len(frame) == len(table)
    assert set(frame[frame["item"] == "east"]["dataset_version"]) == {"7"}


def test_irregular_grids_and_levels_are_read_like_the_others(shelf: Shelf) -> None:
    shelf.cube("ocean", curvilinear_cube())
    shelf.cube("levels", levels_cube())
    places = [[-179.8, 20], [175, 15], [170, 22]]
    ocean = shelf.platform.cube.batch(places, items_of("ocean")).to_dataframe()
    alone = [shelf.platform.cube.series(COLLECTION, "ocean", place) for place in places]
    assert ocean["value"].tolist() == [value for series in alone for value in series.values]
    levels = shelf.platform.cube.batch(
        [[0, 45], [90, -45]], items_of("levels"), sel={"plev": 50_000, "member": "r2i1p1f1"}
    ).to_dataframe()
    assert levels["value"].tolist() == [210.0, 211.0] * 2
    static = [BatchItem(collection=COLLECTION, item="levels", variable="orog")]
    frame = shelf.platform.cube.batch([[0, 45]], static).to_dataframe()
    assert frame["value"].tolist() == [7.0] and frame["time"].isna().all()


def test_each_chunk_is_counted_and_read_once_for_neighbours(shelf: Shelf, globes: list[str]) -> None:
    near = [[10.5 + i % 5, 50.5 + i // 5] for i in range(25)]
    estimate = shelf.platform.cube.estimate_batch
    one, many = estimate(near[:1], globes[:1]), estimate(near, globes[:1])
    assert (one.chunks, many.chunks, many.values) == (3, 3, 250)
    far = estimate([[10.5, 50.5], [10.5, -50.5]], globes[:1])
    assert far.chunks == 6


def test_blocks_of_a_long_axis_end_where_chunks_end(
    shelf: Shelf, globes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = shelf.platform.cube.batch(PLACES, globes).to_dataframe()
    monkeypatch.setattr(batch, "BLOCK_BYTES", 1)
    ranges: list[tuple[int, int]] = []
    original = SampledVariable.read

    def watched(self: SampledVariable, place: Any, steps: Any) -> Any:
        ranges.append((steps.start, steps.stop))
        return original(self, place, steps)

    monkeypatch.setattr(SampledVariable, "read", watched)
    frame = shelf.platform.cube.batch(PLACES, globes).to_dataframe()
    pd.testing.assert_frame_equal(frame, expected)
    assert set(ranges[:3]) == {(0, 4), (4, 8), (8, 10)}


def test_what_cannot_be_read_is_a_problem_beside_the_rest(shelf: Shelf, globes: list[str]) -> None:
    lon, lat = 150.5 + np.arange(60.0), np.arange(-29.5, 30)
    shelf.cube("pacific", regular_cube(lon, lat))
    shelf.raster("hill", np.ones((1, 4, 4), np.float32), (0, 0, 4, 4))
    wanted = [*globes, *items_of("pacific", "nowhere", "hill")]
    table = shelf.platform.cube.batch(["paris", "atlantis", [179, 0], [999, 0]], wanted)
    said = [(problem.place, problem.item, problem.code) for problem in table.problems]
    assert said == [
        (2, None, "invalid_bbox"),
        (4, None, "invalid_bbox"),
        (1, "pacific", "not_found"),
        (None, "nowhere", "not_found"),
        (None, "hill", "invalid_parameter"),
    ]
    assert all(problem.hint for problem in table.problems)
    assert set(table.to_dataframe()["item"]) == {"east", "west", "pacific"}
    assert "atlantis" in table._repr_html_()


def test_a_date_that_one_calendar_lacks_is_a_problem_of_that_item(shelf: Shelf, globes: list[str]) -> None:
    table = shelf.platform.cube.batch(["paris"], globes, start_time="2000-02-30")
    assert [(problem.item, problem.code) for problem in table.problems] == [("east", "invalid_time")]
    assert table.to_dataframe()["time"].iloc[0] == "2000-02-30T00:00:00"


@pytest.mark.parametrize(
    ("points", "items", "asked", "error", "field"),
    [
        ([], ["a/b"], {}, InvalidParameter, "points"),
        (["paris"], [], {}, InvalidParameter, "items"),
        (["paris"], ["b"], {}, InvalidParameter, "items"),
        (["paris"], ["a/b/c"], {}, InvalidParameter, "items"),
        (["paris"], ["shelf/east"], {"resolution": "hourly"}, InvalidParameter, "resolution"),
        (["paris"], ["shelf/east"], {"statistic": "mode"}, InvalidParameter, "statistic"),
        (["paris"] * 1001, ["shelf/east"], {}, LimitExceeded, "points"),
        (["paris"], ["shelf/east"] * 101, {}, LimitExceeded, "items"),
        (["paris"] * 1000, ["shelf/east"] * 11, {}, LimitExceeded, "points"),
        (["paris"], ["shelf/east"], {"limits": QueryLimits(9, 99, 10**9, 9)}, LimitExceeded, "end_time"),
        (["paris"] * 9, ["shelf/east"], {"limits": QueryLimits(9, 99, 10**9, 9)}, LimitExceeded, "end_time"),
        (["paris"] * 9, ["shelf/east"], {"limits": QueryLimits(8, 99, 10**9, 9)}, LimitExceeded, "points"),
        (["paris"], ["shelf/east"], {"limits": QueryLimits(99, 99, 10**9, 9, None, 5)}, LimitExceeded, "end_time"),
    ],
)
def test_what_is_wrong_for_all_is_refused_before_anything_is_read(
    shelf: Shelf, globes: list[str], points: Any, items: Any, asked: Any, error: type[Exception], field: str
) -> None:
    with pytest.raises(error) as refused:
        shelf.platform.cube.batch(points, items, **asked)
    assert refused.value.field == field and refused.value.hint  # type: ignore[attr-defined]


def test_a_table_of_too_many_rows_is_refused(shelf: Shelf, globes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MAX_ROWS", 20)
    with pytest.raises(LimitExceeded, match="38 rows; the limit is 20"):
        shelf.platform.cube.batch(["paris", "tokyo"], globes)
    assert len(shelf.platform.cube.batch(["paris", "tokyo"], globes, resolution="yearly")) == 4


def test_files_hold_the_whole_table(shelf: Shelf, globes: list[str], tmp_path: Path) -> None:
    table = shelf.platform.cube.batch(["paris", "nowhere", [10, 10]], globes)
    frame = table.to_dataframe()
    table.to_csv(tmp_path / "table.csv")
    again = pd.read_csv(tmp_path / "table.csv")
    assert again["value"].tolist() == frame["value"].tolist()
    assert {
        "lon",
        "lat",
        "place_name",
        "variable",
        "units",
        "calendar",
        "method",
        "weighting",
        "dataset_version",
    } <= set(again.columns)
    stored = pq.read_table(io.BytesIO(table.to_parquet() or b""))
    assert stored["value"].to_pylist() == frame["value"].tolist()
    assert json.loads(stored.schema.metadata[b"geoetl"])["problems"][0]["place_name"] == "nowhere"
    with pytest.raises(InvalidParameter, match="2 items"):
        table.to_netcdf()
    single = shelf.platform.cube.batch(["paris", [10, 10]], globes[1:])
    with xr.open_dataset(io.BytesIO(single.to_netcdf() or b""), engine="h5netcdf") as opened:
        assert opened["tas"].values.ravel().tolist() == single.to_dataframe()["value"].tolist()
        assert opened["station_name"].values.tolist() == ["paris", "10,10"]
        assert opened.time.dt.calendar == "360_day"


def test_missing_values_and_empty_tables_are_kept_apart(shelf: Shelf) -> None:
    cube = dated_cube(list(xr.date_range("2000-01-01", periods=4, calendar="noleap", use_cftime=True)))
    shelf.cube("gaps", cube.where(cube["pr"] != 2))
    rows = shelf.platform.cube.batch([[0, 20]], items_of("gaps")).rows()
    assert [(row["value"], row["count"], row["bidx"]) for row in rows] == [
        (0, 1, 1),
        (1, 1, 2),
        (None, 0, 3),
        (3, 1, 4),
    ]
    empty = shelf.platform.cube.batch([[0, 20]], items_of("nothing"))
    assert (len(empty), empty.rows(), len(empty.problems)) == (0, [], 1)
    assert list(empty.to_dataframe().columns) == list(batch.COLUMNS)
    assert pq.read_table(io.BytesIO(empty.to_parquet() or b"")).num_rows == 0


def test_the_places_are_numbered_as_they_were_asked_for(shelf: Shelf, globes: list[str]) -> None:
    frame = shelf.platform.cube.batch(["paris", "nowhere", "tokyo", "paris"], globes[:1]).to_dataframe()
    named = frame.drop_duplicates("place")[["place", "place_name"]].to_numpy().tolist()
    assert named == [[1, "paris"], [3, "tokyo"], [4, "paris"]]
