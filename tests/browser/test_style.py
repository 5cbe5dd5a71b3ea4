"""The page *Style* in a real browser: what a person sees and does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

import geoetl
from geoetl.core.principal import Role
from geoetl.platform import Platform
from tests import catalogued
from tests.browser.conftest import Visit, serving, sign_in, visitor
from tests.browser.maps import Pixels, await_pixels, pixels, settle
from tests.catalogued import IMAGES, PLACES, SHIRES
from tests.served import PASSWORD

LAYER = f"{PLACES}:{SHIRES}"
PWNED = "() => window.__pwned === undefined"
# What comes before an attack neither starts nor ends anything in the place where that one works.
ATTACK = "</script><script>window.__pwned=1</script> \"><img src=x onerror=window.__pwned=1> ');window.__pwned=1//"
STYLE: dict[str, Any] = {
    "metadata": {"title": "Plain"},
    "stylingRules": [
        {
            "name": "all",
            "symbolizer": {"fill": {"color": [200, 30, 30]}, "stroke": {"color": [0, 0, 0], "width": {"px": 1}}},
        }
    ],
}


@pytest.fixture
def platform(home: Path) -> Platform:
    """Give a platform of one item of each kind, with a style."""
    made = geoetl.connect(home)
    catalogued.fill(made, home / "shelf")
    made.styles.put(LAYER, "plain", STYLE, author="Ada", note="the first")
    return made


@pytest.fixture
def styled(platform: Platform) -> Iterator[str]:
    """Give the address of its dashboard."""
    with serving(platform) as address:
        yield address


def pixel(page: Page, lon: float = 7.3, lat: float = 47.2) -> Pixels:
    """Return what the map shows at a place: array (row, column, colour) of one pixel."""
    settle(page)
    x, y = page.locator(".frame").first.evaluate(
        "(frame, place) => { const {x, y} = frame.geo.map.project(place); "
        "const box = frame.getBoundingClientRect(); return [x + box.x, y + box.y] }",
        [lon, lat],
    )
    return pixels(page, x - 1, y - 1, 3, 3)[1:2, 1:2]


def becomes(page: Page, color: tuple[int, int, int]) -> None:
    """Wait until the map has a colour inside the shire North."""
    await_pixels(lambda: pixel(page), lambda seen: bool(np.abs(seen - np.array(color)).max() <= 3))


def zoom(page: Page) -> str:
    """Return how close the map is (tiles of 512 pixels), as exactly as it stands in a link."""
    return str(page.locator(".frame").evaluate("frame => Number(frame.geo.map.getZoom().toFixed(2)).toString()"))


def fill_colour(page: Page) -> Any:
    return page.locator(".rule-form fieldset", has_text="Fill").get_by_label("Colour", exact=True)


def test_a_colour_in_the_form_is_on_the_map_at_once_and_can_be_undone_and_saved(
    styled: str, platform: Platform, visit: Visit, tmp_path: Path
) -> None:
    watched = visit(f"{styled}/style?layer={LAYER}")
    page = watched.page
    becomes(page, (200, 30, 30))
    page.screenshot(path=tmp_path / "rules.png")
    fill_colour(page).fill("#1e90ff")
    page.keyboard.press("Enter")
    becomes(page, (30, 144, 255))
    page.get_by_role("button", name="Undo").click()
    becomes(page, (200, 30, 30))
    page.get_by_role("button", name="Redo").click()
    becomes(page, (30, 144, 255))
    page.get_by_label("What changed").fill("Bluer")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved as version 2 of Plain.")).to_be_visible()
    newest, first = platform.styles.versions(LAYER, "plain")
    assert (newest.note, newest.author, first.note) == ("Bluer", "Local operator", "the first")
    page.get_by_role("tab", name="Versions").click()
    page.get_by_role("button", name="Compare: Version 1").click()
    expect(page.locator(".frame")).to_have_count(2)
    expect(page.locator(".frame[data-ready=true]")).to_have_count(2)
    settle(page)
    page.screenshot(path=tmp_path / "compare.png")
    # At the left of the bar lies what was, at its right what is.
    place = page.locator(".bar[role=slider]")
    place.focus()
    page.keyboard.press("Shift+Tab")
    place.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    becomes(page, (200, 30, 30))
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    becomes(page, (30, 144, 255))
    watched.check(styled)


def test_text_and_form_are_one_style_and_a_mistake_keeps_the_last_map(
    styled: str, visit: Visit, tmp_path: Path
) -> None:
    watched = visit(f"{styled}/style?layer={LAYER}")
    page = watched.page
    page.set_viewport_size({"width": 1400, "height": 800})
    becomes(page, (200, 30, 30))
    editor = page.get_by_role("textbox", name="Style as CartoSym-JSON")
    wanted = json.dumps({**STYLE, "stylingRules": [{"symbolizer": {"fill": {"color": [10, 140, 60]}}}]})
    editor.fill(wanted)
    becomes(page, (10, 140, 60))
    expect(fill_colour(page)).to_have_value("#0a8c3c")
    editor.fill(wanted.replace("[10, 140, 60]", '"blurple"'))
    expect(page.locator(".editor .state").first).to_contain_text("blurple")
    expect(page.locator(".cm-lintRange-error").first).to_be_visible()
    becomes(page, (10, 140, 60))
    page.screenshot(path=tmp_path / "wrong.png")
    editor.fill("{")
    expect(page.locator(".editor .state").first).to_contain_text("This is no JSON")
    editor.fill(wanted)
    expect(page.locator(".editor .state").first).to_have_text("")
    fill_colour(page).fill("nothing")
    page.keyboard.press("Enter")
    expect(page.locator(".rule-form .wrong", has_text="is no colour")).to_be_visible()
    for tab, title, word in (("MapLibre", "MapLibre GL", "layers"), ("Leaflet", "Leaflet", "default")):
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("textbox", name=f"Style as {title}")).to_contain_text(word)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").locator("visible=true").click()
        assert json.loads(Path(download.value.path()).read_text())
    watched.check(styled)


def test_classes_are_previewed_used_and_drawn(styled: str, visit: Visit, tmp_path: Path) -> None:
    watched = visit(f"{styled}/style?layer={LAYER}")
    page = watched.page
    becomes(page, (200, 30, 30))
    page.get_by_role("tab", name="Classify").click()
    page.locator(".classify").get_by_label("Attribute").select_option("name")
    expect(page.locator(".classify td.label")).to_have_text(["<b>South</b>", "North"], use_inner_text=True)
    page.screenshot(path=tmp_path / "classify.png")
    colour = (
        page.locator(".classify tr", has_text="North")
        .locator("i")
        .evaluate("swatch => getComputedStyle(swatch).backgroundColor")
    )
    page.get_by_role("button", name="Use these classes").click()
    red, green, blue = (int(part) for part in re.findall(r"\d+", colour)[:3])
    becomes(page, (red, green, blue))
    expect(page.locator(".legend-list li")).to_have_count(3)
    watched.check(styled)


def test_a_link_opens_the_same_view_and_a_click_tells_the_feature(styled: str, visit: Visit) -> None:
    watched = visit(f"{styled}/style")
    page = watched.page
    page.locator(".item", has_text="Shires").click()
    settle(page, f"{PLACES}/{SHIRES}")
    becomes(page, (200, 30, 30))
    expect(page).to_have_url(re.compile(f"layer={LAYER}.*zoom={re.escape(zoom(page))}"))
    x, y = page.locator(".frame").evaluate(
        "frame => { const p = frame.geo.map.project([7.3, 46.0]); return [p.x, p.y] }"
    )
    page.locator(".maplibregl-canvas").click(position={"x": x, "y": y})
    expect(page.locator("dd", has_text="<b>South</b>")).to_be_visible()
    again = visit(page.url).page
    becomes(again, (200, 30, 30))
    assert zoom(again) == zoom(page)
    page.get_by_role("link", name="Look at it in Explore").click()
    page.wait_for_url(f"{styled}/explore?*")
    page.get_by_role("link", name="Style this layer").click()
    page.wait_for_url(f"{styled}/style?*")
    page.wait_for_selector(".frame[data-ready=true]")
    becomes(page, (200, 30, 30))
    watched.check(styled)


def test_explore_draws_features_in_their_default_style(styled: str, visit: Visit) -> None:
    watched = visit(f"{styled}/explore?collection={PLACES}&item={SHIRES}")
    expect(watched.page.get_by_text("Drawn with the style “Plain”.")).to_be_visible()
    becomes(watched.page, (200, 30, 30))
    watched.check(styled)


def test_everything_is_reached_with_the_keyboard(styled: str, visit: Visit) -> None:
    watched = visit(f"{styled}/style?layer={LAYER}")
    page = watched.page
    becomes(page, (200, 30, 30))
    page.locator(".rules .name").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".rules .name")).to_have_count(2)
    page.locator(".rules .name").nth(1).press("Alt+ArrowUp")
    expect(page.locator(".rules .name .title").first).to_have_text("New rule")
    watched.check(styled)


def test_a_viewer_tries_out_and_saves_nothing(platform: Platform, browser: Browser) -> None:
    platform.identity.add("Vera Viewer", Role.VIEWER, PASSWORD)
    # Here the map flies to what it shows.
    with serving(platform) as address, visitor(browser, 1400, 800) as context:
        page = context.new_page()
        page.goto(f"{address}/style?layer={LAYER}")
        sign_in(page, "Vera Viewer")
        page.wait_for_selector(".frame[data-ready=true]")
        fill_colour(page).fill("#1e90ff")
        page.keyboard.press("Enter")
        becomes(page, (30, 144, 255))
        expect(page.get_by_text("takes the role of an editor")).to_be_visible()
        expect(page.get_by_role("button", name="Save", exact=True)).to_have_count(0)
        assert len(platform.styles.versions(LAYER, "plain")) == 1


def test_an_empty_catalogue_says_what_to_do_first(home: Path, visit: Visit) -> None:
    with serving(geoetl.connect(home)) as address:
        watched = visit(f"{address}/style")
        expect(watched.page.get_by_text("No layers yet")).to_be_visible()
        expect(watched.page.locator("code", has_text="geoetl demo")).to_be_visible()
        watched.check(address)


def test_a_coverage_is_drawn_in_the_colours_of_its_stops(styled: str, visit: Visit, tmp_path: Path) -> None:
    watched = visit(f"{styled}/style?layer={IMAGES}")
    page = watched.page
    page.get_by_role("tab", name="Classify").click()
    page.get_by_role("button", name="Use these classes").click()
    page.get_by_role("tab", name="Rules").click()
    expect(page.locator(".rule-form .stop")).to_have_count(5)
    while page.locator(".rule-form .stop").count() > 2:
        left = page.locator(".rule-form .stop").count()
        page.get_by_role("button", name="Remove this stop").last.click()
        expect(page.locator(".rule-form .stop")).to_have_count(left - 1)
    for picker in page.locator(".rule-form .stop input[type=color]").all():
        picker.fill("#ff8800")
    becomes(page, (255, 136, 0))
    page.screenshot(path=tmp_path / "coverage.png")
    watched.check(styled)


def test_hostile_titles_names_and_values_stay_text(platform: Platform, visit: Visit, tmp_path: Path) -> None:
    selector = {"op": "=", "args": [{"property": "name"}, ATTACK]}
    rules = [{**STYLE["stylingRules"][0], "name": ATTACK}, {"name": ATTACK, "selector": selector}]
    style = {"metadata": {"title": ATTACK, "description": ATTACK}, "stylingRules": rules}
    platform.styles.put(LAYER, "plain", style, author=ATTACK, note=ATTACK)
    with serving(platform) as address:
        watched = visit(f"{address}/style?layer={LAYER}&rule=1")
        page = watched.page
        becomes(page, (200, 30, 30))
        expect(page.locator(".rules .title").first).to_have_text(ATTACK)
        expect(page.locator(".legend-list li").first).to_contain_text(ATTACK)
        expect(page.locator(".condition .value")).to_have_value(ATTACK)
        for tab in page.get_by_role("tab").all():
            tab.click()
            expect(tab).to_have_attribute("aria-selected", "true")
        page.get_by_role("tab", name="Versions").click()
        expect(page.locator(".version .note").first).to_have_text(ATTACK)
        page.screenshot(path=tmp_path / "attack.png")
        page.goto(f"{address}/explore?collection={PLACES}&item={SHIRES}")
        expect(page.locator(".layer")).to_be_visible()
        assert page.evaluate(PWNED), ATTACK
        watched.check(address)
