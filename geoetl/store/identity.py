"""Users, their API tokens, ended sessions, and the secret that the servers sign with, as rows.

Passwords are kept as Argon2id hashes, tokens as SHA-256 digests: a token is 256 random bits, so a slow hash would add
nothing.  Recognising someone only reads, so that a server with a read-only database can do it.
"""

import hashlib
import secrets
import time
import unicodedata
from dataclasses import dataclass

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.engine import Connection, Row

from geoetl.core.errors import ConfigurationError, Conflict, InvalidParameter, NotFound, did_you_mean
from geoetl.core.identifiers import new_id
from geoetl.core.principal import Role
from geoetl.store.database import Database, insert_once

# NIST SP 800-63B-4 asks for 15 where a password stands alone and 8 beside a second factor; every length up to
# MAX_PASSWORD_LENGTH is hashed whole.
MIN_PASSWORD_LENGTH = 12
MAX_PASSWORD_LENGTH = 1024
MAX_NAME_LENGTH = 100
# So that scanners for leaked credentials find ours.
TOKEN_PREFIX = "geoetl_"
_TOKEN_BYTES = 32
_TOKEN_LENGTH = len(TOKEN_PREFIX) + 43
_SECRET_BYTES = 32
# The second choice of RFC 9106, section 4: 64 MiB, 3 passes, 4 lanes.
_HASHER = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4, hash_len=32, salt_len=16)
# Of a password that nobody knows: an unknown name costs as much time as a wrong password.
NOBODYS_HASH = "$argon2id$v=19$m=65536,t=3,p=4$+4DVK/dNsqxIlINjS0zssg$QeLbCOiolb+QCuLxG8892jtbPZbxvxrt1KogiEmVv98"

_meta = sa.MetaData()
users = sa.Table(
    "users",
    _meta,
    *(sa.Column(name, sa.String) for name in ("id", "name", "name_key", "role", "password", "issuer", "subject")),
    sa.Column("disabled", sa.Boolean),
    sa.Column("session", sa.Integer),
    sa.Column("created_at", sa.Float),
)
tokens = sa.Table(
    "api_tokens",
    _meta,
    *(sa.Column(name, sa.String) for name in ("id", "user_id", "name", "sha256", "scope")),
    *(sa.Column(name, sa.Float) for name in ("created_at", "expires_at", "revoked_at")),
)
ended = sa.Table("ended_sessions", _meta, sa.Column("id", sa.String), sa.Column("expires_at", sa.Float))
server_secrets = sa.Table("server_secrets", _meta, sa.Column("name", sa.String), sa.Column("value", sa.LargeBinary))


@dataclass(frozen=True)
class User:
    """Someone who may sign in.

    Attributes:
        id: Never used again, not even when another user of the same name is made.
        name: As it was given.
        role: What they may do.
        disabled: Whether they are kept out.
        session: Raised by a new password or role and by disabling; cookies of an earlier one are not taken.
        issuer: The OpenID provider that vouches for them; None for a local user.
        created_at: Unix seconds.
    """

    id: str
    name: str
    role: Role
    disabled: bool
    session: int
    issuer: str | None
    created_at: float


@dataclass(frozen=True)
class ApiToken:
    """What is known of a token; its text is known to its owner only.

    Attributes:
        id: To revoke it by.
        user: Name of the user in whose name it asks.
        name: What it is for.
        scope: The most that it may do, also when its user may more.
        created_at, expires_at, revoked_at: Unix seconds.
    """

    id: str
    user: str
    name: str
    scope: Role
    created_at: float
    expires_at: float
    revoked_at: float | None


