"""A served dashboard over a filled catalogue, and Chromium pages that note what they say and whom they ask."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

import dashboards.app
import geoetl
from geoetl.platform import Platform
from tests import catalogued
from tests.served import PASSWORD
from tests.served import serving as served_app

# Without a graphics card Chromium draws WebGL in software; what lies around the map is drawn faster without it.
FLAGS = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-sandbox",
    "--disable-gpu-compositing",
]
SLOW_MS = 30_000
expect.set_options(timeout=SLOW_MS)


@dataclass
class Watched:
    """A page with what it said and whom it asked.

    Attributes:
        page: The page.
        complaints: Errors in its console.
        hosts: Every host that it asked.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def check(self, address: str) -> None:
        """Check that nothing was complained about, and that nobody else was asked."""
        assert self.complaints == []
        assert self.hosts == {urlsplit(address).netloc}


Enter = Callable[[str, str], Watched]


@contextmanager
def serving(platform: Platform) -> Iterator[str]:
    """Serve the dashboard of a platform and give its address."""
    with served_app(dashboards.app.create_app(platform)) as address:
        yield address


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Give a platform with one item of each kind."""
    home: Path = tmp_path_factory.mktemp("shown") / "home"
    platform = geoetl.connect(home)
    catalogued.fill(platform, home / "shelf")
    return platform


@pytest.fixture(scope="session")
def served(filled: Platform) -> Iterator[str]:
    """Give the address of the served dashboard."""
    with serving(filled) as address:
        yield address


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Give a Chromium."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[[str], Watched]]:
    """Give ``visit(address)``: a page of a new visitor, once its map is drawn."""
    # A map that flies is drawn some thirty times on its way; the tests of roles have contexts in which it does.
    context = browser.new_context(viewport={"width": 1100, "height": 720}, reduced_motion="reduce")
    context.set_default_timeout(SLOW_MS)

    def open_page(address: str) -> Watched:
        watched = Watched(context.new_page())
        watched.page.on("console", lambda said: watched.complaints.append(said.text) if said.type == "error" else None)
        watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        watched.page.on("request", lambda asked: note(watched, asked.url))
        watched.page.goto(address)
        watched.page.wait_for_selector(".frame[data-ready=true]")
        return watched

    yield open_page
    context.close()


@pytest.fixture
def enter(browser: Browser) -> Iterator[Enter]:
    """Give ``enter(name, address)``: the page of somebody who signs in with a browser of their own."""
    contexts: list[BrowserContext] = []

    def sign_in(name: str, address: str) -> Watched:
        context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
        context.set_default_timeout(SLOW_MS)
        contexts.append(context)
        watched = Watched(context.new_page())
        watched.page.on("console", lambda said: watched.complaints.append(said.text) if said.type == "error" else None)
        watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        watched.page.on("request", lambda asked: note(watched, asked.url))
        watched.page.goto(address)
        watched.page.get_by_label("Name").fill(name)
        watched.page.get_by_label("Password").fill(PASSWORD)
        watched.page.get_by_role("button", name="Sign in").click()
        expect(watched.page.get_by_role("status").first).to_contain_text("at work")
        return watched

    yield sign_in
    for context in contexts:
        context.close()


def note(watched: Watched, url: str) -> None:
    if urlsplit(url).scheme in ("http", "https", "ws", "wss"):
        watched.hosts.add(urlsplit(url).netloc)
