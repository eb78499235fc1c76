"""The client of Chatwork's API: lists rooms, and reads a room's messages.

Source: https://developer.chatwork.com/reference. With `force=0` Chatwork gives only messages that it
has not given to this token before. Therefore a request that may have been answered is repeated with
`force=1`, which gives the newest 100. The token and the bodies of messages must not reach a log or
an error.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx2 as httpx

from events.database import Database
from workers.chatwork.answers import Answer, ChatworkRoom, MessagesAnswer, NotAnAnswer, read_messages, read_rooms
from workers.chatwork.rate_limit import Permit, RateLimit
from workers.http_body import ACCEPT_ENCODING, UnreadableBody, read_body
from workers.outcomes import Final
from workers.outgoing_http import Outgoing

TRIES = 3
BACKOFF = 0.5  # seconds before the second try; twice as long before the third
TIMEOUT = 30.0  # seconds for one request and its whole answer
CONNECT_TIMEOUT = 10.0  # seconds to open a connection
MOST_CONNECTIONS = 64
LARGEST_ANSWER = 40 * 2**20  # bytes: 100 messages of 65,535 characters, each written as \uXXXX
LARGE_ANSWER = 64 * 1024  # bytes; a larger answer is parsed outside the event loop
LIMITED = "chatwork-message-limitation"  # a header; "true" says that the customer's plan withholds messages
SHORTEST_PAUSE, DEFAULT_PAUSE, LONGEST_PAUSE = 1.0, 10.0, 330.0  # seconds without requests after a 429

# seconds; a pause of this length or more also pauses the job types that call Chatwork, because
# their jobs would only wait in slots
FAR = 15.0

A = TypeVar("A")
BeforeRequest = Callable[[], Awaitable[bool]]
LeftAlone = Callable[[float], Awaitable[None]]
"""A function that is called with the seconds for which no request may be sent."""


@dataclass(frozen=True, slots=True)
class ChatworkSettings:
    """The address of Chatwork's API, the token, and how to use them.

    Raises `ValueError` if the token cannot be sent in an HTTP header.
    """

    base_url: str
    token: str = field(repr=False)
    rate_limit: int = 300
    """The most requests in any 5 minutes, over all processes."""
    new_rooms_active: bool = True
    """Whether the sync of all rooms includes a room that was just found."""

    def __post_init__(self) -> None:
        if not self.token or not self.token.isascii() or not self.token.isprintable() or " " in self.token:
            raise ValueError("the Chatwork token must be visible ASCII characters without spaces")


class NoToken(Final):
    """`CHATWORK_API_TOKEN` is not set, so no request can be sent."""


class Unauthorized(Final):
    """Chatwork refuses the token (401), so other rooms and other attempts would fail too."""

    status = 401

    def __init__(self) -> None:
        super().__init__("Chatwork API error: 401")


class ChatworkError(Exception):
    """A request failed. `status` is the HTTP status; None if no readable answer came."""

    status: int | None = None


class Refused(ChatworkError):
    """Chatwork answered with an error status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"Chatwork API error: {status}")
        self.status = status


class NoAnswer(ChatworkError):
    """A timeout, or a broken connection. Chatwork may have answered the request."""


class Unreadable(ChatworkError):
    """An answer that does not have the form of Chatwork's documentation."""


def connected(chatwork: "Chatwork | None") -> "Chatwork":
    """Returns the client, if there is one.

    Raises:
        NoToken: `CHATWORK_API_TOKEN` is not set.
    """
    if chatwork is None:
        raise NoToken("CHATWORK_API_TOKEN is not set")
    return chatwork


Query = Callable[[bool], Awaitable[dict[str, str]]]
"""Returns the query of a request. The argument says whether an earlier try failed."""


@dataclass(frozen=True, slots=True)
class _Response:
    """The answer to the request with the query `params`. `body` is None for status 204."""

    params: dict[str, str]
    headers: httpx.Headers
    body: bytes | None


