"""A small Chatwork on loopback, for development, the demo and the tests: real HTTP, Chatwork's own behaviours, and on demand the
bad days of a real server. It serves GET /v2/rooms and GET /v2/rooms/{id}/messages, and forgets
everything when it stops.

A message given to `force=0` or `force=1` is not given to that token with `force=0` again, whether
or not the answer arrived.
"""

import asyncio
import math
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from http.client import responses
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import orjson

from workers.chatwork.sandbox_data import OWN_ROOMS, Account, Message, SandboxRoom, load_rooms, message_json

NEWEST = 100  # messages that one answer holds
LONGEST_HEAD = 64 * 1024  # bytes of a request
REMEMBERED = 100_000  # requests in the log


@dataclass(slots=True)
class SandboxRequest:
    """A request as it arrived.

    `at` is `time.monotonic()`; `status` is what was answered, None as long as nothing was.
    """

    path: str
    room_id: str | None
    force: bool
    at: float
    status: int | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] | None = None
    broken_off: bool = False
    """The head promises the body, and then the connection breaks."""


class _NoAnswer(Exception):
    """The connection is to be closed without a word."""


_Fault = Callable[[Callable[[], _Answer]], Awaitable[_Answer]]
"""What stands between a request and its answer; it decides whether the answer is made at all."""


@dataclass(slots=True)
class _Trouble:
    times: int
    room_id: str | None
    fault: _Fault


