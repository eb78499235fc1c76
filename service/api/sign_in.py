"""The limits, cookies and log lines that every way to sign in uses.

Each try writes one log line with the address, the account as a keyed hash of the email, and the outcome. The line never has the
email or the password.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response

from service.accounts.known_devices import LIFE, Device
from service.accounts.sign_in_limit import TooManyTries
from service.accounts.sign_in_queue import LineFull
from service.accounts.users import TOKEN_LIFE, normal_email
from service.http.context import ApiContext
from service.http.cookies import DEVICE, SESSION, cookie_of, set_cookie
from service.http.endpoint import Call
from service.http.problems import Problem, not_signed_in
from service.http.request import client_of
from service.trusted_proxies import counted_as

log = structlog.get_logger("rireki.sign_in")


async def count_request(context: "ApiContext", request: Request) -> None:
    """Counts the request for the client's address or known device, before the body is read.

    Raises `TooManyTries` if the address or the device has made too many requests.
    """
    address, device = counted_address(request), device_of(context, request)
    try:
        await context.sign_in_limit.request(address, None if device is None else device.id)
    except TooManyTries:
        log.info("sign-in", address=address, outcome="too many requests")
        raise


@dataclass(frozen=True, slots=True)
class Try:
    """One try to sign in with a password, as it is counted and logged."""

    context: ApiContext
    address: str
    account: str
    device: str | None
    """The id of the device, if the account has signed in with it before."""

    @classmethod
    def of(cls, call: Call[Any, Any], email: str) -> "Try":
        account, device = call.context.devices.account(normal_email(email)), device_of(call.context, call.request)
        known = device.id if device is not None and device.knows(account) else None
        return cls(call.context, counted_address(call.request), account, known)

    @property
    def queue(self) -> str:
        """The queue's name for this try, by which a known device does not wait behind others."""
        return self.address if self.device is None else f"device {self.device}"

    @contextlib.contextmanager
    def logged(self) -> Iterator[None]:
        """Writes one line about the try when the block ends."""
        outcome = "failed"
        try:
            yield
            outcome = "signed in"
        except LineFull:
            outcome = "the queue is full"
            raise
        except TooManyTries:
            outcome = "too many tries"
            raise
        except Problem as problem:
            outcome = "wrong" if problem.status == 401 else outcome
            raise
        finally:
            device = "new" if self.device is None else "known"
            log.info("sign-in", address=self.address, email_hash=self.account, device=device, outcome=outcome)

    async def count(self) -> None:
        """Raises `TooManyTries`."""
        await self.context.sign_in_limit.count(self.address, self.account, self.device)

    async def refuse(self) -> Problem:
        await self.context.sign_in_limit.wrong(self.address, self.device)
        return not_signed_in("The email or the password is wrong.")

    async def forget(self) -> None:
        await self.context.sign_in_limit.forget(self.address, self.account, self.device)


def add_session(call: Call[Any, Any], answer: Response, token: str, account: str) -> Response:
    """Adds the cookies of the session and of the device."""
    request, context = call.request, call.context
    device = context.devices.cookie(device_of(context, request), account)
    session = set_cookie(request, context.settings, SESSION, token, int(TOKEN_LIFE.total_seconds()))
    answer.headers.append("Set-Cookie", session)
    answer.headers.append("Set-Cookie", set_cookie(request, context.settings, DEVICE, device, LIFE, same_site="Strict"))
    return answer


def end_session(call: Call[Any, Any], answer: Response) -> Response:
    answer.headers.append("Set-Cookie", set_cookie(call.request, call.context.settings, SESSION, "", 0))
    return answer


def device_of(context: ApiContext, request: Request) -> Device | None:
    return context.devices.read(cookie_of(request, DEVICE, context.settings))


def counted_address(request: Request) -> str:
    return counted_as(client_of(request.scope))
