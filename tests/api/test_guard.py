"""The guard before pages and API: every way past it that was thought of, against the served application (A18)."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from bokeh.util.token import get_token_payload
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient
from tornado.web import create_signed_value

import dashboards.app
import geoetl
from geoetl.api import guard, problems
from geoetl.api.roles import ServerRole
from geoetl.api.security import PROXY_HEADER, Access, Authority, needs, principal_of
from geoetl.core.principal import Role
from geoetl.core.settings import SecuritySettings
from geoetl.platform import Platform
from tests.served import PASSWORD, browser, cookies, handshake, page_token, serving, signed_in

DAY_S = 86_400


@dataclass(frozen=True)
class Served:
    """A served platform with a user of each role and a token of each."""

    platform: Platform
    address: str
    tokens: dict[Role, str]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Give the dashboard as it is served, with users."""
    platform = geoetl.connect(tmp_path_factory.mktemp("guarded") / "home")
    tokens = {}
    for role in Role:
        platform.identity.add(role.value, role, PASSWORD)
        tokens[role] = platform.identity.create_token(role.value, "test", None, DAY_S)[1]
    app = dashboards.app.create_app(platform)
    with serving(app) as address:
        yield Served(platform, address, tokens)


@pytest.fixture(scope="module")
def viewer(served: Served) -> httpx.Client:
    """Give a client that has signed in as a viewer."""
    return signed_in(served.address, "viewer")


@pytest.fixture(scope="module")
def editor(served: Served) -> httpx.Client:
    """Give a client that has signed in as an editor."""
    return signed_in(served.address, "editor")


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# -- strangers -------------------------------------------------------------------------------------------------------


def test_every_route_is_closed_to_strangers_but_the_few_that_tell_nothing(served: Served) -> None:
    app = dashboards.app.create_app(served.platform)
    paths = {getattr(route, "path", "") for route in app.routes} | {
        "/explore",
        "/explore/",
        "/explore/metadata",
        "/explore/autoload.js?bokeh-autoload-element=1",
        "/explore/static/x.js",
        "/explore/ws",
        "/static/extensions/panel/panel.min.js.map",
        "/components/x",
        "//explore",
        "/static/../explore",
        "/login/../explore",
        "/nowhere",
        "/liveness",
        "/session_info",
        "/admin",
    }
    open_to_all = {"/livez", "/readyz", "/api/livez", "/login", "/logout", "/favicon.ico"}
    with browser(served.address) as client:
        for path in sorted(paths - open_to_all):
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
                answer = client.request(method, httpx.URL(served.address).copy_with(raw_path=path.encode()))
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"] == 'Bearer realm="geoetl"'
            assert code(client.get(httpx.URL(served.address).copy_with(raw_path=path.encode()))) == (
                401,
                "unauthenticated",
            )
        for path in ("/livez", "/api/livez", "/login", "/static/js/bokeh.min.js", "/favicon.ico"):
            assert client.get(path).status_code == 200, path


def test_a_browser_is_led_to_the_login_page_and_back(served: Served) -> None:
    page = {"Accept": "text/html,*/*;q=0.8"}
    with browser(served.address) as client:
        for path, location in [
            ("/", "login?next=%2F"),
            ("/explore?item=a%20b&x=1", "login?next=%2Fexplore%3Fitem%3Da%2520b%26x%3D1"),
            ("/api/openapi.json", "../login?next=%2Fapi%2Fopenapi.json"),
            ("//evil.example", "../login?next=%2F%2Fevil.example"),
        ]:
            answer = client.get(httpx.URL(served.address).copy_with(raw_path=path.encode()), headers=page)
            assert (answer.status_code, answer.headers["location"]) == (303, location)
        # What a page's own program fetches is told in its language, and so is whatever is more than reading.
        assert client.get("/explore", headers={**page, "Sec-Fetch-Mode": "cors"}).status_code == 401
        assert client.post("/explore", headers=page).status_code == 401


