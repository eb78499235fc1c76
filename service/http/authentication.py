"""Finds the user of a request by its bearer token or its session cookie."""

from collections.abc import Container

from starlette.requests import Request

from service.accounts.users import User, Users
from service.config import Settings
from service.http.cookies import SESSION, cookie_of
from service.http.problems import Problem, not_signed_in
from service.http.request import header


def token_of(request: Request, settings: Settings) -> str | None:
    """Returns the token of the request, or None.

    The cookie is read only if the header `Authorization` is missing.
    """
    scheme, _, token = (header(request.scope, b"authorization") or "").partition(" ")
    if scheme:
        return token.strip() if scheme.lower() == "bearer" else None
    return cookie_of(request, SESSION, settings)


async def user_of(users: Users, token: str | None) -> User:
    """Returns the user of this token.

    Raises `Problem` 401 if the token is missing or not valid.
    """
    user = await users.of_token(token) if token else None
    if user is None:
        detail = "The token is not valid. Sign in again." if token else "Sign in first: this request has no token."
        raise not_signed_in(detail)
    return user


def check_origin(request: Request, allowed: Container[str] = ()) -> None:
    """Raises `Problem` 403 if a page of another site has sent the request (CSRF).

    Such a request has the user's cookie, because the browser adds it. Browsers name the sender in `Sec-Fetch-Site`, older
    browsers in `Origin`. A request with neither header is accepted, because no browser sends such a request. Pages of
    the origins in `allowed` (CORS_ALLOWED_ORIGINS) may send requests.
    """
    site = header(request.scope, b"sec-fetch-site")
    origin = header(request.scope, b"origin")
    if origin is not None and origin in allowed:
        return
    if site is not None:
        ours = site in ("same-origin", "none")
    else:
        ours = origin is None or origin.partition("://")[2] == request.headers.get("host", "").lower()
    if not ours:
        raise Problem(403, "The request comes from another site. Send it from a page of this service.")
