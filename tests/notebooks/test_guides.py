"""The guides run from top to bottom on what the demo makes, within their minute, and show plots."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from jupyter_client.kernelspec import KernelSpec

from geoetl.core.settings import as_environment, load_settings
from geoetl.runs.kernel import manager_class

GUIDES = Path(__file__).resolve().parents[2] / "notebooks" / "guides"
KERNEL = Path(__file__).with_name("guide_kernel.py")
# Of one cell, on a machine that has other things to do; a guide as a whole takes about a minute on one that has not.
CELL_S = 300


@pytest.fixture
def executed(demo_home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Give the cells of an executed guide."""
    environment = as_environment(load_settings(home=demo_home))
    # As in JupyterLab: the kernel of a pipeline has a GDAL that fetches nothing.
    command = [sys.executable, str(KERNEL), "-f", "{connection_file}", "--log-level=CRITICAL"]
    spec = KernelSpec(argv=command, display_name="guide", language="python", env=environment)
    manager = type("GuideKernelManager", (manager_class({}, tmp_path),), {"kernel_spec": spec})
    papermill.execute_notebook(
        GUIDES / f"{request.param}.ipynb",
        tmp_path / "executed.ipynb",
        cwd=GUIDES,
        progress_bar=False,
        kernel_name="python3",
        kernel_manager_class=manager,
        execution_timeout=CELL_S,
    )
    cells: list[dict[str, Any]] = nbformat.read(tmp_path / "executed.ipynb", as_version=4)["cells"]
    return cells


def outputs(cells: list[dict[str, Any]], media_type: str) -> list[str]:
    return [
        str(output["data"][media_type])
        for cell in cells
        for output in cell.get("outputs", [])
        if media_type in output.get("data", {})
    ]


def warnings(cells: list[dict[str, Any]]) -> list[str]:
    streams = [output for cell in cells for output in cell.get("outputs", []) if output.get("name") == "stderr"]
    return [stream["text"] for stream in streams]


def rows(table: str) -> list[list[str]]:
    """Return the texts of the cells of a table in HTML, without the numbers that pandas puts in front."""
    found = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]
    return [[text.strip() for text in row] for row in found]


def stages(record: str) -> dict[str, list[str]]:
    """Return the cells behind the name of each stage, out of the record of a run."""
    return {row[0]: row[1:] for row in rows(record) if len(row) > 2}


@pytest.mark.parametrize("executed", ["01-find-data"], indirect=True)
def test_data_are_found_four_ways(executed: list[dict[str, Any]]) -> None:
    assert len(outputs(executed, "application/vnd.holoviews_exec.v0+json")) == 2  # the extension, and one map
    plain = "\n".join(outputs(executed, "text/plain"))
    assert "('demo-rasters', 'Satellite images')" in plain
    assert "('image/tiff; application=geotiff; profile=cloud-optimized', 'EPSG:32618')" in plain
    assert warnings(executed) == []


@pytest.mark.parametrize("executed", ["02-look-at-it"], indirect=True)
def test_data_are_looked_at(executed: list[dict[str, Any]]) -> None:
    assert len(outputs(executed, "application/vnd.holoviews_exec.v0+json")) == 6  # the extension, and five plots
    assert warnings(executed) == []


@pytest.mark.parametrize("executed", ["03-virtualise-cmip6"], indirect=True)
def test_climate_files_are_virtualised_compared_and_watched(executed: list[dict[str, Any]]) -> None:
    assert len(outputs(executed, "application/vnd.holoviews_exec.v0+json")) == 5  # the extension, and four plots
    shown = "\n".join(outputs(executed, "text/html"))
    assert "Virtualise: the 65 files agree and become one cube of references." in shown
    assert "199501-199512.nc&#x27; has another size since its chunks were indexed." in shown
    *_, before, damaged, refused, restored = [cell for cell in executed if cell["cell_type"] == "code"]
    assert "value check passed on 25 of 25 chunks" in "".join(outputs([before], "text/html"))
    assert "value check" not in "".join(outputs([damaged], "text/html"))
    assert "The cube cannot be read." in refused["outputs"][0]["text"]
    assert outputs([restored], "text/html") == outputs([before], "text/html")
    assert warnings(executed) == []


