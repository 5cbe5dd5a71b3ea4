"""The page *Explore* in a real browser: what a person sees and does."""

import re
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, expect

import geoetl
from dashboards.shared.theme import DARK
from tests.browser.conftest import Visit, serving
from tests.browser.maps import Pixels, await_pixels, data_layers, pixels, settle
from tests.catalogued import CLIMATE, HILL, IMAGES, MODEL, PLACES, SHIRES, model_dataset

# Free of panels on a window of 1100 x 720, and inside the item that is open.
MIDDLE = (570, 330)
AROUND_MIDDLE = (520, 280, 100, 100)
# What plays shows each step for a moment only; one of many is sure to be seen.
A_STEP_BEYOND_THE_SEVENTH = re.compile(r"step ([89]|[1-3]\d) of 36")


def seen(page: Page) -> Pixels:
    """Return the pixels around the middle of the map: array (row, column, colour)."""
    return pixels(page, *AROUND_MIDDLE)


def changes(page: Page, before: Pixels, by: float) -> None:
    """Wait until the middle of the map looks different by so much, on average of its colours."""
    await_pixels(lambda: seen(page), lambda now: bool(np.abs(now - before).mean() > by))


def test_a_raster_is_found_drawn_and_read(served: str, visit: Visit, tmp_path: Path) -> None:
    watched = visit(f"{served}/")
    page = watched.page
    expect(page.locator(".group .title")).to_have_text(["Boundaries", "Climate models", "Satellite images"])
    expect(page.locator(".item")).to_have_count(5)
    page.screenshot(path=tmp_path / "list.png")
    page.get_by_label("Search").fill("hill")
    expect(page.locator(".item")).to_have_count(1)
    settle(page)
    before = seen(page)
    page.locator(".item", has_text="A hill").click()
    expect(page.locator(".layer", has_text="A hill")).to_be_visible()
    settle(page, f"{IMAGES}/{HILL}")
    assert data_layers(page) == [f"data-{IMAGES}/{HILL}"]
    changes(page, before, by=10)
    expect(page.locator(".legend .labels")).to_contain_text("1\u202f000 m")
    page.mouse.click(*MIDDLE)
    expect(page.locator("td", has_text=re.compile(r"\d m$"))).to_be_visible()
    page.screenshot(path=tmp_path / "raster.png")
    watched.check(served)


def test_a_cube_plays_and_tells_its_series(served: str, visit: Visit, tmp_path: Path) -> None:
    watched = visit(f"{served}/explore?collection={CLIMATE}&item={MODEL}")
    page = watched.page
    slider = page.get_by_role("slider", name="Player")
    expect(slider).to_be_visible()
    settle(page, f"{CLIMATE}/{MODEL}")
    january = seen(page)
    slider.focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_text("step 7 of 36, 360_day calendar")).to_be_visible()
    expect(page.get_by_text("2000-07-16").first).to_be_visible()
    changes(page, january, by=2)
    page.mouse.click(*MIDDLE)
    reading = page.locator(".reading b")
    expect(reading).to_have_text(re.compile(r"^\d{3}\.?\d* K$"))
    spread = model_dataset().tas.isel(plev=0, time=6).values
    assert spread.min() <= float(reading.inner_text().removesuffix(" K")) <= spread.max()
    expect(page.locator(".bk-Figure")).to_be_visible()
    page.screenshot(path=tmp_path / "series.png")
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_text(A_STEP_BEYOND_THE_SEVENTH)).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    watched.check(served)


def test_a_feature_is_clicked_and_tells_its_attributes(served: str, visit: Visit, tmp_path: Path) -> None:
    watched = visit(f"{served}/explore?collection={PLACES}&item={SHIRES}")
    page = watched.page
    expect(page.locator(".layer", has_text="Shires")).to_be_visible()
    settle(page, f"{PLACES}/{SHIRES}")
    page.mouse.click(MIDDLE[0], MIDDLE[1] - 40)
    expect(page.locator("dd", has_text="North")).to_be_visible()
    page.mouse.click(MIDDLE[0], MIDDLE[1] + 100)
    expect(page.locator("dd", has_text="<b>South</b>")).to_be_visible()
    page.screenshot(path=tmp_path / "vector.png")
    watched.check(served)


