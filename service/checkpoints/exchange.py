"""Sends one request to a server that may be hostile: a store of copies, or a witness.

Every answer is bounded in size and in time.
"""

import asyncio
from collections.abc import Callable, Mapping

import httpx2 as httpx

from workers.http_body import UnreadableBody, read_body
from workers.outgoing_rules import OutgoingRefused


async def exchange(
    http: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    body: bytes,
    headers: Mapping[str, str],
    within: float,
    most: int,
    wanted: Callable[[int], bool],
    server: str,
    failure: type[Exception],
) -> tuple[int, bytes]:
    """Returns the status of the answer, and its body if the status is `wanted`; otherwise no bytes.

    The whole answer must come within `within` seconds, and its body has at most `most` bytes.

    Raises `failure` with one sentence about `server`, such as "the witness".
    """
    # Our own header asks for no compression, because a note is short.
    sent = {"accept-encoding": "identity", **headers}
    try:
        async with asyncio.timeout(within), http.stream(method, path, content=body or None, headers=sent) as response:
            return response.status_code, await read_body(response, most) if wanted(response.status_code) else b""
    except UnreadableBody as error:
        raise failure(f"The answer of {server} {error}.") from None
    except OutgoingRefused as error:
        raise failure(str(error)) from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
        raise failure(f"{server[0].upper()}{server[1:]} does not answer ({type(error).__name__}).") from error
