"""Turns messages into a draft: by a language model if there is a key, else by extraction.

Up to 40 messages go to the model in one request. More are summarised 40 at a time, and the partial
summaries are merged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from workers.outgoing_http import Outgoing
from workers.summaries.answer import ModelFailed, ModelRefused
from workers.summaries.citations import cited_in, without_citations
from workers.summaries.digest import extractive
from workers.summaries.digest.conversation import by_room
from workers.summaries.digest.sentences import language_of
from workers.summaries.markdown import (
    NOTHING_SAID,
    as_answered,
    complete,
    draft_saying,
    sections_of,
    shortened,
)
from workers.summaries.model import ModelClient, SummarySettings
from workers.summaries.model_watch import ModelWatch
from workers.summaries.prompt import PROMPT_VERSION, Prompt, ask_to_merge, ask_to_summarise
from workers.summaries.summary import MAX_SOURCE_LINKS, OFFICE_ZONE, Message, Summary, TokenUsage

__all__ = ["ModelFailed", "ModelRefused", "Summariser", "SummarySettings"]

MESSAGES_AT_ONCE = 40
REQUESTS_AT_ONCE = 3
MAX_ANSWER = 12_000
"""At most this many characters of one answer are kept, because people read a draft and the job's history stores it."""
MAX_MERGE = 48_000
"""At most this many characters of partial summaries are merged in one request. Longer summaries are merged in rounds."""

Report = Callable[[int, int], Awaitable[None]]
"""A function that gets the number of all chunks (groups of messages), and the number of finished
chunks.
"""


class Summariser:
    """Makes drafts. Create it inside the event loop that uses it; `close` it at the end."""

    def __init__(self, settings: SummarySettings, outgoing: Outgoing = Outgoing()) -> None:  # noqa: B008 (it is frozen)
        self.model = settings.model if settings.api_key else extractive.MODEL
        self._client = ModelClient(settings, outgoing) if settings.api_key else None
        self.watch = ModelWatch(self._client)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def summarise(self, messages: Sequence[Message], report: Report) -> Summary:
        """Returns the summary of these messages.

        Raises `ModelRefused` (final), `ModelFailed` (another attempt may succeed).
        """
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

    async def _ask_the_model(self, client: ModelClient, messages: Sequence[Message], report: Report) -> Summary:
        numbered, language = await asyncio.to_thread(_numbered, messages)
        model = _Model(client, language)
        parts = await _summarise_chunks(model, _chunks(numbered), report)
        answer = await _merge(model, parts)
        content, cited = await asyncio.to_thread(_draft, answer, parts, language)
        return Summary(content, _links(cited, numbered), self.model, PROMPT_VERSION, model.usage)


class _Model:
    """The requests to the model for one draft, and the tokens that they used."""

    def __init__(self, client: ModelClient, language: str) -> None:
        self.language = language
        self.usage = TokenUsage()
        self._client = client
        self._today = datetime.now(OFFICE_ZONE).date()

    async def summarise(self, chunk: Mapping[int, Message]) -> str:
        return await self._ask(await asyncio.to_thread(ask_to_summarise, chunk, self.language, today=self._today))

    async def merge(self, parts: Sequence[str]) -> str:
        return await self._ask(await asyncio.to_thread(ask_to_merge, parts, self.language, today=self._today))

    async def _ask(self, prompt: Prompt) -> str:
        answer = await self._client.complete(prompt)
        self.usage += answer.usage
        return await asyncio.to_thread(_part, answer.text, self.language)


def _numbered(messages: Sequence[Message]) -> tuple[dict[int, Message], str]:
    numbered = dict(enumerate((message for room in by_room(messages) for message in room), 1))
    return numbered, language_of(message.body for message in messages)


def _part(answer: str, language: str) -> str:
    """Returns an answer's sections with their citations, cut to `MAX_ANSWER`."""
    return as_answered(shortened(sections_of(answer), MAX_ANSWER, language))


def _draft(answer: str, parts: Sequence[str], language: str) -> tuple[str, list[int]]:
    """Returns the draft's content, and the numbers of the messages that it cites."""
    content = complete(sections_of(without_citations(answer)), language)
    return content, cited_in(answer) or cited_in("\n".join(parts))


async def _summarise_chunks(model: "_Model", chunks: list[dict[int, Message]], report: Report) -> list[str]:
    """Returns one answer for each chunk, in order.

    If a request fails, the others are cancelled, because each request costs money.
    """
    await report(len(chunks), 0)
    free = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def summarise(chunk: dict[int, Message]) -> str:
        async with free:
            return await model.summarise(chunk)

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
    """Merges the answers into one, in several rounds if they are too long for one request."""
    while len(parts) > 1:
        parts = [await model.merge(group) if len(group) > 1 else group[0] for group in _groups(parts)]
    return parts[0]


def _groups(parts: Sequence[str]) -> list[list[str]]:
    """Groups neighbouring parts; each group is merged by one request.

    Each group but the last has at least two parts, even if they are longer than `MAX_MERGE`, so
    that each round leaves fewer parts.
    """
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
    """Returns the ids of the messages that the answer cites, at most `MAX_SOURCE_LINKS`.

    If it cites none, they are the ids of messages at even distances.
    """
    known = [number for number in cited if number in numbered] or list(numbered)[:: -(-len(numbered) // MAX_SOURCE_LINKS)]
    return tuple(dict.fromkeys(numbered[number].message_id for number in known))[:MAX_SOURCE_LINKS]
