"""Signing in and out, and who may."""

import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from http.cookies import SimpleCookie
from typing import Any

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from pydantic import Field, SecretStr
from starlette.responses import Response
from typing_extensions import TypedDict

from service.caller import COOKIE
from service.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.problems import Problem, not_signed_in
from service.requests import Fields, Nothing
from service.users import LONGEST_PASSWORD, TOKEN_LIFE, Role, User

# Wrong passwords from one address: for one email, and for all of them.
FOR_ONE_EMAIL = RateLimitItemPerMinute(10, 5)
FOR_ALL_EMAILS = RateLimitItemPerMinute(100, 5)

Allow = Callable[[MovingWindowRateLimiter, RateLimitItem, str], Awaitable[bool]]


REDIS_AWAY = (StorageError, RuntimeError)
"""The latter is uvloop's word for a write on a connection that has just been closed (`events/redis_connections.py`)."""


class Tries:
    """Counts tries to sign in, over all processes where there is Redis. While Redis is away each process counts for itself:
    a limit that is too kind for a while is better than nobody signing in."""

    def __init__(self, redis_url: str | None) -> None:
        self._here = MovingWindowRateLimiter(MemoryStorage())
        self._shared = self._here
        if redis_url is not None:
            storage = RedisStorage(
                f"async+{redis_url}", implementation="redispy", wrap_exceptions=True, key_prefix="rireki:tries",
                socket_timeout=2, socket_connect_timeout=2,
            )  # fmt: skip
            self._shared = MovingWindowRateLimiter(storage)

    async def count(self, address: str, email: str) -> None:
        """One more try. Raises `Problem` 429 if it is one too many."""
        await self._must(MovingWindowRateLimiter.test, FOR_ALL_EMAILS, address)
        await self._must(MovingWindowRateLimiter.hit, FOR_ONE_EMAIL, f"{address} {email}")

    async def wrong(self, address: str) -> None:
        """The password was wrong. Right ones don't count against the others behind the same address."""
        with contextlib.suppress(Problem):
            await self._must(MovingWindowRateLimiter.hit, FOR_ALL_EMAILS, address)

    async def forget(self, address: str, email: str) -> None:
        """The password was right: those before it were slips."""
        for limiter in (self._shared, self._here):
            try:
                await limiter.clear(FOR_ONE_EMAIL, f"{address} {email}")
            except REDIS_AWAY:
                continue

    async def _must(self, allow: Allow, limit: RateLimitItem, name: str) -> None:
        for limiter in (self._shared, self._here):
            try:
                if await allow(limiter, limit, name):
                    return
                reset = (await limiter.get_window_stats(limit, name)).reset_time
            except REDIS_AWAY:
                continue
            wait = max(1, math.ceil(reset - time.time()))
            raise Problem(429, f"Too many tries to sign in. Try again in {wait} seconds.", headers={"Retry-After": str(wait)})


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


async def login(call: Call[Nothing, Credentials]) -> Response:
    address = call.request.client.host if call.request.client else "?"
    email = call.body.email.strip().lower()
    tries = call.parts.tries
    await tries.count(address, email)
    signed_in = await call.parts.users.sign_in(email, call.body.password.get_secret_value())
    if signed_in is None:
        await tries.wrong(address)
        raise not_signed_in("Email and password don't belong together.")
    await tries.forget(address, email)
    user, token = signed_in
    answer: SignedIn = {"token": token, "user": user_json(user)}
    return json_answer(answer, headers={"Set-Cookie": _cookie(call, token, int(TOKEN_LIFE.total_seconds()))})


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
    cookie[COOKIE].update(attributes | {"secure": call.parts.settings.production})
    return cookie[COOKIE].OutputString()


ENDPOINTS = (
    Endpoint(
        "POST", "/api/auth/login", login, Who.ANYONE, "Sign in: sets the session cookie and returns the same token.",
        {200: Answer(SignedIn, "Signed in.")}, body=Credentials, problems=(401, 429),
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
