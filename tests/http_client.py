"""Makes the HTTP clients of the tests."""

import ssl
from typing import Any

import httpx2 as httpx

# Trusts nobody. An HTTP client makes a TLS context even for http:// addresses, and reading the
# system's authorities into it takes 20 ms, which a test with six clients would spend six times.
_TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def http_client(url: str = "", **options: Any) -> httpx.AsyncClient:
    """Returns a client for http:// addresses. `options` are those of `httpx.AsyncClient`."""
    return httpx.AsyncClient(base_url=url, verify=_TRUSTS_NOBODY, **options)
