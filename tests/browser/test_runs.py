"""The page *Runs* in a real browser: what a person sees and does."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from geoetl.core.errors import UnreadableFile
from geoetl.core.principal import Role
from geoetl.platform import Platform
from tests.browser.conftest import LOOK_MS, Visit, serving, sign_in
from tests.by_hand import SAMPLE, HandWorker, scheduled, submit
from tests.served import PASSWORD

PWNED = "() => window.__pwned === undefined"
ATTACK = "</script><img src=x onerror=window.__pwned=1>"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Give a platform that the tests share; each has collections of its own."""
    return scheduled(tmp_path_factory.mktemp("runs") / "home")


@pytest.fixture(scope="module")
def address(platform: Platform) -> Iterator[str]:
    """Give the address of its dashboard."""
    with serving(platform) as address:
        yield address


@pytest.fixture
def untouched(tmp_path: Path) -> Iterator[tuple[Platform, str]]:
    """Give a platform that has executed nothing yet, and the address of its dashboard."""
    platform = scheduled(tmp_path / "home")
    with serving(platform) as address:
        yield platform, address


@pytest.fixture
def worker(platform: Platform) -> Iterator[HandWorker]:
    """Give a worker whose steps the test takes."""
    made = HandWorker(platform)
    yield made
    made.leave()


def test_a_person_starts_a_run_leaves_comes_back_and_reads_the_executed_notebook(
    untouched: tuple[Platform, str], look: Visit, context: BrowserContext, tmp_path: Path
) -> None:
    platform, address = untouched
    watched = look(f"{address}/runs")
    page = watched.page
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    page.screenshot(path=tmp_path / "empty.png")
    page.get_by_role("button", name="Start a run").click()
    page.get_by_role("button", name="Fill in: Ingest a raster as a Cloud Optimized GeoTIFF").click()
    expect(page.get_by_role("button", name="Fill in", exact=False)).to_have_count(0)
    page.get_by_label("Source *").fill("nowhere.tif")
    page.keyboard.press("Tab")
    expect(page.get_by_text("There is no file 'nowhere.tif'")).to_be_visible()
    expect(page.get_by_label("Source *")).to_have_attribute("aria-invalid", "true")
    page.screenshot(path=tmp_path / "wrong.png")
    page.get_by_label("Source *").fill(SAMPLE)
    page.keyboard.press("Tab")
    expect(page.get_by_text("It can begin. Found: landsat_rgb.tif")).to_be_visible()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("It was started. No worker is at work: it waits until one is.")).to_be_visible()
    (record,) = platform.runs.list(limit=1)
    expect(page).to_have_url(f"{address}/runs?run={record.id}")
    working = threading.Thread(target=lambda: platform.worker().run(once=True))
    working.start()
    expect(page.locator(".stage .title").first).to_have_text("Validate")
    page.screenshot(path=tmp_path / "moving.png")
    watched.check(address)
    page.close()
    working.join()
    again = look(f"{address}/runs?run={record.id}")
    expect(again.page.locator(".state")).to_have_text("Completed")
    expect(again.page.locator(".stage .title").nth(0)).to_have_text("Validate")
    expect(again.page.locator(".stage .title").nth(1)).to_have_text("Convert")
    again.page.get_by_role("tab", name="Notebook").click()
    frame = again.page.frame_locator("iframe[title='Executed notebook']")
    expect(frame.get_by_role("heading", name="Ingest a raster as a Cloud Optimized GeoTIFF")).to_be_visible()
    expect(again.page.locator("iframe")).to_have_attribute("sandbox", "")
    with context.expect_page() as opened:
        again.page.get_by_role("link", name="Open it in a page of its own").click()
    expect(opened.value.get_by_text("landsat_rgb.tif").first).to_be_visible()
    again.page.get_by_role("tab", name="Result").click()
    item = again.page.get_by_role("link", name="landsat_rgb")
    expect(item).to_have_attribute("href", "explore?collection=rasters&item=landsat_rgb")
    again.page.screenshot(path=tmp_path / "done.png")
    again.check(address)


def test_a_run_moves_by_itself_is_cancelled_and_tried_again(
    address: str, platform: Platform, worker: HandWorker, look: Visit, tmp_path: Path
) -> None:
    run_id = submit(platform, collection="hills")
    watched = look(f"{address}/runs")
    page = watched.page
    page.get_by_role("button", name="landsat_rgb.tif → hills").click()
    expect(page.locator(".state")).to_have_text("Waits")
    worker.claim()
    worker.begin("convert", total=8)
    worker.progress("convert", 3)
    worker.say("three of them")
    expect(page.get_by_role("progressbar", name="Progress of convert", exact=False).last).to_have_attribute(
        "aria-valuenow", "3"
    )
    expect(page.get_by_role("log")).to_contain_text("three of them")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("alert").get_by_text("Cancel this run?")).to_be_visible()
    page.get_by_role("button", name="No", exact=True).click()
    assert not worker.is_to_cancel()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.screenshot(path=tmp_path / "asked.png")
    page.get_by_role("button", name="Yes", exact=True).click()
    expect(page.locator(".state")).to_have_text("Being cancelled")
    assert worker.is_to_cancel()
    worker.cancel()
    expect(page.locator(".state")).to_have_text("Cancelled")
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator(".state")).to_have_text("Waits")
    worker.claim()
    worker.begin("validate")
    worker.end("validate")
    worker.begin("convert", position=2)
    worker.end("convert", error=UnreadableFile("It is a web page."))
    worker.fail(UnreadableFile("It is a web page.", hint="Download it again."))
    expect(page.get_by_role("note")).to_contain_text("It is a web page.Download it again.")
    page.get_by_role("button", name="Retry from “convert”").click()
    expect(page.locator(".state")).to_have_text("Waits")
    assert worker.claim() == run_id
    worker.finish()
    expect(page.locator(".state")).to_have_text("Completed")
    watched.check(address)


