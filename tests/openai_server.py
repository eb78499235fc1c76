"""A small OpenAI-compatible server on loopback: chat completions, and faults on demand."""

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

PROMPT_TOKENS, COMPLETION_TOKENS = 100, 20
"""The numbers of used tokens that every completion reports."""

GOOD_ANSWER = """## Summary

- It was decided to move. [#1, #2]

## Key Topics

- The move

## Open Items

- None

## Next Actions

- **Ken**: book the van by Friday [#2]"""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP response, for example an error."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class OpenAIServer:
    """The server. `answer` makes the text of a completion from the JSON of a request.

    Responses in `next_replies` are sent first. After `hold`, requests wait for `release`.
    """

    url: str = ""
    answer: Callable[[dict[str, Any]], str | None] = lambda request: GOOD_ANSWER
    next_replies: deque[Reply] = field(default_factory=deque)
    card: Reply | None = None
    """The JSON for `GET /v1/models/{id}`. With None, the answer is 404."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    cards_asked_for: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    _may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    def hold(self) -> None:
        self._may_answer.clear()

    def release(self) -> None:
        self._may_answer.set()

    async def have_arrived(self, requests: int) -> None:
        async with self._arrived, asyncio.timeout(10):
            await self._arrived.wait_for(lambda: len(self.requests) >= requests)

    async def cards_were_asked_for(self, cards: int) -> None:
        async with self._arrived, asyncio.timeout(10):
            await self._arrived.wait_for(lambda: len(self.cards_asked_for) >= cards)

    async def nobody_waits(self) -> None:
        """Waits until every request was answered or given up by its client."""
        async with self._arrived, asyncio.timeout(10):
            await self._arrived.wait_for(lambda: self.at_once == 0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1]) if length else 0)
            reply = await self._reply(head, body, reader)
            if reply is not None:
                further = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
                writer.write(
                    f"HTTP/1.1 {reply.status} OK\r\ncontent-type: {reply.content_type}\r\ncontent-length: {len(reply.body)}\r\n"
                    "retry-after-ms: 1\r\nconnection: close\r\n"
                    f"{further}\r\n".encode()
                    + reply.body
                )
                await writer.drain()
        writer.close()

    async def _reply(self, head: str, body: bytes, reader: asyncio.StreamReader) -> Reply | None:
        method, target, _ = head.split(" ", 2)
        path = target.partition("?")[0]
        if method == "GET" and path.startswith("/v1/models/"):
            async with self._arrived:
                self.cards_asked_for.append(target)
                self._arrived.notify_all()
            return self.card or error(404, "no such path")
        if method != "POST" or not path.endswith("/chat/completions"):
            return error(404, "no such path")
        self.heads.append(head)
        key = re.search(r"authorization: bearer (\S+)", head, re.IGNORECASE)
        await self._count(+1, json.loads(body), key[1] if key else "")
        try:
            if not await self._waited(reader):
                return None
            return self.next_replies.popleft() if self.next_replies else self._completion(json.loads(body))
        finally:
            await self._count(-1)

    async def _count(self, change: int, request: dict[str, Any] | None = None, key: str = "") -> None:
        async with self._arrived:
            if request is not None:
                self.requests.append(request)
                self.keys.append(key)
            self.at_once += change
            self.most_at_once = max(self.most_at_once, self.at_once)
            self._arrived.notify_all()

    async def _waited(self, reader: asyncio.StreamReader) -> bool:
        """Waits until requests may be answered. Returns False if the client hung up before."""
        released, hung_up = asyncio.create_task(self._may_answer.wait()), asyncio.create_task(reader.read(1))
        await asyncio.wait([released, hung_up], return_when=asyncio.FIRST_COMPLETED)
        may_answer = released.done()
        for task in (released, hung_up):
            task.cancel()
        return may_answer

    def _completion(self, request: dict[str, Any]) -> Reply:
        message = {"role": "assistant", "content": self.answer(request)}
        usage = {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": COMPLETION_TOKENS,
            "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
        }
        completion = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": request["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": usage,
        }
        return Reply(200, json.dumps(completion).encode())


def completion(content: object, finish_reason: object = "stop", **message: object) -> Reply:
    """Returns a completion with this content. `message` are further fields of its message."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish_reason}
    return Reply(200, json.dumps({"object": "chat.completion", "choices": [choice]}).encode())


def error(status: int, message: str, code: str | None = None) -> Reply:
    return Reply(status, json.dumps({"error": {"message": message, "type": "error", "param": None, "code": code}}).encode())


@asynccontextmanager
async def openai_server() -> AsyncIterator[OpenAIServer]:
    server = OpenAIServer()
    server.release()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{port}/v1"
    try:
        yield server
    finally:
        server.release()
        listening.close()
