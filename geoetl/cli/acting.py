"""Who a command acts as: whoever works on the machine, or a user by one of their tokens."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from geoetl.core.principal import Principal, Role
    from geoetl.platform import Platform

Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="GEOETL_TOKEN",
        show_envvar=True,
        help="Act as the user of this token; left out, as this machine's operator.",
    ),
]


def acting(platform: "Platform", token: str | None, needed: "Role") -> "Principal":
    """Return who acts, if they may.

    Raises:
        Unauthenticated: The token is nobody's, or has ended.
        Forbidden: It does not give the role that is needed.
    """
    from geoetl.core.principal import Forbidden, Principal, Role, Unauthenticated, Via

    if not token:
        return Principal("local", "Local operator", Role.OPERATOR, Via.LOCAL)
    found = platform.identity.token_user(token)
    if found is None:
        raise Unauthenticated("The token is not valid.", hint="Make one with: geoetl tokens create", field="token")
    user, role = found
    if role < needed:
        raise Forbidden(
            f"{user.name} is {role} with this token; for this it takes {needed}.",
            hint=f"Ask somebody who is {needed}.",
        )
    return Principal(user.id, user.name, role, Via.TOKEN)
