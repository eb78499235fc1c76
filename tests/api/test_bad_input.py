"""Bad input gets a problem response that names the field, never a 500, and writes nothing."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2 as httpx
import orjson
import pytest

from events.database import Database
from service.api.auth import MOST_OF_A_SIGN_IN
from service.http.problems import Problem
from service.http.request import SMALL_BODY, parse_json
from tests.http_client import http_client
from tests.service_fixture import PASSWORD, Service, make_context, service, serving

__all__ = ["service"]

LOGIN = "/api/auth/login"


def body_of(**fields: Any) -> bytes:
    return orjson.dumps({"email": "admin@example.com", "password": PASSWORD} | fields)


async def post(service: Service, body: bytes, content_type: str = "application/json") -> httpx.Response:
    return await service.as_nobody.post(LOGIN, content=body, headers={"Content-Type": content_type})


def assert_problem(answer: httpx.Response, status: int, *paths: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert problem["title"]
    assert problem["detail"]
    assert [error["path"] for error in problem.get("errors", [])] == list(paths)
    assert answer.headers["x-request-id"]


def blamed(answer: httpx.Response) -> tuple[int, str]:
    """Returns the status of a problem response, and the fields that its `errors` name."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, " ".join(error["path"] for error in answer.json().get("errors", []))


@pytest.mark.parametrize(
    ("raw", "status", "path"),
    [
        (b'{"a": 1', 400, "body"),
        (b"", 400, "body"),
        (b'{"a": "\xff"}', 400, "body"),
        (b"\xef\xbb\xbf{}", 400, "body"),
        (b'{"a": NaN}', 400, "a"),
        (b'{"a": [1, -Infinity]}', 400, "a.1"),
        (b'{"a": 1, "b": 2, "a": 1}', 400, "a"),
        (b'{"a": {"b": "\\ud800"}}', 422, "a.b"),
        (b'{"a": {"\\udfff": 1}}', 422, "a.\\udfff"),
        (b'{"a": "x\\u0000y"}', 422, "a"),
        (b'{"\\u0000": 1}', 422, "\\u0000"),
        (b'{"a": [9007199254740993]}', 422, "a.0"),
        (b'{"a": -9007199254740993}', 422, "a"),
        (b'{"a": ' + b"9" * 5000 + b"}", 422, "a"),
        (b'{"a": 1e300}', 422, "a"),
        (b'{"a": 1e999}', 422, "a"),
        (b'{"a":' * 32 + b"{}" + b"}" * 32, 200, ""),
        (b'{"a":' * 32 + b'{"b":1}' + b"}" * 32, 400, ".".join("a" * 32)),
        (b"[" * 100_000, 400, "body"),
        (b'{"a":' * 100_000, 400, "body"),
        (b'{"a": 9007199254740992, "b": -9007199254740992, "c": 0.5}', 200, ""),
        ('{"a": "履歴 \\ud83d\\ude00"}'.encode(), 200, ""),
    ],
)
def test_json_that_could_not_be_stored_is_refused_at_once(raw: bytes, status: int, path: str) -> None:
    if status == 200:
        parse_json(raw)
        return

    with pytest.raises(Problem) as refused:
        parse_json(raw)

    assert refused.value.status == status
    assert [error["path"] for error in refused.value.errors] == [path]


BAD_BODIES = {
    b"{": (400, "body"),
    b"": (400, "body"),
    b"[]": (422, "body"),
    b"null": (422, "body"),
    body_of(extra=1): (422, "extra"),
    body_of(email=1): (422, "email"),
    body_of(email=None): (422, "email"),
    body_of(password=["x"]): (422, "password"),
    body_of(password="x" * 1025): (422, "password"),
    b'{"email": "a@b"}': (422, "password"),
    b'{"email": "a\\u0000@b", "password": "x"}': (422, "email"),
    b'{"email": "a\\ud800@b", "password": "x"}': (422, "email"),
    b'{"email": 9007199254740993, "password": "x"}': (422, "email"),
    b'{"email": "a@b", "password": "x", "email": "a@b"}': (400, "email"),
}


