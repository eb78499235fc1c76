"""Asks an identity provider: its configuration, its keys, and an ID token for a code.

Each answer is at most `LARGEST_ANSWER` bytes, arrives within `ANSWERS_WITHIN` seconds, and is no redirect. The
configuration and the keys are kept for `KEPT_FOR` seconds. A token that names an unknown key causes the keys to be read
again, at most once in `KEYS_REST` seconds, so tokens with invented keys cannot make this process flood the provider.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2 as httpx
import orjson

from service.accounts.oidc_tokens import Expected, Identity, UnknownKey, read_id_token
from workers.http_body import ACCEPT_ENCODING, UnreadableBody, read_body
from workers.outgoing_http import Outgoing
from workers.outgoing_rules import OutgoingRefused

LARGEST_ANSWER = 256 * 1024  # bytes of the longest answer that is read
ANSWERS_WITHIN = 5.0  # seconds
KEPT_FOR = 3600.0  # seconds in which the provider must answer
# Seconds for which the configuration and the keys are kept before the keys may be read again
# because of an unknown key.
KEYS_REST = 30.0
MOST_KEYS = 100
ONE_CONNECTION = httpx.Limits(max_connections=1)
HEADERS = {"accept": "application/json", "accept-encoding": ACCEPT_ENCODING, "user-agent": "rireki"}


class ProviderFailed(Exception):
    """The provider gave no answer, or an answer that breaks a rule.

    The message says how, without quoting the answer.
    """


@dataclass(frozen=True, slots=True)
class Provider:
    """The settings: OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET, OIDC_ROLE_CLAIM."""

    issuer: str
    client_id: str
    client_secret: str | None
    role_claim: str | None


@dataclass(frozen=True, slots=True)
class Configuration:
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods: tuple[str, ...]


class OidcProvider:
    """The provider, as one process knows it."""

    def __init__(self, provider: Provider, outgoing: Outgoing) -> None:
        self.provider = provider
        self._outgoing = outgoing
        self._configuration: tuple[Configuration, float] | None = None
        self._keys: list[dict[str, Any]] = []
        self._keys_read_at = float("-inf")
        self._one_at_a_time = asyncio.Lock()

    async def configuration(self) -> Configuration:
        """Returns the provider's discovery document. Raises `ProviderFailed`."""
        async with self._one_at_a_time:
            if self._configuration is None or time.monotonic() >= self._configuration[1]:
                document = await self._ask("GET", f"{self.provider.issuer.rstrip('/')}/.well-known/openid-configuration")
                self._configuration = _read_configuration(document, self.provider.issuer), time.monotonic() + KEPT_FOR
            return self._configuration[0]

    async def identity(self, code: str, *, verifier: str, redirect_uri: str, nonce: str) -> Identity:
        """Exchanges a code for an ID token and returns whom the token is about.

        Raises `ProviderFailed`, `TokenRefused`.
        """
        token = await self._exchange(code, verifier, redirect_uri)
        expected = Expected(self.provider.issuer, self.provider.client_id, nonce, self.provider.role_claim)
        keys = await self._known_keys()
        try:
            return read_id_token(token, keys, expected)
        except UnknownKey:
            fresh = await self._fresh_keys()
            return read_id_token(token, fresh, expected)

    async def _exchange(self, code: str, verifier: str, redirect_uri: str) -> str:
        configuration, provider = await self.configuration(), self.provider
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
        basic: tuple[str, str] | None = None
        if provider.client_secret is None:
            form["client_id"] = provider.client_id
        elif "client_secret_basic" in configuration.token_endpoint_auth_methods:
            basic = quote(provider.client_id, safe=""), quote(provider.client_secret, safe="")
        else:
            form |= {"client_id": provider.client_id, "client_secret": provider.client_secret}
        answer = await self._ask("POST", configuration.token_endpoint, data=form, auth=basic)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise ProviderFailed("the answer of the token endpoint has no id_token")
        return token

    async def _known_keys(self) -> list[dict[str, Any]]:
        if time.monotonic() - self._keys_read_at < KEPT_FOR:
            return self._keys
        return await self._fresh_keys()

    async def _fresh_keys(self) -> list[dict[str, Any]]:
        """Reads the keys again, unless they were read a moment ago."""
        uri = (await self.configuration()).jwks_uri
        async with self._one_at_a_time:
            if time.monotonic() - self._keys_read_at >= KEYS_REST:
                keys = (await self._ask("GET", uri)).get("keys")
                if not isinstance(keys, list):
                    raise ProviderFailed("the answer of jwks_uri has no list of keys")
                self._keys = [key for key in keys[:MOST_KEYS] if isinstance(key, dict)]
                self._keys_read_at = time.monotonic()
            return self._keys

    async def _ask(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        """Sends a request and returns the JSON object of its answer. Raises `ProviderFailed`."""
        where = urlsplit(url).path
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                client = await asyncio.to_thread(
                    self._outgoing.client, url, limits=ONE_CONNECTION, headers=HEADERS, timeout=ANSWERS_WITHIN
                )
                async with client, client.stream(method, url, **options) as response:
                    status, body = response.status_code, await read_body(response, LARGEST_ANSWER)
        except UnreadableBody as error:
            raise ProviderFailed(f"the answer of {where} {error}") from error
        except OutgoingRefused as refusal:
            raise ProviderFailed(str(refusal)) from refusal
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            raise ProviderFailed(f"{where} does not answer: {type(error).__name__}") from error
        if status != 200:
            raise ProviderFailed(f"{where} answers with status {status}")
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise ProviderFailed(f"the answer of {where} is no JSON object")
        return document


def _read_configuration(document: dict[str, Any], issuer: str) -> Configuration:
    """Returns the configuration in the discovery document of `issuer`.

    Raises `ProviderFailed` if the document is another issuer's or lacks an endpoint.
    """
    if document.get("issuer") != issuer:
        raise ProviderFailed("the issuer in the discovery document is not OIDC_ISSUER")
    methods = document.get("token_endpoint_auth_methods_supported")
    listed = tuple(str(method) for method in methods) if isinstance(methods, list) else ("client_secret_basic",)
    return Configuration(
        authorization_endpoint=_address(document, "authorization_endpoint", issuer),
        token_endpoint=_address(document, "token_endpoint", issuer),
        jwks_uri=_address(document, "jwks_uri", issuer),
        token_endpoint_auth_methods=listed,
    )


def _address(document: dict[str, Any], name: str, issuer: str) -> str:
    address = document.get(name)
    # The issuer may be http only in development. An https issuer must not lead to http.
    schemes = {"https", urlsplit(issuer).scheme}
    try:
        usable = isinstance(address, str) and urlsplit(address).scheme in schemes and bool(urlsplit(address).hostname)
    except ValueError:
        usable = False
    if not usable:
        raise ProviderFailed(f"{name} in the discovery document is no https address")
    return str(address)
