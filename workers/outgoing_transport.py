"""The transport of outgoing requests: to one server, at an address that was checked.

The name of a server is resolved once for each connection, its addresses are checked, and the
connection is made to a checked address. So an answer of DNS that changes between the check and the
connection has no effect. TLS checks the certificate against the name, as usual.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import httpcore2 as httpcore
import httpx2 as httpx
from httpcore2 import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream

from workers.outgoing_rules import OutgoingRefused, OutgoingRules

NEXT_ADDRESS_AFTER = 0.25  # seconds, as RFC 8305 recommends

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the IP addresses of a host and port, the best first. Raises `OSError`."""


async def system_addresses(host: str, port: int) -> list[str]:
    """Returns the addresses that the operating system finds for a host."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label of the name is empty or too long
        raise OSError(f"{host!r} cannot be a name") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class OneServer(httpx.AsyncHTTPTransport):
    """Sends requests to the server of one URL, and to no other."""

    def __init__(self, base_url: str, connections: AsyncNetworkBackend | None, **options: Any) -> None:
        """`connections` opens the connections; None means the library's own way."""
        super().__init__(trust_env=False, **options)
        self._server = _server_of(httpx.URL(base_url))
        if connections is not None:
            # httpx2 has no option for httpcore's network backend. Replacing it keeps httpx2's translation of errors, which
            # a transport of our own would have to repeat. Delete this when `AsyncHTTPTransport` takes a backend.
            if not isinstance(getattr(self._pool, "_network_backend", None), AsyncNetworkBackend):
                raise TypeError("httpcore2 keeps its network backend elsewhere, so addresses would not be checked")
            self._pool._network_backend = connections  # noqa: SLF001

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request.

        Raises:
            OutgoingRefused: the request is for another server, which must not get this server's token.
        """
        if _server_of(request.url) != self._server:
            raise OutgoingRefused(f"{request.url.host} is not called, because it is not the server of this token.")
        return await super().handle_async_request(request)


class CheckedConnections(AnyIOBackend):
    """Opens connections to those addresses of a host that the rules permit."""

    def __init__(self, rules: OutgoingRules, resolve: Resolve, *, is_https: bool) -> None:
        self._rules = rules
        self._resolve = resolve
        self._is_https = is_https

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *arguments: Any, **options: Any
    ) -> AsyncNetworkStream:
        """Resolves the name and connects, in at most `timeout` seconds.

        Raises:
            OutgoingRefused: the rules permit no address of this host.
            httpcore2.ConnectError, httpcore2.ConnectTimeout: there is no connection.
        """

        async def connect(address: str) -> AsyncNetworkStream:
            return await super(CheckedConnections, self).connect_tcp(address, port, None, *arguments, **options)

        try:
            async with asyncio.timeout(timeout):
                found = await self._resolve(host, port)
                return await _first_connected(self._rules.permitted(host, found, is_https=self._is_https), connect)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error


async def _first_connected(
    addresses: Iterable[str], connect: Callable[[str], Awaitable[AsyncNetworkStream]]
) -> AsyncNetworkStream:
    """Tries the addresses in turn (RFC 8305).

    The next address is tried early if the address before it does not answer.

    Raises:
        httpcore2.ConnectError: no address could be connected to.
    """
    waiting, attempts = list(addresses), set[asyncio.Future[AsyncNetworkStream]]()
    problem: BaseException = httpcore.ConnectError("the name has no address")
    try:
        while waiting or attempts:
            if waiting:
                attempts.add(asyncio.ensure_future(connect(waiting.pop(0))))
            done, _ = await asyncio.wait(
                attempts, timeout=NEXT_ADDRESS_AFTER if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in done:
                attempts.discard(attempt)
                error = attempt.exception()
                if error is None:
                    return attempt.result()
                problem = error
        raise problem
    finally:
        await _close(attempts)


async def _close(attempts: Iterable[asyncio.Future[AsyncNetworkStream]]) -> None:
    """Cancels the other attempts to connect, and closes those that have connected meanwhile."""
    for attempt in attempts:
        attempt.cancel()
    for ended in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(ended, AsyncNetworkStream):
            await ended.aclose()


def _server_of(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
