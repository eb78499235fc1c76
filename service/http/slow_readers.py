"""Ends the connection of a client that does not read its response.

Until then, this process and the system hold little for this client.

The bytes that such a client leaves unread stay in this process and in the system's buffer of the connection. The system would
let that buffer grow to megabytes (`net.ipv4.tcp_wmem`), so it has a limit of its own: `MOST_UNSENT`. And a client must read at
least `LEAST_READ` bytes in each `READ_WITHIN` seconds while more than 64 KiB wait for it, or while its connection is closing.

Bytes that the system holds count as unread until the client's system has them. Otherwise a slow client would seem to read
nothing for a long time and then a megabyte at once, because the system takes more bytes only when a third of its buffer is free.
"""

import asyncio
import contextlib
import fcntl
import socket
import sys
import termios

import structlog

log = structlog.get_logger("rireki.http")

READ_WITHIN = 30.0  # seconds
LEAST_READ = 16 * 1024  # bytes; fewer if fewer are left
MOST_UNSENT = 64 * 1024  # bytes that the system takes for a connection beyond those that are on their way


def hold_little(transport: asyncio.Transport) -> None:
    """Limits the bytes that the system takes for this connection.

    A client that reads is as fast as before.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MOST_UNSENT)


class SlowReader:
    """Watches one connection between `begin` and `end`."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._left = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        self.end()
        self._left = self._unread()
        if self._left:
            self._timer = self._loop.call_later(READ_WITHIN, self._look)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        left = self._unread()
        if self._left - left >= min(LEAST_READ, self._left):
            self.begin()
            return
        self._timer = None
        log.info("connection closed: the client does not read", unread=left)
        self._transport.abort()

    def _unread(self) -> int:
        """Returns the bytes that the client's system does not have yet."""
        in_system = 0
        connection = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # Some operating systems do not give this number.
            if connection is not None:
                answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
                in_system = int.from_bytes(answer, sys.byteorder)
        return self._transport.get_write_buffer_size() + in_system
