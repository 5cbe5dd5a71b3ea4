"""The description of the API as pages, in a real browser: nobody else is asked, and no script but ours runs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, expect, sync_playwright

from geoetl.api import docs
from geoetl.api.app import create_app
from geoetl.platform import Platform
from tests.served import serving


@dataclass
class Shown:
    """A page, with what it complained about and every address that it asked."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def address(filled: Platform) -> Iterator[str]:
    with serving(create_app(filled)) as found:
        yield found


# Nothing takes as long, unless much else is at work.
SLOW_MS = 120_000


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def shown(browser: Browser) -> Iterator[Shown]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(SLOW_MS)
    expect.set_options(timeout=SLOW_MS)
    watched = Shown(context.new_page())
    watched.page.on("console", lambda said: watched.complaints.append(said.text) if said.type == "error" else None)
    watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    watched.page.on("request", lambda request: watched.asked.append(request.url))
    yield watched
    context.close()


def check_nobody_else_was_asked(shown: Shown, address: str) -> None:
    hosts = {urlsplit(url).netloc for url in shown.asked if urlsplit(url).scheme in ("http", "https")}
    assert hosts == {urlsplit(address).netloc}
    assert shown.complaints == []


def test_swagger_ui_shows_every_operation_and_tries_one(shown: Shown, address: str, tmp_path: Path) -> None:
    page = shown.page
    page.goto(f"{address}/docs")
    operation = page.locator(".opblock", has_text="/api/livez").first
    expect(operation).to_be_visible()
    operation.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    page.screenshot(path=tmp_path / "swagger.png")
    check_nobody_else_was_asked(shown, address)


def test_redoc_shows_and_searches_every_operation(shown: Shown, address: str, tmp_path: Path) -> None:
    page = shown.page
    page.goto(f"{address}/redoc")
    expect(page.get_by_role("heading", name="geoetl").first).to_be_visible()
    expect(page.get_by_text("/api/raster/point/{collection}/{item}").first).to_be_attached()
    page.get_by_placeholder("Search...").fill("preview")
    expect(page.get_by_role("search").get_by_role("menuitem").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=tmp_path / "redoc.png")
    check_nobody_else_was_asked(shown, address)


def test_the_pages_let_no_script_run_that_is_not_ours(client: TestClient) -> None:
    for path in ("/docs", "/redoc"):
        answer = client.get(path)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy and "frame-ancestors 'self'" in policy
        assert "<script>" not in answer.text and "http" not in answer.text.replace("http-equiv", "")


def test_every_address_in_the_pages_is_relative_so_that_a_proxy_may_move_them(client: TestClient) -> None:
    for path in ("/docs", "/redoc"):
        text = client.get(path).text
        assert 'href="/' not in text and 'src="/' not in text


@pytest.mark.parametrize("name", docs.SERVED)
def test_what_is_unchanged_is_not_sent_again(client: TestClient, name: str) -> None:
    first = client.get(f"/docs/assets/{name}")
    assert first.status_code == 200 and first.content
    again = client.get(f"/docs/assets/{name}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["package.json", "NOTICE.txt", "..%2fdocs.py", ".npmrc", "%2e%2e%2fapp.py"])
def test_only_what_the_pages_need_is_served(client: TestClient, name: str) -> None:
    answer = client.get(f"/docs/assets/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_packages_are_pinned_and_the_lock_names_no_registry() -> None:
    assert "resolved" not in (docs.ASSETS / "package-lock.json").read_text()
    assert "^" not in (docs.ASSETS / "package.json").read_text()
    notice = (docs.ASSETS / "NOTICE.txt").read_text()
    assert "Apache License" in notice and "Rebilly" in notice
