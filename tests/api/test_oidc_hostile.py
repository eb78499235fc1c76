"""Identity providers, ID tokens and browsers that do not keep the rules."""

import asyncio
import hmac
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from structlog.testing import capture_logs

from service.accounts import oidc_provider
from service.accounts.oidc_provider import LARGEST_ANSWER
from service.accounts.oidc_sign_in import OidcSignIn, from_cookie, to_cookie
from service.api.oidc import CALLBACK
from tests.api.oidc import START, OidcSite, oidc_site, outcome_of, site
from tests.oidc_server import CLIENT_ID, Claims, OidcServer, SigningKey, part
from tests.service_fixture import SECRET, Service, service
from workers.outgoing_http import Outgoing
from workers.outgoing_rules import read_outgoing_allow

__all__ = ["service", "site"]

PATHS = ("/.well-known/openid-configuration", "/token", "/keys")
CHANGED: dict[str, Callable[[Claims], Claims]] = {
    "another issuer": lambda claims: claims | {"iss": "https://evil.example"},
    "a slash more in the issuer": lambda claims: claims | {"iss": claims["iss"] + "/"},
    "another audience": lambda claims: claims | {"aud": "another client"},
    "a list of other audiences": lambda claims: claims | {"aud": ["a", "b"], "azp": CLIENT_ID},
    "several audiences without a party": lambda claims: claims | {"aud": [CLIENT_ID, "another"]},
    "another party": lambda claims: claims | {"azp": "another client"},
    "another party of several": lambda claims: claims | {"aud": [CLIENT_ID, "another"], "azp": "another"},
    "another nonce": lambda claims: claims | {"nonce": "another"},
    "no nonce": lambda claims: {name: value for name, value in claims.items() if name != "nonce"},
    "a nonce that is a number": lambda claims: claims | {"nonce": 7},
    "expired": lambda claims: claims | {"exp": int(time.time()) - 120},
    "never expires": lambda claims: {name: value for name, value in claims.items() if name != "exp"},
    "issued long ago": lambda claims: claims | {"iat": int(time.time()) - 3600},
    "issued in the future": lambda claims: claims | {"iat": int(time.time()) + 3600},
    "issued never": lambda claims: {name: value for name, value in claims.items() if name != "iat"},
    "an infinite time": lambda claims: claims | {"exp": float("inf")},
    "a time that is a text": lambda claims: claims | {"iat": "yesterday"},
    "a time that is true": lambda claims: claims | {"exp": True},
    "not yet valid": lambda claims: claims | {"nbf": int(time.time()) + 3600},
    "no subject": lambda claims: {name: value for name, value in claims.items() if name != "sub"},
    "an empty subject": lambda claims: claims | {"sub": ""},
    "a subject that is a number": lambda claims: claims | {"sub": 7},
    "a subject that is too long": lambda claims: claims | {"sub": "x" * 256},
    "a subject with a NUL": lambda claims: claims | {"sub": "a\0b"},
}


async def test_an_id_token_with_wrong_claims_is_refused(site: OidcSite) -> None:
    def prepare(flaw: str) -> None:
        site.provider.change = CHANGED[flaw]

    assert await site.outcomes(CHANGED, prepare) == dict.fromkeys(CHANGED, "token")
    assert await site.database.fetch_val("select count(*) from identities") == 0


def merged(change: Claims, claims: Claims) -> Claims:
    return claims | change


async def test_an_id_token_for_this_client_is_accepted(site: OidcSite) -> None:
    for change in ({"aud": [CLIENT_ID]}, {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}, {"azp": CLIENT_ID}):
        site.provider.change = partial(merged, change)

        assert await site.outcome() == "/"


def unsigned(provider: OidcServer, claims: Claims) -> str:
    return f"{part({'alg': 'none', 'kid': 'first'})}.{part(claims)}."


def signed_with_the_public_key(provider: OidcServer, claims: Claims) -> str:
    """Returns a token that is signed by HS256, with the provider's public key as the secret.

    Everybody knows this key.
    """
    secret = provider.key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = f"{part({'alg': 'HS256', 'kid': 'first'})}.{part(claims)}"
    mac = hmac.new(secret, text.encode(), sha256).digest()
    return f"{text}.{jwt.utils.base64url_encode(mac).decode()}"


def with_its_own_key_in_the_header(provider: OidcServer, claims: Claims) -> str:
    stranger = SigningKey("first")
    return jwt.encode(claims, stranger.private, "RS256", headers={"kid": "first", "jwk": stranger.public})


