"""Tokens for a user name and a password (OAuth 2.0, RFC 6749 4.3 and 6)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from geoetl.core.errors import UnreadableFile
from geoetl.datasets.upstream.credentials import Auth
from geoetl.datasets.upstream.errors import SourceRefused

if TYPE_CHECKING:
    from geoetl.datasets.upstream.client import Upstream


class PasswordGrant:
    """A `Bearer` that has its tokens for a user name and a password, and renews them.

    Args:
        upstream: Asks for them.
        url: The token endpoint.
        username, password: Names of the credentials.
        fields: Further fields of the form, such as ``client_id``.
    """

    def __init__(
        self, upstream: "Upstream", url: str, *, username: str, password: str, fields: Mapping[str, str] | None = None
    ) -> None:
        self._upstream = upstream
        self._url = url
        self._user = Auth(form={"username": username, "password": password})
        self._fields = dict(fields or {})
        self._token = ""
        self._renewing = Auth(form={"refresh_token": f"refresh token of {username}"})
        self._can_renew = False

    def __repr__(self) -> str:
        return f"PasswordGrant({' and '.join(self.names)})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the credentials."""
        return self._user.names

    def token(self) -> str:
        """Return the token; at the first call it is asked for."""
        return self._token or self._asked({"grant_type": "password"}, self._user)

    def refreshed(self) -> str:
        """Return a new token: for the refresh token, else for the password."""
        if self._can_renew:
            try:
                return self._asked({"grant_type": "refresh_token"}, self._renewing)
            except SourceRefused:  # it is too old as well
                self._can_renew = False
        return self._asked({"grant_type": "password"}, self._user)

    def _asked(self, fields: Mapping[str, str], auth: Auth) -> str:
        answer = self._upstream.post_form(self._url, {**self._fields, **fields}, auth=auth)
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token.isprintable() or not token:
            raise UnreadableFile(
                "The source answered a sign-in without a token.",
                hint="See whether the source has changed how one signs in.",
                field="source_url",
            )
        refresh = answer.get("refresh_token")
        if isinstance(refresh, str):
            self._upstream.keep_secret(refresh, self._renewing.names[0])
            self._can_renew = True
        self._upstream.keep_secret(token)
        self._token = token
        return token
