"""Signing in with an OpenID provider, and what a bad provider or somebody between them could try."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from joserfc.jwk import ECKey, RSAKey

import geoetl
from geoetl.api import guard, oidc, problems
from geoetl.api.roles import ServerRole
from geoetl.api.security import Authority, principal_of
from geoetl.core.principal import Role
from geoetl.core.settings import SecuritySettings
from geoetl.platform import Platform
from tests import openid
from tests.openid import CLIENT, SECRET, OpenIdProvider
from tests.served import PASSWORD, browser

ADDRESS = "https://geo.example.org"


@pytest.fixture(scope="module")
def running() -> Iterator[OpenIdProvider]:
    """Give a provider that all tests share."""
    with openid.running() as provider:
        yield provider


@pytest.fixture
def provider(running: OpenIdProvider) -> OpenIdProvider:
    """Give the provider as it is when nothing is wrong."""
    fresh = OpenIdProvider()
    running.claims, running.fault = fresh.claims, ""
    return running


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """Give a platform with one local user."""
    platform = geoetl.connect(tmp_path / "home")
    platform.identity.add("local", Role.OPERATOR, PASSWORD)
    return platform


Visit = Callable[..., TestClient]


@pytest.fixture
def visit(platform: Platform, provider: OpenIdProvider) -> Visit:
    """Give a function that returns a browser before a server of its own that knows the provider."""

    def open_page(**settings: object) -> TestClient:
        whole = {
            "public_url": ADDRESS,
            "oidc_issuer": provider.issuer,
            "oidc_client_id": CLIENT,
            "oidc_client_secret": SECRET,
            "oidc_default_role": Role.VIEWER,
            **settings,
        }
        app = FastAPI()
        problems.install(app)

        @app.get("/who")
        def who(request: Request) -> dict[str, str]:
            principal = principal_of(request)
            return {"name": principal.name, "role": principal.role}

        guard.install(app, Authority(platform.identity, SecuritySettings(**whole)), ServerRole.ALL)  # type: ignore[arg-type]
        return TestClient(app, ADDRESS, follow_redirects=False, raise_server_exceptions=False)

    return open_page


def to_provider(client: TestClient, back: str = "/explore") -> str:
    """Go to the provider and return the address with which it sends the browser back."""
    answer = client.get("/login/oidc", params={"next": back})
    assert answer.status_code == 303, answer.text
    with browser("http://127.0.0.1") as elsewhere:
        return str(elsewhere.get(answer.headers["location"]).headers["location"])


def sign_in(client: TestClient, back: str = "/explore") -> httpx.Response:
    return client.get(to_provider(client, back))


def test_who_is_known_there_is_signed_in_here(visit: Visit, provider: OpenIdProvider, platform: Platform) -> None:
    client = visit()
    assert 'href="login/oidc?next=%2Fexplore"' in client.get("/login", params={"next": "/explore"}).text
    answer = sign_in(client)
    assert answer.status_code == 303
    assert urljoin(f"{ADDRESS}/login/oidc/callback", answer.headers["location"]) == f"{ADDRESS}/explore"
    assert client.get("/who").json() == {"name": "olga", "role": "viewer"}
    assert platform.identity.user("olga").issuer == provider.issuer
    asked = provider.asked[-1]
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{ADDRESS}/login/oidc/callback"
    assert asked["scope"].split()[0] == "openid"
    assert asked["tenant"] == "1"


def test_cookies_of_the_way_there_and_back_are_out_of_reach(visit: Visit) -> None:
    cookie = visit().get("/login/oidc").headers["set-cookie"]
    for part in ("HttpOnly", "Secure", "SameSite=lax", "Max-Age=3600"):
        assert part in cookie


def test_the_role_is_that_of_the_highest_group(visit: Visit, provider: OpenIdProvider) -> None:
    roles = {"staff": Role.EDITOR, "admins": Role.OPERATOR}
    for groups, role in [
        (["staff", "x"], "editor"),
        (["staff", "admins"], "operator"),
        ("staff", "editor"),
        ([], "viewer"),
    ]:
        provider.claims = {"sub": "42", "preferred_username": "olga", "groups": groups}
        client = visit(oidc_roles=roles)
        assert sign_in(client).status_code == 303
        assert client.get("/who").json()["role"] == role


@pytest.mark.parametrize("groups", [None, [], ["others"], {"staff": True}, [["staff"]], [None], 7])
def test_who_has_no_role_is_kept_out(
    visit: Visit, provider: OpenIdProvider, platform: Platform, groups: object
) -> None:
    provider.claims["groups"] = groups
    answer = sign_in(visit(oidc_default_role=None, oidc_roles={"staff": Role.EDITOR}))
    assert answer.status_code == 403
    assert "You have no role on this server" in answer.text
    assert [user.name for user in platform.identity.users()] == ["local"]


def test_a_local_user_is_not_taken_over_by_a_name(visit: Visit, provider: OpenIdProvider, platform: Platform) -> None:
    provider.claims = {"sub": "1", "preferred_username": "LOCAL"}
    client = visit()
    assert sign_in(client).status_code == 303
    assert client.get("/who").json()["name"].startswith("LOCAL (")
    assert client.get("/who").json()["role"] == "viewer"
    provider.claims = {"sub": "2", "preferred_username": "local"}
    assert sign_in(visit()).status_code == 303
    assert len(platform.identity.users()) == 3


def test_a_disabled_account_stays_out(visit: Visit, platform: Platform) -> None:
    sign_in(visit())
    platform.identity.set_disabled("olga", True)
    answer = sign_in(visit())
    assert answer.status_code == 403
    assert "This account is disabled" in answer.text


FAULTS = [
    "wrong nonce", "no nonce", "wrong audience", "audience of two, authorised for the other", "wrong issuer", "expired",
    "no expiry", "issued in the future", "no subject", "bad signature", "another key of the same name",
    "signed with the public key as a shared secret", "signed with the client's secret", "not signed",
    "no token at all", "no ID token", "wrong state", "answer of another issuer", "refused",
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_proves_nothing_signs_nobody_in(
    visit: Visit, provider: OpenIdProvider, platform: Platform, fault: str
) -> None:
    client = visit()
    provider.fault = fault
    answer = sign_in(client)
    assert answer.status_code == 401, answer.text
    assert 'role="alert"' in answer.text
    assert not any("session" in name for name in client.cookies)
    assert client.get("/who").status_code == 401
    assert [user.name for user in platform.identity.users()] == ["local"]
    # The next try, with nothing wrong, works.
    provider.fault = ""
    assert sign_in(client).status_code == 303


def test_an_answer_is_taken_once_and_by_its_browser_alone(visit: Visit) -> None:
    client, other = visit(), visit()
    back = to_provider(client)
    assert other.get(back).status_code == 401
    other.get("/login/oidc")
    assert other.get(back).status_code == 401
    kept = dict(client.cookies)
    assert client.get(back).status_code == 303
    client.cookies.update(kept)
    again = client.get(back)
    assert again.status_code == 401
    assert "was used before" in again.text


def test_an_answer_without_its_cookie_or_with_a_changed_one_is_not_taken(visit: Visit) -> None:
    client = visit()
    back = to_provider(client)
    (cookie,) = list(client.cookies.jar)
    for value in ("", "x", str(cookie.value)[:-2] + "AA"):
        client.cookies.clear()
        client.cookies.set(cookie.name, value)
        assert client.get(back).status_code == 401
    for query in ("", "?state=", "?code=x", "?error=x", "?state=%00&code=%00"):
        assert visit().get(f"/login/oidc/callback{query}").status_code == 401


def test_the_way_back_is_a_page_of_ours(visit: Visit) -> None:
    for back in ("https://evil.example", "//evil.example", "/\\evil.example"):
        answer = sign_in(visit(), back)
        assert urljoin(f"{ADDRESS}/login/oidc/callback", answer.headers["location"]) == f"{ADDRESS}/"


@pytest.mark.parametrize("fault", ["away", "description is no JSON", "another issuer", "plain http"])
def test_a_provider_that_is_away_or_another_is_told_on_the_page(
    visit: Visit, provider: OpenIdProvider, fault: str
) -> None:
    provider.fault = fault
    answer = visit().get("/login/oidc")
    assert answer.status_code in (500, 503)
    assert answer.headers["content-type"].startswith("text/html")
    assert 'role="alert"' in answer.text
    assert SECRET not in answer.text


def test_exchanged_keys_are_fetched_again(
    visit: Visit, provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "_KEYS_AGAIN_S", 0.0)
    client, old = visit(), provider.key
    assert sign_in(client).status_code == 303
    client.cookies.clear()
    provider.key = ECKey.generate_key("P-256", {"kid": "second", "use": "sig"})
    assert sign_in(client).status_code == 303
    provider.key = old
    assert isinstance(provider.key, RSAKey)


def test_a_reader_signs_in_whom_it_knows_and_tells_others_where(
    provider: OpenIdProvider, platform: Platform, visit: Visit
) -> None:
    reading = geoetl.connect(platform.settings.home, read_only=True)
    app = FastAPI()
    settings = SecuritySettings(
        public_url=ADDRESS,
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT,
        oidc_client_secret=SECRET,  # type: ignore[arg-type]
        oidc_default_role=Role.VIEWER,
    )
    guard.install(app, Authority(reading.identity, settings), ServerRole.READER)
    client = TestClient(app, ADDRESS, follow_redirects=False, raise_server_exceptions=False)
    first = sign_in(client)
    assert first.status_code == 403
    assert "only reads" in first.text
    assert sign_in(visit()).status_code == 303
    assert sign_in(client).status_code == 303


def test_the_address_that_is_told_the_provider_cannot_be_chosen_by_a_header(
    visit: Visit, provider: OpenIdProvider
) -> None:
    answer = visit().get("/login/oidc", headers={"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"})
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["redirect_uri"] == [f"{ADDRESS}/login/oidc/callback"]
    assert visit().get("/login/oidc", headers={"Host": "evil.example"}).status_code == 403
