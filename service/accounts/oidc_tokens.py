"""Checks the ID token of an identity provider (OpenID Connect Core 1.0, 3.1.3.7).

Only RS256 and ES256 are accepted, each only with a key of its own kind, so an unsigned token is refused, and so is a
token that is signed with the public key as an HMAC secret.
"""

import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from service.accounts.users import Role

ALGORITHMS = {"RS256": "RSA", "ES256": "EC"}
LEEWAY = 60  # seconds by which the provider's clock may differ from ours
OLDEST = 600  # seconds since the token was issued
SMALLEST_RSA_KEY = 2048  # bits
LONGEST_SUBJECT = 255  # characters
STRONGEST_FIRST = (Role.ADMIN, Role.AUDITOR, Role.EMPLOYEE)


class TokenRefused(Exception):
    """The ID token breaks a rule. The message names the rule and quotes nothing of the token."""


class UnknownKey(TokenRefused):
    """The token is signed with a key that is not among the given keys."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The person whom a checked ID token names."""

    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    name: str | None
    role: Role | None
    """The role that the claim named in OIDC_ROLE_CLAIM gives; None if OIDC_ROLE_CLAIM is not set."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The values that an ID token must have."""

    issuer: str
    client_id: str
    nonce: str
    role_claim: str | None = None


def read_id_token(token: str, keys: Sequence[dict[str, Any]], expected: Expected) -> Identity:
    """Returns who the token is about. `keys` are the provider's JWKs.

    Raises `TokenRefused`, `UnknownKey`.
    """
    claims = _verified(token, keys, expected)
    _check_parties(claims, expected)
    if not hmac.compare_digest(_text(claims.get("nonce")).encode(), expected.nonce.encode()):
        raise TokenRefused("nonce is not that of this sign-in")
    if claims["iat"] < time.time() - OLDEST - LEEWAY:
        raise TokenRefused("iat is too old")
    subject = claims["sub"]
    if not (isinstance(subject, str) and 0 < len(subject) <= LONGEST_SUBJECT and subject.isprintable()):
        raise TokenRefused(f"sub is not a text of 1 to {LONGEST_SUBJECT} printable characters")
    role = None if expected.role_claim is None else role_in(claims.get(expected.role_claim))
    verified = claims.get("email_verified") is True
    return Identity(
        expected.issuer, subject, _text(claims.get("email")) or None, verified, _text(claims.get("name")) or None, role
    )


def role_in(claim: object) -> Role:
    """Returns the strongest role that a claim names.

    The claim is a text or a list. If it names no role, the role is `employee`.
    """
    named = claim if isinstance(claim, list) else [claim]
    return next((role for role in STRONGEST_FIRST if role.value in named), Role.EMPLOYEE)


def _verified(token: str, keys: Sequence[dict[str, Any]], expected: Expected) -> dict[str, Any]:
    try:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise TokenRefused("alg is neither RS256 nor ES256")
        key = _key_for(algorithm, header.get("kid"), keys)
        claims: dict[str, Any] = jwt.decode(
            token, key.key, algorithms=[algorithm], audience=expected.client_id, issuer=expected.issuer, leeway=LEEWAY,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )  # fmt: skip
    except jwt.PyJWTError as error:
        raise TokenRefused(f"{type(error).__name__}: it does not pass the check of the signature and the claims") from error
    except (RecursionError, ValueError, TypeError, OverflowError) as error:
        raise TokenRefused("it is malformed") from error
    if type(claims["iat"]) not in (int, float) or type(claims["exp"]) not in (int, float):
        raise TokenRefused("iat and exp are not numbers")
    return claims


def _key_for(algorithm: str, kid: object, keys: Sequence[dict[str, Any]]) -> jwt.PyJWK:
    """Returns the key with this id; for a token without an id, the only key of the right kind."""
    fitting = [key for key in keys if _fits(key, algorithm) and (kid is None or key.get("kid") == kid)]
    if len(fitting) != 1:
        raise UnknownKey("it is signed with a key that the provider does not list")
    key = jwt.PyJWK.from_dict(fitting[0], algorithm)
    if algorithm == "RS256" and key.key.key_size < SMALLEST_RSA_KEY:
        raise TokenRefused(f"its key has less than {SMALLEST_RSA_KEY} bits")
    return key


def _fits(key: dict[str, Any], algorithm: str) -> bool:
    return (
        key.get("kty") == ALGORITHMS[algorithm]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (algorithm != "ES256" or key.get("crv") == "P-256")
    )


def _check_parties(claims: dict[str, Any], expected: Expected) -> None:
    """Checks that a token for several clients was issued to this client.

    Raises `TokenRefused`.
    """
    audience, party = claims["aud"], claims.get("azp")
    if isinstance(audience, list) and len(audience) > 1 and party is None:
        raise TokenRefused("aud names several clients, and azp is missing")
    if party is not None and party != expected.client_id:
        raise TokenRefused("azp is another client")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
