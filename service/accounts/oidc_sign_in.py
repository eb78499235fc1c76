"""The cookie with which a browser signs in through an identity provider.

It holds what the service must remember between the browser's two requests.

The authorization code flow with PKCE (RFC 7636, S256). `state` binds the answer to the browser,
`nonce` binds the ID token to this sign-in, and the verifier binds the code to both. All three are in a signed cookie that lives
for `LIFE` seconds, so they need no table, and every process can finish the sign-in.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

import jwt

from service.accounts.keyed_hash import keyed_hash
from service.accounts.oidc_provider import OidcProvider, Provider
from service.config import Settings

LIFE = 600  # seconds
LONGEST_COOKIE = 2048  # characters
SCOPES = "openid email profile"
# The cookie of a sign-in that has begun.
COOKIE = "rireki_oidc"
_FIELDS = ("state", "nonce", "verifier", "to")
# Paths of the page. A path that begins with two slashes would be another host.
_PATH = re.compile(r"/(?:[A-Za-z0-9._~-][A-Za-z0-9/._~=&?%-]{0,500})?")


@dataclass(frozen=True, slots=True)
class Oidc:
    """Sign-in through the provider, as one process offers it. `secret` signs the cookies."""

    provider: OidcProvider
    secret: str = field(repr=False)

    @classmethod
    def of(cls, settings: Settings, secret: str) -> "Oidc | None":
        """Returns None if OIDC_ISSUER is not set."""
        if settings.oidc_issuer is None or settings.oidc_client_id is None:
            return None
        provider = Provider(
            settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret, settings.oidc_role_claim
        )
        return cls(OidcProvider(provider, settings.outgoing), secret)


@dataclass(frozen=True, slots=True)
class OidcSignIn:
    """A sign-in that has begun. `to` is the path of the page to show after it."""

    state: str
    nonce: str
    verifier: str
    to: str = "/"

    @classmethod
    def begin(cls, to: str) -> "OidcSignIn":
        path = to if _PATH.fullmatch(to) else "/"
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), path)

    def address(self, authorization_endpoint: str, *, client_id: str, redirect_uri: str) -> str:
        """Returns the provider's address to which the browser goes."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code", "client_id": client_id, "redirect_uri": redirect_uri, "scope": SCOPES,
            "state": self.state, "nonce": self.nonce, "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        parts = urlsplit(authorization_endpoint)
        return parts._replace(query="&".join(filter(None, (parts.query, urlencode(query)))), fragment="").geturl()

    def has_state(self, state: str | None) -> bool:
        return state is not None and hmac.compare_digest(state.encode(), self.state.encode())


def to_cookie(sign_in: OidcSignIn, secret: str) -> str:
    claims = {name: getattr(sign_in, name) for name in _FIELDS} | {"exp": int(time.time()) + LIFE}
    return jwt.encode(claims, _key(secret), algorithm="HS256")


def from_cookie(cookie: str | None, secret: str) -> OidcSignIn | None:
    """Returns the sign-in of a cookie; None if it is missing, forged or expired."""
    if cookie is None or len(cookie) > LONGEST_COOKIE:
        return None
    try:
        claims = jwt.decode(cookie, _key(secret), algorithms=["HS256"], options={"require": ["exp", *_FIELDS]})
    except (jwt.InvalidTokenError, RecursionError, ValueError, TypeError, OverflowError):
        return None  # the decoder raises the last four for a malformed header or malformed claims
    return OidcSignIn(*(str(claims[name]) for name in _FIELDS))


def _key(secret: str) -> bytes:
    return keyed_hash(secret, "oidc sign-in", "")
