"""A Chatwork sandbox with the rooms of one test, and a client that retries almost at once."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from events.database import Database
from workers.chatwork.client import Chatwork, ChatworkSettings
from workers.chatwork.rate_limit import RateLimit
from workers.chatwork.sandbox import Sandbox
from workers.resources import Resources
from workers.summaries.summariser import Summariser, SummarySettings

START = 1_793_000_000  # Unix seconds: October 2026


def sandbox_of(rooms: Mapping[str, Sequence[str]], *, limit: int = 100_000, window: float = 300.0) -> Sandbox:
    """Returns a sandbox with these rooms (by id), whose messages were sent a minute apart."""
    sandbox = Sandbox(rooms={}, limit=limit, window=window)
    for room_id, said in rooms.items():
        sandbox.add_room(room_id, f"Room {room_id}")
        for minute, body in enumerate(said):
            sandbox.say(room_id, body, at=START + 60 * minute)
    return sandbox


@asynccontextmanager
async def client_of(
    sandbox: Sandbox,
    database: Database,
    *,
    token: str | None = None,
    rate_limit: RateLimit | None = None,
    timeout: float = 10,
    new_rooms_active: bool = True,
) -> AsyncIterator[Chatwork]:
    settings = ChatworkSettings(sandbox.base_url, token or sandbox.token, 1_000_000, new_rooms_active)
    chatwork = Chatwork(settings, database, rate_limit=rate_limit, timeout=timeout, backoff=0.001, shortest_pause=0.01)
    yield chatwork
    await chatwork.close()


def resources_of(database: Database, chatwork: Chatwork | None) -> Resources:
    return Resources(database=database, chatwork=chatwork, summariser=Summariser(SummarySettings()))