@pytest.mark.parametrize(
    "cookie", ["is_guest=1", "user=operator", "is_guest=1; user=guest", "geoetl_session_00000000=x"]
)
def test_a_cookie_that_someone_made_up_opens_nothing(served: Served, cookie: str) -> None:
    token = "eyJzZXNzaW9uX2lkIjoieCIsInNlc3Npb25fZXhwaXJ5Ijo5OTk5OTk5OTk5fQ"
    with browser(served.address) as client:
        assert client.get("/explore", headers={"Cookie": cookie}).status_code == 401
    headers = {"Cookie": cookie, "Origin": served.address, "Sec-WebSocket-Protocol": f"bokeh, {token}"}
    assert handshake(served.address, "/explore/ws", headers) == 403


@pytest.mark.parametrize("given", ["Bearer", "Bearer x", "Basic dmlld2VyOng=", "bearer geoetl_", "Bearer é"])
def test_a_token_that_is_none_is_refused_even_beside_a_good_cookie(
    served: Served, viewer: httpx.Client, given: str
) -> None:
    answer = viewer.get("/stac", headers={"Authorization": given.encode("latin-1")})
    assert code(answer) == (401, "unauthenticated")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert viewer.get("/stac").status_code < 400


# -- roles -----------------------------------------------------------------------------------------------------------


def test_what_changes_something_needs_an_editor_and_figures_an_operator(served: Served) -> None:
    collection = {"Content-Type": "application/json"}
    with browser(served.address) as client:
        for role, token in served.tokens.items():
            headers = bearer(token)
            assert client.get("/stac/collections", headers=headers).status_code == 200
            assert client.post("/stac/search", json={}, headers=headers).status_code == 200
            for method in ("POST", "PUT", "PATCH", "DELETE", "PROPFIND"):
                answer = client.request(method, "/stac/collections", content=b"{}", headers={**headers, **collection})
                assert (answer.status_code == 403) == (role is Role.VIEWER), (role, method)
            assert (client.get("/metrics", headers=headers).status_code == 200) == (role is Role.OPERATOR)
            assert (client.get("/metrics/", headers=headers).status_code != 403) == (role is Role.OPERATOR)
        answer = client.get("/metrics", headers=bearer(served.tokens[Role.APPROVER]))
        assert code(answer) == (403, "forbidden")
        assert answer.json()["detail"] == "This needs the role operator; 'approver' is approver."


@pytest.mark.parametrize(
    "header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"]
)
def test_a_header_does_not_make_another_verb_or_path_of_a_request(served: Served, header: str) -> None:
    viewer, value = bearer(served.tokens[Role.VIEWER]), "/metrics" if header.endswith("URL") else "DELETE"
    with browser(served.address) as client:
        assert client.get("/stac/collections", headers={**viewer, header: value}).status_code == 200
        override = {**viewer, header: "GET" if value == "DELETE" else "/stac/search"}
        assert client.delete("/stac/collections/x", headers=override).status_code == 403


def a_server(platform: Platform, **settings: object) -> FastAPI:
    """Return a small application behind the guard, with routes that ask for more than their verb does."""
    app = FastAPI()
    problems.install(app)

    @app.get("/who")
    def who(request: Request) -> dict[str, object]:
        principal = principal_of(request)
        return {"name": principal.name, "role": principal.role, "via": principal.via, "url": str(request.base_url)}

    @app.get("/queue", dependencies=[Depends(needs(Role.APPROVER))])
    @app.post("/find")
    @app.post("/change")
    def done() -> str:
        return "done"

    @app.get("/headers")
    def headers(request: Request) -> dict[str, object]:
        return {**request.headers, "client": request.client and request.client.host}

    authority = Authority(platform.identity, SecuritySettings(**settings))  # type: ignore[arg-type]
    guard.install(
        app, authority, ServerRole.ALL, access=Access(searches=frozenset({"/find"}), roles={"/who/else": Role.APPROVER})
    )
    return app


Asker = Callable[..., TestClient]


@pytest.fixture
def asker(served: Served) -> Asker:
    """Give a function that returns a client of a small guarded application, at an address of its own."""

    def ask(address: str = "http://127.0.0.1:8000", peer: str = "127.0.0.1", **settings: object) -> TestClient:
        return TestClient(
            a_server(served.platform, **settings), base_url=address, client=(peer, 50000), raise_server_exceptions=False
        )

    return ask