@pytest.mark.parametrize("executed", ["04-numbers-you-can-trust"], indirect=True)
def test_numbers_are_weighted_in_their_calendar_and_estimated_first(executed: list[dict[str, Any]]) -> None:
    assert len(outputs(executed, "application/vnd.holoviews_exec.v0+json")) == 8  # the extension, and seven plots
    shown = "\n".join(outputs(executed, "text/html"))
    assert "0.333367" in shown and "0.5" in shown  # the integral is 1/3
    assert "area of each cell within the region" in shown
    said = "".join(output["text"] for cell in executed for output in cell.get("outputs", []) if "text" in output)
    assert "360_day 2014-03-01 to 2014-12-30" in said
    assert "the noleap calendar of this cube has no such day" in said
    assert "54 chunks would have to be read; the limit is 20." in said
    assert warnings(executed) == []


@pytest.mark.parametrize("executed", ["05-style-a-layer"], indirect=True)
def test_a_layer_is_styled_told_and_kept(executed: list[dict[str, Any]]) -> None:
    assert len(outputs(executed, "application/vnd.holoviews_exec.v0+json")) == 5  # two extensions, two plots, the page
    shown = "\n".join(outputs(executed, "text/html"))
    assert "<svg" in shown  # the legend
    assert "sparsely populated states stand out" in shown
    assert "MapLibre has no expression for" in shown
    said = "".join(output["text"] for cell in executed for output in cell.get("outputs", []) if "text" in output)
    assert "/stylingRules/1/symbolizer/stroke/color" in said
    assert "StyleView" in "\n".join(outputs(executed[-1:], "text/plain"))
    assert warnings(executed) == []


@pytest.mark.parametrize("executed", ["06-follow-a-run"], indirect=True)
def test_a_run_is_followed_killed_and_taken_over_and_a_source_is_kept_current(executed: list[dict[str, Any]]) -> None:
    assert (
        len(outputs(executed, "application/vnd.holoviews_exec.v0+json")) == 7
    )  # three extensions, two plots, two pages
    tables = outputs(executed, "text/html")
    shown = "\n".join(tables)
    assert "The pixels of &#x27;scene.tif&#x27; cannot be read, although its header can." in shown
    assert re.search(r'<a href="http://127\.0\.0\.1:\d+/status"', shown)
    (taken_over,) = [table for table in tables if "Run virtualise-cmip6" in table and "completed · attempt 2" in table]
    assert stages(taken_over)["inventory"][-1] == "1"
    assert stages(taken_over)["references"][-2:] == ["12 of 12", "2"]
    said = "".join(output["text"] for cell in executed for output in cell.get("outputs", []) if "text" in output)
    assert "its process is gone" in said
    assert "Plan of admin0" in shown and "make the first version of curated/curated_admin0" in shown
    plain = "\n".join(outputs(executed, "text/plain"))
    assert "'The source still has 5.1.1.'" in plain
    assert "Version 2 (5.2.0) is served: 1 row" in plain
    assert "There are 125 rows where there were 250 (-50.0%); at most 5% may be gone." in shown
    versions = next(table for table in tables if "half of the world is missing" in table)
    assert [row[:3] for row in rows(versions)[1:]] == [
        ["3", "5.2.1", "rejected"], ["2", "5.2.0", "kept"], ["1", "5.1.1", "live"],
    ]  # fmt: skip
    assert "'The release 5.2.1 was rejected (version 3).'" in plain
    assert "RunsView" in plain
    assert "DatasetsView" in "\n".join(outputs(executed[-1:], "text/plain"))
    assert warnings(executed) == []


@pytest.mark.parametrize("executed", ["07-review-and-publish"], indirect=True)
def test_data_are_reviewed_published_read_by_strangers_withdrawn_and_restored(executed: list[dict[str, Any]]) -> None:
    assert len(outputs(executed, "application/vnd.holoviews_exec.v0+json")) == 4  # two extensions, the map, the page
    shown = "\n".join(outputs(executed, "text/html"))
    assert "demo-cubes/air_temperature_small" in shown
    assert "sources/air_temperature_small.nc" in shown
    assert "Run publish" in shown
    assert "Withdrawal of demo-cubes/air_temperature_small" in shown
    said = "".join(output["text"] for cell in executed for output in cell.get("outputs", []) if "text" in output)
    assert "whoever submits a release does not decide on it" in said
    assert "EPSG:32618 (215, 237) COG" in said
    assert "rows are as they were written" in said
    plain = "\n".join(outputs(executed, "text/plain"))
    assert "does not have the hash of what it says" in plain
    assert "([404, 404, 404, 404, 404], ['landsat_rgb', 'us_states'])" in plain
    assert "([200, 200, 200, 200, 200], True)" in plain
    assert "ReviewView" in "\n".join(outputs(executed[-1:], "text/plain"))
    assert warnings(executed) == []


@pytest.mark.parametrize("path", sorted(GUIDES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_guide_is_stored_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert all(cell.get("outputs", []) == [] for cell in cells)
