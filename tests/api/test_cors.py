"""Pages of listed origins may call the API, and no others."""

from collections.abc import AsyncIterator

import httpx2 as httpx
import pytest

from service.config import ConfigError, load_settings
from tests.http_client import http_client
from tests.service_fixture import PASSWORD, Service, make_context, service, serving

__all__ = ["service"]

LISTED = "https://app.example.com, http://LOCALHOST:3000,https://[2001:DB8:0::1]:443"
APP = "https://app.example.com"
ORIGINS = (APP, "http://localhost:3000", "https://[2001:db8::1]")
OTHERS = (
    "https://evil.example", "http://app.example.com", "https://app.example.com:8443", "https://app.example.com.evil.example",
    "https://APP.example.com", "https://app.example.com/", "null", "", "*",
)  # fmt: skip
SIGN_IN = {"email": "admin@example.com", "password": PASSWORD}


@pytest.fixture
async def sharing(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the same service, which allows the origins in LISTED."""
    context = service.context
    context = make_context(context.database, context.bus, context.store, cors_allowed_origins=LISTED)
    async with serving(context) as url, http_client(url) as client:
        yield client


def cors_headers(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "content-type"}


async def test_a_listed_origin_may_read_answers_and_errors_with_credentials(sharing: httpx.AsyncClient) -> None:
    for origin in ORIGINS:
        for path in ("/api/auth/me", "/api/nothing", "/api/openapi.json"):
            answer = await sharing.get(path, headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})

            assert answer.headers["access-control-allow-origin"] == origin, path
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
            assert "Origin" in answer.headers["vary"]


async def test_another_origin_gets_no_header_and_its_changes_are_refused(sharing: httpx.AsyncClient) -> None:
    for origin in OTHERS:
        read = await sharing.get("/api/openapi.json", headers={"Origin": origin})
        asked = await sharing.options("/api/auth/login", headers=preflight(origin))
        sent = await sharing.post("/api/auth/login", json=SIGN_IN, headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})

        assert [cors_headers(answer) for answer in (read, asked, sent)] == [{}, {}, {}], origin
        assert (asked.status_code, sent.status_code) == (405, 403)
        assert read.headers["vary"] == "Origin"


async def test_a_preflight_of_a_listed_origin_is_answered_without_a_sign_in(sharing: httpx.AsyncClient) -> None:
    for method in ("POST", "PATCH", "DELETE", "GET"):
        answer = await sharing.options("/api/jobs/bulk", headers=preflight(APP, method))

        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == APP
        assert method in answer.headers["access-control-allow-methods"]
        assert {"Authorization", "Content-Type", "Idempotency-Key"} <= set(
            answer.headers["access-control-allow-headers"].split(", ")
        )
        assert len(answer.headers["x-request-id"]) == 32


async def test_a_page_of_a_listed_origin_signs_in_and_changes_things(sharing: httpx.AsyncClient) -> None:
    headers = {"Origin": APP, "Sec-Fetch-Site": "same-site"}

    signed_in = await sharing.post("/api/auth/login", json=SIGN_IN, headers=headers)
    made = await sharing.post("/api/companies", json={"name": "Sample"}, headers=headers)

    assert signed_in.status_code == 200
    assert made.is_success
    assert made.headers["access-control-allow-origin"] == APP


async def test_only_the_api_is_shared(sharing: httpx.AsyncClient) -> None:
    for path in ("/", "/healthz", "/metrics", "/apix"):
        assert cors_headers(await sharing.get(path, headers={"Origin": APP})) == {}
        assert cors_headers(await sharing.options(path, headers=preflight(APP))) == {}


async def test_by_default_nothing_is_shared(service: Service) -> None:
    for origin in (APP, *OTHERS):
        asked = await service.as_nobody.options("/api/auth/login", headers=preflight(origin))
        read = await service.as_admin.get("/api/jobs", headers={"Origin": origin})

        assert [cors_headers(asked), cors_headers(read)] == [{}, {}]
        assert asked.status_code == 405
        assert "vary" not in read.headers


@pytest.mark.parametrize(
    "wrong",
    [
        "*", "null", "app.example.com", "https://*.example.com", "https://app.example.com/", "https://app.example.com/x",
        "https://app.example.com?x", "https://app.example.com#", "https://me@app.example.com", "https://app.example.com:port",
        "https://app.example.com:", "https://app.example.com:99999", "ftp://app.example.com", "https://", ",", f"{APP},",
        "https://a b", "https://app.exa\nmple.com", "https://[::1",
    ],
)  # fmt: skip
def test_a_malformed_origin_is_one_line_at_the_start(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", wrong)

    with pytest.raises(ConfigError, match=r"^CORS_ALLOWED_ORIGINS must be origins separated by commas, [^\n]*$"):
        load_settings()


def test_production_takes_no_origin_that_anyone_in_the_network_can_forge(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "APP_ENV": "production", "DATABASE_URL": "postgresql://x/y", "REDIS_URL": "redis://x", "JWT_SECRET": "x" * 32,
        "CORS_ALLOWED_ORIGINS": f"{APP},http://app.example.com",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match=r"^CORS_ALLOWED_ORIGINS must list only https:// origins in production$"):
        load_settings()
