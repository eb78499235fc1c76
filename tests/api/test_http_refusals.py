"""A request that HTTP forbids gets a problem response, and the connection ends."""

import asyncio
import contextlib
import json

import pytest
from starlette.types import Message, Receive, Scope, Send
from uvicorn.server import ServerState

from service.http import protocol as http_protocol
from service.http.protocol import HttpProtocol
from service.process.serve import http_server
from tests.api.test_http_protocol import HEALTH, Wire, problem_in, sent
from tests.service_fixture import Service, service

__all__ = ["service"]

LOGIN = b"POST /api/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"


BAD_HOSTS = (
    b"GET /healthz HTTP/1.1\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: a\r\nhost: a\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: a\r\nHost: b\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: a b\r\n",
    b"GET /healthz HTTP/1.1\r\nhost:\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: a:b\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: a:999999\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: a/b\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: u@a\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: a,b\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: \xe5\xb1\xa5\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: [::1\r\n",
    b"GET /healthz HTTP/1.0\r\nhost: a b\r\n",
    b"GET /healthz HTTP/1.0\r\nhost: a\r\nhost: a\r\n",
)


async def test_a_request_must_have_one_valid_host(service: Service) -> None:
    problems = {head: problem_in(await sent(service, head + b"\r\n", end=False)) for head in BAD_HOSTS}

    told = {head: (problem["status"], problem["detail"]) for head, problem in problems.items()}
    assert told == dict.fromkeys(BAD_HOSTS, (400, http_protocol.NO_HOST.detail))


GOOD_HOSTS = (
    b"GET /healthz HTTP/1.0\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: a:8000\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: jobs.example.com\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: [::1]:8000\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: my_host-1.\r\n",
    b"GET http://jobs.example.com/healthz HTTP/1.1\r\nhost: other\r\n",
    b"GET HTTPS://jobs.example.com:443/healthz HTTP/1.1\r\nhost: other\r\n",
)


async def test_valid_hosts_are_answered(service: Service) -> None:
    answers = {head: await sent(service, head + b"connection: close\r\n\r\n", end=False) for head in GOOD_HOSTS}

    assert {head: answer[:13] for head, answer in answers.items()} == dict.fromkeys(GOOD_HOSTS, b"HTTP/1.1 200 ")


REFUSED = {
    b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n": 400,
    b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n": 400,
    b"GET healthz HTTP/1.1\r\nhost: a\r\n\r\n": 400,
    b"GET ftp://a/healthz HTTP/1.1\r\nhost: a\r\n\r\n": 400,
    b"GET http:///healthz HTTP/1.1\r\nhost: a\r\n\r\n": 400,
    b"GET http://u@a/healthz HTTP/1.1\r\nhost: a\r\n\r\n": 400,
    b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n": 400,
    b"GET /healthz HTTP/1.1\r\nhost: a\r\nx y: a\r\n\r\n": 400,
    b"GET /healthz HTTP/1.1\r\nhost: a\r\nx : a\r\n\r\n": 400,
    b"GET /healthz HTTP/1.1\r\nhost: a\r\n: a\r\n\r\n": 400,
    b"GET /healthz HTTP/1.1\r\nhost: a\r\nx\r\n\r\n": 400,
    b"GET /healthz HTTP/2.0\r\nhost: a\r\n\r\n": 505,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 400,
    LOGIN + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}": 400,
    LOGIN + b"content-length: 2, 2\r\n\r\n{}": 400,
    LOGIN + b"content-length: +5\r\n\r\n{}": 400,
    LOGIN + b"content-length: 0x5\r\n\r\n{}": 400,
    LOGIN + b"content-length: " + b"9" * 30 + b"\r\n\r\n{}": 400,
    LOGIN + b"content-length: 2\r\n" + CHUNKED + b"0\r\n\r\n": 400,
    LOGIN + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n": 501,
    LOGIN + b"transfer-encoding: gzip\r\n\r\n": 501,
    LOGIN + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n": 501,
    LOGIN + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n": 400,
    LOGIN + b"transfer-encoding: chunked\r\n" + CHUNKED + b"0\r\n\r\n": 400,
    LOGIN + CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n": 400,
    LOGIN + CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n": 400,
    LOGIN + CHUNKED + b"2\r\n{}XX0\r\n\r\n": 400,
    LOGIN + CHUNKED + b"1" * 40 + b"\r\n{}": 400,
    b"GET /healthz HTTP/1.1\r\nhost: a\r\n" + b"x: a\r\n" * 201 + b"\r\n": 431,
    b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 70_000 + b"\r\n\r\n": 431,
    b"GET /healthz HTTP/1.1\r\nhost: a\r\n" + (b"y: " + b"a" * 9_000 + b"\r\n") * 8 + b"\r\n": 431,
    b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n": 414,
}


