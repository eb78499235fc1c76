"""`Sandbox`: a Chatwork server over real HTTP, with faults on demand.

It serves GET /v2/rooms and GET /v2/rooms/{id}/messages, and keeps nothing when it stops. Like
Chatwork, it gives a message that the token got once only to `force=1` again, even if the answer with
the message was lost.
"""

import asyncio
import math
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import orjson

from workers.chatwork.sandbox.data import OWN_ROOMS, Account, Message, SandboxRoom, load_rooms, message_json
from workers.chatwork.sandbox.http1 import HttpAnswer, bytes_of, closing, read_request

NEWEST = 100  # the most messages in one answer
LONGEST_HEAD = 64 * 1024  # bytes of a request's line and headers
REMEMBERED = 100_000  # the most requests that `Sandbox.requests` keeps


@dataclass(slots=True)
class SandboxRequest:
    """A request that arrived at `at` (`time.monotonic()`).

    `status` is the status of the answer; None if no whole answer was sent, or not yet.
    """

    path: str
    room_id: str | None
    force: bool
    at: float
    status: int | None = None


class _NoAnswer(Exception):
    """The server closes the connection without an answer."""


_Fault = Callable[[Callable[[], HttpAnswer]], Awaitable[HttpAnswer]]
"""A planned fault, which makes the answer to a request in place of the regular one.

Its argument makes the regular answer, whose messages then count as given. It need not be called.
"""


@dataclass(slots=True)
class _Trouble:
    times: int
    room_id: str | None
    fault: _Fault


