"""What happened is told to each receiver once, whatever mail servers, webhooks and senders do meanwhile."""

import base64
import hmac
import ipaddress
import json
import multiprocessing
import os
import signal
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import geoetl
from geoetl.core.principal import Principal, Role, Via
from geoetl.core.settings import NotifySettings
from geoetl.publish.channels import signature
from geoetl.publish.model import Action, State
from geoetl.publish.notifications import CLAIM_S, FIRST_WAIT_S, GIVE_UP_S, LONGEST_WAIT_S, SEND, Notifications, Sent
from geoetl.publish.repository import ReleaseRepository
from geoetl.publish.tables import outbox
from geoetl.runs.model import RunKind
from geoetl.runs.schedule import Declaration
from geoetl.store.database import Database
from geoetl.store.identity import IdentityRepository
from geoetl.testing.upstream import Asked, Fault, LocalUpstream, Reply
from tests.publish.receiving import PASSWORD, USER, MailDrop
from tests.publish.releasing import AUTHOR, NOW, Clock, a_content, a_step, brought

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four bytes").decode()
HOOK, OTHER = "/hook/hunter2", "/other"
REVIEWERS = ("ben@example.org", "cleo@example.org")
DASHBOARD = "https://geo.example.org/app"


@pytest.fixture
def releases(sqlite: Database, clock: Clock) -> ReleaseRepository:
    """Give the releases of an empty database; where two senders meet, they do on either kind: `both`."""
    return ReleaseRepository(sqlite, clock)


@pytest.fixture
def both(database: Database, clock: Clock) -> ReleaseRepository:
    return ReleaseRepository(database, clock)


@pytest.fixture
def hooks() -> Iterator[LocalUpstream]:
    with LocalUpstream() as source:
        for path in (HOOK, OTHER):
            source.json(path, lambda asked: Reply(204))
        yield source


@pytest.fixture
def drop() -> Iterator[MailDrop]:
    with MailDrop() as started:
        yield started


def told(releases: ReleaseRepository, **settings: Any) -> Notifications:
    """Return a sender that tells whoever is named."""
    if settings.get("webhooks"):
        settings.setdefault("webhook_secret", SECRET)
    made = NotifySettings(**settings)
    clock = releases.clock
    return Notifications(releases.database, made, DASHBOARD, clock, timeout_s=0.5, draw=lambda: 0.0)


def by_mail(drop: MailDrop, **further: Any) -> dict[str, Any]:
    server = {"smtp_host": "127.0.0.1", "smtp_port": drop.port, "smtp_security": "none"}
    return {**server, "sender": "geoetl@example.org", "reviewers": REVIEWERS, **further}


def rows(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(sa.select(outbox).order_by(outbox.c.created_at, outbox.c.id)))


def a_draft(releases: ReleaseRepository) -> None:
    """Let one notification wait."""
    releases.create(AUTHOR, a_content())


# -- webhooks ----------------------------------------------------------------------------------------------------------


def test_the_signature_is_that_of_the_specification() -> None:
    # The example of Standard Webhooks.
    signed = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_webhook_is_told_everything_once_and_can_tell_who_sent_it(
    releases: ReleaseRepository, hooks: LocalUpstream
) -> None:
    release = brought(releases, State.PUBLISHED)
    sender = told(releases, webhooks=[hooks.url(HOOK + "?a=1"), hooks.url(OTHER)])
    assert sender.has_work
    assert sender.send() == Sent(sent=5)
    assert not sender.has_work and sender.send() == Sent()
    assert hooks.count("POST", HOOK) == hooks.count("POST", OTHER) == hooks.count() / 2 == 5
    events = [json.loads(one.body)["event"] for one in hooks.requests if one.path == OTHER]
    assert sorted(events) == ["approve", "begin_copy", "create", "finish_copy", "submit"]
    for asked in hooks.requests:
        headers, body = asked.headers, json.loads(asked.body)
        assert headers["content-type"] == "application/json" and headers["user-agent"] == "geoetl"
        assert asked.query == ({"a": "1"} if asked.path == HOOK else {})
        assert body["id"] == headers["webhook-id"] and body["release_id"] == release.id
        assert body["link"] == f"{DASHBOARD}/review?release={release.id}"
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + asked.body
        expected = base64.b64encode(hmac.digest(b"a secret of twenty-four bytes", signed, "sha256")).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert headers["webhook-timestamp"] == str(int(NOW))


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"fault": Fault.STATUS, "status": 500}, "answered 500"),
        ({"fault": Fault.STATUS, "status": 404}, "answered 404"),
        ({"fault": Fault.CLOSED}, "closed the connection"),
        ({"fault": Fault.REDIRECT, "to": "/other"}, "a redirect, which is not followed"),
    ],
)
def test_what_was_not_taken_is_sent_again_under_the_same_id(
    releases: ReleaseRepository, hooks: LocalUpstream, clock: Clock, fault: dict[str, Any], says: str
) -> None:
    a_draft(releases)
    hooks.misbehave(HOOK, **fault, times=2)
    sender = told(releases, webhooks=[hooks.url(HOOK), hooks.url(OTHER)])
    first = sender.send()
    assert (first.sent, first.waiting) == (0, 1) and says in first.errors[0]
    assert not sender.has_work and sender.send() == Sent(), "it has to wait"
    clock.now += FIRST_WAIT_S
    assert sender.send().waiting == 1
    clock.now += FIRST_WAIT_S
    assert sender.send() == Sent(), "twice as long"
    clock.now += FIRST_WAIT_S
    assert sender.send() == Sent(sent=1)
    seen = Counter((one.path, one.headers["webhook-id"]) for one in hooks.requests)
    (id,) = {id for _, id in seen}
    assert seen == {(HOOK, id): 3, (OTHER, id): 1}, "who has it does not get it again"


