"""The OpenAPI document is valid, complete and true. The page that shows it loads safely."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2 as httpx
import orjson
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from starlette.routing import Match, Route

from events.job import JobError, fail, start
from service.api.app import ENDPOINTS, create_app
from service.api.docs_page import _Document
from service.http.openapi import openapi_document
from service.http.request import Nothing
from service.page import Page
from tests.api.test_chatwork import message, room
from tests.api.test_companies import PERIOD, a_draft, company
from tests.http_client import http_client
from tests.service_fixture import PASSWORD, Service, make_context, service

__all__ = ["service"]


async def test_the_document_is_valid_openapi_3_1(service: Service) -> None:
    document = (await service.as_nobody.get("/api/openapi.json")).json()

    validate(document)
    assert document["openapi"].startswith("3.1.")
    assert document == openapi_document(ENDPOINTS)


async def test_a_first_client_that_gives_up_does_not_take_the_document_from_the_next() -> None:
    document = _Document(ENDPOINTS)
    first, second = (asyncio.create_task(document.as_json()) for _ in range(2))
    await asyncio.sleep(0)

    first.cancel()

    assert orjson.loads(await second) == orjson.loads(await document.as_json()) == openapi_document(ENDPOINTS)


def test_every_operation_has_a_unique_name_and_says_who_may_call_it() -> None:
    operations = [operation for path in openapi_document(ENDPOINTS)["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]

    assert len(set(names)) == len(names) == len(ENDPOINTS)
    assert {operation["operationId"] for operation in operations if operation["security"] == []} == {
        "login", "list_methods", "begin_oidc", "end_oidc", "accept_invitation", "healthz", "readyz", "metrics",
    }  # fmt: skip


def operations() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in openapi_document(ENDPOINTS)["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_document_names_its_licence() -> None:
    """Redocly's rules info-license and info-license-strict hold."""
    assert openapi_document(ENDPOINTS)["info"]["license"] == {"name": "MIT", "identifier": "MIT"}


def test_every_operation_declares_defined_security() -> None:
    """Redocly's rule security-defined holds."""
    schemes = set(openapi_document(ENDPOINTS)["components"]["securitySchemes"])

    for name, operation in operations():
        assert isinstance(operation.get("security"), list), name
        assert {scheme for choice in operation["security"] for scheme in choice} <= schemes, name


def test_every_operation_has_summary_id_tag_and_both_kinds_of_response() -> None:
    """Redocly's rules for an operation hold: summary, id, tag, 4xx responses, success."""
    for name, operation in operations():
        assert operation["summary"].strip(), name
        assert re.fullmatch(r"[A-Za-z0-9_-]+", operation["operationId"]), name
        assert len(operation["tags"]) == 1, name
        kinds = {status[0] for status in operation["responses"]}
        assert "4" in kinds, name
        assert kinds & {"2", "3"}, name


async def test_an_address_that_is_too_long_gets_the_status_that_each_query_declares(service: Service) -> None:
    declaring = {endpoint.name for endpoint in ENDPOINTS if endpoint.query is not Nothing}
    assert {operation["operationId"] for _, operation in operations() if "414" in operation["responses"]} == declaring

    answer = await service.as_nobody.get("/api/auth/oidc/callback", params={"code": "é" * 4096})

    assert (answer.status_code, answer.headers["connection"]) == (414, "close")


def test_every_tag_is_described_and_used() -> None:
    """Redocly's rules operation-tag-defined and tag-description hold."""
    tags = {tag["name"]: tag["description"] for tag in openapi_document(ENDPOINTS)["tags"]}

    assert set(tags) == {tag for _, operation in operations() for tag in operation["tags"]}
    assert all(tags.values())


def test_no_two_paths_are_equal_or_ambiguous() -> None:
    """Redocly's rules no-ambiguous-paths, no-identical-paths and path-parameters-defined hold.

    So do no-path-trailing-slash and path-not-include-query. A path without parameters may stand
    beside one with a parameter, because it wins, as a test below checks.
    """
    paths = list(openapi_document(ENDPOINTS)["paths"])

    shapes = [re.sub(r"{\w+}", "{}", path) for path in paths]
    assert len(set(shapes)) == len(shapes)
    assert [path for path in paths if path.endswith("/") or "?" in path] == []
    for name, operation in operations():
        named = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", name)), name


def test_every_component_is_used_and_every_example_fits_its_schema() -> None:
    """Redocly's rules no-unused-components, no-unresolved-refs and no-invalid-examples hold.

    The last one is split into no-invalid-media-type-examples and no-invalid-parameter-examples.
    """
    document = openapi_document(ENDPOINTS)
    defined = {f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in document["components"][kind]}

    assert set(re.findall(r"#/components/(?:schemas|responses)/\w+", repr(document))) == defined
    for name, operation in operations():
        for parameter in operation.get("parameters", ()):
            for example in [parameter[key] for key in ("example",) if key in parameter]:
                OAS31Validator(parameter["schema"]).validate(example)
            for example in parameter["schema"].get("examples", ()):
                assert OAS31Validator(parameter["schema"]).is_valid(example), (name, parameter["name"])


