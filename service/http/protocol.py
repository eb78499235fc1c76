"""Refuses malformed, too large and too slow HTTP requests before the application.

The client gets a problem document with a request id and the security headers, as for every other error. `HttpProtocol` adds
six things to uvicorn's protocol:

- A limit to the size of the head (the request line and the headers). httptools copies all earlier pieces of a header whenever
  a new piece arrives, so a head of 60 MB in small pieces would block the process for seconds.
- A time limit for the head and for the body.
- Checks of `Host`, of the request target and of `Transfer-Encoding`.
- A problem document for a request that cannot be read. uvicorn sends a line of text.
- A time limit for the client to read its response (`slow_readers.py`).
- One write for the head and the body of a response. uvicorn makes two writes.
"""

import asyncio
import re
from urllib.parse import unquote

import structlog
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.http.headers import RawHeaders, security_headers
from service.http.logs import new_request_id
from service.http.problems import Problem, problem_response
from service.http.slow_readers import SlowReader, hold_little

log = structlog.get_logger("rireki.http")

# Bytes of the request line and the headers together. The same limit applies to the chunk sizes and trailers of a chunked body.
MOST_OF_A_HEAD = 65_536
MOST_HEADERS = 200
LONGEST_ADDRESS = 16_384  # bytes
HEAD_WITHIN = 30.0  # seconds from the first byte of a head. For a connection's first head: from the start of the connection
BODY_WITHIN = 30.0  # seconds from the end of the head, even if the endpoint does not read the body
LINGERS = 2.0  # seconds that the connection stays open after the last response, if the client may still be sending

UNREADABLE = Problem(400, "The bytes are not a valid HTTP request.")
NO_HOST = Problem(400, "`Host` must be given once: a host name or an IP address, with or without a port.")
NO_ADDRESS = Problem(
    400, "The request target must be a path that begins with `/`, or a URL that begins with `http://` or `https://`."
)
NO_SUCH_VERSION = Problem(505, "The HTTP version must be 1.1 or 1.0.")
NO_TUNNEL = Problem(400, "CONNECT is not supported: this service is not a proxy.")
NO_SUCH_CODING = Problem(501, "`Transfer-Encoding` must be `chunked`.")
ADDRESS_TOO_LONG = Problem(414, f"The request target must have at most {LONGEST_ADDRESS} bytes.")
HEAD_TOO_LARGE = Problem(431, f"The headers must have at most {MOST_OF_A_HEAD} bytes, and at most {MOST_HEADERS} lines.")
HEAD_TOO_LATE = Problem(408, f"The headers did not arrive within {HEAD_WITHIN:g} seconds.")
BODY_TOO_LATE = Problem(408, f"The body did not arrive within {BODY_WITHIN:g} seconds.")

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%-]+)(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_ENCODED_SLASH = re.compile(rb"%(?=2[fF])")


class HttpProtocol(HttpToolsProtocol):
    """One connection. Limits the size and the time of each request."""

    _head = 0  # bytes that have arrived since the end of the last head or of the last part of a body
    _in_message = False
    _in_body = False
    _deadline: asyncio.TimerHandle | None = None
    _refusal: Problem | None = None
    _pending_refusal: Problem | None = None
    """The refusal to send after the responses to earlier requests.

    While it is set, bytes that arrive are dropped.
    """
    transport: "HeadWithBody"  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        hold_little(transport)
        self.transport = HeadWithBody(transport, self.loop)
        self._deadline = self.loop.call_later(HEAD_WITHIN, self._deadline_passed)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cancel_deadline()
        self.transport.slow_reader.end()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.slow_reader.begin()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self.transport.slow_reader.end()

    def eof_received(self) -> None:
        self.transport.flush()  # asyncio closes the connection when this method returns.

    def data_received(self, data: bytes) -> None:
        if self._pending_refusal is not None or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._head += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            # The client offers another protocol (`Upgrade`), which is ignored. httptools' parser stops there, so a new
            # parser reads the requests that follow.
            self.parser = HttpRequestParser(self)
            if rest := data[upgrade.args[0] :]:
                self._head = 0
                self.data_received(rest)
            return
        except HttpParserError:
            self._refuse(self._refusal or UNREADABLE)
            return
        if not (self._in_message or self._head):
            self._cancel_deadline()
        elif self._head > MOST_OF_A_HEAD:
            self._refuse(HEAD_TOO_LARGE)
        elif self._deadline is None:
            self._deadline = self.loop.call_later(BODY_WITHIN if self._in_body else HEAD_WITHIN, self._deadline_passed)

    def on_message_begin(self) -> None:
        self._in_message = self.transport.unread = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._refusal = self._problem_of_head()
        if self._refusal is not None:
            raise HttpParserError(self._refusal.detail)
        self._head = 0
        self._in_body = True
        self._cancel_deadline()
        super().on_headers_complete()
        # `%2F` stays encoded, because it is part of a name and does not separate two parts of the path.
        if _ENCODED_SLASH.search(self.scope["raw_path"]):
            self.scope["path"] = unquote(_ENCODED_SLASH.sub(b"%25", self.scope["raw_path"]))

    def on_body(self, body: bytes) -> None:
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = 0
        self._in_message = self._in_body = self.transport.unread = False
        self._cancel_deadline()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._pending_refusal is not None and not self.pipeline:
            self._send_refusal(self._pending_refusal)
        super().on_response_complete()

    def _problem_of_head(self) -> Problem | None:
        """Checks the head that has arrived. Returns the problem to refuse it with, or None.

        Replaces an absolute request target by a path and a `Host` header.
        """
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
        return None if self.url.startswith(b"/") else self._read_absolute_target()

    def _read_absolute_target(self) -> Problem | None:
        """Splits an absolute request target: its path becomes the target, its host becomes `Host`.

        Returns a problem if the target is not a valid URL. Source: RFC 9112, 3.2.2.
        """
        absolute = _ABSOLUTE.fullmatch(self.url)
        if absolute is None or not _HOST.fullmatch(absolute[1]):
            return NO_ADDRESS
        self.url = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
        self.headers[:] = [(b"host", absolute[1]), *(header for header in self.headers if header[0] != b"host")]
        return None

    def _deadline_passed(self) -> None:
        self._deadline = None
        if self.flow.read_paused:  # This side does not read, so the client is not to blame and gets more time.
            self._deadline = self.loop.call_later(BODY_WITHIN, self._deadline_passed)
        elif self._in_body:
            self._refuse(BODY_TOO_LATE)
        elif self._head:
            self._refuse(HEAD_TOO_LATE)
        else:
            self.transport.close()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, problem: Problem) -> None:
        """Sends this problem after the responses to earlier requests, then ends the connection.

        If the response to the refused request has begun, closes the connection without sending the problem.
        """
        if self.transport.is_closing():
            return
        self.transport.unread = True
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._send_refusal(problem)
        elif not self._in_body:
            self._pending_refusal = problem
        elif self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            self._pending_refusal = problem
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                log.info("connection closed", status=problem.status, detail=problem.detail)
                self.transport.close()
            else:
                self._send_refusal(problem)

    def _send_refusal(self, problem: Problem) -> None:
        request_id = new_request_id()
        log.info("request refused", request_id=request_id, status=problem.status, detail=problem.detail)
        # The server's own headers are the date, and in production Strict-Transport-Security.
        self.transport.write(_written(problem_response(problem), request_id, self.server_state.default_headers))
        self.transport.close()