async def test_a_body_is_refused_by_the_name_of_its_field(service: Service) -> None:
    told = {body: blamed(await post(service, body)) for body in BAD_BODIES}

    assert told == BAD_BODIES


async def test_a_problem_never_repeats_the_sent_value(service: Service) -> None:
    answer = await post(service, body_of(password=["hunter2"], email="hunter2" * 100))

    assert_problem(answer, 422, "email", "password")
    assert "hunter2" not in answer.text


async def test_problems_describe_each_error_in_plain_words(service: Service) -> None:
    too_long = await service.as_nobody.post("/api/auth/login", json={"email": "a@example.com", "password": "x" * 2_000})
    no_number = await service.as_admin.get("/api/jobs?limit=abc")
    no_room = await service.as_admin.post("/api/chatwork/messages/sync?roomId=abc")

    assert [answer.json()["errors"] for answer in (too_long, no_number, no_room)] == [
        [{"path": "password", "detail": "must have at most 1024 characters"}],
        [{"path": "limit", "detail": "must be a valid integer"}],
        [{"path": "roomId", "detail": "must be a Chatwork room id: a string of digits"}],
    ]


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"]
)
async def test_a_body_that_is_not_declared_as_json_is_refused(service: Service, content_type: str) -> None:
    assert_problem(await post(service, body_of(), content_type), 415, "Content-Type")


async def test_a_body_over_the_limit_is_refused_by_its_declared_length(service: Service) -> None:
    assert_problem(await post(service, body_of(padding="x" * MOST_OF_A_SIGN_IN)), 413, "body")