@dataclass(frozen=True)
class IdentityRepository:
    """The tables of users, tokens, ended sessions and server secrets."""

    database: Database

    # -- users -------------------------------------------------------------------------------------------------------

    def has_users(self) -> bool:
        """Tell whether there is any user, disabled ones included."""
        with self.database.read() as connection:
            return connection.execute(sa.select(users.c.id).limit(1)).first() is not None

    def users(self) -> list[User]:
        """Return every user, by name."""
        with self.database.read() as connection:
            return [_user(row) for row in connection.execute(sa.select(users).order_by(users.c.name_key))]

    def user(self, name: str) -> User:
        """Return the user of that name.

        Raises:
            NotFound: There is none.
        """
        with self.database.read() as connection:
            return _user(_row_of(connection, name))

    def with_id(self, user_id: str) -> User | None:
        """Return the user of that id; None where there is none, or no more."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(users).where(users.c.id == user_id)).one_or_none()
        return None if row is None else _user(row)

    def add(self, name: str, role: Role, password: str) -> User:
        """Add a local user.

        Raises:
            InvalidParameter: The name or the password is not right.
            Conflict: There is a user of that name, or of one that looks the same.
        """
        clean = check_name(name)
        row = _new_user(clean, role) | {"password": hash_password(password)}
        with self.database.begin() as connection:
            _insert_user(connection, row)
        self.signing_secret()  # so that a reader finds one, also where no other server has run yet
        return _user_of(row)

    def external(self, issuer: str, subject: str, name: str, role: Role) -> User:
        """Return the user that an OpenID provider vouches for; made at the first time, and given `role` each time.

        Raises:
            Conflict: Another user has that name.
            ConfigurationError: The database is read-only, and the user is new or has another role.
        """
        here = (users.c.issuer == issuer, users.c.subject == subject)
        with self.database.read() as connection:
            row = connection.execute(sa.select(users).where(*here)).one_or_none()
        if row is not None and row.role == role:
            return _user(row)
        with self.database.begin() as connection:
            row = connection.execute(sa.select(users).where(*here).with_for_update()).one_or_none()
            if row is None:
                made = _new_user(check_name(name), role) | {"issuer": issuer, "subject": subject}
                _insert_user(connection, made)
                return _user_of(made)
            return self._changed(connection, row, role=role)

    def set_role(self, name: str, role: Role, *, force: bool = False) -> User:
        """Give a user another role; who is signed in signs in again.

        Raises:
            NotFound: There is no such user.
            Conflict: No operator would be left.
        """
        with self.database.begin() as connection:
            row = _row_of(connection, name)
            if role is not Role.OPERATOR and not force:
                _keep_an_operator(connection, row)
            return self._changed(connection, row, role=role) if row.role != role else _user(row)

    def set_password(self, name: str, password: str) -> User:
        """Give a local user another password; who is signed in signs in again.

        Raises:
            NotFound: There is no such user.
            InvalidParameter: The password is not right.
            Conflict: An OpenID provider vouches for this user.
        """
        hashed = hash_password(password)
        with self.database.begin() as connection:
            row = _row_of(connection, name)
            if row.issuer is not None:
                raise Conflict(
                    f"'{row.name}' signs in with an OpenID provider.", hint="Change the password there.", field="name"
                )
            return self._changed(connection, row, password=hashed)

    def set_disabled(self, name: str, disabled: bool, *, force: bool = False) -> User:
        """Keep a user out, at once and with every token, or let them in again.

        Raises:
            NotFound: There is no such user.
            Conflict: No operator would be left.
        """
        with self.database.begin() as connection:
            row = _row_of(connection, name)
            if disabled and not force:
                _keep_an_operator(connection, row)
            return self._changed(connection, row, disabled=disabled) if row.disabled != disabled else _user(row)

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a user with every token.

        Raises:
            NotFound: There is no such user.
            Conflict: No operator would be left.
        """
        with self.database.begin() as connection:
            row = _row_of(connection, name)
            if not force:
                _keep_an_operator(connection, row)
            connection.execute(sa.delete(users).where(users.c.id == row.id))

    def _changed(self, connection: Connection, row: "Row[*tuple[object, ...]]", **values: object) -> User:
        change = sa.update(users).where(users.c.id == row.id).values(session=users.c.session + 1, **values)
        return _user(connection.execute(change.returning(*users.c)).one())

    # -- recognising -------------------------------------------------------------------------------------------------

    def check_password(self, name: str, password: str) -> User | None:
        """Return the user of that name and password, or None; whatever is wrong, it costs the same time."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(users).where(users.c.name_key == name_key(name))).one_or_none()
        known = row is not None and row.password is not None and not row.disabled
        matches = _verify(row.password if row is not None and row.password else NOBODYS_HASH, password)
        return _user(row) if row is not None and known and matches else None

    def session_user(self, user_id: str, session: int, cookie_id: str) -> User | None:
        """Return the user whose session of that number is alive and was not ended under `cookie_id`, or None."""
        query = sa.select(users).where(
            users.c.id == user_id,
            users.c.session == session,
            users.c.disabled.is_(False),
            ~sa.exists().where(ended.c.id == cookie_id),
        )
        with self.database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _user(row)

    def end_session(self, cookie_id: str, expires_at: float) -> None:
        """Note that a session was signed out, until its cookie would expire anyway."""
        with self.database.begin() as connection:
            connection.execute(sa.delete(ended).where(ended.c.expires_at < time.time()))
            insert_once(connection, ended, {"id": cookie_id, "expires_at": expires_at})

    # -- tokens ------------------------------------------------------------------------------------------------------

    def create_token(self, user: str, name: str, scope: Role | None, lifetime_s: float) -> tuple[ApiToken, str]:
        """Make a token and return it with its text, which cannot be had again.

        Args:
            user: In whose name it asks.
            name: What it is for.
            scope: The most that it may do; left out, the user's role.
            lifetime_s: Seconds until it expires.

        Raises:
            NotFound: There is no such user.
            InvalidParameter: The scope is above the user's role, or the name is not right.
        """
        label = check_name(name)
        text = TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
        now = time.time()
        with self.database.begin() as connection:
            owner = _user(_row_of(connection, user))
            wanted = scope or owner.role
            if wanted > owner.role:
                raise InvalidParameter(
                    f"The scope '{wanted}' is above the role of '{owner.name}', which is {owner.role}.",
                    hint=f"Give --scope {owner.role} or less, or another role first.",
                    field="scope",
                )
            row = {
                "id": new_id(),
                "user_id": owner.id,
                "name": label,
                "sha256": _digest(text),
                "scope": str(wanted),
                "created_at": now,
                "expires_at": now + lifetime_s,
                "revoked_at": None,
            }
            connection.execute(sa.insert(tokens).values(row))
        return ApiToken(str(row["id"]), owner.name, label, wanted, now, now + lifetime_s, None), text

    def tokens(self, user: str | None = None) -> list[ApiToken]:
        """Return every token, or those of one user, the newest first.

        Raises:
            NotFound: There is no such user.
        """
        query = sa.select(tokens, users.c.name.label("user")).join(users, users.c.id == tokens.c.user_id)
        with self.database.read() as connection:
            if user is not None:
                query = query.where(users.c.id == _row_of(connection, user).id)
            return [_token(row) for row in connection.execute(query.order_by(tokens.c.id.desc()))]

    def revoke_token(self, token_id: str) -> ApiToken:
        """Let a token be taken no longer.

        Raises:
            NotFound: There is none of that id.
        """
        query = sa.select(tokens, users.c.name.label("user")).join(users, users.c.id == tokens.c.user_id)
        with self.database.begin() as connection:
            connection.execute(
                sa.update(tokens)
                .where(tokens.c.id == token_id, tokens.c.revoked_at.is_(None))
                .values(revoked_at=time.time())
            )
            row = connection.execute(query.where(tokens.c.id == token_id)).one_or_none()
            if row is None:
                known = connection.execute(sa.select(tokens.c.id)).scalars()
                raise NotFound(f"There is no token '{token_id}'.", hint=did_you_mean(token_id, known), field="token")
            return _token(row)

    def token_user(self, text: str) -> tuple[User, Role] | None:
        """Return whose token this is, and what it may do: the lesser of its scope and its user's role; or None."""
        if len(text) != _TOKEN_LENGTH or not text.startswith(TOKEN_PREFIX):
            return None
        query = (
            sa.select(users, tokens.c.scope)
            .join(tokens, users.c.id == tokens.c.user_id)
            .where(
                tokens.c.sha256 == _digest(text),
                tokens.c.revoked_at.is_(None),
                tokens.c.expires_at > time.time(),
                users.c.disabled.is_(False),
            )
        )
        with self.database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (_user(row), min(Role(row.scope), Role(row.role)))

    # -- the secret --------------------------------------------------------------------------------------------------

    def signing_secret(self) -> bytes:
        """Return the 32 bytes that every server of this database signs with; made by the first that asks.

        Raises:
            ConfigurationError: There is none yet, and the database is read-only.
        """
        query = sa.select(server_secrets.c.value).where(server_secrets.c.name == "signing")
        with self.database.read() as connection:
            found = connection.execute(query).scalar()
        if found is None:
            if self.database.read_only:
                raise ConfigurationError(
                    "This database has no users and no signing secret yet, and a reader does not write.",
                    hint="First run: geoetl users add NAME --role operator",
                )
            with self.database.begin() as connection:
                # Of several processes one writes, and all read what it wrote.
                made: dict[str, object] = {"name": "signing", "value": secrets.token_bytes(_SECRET_BYTES)}
                insert_once(connection, server_secrets, made)
                found = connection.execute(query).scalar_one()
        return bytes(found)


