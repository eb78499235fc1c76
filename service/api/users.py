"""Accounts, for admins: list, add, change, sign out everywhere, invite."""

from typing import Any

from pydantic import Field, SecretStr
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from events.job import rfc3339
from service.accounts import people
from service.accounts.access_records import Action
from service.accounts.invitations import INVITATION_LIFE, invite
from service.accounts.passwords import PasswordRefused, check_password
from service.accounts.people import Account, AccountChange
from service.accounts.users import LONGEST_NAME, NAME_RULE, CannotAdd, Role, add_user, is_name
from service.api.documents import Id, Time
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.problems import bad_field
from service.http.request import Fields, Nothing, read_id

LONGEST_INPUT = 1024  # characters of a password in a request; a longer one is refused before it is normalised


class NewUser(Fields):
    email: str = Field(min_length=3, max_length=254, examples=["yamada@example.com"])
    role: Role
    name: str | None = Field(default=None, max_length=LONGEST_NAME, description="Default: the email up to the @.")
    password: SecretStr | None = Field(
        default=None, max_length=LONGEST_INPUT, description="Without one, the person sets it with an invitation."
    )


class UserPatch(Fields):
    """A value that is missing or null stays as it is."""

    role: Role | None = None
    disabled: bool | None = Field(default=None, description="A disabled user's sessions end, and they cannot sign in.")
    name: str | None = Field(default=None, max_length=LONGEST_NAME)
    password: SecretStr | None = Field(default=None, max_length=LONGEST_INPUT, description="Ends all sessions of the user.")


class AccountDocument(TypedDict):
    id: Id
    email: str
    name: str
    role: Role
    disabled: bool


class Accounts(TypedDict):
    users: list[AccountDocument]


class OneAccount(TypedDict):
    user: AccountDocument


class InvitationDocument(TypedDict):
    link: str
    expiresAt: Time


class OneInvitation(TypedDict):
    invitation: InvitationDocument


async def list_users(call: Call[Nothing, Nothing]) -> Response:
    answer: Accounts = {"users": [_json(account) for account in await people.accounts(call.context.database)]}
    return json_answer(answer)


async def get_user(call: Call[Nothing, Nothing]) -> Response:
    return _answer(await people.account(call.context.database, _user_id(call)))


async def create_user(call: Call[Nothing, NewUser]) -> Response:
    body = call.body
    password = None if body.password is None else body.password.get_secret_value()
    try:
        user = await add_user(call.context.database, body.email, body.role, password, body.name)
    except CannotAdd as refusal:
        raise bad_field(refusal.field, refusal.detail, 409 if refusal.taken else 422) from None
    await call.record(Action.ADD_USER, f"user:{user.id} role={user.role}")
    return _answer(Account(user, disabled=False), 201)


async def change_user(call: Call[Nothing, UserPatch]) -> Response:
    body = call.body
    if body.name is not None and not is_name(body.name):
        raise bad_field("name", NAME_RULE)
    password = None if body.password is None else new_password(body.password, "password")
    name = None if body.name is None else body.name.strip()
    change = AccountChange(name, body.role, body.disabled, password)
    return await _changed(call, change, Action.CHANGE_USER)


async def sign_user_out(call: Call[Nothing, Nothing]) -> Response:
    return await _changed(call, AccountChange(signs_out=True), Action.SIGN_USER_OUT)


async def invite_user(call: Call[Nothing, Nothing]) -> Response:
    user_id = _user_id(call)
    invitation = await invite(call.context.database, user_id)
    await call.record(Action.INVITE_USER, f"user:{user_id}")
    answer: OneInvitation = {
        "invitation": {"link": invitation.link(_address(call.request)), "expiresAt": rfc3339(invitation.expires_at)}
    }
    return json_answer(answer, 201)


def new_password(given: SecretStr, field: str) -> str:
    """Returns the text of a new password. Raises `Problem` 422 if it breaks a rule."""
    password = given.get_secret_value()
    try:
        check_password(password)
    except PasswordRefused as refusal:
        raise bad_field(field, refusal.detail) from None
    return password


async def _changed(call: Call[Any, Any], change: AccountChange, action: Action) -> Response:
    user_id = _user_id(call)
    account = await people.change_account(call.context.database, user_id, change)
    call.context.users.forget(user_id)
    await call.record(action, f"user:{user_id}{change.summary}")
    return _answer(account)


def _user_id(call: Call[Any, Any]) -> str:
    return read_id(call.path("id"))


def _address(request: Request) -> str:
    """Returns the address under which the caller reaches this service."""
    return f"{request.url.scheme}://{request.url.netloc}"


def _answer(account: Account, status: int = 200) -> Response:
    answer: OneAccount = {"user": _json(account)}
    return json_answer(answer, status)


def _json(account: Account) -> AccountDocument:
    user = account.user
    return {"id": user.id, "email": user.email, "name": user.name, "role": user.role, "disabled": account.disabled}


def _about_the_user(pointer: str) -> dict[str, dict[str, str]]:
    """Returns OpenAPI links from a response to the endpoints that take a user id.

    The user's id is in the body of the response, at the JSON pointer `pointer`.
    """
    names = ("get_user", "change_user", "sign_user_out", "invite_user")
    return {name: {"id": f"$response.body#{pointer}"} for name in names}


HOURS = int(INVITATION_LIFE.total_seconds()) // 3600

ENDPOINTS = (
    Endpoint(
        "GET", "/api/users", list_users, Who.ADMIN, "The accounts, disabled ones included.",
        {200: Answer(Accounts, "The accounts by name.", links=_about_the_user("/users/0/id"))},
    ),
    Endpoint(
        "POST", "/api/users", create_user, Who.ADMIN, "Add a person. Without a password they need an invitation.",
        {201: Answer(OneAccount, "The new account.", links=_about_the_user("/user/id"))}, body=NewUser, problems=(409,),
    ),
    Endpoint(
        "GET", "/api/users/{id}", get_user, Who.ADMIN, "One account.", {200: Answer(OneAccount, "The account.")},
        problems=(404,),
    ),
    Endpoint(
        "PATCH", "/api/users/{id}", change_user, Who.ADMIN,
        "Change an account. It takes effect in requests within 1 s, and open streams end within 10 s. 409 for the last admin.",
        {200: Answer(OneAccount, "The changed account.")}, body=UserPatch, problems=(404, 409),
    ),
    Endpoint(
        "POST", "/api/users/{id}/sign-out", sign_user_out, Who.ADMIN, "End all sessions of a person.",
        {200: Answer(OneAccount, "The account.")}, problems=(404,),
    ),
    Endpoint(
        "POST", "/api/users/{id}/invitation", invite_user, Who.ADMIN,
        f"Make a one-time link with which a person sets their own password within {HOURS} hours. Earlier links stop working.",
        {201: Answer(OneInvitation, "The link. It is shown only here.")}, problems=(404,),
    ),
)  # fmt: skip