async def test_a_malformed_request_gets_a_problem_and_the_connection_ends(service: Service) -> None:
    told = {request: problem_in(await sent(service, request, end=False))["status"] for request in REFUSED}

    assert told == REFUSED
    assert (await service.as_nobody.get("/healthz")).status_code == 200


RESEMBLING = (
        "/api%2fjobs", "/api%2Fjobs", "/api/jobs%2f", "/%2fapi/jobs", "//api/jobs", "/api//jobs", "/api/jobs;x", "/api/jobs%3bx",
        "/api\\jobs", "/api%5cjobs", "/api/../api/jobs", "/api/%2e%2e/api/jobs", "/api/./jobs", "/api/jobs%00", "/%00",
        "/api%c0%afjobs", "/api%ef%bc%8fjobs", "/api/jobs/%2e%2e", "/%2e%2e/%2e%2e/etc/passwd", "/assets/..%2f..%2fsecret",
        "/assets/%2e%2e/%2e%2e/app.py", "/api/jobs%252f", "/API/jobs", "/api/jobs%",
)  # fmt: skip


async def test_a_path_that_only_looks_like_an_endpoint_does_not_reach_it(service: Service) -> None:
    rest = f"HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer {service.context.users.new_token(service.admin)}"

    answers = {target: await sent(service, f"GET {target} {rest}\r\n\r\n".encode(), end=False) for target in RESEMBLING}

    for target, answer in answers.items():
        problem = problem_in(answer)
        assert problem["status"] in (400, 404), (target, problem)


async def test_a_bad_request_after_good_ones_is_refused_after_their_responses(service: Service) -> None:
    answer = await sent(service, (HEALTH + b"\r\n") * 3 + b"NONSENSE\r\n\r\n" + HEALTH + b"\r\n", end=False)

    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"200", b"400"]


async def test_bad_chunks_after_a_good_request_are_refused_after_its_response(service: Service) -> None:
    answer = await sent(service, HEALTH + b"\r\n" + LOGIN + CHUNKED + b"zz\r\n", end=False)

    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]


async def test_an_offer_to_upgrade_is_ignored_and_the_connection_stays_open(service: Service) -> None:
    wish = HEALTH + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n"

    assert (await sent(service, wish, wish)).count(b"HTTP/1.1 200 ") == 3
    assert (await sent(service, wish * 2)).count(b"HTTP/1.1 200 ") == 3


SLOW = [
    b"GET /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: a\r\n" + CHUNKED,
    b"GET /nothing HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n",
    b"POST /api/jobs/bulk HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n",
]


@pytest.mark.parametrize("head", SLOW)
async def test_a_slow_body_is_cut_off_even_after_the_response(
    service: Service, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "BODY_WITHIN", 0.3)
    monkeypatch.setattr(http_protocol, "LINGERS", 1.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(head)

    trickling = asyncio.create_task(_trickle(writer))
    async with asyncio.timeout(20):
        answer = await reader.read()
        await trickling

    assert answer.count(b"HTTP/1.1 ") >= 1
    writer.close()


async def test_a_slow_body_of_a_sign_in_gets_408(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "BODY_WITHIN", 0.3)
    monkeypatch.setattr(http_protocol, "LINGERS", 1.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(LOGIN + CHUNKED)

    trickling = asyncio.create_task(_trickle(writer))
    async with asyncio.timeout(20):
        problem = problem_in(await reader.read())
        await trickling

    assert problem["status"] == 408
    writer.close()


async def _trickle(writer: asyncio.StreamWriter) -> None:
    """Sends a small chunk every 20 ms until the server closes the connection."""
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(0.02)


async def test_a_refusal_arrives_while_the_client_is_still_sending(service: Service) -> None:
    head = LOGIN + b"content-length: 50000000\r\n\r\n"

    answer = await sent(service, head, *[b"x" * 100_000] * 20, end=False)

    assert b"HTTP/1.1 413 " in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 413


async def test_the_time_limit_of_a_body_stops_while_the_connection_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """During the first request the connection is not read, so a second body cannot arrive."""
    monkeypatch.setattr(http_protocol, "BODY_WITHIN", 0.05)
    first_may_end, both_served, served = asyncio.Event(), asyncio.Event(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await first_may_end.wait()
        served.append(scope["path"])
        start: Message = {"type": "http.response.start", "status": 204, "headers": []}
        await send(start)
        await send({"type": "http.response.body"})
        if len(served) == 2:
            both_served.set()

    config = http_server(app).config
    config.load()
    wire, protocol = Wire(), HttpProtocol(config, ServerState(), {})
    protocol.connection_made(wire)
    protocol.data_received(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\nPOST /next HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n")
    await asyncio.sleep(0.2)
    assert not wire.closed
    first_may_end.set()
    await asyncio.wait_for(both_served.wait(), 5)
    protocol.connection_lost(None)

    assert served == ["/slow", "/next"]