def test_links_back_and_forward_lead_to_the_same_views(
    address: str, platform: Platform, look: Visit, tmp_path: Path
) -> None:
    first, second = submit(platform, collection="one"), submit(platform, collection="two")
    platform.runs.queue.cancel(first)
    platform.runs.queue.cancel(second)
    page = look(f"{address}/runs?run={first}").page
    expect(page.locator(".run[aria-current]")).to_contain_text("→ one")
    page.get_by_role("button", name="→ two").click()
    expect(page).to_have_url(f"{address}/runs?run={second}")
    page.get_by_role("button", name="Schedules").click()
    expect(page).to_have_url(f"{address}/runs?view=schedules")
    page.go_back()
    expect(page.locator(".run[aria-current]")).to_contain_text("→ two")
    page.go_back()
    expect(page.locator(".run[aria-current]")).to_contain_text("→ one")
    page.go_forward()
    expect(page.locator(".run[aria-current]")).to_contain_text("→ two")
    page.locator(".run").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{address}/runs?run={first}")
    page.get_by_label("Search").fill("two")
    expect(page.locator(".run")).to_have_count(1)
    expect(page).to_have_url(f"{address}/runs?run={first}&text=two")
    page.reload()
    expect(page.locator(".run")).to_have_count(1)
    expect(page.get_by_label("Search")).to_have_value("two")


def test_on_a_phone_the_list_gives_way_to_what_is_opened(
    address: str, platform: Platform, look: Visit, context: BrowserContext, tmp_path: Path
) -> None:
    platform.runs.queue.cancel(submit(platform, collection="phone"))
    page = look(f"{address}/runs").page
    page.set_viewport_size({"width": 390, "height": 800})
    page.screenshot(path=tmp_path / "list.png")
    page.get_by_role("button", name="→ phone").click()
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_hidden()
    page.screenshot(path=tmp_path / "run.png")
    page.get_by_role("button", name="All runs").first.click()
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    page.wait_for_function("document.documentElement.scrollWidth <= 390", polling=LOOK_MS)


def test_a_schedule_is_paused_resumed_and_run(address: str, platform: Platform, look: Visit, tmp_path: Path) -> None:
    watched = look(f"{address}/runs?view=schedules")
    page = watched.page
    expect(page.locator(".fact", has_text="Next").locator("dd")).to_contain_text("01:30 UTC")
    page.get_by_role("button", name="Pause: Remove the events").click()
    expect(page.locator(".schedule .badge")).to_have_text("paused")
    assert platform.schedules.get("purge-events").is_paused
    page.screenshot(path=tmp_path / "paused.png")
    page.get_by_role("button", name="Resume: Remove the events").click()
    expect(page.locator(".schedule .badge")).to_have_count(0)
    page.get_by_role("button", name="Run now: Remove the events").click()
    expect(page.locator(".state")).to_have_text("Waits")
    platform.worker().run(once=True)
    expect(page.locator(".state")).to_have_text("Completed")
    page.get_by_role("tab", name="Result").click()
    expect(page.get_by_text("Events", exact=True)).to_be_visible()
    watched.check(address)


def test_whatever_runs_say_is_text(
    address: str, platform: Platform, worker: HandWorker, look: Visit, tmp_path: Path
) -> None:
    submit(platform, who=ATTACK, title=ATTACK, collection="attacks")
    worker.claim()
    worker.begin(ATTACK)
    worker.end(ATTACK, ATTACK)
    worker.say(ATTACK)
    cells = [{"cell_type": "code", "source": ATTACK, "outputs": [{"output_type": "stream", "text": ATTACK}]}]
    worker.finish({"collection": ATTACK, "items": [ATTACK], "left_out": [ATTACK]}, cells=cells)
    submit(platform, collection="others", who=ATTACK)
    worker.claim()
    worker.fail(UnreadableFile(ATTACK, hint=ATTACK))
    watched = look(f"{address}/runs")
    page = watched.page
    expect(page.locator(".version .title").get_by_text(ATTACK)).to_be_visible()
    for name in ("→ others", "→ attacks"):
        page.get_by_role("button", name=name).click()
        for tab in ("Parameters", "Result", "Notebook", "Log"):
            page.get_by_role("tab", name=tab).click()
            expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("log")).to_contain_text(ATTACK)
    expect(page.locator(".stage .title")).to_have_text(ATTACK)
    page.screenshot(path=tmp_path / "attacked.png")
    assert page.evaluate(PWNED)
    assert watched.complaints == []


def test_a_viewer_sees_everything_and_can_change_nothing(context: BrowserContext, tmp_path: Path) -> None:
    platform = scheduled(tmp_path / "home")
    platform.identity.add("vera", Role.VIEWER, PASSWORD)
    run_id = submit(platform, collection="seen")
    page = context.new_page()
    with serving(platform) as guarded:
        page.goto(f"{guarded}/runs?run={run_id}")
        sign_in(page, "vera")
        expect(page.locator(".state")).to_have_text("Waits")
        for name in ("Cancel", "Start a run"):
            expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
        page.get_by_role("button", name="Schedules").click()
        expect(page.locator(".schedule .title")).to_be_visible()
        expect(page.locator(".schedule .link")).to_have_count(0)
        page.screenshot(path=tmp_path / "viewer.png")
