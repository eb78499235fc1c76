"""Cookies of the service: their names and their attributes.

In production a name begins with `__Host-`. A browser then takes the cookie only over HTTPS, from this
host itself and for all of its paths, so that a page of a neighbouring subdomain cannot plant one.
In development, where the page is served over http, browsers refuse that prefix.
"""

from http.cookies import SimpleCookie
from typing import Any, Literal

from starlette.requests import Request

from service.config import Settings

SESSION = "rireki_session"
DEVICE = "rireki_device"


def full_name(name: str, settings: Settings) -> str:
    return f"__Host-{name}" if settings.production else name


def cookie_of(request: Request, name: str, settings: Settings) -> str | None:
    return request.cookies.get(full_name(name, settings))


def set_cookie(
    request: Request, settings: Settings, name: str, value: str, seconds: int, *, same_site: Literal["Lax", "Strict"] = "Lax"
) -> str:
    """Returns a `Set-Cookie` header, for a cookie that scripts of the page cannot read.

    Zero seconds delete the cookie.
    """
    name = full_name(name, settings)
    cookie: SimpleCookie = SimpleCookie({name: value})
    secure = settings.production or request.scope["scheme"] == "https"
    attributes: dict[str, Any] = {"path": "/", "max-age": seconds, "httponly": True, "samesite": same_site, "secure": secure}
    cookie[name].update(attributes)
    return cookie[name].OutputString()
