"""A TCP proxy between one process and one server, which breaks connections on demand.

It lasts for the whole campaign and can also be slow or silent for a while. It does not understand
the protocol: it only recognises writes to the log. (Tests of a single fault use `tests/proxy.py`,
which breaks one chosen statement.)
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, auto

from tests.proxy import READY

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

ACTORS = (b"worker:", b"user:", b"system:")
"""The proxy takes a request with one of these texts for a write to the log.

Every such write names an actor, and almost no other request does.
"""


class Cut(Enum):
    """A way to break the connection of a client that is writing to the log.

    The client never gets an answer. The server never gets the write (`WRITE_LOST`), gets it at once
    (`ANSWER_LOST`), or gets it seconds later (`WRITE_LATE`).
    """

    WRITE_LOST = auto()
    ANSWER_LOST = auto()
    WRITE_LATE = auto()


class Line:
    def __init__(self, dial: Callable[[], Awaitable[Streams]]) -> None:
        self.port = 0
        self.delay = 0.0  # seconds by which every byte is delayed, in each direction
        self.cuts_met = 0
        self._dial = dial
        self._armed: tuple[Cut, float] | None = None
        self._forwarding = asyncio.Event()
        self._forwarding.set()
        self._links: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._links, return_exceptions=True)

    def cut(self) -> None:
        """Breaks every open connection, for the client and for the server."""
        for link in tuple(self._links):
            link.cancel()

    def fall_silent(self) -> None:
        """Stops forwarding bytes and keeps connections open. New connections are silent, too."""
        self._forwarding.clear()

    def heal(self) -> None:
        """Ends all faults. Connections that were silent are closed."""
        if not self._forwarding.is_set():
            self.cut()
            self._forwarding.set()
        self.delay = 0.0
        self._armed = None

    def arm(self, cut: Cut, seconds: float) -> None:
        """Makes `cut` happen at the next write to the log. `seconds` is the delay of a late write."""
        self._armed = cut, seconds

    def fire(self, data: bytes) -> tuple[Cut, float] | None:
        """Returns the planned cut if this request is a write to the log. It returns each cut once."""
        if self._armed is None or not any(actor in data for actor in ACTORS):
            return None
        fired, self._armed = self._armed, None
        self.cuts_met += 1
        return fired

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._forwarding.wait()
        writer.write(data)
        await writer.drain()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        # `cut` cancels this task. The error is suppressed, because no task waits for this task.
        with suppress(OSError, asyncio.CancelledError):
            try:
                await self._forwarding.wait()
                server = await self._dial()
                await _Link(self, (reader, writer), server).run()
            finally:
                writer.transport.abort()
                self._links.discard(link)


class _Link:
    def __init__(self, line: Line, client: Streams, server: Streams) -> None:
        self._line = line
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._answer_is_lost = False

    async def run(self) -> None:
        both = [asyncio.create_task(self._requests()), asyncio.create_task(self._answers())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for transport in (self._to_client.transport, self._to_server.transport):
                transport.abort()
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _requests(self) -> None:
        while data := await self._from_client.read(65536):
            fired = self._line.fire(data)
            if fired is not None:
                await self._cut(data, *fired)
                return
            await self._line.carry(self._from_client, self._to_server, data)

    async def _answers(self) -> None:
        answer = b""
        while data := await self._from_server.read(65536):
            if self._answer_is_lost:
                answer += data
                if answer.endswith(READY):
                    return
                continue
            await self._line.carry(self._from_server, self._to_client, data)

    async def _cut(self, data: bytes, cut: Cut, seconds: float) -> None:
        if cut is Cut.WRITE_LOST:
            return
        self._answer_is_lost = True
        if cut is Cut.WRITE_LATE:
            # The client sees the broken connection at once, and may send its next write before this
            # write arrives.
            self._to_client.transport.abort()
            await asyncio.sleep(seconds)
        self._to_server.write(data)
        await self._to_server.drain()
        await asyncio.sleep(10)  # a limit: `_answers` ends the connection as soon as the server's answer has come


def to_socket(path: Callable[[], str]) -> Callable[[], Awaitable[Streams]]:
    async def dial() -> Streams:
        return await asyncio.open_unix_connection(path())

    return dial


def to_port(port: int) -> Callable[[], Awaitable[Streams]]:
    async def dial() -> Streams:
        return await asyncio.open_connection("127.0.0.1", port)

    return dial
