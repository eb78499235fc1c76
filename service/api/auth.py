"""Sign in and out, and the list of users."""

import asyncio
from http.cookies import SimpleCookie
from typing import Any

from pydantic import Field, SecretStr
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from service.accounts.sign_in_queue import LineFull
from service.accounts.users import TOKEN_LIFE, Role, User, normal_email
from service.http.authentication import COOKIE
from service.http.context import ApiContext
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.problems import not_signed_in, too_many
from service.http.request import Fields, Nothing, client_of
from service.trusted_proxies import counted_as

MOST_OF_A_SIGN_IN = 8 * 1024  # bytes of the body
LONGEST_PASSWORD = 1024  # characters: an existing password may be longer than a new one

# Seconds that a sign-in may take. This limit is longer than that of other requests, because a sign-in waits while earlier
# passwords are hashed.
SIGNED_IN_WITHIN = 30.0
RETRY_AFTER = 2  # seconds after which a client may try again when the queue of sign-ins is full


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


class AllUsers(TypedDict):
    users: list[UserDocument]


async def count_request(context: "ApiContext", request: Request) -> None:
    """Counts the request for the client's address, before the body is read.

    Raises `TooManyTries` if the address has made too many requests.
    """
    await context.sign_in_limit.request(_counted_address(request))


async def login(call: Call[Nothing, Credentials]) -> Response:
    call.patience.reschedule(asyncio.get_running_loop().time() + SIGNED_IN_WITHIN)
    try:
        with call.context.sign_in_limit.line.place(_counted_address(call.request)):
            signed_in = await _signed_in(call)
    except LineFull:
        raise too_many("people sign in at this moment", RETRY_AFTER) from None
    user, token = signed_in
    answer: SignedIn = {"token": token, "user": user_json(user)}
    return json_answer(answer, headers={"Set-Cookie": _cookie(call, token, int(TOKEN_LIFE.total_seconds()))})


async def _signed_in(call: Call[Nothing, Credentials]) -> tuple[User, str]:
    """Checks the email and the password. Returns the user and a new token.

    Raises:
        Problem: 401 if the email or the password is wrong.
        TooManyTries: the address has tried too often.
        LineFull: too many sign-ins wait for the hash of a password.
    """
    address, email, tries = _counted_address(call.request), normal_email(call.body.email), call.context.sign_in_limit
    await tries.count(address, email)
    signed_in = await call.context.users.sign_in(call.body.email, call.body.password.get_secret_value(), tries.line, address)
    if signed_in is None:
        await tries.wrong(address)
        raise not_signed_in("The email or the password is wrong.")
    await tries.forget(address, email)
    return signed_in


def _counted_address(request: Request) -> str:
    return counted_as(client_of(request.scope))


async def logout(call: Call[Nothing, Nothing]) -> Response:
    assert call.token is not None
    await call.context.users.end_token(call.token)
    return Response(status_code=204, headers={"Set-Cookie": _cookie(call, "", 0)})


async def me(call: Call[Nothing, Nothing]) -> Response:
    answer: Me = {"user": user_json(call.user)}
    return json_answer(answer)


async def list_users(call: Call[Nothing, Nothing]) -> Response:
    answer: AllUsers = {"users": [user_json(user) for user in await call.context.users.all()]}
    return json_answer(answer)


def user_json(user: User) -> UserDocument:
    return {"id": user.id, "email": user.email, "name": user.name, "role": user.role}


def _cookie(call: Call[Any, Any], token: str, seconds: int) -> str:
    cookie: SimpleCookie = SimpleCookie({COOKIE: token})
    attributes: dict[str, Any] = {"path": "/", "max-age": seconds, "httponly": True, "samesite": "Lax"}
    cookie[COOKIE].update(attributes | {"secure": call.context.settings.production or call.request.scope["scheme"] == "https"})
    return cookie[COOKIE].OutputString()


ENDPOINTS = (
    Endpoint(
        "POST", "/api/auth/login", login, Who.ANYONE, "Sign in. Sets the session cookie and returns the same token.",
        {200: Answer(SignedIn, "Signed in.")}, body=Credentials, most_of_body=MOST_OF_A_SIGN_IN, admit=count_request,
        problems=(401, 429),
    ),
    Endpoint(
        "POST", "/api/auth/logout", logout, Who.SIGNED_IN, "Sign out. The token stops working everywhere within seconds.",
        {204: Answer(None, "Signed out.")},
    ),
    Endpoint("GET", "/api/auth/me", me, Who.SIGNED_IN, "The signed-in user.", {200: Answer(Me, "The user.")}),
    Endpoint(
        "GET", "/api/users", list_users, Who.ADMIN, "The users who may sign in.", {200: Answer(AllUsers, "The users by name.")},
    ),
)  # fmt: skip