class Sandbox:
    """`async with Sandbox() as sandbox:` serves until the end of the block; `base_url` and `token` are what a client needs.

    `data` is a file of rooms (`sandbox_data.py`), None the sandbox's own; a bad one raises
    `SandboxDataError` at once. `limit` requests are allowed in any `window` seconds for the token,
    429 beyond."""

    def __init__(
        self,
        data: Path | None = None,
        *,
        rooms: dict[str, SandboxRoom] | None = None,
        limit: int = 300,
        window: float = 300.0,
        token: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.token = token or secrets.token_hex(16)
        self.rooms = rooms if rooms is not None else load_rooms(data or OWN_ROOMS)
        self.requests: deque[SandboxRequest] = deque(maxlen=REMEMBERED)
        self.limit = limit
        self.window = window
        self.host = host
        self.port = port
        self._readable: dict[str, int] = {}  # by room: how many of its newest messages the plan lets anybody read
        self._given: dict[str, int] = {}  # by room: how many of its messages the token has been given
        self._last_message_id = max((number for room in self.rooms.values() for number in room.message_ids), default=0)
        self._arrivals: deque[float] = deque()
        self._troubles: list[_Trouble] = []
        self._delay = 0.0
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}/v2"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, self.port, limit=LONGEST_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    # What people say there, and the bad days -----------------------------------------------------------------------------------

    def add_room(self, room_id: str, name: str, description: str | None = None) -> None:
        """A new room; or, under a known id, the room's new name and description."""
        if room_id in self.rooms:
            self.rooms[room_id].name, self.rooms[room_id].description = name, description
        else:
            self.rooms[room_id] = SandboxRoom(int(room_id), name, description, [], [], int(time.time()))

    def say(self, room_id: str, body: str, *, sender: str = "Sandbox", at: int | None = None) -> str:
        """One more message in a room, sent now or at Unix second `at`. Its id."""
        self._last_message_id += 1
        message = Message(
            message_id=str(self._last_message_id),
            account=Account(account_id=1, name=sender),
            body=body,
            send_time=int(time.time()) if at is None else at,
        )
        room = self.rooms[room_id]
        room.messages.append(message_json(message))
        room.message_ids.append(self._last_message_id)
        room.last_update_time = message.send_time
        return message.message_id

    def say_oddly(self, room_id: str, fields: Mapping[str, Any] | bytes) -> str:
        """One more message, of which these fields are otherwise (null, of another type), or whose JSON is these very bytes. The
        id that it would have had."""
        message_id = self.say(room_id, "odd")
        messages = self.rooms[room_id].messages
        odd = fields if isinstance(fields, bytes) else orjson.dumps({**orjson.loads(messages[-1]), **fields})
        messages[-1] = odd
        return message_id

    def distort_room(self, room_id: str, fields: Mapping[str, Any]) -> None:
        """The room is listed with these fields otherwise."""
        self.rooms[room_id].odd_fields.update(fields)

    def withhold(self, room_id: str, *, newest: int | None) -> None:
        """As on a free plan, only so many of the room's newest messages can be read, and an answer that leaves out older ones
        says so in a header. None lets all be read again."""
        if newest is None:
            self._readable.pop(room_id, None)
        else:
            self._readable[room_id] = newest

    def edit(self, room_id: str, message_id: str, body: str, *, at: int | None = None) -> None:
        """Somebody rewrites a message. As with Chatwork, `force=0` does not give it again."""
        room = self.rooms[room_id]
        place = room.message_ids.index(int(message_id))
        message = Message.model_validate_json(room.messages[place])
        edited = message.model_copy(update={"body": body, "update_time": int(time.time()) if at is None else at})
        room.messages[place] = message_json(edited)

    def fail(self, *, status: int = 500, times: int = 1, room_id: str | None = None) -> None:
        """The next `times` requests (of this room, or any) are answered with `status` and nothing is given."""

        async def fault(answer: Callable[[], _Answer]) -> _Answer:
            return _problem(status)

        self._troubles.append(_Trouble(times, room_id, fault))

    def answer(
        self,
        body: bytes,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        room_id: str | None = None,
    ) -> None:
        """The next `times` requests get these very bytes; `headers` are added to the usual ones."""

        async def fault(answer: Callable[[], _Answer]) -> _Answer:
            return _Answer(status, body, headers)

        self._troubles.append(_Trouble(times, room_id, fault))

    def drop(self, *, times: int = 1, room_id: str | None = None, given: bool = False) -> None:
        """The connection breaks instead of an answer; with `given`, in the middle of the answer: what stood in it counts as
        given."""

        async def fault(answer: Callable[[], _Answer]) -> _Answer:
            if not given:
                raise _NoAnswer
            made = answer()
            return _Answer(made.status, made.body, made.headers, broken_off=True)

        self._troubles.append(_Trouble(times, room_id, fault))

    def hang(self, *, times: int = 1, room_id: str | None = None, given: bool = False) -> None:
        """No answer comes, and the connection stays open; with `given`, what the answer holds counts as given."""

        async def fault(answer: Callable[[], _Answer]) -> _Answer:
            if given:
                answer()
            await asyncio.Event().wait()
            raise _NoAnswer

        self._troubles.append(_Trouble(times, room_id, fault))

    def hold(self, *, times: int = 1, room_id: str | None = None, given: bool = False) -> "Held":
        """The next `times` requests wait until they are released; with `given`, their answers are made when they arrive."""
        held = Held()

        async def fault(answer: Callable[[], _Answer]) -> _Answer:
            made = answer() if given else None
            held.waiting += 1
            held.arrived.set()
            await held.released.wait()
            made = made or answer()
            if held.lost:
                await asyncio.Event().wait()
            return made

        self._troubles.append(_Trouble(times, room_id, fault))
        return held

    def given(self, room_id: str) -> int:
        """How many of a room's messages the token has been given."""
        return self._given.get(room_id, 0)

    def slow(self, seconds: float) -> None:
        """From now on every answer takes so long."""
        self._delay = seconds

    def calm(self) -> None:
        """Whatever trouble was still to come does not."""
        self._troubles.clear()

    # Answering -----------------------------------------------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError, asyncio.LimitOverrunError, _NoAnswer):
            async with _closing(writer):
                while (request := await _read_request(reader)) is not None:
                    answer = await self._respond(*request)
                    writer.write(_bytes_of(answer))
                    await writer.drain()
                    if answer.broken_off:
                        break

    async def _respond(self, method: str, target: str, headers: Mapping[str, str]) -> _Answer:
        url = urlsplit(target)
        force = parse_qs(url.query).get("force", ["0"])[-1] == "1"
        steps = url.path.removeprefix("/v2/").split("/")
        request = SandboxRequest(url.path, steps[1] if len(steps) > 1 else None, force, time.monotonic())
        self.requests.append(request)
        answer = await self._judge(method, steps, force, headers, request.at)
        request.status = None if answer.broken_off else answer.status
        return answer

    async def _judge(self, method: str, steps: list[str], force: bool, headers: Mapping[str, str], at: float) -> _Answer:
        if headers.get("x-chatworktoken") != self.token:
            return _problem(401)
        if (wait := self._over_the_limit(at)) is not None:
            return _problem(429, self._limit_headers(wait))

        def answer() -> _Answer:
            return self._answer(method, steps, force)

        if self._delay:
            await asyncio.sleep(self._delay)
        room_id = steps[1] if len(steps) > 1 else None
        fault = self._next_fault(room_id)
        return await (fault(answer) if fault else _at_once(answer))

    def _answer(self, method: str, steps: list[str], force: bool) -> _Answer:
        match method, steps:
            case "GET", ["rooms"]:
                rooms = [_room_json(room) for room in self.rooms.values()]
                return _Answer(200, orjson.dumps(rooms), self._limit_headers(0)) if rooms else _Answer(204)
            case "GET", ["rooms", room_id, "messages"]:
                return self._give(room_id, force)
            case _, ["rooms"] | ["rooms", _, "messages"]:
                return _problem(405)
            case _:
                return _problem(404)

    def _give(self, room_id: str, force: bool) -> _Answer:
        room = self.rooms.get(room_id)
        if room is None:
            return _problem(404)
        asked_from = 0 if force else self.given(room_id)
        readable_from = max(len(room.messages) - self._readable.get(room_id, len(room.messages)), 0)
        messages = room.messages[max(asked_from, readable_from) :]
        self._given[room_id] = len(room.messages)
        limited = {"chatwork-message-limitation": "true"} if asked_from < readable_from else {}
        headers = self._limit_headers(0) | limited
        if not messages:
            return _Answer(204, headers=headers)
        return _Answer(200, b"[%s]" % b",".join(messages[-NEWEST:]), headers)

    def _next_fault(self, room_id: str | None) -> _Fault | None:
        for trouble in self._troubles:
            if trouble.room_id is None or trouble.room_id == room_id:
                trouble.times -= 1
                if trouble.times == 0:
                    self._troubles.remove(trouble)
                return trouble.fault
        return None

    def _over_the_limit(self, at: float) -> float | None:
        """Seconds until the next request is allowed; None if this one is, and it counts then."""
        while self._arrivals and self._arrivals[0] <= at - self.window:
            self._arrivals.popleft()
        if len(self._arrivals) >= self.limit:
            return self._arrivals[0] + self.window - at
        self._arrivals.append(at)
        return None

    def _limit_headers(self, wait: float) -> dict[str, str]:
        return {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(max(self.limit - len(self._arrivals), 0)),
            "x-ratelimit-reset": str(math.ceil(time.time() + wait)),
        }


