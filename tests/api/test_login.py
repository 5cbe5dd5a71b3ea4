"""The login page: its form, its cookies, its patience, and where it leads."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import geoetl
from dashboards.shared.theme import DARK, LIGHT, Palette
from geoetl.api import guard, problems
from geoetl.api.login import WRONG, local_path
from geoetl.api.roles import ServerRole
from geoetl.api.security import Authority, principal_of
from geoetl.api.throttle import PER_ADDRESS, PER_NAME, Throttle, TooManyGuesses
from geoetl.core.principal import Role
from geoetl.core.settings import SecuritySettings
from geoetl.platform import Platform
from tests.served import PASSWORD, fill_in

ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Give a platform with one user."""
    platform = geoetl.connect(tmp_path_factory.mktemp("login") / "home")
    platform.identity.add("alice", Role.EDITOR, PASSWORD)
    return platform


Visit = Callable[..., TestClient]


@pytest.fixture
def visit(platform: Platform) -> Visit:
    """Give a function that returns a browser before a server of its own."""

    def open_page(
        address: str = ADDRESS, peer: str = "127.0.0.1", root_path: str = "", **settings: object
    ) -> TestClient:
        app = FastAPI()
        problems.install(app)
        app.get("/explore")(lambda: "map")

        @app.get("/who")
        def who(request: problems.Request) -> str:
            return principal_of(request).name

        guard.install(app, Authority(platform.identity, SecuritySettings(**settings)), ServerRole.ALL)  # type: ignore[arg-type]
        return TestClient(
            app,
            address,
            client=(peer, 50000),
            root_path=root_path,
            follow_redirects=False,
            raise_server_exceptions=False,
        )

    return open_page


def set_cookies(answer: httpx.Response) -> dict[str, str]:
    return {line.partition("=")[0]: line.partition("=")[2] for line in answer.headers.get_list("set-cookie")}


# -- in and out ------------------------------------------------------------------------------------------------------


def test_who_signs_in_comes_back_to_where_they_were(visit: Visit) -> None:
    client = visit()
    answer = fill_in(client, "ALICE", back="/explore?item=a%20b&x=ü")
    assert answer.status_code == 303
    assert urljoin(f"{ADDRESS}/login", answer.headers["location"]) == f"{ADDRESS}/explore?item=a%20b&x=%C3%BC"
    assert client.get("/who").json() == "alice"
    again = client.get("/login", params={"next": "/explore"})
    assert (again.status_code, again.headers["location"]) == (303, "./explore")


def test_who_signs_out_is_out_also_with_a_copy_of_the_cookie(visit: Visit) -> None:
    client, thief = visit(), visit()
    fill_in(client, "alice")
    thief.cookies.update(client.cookies)
    assert thief.get("/who").status_code == 200
    answer = client.post("/logout", headers={"Origin": ADDRESS})
    assert (answer.status_code, answer.headers["location"]) == (303, "login")
    assert not any("session" in name for name in client.cookies)
    deadline = time.monotonic() + 10
    while thief.get("/who").status_code == 200:
        assert time.monotonic() < deadline
    assert client.get("/who").status_code == 401


def test_who_was_never_in_may_sign_out(visit: Visit) -> None:
    assert visit().post("/logout", headers={"Origin": ADDRESS}).status_code == 303
    assert visit().get("/logout").status_code == 405


def test_a_wrong_password_and_an_unknown_name_are_told_alike(visit: Visit) -> None:
    pages = []
    for name in ("alice", "nobody"):
        client = visit()
        answer = fill_in(client, name, "wrong password")
        assert answer.status_code == 401
        assert not any("session" in cookie for cookie in client.cookies)
        pages.append(re.sub(r'value="[^"]*"|nonce[-="\w]*', "", answer.text))
    assert pages[0] == pages[1]
    assert f'role="alert">{WRONG}' in pages[0]


def test_what_was_typed_is_shown_again_as_text_and_the_password_never(visit: Visit) -> None:
    answer = fill_in(visit(), '"><script>alert(1)</script>', "hunter2-hunter2", back='/x"><script>')
    assert "<script" not in answer.text
    assert "&quot;&gt;&lt;script&gt;alert(1)" in answer.text
    assert "hunter2" not in answer.text


# -- the page --------------------------------------------------------------------------------------------------------