def test_every_link_leads_to_an_operation_and_fills_its_parameters() -> None:
    """Also, a link from an operation that returns an id leads to each operation that takes it."""
    declared = {
        operation["operationId"]: {parameter["name"] for parameter in operation.get("parameters", ())}
        for _, operation in operations()
    }
    links = [
        (name, link)
        for name, operation in operations()
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]

    for name, link in links:
        assert set(link["parameters"]) <= declared[link["operationId"]], name
    reached = {link["operationId"] for _, link in links}
    assert {name for name, parameters in declared.items() if "id" in parameters} <= reached


async def test_every_promised_path_is_documented(service: Service) -> None:
    declared = {f"{endpoint.method} {endpoint.documented_path}" for endpoint in ENDPOINTS}

    assert declared == set(CONTRACT.split("\n")) - {""}


CONTRACT = """
POST /api/auth/login
POST /api/auth/logout
GET /api/auth/me
GET /api/auth/methods
GET /api/auth/oidc/start
GET /api/auth/oidc/callback
POST /api/auth/password
POST /api/auth/invitation
GET /api/users
POST /api/users
GET /api/users/{id}
PATCH /api/users/{id}
POST /api/users/{id}/sign-out
POST /api/users/{id}/invitation
GET /api/audit/access
GET /api/audit/state
GET /api/audit/log/checkpoint
GET /api/audit/log/tile/{tile}
GET /api/audit/proof/{id}/{seq}
GET /api/audit/consistency
GET /api/audit/log
GET /api/jobs
GET /api/jobs/counts
GET /api/jobs/stream
POST /api/jobs/bulk
GET /api/jobs/{id}
GET /api/jobs/{id}/events
GET /api/jobs/{id}/waiting
POST /api/jobs/{id}/cancel
POST /api/jobs/{id}/retry
POST /api/jobs/{id}/again
POST /api/jobs/{id}/force-fail
GET /api/workers
GET /api/job-types
POST /api/job-types/{name}/pause
POST /api/job-types/{name}/resume
GET /api/events
GET /api/audit/verify
POST /api/audit/verify
POST /api/audit/verify/{id}
POST /api/chatwork/rooms/sync
POST /api/chatwork/messages/sync
GET /api/chatwork/rooms/{id}/messages
GET /api/chatwork/rooms
PATCH /api/chatwork/rooms/{id}
POST /api/chatwork/rooms/{id}/error/seen
GET /api/companies
POST /api/companies
GET /api/companies/{id}/chatwork-rooms
POST /api/companies/{id}/chatwork-rooms
DELETE /api/companies/{id}/chatwork-rooms/{roomId}
POST /api/companies/{id}/summaries/draft
GET /api/companies/{id}/summaries/drafts
DELETE /api/companies/{id}/summaries/drafts/{draftId}
GET /api/companies/{id}/summaries/drafts/{draftId}/sources
PATCH /api/companies/{id}
GET /api/chatwork/budget
GET /healthz
GET /readyz
GET /metrics
"""


def test_a_path_without_parameters_wins_over_one_with_a_parameter_over_one_with_a_parameter(service: Service) -> None:
    context = make_context(service.context.database, service.context.bus, service.context.store)
    routes = create_app(context).router.routes
    fixed = [route for route in routes if isinstance(route, Route) and "{" not in route.path]

    for wanted in fixed:
        for method in wanted.methods or ():
            found = (route.matches({"type": "http", "method": method, "path": wanted.path}) for route in routes)
            taken = next(child for match, child in found if match is Match.FULL)

            assert taken["endpoint"] == wanted.endpoint, wanted.path