def test_a_route_may_ask_for_more_than_its_verb_does(served: Served, asker: Asker) -> None:
    client = asker()
    for role, token in served.tokens.items():
        assert (client.get("/queue", headers=bearer(token)).status_code == 200) == (role >= Role.APPROVER)
        assert (client.get("/who/else", headers=bearer(token)).status_code == 404) == (role >= Role.APPROVER)
        assert client.post("/find", headers=bearer(token)).status_code == 200
        assert (client.post("/change", headers=bearer(token)).status_code == 200) == (role >= Role.EDITOR)
        assert client.get("/who", headers=bearer(token)).json()["name"] == role.value


def test_without_the_guard_nobody_is_known() -> None:
    app = FastAPI()
    app.get("/who")(lambda request: principal_of(request))

    @app.get("/queue", dependencies=[Depends(needs(Role.VIEWER))])
    def queue() -> str:
        return "open"

    with pytest.raises(geoetl.core.errors.GeoetlError, match="Nobody is signed in"):
        TestClient(app).get("/queue")


def test_strangers_may_read_where_the_settings_say_so(served: Served, asker: Asker) -> None:
    client = asker(anonymous=Role.VIEWER)
    assert client.get("/who").json()["via"] == "anonymous"
    assert client.post("/find").status_code == 200
    assert code(client.post("/change")) == (403, "forbidden")  # type: ignore[arg-type]
    assert code(client.get("/queue")) == (403, "forbidden")  # type: ignore[arg-type]
    assert client.get("/login").status_code == 200
    assert client.post("/find", headers={"Origin": "https://evil.example"}).status_code == 403


# -- where it comes from ---------------------------------------------------------------------------------------------

FOREIGN = [
    "https://evil.example",
    "null",
    "",
    "http://127.0.0.1",
    "http://127.0.0.1:{port}.evil.example",
    "http://127.0.0.1:{port}@evil.example",
    "http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}0",
    "https://127.0.0.1:{port}",
    "http://localhost:{port}",
    "http://xn--127.0.0.1:{port}",
    "http://127.0.0.1:{port}, https://evil.example",
    "HTTP://127.0.0.1:{port}",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_of_another_origin_changes_nothing_in_my_name(served: Served, editor: httpx.Client, origin: str) -> None:
    headers = {"Origin": origin.format(port=served.port)}
    for content, kind in [
        (b"a=1", "application/x-www-form-urlencoded"),
        (b"{}", "text/plain"),
        (b"{}", "application/json"),
    ]:
        for method, path in [
            ("POST", "/stac/collections"),
            ("DELETE", "/stac/collections/x"),
            ("POST", "/stac/search"),
        ]:
            answer = editor.request(method, path, content=content, headers={**headers, "Content-Type": kind})
            assert code(answer) == (403, "refused")
    assert code(editor.post("/logout", headers=headers)) == (403, "refused")
    assert editor.get("/stac/collections").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Referer": "https://evil.example/"},
        {"Referer": "http://127.0.0.1.evil.example/"},
    ],
)
def test_a_cookie_alone_changes_nothing_where_no_origin_is_told(editor: httpx.Client, headers: dict[str, str]) -> None:
    assert code(editor.delete("/stac/collections/x", headers=headers)) == (403, "refused")


def test_my_own_page_may_change_something(served: Served, editor: httpx.Client) -> None:
    assert editor.delete("/stac/collections/x", headers={"Origin": served.address}).status_code == 404


def test_a_token_may_be_sent_from_any_page_as_no_browser_does_it_unasked(served: Served) -> None:
    headers = {**bearer(served.tokens[Role.EDITOR]), "Origin": "https://notebooks.example"}
    with browser(served.address) as client:
        assert client.delete("/stac/collections/x", headers=headers).status_code == 404


