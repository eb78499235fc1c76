"""Signing in and out, and who may."""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any, TypeVar

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from pydantic import Field, SecretStr
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from events.redis_connections import redis_pool
from service.caller import COOKIE
from service.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.problems import Problem, not_signed_in
from service.proxies import counted_as
from service.requests import Fields, Nothing, client_of
from service.sign_in_line import LineFull, SignInLine
from service.users import LONGEST_PASSWORD, TOKEN_LIFE, Role, User, normal_email

if TYPE_CHECKING:
    from service.parts import Parts

T = TypeVar("T")

MOST_OF_A_SIGN_IN = 8 * 1024  # bytes of a body

# Requests from one address, whatever they hold. (An IPv6 address counts as its /64.)
FOR_ALL_REQUESTS = RateLimitItemPerMinute(300)
# Wrong passwords from one address: for one email, and for all of them.
FOR_ONE_EMAIL = RateLimitItemPerMinute(10, 5)
FOR_ALL_EMAILS = RateLimitItemPerMinute(100, 5)

SIGNED_IN_WITHIN = 30.0  # seconds; the database has its own few, so that a slow hash is not told as its absence
COME_AGAIN = 2  # seconds, for whom the line was full

REDIS_WITHIN = 0.5  # seconds
REDIS_RESTS = 5.0  # seconds without asking it, after it has not answered

Allow = Callable[[MovingWindowRateLimiter, RateLimitItem, str], Awaitable[bool]]

REDIS_AWAY = (StorageError, TimeoutError, TypeError, ValueError)
"""The latter two are raised by what somebody else has put in the place of our keys."""


class Tries:
    """Counts tries to sign in: here, and where there is Redis over all processes. While Redis is away each process goes on with its
    own count, so that nobody is kept out and no limit is lifted."""

    def __init__(self, redis_url: str | None) -> None:
        self.line = SignInLine()
        self._here = MovingWindowRateLimiter(MemoryStorage())
        self._shared: MovingWindowRateLimiter | None = None
        self._shared_rests_until = 0.0
        if redis_url is not None:
            storage = RedisStorage(
                "async+redis://", implementation="redispy", wrap_exceptions=True, key_prefix="rireki:tries",
                connection_pool=redis_pool(redis_url, socket_timeout=2, socket_connect_timeout=2),  # type: ignore[arg-type]
            )  # fmt: skip
            self._shared = MovingWindowRateLimiter(storage)

    async def request(self, address: str) -> None:
        """One more request, of which nothing has been read yet. Raises `Problem` 429 if it is one too many."""
        await self._must(MovingWindowRateLimiter.hit, FOR_ALL_REQUESTS, address)

    async def count(self, address: str, email: str) -> None:
        """One more try, before its password is hashed. Raises `Problem` 429 if it is one too many."""
        await self._must(MovingWindowRateLimiter.test, FOR_ALL_EMAILS, address)
        await self._must(MovingWindowRateLimiter.hit, FOR_ONE_EMAIL, f"{address} {email}")

    async def wrong(self, address: str) -> None:
        """The password was wrong. Right ones don't count against the others behind the same address."""
        with contextlib.suppress(Problem):
            await self._must(MovingWindowRateLimiter.hit, FOR_ALL_EMAILS, address)

    async def forget(self, address: str, email: str) -> None:
        """The password was right: those before it were slips."""
        name = f"{address} {email}"
        await self._here.clear(FOR_ONE_EMAIL, name)
        await self._asked(lambda shared: shared.clear(FOR_ONE_EMAIL, name))

    async def _must(self, allow: Allow, limit: RateLimitItem, name: str) -> None:
        async def reset(limiter: MovingWindowRateLimiter) -> float | None:
            """When the window has room again; None if it has."""
            return None if await allow(limiter, limit, name) else (await limiter.get_window_stats(limit, name)).reset_time

        again = await reset(self._here) or await self._asked(reset)
        if again is not None:
            wait = max(1, math.ceil(again - time.time()))
            raise _too_many("tries to sign in", wait)

    async def _asked(self, ask: Callable[[MovingWindowRateLimiter], Awaitable[T]]) -> T | None:
        """What the count over all processes says; None while it is away."""
        if self._shared is None or time.monotonic() < self._shared_rests_until:
            return None
        try:
            async with asyncio.timeout(REDIS_WITHIN):
                return await ask(self._shared)
        except REDIS_AWAY:
            self._shared_rests_until = time.monotonic() + REDIS_RESTS
            return None


