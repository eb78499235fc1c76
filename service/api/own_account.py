"""A person's own account: change the password, accept an invitation."""

import asyncio

from pydantic import Field, SecretStr
from starlette.responses import Response

from service.accounts.access_records import Access, Action
from service.accounts.invitations import InvalidInvitation, accept
from service.accounts.people import WrongPassword, change_own_password
from service.accounts.sign_in_queue import LineFull
from service.api.auth import MOST_OF_A_SIGN_IN, RETRY_AFTER, SIGNED_IN_WITHIN
from service.api.sign_in import count_request, counted_address
from service.api.users import LONGEST_INPUT, new_password
from service.http.endpoint import Answer, Call, Endpoint, Who
from service.http.problems import Problem, bad_field, too_many
from service.http.request import Fields, Nothing, client_of


class PasswordChange(Fields):
    current: SecretStr = Field(min_length=1, max_length=LONGEST_INPUT)
    new: SecretStr = Field(max_length=LONGEST_INPUT)


class Acceptance(Fields):
    token: str = Field(min_length=1, max_length=100, description="The part of the invitation's link after the #.")
    password: SecretStr = Field(max_length=LONGEST_INPUT)


async def change_password(call: Call[Nothing, PasswordChange]) -> Response:
    """Changes the caller's password and ends all their other sessions.

    Wrong present passwords are counted like those of a sign-in, because a stolen session must not
    help to guess the password.
    """
    call.patience.reschedule(asyncio.get_running_loop().time() + SIGNED_IN_WITHIN)
    new = new_password(call.body.new, "new")
    address, counted = counted_address(call.request), f"own password of {call.user.id}"
    tries = call.context.sign_in_limit
    await tries.count(address, counted)
    try:
        with tries.line.place(address):
            await _change_password(call, new, address)
    except LineFull:
        raise too_many("people sign in at this moment", RETRY_AFTER) from None
    except WrongPassword:
        await tries.wrong(address)
        raise bad_field("current", "must be your present password") from None
    await tries.forget(address, counted)
    call.context.users.forget(call.user.id)
    await call.record(Action.CHANGE_OWN, f"user:{call.user.id}")
    return Response(status_code=204)


async def _change_password(call: Call[Nothing, PasswordChange], new: str, address: str) -> None:
    kept_token = call.context.users.token_id(call.token or "")
    assert kept_token is not None
    async with call.context.sign_in_limit.line.hasher(address):
        current = call.body.current.get_secret_value()
        await change_own_password(call.context.database, call.user.id, current, new, kept_token=kept_token)


async def accept_invitation(call: Call[Nothing, Acceptance]) -> Response:
    password = new_password(call.body.password, "password")
    try:
        user_id = await accept(call.context.database, call.body.token, password)
    except InvalidInvitation:
        raise Problem(404, "This invitation is not valid: it is unknown, used or expired. Ask for a new one.") from None
    call.context.users.forget(user_id)
    user, address = f"user:{user_id}", client_of(call.request.scope)
    await call.context.access_records.write(Access(user, Action.ACCEPT_INVITATION, user, call.request_id, address))
    return Response(status_code=204)


ENDPOINTS = (
    Endpoint(
        "POST", "/api/auth/password", change_password, Who.SIGNED_IN, "Change one's own password. Ends all other sessions.",
        {204: Answer(None, "The password is changed.")}, body=PasswordChange, most_of_body=MOST_OF_A_SIGN_IN, problems=(429,),
    ),
    Endpoint(
        "POST", "/api/auth/invitation", accept_invitation, Who.ANYONE,
        "Set one's own password with the token of an invitation, which works once. Then sign in.",
        {204: Answer(None, "The password is set.")}, body=Acceptance, most_of_body=MOST_OF_A_SIGN_IN, admit=count_request,
        problems=(404, 429),
    ),
)  # fmt: skip