@pytest.mark.parametrize("origin", [*FOREIGN, None])
def test_no_websocket_is_opened_from_elsewhere(served: Served, viewer: httpx.Client, origin: str | None) -> None:
    token = page_token(viewer.get("/explore").text)
    headers = {"Cookie": cookies(viewer), "Sec-WebSocket-Protocol": f"bokeh, {token}"}
    told = {} if origin is None else {"Origin": origin.format(port=served.port)}
    assert handshake(served.address, "/explore/ws", {**headers, **told}) == 403
    assert handshake(served.address, "/explore/ws", {**headers, "Origin": served.address}) == 101


def test_a_websocket_needs_the_cookie_besides_the_pages_token(served: Served, viewer: httpx.Client) -> None:
    token = page_token(viewer.get("/explore").text)
    protocol = {"Sec-WebSocket-Protocol": f"bokeh, {token}", "Origin": served.address}
    assert handshake(served.address, "/explore/ws", protocol) == 403
    assert handshake(served.address, "/explore/ws", {**protocol, "Cookie": "is_guest=1"}) == 403
    assert handshake(served.address, "/explore/ws", {**protocol, "Cookie": cookies(viewer)}) == 101
    for path in ("/ws", "/stac/ws", "/explore/ws/", "//explore/ws"):
        assert handshake(served.address, path, {**protocol, "Cookie": cookies(viewer)}) in (403, 404)


def test_a_page_of_one_person_is_not_taken_over_by_another(
    served: Served, viewer: httpx.Client, editor: httpx.Client
) -> None:
    token = page_token(viewer.get("/explore").text)
    headers = {"Sec-WebSocket-Protocol": f"bokeh, {token}", "Origin": served.address, "Cookie": cookies(editor)}
    assert handshake(served.address, "/explore/ws", headers) == 403


def test_a_page_tells_its_scripts_no_secret(served: Served, viewer: httpx.Client) -> None:
    page = viewer.get(
        "/explore", headers={**bearer(served.tokens[Role.VIEWER]), "X-Secret": "s3cret", "User-Agent": "me"}
    )
    payload = json.dumps(get_token_payload(page_token(page.text)))
    for secret in (
        served.tokens[Role.VIEWER],
        "s3cret",
        "geoetl_session",
        *(c.value or "" for c in viewer.cookies.jar),
    ):
        assert secret not in page.text
        assert secret not in payload


def test_what_names_a_panel_session_cannot_be_made_up(served: Served, viewer: httpx.Client) -> None:
    token = page_token(viewer.get("/explore").text)
    made_up = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    headers = {"Sec-WebSocket-Protocol": f"bokeh, {made_up}", "Origin": served.address, "Cookie": cookies(viewer)}
    assert handshake(served.address, "/explore/ws", headers) == 403
    assert viewer.get("/explore", params={"bokeh-session-id": "mine"}).status_code == 403


# -- names and proxies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "8.8.8.8", "", "localhost.evil.example"),
        *("user@localhost", "localhost:8000:1", "[::1", "localhost/", "localhost, evil.example", "127.0.0.1\tx"),
    ],
)
def test_another_name_is_not_answered(served: Served, asker: Asker, host: str) -> None:
    answer = asker().get("/who", headers={"Host": host, **bearer(served.tokens[Role.VIEWER])})
    assert code(answer) == (403, "refused")  # type: ignore[arg-type]


def test_the_names_of_the_settings_are_answered_and_no_part_of_them(served: Served, asker: Asker) -> None:
    client = asker(hosts=("data.example.org",), public_url="https://geo.example.org")
    headers = bearer(served.tokens[Role.VIEWER])
    for host in (
        "data.example.org",
        "DATA.example.org:8443",
        "geo.example.org",
        "localhost",
        "[::1]:8000",
        "data.example.org.",
    ):
        assert client.get("/who", headers={**headers, "Host": host}).status_code == 200, host
    for host in ("xdata.example.org", "data.example.org.evil.example", "example.org", "a.geo.example.org"):
        assert client.get("/who", headers={**headers, "Host": host}).status_code == 403, host