class HeadWithBody:
    """Wraps a transport, and sends the head and the body of a response with one write.

    It keeps the head back until the body comes, but not beyond the present turn of the event loop: the body of a stream may
    come much later.
    """

    unread = False
    """Whether the client may still be sending.

    To close the connection at once would reset it while the client sends, and the client could lose the response. So `close`
    first closes only the sending side, and for `LINGERS` seconds drops all bytes that arrive.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting = b""
        self._lingers = False
        self.slow_reader = SlowReader(transport, loop)

    def is_closing(self) -> bool:
        return self._lingers or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if self._lingers:
            return
        if self._waiting or self.is_closing():  # The transport may be sending its last pieces, which must stay complete.
            self._transport.write(self._waiting + data)
            self._waiting = b""
        else:
            self._waiting = data
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Writes the piece that was kept back, unless the connection is closing."""
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
            self._loop.call_later(LINGERS, self._close)
        else:
            self._close()

    def _close(self) -> None:
        """Closes the connection when all bytes are sent.

        A client that does not read them would keep it open for ever.
        """
        if not self._transport.is_closing():
            self._transport.close()
            self.slow_reader.begin()


def _written(response: Response, request_id: str, of_server: RawHeaders) -> bytes:
    ours = [(b"x-request-id", request_id.encode()), (b"connection", b"close")]
    headers = [*of_server, *response.raw_headers, *security_headers(response.raw_headers), *ours]
    lines = [name + b": " + value + b"\r\n" for name, value in headers]
    return b"".join([STATUS_LINE[response.status_code], *lines, b"\r\n", response.body])
