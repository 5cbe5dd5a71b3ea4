"""Users, tokens and the signing secret, on SQLite and on PostgreSQL."""

import multiprocessing
import re
import threading
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import argon2
import pytest
import sqlalchemy as sa

from geoetl.core.errors import ConfigurationError, Conflict, InvalidParameter, NotFound
from geoetl.core.principal import Role
from geoetl.store import identity as module
from geoetl.store.database import Database
from geoetl.store.identity import NOBODYS_HASH, TOKEN_PREFIX, IdentityRepository, hash_password, name_key
from tests.migrated import sqlite_url

PASSWORD = "correct horse battery"
DAY_S = 86_400


@pytest.fixture(scope="module")
def shared_url(new_pgstac_url: Callable[[], str]) -> str:
    """Give the URL of one PostgreSQL database, which is emptied for each test."""
    return new_pgstac_url()


@pytest.fixture
def emptied(shared_url: str) -> str:
    """Give its URL, with the tables of identity empty."""
    database = Database(shared_url)
    with database.begin() as connection:
        connection.exec_driver_sql("TRUNCATE users, api_tokens, ended_sessions, server_secrets CASCADE")
    database.dispose()
    return shared_url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a database with the schema and without users."""
    return sqlite_url(tmp_path / "geoetl.db") if request.param == "sqlite" else str(request.getfixturevalue("emptied"))


@pytest.fixture
def identity(url: str) -> IdentityRepository:
    """Give the empty tables of identity."""
    return IdentityRepository(Database(url))


@pytest.fixture
def reader(identity: IdentityRepository, url: str) -> IdentityRepository:
    """Give the same tables in a database that is opened read-only."""
    return IdentityRepository(Database(url, read_only=True))


# -- users -----------------------------------------------------------------------------------------------------------


def test_a_user_signs_in_with_the_password_and_in_no_other_way(identity: IdentityRepository) -> None:
    assert not identity.has_users()
    added = identity.add("Alice", Role.EDITOR, PASSWORD)
    assert identity.has_users()
    assert identity.users() == [added] == [identity.user("alice")]
    for name in ("Alice", "alice", "ALICE", "Ａｌｉｃｅ", " alice "):
        assert identity.check_password(name, PASSWORD) == added
    for name, password in [
        ("alice", "wrong"),
        ("bob", PASSWORD),
        ("alice", ""),
        ("", PASSWORD),
        ("alice", PASSWORD * 99),
    ]:
        assert identity.check_password(name, password) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("alice", "ALICE"),
        ("José", unicodedata.normalize("NFD", "josé")),
        ("Straße", "STRASSE"),
        ("alice", "ａｌｉｃｅ"),
        ("ﬁona", "Fiona"),
        ("ann lee", "ann   lee"),
    ],
)
def test_no_two_users_look_the_same(identity: IdentityRepository, first: str, second: str) -> None:
    identity.add(first, Role.VIEWER, PASSWORD)
    with pytest.raises(Conflict, match="looks the same"):
        identity.add(second, Role.OPERATOR, PASSWORD)
    assert len(identity.users()) == 1


@pytest.mark.parametrize("name", ["", "   ", "a\x00b", "al\u200bice", "a\nb", "\u202eecila", "x" * 101, "\ufdfa" * 50])
def test_a_name_that_cannot_be_seen_or_typed_is_refused(identity: IdentityRepository, name: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        identity.add(name, Role.VIEWER, PASSWORD)
    assert refused.value.field == "name"
    assert not identity.has_users()


@pytest.mark.parametrize("password", ["", "eleven char", "x" * 1025])
def test_a_password_that_is_too_short_or_too_long_is_refused(identity: IdentityRepository, password: str) -> None:
    with pytest.raises(InvalidParameter, match="12 to 1024") as refused:
        identity.add("alice", Role.VIEWER, password)
    assert password not in str(refused.value) or not password


def test_a_password_may_be_typed_composed_or_decomposed(identity: IdentityRepository) -> None:
    identity.add("alice", Role.VIEWER, "Zürich im Märzen")
    assert identity.check_password("alice", unicodedata.normalize("NFD", "Zürich im Märzen"))


def test_passwords_are_kept_as_argon2id_and_tokens_as_digests(identity: IdentityRepository) -> None:
    identity.add("alice", Role.VIEWER, PASSWORD)
    _, text = identity.create_token("alice", "t", None, DAY_S)
    with identity.database.read() as connection:
        kept = str(connection.execute(sa.select(module.users)).all()) + str(
            connection.execute(sa.select(module.tokens)).all()
        )
    assert "$argon2id$v=19$" in kept
    assert PASSWORD not in kept
    assert text not in kept


def test_an_unknown_name_costs_as_much_as_a_wrong_password() -> None:
    assert argon2.extract_parameters(NOBODYS_HASH) == argon2.extract_parameters(hash_password(PASSWORD))


def test_a_change_of_role_or_password_ends_the_sessions(identity: IdentityRepository) -> None:
    user = identity.add("alice", Role.OPERATOR, PASSWORD)
    identity.add("bob", Role.OPERATOR, PASSWORD)
    assert identity.session_user(user.id, user.session, "c") == user
    identity.set_role("alice", Role.EDITOR)
    assert identity.session_user(user.id, user.session, "c") is None
    current = identity.user("alice")
    assert identity.session_user(user.id, current.session, "c") == current
    assert identity.set_role("alice", Role.EDITOR) == current
    identity.set_password("alice", "another long password")
    assert identity.session_user(user.id, current.session, "c") is None
    assert identity.check_password("alice", PASSWORD) is None
    assert identity.check_password("alice", "another long password")


def test_a_disabled_user_is_out_with_cookie_password_and_token(identity: IdentityRepository) -> None:
    user = identity.add("alice", Role.VIEWER, PASSWORD)
    _, text = identity.create_token("alice", "t", None, DAY_S)
    identity.set_disabled("alice", True)
    assert identity.session_user(user.id, user.session, "c") is None
    assert identity.check_password("alice", PASSWORD) is None
    assert identity.token_user(text) is None
    identity.set_disabled("alice", False)
    assert identity.session_user(user.id, user.session, "c") is None
    assert identity.check_password("alice", PASSWORD)
    assert identity.token_user(text)


def test_a_removed_user_leaves_nothing_to_whoever_gets_the_name(identity: IdentityRepository) -> None:
    first = identity.add("alice", Role.OPERATOR, PASSWORD)
    _, text = identity.create_token("alice", "t", None, DAY_S)
    identity.remove("alice", force=True)
    second = identity.add("alice", Role.OPERATOR, PASSWORD)
    assert second.id != first.id
    assert identity.session_user(first.id, first.session, "c") is None
    assert identity.token_user(text) is None
    assert identity.tokens() == []


def test_the_last_operator_stays(identity: IdentityRepository) -> None:
    identity.add("alice", Role.OPERATOR, PASSWORD)
    identity.add("bob", Role.OPERATOR, PASSWORD)
    identity.set_disabled("bob", True)
    with pytest.raises(Conflict, match="last operator"):
        identity.remove("alice")
    with pytest.raises(Conflict, match="last operator"):
        identity.set_disabled("alice", True)
    with pytest.raises(Conflict, match="last operator"):
        identity.set_role("alice", Role.VIEWER)
    identity.set_disabled("bob", False)
    identity.set_role("alice", Role.VIEWER)
    identity.remove("bob", force=True)
    assert [user.role for user in identity.users()] == [Role.VIEWER]


def test_of_two_operators_who_remove_each_other_at_once_one_stays(identity: IdentityRepository) -> None:
    for _ in range(5):
        for name in ("alice", "bob"):
            if name not in [user.name for user in identity.users()]:
                identity.add(name, Role.OPERATOR, PASSWORD)
        start = threading.Barrier(2)
        refused: list[Conflict] = []

        def remove(name: str, start: threading.Barrier = start, refused: list[Conflict] = refused) -> None:
            start.wait()
            try:
                identity.remove(name)
            except Conflict as error:
                refused.append(error)

        threads = [threading.Thread(target=remove, args=(name,)) for name in ("alice", "bob")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(identity.users()) == 1
        assert len(refused) == 1


def test_somebody_who_is_not_there_is_told_with_a_name_that_is(identity: IdentityRepository) -> None:
    with pytest.raises(NotFound, match="no user 'alice'") as missing:
        identity.user("alice")
    assert missing.value.hint is not None and "users add" in missing.value.hint
    identity.add("alice", Role.VIEWER, PASSWORD)
    with pytest.raises(NotFound) as near:
        identity.remove("alicia")
    assert near.value.hint == "Did you mean 'alice'?"


# -- sessions --------------------------------------------------------------------------------------------------------


def test_an_ended_session_is_over_and_others_go_on(identity: IdentityRepository) -> None:
    user = identity.add("alice", Role.VIEWER, PASSWORD)
    identity.end_session("one", time.time() + 60)
    identity.end_session("one", time.time() + 60)
    assert identity.session_user(user.id, user.session, "one") is None
    assert identity.session_user(user.id, user.session, "two") == user


def test_ended_sessions_are_forgotten_once_their_cookie_has_expired(identity: IdentityRepository) -> None:
    identity.end_session("old", time.time() - 1)
    identity.end_session("new", time.time() + 60)
    with identity.database.read() as connection:
        assert connection.execute(sa.select(module.ended.c.id)).scalars().all() == ["new"]


# -- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_may_the_lesser_of_its_scope_and_its_users_role(identity: IdentityRepository) -> None:
    identity.add("alice", Role.APPROVER, PASSWORD)
    token, text = identity.create_token("alice", "export", Role.EDITOR, DAY_S)
    assert re.fullmatch(rf"{TOKEN_PREFIX}[\w-]{{43}}", text)
    assert identity.tokens() == [token] == identity.tokens("ALICE")
    user, role = identity.token_user(text) or (None, None)
    assert (user, role) == (identity.user("alice"), Role.EDITOR)
    identity.set_role("alice", Role.VIEWER)
    assert (identity.token_user(text) or (None, None))[1] is Role.VIEWER


def test_a_scope_above_the_users_role_is_refused(identity: IdentityRepository) -> None:
    identity.add("alice", Role.EDITOR, PASSWORD)
    with pytest.raises(InvalidParameter, match="above the role of 'alice', which is editor"):
        identity.create_token("alice", "t", Role.OPERATOR, DAY_S)
    assert identity.create_token("alice", "t", None, DAY_S)[0].scope is Role.EDITOR


def test_a_token_that_is_revoked_expired_or_made_up_is_nobodys(identity: IdentityRepository) -> None:
    identity.add("alice", Role.EDITOR, PASSWORD)
    token, text = identity.create_token("alice", "t", None, DAY_S)
    _, expired = identity.create_token("alice", "t", None, -1.0)
    assert identity.token_user(expired) is None
    changed = text[:-1] + ("A" if text[-1] != "A" else "B")
    for made_up in (
        "",
        TOKEN_PREFIX,
        changed,
        text + "A",
        text.upper(),
        "geoetl_\x00",
        "geoetl_" + "é" * 43,
        "' or 1=1 --",
    ):
        assert identity.token_user(made_up) is None
    revoked = identity.revoke_token(token.id)
    assert revoked.revoked_at is not None
    assert identity.token_user(text) is None
    assert identity.revoke_token(token.id) == revoked
    with pytest.raises(NotFound, match="no token 'nothing'"):
        identity.revoke_token("nothing")


# -- OpenID ----------------------------------------------------------------------------------------------------------


def test_who_comes_from_a_provider_is_known_by_issuer_and_subject(identity: IdentityRepository) -> None:
    first = identity.external("https://id.example.org", "42", "alice", Role.VIEWER)
    assert identity.external("https://id.example.org", "42", "renamed", Role.VIEWER) == first
    promoted = identity.external("https://id.example.org", "42", "alice", Role.EDITOR)
    assert (promoted.id, promoted.role, promoted.session) == (first.id, Role.EDITOR, first.session + 1)
    other = identity.external("https://other.example.org", "42", "bob", Role.VIEWER)
    assert other.id != first.id
    assert identity.check_password("alice", "") is None
    with pytest.raises(Conflict, match="OpenID"):
        identity.set_password("alice", PASSWORD)


def test_a_provider_cannot_take_over_a_local_user(identity: IdentityRepository) -> None:
    identity.add("alice", Role.OPERATOR, PASSWORD)
    with pytest.raises(Conflict):
        identity.external("https://id.example.org", "42", "Alice", Role.VIEWER)
    assert len(identity.users()) == 1


# -- the secret, and reading only ------------------------------------------------------------------------------------


def ask_for_secret(
    url: str, start: "multiprocessing.synchronize.Barrier", answers: "multiprocessing.Queue[bytes]"
) -> None:
    start.wait()
    answers.put(IdentityRepository(Database(url)).signing_secret())


def test_processes_that_ask_at_once_get_one_secret(identity: IdentityRepository, url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    start, answers = spawn.Barrier(4), spawn.Queue()
    processes = [spawn.Process(target=ask_for_secret, args=(url, start, answers)) for _ in range(4)]
    for process in processes:
        process.start()
    found = {answers.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert found == {identity.signing_secret()}
    assert len(identity.signing_secret()) == 32


def test_a_reader_recognises_everyone_and_writes_nothing(
    identity: IdentityRepository, reader: IdentityRepository
) -> None:
    user = identity.add("alice", Role.EDITOR, PASSWORD)
    outside = identity.external("https://id.example.org", "42", "bob", Role.VIEWER)
    _, text = identity.create_token("alice", "t", None, DAY_S)
    secret = identity.signing_secret()
    assert reader.signing_secret() == secret
    assert reader.check_password("alice", PASSWORD) == user
    assert reader.session_user(user.id, user.session, "c") == user
    assert reader.token_user(text) == (user, Role.EDITOR)
    assert reader.external("https://id.example.org", "42", "bob", Role.VIEWER) == outside
    for write in (
        lambda: reader.add("eve", Role.OPERATOR, PASSWORD),
        lambda: reader.end_session("c", time.time() + 60),
        lambda: reader.external("https://id.example.org", "42", "bob", Role.OPERATOR),
        lambda: reader.create_token("alice", "t", None, DAY_S),
    ):
        with pytest.raises(ConfigurationError, match="reads only"):
            write()
    assert [user.name for user in identity.users()] == ["alice", "bob"]


def test_a_reader_says_that_the_secret_is_missing(reader: IdentityRepository) -> None:
    with pytest.raises(ConfigurationError, match="no signing secret") as missing:
        reader.signing_secret()
    assert missing.value.hint is not None and "users add" in missing.value.hint


def test_a_name_is_compared_in_one_way_however_often() -> None:
    for name in ("Alice", "Straße", "ﬁ", "İstanbul", "ΑΣ", " a  b "):
        assert name_key(name_key(name)) == name_key(name)