def test_the_page_works_without_scripts_and_asks_no_other_host(visit: Visit) -> None:
    page = visit().get("/login")
    policy = page.headers["content-security-policy"]
    for part in ("default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert part in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-frame-options"] == "DENY"
    assert "<script" not in page.text
    assert "://" not in page.text
    nonce = re.search(r"style-src 'nonce-([\w-]+)'", policy)
    assert nonce
    assert f'<style nonce="{nonce[1]}">' in page.text
    assert re.findall(r"<label for=\"(\w+)\"", page.text) == ["name", "password"]
    assert " autofocus" in page.text
    assert not re.findall(r'(?:href|action|src)="/', page.text)  # relative, so that it works below a proxy's path


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_page_has_the_colours_of_the_dashboard(theme: Palette) -> None:
    style = (Path(geoetl.__file__).parent / "api" / "login.css").read_text()
    light, _, dark = style.partition("@media")
    for name in ("surface", "line", "text", "muted", "accent", "focus", "error", "header"):
        assert f"--{name}: {getattr(theme, name)};" in (light if theme is LIGHT else dark), name


# -- cookies ---------------------------------------------------------------------------------------------------------


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(visit: Visit) -> None:
    plain = set_cookies(fill_in(visit(), "alice"))
    for name, value in plain.items():
        assert "HttpOnly" in value and "SameSite=lax" in value and "Path=/" in value, name
        assert "Secure" not in value
        assert "Domain" not in value
    address = "https://geo.example.org"
    secure = set_cookies(fill_in(visit(address, public_url=address), "alice"))
    assert any(name.startswith("__Host-geoetl_session") for name in secure)
    assert all("Secure" in value for value in secure.values())


def test_below_the_path_of_a_proxy_cookies_are_for_that_path(visit: Visit) -> None:
    client = visit(
        "https://hub.example.org/geo", root_path="/geo", public_url="https://hub.example.org/geo/", session_hours=2
    )
    session = next(value for name, value in set_cookies(fill_in(client, "alice")).items() if "session" in name)
    assert "Path=/geo;" in session
    assert "Max-Age=7200" in session


def test_a_session_is_new_whatever_cookies_the_browser_had(visit: Visit) -> None:
    values = set()
    client = visit()
    for _ in range(2):
        answer = fill_in(client, "alice")
        session = {name: value for name, value in set_cookies(answer).items() if "session" in name}
        values |= set(session.values())
        # Sign in again without signing out: what was there before is not made valid or kept.
        client.cookies.clear()
        client.cookies.set(next(iter(session)), "fixed-by-an-attacker")
    assert len(values) == 2


def test_a_second_tab_does_not_spoil_the_form_of_the_first(visit: Visit) -> None:
    client = visit()
    first = re.search(r'name="form" value="([^"]+)"', client.get("/login").text)
    client.get("/login")
    assert first
    fields = {"form": first[1], "name": "alice", "password": PASSWORD}
    assert client.post("/login", data=fields, headers={"Origin": ADDRESS}).status_code == 303


# -- other sites -----------------------------------------------------------------------------------------------------


def test_a_form_that_this_browser_was_not_shown_is_not_taken(visit: Visit) -> None:
    attacker, client = visit(), visit()
    form = re.search(r'name="form" value="([^"]+)"', attacker.get("/login").text)
    assert form
    fields = {"form": form[1], "name": "alice", "password": PASSWORD}
    for prepare in (lambda: None, lambda: client.get("/login")):
        prepare()
        answer = client.post("/login", data=fields, headers={"Origin": ADDRESS})
        assert answer.status_code == 403
        assert "cookies are switched off" in answer.text
    for wrong in ("", "x", form[1][:-1], f"{form[1]}x"):
        answer = attacker.post("/login", data={**fields, "form": wrong}, headers={"Origin": ADDRESS})
        assert answer.status_code == 403
    assert attacker.post("/login", data=fields, headers={"Origin": "https://evil.example"}).status_code == 403
    assert attacker.post("/login", data=fields, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert attacker.post("/login", data=fields, headers={"Origin": ADDRESS}).status_code == 303


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"name=alice", "text/plain", 422),
        (b'{"name": "alice"}', "application/json", 422),
        (b"", "application/x-www-form-urlencoded", 403),
        (b"\xff\xfe=1", "application/x-www-form-urlencoded", 422),
        (b"name=%ff&form=%c3%28", "application/x-www-form-urlencoded", 422),
        (b"&".join([b"a=1"] * 50), "application/x-www-form-urlencoded", 422),
        (b"name=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"name=%00&password=%00&form=%00", "application/x-www-form-urlencoded", 403),
    ],
)
def test_a_form_that_is_none_is_refused(visit: Visit, content: bytes, kind: str, status: int) -> None:
    headers = {"Content-Type": kind, "Origin": ADDRESS}
    assert visit().post("/login", content=content, headers=headers).status_code == status


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "/\n/evil",
        "javascript:alert(1)", "evil.example", "", " /explore", "///evil.example", "/login", "/login?next=/a",
        "/logout", "/../hub/logout", "/%2e%2e/hub", "/..%2fhub", "/%5cevil.example/..", "/a b", "http:/e", "/login/x",
    ],
)  # fmt: skip
def test_the_way_back_never_leads_to_another_host_or_round_in_circles(visit: Visit, back: str) -> None:
    answer = fill_in(visit(), "alice", back=back)
    assert answer.status_code == 303
    target = urljoin("http://127.0.0.1:8000/geoetl/login", answer.headers["location"])
    assert target == "http://127.0.0.1:8000/geoetl/"


