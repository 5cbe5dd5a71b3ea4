"""``geoetl users`` and ``geoetl tokens``: who may sign in, and with what programs ask in their name."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoetl.cli.output import Json, err, out, print_json, print_table, utc

if TYPE_CHECKING:
    from geoetl.core.principal import Role
    from geoetl.store.identity import ApiToken, IdentityRepository, User

app = typer.Typer(help="Add and change who may sign in.", no_args_is_help=True)
tokens = typer.Typer(help="Make and revoke the tokens with which programs ask.", no_args_is_help=True)

DAY_S = 86_400
# A token that is forgotten ends by itself.
MAX_DAYS = 3650

Name = Annotated[str, typer.Argument(help="Name of the user.")]
RoleName = Annotated[str, typer.Option("--role", help="viewer, editor, approver or operator.")]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
]
Force = Annotated[bool, typer.Option("--force", help="Also where no operator is left.")]


@app.command()
def add(
    name: Name,
    role: RoleName = "viewer",
    password_stdin: FromStdin = False,
    as_json: Json = False,
) -> None:
    """Add someone who may sign in; the password is asked for.

    Example: geoetl users add alice --role operator
    """
    wanted = _role(role)
    identity = _identity()
    _tell_user(identity.add(name, wanted, _password(password_stdin)), "Added", as_json=as_json)


@app.command("list")
def show(as_json: Json = False) -> None:
    """List who may sign in.

    Example: geoetl users list
    """
    found = _identity().users()
    if as_json:
        print_json([_user_row(user) for user in found])
        return
    if not found:
        out.print("No users yet. Add one with: geoetl users add NAME --role operator")
        return
    rows = [
        (user.name, user.role, "disabled" if user.disabled else "", user.issuer or "local", utc(user.created_at))
        for user in found
    ]
    print_table("Users", ["name", "role", "state", "signs in with", "added (UTC)"], rows)


@app.command()
def role(
    name: Name,
    new_role: Annotated[str, typer.Argument(metavar="ROLE", help="viewer, editor, approver or operator.")],
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Give a user another role; who is signed in has to sign in again.

    Example: geoetl users role alice editor
    """
    _tell_user(_identity().set_role(name, _role(new_role), force=force), "Changed", as_json=as_json)


@app.command()
def password(name: Name, password_stdin: FromStdin = False, as_json: Json = False) -> None:
    """Give a user another password; who is signed in has to sign in again.

    Example: geoetl users password alice
    """
    identity = _identity()
    identity.user(name)  # before somebody types a password twice for nobody
    _tell_user(identity.set_password(name, _password(password_stdin)), "Changed", as_json=as_json)


@app.command()
def disable(name: Name, force: Force = False, as_json: Json = False) -> None:
    """Keep a user out, at once, and every token of theirs.

    Example: geoetl users disable alice
    """
    _tell_user(_identity().set_disabled(name, True, force=force), "Disabled", as_json=as_json)


@app.command()
def enable(name: Name, as_json: Json = False) -> None:
    """Let a disabled user in again.

    Example: geoetl users enable alice
    """
    _tell_user(_identity().set_disabled(name, False), "Enabled", as_json=as_json)


@app.command()
def remove(name: Name, force: Force = False, as_json: Json = False) -> None:
    """Remove a user and every token of theirs.

    Example: geoetl users remove alice
    """
    identity = _identity()
    user = identity.user(name)
    identity.remove(name, force=force)
    _tell_user(user, "Removed", as_json=as_json)
    if not identity.has_users():
        err.print("There are no users left: whoever uses this machine's browser is the operator again.")


@tokens.command()
def create(
    user: Annotated[str, typer.Argument(help="Name of the user in whose name it asks.")],
    name: Annotated[str, typer.Option("--name", help="What it is for.")] = "token",
    scope: Annotated[str, typer.Option("--scope", help="The most it may do; left out, the user's role.")] = "",
    days: Annotated[int, typer.Option("--days", min=1, max=MAX_DAYS, help="Days until it expires.")] = 90,
    as_json: Json = False,
) -> None:
    """Make a token for a program, and show it: this once.

    Example: geoetl tokens create alice --name "nightly export" --scope viewer --days 30
    """
    token, text = _identity().create_token(user, name, _role(scope) if scope else None, days * DAY_S)
    if as_json:
        print_json({**_token_row(token), "token": text})
        return
    err.print(f"Token {token.id} of {_plain(token.user)} ({token.scope}), until {utc(token.expires_at)}.")
    err.print("It is shown this once. Send it as: Authorization: Bearer TOKEN")
    typer.echo(text)


@tokens.command("list")
def show_tokens(
    user: Annotated[str, typer.Option("--user", help="Only those of one user.")] = "", as_json: Json = False
) -> None:
    """List the tokens, the newest first; their text is not kept.

    Example: geoetl tokens list --user alice
    """
    import time

    found = _identity().tokens(user or None)
    if as_json:
        print_json([_token_row(token) for token in found])
        return
    if not found:
        out.print("No tokens yet. Make one with: geoetl tokens create USER")
        return
    now = time.time()
    rows = [
        (token.id, token.user, token.name, token.scope, _state(token, now), utc(token.expires_at)) for token in found
    ]
    print_table("Tokens", ["id", "user", "name", "scope", "state", "expires (UTC)"], rows)


@tokens.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the token, see geoetl tokens list.")],
    as_json: Json = False,
) -> None:
    """Let a token be taken no longer.

    Example: geoetl tokens revoke 06h0d64n1z476m07cr77
    """
    token = _identity().revoke_token(token_id)
    if as_json:
        print_json(_token_row(token))
        return
    out.print(f"Revoked token {token.id} of {_plain(token.user)}.")


def _identity() -> "IdentityRepository":
    import geoetl

    return geoetl.connect().identity


def _role(text: str) -> "Role":
    from geoetl.core.errors import InvalidParameter, did_you_mean
    from geoetl.core.principal import Role

    try:
        return Role(text)
    except ValueError:
        raise InvalidParameter(f"'{text}' is not a role.", hint=did_you_mean(text, Role), field="role") from None


def _password(from_stdin: bool) -> str:
    """Ask for a password twice, or read it.

    Raises:
        InvalidParameter: The two are not the same, or there is no terminal to ask at.
    """
    import getpass
    import sys

    from geoetl.core.errors import InvalidParameter

    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InvalidParameter(
            "There is no terminal to ask for the password at.",
            hint="Hand it in with --password-stdin, so that it stands in no list of processes.",
            field="password",
        )
    first = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != first:
        raise InvalidParameter("The two passwords are not the same.", hint="Try again.", field="password")
    return first


def _tell_user(user: "User", what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(_user_row(user))
        return
    out.print(f"{what} {_plain(user.name)} ({user.role}).")


def _user_row(user: "User") -> dict[str, Any]:
    return {
        "id": user.id,
        "name": user.name,
        "role": user.role,
        "disabled": user.disabled,
        "issuer": user.issuer,
        "created_at": utc(user.created_at),
    }


def _token_row(token: "ApiToken") -> dict[str, Any]:
    return {
        "id": token.id,
        "user": token.user,
        "name": token.name,
        "scope": token.scope,
        "created_at": utc(token.created_at),
        "expires_at": utc(token.expires_at),
        "revoked_at": utc(token.revoked_at) or None,
    }


def _state(token: "ApiToken", now: float) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at <= now else ""


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
