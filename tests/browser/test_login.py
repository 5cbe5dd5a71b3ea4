"""Signing in and out in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from playwright.sync_api import Browser, BrowserContext, expect

import geoetl
from geoetl.core.principal import Role
from tests.browser.conftest import STILL, serving, sign_in, visitor
from tests.served import PASSWORD
from tests.served import serving as serving_app


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a served dashboard with a user."""
    platform = geoetl.connect(tmp_path_factory.mktemp("login") / "home")
    platform.identity.add("Alice Example", Role.EDITOR, PASSWORD)
    with serving(platform) as address:
        yield address


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Give a browser of a new visitor."""
    with visitor(browser, 1100, 720, color_scheme="dark", **STILL) as context:
        yield context


def test_a_person_signs_in_works_and_signs_out(address: str, context: BrowserContext, tmp_path: Path) -> None:
    page = context.new_page()
    page.goto(f"{address}/explore?extent=0,0,10,10")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("alice example")
    page.keyboard.press("Tab")
    page.keyboard.type("wrong password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    expect(page.get_by_label("Password")).to_be_focused()
    expect(page.get_by_label("Name")).to_have_value("alice example")
    page.screenshot(path=tmp_path / "wrong.png")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector(".frame[data-ready=true]")
    assert page.url.startswith(f"{address}/explore?extent=")
    expect(page.get_by_text("Alice Example")).to_be_visible()
    assert page.evaluate("document.cookie") == ""
    page.screenshot(path=tmp_path / "in.png")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert not [cookie for cookie in context.cookies() if "session" in str(cookie.get("name"))]
    page.go_back()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.fixture(scope="module")
def attacker(address: str) -> Iterator[str]:
    """Give the address of a page of somebody else, on another port: for cookies that is the same site."""
    page = f"""
    <form method="post" action="{address}/logout"><button>Free ice cream</button></form>
    <script>
    const socket = new Promise(done => {{
      const opened = new WebSocket("{address.replace("http", "ws")}/explore/ws", ["bokeh", "x"]);
      opened.onopen = () => done("open"); opened.onerror = () => done("refused");
    }});
    const fetched = (method, path) =>
      fetch("{address}" + path, {{method, credentials: "include", mode: "no-cors", body: "{{}}"}})
        .then(answer => answer.status, () => "unreadable");
    </script>"""
    app = FastAPI()
    app.get("/")(lambda: HTMLResponse(page))
    with serving_app(app) as elsewhere:
        yield elsewhere


def test_a_page_of_somebody_else_cannot_act_for_who_is_signed_in(
    address: str, attacker: str, context: BrowserContext
) -> None:
    page = context.new_page()
    page.goto(f"{address}/login")
    sign_in(page, "Alice Example")
    page.wait_for_selector(".frame[data-ready=true]")
    other = context.new_page()
    other.goto(attacker)
    answers: dict[str, int] = {}
    other.on("response", lambda answer: answers.update({answer.request.method + answer.url: answer.status}))
    assert other.evaluate("socket") == "refused"
    other.evaluate("fetched('POST', '/stac/search')")
    with other.expect_navigation() as sent:
        other.get_by_role("button").click()
    # The browser did send the cookie along: without it the answer would be that nobody is signed in.
    assert sent.value is not None
    assert sent.value.status == 403
    assert answers[f"POST{address}/stac/search"] == 403
    page.reload()
    page.wait_for_selector(".frame[data-ready=true]")


def test_the_page_works_without_javascript(address: str, browser: Browser) -> None:
    with visitor(browser, 1100, 720, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{address}/docs")
        sign_in(page, "Alice Example")
        page.wait_for_url(f"{address}/docs")
