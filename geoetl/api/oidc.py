"""Sign in with an OpenID provider: authorization code with PKCE (OpenID Connect Core 1.0, RFC 7636, RFC 9700).

What is remembered between going and coming back lies in a signed cookie, so that any server of the database can finish
what another began.
"""

import hashlib
import hmac
import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import anyio.to_thread
import httpx
from authlib.oidc.core import CodeIDToken
from cachetools import TTLCache
from itsdangerous import BadSignature
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from starlette.requests import Request

from geoetl.api.security import Asked, Authority, is_loopback
from geoetl.core.errors import ConfigurationError, Conflict, Unavailable
from geoetl.core.principal import Forbidden, Role, Unauthenticated
from geoetl.store.identity import MAX_NAME_LENGTH, User

# Whoever signs in there has so long for it.
LIFETIME_S = 600
# The provider's clock and ours.
LEEWAY_S = 60
TIMEOUT_S = 10.0
# Keys are exchanged within a day; an unknown one is looked up at once, but not more often than this.
_KEYS_AGAIN_S = 60.0
_DESCRIPTION_S = 3600.0
_MAX_ANSWER = 1024 * 1024
# Signed with a private key: never "none", and never a shared secret that a public key could be taken for.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
# More answers than this are not kept in mind; the oldest are over anyway.
_ANSWERS = 10_000


@dataclass(frozen=True)
class _Description:
    """What a provider says of itself (OpenID Connect Discovery 1.0)."""

    authorize: str
    token: str
    keys: str
    methods: tuple[str, ...]