TOKENS: dict[str, Callable[[OidcServer, Claims], str]] = {
    "unsigned": unsigned,
    "HS256 with the public key": signed_with_the_public_key,
    "HS256 with the client's secret": lambda _, claims: jwt.encode(claims, "a secret: with signs / and ==" * 2, "HS256"),
    "another key of the same id": lambda _, claims: SigningKey("first").sign(claims),
    "a key in the header": with_its_own_key_in_the_header,
    "RS512": lambda provider, claims: jwt.encode(claims, provider.key.private, "RS512", headers={"kid": "first"}),
    "PS256": lambda provider, claims: jwt.encode(claims, provider.key.private, "PS256", headers={"kid": "first"}),
    "ES256 under the id of an RSA key": lambda _, claims: SigningKey("first", "ES256").sign(claims),
    "no JWT": lambda _, __: "nonsense",
    "nothing": lambda _, __: "",
    "a deep header": lambda _, __: jwt.utils.base64url_encode(b"[" * 20_000).decode() + ".e30.x",
    "changed claims": lambda provider, claims: ".".join(
        [*provider.key.sign(claims).split(".")[:1], part(claims | {"roles": "admin"}), provider.key.sign(claims).split(".")[2]]
    ),
}


async def test_an_id_token_with_a_wrong_signature_is_refused(site: OidcSite) -> None:
    def prepare(flaw: str) -> None:
        site.provider.sign = lambda claims: TOKENS[flaw](site.provider, claims)

    assert await site.outcomes(TOKENS, prepare) == dict.fromkeys(TOKENS, "token")


KEYS: dict[str, Callable[[SigningKey], Any]] = {
    "for encryption": lambda key: [key.public | {"use": "enc"}],
    "for another algorithm": lambda key: [key.public | {"alg": "RS512"}],
    "none": lambda key: [],
    "no objects": lambda key: ["x", 7, None],
    "two of one id": lambda key: [key.public, SigningKey("first").public],
    "symmetric": lambda key: [{"kty": "oct", "kid": "first", "k": "c2VjcmV0", "alg": "RS256"}],
    "malformed": lambda key: [key.public | {"n": "!!!"}],
}


async def test_a_short_rsa_key_is_not_used(site: OidcSite) -> None:
    short = site.provider.key = SigningKey("first", bits=1024)

    def sign(claims: Claims) -> str:
        text = f"{part({'alg': 'RS256', 'kid': 'first'})}.{part(claims)}"
        signature = short.private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{jwt.utils.base64url_encode(signature).decode()}"

    site.provider.sign = sign

    assert await site.outcome() == "token"


async def test_a_token_without_a_key_id_is_checked_with_the_only_fitting_key(site: OidcSite) -> None:
    site.provider.key = SigningKey(None)
    site.provider.keys = [site.provider.key.public, SigningKey("other", "ES256").public]
    assert await site.outcome() == "/"


