"""Reads an HTTP body with a limit on its size, before and after decompression.

The HTTP client decompresses each piece whole before its length can be checked, so 600 bytes of
nested gzip could become gigabytes. `read_body` checks the limit while it decompresses, which it does
outside the event loop.
"""

import asyncio
import zlib

import httpx2 as httpx

ACCEPT_ENCODING = "gzip"
"""The `accept-encoding` header of a request whose response `read_body` reads."""

_MOST_CODINGS = 2
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class UnreadableBody(Exception):
    """The body is longer than allowed, or it cannot be decompressed.

    The message continues a sentence that begins with "the answer". It quotes nothing of the body.
    """


async def read_body(response: httpx.Response, most: int) -> bytes:
    """Reads a body of at most `most` bytes from a response that was opened with `stream`.

    Raises:
        UnreadableBody: the body is too long, or cannot be decompressed.
    """
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > most:
            raise _too_long(most)
    codings = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")]
    codings = [name for name in codings if name not in ("", "identity")]
    return await asyncio.to_thread(_decompressed, bytes(body), codings, most) if codings else bytes(body)


def _decompressed(body: bytes, codings: list[str], most: int) -> bytes:
    if len(codings) > _MOST_CODINGS or not _WINDOW_BITS.keys() >= set(codings):
        raise UnreadableBody("is compressed in a way that was not asked for")
    for coding in reversed(codings):
        body = _inflated(body, _WINDOW_BITS[coding], most)
    return body


def _inflated(body: bytes, window_bits: int, most: int) -> bytes:
    decompressor = zlib.decompressobj(window_bits)
    try:
        # One byte more than allowed is enough to see that the body is too long.
        inflated = decompressor.decompress(body, most + 1)
    except zlib.error:
        raise UnreadableBody("cannot be decompressed") from None
    if len(inflated) > most:
        raise _too_long(most)
    if not decompressor.eof:
        raise UnreadableBody("cannot be decompressed: its end is missing")
    return inflated


def _too_long(most: int) -> UnreadableBody:
    return UnreadableBody(f"is longer than {most} bytes")
