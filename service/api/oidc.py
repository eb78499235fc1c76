"""Sign-in through an identity provider (OpenID Connect).

This is the authorization code flow with PKCE.

The browser comes to `start`, goes to the provider, and comes back to `callback`. Both answers are
redirects. A refusal leads to the sign-in page, with the reason in the query, because the page says
it in the person's language.
"""

import asyncio
from enum import StrEnum
from functools import partial
from typing import Any
from urllib.parse import urlencode

from pydantic import ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from service.accounts.access_records import IDENTITY_PROVIDER, Access, Action
from service.accounts.identities import IdentityRefused, user_of_identity
from service.accounts.oidc_provider import ProviderFailed
from service.accounts.oidc_sign_in import COOKIE, LIFE, Oidc, OidcSignIn, from_cookie, to_cookie
from service.accounts.oidc_tokens import TokenRefused
from service.accounts.users import User, normal_email
from service.api.sign_in import add_session, count_request, counted_address, log
from service.http.authentication import token_of
from service.http.cookies import cookie_of, set_cookie
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.problems import not_found
from service.http.request import Fields, Nothing, client_of

SIGNED_IN_WITHIN = 20.0  # seconds; the provider is asked up to four times
CALLBACK = "/api/auth/oidc/callback"


class Reason(StrEnum):
    """A reason of a refusal, for the query of the sign-in page.

    `Refusal` has more reasons.
    """

    CANCELED = "canceled"
    EXPIRED = "expired"
    PROVIDER = "provider"
    TOKEN = "token"  # noqa: S105 - a reason


class Methods(TypedDict):
    password: bool
    oidc: bool


class Beginning(Fields):
    to: str = Field(default="/", max_length=500, description="The path of the page to show after the sign-in.")


class CodeOrError(Fields):
    """The parameters that the provider sends. Further parameters are ignored."""

    model_config = ConfigDict(extra="ignore")

    state: str | None = Field(default=None, max_length=500)
    code: str | None = Field(default=None, max_length=4096)
    error: str | None = Field(default=None, max_length=500)
    iss: str | None = Field(default=None, max_length=2000)


class Refused(Exception):
    """The person is not signed in. `detail` is for the log."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


async def list_methods(call: Call[Nothing, Nothing]) -> Response:
    answer: Methods = {"password": True, "oidc": call.context.oidc is not None}
    return json_answer(answer)


async def begin_oidc(call: Call[Beginning, Nothing]) -> Response:
    oidc, sign_in = _oidc(call), OidcSignIn.begin(call.query.to)
    provider = oidc.provider.provider
    try:
        endpoint = (await oidc.provider.configuration()).authorization_endpoint
    except ProviderFailed as failure:
        return _refused(call, Refused(Reason.PROVIDER, str(failure)))
    address = sign_in.address(endpoint, client_id=provider.client_id, redirect_uri=_redirect_uri(call))
    return _redirect(call, address, to_cookie(sign_in, oidc.secret), LIFE)


async def end_oidc(call: Call[CodeOrError, Nothing]) -> Response:
    call.patience.reschedule(asyncio.get_running_loop().time() + SIGNED_IN_WITHIN)
    oidc = _oidc(call)
    began = from_cookie(cookie_of(call.request, COOKIE, call.context.settings), oidc.secret)
    try:
        user = await _user(call, oidc, began)
    except Refused as refused:
        return _refused(call, refused)
    assert began is not None
    account = call.context.devices.account(normal_email(user.email))
    log.info("sign-in", address=counted_address(call.request), email_hash=account, method="oidc", outcome="signed in")
    return add_session(call, _redirect(call, began.to, "", 0), call.context.users.new_token(user), account)


async def _user(call: Call[CodeOrError, Nothing], oidc: Oidc, began: OidcSignIn | None) -> User:
    """Returns the user whom the provider names. Raises `Refused`."""
    query = call.query
    # The state is checked first: only then does the answer belong to a sign-in that this browser has begun.
    if began is None or not began.has_state(query.state):
        raise Refused(Reason.EXPIRED)
    if query.iss not in (None, oidc.provider.provider.issuer):
        raise Refused(Reason.TOKEN, "the answer is another issuer's (RFC 9207)")
    if query.error == "access_denied":
        raise Refused(Reason.CANCELED)
    if query.code is None:
        raise Refused(Reason.PROVIDER, "the provider answers with an error")
    try:
        identity = await oidc.provider.identity(
            query.code, verifier=began.verifier, redirect_uri=_redirect_uri(call), nonce=began.nonce
        )
        return await user_of_identity(call.context.database, identity, await _signed_in(call), partial(_changed, call))
    except ProviderFailed as failure:
        raise Refused(Reason.PROVIDER, str(failure)) from failure
    except TokenRefused as refusal:
        raise Refused(Reason.TOKEN, f"the ID token is refused: {refusal}") from refusal
    except IdentityRefused as refusal:
        raise Refused(refusal.refusal) from refusal


async def _changed(call: Call[Any, Any], action: Action, user_id: str, fields: str) -> None:
    """Puts a change of an account on record.

    Makes this process ask again about the user's sessions, so that the change takes effect in them.
    """
    call.context.users.forget(user_id)
    target, address = f"user:{user_id}{fields}", client_of(call.request.scope)
    await call.context.access_records.write(Access(IDENTITY_PROVIDER, action, target, call.request_id, address))


async def _signed_in(call: Call[Any, Any]) -> User | None:
    token = token_of(call.request, call.context.settings)
    return None if token is None else await call.context.users.of_token(token)


def _oidc(call: Call[Any, Any]) -> Oidc:
    if call.context.oidc is None:
        raise not_found("way to sign in: OIDC_ISSUER is not set")
    return call.context.oidc


def _redirect_uri(call: Call[Any, Any]) -> str:
    """The address of `callback`, which is registered at the provider.

    In production browsers come over https.
    """
    request = call.request
    scheme = "https" if call.context.settings.production else request.scope["scheme"]
    return f"{scheme}://{request.headers.get('host', '')}{CALLBACK}"


def _refused(call: Call[Any, Any], refused: Refused) -> Response:
    log.warning(
        "sign-in", address=counted_address(call.request), method="oidc", outcome=refused.reason, detail=refused.detail,
    )  # fmt: skip
    return _redirect(call, f"/?{urlencode({'refused': refused.reason})}", "", 0)


def _redirect(call: Call[Any, Any], address: str, cookie: str, seconds: int) -> Response:
    headers = {
        "Location": address,
        "Set-Cookie": set_cookie(call.request, call.context.settings, COOKIE, cookie, seconds),
        # The addresses of `callback` and of the provider may hold secrets, such as the code.
        "Referrer-Policy": "no-referrer",
    }
    return Response(status_code=303, headers=headers)


ENDPOINTS = (
    Endpoint(
        "GET", "/api/auth/methods", list_methods, Who.ANYONE, "The ways to sign in that this service offers.",
        {200: Answer(Methods, "The ways to sign in.")},
    ),
    Endpoint(
        "GET", "/api/auth/oidc/start", begin_oidc, Who.ANYONE, "Go to the identity provider to sign in there.",
        {303: Answer(None, "The provider, or the page's sign-in if the provider does not answer.")}, query=Beginning,
        admit=count_request, problems=(404, 429),
    ),
    Endpoint(
        "GET", CALLBACK, end_oidc, Who.ANYONE, "Come back from the identity provider. Sets the session cookie.",
        {303: Answer(None, "The page, signed in; or the page's sign-in with the reason of the refusal.")}, query=CodeOrError,
        admit=count_request, problems=(404, 429),
    ),
)  # fmt: skip