def test_the_address_at_which_a_request_arrived_is_a_name_too(served: Served, asker: Asker) -> None:
    headers = bearer(served.tokens[Role.VIEWER])
    assert asker("http://192.168.1.7:8000", "192.168.1.9").get("/who", headers=headers).status_code == 200
    other = {**headers, "Host": "192.168.1.8:8000"}
    assert asker("http://192.168.1.7:8000", "192.168.1.9").get("/who", headers=other).status_code == 403


def test_behind_a_proxy_that_ends_tls_the_public_address_is_the_origin(served: Served, asker: Asker) -> None:
    client = asker(public_url="https://geo.example.org")
    token = bearer(served.tokens[Role.VIEWER])
    assert client.get("/who", headers={**token, "Host": "geo.example.org"}).json()["url"] == "https://geo.example.org/"
    from_page = {"Origin": "https://geo.example.org"}
    assert client.post("/logout", headers=from_page, follow_redirects=False).status_code == 303
    for origin in ("http://geo.example.org", "https://geo.example.org:8443", "https://geo.example.org.evil.example"):
        assert client.post("/logout", headers={"Origin": origin}).status_code == 403


FORWARDED = {
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/evil",
    "X-Real-IP": "127.0.0.1",
    "Forwarded": "for=127.0.0.1;host=evil.example;proto=https",
}


def test_forwarded_headers_are_believed_from_trusted_proxies_alone(served: Served, asker: Asker) -> None:
    token = bearer(served.tokens[Role.VIEWER])
    for peer in ("127.0.0.1", "10.0.0.9"):
        stranger = asker(peer=peer, trusted_proxies=("10.0.0.1",))
        assert stranger.get("/who", headers={**token, **FORWARDED}).json()["url"] == "http://127.0.0.1:8000/"
        inside = stranger.get("/headers", headers={**token, **FORWARDED}).json()
        assert inside["client"] == peer
        assert not {name.lower() for name in FORWARDED} & set(inside)
    trusted = asker(peer="10.0.0.1", trusted_proxies=("10.0.0.0/24",), hosts=("geo.example.org",))
    told = {
        "X-Forwarded-For": "127.0.0.1, 203.0.113.7, 10.0.0.2",
        "X-Forwarded-Host": "geo.example.org",
        "X-Forwarded-Proto": "https",
    }
    assert trusted.get("/who", headers={**token, **told}).json()["url"] == "https://geo.example.org/"
    assert trusted.get("/headers", headers={**token, **told}).json()["client"] == "203.0.113.7"
    spoofed = {**told, "X-Forwarded-Host": "evil.example, geo.example.org"}
    assert trusted.get("/who", headers={**token, **spoofed}).json()["url"] == "https://geo.example.org/"
    assert trusted.get("/who", headers={**token, **told, "X-Forwarded-Host": "evil.example"}).status_code == 403
    assert (
        trusted.get("/who", headers={**token, **told, "X-Forwarded-Proto": "gopher"}).json()["url"].startswith("http:")
    )


def test_a_spoofed_forwarded_header_does_not_get_past_the_origin(served: Served, editor: httpx.Client) -> None:
    headers = {**FORWARDED, "Origin": "https://evil.example"}
    assert code(editor.post("/stac/search", json={}, headers=headers)) == (403, "refused")
    token = page_token(editor.get("/explore").text)
    opened = {**headers, "Cookie": cookies(editor), "Sec-WebSocket-Protocol": f"bokeh, {token}"}
    assert handshake(served.address, "/explore/ws", opened) == 403


# -- the local operator, and JupyterLab ------------------------------------------------------------------------------


@pytest.fixture
def fresh(tmp_path: Path) -> Platform:
    """Give a platform without users."""
    return geoetl.connect(tmp_path / "home")


def local(
    platform: Platform, peer: str = "127.0.0.1", address: str = "http://127.0.0.1:8000", **settings: object
) -> TestClient:
    return TestClient(
        a_server(platform, **settings), base_url=address, client=(peer, 50000), raise_server_exceptions=False
    )


def test_without_users_this_machines_browser_is_the_operators(fresh: Platform) -> None:
    client = local(fresh)
    assert client.get("/who").json() | {"url": ""} == {
        "name": "Local operator",
        "role": "operator",
        "via": "local",
        "url": "",
    }
    assert client.post("/change").status_code == 200
    assert client.post("/change", headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8001"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Referer": "https://evil.example/page"},
    ):
        assert client.post("/change", headers=headers).status_code == 403, headers