async def test_every_response_fits_its_documented_schema(service: Service) -> None:
    failed = await service.run(
        await service.job_of(service.employee),
        lambda job: start(job, attempt=1, worker="w1"),
        lambda job: fail(job, attempt=1, worker="w1", error=JobError("E", "m", "s"), retry_in=None),
    )
    company_id = await company(service)
    room_id = await room(service.context.database, "7", "営業")
    await message(service.context.database, "7", "1", datetime(2026, 12, 24, tzinfo=UTC))
    draft = await a_draft(service, company_id)
    jobs, companies, rooms = f"/api/jobs/{failed.id}", f"/api/companies/{company_id}", f"/api/chatwork/rooms/{room_id}"
    user = f"/api/users/{service.employee.id}"
    credentials = {"email": "admin@example.com", "password": PASSWORD}
    other_period = PERIOD | {"periodEnd": "2026-11-02"}

    for method, path, body in (
        ("POST", "/api/auth/login", credentials),
        ("POST", "/api/auth/login", credentials | {"password": "wrong"}),
        ("POST", "/api/auth/login", {}),
        ("GET", "/api/auth/me", None),
        ("GET", "/api/auth/methods", None),
        ("GET", "/api/users", None),
        ("POST", "/api/users", {"email": "new@example.com", "role": "employee"}),
        ("GET", user, None),
        ("PATCH", user, {"name": "新田"}),
        ("POST", f"{user}/invitation", None),
        ("POST", f"{user}/sign-out", None),
        ("POST", "/api/auth/invitation", {"token": "x", "password": PASSWORD}),
        ("POST", "/api/auth/password", {"current": PASSWORD, "new": PASSWORD}),
        ("GET", "/api/audit/access", None),
        ("GET", "/api/audit/consistency?from=0", None),
        ("GET", "/api/audit/log", None),
        ("GET", "/api/jobs", None),
        ("GET", "/api/jobs/counts", None),
        ("GET", jobs, None),
        ("GET", f"{jobs}?seq=9", None),
        ("GET", f"{jobs}/waiting", None),
        ("GET", f"{jobs}/events", None),
        ("POST", f"{jobs}/cancel", None),
        ("POST", f"{jobs}/retry", None),
        ("POST", f"{jobs}/again", None),
        ("POST", "/api/jobs/bulk", {"action": "cancel", "filter": {}, "dryRun": True}),
        ("GET", "/api/events", None),
        ("GET", "/api/audit/verify", None),
        ("POST", "/api/audit/verify", None),
        ("POST", f"/api/audit/verify/{failed.id}", None),
        ("GET", "/api/audit/verify", None),
        ("POST", "/api/chatwork/rooms/sync", None),
        ("POST", "/api/chatwork/messages/sync", None),
        ("GET", "/api/chatwork/rooms", None),
        ("PATCH", rooms, {"isActive": False}),
        ("GET", f"{rooms}/messages", None),
        ("GET", "/api/companies", None),
        ("POST", "/api/companies", {"name": "佐藤建設"}),
        ("POST", f"{companies}/chatwork-rooms", {"roomId": "7"}),
        ("GET", f"{companies}/chatwork-rooms", None),
        ("DELETE", f"{companies}/chatwork-rooms/7", None),
        ("POST", f"{companies}/summaries/draft", PERIOD),
        ("POST", f"{companies}/summaries/draft", other_period),
        ("GET", f"{companies}/summaries/drafts", None),
        ("GET", f"{companies}/summaries/drafts/{draft['id']}/sources", None),
        ("DELETE", f"{companies}/summaries/drafts/{draft['id']}", None),
        ("PATCH", companies, {"archived": True}),
        ("GET", "/api/chatwork/budget", None),
        ("GET", "/healthz", None),
        ("GET", "/readyz", None),
        ("POST", "/api/auth/logout", None),
    ):
        assert_as_documented(await service.as_admin.request(method, path, json=body))


def assert_as_documented(answer: httpx.Response) -> None:
    document = closed(openapi_document(ENDPOINTS))
    path = next(
        path for path in document["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), str(answer.request.url.path))
    )
    responses = document["paths"][path][answer.request.method.lower()]["responses"]
    declared = responses[str(answer.status_code)]
    if "$ref" in declared:
        declared = document["components"]["responses"][declared["$ref"].rpartition("/")[2]]
    if answer.status_code == 204:
        assert "content" not in declared
        return
    schema = declared["content"][answer.headers["content-type"]]["schema"]
    OAS31Validator(document | schema).validate(answer.json())


def closed(schema: Any) -> Any:
    """Returns the schema with additional properties forbidden.

    So a response may have only documented fields.
    """
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(part) for key, part in schema.items()}
    return {"additionalProperties": False} | inner if isinstance(inner.get("properties"), dict) else inner


async def test_the_docs_page_has_no_inline_script_and_loads_only_from_this_host(service: Service, tmp_path: Path) -> None:
    """Empty files stand in for those of Swagger UI. A browser test covers the real ones."""
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png", "LICENSE.txt"):
        (tmp_path / "api" / "docs").mkdir(parents=True, exist_ok=True)
        (tmp_path / "api" / "docs" / name).write_text("content", encoding="utf-8")
    app = create_app(make_context(service.context.database, service.context.bus, service.context.store), Page(tmp_path))

    async with http_client("http://rireki", transport=httpx.ASGITransport(app)) as client:
        page = await client.get("/api/docs")
        assets = [await client.get(address) for address in re.findall(r'(?:src|href)="([^"]+)"', page.text)]

    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert re.findall(r"<script(?![^>]*src=)|style=|\son\w+=", page.text) == []
    assert len(assets) == 5
    for asset in assets:
        assert asset.status_code == 200
        assert asset.headers["x-content-type-options"] == "nosniff"


async def test_without_a_built_page_the_docs_link_to_the_document(service: Service, tmp_path: Path) -> None:
    app = create_app(make_context(service.context.database, service.context.bus, service.context.store), Page(tmp_path))

    async with http_client("http://rireki", transport=httpx.ASGITransport(app)) as client:
        page = await client.get("/api/docs")
        document = await client.get("/api/openapi.json")

    assert page.status_code == document.status_code == 200
    assert "make setup" in page.text
    assert "/api/openapi.json" in page.text
    assert "<script" not in page.text


async def test_every_response_has_the_security_headers(service: Service) -> None:
    for address in ("/", "/api/docs", "/api/jobs", "/api/nothing"):
        headers = (await service.as_nobody.get(address)).headers

        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-request-id"]
