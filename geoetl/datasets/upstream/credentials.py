"""Who asks: credentials by the names of their environment variables, and how a request shows them.

A handler names credentials and never sees their values; whatever is said is gone over for them once more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, quote_plus, unquote_plus

from geoetl.core.errors import ConfigurationError
from geoetl.core.logging import REDACTED


class Bearer(Protocol):
    """Gives the token of ``Authorization: Bearer`` (RFC 6750)."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the credentials that tokens are had for."""
        ...

    def token(self) -> str:
        """Return the token to show."""
        ...

    def refreshed(self) -> str:
        """Return a new one; asked for once, when the last was refused (401)."""
        ...


@dataclass(frozen=True)
class Auth:
    """How a request shows who asks; the values are names of credentials, which are names of environment variables.

    Attributes:
        query: By parameter of the query; ``{"token": "WDPA_AUTH_TOKEN"}`` is sent as ``?token=…``.
        headers: By header.
        form: By field of a form.
        bearer: Gives a token.
    """

    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    bearer: Bearer | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The credentials that are used."""
        of_bearer = self.bearer.names if self.bearer else ()
        return tuple(dict.fromkeys((*self.query.values(), *self.headers.values(), *self.form.values(), *of_bearer)))


class Secrets:
    """Values that are sent and never shown.

    Args:
        credentials: Value of each, by its name.
    """

    def __init__(self, credentials: Mapping[str, str]) -> None:
        # What is read from a file ends in a line break, and none is part of a credential.
        self._values = {name: value.strip() for name, value in credentials.items()}
        self._known = {value for value in self._values.values() if value}

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._values)})"

    def value(self, name: str) -> str:
        """Return the value of a credential.

        Raises:
            ConfigurationError: It is not set, or cannot be sent.
        """
        # No variable has the value: errors are shown with the variables of their frames, too.
        if not self._values.get(name):
            raise ConfigurationError(
                f"The credential '{name}' is not set.", hint=f"Set the environment variable {name}.", field=name
            )
        if not self._values[name].isprintable():
            raise ConfigurationError(
                f"The credential '{name}' has a line break or another sign in it that cannot be sent.",
                hint=f"Set the environment variable {name} to the credential and nothing else.",
                field=name,
            )
        return self._values[name]

    def keep(self, value: str, name: str | None = None) -> None:
        """Never show `value` from now on; with a name, it can be sent by that."""
        if value:
            self._known.add(value)
        if name is not None:
            self._values[name] = value

    def are_in(self, text: str) -> bool:
        """Tell whether one of them is in `text`, as it is or percent-encoded."""
        return any(value in text or value in unquote_plus(text) for value in self._known)

    def hide(self, text: str) -> str:
        """Return `text` without them."""
        for value in sorted(self._known, key=len, reverse=True):
            for written in {value, quote(value, safe=""), quote(value), quote_plus(value)}:
                text = text.replace(written, REDACTED)
        return text