def _too_many(what: str, wait: int) -> Problem:
    return Problem(429, f"Too many {what}. Try again in {wait} seconds.", headers={"Retry-After": str(wait)})


class Credentials(Fields):
    email: str = Field(min_length=3, max_length=254, examples=["admin@example.com"])
    password: SecretStr = Field(min_length=1, max_length=LONGEST_PASSWORD)


class UserDocument(TypedDict):
    id: str
    email: str
    name: str
    role: Role


class SignedIn(TypedDict):
    token: str
    user: UserDocument


class Me(TypedDict):
    user: UserDocument


class Everybody(TypedDict):
    users: list[UserDocument]


async def count_request(parts: "Parts", request: Request) -> None:
    await parts.tries.request(_counted(request))


async def login(call: Call[Nothing, Credentials]) -> Response:
    call.patience.reschedule(asyncio.get_running_loop().time() + SIGNED_IN_WITHIN)
    try:
        with call.parts.tries.line.place(_counted(call.request)):
            signed_in = await _signed_in(call)
    except LineFull:
        raise _too_many("people sign in at this moment", COME_AGAIN) from None
    user, token = signed_in
    answer: SignedIn = {"token": token, "user": user_json(user)}
    return json_answer(answer, headers={"Set-Cookie": _cookie(call, token, int(TOKEN_LIFE.total_seconds()))})


async def _signed_in(call: Call[Nothing, Credentials]) -> tuple[User, str]:
    """Raises `Problem` 401 and 429, and `LineFull`."""
    address, email, tries = _counted(call.request), normal_email(call.body.email), call.parts.tries
    await tries.count(address, email)
    signed_in = await call.parts.users.sign_in(call.body.email, call.body.password.get_secret_value(), tries.line, address)
    if signed_in is None:
        await tries.wrong(address)
        raise not_signed_in("Email and password don't belong together.")
    await tries.forget(address, email)
    return signed_in


def _counted(request: Request) -> str:
    return counted_as(client_of(request.scope))


async def logout(call: Call[Nothing, Nothing]) -> Response:
    assert call.token is not None
    await call.parts.users.end_token(call.token)
    return Response(status_code=204, headers={"Set-Cookie": _cookie(call, "", 0)})


async def me(call: Call[Nothing, Nothing]) -> Response:
    answer: Me = {"user": user_json(call.user)}
    return json_answer(answer)


async def list_users(call: Call[Nothing, Nothing]) -> Response:
    answer: Everybody = {"users": [user_json(user) for user in await call.parts.users.all()]}
    return json_answer(answer)


def user_json(user: User) -> UserDocument:
    return {"id": user.id, "email": user.email, "name": user.name, "role": user.role}


def _cookie(call: Call[Any, Any], token: str, seconds: int) -> str:
    cookie: SimpleCookie = SimpleCookie({COOKIE: token})
    attributes: dict[str, Any] = {"path": "/", "max-age": seconds, "httponly": True, "samesite": "Lax"}
    cookie[COOKIE].update(attributes | {"secure": call.parts.settings.production or call.request.scope["scheme"] == "https"})
    return cookie[COOKIE].OutputString()


ENDPOINTS = (
    Endpoint(
        "POST", "/api/auth/login", login, Who.ANYONE, "Sign in: sets the session cookie and returns the same token.",
        {200: Answer(SignedIn, "Signed in.")}, body=Credentials, most_of_body=MOST_OF_A_SIGN_IN, admit=count_request,
        problems=(401, 429),
    ),
    Endpoint(
        "POST", "/api/auth/logout", logout, Who.SIGNED_IN, "Sign out: the token is of no use any more.",
        {204: Answer(None, "Signed out.")},
    ),
    Endpoint("GET", "/api/auth/me", me, Who.SIGNED_IN, "Who is signed in.", {200: Answer(Me, "The user.")}),
    Endpoint(
        "GET", "/api/users", list_users, Who.ADMIN, "Everybody who may sign in.", {200: Answer(Everybody, "By name.")},
    ),
)  # fmt: skip
