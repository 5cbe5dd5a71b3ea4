"""Who asks, and what each role may do; no I/O.

Four roles, each of which may do what those before it may: a viewer reads, an editor changes the catalogue, an approver
decides what becomes public, an operator keeps the server.
"""

from dataclasses import dataclass
from enum import StrEnum

from geoetl.core.errors import GeoetlError


class Role(StrEnum):
    """What someone may do, ordered: ``viewer < editor < approver < operator``."""

    VIEWER = "viewer"
    EDITOR = "editor"
    APPROVER = "approver"
    OPERATOR = "operator"

    @property
    def rank(self) -> int:
        """The place in the order, 0 for the least."""
        return list(Role).index(self)

    # A StrEnum would compare as text, and "approver" is less than "viewer" there.
    def __lt__(self, other: str) -> bool:
        return self.rank < Role(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Role(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Role(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Role(other).rank


class Via(StrEnum):
    """By what someone was recognised."""

    COOKIE = "cookie"
    TOKEN = "token"
    LOCAL = "local"
    PROXY = "proxy"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Attributes:
        id: Id of the user; ``local``, ``proxy`` or ``anonymous`` for who has no row.
        name: As the user is shown.
        role: What they may do with this request; a token may narrow it.
        via: By what they were recognised.
    """

    id: str
    name: str
    role: Role
    via: Via

    def may(self, needed: Role) -> bool:
        """Tell whether this role includes `needed`."""
        return self.role >= needed


class Unauthenticated(GeoetlError):
    """Nobody is known to ask."""

    code = "unauthenticated"
    title = "You are not signed in"
    status = 401
    exit_code = 4


class Forbidden(GeoetlError):
    """Who asks is known, and may not."""

    code = "forbidden"
    title = "Your role does not allow this"
    status = 403
    exit_code = 4


class FourEyes(Forbidden):
    """Who submitted something is not who decides on it."""

    code = "four_eyes"
    title = "Somebody else has to decide this"
