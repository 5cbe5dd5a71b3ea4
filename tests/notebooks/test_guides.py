"""The guides run from top to bottom on what the demo makes, within their minute, and show plots."""

import json
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from geoetl.core.settings import as_environment, load_settings
from geoetl.runs.kernel import manager_class

GUIDES = Path(__file__).resolve().parents[2] / "notebooks" / "guides"


@pytest.fixture
def executed(demo_home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Give the cells of an executed guide."""
    environment = as_environment(load_settings(home=demo_home))
    papermill.execute_notebook(
        GUIDES / f"{request.param}.ipynb",
        tmp_path / "executed.ipynb",
        cwd=GUIDES,
        progress_bar=False,
        kernel_name="python3",
        kernel_manager_class=manager_class(environment, tmp_path),
        execution_timeout=60,
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


@pytest.mark.parametrize("path", sorted(GUIDES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_guide_is_stored_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert all(cell.get("outputs", []) == [] for cell in cells)