class Held:
    """Requests that wait.

    `arrived` is set when the first is there; `waiting` is how many have come.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self.lost = False
        self.arrived = asyncio.Event()
        self.released = asyncio.Event()

    def release(self, *, lost: bool = False) -> None:
        """Answers them all; with `lost`, the answers are made, what they hold counts as given, and they never arrive."""
        self.lost = lost
        self.released.set()


# HTTP/1.1, as much of it as a client of Chatwork needs -------------------------------------------------------------------------


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]] | None:
    """Method, target and headers (lower case); None when the client is gone or does not speak HTTP."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    request_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
    match request_line.split(" "):
        case [method, target, "HTTP/1.1"]:
            pairs = (line.partition(":") for line in lines)
            return method, target, {name.strip().lower(): value.strip() for name, _, value in pairs}
        case _:
            return None


def _bytes_of(answer: _Answer) -> bytes:
    headers = {"date": formatdate(usegmt=True), "content-type": "application/json", **(answer.headers or {})}
    if answer.status != 204:
        headers["content-length"] = str(len(answer.body))
    reason = responses.get(answer.status, "Unknown")
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    body = answer.body[: len(answer.body) // 2] if answer.broken_off else answer.body
    return f"HTTP/1.1 {answer.status} {reason}\r\n{head}\r\n".encode("latin-1") + body


@asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()


async def _at_once(answer: Callable[[], _Answer]) -> _Answer:
    return answer()


def _problem(status: int, headers: Mapping[str, str] | None = None) -> _Answer:
    words = {401: "Invalid API token", 429: "Rate limit exceeded", 404: "Not found"}
    return _Answer(status, orjson.dumps({"errors": [words.get(status, f"Status {status}")]}), headers)


def _room_json(room: SandboxRoom) -> dict[str, Any]:
    described = {} if room.description is None else {"description": room.description}
    return {
        "room_id": room.room_id,
        "name": room.name,
        "type": "group",
        "role": "member",
        "sticky": False,
        "unread_num": 0,
        "mention_num": 0,
        "mytask_num": 0,
        "message_num": len(room.messages),
        "file_num": 0,
        "task_num": 0,
        "icon_path": "https://appdata.chatwork.com/icon/ico_group.png",
        "last_update_time": room.last_update_time,
        **described,
        **room.odd_fields,
    }
