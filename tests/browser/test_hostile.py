"""A16: what an editor writes into a document stays text on every page."""

from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

import geoetl
from tests import catalogued
from tests.browser.conftest import Visit, serving, visitor
from tests.catalogued import HILL, IMAGES

PWNED = "() => window.__pwned === undefined"
SCRIPT = "<script>window.__pwned=1</script>"
# What comes before an attack neither starts nor ends anything in the place where that one works.
ATTACKS = (
    f'<img src=x onerror=window.__pwned=1> {SCRIPT} "><svg onload=window.__pwned=1> </script>{SCRIPT}',
    "');window.__pwned=1// {{constructor.constructor('window.__pwned=1')()}}",
)


@pytest.mark.parametrize("attack", ATTACKS, ids=["markup", "programs"])
def test_a16_titles_descriptions_names_and_addresses_stay_text(
    attack: str, home: Path, visit: Visit, tmp_path: Path
) -> None:
    platform = geoetl.connect(home)
    catalogued.fill(platform, home / "shelf")
    platform.catalog.change_collection(
        IMAGES,
        lambda present: {
            **present,
            "title": attack,
            "description": attack,
            "license": attack,
            "keywords": [attack],
            "providers": [{"name": attack, "url": "javascript:window.__pwned=1", "roles": ["producer"]}],
        },
    )
    platform.catalog.change_item(
        IMAGES,
        HILL,
        lambda present: {
            **present,
            "properties": {**present["properties"], "title": attack, "description": attack, attack: attack},
            "links": [
                {"rel": "license", "href": "javascript:window.__pwned=1", "title": attack},
                {"rel": attack, "href": "data:text/html,<script>window.__pwned=1</script>", "title": attack},
            ],
            "assets": {**present["assets"], attack: {"href": "javascript:window.__pwned=1", "title": attack}},
        },
    )
    with serving(platform) as address:
        page = visit(f"{address}/explore?collection={IMAGES}&item={HILL}").page
        expect(page.locator(".layer")).to_be_visible()
        for tab in page.get_by_role("tab").all():
            tab.click()
            expect(tab).to_have_attribute("aria-selected", "true")
        page.screenshot(path=tmp_path / "attack.png")
        assert page.evaluate(PWNED), attack
        assert page.locator("a[href^='javascript:'], a[href^='data:text']").count() == 0
        text = quote(attack)
        page.goto(f"{address}/explore?q={text}&collection={text}&item={text}&point={text}&time={text}")
        expect(page.get_by_role("alert").first).to_be_visible()
        assert page.evaluate(PWNED), attack


def test_a16_documents_opened_by_themselves_run_nothing(home: Path, browser: Browser) -> None:
    platform = geoetl.connect(home)
    catalogued.fill(platform, home / "shelf")
    path = home / "shelf" / "page.html"
    path.write_text("<script>window.__pwned=1</script>")
    platform.catalog.change_item(
        IMAGES,
        HILL,
        lambda present: {**present, "assets": {"page": {"href": str(path), "type": "text/html", "title": "A page"}}},
    )
    with serving(platform) as address, visitor(browser, 1100, 720) as context:
        page = context.new_page()
        for opened in (
            f"stac/collections/{IMAGES}/items/{HILL}",
            "stac/search",
            f"stac/collections/{SCRIPT}",
            "login",
            "docs",
        ):
            answer = page.goto(f"{address}/{opened}")
            assert answer is not None
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert page.evaluate(PWNED), opened
        # An HTML file among the assets is a download, never a page of ours.
        asset = context.request.get(f"{address}/assets/{IMAGES}/{HILL}/page")
        assert "attachment" in asset.headers["content-disposition"]
        assert "sandbox" in asset.headers["content-security-policy"]