@pytest.mark.parametrize(
    "back", ["/", "/explore", "/explore?x=//y&z=http://a", "/stac/collections/a/items", "/@evil", "/x:y"]
)
def test_the_way_back_leads_to_every_page_of_ours(back: str) -> None:
    assert local_path(back) == back


# -- guessing --------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that is moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def guesses(throttle: Throttle, address: str, name: str) -> int:
    """Return how many guesses are taken before it is enough."""
    for count in range(1000):
        try:
            throttle.take(address, name)
        except TooManyGuesses:
            return count
    return 1000


def test_guesses_at_a_name_are_slowed_down_from_however_many_addresses() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    taken = sum(guesses(throttle, f"203.0.113.{host}", "alice") for host in range(50))
    assert taken == PER_NAME.at_once
    with pytest.raises(TooManyGuesses, match="in 20 s") as refused:
        throttle.take("198.51.100.1", "alice")
    assert refused.value.retry_after_s == PER_NAME.every_s
    assert (refused.value.status, refused.value.code) == (429, "too_many_guesses")
    clock.now += PER_NAME.every_s
    assert guesses(throttle, "198.51.100.1", "alice") == 1


def test_guesses_from_an_address_are_slowed_down_at_however_many_names() -> None:
    throttle = Throttle(Clock())
    assert sum(guesses(throttle, "203.0.113.7", f"name-{n}") for n in range(50)) == PER_ADDRESS.at_once
    assert guesses(throttle, "203.0.113.8", "somebody") == PER_NAME.at_once


def test_a_client_with_a_whole_ipv6_network_is_one() -> None:
    throttle = Throttle(Clock())
    assert sum(guesses(throttle, f"2001:db8::{n:x}", f"name-{n}") for n in range(50)) == PER_ADDRESS.at_once
    assert guesses(throttle, "2001:db8:0:1::1", "somebody") == PER_NAME.at_once


def test_a_stranger_cannot_lock_out_who_has_signed_in_from_there_before() -> None:
    throttle = Throttle(Clock())
    throttle.take("192.168.1.7", "alice")
    throttle.was_right("192.168.1.7", "alice")
    for host in range(50):
        guesses(throttle, f"203.0.113.{host}", "alice")
    throttle.take("192.168.1.7", "alice")


def test_right_passwords_cost_nothing() -> None:
    throttle = Throttle(Clock())
    for _ in range(200):
        throttle.take("192.168.1.7", "alice")
        throttle.was_right("192.168.1.7", "alice")


def test_a_flood_of_names_and_addresses_takes_bounded_memory() -> None:
    throttle = Throttle(Clock())
    for n in range(30_000):
        throttle.take(f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", f"name-{n}")
    assert len(throttle._full_at) <= 10_000


def test_too_many_guesses_are_told_on_the_page_with_the_time_to_wait(visit: Visit) -> None:
    client = visit()
    answers = [fill_in(client, "alice", f"wrong password {n}") for n in range(PER_NAME.at_once + 1)]
    assert {answer.status_code for answer in answers[:-1]} == {401}
    last = answers[-1]
    assert last.status_code == 429
    assert 0 < int(last.headers["retry-after"]) <= PER_NAME.every_s
    assert "The next one is possible in" in last.text
    # Not even the right one, until then; others are not concerned.
    assert fill_in(client, "alice").status_code == 429
    assert fill_in(client, "somebody", "x").status_code == 401