@pytest.mark.parametrize("header", [*sorted(FORWARDED.keys() - {"X-Forwarded-Prefix"}), "x-forwarded-port"])
def test_who_comes_through_a_proxy_is_not_the_local_operator(fresh: Platform, header: str) -> None:
    assert local(fresh).get("/who", headers={header: "127.0.0.1"}).status_code == 401


def test_nobody_from_elsewhere_is_the_local_operator(fresh: Platform) -> None:
    assert local(fresh, peer="192.168.1.9").get("/who").status_code == 401
    assert local(fresh, peer="192.168.1.9", address="http://192.168.1.7:8000").get("/who").status_code == 401
    assert local(fresh, address="http://192.168.1.7:8000").get("/who").status_code == 401


@pytest.mark.parametrize(
    "settings",
    [
        {"public_url": "https://geo.example.org"},
        {"hosts": ("geo.example.org",)},
        {"trusted_proxies": ("10.0.0.1",)},
        {"oidc_issuer": "https://id.example.org", "oidc_client_id": "x"},
    ],
)
def test_where_the_settings_speak_of_others_nobody_is_the_local_operator(
    fresh: Platform, settings: dict[str, object]
) -> None:
    assert local(fresh, **settings).get("/who").status_code == 401


def test_once_there_are_users_loopback_signs_in_too(fresh: Platform) -> None:
    client = local(fresh)
    assert client.get("/who").status_code == 200
    fresh.identity.add("alice", Role.VIEWER, PASSWORD)
    deadline = time.monotonic() + 10
    while client.get("/who").status_code == 200:
        assert time.monotonic() < deadline
    assert client.get("/who").status_code == 401
    fresh.identity.set_disabled("alice", True)
    assert local(fresh).get("/who").status_code == 401


def test_jupyterlabs_proxy_is_known_by_its_secret_and_nobody_else_gets_in(served: Served) -> None:
    app = dashboards.app.create_app(served.platform, proxy_token="s3cret")
    client = TestClient(app, base_url="http://hub.example.org", raise_server_exceptions=False)
    secret = {PROXY_HEADER: "s3cret"}
    for headers in ({}, {PROXY_HEADER: "wrong"}, {PROXY_HEADER: ""}, bearer(served.tokens[Role.OPERATOR])):
        assert client.get("/explore", headers=headers).status_code == 403
        assert client.get("/login", headers=headers).status_code == 403
    page = client.get("/explore", headers=secret)
    assert page.status_code == 200
    assert "s3cret" not in page.text
    assert "s3cret" not in json.dumps(get_token_payload(page_token(page.text)))
    assert client.get("/api/livez").status_code == 200
    # A page elsewhere that the same browser shows reaches JupyterLab's proxy too, which adds the secret.
    for origin, status in [
        ("https://evil.example", 403),
        ("https://hub.example.org", 404),
        ("http://hub.example.org", 404),
    ]:
        assert client.delete("/stac/collections/x", headers={**secret, "Origin": origin}).status_code == status


# -- Panel -----------------------------------------------------------------------------------------------------------


def test_panel_knows_the_visitor_by_the_guard_and_not_by_what_a_browser_sends(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    import panel as pn

    from dashboards.shared.visitor import visitor

    seen = []
    whole = dashboards.app.explore_page

    def noting(*arguments: object) -> object:
        seen.append((pn.state.user, visitor().name, visitor().role))
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(dashboards.app, "explore_page", noting)
    forged = create_signed_value("guessed", "user", "operator").decode()
    with serving(dashboards.app.create_app(served.platform)) as address:
        with browser(address) as client:
            for extra in ({}, {"Cookie": "is_guest=1"}, {"Cookie": f"user={forged}"}):
                page = client.get("/explore", headers={**bearer(served.tokens[Role.EDITOR]), **extra})
                assert page.status_code == 200
    assert seen == [("editor", "editor", Role.EDITOR)] * 3
