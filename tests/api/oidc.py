"""A fixture with the API and an identity provider, and a browser that signs in."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2 as httpx
import pytest

from events.database import Database, Row
from service.http.context import ApiContext
from tests.http_client import http_client
from tests.oidc_server import CLIENT_ID, CLIENT_SECRET, OidcServer, oidc_server
from tests.service_fixture import Service, make_context, serving

START = "/api/auth/oidc/start"


@dataclass
class OidcSite:
    """The service with OIDC, and its provider."""

    url: str
    context: ApiContext
    provider: OidcServer
    service: Service

    @property
    def database(self) -> Database:
        return self.context.database

    def browser(self) -> httpx.AsyncClient:
        return http_client(self.url, timeout=30)

    async def sign_in(self, browser: httpx.AsyncClient, start: str = START) -> httpx.Response:
        """Follows the redirects of a sign-in and returns the last answer."""
        to_provider = await browser.get(start)
        back = await browser.get(to_provider.headers["location"])
        return await browser.get(back.headers["location"])

    async def outcome(self) -> str:
        """Signs in with a new browser. Returns the path of the page, or the reason of the refusal."""
        async with self.browser() as browser:
            begun = await browser.get(START)
            if begun.headers["location"].startswith("/?"):
                return outcome_of(begun)
            back = await browser.get(begun.headers["location"])
            return outcome_of(await browser.get(back.headers["location"]))

    async def outcomes(self, flaws: Iterable[str], prepare: Callable[[str], None]) -> dict[str, str]:
        """Signs in once for each flaw. Returns the outcome of each.

        Before each sign-in, `prepare` makes the flaw, and the service forgets what it knows of the
        provider.
        """
        told = {}
        for flaw in flaws:
            self.forget_the_provider()
            prepare(flaw)
            told[flaw] = await self.outcome()
        return told

    def forget_the_provider(self) -> None:
        assert self.context.oidc is not None
        self.context.oidc.provider._configuration = None
        self.context.oidc.provider._keys_read_at = float("-inf")

    async def user(self, email: str) -> Row | None:
        return await self.database.fetch_one("select * from users where email = :email", {"email": email})


def outcome_of(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    parts = urlsplit(answer.headers["location"])
    if not parts.query:
        return parts.path
    assert parts.path == "/"
    assert not [cookie for cookie in answer.headers.get_list("set-cookie") if "session" in cookie]
    return parse_qs(parts.query)["refused"][0]


@contextlib.asynccontextmanager
async def oidc_site(service: Service, **settings: Any) -> AsyncIterator[OidcSite]:
    context = service.context
    async with oidc_server() as provider:
        given = {"oidc_issuer": provider.url, "oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET} | settings
        with_oidc = make_context(context.database, context.bus, context.store, **given)
        async with serving(with_oidc) as url:
            yield OidcSite(url, with_oidc, provider, service)


@pytest.fixture
async def site(service: Service) -> AsyncIterator[OidcSite]:
    async with oidc_site(service, oidc_role_claim="roles") as opened:
        yield opened
