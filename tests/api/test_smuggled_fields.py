"""No client sets what only the service may decide: owner, status, attempt, actor, times.

The tests go over all endpoints that change something, so a new endpoint is tested, too.
"""

import re
from typing import Any
from uuid import uuid4

import orjson
import pytest

from service.api.app import ENDPOINTS
from service.http.endpoint import Endpoint
from service.http.openapi import openapi_document
from tests.api.test_who_may import user_for
from tests.api.things import Things, contents, make_things
from tests.api.who_may import WHO_MAY
from tests.service_fixture import Service, service

__all__ = ["service"]

DECIDED = (
    "actor", "attempt", "cause", "createdAt", "error", "finishedAt", "id", "jobId", "maxAttempts", "owner", "position",
    "requestId", "result", "seq", "startedAt", "status", "updatedAt", "userId", "worker",
)  # fmt: skip
"""The fields that the service decides."""

FILTERS = {"POST /api/jobs/bulk": {"status", "userId"}}
"""The fields of `DECIDED` that a request may name, because they only choose among what the caller may see."""

SMUGGLED = (
    *DECIDED,
    "user_id",
    "max_attempts",
    "request_id",
    "__proto__",
    "constructor",
    "companyId",
    "uniqueKey",
    "userI\u0064",
)

HEADERS = (
    "X-User-Id", "X-User", "X-Remote-User", "Remote-User", "X-Forwarded-User", "X-Actor", "X-Owner", "X-Role", "X-Admin",
    "X-Original-User", "X-Job-Id", "X-Cause", "X-Attempt", "X-HTTP-Method-Override",
)  # fmt: skip
SOMEBODY = "0190b1a0-0000-7000-8000-000000000000"

CHANGES = [endpoint for endpoint in ENDPOINTS if endpoint.method != "GET"]

EVENTS_AFTER = "select actor, request_id, cause, seq, data->>'userId' as user_id from job_events where event_id > :last"
LAST_EVENT = "select coalesce(max(event_id), 0) from job_events"
ACTORS = {"pauses": "select actor from pauses", "verifications": "select actor from verifications"}


def name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def test_no_endpoint_declares_a_field_that_the_service_decides() -> None:
    document = openapi_document(ENDPOINTS)

    named = {name_of(endpoint): declared(document, endpoint) & set(DECIDED) for endpoint in CHANGES}

    assert {name: fields for name, fields in named.items() if fields} == FILTERS


async def test_fields_that_the_service_decides_are_refused_in_every_body_and_query(service: Service) -> None:
    things = await make_things(service, "queued")
    before = await contents(service.context.database)
    told: dict[str, tuple[int, set[str]]] = {}
    for endpoint in CHANGES:
        if endpoint.takes_body:
            told[f"{name_of(endpoint)}: body"] = await blamed(service, endpoint, things, in_body=True)
        told[f"{name_of(endpoint)}: query"] = await blamed(service, endpoint, things, in_body=False)

    assert told == {name: (422, set(SMUGGLED)) for name in told}
    assert len(told) > len(CHANGES)
    assert await contents(service.context.database) == before


@pytest.mark.parametrize("caller", ["owner", "admin"])
async def test_headers_that_name_another_user_change_no_actor(caller: str, service: Service) -> None:
    user = await user_for(service, caller)
    assert user is not None
    for name in (name for name, row in WHO_MAY.items() if row.tables(caller) & {"job_events", *ACTORS}):
        method, path = name.split()
        things, last = await make_things(service, WHO_MAY[name].job), await service.context.database.fetch_val(LAST_EVENT)
        body, request_id = WHO_MAY[name].body, f"r-{uuid4()}"
        headers = dict.fromkeys(HEADERS, SOMEBODY) | {
            "Authorization": f"Bearer {service.context.users.new_token(user)}",
            "X-Request-Id": request_id,
        }
        content: dict[str, Any] = {} if body is None else {"json": body(things)}

        answer = await service.as_nobody.request(method, things.path(path), headers=headers, **content)
        assert answer.is_success, (name, answer.text)
        for event in await service.context.database.fetch_all(EVENTS_AFTER, {"last": last}):
            assert (event["actor"], event["request_id"]) == (f"user:{user.id}", request_id), name
            assert SOMEBODY not in (event["cause"] or ""), name
            assert event["seq"] > 1 or event["user_id"] == user.id, name
        for table in WHO_MAY[name].tables(caller) & set(ACTORS):
            actors = [row["actor"] for row in await service.context.database.fetch_all(ACTORS[table])]
            assert actors == ([] if name.endswith("/resume") else [f"user:{user.id}"]), name


def declared(document: dict[str, Any], endpoint: Endpoint) -> set[str]:
    """Returns the names of all fields in the endpoint's body and query, at any depth."""
    operation = document["paths"][endpoint.path][endpoint.method.lower()]
    names = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"}
    text = orjson.dumps(operation.get("requestBody", {})).decode()
    seen: set[str] = set()
    while refs := set(re.findall(r"#/components/schemas/(\w+)", text)) - seen:
        seen |= refs
        text += "".join(orjson.dumps(document["components"]["schemas"][ref]).decode() for ref in refs)
    for ref in seen:
        names |= set(document["components"]["schemas"][ref].get("properties", {}))
    return names


async def blamed(service: Service, endpoint: Endpoint, things: Things, *, in_body: bool) -> tuple[int, set[str]]:
    """Sends a valid request with all forbidden fields.

    Returns the status and the refused fields.
    """
    row, name = WHO_MAY[name_of(endpoint)], "body" if in_body else "query"
    valid: dict[str, Any] = {} if row.body is None else row.body(things)
    smuggled = dict.fromkeys(SMUGGLED, "1")
    content: dict[str, Any] = {"json": valid | smuggled} if name == "body" else {"params": smuggled}
    if name == "query" and valid:
        content["json"] = valid
    answer = await service.as_admin.request(endpoint.method, things.path(endpoint.path), **content)
    refused = answer.json().get("errors", []) if answer.is_error else []
    return answer.status_code, {error["path"] for error in refused}
