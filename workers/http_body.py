"""The body of another server's answer, read with a limit on its size, as it was sent and decompressed.

The HTTP client would decompress each piece whole before anybody could look at its length: 600 bytes of gzip within gzip become
gigabytes. Here each coding is undone under the limit, off the event loop.
"""

import asyncio
import zlib

import httpx2 as httpx

ACCEPT_ENCODING = "gzip"
"""Send this as `accept-encoding`."""

_MOST_CODINGS = 2
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class UnreadableBody(Exception):
    """The body is longer than allowed, or compressed in a way that cannot be undone. The message goes on after
    "the answer", and quotes nothing of it."""


async def read_body(response: httpx.Response, most: int) -> bytes:
    """At most `most` bytes, of a response that was opened with `stream`. Raises `UnreadableBody`."""
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
        # One byte more than allowed tells that there is more; nothing beyond it is ever made.
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
