"""A served dashboard over a filled catalogue, and Chromium pages that note what they say and whom they ask."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

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
# Nothing takes as long; where much else is at work a page of two seconds takes half a minute.
SLOW_MS = 120_000
expect.set_options(timeout=SLOW_MS)
# How often something is looked at that costs more than a glance; Playwright itself would look at each frame.
LOOK_MS = 100


# What moves on its way is drawn some thirty times; a test that is about the move asks for a context in which it does.
STILL: dict[str, Any] = {"reduced_motion": "reduce"}


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

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda asked: self._note(urlsplit(asked.url)))

    def _note(self, asked: SplitResult) -> None:
        if asked.scheme in ("http", "https", "ws", "wss"):
            self.hosts.add(asked.netloc)

    def check(self, address: str) -> None:
        """Check that nothing was complained about, and that nobody else was asked."""
        assert self.complaints == []
        assert self.hosts == {urlsplit(address).netloc}


Visit = Callable[[str], Watched]
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


# Not for longer: as long as Playwright is there, nothing else can run an event loop in this thread, and the process
# that tests this file may go on with one of another folder.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Give a Chromium, the same to all tests of a file."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@contextmanager
def visitor(browser: Browser, width: int, height: int, **options: Any) -> Iterator[BrowserContext]:
    """Give what a new visitor has: a window of `width` and `height` (pixels), and no cookies."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(SLOW_MS)
    yield context
    context.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Give ``visit(address)``: a page of a new visitor, once its map is drawn."""

    def open_page(address: str) -> Watched:
        watched = Watched(theirs.new_page())
        watched.page.goto(address)
        watched.page.wait_for_selector(".frame[data-ready=true]")
        return watched

    with visitor(browser, 1100, 720, **STILL) as theirs:
        yield open_page


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Give what a new visitor has, with a larger window."""
    with visitor(browser, 1280, 800, **STILL) as context:
        yield context


@pytest.fixture
def look(context: BrowserContext) -> Visit:
    """Give ``look(address)``: a page of this visitor that tells of workers, once it is alive."""

    def open_page(address: str) -> Watched:
        watched = Watched(context.new_page())
        watched.page.goto(address)
        expect(watched.page.get_by_role("status").first).to_contain_text("at work")
        return watched

    return open_page


@pytest.fixture
def enter(browser: Browser) -> Iterator[Enter]:
    """Give ``enter(name, address)``: the page of somebody who signs in with a browser of their own."""

    def enter_page(name: str, address: str) -> Watched:
        watched = Watched(open_contexts.enter_context(visitor(browser, 1280, 800, **STILL)).new_page())
        watched.page.goto(address)
        sign_in(watched.page, name)
        expect(watched.page.get_by_role("status").first).to_contain_text("at work")
        return watched

    with ExitStack() as open_contexts:
        yield enter_page


def sign_in(page: Page, name: str) -> None:
    """Fill in the form of the login page and send it."""
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
