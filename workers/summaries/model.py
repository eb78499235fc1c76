"""The HTTP client of an OpenAI-compatible server.

A request holds people's messages and must reach OPENAI_BASE_URL only. So the client follows no
redirects and reads no proxy variables. It stops reading a response that is too large. Source:
https://platform.openai.com/docs/api-reference/chat
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

import httpx2 as httpx
import orjson

from workers.http_body import ACCEPT_ENCODING, UnreadableBody, read_body
from workers.outgoing_http import Outgoing
from workers.summaries.answer import Answer, ModelFailed, ModelRefused, error_in, failure, read_answer
from workers.summaries.prompt import Prompt

VENDOR_URL = "https://api.openai.com/v1"
LARGEST_ANSWER = 4 * 2**20  # bytes, decompressed; a usual answer has a few thousand
LARGEST_ERROR = 64 * 2**10
LARGEST_CARD = 64 * 2**10
CONNECT_TIMEOUT = 10.0  # seconds to open a connection to the model's server
CARD_WITHIN = 10.0  # seconds for one request for the model's description (`card`)
MOST_CONNECTIONS, MOST_IDLE_CONNECTIONS = 100, 20
REQUEST_RETRIES = 2
"""A failed request is sent up to twice more, because a new attempt of the job would pay again for its other requests.

Before each repetition the client waits as long as the server's Retry-After says, or half a second and then one second."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds


@dataclass(frozen=True, slots=True)
class SummarySettings:
    """How to reach the language model.

    `base_url`: the server's URL, including a query if it needs one; None means the vendor's.
    `timeout`: seconds for one request and its whole response.
    """

    api_key: str | None = field(default=None, repr=False)
    model: str = "gpt-6-luna"
    base_url: str | None = None
    timeout: float = 120.0


class ModelClient:
    """The connection to one server and model.

    Create it inside the event loop that uses it; `close` it at the end.
    """

    def __init__(self, settings: SummarySettings, outgoing: Outgoing) -> None:
        assert settings.api_key is not None
        self.model = settings.model
        base = urlsplit(settings.base_url or VENDOR_URL)
        self._completions = _address(base, "chat/completions")
        self._card = _address(base, f"models/{quote(settings.model, safe='')}")
        self._timeout = settings.timeout
        # Redirects are not followed, because people's messages are for this server only.
        self._http = outgoing.client(
            base._replace(query="", fragment="").geturl(),
            headers={
                **_authorization(base, settings.api_key),
                "accept": "application/json",
                "accept-encoding": ACCEPT_ENCODING,
                "user-agent": "rireki",
            },
            timeout=httpx.Timeout(settings.timeout, connect=CONNECT_TIMEOUT, pool=None),
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_IDLE_CONNECTIONS),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def complete(self, prompt: Prompt) -> Answer:
        """Sends a prompt and returns the model's answer. Repeats a failed request.

        Raises `ModelRefused` and `OutgoingRefused` (final), `ModelFailed` (another attempt may succeed).
        """
        request = {"model": self.model, "messages": [{"role": role, "content": text} for role, text in prompt]}
        content = await asyncio.to_thread(orjson.dumps, request)
        failures = 0
        while True:
            body, problem, pause = await self._ask(content)
            if problem is None:
                return await asyncio.to_thread(read_answer, body, model=self.model)
            failures += 1
            if isinstance(problem, ModelRefused) or failures > REQUEST_RETRIES:
                raise problem
            await asyncio.sleep(FIRST_PAUSE * 2 ** (failures - 1) if pause is None else pause)

    async def card(self) -> Mapping[str, Any] | None:
        """Returns the server's description of the model (`GET /models/{id}`).

        Returns None if the server cannot be reached or sends no readable description.

        Raises: `ModelRefused` if the server does not know the model; `OutgoingRefused` if it must not
        be called.
        """
        try:
            async with asyncio.timeout(CARD_WITHIN), self._http.stream("GET", self._card) as response:
                status = response.status_code
                body = await read_body(response, LARGEST_CARD)
        except (httpx.RequestError, TimeoutError, UnreadableBody):
            return None
        if status == 404 and _names_a_code(error := error_in(body)):
            raise failure(status, error, model=self.model)
        try:
            card = json.loads(body) if status == 200 else None
        except (ValueError, RecursionError):
            return None
        return card if isinstance(card, Mapping) else None

    async def _ask(self, content: bytes) -> tuple[bytes, ModelRefused | ModelFailed | None, float | None]:
        """Sends a request once. Returns the body; or an error and the seconds to wait.

        The error is returned and not raised, because an error raised in an `except` block would
        bring the server's words into the stack that is stored with the job.

        Raises: `ModelFailed` if the response is unreadable, because such a request is not repeated.
        """
        headers = {"content-type": "application/json"}
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._http.stream("POST", self._completions, content=content, headers=headers) as response,
            ):
                if response.is_success:
                    return await read_body(response, LARGEST_ANSWER), None, None
                error = await _error_of(response)
                return b"", failure(response.status_code, error, model=self.model), _pause(response.headers)
        except (httpx.TimeoutException, TimeoutError):
            return b"", ModelFailed("the language model did not answer in time"), None
        except httpx.RequestError as error:
            return b"", ModelFailed(f"the language model cannot be reached ({type(error).__name__})"), None
        except UnreadableBody as error:
            # The request is not repeated at once, because the next answer would be as long and may
            # cost money again.
            reason = f"the language model's answer {error}"
        raise ModelFailed(reason)


def _address(base: SplitResult, path: str) -> str:
    """Returns the URL of a path below the base.

    The base's query stays, because Azure needs `?api-version=` in each request.
    """
    return base._replace(path=f"{base.path.rstrip('/')}/{path}", fragment="").geturl()


def _authorization(base: SplitResult, key: str) -> dict[str, str]:
    """Returns the headers that carry the key.

    Azure expects the key in `api-key`, and uses bearer tokens for other credentials. Gateways that
    imitate Azure get both headers, because some gateways expect the first and some the second.
    """
    host = base.hostname or ""
    if host.endswith((".azure.com", ".azure.us", ".azure.cn", ".azure-api.net")):
        return {"api-key": key}
    bearer = {"authorization": f"Bearer {key}"}
    return {**bearer, "api-key": key} if "api-version" in parse_qs(base.query) else bearer


async def _error_of(response: httpx.Response) -> object:
    try:
        return error_in(await read_body(response, LARGEST_ERROR))
    except UnreadableBody:
        return None


def _names_a_code(error: object) -> bool:
    """Whether the error says that the model is unknown.

    The status 404 alone does not say so: a server without this endpoint also answers 404, but with
    other codes.
    """
    return isinstance(error, Mapping) and error.get("code") in ("model_not_found", "DeploymentNotFound")


def _pause(headers: httpx.Headers) -> float | None:
    """Returns the seconds that `retry-after-ms` or `Retry-After` asks the client to wait.

    They are at most `LONGEST_PAUSE`. Returns None if neither header is readable.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if seconds >= 0:  # false for NaN, too
            return min(seconds, LONGEST_PAUSE)
    try:
        there = parsedate_to_datetime(headers["date"])
        return min(max((parsedate_to_datetime(headers["retry-after"]) - there).total_seconds(), 0.0), LONGEST_PAUSE)
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
