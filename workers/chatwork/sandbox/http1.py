"""The part of HTTP/1.1 that a client of Chatwork needs. Source: RFC 9112."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.client import responses


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An HTTP answer, before it is turned into bytes."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] | None = None
    broken_off: bool = False
    """Whether only half of the body is sent, as if the connection broke."""


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]] | None:
    """Returns the next request: its method, its target, and its headers with lower-case names.

    Returns None if the client closed the connection or does not speak HTTP/1.1.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    request_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
    match request_line.split(" "):
        case [method, target, "HTTP/1.1"]:
            pairs = (line.partition(":") for line in lines)
            return method, target, {name.strip().lower(): value.strip() for name, _, value in pairs}
        case _:
            return None


def bytes_of(answer: HttpAnswer) -> bytes:
    """Returns the bytes to send for an answer."""
    headers = {"date": formatdate(usegmt=True), "content-type": "application/json", **(answer.headers or {})}
    if answer.status != 204:
        headers["content-length"] = str(len(answer.body))
    reason = responses.get(answer.status, "Unknown")
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    body = answer.body[: len(answer.body) // 2] if answer.broken_off else answer.body
    return f"HTTP/1.1 {answer.status} {reason}\r\n{head}\r\n".encode("latin-1") + body


@asynccontextmanager
async def closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Closes the connection at the end of the block."""
    try:
        yield
    finally:
        writer.close()
