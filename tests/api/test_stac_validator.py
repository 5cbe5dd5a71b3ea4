"""The STAC API's own judge finds no error, on either back end."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dashboards.app
import geoetl
from geoetl.platform import Platform
from tests.served import serving
from tests.stac import a_collection, an_item

ITEMS = 20_000
CLASSES = ("core", "collections", "features", "item-search", "filter")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["sqlite", "pgstac"])
def platform(request: pytest.FixtureRequest, tmp_path: Path) -> Platform:
    """Give a platform with 20,000 items, on each back end."""
    options: dict[str, Any] = {}
    if request.param == "pgstac":
        options["database"] = {"url": request.getfixturevalue("fresh_postgres_url")}
    platform = geoetl.connect(tmp_path / "home", **options)
    platform.catalog.upsert_collection(a_collection("scenes", summaries={"platform": ["sat-1"]}))
    platform.catalog.upsert_items(
        an_item(
            f"scene-{n:05}",
            collection="scenes",
            box=((n * 7) % 330 - 170, (n * 13) % 110 - 60, (n * 7) % 330 - 169, (n * 13) % 110 - 59),
            time=f"20{10 + n % 15}-0{1 + n % 9}-1{n % 9}T00:00:00Z",
            properties={"eo:cloud_cover": n % 100, "title": f"Scene {n}"},
            assets={"data": {"href": "https://example.org/a.tif", "type": "image/tiff", "roles": ["data"]}},
        )
        for n in range(ITEMS)
    )
    return platform


def test_stac_api_validator_finds_no_error_among_20000_items(platform: Platform) -> None:
    square = {"type": "Polygon", "coordinates": [[[0, 0], [30, 0], [30, 30], [0, 30], [0, 0]]]}
    with serving(dashboards.app.create_app(platform)) as address:
        asked = ["--root-url", f"{address}/stac/", "--collection", "scenes", "--geometry", json.dumps(square)]
        classes = [option for name in CLASSES for option in ("--conformance", name)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.api.judge", *asked, *classes, "--validate-pagination"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-5000:]
    assert "Errors: none" in said, said[-5000:]
