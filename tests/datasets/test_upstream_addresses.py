"""Where an address may lead: over redirects, names and numbers; and that credentials stay with their host."""

import ipaddress
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from geoetl.datasets.upstream import (
    AddressRefused,
    Auth,
    CredentialRefused,
    Media,
    SourceRefused,
    SourceUnavailable,
    Upstream,
    addresses,
)
from geoetl.datasets.upstream.addresses import Place, Reach, parsed, reach_of, resolved
from geoetl.testing.upstream import Fault, LocalUpstream, Reply
from tests.datasets.sources import IMPATIENT, archive, client


@pytest.fixture
def source() -> Iterator[LocalUpstream]:
    with LocalUpstream() as started:
        yield started


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with client({"KEY": "s3cr3t key", "OTHER": "0ther"}) as made:
        yield made


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Addresses that a connection was tried to."""
    tried: list[Any] = []
    plain = socket.socket.connect

    def connect(self: socket.socket, where: Any) -> None:
        tried.append(where)
        plain(self, where)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "data.zip",
        "//host/data.zip",
        "ftp://example.org/data.zip",
        "file:///etc/passwd",
        "gopher://example.org/",
        "/vsicurl/http://example.org/",
        "http://",
        "http://:80/",
        "http://example.org:0/",
        "http://example.org:99999/",
        "http://example.org:x/",
        "http://[::1/",
        "http://exam ple.org/",
        "http://example.org/a\r\nHost: other",
        "http://example.org/a\0b",
        "http://" + "a" * 300 + ".ü.org/",
    ],
)
def test_what_is_no_address_is_refused(upstream: Upstream, connected: list[Any], url: str) -> None:
    with pytest.raises(AddressRefused, match="That is no address to fetch from"):
        upstream.head(url)
    assert not connected


@pytest.mark.parametrize("user", ["me@", "me:s3cr3t@", ":s3cr3t@", "@"])
def test_a_user_in_an_address_is_refused_and_not_repeated(upstream: Upstream, user: str) -> None:
    with pytest.raises(AddressRefused, match="has a user name or a password in it") as caught:
        upstream.head(f"http://{user}127.0.0.1/")
    assert "s3cr3t" not in str(caught.value)


def test_an_address_is_sent_percent_encoded_and_shown_without_its_query() -> None:
    place = parsed("HTTPS://Exämple.org:443/a b/é%20c?x=ü&sig=s3cr3t#part")
    assert place.host == "xn--exmple-cua.org"
    assert place.target == "/a%20b/%C3%A9%20c?x=%C3%BC&sig=s3cr3t"
    assert place.shown == "https://xn--exmple-cua.org/a%20b/%C3%A9%20c"
    assert "s3cr3t" not in repr(place)
    assert parsed("http://[::1]:8080").shown == "http://[::1]:8080/"


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.1.1",
        "0xa9fea9fe",
        "2852039166",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "0.0.0.0",
        "[::]",
        "224.0.0.1",
    ],
)
def test_where_machines_ask_who_they_are_is_never_connected_to(
    source: LocalUpstream, upstream: Upstream, connected: list[Any], host: str
) -> None:
    with pytest.raises(AddressRefused, match="is not connected to|no address"):
        upstream.get_json(f"http://{host}/latest/meta-data/")
    assert not connected
    source.misbehave("/a", Fault.REDIRECT, to=f"http://{host}/latest/meta-data/")
    with pytest.raises(AddressRefused, match="is not connected to|no address"):
        upstream.get_json(source.url("/a"))
    assert source.fired("/a") == 1
    assert len(connected) == 1


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "localhost", "::1", "::ffff:127.0.0.1", "10.1.2.3"]
)
def test_a_public_address_does_not_lead_inside(host: str, connected: list[Any]) -> None:
    with pytest.raises(AddressRefused, match="is not connected to"):
        resolved(Place("http", host, 80, "/"), Reach.PUBLIC)
    assert not connected


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("93.184.216.34", Reach.PUBLIC),
        ("2606:2800:220:1::1", Reach.PUBLIC),
        ("10.0.0.1", Reach.PRIVATE),
        ("192.168.1.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("fd12::1", Reach.PRIVATE),
        ("64:ff9b::0a00:0001", Reach.PRIVATE),
        ("127.8.8.8", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("169.254.169.254", Reach.NEVER),
    ],
)
def test_how_far_inside_an_address_is(address: str, reach: Reach) -> None:
    assert reach_of(ipaddress.ip_address(address)) is reach


def test_a_redirect_does_not_lead_further_inside(
    source: LocalUpstream, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, connected: list[Any]
) -> None:
    outside = {"127.0.0.1": Reach.PUBLIC, "127.0.0.2": Reach.PUBLIC, "127.0.0.3": Reach.PRIVATE}
    monkeypatch.setattr(addresses, "reach_of", lambda address: outside.get(str(address), Reach.LOOPBACK))
    for host in ("127.0.0.3", "127.0.0.4"):
        source.misbehave("/a", Fault.REDIRECT, to=f"http://{host}:1/")
        with pytest.raises(AddressRefused, match=f"'{host}' is an address of this machine or its network"):
            upstream.get_json(source.url("/a"))
    assert {address for address, _ in connected} == {"127.0.0.1"}
    source.misbehave("/a", Fault.REDIRECT, to="http://127.0.0.2:1/")
    with pytest.raises(SourceUnavailable, match="does not take connections"):
        upstream.get_json(source.url("/a"))


def test_a_name_is_looked_up_once_and_its_address_connected_to(
    source: LocalUpstream, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, connected: list[Any]
) -> None:
    url = source.json("/api", lambda asked: {"host": asked.headers["host"]})
    port = int(url.rpartition(":")[2].partition("/")[0])
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])

    def look_up(host: str, _: int, **__: Any) -> list[Any]:
        assert host == "source.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in next(answers)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert upstream.get_json(f"http://source.example:{port}/api") == {"host": f"source.example:{port}"}
    assert upstream.get_json(f"http://source.example:{port}/api")
    assert connected == [("127.0.0.1", port)]
    upstream.close()
    with pytest.raises(AddressRefused):
        upstream.get_json(f"http://source.example:{port}/api")
    assert len(connected) == 1


def test_one_forbidden_address_among_several_is_enough(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 80)) for one in ("127.0.0.1", "169.254.169.254")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(AddressRefused):
        upstream.get_json("http://source.example/")


def test_an_unknown_name_is_unavailable(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(SourceUnavailable, match=r"The name 'source\.example' is not known"):
        upstream.get_json("http://source.example/?key=s3cr3t")


def test_credentials_are_not_sent_in_the_clear(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, connected: list[Any]
) -> None:
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]
    )
    with pytest.raises(AddressRefused, match=r"not sent to http://source\.example/api: it is not encrypted"):
        upstream.get_json("http://source.example/api", auth=Auth(query={"key": "KEY"}))
    assert not connected


# -- redirects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(source: LocalUpstream, upstream: Upstream, tmp_path: Path, status: int) -> None:
    url = source.serve("/new/data.zip", body := archive(100_000))
    source.misbehave("/old.zip", Fault.REDIRECT, to="new/data.zip", status=status)
    stamp = upstream.head(source.url("/old.zip"))
    assert stamp.url == url
    upstream.download(source.url("/old.zip"), tmp_path / "data.zip", media=Media.ZIP, expect=stamp)
    assert (tmp_path / "data.zip").read_bytes() == body


def test_redirects_in_a_circle_are_left(source: LocalUpstream, upstream: Upstream) -> None:
    source.misbehave("/a.zip", Fault.REDIRECT_LOOP)
    with pytest.raises(AddressRefused, match="leads in a circle of redirects"):
        upstream.head(source.url("/a.zip"))
    assert source.count() == 2


def test_more_redirects_than_five_are_not_followed(source: LocalUpstream, upstream: Upstream) -> None:
    for number in range(10):
        source.misbehave(f"/{number}", Fault.REDIRECT, to=f"/{number + 1}")
    source.serve("/5", b"here")
    source.behave("/5")
    assert upstream.head(source.url("/0")).bytes == 4
    source.misbehave("/5", Fault.REDIRECT, to="/6")
    with pytest.raises(AddressRefused, match="more than 5"):
        upstream.head(source.url("/0"))


def test_a_redirect_to_nowhere_is_what_it_says(source: LocalUpstream, upstream: Upstream) -> None:
    url = source.json("/a", lambda _: Reply(302))
    with pytest.raises(SourceRefused, match="answered 302"):
        upstream.get_json(url)
    for location in ("http://", "http://[", "ftp://example.org/", "http://user:pw@127.0.0.1/", "javascript:alert(1)"):
        source.misbehave("/a", Fault.REDIRECT, to=location)
        with pytest.raises(AddressRefused):
            upstream.get_json(url)


@pytest.mark.parametrize("method", ["head", "json", "download"])
def test_credentials_do_not_go_to_another_host(
    source: LocalUpstream, upstream: Upstream, tmp_path: Path, method: str
) -> None:
    class Token:
        names = ("OTHER",)

        def token(self) -> str:
            return "t0ken"

        def refreshed(self) -> str:
            raise AssertionError

    source.serve("/there", archive(10_000)) if method != "json" else source.json("/there", lambda _: {})
    source.misbehave("/here", Fault.REDIRECT, to=source.url("/there?signed=1", host="localhost"))
    auth = Auth(query={"key": "KEY"}, headers={"X-Key": "OTHER"}, bearer=Token())
    extra = {"X-Mine": "m1ne"}
    if method == "head":
        upstream.head(source.url("/here"), auth=auth, headers=extra)
    elif method == "json":
        upstream.get_json(source.url("/here"), auth=auth, headers=extra)
    else:
        upstream.download(source.url("/here"), tmp_path / "x", media=Media.ZIP, auth=auth, headers=extra)
    here, there = source.requests
    for secret in ("s3cr3t", "0ther", "Bearer t0ken", "m1ne"):
        assert secret in here.text
        assert secret not in there.text
    assert there.query == {"signed": "1"}
    assert there.headers["host"].startswith("localhost:")


def test_another_host_that_wants_credentials_has_not_refused_ours(source: LocalUpstream, upstream: Upstream) -> None:
    source.misbehave("/here", Fault.REDIRECT, to=source.json("/there", lambda _: Reply(401)))
    source.misbehave("/there", Fault.STATUS, status=401)
    with pytest.raises(CredentialRefused, match="there wants credentials .401., and none were sent"):
        upstream.get_json(source.url("/here", host="localhost"), auth=Auth(query={"key": "KEY"}))


def test_credentials_stay_on_a_redirect_within_the_host(source: LocalUpstream, upstream: Upstream) -> None:
    source.json("/there", lambda asked: {"key": asked.headers.get("x-key")})
    source.misbehave("/here", Fault.REDIRECT, to="/there")
    assert upstream.get_json(source.url("/here"), auth=Auth(headers={"X-Key": "OTHER"})) == {"key": "0ther"}


def test_credentials_that_were_once_left_behind_do_not_come_back(source: LocalUpstream, upstream: Upstream) -> None:
    source.json("/back", lambda asked: {"key": asked.headers.get("x-key")})
    source.misbehave("/here", Fault.REDIRECT, to=source.url("/there", host="localhost"))
    source.misbehave("/there", Fault.REDIRECT, to=source.url("/back"))
    assert upstream.get_json(source.url("/here"), auth=Auth(headers={"X-Key": "OTHER"})) == {"key": None}


@pytest.mark.parametrize("written", ["s3cr3t key", "s3cr3t%20key", "s3cr3t+key", "%733cr3t%20key"])
def test_a_source_that_hands_a_credential_on_is_not_followed(
    source: LocalUpstream, upstream: Upstream, written: str
) -> None:
    source.misbehave("/here", Fault.REDIRECT, to=source.url(f"/there?key={written}", host="localhost"))
    with pytest.raises(AddressRefused, match="hands a credential on to 'localhost'") as caught:
        upstream.get_json(source.url("/here"), auth=Auth(query={"key": "KEY"}))
    assert "s3cr3t" not in str(caught.value)
    assert source.count(path="/there") == 0


def test_a_form_is_not_sent_anywhere_else(source: LocalUpstream, upstream: Upstream) -> None:
    source.json("/there", lambda _: {})
    source.misbehave("/here", Fault.REDIRECT, to=source.url("/there"), status=307)
    with pytest.raises(AddressRefused, match="answered a form with a redirect"):
        upstream.post_form(source.url("/here"), {}, auth=Auth(form={"password": "KEY"}))
    assert source.count() == 1


# -- encrypted ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, its own authority, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    plain = serialization.NoEncryption()
    written = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + written)
    return path


@pytest.fixture
def encrypted(certificate: Path) -> Iterator[LocalUpstream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with LocalUpstream(tls=context) as started:
        yield started


def test_https_is_spoken_with_those_whose_certificate_is_trusted(
    encrypted: LocalUpstream, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = encrypted.serve("/data.zip", body := archive(500_000))
    with client() as upstream, pytest.raises(SourceRefused, match="certificate of https://.*/data.zip is not trusted"):
        upstream.head(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    encrypted.misbehave("/data.zip", Fault.RESET, at=200_000, times=1)
    with client() as upstream:
        upstream.download(url, tmp_path / "data.zip", media=Media.ZIP)
    assert (tmp_path / "data.zip").read_bytes() == body
    with client() as upstream, pytest.raises(SourceRefused, match="is not trusted"):
        upstream.head(encrypted.url("/data.zip", host="localhost"))  # it is not for that name


def test_a_drip_is_found_behind_encryption_too(
    encrypted: LocalUpstream, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    url = encrypted.serve("/a.json", b"[" + b" " * 10_000 + b"]")
    encrypted.misbehave("/a.json", Fault.SLOW, at=3, pause_s=0.02)
    with client(limits=IMPATIENT) as upstream, pytest.raises(SourceUnavailable, match="too slow"):
        upstream.get_json(url)


def test_what_began_encrypted_stays_so(
    encrypted: LocalUpstream, source: LocalUpstream, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    encrypted.misbehave("/a", Fault.REDIRECT, to=source.json("/a", lambda _: {}))
    with client() as upstream, pytest.raises(AddressRefused, match="leads to an address that is not encrypted"):
        upstream.get_json(encrypted.url("/a"))
    assert source.count() == 0


def test_one_that_does_not_speak_https_is_unavailable(source: LocalUpstream) -> None:
    with client() as upstream, pytest.raises(SourceUnavailable, match="could not agree with us"):
        upstream.head(source.url("/a").replace("http:", "https:"))