def test_a_server_that_hangs_drips_or_is_not_there_holds_nobody_up(
    releases: ReleaseRepository, hooks: LocalUpstream, clock: Clock
) -> None:
    brought(releases, State.PENDING_REVIEW)
    hooks.json(HOOK, lambda asked: hooks.ended.wait(20))
    with dripping() as drip, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{closed.getsockname()[1]}"
        sender = told(releases, webhooks=[hooks.url(HOOK), drip, gone, hooks.url(OTHER)])
        done = sender.send()
    assert (done.waiting, hooks.count(path=OTHER)) == (2, 2)
    assert hooks.count(path=HOOK) == 1, "it is not asked for each notification"
    assert Counter(done.errors) == {
        "127.0.0.1 did not answer within 0.5 s.": 1,
        "127.0.0.1 does not take connections.": 1,
    }


def dripping() -> Any:
    """Return the address of a server that answers a letter at a time, as a context."""
    from contextlib import contextmanager

    over = threading.Event()

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            while not over.wait(0.05):
                try:
                    connection.sendall(b"H")
                except OSError:
                    return

    @contextmanager
    def serving() -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = threading.Thread(target=drip, args=(listening,), daemon=True)
            thread.start()
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
            over.set()
            thread.join(10)

    return serving()


def test_no_error_and_no_log_line_tells_an_address_or_a_secret(
    releases: ReleaseRepository, hooks: LocalUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    a_draft(releases)
    hooks.json(HOOK, lambda asked: Reply(500, b"your secret is hunter2"))
    sender = told(releases, webhooks=[hooks.url(HOOK)], webhook_secret="hunter2 hunter2 hunter2 hunter2")
    done = sender.send()
    (row,) = rows(releases.database)
    assert row.error == "127.0.0.1 answered 500."
    assert "hunter2" not in f"{done} {row} {caplog.text} {sender!r}"


def test_waits_grow_differ_and_end_after_some_days_with_the_error_kept(
    releases: ReleaseRepository, hooks: LocalUpstream, clock: Clock
) -> None:
    a_draft(releases)
    hooks.misbehave(HOOK, Fault.STATUS, status=503)
    sender = told(releases, webhooks=[hooks.url(HOOK)])
    waits = []
    for _ in range(100):
        if sender.send().given_up:
            break
        (row,) = rows(releases.database)
        waits.append(row.ready_at - clock.now)
        clock.now = row.ready_at
    assert waits[:4] == [30, 60, 120, 240] and max(waits) == LONGEST_WAIT_S
    (row,) = rows(releases.database)
    assert row.given_up_at - row.created_at >= GIVE_UP_S and row.sent_at is None
    assert (row.error, row.attempts) == ("127.0.0.1 answered 503.", len(waits) + 1)
    clock.now += GIVE_UP_S
    assert not sender.has_work and sender.send() == Sent()
    least = Notifications(sender.database, sender.settings, draw=lambda: 1.0)
    assert least._wait_s(0) == FIRST_WAIT_S / 2


# -- e-mail ------------------------------------------------------------------------------------------------------------


def test_those_who_approve_and_who_submitted_get_what_concerns_them(
    releases: ReleaseRepository, drop: MailDrop
) -> None:
    users = IdentityRepository(releases.database)
    anna = users.add("Anna", Role.EDITOR, "correct horse battery")
    ben = users.add("ben", Role.APPROVER, "correct horse battery")
    author = Principal(anna.id, anna.name, anna.role, Via.COOKIE)
    approver = Principal(ben.id, ben.name, ben.role, Via.COOKIE)
    release = releases.create(author, a_content())
    release = releases.move(author, a_step(release, Action.SUBMIT))
    release = releases.move(approver, a_step(release, Action.REQUEST_CHANGES, reason="The licence is\nmissing."))
    sender = told(releases, **by_mail(drop, submitters={"ANNA": "anna@example.org"}))
    assert sender.send() == Sent(sent=3)
    assert Counter(drop.subjects) == {
        ("ben@example.org", "[geoetl] Waits for review: hazards/flood"): 1,
        ("cleo@example.org", "[geoetl] Waits for review: hazards/flood"): 1,
        ("anna@example.org", "[geoetl] Changes requested: hazards/flood"): 1,
    }
    assert drop.connections == 1
    message = next(message for to, message in drop.mail if to == "anna@example.org")
    assert message["To"] == "anna@example.org" and message["From"] == "geoetl@example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"
    assert message.get_content().replace("\r\n", "\n") == (
        "hazards/flood was sent back with a request by ben (2027-01-15 08:00 UTC).\n\n"
        "The licence is\nmissing.\n\n"
        f"Look at it: {DASHBOARD}/review?release={release.id}\n"
    )
    ids = {str(message["Message-ID"]) for _, message in drop.mail}
    assert len(ids) == 3 and all(id.endswith("@example.org>") for id in ids)


def test_every_event_that_concerns_people_has_words(releases: ReleaseRepository, drop: MailDrop) -> None:
    """Nobody gets an e-mail of a draft; a version is told once there is one."""
    for number, state in enumerate(State):
        brought(releases, state, f"item-{number}")
    assert told(releases, **by_mail(drop)).send().waiting == 0
    subjects = Counter(subject.split(":")[0] for _, subject in drop.subjects)
    assert subjects == {
        "[geoetl] Waits for review": 16,
        "[geoetl] Published": 2,
        "[geoetl] Copy failed": 2,
        "[geoetl] Approval revoked": 2,
    }
    published = next(message for _, message in drop.mail if "Published" in message["Subject"])
    assert published.get_content().startswith("hazards/item-5, version 1 is public (")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"answers": {"RCPT": "550 no such user hunter2"}}, "did not take the recipient (550)"),
        ({"answers": {"MAIL": "451 later"}}, "did not take the sender (451)"),
        ({"answers": {"DATA": None}}, "closed the connection"),
        ({"answers": {"DATA": "354 go on\r\n552 too large"}}, "did not take the text (552)"),
        ({"first": "554 not today"}, "answered 554"),
        ({"first": "220-wait"}, "did not answer within 0.5 s"),
    ],
)
def test_an_e_mail_that_was_not_taken_is_sent_again(
    releases: ReleaseRepository, drop: MailDrop, clock: Clock, wrong: dict[str, Any], says: str
) -> None:
    brought(releases, State.PENDING_REVIEW)
    for name, value in wrong.items():
        setattr(drop, name, value)
    sender = told(releases, **by_mail(drop, reviewers=REVIEWERS[:1]))
    done = sender.send()
    assert done.errors == (f"127.0.0.1 {says}.",)
    drop.answers, drop.first = {}, "220 drop"
    clock.now += FIRST_WAIT_S
    drop.mail.clear()
    assert sender.send() == Sent(sent=1)
    assert len(drop.mail) == 1


