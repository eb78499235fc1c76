"""Reads and writes objects over HTTP: PUT and GET below one address.

Every answer is bounded in size and in time, because the server may be hostile.
"""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

import httpx2 as httpx

from service.checkpoints.copies_in_store import Objects
from service.checkpoints.copy_types import CopyFailed
from service.checkpoints.exchange import exchange
from workers.outgoing_http import Outgoing

ENDS_WITHIN = 10.0  # seconds for a request and its whole answer
CONNECTS_WITHIN = 5.0  # seconds
LIMITS = httpx.Limits(max_connections=4, max_keepalive_connections=2)
IF_NEW = {"if-none-match": "*"}
TEXT = {"content-type": "text/plain; charset=utf-8"}
MOST_UNREAD = 65_536  # bytes that are read of an answer whose text is not used
WRITTEN = frozenset({200, 201, 204})
MISSING = frozenset({404, 410})
REASONS = {
    401: " (it wants credentials)",
    403: " (it refuses the credentials)",
    405: " (it does not allow PUT)",
    409: " (does the folder exist?)",
}


class Requests:
    """Sends requests to one server."""

    def __init__(self, base_url: str, outgoing: Outgoing) -> None:
        """Raises `OSError` if the file of certificates cannot be used."""
        self._http = outgoing.client(base_url, limits=LIMITS, timeout=httpx.Timeout(ENDS_WITHIN, connect=CONNECTS_WITHIN))

    async def send(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str], most: int
    ) -> tuple[int, bytes]:
        """Returns the status of the answer, and the body of a success.

        The body has at most `most` bytes.

        Raises `CopyFailed`.
        """
        return await exchange(
            self._http, method, path, body=body, headers=headers, within=ENDS_WITHIN, most=most,
            wanted=httpx.codes.is_success, server="the server with the copies", failure=CopyFailed,
        )  # fmt: skip

    async def close(self) -> None:
        await self._http.aclose()


class HttpObjects(Objects):
    """Objects on a server that takes PUT requests. The address may hold a user and a password."""

    def __init__(self, url: str, outgoing: Outgoing) -> None:
        self._requests = Requests(f"{url}/", outgoing)

    async def get(self, key: str, most: int) -> bytes | None:
        return read_answer(*await self._requests.send("GET", quote(key), headers={}, most=most))

    async def put(self, key: str, body: bytes, *, replace: bool) -> bool:
        async def send(headers: Mapping[str, str]) -> int:
            return (await self._requests.send("PUT", quote(key), body=body, headers={**TEXT, **headers}, most=MOST_UNREAD))[0]

        return await put_with(send, replace=replace)

    async def close(self) -> None:
        await self._requests.close()


def read_answer(status: int, body: bytes) -> bytes | None:
    """Returns the body of an answer to GET, or None if there is no such object.

    Raises `CopyFailed`.
    """
    if status in MISSING:
        return None
    if status != 200:
        raise refusal(status)
    return body


async def put_with(send: Callable[[Mapping[str, str]], Awaitable[int]], *, replace: bool) -> bool:
    """Puts an object with `send`, which takes headers and returns a status.

    Without `replace`, returns False if the server says that there is one already. Raises `CopyFailed`.
    """
    status = await send({} if replace else IF_NEW)
    if status == 412 and not replace:
        return False
    if status == 501 and not replace:
        # The server does not know conditional requests.
        status = await send({})
    if status not in WRITTEN:
        raise refusal(status)
    return True


def refusal(status: int) -> CopyFailed:
    return CopyFailed(f"The server with the copies answered {status}{REASONS.get(status, '')}.")
