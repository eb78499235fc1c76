"""Chatwork's API, as far as we need it (https://developer.chatwork.com/reference): the rooms, and a room's messages.

A message that was answered to `force=0` and not stored never comes again, so a request that may have been answered is only ever
repeated with `force=1`. Neither the token nor a message's body may reach a log or an error.
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
from workers.outgoing import Outgoing

TRIES = 3
BACKOFF = 0.5  # seconds before the second try; twice as long before the third
TIMEOUT = 30.0  # seconds for one request and its whole answer
CONNECT_TIMEOUT = 10.0
MOST_CONNECTIONS = 64
LARGEST_ANSWER = 40 * 2**20  # bytes: 100 messages of 65,535 characters, each written as \uXXXX
LARGE_ANSWER = 64 * 1024  # bytes that are read on the event loop, in about a millisecond
LIMITED = "chatwork-message-limitation"  # a header: "true" where the plan withholds messages
SHORTEST_PAUSE, DEFAULT_PAUSE, LONGEST_PAUSE = 1.0, 10.0, 330.0  # seconds to stay away after a 429

FAR = 15.0  # seconds: for a pause this long nothing new is started that would only hold a slot

A = TypeVar("A")
BeforeRequest = Callable[[], Awaitable[bool]]
LeftAlone = Callable[[float], Awaitable[None]]
"""Told that Chatwork wants to be left alone for so many seconds."""


@dataclass(frozen=True, slots=True)
class ChatworkSettings:
    """Raises `ValueError` for a token that no HTTP header can carry."""

    base_url: str
    token: str = field(repr=False)
    rate_limit: int = 300
    """Requests in any 5 minutes, over all processes."""
    new_rooms_active: bool = True

    def __post_init__(self) -> None:
        if not self.token or not self.token.isascii() or not self.token.isprintable() or " " in self.token:
            raise ValueError("the Chatwork token has characters that a token cannot have")


# What may go wrong -------------------------------------------------------------------------------------------------------------


class NoToken(Final):
    """There is no Chatwork to talk to: `CHATWORK_API_TOKEN` is not set."""


class Unauthorized(Final):
    """Chatwork does not know the token (401). No other room and no other attempt will fare better."""

    status = 401

    def __init__(self) -> None:
        super().__init__("Chatwork API error: 401")


class ChatworkError(Exception):
    """A request that brought nothing. `status` is Chatwork's, None where there was no answer or none to make sense of."""

    status: int | None = None


class Refused(ChatworkError):
    def __init__(self, status: int) -> None:
        super().__init__(f"Chatwork API error: {status}")
        self.status = status


class NoAnswer(ChatworkError):
    """A timeout or a broken connection. Chatwork may have seen the request all the same."""


class Unreadable(ChatworkError):
    """An answer that is not what Chatwork's documentation says."""


def connected(chatwork: "Chatwork | None") -> "Chatwork":
    """Raises `NoToken`."""
    if chatwork is None:
        raise NoToken("CHATWORK_API_TOKEN is not set")
    return chatwork


Query = Callable[[bool], Awaitable[dict[str, str]]]


@dataclass(frozen=True, slots=True)
class _Response:
    """To the request with `params`. `body` is None where there is none (204)."""

    params: dict[str, str]
    headers: httpx.Headers
    body: bytes | None


# The client --------------------------------------------------------------------------------------------------------------------


class Chatwork:
    """Every method takes a permit of the budget shared by all processes for each request it sends, waits out a 429, and tries a
    5xx, a timeout or a broken connection 3 times. They raise `Unauthorized`, and `ChatworkError` for everything else."""

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
        self.settings = settings
        self._rate_limit = rate_limit or RateLimit(database, account_of(settings.token), settings.rate_limit)
        self._timeout = timeout
        self._backoff = backoff
        self._shortest_pause = shortest_pause
        self._left_alone = left_alone
        self._connections = asyncio.Semaphore(MOST_CONNECTIONS)
        # No redirect is followed: the token is for this server only.
        self._http = outgoing.client(
            settings.base_url,
            headers={"x-chatworktoken": settings.token, "accept": "application/json", "accept-encoding": ACCEPT_ENCODING},
            timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=16),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def rooms(self) -> Answer[ChatworkRoom]:
        async def no_query(failed: bool) -> dict[str, str]:
            return {}

        response = await self._get("rooms", no_query)
        return await _read(read_rooms, response.body) if response.body is not None else Answer()

    async def messages(
        self, room_id: str, force: bool = False, *, before_request: BeforeRequest | None = None
    ) -> MessagesAnswer:
        """The newest 100 messages with `force`, else those that this token has not been given before.

        `before_request` is awaited before each request, when its permit is in hand: it leaves the mark of the request, and says
        whether this one needs `force`."""

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
        # Before its permit is taken, which would lapse while it waits for a connection.
        async with self._connections:
            return await self._get_at_last(path, query)

    async def _get_at_last(self, path: str, query: Query) -> _Response:
        """`query` is told whether an earlier request failed in a way that leaves open whether Chatwork answered it."""
        failures = 0
        while True:
            permit = await self._rate_limit.permit()
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
        await self._rate_limit.block(seconds)
        if self._left_alone is not None and seconds >= FAR:
            await self._left_alone(seconds)

    async def _send(self, path: str, params: dict[str, str], permit: Permit) -> tuple[int, httpx.Headers, bytes]:
        """Raises `TimeoutError` where the connection takes so long that the permit lapses: nothing was sent then."""

        async def look_at_the_permit(step: str, _: object) -> None:
            if step.endswith("send_request_headers.started") and permit.has_lapsed:
                raise TimeoutError("the permit has lapsed")

        extensions = {"trace": look_at_the_permit}
        async with (
            asyncio.timeout(self._timeout),
            self._http.stream("GET", path, params=params, extensions=extensions) as response,
        ):
            # An error's body is nobody's business, and may be of any length.
            body = await _body(response) if response.status_code == 200 else b""
            return response.status_code, response.headers, body


def account_of(token: str) -> str:
    """The name of a token's budget in the database. It does not give the token away."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


async def _body(response: httpx.Response) -> bytes:
    try:
        return await read_body(response, LARGEST_ANSWER)
    except UnreadableBody as error:
        raise Unreadable(f"Chatwork's answer {error}") from None


async def _read(read: Callable[[bytes], A], body: bytes) -> A:
    """Raises `Unreadable`."""
    try:
        return await asyncio.to_thread(read, body) if len(body) > LARGE_ANSWER else read(body)
    except NotAnAnswer as error:
        # The chain is cut: an error of the parser may quote a message.
        raise Unreadable(f"Chatwork's answer cannot be read: {error}") from None


def _pause(headers: httpx.Headers) -> float:
    """Seconds until `x-ratelimit-reset`, by Chatwork's own clock where the answer tells it."""
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
