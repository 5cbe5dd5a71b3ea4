"""Series at a place, and batches, over HTTP."""

import io
import json
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr
from fastapi.testclient import TestClient

from geoetl.platform import Platform
from tests.catalogued import CLIMATE, HILL, IMAGES, MODEL

POINT, BATCH = f"/api/xarray/point/{CLIMATE}/{MODEL}", "/api/xarray/batch"


def strict(text: str) -> Any:
    """Read JSON as RFC 8259 has it: NaN and the infinities are refused."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_series_has_the_contract_s_shape_and_xarray_s_values(client: TestClient, filled: Platform) -> None:
    asked = {"location": "paris", "sel": "plev=50000", "start_time": "2000-02", "end_time": "2000-12"}
    answer = strict(client.get(POINT, params=asked).text)
    with xr.open_dataset(filled.settings.home / "shelf" / "model.nc", engine="h5netcdf") as source:
        expected = source.tas.sel(plev=50_000).sel(lon=2.3522, lat=48.8566, method="nearest").values[1:12].astype(float)
    rows = answer["time_series"]
    assert [row["value"] for row in rows] == expected.tolist()
    assert [(row["time"], row["bidx"]) for row in rows[:2]] == [("2000-02-16T12:00:00", 2), ("2000-03-16T12:00:00", 3)]
    assert answer["location"] == [2.3522, 48.8566] and answer["location_name"] == "paris"
    assert (answer["collection_id"], answer["item_id"]) == (CLIMATE, MODEL)
    assert (answer["variable"], answer["unit"], answer["aggregation"]) == ("tas", "degK", "none")
    assert answer["time_range"] == {"start": "2000-02-16T12:00:00", "end": "2000-12-16T12:00:00"}
    assert answer["statistics"] == {
        "min": expected.min(),
        "max": expected.max(),
        "mean": pytest.approx(expected.mean()),
        "std": pytest.approx(expected.std()),
        "count": 11,
    }
    assert (answer["calendar"], answer["weighting"], answer["method"]) == ("360_day", "none", "nearest cell")
    assert {"dataset_version", "sel", "cell", "distance_km", "asset"} <= set(answer)


@pytest.mark.parametrize("asked", [{}, {"start_time": "2001-03", "end_time": "2002-02", "sel": "plev=50000"}])
def test_every_bidx_is_a_time_index_of_a_raster_point(client: TestClient, asked: dict[str, str]) -> None:
    rows = strict(client.get(POINT, params={"location": "7,48", **asked}).text)["time_series"]
    for row in rows[:: max(1, len(rows) // 6)]:
        where = {"location": "7,48", "time_index": row["bidx"], "sel": asked.get("sel", "plev=100000")}
        point = strict(client.get(f"/api/raster/point/{CLIMATE}/{MODEL}", params=where).text)
        assert (point["values"], point["time"]) == ([row["value"]], row["time"])


def test_periods_have_bounds_indices_and_counts_but_no_bidx(client: TestClient) -> None:
    asked = {"location": "7,48", "aggregation": "seasonal", "statistic": "max"}
    answer = strict(client.get(POINT, params=asked).text)
    steps = [row["value"] for row in strict(client.get(POINT, params={"location": "7,48"}).text)["time_series"]]
    rows = answer["time_series"]
    assert rows[1] == {
        "time": "2000-MAM",
        "value": max(steps[2:5]),
        "bidx": None,
        "start": "2000-03-01",
        "end": "2000-05-30",
        "first_index": 3,
        "last_index": 5,
        "count": 3,
    }
    assert (answer["aggregation"], answer["statistic"]) == ("seasonal", "max")


def test_formats_are_files_with_the_same_values(client: TestClient) -> None:
    asked = {"location": "paris", "start_time": "2000", "end_time": "2000"}
    values = [row["value"] for row in strict(client.get(POINT, params=asked).text)["time_series"]]
    table = client.get(POINT, params={**asked, "format": "csv"})
    assert table.headers["content-type"].startswith("text/csv")
    assert table.headers["x-units"] == "degK" and table.headers["x-calendar"] == "360_day"
    frame = pd.read_csv(io.StringIO(table.text))
    assert frame["value"].tolist() == values and set(frame["place"]) == {"paris"}
    stored = client.get(POINT, params={**asked, "format": "parquet"})
    assert pq.read_table(io.BytesIO(stored.content))["value"].to_pylist() == values
    cube = client.get(POINT, params={**asked, "format": "netcdf"})
    assert cube.headers["content-disposition"].endswith('.nc"')
    with xr.open_dataset(io.BytesIO(cube.content), engine="h5netcdf") as opened:
        assert opened["tas"].values[0].tolist() == values
        assert opened.time.dt.calendar == "360_day"


def test_an_estimate_is_answered_instead(client: TestClient) -> None:
    answer = strict(client.get(POINT, params={"location": "paris", "estimate": "true"}).text)
    assert (answer["values"], answer["fits"]) == (36, True)
    body = {"points": ["paris", "tokyo"], "items": [f"{CLIMATE}/{MODEL}"], "estimate": True}
    assert strict(client.post(BATCH, json=body).text)["values"] == 72


@pytest.mark.parametrize(
    ("asked", "status", "field"),
    [
        ({"location": "atlantis"}, 400, "location"),
        ({"location": "1,2,3"}, 400, None),
        ({"start_time": "2000-02-31"}, 400, "start_time"),
        ({"start_time": "2001", "end_time": "2000"}, 400, "start_time"),
        ({"start_time": "1900", "end_time": "1901"}, 404, "start_time"),
        ({"aggregation": "hourly"}, 422, "aggregation"),
        ({"statistic": "mode"}, 422, "statistic"),
        ({"statistic": "percentile", "aggregation": "yearly"}, 422, "percentile"),
        ({"percentile": "nan"}, 422, "percentile"),
        ({"variable": "tass"}, 422, "variable"),
        ({"sel": "plev=1"}, 422, "sel"),
        ({"sel": "plev"}, 422, "sel"),
        ({"format": "xlsx"}, 422, "format"),
        ({"asset": "nothing"}, 404, "asset"),
    ],
)
def test_a_wrong_parameter_is_a_problem_that_names_it(
    client: TestClient, asked: dict[str, str], status: int, field: str | None
) -> None:
    answer = client.get(POINT, params={"location": "7,48", **asked})
    problem = strict(answer.text)
    assert answer.status_code == status, problem
    assert problem["error"] and problem["code"]
    assert field is None or problem["field"] == field


def test_a_raster_is_no_cube(client: TestClient) -> None:
    answer = client.get(f"/api/xarray/point/{IMAGES}/{HILL}", params={"location": "7,46"})
    assert answer.status_code == 422 and "hint" in answer.json()


def test_a_batch_is_one_table_with_problems_beside_it(client: TestClient) -> None:
    body = {
        "points": ["paris", [7, 48], "nowhere"],
        "items": [f"{CLIMATE}/{MODEL}", {"collection": CLIMATE, "item": "absent"}],
        "sel": {"plev": 50_000},
        "start_time": "2001",
        "end_time": "2001-03",
    }
    answer = client.post(BATCH, json=body)
    document = strict(answer.text)
    assert answer.status_code == 200, document
    alone = strict(
        client.get(
            POINT, params={"location": "7,48", "sel": "plev=50000", "start_time": "2001", "end_time": "2001-03"}
        ).text
    )
    mine = [row for row in document["rows"] if row["place"] == 2]
    assert [(row["time"], row["value"], row["bidx"]) for row in mine] == [
        (row["time"], row["value"], row["bidx"]) for row in alone["time_series"]
    ]
    assert mine[0]["units"] == "degK" and mine[0]["calendar"] == "360_day" and mine[0]["weighting"] == "none"
    assert [(problem["place"], problem["item"]) for problem in document["problems"]] == [(3, None), (None, "absent")]
    table = client.post(BATCH, json={**body, "format": "csv"})
    assert table.headers["x-problems"] == "2" and len(pd.read_csv(io.StringIO(table.text))) == len(document["rows"])
    assert client.post(BATCH, json={**body, "format": "netcdf"}).content[:4] == b"\x89HDF"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"points": [], "items": ["a/b"]}, 422),
        ({"points": ["paris"] * 1001, "items": ["a/b"]}, 413),
        ({"points": ["paris"], "items": ["a/b"] * 201}, 413),
        ({"points": ["paris"], "items": ["a/../../b"]}, 422),
        ({"points": [[1, 2, 3]], "items": ["a/b"]}, 200),
        ({"points": ["paris"], "items": ["a/b"], "statistic": "mode"}, 422),
        ({"points": ["paris"], "items": ["a/b"], "unknown": 1}, 422),
        ({"points": "paris", "items": ["a/b"]}, 422),
        ({"items": ["a/b"]}, 422),
        ([], 422),
    ],
)
def test_a_batch_that_cannot_be_asked_is_refused(client: TestClient, body: Any, status: int) -> None:
    answer = client.post(BATCH, json=body)
    assert answer.status_code == status, answer.text
    strict(answer.text)


def test_a_count_is_a_number_without_units(client: TestClient) -> None:
    whole = strict(client.get(POINT, params={"location": "7,48", "aggregation": "yearly", "statistic": "count"}).text)
    assert [row["value"] for row in whole["time_series"]] == [12, 12, 12] and whole["unit"] == "1"
