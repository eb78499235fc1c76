"""The security headers of all responses, in one table.

The application adds them to the responses of all routes, and the HTTP protocol to its refusals.
Source: the OWASP Secure Headers Project, https://owasp.org/www-project-secure-headers/
"""

from collections.abc import Mapping

RawHeaders = list[tuple[bytes, bytes]]

_SWITCHED_OFF = (
    "accelerometer", "autoplay", "camera", "clipboard-read", "display-capture", "encrypted-media", "fullscreen", "geolocation",
    "gyroscope", "magnetometer", "microphone", "midi", "payment", "picture-in-picture", "publickey-credentials-get",
    "screen-wake-lock", "sync-xhr", "usb", "web-share", "xr-spatial-tracking",
)  # fmt: skip
"""Features of browsers that the page does not use. Injected content cannot use them either."""

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _SWITCHED_OFF),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Permitted-Cross-Domain-Policies": "none",
}

UNLESS_GIVEN = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""A response may give these headers another value, as the page and its files do."""

IN_PRODUCTION = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}
"""Browsers use only TLS for this name and the names below it, for a year after each response."""

_OF_THIS_HOST = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
_NOWHERE_ELSE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE_POLICY = f"{_OF_THIS_HOST}; img-src 'self'; {_NOWHERE_ELSE}; require-trusted-types-for 'script'; trusted-types dompurify"
"""Trusted Types forbid scripts to write HTML from strings. Only DOMPurify may, which cleans a draft's HTML."""
DOCS_POLICY = f"{_OF_THIS_HOST}; img-src 'self' data:; {_NOWHERE_ELSE}"
"""The policy of Swagger UI, which has images in its style sheet and writes HTML from strings."""


def raw(headers: Mapping[str, str]) -> RawHeaders:
    """Returns the headers as the server writes them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


_ALWAYS, _UNLESS_GIVEN = raw(ALWAYS), raw(UNLESS_GIVEN)


def security_headers(given: RawHeaders) -> RawHeaders:
    """Returns the headers to add to a response with the headers `given`."""
    names = {name for name, _ in given}
    return [*_ALWAYS, *(header for header in _UNLESS_GIVEN if header[0] not in names)]
