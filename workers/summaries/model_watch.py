"""Checks once a day whether the vendor will soon shut the model down.

The server announces the day in its response to `GET /models/{id}`. If the server has no such
endpoint or the response is unreadable, the last result stays.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import structlog

from workers.outgoing_rules import OutgoingRefused
from workers.summaries.answer import ModelRefused
from workers.summaries.model import ModelClient

log = structlog.get_logger(__name__)

EVERY = 24 * 60 * 60.0  # seconds between two checks
SOON = timedelta(days=60)


def _today() -> date:
    return datetime.now(UTC).date()


@dataclass(frozen=True, slots=True)
class Shutdown:
    """A model's last day, as its server announces it."""

    model: str
    on: date

    @property
    def detail(self) -> str:
        return f"OPENAI_MODEL: the language model's server shuts {self.model} down on {self.on}. Set another model before that day."


class ModelWatch:
    """Keeps `shutdown`: the model's last day, if that is at most 60 days ahead or past."""

    def __init__(self, client: ModelClient | None, *, today: Callable[[], date] = _today) -> None:
        self.shutdown: Shutdown | None = None
        self._client = client
        self._today = today

    async def run(self) -> None:
        """Checks at once, and then every 24 hours until cancelled. Without a client it returns."""
        while self._client is not None:
            await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        assert self._client is not None
        try:
            card = await self._client.card()
        except ModelRefused as unknown:
            log.warning("the server does not know the language model", reason=str(unknown))
            return
        except OutgoingRefused as refused:
            log.warning("the language model must not be called", reason=str(refused))
            return
        if card is None:
            return  # the last result stays
        last_day = last_day_in(card)
        soon = last_day is not None and last_day - self._today() <= SOON
        self.shutdown = Shutdown(self._client.model, last_day) if soon and last_day is not None else None
        if self.shutdown is not None:
            log.warning("the language model will be shut down", reason=self.shutdown.detail)


def last_day_in(card: Mapping[str, Any]) -> date | None:
    """Returns the day in `shutdown_date` (a date, a date-time or Unix seconds).

    Returns None if the day is missing or unreadable.
    """
    value = card.get("shutdown_date")
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC).date()
        return date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