class Provider:
    """The OpenID provider of the settings.

    Args:
        authority: Has the settings, the users and the key that signs.
    """

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._settings = authority.settings
        self._issuer = str(self._settings.oidc_issuer)
        self._kept = authority.serializer("oidc")
        self._described: TTLCache[str, _Description] = TTLCache(1, _DESCRIPTION_S)
        self._keys: tuple[float, KeySet] | None = None
        # An answer of the provider is taken once.
        self._used: TTLCache[str, bool] = TTLCache(_ANSWERS, LIFETIME_S)

    async def begin(self, request: Request, back: str) -> tuple[str, str]:
        """Return the address at the provider, and what the browser keeps until it comes back.

        Raises:
            Unavailable: The provider does not answer.
            ConfigurationError: It is not what the settings say.
        """
        described = await self._description()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        query = {
            "response_type": "code",
            "client_id": str(self._settings.oidc_client_id),
            "redirect_uri": self._callback(request),
            "scope": self._settings.oidc_scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        kept = self._kept.dumps([state, nonce, verifier, back, int(time.time()) + LIFETIME_S])
        joint = "&" if urlsplit(described.authorize).query else "?"
        return f"{described.authorize}{joint}{urlencode(query)}", kept if isinstance(kept, str) else kept.decode()

    async def finish(self, request: Request, kept: str) -> tuple[User, str]:
        """Return the user for whom the provider vouches, and where to go on.

        Args:
            request: The browser's, as the provider sent it back.
            kept: What the browser kept.

        Raises:
            Unauthenticated: The answer is not for this browser, is old, was used before, or proves nothing.
            Forbidden: The person has no role here.
            Unavailable: The provider does not answer.
        """
        state, nonce, verifier, back = self._remembered(kept)
        given = request.query_params
        if not hmac.compare_digest(given.get("state", "").encode(), state.encode()) or state in self._used:
            raise Unauthenticated(
                "This answer was not meant for this browser, or was used before. Please sign in again."
            )
        self._used[state] = True
        # RFC 9207: an answer of another provider is not brought to this one.
        if given.get("iss", self._issuer) != self._issuer:
            raise Unauthenticated("The answer is another provider's. Please sign in again.")
        if "error" in given or not given.get("code"):
            raise Unauthenticated("Your organisation did not let you in.")
        claims = await self._claims(await self._exchanged(request, given["code"], verifier), nonce)
        return await self._user(claims), back

    def _remembered(self, kept: str) -> tuple[str, str, str, str]:
        try:
            state, nonce, verifier, back, until = self._kept.loads(kept)
        except (BadSignature, ValueError, TypeError):
            until = 0
        if until < time.time():
            raise Unauthenticated("This took too long, or cookies are switched off. Please sign in again.")
        return state, nonce, verifier, back

    async def _exchanged(self, request: Request, code: str, verifier: str) -> str:
        """Return the ID token for a code (RFC 6749, section 4.1.3)."""
        described = await self._description()
        client_id, secret = str(self._settings.oidc_client_id), self._settings.oidc_client_secret
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._callback(request),
            "code_verifier": verifier,
        }
        credentials = None
        if secret is not None and described.methods[0] == "client_secret_basic":
            credentials = httpx.BasicAuth(quote_plus(client_id), quote_plus(secret.get_secret_value()))
        else:
            form |= {"client_id": client_id, **({"client_secret": secret.get_secret_value()} if secret else {})}
        answer = await self._asked("POST", described.token, data=form, auth=credentials)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Unauthenticated("Your organisation did not accept the answer. Please sign in again.")
        return token

    async def _claims(self, token: str, nonce: str) -> Mapping[str, Any]:
        """Return what an ID token says, once its signature, issuer, audience, time and nonce are right."""
        try:
            try:
                read = self._read(token, await self._key_set())
            except (JoseError, ValueError):
                # The provider may have exchanged its keys since.
                read = self._read(token, await self._key_set(again=True))
            claims = CodeIDToken(
                read.claims,
                read.header,
                {
                    "iss": {"essential": True, "value": self._issuer},
                    "sub": {"essential": True},
                    "aud": {"essential": True, "value": self._settings.oidc_client_id},
                    "exp": {"essential": True},
                    "iat": {"essential": True},
                    "nonce": {"essential": True, "value": nonce},
                },
                {"nonce": nonce, "client_id": self._settings.oidc_client_id},
            )
            claims.validate(leeway=LEEWAY_S)
        except (JoseError, ValueError, TypeError):
            raise Unauthenticated(
                "What your organisation says about you is not proven. Please sign in again."
            ) from None
        return dict(read.claims)

    @staticmethod
    def _read(token: str, keys: KeySet) -> jwt.Token:
        return jwt.decode(token, keys, registry=JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False))

    async def _user(self, claims: Mapping[str, Any]) -> User:
        role = self._role(claims.get(self._settings.oidc_role_claim))
        if role is None:
            raise Forbidden("You have no role on this server. An operator of it can give you one.")
        subject = str(claims["sub"])
        told = claims.get(self._settings.oidc_name_claim) or claims.get("email") or claims.get("name") or subject
        name = str(told)[:MAX_NAME_LENGTH]

        def look() -> User:
            try:
                return self._authority.identity.external(self._issuer, subject, name, role)
            except Conflict:
                # A local user, or someone else there, has that name: they must not be taken for each other.
                mark = hashlib.sha256(f"{self._issuer}\n{subject}".encode()).hexdigest()[:6]
                return self._authority.identity.external(
                    self._issuer, subject, f"{name[: MAX_NAME_LENGTH - 9]} ({mark})", role
                )

        try:
            user = await anyio.to_thread.run_sync(look)
        except ConfigurationError:
            raise Forbidden(
                "This server only reads, and you are new to it or your role has changed. Sign in at one that writes."
            ) from None
        if user.disabled:
            raise Forbidden("This account is disabled. An operator of this server can enable it.")
        return user

    def _role(self, claim: object) -> Role | None:
        groups = claim if isinstance(claim, list) else [claim]
        roles = [role for group, role in self._settings.oidc_roles.items() if group in groups]
        return max(roles, default=self._settings.oidc_default_role)

    # -- the provider ------------------------------------------------------------------------------------------------

    def _callback(self, request: Request) -> str:
        asked: Asked = request.state.asked
        base = self._settings.public_url or f"{asked.origin}{request.scope.get('root_path', '').rstrip('/')}"
        return f"{base.rstrip('/')}/login/oidc/callback"

    async def _description(self) -> _Description:
        known: _Description | None = self._described.get(self._issuer)
        if known is not None:
            return known
        found = await self._asked("GET", f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        try:
            described = _Description(
                authorize=str(found["authorization_endpoint"]),
                token=str(found["token_endpoint"]),
                keys=str(found["jwks_uri"]),
                methods=tuple(
                    method
                    for method in ("client_secret_basic", "client_secret_post")
                    if method in found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
                ),
            )
        except KeyError as error:
            raise self._not_as_told(f"it does not tell its {error.args[0]}") from None
        if found.get("issuer") != self._issuer:
            raise self._not_as_told(f"it calls itself '{str(found.get('issuer'))[:200]}'")
        for address in (self._issuer, described.authorize, described.token, described.keys):
            parts = urlsplit(address)
            if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
                raise self._not_as_told("not all of its addresses are https")
        if not described.methods and self._settings.oidc_client_secret:
            raise self._not_as_told("it takes the client's secret neither as basic authentication nor in the form")
        self._described[self._issuer] = described
        return described

    async def _key_set(self, *, again: bool = False) -> KeySet:
        now = time.monotonic()
        if self._keys is None or (again and now - self._keys[0] > _KEYS_AGAIN_S):
            found = await self._asked("GET", (await self._description()).keys)
            # A shared key among them would let whoever knows it sign in anybody.
            keys = [key for key in found.get("keys", []) if isinstance(key, dict) and key.get("kty") != "oct"]
            self._keys = (now, KeySet.import_key_set({"keys": keys}))
        return self._keys[1]

    async def _asked(self, method: str, address: str, **options: Any) -> dict[str, Any]:
        """Return what the provider answers; of a refusal, its error."""
        body = b""
        try:
            async with (
                httpx.AsyncClient(timeout=TIMEOUT_S) as client,
                client.stream(method, address, **options) as answer,
            ):
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _MAX_ANSWER:
                        raise self._away()
            found = json.loads(body)
        except (httpx.HTTPError, ValueError):
            raise self._away() from None
        if not isinstance(found, dict) or answer.is_server_error:
            raise self._away()
        return found

    def _away(self) -> Unavailable:
        return Unavailable("Your organisation's sign-in does not answer now.", hint="Try again in a minute.")

    def _not_as_told(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"The OpenID provider is not as the settings say: {what}.",
            hint="Correct GEOETL_SECURITY__OIDC_ISSUER.",
            field="GEOETL_SECURITY__OIDC_ISSUER",
        )
