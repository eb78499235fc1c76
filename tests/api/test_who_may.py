"""Every route answers every role as the table in `who_may.py` says.

A refused request writes nothing.
"""

from typing import Any
from uuid import uuid4

import pytest
from starlette.routing import Route

from service.accounts.users import User
from service.api.app import ENDPOINTS, create_app
from service.page import Page
from tests.api.things import STACK, Things, contents, make_things
from tests.api.who_may import CALLERS, WHO_MAY, Row
from tests.service_fixture import Service, make_context, service, user_of

__all__ = ["service"]

FOR_EVERYBODY = {"/api/openapi.json", "/api/docs", "/api/docs/start.js", "/assets/{name:path}"}
"""Routes below /api and /assets that are no endpoints: the documentation and the page's files."""

ON_RECORD = "select (select count(*) from access_records) + (select count(*) from job_events)"


def test_every_endpoint_has_a_row_and_every_row_an_endpoint() -> None:
    assert {f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS} == set(WHO_MAY)


def test_every_other_route_is_a_public_file(service: Service) -> None:
    context = make_context(service.context.database, service.context.bus, service.context.store)
    routes = [route for route in create_app(context, Page()).router.routes if isinstance(route, Route)]
    declared = {endpoint.path for endpoint in ENDPOINTS}

    others = {route.path for route in routes if route.path.startswith(("/api", "/assets")) and route.path not in declared}

    assert {path for path in others if not path.startswith("/api/docs/")} <= FOR_EVERYBODY
    assert {method for route in routes if route.path not in declared for method in route.methods or ()} == {"GET", "HEAD"}


@pytest.mark.parametrize("caller", CALLERS)
async def test_every_route_answers_each_caller_as_the_table_says(caller: str, service: Service) -> None:
    """A refused request writes nothing, and no answer shows what the caller may not see."""
    user = await user_for(service, caller)
    told = {name: await seen_of(service, name, row, caller, user) for name, row in WHO_MAY.items()}

    assert told == {name: (row.status(caller), row.tables(caller), set()) for name, row in WHO_MAY.items()}


async def test_head_answers_every_caller_as_get_does(service: Service) -> None:
    things = await make_things(service, "queued")
    rows = {name.split()[1]: row for name, row in WHO_MAY.items() if name.startswith("GET ")}
    told = {
        (path, caller): await call(service, await user_for(service, caller), "HEAD", things.path(path), row, things)
        for caller in CALLERS for path, row in rows.items()
    }  # fmt: skip

    assert told == {(path, caller): (row.status(caller), "") for caller in CALLERS for path, row in rows.items()}


LEAVE_A_LINE_IN_THE_LOG = {"POST /api/auth/login", "POST /api/auth/logout"}
"""Signing in and out is logged on standard error and not on record."""


async def test_every_change_that_an_admin_makes_is_on_record_or_an_event_of_the_log(service: Service) -> None:
    database, unrecorded = service.context.database, set()
    for name, row in WHO_MAY.items():
        method, path = name.split()
        if method == "GET" or row.status("admin") >= 300:
            continue
        things = await make_things(service, row.job)
        before = await database.fetch_val(ON_RECORD)
        await call(service, service.admin, method, things.path(path), row, things)
        if await database.fetch_val(ON_RECORD) == before:
            unrecorded.add(name)

    assert unrecorded == LEAVE_A_LINE_IN_THE_LOG


async def user_for(service: Service, caller: str) -> User | None:
    """Returns the user for a caller of the table. The owner is the employee."""
    match caller:
        case "nobody":
            return None
        case "owner":
            return service.employee
        case "admin":
            return service.admin
        case _:
            role = "employee" if caller == "other" else caller
            return await user_of(service.context.database, f"{uuid4()}@elsewhere.example", role, caller)


async def seen_of(service: Service, name: str, row: Row, caller: str, user: User | None) -> tuple[int, set[str], set[str]]:
    """Sends the row's request. Returns the status, the changed tables and the leaks.

    A leak is something in the answer that the caller must not see. A successful request may be on
    record in `access_records`; a refused request changes no table at all.
    """
    method, path = name.split()
    things = await make_things(service, row.job)
    before = await contents(service.context.database)
    status, body = await call(service, user, method, things.path(path), row, things)
    after = await contents(service.context.database)
    kept_from = {things.job_id: ("nobody", "other"), STACK: ("nobody", "other", "owner", "auditor")}
    shown = {secret for secret, callers in kept_from.items() if caller in callers and secret in body}
    changed = {table for table in before if before[table] != after[table]}
    return status, changed - ({"access_records"} if status < 300 else set()), shown


async def call(service: Service, user: User | None, method: str, path: str, row: Row, things: Things) -> tuple[int, str]:
    """Sends a request. Returns the status and the body; of a stream only its first piece."""
    content: dict[str, Any] = {} if row.body is None or method == "HEAD" else {"json": row.body(things)}
    service.as_nobody.cookies.clear()
    if user is not None:
        content["headers"] = {"Authorization": f"Bearer {service.context.users.new_token(user)}"}
    async with service.as_nobody.stream(method, path + row.query, **content) as answer:
        if answer.headers.get("content-type", "").startswith("text/event-stream") and method == "GET":
            return answer.status_code, await anext(answer.aiter_text())
        return answer.status_code, (await answer.aread()).decode(errors="replace")  # a tile is no text
