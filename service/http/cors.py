"""Lets pages of listed origins read the API's responses: Cross-Origin Resource Sharing.

Source: the Fetch Standard, https://fetch.spec.whatwg.org/#http-cors-protocol. The list is empty by
default; then no response has a header of this module, and a preflight is an unknown method.
"""

from starlette.responses import Response
from starlette.types import Scope

from service.http.headers import RawHeaders
from service.http.request import header

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, X-Request-Id"
_RESPONSE_HEADERS = b"Content-Disposition, Location, Preference-Applied, Retry-After, X-Request-Id"
_REMEMBERED = 600  # seconds for which a browser may keep the answer to a preflight


class Cors:
    """Answers pages of `origins`, which are written as browsers write them in `Origin`."""

    def __init__(self, origins: frozenset[str]) -> None:
        self._origins = origins

    def preflight(self, scope: Scope) -> Response | None:
        """Returns the response to a preflight of a listed origin; None for any other request.

        A preflight has no token, because browsers send none with it.
        """
        if scope["method"] != "OPTIONS" or header(scope, b"access-control-request-method") is None or not self._lists(scope):
            return None
        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Methods": _METHODS,
                "Access-Control-Allow-Headers": _REQUEST_HEADERS,
                "Access-Control-Max-Age": str(_REMEMBERED),
            },
        )

    def headers(self, scope: Scope) -> RawHeaders:
        """Returns the headers to add to the response to this request.

        `Vary` is added for all clients, so that no cache gives one origin the response to another.
        """
        if not self._origins or not scope["path"].startswith("/api/"):
            return []
        if not self._lists(scope):
            return [(b"vary", b"Origin")]
        return [
            (b"vary", b"Origin"),
            (b"access-control-allow-origin", (header(scope, b"origin") or "").encode()),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", _RESPONSE_HEADERS),
        ]

    def _lists(self, scope: Scope) -> bool:
        return scope["path"].startswith("/api/") and header(scope, b"origin") in self._origins