def test_one_address_that_is_not_taken_does_not_keep_it_from_the_others(
    releases: ReleaseRepository, drop: MailDrop, hooks: LocalUpstream, clock: Clock
) -> None:
    brought(releases, State.PENDING_REVIEW)
    hooks.misbehave(HOOK, Fault.STATUS, status=500, times=1)
    sender = told(releases, **by_mail(drop), webhooks=[hooks.url(HOOK)])
    assert sender.send().waiting == 2, "of the second event nothing was tried: the webhook was down"
    clock.now += FIRST_WAIT_S
    assert sender.send() == Sent(sent=2)
    assert [to for to, _ in drop.mail] == list(REVIEWERS)


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
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_password_is_sent_encrypted_to_a_server_that_is_trusted_and_to_no_other(
    releases: ReleaseRepository,
    tls: ssl.SSLContext,
    certificate: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    brought(releases, State.PENDING_REVIEW)
    signing_in = {"smtp_security": "starttls", "smtp_user": USER, "reviewers": REVIEWERS[:1]}
    with MailDrop(tls=tls) as drop:
        sender = told(releases, **by_mail(drop, **signing_in, smtp_password=PASSWORD))
        assert sender.send().errors == ("127.0.0.1 has a certificate that is not trusted.",)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        wrong = told(releases, **by_mail(drop, **signing_in, smtp_password="hunter3"))
        clock.now += FIRST_WAIT_S
        assert wrong.send().errors == ("127.0.0.1 did not take the user or the password (535).",)
        clock.now += 2 * FIRST_WAIT_S
        assert sender.send() == Sent(sent=1)
        assert len(drop.mail) == 1
    with MailDrop() as plain:
        releases.move(AUTHOR, a_step(releases.list().releases[0], Action.EDIT))
        brought(releases, State.PENDING_REVIEW, "another")
        sender = told(releases, **by_mail(plain, **signing_in, smtp_password=PASSWORD))
        assert "STARTTLS" in sender.send().errors[0]
        assert plain.mail == []
    assert "hunter" not in caplog.text + str(rows(releases.database))


def test_a_webhook_is_told_over_tls_where_its_certificate_is_trusted(
    releases: ReleaseRepository, tls: ssl.SSLContext, certificate: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_draft(releases)
    with LocalUpstream(tls=tls) as hooks:
        hooks.json(HOOK, lambda asked: Reply(200))
        sender = told(releases, webhooks=[hooks.url(HOOK)])
        assert sender.send().errors == ("127.0.0.1 has a certificate that is not trusted.",)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        clock.now += FIRST_WAIT_S
        assert sender.send() == Sent(sent=1)


# -- several senders, and dead ones ------------------------------------------------------------------------------------


def test_senders_at_once_do_not_send_twice(both: ReleaseRepository, hooks: LocalUpstream) -> None:
    for number in range(12):
        both.create(AUTHOR, a_content(f"item-{number}"))
    together = threading.Barrier(4)
    done: list[Sent] = []

    def send() -> None:
        sender = told(ReleaseRepository(Database(both.database.url), both.clock), webhooks=[hooks.url(HOOK)])
        sender.timeout_s = 20
        together.wait()
        done.append(sender.send())
        sender.database.dispose()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(one.sent for one in done) == 12 and len(done) == 4
    assert set(Counter(one.headers["webhook-id"] for one in hooks.requests).values()) == {1}
    assert hooks.count() == 12


def send_all(url: str, webhooks: list[str]) -> None:
    """Send as a process that the second webhook kills."""
    told(ReleaseRepository(Database(url), Clock()), webhooks=webhooks).send()


def test_what_a_sender_that_was_killed_had_begun_is_finished_by_another(
    both: ReleaseRepository, hooks: LocalUpstream, clock: Clock
) -> None:
    a_draft(both)
    process: Any = None
    killed = threading.Event()

    def kill(asked: Asked) -> Reply:
        if not killed.is_set():
            os.kill(process.pid, signal.SIGKILL)
            killed.set()
        return Reply(204)

    hooks.json(OTHER, kill)
    webhooks = [hooks.url(HOOK), hooks.url(OTHER)]
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=send_all, args=(both.database.url, webhooks))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    sender = told(both, webhooks=webhooks)
    assert not sender.has_work and sender.send() == Sent(), "it may be alive"
    clock.now += CLAIM_S
    assert sender.send() == Sent(sent=1)
    assert (hooks.count(path=HOOK), hooks.count(path=OTHER)) == (1, 2)
    assert len({one.headers["webhook-id"] for one in hooks.requests}) == 1


# -- settings, and the schedule ----------------------------------------------------------------------------------------


def test_nothing_is_told_where_nobody_is_to_be_told_and_old_news_is_not_told_later(
    releases: ReleaseRepository, hooks: LocalUpstream, clock: Clock
) -> None:
    a_draft(releases)
    nobody = told(releases)
    assert not nobody.has_work and nobody.send() == Sent()
    clock.now += GIVE_UP_S + 1
    releases.create(AUTHOR, a_content("fresh"))
    assert told(releases, webhooks=[hooks.url(HOOK)]).send() == Sent(sent=1, given_up=1)
    (asked,) = hooks.requests
    assert json.loads(asked.body)["item"] == "fresh"
    assert rows(releases.database)[0].error == "Nobody sent it in time."


def test_the_schedule_runs_only_where_something_waits(home: Path, hooks: LocalUpstream) -> None:
    notify = {"webhooks": [hooks.url(HOOK)], "webhook_secret": SECRET}
    platform = geoetl.connect(home, publish={"notify": notify})
    # The platform's own clock goes on: its slots are those of now.
    every_minute = Declaration(SEND, "Send", RunKind.FUNCTION, SEND, {}, "* * * * *")
    schedules = platform.schedules
    schedules.declare([every_minute])

    def due() -> int:
        with platform.database.begin() as connection:
            connection.execute(sa.text("UPDATE schedules SET last_slot = last_slot - 300"))
        return len(schedules.tick())

    assert due() == 0 and platform.runs.list() == [] and schedules.tick() == ()
    ReleaseRepository(platform.database).create(AUTHOR, a_content())
    assert due() == 1
    (run,) = platform.runs.list()
    assert (run.pipeline, run.kind) == (SEND, RunKind.FUNCTION)
    assert platform.functions[SEND]()(None, platform) == Sent(sent=1)  # type: ignore[arg-type]
    assert hooks.count(path=HOOK) == 1
