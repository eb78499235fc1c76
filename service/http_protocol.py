"""The server's HTTP below the application: what is no request, too large or too slow is refused here, by a problem with an id, as
everything else is. uvicorn's own protocol has no limit to a head (httptools joins its parts anew with each that comes: 60 MB
of them stall the process for seconds), waits for its end without end, and answers what it cannot read by a line of text. And it
sends the head of an answer and its body one after the other, each by a write of its own: here they go together.
"""

import asyncio

import structlog
from httptools import HttpParserError
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.logs import new_request_id
from service.problems import Problem, problem_response

log = structlog.get_logger("rireki.http")

MOST_OF_A_HEAD = (
    65_536  # bytes, of the request line and the headers, or of what comes between parts of a body and is none of it
)
LONGEST_ADDRESS = 16_384  # bytes
HEAD_WITHIN = 30.0  # seconds from its first byte; from the beginning of the connection for the first

UNREADABLE = Problem(400, "This is no HTTP request that can be read.")
ADDRESS_TOO_LONG = Problem(414, f"The address is longer than {LONGEST_ADDRESS} bytes.")
HEAD_TOO_LARGE = Problem(431, f"The headers are larger than {MOST_OF_A_HEAD} bytes.")
HEAD_TOO_LATE = Problem(408, f"The headers did not come within {HEAD_WITHIN:g} seconds.")


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    _head = 0  # bytes that have come since the last head or part of a body was whole
    _late: asyncio.TimerHandle | None = None
    _refusal: Problem | None = None
    transport: "HeadWithBody"  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = HeadWithBody(transport, self.loop)
        self._late = self.loop.call_later(HEAD_WITHIN, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._head_has_come()

    def eof_received(self) -> None:
        self.transport.flush()  # the connection ends now

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if not self._head:
            self._head_has_come()
        elif self._head > MOST_OF_A_HEAD:
            self._refuse(HEAD_TOO_LARGE)
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_WITHIN, self._head_is_late)

    def on_headers_complete(self) -> None:
        if len(self.url) > LONGEST_ADDRESS:
            self._refusal = ADDRESS_TOO_LONG
            raise HttpParserError(ADDRESS_TOO_LONG.detail)
        self._head = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal or UNREADABLE)

    def _head_is_late(self) -> None:
        self._late = None
        if self._head:
            self._refuse(HEAD_TOO_LATE)
        else:
            self.transport.close()

    def _head_has_come(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self, problem: Problem) -> None:
        """The last word of this connection; without one where an answer is under way."""
        if self.transport.is_closing():
            return
        request_id = new_request_id()
        log.info("request refused", request_id=request_id, status=problem.status, detail=problem.detail)
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_written(problem_response(problem), request_id))
        self.transport.close()


class HeadWithBody:
    """What an answer is written to: a first piece waits for a second one, for no longer than this turn of the loop (an answer that
    streams has none yet), and both are one write, which wakes the client once."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting = b""
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if self._waiting or self.is_closing():  # it may have much to send yet, and nothing may be missing from between
            self._transport.write(self._waiting + data)
            self._waiting = b""
        else:
            self._waiting = data
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Writes what waits, if anybody is there."""
        if self._waiting and not self.is_closing():
            self._transport.write(self._waiting)
        self._waiting = b""

    def close(self) -> None:
        self.flush()
        self._transport.close()


def _written(response: Response, request_id: str) -> bytes:
    headers = [*response.raw_headers, (b"x-request-id", request_id.encode()), (b"connection", b"close")]
    lines = [name + b": " + value + b"\r\n" for name, value in headers]
    return b"".join([STATUS_LINE[response.status_code], *lines, b"\r\n", response.body])
