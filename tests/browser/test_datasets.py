"""The page *Datasets* in a real browser: what a person sees and does."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

import geoetl
from geoetl.core.principal import Role
from geoetl.platform import Platform
from tests.browser.conftest import LOOK_MS, Visit, serving, sign_in
from tests.by_hand import HandWorker
from tests.datasets.released import ID, Upkeep, country, lands
from tests.served import PASSWORD

PWNED = "() => window.__pwned === undefined"
ATTACK = "</script><img src=x onerror=window.__pwned=1>"


@dataclass(frozen=True)
class Shown:
    """A dataset of one test, and the address of a dashboard that shows it."""

    upkeep: Upkeep
    address: str

    @property
    def page(self) -> str:
        """The page with nothing opened."""
        return f"{self.address}/datasets"


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    """Give a dashboard with one dataset, whose source is a folder that is looked at every day."""
    (tmp_path / "managed").mkdir()
    platform = geoetl.connect(tmp_path / "home", managed=tmp_path / "managed")
    upkeep = Upkeep.begin(platform, tmp_path / "home" / "drop", update_schedule="0 2 * * *")
    with serving(platform) as address:
        yield Shown(upkeep, address)


def hold(upkeep: Upkeep) -> None:
    """Serve 40 rows, then hold a release of 21."""
    upkeep.release(lands(40))
    upkeep.update()
    upkeep.release([*lands(20)[:-1], country(19, NAME="Renamed"), country(60)])
    assert upkeep.update().status == "held"


def test_an_update_is_started_watched_left_found_again_and_its_notebook_is_read(
    shown: Shown, look: Visit, context: BrowserContext, tmp_path: Path
) -> None:
    upkeep, platform = shown.upkeep, shown.upkeep.platform
    upkeep.release(lands(40))
    watched = look(shown.page)
    page = watched.page
    page.screenshot(path=tmp_path / "list.png")
    page.get_by_role("button", name="Countries").click()
    expect(page).to_have_url(f"{shown.page}?dataset={ID}")
    expect(page.locator(".state")).to_have_text("No version yet")
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_role("note")).to_contain_text("make the first version of curated/curated_countries")
    page.screenshot(path=tmp_path / "plan.png")
    page.get_by_role("button", name="Update now").click()
    expect(page.get_by_text("The update was started.")).to_be_visible()
    expect(page.get_by_text("The update waits for a worker; none is at work")).to_be_visible()
    expect(page.get_by_role("button", name="Update now")).to_be_disabled()
    working = threading.Thread(target=lambda: platform.worker().run(once=True))
    working.start()
    expect(page.locator(".stage .title").first).to_have_text("Check")
    page.screenshot(path=tmp_path / "moving.png")
    watched.check(shown.address)
    page.close()
    working.join()
    again = look(f"{shown.page}?dataset={ID}")
    page = again.page
    expect(page.locator(".state")).to_have_text("Current")
    expect(page.get_by_role("paragraph").get_by_text("40 rows are served: +40 ~0 −0.")).to_be_visible()
    page.get_by_role("button", name="Steps and log").click()
    expect(page.locator(".stage .title")).to_have_text(["Check", "Fetch", "Process", "Finalise"])
    with context.expect_page() as opened:
        page.get_by_role("link", name="Its executed notebook").click()
    expect(opened.value.get_by_role("heading", name="Update a managed dataset")).to_be_visible()
    opened.value.close()
    item = page.get_by_role("link", name="on the map")
    expect(item).to_have_attribute("href", "explore?collection=curated&item=curated_countries")
    style = page.get_by_role("link", name="its style")
    expect(style).to_have_attribute("href", "style?layer=curated:curated_countries")
    page.get_by_role("tab", name="Updates").click()
    expect(page.get_by_role("row", name="Completed")).to_contain_text("+40 ~0 −0")
    page.screenshot(path=tmp_path / "done.png")
    again.check(shown.address)
    page.get_by_role("link", name="Its run").click()
    expect(page.locator(".stage .title").first).to_have_text("Check")


def test_a_held_release_is_looked_at_on_a_map_accepted_and_gone_back_from(
    shown: Shown, look: Visit, tmp_path: Path
) -> None:
    hold(shown.upkeep)
    watched = look(shown.page)
    page = watched.page
    page.get_by_role("button", name="Countries").click()
    expect(page).to_have_url(f"{shown.page}?dataset={ID}&version=2")
    expect(page.get_by_role("note")).to_contain_text("There are 21 rows where there were 40 (-47.5%)")
    expect(page.get_by_role("row", name="Rows 40 21")).to_be_visible()
    page.wait_for_selector(".frame[data-ready=true]")
    # Exactly this one: the dataset's own button soon says that it was updated 10 s ago.
    page.get_by_role("button", name="updated 1", exact=True).click()
    expect(page.locator(".changes tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Show on the map: AAT").click()
    expect(page.get_by_text("AAT of curated_countries was updated. What differs: name.")).to_be_visible()
    page.wait_for_function(DRAWN, arg=2, polling=LOOK_MS)
    page.screenshot(path=tmp_path / "held.png")
    page.get_by_role("button", name="all changes 22", exact=True).click()
    page.get_by_role("button", name="Fit to the data").click()
    page.wait_for_function(DRAWN, arg=6, polling=LOOK_MS)
    page.get_by_role("button", name="Accept", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Serve version 2")
    page.get_by_label("Reason").fill("The others were doubled.")
    page.screenshot(path=tmp_path / "asked.png")
    page.get_by_role("button", name="Yes", exact=True).click()
    expect(page.locator(".state")).to_have_text("Current")
    assert len(shown.upkeep.served()) == 21
    page.get_by_role("tab", name="Versions").click()
    expect(page.locator(".version").first).to_contain_text("by Local operator: The others were doubled.")
    page.get_by_role("button", name="Roll back to it").click()
    expect(page.get_by_role("alert")).to_contain_text("Serve version 1")
    page.get_by_role("button", name="No", exact=True).click()
    assert len(shown.upkeep.served()) == 21
    page.get_by_role("button", name="Roll back to it").click()
    page.get_by_role("button", name="Yes", exact=True).click()
    expect(page.get_by_text("Version 1 is served again.")).to_be_visible()
    assert len(shown.upkeep.served()) == 40
    page.screenshot(path=tmp_path / "back.png")
    watched.check(shown.address)


# Parts of the layers of changed features in which something is drawn: a fill, a line and a circle of each kind.
DRAWN = """(least) => {
  const frames = []
  const walk = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.classList?.contains("frame") && element.geo) { frames.push(element) }
      if (element.shadowRoot) { walk(element.shadowRoot) }
    }
  }
  walk(document)
  const map = frames[0]?.geo.map
  const parts = map?.getStyle().layers.filter((l) => l.id.startsWith("data-") && l.layout?.visibility !== "none") ?? []
  return parts.filter((part) => map.queryRenderedFeatures({layers: [part.id]}).length).length >= least
}"""


def test_a_release_is_rejected_only_with_a_reason(shown: Shown, look: Visit, tmp_path: Path) -> None:
    hold(shown.upkeep)
    page = look(f"{shown.page}?dataset={ID}").page
    page.get_by_role("button", name="Reject", exact=True).click()
    page.get_by_role("button", name="Yes", exact=True).click()
    expect(page.get_by_text("It is not rejected without a reason. Say why.")).to_be_visible()
    expect(page.get_by_label("Reason")).to_have_attribute("aria-invalid", "true")
    page.screenshot(path=tmp_path / "why.png")
    page.get_by_label("Reason").fill("Half of the countries are missing.")
    page.get_by_role("button", name="Yes", exact=True).click()
    expect(page.get_by_text("Version 2 is rejected; its release is not fetched again.")).to_be_visible()
    expect(page.locator(".state")).to_have_text("Current")
    version = shown.upkeep.platform.datasets.repository.version(ID, 2)
    assert (version.decided_by, version.reason) == ("local", "Half of the countries are missing.")


def test_links_back_and_forward_lead_to_the_same_views(shown: Shown, look: Visit, tmp_path: Path) -> None:
    hold(shown.upkeep)
    page = look(f"{shown.page}?dataset={ID}&version=1").page
    expect(page.get_by_text("It is the first version: all of it is new.")).to_be_visible()
    page.get_by_role("button", name="Look at what changed").click()
    expect(page).to_have_url(f"{shown.page}?dataset={ID}&version=2")
    page.go_back()
    expect(page.get_by_text("It is the first version: all of it is new.")).to_be_visible()
    page.go_forward()
    expect(page.locator(".changes tbody tr")).to_have_count(22)
    page.get_by_role("button", name="All datasets").click()
    expect(page.get_by_role("heading", name="Choose a dataset")).to_be_visible()
    expect(page).to_have_url(shown.page)
    page.go_back()
    expect(page.locator(".changes tbody tr")).to_have_count(22)
    page.goto(f"{shown.page}?dataset=contries")
    expect(page.get_by_text("Did you mean 'countries'?")).to_be_visible()


def test_a_schedule_is_paused_and_resumed(shown: Shown, look: Visit, tmp_path: Path) -> None:
    page = look(f"{shown.page}?dataset={ID}").page
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("schedule paused").first).to_be_visible()
    assert not shown.upkeep.platform.datasets.repository.get(ID).enabled
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("02:00 UTC").first).to_be_visible()


def test_without_datasets_it_is_told_how_to_begin(look: Visit, tmp_path: Path) -> None:
    (tmp_path / "managed").mkdir()
    with serving(geoetl.connect(tmp_path / "home", managed=tmp_path / "managed")) as address:
        watched = look(f"{address}/datasets")
        expect(watched.page.get_by_role("heading", name="No managed datasets")).to_be_visible()
        expect(watched.page.get_by_text("geoetl datasets add FILE.yaml")).to_be_visible()
        watched.page.screenshot(path=tmp_path / "empty.png")
        watched.check(address)


def test_on_a_phone_the_list_gives_way_to_what_is_opened(shown: Shown, look: Visit, tmp_path: Path) -> None:
    hold(shown.upkeep)
    page = look(shown.page).page
    page.set_viewport_size({"width": 390, "height": 800})
    page.screenshot(path=tmp_path / "list.png")
    page.get_by_role("button", name="Countries").click()
    expect(page.get_by_role("heading", name="Datasets", exact=True)).to_be_hidden()
    page.screenshot(path=tmp_path / "held.png")
    page.wait_for_function("document.documentElement.scrollWidth <= 390", polling=LOOK_MS)
    page.get_by_role("button", name="All datasets").click()
    expect(page.get_by_role("heading", name="Datasets", exact=True)).to_be_visible()


def test_whatever_sources_and_people_say_is_text(tmp_path: Path, look: Visit) -> None:
    (tmp_path / "managed").mkdir()
    platform = geoetl.connect(tmp_path / "home", managed=tmp_path / "managed")
    texts = dict.fromkeys(("name", "description", "attribution", "citation"), ATTACK)
    upkeep = Upkeep.begin(platform, tmp_path / "home" / "drop", **texts)
    upkeep.release(lands(40))
    upkeep.update()
    upkeep.release([country(number, ADM0_A3=f"{number}{ATTACK}", **{ATTACK: 1}) for number in range(20)])
    upkeep.update()
    platform.datasets.reject(ID, 2, by=ATTACK, reason=ATTACK)
    upkeep.release([country(number, ADM0_A3=f"{number} {ATTACK}", **{ATTACK: 1}) for number in range(20)])
    assert upkeep.update().status == "held"
    platform.update_dataset(ID, force=True, submitted_by=ATTACK)
    worker = HandWorker(platform)
    worker.claim()
    worker.begin(ATTACK)
    worker.say(ATTACK)
    with serving(platform) as address:
        watched = look(f"{address}/datasets?dataset={ID}&version=3")
        page = watched.page
        expect(page.get_by_role("log")).to_contain_text(ATTACK)
        expect(page.locator(".changes tbody tr").first).to_be_visible()
        page.get_by_role("button", name=f"Show on the map: 0 {ATTACK}").click()
        expect(page.get_by_text(f"0 {ATTACK} of curated_countries was added.")).to_be_visible()
        for tab in ("Versions", "Updates", "About"):
            page.get_by_role("tab", name=tab).click()
            expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        expect(page.get_by_role("heading", name=ATTACK)).to_be_visible()
        page.screenshot(path=tmp_path / "attacked.png")
        assert page.evaluate(PWNED)
        assert watched.complaints == []
    worker.leave()


def test_a_viewer_sees_everything_and_can_change_nothing(shown: Shown, context: BrowserContext, tmp_path: Path) -> None:
    hold(shown.upkeep)
    platform: Platform = shown.upkeep.platform
    platform.identity.add("vera", Role.VIEWER, PASSWORD)
    page = context.new_page()
    page.goto(f"{shown.page}?dataset={ID}&version=2")
    sign_in(page, "vera")
    expect(page.locator(".changes tbody tr")).to_have_count(22)
    expect(page.get_by_text("An approver decides about it.")).to_be_visible()
    for name in ("Update now", "Check now", "Pause", "Accept", "Reject"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    page.get_by_role("tab", name="Versions").click()
    expect(page.locator(".version .link")).to_have_text(["What changed", "What changed"])
    page.screenshot(path=tmp_path / "viewer.png")