class Sandbox:
    """The server. It runs during its block: `async with Sandbox() as sandbox:`.

    A client needs `base_url` and `token`.
    """

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
        """`data` is a file of rooms (`data.py`); None stands for the sandbox's own rooms.

        The token may send `limit` requests in any `window` seconds; further requests get 429.

        Raises:
            SandboxDataError: the file cannot be served.
        """
        self.token = token or secrets.token_hex(16)
        self.rooms = rooms if rooms is not None else load_rooms(data or OWN_ROOMS)
        self.requests: deque[SandboxRequest] = deque(maxlen=REMEMBERED)
        self.limit = limit
        self.window = window
        self.host = host
        self.port = port
        self._readable: dict[str, int] = {}  # room id -> how many of its newest messages the plan shows
        self._given: dict[str, int] = {}  # room id -> how many of its messages were given to the token
        self._last_message_id = max((number for room in self.rooms.values() for number in room.message_ids), default=0)
        self._arrivals: deque[float] = deque()
        self._troubles: list[_Trouble] = []
        self._delay = 0.0
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        """The address for `CHATWORK_API_BASE_URL`."""
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

    def add_room(self, room_id: str, name: str, description: str | None = None) -> None:
        """Adds a room. If the id is known, changes the room's name and description."""
        if room_id in self.rooms:
            self.rooms[room_id].name, self.rooms[room_id].description = name, description
        else:
            self.rooms[room_id] = SandboxRoom(int(room_id), name, description, [], [], int(time.time()))

    def say(self, room_id: str, body: str, *, sender: str = "Sandbox", at: int | None = None) -> str:
        """Adds a message to a room, sent now or at Unix second `at`. Returns its id."""
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
        """Adds a malformed message: one with `fields` replaced, or exactly these bytes.

        Returns the id that a regular message would have.
        """
        message_id = self.say(room_id, "odd")
        messages = self.rooms[room_id].messages
        odd = fields if isinstance(fields, bytes) else orjson.dumps({**orjson.loads(messages[-1]), **fields})
        messages[-1] = odd
        return message_id

    def distort_room(self, room_id: str, fields: Mapping[str, Any]) -> None:
        """Replaces these fields of a room in the list of rooms."""
        self.rooms[room_id].odd_fields.update(fields)

    def withhold(self, room_id: str, *, newest: int | None) -> None:
        """Shows only the `newest` messages of a room, as a free plan does. None shows all again.

        An answer that leaves out older messages has the header `chatwork-message-limitation: true`.
        """
        if newest is None:
            self._readable.pop(room_id, None)
        else:
            self._readable[room_id] = newest

    def edit(self, room_id: str, message_id: str, body: str, *, at: int | None = None) -> None:
        """Edits a message. As with Chatwork, `force=0` does not give it again."""
        room = self.rooms[room_id]
        place = room.message_ids.index(int(message_id))
        message = Message.model_validate_json(room.messages[place])
        edited = message.model_copy(update={"body": body, "update_time": int(time.time()) if at is None else at})
        room.messages[place] = message_json(edited)

    def fail(self, *, status: int = 500, times: int = 1, room_id: str | None = None) -> None:
        """Answers the next `times` requests (of a room, or any) with `status`.

        No message counts as given.
        """

        async def fault(answer: Callable[[], HttpAnswer]) -> HttpAnswer:
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
        """Answers the next `times` requests with `body`, and adds `headers` to the usual headers."""

        async def fault(answer: Callable[[], HttpAnswer]) -> HttpAnswer:
            return HttpAnswer(status, body, headers)

        self._troubles.append(_Trouble(times, room_id, fault))

    def drop(self, *, times: int = 1, room_id: str | None = None, given: bool = False) -> None:
        """Breaks the connection of the next `times` requests instead of answering.

        With `given`, breaks it in the middle of the answer, whose messages count as given.
        """

        async def fault(answer: Callable[[], HttpAnswer]) -> HttpAnswer:
            if not given:
                raise _NoAnswer
            made = answer()
            return HttpAnswer(made.status, made.body, made.headers, broken_off=True)

        self._troubles.append(_Trouble(times, room_id, fault))

    def hang(self, *, times: int = 1, room_id: str | None = None, given: bool = False) -> None:
        """Sends no answer to the next `times` requests, and keeps their connections open.

        With `given`, their messages count as given, although the client gets no answer.
        """

        async def fault(answer: Callable[[], HttpAnswer]) -> HttpAnswer:
            if given:
                answer()
            await asyncio.Event().wait()
            raise _NoAnswer

        self._troubles.append(_Trouble(times, room_id, fault))

    def hold(self, *, times: int = 1, room_id: str | None = None, given: bool = False) -> "Held":
        """Holds the next `times` requests until they are released.

        With `given`, an answer is made (and its messages count as given) when the request arrives,
        else when the request is released.
        """
        held = Held()

        async def fault(answer: Callable[[], HttpAnswer]) -> HttpAnswer:
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
        """Returns how many messages of a room were given to the token."""
        return self._given.get(room_id, 0)

    def slow(self, seconds: float) -> None:
        """Delays every answer by `seconds` from now on."""
        self._delay = seconds

    def stop_faults(self) -> None:
        """Drops all planned faults that have not happened yet."""
        self._troubles.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError, asyncio.LimitOverrunError, _NoAnswer):
            async with closing(writer):
                while (request := await read_request(reader)) is not None:
                    answer = await self._respond(*request)
                    writer.write(bytes_of(answer))
                    await writer.drain()
                    if answer.broken_off:
                        break

    async def _respond(self, method: str, target: str, headers: Mapping[str, str]) -> HttpAnswer:
        url = urlsplit(target)
        force = parse_qs(url.query).get("force", ["0"])[-1] == "1"
        steps = url.path.removeprefix("/v2/").split("/")
        request = SandboxRequest(url.path, steps[1] if len(steps) > 1 else None, force, time.monotonic())
        self.requests.append(request)
        answer = await self._judge(method, steps, force, headers, request.at)
        request.status = None if answer.broken_off else answer.status
        return answer

    async def _judge(self, method: str, steps: list[str], force: bool, headers: Mapping[str, str], at: float) -> HttpAnswer:
        if headers.get("x-chatworktoken") != self.token:
            return _problem(401)
        if (wait := self._over_the_limit(at)) is not None:
            return _problem(429, self._limit_headers(wait))

        def answer() -> HttpAnswer:
            return self._answer(method, steps, force)

        if self._delay:
            await asyncio.sleep(self._delay)
        room_id = steps[1] if len(steps) > 1 else None
        fault = self._next_fault(room_id)
        return await (fault(answer) if fault else _at_once(answer))

    def _answer(self, method: str, steps: list[str], force: bool) -> HttpAnswer:
        match method, steps:
            case "GET", ["rooms"]:
                rooms = [_room_json(room) for room in self.rooms.values()]
                return HttpAnswer(200, orjson.dumps(rooms), self._limit_headers(0)) if rooms else HttpAnswer(204)
            case "GET", ["rooms", room_id, "messages"]:
                return self._give(room_id, force)
            case _, ["rooms"] | ["rooms", _, "messages"]:
                return _problem(405)
            case _:
                return _problem(404)

    def _give(self, room_id: str, force: bool) -> HttpAnswer:
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
            return HttpAnswer(204, headers=headers)
        return HttpAnswer(200, b"[%s]" % b",".join(messages[-NEWEST:]), headers)

    def _next_fault(self, room_id: str | None) -> _Fault | None:
        for trouble in self._troubles:
            if trouble.room_id is None or trouble.room_id == room_id:
                trouble.times -= 1
                if trouble.times == 0:
                    self._troubles.remove(trouble)
                return trouble.fault
        return None

    def _over_the_limit(self, at: float) -> float | None:
        """Counts this request and returns None, if the limit allows the request.

        Otherwise returns the seconds until another request is allowed.
        """
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
    """Requests that `hold` keeps waiting.

    The first request sets `arrived`. `waiting` counts the requests.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self.lost = False
        self.arrived = asyncio.Event()
        self.released = asyncio.Event()

    def release(self, *, lost: bool = False) -> None:
        """Answers all requests that wait.

        With `lost` their answers never arrive, but the messages count as given.
        """
        self.lost = lost
        self.released.set()


async def _at_once(answer: Callable[[], HttpAnswer]) -> HttpAnswer:
    return answer()


def _problem(status: int, headers: Mapping[str, str] | None = None) -> HttpAnswer:
    words = {401: "Invalid API token", 429: "Rate limit exceeded", 404: "Not found"}
    return HttpAnswer(status, orjson.dumps({"errors": [words.get(status, f"Status {status}")]}), headers)


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