def test_a_link_opens_the_same_view_and_back_goes_back(served: str, visit: Visit) -> None:
    watched = visit(f"{served}/explore?q=hill&collection={IMAGES}&item={HILL}&point=7.12,46.62")
    page = watched.page
    expect(page.locator("td", has_text=re.compile(r"\d m$"))).to_be_visible()
    page.get_by_role("button", name="Back to the list").click()
    expect(page.get_by_label("Search")).to_have_value("hill")
    page.wait_for_url(lambda url: "item=" not in url)
    page.go_back()
    expect(page.locator("td", has_text=re.compile(r"\d m$"))).to_be_visible()
    page.wait_for_url(lambda url: f"item={HILL}" in url)
    watched.check(served)


def test_everything_works_with_the_keyboard_alone(served: str, visit: Visit) -> None:
    watched = visit(f"{served}/explore")
    page = watched.page
    expect(page.locator(".item")).to_have_count(5)
    page.get_by_label("Search").focus()
    for _ in range(12):
        page.keyboard.press("Tab")
        if "Shires" in page.evaluate(FOCUSED_TEXT):
            break
    page.keyboard.press("Enter")
    expect(page.locator(".layer", has_text="Shires")).to_be_visible()
    settle(page, f"{PLACES}/{SHIRES}")
    page.locator(".maplibregl-canvas").press("Enter")
    expect(page.locator(".place")).to_be_visible()
    watched.check(served)


FOCUSED_TEXT = """() => {
  let e = document.activeElement
  while (e.shadowRoot?.activeElement) { e = e.shadowRoot.activeElement }
  return e.innerText ?? ""
}"""


def test_a_wrong_link_is_a_sentence_with_details_on_demand(served: str, visit: Visit, tmp_path: Path) -> None:
    watched = visit(f"{served}/explore?collection={IMAGES}&item=hil")
    page = watched.page
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("hil")
    expect(alert.get_by_text("not_found")).to_be_hidden()
    alert.get_by_text("Details").click()
    expect(alert.get_by_text("not_found")).to_be_visible()
    assert "Traceback" not in page.content()
    page.screenshot(path=tmp_path / "error.png")
    watched.check(served)


def test_an_empty_catalogue_says_what_to_do_first(home: Path, visit: Visit, tmp_path: Path) -> None:
    with serving(geoetl.connect(home)) as address:
        watched = visit(f"{address}/explore")
        expect(watched.page.get_by_text("No collections yet")).to_be_visible()
        expect(watched.page.locator("code", has_text="geoetl demo")).to_be_visible()
        watched.page.screenshot(path=tmp_path / "empty.png")
        watched.check(address)


def test_the_dark_theme_reaches_the_map(served: str, visit: Visit, tmp_path: Path) -> None:
    watched = visit(f"{served}/explore?collection={IMAGES}&item={HILL}")
    page = watched.page
    expect(page.locator(".layer")).to_be_visible()
    page.get_by_role("button", name="Toggle theme").click()
    expect(page.locator(".frame[data-theme=dark][data-ready=true]")).to_be_visible()
    settle(page, f"{IMAGES}/{HILL}")
    sea = "frame => frame.geo.map.getPaintProperty('sea', 'background-color')"
    assert page.locator(".frame").evaluate(sea) == DARK.sea
    assert data_layers(page) == [f"data-{IMAGES}/{HILL}"]
    page.screenshot(path=tmp_path / "dark.png")
    watched.check(served)


def test_programs_are_shown_to_copy(served: str, visit: Visit) -> None:
    watched = visit(f"{served}/explore?collection={IMAGES}&item={HILL}")
    page = watched.page
    expect(page.locator(".layer")).to_be_visible()
    page.get_by_role("tab", name="Code").click()
    for name, line in (
        ("geoetl", "platform = geoetl.connect()"),
        ("xarray", "rioxarray.open_rasterio"),
        ("pystac", "pystac.Item.from_dict"),
        ("curl", f"{served}/assets/{IMAGES}/{HILL}/data"),
    ):
        page.get_by_role("button", name=name, exact=True).click()
        expect(page.locator("pre")).to_contain_text(line)
    watched.check(served)


def test_two_visitors_do_not_share_their_state(served: str, visit: Visit) -> None:
    first = visit(f"{served}/explore?collection={IMAGES}&item={HILL}").page
    second = visit(f"{served}/explore").page
    expect(first.locator(".layer")).to_have_count(1)
    expect(second.locator(".item")).to_have_count(5)
    expect(second.locator(".layer")).to_have_count(0)
