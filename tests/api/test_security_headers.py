"""Every response has the security headers, also streams, files and early refusals."""

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2 as httpx
import pytest
from starlette.routing import Route

from service.api import app as application
from service.api.app import ENDPOINTS, Application, create_app
from service.http import protocol as http_protocol
from service.http.context import ApiContext
from service.http.headers import ALWAYS, DOCS_POLICY, IN_PRODUCTION, PAGE_POLICY, UNLESS_GIVEN
from service.page import ADDRESSES, Page
from tests.api.test_http_protocol import HEALTH, sent
from tests.api.test_http_refusals import REFUSED
from tests.http_client import http_client
from tests.service_fixture import Service, make_context, service, serving

__all__ = ["service"]

NO_STORE, ASK_EACH_TIME, FOR_EVER = "no-store", "no-cache", "public, max-age=31536000, immutable"
API_POLICY = UNLESS_GIVEN["Content-Security-Policy"]
HTML = {"Accept": "text/html"}
SOME_ID = "01a20a62-6488-7fee-a1a5-07c966751dd3"


def without_security_headers(
    headers: httpx.Headers, policy: str = API_POLICY, caching: str = NO_STORE
) -> dict[str, str | None]:
    """Returns the security headers that are missing or have another value, or that came twice."""
    wanted = ALWAYS | {"Content-Security-Policy": policy, "Cache-Control": caching}
    return {name: headers.get(name) for name, value in wanted.items() if headers.get_list(name) != [value]}


@pytest.fixture
def page(tmp_path: Path) -> Page:
    """A built page: its document, a file with a hash in its name, and another file."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>", "utf-8")
    (tmp_path / "licenses.txt").write_text("MIT", "utf-8")
    (tmp_path / "assets" / "index-a1b2.js").write_text("1", "utf-8")
    return Page(tmp_path)


@pytest.fixture
async def built(service: Service, page: Page, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the same service, which serves the built page. The client has no token."""
    monkeypatch.setattr(application, "Page", lambda: page)
    async with serving(service.context) as url, http_client(url, timeout=30) as client:
        yield client


def routes_of(context: ApiContext, page: Page) -> list[tuple[str, str]]:
    """Returns the method and the path of every route, with an id in place of each parameter."""
    app: Application = create_app(context, page)
    paths: dict[str, set[str]] = {}
    for route in app.router.routes:
        for each in getattr(route, "_routes", {}).values() if not isinstance(route, Route) else [route]:
            paths.setdefault(re.sub(r"{\w+(:\w+)?}", SOME_ID, each.path), set()).update(each.methods or {"GET"})
    return sorted((method, path) for path, methods in paths.items() for method in {*methods, "OPTIONS"})


async def test_every_route_answers_every_role_with_the_headers(service: Service, built: httpx.AsyncClient, page: Page) -> None:
    declared = {(endpoint.method, re.sub(r"{\w+(:\w+)?}", SOME_ID, endpoint.path)) for endpoint in ENDPOINTS}
    routes = routes_of(service.context, page)
    tokens = [
        {},
        *(
            {"Authorization": client.headers["Authorization"]}
            for client in (service.as_employee, service.as_auditor, service.as_admin)
        ),
    ]
    wrong = {}

    for method, path in routes:
        for token in tokens:
            async with built.stream(method, path, headers=token, timeout=30) as answer:
                policy, caching = expected(path, answer)
                if missing := without_security_headers(answer.headers, policy, caching):
                    wrong[method, path, answer.status_code] = missing

    assert declared <= set(routes)
    assert ("GET", "/jobs") in routes
    assert wrong == {}


def expected(path: str, answer: httpx.Response) -> tuple[str, str]:
    """Returns the Content-Security-Policy and the Cache-Control of a response."""
    if not answer.is_success or path.startswith("/api/") or path in ("/healthz", "/readyz", "/metrics", "/home.css"):
        return (DOCS_POLICY if path == "/api/docs" and answer.is_success else API_POLICY), NO_STORE
    return PAGE_POLICY, ASK_EACH_TIME