def name_key(name: str) -> str:
    """Return a name as it is compared: one text for all that look the same but for case, width and composition."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def check_name(name: str) -> str:
    """Return a name in Unicode's composed form (NFC) if it can be shown and typed again.

    Raises:
        InvalidParameter: It is empty or too long, or has characters that are not seen.
    """
    clean = unicodedata.normalize("NFC", name).strip()
    # Controls, joiners, marks of direction, unassigned and private ones; separators other than the space.
    unseen = [c for c in clean if unicodedata.category(c)[0] == "C" or (unicodedata.category(c)[0] == "Z" and c != " ")]
    if unseen:
        raise InvalidParameter(
            f"The name has a character that is not seen (U+{ord(unseen[0]):04X}).",
            hint="Use letters, digits, spaces and punctuation.",
            field="name",
        )
    if not name_key(clean) or len(clean) > MAX_NAME_LENGTH or len(name_key(clean)) > 2 * MAX_NAME_LENGTH:
        raise InvalidParameter(
            f"A name has 1 to {MAX_NAME_LENGTH} characters; this has {len(clean)}.",
            hint="Give a shorter one." if clean else "Give one, such as: alice",
            field="name",
        )
    return clean


def hash_password(password: str) -> str:
    """Return the Argon2id hash of a password.

    Raises:
        InvalidParameter: It is too short or too long.
    """
    text = _composed(password)
    if not MIN_PASSWORD_LENGTH <= len(text) <= MAX_PASSWORD_LENGTH:
        raise InvalidParameter(
            f"The password has {len(text)} characters; it needs {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH}.",
            hint="Several words in a row are long and easy to remember.",
            field="password",
        )
    return _HASHER.hash(_bytes(text))


def _verify(hashed: str, password: str) -> bool:
    try:
        return _HASHER.verify(hashed, _bytes(_composed(password[:MAX_PASSWORD_LENGTH])))
    except (VerificationError, InvalidHashError):
        return False


def _composed(password: str) -> str:
    # The same letter is typed composed on one system and decomposed on another.
    return unicodedata.normalize("NFC", password)


def _bytes(password: str) -> bytes:
    # A lone surrogate, which a terminal may hand in, has no UTF-8.
    return password.encode("utf-8", "surrogatepass")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _new_user(name: str, role: Role) -> dict[str, object]:
    return {
        "id": new_id(),
        "name": name,
        "name_key": name_key(name),
        "role": str(role),
        "password": None,
        "issuer": None,
        "subject": None,
        "disabled": False,
        "session": 1,
        "created_at": time.time(),
    }


def _insert_user(connection: Connection, row: dict[str, object]) -> None:
    if not insert_once(connection, users, row):
        raise Conflict(
            f"There is a user '{row['name']}' already, or one whose name looks the same.",
            hint="Choose another name; geoetl users list shows them all.",
            field="name",
        )


def _row_of(connection: Connection, name: str) -> "Row[*tuple[object, ...]]":
    row = connection.execute(sa.select(users).where(users.c.name_key == name_key(name))).one_or_none()
    if row is None:
        known = connection.execute(sa.select(users.c.name)).scalars()
        raise NotFound(f"There is no user '{name}'.", hint=did_you_mean(name, known) or _FIRST_USER, field="name")
    return row


_FIRST_USER = "There are no users yet. Add one with: geoetl users add NAME --role operator"


def _keep_an_operator(connection: Connection, row: "Row[*tuple[object, ...]]") -> None:
    """Refuse to take away the last operator; of two who try it at the same time, one waits for the other."""
    query = sa.select(users.c.id).where(users.c.role == Role.OPERATOR, users.c.disabled.is_(False)).with_for_update()
    if [found.id for found in connection.execute(query)] == [row.id]:
        raise Conflict(
            f"'{row.name}' is the last operator.",
            hint="Make another one first (geoetl users role NAME operator), or repeat with --force.",
            field="name",
        )


def _user(row: "Row[*tuple[object, ...]]") -> User:
    return User(row.id, row.name, Role(row.role), bool(row.disabled), row.session, row.issuer, row.created_at)


def _user_of(row: dict[str, object]) -> User:
    names = ("id", "name", "disabled", "session", "issuer", "created_at")
    return User(role=Role(str(row["role"])), **{name: row[name] for name in names})  # type: ignore[arg-type]


def _token(row: "Row[*tuple[object, ...]]") -> ApiToken:
    return ApiToken(row.id, row.user, row.name, Role(row.scope), row.created_at, row.expires_at, row.revoked_at)
