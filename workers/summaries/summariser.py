"""Turns messages into a draft: with a language model where there is a key for one, by choosing sentences where there is none.

Up to 40 messages go to the model in one request; more are summarised 40 at a time and the parts are merged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import openai
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from workers.job_type import Final
from workers.outgoing import Outgoing
from workers.summaries import extractive
from workers.summaries.conversation import by_room
from workers.summaries.markdown import NOTHING_SAID, draft_saying, repaired
from workers.summaries.prompt import PROMPT_VERSION, Prompt, ask_to_merge, ask_to_summarise, cited_in, without_citations
from workers.summaries.sentences import language_of
from workers.summaries.summary import MAX_SOURCE_LINKS, Message, Summary, TokenUsage

VENDOR_URL = "https://api.openai.com/v1"
MESSAGES_AT_ONCE = 40
REQUESTS_AT_ONCE = 3
MAX_ANSWER = 12_000
"""Characters of one answer that are kept: a draft is read by people, and is stored with the job's history."""
MAX_MERGE = 48_000
"""Characters of the parts that are merged in one request; more are merged in rounds."""

# A request that failed is sent twice more by the client, after the server's Retry-After or half a second: an attempt of the job
# that starts again would pay for all its other requests a second time.
REQUEST_RETRIES = 2


@dataclass(frozen=True, slots=True)
class SummarySettings:
    """`base_url` is any OpenAI-compatible server's, the vendor's if None; `timeout` is of one request, in seconds."""

    api_key: str | None = field(default=None, repr=False)
    model: str = "gpt-4o-mini"
    base_url: str | None = None
    timeout: float = 120.0


class ModelRefused(Final):
    """The model's server will answer the same next time: a bad key, an unknown model, a request it can't take."""


class ModelFailed(Exception):
    """The model's server is away, too busy, or answered with nothing that can be read. Another attempt may succeed."""


Report = Callable[[int, int], Awaitable[None]]
"""Told how many chunks there are in all, and how many are done."""


class Summariser:
    """Start it inside the event loop that uses it, and `close` it at the end."""

    def __init__(self, settings: SummarySettings, outgoing: Outgoing = Outgoing()) -> None:  # noqa: B008 (it is frozen)
        self.model = settings.model if settings.api_key else extractive.MODEL
        self._client = _client(settings, outgoing) if settings.api_key else None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def summarise(self, messages: Sequence[Message], report: Report) -> Summary:
        """Raises `ModelRefused` (final) or `ModelFailed` (worth another attempt)."""
        if not messages:
            await report(0, 0)
            return Summary(draft_saying(NOTHING_SAID), (), self.model, PROMPT_VERSION)
        if self._client is None:
            return await self._choose_sentences(messages, report)
        return await self._ask_the_model(self._client, messages, report)

    async def _choose_sentences(self, messages: Sequence[Message], report: Report) -> Summary:
        await report(1, 0)
        content, links = await asyncio.to_thread(extractive.summarise, messages)
        await report(1, 1)
        return Summary(content, links, self.model, PROMPT_VERSION)

    async def _ask_the_model(self, client: openai.AsyncOpenAI, messages: Sequence[Message], report: Report) -> Summary:
        numbered = dict(enumerate((message for room in by_room(messages) for message in room), 1))
        language = language_of(message.body for message in messages)
        model = _Model(client, self.model, language)
        parts = await _summarise_chunks(model, _chunks(numbered), report)
        answer = await _merge(model, parts)
        return Summary(
            content=repaired(without_citations(answer), language),
            source_links=_links(cited_in(answer) or cited_in("\n".join(parts)), numbered),
            model=self.model,
            prompt_version=PROMPT_VERSION,
            usage=model.usage,
        )


async def _summarise_chunks(model: "_Model", chunks: list[dict[int, Message]], report: Report) -> list[str]:
    """One answer for each chunk, in their order. Where one fails, the others are stopped: each costs money."""
    await report(len(chunks), 0)
    free = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def summarise(chunk: dict[int, Message]) -> str:
        async with free:
            return await model.ask(ask_to_summarise(chunk, model.language))

    tasks = [asyncio.create_task(summarise(chunk)) for chunk in chunks]
    try:
        for done, finished in enumerate(asyncio.as_completed(tasks), 1):
            await finished
            await report(len(chunks), done)
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _merge(model: "_Model", parts: list[str]) -> str:
    """One answer out of many, in as many rounds as their length asks for."""
    while len(parts) > 1:
        parts = [
            await model.ask(ask_to_merge(group, model.language)) if len(group) > 1 else group[0] for group in _groups(parts)
        ]
    return parts[0]


