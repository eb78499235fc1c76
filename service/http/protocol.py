"""The server's HTTP below the application: what is no request, too large or too slow is refused here, by a problem with an id, as
everything else is. uvicorn's own protocol has no limit to a head (httptools joins its parts anew with each that comes: 60 MB
of them stall the process for seconds), waits for its end and for the end of a body without end, lets a request without `Host`
pass, and answers what it cannot read by a line of text. And it sends the head of an answer and its body one after the other, each
by a write of its own: here they go together.
"""

import asyncio
import re
from urllib.parse import unquote

import structlog
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.http.logs import new_request_id
from service.http.problems import Problem, problem_response

log = structlog.get_logger("rireki.http")

MOST_OF_A_HEAD = (
    65_536  # bytes, of the request line and the headers, or of what comes between parts of a body and is none of it
)
MOST_HEADERS = 200
LONGEST_ADDRESS = 16_384  # bytes
HEAD_WITHIN = 30.0  # seconds from its first byte; from the beginning of the connection for the first
BODY_WITHIN = 30.0  # seconds from the end of the head, whether anybody reads it or not
LINGERS = 2.0  # seconds for a client that still sends to read our last word

UNREADABLE = Problem(400, "This is no HTTP request that can be read.")
NO_HOST = Problem(400, "`Host` must be there once, and be a name or an address with at most a port.")
NO_ADDRESS = Problem(400, "The request's target must be a path that begins with `/`, or an address that begins with `http://`.")
NO_SUCH_VERSION = Problem(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
NO_TUNNEL = Problem(400, "CONNECT asks for a proxy, and this is none.")
NO_SUCH_CODING = Problem(501, "The only Transfer-Encoding that is understood is `chunked`.")
ADDRESS_TOO_LONG = Problem(414, f"The address is longer than {LONGEST_ADDRESS} bytes.")
HEAD_TOO_LARGE = Problem(431, f"The headers are larger than {MOST_OF_A_HEAD} bytes, or more than {MOST_HEADERS}.")
HEAD_TOO_LATE = Problem(408, f"The headers did not come within {HEAD_WITHIN:g} seconds.")
BODY_TOO_LATE = Problem(408, f"The body did not come within {BODY_WITHIN:g} seconds.")

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%-]+)(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_ENCODED_SLASH = re.compile(rb"%(?=2[fF])")


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    _head = 0  # bytes that have come since the last head or part of a body was whole
    _in_message = False
    _in_body = False
    _late: asyncio.TimerHandle | None = None
    _refusal: Problem | None = None
    _last_word: Problem | None = None
    """Said as soon as the requests before it are answered. Whatever else comes is not read any more."""
    transport: "HeadWithBody"  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = HeadWithBody(transport, self.loop)
        self._late = self.loop.call_later(HEAD_WITHIN, self._is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._in_time()

    def eof_received(self) -> None:
        self.transport.flush()  # the connection ends now

    def data_received(self, data: bytes) -> None:
        if self._last_word is not None or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._head += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            # We speak nothing else, so the next request follows. This parser reads no more.
            self.parser = HttpRequestParser(self)
            if rest := data[upgrade.args[0] :]:
                self._head = 0
                self.data_received(rest)
            return
        except HttpParserError:
            self._refuse(self._refusal or UNREADABLE)
            return
        if not (self._in_message or self._head):
            self._in_time()
        elif self._head > MOST_OF_A_HEAD:
            self._refuse(HEAD_TOO_LARGE)
        elif self._late is None:
            self._late = self.loop.call_later(BODY_WITHIN if self._in_body else HEAD_WITHIN, self._is_late)

    def on_message_begin(self) -> None:
        self._in_message = self.transport.unread = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._refusal = self._amiss()
        if self._refusal is not None:
            raise HttpParserError(self._refusal.detail)
        self._head = 0
        self._in_body = True
        self._in_time()
        super().on_headers_complete()
        if _ENCODED_SLASH.search(self.scope["raw_path"]):  # a character of a name, and no slash between two
            self.scope["path"] = unquote(_ENCODED_SLASH.sub(b"%25", self.scope["raw_path"]))

    def on_body(self, body: bytes) -> None:
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = 0
        self._in_message = self._in_body = self.transport.unread = False
        self._in_time()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._last_word is not None and not self.pipeline:
            self._say(self._last_word)
        super().on_response_complete()

    def _amiss(self) -> Problem | None:
        """What is wrong with the head that has come. An absolute target is brought into the usual form."""
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            return NO_SUCH_VERSION
        if self.parser.get_method() == b"CONNECT":
            return NO_TUNNEL
        if len(self.url) > LONGEST_ADDRESS:
            return ADDRESS_TOO_LONG
        if len(self.headers) > MOST_HEADERS or sum(len(name) + len(value) + 4 for name, value in self.headers) > MOST_OF_A_HEAD:
            return HEAD_TOO_LARGE
        hosts = [value for name, value in self.headers if name == b"host"]
        fewest = 0 if version == "1.0" else 1
        if not fewest <= len(hosts) <= 1 or not all(map(_HOST.fullmatch, hosts)):
            return NO_HOST
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            return NO_SUCH_CODING
        return None if self.url.startswith(b"/") else self._absolute_amiss()

    def _absolute_amiss(self) -> Problem | None:
        """The target's host goes before the header (RFC 9112, 3.2.2)."""
        absolute = _ABSOLUTE.fullmatch(self.url)
        if absolute is None or not _HOST.fullmatch(absolute[1]):
            return NO_ADDRESS
        self.url = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
        self.headers[:] = [(b"host", absolute[1]), *(header for header in self.headers if header[0] != b"host")]
        return None

    def _is_late(self) -> None:
        self._late = None
        if self.flow.read_paused:  # it is we who do not read
            self._late = self.loop.call_later(BODY_WITHIN, self._is_late)
        elif self._in_body:
            self._refuse(BODY_TOO_LATE)
        elif self._head:
            self._refuse(HEAD_TOO_LATE)
        else:
            self.transport.close()

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self, problem: Problem) -> None:
        """The last word of this connection, after the answers to what came before; without one where an answer is under way to the
        request itself."""
        if self.transport.is_closing():
            return
        self.transport.unread = True
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._say(problem)
        elif not self._in_body:
            self._last_word = problem
        elif self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            self._last_word = problem
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                log.info("connection closed", status=problem.status, detail=problem.detail)
                self.transport.close()
            else:
                self._say(problem)

    def _say(self, problem: Problem) -> None:
        request_id = new_request_id()
        log.info("request refused", request_id=request_id, status=problem.status, detail=problem.detail)
        self.transport.write(_written(problem_response(problem), request_id))
        self.transport.close()


class HeadWithBody:
    """What an answer is written to: a first piece waits for a second one, for no longer than this turn of the loop (an answer that
    streams has none yet), and both are one write, which wakes the client once."""

    unread = False
    """Whether the client may still be sending. A connection that is closed then is reset, and the answer may be lost with it: so
    first only our side ends, and what still comes is read and dropped for a moment."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting = b""
        self._lingers = False

    def is_closing(self) -> bool:
        return self._lingers or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if self._lingers:
            return
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
        if self._lingers:
            return
        self.flush()
        if self.unread and not self._transport.is_closing():
            self._lingers = True
            self._transport.write_eof()
            self._transport.resume_reading()
            self._loop.call_later(LINGERS, self._transport.close)
        else:
            self._transport.close()


def _written(response: Response, request_id: str) -> bytes:
    headers = [*response.raw_headers, (b"x-request-id", request_id.encode()), (b"connection", b"close")]
    lines = [name + b": " + value + b"\r\n" for name, value in headers]
    return b"".join([STATUS_LINE[response.status_code], *lines, b"\r\n", response.body])
