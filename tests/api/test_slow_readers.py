"""A client that does not read its response loses its connection; a slow one keeps it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service.http import slow_readers
from service.process.serve import http_server

PIECE = b"x" * 65_536
REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
LAST_REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_readers, "READ_WITHIN", 0.5)


class Server:
    """Sends `pieces` in each response. Counts the responses that have ended."""

    def __init__(self, pieces: int, *, at_once: bool) -> None:
        self.body = [PIECE * pieces] if at_once else [PIECE] * pieces
        self.responses = 0
        self.taken = 0  # pieces of all responses that the server has taken over
        self.port = 0
        self.server: uvicorn.Server = http_server(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        length = str(sum(map(len, self.body))).encode()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
            for piece in self.body:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                self.taken += bool(self.connections)  # after the end of a connection, a server drops the pieces
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.responses += 1

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)


@contextlib.asynccontextmanager
async def running(pieces: int, *, at_once: bool = False) -> AsyncIterator[Server]:
    server, listening = Server(pieces, at_once=at_once), socket.create_server(("127.0.0.1", 0))
    server.server.config.lifespan = "off"
    server.port = listening.getsockname()[1]
    serving = asyncio.create_task(server.server.serve(sockets=[listening]))
    await until(lambda: server.server.started)
    try:
        yield server
    finally:
        server.server.should_exit = True
        await serving
        listening.close()


def connected(server: Server, request: bytes, *, buffer: int = 4096) -> socket.socket:
    """Returns a connection with a small buffer that has sent a request and has read nothing."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(request)
    connection.setblocking(False)
    return connection


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("at_once", [False, True], ids=["in pieces", "at once"])
@pytest.mark.parametrize("request_", [REQUEST, LAST_REQUEST], ids=["kept alive", "closing"])
async def test_a_client_that_stops_reading_loses_its_connection(request_: bytes, at_once: bool) -> None:
    async with running(512, at_once=at_once) as server:
        with connected(server, request_):
            await until(lambda: server.connections == 1)

            await until(lambda: server.connections == 0)

            await until(lambda: server.responses == 1)


async def test_little_is_held_for_a_client_that_reads_nothing() -> None:
    """Without a limit of its own, the system takes megabytes for one connection."""
    async with running(512) as server:
        with connected(server, REQUEST):
            await until(lambda: server.taken > 0)
            await until(lambda: server.connections == 0)

    assert server.taken * len(PIECE) <= 512 * 1024


async def test_a_client_that_reads_slowly_gets_the_whole_response() -> None:
    """The client reads for some seconds, many times longer than the limit for one read."""
    async with running(64) as server:
        with connected(server, LAST_REQUEST, buffer=65_536) as client:
            read = 0
            while piece := await asyncio.get_running_loop().sock_recv(client, 16_384):
                read += len(piece)
                await asyncio.sleep(0.02)

    assert read > 64 * len(PIECE)


async def test_a_client_that_takes_a_byte_now_and_then_loses_its_connection() -> None:
    async with running(512) as server:
        with connected(server, REQUEST) as client:
            await until(lambda: server.connections == 1)

            async with asyncio.timeout(30):
                with contextlib.suppress(ConnectionError):
                    while server.connections:
                        await asyncio.get_running_loop().sock_recv(client, 1)
                        await asyncio.sleep(0.05)

            assert server.connections == 0


async def test_connections_that_are_read_are_left_alone() -> None:
    async with running(1) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(4):
            writer.write(REQUEST)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(PIECE))
            await asyncio.sleep(0.3)

        assert server.connections == 1
        writer.close()
