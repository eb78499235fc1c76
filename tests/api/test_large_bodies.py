"""Large bodies and queries are refused quickly, and do not delay other requests."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import httpx2 as httpx
import orjson
import pytest

from events.database import Database
from service.accounts.sign_in_limit import FOR_ALL_REQUESTS
from service.api import jobs_bulk as bulk
from service.api.app import ENDPOINTS
from service.api.auth import MOST_OF_A_SIGN_IN
from service.http.endpoint import Endpoint
from service.http.problems import LONGEST_PATH, MOST_ERRORS, Problem, problem_response
from service.http.request import MAX_FIELDS, MAX_PARAMETERS, parse_json
from tests.http_client import http_client
from tests.service_fixture import Service, service

__all__ = ["service"]

MOST_OF_AN_ANSWER = 64 * 1024  # bytes
SHAPES: dict[str, Callable[[int], bytes]] = {
    "huge numbers": lambda size: b"[" + b",".join([b"1e99"] * (size // 5)) + b"]",
    "small numbers": lambda size: b"[" + b",".join([b"1"] * (size // 2)) + b"]",
    "empty lists": lambda size: b"[" + b",".join([b"[]"] * (size // 3)) + b"]",
    "empty objects": lambda size: b"[" + b",".join([b"{}"] * (size // 3)) + b"]",
    "unknown keys": lambda size: orjson.dumps({f"{number:x}": 0 for number in range(size // 9)}),
    "one key again and again": lambda size: b"{" + b",".join([b'"a":1'] * (size // 6)) + b"}",
    "NULs": lambda size: b"[" + b",".join([b'"\\u0000"'] * (size // 9)) + b"]",
    "keys of NULs": lambda size: b"{" + b",".join(b'"\\u0000%x":1' % number for number in range(size // 16)) + b"}",
    "long keys": lambda size: b"{" + b",".join(b'"%x%s":1' % (number, b"\\u0001" * 200) for number in range(size // 1210)) + b"}",
    "escapes": lambda size: b'{"email": "' + b"\\u3042" * (size // 6 - 20) + b'"}',
    "a string": lambda size: b'{"email": "' + b"x" * (size - 50) + b'"}',
    "nesting": lambda size: b"[" * (size // 2) + b"]" * (size // 2),
    "nested objects": lambda size: b'{"a":' * (size // 6) + b"1" + b"}" * (size // 6),
    "white space": lambda size: b" " * (size - 2) + b"{}",
    "in a filter": lambda size: b'{"action":"cancel","filter":' + orjson.dumps({f"{n:x}": 0 for n in range(size // 12)}) + b"}",
    "ids": lambda size: b'{"action":"cancel","ids":[' + b",".join([b"1"] * (size // 3)) + b"]}",
}  # fmt: skip

WITH_A_BODY = [endpoint for endpoint in ENDPOINTS if endpoint.takes_body]


def address_of(endpoint: Endpoint) -> str:
    unknown = "0190b1a0-0000-7000-8000-000000000000"
    return endpoint.path.format(id=unknown, name="summary_draft", roomId="1")


@pytest.mark.parametrize("size", ["1 MiB", "just allowed"])
async def test_every_endpoint_refuses_every_kind_of_large_body_with_a_small_response(service: Service, size: str) -> None:
    told: dict[tuple[str, str], tuple[int, int]] = {}
    for endpoint in WITH_A_BODY:
        for shape, make in SHAPES.items():
            body = make(1024 * 1024 if size == "1 MiB" else endpoint.most_of_body - 64)
            # The requests come from many addresses, so that none of them reaches the limit of one
            # address.
            headers = {"Content-Type": "application/json", "X-Forwarded-For": f"192.0.2.{len(told) % 250}"}
            headers["Authorization"] = (
                # Each request has a new token, because one endpoint signs the caller out.
                f"Bearer {service.context.users.new_token(service.admin)}"
            )
            answer = await service.as_nobody.request(endpoint.method, address_of(endpoint), content=body, headers=headers)
            told[endpoint.path, shape] = answer.status_code, len(answer.content)

    assert {key: size for key, (_, size) in told.items() if size > MOST_OF_AN_ANSWER} == {}
    allowed = {400, 404, 413, 422} if size == "just allowed" else {413}
    harmless = {key for key, (status, _) in told.items() if status not in allowed}
    assert {shape for _, shape in harmless} <= ({"white space"} if size == "just allowed" else set())


def test_a_problem_lists_at_most_a_hundred_errors_with_short_names() -> None:
    fields = (b'"%x%s":1e99' % (number, b"x" * 200) for number in range(MAX_FIELDS))

    with pytest.raises(Problem) as refused:
        parse_json(b"{" + b",".join(fields) + b"}")

    errors = orjson.loads(problem_response(refused.value).body)["errors"]
    assert len(errors) == MOST_ERRORS
    assert {len(error["path"]) for error in errors} == {LONGEST_PATH}
    assert {error["detail"] for error in errors} == {"must be a number between -2^53 and 2^53"}


async def test_sign_in_takes_a_small_body_and_bulk_the_promised_number_of_ids(service: Service) -> None:
    body = b'{"email": "%s"}' % (b"x" * MOST_OF_A_SIGN_IN)
    ids = [f"0190b1a0-0000-7000-8000-{number:012x}" for number in range(bulk.MOST)]

    too_large = await service.as_nobody.post("/api/auth/login", content=body, headers={"Content-Type": "application/json"})
    many = await service.as_admin.post("/api/jobs/bulk", json={"action": "cancel", "ids": ids})

    assert (too_large.status_code, too_large.json()["detail"]) == (413, "The body must have at most 8 KiB.")
    assert many.status_code == 200


async def test_requests_to_sign_in_are_counted_by_address_before_their_body_is_read(service: Service) -> None:
    async def ask(address: str) -> httpx.Response:
        headers = {"Content-Type": "application/json", "X-Forwarded-For": address, "Content-Length": "5000"}
        return await service.as_nobody.post("/api/auth/login", content=b"[" * 5000, headers=headers)

    told = [(await ask(f"2001:db8::{number:x}")).status_code for number in range(FOR_ALL_REQUESTS.amount)]
    beyond, another = await ask("2001:db8::ffff"), await ask("2001:db8:0:1::1")

    assert set(told) == {400}
    assert (beyond.status_code, another.status_code) == (429, 400)
    assert 1 <= int(beyond.headers["retry-after"]) <= FOR_ALL_REQUESTS.get_expiry()


QUERIES = {
    "one parameter many times": "&a=1" * 4_000,
    "many parameters": "".join(f"&{number:x}=" for number in range(2_500)),
    "a long parameter name": "a" * 16_000,
    "many long parameter names": "&".join(f"{number}" + "%01" * 60 for number in range(MAX_PARAMETERS - 20)),
    "separators": "&" * 16_000,
    "escapes": "a=" + "%e3%81%82" * 1_700,
    "bad escapes": "%" * 16_000,
}


async def test_a_large_query_is_refused_with_a_small_response(service: Service) -> None:
    answers = {name: await service.as_admin.get(f"/api/jobs?{query}") for name, query in QUERIES.items()}

    assert {name: answer.status_code for name, answer in answers.items() if answer.status_code not in (400, 422)} == {}
    assert max(len(answer.content) for answer in answers.values()) < MOST_OF_AN_ANSWER


async def test_a_process_stays_responsive_while_ten_clients_send_expensive_bodies(
    database: Database, database_url: str
) -> None:
    """The event loop stays free while ten clients send bodies that take long to parse.

    The limit is high, because the machine may be busy. It would still be exceeded if the event loop
    parsed the bodies, which takes seconds.
    """
    bodies = [SHAPES[shape](size) for shape in DEAR for size in (1024 * 1024, MOST_OF_A_SIGN_IN - 64)]
    environment = os.environ | {"DATABASE_URL": database_url, "APP_ENV": "test", "PORT": "0", "JOB_WORKER_ENABLED": "false"}
    command = [sys.executable, "-m", "service.cli", "serve"]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            url = (await process.stdout.readline()).decode().split()[-1]
        async with http_client(url, timeout=60) as client:
            quiet = await _slowest(client, lambda: asyncio.sleep(0.05), 10)
            loud = await _slowest(client, lambda: _ten_dear(client, bodies), 3)
    finally:
        process.terminate()
        await process.wait()

    assert loud < max(0.1, 4 * quiet) + 0.4


DEAR = ("huge numbers", "small numbers", "empty lists", "unknown keys", "escapes")


async def _ten_dear(client: httpx.AsyncClient, bodies: list[bytes]) -> None:
    headers = {"Content-Type": "application/json"}
    await asyncio.gather(*(client.post("/api/auth/login", content=body, headers=headers) for body in bodies))


async def _slowest(client: httpx.AsyncClient, beside: Callable[[], Awaitable[None]], rounds: int) -> float:
    """Returns the longest time that `/healthz` took while `beside` ran, in seconds."""
    slowest = 0.0
    for _ in range(rounds):
        busy = asyncio.ensure_future(beside())
        while not busy.done():
            began = time.perf_counter()
            assert (await client.get("/healthz")).status_code == 200
            slowest = max(slowest, time.perf_counter() - began)
            await asyncio.sleep(0.005)
        await busy
    return slowest
