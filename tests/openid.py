"""A small OpenID provider on the loopback address: discovery, keys, sign-in and tokens, and the faults of bad ones."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from starlette.responses import Response

from tests.served import serving

CLIENT = "geoetl-test"
SECRET = "shared with the client"


@dataclass
class OpenIdProvider:
    """What the provider says of whoever comes, without asking for a password.

    Attributes:
        issuer: Its address.
        claims: What the next ID token says besides what it has to.
        fault: The name of what is wrong with the next answers; see `id_token` and the routes.
        key: What it signs with; a new one can be put in its place.
        asked: Queries of the sign-in, as they came.
    """

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "42", "preferred_username": "olga"})
    fault: str = ""
    key: RSAKey | ECKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "first", "use": "sig"}))
    asked: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def id_token(self, asked: dict[str, str]) -> str:
        """Return the ID token for a sign-in, with the fault that is wanted."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.claims,
        }
        header = {"alg": "ES256" if isinstance(self.key, ECKey) else "RS256", "kid": self.key.kid}
        key: Any = self.key
        if self.fault == "wrong nonce":
            claims["nonce"] = "another"
        elif self.fault == "no nonce":
            del claims["nonce"]
        elif self.fault == "wrong audience":
            claims["aud"] = "another-client"
        elif self.fault == "audience of two, authorised for the other":
            claims |= {"aud": [CLIENT, "another-client"], "azp": "another-client"}
        elif self.fault == "wrong issuer":
            claims["iss"] = "https://evil.example"
        elif self.fault == "expired":
            claims |= {"iat": now - 7200, "exp": now - 3600}
        elif self.fault == "no expiry":
            del claims["exp"]
        elif self.fault == "issued in the future":
            claims["iat"] = now + 3600
        elif self.fault == "no subject":
            del claims["sub"]
        elif self.fault == "bad signature":
            token = jwt.encode(header, claims, key)
            return token[:-8] + ("AAAAAAAA" if token[-8:] != "AAAAAAAA" else "BBBBBBBB")
        elif self.fault == "another key of the same name":
            key = RSAKey.generate_key(2048, {"kid": self.key.kid})
        elif self.fault == "signed with the public key as a shared secret":
            return signed_with_shared(claims, self.key.as_pem(private=False))
        elif self.fault == "signed with the client's secret":
            return signed_with_shared(claims, SECRET.encode())
        elif self.fault == "not signed":
            return f"{part({'alg': 'none'})}.{part(claims)}."
        elif self.fault == "no token at all":
            return "x"
        return str(jwt.encode(header, claims, key, algorithms=[header["alg"]]))


def signed_with_shared(claims: dict[str, Any], key: bytes) -> str:
    """Return a token that is signed with a secret, as a library would take it that looks at its header alone."""
    content = f"{part({'alg': 'HS256'})}.{part(claims)}"
    signature = base64.urlsafe_b64encode(hmac.digest(key, content.encode(), "sha256")).rstrip(b"=").decode()
    return f"{content}.{signature}"


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@contextmanager
def running() -> Iterator[OpenIdProvider]:
    """Serve a provider of its own."""
    provider = OpenIdProvider()
    app = FastAPI()

    @app.get("/.well-known/openid-configuration")
    def described() -> Response:
        if provider.fault == "description is no JSON":
            return Response("<html>", media_type="text/html")
        if provider.fault == "away":
            return Response(status_code=503)
        found = {
            "issuer": "https://evil.example" if provider.fault == "another issuer" else provider.issuer,
            "authorization_endpoint": f"{provider.issuer}/authorize?tenant=1",
            "token_endpoint": f"{provider.issuer}/token",
            "jwks_uri": "http://203.0.113.7/keys" if provider.fault == "plain http" else f"{provider.issuer}/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "id_token_signing_alg_values_supported": ["RS256", "none", "HS256"],
        }
        return JSONResponse(found)

    @app.get("/keys")
    def keys() -> Response:
        shared = {"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("=")}
        return JSONResponse({"keys": [provider.key.as_dict(private=False), shared]})

    @app.get("/authorize")
    def authorize(request: Request) -> Response:
        asked = dict(request.query_params)
        provider.asked.append(asked)
        if provider.fault == "refused":
            return RedirectResponse(
                f"{asked['redirect_uri']}?{urlencode({'error': 'access_denied', 'state': asked['state']})}"
            )
        code = secrets.token_urlsafe(16)
        provider.codes[code] = asked
        state = "another" if provider.fault == "wrong state" else asked["state"]
        more = {"iss": "https://evil.example"} if provider.fault == "answer of another issuer" else {}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': state, **more})}")

    @app.post("/token")
    async def token(request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        credentials = base64.b64encode(f"{CLIENT}:{SECRET.replace(' ', '+')}".encode()).decode()
        plain = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if request.headers.get("authorization") not in (f"Basic {credentials}", f"Basic {plain}"):
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = provider.codes.pop(form.get("code", ""), None)  # a code is good for once
        challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        wanted = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != wanted or asked["redirect_uri"] != form.get("redirect_uri"):
            return JSONResponse({"error": "invalid_grant"}, 400)
        answer = {"access_token": "x", "token_type": "Bearer", "id_token": provider.id_token(asked)}
        if provider.fault == "no ID token":
            del answer["id_token"]
        return JSONResponse(answer)

    with serving(app) as address:
        provider.issuer = address
        yield provider