async def huge() -> Response:
    async def pieces() -> Any:
        for _ in range(2 * LARGEST_ANSWER // 65536 + 1):
            yield b" " * 65536

    return StreamingResponse(pieces(), media_type="application/json")


async def compressed_bomb() -> Response:
    import gzip

    return Response(gzip.compress(b" " * (LARGEST_ANSWER * 100)), headers={"Content-Encoding": "gzip"})


async def redirect() -> Response:
    return RedirectResponse("http://127.0.0.1:9/elsewhere", 302)


async def slow() -> Response:
    await asyncio.sleep(30)
    return JSONResponse({})


async def no_json() -> Response:
    return Response("<html>")


async def a_list() -> Response:
    return JSONResponse([])


async def broken() -> Response:
    return JSONResponse({"error": "server_error"}, 500)


ANSWERS = {
    "huge": huge, "a compressed bomb": compressed_bomb, "a redirect": redirect, "no JSON": no_json,
    "a list": a_list, "an error": broken,
}  # fmt: skip


async def test_a_provider_that_answers_wrongly_signs_nobody_in(site: OidcSite) -> None:
    cases = {f"{path} {flaw}": (path, flaw) for path in PATHS for flaw in ANSWERS}

    def prepare(case: str) -> None:
        path, flaw = cases[case]
        site.provider.answers = {path: ANSWERS[flaw]}

    assert await site.outcomes(cases, prepare) == dict.fromkeys(cases, "provider")


async def test_a_slow_provider_is_not_waited_for(site: OidcSite, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in PATHS:
        site.forget_the_provider()
        site.provider.answers = {}
        assert await site.outcome() == "/"
        if path != "/token":
            site.forget_the_provider()
        site.provider.answers = {path: slow}
        with monkeypatch.context() as patch:
            patch.setattr(oidc_provider, "ANSWERS_WITHIN", 2.0)

            assert await site.outcome() == "provider", path


DOCUMENTS: dict[str, Claims] = {
    "another issuer": {"issuer": "https://evil.example"},
    "no issuer": {"issuer": None},
    "no endpoint": {"token_endpoint": None},
    "a file": {"jwks_uri": "file:///etc/passwd"},
    "a script": {"authorization_endpoint": "javascript:alert(1)"},
    "another scheme": {"token_endpoint": "ftp://x"},
    "no host": {"jwks_uri": "https://"},
    "a list": {"jwks_uri": ["https://x"]},
    "a malformed address": {"jwks_uri": "http://[::1"},
}


async def test_a_provider_that_the_rules_forbid_is_not_called(service: Service) -> None:
    rules = read_outgoing_allow("id.example.com")
    async with oidc_site(service) as site:
        assert site.context.oidc is not None
        site.context.oidc.provider._outgoing = Outgoing(rules=rules)

        assert await site.outcome() == "provider"
        assert site.provider.asked == []


async def test_a_discovery_document_with_wrong_addresses_is_refused(site: OidcSite) -> None:
    def prepare(flaw: str) -> None:
        site.provider.document = DOCUMENTS[flaw]

    assert await site.outcomes(DOCUMENTS, prepare) == dict.fromkeys(DOCUMENTS, "provider")


async def test_a_provider_that_is_away_is_asked_again_later(site: OidcSite) -> None:
    site.provider.answers["/.well-known/openid-configuration"] = broken
    async with site.browser() as browser:
        assert outcome_of(await browser.get(START)) == "provider"

    del site.provider.answers["/.well-known/openid-configuration"]

    assert await site.outcome() == "/"


# The browser --------------------------------------------------------------------------------------------------------------------


async def test_an_answer_counts_only_in_the_browser_that_began(site: OidcSite) -> None:
    """Otherwise somebody could be signed in to an account of the attacker's."""
    async with site.browser() as attacker, site.browser() as victim:
        begun = await attacker.get(START)
        back = await attacker.get(begun.headers["location"])

        assert outcome_of(await victim.get(back.headers["location"])) == "expired"
        await victim.get(START)
        assert outcome_of(await victim.get(back.headers["location"])) == "expired"
        assert site.provider.forms == []


async def test_an_answer_counts_once(site: OidcSite) -> None:
    async with site.browser() as browser:
        begun = await browser.get(START)
        back = await browser.get(begun.headers["location"])
        assert outcome_of(await browser.get(back.headers["location"])) == "/"

        assert outcome_of(await browser.get(back.headers["location"])) == "expired"


async def test_a_code_of_another_sign_in_is_refused_by_its_nonce_and_its_verifier(site: OidcSite) -> None:
    async with site.browser() as other, site.browser() as browser:
        stolen = (await other.get((await other.get(START)).headers["location"])).headers["location"]
        begun = await browser.get(START)
        state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
        code = parse_qs(urlsplit(stolen).query)["code"][0]

        answer = await browser.get(CALLBACK, params={"code": code, "state": state})

    assert outcome_of(answer) == "provider"


async def test_the_answer_of_another_provider_is_refused(site: OidcSite) -> None:
    async with site.browser() as browser:
        begun = await browser.get(START)
        back = await browser.get(begun.headers["location"])
        mixed = str(back.headers["location"]).replace("iss=http", "iss=https")

        assert outcome_of(await browser.get(mixed)) == "token"


async def test_an_error_of_the_provider_is_told_in_a_word_of_ours(site: OidcSite) -> None:
    told = {}
    with capture_logs() as lines:
        for error in ("access_denied", "server_error", "<script>"):
            async with site.browser() as browser:
                begun = await browser.get(START)
                state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
                told[error] = outcome_of(await browser.get(CALLBACK, params={"error": error, "state": state}))

    assert told == {"access_denied": "canceled", "server_error": "provider", "<script>": "provider"}
    assert not [line for line in lines if "script" in str(line)]


async def test_a_callback_without_a_sign_in_is_refused(site: OidcSite) -> None:
    async with site.browser() as browser:
        for query in ("", "?state=", "?state=x", "?code=x", "?state=%ff&code=x", "?error=x", "?state=é&code=x"):
            assert outcome_of(await browser.get(f"{CALLBACK}{query}")) == "expired"


def test_the_cookie_of_a_sign_in_is_signed_and_expires() -> None:
    sign_in = OidcSignIn.begin("/jobs")
    cookie = to_cookie(sign_in, SECRET)
    claims = jwt.decode(cookie, options={"verify_signature": False})

    assert from_cookie(cookie, SECRET) == sign_in
    assert claims["exp"] <= time.time() + 601
    for forged in (None, "", "x.y.z", "x" * 5000, to_cookie(sign_in, SECRET[::-1]), jwt.encode(claims, SECRET, "HS256")):
        assert from_cookie(forged, SECRET) is None
