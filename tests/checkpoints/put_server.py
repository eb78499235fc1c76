"""A server that stores objects with PUT and returns them with GET. It can misbehave on demand."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class PutServer(ThreadingHTTPServer):
    """`objects` are the bodies by path. If `status` is set, every request is answered with it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.credentials: list[str | None] = []
        self.knows_conditions = True
        self.refuses_conditions = False
        self.status: int | None = None
        self.stops_after: int | None = None  # the number of requests that the server answers, before it answers no more

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: PutServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.server.objects.get(self.path)
        self._answer(404 if body is None else 200, body or b"")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        is_conditional = self.headers["if-none-match"] == "*"
        if is_conditional and self.server.refuses_conditions:
            self._answer(501)
        elif is_conditional and self.server.knows_conditions and self.path in self.server.objects:
            self._answer(412)
        else:
            if not self._stopped and self.server.status is None:
                self.server.objects[self.path] = body
            self._answer(201)

    @property
    def _stopped(self) -> bool:
        return self.server.stops_after is not None and len(self.server.asked) >= self.server.stops_after

    def _answer(self, status: int, body: bytes = b"") -> None:
        if self._stopped:
            self.close_connection = True
            return
        self.server.asked.append((self.command, self.path))
        self.server.credentials.append(self.headers["authorization"])
        self.send_response(self.server.status or status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def put_server() -> Iterator[PutServer]:
    with PutServer() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