class Chatwork:
    """Sends requests with one token.

    For each request it takes a permit from the budget that all processes share. After a 429 it waits
    and tries again. After a 5xx, a timeout or a broken connection it tries again, `TRIES` times in
    all.
    """

    def __init__(
        self,
        settings: ChatworkSettings,
        database: Database,
        *,
        outgoing: Outgoing = Outgoing(),  # noqa: B008 (it is frozen)
        rate_limit: RateLimit | None = None,
        timeout: float = TIMEOUT,
        backoff: float = BACKOFF,
        shortest_pause: float = SHORTEST_PAUSE,
        left_alone: LeftAlone | None = None,
    ) -> None:
        """`timeout`, `backoff` and `shortest_pause` are seconds.

        `left_alone` is called when Chatwork asks for a pause of at least `FAR` seconds.
        """
        self.settings = settings
        self.budget = rate_limit or RateLimit(database, account_of(settings.token), settings.rate_limit)
        self._timeout = timeout
        self._backoff = backoff
        self._shortest_pause = shortest_pause
        self._left_alone = left_alone
        self._connections = asyncio.Semaphore(MOST_CONNECTIONS)
        # The client calls no other server, because the token is for this one only.
        self._http = outgoing.client(
            settings.base_url,
            headers={"x-chatworktoken": settings.token, "accept": "application/json", "accept-encoding": ACCEPT_ENCODING},
            timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=16),
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def rooms(self) -> Answer[ChatworkRoom]:
        """Returns the rooms that the token can see.

        Raises:
            Unauthorized: Chatwork refuses the token.
            OutgoingRefused: OUTGOING_ALLOW forbids the address.
            ChatworkError: no answer came, or an error status, or an answer that cannot be read.
        """

        async def no_query(failed: bool) -> dict[str, str]:
            return {}

        response = await self._get("rooms", no_query)
        return await _read(read_rooms, response.body) if response.body is not None else Answer()

    async def messages(
        self, room_id: str, force: bool = False, *, before_request: BeforeRequest | None = None
    ) -> MessagesAnswer:
        """Returns the newest 100 messages with `force`, else those not given to this token before.

        `before_request` is awaited before each request, after the request's permit was taken. It
        leaves the mark of the request (`messages.py`) and returns whether the request needs `force`.

        Raises:
            Unauthorized: Chatwork refuses the token.
            OutgoingRefused: OUTGOING_ALLOW forbids the address.
            ChatworkError: no answer came, or an error status, or an answer that cannot be read.
        """

        async def query(failed: bool) -> dict[str, str]:
            needs_force = before_request is not None and await before_request()
            return {"force": "1" if force or failed or needs_force else "0"}

        response = await self._get(f"rooms/{room_id}/messages", query)
        is_limited = response.headers.get(LIMITED, "").strip().lower() == "true"
        is_forced = response.params["force"] == "1"

        def read(body: bytes) -> MessagesAnswer:
            return read_messages(body, is_limited=is_limited, is_forced=is_forced)

        return await _read(read, b"[]" if response.body is None else response.body)

    async def _get(self, path: str, query: Query) -> _Response:
        # Wait for a connection before taking the permit, because a permit lapses after some
        # seconds.
        async with self._connections:
            return await self._get_at_last(path, query)

    async def _get_at_last(self, path: str, query: Query) -> _Response:
        """Sends the request until it succeeds, at most `TRIES` times; a 429 does not count."""
        failures = 0
        while True:
            permit = await self.budget.permit()
            params = await query(failures > 0)
            if permit.has_lapsed:
                continue
            problem: ChatworkError
            try:
                status, headers, body = await self._send(path, params, permit)
            except (httpx.TransportError, TimeoutError) as error:
                problem = NoAnswer(f"no answer from Chatwork ({type(error).__name__})")
            else:
                match status:
                    case 200 | 204:
                        return _Response(params, headers, body if status == 200 else None)
                    case 401:
                        raise Unauthorized
                    case 429:
                        await self._leave_alone(max(_pause(headers), self._shortest_pause))
                        continue
                    case _ if status < 500:
                        raise Refused(status)
                    case _:
                        problem = Refused(status)
            failures += 1
            if failures == TRIES:
                raise problem
            await asyncio.sleep(self._backoff * 2 ** (failures - 1))

    async def _leave_alone(self, seconds: float) -> None:
        await self.budget.block(seconds)
        if self._left_alone is not None and seconds >= FAR:
            await self._left_alone(seconds)

    async def _send(self, path: str, params: dict[str, str], permit: Permit) -> tuple[int, httpx.Headers, bytes]:
        """Sends one request. Raises `TimeoutError` if its permit lapses before it is sent."""

        async def look_at_the_permit(step: str, _: object) -> None:
            if step.endswith("send_request_headers.started") and permit.has_lapsed:
                raise TimeoutError("the permit has lapsed")

        extensions = {"trace": look_at_the_permit}
        async with (
            asyncio.timeout(self._timeout),
            self._http.stream("GET", path, params=params, extensions=extensions) as response,
        ):
            # The body of an error is not read, because it may have any length and is not needed.
            body = await _body(response) if response.status_code == 200 else b""
            return response.status_code, response.headers, body


def account_of(token: str) -> str:
    """Returns the name of a token's budget: a digest that does not reveal the token."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


async def _body(response: httpx.Response) -> bytes:
    try:
        return await read_body(response, LARGEST_ANSWER)
    except UnreadableBody as error:
        raise Unreadable(f"Chatwork's answer {error}") from None


async def _read(read: Callable[[bytes], A], body: bytes) -> A:
    """Parses a body, in a thread if it is large. Raises `Unreadable`."""
    try:
        return await asyncio.to_thread(read, body) if len(body) > LARGE_ANSWER else read(body)
    except NotAnAnswer as error:
        # `from None`, because the parser's own error may quote a message.
        raise Unreadable(f"Chatwork's answer cannot be read: {error}") from None


def _pause(headers: httpx.Headers) -> float:
    """Returns the seconds until `x-ratelimit-reset`.

    The present time is that of the header `date`, if there is one.
    """
    try:
        reset = min(int(headers["x-ratelimit-reset"]), 2**40)
    except (KeyError, ValueError):
        return DEFAULT_PAUSE
    return min(max(reset - _time_there(headers), 0.0), LONGEST_PAUSE)


def _time_there(headers: httpx.Headers) -> float:
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return time.time()
