"""Sign in and out."""

import asyncio

from pydantic import Field, SecretStr
from starlette.responses import Response
from typing_extensions import TypedDict

from service.accounts.sign_in_queue import LineFull
from service.accounts.users import Role, User
from service.api.sign_in import Try, add_session, count_request, end_session
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.problems import too_many
from service.http.request import Fields, Nothing

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


async def login(call: Call[Nothing, Credentials]) -> Response:
    call.patience.reschedule(asyncio.get_running_loop().time() + SIGNED_IN_WITHIN)
    attempt = Try.of(call, call.body.email)
    try:
        with attempt.logged(), call.context.sign_in_limit.line.place(attempt.queue):
            user, token = await _signed_in(call, attempt)
    except LineFull:
        raise too_many("people sign in at this moment", RETRY_AFTER) from None
    answer: SignedIn = {"token": token, "user": user_json(user)}
    return add_session(call, json_answer(answer), token, attempt.account)


async def _signed_in(call: Call[Nothing, Credentials], attempt: Try) -> tuple[User, str]:
    """Checks the email and the password. Returns the user and a new token.

    Raises:
        Problem: 401 if the email or the password is wrong.
        TooManyTries: the address, the account or the device has tried too often.
        LineFull: too many sign-ins wait for the hash of a password.
    """
    await attempt.count()
    line, password = call.context.sign_in_limit.line, call.body.password.get_secret_value()
    signed_in = await call.context.users.sign_in(call.body.email, password, line, attempt.queue)
    if signed_in is None:
        raise await attempt.refuse()
    await attempt.forget()
    return signed_in


async def logout(call: Call[Nothing, Nothing]) -> Response:
    """Ends the caller's session.

    It is not counted for LIMIT_REQUESTS: a stolen session that uses up the requests must not keep
    its owner from a sign-out.
    """
    assert call.token is not None
    await call.context.users.end_token(call.token)
    return end_session(call, Response(status_code=204))


async def me(call: Call[Nothing, Nothing]) -> Response:
    answer: Me = {"user": user_json(call.user)}
    return json_answer(answer)


def user_json(user: User) -> UserDocument:
    return {"id": user.id, "email": user.email, "name": user.name, "role": user.role}


ENDPOINTS = (
    Endpoint(
        "POST", "/api/auth/login", login, Who.ANYONE, "Sign in. Sets the session cookie and returns the same token.",
        {200: Answer(SignedIn, "Signed in.")}, body=Credentials, most_of_body=MOST_OF_A_SIGN_IN, admit=count_request,
        problems=(401, 429),
    ),
    Endpoint(
        "POST", "/api/auth/logout", logout, Who.SIGNED_IN, "Sign out. The token stops working everywhere within seconds.",
        {204: Answer(None, "Signed out.")}, counted=False,
    ),
    Endpoint("GET", "/api/auth/me", me, Who.SIGNED_IN, "The signed-in user.", {200: Answer(Me, "The user.")}),
)  # fmt: skip