async def test_files_and_documents_of_the_page_have_the_headers(built: httpx.AsyncClient) -> None:
    documents = [await built.get(path, headers=HTML) for path in (*ADDRESSES, "/jobs/1", "/nothing", "/licenses.txt")]
    asset = await built.get("/assets/index-a1b2.js")
    again = await built.get("/assets/index-a1b2.js", headers={"If-None-Match": asset.headers["etag"]})
    head = await built.head("/jobs")

    for answer in (*documents, head):
        assert without_security_headers(answer.headers, PAGE_POLICY, ASK_EACH_TIME) == {}, answer.url
    assert (asset.status_code, again.status_code) == (200, 304)
    for answer in (asset, again):
        assert without_security_headers(answer.headers, PAGE_POLICY, FOR_EVER) == {}


async def test_streams_have_the_headers(service: Service) -> None:
    job = await service.job_of(service.admin)
    for path in ("/api/jobs/stream", f"/api/jobs/{job.id}/events"):
        async with service.as_admin.stream("GET", path, headers={"Accept": "text/event-stream"}) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert without_security_headers(answer.headers) == {}


async def test_errors_have_the_headers(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = service.as_nobody
    traced = await nobody.request("TRACE", "/api/auth/me")
    answers = [await nobody.get("/api/nothing"), await nobody.delete("/api/jobs"), await nobody.post("/api/auth/login")]
    monkeypatch.setattr("service.http.endpoint.read_query", None)
    answers.append(await nobody.get("/healthz"))

    assert [answer.status_code for answer in (traced, *answers)] == [405, 404, 405, 415, 500]
    for answer in (traced, *answers):
        assert without_security_headers(answer.headers) == {}


def headers_in(answer: bytes) -> httpx.Headers:
    """Returns the headers of the last response."""
    head = answer.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")[0]
    lines = [line.partition(b": ") for line in head.split(b"\r\n")[1:]]
    return httpx.Headers([(name, value) for name, _, value in lines])


async def test_refusals_below_the_application_have_the_headers_and_a_date(service: Service) -> None:
    for request in (*REFUSED, HEALTH + b"\r\nNONSENSE\r\n\r\n"):
        headers = headers_in(await sent(service, request, end=False))

        assert without_security_headers(headers) == {}, request
        assert headers["date"].endswith("GMT"), request


async def test_a_refused_slow_request_has_the_headers(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "BODY_WITHIN", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    with contextlib.closing(writer):
        writer.write(b"POST /api/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n")
        async with asyncio.timeout(20):
            answer = await reader.read()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert without_security_headers(headers_in(answer)) == {}


async def test_in_production_every_response_demands_tls(service: Service) -> None:
    context = service.context
    production = make_context(
        context.database, context.bus, context.store, app_env="production", database_url="postgresql://x/y",
        redis_url="redis://x", jwt_secret="x" * 32, allowed_hosts="localhost",
    )  # fmt: skip
    async with serving(production) as url:
        there = dataclasses.replace(service, url=url, context=production)
        requests = (
            b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            b"GET /api/nothing HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n",
            b"NONSENSE\r\n\r\n",
        )
        answers = [await sent(there, request, end=False) for request in requests]

    assert [answer[9:12] for answer in answers] == [b"200", b"404", b"421", b"400"]
    for answer in answers:
        assert headers_in(answer).get_list("strict-transport-security") == list(IN_PRODUCTION.values())


async def test_outside_production_no_response_demands_tls(service: Service) -> None:
    answers = [
        await sent(service, request, end=False) for request in (HEALTH + b"connection: close\r\n\r\n", b"NONSENSE\r\n\r\n")
    ]

    assert not any("strict-transport-security" in headers_in(answer) for answer in answers)


def test_the_policies_allow_nothing_inline_and_no_other_host() -> None:
    for policy in (API_POLICY, PAGE_POLICY, DOCS_POLICY):
        directives = dict(directive.split(" ", 1) for directive in policy.split("; "))

        assert directives.pop("trusted-types", "dompurify") == "dompurify"
        assert directives.pop("require-trusted-types-for", "'script'") == "'script'"
        assert directives.pop("img-src", "'self'") in ("'self'", "'self' data:")
        assert set(directives.values()) <= {"'self'", "'none'"}
        assert all(directives[name] == "'none'" for name in ("default-src", "base-uri", "form-action", "frame-ancestors"))
