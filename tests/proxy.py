"""A TCP proxy before PostgreSQL that cuts or stalls connections at a chosen statement.

The statement is chosen by a marker: bytes among its arguments, such as the name of a worker.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from urllib.parse import parse_qs, unquote, urlencode, urlsplit, urlunsplit

# PostgreSQL sends this error message (ErrorResponse) on pg_terminate_backend and at a shutdown.
FAREWELL = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
GOODBYE = b"E" + (len(FAREWELL) + 4).to_bytes(4, "big") + FAREWELL
# PostgreSQL's message ReadyForQuery: the whole answer was sent, and no transaction is open
READY = b"Z\x00\x00\x00\x05I"


class Fault(Enum):
    CUT_BEFORE = "the statement never reaches the server"
    CUT_AFTER = "the server has carried the statement out; its answer never reaches the client"
    GOODBYE = "the server says after its answer that it ends the connection, which closes at the client's next request"
    STALL = "the answer waits for `resume`"


class Proxy:
    """Forwards connections to the server of `url`. Clients connect to `self.url`.

    The host of `url` may be a folder of sockets, written as `?host=`.
    """

    def __init__(self, url: str, port: int) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self._host = query.pop("host", [unquote(parts.hostname or "localhost")])[0]
        self._port = int(query.pop("port", [str(parts.port or 5432)])[0])
        user = parts.netloc.rpartition("@")[0]
        query["sslmode"] = ["disable"]
        self.url = urlunsplit(
            parts._replace(
                netloc=f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}", query=urlencode(query, doseq=True)
            )
        )
        self.opened = 0
        self.faults_met: list[Fault] = []
        self.closed_to_new = False
        self._hanging = False
        self._faults: dict[bytes, Fault] = {}
        self._resumed = asyncio.Event()
        self._links: set[_Link] = set()

    def once(self, marker: str | bytes, fault: Fault) -> None:
        """Applies a fault to the next statement that holds `marker`, and to no other statement."""
        self._faults[marker.encode() if isinstance(marker, str) else marker] = fault

    def cut(self) -> None:
        """Breaks every connection now, for client and server."""
        for link in tuple(self._links):
            link.cut()

    def hang(self) -> None:
        """Holds back every answer until `resume`, also answers to new connections."""
        self._hanging = True

    def resume(self) -> None:
        self._hanging = False
        self._resumed.set()

    def fault_in(self, data: bytes, before: bytes) -> Fault | None:
        """Returns the fault for `data`. A marker may begin in `before`, the data sent before."""
        for marker in self._faults:
            if marker in before[1 - len(marker) :] + data:
                fault = self._faults.pop(marker)
                self.faults_met.append(fault)
                return fault
        return None

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        if self.closed_to_new:
            writer.transport.abort()
            return
        try:
            server = await self._dial()
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self, (reader, writer), server)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    async def wait_until_resumed(self) -> None:
        await self._resumed.wait()

    @property
    def hanging(self) -> bool:
        return self._hanging

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        return await asyncio.open_connection(self._host, self._port)


class _Link:
    """A client's connection, and the connection to the server that belongs to it."""

    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._fault: Fault | None = None
        self._sent_away = False

    async def run(self) -> None:
        with suppress(OSError):
            both = [asyncio.create_task(self._forward_requests()), asyncio.create_task(self._forward_answers())]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.cut()
                for task in both:
                    task.cancel()
                await asyncio.gather(*both, return_exceptions=True)

    def cut(self) -> None:
        self._to_client.transport.abort()
        self._to_server.transport.abort()

    async def _forward_requests(self) -> None:
        tail = b""
        while data := await self._from_client.read(65536):
            fault = self._proxy.fault_in(data, tail)
            tail = data[-200:]
            if fault is Fault.CUT_BEFORE:
                return
            if self._sent_away:
                return
            self._fault = fault or self._fault
            self._to_server.write(data)
            await self._to_server.drain()

    async def _forward_answers(self) -> None:
        answer = b""
        while data := await self._from_server.read(65536):
            if self._fault is Fault.CUT_AFTER:
                answer += data
                if answer.endswith(READY):
                    return
                continue
            if self._fault is Fault.GOODBYE and data.endswith(READY):
                data += GOODBYE
                self._sent_away = True
            if self._fault is Fault.STALL or self._proxy.hanging:
                await self._proxy.wait_until_resumed()
            self._to_client.write(data)
            await self._to_client.drain()


@asynccontextmanager
async def proxy_before(url: str) -> AsyncIterator[Proxy]:
    proxy: Proxy

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await proxy.accept(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy = Proxy(url, server.sockets[0].getsockname()[1])
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        await server.wait_closed()
