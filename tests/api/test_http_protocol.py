"""Malformed, too large and too slow requests get a problem, and the connection ends."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs
from uvicorn.server import ServerState

from service.http import protocol as http_protocol
from service.http.protocol import HeadWithBody, HttpProtocol
from service.process.serve import http_server
from tests.service_fixture import Service, service

__all__ = ["service"]

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: a\r\n"


async def sent(service: Service, *parts: bytes, end: bool = True) -> bytes:
    """Sends these bytes. Returns all that the server sends until it closes the connection.

    With `end`, a second request follows, which asks the server to close the connection.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        for part in parts:
            writer.write(part)
        if end:
            writer.write(HEALTH + b"connection: close\r\n\r\n")
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


def problem_in(answer: bytes) -> dict[str, Any]:
    """Returns the problem document of the only response.

    Checks that the response has a request id and closes the connection.
    """
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    problem: dict[str, Any] = json.loads(body)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert int(headers["content-length"]) == len(body)
    assert len(headers["x-request-id"]) == 32
    assert first == f"HTTP/1.1 {problem['status']} {problem['title']}"
    return problem


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS, say\r\n\r\n",
        b"FOO /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /api/jobs/\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /api/jobs?type=\xff HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        HEALTH + b"x: a\x00b\r\n\r\n",
    ],
)
async def test_malformed_bytes_get_a_problem_with_a_request_id(service: Service, request_: bytes) -> None:
    with capture_logs() as logs:
        problem = problem_in(await sent(service, request_, end=False))

    assert problem["status"] == 400
    assert [line["event"] for line in logs] == ["request refused"]


async def test_only_a_target_over_the_limit_is_refused(service: Service) -> None:
    assert problem_in(await sent(service, b"GET /%s HTTP/1.1\r\nhost: a\r\n\r\n" % (b"a" * 17_000), end=False))["status"] == 414
    assert problem_in(await sent(service, b"GET /%s HTTP/1.1\r\nhost: a\r\n\r\n" % (b"a" * 66_000), end=False))["status"] == 414

    answer = await sent(service, b"GET /healthz?%s HTTP/1.1\r\nhost: a\r\n\r\n" % (b"a" * 16_000))

    assert b"\r\nx-request-id: " in answer
    assert not answer.startswith(b"HTTP/1.1 414 ")


@pytest.mark.parametrize("grows", [b"x: " + b"a" * 50_000, b"x: a\r\n" * 8_000, b"%s: " + b"a" * 50_000])
async def test_an_endless_request_head_is_refused_at_the_limit(service: Service, grows: bytes) -> None:
    answer = await sent(service, HEALTH, *[grows] * 2, end=False)

    assert problem_in(answer)["status"] == 431


async def test_an_endless_trailer_after_a_body_is_refused(service: Service) -> None:
    login = b"POST /api/auth/login HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n"

    answer = await sent(service, login, b"2\r\n{}\r\n0\r\n", b"x: a\r\n" * 100_000, end=False)

    assert problem_in(answer)["status"] == 431


async def test_bodies_and_earlier_requests_do_not_count_for_the_size_limit_of_a_request_head(service: Service) -> None:
    body = b"a" * 900_000
    large = b"GET /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body)

    answer = await sent(service, large, body, *[HEALTH + b"y: " + b"a" * 1_000 + b"\r\n\r\n"] * 200)

    assert answer.count(b"HTTP/1.1 200 ") == 202


async def test_a_connection_without_a_whole_request_head_is_closed_in_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_WITHIN", 0.2)

    assert await sent(service, b"", end=False) == b""
    assert problem_in(await sent(service, HEALTH, end=False))["status"] == 408


async def test_a_connection_may_idle_between_requests_but_not_within_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_WITHIN", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)

    for _ in range(2):
        writer.write(HEALTH + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        await reader.readexactly(len(b'{"status":"ok"}'))
        await asyncio.sleep(0.2)
    writer.write(HEALTH)

    assert problem_in(await reader.read())["status"] == 408
    writer.close()


class Wire(asyncio.Transport):
    """A transport that keeps each write in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def write_eof(self) -> None:
        self.close()

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


HEAD_OF_FIVE: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}
FIVE: Message = {"type": "http.response.body", "body": b"hello"}


CloseByClient = Callable[[], None]


async def written_by(app: Callable[[Send, CloseByClient], Awaitable[None]]) -> list[bytes]:
    """Runs `app` on a transport that keeps the writes. Returns the writes of the response.

    They include those up to one turn of the event loop after `app` has ended. `app` gets a function
    that acts as a client closing its side of the connection.
    """
    ended = asyncio.Event()

    def close_by_client() -> None:
        protocol.eof_received()
        wire.close()

    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        await app(send, close_by_client)
        asyncio.get_running_loop().call_soon(ended.set)

    config = http_server(answers).config
    config.load()
    wire, protocol = Wire(), HttpProtocol(config, ServerState(), {})
    protocol.connection_made(wire)
    protocol.data_received(HEALTH + b"\r\n")
    await ended.wait()
    protocol.connection_lost(None)
    return wire.written


async def test_the_headers_and_body_of_a_response_are_one_write() -> None:
    async def app(send: Send, close_by_client: CloseByClient) -> None:
        await send(HEAD_OF_FIVE)
        await send(FIVE)

    (written,) = await written_by(app)

    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert written.endswith(b"\r\n\r\nhello")


async def test_the_headers_of_a_response_do_not_wait_for_a_late_body() -> None:
    async def app(send: Send, close_by_client: CloseByClient) -> None:
        await send(HEAD_OF_FIVE)
        await asyncio.sleep(0.01)
        await send(FIVE)

    head, body = await written_by(app)

    assert head.endswith(b"\r\n\r\n")
    assert body == b"hello"


async def test_the_headers_of_a_response_are_written_before_the_connection_ends() -> None:
    async def app(send: Send, close_by_client: CloseByClient) -> None:
        await send(HEAD_OF_FIVE)
        close_by_client()

    (head,) = await written_by(app)

    assert head.endswith(b"\r\n\r\n")


async def test_a_pending_part_of_a_response_is_written_before_the_transport_closes() -> None:
    wire = Wire()
    answer = HeadWithBody(wire, asyncio.get_running_loop())
    answer.write(b"a")
    answer.close()
    assert (wire.written, wire.closed) == ([b"a"], True)

    answer.write(b"b")  # the transport is closing, but its buffer is still sent
    assert wire.written == [b"a", b"b"]


async def test_a_pending_part_of_a_response_is_not_written_to_a_closed_connection() -> None:
    wire = Wire()
    answer = HeadWithBody(wire, asyncio.get_running_loop())
    answer.write(b"a")
    wire.closed = True

    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert wire.written == []
