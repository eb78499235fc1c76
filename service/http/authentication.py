"""Who a request comes from: a bearer token, or the same token in a cookie that scripts can't read."""

from urllib.parse import urlsplit

from starlette.requests import Request

from service.accounts.users import User, Users
from service.http.problems import Problem, not_signed_in
from service.http.request import header

COOKIE = "rireki_session"


def token_of(request: Request) -> str | None:
    """The token that the request carries, if any. A bearer header goes before the cookie."""
    scheme, _, token = (header(request.scope, b"authorization") or "").partition(" ")
    if scheme:
        return token.strip() if scheme.lower() == "bearer" else None
    return request.cookies.get(COOKIE)


async def user_of(users: Users, token: str | None) -> User:
    """Whose token it is. Raises `Problem` 401."""
    user = await users.of_token(token) if token else None
    if user is None:
        detail = "This token is not valid any more. Sign in again." if token else "Sign in first."
        raise not_signed_in(detail)
    return user


def check_origin(request: Request) -> None:
    """A browser that sends a change from another site's page says so, and is refused: the cookie would come along with it. An
    older one says only where it comes from; other clients say nothing. Raises `Problem` 403."""
    site = header(request.scope, b"sec-fetch-site")
    origin = header(request.scope, b"origin")
    if site is not None:
        ours = site in ("same-origin", "none")
    else:
        ours = origin is None or urlsplit(origin).netloc == request.headers.get("host", "").lower()
    if not ours:
        raise Problem(403, "This request comes from another site.")