async def test_a_body_over_the_limit_is_refused_without_a_declared_length(service: Service) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * (MOST_OF_A_SIGN_IN // 16)

    answer = await service.as_nobody.post(LOGIN, content=chunks(), headers={"Content-Type": "application/json"})

    assert_problem(answer, 413, "body")


async def test_a_client_that_disconnects_within_its_body_affects_no_other(service: Service) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    assert (await service.as_nobody.get("/healthz")).status_code == 200


BAD_QUERIES = {
    "colour=red": (422, "colour"),
    "limit=1&limit=2": (400, "limit"),
    "limit=many": (400, "limit"),
    "limit=0": (422, "limit"),
    "limit=101": (422, "limit"),
    "limit=99999999999999999999": (422, "limit"),
    "type=nonsense": (422, "type"),
    "type=%00": (400, "type"),
    "status=done": (422, "status"),
    "cursor=nonsense": (400, "cursor"),
    "cursor=": (400, "cursor"),
    "cursor=%ff%fe": (400, "cursor"),
    "createdAfter=yesterday": (400, "createdAfter"),
    "createdAfter=1700000000": (400, "createdAfter"),
    "createdAfter=2026-11-23": (400, "createdAfter"),
    "createdAfter=2026-11-23T09:00:00": (400, "createdAfter"),
    "createdBefore=2026-13-23T09:00:00Z": (400, "createdBefore"),
    "createdBefore=0001-01-01T00:00:00%2B14:00": (422, "createdBefore"),
    "createdBefore=9999-12-31T23:59:59-14:00": (422, "createdBefore"),
}


async def test_a_query_is_refused_by_the_name_of_its_parameter(service: Service) -> None:
    told = {query: blamed(await service.as_admin.get(f"/api/jobs?{query}")) for query in BAD_QUERIES}

    assert told == BAD_QUERIES


NO_IDS = (
    "1",
    "nonsense",
    "%00",
    "%ff",
    "0190b1a0-0000-7000-8000-00000000000g",
    "{0190b1a0-0000-7000-8000-000000000000}",
    "0190b1a0000070008000000000000000",
)


async def test_a_path_with_an_invalid_uuid_is_refused(service: Service) -> None:
    told = [blamed(await service.as_admin.get(f"/api/jobs/{text}")) for text in NO_IDS]

    assert told == [(400, "id")] * len(NO_IDS)


async def test_an_unknown_path_gets_a_problem(service: Service) -> None:
    assert_problem(await service.as_admin.get("/api/nothing"), 404)
    assert_problem(await service.as_admin.get("/api/jobs/"), 404)


async def test_an_unknown_method_gets_405_with_the_allowed_methods(service: Service) -> None:
    answer = await service.as_admin.put("/api/jobs", content=b"{}")

    assert_problem(answer, 405)
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_a_post_without_parameters_takes_an_empty_body_and_nothing_else(service: Service) -> None:
    job = await service.job_of(service.admin)
    address = f"/api/jobs/{job.id}/cancel"

    assert_problem(await service.as_admin.post(address, json={"force": True}), 422, "force")
    assert_problem(await service.as_admin.post(address, content=b"x" * (SMALL_BODY + 1)), 413, "body")
    assert len(await service.context.store.history.events(job.id)) == 1
    assert (await service.as_admin.post(address, json={})).status_code == 200


async def test_an_unexpected_error_shows_no_internals(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(*_: Any) -> None:
        raise RuntimeError("a secret inside the error")

    # The test replaces the method that reads from the database, because it cannot make the database
    # fail in this way.
    monkeypatch.setattr(type(service.context.jobs), "get", break_down)
    answer = await service.as_admin.get("/api/jobs/0190b1a0-0000-7000-8000-000000000000", headers={"X-Request-Id": "r1"})

    assert_problem(answer, 500)
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == "r1"


async def test_a_valid_request_id_is_kept_and_an_invalid_one_is_replaced(service: Service) -> None:
    for given in ("two words", "x" * 129, "<script>", "履歴"):
        answer = await service.as_nobody.get("/healthz", headers=[(b"X-Request-Id", given.encode())])

        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert (await service.as_nobody.get("/healthz", headers={"X-Request-Id": "r-1"})).headers["x-request-id"] == "r-1"


async def test_a_missing_database_is_a_503_with_retry_after(service: Service, database_url: str) -> None:
    async with Gate.to(database_url) as gate:
        database = Database(gate.url)
        await database.connect()
        context = make_context(database, service.context.bus, service.context.store)
        async with serving(context) as url, http_client(url, headers=service.as_admin.headers) as client:
            assert (await client.get("/api/jobs")).status_code == 200
            assert (await client.get("/readyz")).status_code == 200

            await gate.close()
            answers = [await client.get(address) for address in ("/api/jobs", "/readyz", "/api/events", "/api/auth/me")]
            alive = await client.get("/healthz")
            measured = await client.get("/metrics")
        await database.disconnect()

    for answer in answers[:3]:
        assert_problem(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1
    assert alive.status_code == measured.status_code == 200


class Gate:
    """A TCP proxy before the database, which can be closed like a gate."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, url: str) -> "AsyncIterator[Gate]":
        gate = cls(url)
        gate._server = await asyncio.start_server(gate._pass_on, "127.0.0.1", 0)
        yield gate
        await gate.close()

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        name = self._to.username or ""
        secret = f":{self._to.password}" if self._to.password else ""
        return f"postgresql://{name}{secret}@127.0.0.1:{port}{self._to.path}"

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        socket = parse_qs(self._to.query).get("host", [""])[0]
        port = self._to.port or 5432
        there = (
            asyncio.open_unix_connection(f"{socket}/.s.PGSQL.{port}")
            if socket.startswith("/")
            else asyncio.open_connection(self._to.hostname, port)
        )
        their_reader, their_writer = await there
        self._open |= {writer, their_writer}
        await asyncio.gather(_copy(reader, their_writer), _copy(their_reader, writer), return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