def _groups(parts: Sequence[str]) -> list[list[str]]:
    """Neighbours together, as many as fit in one request, and never one alone but the last: each round leaves fewer."""
    groups: list[list[str]] = []
    for part in parts:
        if groups and (len(groups[-1]) < 2 or sum(map(len, groups[-1])) + len(part) <= MAX_MERGE):
            groups[-1].append(part)
        else:
            groups.append([part])
    return groups


def _chunks(numbered: Mapping[int, Message]) -> list[dict[int, Message]]:
    items = list(numbered.items())
    return [dict(items[at : at + MESSAGES_AT_ONCE]) for at in range(0, len(items), MESSAGES_AT_ONCE)]


def _links(cited: Sequence[int], numbered: Mapping[int, Message]) -> tuple[str, ...]:
    """The messages that the answer names; of a model that names none, an even sample of what it read."""
    known = [number for number in cited if number in numbered] or list(numbered)[:: -(-len(numbered) // MAX_SOURCE_LINKS)]
    return tuple(dict.fromkeys(numbered[number].message_id for number in known))[:MAX_SOURCE_LINKS]


# The model --------------------------------------------------------------------------------------------------------------------


def _client(settings: SummarySettings, outgoing: Outgoing) -> openai.AsyncOpenAI:
    # The vendor's address is named here because the client would otherwise look for one in the environment.
    base_url = settings.base_url or VENDOR_URL
    return openai.AsyncOpenAI(
        api_key=settings.api_key,
        base_url=base_url,
        http_client=outgoing.client(base_url),
        timeout=settings.timeout,
        max_retries=REQUEST_RETRIES,
    )


class _Model:
    """One draft's requests to the model, and what they used."""

    def __init__(self, client: openai.AsyncOpenAI, name: str, language: str) -> None:
        self.language = language
        self.usage = TokenUsage()
        self._client = client
        self._name = name

    async def ask(self, prompt: Prompt) -> str:
        messages: list[ChatCompletionMessageParam] = [
            {"role": "system", "content": text} if role == "system" else {"role": "user", "content": text}
            for role, text in prompt
        ]
        try:
            answer = await self._client.chat.completions.create(model=self._name, messages=messages)
        except openai.APIStatusError as error:
            raise _refusal(error) from error
        except openai.APITimeoutError as error:
            raise ModelFailed("the language model did not answer in time") from error
        except openai.APIConnectionError as error:
            raise ModelFailed("the language model cannot be reached") from error
        except (openai.APIError, ValueError) as error:
            raise ModelFailed("the language model's answer cannot be read") from error
        self.usage += _usage(answer)
        return _text(answer)


WORTH_ANOTHER_ATTEMPT = frozenset({408, 409, 425, 429})


def _refusal(error: openai.APIStatusError) -> Exception:
    # The server's message is left out: it may hold a part of the key or of somebody's chat. Its code says enough.
    code = f" ({error.code})" if isinstance(error.code, str) and error.code.isascii() and len(error.code) <= 60 else ""
    message = f"the language model's server answered {error.status_code}{code}"
    if error.status_code in WORTH_ANOTHER_ATTEMPT or error.status_code >= 500:
        return ModelFailed(message)
    return ModelRefused(message)


def _text(answer: ChatCompletion) -> str:
    """The client checks nothing: a compatible server may answer with a page of HTML, without choices, or without content."""
    choices = getattr(answer, "choices", None) or [None]
    content = getattr(getattr(choices[0], "message", None), "content", None)
    text = _storable(content) if isinstance(content, str) else ""
    if not text.strip():
        raise ModelFailed("the language model answered with nothing")
    return text[:MAX_ANSWER]


def _storable(text: str) -> str:
    """Without what PostgreSQL's text can't hold: NUL and lone surrogates."""
    return text.replace("\x00", "").encode("utf-8", "ignore").decode("utf-8")


def _usage(answer: ChatCompletion) -> TokenUsage:
    usage = getattr(answer, "usage", None)
    used = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
    return TokenUsage(*(tokens if isinstance(tokens, int) else 0 for tokens in used))
